"""Pieces of a voice that do not follow on each other: left out, put twice, swapped, faded one by one.

Where a piece is missing or out of order the wave jumps. One jump tells nothing: of a voice's own
places some forty a minute look like one, and of the joints in sound 40 % do. But joints lie at
multiples of a piece's length, and a voice's places do not, so it is counted how many lie at one phase
of each length a piece may have. How likely chance is to do that is Chernoff's bound of a Poisson
number, times how many lengths and phases were tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.diagnosis.detector import Threshold
from workbench.diagnosis.detectors.tones import TONE_SECS, in_tones, is_tone
from workbench.diagnosis.finding import Part
from workbench.metrics.speech import Intervals, joined

__all__ = [
    "FADED",
    "JUMPING",
    "LARGE",
    "SURELY",
    "TWICE",
    "Found",
    "Said",
    "faded",
    "jumping",
    "said_twice",
]

TWICE: Final = Threshold(2, "pieces", "No voice says a piece again sample for sample.")
JUMPING: Final = Threshold(
    2.0,
    "powers of ten",
    "How unlikely chance is. Voices have 0.7 at most; of each fourth chunk of 100 ms left out, seven "
    "voices of ten have more in 8 s.",
)
#: Jumps of which chance has less than so many powers of ten are possible only.
SURELY: Final = 4.0
LARGE: Final = Threshold(
    5,
    "jumps",
    "Six times as large as all around; a voice has one in two minutes, of clicks of the lips.",
)
FADED: Final = Threshold(
    16.0, "dB", "Mean of ten places and more, each of 20 at most: nearly all places must dip."
)

#: A jump is that much larger than all within 16 ms of it, off what the 8 samples before it foretell.
JUMP: Final = 1.5
_ORDER, _AROUND, _HOP, _NEAR = 8, 0.016, 0.020, 0.00125
#: Of a jump that large a voice has one in two minutes; so many a minute need no length.
_LARGE, _OFTEN = 6.0, 6.0
#: On both sides there is sound, so many dB apart at most.
_LOUD_DBOV, _APART_DB = -45.0, 12.0
_AT_ONCE: Final = 200  # windows
#: What is so like, over so many seconds, is the same recording.
_LIKE, _WAVE = 0.98, 0.008
#: Lengths of pieces, in seconds: multiples of 10 ms, and of 256 samples at the usual rates.
_STEPS: Final = (0.010, 256 / 8000, 256 / 16000, 256 / 24000)
_SHORTEST, _LONGEST, _LONGEST_FADED = 0.020, 0.6, 0.25
#: By so many samples a joint may lie beside its place.
_BESIDE: Final = 1
#: Pieces that are put twice last so long, in seconds; a repetition that long is none of chance.
_TWICE, _WHOLE = (0.020, 0.200), 0.010
_STILL: Final = 16  # steps of 16 bits
#: Fewer places that dip tell nothing.
_DIPS, _DEEP_DB = 10, 20.0
#: Of a long call so many seconds are looked at, in stretches of so many that are spread over all of it.
_MOST, _STRETCH = 90.0, 10.0
#: What was said may stand so many seconds off what the caller heard.
_OFF: Final = 0.3
#: Waves that are compared with all before them at once: 20 MB of the most jumps that there can be.
_ROWS: Final = 500


class Said(NamedTuple):
    """What the bot said.

    Parameters:
        audio: The track.
        start: Where each frame of it starts, in seconds, shape ``(n,)``; NaN where it was not played.
        length: Of each, in seconds, shape ``(n,)``.
        voice: Where there is a voice, in seconds, shape ``(m, 2)``: a tone that is keyed, or beats, does
            all that is looked for here.
    """

    audio: Audio
    start: NDArray[np.float64]
    length: NDArray[np.float64]
    voice: Intervals


class Found(NamedTuple):
    """Pieces that do not follow on each other.

    Parameters:
        threshold: The one that is exceeded: what is wrong with them.
        parts: Where.
        often: How many.
        length: What their distances are multiples of, or about, in seconds.
        value: Of the whole, in the unit of the threshold; of a jump by itself nothing is known.
    """

    threshold: Threshold
    parts: tuple[Part, ...]
    often: int
    length: float
    value: float


def said_twice(said: Said) -> Found | None:
    """Pieces that are said again directly after themselves, sample for sample."""
    rate = said.audio.sample_rate
    found = [
        (first + again.first, again)
        for _, first, samples in _stretches(said)
        for again in repeats(samples, rate)
    ]
    count = sum(again.times for _, again in found)
    if count < TWICE.value:
        return None
    places = [(at / rate, (at + again.size) / rate, float(again.times)) for at, again in found]
    parts = tuple(Part(*place) for place in sorted(places))
    lag = float(np.median([again.lag for _, again in found])) / rate
    return Found(TWICE, parts, count, lag, float(count))


def jumping(said: Said) -> Found | None:
    """Jumps at multiples of one length, or larger and more than a voice has."""
    audio, secs = said.audio, 0.0
    rate = audio.sample_rate
    half, waves = round(_WAVE * rate / 2), list[NDArray[np.float32]]()
    begins, places, sizes = list[NDArray[np.int_]](), list[NDArray[np.int_]](), [np.empty(0)]
    for begin, first, samples in _stretches(said):
        at, size = jumps(samples, rate)
        begins.append(np.full(len(at), begin))
        waves.append(samples[at[:, None] + np.arange(-half, half)])
        places.append(at + first - begin)
        sizes.append(size)
        secs += len(samples) / rate
    if not places:
        return None
    start, inside = np.concatenate(begins), np.concatenate(places)
    large = np.concatenate(sizes) > _LARGE
    new = _new(np.concatenate(waves))
    in_step = _in_step(audio, start[new], inside[new])
    return in_step or _large(audio, (start + inside)[large], secs)


def _new(waves: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which waves are like none before: a prompt that is said twice jumps twice at the same places.

    Args:
        waves: Shape ``(n, samples)``.
    """
    alike = waves / (np.sqrt(np.sum(np.square(waves), axis=1, keepdims=True)) + 1e-9)
    fresh = np.ones(len(alike), np.bool_)
    for first in range(0, len(alike), _ROWS):
        like = np.tril(alike[first : first + _ROWS] @ alike[: first + _ROWS].T, first - 1)
        fresh[first : first + _ROWS] = like.max(axis=1) < _LIKE
    return fresh


def _in_step(audio: Audio, begin: NDArray[np.int_], inside: NDArray[np.int_]) -> Found | None:
    """Jumps at multiples of one length, in one utterance or in all.

    Args:
        audio: What is said.
        begin: First sample of each jump's utterance.
        inside: Each jump's sample in it.
    """
    rate = audio.sample_rate
    groups = [np.argsort(inside, kind="stable")]
    groups += [np.flatnonzero(begin == first) for first in np.unique(begin)]
    best = max(
        ((*together(inside[group].astype(float), rate), group) for group in groups),
        key=lambda found: found[0],
    )
    sure = best[0] - float(np.log10(len(groups)))
    if sure < JUMPING.value:
        return None
    at = np.sort((begin + inside)[best[3][best[1]]])
    return None if in_tones(audio, at.tolist()) else _moments(JUMPING, at / rate, best[2], sure)


def _large(audio: Audio, at: NDArray[np.int_], secs: float) -> Found | None:
    """Jumps so large, and so many in so many seconds, that no voice has them."""
    if len(at) < max(LARGE.value, _OFTEN * secs / 60) or in_tones(audio, at.tolist()):
        return None
    times = at / audio.sample_rate
    return _moments(LARGE, times, float(np.median(np.diff(times))), float(len(at)))


def _moments(
    threshold: Threshold, times: NDArray[np.float64], length: float, value: float
) -> Found:
    parts = tuple(Part(time, time, np.nan) for time in times.tolist())
    return Found(threshold, parts, len(parts), length, value)


def faded(said: Said) -> Found | None:
    """Faint places at multiples of one length, of all stretches."""
    rate, parts, lengths, sizes = said.audio.sample_rate, list[Part](), list[float](), list[float]()
    for _, first, samples in _stretches(said):
        size, at, of = dips(samples, rate)
        if size >= FADED.value and not in_tones(said.audio, (first + at).tolist()):
            parts += [Part(time, time, np.nan) for time in ((first + at) / rate).tolist()]
            lengths.append(of)
            sizes.append(size)
    if not parts:
        return None
    return Found(FADED, tuple(parts), len(parts), float(np.median(lengths)), max(sizes))


def _utterances(said: Said) -> Iterator[tuple[float, float]]:
    """Where something was said without a break, in seconds."""
    laid = np.flatnonzero(~np.isnan(said.start) & (said.length > 0))
    if not len(laid):
        return
    starts, ends = said.start[laid], said.start[laid] + said.length[laid]
    breaks = np.flatnonzero(np.abs(starts[1:] - ends[:-1]) > 1.5 / said.audio.sample_rate) + 1
    yield from zip(
        starts[np.r_[0, breaks]].tolist(), ends[np.r_[breaks, len(laid)] - 1].tolist(), strict=True
    )


def _cut(start: float, end: float) -> Iterator[tuple[float, float]]:
    """Cut what lasts into stretches of about ten seconds."""
    if end > start:
        bounds = np.linspace(start, end, max(1, round((end - start) / _STRETCH)) + 1).tolist()
        yield from pairwise(bounds)


def _stretches(said: Said) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Stretches of a voice, each of one utterance, of a long call some.

    Yields:
        The first sample of its utterance, its own first, and a copy of its samples.
    """
    audio, rate = said.audio, said.audio.sample_rate
    voices = joined(said.voice, 2 * _OFF)  # none twice
    stretches = [
        (begin, first, end)
        for begin, last in _utterances(said)
        for start, stop in voices.tolist()
        for first, end in _cut(max(begin, start - _OFF), min(last, stop + _OFF))
    ]
    total = sum(last - first for _, first, last in stretches)
    for begin, first, last in stretches[:: max(1, round(total / _MOST))]:
        place = max(0, round(first * rate))
        samples = audio.samples[place : round(last * rate)].copy()
        mapped.let_go(audio.samples)
        yield max(0, round(begin * rate)), place, samples


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
        at.append((few[loud] + place)[size > JUMP])
        sizes.append(size[size > JUMP])
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
    views = np.lib.stride_tricks.sliding_window_view(windows, _ORDER + 1, axis=1)
    past, now = views[..., :_ORDER], views[..., _ORDER]
    turned = past.transpose(0, 2, 1)
    power = np.mean(np.square(windows), axis=1)
    least = (1e-5 * power * past.shape[1] + 1e-12)[:, None, None] * np.eye(_ORDER)
    weights = np.linalg.solve(turned @ past + least, turned @ now[..., None])
    off = np.abs((past @ weights)[..., 0] - now)
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
    """Pieces that are said again directly after themselves, sample for sample, unless they are a tone.

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
        if whole and not is_tone(samples[first : first + round(TONE_SECS * rate)].astype(float)):
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
    for length in _lengths(_LONGEST_FADED) if len(told) else ():
        phases = np.floor(told % (1000 * length) + 1e-6).astype(np.int_)
        count = np.bincount(phases)
        mean = np.where(
            count >= _DIPS, np.bincount(phases, fainter[told]) / np.maximum(count, 1), 0.0
        )
        phase = int(mean.argmax())
        if mean[phase] > best[0]:
            best = float(mean[phase]), bounds[20 + told[phases == phase]], length
    return best
