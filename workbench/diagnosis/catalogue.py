"""The page on all detectors, made from their docstrings and from the comments at their thresholds.

A detector's docstring begins with what the fault means to a person on the phone. Paragraphs follow
that begin with ``Measured:``, ``Threshold:`` (names of constants with their units), ``Change:``,
and, where there are some, ``Limits:``. How each is called stands in
:mod:`workbench.diagnosis.titles`, how good it is in :mod:`workbench.diagnosis.accuracy`.
``python -m workbench.diagnosis.detectors`` prints the page.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from workbench.diagnosis.accuracy import ALARMS, MEASURED
from workbench.diagnosis.titles import TITLES

__all__ = ["Entry", "entry", "page"]

_INTRODUCTION: Final = (
    "How good each is was measured by `make faults` on faults of known size, planted at random into "
    "random conversations: nine of ten errors are smaller than what is said here. What is not sure "
    'begins with "possibly". Where nothing was planted there were '
    + " and ".join(
        f"{count} findings in {hours:.1f} h of calls {what}"
        for what, (hours, count) in ALARMS.items()
    )
    + ". What is counted, not measured, has no such figures."
)
_LABELS: Final = ("Measured", "Threshold", "Change", "Limits")


@dataclass(frozen=True)
class Entry:
    """What there is to know about one detector.

    Parameters:
        kind: Name of its findings.
        meaning: What the fault is.
        measured: How.
        thresholds: From where on it is reported, with unit and source; empty if any is too many.
        change: What to do about it.
        limits: What it cannot tell; may be empty.
        accuracy: How good it was measured to be, for each way to plant the fault; empty for what
            is counted, not measured.
    """

    kind: str
    meaning: str
    measured: str
    thresholds: tuple[str, ...]
    change: str
    limits: str = ""
    accuracy: tuple[str, ...] = ()


def entry(kind: str, detector: Callable[..., Any]) -> Entry:
    """Read what a detector says about itself.

    Raises:
        ValueError: If its docstring lacks a part, or names a constant that there is not.
    """
    told = _parts(inspect.getdoc(detector) or "")
    missing = {"meaning", "Measured", "Threshold", "Change"} - told.keys()
    if missing:
        raise ValueError(f"the docstring of {kind} lacks {', '.join(sorted(missing))}")
    return Entry(
        kind,
        told["meaning"],
        told["Measured"],
        tuple(_thresholds(detector, told["Threshold"])),
        told["Change"],
        told.get("Limits", ""),
        tuple(_accuracy(kind)),
    )


def page(detectors: Mapping[str, Callable[..., Any]], symptoms: str = "") -> str:
    """Write the page on all detectors as Markdown.

    Args:
        detectors: By kind, as in :data:`workbench.diagnosis.detectors.DETECTORS`.
        symptoms: What stands behind them.
    """
    lines = ["# Findings", "", _INTRODUCTION, ""]
    family = ""
    for kind, detector in sorted(detectors.items(), key=lambda row: row[1].__module__):
        if detector.__module__ != family:
            family = detector.__module__
            heading = (sys.modules[family].__doc__ or "").partition("\n")[0].rstrip(".")
            lines += [f"## {heading}", ""]
        told = entry(kind, detector)
        lines += [f"### {TITLES[kind]} (`{kind}`)", "", told.meaning, ""]
        lines += [f"- **Measured:** {told.measured}"]
        thresholds = told.thresholds or ("none, any is reported",)
        lines += [f"- **Threshold:** {text}" for text in thresholds]
        lines += [f"- **What to change:** {told.change}"]
        lines += [f"- **Limits:** {told.limits}"] if told.limits else []
        lines += [f"- **How good:** {text}" for text in told.accuracy]
        lines.append("")
    return "\n".join([*lines, symptoms]).rstrip() + "\n"


def _accuracy(kind: str) -> Iterator[str]:
    rows = [row for row in MEASURED if row.kind == kind]
    for row in rows:
        which = f"{row.planted.replace('_', ' ')}: " if len(rows) > 1 else ""
        yield f"{which}{row}"


def _parts(doc: str) -> dict[str, str]:
    """The meaning, and each labelled paragraph, as one line each."""
    pieces = re.split(rf"^({'|'.join(_LABELS)}):", doc, flags=re.MULTILINE)
    texts = [" ".join(piece.split()) for piece in pieces]
    parts = {label: text for label, text in zip(texts[1::2], texts[2::2], strict=True) if text}
    return parts | ({"meaning": texts[0]} if texts[0] else {})


def _thresholds(detector: Callable[..., Any], text: str) -> Iterator[str]:
    module = sys.modules[detector.__module__]
    source = inspect.getsource(module)
    for name, unit in re.findall(r"\b([A-Z][A-Z_]+)\b ?([^,.]*)", text):
        if not hasattr(module, name):
            raise ValueError(f"{module.__name__} has no {name}, which {detector.__name__} names")
        comment = re.search(rf"((?:^#:.*\n)+){name}\b", source, re.MULTILINE)
        said = re.sub(r"^#: ?", "", comment[1], flags=re.MULTILINE) if comment else ""
        why = " ".join(said.split())
        yield f"{getattr(module, name):g} {unit.strip()}".strip() + (f": {why}" if why else "")
