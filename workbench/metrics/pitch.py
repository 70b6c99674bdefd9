"""The pitch of a voice, by autocorrelation.

References:
    .. [1] P. Boersma, "Accurate short-term analysis of the fundamental frequency and the
       harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17 (1993): the autocorrelation of
       a windowed frame is divided by that of the window.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio

__all__ = ["median_pitch"]

_RATE: Final = 8000
#: Samples of a frame, 60 ms: three periods of the lowest voice; and between two.
_FRAME, _STEP, _PADDED = 480, 160, 1024
_LOWEST, _HIGHEST = 45.0, 600.0  # Hz
#: A frame is voiced from this correlation on; a period is the first that has nearly the best.
_VOICED, _NEARLY = 0.6, 0.88
_AT_ONCE, _FEW = 2000, 500  # frames
_MOST: Final = 3000  # frames, a minute


def median_pitch(audio: Audio) -> tuple[float, float]:
    """Measure the pitch of the louder part of a voice.

    Args:
        audio: At any rate; pauses and other sounds of it are left out as far as they are fainter.

    Returns:
        The median over its voiced frames in hertz, NaN if there are none, and how many seconds of it
        were voiced.
    """
    samples = audio.resampled(_RATE).samples
    if len(samples) < _FRAME:
        return float("nan"), 0.0
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_STEP]
    power = np.empty(len(frames), frames.dtype)
    for first in range(0, len(frames), _AT_ONCE):
        some = frames[first : first + _AT_ONCE]
        power[first : first + len(some)] = np.einsum("ij,ij->i", some, some)
        mapped.let_go(samples[first * _STEP : (first + _AT_ONCE) * _STEP])
    loud = np.flatnonzero((power > 0.99 * np.percentile(power, 60)) & (power > 0))
    every = 1 + len(loud) // _MOST
    loud = loud[::every]
    window = np.hanning(_FRAME)
    centred: NDArray[np.float64] = (
        frames[loud] - frames[loud].mean(axis=1, keepdims=True)
    ) * window
    mapped.let_go(samples)
    lags = slice(round(_RATE / _HIGHEST), round(_RATE / _LOWEST))
    found = []
    for first in range(0, len(centred), _FEW):
        correlation = _autocorrelation(centred[first : first + _FEW]) / _autocorrelation(
            window[None]
        )
        correlation /= correlation[:, :1] + 1e-12
        found += [
            _RATE / (_first_peak(row[lags]) + lags.start)
            for row in correlation
            if row[lags].max(initial=0.0) > _VOICED
        ]
    if not found:
        return float("nan"), 0.0
    return float(np.median(found)), len(found) * every * _STEP / _RATE


def _autocorrelation(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    power = np.abs(np.fft.rfft(frames, _PADDED, axis=1)) ** 2
    return np.fft.irfft(power, _PADDED, axis=1)[:, : _FRAME // 2]


def _first_peak(row: NDArray[np.float64]) -> int:
    """The first lag whose correlation is nearly the best: later ones are its multiples."""
    at = int(np.argmax(row > _NEARLY * row.max()))
    while at + 1 < len(row) and row[at + 1] > row[at]:
        at += 1
    return at
