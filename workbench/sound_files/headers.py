"""What the header of a sound file claims of its length, beside what is there.

A program that writes to a pipe, or is killed, leaves a header with a length of 0 or of 2^32 - 1; a
download that broke off leaves one that claims more than came. libsndfile takes the first for an
empty file and is silent on the second.

References:
    .. [1] EBU Tech 3306, "RF64: an extended file format for audio".
    .. [2] Sony, "Wave64 file format", 2003.
    .. [3] Apple, "Audio Interchange File Format", 1989, and "Core Audio Format specification 1.0".
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Literal, NamedTuple, TypeAlias

__all__ = ["Claim", "Mended", "claim_of", "is_cut_ogg"]

Order: TypeAlias = Literal["little", "big"]

#: Lengths that are none: written to a pipe, by ffmpeg 2^32 - 1, by sox 2^31 - 1
#: less what it rounds off.
_UNTOLD: Final = (
    (0x7FFF_0000, 0x8000_0000), (0xFFFF_0000, 0x1_0000_0000), (1 << 60, 1 << 64),
)  # fmt: skip

#: Ends of headers: what comes first in a file has rarely more, pictures of an album apart.
_MOST_CHUNKS: Final = 1000


class _Chunk(NamedTuple):
    """One chunk: its name, where its content is, how long it says that it is, where it says so."""

    name: bytes
    first: int
    size: int
    size_at: int
    size_bytes: int


@dataclass(frozen=True)
class Claim:
    """What a header says of the sound behind it.

    Parameters:
        first: First byte of the sound.
        told: How many bytes of it there are by the header; ``None`` if it does not tell.
        there: How many there are.
        mended: What has to stand in the header, by its place, so that all of it is read; empty if
            nothing has to be mended.
    """

    first: int
    told: int | None
    there: int
    mended: dict[int, bytes] = field(default_factory=dict)


def claim_of(file: BinaryIO) -> Claim | None:
    """Read what a header claims; ``None`` for files whose header claims no length.

    Args:
        file: Open, wherever it stands.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(32)
    match head[:4]:
        case b"RIFF" | b"RIFX" | b"RF64" | b"BW64" if head[8:12] == b"WAVE":
            return _riff(file, size, "big" if head[3:4] == b"X" else "little")
        case b"FORM" if head[8:12] in (b"AIFF", b"AIFC"):
            return _iff(file, size)
        case b"fLaC" if len(head) >= 26:
            return _flac(head, size)
        case b".snd" if len(head) >= 24:
            return _au(head, size)
        case b"riff" if head[24:28] == b"wave":
            return _in_chunks(_wave64(file, size), b"data", size, "little")
        case b"caff":
            return _in_chunks(_core_audio(file, size), b"data", size, "big", 4)
    return None


def is_cut_ogg(file: BinaryIO) -> bool:
    """Whether a file in Ogg lacks the page that says that it is the last."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if file.read(4) != b"OggS":
        return False
    file.seek(max(0, size - (1 << 17)))  # a page has at most 65307 bytes
    end = file.read()
    last = end.rfind(b"OggS")
    return last < 0 or len(end) < last + 27 or not end[last + 5] & 4


class Mended(io.RawIOBase):
    """A file in which some bytes read as others; nothing is copied.

    Args:
        file: Open, without a buffer.
        mended: New bytes by their place.
        first: Of the bytes that are seen; this one is at 0.
        last: The one behind those that are seen; by default the end of the file.
    """

    def __init__(
        self, file: BinaryIO, mended: dict[int, bytes], first: int = 0, last: int | None = None
    ) -> None:
        """Take the file."""
        self._file, self._mended, self._first = file, mended, first
        end = file.seek(0, io.SEEK_END)
        self._last = end if last is None else min(last, end)
        file.seek(first)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where it stands."""
        return self._file.tell() - self._first

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        base = {io.SEEK_SET: self._first, io.SEEK_CUR: self._file.tell(), io.SEEK_END: self._last}
        return self._file.seek(max(self._first, base[whence] + offset)) - self._first

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read as many bytes as there are and fit."""
        at = self._file.tell()
        data = bytearray(self._file.read(max(0, min(len(buffer), self._last - at))))
        for place, new in self._mended.items():
            for offset, byte in enumerate(new, place - at):
                if 0 <= offset < len(data):
                    data[offset] = byte
        buffer[: len(data)] = data
        return len(data)


# -- kinds of files ------------------------------------------------------------------------------


def _riff(file: BinaryIO, size: int, order: Order) -> Claim | None:
    long = None
    for chunk in _chunks(file, size, 12, 4, order):
        if chunk.name == b"ds64":
            file.seek(chunk.first)
            long = int.from_bytes(file.read(16)[8:], "little")
        if chunk.name == b"data":
            there = size - chunk.first
            told = _told(chunk.size)
            if chunk.size == 0xFFFF_FFFF and long:
                told = long
            elif told == 0 and not _is_chunk(file, chunk.first, size, order):
                told = None
            if told is not None:
                return Claim(chunk.first, told, min(there, told))
            most = 2**32 - 2
            new = {4: min(size - 8, most), chunk.size_at: min(there, most)}
            return Claim(
                chunk.first, None, there, {at: n.to_bytes(4, order) for at, n in new.items()}
            )
    return None


def _iff(file: BinaryIO, size: int) -> Claim | None:
    found = _in_chunks(_chunks(file, size, 12, 4, "big"), b"SSND", size, "big")
    if found is None or found.told is not None:
        return found
    return Claim(found.first, None, found.there, {4: (size - 8).to_bytes(4, "big"), **found.mended})


def _au(head: bytes, size: int) -> Claim:
    first = int.from_bytes(head[4:8], "big")
    told = _told(int.from_bytes(head[8:12], "big"))
    there = max(0, size - first)
    if told or not there:
        return Claim(first, told, min(there, told or 0))
    return Claim(first, None, there, {8: b"\xff\xff\xff\xff"})


def _flac(head: bytes, size: int) -> Claim | None:
    """FLAC from a pipe has 0 samples by its header: as many as it may have, so that all are read."""
    if head[4] & 0x7F or head[21] & 0x0F or any(head[22:26]):
        return None  # what it tells, libsndfile tells too
    return Claim(42, None, size - 42, {22: b"\x7f\xff\xff\xff"})


def _in_chunks(
    chunks: Iterator[_Chunk], name: bytes, size: int, order: Order, before: int = 0
) -> Claim | None:
    """The claim of the chunk with the sound, of which so many bytes go before the sound."""
    for chunk in chunks:
        if chunk.name[: len(name)] == name:
            there = size - chunk.first
            told = None if chunk.size <= 0 else _told(chunk.size)
            if told and told <= there:
                return Claim(chunk.first + before, told - before, told - before)
            extra = 24 if chunk.name[4:] else 0  # Wave64 counts the chunk's own head
            new = (there + extra).to_bytes(chunk.size_bytes, order)
            told = None if told is None else told - before
            return Claim(chunk.first + before, told, there - before, {chunk.size_at: new})
    return None


def _told(size: int) -> int | None:
    return None if any(first <= size < last for first, last in _UNTOLD) else size


def _chunks(file: BinaryIO, size: int, at: int, width: int, order: Order) -> Iterator[_Chunk]:
    """Chunks of a name of four letters and a size, padded to an even number of bytes."""
    for _ in range(_MOST_CHUNKS):
        if at + 4 + width > size:
            return
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(width), order)
        yield _Chunk(name, at + 4 + width, length, at + 4, width)
        at += 4 + width + length + length % 2


def _wave64(file: BinaryIO, size: int) -> Iterator[_Chunk]:
    at = 40
    for _ in range(_MOST_CHUNKS):
        if at + 24 > size:
            return
        file.seek(at)
        name, length = file.read(16), int.from_bytes(file.read(8), "little")
        yield _Chunk(name, at + 24, length - 24, at + 16, 8)
        at += max(24, -(-length // 8) * 8)


def _core_audio(file: BinaryIO, size: int) -> Iterator[_Chunk]:
    at = 8
    for _ in range(_MOST_CHUNKS):
        if at + 12 > size:
            return
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(8), "big", signed=True)
        yield _Chunk(name, at + 12, length, at + 4, 8)
        at += 12 + max(0, length)


def _is_chunk(file: BinaryIO, at: int, size: int, order: Order) -> bool:
    """Whether a chunk, or nothing, is at a place: its name is letters, and it ends with the file."""
    if at >= size:
        return True
    file.seek(at)
    name, length = file.read(4), int.from_bytes(file.read(4), order)
    return name.isascii() and name.strip().isalnum() and at + 8 + length <= size
