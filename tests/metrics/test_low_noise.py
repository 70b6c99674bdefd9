"""Hum and rumble, with and without a voice over them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import speech
from workbench.audio import Audio
from workbench.metrics.low_noise import hum, is_rumble
from workbench.metrics.sounds import centred

RATE = 8000
TIME = np.arange(6 * RATE) / RATE


def mains(hertz: float, level: float = 0.05) -> np.ndarray:
    return level * sum(np.sin(2 * np.pi * k * hertz * TIME + k) / k for k in (1, 2, 3, 4, 5))


@pytest.mark.parametrize("hertz", [50, 60])
def test_hum_is_found_that_the_telephone_band_has_cut(hertz):
    """Three high-passes of first order at 300 Hz: the fundamental is 40 dB fainter than it was, and more."""
    spectrum = np.fft.rfft(mains(hertz, 0.3))
    frequency = np.maximum(np.fft.rfftfreq(len(TIME), 1 / RATE), 1)
    cut = np.fft.irfft(spectrum / (1 - 300j / frequency) ** 3)
    assert (hum(over(cut, "caller/c05"))[100:-100] > 0).mean() > 0.95


def low(seed: int = 1, falls: float = 1.0) -> np.ndarray:
    """Noise from 60 to 400 Hz."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(len(TIME)))
    frequency = np.fft.rfftfreq(len(TIME), 1 / RATE)
    spectrum *= np.where(
        (frequency > 60) & (frequency < 400), np.maximum(frequency, 1) ** -falls, 0
    )
    noise = np.fft.irfft(spectrum)
    return 0.05 * noise / np.sqrt(np.mean(noise**2))


def over(noise: np.ndarray, voice: str = "") -> np.ndarray:
    samples = noise.copy()
    if voice:
        words = speech(voice, RATE).samples[: len(samples)]
        samples[: len(words)] += words
    return samples.astype(np.float32)


@pytest.mark.parametrize("hertz", [49.9, 50.0, 60.0, 60.1])
@pytest.mark.parametrize("voice", ["", "caller/c05", "bot/b03"])
def test_hum_is_measured_whoever_speaks(hertz, voice):
    power = hum(over(mains(hertz), voice))
    wanted = float(np.mean(mains(hertz) ** 2))
    middle = power[100:-100]
    assert 10 * np.log10(np.median(middle) / wanted) == pytest.approx(0, abs=1.0)
    assert (middle > 0).all()


@pytest.mark.parametrize("voice", ["caller/c01", "caller/c05", "bot/b02", "bot/b07"])
def test_no_voice_hums(voice):
    assert not hum(speech(voice, RATE).samples).any()


@pytest.mark.parametrize(
    "pitches",
    [
        (110,),
        (98, 123.5, 147),
        (400, 450),
        (440,),
        (1000,),
        (131, 262, 392),
        (250,),
        (150, 250),
        (147, 196, 247),
        (49, 98, 147, 196, 245),
        (98, 147, 196, 247, 294),
    ],
)
def test_notes_and_tones_are_no_hum(pitches):
    tone = 0.1 * sum(np.sin(2 * np.pi * f * TIME) for f in pitches)
    assert not hum(tone.astype(np.float32)).any()


def test_noise_is_no_hum():
    white = 0.05 * np.random.default_rng(1).standard_normal(len(TIME))
    assert not hum(white.astype(np.float32)).any()
    assert not hum(over(low())).any()


def test_what_is_too_short_has_none():
    assert len(hum(np.zeros(0, np.float32))) == 0
    assert not hum(over(mains(50))[:1000]).any()
    assert not is_rumble(over(low())[:1000])


@pytest.mark.parametrize("falls", [0.0, 1.0, 1.5])
def test_low_noise_is_rumble(falls):
    assert is_rumble(centred(Audio(over(low(2, falls)), RATE), 100.0).samples)


def test_hum_a_held_note_and_high_noise_are_none():
    note = 0.1 * sum(np.sin(2 * np.pi * 118 * k * TIME) / k for k in range(1, 8))
    white = 0.05 * np.random.default_rng(1).standard_normal(len(TIME))
    for sound in (mains(50), note, white):
        assert not is_rumble(sound.astype(np.float32))
