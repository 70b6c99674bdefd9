"""Tuning over many captures: opened, scored and forgotten one by one, wherever there is room.

A worker opens one capture, tries all settings on it, and hands back the scores of its segments:
some kilobytes. So memory does not grow with the number of calls, neither here nor there: see
:mod:`workbench.workers`, also for a cluster. The choice depends neither on where nor on the order in
which that was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from workbench.call import Call
from workbench.tuning.carrier_recording import read
from workbench.tuning.facts import Facts, copies, facts_of
from workbench.tuning.legs import Leg
from workbench.tuning.objective import Objective
from workbench.tuning.scores import Scores, score
from workbench.tuning.settings import Setting
from workbench.tuning.tuning import Task, TuningResult, conclude, one_each
from workbench.workers import Here, Progress, local_file, name_of, problem_of, spread

__all__ = ["Scored", "score_capture", "tune_captures"]


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
    found = _scored(recorded, task, executor, progress)
    for number, first in copies([one.facts for one in found]).items():
        found[number] = Scored(problem=f"the same call as {named[first]}")
    skipped = {name: one.problem for name, one in zip(named, found, strict=True) if one.problem}
    spoken = [one for one in found if one.scores is not None]
    if not spoken:
        if len(named) == 1 and Path(named[0]).name in (why := skipped.get(named[0], "")):
            raise ValueError(why)  # it says whose it is
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


def score_capture(capture: str, recording: str | None, task: Task) -> Scored:
    """Open one capture and score it: what a worker does. Raises nothing that a file can cause."""
    try:
        with local_file(capture) as path:
            call = Call.open(path)
            call.check_ours("tune")
            facts = facts_of(call, None if recording is None else read(recording))
            if facts is None:
                return Scored()
            scores = score(
                [call], task.settings, task.legs_of([facts]), task.metrics, Here(),
                beside=task.beside,
            )  # fmt: skip
    except Exception as error:  # also a capture that only we read wrongly must not end the others
        return Scored(problem=problem_of(error))
    facts = replace(facts, fingerprint=facts.fingerprint | {"file": name_of(capture)})
    return Scored(Scores(_packed(scores.quality), scores.cost), facts)


def _scored(
    captures: Mapping[str, str | Path | None],
    task: Task,
    executor: Executor | None,
    progress: Progress | None,
) -> list[Scored]:
    """Score all in any order; the results are in the order of the captures."""
    tasks = [(one, None if of is None else str(of), task) for one, of in captures.items()]
    found = [Scored()] * len(tasks)
    outcomes = spread(score_capture, tasks, executor, failed=_failed)
    for done, (number, scored) in enumerate(outcomes, 1):
        found[number] = scored
        if progress is not None:
            progress(done, len(tasks))
    return found


def _failed(problem: str) -> Scored:
    return Scored(problem=problem)


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
