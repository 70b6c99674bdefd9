"""Faults inside the audio: what is missing from it, or was never in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.call import Call
from workbench.call.signals import WAYS
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.absence import unsent
from workbench.diagnosis.detectors.rates import wire_rate, wrong_rate
from workbench.diagnosis.detectors.tones import TONE_SECS, is_tone
from workbench.diagnosis.finding import (
    POSSIBLE,
    SEVERITIES,
    Finding,
    Part,
    Severity,
    Side,
    graded,
    grouped,
    lasting,
)
from workbench.metrics.prediction import fitted
from workbench.metrics.speech import HOP, levels

__all__ = ["audio_lost", "dropout", "tail_lost"]

#: A frame this much later than the last one was over begins an utterance.
IDLE: Final = 0.2
#: Pauses in synthetic speech are digital silence too, but longer. What is longer is a hole only where
#: the wave goes on behind it as it would have done without; up to so many seconds.
LONGEST_HOLE, LONGEST_STALL = 0.2, 3.0
#: The wave goes on: so many samples are foretold from so many before, over the hole, with this share
#: of the error at most that silence would be, by what so many seconds tell. It does in half of such
#: holes, and in one of 25 places that are taken at random.
_AHEAD, _ORDER, _GOES_ON, _KNOWN = 2, 12, 0.5, 0.030
_AT_RANDOM: Final = 0.04
#: So many places that go on, of those that were tried, chance has in one call of ten, or of a thousand:
#: they are possible, or sure.
_POSSIBLY, _SURELY = 0.1, 0.001
_AT_ONCE: Final = 250_000  # samples: an hour takes no more memory than a minute
#: Between two keys of a telephone there is nothing for 40 ms at least (ITU-T Q.24); some do with 35.
BETWEEN_KEYS: Final = 0.035
#: What stands right before and right after a hole, in seconds, and how much of that is its edge.
FLANK, EDGE = 0.020, 0.002
#: Before a stop's closure a voice fades, by 15 dB and more in synthetic speech; a hole begins and
#: ends at once, in the worst case where a period is at its quietest.
STEEP_DB: Final = -8.0
#: Both flanks are in a word: so far below the loudest within a second, and so far apart at most.
BELOW_DB, APART_DB = -15.0, 12.0
#: Round a closure a voice is so far below its loudest at most. A voice with so many more of them than of
#: what looks like holes makes silences by itself.
CLOSED_DB, CLOSURES = -25.0, 2
#: Fainter than this there is the line's noise.
FAINTEST_DBOV: Final = -60.0


@detector(
    title="Last syllable cut off",
    harm=140,
    symptoms=(Symptom(3, "words cut off at their end", "`tail_lost`"),),
    measured="audio into the serializer less audio out of it, for each utterance that was not "
    "interrupted.",
    thresholds=(
        Threshold(
            10.0, "ms", "A resampler of constant delay holds 4 ms back; more is the end of a word."
        ),
    ),
    change="set audio_out_sample_rate to the rate of the wire, or flush the resampler at the end "
    "of an utterance.",
    accuracy=(Accuracy("tailless", 1.0, value_error=0.0),),
)
def tail_lost(call: Call) -> Iterator[Finding]:
    """Utterances that left the serializer shorter than they came: the last syllable is cut."""
    least, most = tail_lost.threshold, audio_lost.threshold
    short = [part for part in _shortfalls(call) if least <= part.value < most]
    if not short:
        return
    worst = max(part.value for part in short)
    yield tail_lost.finding(
        side="bot",
        parts=short,
        severity=graded(worst, 25, 100),
        value=worst,
        measurement=f"{len(short)} utterances lost their end, the worst {worst:.0f} ms of it",
        cause="The serializer's resampler holds the end back and is never flushed; it may come "
        "out as a ghost at the start of the next utterance.",
        remedy=f"Set audio_out_sample_rate={wire_rate(call)} in PipelineParams, the rate of the "
        "wire, or use this project's serializer, which holds 4 ms.",
        listen="bot_sent",
    )


@detector(
    title="Audio lost in serializer",
    harm=150,
    symptoms=(
        Symptom(4, "skips and stutters in the middle of words", "`audio_lost`, `out_of_order`"),
    ),
    measured="as for tail_lost, where it is more than a resampler holds; for the caller over the "
    "whole call.",
    thresholds=(
        Threshold(
            200.0,
            "ms",
            "More than any resampler holds back (soxr VHQ, 24 to 8 kHz: 152 ms at most) is gone "
            "for good.",
        ),
    ),
    change="leave resampler_clear_after_secs at None; look into the capture's /log.",
    accuracy=(Accuracy("unsent", 1.0, value_error=0.0),),
    explains=("tail_lost",),
)
def audio_lost(call: Call) -> Iterator[Finding]:
    """Audio that went into the serializer and never came out."""
    away = unsent(call)  # of that another detector speaks
    for part in _shortfalls(call):
        if any(part.start < gone.end and part.end > gone.start for gone in away):
            continue
        if (ms := part.value) >= audio_lost.threshold:
            yield audio_lost.finding(
                side="bot",
                parts=(part,),
                severity=graded(ms, audio_lost.threshold, 1000),
                value=ms,
                measurement=f"{ms:.0f} ms of what the bot said were never sent",
                cause="The serializer dropped frames: an unknown rate, an error, or a resampler "
                "that was cleared in the middle of speech (resampler_clear_after_secs).",
                remedy="Look into the capture's /log at this time, and leave "
                "resampler_clear_after_secs at None.",
                listen="bot_sent",
            )
    # What comes after a stop is not read: a stream that starts again is told as one.
    stop = min((event.time for event in call.events if event.kind == "stop"), default=np.inf)
    arrived = 1000 * float(call.inbound.duration[call.inbound.time <= stop].sum())
    heard = 1000 * float(call.frames_in.duration[call.frames_in.time <= stop + IDLE].sum())
    missing = arrived - heard
    if (
        call.frames_in
        and missing >= audio_lost.threshold
        and arrived < wrong_rate.threshold * heard
    ):
        yield audio_lost.finding(
            side="caller",
            parts=(Part(0.0, call.duration, missing),),
            severity=graded(missing, audio_lost.threshold, 1000),
            value=missing,
            measurement=f"{missing:.0f} ms of the caller never reached the pipeline",
            cause="The inbound resampler was cleared in the middle of speech, or deserialize "
            "failed.",
            remedy=f"Set audio_in_sample_rate={call.stats.get('wire_in_hz', 8000):.0f}, the rate of the "
            "wire, and leave "
            "resampler_clear_after_secs at None.",
            listen="bot_heard",
        )


def _shortfalls(call: Call) -> list[Part]:
    """Each utterance with the ms that are missing of it, until it is interrupted, if it is."""
    queue = call.speaking
    if not len(queue.time) or not len(call.outbound):
        return []
    ends = queue.end
    first = np.flatnonzero(np.diff(queue.time, prepend=-np.inf) > 0)
    idle = queue.time[first] - ends[first - 1] > IDLE
    interrupted = queue.cut[first - 1] < queue.cut[first]
    first = first[(first == 0) | idle | interrupted]
    bounds = [*queue.time[first].tolist(), np.inf]
    cut = [e.time for e in call.events if e.kind in ("interruption", "cancel", "stop")]
    rows = []
    for start, following in pairwise(bounds):
        mine = (queue.time >= start) & (queue.time < following)
        end = float(ends[mine].max())
        if stopped := [time for time in cut if start <= time <= end]:
            # The frame that was under way then may be thrown away.
            given = queue.time[mine & (queue.time < min(stopped))]
            if len(given) < 2:
                continue
            following = end = float(given[-1])
            mine &= queue.time < following
        # A message comes after its frame and before the next one, however long it took.
        out = (call.outbound.time > start) & (call.outbound.time <= following)
        missing = queue.duration[mine].sum() - call.outbound.duration[out].sum()
        rows.append(Part(start, end, 1000 * float(missing)))
    return rows


@detector(
    title="Dropouts in speech",
    harm=70,
    explains=("onset_pop",),
    measured="runs of samples of at most two steps, up to 0.2 s, where messages are whole, in the "
    "middle of a word: the 20 ms on both sides are within 15 dB of the loudest within a second, and "
    "their 2 ms next to the hole no more than 8 dB fainter than they. From 35 ms on silence between "
    "two tones is meant. From 0.2 to 3 s the wave must go on behind the hole where it broke off: two "
    "samples foretold over it, with half of the error that silence would be, from both sides. Chance does "
    "that at 4 % of such places: so many of them, of those tried, must be one in ten, to be sure one in a "
    "thousand.",
    thresholds=(
        Threshold(
            4.0,
            "ms",
            "Digital silence as long as a pitch period, between samples of speech: no voice does "
            "that.",
        ),
    ),
    change="look for a processor that pads frames with zeros; of the caller's carrier nothing can "
    "be undone.",
    limits="of longer holes one in two or three is seen, and one by itself is possible only; one behind which something was left out is a "
    "pause; holes that a mixer filled with music, that a carrier filled with comfort noise, or faded into, "
    "are not seen. Of a formant synthesiser, in whose words there is digital silence anyway, a hole is "
    "possible only.",
    accuracy=(
        Accuracy("punched", 0.95, value_error=0.0, span_ms=0.0),
        Accuracy("punched_caller", 0.97, value_error=0.0, span_ms=0.0),
    ),
)
def dropout(call: Call) -> Iterator[Finding]:
    """Holes of digital silence inside words."""
    inbound, said, sent = call.inbound, call.speaking, call.sending
    came = _gaps(np.where(inbound.duplicate, np.nan, inbound.start), inbound.duration)
    where = {
        "caller_sent": came,
        "bot_heard": came,
        "bot_said": _gaps(said.start, said.kept),
        "bot_sent": _gaps(sent.start, sent.kept),
    }
    for side, names in WAYS.items():
        told: list[tuple[float, float]] = []
        for name in names:
            # Where no message was, another detector speaks; what came in goes on.
            if name in call.ways[side]:  # the other one is the same, holes and all
                found = _holes(call.signal(name))
            holes, stalls, tried = (
                [h for h in spans if not _touches(where[name], *h) and not _near(told, *h)]
                for spans in (found.holes, found.stalls, found.tried)
            )
            chance = _chance(len(stalls), len(tried))
            stalls = stalls if chance < _POSSIBLY else []
            told += holes + stalls
            # A formant synthesiser's closures are silence too, and some of them begin at once.
            most: Severity = (
                "info" if found.closures > CLOSURES * len(found.holes + stalls) else "error"
            )
            by_severity = {most: holes + stalls}
            if most == "error" and chance > _SURELY:
                by_severity = {most: holes, "warning": stalls}
            for worst, spans in by_severity.items():
                for parts in grouped(lasting(sorted(spans)), 5.0):
                    yield _dropout(call, side, name, parts, worst)


def _chance(hits: int, tried: int) -> float:
    """How likely so many places or more go on at random, of those that were tried (binomial)."""

    def ways(count: int) -> float:
        return math.lgamma(tried + 1) - math.lgamma(count + 1) - math.lgamma(tried - count + 1)

    goes_on, ends = math.log(_AT_RANDOM), math.log1p(-_AT_RANDOM)
    return sum(
        math.exp(ways(count) + count * goes_on + (tried - count) * ends)
        for count in range(hits, tried + 1)
    )


def _dropout(call: Call, side: Side, name: str, parts: Sequence[Part], worst: Severity) -> Finding:
    """Holes that lie together, at worst of a severity; those that are no error are possible only."""
    total = sum(part.value for part in parts)
    stalls = name == "bot_said" and max(part.value for part in parts) > 1000 * LONGEST_HOLE
    cause, remedy = _STALLED if stalls else _FILLED[name]
    return dropout.finding(
        side=side,
        parts=parts,
        severity=max(graded(total, 20, 100), worst, key=SEVERITIES.index),
        value=total,
        measurement=f"{total:.0f} ms of digital silence inside words, in {len(parts)} hole{'s' * (len(parts) > 1)}",
        cause=cause,
        remedy=remedy.format(report=call.carrier.advice.report),
        listen=name,
        confidence=1.0 if worst == "error" else POSSIBLE,
    )


def _near(holes: Sequence[tuple[float, float]], start: float, end: float) -> bool:
    """Whether a hole was told already; a conversion may move it by what it holds back."""
    return any(start < b + IDLE and end > a - IDLE for a, b in holes)


_BY_THE_SERIALIZER: Final = (
    "The serializer puts silence into what it converts.",
    "Use this project's serializer, or one that keeps one resampler for the whole stream.",
)
#: Cause and remedy, by the signal in which it stands first.
_FILLED: Final = {
    "caller_sent": (
        "The carrier filled lost packets with silence.",
        "Nothing in the bot causes it; {report} and these times.",
    ),
    "bot_said": (
        "Silence was put between frames before they reached the serializer: a mixer, or a queue that "
        "ran dry.",
        "Look for a processor that pads frames with zeros, such as a mixer or a recorder in the path.",
    ),
    "bot_heard": _BY_THE_SERIALIZER,
    "bot_sent": _BY_THE_SERIALIZER,
}


#: The same of holes that are longer than a queue is ahead.
_STALLED: Final = (
    "The speech synthesis stalled in mid-word, and a mixer or a processor filled the wait with silence.",
    "Stream from a speech synthesis that keeps faster than real time, or collect some of an answer before "
    "it is played; and fill no wait inside an answer with zeros.",
)


class _Holes(NamedTuple):
    """Silences in words that begin and end at once, in seconds.

    Parameters:
        holes: Short ones.
        stalls: Long ones behind which the wave goes on.
        tried: All long ones.
        closures: How many short silences in words have a fading edge.
    """

    holes: list[tuple[float, float]]
    stalls: list[tuple[float, float]]
    tried: list[tuple[float, float]]
    closures: int


def _holes(audio: Audio) -> _Holes:
    """Silences in the words of a signal."""
    rate, samples = audio.sample_rate, audio.samples
    found, silent = [np.empty(0, np.intp)], False
    for first, block in mapped.blocks(samples, _AT_ONCE):
        now = np.abs(block) <= 2 / 32768
        if now[0] != silent:
            found.append(np.array([first]))
        found.append(first + 1 + np.flatnonzero(now[1:] != now[:-1]))
        silent = bool(now[-1])
    if silent:
        found.append(np.array([len(samples)]))
    edges = np.concatenate(found).reshape(-1, 2)
    length = edges[:, 1] - edges[:, 0]
    edges = edges[(length >= dropout.threshold / 1000 * rate) & (length <= LONGEST_STALL * rate)]
    level = levels(audio) if len(edges) else np.empty(0)
    told, closures, kept = _Holes([], [], [], 0), 0, 0
    for first, last in edges.tolist():
        if first > kept + _AT_ONCE:
            mapped.let_go(samples[kept:first])
            kept = first
        around = level[max(0, int(first / rate / HOP) - 100) : int(last / rate / HOP) + 100]
        loudest = float(around.max(initial=-100.0))
        breaks_off = _breaks_off(samples, first, last, rate, loudest)
        if not breaks_off and last - first <= LONGEST_HOLE * rate:
            closures += _is_in_word(samples, first, last, rate, loudest + CLOSED_DB)
        if not breaks_off:
            continue
        if last - first >= BETWEEN_KEYS * rate and _between_tones(samples, first, last, rate):
            continue
        span = first / rate, last / rate
        if last - first <= LONGEST_HOLE * rate:
            told.holes.append(span)
            continue
        told.tried.append(span)
        if _goes_on(samples, first, last, rate):
            told.stalls.append(span)
    mapped.let_go(samples[kept:])
    return told._replace(closures=closures)


def _breaks_off(
    samples: NDArray[np.float32], first: int, last: int, rate: int, loudest: float
) -> bool:
    """Whether the same sound breaks off at once at ``first`` and comes back at once at ``last``."""
    flank, edge = round(FLANK * rate), round(EDGE * rate)
    before, after = samples[max(0, first - flank) : first][::-1], samples[last : last + flank]
    if min(len(before), len(after)) < flank:
        return False
    left, right = _dbov(before), _dbov(after)
    steep = _dbov(before[:edge]) - left > STEEP_DB and _dbov(after[:edge]) - right > STEEP_DB
    is_word = min(left, right) > max(FAINTEST_DBOV, loudest + BELOW_DB)
    return steep and is_word and abs(left - right) < APART_DB


def _is_in_word(
    samples: NDArray[np.float32], first: int, last: int, rate: int, least: float
) -> bool:
    """Whether there is sound of a level on both sides of a silence, however it begins and ends."""
    flank = round(FLANK * rate)
    sides = samples[max(0, first - flank) : first], samples[last : last + flank]
    return all(len(side) and _dbov(side) > max(FAINTEST_DBOV, least) for side in sides)


def _goes_on(samples: NDArray[np.float32], first: int, last: int, rate: int) -> bool:
    """Whether the wave is behind a hole where it broke off: silence was put in, and nothing left out."""
    flank = round(_KNOWN * rate)
    before = samples[max(0, first - flank) : first].astype(np.float64)
    after = samples[last : last + flank].astype(np.float64)
    return _foretells(before, after) and _foretells(after[::-1], before[::-1])


def _foretells(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    weights = fitted(before[None], _ORDER)[2][0]
    joined = before[-_ORDER:]
    for _ in range(_AHEAD):
        joined = np.append(joined, joined[-_ORDER:] @ weights)
    off = np.square(joined[_ORDER:] - after[:_AHEAD]).sum()
    return bool(off < _GOES_ON**2 * np.square(joined[_ORDER:]).sum())


def _dbov(samples: NDArray[np.float32]) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-10))


def _between_tones(samples: NDArray[np.float32], first: int, last: int, rate: int) -> bool:
    size = round(TONE_SECS * rate)
    return is_tone(samples[max(0, first - size) : first]) and is_tone(samples[last : last + size])


def _gaps(start: NDArray[np.float64], length: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intervals of a track in which nothing was laid."""
    played = ~np.isnan(start) & (length > 0)
    order = np.argsort(start[played], kind="stable")
    starts, ends = start[played][order], (start + length)[played][order]
    gaps = np.column_stack((ends[:-1], starts[1:]))
    return gaps[gaps[:, 1] - gaps[:, 0] > 0.001]


def _touches(gaps: NDArray[np.float64], start: float, end: float) -> bool:
    return bool(((gaps[:, 0] < end) & (gaps[:, 1] > start)).any())
