"""What stands in a capture: its topics, their JSON schemas, and the typed bodies.

A public format, ``bandwidth-call-capture`` 1.1, in an MCAP file: other programs write and read it.
Within a major version topics and fields are only added; readers skip what they do not know.

======================== ======================================================================
topic                    one record is
======================== ======================================================================
``/ws/rx``               a message that arrived: its JSON text, verbatim but for redaction
``/ws/rx/invalid``       one that is not a JSON object in UTF-8, as the audio of some carriers:
                         :class:`Invalid`
``/ws/tx``               a message that the serializer made: likewise
``/ws/tx/binary``        one that is not a JSON object: likewise
``/frames/in/audio``     an audio frame that ``deserialize`` made: :class:`AudioFrame`
``/frames/in/other``     any other frame that it made: :class:`OtherFrame`
``/frames/out/audio``    an audio frame that was given to ``serialize``: :class:`AudioFrame`
``/frames/out/other``    any other frame that was given to it: :class:`OtherFrame`
``/hang_up``             how an attempt to end the call came out: :class:`HangUp` (1.1)
``/pipeline``            what the pipeline said of itself: :class:`Pipeline` (1.1)
``/words``               what somebody said, for those who ask: :class:`Words` (1.1)
``/log``                 what the serializer logged or raised: :class:`LogRecord`
``/capture/clock``       three clocks read together, each 10 s: :class:`Clock`
``/capture/stats``       the state of the recording, each second: :class:`Stats`
``/notes``               a mark that was made during the call: :class:`Note`
======================== ======================================================================

The metadata record ``capture`` names the version. What 1.1 added to 1.0, which is read for ever:

- ``/hang_up``. In 1.0 only the serializer's log lines told of a hang-up.
- ``/pipeline``. In 1.0 these were notes that began with ``pipeline: ``.
- ``/words``, only if :class:`workbench.observer.PipelineEvents` was asked for it.
- The metadata record ``labels``, if the call has any: names and values of the bot's own.

Conventions:
    ``log_time`` is a monotonic clock moved by a constant so that it looks like UNIX time: it never
    steps. ``sequence`` counts the records of one topic from 1; a gap is what the recording dropped.
    No integer of a body exceeds 2**53, which JavaScript could not hold: a time is ``{sec, nsec}``.

References:
    MCAP: https://mcap.dev/spec. ``foxglove.RawAudio`` and ``foxglove.Log``:
    https://docs.foxglove.dev/docs/sdk/schemas. Foxglove takes a subset of JSON Schema: an object
    with ``properties``, in which every field has one plain type; no ``$ref``, ``anyOf`` or
    ``null``. Generated schemas do not fit in it, hence these are written by hand.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from msgspec import Struct

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "TOPICS",
    "AudioFrame",
    "Body",
    "Clock",
    "HangUp",
    "Invalid",
    "LogRecord",
    "Note",
    "OtherFrame",
    "Pipeline",
    "Stamped",
    "Stats",
    "Time",
    "Topic",
    "Words",
]

FORMAT: Final = "bandwidth-call-capture"
FORMAT_VERSION: Final = "1.1"


# -- bodies ------------------------------------------------------------------------------------


class Time(Struct, frozen=True):
    """A moment, in two parts that JavaScript can hold.

    Attributes:
        sec: Whole seconds since 1970, or since the start of the clock.
        nsec: Nanoseconds, 0 to 999,999,999.
    """

    sec: int
    nsec: int

    @classmethod
    def from_ns(cls, ns: int) -> Time:
        """Split nanoseconds."""
        return cls(*divmod(ns, 1_000_000_000))


class Body(Struct, kw_only=True, omit_defaults=True, gc=False):
    """Any typed body; what is ``None`` is left out of the JSON."""

    @property
    def weight(self) -> int:
        """About how many bytes it takes while it waits to be written."""
        return 512


class Stamped(Body, kw_only=True, omit_defaults=True, gc=False):
    """A body of Foxglove's, which repeats the time of its record.

    Attributes:
        timestamp: That time; the writer fills it in.
    """

    timestamp: Time | None = None


class AudioFrame(Stamped, kw_only=True, omit_defaults=True, gc=False):
    """One audio frame, as ``foxglove.RawAudio`` with fields of our own.

    Attributes:
        data: The samples as the frame had them, 16-bit little-endian, channels interleaved.
        format: ``"pcm-s16"``.
        sample_rate: In hertz.
        number_of_channels: As the frame said.
        frame: Class of the frame.
        frame_id: Pipecat's number of it.
        pts_us: Its presentation time in microseconds.
        took_us: How long the call of the serializer took, in microseconds.
        cause: ``sequence`` of the ``/ws/rx`` record that it was made from.
    """

    data: bytes
    format: str
    sample_rate: int
    number_of_channels: int
    frame: str = ""
    frame_id: int | None = None
    pts_us: float | None = None
    took_us: float | None = None
    cause: int | None = None

    @property
    def weight(self) -> int:
        """About how many bytes it takes while it waits to be written."""
        return 512 + len(self.data)


class OtherFrame(Body, kw_only=True, omit_defaults=True, gc=False):
    """One frame that is not audio.

    Attributes:
        frame: Class of the frame.
        frame_id: Pipecat's number of it.
        name: Pipecat's name of it.
        pts_us: Its presentation time in microseconds.
        fields: Its own fields, as far as JSON can hold them.
        result: What the serializer made of it: ``"sent"``, ``"none"`` or ``"error"``.
        took_us: How long the call of the serializer took, in microseconds.
        cause: ``sequence`` of the ``/ws/rx`` record that it was made from.
    """

    frame: str
    frame_id: int | None = None
    name: str = ""
    pts_us: float | None = None
    fields: dict[str, Any] = {}
    result: str = ""
    took_us: float | None = None
    cause: int | None = None


class HangUp(Body, kw_only=True, omit_defaults=True, gc=False):
    """How one attempt to end the call came out; its record has the time at which that was known.

    Attributes:
        outcome: ``"ended"`` by this attempt, ``"already_over"`` before it, ``"failed"`` or
            ``"cancelled"``; after the last two the call may still be up.
        status_code: HTTP status of the last answer.
        attempts: Requests that were made for the call.
        reason: Why it may still be up.
        took_us: How long the attempt took, in microseconds.
    """

    outcome: str
    status_code: int | None = None
    attempts: int | None = None
    reason: str = ""
    took_us: float | None = None


class Pipeline(Body, kw_only=True, omit_defaults=True, gc=False):
    """Something that happened in the pipeline around the serializer.

    Attributes:
        what: What it was: ``"bot begins to speak"``, ``"first byte"``.
        processor: Which part of the pipeline it is about.
        seconds: For a metric: what was measured.
    """

    what: str
    processor: str = ""
    seconds: float | None = None


class Words(Body, kw_only=True, omit_defaults=True, gc=False):
    """What one side said, without what :mod:`workbench.capture.personal` takes out.

    One record is a transcript, or what a synthesis said from its start to its stop. Its time is that
    at which the text was first known. Seconds count from there; they are those at which the sound
    would be heard if it were played as soon as the synthesis gives it.

    Attributes:
        side: ``"caller"`` or ``"bot"``.
        text: What was said, or was going to be.
        processor: Which part of the pipeline knew it.
        is_whole: False for a transcript that was never final, and for a speech that was interrupted
            before its synthesis had ended.
        is_timed: Whether the synthesis gave the times of its words; otherwise they are estimates.
        at: Of each part of the text that has a time, the index of its first character.
        starts: When each begins, in seconds; empty if it never sounded, as for the caller.
        ends: When each ends.
    """

    side: str
    text: str
    processor: str = ""
    is_whole: bool = True
    is_timed: bool = False
    at: list[int] = []
    starts: list[float] = []
    ends: list[float] = []

    @property
    def weight(self) -> int:
        """About how many bytes it takes while it waits to be written."""
        return 512 + len(self.text) + 64 * len(self.at)


class LogRecord(Stamped, kw_only=True, omit_defaults=True, gc=False):
    """One log record, as ``foxglove.Log``.

    Attributes:
        level: 1 debug, 2 info, 3 warning, 4 error, 5 fatal; 0 unknown.
        message: The text.
        name: Module that logged it.
        file: Its file name.
        line: Its line.
    """

    level: int
    message: str
    name: str = ""
    file: str = ""
    line: int | None = None

    @property
    def weight(self) -> int:
        """About how many bytes it takes while it waits to be written."""
        return 512 + len(self.message)


class Clock(Body, kw_only=True, omit_defaults=True, gc=False):
    """Clocks read together: shows drift, steps of NTP, a suspended machine.

    Attributes:
        monotonic: The clock that record times come from, as it is.
        unix: The wall clock.
        boottime: Counts on while the machine is suspended; only where the system has it.
    """

    monotonic: Time
    unix: Time
    boottime: Time | None = None


class Stats(Body, kw_only=True, omit_defaults=False, gc=False):
    """The state of the recording; the counts are since its start.

    Attributes:
        queued: Records that wait to be written.
        dropped: Records that were not recorded.
        bytes: Size of the file.
        flush_ms: What packing the last second took, on the writer's thread.
        fsync_ms: What getting it onto the disk took, on the writer's thread.
    """

    queued: int
    dropped: int
    bytes: int
    flush_ms: float
    fsync_ms: float


class Note(Body, kw_only=True, omit_defaults=True, gc=False):
    """A mark made during the call.

    Attributes:
        text: What it says.
    """

    text: str

    @property
    def weight(self) -> int:
        """About how many bytes it takes while it waits to be written."""
        return 512 + len(self.text)


class Invalid(Body, kw_only=True, omit_defaults=True, gc=False):
    """A message that is not a JSON object.

    Attributes:
        data: Its bytes; none when it was too long or might hold a secret.
        error: Why it is here.
    """

    data: bytes
    error: str = ""

    @property
    def weight(self) -> int:
        """About how many bytes it takes while it waits to be written."""
        return 512 + len(self.data)


# -- schemas -----------------------------------------------------------------------------------

_INTEGER: Final = {"type": "integer"}
_NUMBER: Final = {"type": "number"}
_STRING: Final = {"type": "string"}
_BASE64: Final = {"type": "string", "contentEncoding": "base64"}
_ANYTHING: Final = {"type": "object", "properties": {}}
_TIME: Final = {
    "type": "object",
    "title": "time",
    "properties": {
        "sec": {"type": "integer", "minimum": 0},
        "nsec": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    },
}
_FRAME: Final = {
    "frame": _STRING,
    "frame_id": _INTEGER,
    "pts_us": _NUMBER,
    "took_us": _NUMBER,
    "cause": _INTEGER,
}


class Topic(NamedTuple):
    """How one topic is declared.

    Parameters:
        schema: Name of the schema.
        properties: What the root object of the JSON schema may have.
        metadata: Of the channel: ``direction``, ``nominal_rate`` in records/s.
    """

    schema: str
    properties: dict[str, dict[str, Any]]
    metadata: dict[str, str] = {}

    def json_schema(self) -> dict[str, Any]:
        """The schema as it stands in the file."""
        return {"title": self.schema, "type": "object", "properties": self.properties}


_RECEIVED: Final[dict[str, dict[str, Any]]] = {
    "eventType": _STRING,
    "track": _STRING,
    "sequenceNumber": _STRING,
    "payload": _BASE64,
    "metadata": _ANYTHING,
    "streamParams": _ANYTHING,
}
_SENT: Final[dict[str, dict[str, Any]]] = {
    "eventType": _STRING,
    "media": {"type": "object", "properties": {"contentType": _STRING, "payload": _BASE64}},
}
_RAW_AUDIO: Final[dict[str, dict[str, Any]]] = {
    "timestamp": _TIME,
    "data": _BASE64,
    "format": _STRING,
    "sample_rate": _INTEGER,
    "number_of_channels": _INTEGER,
    **_FRAME,
}
_OTHER_FRAME: Final[dict[str, dict[str, Any]]] = {
    **_FRAME,
    "name": _STRING,
    "fields": _ANYTHING,
    "result": _STRING,
}
_HANG_UP: Final[dict[str, dict[str, Any]]] = {
    "outcome": _STRING,
    "status_code": _INTEGER,
    "attempts": _INTEGER,
    "reason": _STRING,
    "took_us": _NUMBER,
}
_PIPELINE: Final[dict[str, dict[str, Any]]] = {
    "what": _STRING,
    "processor": _STRING,
    "seconds": _NUMBER,
}
_WORDS: Final[dict[str, dict[str, Any]]] = {
    "side": _STRING,
    "text": _STRING,
    "processor": _STRING,
    "is_whole": {"type": "boolean"},
    "is_timed": {"type": "boolean"},
    "at": {"type": "array", "items": _INTEGER},
    "starts": {"type": "array", "items": _NUMBER},
    "ends": {"type": "array", "items": _NUMBER},
}
_LOG: Final[dict[str, dict[str, Any]]] = {
    "timestamp": _TIME,
    "level": _INTEGER,
    "message": _STRING,
    "name": _STRING,
    "file": _STRING,
    "line": _INTEGER,
}
_BYTES: Final[dict[str, dict[str, Any]]] = {"data": _BASE64, "error": _STRING}
_CLOCK: Final[dict[str, dict[str, Any]]] = {"monotonic": _TIME, "unix": _TIME, "boottime": _TIME}
_STATS: Final[dict[str, dict[str, Any]]] = {
    "queued": _INTEGER,
    "dropped": _INTEGER,
    "bytes": _INTEGER,
    "flush_ms": _NUMBER,
    "fsync_ms": _NUMBER,
}

_INBOUND: Final = {"direction": "inbound", "nominal_rate": "50"}
_OUTBOUND: Final = {"direction": "outbound", "nominal_rate": "50"}
_IN: Final = {"direction": "inbound"}
_OUT: Final = {"direction": "outbound"}

#: Every topic that is written, in the order of their channel ids.
TOPICS: Final[dict[str, Topic]] = {
    "/ws/rx": Topic("bandwidth.media_stream.Received", _RECEIVED, _INBOUND),
    "/ws/tx": Topic("bandwidth.media_stream.Sent", _SENT, _OUTBOUND),
    "/ws/rx/invalid": Topic("capture.Bytes", _BYTES, _IN),
    "/ws/tx/binary": Topic("capture.Bytes", _BYTES, _OUT),
    "/frames/in/audio": Topic("foxglove.RawAudio", _RAW_AUDIO, _INBOUND),
    "/frames/out/audio": Topic("foxglove.RawAudio", _RAW_AUDIO, _OUTBOUND),
    "/frames/in/other": Topic("pipecat.Frame", _OTHER_FRAME, _IN),
    "/frames/out/other": Topic("pipecat.Frame", _OTHER_FRAME, _OUT),
    "/log": Topic("foxglove.Log", _LOG),
    "/capture/clock": Topic("capture.Clock", _CLOCK, {"nominal_rate": "0.1"}),
    "/capture/stats": Topic("capture.Stats", _STATS, {"nominal_rate": "1"}),
    "/notes": Topic("capture.Note", {"text": _STRING}),
    "/hang_up": Topic("capture.HangUp", _HANG_UP),
    "/pipeline": Topic("capture.Pipeline", _PIPELINE),
    "/words": Topic("capture.Words", _WORDS),
}
