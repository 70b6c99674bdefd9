"""What is said of groups of calls: how often wrongly, how often at all, how often its interval holds.

Drawn surveys of 23 figures, in which a few calls have most of the holes. In one nothing changed; in the
other there are three times as many holes.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from tests.benchmarks.tuning import table
from tests.surveyed import drawn
from workbench.surveys.groups import changes

SURVEYS = 100
SIZES = ((60, 60), (20, 20), (100, 10))
RATE, FACTOR = 2.0, 3.0


def run(console: Console) -> Sequence[Sequence[str]]:
    rows = [["calls", "something said where nothing changed", "change seen", "interval holds"]]
    for before, after in SIZES:
        alarms = seen = told = held = 0
        for seed in range(SURVEYS):
            same = {"1.3": (before, RATE), "1.4": (after, RATE)}
            more = {"1.3": (before, RATE), "1.4": (after, FACTOR * RATE)}
            quiet = changes(drawn(same, seed, evenness=0.5, kinds=10), "release")
            alarms += bool(quiet.table["differs"].any())
            found = changes(drawn(more, seed, evenness=0.5, kinds=10), "release").table
            for holes in found[found["figure"] == "holes_per_min"].itertuples():
                seen += bool(holes.differs)
                told += holes.low == holes.low
                held += holes.low <= FACTOR <= holes.high
        rows.append(
            [f"{before} and {after}", *(f"{100 * n / of:.0f} %" for n, of in
             ((alarms, SURVEYS), (seen, SURVEYS), (held, max(1, told))))]
        )  # fmt: skip
    console.print(table("Groups of calls", rows))
    return rows
