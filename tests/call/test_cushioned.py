"""The call without its holes: with a cushion, and as if nothing had waited."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import SAMPLES
from workbench.audio import Audio
from workbench.call import Call


@pytest.fixture(scope="module")
def choppy() -> Call:
    return Call.open(SAMPLES / "captures" / "choppy.mcap")


def silences(audio: Audio, start: float, end: float) -> np.ndarray:
    """Lengths of digital silence in a span, in ms, from 15 ms on."""
    quiet = np.abs(audio.span(start, end).samples) < 1e-3
    edges = np.flatnonzero(np.diff(quiet.astype(int), prepend=0, append=0)).reshape(-1, 2)
    lengths = np.diff(edges, axis=1)[:, 0] / audio.sample_rate * 1000
    return lengths[lengths >= 15]


def test_without_a_cushion_it_is_what_was_heard(choppy: Call) -> None:
    again, heard = choppy.with_cushion(0), choppy.caller_heard
    assert np.array_equal(again.samples[: len(heard)], heard.samples)


def test_a_cushion_delays_each_utterance_and_hides_the_holes_that_it_covers(choppy: Call) -> None:
    hole = choppy.playout.underruns[2]  # 100 ms, the second of its utterance
    span = hole.start - 0.3, hole.end + 0.3
    assert silences(choppy.caller_heard, *span).max() > 90
    with_200 = choppy.with_cushion(200)
    assert not len(silences(with_200, span[0] + 0.2, span[1] + 0.2)) or (
        silences(with_200, span[0] + 0.2, span[1] + 0.2).max() < 60
    )
    first, later = (
        np.flatnonzero(np.abs(audio.span(0, 3).samples) > 0.02)[0] / audio.sample_rate
        for audio in (choppy.caller_heard, with_200)
    )
    assert 0.1 < later - first <= 0.2005


def test_what_was_said_intact_has_no_hole(choppy: Call) -> None:
    """The holes are in ``bot_said`` too, which is at the times at which the bot said it."""
    said, whole = choppy.bot_said, choppy.bot_intact
    assert whole.duration == said.duration
    moved = 0.0
    for hole in choppy.playout.underruns:
        if hole.start > 12 or hole.start < 9:  # those of one utterance
            continue
        around = (hole.start - 0.05, hole.end + 0.05)
        assert silences(said, *around).max() > 1000 * (hole.end - hole.start) - 15
        there = tuple(t - moved for t in (hole.start - 0.05, hole.start + 0.05))
        lengths = silences(whole, *there)
        assert not len(lengths) or lengths.max() < 50
        moved += hole.end - hole.start
    assert np.abs(whole.samples).sum() == pytest.approx(np.abs(said.samples).sum(), rel=0.02)


@pytest.mark.parametrize("cushion_ms", [-1, 1001])
def test_a_cushion_that_there_is_not_is_refused(choppy: Call, cushion_ms: int) -> None:
    with pytest.raises(ValueError, match="0 to 1000"):
        choppy.with_cushion(cushion_ms)
