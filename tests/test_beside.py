"""A file that is written beside its place is there whole or not at all, and its owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from workbench.beside import written_beside


def test_it_replaces_what_is_there_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    path.chmod(0o644)
    with written_beside(path) as part:
        assert part.suffix == ".csv"
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_what_fails_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a.csv").write_text("old")
    for name in ("a.csv", "b.csv"):
        with pytest.raises(error), written_beside(tmp_path / name) as part:
            part.write_text("half")
            raise error("so")
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "a.csv", tmp_path):
        with pytest.raises(OSError) as error, written_beside(path):
            pass
        assert error.value.filename == str(path)
        assert error.value.errno


def test_a_link_leads_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a.csv")
    with written_beside(tmp_path / "link") as part:
        part.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a.csv").read_text() == "new"


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with written_beside(tmp_path / "pipe") as part:
        assert part == tmp_path / "pipe"
        part.write_bytes(b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
