"""Faults of the beginning and the end of a call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from workbench.call import Call
from workbench.call.speech import HOP, levels
from workbench.diagnosis.finding import Finding, graded

__all__ = ["cut_goodbye", "early_end", "hang_up_unconfirmed", "late_start", "slow_shutdown"]

#: People who hear nothing for so long after picking up say "hello?".
START: Final = 3.0
#: Audio that piled up before it was read. A clean start has one message, 20 ms.
BACKLOG: Final = 0.5
#: Unplayed audio that a hang-up throws away; the last 100 ms of a voice is its fading.
UNPLAYED_MS: Final = 200.0
#: Nobody calls for less.
SHORTEST: Final = 3.0
#: From the last word of the bot to the end of the stream; a REST call takes half a second.
SHUTDOWN: Final = 5.0


def late_start(call: Call) -> Iterator[Finding]:
    """The caller picks up and hears nothing, or says something that nobody reads.

    Measured: time to the first sound above -50 dBov; and how much of the caller's audio had
    piled up when it was first read.
    Threshold: START s, BACKLOG s
    Change: connect services before the call is answered, and queue a fixed greeting.
    """
    first = np.flatnonzero(levels(call.caller_heard) > -50)
    spoken = float(call.caller_speech[0, 0]) if len(call.caller_speech) else np.inf
    if len(first) and START <= (secs := float(first[0] * HOP)) < spoken + START:
        sent = float(call.outbound.time[0])
        yield Finding(
            "late_start", "bot", (0.0, secs), graded(secs, START, 2 * START), secs, "s", START,
            f"the caller waited {secs:.1f} s for the first word",
            f"The first audio was sent {sent:.1f} s after start: the pipeline was still connecting "
            "to its services, or the greeting waits for the model.",
            "Connect services before the call is answered, and queue a fixed greeting on "
            "on_client_connected.",
            "caller_heard",
        )  # fmt: skip
    early = -float(call.inbound.start.min(initial=0.0))
    if early >= BACKLOG:
        yield Finding(
            "late_start", "caller", (0.0, float(call.inbound.time[0])), graded(early, BACKLOG, 3),
            early, "s", BACKLOG, f"{early:.1f} s of the caller had piled up before it was read",
            "The WebSocket was accepted long before the pipeline began to read from it.",
            "Accept the WebSocket when the services are ready, or start the transport first.",
            "caller_sent",
        )  # fmt: skip


def cut_goodbye(call: Call) -> Iterator[Finding]:
    """The bot hangs up before the caller has heard all of its last sentence.

    Measured: audio in the far end's queue, by the model, when stop came after the bot had ended
    the call.
    Threshold: UNPLAYED_MS ms
    Change: push the EndFrame after the last audio and let it wait for what is queued.
    """
    stop = call.stopped
    ended = [e.time for e in call.events if e.kind in ("end", "hang_up")]
    if stop is None or not ended or ended[0] > stop:
        return
    # What was queued when the stream stopped, and not thrown away by a clear before.
    last_clear = float(call.times_of("clear").max(initial=-np.inf))
    playout = call.playout
    late = (playout.time >= last_clear) & (playout.time <= stop)
    unheard_ms = 1000 * float((playout.duration - playout.heard)[late].sum())
    if unheard_ms < UNPLAYED_MS:
        return
    yield Finding(
        "cut_goodbye", "bot", (stop, stop + unheard_ms / 1000), graded(unheard_ms, 200, 1000),
        unheard_ms, "ms", UNPLAYED_MS,
        f"the call ended {unheard_ms:.0f} ms before the caller had heard all that was said",
        "The call was hung up while audio was still in the far end's queue.",
        "Push the EndFrame after the last audio, and let it wait for what is still queued; "
        "CancelFrame ends at once.",
        "bot_sent",
    )  # fmt: skip


def hang_up_unconfirmed(call: Call) -> Iterator[Finding]:
    """Nothing says that the call is over: it may still be up, and billed.

    Measured: a hang-up that the log calls failed; or an end of the bot, with auto_hang_up, that
    neither a stop nor a confirmed hang-up follows.
    Threshold: none, any
    Change: check client_id, client_secret, account_id and call_id.
    Limits: whether the call is really still up only Bandwidth's Voice API can tell.
    """
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
    yield Finding(
        "hang_up_unconfirmed", None, (time, max(time, call.duration)),
        "error" if failed else "warning", float(max(1, len(failed))), "attempts", 1,
        failed[-1].text if failed else "the bot ended the call and no stop message followed",
        "The Voice API refused the hang-up or could not be reached." if failed
        else "The hang-up was not confirmed by anything in the capture.",
        "Check client_id, client_secret, account_id and call_id, and that the credentials may use "
        "the Voice API. With <StopStream wait=\"true\"/> after <StartStream>, instead of <Pause>, "
        "the call also ends when the WebSocket is closed.",
    )  # fmt: skip


def early_end(call: Call) -> Iterator[Finding]:
    """The stream stops as soon as it has begun, and the bot did not ask for it.

    Measured: time to stop, where no EndFrame, CancelFrame or hang-up came before.
    Threshold: SHORTEST s
    Change: put <StopStream wait="true"/> after <StartStream>.
    """
    stop = call.stopped
    ended = [e.time for e in call.events if e.kind in ("end", "cancel", "hang_up")]
    if stop is None or stop >= SHORTEST or any(time < stop for time in ended):
        return
    yield Finding(
        "early_end", None, (0.0, stop), "error", stop, "s", SHORTEST,
        f"the stream stopped after {stop:.1f} s",
        "<StartStream> does not block: at the end of the BXML the call is hung up.",
        'Put <StopStream name="..." wait="true"/> after <StartStream>, with the same name.',
    )  # fmt: skip


def slow_shutdown(call: Call) -> Iterator[Finding]:
    """Long silence between the bot's end and the end of the call.

    Measured: from the EndFrame or the last sound played to stop.
    Threshold: SHUTDOWN s
    Change: share one VoiceAPI between calls, so that its token is at hand.
    """
    stop = call.stopped
    ended = [e.time for e in call.events if e.kind in ("end", "cancel")]
    if stop is None or not ended or ended[0] >= stop:
        return
    last = max(ended[0], float(np.nanmax(call.playout.end, initial=-np.inf)))
    secs = stop - last
    if secs < SHUTDOWN:
        return
    yield Finding(
        "slow_shutdown", "bot", (last, stop), graded(secs, SHUTDOWN, 6 * SHUTDOWN), secs, "s",
        SHUTDOWN, f"the call went on for {secs:.1f} s after the bot had ended",
        "The hang-up waited: a slow token endpoint, retries, or a service that does not shut down.",
        "See the capture's /log for how long the hang-up took; share one VoiceAPI between calls so "
        "that its token is at hand.",
    )  # fmt: skip
