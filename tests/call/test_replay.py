"""A captured call as a regression test: the same bits again, and what differs is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from pipecat.frames.frames import (
    EndFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
)

from pipecat_bandwidth import BandwidthFrameSerializer, messages
from pipecat_bandwidth.encodings import PCMU
from tests.captures import scripted, speech
from tests.tuning.test_resend import WIRES, InputParams
from workbench.audio import Audio
from workbench.call import Call
from workbench.call.replay import assert_same, replay, replay_inbound
from workbench.metrics import distances
from workbench.tap import Tap

CALLER = speech("caller/c05", 8000)
VOICE = speech("bot/b02")


async def live(path: Path, params: InputParams, rate: int) -> Call:
    """A call on a real serializer behind a real tap, with an interruption and a late `stop`."""
    quiet = params.model_copy(update={"auto_hang_up": False, "sample_rate": rate})
    tap = Tap(BandwidthFrameSerializer("s-1", params=quiet), path)
    await tap.deserialize(
        messages.encode(messages.Start("s-1", "c-1", "99", "agent", (messages.Track("inbound"),)))
    )
    caller, voice = PCMU.encode(CALLER.pcm()), VOICE.pcm()
    for k in range(60):
        payload = caller[160 * k : 160 * k + 160]
        await tap.deserialize(messages.encode(messages.Media(payload, "inbound", str(k + 1))))
        frame = OutputAudioRawFrame(voice[1920 * k : 1920 * k + 1920], 24000, 1)
        await tap.serialize(frame)
        if k == 20:
            await tap.serialize(InterruptionFrame())
            await tap.serialize(OutputTransportMessageFrame({"eventType": "mark"}))
            await tap.serialize(InputAudioRawFrame(voice[:1920], 24000, 1))
        if k in (30, 40):
            await asyncio.sleep(0.06)  # longer than the resamplers are asked to remember
        if k == 50:
            stereo = np.repeat(np.frombuffer(voice[:1920], "<i2"), 2).tobytes()
            await tap.serialize(OutputAudioRawFrame(stereo + b"\1", 16000, 2))
    await tap.serialize(EndFrame())
    await tap.deserialize(messages.encode(messages.Stop("s-1", "c-1")))
    await tap.serialize(OutputAudioRawFrame(voice[:1920], 24000, 1))
    tap.close()
    return Call.open(tap.path)


def captured(
    path: Path, wire: str = "PCMU", rate: int = 16000, clear_after: float | None = None
) -> Call:
    params = WIRES[wire].model_copy(update={"resampler_clear_after_secs": clear_after})
    return asyncio.run(live(path, params, rate))


@pytest.mark.parametrize("clear_after", [None, 0.03])
@pytest.mark.parametrize(("wire", "rate"), [("PCMU", 8000), ("PCM 16", 16000), ("PCM 24", 48000)])
def test_the_same_parameters_give_the_same_bits(
    wire: str, rate: int, clear_after: float | None, tmp_path: Path
) -> None:
    call = captured(tmp_path / "call.mcap", wire, rate, clear_after)
    found = replay(call)
    assert found, str(found)
    assert found.messages == len(call.outbound) + len(call.times_of("clear"))
    assert (found.frames, found.different, found.differences) == (60, 0, ())
    assert str(found).startswith(f"The same, bit for bit: {found.messages} messages")
    assert found.remarks == ("1 messages without audio are not compared.",)
    assert_same(call)


def test_forgetting_after_a_pause_changes_the_bits(tmp_path: Path) -> None:
    """Otherwise the test above would show nothing."""
    call = captured(tmp_path / "call.mcap", "PCM 16", 16000, clear_after=0.03)
    found = replay(call, WIRES["PCM 16"])
    assert not found
    assert 1 <= found.different <= 8


def test_other_parameters_are_told(tmp_path: Path) -> None:
    call = captured(tmp_path / "call.mcap")
    found = replay(call, WIRES["PCM 16"])
    assert not found
    assert found.different == len(call.outbound)
    assert len(found.differences) == 5
    first = found.differences[0]
    assert first.startswith("Message 1: 320 bytes of audio/pcmu captured, 1280 bytes of audio/pcm;")
    assert first.endswith(" now.")
    with pytest.raises(AssertionError, match="Not the same: 6. of 6. messages"):
        assert_same(call, WIRES["PCM 16"])


def test_one_wrong_byte_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = captured(tmp_path / "call.mcap")
    real = PCMU.encode
    calls = iter(range(1000))

    def encode(pcm: bytes) -> bytes:
        good = real(pcm)
        return good[:-1] + bytes([good[-1] ^ 1]) if next(calls) == 7 else good

    monkeypatch.setattr(type(PCMU), "encoder", lambda wire: encode)
    found = replay(call)
    assert found.different == 1
    assert "320 bytes of audio/pcmu captured, 320 bytes of audio/pcmu now" in found.differences[0]


def test_a_frame_more_is_told(tmp_path: Path) -> None:
    call = Call.open(scripted().write(tmp_path / "call.mcap"))
    assert replay(call)
    call.frames_in = call.frames_in[:-1]
    found = replay(call)
    assert found.differences == (
        f"Frame {len(call.frames_in) + 1}: nothing captured, 320 bytes at 8000 Hz now.",
    )


# -- inbound -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Call:
    made = scripted()
    made.lose(20.0, 10)
    made.repeat(30.0, 3)
    made.stall_caller(40.0, 0.5)
    return Call.open(made.write(tmp_path_factory.mktemp("rerun") / "call.mcap"))


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_another_pipeline_hears_the_same_caller(scene: Call, rate: int) -> None:
    heard = replay_inbound(scene, rate)
    assert heard.sample_rate == rate
    assert len(heard) == round(scene.duration * rate)
    delay = 4.0 if rate > 8000 else 0.0
    aligned = distances.align(scene.caller_sent, heard.resampled(8000))
    assert aligned.delay_ms == pytest.approx(delay, abs=0.1)
    narrow = [distances.band_limited(audio) for audio in aligned[1:]]
    assert distances.si_sdr(*narrow) > 25


def test_at_the_captured_rate_it_is_what_the_bot_heard(scene: Call) -> None:
    np.testing.assert_array_equal(replay_inbound(scene, 8000).samples, scene.bot_heard.samples)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_message_that_came_late_or_twice_spoils_no_other(tmp_path: Path, rate: int) -> None:
    clean, made = scripted(), scripted()
    made.twice.add(600)
    made.arrival[700] = made.arrival[701] + 0.005
    expected, heard = (
        replay_inbound(Call.open(scene.write(tmp_path / f"{name}.mcap")), rate).samples
        for name, scene in (("clean", clean), ("made", made))
    )
    # The filter of the serializer rings on for some milliseconds.
    step = rate // 50
    for number in {*range(580, 720)} - {600, 601, 700, 701, 702}:
        piece = slice(number * step, (number + 1) * step)
        assert np.abs(expected[piece] - heard[piece]).max() < 1e-3, number


def test_a_rate_that_no_pipeline_has(scene: Call) -> None:
    with pytest.raises(ValueError, match="sample_rate"):
        replay_inbound(scene, 11025)


def test_a_call_in_which_nothing_arrived(tmp_path: Path) -> None:
    made = scripted()
    made.lose(0.0, 10_000)
    call = Call.open(made.write(tmp_path / "call.mcap"))
    assert not np.any(replay_inbound(call, 16000).samples)


async def test_it_works_where_a_loop_is_running(scene: Call) -> None:
    assert isinstance(replay_inbound(scene, 8000), Audio)
