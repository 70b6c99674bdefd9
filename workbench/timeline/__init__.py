"""Players: both sides of a call on one clock, to look at and to listen to; two sounds, blind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

if TYPE_CHECKING:
    from workbench.timeline.listening import BlindListening as BlindListening
    from workbench.timeline.timeline import CallTimeline as CallTimeline

__all__ = [
    "BlindListening",
    "CallTimeline",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "CallTimeline": ".timeline",
        "BlindListening": ".listening",
    },
)
