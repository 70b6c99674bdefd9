"""One self-contained HTML file about one call: opens offline, can be mailed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

if TYPE_CHECKING:
    from workbench.report.report import write_report as write_report

__all__ = [
    "write_report",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "write_report": ".report",
    },
)
