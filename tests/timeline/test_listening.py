"""The blind test's kernel side: what is heard as X, what is counted, and what stays hidden."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from workbench.audio import Audio
from workbench.metrics.speech_level import active_level
from workbench.timeline import BlindListening
from workbench.timeline.views import PLAY_RATE


def tone(hz: float, peak: float, secs: float = 10.0) -> Audio:
    time = np.arange(round(8000 * secs)) / 8000
    swell = np.where(time > secs - 7, 1.0, 0.1)  # the last 7 s are the loudest
    return Audio((peak * swell * np.sin(2 * np.pi * hz * time)).astype("f4"), 8000)


@pytest.fixture
def listening() -> BlindListening:
    return BlindListening({"low": tone(440, 0.4), "high": tone(1000, 0.04)}, 5, seed=3)


def pitch(listening: BlindListening, letter: str) -> float:
    question = {"kind": "sound", "side": "blind", "choice": letter, "chunk": 0, "speed": 1}
    _, (sound,) = listening._answer(question)
    samples = np.frombuffer(sound, np.int16).astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * PLAY_RATE / len(samples)


def answer(listening: BlindListening, letter: str) -> None:
    trial = listening._progress["trial"]
    listening._answer({"kind": "answer", "letter": letter, "trial": trial})


def test_x_is_what_the_test_says(listening: BlindListening) -> None:
    pitches = {"A": 440, "B": 1000}
    assert pitch(listening, "A") == pytest.approx(440, abs=2)
    assert pitch(listening, "B") == pytest.approx(1000, abs=2)
    heard = set()
    while not listening.test.is_over:
        letter = listening.test.x
        assert pitch(listening, "X") == pytest.approx(pitches[letter], abs=2)
        heard.add(letter)
        answer(listening, letter)
    assert heard == {"A", "B"}
    assert listening.score.right == 5
    assert listening._progress["said"].startswith("5 of 5 right")
    assert "A was low, B was high" in listening._progress["said"]


def test_names_and_what_x_is_stay_in_the_kernel_until_it_is_over(listening: BlindListening) -> None:
    first = json.dumps(listening._progress)
    answer(listening, "A")
    second = json.dumps(listening._progress)
    assert "low" not in first + second
    keep = {"trial", "trials", "test", "over", "said", "duration", "play_rate", "chunk_secs"}
    assert listening._progress.keys() == keep
    assert listening._progress["trial"] == 1


def test_both_are_heard_at_one_level_and_where_they_are_loudest(listening: BlindListening) -> None:
    assert listening._progress["duration"] == pytest.approx(6.0)
    for choice in listening._heard.values():
        assert active_level(choice.source()) + choice.gain_db == pytest.approx(-26, abs=0.5)
        assert choice.source().samples[:4000].max() > 0.9 * choice.source().samples.max()


def test_a_second_click_is_no_second_answer(listening: BlindListening) -> None:
    for _ in range(2):
        listening._answer({"kind": "answer", "letter": "A", "trial": 0})
    assert len(listening.test.answers) == 1


def test_another_test_can_follow(listening: BlindListening) -> None:
    for _ in range(5):
        answer(listening, "B")
    assert listening._progress["over"]
    listening._answer({"kind": "again"})
    assert not listening._progress["over"]
    assert (listening._progress["test"], listening._progress["trial"]) == (1, 0)


def test_without_a_kernel_there_are_words(
    listening: BlindListening, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("workbench.timeline.still.display", lambda data, **_: shown.append(data))
    listening._ipython_display_()
    data, widget = shown
    assert "application/vnd.jupyter.widget-view+json" in widget
    assert data["text/plain"] == "BlindListening(low against high, 0 of 5 trials)"
    assert f'class="wb-still {listening._still}"' in data["text/html"]
    assert "Blind test: low against high" in data["text/html"]
    assert "5 right answers of 5 are more than luck" in data["text/html"]
    hostile = BlindListening({"<b>x</b>": tone(440, 0.4), "y": tone(440, 0.4)})
    assert "<b>x" not in hostile._repr_html_()


def test_two_sounds_are_wanted() -> None:
    empty = Audio(np.zeros(0, np.float32), 8000)
    for sounds in ({"a": tone(440, 0.4)}, {"a": tone(440, 0.4), "b": empty}):
        with pytest.raises(ValueError, match="two are wanted"):
            BlindListening(sounds)


def test_what_cannot_be_answered_is_answered_with_why(listening: BlindListening) -> None:
    sent = []
    listening.send = lambda content, buffers: sent.append(content)
    listening._on_message(listening, {"ask": "7", "kind": "money"}, [])
    assert sent[0]["ask"] == "7"
    assert "'money' is asked for" in sent[0]["error"]
