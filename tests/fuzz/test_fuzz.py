"""A small share of ``make fuzz``, and that the fuzzer itself can fail."""

from __future__ import annotations

import os
import struct
import threading
from functools import partial

import pytest

from tests.fuzz import captures, sounds
from tests.fuzz.isolated import MEMORY, doing, isolated
from tests.fuzz.whole import LINES
from workbench.exceptions import CaptureError

_LOCK = threading.Lock()


@pytest.mark.parametrize("number", range(1, 9))
def test_a_broken_capture_has_a_result_or_one_line(number: int) -> None:
    outcome = captures.case(17, number * 20 + 1)
    assert outcome.is_allowed, outcome


#: What failed once, by seed: chunks whose head lies, a count without end, a stream of which most is empty;
#: what lies behind a track, an answer that nobody waited for; a hang-up before the first message.
ONCE = ((1, (561, 890, 1034, 1359, 2408, 2428, 2789)), (2, (2407, 2487, 2956)), (3, (2657,)))


@pytest.mark.parametrize(
    ("seed", "number"), [(seed, number) for seed, numbers in ONCE for number in numbers]
)
def test_what_failed_once_does_not_fail_again(seed: int, number: int) -> None:
    outcome = captures.case(seed, number)
    assert outcome.is_allowed, outcome


@pytest.mark.parametrize("number", range(20))
def test_a_broken_sound_file_has_a_result_or_one_line(number: int) -> None:
    outcome = sounds.case(17, number)
    assert outcome.is_allowed, outcome


def fails() -> None:
    doing("this")
    raise RuntimeError("so")


def lines() -> None:
    raise CaptureError("a", "two\nlines")


def endless() -> None:
    while True:
        pass


def vanishes() -> None:
    os._exit(3)


def test_what_may_not_come_of_a_case_is_told() -> None:
    """The fuzzer itself can fail."""
    assert isolated(partial(int, "1"), LINES)[:2] == ("result", 1)
    failed = isolated(fails, LINES)
    assert (failed.what, failed.step) == ("traceback", "this")
    assert "RuntimeError: so" in failed.told
    assert isolated(lines, LINES).what == "traceback"
    assert isolated(partial(bytearray, MEMORY + 1), LINES).what == "memory"
    assert isolated(endless, LINES, seconds=0.5).what == "time"
    assert isolated(vanishes, LINES).told == "exit code 3"
    assert isolated(partial(struct.unpack, "<I", b""), LINES).what == "traceback"


def locks() -> bool:
    with _LOCK:
        return True


def test_a_lock_that_is_held_here_stops_no_case() -> None:
    """As a thread's would be for ever in a fork of this process."""
    with _LOCK:
        assert isolated(locks, LINES, seconds=1).what == "result"
