"""A rail that later processing has rounded: clipped speech after another rate, a filter or a codec.

What is converted after it was clipped overshoots and ripples, so that no two crests are alike; but
they still crowd about one height. Speech that was not clipped has ever fewer samples the higher they
lie. [1]_ tells clipping in coded speech by the amplitudes' distribution, too.

References:
    .. [1] J. Eaton and P. A. Naylor, "Detection of clipping in coded speech signals", EUSIPCO 2013.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rail", "rounded_rail"]

#: Parts of the rail's height: what crowds about it, and what is compared with that, below it.
_ABOUT: Final = (0.9, 1.1)
_BELOW: Final = (0.65, 0.85)
#: Above this there is next to nothing: so few samples for each one about the rail.
_ABOVE: Final = 1.2
_FEW: Final = 0.03
#: The rail lies within this share of the largest sample.
_LOWEST: Final = 0.6
_STEPS: Final = 2048
#: So many samples, evenly chosen, tell a distribution; of fewer than the second none is told.
_ENOUGH: Final = 40_000
_FEWEST: Final = 4000


class Rail(NamedTuple):
    """Where samples crowd.

    Parameters:
        height: Of the rail, 1.0 being full scale.
        share: Of all samples that crowd there, 0 to 1.
        crowding: How many times as many lie about it as below it, in bands equally wide. Speech, music
            and a synthesiser have 0.7 at most, a steady sine 1.5 and more, speech of which 6 % stood at the
            rail mostly 1 to 5.
    """

    height: float
    share: float
    crowding: float


def rounded_rail(samples: NDArray[np.floating]) -> Rail:
    """Find the height about which the loudest samples crowd the most.

    Args:
        samples: Shape ``(n,)``, any rate.

    Returns:
        The rail; with a crowding of 0 where there is too little to tell.
    """
    size = np.abs(samples[:: 1 + len(samples) // _ENOUGH])
    top = float(size.max(initial=0.0))
    sounding = np.count_nonzero(size)
    if sounding < _FEWEST:
        return Rail(top, 0.0, 0.0)
    counts = np.bincount((size * ((_STEPS - 1) / top)).astype(np.intp), minlength=_STEPS)
    up_to = np.append(0, np.cumsum(counts))
    heights = np.linspace(_LOWEST, 1.0, 41)
    # How many lie below so many parts of each height
    below = {
        edge: up_to[np.minimum(_STEPS, np.rint(heights * edge * _STEPS).astype(np.intp))]
        for edge in (*_ABOUT, *_BELOW, _ABOVE)
    }
    about, beneath = below[_ABOUT[1]] - below[_ABOUT[0]], below[_BELOW[1]] - below[_BELOW[0]]
    crowding = about / np.maximum(1, beneath)
    crowding[(about < 100) | (sounding - below[_ABOVE] > _FEW * about)] = 0.0
    best = int(np.argmax(crowding))
    share = max(0, int(about[best] - beneath[best])) / len(size)
    return Rail(float(heights[best] * top), share, float(crowding[best]))
