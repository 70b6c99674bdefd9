"""Which captures are meant: files, folders and URLs, without those that are still being recorded.

A folder is searched with all that is in it, here or behind a URL that fsspec lists. A capture that is
being recorded (``.mcap.part``, locked by its writer or changed in the last two minutes) is left for the
next time; one that a killed process left is not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from workbench.capture.partfile import SUFFIX, lock
from workbench.exceptions import NotAvailable

__all__ = ["Listing", "Source", "listed", "moment"]

_KIND: Final = ".mcap"
#: A writer that lives adds a record each second; clocks of file servers differ by less.
_FRESH: Final = timedelta(minutes=2)


@dataclass(frozen=True)
class Source:
    """A capture that can be opened.

    Parameters:
        name: Its absolute path or its URL.
        size: In bytes; ``None`` where nobody tells.
        modified: When it was last written; ``None`` where nobody tells.
    """

    name: str
    size: int | None = None
    modified: datetime | None = None

    @property
    def key(self) -> str:
        """What it is known by, also when it gets its final name."""
        return self.name.removesuffix(SUFFIX)


@dataclass
class Listing:
    """What was found.

    Parameters:
        captures: Those to open, by name.
        recording: Names of those that are still being recorded.
        older: How many ended before the time that was asked for.
        missing: What there is not, and why.
    """

    captures: list[Source] = field(default_factory=list)
    recording: list[str] = field(default_factory=list)
    older: int = 0
    missing: dict[str, str] = field(default_factory=dict)


def listed(named: Iterable[str | Path], since: datetime | None = None) -> Listing:
    """Find the captures that are meant.

    Args:
        named: Files, folders, URLs of either.
        since: Those that were last written before this are counted, not listed.

    Raises:
        NotAvailable: For a URL without fsspec, or without what it needs for that kind.
    """
    listing = Listing()
    found: dict[str, Source] = {}
    for name in map(str, named):
        try:
            sources = list(_remote(name) if "://" in name else _local(Path(name)))
        except OSError as error:
            listing.missing[name] = error.strerror or str(error)
            continue
        found |= {source.name: source for source in sources}
    for source in sorted(found.values(), key=lambda source: source.name):
        if source.name.endswith(SUFFIX) and _is_recording(source):
            listing.recording.append(source.name)
        elif since is not None and source.modified is not None and source.modified < since:
            listing.older += 1
        else:
            listing.captures.append(source)
    return listing


def moment(text: str, now: datetime | None = None) -> datetime:
    """Read a time: ``2026-11-28``, ``2026-11-28T09:30`` (UTC), or ago: ``90m``, ``24h``, ``7d``.

    Args:
        text: What was typed.
        now: From when ``24h`` counts.

    Raises:
        ValueError: If it is neither.
    """
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text.strip()):
        unit = {"m": "minutes", "h": "hours", "d": "days"}[ago[2]]
        return (now or datetime.now(UTC)) - timedelta(**{unit: float(ago[1])})
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: 2026-11-28, 2026-11-28T09:30 (UTC), 24h or 7d"
        ) from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _local(path: Path) -> Iterator[Source]:
    path = Path(os.path.abspath(path))
    if not path.is_dir():
        yield _of_file(path)
        return
    for file in path.rglob("*"):
        if file.name.endswith((_KIND, _KIND + SUFFIX)) and file.is_file():
            yield _of_file(file)


def _of_file(path: Path) -> Source:
    about = path.stat()
    return Source(str(path), about.st_size, datetime.fromtimestamp(about.st_mtime, UTC))


def _remote(url: str) -> Iterator[Source]:
    try:
        core = import_module("fsspec.core")
    except ModuleNotFoundError as error:
        raise NotAvailable(
            f"{url} needs fsspec: pip install 'pipecat-bandwidth[dask]', and the package for its "
            "kind of storage"
        ) from error
    system, place = core.url_to_fs(url)
    if url.endswith((_KIND, _KIND + SUFFIX)) and "*" not in url:
        yield _of_info(url, system.info(place))
        return
    many = system.glob(place, detail=True) if "*" in url else system.find(place, detail=True)
    if not many:
        raise FileNotFoundError(f"{url}: nothing is there")
    for name, about in many.items():
        if name.endswith((_KIND, _KIND + SUFFIX)):
            yield _of_info(system.unstrip_protocol(name), about)


def _of_info(url: str, about: dict[str, Any]) -> Source:
    times = (about.get(name) for name in ("LastModified", "last_modified", "mtime", "updated"))
    when = next((time for time in times if time), None)
    if isinstance(when, (int, float)):
        when = datetime.fromtimestamp(when, UTC)
    known = isinstance(when, datetime) and when.tzinfo is not None
    return Source(url, about.get("size"), when if known else None)


def _is_recording(source: Source) -> bool:
    if source.modified is None or datetime.now(UTC) - source.modified < _FRESH:
        return True
    if "://" in source.name:
        return False
    try:
        fd = os.open(source.name, os.O_RDONLY)
    except OSError:
        return False  # opening it says why
    try:
        return not lock(fd)
    finally:
        os.close(fd)
