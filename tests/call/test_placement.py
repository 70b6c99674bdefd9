import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecat_bandwidth.encodings import PCMU, wire_format
from workbench.audio import Audio
from workbench.call.placement import follow, lay, lay_encoded, place_made

STEP = 0.020


def placed(time: np.ndarray) -> np.ndarray:
    return follow(np.asarray(time, float), np.full(len(time), STEP))


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


@pytest.mark.parametrize("ppm", [100, -100])
def test_a_clock_that_runs_apart_for_half_an_hour_is_followed(ppm):
    sent = np.arange(90_000) * STEP
    arrived = sent * (1 + ppm / 1e6)
    assert np.abs(placed(arrived) - arrived).max() < 0.121


@pytest.mark.parametrize("made", [STEP, 0.0195])
def test_a_piece_that_was_made_late_or_twice_moves_no_other(made):
    start = np.arange(60) * STEP
    late = np.r_[start[:30], start[31:34], start[30], start[34:]]
    twice = np.r_[start[:31], start[30], start[31:]]
    for messages in (late, twice):
        length = np.full(len(messages), STEP)
        assert place_made(messages, length) == pytest.approx(messages)


def test_what_a_resampler_holds_back_moves_nothing():
    start, duration = np.arange(40) * STEP, np.full(40, STEP)
    duration[10:14] = 0.0, 0.0, 0.01, 0.07
    made = duration > 0
    ends = np.cumsum(duration)[made]
    assert place_made(start[made], duration[made]) == pytest.approx(ends - duration[made], abs=0.01)


def test_nothing_is_placed_nowhere():
    assert placed(np.empty(0)).shape == (0,)


def pieces(*values: int, size: int = 160) -> list[bytes]:
    return [np.full(size, value, "<i2").tobytes() for value in values]


def test_neighbours_are_joined_to_the_sample():
    start = 0.100049 + np.arange(50) * STEP  # rounds up here and down there
    track = lay(start, np.full(50, STEP), pieces(*range(1, 51)), [8000] * 50, 2.0)
    samples = np.rint(track.samples * 32768).astype(int)
    assert samples[800 : 800 + 50 * 160].tolist() == np.repeat(np.arange(1, 51), 160).tolist()
    assert np.count_nonzero(samples) == 50 * 160


def test_pieces_nearly_a_sample_apart_are_still_joined():
    """Two clocks, in steps of 0.7 of a sample: neither a sample left out nor one doubled."""
    start = np.array([0.0, 160.7, 320.1]) / 8000
    track = lay(start, np.full(3, STEP), pieces(1, 2, 3), [8000] * 3, 0.1)
    samples = np.rint(track.samples * 32768).astype(int)
    assert samples[:480].tolist() == np.repeat([1, 2, 3], 160).tolist()


def test_what_is_cut_left_out_or_outside_is_not_laid():
    start = np.array([-0.010, 0.1, np.nan, 0.19])
    heard = np.array([STEP, 0.005, STEP, STEP])
    track = lay(start, heard, pieces(1, 2, 3, 4), [8000] * 4, 0.2)
    samples = np.rint(track.samples * 32768).astype(int)
    assert [np.count_nonzero(samples == value) for value in (1, 2, 3, 4)] == [80, 40, 0, 80]


def test_a_piece_of_another_rate_behind_the_track_is_not_laid():
    """A clock that jumps, in the middle of a track or at once: what is placed in it stays."""
    for start in ([0.02, 9.0], [9.0, 0.02], [9.0, 9.1]):
        pcm = [*pieces(1), *pieces(2, size=320)]
        track = lay(np.array(start), np.full(2, STEP), pcm, [8000, 16000], 0.2)
        there = [wanted for wanted, at in zip((1, 2), start, strict=True) if at < 0.2]
        assert track.duration == pytest.approx(0.2)
        assert bool(np.count_nonzero(track.samples)) == bool(there)


def test_the_later_one_is_heard_where_two_overlap():
    track = lay(np.array([0.0, 0.01]), np.full(2, STEP), pieces(1, 2), [8000] * 2, 0.1)
    samples = np.rint(track.samples * 32768).astype(int)
    assert np.flatnonzero(samples == 1).tolist() == list(range(80))
    assert np.flatnonzero(samples == 2).tolist() == list(range(80, 240))


def test_a_track_without_pieces_is_silence_of_its_length():
    track = lay(np.empty(0), np.empty(0), [], [], 1.5)
    assert track.sample_rate == 8000
    assert track.duration == 1.5


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60), st.integers(0, 2**31))
def test_messages_are_laid_each_as_if_it_were_alone(rows, seed):
    """However pieces are joined, decoded and cut: their lengths and formats may change."""
    rng = np.random.default_rng(seed)
    formats = [PCMU if narrow else wire_format("PCM", 8000) for _, narrow in rows]
    sizes = [(160, 80, 1, 0)[kind] for kind, _ in rows]
    payloads = [
        rng.bytes(size * wire.bytes_per_sample + (kind == 1 and wire is not PCMU))  # half a sample
        for (kind, _), size, wire in zip(rows, sizes, formats, strict=True)
    ]
    first = np.cumsum([0, *sizes]) + rng.choice([0, 0, 0, 5, -3], len(rows) + 1).cumsum() + 50
    heard = np.where(rng.random(len(rows)) < 0.2, 40, 1000) / 8000
    start = np.where(rng.random(len(rows)) < 0.1, np.nan, first[:-1] / 8000)
    expected = np.zeros(8000, np.float32)
    head = None
    for at, kept, payload, wire in zip(start, heard, payloads, formats, strict=True):
        if np.isnan(at):
            continue
        samples = np.frombuffer(wire.decode(payload), "<i2")[: round(kept * 8000)] / 32768
        begin = round(at * 8000)
        begin = head if head is not None and abs(at * 8000 - head) < 1 else begin
        head = begin + len(samples)
        low, high = max(0, begin), min(8000, head)
        if low < high:
            expected[low:high] = samples[low - begin : high - begin]
    track = lay_encoded(start, heard, payloads, formats, 1.0)
    assert track.sample_rate == 8000
    assert np.array_equal(track.samples, expected)


def test_a_long_track_is_silent_where_nothing_was_laid():
    track = lay(np.array([100.0, 130.0]), np.full(2, STEP), pieces(1, 2), [8000] * 2, 150.0)
    samples = np.rint(track.samples * 32768).astype(int)
    assert len(samples) == 150 * 8000
    assert np.flatnonzero(samples == 1).tolist() == list(range(800_000, 800_160))
    assert np.flatnonzero(samples == 2).tolist() == list(range(1_040_000, 1_040_160))
    assert np.count_nonzero(samples) == 320


def test_frames_of_several_rates_are_all_laid_at_the_commonest():
    tone = np.sin(np.arange(4000) * 2 * np.pi * 400 / 8000) / 4
    rates = [8000, 16000, 8000]
    pcm = [Audio(tone, 8000).resampled(rate).pcm() for rate in rates]
    track = lay(np.array([0.0, 0.5, 1.0]), np.full(3, 0.5), pcm, rates, 1.5)
    assert track.sample_rate == 8000
    assert np.abs(track.samples[200:3800] - tone[200:3800]).max() < 1e-4
    assert np.abs(track.samples[4200:7800] - tone[200:3800]).max() < 1e-3
    assert np.abs(track.samples[8200:11800] - tone[200:3800]).max() < 1e-4
