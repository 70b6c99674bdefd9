"""Bandwidth's media-stream protocol, without I/O and without audio.

One WebSocket carries one stream; every message is one JSON text whose ``eventType`` says what it
is. *Inbound* is caller to bot, *outbound* bot to caller.

========== ========= ===================================================================
message    direction says
========== ========= ===================================================================
Start      inbound   first message: ids, tracks, parameters given in the BXML
Media      inbound   about 20 ms of one track: mu-law at 8 kHz, numbered from 1
Stop       inbound   last message; a socket that closes without one means the same
PlayAudio  outbound  audio to append to the far end's playout queue
Clear      outbound  empty that queue at once (barge-in)
Other      either    a well-formed message of a type that this module does not know
========== ========= ===================================================================

:func:`parse` and :func:`encode` are each other's inverse. ``eventType`` stands *last* in live
messages, unknown keys appear, ``sequenceNumber`` is a string that may be absent, ``streamParams``
is absent when none were given: nothing here depends on order or on optional keys.

References:
    Bandwidth, BXML ``<StartStream>``: the WebSocket messages of a stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as _quote
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Struct
from pybase64 import b64encode_as_string

from pipecat_bandwidth.exceptions import ProtocolError

__all__ = [
    "MAX_MESSAGE_SIZE",
    "Clear",
    "Media",
    "Message",
    "Other",
    "PlayAudio",
    "Start",
    "Stop",
    "Track",
    "account_text",
    "decode_media",
    "encode",
    "parse",
    "play_audio_writer",
]

#: Largest inbound message that is looked at. A 20 ms Media is 289 characters; the largest legal
#: Start (12 stream parameters of 256 + 2048 characters) about 28,000. 64 KiB of Media would be
#: 6 s of audio in one message: nothing that Bandwidth sends.
MAX_MESSAGE_SIZE: Final = 64 * 1024

#: Above any plausible sample rate; whole numbers in JSON are unbounded.
_RATE_LIMIT: Final = 1_000_000


class Track(Struct, frozen=True):
    """One direction of the call as Start announces it.

    Attributes:
        name: ``"inbound"`` (from the caller) or ``"outbound"`` (to the caller).
        encoding: ``"PCMU"`` on every live call; upper case, without ``audio/``.
        sample_rate: In hertz; 8000 on every live call. 0 when no rate below 1 MHz was given.
    """

    name: str
    encoding: str = "PCMU"
    sample_rate: int = 8000


class Start(Struct, frozen=True):
    """The stream has begun. Nothing in it is authenticated: never hang up by these ids.

    Attributes:
        stream_id: ``s-`` and hexadecimal groups.
        call_id: ``c-`` and hexadecimal groups.
        account_id: Digits, also where they came as a number.
        stream_name: The ``name`` of the BXML verb, else the stream id.
        tracks: What will be sent.
        stream_params: ``<StreamParam>`` names and values.
    """

    stream_id: str = ""
    call_id: str = ""
    account_id: str = ""
    stream_name: str = ""
    tracks: tuple[Track, ...] = ()
    stream_params: dict[str, str] = {}

    def __repr__(self) -> str:
        """Show the parameters' names only: their values are often tokens."""
        return f"Start({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        return list((shown | {"stream_params": list(self.stream_params)}).items())


class Media(Struct, frozen=True, gc=False):
    """Audio of one track.

    Attributes:
        payload: Decoded bytes, mu-law at 8 kHz on every live call.
        track: ``"inbound"`` or ``"outbound"``; ``None`` when absent, which means inbound.
        sequence_number: As it arrived: digits as a string on live calls. See :attr:`sequence`.
    """

    payload: bytes
    track: str | None = None
    sequence_number: Any = msgspec.field(default=None, name="sequenceNumber")

    @property
    def is_inbound(self) -> bool:
        """Whether this is the caller's audio."""
        return self.track is None or self.track == "inbound"

    @property
    def sequence(self) -> int | None:
        """Sequence number, or ``None`` when it is absent or not a small whole number."""
        number = self.sequence_number
        if type(number) is str and len(number) <= 18 and number.isascii() and number.isdigit():
            return int(number)
        if type(number) is int and 0 <= number < 10**18:
            return number
        return None

    def __repr__(self) -> str:
        return f"Media({self.track}, #{self.sequence}, {len(self.payload)} bytes)"


class Stop(Struct, frozen=True):
    """The stream has ended.

    Attributes:
        stream_id: As in Start.
        call_id: As in Start.
    """

    stream_id: str = ""
    call_id: str = ""


class PlayAudio(Struct, frozen=True):
    """Audio to append to the far end's queue.

    Attributes:
        content_type: One of the exact strings of :mod:`pipecat_bandwidth.encodings`.
        payload: Encoded bytes, whole samples.
    """

    content_type: str
    payload: bytes

    def __repr__(self) -> str:
        return f"PlayAudio({self.content_type!r}, {len(self.payload)} bytes)"


class Clear(Struct, frozen=True):
    """Empty the far end's queue."""


class Other(Struct, frozen=True):
    """A well-formed message of a type not known here.

    Attributes:
        event_type: At most 64 characters of it.
    """

    event_type: str


_Value = TypeVar("_Value", bound=str | None)

Message: TypeAlias = Start | Media | Stop | PlayAudio | Clear | Other


def parse(text: str | bytes, *, max_size: int = MAX_MESSAGE_SIZE) -> Message:
    """Read one WebSocket message.

    Args:
        text: The JSON text; bytes are taken as UTF-8.
        max_size: Largest length looked at, in characters or bytes.

    Returns:
        The message.

    Raises:
        ProtocolError: For anything else: not JSON, not an object, no ``eventType``, a field of a
            wrong type, base64 that is not strictly RFC 4648, too long, too deeply nested.

    Example::

        >>> parse('{"eventType": "stop", "metadata": {"streamId": "s-1"}}')
        Stop(stream_id='s-1', call_id='')
        >>> parse("hello")
        Traceback (most recent call last):
        pipecat_bandwidth.exceptions.ProtocolError: not JSON (DecodeError)
    """
    try:
        if len(text) <= max_size:
            live = decode_media(text)
            return Media(live.payload, live.track, live.sequence_number)
    except (msgspec.DecodeError, TypeError, ValueError, RecursionError):
        pass
    return _parse_slowly(text, max_size)


def encode(message: Message) -> str:
    """Write one message as the other end expects it, compact and with ``eventType`` as live.

    Args:
        message: Any message but :class:`Other`.

    Returns:
        The JSON text, pure ASCII.

    Raises:
        ValueError: For an :class:`Other`, or for what is not a message.
    """
    try:
        encoder = _ENCODERS[type(message)]
    except KeyError:
        raise ValueError(f"cannot encode {type(message).__name__}") from None
    return encoder(message)


def play_audio_writer(
    content_type: str, encode: Callable[[bytes], bytes]
) -> Callable[[bytes], str]:
    """Make what writes every :class:`PlayAudio` of a call: only the payload changes.

    Args:
        content_type: As in PlayAudio.
        encode: What makes the payload of what is to be written.

    Returns:
        A function of audio that returns the JSON text, pure ASCII.
    """
    head = f'{{"eventType":"playAudio","media":{{"contentType":{_quote(content_type)},"payload":"'

    def write(audio: bytes) -> str:
        return f'{head}{b64encode_as_string(encode(audio))}"}}}}'

    return write


def account_text(value: _Value | int) -> _Value | str:
    """Write out an account id that is a number; anything else is returned as it is."""
    if isinstance(value, bool):
        return ""
    return str(value) if isinstance(value, int) else value


# -- reading -----------------------------------------------------------------------------------


class _LiveMedia(Media, frozen=True, gc=False, kw_only=True):
    """Media that said so: msgspec takes a tag that is absent for granted, and a field not."""

    event_type: Literal["media"] = msgspec.field(name="eventType")


#: Reads the message that arrives fifty times a second, in one pass: kind, types and strict base64.
#: For anything else it raises one of several uninformative errors; :func:`parse` finds the reason.
decode_media: Final[Callable[[str | bytes], Media]] = msgspec.json.Decoder(_LiveMedia).decode


class _Audio(Struct):
    payload: bytes
    content_type: str = msgspec.field(name="contentType")


class _PlayAudio(Struct):
    media: _Audio


def _parse_slowly(text: object, max_size: int) -> Message:
    """Read what the fast decoder refused: the rare messages, and the reason for the bad ones."""
    if not isinstance(text, (str, bytes)):
        raise ProtocolError(f"a message is text, not {type(text).__name__}")
    if len(text) > max_size:
        raise ProtocolError(f"message of {len(text)} characters, at most {max_size} are read")
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON ({type(error).__name__})") from None
    if type(fields) is not dict:
        raise ProtocolError(f"not a JSON object but {type(fields).__name__}")
    event_type = fields.get("eventType")
    if type(event_type) is not str or not event_type:
        raise ProtocolError("no eventType")
    reader = _READERS.get(event_type)
    return reader(fields) if reader else Other(event_type[:64])


def _read_start(fields: Mapping[str, Any]) -> Start:
    metadata = _object(fields, "metadata")
    parameters = fields.get("streamParams")
    return Start(
        **_ids(metadata),
        account_id=_text(account_text(metadata.get("accountId"))),
        stream_name=_string(metadata, "streamName"),
        tracks=_tracks(metadata.get("tracks")),
        stream_params={name: value for name, value in parameters.items() if type(value) is str}
        if type(parameters) is dict
        else {},
    )


def _read_stop(fields: Mapping[str, Any]) -> Stop:
    return Stop(**_ids(_object(fields, "metadata")))


def _read_media(fields: Mapping[str, Any]) -> Media:
    return _convert(fields, Media, "media")


def _read_play_audio(fields: Mapping[str, Any]) -> PlayAudio:
    audio = _convert(fields, _PlayAudio, "playAudio").media
    return PlayAudio(audio.content_type, audio.payload)


_Kind = TypeVar("_Kind", Media, _PlayAudio)


def _convert(fields: Mapping[str, Any], kind: type[_Kind], name: str) -> _Kind:
    try:
        return msgspec.convert(fields, kind)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "bad text"
        raise ProtocolError(f"bad {name}: {reason[:120]}") from None


def _ids(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {
        "stream_id": _string(metadata, "streamId"),
        "call_id": _string(metadata, "callId"),
    }


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    if type(value) is not dict:
        raise ProtocolError(f"bad {fields['eventType']}: {name} is not an object")
    return value


def _string(fields: Mapping[str, Any], name: str) -> str:
    return _text(fields.get(name))


def _text(value: Any) -> str:
    return value[:256] if type(value) is str else ""


def _tracks(value: Any) -> tuple[Track, ...]:
    """Tracks as live (objects) or as some bridges send them (names); others are passed over."""
    found: list[Track] = []
    for item in value if type(value) is list else ():
        if type(item) is str:
            found.append(Track(item[:64]))
        elif type(item) is dict and type(item.get("name")) is str:
            media_format = item.get("mediaFormat")
            media_format = media_format if type(media_format) is dict else {}
            rate = media_format.get("sampleRate")
            encoding = _string(media_format, "encoding").upper().removeprefix("AUDIO/")
            if type(rate) is not int or not 0 < rate < _RATE_LIMIT:
                rate = 0
            found.append(Track(item["name"][:64], encoding, rate))
    return tuple(found[:16])


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], Message]]] = {
    "start": _read_start,
    "media": _read_media,
    "stop": _read_stop,
    "playAudio": _read_play_audio,
    "clear": lambda fields: Clear(),
}


# -- writing -----------------------------------------------------------------------------------


#: Encodes bytes as a base64 JSON string, a little faster than binascii and an f-string.
_json: Final = msgspec.json.Encoder().encode


def _ascii(value: Any) -> str:
    """Write JSON, with escapes for what is not ASCII: that can only be inside of strings."""
    text = _json(value).decode()
    return re.sub(r"[^\0-\x7f]+", lambda found: _quote(found[0])[1:-1], text)


def _write_start(message: Start) -> str:
    fields: dict[str, Any] = {
        "metadata": {
            "accountId": message.account_id,
            "callId": message.call_id,
            "streamId": message.stream_id,
            "streamName": message.stream_name,
            "tracks": [
                {
                    "name": track.name,
                    "mediaFormat": {"encoding": track.encoding, "sampleRate": track.sample_rate},
                }
                for track in message.tracks
            ],
        }
    }
    if message.stream_params:
        fields["streamParams"] = message.stream_params
    fields["eventType"] = "start"
    return _ascii(fields)


def _write_media(message: Media) -> str:
    track = f'"track":{_quote(message.track)},' if message.track is not None else ""
    number = message.sequence_number
    sequence = "" if number is None else f'"sequenceNumber":{_ascii(number)},'
    return f'{{{track}"payload":{_json(message.payload).decode()},{sequence}"eventType":"media"}}'


def _write_stop(message: Stop) -> str:
    metadata = {"callId": message.call_id, "streamId": message.stream_id}
    return _ascii({"metadata": metadata, "eventType": "stop"})


_ENCODERS: Final[dict[type, Callable[[Any], str]]] = {
    Start: _write_start,
    Media: _write_media,
    Stop: _write_stop,
    PlayAudio: lambda message: play_audio_writer(message.content_type, bytes)(message.payload),
    Clear: lambda message: '{"eventType":"clear"}',
}
