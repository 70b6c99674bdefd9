"""What the README says works as it stands."""

from __future__ import annotations

import asyncio
import functools
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from pipecat.frames.frames import EndFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.transports.websocket.fastapi import FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

import pipecat_bandwidth
from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.voice_api import VoiceAPI
from workbench.call import Call
from workbench.demo.bot import serve
from workbench.diagnosis import diagnose
from workbench.simulator import Script, VoiceAPIServer, simulate
from workbench.tap import Tap

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_two_commands_are_on_the_first_screen() -> None:
    head = README.splitlines()[:12]
    assert [line.split("#")[0].strip() for line in head if line.startswith("make ")] == [
        "make demo",
        "make test",
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo:", makefile, re.MULTILINE)
    assert re.search(r"^test:", makefile, re.MULTILINE)


def test_links_and_pictures_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    for target in targets:
        if "://" not in target:
            assert (ROOT / target).is_file(), target


async def test_the_bots_lines_make_a_serializer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BANDWIDTH_CLIENT_ID", "id")
    monkeypatch.setenv("BANDWIDTH_CLIENT_SECRET", "secret")
    BandwidthFrameSerializer.InputParams(outbound_encoding="PCM").save("tuned.json")
    names = {"stream_id": "s-1", "call_id": "c-1", "account_id": "99"}
    exec(compile(BLOCKS[0], "README", "exec"), names)  # the README is ours
    serializer = names["serializer"]
    assert isinstance(serializer, Tap)
    assert serializer.stream_id == "s-1"
    serializer.close()


@pytest.mark.slow
async def test_the_server_takes_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pipeline that says one sentence and hangs up."""
    monkeypatch.chdir(tmp_path)
    script = Script.load(ROOT / "sample_audio" / "call" / "demo.json")
    greeting = script.turns[0]
    script = Script("A greeting", 10.0, (greeting,), script.channel)

    async def run_bot(transport: FastAPIWebsocketTransport, observers: list[Any]) -> None:
        rates = PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000)
        pipeline = Pipeline([transport.input(), transport.output()])
        worker = PipelineWorker(pipeline, params=rates, observers=observers, enable_rtvi=False)
        sound = greeting.audio().resampled(8000)

        async def say() -> None:
            await worker.queue_frame(OutputAudioRawFrame(sound.pcm(), 8000, 1))
            await asyncio.sleep(sound.duration)  # an EndFrame ends the listening at once
            await worker.queue_frame(EndFrame())

        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await asyncio.gather(runner.run(), say())

    async with VoiceAPIServer() as far:
        monkeypatch.setenv("BANDWIDTH_CLIENT_ID", far.client_id)
        monkeypatch.setenv("BANDWIDTH_CLIENT_SECRET", far.client_secret)
        monkeypatch.setenv("WEBHOOK_PASSWORD", "secret")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        monkeypatch.setenv("PUBLIC_URL", f"ws://127.0.0.1:{port}")
        here = {"base_url": far.base_url, "token_url": far.token_url}
        monkeypatch.setattr(pipecat_bandwidth, "VoiceAPI", functools.partial(VoiceAPI, **here))
        names = {"run_bot": run_bot}
        exec(compile(BLOCKS[1], "README", "exec"), names)  # the README is ours
        async with serve(names["app"], port) as url:
            truth = await simulate(
                f"{url}/webhook", script, username="bandwidth", password="secret", voice_api=far
            )
    assert truth.ended_by == "hang up" and not truth.protocol_errors
    (capture,) = (tmp_path / "captures").glob("*.mcap")
    call = Call.open(capture)
    assert call.stats["bot_sent_ms"] >= 1000 * greeting.audio().duration
    assert call.stats["inbound_messages"] > 50
    assert call.pipeline


def test_the_notebook_lines_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "sample_audio" / "captures", tmp_path / "sample_audio" / "captures")
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[3], "README", "exec"), {})  # the README is ours
    printed = capsys.readouterr().out
    assert "underrun" in printed
    assert "G.711" in printed
    params = BandwidthFrameSerializer.InputParams.load("tuned.json")
    assert params.outbound_encoding == "PCMU"


def test_the_diagnosis_is_what_diagnose_says() -> None:
    shown = README.partition("\n```\nerror ")[2].partition("```")[0]
    worst = diagnose(Call.open(ROOT / "sample_audio" / "captures" / "choppy.mcap"))[0]
    text = " ".join(shown.split())
    for told in (worst.title, worst.when, worst.told, worst.cause, worst.remedy):
        assert told in text


def test_the_defaults_are_those_of_the_table() -> None:
    fields = BandwidthFrameSerializer.InputParams.model_fields
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", README, re.MULTILINE)
    assert {name for name, _ in rows} == set(fields) - {"ignore_rtvi_messages"}
    for name, default in rows:
        assert repr(fields[name].default).replace("'", '"') == default
