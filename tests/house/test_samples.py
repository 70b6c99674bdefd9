"""The captures that are shipped: small, of the current form, and with the faults they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.call import Call
from workbench.capture import CaptureReader
from workbench.capture.schema import FORMAT
from workbench.diagnosis import Findings, diagnose
from workbench.simulator import Script
from workbench.tuning.tuning import tune

SAMPLES = Path(__file__).parents[2] / "sample_audio"
CAPTURES = sorted((SAMPLES / "captures").glob("*.mcap"))
STALLS = sorted((SAMPLES / "captures" / "stalls").glob("*.mcap"))


@pytest.fixture(scope="module")
def choppy() -> Call:
    return Call.open(SAMPLES / "captures" / "choppy.mcap")


@pytest.fixture(scope="module")
def findings(choppy: Call) -> Findings:
    return diagnose(choppy)


def test_the_captures_are_small() -> None:
    assert [path.stem for path in CAPTURES] == ["choppy", "demo"]
    assert sum(path.stat().st_size for path in CAPTURES) < 3_000_000


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_is_whole_and_of_the_current_form(path: Path) -> None:
    with CaptureReader(path) as reader:
        assert reader.finished
        assert reader.metadata["end"]["dropped"] == "0"
        about = reader.metadata["capture"]
        assert (about["format"], about["format_version"]) in ((FORMAT, "1.0"), (FORMAT, "1.1"))
    call = Call.open(path)
    assert not call.damage
    assert len(call.inbound) and len(call.outbound) and call.frames_in and call.frames_out


def test_six_calls_decide_encoding_and_cushion() -> None:
    """The holes are those that were planted, and one of 300 ms is more than is worth hiding."""
    assert len(STALLS) == 6
    assert sum(path.stat().st_size for path in STALLS) < 6_000_000
    calls = [Call.open(path) for path in STALLS]
    assert all(call.finished and not call.damage and call.pipeline for call in calls)
    assert {call.params["outbound_encoding"] for call in calls} == {"PCM", "PCMU"}
    heard = np.sort(np.concatenate([call.playout.underrun_ms for call in calls]))
    planted = [60, 60, 80, 80, 100, *[140] * 5, 145, 145, 145, *[150] * 6, 300]
    assert heard == pytest.approx(sorted(planted), abs=12)
    result = tune(calls)
    assert result.is_sure and result.params.outbound_encoding == "PCMU"
    assert result.cushion.cushion_ms == 140 and result.cushion.confidence > 0.95


def test_the_choppy_call_has_the_holes_of_its_script(choppy: Call) -> None:
    script = Script.load(SAMPLES / "call" / "choppy.json")
    # A stall of the speech is a hole as long; of one of the process, the queue plays on a little.
    planted = [80, 60, 100, 400, 300 - 40]
    assert [event.stall_ms for event in script.events] == [80, 60, 100, 400, 300]
    assert choppy.playout.underrun_ms == pytest.approx(planted, abs=10)


def test_the_choppy_call_is_explained(findings: Findings) -> None:
    assert findings.sentence.startswith("The worst of this call: the bot's speech is chopped: ")
    assert [finding.kind for finding in findings] == ["underrun", "underrun", "loop_lag"]
    assert [finding.value for finding in findings] == pytest.approx([560, 80, 300], abs=10)
    speech, greeting, stood_still = findings
    assert "3 holes" in speech.measurement
    assert "event loop was free" in speech.cause and "ScriptedSpeech" in speech.cause
    assert greeting.cause == speech.cause
    (process,) = stood_still.followers
    assert (process.kind, process.value) == ("underrun", pytest.approx(266, abs=10))
    assert "process stood still" in process.cause
    assert process.remedy == stood_still.remedy
    assert stood_still.span[0] < process.span[0] < process.span[1] <= stood_still.span[1] + 0.01


def test_a_cushion_would_have_hidden_some_of_it(choppy: Call, findings: Findings) -> None:
    hidden = {row.cushion_ms: round(row.hidden, 2) for row in choppy.playout.cushion_table()}
    assert hidden == {20: 0.0, 40: 0.0, 60: 0.2, 100: 0.4, 200: 0.6}
    assert "cushion of 200 ms" in findings[0].remedy and "3 of the 5 holes" in findings[0].remedy
