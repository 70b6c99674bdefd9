"""The smallest differences that matter, fitted to models of listeners: the one place where they are.

Where both PESQ and ViSQOL put two settings 0.1 MOS apart, damage or missing bandwidth
(:mod:`workbench.metrics.hearing`) differ by so much, leg by leg. Fitted with ``make calibrate``,
which prints these lines; its recipe is in ``tests/benchmarks/calibration.py``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["LEAST_MOS", "SMALLEST", "Fitted", "smallest"]

#: Less than this is no difference, on the scale of mean opinion scores.
LEAST_MOS: Final = 0.1


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


#: By leg, and for those whose settings do not differ enough to tell, of all legs together (``""``).
SMALLEST: Final[dict[str, dict[str, Fitted]]] = {
    "": {
        "damage_percent": Fitted(0.45, 0.40, 0.50),
        "missing_percent": Fitted(1.2, 1.0, 1.4),
    },
}


def smallest(leg: str, metric: str) -> Fitted:
    """The smallest difference that matters on a leg.

    Args:
        leg: Its name; of one that was not fitted, what all have together.
        metric: ``damage_percent`` or ``missing_percent``.
    """
    return SMALLEST.get(leg, {}).get(metric, SMALLEST[""][metric])
