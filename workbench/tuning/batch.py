"""Tuning over many captures: opened, scored and forgotten one by one, wherever there is room.

A worker opens one capture, tries all settings on it, and hands back the scores of its segments:
some kilobytes. So memory does not grow with the number of calls, neither here nor there. Any
:class:`concurrent.futures.Executor` will do; Dask's comes from its client::

    tune_captures(paths, executor=distributed.Client("tcp://scheduler:8786").get_executor())

The choice depends neither on where nor on the order in which that was done.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from workbench.call import Call
from workbench.exceptions import CaptureError
from workbench.tuning.carrier_recording import read
from workbench.tuning.facts import Facts, copies, facts_of
from workbench.tuning.legs import Leg
from workbench.tuning.objective import Objective
from workbench.tuning.scores import Scores, score
from workbench.tuning.settings import Setting
from workbench.tuning.tuning import Task, TuningResult, conclude, one_each

__all__ = ["Scored", "local_processes", "score_capture", "tune_captures"]

#: Called with how many captures are done, and how many there are.
Progress = Callable[[int, int], object]


class Scored(NamedTuple):
    """What a worker hands back.

    Parameters:
        scores: Of the call's segments; ``None`` if it could not be used, or nothing was said.
        facts: Of the call; ``None`` likewise.
        problem: Why it could not be used; empty if it could.
    """

    scores: Scores | None = None
    facts: Facts | None = None
    problem: str = ""


def tune_captures(
    captures: Iterable[str | Path],
    objective: str | Objective | None = None,
    constraints: Mapping[str, float] | None = None,
    *,
    leg: str | Leg = "G.711",
    settings: Iterable[Setting] | None = None,
    recordings: Sequence[str | Path] | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> TuningResult:
    """Choose the outbound setting for the calls in many captures.

    Args:
        captures: Paths, or URLs that fsspec opens where the worker is: ``s3://...``, ``gs://...``.
            Copies of one call count once.
        objective: As :func:`workbench.tuning.tuning.tune`; and ``constraints``, ``leg``,
            ``settings`` and ``seed``.
        constraints: As there.
        leg: As there.
        settings: As there.
        recordings: Files of the carrier's recordings, one for each capture, in their order; the
            bot's channel is read as :func:`workbench.tuning.carrier_recording.read` does.
        executor: Where the captures are scored, one in each task; by default a process for each
            core, and none for a single capture. It has to pickle what it is given. It is not shut
            down.
        progress: Called after each capture with the number done and the number of all.
        seed: As there.

    Returns:
        The choice. Captures that could not be read are in ``skipped``, and a sentence says so.

    Raises:
        ValueError: If no capture is left with audio of the bot, for an unknown name, or if no
            setting fulfils the constraints.
        concurrent.futures.BrokenExecutor: If the executor itself broke down.
    """
    given = list(map(str, captures))
    recorded = dict(zip(given, one_each(recordings, len(given)), strict=True))
    named = list(recorded)
    task = Task.of(objective, constraints, leg=leg, settings=settings, seed=seed)
    if executor is None and len(named) == 1:
        found = _scored(recorded, task, _Here(), progress)
    elif executor is None:
        with local_processes(len(named)) as processes:
            found = _scored(recorded, task, processes, progress)
    else:
        found = _scored(recorded, task, executor, progress)
    for number, first in copies([one.facts for one in found]).items():
        found[number] = Scored(problem=f"the same call as {named[first]}")
    skipped = {name: one.problem for name, one in zip(named, found, strict=True) if one.problem}
    spoken = [one for one in found if one.scores is not None]
    if not spoken:
        problems = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:_TOLD])
        raise ValueError(
            f"none of the {len(named)} captures holds audio of the bot"
            + (f"; {len(skipped)} could not be used: {problems}" if skipped else "")
        )
    return conclude(
        task,
        _joined([one.scores for one in spoken if one.scores is not None]),
        [one.facts for one in spoken if one.facts is not None],
        silent=len(found) - len(spoken) - len(skipped),
        skipped=skipped,
    )


#: Captures that are named in an error.
_TOLD: Final = 3


def local_processes(tasks: int | None = None) -> ProcessPoolExecutor:
    """Make an executor of fresh processes, one for each core.

    Args:
        tasks: More processes than this are not started.
    """
    count = min(os.cpu_count() or 1, max(1, tasks or 1) if tasks is not None else 1 << 16)
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


def score_capture(capture: str, recording: str | None, task: Task) -> Scored:
    """Open one capture and score it: what a worker does. Raises nothing that a file can cause."""
    try:
        with _local(capture) as path:
            call = Call.open(path)
            facts = facts_of(call, None if recording is None else read(recording))
            if facts is None:
                return Scored()
            scores = score(
                [call], task.settings, task.legs_of([facts]), task.metrics, _Here(),
                beside=task.beside,
            )  # fmt: skip
    except (CaptureError, OSError, ValueError, ImportError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        return Scored(problem=str(reason))
    except Exception as error:  # a capture that only we read wrongly must not end the others
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Scored(
            problem=f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        )
    facts = replace(facts, fingerprint=facts.fingerprint | {"file": _name(capture)})
    return Scored(Scores(_packed(scores.quality), scores.cost), facts)


def _scored(
    captures: Mapping[str, str | Path | None],
    task: Task,
    executor: Executor,
    progress: Progress | None,
) -> list[Scored]:
    """Score all in any order; the results are in the order of the captures."""
    futures: dict[Future[Scored], int] = {
        executor.submit(
            score_capture, capture, None if recording is None else str(recording), task
        ): number
        for number, (capture, recording) in enumerate(captures.items())
    }
    found = [Scored()] * len(captures)
    try:
        for done, future in enumerate(as_completed(futures), 1):
            number = futures.pop(future)
            found[number] = _outcome(future)
            if progress is not None:
                progress(done, len(captures))
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return found


def _outcome(future: Future[Scored]) -> Scored:
    try:
        return future.result()
    except BrokenExecutor:
        raise
    except Exception as error:  # such as Dask's KilledWorker: a capture that ends its workers
        return Scored(problem=f"{type(error).__name__}: {error}"[:200])


def _joined(scores: Sequence[Scores]) -> Scores:
    """The scores of several calls, numbered in their order."""
    quality = [one.quality.assign(call=number) for number, one in enumerate(scores)]
    cost = [one.cost.assign(call=number) for number, one in enumerate(scores)]
    joined = pd.concat(quality, ignore_index=True)
    labels = {name: joined[name].astype(str) for name in ("leg", "setting")}
    return Scores(joined.assign(**labels), pd.concat(cost, ignore_index=True))


def _packed(quality: pd.DataFrame) -> pd.DataFrame:
    """The same scores in a tenth of the memory."""
    return quality.astype({"leg": "category", "setting": "category", "segment": "int32"})


class _Here(Executor):
    """Runs everything at once and in place: in a worker, or for a single capture."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        future: Future[object] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _name(capture: str) -> str:
    return capture.rstrip("/").rpartition("/")[2]


@contextmanager
def _local(capture: str) -> Iterator[Path]:
    """A file of this machine with a capture's content."""
    if "://" not in capture:
        yield Path(capture)
        return
    try:
        fsspec = import_module("fsspec")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{capture} needs fsspec: pip install 'pipecat-bandwidth[dask]', and the "
            "package for its kind of storage"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _name(capture)
        with fsspec.open(capture, "rb") as remote, path.open("wb") as file:
            shutil.copyfileobj(remote, file, 1 << 20)
        yield path
