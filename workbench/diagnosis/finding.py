"""One fault of a call, as every detector reports it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from workbench.diagnosis.titles import TITLES

__all__ = ["POSSIBLE", "SEVERITIES", "SURE", "Finding", "Severity", "graded", "grouped"]

Severity: TypeAlias = Literal["info", "warning", "error"]

#: Worst first.
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
#: A finding that is less sure than this says "possibly".
SURE: Final = 0.7
#: Confidence of what looks like a fault and might be something else.
POSSIBLE: Final = 0.6
_POSSIBLY: Final = "possibly "


@dataclass(frozen=True)
class Finding:
    """A fault, where it is, how bad it is, and what to do about it.

    Parameters:
        kind: Name of the fault for programs, such as ``underrun``; for people it has a ``title``.
        side: Whose audio or behaviour it concerns; ``None`` for the call as a whole.
        span: Start and end in seconds on the call's clock.
        severity: ``error`` spoils the conversation, ``warning`` can be heard, ``info`` is worth
            knowing.
        value: What was measured.
        unit: Of ``value`` and ``threshold``.
        threshold: From where on it is reported.
        measurement: The same in words.
        cause: What most likely brought it about.
        remedy: The setting or the code to change.
        listen: The signal in which to hear it; empty if it cannot be heard.
        confidence: How sure this is, 0 to 1. Below :data:`SURE` the measurement begins with
            "possibly".

    Raises:
        ValueError: If ``span`` or ``value`` is not finite.
    """

    kind: str
    side: Literal["caller", "bot"] | None
    span: tuple[float, float]
    severity: Severity
    value: float
    unit: str
    threshold: float
    measurement: str
    cause: str
    remedy: str
    listen: str = ""
    confidence: float = 1.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.span, self.value))):
            raise ValueError(f"{self.kind} at {self.span} of {self.value}, finite ones are wanted")
        if self.possible and not self.measurement.startswith(_POSSIBLY):
            object.__setattr__(self, "measurement", _POSSIBLY + self.measurement)

    @property
    def title(self) -> str:
        """What people call the fault; a kind that no detector here has is its own title."""
        return TITLES.get(self.kind, self.kind)

    @property
    def possible(self) -> bool:
        """Whether it is possible only, not certain."""
        return self.confidence < SURE

    @property
    def excess(self) -> float:
        """How far beyond its threshold it is, as a factor of at least 1: 2 is twice as bad."""
        if self.unit.startswith("dB"):
            return min(float(10 ** (abs(self.value - self.threshold) / 20)), 1000.0)
        if not self.value or not self.threshold:
            return 1000.0
        ratio = abs(self.value / self.threshold)
        return min(max(ratio, 1 / ratio), 1000.0)  # of some kinds less is worse

    @property
    def when(self) -> str:
        """Where it is, for people: ``12.30\N{EN DASH}12.85 s``."""
        start, end = self.span
        return f"{start:.2f} s" if end - start < 0.005 else f"{start:.2f}\N{EN DASH}{end:.2f} s"

    def __str__(self) -> str:
        start, end = self.span
        where = f"{start:.2f}" if end <= start else f"{start:.2f}-{end:.2f}"
        side = f" ({self.side})" if self.side else ""
        name = f"{self.title}{side} [{self.kind}]"
        return f"{self.severity} at {where} s: {name}: {self.measurement}"


def graded(value: float, warning: float, error: float) -> Severity:
    """Severity of a value that is the worse the larger it is."""
    return "error" if value >= error else "warning" if value >= warning else "info"


def grouped(
    spans: Iterable[tuple[float, float]], pause: float
) -> Iterator[tuple[float, float, Sequence[int]]]:
    """Gather spans that lie less than ``pause`` apart.

    Args:
        spans: In order of their start.
        pause: In seconds.

    Yields:
        Start and end of each group, and the indices of its spans.
    """
    first, last, members = 0.0, 0.0, list[int]()
    for index, (start, end) in enumerate(spans):
        if members and start - last >= pause:
            yield first, last, members
            members = []
        if not members:
            first = last = start
        last = max(last, end)
        members.append(index)
    if members:
        yield first, last, members
