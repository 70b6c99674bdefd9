"""What calls cost the server: 1, 30 and 100 at once, each 50 messages a second both ways.

A real uvicorn in a process of its own; its bot says what it hears, through the real serializer,
without a pipeline. The caller's side is in another process, and both want a core: figures beside a
machine's load above its cores are the machine's.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from pipecat_bandwidth.messages import Media, encode
from tests.pipecat_bandwidth.served import START, USER, Process, expected, opened, process

CALLS = (1, 30, 100)
SECS = 10.0
AUDIO = [encode(Media(b"\xff" * 160, "inbound", str(number))) for number in range(1, 501)]


async def talk(url: str, secs: float, begin: float) -> tuple[int, int, list[float]]:
    """One call on a real clock: messages sent, answers, and how long each answer took."""
    loop = asyncio.get_running_loop()
    sent: deque[float] = deque()
    took: list[float] = []
    async with opened(await expected(url)) as websocket:

        async def listen() -> None:
            async for _ in websocket:
                took.append(loop.time() - sent.popleft())

        await websocket.send(START)
        listening = asyncio.create_task(listen())
        number = 0
        for number, audio in enumerate(AUDIO[: round(secs * 50)], 1):
            await asyncio.sleep(begin + number * 0.02 - loop.time())
            sent.append(loop.time())
            await websocket.send(audio)
        await asyncio.sleep(1.0)
    await listening
    return number, len(took), took


async def load(server: Process, calls: int, secs: float = SECS) -> dict[str, Any]:
    """So many calls at once, and what the server tells of itself."""
    async with httpx.AsyncClient(base_url=server.url, auth=USER, trust_env=False) as client:
        await client.get("/figures")
        begin = asyncio.get_running_loop().time() + 1.0
        began = time.monotonic()
        outcomes = await asyncio.gather(*(talk(server.url, secs, begin) for _ in range(calls)))
        figures: dict[str, Any] = (await client.get("/figures")).json()
    took = np.concatenate([times for _, _, times in outcomes]) * 1000
    return {
        "calls": calls,
        "lost": sum(sent - answers for sent, answers, _ in outcomes),
        "answer_ms": np.percentile(took, [50, 99]),
        "lag_ms": np.percentile(np.array(figures["lags"]) * 1000, [50, 99]),
        "cpu_ms": figures["cpu"] * 1000 / calls / secs,
        "core": figures["cpu"] / (time.monotonic() - began),
        "mb": server.megabytes("VmRSS"),
    }


def run(console: Console) -> Sequence[Sequence[str]] | None:
    """Print the table."""
    table = Table(title=f"{SECS:g} s, load of the machine {os.getloadavg()[0]:.1f} before")
    for heading in (
        "calls", "messages lost", "answer p50/p99 ms", "loop's lag p50/p99 ms",
        "CPU ms per s of call", "of a core", "RSS MB",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for calls in CALLS:
        with process(figures=True) as server:
            got = asyncio.run(load(server, calls))
        table.add_row(
            str(calls),
            str(got["lost"]),
            "/".join(f"{value:.1f}" for value in got["answer_ms"]),
            "/".join(f"{value:.1f}" for value in got["lag_ms"]),
            f"{got['cpu_ms']:.2f}",
            f"{got['core']:.2f}",
            f"{got['mb']:.0f}",
        )
    console.print(table)
    return None
