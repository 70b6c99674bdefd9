"""The JSON of carriers whose messages name themselves by ``event``: what they have in common.

Twilio began with it, Telnyx, Plivo and Exotel have followed, each with names of its own. Audio is
numbered by ``media.chunk``, which counts messages of audio only, unlike the number of the message;
where it is absent, ``media.timestamp`` in milliseconds tells the same, at one step a message. Of two
tracks each is counted by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct

from pipecat_bandwidth.encodings import PCMU, WireFormat
from pipecat_bandwidth.messages import Clear, Other, Start, Stop, Track, account_text
from workbench.call.carriers.formats import format_of
from workbench.call.carriers.wire import (
    MAX_SENT,
    Carrier,
    Cleared,
    Mark,
    Media,
    Received,
    Sent,
    bad,
)

__all__ = ["EventCarrier"]

#: Digits that a number may have.
_DIGITS: Final = 18


class _Audio(Struct, gc=False):
    payload: bytes
    track: str | None = None
    chunk: Any = None
    timestamp: Any = None
    content_type: str = msgspec.field(default="", name="contentType")
    sample_rate: Any = msgspec.field(default=None, name="sampleRate")


class _Named(Struct, gc=False):
    name: str


class _Message(Struct, gc=False):
    """A message of any of them; what the event does not need is skipped."""

    event: str
    media: _Audio | None = None
    mark: _Named | None = None
    name: str = ""
    start: dict[str, Any] | None = None
    stream_id: Any = msgspec.field(default="", name="streamId")


_MESSAGE: Final = msgspec.json.Decoder(_Message).decode


class EventCarrier(Carrier):
    """Reads the messages of one of them: a subclass says how each is called.

    Attributes:
        ids: Of ``start``: the names of stream, call and account.
        format_names: Of ``start``: of the media format, in it of the rate.
        audio_event: Of a message with the bot's audio.
        clear_event: Of what empties the queue.
        mark_event: Of what asks when all is played.
        played_event: Of what says that it is.
        cleared_event: Of what says that the queue was emptied; empty if nothing does.
        others: Events that are the protocol's and of no matter here.
    """

    ids: ClassVar[tuple[str, str, str]] = ("streamSid", "callSid", "accountSid")
    format_names: ClassVar[tuple[str, str]] = ("mediaFormat", "sampleRate")
    audio_event: ClassVar[str] = "media"
    clear_event: ClassVar[str] = "clear"
    mark_event: ClassVar[str] = "mark"
    played_event: ClassVar[str] = "mark"
    cleared_event: ClassVar[str] = ""
    others: ClassVar[frozenset[str]] = frozenset({"connected", "dtmf"})

    def __init__(self, params: Mapping[str, Any]) -> None:
        """Take the serializer's parameters."""
        super().__init__(params)
        self.wire = self.told(params) or PCMU

    def told(self, params: Mapping[str, Any]) -> WireFormat | None:
        """How audio is encoded that does not say so, by the serializer's parameters."""
        return None

    def sent_as(self, audio: _Audio) -> WireFormat:
        """How the bot's audio is encoded."""
        return self.told(self.params) or self.wire

    def received(self, body: bytes) -> Received:
        """Read a message that arrived."""
        message = _read(body)
        event, audio = message.event, message.media
        if event == "media" and audio is not None:
            sequence = _number(audio, self.wire)
            return Media(audio.payload, self.wire, sequence, audio.track in _CALLER)
        if event == self.played_event and (name := _mark(message)) is not None:
            return Mark(name)
        if event == "start" and message.start is not None:
            return self._started(message.start)
        if event == "stop":
            return Stop()
        if event and event == self.cleared_event:
            return Cleared()
        if event in self.others:
            return Other(event)
        raise bad(f"event {event!r}, or what belongs to it, is not {self.name}'s")

    def sent(self, body: bytes) -> Sent:
        """Read a message that the serializer made, or a processor behind its back."""
        message = _read(body)
        event, audio = message.event, message.media
        if event == self.audio_event and audio is not None:
            return Media(audio.payload, self.sent_as(audio))
        if event == self.clear_event:
            return Clear()
        if event == self.mark_event and (name := _mark(message)) is not None:
            return Mark(name)
        if event in self.others:
            return Other(event)
        raise bad(f"event {event!r}, or what belongs to it, is not {self.name}'s")

    def _started(self, start: Mapping[str, Any]) -> Start:
        kind = start.get(self.format_names[0])
        kind = kind if isinstance(kind, dict) else {}
        encoding, rate = str(kind.get("encoding") or ""), _whole(kind.get(self.format_names[1]))
        if encoding:
            self.wire = format_of(encoding, 8000 if rate is None else rate)
        names = start.get("tracks")
        names = names if isinstance(names, list) and names else ["inbound"]
        stream, call, account = (_text(start.get(name)) for name in self.ids)
        tracks = tuple(
            Track(name[:64], self.wire.encoding, self.wire.sample_rate)
            for name in names[:16]
            if isinstance(name, str)
        )
        return Start(stream, call, account, stream, tracks)


#: Tracks that are the caller's: those that are told apart, and one that is not.
_CALLER: Final = {None, "", "inbound", "inbound_track"}


def _read(body: bytes) -> _Message:
    if len(body) > MAX_SENT:
        raise bad(f"message of {len(body)} bytes")
    try:
        message: _Message = _MESSAGE(body)
    except msgspec.ValidationError as error:
        raise bad(str(error)) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise bad(f"not JSON ({type(error).__name__})") from None
    return message


def _mark(message: _Message) -> str | None:
    """The name of a mark, wherever it stands; ``None`` without one."""
    name = message.mark.name if message.mark is not None else message.name
    return name[:256] or None


def _number(audio: _Audio, wire: WireFormat) -> int:
    chunk = _whole(audio.chunk)
    if chunk is not None:
        return chunk
    millis, length = _whole(audio.timestamp), wire.duration(audio.payload)
    return -1 if millis is None or not length else round(millis / 1000 / length)


def _whole(value: Any) -> int | None:
    """A whole number that is not negative, as a number or as digits; else ``None``."""
    if type(value) is str and len(value) <= _DIGITS and value.isascii() and value.isdigit():
        return int(value)
    return value if type(value) is int and 0 <= value < 10**_DIGITS else None


def _text(value: Any) -> str:
    told = account_text(value)
    return told[:256] if isinstance(told, str) else ""
