"""Speech cut into segments of some ten seconds, and how sure a mean over them is.

References:
    .. [1] T. C. Hesterberg, "What teachers should know about the bootstrap", The American
       Statistician 69(4), 2015, section 5.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from workbench import mapped
from workbench.audio import Audio

__all__ = ["LEAST_SEGMENTS", "SEGMENT_SECS", "margin", "segments"]

#: Length aimed at, in seconds.
SEGMENT_SECS: Final = 10.0

#: Fewer segments say nothing of how sure it is.
LEAST_SEGMENTS: Final = 3

#: Hops of 20 ms that are looked at together.
_AT_ONCE: Final = 1000


def segments(speech: Audio) -> list[slice]:
    """Cut speech into segments of about ten seconds.

    Args:
        speech: Without long pauses.

    Returns:
        The samples of each, in order, without gaps: 6 to 15 s; one for anything shorter than 15 s,
        none for nothing.
    """
    n, rate = len(speech.samples), speech.sample_rate
    if not n:
        return []
    count = max(1, round(n / rate / SEGMENT_SECS))
    hop = round(0.02 * rate)
    hops = speech.samples[: n // hop * hop].reshape(-1, hop)
    energy = np.concatenate(
        [np.sum(some.astype(np.float64) ** 2, axis=1) for _, some in mapped.blocks(hops, _AT_ONCE)]
        or [np.empty(0)]
    )
    edges = [0]
    for k in range(1, count):
        middle, around = round(k * n / count / hop), round(1.0 * rate / hop)
        first = max(0, middle - around)
        edges.append(hop * (first + int(np.argmin(energy[first : middle + around]))))
    return [slice(*pair) for pair in zip(edges, [*edges[1:], n], strict=True)]


def margin(scores: NDArray[np.float64]) -> float:
    """Half of the 95 % interval of the mean score of speech like this.

    Student's t times the standard error of the mean; percentiles of resamplings would be too narrow
    for so few segments [1]_.

    Args:
        scores: Of the segments of one recording, shape ``(n,)``; NaN for those without.

    Returns:
        In the score's unit; NaN for fewer than three finite scores.
    """
    known = scores[np.isfinite(scores)]
    if known.size < LEAST_SEGMENTS:
        return float("nan")
    error = known.std(ddof=1) / np.sqrt(known.size)
    return float(special.stdtrit(known.size - 1, 0.975) * error)
