"""A bot of Pipecat's development runner on a Bandwidth call, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulator.bots import be_patient, script_of
from workbench.attach import write_setup_file
from workbench.capture import CaptureReader
from workbench.simulator import Route, SimulatedCall, VoiceAPIServer, simulate

pytest.importorskip("python_multipart", reason="Pipecat's runner needs pipecat-ai[runner]")
#: Each starts Pipecat's runner in a process of its own, which takes some seconds.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


USER = {"BANDWIDTH_WEBHOOK_USERNAME": "bandwidth", "BANDWIDTH_WEBHOOK_PASSWORD": "secret"}

#: A bot as Pipecat's examples are written, but for the lines with the word bandwidth.
BOT = """
import sys

import numpy as np
from pipecat.frames.frames import EndFrame, TTSAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams
from pipecat.workers.runner import WorkerRunner

from pipecat_bandwidth.runner import create_transport, main

transport_params = {
    "twilio": lambda: FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True),
    "bandwidth": lambda: FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True),
}


async def bot(runner_args):
    transport = await create_transport(runner_args, transport_params)
    kind, call = await parse_telephony_websocket(runner_args.websocket)  # takes nothing off it
    print(kind, call.call_id, runner_args.call_data.stream_id, file=sys.stderr)
    worker = PipelineWorker(
        Pipeline([transport.input(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000),
    )

    @transport.event_handler("on_client_connected")
    async def greet(transport, client):
        noise = np.random.default_rng(1).normal(0, 2000, 4800).astype("<i2").tobytes()
        await worker.queue_frames([TTSAudioRawFrame(noise, 8000, 1), EndFrame()])

    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    main()
"""


def test_the_readmes_lines_are_those_of_the_bot_that_is_called() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(from pipecat_bandwidth.runner.*?)```", readme, re.DOTALL)
    lines = [line.partition("  #")[0] for line in block.splitlines() if line]
    assert len(lines) == 4 and not set(lines) - set(BOT.splitlines())


@contextlib.contextmanager
def started(folder: Path, *options: str, **environment: str) -> Iterator[tuple[int, Path]]:
    """Run ``python bot.py`` there; the port, and the file that it logs to."""
    (folder / "bot.py").write_text(BOT)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "bot.py", "--host", "127.0.0.1", "--port", str(port), *options]
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("BANDWIDTH_", "PIPECAT_"))}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log,
            env=plain | {"PYTHONPATH": path} | environment,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield port, folder / "log"
    finally:
        child.terminate()
        child.wait()


async def called(port: int, far: VoiceAPIServer | None = None, **options: object) -> SimulatedCall:
    user = {"username": "bandwidth", "password": "secret"}
    url = f"http://127.0.0.1:{port}/bandwidth/webhook"
    return await simulate(url, script_of(), voice_api=far, max_secs=90.0, **user, **options)


async def test_a_bot_of_pipecats_runner_hears_a_call_from_its_first_20_ms(tmp_path: Path) -> None:
    captures = tmp_path / "captures"
    setup = {"PIPECAT_SETUP_FILES": str(write_setup_file(captures))}
    async with VoiceAPIServer(any_client=True) as far:
        client = {"BANDWIDTH_CLIENT_ID": "id", "BANDWIDTH_CLIENT_SECRET": "secret",
                  "BANDWIDTH_VOICE_URL": far.base_url, "BANDWIDTH_TOKEN_URL": far.token_url}  # fmt: skip
        with started(tmp_path, "-t", "bandwidth", **USER, **client, **setup) as (port, log):
            call = await called(port, far)
            file = await asyncio.to_thread(finished, captures)
            told = log.read_text()
    assert call.ended_by == "hang up" and call.problems() == []
    assert call.said_secs >= 0.6
    assert f"bandwidth {call.call_id} {call.stream_id}\n" in told
    assert f"Bandwidth webhook: http://127.0.0.1:{port}/bandwidth/webhook" in told
    records = list(CaptureReader(file).records())
    start, *media = [(r.sequence, json.loads(r.body)) for r in records if r.topic == "/ws/rx"]
    assert start[1]["eventType"] == "start" and start[1]["metadata"]["callId"] == call.call_id
    heard = [json.loads(r.body) for r in records if r.topic == "/frames/in/audio"]
    assert media[0][1]["sequenceNumber"] == "1"
    assert [frame["cause"] for frame in heard] == [
        sequence for sequence, message in media if message["eventType"] == "media"
    ]


def finished(captures: Path) -> Path:
    deadline = time.monotonic() + 20
    while not (files := list(captures.glob("*.mcap"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return files[0]


async def test_behind_a_tunnel_and_without_an_api_the_call_ends_with_the_stream(
    tmp_path: Path,
) -> None:
    with started(tmp_path, "-x", "https://bot.example/", **USER) as (port, _):
        call = await called(port, route=Route(f"ws://127.0.0.1:{port}"))
    assert call.ended_by == "closed" and call.said_secs >= 0.6 and call.problems() == []


def test_without_a_password_bandwidth_is_refused(tmp_path: Path) -> None:
    user = {"BANDWIDTH_WEBHOOK_USERNAME": "bandwidth"}
    with started(tmp_path, "-t", "bandwidth", **user) as (_, log):
        assert "-t bandwidth needs BANDWIDTH_WEBHOOK_PASSWORD" in log.read_text()
