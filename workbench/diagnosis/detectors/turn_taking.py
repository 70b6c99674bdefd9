"""Faults of turn-taking: who waits for whom, and whose voice comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from workbench.call import Call, Stage
from workbench.call.turns import OVER_AMBIENCE_DB
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.barge_in import AUDIBLE_DBOV, spoken, sureness
from workbench.diagnosis.detectors.stages import because
from workbench.diagnosis.finding import POSSIBLE, SURE, Finding, Part, graded
from workbench.metrics.sounds import Sound
from workbench.metrics.speech import (
    HOP,
    as_intervals,
    joined,
    levels,
    noise_floor_of,
    runs_of,
    to_sound,
)

__all__ = ["dead_air", "echo", "slow_response"]

#: Hops for which a voice activity detector still hears breath where a voice has ended.
TAIL: Final = 30
#: How much longer the caller may be silent than the bot.
PATIENCE: Final = 3
#: A voice may begin and end so softly that it is heard for so much longer than a detector hears it.
SOFTLY_MS: Final = 300.0
#: Seconds before an answer in which the caller's last words are.
LAST_WORDS: Final = 4.0
#: Sounds of the bot that come so soon one after the other, in seconds, are heard as one.
CLICKING: Final = 0.5
#: Sounds that come so soon one after the other, in seconds, last together.
TOGETHER: Final = 0.2
#: What lasts so long, in seconds, is heard as somebody, whatever it is.
LASTING: Final = 0.3


@detector(
    title="Dead air",
    harm=130,
    measured="time in which neither side has speech (Silero), the caller's no tone and no music and "
    "the bot's no sound above -50 dBov. Speech ends where it falls below that, or into the line's "
    "noise. Where the bot had spoken last, the caller may think for three times as long.",
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
    silences = list(_silences(call))
    for start, end in silences:
        secs = end - start
        if secs < dead_air.threshold:
            continue
        before = [turn.side for turn in call.turns if turn.start < start]
        last = before[-1] if before else "bot"
        ends = start == silences[-1][0]
        # Whoever was asked may think, and prompts come after five seconds or more.
        patience = PATIENCE if last == "bot" and not ends else 1
        cause, remedy = _SILENT["end" if ends else last]
        if ends and not call.carrier.hangs_up:
            remedy = call.carrier.advice.ends
        if last == "caller" and not ends:
            cause, remedy = because(call.stages(start, end), cause, remedy)
        if not ends and _was_waiting(call, end):
            cause += (
                " It went on as soon as the caller said something: it had been waiting for that."
            )
        yield dead_air.finding(
            side="bot",
            parts=(Part(start, end, secs),),
            severity=graded(secs, patience * dead_air.threshold, 2 * patience * dead_air.threshold),
            value=secs,
            measurement=f"nobody was heard for {secs:.1f} s",
            cause=cause,
            remedy=remedy,
            listen="caller_heard",
        )


def _silences(call: Call) -> Iterator[tuple[float, float]]:
    """Where neither side can be heard: no voice, no tone, no music of either."""
    caller, bot = levels(call.caller_sent), levels(call.caller_heard)
    heard = bot > AUDIBLE_DBOV
    # A bot that lets keys click while it thinks is there: its line has no crackle of its own.
    for start, end in joined(runs_of(heard, HOP), CLICKING).tolist():
        heard[round(start / HOP) : round(end / HOP)] = True
    for speech, level in ((call.caller_speech, caller), (call.bot_speech, bot)):
        threshold = max(AUDIBLE_DBOV, noise_floor_of(level) + 6)
        for start, end in speech.tolist():
            start, end = to_sound(start, end, level, threshold, TAIL)
            heard[round(start / HOP) : round(end / HOP)] = True
    for sound in call.caller_sounds:
        if _is_somebody(sound):
            heard[round(sound.start / HOP) : round(sound.end / HOP)] = True
    edges = joined(runs_of(heard, HOP), 0.035)  # an onset dips before it rises
    # Crackle of 50 ms does not end a silence.
    edges = edges[edges[:, 1] - edges[:, 0] >= 0.05]
    if not len(edges):
        return
    # The first words are the business of late_start, and what comes behind the bot's end that of
    # slow_shutdown.
    last = float(edges[-1, 1])
    ended = np.concatenate([call.times_of(kind) for kind in ("end", "cancel")]).min(initial=np.inf)
    over = min(call.duration, max(last, float(ended)))
    bounds = [*edges.ravel()[1:].tolist(), over]
    yield from zip(bounds[::2], bounds[1::2], strict=True)


def _is_somebody(sound: Sound) -> bool:
    """What is no voice is somebody all the same, if it lasts."""
    return sound.kind in ("tone", "music", "modem") or sound.duration >= LASTING


def _was_waiting(call: Call, end: float) -> bool:
    """Whether a silence ended with a word of the caller that the bot answered at once."""
    speech = call.caller_speech
    words = speech[np.abs(speech[:, 0] - end) < 0.2]
    if not len(words) or words[0, 1] - words[0, 0] > 1.2:
        return False
    waits = call.bot_speech[:, 0] - words[0, 1]
    return bool(((waits > 0) & (waits < 0.5)).any())


_SILENT: Final = {
    "bot": (
        "The bot had spoken last and neither went on nor asked.",
        "Let the bot say something while a function call runs, and prompt a caller who does not "
        "answer (user idle timeout).",
    ),
    "caller": (
        "The caller had spoken last and the bot did not answer.",
        "Look at the end of the turn (VADParams.stop_secs, the turn analyzer), then at recogniser, "
        "model and synthesis.",
    ),
    "end": (
        "All had been said and nobody hung up.",
        "Push an EndFrame after the goodbye; with auto_hang_up the serializer then ends the call.",
    ),
}


@detector(
    title="Slow replies",
    harm=60,
    measured="from the end of the caller's speech, or of a tone right behind it, to the first sound of "
    "the bot that the caller hears; median of the call. Up to 2.3 s, after a crowd, and where "
    "something else is heard of either in most of the waits, it is possible only.",
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
    sure = float(np.median(list(_are_waits(call, waits)))) >= SURE
    sure = sure and middle >= slow_response.threshold + SOFTLY_MS
    cause, remedy = because(
        _typical(call),
        "The sum of the end of the turn, recognition, model and synthesis.",
        "Shorten VADParams.stop_secs, stream the model into the synthesis, keep services in one "
        "region.",
    )
    yield slow_response.finding(
        side="bot",
        parts=[wait for wait in waits if wait.value >= slow_response.threshold],
        severity=graded(middle, slow_response.threshold, 2 * slow_response.threshold)
        if sure
        else "info",
        confidence=1.0 if sure else POSSIBLE,
        value=middle,
        measurement=f"the bot answers after {middle / 1000:.1f} s (half of {len(answers)} "
        f"answers; the slowest after {longest / 1000:.1f} s)",
        cause=cause,
        remedy=remedy,
        listen="caller_heard",
    )


def _are_waits(call: Call, waits: Sequence[Part]) -> Iterator[float]:
    """How sure it is, of each, that the caller spoke before it, and that nobody is heard in it.

    Of a crowd nobody can say when it has finished; nor of a voice that is whispered, shouted or too
    soft for a detector of voices, though it is heard. Such a voice of the bot's is an answer.
    """
    quiet = -np.inf if call.ambience is None else call.ambience + OVER_AMBIENCE_DB
    bot = [sound for sound in call.bot_sounds if sound.level > quiet]
    # A voice through effects is many short tones, one behind the other.
    sides = [
        as_intervals([(s.start, s.end) for s in side if _is_somebody(s)])
        for side in (call.caller_sounds, bot)
    ]
    heard = np.concatenate([joined(side, TOGETHER) for side in sides])
    for wait in waits:
        shared = np.minimum(heard[:, 1], wait.end) - np.maximum(heard[:, 0], wait.start)
        silent = shared.max(initial=0.0) <= LASTING
        words = sureness(call.caller_sounds, wait.start - LAST_WORDS, wait.start)
        yield words if silent else 0.0


def _typical(call: Call) -> tuple[Stage, ...]:
    """Stages of the answer that took as long as half of them, or the next longer one."""
    waits = sorted(call.answers.waited_for, key=lambda answer: answer.wait_ms)
    return waits[len(waits) // 2].stages if waits else ()


@detector(
    title="Echo of the bot",
    harm=20,
    symptoms=(Symptom(15, "the bot interrupts itself", "`echo`"),),
    measured="correlation of the two sides' envelopes, 20 ms to a second apart, in windows of two "
    "seconds; at least 0.7 in windows that agree on the delay. The loss is the median "
    "difference of the levels in the loud parts. Under a caller's words: correlation of the "
    "whitened waves, 6.5 standard deviations in pieces that agree, and the loss by least squares.",
    thresholds=(
        Threshold(35.0, "dB", "Echo fainter than this is not heard over the line's noise."),
    ),
    change="make interruptions harder to start while the bot speaks, or mute the input meanwhile.",
    limits="the confidence is the correlation. In a room the loss is right within 3 dB. Behind a "
    "codec that keeps no wave (GSM, AMR), echo in constant double talk may be missed.",
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
        and not spoken(call.caller_speech, e.start, e.end + 0.6)
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
