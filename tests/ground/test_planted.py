"""What is planted into a recorded call is found, and what is not planted is not: ``make faults``.

With the few voices of the tree, so that it runs anywhere.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.faults import upper_bound
from tests.ground import take as takes
from tests.ground.judge import judged
from tests.ground.calls import Ground
from tests.ground.planting import DECOYS, KNOWN, planted
from tests.ground.take import Take
from tests.ground.trials import attempt, decoy
from workbench.diagnosis import diagnose

#: What the detectors do not find yet, or not in every call: by kind, planted, side.
NOT_YET = {
}
TRIED = [fault for fault in KNOWN if fault.label not in NOT_YET]


@pytest.fixture(autouse=True, scope="module")
def only_the_clips():
    """As where no voice is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(takes, "speakers", lambda *_: {})
        yield


@pytest.mark.parametrize("fault", TRIED, ids=[fault.label for fault in TRIED])
def test_twice_the_threshold_is_found(fault):
    trial = attempt(fault, 2.0, "work", 1)
    assert trial is not None
    assert trial.found, trial
    assert not trial.sound


def test_half_the_threshold_is_not_told():
    """Of kinds that are found at all; there is nothing to tell where size does not count."""
    sized = [fault for fault in TRIED if fault.scale != "once"]
    told = [fault.label for fault in sized if (trial := attempt(fault, 0.5, "work", 1)) and trial.found]
    assert told == []


@pytest.mark.parametrize("seed", range(3))
def test_a_clean_call_raises_nothing(seed):
    take = Take("work", np.random.default_rng([17, seed]))
    told = judged(Ground(take.run.path.stem, "ordinary", "", (), take.run.late, take.call()))
    assert told.alarms == []


def test_the_rate_that_no_event_excludes_is_three_in_the_time():
    assert upper_bound(0, 1.0) == pytest.approx(2.9957, abs=1e-3)
    assert upper_bound(3, 2.0) == pytest.approx(7.754 / 2, abs=1e-3)
