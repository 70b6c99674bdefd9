"""Faults of interruptions: who speaks into whose words, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.call import Call
from workbench.call.echoes import expected_echoes
from workbench.call.turns import BEHIND_DB, OVER_AMBIENCE_DB, TURN_PAUSE
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.finding import (
    POSSIBLE,
    SURE,
    Finding,
    Part,
    graded,
    grouped,
    hull,
    lasting,
)
from workbench.metrics.pitch import median_pitch
from workbench.metrics.sounds import Sound
from workbench.metrics.speech import HOP, Intervals, as_intervals, levels, runs_of

__all__ = [
    "BargeIn",
    "barge_ins",
    "early_answer",
    "false_barge_in",
    "missing_clear",
    "slow_barge_in",
    "spoken",
    "sureness",
]

#: What can be heard at all.
AUDIBLE_DBOV: Final = -50.0
#: For how long before an interruption what caused it may have begun, and after it, in seconds.
BEFORE, AFTER = 1.5, 0.2
#: A sound that ends so shortly before the next, in seconds, is of the same utterance: pauses inside one are
#: shorter, and a voice is known some 0.1 s late.
LEADS_UP: Final = 0.4
#: A pause of the bot inside what it says is shorter than this, in seconds.
BRIDGED: Final = 0.7
#: A pause in mid-sentence is no longer than this, in seconds; people think for longer only between.
MID_SENTENCE: Final = 2.0
#: A caller who goes on so soon after the bot has begun did not react to it: that takes 0.2 s and more,
#: and another half for whoever is taken by surprise.
NOT_A_REACTION: Final = 0.7
#: What has a pitch for so many seconds, and for such a share of it, may be a voice.
_VOICED_SECS, _VOICED = 0.3, 0.3
#: A tone that is no key's lasts so long at least, in seconds: a busy line's, the shortest, 0.25; and music.
_LONGER_SECS: Final = {"tone": 0.2, "music": 2.0}
#: What is shorter, in seconds, and no part of a voice is a click: nobody begins to talk with it.
CLICK: Final = 0.1
#: So soon after both talked, in seconds, a bot that was cut off is silent.
CUT: Final = 0.3


@dataclass(frozen=True)
class BargeIn:
    """The caller begins to speak while the bot does.

    Parameters:
        onset: When the caller began.
        caller_end: When the caller paused.
        interruption: When the pipeline noticed; ``None`` if it did not.
        clear: When the far end's queue was emptied; ``None`` if it was not.
        silent: When the last sound of the bot was over.
        confidence: How sure it is that the caller spoke over the bot, and not a crowd or a television.
    """

    onset: float
    caller_end: float
    interruption: float | None
    clear: float | None
    silent: float
    confidence: float = 1.0

    @property
    def time_to_yield_ms(self) -> float:
        """From the caller's first sound to the bot's last."""
        return 1000 * (self.silent - self.onset)


def barge_ins(call: Call) -> tuple[BargeIn, ...]:
    """Find where the caller spoke into the bot's speech."""
    found = []
    clears, noticed = call.times_of("clear"), call.times_of("interruption")
    runs = audible_runs(call, clears)
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
                sureness(call.caller_sounds, onset, min(end, silent)),
            )
        )
    return tuple(found)


def sureness(sounds: Sequence[Sound], start: float, end: float) -> float:
    """How sure it is that somebody speaks between two times: that of most of it."""
    voices = [(s, min(s.end, end) - max(s.start, start)) for s in sounds if s.kind == "voice"]
    shared = [(sound.confidence, secs) for sound, secs in voices if secs > 0]
    total = sum(secs for _, secs in shared)
    return sum(sure * secs for sure, secs in shared) / total if total else 0.0


@detector(
    title="Slow to stop talking",
    harm=110,
    symptoms=(
        Symptom(17, "it does not stop when spoken to", "`slow_barge_in`, split into who was slow"),
    ),
    measured="from the caller's first sound over the bot's speech to the bot's last, where the "
    "caller keeps speaking for as long; split into onset, InterruptionFrame, clear and "
    "last sound. A crowd, a television or music behind the caller makes it possible only.",
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
        cause, remedy = _who_was_slow(barge_in)
        sure = barge_in.confidence >= SURE
        yield slow_barge_in.finding(
            side="bot",
            parts=(Part(onset, barge_in.silent, took),),
            severity=graded(took, slow_barge_in.threshold, 1500) if sure else "info",
            value=took,
            measurement=f"the bot went on for {took:.0f} ms after the caller had begun to speak",
            cause=cause if sure else "If that was the caller, and nobody behind them: " + cause,
            remedy=remedy,
            listen="caller_heard",
            confidence=1.0 if sure else barge_in.confidence,
        )


def _who_was_slow(barge_in: BargeIn) -> tuple[str, str]:
    """Cause and remedy, by which step took the time."""
    onset, noticed, cleared = barge_in.onset, barge_in.interruption, barge_in.clear
    if noticed is None:
        return (
            "The pipeline did not notice: no InterruptionFrame came.",
            "Check that interruptions are allowed, and VADParams: lower min_volume and "
            "confidence if the caller is faint; a strategy that waits for words waits for the "
            "recogniser.",
        )
    if noticed - onset > slow_barge_in.threshold / 2000:
        return (
            f"The pipeline noticed after {1000 * (noticed - onset):.0f} ms.",
            "Shorten VADParams.start_secs (0.2), let interruptions not wait for transcribed "
            "words, and set audio_in_sample_rate=8000 so that nothing is resampled inbound.",
        )
    if cleared is None:
        return (
            "The pipeline noticed, but the far end's queue was not emptied.",
            "See that InterruptionFrame reaches the serializer, which sends clear.",
        )
    return (
        f"clear was sent {1000 * (cleared - noticed):.0f} ms after the interruption.",
        "Look for what blocks the event loop between the two; with audio_out_10ms_chunks "
        "at 4 less waits in the transport than with more.",
    )


@detector(
    title="Answered too early",
    harm=105,
    measured="how long the bot talks over a caller who pauses for less than 2 s in mid-sentence "
    "and goes on no later than 0.7 s after the bot has begun; or who speaks already, and does not "
    "pause, when it begins.",
    thresholds=(
        Threshold(
            700.0,
            "ms",
            "Two people who begin at once stop within some 300 to 500 ms.",
        ),
        Threshold(3.0, "times", "However short: twice in a call happens among people too."),
    ),
    change="lengthen VADParams.stop_secs, or let a turn analyzer decide when a turn has ended.",
    limits="a caller who has finished, and happens to think of more just then, looks the same.",
    accuracy=(Accuracy("hasty", 1.0, value_error=5.0),),
    explains=("slow_barge_in", "false_barge_in"),
)
def early_answer(call: Call) -> Iterator[Finding]:
    """The bot begins before the caller has finished."""
    early = list(_early_answers(call))
    found = [each for each in early if 1000 * each[-1] >= early_answer.threshold]
    if not found:
        yield from _again_and_again(call, early)
        return
    worst = max(over for *_, over in found)
    cause, remedy = _why_early([pause for _, _, pause, _ in found])
    times = "" if len(found) == 1 else f" {len(found)} times"
    yield early_answer.finding(
        side="bot",
        parts=[Part(start, end, 1000 * over) for start, end, _, over in found],
        severity=graded(1000 * worst, early_answer.threshold, 2000),
        value=1000 * worst,
        measurement=f"the bot began{times} before the caller had finished, and talked over them "
        f"for {worst:.1f} s",
        cause=cause,
        remedy=remedy,
        listen="caller_sent",
    )


def _again_and_again(
    call: Call, early: Sequence[tuple[float, float, float, float]]
) -> Iterator[Finding]:
    """A bot that begins in the caller's pauses, and is cut off at once each time."""
    clears, often = call.times_of("clear"), early_answer.thresholds[1]
    cut = [each for each in early if _first(clears, each[0], each[1] + CUT) is not None]
    if len(cut) < often.value:
        return
    cause, remedy = _why_early([pause for _, _, pause, _ in cut])
    yield early_answer.finding(
        side="bot",
        parts=[Part(start, end, 1.0) for start, end, *_ in cut],
        severity=graded(len(cut), often.value, 2 * often.value),
        value=len(cut),
        threshold=often,
        measurement=f"the bot began {len(cut)} times before the caller had finished, and fell silent "
        "each time",
        cause=cause,
        remedy=remedy,
        listen="caller_sent",
    )


def _why_early(pauses: Sequence[float]) -> tuple[str, str]:
    """Cause and remedy, by the caller's pauses before the bot began: 0 where there was none."""
    taken, amid = [pause for pause in pauses if pause], pauses.count(0.0)
    causes, remedies = list[str](), list[str]()
    if taken:
        causes.append(
            f"The caller paused for {max(taken):.1f} s in mid-sentence, which was taken for the end of "
            "the turn."
        )
        remedies.append(
            "Lengthen VADParams.stop_secs, or let a turn analyzer (smart turn) decide; let the bot yield "
            "at once when the caller goes on."
        )
    if amid:
        where = f" {amid} of these times" if taken else ""
        causes.append(
            f"The caller was speaking{where} and made no pause: the bot did not wait for one, or went on "
            "with what it had been interrupted in."
        )
        remedies.append(
            "Look for what makes the bot speak without a turn of its own: a text or audio that was queued "
            "behind the interruption, a timer, an idle prompt; and whether the caller is listened to at "
            "that time."
        )
    return " ".join(causes), " ".join(remedies)


def _early_answers(call: Call) -> Iterator[tuple[float, float, float, float]]:
    """Find where the bot began in a pause of the caller, or in the middle of the caller's words.

    Yields:
        Since when both talk, until when, the pause before the bot's first sound (0 for none), and for
        how long both talk; in seconds.
    """
    speech, clears = call.caller_speech, call.times_of("clear")
    for begins, ends in audible_runs(call, clears).tolist():
        amid = speech[(speech[:, 0] < begins) & (speech[:, 1] > begins)]
        if len(amid) and _was_noticed(float(amid[0, 0]), begins, clears):
            end = min(float(amid[0, 1]), ends)
            if sureness(call.caller_sounds, float(amid[0, 0]), end) >= SURE:
                yield begins, end, 0.0, end - begins
            continue
        before = speech[speech[:, 1] <= begins + 0.05]
        after = speech[speech[:, 0] > begins - 0.3]
        if not len(before) or not len(after):
            continue
        paused, resumed = float(before[-1, 1]), float(after[0, 0])
        if resumed - paused > MID_SENTENCE or resumed - begins > NOT_A_REACTION:
            continue
        # The caller's sentence goes on over the pauses inside it.
        going_on = grouped(lasting(after.tolist()), TURN_PAUSE)
        _, finished = hull(next(iter(going_on)))
        start, end = max(resumed, begins), min(finished, ends)
        if end <= start or sureness(call.caller_sounds, resumed, end) < SURE:
            continue
        yield start, end, begins - paused, end - start


def _was_noticed(onset: float, begins: float, clears: NDArray[np.float64]) -> bool:
    """Whether the caller was heard before the bot began: for long, or an interruption shows it."""
    return begins - onset > NOT_A_REACTION or _first(clears, onset, begins) is not None


@detector(
    title="False interruption",
    harm=80,
    symptoms=(Symptom(20, "interrupted by noise and murmurs", "`false_barge_in`"),),
    measured="InterruptionFrames while the bot is heard, with no speech of the caller in the 1.5 "
    "s before; what else was heard of the caller in that time is named.",
    change="raise VADParams.confidence, min_volume or start_secs, or wait for a transcribed word.",
    accuracy=(Accuracy("cut_by_nobody", 0.95, span_ms=0.0),),
)
def false_barge_in(call: Call) -> Iterator[Finding]:
    """The bot was interrupted and the caller had said nothing."""
    runs = audible_runs(call, call.times_of("clear"))
    echoes = list(expected_echoes(call.echoes, call.bot_speech))
    reasons: dict[str, list[float]] = {}
    for noticed in call.times_of("interruption").tolist():
        cut = ((runs[:, 0] < noticed) & (runs[:, 1] > noticed - 0.1)).any()
        heard = _heard(call.caller_sounds, noticed - BEFORE, noticed + AFTER)
        echoed = any(e.start < noticed < e.end + e.delay_ms / 1000 for e in echoes)
        voiced = not echoed and any(sound.kind == "voice" for sound in heard)
        if cut and not voiced and not spoken(call.caller_speech, noticed - BEFORE, noticed + AFTER):
            what = "echo" if echoed else _unknown(call, heard) or _named(heard)
            reasons.setdefault(what, []).append(noticed)
    for what, times in reasons.items():
        is_key, unsure = what.startswith("key "), what in ("pitch", "cry")
        cause, remedy = _FALSE.get("key" if is_key else what, _FALSE["noise"])
        often = "once" if len(times) == 1 else f"{len(times)} times"
        by = f" by {_SAID.get(what, what)}" if what else ""
        yield false_barge_in.finding(
            side="bot",
            parts=[Part(time, time, 1.0) for time in times],
            severity="info" if is_key or unsure else graded(len(times), 1, 3),
            value=len(times),
            threshold=Threshold(1, "interruptions"),
            measurement=f"the bot was cut off {often}{by}"
            + ("" if unsure else " though the caller had said nothing"),
            cause=cause,
            remedy=remedy,
            listen="caller_sent",
            confidence=POSSIBLE if unsure else 1.0,
        )


_SAID: Final = {
    "echo": "its own echo",
    "cry": "a sound",
    "modem": "a fax or a modem",
    "other": "a noise",
    "pitch": "something with a pitch",
    "tone": "a tone",
}
_HARDER: Final = (
    "Raise VADParams.confidence, min_volume or start_secs, or let an interruption wait for a "
    "transcribed word; see echo and noise among the findings."
)
_FALSE: Final = {
    "key": (
        "The tone of a key was taken for speech.",
        "If keys shall not interrupt, let an interruption wait for a transcribed word; keys are "
        "posted to the webhook of <Gather> and <StartGather>.",
    ),
    "echo": ("The bot's own voice came back and was taken for speech.", _HARDER),
    "": (
        "Nothing was heard of the caller: something in the pipeline asked for the interruption.",
        "Look for what pushes InterruptionFrame: an idle prompt, a tool, a processor of your own.",
    ),
    "pitch": (
        "What was heard of the caller has the pitch of a voice, and is not known as one: a shout, a cry, "
        "a laugh, an animal.",
        "Listen to it. " + _HARDER,
    ),
    "cry": (
        "What was heard of the caller lasts as long as a word, and is not known as a voice: a shout, a cough, "
        "a laugh, a rustle.",
        "Listen to it. " + _HARDER,
    ),
    "noise": ("What was heard of the caller was no voice, and was taken for speech.", _HARDER),
}


def _heard(sounds: Sequence[Sound], start: float, end: float) -> list[Sound]:
    """What was heard between two times, and the voice that it led up to, by whatever sounds.

    A hiss begins many words, a hum or a held vowel others.
    """
    found = [sound for sound in sounds if sound.start < end and sound.end > start]
    last = max((sound.end for sound in found), default=start)
    for sound in sounds:
        if end <= sound.start < last + LEADS_UP:
            last = max(last, sound.end)
            if sound.kind == "voice":
                return [*found, sound]
    return found


def _unknown(call: Call, heard: Sequence[Sound]) -> str:
    """What was heard last, if some voice may be in it: it has a pitch, or lasts as a word does.

    A vowel or a growl may be a tone or two for as long as a syllable lasts, a vowel that is held may be
    music; a key is known, and what else a telephone beeps or plays lasts longer.
    """
    sound = heard[-1] if heard else None
    if sound is None or sound.detail.startswith("key "):
        return ""
    if sound.kind in _LONGER_SECS:
        return "pitch" if sound.duration < _LONGER_SECS[sound.kind] else ""
    if sound.kind != "other":
        return ""
    _, voiced = median_pitch(call.caller_sent.span(sound.start, sound.end))
    if voiced > max(_VOICED_SECS, _VOICED * sound.duration):
        return "pitch"
    return "cry" if sound.duration > _VOICED_SECS else ""


def _named(heard: Sequence[Sound]) -> str:
    """What was heard last: a key by its name, a sound by its kind, or nothing."""
    if not heard:
        return ""
    last = heard[-1]
    return last.detail if last.detail.startswith("key ") else last.kind


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
            remedy=f"Let InterruptionFrame reach the serializer: {call.carrier.serializer} sends "
            "clear for it. A processor of your own must push it on.",
            listen="caller_heard",
        )


def audible_runs(call: Call, clears: NDArray[np.float64]) -> Intervals:
    """Where the bot is heard to speak, pauses inside sentences bridged but not a ``clear``."""
    level = levels(call.caller_heard)
    spoken_in, about = np.zeros((2, len(level)), bool)
    for start, end in call.bot_speech.tolist():
        spoken_in[round(start / HOP) : round(end / HOP)] = True
        about[max(0, round((start - BRIDGED) / HOP)) : round((end + BRIDGED) / HOP)] = True
    if call.ambience is not None:  # which goes on when the bot has finished
        loud = spoken_in & (level > max(AUDIBLE_DBOV, call.ambience + OVER_AMBIENCE_DB))
    else:  # and so may a background that is heard too rarely to be known for one
        voices = [sound.level for sound in call.bot_sounds if sound.kind == "voice"]
        behind = float(np.median(voices)) - BEHIND_DB if voices else AUDIBLE_DBOV
        loud = (level > AUDIBLE_DBOV) & (about | (level > behind))
    runs: list[list[float]] = []
    for start, end in runs_of(loud, HOP).tolist():
        cleared = runs and ((clears >= runs[-1][1] - 2 * HOP) & (clears <= start)).any()
        if runs and start - runs[-1][1] < BRIDGED and not cleared:
            runs[-1][1] = end
        elif end - start >= CLICK or spoken(call.bot_speech, start, end):
            runs.append([start, end])
    return as_intervals(runs)


def spoken(speech: Intervals, start: float, end: float) -> bool:
    """Whether any of it lies between two times."""
    return bool(((speech[:, 0] < end) & (speech[:, 1] > start)).any())


def _first(times: NDArray[np.float64], start: float, end: float) -> float | None:
    inside = times[(times >= start) & (times <= end)]
    return float(inside[0]) if len(inside) else None
