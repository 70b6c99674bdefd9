"""The choice between alternatives that were scored on the same segments: paired and bootstrapped.

An alternative *ties* unless the lower end of the 95 % interval of its mean paired deficit exceeds
the smallest difference that matters. Of those that tie, the cheapest is taken.

The interval is the mean and Student's t times the bootstrap's standard error; percentiles of the
same resamplings would be too narrow for fewer than some thirty calls [3]_. Whole calls are
resampled [2]_, as segments of one call are alike: the interval is about all calls of which these
are a sample. Fewer than five are hardly a sample: the interval is then about these calls, their
segments are resampled, and an alternative is called worse only if every call agrees. One or two
segments have no interval at all; there every segment has to agree.

References:
    .. [1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 8.
    .. [2] A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section
       3.8: of the ways to resample clusters, drawing them whole has the right variance.
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

from workbench.metrics.segments import LEAST_SEGMENTS
from workbench.tuning.objective import Objective

__all__ = ["Choice", "choose"]

RESAMPLINGS: Final = 2000

#: Fewer calls than this say nothing about others.
FEW: Final = 5


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen among n alternatives, and how sure that is.

    Parameters:
        chosen: Index of the one to take.
        ties: Indices of those that tie with the best, the chosen one first, then by cost.
        mean: Score of each, shape ``(n,)``.
        behind: How far each is behind the best, mean over the segments, in the objective's unit.
        low: Lower end of its 95 % interval; NaN for fewer than three segments.
        high: Upper end.
        agreement: Share of the resamplings, 0 to 1, in which the chosen one is the cheapest that
            is at most the smallest difference that matters behind the best. NaN for a single
            segment, which cannot be resampled. Here calls are resampled first, and then the
            segments of each.
    """

    chosen: int
    ties: tuple[int, ...]
    mean: NDArray[np.float64]
    behind: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    agreement: float


def choose(
    scores: NDArray[np.float64],
    cost: NDArray[np.float64],
    objective: Objective,
    *,
    groups: NDArray[np.intp] | None = None,
    admitted: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> Choice:
    """Choose the cheapest alternative that is not shown to be worse than the best.

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

    calls = np.zeros(segments, np.intp) if groups is None else groups
    behind, margin = gaps.mean(axis=0), _margin(gaps, calls, seed)
    low, high = behind - margin, behind + margin
    by_cost = np.argsort(cost, kind="stable")
    least = low
    if segments < LEAST_SEGMENTS:
        least = gaps.min(axis=0)
    elif len(np.unique(calls)) < FEW:
        sums, sizes = _per_call(gaps, calls)
        least = np.minimum(low, (sums / sizes[:, None]).min(axis=0))
    ties = [int(i) for i in by_cost if allowed[i] and least[i] <= objective.matters]

    resampled = _weights(calls, seed) @ gaps  # shape (RESAMPLINGS, n)
    leads = resampled - resampled[:, allowed].min(axis=1, keepdims=True)
    fit = (leads <= objective.matters) & allowed
    taken = by_cost[np.argmax(fit[:, by_cost], axis=1)]
    agreement = float(np.mean(taken == ties[0])) if segments >= LEAST_SEGMENTS else float("nan")
    return Choice(ties[0], tuple(ties), mean, behind, low, high, agreement)


def _margin(gaps: NDArray[np.float64], groups: NDArray[np.intp], seed: int) -> NDArray[np.float64]:
    """Half of the 95 % interval of the mean; NaN for too few segments to have one."""
    sums, sizes = _per_call(gaps, groups)
    calls, segments = len(sizes), len(gaps)
    if segments < LEAST_SEGMENTS:
        return np.full(gaps.shape[1], np.nan)
    if calls < FEW and segments > calls:
        return _margin_of_these(gaps, groups)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(calls, np.full(calls, 1 / calls), RESAMPLINGS)
    means = (draws @ sums) / (draws @ sizes)[:, None]
    # A sample varies less about its own mean than about that of the population.
    error = means.std(axis=0) * np.sqrt(calls / (calls - 1))
    return np.asarray(stats.t.ppf(0.975, calls - 1) * error, dtype=np.float64)


def _margin_of_these(gaps: NDArray[np.float64], groups: NDArray[np.intp]) -> NDArray[np.float64]:
    """The same for the mean of just these calls, whose segments vary each in its own way.

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


def _weights(groups: NDArray[np.intp], seed: int) -> NDArray[np.float64]:
    """Weight of each segment in each resampling; every row sums to 1."""
    rng = np.random.default_rng(seed)
    names, sizes = np.unique(groups, return_counts=True)
    draws = rng.multinomial(names.size, np.full(names.size, 1 / names.size), RESAMPLINGS)
    weights = np.zeros((RESAMPLINGS, groups.size))
    for name, size, drawn in zip(names, sizes, draws.T, strict=True):
        weights[:, groups == name] = rng.multinomial(drawn * size, np.full(size, 1 / size))
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised
