"""How a call ended, when, and who brought it about."""

from __future__ import annotations

import numpy as np
import pytest

from pipecat_bandwidth import messages
from tests.captures import Scene, speech
from workbench.audio import Audio
from workbench.call import Call, Ending, Event, HangUpRecord
from workbench.call.ending import ending_of, final_stop


def scene(secs: float = 12.0, **settings) -> Scene:
    made = Scene(secs, **settings)
    made.say_bot(1.0, speech("bot/b07"))
    made.say_caller(6.0, speech("caller/c01"))
    return made


def ended(made: Scene, tmp_path) -> Call:
    return Call.open(made.write(tmp_path / "a.mcap"))


def test_a_stop_that_nobody_asked_for_is_the_far_ends(tmp_path):
    assert ended(scene(), tmp_path).ending == Ending(12.0, "stop", "far end")


@pytest.mark.parametrize("frame", ["EndFrame", "CancelFrame"])
def test_a_stop_that_the_bot_asked_for_is_the_bots(tmp_path, frame):
    made = scene()
    made.frame_out(11.5, frame)
    assert ended(made, tmp_path).ending == Ending(12.0, "stop", "bot")


def test_a_cancel_after_the_stop_did_not_bring_it_about(tmp_path):
    made = scene()
    made.frame_out(12.01, "CancelFrame")
    made.hang_up(12.4, "already_over", status_code=404, took_us=300_000)
    assert ended(made, tmp_path).ending == Ending(12.0, "stop", "far end")


def test_a_confirmed_hang_up_ends_the_call_whatever_is_recorded_after_it(tmp_path):
    made = scene(14.0, stop=False)
    made.say_bot(11.0, Audio(np.zeros(2 * 8000, np.float32), 8000), lead=2.0)
    made.frame_out(11.0, "EndFrame")
    made.hang_up(11.4, "ended", status_code=200, took_us=300_000)
    call = ended(made, tmp_path)
    assert call.ending == Ending(11.4, "hang_up", "bot")
    assert call.duration == 11.4 == pytest.approx(call.caller_heard.duration, abs=1e-3)
    assert call.playout.heard_ms < 1000 * (11.4 - 11.0 + speech("bot/b07").duration) + 1


def test_a_socket_that_is_gone_is_told_by_the_cancel_behind_it(tmp_path):
    made = scene(stop=False)
    made.frame_out(12.01, "CancelFrame")
    call = ended(made, tmp_path)
    assert (call.ending.how, call.ending.by) == ("socket", None)
    assert call.duration == call.ending.time == pytest.approx(12.0, abs=0.03)


def test_a_hang_up_that_finds_the_call_over_was_not_its_end(tmp_path):
    made = scene(stop=False)
    made.frame_out(12.01, "CancelFrame")
    made.hang_up(12.4, "already_over", status_code=404, took_us=300_000)
    assert ended(made, tmp_path).ending.by == "far end"


def test_a_bot_that_ends_without_hanging_up_closes_the_socket(tmp_path):
    made = scene(stop=False)
    made.frame_out(11.9, "EndFrame")
    ending = ended(made, tmp_path).ending
    assert (ending.how, ending.by) == ("socket", "bot")


@pytest.mark.parametrize("finish", [True, False])
def test_a_recording_that_ends_first_leaves_the_call_open(tmp_path, finish):
    call = Call.open(scene(stop=False).write(tmp_path / "a.mcap", finish=finish))
    assert (call.ending.how, call.ending.by) == ("open", None)
    assert call.duration == pytest.approx(12.0, abs=0.03)


def twice(tmp_path, *, announced: bool = True) -> Call:
    """A stream of 12 s, a stop, and another of 8 s from 15 s on."""
    made = scene(23.0)
    first, second = round(12 / 0.02), round(15 / 0.02)
    made.lost.update(range(first, second))
    made.number = np.r_[np.arange(1, second + 1), np.arange(1, len(made.number) - second + 1)]
    made.say_caller(17.0, speech("caller/c02"))
    made.receive(12.0, messages.encode(messages.Stop("s-1", "c-1")))
    if announced:
        tracks = (messages.Track("inbound"),)
        made.receive(14.99, messages.encode(messages.Start("s-2", "c-1", "99", "agent", tracks)))
    return ended(made, tmp_path)


@pytest.mark.parametrize("announced", [True, False])
def test_a_stop_that_the_call_goes_on_after_is_not_its_end(tmp_path, announced):
    call = twice(tmp_path, announced=announced)
    assert call.ending == Ending(23.0, "stop", "far end")
    assert call.start.stream_id == "s-1"
    assert call.stats["inbound_messages"] == len(call.inbound) == 1000
    assert call.stats["lost_messages"] == call.stats["duplicates"] == 0
    assert call.caller_speech[-1, 1] > 17.5
    assert [spell.state for spell in call.inbound.spells_of("restart")] == ["restart"]


def test_a_message_that_was_under_way_does_not_undo_a_stop():
    events = [Event(0.0, "start"), Event(12.0, "stop")]
    assert final_stop(events, 12.02) == 12.0
    assert final_stop(events, 13.5) is None
    assert final_stop([], 13.5) is None


def test_a_hang_up_counts_from_when_it_began():
    told = {"stop": 10.0, "last": 10.0, "until": 10.0}
    slow = HangUpRecord(10.2, "ended", took_ms=400.0)
    assert ending_of([], [slow], **told) == Ending(10.0, "stop", "bot")
    late = HangUpRecord(10.5, "ended", took_ms=400.0)
    assert ending_of([], [late], **told) == Ending(10.0, "stop", "far end")


def test_a_call_does_not_end_before_it_began():
    early = HangUpRecord(-0.04, "ended", took_ms=10.0)
    told = {"stop": None, "last": 0.0, "until": 0.0}
    assert ending_of([], [early], **told) == Ending(0.0, "hang_up", "bot")


def test_a_socket_of_which_nothing_came_for_a_minute_is_gone():
    told = {"stop": None, "last": 9.0, "until": 9.4}
    assert ending_of([], [], is_idle=True, **told) == Ending(9.0, "socket", None)
    assert ending_of([], [], **told) == Ending(9.4, "open", None)
