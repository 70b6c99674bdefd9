"""Many captures in one process: a few threads write them all, and none waits for another's disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.capture.test_capture import run_python, wait_for
from tests.recordings import BEGIN_NS, everything, media
from workbench.capture import CaptureReader, CaptureWriter, Note, crew, partfile, recording
from workbench.capture.crew import Crew


class Disks:
    """Syncs of some files hang until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self._hanging: set[int] = set()
        self._stuck: set[int] = set()
        sync = partfile._sync

        def slow(fd: int) -> None:
            inode = os.fstat(fd).st_ino
            if inode in self._hanging:
                self._stuck.add(inode)
                self.go.wait(60)
            sync(fd)

        monkeypatch.setattr(partfile, "_sync", slow)

    def hang(self, *writers: CaptureWriter) -> None:
        self._hanging |= {writer.path.stat().st_ino for writer in writers}
        for writer in writers:
            writer.record("/notes", BEGIN_NS, Note(text="before"))
            writer.flush(wait=0.01)

    def stuck(self) -> int:
        return len(self._stuck)


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disks]:
    disks = Disks(monkeypatch)
    yield disks
    disks.go.set()


def begun(folder: Path, count: int) -> list[CaptureWriter]:
    writers = [CaptureWriter(folder / f"{number}.mcap") for number in range(count)]
    assert all(writer.flush() for writer in writers)
    return writers


def recorded(writer: CaptureWriter) -> list[int]:
    with CaptureReader(writer.path) as reader:
        return [record.sequence for record in reader.records("/ws/rx")]


def hired() -> int:
    return sum(thread.name.startswith("capture") for thread in threading.enumerate())


def test_threads_do_not_grow_with_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A loaded machine may make somebody wait: then more are hired, but not for the calls.
    monkeypatch.setattr(crew, "_PATIENCE_SECS", 60.0)
    monkeypatch.setattr(recording, "_crew", Crew())
    others = hired()
    few = begun(tmp_path, 3)
    assert hired() - others == 1 + crew._USUAL
    many = begun(tmp_path / "more", 50)
    for number in range(1, 101):
        for writer in many:
            writer.record("/ws/rx", BEGIN_NS + number, media(number))
    assert hired() - others == 1 + crew._USUAL
    for writer in few + many:
        writer.close()
    assert all(recorded(writer) == list(range(1, 101)) for writer in many)


def test_a_disk_that_hangs_holds_up_its_own_capture_alone(tmp_path: Path, disks: Disks) -> None:
    writers = begun(tmp_path, 20)
    stalled, others = writers[:3], writers[3:]
    disks.hang(*stalled)
    wait_for(lambda: disks.stuck() == 3)
    for number in range(1, 51):
        for writer in writers:
            writer.record("/ws/rx", BEGIN_NS + number, media(number))
    assert all(writer.flush(30) for writer in others)
    assert all(recorded(writer) == list(range(1, 51)) for writer in others)
    for writer in others:
        writer.close(wait=30)
    assert all(writer.path.name.endswith(".mcap") for writer in others)
    assert not any(recorded(writer) for writer in stalled)
    disks.go.set()
    for writer in stalled:
        writer.close(wait=30)
    assert all(recorded(writer) == list(range(1, 51)) for writer in stalled)
    assert not any(writer.dropped for writer in writers)


@pytest.mark.parametrize("folders", [1, 3])
def test_folders_that_hang_as_a_whole_leave_threads_to_the_others(
    tmp_path: Path, disks: Disks, folders: int
) -> None:
    """Three of them hold more workers than there are at most."""
    dead = [tmp_path / f"dead-{number}" for number in range(folders)]
    stalled = [writer for folder in dead for writer in begun(folder, 2 * crew._PER_FOLDER)]
    others = begun(tmp_path / "well", 5)
    disks.hang(*stalled)
    wait_for(lambda: disks.stuck() == folders * crew._PER_FOLDER)
    late = CaptureWriter(tmp_path / "well" / "late.mcap")
    for writer in [*others, late]:
        writer.record("/ws/rx", BEGIN_NS, media(1))
        writer.close(wait=30)
        assert recorded(writer) == [1] and writer.path.suffix == ".mcap"
    assert disks.stuck() == folders * crew._PER_FOLDER
    disks.go.set()
    for writer in stalled:
        writer.close(wait=30)
    assert all("/notes" in {r.topic for r in everything(writer.path)} for writer in stalled)


def test_who_was_hired_for_a_slow_disk_leaves_again(
    tmp_path: Path, disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "_LINGER_SECS", 0.05)
    monkeypatch.setattr(recording, "_crew", Crew())
    before = hired()
    writers = begun(tmp_path, 10)
    disks.hang(*writers[:5])
    wait_for(lambda: disks.stuck() == 5)
    assert hired() - before >= 6
    disks.go.set()
    wait_for(lambda: hired() - before == 1 + crew._USUAL)
    for writer in writers:
        writer.close()


def test_a_writer_that_is_hurried_still_waits_for_who_is_about_to_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_LATE_SECS", 60.0)
    monkeypatch.setattr(Crew, "add", lambda hands, job: None)  # it is visited from here
    writer = CaptureWriter(tmp_path / "a.mcap")
    assert writer.visit()
    writer.close(wait=0)
    again = writer.visit()
    assert again and writer.visit() == again and writer.closed
    writer._end_at = 0.0
    assert writer.visit() is None and everything(tmp_path / "a.mcap")


class Greedy:
    """A job that always wants to be visited, and counts."""

    def __init__(self, visits: list[Greedy], folder: Path, limit: int) -> None:
        self.visits, self.folder, self.limit = visits, folder, limit

    def visit(self) -> float | None:
        self.visits.append(self)
        return 0.0 if len(self.visits) < self.limit else None


def test_each_gets_its_turn(tmp_path: Path) -> None:
    """Whoever asks the most is not visited more often than the others are.

    Of so many visits that no thread is kept from running for as long as they take.
    """
    visits: list[Greedy] = []
    jobs = [Greedy(visits, tmp_path, 10_000) for _ in range(10)]
    hands = Crew()
    for job in jobs:
        hands.add(job)
    while len(visits) < 10_000:
        for job in jobs:
            hands.call_for(jobs[0])
            hands.call_for(job)
        time.sleep(0)
    counts = Counter(visits[:10_000])
    assert len(counts) == len(jobs) and counts[jobs[0]] < 10_000 // 2


def test_a_flood_in_one_capture_leaves_the_others_their_turn(tmp_path: Path) -> None:
    flooded, *others = begun(tmp_path, 5)
    done = threading.Event()

    def flood() -> None:
        while not done.is_set():
            flooded.record("/ws/tx", BEGIN_NS, media(1))

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        for number in range(1, 6):
            for writer in others:
                writer.record("/ws/rx", BEGIN_NS + number, media(number))
            assert all(writer.flush(30) for writer in others)
        assert all(recorded(writer) == list(range(1, 6)) for writer in others)
    finally:
        done.set()
        flooding.join()
    flooded.close(wait=60)
    with CaptureReader(flooded.path) as reader:
        assert int(reader.metadata["end"]["dropped"]) == flooded.dropped


def test_a_job_that_fails_is_over_and_the_rest_goes_on(tmp_path: Path) -> None:
    failed, visits = threading.Event(), list[Greedy]()

    class Failing:
        folder = tmp_path

        def visit(self) -> float | None:
            failed.set()
            raise RuntimeError("a bug")

    hands = Crew()
    hands.add(Failing())
    assert failed.wait(10)
    hands.add(Greedy(visits, tmp_path, 5))
    wait_for(lambda: len(visits) == 5)
    wait_for(lambda: not hands._turns)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_costs_the_captures_on_it_alone(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(full)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no mounting here")
    try:
        short, well = begun(full, 2), begun(tmp_path, 4)
        refused = False
        for number in range(1, 1001):
            for writer in short + well:
                writer.record("/ws/rx", BEGIN_NS + number, f'{{"a":"{os.urandom(200).hex()}"}}')
            if number % 100 == 0:
                refused |= not all(writer.flush() for writer in short)
        assert refused
        for writer in short + well:
            writer.close(wait=30)
        assert all(recorded(writer) == list(range(1, 1001)) for writer in well)
        assert not any(writer.dropped for writer in well) and any(w.dropped for w in short)
        for writer in short:
            kept = recorded(writer)
            assert kept == list(range(1, len(kept) + 1))
    finally:
        subprocess.run(["umount", str(full)], check=True)


# -- processes that end, and that fork ---------------------------------------------------------

MANY_AT_PACE = """
    import sys, time
    from tests.recordings import media
    from workbench.capture import CaptureWriter
    writers = [CaptureWriter(f"{sys.argv[1]}/{number}.mcap") for number in range(40)]
    for writer in writers:
        writer.flush()
    n = 0
    while True:
        n += 1
        for writer in writers:
            writer.record("/ws/rx", time.monotonic_ns(), media(n))
        print(n, time.monotonic_ns(), flush=True)
        time.sleep(0.02)
"""


def test_a_killed_process_leaves_all_of_its_captures_but_about_a_second(tmp_path: Path) -> None:
    with run_python(MANY_AT_PACE, tmp_path) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(130)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines()
    last_ns = int(lines[-1].split()[1])
    lost_secs = []
    for path in tmp_path.iterdir():
        with CaptureReader(path) as reader:
            *_, last = reader.records("/ws/rx")
            about = reader.metadata["capture"]
        offset = int(about["unix_anchor_ns"]) - int(about["monotonic_anchor_ns"])
        lost_secs.append((last_ns - (last.time_ns - offset)) / 1e9)
    print(f"lost at most {max(lost_secs):.2f} s")
    assert len(lost_secs) == 40
    assert max(lost_secs) < 2.0


def test_a_process_that_exits_finishes_all_but_the_one_that_hangs(tmp_path: Path) -> None:
    code = """
        import os, sys, threading, time
        from workbench.capture import CaptureWriter, Note, partfile, recording
        recording._EXIT_SECS = 3.0
        writers = [CaptureWriter(f"{sys.argv[1]}/{n}.mcap") for n in range(20)]
        for writer in writers:
            writer.flush()
        hung, sync = writers[0].path.stat().st_ino, partfile._sync
        def slow(fd):
            if os.fstat(fd).st_ino == hung:
                threading.Event().wait()
            sync(fd)
        partfile._sync = slow
        for writer in writers:
            writer.record("/notes", time.monotonic_ns(), Note(text="last words"))
    """
    with run_python(code, tmp_path) as process:
        assert process.wait(60) == 0
    names = {f"{n}.mcap" for n in range(1, 20)} | {"0.mcap.part"}
    assert set(os.listdir(tmp_path)) == names
    for name in names - {"0.mcap.part"}:
        assert "/notes" in {record.topic for record in everything(tmp_path / name)}
    assert everything(tmp_path / "0.mcap.part")


LEFT = """
    import os, sys, threading, time
    from workbench.capture import CaptureWriter, Note, partfile, recording
    from workbench.capture.recording import close_all
    folder, how = sys.argv[1:]
    recording._EXIT_SECS = 0.5
    well, hung = CaptureWriter(f"{folder}/well.mcap"), CaptureWriter(f"{folder}/hung.mcap")
    assert well.flush() and hung.flush()
    number, sync, make = hung.path.stat().st_ino, partfile._sync, os.open
    def slow(fd):
        if os.fstat(fd).st_ino == number:
            threading.Event().wait()
        sync(fd)
    def never(path, *more):
        if "never" in str(path):
            threading.Event().wait()
        return make(path, *more)
    partfile._sync, os.open = slow, never
    unmade = CaptureWriter(f"{folder}/never.mcap")
    for writer in (well, hung, unmade):
        for n in range(3):
            writer.record("/notes", time.monotonic_ns(), Note(text=str(n)))
    if how == "called":
        print(*sorted(path.name for path in close_all(wait=0.5)))
"""


@pytest.mark.parametrize("how", ["called", "exit"])
def test_what_is_left_behind_is_named_once(tmp_path: Path, how: str) -> None:
    with run_python(LEFT, tmp_path, how, stderr=subprocess.PIPE) as process:
        said, log = process.communicate(timeout=60)
        assert process.returncode == 0
    assert said.split() == (["hung.mcap.part", "never.mcap.part"] if how == "called" else [])
    assert set(os.listdir(tmp_path)) == {"well.mcap", "hung.mcap.part"}
    lines = [line for line in log.splitlines() if "not finished" in line]
    # Of who was called, and once more when the process ended.
    assert len(lines) == (2 if how == "called" else 1)
    # The three, and what the recording says of itself.
    assert "hung.mcap.part, 4 records are missing" in lines[0]
    assert "never.mcap was not made, 4 records are lost" in lines[0] and "well" not in lines[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_crew_of_its_own(tmp_path: Path) -> None:
    code = """
        import os, sys, time, warnings
        warnings.simplefilter("ignore")
        from workbench.capture import CaptureWriter, Note
        from workbench.capture.recording import close_all
        def note(writer, text):
            writer.record("/notes", time.monotonic_ns(), Note(text=text))
        parents = [CaptureWriter(f"{sys.argv[1]}/parent-{n}.mcap") for n in range(5)]
        for number in range(5):  # at different moments of what the threads do
            if not os.fork():
                child = CaptureWriter(f"{sys.argv[1]}/child-{number}.mcap")
                note(child, "child")
                assert child.flush()
                close_all()
                os._exit(0 if child.path.suffix == ".mcap" else 1)
            time.sleep(0.03)
        codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(5)]
        for writer in parents:
            note(writer, "parent")
        print(*codes)
    """
    with run_python(code, tmp_path) as process:
        assert process.stdout and process.stdout.read().split() == ["0"] * 5
        assert process.wait(30) == 0
    assert len(os.listdir(tmp_path)) == 10
    for path in tmp_path.iterdir():
        notes = [record for record in everything(path) if record.topic == "/notes"]
        assert path.suffix == ".mcap" and len(notes) == 1
