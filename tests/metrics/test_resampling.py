"""Means over calls: how sure they are, and when two groups of calls differ."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.metrics import resampling
from workbench.metrics.resampling import RESAMPLINGS, holm, permuted, resampled, standard_error


def test_the_standard_error_is_that_of_a_mean() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(3.0, 2.0, (50, 2))
    draws = resampled(scores, np.ones(50), rng)
    assert draws.shape == (RESAMPLINGS, 2)
    expected = scores.std(axis=0, ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(standard_error(draws, 50), expected, rtol=0.05)


def test_calls_that_tell_nothing_of_a_figure_change_nothing_of_it() -> None:
    rng = np.random.default_rng(2)
    told = rng.normal(3.0, 2.0, 40)
    sums = np.column_stack([np.r_[told, np.zeros(40)], np.ones(80)])
    sizes = np.column_stack([np.r_[np.ones(40), np.zeros(40)], np.ones(80)])
    draws = resampled(sums, sizes, rng)
    error = standard_error(draws, np.array([40, 80]))
    assert error[0] == pytest.approx(told.std(ddof=1) / np.sqrt(40), rel=0.1)
    assert error[1] == 0


def test_many_calls_are_drawn_in_pieces_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(3).normal(size=(30, 1))
    whole = resampled(scores, np.ones(30), np.random.default_rng(4))
    monkeypatch.setattr(resampling, "_AT_ONCE", 100)
    pieces = resampled(scores, np.ones(30), np.random.default_rng(4))
    np.testing.assert_allclose(whole, pieces, rtol=1e-12)


def test_p_of_a_permutation_is_that_of_the_exact_test() -> None:
    """All 4 of one group and none of 4 have it: 2 of the 70 ways to draw the groups are so far apart."""
    has = np.array([[1.0]] * 4 + [[0.0]] * 4)
    second = np.arange(8) < 4
    p = permuted(has, np.ones((8, 1)), second, np.random.default_rng(5))
    assert p[0] == pytest.approx(2 / 70, abs=0.006)
    same = permuted(np.ones((8, 1)), np.ones((8, 1)), second, np.random.default_rng(5))
    assert same[0] == 1.0


def test_holm_steps_down() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])
    assert holm(np.array([])).shape == (0,)
