"""The pytest plugin: calls to bots as tests of them, the README's among them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI, WebSocket

from tests.simulator.bots import Bot, listen, play, tone
from workbench.exceptions import SimulationError
from workbench.simulator import Line
from workbench.testing import BandwidthCall, Place, bandwidth_call  # noqa: F401

ROOT = Path(__file__).parents[1]
QUESTION = ROOT / "sample_audio" / "call" / "caller" / "c09.flac"

#: What the README's test calls: greets, hears the caller out, answers, hangs up.
BOT = """
import asyncio

import numpy as np
from fastapi import FastAPI
from pipecat.frames.frames import EndFrame, OutputAudioRawFrame

from pipecat_bandwidth import VoiceAPI
from pipecat_bandwidth.server import create_app
from workbench.tap import Tap


async def say(websocket, serializer, secs):
    noise = np.random.default_rng(1).normal(0, 2000, round(secs * 8000)).astype("<i2")
    for block in np.split(noise, range(320, len(noise), 320)):
        frame = OutputAudioRawFrame(block.tobytes(), 8000, 1)
        await websocket.send_text(await serializer.serialize(frame))
        await asyncio.sleep(0.03)


async def hear(websocket, serializer, secs):
    loop = asyncio.get_running_loop()
    until = loop.time() + secs
    while loop.time() < until:
        await serializer.deserialize(await websocket.receive_text())


async def bot(websocket, serializer):
    serializer = Tap(serializer, "captures/")
    await hear(websocket, serializer, 0.1)
    await say(websocket, serializer, 0.6)
    await hear(websocket, serializer, 2.5)
    await say(websocket, serializer, 0.6)
    await hear(websocket, serializer, 0.3)
    await serializer.serialize(EndFrame())


app = create_app(
    bot, username="bandwidth", password="secret", voice_api=VoiceAPI("id", "secret"),
    public_url="wss://bot.example",
)
"""


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await play(websocket, tone(0.3, 24000))
    await listen(websocket, 2.5)
    await websocket.close()


def test_an_application_is_called_from_a_test_without_a_loop(bandwidth_call: Place) -> None:  # noqa: F811
    call = bandwidth_call(Bot(greet).app, QUESTION, path="/voice", max_secs=30.0)
    assert isinstance(call, BandwidthCall)
    assert call.simulated.ended_by == "closed" and call.simulated.problems() == []
    assert [turn.side for turn in call.simulated.turns] == ["bot", "caller"]
    assert call.capture is None
    with pytest.raises(ValueError, match=r"no capture of c-.* put a Tap round"):
        _ = call.findings


async def test_a_server_is_called_by_its_address(bandwidth_call: Place) -> None:  # noqa: F811
    async with Bot(greet).running() as url:
        place = asyncio.to_thread(
            bandwidth_call, f"{url}/voice", QUESTION, line=Line(loss=0.2), max_secs=30.0
        )
        call = (await place).simulated
    assert 0 < len(call.sent_time) < 0.9 * call.sent_sequence.max()


def test_a_call_that_fails_fails_the_test(bandwidth_call: Place) -> None:  # noqa: F811
    with pytest.raises(SimulationError, match="answered 404"):
        bandwidth_call(FastAPI(), QUESTION)


def test_no_real_call_can_be_ended(bandwidth_call: Place) -> None:  # noqa: F811
    for name in ("BANDWIDTH_VOICE_URL", "BANDWIDTH_TOKEN_URL"):
        assert os.environ[name].startswith("http://127.0.0.1:")


@pytest.mark.slow
def test_the_readmes_test_passes_as_it_stands_and_fails_with_a_bot_that_does_not_answer(
    tmp_path: Path,
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (test,) = re.findall(r"```python\n(def test_.*?)```", readme, re.DOTALL)
    (tmp_path / "question.wav").write_bytes(QUESTION.read_bytes())
    (tmp_path / "bot.py").write_text(BOT)
    (tmp_path / "test_bot.py").write_text(test)
    (tmp_path / "mute.py").write_text(BOT.replace("serializer, 0.6", "serializer, 0.02"))
    (tmp_path / "test_mute.py").write_text(test.replace("from bot", "from mute"))
    plugins = ["-p", "workbench.testing", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}"},
    )  # fmt: skip
    assert "1 failed, 1 passed" in run.stdout, run.stdout
    assert "FAILED test_mute.py" in run.stdout, run.stdout
