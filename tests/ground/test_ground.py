from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipecat_bandwidth.encodings import PCMU
from tests.ground import people
from tests.ground.caller import ulaw_decode, ulaw_encode
from tests.ground.calls import Run, runs, with_sound
from tests.ground.filling import audible, speech
from tests.ground.noises import MADE
from tests.ground.record import zero_ns
from tests.ground.scenarios import SCENARIOS
from tests.ground.voices import clips
from workbench import Call

PLAIN = [run for run in runs() if not (run.scenario.mixer or run.scenario.background)]


@pytest.mark.parametrize("run", PLAIN[::16], ids=lambda run: run.path.stem)
def test_an_exchange_keeps_every_time_and_size(run: Run) -> None:
    """And it makes a sound where the recorded run has one."""
    rng = np.random.default_rng(1)
    fill = speech(clips(), rng)
    made = with_sound(run, fill, fill, {}, rng)
    kept = Call.open(run.path)
    for new, old in ((made.inbound, kept.inbound), (made.outbound, kept.outbound)):
        np.testing.assert_allclose(new.time, old.time, atol=1e-6)
        assert [len(p) for p in new.payloads] == [len(p) for p in old.payloads]
    assert [(e.kind, round(e.time, 6)) for e in made.events] == [
        (e.kind, round(e.time, 6)) for e in kept.events
    ]
    assert kept.bot_sent.level < -60 < -40 < made.bot_sent.level


def test_words_are_parted_from_a_background_that_has_no_pauses() -> None:
    """Or the bot would be taken to speak for the whole of a call with a mixer."""
    mixed = [run for run in runs() if run.scenario.mixer]
    assert mixed
    for run in mixed:
        said = sum(last - first for first, last, _ in run.truth["slots"]) / run.scenario.out_rate
        assert 5 < said < 0.7 * Call.open(run.path).duration


def test_zero_of_a_run_is_on_the_monotonic_clock() -> None:
    run = runs()[0]
    call = Call.open(run.path)
    assert 0 < zero_ns(run.path) < call.anchor_ns  # a machine is not up since 1970


def test_speech_fills_a_length_from_its_beginning_to_its_end() -> None:
    fill = speech(clips(), np.random.default_rng(2))
    for secs in (1.0, 3.0, 7.0, 12.0):
        samples = fill(secs, False)
        sound = audible(samples, 8000)
        assert len(samples) == round(secs * 8000)
        assert sound[-1, 1] > len(samples) - 2400
        if secs > 6:
            assert sound[0, 0] < 800


def test_a_recording_beyond_full_scale_is_not_cut_off_when_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "PEOPLE", tmp_path / "people")
    loud = tmp_path / "from" / "somebody" / "loud.wav"
    loud.parent.mkdir(parents=True)
    hum = 2.2 * np.sin(2 * np.pi * 150 * np.arange(2 * 8000) / 8000)
    soundfile.write(loud, hum, 8000, subtype="FLOAT")
    assert list(people.gather(tmp_path / "from", "work")) == ["somebody: 1"]
    (kept,) = (tmp_path / "people").glob("work/somebody/*.flac")
    samples, _ = soundfile.read(kept)
    sine = np.mean(np.abs(samples) > 0.95)  # a fifth of a sine is near its peak, of one cut off 0.7
    assert 0.9 < np.abs(samples).max() <= 1
    assert sine < 0.25


def test_mu_law_is_that_of_the_serializer() -> None:
    codes = bytes(range(256))
    decoded = ulaw_decode(codes)
    np.testing.assert_array_equal(
        np.rint(decoded * 32768), np.frombuffer(PCMU.decode(codes), "<i2")
    )
    assert ulaw_encode(decoded) == codes[:127] + b"\xff" + codes[128:]  # one zero, not two


@pytest.mark.parametrize("name", ["keys", "ringing", "busy", "fax", "modem", "cough", "laughter"])
def test_a_machine_or_a_cough_is_as_long_as_is_wanted_and_can_be_heard(name: str) -> None:
    sound = MADE[name](np.random.default_rng(3), 2.5)
    assert len(sound) == 20000
    assert -40 < sound.level < -15


def test_every_scenario_has_a_name_of_its_own() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
