"""What a sound is, on material of known kind."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import SAMPLES, speech
from workbench.audio import Audio
from workbench.metrics.sounds import SURELY_VOICE, centred, intervals_of, sounds

RATE = 8000
RNG = np.random.default_rng(3)


def on_a_line(samples: np.ndarray, dbov: float = -65.0, lead: float = 1.0) -> Audio:
    """A sound with the noise of a line before, under and after it."""
    silence = np.zeros(round(lead * RATE))
    whole = np.concatenate([silence, samples, silence])
    noise = 10 ** (dbov / 20) * RNG.standard_normal(len(whole))
    return Audio((whole + noise).astype(np.float32), RATE)


def sines(frequencies, secs: float, level: float = 0.1) -> np.ndarray:
    time = np.arange(round(secs * RATE)) / RATE
    return level * sum(np.sin(2 * np.pi * f * time) for f in frequencies)


@pytest.mark.parametrize("name", ["caller/c01", "caller/c05", "bot/b02", "bot/b07"])
def test_a_voice_is_a_voice_and_nothing_else(name):
    voice = speech(name, RATE)
    found = sounds(on_a_line(voice.samples))
    assert {sound.kind for sound in found} == {"voice"}
    assert min(sound.confidence for sound in found) > SURELY_VOICE
    assert found[0].start == pytest.approx(1.0, abs=0.4)


@pytest.mark.parametrize("offset", [0.05, 0.1, -0.2])
def test_an_offset_changes_nothing(offset):
    audio = on_a_line(speech("caller/c05", RATE).samples)
    moved = Audio((audio.samples + np.float32(offset)).astype(np.float32), RATE)
    assert abs(float(centred(moved).samples[RATE:].mean())) < 1e-3
    straight, off = (intervals_of(sounds(a), "voice") for a in (audio, moved))
    assert off.shape == straight.shape
    assert np.abs(off - straight).max() < 0.1


def test_silence_behind_a_sound_is_silence_and_changes_nothing_behind_it():
    voice = speech("caller/c05", RATE).samples
    apart = np.concatenate([voice, np.zeros(8 * 8192, np.float32), voice])
    whole, alone = centred(Audio(apart, RATE)).samples, centred(Audio(voice, RATE)).samples
    assert np.array_equal(whole[: len(voice)], alone)
    assert not whole[len(voice) + 2 * 8192 : len(voice) + 8 * 8192].any()
    assert np.abs(whole[-len(voice) :] - alone).max() < 1e-6


@pytest.mark.parametrize(
    ("frequencies", "key"), [((697, 1209), "1"), ((770, 1336), "5"), ((941, 1477), "#")]
)
def test_a_key_is_named(frequencies, key):
    keys = np.concatenate([sines(frequencies, 0.1), np.zeros(400)] * 3)
    found = [s for s in sounds(on_a_line(keys)) if s.kind == "tone"]
    assert [sound.detail for sound in found] == [f"key {key}"] * 3
    assert found[0].duration == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("frequencies", [(425,), (440, 480), (1100,), (2100,), (1000,)])
def test_a_tone_is_a_tone(frequencies):
    (sound,) = [s for s in sounds(on_a_line(sines(frequencies, 2.0))) if s.duration > 0.1]
    assert sound.kind == "tone"
    assert sound.duration == pytest.approx(2.0, abs=0.1)


def test_hold_music_is_music():
    music = speech("bot/hold_music", RATE)
    found = sounds(on_a_line(music.samples))
    secs = {k: sum(s.duration for s in found if s.kind == k) for k in ("music", "voice")}
    assert secs["music"] > 0.7 * music.duration
    assert secs["voice"] < 0.1 * music.duration


def test_a_modem_keeps_its_envelope():
    bits = np.repeat(RNG.integers(0, 2, 900), RATE // 300)
    phase = np.cumsum(2 * np.pi * np.where(bits, 1650, 1850) / RATE)
    found = sounds(on_a_line(0.1 * np.sin(phase)))
    modem = sum(s.duration for s in found if s.kind in ("modem", "tone"))
    assert modem > 0.7 * len(phase) / RATE
    assert not [s for s in found if s.kind == "voice"]


@pytest.mark.parametrize("dbov", [-75, -60, -52])
def test_the_noise_of_a_line_is_nothing(dbov):
    assert sounds(on_a_line(np.zeros(5 * RATE), dbov)) == ()


def test_many_at_once_are_no_voice_to_rely_on():
    paths = sorted(SAMPLES.glob("bot_voices/*.flac")) + sorted(SAMPLES.glob("human/*.flac"))
    voices = [Audio.read(path).resampled(RATE).samples for path in paths]
    secs = 8 * RATE
    crowd = sum(np.roll(np.resize(v, secs), 3001 * i) for i, v in enumerate(voices * 3))
    found = sounds(on_a_line(0.05 * crowd / np.abs(crowd).std()))
    sure = intervals_of(found, "voice", least=0.8)
    assert float((sure[:, 1] - sure[:, 0]).sum()) < 2.0


@pytest.mark.parametrize("other", ["voices", "voices and music"])
def test_a_voice_behind_the_caller_is_hardly_one_and_is_parted_from_his(other):
    """A television that goes on all the time, 8 dB fainter: as far as a soft phrase is from a loud one."""
    paths = sorted(SAMPLES.glob("bot_voices/*.flac")) + sorted(SAMPLES.glob("human/*.flac"))
    talk = np.concatenate([Audio.read(path).resampled(RATE).samples for path in paths])
    behind = np.resize(talk, 24 * RATE).astype(np.float64)
    if other != "voices":
        behind[: len(behind) // 2] *= 0.1
        behind += 0.05 * np.sign(sines([330], 24.0, 1.0)) * (sines([1.3], 24.0, 1.0) > -0.5)
    behind *= 10 ** (-36 / 20) / behind.std()
    near = speech("caller/c05", RATE).samples[: 4 * RATE]
    near = near * 10 ** (-25 / 20) / near.std()
    whole = behind.copy()
    for at in (6, 15):
        whole[at * RATE : at * RATE + len(near)] += near
    found = sounds(on_a_line(whole, lead=0.0))
    sure = intervals_of(found, "voice", least=SURELY_VOICE)
    mine = (np.minimum(sure[:, 1], 10) - np.maximum(sure[:, 0], 6)).clip(0).sum()
    mine += (np.minimum(sure[:, 1], 19) - np.maximum(sure[:, 0], 15)).clip(0).sum()
    assert mine > 4.0
    assert (sure[:, 1] - sure[:, 0]).sum() - mine < 2.0
    alone = intervals_of(sounds(on_a_line(near * 10 ** (-8 / 20))), "voice", least=SURELY_VOICE)
    assert (alone[:, 1] - alone[:, 0]).sum() > 2.0  # who is as faint, and alone, is believed


def test_nothing_has_no_sounds():
    assert sounds(Audio(np.empty(0, np.float32), RATE)) == ()
    assert sounds(Audio(np.zeros(100, np.float32), RATE)) == ()


def sung(*notes: tuple[float, float]) -> Audio:
    """Seconds and hertz of notes of one sine, without a gap."""
    hertz = np.concatenate([np.full(round(8000 * secs), f) for secs, f in notes])
    wave = 0.1 * np.sin(2 * np.pi * np.cumsum(hertz) / 8000)
    return Audio(np.pad(wave, 4000).astype(np.float32), 8000)


def test_a_cry_that_glides_is_no_tone():
    cry = sung(*[(0.08, hertz) for hertz in (520, 580, 650, 720, 650, 580, 520)])
    wavering = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * np.arange(len(cry)) / 8000)
    cry = Audio(cry.samples * wavering.astype(np.float32), 8000)
    assert {sound.kind for sound in sounds(cry)} == {"other"}


@pytest.mark.parametrize("hertz", [(950, 1400, 1800), (480, 480, 480)])
def test_notes_that_are_far_apart_or_alike_are_tones(hertz):
    """As the special information tones are, and one that is interrupted."""
    gapped = sung(*[note for f in hertz for note in ((0.1, f), (0.06, 0.0))])
    assert [sound.kind for sound in sounds(gapped)] == ["tone"] * 3
