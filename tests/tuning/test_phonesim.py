"""The legs beside an independent simulator with the same codecs: alone, in a row, and with losses.

phonesim 0.2.0 (MIT) needs PyTorch, on Linux 5 GB, and an ffmpeg with AMR, of which
``imageio-ffmpeg==0.6.0`` brings one. So it is in no group of ``pyproject.toml``; where somebody has
installed it into this environment, these tests run::

    pip install phonesim==0.2.0 imageio-ffmpeg==0.6.0

Given the same samples, AMR-NB comes out bit for bit the same. So do AMR-WB's frames, but not what
becomes of them: in the telephone band that ffmpeg's OpenCORE decoder, which phonesim asks, leaves an
SI-SDR of 6.4 dB, Debian's 9.2 dB, and Debian's is within 32 dB of ffmpeg's own decoder, which somebody
else wrote.
"""

from __future__ import annotations

import os
from functools import cache, partial
from importlib.util import find_spec
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from tests.captures import SAMPLES
from workbench.audio import Audio
from workbench.metrics import distances, speech_level
from workbench.tuning import amr
from workbench.tuning.amr import AMR_NB, AMR_WB
from workbench.tuning.comparison import compare
from workbench.tuning.concealment import concealed
from workbench.tuning.legs import LEGS, Leg, lacking
from workbench.tuning.objective import objective_for

CODECS = {"G.711": "g711_ulaw", "G.722": "g722", "AMR-NB": "amr_nb", "AMR-WB": "amr_wb"}
MOBILE = ("AMR-NB", "AMR-WB")
VOICES = [Audio.read(path) for path in sorted((SAMPLES / "bot_voices").glob("bot_*.flac"))]
EACH = pytest.mark.parametrize("name", [*CODECS, *(f"G.711+{name}" for name in MOBILE)])
#: Packets that are lost: one in fifty, and two in a row.
LOST = [20, 70, 120, 121, 170]


@cache
def _missing() -> str:
    """Why these tests cannot run here; empty if they can."""
    if find_spec("phonesim") is None:
        return "phonesim is not installed: pip install phonesim==0.2.0 imageio-ffmpeg==0.6.0"
    if "PHONESIM_FFMPEG" not in os.environ and find_spec("imageio_ffmpeg") is not None:
        from imageio_ffmpeg import get_ffmpeg_exe

        os.environ["PHONESIM_FFMPEG"] = get_ffmpeg_exe()
    from phonesim.ffmpeg_backend import available_codecs

    if not available_codecs().keys() >= set(CODECS.values()):
        return "phonesim's ffmpeg has no AMR: set PHONESIM_FFMPEG to one that has"
    return "".join(lacking(LEGS[name]) for name in CODECS)


if _missing():
    pytest.skip(_missing(), allow_module_level=True)


def _through(name: str, samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples over phonesim's leg, at the rate of its last codec."""
    import phonesim

    stages: list[Any] = []
    at = rate
    for part in name.split("+"):
        to = LEGS[part].sample_rate
        if at != to:
            stages.append(phonesim.ResampleStage(at, to))
        stages.append(phonesim.CodecStage(CODECS[part]))
        at = to
    return np.asarray(phonesim.PhoneCallPipeline(stages, rate, at)(samples.astype(np.float32)))


def _coded(name: str, pcm: np.ndarray) -> np.ndarray:
    heard = _through(name, pcm / 32768, LEGS[name].sample_rate)
    return np.clip(np.rint(heard * 32768), -32768, 32767).astype(np.int16)


@EACH
@pytest.mark.parametrize("voice", VOICES, ids=range(len(VOICES)))
def test_level_and_delay_are_those_of_the_simulator(name: str, voice: Audio) -> None:
    """Its resampler is another one, too."""
    leg = LEGS[name]
    ours, theirs = leg.apply(voice), Audio(_through(name, voice.samples, 24000), leg.sample_rate)
    assert len(theirs) == pytest.approx(len(ours), abs=1)
    levels = [speech_level.active_level(one) for one in (ours, theirs)]
    assert levels[0] == pytest.approx(levels[1], abs=0.25)
    assert distances.evaluate(ours, theirs)["delay_ms"] == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("name", ["G.711", "AMR-NB"])
def test_narrow_codecs_are_the_simulators_bit_for_bit(name: str) -> None:
    pcm = np.frombuffer(VOICES[0].resampled(8000).pcm(), "<i2")
    np.testing.assert_array_equal(LEGS[name].coded(pcm), _coded(name, pcm))


def test_what_amr_makes_of_lost_frames_is_the_simulators_bit_for_bit() -> None:
    """Not so of AMR-WB, of which phonesim asks OpenCORE, which makes holes of lost frames."""
    from phonesim.ffmpeg_backend import encode_decode

    pcm = np.frombuffer(VOICES[0].resampled(8000).pcm(), "<i2")
    pcm = pcm[: pcm.size // AMR_NB.frame * AMR_NB.frame]
    erased = np.isin(np.arange(pcm.size // AMR_NB.frame), LOST)
    theirs, _ = encode_decode(pcm / np.float32(32768), 8000, CODECS["AMR-NB"], erased=erased)
    late = np.rint(theirs * 32768)[AMR_NB.delay :]
    np.testing.assert_array_equal(AMR_NB(pcm, LOST), late[: pcm.size])


@pytest.mark.parametrize("rate", [8000, 16000])
def test_what_is_put_in_place_of_lost_packets_is_as_good_as_the_simulators(rate: int) -> None:
    """Both go by Appendix I, theirs in all its steps."""
    from phonesim.plc import conceal

    frame, damage = rate // 50, []
    for voice in VOICES:
        reference = voice.resampled(rate)
        pcm = np.frombuffer(reference.pcm(), "<i2")
        lost = range(5, pcm.size // frame, 25)
        erased = np.isin(np.arange(-(-pcm.size // frame)), lost)
        theirs = conceal(pcm / np.float32(32768), rate, erased, frame)
        ours = concealed(pcm, lost, frame, rate) / np.float32(32768)
        damage.append(
            [distances.heard(reference, Audio(one, rate)).damage_percent for one in (ours, theirs)]
        )
    mine, other = np.mean(damage, axis=0)
    assert mine == pytest.approx(other, rel=0.1)


def test_wide_amr_is_decoded_as_by_ffmpegs_own_decoder() -> None:
    from phonesim.ffmpeg_backend import FFMPEG

    pcm = np.frombuffer(VOICES[0].resampled(16000).pcm(), "<i2")
    pcm = pcm[: pcm.size // AMR_WB.frame * AMR_WB.frame]
    frames = amr._encoded_by_ffmpeg(AMR_WB, FFMPEG, pcm)
    theirs = amr._decoded_by_ffmpeg(AMR_WB, FFMPEG, frames)[AMR_WB.delay :]
    ours = AMR_WB(pcm)[: theirs.size]
    assert distances.si_sdr(*(Audio.from_pcm(one.tobytes(), 16000) for one in (theirs, ours))) > 20


@pytest.mark.parametrize("name", MOBILE)
def test_the_settings_come_in_the_same_order(name: str) -> None:
    """Of two settings, one that loses clearly more on one leg does so on the other."""
    leg = LEGS[name]
    other = Leg("phonesim", "Theirs.", leg.sample_rate, leg.bandwidth_hz, partial(_coded, name))
    objective, clear = objective_for(leg), 0
    for voice in VOICES:
        table = compare(voice, legs=(leg, other)).table
        lost = np.array(
            [objective.of(table[table.leg == each.name]).to_numpy() for each in (leg, other)]
        )
        apart = np.array([one - two for one, two in combinations(lost.T, 2)])
        seen = np.abs(apart).max(axis=1) > objective.matters
        assert (apart[seen, 0] * apart[seen, 1] > 0).all()
        assert np.abs(apart[seen]).min(initial=np.inf) > objective.matters
        clear += int(seen.sum())
    assert clear == (16 if name == "AMR-WB" else 0)  # wide settings over narrow ones, each voice
