"""What the official serializer says ours says too, and its own unit tests, on our serializer."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    StartFrame,
)

from pipecat_bandwidth import BandwidthFrameSerializer
from tests.benchmarks.official import VERSION, example, serializer_class

#: Those that patch aiohttp or a private method of the official serializer; what tests the same here, over
#: a real server, stands in the changelog.
INSIDE = {
    "test_end_frame_triggers_oauth_then_hangup",
    "test_token_fetch_failure_skips_hangup_request",
    "test_cancel_frame_triggers_hangup",
    "test_hangup_only_attempted_once",
}
ROOT = Path(__file__).parents[2]
#: What the official serializer said: of each parameters, what it sent and what it took in.
SAID = ROOT / "tests" / "data" / f"official-{VERSION}.json"
PARAMS: tuple[dict[str, Any], ...] = (
    {"outbound_encoding": "PCMU"},
    *({"outbound_encoding": "PCM", "outbound_pcm_sample_rate": r} for r in (8000, 16000, 24000)),
)
#: Every byte of mu-law, and what is no audio of the caller.
RECEIVED = (
    {"eventType": "media", "track": "inbound", "sequenceNumber": "1",
     "payload": base64.b64encode(bytes(range(256))).decode()},
    {"eventType": "media", "payload": "//8AfwB/"},
    {"eventType": "media", "track": "outbound", "payload": "AAAA", "sequenceNumber": "1"},
    {"eventType": "media", "track": "inbound", "payload": "", "sequenceNumber": "1"},
    {"eventType": "start", "metadata": {"accountId": "a", "callId": "c", "streamId": "s",
                                        "streamName": "n", "tracks": ["inbound"]}},
    {"eventType": "stop", "metadata": {}},
    {"eventType": "made-up"},
)  # fmt: skip


async def said(serializer: Any, params: dict[str, Any]) -> list[Any]:
    """What a serializer makes of frames and messages, where no sample rate has to be changed."""
    rate = params.get("outbound_pcm_sample_rate", 8000)
    params = params | {"auto_hang_up": False, "sample_rate": 8000}
    made = serializer("s-1", params=serializer.InputParams(**params))
    await made.setup(StartFrame(audio_in_sample_rate=8000, audio_out_sample_rate=rate))
    ramp = np.linspace(-32768, 32767, rate // 50).astype("<i2").tobytes()
    frames: tuple[Frame, ...] = (
        OutputAudioRawFrame(ramp, rate, 1),
        OutputAudioRawFrame(b"", rate, 1),
        InterruptionFrame(),
        OutputTransportMessageFrame({"eventType": "custom", "data": [1, "\u00e4"]}),
        EndFrame(),
    )
    sent = [await made.serialize(frame) for frame in frames]
    taken = [await made.deserialize(text) for text in (*map(json.dumps, RECEIVED), "not json")]
    return [*(text and json.loads(text) for text in sent), *map(heard, taken)]


def heard(frame: Frame | None) -> Any:
    if frame is None:
        return None
    assert isinstance(frame, InputAudioRawFrame)
    return [frame.sample_rate, frame.num_channels, base64.b64encode(frame.audio).decode()]


@pytest.mark.parametrize("index", range(len(PARAMS)))
async def test_what_the_official_serializer_said_ours_says(index: int) -> None:
    known = json.loads(SAID.read_text())[index]
    assert known["params"] == PARAMS[index]
    assert await said(BandwidthFrameSerializer, PARAMS[index]) == known["said"]


@pytest.mark.thorough
async def test_the_official_serializer_said_so() -> None:
    try:
        official = serializer_class()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"pipecat-bandwidth {VERSION} cannot be had from the package index: {error}")
    told = [{"params": params, "said": await said(official, params)} for params in PARAMS]
    assert told == json.loads(SAID.read_text())


@pytest.mark.thorough  # it fetches their source distribution
def test_the_official_tests_pass_but_for_those_that_look_inside(tmp_path: Path) -> None:
    try:
        source = example().parents[2] / "tests" / "test_serializer.py"
    except OSError as error:
        pytest.skip(
            f"pipecat-bandwidth {VERSION} cannot be fetched from the package index: {error}"
        )
    shutil.copy(source, tmp_path / "test_theirs.py")
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert set(re.findall(r"^FAILED .*::(\w+)", run.stdout, re.MULTILINE)) == INSIDE, run.stdout
    assert "4 failed, 19 passed" in run.stdout
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in changes for name in INSIDE)
