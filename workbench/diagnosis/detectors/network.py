"""Faults of the way between Bandwidth and the serializer: what got lost, late, twice, or broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from workbench.call import Call
from workbench.diagnosis.detectors.configuration import rtvi_leak
from workbench.diagnosis.finding import Finding, graded, grouped

__all__ = [
    "bad_message",
    "capture_dropped",
    "clock_drift",
    "duplicate",
    "jitter",
    "loop_lag",
    "one_way",
    "own_track",
    "sequence_gap",
]

#: Two messages. The usual concealment hides one (ITU-T G.711 appendix I fades after 10 ms and is
#: silent after 60 ms); more takes a phoneme with it.
LOST_MS: Final = 40.0
#: One message twice is a hiccup; more is a fault of a proxy.
TWICE: Final = 2
#: An adaptive jitter buffer grows to about this much; Twilio's warning stands at 30 ms of mean.
LATE_MS: Final = 100.0
#: Crystals agree within 100 parts in a million, 6 ms per minute; this is a clock that is none.
DRIFT_MS: Final = 20.0
#: Nobody says anything for so long without a "hello?".
NOTHING: Final = 3.0
#: Incidents closer together than this are one.
TOGETHER: Final = 5.0

UNBLOCK: Final = (
    "Find the blocking call (python -X dev names those over 100 ms) and move it to "
    "asyncio.to_thread; run one call per process; give the process a CPU of its own."
)
_WAY: Final = (
    "Run the bot closer to Bandwidth's media servers, without a tunnel such as ngrok between, and "
    "on a machine whose CPU is not exhausted"
)


def sequence_gap(call: Call) -> Iterator[Finding]:
    """Numbers that were skipped: audio of the caller that never arrived.

    Measured: sequence numbers that never came, times the length of a message; gaps within five
    seconds are one finding.
    Threshold: LOST_MS ms
    Change: run the bot closer to Bandwidth's media servers, without a tunnel between, with CPU
    to spare.
    """
    stream = call.inbound
    before = np.flatnonzero(stream.missing > 0)
    step = float(np.median(stream.duration)) if len(stream) else 0.020
    ends = stream.start[before]
    spans = [
        (float(e - n * step), float(e)) for e, n in zip(ends, stream.missing[before], strict=True)
    ]
    for start, end, members in grouped(spans, TOGETHER):
        count = int(stream.missing[before[list(members)]].sum())
        lost_ms = 1000 * count * step
        if lost_ms < LOST_MS:
            continue
        yield Finding(
            "sequence_gap", "caller", (start, end), graded(lost_ms, 100, 400), lost_ms, "ms", LOST_MS,
            f"{lost_ms:.0f} ms of the caller are missing ({count} messages that were numbered and "
            "never arrived)",
            "Audio was lost before it reached the WebSocket, or the bot's process was too busy to "
            "read and the sender gave up; TCP itself loses nothing.",
            f"{_WAY}. If it persists, give Bandwidth the call id and these times.",
            "caller_sent",
        )  # fmt: skip


def duplicate(call: Call) -> Iterator[Finding]:
    """Messages that came twice: the recogniser hears syllables stutter.

    Measured: sequence numbers that came again.
    Threshold: TWICE messages
    Change: take the proxy that repeats them out of the way.
    """
    stream = call.inbound
    again = np.flatnonzero(stream.duplicate)
    spans = [
        (float(s), float(s + d))
        for s, d in zip(stream.start[again], stream.duration[again], strict=True)
    ]
    for start, end, members in grouped(spans, TOGETHER):
        count = len(members)
        if count < TWICE:
            continue
        yield Finding(
            "duplicate", "caller", (start, end), graded(count, 5, 50), float(count), "messages", TWICE,
            f"{count} messages of the caller arrived twice",
            "A proxy or a bridge in front of the bot sends again what it had sent already.",
            "Take that proxy out of the way. The pipeline heard these syllables twice: a recogniser "
            "that stutters here is not to blame.",
            "bot_heard",
        )  # fmt: skip


def jitter(call: Call) -> Iterator[Finding]:
    """Messages held up and then delivered in a burst: the bot reacts late.

    Measured: how much later than its place a message arrives; its place is told by its number
    and by the quickest messages around it.
    Threshold: LATE_MS ms
    Change: as for sequence_gap; look for blocking calls in the pipeline.
    Limits: it is the jitter of delivery to the serializer, over TCP: one lost packet on the way
    shows as a stall here.
    """
    late = [stall for stall in _stalls(call) if not _stood_still(call, *stall)]
    for start, end, members in grouped(late, TOGETHER):
        worst = 1000 * max(late[i][1] - late[i][0] for i in members)
        yield Finding(
            "jitter", "caller", (start, end), graded(worst, 2 * LATE_MS, 10 * LATE_MS), worst, "ms",
            LATE_MS,
            f"the caller's audio stood still {_times(len(members), worst)}, then came in a burst",
            "The network held it up, or the bot's event loop was blocked and did not read.",
            f"{_WAY}. Look for blocking calls in the pipeline at this time (python -X dev, "
            "loop.slow_callback_duration). Nothing is lost, but the bot hears and answers later.",
        )  # fmt: skip


def loop_lag(call: Call) -> Iterator[Finding]:
    """Both directions stood still at once: not the network, the bot's own process.

    Measured: a stall of the caller's messages during which the bot, in the middle of speaking,
    gave out no frame in three quarters of the time.
    Threshold: LATE_MS ms
    Change: move the blocking call to asyncio.to_thread; run one call per process.
    Limits: while the bot is silent a blocked loop looks like jitter, and is called so.
    """
    late = [stall for stall in _stalls(call) if _stood_still(call, *stall)]
    for start, end, members in grouped(late, TOGETHER):
        worst = 1000 * max(late[i][1] - late[i][0] for i in members)
        yield Finding(
            "loop_lag", "bot", (start, end), graded(worst, LATE_MS, 5 * LATE_MS), worst, "ms",
            LATE_MS,
            f"the bot's process stood still {_times(len(members), worst)}: it neither read nor sent",
            "Something blocked the event loop, or the machine had no CPU left for it.",
            UNBLOCK,
            "caller_heard",
        )  # fmt: skip


def _times(count: int, worst_ms: float) -> str:
    how_long = f"for {worst_ms:.0f} ms"
    return how_long if count == 1 else f"{count} times, {how_long} at the longest"


def _stalls(call: Call) -> list[tuple[float, float]]:
    """Where the caller's audio was late: from where it belongs to when it came."""
    stream = call.inbound
    late = np.flatnonzero((stream.time - stream.start >= LATE_MS / 1000) & ~stream.duplicate)
    # The first of a burst is the latest; those behind it belong to the same stall.
    spans = [(float(stream.start[i]), float(stream.time[i])) for i in late]
    return [(start, end) for start, end, _ in grouped(spans, 1e-3)]


def _stood_still(call: Call, start: float, end: float) -> bool:
    """Whether the bot, in the middle of speaking, gave out no frame in most of that time."""
    times = np.array([frame.time for frame in call.audio_out], float)
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


def clock_drift(call: Call) -> Iterator[Finding]:
    """The caller's audio comes faster or slower than the clock: recordings run apart.

    Measured: the slope of the lateness of messages against their numbers, over the quickest of
    each second (see ``Call.clock_drift``); stretches between pauses of the sender count by their
    length.
    Threshold: DRIFT_MS ms per minute
    Change: place audio by arrival and sequence number, never by counting bytes, and let nothing
    other than Bandwidth's clock pace what a bridge sends on.
    """
    drift = call.clock_drift
    if drift is None or abs(drift) < DRIFT_MS:
        return
    how = "slower" if drift > 0 else "faster"
    yield Finding(
        "clock_drift", "caller", (0.0, call.duration), graded(abs(drift), 2 * DRIFT_MS, np.inf),
        drift, "ms per minute", DRIFT_MS,
        f"the caller's audio comes {how} than the clock by {abs(drift):.0f} ms per minute",
        "What sends it keeps time by its own clock: a bridge or a simulator that sleeps 20 ms "
        "between messages, or a declared rate that is not quite the real one.",
        "Take that bridge out of the way, or let it send by the clock. A track that is made by "
        "counting bytes runs apart from the other side by so much.",
    )  # fmt: skip


def one_way(call: Call) -> Iterator[Finding]:
    """No audio at all from one side while the call is up.

    Measured: no message at all in a direction, or digital silence in all of them (below -80
    dBov).
    Threshold: NOTHING s
    Change: check tracks="inbound" and mode="bidirectional" in the BXML; check audio_out_enabled
    and the credentials of the synthesis.
    """
    if call.duration < NOTHING:
        return
    if not len(call.inbound):
        yield _one_way(
            call, "caller", "no audio arrived from the caller",
            "The stream carries no inbound track, or the media never left the carrier.",
            'Check <StartStream tracks="inbound" mode="bidirectional"> in the BXML that was returned.',
        )  # fmt: skip
    elif call.caller_sent.level < -80:
        yield _one_way(
            call, "caller", f"the caller's audio is digital silence ({call.caller_sent.level:.0f} dBov)",
            "The caller is muted, or the carrier sends filler instead of media.",
            "Call again from another telephone; if it stays silent, give Bandwidth the call id.",
        )  # fmt: skip
    if not len(call.outbound):
        made = sum(frame.duration for frame in call.audio_out)
        cause, remedy = (
            ("The pipeline gave the serializer no audio.",
             "Check that audio_out_enabled=True is set in the transport's parameters, that the "
             "speech synthesis has credentials, and that something makes the bot speak first.")
            if not made
            else (f"The pipeline made {made:.1f} s of audio and none was sent.",
                  "Look into the capture's /log: the serializer says why it sends nothing.")
        )  # fmt: skip
        yield _one_way(call, "bot", "the bot sent no audio", cause, remedy)


def _one_way(call: Call, side: str, measurement: str, cause: str, remedy: str) -> Finding:
    whole = (0.0, call.duration)
    return Finding(
        "one_way", "caller" if side == "caller" else "bot", whole, "error", call.duration, "s",
        NOTHING, measurement, cause, remedy, "caller_sent" if side == "caller" else "caller_heard",
    )  # fmt: skip


def own_track(call: Call) -> Iterator[Finding]:
    """The stream also carries what the bot says itself.

    Measured: media messages of another track than inbound.
    Threshold: none, any
    Change: set <StartStream tracks="inbound">.
    """
    count = call.other_track
    if not count:
        return
    yield Finding(
        "own_track", "bot", (0.0, call.duration), "info", float(count), "messages", 1,
        f"{count} messages of another track than the caller's arrived",
        'The BXML asks for tracks="both" or "outbound": the bot is sent its own voice.',
        'Set <StartStream tracks="inbound">. The serializer drops the other track, but it costs as '
        "much of the link as the caller's, and with another serializer the bot hears itself.",
    )  # fmt: skip


def bad_message(call: Call) -> Iterator[Finding]:
    """Messages that are none of the protocol's.

    Measured: messages that could not be parsed, either way; what rtvi_leak tells is left out.
    Threshold: none, any
    Change: keep others out with destinationUsername and destinationPassword in the BXML.
    """
    leaks = any(True for _ in rtvi_leak(call))  # those are told by another detector
    bad = [
        event
        for event in call.events
        if event.kind == "bad_message" and not (leaks and event.text.startswith("to Bandwidth"))
    ]
    if not bad:
        return
    reason, count = Counter(event.text for event in bad).most_common(1)[0]
    yield Finding(
        "bad_message", None, (bad[0].time, bad[-1].time), graded(len(bad), 1, 50), float(len(bad)),
        "messages", 1,
        f"{len(bad)} messages were not understood; {count} times: {reason}",
        "Something other than Bandwidth is talking to this WebSocket, or a processor of the "
        "pipeline sends its own messages through the transport.",
        "Check who connects (destinationUsername and destinationPassword in the BXML keep others "
        "out), and leave ignore_rtvi_messages at True.",
    )  # fmt: skip


def capture_dropped(call: Call) -> Iterator[Finding]:
    """Records that the recording itself lost: what is said about this call may be wrong there.

    Measured: the recording's own count of what it dropped, what could not be read of the file, and
    the records whose numbers are not there. No fault is reported that lies where they are missing.
    Threshold: none, any
    Change: write captures to a local disk with room.
    """
    when = [event.time for event in call.events if event.kind == "dropped"]
    dropped = max(call.dropped, _number(call.metadata.get("end", {}).get("dropped", "0")))
    if not dropped and not call.damage:
        return
    span = (when[0], when[-1]) if when else (0.0, call.duration)
    missing = [f"{dropped} records are missing from the capture"] if dropped else []
    holes = call.unrecorded
    if holes:
        span = holes[0][0], holes[-1][1]
        missing[0] += f", of {sum(end - start for start, end in holes):.2f} s in all"
    damage = [f"the capture is damaged: {call.damage[0]}"] if call.damage else []
    yield Finding(
        "capture_dropped", None, span, "warning" if holes else "info", float(dropped), "records", 1,
        "; ".join(missing + damage),
        "The disk did not keep up, was full, or the process was killed while it wrote.",
        "Write captures to a local disk with room. What is said of the call near these times may be "
        "wrong.",
    )  # fmt: skip


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
