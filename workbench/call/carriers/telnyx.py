"""Telnyx' media streaming: PCMU or PCMA at 8 kHz, with marks.

What arrives is encoded as ``start`` says. What is sent does not say how it is encoded: as the
serializer's ``inbound_encoding`` (named as Telnyx sees it), which has to be the codec that the stream
was asked to have. Messages of audio may come in another order than they were sent.

References:
    Telnyx, media streaming over WebSockets: messages, ordering, ``stream_bidirectional_codec``.
    Pipecat, ``pipecat.serializers.telnyx``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipecat_bandwidth.encodings import WireFormat
from workbench.call.carriers.events import EventCarrier
from workbench.call.carriers.formats import format_of
from workbench.call.carriers.wire import Advice

__all__ = ["Telnyx"]


class Telnyx(EventCarrier):
    """Reads Telnyx' messages."""

    name = "Telnyx"
    serializer = "TelnyxFrameSerializer"
    acknowledges = "mark"
    ids = ("stream_id", "call_control_id", "user_id")
    format_names = ("media_format", "sample_rate")
    others = frozenset({"connected", "dtmf", "error"})
    advice = Advice(
        report="give Telnyx the call_control_id",
        both_ways="Check stream_track=inbound_track and stream_bidirectional_mode=rtp where the "
        "stream is asked for.",
        track=(
            "The stream was asked for with stream_track=both_tracks or outbound_track: the bot is "
            "sent its own voice.",
            "Set stream_track=inbound_track.",
        ),
        stays_up=(
            "The stream, or the call, was ended by whoever leads the call; TeXML hangs up at its "
            "end, and <Start><Stream> does not block.",
            "Use <Connect><Stream> in TeXML, and end the call from the bot only.",
        ),
        closed="What becomes of the call then is decided where it is led: by TeXML or Call Control.",
        encoding="Compare media_format in the start message with outbound_encoding of "
        "TelnyxFrameSerializer. If they agree, give Telnyx the call_control_id.",
        decode="Set outbound_encoding of TelnyxFrameSerializer, which is what it decodes, to the "
        "encoding in the start message's media_format.",
        declare="Set inbound_encoding of TelnyxFrameSerializer, which is what it sends, to the "
        "stream_bidirectional_codec that the stream was asked for with.",
        narrower="in PCMU or PCMA at 8000 Hz, which is all that TelnyxFrameSerializer sends",
        keep_out="a one-time token in stream_url keeps others out",
        queue="How much Telnyx queues is not documented, and what it holds can only be taken back "
        "by clear.",
        credentials="Check call_control_id and api_key.",
        ends="With <Connect><Stream> in TeXML and nothing behind it the call also ends when the "
        "WebSocket is closed.",
        goodbye="TelnyxFrameSerializer hangs up as soon as it is given an EndFrame: send a mark "
        "behind the last audio and push the EndFrame when it has come back.",
        cushion="so much silence before its first word; TelnyxFrameSerializer has no setting for it",
        other_streams="TelnyxFrameSerializer belongs to one stream: give each stream a WebSocket, and "
        "a pipeline, of its own.",
    )

    @classmethod
    def is_like(cls, fields: Mapping[str, Any]) -> bool:
        """By ``event`` and ``stream_id``."""
        return "event" in fields and "stream_id" in fields

    def __init__(self, params: Mapping[str, Any]) -> None:
        """Take the serializer's parameters: what arrives is as they say until ``start`` says it."""
        super().__init__(params)
        self.wire = _told(params, "outbound_encoding") or self.wire

    def told(self, params: Mapping[str, Any]) -> WireFormat | None:
        """What is sent: ``inbound_encoding``."""
        return _told(params, "inbound_encoding")


def _told(params: Mapping[str, Any], name: str) -> WireFormat | None:
    encoding = params.get(name)
    try:
        return format_of(encoding, 8000) if isinstance(encoding, str) else None
    except ValueError:
        return None
