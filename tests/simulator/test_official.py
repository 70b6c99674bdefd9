"""The official package's example bot, called with both serializers and recorded without a change."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.official import example, serializer_class
from tests.simulator.bots import be_patient, hello, script_of
from workbench.attach import write_setup_file
from workbench.call import Call
from workbench.simulator import Route, VoiceAPIServer, simulate

#: The package is fetched, and each runs a bot in a process of its own, in real time, with Silero's model.
pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.fixture(scope="module")
def bot() -> Path:
    try:
        serializer_class()
        return example()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"pipecat-bandwidth 0.1.0 cannot be fetched from the package index: {error}")


@contextlib.contextmanager
def started(bot: Path, whose: str, log: Path, **environment: str) -> Iterator[int]:
    """Run the example as its author says, but for its cloud; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    user = {"BANDWIDTH_WEBHOOK_USERNAME": "bandwidth", "BANDWIDTH_WEBHOOK_PASSWORD": "secret"}
    keys = {"BANDWIDTH_CLIENT_ID": "id", "BANDWIDTH_CLIENT_SECRET": "s3cret",
            "PROXY_HOST": "abcd.tunnel.example", "PORT": str(port)}  # fmt: skip
    with log.open("w") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.simulator.example", str(bot), whose],
            cwd=ROOT, stdout=file, stderr=file, env=os.environ | user | keys | environment,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while child.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield port
    finally:
        child.terminate()
        child.wait()


@pytest.mark.parametrize("whose", ["ours", "official"])
async def test_the_example_is_called_answers_hangs_up_and_is_recorded(
    whose: str, bot: Path, tmp_path: Path
) -> None:
    captures = tmp_path / "captures"
    setup = {"PIPECAT_SETUP_FILES": str(write_setup_file(captures))}
    async with VoiceAPIServer(any_client=True) as far:
        urls = {"BANDWIDTH_VOICE_URL": far.base_url, "BANDWIDTH_TOKEN_URL": far.token_url}
        with started(bot, whose, tmp_path / "log", **urls, **setup) as port:
            call = await simulate(
                f"http://127.0.0.1:{port}/", script_of(hello()), username="bandwidth",
                password="secret", route=Route(f"ws://127.0.0.1:{port}"), voice_api=far,
                max_secs=120.0,
            )  # fmt: skip
            file = await asyncio.to_thread(finished, captures)
    assert (call.ended_by, call.problems()) == ("hang up", []), (tmp_path / "log").read_text()
    assert [turn.side for turn in call.turns] == ["bot", "caller", "bot"]
    assert [request.operation for request in far.requests] == ["token", "hang up"]
    recorded = Call.open(file)
    assert recorded.stats["bot_said_ms"] == pytest.approx(1000 * call.said_secs, abs=300)
    assert len(recorded.answers) >= 1 and recorded.pipeline
    kind = recorded.metadata["serializer"]["class"]
    assert kind.startswith("official_" if whose == "official" else "pipecat_bandwidth.")


def finished(captures: Path) -> Path:
    deadline = time.monotonic() + 30
    while not (files := list(captures.glob("*.mcap"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return files[0]
