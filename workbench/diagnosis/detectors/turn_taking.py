"""Faults of turn-taking: who has the turn, who waits, who does not let go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.call import Call
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.finding import Finding, Part, graded, grouped, hull, lasting
from workbench.metrics.speech import (
    HOP,
    Intervals,
    as_intervals,
    joined,
    levels,
    noise_floor_of,
    runs_of,
    to_sound,
)

__all__ = [
    "BargeIn",
    "barge_ins",
    "dead_air",
    "echo",
    "false_barge_in",
    "missing_clear",
    "slow_barge_in",
    "slow_response",
]

#: What can be heard at all.
AUDIBLE_DBOV: Final = -50.0
#: Hops for which a voice activity detector still hears breath where a voice has ended.
TAIL: Final = 30


@dataclass(frozen=True)
class BargeIn:
    """The caller begins to speak while the bot does.

    Parameters:
        onset: When the caller began.
        caller_end: When the caller paused.
        interruption: When the pipeline noticed; ``None`` if it did not.
        clear: When the far end's queue was emptied; ``None`` if it was not.
        silent: When the last sound of the bot was over.
    """

    onset: float
    caller_end: float
    interruption: float | None
    clear: float | None
    silent: float

    @property
    def time_to_yield_ms(self) -> float:
        """From the caller's first sound to the bot's last."""
        return 1000 * (self.silent - self.onset)


def barge_ins(call: Call) -> tuple[BargeIn, ...]:
    """Find where the caller spoke into the bot's speech."""
    found = []
    clears, noticed = call.times_of("clear"), call.times_of("interruption")
    runs = _audible_runs(call, clears)
    for words in grouped(lasting(call.caller_speech.tolist()), 0.35):
        onset, end = hull(words)
        over = runs[(runs[:, 0] < onset - 0.2) & (runs[:, 1] > onset + 0.05)]
        if not len(over):
            continue
        silent = float(over[0, 1])
        found.append(
            BargeIn(
                onset,
                end,
                _first(noticed, onset - 0.1, silent + 0.5),
                _first(clears, onset - 0.1, silent + 0.5),
                silent,
            )
        )
    return tuple(found)


@detector(
    title="Slow to stop talking",
    harm=110,
    symptoms=(
        Symptom(17, "it does not stop when spoken to", "`slow_barge_in`, split into who was slow"),
    ),
    measured="from the caller's first sound over the bot's speech to the bot's last, where the "
    "caller keeps speaking for as long; split into onset, InterruptionFrame, clear and "
    "last sound.",
    thresholds=(
        Threshold(
            700.0,
            "ms",
            "Two people stop within some 300 to 500 ms; beyond this they both stop, and start "
            "again.",
        ),
    ),
    change="shorten VADParams.start_secs, let interruptions not wait for words, resample nothing "
    "inbound, see that clear is sent.",
    limits="the onset is that of a voice activity detector, to some 30 ms; a caller under street "
    "noise may be missed.",
    accuracy=(Accuracy("yielding", 1.0, value_error=1.6, span_ms=33.0),),
)
def slow_barge_in(call: Call) -> Iterator[Finding]:
    """The bot goes on talking although the caller does not let it."""
    for barge_in in barge_ins(call):
        took, onset = barge_in.time_to_yield_ms, barge_in.onset
        # "Mhm" is no barge-in: the caller must keep at it for as long as is complained of.
        if min(took, 1000 * (barge_in.caller_end - onset)) < slow_barge_in.threshold:
            continue
        noticed, cleared = barge_in.interruption, barge_in.clear
        if noticed is None:
            why = "The pipeline did not notice: no InterruptionFrame came."
            remedy = (
                "Check that interruptions are allowed, and VADParams: lower min_volume and "
                "confidence if the caller is faint; a strategy that waits for words waits for the "
                "recogniser."
            )
        elif noticed - onset > slow_barge_in.threshold / 2000:
            why = f"The pipeline noticed after {1000 * (noticed - onset):.0f} ms."
            remedy = (
                "Shorten VADParams.start_secs (0.2), let interruptions not wait for transcribed "
                "words, and set audio_in_sample_rate=8000 so that nothing is resampled inbound."
            )
        elif cleared is None:
            why = "The pipeline noticed, but the far end's queue was not emptied."
            remedy = "See that InterruptionFrame reaches the serializer, which sends clear."
        else:
            why = f"clear was sent {1000 * (cleared - noticed):.0f} ms after the interruption."
            remedy = (
                "Look for what blocks the event loop between the two; with audio_out_10ms_chunks "
                "at 4 less waits in the transport than with more."
            )
        yield slow_barge_in.finding(
            side="bot",
            parts=(Part(onset, barge_in.silent, took),),
            severity=graded(took, slow_barge_in.threshold, 1500),
            value=took,
            measurement=f"the bot went on for {took:.0f} ms after the caller had begun to speak",
            cause=why,
            remedy=remedy,
            listen="caller_heard",
        )


@detector(
    title="False interruption",
    harm=80,
    symptoms=(Symptom(20, "interrupted by noise and murmurs", "`false_barge_in`"),),
    measured="InterruptionFrames while the bot is heard, with no speech of the caller in the 1.5 "
    "s before.",
    change="raise VADParams.confidence, min_volume or start_secs, or wait for a transcribed word.",
    accuracy=(Accuracy("cut_by_nobody", 0.95, span_ms=0.0),),
)
def false_barge_in(call: Call) -> Iterator[Finding]:
    """The bot was interrupted and the caller had said nothing."""
    runs = _audible_runs(call, call.times_of("clear"))
    false = []
    for noticed in call.times_of("interruption").tolist():
        cut = ((runs[:, 0] < noticed) & (runs[:, 1] > noticed - 0.1)).any()
        if cut and not _spoken(call.caller_speech, noticed - 1.5, noticed + 0.2):
            false.append(noticed)
    if not false:
        return
    yield false_barge_in.finding(
        side="bot",
        parts=[Part(time, time, 1.0) for time in false],
        severity=graded(len(false), 1, 3),
        value=len(false),
        threshold=Threshold(1, "interruptions"),
        measurement=f"the bot was cut off {len(false)} times though the caller had said nothing",
        cause="Noise, a cough or the bot's own echo was taken for speech.",
        remedy="Raise VADParams.confidence, min_volume or start_secs, or let an interruption wait "
        "for a transcribed word; see echo and noise among the findings.",
        listen="caller_sent",
    )


@detector(
    title="Playback not cleared",
    harm=100,
    symptoms=(Symptom(18, "it is cleared too late, or not", "`missing_clear`"),),
    measured="audio still queued, by the queue model, at an InterruptionFrame that no clear "
    "follows within 0.25 s.",
    thresholds=(
        Threshold(100.0, "ms", "One frame of the transport and a bit is always under way."),
    ),
    change="let InterruptionFrame reach the serializer, which sends clear for it.",
    accuracy=(Accuracy("uncleared", 1.0, value_error=0.0, span_ms=0.0),),
)
def missing_clear(call: Call) -> Iterator[Finding]:
    """An interruption that left audio in the far end's queue."""
    playout, clears = call.playout, call.times_of("clear")
    for noticed in call.times_of("interruption").tolist():
        if _first(clears, noticed - 0.05, noticed + 0.25) is not None:
            continue
        queued = playout.time <= noticed
        end = float(np.nanmax(playout.end[queued], initial=-np.inf))
        left_ms = 1000 * (end - noticed)
        if left_ms < missing_clear.threshold:
            continue
        yield missing_clear.finding(
            side="bot",
            parts=(Part(noticed, end, left_ms),),
            severity=graded(left_ms, missing_clear.threshold, 1000),
            value=left_ms,
            measurement=f"interrupted, the bot played on for {left_ms:.0f} ms from the far end's "
            "queue",
            cause="An InterruptionFrame came and no clear was sent for it.",
            remedy="Let InterruptionFrame reach the serializer: BandwidthFrameSerializer sends "
            "clear for it. A processor of your own must push it on.",
            listen="caller_heard",
        )


@detector(
    title="Dead air",
    harm=130,
    measured="time in which neither side has speech (Silero) and the bot's side no sound above "
    "-50 dBov. Speech ends where it falls below that, or into the line's noise.",
    thresholds=(
        Threshold(3.0, "s", "After three seconds of nothing people ask whether anybody is there."),
    ),
    change="say something while a function call runs; prompt a caller who does not answer; hang "
    "up after the goodbye.",
    accuracy=(Accuracy("silent", 1.0, value_error=0.2, span_ms=8.0),),
)
def dead_air(call: Call) -> Iterator[Finding]:
    """Nobody says anything: the caller wonders whether the line is dead."""
    if not len(call.turns):
        return
    caller, bot = levels(call.caller_sent), levels(call.caller_heard)
    sound = bot > AUDIBLE_DBOV
    for speech, level in ((call.caller_speech, caller), (call.bot_speech, bot)):
        threshold = max(AUDIBLE_DBOV, noise_floor_of(level) + 6)
        for start, end in speech.tolist():
            start, end = to_sound(start, end, level, threshold, TAIL)
            sound[round(start / HOP) : round(end / HOP)] = True
    edges = joined(runs_of(sound, HOP), 0.035)  # an onset dips before it rises
    # Crackle of 50 ms does not end a silence.
    edges = edges[edges[:, 1] - edges[:, 0] >= 0.05]
    if not len(edges):
        return
    # The first words are the business of late_start.
    bounds = [*edges.ravel()[1:], call.duration]
    for start, end in zip(bounds[::2], bounds[1::2], strict=True):
        secs = float(end - start)
        if secs < dead_air.threshold:
            continue
        before = [turn.side for turn in call.turns if turn.start < start]
        last, ends = (before[-1] if before else "bot"), end >= call.duration - HOP
        cause, remedy = _SILENT[("end" if ends else last)]
        yield dead_air.finding(
            side="bot",
            parts=(Part(float(start), float(end), secs),),
            severity=graded(secs, dead_air.threshold, 2 * dead_air.threshold),
            value=secs,
            measurement=f"nobody was heard for {secs:.1f} s",
            cause=cause,
            remedy=remedy,
            listen="caller_heard",
        )


_SILENT: Final = {
    "bot": (
        "The bot had spoken last and neither went on nor asked.",
        "Let the bot say something while a function call runs, and prompt a caller who does not "
        "answer (user idle timeout).",
    ),
    "caller": (
        "The caller had spoken last and the bot did not answer.",
        "Look at the end of the turn (VADParams.stop_secs, the turn analyzer), then at the "
        "latencies of recogniser, model and synthesis in Pipecat's metrics "
        "(enable_metrics=True).",
    ),
    "end": (
        "All had been said and nobody hung up.",
        "Push an EndFrame after the goodbye; with auto_hang_up the serializer then ends the call.",
    ),
}


@detector(
    title="Slow replies",
    harm=60,
    measured="from the end of the caller's speech to the first sound of the bot that the caller "
    "hears; median of the call.",
    thresholds=(
        Threshold(
            2000.0,
            "ms",
            "Half of a call's answers later than this, and callers start to talk into them.",
        ),
    ),
    change="shorten VADParams.stop_secs, stream the model into the synthesis, keep services in "
    "one region.",
    accuracy=(Accuracy("waiting", 1.0, value_error=0.9),),
)
def slow_response(call: Call) -> Iterator[Finding]:
    """The bot takes its time with most of its answers."""
    answers = [turn for turn in call.turns if turn.latency_ms is not None]
    if not answers:
        return
    latencies = np.array([turn.latency_ms for turn in answers], float)
    middle, longest = float(np.median(latencies)), float(latencies.max())
    if middle < slow_response.threshold:
        return
    waits = [
        Part(turn.start - latency / 1000, turn.start, latency)
        for turn, latency in zip(answers, latencies.tolist(), strict=True)
    ]
    yield slow_response.finding(
        side="bot",
        parts=[wait for wait in waits if wait.value >= slow_response.threshold],
        severity=graded(middle, slow_response.threshold, 2 * slow_response.threshold),
        value=middle,
        measurement=f"the bot answers after {middle / 1000:.1f} s (half of {len(answers)} "
        f"answers; the slowest after {longest / 1000:.1f} s)",
        cause="The sum of the end of the turn, recognition, model and synthesis.",
        remedy="Measure the parts (enable_metrics=True); shorten VADParams.stop_secs, stream the "
        "model into the synthesis, keep services in one region.",
        listen="caller_heard",
    )


@detector(
    title="Echo of the bot",
    harm=20,
    symptoms=(Symptom(15, "the bot interrupts itself", "`echo`"),),
    measured="correlation of the two sides' envelopes, 20 to 600 ms apart, in windows of two "
    "seconds; at least 0.7 in windows that agree on the delay. The loss is the median "
    "difference of the levels in the loud parts.",
    thresholds=(
        Threshold(35.0, "dB", "Echo fainter than this is not heard over the line's noise."),
    ),
    change="make interruptions harder to start while the bot speaks, or mute the input meanwhile.",
    limits="the confidence is the correlation. In a room the loss is right within 3 dB; echo in "
    "constant double talk may be missed.",
    accuracy=(Accuracy("echoing", 1.0, value_error=0.3, span_ms=7.0, decibels=True),),
    explains=("slow_barge_in", "false_barge_in", "caller:noise"),
)
def echo(call: Call) -> Iterator[Finding]:
    """The bot's own voice comes back: it may interrupt itself."""
    heard = [found for found in call.echoes if found.loss_db < echo.threshold]
    if not heard:
        return
    loudest = min(heard, key=lambda found: found.loss_db)
    delay = float(np.median([found.delay_ms for found in heard]))
    near = call.times_of("interruption")
    own = sum(
        bool(((near > e.start) & (near < e.end + 0.6)).any())
        and not _spoken(call.caller_speech, e.start, e.end + 0.6)
        for e in heard
    )
    loop = delay < 40
    level = levels(call.caller_heard)
    sounds = [to_sound(e.start, e.end, level, AUDIBLE_DBOV, TAIL) for e in heard]
    cut = f"; {own} times it interrupted itself by it" if own else ""
    yield echo.finding(
        side="bot",
        parts=[
            Part(start, end + delay / 1000, found.loss_db)
            for (start, end), found in zip(sounds, heard, strict=True)
        ],
        severity="error" if own else graded(-loudest.loss_db, -20, -6),
        value=loudest.loss_db,
        measurement=f"the bot's voice comes back after {delay:.0f} ms, {loudest.loss_db:.0f} dB "
        f"fainter{cut}",
        cause="So short a delay is a loop in the routing."
        if loop
        else "The caller is on a speakerphone, or the line echoes; a carrier's path has no echo "
        "canceller for this.",
        remedy='Stream tracks="inbound" only.'
        if loop
        else "Make interruptions harder to start while the bot speaks: a minimum number of words, "
        "a higher VADParams.min_volume, or muting the input during important sentences.",
        listen="caller_sent",
        confidence=loudest.correlation,
    )


def _spoken(speech: Intervals, start: float, end: float) -> bool:
    return bool(((speech[:, 0] < end) & (speech[:, 1] > start)).any())


def _audible_runs(call: Call, clears: NDArray[np.float64]) -> Intervals:
    """Where the bot is heard, pauses inside sentences bridged but not a ``clear``."""
    loud = levels(call.caller_heard) > AUDIBLE_DBOV
    runs: list[list[float]] = []
    for start, end in runs_of(loud, HOP).tolist():
        cleared = runs and ((clears >= runs[-1][1] - 2 * HOP) & (clears <= start)).any()
        if runs and start - runs[-1][1] < 0.7 and not cleared:
            runs[-1][1] = end
        else:
            runs.append([start, end])
    return as_intervals(runs)


def _first(times: NDArray[np.float64], start: float, end: float) -> float | None:
    inside = times[(times >= start) & (times <= end)]
    return float(inside[0]) if len(inside) else None
