"""Spectrogram and long-term spectrum of a signal: the arrays that pictures are drawn from.

Conventions:
    Levels are power in decibels relative to full scale (dBov): a full-scale sine reads -3.01 in
    its bin, whatever the window. Frequencies in hertz, times in seconds.

References:
    G. Heinzel, A. Ruediger, R. Schilling, "Spectrum and spectral density estimation by the
    discrete Fourier transform", 2002: the window's sum S1 normalises a *spectrum*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.metrics.frames import framed, hann, undefined
from workbench.metrics.speech_level import speech_activity

__all__ = ["Spectrogram", "Spectrum", "long_term_spectrum", "short_time_power", "spectrogram"]

#: Below this nothing can be told apart: 16-bit rounding noise in one bin.
FLOOR_DB: Final = -130.0


@dataclass(frozen=True, eq=False)
class Spectrogram:
    """Level over time and frequency.

    Parameters:
        time: Centres of the blocks in seconds, shape ``(t,)``.
        frequency: Bins in hertz, shape ``(f,)``.
        level: dBov, shape ``(f, t)``, float32.
    """

    time: NDArray[np.float64]
    frequency: NDArray[np.float64]
    level: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Level over frequency.

    Parameters:
        frequency: Bins in hertz, shape ``(f,)``.
        level: dBov, shape ``(f,)``.
    """

    frequency: NDArray[np.float64]
    level: NDArray[np.float64]


def spectrogram(audio: Audio, *, window_ms: float = 25.0, columns: int = 1000) -> Spectrogram:
    """Short-time spectrum with Hann windows.

    Args:
        audio: The signal.
        window_ms: Length of a block. 25 ms shows the harmonics of a low voice as lines.
        columns: At most this many blocks, spread evenly: the cost does not grow with the length
            of a call, and blocks overlap by at most three quarters.

    Returns:
        The spectrogram; for a signal shorter than a block, one block padded with silence.
    """
    size = max(16, round(window_ms * audio.sample_rate / 1000))
    free = max(0, len(audio.samples) - size)
    hop = max(size // 4, -(-free // max(1, columns - 1)))
    time = (np.arange(free // hop + 1) * hop + size // 2) / audio.sample_rate
    power = short_time_power(audio, time, window_ms=window_ms).T
    level = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    frequency = _bins(size, audio.sample_rate)
    return Spectrogram(time, frequency, level.astype(np.float32))


def short_time_power(
    audio: Audio, time: ArrayLike, *, window_ms: float = 25.0
) -> NDArray[np.float32]:
    """Power spectra at chosen times; the cost depends on their number only.

    Args:
        audio: The signal; there is silence before and after it.
        time: Centres of the blocks in seconds, shape ``(t,)``.
        window_ms: Length of a block, at least 16 samples.

    Returns:
        Power in each bin, shape ``(t, f)``, float32, 1.0 = 0 dBov. The bins are those of
        ``numpy.fft.rfftfreq`` for the block's length.
    """
    size = max(16, round(window_ms * audio.sample_rate / 1000))
    samples = np.pad(audio.samples, (0, size)) if len(audio.samples) < size else audio.samples
    first = np.rint(np.asarray(time) * audio.sample_rate).astype(np.int64) - size // 2
    inside = np.clip(first, 0, len(samples) - size)
    blocks = np.lib.stride_tricks.sliding_window_view(samples, size)[inside]
    mapped.let_go(samples)
    for row in np.flatnonzero(first != inside):
        late = int(first[row] - inside[row])  # below 0: the block begins before the signal does
        part = blocks[row, max(late, 0) : max(0, size + min(late, 0))].copy()
        blocks[row] = 0
        if len(part):
            at = max(-late, 0)
            blocks[row, at : at + len(part)] = part
    window = hann(size)
    spectrum = np.fft.rfft(blocks * window, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    power *= np.float32(2 / float(window.sum()) ** 2)  # one-sided, normalised by S1
    return np.asarray(power, dtype=np.float32)


def long_term_spectrum(audio: Audio, *, resolution_hz: float = 31.25) -> Spectrum:
    """Average spectrum by Welch's method, half-overlapping Hann windows.

    Args:
        audio: The signal.
        resolution_hz: Distance of the bins.

    Returns:
        The spectrum. Silence counts into the average: cut it away to see only speech.
    """
    size = round(audio.sample_rate / resolution_hz)
    samples = np.pad(audio.samples, (0, max(0, size - len(audio.samples))))
    window = hann(size)
    spectra = np.abs(np.fft.rfft(framed(samples, size, size - size // 2) * window))
    power = np.einsum("ij,ij->j", spectra, spectra, dtype=np.float64)
    power *= 2 / (len(spectra) * float(window.sum()) ** 2)
    power[[0, -1] if size % 2 == 0 else [0]] /= 2  # these have no mirror image
    frequency = _bins(size, audio.sample_rate)
    return Spectrum(frequency, 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10))))


#: Frames processed together, so that an hour takes no more memory than a minute.
_AT_ONCE: Final = 1024


def effective_bandwidth(audio: Audio) -> float:
    """Find the frequency up to which there is anything to hear.

    Args:
        audio: The signal.

    Returns:
        Highest frequency in hertz whose long-term power, in bins of 31.25 Hz, is within 50 dB of
        the strongest between 300 and 3000 Hz; NaN without 0.1 s of speech.

    Example::

        >>> speech = Audio.read("sample_audio/call/bot/b01.flac")
        >>> effective_bandwidth(speech), effective_bandwidth(speech.resampled(8000).resampled(24000))
        (12000.0, 3843.75)
    """
    size = round(audio.sample_rate / 31.25)
    hop = size // 2
    frames = framed(audio.samples, size, hop)
    active = speech_activity(audio)
    windows = framed(active, size, hop)
    whole: list[NDArray[np.bool_]] = [np.empty(0, np.bool_)]
    for first in range(0, len(windows), _AT_ONCE):
        whole.append(np.asarray(windows[first : first + _AT_ONCE].all(axis=1)))
        mapped.let_go(active[first * hop : (first + _AT_ONCE) * hop])
    spoken = np.flatnonzero(np.concatenate(whole))
    if len(spoken) < 5:
        return undefined("effective bandwidth", "there is less than 0.1 s of speech")
    power = np.zeros(size // 2 + 1)
    for first in range(0, len(spoken), _AT_ONCE):
        spectra = np.abs(np.fft.rfft(frames[spoken[first : first + _AT_ONCE]] * hann(size)))
        power += np.einsum("ij,ij->j", spectra, spectra, dtype=np.float64) / len(spoken)
        mapped.let_go(audio.samples)
    frequency = _bins(size, audio.sample_rate)
    strongest = float(power[(frequency >= 300) & (frequency <= 3000)].max(initial=0.0))
    if strongest == 0.0:
        return undefined("effective bandwidth", "there is nothing between 300 and 3000 Hz")
    return float(frequency[np.flatnonzero(power >= strongest * 1e-5)[-1]])


def _bins(size: int, rate: int) -> NDArray[np.float64]:
    """Frequencies of the bins of a block, in hertz."""
    return np.arange(size // 2 + 1, dtype=np.float64) * (rate / size)
