"""What stands behind the data of a finished file, by which it is read by time and topic.

The writer makes it of what it wrote, the recovery of what it found: the same summary.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    ChunkIndex,
    DataEnd,
    McapRecord,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.writer import MCAP0_MAGIC

__all__ = ["DATA_END", "Contents", "Indexed", "attachment_index", "packed", "summary"]


@dataclass(kw_only=True)
class Indexed:
    """A chunk in the index, and how many messages of each channel it has."""

    index: ChunkIndex
    counts: Counter[int] = field(default_factory=Counter)

    @property
    def messages(self) -> int:
        """How many it has."""
        return self.counts.total()


C = TypeVar("C", bound=Indexed)


@dataclass(kw_only=True)
class Contents(Generic[C]):
    """What is in a file, as its summary tells it."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[C] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    attachments: list[AttachmentIndex] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """How many are in its chunks."""
        return sum(chunk.messages for chunk in self.chunks)


def summary(found: Contents[C], start: int) -> bytes:
    """Everything behind the data.

    Args:
        found: What is in the file.
        start: Where in the file the summary begins, behind :data:`DATA_END`.
    """
    builder, offsets = RecordBuilder(), []
    groups: tuple[tuple[Opcode, Iterable[McapRecord]], ...] = (
        (Opcode.SCHEMA, found.schemas.values()),
        (Opcode.CHANNEL, found.channels.values()),
        (Opcode.STATISTICS, [_statistics(found)]),
        (Opcode.CHUNK_INDEX, [chunk.index for chunk in found.chunks]),
        (Opcode.ATTACHMENT_INDEX, found.attachments),
        (Opcode.METADATA_INDEX, found.metadata),
    )
    for opcode, records in groups:
        begin = builder.count
        for record in records:
            record.write(builder)
        if builder.count > begin:  # an offset of an empty group is an error to strict readers
            offsets.append(SummaryOffset(opcode, start + begin, builder.count - begin))
    offsets_start = start + builder.count
    for offset in offsets:
        offset.write(builder)
    text = bytes(builder.end())  # type: ignore[no-untyped-call]
    footer = struct.pack("<BQQQ", Opcode.FOOTER, 20, start, offsets_start)
    crc = zlib.crc32(footer, zlib.crc32(text))
    return text + footer + struct.pack("<I", crc) + MCAP0_MAGIC


def attachment_index(record: Attachment, offset: int, length: int) -> AttachmentIndex:
    """Its entry in the index.

    Args:
        record: The attachment.
        offset: Where in the file it stands.
        length: Of the record, with its head.
    """
    return AttachmentIndex(
        offset=offset,
        length=length,
        log_time=record.log_time,
        create_time=record.create_time,
        data_size=len(record.data),
        name=record.name,
        media_type=record.media_type,
    )


def packed(*records: McapRecord) -> bytes:
    """Some records, as they stand in a file."""
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return bytes(builder.end())  # type: ignore[no-untyped-call]


def _statistics(found: Contents[C]) -> Statistics:
    counts: Counter[int] = Counter()
    for chunk in found.chunks:
        counts.update(chunk.counts)
    spans: Sequence[ChunkIndex] = [chunk.index for chunk in found.chunks]
    return Statistics(
        attachment_count=len(found.attachments),
        channel_count=len(found.channels),
        channel_message_counts=dict(counts),
        chunk_count=len(found.chunks),
        message_count=counts.total(),
        message_end_time=max((span.message_end_time for span in spans), default=0),
        message_start_time=min((span.message_start_time for span in spans), default=0),
        metadata_count=len(found.metadata),
        schema_count=len(found.schemas),
    )


#: What ends the data.
DATA_END: Final = packed(DataEnd(0))
