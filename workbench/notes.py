"""Marks and notes of a person, beside a capture: ``call.mcap.notes.json``, never in it.

A capture is evidence and stays as it was written; what somebody thought of it is a file of its own,
readable by its owner alone, that may be mailed or thrown away::

    {"format": "bandwidth-call-notes", "version": 1, "notes": [
        {"id": "5f0c9a1e", "start": 9.68, "end": 10.08, "text": "the hole they complained of",
         "at": "2026-11-29T15:04:05+00:00"}]}

Times are in seconds on the call's clock. Notes are no findings: no figure counts them.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from workbench.beside import written_beside
from workbench.exceptions import NotesError

__all__ = ["LONGEST", "Note", "Notes", "labels_of", "notes_path"]

_FORMAT: Final = "bandwidth-call-notes"
#: Characters of a note, and notes of a call: more is no note.
LONGEST, _MOST = 2000, 2000
#: Of a recording, which loses it when it is finished.
_PART: Final = ".part"

_writing = threading.Lock()


@dataclass(frozen=True)
class Note:
    """One note.

    Parameters:
        id: What it is changed by.
        start: Where it begins, in seconds on the call's clock.
        end: Where it ends; ``start`` of a moment.
        text: What was written; empty for a mark.
        at: When it was written, UTC, ISO 8601.
    """

    id: str
    start: float
    end: float
    text: str
    at: str


class Notes:
    """The notes of one capture. Each change reads the file, and writes it whole.

    Parameters:
        capture: The capture, also one that is still being recorded.

    Attributes:
        path: The file of the notes; it need not be there.
    """

    def __init__(self, capture: str | Path) -> None:
        """Name them; nothing is read."""
        self.path = notes_path(capture)

    def read(self) -> tuple[Note, ...]:
        """All notes, in order of their time.

        Raises:
            NotesError: If the file is something else.
        """
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise NotesError(self.path, getattr(error, "strerror", None) or "no text") from error
        try:
            told = json.loads(text)
            if told["format"] != _FORMAT or told["version"] != 1:
                raise NotesError(self.path, f"format {told['format']!r} {told['version']!r}")
            notes = [_checked(**one) for one in told["notes"]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise NotesError(self.path, f"not notes of a call: {error}") from error
        return tuple(sorted(notes, key=lambda note: (note.start, note.end)))

    def write(self, start: float, end: float, text: str = "", id: str | None = None) -> Note:
        """Add a note, or write one anew.

        Args:
            start: Where it begins, in seconds; ``end`` likewise.
            end: Where it ends.
            text: What it says.
            id: Of the one that is written anew.

        Raises:
            ValueError: If a time is none, the text is too long, there are too many, or none has that id.
            NotesError: If what stands in the file is something else: it is left as it is.
            OSError: If it cannot be written.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        note = _checked(id or secrets.token_hex(4), start, end, text, at)
        with _writing:
            notes = {one.id: one for one in self.read()}
            if id is not None and id not in notes:
                raise ValueError(f"no note {id!r}; it may have been removed elsewhere")
            if len(notes) >= _MOST and id is None:
                raise ValueError(f"a call has at most {_MOST} notes")
            notes[note.id] = note
            self._write(notes.values())
        return note

    def remove(self, id: str) -> None:
        """Take a note away; one that is gone already is no error.

        Raises:
            NotesError: As :meth:`write`.
            OSError: Likewise.
        """
        with _writing:
            kept = [note for note in self.read() if note.id != id]
            if kept:
                self._write(kept)
            else:
                self.path.unlink(missing_ok=True)

    def _write(self, notes: Iterable[Note]) -> None:
        told = {"format": _FORMAT, "version": 1, "notes": [asdict(note) for note in notes]}
        with written_beside(self.path) as part:
            part.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")


def notes_path(capture: str | Path) -> Path:
    """Where the notes of a capture are; the same while it is recorded and after."""
    return Path(f"{str(capture).removesuffix(_PART)}.notes.json")


def labels_of(notes: Iterable[Note]) -> str:
    """Notes as Audacity imports them: a line each, start, end and text between tabs."""
    lines = (f"{n.start:.6f}\t{n.end:.6f}\t{' '.join(n.text.split()) or 'mark'}\n" for n in notes)
    return "".join(lines)


def _checked(id: str, start: float, end: float, text: str, at: str) -> Note:
    times = float(start), float(end)
    if not all(math.isfinite(time) for time in times) or times[1] < times[0]:
        raise ValueError(f"a note from {start!r} to {end!r} s; finite times are wanted, in order")
    if not isinstance(text, str) or not isinstance(id, str) or not isinstance(at, str):
        raise ValueError("a note's text is text")
    if len(text) > LONGEST or len(id) > 64 or len(at) > 64:
        raise ValueError(f"a note of {len(text)} characters, at most {LONGEST} are kept")
    return Note(id, *times, text, at)
