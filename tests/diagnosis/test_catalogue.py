"""What the catalogue says of the detectors: titles, accuracy, and what is only possible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.benchmarks.synthetic import attempt
from tests.captures import Scene, speech
from tests.planting import FAULTS
from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis import DETECTORS, Finding, Part, diagnose
from workbench.diagnosis.catalogue import ALARMS, FOUND, RECORDED, page
from workbench.diagnosis.detector import Accuracy
from workbench.diagnosis.finding import SURE

MISSED = [
    (kind, good)
    for kind, detector in DETECTORS.items()
    for good in detector.accuracy
    if good.missed
]


def of(kind: str, *span: float, **more) -> Finding:
    """Some finding."""
    given = {
        "side": None, "severity": "info", "value": 1.0, "unit": "", "threshold": 1.0,
        "measurement": "so", "cause": "C.", "remedy": "R.", **more,
    }  # fmt: skip
    return Finding(kind=kind, parts=(Part(*span, 1.0),), **given)


def found(scene: Scene, tmp_path, kind: str) -> list[Finding]:
    return list(diagnose(Call.open(scene.write(tmp_path / "a.mcap")), [kind]))


# -- what they are called --------------------------------------------------------------------------


def test_no_title_is_given_twice():
    assert len({told.title.casefold() for told in DETECTORS.values()}) == len(DETECTORS)


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_title_is_short_and_no_name_of_the_code(kind):
    title = DETECTORS[kind].title
    assert 4 <= len(title) <= 28
    assert "_" not in title
    first, *others = title.split()
    assert first[0].isupper()
    assert not [word for word in others if word[0].isupper()]  # as in a sentence


def test_a_kind_of_somebody_elses_is_its_own_title():
    assert str(of("my_own", 0.0, 0.0)) == "info at 0.00 s: my_own [my_own]: so"


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_finding_is_somewhere_and_of_some_size(number):
    for span, value in (((0.0, number), 1.0), ((number, 1.0), 1.0), ((0.0, 1.0), number)):
        with pytest.raises(ValueError, match="noise at .* finite ones are wanted"):
            of("noise", *span, value=value)
    with pytest.raises(ValueError, match="noise at"):
        replace(of("noise", 0.0, 1.0), parts=())


# -- how good they are -----------------------------------------------------------------------------


def test_every_planted_fault_has_its_figures_and_no_other():
    assert {(kind, good.planted) for kind, told in DETECTORS.items() for good in told.accuracy} == {
        (fault.kind, fault.plant.__name__) for fault in FAULTS
    }


def test_what_misses_a_target_is_named():
    good = Accuracy("stalled", 1.0, 2.0, 12.0)
    assert good.missed == ()
    bad = replace(good, recall=0.94, value_error=10.0, span_ms=40.0)
    assert bad.missed == ("recall", "value", "span")
    assert str(bad).endswith("ends within 40 ms; short of the target in recall and value and span")
    assert replace(good, decibels=True).missed == ("value",)


@pytest.mark.parametrize(("kind", "good"), MISSED, ids=str)
def test_what_misses_a_target_says_that_it_is_possible(kind, good):
    index = next(i for i, fault in enumerate(FAULTS) if fault.plant.__name__ == good.planted)
    trials = [attempt(index, 2.0, seed) for seed in range(3)]
    assert any(trial.found for trial in trials)
    assert all(trial.possible for trial in trials if trial.found)
    assert "possible" in DETECTORS[kind].limits


def test_false_alarms_are_rarer_than_one_in_ten_hours():
    hours, count = ALARMS["with nothing wrong"]
    assert hours >= 5
    assert count < 0.1 * hours
    assert all(count == 0 for _, count in ALARMS.values())


def test_the_page_tells_what_real_calls_gave():
    text = page()
    assert f"{FOUND:.0%} of such faults were found" in text
    for hours, count in RECORDED.values():
        assert f"{count} alarms in {hours:.1f} h" in text


def test_the_page_says_how_good_each_is():
    text = page()
    for told in DETECTORS.values():
        assert all(str(good) in text for good in told.accuracy)
    assert "0 findings in" in text


def test_a_finding_that_is_not_sure_says_possibly_once():
    sure = of("echo", 1.0, 2.0, measurement="it comes back")
    assert sure.measurement == "it comes back"
    assert not sure.possible
    unsure = replace(sure, confidence=SURE - 0.01)
    assert unsure.possible
    assert unsure.measurement == "possibly it comes back"
    assert replace(unsure, severity="error").measurement == "possibly it comes back"
    assert "possibly it comes back" in str(unsure)


# -- noise, words and tones -------------------------------------------------------------------------


def talking(dbov: float = -65.0) -> Scene:
    """A caller who speaks from 2.1 to 7 s."""
    scene = Scene(12.0, noise_dbov=dbov)
    scene.say_bot(8.0, speech("bot/b07"))
    scene.say_caller(2.0, speech("caller/c01"))
    return scene


def test_noise_that_swells_under_words_is_possible(tmp_path):
    scene = talking()
    swell = np.sin(np.linspace(0, np.pi, 40_000)) ** 2 * 10 ** (-33 / 20)
    scene.caller[16_000:56_000] += (scene.rng.standard_normal(40_000) * swell).astype(np.float32)
    (finding,) = found(scene, tmp_path, "noise")
    assert finding.possible
    assert finding.measurement.startswith("possibly noise")
    # It is over the threshold from 2.9 to 6.1 s.
    assert finding.span == pytest.approx((2.9, 6.1), abs=0.6)
    assert -42 < finding.value < -33


def test_words_alone_are_no_noise(tmp_path):
    assert found(talking(), tmp_path, "noise") == []
    loud = talking()
    loud.caller *= np.float32(3)
    assert found(loud, tmp_path, "noise") == []


@pytest.mark.parametrize("partials", [[770, 1336], [130 * k for k in range(1, 25)]])
@pytest.mark.parametrize("at", [0.1, 3.0])
def test_tones_and_vowels_are_no_noise(tmp_path, partials, at):
    scene = talking()
    time = np.arange(14_400) / 8000
    sound = sum(np.sin(2 * np.pi * f * time) / (f / partials[0]) ** 1.5 for f in partials)
    sound *= 10 ** (-25 / 20) / np.sqrt(np.mean(np.square(sound)))
    scene.say_caller(at, Audio(sound.astype(np.float32), 8000))
    assert found(scene, tmp_path, "noise") == []


# -- scraps -----------------------------------------------------------------------------------------


def scrap(level_db: float, at: float, ms: float) -> Scene:
    """An answer after a barge-in that begins with the end of what was cut, so much fainter."""
    scene = Scene(16.0)
    gain = np.float32(10 ** (level_db / 20))
    scene.say_bot(1.0, Audio(speech("bot/b03", 8000).samples * gain, 8000))
    scene.interrupt(at)
    scene.say_caller(at - 0.3, speech("caller/c08"))
    scene.say_bot(8.0, speech("bot/b07"))
    old = b"".join(chunk.payload for chunk in scene.chunks if chunk.time < at)
    first = next(chunk for chunk in scene.chunks if chunk.time >= 8.0)
    first.payload = old[len(old) - round(ms * 8) :] + first.payload
    return scene


def test_a_faint_scrap_is_found(tmp_path):
    (finding,) = found(scrap(-30, 3.0, 40), tmp_path, "stale_audio")
    assert finding.value == pytest.approx(40, rel=0.1)


def test_a_sentence_that_is_said_again_is_no_scrap(tmp_path):
    scene = Scene(16.0)
    audio = speech("bot/b07")  # speech from 0.06 s on
    scene.say_bot(2.0, audio)
    scene.interrupt(2.08)  # after 160 ms of it had been given to the transport
    scene.say_caller(1.9, speech("caller/c08"))
    scene.say_bot(8.0, audio)
    assert found(scene, tmp_path, "stale_audio") == []


def restarted(piece: Audio) -> Scene:
    """An answer after a barge-in that begins with a piece of sound."""
    scene = Scene(18.0)
    scene.say_bot(1.0, speech("bot/b03"))
    scene.interrupt(3.0)
    scene.say_caller(2.7, speech("caller/c08"))
    scene.say_bot(
        8.0, Audio(np.concatenate([piece.samples, speech("bot/b07", 8000).samples]), 8000)
    )
    return scene


@pytest.mark.parametrize(("start", "ms"), [(1.7, 380), (0.4, 200), (0.4, 600), (0.4, 1500)])
def test_a_long_scrap_is_found(tmp_path, start, ms):
    """It ends where the interrupted sentence was cut, or before."""
    scrap = speech("bot/b03", 8000).span(start, start + ms / 1000)
    (finding,) = found(restarted(scrap), tmp_path, "stale_audio")
    assert finding.value == pytest.approx(ms, abs=15)
    assert finding.parts[0].start == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("start", [1.7, 2.3, 0.9])
def test_a_phrase_without_a_pause_of_its_own_is_said_again_after_another(tmp_path, start):
    """Both begin in the middle of a word, so that only the gap before the first one tells."""
    first, other = speech("bot/b03").span(start, start + 1.2), speech("bot/b07").span(0.1, 1.1)
    scene = Scene(18.0)
    scene.say_bot(1.0, other)
    scene.say_bot(4.0, first)
    scene.interrupt(4.9)
    scene.say_caller(4.6, speech("caller/c08"))
    again = np.concatenate([first.span(0, 0.9).samples, other.samples])
    scene.say_bot(9.0, Audio(again, 24000))
    assert found(scene, tmp_path, "stale_audio") == []


@pytest.mark.parametrize(("interrupted", "is_told"), [(2.3, True), (4.3, False)])
def test_who_had_long_fallen_silent_left_nothing_behind(tmp_path, interrupted, is_told):
    """The same words once more, and others behind them: a scrap only of a sentence that went on."""
    words = speech("bot/b03").span(0.4, 1.7)
    scene = Scene(18.0)
    scene.say_bot(1.0, words)
    scene.interrupt(interrupted)
    scene.say_caller(interrupted - 0.3, speech("caller/c08"))
    again = np.concatenate([words.samples, speech("bot/b07").span(0, 2).samples])
    scene.say_bot(8.0, Audio(again, 24000))
    findings = found(scene, tmp_path, "stale_audio")
    assert bool(findings) == is_told
    for finding in findings:
        assert finding.possible and finding.severity == "info"
        assert "said the same words again" in finding.cause


def test_a_phrase_that_is_said_again_is_no_scrap(tmp_path):
    said = speech("bot/b03", 8000)
    assert found(restarted(said.span(0.0, 1.5)), tmp_path, "stale_audio") == []
