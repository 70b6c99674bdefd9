"""Scores of every setting on every segment of speech of some calls.

Segments last 6 to 15 seconds, where there is that much speech: in shorter ones intelligibility and
spectra vary too much, longer ones are too few to compare. They end where the voice is quietest, and
are the same for all settings and legs, so that scores can be compared pair by pair.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from workbench.exceptions import MetricWarning
from workbench.tuning.legs import Leg
from workbench.tuning.settings import Setting
from workbench.tuning.trial import Spoken, run_trials
from workbench.tuning.voice import Source

__all__ = ["Scores", "score"]


class Scores(NamedTuple):
    """What was measured.

    Parameters:
        quality: Columns ``call``, ``segment``, ``leg``, ``setting`` and one for each metric; one
            row for each segment, leg and setting; none for calls without speech.
        cost: Columns ``call``, ``setting``, ``seconds``, ``kbit_s``, ``delay_ms``.
    """

    quality: pd.DataFrame
    cost: pd.DataFrame


def score(
    calls: Sequence[Source],
    settings: Sequence[Setting],
    legs: Sequence[Leg],
    metrics: Sequence[str],
    executor: Executor | None = None,
) -> Scores:
    """Score all settings on all calls and legs.

    Args:
        calls: Calls, or audio of the bot's speech; a process is sent what was said, not the call.
        settings: What to try.
        legs: The far legs.
        metrics: Names of :func:`workbench.metrics.distances.evaluate`.
        executor: Where calls and settings are tried, side by side; threads by default.

    Raises:
        ValueError: If in a call the bot said nothing, or for an unknown metric.
    """
    one = partial(_score_one, legs=legs, metrics=metrics)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)  # what is NaN is left out
        if executor is None:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                results = list(threads.map(one, _tasks(calls, settings)))
        else:
            results = list(executor.map(one, _tasks(calls, settings)))
    columns = ["call", "segment", "leg", "setting", *metrics]
    quality = pd.DataFrame([row for rows, _ in results for row in rows], columns=columns)
    return Scores(quality, pd.DataFrame([cost for _, cost in results]))


def _tasks(
    calls: Sequence[Source], settings: Sequence[Setting]
) -> Iterator[tuple[int, Spoken, Setting]]:
    """Every setting on every call. What a call needs lives as long as its tasks."""
    for number, call in enumerate(calls):
        spoken = Spoken(call)
        for setting in settings:
            yield number, spoken, setting


def _score_one(
    task: tuple[int, Spoken, Setting], legs: Sequence[Leg], metrics: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One setting on one call: a row for each segment and leg, and what it costs."""
    number, spoken, setting = task
    trials = run_trials(spoken, setting, legs)
    rows = [
        {
            "call": number,
            "segment": segment,
            "leg": trial.leg.name,
            "setting": setting.label,
            **scores,
        }
        for trial in trials
        for segment, scores in enumerate(trial.scores(metrics))
    ]
    passed = trials[0].resent
    cost = {
        "call": number,
        "setting": setting.label,
        "seconds": passed.said.duration,
        "kbit_s": passed.kbit_s,
        "delay_ms": passed.delay_ms,
    }
    return rows, cost
