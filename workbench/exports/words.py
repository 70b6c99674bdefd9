"""What was said, as captions and for phoneticians.

References:
    WebVTT, https://www.w3.org/TR/webvtt1/: cues with times and voices.
    Praat manual, "TextGrid file formats": tiers of intervals without gaps, here as long text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from workbench.beside import written_beside
from workbench.call import Call
from workbench.call.words import Word, Words

__all__ = ["write_textgrid", "write_webvtt"]

#: Two lines of captions, in characters (Netflix and the BBC: 42 and 37 a line).
_MOST_CHARACTERS: Final = 76
_NOT_HEARD: Final = "(not heard) "


class _Interval(NamedTuple):
    start: float
    end: float
    text: str


def write_webvtt(call: Call, path: str | Path) -> None:
    """Write captions of both sides; what of the bot's words nobody heard says so, and where it was cut.

    Args:
        call: A call with words.
        path: A WebVTT file.

    Raises:
        ValueError: If the capture holds no words.
    """
    lines = ["WEBVTT", "", "NOTE The times are those of the capture's clock; 0 is its beginning."]
    cues = sorted(
        (cue for phrase in _words(call).phrases for cue in _cues(phrase)),
        key=lambda cue: cue[0].start,
    )
    for cue in cues:
        start = min(max(0.0, cue[0].start), max(0.0, call.duration - 0.001))
        end = max(start + 0.001, min(cue[-1].end, call.duration))
        heard = "" if cue[0].heard else _NOT_HEARD
        lines += ["", f"{_clock(start)} --> {_clock(end)}", f"<v {cue[0].side}>{heard}{_safe(cue)}"]
    with written_beside(path) as part:
        part.write_text("\n".join([*lines, ""]), encoding="utf-8")


def write_textgrid(call: Call, path: str | Path) -> None:
    """Write a tier of words for the caller, one for what they heard of the bot, one for what they did not.

    Args:
        call: A call with words.
        path: A TextGrid of Praat's.

    Raises:
        ValueError: If the capture holds no words.
    """
    words = _words(call)
    until = max(call.duration, *(word.end for word in words))
    bot = words.of("bot")
    tiers = {"caller": words.of("caller"), "bot": bot.heard, "bot, not heard": bot.unheard}
    lines = [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0",
        f"xmax = {until:.6f}", "tiers? <exists>", f"size = {len(tiers)}", "item []:",
    ]  # fmt: skip
    for number, (name, some) in enumerate(tiers.items(), 1):
        intervals = list(_without_gaps(some, until))
        lines += [
            f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"',
            "        xmin = 0", f"        xmax = {until:.6f}",
            f"        intervals: size = {len(intervals)}",
        ]  # fmt: skip
        for index, interval in enumerate(intervals, 1):
            text = interval.text.replace('"', '""')
            lines += [
                f"        intervals [{index}]:", f"            xmin = {interval.start:.6f}",
                f"            xmax = {interval.end:.6f}", f'            text = "{text}"',
            ]  # fmt: skip
    with written_beside(path) as part:
        part.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _words(call: Call) -> Words:
    if not call.words:
        raise ValueError("the capture holds no words: PipelineEvents(tap, words=True) records them")
    return call.words


def _cues(phrase: Words) -> Iterator[list[Word]]:
    """A phrase in pieces that fit on a screen."""
    cue: list[Word] = []
    for word in phrase:
        if cue and sum(len(w.text) + 1 for w in [*cue, word]) > _MOST_CHARACTERS:
            yield cue
            cue = []
        cue.append(word)
    yield cue


def _safe(words: Iterable[Word]) -> str:
    text = " ".join(word.text for word in words)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float) -> str:
    whole = round(1000 * seconds)
    minutes, ms = divmod(whole, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}.{ms % 1000:03}"


def _without_gaps(words: Iterable[Word], until: float) -> Iterator[_Interval]:
    """Words as intervals from 0 to the end; of those that overlap the later one begins later."""
    at = 0.0
    waiting: _Interval | None = None
    for word in words:
        start, end = max(word.start, at), max(word.end, at)
        if waiting and end - start < 1e-5:  # no room of its own
            waiting = waiting._replace(text=f"{waiting.text} {word.text}")
            continue
        if waiting:
            yield waiting
        if start > at + 1e-5:
            yield _Interval(at, start, "")
        else:
            start = at
        waiting = _Interval(start, max(end, start + 1e-4), word.text)
        at = waiting.end
    if waiting:
        yield waiting
    if until > at:
        yield _Interval(at, until, "")
