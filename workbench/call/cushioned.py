"""A call without its holes: with a cushion before each utterance, and as if nothing had ever waited.

The first is what the serializer would have sent with another ``outbound_cushion_ms``: its own rule
(:class:`pipecat_bandwidth.far_end.FarEnd`) over the messages that were sent and their times, played by
the queue model. The second closes the holes: what came after one in the same utterance is moved up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.far_end import FarEnd
from workbench.audio import Audio
from workbench.call.pieces import PieceWriter, sizes
from workbench.call.placement import lay
from workbench.call.playout import MAX_GAP, reconstruct

if TYPE_CHECKING:
    from workbench.call.call import Call

__all__ = ["intact", "with_cushion"]

#: Longest ``outbound_cushion_ms``.
_MOST_MS: Final = 1000
#: A frame and the message made from it are so near in time, in seconds.
_NEAR: Final = 0.005


def with_cushion(call: Call, cushion_ms: float) -> Audio:
    """What the far end would have played with such a cushion instead of that of the call.

    Args:
        call: The call.
        cushion_ms: ``outbound_cushion_ms``; 0 for none.

    Returns:
        The bot on the call's clock, before the codec of the leg. It is longer than the call by what
        the goodbye would have been later, if the bot ended it.

    Raises:
        ValueError: If the cushion is not 0 to 1000 ms.
    """
    if not 0 <= cushion_ms <= _MOST_MS:
        raise ValueError(f"{cushion_ms=}, wanted 0 to {_MOST_MS}")
    sent = call.outbound
    rates = [wire.sample_rate for wire in sent.formats]
    clears, captured = call.times_of("clear"), call.params.get("outbound_cushion_ms", 0)
    had = captured if isinstance(captured, int) else 0
    plain = _cushioned(sent.time, sent.pcm(), rates, clears, had, put=False)
    pcm = _cushioned(sent.time, plain, rates, clears, cushion_ms, put=True)
    duration = sizes(pcm) / 2 / np.array(rates, float)
    waits = call.ending.how == "open" or call.ending.by == "bot"  # for the goodbye
    queue = reconstruct(sent.time, duration, clears, stopped=None if waits else call.ending.time)
    later = float(np.nanmax(queue.end, initial=0.0)) if waits else 0.0
    return lay(queue.start, queue.heard, pcm, rates, max(call.duration, later))


def intact(call: Call) -> Audio:
    """What the bot said, as the pipeline produced it, with no hole in any utterance."""
    frames, queue = call.audio_out, call.speaking
    holes = [(hole.end, hole.end - hole.start) for hole in call.playout.underruns][::-1]
    start, earlier, end = queue.start.copy(), 0.0, -np.inf
    for number, (at, kept) in enumerate(
        zip(queue.start.tolist(), queue.kept.tolist(), strict=True)
    ):
        if at - end >= MAX_GAP:
            earlier = 0.0
        while holes and at >= holes[-1][0] - _NEAR:
            earlier += holes.pop()[1]
        start[number] = at - earlier
        end = at + kept
    return lay(start, queue.kept, frames.mono, frames.sample_rate.tolist(), call.duration)


def _cushioned(
    times: NDArray[np.float64],
    pcm: Sequence[bytes],
    rates: list[int],
    clears: NDArray[np.float64],
    cushion_ms: float,
    *,
    put: bool,
) -> Sequence[bytes]:
    """Put a cushion before the messages that get one, or take it away from those that have it."""
    if not cushion_ms or not pcm:
        return pcm
    far_end, left, changed = FarEnd(rates[0]), sorted(clears.tolist(), reverse=True), PieceWriter()
    for time, audio, rate in zip(times.tolist(), pcm, rates, strict=True):
        while left and left[-1] <= time:
            left.pop()
            far_end.clear()
        made = audio
        if far_end.begins(audio, time):
            size = 2 * max(0, round((cushion_ms / 1000 - far_end.lead_secs(time)) * rate))
            made = bytes(size) + audio if put else audio[size:]
        far_end.append(made if put else audio, time)
        changed.add(made)
    return changed.pieces()
