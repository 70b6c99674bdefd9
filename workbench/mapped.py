"""Arrays that live in a file: what is long takes room on the disk, and memory only while it is looked at.

A signal of an hour has 115 MB at 8 kHz, and a call has five. From some megabytes on such an array is
a file that has no name, is readable to nobody else and goes away with the array; to whoever computes
with it, it is an array like any other. What was looked at stays in memory until it is let go of, or
until the system wants the room. So whoever goes over a long array does so in blocks::

    for first, block in blocks(samples, 480_000):
        ...                       # block begins at samples[first]

The files are made where ``TMPDIR`` says, else in ``/var/tmp``, which unlike ``/tmp`` is never memory.
Where no room is left, or the system knows no such thing (all but Linux), arrays are in memory.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["LARGE", "Spool", "blocks", "let_go", "same", "zeros"]

#: Bytes from which on an array is worth a file: of float32 a minute at 8 kHz.
LARGE: Final = 1 << 21
#: Bytes that Linux reads around those that are asked for.
_AROUND: Final = 1 << 16
#: Values that are compared at once.
_COMPARED: Final = 1 << 18
#: Bytes that are written at once.
_WRITTEN: Final = 1 << 20
#: Without it what was looked at would stay, and a file would be no gain.
_LETS_GO: Final = getattr(mmap, "MADV_DONTNEED", None)
_CAN: Final = _LETS_GO is not None and hasattr(os, "posix_fallocate")

T = TypeVar("T", bound=np.generic)


def zeros(count: int, dtype: DTypeLike) -> NDArray[Any]:
    """Make an array of zeros, shape ``(count,)``: from :data:`LARGE` on in a file.

    Raises:
        MemoryError: If there is room for it neither on the disk nor in memory.
    """
    size = count * np.dtype(dtype).itemsize
    if size < LARGE or not _CAN:
        return np.zeros(count, dtype)
    try:
        with _file() as made:
            # A disk that is full says so now, and not by a signal while the array is written.
            os.posix_fallocate(made.fileno(), 0, size)
            memory = mmap.mmap(made.fileno(), size)
    except OSError:
        return _in_memory(count, dtype)
    return np.frombuffer(memory, dtype)


class Spool:
    """Pieces of bytes, one behind the other: from :data:`LARGE` on in a file."""

    def __init__(self) -> None:
        """Begin without any."""
        self._file: Any = None
        self._written = 0
        self._pending = bytearray()
        self._limit = LARGE if _CAN else sys.maxsize

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, piece: bytes) -> int:
        """Add a piece.

        Returns:
            Where it begins.
        """
        at = self._written + len(self._pending)
        self._pending += piece
        if len(self._pending) >= self._limit:
            self._flush()
            self._limit = min(self._limit, _WRITTEN) if self._file else sys.maxsize
        return at

    def taken(self) -> NDArray[np.uint8]:
        """All pieces until now."""
        if self._file is not None:
            self._flush()
        if self._file is None:
            return np.frombuffer(bytes(self._pending), np.uint8)
        return np.frombuffer(mmap.mmap(self._file.fileno(), self._written), np.uint8)

    def _flush(self) -> None:
        try:
            self._file = self._file or _file()
            os.posix_fallocate(self._file.fileno(), self._written, max(1, len(self._pending)))
            done = 0
            while done < len(self._pending):
                with memoryview(self._pending)[done:] as left:
                    done += self._file.write(left)
        except OSError:  # the disk is full: from now on in memory
            self._pending[:0] = self._before()
            self._written, self._file = 0, None
            return
        self._written += len(self._pending)
        self._pending.clear()

    def _before(self) -> bytes:
        if self._file is None:
            return b""
        with self._file as made:
            made.seek(0)
            read: bytes = made.read(self._written)
        return read


def _file() -> Any:
    """A file without a name, for reading and writing, that goes away when it is closed."""
    return tempfile.TemporaryFile(dir=_folder(), buffering=0)


def _in_memory(count: int, dtype: DTypeLike) -> NDArray[Any]:
    """Zeros that take memory only where something is written: a bot is silent half of the time.

    Of zeros that numpy makes the kernel takes 2 MB at a time, 20 s of speech, pauses and all.
    """
    size = count * np.dtype(dtype).itemsize
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no room for {size} bytes") from error
    with suppress(OSError, AttributeError):  # a kernel without huge pages does not know of them
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype)


def let_go(array: NDArray[Any]) -> None:
    """Keep an array's values on the disk only, if it is of a file; they are read again when wanted."""
    base: Any = array.base
    whole = array
    while isinstance(base, np.ndarray):
        whole, base = base, base.base
    memory = base.obj if isinstance(base, memoryview) else base
    if not isinstance(memory, mmap.mmap) or not array.size or _LETS_GO is None:
        return
    first = _address(array) - _address(whole)  # arrays are made of whole files only
    last = first + array.nbytes
    # Whole pages: what is left of one at the end goes with the next block, as does what the system
    # has read before it since.
    first = max(0, first - _AROUND)
    first -= first % mmap.PAGESIZE
    if last < len(memory):
        last -= last % mmap.PAGESIZE
    if last > first:
        memory.madvise(_LETS_GO, first, last - first)


def _address(array: NDArray[Any]) -> int:
    """Where an array begins in memory: what ``ctypes.data`` is too, without an object made for it."""
    address: int = array.__array_interface__["data"][0]
    return address


def blocks(array: NDArray[T], size: int) -> Iterator[tuple[int, NDArray[T]]]:
    """Go over an array piece by piece, and let go of each behind.

    Args:
        array: Shape ``(n, ...)``.
        size: How many of its first axis at once.

    Yields:
        Where each block begins, and the block.
    """
    for first in range(0, len(array), size):
        block = array[first : first + size]
        yield first, block
        let_go(block)


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays are of one shape and hold the same."""
    if one.shape != other.shape:
        return False
    pairs = zip(blocks(one, _COMPARED), blocks(other, _COMPARED), strict=True)
    return all(np.array_equal(block, beside) for (_, block), (_, beside) in pairs)


@cache
def _folder() -> str | None:
    if any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")):
        return None  # as tempfile does
    return "/var/tmp" if os.access("/var/tmp", os.W_OK | os.X_OK) else None
