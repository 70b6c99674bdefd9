"""Small captures made through the real writer, for the tests of the file itself."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from workbench.capture import AudioFrame, CaptureReader, CaptureWriter, LogRecord, Note, Record

#: On the monotonic clock, where the first record of :func:`record` is.
BEGIN_NS = 7_000_000_000_000
CALL = {"stream_id": "s-1", "call_id": "c-15ac"}
SERIALIZER = {"class": "tests.Serializer", "params": {"outbound_encoding": "PCMU"}}


def media(number: int) -> str:
    return f'{{"payload": "{"QUJD" * 53}", "sequenceNumber": "{number}", "eventType":"media"}}'


def fill(writer: CaptureWriter, seconds: int, per_second: int = 10) -> None:
    """Record so many seconds, a chunk for each, two records every 1/per_second s."""
    for second in range(seconds):
        for index in range(per_second):
            number = second * per_second + index + 1
            time_ns = BEGIN_NS + second * 10**9 + index * 10**9 // per_second
            cause = writer.record("/ws/rx", time_ns, media(number))
            frame = AudioFrame(
                data=number.to_bytes(2, "little") * 160,
                format="pcm-s16",
                sample_rate=8000,
                number_of_channels=1,
                frame="InputAudioRawFrame",
                cause=cause,
            )
            writer.record("/frames/in/audio", time_ns + 1000, frame)
        writer.record("/log", BEGIN_NS + second * 10**9, LogRecord(level=2, message="tick"))
        assert writer.flush()


def record(path: Path, seconds: int = 4, per_second: int = 10) -> Path:
    """A finished capture."""
    writer = CaptureWriter(path, call=CALL, serializer=SERIALIZER)
    fill(writer, seconds, per_second)
    writer.close()
    assert writer.dropped == 0
    return writer.path


def record_unfinished(path: Path, seconds: int = 4, per_second: int = 10) -> Path:
    """What a process leaves that is killed after so many seconds."""
    writer = CaptureWriter(path.with_name("live.mcap"), call=CALL, serializer=SERIALIZER)
    fill(writer, seconds, per_second)
    shutil.copyfile(writer.path, path)
    writer.close()
    writer.path.unlink()
    return path


def record_and_leave(path: Path) -> None:
    """What a child process does that ends without closing anything."""
    CaptureWriter(path).record("/notes", time.monotonic_ns(), Note(text="last words"))


def everything(path: Path) -> list[Record]:
    with CaptureReader(path) as reader:
        return list(reader.records())
