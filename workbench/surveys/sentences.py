"""What changed between groups of calls, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from workbench.surveys.result import LABEL

__all__ = ["ALPHA", "LEAST_CALLS", "MOST_GROUPS", "Pair", "in_words"]

#: What differs has a p below it, after Holm.
ALPHA: Final = 0.05
#: Fewer calls of a group are not compared.
LEAST_CALLS: Final = 8
#: More groups are hardly what was meant: a label that every call has of its own.
MOST_GROUPS: Final = 20


class Pair(NamedTuple):
    """Two groups to be compared.

    Parameters:
        group: Name of the one.
        against: Names of all that the other consists of.
    """

    group: str
    against: tuple[str, ...]


def in_words(
    calls: pd.DataFrame,
    label: str,
    groups: dict[str, int],
    pairs: Sequence[Pair],
    table: pd.DataFrame,
    is_ordered: bool,
) -> list[str]:
    """Say what differs, by how much, and how that was found.

    Args:
        calls: One row a call.
        label: By which they are grouped.
        groups: Name to number of calls.
        pairs: What was compared with what.
        table: As of :class:`workbench.surveys.groups.Changes`.
        is_ordered: Whether the groups follow each other in time.
    """
    listed = ", ".join(f"{name} ({size})" for name, size in groups.items())
    if len(groups) > MOST_GROUPS:
        listed = f"{len(groups)} values"
    told = [f"Calls by {label}, in order of time: {listed}."]
    without = len(calls) - sum(groups.values())
    if without:
        told.append(f"Without this label: {without}, left out.")
    if few := [name for name, size in groups.items() if size < LEAST_CALLS]:
        named = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        told.append(f"Too few to compare, less than {LEAST_CALLS} calls: {named}.")
    if not pairs:
        return [*told, "So there is nothing to compare."]
    changed = table[table["differs"]].sort_values("p", kind="stable")
    told += [_sentence(row, groups, is_ordered) for row in changed.to_dict("records")]
    count = len(table)
    how = f"calls permuted between the groups, p below {ALPHA} after Holm's correction for all {count}"
    if len(changed):
        told.append(
            f"Of {count} figures compared these differ by more than chance: {how}. Intervals are of "
            "95 % over calls, by bootstrap, each for itself."
        )
        told += _confounded(calls, label, pairs)
    else:
        told.append(f"None of {count} figures differs by more than chance: {how}.")
    return told


def _sentence(row: dict[Any, Any], groups: dict[str, int], is_ordered: bool) -> str:
    """What changed, by how much, from what."""
    where = f"Since {row['group']}" if is_ordered else f"In {row['group']}"
    head = f"{where}, against {row['against']}: {row['title']} "
    unit = row["unit"]
    values = f"{_number(row['value'])} {unit} after {_number(row['before'])} {unit}"
    if not is_ordered:
        values = f"{_number(row['value'])} {unit}, there {_number(row['before'])} {unit}"
    between = "" if np.isnan(row["low"]) else f" ({_number(row['low'])} to {_number(row['high'])})"
    if row["form"] == "more":
        more = "more" if row["effect"] > 0 else "less"
        sign = 1 if row["effect"] > 0 else -1
        ends = sorted((sign * row["low"], sign * row["high"]))
        between = f" ({_number(ends[0])} to {_number(ends[1])})"
        return f"{head}{_number(abs(row['effect']))} {unit} {more}{between}: {values}."
    if row["before"] <= 0:
        return f"{head}{_number(row['value'])} {unit}; {_none_before(row, groups, is_ordered)}."
    if row["value"] <= 0:
        return f"{head}none any more, after {_number(row['before'])} {unit}."
    return f"{head}{_number(row['effect'])} times as {row['form']}{between}: {values}."


def _none_before(row: dict[Any, Any], groups: dict[str, int], is_ordered: bool) -> str:
    """Of what there was none in the other group, nor, where they follow each other, before."""
    if not is_ordered:
        others = sum(n for name, n in groups.items() if name != row["group"] and n >= LEAST_CALLS)
        return f"there none of it in {others} calls"
    return f"in {row['against']}{' and before' if row['never'] else ''} none of it"


def _confounded(calls: pd.DataFrame, label: str, pairs: Sequence[Pair]) -> list[str]:
    """Other labels that the two groups have no value of in common."""
    told = []
    others = [c for c in calls.columns if c.startswith(LABEL) and c != f"{LABEL}{label}"]
    for pair in pairs:
        groups = calls[f"{LABEL}{label}"]
        sides = calls[groups == pair.group], calls[groups.isin(pair.against)]
        for other in others:
            values = [set(side[other].dropna()) for side in sides]
            if all(values) and not values[0] & values[1]:
                told.append(
                    f"{other.removeprefix(LABEL)} changes with {label} at {pair.group}: which of the "
                    "two it is, these calls cannot tell."
                )
    return told


def _number(value: float) -> str:
    return (
        f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:.2g}"
        if abs(value) < 1
        else f"{value:.1f}"
    )
