"""Many jobs in some processes, and how far they are."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from loguru import logger
from rich.console import Console
from rich.progress import Progress


def spread(
    jobs: Sequence[tuple[Any, ...]], console: Console, workers: int | None = None, chunk: int = 4
) -> Iterator[Any]:
    """Do the jobs, functions with their arguments: on a terminal a bar tells how far they are."""
    for library in ("OMP", "NUMBA"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    live = console.is_terminal
    with (
        ProcessPoolExecutor(workers or _cores(), initializer=logger.remove) as pool,
        Progress(console=console, disable=not live) as progress,
    ):
        task = progress.add_task("Diagnosing", total=len(jobs))
        for done, result in enumerate(pool.map(_call, jobs, chunksize=chunk), 1):
            progress.advance(task)
            if not live and done * 20 // len(jobs) > (done - 1) * 20 // len(jobs):
                console.print(f"{done} of {len(jobs)} done")
            yield result


def _cores() -> int:
    """Those that this process may use: ``taskset`` or a container may have left it fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _call(job: tuple[Any, ...]) -> Any:
    """Do one job; one that fails is told, and costs none of the others."""
    function, *arguments = job
    try:
        return function(*arguments)
    except Exception:
        print(f"failed: {function.__name__} {arguments}\n{traceback.format_exc()}", flush=True)
        return None
