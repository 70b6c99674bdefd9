"""What the diagnosis says of clean calls: alarms by kind, with the calls that raise them.

A finding is no alarm if it is true of the run (:mod:`tests.ground.course`), or if it only informs.
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

from tests.ground.calls import RUNS, Ground, Run, clean_calls, runs
from tests.ground.voices import Half
from workbench import Call, diagnose


class Judged(NamedTuple):
    """What was said of one call: alarms as kind, severity and words; kinds that are true."""

    name: str
    group: str
    voices: str
    secs: float
    alarms: list[tuple[str, str, str]]
    true: list[str]


def judged_run(run: Run) -> Judged:
    """Diagnose a recorded run as it is."""
    voices = f"{run.truth['caller_voice']} / {run.truth['bot_voice']}"
    call = Call.open(run.path)
    return judged(Ground(run.path.stem, run.scenario.group, voices, run.tells, call))


def judged_calls(
    half: Half, folder: Path, seed: int, hours: float, most_late_ms: float
) -> list[Judged]:
    """Diagnose so many hours of runs with exchanged voices."""
    found, secs = [], 0.0
    rng = np.random.default_rng([seed, len(half)])
    for ground in clean_calls(half, rng, folder, most_late_ms):
        found.append(judged(ground))
        secs += ground.call.duration
        if secs >= hours * 3600:
            break
    return found


def judged(ground: Ground) -> Judged:
    """Diagnose a call, and tell what is true from what is an alarm."""
    alarms, true = [], []
    for finding in diagnose(ground.call):
        if ground.truth.tells(finding, ground.call.begun):
            true.append(finding.kind)
        elif finding.severity != "info":
            words = str(finding).replace("\n", " ")
            alarms.append((finding.kind, finding.severity, words))
    return Judged(ground.name, ground.group, ground.voices, ground.call.duration, alarms, true)


# -- many ----------------------------------------------------------------------------------------


def judge(
    folder: Path,
    half: Half,
    hours: float,
    console: Console,
    *,
    most_late_ms: float = 60.0,
    workers: int = 2,
) -> None:
    """Diagnose the recorded runs and exchanged ones, and print the table."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logger.remove()
    with ProcessPoolExecutor(workers) as pool:
        pieces = [
            pool.submit(judged_calls, half, folder, seed, hours / 8, most_late_ms)
            for seed in range(8)
        ]
        if folder != RUNS:  # those have no sound of their own
            table("recorded runs", pool.map(judged_run, runs(folder, half, np.inf)), console)
        table("exchanged voices", (one for p in pieces for one in p.result()), console)


def table(title: str, several: Iterable[Judged], console: Console) -> None:
    """Print alarms by kind and group, and each alarm."""
    known = list(several)
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


def _lines(several: list[Judged]) -> Iterator[str]:
    for one in several:
        for kind, severity, words in one.alarms:
            yield f"{kind} {severity} {one.name} [{one.group}; {one.voices}] {words}"
