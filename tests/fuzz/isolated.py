"""One case in a process of its own, that may take so much memory and time and no more."""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

#: What a case may take: bytes of address space, and seconds of CPU, which a busy machine does not
#: make more of. What sleeps is given up after so many times as long.
MEMORY, SECONDS, _PATIENCE = 2 * 2**30, 60.0, 10


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
    """Run a case in a fork of this process.

    Args:
        case: What to do.
        lines: Errors that are one line for people, and no fault.
        memory: Bytes of address space it may have.
        seconds: How much of the CPU's time it may take.
    """
    reading, writing = os.pipe()
    deadline = time.monotonic() + _PATIENCE * seconds
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os.close(reading)
        _run(case, lines, writing, memory, seconds)
    os.close(writing)
    answer = _read(reading, deadline)
    if answer is None:
        os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    secs = used.ru_utime + used.ru_stime
    mb = used.ru_maxrss / 1024 - _resident_mb()
    if answer is None or os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return Outcome("time", f"more than {seconds:.0f} s", secs, mb)
    if not answer:
        return Outcome("killed", f"status {status}", secs, mb)
    what, told, step = pickle.loads(answer)
    return Outcome(what, told, secs, max(0.0, mb), step)


def _run(
    case: Callable[[], Any],
    lines: tuple[type[Exception], ...],
    pipe: int,
    memory: int,
    seconds: float,
) -> None:
    """In the child: it does not come back."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        whole = math.ceil(seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
        said = io.StringIO()
        with contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("always")
            answer = _answer(case, lines)
        if answer[0] == "result" and "Traceback" in said.getvalue():
            answer = "traceback", said.getvalue()[-2000:]
        with os.fdopen(pipe, "wb") as file:
            pickle.dump((*answer, _step), file)
    finally:
        os._exit(0)


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


def _read(pipe: int, deadline: float) -> bytes | None:
    """All that comes up to its end; ``None`` if that does not come in time."""
    data = b""
    with os.fdopen(pipe, "rb", buffering=0) as file:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([file], [], [], left)[0]:
                return None
            piece = file.read(65536)
            if not piece:
                return data
            data += piece


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
