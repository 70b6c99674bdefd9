"""What is planted at random places of random calls is found: a reduced form of ``make faults``."""

from __future__ import annotations

import pytest

from tests.benchmarks.faults import alarms, attempt, together
from tests.planting import FAULTS


@pytest.mark.parametrize("index", range(len(FAULTS)), ids=[f.plant.__name__ for f in FAULTS])
def test_what_is_planted_anywhere_is_found_and_half_of_it_is_not(index):
    trial = attempt(index, 2.0, seed=0)
    assert trial.found
    assert trial.possible == bool(FAULTS[index].declared.missed)
    assert not attempt(index, 0.5, seed=0).found


@pytest.mark.parametrize("kind", ["clean", "decoys"])
def test_random_calls_without_a_fault_raise_nothing(kind):
    assert alarms(kind, 0)[1] == []


def test_faults_are_told_apart_when_there_are_several():
    hits, others = together(0)
    assert [found for _, found in hits] == [True] * 3
    assert others == []
