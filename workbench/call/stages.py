"""A wait for the bot, split into the stages of its pipeline that took it.

Conventions:
    Times in seconds on the call's clock. The stages of a wait follow each other without a gap: each
    begins where the one before it ended, the first with the wait, the last ends with it. So their
    sum is the whole, whatever is known: what is not known only makes a stage longer, the one whose
    end is the next thing that is.

A stage ends with a *milestone*, and belongs to whoever brought that about: the processor that pushed
the frame, by Pipecat's name for it. In which order a pipeline passes its milestones is its own
business: a turn may end with the transcript or before it, a model may be asked ahead. So they are
taken in the order of their times, and of each kind the one that the sound came of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.call.playout import Playout
from workbench.call.streams import PipelineRecord
from workbench.metrics.speech import HOP

__all__ = ["KINDS", "Kind", "Sending", "Stage", "in_words", "largest", "split", "told_by"]


class Kind(NamedTuple):
    """One kind of stage.

    Parameters:
        title: What it ends with, for people.
        noun: The same, of whom it belongs to: "CartesiaTTSService's *first byte*".
        setting: What governs how long it takes.
    """

    title: str
    noun: str
    setting: str


#: Every kind, by name, in the order in which most pipelines pass them.
KINDS: Final[dict[str, Kind]] = {
    "pipeline": Kind("all that the pipeline did", "part", "PipelineEvents(tap) tells the stages"),
    "start": Kind("pipeline started", "start", "connect services before the call is answered"),
    "abandoned": Kind(
        "an answer begun and thrown away",
        "interruption",
        "what may interrupt: VADParams, min_words",
    ),
    "voice_end": Kind("end of voice noticed", "end of voice", "VADParams.stop_secs"),
    "transcript": Kind(
        "transcript final", "transcript", "the recogniser's endpointing; ttfs_p99_latency"
    ),
    "turn_end": Kind(
        "end of turn decided", "end of turn", "the turn analyzer; user_speech_timeout"
    ),
    "model_asked": Kind(
        "model asked", "question to the model", "what stands between the turn's end and the model"
    ),
    "function_asked": Kind(
        "function called by the model", "call of a function", "the model, its context, its region"
    ),
    "function": Kind(
        "function's result", "result", "the function; let the bot say something meanwhile"
    ),
    "first_token": Kind(
        "model's first token", "first token", "the model, its context, its region; prompt caching"
    ),
    "sentence": Kind(
        "first sentence handed to the synthesis", "first sentence", "text_aggregation_mode"
    ),
    "first_byte": Kind(
        "synthesis' first byte", "first byte", "the voice's model and region; one connection kept"
    ),
    "frame": Kind("first frame at the serializer", "first frame", "audio_out_10ms_chunks"),
    "message": Kind("first message", "first message", "audio_out_sample_rate as the wire's"),
    "audible": Kind(
        "first audible sample", "silence before the words", "the voice; outbound_cushion_ms"
    ),
}
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
#: What a synthesis tells itself of a sentence that somebody else made.
_OWN_WORD: Final = ("sentence", "synthesis begins")
#: Messages that follow each other with no more silence than this, in seconds, are one run.
_RUN: Final = 0.02
#: Less than this is no time that anybody took, in seconds.
_AT_ONCE: Final = 0.05


@dataclass(frozen=True)
class Stage:
    """One stage of a wait.

    Parameters:
        name: Its kind, one of :data:`KINDS`.
        start: When it began: where the one before it ended.
        end: When what it ends with happened.
        owner: Whose it is: Pipecat's name of the processor, of a function its own; empty where
            nothing tells.
    """

    name: str
    start: float
    end: float
    owner: str = ""

    @property
    def took_ms(self) -> float:
        """How long it took."""
        return 1000 * (self.end - self.start)

    @property
    def title(self) -> str:
        """What it ends with."""
        return KINDS[self.name].title

    @property
    def setting(self) -> str:
        """What governs how long it takes."""
        return KINDS[self.name].setting

    @property
    def service(self) -> str:
        """The owner without the number that Pipecat gives it."""
        return self.owner.partition("#")[0]

    @property
    def told(self) -> str:
        """What it ends with and whose it is: ``CartesiaTTSService's first byte``."""
        service = self.service
        if not service:
            return self.title
        return f"{service}{chr(39) if service.endswith('s') else chr(39) + 's'} {KINDS[self.name].noun}"

    def __str__(self) -> str:
        return f"{self.took_ms:.0f} ms {self.told}"


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
    known: Sequence[PipelineRecord] = [
        event for event in during if event.what in _MILESTONES or event.what == "interruption"
    ]
    marks: list[Milestone] = []
    thrown = [
        index
        for index, event in enumerate(known)
        if event.what == "interruption"
        and any(_MILESTONES.get(other.what) in _ANSWERING for other in known[:index])
    ]
    if thrown:
        cut = known[thrown[-1]]
        marks.append(Milestone(cut.time, "abandoned", cut.processor))
        known = known[thrown[-1] + 1 :]
    sounds = _of(known, "first_byte")
    voice = sounds[-1] if sounds else None
    known = _before(known, voice)
    # Sentences are said in the order in which they are handed over.
    sentence = next(iter(_of(known, "sentence")), None)
    if sentence and sentence.what == "synthesis begins" and not _of(known, "first_token"):
        sentence = None  # who speaks without having been given words: speech to speech
    spoken = _before(known, sentence)
    tokens = _of(spoken, "first_token")
    token = tokens[-1] if tokens else None
    asking = _before(spoken, token)
    steps = [
        e
        for e in asking
        if _MILESTONES.get(e.what) in ("model_asked", "function_asked", "function")
    ]
    turn = _last(spoken, "turn_end")
    decided = steps[0] if steps else token or sentence or voice
    heard = _before(known, max((e for e in (turn, decided) if e), key=_time, default=None))
    if turn and steps and 0 < turn.time - steps[0].time < _AT_ONCE:
        # Who decides that a turn is over asks the model, and says so in the next breath.
        turn = replace(turn, time=steps[0].time)
    starts = [event for event in known if event.what == "pipeline starts"]
    for event in [
        *starts,
        _last(heard, "voice_end"),
        _last(heard, "transcript"),
        turn,
        *steps,
        token,
    ]:
        if event is not None:
            asks = event.what == "function call"
            owner = _asked(during, event) if asks else event.processor
            marks.append(Milestone(event.time, _MILESTONES[event.what], owner))
    if sentence is not None:
        # The synthesis only says when it was given one: that it had to wait was the model's doing.
        maker = token if token and sentence.what in _OWN_WORD else sentence
        marks.append(Milestone(sentence.time, "sentence", maker.processor))
    marks += [Milestone(e.time, "first_byte", e.processor) for e in sounds]
    if sentence is not None:
        marks = [m for m in marks if m.name != "first_byte" or m.time >= sentence.time]
    return marks


def _asked(events: Sequence[PipelineRecord], call: PipelineRecord) -> str:
    """Which model called a function."""
    return told_by([e for e in events if e.time <= call.time], "model begins")


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


# -- in words ----------------------------------------------------------------------------------


def largest(stages: Iterable[Stage]) -> Stage | None:
    """The stage that took longest; ``None`` of none."""
    return max(stages, key=lambda stage: stage.took_ms, default=None)


def in_words(stages: Iterable[Stage]) -> str:
    """Whose the largest share was: ``1.9 s, of it 1.2 s (63 %) CartesiaTTSService's first byte``.

    Args:
        stages: Of one wait or of several; those of one kind and owner count together.

    Returns:
        Empty where nothing but the whole is known.
    """
    took: dict[str, float] = {}
    for stage in stages:
        took[stage.told] = took.get(stage.told, 0.0) + stage.took_ms
    most = max(took, key=lambda told: took[told], default=KINDS["pipeline"].title)
    if most == KINDS["pipeline"].title:
        return ""
    whole = sum(took.values())
    share = f"{_secs(took[most])} ({100 * took[most] / whole:.0f} %) {most}"
    return f"{_secs(whole)}, of it {share}"


def _secs(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"


def told_by(pipeline: Sequence[PipelineRecord], what: str) -> str:
    """Who told of something last: the name of the processor, or nothing."""
    return next((e.processor for e in reversed(pipeline) if e.what == what and e.processor), "")
