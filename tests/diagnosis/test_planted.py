"""What is planted at random places of random calls is found: a reduced form of the synthetic benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.synthetic import alarms, attempt, error_of, judged, opened, together
from tests.planting import FAULTS, Planted
from workbench.diagnosis import diagnose

EACH_FAULT = pytest.mark.parametrize(
    "index", range(len(FAULTS)), ids=[f"{fault.kind}-{fault.plant.__name__}" for fault in FAULTS]
)
#: How near a value must be: decibels, or a share of it.
NEAR = {"db": 1.0, "-db": 1.0, "times": 0.1, "over": 0.01}


@EACH_FAULT
def test_a_fault_of_twice_the_threshold_is_found_and_measured(index):
    fault = FAULTS[index]
    planted: Planted = fault.plant(np.random.default_rng([index, 0]), fault.size(2))
    findings = diagnose(opened(planted), [fault.kind])
    trial = judged(index, 2.0, planted, findings)
    assert trial.found
    assert trial.extra == 0
    assert trial.possible == bool(fault.declared.missed)
    for finding in findings:
        assert finding.kind == fault.kind
        assert {type(number) for number in (finding.value, *finding.span)} == {float}
    if fault.scale != "once":
        (finding,) = findings
        assert finding.threshold == fault.threshold
        error = error_of(fault, planted, finding.value)
        assert error is None or error < NEAR[fault.scale]
        assert trial.span_error is None or trial.span_error < 0.040


@EACH_FAULT
def test_a_fault_of_half_the_threshold_is_not_reported(index):
    trial = attempt(index, 0.5, seed=0)
    assert not trial.found
    assert trial.extra == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clean", "decoys"])
def test_random_calls_without_a_fault_raise_nothing(kind):
    assert alarms(kind, 0)[1] == []


def test_faults_are_told_apart_when_there_are_several():
    hits, others = together(0)
    assert [found for _, found in hits] == [True] * 3
    assert others == []
