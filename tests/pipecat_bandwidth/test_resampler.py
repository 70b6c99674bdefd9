"""The resampler as an instrument: delay, response and conservation measured on what comes out."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from collections.abc import Callable
from itertools import pairwise, permutations
from math import gcd

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal

from pipecat_bandwidth import resampler
from pipecat_bandwidth.resampler import RATES, StreamResampler

PAIRS = list(permutations(RATES, 2))
#: What calls come to, and two awkward ones.
USUAL = [
    (8000, 16000),
    (8000, 24000),
    (16000, 8000),
    (24000, 8000),
    (24000, 16000),
    (16000, 24000),
    (48000, 8000),
    (44100, 8000),
    (22050, 24000),
]


def noise(samples: int, seed: int = 7) -> bytes:
    """Full-scale noise: every product and every saturation that there can be."""
    return np.random.default_rng(seed).integers(-32768, 32768, samples, dtype="<i2").tobytes()


def once(in_rate: int, out_rate: int, pcm: bytes) -> bytes:
    """Convert all at once, tail included."""
    converter = StreamResampler(in_rate, out_rate)
    return converter.process(pcm) + converter.flush()


def samples(pcm: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm, "<i2").astype(float)


def sine(hz: float, sample_rate: int, seconds: float = 0.5, peak: float = 32000.0) -> bytes:
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    return np.rint(peak * np.sin(2 * np.pi * hz * t)).astype("<i2").tobytes()


def steady(in_rate: int, out_rate: int, pcm: bytes) -> NDArray[np.float64]:
    """Output between the transients of both ends, which are twice the delay long."""
    converter = StreamResampler(in_rate, out_rate)
    edge = round(2 * converter.delay_ms * out_rate / 1000) + 2
    return samples(converter.process(pcm))[edge:]


def fitted(x: NDArray[np.float64], hz: float, sample_rate: int) -> tuple[complex, float]:
    """Complex amplitude of a sine, and the RMS of all that is something else."""
    turns = np.exp(2j * np.pi * hz * np.arange(x.size) / sample_rate)
    basis = np.stack([turns.real, turns.imag], axis=1)
    (a, b), *_ = np.linalg.lstsq(basis, x, rcond=None)
    return complex(a, -b), float(np.sqrt(np.mean((x - basis @ (a, b)) ** 2)))


def db(ratio: float) -> float:
    return 20 * np.log10(max(ratio, 1e-12))


# -- chunking ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_chunking_makes_no_difference(in_rate: int, out_rate: int) -> None:
    pcm = noise(in_rate // 4)
    rng = np.random.default_rng(in_rate + out_rate)
    cuts = np.sort(rng.integers(0, in_rate // 4, 40)) * 2
    converter = StreamResampler(in_rate, out_rate)
    parts = [converter.process(pcm[a:b]) for a, b in pairwise([0, *cuts, len(pcm)])]
    assert b"".join([*parts, converter.flush()]) == once(in_rate, out_rate, pcm)


@given(
    pair=st.sampled_from(USUAL),
    sizes=st.lists(st.one_of(st.integers(0, 5), st.integers(0, 3000)), max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_chunking_makes_no_difference(
    pair: tuple[int, int], sizes: list[int], seed: int
) -> None:
    pcm = noise(sum(sizes), seed)
    converter = StreamResampler(*pair)
    got, at = b"", 0
    for size in sizes:
        got += converter.process(pcm[2 * at : 2 * (at + size)])
        at += size
        assert len(got) == 2 * -(-at * pair[1] // pair[0])  # all that is due, always
    assert got + converter.flush() == once(*pair, pcm)


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_sums_are_exact_in_double_precision(in_rate: int, out_rate: int) -> None:
    """Why chunking makes no difference: no sum can be rounded, in whatever order it is made."""
    divisor = gcd(in_rate, out_rate)
    taps = resampler._taps(out_rate // divisor, in_rate // divisor) * 2.0**32
    assert np.array_equal(taps, np.rint(taps))
    assert 32768 * np.abs(taps).sum(axis=0).max() < 2.0**53


@pytest.mark.parametrize(("in_rate", "out_rate"), USUAL)
def test_output_is_that_of_the_textbook(in_rate: int, out_rate: int) -> None:
    """Zero-stuffing, one long convolution with SciPy's filter, decimation."""
    divisor = gcd(in_rate, out_rate)
    up, down = out_rate // divisor, in_rate // divisor
    most = max(up, down)
    width = (74 - 7.95) / (14.36 * 64 * most) * most  # of the lower rate
    taps = signal.firwin(
        64 * most + 1,
        0.5 - width / 2,
        window=("kaiser", signal.kaiser_beta(74)),
        fs=most,
        scale=False,
    )
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    pcm = noise(3000)
    stuffed = np.zeros(3000 * up)
    stuffed[::up] = samples(pcm)
    expected = np.clip(signal.oaconvolve(stuffed, taps)[: stuffed.size : down], -32768, 32767)
    got = samples(StreamResampler(in_rate, out_rate).process(pcm))
    assert np.abs(got - expected).max() < 0.5 + 1e-4


# -- delay -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_delay_is_the_same_at_every_frequency(in_rate: int, out_rate: int) -> None:
    converter = StreamResampler(in_rate, out_rate)
    assert converter.delay_ms == 1000 * 32 / min(in_rate, out_rate) <= 4.0
    skipped = round(2 * converter.delay_ms * out_rate / 1000) + 2
    for part in (0.05, 0.31, 0.62, 0.85):
        hz = part * min(in_rate, out_rate) / 2
        out, _ = fitted(steady(in_rate, out_rate, sine(hz, in_rate)), hz, out_rate)
        turns = hz * (skipped / out_rate - converter.delay_ms / 1000)
        expected = -1j * np.exp(2j * np.pi * turns)  # a sine
        assert abs(np.angle(out / expected)) / (2 * np.pi * hz) < 1e-6  # seconds


@pytest.mark.parametrize(("in_rate", "out_rate"), USUAL)
def test_delay_by_cross_correlation(in_rate: int, out_rate: int) -> None:
    """Band-limited noise, known at both rates because it is a sum of sines."""
    rng = np.random.default_rng(3)
    hz, phases = rng.uniform(100, 3300, 200), rng.uniform(0, 2 * np.pi, 200)

    def at(sample_rate: int) -> NDArray[np.float64]:
        t = np.arange(sample_rate // 2) / sample_rate
        return 900 * np.sin(2 * np.pi * np.outer(t, hz) + phases).sum(axis=1)

    converter = StreamResampler(in_rate, out_rate)
    got = samples(converter.process(np.rint(at(in_rate)).astype("<i2").tobytes()))
    peak = int(np.argmax(signal.correlate(got, at(out_rate)))) - (out_rate // 2 - 1)
    assert peak == round(converter.delay_ms * out_rate / 1000)


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_every_message_gives_a_frame_of_its_length(in_rate: int, out_rate: int) -> None:
    converter = StreamResampler(in_rate, out_rate)
    sizes = {len(converter.process(noise(in_rate // 50))) // 2 for _ in range(50)}
    assert sizes == {out_rate // 50}


# -- response ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_pass_band_is_flat(in_rate: int, out_rate: int) -> None:
    low = min(in_rate, out_rate) / 2
    for part in (0.01, 0.1, 0.33, 0.5, 0.66, 0.75, 0.8, 0.83, 0.85):
        hz = part * low
        amplitude, rest = fitted(steady(in_rate, out_rate, sine(hz, in_rate)), hz, out_rate)
        assert abs(db(abs(amplitude) / 32000)) < 0.01
        assert db(rest * np.sqrt(2) / abs(amplitude)) < -70  # images


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_transition_is_where_the_docstring_says(in_rate: int, out_rate: int) -> None:
    low = min(in_rate, out_rate) / 2
    for part, lowest, highest in ((0.87, -0.11, -0.01), (0.913, -3.2, -2.8), (0.95, -20, -8)):
        amplitude, _ = fitted(
            steady(in_rate, out_rate, sine(part * low, in_rate)), part * low, out_rate
        )
        assert lowest < db(abs(amplitude) / 32000) < highest


@pytest.mark.parametrize(("in_rate", "out_rate"), [p for p in PAIRS if p[0] > p[1]])
def test_aliases_are_rejected(in_rate: int, out_rate: int) -> None:
    """Whatever comes out of a sine above the Nyquist frequency is one."""
    low, high = out_rate / 2, in_rate / 2
    edge = np.linspace(low + 1, min(1.15 * low, high), 12)
    for hz in (*edge, *np.linspace(low * 1.02, high * 0.999, 20)):
        out = steady(in_rate, out_rate, sine(hz, in_rate))
        assert db(np.sqrt(2 * np.mean(out**2)) / 32000) < -72


@pytest.mark.parametrize(("in_rate", "out_rate"), [p for p in PAIRS if p[0] < p[1]])
def test_images_are_rejected(in_rate: int, out_rate: int) -> None:
    """Whatever comes out above the Nyquist frequency of what went in is one."""
    low = in_rate / 2
    for hz in np.linspace(0.02 * low, 0.998 * low, 30):
        out = steady(in_rate, out_rate, sine(hz, in_rate))
        spectrum = np.abs(np.fft.rfft(out * signal.windows.blackmanharris(out.size)))
        bins = np.fft.rfftfreq(out.size, 1 / out_rate)
        images = spectrum[bins > low + 5 * out_rate / out.size]
        main = 32000 * signal.windows.blackmanharris(out.size).sum() / 2
        assert db(images.max() / main) < -72


def test_a_constant_stays_constant() -> None:
    for pair in PAIRS:
        out = steady(*pair, np.full(4000, 12345, "<i2").tobytes())
        assert set(out) == {12345.0}


def test_silence_stays_silent() -> None:
    for pair in PAIRS:
        assert not any(once(*pair, bytes(4000)))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_overshoot_saturates(in_rate: int, out_rate: int, sign: int) -> None:
    """A step rings: beyond full scale it has to stay there, not to come round as -32768."""
    step = np.zeros(in_rate // 20, "<i2")
    step[step.size // 2 :] = 32767 if sign > 0 else -32768
    out = sign * samples(StreamResampler(in_rate, out_rate).process(step.tobytes()))
    assert out.max() == (32767 if sign > 0 else 32768)
    assert out.min() > -0.2 * 32768


# -- conservation ------------------------------------------------------------------------------


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
@pytest.mark.parametrize("length", [1, 2, 159, 8000, 12345])
def test_nothing_is_lost(in_rate: int, out_rate: int, length: int) -> None:
    converter = StreamResampler(in_rate, out_rate)
    body = len(converter.process(noise(length))) // 2
    tail = len(converter.flush()) // 2
    assert body == -(-length * out_rate // in_rate)
    delay = converter.delay_ms * out_rate / 1000
    assert delay - 1 < tail < delay + out_rate / in_rate + 1
    assert tail <= 4.5 * out_rate / 1000 + 1


@pytest.mark.parametrize(("in_rate", "out_rate"), USUAL)
def test_the_tail_holds_the_end_of_what_was_said(in_rate: int, out_rate: int) -> None:
    """Flushing gives what the stream would have given had it gone on in silence."""
    pcm = noise(in_rate // 10)
    converter = StreamResampler(in_rate, out_rate)
    body, tail = converter.process(pcm), converter.flush()
    assert tail[-2:] != b"\0\0"
    assert (
        StreamResampler(in_rate, out_rate).process(pcm + bytes(4 * in_rate)).startswith(body + tail)
    )


@pytest.mark.parametrize("ending", ["flush", "reset"])
@pytest.mark.parametrize(("in_rate", "out_rate"), USUAL)
def test_afterwards_it_is_as_new(in_rate: int, out_rate: int, ending: str) -> None:
    converter = StreamResampler(in_rate, out_rate)
    converter.process(noise(1237))
    getattr(converter, ending)()
    assert converter.flush() == b""
    pcm = noise(2000, seed=8)
    assert converter.process(pcm) + converter.flush() == once(in_rate, out_rate, pcm)


@pytest.mark.parametrize("rate", RATES)
def test_equal_rates_pass_through_untouched(rate: int) -> None:
    converter = StreamResampler(rate, rate)
    pcm = noise(500)
    assert converter.process(pcm) is pcm
    assert converter.flush() == b""
    assert converter.delay_ms == 0.0
    converter.reset()


# -- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0, -8000, 11025, 8000.0, True, None, "8000", float("nan"), 10**9])
@pytest.mark.parametrize("side", ["in_rate", "out_rate"])
def test_other_rates_are_refused(side: str, rate: object) -> None:
    rates = {"in_rate": 8000, "out_rate": 8000} | {side: rate}
    with pytest.raises(ValueError, match=f"^{side}=.* is not one of 8000, 16000, 22050, 24000, "):
        StreamResampler(**rates)


@pytest.mark.parametrize("out_rate", [8000, 16000])
def test_half_a_sample_is_refused(out_rate: int) -> None:
    converter = StreamResampler(8000, out_rate)
    with pytest.raises(ValueError, match="^3 bytes are not a whole number of 16-bit samples$"):
        converter.process(b"abc")


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_views_stay_inside_their_buffer(in_rate: int, out_rate: int) -> None:
    """NumPy does not check strides given by hand, so every shape that can occur is checked here."""
    bank = resampler._bank(in_rate, out_rate)
    inputs = np.zeros(bank.buffered)
    low = inputs.__array_interface__["data"][0]
    for phase in {0, 1, bank.step // 2, bank.step - 1} & set(range(bank.step)):
        for length in (0, 1, bank.step, bank.delay, bank.longest - 1, bank.longest):
            windows = resampler._windows(bank, inputs, phase, length)
            first, last = np.lib.array_utils.byte_bounds(windows)
            if windows.size:
                assert low <= first and last <= low + inputs.nbytes


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_products_stay_below_what_wakes_blas_threads(in_rate: int, out_rate: int) -> None:
    bank = resampler._bank(in_rate, out_rate)
    _, width, size = bank.rows.shape
    assert (bank.longest // bank.step + 2) * width * size < 4 * 65536


def test_memory_stays_bounded() -> None:
    converter = StreamResampler(24000, 8000)
    pcm = noise(6000)
    for size in range(100):
        converter.process(pcm[: 2 * size])
    tracemalloc.start()
    try:
        for size in range(2000):
            converter.process(pcm[: 2 * (size % 1500)])
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000 and peak < 4_000_000


def test_a_long_piece_takes_no_more_memory_than_its_result() -> None:
    converter = StreamResampler(8000, 16000)
    pcm = noise(8000 * 60)
    converter.process(pcm[:16000])
    tracemalloc.start()
    try:
        out = converter.process(pcm)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * len(out)


def test_filters_are_shared() -> None:
    one, other = StreamResampler(24000, 8000), StreamResampler(24000, 8000)
    assert one._bank is other._bank


def test_streams_do_not_disturb_each_other() -> None:
    pcm, other = noise(4000), noise(4000, seed=9)
    a, b = StreamResampler(24000, 8000), StreamResampler(24000, 8000)
    got = b""
    for at in range(0, 8000, 800):
        got += a.process(pcm[at : at + 800])
        b.process(other[at : at + 800])
    assert got + a.flush() == once(24000, 8000, pcm)


@pytest.mark.parametrize(("in_rate", "out_rate"), [*USUAL, (8000, 8000)])
@pytest.mark.parametrize(
    "twin_of", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_copies_go_on_alone_from_where_they_were_made(
    in_rate: int, out_rate: int, twin_of: Callable[[StreamResampler], StreamResampler]
) -> None:
    length = in_rate // 50
    start, first, second = (noise(length, seed) for seed in (1, 2, 3))
    one, other = StreamResampler(in_rate, out_rate), StreamResampler(in_rate, out_rate)
    for converter in (one, other):
        converter.process(start)
    twin = twin_of(one)
    assert twin.process(first) == other.process(first)  # and leaves no trace in the original:
    expected = StreamResampler(in_rate, out_rate)
    expected.process(start)
    assert one.process(second) + one.flush() == expected.process(second) + expected.flush()
    assert twin.process(second) + twin.flush() == other.process(second) + other.flush()


def test_copies_share_the_filter() -> None:
    made = StreamResampler(8000, 16000)
    made.process(noise(160))
    assert len(pickle.dumps(made)) < 10_000
    assert copy.deepcopy(made)._bank is made._bank


def test_repr_names_the_rates() -> None:
    assert repr(StreamResampler(8000, 16000)) == "StreamResampler(8000, 16000)"
