"""Which findings follow from another: a cause silences them, and says so.

Each detector looks by itself, so one fault may be found under several names: where the caller's
stream is lost there is dead air too. A detector declares in ``explains`` which kinds follow from its
own. A part of such a finding follows

- if it lies in the cause's parts for the most;
- of a kind that is named, also if it begins in them or right behind them;
- of a kind that is named, also if it is the whole call: what was measured of everything is spoilt
  wherever the cause is.

What is only possible silences nothing that is sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from workbench.diagnosis.detector import Detector
from workbench.diagnosis.finding import Finding, Part

__all__ = ["EVERYTHING", "arbitrated", "covered"]

#: In ``explains``: whatever lies in the cause's parts.
EVERYTHING: Final = "*"
#: A consequence begins no later than this after its cause, in seconds: a pause between two words.
BEHIND: Final = 1.0
#: By so much the places of two detectors may differ, in seconds.
_BESIDE: Final = 0.1
#: Share of a part that must lie in the cause.
_MOST: Final = 0.3


def arbitrated(
    found: Sequence[Finding], duration: float, detectors: Mapping[str, Detector]
) -> tuple[Finding, ...]:
    """Hand each finding, or those of its parts that follow from another, to its cause.

    Args:
        found: What the detectors found.
        duration: Of the call, in seconds.
        detectors: By kind, with what each explains.

    Returns:
        Those that stand for themselves, in the same order, with their followers. Of what follows
        in part only, the value and the words are still those of all its parts.
    """
    owners = [_owners(finding, found, duration, detectors) for finding in found]
    silenced = [None not in owned for owned in owners]

    def root(cause: int) -> int:
        above = owners[cause][0] if silenced[cause] else None
        return cause if above is None else root(above)

    followers: list[list[Finding]] = [[] for _ in found]
    for finding, owned in zip(found, owners, strict=True):
        for cause in dict.fromkeys(owner for owner in owned if owner is not None):
            mine = zip(finding.parts, owned, strict=True)
            parts = tuple(part for part, owner in mine if owner == cause)
            followers[root(cause)].append(replace(finding, parts=parts))
    return tuple(
        replace(_rest(finding, owned, found), followers=tuple(after))
        for finding, owned, after, is_gone in zip(found, owners, followers, silenced, strict=True)
        if not is_gone
    )


def covered(part: Part, causes: Sequence[Part], beside: float = 0.0) -> float:
    """Share of a part, and of so many seconds beside it, that lies in others."""
    start, end = part.start - beside, part.end + beside
    inside = sum(max(0.0, min(end, cause.end) - max(start, cause.start)) for cause in causes)
    return inside / (end - start) if end > start else 0.0


def _owners(
    finding: Finding, found: Sequence[Finding], duration: float, detectors: Mapping[str, Detector]
) -> list[int | None]:
    """Which finding explains each part: its index, ``None`` where none does."""
    owners: list[int | None] = [None] * len(finding.parts)
    for index, cause in enumerate(found):
        explains = detectors[cause.kind].explains
        named = _is_named(finding, cause, explains)
        if not (named or EVERYTHING in explains) or cause.kind == finding.kind:
            continue
        if cause.possible and not finding.possible:
            continue
        for number, part in enumerate(finding.parts):
            if owners[number] is None and _follows(part, cause.parts, duration if named else None):
                owners[number] = index
    return owners


def _is_named(finding: Finding, cause: Finding, explains: tuple[str, ...]) -> bool:
    if f"{finding.side}:{finding.kind}" in explains:
        return True
    of_one_side = None in (finding.side, cause.side) or finding.side == cause.side
    return of_one_side and finding.kind in explains


def _follows(part: Part, causes: Sequence[Part], duration: float | None) -> bool:
    """Whether a part follows; ``duration`` of the call is for a kind that is named."""
    if covered(part, causes, _BESIDE) > _MOST:
        return True
    if duration is None:
        return False
    if part.start <= 0 and part.end >= duration:
        return True
    return any(cause.start - _BESIDE <= part.start <= cause.end + BEHIND for cause in causes)


def _rest(finding: Finding, owners: Sequence[int | None], found: Sequence[Finding]) -> Finding:
    """The finding without the parts that follow from others, and why they are not there."""
    causes = dict.fromkeys(found[owner].kind for owner in owners if owner is not None)
    if not causes:
        return finding
    parts = tuple(p for p, owner in zip(finding.parts, owners, strict=True) if owner is None)
    gone = len(finding.parts) - len(parts)
    why = f"; {gone} of its {len(finding.parts)} places left out: see {' and '.join(causes)}"
    return replace(finding, parts=parts, measurement=finding.measurement + why)
