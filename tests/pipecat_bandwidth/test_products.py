"""Products of windows and matrices: every way gives the same, whichever is the fastest here."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from pipecat_bandwidth import products, resampler
from pipecat_bandwidth.products import MOST_PRODUCTS, Product
from pipecat_bandwidth.resampler import RATES

#: One matrix that repeats itself, one group and an odd step, several groups, windows that overlap or do not.
PAIRS = [(24000, 8000), (8000, 16000), (24000, 32000), (44100, 8000), (22050, 16000), (8000, 44100)]


def factors(in_rate: int, out_rate: int, periods: int) -> tuple[NDArray[np.float64], ...]:
    """Windows over whole numbers and the filter's matrices: their products are exact."""
    bank = resampler._bank(in_rate, out_rate)
    rng = np.random.default_rng(in_rate + out_rate)
    inputs = rng.integers(-32768, 32768, bank.buffered).astype(float)
    return resampler._windows(bank, inputs, 0, periods * bank.step), bank.rows


def expected(windows: NDArray[np.float64], matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The definition, without a BLAS."""
    return np.einsum("gpi,gio->pgo", windows, matrices, optimize=False)


@pytest.mark.parametrize("periods", [1, 2, 5])
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("way", products._WAYS)
def test_every_way_gives_the_same(way: products._Way, pair: tuple[int, int], periods: int) -> None:
    windows, matrices = factors(*pair, periods)
    values = np.full((periods, len(matrices), matrices.shape[2]), np.nan)
    multiply = way(windows, matrices, values)
    if multiply is None:
        assert way is products._by_half and (len(matrices) > 1 or pair == (24000, 32000))
        return
    multiply()
    assert np.array_equal(values, expected(windows, matrices))


@pytest.mark.parametrize("below", [0, 1])
@pytest.mark.parametrize("above", [0, 1])
@pytest.mark.parametrize("way", products._WAYS)
def test_no_way_is_taken_that_leaves_taps_out(way: products._Way, above: int, below: int) -> None:
    """The second half is the first, 5 inputs further down; whatever stands around them counts."""
    matrices = np.zeros((1, 20, 8))
    matrices[:, :15, :4] = matrices[:, 5:, 4:] = np.arange(1, 61).reshape(15, 4)
    matrices[:, 15:, :4], matrices[:, :5, 4:] = below, above
    windows = as_strided(np.arange(100.0), (1, 4, 20), (0, 80, 8))
    values = np.full((4, 1, 8), np.nan)
    multiply = way(windows, matrices, values)
    if multiply is None:
        assert way is products._by_half and (above or below)
        return
    multiply()
    assert np.array_equal(values, expected(windows, matrices))


@pytest.mark.parametrize("pair", [(44100, 8000), (24000, 8000), (44100, 24000)])
def test_a_row_of_groups_is_made_whole(pair: tuple[int, int]) -> None:
    """Every first and last group that there can be, each from an empty product."""
    windows, matrices = factors(*pair, 3)
    groups = len(matrices)
    right = expected(windows, matrices).reshape(3 * groups, -1)
    product = Product(windows, matrices)
    for first in range(groups):
        for last in range(first, 3 * groups):
            product.values.fill(np.nan)
            for multiply in product.between(first, last):
                multiply()
            made = product.values.reshape(3 * groups, -1)
            assert np.array_equal(made[first : last + 1], right[first : last + 1])
    assert len(product._cuts) <= 64


def test_a_product_follows_its_windows() -> None:
    inputs = np.zeros(100)
    windows = as_strided(inputs, (1, 4, 20), (0, 80, 8))
    product = Product(windows, np.ones((1, 20, 8)))
    for value in 1.0, 2.0:
        inputs[:] = value
        product.multiply()
        assert set(product.values.flat) == {20.0 * value}


@pytest.mark.parametrize("in_rate", RATES)
@pytest.mark.parametrize("out_rate", RATES)
def test_no_vector_times_matrix_wakes_threads(in_rate: int, out_rate: int) -> None:
    if in_rate == out_rate:
        return
    windows, matrices = factors(in_rate, out_rate, 1)
    values = np.empty((1, len(matrices), matrices.shape[2]))
    _, columns, *_ = products._by_vector(windows, matrices, values).args
    assert columns.shape[-2] * columns.shape[-1] < 4 * 2304 < MOST_PRODUCTS
