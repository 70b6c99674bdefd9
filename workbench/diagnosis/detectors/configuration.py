"""Settings that cost something, told from what they did to the call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from workbench.call import Call
from workbench.diagnosis.finding import Finding, graded

__all__ = ["resampling", "rtvi_leak", "wire_overhead"]

#: base64 alone makes 1.33 characters of each byte; JSON round 20 ms of PCMU makes it 1.9.
OVERHEAD: Final = 2.5
#: Less audio than this tells nothing, in seconds.
ENOUGH: Final = 2.0


def resampling(call: Call) -> Iterator[Finding]:
    """The pipeline's rates make the serializer convert every frame.

    Measured: the rate of most frames against that of most messages, each way.
    Threshold: none, any difference
    Change: set audio_in_sample_rate and audio_out_sample_rate in PipelineParams to the rates of
    the wire. This project's serializer takes 4 ms for a conversion, Pipecat's resampler 42 to 85
    on average and up to 152.
    """
    stats = call.stats
    for side, pipeline, wire, setting in (
        ("caller", "pipeline_in_hz", "wire_in_hz", "audio_in_sample_rate"),
        ("bot", "pipeline_out_hz", "wire_out_hz", "audio_out_sample_rate"),
    ):
        ours, theirs = stats.get(pipeline), stats.get(wire)
        if not ours or not theirs or ours == theirs:
            continue
        way = (theirs, ours) if side == "caller" else (ours, theirs)
        yield Finding(
            "resampling", "caller" if side == "caller" else "bot", (0.0, call.duration), "info", ours,
            "Hz", theirs,
            f"every frame of the {side}'s audio is converted from {way[0]:.0f} to {way[1]:.0f} Hz",
            "The pipeline's rate is not that of the wire.",
            f"Set {setting}={theirs:.0f} in PipelineParams: nothing is converted then. A conversion "
            "takes 4 ms in this project's serializer, and up to 152 in others.",
        )  # fmt: skip


def rtvi_leak(call: Call) -> Iterator[Finding]:
    """Messages for a web client are sent down the telephone line.

    Measured: transport message frames that the serializer made a message of.
    Threshold: none, any
    Change: leave ignore_rtvi_messages at True in InputParams.
    """
    leaked = [
        frame.time
        for frame in call.frames_out
        if "TransportMessage" in frame.frame and frame.result == "sent"
    ]
    if not leaked:
        return
    yield Finding(
        "rtvi_leak", "bot", (leaked[0], leaked[-1]), graded(len(leaked), 100, 10_000),
        float(len(leaked)), "messages", 1,
        f"{len(leaked)} messages that are not Bandwidth's were sent to it",
        "ignore_rtvi_messages is False: RTVI, which is on by default, goes to the telephone.",
        "Set ignore_rtvi_messages=True in InputParams, or leave it out; a processor of your own "
        "that sends transport messages needs another transport.",
    )  # fmt: skip


def wire_overhead(call: Call) -> Iterator[Finding]:
    """More is spent on the wrapping than on the audio: a busy link, and a busy CPU.

    Measured: characters of the bot's messages for each byte of encoded audio in them.
    Limits: whether a link is too slow for what is sent cannot be seen from here: the capture ends
    where the message is made. ``outbound_kbit_s`` among the figures says what it must carry.
    Threshold: OVERHEAD characters per byte
    Change: send more audio in each message: audio_out_10ms_chunks=4, Pipecat's default, makes it
    40 ms.
    """
    sent = call.outbound
    audio = sum(map(len, sent.payloads))
    if not audio or float(sent.duration.sum()) < ENOUGH:
        return
    ratio = float(sent.size.sum()) / audio
    if ratio < OVERHEAD:
        return
    each = 1000 * float(sent.duration.sum()) / len(sent)
    yield Finding(
        "wire_overhead", "bot", (0.0, call.duration), graded(ratio, 2 * OVERHEAD, float("inf")), ratio,
        "characters per byte", OVERHEAD,
        f"{ratio:.1f} characters are sent for each byte of audio: messages hold {each:.0f} ms only",
        "Audio is sent in very small pieces, each with JSON around it.",
        "Leave audio_out_10ms_chunks at 4 in the transport's parameters, which makes 40 ms.",
    )  # fmt: skip
