"""A voice at a wrong rate is told by pitch, formants and syllables together."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.benchmarks.speeds import (
    Broken,
    clicking,
    doubled,
    holed,
    in_turns,
    looped,
    swapped,
)
from tests.ground.noises import MADE
from tests.ground.voices import clips
from workbench.audio import Audio
from workbench.diagnosis.detectors.rates import wrongly_played
from workbench.metrics.speed import Speed, figures, speed


@cache
def voice(speaker: str) -> Audio:
    parts = [phrase.audio(16000).samples for phrase in clips() if phrase.speaker == speaker]
    return Audio(np.concatenate(parts), 16000)


def at(audio: Audio) -> Speed:
    found = speed(audio)
    assert found is not None
    return found


# Austen is wide; the others have nothing above 4 kHz, as no synthesis that is declared too low.
@pytest.mark.parametrize(
    ("speaker", "factor", "least", "most"),
    [
        ("austen", 1 / 3, 0.2, 0.6),
        ("austen", 0.5, 0.3, 0.66),
        ("austen", 1.0, 0.8, 1.25),
        ("carlo", 1.0, 0.8, 1.25),
        ("ivrvoice", 1.0, 0.8, 1.25),
        ("carlo", 2.0, 1.5, 3.0),
        ("ivrvoice", 2.0, 1.5, 3.0),
        ("carlo", 3.0, 2.0, 4.5),
        ("ivrvoice", 3.0, 2.0, 4.5),
    ],
)
def test_the_speed_of_a_voice(speaker: str, factor: float, least: float, most: float) -> None:
    said = voice(speaker)
    assert least < at(Audio(said.samples, round(16000 * factor))).whole < most


def test_the_rate_that_it_is_kept_at_and_its_loudness_are_no_matter() -> None:
    said = voice("carlo")
    expected = at(said)
    for rate in (8000, 24000, 44100):
        other = said.resampled(rate)
        found = at(Audio(other.samples * np.float32(0.1), rate))
        assert found == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    "name", ["keys", "ringing", "busy", "beep", "fax", "modem", "comfort_noise"]
)
def test_what_is_no_voice_has_no_speed(name: str) -> None:
    assert speed(MADE[name](np.random.default_rng(1), 10.0)) is None


@pytest.mark.parametrize("speaker", ["austen", "carlo", "ivrvoice"])
@pytest.mark.parametrize(("under_db", "told"), [(2.0, False), (30.0, True)])
def test_noise_has_no_speed_though_a_voice_is_in_it(
    speaker: str, under_db: float, told: bool
) -> None:
    said = voice(speaker)
    level = np.sqrt(np.mean(said.samples**2)) * 10 ** (-under_db / 20)
    noise = np.random.default_rng(5).standard_normal(len(said.samples)).astype(np.float32)
    assert (speed(Audio(said.samples + level * noise, 16000)) is not None) == told


def test_too_little_tells_nothing() -> None:
    for samples in (np.zeros(80_000), np.zeros(10), voice("carlo").samples[:16000]):
        audio = Audio(np.asarray(samples, np.float32), 16000)
        assert figures(audio) is None
        assert speed(audio) is None


@pytest.mark.parametrize("speaker", ["carlo", "ivrvoice"])
@pytest.mark.parametrize("broken", [looped, holed, in_turns, clicking, swapped, doubled])
def test_a_voice_in_pieces_keeps_its_timbre_however_fast_it_changes(
    speaker: str, broken: Broken
) -> None:
    own = voice(speaker).resampled(8000).samples
    heard = Audio(broken(own, np.random.default_rng(1)), 8000)
    assert 0.75 < at(heard).timbre < 1.35
    assert wrongly_played(heard) is None


def test_turns_of_two_sources_have_the_pace_of_one_that_is_too_fast() -> None:
    own = voice("carlo").resampled(8000).samples
    found = at(Audio(in_turns(own, np.random.default_rng(1)), 8000))
    assert found.pace > 1.3 * found.timbre


def test_timbre_and_pace_move_together_where_the_rate_is_wrong() -> None:
    slow, fast = voice("austen").samples, voice("carlo").samples
    assert max(at(Audio(slow, 8000))[1:]) < 0.83
    assert min(at(Audio(fast, 32000))[1:]) > 1.2
    for samples, rate, told in ((slow, 8000, True), (fast, 32000, True), (slow, 16000, False)):
        assert (wrongly_played(Audio(samples, rate)) is not None) is told
