"""One fault of a call, as every detector reports it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, NamedTuple, TypeAlias

__all__ = [
    "POSSIBLE",
    "SEVERITIES",
    "SURE",
    "Finding",
    "Part",
    "Severity",
    "Side",
    "counted",
    "graded",
    "grouped",
    "hull",
    "lasting",
]

Severity: TypeAlias = Literal["info", "warning", "error"]
Side: TypeAlias = Literal["caller", "bot"]

#: Worst first.
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
#: A finding that is less sure than this says "possibly".
SURE: Final = 0.7
#: Confidence of what looks like a fault and might be something else.
POSSIBLE: Final = 0.6
_POSSIBLY: Final = "possibly "
#: So many parts are named in a sentence, no more.
_NAMED: Final = 5


class Part(NamedTuple):
    """One of the places where a fault is.

    Parameters:
        start: In seconds on the call's clock.
        end: The same; for a moment equal to ``start``.
        value: What was measured there, in the finding's unit; NaN where only the whole is known.
    """

    start: float
    end: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault, where it is, how bad it is, and what to do about it.

    Parameters:
        kind: Name of the fault for programs, such as ``underrun``.
        side: Whose audio or behaviour it concerns; ``None`` for the call as a whole.
        parts: Where it is, in order of time: one for each hole, stall, or click.
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
        title: What people call the fault; by default its kind.
        followers: Findings that follow from it, and are told here only.
        words: What was said there, or was not heard, as a quotation; empty where the capture holds no
            words. It is shown in the player, the report and the terminal, not by ``print``.

    Raises:
        ValueError: If there are no parts, or one's place or ``value`` is not finite.
    """

    kind: str
    side: Side | None
    parts: tuple[Part, ...]
    severity: Severity
    value: float
    unit: str
    threshold: float
    measurement: str
    cause: str
    remedy: str
    listen: str = ""
    confidence: float = 1.0
    title: str = ""
    followers: tuple[Finding, ...] = ()
    words: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        places = [time for part in self.parts for time in part[:2]]
        if not places or not all(map(math.isfinite, (*places, self.value))):
            raise ValueError(f"{self.kind} at {self.parts} of {self.value}, finite ones are wanted")
        if not self.title:
            object.__setattr__(self, "title", self.kind)
        if self.possible and not self.measurement.startswith(_POSSIBLY):
            object.__setattr__(self, "measurement", _POSSIBLY + self.measurement)

    @property
    def span(self) -> tuple[float, float]:
        """Start of the first part and end of the last, in seconds."""
        return hull(self.parts)

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

    @property
    def told(self) -> str:
        """The measurement, of several parts where they begin, and what follows from it."""
        return "; ".join(filter(None, (self._placed, self._followed)))

    @property
    def _placed(self) -> str:
        if len(self.parts) == 1:
            return self.measurement
        times = [f"{part.start:.2f}" for part in self.parts[:_NAMED]]
        more = len(self.parts) - len(times)
        listed = f"{', '.join(times[:-1])} and {times[-1]} s"
        if more:
            listed = f"{', '.join(times)} s and {more} more"
        return f"{self.measurement}, at {listed}"

    @property
    def _followed(self) -> str:
        """How many findings follow, and the worst of each kind."""
        if not self.followers:
            return ""
        worst: dict[str, Finding] = {}
        for finding in sorted(self.followers, key=lambda finding: finding.excess):
            worst[finding.title] = finding
        listed = ", ".join(
            f"{name} ({f.value:.4g} {f.unit}".rstrip() + ")" for name, f in worst.items()
        )
        count = len(self.followers)
        verb = "findings follow" if count > 1 else "finding follows"
        return f"{count} {verb} from this: {listed}"

    def as_dict(self) -> dict[str, Any]:
        """All that is known of it, of JSON's types: a part's unknown value is ``None``."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        parts = [
            {**part._asdict(), "value": None if math.isnan(part.value) else part.value}
            for part in self.parts
        ]
        followers = [finding.as_dict() for finding in self.followers]
        return {**own, "span": list(self.span), "parts": parts, "followers": followers}

    def __str__(self) -> str:
        start, end = self.span
        where = f"{start:.2f}" if end <= start else f"{start:.2f}-{end:.2f}"
        side = f" ({self.side})" if self.side else ""
        name = f"{self.title}{side} [{self.kind}]"
        return f"{self.severity} at {where} s: {name}: {self.told}"


def graded(value: float, warning: float, error: float) -> Severity:
    """Severity of a value that is the worse the larger it is."""
    return "error" if value >= error else "warning" if value >= warning else "info"


def hull(parts: Iterable[Part]) -> tuple[float, float]:
    """From the first start to the last end, in seconds."""
    starts, ends, _ = zip(*parts, strict=True)
    return min(starts), max(ends)


def grouped(parts: Iterable[Part], pause: float) -> Iterator[tuple[Part, ...]]:
    """Gather parts that lie less than ``pause`` apart.

    Args:
        parts: In order of their start.
        pause: In seconds.

    Yields:
        The parts of each group.
    """
    group, last = list[Part](), 0.0
    for part in parts:
        if group and part.start - last >= pause:
            yield tuple(group)
            group = []
        last = max(last, part.end) if group else part.end
        group.append(part)
    if group:
        yield tuple(group)


def counted(times: Sequence[float], pause: float = 1.0) -> tuple[Part, ...]:
    """Count moments: those that lie less than ``pause`` seconds apart are one part."""
    moments = grouped((Part(time, time, 1.0) for time in times), pause)
    return tuple(Part(*hull(group), float(len(group))) for group in moments)


def lasting(spans: Iterable[tuple[float, float]]) -> list[Part]:
    """Parts whose value is how long they last, in milliseconds."""
    return [Part(start, end, 1000 * (end - start)) for start, end in spans]
