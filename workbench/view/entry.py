"""A call in the list: where it is, what is known of it, and what a page is told of that."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from workbench.surveys.sources import Source
from workbench.workers import name_of

__all__ = ["Entry", "State"]

State: TypeAlias = Literal["waiting", "known", "recording", "broken"]

#: A row of the list has these of :data:`workbench.surveys.row.CALL`.
_SHOWN: Final = (
    "started_at", "duration", "harm", "worst_kind", "worst_severity", "worst", "errors", "warnings",
    "infos", "holes_per_min", "answer_p50_ms", "answer_p95_ms", "loss_percent", "ended", "ended_by",
)  # fmt: skip


@dataclass
class Entry:
    """One call.

    Parameters:
        source: Where its file is: an absolute path or a URL.
        state: ``waiting`` for its diagnosis, ``known``, still ``recording``, or ``broken``.
        mark: Size and time of the file that is known.
        row: As of :data:`workbench.surveys.row.CALL`, as far as known.
        findings: Rows as of :data:`workbench.surveys.row.FINDING`, worst first.
        problem: Why it is broken.
        revision: Of the shelf, when it last changed.
        is_noted: Whether somebody wrote notes.
    """

    source: str
    state: State = "waiting"
    mark: tuple[Any, ...] = ()
    row: dict[str, Any] = field(default_factory=dict)
    findings: tuple[dict[str, Any], ...] = ()
    problem: str = ""
    revision: int = 0
    is_noted: bool = False

    @property
    def id(self) -> str:
        """What it is asked for by."""
        return hashlib.blake2b(Source(self.source).key.encode(), digest_size=6).hexdigest()

    @property
    def name(self) -> str:
        """Of its file."""
        return name_of(Source(self.source).key)

    def told(self) -> dict[str, Any]:
        """What the list shows of it, of JSON's types."""
        shown = {name: _plain(self.row.get(name)) for name in _SHOWN}
        kinds = [{n: f[n] for n in ("kind", "title", "severity")} for f in self.findings]
        return {
            "id": self.id, "name": self.name, "state": self.state, "problem": self.problem,
            "noted": self.is_noted, "labels": dict(self.row.get("labels") or {}), "kinds": kinds,
            **shown,
        }  # fmt: skip

    def about(self) -> dict[str, Any]:
        """What a call's own page shows of it, of JSON's types."""
        findings = [{n: _plain(v) for n, v in f.items()} for f in self.findings]
        row = {name: _plain(value) for name, value in self.row.items()}
        return {**self.told(), **row, "capture": self.source, "found": findings}


def _plain(value: Any) -> Any:
    """A value of JSON's types; what is missing in any way is ``None``."""
    if isinstance(value, datetime):
        return None if value != value else value.isoformat()
    if isinstance(value, (np.floating, np.integer, np.bool_)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float, bool, dict)):
        return value
    return None  # pandas' own kinds of nothing
