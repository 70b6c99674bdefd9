"""Recordings that leave out, put in or pause, cut by sox: each piece is found where it was."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.captures import Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.report import write_report
from workbench.timeline import CallTimeline
from workbench.tuning import carrier_recording
from workbench.tuning.carrier_recording import Recording
from workbench.tuning.comparison import RECORDED, SETTINGS, compare
from workbench.tuning.legs import LEGS
from workbench.tuning.pieces import NotThere, Placed, place

pytestmark = pytest.mark.skipif(shutil.which("sox") is None, reason="sox cuts the recordings")

RATE = 8000


def phrases(*spans: tuple[str, float, float]) -> Audio:
    """Parts of what a bot says, a second of silence round each."""
    parts = [speech(name, RATE).span(start, end).samples for name, start, end in spans]
    second = np.zeros(RATE, np.float32)
    return Audio(np.concatenate([second, *(x for part in parts for x in (part, second))]), RATE)


#: Speech from 1 to 7, from 8 to 14 and from 15 to 21 s.
SAID = phrases(("bot/b05", 0, 6), ("bot/b09", 0, 6), ("bot/b03", 0, 6))


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pieces") / "heard.wav"
    LEGS["G.711"].apply(SAID).write(path)
    return path


@pytest.fixture
def sox(heard: Path, tmp_path: Path) -> Callable[[str], Audio]:
    def cut(effects: str) -> Audio:
        out = tmp_path / "cut.wav"
        subprocess.run(["sox", "-D", heard, out, *effects.split()], check=True, timeout=30)
        return carrier_recording.read(out)

    return cut


def coded(audio: Audio) -> Recording:
    """As from a file that tells no leg: what is looked for here takes no time for that."""
    return Recording(audio.samples, audio.sample_rate, is_lossless=False)


def placed(recording: Audio) -> Placed:
    return place(SAID, recording, in_pieces=True)


#: What sox does; and of each piece from when to when it is, and how late on the recording.
CUTS = {
    "silence is cut out": ("trim 0 =7.2 =7.8", [(0, 7.2, 0), (7.8, 22, -0.6)]),
    "a second and a half of speech is cut out": ("trim 0 =3 =4.5", [(0, 3, 0), (4.5, 22, -1.5)]),
    "it pauses twice": (
        "trim 0 =2.5 =5 =10 =12.5",
        [(0, 2.5, 0), (5, 10, -2.5), (12.5, 22, -5)],
    ),
    "a second of silence is put in": ("pad 1@3", [(0, 3, 0), (3, 22, 1)]),
    "each pause is short, the clock fast": (
        "trim 0.8 =7.1 =7.9 =14.1 =14.9 speed 0.9999",
        [(0.8, 7.1, -0.8), (7.9, 14.1, -1.6), (14.9, 22, -2.4)],
    ),
    "an end only": ("trim 14.5", [(14.5, 22, -14.5)]),
    "a beginning only": ("trim 0 6", [(0, 6, 0)]),
}


@pytest.mark.parametrize("what", CUTS)
def test_each_piece_is_where_it_was(what: str, sox: Callable[[str], Audio]) -> None:
    effects, pieces = CUTS[what]
    found = placed(sox(effects))
    assert len(found.pieces) == len(pieces)
    for piece, (start, end, late) in zip(found.pieces, pieces, strict=True):
        assert piece.late == pytest.approx(late, abs=0.003)
        # In silence nobody can tell where it was cut.
        assert piece.start == pytest.approx(start, abs=0.35)
        assert piece.end == pytest.approx(end, abs=0.35)
    assert found.drift == pytest.approx(1e-4 if "fast" in what else 0, abs=2e-5)
    assert found.of_covered > 0.8
    # What is on it is as it was sent; what is not on it is silence.
    alike = [
        np.corrcoef(SAID.span(start, end).samples, found.heard.span(start, end).samples)[0, 1]
        for start, end, *_ in found.pieces
    ]
    assert min(alike) > 0.98
    for (_, end), (start, _) in zip(found.recorded, found.recorded[1:], strict=False):
        assert not found.heard.span(end + 0.001, start - 0.001).samples.any()


def test_a_second_put_in_once_more_is_found_where_it_was_put(
    heard: Path, sox: Callable[[str], Audio], tmp_path: Path
) -> None:
    for name, effects in (("a", "trim 0 4"), ("b", "trim 3")):
        sox(effects).write(tmp_path / f"{name}.wav")
    both = [tmp_path / f"{name}.wav" for name in ("a", "b", "twice")]
    subprocess.run(["sox", *both], check=True, timeout=30)
    found = placed(carrier_recording.read(both[-1]))
    assert [piece.late for piece in found.pieces] == pytest.approx([0, 1], abs=0.002)
    assert 2.9 < found.pieces[0].end == found.pieces[1].start < 4.1
    assert found.matched > 0.95


def test_a_recorder_that_leaves_out_all_silence_is_followed(sox: Callable[[str], Audio]) -> None:
    recording = sox("silence 1 0.05 1% -1 0.3 1%")
    found = placed(recording)
    assert recording.duration < SAID.duration - 2.5
    assert len(found.pieces) >= 3
    assert found.matched > 0.75  # what is cut within a second is not found whole
    kept = sum(end - start for start, end, *_ in found.pieces)
    assert kept == pytest.approx(recording.duration, abs=1.0)


def test_another_call_in_pieces_is_another_call(sox: Callable[[str], Audio]) -> None:
    recording = sox("trim 0 =2.5 =5")
    with pytest.raises(NotThere, match="is it another call"):
        place(phrases(("bot/b02", 0, 6), ("caller/c05", 0, 6)), recording, in_pieces=True)


def test_a_cut_recording_says_where_and_names_no_wrong_leg(sox: Callable[[str], Audio]) -> None:
    found = carrier_recording.align(SAID, sox("trim 0 =2.5 =5"))
    assert np.array(found.cuts) == pytest.approx(np.array([[2.5, -2.5]]), abs=0.1)
    assert "It is in 2 pieces: from 2." in found.sentence
    assert "2.50 s of the call are not on it" in found.sentence
    assert found.leg in ("G.711", None) and found.stands_for in ("G.711", None)
    assert found.recorded == pytest.approx(np.array([[0, 2.5], [5, 22]]), abs=0.1)


def test_inverted_and_cut_is_undone_and_followed(sox: Callable[[str], Audio]) -> None:
    found = carrier_recording.align(SAID, coded(sox("trim 0 =7.2 =7.8 vol -1")))
    assert found.mistake == "its polarity is inverted"
    assert [piece.late for piece in found.pieces] == pytest.approx([0, -0.6], abs=0.002)


def test_several_files_of_one_call_are_one_recording(sox: Callable[[str], Audio]) -> None:
    """The second first, at another level, and with what the first has as well."""
    files = [coded(sox("trim 8.5 vol -6dB")), coded(sox("trim 0 9"))]
    found = carrier_recording.align(SAID, files)
    assert [piece.file for piece in found.pieces] == [1, 0]
    assert found.covered == pytest.approx((0, 22), abs=0.01)
    assert found.matched > 0.95 and not found.cuts
    alike = np.corrcoef(SAID.samples, found.heard.samples)[0, 1]
    assert alike > 0.99  # at one level, although they were not


def test_of_several_files_the_one_of_another_call_is_named(sox: Callable[[str], Audio]) -> None:
    files = [coded(sox("trim 0 9")), coded(speech("caller/c05", RATE))]
    with pytest.raises(ValueError, match="recording 2: the recording does not hold"):
        carrier_recording.align(SAID, files)


@pytest.mark.parametrize("other", ["silence", "the caller"])
def test_the_bot_on_the_other_channel_is_found(other: str, heard: Path, tmp_path: Path) -> None:
    beside = np.zeros(len(SAID), np.float32)
    if other == "the caller":
        caller = speech("caller/c05", RATE).samples[: len(SAID)]
        beside[: len(caller)] = caller
    Audio(beside, RATE).write(tmp_path / "caller.wav")
    both = tmp_path / "both.wav"
    subprocess.run(["sox", "-M", heard, tmp_path / "caller.wav", both], check=True, timeout=30)
    found = carrier_recording.align(SAID, replace(carrier_recording.read(both), is_lossless=False))
    assert found.mistake == "the bot is on channel 0, not on channel 1"
    assert found.sentence.startswith("Undone in the carrier's recording: the bot is on channel 0")
    assert found.matched > 0.95


# -- what it adds to the capture -------------------------------------------------------------------


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    made = Scene(24.0)
    for at, (name, start) in zip((1, 8, 15), (("b05", 0), ("b09", 0), ("b03", 0)), strict=True):
        made.say_bot(float(at), speech(f"bot/{name}").span(start, start + 6))
    return Call.open(made.write(tmp_path_factory.mktemp("adds") / "call.mcap"))


@pytest.mark.parametrize("late", [0.012, 0.12, 0.6])
def test_what_the_queue_held_back_is_the_models_error(late: float, call: Call) -> None:
    played = LEGS["G.711"].apply(call.played)
    samples, by = played.samples.copy(), round(late * RATE)
    second = slice(round(7.5 * RATE), round(14.2 * RATE))
    samples[second.start + by : second.stop + by] = played.samples[second]
    samples[second.start : second.start + by] = 0
    found = carrier_recording.align(call, coded(Audio(samples, RATE)))
    assert found.received is not None and not found.cuts
    moved = [one.late_ms for one in found.received.utterances if 7 < one.start < 14]
    assert moved == pytest.approx([1000 * late] * len(moved), abs=1.0) and moved
    rest = [one.late_ms for one in found.received.utterances if not 7 < one.start < 14]
    assert rest == pytest.approx([0] * len(rest), abs=1.0)
    assert f"heard {1000 * late:.0f} ms later than it says" in found.sentence
    assert not len(found.received.lost)


def loudest(audio: Audio, secs: float) -> float:
    """Where so much is loudest throughout."""
    size = round(0.02 * RATE)
    power = np.square(audio.samples[: len(audio) // size * size], dtype=float).reshape(-1, size)
    count = round(secs / 0.02)
    least = np.lib.stride_tricks.sliding_window_view(power.mean(axis=1), count).min(axis=1)
    return float(np.argmax(least)) * 0.02


@pytest.mark.parametrize("leg", ["G.711", "GSM"])
def test_what_was_lost_on_the_way_is_found(leg: str, call: Call) -> None:
    played = call.played.resampled(RATE)
    heard = LEGS[leg].apply(played)
    whole = carrier_recording.align(call, coded(heard)).received
    assert whole is not None and whole.is_sure and not len(whole.lost)
    at = loudest(played, 0.12)
    samples = heard.samples.copy()
    samples[round(at * RATE) : round((at + 0.12) * RATE)] = 0
    found = carrier_recording.align(call, coded(Audio(samples, RATE)))
    assert found.received is not None
    assert found.received.lost == pytest.approx(np.array([[at, at + 0.12]]), abs=0.02)
    assert "Lost on the way: 1" in found.sentence


def test_of_what_is_drowned_nothing_is_said(call: Call) -> None:
    heard = LEGS["G.711"].apply(call.played)
    other = np.resize(speech("caller/c05", RATE).samples, len(heard))
    found = carrier_recording.align(call, coded(Audio(0.5 * heard.samples + other, RATE)))
    assert found.received is not None and not found.received.is_sure
    assert "Too much else is on it to say whether something was lost" in found.sentence


def test_it_is_heard_and_seen_beside_the_calls_signals(call: Call, tmp_path: Path) -> None:
    recording = coded(LEGS["G.711"].apply(call.played).span(3.0, 20.0))
    found = compare(call, SETTINGS[:1], legs="G.711", recording=recording)
    assert found.measured is not None and found.beside == {RECORDED: found.measured.heard}
    timeline = CallTimeline(call, comparison=found)
    (choice,) = (c for c in timeline._contents["sides"][1]["choices"] if c["name"] == RECORDED)
    assert choice["sentence"] == "the bot as recorded by the carrier"
    page = write_report(tmp_path / "r.html", call, [], found).read_text("utf-8")
    assert f"<b>{RECORDED}</b>" in page and "What the carrier recorded" in page
    assert "Of " in page and "of sound that were looked at nothing is missing on it." in page
    silent = write_report(tmp_path / "s.html", call, [], found, sides=()).read_text("utf-8")
    assert "<audio" not in silent and "What the carrier recorded" in silent
