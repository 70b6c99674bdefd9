"""The report as a browser shows it: hostile texts do nothing, and it plays."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.reports import ATTACKS, hostile_report


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    hostile_report(folder)
    return folder / "report.html"


@pytest.fixture
def report(file: Path, page: Page) -> Iterator[Page]:
    """The report, opened from the disk. No dialog may open, and nothing may be fetched."""
    dialogs: list[str] = []
    fetched: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(file.as_uri())
    yield page
    assert dialogs == []
    assert [url for url in fetched if not url.startswith(("data:", file.as_uri()))] == []


def wait(page: Page, condition: str) -> None:
    """As ``page.wait_for_function``, which the report's own policy forbids."""
    give_up = time.monotonic() + 15
    while not page.evaluate(condition):
        assert time.monotonic() < give_up, condition
        page.wait_for_timeout(20)


def test_hostile_texts_run_nothing(report: Page) -> None:
    report.wait_for_load_state("load")
    report.mouse.wheel(0, 20_000)
    report.wait_for_timeout(500)
    assert report.evaluate("window.hacked") is None
    assert report.evaluate("frames.length") == 0
    text = report.locator("body").inner_text()
    assert all(attack in text for attack in ATTACKS)


def test_the_test_would_notice(browser: Browser) -> None:
    """The same attacks do run on a page that does not escape them."""
    page = browser.new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda _: None)
    page.set_content(f"<table><tr><td>{ATTACKS[0]}{ATTACKS[1]}</td></tr></table>")
    page.wait_for_function("window.hacked === 1")
    assert dialogs
    page.close()


def test_policy_stops_a_script_that_slipped_in(report: Page) -> None:
    report.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.hacked = 2";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror='window.hacked = 3'>");
        }"""
    )
    report.wait_for_timeout(300)
    assert report.evaluate("window.hacked") is None


def test_pictures_are_seen(report: Page) -> None:
    widths = report.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert len(widths) == 2
    assert min(widths) > 800
    for image in report.get_by_role("img").all():
        assert image.get_attribute("alt")


def test_every_player_plays_sound(report: Page) -> None:
    """Each one is decoded by the browser, and is as loud as speech."""
    loudest = report.evaluate(
        """async () => {
          const context = new OfflineAudioContext(1, 1, 24000), found = [];
          for (const player of document.querySelectorAll("audio")) {
            const text = atob(player.src.split(",")[1]);
            const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
            const sound = (await context.decodeAudioData(bytes.buffer)).getChannelData(0);
            found.push(sound.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0));
          }
          return found;
        }"""
    )
    assert len(loudest) == 2 + 3 + 1
    assert min(loudest) > 0.05


def test_switching_settings_keeps_the_position_and_goes_on_playing(report: Page) -> None:
    player = report.get_by_label("excerpt")
    player.scroll_into_view_if_needed()
    player.evaluate("node => node.play()")
    wait(report, "document.getElementById('ab').currentTime > 1")
    before = player.evaluate("node => [node.currentTime, performance.now(), node.src]")
    report.get_by_label("PCM 16 kHz, G.722 leg").check()
    report.get_by_label("PCMU, G.711 leg").check()  # before the one above was loaded
    wait(report, f"document.getElementById('ab').currentTime > {before[0] + 0.3}")
    at, now, source = player.evaluate("node => [node.currentTime, performance.now(), node.src]")
    assert source != before[2]
    assert not player.evaluate("node => node.paused")
    assert at - before[0] <= (now - before[1]) / 1000 + 0.1


def test_a_pause_stays_a_pause_at_its_place(report: Page) -> None:
    player = report.get_by_label("excerpt")
    player.evaluate("node => { node.currentTime = 2.5; }")
    report.get_by_label("PCM 24 kHz, G.722 leg").check()
    wait(report, "document.getElementById('ab').currentTime === 2.5")
    assert player.evaluate("node => node.paused")


WHOLE = "document.querySelector('audio[aria-label=caller_heard]')"


#: The call's time at which the cursor stands in the picture.
CURSOR = """(() => {
  const stage = document.getElementById("stage"), box = stage.getBoundingClientRect();
  const head = document.getElementById("head").getBoundingClientRect();
  const { left, right } = stage.dataset;
  const share = (100 * ((head.left + head.right) / 2 - box.left)) / box.width - left;
  return (share / (100 - left - right)) * stage.ariaValueMax;
})()"""


def cursor(report: Page) -> float:
    return report.evaluate(CURSOR)


def click_at(report: Page, secs: float) -> None:
    """Click the picture where a time of the call is."""
    stage = report.locator("#stage")
    stage.scroll_into_view_if_needed()
    x = stage.evaluate(
        """(stage, secs) => {
          const { left, right } = stage.dataset, width = 100 - left - right;
          return (+left + (width * secs) / stage.ariaValueMax) / 100 * stage.clientWidth;
        }""",
        secs,
    )
    stage.click(position={"x": x, "y": 100})


def test_a_click_in_the_picture_plays_from_there_and_the_cursor_moves(report: Page) -> None:
    assert report.locator("#head").is_hidden()
    click_at(report, 7.0)
    # The cursor moves with each picture, the time with the sound: now and then they are as one.
    together = f"Math.abs({CURSOR} - {WHOLE}.currentTime) < 0.1"
    wait(report, f"!{WHOLE}.paused && {WHOLE}.currentTime > 7.2 && {together}")
    click_at(report, 3.0)
    wait(report, f"{WHOLE}.currentTime >= 3 && {WHOLE}.currentTime < 7 && {together}")
    report.keyboard.press(" ")
    wait(report, f"{WHOLE}.paused && {together}")


def test_an_excerpt_moves_the_cursor_from_where_it_was_cut_out(report: Page) -> None:
    excerpt = "document.querySelector('audio[data-begins]:not([data-begins=\\'0\\'])')"
    begins = report.evaluate(f"Number({excerpt}.dataset.begins)")
    assert begins == 0.5
    click_at(report, 7.0)
    wait(report, f"{WHOLE}.currentTime > 7.1")  # it has told that it plays
    report.evaluate(f"{excerpt}.play()")
    wait(report, f"{excerpt}.currentTime > 0.3")
    assert report.evaluate(f"{WHOLE}.paused")  # one at a time
    report.evaluate(f"{excerpt}.pause()")
    wait(report, f"{excerpt}.paused")
    expected = begins + report.evaluate(f"{excerpt}.currentTime")
    wait(report, f"Math.abs(document.getElementById('stage').ariaValueNow - {expected}) < 0.02")
    assert cursor(report) == pytest.approx(expected, abs=0.05)


def test_the_picture_is_worked_by_keys(report: Page) -> None:
    stage = report.get_by_role("slider", name="Play position")
    stage.focus()
    steps = [
        ("ArrowRight", 1),
        ("Shift+ArrowRight", 11),
        ("ArrowLeft", 10),
        ("End", 12),
        ("Home", 0),
    ]
    for key, place in steps:
        report.keyboard.press(key)
        expect(stage).to_have_attribute("aria-valuenow", re.compile(rf"^{place}\.0"))
        assert cursor(report) == pytest.approx(place, abs=0.05)
    assert report.evaluate(f"{WHOLE}.paused")
    report.keyboard.press("ArrowRight")
    expect(stage).to_have_attribute("aria-valuetext", "0:01.0")
    report.keyboard.press(" ")
    wait(report, f"!{WHOLE}.paused && {WHOLE}.currentTime > 1.1")
    report.keyboard.press(" ")
    wait(report, f"{WHOLE}.paused")


def test_it_is_read_without_a_mouse_and_by_name(report: Page) -> None:
    expect(report.get_by_role("heading", level=1)).to_have_text(re.compile("^Call of 20"))
    assert report.evaluate("document.documentElement.lang") == "en"
    assert report.evaluate(
        "[...document.querySelectorAll('audio')].every((node) => node.getAttribute('aria-label'))"
    )
    report.get_by_label("the bot itself").focus()
    report.keyboard.press("ArrowDown")
    expect(report.get_by_label("PCMU, G.711 leg")).to_be_checked()


#: The widths of a telephone, a small window and a large one.
WIDTHS = (390, 800, 1440)


def seen(page: Page) -> NDArray[np.int64]:
    """The page as it is seen, from top to bottom."""
    png = page.screenshot(full_page=True)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int)


@pytest.mark.parametrize("width", WIDTHS)
def test_at_every_width_only_tables_and_pictures_scroll(report: Page, width: int) -> None:
    report.set_viewport_size({"width": width, "height": 800})
    assert report.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_is_set_letter_by_letter(report: Page, width: int) -> None:
    """A text of a sentence has room for some words in a line."""
    report.set_viewport_size({"width": width, "height": 800})
    narrow = """() => {
      const texts = [...document.querySelectorAll("td, th, dt, dd, p, li, h1, h2")];
      const long = texts.filter((node) => node.getClientRects().length && node.innerText.length > 30);
      return long.map((node) => [node.clientWidth, node.innerText.slice(0, 40)]).filter(([w]) => w < 120);
    }"""
    assert report.evaluate(narrow) == []


def test_on_a_telephone_the_pictures_are_large_enough_to_be_read(report: Page) -> None:
    report.set_viewport_size({"width": 390, "height": 800})
    widths = report.evaluate("[...document.images].map((image) => image.clientWidth)")
    assert min(widths) >= 700
    click_at(report, 7.0)  # far to the right, and scrolled to
    wait(report, f"!{WHOLE}.paused && {WHOLE}.currentTime > 7 && Math.abs({CURSOR} - 7.2) < 0.5")


def test_on_a_telephone_a_row_that_is_scrolled_keeps_its_name(report: Page) -> None:
    report.set_viewport_size({"width": 390, "height": 800})
    table = report.locator("table.dataframe")
    table.scroll_into_view_if_needed()
    report.evaluate("document.querySelector('table.dataframe').parentElement.scrollLeft = 1000")
    for cell in ("far leg", "setting", "kbit/s"):
        box = table.get_by_role("columnheader", name=cell, exact=True).bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_printed_it_is_dark_on_white_without_what_only_a_screen_can_do(report: Page) -> None:
    """On A4 between its margins, from a browser that is dark."""
    report.emulate_media(media="print", color_scheme="dark")
    report.set_viewport_size({"width": 702, "height": 1000})
    assert report.evaluate("document.documentElement.scrollWidth") <= 702
    for selector in ("audio", "fieldset", "#stage", ".players"):
        assert not report.locator(selector).first.is_visible(), selector
    expect(report.get_by_text("On paper there is no sound")).to_be_visible()
    table = report.locator("table.dataframe")
    for name in ("delay (ms)", "kbit/s"):  # its right columns
        box = table.get_by_role("columnheader", name=name, exact=True).bounding_box()
        assert box is not None and box["x"] + box["width"] <= 702
    pixels = seen(report)
    assert (pixels == 255).all(axis=2).mean() > 0.6  # paper
    assert (pixels.sum(axis=2) < 150).mean() > 0.01  # ink
    assert pixels[:, -1].min() > 200  # rules reach the edge, no letter does


def test_printed_no_row_and_no_picture_is_cut_by_the_end_of_a_page(report: Page) -> None:
    report.emulate_media(media="print")
    whole = "[...document.querySelectorAll('tr, figure, .facts > div')]"
    kept = f"{whole}.every((node) => getComputedStyle(node).breakInside === 'avoid')"
    assert report.evaluate(kept)
    heights = report.evaluate("[...document.images].map((image) => image.clientHeight)")
    assert max(heights) < 273 / 25.4 * 96  # A4 between its margins
    pdf = report.pdf(format="A4")
    assert pdf.count(b"/Type /Page\n") <= 9
