"""Keeps runs in the tree: without sound, which is nearly all of their size.

What is left is what cannot be made up: the times, sizes and order of everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from pipecat_bandwidth.encodings import from_content_type
from pipecat_bandwidth.messages import Media, PlayAudio, encode, parse
from tests.ground.calls import RUNS, Run, runs, write
from tests.ground.record import late_ms
from workbench.capture import AudioFrame, CaptureReader, Record

#: Of what was sent and played each moment is in the capture too.
LEFT_OUT = ("played", "bot")


def keep_all(recorded: Path, most_late_ms: float, most_bytes: int) -> Iterator[Path]:
    """Keep the runs that were least late, as many as fit; yield their paths.

    Runs with DTMF keys are left out: the sound of a key cannot be made again from its length.
    """
    size = 0
    for run in sorted(runs(recorded, most_late_ms=most_late_ms), key=_order):
        if any(answer.keys for answer in run.scenario.answers):
            continue
        path = keep(run, RUNS)
        added = path.stat().st_size + path.with_suffix(".json").stat().st_size
        if size + added > most_bytes:
            path.unlink()
            path.with_suffix(".json").unlink()
            continue
        size += added
        yield path


def _order(run: Run) -> tuple[float, int]:
    """The least late first; of those that were as late, of all releases and scenarios."""
    return late_ms(run.truth), crc32(run.path.stem.encode())


def keep(run: Run, folder: Path) -> Path:
    """Write a run without sound, and its truth beside it.

    Returns:
        The capture's path.
    """
    with CaptureReader(run.path) as reader:
        records, metadata = list(reader.records()), reader.metadata
    emptied = [
        (record.topic, record.time_ns, _emptied(record))
        for record in records
        if not record.topic.startswith("/capture/")
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / run.path.name
    path.unlink(missing_ok=True)
    truth = {name: value for name, value in run.truth.items() if name not in LEFT_OUT}
    text = json.dumps(truth, separators=(",", ":"))
    path.with_suffix(".json").write_text(text, encoding="utf-8")
    return write(emptied, metadata, path)


def _emptied(record: Record) -> Any:
    text = record.body.decode()
    if record.topic in ("/frames/in/audio", "/frames/out/audio"):
        frame = msgspec.json.decode(text, type=AudioFrame)
        return msgspec.structs.replace(frame, data=bytes(len(frame.data)))
    if record.topic not in ("/ws/rx", "/ws/tx"):
        return text
    message = parse(text, max_size=2**20)
    if isinstance(message, Media):
        return encode(msgspec.structs.replace(message, payload=b"\xff" * len(message.payload)))
    if isinstance(message, PlayAudio):
        wire = from_content_type(message.content_type)
        silence = wire.encode(bytes(len(wire.decode(message.payload))))
        return encode(msgspec.structs.replace(message, payload=silence))
    return text
