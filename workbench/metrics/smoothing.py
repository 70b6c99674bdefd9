"""Filters over time that need no design: a one-pole, and the extremes and mean of a window.

Conventions:
    A window reaches from ``before`` values before each value to ``after`` values after it; at the
    ends of the array it is cut off there. Time runs along the first axis.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["one_pole", "running_maximum", "running_mean", "running_minimum"]

F = TypeVar("F", np.float32, np.float64)

_AT_ONCE: Final = 8192  # values that are filtered together: they stay in the processor's cache
_STEEPEST: Final = 500.0  # natural logarithm of the largest weight: a double reaches 709


def one_pole(
    values: ArrayLike, decay: float, last: float = 0.0, gain: float = 1.0
) -> NDArray[np.float64]:
    """Filter by ``y[i] = decay * y[i - 1] + gain * x[i]``.

    Of values that are weighted by what undoes the decay the filter is the running sum. A value's
    rounding fades as the value does, so nothing is lost by weights that grow without end.

    Args:
        values: Shape ``(n,)``.
        decay: 0 to 1.
        last: What came out before the first; by default it begins at rest. Who filters in blocks has
            the same to the bit if their lengths are multiples of 8192.
        gain: ``1 - decay`` makes it a mean.

    Returns:
        Shape ``(n,)``.

    Example::

        >>> one_pole([1.0, 0.0, 0.0, 1.0], decay=0.5).tolist()
        [1.0, 0.5, 0.25, 1.125]
    """
    values = np.asarray(values, np.float64)
    if decay == 0.0:
        return gain * values
    growing, fading = _weights(decay, gain)
    size = fading.size
    filtered = np.empty(values.size)
    for first in range(0, values.size, size):
        block = filtered[first : first + size]
        np.multiply(values[first : first + size], growing[: block.size], out=block)
        block[0] += last
        np.cumsum(block, out=block)
        block *= fading[: block.size]
        last = float(block[-1])
    return filtered


@lru_cache(maxsize=16)
def _weights(decay: float, gain: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What undoes the decay of each value of a block, times the gain; and the decay."""
    steepness = -float(np.log(decay))
    size = _AT_ONCE
    while size * steepness > _STEEPEST and size > 1:
        size //= 2
    fading = decay ** np.arange(1.0, size + 1)
    return gain / fading, fading


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
    size, reach = before + after + 1, 1
    chosen = np.full((before + len(values) + after, *values.shape[1:]), nothing, values.dtype)
    chosen[before : before + len(values)] = values
    while 2 * reach <= size:
        chosen = extreme(chosen[:-reach], chosen[reach:])
        reach *= 2
    count = len(values)
    found: NDArray[F] = extreme(chosen[:count], chosen[size - reach : size - reach + count])
    return found
