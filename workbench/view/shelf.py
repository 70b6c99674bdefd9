"""The calls that are shown: found again and again, looked at once, in the background.

A call is known by an id that follows from where its file is: the same at each start, and the same when
a recording gets its final name. Nothing outside asks by a path.

Two threads work for it: one looks every two seconds which captures there are, one diagnoses those that
nothing is known of, the newest first, on processes that let others go before. What a data set of
:func:`workbench.surveys.survey` knows is not diagnosed again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from workbench.capture import CaptureReader
from workbench.exceptions import WorkbenchError
from workbench.notes import notes_path
from workbench.surveys.dataset import DataSet, call_frame, finding_frame
from workbench.surveys.result import LABEL, Survey
from workbench.surveys.row import CALL, FINDING, Surveyed, survey_capture
from workbench.surveys.sources import Source, listed
from workbench.view.entry import Entry
from workbench.workers import spread

__all__ = ["Shelf"]

_log = logging.getLogger(__name__)

#: So many times what it takes to list them goes by before they are listed again.
_SHARE: Final = 20


class Shelf:
    """The calls of some captures, folders and data sets.

    A context manager: its threads work inside.

    Parameters:
        given: Files, folders, URLs; data sets that ``workbench survey -o`` has made.
        executor: Where calls are diagnosed, as :func:`workbench.workers.spread` takes it.
        every_secs: How often it is looked which captures there are; of what takes long to list, less
            often.

    Raises:
        ValueError: If a data set is something else.
        NotAvailable: Without pyarrow, where there is a data set.
    """

    def __init__(
        self,
        given: Iterable[str | Path],
        executor: Executor | None = None,
        *,
        every_secs: float = 2.0,
    ) -> None:
        """Read the data sets; captures are looked for by the threads."""
        every = list(given)
        self._executor = executor
        self._every_secs = every_secs
        self._named = [one for one in every if not DataSet.is_one(one)]
        self._exchange = threading.RLock()
        self._closing = threading.Event()
        self._changed = threading.Event()
        self._listed = threading.Event()
        self._entries: dict[str, Entry] = {}
        self._gone: dict[str, int] = {}
        self._missing: dict[str, str] = {}
        self._revision = 0
        self._sentence = (-1, "")
        self._threads: list[threading.Thread] = []
        for one in every:
            if DataSet.is_one(one):
                self._take_known(DataSet(one))

    def __enter__(self) -> Shelf:
        for work in (self._look, self._survey):
            thread = threading.Thread(target=work, name=f"shelf{work.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._changed.set()
        for thread in self._threads:
            thread.join()

    def wait_for_list(self) -> None:
        """Wait until it was looked once which captures there are."""
        self._listed.wait()

    def has(self, number: str) -> bool:
        """Whether there is a call of such an id, as far as is known yet."""
        with self._exchange:
            return number in self._entries

    def entry(self, number: str) -> Entry:
        """A call by its id.

        Raises:
            KeyError: If there is none.
        """
        with self._exchange:
            return self._entries[number]

    def told(self, after: int = -1) -> dict[str, Any]:
        """What the list shows, of JSON's types.

        Args:
            after: Only what changed after this ``revision`` of an earlier answer.
        """
        with self._exchange:
            entries = list(self._entries.values())
            changed = [entry.told() for entry in entries if entry.revision > after]
            return {
                "revision": self._revision,
                "calls": changed,
                "gone": [number for number, when in self._gone.items() if when > after],
                "missing": self._missing,
                "waiting": sum(entry.state == "waiting" for entry in entries),
                "all": len(entries),
                "listed": self._listed.is_set(),
                "sentence": self._told_of_all(),
            }

    def _told_of_all(self) -> str:
        if self._sentence[0] != self._revision:
            self._sentence = self._revision, self.survey().sentence
        return self._sentence[1]

    def survey(self) -> Survey:
        """The calls that are known so far, as :func:`workbench.surveys.survey` tells of them."""
        with self._exchange:
            known = [entry for entry in self._entries.values() if entry.state == "known"]
            broken = {e.source: e.problem for e in self._entries.values() if e.state == "broken"}
            recording = [e.source for e in self._entries.values() if e.state == "recording"]
        import pandas as pd

        found = [
            {"capture": one.row["capture"], "started_at": one.row["started_at"]} | finding
            for one in known
            for finding in one.findings
        ]
        rows = pd.DataFrame(found, columns=["capture", "started_at", *FINDING])
        return Survey(
            calls=call_frame([one.row for one in known]),
            findings=finding_frame(rows[["capture", "started_at"]], rows[list(FINDING)]),
            skipped=self._missing | broken,
            recording=tuple(recording),
        )

    # -- what is known already -----------------------------------------------------------------

    def _take_known(self, kept: DataSet) -> None:
        frame = kept.findings()
        findings = {
            name: tuple({n: row[n] for n in FINDING} for row in rows.to_dict("records"))
            for name, rows in frame.groupby("capture", sort=False)
        }
        for told in kept.calls().to_dict("records"):
            labels = {
                str(name).removeprefix(LABEL): value
                for name, value in told.items()
                if str(name).startswith(LABEL) and isinstance(value, str)
            }
            row = {name: told[name] for name in CALL if name in told} | {"labels": labels}
            entry = Entry(str(row["capture"]), "known", ("size", row["file_bytes"]), row)
            entry.findings = findings.get(row["capture"], ())
            self._put(entry)

    # -- which there are -----------------------------------------------------------------------

    def _look(self) -> None:
        wait = 0.0
        while not self._closing.wait(wait):
            began = time.monotonic()
            try:
                self._take_listed()
            except (OSError, WorkbenchError) as error:
                with self._exchange:
                    self._missing |= {str(one): str(error) for one in self._named}
            self._listed.set()
            wait = max(self._every_secs, _SHARE * (time.monotonic() - began))

    def _take_listed(self) -> None:
        listing = listed(self._named)
        with self._exchange:
            self._missing = listing.missing
            before = dict(self._entries)
        seen = set()
        for source in listing.captures:
            seen.add(self._take_finished(source, before))
        for name in listing.recording:
            seen.add(self._take_recording(name, before))
        with self._exchange:
            for number, entry in before.items():
                if entry.source.endswith(".part") or entry.mark[:1] != ("size",):
                    if number not in seen:  # it was there, and is no more
                        self._revision += 1
                        self._gone[number] = self._revision
                        self._entries.pop(number, None)
            for entry in self._entries.values():
                self._take_notes(entry)

    def _take_finished(self, source: Source, before: Mapping[str, Entry]) -> str:
        entry = Entry(source.name, mark=(source.size, source.modified))
        known = before.get(entry.id)
        if known is not None and known.state != "recording":
            if known.mark == ("size", source.size):  # of a data set
                known.mark = entry.mark
            if known.mark == entry.mark:
                return entry.id
        self._put(entry)
        return entry.id

    def _take_recording(self, name: str, before: Mapping[str, Entry]) -> str:
        entry = Entry(name, "recording")
        known = before.get(entry.id)
        if known is None or known.state != "recording":
            entry.row = _begun(name)
            self._put(entry)
        return entry.id

    def _take_notes(self, entry: Entry) -> None:
        there = "://" not in entry.source and notes_path(entry.source).exists()
        if there != entry.is_noted:
            entry.is_noted = there
            self._touch(entry)

    # -- what is wrong with them ---------------------------------------------------------------

    def _survey(self) -> None:
        while not self._closing.is_set():
            self._changed.wait()
            self._changed.clear()
            with self._exchange:
                waiting = [e for e in self._entries.values() if e.state == "waiting"]
            waiting.sort(key=lambda entry: str(entry.mark[-1:]), reverse=True)
            try:
                self._diagnose(waiting)
            except Exception:  # such as no process to be had: those that wait are tried again
                _log.warning("cannot diagnose calls", exc_info=True)
                self._closing.wait(self._every_secs)

    def _diagnose(self, waiting: list[Entry]) -> None:
        tasks = [(entry.source,) for entry in waiting]
        for number, one in spread(_politely, tasks, self._executor, failed=_failed):
            entry = waiting[number]
            with self._exchange:
                if self._entries.get(entry.id) is entry:  # not one that was written to meanwhile
                    entry.state = "broken" if one.problem else "known"
                    entry.row, entry.findings = one.call, one.findings
                    entry.problem = one.problem
                    self._touch(entry)
            if self._closing.is_set():
                return

    def _put(self, entry: Entry) -> None:
        with self._exchange:
            self._gone.pop(entry.id, None)
            self._entries[entry.id] = entry
            self._touch(entry)
            if entry.state == "waiting":
                self._changed.set()

    def _touch(self, entry: Entry) -> None:
        with self._exchange:
            self._revision += 1
            entry.revision = self._revision


def _politely(capture: str) -> Surveyed:
    """Survey a capture; in a process of its own behind whoever wants the machine."""
    if multiprocessing.parent_process() is not None and hasattr(os, "nice") and not os.nice(0):
        os.nice(10)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    return survey_capture(capture)


def _failed(problem: str) -> Surveyed:
    return Surveyed(problem=problem)


def _begun(name: str) -> dict[str, Any]:
    """What a recording tells of itself before anything is read of it."""
    if "://" in name:
        return {}
    try:
        with CaptureReader(name) as reader:
            told = reader.metadata
    except WorkbenchError:
        return {}
    begun: dict[str, Any] = {"labels": told.get("labels", {})}
    try:
        seconds = int(told["capture"]["unix_anchor_ns"]) / 1e9
        begun["started_at"] = datetime.fromtimestamp(seconds, UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        pass
    return begun
