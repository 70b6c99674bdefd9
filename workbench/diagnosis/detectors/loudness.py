"""Faults of amplitude: clipped, off centre."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.tones import in_tones
from workbench.diagnosis.finding import (
    POSSIBLE,
    Finding,
    Part,
    Side,
    graded,
    grouped,
    hull,
    lasting,
)
from workbench.metrics.rail import rounded_rail

__all__ = ["clipping", "dc_offset"]

#: One run may be the loudest vowel of a clean recording; three are a rail.
RUNS: Final = 3
#: Samples at the rail for each one on the step below it: speech that is not clipped has fewer at its
#: extreme than beside it, even in the wide steps of mu-law.
CROWDED: Final = 4
#: With so many at the rail twice as many as beside it are hardly chance either: then it is possible.
MANY: Final = 30
#: Half a step of 16 bits more than one.
STEP: Final = 1.5 / 32768
_AT_ONCE: Final = 250_000  # samples: an hour takes no more memory than a minute
#: A rail lies this high: a quieter extreme is only the loudest sample.
RAIL: Final = 0.1
#: Of a fainter tone mu-law's steps are its flat crests.
TONE_RAIL: Final = 0.25
#: Samples about a rail that was rounded afterwards for each one below it, and their share of a turn. Of 6,050
#: phrases and pieces of music those with the most were looked at: they are recordings that were cut off. Of
#: sentences with 12 % at the rail nine of ten have both.
PILED, PILED_SHARE = 1.0, 0.02
#: Seconds of a turn that can tell it.
TOLD: Final = 1.0
#: What stands at the rail less than so many seconds apart is one word.
WORD: Final = 0.2


@detector(
    title="Clipped audio",
    harm=50,
    symptoms=(Symptom(12, "distorted", "`clipping`"),),
    measured="samples within 1.5 steps of the signal's own extreme: at least three runs of three, "
    "or nine samples and four times as many as on the step below; their share of the "
    "turn. Thirty, twice as many as on the step below, make it possible; so do as many samples of "
    "a turn about one height near its loudest as in as wide a band below it, and 2 % of the turn more.",
    thresholds=(
        Threshold(
            0.1,
            "%",
            "Share of a stretch of speech at the rail. Speech that is driven 6 dB too far has 0.2 "
            "%.",
        ),
    ),
    change="lower the gain by 6 dB; of the caller's telephone nothing can be undone.",
    limits="clipping that was filtered or converted to another rate afterwards has no flat tops: only "
    "where some 12 % of a turn were cut off it is told, as possible. Made 12 dB fainter without that "
    "it is found as at full level.",
    accuracy=(
        Accuracy("clipped", 1.0, value_error=2.3, span_ms=0.0),
        Accuracy("clipped_caller", 1.0, value_error=1.8, span_ms=0.0),
    ),
)
def clipping(call: Call) -> Iterator[Finding]:
    """A distorted voice: its peaks stand at the rail."""
    for side, names in call.ways.items():
        turns = [(turn.start, turn.end) for turn in call.turns if turn.side == side]
        for name in names:
            audio = call.signal(name)
            found = list(_clipping(audio, side, name, turns))
            if not found and name == names[0]:  # the serializer's own rail is flat
                found = list(_rounded(audio, side, name, turns))
            yield from found
            if found:  # what came clipped goes on clipped
                break


def _clipping(
    audio: Audio, side: Side, name: str, turns: Sequence[tuple[float, float]]
) -> Iterator[Finding]:
    """What stands flat at the rail."""
    samples = audio.samples
    # The signal's own extreme, because clipped audio may have been attenuated afterwards.
    extremes = [(block.max(), -block.min()) for _, block in mapped.blocks(samples, _AT_ONCE)]
    top = float(max((max(pair) for pair in extremes), default=0.0))
    if top < RAIL:
        return
    places, sizes = [np.empty(0, np.intp)], [np.empty(0, np.float32)]
    for (begin, block), pair in zip(mapped.blocks(samples, _AT_ONCE), extremes, strict=True):
        if not max(pair) > 0.9 * top:
            continue
        size = np.abs(block)
        at = np.flatnonzero(size > 0.9 * top)
        places.append(begin + at)
        sizes.append(size[at])
    high, size = np.concatenate(places), np.concatenate(sizes)
    at_rail = size >= top - STEP
    rail, beside, size = high[at_rail], high[~at_rail], size[~at_rail]
    beside = beside[size >= float(size.max(initial=0.0)) - STEP]
    edges = _in_a_row(rail)
    rate = audio.sample_rate
    for start, end, members in _by_turn(edges / rate, turns):
        runs = edges[members]
        flat = _flat(samples, runs, top)
        clipped = int((runs[:, 1] - runs[:, 0]).sum())
        next_to = int(((beside >= runs[0, 0]) & (beside < runs[-1, 1])).sum())
        sure = flat >= RUNS or (clipped >= 3 * RUNS and clipped >= CROWDED * next_to)
        if not sure and (clipped < MANY or clipped < 2 * next_to):
            continue
        if (flat < RUNS or top < TONE_RAIL) and in_tones(audio, runs[:, 0].tolist()):
            continue  # its crests are all of one height
        # The share is that of the whole turn: one clipped word is less than a clipped speech.
        near = [turn for turn in turns if turn[1] > start and turn[0] < end]
        first = min([start, *(turn[0] for turn in near)])
        last = max([end, *(turn[1] for turn in near)])
        percent = 100 * clipped / max(1.0, (last - first) * rate)
        if percent < clipping.threshold:
            continue
        cause, remedy = _CLIPPED[name]
        yield clipping.finding(
            side=side,
            parts=_words(runs, rate, percent / clipped),
            severity=graded(percent, 0.3, 3),
            value=percent,
            measurement=f"{percent:.2g} % of the speech stands at the rail, in {len(runs)} places",
            cause=cause,
            remedy=remedy,
            listen=name,
            confidence=1.0 if sure else POSSIBLE,
        )


def _rounded(
    audio: Audio, side: Side, name: str, turns: Sequence[tuple[float, float]]
) -> Iterator[Finding]:
    """What stood at a rail before it was filtered or converted: of all turns of a side."""
    rate, parts, heights, shares = audio.sample_rate, list[Part](), list[float](), list[float]()
    for start, end in turns:
        first = round(max(0.0, start) * rate)
        samples = audio.samples[first : round(end * rate)]
        if len(samples) < TOLD * rate:
            continue
        rail = rounded_rail(samples)
        is_told = rail.crowding >= PILED and rail.share >= PILED_SHARE
        high = np.empty(0, np.intp)
        if is_told:
            high = np.flatnonzero(np.abs(samples) > 0.9 * rail.height)
        mapped.let_go(samples)
        if not is_told or in_tones(audio, (first + high).tolist()):
            continue
        percent = 100 * rail.share
        parts += _words(first + _in_a_row(high), rate, percent / len(high))
        heights.append(rail.height)
        shares.append(percent)
    if not parts:
        return
    percent, cause, remedy = max(shares), *_CLIPPED[name]
    yield clipping.finding(
        side=side,
        parts=parts,
        severity="warning",
        value=percent,
        measurement=f"{percent:.2g} % of the speech was cut off at one height, "
        f"{-20 * np.log10(np.median(heights)):.0f} dB below full scale, and filtered or converted since",
        cause=cause,
        remedy=remedy,
        listen=name,
        confidence=POSSIBLE,
    )


_AT_FULL_SCALE: Final = (
    "The conversion in the serializer goes over full scale, and cuts it off.",
    "Lower the gain before it by 3 dB: between two samples a wave is higher than at them.",
)
#: Cause and remedy, by the signal in which it stands first.
_CLIPPED: Final = {
    "caller_sent": (
        "The caller's telephone or network drives its microphone too far; it arrived like this.",
        "Nothing in the bot can undo it. Do not rely on the transcript here.",
    ),
    "bot_said": (
        "The audio was clipped before it reached the serializer: too loud a voice, or a mixer that "
        "adds sounds over full scale.",
        "Lower the gain of the speech synthesis or of the mixer by 6 dB; peaks of -6 to -12 dBov suit "
        "G.711 best.",
    ),
    "bot_heard": _AT_FULL_SCALE,
    "bot_sent": _AT_FULL_SCALE,
}


def _in_a_row(places: NDArray[np.intp]) -> NDArray[np.intp]:
    """First sample and the one after the last of each run of neighbours, shape ``(n, 2)``."""
    ends = np.flatnonzero(np.diff(places, append=places[-1] + 2) > 1)
    return np.column_stack((places[np.append(0, ends[:-1] + 1)], places[ends] + 1))


def _words(runs: NDArray[np.int_], rate: int, percent: float) -> Iterator[Part]:
    """Gather the runs at the rail that lie in one word.

    Args:
        runs: First sample and the one after the last, shape ``(n, 2)``.
        rate: In hertz.
        percent: What one sample adds to the share of the turn.
    """
    for word in grouped(lasting((runs / rate).tolist()), WORD):
        samples = sum(part.value for part in word) / 1000 * rate
        yield Part(*hull(word), samples * percent)


def _flat(samples: NDArray[np.float32], runs: NDArray[np.int_], top: float) -> int:
    """How many runs of three end in a corner: next to a slow wave's round crest less is missing."""
    long = runs[runs[:, 1] - runs[:, 0] >= 3]
    ends = samples[np.clip(long - [1, 0], 0, len(samples) - 1)]
    mapped.let_go(samples)
    return int((top - np.abs(ends).min(axis=1) > 6 * STEP).sum())


def _by_turn(
    spans: NDArray[np.float64], turns: Sequence[tuple[float, float]]
) -> Iterator[tuple[float, float, list[int]]]:
    """Gather spans that lie in one turn, or within five seconds of each other."""
    begun: list[int] = []
    for index, (start, _) in enumerate(spans.tolist()):
        if begun:
            last = float(spans[begun[-1], 1])
            if start - last >= 5.0 and not any(a < last and start < b for a, b in turns):
                yield float(spans[begun[0], 0]), last, begun
                begun = []
        begun.append(index)
    if begun:
        yield float(spans[begun[0], 0]), float(spans[begun[-1], 1]), begun


@detector(
    title="DC offset",
    measured="the smaller of mean and median of all samples that are not 0.",
    thresholds=(Threshold(1.0, "%", "G.711's own offset is below 0.1 % of full scale."),),
    change="deliver 16-bit signed little-endian samples; a high-pass in audio_in_filter takes the "
    "caller's out.",
    accuracy=(Accuracy("offset", 1.0, value_error=6.5),),
    explains=("bot:dead_air", "bot:false_barge_in"),
)
def dc_offset(call: Call) -> Iterator[Finding]:
    """Audio that is not centred on zero: clicks at every start and stop."""
    for side, names in call.ways.items():
        for name in names:
            percent = _off_centre(call.signal(name))
            if percent >= dc_offset.threshold:
                cause, remedy = _OFF_CENTRE[name]
                yield dc_offset.finding(
                    side=side,
                    parts=(Part(0.0, call.duration, percent),),
                    severity=graded(percent, 3, 10),
                    value=percent,
                    measurement=f"the {side}'s audio stands {percent:.1f} % of full scale off centre",
                    cause=cause,
                    remedy=remedy,
                    listen=name,
                )
                break


def _off_centre(audio: Audio) -> float:
    """How far a signal stands from zero, in per cent of full scale; 0 for less than a second of sound."""
    # A million samples tell it as well as a hundred.
    every = 1 + len(audio) // 1_000_000
    size = _AT_ONCE // every * every  # every block begins with one
    parts = [block[::every].copy() for _, block in mapped.blocks(audio.samples, size)]
    thinned = np.concatenate([np.empty(0, np.float32), *parts])
    sounding = thinned[thinned != 0]
    if len(sounding) * every < audio.sample_rate:
        return 0.0
    # The median too: lopsided speech has a mean, but not a median.
    return 100 * min(abs(float(sounding.mean())), abs(float(np.median(sounding))))


_SHIFTED: Final = (
    "The serializer's conversion adds it.",
    "Use this project's serializer, or look at how unsigned samples are made signed.",
)
_OFF_CENTRE: Final = {
    "caller_sent": (
        "An unsigned sample read as signed, or a cheap sound card.",
        "Nothing in the bot causes it; a high-pass in audio_in_filter takes it out.",
    ),
    "bot_said": (
        "An unsigned sample read as signed, or a cheap sound card.",
        "Check the sample format that the speech synthesis delivers: 16-bit signed little-endian is "
        "wanted.",
    ),
    "bot_heard": _SHIFTED,
    "bot_sent": _SHIFTED,
}
