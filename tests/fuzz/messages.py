"""Hostile messages for the serializer, as many as one likes.

So many broken messages are sent into calls, and it is counted how many would have ended one: raised,
or given the pipeline something that is not audio, or made the call deaf to the next good message.
Each message goes into a new call and into a long one that has had all those before it. A line of the
log that is too long, or holds more than plain text, counts too.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.exceptions import ProtocolError
from pipecat_bandwidth.messages import Clear, Media, PlayAudio, Start, Stop, Track, encode, parse

STREAM, CALL = "s-2a913f94-93e372e2", "c-15ac29a2-1331029c"
START = Start(STREAM, CALL, "9900000", "agent", (Track("inbound"),), {"token": "abc"})
GOOD = Media(bytes(range(160)), "inbound", "1")
#: What is broken: every message there is.
REAL = [
    encode(message)
    for message in (
        GOOD,
        START,
        Stop(STREAM, CALL),
        Media(b"\x7f" * 160, "outbound", "77"),
        PlayAudio("audio/pcmu", b"\xff" * 160),
        Clear(),
    )
]
#: Longest line of the log that a message may bring about.
LONGEST_LINE = 400
#: What stands in for a value.
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", " ", "A", "AA==", "AAAA", "\0", "\n\r", "\u2028", "\ud800", "null", "inbound",
    "outbound", "media", "start", "stop", "clear", "PCMU", "x" * 70_000, [], {}, [[]], [None], ["inbound"],
    {"eventType": "media"}, [{}] * 20, {"": ""},
]  # fmt: skip


def nested(depth: int, opening: str, closing: str) -> str:
    return opening * depth + closing * depth


def _media(**fields: Any) -> str:
    return json.dumps({"track": "inbound", "payload": "////", "sequenceNumber": "5"} | fields)[
        :-1
    ] + (', "eventType": "media"}')


def _start(metadata: Any = None, **fields: Any) -> str:
    return json.dumps({"metadata": metadata, **fields, "eventType": "start"})


_DEEP = 200_000
#: Every kind of message that was seen, or might be thought of, to end a call.
HOSTILE: dict[str, Any] = {
    # not an object
    "null": "null",
    "array": "[]",
    "string": '"media"',
    "number": "7",
    "float": "1e5",
    "true": "true",
    "array of messages": f"[{REAL[0]}]",
    # not JSON
    "empty text": "",
    "empty bytes": b"",
    "spaces": "   ",
    "cut": REAL[0][:100],
    "cut before the end": REAL[0][:-1],
    "two messages": REAL[0] + REAL[0],
    "byte order mark": "\ufeff" + REAL[0],
    "bytes with byte order mark": b"\xef\xbb\xbf" + REAL[0].encode(),
    "raw audio": b"\xff" * 160,
    "invalid UTF-8": b'{"eventType":"\xff\xfe"}',
    "invalid UTF-8 beside": b'{"x":"\xff","eventType":"media","payload":"////"}',
    "UTF-16": REAL[0].encode("utf-16"),
    "lone surrogate": '{"eventType":"\ud800"}',
    "escaped lone surrogate": r'{"eventType":"\ud800"}',
    "NUL": "\0",
    "single quotes": REAL[0].replace('"', "'"),
    "NaN": '{"eventType":"media","payload":NaN}',
    "infinity": '{"eventType":"media","payload":"////","x":-Infinity}',
    "1e999": '{"eventType":"media","payload":"////","x":1e999}',
    "long integer": '{"eventType":"media","payload":"////","x":' + "9" * 5000 + "}",
    "deep arrays": nested(_DEEP, "[", "]"),
    "deep objects": '{"a":' * _DEEP + "1" + "}" * _DEEP,
    "deep arrays in 60 kB": nested(30_000, "[", "]"),
    "deep inside a media": '{"eventType":"media","payload":"////","x":'
    + nested(30_000, "[", "]")
    + "}",
    "deep inside a start": '{"eventType":"start","metadata":{"x":'
    + nested(30_000, "[", "]")
    + "}}",
    # eventType
    "no eventType": '{"payload":"////"}',
    "eventType null": '{"eventType":null}',
    "eventType number": '{"eventType":5}',
    "eventType list": '{"eventType":["media"]}',
    "eventType twice": '{"eventType":"media","payload":"////","eventType":"stop"}',
    "unknown event": '{"eventType":"mark"}',
    "unknown event of 1 MB": json.dumps({"eventType": "x" * 1_000_000}),
    "unknown event with line breaks": json.dumps({"eventType": "a\r\nFAKE LINE"}),
    "as Twilio has it": '{"event":"media","media":{"track":"inbound","payload":"////"}}',
    # media
    "payload missing": '{"track":"inbound","eventType":"media"}',
    "payload null": _media(payload=None),
    "payload empty": _media(payload=""),
    "payload number": _media(payload=5),
    "payload true": _media(payload=True),
    "payload list": _media(payload=["////"]),
    "payload object": _media(payload={"a": "////"}),
    "payload of one letter": _media(payload="A"),
    "payload without padding": _media(payload="AA"),
    "payload with too much padding": _media(payload="AAAA=="),
    "payload of junk": _media(payload="!!!!"),
    "payload with junk inside": _media(payload="//\n//"),
    "payload for URLs": _media(payload="____"),
    "payload not ASCII": _media(payload="\u00e4\u00f6\u00fc\u00df"),
    "payload of 10 MB": _media(payload="/" * 10_000_000),
    "track null": _media(track=None),
    "track number": _media(track=5),
    "track list": _media(track=["inbound"]),
    "track unknown": _media(track="both"),
    "sequence huge": _media(sequenceNumber="9" * 5000),
    "sequence negative": _media(sequenceNumber=-5),
    "sequence object": _media(sequenceNumber={"n": 1}),
    "sequence far ahead": _media(sequenceNumber=str(10**17)),
    # start and stop
    "start without metadata": '{"eventType":"start"}',
    "start with metadata null": _start(None),
    "start with metadata list": _start([1]),
    "start with metadata string": _start("x"),
    "start with numbers for ids": _start({"streamId": 5, "callId": [], "accountId": {}}),
    "start with line breaks in ids": _start(
        {"streamId": "s\r\nFAKE LINE", "callId": "c\n\x1b[31m"}
    ),
    "start of another call": _start({"streamId": "s-other", "callId": "c-other"}),
    "start with tracks null": _start({"streamId": STREAM, "tracks": None}),
    "start with broken tracks": _start(
        {"tracks": [None, 5, [], {"name": []}, {"name": "inbound"}]}
    ),
    "start with 10,000 tracks": _start({"tracks": ["inbound"] * 5_000}),
    "start with another format": _start(
        {
            "tracks": [
                {"name": "inbound", "mediaFormat": {"encoding": "OPUS\n", "sampleRate": 48000}}
            ]
        }
    ),
    "start with a rate of 4299 digits": _start(
        {
            "tracks": [
                {"name": "inbound", "mediaFormat": {"encoding": "PCMU", "sampleRate": 10**4298}}
            ]
        }
    ),
    "start with a rate of 60,000 digits": '{"eventType":"start","metadata":{"tracks":[{"name":'
    '"inbound","mediaFormat":{"encoding":"PCMU","sampleRate":' + "9" * 60_000 + "}}]}}",
    "start with a negative rate": _start(
        {"tracks": [{"name": "inbound", "mediaFormat": {"encoding": "PCMU", "sampleRate": -1}}]}
    ),
    "start with broken parameters": _start({}, streamParams={"a": {"b": 1}, "c": None}),
    "stop without metadata": '{"eventType":"stop"}',
    "stop of another stream": '{"eventType":"stop","metadata":{"streamId":"s-other"}}',
    "playAudio from the far end": REAL[4],
    "clear from the far end": REAL[5],
    "stop with metadata list": '{"eventType":"stop","metadata":[]}',
    # not even text
    "None": None,
    "a number for text": 5,
    "a list for text": ["x"],
    "bytearray": bytearray(b"\xff\xfe"),
    "memoryview": memoryview(b"[]"),
}


def broken(rng: random.Random) -> str | bytes:
    """Break one message, or several, in one of many ways."""
    text = rng.choice(REAL)
    how = rng.randrange(11)
    if how == 0:
        return rng.randbytes(rng.randrange(200))
    if how == 1:
        return "".join(map(chr, rng.choices(range(0x110000), k=rng.randrange(60))))
    if how == 2:
        return text[: rng.randrange(len(text))]
    if how == 3:
        return text[: rng.randrange(len(text))] + rng.choice(REAL)[rng.randrange(20) :]
    if how <= 5:
        return _flipped(rng, text.encode())
    if how == 6:
        at = rng.randrange(len(text))
        return text[:at] + rng.choice('{}[]":,\\\0\n=/') * rng.randrange(1, 4) + text[at:]
    if how == 7:
        return _deepened(rng, text)
    fields = json.loads(text)
    for _ in range(rng.randrange(1, 4)):
        spoil(rng, fields)
    return json.dumps(fields, ensure_ascii=rng.random() < 0.5)


def _deepened(rng: random.Random, text: str) -> str:
    """Put a value of many levels somewhere into a message."""
    fields = json.loads(text)
    inner = fields if rng.random() < 0.5 else rng.choice([*fields.values()])
    inner = inner if isinstance(inner, dict) else fields
    inner[rng.choice([*inner, "x"])] = "@@"
    depth = rng.choice([10, 500, 1100, 5000, 30_000])
    deep = rng.choice([nested(depth, "[", "]"), '{"a":' * (depth // 6) + "1" + "}" * (depth // 6)])
    return json.dumps(fields).replace('"@@"', deep)


def _flipped(rng: random.Random, data: bytes) -> bytes:
    flipped = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        flipped[rng.randrange(len(flipped))] = rng.randrange(256)
    return bytes(flipped)


def spoil(rng: random.Random, node: Any) -> None:
    """Change one thing somewhere in a JSON value."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return
    key = rng.choice(keys)
    if isinstance(node[key], (dict, list)) and rng.random() < 0.7:
        spoil(rng, node[key])
    elif isinstance(node, dict) and rng.random() < 0.3:
        value = node.pop(key)
        if rng.random() < 0.5:
            node[rng.choice(["eventType", "payload", "track", "metadata", key.upper()])] = value
    else:
        node[key] = deepcopy(rng.choice(VALUES))


async def begun(in_rate: int = 8000) -> BandwidthFrameSerializer:
    """A call that is up."""
    serializer = BandwidthFrameSerializer(
        STREAM, params=BandwidthFrameSerializer.InputParams(auto_hang_up=False)
    )
    await serializer.setup(SimpleNamespace(audio_in_sample_rate=in_rate))
    await serializer.deserialize(REAL[1])
    return serializer


async def ended(
    data: Any, in_rate: int = 8000, serializer: BandwidthFrameSerializer | None = None
) -> str | None:
    """Send a message into a call that is up: a new one, unless one is given.

    Returns:
        How it would have ended the call; ``None`` when the call goes on.
    """
    serializer = serializer or await begun(in_rate)
    try:
        frame = await serializer.deserialize(data)
    except Exception as error:
        return f"{type(error).__name__} raised"
    if frame is not None and not _is_audio(frame, in_rate):
        return f"{frame!r} given"
    heard = await serializer.deserialize(REAL[0])
    if heard is None and not _is_stop(data):
        return "deaf afterwards"
    return None


def _is_audio(frame: object, in_rate: int) -> bool:
    return (
        type(frame) is InputAudioRawFrame
        and frame.sample_rate == in_rate
        and frame.num_channels == 1
        and type(frame.audio) is bytes
        and 0 < len(frame.audio) <= 20 * in_rate
        and len(frame.audio) % 2 == 0
    )


def _is_stop(data: Any) -> bool:
    """Whether a broken message is still a good stop of this stream."""
    try:
        message = parse(data)
    except ProtocolError:
        return False
    return isinstance(message, Stop) and message.stream_id in ("", STREAM)


async def run(cases: int, seed: int) -> Counter[str]:
    """Count the cases that would have ended a call, by how."""
    rng = random.Random(seed)
    endings: Counter[str] = Counter()

    def check(line: str) -> None:
        text = line.removesuffix("\n")
        if len(text) > LONGEST_LINE or not (text.isascii() and text.isprintable()):
            endings[f"logged: {text[:60]!r}"] += 1

    sink = logger.add(check, level=0, format="{message}", filter="pipecat_bandwidth")
    long = await begun()
    for _ in range(cases):
        data, in_rate = broken(rng), rng.choice([8000, 8000, 16000, 24000])
        for how in (await ended(data, in_rate), await ended(data, 8000, long)):
            if how:
                endings[how] += 1
        if _is_stop(data):
            long = await begun()
    logger.remove(sink)
    return endings
