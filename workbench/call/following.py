"""A call that is being recorded: each look at it reads on from where the one before ended.

::

    following = Following("captures/2026-11-22T10-15-03_c-15ac.mcap.part")
    while not (call := following.call()).finished:
        time.sleep(1)

What is the same at each look is read once; ten minutes of a call take a tenth of opening it anew. What
is told is the same.
"""

from __future__ import annotations

from pathlib import Path

from workbench.budget import Budget
from workbench.call.call import Call
from workbench.call.reading import Growing
from workbench.capture import CaptureReader
from workbench.capture.partfile import SUFFIX
from workbench.exceptions import CaptureError

__all__ = ["Following"]


class Following:
    """Reads a capture that grows.

    Parameters:
        path: The capture; ``.part`` is taken off when it is finished.
        budget: As of :meth:`workbench.call.Call.open`.
        words: Likewise.
    """

    def __init__(self, path: str | Path, budget: Budget | None = None, words: bool = True) -> None:
        """Nothing is read before it is asked for."""
        self._path = Path(path)
        self._budget = budget
        self._words = words
        self._growing: Growing | None = None
        self._call: Call | None = None

    def call(self) -> Call:
        """The call as it is now: the same object as before, if nothing has come.

        Raises:
            CaptureError: If it cannot be read, or not any more.
        """
        call = self._call
        if call is None or not call.finished:
            call = self._call = self._gone_on() or self._anew()
        return call

    def _gone_on(self) -> Call | None:
        """The call with what has come; ``None`` if the file is to be read from its beginning."""
        if self._growing is None or self._call is None:
            return None
        has_come = self._growing.read_on()
        if has_come is None:
            return None
        return self._made(self._growing) if has_come else self._call

    def _anew(self) -> Call:
        try:
            self._reader = CaptureReader(self._path, self._budget)
        except CaptureError:
            if self._path.exists() or self._path.suffix != SUFFIX:
                raise
            self._path = self._path.with_suffix("")  # it was finished, perhaps just now
            self._reader = CaptureReader(self._path, self._budget)
        self._growing = Growing(self._reader)
        return self._made(self._growing)

    def _made(self, growing: Growing) -> Call:
        reader = self._reader
        about = reader.metadata, reader.finished, tuple(reader.damage)
        return Call(reader.path, *about, growing.contents, reader.budget, self._words)
