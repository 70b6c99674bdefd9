"""The choice between alternatives that were scored on the same segments: paired, bootstrapped.

An alternative *ties* with the best as long as it cannot be shown to be behind it by more than the
smallest difference that matters: as long as the lower end of the 95 % interval of the mean paired
difference is not above that. Of those that tie, the cheapest is taken.

References:
    .. [1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13:
       resampling of clustered data, percentile intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.objective import Objective

__all__ = ["Choice", "choose"]

RESAMPLINGS: Final = 2000


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen among n alternatives, and how sure that is.

    Parameters:
        chosen: Index of the one to take.
        ties: Indices of those that tie with the best, the chosen one first, then by cost.
        mean: Score of each, shape ``(n,)``.
        behind: How far each is behind the best, mean over the segments, in the objective's unit.
        low: Lower end of its 95 % interval.
        high: Upper end.
        agreement: Share of the resamplings, 0 to 1, in which the chosen one is the cheapest that
            is at most the smallest difference that matters behind the best. NaN for a single
            segment, which cannot be resampled.
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
        groups: To which call each segment belongs; calls are resampled first, then the segments
            of each, since segments of one call are alike.
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

    weights = _weights(np.zeros(segments, np.intp) if groups is None else groups, seed)
    resampled = weights @ gaps  # shape (RESAMPLINGS, n)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    by_cost = np.argsort(cost, kind="stable")
    ties = [int(i) for i in by_cost if allowed[i] and low[i] <= objective.matters]

    leads = resampled - resampled[:, allowed].min(axis=1, keepdims=True)
    fit = (leads <= objective.matters) & allowed
    taken = by_cost[np.argmax(fit[:, by_cost], axis=1)]
    agreement = float(np.mean(taken == ties[0])) if segments > 1 else float("nan")
    return Choice(ties[0], tuple(ties), mean, gaps.mean(axis=0), low, high, agreement)


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
