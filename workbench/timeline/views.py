"""What the player asks for: a signal at the width of a screen, and its sound in chunks.

The cost of a view depends on its size in pixels, never on the length of the call.

Conventions:
    Times in seconds on the call's clock. Pictures are small integers: envelopes int8, 127 being
    ``full_scale``; spectrograms uint8, 0 to 255 being :data:`FLOOR_DBOV` to :data:`TOP_DBOV`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.metrics.spectra import short_time_power
from workbench.timeline.stretching import stretched

__all__ = ["CHUNK_SECS", "FLOOR_DBOV", "PLAY_RATE", "TOP_DBOV", "VOICE_HZ", "Track", "painted"]

#: Everything is played at this rate. A browser converts a buffer of another rate by drawing
#: straight lines between its samples, which adds images that are not in the signal: a comparison
#: of 8 kHz with 24 kHz heard through that would be a lie.
PLAY_RATE: Final = 24000
#: Length of one piece of sound on its way to the browser.
CHUNK_SECS: Final = 4
#: Sound on each side of a chunk that the rate conversion sees, so that chunks join exactly. A
#: multiple of 5 ms: a whole number of samples at 8, 16, 22.05, 24, 32, 44.1 and 48 kHz.
CONTEXT_SECS: Final = 0.1

#: Where the voice is: what a telephone carries, and where all its formants are.
VOICE_HZ: Final = 4000.0

FLOOR_DBOV: Final = -110.0
TOP_DBOV: Final = -30.0

#: Samples summed up by one entry of the lowest level of the pyramid, and by how many times more
#: each level above it.
_BASE: Final = 256
_FACTOR: Final = 8
#: A column that is a smaller share of a block has no level of its own.
_LEAST_BLOCK: Final = 1 / 16
#: Blocks looked at for one column of a spectrogram that is longer than a block.
_BLOCKS: Final = 3


class Track:
    """One signal, to be drawn at any zoom and played from anywhere. It never changes.

    Parameters:
        audio: The signal; silence before and after it.
    """

    def __init__(self, audio: Audio) -> None:
        """Sum the signal up: extremes of 256 samples, of 8 of those, and so on."""
        self.audio = audio
        blocks = audio.samples[: len(audio.samples) // _BASE * _BASE].reshape(-1, _BASE)
        low, high = blocks.min(axis=1, initial=1.0), blocks.max(axis=1, initial=-1.0)
        self._power = np.einsum("ij,ij->i", blocks, blocks, dtype=np.float64) / _BASE
        self._pyramid = [(_BASE, low, high)]
        while len(low) > 4096:
            whole = len(low) // _FACTOR * _FACTOR
            low = low[:whole].reshape(-1, _FACTOR).min(axis=1)
            high = high[:whole].reshape(-1, _FACTOR).max(axis=1)
            self._pyramid.append((self._pyramid[-1][0] * _FACTOR, low, high))

    @property
    def sample_rate(self) -> int:
        """Of the signal, in hertz."""
        return self.audio.sample_rate

    @property
    def peak(self) -> float:
        """Largest sample, 1.0 = full scale."""
        _, low, high = self._pyramid[-1]
        rest = self.audio.samples[len(low) * self._pyramid[-1][0] :]
        return float(max(-low.min(initial=0), high.max(initial=0), np.abs(rest).max(initial=0)))

    def envelope(
        self, start: float, end: float, columns: int, full_scale: float = 1.0
    ) -> NDArray[np.int8]:
        """Lowest and highest sample in each column, shape ``(columns, 2)``; 0 outside.

        Each column reaches over to the first sample of the next, so that lines drawn through
        them are connected.
        """
        samples = self.audio.samples
        per_column = (end - start) * self.audio.sample_rate / columns
        step, low, high = 1, samples, samples
        for size, *extremes in self._pyramid:
            if size <= per_column:
                step, (low, high) = size, extremes
        edges = np.linspace(start, end, columns + 1) * (self.audio.sample_rate / step)
        first = np.floor(edges[:-1]).astype(np.int64)
        last = np.maximum(np.floor(edges[1:]).astype(np.int64), first) + 1
        out = np.zeros((columns, 2), np.int8)
        seen = np.flatnonzero((last > 0) & (first < len(low)))
        if len(seen):
            bounds = np.stack([np.maximum(first[seen], 0), np.minimum(last[seen], len(low))], 1)
            base, bounds = int(bounds[0, 0]), bounds - bounds[0, 0]
            piece = slice(base, base + int(bounds[-1, 1]) + 1)
            for index, extreme, reduce in ((0, low, np.minimum), (1, high, np.maximum)):
                values = np.append(
                    extreme[piece], extreme[-1:]
                )  # reduceat wants every bound inside
                found = reduce.reduceat(values, bounds.ravel())[::2]
                out[seen, index] = np.clip(np.rint(found * (127 / full_scale)), -127, 127)
        return out

    def rms(
        self, start: float, end: float, columns: int, full_scale: float = 1.0
    ) -> NDArray[np.uint8]:
        """RMS of each column, shape ``(columns,)``, 127 being ``full_scale``; 0 outside.

        Of blocks of :data:`_BASE` samples, and between their middles where a column is shorter. Empty
        where it is much shorter: a wave is seen there, and no level.
        """
        per_block = (end - start) * self.audio.sample_rate / columns / _BASE
        if per_block < _LEAST_BLOCK or not len(self._power):
            return np.zeros(0, np.uint8)
        edges = np.linspace(start, end, columns + 1) * (self.audio.sample_rate / _BASE)
        if per_block < 1:
            blocks = np.arange(len(self._power)) + 0.5
            middles = (edges[:-1] + edges[1:]) / 2
            is_inside = (middles > 0) & (middles < len(self._power))
            power = np.interp(middles, blocks, self._power) * is_inside
        else:
            sums = np.concatenate([[0.0], np.cumsum(self._power)])
            bounds = np.clip(np.rint(edges), 0, len(self._power)).astype(np.int64)
            power = np.maximum(np.diff(sums[bounds]), 0) / np.maximum(np.diff(bounds), 1)
        level: NDArray[np.float64] = np.sqrt(power) * (127 / full_scale)
        return np.clip(np.rint(level), 0, 127).astype(np.uint8)

    def spectrogram(
        self, start: float, end: float, columns: int, rows: int, top_hz: float
    ) -> NDArray[np.uint8]:
        """Level over frequency (first row highest) and time, shape ``(rows, columns)``.

        Blocks are 25 ms long, and shorter in views of two seconds and less, where it is moments
        that matter. A row shows the strongest of its bins, a column the strongest of its blocks.
        What lies above the signal's own highest frequency is 0.
        """
        window_ms = float(np.clip((end - start) * 12.5, 5.0, 25.0))
        width = (end - start) / columns
        blocks = _BLOCKS if width * 1000 > window_ms else 1
        time = start + (np.arange(columns * blocks) + 0.5) * (width / blocks)
        power = short_time_power(self.audio, time, window_ms=window_ms)
        power = power.reshape(columns, blocks, -1).max(axis=1)
        return painted(power, self.sample_rate / 2, rows, top_hz)

    def sound(self, chunk: int, speed: float = 1.0) -> NDArray[np.int16]:
        """The ``chunk``-th four seconds, at :data:`PLAY_RATE`, ready to be played.

        Args:
            chunk: Index, from 0. Chunks join without a seam.
            speed: Faster (above 1) or slower, at the same pitch.

        Returns:
            Samples, shape ``(n,)``, int16; ``4 / speed`` seconds, fewer at the signal's end.
        """
        rate = self.audio.sample_rate
        first, last = chunk * CHUNK_SECS * rate, (chunk + 1) * CHUNK_SECS * rate
        context = round(CONTEXT_SECS * rate)
        before, after = min(first, context), context
        samples = self.audio.samples[first - before : last + after]
        if rate != PLAY_RATE:
            samples = soxr.resample(samples, rate, PLAY_RATE)
        length = min(len(self.audio.samples), last) - first
        wanted = max(0, round(length * PLAY_RATE / rate))
        samples = stretched(samples, round(before * PLAY_RATE / rate), wanted, speed)
        return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def painted(
    power: NDArray[np.float32], nyquist_hz: float, rows: int, top_hz: float
) -> NDArray[np.uint8]:
    """Turn power spectra, one for each column, into a picture.

    Args:
        power: Shape ``(columns, bins)``, 1.0 = 0 dBov; the last bin is that of ``nyquist_hz``.
        nyquist_hz: Rows above it are 0.
        rows: Height of the picture.
        top_hz: Frequency of its upper edge.

    Returns:
        Shape ``(rows, columns)``, first row highest. A row shows the strongest of its bins.
    """
    out = np.zeros((rows, len(power)), np.uint8)
    edges = np.linspace(0, top_hz, rows + 1) / nyquist_hz * (power.shape[1] - 1)
    power = power[:, : max(2, int(np.rint(edges[-1])) + 1)]  # a row is of nothing above the picture
    shown = np.flatnonzero(np.rint(edges[:-1]) < power.shape[1] - 1)
    first = np.rint(edges[shown]).astype(np.int64)
    strongest = np.maximum.reduceat(power, first, axis=1)
    level = 10 * np.log10(np.maximum(strongest, 1e-20))
    scaled = (level - FLOOR_DBOV) * (255 / (TOP_DBOV - FLOOR_DBOV))
    out[rows - 1 - shown] = np.clip(scaled, 0, 255).T
    return out
