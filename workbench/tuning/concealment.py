"""What a receiver plays where a packet is missing: the last pitch period again, fading.

As in ITU-T G.711 Appendix I [1]_, at any rate: the period is where the signal before the gap is most
like itself, it is repeated, one quarter of it blended in at the seam; after 10 ms it fades by a fifth
each 10 ms, to nothing after 60 ms; what comes next is blended in over 4 ms. The appendix's delay of
3.75 ms, for which it blends before the gap, is not needed here: the signal is all there.

References:
    .. [1] ITU-T G.711 Appendix I, "A high quality low-complexity algorithm for packet loss
       concealment with G.711", 1999.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["concealed"]

#: Pitch periods looked for, and the stretch that is compared, in seconds.
_SHORTEST: Final = 0.005
_LONGEST: Final = 0.015
_COMPARED: Final = 0.020

#: Blended at the end of a gap, in seconds.
_BLENDED: Final = 0.004

_FULL: Final = 0.010  # so long nothing fades
_FADED: Final = 0.060  # and so long nothing is left


def concealed(
    pcm: NDArray[np.int16], lost: Collection[int], frame: int, sample_rate: int
) -> NDArray[np.int16]:
    """Fill in lost packets.

    Args:
        pcm: As decoded, with anything where packets were lost.
        lost: Their numbers.
        frame: Samples in a packet.
        sample_rate: In hertz.

    Returns:
        As many samples.
    """
    filled = pcm.astype(np.float64)
    numbers = sorted(number for number in set(lost) if number * frame < pcm.size)
    first = 0
    while first < len(numbers):
        last = first
        while last + 1 < len(numbers) and numbers[last + 1] == numbers[last] + 1:
            last += 1
        start, end = numbers[first] * frame, min((numbers[last] + 1) * frame, pcm.size)
        blended = min(round(_BLENDED * sample_rate), pcm.size - end)
        made = _continued(filled[:start], end - start + blended, sample_rate)
        filled[start:end] = made[: end - start]
        ramp = np.arange(1, blended + 1) / (blended + 1)
        filled[end : end + blended] *= ramp
        filled[end : end + blended] += made[end - start :] * (1 - ramp)
        first = last + 1
    return np.clip(np.rint(filled), -32768, 32767).astype(np.int16)


def _continued(before: NDArray[np.float64], count: int, rate: int) -> NDArray[np.float64]:
    """Go on for some samples as the signal did before."""
    compared, longest = round(_COMPARED * rate), round(_LONGEST * rate)
    if before.size < compared + longest or not np.any(before[-compared - longest :]):
        return np.zeros(count)
    recent, past = before[-compared:], before[-compared - longest :]
    views = np.lib.stride_tricks.sliding_window_view(past, compared)
    shortest = round(_SHORTEST * rate)
    views = views[: longest - shortest + 1]  # the first is the longest period ago
    energy = np.einsum("ij,ij->i", views, views)
    like = np.einsum("ij,j->i", views, recent) / np.sqrt(np.maximum(energy, 1e-9))
    period = longest - int(np.argmax(like))
    cycle = before[-period:].copy()
    quarter = max(1, period // 4)
    ramp = np.arange(1, quarter + 1) / (quarter + 1)
    # Its end runs into what came before its beginning, so that it can follow itself.
    cycle[-quarter:] = cycle[-quarter:] * (1 - ramp) + before[-period - quarter : -period] * ramp
    time = np.arange(count) / rate
    fade = np.interp(time, [_FULL, _FADED], [1.0, 0.0])
    # The seam itself: what came last runs into the cycle.
    made: NDArray[np.float64] = np.resize(cycle, count)
    return made * fade
