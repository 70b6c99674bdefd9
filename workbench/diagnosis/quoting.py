"""What stands beside a finding: what was said where it is, and how well its queue is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from workbench.call import Call
from workbench.call.words import Words
from workbench.diagnosis.finding import Finding

__all__ = ["checked", "quoted"]

#: Kinds that go by the far end's queue.
_BY_QUEUE: Final = frozenset({"underrun", "missing_clear", "cut_goodbye", "unheard_speech"})
#: Of a finding that lasts longer than this, in seconds, words would say nothing.
_LONG: Final = 10.0
#: Words so near a fault are quoted with it, in seconds.
_NEAR: Final = 0.2
#: More words than these are not quoted.
_MOST: Final = 12


def quoted(call: Call, finding: Finding) -> Finding:
    """Put beside a finding what was said there, or what of it was not heard.

    Args:
        call: The call that it was found in; mostly it has no words.
        finding: Any.

    Returns:
        The same with its :attr:`workbench.diagnosis.Finding.words`.
    """
    words = call.words
    if not words:
        return finding
    if finding.kind == "unheard_speech":
        place = finding.parts[0].start
        thrown = words.of("bot").unheard.between(place - _NEAR, place + finding.value / 1000)
        return replace(finding, words=_quotation("not heard", thrown))
    said = words if finding.side is None else words.of(finding.side)
    start, end = finding.span
    if end - start > _LONG:
        return finding
    return replace(finding, words=_quotation("at", said.heard.between(start - _NEAR, end + _NEAR)))


def checked(call: Call, finding: Finding) -> Finding:
    """Say of what goes by the queue model how it agrees with what the carrier said, if it did.

    Args:
        call: The call that it was found in.
        finding: Any.
    """
    if finding.kind not in _BY_QUEUE or call.playout_check is None:
        return finding
    said = call.playout_check.sentence(str(call.carrier))
    return replace(finding, cause=f"{finding.cause} {said[0].upper()}{said[1:]}.")


def _quotation(how: str, words: Words) -> str:
    if not words:
        return ""
    more = " \N{HORIZONTAL ELLIPSIS}" if len(words) > _MOST else ""
    about = "about " if words.about else ""
    text = words[:_MOST].text
    return (
        f"{about}{how}: \N{LEFT DOUBLE QUOTATION MARK}{text}{more}\N{RIGHT DOUBLE QUOTATION MARK}"
    )
