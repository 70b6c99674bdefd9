"""The file of one call: :class:`CaptureWriter` makes it, :class:`CaptureReader` opens it.

One MCAP file per call: append-only, a compressed and checksummed chunk each second, its index at
the end. What stands in it is :mod:`workbench.capture.schema`; how it is written beside a live call,
:mod:`workbench.capture.recording`; what can be done for one that was cut off, :mod:`workbench.capture.recovery`.

The reader takes what there is: a finished file by its index, any other by walking over its records
up to the cut, be it still being written, left by a killed process, or damaged.
"""

from __future__ import annotations

import os
import weakref
from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, McapRecord, Metadata
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
    "Stats",
    "Time",
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


#: The same as calling the class, in half the time.
_record: Final = partial(tuple.__new__, Record)


class _Block(NamedTuple):
    """A chunk, or a message outside of any: what is read at once."""

    start_ns: int
    head: Head


class CaptureReader:
    """Opens a capture: finished, still being written, cut off or damaged.

    A context manager; without it the file is closed when the reader is no longer used.

    Attributes:
        path: The file.
        metadata: ``capture``, ``call``, ``serializer``, ``labels`` if there are any and, once
            finished, ``end``.
        finished: Whether the file has its end.
        damage: What could not be read, in sentences; grows while :meth:`records` is read.
    """

    def __init__(self, path: str | Path) -> None:
        """Open it and read its metadata.

        Args:
            path: The file. While ``name.mcap`` does not exist yet, ``name.mcap.part`` is taken.

        Raises:
            CaptureError: If it is missing, or empty, or not a capture, or of a newer major version.
        """
        self.path = Path(path)
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
        self.finished = is_finished(self._file) and self._read_index()
        if not self.finished:
            self._walk()
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
            The records. A damaged chunk is left out and noted in :attr:`damage`.

        Raises:
            CaptureError: If the file cannot be read any more.
        """
        waiting: list[Message] = []
        for block in self._blocks:
            ready = bisect_left(waiting, (block.start_ns,))
            yield from self._named(waiting[:ready], topics)
            del waiting[:ready]
            waiting += self._read_block(block)
            waiting.sort(key=itemgetter(0))  # of the same time: as they were written
        yield from self._named(waiting, topics)

    # -- finding what there is -----------------------------------------------------------------

    def _read_index(self) -> bool:
        """Take everything from the summary. False if the summary is unusable."""
        try:
            self._file.seek(0)
            reader = SeekingReader(self._file)
            summary = reader.get_summary()
            if summary is None or (summary.statistics and not summary.chunk_indexes):
                return False
            for record in reader.iter_metadata():
                self._add(record)
        except UNREADABLE:
            self.metadata.clear()
            return False
        self._topics = {number: channel.topic for number, channel in summary.channels.items()}
        self._blocks = sorted(
            _Block(
                index.message_start_time,
                Head(Opcode.CHUNK, index.chunk_start_offset, index.chunk_length - 9),
            )
            for index in summary.chunk_indexes
        )
        return True

    def _walk(self) -> None:
        """Go over the records one by one, up to the end or the cut."""
        end, chunk = len(MCAP0_MAGIC), None
        for head in heads(self._file, self._size):
            end = head.end
            try:
                match head.opcode:
                    case Opcode.METADATA | Opcode.CHANNEL:
                        self._add(read_record(self._file, head))
                    case Opcode.MESSAGE:
                        self._blocks.append(_Block(self._number(head, at=6, size=8), head))
                    case Opcode.CHUNK:
                        self._blocks.append(_Block(self._number(head, at=0, size=8), head))
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
        if end < self._size:
            self.damage.append(f"cut at byte {end}: {self._size - end} bytes behind it are torn")
        # A message outside of any chunk has no checksum: among chunks it is a damaged index.
        chunks = [block for block in self._blocks if block.head.opcode == Opcode.CHUNK]
        self._blocks = sorted(chunks or self._blocks)

    def _number(self, head: Head, *, at: int, size: int) -> int:
        """Read one field without parsing the record."""
        self._file.seek(head.offset + 9 + at)
        return int.from_bytes(self._file.read(size), "little")

    def _add(self, record: McapRecord) -> None:
        if isinstance(record, Metadata):
            self.metadata.setdefault(record.name, {}).update(record.metadata)
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

    def _named(self, messages: list[Message], topics: tuple[str, ...]) -> list[Record]:
        """The records of the topics that are wanted and known."""
        names = {
            number: topic for number, topic in self._topics.items() if not topics or topic in topics
        }
        return [
            _record((names[channel], time_ns, sequence, body))
            for time_ns, _, channel, sequence, body in messages
            if channel in names
        ]

    def _note(self, offset: int, error: BaseException) -> None:
        sentence = f"unreadable at byte {offset}: {type(error).__name__} {error}".rstrip()
        if sentence not in self.damage:
            self.damage.append(sentence)


def _not_mcap(magic: bytes) -> str:
    if not magic:
        return "the file is empty"
    if MCAP0_MAGIC.startswith(magic):
        return "cut off in its first 8 bytes"
    return "not an MCAP file"
