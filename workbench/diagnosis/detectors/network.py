"""Faults of the way between Bandwidth and the serializer: what got lost, late, twice, or broken."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from workbench.call import Call
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.configuration import rtvi_leak
from workbench.diagnosis.finding import Finding, Part, counted, graded, grouped, lasting

__all__ = [
    "bad_message",
    "capture_dropped",
    "clock_drift",
    "duplicate",
    "jitter",
    "loop_lag",
    "own_track",
    "sequence_gap",
]

LATE_MS: Final = Threshold(
    100.0,
    "ms",
    "An adaptive jitter buffer grows to about this much; Twilio's warning stands at 30 ms of mean.",
)
#: Stalls that cover so much of the bot's turns, and they of them, are those turns.
ALIKE: Final = 0.8
#: Incidents closer together than this are one.
TOGETHER: Final = 5.0

UNBLOCK: Final = (
    "Find the blocking call (python -X dev names those over 100 ms) and move it to "
    "asyncio.to_thread; run one call per process; give the process a CPU of its own."
)
_WAY: Final = (
    "Run the bot closer to {}'s media servers, without a tunnel such as ngrok between, and on a "
    "machine whose CPU is not exhausted"
)


@detector(
    title="Caller audio missing",
    harm=10,
    measured="sequence numbers that never came, times the length of a message; gaps within five "
    "seconds are one finding.",
    thresholds=(
        Threshold(
            40.0,
            "ms",
            "Two messages. The usual concealment hides one (ITU-T G.711 appendix I fades after 10 "
            "ms and is silent after 60 ms); more takes a phoneme with it.",
        ),
    ),
    change="run the bot closer to Bandwidth's media servers, without a tunnel between, with CPU "
    "to spare.",
    accuracy=(Accuracy("lost", 1.0, value_error=0.0, span_ms=0.0),),
    explains=("dropout",),
)
def sequence_gap(call: Call) -> Iterator[Finding]:
    """Numbers that were skipped: audio of the caller that never arrived."""
    spells = call.inbound.spells_of("lost")
    step = call.inbound.step
    gaps = [Part(spell.start, spell.end, 1000 * spell.count * step) for spell in spells]
    for parts in grouped(gaps, TOGETHER):
        lost_ms = sum(part.value for part in parts)
        count = round(lost_ms / (1000 * step))
        if lost_ms < sequence_gap.threshold:
            continue
        yield sequence_gap.finding(
            side="caller",
            parts=parts,
            severity=graded(lost_ms, 100, 400),
            value=lost_ms,
            measurement=f"{lost_ms:.0f} ms of the caller are missing ({count} messages that were "
            "numbered and never arrived)",
            cause="Audio was lost before it reached the WebSocket, or the bot's process was too "
            "busy to read and the sender gave up; TCP itself loses nothing.",
            remedy=f"{_WAY.format(call.carrier)}. If it persists, {call.carrier.advice.report} and these "
            "times.",
            listen="caller_sent",
        )


@detector(
    title="Repeated messages",
    measured="messages that came again, with their number and their audio.",
    thresholds=(
        Threshold(2, "messages", "One message twice is a hiccup; more is a fault of a proxy."),
    ),
    change="take the proxy that repeats them out of the way.",
    accuracy=(Accuracy("doubled", 1.0, value_error=0.0, span_ms=0.0),),
    explains=("jitter",),
)
def duplicate(call: Call) -> Iterator[Finding]:
    """Messages that came twice: the recogniser hears syllables stutter."""
    spells = call.inbound.spells_of("replayed")
    again = [Part(spell.start, spell.end, float(spell.count)) for spell in spells]
    for parts in grouped(again, TOGETHER):
        count = round(sum(part.value for part in parts))
        if count < duplicate.threshold:
            continue
        yield duplicate.finding(
            side="caller",
            parts=parts,
            severity=graded(count, 5, 50),
            value=count,
            measurement=f"{count} messages of the caller arrived twice",
            cause="A proxy or a bridge in front of the bot sends again what it had sent already, "
            "as after a connection that it had to renew.",
            remedy="Take that proxy out of the way. The pipeline heard these syllables twice: a "
            "recogniser that stutters here is not to blame.",
            listen="bot_heard",
        )


@detector(
    title="Delivery stalled",
    measured="how much later than its place a message arrives, with a burst behind it that makes "
    "up for it; its place is told by its number and by the quickest messages after it.",
    thresholds=(LATE_MS,),
    change="as for sequence_gap; look for blocking calls in the pipeline.",
    limits="it is the jitter of delivery to the serializer, over TCP: one lost packet on the way "
    "shows as a stall here.",
    accuracy=(Accuracy("stalled", 1.0, value_error=0.0, span_ms=0.0),),
)
def jitter(call: Call) -> Iterator[Finding]:
    """Messages held up and then delivered in a burst: the bot reacts late."""
    late = lasting(stall for stall in _stalls(call) if not _stood_still(call, *stall))
    alternates = _alternates(call, late)
    for parts in (tuple(late),) if alternates else grouped(late, TOGETHER):
        worst = max(part.value for part in parts)
        yield jitter.finding(
            side="caller",
            parts=parts,
            severity=graded(worst, 2 * LATE_MS.value, 10 * LATE_MS.value),
            value=worst,
            measurement=f"the caller's audio stood still {_times(len(parts), worst)}, then came "
            "in a burst",
            cause="It stood still while the bot spoke, and only then: something lets one side "
            "through at a time (half-duplex)."
            if alternates
            else "The network held it up, or the bot's event loop was blocked and did not read.",
            remedy="Look for what reads the WebSocket only when it has nothing to send, in the "
            "pipeline or in a bridge before it. Nothing is lost, but nobody can interrupt the bot."
            if alternates
            else f"{_WAY.format(call.carrier)}. Look for blocking calls in the pipeline at this time (python -X dev, "
            "loop.slow_callback_duration). Nothing is lost, but the bot hears and answers later.",
        )


@detector(
    title="Bot process stalled",
    harm=160,
    symptoms=(
        Symptom(
            2,
            "the same, by the event loop",
            "`loop_lag`; `pacing`, where the rate is more than 3 % off",
        ),
        Symptom(
            29,
            "stutter when the CPU is busy",
            "`loop_lag`, `underrun`; who kept the CPU busy is not recorded",
        ),
    ),
    measured="a stall of the caller's messages during which the bot, in the middle of speaking, "
    "gave out no frame in three quarters of the time.",
    thresholds=(LATE_MS,),
    change="move the blocking call to asyncio.to_thread; run one call per process.",
    limits="while the bot is silent a blocked loop looks like jitter, and is called so.",
    accuracy=(Accuracy("blocked", 1.0, value_error=0.0, span_ms=0.0),),
    explains=("underrun", "caller:jitter"),
)
def loop_lag(call: Call) -> Iterator[Finding]:
    """Both directions stood still at once: not the network, the bot's own process."""
    late = [stall for stall in _stalls(call) if _stood_still(call, *stall)]
    for parts in grouped(lasting(late), TOGETHER):
        worst = max(part.value for part in parts)
        yield loop_lag.finding(
            side="bot",
            parts=parts,
            severity=graded(worst, LATE_MS.value, 5 * LATE_MS.value),
            value=worst,
            measurement=f"the bot's process stood still {_times(len(parts), worst)}: it neither "
            "read nor sent",
            cause="Something blocked the event loop, or the machine had no CPU left for it.",
            remedy=UNBLOCK,
            listen="caller_heard",
        )


def _times(count: int, worst_ms: float) -> str:
    how_long = f"for {worst_ms:.0f} ms"
    return how_long if count == 1 else f"{count} times, {how_long} at the longest"


def _stalls(call: Call) -> list[tuple[float, float]]:
    """Where the caller's audio was held up: from where it belongs to when it came.

    What had piled up before the call was read is a late start.
    """
    spells = call.inbound.spells_of("held")
    least = LATE_MS.value / 1000
    began = call.begun
    return [(max(began, spell.start), spell.end) for spell in spells if spell.start > began - least]


def _alternates(call: Call, stalls: Sequence[Part]) -> bool:
    """Whether the caller's audio stood still just when the bot had the turn, and only then."""
    bot = [(turn.start, turn.end) for turn in call.turns if turn.side == "bot"]
    if len(stalls) < 2 or not bot:
        return False
    both = sum(
        max(0.0, min(stall.end, end) - max(stall.start, start))
        for stall in stalls
        for start, end in bot
    )
    longest = max(sum(part.end - part.start for part in stalls), sum(e - s for s, e in bot))
    return both >= ALIKE * longest


def _stood_still(call: Call, start: float, end: float) -> bool:
    """Whether the bot, in the middle of speaking, gave out no frame in most of that time."""
    times = call.audio_out.time
    after = int(np.searchsorted(times, start + 0.25 * (end - start)))
    if not 0 < after < len(times) or times[after] - times[after - 1] > 1.0 + end - start:
        return False
    silent = min(times[after], end) - max(times[after - 1], start)
    return bool(silent >= 0.75 * (end - start))


def read_nothing(call: Call, start: float, end: float) -> bool | None:
    """Whether the caller's messages that belong to that time were read after it only.

    Args:
        call: The call.
        start: Since when nothing was read, if so.
        end: When the bot went on.

    Returns:
        ``None`` if none belong there, so that nobody can tell.
    """
    stream = call.inbound
    there = (stream.start >= start) & (stream.start < end) & ~stream.duplicate
    if not there.any():
        return None
    # The last of a block are read at once, and shortly before the bot goes on.
    return bool(np.mean(stream.time[there] >= start + 0.75 * (end - start)) >= 0.75)


@detector(
    title="Clock drift",
    symptoms=(Symptom(21, "recordings run apart", "`clock_drift`"),),
    measured="the slope of the lateness of messages against their numbers, over the quickest of "
    "each second (see ``Call.clock_drift``); stretches between pauses of the sender "
    "count by their length.",
    thresholds=(
        Threshold(
            20.0,
            "ms per minute",
            "Crystals agree within 100 parts in a million, 6 ms per minute; this is a clock that "
            "is none.",
        ),
    ),
    change="place audio by arrival and sequence number, never by counting bytes, and let nothing "
    "other than Bandwidth's clock pace what a bridge sends on.",
    accuracy=(Accuracy("drifting", 1.0, value_error=0.1),),
    explains=("jitter",),
)
def clock_drift(call: Call) -> Iterator[Finding]:
    """The caller's audio comes faster or slower than the clock: recordings run apart."""
    drift = call.clock_drift
    if drift is None or abs(drift) < clock_drift.threshold:
        return
    how = "slower" if drift > 0 else "faster"
    yield clock_drift.finding(
        side="caller",
        parts=(Part(0.0, call.duration, drift),),
        severity=graded(abs(drift), 2 * clock_drift.threshold, np.inf),
        value=drift,
        measurement=f"the caller's audio comes {how} than the clock by {abs(drift):.0f} ms per "
        "minute",
        cause="What sends it keeps time by its own clock: a bridge or a simulator that sleeps 20 "
        "ms between messages, or a declared rate that is not quite the real one.",
        remedy="Take that bridge out of the way, or let it send by the clock. A track that is "
        "made by counting bytes runs apart from the other side by so much.",
    )


@detector(
    title="Bot hears its own track",
    symptoms=(Symptom(16, "the bot hears its own track", "`own_track`"),),
    measured="media messages of another track than inbound.",
    change='set <StartStream tracks="inbound">.',
    explains=("echo",),
)
def own_track(call: Call) -> Iterator[Finding]:
    """The stream also carries what the bot says itself."""
    count = call.other_track
    if not count:
        return
    cause, remedy = call.carrier.advice.track
    yield own_track.finding(
        side="bot",
        parts=(Part(0.0, call.duration, float(count)),),
        severity="info",
        value=count,
        threshold=Threshold(1, "messages"),
        measurement=f"{count} messages of another track than the caller's arrived",
        cause=cause,
        remedy=f"{remedy} The serializer drops the other track, but it costs as much of the link as the "
        "caller's, and with another serializer the bot hears itself."
        if call.carrier.is_ours
        else f"{remedy} Pipecat's serializer does not tell tracks apart: the bot hears itself.",
    )


@detector(
    title="Unreadable messages",
    measured="messages that could not be parsed, either way; what rtvi_leak tells is left out.",
    change="keep others out with destinationUsername and destinationPassword in the BXML.",
)
def bad_message(call: Call) -> Iterator[Finding]:
    """Messages that are none of the protocol's."""
    leaks = any(True for _ in rtvi_leak(call))  # those are told by another detector
    bad = [
        event
        for event in call.events
        if event.kind == "bad_message"
        and not (leaks and event.text.startswith(f"to {call.carrier}"))
    ]
    if not bad:
        return
    reason, count = Counter(event.text for event in bad).most_common(1)[0]
    yield bad_message.finding(
        side=None,
        parts=counted([event.time for event in bad]),
        severity=graded(len(bad), 1, 50),
        value=len(bad),
        threshold=Threshold(1, "messages"),
        measurement=f"{len(bad)} messages were not understood; {count} times: {reason}",
        cause=f"Something other than {call.carrier} is talking to this WebSocket, or a processor of the "
        "pipeline sends its own messages through the transport.",
        remedy=f"Check who connects ({call.carrier.advice.keep_out}), and leave ignore_rtvi_messages at "
        "True.",
    )


@detector(
    title="Recording incomplete",
    harm=230,
    measured="the recording's own count of what it dropped, what could not be read of the file, "
    "and the records whose numbers are not there. What seems to be a fault where they are missing "
    "follows from it.",
    change="write captures to a local disk with room.",
    explains=("*", "clock_drift"),
)
def capture_dropped(call: Call) -> Iterator[Finding]:
    """Records that the recording itself lost: what is said about this call may be wrong there."""
    when = [(event.time, event.time) for event in call.events if event.kind == "dropped"]
    dropped = max(call.dropped, _number(call.metadata.get("end", {}).get("dropped", "0")))
    if not dropped and not call.damage:
        return
    missing = [f"{dropped} records are missing from the capture"] if dropped else []
    holes = call.unrecorded
    if holes:
        missing[0] += f", of {sum(end - start for start, end in holes):.2f} s in all"
    damage = [f"the capture is damaged: {call.damage[0]}"] if call.damage else []
    yield capture_dropped.finding(
        side=None,
        parts=[
            Part(*place, math.nan) for place in holes or when or [(call.duration, call.duration)]
        ],
        severity="warning" if holes else "info",
        value=dropped,
        threshold=Threshold(1, "records"),
        measurement="; ".join(missing + damage),
        cause="The disk did not keep up, was full, or the process was killed while it wrote.",
        remedy="Write captures to a local disk with room. What is said of the call near these "
        "times may be wrong.",
    )


def _number(text: str) -> int:
    """A count that a file claims; none is longer than what fits into 53 bits."""
    return int(text) if text.isdecimal() and len(text) <= 15 else 0
