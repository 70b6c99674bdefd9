"""Many captures: the same choice wherever they are scored, and nothing that one of them can break."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import threading
import tracemalloc
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.captures import Scene, speech
from workbench.call import Call
from workbench.tuning import batch
from workbench.tuning.batch import score_capture, tune_captures
from workbench.tuning.settings import SETTINGS
from workbench.tuning.tuning import Task, TuningResult, tune
from workbench.workers import local_processes

SPOKEN = {"a": ("bot/b05", "bot/b04"), "b": ("bot/b09",), "c": ("bot/b03",)}
#: All that the choice rests on; CPU time is not in it.
EXACT: dict[str, Any] = {"check_exact": True}


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("batch")
    return [recorded(folder, name) for name in SPOKEN]


def recorded(folder: Path, name: str) -> Path:
    """A call of its own, however often the same words are said in it."""
    scene = Scene(30.0, pipeline_rate=24000)
    for number, utterance in enumerate(SPOKEN[name]):
        scene.say_bot(1.0 + 14 * number, speech(utterance))
    return scene.write(folder / f"{name}.mcap")


@pytest.fixture(scope="module")
def one_by_one(captures: list[Path]) -> TuningResult:
    with ThreadPoolExecutor(1) as thread:
        return tune_captures(captures, leg="G.722", executor=thread)


def assert_equal(one: TuningResult, other: TuningResult) -> None:
    pd.testing.assert_frame_equal(one.table, other.table, **EXACT)
    assert (one.setting, one.ties, one.confidence) == (other.setting, other.ties, other.confidence)
    assert one.why == other.why
    assert one.provenance["captures"] == other.provenance["captures"]


def test_it_is_what_tune_finds(captures: list[Path], one_by_one: TuningResult) -> None:
    assert one_by_one.setting.label == "PCM 16 kHz"
    assert_equal(one_by_one, tune([Call.open(path) for path in captures], leg="G.722"))
    names = [about["file"] for about in one_by_one.provenance["captures"]]
    assert names == ["a.mcap", "b.mcap", "c.mcap"]


def test_the_order_in_which_they_are_done_does_not_matter(
    captures: list[Path], one_by_one: TuningResult
) -> None:
    class Backwards(ThreadPoolExecutor):
        """Holds every task until the one after it is done."""

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            number = len(started)
            started.append(number)

            def later() -> Any:
                if number < len(captures) - 1:
                    assert events[number + 1].wait(60)
                try:
                    return fn(*args, **kwargs)
                finally:
                    events[number].set()

            return super().submit(later)

    started: list[int] = []
    events = [threading.Event() for _ in captures]
    with Backwards(len(captures)) as executor:
        assert_equal(one_by_one, tune_captures(captures, leg="G.722", executor=executor))


@pytest.mark.slow
def test_local_processes_by_default_and_progress(
    captures: list[Path], one_by_one: TuningResult
) -> None:
    seen: list[tuple[int, int]] = []
    found = tune_captures(captures, leg="G.722", progress=lambda *at: seen.append(at))
    assert_equal(one_by_one, found)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_url_is_opened_by_fsspec(captures: list[Path], one_by_one: TuningResult) -> None:
    pytest.importorskip("fsspec")
    with ThreadPoolExecutor(1) as thread:
        urls = [f"file://{path}" for path in captures]
        found = tune_captures(urls, leg="G.722", executor=thread)
    assert_equal(one_by_one, found)


def test_a_url_without_fsspec_is_skipped_and_says_what_to_install(
    captures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with ThreadPoolExecutor(1) as thread:
        found = tune_captures([captures[0], "s3://bucket/x.mcap"], executor=thread)
    assert "needs fsspec: pip install" in found.skipped["s3://bucket/x.mcap"]


def test_broken_captures_are_skipped_named_and_counted(
    captures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.mcap").write_text("no capture")
    (tmp_path / "empty.mcap").touch()
    silent = Scene(5.0).write(tmp_path / "silent.mcap")
    gone = tmp_path / "gone.mcap"
    broken = [tmp_path / "text.mcap", tmp_path / "empty.mcap", gone]
    with ThreadPoolExecutor(1) as thread:
        found = tune_captures([*broken, captures[0], silent], executor=thread)
    assert found.setting.label == "PCMU"
    assert list(found.skipped) == [str(path) for path in broken]
    assert all(found.skipped.values())
    assert [about["file"] for about in found.provenance["captures"]] == ["a.mcap"]
    text = str(found)
    assert "3 of 5 captures could not be used: " in text and str(gone) in text
    assert "The bot said nothing in 1 of 5 calls." in text


def test_a_capture_that_we_read_wrongly_is_skipped_too(
    captures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Call.open

    def bad(path: Path) -> Call:
        if path.name == "b.mcap":
            raise KeyError("surprise")
        return real(path)

    monkeypatch.setattr(batch.Call, "open", bad)
    with ThreadPoolExecutor(1) as thread:
        found = tune_captures(captures, executor=thread)
    (reason,) = found.skipped.values()
    assert reason.startswith("KeyError: 'surprise' (test_batch.py:")


def test_nothing_left_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mcap").write_text("no capture")
    with (
        ThreadPoolExecutor(1) as thread,
        pytest.raises(
            ValueError, match=r"none of the 1 captures holds .*1 could not be used: .*text"
        ),
    ):
        tune_captures([tmp_path / "text.mcap"], executor=thread)


def test_an_executor_that_broke_is_no_broken_capture(captures: list[Path]) -> None:
    with local_processes(1) as executor:
        executor.submit(os._exit, 1)
        with pytest.raises(BrokenProcessPool):
            tune_captures(captures, executor=executor)


def test_what_a_worker_hands_back_is_small(captures: list[Path]) -> None:
    """A minute of calls is a megabyte and more of audio; its scores are some kilobytes."""
    task = Task.of("lsd_db", None, leg="G.711", settings=None, seed=0)
    found = score_capture(str(captures[0]), None, task)
    assert len(pickle.dumps(found)) < 8_000


def test_memory_does_not_grow_with_the_number_of_calls(tmp_path: Path) -> None:
    scene = Scene(6.0, pipeline_rate=24000)
    scene.say_bot(0.5, speech("bot/b09").span(0, 4))
    one = scene.write(tmp_path / "one.mcap")
    copies = [Path(shutil.copy(one, tmp_path / f"{number}.mcap")) for number in range(4)]

    def peak(count: int) -> int:
        with ThreadPoolExecutor(1) as thread:
            tracemalloc.start()
            tune_captures(copies[:count], executor=thread, settings=SETTINGS[:1])
            used = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return used

    peak(1)  # what is loaded and cached once
    assert peak(4) < 1.1 * peak(1)


@pytest.mark.filterwarnings("ignore")
def test_copies_of_a_call_count_once(captures: list[Path], one_by_one: TuningResult) -> None:
    copy = Path(shutil.copy(captures[1], captures[1].with_name("copy.mcap")))
    with ThreadPoolExecutor(1) as thread:
        found = tune_captures([*captures, copy, captures[0]], leg="G.722", executor=thread)
    assert found.skipped == {str(copy): f"the same call as {captures[1]}"}
    assert found.confidence == one_by_one.confidence
    pd.testing.assert_frame_equal(found.table, one_by_one.table, **EXACT)


@pytest.mark.thorough
def test_a_dask_worker_may_die(captures: list[Path], tmp_path: Path) -> None:
    """Two real workers; one is killed while it works. Dask gives its captures to the other."""
    distributed = pytest.importorskip("distributed")
    again = [recorded(tmp_path, name) for name in SPOKEN]
    many, asked = [*captures, *again], {"leg": "G.722", "settings": SETTINGS[:2]}
    with ThreadPoolExecutor(1) as thread:
        expected = tune_captures(many, executor=thread, **asked)  # type: ignore[arg-type]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        assert len(set(pids.values())) == 2
        killed: list[int] = []

        def kill(done: int, total: int) -> None:
            if done == 1:
                busy = (address for address, tasks in client.processing().items() if tasks)
                address = next(busy, next(iter(pids)))  # on a slow day all is done already
                os.kill(pids[address], signal.SIGKILL)
                killed.append(pids[address])

        executor = client.get_executor()
        found = tune_captures(many, executor=executor, progress=kill, **asked)  # type: ignore[arg-type]
        assert killed
    assert not found.skipped
    assert_equal(expected, found)
