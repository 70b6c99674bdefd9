"""What a comparison comes to, in sentences."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.audio import Audio
from workbench.exceptions import MetricWarning
from workbench.metrics import spectra, speech_level
from workbench.tuning.legs import Leg
from workbench.tuning.objective import OBJECTIVES, objective_for

if TYPE_CHECKING:
    from collections.abc import Hashable

    import pandas as pd

    from workbench.tuning.carrier_recording import MeasuredLeg

__all__ = ["assumption", "conclusion", "listed", "on_recording"]


def conclusion(table: pd.DataFrame, legs: Sequence[Leg], reference: Audio) -> list[str]:
    """Say what to take, leg by leg, and what that costs.

    Args:
        table: A row for each setting and leg, with the columns of
            :mod:`workbench.tuning.comparison`.
        legs: In the order to speak of them.
        reference: What was compared with.
    """
    rows = table.to_dict("records")
    speech = speech_level.speech_secs(reference)
    if not speech:
        cheapest = min(rows, key=lambda row: row["kbit_s"])
        return [
            "The bot does not speak in this call, so quality cannot be compared; "
            f"{cheapest['setting']} is the cheapest at {cheapest['kbit_s']:.0f} kbit/s."
        ]
    sentences = [_on_leg([r for r in rows if r["leg"] == leg.name], leg) for leg in legs]
    if speech < 3:
        sentences.append(f"That is {speech:.1f} s of speech: too little to rely on.")
    return [*sentences, *_waste(table, reference)]


def on_recording(recorded: Mapping[str, float]) -> str:
    """Say how near the carrier's recording itself comes: its ``lsd_db`` and ``estoi``."""
    distance, estoi = (OBJECTIVES[name] for name in ("lsd_db", "estoi"))
    return (
        f"The recording itself has {distance.range([recorded['lsd_db']])} {distance.band} to what "
        f"the bot said, and {estoi.range([recorded['estoi']])}."
    )


def _on_leg(rows: list[dict[Hashable, Any]], leg: Leg) -> str:
    objective = objective_for(leg)
    scores = [objective.of(row) for row in rows]
    if not np.isfinite(scores).any():
        return f"Over {leg.name} nothing could be measured."
    best = np.nanmax(scores) if objective.higher_is_better else np.nanmin(scores)
    behind = [objective.gain(best, over=score) for score in scores]
    tied = [row for row, gap in zip(rows, behind, strict=True) if gap <= objective.matters]
    tied.sort(key=lambda row: row["kbit_s"])
    first, last = tied[0], tied[-1]
    take = f"take {first['setting']}, {first['kbit_s']:.0f} kbit/s"
    figures = objective.range(objective.of(row) for row in tied)
    if len(tied) == len(rows) > 1:
        return (
            f"Over {leg.name} all {len(rows)} settings sound the same ({figures}): {take}; "
            f"{last['setting']} costs {last['kbit_s'] / first['kbit_s']:.1f} times as much for nothing."
        )
    lead = f"{take}: the best ({figures})."
    if len(tied) > 1:
        names = listed(row["setting"] for row in tied)
        lead = f"{names} sound the same ({figures}): {take}, the cheapest of them."
    worse = [
        f"{row['setting']} by {objective.text(gap)}"
        for row, gap in zip(rows, behind, strict=True)
        if gap > objective.matters
    ]
    return f"Over {leg.name} {lead}" + (f" Behind: {', '.join(worse)}." if worse else "")


def _waste(table: pd.DataFrame, reference: Audio) -> list[str]:
    """Say where the voice itself ends, when the dearest setting could carry more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        reach = spectra.effective_bandwidth(reference)
    if not reach <= 4200 or table["setting"].nunique() < 2:
        return []
    top = table["setting"][table["kbit_s"].argmax()]
    made = f"comes at {reference.sample_rate} Hz but was narrowband before"
    if reference.sample_rate <= 8000:
        made = f"was made at {reference.sample_rate} Hz"
    return [f"The voice {made} and ends at {reach:.0f} Hz: {top} has nothing more to carry."]


def assumption(legs: Sequence[Leg], measured: MeasuredLeg | None) -> str:
    """Say what the legs assume, or that a recording bears it out."""
    described = " ".join(f"{leg.name}: {leg.description}" for leg in legs)
    ground = "Assumed of the far end, which no capture shows"
    names = [leg.name for leg in legs]
    if measured is not None and names == [measured.leg]:
        ground = "The leg whose noise is on the carrier's recording"
    elif measured is not None and names == [measured.stands_for]:
        ground = "The carrier's recording shows a wide leg, for which stands"
    elif measured is not None and measured.stands_for is None:
        ground = "Assumed of the far end, of which neither the capture nor the recording tells"
    return (
        f"{ground}: {described} Bandwidth is assumed to resample well, and to lose and level "
        "nothing. Compared with what the bot said; pauses over 0.5 s are left out."
    )


def listed(names: Iterable[str]) -> str:
    """Join names: ``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
