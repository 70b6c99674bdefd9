"""What "better" means: a metric, its direction, and the smallest difference that matters.

References:
    .. [1] K. K. Paliwal, B. S. Atal, "Efficient vector quantization of LPC parameters at 24
       bits/frame", IEEE Trans. Speech and Audio Processing 1(1), 1993: a mean spectral distortion
       of about 1 dB is not heard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from workbench.tuning.legs import Leg

__all__ = ["OBJECTIVES", "WIDE_RATE", "Objective", "objective_for"]

#: Signals at a lower rate have no distance over the wide band, in hertz.
WIDE_RATE: Final = 14000


@dataclass(frozen=True)
class Objective:
    """A goal.

    Parameters:
        metric: A name of :func:`workbench.metrics.distances.evaluate`.
        higher_is_better: Its direction.
        matters: Smallest difference that is worth paying for, in the metric's unit.
        unit: ``"dB"`` or empty.
        name: What it is, for people.
        band: Over what it is taken, for people; may be empty.
    """

    metric: str
    higher_is_better: bool
    matters: float
    unit: str
    name: str
    band: str = ""

    def gain(self, value: float, over: float) -> float:
        """How much better a value is than another, in the metric's unit."""
        return value - over if self.higher_is_better else over - value

    def text(self, value: float) -> str:
        """A value with its unit: ``1.9 dB``, ``0.985``."""
        return f"{value:.1f} {self.unit}" if self.unit else f"{value:.3f}"

    def range(self, values: Iterable[float]) -> str:
        """Several values: ``spectral distance 2.7 to 2.8 dB``."""
        found = sorted(values)
        low, high = self.text(found[0]), self.text(found[-1])
        return f"{self.name} {high if low == high else f'{low.removesuffix(self.unit).rstrip()} to {high}'}"

    def __str__(self) -> str:
        sign = "more" if self.higher_is_better else "less"
        subject = f"{self.name} {self.band}".rstrip()
        return f"{subject}: {sign} is better, {self._least()} or less of difference is none"

    def _least(self) -> str:
        return f"{self.matters:g} {self.unit}".rstrip()


#: Spectral distance matters from half of what [1]_ found inaudible. The others matter from well
#: above the spread of the four settings over G.711, where nothing is left to hear: 0.005 of ESTOI,
#: 0.04 dB of segmental SNR and 0.05 dB of SI-SDR on the voices of ``sample_audio``.
OBJECTIVES: Final[dict[str, Objective]] = {
    objective.metric: objective
    for objective in (
        Objective("lsd_db", False, 0.5, "dB", "spectral distance", "up to 3.4 kHz"),
        Objective("lsd_wide_db", False, 0.5, "dB", "spectral distance", "up to 7 kHz"),
        Objective("estoi", True, 0.01, "", "predicted intelligibility"),
        Objective("seg_snr_db", True, 1.0, "dB", "segmental SNR"),
        Objective("si_sdr_db", True, 1.0, "dB", "signal to distortion ratio"),
    )
}


def objective_for(leg: Leg, sample_rate: int) -> Objective:
    """Choose the objective that suits a leg: spectral distance over the band that it carries.

    Args:
        leg: The far leg.
        sample_rate: At which the signals are compared, in hertz.
    """
    wide = leg.bandwidth_hz > 4000 and sample_rate >= WIDE_RATE
    return OBJECTIVES["lsd_wide_db" if wide else "lsd_db"]
