"""What the pipeline itself says of a call, in the same capture: speaking, speech, latencies.

::

    tap = Tap(serializer, "captures/")
    worker = PipelineWorker(pipeline, observers=[PipelineEvents(tap)])

Each becomes a record of its own and an event of kind ``pipeline`` in
:class:`workbench.call.Call`: when the pipeline believed that somebody began or stopped to speak, when
the model was asked, gave its first token and called a function, when the synthesis got its first
sentence and gave its first sound, and which processor that was. Of this
:attr:`workbench.call.Call.answers` is made. Of a function only its name is recorded, of errors no text.
Words are recorded only for those who ask::

    PipelineEvents(tap, words=True, redact=["Ada Lovelace", re.compile("[A-Z]{2}-[0-9]+")])

Then the transcripts and what the synthesis says are kept too, with the times of the words where the
service gives them. Numbers, e-mail addresses and what ``redact`` names are taken out before anything is
written: see :mod:`workbench.capture.personal`.

Pipecat runs observers beside the pipeline. The times are those at which a frame was pushed, by the
pipeline's own clock, not those at which an observer had time to look at it. Metrics
(``enable_metrics=True``) are recorded too, and nothing depends on them.
"""

from __future__ import annotations

import time
from collections import deque
from functools import cache
from typing import Any, Final, Protocol, overload

from loguru import logger
from pipecat.observers.base_observer import BaseObserver, FramePushed

from workbench.capture.personal import Personal, Redact
from workbench.capture.schema import Words
from workbench.words import Speeches

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
    "LLMContextFrame": "model asked",
    "TTSSpeakFrame": "text to speak",
    "AggregatedTextFrame": "sentence",
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
#: Frames that ask a model: told each time that one is handed on, since a processor may hold it.
_HANDED_ON: Final = "LLMContextFrame"
#: Frames after which the next token of a model is a first one.
_BETWEEN_TOKENS: Final = (
    "LLMFullResponseStartFrame",
    "LLMFullResponseEndFrame",
    "InterruptionFrame",
)
_INTERRUPTIONS: Final = ("InterruptionFrame", "StartInterruptionFrame")
#: Frames with a text that somebody says, if words are wanted.
_TEXTS: Final = (
    "TranscriptionFrame",
    "InterimTranscriptionFrame",
    "AggregatedTextFrame",
    "TTSTextFrame",
)
#: Frames after which nothing more is said.
_LAST: Final = ("EndFrame", "CancelFrame")
#: Frames where a speech begins or ends.
_BOUNDS: Final = ("TTSStartedFrame", "TTSStoppedFrame", *_INTERRUPTIONS, *_LAST)
#: A broadcast arrives as two frames, up- and downstream, almost at once. Older Pipecats do not mark
#: them as siblings: there, the same again within this time is the second of them.
_TWIN_NS: Final = 50_000_000
#: Speech comes faster than it is played. What comes so much later than all before it was played is a
#: first sound again.
_DRY_NS: Final = 20_000_000
#: A start frame that a processor had for so long tells who held the pipeline up.
_HELD_NS: Final = 20_000_000


class _Recording(Protocol):
    def pipeline_event(
        self,
        what: str,
        processor: str = "",
        seconds: float | None = None,
        *,
        time_ns: int | None = None,
    ) -> None: ...


class _Wording(_Recording, Protocol):
    def words(self, words: Words, *, time_ns: int) -> None: ...


class PipelineEvents(BaseObserver):
    """An observer that writes what happens in a pipeline into the capture of a call."""

    @overload
    def __init__(self, tap: _Recording) -> None: ...
    @overload
    def __init__(self, tap: _Wording, *, words: bool, redact: Redact = ()) -> None: ...
    def __init__(self, tap: Any, *, words: bool = False, redact: Redact = ()) -> None:
        """Observe.

        Args:
            tap: The :class:`workbench.tap.Tap` of the call, or anything with its ``pipeline_event``,
                and with its ``words`` if those are wanted.
            words: Whether to record what is said.
            redact: What to take out of it, beside numbers and e-mail addresses: texts, found in any
                case, and compiled patterns.

        Raises:
            ValueError: For something to redact that is neither, or empty.
        """
        super().__init__()
        personal = Personal(redact)
        self._words = Speeches(tap.words, personal) if words else None
        self._tell = tap.pipeline_event
        # Every processor pushes a frame on; each is told once.
        self._seen: deque[int] = deque(maxlen=512)
        self._last: dict[str, int] = {}
        self._is_first_token = True
        #: By processor, until when the speech that it has given lasts.
        self._spoken_ns: dict[str, int] = {}
        self._heard: deque[int] = deque(maxlen=64)
        self._known: deque[int] = deque(maxlen=4096)
        self._started_ns: int | None = None

    async def on_push_frame(self, data: FramePushed) -> None:
        """Record a frame that tells something."""
        name = type(data.frame).__name__
        if self._words is not None and (name in _TEXTS or name in _BOUNDS):
            try:
                self._worded(self._words, data, name)
            except Exception as error:  # of a pattern to redact: no words rather than all
                self._words = None
                why = type(error).__name__
                logger.warning(f"Words are not recorded any more: {why}. The call is not affected.")
        if name in _TOLD:
            self._happened(data, name)
        elif name.endswith("AudioRawFrame"):
            if not name.startswith(("Input", "User")):
                self._sounded(data)
        elif name == "LLMTextFrame":
            if self._is_first_token:
                self._is_first_token = False
                self._note(data, "first token")
        elif name == "MetricsFrame":
            if self._is_new(data.frame.id):
                for metric in getattr(data.frame, "data", ()):
                    self._tell_metric(metric)
        elif name == "StartFrame":
            self._started(data)

    def _happened(self, data: FramePushed, name: str) -> None:
        if name == _HANDED_ON:
            self._note(data, _TOLD[name])
            return
        if not self._is_new(data.frame.id):
            return
        what = _TOLD[name]
        if name in _BETWEEN_TOKENS:
            self._is_first_token = True
        if name == "InterruptionFrame":
            self._spoken_ns.clear()
        if not self._is_twin(data, what):
            # Who answers for a function is the function.
            function = getattr(data.frame, "function_name", "")
            self._note(data, what, function if isinstance(function, str) else "")

    def _is_new(self, frame_id: int) -> bool:
        is_new = frame_id not in self._seen
        if is_new:
            self._seen.append(frame_id)
        return is_new

    def _is_twin(self, data: FramePushed, what: str) -> bool:
        """Whether the other frame of the same broadcast was told."""
        if hasattr(data.frame, "broadcast_sibling_id"):
            return data.frame.broadcast_sibling_id in self._seen
        last = self._last.get(what, -_TWIN_NS)
        self._last[what] = data.timestamp
        return data.timestamp - last < _TWIN_NS

    def _sounded(self, data: FramePushed) -> None:
        """Record the first sound of speech, and the first after all before it was played."""
        frame: Any = data.frame
        if frame.id in self._heard:
            return
        self._heard.append(frame.id)
        if _is_output(type(data.source)):
            return
        processor, at_ns = data.source.name, data.timestamp
        seconds = len(frame.audio) / 2 / max(1, frame.num_channels) / max(1, frame.sample_rate)
        until_ns = self._spoken_ns.get(processor)
        if until_ns is None or at_ns > until_ns + _DRY_NS:
            self._note(data, "first audio")
            until_ns = at_ns
        begins_ns = max(until_ns, at_ns)
        ends_ns = self._spoken_ns[processor] = begins_ns + round(1e9 * seconds)
        if self._words is not None:
            self._words.sounded(processor, at_ns, begins_ns, ends_ns)

    def _worded(self, words: Speeches, data: FramePushed, name: str) -> None:
        """Hand on what is said, and where a speech begins and ends."""
        if name in _LAST:
            if name == "CancelFrame" or _is_output(type(data.source)):
                words.over()
            return
        frame: Any = data.frame
        # Words wait in the output transport for their time, and are pushed again.
        if frame.id in self._known or _is_output(type(data.source)):
            return
        self._known.append(frame.id)
        if getattr(frame, "broadcast_sibling_id", None) in self._known:
            return
        processor, at_ns, time_ns = data.source.name, data.timestamp, _pushed_ns(data)
        text = getattr(frame, "text", "")
        if name in _INTERRUPTIONS:
            words.interrupted()
        elif name == "TTSStartedFrame":
            words.begins(processor, at_ns, time_ns)
        elif name == "TTSStoppedFrame":
            words.ends(processor)
        elif not isinstance(text, str) or not text:
            return
        elif name == "TTSTextFrame":
            is_joined = bool(getattr(frame, "includes_inter_frame_spaces", False))
            words.said(processor, text, at_ns, time_ns, frame.pts, is_joined)
        elif name == "AggregatedTextFrame":
            if getattr(frame, "will_be_spoken", False):
                words.announced(processor, text, at_ns, time_ns)
        else:
            words.heard(processor, text, time_ns, is_final=name == "TranscriptionFrame")

    def _started(self, data: FramePushed) -> None:
        """Record the first push of the start frame, and each that waited for a processor."""
        last, self._started_ns = self._started_ns, data.timestamp
        if last is None or data.timestamp - last > _HELD_NS:
            self._note(data, "pipeline starts")

    def _note(self, data: FramePushed, what: str, processor: str = "") -> None:
        self._tell(what, processor or data.source.name, time_ns=_pushed_ns(data))

    def _tell_metric(self, metric: Any) -> None:
        field, what = _METRICS.get(type(metric).__name__, ("", ""))
        seconds = getattr(metric, field, None) if field else None
        if isinstance(seconds, (int, float)):
            self._tell(what, metric.processor, float(seconds))


def _pushed_ns(data: FramePushed) -> int:
    """When a frame was pushed, on ``time.monotonic_ns()``: an observer may see it later."""
    now = time.monotonic_ns()
    try:
        passed = data.source.get_clock().get_time() - data.timestamp
    except Exception:  # a processor that is not set up has no clock
        return now
    return now - passed if 0 <= passed < now and data.timestamp > 0 else now


@cache
def _is_output(kind: type) -> bool:
    """Whether it is an output transport, which pushes on what it has sent, cut anew."""
    return any(base.__name__ == "BaseOutputTransport" for base in kind.__mro__)
