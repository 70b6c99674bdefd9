"""The bot's answers, each with the wait before it, stage by stage.

Conventions:
    Times in seconds on the call's clock. An answer's wait runs from the caller's last sound to the
    bot's first sound at the caller. See :mod:`workbench.call.stages` for what a stage is.

Which answers there are:

- A turn of the bot that follows one of the caller answers it: it is ``"heard"``, or
  ``"interrupted"`` if the pipeline was while the bot spoke.
- A turn of the bot that follows another one of its own is a further answer to the same turn
  (``after`` is ``"bot"``): its wait runs from the bot's own last sound, since only from there on
  was the caller waiting again. Prompts of a bot that nobody answers are of this kind too.
- What the pipeline began to answer and nobody heard anything of, since the caller spoke again or the
  call ended, is ``"abandoned"``: its wait runs up to there, and its last stage is the one that had
  not come to its end. Only a pipeline that tells of itself shows these.

A greeting answers nobody. Medians are of those that were heard and follow the caller.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, overload

import numpy as np

from workbench.call.milestones import Sending, split
from workbench.call.stages import KINDS, Stage, in_words, largest
from workbench.call.streams import PipelineRecord
from workbench.call.turns import Side, Turn
from workbench.call.words import Word, Words

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HOW_TO_SEE", "Answer", "Answers", "find_answers", "grown"]

Outcome: TypeAlias = Literal["heard", "interrupted", "abandoned"]

#: What to do where only the tap saw a wait.
HOW_TO_SEE: Final = (
    "Which stage of the pipeline took it is told by observers=[PipelineEvents(tap)] in the "
    "PipelineWorker."
)
#: Words may begin so much before the first sound that is told to be a voice, in seconds.
_EARLY: Final = 0.3
#: What began an answer, in a pipeline that tells of itself.
_BEGINS: Final = ("model begins", "first token", "text to speak", "synthesis begins", "first audio")
#: An interruption so shortly after the last word that was heard has cut the bot off, in seconds: its
#: transport is some frames of 40 ms ahead, and words fade out.
_LEAD: Final = 0.2


@dataclass(frozen=True)
class Answer:
    """One answer of the bot and the wait before it.

    Parameters:
        start: When the wait began: the last sound of whoever had spoken.
        end: When the bot was heard; of an abandoned one, when nobody waited for it any more.
        stages: What the wait consists of, without gaps.
        outcome: ``"heard"``, ``"interrupted"`` or ``"abandoned"``.
        after: Whose last sound it follows.
        words: What the bot said in it, where the capture holds words: ``words.unheard`` is what the
            caller did not hear of it, though the model believes it said that.
    """

    start: float
    end: float
    stages: tuple[Stage, ...]
    outcome: Outcome = "heard"
    after: Side = "caller"
    words: Words = Words()

    @property
    def wait_ms(self) -> float:
        """The whole wait."""
        return 1000 * (self.end - self.start)

    @property
    def largest(self) -> Stage:
        """The stage that took longest."""
        return max(self.stages, key=lambda stage: stage.took_ms)

    @property
    def is_seen(self) -> bool:
        """Whether the pipeline told of its stages."""
        return all(stage.name != "pipeline" for stage in self.stages)

    def __str__(self) -> str:
        return in_words(self.stages) or f"{self.wait_ms / 1000:.1f} s"


class Answers(Sequence[Answer]):
    """A call's answers in order: a sequence that shows itself as a table."""

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        """Keep them."""
        self._answers = tuple(answers)

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._answers)

    @overload
    def __getitem__(self, index: int) -> Answer: ...
    @overload
    def __getitem__(self, index: slice) -> Answers: ...
    def __getitem__(self, index: int | slice) -> Answer | Answers:
        """One of them, or a selection."""
        if isinstance(index, slice):
            return Answers(self._answers[index])
        return self._answers[index]

    @property
    def waited_for(self) -> Answers:
        """Those that were heard and follow the caller: what medians are of."""
        return Answers(a for a in self if a.after == "caller" and a.outcome != "abandoned")

    @property
    def is_seen(self) -> bool:
        """Whether the pipeline told of the stages of any."""
        return any(answer.is_seen for answer in self)

    @property
    def median_ms(self) -> dict[str, float]:
        """Name of each stage that there is to how long it takes in the middle, of all waited for."""
        waits = [_by_name(answer.stages) for answer in self.waited_for]
        names = [name for name in KINDS if any(name in wait for wait in waits)]
        return {name: float(np.median([w.get(name, 0.0) for w in waits])) for name in names}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row an answer: when, how long, whose, and milliseconds of each stage that there is."""
        names = [name for name in KINDS if any(s.name == name for a in self for s in a.stages)]
        rows = []
        for answer in self:
            took = _by_name(answer.stages)
            rows.append(
                {
                    "start": answer.start,
                    "end": answer.end,
                    "after": answer.after,
                    "outcome": answer.outcome,
                    "wait_ms": answer.wait_ms,
                    **{f"{name}_ms": took.get(name, 0.0) for name in names},
                    "largest": answer.largest.told,
                    "setting": answer.largest.setting,
                }
            )
        return rows

    @property
    def table(self) -> pd.DataFrame:
        """:attr:`rows` as a DataFrame, whose columns of stages add up to ``wait_ms``."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    @property
    def sentence(self) -> str:
        """The median, the slowest and its largest stage; of a call without answers, that."""
        waits = self.waited_for
        if not waits:
            return "the bot answered nothing"
        slowest = max(waits, key=lambda answer: answer.wait_ms)
        median = float(np.median([answer.wait_ms for answer in waits])) / 1000
        if len(waits) == 1:
            return f"one, after {slowest}"
        return f"{len(waits)}, half of them after {median:.1f} s, the slowest after {slowest}"

    def __repr__(self) -> str:
        return f"<Answers: {self.sentence}>"

    def _repr_html_(self) -> str:
        html: str = self.table.to_html(index=False, border=0, float_format="{:.2f}".format)
        return html + ("" if self.is_seen or not len(self) else f"<p>{HOW_TO_SEE}</p>")


def find_answers(
    turns: Sequence[Turn],
    pipeline: Sequence[PipelineRecord],
    sending: Sending,
    interruptions: Sequence[float],
    ended: float,
    words: Words | None = None,
) -> Answers:
    """Find a call's answers and split the wait before each.

    Args:
        turns: Who had the turn, in order.
        pipeline: What the pipeline said of itself, in order of time.
        sending: The way of the bot's audio.
        interruptions: When the pipeline was interrupted, in order.
        ended: When the call was.
        words: The bot's, if there are any.
    """
    found = []
    before: Turn | None = None
    for turn in turns:
        if turn.side == "bot":
            start, after = _since(turn, before)
            if start is not None and start < turn.start:
                stages = split(start, turn.start, pipeline, sending.milestones(start, turn.start))
                cut = any(turn.start < moment <= turn.end + _LEAD for moment in interruptions)
                outcome: Outcome = "interrupted" if cut else "heard"
                found.append(Answer(start, turn.start, stages, outcome, after))
        before = turn if before is None or turn.end > before.end else before
    found += _abandoned(turns, pipeline, ended)
    found.sort(key=lambda answer: (answer.end, answer.start))
    return Answers(_with_words(found, words) if words else found)


def _with_words(answers: Sequence[Answer], words: Words) -> Iterator[Answer]:
    """Give each answer its words; those of a greeting are nobody's."""
    own: dict[int | None, list[Word]] = {}
    last: dict[int, int | None] = {}  # of each speech, the answer that its last heard word is of
    heard = [i for i, answer in enumerate(answers) if answer.outcome != "abandoned"]
    begins = [answers[i].end for i in heard]
    for word in words:
        count = bisect_right(begins, word.start + _EARLY)
        which = heard[count - 1] if count else None
        if not word.heard and word.phrase in last:
            which = last[word.phrase]
        elif not word.heard:
            waited = (i for i, a in enumerate(answers) if a.start < word.start <= a.end)
            which = next(waited, which)
        last[word.phrase] = which
        own.setdefault(which, []).append(word)
    for index, answer in enumerate(answers):
        yield replace(answer, words=Words(own.get(index, ())))


def _since(turn: Turn, before: Turn | None) -> tuple[float | None, Side]:
    """From when on a turn of the bot was waited for, and since whose sound."""
    if turn.latency_ms is not None:
        return turn.start - turn.latency_ms / 1000, "caller"
    if before is not None and before.side == "bot" and before.end < turn.start:
        return before.end, "bot"
    return None, "caller"


def _abandoned(
    turns: Sequence[Turn], pipeline: Sequence[PipelineRecord], ended: float
) -> Iterator[Answer]:
    """Answers that were begun after a turn of the caller, and never heard."""
    for index, turn in enumerate(turns):
        later = turns[index + 1] if index + 1 < len(turns) else None
        if turn.side != "caller" or (later is not None and later.side == "bot"):
            continue
        until = ended if later is None else later.start
        if until <= turn.end:
            continue
        began = [e for e in pipeline if turn.end < e.time < until and e.what in _BEGINS]
        if began:
            stages = split(turn.end, until, pipeline, (), audible=False)
            yield Answer(turn.end, until, stages, "abandoned")


def grown(before: Answers, after: Answers) -> str:
    """Which stage takes longer in one call than in another, in the middle of its answers.

    Returns:
        ``OpenAILLMService's first token takes 1.5 s, 1.1 s more``; empty if none takes 50 ms more,
        or one of the calls has no answers or does not tell of its stages.
    """
    was, now = before.median_ms, after.median_ms
    if not was or not now or ("pipeline" in was) != ("pipeline" in now):
        return ""
    name = max(now, key=lambda name: now[name] - was.get(name, 0.0))
    more = now[name] - was.get(name, 0.0)
    stages = [s for answer in after.waited_for for s in answer.stages if s.name == name]
    most = largest(stages)
    if more < 50 or most is None:
        return ""
    return f"{most.told} takes {now[name] / 1000:.2f} s, {more / 1000:.2f} s more"


def _by_name(stages: Iterable[Stage]) -> Mapping[str, float]:
    took: dict[str, float] = {}
    for stage in stages:
        took[stage.name] = took.get(stage.name, 0.0) + stage.took_ms
    return took
