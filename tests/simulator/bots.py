"""Bots that do as a test tells them, on real sockets, and scripts to call them with."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI, Request, Response, WebSocket

from pipecat_bandwidth.encodings import WireFormat, wire_format
from pipecat_bandwidth.messages import PlayAudio, encode
from workbench.demo.bot import serve
from workbench.simulator import (
    Script,
    SimulatedCall,
    VoiceAPIServer,
    caller,
    leg,
    playing,
    simulate,
)
from workbench.simulator.script import Rule, Turn

SAMPLES = Path(__file__).parents[2] / "sample_audio"
PCM_24K = wire_format("PCM", 24000)
STOP = '<StopStream name="s" wait="true"/>'

Behaviour = Callable[[WebSocket], Awaitable[None]]


def script_of(*caller: Turn) -> Script:
    bot = Turn("b01", "bot", "", 0.0, 1.0, 1.0, Rule(gap=0.0))
    return Script("A test", 2.0, (bot, *caller))


def hello() -> Turn:
    file = str(SAMPLES / "call" / "caller" / "c09.flac")
    return Turn("c01", "caller", file, 1.1, 1.74, 0.64, Rule(after="b01", gap=0.1), "Bye.")


class Bot:
    """A server that answers with the BXML given and does as it is told on the socket."""

    def __init__(self, behave: Behaviour, bxml: str = "", status: int = 200, **pages: str) -> None:
        self.app = FastAPI()
        self.webhooks: list[dict[str, Any]] = []
        self.received: list[str] = []
        self.bxml = bxml or f"<Response>{{stream}}</StartStream>{STOP}</Response>"

        def answer(bxml: str, request: Request) -> Response:
            stream = (
                f'<StartStream name="s" mode="bidirectional" streamEventUrl="/status" '
                f'destination="ws://{request.url.netloc}/stream" destinationUsername="u" '
                f'destinationPassword="p"><StreamParam name="k" value="v"/>'
            )
            text = bxml.replace("{stream}", stream).replace("{host}", request.url.netloc)
            return Response(text, status, media_type="application/xml")

        @self.app.post("/voice")
        async def voice(request: Request) -> Response:
            self.webhooks.append(await request.json())
            self.authorization = request.headers.get("authorization")
            return answer(self.bxml, request)

        @self.app.api_route("/pages/{name}", methods=["GET", "POST"])
        async def page(name: str, request: Request) -> Response:
            posted = await request.json() if request.method == "POST" else request.query_params
            self.webhooks.append({"page": name, "method": request.method} | dict(posted))
            return answer(pages[name], request)

        @self.app.post("/status", status_code=204)
        async def status_hook(request: Request) -> None:
            self.webhooks.append(await request.json())

        @self.app.get("/status", status_code=204)
        async def status_asked(request: Request) -> None:
            self.webhooks.append({"method": "GET"} | dict(request.query_params))

        @self.app.websocket("/stream")
        async def stream(websocket: WebSocket) -> None:
            self.upgrade = websocket.headers.get("authorization")
            await behave(websocket)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        async with serve(self.app) as url:
            yield url

    async def called(self, script: Script | None = None, **kwargs: Any) -> SimulatedCall:
        async with self.running() as url:
            return await simulate(
                f"{url}/voice", script or script_of(), status_url=f"{url}/status", **kwargs
            )


async def play(websocket: WebSocket, pcm: bytes, wire: WireFormat = PCM_24K) -> None:
    step = wire.sample_rate * 2 // 20
    for first in range(0, len(pcm), step):
        payload = wire.encode(pcm[first : first + step])
        await websocket.send_text(encode(PlayAudio(wire.content_type, payload)))


async def listen(websocket: WebSocket, seconds: float) -> list[dict[str, Any]]:
    messages = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                messages.append(json.loads(await websocket.receive_text()))
    return messages


async def stay(websocket: WebSocket) -> None:
    with contextlib.suppress(Exception):
        while True:
            await websocket.receive_text()


def tone(seconds: float, rate: int, hertz: float = 500.0) -> bytes:
    samples = np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate) * 8000
    return samples.astype("<i2").tobytes()


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let callers wait a minute for a bot whose process has just started, on a busy machine."""
    for module in (caller, leg, playing):
        monkeypatch.setattr(module, "PATIENCE", 60.0)


def sdk(server: VoiceAPIServer) -> Any:
    """Bandwidth's own client of the Voice API, for a simulated one."""
    import bandwidth

    configuration = bandwidth.Configuration(
        host=server.base_url,
        access_token_url=server.token_url,
        client_id=server.client_id,
        client_secret=server.client_secret,
        ignore_operation_servers=True,
    )
    return bandwidth.CallsApi(bandwidth.ApiClient(configuration))
