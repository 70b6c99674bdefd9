"""The making of a capture file, without a thread: records in, MCAP chunks on the disk out.

Bytes are made in memory, and go to the file whole or not at all: where the disk refuses, the same
bytes are tried again later, so that a disk that was full for a while leaves a gap in the recording
and no damage in the file.

The stock MCAP writer would do for the format, but takes 5 us for a record, five times what the rest
of the packing takes: here only what is rare is written by its records.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from mcap.records import Attachment, Channel, Header, Metadata, MetadataIndex, Schema
from mcap.writer import MCAP0_MAGIC

from workbench.capture.chunk import ChunkBuilder
from workbench.capture.partfile import PartFile
from workbench.capture.recovery import complete
from workbench.capture.schema import FORMAT_VERSION, TOPICS, Body, Stamped, Time
from workbench.capture.summary import (
    DATA_END,
    Contents,
    Indexed,
    attachment_index,
    packed,
    summary,
)

__all__ = ["Packer"]

#: Far above what a second holds, so that chunks end by time and not by size.
_CHUNK_SIZE: Final = 16 * 2**20

_encode: Final = msgspec.json.Encoder().encode

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
        self._contents = Contents[Indexed]()
        self._chunk = ChunkBuilder()
        #: What is made and not yet on the disk, and where in the file the next byte goes.
        self._pending = bytearray()
        self._offset = 0
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
        self._append(MCAP0_MAGIC + packed(Header("", metadata["capture"]["writer"])))
        for name, values in metadata.items():
            self._add_metadata(name, values)
        schemas: dict[str, int] = {}
        for number, (topic, declared) in enumerate(TOPICS.items(), start=1):
            if declared.schema not in schemas:
                schemas[declared.schema] = len(schemas) + 1
                self._declare(
                    Schema(
                        id=len(schemas),
                        name=declared.schema,
                        encoding="jsonschema",
                        data=_encode(declared.json_schema()),
                    )
                )
            self._declare(
                Channel(
                    id=number,
                    topic=topic,
                    message_encoding="json",
                    schema_id=schemas[declared.schema],
                    metadata={**declared.metadata, "schema_version": FORMAT_VERSION},
                )
            )

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
        if type(body) is str:
            data = body.encode()
        else:
            if isinstance(body, Stamped) and body.timestamp is None:
                body.timestamp = Time(log_time // 1_000_000_000, log_time % 1_000_000_000)
            data = _encode(body)
        self._chunk.add(channel, sequence & 0xFFFFFFFF, log_time, data)
        self.messages += 1
        self.unwritten += 1
        if self._chunk.size > _CHUNK_SIZE:
            self._close_chunk()

    def write_out(self) -> None:
        """Close the chunk and bring all that is packed to the disk.

        Raises:
            OSError: If the disk refuses; nothing is lost, and the next call tries again.
        """
        began = time.perf_counter()
        self._close_chunk()
        closed = time.perf_counter()
        self.write_failed = True
        if self._file is None:
            self._file = PartFile(self._name, self._is_reserved)
        if self._pending:
            self._file.append(self._pending)
            self._pending = bytearray()
        self.write_failed = False
        self.unwritten = 0
        self.flush_ms = (closed - began) * 1e3
        self.fsync_ms = (time.perf_counter() - closed) * 1e3

    def finish(self, params: bytes, end: Mapping[str, str]) -> None:
        """Write the end.

        Args:
            params: The serializer's parameters, JSON, for the attachment.
            end: The metadata record ``end``.

        Raises:
            OSError: If the disk refuses.
        """
        self._close_chunk()
        self._attach("input_params.json", "application/json", params)
        self._attach("README.md", "text/markdown", _README.encode())
        self._add_metadata("end", end)
        self._append(DATA_END)
        self._append(summary(self._contents, self._offset))
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

    def _append(self, data: bytes) -> None:
        self._pending += data
        self._offset += len(data)

    def _declare(self, record: Schema | Channel) -> None:
        if isinstance(record, Schema):
            self._contents.schemas[record.id] = record
        else:
            self._contents.channels[record.id] = record
        self._chunk.declare(record)

    def _add_metadata(self, name: str, values: Mapping[str, str]) -> None:
        record = packed(Metadata(name=name, metadata=dict(values)))
        self._contents.metadata.append(MetadataIndex(self._offset, len(record), name))
        self._append(record)

    def _attach(self, name: str, media_type: str, data: bytes) -> None:
        now = time.time_ns()
        record = Attachment(
            create_time=now, log_time=now, name=name, media_type=media_type, data=data
        )
        text = packed(record)
        self._contents.attachments.append(attachment_index(record, self._offset, len(text)))
        self._append(text)

    def _close_chunk(self) -> None:
        if self._chunk:
            data, indexed = self._chunk.take(self._offset)
            self._contents.chunks.append(indexed)
            self._append(data)
