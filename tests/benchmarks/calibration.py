"""Whether a 95 % interval covers the truth 95 % of the time.

Two populations whose true differences are known, because every call of them is:
    * **Planted**: four settings, of which calls differ in their liking by a share of the whole
      variance, and segments by the rest; normal, and skewed as scores are.
    * **Measured**: the sample voices, scored with the four real settings over G.711 and G.722, each
      recording a call; a draw takes calls with replacement, and segments of each with replacement.

Each draw is given to ``choose``; each of its intervals counts. The truth is that of the population,
or of the calls drawn where these are fewer than five: that is what the interval then is about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.captures import SAMPLES
from workbench.audio import Audio
from workbench.tuning.choice import FEW, choose
from workbench.tuning.legs import LEGS
from workbench.tuning.objective import OBJECTIVES
from workbench.tuning.scores import score
from workbench.tuning.settings import SETTINGS

#: Scores of some segments, shape ``(segments, settings)``; the call of each; the true means.
Draw = tuple[np.ndarray, np.ndarray, np.ndarray]

MEANS = np.array([3.0, 2.5, 1.0, 0.9])
DRAWS = 1000


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
    truth = np.concatenate(truths).mean(axis=0) if calls < FEW else MEANS
    return np.concatenate(scores), np.array(groups), truth


def redrawn(rng: np.random.Generator, pool: Sequence[np.ndarray], calls: int) -> Draw:
    """Calls of a pool, and segments of each."""
    drawn = [pool[k] for k in rng.integers(len(pool), size=calls)]
    scores = [call[rng.integers(len(call), size=len(call))] for call in drawn]
    truth = np.concatenate(drawn if calls < FEW else pool).mean(axis=0)
    groups = np.repeat(np.arange(calls), [len(call) for call in drawn])
    return np.concatenate(scores), groups, truth


def coverage(draw: Callable[[np.random.Generator], Draw], draws: int) -> float:
    """Share of the intervals that hold the true difference."""
    rng = np.random.default_rng(1)
    held = total = 0
    for number in range(draws):
        scores, groups, truth = draw(rng)
        cost = np.arange(float(truth.size))
        found = choose(scores, cost, OBJECTIVES["lsd_db"], groups=groups, seed=number)
        best = int(np.argmin(scores.mean(axis=0)))
        true = np.delete(truth - truth[best], best)
        low, high = np.delete(found.low, best), np.delete(found.high, best)
        held += int(np.count_nonzero((low <= true) & (true <= high)))
        total += true.size
    return held / total


def pools() -> dict[str, list[np.ndarray]]:
    """Scores of the sample voices by leg: one array for each recording, a row for each second of it."""
    recordings = [
        Audio.read(path)
        for folder in ("bot_voices", "call/bot")
        for path in sorted((SAMPLES / folder).glob("*.flac"))
    ]
    pieces, owner = [], []
    for number, recording in enumerate(recordings):
        for start in np.arange(0, recording.duration - 1, 1.0):
            pieces.append(recording.span(start, start + 1))
            owner.append(number)
    metrics = {"G.711": "lsd_db", "G.722": "lsd_wide_db"}
    legs = [LEGS[name] for name in metrics]
    quality = score(pieces, SETTINGS, legs, sorted(metrics.values())).quality
    found = {}
    for leg, metric in metrics.items():
        rows = quality[quality["leg"] == leg]
        wide = rows.pivot(index="call", columns="setting", values=metric)
        wide = wide[[setting.label for setting in SETTINGS]].dropna()
        groups = wide.groupby(np.array(owner)[wide.index])
        found[leg] = [call.to_numpy() for _, call in groups if len(call) > 4]
    return found


def run(console: Console) -> list[list[str]]:
    """Print how often the truth was covered, by population and number of calls."""
    rows = [["population", "calls", "covered", "asked"]]
    worst = 0.0

    def add(name: str, calls: int, share: float) -> None:
        nonlocal worst
        worst = max(worst, abs(share - 0.95))
        rows.append([name, str(calls), f"{100 * share:.1f} %", "93 to 97 %"])

    for calls, segments in ((1, 20), (2, 8), (3, 8), (5, 8), (10, 8), (30, 8)):
        for alike, skewed in (
            ((0.0, False), (0.5, False), (0.5, True))
            if calls > 1
            else (
                (0.0, False),
                (0.0, True),
            )
        ):
            shape = "skewed" if skewed else "normal"
            name = f"planted, {shape}, {100 * alike:.0f} % of the variance between calls"

            def draw(
                rng: np.random.Generator,
                at: tuple[int, int, float, bool] = (calls, segments, alike, skewed),
            ) -> Draw:
                return planted(rng, *at)

            add(name, calls, coverage(draw, DRAWS))
    for leg, pool in pools().items():
        for calls in (3, 10, 30):

            def again(
                rng: np.random.Generator,
                at: tuple[list[np.ndarray], int] = (pool, calls),
            ) -> Draw:
                return redrawn(rng, *at)

            add(f"sample voices over {leg}, {len(pool)} calls", calls, coverage(again, DRAWS))
    table = Table(*rows[0], title="95 % intervals")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
    verdict = "kept" if worst <= 0.02 else "missed"
    console.print(f"Target, 93 to 97 % in each of them: {verdict}.")
    return rows
