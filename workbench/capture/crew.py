"""A few threads that write all captures of the process, however many calls there are.

A clock looks twenty times a second whose turn it is and lines them up; two workers take them in
this order, one visit each. The clock touches no disk. Where somebody waits in line although no
worker is free, because a disk hangs or is slow, it hires another worker, and who is not needed any
more leaves: a visit that takes long costs a thread while it lasts, and nobody else anything.

The captures of one folder share a disk, so only some of them may be visited at once: where all of
a folder hangs, the others' workers stay free.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

__all__ = ["Crew", "Job"]

#: Seconds between two looks of the clock; those who are due soon are looked at more often.
_TICK_SECS: Final = 0.05
_SOON_SECS: Final = 0.01
#: Workers that are there or idle at all times, once there are as many captures. Two: when the
#: interpreter ends no thread can be started any more, and one may hang then.
_USUAL: Final = 2
#: Workers at most, and at most at once for captures of one folder. Who has been at one visit for so
#: many seconds is held by a disk that hangs, and counts no more: the others are not to wait for him.
_MOST: Final = 16
_PER_FOLDER: Final = 8
_HELD_SECS: Final = 2.0
#: Seconds that somebody waits in line before one more is hired, and that one more stays idle.
_PATIENCE_SECS: Final = 0.2
_LINGER_SECS: Final = 5.0


class Job(Protocol):
    """What is visited again and again, by one worker at a time."""

    @property
    def folder(self) -> Path:
        """Where its file is."""

    def visit(self) -> float | None:
        """Do what there is to do.

        Returns:
            When to come again, on ``time.monotonic()``; ``None`` for never.
        """


@dataclass(eq=False)
class _Turn:
    """When a job is visited.

    Attributes:
        job: The job.
        folder: Where its file is.
        due: When it is its turn.
        since: Since when it is in line or being visited; ``None`` while it is neither.
        begun: When the visit began; ``None`` while there is none.
        again: Whether it was called for meanwhile.
    """

    job: Job
    folder: Path
    due: float = 0.0
    since: float | None = None
    begun: float | None = None
    again: bool = False


class Crew:
    """The threads, and whose turn it is."""

    def __init__(self) -> None:
        """Begin without any thread."""
        self._turns: dict[Job, _Turn] = {}
        self._line: deque[_Turn] = deque()
        self._visited: Counter[Path] = Counter()
        self._clock: threading.Thread | None = None
        self._workers: set[threading.Thread] = set()
        self._idle = 0
        self._bell = threading.Event()
        # Never held while anything waits for a disk.
        self._lock = threading.Lock()
        self._called = threading.Condition(self._lock)

    def add(self, job: Job) -> None:
        """Visit a job, from now on, until it says that it is over.

        Raises:
            RuntimeError: If there can be no thread for it.
        """
        with self._lock:
            if self._clock is None:
                clock = threading.Thread(target=self._keep_time, name="capture clock", daemon=True)
                clock.start()
                self._clock = clock
            if len(self._workers) < min(_USUAL, len(self._turns) + 1):
                try:
                    self._hire()
                except RuntimeError:
                    if not self._workers:
                        raise
            turn = self._turns[job] = _Turn(job, job.folder)
            self._line_up(turn)
        self._bell.set()

    def call_for(self, job: Job) -> None:
        """Visit a job now, or once more if it is being visited."""
        with self._lock:
            turn = self._turns.get(job)
            if turn is not None and turn.since is None:
                self._line_up(turn)
            elif turn is not None:
                turn.again = True

    def has(self, thread: threading.Thread) -> bool:
        """Whether a thread is one of the workers: it must not wait for a visit."""
        return thread in self._workers

    def _hire(self) -> None:
        worker = threading.Thread(target=self._work, name="capture", daemon=True)
        self._workers.add(worker)
        try:
            worker.start()
        except RuntimeError:
            self._workers.discard(worker)
            raise

    def _line_up(self, turn: _Turn) -> None:
        turn.since = time.monotonic()
        turn.again = False
        self._line.append(turn)
        self._called.notify()

    def _next(self) -> _Turn | None:
        """The first in line whose folder is not crowded."""
        return next((t for t in self._line if self._visited[t.folder] < _PER_FOLDER), None)

    # -- the clock -----------------------------------------------------------------------------

    def _keep_time(self) -> None:
        wait: float | None = None
        while True:
            self._bell.wait(wait)
            self._bell.clear()
            with self._lock:
                wait = self._look()

    def _look(self) -> float | None:
        """Line up who is due; return how long to sleep."""
        now = time.monotonic()
        soon = False
        for turn in self._turns.values():
            if turn.since is None and turn.due <= now:
                self._line_up(turn)
            elif turn.since is None:
                soon = soon or turn.due <= now + _SOON_SECS
        first = self._next()
        if first and first.since is not None and not self._idle:
            if now - first.since > _PATIENCE_SECS and self._free(now) < _MOST:
                with contextlib.suppress(RuntimeError):
                    self._hire()
        if not self._turns:
            return None
        return _SOON_SECS if soon else _TICK_SECS

    def _free(self, now: float) -> int:
        """How many workers there are but for those whom a disk holds."""
        visits = (turn.begun for turn in self._turns.values())
        held = sum(begun is not None and now - begun > _HELD_SECS for begun in visits)
        return len(self._workers) - held

    # -- the workers ---------------------------------------------------------------------------

    def _work(self) -> None:
        while (turn := self._take()) is not None:
            again: float | None = None
            try:
                again = turn.job.visit()
            except Exception:  # a job that has no word for its own failure is over
                again = None
            finally:
                self._put_back(turn, again)

    def _take(self) -> _Turn | None:
        with self._lock:
            while (turn := self._next()) is None:
                self._idle += 1
                needed = self._called.wait(_LINGER_SECS if len(self._workers) > _USUAL else None)
                self._idle -= 1
                # Notified and out of time at once is possible: so the line is looked at once more.
                if not needed and self._idle >= _USUAL and self._next() is None:
                    self._workers.discard(threading.current_thread())
                    return None
            self._line.remove(turn)
            self._visited[turn.folder] += 1
            turn.begun = time.monotonic()
            return turn

    def _put_back(self, turn: _Turn, again: float | None) -> None:
        with self._lock:
            turn.begun = None
            self._visited[turn.folder] -= 1
            if not self._visited[turn.folder]:
                del self._visited[turn.folder]
            if again is None:
                del self._turns[turn.job]
            elif turn.again:
                self._line_up(turn)
            else:
                turn.due, turn.since = again, None
                if again <= time.monotonic() + _SOON_SECS:
                    self._bell.set()
