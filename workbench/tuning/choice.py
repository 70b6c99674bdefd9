"""The choice between alternatives that were scored on the same segments: paired and resampled.

The scores are resampled once, and all that is said comes from these resamplings. In each, the
cheapest alternative is taken that is no more than the smallest difference that matters behind the
best. The *choice* is the one that is taken most often, and how sure it is, the share of resamplings
that take it. An alternative *ties* if in at least half of them it, too, is no more than that behind.

Whole calls are resampled [2]_ (:mod:`workbench.metrics.resampling`), as segments of one call are
alike: what is found is about all calls of which these are a sample. That takes many: where one voice in thirty is hurt, five calls mostly
lack it, and no statistics on the five will tell. With fewer than the objective's ``from_calls``, which
was measured (``make calibrate``), what is found is about these calls only, and their segments are
resampled, each call's by itself. One or two segments are no sample at all; there the mean decides,
and how sure that is cannot be said.

The interval is the mean and Student's t times the resamplings' standard error; their percentiles
would be too narrow for fewer than some thirty calls [3]_. The resamplings are widened by as much, so
that they and the interval say the same.

References:
    .. [1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 8.
    .. [2] A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section
       3.8: of the ways to resample clusters, drawing them whole has the right variance; section
       3.2 on several samples, each resampled by itself.
    .. [3] T. C. Hesterberg, "What teachers should know about the bootstrap", The American
       Statistician 69(4), 2015, section 5.
    .. [4] F. E. Satterthwaite, "An approximate distribution of estimates of variance components",
       Biometrics Bulletin 2(6), 1946.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from workbench.metrics.resampling import RESAMPLINGS, resampled, standard_error
from workbench.metrics.segments import LEAST_SEGMENTS
from workbench.tuning.objective import Objective

__all__ = ["Choice", "choose"]

#: An alternative that is within what matters in this share of the resamplings ties.
_TIES: Final = 0.5


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen among n alternatives, and how sure that is.

    Parameters:
        chosen: Index of the one to take.
        ties: Indices of those that do as well, the chosen one first, then by cost.
        mean: Score of each, shape ``(n,)``.
        behind: How far each is behind the best, mean over the segments, in the objective's unit.
        low: Lower end of its 95 % interval; NaN for fewer than three segments.
        high: Upper end.
        taken: Share of the resamplings, 0 to 1, that take each, shape ``(n,)``; NaN for fewer than
            three segments.
        of_others: Whether all of that holds of other calls like these, or of these only.
    """

    chosen: int
    ties: tuple[int, ...]
    mean: NDArray[np.float64]
    behind: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    taken: NDArray[np.float64]
    of_others: bool

    @property
    def agreement(self) -> float:
        """Share of the resamplings that take the chosen one."""
        return float(self.taken[self.chosen])


def choose(
    scores: NDArray[np.float64],
    cost: NDArray[np.float64],
    objective: Objective,
    *,
    groups: NDArray[np.intp] | None = None,
    admitted: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> Choice:
    """Choose the cheapest alternative that is as good as the best.

    Args:
        scores: Shape ``(segments, n)``, finite.
        cost: Shape ``(n,)``; less is better, and equal costs go to the earlier alternative.
        objective: Direction of the scores, and what difference matters.
        groups: To which call each segment belongs.
        admitted: Which alternatives may be chosen, or be the best; all by default.
        seed: Of the resampling.

    Raises:
        ValueError: If there are no segments, scores are not finite, shapes disagree, or nothing
            is admitted.
    """
    segments, n = scores.shape
    allowed = np.ones(n, np.bool_) if admitted is None else admitted
    if not segments or not np.isfinite(scores).all():
        raise ValueError(f"scores of shape {scores.shape}, wanted finite ones of some segments")
    if cost.shape != (n,) or allowed.shape != (n,) or not allowed.any():
        raise ValueError(f"{cost.shape=} and {allowed.shape=}, wanted ({n},) and one admitted")
    sign = 1.0 if objective.higher_is_better else -1.0
    mean = scores.mean(axis=0)
    best = int(np.argmax(np.where(allowed, sign * mean, -np.inf)))
    gaps = sign * (scores[:, [best]] - scores)
    behind = gaps.mean(axis=0)
    by_cost = np.argsort(cost, kind="stable")
    calls = np.zeros(segments, np.intp) if groups is None else groups
    enough = segments >= LEAST_SEGMENTS
    of_others = len(np.unique(calls)) >= objective.from_calls
    draws, margin = _resampled(gaps, calls, of_others, seed) if enough else (behind[None], np.nan)

    leads = draws - draws[:, allowed].min(axis=1, keepdims=True)
    fit = (leads <= objective.matters) & allowed
    first = by_cost[np.argmax(fit[:, by_cost], axis=1)]
    taken = np.bincount(first, minlength=n) / len(draws)
    rank = np.argsort(by_cost)
    chosen = int(by_cost[np.argmax(taken[by_cost])])
    good = (fit.mean(axis=0) >= _TIES) & (rank > rank[chosen])
    ties = (chosen, *(int(i) for i in by_cost if good[i]))
    sure = taken if enough else np.full(n, np.nan)
    return Choice(chosen, ties, mean, behind, behind - margin, behind + margin, sure, of_others)


def _resampled(
    gaps: NDArray[np.float64], groups: NDArray[np.intp], of_others: bool, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of resamplings, as wide as the interval; and half of the 95 % interval.

    Returns:
        Shapes ``(RESAMPLINGS, n)`` and ``(n,)``.
    """
    rng = np.random.default_rng(seed)
    sums, sizes = _per_call(gaps, groups)
    calls = len(sizes)
    if not of_others and len(gaps) > calls:
        draws = _draws_of_these(gaps, groups, rng)
        margin = _margin_of_these(gaps, groups)
    else:
        draws = resampled(sums, sizes, rng)
        margin = stats.t.ppf(0.975, calls - 1) * standard_error(draws, calls)
    centre, spread = gaps.mean(axis=0), draws.std(axis=0)
    wider = margin / np.maximum(stats.norm.ppf(0.975) * spread, 1e-300)
    return centre + (draws - centre) * wider, np.asarray(margin, dtype=np.float64)


def _draws_of_these(
    gaps: NDArray[np.float64], groups: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Means of just these calls, the segments of each resampled; shape ``(RESAMPLINGS, n)``.

    A call of one segment takes its deviations from those of all.
    """
    sums, sizes = _per_call(gaps, groups)
    _, call = np.unique(groups, return_inverse=True)
    off = gaps - (sums / sizes[:, None])[call]
    pool = off[sizes[call] > 1]
    total = np.zeros((RESAMPLINGS, gaps.shape[1]))
    for number, size in enumerate(sizes.tolist()):
        own = off[call == number] if size > 1 else pool
        total += rng.multinomial(size, np.full(len(own), 1 / len(own)), RESAMPLINGS) @ own
    means: NDArray[np.float64] = gaps.mean(axis=0) + total / len(gaps)
    return means


def _margin_of_these(gaps: NDArray[np.float64], groups: NDArray[np.intp]) -> NDArray[np.float64]:
    """Half of the 95 % interval of the mean of just these calls, whose segments vary in their own way.

    The bootstrap's standard error of such a mean is known without resampling. Degrees of freedom
    are Welch's and Satterthwaite's [4]_. A call of one segment is taken to vary as all do.
    """
    sums, sizes = _per_call(gaps, groups)
    _, call = np.unique(groups, return_inverse=True)
    squares, _ = _per_call((gaps - (sums / sizes[:, None])[call]) ** 2, groups)
    freedom = np.maximum(sizes - 1, 1)[:, None]
    pooled = squares.sum(axis=0) / (sizes.sum() - len(sizes))
    variance = np.where(sizes[:, None] > 1, squares / freedom, pooled)
    parts = sizes[:, None] * variance / sizes.sum() ** 2
    error = parts.sum(axis=0)
    satterthwaite = error**2 / np.maximum((parts**2 / freedom).sum(axis=0), 1e-300)
    quantile = stats.t.ppf(0.975, np.maximum(satterthwaite, 1.0))
    return np.asarray(quantile * np.sqrt(error), dtype=np.float64)


def _per_call(
    gaps: NDArray[np.float64], groups: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Sum over the segments of each call, and how many there are."""
    names, call, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), gaps.shape[1]))
    np.add.at(sums, call, gaps)
    return sums, sizes
