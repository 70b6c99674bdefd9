"""The player in a browser, on a page of its own: what is seen, heard and done with the hands."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from tests.browser.bare_page import BarePage
from tests.captures import ANCHOR_NS, Scene, speech
from workbench.audio import Audio
from workbench.call import SIGNALS, Call
from workbench.capture import CaptureWriter
from workbench.diagnosis import SEVERITIES, Part, diagnose
from workbench.looks import SEVERITY_LOOKS, SIDE_COLOURS
from workbench.timeline import CallTimeline
from workbench.timeline.views import PLAY_RATE
from workbench.tuning.comparison import Comparison, compare

HOSTILE = "<img src=x onerror='window.hacked = 1'><script>window.hacked = 1</script>"


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """20 s with three faults: a hole at 2 s, 0.2 s of the caller lost at 8 s and at 9 s."""
    scene = Scene(20.0, pipeline_rate=16000)
    scene.say_bot(0.5, speech("bot/b02"))
    scene.hole(2.0, 0.3)
    scene.say_caller(7.0, speech("caller/c02"))
    scene.lose(8.0, 10)
    scene.lose(9.0, 10)
    scene.say_bot(12.0, speech("bot/b04"))
    scene.interrupt(15.0)
    scene.log(17.0, HOSTILE, level=3)
    return Call.open(scene.write(tmp_path_factory.mktemp("browser") / "call.mcap"))


@pytest.fixture(scope="module")
def comparison(call: Call) -> Comparison:
    return compare(call)


@pytest.fixture
def player(page: Page, call: Call) -> BarePage:
    return BarePage(page, CallTimeline(call, diagnose(call)))


@pytest.fixture
def tones(page: Page, call: Call) -> BarePage:
    """A player whose A is a loud tone of 440 Hz and whose B is a soft one of 1000 Hz."""
    timeline = CallTimeline(call)
    timeline.replace("low", tone(440, 0.4))
    timeline.replace("high", tone(1000, 0.04))
    timeline.replace("new", tone(700, 0.4))
    timeline.bot = "low"
    player = BarePage(page, timeline)
    page.get_by_role("button", name="Mute the caller").click()
    page.keyboard.press("b")
    page.get_by_role("button", name="high").click()
    page.keyboard.press("a")
    return player


def test_the_question_mark_opens_the_list_of_keys(tones: BarePage) -> None:
    keys = tones.page.locator(".wb-tl-keys")
    expect(keys).to_be_hidden()
    tones.page.keyboard.press("?")
    expect(keys).to_be_visible()
    tones.page.keyboard.press("?")
    expect(keys).to_be_hidden()


def tone(hz: float, peak: float, rate: int = 8000, secs: float = 20.0) -> Audio:
    return Audio((peak * np.sin(2 * np.pi * hz * np.arange(rate * secs) / rate)).astype("f4"), rate)


def pitch(sound: NDArray[np.float64]) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum)) * PLAY_RATE / len(sound)


def colours(player: BarePage) -> set[int]:
    return set(
        player.page.evaluate(
            """() => {
              const canvas = document.querySelector(".wb-tl-canvas");
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              return [...new Set(new Uint32Array(data.buffer))];
            }"""
        )
    )


def advance(player: BarePage, act: Callable[[], Any], secs: float = 0.6) -> tuple[float, float]:
    """How far the position went, and the clock of the sound, over an act."""
    before, began = player.clocks()
    act()
    after, ended = player.clocks(began + secs)
    return after - before, ended - began


# -- seen ------------------------------------------------------------------------------------------


def test_both_sides_are_drawn(player: BarePage) -> None:
    assert len(colours(player)) > 100
    whole = player.page.locator(".wb-tl-canvas").screenshot()
    player.page.get_by_role("button", name="bot_said").click()
    player.wait("root.dataset.views === '2'")
    assert player.page.locator(".wb-tl-canvas").screenshot() != whole


def test_the_wheel_zooms_to_where_the_pointer_is(player: BarePage) -> None:
    x, y = player.place(8.1)
    player.page.mouse.move(x, y)
    player.page.mouse.wheel(0, -400)
    player.wait("model.get('view')[1] - model.get('view')[0] < 12")
    assert player.place(8.1)[0] == pytest.approx(x, abs=2)
    player.wait("+root.dataset.views >= 2")
    player.page.wait_for_timeout(300)  # what is kept in the notebook is not kept for every notch
    assert player.saved("view") == player.get("view")


def test_the_wheel_leaves_the_page_alone_where_there_is_nothing_to_zoom(player: BarePage) -> None:
    player.page.evaluate("document.body.style.height = '3000px'")
    player.page.mouse.move(*player.place(8.0))
    player.page.mouse.wheel(0, 300)  # out, of the whole call
    player.page.wait_for_function("window.scrollY > 0")
    assert player.get("view") == [0.0, 20.0]


def test_a_page_scrolled_past_does_not_zoom(player: BarePage) -> None:
    player.page.evaluate("document.body.style.height = '3000px'")
    player.page.evaluate(
        """() => {
          const turn = () => new WheelEvent("wheel", { deltaY: -100, bubbles: true, cancelable: true });
          document.body.dispatchEvent(turn());
          document.querySelector(".wb-tl-stage").dispatchEvent(turn());
        }"""
    )
    assert player.get("view") == [0.0, 20.0]


def test_dark_pages_get_dark_pictures(page: Page, call: Call) -> None:
    light = BarePage(page, CallTimeline(call))
    field = 0xFF000000 | int.from_bytes(bytes.fromhex("f3f5f7"), "little")
    assert field in colours(light)
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")  # drawn anew at once
    page.wait_for_timeout(200)
    assert field not in colours(light)
    assert 0xFF000000 | int.from_bytes(bytes.fromhex("1c2128"), "little") in colours(light)


def test_without_a_kernel_the_overview_is_there_and_a_word(page: Page, call: Call) -> None:
    page.clock.install()
    player = BarePage(page, CallTimeline(call), kernel=False)
    page.clock.run_for(500)
    assert len(colours(player)) > 10
    page.clock.run_for(5000)
    expect(page.get_by_role("status")).to_contain_text("Run the cell")


#: A picture as JupyterLab shows one, the same as VS Code does, and one of somebody else's.
STILLS = """async ([still, other]) => {
  const bytes = Uint8Array.from(atob(still), (c) => c.charCodeAt(0));
  const blob = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  const sources = { data: `data:image/png;base64,${still}`, blob, other: `data:image/png;base64,${other}` };
  for (const [id, src] of Object.entries(sources)) document.body.append(Object.assign(new Image(), { id, src }));
}"""


def test_its_still_is_hidden_while_it_lives_and_no_other_picture(page: Page, call: Call) -> None:
    timeline = CallTimeline(call)
    other = base64.b64encode(timeline.still()).decode()
    timeline.bot = "bot_said"
    still = base64.b64encode(timeline.still()).decode()
    player = BarePage(page, timeline)
    page.evaluate(STILLS, [still, other])
    page.evaluate("window.model.set('view', [0, 9])")
    expect(page.locator("#data")).to_be_hidden()
    expect(page.locator("#blob")).to_be_hidden()
    expect(page.locator("#other")).to_be_visible()
    player.page.evaluate("window.takeAway()")
    expect(page.locator("#data")).to_be_visible()


def test_what_the_kernel_cannot_do_is_said(player: BarePage) -> None:
    player.page.evaluate("window.model.set('view', [0, 'x'])")
    player.page.evaluate("window.model.set('view', [0, 10])")
    player.timeline._scene = None  # type: ignore[assignment]
    player.page.evaluate("window.model.set('view', [0, 9])")
    expect(player.page.get_by_role("status")).to_contain_text("AttributeError")


def columns_of(player: BarePage, colour: str, top: int, height: int) -> NDArray[np.int64]:
    """The x of the canvas at which something of a colour of the style is, in some rows."""
    script = """([name, top, height]) => {
      const root = document.querySelector(".wb-tl"), canvas = root.querySelector("canvas");
      const colour = getComputedStyle(root).getPropertyValue(`--wb-tl-${name}`).trim();
      const wanted = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
      const { data } = canvas.getContext("2d").getImageData(0, top, canvas.width, height);
      const found = new Set();
      for (let i = 0; i < data.length; i += 4) {
        if (wanted.every((value, k) => Math.abs(data[i + k] - value) < 8)) found.add((i / 4) % canvas.width);
      }
      return [...found].sort((a, b) => a - b);
    }"""
    return np.array(player.page.evaluate(script, [colour, top, height]), int)


def test_the_strip_of_the_whole_call_has_a_playhead_of_its_own(player: BarePage) -> None:
    player.page.evaluate("window.model.set('view', [4, 8]); window.model.set('position', 5)")
    strip, picture = player.page.locator(".wb-tl-head").all()[::-1]
    canvas = player.page.locator("#here .wb-tl-canvas").bounding_box()
    assert canvas is not None
    for head, x, top, bottom in (
        (strip, 62 + (canvas["width"] - 62) * 5 / 20, 0, 34),
        (picture, 62 + (canvas["width"] - 62) * 1 / 4, 38, canvas["height"] - 20),
    ):
        box = head.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] / 2 - canvas["x"] == pytest.approx(x, abs=1.5)
        assert box["y"] - canvas["y"] == pytest.approx(top, abs=1)
        assert box["y"] + box["height"] - canvas["y"] == pytest.approx(bottom, abs=1)


def test_where_there_is_no_picture_yet_the_old_one_is_seen_stretched(player: BarePage) -> None:
    """Never black, wherever one looks while the kernel draws."""
    page = player.page
    page.evaluate("window.model.set('view', [12, 13])")
    player.wait("+root.dataset.views >= 2")
    page.wait_for_function("window.asked.filter((a) => a.kind === 'view').length >= 3")
    page.evaluate("window.model.send = () => {}")  # a kernel that is busy
    lit = """() => {
      const canvas = document.querySelector(".wb-tl-canvas");
      const { data } = canvas.getContext("2d").getImageData(300, 350, 400, 60);
      let sum = 0;
      for (let i = 0; i < data.length; i += 4) sum += data[i] + data[i + 1] + data[i + 2];
      return sum / (data.length / 4);
    }"""
    for view in ([12.1, 12.4], [12.1, 15.0], [0.5, 2.0]):  # closer, farther, elsewhere in speech
        page.evaluate(f"window.model.set('view', {view})")
        page.evaluate(
            "new Promise((act) => requestAnimationFrame(() => requestAnimationFrame(act)))"
        )
        assert page.evaluate(lit) > 40, view


def test_the_level_is_seen_inside_the_peaks(player: BarePage) -> None:
    """In the bot's waveform, whose middle is at 306: the RMS in its colour, the peaks around it paler."""
    assert len(columns_of(player, "bot", 302, 8)) > 250
    assert len(columns_of(player, "bot", 286, 10)) < 5
    assert len(columns_of(player, "field", 292, 1)) < 1218 - 20  # there are peaks


def test_colours_have_a_scale_and_the_axis_can_end_with_the_voice(page: Page, call: Call) -> None:
    page.add_init_script(f"({_WRITTEN})()")
    player = BarePage(page, CallTimeline(call))
    player.timeline.bot = "bot_said"
    player.push()

    def written() -> list[str]:
        page.wait_for_timeout(300)
        return [text for text, *_ in page.evaluate("window.written")]

    assert {"−30 dBov", "−110", "8 kHz"} <= set(written())
    page.get_by_label("What is heard of the bot").click(position={"x": 1, "y": 1})
    page.get_by_role("button", name="Voice", exact=True).click()
    player.wait("+root.dataset.views >= 3")
    assert written().count("4 kHz") == 2


def test_the_keys_open_above_the_fold(player: BarePage) -> None:
    player.page.locator(".wb-tl-stage").focus()
    player.page.keyboard.press("?")
    keys = player.page.locator(".wb-tl-keys")
    box = keys.bounding_box()
    assert box is not None and box["y"] < 60 and box["y"] + box["height"] < 400
    top = "([x, y]) => Boolean(document.elementFromPoint(x, y).closest('.wb-tl-keys'))"
    assert player.page.evaluate(top, [box["x"] + 20, box["y"] + box["height"] - 20])
    player.page.keyboard.press("Escape")
    expect(keys).to_be_hidden()


@pytest.mark.parametrize("look", ["+", "wheel", "overview", "select"])
def test_following_ends_when_one_looks_elsewhere_until_it_is_asked_for(
    player: BarePage, look: str
) -> None:
    page, follow = player.page, player.page.get_by_role("button", name="Follow")
    player.click(12.5)
    player.wait_for_sound()
    expect(follow).to_have_attribute("aria-pressed", "true")
    if look == "+":
        page.keyboard.press("+")
    elif look == "wheel":
        page.mouse.wheel(0, -300)
    elif look == "overview":
        page.evaluate("window.model.set('view', [12, 16])")
        page.mouse.click(*player.place(12.5, 10))
    else:
        page.mouse.down()
        page.mouse.move(*player.place(13.5))
        page.mouse.up()
    expect(follow).to_have_attribute("aria-pressed", "false")
    view = player.get("view")
    page.wait_for_timeout(300)
    assert player.get("view") == view
    page.keyboard.press("f")
    expect(follow).to_have_attribute("aria-pressed", "true")
    start, end = player.get("view")
    assert start <= player.shown_time() <= end


# -- heard -----------------------------------------------------------------------------------------


def test_a_click_plays_from_there(player: BarePage) -> None:
    player.click(12.5)
    player.wait_for_sound()
    assert 12.5 <= player.shown_time() < 14.5
    assert np.std(player.hear(1.0)) > 0.003
    player.page.keyboard.press(" ")
    player.wait("root.dataset.state === 'paused'")
    assert 12.5 < player.saved("position") < 16
    assert not player.saved("playing")


def test_a_and_b_change_the_sound_and_not_the_position(tones: BarePage) -> None:
    tones.click(5.0)
    tones.wait_for_sound()
    assert pitch(tones.hear(0.3)) == pytest.approx(440, abs=8)
    played, passed = advance(tones, lambda: tones.page.keyboard.press("b"))
    assert played == pytest.approx(passed, abs=0.2)
    assert pitch(tones.hear(0.3)) == pytest.approx(1000, abs=8)
    played, passed = advance(tones, lambda: tones.page.keyboard.press("a"))
    assert played == pytest.approx(passed, abs=0.2)
    assert tones.saved("bot") == "low"


def test_the_switch_makes_no_click(tones: BarePage) -> None:
    tones.click(5.0)
    tones.wait_for_sound()
    tones.page.evaluate("window.sound = []")
    for key in "baba":
        tones.page.keyboard.press(key)
        tones.page.wait_for_timeout(120)
    sound = np.array(tones.page.evaluate("window.sound"))
    steepest = 0.4 * 2 * np.pi * 440 / PLAY_RATE + 0.04 * 2 * np.pi * 1000 / PLAY_RATE
    assert np.abs(np.diff(sound)).max() < 1.2 * steepest


def test_the_old_sound_goes_on_until_the_new_one_is_there(tones: BarePage) -> None:
    tones.click(5.0)
    tones.wait_for_sound()
    tones.page.wait_for_timeout(250)
    tones.delay_secs = 0.5
    tones.page.evaluate("window.sound = []")
    tones.page.get_by_role("button", name="new").click()
    tones.page.wait_for_timeout(900)
    sound = np.array(tones.page.evaluate("window.sound"))
    assert pitch(sound[: PLAY_RATE // 5]) == pytest.approx(440, abs=8)
    assert pitch(sound[-PLAY_RATE // 5 :]) == pytest.approx(700, abs=8)
    blocks = sound[: len(sound) // 1200 * 1200].reshape(-1, 1200)
    assert blocks.std(axis=1).min() > 0.02


def test_pieces_join_without_a_seam_and_rates_without_images(tones: BarePage) -> None:
    tones.click(2.7)  # a piece ends at 4.0
    tones.wait_for_sound()
    sound = tones.hear(2.0)
    assert 4.2 < tones.shown_time() < 8
    # A sine follows from its last two samples: one left out, or doubled, and it does not.
    foretold = 2 * np.cos(2 * np.pi * 440 / PLAY_RATE) * sound[1:-1] - sound[:-2]
    assert np.abs(sound[2:] - foretold).max() < 0.005 * np.abs(sound).max()
    spectrum = np.abs(np.fft.rfft(sound * np.blackman(len(sound))))
    bins = np.fft.rfftfreq(len(sound), 1 / PLAY_RATE)
    images = spectrum[np.abs(bins - 440) > 30].max()  # 25 dB down where a browser converts rates
    assert 20 * np.log10(images / spectrum.max()) < -70


def test_same_loudness_matches_levels(tones: BarePage) -> None:
    tones.click(5.0)
    tones.wait_for_sound()
    alike, apart = [], []
    for levels in (alike, apart):  # sounds that are compared are matched from the start
        levels.append(np.std(tones.hear(0.25)))
        tones.page.keyboard.press("b")
        levels.append(np.std(tones.hear(0.25)))
        tones.page.keyboard.press("a")
        tones.page.keyboard.press("m")
    assert alike[0] == pytest.approx(alike[1], rel=0.1)
    assert 20 * np.log10(alike[0]) == pytest.approx(-26, abs=0.5)
    assert apart[0] == pytest.approx(10 * apart[1], rel=0.1)


def test_twice_as_fast_at_the_same_pitch(tones: BarePage) -> None:
    tones.page.get_by_label("Speed").select_option("2")
    tones.click(3.0)
    tones.wait_for_sound()
    played, passed = advance(tones, lambda: None, secs=1.0)
    assert played / passed == pytest.approx(2.0, abs=0.3)
    assert pitch(tones.hear(0.3)) == pytest.approx(440, abs=8)


def test_replacing_a_sound_does_not_stop_it(tones: BarePage) -> None:
    tones.click(5.0)
    tones.wait_for_sound()

    def exchange() -> None:
        tones.timeline.replace("low", tone(700, 0.4))
        tones.push()

    played, passed = advance(tones, exchange)
    assert played == pytest.approx(passed, abs=0.2)
    sound = tones.hear(0.3)
    assert pitch(sound) == pytest.approx(700, abs=8)
    assert np.std(sound) == pytest.approx(10 ** (-26 / 20), rel=0.1)  # and the old one is gone


def test_muted_sides_are_silent(tones: BarePage) -> None:
    tones.click(5.0)
    tones.wait_for_sound()
    tones.page.get_by_role("button", name="Mute the bot").click()
    assert np.abs(tones.hear(0.2)).max() < 1e-4


def test_a_loop_stays_in_the_selection(tones: BarePage) -> None:
    (x0, y), (x1, _) = tones.place(6.0), tones.place(6.5)
    tones.page.mouse.move(x0, y)
    tones.page.mouse.down()
    tones.page.mouse.move(x1, y, steps=3)
    tones.page.mouse.up()
    assert tones.saved("selection") == pytest.approx([6.0, 6.5], abs=0.03)
    tones.page.keyboard.press("l")
    tones.page.keyboard.press(" ")
    tones.wait_for_sound()
    places = []
    for _ in range(15):
        tones.page.wait_for_timeout(130)
        places.append(tones.shown_time())
    start, end = tones.saved("selection")
    assert min(places) >= start - 0.03
    assert max(places) <= end + 0.03
    assert np.count_nonzero(np.diff(places) < 0) >= 2  # it went round
    tones.page.keyboard.press("Escape")
    assert tones.saved("selection") == []


def test_the_end_of_the_call_stops_it(tones: BarePage) -> None:
    tones.page.keyboard.press("End")
    tones.page.keyboard.press("ArrowLeft")
    tones.page.keyboard.press(" ")
    tones.wait("root.dataset.state === 'playing'")
    tones.wait("root.dataset.state === 'paused'")
    assert tones.shown_time() == pytest.approx(20.0, abs=0.05)


def test_one_player_at_a_time(page: Page, tones: BarePage) -> None:
    page.evaluate(
        """async () => {
          const source = await window.pySource();
          const module = URL.createObjectURL(new Blob([source.js], { type: "text/javascript" }));
          const { render } = (await import(module)).default;
          const state = { position: 0, selection: [], view: [0, 20], ...source.state, _overview: null };
          const model = { ...window.model, get: (key) => state[key], set: () => {}, on: () => {}, off: () => {} };
          const el = document.createElement("div");
          document.body.append(el);
          render({ model, el });
        }"""
    )
    tones.click(5.0)
    tones.wait_for_sound()
    page.get_by_role("button", name="▶ Play").click()  # the other one's
    tones.wait("root.dataset.state === 'paused'")


# -- findings and events ---------------------------------------------------------------------------


def test_n_goes_from_the_worst_finding_to_the_next(page: Page, call: Call) -> None:
    """Not to what is said of the whole call: there is no place to go to."""
    found = diagnose(call)
    everywhere = replace(found[0], parts=(Part(0.0, 20.0, 1.0),), severity="error")
    player = BarePage(page, CallTimeline(call, [everywhere, *reversed(list(found))]))
    note = player.page.get_by_role("status")
    findings = [m for m in player.timeline._scene.marks if m["row"] == "finding" and not m["whole"]]
    findings.sort(key=lambda mark: mark["rank"])
    severities = [SEVERITIES.index(mark["severity"]) for mark in findings]
    assert len(findings) >= 3 and len(set(severities)) > 1 and severities == sorted(severities)
    player.page.locator(".wb-tl-stage").focus()
    for finding in [*findings, findings[0]]:
        player.page.keyboard.press("n")
        expect(note).to_contain_text(finding["text"])
        expect(note).to_contain_text(f"{finding['severity']}: {finding['title']}, ")
        expect(note.locator("code")).to_have_text(finding["kind"])
        assert player.shown_time() == pytest.approx(max(0, finding["start"] - 0.5), abs=0.02)
        start, end = player.get("view")
        assert start <= finding["start"] <= end
        if finding["listen"]:
            assert finding["listen"] in (player.get("caller"), player.get("bot"))
    player.page.keyboard.press("p")
    expect(note).to_contain_text(findings[-1]["text"])


def test_each_part_of_a_finding_can_be_gone_to(player: BarePage) -> None:
    marks = player.timeline._scene.marks
    lost = next(mark for mark in marks if mark["kind"] == "sequence_gap")
    assert [start for start, _ in lost["parts"]] == pytest.approx([8.0, 9.0], abs=0.05)
    lane = 34 + 4 + 19 + 9
    for start, end in reversed(lost["parts"]):  # the bars, then the words below
        player.page.mouse.click(*player.place((start + end) / 2, lane))
        assert player.shown_time() == pytest.approx(start - 0.5, abs=0.05)
    player.page.get_by_role("status").get_by_role("button").nth(1).click()
    assert player.shown_time() == pytest.approx(lost["parts"][1][0] - 0.5, abs=0.05)
    player.page.mouse.move(*player.place(8.6, lane))  # nothing is lost in between
    expect(player.page.locator(".wb-tl-hover")).not_to_contain_text("Caller audio missing")


def test_colours_come_from_python(player: BarePage) -> None:
    style = "getComputedStyle(document.querySelector('.wb-tl')).getPropertyValue('--wb-tl-{}')"
    for name, look in SEVERITY_LOOKS.items():
        assert player.page.evaluate(style.format(name)).strip() == look.day.paper
    for side, (day, _) in SIDE_COLOURS.items():
        assert player.page.evaluate(style.format(side)).strip() == day


def test_a_signal_is_explained_by_its_sentence(player: BarePage) -> None:
    for name, signal in SIGNALS.items():
        button = player.page.locator(f"button[data-choice={name}]")
        expect(button).to_have_attribute("title", signal.sentence)


def test_events_are_a_list_to_be_read_and_pressed(player: BarePage) -> None:
    marks = player.timeline._scene.marks
    told = [mark for mark in marks if mark["row"] != "underrun"]  # of that hole a finding tells
    player.page.get_by_text(f"Events and findings ({len(told)})").click()
    items = player.page.locator(".wb-tl-list button")
    expect(items).to_have_count(len(told))
    expect(items.filter(has_text="Gap in playback")).to_have_count(1)
    items.filter(has_text=re.compile("^interruption")).click()
    assert player.shown_time() == pytest.approx(14.5, abs=0.1)
    expect(player.page.get_by_role("status")).to_contain_text("interruption")
    expect(player.page.get_by_role("status").locator("code")).to_have_count(0)
    lost = items.filter(has_text="Caller audio missing, caller, ")
    expect(lost.filter(has_text="[sequence_gap] — ")).to_have_count(1)


def test_the_list_is_searched_and_filtered(player: BarePage) -> None:
    page = player.page
    page.get_by_text("Events and findings").click()
    items = page.locator(".wb-tl-list button")
    page.get_by_label("Search events and findings").fill("MISSING caller")
    expect(items).to_have_count(1)
    expect(page.locator(".wb-tl summary").filter(has_text="1 of ")).to_be_visible()
    page.get_by_label("What is listed").select_option("event")
    expect(items).to_have_count(0)
    page.get_by_label("Search events and findings").fill("")
    assert all("[" not in text for text in items.all_inner_texts())
    assert items.count() == sum(m["row"] == "event" for m in player.timeline._scene.marks)
    page.get_by_label("Search events and findings").press("n")  # a letter, and no key of the player
    expect(page.locator(".wb-tl-note")).to_be_empty()


def test_text_of_the_capture_is_never_markup(player: BarePage) -> None:
    player.page.get_by_text("Events and findings").click()
    item = player.page.locator(".wb-tl-list button").filter(has_text="warning, 0:17")
    expect(item).to_contain_text("<img src=x onerror=")
    item.click()
    expect(player.page.get_by_role("status")).to_contain_text("<script>")
    assert player.page.locator(".wb-tl img, .wb-tl script").count() == 0
    assert player.page.evaluate("window.hacked") is None


def test_a_mark_says_what_it_is_under_the_pointer(player: BarePage) -> None:
    (hole,) = (mark for mark in player.timeline._scene.marks if mark["row"] == "underrun")
    bot_wave = 34 + 4 + 19 + 2 * 19 + 6 + 60 + 92 + 6 + 30
    player.page.mouse.move(*player.place((hole["start"] + hole["end"]) / 2, bot_wave))
    expect(player.page.locator(".wb-tl-hover")).to_contain_text("Gap in playback, bot, ")
    expect(player.page.locator(".wb-tl-hover")).to_contain_text("[underrun] — ")
    expect(player.page.locator(".wb-tl-hover")).to_contain_text("ran dry for")
    player.page.mouse.move(*player.place(6.0, 200))
    expect(player.page.locator(".wb-tl-hover")).to_contain_text(" Hz")


# -- the keyboard, and those who do not see --------------------------------------------------------


def test_keys_do_everything_and_reach_nothing_else(player: BarePage) -> None:
    page = player.page
    page.evaluate("document.addEventListener('keydown', () => { window.leaked = true; })")
    page.locator(".wb-tl-stage").focus()
    steps: list[tuple[str, float]] = [
        ("ArrowRight", 1), ("Shift+ArrowRight", 11), ("ArrowLeft", 10), ("End", 20), ("Home", 0),
    ]  # fmt: skip
    for key, place in steps:
        page.keyboard.press(key)
        assert player.shown_time() == pytest.approx(place, abs=0.01)
    for key in ("ArrowRight", "ArrowRight", "[", "ArrowRight", "]", "z"):
        page.keyboard.press(key)
    assert player.saved("selection") == pytest.approx([2.0, 3.0])
    assert player.get("view") == pytest.approx([1.97, 3.03])
    page.keyboard.press("-")
    assert player.get("view")[1] - player.get("view")[0] == pytest.approx(2.12)
    page.keyboard.press("0")
    assert player.get("view") == [0.0, 20.0]
    page.keyboard.press("2")
    assert player.get("bot") == "bot_sent"
    page.keyboard.press("d")  # means nothing here, but would delete a cell
    assert page.evaluate("window.leaked") is None
    page.get_by_text("Events and findings").click()
    focusable = "button, input, select, summary, [tabindex]"
    unprotected = page.locator(f".wb-tl :is({focusable}):not([data-lm-suppress-shortcuts])")
    assert unprotected.count() == 0  # Jupyter's shortcuts look for it on the very element


def test_space_presses_the_button_that_has_the_focus(player: BarePage) -> None:
    player.page.get_by_role("button", name="bot_said").focus()
    player.page.keyboard.press(" ")
    assert player.get("bot") == "bot_said"
    assert player.page.locator(".wb-tl").get_attribute("data-state") == "paused"


def test_everything_has_a_name_a_role_and_a_place_in_the_order(player: BarePage) -> None:
    page = player.page
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll(".wb-tl button, .wb-tl select")]
          .filter((node) => !(node.textContent.trim() || node.getAttribute("aria-label")))
          .map((node) => node.outerHTML)"""
    )
    assert unnamed == []
    stage = page.get_by_role("slider", name="Play position")
    page.locator(".wb-tl-stage").focus()
    page.keyboard.press("ArrowRight")
    assert stage.get_attribute("aria-valuenow") == "1.00"
    assert stage.get_attribute("aria-valuetext") == "0:01.0 of 0:20.0"
    expect(page.get_by_role("button", name="caller_sent")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="▶ Play").focus()
    order = []
    for _ in range(30):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate("document.activeElement.className || document.activeElement.textContent")
        )
    for earlier, later in (("⟲ Loop", "caller_sent"), ("bot_said", "wb-tl-stage")):
        places = [
            next(i for i, text in enumerate(order) if word in text) for word in (earlier, later)
        ]
        assert places == sorted(places)


# -- comparing -------------------------------------------------------------------------------------


def test_a_leg_and_a_setting_are_chosen_apart(
    page: Page, call: Call, comparison: Comparison
) -> None:
    player = BarePage(page, CallTimeline(call, comparison=comparison))
    expect(page.get_by_role("button", name="Same loudness")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.get_by_role("button", name="PCM 16 kHz").click()
    assert player.saved("bot") == "PCM 16 kHz / G.711"
    page.get_by_label("The caller's leg").select_option("G.722")
    assert player.saved("bot") == "PCM 16 kHz / G.722"
    player.timeline.bot = "PCMU / G.711"
    player.push()
    expect(page.get_by_label("The caller's leg")).to_have_value("G.711")


def test_blind_hides_names_everywhere_until_it_is_over(
    page: Page, call: Call, comparison: Comparison
) -> None:
    player = BarePage(page, CallTimeline(call, comparison=comparison))
    page.get_by_role("button", name="PCM 8 kHz").click()
    page.keyboard.press("b")
    pair = page.locator(".wb-tl-slot").locator("xpath=..").all_inner_texts()
    page.keyboard.press("m")  # each at its own loudness
    page.get_by_role("button", name="Blind").click()
    markup = page.locator(".wb-tl").evaluate("node => node.outerHTML")
    assert "PCM" not in markup
    for number in "1234":
        expect(page.get_by_role("button", name=f"sample {number}")).to_be_visible()
    heard = set()
    for number in "1234":
        page.keyboard.press(number)
        heard.add(player.saved("bot"))
    assert len(heard) == 4
    drawn = [q["tracks"]["bot"] for q in player.questions if q["kind"] == "view"]
    assert set(drawn[-4:]) == {"bot_said"}  # a picture would tell
    page.keyboard.press("a")
    hidden = player.saved("bot")
    page.get_by_role("button", name="Blind").click()
    expect(page.get_by_role("status")).to_contain_text(f"A was {hidden}")
    expect(page.get_by_role("button", name="PCM 24 kHz")).to_be_visible()
    assert page.locator(".wb-tl-slot").locator("xpath=..").all_inner_texts() == pair
    expect(page.get_by_role("button", name="B", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(page.get_by_role("button", name="Same loudness")).to_have_attribute(
        "aria-pressed", "false"
    )


# -- an hour, and a thousand events ----------------------------------------------------------------


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """64 s with a thousand events, and two answers in the speech of both."""
    scene = Scene(64.0, pipeline_rate=16000)
    for at in (1.0, 21.0, 41.0):
        scene.say_bot(at, speech("bot/b04"))
        scene.say_caller(at + 10, speech("caller/c02"))
    for number, at in enumerate(np.linspace(0.5, 63, 998)):
        scene.log(float(at), f"number {number}", level=3 + number % 2)
    return Call.open(scene.write(tmp_path_factory.mktemp("busy") / "call.mcap"))


#: Keeps what the last picture wrote: text, where it begins and ends, and its height.
_WRITTEN = """
() => {
  const { clearRect, fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.clearRect = function (...box) {
    if (this.canvas.className === "wb-tl-canvas") window.written = [];
    return clearRect.apply(this, box);
  };
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    const wide = this.measureText(text).width;
    const left = this.textAlign === "right" ? x - wide : x;
    window.written?.push([text, left, left + wide, y]);
    return fillText.call(this, text, x, y);
  };
}
"""


@pytest.mark.parametrize("seconds", [64.0, 8.0, 1.0, 0.3])
def test_names_of_a_thousand_events_never_overlap(page: Page, busy: Call, seconds: float) -> None:
    page.add_init_script(f"({_WRITTEN})()")
    player = BarePage(page, CallTimeline(busy))
    page.get_by_text("Events and findings (1002)").wait_for()
    page.evaluate(f"window.model.set('view', [20, {min(64.0, 20 + seconds)}])")
    assert player.get("view")[0] == 20
    page.evaluate("new Promise((act) => requestAnimationFrame(() => requestAnimationFrame(act)))")
    written = [entry for entry in page.evaluate("window.written") if 38 < entry[3] < 100]
    texts = {text for text, *_ in written}
    assert "events" in texts
    # There is room for names among 16 events and among 5, not among more than a hundred.
    assert texts - {"events", "findings"} == ({"warning", "error"} if seconds <= 1 else set())
    for number, (text, left, right, y) in enumerate(written):
        for other, its_left, its_right, its_y in written[:number]:
            apart = right <= its_left or its_right <= left or abs(y - its_y) >= 12
            assert apart, (text, other)


def test_a_thousand_events_are_single_ticks(page: Page, busy: Call) -> None:
    player = BarePage(page, CallTimeline(busy))
    page.get_by_text("Events and findings (1002)").wait_for()
    page.wait_for_timeout(200)
    ticks = columns_of(player, "event", 38 + 6, 4)
    assert 60 < len(ticks) < 1218 / 2  # of all the lane's pixels: no bar
    page.mouse.move(*player.place(30.0, 45))
    x = 62 + int(ticks[(ticks > 400)][0] - 62)
    page.mouse.move(8 + 9 + x, player.place(0, 45)[1])
    expect(page.locator(".wb-tl-hover")).to_contain_text(re.compile(r"^\d+ events, the first: "))


def test_sound_far_from_where_it_plays_is_let_go(page: Page, busy: Call) -> None:
    """Else an hour of listening would fill the browser."""
    player = BarePage(page, CallTimeline(busy))

    def asked(chunk: int) -> int:
        wanted = {"kind": "sound", "side": "bot", "choice": "caller_heard", "chunk": chunk}
        return sum(wanted.items() <= question.items() for question in player.questions)

    def play(at: float) -> None:
        player.click(at)
        player.wait("root.dataset.state === 'playing'")
        player.page.wait_for_function(f"window.model.get('position') >= {at - 0.1}")
        player.page.wait_for_function(f"window.model.get('position') > {at + 0.2}")

    play(1.5)
    assert asked(0) == 1
    for at in (9.5, 17.5, 25.5, 33.5, 41.5, 49.5):
        play(at)
    page.keyboard.press(" ")
    player.wait("root.dataset.state === 'paused'")
    last = asked(12)
    play(49.0)
    assert asked(12) == last  # it is still there
    play(1.5)
    assert asked(0) == 2


def test_a_long_call_is_sketched_and_then_drawn_well(page: Page, busy: Call) -> None:
    timeline = CallTimeline(Call.open(busy.path), sketch_from=10.0)
    player = BarePage(page, timeline)
    assert len(colours(player)) > 100
    if thread := timeline._laying:
        thread.join(60)
    player.push()
    player.wait("root.dataset.sketch === ''")
    player.click(2.0)
    player.wait_for_sound()


# -- Python's side ---------------------------------------------------------------------------------


def test_python_sets_the_position(player: BarePage) -> None:
    player.timeline.position = 7.25
    player.push()
    assert player.shown_time() == pytest.approx(7.25, abs=0.01)
    assert player.page.locator(".wb-tl").get_attribute("data-state") == "paused"


def test_a_call_that_goes_on_is_played_on(page: Page, tmp_path: Path) -> None:
    scene = Scene(9.0)
    scene.caller[:] = tone(500, 0.3, secs=9.0).samples
    writer = CaptureWriter(tmp_path / "live.mcap", max_records=10**6)
    records = sorted(scene._records(), key=lambda record: record[0])

    def record(until: float) -> None:
        while records and records[0][0] <= until:
            at, topic, body = records.pop(0)
            writer.record(topic, ANCHOR_NS + round(at * 1e9), body)
        writer.flush()

    record(2.0)
    player = BarePage(page, CallTimeline(Call.open(writer.path)))
    player.click(1.5)
    player.wait_for_sound()
    page.wait_for_timeout(1500)
    assert player.shown_time() == pytest.approx(2.0, abs=0.05)  # it waits for more
    record(6.0)
    page.evaluate("document.querySelector('[data-choice=bot_said]').kept = true")
    player.timeline.refresh()
    player.push()
    assert page.evaluate("document.querySelector('[data-choice=bot_said]').kept")  # not built anew
    assert player.shown_time() < 2.6  # and leaves nothing out
    give_up = time.monotonic() + 10
    while player.shown_time() < 2.6 and time.monotonic() < give_up:
        page.wait_for_timeout(50)
    assert 2.6 <= player.shown_time() < 6
    assert pitch(player.hear(0.3)) == pytest.approx(500, abs=8)
    writer.close()


def test_taken_away_it_leaves_nothing_behind(tones: BarePage) -> None:
    tones.click(5.0)
    tones.wait_for_sound()
    tones.page.evaluate("window.takeAway()")
    assert tones.page.evaluate("window.model.listeners()") == 0
    assert tones.page.locator(".wb-tl").count() == 0


def test_python_and_the_page_agree_on_the_finding_that_is_shown(player: BarePage) -> None:
    player.page.get_by_role("button", name=re.compile("Next of")).click()
    title = player.page.locator(".wb-tl-note-title")
    worst = title.inner_text()
    assert player.saved("finding") == 1
    player.timeline.finding = 2
    player.push()
    expect(title).not_to_have_text(worst)
    assert ", 2 of " in title.inner_text()
    player.page.keyboard.press("Home")
    player.wait("model.get('finding') === 0")
    assert player.saved("finding") == 0


def test_an_axis_may_reach_beyond_the_call(player: BarePage) -> None:
    player.timeline.axis = [-10.0, 30.0]
    player.push()
    player.page.get_by_role("button", name="All", exact=True).click()
    assert player.get("view") == [-10.0, 30.0]
    colour = """x => {
      const canvas = document.querySelector(".wb-tl-canvas");
      return [...canvas.getContext("2d").getImageData(x, 250, 1, 1).data];
    }"""
    player.page.wait_for_timeout(300)
    box = player.page.locator("#here .wb-tl-canvas").bounding_box()
    before, inside = (
        player.page.evaluate(colour, player.place(at)[0] - box["x"]) for at in (-5.0, 10.0)
    )
    assert before[:3] == [255, 255, 255] and inside[:3] != before[:3]
