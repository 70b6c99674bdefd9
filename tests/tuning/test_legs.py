"""The legs: what they carry, that they keep time, and that they are the same each time."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from pipecat_bandwidth.encodings import PCMU
from tests.captures import speech
from workbench.audio import Audio
from workbench.metrics import distances
from workbench.tuning.legs import LEGS, Leg

VOICE = speech("bot/b02")
EVERY = pytest.mark.parametrize("leg", LEGS.values(), ids=LEGS)


@EVERY
@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_a_leg_keeps_time_and_length(leg: Leg, rate: int) -> None:
    said = VOICE.resampled(rate)
    heard = leg.apply(said)
    assert heard.sample_rate == leg.sample_rate
    assert heard.duration == pytest.approx(said.duration, abs=1 / 8000)
    found = distances.align(said.resampled(8000), heard.resampled(8000))
    assert found.delay_ms == pytest.approx(0.0, abs=0.02)


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
}


@pytest.mark.parametrize("name", CARRIES)
def test_what_a_leg_carries(name: str) -> None:
    reference = VOICE.resampled(16000)
    found = distances.evaluate(reference, LEGS[name].apply(VOICE).resampled(16000))
    (narrow, wide), (least, most) = CARRIES[name]
    assert narrow <= found["bandwidth_hz"] <= wide
    assert least <= found["si_sdr_db"] <= most
    assert found["level_change_db"] == pytest.approx(0, abs=0.6)


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
