from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from tests.recordings import (
    BEGIN_NS,
    CALL,
    SERIALIZER,
    everything,
    fill,
    media,
    record,
    record_unfinished,
)
from workbench.capture import (
    AudioFrame,
    CaptureReader,
    CaptureWriter,
    Clock,
    HangUp,
    Invalid,
    LogRecord,
    Note,
    OtherFrame,
    Pipeline,
    Stats,
    Time,
    partfile,
    recording,
    schema,
)
from workbench.capture.schema import TOPICS
from workbench.exceptions import CaptureError

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What was logged as a warning or worse."""
    seen: list[str] = []
    handler = logger.add(lambda message: seen.append(message.record["message"]), level="WARNING")
    yield seen
    logger.remove(handler)


def run_python(code: str, *args: str | Path, stderr: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


# -- the format --------------------------------------------------------------------------------


def lint(properties: dict[str, Any], where: str) -> None:
    """The subset of JSON Schema that Foxglove reads."""
    for name, field in properties.items():
        kind = field.get("type")
        assert kind in {"boolean", "string", "number", "integer", "object", "array"}, (where, name)
        assert set(field) <= {
            "type", "properties", "items", "title", "contentEncoding", "minimum", "maximum"
        }, (where, name)  # fmt: skip
        if kind == "object":
            lint(field["properties"], f"{where}.{name}")
        if kind == "array":
            lint({"items": field["items"]}, f"{where}.{name}")


@pytest.mark.parametrize("topic", TOPICS)
def test_schemas_are_of_the_kind_that_foxglove_reads(topic: str) -> None:
    root = TOPICS[topic].json_schema()
    assert root["type"] == "object" and set(root) == {"title", "type", "properties"}
    lint(root["properties"], topic)
    json.dumps(root)


def test_raw_audio_has_the_fields_of_foxgloves_own_schema() -> None:
    # https://github.com/foxglove/foxglove-sdk, schemas/jsonschema/RawAudio.json
    official = {
        "timestamp": "object",
        "data": "string",
        "format": "string",
        "sample_rate": "integer",
        "number_of_channels": "integer",
    }
    ours = TOPICS["/frames/in/audio"].json_schema()["properties"]
    assert {name: ours[name]["type"] for name in official} == official
    assert ours["data"]["contentEncoding"] == "base64"


NOW = Time.from_ns(1_795_344_523_499_737_554)
BODIES = [
    (
        "/frames/in/audio",
        AudioFrame(
            timestamp=NOW, data=b"\0\1", format="pcm-s16", sample_rate=8000, number_of_channels=1,
            frame="F", frame_id=1, pts_us=2.5, took_us=3.5, cause=4,
        ),
    ),
    (
        "/frames/out/other",
        OtherFrame(
            frame="F", frame_id=1, name="F#1", pts_us=1.0, fields={"a": 1}, result="sent",
            took_us=1.0, cause=4,
        ),
    ),
    ("/hang_up", HangUp(outcome="failed", status_code=403, attempts=1, reason="no", took_us=1.5)),
    ("/pipeline", Pipeline(what="first byte", processor="Model#0", seconds=0.3)),
    ("/log", LogRecord(timestamp=NOW, level=3, message="m", name="n", file="f.py", line=1)),
    ("/capture/clock", Clock(monotonic=NOW, unix=NOW, boottime=NOW)),
    ("/capture/stats", Stats(queued=1, dropped=2, bytes=3, flush_ms=0.5, fsync_ms=0.5)),
    ("/notes", Note(text="here")),
    ("/ws/rx/invalid", Invalid(data=b"x", error="no JSON")),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "body"), BODIES)
def test_typed_bodies_say_what_the_schema_says(topic: str, body: schema.Body) -> None:
    kinds = {"string": str, "integer": int, "number": (int, float), "object": dict}
    written = json.loads(msgspec.json.encode(body))
    properties = TOPICS[topic].json_schema()["properties"]
    assert set(written) == set(properties)
    for name, value in written.items():
        assert isinstance(value, kinds[properties[name]["type"]])
    assert msgspec.json.decode(msgspec.json.encode(body), type=type(body)) == body


def test_what_is_not_known_is_left_out_and_not_null() -> None:
    body = AudioFrame(data=b"", format="pcm-s16", sample_rate=8000, number_of_channels=1)
    assert json.loads(msgspec.json.encode(body)) == {
        "data": "", "format": "pcm-s16", "sample_rate": 8000, "number_of_channels": 1,
    }  # fmt: skip


def test_the_golden_file_of_version_1_0_reads_as_it_always_did() -> None:
    with CaptureReader(DATA / "capture-1.0.mcap") as reader:
        assert reader.finished and not reader.damage
        assert reader.metadata["call"] == CALL
        assert reader.metadata["end"] == {"reason": "close", "dropped": "0", "messages": "24"}
        records = list(reader.records("/ws/rx", "/frames/in/audio"))
    assert [r.body.decode() for r in records[::2]] == [media(n) for n in range(1, 11)]
    frames = [msgspec.json.decode(r.body, type=AudioFrame) for r in records[1::2]]
    assert [frame.data[:2] for frame in frames] == [bytes([n, 0]) for n in range(1, 11)]
    assert [frame.cause for frame in frames] == [r.sequence for r in records[::2]]


# -- writing and reading -----------------------------------------------------------------------


def test_records_come_back_verbatim_in_the_order_of_their_time(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    texts = ['{"b": 1,  "a":"\\u00e9 é"}', '{"eventType":"start"}', "{}"]
    for delay, text in zip((3, 1, 2), texts, strict=True):
        writer.record("/ws/rx", BEGIN_NS + delay, text)
    writer.close()
    with CaptureReader(writer.path) as reader:
        records = list(reader.records("/ws/rx"))
        offset = int(reader.metadata["capture"]["unix_anchor_ns"])
        offset -= int(reader.metadata["capture"]["monotonic_anchor_ns"])
    assert [r.body.decode() for r in records] == [texts[1], texts[2], texts[0]]
    assert [r.sequence for r in records] == [2, 3, 1]
    assert [r.time_ns - offset for r in records] == [BEGIN_NS + 1, BEGIN_NS + 2, BEGIN_NS + 3]


def test_order_holds_across_chunks(tmp_path: Path) -> None:
    # A frame that took long to serialize is recorded late, with the time at which it began.
    writer = CaptureWriter(tmp_path / "a.mcap")
    times = [0, 50, 10, 60, 20, 30, 70, 5]
    began = time.monotonic_ns() - 10**10  # before anything that the writer adds
    for delay in times:
        writer.record("/notes", began + delay, Note(text=str(delay)))
        writer.flush()
    unfinished = [r.body for r in CaptureReader(writer.path).records("/notes")]
    writer.close()
    finished = [r.body for r in CaptureReader(writer.path).records("/notes")]
    assert finished == unfinished
    assert finished == [f'{{"text":"{delay}"}}'.encode() for delay in sorted(times)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["/ws/rx", "/ws/tx", "/notes"]), st.integers(0, 10**12), st.text()
        ),
        max_size=40,
    )
)
def test_nothing_is_lost_or_changed(entries: list[tuple[str, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = CaptureWriter(Path(folder) / "a.mcap")
        bodies = [json.dumps({"text": text}) for _, _, text in entries]
        for (topic, delay, _), body in zip(entries, bodies, strict=True):
            writer.record(topic, BEGIN_NS + delay, body)
        writer.close()
        records = [r for r in everything(writer.path) if not r.topic.startswith("/capture")]
    assert [r.time_ns for r in records] == sorted(r.time_ns for r in records)
    sent = sorted((t, b.encode()) for (t, _, _), b in zip(entries, bodies, strict=True))
    assert sorted((r.topic, r.body) for r in records) == sent


def test_stock_readers_find_everything_by_the_index(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mcap")
    with open(path, "rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary and summary.statistics
        messages = list(reader.iter_messages())
        attachments = {item.name: item.data for item in reader.iter_attachments()}
        names = [item.name for item in reader.iter_metadata()]
    assert summary.statistics.message_count == len(messages) == len(everything(path))
    assert {c.topic for c in summary.channels.values()} == set(TOPICS)
    assert all(c.message_encoding == "json" for c in summary.channels.values())
    assert all(json.loads(message.data) is not None for _, _, message in messages)
    assert json.loads(attachments["input_params.json"]) == SERIALIZER["params"]
    assert "README.md" in attachments
    assert names == ["capture", "call", "serializer", "end"]
    with open(path, "rb") as file:
        assert list(StreamReader(file, validate_crcs=True).records)


def test_records_of_the_same_time_stay_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    texts = ['{"n":2}', '{"n":1}', '{"n":3}']
    for text in texts:
        writer.record("/ws/rx", BEGIN_NS, text)
    writer.close()
    with CaptureReader(writer.path) as reader:
        assert [r.body.decode() for r in reader.records("/ws/rx")] == texts


def test_both_times_of_a_message_are_the_same(tmp_path: Path) -> None:
    with open(record(tmp_path / "a.mcap", seconds=1), "rb") as file:
        times = [(m.log_time, m.publish_time) for _, _, m in make_reader(file).iter_messages()]
    assert len(times) > 20 and all(log == publish for log, publish in times)


def test_a_sequence_number_starts_again_where_mcap_has_no_more_bits(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    writer._sequences["/notes"] = 2**32 - 2
    for _ in range(3):
        writer.record("/notes", BEGIN_NS, Note(text="x"))
    writer.close()
    assert writer.dropped == 0
    with CaptureReader(writer.path) as reader:
        assert [r.sequence for r in reader.records("/notes")] == [2**32 - 1, 0, 1]


def test_metadata_stand_in_front_of_all_else(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap", call=CALL, serializer=SERIALIZER, redaction="all")
    writer.flush()
    reader = CaptureReader(writer.path)
    writer.close()
    assert list(reader.metadata) == ["capture", "call", "serializer"]
    assert reader.metadata["capture"]["format"] == "bandwidth-call-capture"
    assert reader.metadata["capture"]["format_version"] == "1.1"
    assert reader.metadata["capture"]["redaction"] == "all"
    assert reader.metadata["call"] == CALL
    assert json.loads(reader.metadata["serializer"]["params"]) == SERIALIZER["params"]


def test_labels_are_metadata_of_their_own(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap", labels={"prompt": "v7"})
    writer.close()
    with CaptureReader(writer.path) as reader:
        assert reader.metadata["labels"] == {"prompt": "v7"}


def test_schemas_and_channels_are_there_before_the_first_record(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    wait_for(lambda: writer.path.exists() and writer.path.stat().st_size > 1000)
    with CaptureReader(writer.path) as reader:
        assert [r.topic for r in reader.records()] == ["/capture/clock"]
        assert set(reader._topics.values()) == set(TOPICS)
    writer.close()


def test_the_end_says_why_and_how_much(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    writer.record("/notes", time.monotonic_ns(), Note(text="x"))
    writer.close("EndFrame")
    writer.close("later")
    with CaptureReader(writer.path) as reader:
        end = reader.metadata["end"]
        assert reader.finished
        assert end["reason"] == "EndFrame" and end["dropped"] == "0"
        assert int(end["messages"]) == len(list(reader.records()))


def test_the_clocks_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_CLOCK_SECS", 0.2)
    writer = CaptureWriter(tmp_path / "a.mcap")
    time.sleep(0.8)
    writer.close()
    with CaptureReader(writer.path) as reader:
        records = list(reader.records("/capture/clock"))
    clocks = [msgspec.json.decode(r.body, type=Clock) for r in records]
    assert len(clocks) >= 3
    drift = [c.unix.sec - c.monotonic.sec + (c.unix.nsec - c.monotonic.nsec) / 1e9 for c in clocks]
    assert max(drift) - min(drift) < 0.1
    for clock, entry in zip(clocks, records, strict=True):
        assert abs(clock.unix.sec + clock.unix.nsec / 1e9 - entry.time_ns / 1e9) < 0.5


def test_a_topic_that_was_not_recorded_is_no_error(tmp_path: Path) -> None:
    with CaptureReader(record(tmp_path / "a.mcap", seconds=1)) as reader:
        assert list(reader.records("/ws/tx", "/no/such/topic")) == []


def test_two_iterations_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    with CaptureReader(record(tmp_path / "a.mcap")) as reader:
        alone = list(reader.records())
        pairs = list(zip(reader.records(), reader.records(), strict=True))
    assert pairs == [(item, item) for item in alone]


def test_a_reader_that_is_not_closed_leaves_nothing_open(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mcap", seconds=1)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        list(CaptureReader(path).records())
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


# -- the file ----------------------------------------------------------------------------------


def test_the_file_is_its_owners_alone_and_no_childs(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        writer = CaptureWriter(tmp_path / "calls" / "today" / "a.mcap")
        writer.flush()
    finally:
        os.umask(old)
    assert stat.S_IMODE(writer.path.stat().st_mode) == 0o600
    if os.path.isdir("/proc/self/fd"):
        mine = [int(fd) for fd in os.listdir("/proc/self/fd") if is_open_on(fd, writer.path)]
        assert mine and not any(os.get_inheritable(fd) for fd in mine)
    writer.close()
    assert stat.S_IMODE(writer.path.stat().st_mode) == 0o600


def is_open_on(fd: str, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == str(path)
    except OSError:
        return False


def test_it_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    writer.flush()
    assert writer.path == tmp_path / "a.mcap.part"
    assert os.listdir(tmp_path) == ["a.mcap.part"]
    writer.close()
    assert writer.path == tmp_path / "a.mcap"
    assert os.listdir(tmp_path) == ["a.mcap"]


def test_no_file_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_text("somebody's")
    (tmp_path / "a-2.mcap.part").write_text("somebody's too")
    first = CaptureWriter(tmp_path / "a.mcap")
    first.flush()
    second = CaptureWriter(tmp_path / "a.mcap")
    second.flush()
    (tmp_path / "a-4.mcap").write_text("taken meanwhile")
    first.close()
    second.close()
    assert (first.path.name, second.path.name) == ("a-3.mcap", "a-4-2.mcap")
    assert (tmp_path / "a.mcap").read_text() == "somebody's"
    assert (tmp_path / "a-2.mcap.part").read_text() == "somebody's too"
    assert (tmp_path / "a-4.mcap").read_text() == "taken meanwhile"


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.mcap.part").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a-2.mcap").symlink_to(tmp_path / "elsewhere")
    writer = CaptureWriter(tmp_path / "a.mcap")
    assert writer.flush()
    writer.close()
    assert writer.path == tmp_path / "a-3.mcap" and everything(writer.path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_name_that_is_taken_at_the_last_moment_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unused = partfile.unused
    taken = ["a.mcap.part", "a.mcap"]  # first the one, then the other

    def taken_meanwhile(path: Path, **options: Any) -> Path:
        name = unused(path, **options)
        if taken:
            (tmp_path / taken.pop(0)).write_text("somebody's")
        return name

    monkeypatch.setattr(partfile, "unused", taken_meanwhile)
    writer = CaptureWriter(tmp_path / "a.mcap")
    assert writer.flush()
    assert writer.path.name == "a-2.mcap.part"
    taken[:] = ["a-2.mcap"]
    writer.close()
    assert writer.path.name == "a-2-2.mcap" and everything(writer.path)
    for name in ("a.mcap.part", "a-2.mcap"):
        assert (tmp_path / name).read_text() == "somebody's"


def test_two_writers_announce_two_names(tmp_path: Path) -> None:
    first, second = CaptureWriter(tmp_path / "a.mcap"), CaptureWriter(tmp_path / "a.mcap")
    announced = [first.path, second.path]
    assert [path.name for path in announced] == ["a.mcap.part", "a-2.mcap.part"]
    second.flush()
    first.flush()
    assert [first.path, second.path] == announced
    second.close()
    first.close()
    assert [first.path.name, second.path.name] == ["a.mcap", "a-2.mcap"]


def test_what_was_closed_is_forgotten(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    assert writer in recording._open
    writer.close()
    assert writer not in recording._open and writer._reserved not in recording._names


def test_the_directory_is_synced_when_the_file_is_made_and_when_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(partfile, "_sync_directory", synced.append)
    writer = CaptureWriter(tmp_path / "a.mcap")
    writer.flush()
    assert synced == [tmp_path]
    writer.close()
    assert synced == [tmp_path] * 2


def test_the_versions_are_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CaptureWriter(tmp_path / "a.mcap").close()

    def fail(distribution: str) -> str:
        raise AssertionError("it takes milliseconds")

    monkeypatch.setattr(recording.metadata, "version", fail)
    writer = CaptureWriter(tmp_path / "b.mcap")
    writer.close()
    with CaptureReader(writer.path) as reader:
        assert reader.metadata["capture"]["pipecat"]


def test_a_live_capture_can_be_opened_also_by_its_future_name(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    fill(writer, seconds=2)
    with CaptureReader(tmp_path / "a.mcap") as reader:
        assert reader.path == writer.path and not reader.finished and not reader.damage
        assert len(list(reader.records("/ws/rx"))) == 20
        fill(writer, seconds=1)
        writer.close()  # renamed under the reader
        assert len(list(reader.records("/ws/rx"))) == 20
    assert len(list(CaptureReader(writer.path).records("/ws/rx"))) == 30


# -- what cannot be read -----------------------------------------------------------------------


def foreign(path: Path, metadata: dict[str, str] | None = None) -> None:
    with open(path, "wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start()
        if metadata is not None:
            writer.add_metadata("capture", metadata)
        schema_id = writer.register_schema("x", "jsonschema", b"{}")
        channel = writer.register_channel("/x", "json", schema_id)
        writer.add_message(channel, 5, b'{"a":1}', 5)
        writer.finish()


def of_version(version: str) -> Callable[[Path], None]:
    about = {"format": "bandwidth-call-capture", "format_version": version}
    return lambda path: foreign(path, about)


def truncated(size: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        record_unfinished(path, seconds=1)
        os.truncate(path, size)

    return make


UNREADABLE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "No such file"),
    "directory": (lambda path: path.mkdir(), "directory"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "text": (lambda path: path.write_text("RIFF, and so on"), "not an MCAP file"),
    "first bytes": (lambda path: path.write_bytes(b"\x89MCAP"), "cut off in its first 8 bytes"),
    "magic alone": (truncated(8), "before its first record"),
    "header alone": (truncated(40), "before its first record"),
    "another MCAP": (foreign, "no bandwidth-call-capture"),
    "another format": (lambda path: foreign(path, {"format": "rosbag"}), "'rosbag'"),
    "newer major": (of_version("2.0"), r"'2\.0'.*reads up to 1\.1"),
    "no version": (of_version(""), "''"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_capture_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    make, reason = UNREADABLE[case]
    path = tmp_path / "a.mcap"
    make(path)
    with pytest.raises(CaptureError, match=reason) as caught:
        CaptureReader(path)
    assert caught.value.file == path and str(path) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no users here")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mcap", seconds=1)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(CaptureError, match="Permission denied"):
            CaptureReader(path)
    finally:
        os.seteuid(user)


def test_a_newer_minor_version_with_unknown_topics_and_fields_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with open(path, "wb") as file:
        writer = Writer(file)
        writer.start()
        about = {"format": "bandwidth-call-capture", "format_version": "1.7", "colour": "red"}
        writer.add_metadata("capture", about)
        schema_id = writer.register_schema("x", "jsonschema", b"{}")
        new = writer.register_channel("/video", "json", schema_id)
        note = writer.register_channel("/notes", "json", schema_id)
        writer.add_message(new, 5, b'{"pixels":1}', 5)
        writer.add_message(note, 6, b'{"text":"t","author":{"name":"n"}}', 6)
        writer.finish()
    with CaptureReader(path) as reader:
        assert [r.topic for r in reader.records()] == ["/video", "/notes"]
        (entry,) = reader.records("/notes")
    assert msgspec.json.decode(entry.body, type=Note) == Note(text="t")


def test_a_capture_without_chunks_or_index_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with open(path, "wb") as file:
        writer = Writer(file, use_chunking=False)
        writer.start()
        about = {"format": "bandwidth-call-capture", "format_version": "1.0"}
        writer.add_metadata("capture", about)
        channel = writer.register_channel(
            "/notes", "json", writer.register_schema("x", "jsonschema", b"{}")
        )
        for when in (5, 3, 4):
            writer.add_message(channel, when, b'{"text":"t"}', when, when)
        writer.finish()
    assert [r.sequence for r in everything(path)] == [3, 4, 5]


# -- cut and damaged files ---------------------------------------------------------------------


def offsets(size: int, count: int, seed: int) -> list[int]:
    return sorted(random.Random(seed).sample(range(size), min(count, size)))


@pytest.mark.parametrize("make", [record, record_unfinished])
def test_a_cut_file_gives_every_whole_chunk_before_the_cut(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    path = make(tmp_path / "a.mcap", seconds=5, per_second=4)
    whole, data = everything(path), path.read_bytes()
    with CaptureReader(path) as reader:
        ends = sorted(block.head.end for block in reader._blocks)
        counts = [len(reader._read_block(b)) for b in sorted(reader._blocks, key=lambda b: b[1][1])]
    cut = tmp_path / "cut.mcap"
    for size in [*offsets(len(data), 150, seed=1), *ends, *(end - 1 for end in ends)]:
        cut.write_bytes(data[:size])
        expected = sum(count for end, count in zip(ends, counts, strict=True) if end <= size)
        try:
            found = everything(cut)
        except CaptureError as error:
            assert error.file == cut and expected == 0
            continue
        assert len(found) == expected
        assert set(found) <= set(whole)


@pytest.mark.parametrize("make", [record, record_unfinished])
def test_a_damaged_file_gives_whole_records_or_an_error(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    path = make(tmp_path / "a.mcap", seconds=5, per_second=4)
    whole, data = set(everything(path)), path.read_bytes()
    bodies = {(r.sequence, r.body) for r in whole}
    generator = random.Random(2)
    bad = tmp_path / "bad.mcap"
    complete = 0
    for offset in offsets(len(data), 400, seed=3):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << generator.randrange(8)
        bad.write_bytes(flipped)
        try:
            with CaptureReader(bad) as reader:
                found = list(reader.records())
                repr(reader)
        except CaptureError:
            continue
        # A topic may be damaged where it stands without a CRC; a record is whole or not there.
        assert {(r.sequence, r.body) for r in found} <= bodies
        complete += len(found) == len(whole)
    assert complete > 20  # where the damage is in an index, nothing is lost


@pytest.mark.parametrize("make", [record, record_unfinished])
def test_blocks_of_zeros_and_of_noise_are_survived(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    path = make(tmp_path / "a.mcap", seconds=5, per_second=4)
    whole, data = set(everything(path)), path.read_bytes()
    bad = tmp_path / "bad.mcap"
    generator = random.Random(4)
    for offset in offsets(len(data), 40, seed=5):
        for filling in (bytes(512), generator.randbytes(512), b"\xff" * 512):
            damaged = bytearray(data)
            damaged[offset : offset + 512] = filling
            bad.write_bytes(damaged)
            try:
                found = everything(bad)
            except CaptureError:
                continue
            assert {r.body for r in found} <= {r.body for r in whole}


def test_a_message_index_that_turned_into_a_message_is_none(tmp_path: Path) -> None:
    path = record_unfinished(tmp_path / "a.mcap")
    whole = everything(path)
    with CaptureReader(path) as reader:
        offset = max(block.head.end for block in reader._blocks)
    data = bytearray(path.read_bytes())
    assert data[offset] == Opcode.MESSAGE_INDEX
    data[offset] = Opcode.MESSAGE  # one bit
    path.write_bytes(data)
    assert everything(path) == whole


def test_a_damaged_chunk_of_a_finished_file_costs_only_itself(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mcap", seconds=5)
    whole = everything(path)
    with CaptureReader(path) as reader:
        block = reader._blocks[2]
    data = bytearray(path.read_bytes())
    data[block.head.offset + block.head.length // 2] ^= 0xFF
    path.write_bytes(data)
    with CaptureReader(path) as reader:
        found = list(reader.records())
        assert reader.finished and len(reader.damage) == 1
        assert f"at byte {block.head.offset}" in reader.damage[0]
        list(reader.records())
        assert len(reader.damage) == 1
    assert 0 < len(whole) - len(found) < len(whole) / 2


def test_a_damaged_summary_is_not_believed(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mcap", seconds=3)
    whole, data = everything(path), path.read_bytes()
    start = int.from_bytes(data[-28:-20], "little")
    assert 0 < start < len(data) and int.from_bytes(data[-12:-8], "little")  # it has a CRC
    for offset in range(start, len(data) - 8, 41):
        damaged = bytearray(data)
        damaged[offset] ^= 0x10
        path.write_bytes(damaged)
        with CaptureReader(path) as reader:
            assert not reader.finished
            assert list(reader.records()) == whole


def test_a_chunk_that_claims_to_be_huge_is_not_unpacked(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mcap", seconds=2)
    with CaptureReader(path) as reader:
        head = reader._blocks[1].head
    data = bytearray(path.read_bytes())
    bomb = zstandard.compress(bytes(2**31 // 8))
    chunk = data[head.offset + 9 : head.offset + 9 + 16] + (2**28).to_bytes(8, "little")
    chunk += bytes(4) + (4).to_bytes(4, "little") + b"zstd" + len(bomb).to_bytes(8, "little") + bomb
    chunk += bytes(max(0, head.length - len(chunk)))
    data[head.offset + 1 : head.end] = len(chunk).to_bytes(8, "little") + chunk
    unfinished = tmp_path / "bomb.mcap"
    unfinished.write_bytes(data[: head.offset + 9 + len(chunk)])
    with CaptureReader(unfinished) as reader:
        list(reader.records())
        assert "268435456 bytes" in reader.damage[-1]


# -- what must not hurt the call ---------------------------------------------------------------


class SlowDisk:
    """A disk that hangs in the middle of a sync until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hangs = threading.Event()
        self.go = threading.Event()
        self.go.set()
        sync = partfile._sync

        def slow(fd: int) -> None:
            if not self.go.is_set():
                self.hangs.set()
                self.go.wait(30)
            sync(fd)

        monkeypatch.setattr(partfile, "_sync", slow)

    def hang(self) -> None:
        self.go.clear()


def test_a_disk_that_hangs_costs_records_and_not_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    disk = SlowDisk(monkeypatch)
    writer = CaptureWriter(tmp_path / "a.mcap", max_records=100)
    writer.flush()
    disk.hang()
    writer.record("/notes", BEGIN_NS, Note(text="before"))
    assert not writer.flush(wait=0.1)
    assert disk.hangs.wait(10)
    began = time.perf_counter()
    sequences = [writer.record("/ws/rx", BEGIN_NS + n, media(n)) for n in range(1, 1001)]
    took = time.perf_counter() - began
    assert took < 1.0 and sequences == list(range(1, 1001))
    assert len(writer._queue) == 100 and writer.dropped == 900
    disk.go.set()
    assert writer.flush()
    writer.record("/ws/rx", BEGIN_NS + 2000, media(2000))
    writer.close()

    with CaptureReader(writer.path) as reader:
        kept = [r.sequence for r in reader.records("/ws/rx")]
        stats = [msgspec.json.decode(r.body, type=Stats) for r in reader.records("/capture/stats")]
        assert reader.metadata["end"]["dropped"] == "900"
    assert kept == [*range(1, 101), 1001]  # the gap is what was dropped
    assert stats[0].dropped == 0 and stats[-1].dropped == 900
    assert max(s.fsync_ms for s in stats) > 50
    wait_for(lambda: warnings)
    assert len(warnings) == 1 and "queue is full" in warnings[0]


def wait_for(condition: Callable[[], object], secs: float = 10.0) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def test_the_queue_is_bounded_by_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk(monkeypatch)
    writer = CaptureWriter(tmp_path / "a.mcap", max_bytes=100_000)
    writer.flush()
    disk.hang()
    assert not writer.flush(wait=0.1)
    text = json.dumps({"text": "x" * 10_000})
    for _ in range(50):
        writer.record("/ws/rx", BEGIN_NS, text)
    assert len(writer._queue) == 9 and writer.dropped == 41
    disk.go.set()
    assert writer.flush()
    writer.record("/ws/rx", BEGIN_NS, text)  # what came out makes room
    writer.close()
    assert writer.dropped == 41


def test_a_disk_that_is_full_for_a_while_leaves_a_gap_and_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    full = threading.Event()
    write_at = partfile.write_at

    def limited(fd: int, offset: int, data: bytes) -> None:
        if full.is_set():
            write_at(fd, offset, data[: len(data) // 2])  # a torn record, as a full disk leaves it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_at(fd, offset, data)

    monkeypatch.setattr(partfile, "write_at", limited)
    writer = CaptureWriter(tmp_path / "a.mcap", max_records=50)
    fill(writer, seconds=1)
    full.set()
    for n in range(20):
        writer.record("/ws/tx", BEGIN_NS + n, media(n))
    assert not writer.flush()
    assert len(everything(writer.path)) > 20  # readable although the disk is full
    for n in range(100):
        writer.record("/ws/tx", BEGIN_NS + n, media(n))
    assert writer.dropped == 50
    full.clear()
    assert writer.flush()
    writer.record("/ws/tx", BEGIN_NS + 999, media(999))
    writer.close()
    with CaptureReader(writer.path) as reader:
        assert reader.finished and not reader.damage
        kept = sorted(r.sequence for r in reader.records("/ws/tx"))
        assert kept == [*range(1, 71), 121]
        assert reader.metadata["end"]["dropped"] == "50"
        assert not reader.damage
    assert len(warnings) == 1 and os.strerror(errno.ENOSPC) in warnings[0]


def test_a_disk_that_stays_full_costs_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, offset: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = CaptureWriter(tmp_path / "a.mcap", max_records=50)
    assert writer.flush()
    monkeypatch.setattr(partfile, "write_at", refuse)
    for _ in range(5):
        for n in range(50):
            writer.record("/ws/rx", BEGIN_NS + n, media(n))
        assert not writer.flush()
    # One queue's worth is packed and waits for the disk, one is in the queue.
    assert writer._packer.unwritten <= 52 and len(writer._queue) == 50
    assert writer.dropped == 150
    writer.close()


def test_a_disk_that_was_full_from_the_beginning_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    def refuse(fd: int, offset: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(partfile, "write_at", refuse)
    writer = CaptureWriter(tmp_path / "a.mcap")
    writer.record("/notes", BEGIN_NS, Note(text="x"))
    assert not writer.flush()
    writer.close()
    assert not os.listdir(tmp_path) and len(warnings) == 1
    assert writer not in recording._open and writer._reserved not in recording._names


def test_a_log_that_hangs_does_not_hold_up_a_record(tmp_path: Path) -> None:
    go, said = threading.Event(), threading.Event()

    def hang(message: object) -> None:
        said.set()
        go.wait(30)

    handler = logger.add(hang, level="WARNING")
    try:
        writer = CaptureWriter(tmp_path / "a.mcap", max_records=0)
        caller = threading.Thread(target=writer.record, args=("/ws/rx", BEGIN_NS, "{}"))
        caller.start()
        caller.join(15)
        assert not caller.is_alive() and said.wait(15) and writer.dropped == 1
    finally:
        go.set()
        logger.remove(handler)


def test_who_waits_for_the_disk_is_let_go_when_the_thread_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    writer = CaptureWriter(tmp_path / "a.mcap")
    assert writer.flush()
    monkeypatch.setattr(writer, "_drain", fail)
    began = time.monotonic()
    writer.flush(wait=60)
    assert time.monotonic() - began < 30
    assert writer.closed and writer not in recording._open


def test_a_file_that_cannot_be_let_go_of_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    assert writer.flush() and writer._packer._file
    fd, close = writer._packer._file.fd, os.close

    def fail(descriptor: int) -> None:
        close(descriptor)
        if descriptor == fd:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", fail)
        writer.close()
    assert writer not in recording._open and not warnings
    assert writer.path.name == "a.mcap" and everything(writer.path)


@pytest.mark.parametrize("written", [0.5, 0.999])
def test_what_a_full_disk_took_of_the_last_chunk_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: float
) -> None:
    full = threading.Event()
    write_at = partfile.write_at

    def limited(fd: int, offset: int, data: bytes) -> None:
        if full.is_set():
            # Sometimes all of a chunk gets there, and not all of the indexes behind it.
            write_at(fd, offset, data[: int(len(data) * written)])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_at(fd, offset, data)

    monkeypatch.setattr(partfile, "write_at", limited)
    writer = CaptureWriter(tmp_path / "a.mcap")
    fill(writer, seconds=2)
    full.set()
    for n in range(30):
        writer.record("/ws/tx", BEGIN_NS + n, media(n))
    assert not writer.flush()
    writer.close("EndFrame")
    assert writer.path.name == "a.mcap"
    with CaptureReader(writer.path) as reader:
        assert reader.finished and not list(reader.records("/ws/tx"))
        assert len(list(reader.records("/ws/rx"))) == 20
        assert reader.metadata["end"]["reason"] == "EndFrame"
        assert 30 <= int(reader.metadata["end"]["dropped"]) <= 32  # and up to two /capture/stats


FILL_THE_DISK = """
    import os, resource, sys
    from loguru import logger
    from tests.recordings import BEGIN_NS, CALL, fill
    from workbench.capture import CaptureWriter, LogRecord
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    warnings = []
    logger.remove()
    logger.add(lambda message: warnings.append(str(message)), level="WARNING")
    writer = CaptureWriter(sys.argv[1], call=CALL)
    refused = 0
    for second in range(400):
        for n in range(20):
            noise = os.urandom(300).hex()
            writer.record("/ws/rx", BEGIN_NS + second * 10**9 + n, '{"noise":"%s"}' % noise)
        refused += not writer.flush()
        if refused > 2:
            break
    writer.close()
    print(writer.path, writer.dropped, len(warnings), (second + 1) * 20, flush=True)
"""


def test_a_file_that_may_not_grow_any_more_still_gets_its_end(tmp_path: Path) -> None:
    with run_python(FILL_THE_DISK, tmp_path / "a.mcap") as process:
        assert process.stdout
        path, dropped, warnings, sent = process.stdout.read().split()
    assert process.returncode == 0 and int(warnings) == 1
    assert Path(path) == tmp_path / "a.mcap"
    with CaptureReader(path) as reader:
        assert reader.finished and not reader.damage
        kept = len(list(reader.records("/ws/rx")))
        end = reader.metadata["end"]
    assert kept > 20 and Path(path).stat().st_size <= 30_000
    # One record of our own goes with each chunk.
    assert int(sent) - kept <= int(end["dropped"]) <= int(sent) - kept + 5
    with open(path, "rb") as file:
        summary = make_reader(file, validate_crcs=True).get_summary()
        assert summary and summary.statistics
        assert str(summary.statistics.message_count) == end["messages"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root may mount")
def test_a_full_file_system_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no mounting here")
    try:
        code = FILL_THE_DISK.replace("(30_000, 30_000)", "(-1, -1)")
        with run_python(code, tmp_path / "a.mcap") as process:
            assert process.stdout
            path, _, warnings, _ = process.stdout.read().split()
        assert process.returncode == 0 and int(warnings) == 1
        with CaptureReader(path) as reader:
            assert reader.finished and not reader.damage
            assert int(reader.metadata["end"]["dropped"]) > 0
            assert len(list(reader.records("/ws/rx"))) > 20
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_directory_that_cannot_be_made_is_said_once(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").write_text("")
    writer = CaptureWriter(tmp_path / "file" / "a.mcap")
    for n in range(10):
        writer.record("/ws/rx", BEGIN_NS + n, media(n))
    assert not writer.flush()
    writer.close()
    assert writer.closed and writer.dropped >= 10
    assert len(warnings) == 1 and "call is not affected" in warnings[0]


def test_a_directory_that_is_deleted_is_made_again(tmp_path: Path, warnings: list[str]) -> None:
    writer = CaptureWriter(tmp_path / "calls" / "a.mcap", call=CALL)
    fill(writer, seconds=1)
    for _ in range(2):
        shutil.rmtree(tmp_path / "calls")
        fill(writer, seconds=1)
    writer.close()
    assert writer.path == tmp_path / "calls" / "a.mcap"
    with CaptureReader(writer.path) as reader:
        assert reader.finished and reader.metadata["call"] == CALL
        assert len(list(reader.records("/ws/rx"))) == 10
        assert int(reader.metadata["end"]["dropped"]) >= 42  # 21 records were deleted twice
    assert len(warnings) == 1 and "was deleted" in warnings[0]


def test_a_directory_that_is_deleted_at_the_end_stays_deleted(
    tmp_path: Path, warnings: list[str]
) -> None:
    writer = CaptureWriter(tmp_path / "calls" / "a.mcap")
    assert writer.flush()
    shutil.rmtree(tmp_path / "calls")
    assert writer.flush()
    writer.close()
    assert not os.listdir(tmp_path)
    assert len(warnings) == 1 and "was deleted" in warnings[0]


@pytest.mark.parametrize("renamed", ["calls", "calls/a.mcap.part"])
def test_what_is_renamed_meanwhile_is_completed_where_it_is(
    tmp_path: Path, warnings: list[str], renamed: str
) -> None:
    writer = CaptureWriter(tmp_path / "calls" / "a.mcap")
    fill(writer, seconds=1)
    (tmp_path / renamed).rename(tmp_path / "moved")
    fill(writer, seconds=1)
    writer.close()
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    with CaptureReader(path) as reader:
        assert reader.finished and len(list(reader.records("/ws/rx"))) == 20
    assert len(warnings) == 1 and "is complete, but could not be renamed" in warnings[0]
    assert writer.closed and writer not in recording._open


def test_a_name_that_cannot_be_given_is_not_taken_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    def refuse(old: Path, new: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    writer = CaptureWriter(tmp_path / "a.mcap")
    assert writer.flush()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        writer.close()
    assert os.listdir(tmp_path) == ["a.mcap.part"] and writer.path == tmp_path / "a.mcap.part"
    with CaptureReader(writer.path) as reader:
        assert reader.finished
    assert len(warnings) == 1 and "is complete, but could not be renamed" in warnings[0]


def test_a_relative_path_is_one_of_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    writer = CaptureWriter("calls/a.mcap")
    monkeypatch.chdir(tmp_path / "elsewhere")
    writer.close()
    assert writer.path == tmp_path / "calls" / "a.mcap" and everything(writer.path)
    assert not os.listdir(tmp_path / "elsewhere")


def test_a_directory_that_comes_later_is_used_then(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "d").write_text("")
    writer = CaptureWriter(tmp_path / "d" / "a.mcap")
    writer.record("/notes", BEGIN_NS, Note(text="early"))
    assert not writer.flush()
    (tmp_path / "d").unlink()
    assert writer.flush() and writer.flush()
    writer.close()
    assert len(list(CaptureReader(writer.path).records("/notes"))) == 1
    assert writer.dropped == 0


@pytest.mark.parametrize(
    ("topic", "time_ns", "body"),
    [
        ("/no/such/topic", BEGIN_NS, "{}"),
        ("/ws/rx", -(2**70), "{}"),
        ("/ws/rx", 2**70, "{}"),
        ("/ws/rx", None, "{}"),
        ("/ws/rx", BEGIN_NS, None),
        ("/ws/rx", BEGIN_NS, '{"a":"\ud800"}'),
        ("/ws/rx", BEGIN_NS, b"{}"),
        ("/frames/in/other", BEGIN_NS, OtherFrame(frame="F", fields={"a": object()})),
        ([], BEGIN_NS, "{}"),
    ],
)
def test_what_cannot_be_recorded_is_counted_and_said_once(
    tmp_path: Path, warnings: list[str], topic: Any, time_ns: Any, body: Any
) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")
    for _ in range(3):
        writer.record(topic, time_ns, body)
    writer.record("/notes", BEGIN_NS, Note(text="still here"))
    writer.close()
    assert writer.dropped == 3
    with CaptureReader(writer.path) as reader:
        assert len(list(reader.records("/notes"))) == 1
        assert reader.metadata["end"]["dropped"] == "3"
    wait_for(lambda: warnings)
    assert len(warnings) == 1


def test_records_from_many_threads_are_all_there(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap")

    def work(topic: str) -> None:
        for n in range(500):
            writer.record(topic, BEGIN_NS + n, '{"a":1}')

    threads = [threading.Thread(target=work, args=(t,)) for t in ("/ws/rx", "/ws/tx", "/notes")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert len([r for r in everything(writer.path) if not r.topic.startswith("/capture")]) == 1500


def test_it_closes_by_itself_when_it_is_quiet(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.mcap", quiet_secs=1.2)
    for _ in range(4):
        writer.record("/notes", time.monotonic_ns(), Note(text="not yet"))
        time.sleep(0.4)
    assert not writer.closed
    wait_for(lambda: not writer.path.name.endswith(".part"))
    assert writer.closed and writer.closed_idle
    with CaptureReader(writer.path) as reader:
        assert reader.metadata["end"]["reason"] == "idle"
        assert len(list(reader.records("/notes"))) == 4


# -- processes that end ------------------------------------------------------------------------

RECORD_AT_PACE = """
    import sys, time
    from tests.recordings import media
    from workbench.capture import CaptureWriter
    writer = CaptureWriter(sys.argv[1])
    writer.flush()
    n = 0
    while True:
        n += 1
        writer.record("/ws/rx", time.monotonic_ns(), media(n))
        print(n, time.monotonic_ns(), flush=True)
        time.sleep(0.02)
"""


def test_a_killed_process_leaves_all_but_about_a_second(tmp_path: Path) -> None:
    with run_python(RECORD_AT_PACE, tmp_path / "a.mcap") as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(130)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines()
    last_ns = int(lines[-1].split()[1])
    with CaptureReader(tmp_path / "a.mcap") as reader:
        assert not reader.finished
        records = list(reader.records("/ws/rx"))
        about = reader.metadata["capture"]
    offset = int(about["unix_anchor_ns"]) - int(about["monotonic_anchor_ns"])
    assert [r.sequence for r in records] == list(range(1, len(records) + 1))
    lost_secs = (last_ns - (records[-1].time_ns - offset)) / 1e9
    assert lost_secs < 2.0  # 1.1 on a machine that has nothing else to do


def test_a_process_that_just_exits_finishes_its_captures(tmp_path: Path) -> None:
    code = """
        import sys, time
        from workbench.capture import CaptureWriter, Note
        writers = [CaptureWriter(f"{sys.argv[1]}/{n}.mcap") for n in range(3)]
        for writer in writers:
            writer.record("/notes", time.monotonic_ns(), Note(text="last words"))
    """
    with run_python(code, tmp_path) as process:
        assert process.wait(30) == 0
    assert sorted(os.listdir(tmp_path)) == ["0.mcap", "1.mcap", "2.mcap"]
    for path in tmp_path.iterdir():
        with CaptureReader(path) as reader:
            assert reader.metadata["end"]["reason"] == "exit"
            assert len(list(reader.records("/notes"))) == 1


CHILDREN = """
    import multiprocessing, sys, warnings
    from tests.recordings import record_and_leave
    warnings.simplefilter("ignore")
    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[2])
        children = [
            context.Process(target=record_and_leave, args=(f"{sys.argv[1]}/{n}.mcap",))
            for n in range(2)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join()
        sys.exit(max(abs(child.exitcode) for child in children))
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_child_process_finishes_its_captures(tmp_path: Path, method: str) -> None:
    with run_python(CHILDREN, tmp_path, method) as process:
        assert process.wait(60) == 0
    assert sorted(os.listdir(tmp_path)) == ["0.mcap", "1.mcap"]
    for path in tmp_path.iterdir():
        with CaptureReader(path) as reader:
            assert reader.finished and len(list(reader.records("/notes"))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no signals here")
def test_a_process_that_a_signal_ends_may_finish_its_captures_before(tmp_path: Path) -> None:
    code = """
        import os, signal, sys, time
        from workbench.capture import CaptureWriter, Note
        from workbench.capture.recording import close_all
        writers = [CaptureWriter(f"{sys.argv[1]}/{n}.mcap") for n in range(3)]
        for writer in writers:
            writer.record("/notes", time.monotonic_ns(), Note(text="last words"))
        close_all(wait=30)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    """
    with run_python(code, tmp_path) as process:
        assert process.wait(60) == -signal.SIGTERM
    assert sorted(os.listdir(tmp_path)) == ["0.mcap", "1.mcap", "2.mcap"]
    for path in tmp_path.iterdir():
        assert len([r for r in everything(path) if r.topic == "/notes"]) == 1


def test_a_disk_that_hangs_for_ever_does_not_keep_the_process(tmp_path: Path) -> None:
    code = """
        import sys, threading
        from workbench.capture import partfile, recording
        recording._EXIT_SECS = 0.5
        writer = recording.CaptureWriter(sys.argv[1])
        writer.flush()
        partfile._sync = lambda fd: threading.Event().wait()
    """
    with run_python(code, tmp_path / "a.mcap") as process:
        assert process.wait(30) == 0
    assert everything(tmp_path / "a.mcap.part")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_leaves_the_file_to_its_parent(tmp_path: Path) -> None:
    code = """
        import os, sys, time, warnings
        warnings.simplefilter("ignore")
        from workbench.capture import CaptureWriter, Note
        writer = CaptureWriter(sys.argv[1])
        writer.flush()
        child = os.fork()
        writer.record("/notes", time.monotonic_ns(), Note(text="who?"))
        if child:
            os.waitpid(child, 0)
            writer.record("/notes", time.monotonic_ns(), Note(text="parent"))
        else:
            writer.close()
            files = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in range(100)]
            print(writer.closed, any(file.endswith(".part") for file in files))
    """
    with run_python(code, tmp_path / "a.mcap") as process:
        assert process.stdout and process.stdout.read().split() == ["True", "False"]
        assert process.wait(30) == 0
    assert os.listdir(tmp_path) == ["a.mcap"]
    with CaptureReader(tmp_path / "a.mcap") as reader:
        texts = [msgspec.json.decode(r.body, type=Note).text for r in reader.records("/notes")]
        assert reader.finished and not reader.damage
    assert texts == ["who?", "parent"]
