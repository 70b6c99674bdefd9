"""A file that gets its name only when it is complete, and loses at most what was not yet synced.

While it is written it is ``name.part``, locked, readable by its owner alone. Appending either
succeeds down to the disk or may simply be repeated: the next attempt starts at the same byte.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

__all__ = ["SUFFIX", "PartFile", "lock", "numbered", "publish", "unused", "write_at"]

SUFFIX: Final = ".part"

#: Owner-only, not inherited by children.
_FLAGS: Final = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
)
_MODE: Final = 0o600


class PartFile:
    """An append-only file in the making.

    Attributes:
        path: Where it is now: with :data:`SUFFIX` until :meth:`publish`, from then on without.
        fd: Its descriptor.
        size: Bytes that are known to be on the disk.
    """

    def __init__(
        self, path: Path, is_reserved: Callable[[Path], bool] = lambda path: False
    ) -> None:
        """Create it, in a directory that is created where it is missing.

        Args:
            path: The name it shall have. If that is taken, the next free of ``name-2``, ``name-3``.
            is_reserved: Whether a name is promised to somebody who has not made the file yet.

        Raises:
            OSError: If it cannot be created.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            part = _part(unused(path, is_reserved=is_reserved))
            with contextlib.suppress(FileExistsError):
                self.fd = os.open(part, _FLAGS, _MODE)
                break
        self.path = part
        self.size = 0
        lock(self.fd)

    def append(self, data: bytes | bytearray) -> None:
        """Write behind what is there, and wait until the disk has it.

        Args:
            data: What to append.

        Raises:
            OSError: If any of it failed. The next call overwrites what was half done.
        """
        write_at(self.fd, self.size, data)
        if self.size == 0:
            _sync_directory(self.path.parent)
        self.size += len(data)

    def publish(self) -> None:
        """Give it its name and let go of it.

        Raises:
            OSError: If it cannot be renamed; it then keeps the name that it has.
        """
        if sys.platform == "win32":  # which renames no open file
            self.close()
        try:
            self.path = publish(self.path)
        finally:
            self.close()

    @property
    def is_deleted(self) -> bool:
        """Whether somebody deleted it, perhaps with its directory: what is written is lost."""
        try:
            return os.fstat(self.fd).st_nlink == 0 and not self.path.exists()
        except OSError:
            return False

    def close(self) -> None:
        """Let go of it under the name that it has."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # what was appended is on the disk already
                os.close(fd)


def write_at(fd: int, offset: int, data: bytes | bytearray) -> None:
    """Write at one place, and wait until the disk has it.

    Args:
        fd: Descriptor of the file.
        offset: Where the first byte goes.
        data: What to write.

    Raises:
        OSError: If any of it failed.
    """
    os.lseek(fd, offset, os.SEEK_SET)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
    _sync(fd)


def lock(fd: int) -> bool:
    """Claim a file, until it is closed or the process ends, however it ends.

    Returns:
        Whether it was free. True also where the system or the file system has no locks: there
        nothing tells a live file from one that a killed process left.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def publish(part: Path) -> Path:
    """Rename ``name.part`` to ``name``, or to the next free of ``name-2``, ``name-3``.

    Nothing is ever overwritten: the name is claimed by an empty file, then taken over.

    Returns:
        The name that it got.

    Raises:
        OSError: If it cannot be renamed.
    """
    while True:
        path = unused(part.with_name(part.name.removesuffix(SUFFIX)), but=part)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, _FLAGS, _MODE))
            break
    try:
        os.replace(part, path)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)
    return path


def numbered(path: Path) -> Iterator[Path]:
    """``name.mcap``, ``name-2.mcap``, ``name-3.mcap`` and so on."""
    yield path
    for number in itertools.count(2):
        yield path.with_stem(f"{path.stem}-{number}")


def unused(
    path: Path,
    *,
    but: Path | None = None,
    is_reserved: Callable[[Path], bool] = lambda path: False,
) -> Path:
    """The first of ``name.mcap``, ``name-2.mcap``, ... that is neither taken nor being written.

    Args:
        path: The name that is wanted.
        but: A part file that does not count, because it is the one to be named.
        is_reserved: Whether a name is promised to somebody who has not made the file yet.
    """
    return next(
        name
        for name in numbered(path)
        if not is_reserved(name)
        # Also a link to nowhere takes the name.
        and not os.path.lexists(name)
        and (_part(name) == but or not os.path.lexists(_part(name)))
    )


def _part(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _sync(fd: int) -> None:
    if sys.platform == "darwin":  # where fsync leaves the data in the drive's cache
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    elif sys.platform == "win32":
        os.fsync(fd)
    else:
        os.fdatasync(fd)


def _sync_directory(path: Path) -> None:
    """Without this a power cut may leave a file without a name."""
    with contextlib.suppress(OSError):  # Windows cannot open a directory; some file systems refuse
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
