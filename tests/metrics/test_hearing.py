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
    assert damage == sorted(damage) and damage[0] < 2 < 8 < damage[-1]
    assert all(one.missing_percent < 0.3 * one.damage_percent for one in found)


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
