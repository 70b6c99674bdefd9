"""The smallest differences that matter, fitted to models of listeners: the one place where they are.

Where PESQ and ViSQOL, on the mean, put two settings 0.08 MOS apart, damage or missing bandwidth
(:mod:`workbench.metrics.hearing`) differ by so much. Fitted with ``make calibrate``,
which prints these lines; its recipe is in ``tests/benchmarks/calibration.py``. 0.08 is where as few
differences are missed that both models see (0.15 MOS) as are seen where neither sees any (0.05).

Fitted on 1740 pairs of settings of 58 voices, natural and made: 34 in ten languages that Debian has, and
24 that were gathered (the work half of :mod:`tests.ground.people`). The error of the fit is 0.14 MOS
(RMS), its correlation with the models 0.88.
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
        "damage_percent": Fitted(0.23, 0.17, 0.30),
        "missing_percent": Fitted(1.02, 0.89, 1.16),
    },
    "AMR-NB": {"damage_percent": Fitted(0.39, 0.27, 0.95)},
    "AMR-WB": {
        "damage_percent": Fitted(0.34, 0.24, 0.71),
        "missing_percent": Fitted(1.37, 1.19, 1.56),
    },
}


def smallest(leg: str, metric: str) -> Fitted:
    """The smallest difference that matters on a leg.

    Args:
        leg: Its name; of one that was not fitted, what all have together.
        metric: ``damage_percent`` or ``missing_percent``.
    """
    return SMALLEST.get(leg, {}).get(metric, SMALLEST[""][metric])
