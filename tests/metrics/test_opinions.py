"""Optional models: a number only if everything went well, and else the reason."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest

from tests.captures import speech
from workbench.audio import Audio
from workbench.metrics import opinions
from workbench.metrics.opinions import PESQ, VISQOL, Model, Opinion, opinion
from workbench.tuning.comparison import SETTINGS, compare
from workbench.tuning.legs import LEGS

VOICE = speech("bot/b05", 16000)
HEARD = LEGS["G.711"].apply(VOICE).resampled(16000)
SILENCE = Audio(np.zeros(160_000, np.float32), 16000)


def model(name: str) -> Model:
    return Model(name, (16000, 8000), (1.0, 5.0), f"tests.scorers:{name}")


def test_a_score_is_the_mean_over_segments() -> None:
    long = Audio(np.tile(VOICE.samples, 3), 16000)
    found = opinion(model("fine"), long, long)
    assert found.segments == round(long.duration / 10) > 1
    assert found.score == pytest.approx(2.0 + long.duration / found.segments / 100, abs=1e-3)
    assert (found.reason, float(found), str(found)) == ("", found.score, f"{found.score:.2f}")


def test_signals_are_aligned_and_brought_to_one_level() -> None:
    late = Audio(np.pad(VOICE.samples * np.float32(0.1), (4000, 0)), 16000)
    assert opinion(model("identity"), VOICE, late).score > 4.999


def test_a_worker_starts_in_no_time() -> None:
    assert opinion(model("heavy"), VOICE, HEARD).score == 1.0


@pytest.mark.parametrize(
    ("scorer", "reason"),
    [
        ("abort", "abort crashed: SIGABRT"),
        ("leave", "leave ended with code 3"),
        ("quiet_end", "quiet_end gave no answer"),
        ("raises", "ValueError: cannot convert NaN to int"),
        ("nan", "nan gave nan, its scale is 1 to 5"),
        ("too_much", "too_much gave 5.5, its scale is 1 to 5"),
        ("text", "ValueError: could not convert string to float: 'good'"),
        ("nowhere", "AttributeError: module 'tests.scorers' has no attribute 'nowhere'"),
    ],
)
def test_whatever_goes_wrong_is_the_reason(scorer: str, reason: str) -> None:
    found = opinion(model(scorer), VOICE, HEARD)
    assert np.isnan(found.score)
    assert found.reason == reason
    assert str(found) == f"not available: {reason}"


def test_a_worker_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real: Callable[..., None] = subprocess.Popen.__init__

    def kept(self: subprocess.Popen[bytes], *args: object, **kwargs: object) -> None:
        real(self, *args, **kwargs)
        started.append(self)

    monkeypatch.setattr(subprocess.Popen, "__init__", kept)
    found = opinion(model("hang"), VOICE, HEARD, time_limit=1.0)
    assert found.reason == "hang took more than 1 s"
    assert [process.returncode is None for process in started] == [False]


def test_one_segment_that_fails_is_enough() -> None:
    long = Audio(np.tile(VOICE.samples, 3), 16000)
    assert opinion(model("second_fails"), long, long).reason.startswith("second_fails gave nan")


def test_a_missing_package_is_named() -> None:
    gone = Model("Gone", (16000,), (1.0, 5.0), "no_such_package:score")
    assert opinion(gone, VOICE, HEARD).reason == "the package no_such_package is not installed"


@pytest.mark.parametrize("real", [PESQ, VISQOL], ids=lambda m: m.name)
def test_the_real_ones_work_or_say_why_not(real: Model) -> None:
    package = {"PESQ": "pesq", "ViSQOL": "visqol"}[real.name]
    found = opinion(real, VOICE, HEARD)
    if find_spec(package) is None:
        assert found.reason == f"the package {package} is not installed"
        return
    assert not found.reason, found.reason
    clean = opinion(real, VOICE, VOICE)
    assert 2.0 < found.score < 4.0 < clean.score


# -- what no model is asked --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "degraded", "reason"),
    [
        (SILENCE, VOICE, "the reference holds 0.0 s of speech"),
        (VOICE, SILENCE, "the degraded signal holds 0.0 s of speech"),
        (VOICE.span(0, 2.5), VOICE, "the reference holds 2.* s of speech in 2.5 s, wanted 1 in 3"),
    ],
)
def test_too_little_speech_is_not_judged(reference: Audio, degraded: Audio, reason: str) -> None:
    found = opinion(model("fine"), reference, degraded)
    assert np.isnan(found.score)
    assert found.reason.startswith(reason.partition(".*")[0])


def test_a_rate_that_it_does_not_take() -> None:
    narrow = VOICE.resampled(8000)
    assert opinion(VISQOL, narrow, narrow).reason == "ViSQOL needs 16000 Hz, this is at 8000 Hz"


def test_int16_in_disguise_and_two_rates_are_mistakes() -> None:
    with pytest.raises(ValueError, match="divide int16 by 32768"):
        opinion(model("fine"), VOICE, Audio(VOICE.samples * 32768, 16000))
    with pytest.raises(ValueError, match="wanted one rate"):
        opinion(model("fine"), VOICE, VOICE.resampled(8000))


# -- in a comparison ---------------------------------------------------------------------------


def test_a_comparison_shows_the_score_or_says_why_there_is_none() -> None:
    metrics = {"liked": model("fine"), "broken": model("abort")}
    found = compare(VOICE, SETTINGS[:2], legs="G.711", metrics=metrics)
    assert found.table["liked"].between(2, 3).all()
    assert found.table["broken"].isna().all()
    assert found.table["broken"].dtype == np.float64
    assert "broken is not available: abort crashed: SIGABRT." in found.sentences
    assert isinstance(metrics["liked"](VOICE, VOICE), Opinion)
    assert opinions.__all__
