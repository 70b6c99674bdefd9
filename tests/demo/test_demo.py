"""A call as the demo places it: the bot on an event loop of its own, and stalls that are real."""

from __future__ import annotations

import asyncio
import threading

import msgspec
import numpy as np
import pytest

from workbench.call import Call
from workbench.demo import record_call, samples
from workbench.diagnosis import diagnose
from workbench.simulator import Script, SimulatedCall
from workbench.simulator.script import LoopBlock, Rule, SpeechStall

#: Its calls are placed once for all of its tests: with `--dist loadgroup`, in one process.
pytestmark = pytest.mark.xdist_group("demo")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Call, SimulatedCall]:
    """Two sentences, 4 s: the speech service stalls in one, the process in the other."""
    script = Script.load(samples() / "call" / "choppy.json")
    greeting, goodbye = script.turn("b01"), script.turn("b10")
    goodbye = msgspec.structs.replace(
        goodbye, start=3.5, end=5.0, span=(1.52, 3.02), full_duration=1.5, rule=Rule("b01", 0.5)
    )
    script = Script(
        "Only the bot", 5.4, (greeting, goodbye), script.channel,
        (SpeechStall(at=greeting.start + 0.8, stall_ms=250), LoopBlock(at=3.9, stall_ms=600)),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("captures")
    path, truth = asyncio.run(
        record_call(script, folder, audio_in_sample_rate=8000, audio_out_sample_rate=8000)
    )
    return Call.open(path), truth


def test_what_stalls_in_the_script_stalls_in_the_call(recorded) -> None:
    call, truth = recorded
    assert truth.ended_by == "hang up" and not truth.protocol_errors
    holes = call.playout.underrun_ms
    assert holes.max() > 450, "of 600 ms the queue hides 40 to 80"
    assert np.sum(holes > 180) >= 2
    assert {"underrun", "loop_lag"} <= {finding.kind for finding in diagnose(call)}
    silence_at_the_end = 2000  # by default Pipecat says that before it ends
    said = 3700 + silence_at_the_end
    assert call.stats["bot_said_ms"] == pytest.approx(said, abs=50), "late, and all of it"


def test_the_far_end_lives_on_while_the_bot_stands_still(recorded) -> None:
    call, truth = recorded
    waits = np.diff(call.inbound.time)
    end = float(call.inbound.time[waits.argmax() + 1])
    assert waits.max() > 0.5
    # Both clocks begin with the first message, which is under way for some milliseconds.
    assert np.sum((truth.sent_time > end - 0.5) & (truth.sent_time < end)) > 10


def test_nothing_of_the_bot_is_left(recorded) -> None:
    assert [thread.name for thread in threading.enumerate() if thread.name == "bot"] == []
