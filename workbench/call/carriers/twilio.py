"""Twilio's Media Streams: mu-law at 8 kHz both ways, with marks.

A mark comes back when all that was sent before it has been played, or, with all others that wait,
when the queue is cleared. A bidirectional stream has the caller's track only.

References:
    Twilio, Media Streams: WebSocket messages. Warning 31931: ten minutes of audio are queued.
    Pipecat, ``pipecat.serializers.twilio``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.call.carriers.events import EventCarrier
from workbench.call.carriers.wire import Advice

__all__ = ["Twilio"]


class Twilio(EventCarrier):
    """Reads Twilio's messages."""

    name = "Twilio"
    serializer = "TwilioFrameSerializer"
    acknowledges = "mark"
    advice = Advice(
        report="give Twilio the call SID",
        both_ways="Check that the TwiML that was returned has <Connect><Stream>.",
        track=(
            'The TwiML asks for track="both_tracks" or "outbound_track": the bot is sent its own '
            "voice.",
            "Use <Connect><Stream>, which has the caller's track only.",
        ),
        stays_up=(
            "<Start><Stream> does not block: at the end of the TwiML the call is hung up.",
            "Use <Connect><Stream>, which lasts as long as the WebSocket.",
        ),
        closed="With <Connect><Stream> the TwiML goes on behind it when the WebSocket is closed.",
        encoding="Check mediaFormat in the start message: audio/x-mulaw at 8000 Hz is expected. If it "
        "says so, give Twilio the call SID.",
        decode="Let deserialize decode mu-law to 16-bit signed little-endian samples.",
        declare="Send mu-law at 8000 Hz without a header, which is all that Twilio plays.",
        narrower="in mu-law at 8000 Hz, which is all that Twilio plays",
        keep_out="check X-Twilio-Signature, or a one-time <Parameter> of the <Stream>",
        queue="Twilio queues up to ten minutes, and gives them back by clear only.",
        credentials="Check account_sid, call_sid and auth_token, or api_key_sid and api_key_secret.",
        ends="With <Connect><Stream> and nothing behind it the call also ends when the WebSocket is "
        "closed.",
        goodbye="TwilioFrameSerializer hangs up as soon as it is given an EndFrame: send a mark "
        "behind the last audio and push the EndFrame when it has come back.",
        cushion="so much silence before its first word; TwilioFrameSerializer has no setting for it",
        other_streams="TwilioFrameSerializer belongs to one stream: give each <Stream> a WebSocket, "
        "and a pipeline, of its own.",
    )

    @classmethod
    def is_like(cls, fields: Mapping[str, Any]) -> bool:
        """By ``event`` and ``streamSid``."""
        return "event" in fields and "streamSid" in fields
