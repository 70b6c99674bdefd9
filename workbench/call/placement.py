"""When each piece of audio belongs on the call's clock, and the tracks laid out from it.

Nothing here counts bytes to tell the time. A network that stalls for a second and then delivers
all it held must not make the call a second longer, and a second that was never sent must not make
it shorter: the arrival times say what is late, the sequence numbers say what is missing.

Conventions:
    Times and durations in seconds, float64, one per message. ``nan`` as a start means that the
    message is not played at all. ``pcm`` is int16 little-endian, mono.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import WireFormat
from workbench.audio import Audio
from workbench.metrics.smoothing import running_minimum

__all__ = ["follow", "lay", "lay_encoded", "place_made", "unwrap"]

#: A message this much later than its number says opens a new stretch; less is jitter. 120 ms is
#: what a telephone's adaptive jitter buffer rides out.
JITTER: Final = 0.120
#: How many messages ahead are looked at for the one that was not held up: 30 s of 20 ms. A stall
#: longer than that is taken for a pause of the sender.
AHEAD: Final = 1500
#: A number that falls back by more than this many, a second of 20 ms, and is gone on with there is a
#: counter that began anew, not a message that came late or twice.
_RESTART: Final = 50
#: A number that leaps this much further than the time that went by, in seconds, is a new count.
LEAP: Final = 60.0
#: Pieces that are decoded at once: 20 s of 20 ms.
_AT_ONCE: Final = 1000
#: Samples from which on silence is worth the effort: 2 minutes at 8 kHz.
_LARGE: Final = 1_000_000
_FULL_SCALE: Final = np.float32(1 / 32768)


def unwrap(
    sequence: NDArray[np.int64], time: NDArray[np.float64], step: float = 0.020
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Make sequence numbers count up from 0 whatever the sender did, and mark duplicates.

    Args:
        sequence: As sent, -1 where there was none; one that is absent counts as the next.
        time: When each arrived.
        step: Audio per message, in seconds.

    Returns:
        Numbers, one step per message sent, and whether each was there before. A counter that
        starts anew, or leaps further than the time that went by allows, goes on without a gap.
    """
    number = np.empty(len(sequence), np.int64)
    duplicate = np.zeros(len(sequence), bool)
    steps = np.diff(sequence, prepend=sequence[:1] - 1)
    leaps = (steps - 1) * step > np.diff(time, prepend=time[:1]) + LEAP
    if sequence.min(initial=0) >= 0 and (steps > 0).all() and not leaps.any():
        return sequence - sequence[:1], duplicate  # counted without a fault, as nearly always
    seen: set[int] = set()
    offset, last, last_time = None, -1, 0.0
    given_next = [*sequence[1:].tolist(), -1]
    rows = zip(sequence.tolist(), given_next, time.tolist(), strict=True)
    for index, (given, following, at) in enumerate(rows):
        if given < 0:
            current = last + 1
        else:
            if offset is None:
                offset = given
            current = given - offset
            leap = (current - last - 1) * step
            anew = last - current > _RESTART and (
                following < 0 or abs(following - given) < abs(following - offset - last)
            )
            if leap > at - last_time + LEAP or anew:
                offset = given - last - 1
                current = last + 1
        duplicate[index] = current in seen
        seen.add(current)
        number[index] = current
        if current > last:
            last, last_time = current, at
    return number - min(0, int(number.min(initial=0))), duplicate


def follow(
    time: NDArray[np.float64],
    duration: NDArray[np.float64],
    number: NDArray[np.int64] | None = None,
    tolerance: float = JITTER,
    ahead: int = AHEAD,
) -> NDArray[np.float64]:
    """Place messages one after the other, and anew where they come later than that.

    A message is late against its own number either because the network held it up or because the
    sender paused. What comes after tells: after a stall the held messages arrive in a burst and
    the lateness goes away; after a pause it stays. So a message counts as late only if all those
    after it are as late, and a stretch is anchored at its quickest message.

    A sender whose clock runs apart from ours drifts away from its anchor, at 60 parts in a million
    by 120 ms in half an hour. All that follows then moves by those 120 ms at once, wherever that
    falls, in a word too.

    Args:
        time: When each arrived.
        duration: How much audio each holds.
        number: One step per message sent, see :func:`unwrap`; by default none is missing.
        tolerance: Lateness that is still jitter.
        ahead: How many messages ahead to look for one that is less late.

    Returns:
        Where each starts.
    """
    if not len(time):
        return np.empty(0)
    if number is None:
        number = np.arange(len(time))
    order = np.argsort(number, kind="stable")
    missing = np.diff(number[order], prepend=number[order[0]] - 1) - 1
    typical = float(np.median(duration))
    ends = np.cumsum(duration[order] + np.maximum(missing, 0) * typical)
    nominal = ends - duration[order]
    late = time[order] - nominal
    settled = running_minimum(late, before=0, after=ahead - 1)
    anchors = []
    anchor = float(settled[0])
    for value in settled.tolist():
        if abs(value - anchor) > tolerance:
            anchor = value
        anchors.append(anchor)
    start = np.empty(len(time))
    start[order] = nominal + np.array(anchors)
    return start


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
    rates = np.fromiter((wire.sample_rate for wire in formats), np.int64, count)
    width = np.fromiter((wire.bytes_per_sample for wire in formats), np.int64, count)
    size = np.fromiter(map(len, payloads), np.int64, count)
    spoken = {
        rate: int((size // width * 48000 // rate)[rates == rate].sum())
        for rate in dict.fromkeys(rates.tolist())
    }
    main = sample_rate or max(spoken, key=lambda rate: spoken[rate], default=8000)
    length = round(duration * main)
    track = _silence(length)
    for rate in sorted(spoken, key=lambda rate: rate != main):
        samples = track if rate == main else _silence(round(duration * rate))
        wanted = np.flatnonzero((rates == rate) & ~np.isnan(start) & (heard > 0))
        for run in _runs(start[wanted], heard[wanted], size[wanted], width[wanted], rate):
            mine = wanted[run.pieces]
            wire = formats[mine[0]]
            encoded = b"".join([payloads[index] for index in mine.tolist()])
            _write(samples, run.first, wire.decode(encoded), run.length)
        if rate != main:
            audio = Audio(samples, rate).resampled(main)
            track[: len(audio)] += audio.samples[:length]
    return Audio(track, main)


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


def _silence(length: int) -> NDArray[np.float32]:
    """Zeros that take memory only where something is laid: a bot is silent half of the time.

    Of zeros that numpy makes the kernel takes 2 MB at a time, 20 s of speech, pauses and all.
    """
    if sys.platform != "linux" or length < _LARGE:
        return np.zeros(length, np.float32)
    memory = mmap.mmap(-1, 4 * length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError, AttributeError):  # a kernel without huge pages does not know of them
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.float32)


def _write(track: NDArray[np.float32], first: int, pcm: bytes, length: int) -> None:
    samples = np.frombuffer(pcm, "<i2", len(pcm) // 2)[:length]
    begin, end = max(0, first), min(first + len(samples), len(track))
    if begin < end:
        np.multiply(samples[begin - first : end - first], _FULL_SCALE, out=track[begin:end])


@cache
def _linear(rate: int) -> WireFormat:
    """PCM of any rate, which no message may have but a frame."""
    return WireFormat("PCM", rate, "", 2)
