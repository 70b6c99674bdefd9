"""A file that is written beside its place, and moved into it when it is complete.

What fails on the way leaves nothing behind, and what was there before as it was. The file is its
owner's alone, whatever it replaces: it holds a call.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

__all__ = ["written_beside"]


@contextmanager
def written_beside(path: str | Path) -> Iterator[Path]:
    """Give a file to write to, of the same suffix, that becomes ``path`` at the end.

    What is no file, such as ``/dev/stdout``, is written to as it is.

    Args:
        path: Where the file shall be; one that is there is replaced.

    Raises:
        OSError: If it cannot be made there; it names ``path``.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    place = path.resolve()  # of a link, what it leads to
    with _naming(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        fd, name = mkstemp(suffix=place.suffix, prefix=f".{place.stem[:40]}.", dir=place.parent)
    os.close(fd)
    part = Path(name)
    try:
        yield part
        with _naming(path):
            os.replace(part, place)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error name the file that was asked for, not the one beside it."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
