"""The frames and bands that ESTOI is made of; :func:`workbench.metrics.distances.estoi` is the score.

They are those of the package pystoi, which takes a second to import: who needs no ESTOI imports
this module not at all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pystoi import utils
from pystoi.stoi import DYN_RANGE, FS, N_FRAME, NFFT, OBM, N

from workbench.audio import Audio
from workbench.metrics.frames import framed

__all__ = ["SEGMENT_FRAMES", "stoi_frames", "third_octaves", "voiced"]

#: Frames that are scored together, 384 ms.
SEGMENT_FRAMES: Final[int] = N

_WINDOW: Final = np.hanning(N_FRAME + 2)[1:-1]

#: First bin of each band of a third octave, and where the last one ends: they leave no gap.
_EDGES: Final = OBM.argmax(axis=1)
_TOP: Final = int(_EDGES[0] + OBM.sum())


def stoi_frames(audio: Audio) -> NDArray[np.float64]:
    """Cut a signal into windowed frames of 25.6 ms at 10 kHz, half overlapping.

    Returns:
        Shape ``(frames, 256)``.
    """
    x, rate = audio.samples.astype(np.float64), audio.sample_rate
    at_10_khz = x if rate == FS else utils.resample_oct(x, FS, rate)
    windowed: NDArray[np.float64] = framed(at_10_khz[:-1], N_FRAME, N_FRAME // 2) * _WINDOW
    return windowed


def voiced(frames: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the frames that are within 40 dB of the loudest, shape ``(frames,)``."""
    level = 20 * np.log10(np.linalg.norm(frames, axis=1) + np.finfo(float).eps)
    return np.asarray(level > level.max() - DYN_RANGE, dtype=np.bool_)


def third_octaves(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put windowed frames together again, half overlapping, and analyse what they make.

    Returns:
        Magnitudes in 15 bands of a third octave, shape ``(15, frames - 1)``.
    """
    halves = frames.reshape(len(frames), 2, N_FRAME // 2)
    joined = np.zeros((len(frames) + 1, N_FRAME // 2))
    joined[:-1] = halves[:, 0]
    joined[1:] += halves[:, 1]
    again = np.concatenate([joined[:-2], joined[1:-1]], axis=1)
    again *= _WINDOW
    spectra = np.fft.rfft(again, NFFT)
    power = spectra.real**2 + spectra.imag**2
    bands: NDArray[np.float64] = np.add.reduceat(power[:, :_TOP], _EDGES, axis=1).T
    return np.sqrt(bands)
