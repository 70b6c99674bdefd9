"""Which message a record's number means: a dict of an hour would take 20 MB."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["NumberWriter", "Numbers"]


class Numbers(Mapping[int, int]):
    """Indices by number; of a number that came twice, the last.

    Parameters:
        number: Ascending, shape ``(n,)``, int64.
        index: Of each, shape ``(n,)``, int64.
    """

    def __init__(self, number: NDArray[np.int64], index: NDArray[np.int64]) -> None:
        """Take them."""
        self._number = number
        self._index = index

    def __getitem__(self, number: int) -> int:
        at = bisect_right(self._number, number) - 1
        if at < 0 or self._number[at] != number:
            raise KeyError(number)
        return int(self._index[at])

    def __len__(self) -> int:
        return len(self._number)

    def __iter__(self) -> Iterator[int]:
        return iter(self._number.tolist())

    def indices(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index of each of many, -1 for one that is not there."""
        at = np.searchsorted(self._number, numbers, side="right") - 1
        if not len(self._number):
            return at
        return np.where(self._number[at] == numbers, self._index[at], -1)


class NumberWriter:
    """Numbers in the order of their indices."""

    def __init__(self) -> None:
        """Begin without any."""
        self._number = array("q")

    def add(self, number: int) -> None:
        """Add the number of the next index."""
        self._number.append(number)

    def numbers(self) -> Numbers:
        """All of them."""
        given = np.array(self._number, np.int64)
        order = np.argsort(given, kind="stable")
        number = given[order]
        last = np.append(number[1:] != number[:-1], True) if len(number) else np.empty(0, np.bool_)
        return Numbers(number[last], order[last])
