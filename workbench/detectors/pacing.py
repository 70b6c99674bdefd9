"""Faults of the way from the pipeline to the far end's queue: when the bot's audio was sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from workbench.call import Call
from workbench.detectors.finding import Finding, graded, grouped
from workbench.playout import Underrun

__all__ = ["pacing", "underrun"]

#: A hole of one 20 ms packet inside a word is a click that people notice.
HOLE_MS: Final = 20.0
#: Pauses longer than this divide utterances.
UTTERANCE: Final = 1.5
#: Bandwidth says nothing of how much its queue takes; a few seconds are known to be safe.
AHEAD_MS: Final = 5000.0
#: Real time, give or take: 3 % are 30 ms more, or fewer, in the queue after each second.
RATIO: Final = 1.03
#: Shorter runs of frames tell no rate, in seconds.
RUN: Final = 5.0


def underrun(call: Call) -> Iterator[Finding]:
    """The far end ran out of audio in the middle of an utterance: choppy speech.

    Measured: silence of the queue model between messages that have sound within 50 ms of both
    sides of it, summed over an utterance. The cause is told by who was late: the frame, the
    serializer, or its resampler.
    Threshold: HOLE_MS ms
    Change: unblock the event loop; let nothing be resampled in the serializer
    (audio_out_sample_rate as the wire's); raise audio_out_10ms_chunks for a larger lead.
    Limits: the far end's queue is a model: what Bandwidth really plays, and what the network to
    it adds, is not in the capture.
    """
    holes = [hole for hole in call.playout.underruns if not _answered(call, hole)]
    table = call.playout.cushion_table() if holes else ()
    enough = next((row.cushion_ms for row in table if row.hidden >= 0.9), None)
    for start, end, members in grouped([(h.start, h.end) for h in holes], UTTERANCE):
        lengths = [1000 * (holes[i].end - holes[i].start) for i in members]
        total, worst = sum(lengths), max(lengths)
        if total < HOLE_MS:
            continue
        times = "" if len(lengths) == 1 else f" in {len(lengths)} holes, the longest {worst:.0f} ms"
        cause, remedy = _why(call, holes[members[int(np.argmax(lengths))]])
        cushion = (
            f" {enough} ms more of lead would have hidden nine of ten such holes in this call."
            if enough else " They are too long for any sensible buffer to hide."
        )  # fmt: skip
        yield Finding(
            "underrun", "bot", (start, end), graded(total, 60, 250), total, "ms", HOLE_MS,
            f"the bot's speech is chopped: {total:.0f} ms of silence inside words{times}",
            cause, remedy + cushion, "caller_heard",
        )  # fmt: skip


def _answered(call: Call, hole: Underrun) -> bool:
    """Whether the caller spoke in the hole: then it was a change of turns, if a quick one."""
    if hole.end - hole.start < 0.5 or not len(call.caller_speech):
        return False
    speech = call.caller_speech
    spoken = np.minimum(speech[:, 1], hole.end) - np.maximum(speech[:, 0], hole.start)
    return float(np.maximum(spoken, 0).sum()) > 0.15


def _why(call: Call, hole: Underrun) -> tuple[str, str]:
    """Who was late: the pipeline with the frame, or the serializer with the message."""
    length = hole.end - hole.start
    sent = float(call.outbound.time[hole.message])
    frames = [frame for frame in call.audio_out if frame.time <= sent + 1e-3]
    times = np.array([frame.time for frame in frames[-20:]], float)
    lengths = np.array([frame.duration for frame in frames[-20:]], float)
    # How much longer than its audio lasts the pipeline took to come up with the next frame.
    late = float((np.diff(times) - lengths[:-1]).max()) if len(times) > 1 else length
    took = max((frame.took_ms or 0.0 for frame in frames[-3:]), default=0.0)
    if took > 500 * length:
        return (
            f"The serializer itself took {took:.0f} ms over a frame: the machine was overloaded.",
            "Give the process more CPU, or fewer calls at once.",
        )
    if late > 0.5 * length:
        return (
            f"The pipeline's next audio came {1000 * late:.0f} ms too late: speech synthesis was "
            "slow, or something blocked the event loop.",
            "Look for blocking calls (requests, time.sleep, heavy numpy) in the pipeline and move "
            "them to asyncio.to_thread; run one call per process. Raising audio_out_10ms_chunks "
            "in the transport's parameters (4 by default) gives it a larger lead.",
        )
    return (
        "Frames came in time, messages did not: the serializer's resampler holds audio back and "
        "lets it out in bursts.",
        f"Set audio_out_sample_rate={call.outbound.formats[hole.message].sample_rate} in "
        "PipelineParams, the rate of the wire, so that nothing is resampled in the serializer.",
    )


def pacing(call: Call) -> Iterator[Finding]:
    """Audio is not sent in real time: every interruption depends on ``clear``, or words run dry.

    Measured: how much audio was queued at the far end, by the queue model; and the seconds of
    audio per second of the clock, median of all seconds of a run of frames of 5 s and more.
    Threshold: AHEAD_MS ms, RATIO times
    Change: send audio through Pipecat's output transport, which keeps real time.
    """
    lead_ms = 1000 * call.playout.lead
    ahead = np.flatnonzero(lead_ms >= AHEAD_MS)
    spans = [(float(call.outbound.time[i]),) * 2 for i in ahead]
    for start, end, members in grouped(spans, UTTERANCE):
        worst = float(lead_ms[ahead[list(members)]].max())
        yield Finding(
            "pacing", "bot", (start, end), graded(worst, 6 * AHEAD_MS, np.inf), worst, "ms", AHEAD_MS,
            f"the bot was {worst / 1000:.1f} s ahead of what the caller had heard",
            "Audio is sent as fast as it is made, not as fast as it is played.",
            "Send it through Pipecat's output transport, which keeps real time. How much Bandwidth "
            "queues is not documented, and what it holds can only be taken back by clear.",
        )  # fmt: skip
    if len(ahead):
        return
    off = [run for run in _rates(call) if not 1 / RATIO < run[2] < RATIO]
    for start, end, members in grouped([(a, b) for a, b, _ in off], 60.0):
        worst = max((off[i][2] for i in members), key=lambda ratio: abs(np.log(ratio)))
        yield Finding(
            "pacing", "bot", (start, end), graded(max(worst, 1 / worst), 1.1, np.inf), worst, "times",
            RATIO, f"the bot's audio is sent at {worst:.2f} times real time",
            "What paces it has another clock: it sleeps between frames instead of waiting for a "
            "moment, or takes the frames for longer or shorter than they are.",
            "Send it through Pipecat's output transport, which keeps real time; a sample rate that "
            "is not the declared one has the same effect.",
            "caller_heard",
        )  # fmt: skip


def _rates(call: Call) -> Iterator[tuple[float, float, float]]:
    """Start, end and seconds of audio per second of each long run of messages."""
    time, duration = call.outbound.time, call.outbound.duration
    if len(time) < 2:
        return
    for run in np.split(np.arange(len(time)), np.flatnonzero(np.diff(time) > 0.5) + 1):
        at = time[run]
        if at[-1] - at[0] < RUN:
            continue
        sent = np.cumsum(duration[run])
        # From each message to the last one within the second after it, the start-up left out.
        first = np.flatnonzero((at >= at[0] + 0.5) & (at <= at[-1] - 1))
        last = np.searchsorted(at, at[first] + 1) - 1
        known = last > first
        first, last = first[known], last[known]
        if len(first):
            ratios = (sent[last] - sent[first]) / (at[last] - at[first])
            yield float(at[0]), float(at[-1]), float(np.median(ratios))
