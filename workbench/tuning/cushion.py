"""Which cushion: fewer holes in what the bot says, against each answer's being later.

What counts is the *trouble* of an utterance: by how much it is later, and each hole that is still
heard in it as :data:`HOLE_MS` more. So a cushion of 100 ms is taken where more than one utterance in
ten has a hole that it hides, one of 20 ms where one in fifty has. That price is a judgement, not a
measurement: a hole is in a word, and what was said has to be said again.

It is chosen as the encoding is (:mod:`workbench.tuning.choice`): of all that are not worse than the
best by what matters the shortest, in most resamplings of utterances or calls. So without holes, and
where no cushion that is allowed hides enough of them, it is none.

References:
    .. [1] T. Stivers and others, "Universals and cultural variation in turn-taking in conversation",
       PNAS 106(26), 2009: between two people's turns are 200 ms, mean of ten languages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from workbench.metrics.resampling import RESAMPLINGS
from workbench.metrics.segments import LEAST_SEGMENTS
from workbench.tuning.choice import choose
from workbench.tuning.decision import SURE
from workbench.tuning.objective import Objective
from workbench.tuning.stalls import CUSHIONS_MS, Stalls

__all__ = ["HOLE_MS", "MOST_MS", "CushionChoice", "choose_cushion", "trouble"]

#: So much later an utterance may begin, if not told otherwise: as long as people leave between two
#: turns [1]_.
MOST_MS: Final = 200

#: A hole is as much trouble as so many milliseconds of waiting.
HOLE_MS: Final = 1000.0

_GOAL: Final = Objective("trouble_ms", False, 10.0, "ms", "delay and holes of an answer")


@dataclass(frozen=True, eq=False)
class CushionChoice:
    """The cushion to take.

    Parameters:
        cushion_ms: ``outbound_cushion_ms``; 0 for none.
        confidence: Share of the resamplings that lead to the same, 0 to 1; NaN for fewer than
            three utterances.
        table: One row for each cushion up to the longest that is allowed: ``cushion_ms``,
            ``holes`` and ``hole_ms`` that would have been heard, ``holes_per_min`` of the bot's
            speech, ``delay_ms`` of an utterance, mean ``trouble_ms``, the share of resamplings in
            which it is ``taken``, ``verdict``.
        why: The reasons, in sentences; the first says what to take.
    """

    cushion_ms: int
    confidence: float
    table: pd.DataFrame
    why: tuple[str, ...]


def trouble(stalls: Stalls) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The trouble of each utterance with each cushion, in milliseconds, shape ``(u, n)``."""
    return stalls.delay_ms + HOLE_MS * stalls.holes


def choose_cushion(
    calls: Sequence[Stalls], most_ms: float = MOST_MS, *, seed: int = 0
) -> CushionChoice | None:
    """Choose a cushion for calls like these.

    Args:
        calls: What each of :data:`workbench.tuning.stalls.CUSHIONS_MS` would have made of each call.
        most_ms: The longest that is allowed.
        seed: Of the resampling.

    Returns:
        The choice; ``None`` if there is no call, or no utterance in any.
    """
    spoken = [stalls for stalls in calls if len(stalls.holes)]
    if not spoken:
        return None
    tried = [number for number, cushion in enumerate(CUSHIONS_MS) if cushion <= max(0.0, most_ms)]
    cushions = np.array(CUSHIONS_MS)[tried]
    scores = np.concatenate([trouble(stalls)[:, tried] for stalls in spoken])
    groups = np.repeat(np.arange(len(spoken)), [len(stalls.holes) for stalls in spoken])
    choice = choose(scores, cushions.astype(np.float64), _GOAL, groups=groups, seed=seed)
    enough = len(scores) >= LEAST_SEGMENTS
    table = _table(spoken, tried).assign(
        taken=choice.taken if enough else np.nan,
        verdict=["chosen" if k == choice.chosen else "" for k in range(len(tried))],
    )
    return CushionChoice(
        cushion_ms=int(cushions[choice.chosen]),
        confidence=choice.agreement,
        table=table,
        why=(
            _first(table, choice.chosen, most_ms),
            *_stood_still(spoken),
            _rule(most_ms),
            _certainty(len(scores), len(spoken), choice.agreement, choice.of_others, table),
        ),
    )


def _table(calls: Sequence[Stalls], tried: Sequence[int]) -> pd.DataFrame:
    holes = sum(stalls.holes.sum(axis=0)[tried] for stalls in calls)
    delay = np.concatenate([stalls.delay_ms[:, tried] for stalls in calls])
    minutes = sum(stalls.said_secs for stalls in calls) / 60
    return pd.DataFrame(
        {
            "cushion_ms": np.array(CUSHIONS_MS)[tried],
            "holes": np.asarray(holes).astype(int),
            "hole_ms": sum(stalls.hole_ms.sum(axis=0)[tried] for stalls in calls),
            "holes_per_min": holes / minutes,
            "delay_ms": delay.mean(axis=0),
            "trouble_ms": np.concatenate([trouble(stalls)[:, tried] for stalls in calls]).mean(0),
        }
    )


# -- in words ----------------------------------------------------------------------------------


def _first(table: pd.DataFrame, chosen: int, most_ms: float) -> str:
    none, taken, longest = (table.iloc[k] for k in (0, chosen, len(table) - 1))
    holes, per_min = int(none["holes"]), none["holes_per_min"]
    if not holes:
        return "Take no cushion: in the bot's speech there is no hole that one is to hide."
    were = f"{_holes(holes)} of {none['hole_ms']:.0f} ms, {per_min:.2g} in a minute of speech"
    if chosen:
        hidden = holes - int(taken["holes"])
        return (
            f"Take a cushion of {taken['cushion_ms']:.0f} ms: it would have hidden {hidden} of "
            f"{_holes(holes)}, {none['hole_ms'] - taken['hole_ms']:.0f} of {none['hole_ms']:.0f} ms; "
            f"{taken['delay_ms']:.0f} ms more before each answer."
        )
    if not longest["cushion_ms"]:
        return f"Take no cushion, since none is allowed: {were}."
    if longest["holes"] == holes:
        return f"Take no cushion: none up to {most_ms:.0f} ms hides a hole ({were})."
    return (
        f"Take no cushion: there are too few holes to delay each answer for ({were}; "
        f"{longest['cushion_ms']:.0f} ms would have hidden {holes - int(longest['holes'])})."
    )


def _holes(count: int) -> str:
    return "1 hole" if count == 1 else f"{count} holes"


def _stood_still(calls: Sequence[Stalls]) -> list[str]:
    count = sum(stalls.stood_still for stalls in calls)
    if not count:
        return []
    are = "1 hole more is" if count == 1 else f"{count} holes more are"
    return [
        f"{are} left out: the bot's whole process stood still, which is to be mended there, not hidden."
    ]


def _rule(most_ms: float) -> str:
    return (
        f"What counts is the delay of an answer, and each hole in it as {HOLE_MS:.0f} ms more; "
        f"{_GOAL.matters:.0f} ms or less of difference is none, and at most {most_ms:.0f} ms are "
        'allowed (constraints={"cushion_ms": ...}).'
    )


def _certainty(
    count: int, calls: int, agreement: float, of_others: bool, table: pd.DataFrame
) -> str:
    where = "one call" if calls == 1 else f"{calls} calls"
    if count < LEAST_SEGMENTS:
        few = "a single utterance" if count == 1 else f"{count} utterances"
        return f"It rests on {few}, so how sure the cushion is cannot be said."
    if not table["holes"].iloc[0]:  # by the rule of three
        return (
            f"There was none in {count} utterances of {where}: with 95 % certainty fewer than "
            f"{100 * min(1.0, 3 / count):.0f} % of all have one."
        )
    about = "" if of_others else " That is about these calls only."
    sure = "Sure" if agreement >= SURE else "Not sure"
    return (
        f"{sure} of the cushion: {100 * agreement:.0f} % of {RESAMPLINGS} resamplings of {count} "
        f"utterances from {where} lead to the same.{about}"
    )
