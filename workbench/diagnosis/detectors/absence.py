"""Faults in which one side is not there: what was not sent, or was nothing but digital silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call import Call, FrameRecord
from workbench.call.unplayed import audible_secs, not_passed
from workbench.diagnosis.detector import Symptom, Threshold, detector
from workbench.diagnosis.finding import Finding, Part
from workbench.metrics.speech import HOP, levels, runs_of

__all__ = ["one_way", "unsent"]

#: What is digital silence, in dBov: not one sample of a hop is more than half a step of G.711.
DIGITAL: Final = -95.0
#: A line on which more of the rest is digital silence than this share pauses like that.
GATED: Final = 0.02
#: So many pauses, most of which begin in the line's quiet, are a sender that leaves silence out.
SUPPRESSED: Final = 3
MOST: Final = 0.8
#: The line's quiet lies so far below the loudest tenth of what it carries, in dB.
QUIET_DB: Final = 25.0
#: The sound of the bot that counts: fainter is the noise of a pause.
SOUND_DBOV: Final = -60.0
#: A bot that pauses for less, in seconds, is going on with what it says: an EndFrame waits for a
#: synthesis that was asked, and for its timeout if it gives nothing.
GOES_ON: Final = 5.0
#: The last of the audio before a pause: in it silence suppression has seen that there is none.
JUST_BEFORE: Final = 0.060


@detector(
    title="One-way audio",
    harm=220,
    symptoms=(Symptom(23, "one side is not heard", "`one_way`"),),
    measured="of the caller: no message, none any more, or none for a while although no number is "
    "missing; or digital silence on a line that has noise otherwise. Of the bot: no message "
    "at all, none with any sound (above -60 dBov), or none for sound that was given to the "
    "serializer.",
    thresholds=(Threshold(3.0, "s", 'Nobody says anything for so long without a "hello?".'),),
    change='check tracks="inbound" and mode="bidirectional" in the BXML; check audio_out_enabled '
    "and the credentials of the synthesis.",
    limits="a line that pauses with digital silence, or sends nothing in its pauses, is taken to "
    "be quiet.",
    explains=(
        "bot:dead_air",
        "bot:slow_response",
        "bot:false_barge_in",
        "late_start",
        "jitter",
        "wrong_rate",
        "audio_lost",
    ),
)
def one_way(call: Call) -> Iterator[Finding]:
    """One side is not there, for a while or at all, while the call is up."""
    if call.duration < one_way.threshold:
        return
    whole = (Part(0.0, call.duration, call.duration),)
    if not len(call.inbound):
        yield _caller(
            whole,
            "no audio arrived from the caller",
            "The stream carries no inbound track, or the media never left the carrier.",
            call.carrier.advice.both_ways,
        )
    elif call.caller_sent.level < -80:
        yield _caller(
            whole,
            f"the caller's audio is digital silence ({call.caller_sent.level:.0f} dBov)",
            "The caller is muted, or the carrier sends filler instead of media.",
            f"Call again from another telephone; if it stays silent, {call.carrier.advice.report}.",
        )
    else:
        yield from _caller_away(call)
    yield from _bot_away(call)


def _caller(parts: tuple[Part, ...], measurement: str, cause: str, remedy: str) -> Finding:
    secs = sum(part.value for part in parts)
    return one_way.finding(
        side="caller",
        parts=parts,
        severity="error",
        value=secs,
        measurement=measurement,
        cause=cause,
        remedy=remedy,
        listen="caller_sent",
    )


# -- the caller ------------------------------------------------------------------------------------


def _caller_away(call: Call) -> Iterator[Finding]:
    """Stretches of a call in which the caller's side was not there."""
    level = levels(call.caller_sent)
    there = _covered(call, len(level))
    if not there.any():
        return
    first = float(call.inbound.start.min())
    last = float((call.inbound.start + call.inbound.duration).max())
    pauses = [(spell.start, spell.end) for spell in call.inbound.spells_of("paused")]
    pauses = [(0.0, first), *pauses] if first > 0 else pauses
    is_quiet = _leaves_silence_out(call, level, there)
    away = _lasting(pauses)
    if away and not is_quiet:
        yield _caller(
            away,
            f"nothing was sent of the caller for {_secs(away)}, and no number is missing",
            "What sends the caller's audio stood still: the carrier, a bridge, or a caller who "
            "was put on hold there.",
            f"Nothing in the bot causes it; {call.carrier.advice.report} and these times.",
        )
    ended = _lasting([(last, call.duration)])
    if ended and not is_quiet and not _winds_up(call, last):
        yield _caller(
            ended,
            f"the caller's media ends at {last:.0f} of {call.duration:.0f} s",
            "The far end went on with the call and sent no more audio: the stream of media died, "
            "or the caller's side was let go.",
            f"Nothing in the bot causes it; {call.carrier.advice.report} and this time. Let the bot "
            "end a call of which nothing arrives any more.",
        )
    silent = _lasting(_digital(level, there))
    if silent:
        yield _caller(
            silent,
            f"the caller's audio is digital silence for {_secs(silent)}, on a line that has "
            "noise otherwise",
            "The caller was muted, or the carrier sent filler instead of media.",
            f"Nothing in the bot causes it; if nobody pressed mute, {call.carrier.advice.report} and "
            "these times.",
        )


def _winds_up(call: Call, since: float) -> bool:
    """Whether the bot only said the rest of what it had to say before it ended the call.

    Pipecat's input stops to read as soon as an EndFrame passes it, its output ends when all before
    that frame was sent, and a serializer may hang up only when the far end has played it, which takes
    as long as the hang-up takes: what the caller sends meanwhile is in no capture.
    """
    ends = call.times_of("end")
    if call.ending.by != "bot" or not len(ends):
        return False
    sent = call.outbound.time
    played = np.fmax.accumulate(np.fmax(sent, call.playout.end))
    rest = sent > since
    done = np.r_[max([since, *played[~rest][-1:]]), played[rest]]
    return bool((np.r_[sent[rest], max(since, ends[-1])] - done).max() < GOES_ON)


def _lasting(spans: list[tuple[float, float]]) -> tuple[Part, ...]:
    spans = [span for span in spans if span[1] - span[0] >= one_way.threshold]
    return tuple(Part(start, end, end - start) for start, end in spans)


def _secs(parts: tuple[Part, ...]) -> str:
    secs = f"{sum(part.value for part in parts):.1f} s"
    return secs if len(parts) == 1 else f"{secs} in {len(parts)} stretches"


def _leaves_silence_out(call: Call, level: NDArray[np.float64], there: NDArray[np.bool_]) -> bool:
    """Whether the caller's sender pauses where the line is quiet, again and again."""
    spells = call.inbound.spells_of("paused")
    quiet = float(np.percentile(level[there], 90)) - QUIET_DB
    size = round(JUST_BEFORE / HOP)
    ends = [round(spell.start / HOP) for spell in spells]
    calm = [float(level[max(0, end - size) : end].max(initial=-100.0)) < quiet for end in ends]
    return len(spells) >= SUPPRESSED and sum(calm) >= MOST * len(spells)


def _digital(level: NDArray[np.float64], there: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Long runs of digital silence on a line whose other pauses are none."""
    silent = (level <= DIGITAL) & there
    runs = [(start, end) for start, end in runs_of(silent, HOP).tolist()]
    long = [run for run in runs if run[1] - run[0] >= one_way.threshold]
    rest = there.copy()
    for start, end in long:
        rest[round(start / HOP) : round(end / HOP)] = False
    if not rest.any() or float(np.mean(silent[rest])) > GATED:
        return []
    return long


def _covered(call: Call, hops: int) -> NDArray[np.bool_]:
    """Which hops of the caller's track, by their middle, hold audio that arrived."""
    start, end = call.inbound.start, call.inbound.start + call.inbound.duration
    first, last = (np.clip(np.ceil(at / HOP - 0.5), 0, hops).astype(int) for at in (start, end))
    edges = np.bincount(first, minlength=hops + 1) - np.bincount(last, minlength=hops + 1)
    return np.asarray(np.cumsum(edges)[:hops] > 0)


# -- the bot ---------------------------------------------------------------------------------------


def _bot_away(call: Call) -> Iterator[Finding]:
    """Nothing was sent of the bot, at all or of what the serializer was given for a while."""
    parts = unsent(call)
    secs = sum(part.value for part in parts)
    made = float(call.audio_out.duration.sum())
    measurement = f"{secs:.1f} s of the bot's sound were never sent"
    cause = f"The pipeline made {made:.1f} s of audio and the serializer sent nothing of it here."
    remedy = "Look into the capture's /log: the serializer says why it sends nothing."
    if not parts and len(call.outbound) and not _is_heard(call):
        parts, secs = (Part(0.0, call.duration, call.duration),), call.duration
        measurement = "the bot sent nothing but silence"
        cause, remedy = _SILENT[audible_secs(call.bot_said, SOUND_DBOV) > 0]
    if not len(call.outbound):
        parts, secs = (Part(0.0, call.duration, call.duration),), call.duration
        measurement = "the bot sent no audio"
        cause = f"The pipeline made {made:.1f} s of audio and none was sent."
        if not made:
            cause = "The pipeline gave the serializer no audio."
            remedy = (
                "Check that audio_out_enabled=True is set in the transport's parameters, that the "
                "speech synthesis has credentials, and that something makes the bot speak first."
            )
    if parts:
        yield one_way.finding(
            side="bot",
            parts=parts,
            severity="error",
            value=secs,
            measurement=measurement,
            cause=cause,
            remedy=remedy,
            listen="bot_said" if made else "caller_heard",
        )


#: Cause and remedy of a bot of which only silence was sent, by whether the pipeline gave any sound.
_SILENT: Final = {
    False: (
        "All that the pipeline gave the serializer is silence: nothing was synthesised, or the synthesis "
        "gave zeros. Pipecat itself sends two seconds of zeros at the end.",
        "Look into the bot's log for what the speech synthesis says: credentials, the voice, a text "
        "that is empty; see that something makes the bot speak.",
    ),
    True: (
        "The pipeline gave the serializer sound, and what was sent is silent.",
        "Look into the capture's /log; play bot_said and bot_sent one after the other.",
    ),
}


def _is_heard(call: Call) -> bool:
    """Whether there is any sound at all in what was sent."""
    return bool(levels(call.bot_sent).max(initial=-np.inf) > SOUND_DBOV)


def unsent(call: Call) -> tuple[Part, ...]:
    """Where the bot's frames were given to the serializer and nothing went out for long.

    Returns:
        Parts whose value is how many seconds of sound that is.
    """
    frames = call.audio_out.taken(call.audio_out.time < call.duration)
    time, duration = frames.time, frames.duration
    parts = []
    for run in not_passed(time, duration, call.outbound.time, one_way.threshold):
        sound = _sound(frames.taken(run))
        if sound >= one_way.threshold:
            start, last = max(0.0, float(time[run[0]])), run[-1]
            end = min(float(time[last] + duration[last]), call.duration)
            parts.append(Part(start, max(start, end), sound))
    return tuple(parts)


def _sound(frames: Iterable[FrameRecord]) -> float:
    """Seconds of sound in frames, with the pauses between its words."""
    rates = groupby(frames, key=lambda frame: frame.sample_rate)
    pieces = [Audio.from_pcm(b"".join(frame.mono for frame in some), rate) for rate, some in rates]
    return sum(audible_secs(piece, SOUND_DBOV) for piece in pieces)
