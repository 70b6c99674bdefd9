"""Notes of a person: beside the capture, never in it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from workbench.exceptions import NotesError
from workbench.notes import LONGEST, Notes, labels_of, notes_path


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    (tmp_path / "call.mcap").write_bytes(b"the capture")
    return Notes(tmp_path / "call.mcap")


def test_notes_are_written_changed_and_removed_beside_the_capture(notes: Notes) -> None:
    second = notes.write(9.5, 10.0, "the hole")
    first = notes.write(2.0, 2.0)
    assert notes.read() == (first, second)
    assert notes.path.name == "call.mcap.notes.json"
    assert notes.path.stat().st_mode & 0o777 == 0o600
    notes.write(9.5, 10.5, "the hole they meant", id=second.id)
    assert [(note.end, note.text) for note in notes.read()] == [
        (2.0, ""),
        (10.5, "the hole they meant"),
    ]
    notes.remove(first.id)
    notes.remove(second.id)
    assert not notes.path.exists()
    assert notes.path.with_name("call.mcap").read_bytes() == b"the capture"


def test_notes_of_a_recording_are_those_of_the_finished_capture(tmp_path: Path) -> None:
    assert notes_path(tmp_path / "call.mcap.part") == notes_path(tmp_path / "call.mcap")


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [(2.0, 1.0, ""), (math.nan, 1.0, ""), (0.0, math.inf, ""), (0.0, 1.0, "x" * (LONGEST + 1))],
)
def test_what_is_no_note_is_refused(notes: Notes, start: float, end: float, text: str) -> None:
    with pytest.raises(ValueError, match="a note"):
        notes.write(start, end, text)
    assert not notes.path.exists()


def test_a_note_that_is_gone_is_not_written_anew(notes: Notes) -> None:
    with pytest.raises(ValueError, match="removed"):
        notes.write(1.0, 2.0, "late", id="0a0b0c0d")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": "another", "version": 1, "notes": []}',
        '{"format": "bandwidth-call-notes", "version": 2, "notes": []}',
        '{"format": "bandwidth-call-notes", "version": 1, "notes": [{"id": "a"}]}',
        '{"format": "bandwidth-call-notes", "version": 1, "notes": '
        '[{"id": "a", "start": NaN, "end": 1, "text": "", "at": ""}]}',
        "\udcff",
    ],
)
def test_a_file_that_holds_something_else_is_named_and_left(notes: Notes, text: str) -> None:
    content = text.encode("utf-8", "surrogateescape")
    notes.path.write_bytes(content)
    with pytest.raises(NotesError, match=r"call\.mcap\.notes\.json.*left as it is"):
        notes.write(1.0, 2.0, "new")
    assert notes.path.read_bytes() == content


def test_audacity_reads_them_as_labels(notes: Notes) -> None:
    notes.write(1.0, 2.5, "first\tline\nsecond")
    notes.write(3.0, 3.0)
    assert labels_of(notes.read()) == (
        "1.000000\t2.500000\tfirst line second\n3.000000\t3.000000\tmark\n"
    )


def test_the_file_is_plain_json(notes: Notes) -> None:
    note = notes.write(1.0, 2.0, "Öl")
    assert json.loads(notes.path.read_text("utf-8"))["notes"] == [
        {"id": note.id, "start": 1.0, "end": 2.0, "text": "Öl", "at": note.at}
    ]
