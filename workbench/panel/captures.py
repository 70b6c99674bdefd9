"""The captures that a panel is given, and the one that is open."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from workbench.call import Call
from workbench.diagnosis import Findings, diagnose
from workbench.panel.work import Work

__all__ = ["Capture", "Opened", "named", "opened", "path_of"]

Capture: TypeAlias = Call | Path


class Opened(NamedTuple):
    """A call, and what was found in it."""

    call: Call
    findings: Findings


def named(captures: str | Path | Call | Iterable[str | Path | Call]) -> dict[str, Capture]:
    """Captures by the names of their files; a folder stands for those in it.

    Raises:
        ValueError: If there is none.
    """
    if isinstance(captures, (str, Path, Call)):
        captures = [captures]
    found: list[Capture] = []
    for capture in captures:
        if isinstance(capture, Call) or not Path(capture).is_dir():
            found.append(capture if isinstance(capture, Call) else Path(capture))
        else:
            found += sorted([*Path(capture).glob("*.mcap"), *Path(capture).glob("*.mcap.part")])
    if not found:
        raise ValueError("there is no capture, a file, a folder with some, or a call is wanted")
    return {path_of(capture).name: capture for capture in found}


def path_of(capture: Capture) -> Path:
    """Its file."""
    return capture.path if isinstance(capture, Call) else capture


def opened(capture: Capture, work: Work | None = None) -> Opened:
    """Open a capture and diagnose it: as two pieces of work, if ``work`` is given.

    Raises:
        CaptureError: If it cannot be read.
        ValueError: If another carrier's serializer was recorded: it has other settings.
    """
    if work is None:
        call = capture if isinstance(capture, Call) else Call.open(capture)
        call.check_ours("the panel")
        return Opened(call, diagnose(call))
    call = capture if isinstance(capture, Call) else work.submit(Call.open, capture).result()
    call.check_ours("the panel")
    return Opened(call, work.submit(diagnose, call).result())
