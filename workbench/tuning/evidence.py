"""What a recording can tell of the leg, and what it cannot.

A codec's noise follows the voice: it rises and falls with it, band by band, and is gone in a pause.
The noise of 8 bits, of another voice or of a second codec does not do so in the same way. So the noise
is looked at in loud, middle and soft parts of the speech and in its pauses, and a model of a leg is
named only if it leaves the same noise in each of them, the recording's level is steady, and no other
model comes near. A line hisses on in the pauses, evenly: that much is added to what each model leaves.
Where it covers the codec's own noise, all models come near, and none is named. Blocks that are
hardly the voice are left out, if they are few: what a lost packet leaves is no noise of a codec. Sound
above 4 kHz that was sent is evidence of its own: no narrow leg, and no file at 8 kHz, brings it along.
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
#: The noise of a line is even: its level from one block to the next, in a pause, wanders by no more than
#: this (standard deviation, in dB; of white noise in the band that is looked at it is 0.6), and there are
#: so many blocks to tell it by.
_EVEN_DB, _FEWEST = 1.5, 20
#: Blocks with so much noise for their voice, and so many on either side of them, are left out if they are
#: no more than this share. A lost packet of 20 ms spoils four blocks, so one in a hundred is 5 %. What is
#: only worse than usual stays: its worst moments tell G.722 from G.711.
_SPOILT, _BESIDE, _LEFT_OUT = 0.5, 2, 0.15
#: Where only a wide leg has sound, in hertz.
_WIDE: Final = (4500.0, 6500.0)


@dataclass(frozen=True, eq=False)
class Noise:
    """What does not follow the voice.

    Parameters:
        snr: Shape ``(3, bands)``: in loud, middle and soft parts of the speech, in dB; NaN where
            nothing was sent.
        power: Shape ``(3, bands)``: what of the voice is in them, per block, the loud parts of the band 1.
        pause: Shape ``(bands,)``: the same as ``snr`` of the loud parts against what is heard in
            pauses; NaN if there are none.
        is_even: Whether what is heard in pauses is even, as the noise of a line is.
        gain_db: By how much the level wanders: standard deviation.
    """

    snr: NDArray[np.float64]
    power: NDArray[np.float64]
    pause: NDArray[np.float64]
    is_even: bool
    gain_db: float

    def behind(self, line: NDArray[np.float64]) -> NDArray[np.float64]:
        """Its ``snr`` where a line has added noise of its own.

        Args:
            line: Shape ``(bands,)``: its power per block, the loud parts of the voice being 1.
        """
        noise = self.power * 10 ** (-self.snr / 10) + line
        snr: NDArray[np.float64] = 10 * np.log10(self.power / np.maximum(noise, 1e-20))
        return np.clip(snr, _LEAST, _MOST)


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
    passed = _passed(x, y, spoken := level > loudest - _SPEECH_DB)
    lost = _lost(x * passed, y, spoken)
    passed = _passed(x, y, spoken := spoken & ~lost)
    left = np.abs(y - x * passed) ** 2
    signal = np.abs(x * passed) ** 2
    band = ((frequency - _LOWEST) // _BAND).astype(int)
    signal, left = (_in_bands(power, band) for power in (signal, left))
    edges = np.percentile(level[spoken], [0, 33.3, 66.7, 100]) + [-1e-9, 0, 0, 1e-9]
    rows = [
        spoken & (level > low) & (level <= high)
        for low, high in zip(edges[2::-1], edges[:0:-1], strict=True)
    ]
    power, noise = (
        np.array([of[blocks].mean(axis=0) for blocks in rows]) + 1e-20 for of in (signal, left)
    )
    loud = power[0]
    snr = 10 * np.log10(power / noise)
    snr[:, loud < 1e-4 * loud.max()] = np.nan
    rest = left[level < loudest - _PAUSE_DB]
    pause = np.full(loud.size, np.nan)
    if len(rest) >= 5:
        pause = 10 * np.log10(loud / (rest.mean(axis=0) + 1e-20))
    return Noise(
        np.clip(snr, _LEAST, _MOST),
        power / loud,
        np.clip(pause, 0, _MOST_PAUSE),
        _is_even(rest),
        _wander(x, y, passed, spoken),
    )


def _in_bands(power: NDArray[np.float64], band: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sums over the bins of each band, shape ``(blocks, bands)``."""
    sums: NDArray[np.float64] = np.add.reduceat(
        power, np.flatnonzero(np.diff(band, prepend=-1)), axis=1
    )
    return sums


def _passed(
    x: NDArray[np.complex128], y: NDArray[np.complex128], spoken: NDArray[np.bool_]
) -> NDArray[np.complex128]:
    """What the way did to each bin of what was sent, shape ``(bins,)``."""
    x, y = x[spoken], y[spoken]
    both: NDArray[np.complex128] = np.sum(np.conj(x) * y, axis=0)
    passed: NDArray[np.complex128] = both / np.maximum(np.sum(np.abs(x) ** 2, axis=0), 1e-20)
    return passed


def _lost(
    voice: NDArray[np.complex128], y: NDArray[np.complex128], spoken: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Blocks of speech that are something else, and those beside them; none if they are many."""
    noise, signal = (np.sum(np.abs(of) ** 2, axis=1) for of in (y - voice, voice))
    spoilt = spoken & (noise > _SPOILT * signal)
    lost = np.convolve(spoilt, np.ones(2 * _BESIDE + 1), "same") > 0
    if np.count_nonzero(lost & spoken) > _LEFT_OUT * np.count_nonzero(spoken):
        return np.zeros_like(lost)
    return lost


def _is_even(rest: NDArray[np.float64]) -> bool:
    """Whether what is left in pauses, shape ``(blocks, bands)``, is always as loud."""
    if len(rest) < _FEWEST:
        return False
    level = 10 * np.log10(rest.sum(axis=1) + 1e-20)
    return bool(np.std(level) <= _EVEN_DB)


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

    The largest over loud, middle and soft speech and pauses of the mean over the bands. If pauses are
    filled with even noise, it is that of a line, and the model is put behind the same.
    """
    expected = model.snr
    # A pause may be quieter than the model's, as a recorder may begin after a codec: not louder.
    louder = np.maximum(model.pause - measured.pause, 0.0)
    if measured.is_even:
        of_line = 10 ** (-measured.pause / 10) - 10 ** (-model.pause / 10)
        expected = model.behind(
            np.where(measured.pause < _MOST_PAUSE, np.maximum(of_line, 0.0), 0.0)
        )
        louder = np.zeros_like(louder)
    rows = [*np.abs(measured.snr - expected), louder]
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
