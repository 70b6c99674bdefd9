"""Faults of the beginning and the end of a call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from workbench.call import Call
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.finding import Finding, Part, graded
from workbench.metrics.speech import HOP, levels

__all__ = ["cut_goodbye", "early_end", "hang_up_unconfirmed", "late_start", "slow_shutdown"]

START: Final = Threshold(
    3.0, "s", 'People who hear nothing for so long after picking up say "hello?".'
)
BACKLOG: Final = Threshold(
    0.5, "s", "Audio that piled up before it was read. A clean start has one message, 20 ms."
)


@detector(
    title="Late start",
    harm=120,
    symptoms=(Symptom(24, "the first words are lost, silence at the start", "`late_start`"),),
    measured="time to the first sound above -50 dBov; and how much of the caller's audio had "
    "piled up when it was first read.",
    thresholds=(START, BACKLOG),
    change="connect services before the call is answered, and queue a fixed greeting.",
    accuracy=(
        Accuracy("late", 1.0, value_error=0.0, span_ms=0.0),
        Accuracy("piled_up", 1.0, value_error=0.0),
    ),
    explains=("dead_air", "slow_response"),
)
def late_start(call: Call) -> Iterator[Finding]:
    """The caller picks up and hears nothing, or says something that nobody reads."""
    first = np.flatnonzero(levels(call.caller_heard) > -50)
    spoken = float(call.caller_speech[0, 0]) if len(call.caller_speech) else np.inf
    if len(first) and START.value <= (secs := float(first[0] * HOP)) < spoken + START.value:
        sent = float(call.outbound.time[0])
        yield late_start.finding(
            side="bot",
            parts=(Part(0.0, secs, secs),),
            severity=graded(secs, START.value, 2 * START.value),
            value=secs,
            measurement=f"the caller waited {secs:.1f} s for the first word",
            cause=f"The first audio was sent {sent:.1f} s after start: the pipeline was still "
            "connecting to its services, or the greeting waits for the model.",
            remedy="Connect services before the call is answered, and queue a fixed greeting on "
            "on_client_connected.",
            listen="caller_heard",
        )
    early = -float(call.inbound.start.min(initial=0.0))
    if early >= BACKLOG.value:
        yield late_start.finding(
            side="caller",
            parts=(Part(0.0, float(call.inbound.time[0]), early),),
            severity=graded(early, BACKLOG.value, 3),
            value=early,
            threshold=BACKLOG,
            measurement=f"{early:.1f} s of the caller had piled up before it was read",
            cause="The WebSocket was accepted long before the pipeline began to read from it.",
            remedy="Accept the WebSocket when the services are ready, or start the transport "
            "first.",
            listen="caller_sent",
        )


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
    measured="audio in the far end's queue, by the model, when stop came after the bot had ended "
    "the call.",
    thresholds=(
        Threshold(
            200.0,
            "ms",
            "Unplayed audio that a hang-up throws away; the last 100 ms of a voice is its fading.",
        ),
    ),
    change="push the EndFrame after the last audio and let it wait for what is queued.",
    accuracy=(Accuracy("hung_up", 1.0, value_error=0.0, span_ms=0.0),),
)
def cut_goodbye(call: Call) -> Iterator[Finding]:
    """The bot hangs up before the caller has heard all of its last sentence."""
    stop = call.stopped
    ended = [e.time for e in call.events if e.kind in ("end", "hang_up")]
    if stop is None or not ended or ended[0] > stop:
        return
    # What was queued when the stream stopped, and not thrown away by a clear before.
    last_clear = float(call.times_of("clear").max(initial=-np.inf))
    playout = call.playout
    late = (playout.time >= last_clear) & (playout.time <= stop)
    unheard_ms = 1000 * float((playout.duration - playout.heard)[late].sum())
    if unheard_ms < cut_goodbye.threshold:
        return
    yield cut_goodbye.finding(
        side="bot",
        parts=(Part(stop, stop + unheard_ms / 1000, unheard_ms),),
        severity=graded(unheard_ms, 200, 1000),
        value=unheard_ms,
        measurement=f"the call ended {unheard_ms:.0f} ms before the caller had heard all that was "
        "said",
        cause="The call was hung up while audio was still in the far end's queue.",
        remedy="Push the EndFrame after the last audio, and let it wait for what is still queued; "
        "CancelFrame ends at once.",
        listen="bot_sent",
    )


@detector(
    title="Hang-up not confirmed",
    measured="a hang-up that the log calls failed; or an end of the bot, with auto_hang_up, that "
    "neither a stop nor a confirmed hang-up follows.",
    change="check client_id, client_secret, account_id and call_id.",
    limits="whether the call is really still up only Bandwidth's Voice API can tell.",
)
def hang_up_unconfirmed(call: Call) -> Iterator[Finding]:
    """Nothing says that the call is over: it may still be up, and billed."""
    failed = [event for event in call.events if event.kind == "hang_up_failed"]
    done = any(event.kind == "hang_up" for event in call.events)
    ended = [event.time for event in call.events if event.kind in ("end", "cancel")]
    silent = (
        ended
        and not done
        and not failed
        and call.stopped is None
        and call.finished
        and call.params.get("auto_hang_up") is True
    )
    if done or not (failed or silent):
        return
    time = failed[-1].time if failed else ended[-1]
    attempts = float(max(1, len(failed)))
    yield hang_up_unconfirmed.finding(
        side=None,
        parts=(Part(time, max(time, call.duration), attempts),),
        severity="error" if failed else "warning",
        value=attempts,
        threshold=Threshold(1, "attempts"),
        measurement=failed[-1].text
        if failed
        else "the bot ended the call and no stop message followed",
        cause="The Voice API refused the hang-up or could not be reached."
        if failed
        else "The hang-up was not confirmed by anything in the capture.",
        remedy="Check client_id, client_secret, account_id and call_id, and that the credentials "
        "may use "
        'the Voice API. With <StopStream wait="true"/> after <StartStream>, instead of <Pause>, '
        "the call also ends when the WebSocket is closed.",
    )


@detector(
    title="Stream ended early",
    harm=210,
    symptoms=(Symptom(27, "the call dies after some seconds", "`early_end`"),),
    measured="time to stop, where no EndFrame, CancelFrame or hang-up came before.",
    thresholds=(Threshold(3.0, "s", "Nobody calls for less."),),
    change='put <StopStream wait="true"/> after <StartStream>.',
)
def early_end(call: Call) -> Iterator[Finding]:
    """The stream stops as soon as it has begun, and the bot did not ask for it."""
    stop = call.stopped
    ended = [e.time for e in call.events if e.kind in ("end", "cancel", "hang_up")]
    if stop is None or stop >= early_end.threshold or any(time < stop for time in ended):
        return
    yield early_end.finding(
        side=None,
        parts=(Part(0.0, stop, stop),),
        severity="error",
        value=stop,
        measurement=f"the stream stopped after {stop:.1f} s",
        cause="<StartStream> does not block: at the end of the BXML the call is hung up.",
        remedy='Put <StopStream name="..." wait="true"/> after <StartStream>, with the same name.',
    )


@detector(
    title="Slow to hang up",
    symptoms=(Symptom(26, "ending takes ten seconds", "`slow_shutdown`"),),
    measured="from the EndFrame or the last sound played to stop.",
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
    stop = call.stopped
    ended = [e.time for e in call.events if e.kind in ("end", "cancel")]
    if stop is None or not ended or ended[0] >= stop:
        return
    last = max(ended[0], float(np.nanmax(call.playout.end, initial=-np.inf)))
    secs = stop - last
    if secs < slow_shutdown.threshold:
        return
    yield slow_shutdown.finding(
        side="bot",
        parts=(Part(last, stop, secs),),
        severity=graded(secs, slow_shutdown.threshold, 6 * slow_shutdown.threshold),
        value=secs,
        measurement=f"the call went on for {secs:.1f} s after the bot had ended",
        cause="The hang-up waited: a slow token endpoint, retries, or a service that does not "
        "shut down.",
        remedy="See the capture's /log for how long the hang-up took; share one VoiceAPI between "
        "calls so that its token is at hand.",
    )
