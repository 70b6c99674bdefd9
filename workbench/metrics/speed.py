"""How many times too fast or too slow a voice is played: the rate that it was declared to have.

A voice at a wrong rate has its pitch, its formants and its syllables all out of place by one factor. No
single one tells it: a man at one and a half times his speed has a woman's pitch. Together they do. The
figures below are held against what they are of voices at speeds from a third to three times: of them are
made the few sums that tell the speeds apart best (linear discriminants [2]_), and of these, by a
polynomial of the second degree, fitted by least squares, the factor.

The figures are of two kinds, and each kind makes a factor by itself as well: timbre, which is where the
spectrum and the pitch lie, and pace, which is how fast they change. A voice in pieces (repeated, holed, two in
turn, with clicks) changes fast, and its timbre stays where it was; a high voice lies high, and speaks no faster
for it. Only a wrong rate moves both.

Of frames of 25 ms at 8 kHz within 30 dB of the loudest:

* timbre: the mean spectrum, in :data:`BANDS` bands of equal width on the mel scale [1]_;
* timbre: how alike two neighbouring bands change: a formant is as wide as some of them;
* pace: how much the bands change within 20, 50 and 100 ms, against how much they do at all;
* pace: how alike the loudness is 50 to 400 ms later: the syllables;
* timbre: the pitch.

References:
    .. [1] S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic word
       recognition", IEEE Trans. ASSP 28 (1980).
    .. [2] C. R. Rao, "The utilization of multiple measurements in problems of biological classification",
       J. Royal Statistical Society B 10 (1948).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.metrics.pitch import median_pitch
from workbench.metrics.speed_fitted import MIDDLE, PACE, SCALE, TIMBRE, WHOLE

__all__ = ["ALL", "BANDS", "LONGEST", "PACES", "TIMBRES", "Speed", "figures", "speed", "terms"]

BANDS: Final = 20
_RATE: Final = 8000
_FRAME, _STEP, _PADDED = 200, 80, 256
_LOWEST, _HIGHEST = 100.0, 3900.0  # Hz
#: Fewer frames, of sound or in all, tell nothing.
_FEWEST: Final = 150
#: More seconds tell no more.
LONGEST: Final = 60.0
#: Frames between two that are compared: of spectra, and of loudness.
_SOON, _LATER = (2, 5, 10), (5, 10, 20, 40)
#: Parts of the bands of which the changes are told.
_PARTS: Final = 4
#: Which of the figures are of timbre, which of pace.
ALL: Final = np.arange(2 * BANDS + _PARTS * len(_SOON) + len(_LATER))
PACES: Final = ALL[2 * BANDS - 1 : -1]
TIMBRES: Final = np.setdiff1d(ALL, PACES)
#: What is fainter than the loudest by so much, in power, is a pause; and what counts as nothing in a band.
_PAUSE, _NOTHING = 1e-3, 1e-7
#: By so many dB a voice's loud frames stand out of its faint ones at least; over noise, or through a radio, by
#: less, and there the figures are the noise's.
_LEAST_RANGE_DB: Final = 15.0
#: A figure further off than so many standard deviations is as far off as that.
_FURTHEST: Final = 3.0
#: The same of a sum.
_FURTHEST_SUM: Final = 4.0
#: Mean square of those of a voice, at a third of its speed or at three times, is at most 6; of tones,
#: keys, a fax and noise 9 and more.
_NO_VOICE: Final = 7.5
#: Pitch of which the logarithm is 0, in hertz; also of what has none.
_PITCH: Final = 150.0


class Speed(NamedTuple):
    """How many times too fast a voice is played: 1 as it was spoken, 2 at twice its speed.

    Parameters:
        whole: By all figures: the best estimate.
        timbre: By timbre alone.
        pace: By pace alone.
    """

    whole: float
    timbre: float
    pace: float


def speed(audio: Audio) -> Speed | None:
    """Estimate how many times too fast a voice is played.

    Args:
        audio: A voice, its long pauses left out; some ten seconds of it, at any rate; a minute at
            most is looked at.

    Returns:
        The factors; ``None`` for less than a second and a half, for what is like no voice at any speed, and
        for a voice in noise. How well they tell it, ``python -m tests.benchmarks speeds`` measures.
    """
    found = figures(audio)
    if found is None:
        return None
    mean, deviation = np.array(SCALE).T
    off = (found - mean) / deviation
    if float(np.mean(off**2)) > _NO_VOICE:
        return None
    fits = ((WHOLE, ALL), (TIMBRE, TIMBRES), (PACE, PACES))
    return Speed(*(_factor(off[None, which], *fitted) for fitted, which in fits))


def _factor(off: NDArray[np.float64], sums: Sequence[object], weights: Sequence[float]) -> float:
    return float(2 ** (MIDDLE + (terms(off, np.array(sums)) @ np.array(weights))[0]))


def terms(off: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make the terms of the polynomial.

    Args:
        off: How many standard deviations each figure is off its mean, shape ``(stretches, figures)``.
        sums: The weights of each figure in each sum, shape ``(figures, sums)``.

    Returns:
        Every sum and every product of two, shape ``(stretches, sums * (sums + 3) / 2)``.
    """
    axes = (off.clip(-_FURTHEST, _FURTHEST) @ sums).clip(-_FURTHEST_SUM, _FURTHEST_SUM)
    first, second = np.triu_indices(axes.shape[1])
    return np.hstack([axes, axes[:, first] * axes[:, second]])


def figures(audio: Audio) -> NDArray[np.float64] | None:
    """Measure what the speed is estimated from.

    Args:
        audio: A voice, at any rate.

    Returns:
        Shape ``(56,)``, in the order of the module's list; ``None`` for too little of a voice, and for one
        in noise.
    """
    narrow = audio.span(0.0, LONGEST).resampled(_RATE)
    samples = narrow.samples
    if len(samples) < _FRAME + _STEP * _FEWEST:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_STEP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME), _PADDED, axis=1)) ** 2
    loudness = power.sum(axis=1)
    faint, top = np.percentile(loudness, (5, 95)).tolist()
    if top < faint * 10 ** (_LEAST_RANGE_DB / 10):
        return None
    sounds = loudness > top * _PAUSE
    if np.count_nonzero(sounds) < _FEWEST:
        return None
    bands = np.log10(power @ _mel().T + top * _NOTHING / (_PADDED // 2))
    mean = bands[sounds].mean(axis=0)
    centred = bands[sounds] - mean
    deviation = centred.std(axis=0) + 1e-9
    alike = (centred[:, 1:] * centred[:, :-1]).mean(axis=0) / (deviation[1:] * deviation[:-1])
    changes = [
        (bands[lag:] - bands[:-lag])[sounds[lag:] & sounds[:-lag]].std(axis=0) / deviation
        for lag in _SOON
    ]
    envelope = np.log10(loudness + top * _PAUSE / 10)
    envelope -= envelope.mean()
    syllables = [
        float(np.mean(envelope[lag:] * envelope[:-lag]) / np.mean(envelope**2)) for lag in _LATER
    ]
    pitch, _ = median_pitch(narrow)
    return np.concatenate(
        [
            mean - mean.mean(),
            alike,
            np.reshape(changes, (len(_SOON), _PARTS, -1)).mean(axis=2).ravel(),
            syllables,
            [np.log2(pitch / _PITCH) if np.isfinite(pitch) else 0.0],
        ]
    )


@cache
def _mel() -> NDArray[np.float64]:
    """Triangles of equal width on the mel scale, each of area 1, shape ``(BANDS, frequencies)``."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (_LOWEST, _HIGHEST))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(_PADDED, 1 / _RATE)
    rises = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falls = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    height = np.minimum(rises, falls).clip(0, None)
    weights: NDArray[np.float64] = height / height.sum(axis=1, keepdims=True)
    return weights
