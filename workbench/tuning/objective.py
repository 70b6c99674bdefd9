"""What "better" means: a metric, its direction, and the smallest difference that matters.

By default it is the *loss of quality*: damage in the telephone band and missing bandwidth
(:mod:`workbench.metrics.hearing`), each counted in smallest differences that matter on this leg
(:mod:`workbench.tuning.fitted`). As these are what moves listeners' models by 0.08 MOS, the sum is
in MOS: a difference of two losses is one that PESQ and ViSQOL would put about so.

References:
    .. [1] K. K. Paliwal, B. S. Atal, "Efficient vector quantization of LPC parameters at 24
       bits/frame", IEEE Trans. Speech and Audio Processing 1(1), 1993: a mean spectral distortion
       of about 1 dB is not heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

import pandas as pd

from workbench.tuning.fitted import LEAST_MOS, smallest
from workbench.tuning.legs import Leg

__all__ = ["OBJECTIVES", "PARTS", "WIDE_RATE", "Objective", "objective_for", "on_leg"]

#: Signals at a lower rate have no distance over the wide band, in hertz.
WIDE_RATE: Final = 14000

#: What the loss of quality is made of.
PARTS: Final = ("damage_percent", "missing_percent")

_DECIMALS: Final = {"MOS": 2, "": 3}


@dataclass(frozen=True)
class Objective:
    """A goal.

    Parameters:
        metric: A name of :func:`workbench.metrics.distances.evaluate`; or, with ``parts``, a new one.
        higher_is_better: Its direction.
        matters: Smallest difference that is worth paying for, in the metric's unit.
        unit: ``"MOS"``, ``"%"``, ``"dB"`` or empty.
        name: What it is, for people.
        band: Over what it is taken, for people; may be empty.
        parts: Metrics that it is the sum of, and of each the difference that counts as ``matters``.
        from_calls: From so many calls on, 95 % intervals were found to hold of other calls, too, of
            voices that nobody chose; with fewer, what is found is about these calls only. Infinite
            where no number of calls was found to do.
    """

    metric: str
    higher_is_better: bool
    matters: float
    unit: str
    name: str
    band: str = ""
    parts: tuple[tuple[str, float], ...] = ()
    from_calls: float = 80

    @property
    def metrics(self) -> tuple[str, ...]:
        """What has to be measured."""
        return tuple(name for name, _ in self.parts) or (self.metric,)

    def of(self, measured: Mapping[Any, Any] | pd.DataFrame) -> Any:
        """Its value, given those of :attr:`metrics`: of numbers a number, of columns a column."""
        if not self.parts:
            return measured[self.metric]
        return self.matters * sum(measured[name] / least for name, least in self.parts)

    def gain(self, value: float, over: float) -> float:
        """How much better a value is than another, in the metric's unit."""
        return value - over if self.higher_is_better else over - value

    def text(self, value: float) -> str:
        """A value with its unit: ``1.9 dB``, ``0.12 MOS``, ``0.985``."""
        return f"{value:.{_DECIMALS.get(self.unit, 1)}f} {self.unit}".rstrip()

    def range(self, values: Iterable[float]) -> str:
        """Several values: ``spectral distance 2.7 to 2.8 dB``."""
        found = sorted(values)
        low, high = self.text(found[0]), self.text(found[-1])
        return f"{self.name} {high if low == high else f'{low.removesuffix(self.unit).rstrip()} to {high}'}"

    def __str__(self) -> str:
        sign = "more" if self.higher_is_better else "less"
        subject = f"{self.name} {self.band}".rstrip()
        least = f"{self.matters:.2g} {self.unit}".rstrip()
        each = " or ".join(
            f"{size:.2g} % of its loudness {_PARTS[name]}" for name, size in self.parts
        )
        what = f", which is {each}" if self.parts else ""
        return f"{subject}: {sign} is better, {least} or less of difference is none{what}"


_PARTS: Final = {
    "damage_percent": "damaged up to 3.4 kHz",
    "missing_percent": "missing above",
}

#: Spectral distance matters from half of what [1]_ found inaudible. ESTOI, segmental SNR and SI-SDR
#: matter from well above the spread of the four settings over G.711, where nothing is left to hear:
#: 0.005 of ESTOI, 0.04 dB of segmental SNR and 0.05 dB of SI-SDR on the voices of ``sample_audio``.
OBJECTIVES: Final[dict[str, Objective]] = {
    objective.metric: objective
    for objective in (
        Objective("damage_percent", False, smallest("", "damage_percent").value, "%", "damage", "up to 3.4 kHz", from_calls=160),
        Objective("missing_percent", False, smallest("", "missing_percent").value, "%", "missing bandwidth", "above 3.4 kHz", from_calls=inf),
        Objective("lsd_db", False, 0.5, "dB", "spectral distance", "up to 3.4 kHz"),
        Objective("lsd_wide_db", False, 0.5, "dB", "spectral distance", "up to 7 kHz"),
        Objective("estoi", True, 0.01, "", "predicted intelligibility", from_calls=inf),
        Objective("seg_snr_db", True, 1.0, "dB", "segmental SNR", from_calls=inf),
        Objective("si_sdr_db", True, 1.0, "dB", "signal to distortion ratio", from_calls=inf),
    )
}  # fmt: skip


def objective_for(leg: Leg) -> Objective:
    """The objective that suits a leg: loss of quality, as its smallest differences have it."""
    parts = tuple((name, smallest(leg.name, name).value) for name in PARTS)
    return Objective(
        "loss_mos", False, LEAST_MOS, "MOS", "loss of quality", parts=parts, from_calls=160
    )


def on_leg(objective: Objective, leg: Leg) -> Objective:
    """An objective with the smallest difference that matters on a leg, where that was fitted."""
    if objective is not OBJECTIVES.get(objective.metric) or objective.metric not in PARTS:
        return objective
    return replace(objective, matters=smallest(leg.name, objective.metric).value)
