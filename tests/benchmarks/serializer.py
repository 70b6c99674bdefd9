"""Ours against the official ``pipecat-bandwidth``: the same speech, the same process, in turn.

Speed is processor time, the median over batches of both in random order; on a shared machine the
ratios hold and the microseconds do not. Each batch goes on where the last one ended, as a call does:
messages are numbered through, and no frame is given twice. Everything else is counted in samples, or
found by correlation, from what goes in and what comes out; nothing is read from inside a serializer.

Speed is measured with the kernels that numpy and its OpenBLAS choose here, and in a process of its
own with those that most cloud machines have: AVX2, or NEON on ARM. Messages are as long as Pipecat
cuts them: whole samples in each 10 ms, at 22.05 kHz 220.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import random
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, median
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile
import soxr
from pipecat.frames.frames import InterruptionFrame, OutputAudioRawFrame
from pipecat.serializers.base_serializer import FrameSerializer
from rich.console import Console
from rich.table import Table
from scipy.signal import correlate

from pipecat_bandwidth.encodings import PCMU, WireFormat, from_content_type, wire_format
from pipecat_bandwidth.messages import Media, encode
from pipecat_bandwidth.serializer import BandwidthFrameSerializer
from tests.benchmarks import official
from tests.benchmarks.robustness import robustness

SAMPLES = Path(__file__).parents[2] / "sample_audio"
ROUNDS, BATCH = 31, 100

#: Which of OpenBLAS's kernels for doubles most cloud machines have, and what it is called here.
PLAIN = {"x86_64": ("Haswell", "AVX2"), "AMD64": ("Haswell", "AVX2"), "aarch64": ("ARMV8", "NEON")}

_PLAIN = """if True:
    import json
    from loguru import logger
    from tests.benchmarks.serializer import speeds
    logger.remove()
    print(json.dumps(speeds()))
"""

#: Lengths of the utterances that are tried, in milliseconds.
LENGTHS = range(200, 1800, 40)

#: Longer than the 200 ms of quiet after which Pipecat's stream resampler forgets.
STALL_SECS = 0.25


@cache
def speech(sample_rate: int) -> np.ndarray:
    """All bot and human voices of the samples, one after the other, as int16."""
    files = sorted([*SAMPLES.glob("bot_voices/*.flac"), *SAMPLES.glob("human/*.flac")])
    voices = (soundfile.read(file, dtype="float64") for file in files)
    joined = [soxr.resample(samples, rate, sample_rate) for samples, rate in voices]
    return np.rint(np.clip(np.concatenate(joined), -1, 1) * 32767).astype("<i2")


@dataclass(frozen=True)
class Case:
    """One way through a serializer.

    Parameters:
        wire: What is on the wire; ``None`` for the caller's audio, which is always PCMU.
        pipeline_rate: Of the audio in the pipeline, in hertz.
        message_ms: Length of the audio in one message.
    """

    wire: WireFormat | None
    pipeline_rate: int
    message_ms: int = 20

    def __str__(self) -> str:
        kilohertz = f"{self.pipeline_rate / 1000:g} kHz"
        return f"{kilohertz} → {self.wire}" if self.wire else f"caller → {kilohertz}"

    @property
    def in_rate(self) -> int:
        return self.pipeline_rate if self.wire else 8000

    @property
    def out_rate(self) -> int:
        return self.wire.sample_rate if self.wire else self.pipeline_rate

    async def build(self, kind: type[FrameSerializer]) -> FrameSerializer:
        settings: dict[str, Any] = {"auto_hang_up": False}
        if self.wire and self.wire.encoding == "PCM":
            rate = self.wire.sample_rate
            settings |= {"outbound_encoding": "PCM", "outbound_pcm_sample_rate": rate}
        serializer = kind("s-1", params=kind.InputParams(**settings))
        await serializer.setup(SimpleNamespace(audio_in_sample_rate=self.pipeline_rate))
        return serializer

    def cut(self, pcm: np.ndarray, first: int = 1) -> list[Any]:
        """Make what the serializer takes of audio at ``in_rate``; a last short piece is dropped.

        Messages are numbered from ``first`` on.
        """
        size = self.in_rate // 100 * (self.message_ms // 10)
        pieces = [pcm[at : at + size].tobytes() for at in range(0, len(pcm) - size + 1, size)]
        if self.wire:
            return [OutputAudioRawFrame(piece, self.in_rate, 1) for piece in pieces]
        numbered = enumerate(pieces, first)
        return [encode(Media(PCMU.encode(piece), "inbound", str(n))) for n, piece in numbered]

    async def pass_through(self, serializer: FrameSerializer, items: Sequence[Any]) -> list[bytes]:
        """Return the audio that comes of each item, at ``out_rate``."""
        if self.wire is None:
            frames = [await serializer.deserialize(item) for item in items]
            return [frame.audio if frame else b"" for frame in frames]
        return [played(await serializer.serialize(item)) for item in items]


def played(message: str | None) -> bytes:
    if message is None:
        return b""
    media = json.loads(message)["media"]
    return from_content_type(media["contentType"]).decode(b64decode(media["payload"]))


INBOUND = [Case(None, rate) for rate in (8000, 16000, 24000)]
WIRES = [PCMU, *(wire_format("PCM", rate) for rate in (8000, 16000, 24000))]
PIPELINE_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
MESSAGES_MS = (10, 20, 40, 60)
TIMED = [
    *(Case(None, case.pipeline_rate, ms) for ms in MESSAGES_MS for case in INBOUND),
    *(Case(wire, rate, ms) for ms in MESSAGES_MS for wire in WIRES for rate in PIPELINE_RATES),
]
RESAMPLED = [
    Case(None, 16000),
    Case(None, 24000),
    Case(PCMU, 16000),
    Case(PCMU, 24000),
    Case(PCMU, 44100),
    Case(PCMU, 48000),
    Case(wire_format("PCM", 16000), 24000),
    Case(wire_format("PCM", 24000), 44100),
]


# -- speed ---------------------------------------------------------------------------------------


async def speed(case: Case, kinds: Sequence[type[FrameSerializer]]) -> list[float]:
    """Microseconds of processor time per message of each kind."""
    pcm = speech(case.in_rate)[: case.in_rate // 100 * (case.message_ms // 10) * BATCH]
    both = [await case.build(kind) for kind in kinds]
    calls = [one.serialize if case.wire else one.deserialize for one in both]
    took: list[list[float]] = [[] for _ in both]
    gc.collect()
    gc.disable()
    try:
        for number in range(ROUNDS + 3):
            items = case.cut(pcm, number * BATCH + 1)
            for which in random.sample(range(len(both)), len(both)):
                call = calls[which]
                began = time.process_time()
                for item in items:
                    await call(item)
                if number >= 3:
                    took[which].append(time.process_time() - began)
    finally:
        gc.enable()
    return [median(one) / BATCH * 1e6 for one in took]


def speeds() -> list[list[float]]:
    """Microseconds per message of the official serializer and ours, for each of :data:`TIMED`."""
    kinds = [official.serializer_class(), BandwidthFrameSerializer]
    return [asyncio.run(speed(case, kinds)) for case in TIMED]


def plain_speeds() -> tuple[str, list[list[float]]] | None:
    """The same with the kernels of most cloud machines, in another process.

    Returns:
        What they are called, and the speeds; ``None`` where they are not known.
    """
    if platform.machine() not in PLAIN:
        return None
    core, name = PLAIN[platform.machine()]
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    wide = [feature for feature in found if feature.startswith(("AVX512", "X86_V4", "SVE"))]
    kernels = {"OPENBLAS_CORETYPE": core, "NPY_DISABLE_CPU_FEATURES": " ".join(wide)}
    command = [sys.executable, "-c", _PLAIN]
    done = subprocess.run(
        command, env={**os.environ, **kernels}, stdout=subprocess.PIPE, check=True, text=True
    )
    return name, json.loads(done.stdout)


# -- completeness ----------------------------------------------------------------------------------


def offset(case: Case, output: np.ndarray, pcm: np.ndarray) -> int:
    """Where in ``output`` the audio ``pcm`` of the input begins, in samples at ``out_rate``."""
    reference = soxr.resample(pcm.astype(np.float64), case.in_rate, case.out_rate)
    return int(np.argmax(correlate(output.astype(np.float64), reference, "valid", "fft")))


async def held_ms(case: Case, kind: type[FrameSerializer]) -> tuple[np.ndarray, float]:
    """How much of the audio is still inside after each message; and the share that brought none."""
    pcm = speech(case.in_rate)[: case.in_rate * 10]
    items = case.cut(pcm)
    outputs = await case.pass_through(await case.build(kind), items)
    lead = case.in_rate * 3  # look for three seconds of it
    output = np.frombuffer(b"".join(outputs), "<i2")
    lag = offset(case, output, pcm[lead : 2 * lead]) - 3 * case.out_rate
    given = np.cumsum([len(part) // 2 for part in outputs]) - lag
    fed = np.arange(1, len(items) + 1) * case.message_ms
    silent = mean(not part for part in outputs)
    return fed - given * 1000 / case.out_rate, silent


async def lost_ms(case: Case, kind: type[FrameSerializer], length: int) -> float:
    """How much vanishes when audio stops for a moment after ``length`` milliseconds."""
    pcm = speech(case.in_rate)[case.in_rate * 2 :]
    stop = length * case.in_rate // 1000
    before, after = pcm[:stop], pcm[stop : stop + 2 * case.in_rate]
    serializer = await case.build(kind)
    head = await case.pass_through(serializer, case.cut(before))
    await asyncio.sleep(STALL_SECS)
    rest = await case.pass_through(serializer, case.cut(after))
    whole = await case.pass_through(await case.build(kind), case.cut(pcm[: stop + len(after)]))
    probe = after[: case.in_rate]
    positions = [
        offset(case, np.frombuffer(b"".join(parts), "<i2"), probe) for parts in (whole, head + rest)
    ]
    return (positions[0] - positions[1]) * 1000 / case.out_rate


async def stale_ms(case: Case, kind: type[FrameSerializer], length: int) -> float:
    """How much old speech comes out after ``clear``, before the silence that follows it."""
    serializer = await case.build(kind)
    begin = case.in_rate * 2
    pcm = speech(case.in_rate)[begin : begin + length * case.in_rate // 1000]
    await case.pass_through(serializer, case.cut(pcm))
    await serializer.serialize(InterruptionFrame())
    quiet = np.zeros(case.in_rate, "<i2")
    output = b"".join(await case.pass_through(serializer, case.cut(quiet)))
    loud = np.flatnonzero(np.abs(np.frombuffer(output, "<i2").astype(int)) > 50)
    return float(loud[-1] + 1) * 1000 / case.out_rate if len(loud) else 0.0


@dataclass(frozen=True)
class Completeness:
    """What one kind does with one case; pairs are mean and worst, in milliseconds."""

    delay: tuple[float, float]
    silent: float
    tail: tuple[float, float]
    stall: tuple[float, float]
    stale: tuple[float, float] | None


async def completeness(case: Case, kind: type[FrameSerializer]) -> Completeness:
    held, silent = await held_ms(case, kind)
    tails = [float(held[length // case.message_ms - 1]) for length in LENGTHS]
    lost = await asyncio.gather(*(lost_ms(case, kind, length) for length in LENGTHS))
    stale = [await stale_ms(case, kind, length) for length in LENGTHS] if case.wire else None
    return Completeness(
        (float(held.mean()), float(held.max())),
        silent,
        (mean(tails), max(tails)),
        (mean(lost), max(lost)),
        (mean(stale), max(stale)) if stale else None,
    )


# -- tables ----------------------------------------------------------------------------------------


def speed_tables(console: Console, kernels: str, measured: Sequence[Sequence[float]]) -> None:
    """Print the speeds of :data:`TIMED`, measured with these kernels."""
    speeds = dict(zip(TIMED, measured, strict=True))
    table = Table(title=f"Inbound, {kernels}")
    for name in ("ms", "", "official µs", "ours µs", "official / ours"):
        table.add_column(name, justify="right" if name else "left")
    for case in TIMED:
        if case.wire is None:
            theirs, ours = speeds[case]
            figures = (f"{theirs:.1f}", f"{ours:.1f}", f"{theirs / ours:.2f}")
            table.add_row(str(case.message_ms), str(case), *figures)
    console.print(table)
    for title, value in (
        ("official / ours, by the pipeline's rate", lambda theirs, ours: theirs / ours),
        ("ours, µs", lambda theirs, ours: ours),
    ):
        rates = (f"{rate / 1000:g} kHz" for rate in PIPELINE_RATES)
        table = Table("ms", "wire", *rates, title=f"Outbound, {kernels}: {title}")
        for ms in MESSAGES_MS:
            for wire in WIRES:
                pairs = (speeds[Case(wire, rate, ms)] for rate in PIPELINE_RATES)
                table.add_row(str(ms), str(wire), *(f"{value(*pair):.2f}" for pair in pairs))
        console.print(table)


def completeness_table(
    console: Console, kinds: Sequence[type[FrameSerializer]]
) -> dict[Case, list[Completeness]]:
    def milliseconds(pair: tuple[float, float] | None) -> str:
        return "" if pair is None else f"{pair[0]:.0f} / {pair[1]:.0f}"

    measured = {
        case: [asyncio.run(completeness(case, kind)) for kind in kinds] for case in RESAMPLED
    }
    table = Table(title="Audio held back and lost, ms mean / worst: official, then ours")
    for name in ("", "delay", "calls without audio", "left at the end", "250 ms stall", "stale"):
        table.add_column(name, justify="right" if name else "left")
    for case, results in measured.items():
        for name, result in zip((str(case), ""), results, strict=True):
            pairs = (result.tail, result.stall, result.stale)
            shares = f"{result.silent:.0%}"
            delay = milliseconds(result.delay)
            table.add_row(name, delay, shares, *(milliseconds(pair) for pair in pairs))
        table.add_section()
    console.print(table)
    return measured


def spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    low, high = form(min(values)), form(max(values))
    return low if low == high else f"{low} to {high}"


def speed_rows(kernels: str, measured: Sequence[Sequence[float]]) -> list[tuple[str, str, str]]:
    """Sum up in rows how much faster ours is; 22.05 kHz, which is no whole number of samples, apart."""
    groups: dict[str, list[float]] = {}
    for case, (theirs, ours) in zip(TIMED, measured, strict=True):
        side = "bot's" if case.wire else "caller's"
        how = "resampled" if case.in_rate != case.out_rate else "at the wire's rate"
        if case.in_rate % 100:
            how = f"from {case.in_rate / 1000:g} kHz"
        groups.setdefault(f"{side} audio {how}", []).append(theirs / ours)
    return [
        (f"speed with {kernels}, {name}", "1×", spread(ratios, lambda ratio: f"{ratio:.1f}×"))
        for name, ratios in groups.items()
    ]


def completeness_rows(complete: dict[Case, list[Completeness]]) -> list[tuple[str, str, str]]:
    columns = list(zip(*complete.values(), strict=True))  # the official's results, then ours

    def worst(name: str) -> list[str]:
        pairs = [[pair for r in column if (pair := getattr(r, name))] for column in columns]
        return [
            f"{max(m for m, _ in column):.0f} ms mean, {max(w for _, w in column):.0f} ms worst"
            for column in pairs
        ]

    silent = [spread([r.silent for r in column], lambda s: f"{s:.0%}") for column in columns]
    return [
        ("delay of resampling", *worst("delay")),
        ("messages that bring no audio when resampling", *silent),
        ("left inside at the end of an utterance", *worst("tail")),
        ("lost in a stall of 250 ms", *worst("stall")),
        ("old speech after a barge-in's `clear`", *worst("stale")),
    ]


def robustness_rows(robust: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    stumbles = [row[1:] for row in robust[3:] if "no trouble" not in row[0]]
    ended = [f"{column.count('yes')} of {len(column)}" for column in zip(*stumbles, strict=True)]
    return [*robust[:3], ("call ended though the Voice API stumbled once", *ended)]


def run(console: Console) -> list[tuple[str, str, str]]:
    """Measure and print everything.

    Returns:
        The rows of the README's table.
    """
    kinds = [official.serializer_class(), BandwidthFrameSerializer]
    every = {"this machine's kernels": speeds()}
    plain = plain_speeds()
    every |= [plain] if plain else []
    for kernels, measured in every.items():
        speed_tables(console, kernels, measured)
    timed = [row for kernels, measured in every.items() for row in speed_rows(kernels, measured)]
    complete = completeness_table(console, kinds)
    robust = robustness(console, kinds)
    header = ("", f"official {official.VERSION}", "ours")
    rows = (*timed, *completeness_rows(complete), *robustness_rows(robust))
    return [header, *rows]
