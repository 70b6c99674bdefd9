"""Tones, music and noise through the real serializer: nothing but the truth is found in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from pipecat.frames.frames import EndFrame, OutputAudioRawFrame

from pipecat_bandwidth import BandwidthFrameSerializer, messages
from pipecat_bandwidth.encodings import FORMATS, PCMU, WireFormat
from tests.captures import FRAME, LEAD, Chunk, Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis import Finding, diagnose
from workbench.diagnosis.detectors.tones import TONE_SECS, is_tone

#: What is said of a call's settings, rightly.
SETTINGS = {"resampling", "upsampled"}
START = 0.5


async def serialized(audio: Audio, wire: WireFormat) -> list[tuple[bytes, bytes]]:
    """Each frame of 40 ms and the payload made from it, those of the end of the call last."""
    serializer = BandwidthFrameSerializer(
        "s-1",
        params=BandwidthFrameSerializer.InputParams(
            auto_hang_up=False,
            outbound_encoding=wire.encoding,
            outbound_pcm_sample_rate=wire.sample_rate,
        ),
    )
    pcm, size = audio.pcm(), 2 * round(FRAME * audio.sample_rate)
    made = []
    for piece in [pcm[first : first + size] for first in range(0, len(pcm), size)] + [b""]:
        frame = OutputAudioRawFrame(piece, audio.sample_rate, 1) if piece else EndFrame()
        text = await serializer.serialize(frame)
        message = messages.parse(text, max_size=len(text)) if text else None
        made.append((piece, message.payload if isinstance(message, messages.PlayAudio) else b""))
    return made


def played(audio: Audio, wire: WireFormat, late: bool = False) -> Scene:
    """A bot that plays this to a caller; ``late``: now and then it is some milliseconds late."""
    scene = Scene(round((START + audio.duration + 1.5) / 0.02) * 0.02, wire, audio.sample_rate)
    rng, behind = np.random.default_rng(3), 0.0
    made = asyncio.run(serialized(audio, wire))
    for index, (frame, payload) in enumerate(made[:-1]):
        if late and rng.random() < 0.1:
            behind += float(rng.uniform(0, 0.02))
        time = START + (index * FRAME + behind if late else max(0.0, index * FRAME - LEAD))
        scene.chunks.append(Chunk(time, frame, payload, START))
    tail = made[-1][1]
    if tail:
        play = messages.PlayAudio(wire.content_type, tail)
        scene.extra.append((time + 0.001, "/ws/tx", messages.encode(play)))
    scene.frame_out(time + 0.0009, "EndFrame", "sent" if tail else "none")
    return scene


def found(scene: Scene, tmp_path, *kinds: str) -> list[Finding]:
    findings = diagnose(Call.open(scene.write(tmp_path / "a.mcap")), kinds or None)
    return [finding for finding in findings if finding.kind not in SETTINGS]


# -- what is played --------------------------------------------------------------------------------


def tone(rate: int, secs: float, *hertz: float, phase: float = 0.0) -> np.ndarray:
    time = np.arange(round(secs * rate)) / rate
    return sum(np.sin(2 * np.pi * f * time + phase) for f in hertz) * 0.4 / (1 + len(hertz))


def cadence(rate: int, *parts: tuple, times: int = 1) -> np.ndarray:
    """Seconds and hertz of each part, over and over; without hertz it is silent."""
    return np.concatenate(
        [tone(rate, *part) + np.zeros(round(part[0] * rate)) for part in parts * times]
    )


def keys(rate: int) -> np.ndarray:
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    pressed = [[(0.1, row, column), (0.08,)] for row in rows for column in columns]
    return cadence(rate, (0.3,), *(part for key in pressed for part in key), times=2)


def sweep(rate: int) -> np.ndarray:
    time = np.arange(6 * rate) / rate
    return 0.3 * np.sin(2 * np.pi * (300 * time + 3100 / 12 * time**2))


def clicks(rate: int) -> np.ndarray:
    samples = np.zeros(6 * rate)
    samples[rate // 4 :: rate // 2] = 0.7
    return samples


SOUNDS: dict[str, Callable[[int], np.ndarray]] = {
    "dial tone": lambda rate: tone(rate, 5, 350, 440),
    "ring-back": lambda rate: cadence(rate, (2, 440, 480), (4,), (1, 440, 480)),
    "busy": lambda rate: cadence(rate, (0.5, 480, 620), (0.5,), times=5),
    "keys": keys,
    **{
        f"beeps of {hertz} Hz": lambda rate, hertz=hertz: cadence(
            rate, (0.4,), (1, hertz), (0.6,), times=3
        )
        for hertz in (300, 440, 620, 1000, 2100, 2500, 3000, 3400)
    },
    "1 kHz": lambda rate: tone(rate, 5, 1000),
    "sweep": sweep,
    "clicks": clicks,
    "silence": lambda rate: np.zeros(5 * rate),
    "hiss": lambda rate: np.random.default_rng(1).standard_normal(5 * rate) * 10 ** (-30 / 20),
    "hold music": lambda rate: speech("bot/hold_music", rate).span(0, 6).samples,
}  # fmt: skip


@cache
def sound(name: str, rate: int) -> Audio:
    return Audio(SOUNDS[name](rate).astype(np.float32), rate)


#: Every rate of a pipeline with every encoding of the wire; each sound is played with a fourth.
WAYS = [(rate, wire) for rate in (8000, 16000, 24000, 48000) for wire in FORMATS]


#: What is true of them: a bot that is never heard, and one that hisses.
RIGHTLY = {"silence": {"one_way"}, "hiss": {"noise"}}


@pytest.mark.parametrize("name", SOUNDS)
def test_what_is_no_voice_is_no_fault_either(name, tmp_path):
    turn = list(SOUNDS).index(name)
    for index in range(4):
        rate, wire = WAYS[4 * index + (turn + index) % 4]
        kinds = {finding.kind for finding in found(played(sound(name, rate), wire), tmp_path)}
        assert kinds == RIGHTLY.get(name, set()), (rate, wire)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("rate", [16000, 24000])
@pytest.mark.parametrize(
    "name", ["dial tone", "1 kHz", *(name for name in SOUNDS if name.startswith("beeps"))]
)
def test_a_tone_is_not_folded_whenever_its_frames_come(name, rate, late, tmp_path):
    scene = played(sound(name, rate), PCMU, late)
    assert found(scene, tmp_path, "aliasing", "block_joint", "onset_pop") == []


@pytest.mark.parametrize("wire", FORMATS[2:], ids=str)
def test_a_tone_has_no_images(wire, tmp_path):
    for rate in (8000, 16000):
        scene = played(sound("dial tone", rate), wire, late=True)
        assert found(scene, tmp_path, "aliasing") == []


def chords(rate: int, seed: int) -> Audio:
    """Music: three sawtooth waves at a time, with overtones up to the rate's end."""
    rng, size = np.random.default_rng(seed), rate // 2
    time, parts = np.arange(size) / rate, []
    for _ in range(12):
        hertz = 110 * 2 ** (rng.integers(0, 25, 3) / 12)
        waves = [
            np.sin(2 * np.pi * k * f * time) / k
            for f in hertz
            for k in range(1, int(0.48 * rate / f))
        ]
        parts.append(np.sum(waves, axis=0) * np.exp(-2 * time))
    return Audio((0.05 * np.concatenate(parts)).astype(np.float32), rate)


@pytest.mark.parametrize("seed", [3, 9])
def test_music_with_overtones_above_the_wires_band_is_not_folded(seed, tmp_path):
    """Nor where the way to the wire takes out what is low, and overtones stand beside each other."""
    scene = played(chords(16000, seed), PCMU)
    sent = np.frombuffer(PCMU.decode(b"".join(c.payload for c in scene.chunks)), "<i2")
    thin = Audio.from_pcm((sent - 0.97 * np.append(0, sent[:-1])).astype("<i2").tobytes(), 8000)
    coded = PCMU.encode(thin.pcm())
    for chunk in scene.chunks:
        chunk.payload, coded = coded[: len(chunk.payload)], coded[len(chunk.payload) :]
    assert found(scene, tmp_path, "aliasing") == []


# -- and what is one -------------------------------------------------------------------------------


def spoilt(rate: int, wire: WireFormat, convert: Callable[[np.ndarray], np.ndarray]) -> Scene:
    """A voice, late frames and all, whose conversion is another one."""
    scene = played(speech("bot/b01", rate).span(0, 6), wire, late=True)
    for chunk in scene.chunks:
        chunk.payload = wire.encode(convert(np.frombuffer(chunk.frame, "<i2")).tobytes())
    return scene


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
def test_samples_that_were_left_out_are_found_though_frames_are_late(rate, tmp_path):
    (finding,) = found(spoilt(rate, PCMU, lambda x: x[:: rate // 8000]), tmp_path, "aliasing")
    assert finding.value == pytest.approx(0, abs=1)


@pytest.mark.parametrize("wire", FORMATS[2:], ids=str)
def test_samples_that_were_repeated_are_found_though_frames_are_late(wire, tmp_path):
    times = wire.sample_rate // 8000
    (finding,) = found(spoilt(8000, wire, lambda x: x.repeat(times)), tmp_path, "aliasing")
    assert finding.value < 25


@pytest.mark.parametrize(
    ("rate", "wire"),
    [(24000, FORMATS[2]), (44100, FORMATS[2]), (22050, PCMU), (44100, PCMU)],
    ids=str,
)
def test_rates_without_a_common_measure_are_told_too(rate, wire, tmp_path):
    """By a straight line between two samples, which lets through nearly all that lies above."""

    def by_lines(samples: np.ndarray) -> np.ndarray:
        at = np.arange(len(samples) * wire.sample_rate // rate) * rate / wire.sample_rate
        return np.interp(at, np.arange(len(samples)), samples).astype("<i2")

    (finding,) = found(spoilt(rate, wire, by_lines), tmp_path, "aliasing")
    assert finding.value < 12
    assert (
        found(played(speech("bot/b01", rate).span(0, 6), wire, late=True), tmp_path, "aliasing")
        == []
    )


def test_what_is_cut_off_on_both_sides_of_a_filter_is_not_folded(tmp_path):
    """A voice at the rail, which a good converter sends beyond it, and the wire cuts off again."""
    audio = speech("bot/b07", 8000).resampled(24000).span(0, 6)
    cut_off = Audio(np.clip(6 * audio.samples, -1, 1), 24000)
    assert found(played(cut_off, PCMU), tmp_path, "aliasing") == []


@pytest.mark.parametrize("rate", [16000, 24000])
def test_the_callers_samples_that_were_repeated_are_found(rate, tmp_path):
    for doubled in (False, True):
        scene = Scene(10.0, heard_rate=rate, doubled=doubled)
        scene.say_caller(1.0, speech("caller/c05", 8000))
        findings = found(scene, tmp_path, "aliasing")
        assert [finding.side for finding in findings] == ["caller"] * doubled


def test_a_tone_that_begins_in_the_middle_of_a_wave_pops(tmp_path):
    audio = Audio(tone(8000, 3, 440, phase=np.pi / 2).astype(np.float32), 8000)
    (finding,) = found(played(audio, PCMU), tmp_path, "onset_pop")
    assert finding.value == pytest.approx(-14, abs=0.5)


def test_what_is_missing_from_a_tone_is_no_pause_between_keys(tmp_path):
    audio = sound("dial tone", 8000)
    samples = audio.samples.copy()
    samples[16000:16160] = 0.0
    (finding,) = found(played(Audio(samples, 8000), PCMU), tmp_path, "dropout")
    assert finding.value == pytest.approx(20, abs=1)


def test_a_tone_that_is_clipped_is_found(tmp_path):
    samples = np.clip(3 * tone(8000, 4, 440), -0.5, 0.5).astype(np.float32)
    (finding,) = found(played(Audio(samples, 8000), PCMU), tmp_path, "clipping")
    assert not finding.possible


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_tones_are_told_from_voices(rate):
    size = round(TONE_SECS * rate)
    assert is_tone(tone(rate, TONE_SECS, 620))
    assert is_tone(tone(rate, TONE_SECS, 350, 440))
    assert is_tone(tone(rate, TONE_SECS, 697, 1209))
    assert not is_tone(np.zeros(size))
    assert not is_tone(np.zeros(0))
    assert not is_tone(np.random.default_rng(1).standard_normal(size))
    voice = speech("bot/b01", rate).samples
    pieces = voice[: len(voice) // size * size].reshape(-1, size)
    loud = pieces[np.square(pieces).mean(axis=1) > 1e-3]
    assert np.mean([is_tone(piece) for piece in loud]) < 0.02
