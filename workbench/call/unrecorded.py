"""Where the recording itself lost records, told by the numbers that are not there."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Unrecorded", "but_for", "holes", "merged"]


class Unrecorded(NamedTuple):
    """Records of one topic that the recording lost.

    Parameters:
        start: Time of the record before them.
        end: Time of the record behind them.
        missing: How many they are.
    """

    start: float
    end: float
    missing: int


def holes(numbers: array[int], times: array[float]) -> list[Unrecorded]:
    """Where records of a topic are missing, told by their numbers."""
    order = np.argsort(numbers, kind="stable")
    number, time = np.array(numbers, np.int64)[order], np.array(times)[order]
    number, time = np.insert(number, 0, 0), np.insert(time, 0, 0.0)
    before = np.flatnonzero(np.diff(number) > 1)
    missing = np.diff(number)[before] - 1
    columns = time[before].tolist(), time[before + 1].tolist(), missing.tolist()
    return list(map(Unrecorded, *columns))


def but_for(
    skipped: NDArray[np.int64], time: NDArray[np.float64], holes: Iterable[Unrecorded]
) -> NDArray[np.int64]:
    """Take the messages that came and were not recorded out of those that were skipped.

    Args:
        skipped: How many numbers before each message are not there, shape ``(n,)``.
        time: When each message came, shape ``(n,)``.
        holes: Of the recording.

    Returns:
        How many never came, shape ``(n,)``.
    """
    missing = skipped.copy()
    for start, end, count in holes:
        for index in np.flatnonzero((time > start) & (time <= end) & (missing > 0)):
            taken = min(count, int(missing[index]))
            missing[index] -= taken
            count -= taken
    return missing


def merged(
    holes: Mapping[str, Iterable[Unrecorded]],
) -> tuple[tuple[float, float], ...]:
    """The holes of all topics, from when to when, one after the other.

    The caller's messages come all the time and bound a hole to a hundredth of a second. Of a topic
    with a record now and then only holes count that those have not.
    """
    found: list[tuple[float, float]] = []
    for topic in sorted(holes, key=lambda topic: topic != "/ws/rx"):
        found += [
            (start, end)
            for start, end, _ in holes[topic]
            if not any(start < last and end > first for first, last in found)
        ]
    return tuple(sorted(found))
