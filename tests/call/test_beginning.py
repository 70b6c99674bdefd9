"""What a caller said before the bot began to read is a part of the call, in everything made of it."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from pipecat_bandwidth import BandwidthFrameSerializer, messages
from pipecat_bandwidth.encodings import PCMU
from tests.captures import ANCHOR_NS, Scene, speech
from workbench.audio import Audio
from workbench.call import SIGNALS, Call
from workbench.call.life import HELD
from workbench.call.replay import replay, replay_inbound
from workbench.capture import CaptureReader, CaptureWriter
from workbench.diagnosis import Part, diagnose, excerpt
from workbench.diagnosis.detectors import DETECTORS
from workbench.exports import export
from workbench.report import write_report
from workbench.tap import Tap

LATE = 8.0  # seconds that the bot does not read


@pytest.fixture(scope="module")
def scene() -> Scene:
    """The caller speaks at once, and again; the bot reads nothing for some seconds."""
    scene = Scene(12.0, noise_dbov=-70, jitter_ms=0)
    scene.say_caller(0.5, speech("caller/c08").span(0, 1.5))
    scene.say_caller(9.0, speech("caller/c01").span(0, 1.5))
    scene.say_bot(11.0 - LATE, speech("bot/b07").span(0, 0.9))
    scene.arrival = np.maximum(scene.arrival - LATE, np.arange(len(scene.arrival)) * 1e-6)
    scene.duration -= LATE
    return scene


@pytest.fixture(scope="module")
def call(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Call:
    return Call.open(scene.write(tmp_path_factory.mktemp("late") / "late.mcap"))


def test_zero_is_the_earliest_audio(call: Call) -> None:
    assert call.begun == pytest.approx(LATE, abs=1e-3)
    assert call.duration == pytest.approx(12.0, abs=1e-3)
    assert call.inbound.start[0] == pytest.approx(0.0, abs=1e-6)
    assert all(len(call.signal(name)) > 0 for name in SIGNALS)
    for name in ("caller_sent", "bot_heard"):
        assert call.signal(name).duration == pytest.approx(12.0, abs=1e-3)


def test_every_sample_of_the_caller_is_there(call: Call, scene: Scene) -> None:
    sent = PCMU.decode(PCMU.encode(Audio(scene.caller, 8000).pcm()))
    for name in ("caller_sent", "bot_heard"):
        assert call.signal(name).pcm()[: len(sent)] == sent
    assert replay(call)
    assert replay_inbound(call, 8000).pcm() == call.bot_heard.pcm()


def test_records_keep_their_times_among_each_other(call: Call) -> None:
    with CaptureReader(call.path) as reader:
        records = {topic: list(reader.records(topic)) for topic in ("/ws/rx", "/ws/tx")}
    for stream, topic in ((call.inbound, "/ws/rx"), (call.outbound, "/ws/tx")):
        found = [r for r in records[topic] if b"payload" in r.body]
        times = [(record.time_ns - call.anchor_ns) / 1e9 for record in found]
        assert stream.time.tolist() == times
    (begun,) = call.times_of("start")
    assert begun == call.begun
    assert call.outbound.time[0] - begun == pytest.approx(11.0 - LATE, abs=1e-3)


def test_exports_and_report_are_on_that_clock(call: Call, tmp_path: Path) -> None:
    found = diagnose(call)
    export(call, tmp_path, findings=found)
    sound = Audio.read(tmp_path / "late.wav", 0).resampled(8000)
    assert sound.duration == pytest.approx(call.duration, abs=1e-3)
    assert sound.span(0.5, 2.0).level == pytest.approx(
        call.caller_sent.span(0.5, 2.0).level, abs=0.1
    )
    with (tmp_path / "late.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert next(float(r["time_s"]) for r in rows if r["source"] == "wire") == call.begun
    audio = [row["duration_ms"] for row in rows if row["kind"] in ("media", "playAudio")]
    assert len(audio) == len(call.inbound) + len(call.outbound)
    assert all(audio)
    labels = (tmp_path / "late.labels.txt").read_text(encoding="utf-8").splitlines()
    assert min(float(line.split("\t")[0]) for line in labels) >= 0
    page = write_report(tmp_path / "late.html", call, found).read_text(encoding="utf-8")
    assert "12.0 s" in page


def test_what_piled_up_is_told_with_its_length_and_nothing_else_of_it(call: Call) -> None:
    (late,) = (f for f in diagnose(call) if f.kind == "late_start" and f.side == "caller")
    assert late.value == pytest.approx(LATE, abs=1e-3)
    assert late.span == (0.0, pytest.approx(LATE, abs=1e-3))
    assert excerpt(call, late).level > -60
    assert not diagnose(call, ["jitter", "loop_lag"])


def test_a_finding_outside_of_the_call_is_silent_and_costs_no_report(
    call: Call, tmp_path: Path
) -> None:
    parts = (Part(-20.0, -11.0, 1.0), Part(900.0, 901.0, 1.0))
    strays = [
        DETECTORS["clipping"].finding(
            side="caller", parts=(part,), severity="info", value=1.0, measurement="m", cause="c",
            remedy="r", listen="caller_sent",
        )
        for part in parts
    ]  # fmt: skip
    for stray in strays:
        assert excerpt(call, stray).duration <= 2.0
    assert write_report(tmp_path / "a.html", call, strays).exists()


@pytest.mark.parametrize("secs", [HELD / 2, HELD * 2])
def test_only_what_was_held_back_moves_zero(tmp_path: Path, secs: float) -> None:
    scene = Scene(3.0, jitter_ms=0)
    scene.arrival = np.maximum(scene.arrival - secs, np.arange(len(scene.arrival)) * 1e-6)
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    assert call.begun == (pytest.approx(secs, abs=1e-3) if secs > HELD else 0.0)


def test_what_another_serializer_heard_in_a_burst_is_there_too(tmp_path: Path) -> None:
    scene = Scene(6.0, jitter_ms=0)
    scene.arrival = np.maximum(scene.arrival - 2.0, np.arange(len(scene.arrival)) * 1e-6)
    with CaptureReader(scene.write(tmp_path / "a.mcap")) as reader:
        records = [r for r in reader.records() if r.topic.startswith("/frames/")]
    writer = CaptureWriter(tmp_path / "b.mcap", max_records=10**6)
    for record in records:
        time_ns = ANCHOR_NS + record.time_ns - records[0].time_ns
        writer.record(record.topic, time_ns, record.body.decode())
    writer.close()
    call = Call.open(writer.path)
    assert not len(call.inbound)
    assert call.begun == pytest.approx(2.0, abs=0.02)
    assert sum(frame.duration for frame in call.frames_in) == pytest.approx(6.0)


@pytest.mark.slow
async def test_a_real_bot_that_reads_late_loses_nothing(tmp_path: Path) -> None:
    """A real WebSocket, the real serializer and tap; the bot sleeps, then reads all at once."""
    said = np.concatenate([speech("caller/c01", 8000).samples, speech("caller/c08", 8000).samples])
    pcm = Audio(np.resize(said, 8 * 8000), 8000).pcm()
    sent = PCMU.decode(PCMU.encode(pcm))
    before, behind = await asyncio.gather(
        recorded(tmp_path / "before.mcap", pcm, 6.0, 0.0),
        recorded(tmp_path / "behind.mcap", pcm, 0.0, 6.0),
    )
    for heard, call in (before, behind):
        assert heard == sent
        assert call.duration == pytest.approx(8.0, abs=0.3)
        for name in ("caller_sent", "bot_heard"):
            # Against the clock of the messages the first one comes a moment late, or early.
            first = round(call.inbound.start[0] * 8000)
            assert any(
                _is_at(at, sent, call.signal(name).pcm()) for at in (first, first - 1, first + 1)
            )
    assert before[1].begun == pytest.approx(6.0, abs=0.2)
    assert behind[1].begun == 0.0
    (late,) = (f for f in diagnose(before[1]) if f.kind == "late_start" and f.side == "caller")
    assert late.value == pytest.approx(6.0, abs=0.2)


def _is_at(first: int, sent: bytes, signal: bytes) -> bool:
    """Whether a signal is what was sent, from a sample on, and nearly all of it."""
    found = signal[max(0, 2 * first) :]
    is_whole = len(found) > 2 * 8000 * 7.9
    return is_whole and sent[max(0, -2 * first) :].startswith(
        found[: len(sent) + min(0, 2 * first)]
    )


async def recorded(path: Path, pcm: bytes, before: float, behind: float) -> tuple[bytes, Call]:
    """Call a bot that sleeps, as for a model that is loaded, round the ``start`` that it read."""
    heard: list[bytes] = []
    done: asyncio.Future[Path] = asyncio.get_running_loop().create_future()

    async def bot(socket: ServerConnection) -> None:
        first = await socket.recv()
        await asyncio.sleep(before)
        params = BandwidthFrameSerializer.InputParams(auto_hang_up=False)
        tap = Tap(BandwidthFrameSerializer("s-1", "c-1", params=params), path)
        await tap.setup(SimpleNamespace(audio_in_sample_rate=8000))
        await tap.deserialize(first)
        await asyncio.sleep(behind)
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = await tap.deserialize(await socket.recv())
                heard.append(getattr(frame, "audio", b""))
        await asyncio.to_thread(tap.close)
        done.set_result(tap.path)

    start = messages.Start("s-1", "c-1", "99", "agent", (messages.Track("inbound"),))
    async with serve(bot, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", compression=None) as caller:
            await caller.send(messages.encode(start))
            began = time.monotonic()
            for number in range(len(pcm) // 320):
                piece = PCMU.encode(pcm[number * 320 : (number + 1) * 320])
                await asyncio.sleep(max(0.0, began + number * 0.02 - time.monotonic()))
                media = messages.Media(piece, "inbound", str(number + 1))
                await caller.send(messages.encode(media))
            await caller.send(messages.encode(messages.Stop("s-1", "c-1")))
        path = await done
    return b"".join(heard), await asyncio.to_thread(Call.open, path)
