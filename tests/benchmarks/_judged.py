"""What PESQ and ViSQOL say of foreign voices over every leg and setting, beside what tuning measures.

The recipe: of each speaker of :mod:`tests.benchmarks._foreign` up to 9 s of phrases, as a pipeline
at 24 kHz and at 8 kHz would have them, natural voices also narrow at 24 kHz and 20 dB fainter; sent
with the four settings over each leg that this machine has; damage, missing bandwidth and both
opinions of each. PESQ is asked as :mod:`workbench.metrics.opinions` asks it, wideband but for
references at 8 kHz; ViSQOL always at 16 kHz. All of it is kept in ``.bench/calibration``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from tests.benchmarks._foreign import MADE, SPEAKERS, Form, Half, Speaker, calls, formed, forms
from tests.benchmarks._jobs import spread
from workbench.metrics.distances import evaluate_aligned
from workbench.metrics.opinions import PESQ, VISQOL, opinions
from workbench.metrics.prepared import Prepared
from workbench.tuning.legs import LEGS, lacking
from workbench.tuning.objective import OBJECTIVES, PARTS
from workbench.tuning.settings import SETTINGS
from workbench.tuning.trial import Spoken, Trial, run_trials

__all__ = ["judged", "pairs", "pieces"]

LONGEST_SECS = 9.0
PIECE_SECS = 2.0

#: Both see a difference from so much on, and none below so much, in MOS.
SEEN, UNSEEN = 0.15, 0.05


def judged(console: Console) -> pd.DataFrame:
    """A row for each speaker, form, leg and setting: both opinions, damage, missing bandwidth."""
    return _kept("judged", opinions_of, console)


def pieces(console: Console) -> pd.DataFrame:
    """A row for each 2 s of speech over G.711 and G.722, with all metrics that can be objectives."""
    return _kept("pieces", pieces_of, console)


def _kept(name: str, job: Any, console: Console) -> pd.DataFrame:
    """What is there already, and the rest made."""
    rows = []
    missing = []
    for speaker in SPEAKERS:
        for form in forms(speaker):
            path = MADE / name / f"{speaker.name}.{form}.csv"
            if path.exists():
                rows.append(pd.read_csv(path))
            else:
                missing.append((job, speaker, form))
    for (_, speaker, form), made in zip(missing, spread(missing, console, chunk=1), strict=True):
        if made is not None:
            path = MADE / name / f"{speaker.name}.{form}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            made.to_csv(path, index=False)
            rows.append(made)
    return pd.concat([table for table in rows if len(table)], ignore_index=True)


def _trials(speaker: Speaker, form: Form, legs: list[str]) -> Iterator[Trial]:
    made = calls(speaker)
    if not made:
        return
    call = made[forms(speaker).index(form) % len(made)]
    spoken = Spoken(formed(call.span(0, min(LONGEST_SECS, call.duration)), form))
    for setting in SETTINGS:
        yield from run_trials(spoken, setting, [LEGS[name] for name in legs])


def opinions_of(speaker: Speaker, form: Form) -> pd.DataFrame:
    """The rows of one speaker and form; none where the package of its voice is lacking."""
    legs = [name for name, leg in LEGS.items() if "+" not in name and not lacking(leg)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trials = list(_trials(speaker, form, legs))
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
    """The pieces of one speaker; of forms ``"wide"`` and ``"narrow"`` only."""
    if form not in ("wide", "narrow"):
        return pd.DataFrame({"speaker": []})
    rows: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared: dict[int, Prepared] = {}
        for trial in _trials(speaker, form, ["G.711", "G.722"]):
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


def pairs(rows: pd.DataFrame, half: Half) -> pd.DataFrame:
    """Every two settings of one call on one leg: how much better the second is.

    Returns:
        Columns ``speaker``, ``form``, ``leg``, ``first``, ``second``, the differences ``pesq`` and
        ``visqol`` in MOS, ``mos`` their mean, those of :data:`PARTS` in per cent less; and whether
        both see it, ``seen``, or neither, ``unseen``.
    """
    found = []
    keys = ["speaker", "form", "leg"]
    valid = rows[(rows["half"] == half)].dropna(subset=["pesq", "visqol"])
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
