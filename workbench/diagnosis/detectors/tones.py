"""Sounds that are no voice: the beeps and tones of a telephone.

Dial tone, ring-back, the keys and most beeps are one sine or two [1]_. They do what a voice does not:
they stand still, begin and end at once, and stop for 40 ms and more between two keys [2]_.

References:
    .. [1] ITU-T E.180, "Technical characteristics of tones for the telephone service".
    .. [2] ITU-T Q.24, "Multifrequency push-button signal reception".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio

__all__ = ["TONE_SECS", "in_tones", "is_tone"]

#: What is looked at: two keys' frequencies, 697 and 770 Hz, are told apart in so many seconds.
TONE_SECS: Final = 0.03
#: Share of the power that the two strongest sines must hold. Through mu-law they have 0.9995; of the
#: loud pieces of a voice 0.6 % have more than this.
_SHARE: Final = 0.998
_LOBE: Final = 2  # bins to each side that a sine fills through the window


def is_tone(samples: NDArray[np.floating]) -> bool:
    """Whether a piece of sound is one steady sine or two.

    Args:
        samples: Shape ``(n,)``, about :data:`TONE_SECS` of it, at any rate.
    """
    if not len(samples):
        return False
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    total, held = float(power.sum()), 0.0
    for _ in range(2):
        top = int(np.argmax(power))
        lobe = slice(max(0, top - _LOBE), top + _LOBE + 1)
        held += float(power[lobe].sum())
        power[lobe] = 0.0
    return total > 0 and held > _SHARE * total


def in_tones(audio: Audio, places: Sequence[int]) -> bool:
    """Whether most places, in samples, have a tone around them; of many some fifty are looked at."""
    few = places[:: 1 + len(places) // 50]
    half = round(TONE_SECS * audio.sample_rate / 2)
    tones = [is_tone(audio.samples[max(0, at - half) : at + half]) for at in few]
    mapped.let_go(audio.samples)
    return 2 * sum(tones) > len(tones)
