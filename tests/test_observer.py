"""The observer in a real pipeline, its records in a real capture."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    FunctionCallInProgressFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage, LLMUsageMetricsData, TTFBMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from pipecat_bandwidth import BandwidthFrameSerializer
from workbench.call import Call
from workbench.capture import CaptureReader
from workbench.observer import PipelineEvents
from workbench.tap import Tap


class Bot(FrameProcessor):
    """Says back, with what a transport and services would push."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, UserStoppedSpeakingFrame):
            usage = LLMTokenUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
            metrics = [
                TTFBMetricsData(processor="Model#0", value=0.3125),
                LLMUsageMetricsData(processor="Model#0", value=usage),
            ]
            await self.push_frame(MetricsFrame(data=metrics))
            await self.push_frame(TTSStartedFrame())
            await self.broadcast_frame(BotStartedSpeakingFrame)
            await self.push_frame(TTSStoppedFrame())
            await self.broadcast_frame(BotStoppedSpeakingFrame)
        await self.push_frame(frame, direction)


class Passing(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


async def run(observer: PipelineEvents, *frames: Frame) -> None:
    pipeline = Pipeline([Passing(), Bot(), Passing()])
    worker = PipelineWorker(pipeline, observers=[observer], enable_rtvi=False)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await worker.queue_frames([*frames, EndFrame()])
    await runner.run()


async def test_the_pipelines_events_stand_in_the_capture(tmp_path):
    params = BandwidthFrameSerializer.InputParams(auto_hang_up=False)
    tap = Tap(BandwidthFrameSerializer("s-1", params=params), tmp_path / "a.mcap")
    tap.note("pipeline: a mark of the bot's own")
    await run(
        PipelineEvents(tap),
        UserStartedSpeakingFrame(),
        TranscriptionFrame(text="my secret number", user_id="1", timestamp="0"),
        ErrorFrame(error="key sk-secret is not valid"),
        UserStoppedSpeakingFrame(),
    )
    tap.close()
    call = Call.open(tap.path)
    # The worker's number counts all workers of the process.
    told = [
        re.sub(r"Worker#\d+", "Worker#0", event.text)
        for event in call.events
        if event.kind == "pipeline"
    ]
    # Each once, though three processors push it on, and one that goes both ways is two frames.
    assert sorted(told) == sorted(
        [
            "pipeline starts (PipelineWorker#0::Source)",
            "turn of the caller begins (PipelineWorker#0::Source)",
            "transcription (PipelineWorker#0::Source)",
            "error (PipelineWorker#0::Source)",
            "turn of the caller ends (PipelineWorker#0::Source)",
            "first byte after 312 ms (Model#0)",
            "synthesis begins (Bot#0)",
            "bot begins to speak (Bot#0)",
            "synthesis ends (Bot#0)",
            "bot stops speaking (Bot#0)",
        ]
    )
    assert [text for text in told if text.startswith(("turn", "bot"))][:2] == [
        "turn of the caller begins (PipelineWorker#0::Source)",
        "turn of the caller ends (PipelineWorker#0::Source)",
    ]
    assert [event.text for event in call.events if event.kind == "note"] == [
        "pipeline: a mark of the bot's own"
    ]
    (metric,) = [record for record in call.pipeline if record.seconds is not None]
    assert (metric.what, metric.processor, metric.seconds) == ("first byte", "Model#0", 0.3125)
    assert not [r for r in CaptureReader(tap.path).records() if b"secret" in r.body]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def observer(told: list[str]) -> PipelineEvents:
    def pipeline_event(what: str, *_: object, time_ns: int | None = None) -> None:
        told.append(what)

    return PipelineEvents(SimpleNamespace(pipeline_event=pipeline_event))


async def push(observer: PipelineEvents, frame: Frame, timestamp_ms: int = 0) -> None:
    """As two processors push the same frame on."""
    for _ in range(2):
        source = SimpleNamespace(name="A#0")
        data = SimpleNamespace(frame=frame, timestamp=timestamp_ms * 10**6, source=source)
        await observer.on_push_frame(data)


async def test_what_happens_again_is_told_again(observer, told):
    for timestamp_ms in (0, 10, 200):
        await push(observer, BotStartedSpeakingFrame(), timestamp_ms)
    assert told == ["bot begins to speak"] * 3


async def test_functions_that_are_called_at_once_are_told_each(observer, told):
    for n in range(3):
        call = FunctionCallInProgressFrame(
            function_name=f"f{n}", tool_call_id=str(n), arguments={"secret": n}
        )
        other_way = copy.copy(call)
        other_way.id = call.id + 1_000_000
        call.broadcast_sibling_id, other_way.broadcast_sibling_id = other_way.id, call.id
        await push(observer, call, n)
        await push(observer, other_way, n)
    assert told == ["function call"] * 3


async def test_where_siblings_are_not_marked_their_time_tells(observer, told):
    for timestamp_ms in (0, 10, 200):
        frame = BotStartedSpeakingFrame()
        del frame.broadcast_sibling_id  # as in older Pipecats
        await push(observer, frame, timestamp_ms)
    assert told == ["bot begins to speak"] * 2


async def test_speech_is_told_when_it_begins_and_when_it_had_run_out(observer, told):
    for timestamp_ms in (1000, 1001, 1002, 1290, 1500):  # 100 ms each: the last after a hole
        await push(observer, TTSAudioRawFrame(bytes(1600), 8000, 1), timestamp_ms)
    assert told == ["first audio"] * 2
    await push(observer, TTSAudioRawFrame(bytes(1600), 8000, 1), 1580)
    assert told == ["first audio"] * 2


async def test_of_the_tokens_of_a_response_the_first_is_told(observer, told):
    for _ in range(2):
        await push(observer, LLMFullResponseStartFrame())
        for _ in range(3):
            await push(observer, LLMTextFrame("secret"))
        await push(observer, LLMFullResponseEndFrame())
    assert told == ["model begins", "first token", "model ends"] * 2


async def test_a_long_call_takes_no_more_memory(observer, told):
    for _ in range(2000):
        await push(observer, TTSStartedFrame())
    assert len(told) == 2000 and len(observer._seen) <= 512


@pytest.mark.parametrize("heavy", ["scipy", "pandas", "matplotlib", "soundfile", "numba"])
def test_a_bot_that_imports_it_loads_nothing_heavy(heavy):
    code = (
        "import sys, pipecat.serializers.base_serializer; before = set(sys.modules);"
        f"import workbench.observer; sys.exit({heavy!r} in set(sys.modules) - before)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
