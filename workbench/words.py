"""The texts of a pipeline on their way into the capture: collected, redacted, told with their times.

What a bot says is told once for each speech, when its synthesis has ended or was interrupted: only then
is it known how long it sounds, and a number that comes digit by digit is one number. A *speech* is what
a synthesis says from its start to its stop.

Conventions:
    Times in nanoseconds. ``at`` is on the pipeline's clock, ``time_ns`` on ``time.monotonic_ns()``.
    The time of a sound is when it would be heard if speech were played as soon as it comes: a
    transport and the far end have it later, the later the more is queued.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Protocol

from workbench.capture.personal import Personal, moved, without
from workbench.capture.schema import Words

__all__ = ["Speeches"]

#: Characters a second of speech, spaces too, where nothing was heard of a voice yet: 165 words a minute
#: (Tauroza and Allison 1990, of conversation).
_USUAL_RATE: Final = 15.0
#: Nobody speaks faster, in characters a second: a text so near its sound is not behind it.
_FASTEST: Final = 40.0
#: A speech of so many characters is told in parts: where a sentence ends, or else at the longest.
_LONG, _LONGEST = 1100, 1500
#: Of what is announced and not said yet so many characters are kept.
_MOST_AHEAD: Final = 20_000
#: The last word of a speech lasts no longer than this, whatever silence is behind it.
_LONGEST_WORD_NS: Final = 1_000_000_000
_SIDES: Final = ("caller", "bot")


class _Tell(Protocol):
    def __call__(self, words: Words, *, time_ns: int) -> None: ...


@dataclass(eq=False)
class _Piece:
    """A part of a speech: a sentence, some letters, or a word that has its own time."""

    text: str
    start: int | None = None
    end: int | None = None
    pts: int | None = None
    is_joined: bool = False
    is_told: bool = False


@dataclass(eq=False)
class _Speech:
    """What one synthesis says from its start to its stop."""

    time_ns: int
    at: int
    last_pts: int
    announced: list[_Piece] = field(default_factory=list)
    pieces: list[_Piece] = field(default_factory=list)
    begins: int | None = None
    ends: int = 0
    #: When the first of its words or sounds came: its words count from there.
    counts_from: int | None = None
    #: From the clock of its words to that of its sound.
    shift: int = 0

    @property
    def is_timed(self) -> bool:
        return any(piece.pts is not None for piece in self.pieces)

    @property
    def length(self) -> int:
        return sum(len(piece.text) for piece in self.pieces or self.announced)


class Speeches:
    """Collects what both sides say, and tells it redacted."""

    def __init__(self, tell: _Tell, personal: Personal) -> None:
        """Begin.

        Args:
            tell: Given each record and its time.
            personal: What must not be kept.
        """
        self._tell_record = tell
        self._personal = personal
        self._speeches: dict[str, _Speech] = {}
        self._last_pts: dict[str, int] = {}
        self._spoken: dict[str, tuple[int, int]] = {}
        self._digits = dict.fromkeys(_SIDES, 0)
        self._interim: tuple[str, str, int] | None = None

    # -- the caller ----------------------------------------------------------------------------

    def heard(self, processor: str, text: str, time_ns: int, is_final: bool) -> None:
        """Take a transcript: a final one is told, another only if no final one follows it."""
        if is_final:
            self._interim = None
            self._tell("caller", processor, text, time_ns)
        else:
            self._interim = processor, text, time_ns

    # -- the bot -------------------------------------------------------------------------------

    def announced(self, processor: str, text: str, at: int, time_ns: int) -> None:
        """Take a sentence that a synthesis is about to say; not all that one which never begins gets."""
        speech = self._speech(processor, at, time_ns)
        if speech.length <= _MOST_AHEAD:
            speech.announced.append(_Piece(text))

    def said(
        self, processor: str, text: str, at: int, time_ns: int, pts: int | None, is_joined: bool
    ) -> None:
        """Take a text that a synthesis says has been or will be heard.

        Args:
            processor: The synthesis.
            text: A word with its time, a sentence behind its sound, or a part of either.
            at: When.
            time_ns: Likewise.
            pts: When it will be heard, as far as the synthesis knows; ``None`` if it does not.
            is_joined: Whether its spaces are in it.
        """
        speech = self._speech(processor, at, time_ns)
        if pts is not None:
            speech.pieces.append(_Piece(text, pts=pts, is_joined=is_joined))
            self._last_pts[processor] = pts
            speech.counts_from = at if speech.counts_from is None else speech.counts_from
        elif not speech.announced:
            speech.pieces.append(_Piece(text, is_joined=is_joined))
        else:
            self._behind_its_sound(speech, text)
        # Behind a sentence, if one ends in time: what is parted is redacted apart.
        if speech.length > (_LONG if text.rstrip().endswith((".", "!", "?")) else _LONGEST):
            self._part(processor, speech)

    def _behind_its_sound(self, speech: _Speech, text: str) -> None:
        """The next sentence that was announced has been said, unless this came too soon for that."""
        known = next((piece for piece in speech.announced if not piece.is_told), None)
        if known is not None:
            known.is_told, known.text = True, text
            start = known.start
            if start is not None and (speech.ends - start) * _FASTEST > 1e9 * len(text):
                known.end = speech.ends

    def _part(self, processor: str, speech: _Speech) -> None:
        """Tell a speech that has become long; the rest of it is another."""
        ahead = [piece for piece in speech.announced if not piece.is_told]
        if speech.is_timed:
            speech.announced.clear()  # it says what is still to come, too
            ahead = []
        elif speech.announced:
            if speech.begins is None or len(ahead) == len(speech.announced):
                return  # none of it has been said yet, or its sound is still to come
            speech.announced = [piece for piece in speech.announced if piece.is_told]
        self._end(processor, is_whole=True)
        rest = self._speech(processor, speech.at, speech.time_ns)
        rest.announced = ahead
        rest.last_pts, rest.shift = speech.last_pts, speech.shift
        rest.begins = None if speech.begins is None else speech.ends
        rest.ends = speech.ends

    def begins(self, processor: str, at: int, time_ns: int) -> None:
        """A synthesis begins: another speech, unless this one is only announced."""
        speech = self._speeches.get(processor)
        if speech and speech.begins is not None:
            self._end(processor, is_whole=True)
        self._speech(processor, at, time_ns)

    def sounded(self, processor: str, at: int, begins: int, ends: int) -> None:
        """Take the time of some sound.

        Args:
            processor: The synthesis.
            at: When it came.
            begins: When it would be heard.
            ends: Up to when.
        """
        speech = self._speeches.get(processor)
        if speech is None:
            return  # nobody said what it is
        if speech.begins is None:
            speech.begins = begins
            counts_from = at if speech.counts_from is None else speech.counts_from
            speech.shift = begins - max(speech.last_pts, counts_from)
        for piece in (*speech.announced, *speech.pieces):
            if piece.start is None:
                piece.start = begins
        speech.ends = ends

    def ends(self, processor: str) -> None:
        """A synthesis has said all that it was given."""
        self._end(processor, is_whole=True)

    def interrupted(self) -> None:
        """What is not said yet is not going to be."""
        for processor in tuple(self._speeches):
            self._end(processor, is_whole=False)
        self._last_pts.clear()

    def over(self) -> None:
        """The call is: tell what is left."""
        if self._interim:
            processor, text, time_ns = self._interim
            self._interim = None
            self._tell("caller", processor, text, time_ns, is_final=False)
        self.interrupted()

    # -- telling it ----------------------------------------------------------------------------

    def _speech(self, processor: str, at: int, time_ns: int) -> _Speech:
        if processor not in self._speeches:
            last = self._last_pts.get(processor, 0)
            self._speeches[processor] = _Speech(time_ns, at, last)
        return self._speeches[processor]

    def _end(self, processor: str, is_whole: bool) -> None:
        speech = self._speeches.pop(processor, None)
        if speech is None or not (speech.pieces or speech.announced):
            return
        is_timed = speech.is_timed
        pieces = _with_times(speech) if is_timed else speech.announced + speech.pieces
        if speech.begins is not None and not is_timed:
            length = sum(len(piece.text) for piece in pieces)
            self._spread(processor, speech, pieces, length, is_whole)
        if is_whole and speech.begins is not None:
            chars, took = self._spoken.get(processor, (0, 0))
            chars += sum(len(piece.text) for piece in pieces)
            self._spoken[processor] = chars, took + speech.ends - speech.begins
        elif is_timed:
            _guess_rest(speech, pieces, self._rate(processor))
        self._tell_speech(processor, speech, pieces, is_timed, is_whole)

    def _rate(self, processor: str) -> float:
        """Characters that a voice says in a second."""
        chars, took = self._spoken.get(processor, (0, 0))
        return chars / took * 1e9 if took > 1e9 else _USUAL_RATE

    def _spread(
        self, processor: str, speech: _Speech, pieces: list[_Piece], length: int, is_whole: bool
    ) -> None:
        """Say when each piece sounds of which only the beginning of the text is known."""
        until = speech.ends
        if not is_whole:  # more of it was to come
            left = [piece for piece in pieces if piece.end is None]
            first = next((p.start for p in left if p.start is not None), until)
            wanted = sum(len(piece.text) for piece in left) / self._rate(processor)
            until = max(until, first + round(1e9 * wanted))
        at = speech.begins or 0
        for index, piece in enumerate(pieces):
            piece.start = max(at, piece.start if piece.start is not None else at)
            if piece.end is None:
                bound = next((p for p in pieces[index + 1 :] if p.end is not None), None)
                last = until if bound is None or bound.start is None else bound.start
                behind = pieces[index : pieces.index(bound)] if bound else pieces[index:]
                chars = sum(len(p.text) for p in behind)
                share = len(piece.text) / chars if chars else 1.0
                piece.end = piece.start + round(max(0, last - piece.start) * share)
            at = piece.end

    def _tell_speech(
        self,
        processor: str,
        speech: _Speech,
        pieces: Sequence[_Piece],
        is_timed: bool,
        is_whole: bool,
    ) -> None:
        text, at = "", []
        for piece in pieces:
            is_apart = text and not piece.is_joined and not text[-1].isspace()
            text += (" " if is_apart else "") + piece.text
            at.append(len(text) - len(piece.text))
        sound = [(piece.start, piece.end) for piece in pieces]
        known = speech.begins is not None
        starts = [_secs(start - speech.at) for start, _ in sound if known and start is not None]
        ends = [_secs(end - speech.at) for _, end in sound if known and end is not None]
        if len(starts) != len(at) or len(ends) != len(at):
            starts = ends = []
        body = Words(
            side="bot",
            text=text,
            processor=processor,
            is_whole=is_whole,
            is_timed=is_timed,
            at=at if starts else [],
            starts=starts,
            ends=ends,
        )
        self._redacted("bot", body, speech.time_ns)

    def _tell(
        self, side: str, processor: str, text: str, time_ns: int, is_final: bool = True
    ) -> None:
        body = Words(side=side, text=text, processor=processor, is_whole=is_final)
        self._redacted(side, body, time_ns)

    def _redacted(self, side: str, body: Words, time_ns: int) -> None:
        before = self._digits[side]
        cuts = self._personal.cuts(body.text, before)
        self._digits[side] = self._personal.trailing(body.text, before)
        body.at = [moved(index, cuts) for index in body.at]
        body.text = without(body.text, cuts)
        if body.text.strip():
            self._tell_record(body, time_ns=time_ns)


def _secs(ns: int) -> float:
    return round(ns / 1e9, 4)


def _with_times(speech: _Speech) -> list[_Piece]:
    """The words with their times, in the text that was announced if they are the same."""
    words: list[_Piece] = []
    for piece in speech.pieces:
        if piece.text.strip() or not words:
            words.append(piece)
        elif piece.is_joined:
            words[-1].text += piece.text
    at = speech.begins or 0
    for word in words:
        if word.pts is not None:
            word.start = word.pts + speech.shift
        at = word.start = max(at, word.start or 0)
    for word, following in pairwise(words):
        word.end = following.start
    words[-1].end = min(max(speech.ends, at), at + _LONGEST_WORD_NS)
    text = " ".join(piece.text for piece in speech.announced)
    places = _found_in(text, [word.text for word in words])
    if places is None:
        return words
    rest = _Piece("", words[-1].end, words[-1].end)
    return [
        _Piece(text[first:last], word.start, word.end, word.pts, is_joined=True)
        for word, first, last in zip([*words, rest], places, [*places[1:], len(text)], strict=True)
        if last > first
    ]


def _found_in(text: str, words: Sequence[str]) -> list[int] | None:
    """Where words begin in a text, and where what follows them does; ``None`` if they do not."""
    letters = [index for index, letter in enumerate(text) if letter.isalnum()]
    found, seen = [], 0
    for word in words:
        own = [letter for letter in word if letter.isalnum()]
        if [text[i] for i in letters[seen : seen + len(own)]] != own:
            return None
        found.append(
            letters[seen] if own else (letters[seen] if seen < len(letters) else len(text))
        )
        seen += len(own)
    found.append(letters[seen] if seen < len(letters) else len(text))
    return [0, *found[1:]] if len(found) > 1 else None


def _guess_rest(speech: _Speech, pieces: Sequence[_Piece], rate: float) -> None:
    """Say about when the words that were not said any more would have been heard."""
    timed = [piece for piece in pieces if piece.pts is not None]
    if timed and timed[-1].start is not None:
        last = timed[-1]
        last.end = timed[-1].start + round(1e9 * len(last.text) / rate)
        at = last.end
        for piece in pieces[len(timed) :]:
            piece.start, piece.end = at, at + round(1e9 * len(piece.text) / rate)
