"""When each piece of audio belongs on the call's clock, and the tracks laid out from it.

Nothing here counts bytes to tell the time. A network that stalls for a second and then delivers
all it held must not make the call a second longer, and a second that was never sent must not make
it shorter: the arrival times say what is late, the sequence numbers say what is missing.

Conventions:
    Times and durations in seconds, float64, one per message. ``nan`` as a start means that the
    message is not played at all. ``pcm`` is int16 little-endian, mono.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import WireFormat
from workbench import mapped
from workbench.audio import Audio
from workbench.call.life import AHEAD, PAUSED, anchored
from workbench.call.pieces import join, let_go, sizes
from workbench.metrics.smoothing import running_minimum

__all__ = ["follow", "lay", "lay_encoded", "place_made"]

#: Pieces that are decoded at once: 20 s of 20 ms.
_AT_ONCE: Final = 1000
#: Samples that are added at once.
_BLOCK: Final = 480_000
_FULL_SCALE: Final = np.float32(1 / 32768)


def follow(
    time: NDArray[np.float64],
    duration: NDArray[np.float64],
    tolerance: float = PAUSED,
    ahead: int = AHEAD,
) -> NDArray[np.float64]:
    """Place pieces that nobody numbered one after the other, and anew where they come later.

    A piece is late either because it was held up or because the sender paused. What comes after
    tells: after a stall those that were held come in a burst and the lateness goes away; after a
    pause it stays. So one counts as late only if all those after it are as late, and a stretch is
    anchored at its quickest. What the caller sends is numbered: see :mod:`workbench.call.life`.

    Args:
        time: When each arrived.
        duration: How much audio each holds.
        tolerance: Lateness that is still jitter.
        ahead: How many pieces ahead to look for one that is less late.

    Returns:
        Where each starts.
    """
    if not len(time):
        return np.empty(0)
    nominal = np.cumsum(duration) - duration
    settled = running_minimum(time - nominal, before=0, after=ahead - 1)
    return nominal + anchored(settled, tolerance)


def place_made(start: NDArray[np.float64], duration: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place pieces that were made of messages, in the order in which they were made.

    A resampler may hold audio back and let it out in bursts of up to 150 ms: what a piece is late
    then goes away within ten messages. A message that came late, or again, is a step back: its
    piece stands where the message does and moves none of the others.

    Args:
        start: Of the message that each was made from.
        duration: How much audio each holds.

    Returns:
        Where each starts.
    """
    reached = np.maximum.accumulate(np.append(-np.inf, start))[:-1]
    onward = start > reached
    placed = np.array(start, float)
    placed[onward] = follow(start[onward], duration[onward], tolerance=0.005, ahead=10)
    return placed


def lay(
    start: NDArray[np.float64],
    heard: NDArray[np.float64],
    pcm: Sequence[bytes],
    rates: Sequence[int],
    duration: float,
    sample_rate: int | None = None,
) -> Audio:
    """Lay the PCM of each message at its start; silence where there is none.

    Pieces that follow each other closely stay joined to the sample. Where two of one rate overlap,
    the later one is heard; of different rates, both are.

    Args:
        start: Where each starts; ``nan`` leaves it out.
        heard: How much of each is kept.
        pcm: The pieces.
        rates: Sample rate of each.
        duration: Length of the track.
        sample_rate: Of the track; by default the rate of most of the audio, 8000 if there is none.

    Returns:
        The track. Pieces of another rate are converted, all of one rate together.
    """
    return lay_encoded(start, heard, pcm, [_linear(rate) for rate in rates], duration, sample_rate)


def lay_encoded(
    start: NDArray[np.float64],
    heard: NDArray[np.float64],
    payloads: Sequence[bytes],
    formats: Sequence[WireFormat],
    duration: float,
    sample_rate: int | None = None,
) -> Audio:
    """Lay payloads as :func:`lay` does PCM, each in its own format."""
    count = len(payloads)
    start, heard = np.asarray(start, float), np.asarray(heard, float)
    rates, width = (
        np.fromiter(map(attrgetter(name), formats), np.int64, count)
        for name in ("sample_rate", "bytes_per_sample")
    )
    size = sizes(payloads)
    spoken = {
        rate: int((size // width * 48000 // rate)[rates == rate].sum())
        for rate in dict.fromkeys(rates.tolist())
    }
    main = sample_rate or max(spoken, key=lambda rate: spoken[rate], default=8000)
    length = round(duration * main)
    track: NDArray[np.float32] = mapped.zeros(length, np.float32)
    for rate in sorted(spoken, key=lambda rate: rate != main):
        wanted = np.flatnonzero((rates == rate) & ~np.isnan(start) & (heard > 0))
        runs = list(_runs(start[wanted], heard[wanted], size[wanted], width[wanted], rate))
        if rate == main:
            for run in runs:
                _write(track, run.first, _decoded(run, wanted, payloads, formats), run.length)
            let_go(payloads)
            continue
        for first, last, some in _stretches(runs, rate, math.ceil(duration)):
            samples: NDArray[np.float32] = mapped.zeros((last - first) * rate, np.float32)
            for run in sorted(some, key=lambda run: run.pieces.start):
                pcm = _decoded(run, wanted, payloads, formats)
                _write(samples, run.first - first * rate, pcm, run.length)
            part = Audio(samples, rate).resampled(main).samples
            part = part[: max(0, length - first * main)]
            for at, block in mapped.blocks(part, _BLOCK):
                track[first * main + at :][: len(block)] += block
    return Audio.known(track, main)


class _Run(NamedTuple):
    """Pieces that stand side by side, in the call as in memory: laid at once.

    Parameters:
        pieces: Which.
        first: Sample of the track at which they begin.
        length: Samples.
    """

    pieces: slice
    first: int
    length: int


def _runs(
    start: NDArray[np.float64],
    heard: NDArray[np.float64],
    size: NDArray[np.int64],
    width: NDArray[np.int64],
    rate: int,
) -> Iterator[_Run]:
    """Where pieces of one rate go, in their order; ``size`` is in bytes, ``width`` per sample."""
    length = np.minimum(size // width, np.rint(heard * rate).astype(np.int64))
    begins, head = [], -2  # joins nothing
    for exact, samples in zip((start * rate).tolist(), length.tolist(), strict=True):
        # Rounding each start by itself would leave a sample out, or double one, here and there.
        begin = head if -1 < exact - head < 1 else round(exact)
        begins.append(begin)
        head = begin + samples
    first = np.array(begins, np.int64)
    joined = first[1:] == (first + length)[:-1]
    joined &= (length * width == size)[:-1] & (width[1:] == width[:-1])
    joined[_AT_ONCE - 1 :: _AT_ONCE] = False
    bounds = [0, *(np.flatnonzero(~joined) + 1).tolist(), len(first)] if len(first) else []
    for one, other in pairwise(bounds):
        yield _Run(slice(one, other), begins[one], int(length[one:other].sum()))


def _stretches(
    runs: Iterable[_Run], rate: int, duration: int
) -> Iterator[tuple[int, int, list[_Run]]]:
    """Runs that are not far apart, with the whole seconds round them, where every rate has a sample.

    So what is converted is no longer than what is there; a second on either side is more than any
    filter's length.
    """
    first, last, some = 0, -1, list[_Run]()
    for run in sorted(runs, key=lambda run: run.first):
        begin = max(0, run.first // rate - 1)
        end = min(duration, -(-(run.first + run.length) // rate) + 1)
        if begin >= end:
            continue  # behind the track
        if begin > last and some:
            yield first, last, some
            some = []
        first, last = (first, max(last, end)) if some else (begin, end)
        some.append(run)
    if some:
        yield first, last, some


def _decoded(
    run: _Run, wanted: NDArray[np.intp], payloads: Sequence[bytes], formats: Sequence[WireFormat]
) -> bytes:
    mine = wanted[run.pieces]
    encoded = join(payloads, mine)
    pcm: bytes = formats[mine[0]].decode(encoded)
    return pcm


def _write(track: NDArray[np.float32], first: int, pcm: bytes, length: int) -> None:
    samples = np.frombuffer(pcm, "<i2", len(pcm) // 2)[:length]
    begin, end = max(0, first), min(first + len(samples), len(track))
    if begin < end:
        np.multiply(samples[begin - first : end - first], _FULL_SCALE, out=track[begin:end])
        mapped.let_go(track[begin:end])


@cache
def _linear(rate: int) -> WireFormat:
    """PCM of any rate, which no message may have but a frame."""
    return WireFormat("PCM", rate, "", 2)
