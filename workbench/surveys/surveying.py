"""Opening many captures, each once, and keeping what is told of them.

::

    found = survey("captures/", out="calls.parquet")
    print(found)
    found.calls, found.findings        # DataFrames
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import pandas as pd

from workbench.surveys.dataset import DataSet, call_frame, finding_frame
from workbench.surveys.result import Survey
from workbench.surveys.row import FINDING, Surveyed, survey_capture
from workbench.surveys.sources import Listing, Source, listed, moment
from workbench.workers import Progress, spread

__all__ = ["survey"]

T = TypeVar("T")
#: So many calls, or after so many seconds, are written at once: what a run that is killed loses.
_BATCH, _BATCH_SECS = 200, 30.0
#: Captures that are named in an error.
_TOLD: Final = 3


def survey(
    captures: str | Path | Iterable[str | Path],
    *,
    out: str | Path | None = None,
    since: str | datetime | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Diagnose many calls, and tell which were bad and why.

    Args:
        captures: Files, folders with all that is in them, or URLs of either that fsspec opens where
            the worker is. Also data sets that ``out`` has made: their calls are told, not opened.
        out: The folder of a data set (:mod:`workbench.surveys.dataset`). Captures that are in it
            are not opened again, and what is told is of all its calls.
        since: Only calls that began since then: a time, or as :func:`workbench.surveys.sources.moment`
            reads it.
        executor: As :func:`workbench.workers.spread`.
        progress: Called after each capture with the number done and the number of all.

    Returns:
        The calls, with what could not be read in ``skipped`` and what is still being recorded in
        ``recording``.

    Raises:
        ValueError: If there is no capture, or none that could be used.
        NotAvailable: Without pyarrow, of the extra ``survey``, where there is a data set; without
            fsspec where there is a URL.
        OSError: If the data set cannot be written, or somebody else writes to it.
        concurrent.futures.BrokenExecutor: If the executor that was given broke down.
    """
    given = [captures] if isinstance(captures, (str, Path)) else list(captures)
    begin = moment(since) if isinstance(since, str) else since
    told = [DataSet(one) for one in given if DataSet.is_one(one)]
    listing = listed([one for one in given if not DataSet.is_one(one)], begin)
    with ExitStack() as stack:
        kept: DataSet | None = None
        if out is not None:
            kept = DataSet(out)
            stack.enter_context(kept.locked())
        run = _Run(listing, kept)
        run.all(executor, progress)
    run.refuse_nothing(given, is_told=bool(told))
    sets = [*told, *([kept] if kept else [])]
    unique = list({one.path.resolve(): one for one in sets}.values())
    return run.survey(unique, begin)


class _Run:
    """One run over captures.

    Attributes:
        skipped: Name of each that could not be used to the reason.
        opened: How many were, and are kept.
        known: How many were in the data set already.
    """

    def __init__(self, listing: Listing, kept: DataSet | None) -> None:
        """Look at what is there."""
        self.listing = listing
        self.skipped = dict(listing.missing)
        self.opened = self.known = 0
        self._kept = kept
        self._rows: list[Surveyed] = []
        self._first: dict[str, str] = {}
        self._replaced: set[str] = set()
        self._old: dict[str, str] = {}  # what a capture that is opened again was kept as
        sizes: dict[str, tuple[str, int]] = {}
        for name, size, digest in kept.known() if kept else ():
            sizes[Source(name).key] = name, size
            self._first[digest] = name
        self._wanted = []
        for source in listing.captures:
            name, size = sizes.get(source.key, ("", -1))
            if name and size == (source.size if source.size is not None else size):
                self.known += 1
                continue
            if name:  # it went on, or is another one
                self._old[source.name] = name
            self._wanted.append(source.name)

    def all(self, executor: Executor | None, progress: Progress | None) -> None:
        """Open those that are wanted, in any order, and keep them in theirs."""
        tasks = [(name,) for name in self._wanted]
        outcomes = spread(survey_capture, tasks, executor, failed=_failed)
        written = time.monotonic()
        try:
            for done, (number, one) in enumerate(_in_order(outcomes, progress, len(tasks)), 1):
                self._take(tasks[number][0], one)
                late = time.monotonic() - written > _BATCH_SECS
                if self._kept and (done % _BATCH == 0 or late):
                    self._write()
                    written = time.monotonic()
        finally:
            if self._kept:
                self._write()

    def _take(self, name: str, one: Surveyed) -> None:
        if one.problem:
            self.skipped[name] = one.problem
            return
        digest = one.call["sha256"]
        first = self._first.setdefault(digest, name)
        if first != name and first not in {*self._replaced, *self._old.values()}:
            if "://" in first or Path(first).exists():
                self.skipped[name] = f"the same call as {first}"
                return
            self._replaced.add(first)  # it was moved
        self._first[digest] = name
        if name in self._old:
            self._replaced.add(self._old.pop(name))
        self.opened += 1
        self._rows.append(one)

    def _write(self) -> None:
        """Keep what there is; what it replaces goes first, so that no call is there twice."""
        if self._kept is None or not self._rows:
            return
        if self._replaced:
            self._kept.drop(self._replaced)
            self._replaced.clear()
        self._kept.add(self._rows)
        self._rows.clear()

    def refuse_nothing(self, given: list[str | Path], *, is_told: bool) -> None:
        """Raise an error if there was nothing that could be told of."""
        if self.opened or self.known or is_told or self._kept and DataSet.is_one(self._kept.path):
            return
        if self.skipped:
            problems = "; ".join(f"{n}: {why}" for n, why in list(self.skipped.items())[:_TOLD])
            raise ValueError(f"none of {len(self.skipped)} captures could be used: {problems}")
        if not self.listing.recording and not self.listing.older:
            raise ValueError(f"no captures (.mcap) in {', '.join(map(str, given)) or 'nothing'}")

    def survey(self, sets: list[DataSet], since: datetime | None) -> Survey:
        """What is told: of the data sets, and of what is kept nowhere else."""
        own = call_frame([one.call for one in self._rows])
        found = [{"capture": one.call["capture"], "started_at": one.call["started_at"]} | finding
                 for one in self._rows for finding in one.findings]  # fmt: skip
        rows = pd.DataFrame(found, columns=["capture", "started_at", *FINDING])
        told = [(one.calls(since), one.findings(since)) for one in sets]
        if len(own) or not sets:
            frame = finding_frame(rows[["capture", "started_at"]], rows[list(FINDING)])
            told.append((own, frame))
        calls, findings = zip(*_once(told), strict=True)
        whole = pd.concat(calls, ignore_index=True) if len(calls) > 1 else calls[0]
        each = pd.concat(findings, ignore_index=True) if len(findings) > 1 else findings[0]
        if since is not None:
            whole = whole[whole["started_at"] >= since].reset_index(drop=True)
            each = each[each["started_at"] >= since].reset_index(drop=True)
        return Survey(
            calls=whole,
            findings=each,
            skipped=self.skipped,
            recording=tuple(self.listing.recording),
            older=self.listing.older,
            opened=self.opened,
            known=self.known,
        )


def _once(
    told: Iterable[tuple[pd.DataFrame, pd.DataFrame]],
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Calls and their findings without those calls that were told before: data sets may overlap."""
    known = set[str]()
    for calls, findings in told:
        new = calls[~calls["sha256"].isin(known)]
        known.update(new["sha256"])
        if len(new) < len(calls):
            findings = findings[findings["capture"].isin(new["capture"])]
        yield new.reset_index(drop=True), findings.reset_index(drop=True)


def _failed(problem: str) -> Surveyed:
    return Surveyed(problem=problem)


def _in_order(
    outcomes: Iterable[tuple[int, T]], progress: Progress | None, total: int
) -> Iterator[tuple[int, T]]:
    """Hand on what is done in the order of its numbers: the same wherever it was done."""
    waiting: dict[int, T] = {}
    following = 0
    for done, (number, one) in enumerate(outcomes, 1):
        waiting[number] = one
        if progress is not None:
            progress(done, total)
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1
