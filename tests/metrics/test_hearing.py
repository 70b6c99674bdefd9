"""Damage and missing bandwidth: each of its own cause, neither of the level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from tests.captures import speech
from workbench.audio import Audio
from workbench.exceptions import MetricWarning
from workbench.metrics.distances import band_limited, evaluate_aligned
from workbench.metrics.hearing import heard
from workbench.tuning.legs import LEGS

VOICE = speech("bot/b02", 16000)


def with_noise(voice: Audio, snr_db: float, band: tuple[float, float]) -> Audio:
    """Noise in a band, so far below the voice."""
    rng = np.random.default_rng(1)
    noise = band_limited(
        Audio(rng.standard_normal(len(voice)).astype(np.float32), voice.sample_rate), band
    ).samples
    gain = np.std(voice.samples) / np.std(noise) * 10 ** (-snr_db / 20)
    return Audio(voice.samples + np.float32(gain) * noise, voice.sample_rate)  # fmt: skip


def test_nothing_done_is_nothing() -> None:
    assert heard(VOICE, VOICE) == (0.0, 0.0)


@pytest.mark.parametrize("gain", [0.1, 0.5, 1.1])
def test_level_is_no_damage(gain: float) -> None:
    other = Audio(VOICE.samples * np.float32(gain), 16000)
    assert heard(VOICE, other) == pytest.approx((0, 0), abs=1e-3)
    noisy = with_noise(VOICE, 30, (300, 3000))
    louder = Audio(noisy.samples * np.float32(gain), 16000)
    assert heard(VOICE, louder) == pytest.approx(heard(VOICE, noisy), rel=1e-3)


def test_noise_in_the_telephone_band_is_damage_and_more_is_more() -> None:
    found = [heard(VOICE, with_noise(VOICE, snr, (300, 3000))) for snr in (50, 40, 30, 20)]
    damage = [one.damage_percent for one in found]
    assert damage == sorted(damage) and damage[0] < 0.1 < 5 < damage[-1]
    assert all(one.missing_percent < 0.3 * one.damage_percent for one in found)


# -- masking: planted noise, and what lies over it ------------------------------------------------

RATE = 16000
SECS = 4


def hiss(band: tuple[float, float], dbov: float, seed: int = 1) -> np.ndarray:
    """Even noise in a band."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(SECS * RATE))
    frequency = np.fft.rfftfreq(SECS * RATE, 1 / RATE)
    spectrum[(frequency < band[0]) | (frequency > band[1])] = 0
    noise = np.fft.irfft(spectrum)
    return np.asarray(noise * 10 ** (dbov / 20) / np.std(noise))


def damage(reference: np.ndarray, added: np.ndarray) -> float:
    both = (Audio(x.astype(np.float32), RATE) for x in (reference, reference + added))
    return heard(*both).damage_percent


#: Like a voice: strong below, 15 dB weaker from 1600 Hz on, and between them nothing.
VOICED = hiss((200, 1000), -26) + hiss((1600, 3300), -41, seed=2)
TURNS = (np.arange(SECS * RATE) // (RATE // 5)) % 2


def test_noise_under_what_the_voice_has_is_no_damage_and_in_a_gap_of_its_bands_it_is() -> None:
    under = damage(VOICED, hiss((400, 800), -52, seed=3))
    gap = damage(VOICED, hiss((1100, 1500), -52, seed=3))
    assert under < 0.01
    assert gap > 2


def test_noise_under_a_vowel_is_no_damage_and_in_a_softer_sound_without_its_bands_it_is() -> None:
    """A hiss in turn with a vowel, both of which are speech: only in the one nothing masks it."""
    vowel, sibilant = hiss((200, 1000), -26), hiss((1600, 3300), -36, seed=2)
    call = np.where(TURNS, vowel, sibilant)
    noise = hiss((400, 800), -52, seed=3)
    assert damage(call, noise * TURNS) < 0.1
    assert damage(call, noise * (1 - TURNS)) > 2


def test_noise_below_the_threshold_in_quiet_is_no_damage() -> None:
    """At 1.3 kHz, that is some 3 dB SPL; the voice is at 79."""
    assert damage(VOICED, hiss((1100, 1500), -26 - 85, seed=3)) < 0.01
    assert damage(VOICED, hiss((1100, 1500), -26 - 50, seed=3)) > 0.5


def test_more_of_the_voice_over_the_same_noise_is_less_damage() -> None:
    noise = hiss((1100, 1500), -52, seed=3)
    found = [
        damage(VOICED + hiss((1100, 1500), dbov, seed=4), noise)
        for dbov in (-80, -65, -58, -52, -44)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 2 and found[-1] < 0.2


def test_noise_that_follows_the_voice_is_less_damage_than_even_noise_of_its_power() -> None:
    """What mu-law does beside what a line's hiss would do."""
    said = VOICE.resampled(8000)
    followed = LEGS["G.711"].apply(said).samples - said.samples
    even = np.random.default_rng(1).standard_normal(len(said)) * np.std(followed)
    following, hissing = (
        heard(said, Audio((said.samples + noise).astype(np.float32), 8000)).damage_percent
        for noise in (followed, even)
    )
    assert 0 < following < 0.7 * hissing


def test_a_missing_upper_band_is_missing_and_no_damage() -> None:
    found = heard(VOICE, band_limited(VOICE, (0.0, 3800.0)))
    assert found.missing_percent > 5
    assert found.damage_percent < 0.5
    less = heard(VOICE, band_limited(VOICE, (0.0, 5500.0)))
    assert 0 < less.missing_percent < found.missing_percent


def test_what_is_false_above_the_telephone_band_counts_there() -> None:
    """Images of a bad resampler: a narrow voice with what it never had above."""
    narrow = VOICE.resampled(8000)
    clean = narrow.resampled(16000)
    images = Audio(signal.upfirdn([2.0], narrow.samples, up=2)[: len(clean)], 16000)
    images = Audio(np.pad(images.samples, (0, len(clean) - len(images.samples))), 16000)
    found = heard(clean, images)
    assert found.missing_percent > 5
    assert found.missing_percent > 3 * found.damage_percent


def test_a_narrow_voice_has_little_to_miss() -> None:
    narrow = VOICE.resampled(8000)
    assert heard(narrow, band_limited(narrow, (0.0, 3400.0))).missing_percent < 3


def test_nothing_is_said_of_silence() -> None:
    silence = Audio(np.zeros(len(VOICE), np.float32), 16000)
    for pair in ((silence, VOICE), (VOICE, silence)):
        with pytest.warns(MetricWarning):
            assert np.isnan(heard(*pair)).all()


def test_evaluate_has_both() -> None:
    noisy = with_noise(VOICE, 30, (300, 3000))
    found = evaluate_aligned(VOICE, noisy, ("damage_percent", "missing_percent"))
    assert tuple(found.values()) == tuple(heard(VOICE, noisy))
