"""What happened on a call as text: a label track for Audacity, CSV for a spreadsheet.

References:
    Audacity manual, "Importing and Exporting Labels": ``start<tab>end<tab>text``, seconds.
    OWASP, "CSV Injection": what a spreadsheet would run as a formula.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from workbench.beside import written_beside
from workbench.call import Call, Stream
from workbench.capture import CaptureReader, Record
from workbench.notes import Note

if TYPE_CHECKING:
    from workbench.diagnosis import Finding

__all__ = ["write_csv", "write_findings", "write_labels"]

#: Fields of a finding that stand in the CSV under their own names, besides its parts.
_COLUMNS: Final = (
    "severity",
    "kind",
    "side",
    "value",
    "unit",
    "threshold",
    "confidence",
    "measurement",
    "cause",
    "remedy",
    "listen",
)


class _Row(NamedTuple):
    """One line of the CSV; ``None`` leaves a cell empty."""

    time_s: float
    source: str
    direction: str = ""
    kind: str = ""
    sequence: int | None = None
    bytes: int | None = None
    duration_ms: float | None = None
    lead_ms: float | None = None
    text: str = ""


def write_labels(
    call: Call, findings: Sequence[Finding], path: str | Path, notes: Iterable[Note] = ()
) -> None:
    """Write turns, events, findings and notes as a label track; in Audacity File > Import > Labels.

    Put it beside the sound of :func:`workbench.exports.write_audio`: both begin at t = 0.

    Args:
        call: The call.
        findings: As ``diagnose(call)`` returned them; none is fine.
        path: A text file.
        notes: What a person wrote, see :mod:`workbench.notes`.
    """
    labels: list[tuple[float, float, str]] = [
        *((turn.start, turn.end, f"{turn.side} speaks") for turn in call.turns),
        *((event.time, event.time, f"{event.kind} {event.text}") for event in call.events),
        *(label for found in findings for label in _labels(found)),
        *((note.start, note.end, f"note: {note.text or 'mark'}") for note in notes),
    ]
    labels.sort(key=lambda label: label[:2])
    lines = (f"{start:.6f}\t{end:.6f}\t{' '.join(text.split())}\n" for start, end, text in labels)
    with written_beside(path) as part:
        part.write_text("".join(lines), encoding="utf-8")


def write_csv(call: Call, path: str | Path) -> None:
    """Write every wire message and every event, in the order of time.

    The columns: ``time_s`` on the call's clock; ``source`` (wire or event); ``direction``;
    ``kind``; of messages also the wire ``sequence``, size of the JSON in ``bytes``, and of audio
    ``duration_ms``; of outbound audio ``lead_ms``, what was still queued at the far end when it
    was sent; ``text`` of events.

    Args:
        call: The call; its capture is read again for the messages.
        path: A CSV file (UTF-8, header line).
    """
    events = (
        _Row(event.time, "event", kind=event.kind, text=event.text)
        for event in sorted(call.events, key=lambda event: event.time)
    )
    with written_beside(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(_Row._fields)
        table.writerows(map(_cells, merge(_wire(call), events, key=lambda row: row.time_s)))


def write_findings(findings: Sequence[Finding], path: str | Path) -> None:
    """Write findings in the order given, a line for each part.

    The columns: ``finding`` counts them from 1, ``start_s``, ``end_s`` and ``part_value`` are those
    of the part (empty where only the whole was measured), all others those of the finding.

    Args:
        findings: As ``diagnose(call)`` returned them.
        path: A CSV file (UTF-8, header line).
    """
    with written_beside(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("finding", "start_s", "end_s", "part_value", *_COLUMNS))
        for number, found in enumerate(findings, 1):
            own = [getattr(found, name) for name in _COLUMNS]
            for incident in found.parts:
                table.writerow(_cells((number, *incident, *own)))


# -- rows --------------------------------------------------------------------------------------

_TOPICS: Final = {
    "/ws/rx": "inbound",
    "/ws/tx": "outbound",
    "/ws/rx/invalid": "inbound",
    "/ws/tx/binary": "outbound",
}


class _Typed(msgspec.Struct):
    event_type: str = msgspec.field(default="", name="eventType")


#: Begins a formula, OWASP's list: signs, also full-width ones, behind whatever is not seen.
_FORMULA: Final = re.compile(r"[\t\r\n]|[\s\x00-\x1f\u200b\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]")

_TYPE: Final = msgspec.json.Decoder(_Typed)


def _wire(call: Call) -> Iterator[_Row]:
    """Every message; what is known of its audio stands in the streams, in the same order."""
    audio = {"inbound": _audio(call.inbound), "outbound": _audio(call.outbound, call.playout.lead)}
    coming = {direction: next(rows, None) for direction, rows in audio.items()}
    with CaptureReader(call.path, call.budget) as reader:
        for record in reader.records(*_TOPICS):
            direction = _TOPICS[record.topic]
            time = (record.time_ns - call.anchor_ns) / 1e9
            row = coming[direction]
            kind = _kind(record)
            if row and row.time_s == time and kind in ("media", "playAudio"):
                coming[direction] = next(audio[direction], None)
            else:
                row = _Row(time, "wire", direction)
            yield row._replace(kind=kind, bytes=len(record.body))


def _audio(stream: Stream, lead: NDArray[np.float64] | None = None) -> Iterator[_Row]:
    direction = "inbound" if lead is None else "outbound"
    leads = [None] * len(stream) if lead is None else (lead * 1000).tolist()
    columns = (stream.time.tolist(), stream.sequence.tolist(), stream.duration.tolist(), leads)
    for time, sequence, duration, ahead in zip(*columns, strict=True):
        number = sequence if sequence >= 0 else None
        yield _Row(time, "wire", direction, "", number, None, 1000 * duration, ahead)


def _kind(record: Record) -> str:
    if record.topic not in ("/ws/rx", "/ws/tx"):
        return "invalid"
    try:
        return _TYPE.decode(record.body).event_type
    except (ValueError, RecursionError):
        return "invalid"


def _cells(row: Iterable[Any]) -> list[Any]:
    """Times to the microsecond, nothing for NaN; text that would run as a formula is quoted.

    A spreadsheet may pass over white space, and take full-width signs for their narrow forms.
    """
    cells: list[Any] = []
    for cell in row:
        if isinstance(cell, float):
            cell = None if math.isnan(cell) else round(cell, 6)
        elif isinstance(cell, str) and _FORMULA.match(cell):
            cell = "'" + cell
        cells.append(cell)
    return cells


def _labels(found: Finding) -> Iterator[tuple[float, float, str]]:
    side, count = f" ({found.side})" if found.side else "", len(found.parts)
    for number, part in enumerate(found.parts, 1):
        which = f"{number} of {count}, " if count > 1 else ""
        text = f"{found.severity}: {found.kind}{side}, {which}{found.measurement}"
        yield part.start, part.end, text
