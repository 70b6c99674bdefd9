"""What the pipeline itself says of a call, in the same capture: speaking, speech, latencies.

::

    tap = Tap(serializer, "captures/")
    worker = PipelineWorker(pipeline, observers=[PipelineEvents(tap)])

Each becomes a record of its own and an event of kind ``pipeline`` in
:class:`workbench.call.Call`: when the pipeline believed that somebody began or stopped to speak, when
the model and the synthesis began and ended, how long they took to their first byte. Words are never
recorded: neither what was transcribed, nor what was generated, nor the texts of errors.

Pipecat runs observers beside the pipeline, so a time may be some milliseconds late; what the
serializer sees (interruptions, audio, the end) has its exact time from the tap.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Protocol

from pipecat.observers.base_observer import BaseObserver, FramePushed

__all__ = ["PipelineEvents"]

#: Frames told, by class name: it is the same in all releases of Pipecat.
_TOLD: Final = {
    "VADUserStartedSpeakingFrame": "voice of the caller begins",
    "VADUserStoppedSpeakingFrame": "voice of the caller ends",
    "UserStartedSpeakingFrame": "turn of the caller begins",
    "UserStoppedSpeakingFrame": "turn of the caller ends",
    "BotStartedSpeakingFrame": "bot begins to speak",
    "BotStoppedSpeakingFrame": "bot stops speaking",
    "InterruptionFrame": "interruption",
    "StartInterruptionFrame": "interruption",
    "TranscriptionFrame": "transcription",
    "LLMFullResponseStartFrame": "model begins",
    "LLMFullResponseEndFrame": "model ends",
    "FunctionCallInProgressFrame": "function call",
    "FunctionCallResultFrame": "function result",
    "TTSStartedFrame": "synthesis begins",
    "TTSStoppedFrame": "synthesis ends",
    "ErrorFrame": "error",
    "FatalErrorFrame": "error",
}
#: Metrics that are told: their class, where the seconds are, and what they are.
_METRICS: Final = {
    "TTFBMetricsData": ("value", "first byte"),
    "TTFAMetricsData": ("ttfa", "first audible sample"),
    "TTFATMetricsData": ("ttfat", "first token of the answer"),
    "ProcessingMetricsData": ("value", "processing"),
}
#: A broadcast arrives as two frames, up- and downstream, almost at once. Older Pipecats do not mark
#: them as siblings: there, the same again within this time is the second of them.
_TWIN_NS: Final = 50_000_000


class _Recording(Protocol):
    def pipeline_event(
        self, what: str, processor: str = "", seconds: float | None = None
    ) -> None: ...


class PipelineEvents(BaseObserver):
    """An observer that writes what happens in a pipeline into the capture of a call."""

    def __init__(self, tap: _Recording) -> None:
        """Observe.

        Args:
            tap: The :class:`workbench.tap.Tap` of the call, or anything with its ``pipeline_event``.
        """
        super().__init__()
        self._tell = tap.pipeline_event
        # Every processor pushes a frame on; each is told once.
        self._seen: deque[int] = deque(maxlen=512)
        self._last: dict[str, int] = {}

    async def on_push_frame(self, data: FramePushed) -> None:
        """Record a frame that tells something."""
        name = type(data.frame).__name__
        if name != "MetricsFrame" and name not in _TOLD:
            return
        if data.frame.id in self._seen:
            return
        self._seen.append(data.frame.id)
        if name == "MetricsFrame":
            for metric in getattr(data.frame, "data", ()):
                self._tell_metric(metric)
            return
        what = _TOLD[name]
        if not self._is_twin(data, what):
            self._tell(what)

    def _is_twin(self, data: FramePushed, what: str) -> bool:
        """Whether the other frame of the same broadcast was told."""
        if hasattr(data.frame, "broadcast_sibling_id"):
            return data.frame.broadcast_sibling_id in self._seen
        last = self._last.get(what, -_TWIN_NS)
        self._last[what] = data.timestamp
        return data.timestamp - last < _TWIN_NS

    def _tell_metric(self, metric: Any) -> None:
        field, what = _METRICS.get(type(metric).__name__, ("", ""))
        seconds = getattr(metric, field, None) if field else None
        if isinstance(seconds, (int, float)):
            self._tell(what, metric.processor, float(seconds))
