"""What comparing and tuning cost, and what they find for each of the sample voices."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.captures import SAMPLES, scripted
from workbench.audio import Audio
from workbench.call import Call
from workbench.comparison import compare
from workbench.tuning import tune

#: What comparing a call of two minutes may take on two cores that have nothing else to do.
TARGET_SECS = 6.0
REPEATS = 3
CALLS = 4


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds, the best of some."""
    best = (float("inf"), float("inf"))
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
    return best


def costs(console: Console) -> list[list[str]]:
    rows = [["analysis", "call", "settings x legs", "time", "CPU"]]
    with tempfile.TemporaryDirectory() as folder:
        path = scripted(pipeline_rate=24000).write(Path(folder) / "call.mcap")
        call = Call.open(path)
        length = f"{call.duration:.0f} s"
        compared = timed(lambda: compare(call))
        tuned = timed(lambda: tune([call]))
        calls = [Call.open(path) for _ in range(CALLS)]
        several = timed(lambda: tune(calls))
    for name, what, (wall, cpu) in (
        ("compare", length, compared),
        ("tune", length, tuned),
        ("tune", f"{CALLS} x {length}", several),
    ):
        rows.append([name, what, "4 x 2", f"{wall:.1f} s", f"{cpu:.1f} s"])
    console.print(table("What it costs", rows))
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    verdict = "kept" if compared[0] < TARGET_SECS else "missed"
    console.print(f"Target for compare, {TARGET_SECS:g} s on two idle cores: {verdict} ({load}).")
    return rows


def findings(console: Console) -> None:
    columns = ["bandwidth_hz", "lsd_db", "lsd_wide_db", "seg_snr_db", "si_sdr_db", "estoi"]
    columns += ["delay_ms", "kbit_s"]
    rows = [["voice", "leg", "setting", *columns]]
    chosen = [["voice", "over G.711", "over G.722"]]
    for path in sorted((SAMPLES / "bot_voices").glob("*.flac")):
        voice = Audio.read(path)
        found = compare(voice).table
        for row in found.itertuples(index=False):
            values = [f"{getattr(row, name):.4g}" for name in columns]
            rows.append([path.stem, row.leg, row.setting, *values])
        result = tune(voice)
        chosen.append([path.stem, result.setting.label, result.elsewhere["G.722"]])
    console.print(table("What it finds", rows), table("What it chooses", chosen))


def table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    shown = Table(*rows[0], title=title)
    for row in rows[1:]:
        shown.add_row(*row)
    return shown


def run(console: Console) -> list[list[str]]:
    """Measure and print; the rows for the README are the costs."""
    findings(console)
    return costs(console)
