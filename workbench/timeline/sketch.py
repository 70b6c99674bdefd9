"""A sketch of a signal from its messages alone: there at once, and shown until the signal is.

To lay out the signals of an hour takes about a second. The first picture needs less: the lowest and
the highest sample of each message, and the loudest message for each column of a spectrogram.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from pipecat_bandwidth.encodings import PCMU, WireFormat
from workbench.call import Call
from workbench.timeline.views import painted

__all__ = ["Sketch", "sketch_of"]

#: What is looked at of the loudest message of a column, in seconds: Bandwidth's messages hold 20
#: ms.
_BLOCK_SECS: Final = 0.020


def sketch_of(call: Call, name: str) -> Sketch | None:
    """Draw up a signal: ``caller_sent`` or ``caller_heard``; ``None`` for any other."""
    if name == "caller_sent":
        stream = call.inbound
        start = np.where(stream.duplicate, np.nan, stream.start)
        return Sketch(start, stream.duration, stream.payloads, stream.formats)
    if name == "caller_heard":
        playout, stream = call.playout, call.outbound
        return Sketch(playout.start, playout.heard, stream.payloads, stream.formats)
    return None


class Sketch:
    """What :class:`workbench.timeline.views.Track` draws, coarser: a message is one piece.

    Parameters:
        start: Where each message starts, in seconds; ``nan`` leaves it out.
        heard: How much of it is heard.
        payloads: The messages' audio.
        formats: Encoding of each.
    """

    #: Both signals that have a sketch are those of a telephone line.
    sample_rate = PCMU.sample_rate

    def __init__(
        self,
        start: NDArray[np.float64],
        heard: NDArray[np.float64],
        payloads: Sequence[bytes],
        formats: Sequence[WireFormat],
    ) -> None:
        """Look for the extremes of every message."""
        there = np.flatnonzero(np.isfinite(start) & (heard > 0))
        there = there[np.argsort(start[there], kind="stable")]
        self._start, self._heard = start[there], heard[there]
        self._payloads = [payloads[index] for index in there.tolist()]
        self._formats = [formats[index] for index in there.tolist()]
        self._low, self._high = _extremes(self._payloads, self._formats)
        self._loudness = np.maximum(self._high, -self._low)

    @property
    def peak(self) -> float:
        """Largest sample, 1.0 = full scale."""
        return float(self._loudness.max(initial=0.0))

    def envelope(
        self, start: float, end: float, columns: int, full_scale: float = 1.0
    ) -> NDArray[np.int8]:
        """Extremes of the messages in each column, shape ``(columns, 2)``; 0 where none is."""
        first, last = self._columns(start, end, columns)
        out = np.zeros((columns, 2))
        seen = np.flatnonzero((last >= 0) & (first < columns))
        first, last = np.maximum(first[seen], 0), np.minimum(last[seen], columns - 1)
        count = last - first + 1
        message = np.repeat(seen, count)
        column = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count)
        np.minimum.at(out[:, 0], column, self._low[message])
        np.maximum.at(out[:, 1], column, self._high[message])
        return np.clip(np.rint(out * (127 / full_scale)), -127, 127).astype(np.int8)

    def spectrogram(
        self, start: float, end: float, columns: int, rows: int, top_hz: float
    ) -> NDArray[np.uint8]:
        """Level of each column's loudest message over frequency, shape ``(rows, columns)``."""
        out = np.zeros((rows, columns), np.uint8)
        loudest = self._loudest(start, end, columns)
        shown = [self._formats[index] if index >= 0 else None for index in loudest.tolist()]
        for wire in {each for each in shown if each is not None}:
            where = np.flatnonzero([each == wire for each in shown])
            block = round(_BLOCK_SECS * wire.sample_rate)
            samples = np.zeros((len(where), block), np.float32)
            for row, index in enumerate(loudest[where].tolist()):
                heard = np.frombuffer(wire.decode(self._payloads[index]), "<i2")[:block]
                samples[row, : len(heard)] = heard
            window = signal.get_window("hann", block).astype(np.float32)
            power = np.abs(fft.rfft(samples * (window / 32768), axis=1)) ** 2
            power *= 2 / float(window.sum()) ** 2
            bins = round(power.shape[1] * min(1.0, self.sample_rate / wire.sample_rate))
            out[:, where] = painted(power[:, :bins], self.sample_rate / 2, rows, top_hz)
        return out

    def _columns(
        self, start: float, end: float, columns: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and last column that each message reaches into."""
        a_second = columns / (end - start)
        first = np.floor((self._start - start) * a_second)
        last = np.ceil((self._start + self._heard - start) * a_second) - 1
        return first.astype(np.int64), np.maximum(first, last).astype(np.int64)

    def _loudest(self, start: float, end: float, columns: int) -> NDArray[np.int64]:
        """Index of the loudest message that starts in each column, or that fills it; else -1."""
        width = (end - start) / columns
        middle = start + (np.arange(columns) + 0.5) * width
        found = np.searchsorted(self._start, middle, side="right") - 1
        ends = np.append(self._start + self._heard, -np.inf)  # of message -1: nothing is before it
        found[middle >= ends[found]] = -1
        first, _ = self._columns(start, end, columns)
        seen = np.flatnonzero((first >= 0) & (first < columns))
        seen = seen[np.argsort(self._loudness[seen], kind="stable")]
        found[first[seen]] = seen  # of several for one column the last stays
        return found


def _extremes(
    payloads: Sequence[bytes], formats: Sequence[WireFormat]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    low, high = np.zeros(len(payloads), np.float32), np.zeros(len(payloads), np.float32)
    for wire in set(formats):
        width = wire.bytes_per_sample
        which = [i for i, each in enumerate(formats) if each == wire and len(payloads[i]) >= width]
        size = np.array([len(payloads[i]) // width for i in which], np.int64)
        if not len(size):
            continue
        whole = zip(which, size.tolist(), strict=True)
        samples = np.frombuffer(
            wire.decode(b"".join(payloads[i][: n * width] for i, n in whole)), "<i2"
        )
        first = np.cumsum(size) - size
        low[which] = np.minimum.reduceat(samples, first) / np.float32(32768)
        high[which] = np.maximum.reduceat(samples, first) / np.float32(32768)
    return low, high
