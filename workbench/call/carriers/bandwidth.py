"""Bandwidth's media stream, as :mod:`pipecat_bandwidth.messages` reads it.

It numbers all messages of audio, says nothing of what it has played, and names the encoding of
what is sent in each message.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec

from pipecat_bandwidth import encodings, messages
from pipecat_bandwidth.encodings import PCMU, WireFormat
from pipecat_bandwidth.messages import MAX_MESSAGE_SIZE, decode_media
from workbench.call.carriers.wire import MAX_SENT, Advice, Carrier, Media, Received, Sent
from workbench.capture import HangUp

__all__ = ["Bandwidth"]


class _Audio(msgspec.Struct, gc=False):
    payload: bytes
    content_type: str = msgspec.field(name="contentType")


class _PlayAudio(msgspec.Struct, gc=False, tag_field="eventType", tag="playAudio"):
    """What the bot sends most, read in one pass."""

    media: _Audio


_PLAY_AUDIO: Final = msgspec.json.Decoder(_PlayAudio).decode
_FAST: Final = (msgspec.DecodeError, ValueError, RecursionError)


class Bandwidth(Carrier):
    """Reads Bandwidth's messages."""

    name = "Bandwidth"
    serializer = "BandwidthFrameSerializer"
    is_ours = True
    advice = Advice(
        report="give Bandwidth the call id",
        both_ways='Check <StartStream tracks="inbound" mode="bidirectional"> in the BXML that was '
        "returned.",
        track=(
            'The BXML asks for tracks="both" or "outbound": the bot is sent its own voice.',
            'Set <StartStream tracks="inbound">.',
        ),
        stays_up=(
            "<StartStream> does not block: at the end of the BXML the call is hung up.",
            'Put <StopStream name="..." wait="true"/> after <StartStream>, with the same name.',
        ),
        closed='<StopStream wait="true"/> after <StartStream> decides what becomes of the call then.',
        encoding="Check the encoding in the start message: PCMU is expected. If it says so, give "
        "Bandwidth the call id.",
        decode="Let deserialize decode mu-law to 16-bit signed little-endian samples.",
        declare="Send what the content type says: PCMU is mu-law, PCM 16-bit signed little-endian "
        "samples.",
        narrower="with outbound_encoding='PCMU' or a lower outbound_pcm_sample_rate",
        keep_out="destinationUsername and destinationPassword in the BXML keep others out",
        queue="How much Bandwidth queues is not documented, and what it holds can only be taken "
        "back by clear.",
        credentials="Check client_id, client_secret, account_id and call_id, and that the "
        "credentials may use the Voice API.",
        ends='With <StopStream wait="true"/> after <StartStream>, instead of <Pause>, the call also '
        "ends when the WebSocket is closed.",
        goodbye="Push the EndFrame after the last audio, and let it wait for what is still queued "
        "(hang_up_after_secs); CancelFrame ends at once.",
        cushion="outbound_cushion_ms={ms} in InputParams; tune chooses it",
        other_streams="A serializer belongs to one stream: this project's ignores a second start, "
        "and drops what comes after a stop. Give each <StartStream> a WebSocket, and a pipeline, "
        "of its own.",
    )

    @classmethod
    def is_like(cls, fields: Mapping[str, Any]) -> bool:
        """By ``eventType``."""
        return isinstance(fields.get("eventType"), str)

    def received(self, body: bytes) -> Received:
        """Read a message that arrived."""
        try:
            if len(body) <= MAX_MESSAGE_SIZE:
                return _media(decode_media(body))
        except _FAST:
            pass
        message = messages.parse(body)  # the rare ones, and why the bad ones are bad
        if isinstance(message, messages.Media):
            return _media(message)
        if isinstance(message, messages.Start | messages.Stop):
            return message
        return messages.Other(str(message))

    def sent(self, body: bytes) -> Sent:
        """Read a message that the serializer made."""
        try:
            audio = _PLAY_AUDIO(body).media
        except _FAST:
            message = messages.parse(body, max_size=MAX_SENT)
            if isinstance(message, messages.PlayAudio):
                return Media(message.payload, _wire_format(message.content_type))
            return message if isinstance(message, messages.Clear) else messages.Other(str(message))
        return Media(audio.payload, _wire_format(audio.content_type))

    def hang_up(self, text: str) -> HangUp | None:
        """Its serializer tells by a record of its own."""
        return None


def _media(message: messages.Media) -> Media:
    number, track = message.sequence, message.track
    is_caller = track is None or track == "inbound"
    return Media(message.payload, PCMU, -1 if number is None else number, is_caller)


@cache
def _wire_format(content_type: str) -> WireFormat:
    return encodings.from_content_type(content_type)
