"""What both sides said, word by word on the call's clock, and which of the bot's words the caller heard.

Only a capture that was asked for words has any: ``PipelineEvents(tap, words=True)``.

A bot's word is placed by its sound. The synthesis says when a word would be heard if speech were played
as soon as it comes; the frames that the serializer got from there on, and the far end's queue, say when
that really was, or that it never was: thrown away by an interruption, or cut off by the end of the call.
Where the service gives no times of words, a text is spread over its sound letter by letter, and the
times are *about* right. So are the caller's: a transcript is spread over their speech before it.

Conventions:
    Times in seconds on the call's clock. A word that was not heard has those it would have had.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from workbench.call.playout import Playout, Uncut
from workbench.call.streams import FrameRecord, PipelineRecord, WordsRecord
from workbench.call.turns import Side
from workbench.metrics.speech import Intervals

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Place", "Sounding", "Word", "Words", "find_words"]

#: Seconds that a letter takes where nothing tells: 15 a second, as people speak.
_LETTER: Final = 1 / 15
#: Clocks of a pipeline and its tap agree so far, in seconds.
_NEAR: Final = 0.005
#: Words that follow each other after a longer pause are shown as two.
_PAUSE: Final = 1.0
_WORD: Final = re.compile(r"\S+")


@dataclass(frozen=True)
class Word:
    """One word.

    Parameters:
        text: As it was written, with what stands at it.
        start: When it began, or would have.
        end: When it was over.
        side: Who said it.
        heard: Whether the other side heard most of it.
        about: Whether its time is an estimate.
        phrase: Which transcript or speech it is of: words of one have the same number.
    """

    text: str
    start: float
    end: float
    side: Side
    heard: bool = True
    about: bool = True
    phrase: int = 0


class Words(Sequence[Word]):
    """Words in order of time: a sequence that shows itself as a table.

    Example::

        >>> words = Words([Word("not", 1.0, 1.2, "bot"), Word("this", 1.2, 1.5, "bot", heard=False)])
        >>> words.heard.text, words.unheard.text, words.of("caller").text
        ('not', 'this', '')
    """

    def __init__(self, words: Iterable[Word] = ()) -> None:
        """Keep them, in order of time."""
        self._words = tuple(sorted(words, key=lambda word: (word.start, word.phrase)))

    def __len__(self) -> int:
        return len(self._words)

    def __iter__(self) -> Iterator[Word]:
        return iter(self._words)

    @overload
    def __getitem__(self, index: int) -> Word: ...
    @overload
    def __getitem__(self, index: slice) -> Words: ...
    def __getitem__(self, index: int | slice) -> Word | Words:
        """One of them, or a selection."""
        if isinstance(index, slice):
            return Words(self._words[index])
        return self._words[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words) and self._words == other._words

    def __hash__(self) -> int:
        return hash(self._words)

    @property
    def text(self) -> str:
        """All of it, with a space between."""
        return " ".join(word.text for word in self)

    @property
    def about(self) -> bool:
        """Whether the time of any is an estimate."""
        return any(word.about for word in self)

    @property
    def heard(self) -> Words:
        """Those that the other side heard."""
        return Words(word for word in self if word.heard)

    @property
    def unheard(self) -> Words:
        """Those that nobody heard."""
        return Words(word for word in self if not word.heard)

    def of(self, side: Side) -> Words:
        """Those of one side."""
        return Words(word for word in self if word.side == side)

    def between(self, start: float, end: float) -> Words:
        """Those that sound, or would have, between two times."""
        return Words(word for word in self if word.start < end and word.end > start)

    def search(self, text: str) -> list[Words]:
        """Find a text, in any case.

        Returns:
            The words of each place where it is, in order.
        """
        wanted = text.casefold().strip()
        return [found for phrase in self.phrases if wanted for found in _found(phrase, wanted)]

    @property
    def phrases(self) -> list[Words]:
        """The same in pieces to be read: of one speech, without a long pause, all heard or none."""
        found: list[list[Word]] = []
        last: dict[tuple[str, int], list[Word]] = {}
        for word in self:
            own = last.get((word.side, word.phrase))
            if own and own[-1].heard == word.heard and word.start - own[-1].end < _PAUSE:
                own.append(word)
            else:
                found.append([word])
                last[word.side, word.phrase] = found[-1]
        return [Words(words) for words in found]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a word."""
        names = ("start", "end", "side", "text", "heard", "about")
        return [{name: getattr(word, name) for name in names} for word in self]

    @property
    def table(self) -> pd.DataFrame:
        """The same as a table."""
        import pandas as pd

        columns = ("start", "end", "side", "text", "heard", "about")
        return pd.DataFrame(self.rows, columns=list(columns))

    def __str__(self) -> str:
        return "\n".join(
            f"{phrase[0].start:7.2f} s  {phrase[0].side:6}  {phrase.text}"
            + ("" if phrase[0].heard else "  (not heard)")
            for phrase in self.phrases
        )

    def __repr__(self) -> str:
        return f"Words({len(self)}, of them {len(self.unheard)} unheard)"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{phrase[0].start:.2f} s</td><td>{phrase[0].side}</td><td>"
            + (escape(phrase.text) if phrase[0].heard else f"<s>{escape(phrase.text)}</s>")
            + "</td></tr>"
            for phrase in self.phrases
        )
        return f"<table>{rows}</table>"


@dataclass(frozen=True)
class Place:
    """Where a moment of the bot's speech came out.

    Parameters:
        time: When it was heard, or would have been.
        heard: Whether it was.
    """

    time: float
    heard: bool


class Sounding:
    """The way of the bot's speech from its synthesis to the caller's ear."""

    def __init__(
        self,
        frames: Sequence[FrameRecord],
        sent: Uncut,
        playout: Playout,
        pipeline: Iterable[PipelineRecord],
        cuts: Iterable[float],
    ) -> None:
        """Take it as the tap saw it.

        Args:
            frames: The bot's audio frames, in order.
            sent: When each message would be heard if nothing was thrown away.
            playout: What became of them.
            pipeline: What the pipeline said of itself, in order of time.
            cuts: When it was interrupted, in order.
        """
        self._time = np.array([frame.time for frame in frames], float)
        self._duration = np.array([frame.duration for frame in frames], float)
        self._sent, self._playout = sent, playout
        self._cuts = np.array(list(cuts), float)
        self._begins: dict[str, list[float]] = {}
        for event in pipeline:
            if event.what == "first audio":
                self._begins.setdefault(event.processor, []).append(event.time)

    def place(self, processor: str, time: float) -> Place:
        """Say where a moment of speech came out.

        Args:
            processor: Its synthesis.
            time: When it would have been heard if speech were played as soon as it comes.
        """
        begins = np.array(self._begins.get(processor, ()), float)
        known = begins[begins <= time + _NEAR]
        begin = float(known[-1]) if len(known) else time
        until = min(_after(self._cuts, begin), _after(begins, begin + _NEAR))
        first, last = np.searchsorted(self._time, [begin - _NEAR, until])
        if not len(self._playout.time):  # of another serializer
            return Place(time, True)
        if first == last:  # nothing of it was given to the serializer
            return Place(max(time, begin), False)
        offset = max(0.0, time - begin)
        ends = np.cumsum(self._duration[first:last])
        index = int(np.searchsorted(ends, offset, side="right"))
        if index < last - first:
            return self._in_frame(first + index, offset - float(ends[index]))
        before = self._in_frame(last - 1, 0.0)
        return Place(before.time + offset - float(ends[-1]), False)

    def _in_frame(self, frame: int, from_end: float) -> Place:
        """Where a moment of a frame is, so many seconds before its end, which are negative."""
        queue = self._playout
        message = int(np.searchsorted(queue.time, self._time[frame] - 1e-9))
        message = min(message, len(queue.time) - 1)
        # A cushion is before the sound of the message that it is in.
        inside = max(0.0, float(queue.duration[message]) + from_end)
        heard = inside <= float(queue.heard[message]) + 1e-6
        heard &= bool(np.isfinite(queue.start[message]))
        start = queue.start[message] if heard else self._sent.start[message]
        return Place(float(start) + inside, heard)


def find_words(
    records: Iterable[WordsRecord], sounding: Sounding, caller_speech: Intervals
) -> Words:
    """Place all words on the call's clock.

    Args:
        records: What was recorded of them.
        sounding: The way of the bot's.
        caller_speech: Where the caller speaks.
    """
    found: list[Word] = []
    free = -np.inf  # up to where the caller's speech has its words
    for number, record in enumerate(records):
        if record.side == "bot":
            found += _of_bot(record, sounding, number)
        else:
            found += _of_caller(record, caller_speech, free, number)
            free = record.time
    return Words(found)


def _of_bot(record: WordsRecord, sounding: Sounding, number: int) -> Iterator[Word]:
    marks = _marks(record)
    for match in _WORD.finditer(record.text):
        if not marks:
            yield Word(match.group(), record.time, record.time, "bot", False, True, number)
            continue
        start, end = (record.time + _time_at(marks, record.text, index) for index in match.span())
        places = [
            sounding.place(record.processor, moment) for moment in (start, (start + end) / 2, end)
        ]
        begin, middle = places[0].time, places[1]
        finish = max(begin, places[2].time)
        if not middle.heard:  # what was thrown away would have taken as long as it takes
            finish = max(finish, begin + end - start)
        is_about = not record.is_timed
        yield Word(match.group(), begin, finish, "bot", middle.heard, is_about, number)


def _marks(record: WordsRecord) -> list[tuple[int, float, float]]:
    """Index, start and end of each part that has a time; what was joined by redaction is one."""
    marks: list[tuple[int, float, float]] = []
    for at, start, end in zip(record.at, record.starts, record.ends, strict=True):
        if marks and at <= marks[-1][0]:
            marks[-1] = (marks[-1][0], marks[-1][1], max(end, marks[-1][2]))
        else:
            marks.append((at, start, max(end, start)))
    return marks


def _time_at(marks: Sequence[tuple[int, float, float]], text: str, index: int) -> float:
    """When a letter is said, or the end of the one before it."""
    bounds = [*(at for at, _, _ in marks), len(text)]
    # The end of a word belongs to the part before, where the two meet.
    is_end = index == len(text) or text[index].isspace()
    which = max(0, sum(at < index if is_end else at <= index for at in bounds[:-1]) - 1)
    at, start, end = marks[which]
    length = len(text[at : bounds[which + 1]].rstrip()) or 1
    return start + (end - start) * min(1.0, max(0, index - at) / length)


def _of_caller(record: WordsRecord, speech: Intervals, free: float, number: int) -> Iterator[Word]:
    """Spread a transcript over what the caller said since the one before it."""
    text = record.text.rstrip()
    spans = [
        (max(start, free), min(end, record.time))
        for start, end in speech.tolist()
        if end > free and start < record.time
    ]
    spans = [(start, end) for start, end in spans if end - start > 0.05]
    if not spans:
        spans = [(max(record.time - _LETTER * len(text), min(free, record.time)), record.time)]
    ends = np.cumsum([end - start for start, end in spans])
    for match in _WORD.finditer(text):
        first, last = (float(ends[-1]) * index / len(text) for index in match.span())
        start, end = _along(spans, ends, first, False), _along(spans, ends, last, True)
        yield Word(match.group(), start, max(start, end), "caller", True, True, number)


def _along(
    spans: Sequence[tuple[float, float]], ends: NDArray[np.float64], offset: float, is_end: bool
) -> float:
    """The time so far along some spans; where two meet, of an end the end of the first."""
    passed = ends < offset - 1e-9 if is_end else ends <= offset + 1e-9
    index = min(int(passed.sum()), len(spans) - 1)
    return spans[index][1] - (float(ends[index]) - offset)


def _after(times: NDArray[np.float64], time: float) -> float:
    later = times[times > time]
    return float(later[0]) if len(later) else np.inf


def _found(phrase: Words, wanted: str) -> Iterator[Words]:
    ends = np.cumsum([len(word.text.casefold()) + 1 for word in phrase])
    text = phrase.text.casefold()
    at = text.find(wanted)
    while at >= 0:
        first, last = np.searchsorted(ends, [at, at + len(wanted) - 1], side="right").tolist()
        yield phrase[first : last + 1]
        at = text.find(wanted, at + len(wanted))
