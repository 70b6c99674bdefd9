"""Who is not there, for how long: and who only pauses."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis import Finding, diagnose
from workbench.metrics.speech import voice_activity


def conversation(secs: float = 36.0, **settings) -> Scene:
    """Two questions and two answers, and noise on the line between them."""
    scene = Scene(secs, **settings)
    for at, name in ((0.8, "bot/b01"), (16.3, "bot/b02")):
        scene.say_bot(at, speech(name))
    for at, name in ((10.1, "caller/c01"), (21.9, "caller/c02")):
        scene.say_caller(at, speech(name))
    return scene


def found(scene: Scene, tmp_path, *kinds: str) -> list[Finding]:
    return list(diagnose(Call.open(scene.write(tmp_path / "a.mcap")), kinds or ["one_way"]))


def mute(scene: Scene, start: float, end: float) -> None:
    scene.caller[round(start * 8000) : round(end * 8000)] = 0.0


# -- the caller ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [12.0, 28.0])
def test_a_caller_of_whom_nothing_is_sent_is_away(tmp_path, at):
    scene = conversation()
    scene.pause_caller(at, 6.0)
    (finding,) = found(scene, tmp_path)
    assert (finding.side, finding.severity) == ("caller", "error")
    assert finding.value == pytest.approx(6.0, abs=0.05)
    assert finding.span == pytest.approx((at, at + 6.0), abs=0.05)
    assert found(scene, tmp_path, "jitter", "sequence_gap", "audio_lost", "wrong_rate") == []


def test_each_absence_is_a_part(tmp_path):
    scene = conversation()
    scene.pause_caller(26.0, 4.0)
    scene.pause_caller(13.0, 3.5)
    (finding,) = found(scene, tmp_path)
    assert [part.value for part in finding.parts] == pytest.approx([3.5, 4.0], abs=0.05)


def test_a_short_pause_is_none(tmp_path):
    scene = conversation()
    scene.pause_caller(12.0, 2.0)
    assert found(scene, tmp_path) == []


def test_silence_suppression_is_none(tmp_path):
    scene = conversation(60.0)
    for at in (32.0, 42.0, 50.0):
        scene.say_caller(at, speech("caller/c05"))
    speaking = voice_activity(Call.open(scene.write(tmp_path / "whole.mcap")).caller_sent)
    starts = np.arange(len(scene.arrival)) * 0.02
    keep = np.zeros(len(starts), bool)
    for start, end in speaking:
        keep |= (starts >= start - 0.1) & (starts < end + 0.2)
    scene.arrival, scene.number = scene.arrival[keep], np.arange(1, keep.sum() + 1)
    scene.caller = scene.caller.reshape(-1, 160)[keep].ravel()
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    assert max(spell.duration for spell in call.inbound.spells_of("paused")) > 3.0
    assert diagnose(call, ["one_way", "jitter", "sequence_gap"]).found == ()


def test_a_caller_whose_media_ends_is_away_from_then_on(tmp_path):
    scene = conversation()
    scene.lost.update(range(round(24.0 / 0.02), len(scene.arrival)))
    (finding,) = found(scene, tmp_path)
    assert finding.span == pytest.approx((24.0, 36.0), abs=0.05)
    assert "ends at 24 of 36 s" in finding.measurement


@pytest.mark.parametrize("later", [0.3, 4.0])
def test_while_a_goodbye_is_waited_for_nobody_reads_the_caller(tmp_path, later):
    """The last words are sent at once, and played for seconds; an EndFrame stops Pipecat's input."""
    scene = conversation(48.0, stop=False)
    goodbye = speech("bot/b02").span(0, 4.5)
    scene.say_bot(32.0, goodbye, lead=100.0)
    scene.frame_out(32.2, "EndFrame")
    scene.lost.update(range(round(32.2 / 0.02), len(scene.arrival)))
    scene.hang_up(32.0 + goodbye.duration + later, "ended", status_code=200)
    assert found(scene, tmp_path) == []


def test_a_bot_that_ends_the_call_long_after_the_callers_media_is_told_when_it_ended(tmp_path):
    scene = conversation(48.0, stop=False)
    scene.lost.update(range(round(34.0 / 0.02), len(scene.arrival)))
    scene.frame_out(44.0, "EndFrame")
    scene.hang_up(44.3, "ended", status_code=200)
    (finding,) = found(scene, tmp_path)
    assert finding.span == pytest.approx((34.0, 44.3), abs=0.05)


def test_a_bot_that_ends_the_call_and_says_its_only_words_when_nobody_reads_is_judged(tmp_path):
    scene = Scene(12.0, stop=False)
    scene.say_caller(1.0, speech("caller/c01"))
    scene.lost.update(range(round(3.0 / 0.02), len(scene.arrival)))
    scene.say_bot(4.0, speech("bot/b07").span(0, 1.5))
    scene.frame_out(3.0, "EndFrame")
    scene.hang_up(5.7, "ended", status_code=200)
    assert found(scene, tmp_path) == []


def test_a_caller_whose_media_begins_late_is_away_until_then(tmp_path):
    scene = conversation()
    scene.lost.update(range(round(5.0 / 0.02)))
    (finding,) = found(scene, tmp_path)
    assert finding.span == pytest.approx((0.0, 5.0), abs=0.05)


def test_digital_silence_on_a_line_that_has_noise_is_an_absence(tmp_path):
    scene = conversation()
    mute(scene, 26.0, 32.0)
    (finding,) = found(scene, tmp_path)
    assert finding.span == pytest.approx((26.0, 32.0), abs=0.05)
    assert "digital silence" in finding.measurement


def test_a_line_that_pauses_with_digital_silence_is_not_accused(tmp_path):
    assert found(conversation(noise_dbov=-200), tmp_path) == []
    gated = conversation()
    call = Call.open(gated.write(tmp_path / "whole.mcap"))
    last = 0.0
    for start, end in [*voice_activity(call.caller_sent).tolist(), (36.0, 36.0)]:
        mute(gated, last, start - 0.1)
        last = end + 0.2
    assert found(gated, tmp_path) == []


# -- the bot ---------------------------------------------------------------------------------------


def test_sound_that_is_never_sent_is_one_fault(tmp_path):
    scene = conversation()
    for chunk in scene.chunks:
        if chunk.said < 10.0:
            chunk.payload = b""
    (finding,) = found(scene, tmp_path, "one_way", "audio_lost", "wrong_rate")
    assert (finding.kind, finding.side, finding.severity) == ("one_way", "bot", "error")
    assert finding.value == pytest.approx(speech("bot/b01").duration, abs=0.5)
    assert finding.span == pytest.approx((0.8, 0.8 + speech("bot/b01").duration), abs=0.2)


def test_a_bot_of_whom_nothing_at_all_is_sent_is_away_however_little_it_said(tmp_path):
    scene = Scene(10.0)
    scene.say_bot(1.0, speech("bot/b07").span(0.0, 1.5))
    for chunk in scene.chunks:
        chunk.payload = b""
    (finding,) = found(scene, tmp_path)
    assert (finding.side, finding.value) == ("bot", 10.0)


def test_silence_that_is_not_sent_is_none(tmp_path):
    scene = conversation()
    for chunk in scene.chunks:
        if chunk.said < 10.0:
            chunk.payload, chunk.frame = b"", bytes(len(chunk.frame))
    assert found(scene, tmp_path) == []


def test_what_a_bot_says_after_the_call_is_not_missed(tmp_path):
    scene = conversation()
    scene.say_bot(37.0, speech("bot/b01"))
    for chunk in scene.chunks:
        if chunk.time > 36.0:
            chunk.payload = b""
    assert found(scene, tmp_path) == []


def test_a_bot_that_has_nothing_to_say_for_long_is_none(tmp_path):
    scene = Scene(60.0)
    scene.say_bot(1.0, speech("bot/b07"))
    scene.say_bot(50.0, speech("bot/b07"))
    assert found(scene, tmp_path) == []


@pytest.mark.parametrize("said", [0.5, 6.0])
def test_a_bot_that_sends_nothing_but_silence_is_away(tmp_path, said):
    """Zeros of a synthesis that fails quietly, or the two seconds that Pipecat ends with."""
    scene = Scene(24.0)
    scene.say_caller(2.0, speech("caller/c01"))
    scene.say_bot(12.0, Audio(np.zeros(round(said * 8000), np.float32), 8000))
    findings = diagnose(Call.open(scene.write(tmp_path / "a.mcap")))
    (finding,) = (f for f in findings if f.severity != "info")
    assert (finding.kind, finding.side, finding.severity) == ("one_way", "bot", "error")
    assert finding.span == pytest.approx((0.0, 24.0), abs=0.1)


@pytest.mark.parametrize("took", [0.3, 8.0])
def test_while_a_hang_up_takes_its_time_nobody_reads_the_caller(tmp_path, took):
    """The pipeline stopped to read 3.5 s before its EndFrame came to the serializer."""
    scene = conversation(32.0, stop=False)
    scene.lost.update(range(round(28.0 / 0.02), len(scene.arrival)))
    scene.say_bot(28.5, speech("bot/b02").span(0.0, 1.0))
    scene.frame_out(31.5, "EndFrame")
    scene.hang_up(31.5 + took, "ended", took_us=round(took * 1e6))
    findings = found(scene, tmp_path, "one_way", "dead_air", "slow_shutdown")
    assert [f.kind for f in findings if f.severity != "info"] == ["slow_shutdown"] * (took > 5)


@pytest.mark.parametrize("at", [29.3, 29.6])
def test_behind_the_end_of_the_bot_it_is_the_hang_up_that_is_slow(tmp_path, at):
    """Whether the EndFrame came before the last sound had been played, or after it."""
    scene = conversation(30.0, stop=False)
    scene.say_bot(28.5, speech("bot/b02").span(0.0, 1.0))
    scene.frame_out(at, "EndFrame")
    scene.hang_up(at + 9.0, "ended", took_us=9_000_000)
    (finding,) = found(scene, tmp_path, "dead_air", "slow_shutdown")
    assert finding.kind == "slow_shutdown"
