"""How calls begin, start again, break off and end: each fault, and the ordinary call beside it."""

from __future__ import annotations

import numpy as np
import pytest

from pipecat_bandwidth import messages
from tests.captures import Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis import Finding, diagnose

ENDS = ("broke_off", "cut_goodbye", "early_end", "hang_up_unconfirmed", "slow_shutdown")


def conversation(secs: float = 20.0, **settings) -> Scene:
    """A greeting from 1 to 9.5 s, and a caller from 11 to 15 s."""
    scene = Scene(secs, **settings)
    scene.say_bot(1.0, speech("bot/b01"))
    scene.say_caller(11.0, speech("caller/c01"))
    return scene


def opened(scene: Scene, tmp_path, **params: object) -> Call:
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    call.params = params
    return call


def found(call: Call, *kinds: str) -> list[Finding]:
    findings = list(diagnose(call, kinds or ENDS))
    for finding in findings:
        start, end = finding.span
        assert 0 <= start <= end <= call.duration
    return findings


# -- a second stream -------------------------------------------------------------------------------


def again(tmp_path, *, read: bool) -> Call:
    """A stop at 12 s, and a second stream from 15 s on."""
    scene = conversation(24.0)
    first, second = round(12 / 0.02), round(15 / 0.02)
    scene.lost.update(range(first, second))
    scene.number = np.r_[np.arange(1, second + 1), np.arange(1, len(scene.number) - second + 1)]
    tracks = (messages.Track("inbound"),)
    scene.receive(12.0, messages.encode(messages.Stop("s-1", "c-1")))
    scene.receive(14.99, messages.encode(messages.Start("s-2", "c-1", "99", "agent", tracks)))
    call = opened(scene, tmp_path)
    if not read:
        call.frames_in = call.frames_in.taken(call.frames_in.time < 12.1)
    return call


def test_a_stream_that_starts_again_is_named(tmp_path):
    (finding,) = found(again(tmp_path, read=True), "restart", "audio_lost", "jitter", "duplicate")
    assert finding.severity == "info"
    assert finding.span == pytest.approx((14.99, 14.99), abs=1e-3)


def test_what_of_it_nobody_read_is_told_once(tmp_path):
    (finding,) = found(again(tmp_path, read=False), "restart", "audio_lost", "wrong_rate")
    assert (finding.kind, finding.severity) == ("restart", "warning")
    assert "9.0 s of the caller were not read" in finding.measurement


def test_one_stream_does_not_start_again(tmp_path):
    assert found(opened(conversation(), tmp_path), "restart") == []


# -- a connection that breaks off ------------------------------------------------------------------


def broken(tmp_path, at: float, *, cancelled: bool = True, hang_up: str = "") -> Call:
    """The socket is gone at ``at``, and the serializer may see the pipeline cancelled."""
    scene = conversation(at, stop=False)
    scene.chunks = [chunk for chunk in scene.chunks if chunk.time < at]
    if cancelled:
        scene.frame_out(at + 0.01, "CancelFrame")
    if hang_up:
        scene.hang_up(at + 0.4, hang_up, took_us=350_000)
    return opened(scene, tmp_path)


@pytest.mark.parametrize(
    ("at", "cancelled", "who", "severity"),
    [
        (5.0, False, "the bot", "error"),
        (12.5, False, "the caller", "error"),
        (12.5, True, "the caller", "info"),
    ],
)
def test_a_connection_that_dies_in_mid_word_broke_off(tmp_path, at, cancelled, who, severity):
    """Once its socket is gone Pipecat's transport gives the serializer no CancelFrame."""
    (finding,) = found(broken(tmp_path, at, cancelled=cancelled))
    sure = severity == "error"
    assert (finding.kind, finding.severity) == ("broke_off", severity)
    assert finding.possible is not sure
    assert finding.span == pytest.approx((at, at), abs=0.03)
    assert who in finding.measurement


@pytest.mark.parametrize("hang_up", ["", "ended"])
def test_a_bot_that_cancels_in_mid_word_cut_itself_off(tmp_path, hang_up):
    (finding,) = found(broken(tmp_path, 5.0, hang_up=hang_up))
    assert (finding.kind, finding.severity, finding.possible) == ("cut_goodbye", "warning", True)
    assert finding.span == pytest.approx((5.0, 5.0), abs=0.03)
    assert "EndFrame" in finding.remedy


def test_where_nobody_spoke_the_caller_possibly_hung_up(tmp_path):
    (finding,) = found(broken(tmp_path, 18.0))
    assert (finding.kind, finding.severity, finding.possible) == ("broke_off", "info", True)
    assert finding.measurement.startswith("possibly the caller hung up")


def test_a_hang_up_that_finds_the_call_over_leaves_two_readings(tmp_path):
    (finding,) = found(broken(tmp_path, 5.0, hang_up="already_over"))
    assert (finding.kind, finding.possible) == ("broke_off", True)


def test_a_bot_that_cancels_when_all_is_said_broke_nothing(tmp_path):
    assert found(broken(tmp_path, 18.0, hang_up="ended")) == []


@pytest.mark.parametrize("frame", ["EndFrame", "CancelFrame", ""])
def test_a_stream_that_stops_did_not_break_off(tmp_path, frame):
    scene = conversation(12.0)
    if frame:
        scene.frame_out(11.99, frame)
    assert found(opened(scene, tmp_path)) == []


def test_a_recording_that_ends_first_did_not_break_off(tmp_path):
    assert found(opened(conversation(5.0, stop=False), tmp_path)) == []


# -- goodbyes --------------------------------------------------------------------------------------


def goodbye(tmp_path, left: float, *, silence: float = 0.0, stop: bool = True) -> Call:
    """The bot ends the call ``left`` seconds before its last sound, and silence, have been heard."""
    audio = speech("bot/b01").span(0.0, 6.0).resampled(8000)
    padded = np.append(audio.samples, np.zeros(round(silence * 8000), np.float32))
    at = 12.0
    scene = Scene(at, stop=stop)
    start = at + left - audio.duration
    scene.say_bot(start, Audio(padded, 8000), lead=max(left, 0.0) + silence + 0.2)
    scene.frame_out(at - 0.05, "EndFrame")
    if not stop:
        scene.hang_up(at, "ended", status_code=200, took_us=40_000)
    return opened(scene, tmp_path, auto_hang_up=True)


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("silence", [0.0, 2.0])
def test_only_sound_that_nobody_heard_was_cut_off(tmp_path, stop, silence):
    (finding,) = found(goodbye(tmp_path, 1.0, silence=silence, stop=stop))
    assert finding.kind == "cut_goodbye"
    assert finding.value == pytest.approx(1000, abs=150)
    assert finding.span == pytest.approx((12.0, 12.0))


@pytest.mark.parametrize("stop", [True, False])
def test_silence_that_nobody_heard_is_missed_by_nobody(tmp_path, stop):
    assert found(goodbye(tmp_path, -0.1, silence=2.0, stop=stop)) == []


def test_silence_that_an_interruption_threw_away_is_missed_by_nobody(tmp_path):
    scene = Scene(12.0)
    said = speech("bot/b07").resampled(8000).samples
    padded = Audio(np.append(said, np.zeros(16_000, np.float32)), 8000)
    scene.say_bot(1.0, padded, lead=3.0)
    scene.extra.append((1.0 + len(said) / 8000 + 0.1, "/ws/tx", messages.encode(messages.Clear())))
    assert found(opened(scene, tmp_path), "unheard_speech") == []
    scene.extra[-1] = (1.5, "/ws/tx", messages.encode(messages.Clear()))
    (finding,) = found(opened(scene, tmp_path), "unheard_speech")
    assert finding.value == pytest.approx(1000 * (len(said) / 8000 - 0.5), abs=150)


# -- hanging up ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("auto", "severity"), [(True, "warning"), (False, "info")])
def test_an_end_that_nothing_follows_is_unconfirmed(tmp_path, auto, severity):
    scene = conversation(stop=False)
    scene.frame_out(19.9, "EndFrame")
    (finding,) = found(opened(scene, tmp_path, auto_hang_up=auto))
    assert (finding.kind, finding.severity) == ("hang_up_unconfirmed", severity)
    assert ("auto_hang_up is off" in finding.measurement) is not auto


def test_a_hang_up_that_is_confirmed_is_all_right(tmp_path):
    scene = conversation(stop=False)
    scene.frame_out(19.5, "EndFrame")
    scene.hang_up(19.9, "ended", took_us=350_000)
    assert found(opened(scene, tmp_path, auto_hang_up=True)) == []


@pytest.mark.parametrize(
    ("begins", "took", "cause"),
    [
        (18.1, 11.0, "The hang-up took 11.0 s"),
        (29.3, 0.4, "it began only 11.3 s after"),
        (18.1, 0.4, None),
    ],
)
def test_what_an_end_waited_for_is_told_by_the_hang_up(tmp_path, begins, took, cause):
    scene = conversation(30.0)
    scene.frame_out(18.0, "EndFrame")
    scene.hang_up(begins + took, "ended", took_us=round(1e6 * took))
    findings = found(opened(scene, tmp_path, auto_hang_up=True))
    assert [finding.kind for finding in findings] == (["slow_shutdown"] if cause else [])
    assert all(cause in finding.cause for finding in findings)


def test_a_bot_that_does_not_hang_up_waits_for_the_caller(tmp_path):
    scene = conversation(30.0)
    scene.frame_out(18.0, "EndFrame")
    (finding,) = found(opened(scene, tmp_path, auto_hang_up=False))
    assert "auto_hang_up is off" in finding.cause
    assert finding.span == pytest.approx((18.0, 30.0))


def begun(tmp_path, at: float, *sounds: tuple[float, Audio]) -> list:
    scene = Scene(round((at + 8) / 0.02) * 0.02, noise_dbov=-68)
    for start, sound in sounds:
        scene.say_caller(start, sound)
    scene.say_bot(at, speech("bot/b07").span(0, 3.0))
    scene.say_caller(at + 4.0, speech("caller/c05").span(0, 2.0))
    return list(diagnose(opened(scene, tmp_path), ["late_start"]))


def test_a_caller_who_waits_and_asks_is_kept_waiting(tmp_path):
    hello = speech("caller/c05").span(0, 0.6)
    (finding,) = begun(tmp_path, 4.5, (3.0, hello))
    assert finding.value == pytest.approx(4.5, abs=0.2)


def test_a_bot_that_lets_the_caller_begin_is_not_late(tmp_path):
    assert begun(tmp_path, 4.0, (0.8, speech("caller/c05").span(0, 2.0))) == []


def test_a_greeting_of_a_voicemail_is_no_late_start(tmp_path):
    greeting = speech("caller/c05")
    assert begun(tmp_path, 4.0 + greeting.duration, (2.4, greeting)) == []


def test_a_telephone_that_rings_is_no_late_start(tmp_path):
    time = np.arange(16000) / 8000
    ring = Audio((0.1 * np.sin(2 * np.pi * 425 * time)).astype(np.float32), 8000)
    assert begun(tmp_path, 5.5, (0.4, ring), (2.8, ring)) == []
