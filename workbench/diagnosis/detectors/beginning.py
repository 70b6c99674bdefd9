"""Faults of the beginning of a call: when either side is first heard, and streams that begin again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from workbench.call import Call
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.stages import because
from workbench.diagnosis.finding import Finding, Part, graded
from workbench.metrics.speech import HOP, levels

__all__ = ["late_start", "restart"]

START: Final = Threshold(
    3.0, "s", 'People who hear nothing for so long after picking up say "hello?".'
)
BACKLOG: Final = Threshold(
    0.5, "s", "Audio that piled up before it was read. A clean start has one message, 20 ms."
)
#: A "hello?" of somebody who waits comes no sooner, in seconds.
IMPATIENT: Final = 2.0
#: And it is not longer, in seconds.
HELLO: Final = 1.5
#: Numbers that begin anew so close to a start belong to it, in seconds.
TOGETHER: Final = 1.0


@detector(
    title="Late start",
    harm=120,
    symptoms=(Symptom(24, "the first words are lost, silence at the start", "`late_start`"),),
    measured="time to the first sound above -50 dBov, where the caller neither speaks first nor is "
    "heard for long (a greeting, a telephone that rings); and how much of the caller's audio had "
    "piled up when it was first read.",
    thresholds=(START, BACKLOG),
    change="connect services before the call is answered, and queue a fixed greeting.",
    accuracy=(
        Accuracy("late", 1.0, value_error=0.0, span_ms=0.0),
        Accuracy("piled_up", 1.0, value_error=0.0),
    ),
    explains=("bot:dead_air", "bot:slow_response"),
)
def late_start(call: Call) -> Iterator[Finding]:
    """The caller picks up and hears nothing, or says something that nobody reads."""
    first = np.flatnonzero(levels(call.caller_heard) > -50)
    if len(first) and (secs := float(first[0] * HOP)) >= START.value and _waited(call, secs):
        sent = float(call.outbound.time[0])
        cause, remedy = because(
            call.stages(0.0, secs),
            f"The first audio was sent {sent:.1f} s after start: the pipeline was still "
            "connecting to its services, or the greeting waits for the model.",
            "Connect services before the call is answered, and queue a fixed greeting on "
            "on_client_connected.",
        )
        yield late_start.finding(
            side="bot",
            parts=(Part(0.0, secs, secs),),
            severity=graded(secs, START.value, 2 * START.value),
            value=secs,
            measurement=f"the caller waited {secs:.1f} s for the first word",
            cause=cause,
            remedy=remedy,
            listen="caller_heard",
        )
    early = call.begun - float(call.inbound.start.min(initial=call.begun))
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


def _waited(call: Call, secs: float) -> bool:
    """Whether the caller waited for the bot all that time.

    Whoever speaks first is not waiting: a bot may mean to let the caller begin. Nor is a voicemail's
    greeting, or a telephone that still rings.
    """
    sounds = [sound for sound in call.caller_sounds if sound.start < secs]
    heard = sum(min(sound.end, secs) - sound.start for sound in sounds)
    asked = min((sound.start for sound in sounds if sound.kind == "voice"), default=secs)
    return asked > IMPATIENT and heard < HELLO


@detector(
    title="Stream started again",
    harm=130,
    measured="start messages after the first; and the caller's numbers that begin anew, with other "
    "audio.",
    change="give each stream a WebSocket of its own.",
    explains=("caller:jitter", "caller:one_way", "bot:dead_air", "caller:duplicate"),
)
def restart(call: Call) -> Iterator[Finding]:
    """A second stream over the same WebSocket: the bot may hear nothing of it."""
    starts = call.times_of("start")[1:]
    anew = [spell.start for spell in call.inbound.spells_of("restart")]
    # Numbers that begin anew right behind a start are that start's.
    others = [time for time in anew if not np.any(np.abs(starts - time) < TOGETHER)]
    times = sorted(min(max(0.0, time), call.duration) for time in [*starts.tolist(), *others])
    if not times:
        return
    arrived = float(call.inbound.duration[call.inbound.time >= times[0]].sum())
    heard = float(call.frames_in.duration[call.frames_in.time >= times[0]].sum())
    unheard = arrived - heard > BACKLOG.value
    yield restart.finding(
        side=None,
        parts=[Part(time, time, 1.0) for time in times],
        severity="warning" if unheard else "info",
        value=len(times),
        threshold=Threshold(1, "times"),
        measurement=f"the stream started again at {times[0]:.1f} s"
        + (f", and {arrived - heard:.1f} s of the caller were not read since" if unheard else ""),
        cause=f"{call.carrier} opened a further stream over the same WebSocket."
        if len(starts)
        else "What numbers the caller's messages began anew: a media server that was replaced, or "
        "a bridge that connected again.",
        remedy=call.carrier.advice.other_streams,
        listen="caller_sent",
    )
