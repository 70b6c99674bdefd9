"""What is planted into a recorded call is found, and what is not planted is not: ``make faults``.

With the few voices of the tree, so that it runs anywhere.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.faults import upper_bound
from tests.ground import take as takes
from tests.ground.calls import Ground
from tests.ground.judge import judged
from tests.ground.planting import KNOWN
from tests.ground.take import Take
from tests.ground.trials import attempt, late

#: Told of clean calls all the same.
TOLD_YET = {"stale_audio"}
#: Found in three calls of four: :data:`workbench.diagnosis.detectors.order.JUMPING` says why.
OFTEN_MISSED = "out_of_order each fourth left out, 100 ms bot"
#: Where size does not count there is nothing at half of it.
SIZED = [fault for fault in KNOWN if fault.scale != "once"]


@pytest.fixture(autouse=True, scope="module")
def only_the_clips():
    """As where no voice is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(takes, "speakers", lambda *_: {})
        yield


@pytest.mark.parametrize("fault", KNOWN, ids=[fault.label for fault in KNOWN])
def test_twice_the_threshold_is_found(fault):
    """In one call or another: ``make faults`` counts in how many."""
    calls = 4 if fault.label == OFTEN_MISSED else 2
    trials = (attempt(fault, 2.0, "work", seed, whole=False) for seed in range(1, calls + 1))
    assert any(trial is not None and trial.found for trial in trials)


@pytest.mark.thorough  # each detector's threshold is held to in tests/diagnosis/test_planted.py
@pytest.mark.parametrize("fault", SIZED, ids=[fault.label for fault in SIZED])
def test_half_the_threshold_is_not_told(fault):
    trial = attempt(fault, 0.5, "work", 1, whole=False)
    assert trial is not None
    assert not trial.found, trial


@pytest.mark.parametrize("seed", range(3))
def test_a_clean_call_raises_nothing(seed):
    take = Take("work", np.random.default_rng([17, seed]))
    told = judged(Ground(take.run.path.stem, "ordinary", "", late(take), take.call()))
    assert [words for kind, _, words in told.alarms if kind not in TOLD_YET] == []


def test_the_rate_that_no_event_excludes_is_three_in_the_time():
    assert upper_bound(0, 1.0) == pytest.approx(2.9957, abs=1e-3)
    assert upper_bound(3, 2.0) == pytest.approx(7.754 / 2, abs=1e-3)
