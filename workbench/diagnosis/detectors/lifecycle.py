"""Faults of the end of a call: cut off, broken off, too early, too slow, or never confirmed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from workbench.audio import Audio
from workbench.call import Call
from workbench.call.unplayed import AUDIBLE_DBOV, unplayed_secs
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.finding import POSSIBLE, Finding, Part, Severity, graded
from workbench.metrics.speech import HOP, Intervals, levels

__all__ = [
    "broke_off",
    "cut_goodbye",
    "early_end",
    "hang_up_unconfirmed",
    "slow_shutdown",
]

#: Who spoke so shortly before the end had not finished: a pause between words is longer.
MID_WORD: Final = 0.15
#: Words that are over have a silence of so many seconds behind them.
STILL_SECS: Final = 0.1
#: The last 60 ms of a word, in hops, are so much fainter than its loud part, unless it was cut.
FADED_DB, LAST_HOPS = 10.0, 6


@detector(
    title="Goodbye cut off",
    harm=200,
    symptoms=(
        Symptom(
            25,
            "hung up before the goodbye, or never",
            "`cut_goodbye`, `hang_up_unconfirmed`, `dead_air`",
        ),
    ),
    measured="sound (above -50 dBov) in the far end's queue, by the model, when the call ended "
    "because the bot had asked for it, by stop or by a confirmed hang-up; or a CancelFrame as the "
    "last of all, while the bot gave the serializer sound.",
    thresholds=(
        Threshold(
            200.0,
            "ms",
            "Unplayed audio that a hang-up throws away; the last 100 ms of a voice is its fading.",
        ),
    ),
    change="push the EndFrame after the last audio and let it wait for what is queued "
    "(hang_up_after_secs); a CancelFrame waits for nothing.",
    limits="a CancelFrame is the bot's own, or that of a transport that found its socket closed: "
    "Pipecat's FastAPI transport (1.4 to 1.14) gives the serializer none then, its other WebSocket "
    "transport does.",
    accuracy=(Accuracy("hung_up", 1.0, value_error=0.0, span_ms=0.0),),
)
def cut_goodbye(call: Call) -> Iterator[Finding]:
    """The bot hangs up before the caller has heard all of its last sentence."""
    ending = call.ending
    if _cut_itself_off(call, _who_spoke(call, ending.time)):
        yield _cancelled_goodbye(call)
    if ending.by != "bot" or ending.how not in ("stop", "hang_up"):
        return
    unheard_ms = 1000 * _queued(call)
    if unheard_ms < cut_goodbye.threshold:
        return
    yield cut_goodbye.finding(
        side="bot",
        parts=(Part(ending.time, ending.time, unheard_ms),),
        severity=graded(unheard_ms, 200, 1000),
        value=unheard_ms,
        measurement=f"the call ended {unheard_ms:.0f} ms before the caller had heard all that was "
        "said",
        cause="The call was hung up while audio was still in the far end's queue.",
        remedy=call.carrier.advice.goodbye,
        listen="bot_sent",
    )


def _cancelled_goodbye(call: Call) -> Finding:
    """The bot was cancelled in mid-word."""
    time = call.ending.time
    return cut_goodbye.finding(
        side="bot",
        parts=(Part(time, time, 1.0),),
        severity="warning",
        value=1,
        threshold=Threshold(1, "times"),
        measurement="the bot cancelled its pipeline while it spoke",
        cause="A CancelFrame came in the middle of its words: what was not yet sent is thrown away. "
        "Only a transport other than FastAPIWebsocketTransport gives one because the socket is gone.",
        remedy=f"End with an EndFrame (task.stop_when_done()) and not with task.cancel(). "
        f"{call.carrier.advice.goodbye} If the bot did not cancel, look at what lies between "
        f"{call.carrier} and the bot.",
        listen="caller_heard",
        confidence=POSSIBLE,
    )


def _is_cancelled(call: Call) -> bool:
    """Whether a CancelFrame is the last of a call that neither stop nor hang-up ended."""
    ending = call.ending
    return ending.how == "socket" and bool((call.times_of("cancel") >= ending.time - 0.1).any())


def _cut_itself_off(call: Call, who: str) -> bool:
    """Whether the bot was cancelled while it spoke, and no hang-up found the call over already."""
    return "bot" in who and _is_cancelled(call) and not call.ending.by


def _queued(call: Call) -> float:
    """Seconds of sound that the far end still had queued at the ending, and threw away."""
    playout = call.playout
    last_clear = float(call.times_of("clear").max(initial=-np.inf))
    late = (playout.time >= last_clear) & (playout.time <= call.ending.time)
    return unplayed_secs(call.outbound, playout, np.flatnonzero(late))


@detector(
    title="Connection broke off",
    harm=205,
    measured="the last message, where neither a stop nor a hang-up of the bot ends the call and "
    "the pipeline went on to cancel; whether somebody was speaking, or the bot's sound was queued.",
    change="look at what lies between Bandwidth and the bot: proxies, their time limits, tunnels.",
    limits="where the serializer was given a CancelFrame while the bot spoke, it is `cut_goodbye`.",
    explains=("dead_air", "cut_goodbye", "hang_up_unconfirmed", "early_end"),
)
def broke_off(call: Call) -> Iterator[Finding]:
    """The WebSocket is gone in the middle of the call, and nobody had said goodbye."""
    ending = call.ending
    # A recording that was closed in mid-word had nothing more to record.
    is_open = ending.how == "open" and call.finished
    if not (ending.how == "socket" or is_open) or ending.by == "bot":
        return
    last = _last_message(call) if is_open else ending.time
    who = _who_spoke(call, last)
    if is_open and not who:
        return
    was_up = any(hang_up.outcome == "ended" for hang_up in call.hang_ups)
    if was_up and not who:
        return  # the bot's own quiet end
    if _cut_itself_off(call, who):
        return
    by_itself = _is_cancelled(call)
    if ending.by == "far end":
        cause = "The hang-up found the call over already: the caller may have hung up."
    elif was_up or by_itself:
        cause = (
            "The pipeline was cancelled: by the bot itself, or behind a transport that found the "
            "socket closed (FastAPIWebsocketTransport then gives the serializer no CancelFrame)."
        )
    else:
        cause = "The WebSocket was closed by something on the way, or by the far end."
    severity: Severity = "error" if who else "info"
    if by_itself and who:  # a bot may cut off the caller at its will
        severity = "warning" if "bot" in who else "info"
    yield broke_off.finding(
        side=None,
        parts=(Part(last, last, 1.0),),
        severity=severity,
        value=1,
        threshold=Threshold(1, "times"),
        measurement=f"the connection broke off while {who} spoke: no stop came, and nobody had "
        "hung up"
        if who
        else "the caller hung up: the connection was closed without a stop",
        cause=cause,
        remedy=f"Look at what lies between {call.carrier} and the bot at this time: a proxy with a limit "
        f"of time, a tunnel, a restart. {call.carrier.advice.closed}",
        listen="caller_heard",
        confidence=POSSIBLE if was_up or by_itself or not who or ending.by else 1.0,
    )


def _last_message(call: Call) -> float:
    """When the last audio went by, in either direction, and was over."""
    ends = [s.time[-1] + s.duration[-1] for s in (call.inbound, call.outbound) if len(s)]
    return min(call.duration, float(max(ends, default=call.duration)))


def _who_spoke(call: Call, last: float) -> str:
    """Who was in the middle of a word when the call ended, or had more to say; empty if nobody."""
    spoke = []
    if _is_cut(call.caller_speech, call.caller_sent, last):
        spoke.append("the caller")
    # However faint its last syllable is: who gives sound until the end had more to say.
    if _was_sending(call, last) and _reaches(call.bot_speech, last):
        spoke.append("the bot")
    if not spoke and 1000 * _queued(call) >= cut_goodbye.threshold:
        spoke = ["the bot"]
    return " and ".join(spoke)


def _was_sending(call: Call, last: float) -> bool:
    """Whether the bot gave the serializer sound until the end: its words were not over."""
    few = call.audio_out[-10:]
    late = [frame for frame in few if frame.sample_rate and frame.time > last - MID_WORD]
    if not late:
        return False
    rate = late[-1].sample_rate
    pcm = b"".join(frame.mono for frame in few if frame.sample_rate == rate)
    return Audio.from_pcm(pcm[-2 * round(STILL_SECS * rate) :], rate).level > AUDIBLE_DBOV


def _reaches(speech: Intervals, ending: float) -> bool:
    """Whether the last speech reaches to the end of the call."""
    return bool(len(speech) and speech[-1, 1] >= ending - MID_WORD)


def _is_cut(speech: Intervals, audio: Audio, ending: float) -> bool:
    """Whether the last speech reaches to the end of the call, and is still loud there.

    A word that was said to its end fades away.
    """
    if not _reaches(speech, ending):
        return False
    level = levels(audio.span(float(speech[-1, 0]), ending))
    return bool(len(level) and level[-LAST_HOPS:].max() > np.percentile(level, 90) - FADED_DB)


@detector(
    title="Hang-up not confirmed",
    measured="a hang-up that the log calls failed; or an end of the bot that neither a stop nor a "
    "confirmed hang-up follows.",
    change="check client_id, client_secret, account_id and call_id.",
    limits="whether the call is really still up only Bandwidth's Voice API can tell.",
)
def hang_up_unconfirmed(call: Call) -> Iterator[Finding]:
    """Nothing says that the call is over: it may still be up, and billed."""
    failed = [event for event in call.events if event.kind == "hang_up_failed"]
    ended = [event.time for event in call.events if event.kind in ("end", "cancel")]
    if any(event.kind == "hang_up" for event in call.events):
        return
    severity: Severity
    if failed:
        time, severity = failed[-1].time, "error"
        measurement = failed[-1].text
        api = "The Voice API" if call.carrier.is_ours else f"{call.carrier}'s API"
        cause = f"{api} refused the hang-up or could not be reached."
    elif not ended or call.stopped is not None or not call.finished:
        return
    elif call.params.get("auto_hang_up") is True:
        time, severity = ended[-1], "warning"
        measurement = "the bot ended the call and no stop message followed"
        cause = "The hang-up was not confirmed by anything in the capture."
    elif call.params.get("auto_hang_up") is False and call.ending.by == "bot":
        time, severity = ended[-1], "info"
        measurement = "nobody hung up: auto_hang_up is off"
        cause = "The serializer was told to leave the call alone."
    else:
        return
    attempts = float(max(1, len(failed)))
    yield hang_up_unconfirmed.finding(
        side=None,
        parts=(Part(min(time, call.duration), call.duration, attempts),),
        severity=severity,
        value=attempts,
        threshold=Threshold(1, "attempts"),
        measurement=measurement,
        cause=cause,
        remedy=call.carrier.advice.ends
        if severity == "info"
        else f"{call.carrier.advice.credentials} {call.carrier.advice.ends}",
    )


@detector(
    title="Stream ended early",
    harm=210,
    symptoms=(Symptom(27, "the call dies after some seconds", "`early_end`, `broke_off`"),),
    measured="time to stop, where no EndFrame, CancelFrame or hang-up came before.",
    thresholds=(Threshold(3.0, "s", "Nobody calls for less."),),
    change='put <StopStream wait="true"/> after <StartStream>.',
)
def early_end(call: Call) -> Iterator[Finding]:
    """The stream stops as soon as it has begun, and the bot did not ask for it."""
    ending = call.ending
    if ending.how != "stop" or ending.by == "bot" or ending.time >= early_end.threshold:
        return
    cause, remedy = call.carrier.advice.stays_up
    yield early_end.finding(
        side=None,
        parts=(Part(0.0, ending.time, ending.time),),
        severity="error",
        value=ending.time,
        measurement=f"the stream stopped after {ending.time:.1f} s",
        cause=cause,
        remedy=remedy,
    )


@detector(
    title="Slow to hang up",
    symptoms=(Symptom(26, "ending takes ten seconds", "`slow_shutdown`"),),
    measured="from the EndFrame or the last sound played to the end of the call.",
    thresholds=(
        Threshold(
            5.0,
            "s",
            "From the last word of the bot to the end of the stream; a REST call takes half a "
            "second.",
        ),
    ),
    change="share one VoiceAPI between calls, so that its token is at hand.",
    accuracy=(Accuracy("lingering", 1.0, value_error=0.0, span_ms=0.0),),
)
def slow_shutdown(call: Call) -> Iterator[Finding]:
    """Long silence between the bot's end and the end of the call."""
    ending = call.ending
    ended = [event.time for event in call.events if event.kind in ("end", "cancel")]
    if ending.by != "bot" or ending.how not in ("stop", "hang_up") or not ended:
        return
    heard = np.flatnonzero(levels(call.caller_heard) > AUDIBLE_DBOV)
    last = max(ended[0], HOP * float(heard[-1] + 1) if len(heard) else 0.0)
    secs = ending.time - last
    if secs < slow_shutdown.threshold:
        return
    cause, remedy = _what_waited(call, ended[0], secs)
    yield slow_shutdown.finding(
        side="bot",
        parts=(Part(last, ending.time, secs),),
        severity=graded(secs, slow_shutdown.threshold, 6 * slow_shutdown.threshold),
        value=secs,
        measurement=f"the call went on for {secs:.1f} s after the bot had ended",
        cause=cause,
        remedy=remedy,
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _what_waited(call: Call, ended: float, secs: float) -> tuple[str, str]:
    """Cause and remedy of an end that took ``secs``, as far as the hang-ups tell."""
    ours = call.carrier.is_ours
    took = [hang_up.took_ms / 1000 for hang_up in call.hang_ups if hang_up.took_ms is not None]
    if took and sum(took) >= secs / 2:
        return (
            f"The hang-up took {sum(took):.1f} s: a slow token endpoint, or retries.",
            "Share one VoiceAPI between calls so that its token is at hand; the capture's /log "
            "says what was tried.",
        )
    if took and call.hang_ups[0].time - took[0] - ended >= secs / 2:
        return (
            f"The hang-up itself took {sum(took):.1f} s; it began only "
            f"{call.hang_ups[0].time - took[0] - ended:.1f} s after the bot had ended.",
            "Look for what holds the serializer up at the end of the pipeline: a service that "
            "does not shut down.",
        )
    if took:
        return (
            f"The hang-up itself took {sum(took):.1f} s; what waited was the far end.",
            f"{_capital(call.carrier.advice.report)} and this time.",
        )
    if call.params.get("auto_hang_up") is False:
        return (
            "The serializer did not hang up, auto_hang_up is off: the call went on until somebody "
            "else ended it.",
            "Leave auto_hang_up at True, or hang up where the call is led from.",
        )
    return (
        "What waited is not in the capture: the hang-up, with a slow token endpoint or retries, "
        "or a service that does not shut down.",
        "See the capture's /log for how long the hang-up took"
        + ("; share one VoiceAPI between calls so that its token is at hand." if ours else "."),
    )
