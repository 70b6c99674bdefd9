"""One short call over each carrier's protocol, recorded: a real pipeline behind a real WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputTransportMessageFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

from tests.call.far_ends import TICK, FarEnd
from tests.captures import speech
from workbench.audio import Audio
from workbench.demo.bot import serve
from workbench.tap import Tap

#: When the caller speaks, when the bot lets itself be interrupted, and how long the call is.
CALLER_AT, INTERRUPTED_AT, SECS = (0.3, 5.2), 5.6, 6.4
#: When the bot's two answers begin.
FIRST_AT, SECOND_AT = 1.4, 4.6
#: Each of the two parts of the first, between which there is a mark.
PART_SECS = 0.8
#: So many calls are made at once; what a busy machine made too late is made again, alone, so often.
AT_ONCE, TRIES = 3, 4
#: Where the far end's queue stands still, behind the mark, and how long.
STALL_MS = (round(1000 * PART_SECS) + 20, 400)


@dataclass(frozen=True)
class Carried:
    """What was recorded, and what really happened."""

    path: Path
    far_end: FarEnd

    @property
    def is_starved(self) -> bool:
        """Whether the telephone was late, or the bot so late that it fell silent in the first answer."""
        first = [time for time, _ in self.far_end.played[: round(2 * PART_SECS / TICK)]]
        silent = np.flatnonzero(np.diff(first) > 0.1) + 1
        return self.far_end.late > 0.1 or bool(np.any(silent != self.far_end.stall[0] // 20))


class _Ear(FrameProcessor):
    """Lets nothing of what the caller says through to the caller."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)


def steady(secs: float, rate: int) -> bytes:
    """Speech without its pauses: there is sound on both sides of any place in it."""
    audio = speech("bot/b01", rate)
    blocks = audio.samples[: len(audio) // 80 * 80].reshape(-1, 80)
    loud = blocks[np.abs(blocks).max(axis=1) > 0.05].ravel()
    count = round(secs * rate)
    return Audio(np.resize(loud, count).astype(np.float32), rate).pcm()


def caller(rate: int) -> bytes:
    """A line with its noise, a word and a sentence."""
    samples = np.random.default_rng(1).standard_normal(round(SECS * rate)) * 10 ** (-65 / 20)
    for at, name in zip(CALLER_AT, ("caller/c09", "caller/c05"), strict=True):
        words = speech(name, rate).samples
        first = round(at * rate)
        words = words[: len(samples) - first]
        samples[first : first + len(words)] += words
    return Audio(samples.astype(np.float32).clip(-1, 0.999), rate).pcm()


async def _answer(worker: PipelineWorker, far_end: FarEnd, rate: int) -> None:
    def mark(name: str) -> list[Frame]:
        told = far_end.mark(name)
        return [] if told is None else [OutputTransportMessageFrame(message=told)]

    def said(pcm: bytes) -> TTSAudioRawFrame:
        return TTSAudioRawFrame(pcm, rate, 1)

    words = steady(2 * PART_SECS, rate)
    half = len(words) // 2
    await worker.queue_frames(mark("hello"))
    await asyncio.sleep(FIRST_AT)
    await worker.queue_frames([said(words[:half]), *mark("a"), said(words[half:]), *mark("b")])
    await asyncio.sleep(SECOND_AT - FIRST_AT)
    await worker.queue_frames([said(steady(2.0, rate)), *mark("c")])
    await asyncio.sleep(INTERRUPTED_AT - SECOND_AT)
    await worker.queue_frame(InterruptionFrame())


async def carried(where: Path, wanted: dict[str, Callable[[], FarEnd]]) -> dict[str, Carried]:
    """Make calls, a few at once, and close their captures.

    Args:
        where: For the captures.
        wanted: By the name of its capture, what makes each far end.
    """
    turn = asyncio.Semaphore(AT_ONCE)

    async def made(name: str) -> Carried:
        async with turn:
            return await _called(wanted[name](), where / f"{name}.mcap")

    calls = dict(zip(wanted, await asyncio.gather(*map(made, wanted)), strict=True))
    for number in range(TRIES):
        for name in [name for name, call in calls.items() if call.is_starved]:
            calls[name] = await _called(wanted[name](), where / f"{name}-again-{number}.mcap")
    return calls


async def _called(far_end: FarEnd, path: Path) -> Carried:
    rate = far_end.wire.sample_rate
    far_end.caller = caller(rate)
    taps: list[Tap] = []
    app = FastAPI()

    @app.websocket("/ws")
    async def bot(websocket: WebSocket) -> None:
        await websocket.accept()
        tap = Tap(far_end.serializer(), path)
        taps.append(tap)
        params = FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            add_wav_header=False,
            audio_out_end_silence_secs=0,
            serializer=tap,
        )
        transport = FastAPIWebsocketTransport(websocket, params)
        worker = PipelineWorker(
            Pipeline([transport.input(), _Ear(), transport.output()]),
            params=PipelineParams(audio_in_sample_rate=rate, audio_out_sample_rate=rate),
        )
        answering: list[asyncio.Task[None]] = []

        @transport.event_handler("on_client_connected")
        async def begin(transport: object, client: object) -> None:
            answering.append(asyncio.create_task(_answer(worker, far_end, rate)))
            far_end.is_up.set()

        @transport.event_handler("on_client_disconnected")
        async def leave(transport: object, client: object) -> None:
            await worker.cancel()

        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await runner.run()
        await asyncio.gather(*answering)

    async with asyncio.timeout(60), serve(app) as url:
        await far_end.call(url.replace("http", "ws") + "/ws")
        await asyncio.sleep(0.3)  # for what the pipeline does when its socket is gone
    taps[0].close()
    return Carried(taps[0].path, far_end)
