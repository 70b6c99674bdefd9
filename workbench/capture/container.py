"""MCAP one level below the library: records by their heads, whether or not the file has an end.

An MCAP file is a row of records, each with a head of nine bytes: opcode and length. Only a file
that was finished has, behind its data, the summary by which it is read by time and topic. ::

    magic  Header  Metadata*  (Chunk MessageIndex*)*  Attachment*  Metadata  DataEnd         data
    Schema* Channel* Statistics ChunkIndex* AttachmentIndex* MetadataIndex* SummaryOffset*   summary
    Footer  magic                                                                            end

Whatever the bytes are, reading them raises one of :data:`UNREADABLE` and asks for no memory that
the file does not justify.

References:
    MCAP specification, "File structure" and "Records": https://mcap.dev/spec.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple, TypeAlias

import zstandard
from lz4.frame import LZ4FrameDecompressor
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, Chunk, McapRecord, Metadata, Schema
from mcap.stream_reader import get_chunk_data_stream
from mcap.writer import MCAP0_MAGIC

__all__ = [
    "RECORD_LIMIT",
    "UNREADABLE",
    "Head",
    "Message",
    "Unpacked",
    "heads",
    "is_finished",
    "read_record",
    "unpack",
]

#: What reading a damaged record may raise.
UNREADABLE: Final = (
    McapError,
    ValueError,  # a CRC, an encoding, a seek
    struct.error,
    zstandard.ZstdError,
    RuntimeError,  # lz4
    OverflowError,
    MemoryError,
    EOFError,
)

#: Larger records are not read: a second of a busy call is 0.2 MB.
RECORD_LIMIT: Final = 64 * 2**20
_FOOTER: Final = struct.Struct("<BQQQI")
#: Length, channel, sequence and log time of a message whose opcode is known; its publish time is
#: passed over, and its data begin where this ends.
_MESSAGE: Final = struct.Struct("<xQHIQ8x")
_MESSAGE_FIELDS: Final = _MESSAGE.size - 9
_HEAD: Final = struct.Struct("<BQ")

#: Log time, offset in the unpacked chunk, channel, sequence, data. A plain tuple: an hour of a call
#: is half a million, and in this order they sort by time.
Message: TypeAlias = tuple[int, int, int, int, bytes]


class Head(NamedTuple):
    """Where a whole record stands.

    Parameters:
        opcode: What it is.
        offset: Of its first byte, the opcode.
        length: Of its body, which begins 9 bytes later.
    """

    opcode: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the first byte behind it."""
        return self.offset + 9 + self.length


def is_finished(file: BinaryIO) -> bool:
    """Whether the file has its beginning and its end, with a summary that is undamaged."""
    size = file.seek(0, os.SEEK_END)
    tail = _FOOTER.size + len(MCAP0_MAGIC)
    file.seek(0)
    if size < len(MCAP0_MAGIC) + tail or file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
        return False
    file.seek(size - tail)
    footer = file.read(tail)
    opcode, length, start, _, crc = _FOOTER.unpack_from(footer)
    if footer[-8:] != MCAP0_MAGIC or opcode != Opcode.FOOTER or length != _FOOTER.size - 9:
        return False
    if not 0 < start <= size - tail or size - start > RECORD_LIMIT:
        return False
    file.seek(start)
    covered = file.read(size - tail - start) + footer[: _FOOTER.size - 4]
    return crc in (0, zlib.crc32(covered))


def heads(file: BinaryIO, size: int, offset: int = len(MCAP0_MAGIC)) -> Iterator[Head]:
    """Walk over the whole records of the data section.

    Args:
        file: The file, seekable.
        size: How much of it to look at, in bytes: a live file grows.
        offset: Where to begin: behind the magic, or the end of a record.

    Yields:
        The head of each record, up to the end of the data or the first that is not whole.
    """
    while offset + 9 <= size:
        file.seek(offset)
        head = file.read(9)
        if len(head) < 9:
            return
        opcode, length = struct.unpack("<BQ", head)
        known = 0 < opcode <= Opcode.DATA_END or opcode >= 0x80  # those from 0x80 are private
        if not known or length > RECORD_LIMIT or offset + 9 + length > size:
            return
        if opcode in (Opcode.DATA_END, Opcode.FOOTER):
            return
        yield Head(opcode, offset, length)
        offset += 9 + length


def read_record(file: BinaryIO, head: Head) -> McapRecord:
    """Read one record that is not a message.

    Raises:
        UNREADABLE: If it is damaged, as far as one can tell without a CRC.
    """
    reader = _READERS.get(head.opcode)
    if reader is None:
        raise ValueError(f"no reader for opcode {head.opcode}")
    stream = ReadDataStream(io.BytesIO(_body(file, head)))
    return reader.read(stream)  # type: ignore[no-any-return,attr-defined]


class Unpacked(NamedTuple):
    """What stands in a chunk.

    Parameters:
        declared: Its schemas and channels.
        messages: Its messages, in the order in which they were written.
    """

    declared: list[Schema | Channel]
    messages: list[Message]


def unpack(file: BinaryIO, head: Head) -> Unpacked:
    """Unpack a chunk, or read a message that stands outside of any.

    Raises:
        UNREADABLE: If its CRC is wrong, or what is in it is not whole.
    """
    body = _body(file, head)
    if head.opcode == Opcode.MESSAGE:
        data = _HEAD.pack(head.opcode, head.length) + body
    else:
        data = _chunk_data(body)
    found = Unpacked([], [])
    fields, add, is_message = _MESSAGE.unpack_from, found.messages.append, int(Opcode.MESSAGE)
    offset, size = 0, len(data)
    while offset < size:
        if data[offset] == is_message:
            length, channel, sequence, log_time = fields(data, offset)
            end = offset + 9 + length
            if length < _MESSAGE_FIELDS or end > size:
                raise EOFError(f"a message of {length} bytes at byte {offset} of the chunk")
            add((log_time, offset, channel, sequence, data[offset + _MESSAGE.size : end]))
            offset = end
        else:
            offset = _declare(data, offset, found.declared)
    return found


def _chunk_data(body: bytes) -> bytes:
    chunk = Chunk.read(ReadDataStream(io.BytesIO(body)))
    size = chunk.uncompressed_size
    if size > RECORD_LIMIT:
        raise ValueError(f"a chunk of {size} bytes")
    # Else a wrong length would be allocated before it is found to be wrong.
    if chunk.compression == "zstd":
        if zstandard.frame_content_size(chunk.data) not in (-1, size):
            raise ValueError("the sizes of a chunk disagree")
    elif chunk.compression == "lz4":
        data = LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1)
        if len(data) != size:
            raise ValueError("the sizes of a chunk disagree")
        chunk.data, chunk.compression = data, ""
    stream, size = get_chunk_data_stream(chunk, validate_crc=True)
    return stream.read(size)


def _declare(data: bytes, offset: int, declared: list[Schema | Channel]) -> int:
    """Take a record that is not a message, if it is of a kind known here; return its end."""
    opcode, length = _HEAD.unpack_from(data, offset)
    body = offset + _HEAD.size
    end: int = body + length
    if end > len(data):
        raise EOFError(f"a record of {length} bytes at byte {offset} of the chunk")
    kind = _DECLARED.get(opcode)
    if kind is not None:
        declared.append(kind.read(ReadDataStream(io.BytesIO(data[body:end]))))
    return end


def _body(file: BinaryIO, head: Head) -> bytes:
    file.seek(head.offset + 9)
    body = file.read(head.length)
    if len(body) < head.length:
        raise EOFError(f"the file ends in the record at byte {head.offset}")
    return body


_DECLARED: Final[dict[int, type[Schema] | type[Channel]]] = {
    Opcode.SCHEMA: Schema,
    Opcode.CHANNEL: Channel,
}
_READERS: Final[dict[int, type[McapRecord]]] = {
    **_DECLARED,
    Opcode.METADATA: Metadata,
    Opcode.ATTACHMENT: Attachment,
}
