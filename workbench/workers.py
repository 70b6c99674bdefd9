"""The same work on many captures, one in each task, wherever there is room.

Any :class:`concurrent.futures.Executor` will do: processes of this machine, or a cluster's, such as
Dask's from its client::

    distributed.Client("tcp://scheduler:8786").get_executor()

No capture ends the work on the others, and memory does not grow with their number: so many are under
way at once, and what is done is handed on and forgotten.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from workbench.exceptions import CaptureError

__all__ = ["Here", "Progress", "local_file", "local_processes", "name_of", "problem_of", "spread"]

T = TypeVar("T")
#: Called with how many captures are done, and how many there are.
Progress: TypeAlias = Callable[[int, int], object]
Task: TypeAlias = tuple[Any, ...]

#: Tasks that are submitted and not done: enough for a large cluster, and some kilobytes.
_AHEAD: Final = 1000
_ENDED: Final = "it ended the process that opened it: it may need more memory than there is"


def spread(
    work: Callable[..., T],
    tasks: Sequence[Task],
    executor: Executor | None = None,
    *,
    failed: Callable[[str], T],
) -> Iterator[tuple[int, T]]:
    """Do the same work for every task, and hand on what is found as it comes.

    Args:
        work: A function that can be pickled; it should raise nothing that a capture can cause.
        tasks: Its arguments for each task.
        executor: Where; by default a process for each core, and none for a single task. One that is
            given is not shut down.
        failed: What stands for the result of a task that failed all the same, such as one that
            ended its process; called with the reason.

    Yields:
        The number of a task and what was found, in the order in which they are done.

    Raises:
        concurrent.futures.BrokenExecutor: If the executor that was given broke down, or no process
            can be started.
    """
    numbers = range(len(tasks))
    if executor is not None:
        yield from _submitted(work, tasks, numbers, executor, failed)
    elif len(tasks) == 1:
        yield from _submitted(work, tasks, numbers, Here(), failed)
    elif tasks:
        yield from _on_processes(work, tasks, failed)


def local_processes(tasks: int | None = None) -> ProcessPoolExecutor:
    """Make an executor of fresh processes, one for each core.

    Args:
        tasks: More processes than this are not started.
    """
    return ProcessPoolExecutor(_cores(tasks), mp_context=get_context("spawn"))


class Here(Executor):
    """Runs everything at once and in place: in a worker, or for a single capture."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Run it, and return what came of it."""
        future: Future[object] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def problem_of(error: Exception) -> str:
    """Say in a line why a capture could not be used; of an error of ours also where it is."""
    if isinstance(error, (CaptureError, OSError, ValueError, ImportError)):
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        return str(reason)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


def name_of(capture: str) -> str:
    """The file's name, of a path or a URL."""
    return capture.rstrip("/").rpartition("/")[2]


@contextmanager
def local_file(capture: str) -> Iterator[Path]:
    """Give a file of this machine with a capture's content.

    Args:
        capture: A path, or a URL that fsspec opens, of which a copy is made.
    """
    if "://" not in capture:
        yield Path(capture)
        return
    try:
        fsspec = import_module("fsspec")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{capture} needs fsspec: pip install 'pipecat-bandwidth[dask]', and the "
            "package for its kind of storage"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name_of(capture)
        with fsspec.open(capture, "rb") as remote, path.open("wb") as file:
            shutil.copyfileobj(remote, file, 1 << 20)
        yield path


def _submitted(
    work: Callable[..., T],
    tasks: Sequence[Task],
    numbers: Iterable[int],
    executor: Executor,
    failed: Callable[[str], T],
) -> Iterator[tuple[int, T]]:
    """Some of the tasks on one executor, so many at once."""
    rest = iter(numbers)
    under_way: dict[Future[T], int] = {}
    try:
        while True:
            for number in islice(rest, _AHEAD - len(under_way)):
                under_way[executor.submit(work, *tasks[number])] = number
            if not under_way:
                return
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                found = _outcome(future, failed)
                yield under_way.pop(future), found
    finally:
        for future in under_way:
            future.cancel()


def _on_processes(
    work: Callable[..., T], tasks: Sequence[Task], failed: Callable[[str], T]
) -> Iterator[tuple[int, T]]:
    """All tasks on processes of this machine, whatever ends one of these.

    Nobody tells which task it was that ended its process, and with it the pool. Those that may have
    been under way then are tried again, each in a process of its own.
    """
    left = dict.fromkeys(range(len(tasks)))
    while left:
        try:
            with local_processes(len(left)) as processes:
                for number, found in _submitted(work, tasks, tuple(left), processes, failed):
                    del left[number]
                    yield number, found
        except BrokenExecutor:
            # Beside what runs, as many and one more have been handed to the processes.
            for number in tuple(islice(left, 2 * _cores(len(left)) + 1)):
                found = _alone(work, tasks[number], failed, has_worked=len(left) < len(tasks))
                del left[number]
                yield number, found


def _alone(work: Callable[..., T], task: Task, failed: Callable[[str], T], has_worked: bool) -> T:
    """One task in a process of its own, which it may end."""
    with local_processes(1) as process:
        try:
            return _outcome(process.submit(work, *task), failed)
        except BrokenExecutor:
            if not has_worked:
                _probe()  # it may be that no process can be started at all
            return failed(_ENDED)


def _probe() -> None:
    """Raise what a broken pool raises if a process that does nothing cannot be had."""
    with local_processes(1) as process:
        process.submit(os.getpid).result()


def _outcome(future: Future[T], failed: Callable[[str], T]) -> T:
    try:
        return future.result()
    except BrokenExecutor:
        raise
    except Exception as error:  # such as Dask's KilledWorker: a capture that ends its workers
        return failed(f"{type(error).__name__}: {error}"[:200])


def _cores(tasks: int | None) -> int:
    return min(os.cpu_count() or 1, max(1, tasks or 1) if tasks is not None else 1 << 16)
