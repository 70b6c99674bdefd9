"""How many times too fast or too slow a voice is played: the rate that it was declared to have.

A voice at a wrong rate has its pitch, its formants and its syllables all out of place by one factor. No
single one tells it: a man at one and a half times his speed has a woman's pitch. Together they do. Each
figure below is held against what it is of voices at speeds from a third to three times, and a
polynomial of the second degree, fitted by least squares, makes the factor of them.

The figures, of frames of 25 ms at 8 kHz within 30 dB of the loudest:

* the mean spectrum, in :data:`BANDS` bands of equal width on the mel scale [1]_;
* how alike two neighbouring bands change: a formant is as wide as some of them;
* how much the bands change within 20, 50 and 100 ms, against how much they do at all;
* how alike the loudness is 50 to 400 ms later: the syllables;
* the pitch.

References:
    .. [1] S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic word
       recognition", IEEE Trans. ASSP 28 (1980).
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.metrics.pitch import median_pitch
from workbench.metrics.speed_fitted import FITTED, MIDDLE

__all__ = ["BANDS", "figures", "speed"]

BANDS: Final = 20
_RATE: Final = 8000
_FRAME, _STEP, _PADDED = 200, 80, 256
_LOWEST, _HIGHEST = 100.0, 3900.0  # Hz
#: Fewer frames, of sound or in all, tell nothing; more than a minute's tell no more.
_FEWEST, _LONGEST = 150, 60.0
#: Frames between two that are compared: of spectra, and of loudness.
_SOON, _LATER = (2, 5, 10), (5, 10, 20, 40)
#: What is fainter than the loudest by so much, in power, is a pause; and what counts as nothing in a band.
_PAUSE, _NOTHING = 1e-3, 1e-7
#: A figure further off than so many standard deviations is as far off as that.
_FURTHEST: Final = 3.0
#: Mean square of those of a voice, at a third of its speed or at three times, is at most 6; of tones,
#: keys, a fax and noise 9 and more.
_NO_VOICE: Final = 7.5
#: Pitch of which the logarithm is 0, in hertz; also of what has none.
_PITCH: Final = 150.0


def speed(audio: Audio) -> float:
    """Estimate how many times too fast a voice is played.

    Args:
        audio: A voice, its long pauses left out; some ten seconds of it, at any rate.

    Returns:
        1 for a voice as it was spoken, 2 for one at twice its speed; NaN for less than two seconds, and
        for what is like no voice at any. Of 96 stretches of 14 s of voices that it was not fitted to, at
        their own speed, four in five were between 0.93 and 1.22 and none beyond 1.5 or its inverse: ``python
        -m tests.benchmarks speeds``.
    """
    found = figures(audio)
    if found is None:
        return float("nan")
    mean, deviation, once, twice = np.array(FITTED).T
    off = (found - mean) / deviation
    if float(np.mean(off**2)) > _NO_VOICE:
        return float("nan")
    off = off.clip(-_FURTHEST, _FURTHEST)
    return float(2 ** (MIDDLE + off @ once + (off**2 - 1) @ twice))


def figures(audio: Audio) -> NDArray[np.float64] | None:
    """Measure what the speed is estimated from.

    Args:
        audio: A voice, at any rate.

    Returns:
        Shape ``(56,)``, in the order of the module's list; ``None`` for too little of a voice.
    """
    samples = audio.resampled(_RATE).samples[: round(_LONGEST * _RATE)]
    if len(samples) < _FRAME + _STEP * _FEWEST:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_STEP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME), _PADDED, axis=1)) ** 2
    loudness = power.sum(axis=1)
    top = float(np.percentile(loudness, 95))
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
    pitch, _ = median_pitch(audio)
    return np.concatenate(
        [
            mean - mean.mean(),
            alike,
            np.reshape(changes, (len(_SOON), 4, -1)).mean(axis=2).ravel(),
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
