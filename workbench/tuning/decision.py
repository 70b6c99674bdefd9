"""The verdict on one leg: which setting to take, in numbers and in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.metrics.resampling import RESAMPLINGS
from workbench.metrics.segments import LEAST_SEGMENTS
from workbench.tuning.choice import Choice, choose
from workbench.tuning.objective import OBJECTIVES, WIDE_RATE, Objective
from workbench.tuning.scores import Scores
from workbench.tuning.sentences import listed
from workbench.tuning.settings import Setting

__all__ = ["COSTS", "LEAST_SPEECH", "SURE", "Decision", "decide"]

#: What a setting costs, and how that is said; other constraints are metrics of OBJECTIVES.
COSTS: Final = {"kbit_s": "needs", "delay_ms": "adds"}
_UNITS: Final = {"kbit_s": "kbit/s", "delay_ms": "ms"}

#: Less speech than this is too little for a choice, in seconds.
LEAST_SPEECH: Final = 3.0

#: Share of the resamplings that must agree before a choice is called sure.
SURE: Final = 0.95


@dataclass(frozen=True, eq=False)
class Decision:
    """The choice on one leg.

    Parameters:
        setting: The one to take.
        ties: Labels of those that are as good, the chosen one first.
        confidence: Share of the resamplings that lead to the same choice; NaN when there is too
            little speech, or fewer than three segments.
        table: One row for each setting: ``leg``, ``setting``, ``metric`` of the objective with
            its mean ``score``, how far ``behind`` the best that is (95 %: ``low`` to ``high``),
            the share of resamplings in which it is ``taken``, what the score is made of, ``kbit_s``, ``delay_ms``, ``verdict``.
        why: The reasons, in sentences; the first says what to take.
    """

    setting: Setting
    ties: tuple[str, ...]
    confidence: float
    table: pd.DataFrame
    why: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Evidence:
    """The scores of one leg as arrays, settings in the order in which they were given."""

    leg: str
    goal: Objective
    labels: list[str]
    scores: NDArray[np.float64]  # (segments, settings)
    calls: NDArray[np.intp]  # (segments,)
    cost: pd.DataFrame  # a row for each setting: kbit_s, delay_ms
    quality: pd.DataFrame  # a row for each setting: mean of each metric
    without: int  # segments that have no score, and are left out


def decide(
    scores: Scores,
    leg: str,
    goal: Objective,
    settings: Sequence[Setting],
    *,
    limits: Mapping[str, float],
    speech_secs: float,
    sample_rate: int,
    seed: int = 0,
) -> Decision:
    """Choose a setting for one leg.

    Args:
        scores: Of all settings on all legs.
        leg: The leg's name.
        goal: What is better.
        settings: What to choose from.
        limits: Upper limits of costs; lower or (distances) upper limits of metrics.
        speech_secs: How much speech the scores rest on.
        sample_rate: The highest at which it was compared, in hertz.
        seed: Of the resampling.

    Raises:
        ValueError: If no setting keeps within the limits.
    """
    evidence = _evidence(scores, leg, goal, settings)
    excluded = _excluded(evidence, limits)
    admitted = np.array([label not in excluded for label in evidence.labels])
    if not admitted.any():
        raise ValueError("no setting keeps within the constraints: " + "; ".join(excluded.values()))
    why = (
        *(f"{reason}: left out." for reason in excluded.values()),
        *(
            f"{name} could not be measured, so its limit was not applied."
            for name in limits
            if _values(evidence, name).isna().all()
        ),
    )
    lack = _lack(evidence, speech_secs, sample_rate)
    if lack:
        return _unfounded(evidence, settings, admitted, excluded, why, lack)
    choice = choose(
        evidence.scores,
        evidence.cost["kbit_s"].to_numpy(),
        goal,
        groups=evidence.calls,
        admitted=admitted,
        seed=seed,
    )
    return Decision(
        setting=settings[choice.chosen],
        ties=tuple(evidence.labels[i] for i in choice.ties),
        confidence=choice.agreement,
        table=_table(evidence, choice, excluded),
        why=(*_reasons(evidence, choice, admitted), *why, _certainty(evidence, choice)),
    )


def _evidence(scores: Scores, leg: str, goal: Objective, settings: Sequence[Setting]) -> _Evidence:
    labels = [setting.label for setting in settings]
    rows = scores.quality[scores.quality["leg"] == leg]
    rows = rows.assign(**{goal.metric: goal.of(rows)})
    wide = rows.pivot(index=["call", "segment"], columns="setting", values=goal.metric)
    wide = wide.reindex(columns=labels)
    scored = wide.dropna()
    weighted = scores.cost.assign(
        **{name: scores.cost[name] * scores.cost["seconds"] for name in COSTS}
    )
    sums = weighted.groupby("setting")[[*COSTS, "seconds"]].sum(min_count=1).reindex(labels)
    metrics = [name for name in rows.columns if name in OBJECTIVES or name == goal.metric]
    return _Evidence(
        leg=leg,
        goal=goal,
        labels=labels,
        scores=scored.to_numpy(dtype=np.float64),
        calls=np.asarray(scored.index.get_level_values("call"), dtype=np.intp),
        cost=sums[list(COSTS)].div(sums["seconds"], axis=0),
        quality=rows.groupby("setting")[metrics].mean().reindex(labels),
        without=len(wide) - len(scored),
    )


def _values(evidence: _Evidence, name: str) -> pd.Series[float]:
    """A cost or a metric's mean, of each setting; NaN where it could not be measured."""
    return (evidence.cost if name in COSTS else evidence.quality)[name]


def _excluded(evidence: _Evidence, limits: Mapping[str, float]) -> dict[str, str]:
    """Say which limit each setting breaks; NaN breaks none."""
    reasons: dict[str, str] = {}
    for name, limit in limits.items():
        at_least = name not in COSTS and OBJECTIVES[name].higher_is_better
        bound = f"at {'least' if at_least else 'most'} {limit:g}"
        for label, value in zip(evidence.labels, _values(evidence, name), strict=True):
            if value < limit if at_least else value > limit:
                shown = (
                    f"{COSTS[name]} {value:.3g} {_UNITS[name]}"
                    if name in COSTS
                    else f"has {OBJECTIVES[name].range([value])}"
                )
                reasons.setdefault(label, f"{label} {shown}, {bound} is asked")
    return reasons


def _lack(evidence: _Evidence, speech_secs: float, sample_rate: int) -> str:
    """Say why there is nothing to compare by; empty if there is."""
    if speech_secs < LEAST_SPEECH:
        return (
            f"{speech_secs:.1f} s of speech is too little to compare by, "
            f"{LEAST_SPEECH:g} s is the least"
        )
    if len(evidence.scores):
        return ""
    none = f"no segment could be scored by {evidence.goal.metric}"
    if evidence.goal.metric == "lsd_wide_db" and sample_rate < WIDE_RATE:
        return f"{none}: the voice's own rate does not reach there"
    return f"{none}: each holds too little speech"


def _unfounded(
    evidence: _Evidence,
    settings: Sequence[Setting],
    admitted: NDArray[np.bool_],
    excluded: Mapping[str, str],
    why: tuple[str, ...],
    lack: str,
) -> Decision:
    """The cheapest, when nothing tells the settings apart."""
    cost = np.where(admitted, evidence.cost["kbit_s"].to_numpy(), np.inf)
    chosen = int(np.argmin(cost))
    label = evidence.labels[chosen]
    table = _columns(evidence).assign(
        verdict=[
            "chosen: cheapest"
            if k == chosen
            else "left out"
            if name in excluded
            else "not compared"
            for k, name in enumerate(evidence.labels)
        ]
    )
    reason = f"Take {label} for now, the cheapest at {cost[chosen]:.0f} kbit/s: {lack}."
    return Decision(settings[chosen], (label,), float("nan"), table, (reason, *why))


def _columns(evidence: _Evidence) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "leg": evidence.leg,
            "setting": evidence.labels,
            "metric": evidence.goal.metric,
            "score": evidence.quality[evidence.goal.metric].to_numpy(np.float64),
            "behind": np.nan,
            "low": np.nan,
            "high": np.nan,
            "taken": np.nan,
            **{
                name: evidence.quality[name].to_numpy(np.float64) for name, _ in evidence.goal.parts
            },
            "kbit_s": evidence.cost["kbit_s"].to_numpy(),
            "delay_ms": evidence.cost["delay_ms"].to_numpy(),
        }
    )


def _table(evidence: _Evidence, choice: Choice, excluded: Mapping[str, str]) -> pd.DataFrame:
    cost = evidence.cost["kbit_s"].to_numpy()

    def verdict(k: int) -> str:
        if evidence.labels[k] in excluded:
            return "left out"
        if k == choice.chosen:
            return "chosen"
        if k in choice.ties:
            return f"ties, costs {cost[k] / cost[choice.chosen]:.1f} times as much"
        return "worse"

    return _columns(evidence).assign(
        behind=choice.behind,
        low=choice.low,
        high=choice.high,
        taken=choice.taken,
        verdict=[verdict(k) for k in range(len(evidence.labels))],
    )


# -- in words ----------------------------------------------------------------------------------


def _reasons(evidence: _Evidence, choice: Choice, admitted: NDArray[np.bool_]) -> list[str]:
    goal, labels = evidence.goal, evidence.labels
    cost = evidence.cost["kbit_s"].to_numpy()
    take, kbit = labels[choice.chosen], f"{cost[choice.chosen]:.0f} kbit/s"
    others = choice.ties[1:]
    figures = goal.range(choice.mean[list(choice.ties)])
    if not others:
        rank = "the only one" if admitted.sum() == 1 < len(admitted) else "the best"
        if not admitted.all():
            rank += " within the limits"
        first = f"Take {take}, {kbit}: over {evidence.leg} it is {rank} ({figures})."
    else:
        dear = f"{cost[others[0]]:.0f} kbit/s"
        if len(others) > 1:
            dear = f"{cost[others[0]]:.0f} to {cost[others[-1]]:.0f} kbit/s"
        who = (
            f"all {len(labels)} settings tie"
            if len(choice.ties) == len(labels)
            else f"it ties with {listed(labels[i] for i in others)}"
        )
        first = f"Take {take}: over {evidence.leg} {who} ({figures}), and it needs {kbit} instead of {dear}."
    known = np.isfinite(choice.low).all()
    worse = [
        f"{labels[i]} by {goal.text(choice.behind[i])}"
        + (f" ({choice.low[i]:.2g} to {choice.high[i]:.2g}" if known else "")
        + (
            f", taken by {100 * choice.taken[i]:.0f} % of the resamplings"
            if choice.taken[i] > 1 - SURE
            else ""
        )
        + (")" if known else "")
        for i in np.flatnonzero(admitted)
        if i not in choice.ties
    ]
    behind = "Behind the best, with 95 % interval" if known else "Behind the best"
    second = [f"{behind}: {', '.join(worse)}."] if worse else []
    return [first, *second, f"What counts is {goal}."]


def _certainty(evidence: _Evidence, choice: Choice) -> str:
    count, calls = len(evidence.scores), len(set(evidence.calls.tolist()))
    rest = f" {evidence.without} more have no score and are left out." if evidence.without else ""
    if count < LEAST_SEGMENTS:
        few = "a single segment" if count == 1 else f"{count} segments"
        return f"It rests on {few} of speech, so how sure it is cannot be said.{rest}"
    about = "" if choice.of_others else " That is about these calls only."
    sure = "Sure" if choice.agreement >= SURE else "Not sure"
    where = "one call" if calls == 1 else f"{calls} calls"
    return (
        f"{sure}: {100 * choice.agreement:.0f} % of {RESAMPLINGS} resamplings of "
        f"{count} segments of speech from {where} lead to the same choice.{about}{rest}"
    )
