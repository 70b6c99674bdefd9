"""How long a call takes to open and to diagnose, by stage, and with how much memory.

The scripted call again and again, 24 kHz pipeline, a chunk of the file each second as in a live
call: on a mu-law wire, and at its dearest, with 24 kHz both ways to the bot's side. Each is
measured in a process of its own, in CPU seconds and by the peak of its memory, numpy and onnxruntime
included.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from pipecat_bandwidth.encodings import PCMU, WireFormat, wire_format
from tests.captures import SCRIPT, Scene, scripted
from workbench.capture.packer import Packer
from workbench.capture.schema import FORMAT, FORMAT_VERSION, TOPICS, Body


class Case(NamedTuple):
    """A call, and what is wanted: seconds to open, seconds to diagnose, MB."""

    name: str
    minutes: int
    wire: WireFormat
    heard_rate: int
    wanted: tuple[float, float, int] | None


CASES = (
    Case("10 min", 10, PCMU, 8000, (1.0, 6.0, 1200)),
    Case("60 min", 60, PCMU, 8000, (6.0, 40.0, 1200)),
    Case("60 min, PCM 24 kHz", 60, wire_format("PCM", 24000), 16000, None),
)
STAGES = (
    "caller_sent", "bot_said", "bot_sent", "playout", "caller_heard", "bot_speech", "echoes",
    "caller_speech", "turns", "stats",
)  # fmt: skip


def measure(path: Path) -> dict[str, float]:
    """CPU seconds of each stage, and the peak of memory in MB."""
    from workbench.call import Call
    from workbench.diagnosis.detectors import DETECTORS

    taken = {"MB import": peak_mb()}
    began = time.process_time()
    call = Call.open(path)
    taken["open"] = time.process_time() - began
    taken["MB open"] = peak_mb()
    for stage in STAGES:
        at = time.process_time()
        getattr(call, stage)
        taken[stage] = time.process_time() - at
        taken[f"MB {stage}"] = peak_mb()
    for kind, detector in DETECTORS.items():
        at = time.process_time()
        list(detector(call))
        taken[f"detector {kind}"] = time.process_time() - at
        taken[f"MB {kind}"] = peak_mb()
    taken["MB"] = peak_mb()
    return taken


def peak_mb() -> float:
    """Most memory that this process has had, in MB; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def live(records: Iterable[tuple[float, str, str | Body]], path: Path) -> Path:
    """Write records, in order, as a call would: a chunk each second, but in less than its time."""
    about = {"writer": "benchmark", "format": FORMAT, "format_version": FORMAT_VERSION}
    packer = Packer(path, time.time_ns() - time.monotonic_ns())
    packer.begin({"capture": about, "call": {"call_id": "c-1"}, "serializer": {}})
    numbers = {topic: number for number, topic in enumerate(TOPICS, start=1)}
    sequences = dict.fromkeys(TOPICS, 0)
    began, flush_at = time.monotonic_ns(), 0.0
    for at, topic, body in records:
        if at >= flush_at:
            packer.write_out()
            flush_at = at + 1
        sequences[topic] += 1
        packer.add(numbers[topic], sequences[topic], began + round(at * 1e9), body)
    packer.finish(b"{}", {"reason": "close"})
    packer.close()
    return packer.path


def in_order(scene: Scene) -> list[tuple[float, str, str | Body]]:
    """The records of a scene by their time."""
    return sorted(scene._records(), key=lambda record: record[0])


def measured(case: Case, folder: Path) -> dict[str, float]:
    times = max(1, round(case.minutes * 60 / SCRIPT["duration"]))
    scene = scripted(pipeline_rate=24000, wire=case.wire, times=times)
    scene.heard_rate = case.heard_rate
    path = live(in_order(scene), folder / "call.mcap")
    command = [sys.executable, "-m", "tests.benchmarks.calls", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    path.unlink()
    return json.loads(run.stdout.splitlines()[-1])


def run(console: Console) -> Sequence[Sequence[str]]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            with console.status(case.name):
                found[case] = measured(case, Path(folder))
    names = [name for name in found[CASES[0]] if name != "open" and not name.startswith("MB")]
    totals = {case: sum(taken[name] for name in names) for case, taken in found.items()}
    columns = [_column(case, taken, totals[case]) for case, taken in found.items()]
    labels = ["call", "opened in, CPU", "diagnosed in, CPU", "memory at most", "in", "opened with"]
    rows = [list(row) for row in zip(labels, *columns, strict=True)]
    shares = {name: [taken[name] / totals[case] for case, taken in found.items()] for name in names}
    for name, share in sorted(shares.items(), key=lambda item: -max(item[1])):
        if max(share) >= 0.01:
            rows.append([name, *(f"{100 * part:.0f} %" for part in share)])
    table = Table(*rows[0])
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
    return rows


def _column(case: Case, taken: dict[str, float], total: float) -> list[str]:
    open_secs, diagnose_secs, megabytes = (
        (f" (wanted {wanted:g})" for wanted in case.wanted) if case.wanted else ("", "", "")
    )
    # The first stage that had as much as the whole.
    stage = next(name for name, mb in taken.items() if name[:2] == "MB" and mb == taken["MB"])
    return [
        case.name,
        f"{taken['open']:.2f} s{open_secs}",
        f"{total:.1f} s{diagnose_secs}",
        f"{taken['MB']:.0f} MB{megabytes}",
        stage.removeprefix("MB "),
        f"{taken['MB open']:.0f} MB, {taken['MB import']:.0f} of it before",
    ]


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
