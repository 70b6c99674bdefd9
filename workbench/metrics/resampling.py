"""How sure a mean over calls is, and whether two groups of calls differ: calls are drawn whole.

What is in one call is alike, so a call is drawn with all that is in it [2]_. A mean is a ratio of sums:
of what was counted or scored in a call, and of its size (segments, minutes, 1).

References:
    .. [1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 8; chapter 15 on
       permutation tests.
    .. [2] A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section
       3.8: of the ways to resample clusters, drawing them whole has the right variance; section
       3.2 on several samples, each resampled by itself.
    .. [3] B. Phipson, G. K. Smyth, "Permutation p-values should never be zero", Statistical
       Applications in Genetics and Molecular Biology 9(1), 2010.
    .. [4] S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
       of Statistics 6(2), 1979.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESAMPLINGS", "holm", "permuted", "resampled", "standard_error"]

RESAMPLINGS: Final = 2000
#: Permutations: p is known to some 0.0001. Of more calls than 20,000 there are fewer.
_PERMUTATIONS: Final = 9999
_MOST_DRAWS: Final = 200_000_000
_AT_ONCE: Final = 4_000_000


def resampled(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64] | NDArray[np.intp],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Means of resamplings of calls.

    Args:
        sums: Of each call, shape ``(calls, n)``.
        sizes: Of each, shape ``(calls,)``, or ``(calls, n)`` with 0 where a call tells nothing.
        rng: Where the draws come from.

    Returns:
        Shape ``(RESAMPLINGS, n)``; NaN where no call was drawn that tells anything.
    """
    calls = len(sizes)
    even = np.full(calls, 1 / calls)
    means = np.empty((RESAMPLINGS, sums.shape[1]))
    some = max(1, _AT_ONCE // calls)
    for first in range(0, RESAMPLINGS, some):
        counts = rng.multinomial(calls, even, min(some, RESAMPLINGS - first))
        size = counts @ sizes
        with np.errstate(invalid="ignore"):
            means[first : first + some] = (counts @ sums) / (
                size[:, None] if size.ndim == 1 else size
            )
    return means


def standard_error(
    draws: NDArray[np.float64], calls: int | NDArray[np.intp]
) -> NDArray[np.float64]:
    """Standard error of means over at least two calls each, from their resamplings.

    A sample varies less about its own mean than about that of the population.
    """
    error: NDArray[np.float64] = np.nanstd(draws, axis=0) * np.sqrt(calls / (np.asarray(calls) - 1))
    return error


def permuted(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    second: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """How likely chance alone makes two groups of calls differ so much: permutation tests.

    Args:
        sums: Of each call, shape ``(calls, n)``.
        sizes: Of each, shape ``(calls, n)``; 0, with a sum of 0, where a call tells nothing.
        second: Which calls are of the second group.
        rng: Where the permutations come from.

    Returns:
        p of each of the n, both directions, never 0 [3]_: shape ``(n,)``.
    """
    calls = len(second)
    count = int(min(_PERMUTATIONS, max(999, _MOST_DRAWS // calls)))
    observed = _apart(second[None].astype(float), sums, sizes)[0]
    as_far = np.zeros(sums.shape[1])
    done = 0
    while done < count:
        some = min(count - done, max(1, _AT_ONCE // calls))
        drawn = rng.permuted(np.broadcast_to(second, (some, calls)), axis=1).astype(float)
        as_far += (_apart(drawn, sums, sizes) >= observed * (1 - 1e-9)).sum(axis=0)
        done += some
    p: NDArray[np.float64] = (1 + as_far) / (1 + count)
    return p


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjust p for their number [4]_: all that stay below 0.05 are right, all at once, in 95 %."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _apart(
    second: NDArray[np.float64], sums: NDArray[np.float64], sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far the means of the two groups are apart; infinitely where one of them is empty."""
    of_second, size = second @ sums, second @ sizes
    of_first, rest = sums.sum(axis=0) - of_second, sizes.sum(axis=0) - size
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(of_second / size - of_first / rest)
    return np.where((size > 1e-12) & (rest > 1e-12), apart, np.inf)
