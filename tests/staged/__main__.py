"""The pipeline with its services, its server and its caller.

The services are real subclasses of Pipecat's, with canned results: a recogniser that transcribes a
segment, a model that streams tokens and calls a function, a synthesis over HTTP, and one service that
is all three. Transport, aggregators, turn strategies and interruptions are Pipecat's own. Caller and
bot share a process, on a real WebSocket and a real clock.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallFromLLM, FunctionCallParams, LLMService
from pipecat.services.settings import LLMSettings, STTSettings, TTSSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.encodings import PCMU
from tests.staged import PLANS, WORD, Plan, Planted
from workbench.audio import Audio
from workbench.observer import PipelineEvents
from workbench.tap import Tap

SAMPLES = Path(__file__).parents[2] / "sample_audio"
RATE, STEP = 8000, 0.020


def spoken(name: str, secs: float) -> Audio:
    """Loud speech that begins and ends at once, so that nobody can doubt when."""
    audio = Audio.read(SAMPLES / name).resampled(RATE)
    block = np.abs(audio.samples[: len(audio) // 80 * 80]).reshape(-1, 80).max(axis=1)
    loud = np.flatnonzero(block > 0.25 * block.max())
    length = round(secs * 100)
    first = next(i for i in loud if i + length in loud or i + length - 1 in loud)
    return Audio(audio.samples[first * 80 : (first + length) * 80], RATE)


class Loudness(VADAnalyzer):
    """Hears a voice where there is sound, window by window of 10 ms."""

    def num_frames_required(self) -> int:
        return self.sample_rate // 100

    def voice_confidence(self, buffer: bytes) -> float:
        return float(np.abs(np.frombuffer(buffer, "<i2")).max(initial=0) > 200)

    def listen_for(self, secs: float) -> None:
        self.set_params(VADParams(confidence=0.5, start_secs=0.1, stop_secs=secs, min_volume=0.0))


class Recogniser(SegmentedSTTService):
    def __init__(self, plan: Plan) -> None:
        super().__init__(settings=STTSettings(model=None, language=None))
        self._plan = plan

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        await asyncio.sleep(self._plan.now.stt)
        if self._plan.words:
            yield InterimTranscriptionFrame(self._plan.transcript[:14], "", "0")
        yield TranscriptionFrame(self._plan.transcript, "", "0")


class Model(LLMService):
    def __init__(self, plan: Plan) -> None:
        names = (
            "model system_instruction temperature max_tokens top_p top_k frequency_penalty"
            " presence_penalty seed filter_incomplete_user_turns user_turn_completion_config"
        )
        super().__init__(settings=LLMSettings(**dict.fromkeys(names.split())))
        self._plan = plan
        self.register_function("look_up", self._look_up)

    async def _look_up(self, params: FunctionCallParams) -> None:
        await asyncio.sleep(self._plan.now.function)
        await params.result_callback({"found": "secret"})

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        await self.start_ttfb_metrics()
        await asyncio.sleep(self._plan.now.model)
        await self.stop_ttfb_metrics()
        if self._plan.now.function and self._plan.turn not in self._plan.functions:
            self._plan.functions.add(self._plan.turn)
            call = FunctionCallFromLLM("look_up", str(self._plan.turn), {}, frame.context)
            await self.run_function_calls([call])
        else:
            first, *others = self._plan.tokens
            await self.push_frame(LLMTextFrame(first))
            await asyncio.sleep(self._plan.now.tokens)
            for token in others:
                await self.push_frame(LLMTextFrame(token))
        await self.push_frame(LLMFullResponseEndFrame())


def _chunks(voice: Audio, rate: int) -> list[bytes]:
    pcm, step = voice.resampled(rate).pcm(), rate // 10 * 2
    return [pcm[first : first + step] for first in range(0, len(pcm), step)]


def _voice_of(words: Sequence[str], voice: Audio) -> Audio:
    """As much of a voice for each word."""
    length = round(WORD * RATE)
    return Audio(np.tile(voice.samples[:length], len(words)), RATE)


class Synthesis(TTSService):
    def __init__(self, plan: Plan, voice: Audio) -> None:
        given = TTSSettings(model=None, voice=None, language=None)
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            push_text_frames=not plan.is_timed,
            settings=given,
        )
        self._plan = plan
        self._voice = voice
        self._told: dict[str, int] = {}

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        await asyncio.sleep(self._plan.now.synthesis)
        words = text.split()
        voice = _voice_of(words, self._voice) if self._plan.words else self._voice
        if self._plan.is_timed:
            before = self._told.get(context_id, 0)  # the times of a context go on
            times = [(word, WORD * (before + index)) for index, word in enumerate(words)]
            self._told[context_id] = before + len(words)
            await self.add_word_timestamps(times, context_id)
        for chunk in _chunks(voice, self.sample_rate):
            yield TTSAudioRawFrame(chunk, self.sample_rate, 1, context_id=context_id)


def _text_of_sound(text: str) -> TTSTextFrame:
    """Its second parameter has had two names."""
    kind = {"text_type", "aggregated_by"} & {field.name for field in fields(TTSTextFrame)}
    return TTSTextFrame(text, **{kind.pop(): "sentence"})


class SpeechToSpeech(FrameProcessor):
    """Hears and speaks, without a transcript and without a synthesis, as realtime services do."""

    def __init__(self, plan: Plan, voice: Audio) -> None:
        super().__init__()
        self._plan = plan
        self._voice = voice

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, UserStoppedSpeakingFrame):
            self.create_task(self._answer())

    async def _answer(self) -> None:
        await asyncio.sleep(self._plan.now.model)
        await self.push_frame(LLMFullResponseStartFrame())
        await self.push_frame(TTSStartedFrame())
        voice = self._voice
        if self._plan.words:
            voice = _voice_of("".join(self._plan.tokens).split(), voice)
            for token in self._plan.tokens:
                text = _text_of_sound(token)
                text.includes_inter_frame_spaces = True
                await self.push_frame(text)
        for chunk in _chunks(voice, RATE):
            await self.push_frame(TTSAudioRawFrame(chunk, RATE, 1))
        await self.push_frame(TTSStoppedFrame())
        await self.push_frame(LLMFullResponseEndFrame())


def _observer(tap: Tap, plan: Plan) -> PipelineEvents:
    return PipelineEvents(tap, words=plan.words, redact="Ada Lovelace")


async def _converse(
    websocket: WebSocket, tap: Tap, plan: Plan, voice: Audio, ears: Loudness
) -> None:
    transport = FastAPIWebsocketTransport(
        websocket,
        FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=tap),
    )
    cascade = plan.kind == "cascade"
    stop = SpeechTimeoutUserTurnStopStrategy(
        user_speech_timeout=plan.speech_timeout, wait_for_transcript=cascade
    )
    turns = UserTurnStrategies(start=[VADUserTurnStartStrategy()], stop=[stop])
    context = LLMContextAggregatorPair(
        LLMContext(),
        user_params=LLMUserAggregatorParams(vad_analyzer=ears, user_turn_strategies=turns),
    )
    services: list[FrameProcessor] = (
        [Recogniser(plan), context.user(), Model(plan), Synthesis(plan, voice)]
        if cascade
        else [context.user(), SpeechToSpeech(plan, voice)]
    )
    worker = PipelineWorker(
        Pipeline([transport.input(), *services, transport.output(), context.assistant()]),
        params=PipelineParams(
            audio_in_sample_rate=16000, audio_out_sample_rate=RATE, enable_metrics=plan.metrics
        ),
        observers=[_observer(tap, plan)] if plan.events else [],
    )

    async def on_client_disconnected(_transport: Any, _websocket: Any) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_disconnected", on_client_disconnected)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


class Caller:
    """Speaks, listens to the end of the answer or so long as planted, and speaks again."""

    def __init__(self, plan: Plan, words: Audio, ears: Loudness) -> None:
        self._plan, self._words, self._ears = plan, words, ears
        self._line = b""
        self._heard_until = 0.0
        self._heard_from = 0.0

    async def call(self, url: str) -> None:
        async with connect(url, ping_interval=None, close_timeout=1.0) as socket:
            await socket.send(json.dumps(_message("start")))
            jobs = [asyncio.create_task(job(socket)) for job in (self._send, self._receive)]
            await asyncio.sleep(0.5)
            for planted in self._plan.answers:
                await self._speak(planted)
            await asyncio.sleep(0.2)
            await socket.send(json.dumps(_message("stop")))
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _speak(self, planted: Planted) -> None:
        self._ears.listen_for(planted.vad)
        self._heard_from = 0.0
        self._line = PCMU.encode(self._words.pcm())
        while self._line:  # noqa: ASYNC110
            await asyncio.sleep(STEP / 4)
        self._plan.turn += 1  # what comes in now is this turn's
        if planted.after is not None:
            await asyncio.sleep(planted.after)
            return
        while not self._heard_from or time.monotonic() < self._heard_until + 0.3:  # noqa: ASYNC110
            await asyncio.sleep(STEP)

    async def _send(self, socket: ClientConnection) -> None:
        start, number = time.monotonic(), 0
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(max(0.0, start + number * STEP - time.monotonic()))
                number += 1
                payload, self._line = self._line[:160], self._line[160:]
                media = {
                    "track": "inbound",
                    "payload": base64.b64encode(payload.ljust(160, b"\xff")).decode(),
                    "sequenceNumber": str(number),
                }
                await socket.send(json.dumps({**media, "eventType": "media"}))

    async def _receive(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for text in socket:
                message, now = json.loads(text), time.monotonic()
                if message["eventType"] == "clear":
                    self._heard_until = now
                elif message["eventType"] == "playAudio":
                    payload = base64.b64decode(message["media"]["payload"])
                    self._heard_from = self._heard_from or now
                    self._heard_until = max(now, self._heard_until) + len(payload) / RATE


def _message(kind: str) -> dict[str, Any]:
    inbound = {"name": "inbound", "mediaFormat": {"encoding": "PCMU", "sampleRate": RATE}}
    metadata = {
        "accountId": "99", "callId": "c-1", "streamId": "s-1", "streamName": "", "tracks": [inbound]
    }  # fmt: skip
    return {"metadata": metadata, "eventType": kind}


@asynccontextmanager
async def _served(app: FastAPI) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, ws_ping_interval=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/stream"
    finally:
        server.should_exit = True
        await serving


async def recorded(plan: Plan, path: Path) -> Path:
    """Make one call as planned; return its capture."""
    words = spoken("human/human_m_librivox_sense_16k.flac", 0.6)
    voice = spoken("bot_voices/bot_bm_george_24k.flac", 0.7)
    over, ears = asyncio.Event(), Loudness()
    app = FastAPI()

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        params = BandwidthFrameSerializer.InputParams(auto_hang_up=False)
        tap = Tap(BandwidthFrameSerializer("s-1", params=params), path)
        try:
            await _converse(websocket, tap, plan, voice, ears)
        finally:
            await asyncio.to_thread(tap.close)
            over.set()

    async with _served(app) as url:
        await Caller(plan, words, ears).call(url)
        async with asyncio.timeout(20):
            await over.wait()
    return path


async def _all(folder: Path, names: Sequence[str]) -> None:
    await asyncio.gather(*(recorded(PLANS[name], folder / f"{name}.mcap") for name in names))


if __name__ == "__main__":
    logger.remove()
    asyncio.run(_all(Path(sys.argv[1]), sys.argv[2:]))
