"""What the packer writes against what the library's own writer makes of the same records."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Chunk,
    ChunkIndex,
    Footer,
    McapRecord,
    MetadataIndex,
    SummaryOffset,
)
from mcap.stream_reader import StreamReader, get_chunk_data_stream
from mcap.writer import CompressionType, Writer

from workbench.capture.packer import _README, Packer
from workbench.capture.schema import FORMAT_VERSION, TOPICS

Chunks: TypeAlias = list[list[tuple[int, int, int, str]]]
ABOUT = {"capture": {"writer": "workbench 1"}, "call": {"call_id": "c-1"}}
MESSAGES = st.lists(
    st.tuples(
        st.integers(1, len(TOPICS)), st.integers(1, 2**32 - 1), st.integers(0, 2**62),
        st.text(st.characters(codec="utf-8"), max_size=40),
    ),
    min_size=1, max_size=30,
)  # fmt: skip


def stock(chunks: Chunks) -> bytes:
    """The same file by the library."""
    file = io.BytesIO()
    writer = Writer(file, chunk_size=2**24, compression=CompressionType.ZSTD)
    writer.start(library=ABOUT["capture"]["writer"])
    for name, values in ABOUT.items():
        writer.add_metadata(name, values)
    schemas: dict[str, int] = {}
    for topic, declared in TOPICS.items():
        if declared.schema not in schemas:
            text = msgspec.json.encode(declared.json_schema())
            schemas[declared.schema] = writer.register_schema(declared.schema, "jsonschema", text)
        about = {**declared.metadata, "schema_version": FORMAT_VERSION}
        writer.register_channel(topic, "json", schemas[declared.schema], about)
    for messages in chunks:
        for channel, sequence, time_ns, text in messages:
            writer.add_message(channel, time_ns, text.encode(), time_ns, sequence)
        writer.flush()
    writer.add_attachment(0, 0, "input_params.json", "application/json", b"{}")
    writer.add_attachment(0, 0, "README.md", "text/markdown", _README.encode())
    writer.add_metadata("end", {"reason": "close"})
    writer.finish()
    return file.getvalue()


def ours(chunks: Chunks, folder: Path) -> bytes:
    packer = Packer(folder / "a.mcap", 0)
    packer.begin(ABOUT)
    for messages in chunks:
        for channel, sequence, time_ns, text in messages:
            packer.add(channel, sequence, time_ns, text)
        packer.write_out()
    packer.finish(b"{}", {"reason": "close"})
    assert packer.path is not None
    packer.close()
    data = packer.path.read_bytes()
    packer.path.unlink()
    return data


def told(data: bytes) -> list[Any]:
    """What a file says, but for how it is compressed, where that has put the rest, and when."""
    file = io.BytesIO(data)
    return [plain(record) for record in StreamReader(file, emit_chunks=True).records]


def plain(record: McapRecord) -> Any:
    match record:
        case Chunk():
            stream, size = get_chunk_data_stream(record, validate_crc=True)
            times = (record.message_start_time, record.message_end_time)
            return times, record.compression, record.uncompressed_crc, stream.read(size)
        case ChunkIndex():
            times = (record.message_start_time, record.message_end_time)
            length, channels = record.message_index_length, list(record.message_index_offsets)
            return times, record.compression, record.uncompressed_size, length, channels
        case Attachment():
            return record.name, record.media_type, record.data
        case AttachmentIndex():
            return record.name, record.media_type, record.data_size, record.length
        case MetadataIndex():
            return record.name, record.length
        case SummaryOffset():
            return record.group_opcode, record.group_length
        case Footer():
            return Footer
        case _:
            return record


@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_a_file_says_what_the_library_would_have_written(chunks: Chunks) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = ours(chunks, Path(folder))
    assert told(data) == told(stock(chunks))
    # What says where something stands is right, too: by it the library finds all of it.
    reader = make_reader(io.BytesIO(data), validate_crcs=True)
    found = sorted((c.id, m.sequence, m.log_time, m.data) for _, c, m in reader.iter_messages())
    sent = [
        (channel, number, at, text.encode())
        for part in chunks
        for channel, number, at, text in part
    ]
    assert found == sorted(sent)
    assert [item.name for item in reader.iter_attachments()] == ["input_params.json", "README.md"]
    assert [item.name for item in reader.iter_metadata()] == [*ABOUT, "end"]
