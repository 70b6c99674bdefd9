"""What is drawn of a long call before its signals are made, and what stays without a kernel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipecat_bandwidth.encodings import FORMATS, PCMU
from tests.captures import Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.timeline import CallTimeline, picture
from workbench.timeline.sketch import Sketch, sketch_of
from workbench.timeline.views import Track

WAIT = 60.0


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s: the bot speaks, is interrupted and speaks again; the caller, with 0.4 s lost."""
    made = Scene(20.0, pipeline_rate=24000)
    made.say_bot(0.5, speech("bot/b02"))
    made.say_caller(7.0, speech("caller/c02"))
    made.lose(8.0, 20)
    made.say_bot(12.0, speech("bot/b04"))
    made.interrupt(15.0)
    return made.write(tmp_path_factory.mktemp("sketch") / "call.mcap")


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1])


@pytest.mark.parametrize("name", ["caller_sent", "caller_heard"])
@pytest.mark.parametrize("view", [(0.0, 20.0), (-2.0, 9.5), (3.5, 8.5)])
def test_a_sketch_is_like_the_signal(path: Path, name: str, view: tuple[float, float]) -> None:
    call = Call.open(path)
    sketch, track = sketch_of(call, name), Track(call.signal(name))
    assert sketch is not None
    assert sketch.sample_rate == track.sample_rate == 8000
    assert sketch.peak == pytest.approx(track.peak, rel=0.01)
    drawn = [each.envelope(*view, 200, 0.5) for each in (sketch, track)]
    assert correlation(*drawn) > 0.93
    pictures = [each.spectrogram(*view, 200, 60, 4000.0) for each in (sketch, track)]
    assert correlation(*pictures) > 0.8
    empty = [(each.max(axis=0) == 0).mean() for each in pictures]  # silence, and what was cut off
    assert empty[0] == pytest.approx(empty[1], abs=0.05)


def test_a_sketch_shows_a_tone_where_it_is() -> None:
    for wire in FORMATS:
        time = np.arange(wire.sample_rate // 50) / wire.sample_rate
        block = Audio((0.5 * np.sin(2 * np.pi * 1000 * time)).astype("f4"), wire.sample_rate)
        payloads = [wire.encode(block.pcm())] * 50
        sketch = Sketch(np.arange(50) * 0.02, np.full(50, 0.02), payloads, [wire] * 50)
        drawn = sketch.spectrogram(0.0, 2.0, 100, 40, 8000.0)
        assert not drawn[:, 51:].any()  # it lasts a second
        assert set(39 - drawn[:, :50].argmax(axis=0)) == {5}  # rows of 200 Hz
        assert not drawn[:20].any()  # a telephone line carries nothing above 4 kHz


def test_a_sketch_fills_the_columns_of_a_closer_view() -> None:
    payload = PCMU.encode(Audio(np.full(160, 0.25, np.float32), 8000).pcm())
    sketch = Sketch(np.array([1.0, np.nan, 1.02]), np.full(3, 0.02), [payload] * 3, [PCMU] * 3)
    high = sketch.envelope(0.99, 1.05, 60, 0.5)[:, 1]
    assert np.flatnonzero(high).tolist() == list(range(10, 50))
    columns = sketch.spectrogram(0.99, 1.05, 60, 10, 4000.0).any(axis=0)
    assert np.flatnonzero(columns).tolist() == list(range(10, 50))


def test_nothing_makes_an_empty_sketch() -> None:
    sketch = Sketch(np.empty(0), np.empty(0), [], [])
    assert sketch.peak == 0
    assert not sketch.envelope(0.0, 1.0, 10).any()
    assert not sketch.spectrogram(0.0, 1.0, 10, 5, 4000.0).any()
    odd = Sketch(np.zeros(2), np.full(2, 0.02), [b"", b"\x01"], [PCMU, FORMATS[1]])
    assert odd.peak == 0


def test_messages_of_one_format_are_sketched_whoever_names_it() -> None:
    payload = PCMU.encode(Audio(np.full(160, 0.25, np.float32), 8000).pcm())
    sketch = Sketch(np.arange(2) * 0.02, np.full(2, 0.02), [payload] * 2, [PCMU, replace(PCMU)])
    assert sketch.envelope(0.0, 0.04, 2)[:, 1].min() > 20


def ask(timeline: CallTimeline) -> dict[str, Any]:
    tracks = {"caller": "caller_sent", "bot": "caller_heard"}
    view = {"start": 0.0, "end": 20.0, "columns": 100, "rows": 20, "tracks": tracks}
    return timeline._answer({"kind": "view", **view})[0]


def test_a_long_call_is_sketched_first_and_laid_out_meanwhile(path: Path) -> None:
    call = Call.open(path)
    timeline = CallTimeline(call, sketch_from=10.0)
    assert timeline.still()
    assert not {"caller_sent", "caller_heard"} & vars(call).keys()  # none was made for that
    drawings, overview = timeline._contents["drawings"], timeline._overview
    under_way: list[bool] = []
    timeline.observe(lambda _: under_way.append(timeline._laying is not None), "_contents")
    assert ask(timeline)["sketch"]
    if thread := timeline._laying:
        thread.join(WAIT)
    assert under_way == [True]  # it is over when it can be seen, no sooner
    assert {"caller_sent", "caller_heard"} <= vars(call).keys()
    assert timeline._contents["drawings"] == drawings + 1  # the browser asks again
    assert timeline._overview != overview
    assert len(timeline._overview) == len(overview)
    assert not ask(timeline)["sketch"]
    timeline.close()


def test_the_sketch_stays_of_a_call_whose_signals_cannot_be_made(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call = Call.open(path)

    def fail(name: str) -> Audio:
        raise RuntimeError(f"no {name}")

    monkeypatch.setattr(call, "signal", fail)
    timeline = CallTimeline(call, sketch_from=10.0)
    drawings = timeline._contents["drawings"]
    for _ in range(3):  # the browser asks again for other reasons, too
        assert ask(timeline)["sketch"]
        if thread := timeline._laying:
            thread.join(WAIT)
        assert timeline._contents["drawings"] == drawings
    assert caplog.text.count("a sketch stays") == 1
    timeline.refresh()  # what is read anew is tried anew
    assert ask(timeline)["sketch"]
    if thread := timeline._laying:
        thread.join(WAIT)
    assert not ask(timeline)["sketch"]
    timeline.close()


def test_a_call_whose_signals_are_there_needs_no_sketch(path: Path) -> None:
    call = Call.open(path)
    assert call.caller_sent and call.caller_heard
    assert not ask(CallTimeline(call, sketch_from=10.0))["sketch"]


# -- the still -------------------------------------------------------------------------------------


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float
    text: str = ""

    def meets(self, other: Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class Pen:
    """Draws, and remembers what was written where, and which lines were drawn."""

    def __init__(self) -> None:
        self.draw = ImageDraw.Draw(Image.new("RGB", (picture.WIDTH, 200)))
        self.texts: list[Box] = []
        self.lines: list[Box] = []

    def textlength(self, text: str) -> float:
        return self.draw.textlength(text)

    def text(self, at: tuple[float, float], text: str, **style: Any) -> None:
        self.texts.append(Box(*self.draw.textbbox(at, text, anchor=style["anchor"]), text))

    def line(self, ends: tuple[float, float, float, float], **_: Any) -> None:
        x, top, _, bottom = ends
        self.lines.append(Box(x - 1, top, x + 1, bottom))


class Marked:
    """As much of a scene as marks need."""

    def __init__(self, times: list[float], kinds: list[str]) -> None:
        self.call = type("Clock", (), {"duration": 100.0})()
        self.marks = [
            {"row": "event", "kind": kind, "start": time, "end": time}
            for time, kind in sorted(zip(times, kinds, strict=True))
        ]


@pytest.mark.parametrize("count", [1, 5, 20, 100, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_no_name_of_an_event_is_crossed_and_all_are_counted(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = ["start", "clear", "interruption", "hang_up_failed", "warning"]
    times = np.r_[0.0, rng.uniform(0, 100, count - 1)] if count > 1 else np.array([100.0])
    pen = Pen()
    marked = Marked(times.tolist(), rng.choice(kinds, count).tolist())
    picture._draw_events(pen, marked)  # type: ignore[arg-type]
    for number, text in enumerate(pen.texts):
        assert text.right <= picture.WIDTH
        assert not any(text.meets(line) for line in pen.lines), text
        assert not any(text.meets(other) for other in pen.texts[:number]), text
    told = 0
    for text in (box.text for box in pen.texts if box.text != "events"):
        number, _, word = text.partition(" ")
        told += int(number) if word == "unnamed" else int(text.partition(" x")[2] or 1)
    assert told == count


def test_findings_beyond_the_lanes_are_counted() -> None:
    marked = Marked([], [])
    marked.marks = [
        {
            "row": "finding",
            "title": "Gap",
            "severity": "error",
            "parts": [[at, at + 1], [at + 3, at + 5]],
        }
        for at in (50.0, 50.5, 51.0, 51.5, 99.9)
    ]
    pen = Pen()
    pen.rounded_rectangle = lambda *_, **__: None  # type: ignore[attr-defined]
    picture._draw_findings(pen, marked)  # type: ignore[arg-type]
    texts = [box.text for box in pen.texts]
    assert texts.count("Gap") == 3
    assert "2 more" in texts
    assert max(box.right for box in pen.texts) <= picture.WIDTH
