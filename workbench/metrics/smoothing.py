"""Filters over time that need no design: a one-pole, and the extremes and mean of a window.

Conventions:
    A window reaches from ``before`` values before each value to ``after`` values after it; at the
    ends of the array it is cut off there. Time runs along the first axis.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["one_pole", "running_maximum", "running_mean", "running_minimum"]

F = TypeVar("F", np.float32, np.float64)

_AT_ONCE: Final = 2048  # values that are filtered together: they stay in the processor's cache


def one_pole(values: ArrayLike, decay: float, last: float = 0.0) -> NDArray[np.float64]:
    """Filter by ``y[i] = decay * y[i - 1] + x[i]``.

    Args:
        values: Shape ``(n,)``.
        decay: 0 to 1.
        last: What came out before the first; by default it begins at rest. Who filters in blocks has
            the same to the bit if their lengths are multiples of 2048.

    Returns:
        Shape ``(n,)``.

    Example::

        >>> one_pole([1.0, 0.0, 0.0, 1.0], decay=0.5).tolist()
        [1.0, 0.5, 0.25, 1.125]
    """
    filtered = np.array(values, np.float64)
    for first in range(0, filtered.size, _AT_ONCE):
        block = filtered[first : first + _AT_ONCE]
        block[0] += decay * last
        # After each round a value holds those before it over twice the reach.
        reach, weight = 1, decay
        while reach < block.size:
            block[reach:] += weight * block[:-reach]
            reach, weight = 2 * reach, weight * weight
        last = float(block[-1])
    return filtered


def running_maximum(values: NDArray[F], before: int, after: int) -> NDArray[F]:
    """Find the largest value of each window; shape ``(n, ...)`` as it came.

    Example::

        >>> running_maximum(np.array([1.0, 3.0, 2.0, 0.0, 0.0]), before=1, after=0).tolist()
        [1.0, 3.0, 3.0, 2.0, 0.0]
    """
    return _extreme(np.maximum, -np.inf, values, before, after)


def running_minimum(values: NDArray[F], before: int, after: int) -> NDArray[F]:
    """Find the smallest value of each window; shape ``(n, ...)`` as it came."""
    return _extreme(np.minimum, np.inf, values, before, after)


def running_mean(values: NDArray[F], before: int, after: int) -> NDArray[F]:
    """Average each window, mirrored at the ends; shape ``(n, ...)`` as it came.

    For windows of a few values: the cost grows with them, but no error runs along.
    """
    if not len(values):
        return values
    sides = [(before, after), *[(0, 0)] * (values.ndim - 1)]
    padded = np.pad(values, sides, mode="symmetric")
    size = before + after + 1
    total = np.zeros(values.shape, np.float64)
    for shift in range(size):
        total += padded[shift : shift + len(values)]
    return np.asarray(total / size, values.dtype)


def _extreme(
    extreme: np.ufunc, nothing: float, values: NDArray[F], before: int, after: int
) -> NDArray[F]:
    """Choose of ever longer stretches, each twice the one before, then of two that overlap.

    Args:
        extreme: ``np.maximum`` or ``np.minimum``.
        nothing: What it never chooses.
        values: Shape ``(n, ...)``.
        before: Values of a window before its own.
        after: And after it.
    """
    sides = [(before, after), *[(0, 0)] * (values.ndim - 1)]
    chosen = np.pad(values, sides, constant_values=nothing)
    size, reach = before + after + 1, 1
    while 2 * reach <= size:
        chosen = extreme(chosen[:-reach], chosen[reach:])
        reach *= 2
    count = len(values)
    found: NDArray[F] = extreme(chosen[:count], chosen[size - reach : size - reach + count])
    return found
