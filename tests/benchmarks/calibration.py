"""The smallest differences that matter, fitted to PESQ and ViSQOL; and what intervals hold.

**Fit.** On the voices of one half (:mod:`tests.benchmarks._judged`), the difference that both models
see between two settings, their mean, is put down to damage and to missing bandwidth by least squares,
without negative weights: for all legs together, and for each by itself. Its interval is that of whole
speakers resampled. A leg has its own figure where its interval does not hold that of all. What is
fitted is how much of each goes with :data:`workbench.tuning.fitted.LEAST_MOS`, and that is where, on
this half, as few differences that both see are missed as are seen where neither sees any.

**Agreement**, on the voices of the other half, with the figures that are in the tree. It can be had
alone, of the people of that half, with nothing fitted nor installed::

    python -m tests.benchmarks.calibration people

While a measure is worked on, ``check`` in place of ``people`` does the same on others of the work half.

**Coverage** of 95 % intervals, of populations whose true differences are known:
    * *Planted*: four settings, of which calls differ in their liking by a share of the whole
      variance, and segments by the rest; normal, and skewed as scores are.
    * *Foreign voices*, scored with the four real settings over G.711 and G.722, each speaker a call;
      a draw takes calls with replacement, and pieces of each with replacement.

Each draw is given to ``choose``; each of its intervals counts. The truth is that of the population,
or of the calls drawn where what is found is about these only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.optimize import nnls
from scipy.stats import binomtest

from tests.benchmarks import _foreign
from tests.benchmarks._judged import SEEN, UNSEEN, judged, pairs, pieces
from workbench.tuning.choice import choose
from workbench.tuning.fitted import LEAST_MOS, Fitted
from workbench.tuning.legs import legs_named
from workbench.tuning.objective import OBJECTIVES, PARTS, Objective, objective_for
from workbench.tuning.settings import SETTINGS

#: Scores of some segments, shape ``(segments, settings)``; the call of each; the true means.
Draw = tuple[np.ndarray, np.ndarray, np.ndarray]

MEANS = np.array([3.0, 2.5, 1.0, 0.9])
DRAWS = 400
RESAMPLINGS = 300

#: Of the planted ones, whose statistics are what is asked.
PLANTED = replace(OBJECTIVES["lsd_db"], from_calls=5)


# -- the fit -----------------------------------------------------------------------------------


def fitted(table: pd.DataFrame, least: float = LEAST_MOS) -> dict[str, Fitted]:
    """How much of each part goes with so many MOS, with the interval over speakers."""
    rng = np.random.default_rng(0)
    by_speaker = [group for _, group in table.groupby("speaker")]

    def slopes(rows: pd.DataFrame) -> np.ndarray:
        return nnls(rows[list(PARTS)].to_numpy(), rows["mos"].to_numpy())[0]

    drawn = [
        slopes(pd.concat([by_speaker[k] for k in rng.integers(len(by_speaker), size=len(by_speaker))]))
        for _ in range(RESAMPLINGS)
    ]  # fmt: skip
    with np.errstate(divide="ignore"):
        value = least / slopes(table)
        low, high = (least / np.quantile(drawn, share, axis=0) for share in (0.975, 0.025))
    return {
        name: Fitted(*map(float, figures))
        for name, *figures in zip(PARTS, value, low, high, strict=True)
    }


def smallest(table: pd.DataFrame, least: float) -> dict[str, dict[str, Fitted]]:
    """Those of all legs, and of each leg that has its own."""
    every = fitted(table, least)
    found = {"": every}
    for leg, rows in table.groupby("leg"):
        own = {
            name: figure
            for name, figure in fitted(rows, least).items()
            if np.isfinite(figure).all() and not figure.low <= every[name].value <= figure.high
        }
        if own:
            found[str(leg)] = own
    return found


def predicted(table: pd.DataFrame, figures: dict[str, dict[str, Fitted]]) -> pd.Series:
    """How much better the second setting is, counted in smallest differences."""

    def one(row: pd.Series) -> float:
        own = figures[""] | figures.get(row["leg"], {})
        return float(sum(row[name] / own[name].value for name in PARTS))

    return table.apply(one, axis=1)


def agreement(table: pd.DataFrame, steps: pd.Series) -> tuple[float, float]:
    """Share of what both see that is seen the same way, and of what neither sees that ties."""
    found = np.where(steps.abs() > 1, np.sign(steps), 0)
    seen, unseen = table["seen"].to_numpy(), table["unseen"].to_numpy()
    same = found[seen] == np.sign(table["mos"].to_numpy()[seen])
    none = found[unseen] == 0
    return tuple(float(x.mean()) if x.size else float("nan") for x in (same, none))  # type: ignore[return-value]


def balanced(table: pd.DataFrame) -> float:
    """The difference, in MOS, at which both kinds of error are as frequent."""
    tried = np.arange(0.05, 0.151, 0.005)
    errors = []
    for least in tried:
        same, none = agreement(table, predicted(table, {"": fitted_once(table, least)}))
        errors.append(max(1 - same, 1 - none))
    return float(tried[int(np.argmin(errors))])


def fitted_once(table: pd.DataFrame, least: float) -> dict[str, Fitted]:
    weights = nnls(table[list(PARTS)].to_numpy(), table["mos"].to_numpy())[0]
    return {name: Fitted(least / w, np.nan, np.nan) for name, w in zip(PARTS, weights, strict=True)}


def in_the_tree(table: pd.DataFrame) -> pd.Series:
    """The same as :func:`predicted`, as tuning itself has it."""
    goals = {leg: objective_for(*legs_named(str(leg))) for leg in table["leg"].unique()}
    return pd.Series(
        [goals[row["leg"]].of(row) / goals[row["leg"]].matters for _, row in table.iterrows()],
        index=table.index,
    )


def show_fit(console: Console, table: pd.DataFrame) -> None:
    least = balanced(table)
    figures = smallest(table, LEAST_MOS)
    console.print(
        f"{table['speaker'].nunique()} speakers to fit on, {len(table)} pairs: both see "
        f"{SEEN:g} MOS in {table['seen'].sum()}, neither {UNSEEN:g} in {table['unseen'].sum()}. "
        f"Errors are balanced at {least:.3f} MOS; the tree has {LEAST_MOS:g}."
    )
    for leg, parts in figures.items():
        for name, (value, low, high) in parts.items():
            console.print(f'"{leg}": "{name}": Fitted({value:.2f}, {low:.2f}, {high:.2f})')
    off = LEAST_MOS * predicted(table, figures) - table["mos"]
    console.print(
        f"Error of the fit: {np.sqrt(np.mean(off**2)):.3f} MOS (RMS), correlation "
        f"{np.corrcoef(off + table['mos'], table['mos'])[0, 1]:.3f}."
    )


def show_agreement(console: Console, table: pd.DataFrame) -> list[list[str]]:
    """By leg and by form, on voices that nothing was fitted on."""
    steps = in_the_tree(table)
    rows = [["pairs", "both see it", "seen so", "95 %", "neither sees it", "tie", "95 %"]]
    groups = [("all", table)]
    groups += [(f"{by} {name}", rows) for by in ("leg", "form") for name, rows in table.groupby(by)]
    for name, part in groups:
        rows.append([name])
        for share, count in zip(
            agreement(part, steps[part.index]),
            (part["seen"].sum(), part["unseen"].sum()),
            strict=True,
        ):
            rows[-1] += [str(count), f"{100 * share:.1f} %", interval(share, int(count))]
    title = f"Agreement on {table['speaker'].nunique()} other speakers, 95 % asked of all"
    print_table(console, title, rows)
    return rows


def interval(share: float, count: int) -> str:
    """Of a binomial share: as if each pair were by itself, though speakers have several."""
    if not count:
        return ""
    found = binomtest(round(share * count), count).proportion_ci(0.95)
    return f"{100 * found.low:.1f} to {100 * found.high:.1f}"


def draw(table: pd.DataFrame, path: str) -> None:
    """What is predicted beside what the models see; the square in the middle is no difference."""
    from matplotlib.figure import Figure

    steps = LEAST_MOS * in_the_tree(table)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for ax, name in zip(figure.subplots(1, 2, sharey=True), ("PESQ", "ViSQOL"), strict=True):
        for leg, rows in table.groupby("leg"):
            ax.plot(rows[name.lower()], steps[rows.index], ".", ms=4, alpha=0.6, label=leg)
        ax.axhspan(-LEAST_MOS, LEAST_MOS, color="0.9", zorder=0)
        ax.axline((0, 0), slope=1, color="0.6", lw=1, zorder=0)
        ax.set_xlabel(f"second setting better by {name} (MOS)")
    ax.legend(fontsize="small")
    figure.axes[0].set_ylabel("better by damage and\nmissing bandwidth (MOS)")
    figure.savefig(path, dpi=110)


# -- coverage ----------------------------------------------------------------------------------


def planted(
    rng: np.random.Generator, calls: int, segments: int, alike: float, skewed: bool
) -> Draw:
    """Calls of half to one and a half times so many segments."""

    def noise(*shape: int) -> np.ndarray:
        return rng.exponential(size=shape) - 1 if skewed else rng.standard_normal(shape)

    scores, groups, truths = [], [], []
    for call in range(calls):
        size = int(rng.integers(max(1, segments // 2), segments + segments // 2 + 1))
        liking = noise(1, MEANS.size) * np.sqrt(alike)
        chance = noise(size, MEANS.size) * np.sqrt(1 - alike)
        scores.append(MEANS + 3 * noise(size, 1) + liking + chance)
        groups += [call] * size
        truths.append(np.repeat(MEANS + liking, size, axis=0))
    few = calls < PLANTED.from_calls
    truth = np.concatenate(truths).mean(axis=0) if few else MEANS
    return np.concatenate(scores), np.array(groups), truth


def redrawn(
    rng: np.random.Generator, pool: Sequence[np.ndarray], calls: int, from_calls: float
) -> Draw:
    """Calls of a pool, and pieces of each."""
    drawn = [pool[k] for k in rng.integers(len(pool), size=calls)]
    scores = [call[rng.integers(len(call), size=len(call))] for call in drawn]
    truth = np.concatenate(drawn if calls < from_calls else pool).mean(axis=0)
    groups = np.repeat(np.arange(calls), [len(call) for call in drawn])
    return np.concatenate(scores), groups, truth


def coverage(
    draw: Callable[[np.random.Generator], Draw], draws: int, goal: Objective = PLANTED
) -> float:
    """Share of the intervals that hold the true difference.

    Settings that come out the same bit for bit have none to be held, and do not count.
    """
    rng = np.random.default_rng(1)
    sign = 1 if goal.higher_is_better else -1
    held = total = 0
    for number in range(draws):
        scores, groups, truth = draw(rng)
        cost = np.arange(float(truth.size))
        found = choose(scores, cost, goal, groups=groups, seed=number)
        best = int(np.argmax(sign * scores.mean(axis=0)))
        true = np.delete(sign * (truth[best] - truth), best)
        low, high = np.delete(found.low, best), np.delete(found.high, best)
        holds = (low <= true + 1e-9) & (true <= high + 1e-9)
        counts = ~(holds & (high - low < 1e-9))
        held += int(np.count_nonzero(holds & counts))
        total += int(np.count_nonzero(counts))
    return held / total if total else float("nan")


def pools(table: pd.DataFrame, goal: Objective) -> dict[str, list[np.ndarray]]:
    """Scores by form and leg: one array for each speaker, a row for each piece."""
    labels = [setting.label for setting in SETTINGS]
    scored = table.assign(score=goal.of(table))
    found = {}
    for (form, leg), rows in scored.groupby(["form", "leg"]):
        wide = rows.pivot(index=["speaker", "piece"], columns="setting", values="score")
        calls = [call.to_numpy() for _, call in wide[labels].dropna().groupby(level=0)]
        found[f"{form} voices, {leg}"] = [call for call in calls if len(call) >= 3]
    return {name: pool for name, pool in found.items() if len(pool) >= 5}


def show_coverage(console: Console, table: pd.DataFrame) -> None:
    rows = [["population", "calls", "covered", "said of"]]
    for calls, segments in ((1, 20), (3, 8), (5, 8), (10, 8), (30, 8)):
        for alike, skewed in ((0.0, False), (0.5, False), (0.5, True)):
            if calls == 1 and alike:
                continue
            shape = "skewed" if skewed else "normal"
            share = coverage(lambda r, a=(calls, segments, alike, skewed): planted(r, *a), DRAWS)  # type: ignore[misc]
            said = "others" if calls >= PLANTED.from_calls else "these"
            name = f"planted, {shape}, {100 * alike:.0f} % of the variance between calls"
            rows.append([name, str(calls), f"{100 * share:.1f} %", said])
    goals = {"loss_mos": objective_for(*legs_named("G.722"))} | OBJECTIVES
    worst: dict[str, float] = {"others": 0.0, "these": 0.0}
    for metric, goal in goals.items():
        for name, pool in pools(table, goal).items():
            for calls in (5, 10, 20, 40, 80, 160):
                said = "others" if calls >= goal.from_calls else "these"
                share = coverage(
                    lambda r, a=(pool, calls, goal.from_calls): redrawn(r, *a), DRAWS // 2, goal  # type: ignore[misc]
                )  # fmt: skip
                worst[said] = max(worst[said], np.nan_to_num(abs(share - 0.95)))
                rows.append([f"{metric}, {name}", str(calls), f"{100 * share:.1f} %", said])
    print_table(console, "95 % intervals, 93 to 97 % asked where they are said of others", rows)
    console.print(
        f"Furthest from 95 %: {100 * worst['others']:.1f} where said of others, "
        f"{100 * worst['these']:.1f} where of these calls only."
    )


def print_table(console: Console, title: str, rows: Sequence[Sequence[str]]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def run(console: Console) -> list[list[str]]:
    """Fit, judge on the other half, draw, and count what intervals hold."""
    _foreign.install()
    show_fit(console, pairs(judged(console, "fit")))
    others = pairs(judged(console, "judge"))
    rows = show_agreement(console, others)
    path = str(_foreign.MADE / "calibration.png")
    draw(others, path)
    console.print(f"Picture: {path}", soft_wrap=True)
    show_coverage(console, pieces(console))
    return rows


def judge(console: Console) -> list[list[str]]:
    """Only judge, on the people of the other half."""
    return show_agreement(console, pairs(judged(console, "judge", "people")))


def check(console: Console) -> list[list[str]]:
    """Only judge, on people of the work half that nothing was fitted on."""
    return show_agreement(console, pairs(judged(console, "check")))


if __name__ == "__main__":
    parts = {"all": run, "people": judge, "check": check}
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.calibration")
    parser.add_argument("part", nargs="?", choices=parts, default="all")
    parts[parser.parse_args().part](Console(width=120))
