"""Work on threads: only the latest request counts, with progress, and can be cancelled."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

__all__ = ["Lane", "Work"]

#: A control that is being dragged reports a new value every few milliseconds.
_SETTLED_SECS: Final = 0.15

P = ParamSpec("P")
T = TypeVar("T")


class Work(ThreadPoolExecutor):
    """The threads of one request; they count the pieces done, and can be cancelled.

    Parameters:
        advanced: Called after each piece with the number done.

    Attributes:
        off: Set as soon as the request is cancelled.
    """

    def __init__(self, advanced: Callable[[int], None]) -> None:
        """Start no thread before there is a piece to do."""
        super().__init__(os.cpu_count(), "panel")
        self.off = threading.Event()
        self._done = 0
        self._advanced = advanced
        self._counting = threading.Lock()

    def submit(  # noqa: D102
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(self._count)
        return future

    def _count(self, future: Future[Any]) -> None:
        with self._counting:
            if not (future.cancelled() or self.off.is_set()):
                self._done += 1
                self._advanced(self._done)

    def settle(self) -> None:
        """Wait for the control to settle: a newer request may be about to come.

        Raises:
            CancelledError: If one came.
        """
        if self.off.wait(_SETTLED_SECS):
            raise CancelledError

    def call_off(self) -> None:
        """Start nothing more; what has started runs to its end, and nobody waits for it."""
        self.off.set()
        self.shutdown(wait=False, cancel_futures=True)


class Lane:
    """Where requests of one kind are carried out: only the latest."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._lock = threading.RLock()
        self._work: Work | None = None
        self._thread: threading.Thread | None = None

    def begin(
        self,
        work: Callable[[Work], T],
        show: Callable[[T], None],
        failed: Callable[[Exception], None],
        advanced: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Cancel what is under way, and do this instead, on a thread of its own.

        Args:
            work: Given threads to spread itself over.
            show: Given the outcome, unless the work was cancelled meanwhile.
            failed: Given the exception instead.
            advanced: Called with the number of pieces done.
        """
        with self._lock:
            self.cancel()
            self._work = Work(advanced)
            arguments = (self._work, work, show, failed)
            self._thread = threading.Thread(
                target=self._fulfil, args=arguments, name="panel", daemon=True
            )
            self._thread.start()

    def cancel(self) -> bool:
        """Cancel what is under way; False if nothing is."""
        with self._lock:
            work, self._work = self._work, None
            if work is not None:
                work.call_off()
            return work is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the latest request is done; False if that takes longer."""
        while (thread := self._thread) is not None:
            thread.join(timeout)
            if thread.is_alive():
                return False
            if thread is self._thread:
                return True
        return True

    def _fulfil(
        self,
        own: Work,
        work: Callable[[Work], T],
        show: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None:
        try:
            outcome = work(own)
        except Exception as error:
            own.call_off()
            self._end(own, failed, error)
        else:
            own.shutdown(cancel_futures=True)  # so that the last piece is counted
            self._end(own, show, outcome)

    def _end(self, own: Work, tell: Callable[[Any], None], what: Any) -> None:
        """Report, unless it was cancelled meanwhile."""
        with self._lock:
            if self._work is own:
                self._work = None
                tell(what)
