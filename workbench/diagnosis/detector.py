"""One declaration for each kind of fault: what it is, how it is measured, and how good that is.

::

    @detector(
        title="Gap in playback",
        measured="silence of the queue model between messages",
        thresholds=(Threshold(20.0, "ms", "one packet inside a word is a click"),),
        change="unblock the event loop",
    )
    def underrun(call: Call) -> Iterator[Finding]:
        "The far end ran out of audio in the middle of an utterance: choppy speech."
        ...
        yield underrun.finding(side="bot", parts=holes, severity="error", value=81.0, ...)

The name of the function is the kind of its findings, its docstring what they mean to a person on
the phone. Everything else that is said of the kind, anywhere, is read from here.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from workbench.diagnosis.finding import Finding, Part, Severity, Side

if TYPE_CHECKING:
    from workbench.call import Call

__all__ = ["Accuracy", "Detector", "Symptom", "Threshold", "detector", "once"]

Find: TypeAlias = "Callable[[Call], Iterator[Finding]]"
Found = TypeVar("Found")

#: Share that must be found at twice the threshold.
RECALL: Final = 0.95
#: Errors that nine of ten findings must stay below: of the span, and of the value.
SPAN_MS: Final = 40.0
VALUE_PERCENT: Final = 10.0
VALUE_DB: Final = 1.0


def once(work: Callable[[Call], Found]) -> Callable[[Call], Found]:
    """Keep what is found of a call, for as long as there is the call: several detectors ask."""
    known: WeakKeyDictionary[Call, Found] = WeakKeyDictionary()

    @wraps(work)
    def found(call: Call) -> Found:
        if call not in known:
            known[call] = work(call)
        return known[call]

    return found


class Threshold(NamedTuple):
    """From where on a fault is reported.

    Parameters:
        value: In ``unit``.
        unit: Of the value, and of the findings that it brings about.
        why: Where it comes from.
    """

    value: float
    unit: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}".strip() + (f": {self.why}" if self.why else "")


class Symptom(NamedTuple):
    """What people complain of, and how it is found.

    Parameters:
        number: Its place among the thirty.
        complaint: In their words.
        answer: The detectors that find it, and what they cannot tell.
    """

    number: int
    complaint: str
    answer: str


@dataclass(frozen=True)
class Accuracy:
    """How good a detector is at finding a fault that was planted in one way.

    Printed by ``python -m tests.benchmarks synthetic``, on made conversations.

    Parameters:
        planted: What was planted: the function in ``tests/planting.py``.
        recall: Share found at twice the threshold.
        value_error: Nine of ten values are nearer to what was planted, at twice the threshold and
            more; ``None`` where there is no size, 0 where it is below what is printed.
        span_ms: The same of the worse end of the span; ``None`` where it is the whole call.
        decibels: Whether the value's error is in dB; else it is in per cent.
    """

    planted: str
    recall: float
    value_error: float | None = None
    span_ms: float | None = None
    decibels: bool = False

    @property
    def missed(self) -> tuple[str, ...]:
        """Targets that are missed: of ``recall``, ``value`` and ``span``."""
        most = VALUE_DB if self.decibels else VALUE_PERCENT
        told = (
            ("recall", self.recall < RECALL),
            ("value", self.value_error is not None and self.value_error >= most),
            ("span", self.span_ms is not None and self.span_ms >= SPAN_MS),
        )
        return tuple(name for name, misses in told if misses)

    def __str__(self) -> str:
        unit = "dB" if self.decibels else "%"
        parts = [f"{self.recall:.0%} found at twice the threshold"]
        if self.value_error is not None:
            parts.append(
                f"value within {self.value_error:g} {unit}" if self.value_error else "value exact"
            )
        if self.span_ms is not None:
            parts.append(f"ends within {self.span_ms:.0f} ms" if self.span_ms else "ends exact")
        missed = f"; short of the target in {' and '.join(self.missed)}" if self.missed else ""
        return ", ".join(parts) + missed


@dataclass(frozen=True, kw_only=True, eq=False)
class Detector:
    """A kind of fault, and what finds it: called with a call it yields its findings.

    Parameters:
        find: Yields the findings of a call, none when all is well.
        title: What people call the fault, in a few words that fit a heading.
        measured: How it is measured.
        change: What to do about it.
        thresholds: From where on it is reported; none where any is too many.
        limits: What it cannot tell.
        harm: How much a caller minds it beside other kinds, more being worse.
        explains: Kinds of findings that follow from it where it is, of the same side;
            ``"bot:dead_air"`` is a kind of the bot's whosever the cause is, ``"*"`` all that lies in
            it. See :mod:`workbench.diagnosis.arbitration`.
        symptoms: Complaints that it answers.
        accuracy: How good it was measured to be, for each way to plant the fault; none for what is
            counted, not measured.
    """

    find: Find
    title: str
    measured: str
    change: str
    thresholds: tuple[Threshold, ...] = ()
    limits: str = ""
    harm: int = 0
    explains: tuple[str, ...] = ()
    symptoms: tuple[Symptom, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()

    def __call__(self, call: Call) -> Iterator[Finding]:
        """Look for the fault in a call."""
        return self.find(call)

    @property
    def kind(self) -> str:
        """Name of its findings, for programs."""
        return self.find.__name__

    @property
    def meaning(self) -> str:
        """What the fault is."""
        return " ".join((inspect.getdoc(self.find) or "").split())

    @property
    def family(self) -> str:
        """What its module says of all faults in it."""
        doc = sys.modules[self.find.__module__].__doc__ or ""
        return doc.partition("\n")[0].rstrip(".")

    @property
    def threshold(self) -> float:
        """Value of its first threshold."""
        return self.thresholds[0].value

    def finding(
        self,
        *,
        side: Side | None,
        parts: Iterable[Part],
        severity: Severity,
        value: float,
        measurement: str,
        cause: str,
        remedy: str,
        threshold: Threshold | None = None,
        listen: str = "",
        confidence: float = 1.0,
    ) -> Finding:
        """Make a finding of this kind, see :class:`workbench.diagnosis.finding.Finding`.

        Args:
            side: Whose audio or behaviour it concerns.
            parts: Where it is, and how much there.
            severity: How bad it is.
            value: What was measured, in the unit of the threshold.
            measurement: The same in words.
            cause: What most likely brought it about.
            remedy: What to change.
            threshold: The one that it exceeds, if not the first that is declared.
            listen: The signal in which to hear it.
            confidence: How sure this is, 0 to 1.
        """
        exceeded = threshold or self.thresholds[0]
        return Finding(
            kind=self.kind,
            title=self.title,
            side=side,
            parts=tuple(Part(*map(float, part)) for part in parts),
            severity=severity,
            value=float(value),
            unit=exceeded.unit,
            threshold=exceeded.value,
            measurement=measurement,
            cause=cause,
            remedy=remedy,
            listen=listen,
            confidence=confidence,
        )


def detector(
    *,
    title: str,
    measured: str,
    change: str,
    thresholds: tuple[Threshold, ...] = (),
    limits: str = "",
    harm: int = 0,
    explains: tuple[str, ...] = (),
    symptoms: tuple[Symptom, ...] = (),
    accuracy: tuple[Accuracy, ...] = (),
) -> Callable[[Find], Detector]:
    """Declare a function to be the detector of the kind of its name, see :class:`Detector`."""

    def declared(find: Find) -> Detector:
        return Detector(
            find=find,
            title=title,
            measured=measured,
            change=change,
            thresholds=thresholds,
            limits=limits,
            harm=harm,
            explains=explains,
            symptoms=symptoms,
            accuracy=accuracy,
        )

    return declared
