"""Settings that cost something, told from what they did to the call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from workbench.call import Call, FrameRecord
from workbench.call.pieces import sizes
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.finding import Finding, Part, counted, graded

__all__ = ["resampling", "rtvi_leak", "wire_overhead"]

#: Less audio than this tells nothing, in seconds.
ENOUGH: Final = 2.0
#: A message is recorded so soon after the serializer made it, in seconds.
_WRITTEN: Final = 0.001


@detector(
    title="Resampled in serializer",
    measured="the rate of most frames against that of most messages, each way.",
    change="set audio_in_sample_rate and audio_out_sample_rate in PipelineParams to the rates of "
    "the wire. This project's serializer takes 4 ms for a conversion, Pipecat's resampler "
    "42 to 85 on average and up to 152.",
)
def resampling(call: Call) -> Iterator[Finding]:
    """The pipeline's rates make the serializer convert every frame."""
    stats = call.stats
    for side, pipeline, wire, setting in (
        ("caller", "pipeline_in_hz", "wire_in_hz", "audio_in_sample_rate"),
        ("bot", "pipeline_out_hz", "wire_out_hz", "audio_out_sample_rate"),
    ):
        ours, theirs = stats.get(pipeline), stats.get(wire)
        if not ours or not theirs or ours == theirs:
            continue
        way = (theirs, ours) if side == "caller" else (ours, theirs)
        yield resampling.finding(
            side="caller" if side == "caller" else "bot",
            parts=(Part(0.0, call.duration, ours),),
            severity="info",
            value=ours,
            threshold=Threshold(theirs, "Hz"),
            measurement=f"every frame of the {side}'s audio is converted from {way[0]:.0f} to "
            f"{way[1]:.0f} Hz",
            cause="The pipeline's rate is not that of the wire.",
            remedy=f"Set {setting}={theirs:.0f} in PipelineParams: nothing is converted then. A "
            "conversion takes 4 ms in this project's serializer, and up to 152 in others.",
        )


@detector(
    title="Web client messages sent",
    measured="transport message frames that the serializer made a message of.",
    change="leave ignore_rtvi_messages at True in InputParams.",
)
def rtvi_leak(call: Call) -> Iterator[Finding]:
    """Messages for a web client are sent down the telephone line."""
    leaked = [frame.time for frame in call.frames_out.without_audio if _is_strange(call, frame)]
    if not leaked:
        return
    yield rtvi_leak.finding(
        side="bot",
        parts=counted(leaked),
        severity=graded(len(leaked), 100, 10_000),
        value=len(leaked),
        threshold=Threshold(1, "messages"),
        measurement=f"{len(leaked)} messages that are not {call.carrier}'s were sent to it",
        cause="ignore_rtvi_messages is False: RTVI, which is on by default, goes to the telephone.",
        remedy="Set ignore_rtvi_messages=True in InputParams, or leave it out; a processor of "
        "your own that sends transport messages needs another transport.",
    )


def _is_strange(call: Call, frame: FrameRecord) -> bool:
    """Whether a message was made of a transport message frame that is none of the carrier's own."""
    if "TransportMessage" not in frame.frame or frame.result != "sent":
        return False
    until = frame.time + (frame.took_ms or 0.0) / 1000 + _WRITTEN
    marks = call.times_of("mark")
    return not bool(((marks >= frame.time) & (marks <= until)).any())


@detector(
    title="High message overhead",
    symptoms=(
        Symptom(
            30,
            "a link too slow for JSON and base64",
            "`wire_overhead`; the capture ends where the message is made, so queueing on the link "
            "behind it cannot be seen",
        ),
    ),
    measured="characters of the bot's messages for each byte of encoded audio in them.",
    thresholds=(
        Threshold(
            2.5,
            "characters per byte",
            "base64 alone makes 1.33 characters of each byte; JSON round 20 ms of PCMU makes it "
            "1.9.",
        ),
    ),
    change="send more audio in each message: audio_out_10ms_chunks=4, Pipecat's default, makes it "
    "40 ms.",
    limits="whether a link is too slow for what is sent cannot be seen from here: the capture "
    "ends where the message is made. ``outbound_kbit_s`` among the figures says what it "
    "must carry.",
    accuracy=(Accuracy("tiny", 1.0, value_error=3.7),),
)
def wire_overhead(call: Call) -> Iterator[Finding]:
    """More is spent on the wrapping than on the audio: a busy link, and a busy CPU."""
    sent = call.outbound
    audio = int(sizes(sent.payloads).sum())
    if not audio or float(sent.duration.sum()) < ENOUGH:
        return
    ratio = float(sent.size.sum()) / audio
    if ratio < wire_overhead.threshold:
        return
    each = 1000 * float(sent.duration.sum()) / len(sent)
    yield wire_overhead.finding(
        side="bot",
        parts=(Part(0.0, call.duration, ratio),),
        severity=graded(ratio, 2 * wire_overhead.threshold, float("inf")),
        value=ratio,
        measurement=f"{ratio:.1f} characters are sent for each byte of audio: messages hold "
        f"{each:.0f} ms only",
        cause="Audio is sent in very small pieces, each with JSON around it.",
        remedy="Leave audio_out_10ms_chunks at 4 in the transport's parameters, which makes 40 ms.",
    )
