"""Where a sound comes back in another, however faint, and while somebody else speaks.

Both are whitened: each cell of the spectrogram is divided by the power around it. A faint copy then
stands out between the syllables, and between the partials, of whoever talks over it, and the
correlation of the two has a peak at the delay of the copy.

References:
    Knapp, C. H., Carter, G. C.: The generalized correlation method for estimation of time delay.
    IEEE Trans. ASSP 24 (1976), 320-327. Their whitening (PHAT, SCOT), over short times.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio

__all__ = ["Copy", "find_copy", "gain_of"]

#: What a telephone line carries, in hertz.
BAND: Final = (250.0, 3400.0)
#: Seconds of a cell of the spectrogram, of which half is the next one's too; the power around a cell
#: is that of so many frames and bins.
CELL: Final = 0.032
FRAMES, BINS = 3, 5
#: Mean square of a cell in which there is nothing: an eighth of a step of 16 bits.
NOTHING: Final = 1e-11


class Copy(NamedTuple):
    """A sound that comes back.

    Parameters:
        delay: In seconds.
        height: Of the correlation's peak, in standard deviations over all delays; 4 by chance.
    """

    delay: float
    height: float


def find_copy(sound: Audio, around: Audio, delays: tuple[float, float]) -> Copy:
    """Look for a sound in another that begins at the same moment.

    Args:
        sound: What may come back; seconds, not minutes.
        around: Where it may; of the same rate, longer by the largest delay.
        delays: Smallest and largest, in seconds.

    Returns:
        The best match. The height of no match is 0: of silence, or of too little to look in.

    Raises:
        ValueError: If the rates differ.
    """
    rate = sound.sample_rate
    if around.sample_rate != rate:
        raise ValueError(f"sample rates differ: {rate} and {around.sample_rate}")
    low, high = (round(rate * delay) for delay in delays)
    here, there = _whitened(sound), _whitened(around)[low:]
    count = min(len(there) - len(here), high - low) + 1
    if count < 2 or not here.any():
        return Copy(delays[0], 0.0)
    size = 1 << (len(there) - 1).bit_length()  # the delays that wrap round are not looked at
    product = np.fft.rfft(there, size) * np.conj(np.fft.rfft(here, size))
    scores = np.fft.irfft(product, size)[:count]
    spread = float(np.std(scores))
    if spread < 1e-9:
        return Copy(delays[0], 0.0)
    best = low + int(np.argmax(np.abs(scores)))
    return Copy(best / rate, float(np.abs(scores).max()) / spread)


def gain_of(sound: Audio, around: Audio, delay: float) -> float:
    """How loud a copy is, as a factor of amplitude, at least 0.

    By least squares, where a cell counts the less the more power there is around it: who talks over the
    copy is loud.

    Args:
        sound: What comes back.
        around: Where it does, as for :func:`find_copy`.
        delay: At which it was found, in seconds.
    """
    rate = sound.sample_rate
    copy = around.samples[round(delay * rate) :][: len(sound.samples)]
    mine, theirs = _cells(sound.samples[: len(copy)], rate), _cells(copy, rate)
    weight = _inside(rate) / np.maximum(_around(theirs), NOTHING * _size(rate))
    energy = float(np.sum(np.abs(mine) ** 2 * weight))
    return float(np.abs(np.sum(theirs * np.conj(mine) * weight))) / energy if energy else 0.0


def _whitened(audio: Audio) -> NDArray[np.float32]:
    """A signal of about unit power where there is any sound in it, as long as it was."""
    rate, size = audio.sample_rate, _size(audio.sample_rate)
    cells = _cells(audio.samples, rate)
    power = _around(cells)
    known = _inside(rate) & (power > NOTHING * size)
    cells *= np.where(known, 1 / np.sqrt(np.maximum(power, NOTHING)), 0)
    frames = np.fft.irfft(cells, size, axis=1) * _window(size)
    out = np.zeros((len(frames) + 1) * (size // 2), np.float32)
    out[: -(size // 2)] += frames[:, : size // 2].ravel()
    out[size // 2 :] += frames[:, size // 2 :].ravel()
    return out[size // 2 :][: len(audio.samples)]


def _cells(samples: NDArray[np.float32], rate: int) -> NDArray[np.complex64]:
    """The spectrogram, shape ``(frames, bins)``; its first and last frame lie half outside."""
    size = _size(rate)
    hop = size // 2
    count = -(-len(samples) // hop) + 1
    padded = np.zeros((count + 1) * hop, np.float32)
    padded[hop : hop + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return np.fft.rfft(frames * _window(size), axis=1).astype(np.complex64, copy=False)


def _around(cells: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Mean power of each cell and its neighbours."""
    power = cells.real**2 + cells.imag**2
    return _sums(_sums(power, BINS, 1), FRAMES, 0) / np.float32(FRAMES * BINS)


def _sums(power: NDArray[np.float32], width: int, axis: int) -> NDArray[np.float32]:
    """Sum of so many neighbours along an axis, beyond whose ends the last one goes on."""
    count, half = power.shape[axis], width // 2
    beyond = power.take(np.arange(-half, count + half).clip(0, count - 1), axis)
    along = np.moveaxis(beyond, axis, 0)
    total = along[:count] + along[1 : count + 1]
    for at in range(2, width):
        total += along[at : at + count]
    return np.moveaxis(total, 0, axis)


def _size(rate: int) -> int:
    return 2 * round(CELL * rate / 2)


@cache
def _window(size: int) -> NDArray[np.float32]:
    """The root of Hann's: twice applied it adds up to 1."""
    return np.sqrt(np.hanning(size + 1)[:-1]).astype(np.float32)


@cache
def _inside(rate: int) -> NDArray[np.bool_]:
    frequencies = np.fft.rfftfreq(_size(rate), 1 / rate)
    return (frequencies >= BAND[0]) & (frequencies <= BAND[1])
