"""Hostile captures: real records with structured damage, of records, fields, times, and the file."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from mcap.writer import CompressionType, Writer

from pipecat_bandwidth.messages import Clear, Stop, encode
from tests.fuzz.bombs import ANCHOR_NS, frame, talk
from tests.fuzz.isolated import Outcome, isolated
from tests.fuzz.messages import VALUES, nested, spoil
from tests.fuzz.whole import LINES, of_capture
from workbench.capture.schema import FORMAT, FORMAT_VERSION, TOPICS

#: A record in the making: topic, time in nanoseconds, number, body.
Row = list[Any]

_TIMES: Final = (0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, ANCHOR_NS)
_NUMBERS: Final = (0, -1, 1, 7, 160, 999, 2**31, 2**32, 2**53, 10**17, 10**18, 2**63, 2**64, 10**30)
_FIELDS: Final = (
    "sample_rate", "number_of_channels", "sequenceNumber", "payload", "data", "cause", "took_us", "level",
    "seconds", "dropped", "attempts", "status_code", "frame", "text", "what", "contentType", "track",
    "eventType", "outcome", "result",
)  # fmt: skip


@cache
def base() -> tuple[tuple[str, int, bytes], ...]:
    """A short call in which there is one of everything."""
    body = {
        "/frames/out/other": {"frame": "InterruptionFrame", "result": "sent"},
        "/log": {"level": 3, "message": "late"},
        "/notes": {"text": "a mark"},
        "/pipeline": {"what": "first byte", "processor": "tts", "seconds": 0.2},
        "/hang_up": {"outcome": "ended", "status_code": 200, "attempts": 1, "took_us": 2e5},
        "/capture/stats": {"queued": 0, "dropped": 0, "bytes": 1, "flush_ms": 1, "fsync_ms": 1},
        "/ws/rx/invalid": {"data": "AAAA", "error": "not JSON"},
    }
    others = [
        (topic, 1.0 + i / 50, json.dumps(b).encode()) for i, (topic, b) in enumerate(body.items())
    ]
    others += [("/ws/tx", 1.01, encode(Clear()).encode())]
    others += [("/frames/out/audio", 1.5, frame(bytes(960), 24000))]
    others += [("/ws/rx", 2.5, encode(Stop("s-1", "c-1")).encode())]
    rows = sorted([*talk(2.4), *others], key=lambda row: row[1])
    return tuple((topic, ANCHOR_NS + round(at * 1e9), data) for topic, at, data in rows)


def broken(rng: random.Random, path: Path) -> Path:
    """Write a capture that is broken in one or several ways."""
    rows: list[Row] = []
    numbers: dict[str, int] = {}
    for topic, time_ns, body in base():
        numbers[topic] = numbers.get(topic, 0) + 1
        rows.append([topic, time_ns, numbers[topic], body])
    metadata: dict[str, Any] = {
        "capture": {"format": FORMAT, "format_version": FORMAT_VERSION},
        "call": {"call_id": "c-1", "stream_id": "s-1"},
        "serializer": {"class": "x", "params": "{}"},
        "end": {"reason": "stop", "dropped": "0"},
    }
    for _ in range(rng.choice([1, 1, 2, 3, 5])):
        rng.choice(_DAMAGE)(rng, rows)
    if rng.random() < 0.2:
        _metadata(rng, metadata)
    _write(rng, rows, metadata, path)
    if rng.random() < 0.15:
        _bytes(rng, path)
    return path


# -- damage --------------------------------------------------------------------------------------


def _some(rng: random.Random, rows: list[Row]) -> list[Row]:
    """A record, some, a stretch of them, or all of a topic."""
    if not rows:
        return []
    how = rng.randrange(4)
    if how == 0:
        return [rng.choice(rows)]
    if how == 1:
        return rng.sample(rows, min(len(rows), 20))
    if how == 2:
        first = rng.randrange(len(rows))
        return rows[first : first + rng.randrange(1, 200)]
    topic = rng.choice(rows)[0]
    return [row for row in rows if row[0] == topic]


def _fields(rng: random.Random, rows: list[Row]) -> None:
    """Values of any kind at any place."""
    for row in _some(rng, rows):
        fields = _json(row)
        if isinstance(fields, (dict, list)):
            spoil(rng, fields)
            row[3] = json.dumps(fields).encode("utf-8", "surrogatepass")


def _known_field(rng: random.Random, rows: list[Row]) -> None:
    """One field of many records, and the same in all."""
    some = _some(rng, rows)
    present = {name for row in some if isinstance(f := _json(row), dict) for name in f}
    name = rng.choice(sorted(present & set(_FIELDS)) or list(_FIELDS))
    value = rng.choice([*VALUES, *_NUMBERS, *map(str, _NUMBERS)])
    for row in some:
        fields = _json(row)
        if isinstance(fields, dict):
            inner = fields.get("media") if isinstance(fields.get("media"), dict) else fields
            (inner if name in inner else fields)[name] = value
            row[3] = json.dumps(fields).encode("utf-8", "surrogatepass")


def _counted(rng: random.Random, rows: list[Row]) -> None:
    """Sequence numbers that leap, fall back, stand still."""
    leap, step = rng.choice(_NUMBERS), rng.choice([0, 1, 1, 1, -1, 2, 1000, 10**9, 10**13])
    for index, row in enumerate(_some(rng, [row for row in rows if row[0] == "/ws/rx"])):
        fields = _json(row)
        if isinstance(fields, dict):
            number = leap + index * step
            fields["sequenceNumber"] = number if rng.random() < 0.1 else str(number)
            row[3] = json.dumps(fields).encode()


def _sized(rng: random.Random, rows: list[Row]) -> None:
    """Audio of any length, also of half a sample or of minutes."""
    import base64

    size = rng.choice([0, 1, 2, 3, 159, 161, 4000, 40_000, 400_000])
    payload = base64.b64encode(rng.randbytes(min(size, 997)) * (size // 997 + 1)).decode()
    for row in _some(rng, rows):
        fields = _json(row)
        if isinstance(fields, dict):
            for name in ("payload", "data"):
                if name in fields:
                    fields[name] = payload
            if isinstance(fields.get("media"), dict):
                fields["media"]["payload"] = payload
            row[3] = json.dumps(fields).encode()


def _body(rng: random.Random, rows: list[Row]) -> None:
    """What is no JSON, or none that anybody writes."""
    depth = rng.choice([50, 99, 101, 900, 1100, 20_000])
    for row in _some(rng, rows):
        row[3] = rng.choice([
            b"", b"null", b"[]", b"{}", b"\xff\xfe", row[3][: len(row[3]) // 2], row[3] * 2, b"1e999",
            nested(depth, "[", "]").encode(), b'{"a":' * depth + b"1" + b"}" * depth,
            b'{"eventType":"' + b"x" * 100_000 + b'"}', b'{"eventType":"mark"}',
            b'{"eventType":"mark","a":[' + b"0," * 300_000 + b"0]}",
        ])  # fmt: skip


def _timed(rng: random.Random, rows: list[Row]) -> None:
    """Times of another day, of no day, in no order."""
    how = rng.randrange(5)
    shift = rng.choice([1, -1]) * rng.choice([10**3, 10**8, 10**10, 10**12, 10**13, 10**14, 10**15])
    stretch = rng.choice([0.0, 0.01, 3.0, 100.0, 5000.0])
    for row in _some(rng, rows):
        if how == 0:
            row[1] = rng.choice(_TIMES)
        elif how == 1:
            row[1] = ANCHOR_NS + rng.randrange(3 * 10**9)
        elif how == 2:
            row[1] = ANCHOR_NS + round((row[1] - ANCHOR_NS) * stretch)
        else:
            row[1] += shift
        row[1] = min(max(0, row[1]), 2**64 - 1)


def _dropped(rng: random.Random, rows: list[Row]) -> None:
    gone = set(map(id, _some(rng, rows)))
    rows[:] = [row for row in rows if id(row) not in gone]


def _repeated(rng: random.Random, rows: list[Row]) -> None:
    """Again, and again."""
    rows += [list(row) for row in _some(rng, rows) for _ in range(rng.choice([1, 1, 3, 50]))]


def _flooded(rng: random.Random, rows: list[Row]) -> None:
    """So many of one record as no call has."""
    if rows:
        row = rng.choice(rows)
        gap = rng.choice([0, 1000, 10**6, 10**8])
        count = rng.choice([300, 3000, 10_000]) if len(row[3]) < 1000 else 300
        rows += [
            [row[0], min(row[1] + i * gap, 2**64 - 1), row[2] + i, row[3]] for i in range(count)
        ]


def _renamed(rng: random.Random, rows: list[Row]) -> None:
    """Records under the name of others."""
    topic = rng.choice([*TOPICS, "", "/nobody", "/ws/", "x" * 3000])
    for row in _some(rng, rows):
        row[0] = topic


def _numbered(rng: random.Random, rows: list[Row]) -> None:
    """Numbers of records, by which the recording's own losses are told."""
    for row in _some(rng, rows):
        row[2] = rng.choice([0, 1, 5, 1000, 2**31, 2**32 - 1])


_DAMAGE: Final[tuple[Callable[[random.Random, list[Row]], None], ...]] = (
    _fields, _fields, _known_field, _known_field, _counted, _sized, _body, _timed, _timed, _dropped,
    _repeated, _flooded, _renamed, _numbered,
)  # fmt: skip


def _json(row: Row) -> Any:
    try:
        return json.loads(row[3])
    except (ValueError, RecursionError):
        return None


def _metadata(rng: random.Random, metadata: dict[str, Any]) -> None:
    texts = ["", "x" * 300_000, "\0", "1.9", "2.0", "-1", "9" * 400, "{", "null", "[]", nested(3000, "[", "]"),
             '{"outbound_encoding": 5}', "\u202e<b>", "$\\frac{", "sample_rate"]  # fmt: skip
    name = rng.choice([*metadata, "labels", "x" * 3000])
    if rng.random() < 0.2:
        metadata.pop(name, None)
    else:
        fields = metadata.setdefault(name, {})
        fields[rng.choice([*fields, "params", "dropped", "call_id", *texts[:3]])] = rng.choice(
            texts
        )


# -- the file ------------------------------------------------------------------------------------


def _write(rng: random.Random, rows: list[Row], metadata: dict[str, Any], path: Path) -> None:
    if rng.random() < 0.9:
        rows = sorted(rows, key=lambda row: row[1])
    squeeze = rng.choice([*CompressionType])
    with path.open("wb") as file:
        writer = Writer(
            file, chunk_size=rng.choice([1, 1000, 1 << 16, 1 << 20]), compression=squeeze,
            use_chunking=rng.random() < 0.95,
        )  # fmt: skip
        writer.start(library="fuzz")
        for name, fields in metadata.items():
            writer.add_metadata(name, fields)
        channels: dict[str, int] = {}
        for topic, time_ns, number, body in rows:
            if topic not in channels:
                schema = writer.register_schema("x", "jsonschema", b"{}")
                channels[topic] = writer.register_channel(topic, "json", schema, {})
            writer.add_message(channels[topic], time_ns, body, time_ns, number & 0xFFFFFFFF)
        writer.finish()


def _bytes(rng: random.Random, path: Path) -> None:
    """Bytes that turned, or an end that never came."""
    data = bytearray(path.read_bytes())
    if rng.random() < 0.5:
        del data[rng.randrange(len(data)) :]
    else:
        for _ in range(rng.choice([1, 5, 50])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def case(seed: int, number: int) -> Outcome:
    """Make and try one of the captures of a seed: comparison and report in a share of them."""
    rng = random.Random(f"{seed} {number}")
    with TemporaryDirectory() as folder:
        path = broken(rng, Path(folder, "a.mcap"))
        tried = partial(of_capture, path, is_compared=number % 20 == 0, is_reported=number % 4 == 0)
        return isolated(tried, LINES)
