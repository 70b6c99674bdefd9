"""Known answers, invariances, and what happens to input that no metric can take."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pystoi
import pytest
from numpy.typing import NDArray
from scipy import fft, signal

from pipecat_bandwidth.encodings import PCMU
from tests.captures import SAMPLES, speech
from workbench.audio import Audio
from workbench.metrics import distances, speech_level
from workbench.metrics.distances import MetricWarning
from workbench.metrics.prepared import Prepared

VOICE = speech("bot/b05", 16000)
PAIRED = [distances.lsd, distances.seg_snr, distances.si_sdr, distances.estoi]


def tone(
    level_dbov: float = -3.0103, secs: float = 10.0, hz: float = 997, rate: int = 8000
) -> Audio:
    t = np.arange(round(secs * rate)) / rate
    amplitude = np.sqrt(2) * 10 ** (level_dbov / 20)
    return Audio((amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32), rate)


def noise(level_dbov: float = -20.0, secs: float = 5.0, rate: int = 16000, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).standard_normal(round(secs * rate))
    return Audio((samples * 10 ** (level_dbov / 20)).astype(np.float32), rate)


def plus(audio: Audio, other: NDArray[np.float32] | Audio) -> Audio:
    return Audio(audio.samples + np.asarray(other, np.float32), audio.sample_rate)


def times(audio: Audio, gain: float) -> Audio:
    return Audio(audio.samples * np.float32(gain), audio.sample_rate)


def later(audio: Audio, samples: float) -> Audio:
    """The same, later by any number of samples, band-limited interpolation."""
    n = len(audio.samples) + 4096
    turn = np.exp(-2j * np.pi * np.arange(n // 2 + 1) * samples / n)
    moved = fft.irfft(fft.rfft(audio.samples.astype(np.float64), n) * turn, n)
    return Audio(moved[: len(audio.samples)].astype(np.float32), audio.sample_rate)


def through_ulaw(audio: Audio) -> Audio:
    narrow = audio.resampled(8000)
    coded = PCMU.decode(PCMU.encode(narrow.pcm()))
    return Audio.from_pcm(coded, 8000).resampled(audio.sample_rate)


# -- level -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 48000])
def test_a_full_scale_sine_has_minus_3_dbov(rate: int) -> None:
    assert distances.active_level(tone(rate=rate)) == pytest.approx(-3.01, abs=0.02)
    assert distances.peak(tone(rate=rate)) == pytest.approx(0.0, abs=0.02)


def test_a_tone_that_pauses_half_the_time_keeps_its_level() -> None:
    """P.56: what is measured is the speech; the 200 ms of hangover cost what they last."""
    samples = tone(-23.0, secs=20).samples.copy()
    samples[len(samples) // 2 :] = 0
    half = Audio(samples, 8000)
    assert distances.active_level(half) == pytest.approx(-23.0, abs=0.15)
    assert half.level == pytest.approx(-26.0, abs=0.02)
    assert speech_level.speech_activity(half).mean() == pytest.approx(0.515, abs=0.01)


@pytest.mark.parametrize("gain_db", [-40, -20, -6, 3])
def test_active_level_follows_the_gain(gain_db: float) -> None:
    louder = times(VOICE, 10 ** (gain_db / 20))
    change = distances.active_level(louder) - distances.active_level(VOICE)
    assert change == pytest.approx(gain_db, abs=0.05)


def test_active_level_does_not_see_added_pauses() -> None:
    padded = np.pad(VOICE.samples, (80000, 160000))
    longer = Audio(padded, VOICE.sample_rate)
    assert distances.active_level(longer) == pytest.approx(distances.active_level(VOICE), abs=0.2)
    assert longer.level < VOICE.level - 3


def p56_method_b(audio: Audio) -> float:
    """The standard, taken literally: every sample, one threshold after the other, 0.05 dB apart."""
    x = audio.samples.astype(np.float64)
    g = np.exp(-1 / (audio.sample_rate * 0.03))
    p = signal.lfilter([1 - g], [1, -g], np.abs(x))
    q = signal.lfilter([1 - g], [1, -g], p)
    hangover = round(0.2 * audio.sample_rate)
    for threshold_db in np.arange(0, -60, -0.05):
        above = np.flatnonzero(q >= 10 ** (threshold_db / 20))
        if above.size:
            gaps = np.diff(np.append(above, len(x)))
            level = 10 * np.log10(np.sum(x**2) / np.minimum(gaps, hangover + 1).sum())
            if level - threshold_db >= 15.9:
                return float(level)
    raise AssertionError("no threshold fits")


@pytest.mark.parametrize("name", ["bot/b01", "bot/b07", "caller/c01", "caller/c09"])
def test_active_level_is_that_of_the_standard(name: str) -> None:
    """Within what interpolating between thresholds 6 dB apart, as the standard allows, costs."""
    voice = Audio(np.pad(speech(name, 8000).samples, 12000), 8000)
    assert distances.active_level(voice) == pytest.approx(p56_method_b(voice), abs=0.15)


def test_digital_silence_has_no_level() -> None:
    silence = Audio(np.zeros(8000, np.float32), 8000)
    assert distances.active_level(silence) == distances.peak(silence) == -np.inf
    assert not speech_level.speech_activity(silence).any()


@pytest.mark.parametrize("extra", [0, 1, 7, 15])
def test_seconds_of_speech_are_its_samples(extra: int) -> None:
    """Whether the last of them fill a millisecond or not."""
    voice = Audio(np.append(VOICE.samples[:60000], VOICE.samples[30000 : 30000 + extra]), 16000)
    marked = np.count_nonzero(speech_level.speech_activity(voice)) / 16000
    assert speech_level.speech_secs(voice) == pytest.approx(marked, abs=1e-9)


def test_dither_is_not_speech() -> None:
    dither = np.random.default_rng(0).integers(-1, 2, 48000).astype(np.float32) / 32768
    assert not speech_level.speech_activity(Audio(dither, 16000)).any()


# -- loudness ----------------------------------------------------------------------------------

RATES = [8000, 16000, 22050, 24000, 44100, 48000]

#: One channel of a stereo signal is this much fainter than both.
ONE_OF_TWO = -3.01


def steps(*levels_and_secs: tuple[float, float], rate: int = 16000) -> Audio:
    """A sine of 1 kHz whose peak goes through levels in dB re full scale."""
    pieces = [tone(peak - 3.0103, secs, 1000, rate).samples for peak, secs in levels_and_secs]
    return Audio(np.concatenate(pieces), rate)


@pytest.mark.parametrize("rate", RATES)
def test_a_full_scale_sine_in_one_channel_has_minus_3_01_lufs(rate: int) -> None:
    """BS.1770-4, annex 1: 0 dB re full scale, 997 Hz, one channel."""
    assert distances.loudness(tone(rate=rate)) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("rate", [8000, 48000])
@pytest.mark.parametrize(
    ("signal", "lufs"),
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
    ids=["case 1", "case 2", "case 3", "case 4", "case 5"],
)
def test_loudness_is_gated_as_ebu_tech_3341_asks(
    signal: list[tuple[float, float]], lufs: float, rate: int
) -> None:
    """Table 1 of EBU Tech 3341, each within 0.1 LU; its signals are the same in two channels."""
    assert distances.loudness(steps(*signal, rate=rate)) == pytest.approx(
        lufs + ONE_OF_TWO, abs=0.1
    )


def bs1770(audio: Audio) -> float:
    """The standard, taken literally: its coefficients in the time domain, at 48 kHz, one channel."""
    x = audio.resampled(48000).samples.astype(np.float64)
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    x = signal.lfilter(shelf, [1, -1.69065929318241, 0.73248077421585], x)
    x = signal.lfilter([1, -2, 1], [1, -1.99004745483398, 0.99007225036621], x)
    starts = range(0, len(x) - 19200 + 1, 4800)
    power = np.array([np.mean(x[start : start + 19200] ** 2) for start in starts])

    def lufs(power: NDArray[np.float64]) -> NDArray[np.float64]:
        return -0.691 + 10 * np.log10(np.maximum(power, 1e-30))

    power = power[lufs(power) > -70]
    power = power[lufs(power) > lufs(power.mean()) - 10]
    return float(lufs(power.mean()))


@pytest.mark.parametrize("name", ["bot/b01", "bot/b08", "caller/c01", "bot/hold_music"])
@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_loudness_of_speech_is_the_standards_at_any_rate(name: str, rate: int) -> None:
    voice = Audio(np.pad(speech(name, rate).samples, rate), rate)
    assert distances.loudness(voice) == pytest.approx(bs1770(voice), abs=0.05)


@pytest.mark.parametrize(("hz", "weight"), [(50, -4.6), (100, -1.8), (997, 0.0), (3000, 3.1)])
def test_loudness_weights_frequencies_the_same_at_every_rate(hz: float, weight: float) -> None:
    found = [distances.loudness(tone(-20, 5, hz, rate)) + 20 for rate in RATES]
    assert found == pytest.approx([weight] * len(RATES), abs=0.06)
    assert np.ptp(found) < 0.01


def test_loudness_of_speech_does_not_see_added_pauses() -> None:
    padded = Audio(np.pad(VOICE.samples, (80000, 160000)), 16000)
    assert distances.loudness(padded) == pytest.approx(distances.loudness(VOICE), abs=0.1)


def test_loudness_of_silence_and_of_what_is_below_the_gate() -> None:
    assert distances.loudness(Audio(np.zeros(8000, np.float32), 8000)) == -np.inf
    assert distances.loudness(tone(-72)) == -np.inf
    assert distances.loudness(tone(-68)) == pytest.approx(-68, abs=0.02)


def test_loudness_needs_a_block() -> None:
    with pytest.warns(MetricWarning, match=r"loudness is undefined: it lasts 0.30 s, wanted 0.4"):
        assert np.isnan(distances.loudness(tone(secs=0.3)))
    assert distances.loudness(tone(secs=0.4)) == pytest.approx(-3.01, abs=0.3)


def test_loudness_of_an_hour_is_that_of_a_minute() -> None:
    minute = Audio(np.tile(speech("bot/b05", 8000).samples, 5), 8000)
    hour = Audio(np.tile(minute.samples, 60), 8000)
    assert hour.duration > 3000
    assert distances.loudness(hour) == pytest.approx(distances.loudness(minute), abs=0.02)


# -- pauses --------------------------------------------------------------------------------------


def test_noise_floor_is_the_level_of_the_pauses() -> None:
    pauses = np.pad(VOICE.samples, 16000)
    noisy = Audio(pauses + noise(-55, len(pauses) / 16000).samples, 16000)
    assert distances.noise_floor(noisy) == pytest.approx(-55, abs=0.5)
    assert distances.noise_floor(Audio(pauses, 16000)) == -np.inf


@pytest.mark.parametrize("audio", [tone(), Audio(np.zeros(8000, np.float32), 8000)])
def test_noise_floor_needs_speech_and_pauses(audio: Audio) -> None:
    with pytest.warns(MetricWarning, match="noise floor is undefined: there is"):
        assert np.isnan(distances.noise_floor(audio))


# -- clipping, bandwidth -----------------------------------------------------------------------


def test_clipping_of_a_square_wave_is_all_of_it() -> None:
    square = np.where(np.arange(8000) % 80 < 40, 0.5, -0.5).astype(np.float32)
    assert distances.clipped_fraction(Audio(square, 8000)) == 1.0


def test_clipped_runs_of_three_and_more_count() -> None:
    samples = tone(-20).samples.copy()
    samples[1000:1003] = 0.9
    samples[2000:2002] = 0.9
    samples[3000:3010] = -0.9
    samples[-4:] = 0.9
    assert distances.clipped_fraction(Audio(samples, 8000)) == pytest.approx(17 / len(samples))


@pytest.mark.parametrize("over_db", [3, 6, 12])
def test_clipping_is_found_after_attenuation(over_db: float) -> None:
    clipped = np.clip(VOICE.samples * 10 ** (over_db / 20) / np.abs(VOICE.samples).max(), -1, 1)
    assert distances.clipped_fraction(Audio(0.3 * clipped, 16000)) > 1e-4


@pytest.mark.parametrize("name", sorted(p.name for p in SAMPLES.rglob("*_*k*.*")))
def test_clean_voices_do_not_clip(name: str) -> None:
    (path,) = SAMPLES.rglob(name)
    voice = Audio.read(path)
    assert distances.clipped_fraction(voice) == 0.0
    assert distances.clipped_fraction(through_ulaw(voice).resampled(8000)) == 0.0


@pytest.mark.parametrize("edge", [3000, 3800, 7000])
def test_bandwidth_is_where_the_filter_ends(edge: int) -> None:
    filtered = distances.band_limited(speech("bot/b05"), (50, edge))
    assert distances.effective_bandwidth(filtered) == pytest.approx(edge, abs=200)


def test_narrowband_stays_narrow_at_a_higher_rate() -> None:
    upsampled = VOICE.resampled(8000).resampled(24000)
    assert distances.effective_bandwidth(upsampled) == pytest.approx(3850, abs=100)
    assert distances.effective_bandwidth(speech("bot/b05")) > 9000


@pytest.mark.parametrize(("below_db", "reach"), [(45, 6000), (55, 3000)])
def test_bandwidth_goes_50_db_down(below_db: float, reach: int) -> None:
    low = distances.band_limited(noise(secs=20), (300, 3000))
    high = distances.band_limited(noise(secs=20, seed=1), (3000, 6000))
    both = plus(low, times(high, 10 ** (-below_db / 20)))
    assert distances.effective_bandwidth(both) == pytest.approx(reach, abs=300)


def test_bandwidth_needs_speech() -> None:
    with pytest.warns(MetricWarning, match="less than 0.1 s of speech"):
        assert np.isnan(distances.effective_bandwidth(Audio(np.zeros(9, np.float32), 8000)))


# -- alignment ---------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, 1, 160, 4000, -777, 24000])
def test_align_finds_whole_samples_exactly(delay: int) -> None:
    samples = np.pad(VOICE.samples, (max(delay, 0), 100))[max(-delay, 0) :]
    found = distances.align(VOICE, Audio(samples, 16000))
    assert found.delay_ms == pytest.approx(delay / 16, abs=1e-3)
    np.testing.assert_allclose(found.degraded.samples, found.reference.samples, atol=1e-6)


@pytest.mark.parametrize("delay", [0.25, -0.4, 37.3, 64.5])
def test_align_finds_fractions_of_a_sample(delay: float) -> None:
    found = distances.align(VOICE, later(VOICE, delay))
    assert found.delay_ms * 16 == pytest.approx(delay, abs=0.01)
    assert distances.si_sdr(found.reference, found.degraded) > 45


def test_align_works_through_mu_law_and_noise() -> None:
    late = later(through_ulaw(VOICE), 333)
    noisy = plus(late, noise(-35, late.duration))
    assert distances.align(VOICE, noisy).delay_ms * 16 == pytest.approx(333, abs=0.2)


@pytest.mark.parametrize(
    ("degraded", "reason"),
    [
        (Audio(np.zeros(16000, np.float32), 16000), "silent"),
        (noise(-20, 5.0), "neither signal resembles the other"),
    ],
)
def test_align_says_when_there_is_nothing_to_align(degraded: Audio, reason: str) -> None:
    with pytest.warns(MetricWarning, match=reason):
        found = distances.align(VOICE, degraded)
    assert np.isnan(found.delay_ms)
    assert len(found.reference) == len(found.degraded) == len(degraded)


# -- distances ---------------------------------------------------------------------------------


@pytest.mark.parametrize("gain_db", [-12, -1, 6])
def test_lsd_of_a_changed_level_is_the_change(gain_db: float) -> None:
    """Every bin of every frame differs by the same, and noise has no bin near the floor."""
    louder = times(noise(), 10 ** (gain_db / 20))
    assert distances.lsd(noise(), louder, (100, 7000)) == pytest.approx(abs(gain_db), abs=0.02)


def test_lsd_of_half_a_band_is_what_hand_computation_says() -> None:
    """Bins above 4 kHz 10 dB down, half of all: sqrt(mean([0, 100])) = 7.07 dB."""
    white = noise(secs=20)
    spectrum = fft.rfft(white.samples)
    spectrum[len(spectrum) // 2 :] *= 10 ** (-10 / 20)
    shaped = Audio(fft.irfft(spectrum, len(white.samples)).astype(np.float32), 16000)
    assert distances.lsd(white, shaped, (1, 7999)) == pytest.approx(np.sqrt(50), abs=0.15)
    assert distances.lsd(white, shaped, (500, 3500)) == pytest.approx(0, abs=0.1)


def test_lsd_does_not_look_into_rounding_noise() -> None:
    """A missing band that was never audible is no difference."""
    narrow = VOICE.resampled(8000).resampled(16000)
    rounded = Audio.from_pcm(narrow.pcm(), 16000)
    assert distances.lsd(narrow, rounded, distances.WIDE_BAND) < 0.2


@pytest.mark.parametrize("snr_db", [0, 10, 30])
def test_seg_snr_of_stationary_noise_is_the_snr(snr_db: float) -> None:
    degraded = plus(noise(), noise(-20 - snr_db, seed=1))
    assert distances.seg_snr(noise(), degraded) == pytest.approx(snr_db, abs=0.1)


def test_seg_snr_keeps_to_its_limits() -> None:
    assert distances.seg_snr(VOICE, VOICE) == 35.0
    assert distances.seg_snr(times(VOICE, 0.1), noise(-9, VOICE.duration)) == -10.0


def test_si_sdr_by_hand() -> None:
    """d = 2r + e with e orthogonal to r and a tenth of 2r's power: 10 dB."""
    t = np.arange(16000) / 16000
    r = 0.2 * np.sin(2 * np.pi * 500 * t)
    e = 0.4 * np.sqrt(0.1) * np.sin(2 * np.pi * 700 * t)
    reference, degraded = (Audio(x.astype(np.float32), 16000) for x in (r, 2 * r + e))
    assert distances.si_sdr(reference, degraded) == pytest.approx(10, abs=1e-3)
    assert distances.si_sdr(reference, times(degraded, -0.1)) == pytest.approx(10, abs=1e-3)
    assert distances.si_sdr(reference, reference) == np.inf


@pytest.mark.parametrize("rate", [8000, 10000, 16000, 24000])
@pytest.mark.parametrize("level_dbov", [-60, -40, -20])
def test_estoi_is_pystois(rate: int, level_dbov: float) -> None:
    reference = speech("bot/b02", rate)
    degraded = plus(
        reference, noise(level_dbov, reference.duration, rate).samples[: len(reference)]
    )
    x, y = (audio.samples.astype(np.float64) for audio in (reference, degraded))
    theirs = pystoi.stoi(x, y, rate, extended=True)
    assert distances.estoi(reference, degraded) == pytest.approx(theirs, abs=1e-9)


def test_every_distance_grows_with_every_step_of_noise() -> None:
    signs = {"lsd_db": 1, "seg_snr_db": -1, "si_sdr_db": -1, "estoi": -1}
    found = [
        distances.evaluate_aligned(VOICE, plus(VOICE, noise(level, VOICE.duration)), signs)
        for level in (-70, -55, -40, -25)
    ]
    for name, sign in signs.items():
        values = sign * np.array([row[name] for row in found])
        assert (np.diff(values) > 0).all(), (name, values)


# -- evaluate ----------------------------------------------------------------------------------


def test_evaluate_keeps_delay_and_level_out_of_the_errors() -> None:
    plain = distances.evaluate(VOICE, through_ulaw(VOICE))
    moved = distances.evaluate(VOICE, times(later(through_ulaw(VOICE), 100.3), 0.25))
    assert moved["delay_ms"] == pytest.approx(100.3 / 16, abs=0.01)
    assert moved["level_change_db"] == pytest.approx(-12.04, abs=0.05)
    for name in ("lsd_db", "lsd_wide_db", "seg_snr_db", "estoi", "bandwidth_hz"):
        assert moved[name] == pytest.approx(plain[name], rel=0.01, abs=0.02), name


def test_mu_law_costs_what_mu_law_costs() -> None:
    """38 dB of SNR: G.711's own figure for speech at a usual level."""
    found = distances.evaluate(VOICE, through_ulaw(VOICE))
    assert found["si_sdr_db"] == pytest.approx(38, abs=1.5)
    assert found["seg_snr_db"] == pytest.approx(35, abs=1)
    assert found["bandwidth_hz"] == pytest.approx(3850, abs=150)
    assert found["lsd_wide_db"] > found["lsd_db"] + 5


def test_a_prepared_reference_gives_the_same_numbers() -> None:
    """However often it is used, and whatever is asked of it first."""
    prepared = Prepared(VOICE)
    for degraded in (through_ulaw(VOICE), plus(VOICE, noise(-50, VOICE.duration))):
        expected = distances.evaluate_aligned(VOICE, degraded)
        for names in (["estoi"], ["lsd_wide_db", "seg_snr_db"], None):
            found = distances.evaluate_aligned(prepared, degraded, names)
            for name, value in found.items():
                np.testing.assert_equal(value, expected[name], err_msg=name)
    assert distances.lsd(prepared, through_ulaw(VOICE)) == distances.lsd(VOICE, through_ulaw(VOICE))


def test_what_is_prepared_is_checked() -> None:
    with pytest.raises(ValueError, match="no samples"):
        Prepared(Audio(np.empty(0, np.float32), 16000))
    other = Prepared(VOICE.resampled(8000))
    with pytest.raises(ValueError, match="wanted one rate"):
        distances.lsd(Prepared(VOICE), other)


def test_evaluate_names_the_metrics_there_are() -> None:
    with pytest.raises(ValueError, match=r"no metric \['pesq'\], there are: active_level_dbov,"):
        distances.evaluate_aligned(VOICE, VOICE, ["pesq"])


# -- what cannot be measured -------------------------------------------------------------------


@pytest.mark.parametrize("metric", PAIRED)
@pytest.mark.parametrize(
    ("reference", "degraded", "reason"),
    [
        (Audio(np.zeros(64000, np.float32), 16000), VOICE, "holds 0.00 s of speech"),
        (VOICE, Audio(np.zeros(64000, np.float32), 16000), "degraded signal is silent"),
        (VOICE.span(1, 1.1), VOICE.span(1, 1.1), "s of speech, wanted"),
        (Audio(np.zeros(1, np.float32), 16000), VOICE, "s of speech, wanted"),
    ],
    ids=["reference silent", "degraded silent", "too short", "one sample"],
)
def test_no_speech_is_no_number(
    metric: Callable[[Audio, Audio], float], reference: Audio, degraded: Audio, reason: str
) -> None:
    with pytest.warns(MetricWarning, match=reason):
        assert np.isnan(metric(reference, degraded))


@pytest.mark.parametrize("metric", [*PAIRED, distances.align, distances.evaluate])
@pytest.mark.parametrize(
    ("degraded", "message"),
    [
        (VOICE.resampled(8000), "reference at 16000 Hz and degraded at 8000 Hz, wanted one rate"),
        (times(VOICE, 32768), r"degraded: samples reach \d+\.?\d*, wanted \[-1, 1\)"),
        (Audio(np.empty(0, np.float32), 16000), "degraded: no samples"),
    ],
    ids=["other rate", "int16 scale", "empty"],
)
def test_pairs_that_are_refused(
    metric: Callable[[Audio, Audio], object], degraded: Audio, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric(VOICE, degraded)


@pytest.mark.parametrize(
    "samples",
    [
        np.ones(9, np.int16),
        np.ones((9, 2), np.float32),
        np.array([0.0, np.nan], np.float32),
        np.array([0.0, np.inf], np.float32),
    ],
    ids=["int16", "stereo", "NaN", "infinity"],
)
def test_audio_itself_refuses_the_rest(samples: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="expected|finite"):
        Audio(samples, 8000)


@pytest.mark.parametrize(
    "single",
    [distances.active_level, distances.loudness, distances.peak, distances.clipped_fraction],
)
def test_single_signals_are_checked_too(single: Callable[[Audio], float]) -> None:
    with pytest.raises(ValueError, match="no samples"):
        single(Audio(np.empty(0, np.float32), 8000))
    with pytest.raises(ValueError, match="divide int16"):
        single(times(VOICE, 32768))


@pytest.mark.parametrize("band", [(3400, 100), (-1, 100), (9000, 9500)])
def test_bands_that_are_refused(band: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="band from"):
        distances.lsd(VOICE, VOICE, band)


def test_lengths_may_differ() -> None:
    shorter = Audio(VOICE.samples[:-1000], 16000)
    assert distances.lsd(VOICE, shorter) == 0.0
    assert distances.si_sdr(shorter, VOICE) == np.inf


def test_a_long_call_is_measured_like_a_short_one() -> None:
    """Five minutes: no limit on utterances, and no memory that grows with the square."""
    long = Audio(np.tile(VOICE.resampled(8000).samples, 30), 8000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = distances.estoi(long, plus(long, noise(-40, long.duration, 8000)))
    once = VOICE.resampled(8000)
    expected = distances.estoi(once, plus(once, noise(-40, once.duration, 8000)))
    assert long.duration > 300
    assert found == pytest.approx(expected, abs=0.01)
