"""Replay through the real serializer: nothing lost, in step, the same each time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pipecat_bandwidth import BandwidthFrameSerializer, messages
from pipecat_bandwidth.encodings import from_content_type
from tests.captures import scripted, speech
from workbench.audio import Audio
from workbench.call import Call, FrameRecord
from workbench.exceptions import MetricWarning
from workbench.metrics import distances
from workbench.tuning.resend import Resent, resend
from workbench.tuning.voice import voice_of

InputParams = BandwidthFrameSerializer.InputParams
VOICE = speech("bot/b02")
WIRES = {
    "PCMU": InputParams(),
    "PCM 8": InputParams(outbound_encoding="PCM", outbound_pcm_sample_rate=8000),
    "PCM 16": InputParams(outbound_encoding="PCM", outbound_pcm_sample_rate=16000),
    "PCM 24": InputParams(outbound_encoding="PCM", outbound_pcm_sample_rate=24000),
}


def frames(
    audio: Audio, *, start: float = 0.0, secs: float = 0.04, frame: str = "OutputAudioRawFrame"
) -> list[FrameRecord]:
    """An utterance as a transport gives it to the serializer."""
    size = round(secs * audio.sample_rate) * 2
    pcm = audio.pcm()
    return [
        FrameRecord(start + k * secs, frame, pcm[at : at + size], audio.sample_rate, 1)
        for k, at in enumerate(range(0, len(pcm), size))
    ]


INTERRUPTION = FrameRecord(0.0, "InterruptionFrame")


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 48000])
@pytest.mark.parametrize("wire", WIRES)
def test_nothing_is_lost_and_the_sound_is_in_step(wire: str, rate: int) -> None:
    found = resend(VOICE.resampled(rate), WIRES[wire])
    assert found.conserved_ms == pytest.approx(found.said_ms, abs=0.2)
    assert found.sent.sample_rate == (8000 if wire == "PCMU" else int(wire[4:]) * 1000)
    common = min(rate, found.sent.sample_rate)
    said, sent = (audio.resampled(common) for audio in (found.said, found.sent))
    direct = distances.align(said, sent)
    assert direct.delay_ms == pytest.approx(found.offset_ms, abs=0.02)
    narrow = [distances.band_limited(audio) for audio in (direct.reference, direct.degraded)]
    assert distances.si_sdr(*narrow) > 36


@pytest.mark.parametrize("wire", WIRES)
def test_delay_is_that_of_the_resampler(wire: str) -> None:
    found = resend(VOICE, WIRES[wire])
    expected = {"PCMU": 4.0, "PCM 8": 4.0, "PCM 16": 2.0, "PCM 24": 0.0}[wire]
    assert found.delay_ms == pytest.approx(expected, abs=0.05)
    assert found.first_audio_ms == pytest.approx(expected, abs=0.05)
    assert found.offset_ms == pytest.approx(expected, abs=0.05)


def test_pass_through_is_bit_for_bit() -> None:
    assert resend(VOICE, WIRES["PCM 24"]).sent.pcm() == VOICE.pcm()


def test_the_messages_are_those_of_the_serializer() -> None:
    """Against the serializer driven by hand, and decoded here."""
    from pipecat.frames.frames import EndFrame, OutputAudioRawFrame

    async def by_hand() -> list[str]:
        serializer = BandwidthFrameSerializer("s", params=InputParams(auto_hang_up=False))
        given = [OutputAudioRawFrame(f.pcm or b"", 24000, 1) for f in frames(VOICE)]
        texts = [await serializer.serialize(frame) for frame in [*given, EndFrame()]]
        return [text for text in texts if text]

    expected = asyncio.run(by_hand())
    found = resend(VOICE)
    assert list(found.messages) == expected
    decoded = b"".join(
        from_content_type(m.content_type).decode(m.payload)
        for m in map(messages.parse, expected)
        if isinstance(m, messages.PlayAudio)
    )
    assert found.sent.pcm() == decoded
    assert found.wire_bytes == sum(map(len, expected))
    assert found.kbit_s == pytest.approx(found.wire_bytes * 8 / 1000 / VOICE.duration)


@pytest.mark.parametrize("wire", WIRES)
def test_replay_is_deterministic(wire: str) -> None:
    first, second = (resend(VOICE, WIRES[wire]) for _ in range(2))
    assert first.messages == second.messages
    assert first.delay_ms == second.delay_ms


def test_the_clock_does_not_matter() -> None:
    clearing = InputParams(resampler_clear_after_secs=1e-9)
    assert resend(VOICE, clearing).messages == resend(VOICE).messages
    assert resend(VOICE, clearing).params is clearing


def test_it_never_hangs_up() -> None:
    """The defaults hang up, and without credentials the serializer would not even be made."""
    assert InputParams().auto_hang_up
    assert resend(VOICE, InputParams()).messages


async def test_it_works_where_a_loop_is_running() -> None:
    """As in a notebook."""
    assert resend(VOICE).sent.duration > VOICE.duration


def test_an_interruption_is_a_clear_and_keeps_step() -> None:
    """Cut at an awkward sample: without care everything after it would be off by a third of one."""
    cut = Audio(VOICE.samples[:50_000], 24000)
    after = speech("bot/b04")
    records = [*frames(cut), INTERRUPTION, *frames(after)]
    found = resend(records, WIRES["PCMU"])
    assert [type(messages.parse(m)) for m in found.messages].count(messages.Clear) == 1
    assert found.conserved_ms == pytest.approx(found.said_ms, abs=0.2)
    assert found.said.duration == pytest.approx((50_000 + len(after)) / 24000, abs=0.02)
    start = found.said.duration - after.duration
    said, sent = (a.resampled(8000).span(start, 99) for a in (found.said, found.sent))
    assert distances.align(said, sent).delay_ms == pytest.approx(4.0, abs=0.02)


def test_what_stays_in_the_resampler_is_not_conserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the frame that ends a call, nothing flushes it: 4 ms from 24 to 8 kHz."""
    from pipecat.frames.frames import Frame

    monkeypatch.setattr("workbench.tuning.resend.EndFrame", Frame)
    found = resend(VOICE, WIRES["PCMU"])
    assert found.sent_ms == pytest.approx(found.said_ms, abs=0.2)
    assert found.conserved_ms == pytest.approx(found.said_ms - 4, abs=0.2)


@pytest.mark.parametrize(("secs", "kept"), [(0.060, 0.060), (0.075, 0.060), (0.080, 0.080)])
@pytest.mark.parametrize("rate", [8000, 22050, 24000])
def test_a_stretch_ends_at_a_multiple_of_20_ms(rate: int, secs: float, kept: float) -> None:
    voice = VOICE.resampled(rate)
    said = voice_of([*frames(voice.span(0, secs)), INTERRUPTION, *frames(voice)])
    first, second = said.runs
    assert sum(frame.size for frame in first.frames) == round(kept * rate)
    assert sum(frame.size for frame in second.frames) == len(voice)


def test_what_the_serializer_would_not_send_is_no_reference() -> None:
    echo = frames(speech("caller/c01", 24000), frame="InputAudioRawFrame")
    found = resend([*echo, *frames(VOICE), FrameRecord(9.0, "EndFrame")])
    assert found.said.pcm() == VOICE.pcm()


def test_stereo_is_mixed_and_half_samples_are_left_out() -> None:
    mono = np.frombuffer(VOICE.pcm(), "<i2")
    left_only = np.stack([mono, np.zeros_like(mono)], axis=1).tobytes() + b"\1"
    said = voice_of([FrameRecord(0.0, "TTSAudioRawFrame", left_only, 24000, 2)]).audio
    np.testing.assert_allclose(said.samples, VOICE.samples / 2, atol=1 / 32768)


def test_a_pipeline_that_changed_its_rate_is_brought_to_one() -> None:
    records = [*frames(VOICE), *frames(VOICE.resampled(16000)), *frames(VOICE)]
    found = resend(records, WIRES["PCM 24"])
    assert found.said.sample_rate == 24000
    assert found.said.duration == pytest.approx(3 * VOICE.duration, abs=0.001)
    assert found.offset_ms == 0.0


@pytest.mark.parametrize(("rate", "delay"), [(8000, 0.0), (16000, 4.0), (48000, 4.0)])
def test_another_pipeline_rate_is_resampled_in_front(rate: int, delay: float) -> None:
    found = resend(VOICE, audio_out_sample_rate=rate)
    assert found.said.sample_rate == 24000
    assert found.delay_ms == pytest.approx(delay, abs=0.05)
    assert found.conserved_ms == pytest.approx(found.said_ms, abs=0.2)


def test_remarks_of_the_serializer_are_kept() -> None:
    assert "audio_out_sample_rate=8000 avoids it" in "".join(resend(VOICE).remarks)
    assert resend(VOICE, audio_out_sample_rate=8000).remarks == ()


def test_wire_rates_are_what_json_and_base64_make_of_them() -> None:
    """320 bytes of mu-law in 40 ms are 428 characters of base64 in 76 of JSON: 101 kbit/s."""
    rates = {name: resend(VOICE, params).kbit_s for name, params in WIRES.items()}
    assert rates["PCMU"] == pytest.approx(101, abs=1.5)
    assert rates["PCM 24"] == pytest.approx(540, abs=3)
    assert list(rates.values()) == sorted(rates.values())


def test_cpu_is_measured() -> None:
    assert 1 < resend(VOICE).cpu_us_per_s < 1e6


def test_silence_has_no_delay_but_is_conserved() -> None:
    with pytest.warns(MetricWarning, match="delay is undefined"):
        found = resend(Audio(np.zeros(48000, np.float32), 24000))
    assert np.isnan(found.delay_ms)
    assert found.conserved_ms == pytest.approx(2000)


@pytest.mark.parametrize(
    "nothing",
    [
        Audio(np.empty(0, np.float32), 8000),
        [],
        [INTERRUPTION],
        frames(VOICE, frame="InputAudioRawFrame"),
    ],
    ids=["no samples", "no frames", "no audio", "only the caller"],
)
def test_nothing_said_is_refused(nothing: Audio | list[FrameRecord]) -> None:
    with pytest.raises(ValueError, match="the bot said nothing"):
        resend(nothing)


@pytest.mark.parametrize("rate", [0, -8000])
def test_a_rate_that_is_none_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="wanted a positive number of hertz"):
        resend(VOICE, audio_out_sample_rate=rate)


def test_a_rate_that_the_serializer_refuses_says_what_it_said() -> None:
    with pytest.raises(ValueError, match="the serializer sent no audio: audio is not sent"):
        resend(Audio(VOICE.samples, 11000))


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Call:
    path: Path = tmp_path_factory.mktemp("replay") / "call.mcap"
    return Call.open(scripted(pipeline_rate=24000).write(path))


def test_a_captured_call_can_be_replayed(captured: Call) -> None:
    found = resend(captured)
    assert isinstance(found, Resent)
    kept = sum(record.duration for record in captured.frames_out)
    assert found.said.duration == pytest.approx(kept, abs=0.02)
    assert found.conserved_ms == pytest.approx(found.said_ms, abs=0.2)
    assert found.delay_ms == pytest.approx(4.0, abs=0.1)
    assert "kbit/s, 4.0 ms" in repr(found)
