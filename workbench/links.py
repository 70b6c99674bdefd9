"""Ways to a place in a call: the command that shows it, and what stands behind the ``#`` of its address."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["fragment", "view_command"]


def view_command(*captures: str | Path, finding: int | None = None) -> str:
    """The command that shows captures in the browser, as it is typed.

    Args:
        captures: Captures, folders or data sets.
        finding: The number of a finding of the one capture, from 1 for the worst.
    """
    named = [shlex.quote(str(one)) for one in captures]
    return " ".join(["workbench view", *named, *([f"--finding {finding}"] if finding else [])])


def fragment(at: float | None = None, finding: int | None = None) -> str:
    """What stands behind the ``#`` of a call's address, such as ``t=9.72&finding=2``.

    Args:
        at: A place, in seconds on the call's clock.
        finding: The number of a finding, from 1 for the worst.
    """
    told = {"t": None if at is None else f"{at:.2f}", "finding": finding}
    return "&".join(f"{name}={value}" for name, value in told.items() if value is not None)
