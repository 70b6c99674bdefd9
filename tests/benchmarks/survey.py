"""Many calls: how long they take on two processes, what memory, and what ten new ones take.

They are copies of the captures shipped here, each a call of its own: five minutes after the one before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.benchmarks.tuning import table
from tests.captures import SAMPLES, changed

COUNTS = (100, 300, 1000)
NEW = 10
CODE = """
import json, resource, sys, time
from workbench.surveys import survey
from workbench.workers import local_processes
if __name__ == "__main__":
    began = time.monotonic()
    with local_processes(2) as processes:
        found = survey(sys.argv[1], out=sys.argv[2], executor=processes)
    took = time.monotonic() - began
    peak = [resource.getrusage(who).ru_maxrss / 1024
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps([len(found), found.opened, took, *peak]))
"""


def run(console: Console) -> Sequence[Sequence[str]]:
    rows = [["calls", "opened", "took", "this process at most", "a worker at most", "on disk"]]
    sources = sorted((SAMPLES / "captures").rglob("*.mcap"))
    with tempfile.TemporaryDirectory() as name:
        folder, code = Path(name) / "captures", Path(name) / "run.py"
        folder.mkdir()
        code.write_text(CODE)
        made = 0
        for count in (*COUNTS, COUNTS[-1] + NEW):
            for number in range(made, count):
                release = "1.4" if number > COUNTS[-1] / 2 else "1.3"
                place = folder / f"{number:04}.mcap"
                source = sources[number % len(sources)]
                changed(source, place, later=300.0 * number, labels={"release": release})
            made = count
            grows = count not in COUNTS
            out = Path(name) / (f"{COUNTS[-1]}.parquet" if grows else f"{count}.parquet")
            run = subprocess.run(
                [sys.executable, str(code), str(folder), str(out)],
                capture_output=True, text=True, check=True,
                env=os.environ | {"LOGURU_LEVEL": "WARNING", "PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip
            calls, opened, took, own, worker = json.loads(run.stdout)
            size = sum(file.stat().st_size for file in out.rglob("*.parquet"))
            rows.append([f"{calls}", f"{opened}", f"{took:.1f} s", f"{own:.0f} MB",
                         f"{worker:.0f} MB", f"{size / 1000:.0f} kB"])  # fmt: skip
    console.print(table("Many calls, on two processes", rows))
    return rows
