"""A bot's server to knock at: in a process of its own, and what comes to it from Bandwidth's side.

``python -m tests.pipecat_bandwidth.served '{"limits": {"waiting": 20}}'`` serves on a free port and
prints it. What it is given goes to `create_app` (limits) and to uvicorn (settings); with figures, it
tells what it costs.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import httpx
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.headers import build_authorization_basic

from pipecat_bandwidth import BandwidthFrameSerializer, Start
from pipecat_bandwidth.messages import encode
from pipecat_bandwidth.server import Limits, Server, configured, create_app

ROOT = Path(__file__).parents[2]
USER = ("bandwidth", "correct horse")
INITIATE = {"eventType": "initiate", "callId": "c-1", "accountId": "9900000"}
START = encode(Start("s-1", "c-1", "9900000", "bot"))


async def echo(websocket: WebSocket, serializer: BandwidthFrameSerializer) -> None:
    """A bot that says what it hears."""
    async for text in websocket.iter_text():
        frame = await serializer.deserialize(text)
        if isinstance(frame, InputAudioRawFrame):
            said = OutputAudioRawFrame(frame.audio, frame.sample_rate, 1)
            if message := await serializer.serialize(said):
                await websocket.send_text(message)


# -- Bandwidth's side --------------------------------------------------------------------------


class Destination(NamedTuple):
    """Where a stream goes, and its password."""

    url: str
    headers: dict[str, str]


async def expected(url: str, call_id: str = "c-1", auth: tuple[str, str] = USER) -> Destination:
    """Post `initiate`, and read the answer."""
    async with httpx.AsyncClient(auth=auth, trust_env=False, verify=False) as client:
        answer = await client.post(f"{url}/webhook", json={**INITIATE, "callId": call_id})
    return destination_of(answer)


def destination_of(answer: httpx.Response) -> Destination:
    answer.raise_for_status()
    stream, stop = ElementTree.fromstring(answer.text)
    if (stop.tag, stop.get("wait"), stop.get("name")) != ("StopStream", "true", stream.get("name")):
        raise ValueError(f"nothing holds the call: {answer.text}")
    authorization = build_authorization_basic(
        stream.get("destinationUsername", ""), stream.get("destinationPassword", "")
    )
    return Destination(stream.get("destination", ""), {"Authorization": authorization})


def opened(destination: Destination) -> connect:
    return connect(destination.url, additional_headers=destination.headers, proxy=None)


async def knock(destination: Destination, first: str | bytes | None = None) -> int:
    """Open a stream, send a message, wait; the HTTP status of a refusal, or the close code."""
    try:
        async with opened(destination) as websocket:
            if first is not None:
                await websocket.send(first)
            await closed(websocket)
            return websocket.close_code or 0
    except InvalidStatus as refusal:
        return refusal.response.status_code
    except ConnectionClosed as closing:  # while it was still sending
        return closing.rcvd.code if closing.rcvd else 1006


async def closed(websocket: ClientConnection, secs: float = 10.0) -> None:
    """Wait until the far end closes."""
    async with asyncio.timeout(secs):
        try:
            while True:
                await websocket.recv()
        except ConnectionClosed:
            pass


# -- a process ---------------------------------------------------------------------------------


@dataclass
class Process:
    """A server in a process of its own."""

    url: str
    child: subprocess.Popen[str]

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rpartition(":")[2])

    def megabytes(self, what: str = "VmHWM") -> float:
        """Its memory: at most so far (``VmHWM``) or now (``VmRSS``). Linux only."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")


@contextmanager
def process(**options: Any) -> Iterator[Process]:
    """Start a server, and end it."""
    command = [sys.executable, "-m", "tests.pipecat_bandwidth.served", json.dumps(options)]
    child = subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        if child.stdout is None or not (port := child.stdout.readline()):
            raise RuntimeError(child.communicate()[1])
        yield Process(f"http://127.0.0.1:{int(port)}", child)
    finally:
        child.kill()
        child.communicate()


def _tell_figures(app: FastAPI) -> None:
    """Answer with what the process has used, and how late its event loop was, since last asked."""
    lags: list[float] = []
    used = time.process_time()

    async def watch() -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            lags.append(time.monotonic() - due)

    @app.get("/figures")
    async def figures() -> dict[str, Any]:
        nonlocal used
        if not hasattr(app.state, "watching"):
            app.state.watching = asyncio.create_task(watch())
        told = {"cpu": time.process_time() - used, "lags": lags.copy()}
        used = time.process_time()
        lags.clear()
        return told


def main() -> None:
    options = json.loads(sys.argv[1])
    params = BandwidthFrameSerializer.InputParams(auto_hang_up=False)
    limits = Limits(**options.pop("limits", {}))
    app = create_app(echo, username=USER[0], password=USER[1], params=params, limits=limits)
    if options.pop("figures", False):
        _tell_figures(app)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    Server(configured(app, **options)).run(sockets=[listener])


if __name__ == "__main__":
    main()
