"""What the diagnosis says of clean calls: alarms by kind, with the calls that raise them.

A finding is no alarm if it is true of the scenario, if it lies over a moment at which the event
loop or the caller really was late, or if it only informs.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from loguru import logger
from rich.console import Console

from tests.ground.calls import Run, clean_calls, runs
from tests.ground.voices import Half
from workbench import Call, Finding, diagnose

NEAR = 0.3  # seconds between a finding and a moment of lag


class Judged(NamedTuple):
    """What was said of one call."""

    name: str
    group: str
    voices: str
    secs: float
    alarms: list[tuple[str, str, str]]  # kind, severity, words
    true: list[str]  # kinds


def judged_run(run: Run) -> Judged:
    """Diagnose a recorded run as it is."""
    call = Call.open(run.path)
    voices = f"{run.truth['caller_voice']} / {run.truth['bot_voice']}"
    rightly = tuple(run.truth["rightly"])
    return _judged(run.path.stem, run.scenario.group, voices, call, rightly, _lags(run))


def judged_calls(half: Half, folder: Path, seed: int, hours: float) -> list[Judged]:
    """Diagnose so many hours of runs with exchanged voices."""
    found, secs = [], 0.0
    lags = {run.path.stem: _lags(run) for run in runs(folder, half)}
    for ground in clean_calls(half, np.random.default_rng([seed, len(half)]), folder):
        name, group, voices, rightly, call = ground
        found.append(_judged(name, group, voices, call, rightly, lags[name]))
        secs += call.duration
        if secs >= hours * 3600:
            break
    return found


def _lags(run: Run) -> list[tuple[float, float]]:
    """Stretches of the call's clock in which event loop or caller were late."""
    late = run.truth["lag"] + run.truth["late"]
    return [(at - ms / 1000 - NEAR, at + NEAR) for at, ms in late]


def _judged(
    name: str,
    group: str,
    voices: str,
    call: Call,
    rightly: tuple[str, ...],
    lags: list[tuple[float, float]],
) -> Judged:
    alarms, true = [], []
    for finding in diagnose(call):
        if finding.severity == "info":
            continue
        if finding.kind in rightly or any(_over(finding, lag) for lag in lags):
            true.append(finding.kind)
            continue
        alarms.append((finding.kind, finding.severity, str(finding).replace("\n", " ")))
    return Judged(name, group, voices, call.duration, alarms, true)


def _over(finding: Finding, span: tuple[float, float]) -> bool:
    return bool(finding.span[0] < span[1] and finding.span[1] > span[0])


# -- many ----------------------------------------------------------------------------------------


def judge(folder: Path, half: Half, hours: float, console: Console, workers: int = 2) -> None:
    """Diagnose the recorded runs and exchanged ones, and print the table."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logger.remove()
    with ProcessPoolExecutor(workers) as pool:
        pieces = [pool.submit(judged_calls, half, folder, s, hours / 8) for s in range(8)]
        table("recorded runs", pool.map(judged_run, runs(folder, half, np.inf)), console)
        table("exchanged voices", (j for piece in pieces for j in piece.result()), console)


def table(title: str, judged: Iterable[Judged], console: Console) -> None:
    """Print alarms by kind and group, and each alarm."""
    known = list(judged)
    hours: dict[str, float] = defaultdict(float)
    for one in known:
        hours[one.group] += one.secs / 3600
    console.rule(title)
    counts = Counter((kind, one.group) for one in known for kind, _, _ in one.alarms)
    total = sum(hours.values())
    console.print(f"{len(known)} calls, {total:.2f} h: {dict(hours)}", highlight=False)
    for kind, number in Counter(kind for o in known for kind, _, _ in o.alarms).most_common():
        groups = {g: n for (k, g), n in counts.items() if k == kind}
        console.print(f"{kind}: {number}, {number / total:.1f} an hour; {groups}", highlight=False)
    true = Counter(kind for one in known for kind in one.true)
    console.print(f"true: {dict(true)}", highlight=False)
    for line in _lines(known):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _lines(judged: list[Judged]) -> Iterator[str]:
    for one in judged:
        for kind, severity, words in one.alarms:
            yield f"{kind} {severity} {one.name} [{one.group}; {one.voices}] {words}"
