import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipecat_bandwidth.encodings import PCMU
from tests.captures import SCRIPT, speech
from workbench.audio import Audio
from workbench.metrics.speech import hop_edges, joined, levels, runs_of, to_sound, voice_activity

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sentence() -> Audio:
    """A second of silence, one sentence, a second of silence; speech from 1.06 to 3.58 s."""
    pause = np.zeros(8000)
    return Audio(np.concatenate((pause, speech("bot/b07", 8000).samples, pause)), 8000)


@pytest.mark.parametrize("detector", ["silero", "energy"])
@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_speech_is_found_where_it_is(sentence, detector, rate):
    found = voice_activity(sentence.resampled(rate), detector=detector)
    assert found[0, 0] == pytest.approx(1.06, abs=0.1)
    assert found[-1, 1] == pytest.approx(3.58, abs=0.1)


@pytest.mark.parametrize("detector", ["silero", "energy"])
@pytest.mark.parametrize("dbov", [-200, -75, -60])
def test_silence_and_line_noise_are_no_speech(detector, dbov):
    noise = np.random.default_rng(0).standard_normal(80_000) * 10 ** (dbov / 20)
    assert len(voice_activity(Audio(noise, 8000), detector=detector)) == 0


def test_music_is_no_speech_to_the_model():
    assert len(voice_activity(speech("bot/hold_music"), detector="silero")) <= 1


def test_a_whole_turn_agrees_with_the_script():
    turn = next(turn for turn in SCRIPT["turns"] if turn["id"] == "b01")
    truth = np.array(turn["speech"]) - turn["start"]
    found = joined(voice_activity(speech("bot/b01")), 0.25)
    hop = np.arange(0, 8.6, 0.01)
    spoken, heard = (
        np.any((hop[:, None] >= s[:, 0]) & (hop[:, None] < s[:, 1]), axis=1) for s in (truth, found)
    )
    assert np.mean(spoken == heard) > 0.93


@pytest.mark.parametrize("samples", [0, 1, 100, 255, 257])
def test_short_audio_has_no_speech(samples):
    assert voice_activity(Audio(np.zeros(samples), 8000)).shape == (0, 2)


def spoken_at(at: float, dbov: float, name: str = "caller/c05", softly_db: float = 0.0) -> Audio:
    """Four seconds of a line in which somebody begins to speak at ``at``, the first 0.5 s softly."""
    noise = np.random.default_rng(3).standard_normal(32_000) * 10 ** (dbov / 20)
    words = speech(name, 8000).span(0.06, 2.0).samples.copy()
    words[:4000] *= 10 ** (-softly_db / 20)
    noise[round(at * 8000) :][: len(words)] += words
    sent = PCMU.decode(PCMU.encode(Audio(noise.astype(np.float32), 8000).pcm()))
    return Audio.from_pcm(sent, 8000)


@pytest.mark.parametrize("dbov", [-75, -65, -55])
@pytest.mark.parametrize("at", [0.3, 0.7, 1.1, 1.6])
def test_who_speaks_as_soon_as_the_line_is_open_begins_when_he_does(dbov, at):
    found = voice_activity(spoken_at(at, dbov), detector="silero")
    assert found[0, 0] == pytest.approx(at, abs=0.08)


@pytest.mark.parametrize("at", [0.7, 1.6])
def test_a_soft_beginning_is_not_cut_off(at):
    found = voice_activity(spoken_at(at, -75, "bot/b01", softly_db=34), detector="silero")
    assert found[0, 0] == pytest.approx(at, abs=0.15)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 24_000])
def test_a_hop_is_ten_milliseconds_at_any_rate(rate):
    edges = hop_edges(60 * rate + 50, rate)
    assert len(edges) == 6001
    assert np.abs(edges / rate - np.arange(6001) * 0.01).max() < 1 / rate
    samples = np.zeros(60 * rate)
    samples[50 * rate : 51 * rate] = 0.1
    assert np.flatnonzero(levels(Audio(samples, rate)) > -30).tolist() == list(range(5000, 5100))


def test_levels_are_those_of_each_hop():
    audio = Audio(np.repeat([0.1, 0.01, 0.0], 80), 8000)
    assert levels(audio) == pytest.approx([-20, -40, -100], abs=0.01)


def test_runs_begin_where_it_holds_and_end_where_it_does_no_longer():
    on = np.array([0, 0, 1, 0, 0, 1], bool)
    still = np.array([0, 1, 1, 1, 0, 1], bool)
    assert runs_of(on, 0.5).tolist() == [[1.0, 1.5], [2.5, 3.0]]
    assert runs_of(on, 0.5, still).tolist() == [[1.0, 2.0], [2.5, 3.0]]
    assert runs_of(np.zeros(3, bool), 0.5).shape == (0, 2)


def test_pauses_are_bridged_unless_something_happened_in_them():
    rows = np.array([[0.0, 1.0], [1.5, 2.0], [4.0, 5.0]])
    assert joined(rows, 1.0).tolist() == [[0, 2], [4, 5]]
    assert joined(rows, 1.0, np.array([1.2])).tolist() == rows.tolist()


@pytest.mark.parametrize(
    ("stretch", "expected"),
    [
        ((0.98, 2.05), (1.0, 2.0)),  # too wide
        ((1.10, 1.92), (1.0, 2.0)),  # too narrow
        ((0.70, 2.30), (0.7, 2.3)),  # no sound within 150 ms of its ends
    ],
)
def test_ends_move_to_where_the_sound_is(stretch, expected):
    level = np.full(300, -70.0)
    level[100:200] = -20.0
    level[150:153] = -70.0  # a dip of 30 ms is none
    assert to_sound(*stretch, level, -50.0) == pytest.approx(expected)
    assert to_sound(0.7, 2.3, level, -50.0, reach=40) == pytest.approx((1.0, 2.0))


def test_who_listens_keeps_no_telemetry(tmp_path: Path) -> None:
    """onnxruntime keeps a device id and a queue of events in the home folder, if nobody objects."""
    code = "from workbench.metrics.speech import _session; assert _session()"
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    env = plain | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, env=env)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]
