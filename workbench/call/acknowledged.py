"""What a carrier tells of its playout, and the queue model held against it.

Some carriers answer a *mark* when all that was sent before it has been played. The answer is at the
bot a round trip later; with that taken off, it says when the last message before the mark was over::

    over = arrived - lateness of the caller's audio then - round trip

The round trip is that of the quickest mark with nothing queued before it, which is answered at once,
or of most others if they were quicker; where there is none, of the quickest of all. A queue that is over more than :data:`TOLERANCE` sooner
than the answer says began later: at its first message since it last ran dry, or since the mark
before. One that is over later lost what it had too much.

Twilio and Telnyx answer the marks that wait at a ``clear`` too: what was answered after a clear says
nothing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.call.life import HELD
from workbench.call.playout import Bounds, Playout
from workbench.call.streams import Stream

__all__ = ["TOLERANCE", "Asked", "Check", "Mark", "check", "paired"]

#: Differences up to this, in seconds, are jitter: two packets of 20 ms, since a far end looks at its
#: queue once a packet, and the network takes its own time.
TOLERANCE: Final = 0.040
#: A message of the caller so shortly before an answer was as late as the answer was, in seconds.
_BESIDE: Final = 0.050


class Asked(NamedTuple):
    """A mark that the bot set.

    Parameters:
        time: When it was sent.
        name: As it was sent.
        sent: Messages of audio that were sent before.
    """

    time: float
    name: str
    sent: int


@dataclass(frozen=True)
class Mark:
    """A place in what the bot sent, and when the carrier said that it was reached.

    Parameters:
        name: The bot's own.
        asked: When the mark was sent.
        sent: How many messages of audio were sent before it.
        answered: When the answer came; ``None`` if it never did.
        is_cleared: Whether a ``clear`` came between: the answer does not tell that it was played.
    """

    name: str
    asked: float
    sent: int
    answered: float | None = None
    is_cleared: bool = False


@dataclass(frozen=True, eq=False)
class Check:
    """The queue model against what the carrier said.

    Parameters:
        marks: Answers that tell something.
        round_trip_ms: How long an answer takes.
        difference_ms: Of each, how much later than the model its audio was over, shape ``(marks,)``.
        corrected: How many of them were further off than :data:`TOLERANCE`.
        bounds: What they say of each message.
    """

    marks: int
    round_trip_ms: float
    difference_ms: NDArray[np.float64]
    corrected: int
    bounds: Bounds

    @property
    def stats(self) -> dict[str, float]:
        """Its figures, by name."""
        return {
            "marks": self.marks,
            "marks_corrected": self.corrected,
            "mark_round_trip_ms": self.round_trip_ms,
            "mark_difference_ms": float(np.abs(self.difference_ms).max()),
        }

    def sentence(self, carrier: str) -> str:
        """The outcome, in a sentence without a full stop."""
        worst = float(np.abs(self.difference_ms).max())
        what = f"{self.marks} mark{'s' * (self.marks != 1)} that {carrier} answered"
        if not self.corrected:
            agree = "agree" if self.marks != 1 else "agrees"
            return f"{what} {agree} with the queue model within {worst:.0f} ms"
        far = float(self.difference_ms[np.argmax(np.abs(self.difference_ms))])
        way = "later" if far > 0 else "sooner"
        return (
            f"the queue model is corrected by {self.corrected} of {what}: played up to {worst:.0f} ms "
            f"{way} than it had it"
        )


def paired(
    asked: Iterable[Asked], answers: Iterable[tuple[float, str]], clears: Sequence[float]
) -> tuple[Mark, ...]:
    """Find the answer to each mark.

    Args:
        asked: The marks, in order.
        answers: When each came, and to which name, in order.
        clears: When the queue was emptied.

    Returns:
        The marks, in order. A name that was given several times is answered in its order.
    """
    came: defaultdict[str, deque[float]] = defaultdict(deque)
    for time, name in answers:
        came[name].append(time)
    cuts = np.sort(np.asarray(clears, float))
    marks = []
    for one in asked:
        waiting = came[one.name]
        while waiting and waiting[0] < one.time:
            waiting.popleft()  # to nothing that was asked
        answered = waiting.popleft() if waiting else None
        until = np.inf if answered is None else answered
        before, after = np.searchsorted(cuts, [one.time, until], side="right")
        marks.append(Mark(one.name, one.time, one.sent, answered, bool(after > before)))
    return tuple(marks)


def check(queue: Playout, marks: Iterable[Mark], inbound: Stream) -> Check | None:
    """Hold the queue model against the answers.

    Args:
        queue: The model, without them.
        marks: All of the call, in order.
        inbound: The caller's audio: what was held up held up the answers too.

    Returns:
        ``None`` where no answer tells anything.
    """
    told = [m for m in marks if m.answered is not None and not m.is_cleared]
    if not told:
        return None
    answered = np.array([m.answered for m in told], float)
    asked = np.array([m.asked for m in told], float)
    last = np.array([m.sent - 1 for m in told], np.intp)
    arrived = np.maximum(answered - _lateness(answered, inbound), asked)
    # Before the first message nothing was queued.
    ends = np.fmax.accumulate(np.append(-np.inf, queue.end))[last + 1]
    is_dry = ends <= asked
    round_trip = _round_trip(arrived - np.maximum(ends, asked), is_dry)
    over = np.full(len(queue.time), np.nan)
    wet = np.flatnonzero(~is_dry)
    over[last[wet]] = arrived[wet] - round_trip
    bounds, differences = _bounds(queue, over)
    far = np.abs(differences) > TOLERANCE
    every = differences if len(differences) else np.zeros(1)
    return Check(len(told), 1000 * round_trip, 1000 * every, int(far.sum()), bounds)


def _round_trip(lag: NDArray[np.float64], is_dry: NDArray[np.bool_]) -> float:
    """How long an answer takes, by how much later than the model's end each came."""
    # One that came before its audio can have been over tells that some was lost, and nothing else.
    dry, wet = lag[is_dry & (lag >= 0)], lag[~is_dry & (lag >= 0)]
    if len(dry):
        return float(min(dry.min(), np.median(wet))) if len(wet) else float(dry.min())
    return float(wet.min()) if len(wet) else 0.0


def _lateness(times: NDArray[np.float64], inbound: Stream) -> NDArray[np.float64]:
    """How long what came just before each time had been held up, if it was."""
    if not len(inbound.late):
        return np.zeros(len(times))
    index = np.searchsorted(inbound.time, times, side="right") - 1
    near = (index >= 0) & (times - inbound.time[index] < _BESIDE)
    return np.where(near & (inbound.late[index] >= HELD), inbound.late[index], 0.0)


def _bounds(queue: Playout, over: NDArray[np.float64]) -> tuple[Bounds, NDArray[np.float64]]:
    """What the answers say of each message, and how far each was from the queue so far.

    Args:
        queue: The model, without them.
        over: When each message was over, ``nan`` where nothing tells.
    """
    count = len(queue.time)
    sooner, later = np.full(count, -np.inf), np.full(count, np.inf)
    anew = set(np.searchsorted(queue.time, queue.clears).tolist())
    begins, differences = np.zeros(count), []
    end, anchor = -np.inf, 0
    rows = zip(queue.time.tolist(), queue.duration.tolist(), over.tolist(), strict=True)
    for index, (sent, length, told) in enumerate(rows):
        if index in anew or sent > end:
            end, anchor = -np.inf, index
        begins[index] = max(sent, end)
        end = begins[index] + length
        if np.isnan(told):
            continue
        apart = told - end
        differences.append(apart)
        if apart > TOLERANCE:
            sooner[anchor] = begins[anchor] + apart
            end = told
        elif apart < -TOLERANCE:
            later[anchor : index + 1] = told
            end = told
        anchor = index + 1
    return Bounds(sooner, later), np.array(differences, float)
