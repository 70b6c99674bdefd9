"""The writing half of :mod:`workbench.capture`: one call into one file, beside the call.

The caller of :meth:`CaptureWriter.record`, usually an event loop, only appends to a queue. A few
threads for all captures of the process (:mod:`workbench.capture.crew`) visit each once a second to
empty it, close a chunk and wait for the disk to have it: a killed process loses about a second, and
whatever the disk does, the call goes on.

A capture is visited by one thread at a time, and one whose disk hangs keeps that thread to itself,
so that it does not hold up the others. The queue is bounded by records and by bytes; what does not
fit in is dropped, counted in the file, and said once in the log.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from multiprocessing import parent_process
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Final

import msgspec
from loguru import logger

from workbench.capture.crew import Crew
from workbench.capture.packer import Packer
from workbench.capture.partfile import SUFFIX, numbered
from workbench.capture.schema import FORMAT, FORMAT_VERSION, TOPICS, Body, Clock, Stats, Time
from workbench.exceptions import CaptureError

__all__ = ["CaptureWriter", "close_all"]

#: Seconds between two chunks: what a killed process may lose. A visit to the queue costs more than
#: its records, 200 of a few us in a busy call, so there is one for each chunk.
_FLUSH_SECS: Final = 1.0
#: Seconds between two looks at the clocks.
_CLOCK_SECS: Final = 10.0
#: Seconds after which nobody is about to append any more.
_LATE_SECS: Final = 0.01
#: Seconds in which all captures that are still open have to end when the interpreter exits.
_EXIT_SECS: Final = 5.0
#: How many of them a log line names that have not, and seconds that the line may take.
_MOST_NAMED: Final = 20
_LOG_SECS: Final = 1.0

#: The number of each topic's channel, as :meth:`Packer.begin` registers them.
_CHANNELS: Final = {topic: number for number, topic in enumerate(TOPICS, start=1)}


class CaptureWriter:
    """Records one call into one file.

    The file is ``name.mcap.part`` while it is written and ``name.mcap`` once it is closed, or
    ``name-2.mcap`` if there is one already. A thread creates it: if it cannot be created, the log
    and :attr:`dropped` say so.

    Attributes:
        busy: How many calls are running that will make records when they end: while there are any,
            what :meth:`close_when_quiet` said does not count.
        closed_idle: Whether it closed by itself because no record had come for long.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        call: Mapping[str, str | None] = {},
        serializer: Mapping[str, Any] = {},
        labels: Mapping[str, str] = {},
        redaction: str = "",
        quiet_secs: float | None = None,
        max_records: int = 20_000,
        max_bytes: int = 8 * 2**20,
    ) -> None:
        """Begin; the file is made a moment later.

        Args:
            path: The name of the file, ``….mcap``; its directory is created where it is missing.
            call: Who: ``stream_id``, ``call_id``, ... No secret: it is written as it is.
            serializer: Which: ``class``, and ``params`` as JSON values. No secret.
            labels: Whatever else tells this call from others. No secret.
            redaction: What was taken out of the records, in words.
            quiet_secs: Close by itself when no record came for so long; ``None`` for never.
            max_records: Length of the queue, in records.
            max_bytes: Length of the queue, in bytes, about: 50 s of the busiest call.
        """
        self._name = Path(path).absolute()
        self._params = msgspec.json.encode(serializer.get("params", {}))
        anchor = (time.time_ns(), time.monotonic_ns())
        self._metadata = {
            "capture": _origin(anchor, redaction),
            "call": {name: str(value) for name, value in call.items() if value is not None},
            "serializer": {
                "class": str(serializer.get("class", "")),
                "params": self._params.decode(),
            },
        }
        if labels:
            self._metadata["labels"] = dict(labels)
        self._metadata = {name: _told(values) for name, values in self._metadata.items()}
        self._offset = anchor[0] - anchor[1]
        # The file is made on a thread, some time. No other recording here takes its name.
        self._reserved = next(n for n in numbered(self._name) if _names.setdefault(n, self) is self)
        self._packer = self._new_packer()

        self._queue: deque[tuple[int, int, int, str | Body, int]] = deque()
        self._sequences = dict.fromkeys(TOPICS, 0)
        self._max_records = max_records
        self._max_bytes = max_bytes
        # One side of the queue counts what goes in, the other what comes out: no lock is needed.
        self._bytes_in = 0
        self._bytes_out = 0
        self._refused = 0
        self._failed = 0
        self._accepting = True
        self._warned = False

        self._quiet_secs = quiet_secs
        self._grace_secs: float | None = None
        self._reason = "idle"
        self._closing = False
        self.busy = 0
        self.closed_idle = False
        self._has_begun = False
        self._quiet_since = self._flush_at = self._clock_at = self._end_at = 0.0
        self._seen = -1
        self._over = threading.Event()
        self._waiting: deque[threading.Event] = deque()
        _open.add(self)
        _end_with_the_process()
        try:
            _crew.add(self)
        except RuntimeError as error:  # out of threads, or the interpreter is ending
            self._forget()
            self._accepting = False
            self._over.set()
            self._warn(f"cannot record: {error}")

    def __repr__(self) -> str:
        state = "recording" if self._accepting else "closed"
        return f"<CaptureWriter {str(self.path)!r} {state}>"

    @property
    def path(self) -> Path:
        """Where the file is now: ``….mcap.part`` until it is closed.

        A moment after the start, before a thread has made the file, where it will be, unless
        another process takes the name first or there is a file of this name already.
        """
        return self._packer.path or self._reserved.with_name(self._reserved.name + SUFFIX)

    @property
    def folder(self) -> Path:
        """Where the file is, or will be."""
        return self._name.parent

    @property
    def closed(self) -> bool:
        """Whether it takes no more records."""
        return not self._accepting

    @property
    def is_over(self) -> bool:
        """Whether nobody writes to the file any more: it is finished, or cannot be."""
        return self._over.is_set()

    @property
    def dropped(self) -> int:
        """How many records are not in the file."""
        return self._refused + self._failed

    def record(self, topic: str, time_ns: int, body: str | Body) -> int:
        """Queue one record. Never raises, never blocks.

        Args:
            topic: One of :data:`workbench.capture.schema.TOPICS`.
            time_ns: When it happened, on ``time.monotonic_ns()``.
            body: Either JSON text, which is written as it is, or a typed body, which must not be
                changed any more.

        Returns:
            The record's sequence number within its topic, from 1; 0 if there is no such topic.
        """
        try:
            sequence = self._sequences[topic] = self._sequences[topic] + 1
            size = len(body) if type(body) is str else body.weight  # type: ignore[union-attr]
        except (KeyError, TypeError, AttributeError):
            self.count_lost(f"cannot record {type(body).__name__} on {topic!r}")
            return 0
        if (
            self._accepting
            and len(self._queue) < self._max_records
            and self._bytes_in - self._bytes_out + size <= self._max_bytes
        ):
            self._bytes_in += size
            self._queue.append((_CHANNELS[topic], sequence, time_ns, body, size))
        else:
            self.count_lost("the queue is full, the disk does not keep up")
        return sequence

    def count_lost(self, why: str) -> None:
        """Count a record that could not be made, and say so if it is the first.

        Args:
            why: What happened. No secret.
        """
        self._refused += 1
        if not self._warned and self._accepting:
            self._warned = True
            # Not from here: a log may be on the very disk that does not keep up.
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._say, args=(why,), daemon=True).start()

    def flush(self, wait: float = 10.0) -> bool:
        """Get everything recorded so far onto the disk.

        For a reader of the unfinished file, and for whoever records faster than a call would.

        Args:
            wait: Seconds to wait for it at most.

        Returns:
            Whether it is there; false when the disk is stuck or full.
        """
        done = threading.Event()
        self._waiting.append(done)
        _crew.call_for(self)
        return (self.is_over or done.wait(wait)) and not self._packer.write_failed

    def close_when_quiet(self, secs: float, reason: str) -> None:
        """Close by itself as soon as no record has come for so long.

        Args:
            secs: How long.
            reason: Why, as ``end`` will say; the first reason given is kept.
        """
        if self._reason == "idle":
            self._reason = reason
        self._grace_secs = secs
        _crew.call_for(self)

    def close(self, reason: str = "close", *, wait: float = 10.0) -> None:
        """Write what is queued, give the file its end and its name. A second call only waits.

        Args:
            reason: Why, as ``end`` will say.
            wait: Seconds to wait for it at most; 0 on an event loop.
        """
        if not self._closing:
            self._reason = reason
            self._closing = True
        _crew.call_for(self)
        if wait and not _crew.has(threading.current_thread()):
            self._over.wait(wait)

    def left_behind(self) -> str:
        """What is where, and what is missing, if the process ended now."""
        missing = len(self._queue) + self._packer.unwritten + self.dropped
        if self._packer.path is None:
            return f"{self._name} was not made, {missing} records are lost"
        return f"{self.path}, {missing} records are missing"

    def _warn(self, why: str) -> None:
        """Say what is wrong if nothing was said yet; the numbers are in the file."""
        if not self._warned:
            self._warned = True
            self._say(why)

    def _say(self, why: str) -> None:
        logger.warning(f"Capture {self._name.name}: {why}. The call is not affected.")

    def _abandon(self) -> None:
        """In a forked child: the threads are not there, and the file is the parent's."""
        self._accepting = False
        self._closing = True
        self._over = threading.Event()  # a thread that is not there may hold the old one's lock
        self._over.set()
        self._queue.clear()
        self._packer.close()

    def _forget(self) -> None:
        _open.discard(self)
        if _names.get(self._reserved) is self:
            del _names[self._reserved]

    # -- on a thread, one at a time ------------------------------------------------------------

    def visit(self) -> float | None:
        """Do what there is to do. Called by the crew alone.

        Returns:
            When to come again, on ``time.monotonic()``; ``None`` when the recording is over.
        """
        again: float | None = None
        try:
            again = self._visit()
        except Exception as error:  # a recorder that fails is a nuisance, not a failed call
            self._warn(f"recording stopped, {type(error).__name__}: {error}")
        finally:
            if again is None:
                self._leave()
        return again

    def _visit(self) -> float | None:
        if not self._accepting:
            if time.monotonic() < self._end_at:  # called for once more
                return self._end_at
            self._end()
            return None
        if not self._has_begun:
            self._has_begun = True
            self._begin()
            now = self._quiet_since = time.monotonic()
            self._flush_at, self._clock_at = now + _FLUSH_SECS, now + _CLOCK_SECS
        if not self._closing:
            self._work()
        if not self._closing and not self.closed_idle:
            quiet_at = self._quiet_since + self._may_be_quiet()
            return min(self._flush_at, self._clock_at, quiet_at)
        self._accepting = False
        self._end_at = time.monotonic() + _LATE_SECS
        return self._end_at

    def _leave(self) -> None:
        self._accepting = False
        try:
            self._packer.close()
        finally:
            self._forget()
            self._over.set()
            while self._waiting:
                self._waiting.popleft().set()

    def _new_packer(self) -> Packer:
        return Packer(self._name, self._offset, lambda name: _names.get(name, self) is not self)

    def _begin(self) -> None:
        self._packer.begin(self._metadata)
        # Schemas and channels stand in the first chunk only, and an empty one is not written.
        self._add_clock()
        self._write_out()

    def _begin_anew(self) -> None:
        """Go on in a new file, since the old one was deleted."""
        self._warn("the file was deleted, a new one is begun")
        self._failed += self._packer.messages
        self._packer.close()
        self._packer = self._new_packer()
        self._begin()

    def _work(self) -> None:
        """Empty the queue, and do what is due."""
        waiting = len(self._waiting)
        self._drain()
        now = time.monotonic()
        if now >= self._clock_at:
            self._add_clock()
            self._clock_at = now + _CLOCK_SECS
        if waiting or now >= self._flush_at:
            self._flush()
            self._flush_at = now + _FLUSH_SECS
        for _ in range(waiting):
            self._waiting.popleft().set()
        came = self._bytes_in + self._refused
        if came != self._seen:
            self._quiet_since, self._seen = now, came
        elif now >= self._quiet_since + self._may_be_quiet():
            self.closed_idle = True

    def _may_be_quiet(self) -> float:
        """How many seconds without a record end the recording."""
        secs = self._quiet_secs if self.busy or self._grace_secs is None else self._grace_secs
        return math.inf if secs is None else secs

    def _drain(self) -> None:
        """Pack what is queued, unless the disk refused the last chunk: the queue is bounded."""
        if self._packer.write_failed:
            return
        if self._queue and self._packer.is_deleted:
            self._begin_anew()
        for _ in range(len(self._queue)):
            channel, sequence, time_ns, body, size = self._queue.popleft()
            self._bytes_out += size
            try:
                self._packer.add(channel, sequence, time_ns, body)
            except Exception as error:  # a body that cannot be written must not end the recording
                self._failed += 1
                kind = type(body).__name__
                self._warn(f"cannot record a {kind}, {type(error).__name__}: {error}")

    def _flush(self) -> None:
        if self._packer.write_failed and self._write_out():
            self._drain()
        self._add_stats()
        self._write_out()

    def _write_out(self) -> bool:
        try:
            self._packer.write_out()
        except OSError as error:
            self._warn(f"cannot write, {error}")
            return False
        return True

    def _end(self) -> None:
        if not (self._finish() or self._finish_truncated()):
            return
        if self._packer.is_deleted:
            self._warn("the file was deleted")
            return
        try:
            self._packer.publish()
        except OSError as error:
            logger.warning(
                f"Capture {self.path.name} is complete, but could not be renamed: {error}"
            )

    def _finish(self) -> bool:
        if not self._write_out():
            return False
        self._drain()
        self._add_stats()
        end = {
            "reason": self._reason,
            "dropped": str(self.dropped),
            "messages": str(self._packer.messages),
        }
        try:
            self._packer.finish(self._params, end)
        except OSError as error:
            self._warn(f"cannot write, {error}")
            return False
        return True

    def _finish_truncated(self) -> bool:
        self._failed += self._packer.unwritten + len(self._queue)
        try:
            self._packer.finish_truncated(self._reason, self.dropped)
        except (OSError, CaptureError) as error:
            logger.warning(f"Capture {self.path.name} has no end, but can be read: {error}")
            return False
        return True

    def _add_own(self, topic: str, body: Body) -> None:
        if not self._packer.write_failed:
            self._sequences[topic] += 1
            self._packer.add(_CHANNELS[topic], self._sequences[topic], time.monotonic_ns(), body)

    def _add_clock(self) -> None:
        boottime = getattr(time, "CLOCK_BOOTTIME", None)
        clock = Clock(
            monotonic=Time.from_ns(time.monotonic_ns()),
            unix=Time.from_ns(time.time_ns()),
            boottime=Time.from_ns(time.clock_gettime_ns(boottime)) if boottime else None,
        )
        self._add_own("/capture/clock", clock)

    def _add_stats(self) -> None:
        stats = Stats(
            queued=len(self._queue),
            dropped=self.dropped,
            bytes=self._packer.size,
            flush_ms=round(self._packer.flush_ms, 3),
            fsync_ms=round(self._packer.fsync_ms, 3),
        )
        self._add_own("/capture/stats", stats)


def _told(values: Mapping[str, str]) -> dict[str, str]:
    """Metadata that can be written: of half a character, which JSON may hold, a question mark."""
    return {
        name.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode()
        for name, value in values.items()
    }


def _origin(anchor: tuple[int, int], redaction: str) -> dict[str, str]:
    """The metadata record ``capture``."""
    here = "pipecat-bandwidth"
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "writer": f"workbench {_version(here)}",
        "unix_anchor_ns": str(anchor[0]),
        "monotonic_anchor_ns": str(anchor[1]),
        "pipecat": _version("pipecat-ai"),
        "pipecat_bandwidth": _version(here),
        "python": platform.python_version(),
        "redaction": redaction,
    }


@cache  # some milliseconds
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


# -- the process -------------------------------------------------------------------------------

_crew = Crew()
_open: Final[set[CaptureWriter]] = set()
#: Names of files that are not made yet, so that two recordings do not both announce the same one.
_names: Final[dict[Path, CaptureWriter]] = {}
#: The child process of :mod:`multiprocessing` that will call :func:`_close_all` when it ends.
_pid: int | None = None


def close_all(reason: str = "exit", *, wait: float = _EXIT_SECS) -> list[Path]:
    """End all recordings of this process: write what is queued, give each file its end and name.

    This happens by itself when the interpreter exits, but not when a signal ends the process. A
    server under uvicorn ends by one: when it has shut down after ``SIGTERM`` or Ctrl-C, uvicorn
    raises that signal again. Its lifespan is the place to call this::

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            yield
            await asyncio.to_thread(close_all)

    Args:
        reason: Why, as ``end`` will say.
        wait: Seconds to wait at most for all disks together.

    Returns:
        Where those captures are, or would have been, that are not finished by then. A line in the
        log names them, too, and says what is missing. What stands in them can be read.
    """
    deadline = time.monotonic() + wait
    writers = list(_open)
    for writer in writers:
        writer.close(reason, wait=0)
    for writer in writers:
        writer.close(wait=max(0.0, deadline - time.monotonic()))
    left = [writer for writer in writers if not writer.is_over]
    if left:
        named = [writer.left_behind() for writer in left[:_MOST_NAMED]]
        if len(left) > _MOST_NAMED:
            named.append(f"{len(left) - _MOST_NAMED} more")
        _warn_briefly(
            f"Captures not finished after {wait:g} s, the disk does not keep up: "
            f"{'; '.join(named)}. What is in a file can be read."
        )
    return [writer.path for writer in left]


def _warn_briefly(text: str) -> None:
    """Log a line, and wait only briefly: a log may be on the very disk that does not keep up."""
    saying = threading.Thread(target=logger.warning, args=(text,), daemon=True)
    try:
        saying.start()
    except RuntimeError:  # out of threads, or the interpreter is ending
        logger.warning(text)
    else:
        saying.join(_LOG_SECS)


def _close_all() -> None:
    close_all(wait=_EXIT_SECS)


def _end_with_the_process() -> None:
    """In a child of :mod:`multiprocessing`, which leaves by ``os._exit`` and runs no atexit."""
    global _pid
    if parent_process() is not None and _pid != os.getpid():
        _pid = os.getpid()
        Finalize(None, _close_all, exitpriority=10)


def _abandon_all() -> None:
    global _crew
    _crew = Crew()
    for writer in list(_open):
        writer._abandon()
    _open.clear()
    _names.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
