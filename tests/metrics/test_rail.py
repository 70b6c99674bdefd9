"""Rails that later processing has rounded."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import speech
from tests.ground.voices import Phrase, clips
from workbench.audio import Audio
from workbench.metrics.rail import rounded_rail

VOICES = [phrase for phrase in clips() if phrase.secs > 1.5]


def driven(phrase: Phrase, drive_db: float, rate: int) -> Audio:
    """At full scale and beyond it, cut off there, a quarter as loud, and converted."""
    samples = phrase.audio(48000).samples
    samples = samples / np.abs(samples).max() * 10 ** (drive_db / 20)
    return Audio((np.clip(samples, -1, 1) / 4).astype(np.float32), 48000).resampled(rate)


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_voices_do_not_crowd_and_driven_ones_do(rate):
    as_they_are = [rounded_rail(driven(voice, 0, rate).samples) for voice in VOICES]
    assert max(rail.crowding for rail in as_they_are) < 0.8
    hard = [rounded_rail(driven(voice, 15, rate).samples) for voice in VOICES]
    assert np.mean([rail.crowding > 1.0 for rail in hard]) >= 0.9
    assert np.median([rail.height for rail in hard]) == pytest.approx(0.25, rel=0.1)
    assert 0.03 < np.median([rail.share for rail in hard]) < 0.4


def test_what_does_not_crowd():
    rng = np.random.default_rng(1)
    assert rounded_rail(0.1 * rng.standard_normal(80_000)).crowding < 0.2
    assert rounded_rail(rng.uniform(-0.5, 0.5, 80_000)).crowding < 1.0  # flat, up to an edge
    assert rounded_rail(0.1 * rng.laplace(size=80_000)).crowding < 0.2


def test_a_sine_crowds_about_its_crest():
    rail = rounded_rail(0.5 * np.sin(np.arange(80_000) * 0.123))
    assert rail.crowding > 1.4 and rail.height == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(80_000), np.ones(3999)])
def test_too_little_tells_nothing(samples):
    assert rounded_rail(samples)[1:] == (0.0, 0.0)


def test_the_level_does_not_matter_nor_does_silence_around():
    voice = speech("bot/b03", 8000).samples
    loud = np.clip(6 * voice / np.abs(voice).max(), -1, 1) * np.linspace(1, 1.02, len(voice))
    plain = rounded_rail(loud)
    assert plain.crowding > 1.0
    assert rounded_rail(loud / 100).crowding == pytest.approx(plain.crowding, rel=0.05)
