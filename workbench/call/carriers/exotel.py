"""Exotel's AgentStream (Voicebot applet): 16-bit PCM both ways, at 8, 16 or 24 kHz, with marks.

A message that arrives holds 100 ms. The rate stands in ``start``; what is sent has that of the
serializer's ``exotel_sample_rate``.

References:
    Exotel, AgentStream: WebSocket protocol; Stream and Voicebot applet.
    Pipecat, ``pipecat.serializers.exotel``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipecat_bandwidth.encodings import WireFormat
from workbench.call.carriers.events import EventCarrier
from workbench.call.carriers.formats import format_of
from workbench.call.carriers.wire import Advice

__all__ = ["Exotel"]


class Exotel(EventCarrier):
    """Reads Exotel's messages."""

    name = "Exotel"
    serializer = "ExotelFrameSerializer"
    hangs_up = False
    acknowledges = "mark"
    ids = ("stream_sid", "call_sid", "account_sid")
    format_names = ("media_format", "sample_rate")
    advice = Advice(
        report="give Exotel the call SID",
        both_ways="Check that the flow has the Voicebot applet, which is the bidirectional one.",
        track=(
            "The applet is set to stream both tracks: the bot is sent its own voice.",
            "Let the applet stream the inbound track only.",
        ),
        stays_up=(
            "The applet has ended: the flow went on to what stands behind it.",
            "Use the Voicebot applet, which lasts as long as the WebSocket, and look at what the flow "
            "has behind it.",
        ),
        closed="The flow goes on with what stands behind the Voicebot applet then.",
        encoding="Check media_format in the start message: 16-bit PCM is what "
        "ExotelFrameSerializer reads. If it says so, give Exotel the call SID.",
        decode="Let deserialize pass on 16-bit signed little-endian samples.",
        declare="Send 16-bit signed little-endian samples of exotel_sample_rate, which is the "
        "sample-rate in the applet's URL.",
        narrower="with a lower exotel_sample_rate, and the same sample-rate in the applet's URL",
        keep_out="Exotel's addresses, or Basic credentials in the applet's URL",
        queue="How much Exotel queues is not documented, and what it holds can only be taken back "
        "by clear.",
        credentials="ExotelFrameSerializer hangs up no call.",
        ends="Close the WebSocket, and let the flow end behind the Voicebot applet.",
        goodbye="Send a mark behind the last audio and push the EndFrame when it has come back.",
        cushion="so much silence before its first word; ExotelFrameSerializer has no setting for it",
        other_streams="ExotelFrameSerializer belongs to one stream: give each a WebSocket, and a "
        "pipeline, of its own.",
    )

    @classmethod
    def is_like(cls, fields: Mapping[str, Any]) -> bool:
        """By ``event`` and ``stream_sid``."""
        return "event" in fields and "stream_sid" in fields

    def __init__(self, params: Mapping[str, Any]) -> None:
        """Take the serializer's parameters."""
        super().__init__(params)
        self.wire = self.told(params) or format_of("PCM", 8000)

    def told(self, params: Mapping[str, Any]) -> WireFormat | None:
        """At ``exotel_sample_rate``."""
        rate = params.get("exotel_sample_rate")
        try:
            return format_of("PCM", rate) if type(rate) is int else None
        except ValueError:
            return None
