"""What recording costs: the event loop, the writer's thread, the disk, and whoever reads it.

The same messages and frames go through the serializer bare and through the tap, batch by batch in
random order, in one process; CPU time of the event loop's thread. The difference is the tap.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from types import SimpleNamespace
from typing import Any

from pipecat.frames.frames import OutputAudioRawFrame
from pipecat.serializers.base_serializer import FrameSerializer
from rich.console import Console

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.messages import Media, encode
from tests.benchmarks._tables import print_table
from tests.benchmarks.serializer import speech
from workbench.budget import Budget
from workbench.capture import CaptureReader, CaptureWriter
from workbench.capture.recovery import finish_in_place
from workbench.tap import Tap

ROUNDS, BATCH = 61, 100
SECONDS = 600
KILLS = 5

_PACED = """if True:
    import sys, time
    from workbench.capture import CaptureWriter
    writer = CaptureWriter(sys.argv[1])
    writer.flush()
    while True:
        now = time.monotonic_ns()
        writer.record("/ws/rx", now, '{"n":%d}' % now)
        print(now, flush=True)
        time.sleep(0.02)
"""


def run(console: Console) -> Sequence[Sequence[str]]:
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(_on_the_loop(Path(folder)))
        print_table(console, "On the event loop, CPU per call of the serializer", rows)
        print_table(console, "Beside it", _beside(Path(folder)))
        print_table(console, "kill -9 at a random moment", _killed(Path(folder)))
    return rows


# -- the event loop ----------------------------------------------------------------------------


async def _serializer(encoding: str, rate: int) -> BandwidthFrameSerializer:
    params = BandwidthFrameSerializer.InputParams(
        auto_hang_up=False, outbound_encoding=encoding, outbound_pcm_sample_rate=24000
    )
    serializer = BandwidthFrameSerializer("s-1", "c-1", params=params)
    await serializer.setup(SimpleNamespace(audio_in_sample_rate=rate, audio_out_sample_rate=rate))
    return serializer


async def _on_the_loop(folder: Path) -> list[list[str]]:
    rows = [["path", "records", "bare us", "tapped us", "tap adds us", "per record us"]]
    message = encode(Media(speech(8000)[:160].astype("u1").tobytes(), "inbound", "7"))
    for name, encoding, rate, is_inbound in (
        ("caller → 16 kHz", "PCMU", 16000, True),
        ("8 kHz → PCMU", "PCMU", 8000, False),
        ("24 kHz → PCM 24 kHz", "PCM", 24000, False),
    ):
        bare = await _serializer(encoding, rate)
        tapped = Tap(await _serializer(encoding, rate), folder)
        pcm = speech(rate)[rate : rate + rate // 50].tobytes()
        spent: dict[Any, list[float]] = {bare: [], tapped: []}
        for _ in range(ROUNDS):
            for serializer in random.sample([bare, tapped], 2):
                spent[serializer].append(await _batch(serializer, is_inbound, message, pcm, rate))
            assert tapped._writer and tapped._writer.flush()
        tapped.close()
        assert tapped._writer.dropped == 0
        without, using = median(spent[bare]), median(spent[tapped])
        figures = (without, using, using - without, (using - without) / 2)
        rows.append([name, "2", *(f"{figure:.2f}" for figure in figures)])
    return rows


async def _batch(
    serializer: FrameSerializer, is_inbound: bool, message: str, pcm: bytes, rate: int
) -> float:
    """Microseconds per call."""
    began = time.thread_time_ns()
    if is_inbound:
        for _ in range(BATCH):
            await serializer.deserialize(message)
    else:
        for _ in range(BATCH):
            await serializer.serialize(OutputAudioRawFrame(pcm, rate, 1))
    return (time.thread_time_ns() - began) / BATCH / 1e3


# -- the thread, the file, the reader ----------------------------------------------------------


def _beside(folder: Path) -> list[list[str]]:
    """Ten minutes of a call in which the bot talks all the time, in PCMU."""
    path, packing = asyncio.run(_ten_minutes(folder))
    torn = folder / "torn.mcap"
    torn.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    rows = [["what", "measured"], ["packing, per record", f"{packing:.1f} us"]]
    rows.append(["size of ten minutes", f"{path.stat().st_size / 1e6:.1f} MB"])
    for name, file in (("finished", path), ("cut off", torn)):
        began = time.process_time()
        # Ten minutes were recorded in seconds: more at once than a call may claim.
        with CaptureReader(file, Budget(records_per_second=1e6)) as reader:
            opened = time.process_time()
            count = sum(1 for _ in reader.records())
        scanned = time.process_time()
        rows.append([f"opening it, {name}", f"{(opened - began) * 1e3:.1f} ms"])
        rows.append(
            [f"reading it, {name}, per record", f"{(scanned - opened) / count * 1e6:.1f} us"]
        )
    began = time.process_time()
    finish_in_place(torn)
    rows.append(["finish_in_place", f"{(time.process_time() - began) * 1e3:.0f} ms"])
    return rows


async def _ten_minutes(folder: Path) -> tuple[Path, float]:
    """The file, and the microseconds that packing took per record, on the writer's thread."""
    tapped = Tap(await _serializer("PCMU", 16000), folder / "ten.mcap")
    writer = tapped._writer
    assert isinstance(writer, CaptureWriter)
    said, heard = speech(16000), speech(8000)
    cpu = 0.0
    for second in range(SECONDS):
        for slot in range(50):
            at = (second * 50 + slot) * 320 % (len(said) - 320)
            payload = (heard[at // 2 : at // 2 + 160] >> 8).astype("u1").tobytes()
            await tapped.deserialize(encode(Media(payload, "inbound", str(second * 50 + slot))))
            await tapped.serialize(OutputAudioRawFrame(said[at : at + 320].tobytes(), 16000, 1))
        began = time.process_time() - time.thread_time()
        assert writer.flush()
        cpu += time.process_time() - time.thread_time() - began
    tapped.close()
    assert writer.dropped == 0
    return tapped.path, cpu / (SECONDS * 200) * 1e6


# -- a process that is killed ------------------------------------------------------------------


def _killed(folder: Path) -> list[list[str]]:
    lost = []
    for number in range(KILLS):
        path = folder / f"killed-{number}.mcap"
        command = [sys.executable, "-c", _PACED, str(path)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(random.randrange(75, 175))]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.read().splitlines()
        with CaptureReader(path) as reader:
            about = reader.metadata["capture"]
            *_, last = reader.records("/ws/rx")
        offset = int(about["unix_anchor_ns"]) - int(about["monotonic_anchor_ns"])
        lost.append((int(lines[-1]) - last.time_ns + offset) / 1e9)
    figures = [f"{figure:.2f}" for figure in (mean(lost), max(lost))]
    return [["kills", "lost s, mean", "lost s, at most"], [str(KILLS), *figures]]
