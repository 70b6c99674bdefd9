"""Things that a WebSocket can bring and Bandwidth never sends: 65 of them."""

from __future__ import annotations

import base64
import json

_AUDIO = base64.b64encode(b"\xff" * 160).decode()
_DIGITS = "9" * 5000
_DEEP = 200_000


def _media(**fields: object) -> str:
    return json.dumps({"track": "inbound", "payload": _AUDIO, "eventType": "media"} | fields)


def _start(metadata: object) -> str:
    return json.dumps({"metadata": metadata, "eventType": "start"})


_TWILIO = {"event": "media", "media": {"payload": _AUDIO}}
_INJECTION = {"callId": "c-1\n2026-01-01 | ERROR | forged", "streamId": "s\r\n1", "tracks": []}

INPUTS: dict[str, str | bytes] = {
    # JSON, but no object
    "null": "null",
    "array": "[]",
    "array of objects": f"[{_media()}]",
    "string": '"media"',
    "number": "7",
    "fraction": "1.5",
    "true": "true",
    "false": "false",
    # a start that is not one
    "metadata null": _start(None),
    "metadata list": _start(["c-1"]),
    "metadata string": _start("c-1"),
    "metadata number": _start(7),
    "no metadata": '{"eventType":"start"}',
    "line break in an id": _start(_INJECTION),
    "tracks of numbers": _start({"tracks": [1, None, {}]}),
    # a payload that is not text
    "payload number": _media(payload=7),
    "payload zero": _media(payload=0),
    "payload fraction": _media(payload=1.5),
    "payload list": _media(payload=[255] * 160),
    "payload object": _media(payload={"data": _AUDIO}),
    "payload true": _media(payload=True),
    "payload null": _media(payload=None),
    "no payload": '{"track":"inbound","eventType":"media"}',
    # text that is not base64
    "payload empty": _media(payload=""),
    "payload A": _media(payload="A"),
    "payload cut": _media(payload=_AUDIO[:-5]),
    "payload without padding": _media(payload=_AUDIO.rstrip("=")),
    "payload over-padded": _media(payload=_AUDIO + "===="),
    "payload not ASCII": _media(payload="\u00e9" * 160),
    "payload surrogate": _media(payload="\ud800" * 4),
    "payload !!!!": _media(payload="!!!!"),
    "junk inside": _media(payload=_AUDIO[:40] + "\x00*~" + _AUDIO[40:]),
    "line breaks inside": _media(payload=_AUDIO[:76] + "\n" + _AUDIO[76:]),
    "URL-safe alphabet": _media(payload="-_" * 80),
    # too much
    "10 MB of audio": _media(payload="/" * 10_000_000),
    "event name of 1 MB": json.dumps({"eventType": "x" * 1_000_000}),
    "number of 5,000 digits": f'{{"eventType":"media","payload":"{_AUDIO}","x":{_DIGITS}}}',
    "sequence number of 5,000 digits": _media(sequenceNumber=_DIGITS),
    "200,000 arrays deep": "[" * _DEEP + "]" * _DEEP,
    "200,000 objects deep": '{"a":' * _DEEP + "1" + "}" * _DEEP,
    "media with 200,000 arrays": f'{{"eventType":"media","x":{"[" * _DEEP}{"]" * _DEEP}}}',
    # not JSON
    "empty": "",
    "one brace": "{",
    "words": "hello",
    "cut": _media()[:100],
    "trailing comma": _media()[:-1] + ",}",
    "single quotes": _media().replace('"', "'"),
    "two messages": _media() * 2,
    "byte order mark": "\ufeff" + _media(),
    # binary
    "empty binary": b"",
    "raw audio": bytes(range(128, 256)) * 2,
    "invalid UTF-8": b'{"eventType":"\xff"}',
    "UTF-16": _media().encode("utf-16"),
    # numbers and keys that JSON does not settle
    "NaN": '{"eventType":"media","payload":NaN}',
    "Infinity": '{"eventType":"media","payload":Infinity}',
    "1e999": '{"eventType":"media","payload":1e999}',
    "keys twice": '{"eventType":"media","payload":"A","payload":"","eventType":"media"}',
    # unknown shapes
    "no eventType": "{}",
    "eventType null": '{"eventType":null}',
    "eventType number": '{"eventType":7}',
    "eventType list": '{"eventType":["media"]}',
    "Twilio's shape": json.dumps(_TWILIO),
    "track list": _media(track=["inbound"]),
    "track number": _media(track=7),
    "sequence number list": _media(sequenceNumber=[1]),
}
