"""A wait for the bot, split at the milestones that its pipeline told of.

A stage ends with a *milestone*, and belongs to whoever brought that about: the processor that pushed
the frame, by Pipecat's name for it. In which order a pipeline passes its milestones is its own
business: a turn may end with the transcript or before it, a model may be asked ahead. So they are
taken in the order of their times, and of each kind the one that the sound came of. What nobody tells
of only makes the next stage longer.

Conventions:
    Times in seconds on the call's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.call.playout import Playout
from workbench.call.stages import KINDS, Stage
from workbench.call.streams import PipelineRecord
from workbench.metrics.speech import HOP

__all__ = ["Milestone", "Sending", "split", "told_by"]

#: What each event of :mod:`workbench.observer` is the milestone of.
_MILESTONES: Final = {
    "pipeline starts": "start",
    "voice of the caller ends": "voice_end",
    "transcription": "transcript",
    "turn of the caller ends": "turn_end",
    "model asked": "model_asked",
    "function call": "function_asked",
    "function result": "function",
    "first token": "first_token",
    "text to speak": "sentence",
    "sentence": "sentence",
    "synthesis begins": "sentence",
    "first audio": "first_byte",
}
#: Kinds that are part of making an answer.
_ANSWERING: Final = ("model_asked", "function_asked", "first_token", "sentence", "first_byte")
#: Kinds between the end of the caller's turn and the model's words.
_ASKING: Final = ("model_asked", "function_asked", "function")
#: What a synthesis tells itself of a sentence that somebody else made.
_OWN_WORD: Final = ("sentence", "synthesis begins")
#: Messages that follow each other with no more silence than this, in seconds, are one run.
_RUN: Final = 0.02
#: Less than this is no time that anybody took, in seconds.
_AT_ONCE: Final = 0.05


class Milestone(NamedTuple):
    """When a stage was over.

    Parameters:
        time: In seconds.
        name: Of the stage.
        owner: Whose it was.
    """

    time: float
    name: str
    owner: str


@dataclass(frozen=True, eq=False)
class Sending:
    """The way of the bot's audio out of the pipeline, as the tap saw it.

    Parameters:
        frames: When each audio frame was given to the serializer.
        playout: The far end's queue.
        transport: Who gives the serializer its frames; empty if nothing tells.
        serializer: Who makes the messages.
    """

    frames: NDArray[np.float64]
    playout: Playout
    transport: str = ""
    serializer: str = ""

    def milestones(self, start: float, end: float, message: int | None = None) -> list[Milestone]:
        """First frame and first message of the sound that is heard from ``end`` on.

        Args:
            start: When the wait began.
            end: When it was over.
            message: Index of the first message; by default the first of the run that sounds then.

        Returns:
            Both, or none where nothing was sent for that sound.
        """
        queue = self.playout
        first = message
        if first is None:
            sounds = np.flatnonzero((queue.end > end + HOP / 2) & (queue.start < end + 2 * HOP))
            if not len(sounds):
                return []
            first = self._run(int(sounds[0]), start)
        sent = float(queue.time[first])
        # A resampler may hold frames back: all since the message before it made this one.
        before = max(start, float(queue.time[first - 1])) if first else start
        given = self.frames[(self.frames > before) & (self.frames <= sent)]
        given_at = float(given[0]) if len(given) else sent
        return [
            Milestone(given_at, "frame", self.transport),
            Milestone(sent, "message", self.serializer),
        ]

    def _run(self, last: int, start: float) -> int:
        """First message of the run that another one belongs to."""
        queue, first = self.playout, last
        while first and queue.start[first] - queue.end[first - 1] <= _RUN:  # NaN: nothing played
            if queue.time[first - 1] <= start:
                return last  # sound without end, as of a mixer: no beginning is told
            first -= 1
        return first


def split(
    start: float,
    end: float,
    pipeline: Sequence[PipelineRecord],
    sending: Sequence[Milestone],
    audible: bool = True,
) -> tuple[Stage, ...]:
    """Split a wait into its stages.

    Args:
        start: When it began: the caller's last sound.
        end: When it was over: the bot's first sound, or when nobody waited for it any more.
        pipeline: What the pipeline said of itself, in order of time.
        sending: From :meth:`Sending.milestones`; empty if nothing came.
        audible: Whether it ended with a sound of the bot's.

    Returns:
        Its stages in order of time; those that took no time are left out.
    """
    until = sending[0].time if sending else end
    during = [event for event in pipeline if start < event.time <= until]
    found = _chain(during) if during else []
    if not any(mark.name != "start" for mark in found) and sending and not pipeline:
        found = [Milestone(until, "pipeline", "")]
        sending = sending[1:]
    marks = [*found, *sending]
    if audible:
        voice = next((mark.owner for mark in reversed(found) if mark.name == "first_byte"), "")
        marks.append(Milestone(end, "audible" if sending else "pipeline", voice))
    else:
        marks.append(_outstanding(marks, end, pipeline))
    return _joined(start, end, marks)


def _chain(during: Sequence[PipelineRecord]) -> list[Milestone]:
    """Of the events in a wait, those that its sound came of."""
    marks, known = _since_thrown(
        [e for e in during if e.what in _MILESTONES or e.what == "interruption"]
    )
    sounds = _of(known, "first_byte")
    voice = sounds[-1] if sounds else None
    known = _before(known, voice)
    marks += [_milestone(event) for event in known if event.what == "pipeline starts"]
    # Sentences are said in the order in which they are handed over.
    sentence = next(iter(_of(known, "sentence")), None)
    if sentence and sentence.what == "synthesis begins" and not _of(known, "first_token"):
        sentence = None  # who speaks without having been given words: speech to speech
    spoken = _before(known, sentence)
    token = _last(spoken, "first_token")
    asking = [e for e in _before(spoken, token) if _MILESTONES[e.what] in _ASKING]
    marks += _heard(known, spoken, asking, token or sentence or voice)
    for event in asking:
        called = event.what == "function call"
        model = told_by([e for e in during if e.time <= event.time], "model begins")
        marks.append(_milestone(event, model if called else event.processor))
    if token is not None:
        marks.append(_milestone(token))
    if sentence is not None:
        # The synthesis only says when it was given one: that it had to wait was the model's doing.
        maker = token if token and sentence.what in _OWN_WORD else sentence
        marks.append(_milestone(sentence, maker.processor))
        sounds = [event for event in sounds if event.time >= sentence.time]
    return [*marks, *map(_milestone, sounds)]


def _since_thrown(
    known: Sequence[PipelineRecord],
) -> tuple[list[Milestone], Sequence[PipelineRecord]]:
    """The end of the last answer that was begun and thrown away, if there was one; what came after."""
    begun = False
    last = -1
    for index, event in enumerate(known):
        begun = begun or _MILESTONES.get(event.what) in _ANSWERING
        if begun and event.what == "interruption":
            last = index
    kept = [event for event in known[last + 1 :] if event.what in _MILESTONES]
    if last < 0:
        return [], kept
    return [Milestone(known[last].time, "abandoned", known[last].processor)], kept


def _heard(
    known: Sequence[PipelineRecord],
    spoken: Sequence[PipelineRecord],
    asking: Sequence[PipelineRecord],
    following: PipelineRecord | None,
) -> list[Milestone]:
    """How the caller was heard: end of voice, transcript and end of turn, as far as they are told."""
    turn = _last(spoken, "turn_end")
    decided = asking[0] if asking else following
    heard = _before(known, max((e for e in (turn, decided) if e), key=_time, default=None))
    if turn and asking and 0 < turn.time - asking[0].time < _AT_ONCE:
        # Who decides that a turn is over asks the model, and says so in the next breath.
        turn = replace(turn, time=asking[0].time)
    found = (_last(heard, "voice_end"), _last(heard, "transcript"), turn)
    return [_milestone(event) for event in found if event is not None]


def _milestone(event: PipelineRecord, owner: str | None = None) -> Milestone:
    whose = event.processor if owner is None else owner
    return Milestone(event.time, _MILESTONES[event.what], whose)


def _joined(start: float, end: float, marks: Iterable[Milestone]) -> tuple[Stage, ...]:
    """Stages from one milestone to the next; of one kind in a row, one of whoever took longest."""
    found: list[Stage] = []
    longest, at = 0.0, start
    for mark in sorted(marks, key=lambda mark: min(mark.time, end)):
        time = min(max(mark.time, at), end)
        if time <= at:
            continue
        if found and found[-1].name == mark.name:
            owner = mark.owner if time - at > longest + _AT_ONCE else found[-1].owner
            longest = max(longest, time - at)
            found[-1] = Stage(mark.name, found[-1].start, time, owner)
        else:
            longest = time - at
            found.append(Stage(mark.name, at, time, mark.owner))
        at = time
    return tuple(found)


def _outstanding(
    marks: Sequence[Milestone], end: float, pipeline: Sequence[PipelineRecord]
) -> Milestone:
    """What had not come yet when a wait was over: the kind after the last that had."""
    if not marks:
        return Milestone(end, "voice_end" if pipeline else "pipeline", "")
    order = [name for name in KINDS if name not in ("function_asked", "function", "abandoned")]
    last = max(marks, key=lambda mark: (mark.time, list(KINDS).index(mark.name))).name
    if last == "abandoned":
        return Milestone(end, "voice_end", "")
    if last == "function_asked":
        return Milestone(end, "function", told_by(pipeline, "function call"))
    name = (
        "model_asked" if last == "function" else order[min(order.index(last) + 1, len(order) - 1)]
    )
    owners = [e.processor for e in pipeline if _MILESTONES.get(e.what) == name]
    return Milestone(end, name, owners[-1] if owners else "")


def _of(events: Iterable[PipelineRecord], name: str) -> list[PipelineRecord]:
    return [event for event in events if _MILESTONES.get(event.what) == name]


def _last(events: Sequence[PipelineRecord], name: str) -> PipelineRecord | None:
    return next(iter(_of(reversed(events), name)), None)


def _before(
    events: Sequence[PipelineRecord], last: PipelineRecord | None
) -> Sequence[PipelineRecord]:
    """Those up to another one, all if there is none."""
    return events if last is None else [event for event in events if event.time <= last.time]


def _time(event: PipelineRecord | Milestone) -> float:
    return event.time


def told_by(pipeline: Sequence[PipelineRecord], what: str) -> str:
    """Who told of something last: the name of the processor, or nothing."""
    return next((e.processor for e in reversed(pipeline) if e.what == what and e.processor), "")
