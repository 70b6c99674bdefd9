"""Players: both sides of a call on one clock, to look at and to listen to; two sounds, blind."""

from workbench.timeline.listening import BlindListening
from workbench.timeline.timeline import CallTimeline

__all__ = ["BlindListening", "CallTimeline"]
