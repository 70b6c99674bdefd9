"""What the way to the bot does to the caller's messages, and what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import MEDIA, Scene, speech
from workbench.call import Call
from workbench.diagnosis import Finding, diagnose

WAY = ("clock_drift", "duplicate", "jitter", "late_start", "loop_lag", "sequence_gap", "one_way")


def conversation(secs: float = 36.0, **settings) -> Scene:
    scene = Scene(secs, **settings)
    for at, name in ((0.8, "bot/b01"), (16.3, "bot/b02")):
        scene.say_bot(at, speech(name))
    for at, name in ((10.1, "caller/c01"), (21.9, "caller/c02")):
        scene.say_caller(at, speech(name))
    return scene


def found(scene: Scene, tmp_path, *kinds: str) -> list[Finding]:
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    findings = list(diagnose(call, kinds or WAY))
    assert all(0 <= f.span[0] <= f.span[1] <= call.duration for f in findings)
    return findings


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [-100, 100])
def test_crystals_that_run_apart_for_22_minutes_are_no_fault(tmp_path, ppm):
    scene = Scene(22 * 60.0)
    scene.say_bot(1.0, speech("bot/b01"))
    scene.arrival = scene.arrival * (1 + ppm * 1e-6)
    assert found(scene, tmp_path) == []


@pytest.mark.parametrize("secs", [0.06, 0.11])
def test_one_short_pause_is_no_stall(tmp_path, secs):
    scene = conversation()
    scene.arrival[scene.arrival >= 12.0] += secs
    scene.duration += secs
    assert found(scene, tmp_path) == []


@pytest.mark.parametrize("secs", [0.2, 2.0])
def test_a_stall_is_from_where_the_audio_belongs_to_when_it_came(tmp_path, secs):
    scene = conversation()
    scene.stall_caller(11.0, secs)
    (finding,) = found(scene, tmp_path)
    assert finding.kind == "jitter"
    assert finding.span == pytest.approx((11.0, 11.0 + secs), abs=0.03)
    assert finding.value == pytest.approx(1000 * secs, abs=30)
    assert "half-duplex" not in finding.cause


def test_stalls_that_are_the_bots_turns_are_half_duplex(tmp_path):
    scene = conversation()
    turns = [t for t in Call.open(scene.write(tmp_path / "b.mcap")).turns if t.side == "bot"]
    assert len(turns) >= 2
    for turn in turns:
        scene.stall_caller(turn.start, turn.duration)
    (finding,) = found(scene, tmp_path, "jitter")
    assert len(finding.parts) == len(turns)
    assert "half-duplex" in finding.cause


def replayed(scene: Scene, at: float, count: int) -> None:
    """Send the last messages before ``at`` again, all at once."""
    last = round(at / MEDIA)
    again = slice(last - count, last)
    scene.arrival = np.append(scene.arrival, at - 0.001 + np.arange(count) * 1e-6)
    scene.number = np.append(scene.number, scene.number[again])
    blocks = scene.caller.reshape(-1, 160)
    scene.caller = np.concatenate((blocks, blocks[again])).ravel()


def test_messages_that_are_sent_again_after_a_new_connection_move_nothing(tmp_path):
    scene = conversation()
    replayed(scene, 14.0, 100)
    (finding,) = found(scene, tmp_path)
    assert (finding.kind, finding.value) == ("duplicate", 100)
    assert finding.span == pytest.approx((12.0, 14.0), abs=0.03)
    assert len(finding.parts) == 1


def test_what_the_sender_lost_is_missed(tmp_path):
    scene = conversation()
    scene.lose(12.0, 4)
    (finding,) = found(scene, tmp_path)
    assert (finding.kind, finding.value) == ("sequence_gap", pytest.approx(80.0))
    assert finding.span == pytest.approx((12.0, 12.08), abs=0.01)


# -- rates -----------------------------------------------------------------------------------------


def answers(ratio: float, *, lead: float = 0.08, secs: float = 3.0) -> Scene:
    """Five answers, each of which is sent at ``ratio`` times real time once the lead is filled."""
    scene = Scene(40.0)
    for index in range(5):
        at = 1.0 + 7.5 * index
        scene.say_bot(at, speech("bot/b01").span(0.0, secs), lead=lead)
        for chunk in scene.chunks:
            if chunk.said == at:
                chunk.time = at + (chunk.time - at) / ratio
    return scene


@pytest.mark.parametrize("ratio", [2.0, 1.2, 0.9])
def test_the_pace_of_short_answers_is_found(tmp_path, ratio):
    (finding,) = found(answers(ratio), tmp_path, "pacing")
    assert finding.value == pytest.approx(ratio, rel=0.03)
    assert len(finding.parts) == 5


@pytest.mark.parametrize("lead", [0.08, 0.2])
def test_a_lead_that_is_filled_first_is_real_time(tmp_path, lead):
    assert found(answers(1.0, lead=lead), tmp_path, "pacing") == []


def test_a_rate_is_told_of_what_was_passed_only(tmp_path):
    scene = conversation()
    for chunk in scene.chunks:
        if chunk.said < 10.0:
            chunk.payload = b""
    assert found(scene, tmp_path, "wrong_rate") == []
    for chunk in scene.chunks:
        chunk.payload = chunk.payload * 2
    (finding,) = found(scene, tmp_path, "wrong_rate")
    assert finding.value == pytest.approx(2.0, rel=0.02)
