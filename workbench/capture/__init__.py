"""The file of one call: :class:`CaptureWriter` makes it, :class:`CaptureReader` opens it.

One MCAP file per call: append-only, a compressed and checksummed chunk each second, its index at
the end. What stands in it is :mod:`workbench.capture.schema`; how it is written beside a live call,
:mod:`workbench.capture.recording`; what can be done for one that was cut off, :mod:`workbench.capture.recovery`.

The reader takes what there is: a finished file by its index, any other by walking over its records
up to the cut, be it still being written, left by a killed process, or damaged. It is the gate: what
a file claims beyond its :class:`workbench.budget.Budget` does not get past it.
"""

from __future__ import annotations

import os
import weakref
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, McapRecord, Metadata
from mcap.writer import MCAP0_MAGIC

from workbench.budget import Budget, usual
from workbench.capture.container import (
    RECORD_LIMIT,
    UNREADABLE,
    Head,
    Message,
    heads,
    is_finished,
    read_record,
    unpack,
)
from workbench.capture.partfile import SUFFIX
from workbench.capture.recording import CaptureWriter
from workbench.capture.schema import (
    FORMAT,
    FORMAT_VERSION,
    AudioFrame,
    Clock,
    HangUp,
    Invalid,
    LogRecord,
    Note,
    OtherFrame,
    Pipeline,
    Stats,
    Time,
    Words,
)
from workbench.exceptions import CaptureError

__all__ = [
    "AudioFrame",
    "CaptureReader",
    "CaptureWriter",
    "Clock",
    "HangUp",
    "Invalid",
    "LogRecord",
    "Note",
    "OtherFrame",
    "Pipeline",
    "Record",
    "Refused",
    "Stats",
    "Time",
    "Words",
]


class Record(NamedTuple):
    """One record of a capture.

    Parameters:
        topic: What it is: one of :data:`workbench.capture.schema.TOPICS`, or one that this version does
            not know.
        time_ns: When it happened: looks like UNIX time in nanoseconds, is monotonic.
        sequence: Its number within the topic; a gap is what the recording dropped.
        body: JSON text.
    """

    topic: str
    time_ns: int
    sequence: int
    body: bytes


class Refused(NamedTuple):
    """A record that was passed over, since it makes no sense.

    Parameters:
        topic: As of a :class:`Record`.
        time_ns: Likewise.
        sequence: Likewise.
        why: What is wrong with it.
    """

    topic: str
    time_ns: int
    sequence: int
    why: str


#: Records of which a call of any length may have 1,000 a second and more: a burst.
_AT_FIRST: Final = 100_000
#: Times beyond it, in the year 2262, are no times: a signed number of 64 bits cannot hold them.
_LAST_NS: Final = 2**63

#: What is said of a file whose end is torn begins so.
_CUT: Final = "cut at byte"

#: Behind all times.
_EVER: Final = 2**64

#: The same as calling the class, in half the time.
_record: Final = partial(tuple.__new__, Record)


class _Block(NamedTuple):
    """A chunk, or a message outside of any: what is read at once."""

    start_ns: int
    head: Head


class _Waiting:
    """Messages of blocks that overlap in time, on their way into one order.

    Blocks hardly ever do, and then the pieces are long: but there may be thousands in one moment.
    """

    def __init__(self) -> None:
        #: Time of the next message of each block, the block's number, where it is, and all of it.
        self._heap: list[tuple[int, int, int, list[Message]]] = []
        self._count = 0

    def add(self, messages: list[Message]) -> None:
        """Add the messages of a block."""
        if messages:
            messages.sort(key=itemgetter(0))  # of the same time: as they were written
            self._count += 1
            heappush(self._heap, (messages[0][0], self._count, 0, messages))

    def until(self, time_ns: int) -> list[Message]:
        """Take out, in order, all that were before a time."""
        ready: list[Message] = []
        heap = self._heap
        while heap and heap[0][0] < time_ns:
            first_ns, number, at, messages = heappop(heap)
            # Up to where another block goes on; of the same time, the earlier block's come first.
            limit = min(time_ns, max(heap[0][0], first_ns + 1)) if heap else time_ns
            end = bisect_left(messages, (limit,), at)
            ready += messages[at:end]
            if end < len(messages):
                heappush(heap, (messages[end][0], number, end, messages))
        return ready


@dataclass
class _Taken:
    """How far a file was read.

    Parameters:
        records: How many messages.
        size: Their bytes.
        until_ns: Time of the last of them that tells of the call: the recording tells of itself
            when it writes, which is later.
    """

    records: int = 0
    size: int = 0
    until_ns: int = 0


class CaptureReader:
    """Opens a capture: finished, still being written, cut off or damaged.

    A context manager; without it the file is closed when the reader is no longer used.

    Attributes:
        path: The file.
        metadata: ``capture``, ``call``, ``serializer``, ``labels`` if there are any and, once
            finished, ``end``.
        finished: Whether the file has its end.
        damage: What could not be read, in sentences; grows while :meth:`records` is read.
        budget: What it may claim.
    """

    def __init__(self, path: str | Path, budget: Budget | None = None) -> None:
        """Open it and read its metadata.

        Args:
            path: The file. While ``name.mcap`` does not exist yet, ``name.mcap.part`` is taken.
            budget: What it may claim; by default :func:`workbench.budget.usual`.

        Raises:
            CaptureError: If it is missing, or empty, or not a capture, or of a newer major version,
                or claims more than its budget.
        """
        self.path = Path(path)
        self.budget = budget or usual()
        part = self.path.with_name(self.path.name + SUFFIX)
        if not os.path.exists(self.path) and os.path.exists(part):
            self.path = part
        try:
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            self._close = weakref.finalize(self, os.close, fd)
            self._file = open(fd, "rb", closefd=False)
            self._size = os.fstat(fd).st_size
            magic = self._file.read(len(MCAP0_MAGIC))
        except OSError as error:
            raise CaptureError(self.path, error.strerror or str(error)) from error
        if magic != MCAP0_MAGIC:
            raise CaptureError(self.path, _not_mcap(magic), 0)

        self.metadata: dict[str, dict[str, str]] = {}
        self.damage: list[str] = []
        self._topics: dict[int, str] = {}
        self._blocks: list[_Block] = []
        self._claimed = 0
        self._told = 0
        self._walked = len(MCAP0_MAGIC)  # up to where the file was looked at
        self._taken = _Taken()
        self.finished = is_finished(self._file) and self._read_index()
        if not self.finished:
            self._walk()
        self.budget.check(self.path, "unpacked_bytes", self._claimed)
        self._check_format()

    def __enter__(self) -> CaptureReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "finished" if self.finished else "unfinished"
        return f"<CaptureReader {str(self.path)!r} {state}>"

    def close(self) -> None:
        """Close the file."""
        self._close()

    def records(self, *topics: str) -> Iterator[Record]:
        """Read records in the order of their time.

        Args:
            topics: Those wanted; none given, all. One that the file does not have is no error.

        Yields:
            The records. A damaged chunk is left out and noted in :attr:`damage`, and a record that
            makes no sense is left out: see :meth:`sifted`.

        Raises:
            CaptureError: If the file cannot be read any more, or holds more than its budget.
        """
        return (record for record in self.sifted(*topics) if type(record) is Record)

    def sifted(self, *topics: str) -> Iterator[Record | Refused]:
        """Read records as :meth:`records` does, and those that make no sense, as such."""
        self._taken = _Taken()
        return self._go_on(self._blocks, topics)

    def more(self) -> Iterator[Record | Refused] | None:
        """Read on in a file that grows: what was appended since all of it was read, or was read on.

        Returns:
            As :meth:`sifted`; ``None`` if that does not simply go on, and the file has to be opened
            anew: it has its end now, or its time goes back.

        Raises:
            CaptureError: If the file cannot be read any more, or holds more than its budget.
        """
        size = os.fstat(self._file.fileno()).st_size
        if self.finished or size < self._size or is_finished(self._file):
            return None
        if size == self._size:
            return iter(())
        known = set(self._blocks)
        self._size = size
        self._walk()
        self.budget.check(self.path, "unpacked_bytes", self._claimed)
        new = [block for block in self._blocks if block not in known]
        if any(block.start_ns < self._taken.until_ns for block in new):
            return None
        return self._go_on(new, ())

    def _go_on(self, blocks: list[_Block], topics: tuple[str, ...]) -> Iterator[Record | Refused]:
        waiting, taken = _Waiting(), self._taken
        last_ns = 0
        for block in blocks:
            ready = waiting.until(block.start_ns)
            last_ns = ready[-1][0] if ready else last_ns
            yield from self._named(self._noted(ready), topics)
            found = self._in_order(block, self._read_block(block), last_ns)
            taken.records += len(found)
            taken.size += sum([len(message[-1]) for message in found])
            self._check_count(taken.records, taken.size, block.start_ns - self._blocks[0].start_ns)
            waiting.add(found)
        yield from self._named(self._noted(waiting.until(_EVER)), topics)

    def _in_order(self, block: _Block, messages: list[Message], last_ns: int) -> list[Message]:
        """Messages of a block, but for those before what was read already: then its head lies."""
        if not messages or min(messages, key=itemgetter(0))[0] >= last_ns:
            return messages
        kept = [message for message in messages if message[0] >= last_ns]
        self._add_damage(
            f"the chunk at byte {block.head.offset} begins before it says: {len(messages) - len(kept)} "
            "records of it are left out"
        )
        return kept

    def _noted(self, messages: list[Message]) -> list[Message]:
        """The same, of which the last that tells of the call is remembered."""
        for time_ns, _, channel, *_ in reversed(messages):
            if not self._topics.get(channel, "").startswith("/capture/"):
                self._taken.until_ns = time_ns
                break
        return messages

    def _check_count(self, count: int, size: int, span_ns: int) -> None:
        """Refuse more than there may be in so much of a call."""
        self.budget.check(self.path, "unpacked_bytes", size)
        self.budget.check(self.path, "records", count)
        a_second = (count - _AT_FIRST) / max(1.0, span_ns / 1e9)
        self.budget.check(self.path, "records_per_second", a_second)

    # -- finding what there is -----------------------------------------------------------------

    def _read_index(self) -> bool:
        """Take everything from the summary. False if the summary is unusable."""
        try:
            self._file.seek(0)
            reader = SeekingReader(self._file, record_size_limit=RECORD_LIMIT)
            summary = reader.get_summary()
            if summary is None or (summary.statistics and not summary.chunk_indexes):
                return False
            chunks = summary.chunk_indexes
            if len({index.chunk_start_offset for index in chunks}) < len(chunks):
                return False  # a chunk that is there twice
            told = sum(index.length for index in summary.metadata_indexes)
            self.budget.check(self.path, "metadata_bytes", told)
            for record in reader.iter_metadata():
                self._add(record)
        except UNREADABLE:
            self.metadata.clear()
            return False
        self._claimed = sum(index.uncompressed_size for index in chunks)
        self._topics = {number: channel.topic for number, channel in summary.channels.items()}
        self._blocks = sorted(
            _Block(
                index.message_start_time,
                Head(Opcode.CHUNK, index.chunk_start_offset, index.chunk_length - 9),
            )
            for index in chunks
        )
        return True

    def _walk(self) -> None:
        """Go over the records one by one, up to the end or the cut."""
        end, chunk = self._walked, None
        self.damage = [sentence for sentence in self.damage if not sentence.startswith(_CUT)]
        for head in heads(self._file, self._size, end):
            end = head.end
            try:
                match head.opcode:
                    case Opcode.METADATA | Opcode.CHANNEL:
                        self._told += head.length
                        self.budget.check(self.path, "metadata_bytes", self._told)
                        self._add(read_record(self._file, head))
                    case Opcode.MESSAGE:
                        self._blocks.append(_Block(self._number(head, at=6, size=8), head))
                    case Opcode.CHUNK:
                        self._blocks.append(_Block(self._number(head, at=0, size=8), head))
                        self._claimed += self._number(head, at=16, size=8)
                        chunk = head
                    case Opcode.MESSAGE_INDEX if chunk:
                        # Channels stand in the chunk that first uses them.
                        if self._number(head, at=0, size=2) not in self._topics:
                            self._read_block(_Block(0, chunk))
                            chunk = None
            except UNREADABLE as error:
                self._note(head.offset, error)
        if chunk:
            self._read_block(_Block(0, chunk))
        self._walked = end
        if end < self._size:
            self.damage.append(f"{_CUT} {end}: {self._size - end} bytes behind it are torn")
        # A message outside of any chunk has no checksum: among chunks it is a damaged index.
        chunks = [block for block in self._blocks if block.head.opcode == Opcode.CHUNK]
        self._blocks = sorted(chunks or self._blocks)

    def _number(self, head: Head, *, at: int, size: int) -> int:
        """Read one field without parsing the record."""
        self._file.seek(head.offset + 9 + at)
        return int.from_bytes(self._file.read(size), "little")

    def _add(self, record: McapRecord) -> None:
        if isinstance(record, Metadata):
            most = self.budget.text if record.name != "serializer" else None  # that is JSON
            fields = {name[:most]: value[:most] for name, value in record.metadata.items()}
            self.metadata.setdefault(record.name[:most], {}).update(fields)
        elif isinstance(record, Channel):
            self._topics.setdefault(record.id, record.topic)

    def _check_format(self) -> None:
        about = self.metadata.get("capture")
        if about is None:
            if not self.finished and not self._blocks:
                raise CaptureError(self.path, "cut off before its first record", self._size)
            raise CaptureError(self.path, f"an MCAP file, but no {FORMAT}")
        if about.get("format") != FORMAT:
            raise CaptureError(self.path, f"format {about.get('format')!r}, not {FORMAT!r}")
        version = about.get("format_version", "")
        major = version.partition(".")[0]
        if not major.isdecimal() or int(major) > int(FORMAT_VERSION.partition(".")[0]):
            raise CaptureError(
                self.path, f"{FORMAT} {version!r}, this program reads up to {FORMAT_VERSION}"
            )

    # -- reading it ----------------------------------------------------------------------------

    def _read_block(self, block: _Block) -> list[Message]:
        try:
            declared, messages = unpack(self._file, block.head)
        except UNREADABLE as error:
            self._note(block.head.offset, error)
            return []
        except OSError as error:
            raise CaptureError(self.path, str(error), block.head.offset) from error
        for record in declared:
            self._add(record)
        return messages

    def _named(self, messages: list[Message], topics: tuple[str, ...]) -> list[Record | Refused]:
        """The records of the topics that are wanted and known."""
        names = {
            number: topic for number, topic in self._topics.items() if not topics or topic in topics
        }
        depth, values = self.budget.depth, self.budget.values
        named: list[Record | Refused] = []
        for time_ns, _, channel, sequence, body in messages:
            if channel not in names:
                continue
            # Hardly any has so many brackets, or is so long: half a million an hour go by here.
            if (
                len(body) > values
                or body.count(b"{") + body.count(b"[") > depth
                or time_ns >= _LAST_NS
            ) and (why := self._nonsense(time_ns, body)):
                named.append(Refused(names[channel], time_ns, sequence, why))
            else:
                named.append(_record((names[channel], time_ns, sequence, body)))
        return named

    def _nonsense(self, time_ns: int, body: bytes) -> str | None:
        return "a time beyond the year 2262" if time_ns >= _LAST_NS else self.budget.nonsense(body)

    def _note(self, offset: int, error: BaseException) -> None:
        self._add_damage(f"unreadable at byte {offset}: {type(error).__name__} {error}".rstrip())

    def _add_damage(self, sentence: str) -> None:
        if sentence not in self.damage:
            self.damage.append(sentence)


def _not_mcap(magic: bytes) -> str:
    if not magic:
        return "the file is empty"
    if MCAP0_MAGIC.startswith(magic):
        return "cut off in its first 8 bytes"
    return "not an MCAP file"
