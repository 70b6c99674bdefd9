"""Pieces of the bot's voice that do not follow on each other: left out, put twice, swapped, faded.

How each is told is in :mod:`workbench.metrics.skips`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis.detector import Threshold, detector
from workbench.diagnosis.detectors.tones import TONE_SECS, in_tones, is_tone
from workbench.diagnosis.finding import POSSIBLE, Finding, Part, graded
from workbench.metrics.skips import dips, fresh, jumps, repeats, together
from workbench.metrics.sounds import intervals_of
from workbench.metrics.speech import Intervals, joined

__all__ = ["out_of_order"]

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

#: Of a jump that large a voice has one in two minutes; so many a minute need no length.
_LARGE, _OFTEN = 6.0, 6.0
#: Seconds of the wave round a jump by which it is known again.
_WAVE: Final = 0.008
#: Of a long call so many seconds are looked at, in stretches of so many that are spread over all of it.
_MOST, _STRETCH = 90.0, 10.0
#: What was said may stand so many seconds off what the caller heard.
_OFF: Final = 0.3


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
        if not is_tone(samples[again.first :][: round(TONE_SECS * rate)].astype(float))
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
    new = fresh(np.concatenate(waves))
    in_step = _in_step(audio, start[new], inside[new])
    return in_step or _large(audio, (start + inside)[large], secs)


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


def _meeting(intervals: Intervals, begin: float, last: float) -> Intervals:
    """Those that something from one time to another meets."""
    first = np.searchsorted(intervals[:, 1], begin, side="right")
    return intervals[first : np.searchsorted(intervals[:, 0], last, side="left")]


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
    voices = joined(said.voice, 2 * _OFF) + (-_OFF, _OFF)  # none twice
    stretches = [
        (begin, first, end)
        for begin, last in _utterances(said)
        for start, stop in _meeting(voices, begin, last).tolist()
        for first, end in _cut(max(begin, start), min(last, stop))
    ]
    total = sum(last - first for _, first, last in stretches)
    for begin, first, last in stretches[:: max(1, round(total / _MOST))]:
        place = max(0, round(first * rate))
        samples = audio.samples[place : round(last * rate)].copy()
        mapped.let_go(audio.samples)
        yield max(0, round(begin * rate)), place, samples


@detector(
    title="Pieces out of order",
    harm=75,
    measured="of a voice that the bot said: pieces of 20 to 200 ms that are said again at once, sample for "
    "sample; jumps at multiples of one length, of which chance has less than one call in a hundred, or "
    "six times as large as all around, anywhere; places at multiples of one length that are fainter than "
    "both sides of them.",
    thresholds=(TWICE, JUMPING, LARGE, FADED),
    change="push each chunk of the speech synthesis once, whole, unchanged and in the order in which it "
    "came, by one task.",
    limits="jumps of which chance has more than one call in ten thousand are possible only; in an unvoiced "
    "or a formant synthesiser's voice few are seen; of a long call some 90 s of voice are looked at, in "
    "stretches of 10 s that are spread over it; behind a mixer's sound a repetition is no longer the same.",
)
def out_of_order(call: Call) -> Iterator[Finding]:
    """Stutters, and words of which something is missing: pieces that do not follow on each other."""
    voice = intervals_of(call.bot_sounds, "voice")
    said = Said(call.bot_said, call.speaking.start, call.speaking.kept, voice)
    found = said_twice(said) or jumping(said) or faded(said)
    if found is None:
        return
    text, cause = _PIECES[found.threshold]
    sure = found.threshold is not JUMPING or found.value >= SURELY
    yield out_of_order.finding(
        side="bot",
        parts=found.parts,
        # Chance has the rest in one call in a hundred: too often for a warning.
        severity=graded(found.often, 2, 10) if sure else "info",
        value=found.value,
        threshold=found.threshold,
        measurement=text.format(count=found.often, ms=1000 * found.length, value=found.value),
        cause=cause,
        remedy="Look at what hands on the chunks of the speech synthesis, up to the output transport: each "
        "must be pushed once, whole, unchanged and in the order in which it came, by one task.",
        listen="bot_said",
        confidence=1.0 if sure else POSSIBLE,
    )


#: By what is wrong with pieces: what was measured, and the cause.
_PIECES: Final = {
    TWICE: (
        "{count} pieces of about {ms:.0f} ms are said again at once, sample for sample",
        "A chunk of the speech synthesis is queued twice: a retry, or two tasks that push the same.",
    ),
    JUMPING: (
        "the voice jumps at {count} places, multiples of {ms:.4g} ms apart: pieces are missing or not in "
        "their order",
        "Chunks of the speech synthesis are dropped or change places before the serializer: a queue that "
        "is full, a chunk that is not awaited, or several tasks that push at once. Or waits in mid-word "
        "are filled with a mixer's sound.",
    ),
    LARGE: (
        "the voice jumps at {count} places, six times and more as large as around them",
        "Something that is no sound stands between the chunks of the speech synthesis, such as a header or "
        "a length, or pieces of it are missing.",
    ),
    FADED: (
        "the voice fades out and in again at {count} places, multiples of {ms:.0f} ms apart, by "
        "{value:.0f} dB",
        "Each chunk of the speech synthesis is faded in and out, or windowed, by itself.",
    ),
}
