"""When each piece of audio belongs on the call's clock, and the tracks laid out from it.

Nothing here counts bytes to tell the time. A network that stalls for a second and then delivers
all it held must not make the call a second longer, and a second that was never sent must not make
it shorter: the arrival times say what is late, the sequence numbers say what is missing.

Conventions:
    Times and durations in seconds, float64, one per message. ``nan`` as a start means that the
    message is not played at all. ``pcm`` is int16 little-endian, mono.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from workbench.audio import Audio

__all__ = ["follow", "lay", "unwrap"]

#: A message this much later than its number says opens a new stretch; less is jitter. 120 ms is
#: what a telephone's adaptive jitter buffer rides out.
JITTER: Final = 0.120
#: How many messages ahead are looked at for the one that was not held up: 30 s of 20 ms. A stall
#: longer than that is taken for a pause of the sender.
AHEAD: Final = 1500
#: A number that falls back by more than this many is a counter that began anew, not a duplicate.
_RESTART: Final = 500


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
    seen: set[int] = set()
    offset, last, last_time = None, -1, 0.0
    for index, (given, at) in enumerate(zip(sequence.tolist(), time.tolist(), strict=True)):
        if given < 0:
            current = last + 1
        else:
            if offset is None:
                offset = given
            current = given - offset
            leap = (current - last - 1) * step
            if leap > at - last_time + 60 or last - current > _RESTART:
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
    settled = minimum_filter1d(late, ahead, mode="nearest", origin=-(ahead // 2))
    anchors = np.empty(len(time))
    anchor = settled[0]
    for index, value in enumerate(settled.tolist()):
        if abs(value - anchor) > tolerance:
            anchor = value
        anchors[index] = anchor
    start = np.empty(len(time))
    start[order] = nominal + anchors
    return start


def lay(
    start: NDArray[np.float64],
    heard: NDArray[np.float64],
    pcm: Sequence[bytes],
    rates: Sequence[int],
    duration: float,
    sample_rate: int | None = None,
) -> Audio:
    """Lay the PCM of each message at its start; silence where there is none.

    Pieces that follow each other closely stay joined to the sample. Where two overlap, the later
    one is heard.

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
    spoken: dict[int, int] = {}
    for piece, rate in zip(pcm, rates, strict=True):
        spoken[rate] = spoken.get(rate, 0) + len(piece) // 2 * 48000 // rate
    main = sample_rate or max(spoken, key=lambda rate: spoken[rate], default=8000)
    length = round(duration * main)
    track = np.zeros(length, np.float32)
    for rate in spoken:
        samples = np.zeros(round(duration * rate), np.float32)
        _fill(samples, start, heard, pcm, rates, rate)
        samples /= 32768
        audio = Audio(samples, rate).resampled(main)
        if len(spoken) == 1 and len(audio) == length:
            return audio
        track[: len(audio)] += audio.samples[:length]
    return Audio(track, main)


def _fill(
    canvas: NDArray[np.float32],
    start: NDArray[np.float64],
    heard: NDArray[np.float64],
    pcm: Sequence[bytes],
    rates: Sequence[int],
    rate: int,
) -> None:
    head = -2  # joins nothing
    for at, kept, piece, its_rate in zip(start.tolist(), heard.tolist(), pcm, rates, strict=True):
        if its_rate != rate or at != at:
            continue
        samples = np.frombuffer(piece, "<i2", len(piece) // 2)[: round(kept * rate)]
        # Rounding each start by itself would leave a sample out, or double one, here and there.
        exact = at * rate
        first = head if abs(exact - head) < 1 else round(exact)
        head = first + len(samples)
        if head <= 0:
            continue
        if first < 0:
            samples, first = samples[-first:], 0
        canvas[first:head] = samples[: max(0, len(canvas) - first)]
