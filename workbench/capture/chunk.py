"""The records of about a second, on their way into one compressed chunk.

This runs two hundred times a second for each call, so it builds bytes and no objects: a record's
head is one ``struct``, its place in the index two integers in a list. What comes out is what the
stock MCAP writer makes of the same records, byte for byte but for the compression.

References:
    MCAP specification, "Message", "Chunk" and "Message Index": https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections import Counter, defaultdict
from typing import Final

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Schema

from workbench.capture.summary import Indexed

__all__ = ["ChunkBuilder"]

#: Of zstd. What is compressed is base64: nothing in it comes again but the words of JSON, and the
#: rest is in how often each letter does. So it is searched for long matches only, in a small table:
#: half a percent larger than at level 1, and than at the library's 3, in a tenth less time and in a
#: third. Below 0 the letters are not counted, and it grows by a third.
_PARAMETERS: Final = zstandard.ZstdCompressionParameters(
    compression_level=1, window_log=18, hash_log=12, min_match=7
)
#: Opcode, length, channel, sequence, log time, publish time.
_MESSAGE: Final = struct.Struct("<BQHIQQ")
_pack_message: Final = _MESSAGE.pack
_OP_MESSAGE: Final = int(Opcode.MESSAGE)
_MESSAGE_FIELDS: Final = _MESSAGE.size - 9
#: Opcode, length, first and last time, size and CRC of what is in it, length and name of the
#: compression, size of the compressed.
_CHUNK: Final = struct.Struct("<BQQQQII4sQ")
#: Opcode, length, channel, bytes of entries.
_INDEX: Final = struct.Struct("<BQHI")


class _Own(threading.local):
    """A compressor for each thread: making one takes a fifth of what compressing a second does."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(compression_params=_PARAMETERS).compress


_own: Final = _Own()


class ChunkBuilder:
    """Records that wait to become a chunk.

    Attributes:
        size: Their bytes so far, not compressed.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self.size = 0
        self._pieces: list[bytes] = []
        #: Of each channel: time, offset, time, offset, ...
        self._places: defaultdict[int, list[int]] = defaultdict(list)

    def __bool__(self) -> bool:
        """Whether there is any message: what is only declared makes no chunk."""
        return bool(self._places)

    def declare(self, record: Schema | Channel) -> None:
        """Add a schema or a channel."""
        builder = RecordBuilder()
        record.write(builder)
        piece = bytes(builder.end())  # type: ignore[no-untyped-call]
        self._pieces.append(piece)
        self.size += len(piece)

    def add(self, channel: int, sequence: int, log_time: int, data: bytes) -> None:
        """Add a message.

        Args:
            channel: Its number.
            sequence: Its number within the channel, less than 2**32.
            log_time: In nanoseconds since 1970, not negative.
            data: What it says.
        """
        length = _MESSAGE_FIELDS + len(data)
        head = _pack_message(_OP_MESSAGE, length, channel, sequence, log_time, log_time)
        size = self.size
        self._pieces += (head, data)
        self._places[channel] += (log_time, size)
        self.size = size + 9 + length

    def take(self, offset: int) -> tuple[bytes, Indexed]:
        """Make the chunk, and begin the next.

        Args:
            offset: Where in the file it will stand.

        Returns:
            The chunk with its message indexes, and its entry in the summary.
        """
        data = b"".join(self._pieces)
        times = [time for places in self._places.values() for time in places[::2]]
        span = (min(times), max(times))
        packed = _own.compress(data)
        size = _CHUNK.size + len(packed)
        head = _CHUNK.pack(
            Opcode.CHUNK, size - 9, *span, len(data), zlib.crc32(data), 4, b"zstd", len(packed)
        )
        pieces, places, end = [head, packed], {}, offset + size
        for channel, entries in self._places.items():
            length = 8 * len(entries)
            index = _INDEX.pack(Opcode.MESSAGE_INDEX, 6 + length, channel, length)
            pieces += (index, struct.pack(f"<{len(entries)}Q", *entries))
            places[channel] = end
            end += _INDEX.size + length
        counts = {channel: len(entries) // 2 for channel, entries in self._places.items()}
        entry = ChunkIndex(
            chunk_length=size,
            chunk_start_offset=offset,
            compression="zstd",
            compressed_size=len(packed),
            message_end_time=span[1],
            message_index_length=end - offset - size,
            message_index_offsets=places,
            message_start_time=span[0],
            uncompressed_size=len(data),
        )
        self.size = 0
        self._pieces.clear()
        self._places.clear()
        return b"".join(pieces), Indexed(index=entry, counts=Counter(counts))
