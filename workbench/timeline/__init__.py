"""The player of a call: both sides on one clock, to look at and to listen to."""

from workbench.timeline.timeline import CallTimeline

__all__ = ["CallTimeline"]
