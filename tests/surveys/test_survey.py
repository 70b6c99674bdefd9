"""Many captures: each opened once and kept whole, whatever else lies among them."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.captures import SAMPLES, Scene, changed, speech
from workbench import workers
from workbench.call import Call
from workbench.capture import CaptureWriter
from workbench.diagnosis import DETECTORS, diagnose
from workbench.diagnosis.harm import HEARD, harm_of, rank
from workbench.exceptions import NotAvailable
from workbench.surveys import DataSet, Survey, survey, surveying
from workbench.surveys.row import CALL, FINDING, survey_capture
from workbench.surveys.sources import listed, moment

CHOPPY = SAMPLES / "captures" / "choppy.mcap"
DEMO = SAMPLES / "captures" / "demo.mcap"
DAY = 86400.0
pytest.importorskip("pyarrow")


@pytest.fixture
def thread() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as one:
        yield one


@pytest.fixture(scope="module")
def chopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short call with a hole of 0.4 s in the bot's speech."""
    scene = Scene(8.0)
    scene.say_bot(1.0, speech("bot/b02"))
    scene.hole(1.8, 0.4)
    return scene.write(tmp_path_factory.mktemp("chopped") / "a.mcap")


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of which a tenth of a second of the caller never came."""
    scene = Scene(6.0)
    scene.say_bot(1.0, speech("bot/b07"))
    scene.lose(4.0, 5)
    return scene.write(tmp_path_factory.mktemp("lossy") / "a.mcap")


@pytest.fixture
def calls(tmp_path: Path, chopped: Path, lossy: Path) -> Path:
    """Four calls on three days, of two releases, in folders."""
    folder = tmp_path / "captures"
    (folder / "deeper").mkdir(parents=True)
    for number, (source, release) in enumerate(
        [(chopped, "1.3"), (lossy, "1.3"), (chopped, "1.4"), (lossy, "1.4")]
    ):
        place = folder / ("deeper" if number % 2 else ".") / f"{number}.mcap"
        labels = {"release": release, "voice": "sonic"} if number else {}
        changed(source, place, later=(number // 2 - 3) * DAY + number / 1000, labels=labels)
    return folder


def same(one: Survey, other: Survey) -> None:
    for name in ("calls", "findings"):
        frames = [
            getattr(s, name).drop(columns="surveyed_at", errors="ignore") for s in (one, other)
        ]
        pd.testing.assert_frame_equal(*frames)


def names(found: Survey) -> list[str]:
    return [Path(name).name for name in found.calls["capture"]]


# -- what is kept of a call --------------------------------------------------------------------


def test_a_row_says_what_the_call_and_its_diagnosis_say() -> None:
    call = Call.open(CHOPPY)
    found = diagnose(call)
    one = survey_capture(str(CHOPPY))
    row = one.call
    assert list(row) == list(CALL) and not one.problem
    assert row["duration"] == call.duration and row["started_at"] == call.started_at
    assert row["holes"] == call.stats["underruns"] == 5  # one of them follows from a stall
    assert row["holes_per_min"] == pytest.approx(60 * row["holes"] / row["bot_speech_secs"])
    assert row["answer_p50_ms"] == pytest.approx(call.stats["median_response_ms"])
    assert (row["largest_stage"], row["largest_stage_owner"]) == ("turn_end", "UserTurnProcessor")
    assert row["largest_stage_ms"] == pytest.approx(call.answers.median_ms["turn_end"])
    assert (row["errors"], row["warnings"], row["ended"]) == (1, 2, "hang_up")
    assert row["worst"] == found[0].told and row["harm"] == harm_of(found[0])
    assert row["loss_percent"] == 0 and row["time_to_yield_ms"] is None
    assert row["heard_percent"] == pytest.approx(86.8, abs=0.1)
    assert [list(finding) for finding in one.findings] == [list(FINDING)] * 3
    assert one.findings[0]["remedy"] == found[0].remedy and one.findings[0]["parts"] == 3


def test_what_a_worker_hands_back_is_small() -> None:
    assert len(pickle.dumps(survey_capture(str(CHOPPY)))) < 8_000


def test_harm_sorts_as_findings_are_sorted() -> None:
    """First the severity, then the kind, then how far it goes: no sum of the one reaches the next."""
    assert max(d.harm for d in DETECTORS.values()) + 1 < HEARD
    for capture in (CHOPPY, DEMO):
        found = list(diagnose(Call.open(capture)))
        assert found == sorted(found, key=rank)
        assert [harm_of(f) // HEARD for f in found] == sorted(
            ({"error": 2, "warning": 1, "info": 0}[f.severity] for f in found), reverse=True
        )


# -- the survey --------------------------------------------------------------------------------


def test_all_calls_are_told_in_order_of_time(calls: Path, thread: Executor) -> None:
    seen: list[tuple[int, int]] = []
    found = survey(calls, executor=thread, progress=lambda *at: seen.append(at))
    assert names(found) == ["0.mcap", "1.mcap", "2.mcap", "3.mcap"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.labels == ["release", "voice"]
    assert found.calls["label_release"].isna().tolist() == [True, False, False, False]
    assert found.calls["label_release"].tolist()[1:] == ["1.3", "1.4", "1.4"]
    assert [Path(name).name for name in found.worst()["capture"]] == [
        f"{n}.mcap" for n in (0, 2, 1, 3)
    ]
    assert len(found.failures("error")) == 2 and len(found.failures("info")) == 4
    assert "4 calls from 20" in found.sentence
    assert "in 2 of them (50 %) it spoils the conversation" in found.sentence
    gap = found.kinds.iloc[0]
    assert (gap["kind"], gap["calls"], gap["percent"], gap["errors"]) == ("underrun", 2, 50.0, 2)
    assert set(found.findings["number"]) == {1}
    assert found._repr_html_() and "0.mcap" in repr(found)


def test_the_trend_is_by_hour_or_day(calls: Path, thread: Executor) -> None:
    found = survey(calls, executor=thread)
    days = found.trend("day")
    assert days["calls"].tolist() == [2, 2]
    assert days["bad_percent"].tolist() == [100, 100] and days["error_percent"].tolist() == [50, 50]
    of_day = found.calls[:2]
    expected = 60 * of_day["holes"].sum() / of_day["bot_speech_secs"].sum()
    assert days["holes_per_min"].iloc[0] == pytest.approx(expected)
    assert found.trend("hour")["calls"].sum() == 4
    assert found.trend_rows("day")[0]["day"].endswith("T00:00:00.000000Z")


def test_where_it_is_done_does_not_matter(calls: Path, thread: Executor, tmp_path: Path) -> None:
    one = survey(calls, executor=thread)
    with ThreadPoolExecutor(4) as threads:
        same(one, survey([*calls.rglob("*.mcap")][::-1], executor=threads))
    same(one, survey(calls, executor=thread, out=tmp_path / "calls.parquet"))
    pytest.importorskip("fsspec")
    urls = survey(f"file://{calls}", executor=thread)
    assert urls.calls["capture"].str.startswith("file:///").all()
    assert urls.calls["sha256"].tolist() == one.calls["sha256"].tolist()


def test_what_is_broken_is_named_and_counted(
    calls: Path, thread: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (calls / "text.mcap").write_text("no capture")
    (calls / "empty.mcap").touch()
    (calls / "notes.txt").write_text("not ours")
    gone = tmp_path / "gone.mcap"
    shutil.copy(calls / "0.mcap", calls / "copy.mcap")
    found = survey([calls, gone], executor=thread)
    reasons = {Path(name).name: why for name, why in found.skipped.items()}
    assert reasons.pop("copy.mcap") == f"the same call as {calls / '0.mcap'}"
    assert reasons.pop("gone.mcap") == "No such file or directory"
    assert reasons == {"text.mcap": "not an MCAP file", "empty.mcap": "the file is empty"}
    assert len(found) == 4 and "4 captures were not usable." in found.sentence


def test_nothing_that_can_be_used_is_refused(tmp_path: Path, thread: Executor) -> None:
    with pytest.raises(ValueError, match="no captures .* in "):
        survey(tmp_path, executor=thread)
    (tmp_path / "text.mcap").write_text("no capture")
    with pytest.raises(ValueError, match="none of 1 captures could be used: .*not an MCAP file"):
        survey(tmp_path, executor=thread)


def test_a_call_that_is_still_recorded_is_left_and_a_dead_one_is_not(
    calls: Path, thread: Executor, tmp_path: Path, lossy: Path
) -> None:
    part = calls / "2.mcap.part"
    (calls / "2.mcap").rename(part)
    old = time.time() - 3600
    os.utime(part, (old, old))
    writer = CaptureWriter(calls / "live.mcap")
    try:
        deadline = time.monotonic() + 10
        while not (calls / "live.mcap.part").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.utime(calls / "live.mcap.part", (old, old))  # its lock says that it lives
        out = tmp_path / "calls.parquet"
        found = survey(calls, executor=thread, out=out)
        assert [Path(name).name for name in found.recording] == ["live.mcap.part"]
        assert "2.mcap.part" in names(found) and "1 capture was still recorded" in found.sentence
    finally:
        writer.close()
    (calls / "live.mcap").unlink()
    changed(lossy, calls / "2.mcap", later=-2 * DAY)  # it was finished after all
    part.unlink()
    again = survey(calls, executor=thread, out=out)
    assert (again.opened, again.known, len(again)) == (1, 3, 4)
    assert "2.mcap" in names(again) and "2.mcap.part" not in names(again)


def test_only_calls_since_then(
    calls: Path, thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = survey(calls, executor=thread)
    begin = every.calls["started_at"].iloc[2].to_pydatetime()
    assert names(survey(calls, since=begin, executor=thread)) == ["2.mcap", "3.mcap"]
    old = (datetime.now(UTC) - timedelta(days=9)).timestamp()
    os.utime(calls / "0.mcap", (old, old))  # ended long ago: it need not be opened to know
    assert listed([calls], begin).older == 1
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    assert moment("24h", now) == datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert moment("2026-11-28") == datetime(2026, 11, 28, tzinfo=UTC)
    assert moment("2026-11-28T09:30+02:00") == datetime(2026, 11, 28, 7, 30, tzinfo=UTC)
    with pytest.raises(ValueError, match="'soon' is no time"):
        moment("soon")


def test_captures_tell_since_when_there_are_holes(
    chopped: Path, lossy: Path, tmp_path: Path, thread: Executor
) -> None:
    for number in range(16):
        source, release = (chopped, "1.4") if number >= 8 else (lossy, "1.3")
        changed(
            source, tmp_path / f"{number}.mcap", later=60.0 * number, labels={"release": release}
        )
    told = survey(tmp_path, executor=thread).by("release").sentences
    assert told[0] == "Calls by release, in order of time: 1.3 (8), 1.4 (8)."
    holes = next(text for text in told if "holes in the bot's speech" in text)
    assert holes.startswith("Since 1.4, against 1.3: ") and holes.endswith("in 1.3 none of it.")
    kind = next(text for text in told if "Gap in playback" in text)
    assert 'calls with "Gap in playback" 100 %; in 1.3 none of it.' in kind
    gone = next(text for text in told if "Caller audio missing" in text)
    assert gone.endswith("none any more, after 100 %.")


# -- the data set ------------------------------------------------------------------------------


def test_a_capture_is_opened_once(
    calls: Path, thread: Executor, tmp_path: Path, lossy: Path
) -> None:
    out = tmp_path / "calls.parquet"
    first = survey(calls, executor=thread, out=out)
    assert (first.opened, first.known) == (4, 0)

    class Unused(ThreadPoolExecutor):
        def submit(self, *_args: Any, **_kwargs: Any) -> Any:
            raise AssertionError("opened again")

    again = survey(calls, executor=Unused(1), out=out)
    assert (again.opened, again.known) == (0, 4)
    same(first, again)
    same(first, survey(out))
    changed(lossy, calls / "new.mcap")
    more = survey(calls, executor=thread, out=out)
    assert (more.opened, more.known, len(more)) == (1, 4, 5)


def test_any_reader_of_parquet_opens_it(calls: Path, thread: Executor, tmp_path: Path) -> None:
    out = tmp_path / "calls.parquet"
    found = survey(calls, executor=thread, out=out)
    table = pd.read_parquet(out)
    assert len(table) == 4 and set(table["day"].astype(str)) == {
        path.name.removeprefix("day=") for path in out.iterdir()
    }
    assert len(table.explode("findings")) == len(found.findings)
    assert {dict(pairs).get("release") for pairs in table["labels"]} == {None, "1.3", "1.4"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*.parquet")} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in [out, *out.iterdir()]} == {0o700}


def test_columns_that_a_later_version_added_are_no_hindrance(
    calls: Path, thread: Executor, tmp_path: Path
) -> None:
    out = tmp_path / "calls.parquet"
    found = survey(calls, executor=thread, out=out)
    (file, *_) = sorted(out.rglob("*.parquet"))
    table = pd.read_parquet(file, engine="pyarrow").drop(columns=["jitter_ms"])
    import pyarrow.parquet as parquet

    whole = parquet.read_table(file, partitioning=None)
    added = whole.append_column("added_later", [["x"] * len(table)]).drop_columns(["jitter_ms"])
    parquet.write_table(added, file)
    again = survey(out)
    assert again.calls["jitter_ms"].isna().sum() == len(table)
    assert again.calls["harm"].tolist() == found.calls["harm"].tolist()


def test_a_file_that_was_replaced_and_one_that_was_moved_are_there_once(
    calls: Path, thread: Executor, tmp_path: Path, lossy: Path
) -> None:
    out = tmp_path / "calls.parquet"
    survey(calls, executor=thread, out=out)
    changed(lossy, calls / "0.mcap")
    (calls / "2.mcap").rename(calls / "moved.mcap")
    found = survey(calls, executor=thread, out=out)
    assert sorted(names(found)) == ["0.mcap", "1.mcap", "3.mcap", "moved.mcap"]
    assert found.calls["worst_kind"].tolist().count("underrun") == 1
    assert (found.opened, found.known) == (2, 2)
    assert len(survey(out)) == 4


def test_a_call_that_is_told_twice_counts_once(
    calls: Path, thread: Executor, tmp_path: Path
) -> None:
    out = tmp_path / "calls.parquet"
    alone = survey(calls, executor=thread, out=out)
    both = survey([calls, out], executor=thread)
    assert len(both.calls) == len(alone.calls)
    assert len(both.findings) == len(alone.findings)


def test_a_file_that_can_no_longer_be_read_keeps_its_row(
    calls: Path, thread: Executor, tmp_path: Path, lossy: Path
) -> None:
    out = tmp_path / "calls.parquet"
    survey(calls, executor=thread, out=out)
    before = (calls / "0.mcap").read_bytes()
    (calls / "0.mcap").write_bytes(before[:200])
    changed(lossy, calls / "new.mcap")
    found = survey(calls, executor=thread, out=out)
    assert "0.mcap" in names(found) and "new.mcap" in names(found)
    assert len(found.skipped) == 1


def test_a_run_that_is_killed_goes_on_where_it_stopped(calls: Path, tmp_path: Path) -> None:
    """Really killed, after the second of its calls was written."""
    out = tmp_path / "calls.parquet"
    code = f"""
import os, signal
from concurrent.futures import ThreadPoolExecutor
from workbench.surveys import survey, surveying
surveying._BATCH = 1
def kill(done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
survey({str(calls)!r}, out={str(out)!r}, executor=ThreadPoolExecutor(1), progress=kill)
"""
    run = subprocess.run([sys.executable, "-c", code], check=False)
    assert run.returncode == -signal.SIGKILL
    (torn,) = {next(out.glob("day=*")) / ".torn.parquet"}
    torn.write_bytes(b"PAR1")
    with ThreadPoolExecutor(1) as thread:
        found = survey(calls, out=out, executor=thread)
        assert (found.known, found.opened) == (2, 2) and not torn.exists()
        same(found, survey(calls, executor=thread))


def test_what_was_done_is_kept_when_it_is_interrupted(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            if args[0].endswith("2.mcap"):
                raise KeyboardInterrupt
            return super().submit(fn, *args, **kwargs)

    out = tmp_path / "calls.parquet"
    monkeypatch.setattr(workers, "_AHEAD", 1)
    with pytest.raises(KeyboardInterrupt), Breaks(1) as thread:
        survey(calls, out=out, executor=thread)
    assert names(survey(out)) == ["0.mcap"]


def test_two_runs_do_not_write_to_one_data_set(
    calls: Path, thread: Executor, tmp_path: Path
) -> None:
    out = DataSet(tmp_path / "calls.parquet")
    with out.locked(), pytest.raises(BlockingIOError, match="another survey is writing"):
        survey(calls, out=out.path, executor=thread)


def test_a_folder_that_is_something_else_is_left_alone(calls: Path, thread: Executor) -> None:
    with pytest.raises(ValueError, match="is there, and no data set"):
        survey(calls, out=calls, executor=thread)
    with pytest.raises(ValueError, match="a folder of this machine"):
        survey(calls, out="s3://bucket/calls.parquet", executor=thread)


def test_without_pyarrow_only_the_data_set_is_missing(
    calls: Path, thread: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotAvailable, match=r"pip install 'pipecat-bandwidth\[survey\]'"):
        survey(calls, executor=thread, out=tmp_path / "calls.parquet")
    assert len(survey(calls, executor=thread)) == 4


def test_memory_does_not_grow_with_the_number_of_calls(
    tmp_path: Path, chopped: Path, thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call is some megabytes while it is open; a row of it, some kilobytes."""
    monkeypatch.setattr(surveying, "_BATCH", 2)
    for number in range(6):
        changed(chopped, tmp_path / f"{number}.mcap", later=number)

    def peak(count: int) -> int:
        files = [tmp_path / f"{number}.mcap" for number in range(count)]
        tracemalloc.start()
        survey(files, executor=thread, out=tmp_path / f"{count}.parquet")
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        shutil.rmtree(tmp_path / f"{count}.parquet")
        return used

    peak(1)  # what is loaded and cached once
    assert peak(6) < 1.1 * peak(1)


@pytest.mark.thorough
def test_a_dask_worker_may_die(tmp_path: Path, chopped: Path, lossy: Path) -> None:
    """Two real workers; one is killed while it works. Dask gives its captures to the other."""
    distributed = pytest.importorskip("distributed")
    for number in range(8):
        changed(chopped if number % 2 else lossy, tmp_path / f"{number}.mcap", later=number)
    with ThreadPoolExecutor(1) as thread:
        expected = survey(tmp_path, executor=thread)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = list(client.run(os.getpid).values())
        killed: list[int] = []

        def kill(done: int, total: int) -> None:
            if done == 1:
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])

        found = survey(tmp_path, executor=client.get_executor(), progress=kill)
    assert killed and not found.skipped
    same(expected, found)
