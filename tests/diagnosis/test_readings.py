"""What bytes are is told, whatever they are declared to be; and what they are declared to be is believed."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from pipecat_bandwidth.encodings import PCMU
from tests.ground.noises import MADE
from tests.ground.planted_sound import alaw_encode
from tests.ground.voices import Phrase, clips
from tests.misread import TEXT, WRONG, as_samples
from workbench.audio import Audio
from workbench.diagnosis.detectors.readings import as_meant, misread

RATES = (8000, 16000, 24000)


def named(audio: Audio, declared: str = "PCM") -> dict[str, float]:
    """Seconds of each reading."""
    found: dict[str, float] = {}
    for one in misread(audio, declared):
        found[one.really.name] = found.get(one.really.name, 0.0) + one.end - one.start
    return found


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_samples_are_named(name: str, rate: int) -> None:
    if "wrapped" in name and rate == 8000:
        pytest.skip("samples of 8 kHz are too far apart to tell")
    for phrase in clips()[1::7]:
        audio = as_samples(WRONG[name](phrase.audio(rate)), rate)
        found = named(audio)
        (really,) = found
        assert name.partition(", two")[0].partition(", one")[0] in really
        assert found[really] > 0.8 * audio.duration or "wrapped" in name


@pytest.mark.parametrize("name", sorted(set(WRONG) - TEXT - {"two channels, two voices"}))
def test_wrong_samples_are_heard_as_they_were_meant(name: str) -> None:
    meant = clips()[2].audio(16000)
    again = as_meant(as_samples(WRONG[name](meant), 16000), "PCM")
    assert again is not None
    size = min(len(again), len(meant)) - 8000
    assert size > 4000
    ours = again.samples[4000 : 4000 + size]
    # An odd byte, or a piece of two bytes of three, may be left out at the beginning.
    theirs = [meant.samples[4000 + shift : 4000 + shift + size] for shift in (-1, 0, 1)]
    assert max(np.corrcoef(ours, one)[0, 1] for one in theirs) > 0.98


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("A-law", lambda a: alaw_encode(a.samples)),
        ("16-bit samples", lambda a: a.pcm()),
        ("16-bit samples with their bytes swapped", WRONG["bytes swapped"]),
        ("text in base64", WRONG["text in base64"]),
    ],
)
def test_wrong_bytes_on_the_wire_are_named(name: str, encode) -> None:
    for phrase in clips()[1::7]:
        read = Audio.from_pcm(PCMU.decode(encode(phrase.audio(8000))), 8000)
        assert set(named(read, "PCMU")) == {name}


@pytest.mark.parametrize("phrase", clips(), ids=lambda phrase: phrase.name)
def test_a_voice_is_what_it_is(phrase: Phrase) -> None:
    for rate in RATES:
        for gain_db in (-20, 0, 12):  # faint, usual, clipped
            audio = phrase.audio(rate)
            audio = Audio(np.clip(audio.samples * np.float32(10 ** (gain_db / 20)), -1, 1), rate)
            coded = Audio.from_pcm(PCMU.decode(PCMU.encode(audio.pcm())), rate)
            assert not named(audio) | named(coded) | named(coded, "PCMU")


@pytest.mark.parametrize("name", MADE)
def test_a_machine_or_a_cough_is_what_it_is(name: str) -> None:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for _ in range(4):
        sound = MADE[name](rng, 4.0)
        for rate in RATES:
            assert not named(sound.resampled(rate))
        assert not named(Audio.from_pcm(PCMU.decode(PCMU.encode(sound.pcm())), 8000), "PCMU")


@pytest.mark.parametrize("share", [0.25, 0.47, 0.5, 0.53, 0.75, 0.9, 0.97, 0.99, 1.0])
def test_a_whistle_is_what_it_is(share: float) -> None:
    """Of a share of the highest frequency: every other sample of it may be slow, or none at all."""
    rng = np.random.default_rng(round(100 * share))
    for rate in RATES:
        cycles = share / 2 * np.arange(2 * rate)
        for noise in (0.0, 0.0003, 0.003):
            for phase in (0.0, 0.25, rng.uniform()):
                tone = 0.2 * np.sin(2 * np.pi * (cycles + phase))
                heard = tone + noise * rng.standard_normal(len(tone))
                assert not named(Audio(heard.astype(np.float32), rate))


def crushed(samples: np.ndarray, bits: int, hold: int = 1) -> np.ndarray:
    """Of so few bits, each value held for so many samples: as old games sound."""
    step = 2.0 ** (1 - bits)
    return np.rint(np.repeat(samples[::hold], hold)[: len(samples)] / step) * step


@pytest.mark.parametrize("hold", [1, 3, 4])
@pytest.mark.parametrize("bits", [3, 4, 5, 6, 7])
def test_sound_of_few_values_is_what_it_is(bits: int, hold: int) -> None:
    """Whatever its loudness is then, so that its steps are no round numbers, and through mu-law."""
    rng = np.random.default_rng(bits)
    for phrase in clips()[::4]:
        for rate in RATES:
            samples = phrase.audio(rate).samples
            loud = crushed(samples / np.abs(samples).max(), bits, hold) * rng.uniform(0.05, 0.9)
            audio = Audio(loud.astype(np.float32), rate)
            coded = Audio.from_pcm(PCMU.decode(PCMU.encode(audio.pcm())), rate)
            assert not named(audio) | named(coded) | named(coded, "PCMU")


def test_noise_that_is_driven_to_full_scale_is_no_random_bytes() -> None:
    noise = np.random.default_rng(7).standard_normal(16000)
    loud = np.clip(np.tanh(4 * noise), -1, 32767 / 32768)
    assert not named(Audio(loud.astype(np.float32), 8000))


@pytest.mark.parametrize("hertz", [110, 233, 440])
def test_a_square_wave_at_full_scale_does_not_wrap_around(hertz: int) -> None:
    time = np.arange(3 * 16000) / 16000
    smooth = np.tanh(20 * (np.sin(2 * np.pi * hertz * time) + 0.3 * np.sin(2 * np.pi * 3 * time)))
    noise = np.random.default_rng(8).standard_normal(len(time)) * 0.01
    assert not named(Audio((0.95 * smooth + noise).astype(np.float32).clip(-1, 0.9999), 16000))


@pytest.mark.parametrize("dbov", [-60.0, -40.0, -20.0, -10.0])
def test_noise_and_silence_are_what_they_are(dbov: float) -> None:
    noise = np.random.default_rng(4).standard_normal(24000) * 10 ** (dbov / 20)
    audio = Audio(np.clip(noise, -1, 1).astype(np.float32), 8000)
    assert not named(audio) | named(audio, "PCMU")
    assert not named(Audio(np.zeros(24000, np.float32), 8000))


def test_compressed_audio_is_told_by_its_packets() -> None:
    """MPEG-2 layer III of 64 kbit/s at 24 kHz has 192 bytes a packet; ADTS says the length."""
    rng = np.random.default_rng(5)

    def packets(header: bytes, size: int) -> Audio:
        filling = [
            header + rng.integers(0, 256, size - len(header), np.uint8).tobytes()
            for _ in range(300)
        ]
        return as_samples(b"".join(filling), 24000)

    assert set(named(packets(bytes([0xFF, 0xF3, 0x84, 0xC4]), 192))) == {"MP3"}
    adts = bytes([0xFF, 0xF1, 0x58, 0x40 | 160 >> 11, 160 >> 3 & 255, (160 & 7) << 5 | 0x1F, 0xFC])
    assert set(named(packets(adts, 160))) == {"AAC"}
    assert set(named(as_samples(rng.integers(0, 256, 60000, np.uint8).tobytes(), 24000))) == {
        "random bytes, no sound in any known encoding"
    }


@pytest.mark.parametrize(("declared", "bits"), [("PCM", 8.1), ("PCMU", 8.8)])
def test_random_bytes_take_as_many_bits_as_were_measured(declared: str, bits: float) -> None:
    """And not a figure that stands somewhere."""
    data = np.random.default_rng(6).integers(0, 256, 40_000, np.uint8).tobytes()
    pcm = PCMU.decode(data) if declared == "PCMU" else data
    (found,) = misread(Audio.from_pcm(pcm, 8000), declared)
    assert found.bits == pytest.approx(bits, abs=0.15)


def test_a_stretch_is_told_where_it_is() -> None:
    voice = clips()[3].audio(16000)
    wrong = as_samples(WRONG["bytes swapped"](voice), 16000)
    found = list(misread(Audio(np.concatenate([voice.samples, wrong.samples]), 16000), "PCM"))
    assert found[0].start == pytest.approx(voice.duration, abs=0.3)
    assert found[-1].end == pytest.approx(2 * voice.duration, abs=0.3)
