"""``make faults``: what the diagnosis finds of planted faults, and what it tells of clean calls.

Both on recorded runs of real pipelines with the voices of people nobody here chose, of which the
half ``work`` may be looked at and the half ``measured`` only measured. Each fault is planted at
0.5, 1, 2 and 4 times its threshold (decibels: 6 below, none, 6 and 12 above it), and the call
diagnosed whole. An alarm is a warning or an error that is not true of the recorded run.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2

from tests.benchmarks import synthetic
from tests.benchmarks._jobs import spread
from tests.ground.calls import RUNS
from tests.ground.judge import Judged, judged_calls
from tests.ground.planting import DECOYS, KNOWN, UNKNOWN
from tests.ground.trials import Trial, attempt, decoy
from tests.ground.voices import Half, install, need

TIMES = (0.5, 1.0, 2.0, 4.0)
HEADER = [
    "kind", "planted", "side", *(f"{times:g}x" for times in TIMES),
    "any\nkind", "parts", "value\nerror", "span\nerror", "called\nsound",
]  # fmt: skip
PIECE = 0.1  # hours of clean calls that are one job
LATE_MS = 60.0


def run(
    console: Console,
    half: Half = "work",
    hours: float = 30.0,
    seeds: int = 10,
    kinds: Sequence[str] = (),
) -> Sequence[Sequence[str]]:
    """Judge, and print what came of it; return the table of faults."""
    began = time.monotonic()
    install()
    need(half)
    for fault in UNKNOWN:
        console.print(f"left out, there is no such detector yet: {fault.label}")
    wanted = [fault for fault in KNOWN if not kinds or fault.kind in kinds]
    planting = [
        (attempt, fault, times, half, seed)
        for fault in wanted
        for times in ((0.5, 2.0) if fault.scale == "once" else TIMES)
        for seed in range(seeds)
    ]
    decoys = [(decoy, name, half, seed) for name in DECOYS for seed in range(seeds)]
    clean = [
        (judged_calls, half, RUNS, seed, PIECE, LATE_MS) for seed in range(round(hours / PIECE))
    ]
    results = list(spread([*clean, *decoys, *planting], console))
    judged = [one for piece in results[: len(clean)] for one in piece or ()]
    judged += [one for one in results[len(clean) : len(clean) + len(decoys)] if one]
    trials = results[len(clean) + len(decoys) :]
    table = faults(console, [t for t in trials if t], wanted)
    alarms(console, judged)
    if not kinds:
        console.rule("synthetic: conversations made as the detectors expect them")
        synthetic.run(console, trials=2, hours=hours / 30)
    unfit = sum(trial is None for trial in trials)
    took = (time.monotonic() - began) / 60
    console.print(
        f"{len(trials)} planted faults ({unfit} fitted into no call), {len(judged)} calls without "
        f"one; {took:.1f} minutes, half {half}"
    )
    return table


# -- faults --------------------------------------------------------------------------------------


def faults(console: Console, trials: Sequence[Trial], wanted: Iterable[Any]) -> list[list[str]]:
    """Print what was found of what was planted, and each miss."""
    rows = [row(fault, [t for t in trials if t.label == fault.label]) for fault in wanted]
    shown = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for name in HEADER:
        shown.add_column(name, no_wrap=name != "planted", overflow="fold")
    for cells in rows:
        shown.add_row(*cells)
    console.print(shown)
    console.print(
        "Shares found with their kind and side, by size; then at twice the threshold: whether any "
        "kind was told over it, places found, nine of ten errors are smaller; of 2x and 4x the share "
        "of calls that the sentence calls sound."
    )
    large = [trial for trial in trials if trial.times >= 2]
    sound = [trial for trial in large if trial.sound]
    silent = [trial for trial in sound if not trial.told]
    twice = [trial.found for trial in trials if trial.times == 2]
    half = [trial.found for trial in trials if trial.times == 0.5]
    console.print(
        f"In all: {np.mean(twice):.2f} found at 2x, {np.mean(half):.2f} told at 0.5x; broken calls "
        f"called sound: {len(sound)} of {len(large)}, {len(sound) / len(large):.1%}; {len(silent)} of them "
        "with nothing told beneath that"
    )
    for line in misses(trials):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return [HEADER, *rows]


def row(fault: Any, trials: Sequence[Trial]) -> list[str]:
    """One line of the table."""
    shares = {times: [t.found for t in trials if t.times == times] for times in TIMES}
    twice = [trial for trial in trials if trial.times == 2]
    found = [trial for trial in trials if trial.found and trial.times >= 2]
    parts = np.sum([trial.parts for trial in twice], axis=0) if twice else (0, 0)
    value = [t.value_error for t in found if t.value_error is not None]
    span = [t.span_error for t in found if t.span_error is not None]
    unit, scale = ("dB", 1) if "db" in fault.scale else ("%", 100)
    large = [trial.sound for trial in trials if trial.times >= 2]
    return [
        fault.kind,
        fault.name,
        fault.side or "call",
        *(f"{np.mean(of):.2f}" if of else "" for of in shares.values()),
        f"{np.mean([trial.told for trial in twice]):.2f}" if twice else "",
        f"{parts[0]}/{parts[1]}" if parts[1] else "",
        f"{scale * np.quantile(value, 0.9):.1f} {unit}" if value else "",
        f"{1000 * np.quantile(span, 0.9):.0f} ms" if span else "",
        f"{np.mean(large):.2f}" if large else "",
    ]


def misses(trials: Iterable[Trial]) -> Iterator[str]:
    """What was not found at 2x and 4x, and what was told instead; what was told at half."""
    told: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for trial in trials:
        wrong = "told at half" if trial.times == 0.5 and trial.found else ""
        if trial.times >= 2 and not trial.found:
            wrong = f"missed at {trial.times:g}x"
        if wrong:
            told[trial.label, wrong].update(trial.others or ("nothing else",))
            told[trial.label, wrong][""] += 1
    for (label, wrong), others in told.items():
        number = others.pop("")
        yield f"{label}: {wrong} {number} times; told: {dict(others)}"


# -- alarms --------------------------------------------------------------------------------------


def upper_bound(count: int, hours: float, sure: float = 0.95) -> float:
    """The rate per hour that so few events exclude, exactly for Poisson's distribution."""
    return float(chi2.ppf(sure, 2 * (count + 1)) / 2 / hours)


def alarms(console: Console, several: Sequence[Judged]) -> None:
    """Print alarms per hour by group, then each kind of them with an example of each run and how many."""
    shown = Table("group", "calls", "hours", "alarms", "per hour", "95 %", box=SIMPLE_HEAD)
    shown.add_column("kinds", overflow="fold")
    for group in sorted({one.group for one in several}):
        mine = [one for one in several if one.group == group]
        hours = sum(one.secs for one in mine) / 3600
        kinds = Counter(kind for one in mine for kind, _, _ in one.alarms)
        count = sum(kinds.values())
        listed = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common())
        bound = f"< {upper_bound(count, hours):.1f}"
        shown.add_row(
            group, str(len(mine)), f"{hours:.2f}", str(count), f"{count / hours:.1f}", bound, listed
        )
    console.print(shown)
    alike: dict[tuple[str, str, str], list[str]] = {}
    for one in several:
        for kind, _, words in one.alarms:
            alike.setdefault((one.group, kind, one.name), []).append(f"[{one.voices}] {words}")
    for (group, _, name), lines in sorted(alike.items()):
        line = f"{group}: {len(lines)} of {name}, the first {lines[0]}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.faults")
    parser.add_argument("--half", default="work", choices=("work", "measured"))
    parser.add_argument("--hours", type=float, default=30.0, help="of clean calls")
    parser.add_argument("--seeds", type=int, default=10, help="calls for each fault and size")
    parser.add_argument("--kinds", nargs="*", default=(), help="only faults of these")
    options = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console.width = 140
    run(console, options.half, options.hours, options.seeds, options.kinds)


if __name__ == "__main__":
    main()
