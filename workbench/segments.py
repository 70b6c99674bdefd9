"""Speech cut into segments of some ten seconds, where the voice is quietest."""

from __future__ import annotations

from typing import Final

import numpy as np

from workbench.audio import Audio
from workbench.levels import framed

__all__ = ["SEGMENT_SECS", "segments"]

#: Length aimed at, in seconds.
SEGMENT_SECS: Final = 10.0


def segments(speech: Audio) -> list[slice]:
    """Cut speech into segments of about ten seconds.

    Args:
        speech: Without long pauses.

    Returns:
        The samples of each, in order, without gaps; one for anything shorter than 16 s, none for
        nothing.
    """
    n, rate = len(speech.samples), speech.sample_rate
    if not n:
        return []
    count = max(1, round(n / rate / SEGMENT_SECS))
    hop = round(0.02 * rate)
    energy = np.sum(framed(speech.samples, hop, hop).astype(np.float64) ** 2, axis=1)
    edges = [0]
    for k in range(1, count):
        middle, around = round(k * n / count / hop), round(1.0 * rate / hop)
        first = max(0, middle - around)
        edges.append(hop * (first + int(np.argmin(energy[first : middle + around]))))
    return [slice(*pair) for pair in zip(edges, [*edges[1:], n], strict=True)]
