import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.call.placement import follow, lay, unwrap

STEP = 0.020


def placed(time: np.ndarray, number: np.ndarray | None = None) -> np.ndarray:
    return follow(np.asarray(time, float), np.full(len(time), STEP), number)


def test_a_steady_stream_stays_where_it_arrived():
    time = np.arange(500) * STEP + 0.3
    assert placed(time) == pytest.approx(time)


@given(st.integers(1, 60), st.integers(0, 400))
def test_a_stall_and_its_burst_move_nothing(messages, at):
    time = np.arange(600) * STEP
    held = time.copy()
    held[at : at + messages] = time[at + messages]
    assert placed(held) == pytest.approx(time)


@pytest.mark.parametrize(("pause", "moves"), [(0.1, False), (0.2, True), (3.0, True)])
def test_a_pause_opens_a_new_stretch_when_it_is_more_than_jitter(pause, moves):
    time = np.arange(400) * STEP
    paused = time + np.where(np.arange(400) < 200, 0, pause)
    start = placed(paused)
    assert start[:200] == pytest.approx(time[:200])
    assert start[200:] == pytest.approx(paused[200:] if moves else time[200:])


def test_missing_numbers_leave_room():
    number = np.r_[0:100, 105:200]
    assert placed(number * STEP, number) == pytest.approx(number * STEP)
    # Also when what follows the gap arrived a little late.
    late = number * STEP + np.where(number > 105, 0.03, 0)
    assert placed(late, number) == pytest.approx(number * STEP)


def test_late_numbers_are_put_back_into_their_place():
    number = np.arange(100)
    number[[40, 41]] = [41, 40]
    start = placed(np.arange(100) * STEP, number)
    assert np.diff(start[np.argsort(number)]) == pytest.approx(STEP)
    assert np.abs(start - number * STEP).max() <= STEP + 1e-9  # 41 was quicker than thought


def test_nothing_is_placed_nowhere():
    assert placed(np.empty(0)).shape == (0,)


@pytest.mark.parametrize(
    ("given_numbers", "numbers", "duplicates"),
    [
        ([5, 6, 7], [0, 1, 2], []),
        ([5, 6, 6, 7], [0, 1, 1, 2], [2]),
        ([5, 8, 6], [0, 3, 1], []),
        ([-1, -1, -1], [0, 1, 2], []),
        ([5, -1, 7], [0, 1, 2], []),
        ([5, 10**15, 10**15 + 1], [0, 1, 2], []),
    ],
)
def test_numbers_are_made_to_count(given_numbers, numbers, duplicates):
    sequence = np.array(given_numbers, np.int64)
    number, duplicate = unwrap(sequence, np.arange(len(sequence)) * STEP)
    assert number.tolist() == numbers
    assert np.flatnonzero(duplicate).tolist() == duplicates


def test_a_counter_that_starts_anew_goes_on():
    sequence = np.r_[1:1001, 1:101].astype(np.int64)
    number, duplicate = unwrap(sequence, np.arange(1100) * STEP)
    assert number.tolist() == list(range(1100))
    assert not duplicate.any()


def pieces(*values: int, size: int = 160) -> list[bytes]:
    return [np.full(size, value, "<i2").tobytes() for value in values]


def test_neighbours_are_joined_to_the_sample():
    start = 0.100049 + np.arange(50) * STEP  # rounds up here and down there
    track = lay(start, np.full(50, STEP), pieces(*range(1, 51)), [8000] * 50, 2.0)
    samples = np.rint(track.samples * 32768).astype(int)
    assert samples[800 : 800 + 50 * 160].tolist() == np.repeat(np.arange(1, 51), 160).tolist()
    assert np.count_nonzero(samples) == 50 * 160


def test_what_is_cut_left_out_or_outside_is_not_laid():
    start = np.array([-0.010, 0.1, np.nan, 0.19])
    heard = np.array([STEP, 0.005, STEP, STEP])
    track = lay(start, heard, pieces(1, 2, 3, 4), [8000] * 4, 0.2)
    samples = np.rint(track.samples * 32768).astype(int)
    assert [np.count_nonzero(samples == value) for value in (1, 2, 3, 4)] == [80, 40, 0, 80]


def test_the_later_one_is_heard_where_two_overlap():
    track = lay(np.array([0.0, 0.01]), np.full(2, STEP), pieces(1, 2), [8000] * 2, 0.1)
    samples = np.rint(track.samples * 32768).astype(int)
    assert np.flatnonzero(samples == 1).tolist() == list(range(80))
    assert np.flatnonzero(samples == 2).tolist() == list(range(80, 240))


def test_a_track_without_pieces_is_silence_of_its_length():
    track = lay(np.empty(0), np.empty(0), [], [], 1.5)
    assert track.sample_rate == 8000
    assert track.duration == 1.5
