"""What PESQ and ViSQOL say of foreign voices over every leg and setting, beside what tuning measures.

The recipe: of each speaker of :mod:`tests.benchmarks._foreign` 6 s of phrases in one form, in turn: as
a pipeline at 24 kHz and at 8 kHz would have them, narrow at 24 kHz, and 20 dB fainter. Many speakers in
one form tell more than few in all. It is sent with the four settings over each leg of
:data:`JUDGED` that this machine has; damage, missing bandwidth and both opinions of each. PESQ is asked as
:mod:`workbench.metrics.opinions` asks it, wideband but for references at 8 kHz; ViSQOL always at 16
kHz. All of it is kept in ``.bench/calibration``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from tests.benchmarks._foreign import MADE, Form, Half, Speaker, call_of, form_of, formed, speakers
from tests.benchmarks._jobs import spread
from workbench.metrics.distances import evaluate_aligned
from workbench.metrics.opinions import PESQ, VISQOL, opinions
from workbench.metrics.prepared import Prepared
from workbench.tuning.legs import LEGS, lacking
from workbench.tuning.objective import OBJECTIVES, PARTS
from workbench.tuning.settings import SETTINGS
from workbench.tuning.trial import Spoken, Trial, run_trials

__all__ = ["judged", "pairs", "pieces"]

#: Over which legs: GSM and tandems do to narrow voices what AMR-NB does.
JUDGED = ("G.711", "G.722", "Opus", "AMR-NB", "AMR-WB")

#: Of each speaker both models judge so much; for coverage so much is cut into pieces.
JUDGED_SECS = 6.0
CUT_SECS, PIECE_SECS = 12.0, 2.0

#: Both see a difference from so much on, and none below so much, in MOS.
SEEN, UNSEEN = 0.15, 0.05


def judged(console: Console, half: Half, kind: str | None = None) -> pd.DataFrame:
    """A row for each speaker of a half, leg and setting: both opinions, damage, missing bandwidth.

    Only of one kind, if it is given. Without the models there are none, and nothing is kept.
    """
    if missing := [name for name in ("pesq", "visqol") if find_spec(name) is None]:
        sys.exit(f"{' and '.join(missing)} missing: pip install '.[quality,pesq]'")
    asked = [one for one in speakers(half) if kind in (None, one.kind)]
    jobs = [(opinions_of, one, form_of(one)) for one in asked]
    return _kept("judged", jobs, console)


def pieces(console: Console) -> pd.DataFrame:
    """A row for each 2 s of speech over G.711 and G.722, with all metrics that can be objectives.

    Of the voices that are judged on, wide where they are, and narrow.
    """
    forms: dict[bool, tuple[Form, ...]] = {True: ("wide", "narrow"), False: ("narrow",)}
    jobs = [(pieces_of, one, form) for one in speakers("judge") for form in forms[one.wide]]
    return _kept("pieces", jobs, console)


def _kept(name: str, jobs: Sequence[tuple[Any, Speaker, Form]], console: Console) -> pd.DataFrame:
    """What is there already, and the rest made."""
    path = {job: MADE / name / f"{job[1].name}.{job[2]}.csv" for job in jobs}
    missing = [job for job in jobs if not path[job].exists()]
    for job, made in zip(missing, spread(missing, console, chunk=1), strict=True):
        if made is not None:
            path[job].parent.mkdir(parents=True, exist_ok=True)
            made.to_csv(path[job], index=False)
    tables = [pd.read_csv(one) for one in path.values() if one.exists()]
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def _trials(speaker: Speaker, form: Form, legs: list[str], secs: float) -> Iterator[Trial]:
    call = call_of(speaker, secs)
    if call is None:
        return
    spoken = Spoken(formed(call, form))
    for setting in SETTINGS:
        yield from run_trials(spoken, setting, [LEGS[name] for name in legs])


def opinions_of(speaker: Speaker, form: Form) -> pd.DataFrame:
    """The rows of one speaker and form; none where the package of its voice is lacking."""
    legs = [name for name in JUDGED if not lacking(LEGS[name])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trials = list(_trials(speaker, form, legs, JUDGED_SECS))
        if not trials:
            return pd.DataFrame({"speaker": []})
        reference, heard = trials[0].reference, [trial.degraded for trial in trials]
        pesq = opinions(PESQ, reference, heard)
        wide = [audio.resampled(16000) for audio in heard]
        visqol = opinions(VISQOL, reference.resampled(16000), wide)
        rows = [
            {
                "speaker": speaker.name,
                "half": speaker.half,
                "form": form,
                "leg": trial.leg.name,
                "setting": trial.setting.label,
                "pesq": p.score,
                "visqol": v.score,
                "problem": p.reason or v.reason,
                **pd.DataFrame(trial.scores(PARTS)).mean().to_dict(),
            }
            for trial, p, v in zip(trials, pesq, visqol, strict=True)
        ]
    return pd.DataFrame(rows)


def pieces_of(speaker: Speaker, form: Form) -> pd.DataFrame:
    """The pieces of one speaker."""
    rows: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared: dict[int, Prepared] = {}
        for trial in _trials(speaker, form, ["G.711", "G.722"], CUT_SECS):
            said = trial.reference
            for number, start in enumerate(np.arange(0, said.duration - PIECE_SECS, PIECE_SECS)):
                one = said.span(start, start + PIECE_SECS)
                reference = prepared.setdefault(number, Prepared(one))
                heard = trial.degraded.span(start, start + PIECE_SECS)
                rows.append(
                    {
                        "speaker": speaker.name,
                        "half": speaker.half,
                        "form": form,
                        "leg": trial.leg.name,
                        "setting": trial.setting.label,
                        "piece": number,
                        **evaluate_aligned(reference, heard, list(OBJECTIVES)),
                    }
                )
    return pd.DataFrame(rows) if rows else pd.DataFrame({"speaker": []})


def pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Every two settings of one call on one leg: how much better the second is.

    Returns:
        Columns ``speaker``, ``form``, ``leg``, ``first``, ``second``, the differences ``pesq`` and
        ``visqol`` in MOS, ``mos`` their mean, those of :data:`PARTS` in per cent less; and whether
        both see it, ``seen``, or neither, ``unseen``.
    """
    found = []
    keys = ["speaker", "form", "leg"]
    valid = rows.dropna(subset=["pesq", "visqol"])
    for names, group in valid.groupby(keys):
        by = group.set_index("setting")
        labels = [s.label for s in SETTINGS if s.label in by.index]
        for first, second in combinations(labels, 2):
            found.append(
                dict(zip(keys, names, strict=True))
                | {"first": first, "second": second}
                | {name: by.at[second, name] - by.at[first, name] for name in ("pesq", "visqol")}
                | {name: by.at[first, name] - by.at[second, name] for name in PARTS}
            )
    table = pd.DataFrame(found)
    sizes = table[["pesq", "visqol"]].abs()
    agree = np.sign(table["pesq"]) == np.sign(table["visqol"])
    return table.assign(
        mos=table[["pesq", "visqol"]].mean(axis=1),
        seen=agree & (sizes.min(axis=1) >= SEEN),
        unseen=sizes.max(axis=1) < UNSEEN,
    )
