"""A signal's samples, checked and cut into frames; and what a metric without a value says."""

from __future__ import annotations

import warnings
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.exceptions import MetricWarning

__all__ = ["checked", "fast_length", "framed", "hann", "undefined"]


T = TypeVar("T", bound=np.generic)

#: Samples looked at together.
_AT_ONCE: Final = 1 << 18


def checked(audio: Audio) -> NDArray[np.float32]:
    """Return the samples.

    Raises:
        ValueError: If there are none, or if they are so large that they must be int16 values in
            disguise, from which several metrics would make plausible nonsense.
    """
    if not len(audio.samples):
        raise ValueError("no samples, at least one is wanted")
    extremes = [(b.max(), b.min()) for _, b in mapped.blocks(audio.samples, _AT_ONCE)]
    largest = max(max(float(high), -float(low)) for high, low in extremes)
    if largest > 2.0:  # resampling a clipped signal overshoots to some 1.3
        raise ValueError(f"samples reach {largest:.6g}, wanted [-1, 1): divide int16 by 32768")
    return audio.samples


def framed(values: NDArray[T], size: int, hop: int) -> NDArray[T]:
    """View values as frames, shape ``(frames, size)``; what does not fill a frame is left out."""
    if values.size < size:
        return np.empty((0, size), values.dtype)
    return np.lib.stride_tricks.sliding_window_view(values, size)[::hop]


def hann(size: int) -> NDArray[np.float32]:
    """Periodic Hann window."""
    return np.hanning(size + 1)[:-1].astype(np.float32)


def fast_length(least: int) -> int:
    """Find the shortest length from ``least`` on whose Fourier transform is quick.

    Returns:
        A product of twos, threes and fives.

    Example::

        >>> fast_length(8191)
        8192
    """
    odd: list[int] = [
        3**threes * 5**fives
        for threes in range(least.bit_length())
        for fives in range(least.bit_length() // 2 + 1)
    ]
    return min(part << (-(-least // part) - 1).bit_length() for part in odd)


def undefined(metric: str, reason: str) -> float:
    """Warn that a metric has no value here, and return NaN in its place."""
    warnings.warn(f"{metric} is undefined: {reason}", MetricWarning, stacklevel=3)
    return float("nan")
