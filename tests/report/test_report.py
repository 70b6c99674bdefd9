"""The report: nothing of the capture is obeyed, nothing private is told, and it can be mailed."""

from __future__ import annotations

import base64
import io
import re
import warnings
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.axes import Axes
from PIL import Image

from tests.captures import Scene, scripted, speech
from tests.reports import (
    ATTACKS,
    CALL_ID,
    NUMBER,
    hostile_call,
    hostile_finding,
    hostile_report,
    measured,
)
from workbench import plots
from workbench.audio import Audio
from workbench.call import Call
from workbench.call.answers import Answer, Answers
from workbench.call.stages import Stage
from workbench.diagnosis import Part, diagnose, excerpt
from workbench.exceptions import MetricWarning
from workbench.metrics.distances import estoi
from workbench.metrics.levels import loudest_span
from workbench.metrics.speech_level import active_level
from workbench.report import sound
from workbench.report.report import EXCERPT_LEVEL_DBOV, EXCERPT_SECS, MOST_ANSWERS, write_report
from workbench.report.sound import mp3
from workbench.tuning.comparison import compare

SOUND = re.compile(r"data:(audio/\w+);base64,([A-Za-z0-9+/=]+)")


class Parsed(HTMLParser):
    """What a browser would make of a page, as far as these tests ask."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return hostile_report(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def parsed(page: str) -> Parsed:
    return Parsed(page)


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    scene = Scene(4.0)
    scene.say_bot(0.5, speech("bot/b09"))
    return Call.open(scene.write(tmp_path_factory.mktemp("report") / "call.mcap"))


@pytest.fixture(scope="module")
def bare(call: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a call in which nothing was found, in a folder that was not there."""
    path = tmp_path_factory.mktemp("report") / "a" / "b" / "r.html"
    assert write_report(path, call, []) == path
    return path


@pytest.fixture(scope="module")
def long_call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    path = tmp_path_factory.mktemp("report") / "long.mcap"
    return Call.open(scripted(pipeline_rate=24000).write(path))


def sounds(page: str) -> list[tuple[str, Audio]]:
    found = []
    for kind, text in SOUND.findall(page):
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(text)), dtype="float32")
        found.append((kind, Audio(samples, rate)))
    return found


# -- what is a stranger's --------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_texts_are_shown_as_they_are(parsed: Parsed, attack: str) -> None:
    assert attack in parsed.text


def test_no_element_is_made_of_them(parsed: Parsed) -> None:
    assert not {"svg", "iframe", "object", "embed", "link", "base"} & {t for t, _ in parsed.tags}
    scripts = parsed.all("script")
    assert [bool(script.get("nonce")) for script in scripts] == [True, False, True]
    assert scripts[1]["type"] == "application/json"
    handlers = [name for _, attrs in parsed.tags for name in attrs if name.startswith("on")]
    assert handlers == []


def test_nothing_is_fetched_and_only_the_own_script_may_run(parsed: Parsed) -> None:
    sources = [a["src"] or "" for t, a in parsed.tags if "src" in a]
    assert len(sources) > 5
    assert all(re.match(r"data:(image/png|audio/(mpeg|flac));base64,", s) for s in sources)
    assert not any("href" in attributes for _, attributes in parsed.tags)
    policy = next(m["content"] for m in parsed.all("meta") if "content" in m and "http-equiv" in m)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert f"script-src 'nonce-{parsed.all('script')[0]['nonce']}'" in policy
    assert "unsafe-eval" not in policy and "script-src 'unsafe-inline'" not in policy


def test_every_report_has_a_nonce_of_its_own(call: Call, bare: Path, tmp_path: Path) -> None:
    same = write_report(tmp_path / "r.html", call, [])
    nonces = [re.search(r"'nonce-([^']+)'", path.read_text("utf-8")) for path in (bare, same)]
    assert nonces[0] and nonces[1] and nonces[0][1] != nonces[1][1]


# -- what is private -------------------------------------------------------------------------------


def test_ids_and_numbers_are_cut_wherever_they_stand(page: str) -> None:
    assert CALL_ID not in unescape(page)
    assert NUMBER not in unescape(page)
    assert CALL_ID[:6] + "\N{HORIZONTAL ELLIPSIS}" in page


def test_ids_are_shown_when_asked_for(tmp_path: Path) -> None:
    found = [hostile_finding(f"of {CALL_ID}, called from {NUMBER}")]
    path = write_report(tmp_path / "r.html", hostile_call(tmp_path), found, show_ids=True)
    page = path.read_text("utf-8")
    assert page.count(CALL_ID) >= 2
    assert unescape(page).count(NUMBER) >= 2


def test_without_sides_there_is_no_sound(tmp_path: Path) -> None:
    page = hostile_report(tmp_path, sides=())
    assert "<audio" not in page and "data:audio" not in page
    assert "<script" not in page
    assert "data:image/png" in page


@pytest.mark.parametrize(
    ("side", "muted", "players"), [("caller", "bot_said", 1), ("bot", "caller_sent", 4)]
)
def test_one_side_can_be_muted(
    tmp_path: Path, call: Call, side: str, muted: str, players: int
) -> None:
    found = [hostile_finding("of the bot")]
    path = write_report(tmp_path / "r.html", call, found, *measured(), sides=[side])
    page = path.read_text("utf-8")
    heard = [str(audio["aria-label"]) for audio in Parsed(page).all("audio")]
    assert len(heard) == players
    assert muted not in heard
    assert ("excerpt" in heard) == (side == "bot")


# -- what it is good for ---------------------------------------------------------------------------


def test_all_that_plays_is_audible(page: str) -> None:
    found = sounds(page)
    assert [kind for kind, _ in found].count("audio/mpeg") == 2 + 3  # findings, whole signals
    assert [kind for kind, _ in found].count("audio/flac") == 1 + 4 * 2  # the bot, settings x legs
    assert min(audio.level for _, audio in found) > -40


def test_what_is_compared_by_ear_has_one_level_and_one_length(page: str) -> None:
    compared = [audio for kind, audio in sounds(page) if kind == "audio/flac"]
    levels = [active_level(audio) for audio in compared]
    np.testing.assert_allclose(levels, EXCERPT_LEVEL_DBOV, atol=0.5)
    lengths = [audio.duration for audio in compared]
    np.testing.assert_allclose(lengths, EXCERPT_SECS, atol=0.01)


def test_whole_signals_are_as_long_as_the_call(call: Call, bare: Path) -> None:
    page = bare.read_text("utf-8")
    assert len(sounds(page)) == 3
    for _, audio in sounds(page):
        assert audio.duration == pytest.approx(call.duration, abs=0.15)  # MP3 pads


@pytest.mark.slow
def test_two_minutes_are_less_than_three_megabytes(long_call: Call, tmp_path: Path) -> None:
    assert long_call.duration > 120
    path = write_report(tmp_path / "r.html", long_call, diagnose(long_call), *measured())
    assert path.stat().st_size < 3e6


def test_an_hour_can_be_mailed(long_call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides of a long call are one player, understood, at 7 MB an hour: 3 are left for the rest."""
    call = long_call
    monkeypatch.setattr(sound, "APART_SECS", call.duration - 1)
    (player,) = sound.players(call, ("caller", "bot"))
    assert len(player["src"]) * 3600 / call.duration < 7e6
    ((_, heard),) = sounds(player["src"])
    sides = call.caller_sent, call.caller_heard
    both = Audio(sum(audio.samples for audio in sides), 8000)  # type: ignore[arg-type]
    assert heard.duration == pytest.approx(call.duration, abs=0.15)
    assert estoi(both, Audio(heard.samples[: len(both)], 8000)) > 0.75
    for audio in sides:
        start, end = loudest_span(audio, 1.0)
        assert heard.span(start, end).level == pytest.approx(both.span(start, end).level, abs=1)
    (alone,) = sound.players(call, ("caller",))
    assert alone["name"] == "caller_sent"
    assert sound.players(call, ()) == []


def test_the_sounds_of_findings_are_limited_and_the_worst_are_heard(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [replace(hostile_finding(str(n)), title=f"number {n}") for n in range(4)]
    one = len(mp3(excerpt(call, found[0])))
    monkeypatch.setattr("workbench.report.report.EXCERPTS_BYTES", one + 1)
    page = write_report(tmp_path / "r.html", call, found).read_text("utf-8")
    heard = [str(audio["aria-label"]) for audio in Parsed(page).all("audio")]
    assert heard[:-3] == ["number 0 at 1.50\N{EN DASH}3.00 s", "number 1 at 1.50\N{EN DASH}3.00 s"]


def test_of_many_answers_the_slowest_are_shown(call: Call, tmp_path: Path) -> None:
    waits = [(number, 1.0 + number % 7) for number in range(60)]
    answers = [
        Answer(10.0 * n, end, (Stage("pipeline", 10.0 * n, end),))
        for n, wait in waits
        for end in (10.0 * n + wait,)
    ]
    other = Call.open(call.path)
    other.__dict__["answers"] = Answers(answers)
    text = Parsed(write_report(tmp_path / "r.html", other, []).read_text("utf-8")).text
    assert f"Shown are the {MOST_ANSWERS} slowest, {60 - MOST_ANSWERS} more are not." in text
    shown = [n for n, wait in waits if f"{10.0 * n + wait:.2f}" in text]
    assert len(shown) == MOST_ANSWERS
    assert min(wait for n, wait in waits if n in shown) == 5.0


def test_the_picture_knows_where_its_time_axis_is(call: Call, bare: Path) -> None:
    """The bot's speech stands out of the empty spectrogram where the cursor would be."""
    page = Parsed(bare.read_text("utf-8"))
    (stage,) = (attrs for _, attrs in page.tags if attrs.get("id") == "stage")
    assert float(stage["aria-valuemax"] or 0) == pytest.approx(call.duration, abs=0.01)
    source = next(image["src"] for image in page.all("img")) or ""
    png = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))
    pixels = np.asarray(png.convert("RGB"), int)
    left, right = (float(stage[f"data-{side}"] or 0) / 100 for side in ("left", "right"))
    first, last = left * png.width, (1 - right) * png.width
    frame = np.flatnonzero((pixels.sum(axis=2) < 200).mean(axis=0) > 0.3)  # the axes' edges
    assert frame.min() == pytest.approx(first, abs=3)
    assert np.abs(frame - last).min() <= 3  # beside it is the scale of the colours


def test_excerpts_know_where_they_are_from(call: Call, tmp_path: Path) -> None:
    found = [hostile_finding("one"), replace(hostile_finding("two"), parts=(Part(0.4, 0.6, 1.0),))]
    page = Parsed(write_report(tmp_path / "r.html", call, found).read_text("utf-8"))
    begins = [audio["data-begins"] for audio in page.all("audio")]
    assert begins == ["0.500", "0.000", "0", "0", "0"]


def test_a_sound_call_is_told_to_be_sound(bare: Path) -> None:
    text = Parsed(bare.read_text("utf-8")).text
    assert "This call is sound" in text
    assert "Nothing was found" in text
    assert "The setting to use" not in text


def test_a_cut_recording_is_said_to_be_cut(tmp_path: Path) -> None:
    scene = Scene(3.0)
    scene.say_bot(0.5, speech("bot/b09"))
    call = Call.open(scene.write(tmp_path / "call.mcap", finish=False))
    text = Parsed(write_report(tmp_path / "r.html", call, []).read_text("utf-8")).text
    assert "no: the recording was cut off" in text


def test_findings_say_when_what_why_and_what_to_do(call: Call, tmp_path: Path) -> None:
    found = [replace(hostile_finding("twice"), remedy="do it")] * 2
    text = Parsed(write_report(tmp_path / "r.html", call, found).read_text("utf-8")).text
    assert text.count("1.50\N{EN DASH}3.00 s") == 2
    assert text.count("as above") == 2  # cause and remedy are told once


def test_a_finding_is_headed_by_its_title_and_named_by_its_kind(call: Call, tmp_path: Path) -> None:
    found = [replace(hostile_finding(), kind="slow_barge_in", title="Slow to stop talking")]
    html = write_report(tmp_path / "r.html", call, found).read_text("utf-8")
    assert '<b>Slow to stop talking</b> (bot) <code class="kind">slow_barge_in</code>' in html
    assert 'aria-label="Slow to stop talking at 1.50' in html


def test_its_folder_is_made(bare: Path) -> None:
    assert bare.is_file()


def test_figures_have_units_and_no_more_digits_than_mean_something(
    call: Call, tmp_path: Path
) -> None:
    stats = {"max_delta_ms": 117.549, "inbound_kbit_s": 115.72, "inbound_messages": 12345}
    known = replace_stats(call, stats | {"loss_percent": 0.3841, "duration": 4.0})
    text = Parsed(write_report(tmp_path / "r.html", known, []).read_text("utf-8")).text
    for said in ("max delta118 ms", "inbound116 kbit/s", "inbound messages12,345", "loss0.384 %"):
        assert said in text
    assert "anchor_ns" not in text


def replace_stats(call: Call, stats: dict[str, float]) -> Call:
    """The same call, of which other figures are known."""
    other = Call.open(call.path)
    other.__dict__["stats"] = call.stats | stats
    return other


@pytest.mark.parametrize(("secs", "charts"), [(0.2, 0), (1.0, 1), (3.0, 2)])
def test_a_chart_of_nothing_is_left_out(
    secs: float, charts: int, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.2 s are too short for both scores, 1 s for intelligibility."""
    kept = []

    def png(ax: Axes, *, dpi: int = 100) -> bytes:
        figure = ax.get_figure(root=True)
        assert figure is not None
        kept.append(sum(len(each.patches) > 0 for each in figure.axes))
        return drawn(ax, dpi=dpi)

    drawn = plots.png
    monkeypatch.setattr(plots, "png", png)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        comparison = compare(speech("bot/b02").span(0.5, 0.5 + secs), legs=["G.711"])
        page = write_report(tmp_path / "r.html", call, [], comparison).read_text("utf-8")
    assert kept[-1] == charts
    pictures = Parsed(page).all("img")
    assert len(pictures) == 1 + (charts > 0)  # the call's own
    assert all(picture["src"] for picture in pictures)


WORDS = Path(__file__).parents[1] / "data" / "staged" / "timed_words.mcap"


@pytest.mark.parametrize("sides", [("caller", "bot"), ("caller",)])
def test_the_words_of_those_sides_are_shown_that_are_asked_for(
    tmp_path: Path, sides: tuple[str, ...]
) -> None:
    call = Call.open(WORDS)
    path = write_report(tmp_path / "r.html", call, diagnose(call), sides=(), words=sides)
    page = unescape(path.read_text())
    assert ("What was said" in page) == bool(sides)
    assert ("My card is [number]" in page) == ("caller" in sides)
    assert ("nobody hears" in page) == ("bot" in sides)
    if "bot" in sides:
        unheard = call.answers[1].words.unheard.text
        assert f"<s>{unheard}</s>" in page
        assert f"not heard: \N{LEFT DOUBLE QUOTATION MARK}{unheard}" in page
