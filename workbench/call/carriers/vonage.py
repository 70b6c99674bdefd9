"""Vonage's Audio Connector and Voice API: 16-bit PCM in binary messages, commands beside it in JSON.

Nothing is numbered: what is lost cannot be told from a pause, and no message says that the stream is
over. The rate stands in
``websocket:connected``; what is sent has that of the serializer's ``vonage_sample_rate``. ``notify`` is
answered with ``websocket:notify`` when all that was sent before it has been played, ``clear`` with
``websocket:cleared``.

References:
    Vonage, Video API: Audio Connector; Voice API: WebSockets (3072 messages are queued).
    Pipecat, ``pipecat.serializers.vonage``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pipecat_bandwidth.encodings import WireFormat
from pipecat_bandwidth.messages import Clear, Other, Start, Track
from workbench.call.carriers.formats import format_of
from workbench.call.carriers.wire import (
    Advice,
    Carrier,
    Cleared,
    Mark,
    Media,
    Received,
    Sent,
    bad,
)

__all__ = ["Vonage"]

_RATE: Final = re.compile(r"rate=(\d{4,6})")


class Vonage(Carrier):
    """Reads Vonage's messages."""

    name = "Vonage"
    serializer = "VonageFrameSerializer"
    hangs_up = False
    is_numbered = False
    says_stop = False
    acknowledges = "websocket:notify"
    advice = Advice(
        report="give Vonage the id of the session, or of the call",
        both_ways="Check that the WebSocket was asked for as bidirectional, and that the streams it "
        "shall carry are published.",
        track=("", ""),
        stays_up=(
            "Whoever leads the session, or the NCCO, ended it.",
            "Keep the session, or the NCCO's connect action, up as long as the bot.",
        ),
        closed="What becomes of the call then is decided where it is led: by the NCCO or the session.",
        encoding="Compare content-type in websocket:connected with vonage_sample_rate of "
        "VonageFrameSerializer. If they agree, give Vonage the id of the session, or of the call.",
        decode="Let deserialize pass on 16-bit signed little-endian samples.",
        declare="Send 16-bit signed little-endian samples of vonage_sample_rate.",
        narrower="with a lower vonage_sample_rate, and the same rate where the WebSocket is asked for",
        keep_out="a header or a token that you give where the WebSocket is asked for",
        queue="Vonage's Voice API queues 3072 messages, a minute of 20 ms, and gives them back by "
        "clear only.",
        credentials="VonageFrameSerializer hangs up no call.",
        ends="Close the WebSocket, and end the session or the call by Vonage's API.",
        goodbye="Send notify behind the last audio and push the EndFrame when websocket:notify has "
        "come.",
        cushion="so much silence before its first word; VonageFrameSerializer has no setting for it",
        other_streams="VonageFrameSerializer belongs to one stream: give each a WebSocket, and a "
        "pipeline, of its own.",
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        """Take the serializer's parameters."""
        super().__init__(params)
        self.sends = self.wire = _linear(params.get("vonage_sample_rate"))

    @classmethod
    def is_like(cls, fields: Mapping[str, Any]) -> bool:
        """By an ``event`` that begins with ``websocket:``."""
        return str(fields.get("event", "")).startswith("websocket:")

    def received(self, body: bytes) -> Received:
        """Read an event."""
        fields = _read(body)
        match fields.get("event"):
            case "websocket:connected":
                told = _RATE.search(str(fields.get("content-type", "")))
                if told:
                    self.wire = format_of("PCM", int(told[1]))
                return Start(tracks=(Track("inbound", "PCM", self.wire.sample_rate),))
            case "websocket:notify":
                return Mark(_name(fields.get("payload")))
            case "websocket:cleared":
                return Cleared()
            case str(event) if event.startswith("websocket:"):
                return Other(event[:64])
        raise bad("no event of Vonage's")

    def sent(self, body: bytes) -> Sent:
        """Read a command."""
        fields = _read(body)
        match fields.get("action"):
            case "clear":
                return Clear()
            case "notify":
                return Mark(_name(fields.get("payload")))
            case str(action):
                return Other(action[:64])
        raise bad("no command of Vonage's")

    def binary(self, data: bytes, *, inbound: bool) -> Media | None:
        """Read audio."""
        return Media(data, self.wire if inbound else self.sends)


def _linear(rate: object) -> WireFormat:
    try:
        return format_of("PCM", rate) if isinstance(rate, int) else format_of("PCM", 16000)
    except ValueError:
        return format_of("PCM", 16000)


def _read(body: bytes) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise bad(f"not a JSON object ({type(error).__name__})") from None
    return fields


def _name(payload: object) -> str:
    """What tells one mark from another: the payload, which comes back as it was sent."""
    return msgspec.json.encode(payload, order="sorted").decode()[:256]
