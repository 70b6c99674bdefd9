"""Noise under words: what no band of frequencies falls below.

A voice lets every band go quiet again and again; noise does not. What none of the bands falls below for
1.5 s is therefore noise, whoever speaks meanwhile (minimum statistics).

Conventions:
    Samples at 8 kHz; a hop is 10 ms, and stands in the middle of what is measured for it. Power as mean
    square, 1 being 0 dBov.

References:
    R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum
    statistics", IEEE Trans. Speech and Audio Processing, 2001.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.metrics.smoothing import running_maximum, running_mean, running_minimum
from workbench.metrics.speech import HOP, runs_of

__all__ = ["bands", "is_broad", "opened", "steady"]

F = TypeVar("F", np.float32, np.float64)

#: For so many hops no band of a voice stays loud.
_STEADY: Final = 150
#: Edges of the bands in hertz. The two loudest are left out of the sum: a sustained vowel fills no
#: more than two, a hum one.
_BANDS: Final = (250, 600, 1000, 1500, 2000, 2600, 3400)
_LOUDEST: Final = 2
#: What the minimum and the bands that are left out take away, 5.6 dB: measured, of white and of pink
#: noise, with and without speech over it.
_MISSING: Final = 10 ** (5.6 / 10)
_BLOCK: Final = 160  # samples of a spectrum at 8 kHz, two hops
_AT_ONCE: Final = 6000  # hops: an hour takes no more memory than a minute


def steady(
    samples: NDArray[np.float32], power: NDArray[np.float64], least: float
) -> NDArray[np.float64]:
    """Measure the noise that no band falls below for 1.5 s, whoever speaks meanwhile.

    Args:
        samples: Shape ``(n,)``.
        power: Of each of its hops.
        least: What is less than this power need not be found.

    Returns:
        Its power for each hop; 0 where there is none, or less.
    """
    found = np.zeros(len(power))
    # All bands together are no less than any of them: where they fall silent there is no noise.
    likely = _kept_up(running_mean(power, 1, 1)) > least / _MISSING
    for start, end in runs_of(likely, HOP).tolist():
        ends = round(end / HOP)
        for first in range(round(start / HOP), ends, 4 * _AT_ONCE):
            last = min(first + 4 * _AT_ONCE, ends)
            held = opened(samples, first, last)
            quieter = np.sort(held, axis=1)[:, :-_LOUDEST].sum(axis=1)
            found[first:last] = np.where(is_broad(held), quieter * _MISSING, 0.0)
    return found


def is_broad(power: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether it is noise by its spectrum: not a tone, not a hum and not a vowel.

    Args:
        power: Of the bands, shape ``(n, bands)``.

    Returns:
        Shape ``(n,)``: whether the bands hold a sixth of it without the two loudest.
    """
    total = power.sum(axis=1)
    return np.asarray(np.sort(power, axis=1)[:, :-_LOUDEST].sum(axis=1) > total / 6)


def opened(samples: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
    """Power that each band does not fall below for 1.5 s, as :func:`bands`."""
    before = min(first, _STEADY)
    power = bands(samples, first - before, last + _STEADY)
    return _kept_up(power)[before : before + last - first]


def _kept_up(power: NDArray[F]) -> NDArray[F]:
    """What a power does not fall below for 1.5 s, whichever 1.5 s shows the most of it."""
    half = _STEADY // 2
    return running_maximum(running_minimum(power, half, half - 1), half - 1, half)


def bands(samples: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
    """Measure the power of each band, over 30 ms.

    Args:
        samples: At 8 kHz.
        first: Of the hops that are wanted.
        last: The one after them.

    Returns:
        Shape ``(hops, bands)``, silent behind the end of the samples.
    """
    step = _BLOCK // 2
    window = np.hanning(_BLOCK + 1)[:_BLOCK].astype(np.float32)
    scale = np.float32(2 / (_BLOCK * float(window @ window)))
    edges = np.searchsorted(np.fft.rfftfreq(_BLOCK, 1 / 8000), _BANDS)
    found = np.zeros((last - first, len(_BANDS) - 1), np.float32)
    for at in range(first, last, _AT_ONCE):
        count = min(_AT_ONCE, last - at)
        # A hop stands in the middle of its block.
        low, high = at * step - step // 2, (at + count) * step + step // 2
        part = samples[max(0, low) : max(0, high)]
        part = np.pad(part, (max(0, -low), high - max(0, low) - len(part)))
        blocks = np.lib.stride_tricks.sliding_window_view(part, _BLOCK)[::step]
        bins = np.square(np.abs(np.fft.rfft(blocks * window, axis=1))) * scale
        found[at - first :][:count] = np.add.reduceat(bins, edges, axis=1)[:, :-1]
        mapped.let_go(samples[max(0, low) : max(0, high)])
    return running_mean(found, 1, 1)
