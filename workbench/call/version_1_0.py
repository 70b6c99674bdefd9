"""What captures of version 1.0 told in words and later ones tell in records.

The words are those of that version's writers and never change; of later captures no text is read.
"""

from __future__ import annotations

import re
from typing import Final

from workbench.capture import HangUp, Pipeline

__all__ = ["hang_up", "pipeline"]

_DONE: Final = re.compile(r"hung up|was already over")
_FIGURES: Final = re.compile(r"\(HTTP (\d+), attempts: (\d+), ([\d.]+) s\)")
_STATUS: Final = re.compile(r"\(HTTP (\d+)\)")
_NOTE: Final = "pipeline: "
_METRIC: Final = re.compile(r"(.*) after (\d+) ms \((.*)\)", re.DOTALL)


def hang_up(text: str) -> HangUp | None:
    """Read a log line of the serializer; ``None`` if it tells of no hang-up."""
    if "may still be up" in text:
        outcome = "cancelled" if text.endswith("hang-up was cancelled") else "failed"
        status = _STATUS.search(text)
        reason = text.partition("may still be up: ")[2]
        return HangUp(
            outcome=outcome, status_code=int(status[1]) if status else None, reason=reason
        )
    done = _DONE.search(text)
    if done is None:
        return None
    outcome = "ended" if done[0] == "hung up" else "already_over"
    figures = _FIGURES.search(text)
    if figures is None:
        return HangUp(outcome=outcome)
    return HangUp(
        outcome=outcome,
        status_code=int(figures[1]),
        attempts=int(figures[2]),
        took_us=float(figures[3]) * 1e6,
    )


def pipeline(text: str) -> Pipeline | None:
    """Read a note; ``None`` if it is a user's and not the observer's."""
    if not text.startswith(_NOTE):
        return None
    what = text.removeprefix(_NOTE)
    metric = _METRIC.fullmatch(what)
    if metric is None:
        return Pipeline(what=what)
    return Pipeline(what=metric[1], processor=metric[3], seconds=int(metric[2]) / 1000)
