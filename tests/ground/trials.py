"""One planted fault, and what the whole diagnosis of that call says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tests.ground.calls import Ground
from tests.ground.course import STALLS, Truth
from tests.ground.judge import Judged, judged
from tests.ground.planted_sound import Planted
from tests.ground.planting import DECOYS, KNOWN, Fault, planted
from tests.ground.take import Take, Unfit
from tests.ground.voices import Half
from workbench.diagnosis import Finding, diagnose

NEAR = 0.3  # seconds between a finding and what was planted


class Trial(NamedTuple):
    """What came of one fault.

    Parameters:
        label: Of the fault.
        times: Its size, in thresholds.
        found: Whether a finding of its kind and side lies over it.
        told: The same of any kind that a person would mind.
        sound: Whether the sentence calls the call sound, but for what was so in the recorded run.
        parts: How many of the places were found, and how many there are.
        value_error: Relative; decibels for decibels; ``None`` where no value is known.
        span_error: In seconds, of the worse end.
        others: Kinds told over it, if its own was not.
        run: Seed of the call.
    """

    label: str
    times: float
    found: bool
    told: bool
    sound: bool
    parts: tuple[int, int]
    value_error: float | None
    span_error: float | None
    others: tuple[str, ...]
    run: int


def attempt(
    fault: Fault, times: float, half: Half, seed: int, *, whole: bool = True
) -> Trial | None:
    """Plant a fault and diagnose the call, or look only for its kind; ``None`` if it fits nowhere."""
    try:
        take, there = planted(fault, times, half, seed)
    except Unfit:
        return None
    call = take.call()
    findings = diagnose(call, None if whole else [fault.kind])
    begun = call.begun
    there = there._replace(parts=tuple((a + begun, b + begun) for a, b in there.parts))
    truth = Truth() if fault.kind in STALLS else late(take)
    new = tuple(finding for finding in findings if not truth.tells(finding, begun))
    near = [finding for finding in new if over(finding, there)]
    known = {fault.kind, *fault.also}
    mine = [
        f
        for f in findings
        if f.kind == fault.kind and (fault.side or f.side) == f.side and over(f, there)
    ]
    others = tuple(sorted({f.kind for f in near if f.severity != "info" or f.kind in known}))
    best = min(mine, key=lambda f: value_error(fault, there, f) or 0.0, default=None)
    return Trial(
        fault.label,
        times,
        bool(mine),
        bool(mine or others),
        "call is sound" in replace(findings, found=new).sentence,
        (sum(touched(mine, part) for part in there.parts), len(there.parts)),
        value_error(fault, there, best) if best else None,
        _span_error(there, best) if best else None,
        others,
        seed,
    )


def over(finding: Finding, there: Planted) -> bool:
    """Whether a finding lies over what was planted."""
    return not there.parts or any(touched([finding], part) for part in there.parts)


def touched(findings: Sequence[Finding], place: tuple[float, float]) -> bool:
    return any(
        part.start < place[1] + NEAR and part.end > place[0] - NEAR
        for finding in findings
        for part in finding.parts
    )


def value_error(fault: Fault, there: Planted, finding: Finding) -> float | None:
    if there.value is None:
        return None
    if "db" in fault.scale:
        return abs(finding.value - there.value)
    return abs(finding.value / there.value - 1)


def _span_error(there: Planted, finding: Finding) -> float | None:
    """Only where one finding can have the whole of it."""
    if there.span is None or len(there.parts) > 1:
        return None
    return float(np.abs(np.subtract(finding.span, there.span)).max())


def decoy(name: str, half: Half, seed: int) -> Judged | None:
    """Diagnose a call with something in it that is no fault."""
    take = Take(half, np.random.default_rng([13, seed]))
    try:
        DECOYS[name](take)
    except Unfit:
        return None
    truth = late(take).but(*(["capture_dropped"] if take.lost else []))
    return judged(Ground(take.run.path.stem, name, "", truth, take.call()))


def late(take: Take) -> Truth:
    """All that may still be told of a run in which there was nothing wrong."""
    return Truth(touching=dict.fromkeys(STALLS, take.run.course.late))


def fault_of(label: str) -> Fault:
    return next(fault for fault in KNOWN if fault.label == label)
