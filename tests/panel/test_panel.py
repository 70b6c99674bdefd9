"""The panel, worked by its controls: what it hears, measures, says and writes."""

from __future__ import annotations

import base64
import importlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipecat_bandwidth import BandwidthFrameSerializer
from tests.captures import Scene, speech
from workbench.call import Call
from workbench.exceptions import CaptureError
from workbench.panel import CANDIDATE, Panel
from workbench.panel.captures import Capture, Opened, opened
from workbench.panel.work import Lane, Work

InputParams = BandwidthFrameSerializer.InputParams
WAIT = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two calls: in "a" the bot speaks at 1 s and at 8 s, in "b" it says nothing."""
    folder = tmp_path_factory.mktemp("captures")
    scene = Scene(14.0, pipeline_rate=24000)
    scene.say_bot(1.0, speech("bot/b02").span(0, 3.6))
    scene.say_bot(8.0, speech("bot/b04").span(0, 3.6))
    scene.write(folder / "a.mcap")
    Scene(3.0).write(folder / "b.mcap")
    return folder


@pytest.fixture
def panel(folder: Path) -> Iterator[Panel]:
    panel = Panel(folder)
    yield panel
    panel.close()


@pytest.fixture
def measured(panel: Panel) -> Panel:
    assert panel.wait(WAIT)
    return panel


def reach_hz(panel: Panel) -> float:
    """Up to where the candidate sounds, in the player's own spectrum."""
    audio = panel.timeline._scene.track("bot", CANDIDATE).audio
    power = np.abs(np.fft.rfft(audio.samples)) ** 2
    total = np.cumsum(power) / power.sum()
    return float(np.searchsorted(total, 0.9999)) / audio.duration


def texts(panel: Panel) -> str:
    return panel.verdict.value + panel.measured.value


# -- what is chosen --------------------------------------------------------------------------------


def test_it_begins_with_what_the_call_ran_with(measured: Panel) -> None:
    assert measured.params == InputParams()
    assert measured.code == (
        'params=BandwidthFrameSerializer.InputParams(outbound_encoding="PCMU")'
    )  # fmt: skip
    assert measured.timeline.bot == CANDIDATE
    assert "PCMU" in repr(measured) and "a.mcap" in repr(measured)


def test_a_control_changes_parameters_code_and_sound(panel: Panel) -> None:
    panel.leg.value = "G.722"
    assert panel.wait(WAIT)
    narrow = reach_hz(panel)
    panel.timeline.position = 3.25
    panel.wire.value = "PCM 16 kHz"
    assert panel.params.outbound_encoding == "PCM"
    assert panel.params.outbound_pcm_sample_rate == 16000
    assert "outbound_pcm_sample_rate=16000" in panel.code
    assert "outbound_pcm_sample_rate=16000" in panel.line.value
    assert panel.wait(WAIT)
    assert narrow < 4200 < 5000 < reach_hz(panel)
    assert panel.timeline.position == 3.25
    assert panel.timeline.bot == CANDIDATE


def test_the_candidate_is_on_the_calls_clock(measured: Panel) -> None:
    audio = measured.timeline._scene.track("bot", CANDIDATE).audio
    assert audio.duration == pytest.approx(measured.call.duration, abs=0.01)
    assert audio.span(0, 0.9).level < -60 < -30 < audio.span(1.2, 3).level


def test_what_is_chosen_in_the_player_stays_chosen(measured: Panel) -> None:
    measured.timeline.bot = "bot_said"
    measured.wire.value = "PCM 24 kHz"
    assert measured.wait(WAIT)
    assert measured.timeline.bot == "bot_said"


# -- what is measured ------------------------------------------------------------------------------


def test_table_and_sentences_follow_the_leg(measured: Panel) -> None:
    assert measured.result is not None and measured.comparison is not None
    assert measured.result.setting.label == "PCMU"
    assert "Take PCMU" in texts(measured)
    measured.leg.value = "G.722"
    assert measured.wait(WAIT)
    assert measured.result.setting.label == "PCM 16 kHz"
    assert "Take PCM 16 kHz" in texts(measured)
    assert set(measured.comparison.table["leg"]) == {"G.722"}
    assert measured.progress.value == measured.progress.max == 8


def test_only_what_is_chosen_is_compared(panel: Panel) -> None:
    panel.compared.value = ("PCM 8 kHz", "PCM 24 kHz")
    assert panel.wait(WAIT)
    assert panel.comparison is not None
    assert list(panel.comparison.table["setting"]) == ["PCM 8 kHz", "PCM 24 kHz"]
    panel.compared.value = ()
    assert "at least one" in panel.status.value


def test_the_objective_is_the_chosen_one(panel: Panel) -> None:
    panel.objective.value = "estoi"
    assert panel.wait(WAIT)
    assert panel.result is not None
    assert "intelligibility" in panel.result.provenance["objective"]


def test_the_pipelines_rate_is_tried(panel: Panel) -> None:
    panel.pipeline.value = 8000
    assert panel.setting.audio_out_sample_rate == 8000
    assert panel.wait(WAIT)
    assert panel.result is not None
    assert panel.result.setting.label == "PCMU from 8 kHz"
    assert panel.result.table["delay_ms"].min() == 0


def test_the_players_selection_is_what_is_measured(panel: Panel) -> None:
    assert panel.whole.disabled and "the whole call" in panel.measures.value
    panel.timeline.selection = [7.5, 13.0]
    assert panel.span == (7.5, 13.0)
    assert "7.50 to 13.00 s" in panel.measures.value
    assert panel.wait(WAIT)
    assert panel.comparison is not None
    assert panel.comparison.reference.duration == pytest.approx(3.6, abs=0.2)
    panel.whole.click()
    assert panel.timeline.selection == []
    assert panel.span == (0, pytest.approx(14, abs=0.1))


def test_a_span_without_speech_is_said_to_be_so(panel: Panel) -> None:
    panel.timeline.selection = [0.0, 0.4]
    assert panel.wait(WAIT)
    assert re.search("said (nothing|anything)", panel.status.value)
    assert panel.result is None and texts(panel) == ""
    panel.whole.click()
    assert panel.wait(WAIT)
    assert "Take PCMU" in texts(panel)


def test_another_call_is_shown_in_a_player_of_its_own(panel: Panel, folder: Path) -> None:
    first = panel.timeline
    panel.capture.value = folder / "b.mcap"
    assert panel.wait(WAIT)
    assert panel.timeline is not first
    assert panel.call.path.name == "b.mcap"
    assert panel.span == (0, pytest.approx(3, abs=0.1))
    assert re.search("said (nothing|anything)", panel.status.value)
    panel.capture.value = folder / "a.mcap"
    assert panel.wait(WAIT)
    assert "Take PCMU" in texts(panel)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No capture that is chosen is open before this is set."""
    go = threading.Event()

    def slowly(capture: Capture, work: Work) -> Opened:
        assert go.wait(WAIT)
        return opened(capture, work)

    panel_module = importlib.import_module("workbench.panel.panel")
    monkeypatch.setattr(panel_module, "opened", slowly)
    yield go
    go.set()


@pytest.fixture
def quick(folder: Path) -> Iterator[Panel]:
    """A panel whose first call is a call already, so that opening is of what is chosen."""
    panel = Panel([Call.open(folder / "a.mcap"), folder / "b.mcap"])
    assert panel.wait(WAIT)
    yield panel
    panel.close()


def test_another_call_is_opened_beside_the_one_that_is_shown(
    quick: Panel, folder: Path, gate: threading.Event
) -> None:
    first, result = quick.timeline, quick.result
    quick.capture.value = folder / "b.mcap"
    assert "Opening b.mcap" in quick.status.value
    assert quick.stop.layout.display == ""
    assert quick.timeline is first and quick.result is result
    gate.set()
    assert quick.wait(WAIT)
    assert quick.call.path.name == "b.mcap"


def test_opening_can_be_stopped(quick: Panel, folder: Path, gate: threading.Event) -> None:
    quick.capture.value = folder / "b.mcap"
    quick.stop.click()
    assert "Stopped" in quick.status.value
    assert quick.capture.label == "a.mcap"
    gate.set()
    assert quick.wait(WAIT)
    assert quick.call.path.name == "a.mcap"


@pytest.mark.parametrize(
    "back", [lambda p: p.stop.click(), lambda p: setattr(p.capture, "index", 0)]
)
def test_a_measurement_that_was_interrupted_in_vain_is_begun_again(
    panel: Panel, folder: Path, gate: threading.Event, back: Callable[[Panel], None]
) -> None:
    panel.capture.value = folder / "b.mcap"
    back(panel)
    assert panel.capture.label == "a.mcap"
    gate.set()
    assert panel.wait(WAIT)
    assert "Take PCMU" in texts(panel)
    assert panel.stop.layout.display == "none"


def test_several_captures_are_tuned_on_together(measured: Panel, folder: Path) -> None:
    measured.all.click()
    assert len(measured.tuned_on.value) == 2
    assert measured.wait(WAIT)
    assert measured.result is not None
    assert [c["file"] for c in measured.result.provenance["captures"]] == ["a.mcap"]
    assert "The bot said nothing in 1 of 2 calls" in texts(measured)
    assert measured.progress.value == measured.progress.max == 4 + 2
    measured.tuned_on.value = ()
    assert "at least one capture" in measured.status.value


def test_limits_are_kept_and_what_breaks_them_is_said(measured: Panel) -> None:
    measured.leg.value = "G.722"
    measured.kbit_s.value = 250
    assert measured.wait(WAIT)
    assert measured.result is not None
    assert measured.result.setting.label != "PCM 16 kHz"
    assert measured.result.provenance["constraints"] == {"kbit_s": 250, "cushion_ms": 200}
    measured.kbit_s.value = 0
    measured.minimum.value = "estoi"
    assert not measured.minimum_value.disabled
    measured.minimum_value.value = 1.5  # there is no such intelligibility
    assert measured.wait(WAIT)
    assert measured.result is None
    assert "at least 1.5 is asked" in measured.status.value
    assert measured.comparison is not None  # what was compared is shown all the same


def test_two_settings_can_be_heard_blind(measured: Panel) -> None:
    assert measured.blind.disabled
    measured.compared.value = ("PCMU", "PCM 24 kHz")
    assert measured.wait(WAIT)
    assert not measured.blind.disabled
    measured.blind.click()
    assert measured.listening is not None
    assert measured.listening.names == ("PCMU", "PCM 24 kHz")
    measured.capture.value = measured.capture.options[1][1]
    assert measured.wait(WAIT)
    assert measured.blind.disabled


def test_measuring_can_be_stopped_and_what_was_measured_stays(measured: Panel) -> None:
    before = measured.result
    measured.leg.value = "G.722"
    assert measured.stop.layout.display == ""
    measured.stop.click()
    assert "Stopped" in measured.status.value
    assert measured.stop.layout.display == "none"
    assert measured.wait(WAIT)
    assert measured.result is before


# -- what is taken away ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bad"), [("kbit_s", -5.0), ("cushion_ms", 5000.0)])
def test_a_bad_number_is_refused_beside_its_field(panel: Panel, name: str, bad: float) -> None:
    limit = getattr(panel, name)
    kept = limit.value
    limit.field.value = bad
    assert f"{kept:g} is kept" in limit.refused.value
    assert limit.value == kept
    assert panel.limits["cushion_ms"] == 200 and "kbit_s" not in panel.limits
    limit.field.value = 150.0
    assert (limit.refused.value, limit.value) == ("", 150.0)


def test_the_button_writes_what_load_reads(panel: Panel, tmp_path: Path) -> None:
    panel.file.value = str(tmp_path / "chosen.json")
    panel.wire.value = "PCM 16 kHz"
    panel.write.click()
    assert "Written" in panel.written.value
    assert InputParams.load(panel.file.value) == panel.params
    assert panel.params.outbound_pcm_sample_rate == 16000


def test_a_tuned_setting_is_taken_and_written_with_its_reasons(
    panel: Panel, tmp_path: Path
) -> None:
    panel.leg.value = "G.722"
    assert panel.wait(WAIT)
    assert not panel.adopt.disabled
    panel.adopt.click()
    assert panel.wire.value == "PCM 16 kHz"
    assert panel.adopt.disabled
    panel.file.value = str(tmp_path / "tuned.json")
    panel.write.click()
    written = json.loads(Path(panel.file.value).read_text("utf-8"))
    assert written["provenance"]["leg"] == "G.722"
    assert InputParams.load(panel.file.value) == panel.params


def test_a_file_that_cannot_be_written_is_said_to_be(panel: Panel, tmp_path: Path) -> None:
    panel.file.value = str(tmp_path / "no" / "such" / "folder.json")
    panel.write.click()
    assert "No such file" in panel.written.value


def test_a_hostile_file_name_is_text(panel: Panel) -> None:
    panel.file.value = "/no/<img src=x onerror=alert(1)>"
    panel.write.click()
    assert "No such file" in panel.written.value and "<img" not in panel.written.value


def test_a_notebook_keeps_a_picture(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("workbench.timeline.still.display", lambda data, **_: shown.append(data))
    panel._ipython_display_()
    data, widget = shown
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == repr(panel)
    assert "application/vnd.jupyter.widget-view+json" in widget


# -- captures --------------------------------------------------------------------------------------


def test_captures_are_given_as_calls_files_or_folders(folder: Path) -> None:
    call = Call.open(folder / "a.mcap")
    for given in (call, [call], folder / "a.mcap", str(folder / "a.mcap"), [folder]):
        panel = Panel(given)
        assert panel.call.path == call.path
        panel.close()


def test_without_a_capture_there_is_no_panel(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no capture"):
        Panel(tmp_path)
    (tmp_path / "x.mcap").write_bytes(b"not a capture")
    with pytest.raises(CaptureError):
        Panel(tmp_path)


def test_a_limit_that_nothing_keeps_is_said_once(panel: Panel) -> None:
    panel.kbit_s.value = 1.0
    assert panel.wait(WAIT)
    assert panel.status.value.count("no setting keeps within") == 1
    assert "no setting keeps within" not in texts(panel)
    assert "PCM 24 kHz" in texts(panel)  # the numbers stay
    assert panel.result is None


def test_a_broken_capture_leaves_the_one_that_is_shown(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"not a capture")
    panel = Panel([folder / "a.mcap", broken])
    panel.capture.value = broken
    assert panel.wait(WAIT)
    assert "Not done" in panel.status.value
    assert panel.call.path.name == "a.mcap"
    assert panel.capture.label == "a.mcap"
    assert "Take PCMU" in texts(panel)  # of which the measurement was under way
    panel.close()


# -- in the background -----------------------------------------------------------------------------


def test_the_newest_wish_is_the_one_that_is_shown() -> None:
    lane, go, shown = Lane(), threading.Event(), list[int]()

    def slow(_: Work) -> int:
        go.wait(WAIT)
        return 1

    lane.begin(slow, shown.append, pytest.fail)
    lane.begin(lambda _: 2, shown.append, pytest.fail)
    assert lane.wait(WAIT)
    go.set()
    assert shown == [2]


def test_pieces_that_were_not_begun_are_called_off() -> None:
    lane, begun, go, outcome = Lane(), threading.Semaphore(0), threading.Event(), list[object]()
    done: list[int] = []

    def piece(number: int) -> int:
        done.append(number)
        begun.release()
        go.wait(WAIT)
        return number

    def work(work: Work) -> list[int]:
        try:
            return list(work.map(piece, range(1000)))
        except (CancelledError, RuntimeError):  # of those begun, or those still to be given
            outcome.append("off")
            raise

    lane.begin(work, outcome.append, outcome.append)
    assert begun.acquire(timeout=WAIT)
    assert lane.cancel()
    go.set()
    assert lane.wait(WAIT)
    assert outcome == ["off"]
    assert len(done) < 1000
    assert not lane.cancel()


def test_progress_is_told_piece_by_piece() -> None:
    lane, told = Lane(), list[object]()

    def advanced(pieces: int) -> None:
        time.sleep(0.02)  # what is told of last is there all the same before the outcome is
        told.append(pieces)

    def work(work: Work) -> list[int]:
        return list(work.map(lambda n: n * n, range(5)))

    lane.begin(work, told.append, pytest.fail, advanced)
    assert lane.wait(WAIT)
    assert told == [1, 2, 3, 4, 5, [0, 1, 4, 9, 16]]


def test_a_failure_is_told_at_once_and_nothing_is_counted_after_it() -> None:
    lane, go, told, works = Lane(), threading.Event(), list[object](), list[Work]()

    def work(work: Work) -> None:
        works.append(work)
        for _ in range(1000):
            work.submit(go.wait, WAIT)
        raise ValueError("no")

    lane.begin(work, pytest.fail, lambda error: told.append(str(error)), told.append)
    assert lane.wait(WAIT)
    go.set()
    works[0].shutdown()
    assert told == ["no"]


def test_a_failure_is_told() -> None:
    lane, told = Lane(), list[Exception]()
    lane.begin(lambda _: 1 // 0, pytest.fail, told.append)
    assert lane.wait(WAIT)
    assert isinstance(told[0], ZeroDivisionError)
