"""Filters over time, beside SciPy's, which are slower to import than to run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, signal

from workbench.metrics.smoothing import one_pole, running_maximum, running_mean, running_minimum

Running = Callable[[NDArray[np.float64], int, int], NDArray[np.float64]]


@pytest.mark.parametrize("count", [0, 1, 2, 8191, 8192, 8193, 100_000])
@pytest.mark.parametrize("decay", [0.0, 1e-300, 1e-6, 0.5, 15 / 16, 0.9672, 0.99999, 1.0])
def test_a_one_pole_is_the_recursion(count: int, decay: float) -> None:
    x = np.random.default_rng(1).exponential(size=count)
    expected = signal.lfilter([1.0], [1.0, -decay], x)
    np.testing.assert_allclose(one_pole(x, decay), expected, rtol=1e-11)


@pytest.mark.parametrize("decay", [0.5, 0.98, 0.99999])
def test_a_one_pole_in_blocks_is_the_same_to_the_bit(decay: float) -> None:
    x = np.random.default_rng(2).standard_normal(5 * 8192 + 7)
    first = one_pole(x[: 2 * 8192], decay)
    then = one_pole(x[2 * 8192 :], decay, float(first[-1]))
    np.testing.assert_array_equal(np.concatenate([first, then]), one_pole(x, decay))


def test_a_one_pole_leaves_its_input_alone() -> None:
    x = np.ones(10)
    one_pole(x, 0.5)
    assert (x == 1).all()


@pytest.mark.parametrize("count", [0, 1, 2, 9, 150, 151, 4000])
@pytest.mark.parametrize(
    ("before", "after"), [(0, 0), (1, 0), (200, 0), (0, 9), (0, 1499), (75, 74)]
)
@pytest.mark.parametrize(
    ("running", "reference"),
    [(running_maximum, np.max), (running_minimum, np.min)],
)
def test_an_extreme_is_that_of_the_window(
    running: Running, reference: Callable[..., float], count: int, before: int, after: int
) -> None:
    x = np.random.default_rng(2).normal(size=count)
    windows = [x[max(0, i - before) : i + after + 1] for i in range(count)]
    np.testing.assert_array_equal(running(x, before, after), [reference(w) for w in windows])


@pytest.mark.parametrize("count", [1, 3, 160, 1000])
def test_an_opening_is_made_of_both(count: int) -> None:
    x = np.random.default_rng(3).exponential(size=(count, 6)).astype(np.float32)
    opened = running_maximum(running_minimum(x, 75, 74), 74, 75)
    assert opened.dtype == np.float32
    np.testing.assert_array_equal(opened, ndimage.grey_opening(x, (150, 1)))


@pytest.mark.parametrize("count", [0, 1, 2, 20, 1000])
@pytest.mark.parametrize(("size", "before", "after"), [(3, 1, 1), (10, 5, 4)])
def test_a_mean_mirrors_at_the_ends(count: int, size: int, before: int, after: int) -> None:
    x = np.random.default_rng(4).exponential(size=(count, 2))
    expected = ndimage.uniform_filter1d(x, size, axis=0)
    np.testing.assert_allclose(running_mean(x, before, after), expected, rtol=1e-12)
