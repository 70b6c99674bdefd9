"""One case in a process of its own, that may take so much memory and time and no more."""

from __future__ import annotations

import contextlib
import io
import math
import multiprocessing
import resource
import signal
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from loguru import logger

#: What a case may take: bytes of memory that is its own, and not of files that it maps, which the system lets
#: go of when it wants to; and seconds of CPU, which a busy machine does not make more of. What sleeps is given up after so many times as long.
MEMORY, SECONDS, _PATIENCE = 2 * 2**30, 60.0, 10

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.fuzz.whole"])


class Outcome(NamedTuple):
    """What came of a case.

    Parameters:
        what: ``"result"``; ``"line"``, an error that says in one line what is wrong; or how it
            failed: ``"traceback"``, ``"memory"``, ``"time"``, ``"killed"``.
        told: The result, the line, or the end of the traceback.
        secs: How much of the CPU's time it took.
        mb: The most memory that was in use, beyond what the process had at first, in MB.
        step: What it was doing, as it said with :func:`doing`.
    """

    what: str
    told: Any
    secs: float
    mb: float
    step: str = ""

    @property
    def is_allowed(self) -> bool:
        """Whether a file may have this outcome."""
        return self.what in ("result", "line")


_step = ""


def doing(step: str) -> None:
    """Say what a case does next."""
    global _step
    _step = step


def isolated(
    case: Callable[[], Any],
    lines: tuple[type[Exception], ...],
    *,
    memory: int = MEMORY,
    seconds: float = SECONDS,
) -> Outcome:
    """Run a case in a process of its own.

    It is forked from a server that has done nothing but import: a fork of this process would have
    the locks of its threads, whatever tests ran before, and not the threads that give them back.

    Args:
        case: What to do: it is pickled, so that no lambda will do.
        lines: Errors that are one line for people, and no fault.
        memory: Bytes of its own it may have, with what it had at first.
        seconds: How much of the CPU's time it may take.
    """
    reading, writing = _SERVER.Pipe(duplex=False)
    child = _SERVER.Process(target=_run, args=(case, lines, writing, memory, seconds))
    child.start()
    writing.close()
    with reading:
        answer = _read(reading, _PATIENCE * seconds)
    if answer is None:
        child.kill()
    child.join()
    if answer is None or child.exitcode == -signal.SIGXCPU:
        return Outcome("time", f"more than {seconds:.0f} s", seconds, math.nan)
    return answer or Outcome("killed", f"exit code {child.exitcode}", math.nan, math.nan)


def _run(
    case: Callable[[], Any],
    lines: tuple[type[Exception], ...],
    pipe: Connection,
    memory: int,
    seconds: float,
) -> None:
    """In the child."""
    logger.remove()  # what is logged is checked, and not shown
    at_first = _used()
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    allowed = math.ceil(at_first[0] + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, allowed + 1))
    said = io.StringIO()
    with contextlib.redirect_stderr(said), warnings.catch_warnings():
        warnings.simplefilter("always")
        what, told = _answer(case, lines)
    if what == "result" and "Traceback" in said.getvalue():
        what, told = "traceback", said.getvalue()[-2000:]
    secs, mb = (after - before for after, before in zip(_used(), at_first, strict=True))
    pipe.send(Outcome(what, told, secs, mb, _step))


def _answer(case: Callable[[], Any], lines: tuple[type[Exception], ...]) -> tuple[str, Any]:
    try:
        return "result", case()
    except MemoryError:
        return "memory", traceback.format_exc()[-2000:]
    except lines as error:
        if len(str(error).splitlines()) == 1:
            return "line", str(error)
        return "traceback", f"more than one line: {error}"
    except BaseException:
        return "traceback", traceback.format_exc()[-2000:]


def _read(pipe: Connection, seconds: float) -> Outcome | bool | None:
    """What the child says; ``False`` if it ends without a word, ``None`` if it takes too long."""
    try:
        return pipe.recv() if pipe.poll(seconds) else None
    except EOFError:
        return False


def _used() -> tuple[float, float]:
    """Seconds of CPU, and the most memory at any time, in MB."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
