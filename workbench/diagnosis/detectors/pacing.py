"""Faults of the way from the pipeline to the far end's queue: when the bot's audio was sent."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.call import Call
from workbench.call.playout import Underrun
from workbench.call.stages import in_words
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.network import TOGETHER, UNBLOCK, read_nothing
from workbench.diagnosis.detectors.stages import because
from workbench.diagnosis.finding import Finding, Part, graded, grouped, hull, lasting

__all__ = ["pacing", "underrun"]

#: Pauses longer than this divide utterances.
UTTERANCE: Final = 1.5
AHEAD_MS: Final = Threshold(
    5000.0,
    "ms",
    "Bandwidth says nothing of how much its queue takes; a few seconds are known to be safe.",
)
RATIO: Final = Threshold(
    1.03,
    "times",
    "Real time, give or take: 3 % are 30 ms more, or fewer, in the queue after each second.",
)
_NOTHING_TO_SEND: Final = (
    "The pipeline had nothing to send. The event loop was free: the caller's messages were read all "
    "the while."
)
#: Who was late then, where the pipeline does not tell.
_EITHER: Final = (
    " The next words came too late from the speech service, or from the language model before it."
)
#: Shorter runs of messages tell no rate each by itself, in seconds; all of them together may.
RUN: Final = 5.0


@detector(
    title="Gap in playback",
    harm=170,
    symptoms=(
        Symptom(
            1,
            "choppy on the phone, clean in the recording",
            "`underrun`, with the cushion that would hide it",
        ),
    ),
    measured="silence of the queue model between messages that have sound within 50 ms of both "
    "sides of it, if the caller did not answer in it and the pipeline did not tell that a "
    "synthesis was over and another began; holes of one cause within five seconds are one finding. The cause is told by who was late: the pipeline's frame, "
    "with the caller's messages or without them; the serializer; or its resampler.",
    thresholds=(
        Threshold(
            20.0, "ms", "A hole of one 20 ms packet inside a word is a click that people notice."
        ),
    ),
    change="unblock the event loop; look at the speech service; let nothing be resampled in the "
    "serializer (audio_out_sample_rate as the wire's).",
    limits="the far end's queue is a model: what Bandwidth really plays, and what the network to "
    "it adds, is not in the capture. Where a carrier answers marks it is held against them.",
    accuracy=(Accuracy("hole", 1.0, value_error=0.0, span_ms=0.0),),
)
def underrun(call: Call) -> Iterator[Finding]:
    """The far end ran out of audio in the middle of an utterance: choppy speech."""
    holes = call.playout.underruns
    times = call.audio_out.time
    advice = [_why(call, times, hole) for hole in holes]
    cushion = _cushion(call) if any(cushioned for _, _, cushioned in advice) else ""
    for why in dict.fromkeys(advice):
        mine = [hole for hole, its in zip(holes, advice, strict=True) if its == why]
        cause, remedy, cushioned = why
        if cushioned:
            stages = [stage for hole in mine for stage in call.stages(*hole)]
            if cause == _NOTHING_TO_SEND and not in_words(stages):
                cause += _EITHER
            cause, remedy = because(stages, cause, remedy + cushion, with_setting=False)
        for parts in grouped(lasting((hole.start, hole.end) for hole in mine), TOGETHER):
            total, worst = sum(p.value for p in parts), max(p.value for p in parts)
            if total < underrun.threshold:
                continue
            many = f" in {len(parts)} holes, the longest {worst:.0f} ms" if len(parts) > 1 else ""
            yield underrun.finding(
                side="bot",
                parts=parts,
                severity=graded(total, 60, 250),
                value=total,
                measurement=f"the bot's speech is chopped: {total:.0f} ms of silence inside "
                f"words{many}",
                cause=cause,
                remedy=remedy,
                listen="caller_heard",
            )


def _why(call: Call, times: NDArray[np.float64], hole: Underrun) -> tuple[str, str, bool]:
    """Cause and remedy by who was late, and whether holding audio back would have helped.

    Args:
        call: The call.
        times: Of its frames of audio, ``call.audio_out``.
        hole: One of its underruns.
    """
    length = hole.end - hole.start
    if call.playout.is_told(hole):
        return (
            f"The messages were sent in time; {call.carrier}'s answers to the bot's marks tell that "
            "they were played later: it waited on the way, or at the carrier.",
            f"Nothing in the bot causes it; {call.carrier.advice.report} and these times.",
            False,
        )
    # From the frame of the message before the hole to that of the one that ended it.
    ends = call.outbound.time[hole.message - 1 : hole.message + 1]
    first, last = (np.searchsorted(times, ends + 1e-3) - 1).tolist()
    frames = call.audio_out[max(first, 0) : last + 1]
    if max((frame.took_ms or 0.0 for frame in frames), default=0.0) > 500 * length:
        return (
            "The serializer itself took most of that time over a frame: the machine was "
            "overloaded.",
            "Give the process more CPU, or fewer calls at once.",
            False,
        )
    waits = [(one.time + one.duration, other.time) for one, other in pairwise(frames)]
    due, came = max(waits, key=lambda wait: wait[1] - wait[0], default=(hole.start, hole.end))
    if came - due <= 0.5 * length:
        return (
            "Frames came in time, messages did not: the serializer's resampler holds audio back "
            "and lets it out in bursts.",
            f"Set audio_out_sample_rate={call.outbound.formats[hole.message].sample_rate} in "
            "PipelineParams, the rate of the wire, so that nothing is resampled in the serializer.",
            False,
        )
    stood_still = read_nothing(call, due, came)
    if stood_still is None:
        return (
            "The pipeline's next audio came too late: speech synthesis was slow, or something "
            "blocked the event loop.",
            f"{UNBLOCK} If nothing blocks it, look at the speech service and the language model.",
            True,
        )
    if stood_still:
        return (
            "The bot's whole process stood still: it did not read the caller's messages either.",
            UNBLOCK,
            False,
        )
    return (
        _NOTHING_TO_SEND,
        "Look at that service, the way to it and its limits: its region, one connection kept open, "
        "streaming, other calls on the same plan. If it cannot be had faster, give "
        "each answer a cushion.",
        True,
    )


def _cushion(call: Call) -> str:
    """What the smallest cushion that is worth its delay would have hidden."""
    table, holes = call.playout.cushion_table(), len(call.playout.underruns)
    enough = min(0.9, max(row.hidden for row in table))
    row = next(row for row in table if row.hidden >= enough)
    if not row.hidden:
        return f" Not even a cushion of {table[-1].cushion_ms} ms would have hidden a hole of this call."
    share = f"{holes - row.underruns} of the {holes} holes" if holes > 1 else "the one hole"
    how = call.carrier.advice.cushion.format(ms=row.cushion_ms)
    return (
        f" A cushion of {row.cushion_ms} ms ({how}) would have hidden {share} of this call, and "
        "delayed every answer by as much."
    )


@detector(
    title="Not sent in real time",
    measured="how much audio was queued at the far end, by the queue model; and the seconds of "
    "audio per second of the clock, median of all seconds of a run of messages of 5 s and "
    "more, or over all shorter runs together.",
    thresholds=(AHEAD_MS, RATIO),
    change="send audio through Pipecat's output transport, which keeps real time.",
    accuracy=(
        Accuracy("ahead", 1.0, value_error=0.0),
        Accuracy("paced", 1.0, value_error=0.0),
    ),
    explains=("unheard_speech", "missing_clear", "cut_goodbye"),
)
def pacing(call: Call) -> Iterator[Finding]:
    """Audio is not sent in real time: every interruption depends on ``clear``, or words run dry."""
    lead_ms = 1000 * call.playout.lead
    ahead = np.flatnonzero(lead_ms >= AHEAD_MS.value)
    times = call.outbound.time
    moments = [Part(float(times[i]), float(times[i]), float(lead_ms[i])) for i in ahead]
    for group in grouped(moments, UTTERANCE):
        worst = max(part.value for part in group)
        yield pacing.finding(
            side="bot",
            parts=(Part(*hull(group), worst),),
            severity=graded(worst, 6 * AHEAD_MS.value, np.inf),
            value=worst,
            measurement=f"the bot was {worst / 1000:.1f} s ahead of what the caller had heard",
            cause="Audio is sent as fast as it is made, not as fast as it is played.",
            remedy="Send it through Pipecat's output transport, which keeps real time. "
            f"{call.carrier.advice.queue}",
        )
    if len(ahead):
        return
    off = [run for run in _rates(call) if not 1 / RATIO.value < run.value < RATIO.value]
    for runs in grouped(off, 60.0):
        worst = max((run.value for run in runs), key=lambda ratio: abs(np.log(ratio)))
        yield pacing.finding(
            side="bot",
            parts=runs,
            severity=graded(max(worst, 1 / worst), 1.1, np.inf),
            value=worst,
            threshold=RATIO,
            measurement=f"the bot's audio is sent at {worst:.2f} times real time",
            cause="What paces it has another clock: it sleeps between frames instead of waiting "
            "for a moment, or takes the frames for longer or shorter than they are.",
            remedy="Send it through Pipecat's output transport, which keeps real time; a sample "
            "rate that is not the declared one has the same effect.",
            listen="caller_heard",
        )


def _rates(call: Call) -> list[Part]:
    """Runs of messages with their seconds of audio per second; short ones have one in common."""
    during = call.outbound.time < call.duration
    time, duration = call.outbound.time[during], call.outbound.duration[during]
    long, short, pooled = [], [], []
    for run in np.split(np.arange(len(time)), np.flatnonzero(np.diff(time) > 0.5) + 1):
        if len(run) < 2:
            continue
        start, end = float(time[run[0]]), float(time[run[-1]])
        is_long = end - start >= RUN
        ratios = _ratios(time[run], duration[run], 1.0 if is_long else 0.5)
        if not len(ratios):
            continue
        if is_long:
            long.append(Part(start, end, float(np.median(ratios))))
        else:
            short.append((start, end))
            pooled.append(ratios)
    if sum(end - start for start, end in short) >= RUN:
        ratio = float(np.median(np.concatenate(pooled)))
        long += [Part(start, end, ratio) for start, end in short]
    return sorted(long)


def _ratios(
    time: NDArray[np.float64], duration: NDArray[np.float64], span: float
) -> NDArray[np.float64]:
    """From each message to the last one within ``span`` after it: how much audio per second.

    A transport that begins to speak fills its lead first: half a ``span`` is left out.
    """
    sent = np.cumsum(duration)
    first = np.flatnonzero((time >= time[0] + span / 2) & (time <= time[-1] - span))
    last = np.searchsorted(time, time[first] + span) - 1
    known = last > first
    first, last = first[known], last[known]
    return np.asarray((sent[last] - sent[first]) / (time[last] - time[first]))
