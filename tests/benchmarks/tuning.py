"""What comparing and tuning cost, how they scale, and what they find for each sample voice.

Wall times and the efficiency mean something on a machine that has nothing else to do, whose load is
printed; CPU times on any. Linux only: what workers need is read from ``/proc``.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.calls import peak_mb
from tests.captures import SAMPLES, Scene, scripted, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.terminal import print_comparison
from workbench.tuning.batch import tune_captures
from workbench.tuning.comparison import compare
from workbench.tuning.tuning import tune

#: What comparing a call of two minutes, and tuning over ten of them, may take on two idle cores.
COMPARED_SECS = 6.0
TUNED_SECS = 45.0
REPEATS = 3
CALLS = 10

#: Two workers are to be so many times as fast as one, divided by two.
EFFICIENCY = 0.85
SHORT_CALLS = 24

#: Turns of a loop that take about as long as a short call.
LOOP = 20_000_000


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
        scene = scripted(pipeline_rate=24000)
        paths = [scene.write(Path(folder) / f"{number}.mcap") for number in range(CALLS)]
        call = Call.open(paths[0])
        length = f"{call.duration:.0f} s"
        compared = timed(lambda: compare(call))
        tuned = timed(lambda: tune([call]))
        before = time.perf_counter()
        tune_captures(paths)
        several = time.perf_counter() - before
    for name, what, wall, cpu in (
        ("compare", length, compared[0], f"{compared[1]:.1f} s"),
        ("tune", length, tuned[0], f"{tuned[1]:.1f} s"),
        ("tune, processes started", f"{CALLS} x {length}", several, "-"),
    ):
        rows.append([name, what, "4 x 2", f"{wall:.1f} s", cpu])
    console.print(table("What it costs", rows))
    for name, wall, target in (
        ("compare", compared[0], COMPARED_SECS),
        ("tune", several, TUNED_SECS),
    ):
        kept = "kept" if wall < target else "missed"
        console.print(f"Target for {name}, {target:g} s on two idle cores: {kept} ({load()}).")
    return rows


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def scaling(console: Console) -> None:
    """Tune over many short calls with one worker and with two, turn by turn, both warm."""
    rows = [["workers", "calls", "time", "CPU a call", "largest worker, MB"]]
    walls, cpus = {1: float("inf"), 2: float("inf")}, {1: 0.0, 2: 0.0}
    loops = dict(walls)
    began = load()
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as one,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as two,
    ):
        scene = Scene(30.0, pipeline_rate=24000)
        scene.say_bot(1.0, speech("bot/b05"))
        scene.say_bot(14.0, speech("bot/b09"))
        paths = [scene.write(Path(folder) / f"{number}.mcap") for number in range(SHORT_CALLS)]
        pools = {1: one, 2: two}
        for workers, pool in pools.items():
            list(pool.map(time.sleep, [0.2] * workers))  # so that each is started
            tune_captures(paths[: 2 * workers], executor=pool)
        few = {workers: most_mb(pool, workers) for workers, pool in pools.items()}
        for _ in range(REPEATS):
            for workers, pool in pools.items():
                wall = time.perf_counter()
                list(pool.map(counted, [LOOP] * SHORT_CALLS))
                loops[workers] = min(loops[workers], time.perf_counter() - wall)
                busy, wall = cpu_secs(pool._processes), time.perf_counter()
                tune_captures(paths, executor=pool)
                wall = time.perf_counter() - wall
                if wall < walls[workers]:
                    walls[workers] = wall
                    cpus[workers] = (cpu_secs(pool._processes) - busy) / SHORT_CALLS
        for workers, pool in pools.items():
            memory = f"{few[workers]:.0f}, in the end {most_mb(pool, workers):.0f}"
            wall, cpu = f"{walls[workers]:.2f} s", f"{1000 * cpus[workers]:.0f} ms"
            rows.append([str(workers), str(SHORT_CALLS), wall, cpu, memory])
    console.print(table("How it scales", rows))
    efficiency, most = walls[1] / walls[2] / 2, loops[1] / loops[2] / 2
    verdict = "kept" if efficiency >= EFFICIENCY else "missed"
    console.print(
        f"Efficiency from one to two workers: {efficiency:.2f}; of a loop that shares nothing, beside "
        f"it: {most:.2f}; by CPU time alone {cpus[1] / cpus[2]:.2f}. Target, {EFFICIENCY:g} on two idle cores: {verdict} "
        f"({began} before it, without the workers)."
    )


def counted(times: int) -> int:
    """Do what every machine does as well with two workers as its other work lets it."""
    return sum(range(times))


def cpu_secs(pids: Iterable[int]) -> float:
    """CPU that processes have used so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime
    return ticks / os.sysconf("SC_CLK_TCK")


def most_mb(pool: ProcessPoolExecutor, workers: int) -> float:
    """Most memory that any worker of a pool has had, as far as they answer."""
    return max(pool.map(asked_mb, range(2 * workers)))


def asked_mb(_: int) -> float:
    time.sleep(0.05)  # so that one worker does not answer for all
    return peak_mb()


def findings(console: Console) -> None:
    chosen = [["voice", "over G.711", "over G.722"]]
    for path in sorted((SAMPLES / "bot_voices").glob("*.flac")):
        voice = Audio.read(path)
        console.rule(path.stem)
        print_comparison(console, compare(voice))
        result = tune(voice)
        chosen.append([path.stem, result.setting.label, result.elsewhere["G.722"]])
    console.print(table("What it chooses", chosen))


def table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    shown = Table(*rows[0], title=title)
    for row in rows[1:]:
        shown.add_row(*row)
    return shown


def run(console: Console) -> list[list[str]]:
    """Measure and print; the rows for the README are the costs."""
    findings(console)
    rows = costs(console)
    scaling(console)
    return rows


if __name__ == "__main__":
    run(Console())
