"""Run the fuzzers from a shell; 1 when anything came of a case that may not."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from loguru import logger

from tests.fuzz import captures, messages, sounds
from tests.fuzz.isolated import Outcome

#: Bad cases that are shown.
_SHOWN = 12


def several(case: Callable[[int, int], Outcome], seed: int, numbers: range) -> list[Outcome]:
    """Some cases, one after the other."""
    return [case(seed, number) for number in numbers]


def run(what: str, case: Callable[[int, int], Outcome], cases: int, seed: int, workers: int) -> int:
    """Try cases, print what came of them, and return how many may not have come of them."""
    parts = [range(first, min(cases, first + 20)) for first in range(0, cases, 20)]
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(workers) as pool:
        for some in pool.map(partial(several, case, seed), parts):
            outcomes += some
    count = Counter(outcome.what for outcome in outcomes)
    told = ", ".join(f"{number} {name}" for name, number in count.most_common())
    slowest = max(outcomes, key=lambda outcome: outcome.secs)
    largest = max(outcomes, key=lambda outcome: outcome.mb)
    bad = [(n, outcome) for n, outcome in enumerate(outcomes) if not outcome.is_allowed]
    print(
        f"{what}: {cases} cases, seed {seed}: {told}; at worst {slowest.secs:.1f} s and "
        f"{largest.mb:.0f} MB; not allowed: {len(bad)}",
        flush=True,
    )
    for number, outcome in bad[:_SHOWN]:
        print(f"  case {number}, {outcome.step}: {outcome.what}\n{outcome.told}", flush=True)
    return len(bad)


def main() -> int:
    """Run from a shell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--captures", type=int, default=3000)
    parser.add_argument("--sounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="Try so much of all of these.")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logger.remove()  # what is logged is checked, and not shown
    bad = 0
    for name, case in (("captures", captures.case), ("sounds", sounds.case)):
        if cases := round(given.share * getattr(given, name)):
            bad += run(name, case, cases, given.seed, given.workers)
    if cases := round(given.share * given.messages):
        endings = asyncio.run(messages.run(cases, given.seed))
        print(f"messages: {cases} cases, seed {given.seed}: {endings.total()} ended a call")
        for how, count in endings.most_common(20):
            print(f"  {count:6} {how}")
        bad += endings.total()
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
