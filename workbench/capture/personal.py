"""What words must not keep: numbers, e-mail addresses, and what a bot's owner names.

A number is a run of three digits and more, whatever stands between them that is no letter: spaces,
dashes, dots, brackets. Words of an English number count as digits, as recognisers write them. What
somebody says comes in pieces, so a run may begin in one text and go on in the next: digits at the very
end of a text go whatever their number. Only a time of day, ``10:30``, stays.

An e-mail address is what has an ``@``, or an ``at`` and a ``dot`` behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from workbench.capture.redaction import REDACTED

__all__ = ["EMAIL", "NUMBER", "Cut", "Personal", "Redact", "moved", "without"]

NUMBER: Final = "[number]"
EMAIL: Final = "[e-mail]"

#: What ``redact=`` takes: a text, found anywhere and in any case, or a pattern; or many of them.
Redact: TypeAlias = str | re.Pattern[str] | Iterable[str | re.Pattern[str]]

#: Fewer digits than this are no number that tells who somebody is.
_LEAST: Final = 3
_SPOKEN: Final = (
    "zero oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
    " hundred thousand double triple"
).split()
_UNIT: Final = rf"(?:\d|(?<![^\W_])(?:{'|'.join(_SPOKEN)})(?![^\W_]))"
_UNITS: Final = re.compile(_UNIT, re.IGNORECASE)
_RUN: Final = re.compile(rf"{_UNIT}(?:[\W_]{{0,20}}{_UNIT})*", re.IGNORECASE)
_TIME_OF_DAY: Final = re.compile(r"[0-2]?\d:[0-5]\d")
# Each begins where a word does, gives nothing back and has few parts: linear, whatever the text.
_WRITTEN: Final = re.compile(r"(?<![^\s@])[^\s@]*+\s?@(?:\s?[^\s@]++(?:\s?\.[\w-]++)*+)?")
_PART: Final = r"[\w.+%'-]++"
_AT: Final = re.compile(r"\sat\s", re.IGNORECASE)
_SAID: Final = re.compile(
    rf"(?<![\w.+%'-]){_PART}(?:\s+(?:dot|underscore|dash|hyphen|minus|plus)\s+{_PART}){{0,8}}+"
    r"\s+at\s+[\w-]++(?:(?:\.|\s+dot\s+)[\w-]++){0,8}(?:\.|\s+dot\s+)[^\W\d]{2,}",
    re.IGNORECASE,
)


class Cut(NamedTuple):
    """A part of a text that is not kept.

    Parameters:
        start: Index of its first character.
        end: Index behind its last.
        instead: What stands for it.
    """

    start: int
    end: int
    instead: str


class Personal:
    """Finds in a text what must not be kept."""

    def __init__(self, redact: Redact = ()) -> None:
        """Decide what that is, beside numbers and e-mail addresses.

        Args:
            redact: Names and such: a text is found anywhere, in any case and with any space in it;
                a compiled pattern as it is.

        Raises:
            ValueError: For what is neither, or an empty text.
        """
        given = [redact] if isinstance(redact, (str, re.Pattern)) else list(redact)
        self._patterns = [_pattern(what) for what in given]

    def cuts(self, text: str, before: int = 0) -> list[Cut]:
        """Find what must go.

        Args:
            text: What somebody says.
            before: How many digits the text before it ended with: :meth:`trailing`.

        Returns:
            In order, not overlapping.
        """
        found = [Cut(*m.span(), REDACTED) for p in self._patterns for m in p.finditer(text)]
        if "@" in text:
            found += [Cut(*match.span(), EMAIL) for match in _WRITTEN.finditer(text)]
        if _AT.search(text):
            found += [Cut(*match.span(), EMAIL) for match in _SAID.finditer(text)]
        found += [
            Cut(*match.span(), NUMBER) for match in _RUN.finditer(text) if _goes(match, before)
        ]
        return _merged(cut for cut in found if cut.end > cut.start)

    def trailing(self, text: str, before: int = 0) -> int:
        """How many digits a text ends with, and those before it if there is nothing else in it."""
        for match in _RUN.finditer(text):
            if _is_last(match):
                if _count(match) < 2 and not _has_digit(match) and not _is_first(match):
                    return 0  # "which one?"
                return _count(match) + (before if _is_first(match) else 0)
        return 0 if re.search(r"[^\W_]", text) else before


def without(text: str, cuts: Sequence[Cut]) -> str:
    """A text without its cuts."""
    kept, at = [], 0
    for cut in cuts:
        kept += [text[at : cut.start], cut.instead]
        at = cut.end
    return "".join([*kept, text[at:]])


def moved(index: int, cuts: Sequence[Cut]) -> int:
    """Where a character of a text is when its cuts are made; of one inside, where the cut begins."""
    shift = 0
    for start, end, instead in cuts:
        if index < end:
            return min(index, start) + shift
        shift += len(instead) - (end - start)
    return index + shift


def _pattern(what: str | re.Pattern[str]) -> re.Pattern[str]:
    if isinstance(what, re.Pattern) and isinstance(what.pattern, str):
        return what
    if isinstance(what, str) and what.strip():
        return re.compile(r"\s+".join(map(re.escape, what.split())), re.IGNORECASE)
    raise ValueError(f"redact: {what!r}, wanted texts and patterns of text")


def _goes(run: re.Match[str], before: int) -> bool:
    count = _count(run)
    continues = bool(before) and _is_first(run)
    if _TIME_OF_DAY.fullmatch(run.group()) and not continues:
        return False
    if count + (before if continues else 0) >= _LEAST:
        return True
    if _is_first(run) and _is_last(run):  # a number that is said figure by figure
        return True
    # What comes next is not known yet. Of words, "which one?" ends with a digit too often.
    return (_is_last(run) or continues) and _has_digit(run)


def _count(run: re.Match[str]) -> int:
    return len(_UNITS.findall(run.group()))


def _has_digit(run: re.Match[str]) -> bool:
    return any(map(str.isdecimal, run.group()))


def _is_first(run: re.Match[str]) -> bool:
    return not re.search(r"[^\W_]", run.string[: run.start()])


def _is_last(run: re.Match[str]) -> bool:
    return not re.search(r"[^\W_]", run.string[run.end() :])


def _merged(cuts: Iterable[Cut]) -> list[Cut]:
    found: list[Cut] = []
    for cut in sorted(cuts):
        if found and cut.start < found[-1].end:
            found[-1] = found[-1]._replace(end=max(cut.end, found[-1].end))
        else:
            found.append(cut)
    return found
