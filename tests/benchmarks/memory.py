"""Memory and CPU at 10, 60 and 240 minutes: neither grows faster than the call.

The scripted call again and again, its noise and jitter drawn anew each time, with a hole in the bot's
speech now and then; a pipeline at 24 kHz on a mu-law wire. It is opened, diagnosed, compared and
reported, each in a process of its own; told are the peak of that process' memory, all it had imported
included, and CPU seconds. All of it takes half an hour; ``MINUTES=10,60`` less.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.benchmarks.calls import in_order, live, peak_mb
from tests.captures import MEDIA, SCRIPT, Scene, scripted
from workbench.capture import AudioFrame
from workbench.capture.schema import Body

MINUTES: Final = tuple(map(float, os.environ.get("MINUTES", "10,60,240").split(",")))
#: What is wanted, in MB, at 60 and at 240 minutes.
WANTED: Final = {
    "open": {60: 400, 240: 1000},
    "diagnose": {60: 400, 240: 1000},
    "compare": {60: 700, 240: 1000},
    "report": {60: 700, 240: 1000},
}


def measure(what: str, path: Path) -> dict[str, float]:
    """Do one thing with a call, and tell what it took."""
    from workbench.budget import Budget
    from workbench.call import Call

    call = Call.open(path, Budget().times(16))
    if what in ("diagnose", "report"):
        from workbench.diagnosis import diagnose

        found = diagnose(call)
    if what in ("compare", "report"):
        from workbench.tuning.comparison import compare

        comparison = compare(call)
    if what == "report":
        from workbench.report import write_report
        from workbench.tuning.tuning import tune

        tuning = tune([call])
        write_report(path.with_suffix(".html"), call, found, comparison, tuning)
    return {"MB": peak_mb(), "CPU": time.process_time()}


def long_call(minutes: float) -> Iterator[tuple[float, str, str | Body]]:
    """The records of a call of about so many minutes, in order, without holding them."""
    length = round(SCRIPT["duration"] / MEDIA) * MEDIA
    count = max(1, round(minutes * 60 / length))
    rng, media, received = np.random.default_rng(1), 0, 0
    plain, torn = (scripted(pipeline_rate=24000) for _ in range(2))
    torn.hole(9.0, 0.3)
    clean = plain.caller.copy()
    for number in range(count):
        scene = torn if number % 10 == 5 else plain
        _drawn(scene, clean, rng)
        scene.number = np.arange(media + 1, media + 1 + len(scene.arrival))
        scene.stop, media = number == count - 1, media + len(scene.arrival)
        before = received
        for at, topic, body in in_order(scene):
            if number and at <= 0.0 and topic != "/frames/out/audio":
                continue  # it started once
            if isinstance(body, AudioFrame) and body.cause:
                body.cause += before - (number > 0)
            received += topic == "/ws/rx"
            yield at + number * length, topic, body


def _drawn(scene: Scene, clean: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a scene's noise and jitter anew."""
    noise = 1e-4 * rng.standard_normal(len(clean))
    scene.caller = np.clip(clean + noise.astype(np.float32), -0.999, 0.999)
    late = np.abs(rng.standard_normal(len(scene.arrival))) * scene.jitter_ms / 1000
    scene.arrival = np.arange(len(late)) * MEDIA + late + 1e-4


def run(console: Console) -> Sequence[Sequence[str]]:
    found: dict[tuple[str, float], dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in MINUTES:
            with console.status(f"writing {minutes:g} minutes"):
                path = live(long_call(minutes), Path(folder) / f"{minutes:g}.mcap")
            for what in WANTED:
                with console.status(f"{what}, {minutes:g} minutes"):
                    found[what, minutes] = _measured(what, path)
            path.unlink()
    rows = [["", *(f"{m:g} min" for m in MINUTES), "grows, for each minute"]]
    for what, wanted in WANTED.items():
        each = [found[what, minutes] for minutes in MINUTES]
        limits = [wanted.get(int(m)) for m in MINUTES]
        mb = [
            f"{one['MB']:.0f} MB" + (f" (wanted {limit})" if limit else "")
            for one, limit in zip(each, limits, strict=True)
        ]
        cpu = [f"{one['CPU']:.1f} s" for one in each]
        span = MINUTES[-1] - MINUTES[0]
        more = (each[-1]["MB"] - each[0]["MB"]) / span if span else 0.0
        times = each[-1]["CPU"] / each[0]["CPU"]
        length = MINUTES[-1] / MINUTES[0]
        rows.append([f"{what}, memory", *mb, f"{more:.2f} MB"])
        rows.append([f"{what}, CPU", *cpu, f"{times:.1f} times for {length:g} times the call"])
    table = Table(*rows[0])
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
    return rows


def _measured(what: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.memory", what, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LOGURU_LEVEL": "ERROR"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
