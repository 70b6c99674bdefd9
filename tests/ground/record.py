"""Records the table of scenarios: bot and caller in two processes, several calls at once.

Only what is missing is recorded, and what was too late on a busy machine: the truth
beside a capture says when event loop or caller were late, and how much. Of two runs the better is
kept. Times in the truth are seconds on the call's clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import msgspec
import numpy as np
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray
from rich.console import Console

from tests.benchmarks.compat import uv
from tests.ground.caller import Caller, Noise, Words
from tests.ground.filling import slots
from tests.ground.noises import callers
from tests.ground.scenarios import BY_NAME, SCENARIOS, Scenario, half_of_run
from tests.ground.voices import ROOT, Half, speakers
from workbench import Call
from workbench.capture import CaptureReader, Clock

PIPECATS = ("1.4.0", "1.8.0", "1.11.0", "1.14.0")
NEEDS = ("uvicorn", "websockets>=14", "soundfile", "scipy", "onnxruntime", "setuptools<81")
NEW = "new"  # where runs are recorded, before they take the place of one that was later


def python_with(pipecat: str) -> Path:
    """Path of a Python with that Pipecat: this one, or one of a new environment in ``.bench``."""
    import importlib.metadata

    if importlib.metadata.version("pipecat-ai") == pipecat:
        return Path(sys.executable)
    folder = ROOT / ".bench" / f"pipecat-{pipecat}"
    inside = folder / "bin" / "python"
    if not inside.exists():
        subprocess.run([uv(), "venv", "-q", "--python", sys.executable, str(folder)], check=True)
        wanted = [str(ROOT), f"pipecat-ai[websocket,silero]=={pipecat}", *NEEDS]
        install = [uv(), "pip", "install", "-q", "--python", str(inside), *wanted]
        subprocess.run(install, check=True)
    return inside


async def record(
    pipecat: str,
    folder: Path,
    names: Sequence[str],
    console: Console,
    *,
    at_once: int = 2,
    most_late_ms: float = 30.0,
    take: int = 1,
) -> float:
    """Record what is missing or was late; return how many seconds it took.

    Another take has other voices and other words; the eleventh is of the half that is only measured.
    """
    wanted = [BY_NAME[name] for name in names] or SCENARIOS
    again = "" if take == 1 else f"-{take}"
    chosen = {f"{pipecat}-{scenario.name}{again}": scenario for scenario in wanted}
    for run in [r for r in chosen if _late_ms(folder / f"{r}.json") <= most_late_ms]:
        del chosen[run]
    if not chosen:
        return 0.0
    shutil.rmtree(folder / NEW, ignore_errors=True)
    (folder / NEW).mkdir(parents=True)
    began = time.monotonic()
    # All that takes long is done before the calls or after them, never beside them.
    people = {run: _caller(run, scenario) for run, scenario in chosen.items()}
    truths: dict[str, dict[str, Any]] = {}
    try:
        await _called(pipecat, folder / NEW, people, truths, at_once, console)
    finally:
        for run, truth in truths.items():
            _store(folder, run, chosen[run], truth)
    return time.monotonic() - began


async def _called(
    pipecat: str,
    folder: Path,
    people: dict[str, tuple[str, Caller]],
    truths: dict[str, dict[str, Any]],
    at_once: int,
    console: Console,
) -> None:
    """Let everybody call, so many at once, and gather what both sides know."""
    names = {run: run.partition("-")[2] for run in people}
    by_call = {f"c-{names[run]}": caller for run, (_, caller) in people.items()}
    turn = asyncio.Semaphore(at_once)
    async with (
        voice_api(by_call) as url,
        httpx.AsyncClient(timeout=25, trust_env=False, verify=False) as client,
        bot(pipecat, folder, url, names.values()) as port,
        asyncio.TaskGroup() as group,
    ):

        async def one(run: str, voice: str, caller: Caller) -> None:
            async with turn:
                truth = await caller.run(f"ws://127.0.0.1:{port}/stream/{names[run]}")
                told = await client.get(f"http://127.0.0.1:{port}/said/{names[run]}")
            truths[run] = truth = {"caller_voice": voice, **truth, **told.json()}
            (folder / f"{run}.truth.json").write_text(json.dumps(truth), encoding="utf-8")
            console.print(
                f"{run}: {truth['sent'] * 0.02:.0f} s, ended by {truth['ended_by']},"
                f" late {late_ms(truth):.0f} ms",
                highlight=False,
            )

        for run, (voice, caller) in people.items():
            group.create_task(one(run, voice, caller))


def _store(folder: Path, run: str, scenario: Scenario, truth: dict[str, Any]) -> None:
    """Put a run in its place, unless the one that is there was less late."""
    if late_ms(truth) >= _late_ms(folder / f"{run}.json"):
        return
    capture = folder / NEW / f"{run}.mcap"
    with CaptureReader(capture) as reader:
        said = slots(list(reader.records()), scenario.mixer)
    about = {
        "scenario": scenario.name, "pipecat": run.partition("-")[0], "half": half_of_run(run),
        "group": scenario.group, "rightly": scenario.rightly, "slots": said,
    }  # fmt: skip
    known = {**about, **on_call_clock(truth, zero_ns(capture))}
    capture.replace(folder / f"{run}.mcap")
    text = json.dumps(known, separators=(",", ":"))
    (folder / f"{run}.json").write_text(text, encoding="utf-8")


def late_ms(truth: dict[str, Any]) -> float:
    """How late the event loop or the caller was, at worst, in milliseconds."""
    return max([ms for _, ms in truth["lag"] + truth["late"]], default=0.0)


def _late_ms(path: Path) -> float:
    """The same of a run that is there already; infinite if there is none."""
    return late_ms(json.loads(path.read_text("utf-8"))) if path.exists() else inf


def zero_ns(path: Path) -> int:
    """When the first message of a capture was read, on the monotonic clock."""
    with CaptureReader(path) as reader:
        record = next(iter(reader.records("/capture/clock")))
    clock = msgspec.json.decode(record.body, type=Clock).monotonic
    call = Call.open(path)
    first_ns = call.anchor_ns + round(1e9 * call.begun)
    return clock.sec * 10**9 + clock.nsec - record.time_ns + first_ns


def on_call_clock(truth: dict[str, Any], zero: int) -> dict[str, Any]:
    """Turn monotonic nanoseconds, in every field ``..._ns``, into seconds on the call's clock."""

    def secs(ns: Any) -> Any:
        return [secs(one) for one in ns] if isinstance(ns, list) else round((ns - zero) / 1e9, 4)

    turned = {
        name.removesuffix("_ns"): secs(value) if name.endswith("_ns") else value
        for name, value in truth.items()
    }
    turned["bot"] = [{**one, "made": secs(one["made"])} for one in truth["bot"]]
    for name in ("lag", "late"):
        turned[name] = [[secs(when), ms] for when, ms in truth[name]]
    return turned


def _caller(run: str, scenario: Scenario) -> tuple[str, Caller]:
    rng = np.random.default_rng(crc32(f"caller {run}".encode()))
    name, words = voice(half_of_run(run), rng)
    sounds = {key: _drawn(sound, rng) for key, sound in callers(half_of_run(run)).items()}
    return name, Caller(scenario, words, sounds, rng)


def voice(half: Half, rng: np.random.Generator) -> tuple[str, Words]:
    """One of a half's voices, and what makes its words."""
    voices = speakers(half, "voice", 5)
    name = sorted(voices)[rng.integers(len(voices))]
    phrases = voices[name]

    def words(secs: float) -> tuple[str, NDArray[np.float32]]:
        nearest = sorted(phrases, key=lambda p: abs(p.secs - secs))[:8]
        phrase = nearest[rng.integers(len(nearest))]
        return phrase.name, phrase.audio().samples

    return name, words


def _drawn(sound: Any, rng: np.random.Generator) -> Noise:
    return lambda secs: sound(rng, secs).samples


# -- the two servers -----------------------------------------------------------------------------


@asynccontextmanager
async def voice_api(calls: dict[str, Caller]) -> AsyncIterator[str]:
    """Token and hang-up, on loopback: who is hung up hears of it."""
    app = FastAPI()

    @app.post("/token")
    async def token() -> dict[str, Any]:
        return {"access_token": "t", "token_type": "Bearer", "expires_in": 3600}

    @app.post("/accounts/{account}/calls/{call}")
    async def update(account: str, call: str) -> None:
        await asyncio.sleep(0.08)  # as long as it takes from the answer to the media server
        if call in calls:
            calls[call].hung_up.set()

    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


@asynccontextmanager
async def bot(
    pipecat: str, folder: Path, voice_api_url: str, names: Iterable[str]
) -> AsyncIterator[int]:
    """The bot's process; yields its port."""
    command = [str(python_with(pipecat)), "-m", "tests.ground.bot", str(folder), pipecat]
    command += [voice_api_url, *names]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            first = await process.stdout.readline()
        yield int(first)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
