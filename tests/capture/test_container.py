"""The parser of chunks against the library's own, on whatever bytes there may be."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from mcap.data_stream import RecordBuilder
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC

from workbench.capture.container import UNREADABLE, Head, Unpacked, heads, unpack

NUMBERS = st.integers(0, 2**16 - 1)
TIMES = st.integers(0, 2**64 - 1)
MESSAGES = st.builds(
    Message, NUMBERS, TIMES, st.binary(max_size=60), TIMES, st.integers(0, 2**32 - 1)
)
DECLARED = st.one_of(
    st.builds(Schema, data=st.binary(max_size=30), encoding=st.text(min_size=1, max_size=9),
              name=st.text(min_size=1, max_size=9), id=NUMBERS),
    st.builds(Channel, id=NUMBERS, topic=st.text(min_size=1, max_size=9), metadata=st.just({"a": "b"}),
              message_encoding=st.just("json"), schema_id=NUMBERS),
)  # fmt: skip
#: A record that a later version may have: opcode and body.
UNKNOWN = st.tuples(st.integers(0x80, 0xFF), st.binary(max_size=40))
COMPRESSIONS = {"": bytes, "zstd": zstandard.compress}


def written(*records: McapRecord | tuple[int, bytes]) -> bytes:
    builder = RecordBuilder()
    for record in records:
        if isinstance(record, tuple):
            opcode, body = record
            builder.write(struct.pack("<BQ", opcode, len(body)) + body)
        else:
            record.write(builder)
    return bytes(builder.end())


def chunk_of(data: bytes, compression: str = "", crc: int | None = None) -> Chunk:
    return Chunk(
        compression=compression,
        data=COMPRESSIONS[compression](data),
        message_end_time=0,
        message_start_time=0,
        uncompressed_crc=zlib.crc32(data) if crc is None else crc,
        uncompressed_size=len(data),
    )


def unpacked(record: bytes) -> Unpacked:
    """Read one record, with something before and behind it in the file."""
    file = io.BytesIO(b"before" + record + b"\x05behind" * 9)
    return unpack(file, Head(record[0], 6, len(record) - 9))


def by_the_library(chunk: Chunk) -> list[tuple[int, int, int, bytes]]:
    records = breakup_chunk(chunk, validate_crc=True)
    return [
        (r.log_time, r.channel_id, r.sequence, r.data) for r in records if isinstance(r, Message)
    ]


def without_offsets(found: Unpacked) -> list[tuple[int, int, int, bytes]]:
    return [(time, channel, number, data) for time, _, channel, number, data in found.messages]


@given(st.lists(st.one_of(MESSAGES, DECLARED, UNKNOWN), max_size=12), st.sampled_from(["", "zstd"]))
def test_a_whole_chunk_gives_what_the_library_reads(records, compression):
    data = written(*records)
    chunk = chunk_of(data, compression)
    found = unpacked(written(chunk))
    assert without_offsets(found) == by_the_library(chunk)
    assert found.declared == [r for r in records if isinstance(r, Schema | Channel)]
    for time, offset, channel, number, body in found.messages:
        (at_offset,) = breakup_chunk(chunk_of(data[offset : offset + 31 + len(body)]))
        assert (at_offset.log_time, at_offset.data) == (time, body)
        assert (at_offset.channel_id, at_offset.sequence) == (channel, number)


@given(MESSAGES)
def test_a_message_outside_of_any_chunk_is_read(message):
    found = unpacked(written(message))
    assert found.messages == [
        (message.log_time, 0, message.channel_id, message.sequence, message.data)
    ]


@given(st.lists(st.one_of(MESSAGES, UNKNOWN), min_size=1, max_size=6), st.data())
def test_damage_that_no_crc_tells_is_refused_or_read_as_the_library_reads_it(records, data):
    damaged = bytearray(written(*records))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    chunk = chunk_of(bytes(damaged), crc=0)
    try:
        found = unpacked(written(chunk))
    except UNREADABLE:
        return
    if not found.declared:
        assert without_offsets(found) == by_the_library(chunk)
    assert all(data in damaged for *_, data in found.messages)


@given(st.lists(MESSAGES, min_size=1, max_size=4), st.data())
def test_a_chunk_cut_anywhere_without_a_crc_is_refused_unless_cut_between_records(records, data):
    whole = written(*records)
    size = data.draw(st.integers(0, len(whole) - 1))
    ends = {len(written(*records[:count])): count for count in range(len(records))}
    record = written(chunk_of(whole[:size], crc=0))
    if size in ends:
        assert len(unpacked(record).messages) == ends[size]
    else:
        with pytest.raises(UNREADABLE):
            unpacked(record)


@given(st.lists(MESSAGES, min_size=1, max_size=4), st.sampled_from(["", "zstd"]), st.data())
def test_a_wrong_byte_in_a_chunk_with_a_crc_never_changes_a_message(records, compression, data):
    chunk = chunk_of(written(*records), compression)
    record = bytearray(written(chunk))
    at = data.draw(st.integers(9 + 8 + 8, len(record) - 1))  # behind the times, which no CRC covers
    record[at] ^= data.draw(st.integers(1, 255))
    try:
        found = unpacked(bytes(record))
    except UNREADABLE:
        return
    if not any(record[9 + 24 : 9 + 28]):
        return  # no CRC any more
    assert without_offsets(found) in (by_the_library(chunk), [])


@pytest.mark.parametrize("length", [0, 1, 21, 2**63, 2**64 - 1])
def test_a_message_that_is_too_short_or_endless_is_refused(length):
    message = bytearray(written(Message(1, 2, b"x" * 40, 3, 4)))
    message[1:9] = length.to_bytes(8, "little")
    with pytest.raises(UNREADABLE):
        unpacked(written(chunk_of(bytes(message))))


def test_a_record_that_nobody_would_write_ends_the_walk(tmp_path):
    chunk = written(chunk_of(written(Message(1, 2, b"x", 3, 4))))
    path = tmp_path / "sparse"
    with open(path, "w+b") as file:
        file.write(MCAP0_MAGIC + chunk + struct.pack("<BQ", 6, 65 * 2**20))
        file.truncate(80 * 2**20)
        found = list(heads(file, 80 * 2**20))
    assert [(head.offset, head.end) for head in found] == [(8, 8 + len(chunk))]


def test_bytes_that_a_later_version_added_to_a_channel_are_passed_over():
    channel = Channel(id=7, topic="/t", message_encoding="json", metadata={}, schema_id=0)
    record = bytearray(written(channel)) + b"later"
    record[1:9] = (len(record) - 9).to_bytes(8, "little")
    found = unpacked(written(chunk_of(bytes(record) + written(Message(7, 1, b"{}", 1, 1)))))
    assert found.declared == [channel]
    assert [data for *_, data in found.messages] == [b"{}"]


def test_a_record_that_the_file_does_not_hold_is_refused():
    message = Message(1, 2, b"x" * 9, 3, 4)
    for record in (written(message), written(chunk_of(written(message)))):
        for size in range(len(record)):
            with pytest.raises(UNREADABLE):
                unpack(io.BytesIO(record[:size]), Head(record[0], 0, len(record) - 9))
