"""The making of a capture file, without a thread: records in, MCAP chunks on the disk out.

The stock MCAP writer writes into memory, and what it wrote goes to the file whole or not at all:
where the disk refuses, the same bytes are tried again later, so that a disk that was full for a
while leaves a gap in the recording and no damage in the file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from mcap.writer import CompressionType, Writer

from workbench.capture.partfile import PartFile
from workbench.capture.recovery import complete
from workbench.capture.schema import FORMAT_VERSION, TOPICS, Body, Stamped, Time

__all__ = ["Packer"]

#: Far above what a second holds, so that chunks end by time and not by size.
_CHUNK_SIZE: Final = 16 * 2**20

_README: Final = """\
One phone call through a Pipecat serializer, in the format bandwidth-call-capture.

/ws/rx, /ws/tx            the WebSocket messages, as they were
/frames/in, /frames/out   the frames that deserialize() made and that serialize() was given
/hang_up                  how an attempt to end the call came out
/pipeline                 what the pipeline said of itself
/log                      what the serializer logged or raised
/capture/clock, /stats    the clocks, and how the recording itself did
/notes                    marks made during the call

Every topic is JSON and carries its schema. Times are one monotonic clock that looks like UNIX time.
"""


class Packer:
    """One capture file in the making.

    Attributes:
        messages: Records that were packed.
        unwritten: How many of them are not on the disk.
        write_failed: Whether the last :meth:`write_out` failed and its bytes still wait.
        flush_ms: What packing took in the last :meth:`write_out`.
        fsync_ms: What the disk took in it.
    """

    def __init__(
        self,
        name: Path,
        offset_ns: int,
        is_reserved: Callable[[Path], bool] = lambda path: False,
    ) -> None:
        """Begin in memory; the file is created by the first :meth:`write_out`.

        Args:
            name: The name that the file shall have in the end.
            offset_ns: UNIX time minus monotonic time.
            is_reserved: As for :class:`workbench.capture.partfile.PartFile`.
        """
        self._name = name
        self._is_reserved = is_reserved
        self._offset_ns = offset_ns
        self._file: PartFile | None = None
        self._spool = _Spool()
        self._writer = Writer(
            self._spool,  # type: ignore[arg-type]
            chunk_size=_CHUNK_SIZE,
            compression=CompressionType.ZSTD,
        )
        self.messages = 0
        self.unwritten = 0
        self.write_failed = False
        self.flush_ms = 0.0
        self.fsync_ms = 0.0

    @property
    def path(self) -> Path | None:
        """Where the file is, once it is made."""
        return self._file.path if self._file else None

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._file.size if self._file else 0

    @property
    def is_deleted(self) -> bool:
        """Whether somebody deleted the file that was made."""
        return self._file is not None and self._file.is_deleted

    def begin(self, metadata: Mapping[str, Mapping[str, str]]) -> None:
        """Declare what the file is about, and every topic.

        Args:
            metadata: ``capture``, ``call``, ``serializer``, and ``labels`` if there are any.
        """
        self._writer.start(library=metadata["capture"]["writer"])
        for name, values in metadata.items():
            self._writer.add_metadata(name, dict(values))
        schemas: dict[str, int] = {}
        for topic, declared in TOPICS.items():
            if declared.schema not in schemas:
                text = msgspec.json.encode(declared.json_schema())
                schemas[declared.schema] = self._writer.register_schema(
                    declared.schema, "jsonschema", text
                )
            about = {**declared.metadata, "schema_version": FORMAT_VERSION}
            self._writer.register_channel(topic, "json", schemas[declared.schema], about)

    def add(self, channel: int, sequence: int, time_ns: int, body: str | Body) -> None:
        """Pack one record.

        Args:
            channel: Number of the topic in :data:`workbench.capture.schema.TOPICS`, from 1.
            sequence: Its number within the topic.
            time_ns: When it happened, on the monotonic clock.
            body: JSON text or a typed body.

        Raises:
            ValueError: If it has no time that can be written, or no UTF-8 text.
            TypeError: If the body cannot be JSON.
        """
        log_time = int(time_ns) + self._offset_ns
        if not 0 <= log_time < 2**63:
            raise ValueError(f"{time_ns} ns is no time")
        if isinstance(body, str):
            data = body.encode()
        else:
            if isinstance(body, Stamped) and body.timestamp is None:
                body.timestamp = Time.from_ns(log_time)
            data = msgspec.json.encode(body)
        self._writer.add_message(channel, log_time, data, log_time, sequence & 0xFFFFFFFF)
        self.messages += 1
        self.unwritten += 1

    def write_out(self) -> None:
        """Close the chunk and bring all that is packed to the disk.

        Raises:
            OSError: If the disk refuses; nothing is lost, and the next call tries again.
        """
        began = time.perf_counter()
        self._writer.flush()  # type: ignore[no-untyped-call]
        packed = time.perf_counter()
        self.write_failed = True
        if self._file is None:
            self._file = PartFile(self._name, self._is_reserved)
        if self._spool.pending:
            self._file.append(self._spool.pending)
            self._spool.pending = bytearray()
        self.write_failed = False
        self.unwritten = 0
        self.flush_ms = (packed - began) * 1e3
        self.fsync_ms = (time.perf_counter() - packed) * 1e3

    def finish(self, params: bytes, end: Mapping[str, str]) -> None:
        """Write the end.

        Args:
            params: The serializer's parameters, JSON, for the attachment.
            end: The metadata record ``end``.

        Raises:
            OSError: If the disk refuses.
        """
        now = time.time_ns()
        self._writer.add_attachment(now, now, "input_params.json", "application/json", params)
        self._writer.add_attachment(now, now, "README.md", "text/markdown", _README.encode())
        self._writer.add_metadata("end", dict(end))
        self._writer.finish()  # type: ignore[no-untyped-call]
        self.write_out()

    def finish_truncated(self, reason: str, dropped: int) -> None:
        """Drop what could not be written, and if need be the last chunks, so that the end fits.

        Args:
            reason: Why it ends.
            dropped: How many records are missing.

        Raises:
            OSError: If the disk has no room even so. What is whole in the file can be read.
            CaptureError: If nothing is.
        """
        if self._file is None:
            return
        if self._file.size == 0:
            self._file.path.unlink(missing_ok=True)
            self.close()
            self._file = None
            return
        os.ftruncate(self._file.fd, self._file.size)
        with open(os.dup(self._file.fd), "r+b", buffering=0) as file:
            complete(file, self._file.path, reason=reason, dropped=dropped)

    def publish(self) -> None:
        """Give the file, where there is one, its name.

        Raises:
            OSError: If it cannot be renamed; it then keeps the name that it has.
        """
        if self._file is not None:
            self._file.publish()

    def close(self) -> None:
        """Let go of the file, finished or not."""
        if self._file:
            self._file.close()


class _Spool:
    """What the stock writer takes for a file: it keeps what is to be written, and the offset."""

    def __init__(self) -> None:
        self.pending = bytearray()
        self._offset = 0

    def write(self, data: bytes) -> None:
        self.pending += data
        self._offset += len(data)

    def tell(self) -> int:
        return self._offset

    def flush(self) -> None:
        pass
