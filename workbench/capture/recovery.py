"""Giving a file the end that it lacks, because its process was killed or its disk was full.

A killed process leaves a file cut somewhere in its last record, a lost power supply perhaps with
blocks of zeros in its place. Everything before the cut is whole, since nothing is ever written
twice: the tail is cut off, and behind what is left stands the summary that the writer would have
written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import (
    Attachment,
    Channel,
    ChunkIndex,
    McapRecord,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
)
from mcap.writer import MCAP0_MAGIC

from workbench.capture.container import (
    UNREADABLE,
    Head,
    Message,
    heads,
    is_finished,
    read_record,
    unpack,
)
from workbench.capture.partfile import SUFFIX, lock, publish, write_at
from workbench.capture.schema import FORMAT, Stats
from workbench.capture.summary import (
    DATA_END,
    Contents,
    Indexed,
    attachment_index,
    packed,
    summary,
)
from workbench.exceptions import CaptureError

__all__ = ["Recovery", "complete", "finish_in_place"]

#: A torn tail is the record that was being written. More than this behind the last whole record
#: means damage in the middle, and cutting there would throw away good seconds.
_TAIL_LIMIT: Final = 16 * 2**20
#: So many of the last chunks are unpacked to check their CRC: what a lost power supply may hurt.
_VERIFIED: Final = 8
_NO_SPACE: Final = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@dataclass(frozen=True)
class Recovery:
    """What became of an unfinished file.

    Parameters:
        path: Where it is now.
        chunks: How many chunks it has, about one a second.
        messages: How many records.
        kept_bytes: Size of what was whole.
        dropped_bytes: Size of the torn tail.
        why: Why it ends there; empty if it ended between two records.
    """

    path: Path
    chunks: int
    messages: int
    kept_bytes: int
    dropped_bytes: int
    why: str


def finish_in_place(path: str | Path) -> Recovery:
    """Give the file of a killed process its end, so that every MCAP reader opens it.

    Only what is torn at its tail is cut off. ``name.mcap.part`` becomes ``name.mcap``. A file that
    is finished already is left as it is.

    Args:
        path: The file.

    Returns:
        What became of it.

    Raises:
        CaptureError: If it is still being written, or not a capture, or damaged far before its
            end, where cutting would lose good records. It is then as it was.
        OSError: If it cannot be written; finishing may then be tried again.
    """
    path = Path(path)
    try:
        file = open(path, "r+b", buffering=0)
    except OSError as error:
        raise CaptureError(path, error.strerror or str(error)) from error
    with file:
        if not lock(file.fileno()):
            raise CaptureError(path, "still being written")
        if is_finished(file):
            done = Recovery(path, *_counted(path), file.seek(0, os.SEEK_END), 0, "")
        else:
            done = complete(file, path, reason="recovered")
        if path.name.endswith(SUFFIX):
            done = replace(done, path=publish(path))
    return done


def complete(file: BinaryIO, path: Path, *, reason: str, dropped: int | None = None) -> Recovery:
    """Cut the torn tail of an open file and write its end behind what is whole.

    Where the disk has no room even for the end, the last chunks make room for it.

    Args:
        file: The file, open for reading and writing, unbuffered.
        path: Its name, for the error.
        reason: Why it ends, as ``end`` will say, unless it says so already.
        dropped: How many records were not recorded; ``None`` for what the last ``/capture/stats``
            says.

    Returns:
        What became of it.

    Raises:
        CaptureError: As for :func:`finish_in_place`.
        OSError: If it cannot be written.
    """
    size = file.seek(0, os.SEEK_END)
    found = _survey(file, path, size)
    if dropped is None:
        dropped = found.dropped
    while True:
        try:
            _write_end(file, found, reason, dropped)
            break
        except OSError as error:
            if error.errno not in _NO_SPACE or not found.chunks:
                raise
            last = found.chunks.pop()
            dropped += last.messages
            found.cut(last.head.offset)
    return Recovery(path, len(found.chunks), found.messages, found.end, size - found.end, found.why)


@dataclass(kw_only=True)
class _Chunk(Indexed):
    """A chunk where it stands."""

    head: Head
    rebuilt: bytes = b""

    @property
    def end(self) -> int:
        """Offset behind its message indexes."""
        return self.head.end + self.index.message_index_length


@dataclass(kw_only=True)
class _Survey(Contents[_Chunk]):
    """What is whole in a file."""

    end: int = len(MCAP0_MAGIC)
    why: str = ""
    dropped: int = 0

    def cut(self, offset: int) -> None:
        """Let the file end here."""
        self.end = offset
        self.metadata = [index for index in self.metadata if index.offset < offset]
        self.attachments = [index for index in self.attachments if index.offset < offset]

    def learn(self, file: BinaryIO, chunk: _Chunk) -> list[Message]:
        """Unpack a chunk for the schemas and channels in it; return its messages."""
        declared, messages = unpack(file, chunk.head)
        for record in declared:
            if isinstance(record, Schema):
                self.schemas.setdefault(record.id, record)
            else:
                self.channels.setdefault(record.id, record)
        return messages


def _survey(file: BinaryIO, path: Path, size: int) -> _Survey:
    """Find out what is whole, unpacking as little as possible."""
    file.seek(0)
    if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
        raise CaptureError(path, "not an MCAP file", 0)
    found = _Survey()
    is_ours = False
    for head in heads(file, size):
        try:
            record = _take(file, found, head)
        except UNREADABLE as error:
            # If whole records follow, it is left where it is, and not in the summary.
            found.why = f"{type(error).__name__} at byte {head.offset}: {error}"
            continue
        found.end = head.end
        if isinstance(record, Metadata) and record.name == "capture":
            is_ours = record.metadata.get("format") == FORMAT
    if found.end < size and not found.why:
        found.why = f"torn record at byte {found.end}"
    if not is_ours:
        cut = found.end < size and not found.chunks
        why = "cut off before its first record" if cut else f"an MCAP file, but no {FORMAT}"
        raise CaptureError(path, why, found.end)
    if size - found.end > _TAIL_LIMIT:
        raise CaptureError(path, "damaged far before its end", found.end)
    _check_tail(file, found)
    return found


def _take(file: BinaryIO, found: _Survey, head: Head) -> McapRecord | None:
    """Add one record to what was found; return it if it was read whole."""
    length = head.length + 9
    match head.opcode:
        case Opcode.CHUNK:
            found.chunks.append(_Chunk(head=head, index=_index(file, head)))
        case Opcode.MESSAGE_INDEX:
            file.seek(head.offset + 9)
            channel, entries = struct.unpack("<HI", file.read(6))
            chunk = found.chunks[-1] if found.chunks else None
            if chunk is None or chunk.end != head.offset or entries != head.length - 6:
                raise ValueError("a message index that belongs to no chunk")
            if channel not in found.channels:
                found.learn(file, chunk)
            chunk.index.message_index_offsets[channel] = head.offset
            chunk.index.message_index_length += length
            chunk.counts[channel] = entries // 16
        case Opcode.METADATA | Opcode.ATTACHMENT | Opcode.SCHEMA | Opcode.CHANNEL:
            record = read_record(file, head)
            if isinstance(record, Metadata):
                found.metadata.append(MetadataIndex(head.offset, length, record.name))
            elif isinstance(record, Attachment):
                found.attachments.append(attachment_index(record, head.offset, length))
            elif isinstance(record, Schema):
                found.schemas[record.id] = record
            elif isinstance(record, Channel):
                found.channels[record.id] = record
            return record
        case Opcode.MESSAGE:
            raise ValueError("a message outside of any chunk")
    return None


def _index(file: BinaryIO, head: Head) -> ChunkIndex:
    """Make a chunk's entry in the index from its first bytes."""
    file.seek(head.offset + 9)
    fields = file.read(min(head.length, 64))
    start, end, uncompressed, _, name = struct.unpack_from("<QQQII", fields)
    if 40 + name > len(fields):
        raise ValueError("a chunk without contents")
    compression = fields[32 : 32 + name].decode()
    return ChunkIndex(
        chunk_length=head.length + 9,
        chunk_start_offset=head.offset,
        compression=compression,
        compressed_size=head.length - 40 - name,
        message_end_time=end,
        message_index_length=0,
        message_index_offsets={},
        message_start_time=start,
        uncompressed_size=uncompressed,
    )


def _check_tail(file: BinaryIO, found: _Survey) -> None:
    """Unpack the last chunks: after power loss a chunk may look whole and be corrupt."""
    counted = False
    for chunk in reversed(found.chunks[-_VERIFIED:]):
        is_last = chunk.end == found.end
        try:
            messages = found.learn(file, chunk)
        except UNREADABLE as error:
            found.why = f"{type(error).__name__} at byte {chunk.head.offset}: {error}"
            found.chunks.remove(chunk)
            if is_last:  # else it stays where it is, and is not in the summary
                found.cut(chunk.head.offset)
            continue
        counts = Counter(channel for _, _, channel, _, _ in messages)
        if is_last and counts != chunk.counts:
            # The file was cut between this chunk and the end of its message indexes.
            found.cut(chunk.head.end)
            _rebuild_indexes(chunk, messages)
            chunk.counts = counts
        if not counted:
            found.dropped = _dropped(found, messages)
            counted = True


def _rebuild_indexes(chunk: _Chunk, messages: list[Message]) -> None:
    indexes: dict[int, MessageIndex] = {}
    for log_time, offset, channel, _, _ in messages:
        index = indexes.setdefault(channel, MessageIndex(channel, []))
        index.records.append((log_time, offset))
    builder = RecordBuilder()
    chunk.index.message_index_offsets = {}
    for channel, index in indexes.items():
        chunk.index.message_index_offsets[channel] = chunk.head.end + builder.count
        index.write(builder)
    chunk.index.message_index_length = builder.count
    chunk.rebuilt = bytes(builder.end())  # type: ignore[no-untyped-call]


def _dropped(found: _Survey, messages: list[Message]) -> int:
    """What the last ``/capture/stats`` of a chunk says; every chunk but the first has one."""
    for _, _, number, _, body in reversed(messages):
        channel = found.channels.get(number)
        if channel and channel.topic == "/capture/stats":
            with contextlib.suppress(msgspec.DecodeError):
                return msgspec.json.decode(body, type=Stats).dropped
    return 0


def _write_end(file: BinaryIO, found: _Survey, reason: str, dropped: int) -> None:
    os.ftruncate(file.fileno(), found.end)
    tail = found.chunks[-1].rebuilt if found.chunks else b""
    metadata = list(found.metadata)
    if not any(index.name == "end" for index in metadata):
        said = {"reason": reason, "dropped": str(dropped), "messages": str(found.messages)}
        end = packed(Metadata("end", said))
        metadata.append(MetadataIndex(found.end + len(tail), len(end), "end"))
        tail += end
    tail += DATA_END
    tail += summary(replace(found, metadata=metadata), found.end + len(tail))
    write_at(file.fileno(), found.end, tail)


def _counted(path: Path) -> tuple[int, int]:
    """Chunks and messages of a finished file."""
    try:
        with open(path, "rb") as file:
            found = SeekingReader(file).get_summary()
    except UNREADABLE as error:
        raise CaptureError(path, f"its summary is damaged: {error}") from error
    statistics = found.statistics if found else None
    return (statistics.chunk_count, statistics.message_count) if statistics else (0, 0)
