"""Where commands print to: answers to one stream, what goes on and warnings to the other."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape

__all__ = ["err", "out", "telling", "working"]

#: What is piped is not wrapped: lines are for a program, or for another width.
_PIPED: Final = 10_000

out = Console(highlight=False, emoji=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = _PIPED
err = Console(stderr=True, highlight=False, emoji=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something is under way, on a terminal."""
    with err.status(f"{escape(what)}..."):
        yield


@contextmanager
def telling() -> Iterator[None]:
    """Say in a line each what is wrong with a sound file that was read all the same."""
    from workbench.exceptions import SoundFileWarning

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", SoundFileWarning)
        yield
    for warning in told:
        if issubclass(warning.category, SoundFileWarning):
            err.print(f"workbench: {warning.message}", markup=False, soft_wrap=True)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
