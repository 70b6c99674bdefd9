from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import msgspec
import pytest
from mcap.exceptions import EndOfFile
from mcap.reader import make_reader
from mcap.records import SummaryOffset
from mcap.stream_reader import StreamReader

from tests.recordings import CALL, everything, fill, record, record_unfinished
from workbench.capture import CaptureReader, CaptureWriter, Stats, recovery
from workbench.capture.recovery import Recovery, finish_in_place
from workbench.exceptions import CaptureError


def by_stock_reader(path: Path) -> list[tuple[str, int, bytes]]:
    """Everything, by the index, with all checks of the library; the summary must agree."""
    with open(path, "rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        found = [(c.topic, m.sequence, m.data) for _, c, m in reader.iter_messages()]
        metadata = [item.name for item in reader.iter_metadata()]
        attachments = [item.name for item in reader.iter_attachments()]
    assert summary and summary.statistics
    statistics = summary.statistics
    assert statistics.message_count == len(found)
    assert statistics.chunk_count == len(summary.chunk_indexes)
    assert statistics.metadata_count == len(metadata) == len(summary.metadata_indexes)
    assert statistics.attachment_count == len(attachments) == len(summary.attachment_indexes)
    assert sum(statistics.channel_message_counts.values()) == len(found)
    for topic in {topic for topic, _, _ in found}:  # the message indexes lead to every message
        with open(path, "rb") as file:
            one = [m.data for _, _, m in make_reader(file).iter_messages(topics=topic)]
        assert len(one) == sum(name == topic for name, _, _ in found)
    with open(path, "rb") as file:
        records = list(StreamReader(file, validate_crcs=True).records)
    # Strict readers take the offset of an empty group for an error.
    assert all(item.group_length > 0 for item in records if isinstance(item, SummaryOffset))
    return found


def test_a_killed_process_gets_its_end(tmp_path: Path) -> None:
    code = """if True:
        import sys, time
        from tests.recordings import fill
        from workbench.capture import CaptureWriter
        writer = CaptureWriter(sys.argv[1], call={"call_id": "c-9"})
        fill(writer, seconds=3)
        print("ready", flush=True)
        time.sleep(60)
    """
    path = tmp_path / "a.mcap"
    with subprocess.Popen(
        [sys.executable, "-c", code, path],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        with pytest.raises(CaptureError, match="still being written"):
            finish_in_place(tmp_path / "a.mcap.part")
        process.send_signal(signal.SIGKILL)
    before = everything(tmp_path / "a.mcap.part")
    done = finish_in_place(tmp_path / "a.mcap.part")
    assert done.path == path and os.listdir(tmp_path) == ["a.mcap"]
    assert done.messages == len(before) and done.dropped_bytes == 0 and not done.why
    with CaptureReader(path) as reader:
        assert reader.finished and not reader.damage
        assert list(reader.records()) == before
        assert reader.metadata["call"] == {"call_id": "c-9"}
        assert reader.metadata["end"] == {
            "reason": "recovered", "dropped": "0", "messages": str(len(before)),
        }  # fmt: skip
    assert [(r.topic, r.sequence, r.body) for r in before] == by_stock_reader(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_outlives_its_killed_parent_is_not_in_the_way(tmp_path: Path) -> None:
    code = """if True:
        import os, signal, sys, time, warnings
        warnings.simplefilter("ignore")
        from workbench.capture import CaptureWriter
        writer = CaptureWriter(sys.argv[1])
        writer.flush()
        child = os.fork()
        if child:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        print(os.getpid(), writer.closed, flush=True)
        time.sleep(30)
    """
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "a.mcap"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        child, closed = process.stdout.readline().split()
        try:
            process.wait(30)
            assert closed == b"True"
            assert finish_in_place(tmp_path / "a.mcap.part").path == tmp_path / "a.mcap"
        finally:
            os.kill(int(child), signal.SIGKILL)


@pytest.mark.parametrize("make", [record, record_unfinished])
def test_no_cut_loses_a_whole_chunk(tmp_path: Path, make: object) -> None:
    assert callable(make)
    data = make(tmp_path / "a.mcap", seconds=5, per_second=4).read_bytes()
    cut = tmp_path / "cut.mcap"
    finished = 0
    sizes = random.Random(1).sample(range(len(data)), 120)
    for size in [*sizes, *range(len(data) - 60, len(data))]:
        cut.write_bytes(data[:size])
        try:
            before = everything(cut)
        except CaptureError:
            with pytest.raises(CaptureError):
                finish_in_place(cut)
            continue
        done = finish_in_place(cut)
        assert everything(cut) == before
        assert [(r.topic, r.sequence, r.body) for r in before] == by_stock_reader(cut)
        assert done.messages == len(before)
        assert done.kept_bytes + done.dropped_bytes == size
        finished += 1
    assert finished > 100


@pytest.mark.parametrize("make", [record, record_unfinished])
def test_damage_is_never_made_worse(tmp_path: Path, make: object) -> None:
    assert callable(make)
    data = make(tmp_path / "a.mcap", seconds=5, per_second=4).read_bytes()
    bad = tmp_path / "bad.mcap"
    generator = random.Random(2)
    for offset in generator.sample(range(len(data)), 200):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << generator.randrange(8)
        bad.write_bytes(flipped)
        try:
            before = everything(bad)
            finish_in_place(bad)
        except CaptureError:
            continue
        assert {r.body for r in before} <= {r.body for r in everything(bad)}


def test_zeros_that_a_power_cut_left_are_cut_off(tmp_path: Path) -> None:
    path = record_unfinished(tmp_path / "a.mcap")
    before = everything(path)
    size = path.stat().st_size
    with open(path, "ab") as file:
        file.write(bytes(9000))
    done = finish_in_place(path)
    assert (done.kept_bytes, done.dropped_bytes) == (size, 9000)
    assert everything(path) == before
    by_stock_reader(path)


def test_a_last_chunk_whose_blocks_never_came_is_cut_off(tmp_path: Path) -> None:
    path = record_unfinished(tmp_path / "a.mcap")
    whole = everything(path)
    with CaptureReader(path) as reader:
        head = max(reader._blocks, key=lambda block: block.head.offset).head
    with open(path, "r+b") as file:
        file.seek(head.offset + 60)
        file.write(bytes(100))
    before = everything(path)
    done = finish_in_place(path)
    assert done.kept_bytes == head.offset and "at byte" in done.why
    assert everything(path) == before and len(before) < len(whole)
    by_stock_reader(path)


@pytest.mark.parametrize("from_the_end", [2, 3, 5])
def test_a_corrupt_chunk_near_the_end_is_not_in_the_summary(
    tmp_path: Path, from_the_end: int
) -> None:
    path = record_unfinished(tmp_path / "a.mcap", seconds=8)
    with CaptureReader(path) as reader:
        blocks = sorted(reader._blocks, key=lambda block: block.head.offset)
        lost = len(reader._read_block(blocks[-from_the_end]))
    head = blocks[-from_the_end].head
    with open(path, "r+b") as file:
        file.seek(head.offset + head.length // 2)
        file.write(bytes(8))
    before = everything(path)
    done = finish_in_place(path)
    assert done.messages == len(before) and lost > 0 and f"at byte {head.offset}" in done.why
    with open(path, "rb") as file:
        summary = make_reader(file).get_summary()
    assert summary
    offsets = [index.chunk_start_offset for index in summary.chunk_indexes]
    assert offsets == [block.head.offset for block in blocks if block.head != head]
    assert everything(path) == before


def test_the_summary_has_a_checksum(tmp_path: Path) -> None:
    path = record_unfinished(tmp_path / "a.mcap")
    finish_in_place(path)
    data = bytearray(path.read_bytes())
    start = int.from_bytes(data[-28:-20], "little")
    assert int.from_bytes(data[-12:-8], "little") == zlib.crc32(data[start:-12])
    data[start + 30] ^= 1
    path.write_bytes(data)
    with CaptureReader(path) as reader:
        assert not reader.finished


def test_attachments_that_were_written_are_in_the_index(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mcap")
    data = path.read_bytes()
    with open(path, "rb") as file:
        summary = make_reader(file).get_summary()
    assert summary
    end = max(index.offset + index.length for index in summary.metadata_indexes)
    path.write_bytes(data[: end + 5])  # torn in DataEnd
    finish_in_place(path)
    by_stock_reader(path)
    with open(path, "rb") as file:
        names = [item.name for item in make_reader(file).iter_attachments()]
    assert names == ["input_params.json", "README.md"]
    with CaptureReader(path) as reader:
        assert reader.metadata["end"]["reason"] == "close"  # it knew why, nothing is added
        assert reader.metadata["call"] == CALL


def test_a_cut_between_a_chunk_and_its_indexes_costs_nothing(tmp_path: Path) -> None:
    path = record_unfinished(tmp_path / "a.mcap")
    data = path.read_bytes()
    with CaptureReader(path) as reader:
        head = max(reader._blocks, key=lambda block: block.head.offset).head
    for size in range(head.end, len(data), 37):
        path.write_bytes(data[:size])
        before = everything(path)
        done = finish_in_place(path)
        assert done.messages == len(before)
        assert [(r.topic, r.sequence, r.body) for r in before] == by_stock_reader(path)


def test_a_chunk_whose_head_lies_puts_nothing_out_of_order(tmp_path: Path) -> None:
    """It says that it begins when a later one has ended; what would come too late is left out, and said."""
    path = record_unfinished(tmp_path / "a.mcap")
    before = everything(path)
    with CaptureReader(path) as reader:
        heads = sorted((block.head for block in reader._blocks), key=lambda head: head.offset)
    data = bytearray(path.read_bytes())
    at = heads[1].offset + 9
    data[at : at + 8] = (before[-1].time_ns + 10**9).to_bytes(8, "little")
    path.write_bytes(data)
    with CaptureReader(path) as reader:
        for _ in range(2):
            records = list(reader.records())
        damage = [sentence for sentence in reader.damage if "begins before it says" in sentence]
    times = [record.time_ns for record in records]
    assert times == sorted(times)
    assert damage == [
        f"the chunk at byte {heads[1].offset} begins before it says: {len(before) - len(records)} "
        "records of it are left out"
    ]
    assert 0 < len(records) < len(before)


def test_the_last_count_of_dropped_records_is_kept(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    fill(writer, seconds=1)
    for _ in range(5):
        writer.count_lost("a test")
    writer.flush()
    copy = tmp_path / "copy.mcap"
    copy.write_bytes(writer.path.read_bytes())
    writer.close()
    finish_in_place(copy)
    with CaptureReader(copy) as reader:
        *_, last = reader.records("/capture/stats")
        assert msgspec.json.decode(last.body, type=Stats).dropped == 5
        assert reader.metadata["end"]["dropped"] == "5"


def test_a_finished_file_stays_as_it_is(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mcap")
    data = path.read_bytes()
    done = finish_in_place(path)
    assert path.read_bytes() == data
    assert done == Recovery(path, done.chunks, len(everything(path)), len(data), 0, "")


def test_killed_before_the_name_was_given(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mcap")
    data = path.read_bytes()
    path.rename(tmp_path / "a.mcap.part")
    (tmp_path / "a.mcap").write_text("taken")
    done = finish_in_place(tmp_path / "a.mcap.part")
    assert done.path == tmp_path / "a-2.mcap" and done.path.read_bytes() == data
    assert (tmp_path / "a.mcap").read_text() == "taken"


def test_one_that_is_still_being_written_is_left_alone(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    fill(writer, seconds=1)
    data = writer.path.read_bytes()
    with pytest.raises(CaptureError, match="still being written"):
        finish_in_place(writer.path)
    assert writer.path.read_bytes()[: len(data)] == data
    fill(writer, seconds=1)
    writer.close()
    assert len(by_stock_reader(writer.path)) > 40


def test_damage_far_before_the_end_is_not_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_TAIL_LIMIT", 1000)
    path = record_unfinished(tmp_path / "a.mcap")
    with CaptureReader(path) as reader:
        head = sorted(block.head.offset for block in reader._blocks)[1]
    with open(path, "r+b") as file:
        file.seek(head)
        file.write(b"\0" * 9)
    data = path.read_bytes()
    with pytest.raises(CaptureError, match="damaged far before its end") as caught:
        finish_in_place(path)
    assert caught.value.offset == head and path.read_bytes() == data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an MCAP file"),
        (b"RIFF....WAVE", "not an MCAP file"),
        (b"\x89MCAP0\r\n", "no bandwidth-call-capture"),
    ],
)
def test_what_is_no_capture_stays_as_it_is(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.mcap.part"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=reason):
        finish_in_place(path)
    assert path.read_bytes() == content


def test_a_finished_file_with_a_damaged_beginning_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mcap", seconds=1)
    data = bytearray(path.read_bytes())
    data[6] ^= 4
    path.write_bytes(data)
    with pytest.raises(CaptureError, match="not an MCAP file"):
        finish_in_place(path)
    assert path.read_bytes() == data


def test_what_is_missing_or_a_directory_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.mcap"):
        with pytest.raises(CaptureError):
            finish_in_place(path)


def test_interrupted_in_its_turn_it_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record_unfinished(tmp_path / "a.mcap")
    with open(path, "ab") as file:
        file.write(b"\x06torn")
    before = everything(path)
    write_at = recovery.write_at

    def failing(fd: int, offset: int, data: bytes) -> None:
        write_at(fd, offset, data[: len(data) // 2])
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(recovery, "write_at", failing)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            finish_in_place(path)
    assert everything(path) == before  # no worse than it was
    finish_in_place(path)
    assert everything(path) == before
    by_stock_reader(path)


def test_where_the_disk_has_no_room_the_last_chunks_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record_unfinished(tmp_path / "a.mcap", seconds=6)
    whole = everything(path)
    limit = path.stat().st_size
    write_at = recovery.write_at

    def limited(fd: int, offset: int, data: bytes) -> None:
        if offset + len(data) > limit:
            write_at(fd, offset, data[: limit - offset])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_at(fd, offset, data)

    monkeypatch.setattr(recovery, "write_at", limited)
    done = finish_in_place(path)
    assert path.stat().st_size <= limit
    found = everything(path)
    assert 0 < len(found) == done.messages < len(whole)
    assert set(found) <= set(whole)
    by_stock_reader(path)
    with CaptureReader(path) as reader:
        assert reader.metadata["end"]["dropped"] == str(len(whole) - len(found))


def test_the_library_alone_cannot_read_what_was_not_finished(tmp_path: Path) -> None:
    # Why all this is needed; if a release of mcap learns it, this module can shrink.
    path = record_unfinished(tmp_path / "a.mcap")
    with open(path, "rb") as file, pytest.raises(Exception, match=".") as caught:
        list(make_reader(file).iter_messages())
    assert type(caught.value).__module__.startswith("mcap") or caught.type is EndOfFile
