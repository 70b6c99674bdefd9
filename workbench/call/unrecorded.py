"""Where the recording itself lost records, told by the numbers that are not there."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from workbench.call.streams import Stream

__all__ = ["but_for", "holes", "merged"]


def holes(numbers: array[int], times: array[float]) -> list[tuple[float, float, int]]:
    """Where records of a topic are missing: the times before and after, and how many they are."""
    order = np.argsort(numbers, kind="stable")
    number, time = np.array(numbers, np.int64)[order], np.array(times)[order]
    number, time = np.insert(number, 0, 0), np.insert(time, 0, 0.0)
    before = np.flatnonzero(np.diff(number) > 1)
    missing = np.diff(number)[before] - 1
    return list(
        zip(time[before].tolist(), time[before + 1].tolist(), missing.tolist(), strict=True)
    )


def but_for(stream: Stream, holes: Iterable[tuple[float, float, int]]) -> Stream:
    """Take back from what never arrived the messages that arrived and were not recorded."""
    missing = stream.missing.copy()
    for start, end, count in holes:
        for index in np.flatnonzero((stream.time > start) & (stream.time <= end) & (missing > 0)):
            taken = min(count, int(missing[index]))
            missing[index] -= taken
            count -= taken
    return replace(stream, missing=missing)


def merged(
    holes: Mapping[str, Iterable[tuple[float, float, int]]],
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
