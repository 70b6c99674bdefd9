"""The cushion that is chosen, beside the one that a search of all finds, on calls with random stalls.

The search knows the queue by its definition alone: it shares nothing with what is judged, neither the
serializer nor the queue model. It tries every 5 ms.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from rich.console import Console

from workbench.tuning.cushion import HOLE_MS, MOST_MS, choose_cushion, trouble
from workbench.tuning.stalls import CUSHIONS_MS, LEAST_HOLE_MS, Handed, stalls_of

CALLS = 200
STEP_MS = 5
FRAME = 0.04
WORD = np.tile(np.array([4000, -4000], "<i2"), 160).tobytes()


def random_call(seed: int) -> Handed:
    """10 to 30 answers, each paced as Pipecat does it, with stalls of a kind drawn for the call."""
    rng = np.random.default_rng(seed)
    often, typical_ms = rng.choice([0.0, 0.02, 0.1, 0.3, 1.0]), rng.uniform(30, 250)
    times: list[float] = []
    for answer in range(rng.integers(10, 31)):
        start, due = 20.0 * answer, 20.0 * answer
        at = start
        for frame in range(rng.integers(25, 150)):
            if frame and rng.random() < often / 40:
                at += rng.exponential(typical_ms) / 1000
            times.append(at)
            due = max(due, at) + (FRAME if frame else 0.0)  # it is one frame ahead
            at = due
    return Handed(np.array(times), (WORD,) * len(times))


def heard(handed: Handed, cushion_ms: float) -> tuple[float, float]:
    """Holes and delay in ms of an answer, mean, with a cushion before each."""
    starts = [0, *(k + 1 for k, (a, b) in enumerate(pairwise(handed.time)) if b - a > 5)]
    holes = 0
    for first, last in pairwise([*starts, len(handed.time)]):
        end = handed.time[first] + cushion_ms / 1000
        for at in handed.time[first:last]:
            gap = at - end
            holes += LEAST_HOLE_MS / 1000 <= gap < 1.0
            if gap >= 1.0:
                end = at + cushion_ms / 1000
            end = max(end, at) + FRAME
    return holes / len(starts), float(cushion_ms)


def best_by_search(handed: Handed, most_ms: int = MOST_MS) -> tuple[int, float]:
    """The cushion of the least trouble, and that trouble."""
    tried = range(0, most_ms + 1, STEP_MS)
    found = [HOLE_MS * holes + delay for holes, delay in (heard(handed, c) for c in tried)]
    best = int(np.argmin(found))
    return tried[best], found[best]


def run(console: Console) -> Sequence[Sequence[str]]:
    """Compare on :data:`CALLS` calls."""
    more, apart, none_taken, took = [], [], [], 0.0
    for seed in range(CALLS):
        handed = random_call(seed)
        began = time.process_time()
        stalls = stalls_of(handed)
        choice = choose_cushion([stalls], seed=seed)
        took += time.process_time() - began
        assert choice is not None
        searched, least = best_by_search(handed)
        column = CUSHIONS_MS.index(choice.cushion_ms)
        more.append(float(trouble(stalls)[:, column].mean()) - least)
        apart.append(choice.cushion_ms - searched)
        none_taken.append((choice.cushion_ms == 0, searched == 0))
    both = sum(one and other for one, other in none_taken)
    rows = [
        [f"cushion on {CALLS} calls with random stalls", "measured"],
        ["no cushion, by both", f"{both}"],
        ["by the search only, by the choice only",
         f"{sum(o and not c for c, o in none_taken)}, {sum(c and not o for c, o in none_taken)}"],
        ["more trouble than with the best of all, mean", f"{np.mean(more):.1f} ms"],
        ["the same, worst", f"{max(more):.1f} ms"],
        ["shorter or longer than the best of all, median of the amount", f"{np.median(np.abs(apart)):.0f} ms"],
        ["CPU time of a call", f"{1000 * took / CALLS:.0f} ms"],
    ]  # fmt: skip
    for row in rows:
        console.print(f"{row[0]:<64}{row[1]}")
    return rows
