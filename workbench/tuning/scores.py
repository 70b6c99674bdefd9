"""Scores of every setting on every segment of speech of some calls.

Segments last 6 to 15 seconds, where there is that much speech: in shorter ones intelligibility and
spectra vary too much, longer ones are too few to compare. They end where the voice is quietest, and
are the same for all settings and legs, so that scores can be compared pair by pair.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from workbench.exceptions import MetricWarning
from workbench.tuning.facts import Facts
from workbench.tuning.legs import Leg, lacking, legs_named
from workbench.tuning.sentences import listed
from workbench.tuning.settings import Setting
from workbench.tuning.trial import Spoken, Trial, run_trials, scored
from workbench.tuning.voice import Source
from workbench.workers import Here

__all__ = ["Scores", "on_their_legs", "score"]


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
    *,
    beside: Sequence[Leg] = (),
) -> Scores:
    """Score all settings on all calls and legs.

    Args:
        calls: Calls, or audio of the bot's speech; a process is sent what was said, not the call.
        settings: What to try.
        legs: The far legs.
        metrics: Names of :func:`workbench.metrics.distances.evaluate`.
        executor: Where calls and settings are tried, side by side; threads by default.
        beside: Further legs, tried on the beginning of each call; not where their codec is lacking.

    Raises:
        ValueError: If in a call the bot said nothing, or for an unknown metric.
    """
    one = partial(_score_one, legs=legs, metrics=metrics, beside=beside)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)  # what is NaN is left out
        if executor is None:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                results = list(_by_segment(threads, calls, settings, legs, metrics, beside))
        elif isinstance(executor, (Here, ThreadPoolExecutor)):
            results = list(_by_segment(executor, calls, settings, legs, metrics, beside))
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
    task: tuple[int, Spoken, Setting],
    legs: Sequence[Leg],
    metrics: Sequence[str],
    beside: Sequence[Leg],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One setting on one call: a row for each segment and leg, and what it costs."""
    number, spoken, setting = task
    return next(_by_segment(Here(), [spoken], [setting], legs, metrics, beside, first=number))


def _by_segment(
    executor: Executor,
    calls: Sequence[Source | Spoken],
    settings: Sequence[Setting],
    legs: Sequence[Leg],
    metrics: Sequence[str],
    beside: Sequence[Leg],
    first: int = 0,
) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Call by call: first what is heard of each setting, then segment by segment all of them.

    What is known of a segment of the reference is known once, and forgotten with the segment.
    """
    known = {leg.name for leg in legs}
    possible = [leg for leg in beside if leg.name not in known and not lacking(leg)]
    for number, call in enumerate(calls, first):
        spoken = call if isinstance(call, Spoken) else Spoken(call)
        _ = spoken.segments  # known before threads ask for it
        run = partial(run_trials, spoken, legs=legs, brief=possible)
        groups = list(executor.map(run, settings))
        scores: dict[Trial, list[dict[str, float]]] = {}
        for part in (slice(len(legs)), slice(len(legs), None)):
            alike = [trial for group in groups for trial in group[part]]
            if not alike:
                continue
            spans = alike[0].spoken.segments
            rows = list(executor.map(partial(scored, alike, metrics=metrics), spans))
            scores |= {trial: [row[at] for row in rows] for at, trial in enumerate(alike)}
        for group in groups:
            yield _rows(number, group, scores)


def _rows(
    number: int, trials: Sequence[Trial], scores: Mapping[Trial, Sequence[dict[str, float]]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Of one setting on one call: a row for each segment and leg, and what it costs."""
    label, passed = trials[0].setting.label, trials[0].resent
    rows = [
        {"call": number, "segment": segment, "leg": trial.leg.name, "setting": label, **row}
        for trial in trials
        for segment, row in enumerate(scores[trial])
    ]
    cost = {
        "call": number,
        "setting": label,
        "seconds": passed.said.duration,
        "kbit_s": passed.kbit_s,
        "delay_ms": passed.delay_ms,
    }
    return rows, cost


#: What stands for a leg where calls were recorded on several.
_RECORDED: Final = "the legs recorded"


def on_their_legs(
    legs: Sequence[Leg], scores: Scores, facts: Sequence[Facts]
) -> tuple[Scores, tuple[Leg, ...], str]:
    """Let each call count on the leg that its recording shows.

    Args:
        legs: The one that is assumed of the others, and those that are reported.
        scores: On all of them, and on each call's own.
        facts: Of each call.

    Returns:
        The scores; the legs, with what the calls were on as the first; and what that rests on.
    """
    assumed = legs[0]
    shown = Counter(fact.leg for fact in facts if fact.leg)
    silent = sum(1 for fact in facts if fact.recording and not fact.leg)
    dumb = f" {silent} recording{'s do' if silent > 1 else ' does'} not tell." if silent else ""
    if not shown:
        ground = "Assumed of the far end, which no capture shows: "
        return scores, tuple(legs), f"{ground}{assumed.name}. {assumed.description}{dumb}"
    own = np.array([fact.leg or assumed.name for fact in facts])
    told = listed(f"{name} in {count}" for name, count in shown.most_common())
    rest = len(facts) - shown.total()
    ground = f"The leg that the carrier's recordings of {shown.total()} of {len(facts)} calls show: {told}."
    if rest:
        ground += f" Of the others {assumed.name} is assumed."
    if len(set(own)) == 1:
        (far,) = legs_named(str(own[0]))
    else:
        rows = scores.quality
        mine = rows[rows["leg"].to_numpy(dtype=str) == own[rows["call"].to_numpy()]]
        scores = Scores(pd.concat([rows, mine.assign(leg=_RECORDED)]), scores.cost)
        far = replace(assumed, name=_RECORDED)
    return scores, (far, *(leg for leg in legs if leg.name != far.name)), ground + dumb
