"""Calls that are open: a few, so that who goes back and forth does not wait again.

One that is wanted by two at once is opened once. What changed on the disk is opened anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from workbench.call import Call
from workbench.capture.partfile import SUFFIX
from workbench.diagnosis import Findings, diagnose
from workbench.exceptions import CaptureError
from workbench.view.entry import Entry
from workbench.workers import local_file

__all__ = ["OpenedCalls"]

K = TypeVar("K")
V = TypeVar("V")
#: So many calls are kept: two side by side, and two that were looked at before. An hour takes 0.3 GB.
_KEPT: Final = 4


class OpenedCalls:
    """Calls, and what was found in them.

    Parameters:
        words: Whether to read what was said.
    """

    def __init__(self, *, words: bool = True) -> None:
        """Open nothing."""
        self._words = words
        self._calls: _Kept[tuple[str, float], Call] = _Kept()
        self._findings: _Kept[int, tuple[Call, Findings]] = _Kept()

    def call(self, entry: Entry) -> Call:
        """Open a call.

        Raises:
            CaptureError: If it cannot be read.
            OSError: If there is nothing, or it cannot be fetched.
        """
        with local_file(entry.source) as path:
            if entry.state == "recording" or path.name.endswith(SUFFIX):
                return _open(path, self._words)  # which is another one each time
            changed = path.stat().st_mtime if "://" not in entry.source else 0.0
            return self._calls.get((entry.source, changed), lambda: _open(path, self._words))

    def findings(self, call: Call) -> Findings:
        """Diagnose a call that was opened."""
        return self._findings.get(id(call), lambda: (call, diagnose(call)))[1]


class _Kept(Generic[K, V]):
    """The last values that were asked for; each is made once, while others are free to be made."""

    def __init__(self) -> None:
        self._exchange = threading.Lock()
        self._making: dict[K, threading.Lock] = {}
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        with self._exchange:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._exchange:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
            value = make()
            with self._exchange:
                self._values[key] = value
                while len(self._values) > _KEPT:
                    self._making.pop(self._values.popitem(last=False)[0], None)
            return value


def _open(path: Path, words: bool) -> Call:
    """Open a capture, which may have got its final name since it was listed."""
    try:
        return Call.open(path, words=words)
    except CaptureError:
        if path.exists() or not path.name.endswith(SUFFIX):
            raise
        return Call.open(path.with_suffix(""), words=words)
