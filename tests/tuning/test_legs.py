"""The legs: what they carry, that they keep time, and that they are the same each time."""

from __future__ import annotations

import os
import pickle
import shutil
import sys

import numpy as np
import pytest

from pipecat_bandwidth.encodings import PCMU
from tests.captures import speech
from workbench.audio import Audio
from workbench.exceptions import NotAvailable
from workbench.metrics import distances
from workbench.metrics.alignment import find_delay
from workbench.tuning import amr
from workbench.tuning.concealment import concealed
from workbench.tuning.legs import LEGS, Leg, lacking, legs_named, tandem

VOICE = speech("bot/b02")
HERE = {name: leg for name, leg in LEGS.items() if not lacking(leg)}
EVERY = pytest.mark.parametrize("leg", HERE.values(), ids=HERE)
needs_amr = pytest.mark.skipif("AMR-WB" not in HERE, reason=lacking(LEGS["AMR-WB"]))


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="elsewhere AMR's tests skip")
def test_amr_is_there_where_all_is_tested() -> None:
    assert {"AMR-NB", "AMR-WB"} <= HERE.keys()


@EVERY
@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_a_leg_keeps_time_and_length(leg: Leg, rate: int) -> None:
    said = VOICE.resampled(rate)
    heard = leg.apply(said)
    assert heard.sample_rate == leg.sample_rate
    assert heard.duration == pytest.approx(said.duration, abs=1 / 8000)
    # AMR's high-pass hastens what is low, and no delay makes up for that.
    one, other = (distances.band_limited(a.resampled(8000), (1000, 3000)) for a in (said, heard))
    assert distances.align(one, other).delay_ms == pytest.approx(0.0, abs=0.02)


@EVERY
def test_a_leg_is_the_same_each_time_and_elsewhere(leg: Leg) -> None:
    first = leg.apply(VOICE).samples
    np.testing.assert_array_equal(first, leg.apply(VOICE).samples)
    np.testing.assert_array_equal(first, pickle.loads(pickle.dumps(leg)).apply(VOICE).samples)


@EVERY
def test_a_leg_takes_nothing_silence_and_an_odd_number_of_samples(leg: Leg) -> None:
    rate = leg.sample_rate
    assert len(leg.apply(Audio(np.empty(0, np.float32), rate))) == 0
    assert np.abs(leg.apply(Audio(np.zeros(rate, np.float32), rate)).samples).max() < 2e-3
    assert len(leg.apply(Audio(VOICE.resampled(rate).samples[:4001], rate))) == 4001


@EVERY
def test_a_description_is_a_sentence(leg: Leg) -> None:
    assert leg.description.endswith(".")
    assert LEGS[leg.name] is leg


#: What each carries of 24 kHz speech: bandwidth, and SI-SDR in the telephone band. GSM 15.6 dB and
#: G.722 31.6 dB are what was found on other speech.
CARRIES = {
    "G.711": ((3600, 4000), (36, 40)),
    "G.722": ((6800, 8000), (31, 40)),
    "GSM": ((3400, 4000), (10, 17)),
    "Opus": ((6500, 8000), (18, 32)),
    "AMR-NB": ((3300, 4000), (0, 10)),
    "AMR-WB": ((6300, 8000), (5, 13)),
    "G.711+AMR-NB": ((3300, 4000), (0, 10)),
    "G.711+AMR-WB": ((3600, 4100), (5, 13)),
}


@pytest.mark.parametrize("name", [name for name in CARRIES if name in HERE])
def test_what_a_leg_carries(name: str) -> None:
    reference = VOICE.resampled(16000)
    found = distances.evaluate(reference, LEGS[name].apply(VOICE).resampled(16000))
    (narrow, wide), (least, most) = CARRIES[name]
    assert narrow <= found["bandwidth_hz"] <= wide
    assert least <= found["si_sdr_db"] <= most
    assert found["level_change_db"] == pytest.approx(0, abs=0.8)


def test_g711_is_the_wires_own_coder_bit_for_bit() -> None:
    every = np.arange(-32768, 32768).astype("<i2")
    through = LEGS["G.711"].apply(Audio.from_pcm(every.tobytes(), 8000)).pcm()
    assert through == PCMU.decode(PCMU.encode(every.tobytes()))


def test_pcmu_over_g711_loses_nothing_more() -> None:
    """Mu-law decoded and encoded again is the same, so the second hop is free."""
    once = LEGS["G.711"].apply(VOICE)
    np.testing.assert_array_equal(LEGS["G.711"].apply(once).samples, once.samples)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "G722", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs the package G722: pip install"):
        LEGS["G.722"].apply(VOICE)


# -- tandems, losses, AMR ----------------------------------------------------------------------


def test_a_tandem_is_one_leg_after_the_other() -> None:
    (both,) = legs_named("G.711+G.722")
    one_by_one = LEGS["G.722"].apply(LEGS["G.711"].apply(VOICE).resampled(16000))
    found = distances.evaluate(one_by_one, both.apply(VOICE))
    assert (both.sample_rate, both.bandwidth_hz) == (16000, 4000.0)
    assert found["delay_ms"] == pytest.approx(0, abs=0.02)
    assert found["damage_percent"] < 1
    assert tandem(LEGS["G.711"], LEGS["G.722"]).name == both.name == "G.711+G.722"


LOSING = [name for name, leg in HERE.items() if leg.lossy is not None]


@pytest.mark.parametrize("name", LOSING)
def test_losses_hurt_and_the_receiver_hides_them_in_step(name: str) -> None:
    whole = LEGS[name].apply(VOICE)
    damage = [0.0]
    for percent in (1, 3, 10):
        (leg,) = legs_named(f"{name} {percent}%")
        heard = leg.apply(VOICE)
        np.testing.assert_array_equal(heard.samples, leg.apply(VOICE).samples)
        assert len(heard.samples) == len(whole.samples)
        assert find_delay(whole, heard) == pytest.approx(0, abs=0.1)
        damage.append(distances.heard(whole, heard).damage_percent)
    assert damage == sorted(damage) and damage[-1] > 3


def test_the_same_packets_are_lost_whatever_travels() -> None:
    """Two settings must not differ by their luck."""
    (leg,) = legs_named("G.711 3%")
    lost = []
    for gain in (1.0, 0.9):
        voice = Audio(np.float32(gain) * VOICE.samples, VOICE.sample_rate)
        off = np.abs(leg.apply(voice).samples - LEGS["G.711"].apply(voice).samples)
        lost.append(
            np.flatnonzero(off[: off.size // 160 * 160].reshape(-1, 160).max(axis=1) > 0.01)
        )
    assert len(lost[0]) > 2
    assert len(np.intersect1d(*lost)) > 0.8 * max(map(len, lost))


def test_a_lost_packet_of_a_vowel_goes_on_as_it_was() -> None:
    """A periodic sound with one packet of 20 ms gone: better than a hole by 10 dB and more."""
    time = np.arange(8000) / 8000
    tone = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 12))
    pcm = (6000 * tone).astype(np.int16)
    holed = pcm.copy()
    holed[3200:3360] = 0
    filled = concealed(holed, [20], 160, 8000)
    np.testing.assert_array_equal(filled[:3200], pcm[:3200])
    np.testing.assert_array_equal(filled[3400:], pcm[3400:])
    hole, left = (np.std((one - pcm.astype(float))[3200:3360]) for one in (holed, filled))
    assert left < 0.3 * hole


def test_a_long_loss_fades_to_silence_and_the_beginning_has_nothing_to_go_on() -> None:
    pcm = np.full(8000, 5000, np.int16)
    filled = concealed(pcm, [*range(20, 30), 0], 160, 8000)
    assert np.abs(filled[20 * 160 + 500 : 30 * 160]).max() == 0
    assert np.abs(filled[:160]).max() == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GSM 2%", "no packets can be lost on GSM"),
        ("G.711 200%", "200 % of packets lost, wanted 0 to 100"),
        ("G.711+POTS", r"no far leg 'G.711\+POTS', there are: G.711, .*several joined by \+"),
        ("", "no far leg ''"),
    ],
)
def test_names_that_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        legs_named(name)


def test_without_amr_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amr, "find_library", lambda name: None)
    monkeypatch.setenv("PATH", "")
    amr._found.cache_clear()
    try:
        with pytest.raises(NotAvailable, match="AMR-WB is not available: no ffmpeg is on the path"):
            LEGS["AMR-WB"].apply(VOICE)
    finally:
        amr._found.cache_clear()


@needs_amr
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")
def test_ffmpegs_own_decoder_of_wide_amr_says_what_the_library_says() -> None:
    """Every ffmpeg has one, written by others."""
    codec = amr.AMR_WB
    pcm = np.frombuffer(VOICE.resampled(16000).pcm(), "<i2")
    encoded, decoded = amr._found(codec)
    frames = encoded(pcm[: pcm.size // codec.frame * codec.frame])
    theirs = amr._decoded_by_ffmpeg(codec, str(shutil.which("ffmpeg")), frames)
    both = (Audio.from_pcm(one.tobytes(), 16000) for one in (decoded(frames), theirs))
    assert distances.si_sdr(*both) > 20


@needs_amr
@pytest.mark.parametrize("codec", [amr.AMR_NB, amr.AMR_WB], ids=lambda codec: codec.name)
def test_a_lost_frame_of_amr_is_concealed_and_not_a_hole(codec: amr.Amr) -> None:
    """In a vowel: alone, OpenCORE's AMR-WB falls by 25 dB, and is 15 dB below 40 ms later."""
    pcm = np.frombuffer(VOICE.resampled(codec.sample_rate).pcm(), "<i2")
    whole = codec(pcm)
    power = np.mean(
        whole[: whole.size // codec.frame * codec.frame].reshape(-1, codec.frame) ** 2.0, axis=1
    )
    steady = [n for n in range(2, len(power) - 3) if power[n - 2 : n + 4].min() > 0.2 * power.max()]
    fallen = []
    for number in steady:
        heard = codec(pcm, [number])
        for late in (0, 1, 2):
            there = slice((number + late) * codec.frame, (number + late + 1) * codec.frame)
            before, after = (np.std(one[there].astype(float)) for one in (whole, heard))
            fallen.append(20 * np.log10(before / after))
    assert len(steady) > 3
    assert np.abs(np.median(np.reshape(fallen, (-1, 3)), axis=0)).max() < 8  # in dB


@needs_amr
def test_amr_conceals_what_is_lost_and_comes_back() -> None:
    """Silence of the decoder's making where much is lost, and afterwards what it would have been."""
    for codec, rate in ((amr.AMR_NB, 8000), (amr.AMR_WB, 16000)):
        pcm = np.frombuffer(VOICE.resampled(rate).pcm(), "<i2")
        whole, lossy = codec(pcm), codec(pcm, range(100, 130))
        np.testing.assert_array_equal(lossy[: 98 * codec.frame], whole[: 98 * codec.frame])
        gone = slice(115 * codec.frame, 128 * codec.frame)
        assert np.std(lossy[gone]) < 0.1 * np.std(whole)
        rest = slice(150 * codec.frame, None)
        error = np.std(lossy[rest].astype(float) - whole[rest])
        assert error < 0.5 * np.std(whole[rest].astype(float))
