"""What a recording can tell of the leg, and what it cannot.

A codec's noise follows the voice: it rises and falls with it, band by band, and is gone in a pause.
The noise of a line, of 8 bits, of another voice or of a second codec does not do so in the same way.
So the noise is looked at in loud, middle and soft parts of the speech and in its pauses, and a model
of a leg is named only if it leaves the same noise in each of them, the recording's level is steady,
and no other model comes near. Sound above 4 kHz that was sent is evidence of its own: no narrow leg,
and no file at 8 kHz, brings it along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from workbench.audio import Audio
from workbench.metrics.frames import framed, hann

__all__ = ["Noise", "distance", "noise_of", "wide_snr"]

#: Length of a block and of what its level is followed over, in seconds.
_BLOCK, _GAIN_SECS = 0.032, 0.4
#: Bands in hertz. Above the last one filters of narrow legs differ.
_BAND, _LOWEST, _HIGHEST = 250.0, 250.0, 3250.0
#: Signal to noise is told between these, in dB.
_LEAST, _MOST = -3.0, 42.0
#: The same of a pause: the speech's loud part against what is left.
_MOST_PAUSE: Final = 62.0
#: Blocks of speech are those within so many dB of the loudest; softer ones by 20 more are a pause.
_SPEECH_DB, _PAUSE_DB = 32.0, 50.0
#: Where only a wide leg has sound, in hertz.
_WIDE: Final = (4500.0, 6500.0)


@dataclass(frozen=True, eq=False)
class Noise:
    """What does not follow the voice.

    Parameters:
        snr: Shape ``(3, bands)``: in loud, middle and soft parts of the speech, in dB; NaN where
            nothing was sent.
        pause: Shape ``(bands,)``: the same of the loud parts against what is heard in pauses; NaN
            if there are none.
        gain_db: By how much the level wanders: standard deviation.
    """

    snr: NDArray[np.float64]
    pause: NDArray[np.float64]
    gain_db: float


def _spectra(
    reference: Audio, heard: Audio, starts: NDArray[np.intp], lags: NDArray[np.float64], secs: float
) -> tuple[NDArray[np.complex128], NDArray[np.complex128], NDArray[np.float64]]:
    """Spectra of what was sent and of what is heard, block by block, and their frequencies."""
    rate = reference.sample_rate
    size, length = round(_BLOCK * rate), round(secs * rate)
    window, omega = hann(size), 2 * np.pi * np.arange(size // 2 + 1) / size
    sent, came = [], []
    for start, lag in zip(starts.tolist(), (lags * rate).tolist(), strict=True):
        later = min(max(0, start + round(lag)), len(heard.samples) - length)
        x, y = (
            fft.rfft(framed(audio.samples[at : at + length], size, size // 2) * window)
            for audio, at in ((reference, start), (heard, later))
        )
        sent.append(x)
        came.append(y[: len(x)] * np.exp(1j * omega * (start + lag - later)))
    return np.concatenate(sent), np.concatenate(came), omega * rate / (2 * np.pi)


def noise_of(
    reference: Audio, heard: Audio, starts: NDArray[np.intp], lags: NDArray[np.float64], secs: float
) -> Noise:
    """Measure what does not follow the voice.

    Args:
        reference: What was sent.
        heard: What came of it, on the same clock and at the same rate.
        starts: First samples of the windows that are looked at.
        lags: By how many seconds each is heard later.
        secs: Their length.
    """
    x, y, frequency = _spectra(reference, heard, starts, lags, secs)
    inside = (frequency >= _LOWEST) & (frequency < _HIGHEST)
    x, y, frequency = x[:, inside], y[:, inside], frequency[inside]
    level = 10 * np.log10(np.sum(np.abs(x) ** 2, axis=1) + 1e-20)
    loudest = float(np.percentile(level, 98))
    spoken = level > loudest - _SPEECH_DB
    passed = np.sum(np.conj(x[spoken]) * y[spoken], axis=0) / np.maximum(
        np.sum(np.abs(x[spoken]) ** 2, axis=0), 1e-20
    )
    left = np.abs(y - x * passed) ** 2
    signal = np.abs(x * passed) ** 2
    band = ((frequency - _LOWEST) // _BAND).astype(int)
    edges = np.percentile(level[spoken], [0, 33.3, 66.7, 100]) + [-1e-9, 0, 0, 1e-9]
    snr = np.full((3, band.max() + 1), np.nan)
    loud = np.full(band.max() + 1, np.nan)
    for row, (low, high) in enumerate(zip(edges[2::-1], edges[:0:-1], strict=True)):
        blocks = (level > low) & (level <= high)
        for number in range(band.max() + 1):
            cells = np.ix_(blocks, band == number)
            power = float(signal[cells].sum())
            if row == 0:
                loud[number] = power / max(1, blocks.sum())
            snr[row, number] = 10 * np.log10((power + 1e-20) / (float(left[cells].sum()) + 1e-20))
    snr[:, loud < 1e-4 * np.nanmax(loud)] = np.nan
    pauses = level < loudest - _PAUSE_DB
    pause = np.full(band.max() + 1, np.nan)
    if np.count_nonzero(pauses) >= 5:
        for number in range(band.max() + 1):
            rest = float(left[np.ix_(pauses, band == number)].sum()) / np.count_nonzero(pauses)
            pause[number] = 10 * np.log10((loud[number] + 1e-20) / (rest + 1e-20))
    return Noise(
        np.clip(snr, _LEAST, _MOST), np.clip(pause, 0, _MOST_PAUSE), _wander(x, y, passed, spoken)
    )


def _wander(
    x: NDArray[np.complex128],
    y: NDArray[np.complex128],
    passed: NDArray[np.complex128],
    spoken: NDArray[np.bool_],
) -> float:
    """By how much the level wanders over stretches of speech, in dB."""
    count = round(_GAIN_SECS / _BLOCK * 2)
    heard = np.sum((np.conj(x * passed) * y).real, axis=1) * spoken
    sent = np.sum(np.abs(x * passed) ** 2, axis=1) * spoken
    whole = len(heard) // count * count
    parts = (
        heard[:whole].reshape(-1, count).sum(axis=1),
        sent[:whole].reshape(-1, count).sum(axis=1),
    )
    least = 0.1 * float(np.mean(parts[1])) if whole else 0.0
    enough = parts[1] > least
    if np.count_nonzero(enough) < 4:
        return float("nan")
    ratio = np.maximum(parts[0][enough] / parts[1][enough], 1e-3)
    return float(np.std(20 * np.log10(ratio)))


def distance(measured: Noise, model: Noise) -> float:
    """How far a recording's noise is from that of a model, in dB: where they differ most.

    The largest over loud, middle and soft speech and pauses of the mean over the bands.
    """
    rows = [np.abs(a - b) for a, b in zip(measured.snr, model.snr, strict=True)]
    # A pause may be quieter than the model's, as a recorder may begin after a codec: not louder.
    rows.append(np.maximum(model.pause - measured.pause, 0.0))
    known = [float(np.mean(row[np.isfinite(row)])) for row in rows if np.isfinite(row).any()]
    return max(known, default=float("nan"))


def wide_snr(
    reference: Audio, heard: Audio, starts: NDArray[np.intp], lags: NDArray[np.float64], secs: float
) -> float:
    """How clearly sound above 4 kHz that was sent is on a recording: signal to noise, in dB.

    From 4.5 to 6.5 kHz, of the blocks in which most was sent there; NaN if the recording, or what
    was sent, does not reach there. Of two signals that have nothing in common it is below -15.
    """
    if reference.sample_rate < 2 * _WIDE[1]:
        return float("nan")
    x, y, frequency = _spectra(reference, heard, starts, lags, secs)
    inside = (frequency >= _WIDE[0]) & (frequency < _WIDE[1])
    x, y = x[:, inside], y[:, inside]
    power = np.sum(np.abs(x) ** 2, axis=1)
    chosen = power >= np.percentile(power, 80)
    x, y = x[chosen], y[chosen]
    both = np.abs(np.sum(np.conj(x) * y, axis=0)) ** 2
    of_each = np.sum(np.abs(x) ** 2, axis=0) * np.sum(np.abs(y) ** 2, axis=0)
    coherence = float(np.mean(both / np.maximum(of_each, 1e-30)))
    return 10 * float(np.log10(max(coherence, 1e-6) / max(1 - coherence, 1e-6)))
