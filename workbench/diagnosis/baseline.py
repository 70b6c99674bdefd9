"""What got better and what got worse between two calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from workbench.diagnosis.finding import SEVERITIES, Finding

__all__ = ["Change", "Verdict", "changes"]

Verdict: TypeAlias = Literal["new", "worse", "same", "better", "gone"]

#: Less than a quarter more or less is the difference between two calls, not between two releases.
NOTABLE: Final = 1.25
#: Order in which changes are told.
_ORDER: Final[tuple[Verdict, ...]] = ("new", "worse", "gone", "better", "same")

#: Kinds that the stages of the answers explain.
_WAITING: Final = ("slow_response", "dead_air", "late_start", "underrun")


@dataclass(frozen=True)
class Change:
    """How one kind of fault, of one side, differs from the baseline.

    Parameters:
        kind: Name of the fault.
        side: Whose.
        verdict: What became of it.
        before: Its findings in the baseline, worst first.
        after: Its findings now, worst first.
        because: Which stage of the answers takes longer than in the baseline; empty if none does, or
            it is not known.
    """

    kind: str
    side: Literal["caller", "bot"] | None
    verdict: Verdict
    before: tuple[Finding, ...]
    after: tuple[Finding, ...]
    because: str = ""

    def __str__(self) -> str:
        side = f" ({self.side})" if self.side else ""
        was, now = (_worst(found) for found in (self.before, self.after))
        name = f"{(self.before or self.after)[0].title}{side} [{self.kind}]"
        grown = f"; {self.because}" if self.because else ""
        return f"{self.verdict}: {name}: {was} before, {now} now{grown}"


def changes(
    before: Sequence[Finding],
    after: Sequence[Finding],
    before_secs: float,
    after_secs: float,
    grown: str = "",
) -> tuple[Change, ...]:
    """Compare the findings of two calls, kind by kind.

    Worse is a higher severity, else a worst finding that exceeds its threshold by a quarter more,
    else, where that is the same, a quarter more parts of findings per minute, and two of them.

    Args:
        before: Findings of the baseline.
        after: Findings of the call.
        before_secs: Length of the baseline.
        after_secs: Length of the call.
        grown: Which stage of the answers takes longer, for the kinds that are about waiting.

    Returns:
        One change for each kind and side that either has, what is new first.
    """
    found = []
    for kind, side in dict.fromkeys((f.kind, f.side) for f in (*after, *before)):
        old, new = (
            tuple(
                sorted(
                    (f for f in side_of if (f.kind, f.side) == (kind, side)),
                    key=lambda f: (SEVERITIES.index(f.severity), -f.excess),
                )
            )
            for side_of in (before, after)
        )
        longer = max(after_secs, 1.0) / max(before_secs, 1.0)
        verdict = _verdict(old, new, longer)
        told = grown if kind in _WAITING and verdict in ("new", "worse") else ""
        found.append(Change(kind, side, verdict, old, new, told))
    return tuple(sorted(found, key=lambda change: _ORDER.index(change.verdict)))


def _verdict(before: Sequence[Finding], after: Sequence[Finding], longer: float) -> Verdict:
    if not before:
        return "new"
    if not after:
        return "gone"
    was, now = (SEVERITIES.index(found[0].severity) for found in (before, after))
    if was != now:
        return "worse" if now < was else "better"
    for old, new, least in (
        (before[0].excess, after[0].excess, 0.0),
        # As many as there would be in a call as long as the other. One more or less is chance.
        (longer * _parts(before), float(_parts(after)), 2.0),
    ):
        if new > NOTABLE * old and new - old >= least:
            return "worse"
        if old > NOTABLE * new and old - new >= least:
            return "better"
    return "same"


def _parts(found: Sequence[Finding]) -> int:
    return sum(len(finding.parts) for finding in found)


def _worst(found: Sequence[Finding]) -> str:
    if not found:
        return "none"
    count = _parts(found)
    places = f"in {count} places, at worst " if count > 1 else ""
    value = found[0].value
    return f"{places}{value:.{4 if abs(value) < 1e4 else 9}g} {found[0].unit}".strip()
