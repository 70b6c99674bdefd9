"""Calls through Pipecat's own transport: a real pipeline, real WebSockets, a real HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pipecat_bandwidth.encodings import PCMU, from_content_type
from pipecat_bandwidth.messages import Clear, Media, PlayAudio, Start, Track, encode, parse
from pipecat_bandwidth.serializer import BandwidthFrameSerializer
from pipecat_bandwidth.voice_api import VoiceAPI
from tests.http_server import Answer, Server, http_server

ACCOUNT, CALL, STREAM = "9900000", "c-15ac29a2", "s-2a913f94"
START = Start(STREAM, CALL, ACCOUNT, "agent", (Track("inbound"),))


def tone(hz: float, seconds: float, sample_rate: int) -> bytes:
    t = np.arange(int(seconds * sample_rate)) / sample_rate
    return np.rint(12000 * np.sin(2 * np.pi * hz * t)).astype("<i2").tobytes()


def pitch(pcm: bytes, sample_rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm, "<i2")))
    return float(np.argmax(spectrum) * sample_rate / (len(pcm) // 2))


def media(pcm: bytes) -> list[str]:
    """Cut the caller's audio into messages of 20 ms."""
    pieces = (pcm[at : at + 320] for at in range(0, len(pcm), 320))
    return [
        encode(Media(PCMU.encode(piece), "inbound", str(number)))
        for number, piece in enumerate(pieces, 1)
    ]


class Ear(FrameProcessor):
    """The whole of the bot: it keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = b""
        self.more = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self.heard += frame.audio
            self.more.set()
        else:
            await self.push_frame(frame, direction)

    async def has_heard(self, size: int) -> None:
        while len(self.heard) < size:
            self.more.clear()
            await self.more.wait()


@dataclass
class LiveCall:
    """One call under way, seen from both ends."""

    caller: ClientConnection
    worker: PipelineWorker
    ear: Ear
    voice: Server
    played: list[PlayAudio | Clear] = field(default_factory=list)
    sound_end: float = 0.0  # when the last sound is over at the caller
    queue_end: float = 0.0

    async def listen(self, until: type | None = None) -> None:
        """Collect what comes until such a message, or else until the bot closes the socket."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.played.append(parse(await self.caller.recv()))
                self._play(self.played[-1])
                if until is not None and isinstance(self.played[-1], until):
                    return

    def _play(self, message: PlayAudio | Clear) -> None:
        """Follow the queue by the times of arrival."""
        if isinstance(message, PlayAudio):
            form = from_content_type(message.content_type)
            pcm = form.decode(message.payload)
            start = max(time.monotonic(), self.queue_end)
            self.queue_end = start + len(pcm) / 2 / form.sample_rate
            if sound := len(pcm.rstrip(b"\0")):
                self.sound_end = start + sound / 2 / form.sample_rate

    @property
    def pcm(self) -> bytes:
        audio = (message for message in self.played if isinstance(message, PlayAudio))
        return b"".join(from_content_type(a.content_type).decode(a.payload) for a in audio)

    @property
    def hang_ups(self) -> list[str]:
        return self.voice.paths("/api")


@asynccontextmanager
async def live_call(
    in_rate: int = 8000,
    out_rate: int = 8000,
    transport: dict[str, object] | None = None,
    **params: object,
) -> AsyncIterator[LiveCall]:
    """Serve one bot with uvicorn, and call it."""
    given = {"audio_out_end_silence_secs": 0} if transport is None else transport
    app, ear, started = FastAPI(), Ear(), asyncio.get_running_loop().create_future()

    @app.websocket("/ws")
    async def bot(websocket: WebSocket) -> None:
        await websocket.accept()
        serializer = BandwidthFrameSerializer(
            stream_id=STREAM,
            call_id=CALL,
            account_id=ACCOUNT,
            voice_api=voice_api,
            params=BandwidthFrameSerializer.InputParams(**params),
        )
        transport = FastAPIWebsocketTransport(
            websocket,
            FastAPIWebsocketParams(
                serializer=serializer,
                audio_in_enabled=True,
                audio_out_enabled=True,
                **given,
            ),
        )
        worker = PipelineWorker(
            Pipeline([transport.input(), ear, transport.output()]),
            params=PipelineParams(audio_in_sample_rate=in_rate, audio_out_sample_rate=out_rate),
        )

        @transport.event_handler("on_client_disconnected")
        async def leave(transport: object, client: object) -> None:
            await worker.cancel()

        started.set_result(worker)
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await runner.run()

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    server.capture_signals = contextlib.nullcontext  # they belong to pytest
    serving = asyncio.create_task(server.serve([listener]))
    url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
    try:
        async with http_server() as voice:
            voice.on("/token", Answer(200, {"access_token": "t0ken"}))
            voice.on("/api", Answer(200))
            urls = {"base_url": f"{voice.url}/api", "token_url": f"{voice.url}/token"}
            async with VoiceAPI("id", "secret", **urls) as voice_api, connect(url) as caller:
                await caller.send(encode(START))
                yield LiveCall(caller, await started, ear, voice)
    finally:
        server.should_exit = True
        await serving


RATES = {
    "equal": (8000, 8000, {}),
    "Pipecat's defaults": (16000, 24000, {}),
    "PCM at 24 kHz": (16000, 24000, {"outbound_encoding": "PCM"}),
    "PCM at 16 kHz": (
        24000,
        24000,
        {"outbound_encoding": "PCM", "outbound_pcm_sample_rate": 16000},
    ),
}


@pytest.mark.parametrize("case", RATES)
async def test_a_call(case: str) -> None:
    in_rate, out_rate, params = RATES[case]
    async with asyncio.timeout(60), live_call(in_rate, out_rate, **params) as call:
        for message in media(tone(500, 1.0, 8000)):
            await call.caller.send(message)
        await call.ear.has_heard(2 * in_rate)
        await call.worker.queue_frames(
            [TTSAudioRawFrame(tone(700, 1.0, out_rate), out_rate, 1), EndFrame()]
        )
        await call.listen()
    assert len(call.ear.heard) == 2 * in_rate  # to the sample
    assert pitch(call.ear.heard, in_rate) == 500
    formats = {from_content_type(m.content_type) for m in call.played if isinstance(m, PlayAudio)}
    assert len(formats) == 1
    wire_rate = formats.pop().sample_rate
    delay = 0 if wire_rate == out_rate else 64 * wire_rate // min(wire_rate, out_rate)
    assert len(call.pcm) == 2 * wire_rate + delay  # the resampler's tail included
    assert pitch(call.pcm[: 2 * wire_rate], wire_rate) == 700
    assert call.hang_ups == [f"/api/accounts/{ACCOUNT}/calls/{CALL}"]


async def test_hostile_messages_leave_the_call_up() -> None:
    bad = [
        "[]",
        "null",
        "7",
        "",
        "{",
        '{"eventType":"media","payload":"A"}',
        "[" * 100_000,
        b"\xff",
    ]
    async with asyncio.timeout(60), live_call(16000) as call:
        for message in media(tone(500, 0.2, 8000)):
            for hostile in bad:
                await call.caller.send(hostile)
            await call.caller.send(message)
        await call.ear.has_heard(2 * 3200)
        assert not call.hang_ups
        await call.worker.queue_frame(EndFrame())
        await call.listen()
    assert len(call.hang_ups) == 1


async def test_an_interruption_clears_what_was_sent() -> None:
    async with asyncio.timeout(60), live_call(16000, 24000) as call:
        await call.worker.queue_frame(TTSAudioRawFrame(tone(700, 5.0, 24000), 24000, 1))
        await call.listen(until=PlayAudio)
        await call.worker.queue_frame(InterruptionFrame())
        await call.listen(until=Clear)
        await call.worker.queue_frame(EndFrame())
        await call.listen()
    assert isinstance(call.played[-1], Clear)
    assert len(call.pcm) < 4 * 2 * 8000
    assert len(call.hang_ups) == 1


GOODBYES = {
    "Pipecat's defaults": {},
    "no silence at the end": {"audio_out_end_silence_secs": 0},
    "half a second ahead": {"audio_out_end_silence_secs": 0, "audio_out_10ms_chunks": 50},
}


@pytest.mark.parametrize(
    ("case", "cushion_ms"),
    [*((case, 0) for case in GOODBYES), *(("Pipecat's defaults", ms) for ms in (200, 1000))],
)
async def test_the_last_word_is_played_before_the_call_ends(case: str, cushion_ms: int) -> None:
    """The socket stays open while the serializer waits, and the hang-up comes before its end."""
    params = {"transport": GOODBYES[case], "outbound_cushion_ms": cushion_ms}
    async with asyncio.timeout(60), live_call(16000, 24000, **params) as call:
        listening = asyncio.create_task(call.listen())
        await call.worker.queue_frames(
            [TTSAudioRawFrame(tone(700, 1.0, 24000), 24000, 1), EndFrame()]
        )
        await call.voice.seen("/token")
        left = call.sound_end - time.monotonic()  # the resampler's last 4 ms come later
        await listening
    assert left <= 0
    assert len(call.pcm) >= 2 * 8000
    assert len(call.hang_ups) == 1


async def test_whoever_cancels_does_not_wait_for_the_goodbye() -> None:
    transport = {"audio_out_end_silence_secs": 0, "audio_out_10ms_chunks": 400}
    async with asyncio.timeout(60), live_call(transport=transport, hang_up_after_secs=60.0) as call:
        await call.worker.queue_frame(TTSAudioRawFrame(tone(700, 30.0, 8000), 8000, 1))
        await call.listen(until=PlayAudio)
        await call.worker.cancel()
        await call.listen()
    assert len(call.hang_ups) == 1
