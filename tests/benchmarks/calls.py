"""How long a call takes to open and to diagnose, by stage, and with how much memory.

The scripted call again and again, 24 kHz pipeline, mu-law wire. Each is measured in a process of
its own, whose peak of memory is told.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.captures import SCRIPT, scripted

#: Minutes, and what is wanted: seconds to open, seconds to diagnose, MB.
CALLS = ((10, 1.0, 6.0, 1500), (60, 6.0, 40.0, 1500))
STAGES = (
    "caller_sent", "bot_said", "bot_sent", "playout", "caller_heard", "bot_speech", "echoes",
    "caller_speech", "turns", "stats",
)  # fmt: skip


def measure(path: Path) -> dict[str, float]:
    """Seconds of each stage, and the peak of memory in MB."""
    from workbench.call import Call
    from workbench.detectors import DETECTORS

    began = time.perf_counter()
    call = Call.open(path)
    taken = {"open": time.perf_counter() - began}
    opened_mb = peak_mb()
    for stage in STAGES:
        at = time.perf_counter()
        getattr(call, stage)
        taken[stage] = time.perf_counter() - at
        taken[f"MB {stage}"] = peak_mb()
    for kind, detector in DETECTORS.items():
        at = time.perf_counter()
        list(detector(call))
        taken[f"detector {kind}"] = time.perf_counter() - at
        taken[f"MB {kind}"] = peak_mb()
    taken["MB open"], taken["MB"] = opened_mb, peak_mb()
    return taken


def peak_mb() -> float:
    """Most memory that this process has had, in MB; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def measured(minutes: int, folder: Path) -> dict[str, float]:
    scene = scripted(pipeline_rate=24000, times=max(1, round(minutes * 60 / SCRIPT["duration"])))
    path = scene.write(folder / f"{minutes}.mcap")
    command = [sys.executable, "-m", "tests.benchmarks.calls", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(run.stdout.splitlines()[-1])


def run(console: Console) -> Sequence[Sequence[str]]:
    rows = [["call", "opened in", "diagnosed in", "memory", "wanted", "mostly spent on"]]
    with tempfile.TemporaryDirectory() as folder:
        for minutes, open_secs, diagnose_secs, megabytes in CALLS:
            with console.status(f"{minutes} minutes"):
                taken = measured(minutes, Path(folder))
            stages = {k: v for k, v in taken.items() if k != "open" and not k.startswith("MB")}
            total = sum(stages.values())
            longest = sorted(stages.items(), key=lambda stage: -stage[1])[:8]
            rows.append(
                [
                    f"{minutes} min",
                    f"{taken['open']:.1f} s",
                    f"{total:.1f} s",
                    f"{taken['MB open']:.0f} MB, then {taken['MB']:.0f}",
                    f"{open_secs:g} s, {diagnose_secs:g} s, {megabytes} MB",
                    ", ".join(f"{name} {100 * secs / total:.0f} %" for name, secs in longest),
                ]
            )
    table = Table(*rows[0])
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
