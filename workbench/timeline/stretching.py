"""Sound played faster or slower at its own pitch.

Overlapping blocks of the signal are laid closer together, or wider apart, than they were; each is
first shifted to where it best continues the one before (WSOLA).

References:
    W. Verhelst, M. Roelands, "An overlap-add technique based on waveform similarity (WSOLA) for
    high quality time-scale modification of speech", ICASSP 1993.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import signal

__all__ = ["stretched"]

#: Half a block, in samples: 17 ms at 24 kHz. A block holds two periods of the lowest voice. Four
#: seconds at any of the speeds 0.5, 0.75, 1.25, 1.5 and 2 are a whole number of halves.
_HALF: Final = 400
#: How far a block may be shifted to fit, in samples: 10 ms at 24 kHz.
_SHIFT: Final = 240


def stretched(
    samples: NDArray[np.float32], first: int, length: int, speed: float
) -> NDArray[np.float32]:
    """Change the speed of a part of a signal.

    The blocks at both ends of the part are not shifted, so parts that follow each other join
    exactly, whatever happens inside them.

    Args:
        samples: The signal at 24 kHz, with what comes before and after the part, as far as there
            is anything.
        first: Where the part begins.
        length: How long it is.
        speed: Above 1 is faster. At 1 the part is returned as it is.

    Returns:
        ``length / speed`` samples.
    """
    if speed == 1 or length <= 0:
        return samples[first : first + length]
    out_length = round(length / speed)
    blocks = -(-out_length // _HALF)
    margin = 2 * _HALF + 2 * _SHIFT
    before, after = max(0, margin - first), max(0, first + length + margin - len(samples))
    padded = np.pad(samples, (before, after))
    # Block k covers [k - 1, k + 1) halves of the output; its place in the signal is at the same
    # distance from the part's middle of time. The last block's place is the next part's first.
    places = first + before - _HALF + np.arange(blocks + 1) * (length / blocks)
    places = np.rint(places).astype(np.int64)
    window = signal.get_window("hann", 2 * _HALF).astype(np.float32)
    out = np.zeros((blocks + 2) * _HALF, np.float32)
    place = int(places[0])
    for block in range(blocks + 1):
        if 0 < block < blocks:
            place = _best(padded, int(places[block]), place + _HALF)
        elif block:
            place = int(places[block])
        at = block * _HALF
        out[at : at + 2 * _HALF] += window * padded[place : place + 2 * _HALF]
    return out[_HALF : _HALF + out_length]


def _best(samples: NDArray[np.float32], place: int, continuation: int) -> int:
    """Where near ``place`` the signal is most like what would come next."""
    wanted = samples[continuation : continuation + 2 * _HALF]
    near = samples[place - _SHIFT : place + _SHIFT + 2 * _HALF]
    likeness = signal.correlate(near, wanted, mode="valid", method="fft")
    return place - _SHIFT + int(np.argmax(likeness))
