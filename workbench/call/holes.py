"""Which gaps in what the bot sent are holes in an utterance: those that the caller hears as one.

The queue model of :mod:`workbench.call.playout` knows only times. A gap is a hole if there is sound
right before it and right after it, and the caller did not answer in it.

Conventions:
    Times in seconds on the call's clock, levels in dBov.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.call.playout import Playout, Underrun
from workbench.call.streams import Stream

__all__ = ["TURN", "continues", "in_sound", "is_answered"]

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


def is_answered(gap: Underrun, speech: NDArray[np.float64]) -> bool:
    """Whether the caller spoke in a gap: then it was a change of turns, if a quick one.

    Args:
        gap: Where the queue ran dry.
        speech: Where the caller speaks, shape ``(n, 2)``.
    """
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
    loudest = [_level(pcm) for pcm in sent.pcm()]
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
