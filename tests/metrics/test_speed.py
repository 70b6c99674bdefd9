"""A voice at a wrong rate is told by pitch, formants and syllables together."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.ground.noises import callers
from tests.ground.voices import clips
from workbench.audio import Audio
from workbench.metrics.speed import figures, speed


@cache
def voice(speaker: str) -> Audio:
    parts = [phrase.audio(16000).samples for phrase in clips() if phrase.speaker == speaker]
    return Audio(np.concatenate(parts), 16000)


@pytest.mark.parametrize("speaker", ["austen", "carlo", "ivrvoice"])
@pytest.mark.parametrize(
    ("factor", "least", "most"),
    [(1.0, 0.75, 1.35), (2.0, 1.5, 3.0), (3.0, 2.0, 4.5), (0.5, 0.3, 0.66), (1 / 3, 0.2, 0.6)],
)
def test_the_speed_of_a_voice(speaker: str, factor: float, least: float, most: float) -> None:
    said = voice(speaker)
    assert least < speed(Audio(said.samples, round(16000 * factor))) < most


def test_the_rate_that_it_is_kept_at_and_its_loudness_are_no_matter() -> None:
    said = voice("carlo")
    expected = speed(said)
    for rate in (8000, 24000, 44100):
        other = said.resampled(rate)
        assert speed(Audio(other.samples * np.float32(0.1), rate)) == pytest.approx(
            expected, rel=0.05
        )


@pytest.mark.parametrize(
    "name", ["keys", "ringing", "busy", "beep", "fax", "modem", "comfort_noise"]
)
def test_what_is_no_voice_has_no_speed(name: str) -> None:
    assert np.isnan(speed(callers("work")[name](np.random.default_rng(1), 10.0)))


def test_too_little_tells_nothing() -> None:
    for samples in (np.zeros(80_000), np.zeros(10), voice("carlo").samples[:16000]):
        audio = Audio(np.asarray(samples, np.float32), 16000)
        assert figures(audio) is None
        assert np.isnan(speed(audio))
