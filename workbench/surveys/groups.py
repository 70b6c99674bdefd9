"""What changed between groups of calls: releases, voices, regions; with intervals over calls.

Groups that follow each other in time, as releases do, are each compared with the one before; others
with all the rest together, and of two the smaller with the larger. Only what at least eight calls of
both tell is compared, and a kind of finding only if at least six calls have it.

Whether a figure differs is decided by permuting the calls between the two groups; so that among
many figures none differs by chance, the p of all are taken together (Holm): in 95 of 100 surveys in which
nothing changed, nothing is said to have. The interval is Student's t times the bootstrap's standard
error, calls drawn whole (:mod:`workbench.metrics.resampling`), of each figure for itself.

Calls are taken to be independent of each other: an outage of one hour that hits twenty of them counts
as twenty. And a difference is one between groups, whatever else differs between them: labels that
change together with the one asked for are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from workbench.diagnosis.harm import HEARD
from workbench.metrics.resampling import holm, permuted, resampled, standard_error
from workbench.surveys.figures import FIGURES, Figure
from workbench.surveys.result import LABEL, Survey
from workbench.surveys.sentences import ALPHA, LEAST_CALLS, MOST_GROUPS, Pair, in_words

__all__ = ["Changes", "changes"]

#: Fewer calls that have a kind of finding, or any loss, are not compared.
LEAST_FOUND: Final = 6
#: A ratio has an interval if so many calls of both groups have any of it.
LEAST_IN_BOTH: Final = 5


@dataclass(frozen=True, eq=False, repr=False)
class Changes:
    """What differs between groups of calls.

    Parameters:
        label: By which they were grouped.
        groups: Name to number of calls, in order of time.
        table: One row a figure and comparison: ``group``, ``against``, ``figure``, ``title``,
            ``unit``, ``form``, ``value`` of the group, ``before``: that of the other, ``effect``
            (a factor or a difference), ``low``, ``high``, ``never`` (groups before ``against`` have
            none of it), ``p``, ``p_holm`` and ``differs``.
        sentences: What there is to say of it.
    """

    label: str
    groups: dict[str, int]
    table: pd.DataFrame
    sentences: tuple[str, ...]

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def as_dict(self) -> dict[str, Any]:
        """All of it, of JSON's types."""
        plain = self.table.astype(object).where(self.table.notna(), None)
        rows = plain.to_dict("records")
        return {
            "label": self.label, "groups": self.groups, "sentences": list(self.sentences),
            "table": rows,
        }  # fmt: skip


def changes(found: Survey, label: str, *, seed: int = 0) -> Changes:
    """Tell what differs between the calls of different labels.

    Args:
        found: The calls.
        label: Name of the label.
        seed: Of the resampling and the permutations.

    Raises:
        ValueError: If no call has such a label; the message lists those that there are.
    """
    if label not in found.labels:
        there = ", ".join(found.labels) or "none"
        raise ValueError(f"no call has a label {label!r}, there are: {there}")
    calls = _told(found)
    column = f"{LABEL}{label}"
    sizes = calls.groupby(column)["started_at"].agg(["size", "median"]).sort_values("median")
    groups = {str(name): int(size) for name, size in sizes["size"].items()}
    large = [name for name, size in groups.items() if size >= LEAST_CALLS]
    is_ordered = _follow(calls, column, large)
    pairs = _pairs(large, groups, is_ordered) if len(large) <= MOST_GROUPS else []
    rng = np.random.default_rng(seed)
    rows = []
    for pair in pairs:
        before = list(groups)[: list(groups).index(pair.against[0])] if is_ordered else []
        rows += _compared(calls, column, pair, before, found, rng)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table["p_holm"] = holm(table["p"].to_numpy(float))
    table["differs"] = table["p_holm"] < ALPHA
    return Changes(
        label, groups, table, tuple(in_words(calls, label, groups, pairs, table, is_ordered))
    )


_COLUMNS: Final = [
    "group", "against", "figure", "title", "unit", "form", "value", "before", "effect", "low", "high",
    "never", "p",
]  # fmt: skip


def _told(found: Survey) -> pd.DataFrame:
    """The calls, with the columns that figures are made of."""
    calls = found.calls
    return calls.assign(
        _error=(calls["errors"] > 0).astype(float),
        _heard=(calls["harm"] >= HEARD).astype(float),
        _messages=calls["inbound_messages"] + calls["lost_messages"],
        _unheard_ms=calls["bot_sent_ms"] - calls["caller_heard_ms"],
    )


def _kinds(
    found: Survey, captures: pd.Series[str], least: int = LEAST_FOUND
) -> dict[str, tuple[Figure, NDArray[np.float64]]]:
    """Share of calls with each kind of finding that can be heard."""
    heard = found.findings[found.findings["severity"] != "info"]
    figures = {}
    for kind, rows in heard.groupby("kind"):
        has = captures.isin(rows["capture"]).to_numpy(bool).astype(np.float64)
        if has.sum() >= least:
            title = f"calls with {rows['title'].iloc[0]!r}".replace("'", '"')
            figure = Figure(f"{kind}_percent", title, "%", "many", "", "", 0.01)
            figures[str(kind)] = figure, has
    return figures


def _follow(calls: pd.DataFrame, column: str, groups: Sequence[str]) -> bool:
    """Whether groups follow each other in time, but for a tenth of each at its ends."""
    begun = [calls.loc[calls[column] == name, "started_at"] for name in groups]
    ends = [(one.quantile(0.1), one.quantile(0.9)) for one in begun]
    return all(last <= first for (_, last), (first, _) in zip(ends, ends[1:], strict=False))


def _pairs(large: Sequence[str], groups: dict[str, int], is_ordered: bool) -> list[Pair]:
    if len(large) < 2:
        return []
    if is_ordered:
        return [Pair(now, (before,)) for before, now in zip(large, large[1:], strict=False)]
    if len(large) == 2:
        few, many = sorted(large, key=lambda name: groups[name])
        return [Pair(few, (many,))]
    return [Pair(one, tuple(other for other in large if other != one)) for one in large]


def _compared(
    calls: pd.DataFrame,
    column: str,
    pair: Pair,
    before: Sequence[str],
    found: Survey,
    rng: np.random.Generator,
) -> list[tuple[Any, ...]]:
    """One row a figure that both groups tell of; ``before`` are the groups before them."""
    both = calls[calls[column].isin([pair.group, *pair.against])]
    earlier = calls[calls[column].isin(before)]
    second = (both[column] == pair.group).to_numpy(bool)
    told = [(figure, *_values(both, figure)) for figure in FIGURES]
    ones = np.ones(len(both))
    kinds = _kinds(found, both["capture"])
    told += [(f, has, ones * f.scale) for f, has in kinds.values()]
    old = _kinds(found, earlier["capture"], least=0)
    had = {f.name for f in FIGURES if _values(earlier, f)[0].any()}
    had |= {figure.name for figure, has in old.values() if has.any()}
    carried = [
        (figure, sums, sizes)
        for figure, sums, sizes in told
        if min((sizes[second] > 0).sum(), (sizes[~second] > 0).sum()) >= LEAST_CALLS
        and (figure.form == "more" or (sums > 0).sum() >= LEAST_FOUND)
    ]
    if not carried:
        return []
    figures = [one[0] for one in carried]
    sums, sizes = (np.column_stack([one[side] for one in carried]) for side in (1, 2))
    p = permuted(sums, sizes, second, rng)
    sides = [_side(sums[of], sizes[of], rng) for of in (second, ~second)]
    rows = []
    for number, figure in enumerate(figures):
        effect = _effect(figure, *(side.of(number) for side in sides))
        rows.append((pair.group, " and ".join(pair.against), figure.name, figure.title, figure.unit,
                     figure.form, *effect, bool(len(earlier)) and figure.name not in had,
                     float(p[number])))  # fmt: skip
    return rows


def _values(calls: pd.DataFrame, figure: Figure) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and size of each call; 0 and 0 where it tells nothing."""
    sums = calls[figure.total].to_numpy(float, na_value=np.nan)
    per = calls[figure.per].to_numpy(float, na_value=np.nan) if figure.per else np.ones(len(calls))
    sizes = per * figure.scale
    is_told = np.isfinite(sums) & np.isfinite(sizes) & (sizes > 0)
    return np.where(is_told, sums, 0.0), np.where(is_told, sizes, 0.0)


class _Mean(NamedTuple):
    """A figure of one group: its mean, the standard error, calls that tell it, calls that have any."""

    mean: float
    error: float
    calls: int
    found: int


class _Side(NamedTuple):
    """All figures of one group, each of shape ``(n,)``, as in :class:`_Mean`."""

    mean: NDArray[np.float64]
    error: NDArray[np.float64]
    calls: NDArray[np.intp]
    found: NDArray[np.intp]

    def of(self, number: int) -> _Mean:
        """One of them."""
        mean, error, calls, found = (values[number].item() for values in self)
        return _Mean(mean, error, calls, found)


def _side(sums: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator) -> _Side:
    told = np.count_nonzero(sizes > 0, axis=0)
    error = standard_error(resampled(sums, sizes, rng), told)
    mean = sums.sum(axis=0) / sizes.sum(axis=0)
    return _Side(mean, error, told, np.count_nonzero(sums > 0, axis=0))


def _effect(figure: Figure, now: _Mean, then: _Mean) -> tuple[float, float, float, float, float]:
    """Value, the one before, by how much they differ, and its interval."""
    freedom = now.calls - 1, then.calls - 1
    if figure.form == "more":
        effect = now.mean - then.mean
        half = _half((now.error, then.error), freedom)
        return now.mean, then.mean, effect, effect - half, effect + half
    if min(now.mean, then.mean) <= 0:
        return now.mean, then.mean, np.nan, np.nan, np.nan
    effect = now.mean / then.mean
    if min(now.found, then.found) < LEAST_IN_BOTH:
        return now.mean, then.mean, effect, np.nan, np.nan
    # Of the logarithm, whose standard error is that of the value, relative to it.
    half = _half((now.error / now.mean, then.error / then.mean), freedom)
    return now.mean, then.mean, effect, effect * float(np.exp(-half)), effect * float(np.exp(half))


def _half(errors: tuple[float, float], freedom: tuple[int, int]) -> float:
    """Half of the 95 % interval of a difference, by Welch and Satterthwaite."""
    squares = np.square(errors)
    spread = squares.sum()
    own = float(spread**2 / max((squares**2 / np.array(freedom)).sum(), 1e-300))
    return float(stats.t.ppf(0.975, max(own, 1.0)) * np.sqrt(spread))
