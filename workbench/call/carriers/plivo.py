"""Plivo's audio streaming: mu-law at 8 kHz, or PCM where the stream asks for it, with checkpoints.

What is sent says how it is encoded. A ``checkpoint`` is answered with ``playedStream`` when all that
was sent before it has been played, and only then: one that a ``clearAudio`` threw away is never
answered; ``clearedAudio`` answers the clear. No message says that the stream is over.

References:
    Plivo, audio streaming: messages, ``checkpoint``, ``clearAudio``.
    Pipecat, ``pipecat.serializers.plivo``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipecat_bandwidth.encodings import WireFormat
from workbench.call.carriers.events import EventCarrier, _Audio, _whole
from workbench.call.carriers.formats import format_of
from workbench.call.carriers.wire import Advice

__all__ = ["Plivo"]


class Plivo(EventCarrier):
    """Reads Plivo's messages."""

    name = "Plivo"
    serializer = "PlivoFrameSerializer"
    says_stop = False
    acknowledges = "playedStream"
    ids = ("streamId", "callId", "accountId")
    audio_event = "playAudio"
    clear_event = "clearAudio"
    mark_event = "checkpoint"
    played_event = "playedStream"
    cleared_event = "clearedAudio"
    others = frozenset({"connected", "dtmf", "sendDTMF"})
    advice = Advice(
        report="give Plivo the call UUID",
        both_ways='Check <Stream bidirectional="true" audioTrack="inbound"> in the XML that was '
        "returned.",
        track=(
            'The XML asks for audioTrack="both" or "outbound": the bot is sent its own voice.',
            'Set <Stream audioTrack="inbound">.',
        ),
        stays_up=(
            "<Stream> does not block: at the end of the XML the call is hung up.",
            'Set <Stream keepCallAlive="true">.',
        ),
        closed='<Stream keepCallAlive="true"> decides what becomes of the call then.',
        encoding="Check mediaFormat in the start message: audio/x-mulaw at 8000 Hz is what "
        'PlivoFrameSerializer reads, <Stream contentType="audio/x-mulaw;rate=8000">. If it says so, '
        "give Plivo the call UUID.",
        decode="Let deserialize decode what mediaFormat in the start message says; "
        "PlivoFrameSerializer takes it for mu-law at 8000 Hz.",
        declare="Send what contentType says: audio/x-mulaw at 8000 Hz.",
        narrower="in mu-law at 8000 Hz, which is all that PlivoFrameSerializer sends",
        keep_out="check X-Plivo-Signature-V3, or a one-time value in extraHeaders",
        queue="How much Plivo queues is not documented, and what it holds can only be taken back "
        "by clearAudio.",
        credentials="Check auth_id, auth_token and call_id.",
        ends='With <Stream keepCallAlive="true"> and nothing behind it the call also ends when the '
        "WebSocket is closed.",
        goodbye="PlivoFrameSerializer hangs up as soon as it is given an EndFrame: send a checkpoint "
        "behind the last audio and push the EndFrame when playedStream has come.",
        cushion="so much silence before its first word; PlivoFrameSerializer has no setting for it",
        other_streams="PlivoFrameSerializer belongs to one stream: give each <Stream> a WebSocket, and "
        "a pipeline, of its own.",
    )

    @classmethod
    def is_like(cls, fields: Mapping[str, Any]) -> bool:
        """By ``event`` and ``streamId``, in ``start`` one level deeper."""
        start = fields.get("start")
        return "event" in fields and (
            "streamId" in fields or (isinstance(start, dict) and "streamId" in start)
        )

    def sent_as(self, audio: _Audio) -> WireFormat:
        """As the message says."""
        if not audio.content_type:
            return self.wire
        return format_of(audio.content_type, _whole(audio.sample_rate) or 8000)
