"""Who is near: a talker, parted from the voices, the music and the television behind him.

All is told from levels: what is behind is fainter, and a television goes on all the time.

Conventions:
    ``level`` is that of a signal's hops as :func:`workbench.metrics.speech.levels` gives it, float64 in
    dBov, shape ``(hops,)``. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from workbench.metrics.smoothing import running_maximum
from workbench.metrics.speech import HOP, MIN_SPEECH, joined, runs_of

if TYPE_CHECKING:
    from workbench.metrics.sounds import Sound

__all__ = [
    "SURELY_VOICE",
    "background",
    "in_front",
    "less_if_far",
    "less_if_hardly_louder",
    "parted",
]

#: From this confidence on a voice is one that a conversation can be read from.
SURELY_VOICE: Final = 0.6

#: What is so much fainter than the loud parts of a stretch, and for longer, is behind the talker.
_BEHIND_DB: Final = 22.0
_SOFT: Final = 0.3
#: What is softer than the loudest syllable (of so many hops before and after) by this, for so many seconds, is
#: not the same talker.
_SYLLABLE: Final = 25
_SOFTER_DB, _SOFTER_SECS = 6.0, 1.0
#: So much speech is the nearest voice's, in seconds; voices that are fainter than it by the first
#: may be in the background, those by the second most likely are.
_NEAREST_SECS: Final = 2.0
_FAR_DB: Final = (6.0, 12.0)
#: What is that much fainter than the nearest voice, lasts so many seconds in all and fills so much of the time
#: beside that is a background; if nothing but voices is in it, so much: who listens now and then does not.
_LASTS, _FILLED, _FILLED_BY_VOICES = 3.0, 0.4, 0.7
#: A voice whose syllables are louder than nine tenths of a background's by no more than the first may be
#: of it, by the second is none; and what goes on for so many seconds under the first is not the same talker.
_LOUDER_DB, _UNDER_SECS = (3.0, 6.0), 0.3


def parted(level: NDArray[np.float64], start: float, end: float) -> Iterator[tuple[float, float]]:
    """Part a stretch of speech where a talker begins or ends over what goes on behind him.

    A talker begins and ends softly, but not for long; voices behind him go on at their level.
    """
    first, last = round(start / HOP), max(round(start / HOP) + 1, round(end / HOP))
    part = level[first:last]
    near = part > np.percentile(part, 90) - _BEHIND_DB if len(part) else np.empty(0, np.bool_)
    parts = joined(runs_of(near, HOP), _SOFT) + first * HOP
    for begin, stop in parts.tolist():
        if begin - start > _SOFT or end - stop > _SOFT or len(parts) > 1:
            one, other = max(start, begin - _SOFT), min(end, stop + _SOFT)
        else:
            one, other = start, end
        loudest = level[round(one / HOP) : round(other / HOP)].max(initial=-100)
        yield from _by_loudness(level, one, other, loudest - _SOFTER_DB, _SOFTER_SECS)


def in_front(
    level: NDArray[np.float64], start: float, end: float, behind: float
) -> Iterator[tuple[float, float]]:
    """Part a stretch of speech where it is no louder than a :func:`background` of this level in dBov."""
    return _by_loudness(level, start, end, behind + _LOUDER_DB[0], _UNDER_SECS)


def less_if_far(voices: Sequence[Sound]) -> list[Sound]:
    """Voices, those that are fainter than the nearest one held for less sure."""
    near = _nearest(voices)
    if near is None:
        return list(voices)
    return _held_for(voices, (near - voice.level for voice in voices), _FAR_DB, (1.0, 0.5))


def less_if_hardly_louder(
    level: NDArray[np.float64], voices: Sequence[Sound], behind: float
) -> list[Sound]:
    """Voices, those that are hardly louder than a :func:`background` of this level held for less sure."""
    above = (float(np.median(_loudness(level, v.start, v.end))) - behind for v in voices)
    return _held_for(voices, above, _LOUDER_DB, (0.5, 1.0))


def background(
    level: NDArray[np.float64], voices: Sequence[Sound], others: Sequence[Sound]
) -> float | None:
    """Find what goes on all the time behind a talker: a television, music, another conversation.

    Args:
        level: Of the signal.
        voices: What was told as voices in it.
        others: What can be heard beside them.

    Returns:
        What nine tenths of its syllables are no louder than, in dBov; ``None`` without a background.
    """
    nearest = _nearest(voices)
    if nearest is None:
        return None
    near = nearest - _FAR_DB[0]
    music = [s for s in others if s.level < near and s.kind not in ("tone", "modem")]
    faint = [*music, *(voice for voice in voices if voice.level < near)]
    rest = len(level) * HOP - sum(voice.duration for voice in voices if voice.level >= near)
    filled = sum(sound.duration for sound in faint)
    if filled < max(_LASTS, (_FILLED if music else _FILLED_BY_VOICES) * rest):
        return None
    loud = [_loudness(level, sound.start, sound.end) for sound in faint]
    return float(np.percentile(np.concatenate(loud), 90))


def _nearest(voices: Sequence[Sound]) -> float | None:
    """Level of the nearest voice, in dBov, if any is sure.

    A voice behind the talker may go on for longer than his own, but is not louder.
    """
    sure = (voice for voice in voices if voice.confidence >= SURELY_VOICE)
    loudest = sorted(sure, key=lambda voice: -voice.level)
    if not loudest:
        return None
    secs = np.cumsum([voice.duration for voice in loudest])
    return loudest[min(int(np.searchsorted(secs, _NEAREST_SECS)), len(loudest) - 1)].level


def _held_for(
    voices: Sequence[Sound], db: Iterable[float], bounds: Sequence[float], shares: Sequence[float]
) -> list[Sound]:
    """Voices with a share of their confidence each, by decibels between two bounds."""
    by = np.interp(list(db), bounds, shares).tolist()
    return [
        replace(v, confidence=share * v.confidence) for v, share in zip(voices, by, strict=True)
    ]


def _loudness(level: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    """How loud the loudest syllable around each hop is."""
    part = level[round(start / HOP) : max(round(start / HOP) + 1, round(end / HOP))]
    return running_maximum(part, _SYLLABLE, _SYLLABLE)


def _by_loudness(
    level: NDArray[np.float64], start: float, end: float, softer: float, secs: float
) -> Iterator[tuple[float, float]]:
    """Part a stretch where it is softer than a level for so many seconds."""
    part = level[round(start / HOP) : round(end / HOP)]
    edges = [start]
    for begin, stop in runs_of(running_maximum(part, _SYLLABLE, _SYLLABLE) < softer, HOP).tolist():
        # The loudest syllable reaches beyond its own ends.
        begin -= _SYLLABLE * HOP if begin > 0 else 0.0
        stop += _SYLLABLE * HOP if stop < len(part) * HOP else 0.0
        if stop - begin >= secs:
            edges += [start + begin, start + stop]
    yield from (pair for pair in pairwise([*edges, end]) if pair[1] - pair[0] >= MIN_SPEECH)
