"""The life of a stream: what became of each message, read once from numbers, times and payloads.

A sender numbers its messages. What a number does and when its message came tell apart what looks
alike in the audio:

============ ============================== ======================================================
a spell is   the numbers                    the times
============ ============================== ======================================================
``lost``     jump                           go by as the numbers do
``paused``   go on                          stand still, and nothing makes up for it
``held``     go on                          stand still, then a burst catches up
``replayed`` come again, with their payload
``restart``  begin anew, with other audio
============ ============================== ======================================================

Between its spells a stream is simply there. Where a clock runs apart from ours, or one message comes
after another that it should precede, nothing is late and nothing is lost.

Conventions:
    Times and durations in seconds, float64, one per message, in the order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.call import unrecorded
from workbench.call.unrecorded import Unrecorded
from workbench.metrics.smoothing import running_minimum

__all__ = [
    "AHEAD",
    "HELD",
    "PAUSED",
    "Life",
    "Spell",
    "State",
    "anchored",
    "life_of",
    "step_of",
    "until",
]

State: TypeAlias = Literal["lost", "paused", "held", "replayed", "restart"]

#: Seconds of a message, where most hold nothing: what every carrier sends.
_USUAL: Final = 0.020
#: Later than this, with a burst behind it, is held back: an adaptive jitter buffer grows to about as
#: much, and Twilio's warning stands at 30 ms of mean.
HELD: Final = 0.100
#: A sender that skips less than this is jittering, not pausing: what a telephone's adaptive jitter
#: buffer rides out.
PAUSED: Final = 0.120
#: How many messages ahead are looked at for the one that was not held up: 30 s of 20 ms. A stall
#: longer than that is taken for a pause of the sender.
AHEAD: Final = 1500
#: A number that leaps this much further than the time that went by, in seconds, is a new count.
LEAP: Final = 60.0
#: So many messages tell whether a count that fell back repeats itself or begins anew.
_TELLING: Final = 10
#: Clocks are compared over stretches at least this long, in seconds: shorter ones show jitter.
DRIFT_SECS: Final = 30.0


@dataclass(frozen=True)
class Spell:
    """A stretch of a stream's life in which it was not simply there.

    Parameters:
        state: What it was.
        start: In seconds on the call's clock, where its audio belongs.
        end: Likewise. Of ``held``: when the burst came. Of ``restart``: the same as ``start``.
        count: Messages that are lost, were held, or were sent again; 0 for the others.
    """

    state: State
    start: float
    end: float
    count: int = 0

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True, eq=False)
class Life:
    """What became of each message of a stream.

    Parameters:
        number: One step per message sent, from 0, int64; goes on over a restart.
        duplicate: Whether it is a copy of one that was there before, bool.
        missing: How many before it were sent and never came, int64; those that the recording lost
            are not among them.
        start: Where its audio belongs; of a copy, where the first one stands.
        late: How much later it came than those behind it show it could have, at least 0.
        restarted: Whether a new count begins with it, bool.
        drift: How much slower the sender's clock runs than ours, in seconds a second; ``None``
            where nothing is long enough to tell.
        spells: What was out of the ordinary, in the order of ``start``.
    """

    number: NDArray[np.int64]
    duplicate: NDArray[np.bool_]
    missing: NDArray[np.int64]
    start: NDArray[np.float64]
    late: NDArray[np.float64]
    restarted: NDArray[np.bool_]
    drift: float | None
    spells: tuple[Spell, ...]


def step_of(duration: NDArray[np.float64]) -> float:
    """Seconds from one message of a sender to the next, by how much audio each holds, shape ``(n,)``."""
    return (float(np.median(duration)) if len(duration) else 0.0) or _USUAL


def life_of(
    time: NDArray[np.float64],
    sequence: NDArray[np.int64],
    duration: NDArray[np.float64],
    payloads: Sequence[bytes],
    begins: Sequence[float] = (),
    holes: Sequence[Unrecorded] = (),
) -> Life:
    """Read the life of a stream.

    Args:
        time: When each message arrived, shape ``(n,)``.
        sequence: Its number as sent, -1 where there was none, shape ``(n,)``.
        duration: How much audio it holds, shape ``(n,)``.
        payloads: Its bytes: a number that comes again with the same ones is a copy.
        begins: When a further stream began (a second ``start``).
        holes: Where the recording itself lost messages: they were sent, and they came.
    """
    count = len(time)
    if not count:
        none, nothing = np.empty(0, np.int64), np.empty(0)
        false = np.empty(0, np.bool_)
        return Life(none, false, none, nothing, nothing, false, None, ())
    step = step_of(duration)
    number, duplicate, restarted = _counted(time, sequence, payloads, begins, step)
    first = np.flatnonzero(~duplicate)
    order = first[np.argsort(number[first], kind="stable")]
    skipped = np.zeros(count, np.int64)
    skipped[order[1:]] = np.maximum(np.diff(number[order]) - 1, 0)
    missing = unrecorded.but_for(skipped, time, holes)
    ends = np.cumsum(duration[order] + skipped[order] * step)
    nominal = ends - duration[order]
    lag = time[order] - nominal
    drift = _drift(nominal, lag, step)
    apart = (drift or 0.0) * nominal
    settled = running_minimum(lag - apart, 0, AHEAD)
    start, late = np.empty(count), np.zeros(count)
    # A clock that runs apart is followed by whole messages: a track that crept would click.
    start[order] = nominal + anchored(settled) + np.rint(apart / step) * step
    late[order] = lag - apart - settled
    if duplicate.any():
        where = order[np.searchsorted(number[order], number[duplicate])]
        start[duplicate] = start[where]
    spells = [
        *_lost(start, missing, step),
        *_paused(start[order], duration[order], skipped[order], restarted[order], step),
        *_held(time[order], start[order], late[order]),
        *_replayed(start, duration, duplicate),
        *(Spell("restart", float(start[i]), float(start[i])) for i in np.flatnonzero(restarted)),
    ]
    spells.sort(key=lambda spell: (spell.start, spell.end))
    return Life(number, duplicate, missing, start, late, restarted, drift, tuple(spells))


def until(time: float, spells: Iterable[Spell]) -> Iterator[Spell]:
    """The spells that begin before a time, none longer than that."""
    for spell in spells:
        if spell.start < time:
            yield replace(spell, end=min(spell.end, time))


# -- what the numbers say ----------------------------------------------------------------------


def _counted(
    time: NDArray[np.float64],
    sequence: NDArray[np.int64],
    payloads: Sequence[bytes],
    begins: Sequence[float],
    step: float,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Numbers that count on from 0 whatever the sender did; which are copies, which begin anew."""
    count = len(sequence)
    duplicate, restarted = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    parts = np.searchsorted(begins, time, side="right")
    steps = np.diff(sequence, prepend=sequence[:1] - 1)
    leaps = (steps - 1) * step > np.diff(time, prepend=time[:1]) + LEAP
    if sequence.min() >= 0 and (steps > 0).all() and not leaps.any() and parts[0] == parts[-1]:
        return sequence - sequence[:1], duplicate, restarted  # without a fault, as nearly always
    number = np.empty(count, np.int64)
    seen: dict[int, int] = {}  # number to the index of its first message
    offset, last, last_time = max(int(sequence[0]), 0), -1, float(time[0])
    given = sequence.tolist()
    for index, (sent, at) in enumerate(zip(given, time.tolist(), strict=True)):
        current = last + 1 if sent < 0 else sent - offset
        is_new_part = index > 0 and parts[index] != parts[index - 1]
        leaps_ahead = (current - last - 1) * step > at - last_time + LEAP
        falls_back = current in seen and not _repeats(given, payloads, index, seen, offset)
        if sent >= 0 and (is_new_part or leaps_ahead or falls_back or current < 0):
            restarted[index] = is_new_part or falls_back or current < 0
            offset, current = sent - last - 1, last + 1
        if current in seen:
            duplicate[index] = True
        else:
            seen[current] = index
        number[index] = current
        if current > last:
            last, last_time = current, at
    return number, duplicate, restarted


def _repeats(
    given: Sequence[int], payloads: Sequence[bytes], index: int, seen: dict[int, int], offset: int
) -> bool:
    """Whether messages from ``index`` on are copies of those that had their numbers before.

    Silence is like silence, and a steady tone like itself: where nothing that could be compared
    changes, a count that goes on from its very beginning is a new one.
    """
    alike, dull = 0, 0
    for place in range(index, min(index + _TELLING, len(given))):
        if place > index and given[place] != given[place - 1] + 1:
            break
        before = seen.get(given[place] - offset)
        if before is None:
            break
        if payloads[before] != payloads[place]:
            return False
        alike += 1
        dull += len(set(payloads[place])) <= 1 or payloads[place] == payloads[place - 1]
    return dull < alike or given[index] - offset > 0 or alike < _TELLING


# -- what the times say ------------------------------------------------------------------------


def _drift(nominal: NDArray[np.float64], lag: NDArray[np.float64], step: float) -> float | None:
    """How much slower the sender's clock runs than ours, in seconds a second.

    The network only ever makes a message late, so the quickest of each second shows the clocks: the
    median slope between any two of them (Theil and Sen) is not moved by stalls. What came in a
    burst shows nothing and is left out; where the sender paused, a new stretch begins.
    """
    if len(lag) < 2:
        return None
    settled = running_minimum(lag, 0, AHEAD)
    # No clock falls back so far from one message to the next, or catches up by half of one.
    cuts = np.flatnonzero((np.diff(settled) > 0.05) | (np.diff(settled) < -step / 2)) + 1
    in_burst = (np.diff(lag, prepend=lag[:1]) < -step / 2) & (lag - settled > HELD)
    slopes, weights = [], []
    for stretch in np.split(np.arange(len(lag)), cuts):
        part = stretch[~in_burst[stretch]]
        if not len(part):
            continue
        length = nominal[part[-1]] - nominal[part[0]]
        if length < DRIFT_SECS:
            continue
        second = ((nominal[part] - nominal[part[0]]) // max(1.0, length / 300)).astype(int)
        begins = np.flatnonzero(np.diff(second, prepend=-1))
        y = np.minimum.reduceat(lag[part], begins)
        x = np.add.reduceat(nominal[part], begins) / np.diff(np.append(begins, len(part)))
        slopes.append(_slope(x, y))
        weights.append(length)
    return float(np.average(slopes, weights=weights)) if slopes else None


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The median slope between two points far apart, or between nearer ones if those show less of it.

    A sender that once falls behind by 20 ms has no slower clock: between most near points nothing moves.
    """
    i, j = np.triu_indices(len(x), max(1, len(x) // 4))
    slopes = (y[j] - y[i]) / (x[j] - x[i])
    near = j - i <= max(2, len(x) // 3)
    return float(min(np.median(slopes), np.median(slopes[near]), key=abs))


def anchored(settled: NDArray[np.float64], tolerance: float = PAUSED) -> NDArray[np.float64]:
    """What ``settled`` is, held still while it moves by no more than ``tolerance``."""
    anchors = []
    anchor = float(settled[0])
    for value in settled.tolist():
        if abs(value - anchor) > tolerance:
            anchor = value
        anchors.append(anchor)
    return np.array(anchors)


# -- spells ------------------------------------------------------------------------------------


def _lost(start: NDArray[np.float64], missing: NDArray[np.int64], step: float) -> Iterator[Spell]:
    for index in np.flatnonzero(missing):
        end, count = float(start[index]), int(missing[index])
        yield Spell("lost", end - count * step, end, count)


def _paused(
    start: NDArray[np.float64],
    duration: NDArray[np.float64],
    skipped: NDArray[np.int64],
    restarted: NDArray[np.bool_],
    step: float,
) -> Iterator[Spell]:
    """Where nothing was sent between two messages that follow each other in number."""
    end = start[:-1] + duration[:-1]
    gap = start[1:] - skipped[1:] * step - end
    for index in np.flatnonzero((gap > PAUSED / 2) & ~restarted[1:]):
        yield Spell("paused", float(end[index]), float(end[index] + gap[index]))


def _held(
    time: NDArray[np.float64], start: NDArray[np.float64], late: NDArray[np.float64]
) -> Iterator[Spell]:
    """Stalls: the first of a burst is the latest; those behind it belong to the same stall."""
    held = np.flatnonzero(late >= HELD)
    for run in np.split(held, np.flatnonzero(np.diff(held) > 1) + 1) if len(held) else ():
        # Two bursts without a message in time between them are two stalls if a second waits anew.
        waits = np.flatnonzero(np.diff(time[run]) >= HELD) + 1
        for part in np.split(run, waits):
            first = part[0]
            came = float(time[first])
            yield Spell("held", came - float(late[first]), came, len(part))


def _replayed(
    start: NDArray[np.float64], duration: NDArray[np.float64], duplicate: NDArray[np.bool_]
) -> Iterator[Spell]:
    again = np.flatnonzero(duplicate)
    for run in np.split(again, np.flatnonzero(np.diff(again) > 2) + 1) if len(again) else ():
        ends = start[run] + duration[run]
        yield Spell("replayed", float(start[run].min()), float(ends.max()), len(run))
