"""What became of each message of a stream, told from numbers, times and payloads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.call.life import Life, Spell, life_of, step_of

STEP = 0.020
RNG = np.random.default_rng(0)


class Sender:
    """A stream in the making: numbers, times and payloads, sent each 20 ms and changed at will."""

    def __init__(self, secs: float = 60.0, *, first: int = 1, jitter: float = 0.002) -> None:
        count = round(secs / STEP)
        self.time = np.arange(count) * STEP + RNG.uniform(0, jitter, count)
        self.sequence = np.arange(first, first + count)
        self.payloads = [RNG.bytes(160) for _ in range(count)]
        self.begins: list[float] = []

    def pick(self, order) -> Sender:
        self.time, self.sequence = self.time[order], self.sequence[order]
        self.payloads = [self.payloads[i] for i in order]
        return self

    @property
    def life(self) -> Life:
        order = np.argsort(self.time, kind="stable")
        self.pick(order)
        return life_of(
            self.time, self.sequence, np.full(len(self.time), STEP), self.payloads, self.begins
        )


def spells(life: Life) -> list[tuple[str, int]]:
    return [(spell.state, spell.count) for spell in life.spells]


def test_a_stream_that_is_simply_there_has_no_spells():
    life = Sender().life
    assert life.spells == ()
    assert np.ptp(life.start - np.arange(3000) * STEP) < 0.003
    assert not life.duplicate.any() and not life.missing.any()


def test_nothing_has_a_life_too():
    life = life_of(np.empty(0), np.empty(0, np.int64), np.empty(0), [])
    assert life.spells == () and len(life.start) == 0


@pytest.mark.parametrize("ppm", [-300, -100, 100, 300])
@pytest.mark.parametrize("minutes", [5, 22])
def test_a_clock_that_runs_apart_is_no_stall_and_no_pause(ppm, minutes):
    sender = Sender(60 * minutes)
    sender.time *= 1 + ppm * 1e-6
    life = sender.life
    assert life.spells == ()
    assert life.drift == pytest.approx(ppm * 1e-6, abs=10e-6)
    assert np.abs(life.start - sender.time).max() < 0.030


@pytest.mark.parametrize("secs", [0.11, 0.13, 0.5, 6.0, 40.0])
def test_a_pause_of_the_sender_makes_nothing_late(secs):
    sender = Sender()
    sender.time[1000:] += secs
    life = sender.life
    assert life.late.max() < 0.01
    expected = [] if secs < 0.12 else [("paused", 0)]
    assert spells(life) == expected
    if expected:
        assert life.spells[0].start == pytest.approx(20.0, abs=0.005)
        assert life.spells[0].duration == pytest.approx(secs, abs=0.005)


def test_silence_suppression_is_pauses():
    sender = Sender()
    for at in (500, 1200, 2000):
        sender.time[at:] += 1.7
    assert spells(sender.life) == [("paused", 0)] * 3


@pytest.mark.parametrize("secs", [0.15, 0.4, 3.0])
def test_a_stall_has_a_burst_behind_it(secs):
    sender = Sender()
    held = (sender.time >= 20.0) & (sender.time < 20.0 + secs)
    sender.time[held] = 20.0 + secs + np.arange(held.sum()) * 1e-5
    life = sender.life
    (spell,) = life.spells
    assert spell.state == "held"
    assert (spell.start, spell.end) == pytest.approx((20.0, 20.0 + secs), abs=0.03)
    assert np.abs(life.start - life.number * STEP).max() < 0.01


@pytest.mark.parametrize("secs", [5.0, 25.0, 40.0])
def test_a_long_stall_is_no_clock(secs):
    sender = Sender(90.0)
    held = (sender.time >= 20.0) & (sender.time < 20.0 + secs)
    sender.time[held] = 20.0 + secs + np.arange(held.sum()) * 1e-5
    life = sender.life
    assert life.drift == pytest.approx(0.0, abs=20e-6)
    # Nobody looks ahead for longer than 30 s: what is beyond is taken for a pause.
    assert [state for state, _ in spells(life)] == ["paused"] * (secs > 30) + ["held"]


@pytest.mark.parametrize("at", [25.0, 33.0, 60.0])
@pytest.mark.parametrize("by", [0.020, 0.040])
def test_a_sender_that_falls_behind_once_has_no_slower_clock(at, by):
    """20 ms in 84 s would be 14 ms a minute, the slope between points far apart 40."""
    sender = Sender(84.0)
    sender.time[sender.time >= at] += by
    assert abs(sender.life.drift) < 0.25 * by / 60 * 3
    sender.time *= 1 + 333e-6
    assert sender.life.drift == pytest.approx(333e-6, rel=0.35)


@pytest.mark.parametrize("ratio", [0.98, 1.02])
def test_a_sender_that_sleeps_too_long_or_too_short_has_another_clock(ratio):
    sender = Sender(90.0)
    sender.time *= ratio
    assert sender.life.drift == pytest.approx(ratio - 1, rel=0.02)


def test_two_stalls_one_after_the_other_are_two():
    sender = Sender()
    for at in (20.0, 20.6):
        held = (sender.time >= at) & (sender.time < at + 0.4)
        sender.time[held] = at + 0.4 + np.arange(held.sum()) * 1e-5
    assert [state for state, _ in spells(sender.life)] == ["held", "held"]


def test_what_is_lost_is_counted_and_leaves_its_place():
    sender = Sender()
    life = sender.pick(np.r_[0:1000, 1012:3000]).life
    (spell,) = life.spells
    assert spell == Spell("lost", pytest.approx(20.0, abs=0.01), pytest.approx(20.24, abs=0.01), 12)
    assert life.start[-1] == pytest.approx(2999 * STEP, abs=0.01)


def test_a_message_that_overtakes_is_not_lost():
    sender = Sender()
    sender.time[[1000, 1001]] = sender.time[[1001, 1000]]
    life = sender.life
    assert life.spells == ()
    assert sorted(life.number.tolist()) == list(range(3000))


@pytest.mark.parametrize("count", [1, 30, 100, 700])
def test_a_replay_is_copies_and_moves_nothing(count):
    sender = Sender(first=1)
    again = np.r_[0:1500, 1500 - count : 1500, 1500:3000]
    sender.pick(again)
    sender.time = np.r_[sender.time[:1500], np.full(count, 30.0), sender.time[1500 + count :]]
    life = sender.life
    assert life.duplicate.sum() == count
    assert spells(life) == [("replayed", count)]
    assert np.abs(life.start[~life.duplicate] - np.arange(3000) * STEP).max() < 0.01
    assert np.all(np.abs(life.start[life.duplicate] - life.start[1500 - count : 1500]) < 1e-9)


@pytest.mark.parametrize("announced", [True, False])
def test_a_second_stream_is_there_too(announced):
    first, second = Sender(20.0), Sender(20.0)
    second.time += 23.0
    both = Sender(0.02)
    both.time = np.r_[first.time, second.time]
    both.sequence = np.r_[first.sequence, second.sequence]
    both.payloads = first.payloads + second.payloads
    both.begins = [22.9] if announced else []
    life = both.life
    assert not life.duplicate.any()
    assert ("restart", 0) in spells(life)
    assert life.start[1000] == pytest.approx(23.0, abs=0.01)
    assert life.start[-1] == pytest.approx(43.0 - STEP, abs=0.01)


def test_a_silent_stream_that_begins_anew_is_no_replay():
    first, second = Sender(20.0), Sender(20.0)
    both = Sender(0.02)
    both.time = np.r_[first.time, second.time + 20.0]
    both.sequence = np.r_[first.sequence, second.sequence]
    both.payloads = [b"\xff" * 160] * 2000
    life = both.life
    assert not life.duplicate.any()
    assert life.restarted.sum() == 1


@given(
    st.lists(st.tuples(st.integers(-1, 60), st.integers(0, 3)), max_size=60),
    st.floats(0, 0.2),
)
def test_any_numbers_have_a_life(messages, pace):
    sequence = np.array([number for number, _ in messages], np.int64)
    payloads = [bytes([kind]) * 160 for _, kind in messages]
    time = np.arange(len(messages)) * pace
    life = life_of(time, sequence, np.full(len(messages), STEP), payloads)
    assert np.isfinite(life.start).all() and (life.late >= 0).all()
    assert (life.missing >= 0).all() and (life.number >= 0).all()
    assert len(set(life.number[~life.duplicate].tolist())) == int((~life.duplicate).sum())
    assert all(spell.end >= spell.start for spell in life.spells)


@pytest.mark.parametrize(
    ("secs", "step"), [([0.04, 0.04, 0.02], 0.04), ([0.0, 0.0, 0.02], 0.02), ([], 0.02)]
)
def test_a_message_has_a_length_though_most_hold_nothing(secs, step):
    assert step_of(np.array(secs, float)) == step
