"""Places at which a voice does not go on: it jumps, says a piece again, or fades, piece by piece.

Where a piece is missing or out of order the wave jumps. One jump tells nothing: of a voice's own
places some forty a minute look like one, and of the joints in sound 40 % do. But joints lie at
multiples of a piece's length, and a voice's places do not, so it is counted how many lie at one phase
of each length a piece may have. How likely chance is to do that is Chernoff's bound of a Poisson
number, times how many lengths and phases were tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.metrics.prediction import foretold

__all__ = ["Repeat", "dips", "fresh", "jumps", "repeats", "together"]

#: A jump is that much larger than all within 16 ms of it, off what the 8 samples before it foretell.
_JUMP: Final = 1.5
_ORDER, _AROUND, _HOP, _NEAR = 8, 0.016, 0.020, 0.00125
#: On both sides there is sound, so many dB apart at most.
_LOUD_DBOV, _APART_DB = -45.0, 12.0
_AT_ONCE: Final = 200  # windows
#: Waves that are compared with all before them at once: 20 MB of the most jumps that there can be.
_ROWS: Final = 500
#: What is so like is the same recording.
_LIKE: Final = 0.98
#: Lengths of pieces, in seconds: multiples of 10 ms, and of 256 samples at the usual rates.
_STEPS: Final = (0.010, 256 / 8000, 256 / 16000, 256 / 24000)
_SHORTEST, _LONGEST, _LONGEST_FADED = 0.020, 0.6, 0.25
#: By so many samples a joint may lie beside its place.
_BESIDE: Final = 1
#: Pieces that are put twice last so long, in seconds; a repetition that long is none of chance.
_TWICE, _WHOLE = (0.020, 0.200), 0.010
_STILL: Final = 16  # steps of 16 bits
#: Fewer places that dip tell nothing; and how much a place dips counts from here on, up to there.
_DIPS, _DIP_DB, _DEEP_DB = 10, 10.0, 20.0
#: Of what dips by itself so often that chance would do as well once in so many, nothing is told.
_BY_CHANCE: Final = 0.01


class Repeat(NamedTuple):
    """A piece that is said again directly after itself, sample for sample.

    Parameters:
        first: Where it is said again, in samples.
        size: How long that goes on, in samples.
        lag: How far behind itself.
    """

    first: int
    size: int
    lag: int

    @property
    def times(self) -> int:
        """How often it is said again."""
        return max(1, round(self.size / self.lag))


def jumps(samples: NDArray[np.float32], rate: int) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """The places of a voice at which it is off linear prediction far more than around them.

    Args:
        samples: Shape ``(n,)``.
        rate: In hertz.

    Returns:
        The places, in samples, and how much larger each is than what is around it, shape ``(n,)``.
    """
    around, hop = round(_AROUND * rate), round(_HOP * rate)
    starts = np.arange(around + _ORDER, len(samples) - hop - around, hop)
    at, sizes = [np.empty(0, np.int_)], [np.empty(0)]
    for few in np.split(starts, range(_AT_ONCE, len(starts), _AT_ONCE)):
        if not len(few):
            continue
        windows = samples[few[:, None] + np.arange(-around - _ORDER, hop + around)].astype(float)
        loud = np.mean(np.square(windows), axis=1) > 10 ** (_LOUD_DBOV / 10)
        if not loud.any():
            continue
        place, size = _largest(windows[loud], around, hop, round(_NEAR * rate))
        at.append((few[loud] + place)[size > _JUMP])
        sizes.append(size[size > _JUMP])
    return np.concatenate(at), np.concatenate(sizes)


def _largest(
    windows: NDArray[np.float64], around: int, hop: int, near: int
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Where in its middle each window jumps most, and by how much more than around it; 0 for an edge.

    Args:
        windows: Shape ``(n, order + around + hop + around)``.
        around: Samples to each side of the middle.
        hop: Samples of the middle.
        near: Samples to each side of a place that belong to it.
    """
    off, now = np.abs(foretold(windows, _ORDER)), windows[:, _ORDER:]
    place = off[:, around : around + hop].argmax(axis=1)
    away = np.arange(off.shape[1]) - (place + around)[:, None]
    beside = (np.abs(away) > near) & (np.abs(away) <= around)
    largest = off[np.arange(len(off)), place + around]
    ratio = largest / (np.where(beside, off, 0).max(axis=1) + 2 / 32768)
    squares = np.where(beside, np.square(now), 0)
    sides = [squares.sum(axis=1, where=away * sign > 0) for sign in (-1, 1)]
    left, right = (10 * np.log10(side / (around - near) + 1e-10) for side in sides)
    joins = (np.abs(left - right) < _APART_DB) & (np.minimum(left, right) > _LOUD_DBOV)
    return place, np.where(joins, ratio, 0.0)


def _lengths(longest: float) -> list[float]:
    """Lengths that a piece may have, in seconds."""
    return sorted({round(k * step, 7) for step in _STEPS
                   for k in range(1, int(longest / step) + 1) if k * step >= _SHORTEST})  # fmt: skip


def together(places: NDArray[np.float64], rate: int) -> tuple[float, NDArray[np.int_], float]:
    """Which places lie at multiples of one length, and how sure it is that chance does not do that.

    Args:
        places: In samples, in order, shape ``(n,)``.
        rate: In hertz.

    Returns:
        How unlikely chance is, as a power of ten (8 for one in 10^8); which places; and the length, in
        seconds.
    """
    best: tuple[float, NDArray[np.int_], float] = (0.0, np.empty(0, np.int_), 0.0)
    if len(places) < 3:
        return best
    lengths = _lengths(_LONGEST)
    wide = 2 * _BESIDE + 1
    for length in lengths:
        period = length * rate
        phase = np.sort(places % period)
        phase = np.concatenate((phase, phase[:wide] + period))
        count = np.searchsorted(phase, phase + wide - 1, "right") - np.arange(len(phase))
        number = int(min(count.max(), len(places)))
        chance = len(places) * wide / period
        if number <= chance:
            continue
        tail = number * np.log(number / chance) - number + chance
        sure = float((tail - np.log(len(lengths) * period / wide)) / np.log(10))
        if sure > best[0]:
            first = phase[int(count.argmax())]
            mine = np.flatnonzero((places - first + 0.01) % period <= wide - 1 + 0.02)
            best = sure, mine, length
    return best


def repeats(audio: NDArray[np.float32], rate: int) -> Iterator[Repeat]:
    """Pieces that are said again directly after themselves, sample for sample, those of a tone among them.

    Args:
        audio: Of one utterance, shape ``(n,)``.
        rate: In hertz.
    """
    samples, width = np.rint(audio * 32768).clip(-32768, 32767).astype(np.int16), 4
    if len(samples) < 2 * _TWICE[0] * rate:
        return
    four = np.lib.stride_tricks.sliding_window_view(samples, width).copy().view(np.uint64).ravel()
    loud = np.flatnonzero(np.abs(samples[: len(four)].astype(np.int32)) > _STILL)
    order = loud[np.argsort(four[loud], kind="stable")]
    same = four[order[1:]] == four[order[:-1]]
    at, lag = order[1:][same], (order[1:] - order[:-1])[same]
    near = (lag >= _TWICE[0] * rate) & (lag <= _TWICE[1] * rate)
    by_lag = np.lexsort((at[near], lag[near]))
    at, lag = at[near][by_lag], lag[near][by_lag]
    parted = np.flatnonzero((np.diff(lag) != 0) | (np.diff(at) > 0.005 * rate)) + 1
    for run, lags in zip(np.split(at, parted), np.split(lag, parted), strict=True):
        if not len(run):
            continue
        first, size, behind = int(run[0]), int(run[-1] - run[0]) + width, int(lags[0])
        # A conversion to another rate takes some of both ends.
        whole = size >= max(_WHOLE * rate, behind - _WHOLE * rate) and len(run) > 0.3 * size
        if whole:
            yield Repeat(first, size, behind)


def dips(samples: NDArray[np.float32], rate: int) -> tuple[float, NDArray[np.int_], float]:
    """Where a voice is faint again and again, at multiples of one length.

    Args:
        samples: Of one utterance, shape ``(n,)``.
        rate: In hertz.

    Returns:
        By how many dB it is fainter there than around, at the length at which that is most; the places,
        in samples, and the length, in seconds.
    """
    best: tuple[float, NDArray[np.int_], float] = (0.0, np.empty(0, np.int_), 0.0)
    bounds = np.arange(len(samples) * 1000 // rate + 1) * rate // 1000  # of milliseconds
    if len(bounds) <= 1000:
        return best
    squares = np.square(samples[: bounds[-1]], dtype=np.float64)
    power = np.add.reduceat(squares, bounds[:-1]) / np.diff(bounds) + 1e-10
    # Loud 10 to 20 ms before it and behind it, and by how much it is fainter than the fainter of both.
    sums = np.concatenate(([0.0], np.cumsum(power)))
    middle = np.arange(20, len(power) - 21)
    before = (sums[middle - 10] - sums[middle - 20]) / 10
    after = (sums[middle + 21] - sums[middle + 11]) / 10
    flank = np.minimum(before, after)
    # No few that are silent, as a synthesiser's closures are, may make up for those that do not dip.
    fainter = np.minimum(10 * np.log10(flank / power[middle]), _DEEP_DB)
    fainter[flank < 10 ** (_LOUD_DBOV / 10)] = np.nan
    told = np.flatnonzero(np.isfinite(fainter))
    usual = float(np.mean(fainter[told] > _DIP_DB)) if len(told) else 0.0
    lengths = _lengths(_LONGEST_FADED)
    for length in lengths if 0 < usual < 1 else ():
        phases = np.floor(told % (1000 * length) + 1e-6).astype(np.int_)
        count = np.bincount(phases)
        many = np.maximum(count, 1)
        share = np.bincount(phases, fainter[told] > _DIP_DB) / many
        odds = _unlikely(share, usual, count) - np.log(len(lengths) * len(count) / _BY_CHANCE)
        mean = np.where(
            (count >= _DIPS) & (odds > 0), np.bincount(phases, fainter[told]) / many, 0.0
        )
        phase = int(mean.argmax())
        if mean[phase] > best[0]:
            best = float(mean[phase]), bounds[20 + told[phases == phase]], length
    return best


def _unlikely(
    share: NDArray[np.float64], usual: float, count: NDArray[np.int_]
) -> NDArray[np.float64]:
    """How unlikely it is that so large a share is reached by chance: Chernoff's bound, in nats."""
    rest, least = 1 - share, 1e-12
    bound = share * np.log(np.maximum(share, least) / usual)
    bound += rest * np.log(np.maximum(rest, least) / (1 - usual))
    found: NDArray[np.float64] = np.where(share > usual, count * bound, 0.0)
    return found


def fresh(waves: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which waves are like none before: a prompt that is said twice jumps twice at the same places.

    Args:
        waves: Shape ``(n, samples)``.
    """
    alike = waves / (np.sqrt(np.sum(np.square(waves), axis=1, keepdims=True)) + 1e-9)
    found = np.ones(len(alike), np.bool_)
    for first in range(0, len(alike), _ROWS):
        like = np.tril(alike[first : first + _ROWS] @ alike[: first + _ROWS].T, first - 1)
        found[first : first + _ROWS] = like.max(axis=1) < _LIKE
    return found
