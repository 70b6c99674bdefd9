"""What is behind a voice, and how loud it is from one sentence to the next."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis import Finding, diagnose
from workbench.metrics.speech import levels

ANSWERS = ("b03", "b02", "b04", "b05")


def found(scene: Scene, tmp_path, kind: str) -> list[Finding]:
    return list(diagnose(Call.open(scene.write(tmp_path / "a.mcap")), [kind]))


def conversation(*gains_db: float, over: np.ndarray | None = None, secs: float = 4.0) -> Scene:
    """The bot speaks four times, each time with its gain and with something over its words."""
    scene = Scene(32.0)
    for number, name in enumerate(ANSWERS):
        words = speech(f"bot/{name}").span(0.0, secs)
        samples = words.samples * np.float32(10 ** ((gains_db or (0,) * 4)[number] / 20))
        if over is not None:
            samples = samples + over[: len(samples)]
        scene.say_bot(0.8 + 8 * number, Audio(samples.astype(np.float32), words.sample_rate))
    scene.say_caller(5.4, speech("caller/c05").span(0.0, 2.5))
    return scene


def noise(dbov: float, rate: int, secs: float = 6.0, seed: int = 1) -> np.ndarray:
    """White up to 4 kHz."""
    narrow = np.random.default_rng(seed).standard_normal(round(secs * 8000)) * 10 ** (dbov / 20)
    return Audio(narrow.astype(np.float32), 8000).resampled(rate).samples


def mains(dbov: float, rate: int, secs: float = 6.0) -> np.ndarray:
    """Some of which the weighting takes 2 dB."""
    time = np.arange(round(secs * rate)) / rate
    hum = sum(np.sin(2 * np.pi * 50 * k * time) for k in (3, 4, 5))
    return hum * 10 ** (dbov / 20) / np.sqrt(1.5)


# -- noise of the bot ----------------------------------------------------------------------------


def test_hiss_that_comes_and_goes_with_the_bots_words_is_possible(tmp_path):
    (finding,) = found(conversation(over=noise(-34, 24000)), tmp_path, "noise")
    assert (finding.side, finding.possible, finding.severity) == ("bot", True, "warning")
    assert finding.value == pytest.approx(-34, abs=2)
    assert len(finding.parts) >= 3


@pytest.mark.parametrize("burst", [0.3, 0.8])
def test_bursts_between_noisy_words_that_are_too_short_to_count_do_not(tmp_path, burst):
    """Nowhere as long as a second, but together; what is told is what lies under the words."""
    words = speech("caller/c01").resampled(8000)
    loud = np.repeat(levels(words) > -45.0, 80)
    said = np.resize(words.samples[: len(loud)][loud], 4 * 8000) + noise(-32, 8000, 4.0)
    scene = Scene(30.0, noise_dbov=-70)
    for at in (1.0, 22.0):
        scene.say_bot(at, Audio(said.astype(np.float32), 8000))
    for at in np.arange(7.5, 19.0, 2.6 + burst):
        scene.say_bot(at, Audio(noise(-32, 8000, burst), 8000))
    (finding,) = found(scene, tmp_path, "noise")
    assert finding.possible and finding.value == pytest.approx(-32, abs=2)
    assert len(finding.parts) == 2


def test_hum_under_the_bots_words_is_certain(tmp_path):
    (finding,) = found(conversation(over=mains(-34, 24000)), tmp_path, "noise")
    assert (finding.side, finding.possible) == ("bot", False)
    assert -40 < finding.value < -35  # words take some of it away
    assert "hum" in finding.measurement


@pytest.mark.parametrize("made", [noise, mains])
def test_half_of_it_is_not_told(made, tmp_path):
    assert found(conversation(over=made(-51, 24000)), tmp_path, "noise") == []


# -- low noise of the caller ---------------------------------------------------------------------


def test_a_roll_of_drums_that_goes_over_into_music_is_no_car(tmp_path):
    spectrum = np.fft.rfft(np.random.default_rng(2).standard_normal(32000))
    frequency = np.fft.rfftfreq(32000, 1 / 8000)
    roll = np.fft.irfft(spectrum * (frequency > 150) / np.maximum(frequency, 150) ** 1.5)
    roll *= 10 ** (-24 / 20) / np.sqrt(np.mean(roll**2))
    scene = Scene(32.0)
    scene.say_caller(2.0, Audio(roll.astype(np.float32), 8000))
    scene.say_caller(6.0, speech("bot/hold_music").span(0.0, 5.0))
    assert found(scene, tmp_path, "noise") == []


@pytest.mark.parametrize("dbov", [-30, -39])
def test_a_car_is_noise(dbov, tmp_path):
    scene = conversation()
    spectrum = np.fft.rfft(np.random.default_rng(2).standard_normal(len(scene.caller)))
    frequency = np.fft.rfftfreq(len(scene.caller), 1 / 8000)
    low = np.fft.irfft(spectrum * ((frequency > 120) & (frequency < 350)), len(scene.caller))
    scene.caller += (low * 10 ** (dbov / 20) / np.sqrt(np.mean(low**2))).astype(np.float32)
    findings = found(scene, tmp_path, "noise")
    assert {(f.side, f.possible) for f in findings} == {("caller", False)}
    assert max(f.value for f in findings) == pytest.approx(dbov, abs=2.5)


def test_the_mains_hum_behind_a_caller(tmp_path):
    scene = conversation()
    scene.caller += mains(-36, 8000, 33.0)[: len(scene.caller)].astype(np.float32)
    (finding,) = found(scene, tmp_path, "noise")
    assert (finding.side, finding.possible) == ("caller", False)
    assert finding.value == pytest.approx(-38, abs=1.5)
    assert finding.span[1] - finding.span[0] > 25


@pytest.mark.parametrize("pitches", [(250,), (147, 196, 247), (146.83, 196.0, 246.94), (150, 250)])
def test_a_tone_and_a_chord_are_no_hum(pitches, tmp_path):
    scene = conversation()
    time = np.arange(round(3.0 * 24000)) / 24000
    held = 0.1 * sum(np.sin(2 * np.pi * f * time) for f in pitches)
    scene.say_bot(13.5, Audio(held.astype(np.float32), 24000))
    scene.say_caller(21.5, Audio(held.astype(np.float32), 24000))
    assert found(scene, tmp_path, "noise") == []


@pytest.mark.parametrize("hertz", [50, 60])
def test_the_hum_of_a_telephone_without_its_fundamental(hertz, tmp_path):
    scene = conversation()
    time = np.arange(len(scene.caller)) / 8000
    lines = [np.sin(2 * np.pi * hertz * k * time + k) / k for k in range(1, 9)]
    lines[0] /= 30
    scene.caller += (0.05 * sum(lines)).astype(np.float32)
    (finding,) = found(scene, tmp_path, "noise")
    assert (finding.side, finding.possible) == ("caller", False)
    assert "hum" in finding.measurement


# -- from sentence to sentence -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gains", "wrong"),
    [((0, -18, 0, 0), {1}), ((0, 0, -18, -18), {2, 3}), ((-18, 0, -18, -18), {1})],
)
def test_sentences_far_apart(gains, wrong, tmp_path):
    (finding,) = [
        f for f in found(conversation(*gains), tmp_path, "level_mismatch") if f.threshold == 12
    ]
    assert finding.side == "bot"
    assert finding.value == pytest.approx(18, abs=3)
    assert {int(part.start / 8) for part in finding.parts} == wrong
    assert not finding.possible
    assert "than the others (" in finding.measurement


def test_of_two_sentences_one_is_fainter_than_the_other(tmp_path):
    scene = Scene(16.0)
    for at, name, gain in ((0.8, "b03", 1.0), (8.8, "b02", 0.1)):
        words = speech(f"bot/{name}").span(0.0, 4.0)
        scene.say_bot(at, Audio(words.samples * np.float32(gain), words.sample_rate))
    (finding,) = [f for f in found(scene, tmp_path, "level_mismatch") if f.threshold == 12]
    assert finding.possible
    assert "than the other (" in finding.measurement


def one_after_another(*gains_db: float) -> Scene:
    """The same sentence over and over."""
    scene = Scene(5.0 * len(gains_db) + 1)
    words = speech("bot/b03").span(0.0, 4.0)
    for number, db in enumerate(gains_db):
        samples = words.samples * np.float32(10 ** (db / 20))
        scene.say_bot(0.8 + 5 * number, Audio(samples, words.sample_rate))
    return scene


@pytest.mark.parametrize(("others", "possible"), [(2, True), (3, True), (4, False)])
def test_one_sentence_against_few_is_only_possible(others, possible, tmp_path):
    scene = one_after_another(-18, *[0] * others)
    (finding,) = [f for f in found(scene, tmp_path, "level_mismatch") if f.threshold == 12]
    assert finding.possible == possible


def test_what_spreads_over_all_levels_has_no_two_groups(tmp_path):
    """The middles of the upper and the lower half are 15 dB apart."""
    scene = one_after_another(0, -10, -20, -5, -25, -15)
    assert not [f for f in found(scene, tmp_path, "level_mismatch") if f.threshold == 12]


@pytest.mark.parametrize("gains", [(0, 0, 0, 0), (0, -6, 0, 4), (-3, -6, 0, 3)])
def test_what_one_voice_does_is_no_fault(gains, tmp_path):
    assert not [
        f for f in found(conversation(*gains), tmp_path, "level_mismatch") if f.threshold == 12
    ]


def test_a_short_word_may_be_soft(tmp_path):
    scene = conversation()
    word = speech("bot/b06").span(0.0, 0.7)
    scene.say_bot(29.5, Audio(word.samples * np.float32(0.08), word.sample_rate))
    assert not [f for f in found(scene, tmp_path, "level_mismatch") if f.threshold == 12]


@pytest.mark.parametrize(("apart_db", "severity"), [(13.5, "info"), (18.0, "warning")])
def test_one_sentence_near_the_threshold_may_be_a_voice_that_sinks(tmp_path, apart_db, severity):
    (finding,) = found(conversation(0, 0, -apart_db, 0), tmp_path, "level_mismatch")
    assert 12 <= finding.value < 21 and len(finding.parts) == 1
    assert (finding.severity, finding.possible) == (severity, severity == "info")
