"""Bots that know nothing of a tap, recorded by Pipecat's setup files: real pipelines, real sockets.

It runs on every Pipecat of ``make compat``, with nothing of the workbench but what a bot loads.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.frames.frames import EndFrame, TTSAudioRawFrame
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.runner.types import WebSocketRunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner
from websockets.asyncio.client import connect

from pipecat_bandwidth.serializer import BandwidthFrameSerializer
from tests.pipecat_bandwidth.test_transport import ACCOUNT, CALL, Ear, live_call, media, tone
from workbench import attach
from workbench.attach import FILE_NAME, Attachment, check_pipecat, write_setup_file
from workbench.capture import CaptureReader
from workbench.capture.redaction import pseudonym
from workbench.tap import Tap, close_all

ROOT = Path(__file__).parents[1]


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(message.record["message"]), level="WARNING")
    yield lines
    logger.remove(handler)


@pytest.fixture
def captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the calls of a test are recorded into, without a word in the bot."""
    where = tmp_path / "captures"
    file = write_setup_file(where, labels={"release": "1.4"})
    monkeypatch.setenv("PIPECAT_SETUP_FILES", str(file))
    return where


def all_recorded(folder: Path) -> list[CaptureReader]:
    close_all()
    return [CaptureReader(file) for file in sorted(folder.glob("*.mcap"))]


def recorded(folder: Path) -> CaptureReader:
    (capture,) = all_recorded(folder)
    return capture


def texts(capture: CaptureReader, topic: str) -> list[dict[str, Any]]:
    return [json.loads(record.body) for record in capture.records() if record.topic == topic]


async def converse(in_rate: int = 16000) -> bytes:
    """Call a bot without a tap, half a second of either side; what the bot heard."""
    async with asyncio.timeout(60), live_call(in_rate, 24000) as call:
        for message in media(tone(500, 0.5, 8000)):
            await call.caller.send(message)
        await call.ear.has_heard(in_rate)
        await call.worker.queue_frames(
            [TTSAudioRawFrame(tone(700, 0.4, 24000), 24000, 1), EndFrame()]
        )
        await call.listen()
    assert len(call.pcm) >= 6400 and len(call.hang_ups) == 1
    return call.ear.heard


async def test_a_bot_is_recorded_from_start_to_hang_up_without_a_change(captures: Path) -> None:
    heard = await converse()
    capture = recorded(captures)
    received = texts(capture, "/ws/rx")
    assert [m["eventType"] for m in received] == ["start"] + 25 * ["media"]
    assert len(texts(capture, "/frames/in/audio")) == 25
    sent = [m["eventType"] for m in texts(capture, "/ws/tx")]
    assert sent and set(sent) == {"playAudio"}
    (hang_up,) = texts(capture, "/hang_up")
    assert hang_up["outcome"] == "ended"
    assert "bot begins to speak" in [event["what"] for event in texts(capture, "/pipeline")]
    assert capture.metadata["labels"] == {"release": "1.4"}
    assert capture.metadata["call"]["call_id"] == CALL
    assert ACCOUNT not in json.dumps(capture.metadata)
    assert len(heard) == 16000


async def test_every_call_of_a_process_has_a_file_of_its_own(captures: Path) -> None:
    await converse()
    await converse()
    both = all_recorded(captures)
    assert len(both) == 2
    for capture in both:
        events = [event["what"] for event in texts(capture, "/pipeline")]
        assert events.count("bot begins to speak") == 1


async def test_a_start_that_the_runner_read_is_told_by_what_it_kept(captures: Path) -> None:
    """Exotel's, by Pipecat's own telephony parser, which takes two messages before any pipeline."""
    ear = Ear()

    async def bot(websocket: WebSocket) -> None:
        arguments = WebSocketRunnerArguments(websocket=websocket)
        params = {"exotel": lambda: FastAPIWebsocketParams(audio_in_enabled=True)}
        transport = await create_transport(arguments, params)
        worker = PipelineWorker(
            Pipeline([transport.input(), ear, transport.output()]),
            params=PipelineParams(audio_in_sample_rate=8000),
        )

        @transport.event_handler("on_client_disconnected")
        async def leave(transport: object, client: object) -> None:
            await worker.cancel()

        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await runner.run()

    start = {"stream_sid": "MZ1", "call_sid": "CA1", "account_sid": "AC1", "from": "+15555550142",
             "to": "+15555550143", "custom_parameters": {"pin": "4711"}}  # fmt: skip
    audio = {"event": "media", "stream_sid": "MZ1", "media": {"payload": "AAAA" * 100}}
    async with asyncio.timeout(20), serving(bot) as url, connect(url) as caller:
        for message in ({"event": "connected"}, {"event": "start", "start": start}, audio, audio):
            await caller.send(json.dumps(message))
        await ear.has_heard(1)
    capture = recorded(captures)
    assert [m["event"] for m in texts(capture, "/ws/rx")] == ["media", "media"]
    (note,) = texts(capture, "/notes")
    before, _, said = note["text"].partition(": ")
    assert before == "start, read by Pipecat's runner"
    account = pseudonym("AC1") or "[redacted]"
    assert json.loads(said) == {
        "carrier": "exotel", "stream_id": "MZ1", "call_id": "CA1", "account_sid": account,
    }  # fmt: skip
    assert capture.metadata["call"]["call_id"] == "CA1"
    everything = b"".join(record.body for record in capture.records())
    assert not re.search(b"4711|5555550142|AC1", everything)


# -- a call comes first ------------------------------------------------------------------------


async def test_where_it_cannot_record_the_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    file = write_setup_file(tmp_path / "captures")
    text = file.read_text().replace(str(file.parent), "/dev/null/captures")
    assert "/dev/null" in text
    file.write_text(text)
    monkeypatch.setenv("PIPECAT_SETUP_FILES", str(file))
    assert len(await converse()) == 16000
    close_all()
    assert [line for line in log if "The call is not affected" in line]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("redact=()", "redact=('',)"), "workbench attach: the call is not recorded"),
        (("labels={}", "lables={}"), "error loading setup file"),
        (("workbench.attach", "workbench.detach"), "error loading setup file"),
    ],
)
async def test_a_setup_file_that_fails_is_told_in_the_log_and_leaves_the_bot_alone(
    change: tuple[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    log: list[str],
) -> None:  # fmt: skip
    file = write_setup_file(tmp_path / "captures")
    text = file.read_text().replace(*change)
    assert text != file.read_text()
    file.write_text(text)
    monkeypatch.setenv("PIPECAT_SETUP_FILES", str(file))
    assert len(await converse()) == 16000
    assert [line for line in log if line.startswith(said)]
    assert not [c for c in all_recorded(file.parent) if texts(c, "/ws/rx")]


async def test_a_worker_that_is_not_as_expected_is_left_alone(
    tmp_path: Path, log: list[str]
) -> None:
    await Attachment(tmp_path).attach(object())
    (line,) = log
    assert line.startswith("workbench attach: the call is not recorded, and not affected: Attr")


async def test_who_cannot_be_imported_in_time_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    """From a disk that hangs, say; the thread that imports is left to itself."""
    released = threading.Event()
    monkeypatch.setattr(attach, "_PATIENCE", 0.05)
    monkeypatch.setattr(importlib, "import_module", lambda name: released.wait(30))
    params = FastAPIWebsocketParams(serializer=serializer())
    transport = transport_of(params)
    worker = PipelineWorker(Pipeline([transport.input(), Ear(), transport.output()]))
    try:
        await Attachment(tmp_path).attach(worker)
    finally:
        released.set()
    assert isinstance(params.serializer, BandwidthFrameSerializer)
    assert [line for line in log if "the call is not recorded, and not affected: Timeout" in line]


# -- what is tapped ----------------------------------------------------------------------------


def serializer() -> BandwidthFrameSerializer:
    params = BandwidthFrameSerializer.InputParams(auto_hang_up=False)
    return BandwidthFrameSerializer("s-1", "c-1", params=params)


def transport_of(params: FastAPIWebsocketParams) -> FastAPIWebsocketTransport:
    websocket = WebSocket({"type": "websocket"}, None, None)  # nobody is there yet
    return FastAPIWebsocketTransport(websocket, params)


async def test_transports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    one, two = (FastAPIWebsocketParams(serializer=serializer()) for _ in range(2))
    first, second = transport_of(one), transport_of(two)
    branches = ParallelPipeline([Ear(), second.output()], [Ear()])
    worker = PipelineWorker(Pipeline([first.input(), branches, first.output()]))
    await Attachment(tmp_path).attach(worker)
    for params in (one, two):
        assert isinstance(params.serializer, Tap)
        assert isinstance(params.serializer._inner, BandwidthFrameSerializer)
        params.serializer.close()
    assert one.serializer.path != two.serializer.path


async def test_the_bots_own_tap_stays_the_only_one(tmp_path: Path) -> None:
    own = Tap(serializer(), tmp_path / "own")
    params = FastAPIWebsocketParams(serializer=own)
    transport = transport_of(params)
    worker = PipelineWorker(Pipeline([transport.input(), Ear(), transport.output()]))
    before = len(worker._observer._observers)
    await Attachment(tmp_path / "attached").attach(worker)
    own.close()
    assert params.serializer is own and len(worker._observer._observers) == before
    assert not (tmp_path / "attached").exists()


async def test_a_worker_without_a_transport_is_no_mistake(tmp_path: Path, log: list[str]) -> None:
    await Attachment(tmp_path / "captures").attach(PipelineWorker(Pipeline([Ear()])))
    assert not log and not (tmp_path / "captures").exists()


# -- the file, and who can use it --------------------------------------------------------------


def test_the_file_stands_with_the_captures_and_is_written_again(tmp_path: Path) -> None:
    file = write_setup_file(tmp_path / "a" / "captures")
    assert file == tmp_path / "a" / "captures" / FILE_NAME
    assert write_setup_file(file.parent, words=True, redact=["Ada's"]) == file
    assert "words=True" in file.read_text() and "Ada's" in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == [FILE_NAME]
    with pytest.raises(ValueError, match="is cut at each ':'"):
        write_setup_file(tmp_path / "a:b")
    with pytest.raises(ValueError, match="is empty"):
        write_setup_file(file.parent, words=True, redact=["Ada", ""])


def test_the_file_loads_without_anything_that_takes_time(tmp_path: Path) -> None:
    """Pipecat imports it on the event loop, when the first call has begun."""
    file = write_setup_file(tmp_path)
    code = f"import runpy, sys; runpy.run_path({str(file)!r}); print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "workbench" in loaded and not loaded & {"numpy", "pipecat", "loguru", "httpx", "msgspec"}


def test_a_pipecat_without_setup_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_pipecat()  # this one has them
    (tmp_path / "pipecat" / "utils").mkdir(parents=True)
    (tmp_path / "pipecat" / "__init__.py").touch()
    version = "import sys; del sys.path[0]; from workbench.attach import check_pipecat as c; c()"
    old = tmp_path / "pipecat_ai-1.2.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: pipecat-ai\nVersion: 1.2.0\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    run = subprocess.run([sys.executable, "-c", version], capture_output=True, text=True)
    assert re.search("Pipecat 1.2.0 has no setup files .* 1.3.0 and newer have", run.stderr)


@contextlib.asynccontextmanager
async def serving(bot: Any) -> AsyncIterator[str]:
    app = FastAPI()

    @app.websocket("/ws")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await bot(websocket)

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    server.capture_signals = contextlib.nullcontext  # they belong to pytest
    running = asyncio.create_task(server.serve([listener]))
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
    finally:
        server.should_exit = True
        await running
