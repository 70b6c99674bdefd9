"""The panel: choose an outbound setting, hear it, see what it scores, and take it to the bot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

if TYPE_CHECKING:
    from workbench.panel.panel import CANDIDATE as CANDIDATE
    from workbench.panel.panel import Panel as Panel

__all__ = [
    "CANDIDATE",
    "Panel",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "CANDIDATE": ".panel",
        "Panel": ".panel",
    },
)
