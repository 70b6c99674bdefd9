"""Surveys of drawn calls: rows as :func:`workbench.survey` makes them, of known rates of holes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.surveys import Survey

#: Groups of calls, of which each has so many holes a minute.
Rates = dict[str, tuple[int, float]]


def drawn(
    rates: Rates,
    seed: int = 1,
    *,
    mixed: bool = False,
    evenness: float = 1.0,
    kinds: int = 0,
    **labels: list[str],
) -> Survey:
    """Calls as they are: few have most of the holes, not all have answers, and all else is alike.

    Args:
        rates: Number of calls and holes a minute, by release.
        seed: Of the draw.
        mixed: Whether the releases are side by side; else they follow each other.
        evenness: Shape of the gamma distribution of the calls' own rates.
        kinds: So many further kinds of findings, each in a tenth of the calls.
        labels: Further ones, a value a call.
    """
    rng = np.random.default_rng(seed)
    release = np.repeat(list(rates), [count for count, _ in rates.values()])
    per_min = np.repeat(
        [rate for _, rate in rates.values()], [count for count, _ in rates.values()]
    )
    n = len(release)
    secs = rng.gamma(4.0, 15.0, n)
    holes = rng.poisson(per_min * secs / 60 * rng.gamma(evenness, 1 / evenness, n))
    sent = rng.integers(1000, 9000, n)
    order = rng.permutation(n) if mixed else np.arange(n)
    calls = pd.DataFrame(
        {
            "capture": [f"{number}.mcap" for number in range(n)],
            "started_at": pd.Timestamp("2026-11-01", tz="UTC") + pd.to_timedelta(order, unit="h"),
            "holes": holes,
            "bot_speech_secs": secs,
            "inbound_messages": sent,
            "lost_messages": rng.binomial(sent, rng.beta(0.3, 60, n)),
            "errors": (holes > 3).astype(int),
            "harm": np.where(holes > 3, 2170.0, np.where(holes > 0, 1170.0, 0.0)),
            "bot_sent_ms": 1000 * secs,
            "caller_heard_ms": 1000 * secs * rng.beta(30, 2, n),
            "answer_p50_ms": np.where(rng.random(n) < 0.9, rng.lognormal(7.0, 0.4, n), np.nan),
            "answer_p95_ms": rng.lognormal(7.4, 0.5, n),
            "time_to_yield_ms": np.where(rng.random(n) < 0.4, rng.normal(500, 100, n), np.nan),
            "jitter_ms": rng.lognormal(0.0, 1.0, n),
            "caller_level_dbov": rng.normal(-25, 5, n),
            "bot_level_dbov": rng.normal(-22, 1, n),
            "duration": rng.gamma(2.0, 60.0, n),
            "label_release": release,
            **{f"label_{name}": values for name, values in labels.items()},
        }
    )
    found = [
        {"capture": f"{number}.mcap", "severity": "warning", "kind": "underrun",
         "title": "Gap in playback"}
        for number in np.flatnonzero(holes)
    ]  # fmt: skip
    found += [
        {
            "capture": f"{number}.mcap",
            "severity": "warning",
            "kind": f"kind_{kind}",
            "title": "Other",
        }
        for kind in range(kinds)
        for number in np.flatnonzero(rng.random(n) < 0.1)
    ]
    return Survey(calls, pd.DataFrame(found, columns=["capture", "severity", "kind", "title"]))
