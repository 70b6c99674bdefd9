"""Work that is spread: bounded, in any order, and nothing that one task can break."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from workbench import workers
from workbench.exceptions import CaptureError
from workbench.workers import local_file, local_processes, problem_of, spread


def squared(number: int) -> int | str:
    if number == 3:
        raise RuntimeError("three")
    if number == 5:
        os._exit(1)
    return number**2


def done_by(work: Any, numbers: Any, executor: Any = None) -> dict[int, Any]:
    return dict(spread(work, [(number,) for number in numbers], executor, failed=str))


def test_every_task_is_done_and_a_failed_one_says_why() -> None:
    with ThreadPoolExecutor(2) as threads:
        assert done_by(squared, range(5), threads) == {
            0: 0, 1: 1, 2: 4, 3: "RuntimeError: three", 4: 16,
        }  # fmt: skip


def test_a_single_task_needs_no_process() -> None:
    assert done_by(_pid, [0]) == {0: os.getpid()}
    assert done_by(squared, []) == {}


def _pid(_number: int) -> int:
    return os.getpid()


def test_a_task_that_ends_its_process_is_named_and_the_others_are_done() -> None:
    found = done_by(squared, [2, 5, *range(6, 16), 5, 3])
    assert found.pop(1) == found.pop(12) == workers._ENDED
    assert found.pop(13) == "RuntimeError: three"
    assert found == {0: 4} | {k: (k + 4) ** 2 for k in range(2, 12)}


def test_tasks_that_end_their_process_before_any_other_is_done_are_named_too() -> None:
    assert done_by(squared, [5, 5]) == {0: workers._ENDED, 1: workers._ENDED}


def test_where_no_process_can_be_had_it_is_not_the_tasks_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = partial(ProcessPoolExecutor, 1, mp_context=get_context("spawn"), initializer=os._exit,
                     initargs=(1,))  # fmt: skip
    monkeypatch.setattr(workers, "local_processes", lambda _tasks: broken())
    with pytest.raises(BrokenProcessPool):
        done_by(squared, [5, 5])


def test_no_more_processes_than_tasks() -> None:
    with local_processes(1) as executor:
        assert executor._max_workers == 1


def test_so_many_are_under_way_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_AHEAD", 4)
    most, waiting = 0, 0
    lock = threading.Lock()

    class Counting(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            nonlocal most, waiting
            with lock:
                waiting += 1
                most = max(most, waiting)
            return super().submit(fn, *args, **kwargs)

    with Counting(2) as threads:
        for _ in spread(abs, [(n,) for n in range(50)], threads, failed=int):
            with lock:
                waiting -= 1
    assert most == 4


@pytest.mark.slow
def test_a_dask_worker_may_die(tmp_path: Path) -> None:
    """The only one that works is killed at its second task; the one in its place does it again.

    Captures of real calls are tuned and surveyed so with ``make thorough``.
    """
    distributed = pytest.importorskip("distributed")
    tasks = [(number, str(tmp_path / "killed")) for number in range(4)]
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        (first,) = client.run(os.getpid).values()
        found = dict(spread(killed_once, tasks, client.get_executor(), failed=str))
        assert first not in client.run(os.getpid).values()
    assert found == {0: 0, 1: 1, 2: 4, 3: 9} and (tmp_path / "killed").exists()


def killed_once(number: int, mark: str) -> int:
    """Its process is killed the first time that it comes to 1."""
    if number == 1 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def test_who_stops_listening_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(1) as thread:
        found: Iterator[Any] = spread(
            begun.append, [(n,) for n in range(10_000)], thread, failed=str
        )
        next(found)
        found.close()  # type: ignore[attr-defined]
    assert len(begun) < 1500


def test_a_url_is_copied_and_the_copy_is_gone_afterwards(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "a.mcap").write_bytes(b"abc")
    with local_file(f"file://{tmp_path}/a.mcap") as path:
        assert path.name == "a.mcap" and path.read_bytes() == b"abc"
        assert path.parent != tmp_path
    assert not path.exists()
    with local_file(str(tmp_path / "a.mcap")) as path:
        assert path == tmp_path / "a.mcap"


def test_a_problem_is_a_line_without_the_path_that_is_told_beside_it() -> None:
    assert problem_of(CaptureError("a.mcap", "the file is empty")) == "the file is empty"
    assert problem_of(FileNotFoundError(2, "No such file", "a.mcap")) == "No such file"
    try:
        raise KeyError("surprise")
    except KeyError as error:
        assert problem_of(error).startswith("KeyError: 'surprise' (test_workers.py:")
