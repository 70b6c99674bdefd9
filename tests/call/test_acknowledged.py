"""The queue model against what a carrier says that it has played."""

from __future__ import annotations

import numpy as np
import pytest

from pipecat_bandwidth.encodings import PCMU
from workbench.call.acknowledged import Asked, Mark, check, paired
from workbench.call.playout import Playout, reconstruct
from workbench.call.streams import Stream

#: How long an answer takes in these calls.
ROUND_TRIP = 0.050


def stream(late: float = 0.0, around: float = -1.0) -> Stream:
    """The caller's audio, one second of which came later than it could have."""
    time = np.arange(500) * 0.020
    lateness = np.where(np.abs(time - around) < 0.5, late, 0.0)
    none = np.zeros(500, np.int64)
    return Stream(
        time, none, np.full(500, 0.020), time, np.zeros(500, bool), none, none,
        (b"\xff" * 160,) * 500, (PCMU,) * 500, late=lateness,
    )  # fmt: skip


def sent(count: int = 50, at: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Two seconds of a bot that is 80 ms ahead."""
    time = at + np.maximum(0.0, 0.040 * np.arange(count) - 0.080)
    return time, np.full(count, 0.040)


def answered(queue: Playout, *marks: tuple[int, float]) -> list[Mark]:
    """Marks behind so many messages, answered when the queue has them over, and so much later."""
    return [
        Mark(f"m{n}", queue.time[n - 1], n, queue.end[n - 1] + ROUND_TRIP + late)
        for n, late in marks
    ]


HELLO = Mark("hello", 0.5, 0, 0.5 + ROUND_TRIP)


def test_a_far_end_that_plays_as_the_model_has_it_agrees() -> None:
    queue = reconstruct(*sent())
    found = check(queue, [HELLO, *answered(queue, (20, 0.0), (50, 0.015))], stream())
    assert found is not None and (found.marks, found.corrected) == (3, 0)
    assert found.round_trip_ms == pytest.approx(50)
    assert found.sentence("Twilio") == (
        "3 marks that Twilio answered agree with the queue model within 15 ms"
    )
    again = reconstruct(*sent(), bounds=found.bounds)
    assert np.array_equal(again.start, queue.start) and np.array_equal(again.heard, queue.heard)


@pytest.mark.parametrize("late", [0.06, 0.3, 2.0])
def test_what_is_played_later_is_a_hole_behind_the_mark_before(late: float) -> None:
    queue = reconstruct(*sent())
    found = check(queue, [HELLO, *answered(queue, (20, 0.0), (50, late))], stream())
    assert found is not None and found.corrected == 1
    again = reconstruct(*sent(), bounds=found.bounds, continues=np.arange(50) > 0)
    (hole,) = again.underruns
    assert hole.message == 20 and hole.end - hole.start == pytest.approx(late)
    assert again.is_told(hole) and not queue.is_told(hole)
    assert again.end[-1] == pytest.approx(queue.end[-1] + late)
    assert again.heard_ms == queue.heard_ms


def test_what_was_never_played_is_taken_away() -> None:
    at_once = np.full(50, 1.0), np.full(50, 0.040)
    queue = reconstruct(*at_once)
    marks = [HELLO, *answered(queue, (20, 0.0), (50, -0.5))]
    found = check(queue, marks, stream())
    assert found is not None and found.corrected == 1
    assert "played up to 500 ms sooner" in found.sentence("Plivo")
    again = reconstruct(*at_once, bounds=found.bounds)
    assert again.heard_ms == pytest.approx(queue.heard_ms - 500)
    assert np.isnan(again.start[-1]) and again.end[20] == pytest.approx(queue.end[20])


def test_what_a_clear_gave_back_tells_nothing() -> None:
    asked = [Asked(1.0, "a", 10), Asked(2.0, "b", 40)]
    marks = paired(asked, [(1.4, "a"), (2.2, "b")], clears=[2.1])
    assert [mark.is_cleared for mark in marks] == [False, True]
    found = check(reconstruct(*sent(), clears=[2.1]), marks, stream())
    assert found is not None and found.marks == 1


def test_answers_go_to_their_names_in_order() -> None:
    asked = [Asked(1.0, "a", 1), Asked(2.0, "a", 2), Asked(3.0, "b", 3), Asked(4.0, "c", 4)]
    marks = paired(asked, [(0.5, "a"), (1.5, "a"), (3.1, "b"), (3.2, "a"), (5.0, "d")], [])
    assert [mark.answered for mark in marks] == [1.5, 3.2, 3.1, None]


def test_without_answers_nothing_is_checked() -> None:
    assert check(reconstruct(*sent()), [Mark("a", 1.0, 10)], stream()) is None
    assert check(reconstruct((), ()), [], stream()) is None


def test_an_answer_that_the_bot_read_late_is_not_the_far_end_s() -> None:
    queue = reconstruct(*sent())
    marks = [HELLO, *answered(queue, (20, 0.0), (50, 0.4))]
    held_up = float(queue.end[49]) + ROUND_TRIP + 0.4
    found = check(queue, marks, stream(late=0.4, around=held_up))
    assert found is not None and found.corrected == 0
    without = check(queue, marks, stream())
    assert without is not None and without.corrected == 1
