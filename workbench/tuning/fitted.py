"""The smallest differences that matter, fitted to models of listeners: the one place where they are.

Where PESQ and ViSQOL, on the mean, put two settings 0.08 MOS apart, damage or missing bandwidth
(:mod:`workbench.metrics.hearing`) differ by so much. Fitted with ``make calibrate``,
which prints these lines; its recipe is in ``tests/benchmarks/calibration.py``. 0.08 is where as few
differences are missed that both models see (0.15 MOS) as are seen where neither sees any (0.05).

Fitted on 1020 pairs of settings of 34 voices in ten languages, natural and made; the error of the fit
is 0.12 MOS (RMS), its correlation with the models 0.90.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["LEAST_MOS", "SMALLEST", "Fitted", "smallest"]

#: Less than this is no difference, on the scale of mean opinion scores.
LEAST_MOS: Final = 0.08


class Fitted(NamedTuple):
    """A figure with its 95 % interval, over speakers.

    Parameters:
        value: In per cent of the loudness.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


#: Of all legs together (``""``), and of each leg whose own fit has an interval that does not hold it.
SMALLEST: Final[dict[str, dict[str, Fitted]]] = {
    "": {
        "damage_percent": Fitted(0.45, 0.38, 0.55),
        "missing_percent": Fitted(0.76, 0.63, 0.92),
    },
    "Opus": {"missing_percent": Fitted(0.61, 0.51, 0.73)},
    "AMR-WB": {"missing_percent": Fitted(1.05, 0.85, 1.28)},
}


def smallest(leg: str, metric: str) -> Fitted:
    """The smallest difference that matters on a leg.

    Args:
        leg: Its name; of one that was not fitted, what all have together.
        metric: ``damage_percent`` or ``missing_percent``.
    """
    return SMALLEST.get(leg, {}).get(metric, SMALLEST[""][metric])
