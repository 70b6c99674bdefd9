"""A recording at the pace of the call's clock: where on it something is, and what is there.

Conventions:
    *Late* is where the call's zero lies on the tape, in seconds: what was sent at ``t`` is at
    ``t + late``. In the recording's own seconds that is ``delay = late * (1 + drift)``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import fft

from workbench.audio import Audio
from workbench.metrics.alignment import find_delay, shifted
from workbench.metrics.frames import framed
from workbench.metrics.speech_level import speech_activity

__all__ = ["ENVELOPE_RATE", "WINDOW", "Tape", "alike", "coarse", "envelope", "windows_of"]

#: Clocks of telephone equipment and sound cards are within this, in ppm.
MAX_DRIFT_PPM: Final = 1200.0

#: Values of an envelope a second.
ENVELOPE_RATE: Final = 100
#: The grid of drifts is so fine that no end of the call is further off than this, in seconds.
_SLIP: Final = 0.05
_COARSEST_PPM: Final = 500.0
_FINEST_PPM: Final = 25.0

#: Length of the windows in which the delay is followed, and their hop, in seconds.
WINDOW: Final = 1.0
_HOP: Final = 0.5
#: A window is on the recording if no more of it than this is beyond either end, in seconds.
_EDGE: Final = 0.001


class Tape:
    """A recording, stretched so that it keeps the call's time.

    Parameters:
        recording: As it is.
        drift: How much faster its clock counts, as a share.
        rate: Sample rate to give it, in hertz.
    """

    def __init__(self, recording: Audio, drift: float, rate: int) -> None:
        """Stretch it."""
        self.drift, self.rate = drift, rate
        true_rate = recording.sample_rate * (1 + drift)
        self.samples: NDArray[np.float32] = soxr.resample(recording.samples, true_rate, rate)

    @property
    def duration(self) -> float:
        """In seconds of the call's clock."""
        return self.samples.size / self.rate

    def section(self, first: int, count: int) -> NDArray[np.float32]:
        """So many samples from one on; zeros beyond the ends."""
        inside = slice(min(max(first, 0), self.samples.size), max(0, first + count))
        part = self.samples[inside]
        before = min(max(0, -first), count)
        return np.pad(part, (before, count - before - part.size))

    def span(self, start: float, end: float, late: float) -> NDArray[np.float32]:
        """What is heard of ``[start, end)`` of the call, moved by whole samples and a fraction."""
        count = round(end * self.rate) - round(start * self.rate)
        at = round(start * self.rate) + late * self.rate
        whole = int(np.floor(at))
        margin = min(count, self.rate // 10)
        wide = self.section(whole - margin, count + 2 * margin + 1)
        silence = Audio(np.zeros(count + margin, np.float32), self.rate)
        fraction = 1000 * (margin + at - whole) / self.rate
        _, moved = shifted(silence, Audio(wide, self.rate), fraction)
        return moved.samples[:count]

    def lag(self, window: Audio, start: int, late: float, radius: float) -> float:
        """How late a window is, near where it may be.

        Args:
            window: Of what was sent.
            start: Its first sample.
            late: Where it may be.
            radius: How far from there to look, in seconds.

        Returns:
            Seconds; NaN where it is not found, or cut off by an end of the recording.
        """
        margin = round(radius * self.rate)
        whole = round(start + late * self.rate)
        around = Audio(self.section(whole - margin, len(window) + 2 * margin), self.rate)
        later = (
            whole
            - start
            + find_delay(window, around, max_delay_ms=2000 * radius) / 1000 * self.rate
        )
        at = (start + later - margin) / self.rate
        if not -_EDGE <= at <= self.duration - window.duration + _EDGE:
            return float("nan")
        return float(later - margin) / self.rate


def alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlation of two signals, -1 to 1; 0 if one is silent."""
    x, y, both = (
        float(np.einsum("i,i->", a, b, dtype=np.float64))
        for a, b in ((one, one), (other, other), (one, other))
    )
    return both / max(float(np.sqrt(x * y)), 1e-20)


def windows_of(reference: Audio, most: int) -> NDArray[np.intp]:
    """First samples of windows that hold speech for the most part.

    Args:
        reference: What was sent.
        most: How many are enough: of more, so many are taken, evenly.

    Raises:
        ValueError: If there are fewer than three.
    """
    size, hop = (round(secs * reference.sample_rate) for secs in (WINDOW, _HOP))
    spoken = framed(speech_activity(reference), size, hop).mean(axis=1)
    starts = np.flatnonzero(spoken > 0.6) * hop
    if len(starts) < 3:
        raise ValueError(
            f"what was sent holds {len(starts)} windows of {WINDOW:g} s of speech to find again, "
            "wanted three"
        )
    kept = np.linspace(0, len(starts) - 1, min(len(starts), most)).round().astype(int)
    chosen: NDArray[np.intp] = starts[kept]
    return chosen


def envelope(audio: Audio) -> NDArray[np.float64]:
    """How loud it is, each 10 ms; compressed, so that no peak rules."""
    hop = audio.sample_rate // ENVELOPE_RATE
    blocks = audio.samples[: len(audio.samples) // hop * hop].reshape(-1, hop)
    loudness: NDArray[np.float64] = np.mean(blocks.astype(np.float64) ** 2, axis=1) ** 0.25
    return loudness


def coarse(reference: Audio, recording: Audio) -> tuple[float, float]:
    """Late within some 30 ms, and drift within half a step of the grid, by the envelopes.

    Args:
        reference: What was sent.
        recording: As it is.

    Returns:
        Late in seconds, and the drift as a share.
    """
    x, y = (envelope(audio.resampled(8000)) for audio in (reference, recording))
    x, y = x - x.mean(), y - y.mean()
    step = np.clip(_SLIP / reference.duration * 1e6, _FINEST_PPM, _COARSEST_PPM)
    count = int(np.ceil(MAX_DRIFT_PPM / step))
    n = fft.next_fast_len(2 * max(x.size, y.size) + 1024, real=True)
    heard = fft.rfft(y, n)
    best = (-np.inf, (0.0, 0.0))
    for drift in np.arange(-count, count + 1) * step * 1e-6:
        n_stretched = round(x.size * (1 + drift))
        stretched = np.interp(np.arange(n_stretched) / (1 + drift), np.arange(x.size), x)
        correlation = fft.irfft(np.conj(fft.rfft(stretched, n)) * heard, n)
        lag = int(np.argmax(correlation))
        delay = (lag if lag < n - x.size else lag - n) / ENVELOPE_RATE
        best = max(best, (float(correlation[lag]), (delay / (1 + drift), float(drift))))
    return best[1]
