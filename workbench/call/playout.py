"""What the far end played: its queue, rebuilt from the times at which messages were sent.

Bandwidth gives no playback signal, no mark and no acknowledgement. It appends each ``playAudio``
to a queue, plays that in real time, and empties it at ``clear``, as other carriers do. Hence, for
the message sent at ``time[i]``::

    start[i] = max(time[i] + delay, end[i-1])       (+ prebuffer, for the first after idle)
    end[i]   = start[i] + duration[i]

An *underrun* is the silence between ``end[i-1]`` and ``start[i]`` when message ``i`` continues
the utterance of message ``i-1``: the person on the phone hears a hole in a word. The silence
before a new utterance is not one. Counting every gap makes a good call look fifty times as bad.

Carriers that say what they have played bound the model: see :mod:`workbench.call.acknowledged`.

Conventions:
    Times and durations in seconds on one clock; ``*_ms`` in milliseconds. Message ``i`` of every
    array is the same message. Arrays are float64 unless stated.

References:
    Bandwidth, migration-toolkit, ``bw-source.ts``: the same queue, as Bandwidth models it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Bounds", "Cushion", "Playout", "Uncut", "Underrun", "reconstruct", "uncut"]

#: A silence of a second is a pause even if there are words on both sides of it.
MAX_GAP: Final = 1.0
#: Shorter holes are the rounding of clocks, not something that anybody hears: one sample of
#: 8 kHz lasts 0.125 ms.
MIN_GAP: Final = 0.001
#: Far-end buffers that the cushion table tries, in milliseconds.
CUSHIONS_MS: Final = (20, 40, 60, 100, 200)


class Underrun(NamedTuple):
    """A hole in an utterance.

    Parameters:
        start: When the queue ran dry.
        end: When the next audio came.
        message: Index of the message that ended it.
    """

    start: float
    end: float
    message: int


class Bounds(NamedTuple):
    """What is known of a far end that says what it has played, by message.

    Parameters:
        no_sooner: Each begins no sooner, shape ``(n,)``; ``-inf`` where nothing is known.
        no_later: Each is over no later, shape ``(n,)``; ``inf`` likewise. What it has more is lost.
    """

    no_sooner: NDArray[np.float64]
    no_later: NDArray[np.float64]


class Cushion(NamedTuple):
    """One row of the cushion table.

    Parameters:
        cushion_ms: How much audio the far end would hold back before it starts to play.
        hidden: Share of the underruns that nobody would have heard, 0 to 1.
        underruns: How many would be left.
    """

    cushion_ms: int
    hidden: float
    underruns: int


@dataclass(frozen=True, eq=False)
class Playout:
    """The far end's queue over a whole call.

    Parameters:
        time: When each message was sent.
        duration: How much audio it held.
        start: When its audio began to play; ``nan`` if it never did.
        heard: How much of it was played before a ``clear``, 0 to ``duration``.
        lead: Audio still queued when the message was sent, 0 if the queue had run dry.
        continues: Shape ``(n,)``, bool: whether the message continues the utterance before it.
        underruns: The holes inside utterances, in order.
        prebuffer_ms: As given to :func:`reconstruct`.
        delay_ms: As given to :func:`reconstruct`.
        stopped: As given to :func:`reconstruct`.
        bounds: As given to :func:`reconstruct`.
        clears: When the queue was emptied, in order; ``stopped`` among them.
    """

    time: NDArray[np.float64]
    duration: NDArray[np.float64]
    start: NDArray[np.float64]
    heard: NDArray[np.float64]
    lead: NDArray[np.float64]
    continues: NDArray[np.bool_]
    underruns: tuple[Underrun, ...]
    prebuffer_ms: float = 0.0
    delay_ms: float = 0.0
    stopped: float | None = None
    bounds: Bounds | None = None
    clears: tuple[float, ...] = ()

    def is_told(self, hole: Underrun) -> bool:
        """Whether a hole is there because the far end said so: the messages came in time."""
        return self.bounds is not None and bool(self.bounds.no_sooner[hole.message] >= hole.end)

    @property
    def end(self) -> NDArray[np.float64]:
        """When the last played sample of each message was over; ``nan`` if none was."""
        return self.start + self.heard

    @property
    def said_ms(self) -> float:
        """Audio sent, in milliseconds."""
        return 1000 * float(self.duration.sum())

    @property
    def heard_ms(self) -> float:
        """Audio played, in milliseconds: what was sent less what ``clear`` threw away."""
        return 1000 * float(self.heard.sum())

    @property
    def underrun_ms(self) -> NDArray[np.float64]:
        """Length of each underrun in milliseconds, shape ``(k,)``."""
        return 1000 * np.array([hole.end - hole.start for hole in self.underruns], float)

    def cushion_table(self, cushions_ms: Sequence[int] = CUSHIONS_MS) -> tuple[Cushion, ...]:
        """How many of the underruns a larger buffer at the far end, or a larger lead, would hide.

        The same messages are played again with each prebuffer. A cushion costs as much delay as
        it is long, so take the smallest that hides enough.

        Args:
            cushions_ms: The prebuffers to try.

        Returns:
            One row for each, in the order given.
        """
        found = len(self.underruns)
        rows = []
        for cushion_ms in cushions_ms:
            again = reconstruct(
                self.time,
                self.duration,
                self.clears,
                prebuffer_ms=self.prebuffer_ms + cushion_ms,
                delay_ms=self.delay_ms,
                continues=self.continues,
                stopped=self.stopped,
                bounds=self.bounds,
            )
            left = len(again.underruns)
            rows.append(Cushion(cushion_ms, 1 - left / found if found else 1.0, left))
        return tuple(rows)

    def __repr__(self) -> str:
        return (
            f"Playout({len(self.time)} messages, said {self.said_ms:.0f} ms, "
            f"heard {self.heard_ms:.0f} ms, {len(self.underruns)} underruns)"
        )


@dataclass(frozen=True, eq=False)
class Uncut:
    """The queue as if no interruption had thrown anything away, up to what is said next.

    Parameters:
        time: When each message was sent.
        duration: How much audio it held.
        start: When its audio would have begun to play; finite, unlike :attr:`Playout.start`.
        kept: How much of it there would have been time for before what was sent after the next
            interruption, 0 to ``duration``.
        cut: When the next interruption was; ``inf`` if there was none.
    """

    time: NDArray[np.float64]
    duration: NDArray[np.float64]
    start: NDArray[np.float64]
    kept: NDArray[np.float64]
    cut: NDArray[np.float64]

    @property
    def end(self) -> NDArray[np.float64]:
        """When each message was over, or interrupted."""
        return np.minimum(self.start + self.duration, self.cut)


def uncut(time: ArrayLike, duration: ArrayLike, cuts: ArrayLike) -> Uncut:
    """Rebuild the queue with all that was meant to be said.

    Args:
        time: As for :func:`reconstruct`.
        duration: As for :func:`reconstruct`.
        cuts: When it was interrupted, any order.

    Raises:
        ValueError: As :func:`reconstruct`.
    """
    times, durations, at = _validated(time, duration, cuts, 0.0, 0.0)
    following = np.searchsorted(times, at, side="left")
    queue = reconstruct(times, durations, times[following[following < len(times)]])
    start = np.where(np.isnan(queue.start), queue.time + queue.lead, queue.start)
    cut = np.append(at, np.inf)[np.searchsorted(at, times, side="right")]
    return Uncut(times, durations, start, queue.heard, cut)


def reconstruct(
    time: ArrayLike,
    duration: ArrayLike,
    clears: ArrayLike = (),
    *,
    prebuffer_ms: float = 0.0,
    delay_ms: float = 0.0,
    continues: ArrayLike | None = None,
    stopped: float | None = None,
    bounds: Bounds | None = None,
) -> Playout:
    """Rebuild the far end's queue.

    Args:
        time: When each ``playAudio`` was sent, shape ``(n,)``, not falling.
        duration: How much audio it held, shape ``(n,)``, not negative.
        clears: When the queue was emptied, any order. A ``clear`` sent at the very time of a
            message counts as sent before it. What is playing is cut there and then; a carrier may
            finish the 20 ms that are under way.
        prebuffer_ms: How long the far end waits before it plays the first message after idle.
        delay_ms: How long a message is under way.
        continues: Shape ``(n,)``, bool: whether each message continues the utterance before it.
            The caller who knows the sound can tell; by default every message does that comes
            less than :data:`MAX_GAP` after the queue ran dry, unless there was a ``clear``.
        stopped: When the stream ended, which empties the queue too; nothing that was sent from
            then on is played. ``None`` if it did not.
        bounds: What the far end said of what it played, if it says such things.

    Returns:
        The queue over the whole call. After idle the far end waits for its prebuffer; after an
        underrun it does not, it plays the late message at once.

    Raises:
        ValueError: For shapes that differ, times that fall, or anything negative or not finite.
    """
    emptied = np.append(clears, () if stopped is None else stopped)
    times, durations, cuts = _validated(time, duration, emptied, prebuffer_ms, delay_ms)
    count = len(times)
    live = count if stopped is None else int(np.searchsorted(times, stopped, side="left"))
    known = None if continues is None else np.asarray(continues, bool)
    if known is not None and known.shape != times.shape:
        raise ValueError(f"{known.shape=} of continues, {times.shape} is wanted")
    delay, prebuffer = delay_ms / 1000, prebuffer_ms / 1000
    sooner, later = ([], []) if bounds is None else (bound.tolist() for bound in bounds)
    starts, leads, joins = [], [], []
    holes: list[Underrun] = []
    edges = np.minimum(np.searchsorted(times, cuts, side="left"), live).tolist()
    for first, last in pairwise([0, *edges, live]):
        end = -np.inf
        # Plain floats: an hour is 90,000 turns of this loop, some 30 ms.
        rows = zip(times[first:last].tolist(), durations[first:last].tolist(), strict=True)
        for index, (sent, length) in enumerate(rows, first):
            arrives = sent + delay
            if sooner and sooner[index] > arrives:
                arrives = sooner[index]
            gap = arrives - end
            if gap <= 0:
                begin, lead, follows = end, -gap, True
            else:
                joined = bool(known[index]) if known is not None else gap < MAX_GAP
                lead, follows = 0.0, joined and end > -np.inf
                begin = arrives if follows else arrives + prebuffer
                if follows and gap > MIN_GAP:
                    holes.append(Underrun(end, arrives, index))
            starts.append(begin)
            leads.append(lead)
            joins.append(follows)
            end = begin + length
            if later and later[index] < end:
                end = max(begin, later[index])
    unplayed = count - live
    start = np.array([*starts, *[np.nan] * unplayed], float)
    heard = _heard(start, durations, cuts + delay, edges)
    heard[live:] = 0.0
    if bounds is not None:
        heard = np.fmin(heard, np.maximum(bounds.no_later - start, 0.0))  # of what began
    start[(heard <= 0) & (durations > 0)] = np.nan
    return Playout(
        times,
        durations,
        start,
        heard,
        np.array([*leads, *[0.0] * unplayed], float),
        np.array([*joins, *[False] * unplayed], bool) if known is None else known,
        tuple(holes),
        prebuffer_ms,
        delay_ms,
        stopped,
        bounds,
        tuple(cuts.tolist()),
    )


def _heard(
    start: NDArray[np.float64],
    duration: NDArray[np.float64],
    cuts: NDArray[np.float64],
    edges: list[int],
) -> NDArray[np.float64]:
    """How much of each message was played before the first cut after it was sent."""
    heard = duration.copy()
    first = 0
    for cut, last in zip(cuts.tolist(), edges, strict=True):
        mine = slice(first, last)
        heard[mine] = np.clip(cut - start[mine], 0.0, duration[mine])
        first = last
    return heard


def _validated(
    time: ArrayLike, duration: ArrayLike, clears: ArrayLike, prebuffer_ms: float, delay_ms: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    times, durations = np.asarray(time, float), np.asarray(duration, float)
    cuts = np.sort(np.asarray(clears, float).ravel())
    if times.ndim != 1 or times.shape != durations.shape:
        raise ValueError(f"{times.shape=} and {durations.shape=}, the same (n,) is wanted")
    if not (np.isfinite(times).all() and np.isfinite(durations).all() and np.isfinite(cuts).all()):
        raise ValueError("times, durations and clears are finite")
    if (np.diff(times) < 0).any():
        raise ValueError("times fall, messages are wanted in the order in which they were sent")
    if (durations < 0).any():
        raise ValueError(f"a duration of {durations.min()} s, none is negative")
    if not (prebuffer_ms >= 0 and delay_ms >= 0):
        raise ValueError(f"{prebuffer_ms=} and {delay_ms=}, neither is negative")
    return times, durations, cuts
