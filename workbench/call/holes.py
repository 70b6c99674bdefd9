"""Which gaps in what the bot sent are holes in an utterance: those that the caller hears as one.

The queue model of :mod:`workbench.call.playout` knows only times. A gap is a hole if there is sound
right before it and right after it, the caller did not answer in it, and the pipeline did not tell that
one utterance was over and another begun: a voice may be cut so closely that it has no pause of its own.

Conventions:
    Times in seconds on the call's clock, levels in dBov.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.call.pieces import powers
from workbench.call.playout import Playout, Underrun
from workbench.call.streams import Stream

__all__ = ["TURN", "continues", "in_sound", "is_pause"]

#: A hole is inside an utterance if there is sound this close to it on both sides: a voice pauses
#: for longer at the end of a sentence, and speech synthesis adds its own silence.
EDGE: Final = 0.050
#: What counts as sound there, below the loudest tenth of the bot's audio.
EDGE_DB: Final = 30.0
#: A shorter hole is no change of turns.
TURN: Final = 0.5
#: The caller answers when so much of it is the caller's speech.
ANSWER: Final = 0.15


def in_sound(gaps: Iterable[Underrun], sent: Stream) -> list[Underrun]:
    """Those gaps that have sound on both sides.

    Args:
        gaps: Where the queue ran dry.
        sent: The bot's messages, of which ``gaps`` have the indices.
    """
    gaps = list(gaps)
    if not gaps:
        return []
    floor = _edge_level(sent)
    return [gap for gap in gaps if min(_edges(sent, gap.message)) > floor]


def is_pause(
    gap: Underrun, speech: NDArray[np.float64] | None, syntheses: Sequence[tuple[float, bool]]
) -> bool:
    """Whether a gap is a pause between two utterances: the caller spoke in it, or it was told.

    Args:
        gap: Where the queue ran dry.
        speech: Where the caller speaks, shape ``(n, 2)``; ``None`` if that is not known.
        syntheses: When a synthesis began (``True``) or was over, in order.
    """
    if _is_between(gap, syntheses):
        return True
    return speech is not None and gap.end - gap.start >= TURN and _is_answered(gap, speech)


def _is_between(gap: Underrun, syntheses: Sequence[tuple[float, bool]]) -> bool:
    """Whether a synthesis began in a gap when the one before it was over.

    Speech is made faster than it is played: of what breaks off in a word, the end is told behind the gap.
    """
    first = bisect_left(syntheses, gap.start, key=lambda told: told[0])
    for index in range(max(1, first), len(syntheses)):
        time, begins = syntheses[index]
        if time > gap.end:
            return False
        if begins and not syntheses[index - 1][1]:
            return True
    return False


def _is_answered(gap: Underrun, speech: NDArray[np.float64]) -> bool:
    spoken = np.minimum(speech[:, 1], gap.end) - np.maximum(speech[:, 0], gap.start)
    return float(np.maximum(spoken, 0).sum()) > ANSWER


def continues(queue: Playout, holes: Iterable[Underrun]) -> NDArray[np.bool_]:
    """Whether each message continues the utterance before it, when only ``holes`` are holes.

    Returns:
        Shape ``(n,)``.
    """
    found = queue.continues.copy()
    found[[gap.message for gap in queue.underruns]] = False
    found[[hole.message for hole in holes]] = True
    return found


def _edge_level(sent: Stream) -> float:
    """Level above which the edge of a gap is sound."""
    loudest = 10 * np.log10(np.maximum(powers(sent.pcm()), 1e-10))
    return max(float(np.percentile(loudest, 90)) - EDGE_DB, -60.0)


def _edges(sent: Stream, index: int) -> tuple[float, float]:
    """Levels of the last 50 ms before message ``index`` and of its first 50 ms."""
    size = round(EDGE * sent.formats[index].sample_rate) * 2
    before, after, place = b"", b"", index
    while len(before) < size and place > 0:
        place -= 1
        before = sent.formats[place].decode(sent.payloads[place]) + before
    place = index
    while len(after) < size and place < len(sent):
        after += sent.formats[place].decode(sent.payloads[place])
        place += 1
    return _level(before[-size:]), _level(after[:size])


def _level(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(np.float64) / 32768
    power = float(samples @ samples) / max(1, len(samples))
    return 10 * float(np.log10(max(power, 1e-10)))
