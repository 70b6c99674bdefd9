"""What recording costs a bot's process, and how many calls one core carries with it and without.

A real uvicorn with a real Pipecat pipeline for each call, whose bot says what it hears at 8 kHz, in
a process of its own; the callers are in another, on a real clock, 50 messages a second. First the
same calls go through the official serializer, through ours, and through ours in a tap, in turn,
every few seconds, so that whatever else the machine does falls on all. The event loop's CPU time is
read apart from that of the threads beside it. Calls are added until the core is full: where the 99th
percentile of the loop's lag passes 20 ms, and a message comes when the next one is due.

Both processes want a core: with a load above the machine's cores, the lag is the machine's.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, TypeAlias

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner
from rich.console import Console
from websockets.asyncio.client import connect

from pipecat_bandwidth import BandwidthFrameSerializer, Start
from pipecat_bandwidth.encodings import PCMU
from pipecat_bandwidth.messages import Media, encode
from tests.benchmarks import official
from tests.benchmarks._tables import print_table
from tests.benchmarks.serializer import speech
from workbench.tap import Tap

KINDS = {"official": "official 0.1.0", "bare": "ours", "tapped": "ours, tapped"}
#: How many calls at once, the first of them for the CPU time.
CALLS = (20, 36, 44, 52, 60, 68)
#: How often each kind has its turn, and how long. The writers are up to a second behind, so the
#: beginning of a turn is not counted.
ROUNDS, FEW_ROUNDS = 7, 2
SETTLE_SECS, SECS = 1.0, 2.0
#: The lag at which a core is full, and how often it is looked at.
FULL_MS, WATCH_SECS = 20.0, 0.005
LONGEST_SECS = 240

#: What was measured in each turn of each kind.
Turns: TypeAlias = dict[str, list[dict[str, Any]]]


# -- the bot's side, in a process of its own ---------------------------------------------------


class Bot:
    """The bot of every call, and which serializer the calls go through."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._live: dict[FastAPIWebsocketTransport, dict[str, FrameSerializer]] = {}

    def switch(self, kind: str) -> None:
        """Let all live calls go through the serializer of this kind from now on."""
        for transport, serializers in self._live.items():
            transport._params.serializer = serializers[kind]

    async def answer(self, websocket: WebSocket, kinds: Sequence[str]) -> None:
        """Say what the caller says, through the first of these kinds."""
        serializers = {kind: self._made(kind) for kind in kinds}
        for serializer in serializers.values():
            await serializer.setup(SimpleNamespace(audio_in_sample_rate=8000))
        params = FastAPIWebsocketParams(
            serializer=serializers[kinds[0]], audio_in_enabled=True, audio_out_enabled=True
        )
        transport = FastAPIWebsocketTransport(websocket, params)
        worker = PipelineWorker(
            Pipeline([transport.input(), Echo(), transport.output()]),
            params=PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000),
        )

        @transport.event_handler("on_client_disconnected")
        async def leave(transport: Any, client: Any) -> None:
            await worker.cancel()

        self._live[transport] = serializers
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await runner.run()
        del self._live[transport]

    def _made(self, kind: str) -> FrameSerializer:
        maker = official.serializer_class() if kind == "official" else BandwidthFrameSerializer
        serializer = maker("s-1", params=maker.InputParams(auto_hang_up=False))
        return Tap(serializer, self._folder) if kind == "tapped" else serializer


class Echo(FrameProcessor):
    """Says what it hears."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            frame = OutputAudioRawFrame(frame.audio, frame.sample_rate, 1)
        await self.push_frame(frame, direction)


def serve(folder: Path) -> None:
    """Serve on a free port, and print it."""
    logger.remove()
    app, bot, figures = FastAPI(), Bot(folder), Figures()

    @app.websocket("/calls/{kinds}")
    async def call(websocket: WebSocket, kinds: str) -> None:
        await websocket.accept()
        await bot.answer(websocket, kinds.split(","))

    @app.post("/switch/{kind}")
    async def switch(kind: str) -> None:
        bot.switch(kind)

    @app.get("/figures")
    async def tell() -> dict[str, Any]:
        return figures.tell()

    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    settings = uvicorn.Config(app, log_level="error", lifespan="off", ws_ping_interval=None)
    uvicorn.Server(settings).run([listener])


class Figures:
    """What the process has used since last asked, by thread; Linux only."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self._lags: list[float] = []
        self._watching: asyncio.Task[None] | None = None

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + WATCH_SECS
            await asyncio.sleep(WATCH_SECS)
            self._lags.append((time.monotonic() - due) * 1e3)

    def tell(self) -> dict[str, Any]:
        self._watching = self._watching or asyncio.create_task(self._watch())
        used = {"process": time.process_time(), "loop": time.thread_time()}
        told = {name: secs - self._used.get(name, 0.0) for name, secs in used.items()}
        self._used = used
        lags, self._lags = self._lags, []
        return {
            "loop": told["loop"],
            "beside": told["process"] - told["loop"],
            "lags": lags,
            "threads": threading.active_count(),
            "descriptors": len(os.listdir("/proc/self/fd")),
        }


# -- the callers' side -------------------------------------------------------------------------


class Callers:
    """Calls to the bot, and what they cost it."""

    def __init__(self, port: int) -> None:
        self._at = f"127.0.0.1:{port}"
        self._calls: list[asyncio.Task[None]] = []
        pcm = np.resize(speech(8000), LONGEST_SECS * 8000)
        payloads = (PCMU.encode(pcm[at : at + 160].tobytes()) for at in range(0, len(pcm), 160))
        self._audio = [encode(Media(p, "inbound", str(n))) for n, p in enumerate(payloads, 1)]

    def __len__(self) -> int:
        return len(self._calls)

    async def ring(self, kinds: Sequence[str], count: int) -> None:
        """Begin so many calls more."""
        for _ in range(count):
            self._calls.append(asyncio.create_task(self._call(",".join(kinds))))
            await asyncio.sleep(0.02)

    async def _call(self, kinds: str) -> None:
        url = f"ws://{self._at}/calls/{kinds}"
        async with connect(url, proxy=None, compression=None) as websocket:

            async def listen() -> None:
                async for _ in websocket:
                    pass

            listening = asyncio.create_task(listen())
            try:
                await websocket.send(encode(Start("s-1", "c-1", "1", "bot")))
                due = time.monotonic()
                for audio in self._audio:
                    await websocket.send(audio)
                    due += 0.02
                    await asyncio.sleep(due - time.monotonic())
            finally:
                listening.cancel()

    async def measure(self, kind: str) -> dict[str, Any]:
        """What the calls cost while they go through a kind."""
        async with httpx.AsyncClient(base_url=f"http://{self._at}", trust_env=False) as client:
            (await client.post(f"/switch/{kind}")).raise_for_status()
            await asyncio.sleep(SETTLE_SECS)
            await client.get("/figures")
            began = time.monotonic()
            await asyncio.sleep(SECS)
            figures: dict[str, Any] = (await client.get("/figures")).json()
        if any(call.done() for call in self._calls):
            raise RuntimeError("a call has ended")
        calls, took = len(self._calls), time.monotonic() - began
        return figures | {
            "loop_ms": figures["loop"] * 1e3 / took / calls,
            "beside_ms": figures["beside"] * 1e3 / took / calls,
            "core": (figures["loop"] + figures["beside"]) / took,
        }


@contextmanager
def served() -> Iterator[int]:
    """The port of a bot's process; it is ended behind it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.capacity", folder]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as child:
            try:
                assert child.stdout
                yield int(child.stdout.readline())
            finally:
                child.kill()


# -- what is measured --------------------------------------------------------------------------


async def measured(port: int) -> dict[int, Turns]:
    """More and more calls, through each kind in turn, until the core is full for each."""
    callers, found = Callers(port), dict[int, Turns]()
    for calls in CALLS:
        await callers.ring(list(KINDS), calls - len(callers))
        turns: Turns = {kind: [] for kind in KINDS}
        for _ in range(FEW_ROUNDS if found else ROUNDS):
            for kind in random.sample(list(KINDS), len(KINDS)):
                turns[kind].append(await callers.measure(kind))
        found[calls] = turns
        if all(lag_ms(turns[kind]) > FULL_MS for kind in KINDS):
            break
    return found


def lag_ms(turns: list[dict[str, Any]]) -> float:
    """The 99th percentile of the event loop's lag."""
    return float(np.percentile(np.concatenate([turn["lags"] for turn in turns]), 99))


def run(console: Console) -> Sequence[Sequence[str]] | None:
    before = os.getloadavg()[0]
    with console.status("calls"), served() as port:
        found = asyncio.run(measured(port))
    loads = f"load of the machine {before:.1f} before, {os.getloadavg()[0]:.1f} after"
    first = min(found)
    print_table(
        console, f"CPU of {first} calls, ms for a second of each; {loads}", _costs(found[first])
    )
    rows = _fillings(found)
    print_table(console, f"p99 of the event loop's lag in ms; {loads}", rows)
    return rows


def _costs(turns: Turns) -> list[list[str]]:
    rows = [["serializer", "event loop", "beside it", "the tap adds", "to ours"]]
    for kind, taken in turns.items():
        loop, beside = (median(turn[of] for turn in taken) for of in ("loop_ms", "beside_ms"))
        rows.append([KINDS[kind], f"{loop:.2f}", f"{beside:.2f}", "", ""])
    adds = [
        # All that is beside the loop is the tap's, which has its threads while it has no turn, too.
        tapped["loop_ms"] - bare["loop_ms"] + tapped["beside_ms"]
        for bare, tapped in zip(turns["bare"], turns["tapped"], strict=True)
    ]
    share = median(adds) / median(turn["loop_ms"] for turn in turns["bare"])
    rows[-1][3:] = [f"{median(adds):.2f} ({min(adds):.2f} to {max(adds):.2f})", f"{share:.0%}"]
    return rows


def _fillings(found: dict[int, Turns]) -> list[list[str]]:
    rows = [["calls", *KINDS.values(), "of a core, tapped", "threads", "descriptors"]]
    for calls, turns in found.items():
        last = turns["tapped"][-1]
        core = median(turn["core"] for turn in turns["tapped"])
        lags = [f"{lag_ms(turns[kind]):.1f}" for kind in KINDS]
        used = [str(last["threads"]), str(last["descriptors"])]
        rows.append([str(calls), *lags, f"{core:.2f}", *used])
    full = {
        kind: next((c for c, turns in found.items() if lag_ms(turns[kind]) > FULL_MS), None)
        for kind in KINDS
    }
    over = f"more than {max(found)}"
    rows.append(["full at", *(str(calls or over) for calls in full.values()), "", "", ""])
    return rows


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
