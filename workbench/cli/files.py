"""Files that commands are given: captures, sound files, and those that are to be written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from workbench.cli.console import working

if TYPE_CHECKING:
    from workbench.call import Call

__all__ = ["Capture", "NoWords", "check_file", "check_writable", "is_sound", "opened"]

#: What a capture begins with, whatever its name.
_MCAP: Final = b"\x89MCAP"

NoWords = Annotated[
    bool, typer.Option("--no-words", help="Leave out what was said, if the capture holds it.")
]
Capture = Annotated[
    Path,
    typer.Argument(
        metavar="CAPTURE",
        help="A capture (.mcap, or .mcap.part while it is recorded).",
        readable=False,  # it is only the owner's to read, and this program says so shorter
    ),
]


def opened(capture: Path, words: bool = True) -> Call:
    """Open a capture; of a long call that takes some seconds."""
    check_file(capture)
    with working(f"Opening {capture.name}"):
        from workbench.call import Call
        from workbench.exceptions import CaptureError

        try:
            return Call.open(capture, words=words)
        except CaptureError as error:
            if capture.exists() and is_sound(capture) and _has_a_header(capture):
                raise ValueError(
                    f"{capture}: a sound file, and no capture of a call; compare takes sound files"
                ) from error
            finished = capture.with_suffix("")
            if capture.suffix != ".part" or capture.exists() or not finished.exists():
                raise
            return Call.open(finished, words=words)  # the call ended meanwhile


def _has_a_header(path: Path) -> bool:
    """Whether a file says itself that it is sound."""
    import soundfile

    try:
        soundfile.info(path)
    except soundfile.LibsndfileError:
        return False
    return True


def is_sound(path: Path) -> bool:
    """Whether a file is to be read as sound: it is no capture by its name, nor by its first bytes."""
    if path.suffix.lower() in {".mcap", ".part"}:
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(_MCAP)) != _MCAP
    except OSError:
        return path.suffix.lower() in {".wav", ".flac"}


def check_file(capture: Path) -> None:
    """Refuse a folder."""
    if capture.is_dir():
        raise ValueError(f"{capture}: is a folder; give a capture, such as {capture / '*.mcap'}")


def check_writable(*files: Path | None) -> None:
    """Refuse a file that cannot be made, before the work is done that it is for."""
    for file in files:
        if file and not file.parent.is_dir():
            raise ValueError(f"{file}: no such folder")
        if file and file.is_dir():
            raise ValueError(f"{file}: is a folder; give a file in it")
