"""The page on all detectors, made from their declarations: ``python -m workbench.diagnosis``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from workbench.diagnosis.detector import Detector, Symptom
from workbench.diagnosis.detectors import DETECTORS

__all__ = ["ALARMS", "FOUND", "RECORDED", "SYMPTOMS", "page"]

#: What was found in conversations made up of phrases, with nothing wrong and with what only looks
#: like a fault: how many hours of each, and how many findings.
ALARMS: Final[dict[str, tuple[float, int]]] = {
    "with nothing wrong": (5.0, 0),
    "with what only looks like a fault": (2.5, 0),
}

#: What was found in recorded runs of real pipelines, with the half of the voices that is only
#: measured: share of the faults of twice their threshold; then hours of clean calls and alarms
#: (warnings and errors) in them.
FOUND: Final = 0.90
RECORDED: Final[dict[str, tuple[float, int]]] = {
    "ordinary speech": (5.9, 212),
    "callers that are no voice": (3.1, 91),
    "formant synthesis": (1.4, 54),
}

#: What no capture can show.
_UNSEEN: Final = (
    Symptom(
        28,
        "memory grows",
        "cannot be seen: a capture holds one call and no figure of the process but the "
        "recording's own queue, which is bounded and reported by `capture_dropped`",
    ),
)

#: Thirty things that people complain of, and how each is found; or why it cannot be.
SYMPTOMS: Final[tuple[Symptom, ...]] = tuple(
    sorted([*_UNSEEN, *(symptom for found in DETECTORS.values() for symptom in found.symptoms)])
)

_INTRODUCTION: Final = (
    "How good each is was measured on faults of known size, planted at random into conversations made "
    "up of phrases (`python -m tests.benchmarks synthetic`): nine of ten errors are smaller than what "
    'is said here. What is not sure begins with "possibly". Where nothing was planted there were '
    + " and ".join(
        f"{count} findings in {hours:.1f} h of calls {what}"
        for what, (hours, count) in ALARMS.items()
    )
    + ". Real calls are harder. In recorded runs of real pipelines, with voices that were only "
    f"measured (`make faults`), {FOUND:.0%} of such faults were found, and of calls with nothing "
    "planted there were "
    + ", ".join(
        f"{count} alarms in {hours:.1f} h of {what}" for what, (hours, count) in RECORDED.items()
    )
    + ": five in six of them `dead_air`, where the bot of a recorded run had not answered; of 53 that "
    "were held against what was said in these runs, 50 were true. What is counted, not measured, has no "
    "such figures."
)


def page(
    detectors: Mapping[str, Detector] = DETECTORS, symptoms: Sequence[Symptom] = SYMPTOMS
) -> str:
    """Write the page on all detectors as Markdown.

    Args:
        detectors: By kind.
        symptoms: What stands behind them.
    """
    lines = ["# Findings", "", _INTRODUCTION, ""]
    in_order = sorted(detectors.values(), key=lambda detector: detector.find.__module__)
    for family, members in groupby(in_order, key=lambda detector: detector.family):
        lines += [f"## {family}", ""]
        for detector in members:
            lines += [*_entry(detector), ""]
    lines += ["## Symptoms", ""]
    lines += ["| | what people complain of | how it is found |", "| --- | --- | --- |"]
    lines += [f"| {number} | {complaint} | {answer} |" for number, complaint, answer in symptoms]
    return "\n".join(lines) + "\n"


def _entry(detector: Detector) -> Iterator[str]:
    yield f"### {detector.title} (`{detector.kind}`)"
    yield ""
    yield detector.meaning
    yield ""
    yield f"- **Measured:** {detector.measured}"
    for threshold in detector.thresholds or ("none, any is reported",):
        yield f"- **Threshold:** {threshold}"
    yield f"- **What to change:** {detector.change}"
    if detector.limits:
        yield f"- **Limits:** {detector.limits}"
    for good in detector.accuracy:
        which = f"{good.planted.replace('_', ' ')}: " if len(detector.accuracy) > 1 else ""
        yield f"- **How good:** {which}{good}"
