import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.call.playout import reconstruct, uncut

CHUNK = 0.040


def paced(count: int, lead: float = 0.080) -> tuple[np.ndarray, np.ndarray]:
    """Send times as Pipecat's transport has them, and durations."""
    return np.maximum(0, np.arange(count) * CHUNK - lead), np.full(count, CHUNK)


def test_messages_queue_up_and_play_without_a_seam():
    playout = reconstruct([0, 0, 0], [1, 2, 3])
    assert playout.start.tolist() == [0, 1, 3]
    assert playout.end.tolist() == [1, 3, 6]
    assert playout.lead.tolist() == [0, 1, 3]
    assert playout.underruns == ()


def test_a_paced_utterance_keeps_its_lead():
    playout = reconstruct(*paced(100))
    assert playout.underruns == ()
    assert playout.lead[5:] == pytest.approx(0.080)
    assert playout.said_ms == playout.heard_ms == pytest.approx(4000)


@pytest.mark.parametrize("stall_ms", [100, 250, 600])
def test_a_stall_longer_than_the_lead_is_a_hole_of_the_rest(stall_ms):
    time, duration = paced(100)
    stalled = time.copy()
    late = (time >= 2.0) & (time < 2.0 + stall_ms / 1000)
    stalled[late] = 2.0 + stall_ms / 1000
    playout = reconstruct(stalled, duration)
    # The message before it was sent at 1.96 s and left 120 ms in the queue.
    assert len(playout.underruns) == 1
    hole = playout.underruns[0]
    assert hole.start == pytest.approx(2.08)
    assert hole.end == pytest.approx(2.0 + stall_ms / 1000)
    assert playout.underrun_ms == pytest.approx([stall_ms - 80])
    assert playout.heard_ms == pytest.approx(4000)


def test_a_stall_shorter_than_the_lead_is_not_heard():
    time, duration = paced(100)
    time[(time >= 2.0) & (time < 2.05)] = 2.05
    assert reconstruct(time, duration).underruns == ()


def test_the_silence_before_a_new_utterance_is_no_underrun():
    time = np.concatenate((paced(50)[0], 4.0 + paced(50)[0]))
    assert reconstruct(time, np.full(100, CHUNK)).underruns == ()


def test_who_knows_the_sound_decides_what_goes_on():
    time, duration = paced(100)
    time[50:] += 0.5
    assert len(reconstruct(time, duration).underruns) == 1
    assert reconstruct(time, duration, continues=np.zeros(100, bool)).underruns == ()
    time[50:] += 5
    goes_on = np.ones(100, bool)
    assert len(reconstruct(time, duration, continues=goes_on).underruns) == 1


def test_clear_cuts_what_plays_and_drops_what_waits():
    playout = reconstruct([0, 0, 0, 5], [1, 1, 1, 1], [1.25])
    assert playout.heard.tolist() == [1, 0.25, 0, 1]
    assert np.isnan(playout.start[2])
    assert playout.start[3] == 5
    assert playout.heard_ms == 2250
    assert playout.said_ms == 4000


def test_clear_counts_before_a_message_of_the_same_moment():
    playout = reconstruct([0, 1], [5, 1], [1])
    assert playout.start.tolist() == [0, 1]
    assert playout.heard.tolist() == [1, 1]


def test_clears_come_in_any_order_and_more_than_one_at_a_time():
    one = reconstruct([0, 2], [9, 9], [3, 1, 1])
    assert one.heard.tolist() == [1, 1]


def test_what_follows_a_clear_is_a_new_utterance():
    playout = reconstruct([0, 0.5], [1, 1], [0.4])
    assert playout.underruns == ()
    assert not playout.continues[1]


def test_delay_moves_everything():
    near, far = (reconstruct([0, 0.1, 3], [1, 1, 1], [1.5], delay_ms=ms) for ms in (0, 200))
    assert far.start == pytest.approx(near.start + 0.2)
    assert far.heard == pytest.approx(near.heard)


def test_prebuffer_hides_holes_up_to_its_length():
    time, duration = paced(200)
    time[30:] += 0.08 + 0.05  # the lead is used up, and 50 ms more
    time[150:] += 0.14
    dry = reconstruct(time, duration)
    assert dry.underrun_ms == pytest.approx([50, 140])
    table = {row.cushion_ms: row for row in dry.cushion_table()}
    assert [row.underruns for row in table.values()] == [2, 2, 1, 1, 0]
    assert table[20].hidden == 0
    assert table[60].hidden == 0.5
    assert table[200].hidden == 1


def test_the_cushion_table_is_the_queue_again_with_each_prebuffer():
    """Of the same messages, cuts and utterances, with what prebuffer and delay there was before."""
    time, duration = paced(300)
    time[30:] += 0.08 + 0.03
    time[100:] += 0.6  # a pause, by who knows the sound
    time[150:] += 0.12
    time[220:] += 0.08 + 0.05
    time[260:] += 0.5
    goes_on = np.ones(300, bool)
    goes_on[[0, 100]] = False
    # The first clear hides the hole after it, the second leaves one: what follows is not delayed.
    given = {"delay_ms": 30.0, "continues": goes_on, "stopped": time[255]}
    clears = [time[150] - 0.01, time[200] - 0.001]
    queue = reconstruct(time, duration, clears, prebuffer_ms=15.0, **given)
    for row in queue.cushion_table([10, 25, 70, 400]):
        again = reconstruct(time, duration, clears, prebuffer_ms=15.0 + row.cushion_ms, **given)
        assert row.underruns == len(again.underruns)
        assert row.hidden == 1 - len(again.underruns) / len(queue.underruns)


def test_nothing_that_was_sent_after_the_end_is_played():
    time, duration = [0, 0, 2, 2.5, 2.6], [1, 1.5, 1, 1, 1]
    playout = reconstruct(time, duration, stopped=2.5)
    assert playout.heard.tolist() == [1, 1.5, 0, 0, 0]
    assert playout.start[:2].tolist() == [0, 1]
    assert np.isnan(playout.start[2:]).all()
    assert playout.lead.tolist() == [0, 1, 0.5, 0, 0]
    assert playout.continues.tolist() == [False, True, True, False, False]
    assert reconstruct(time, duration).heard.tolist() == duration
    late = reconstruct([1, 2.5], [0.5, 0.5], stopped=0.5)
    assert late.heard_ms == 0 and late.underruns == ()


def test_without_interruption_all_of_it_has_its_place():
    queue = uncut([0, 0, 0, 3, 3, 9], [2, 2, 2, 1, 1, 1], [2.5, 8, 20])
    assert queue.start.tolist() == [0, 2, 4, 3, 4, 9]
    # What is kept lasts until there is something new to play, what is over until it was cut.
    assert queue.kept.tolist() == [2, 1, 0, 1, 1, 1]
    assert queue.cut.tolist() == [2.5, 2.5, 2.5, 8, 8, 20]
    assert queue.end.tolist() == [2, 2.5, 2.5, 4, 5, 10]
    assert uncut([0], [1], []).cut.tolist() == [np.inf]
    assert uncut([], [], [1.0]).end.shape == (0,)


def test_a_call_without_holes_needs_no_cushion():
    assert {row.hidden for row in reconstruct(*paced(10)).cushion_table()} == {1.0}


def test_nothing_sent_is_nothing_played():
    playout = reconstruct([], [], [1.0])
    assert playout.said_ms == playout.heard_ms == 0
    assert playout.underruns == ()
    assert [row.hidden for row in playout.cushion_table([50])] == [1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [1]), r"times.shape=\(2,\)"),
        (([1, 0], [1, 1]), "times fall"),
        (([0, 1], [1, -1]), "-1.0 s, none is negative"),
        (([0, np.nan], [1, 1]), "finite"),
    ],
)
def test_refuses_what_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        reconstruct(*arguments)
    with pytest.raises(ValueError, match="neither is negative"):
        reconstruct([0], [1], delay_ms=-1)
    with pytest.raises(ValueError, match="of continues"):
        reconstruct([0], [1], continues=[True, False])


@given(
    st.lists(st.tuples(st.floats(0, 0.3), st.floats(0, 0.2)), max_size=40),
    st.lists(st.floats(0, 5), max_size=5),
)
def test_nothing_overlaps_and_nothing_is_heard_twice(steps, clears):
    time = np.cumsum([step for step, _ in steps])
    duration = np.array([length for _, length in steps])
    playout = reconstruct(time, duration, clears)
    assert (playout.heard >= 0).all()
    assert (playout.heard <= duration + 1e-12).all()
    played = playout.heard > 0
    starts, ends = playout.start[played], playout.end[played]
    assert (starts >= time[played] - 1e-12).all()
    assert (starts[1:] >= ends[:-1] - 1e-9).all()


def test_an_hour_is_rebuilt_quickly():
    time, duration = paced(90_000)
    playout = reconstruct(time, duration)
    assert playout.heard_ms == pytest.approx(3_600_000)
