"""`workbench view` in a browser: a user's day, from the list to a link in a fresh tab."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.captures import ANCHOR_NS, Scene, speech
from tests.viewing import HOLE, HOSTILE, served, shown_calls
from workbench.capture import CaptureWriter
from workbench.notes import Notes
from workbench.view.serving import Server

# The page lets no string become code, so nothing here waits for an expression: `expect` asks the page.
LOADED = ".wb-tl[data-views]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shown_calls(tmp_path_factory.mktemp("shown"))


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder) as server:
        yield server


@pytest.fixture
def visitor(browser: Browser, server: Server) -> Iterator[Page]:
    """A page of the list; it may load from nowhere else, and no script on it may fail."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        wrong: list[str] = []
        context.on("request", lambda request: _told(request.url, server, wrong))
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        context.on(
            "console", lambda line: wrong.append(line.text) if line.type == "error" else None
        )
        page = context.new_page()
        page.goto(server.address)
        yield page
        assert not wrong


def _told(url: str, server: Server, wrong: list[str]) -> None:
    if not url.startswith((server.address, "data:")):
        wrong.append(f"asked for {url}")


def open_call(page: Page, name: str) -> None:
    page.get_by_role("link", name=name).click()
    page.wait_for_selector(LOADED)


def note_title(page: Page) -> str:
    return page.locator(".wb-tl-note-title").inner_text()


def test_a_users_day(visitor: Page, folder: Path) -> None:
    page = visitor
    names = page.locator("tbody .at-name a")
    expect(names).to_have_text(["bad.mcap", "good.mcap", "broken.mcap"])  # the worst first
    expect(page.locator("tr.broken")).to_contain_text("not an MCAP file")
    page.get_by_label("Kind of finding").select_option("underrun")
    expect(names).to_have_text(["bad.mcap"])
    listed = page.url
    assert "#kind=underrun" in listed

    open_call(page, "bad.mcap")
    expect(page.locator(".found li").first).to_contain_text("Gap in playback")
    page.get_by_role("button", name=re.compile(r"Next of \d+ findings")).click()
    expect(page).to_have_url(re.compile(r"/call/\w{12}#t=2\.\d+&finding=1$"))
    link = page.url
    assert float(re.search(r"t=([\d.]+)", link)[1]) == pytest.approx(HOLE[0], abs=0.1)

    page.get_by_role("button", name="Play", exact=False).first.click()
    expect(page.locator(".wb-tl-meter")).to_have_attribute(
        "data-dbov", re.compile(r"^-([0-4]?\d)\.")
    )
    page.keyboard.press("Space")
    page.keyboard.press("c")
    page.get_by_label("Note", exact=True).fill(HOSTILE)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Note", exact=True)).to_be_hidden()
    (note,) = Notes(folder / "bad.mcap").read()
    assert note.text == HOSTILE

    fresh = page.context.new_page()
    fresh.goto(link)
    fresh.wait_for_selector(".wb-tl-note-title")
    assert "Gap in playback" in note_title(fresh)
    shown = fresh.locator(".wb-tl-time").inner_text()
    assert float(shown.split(" / ")[0].split(":")[1]) == pytest.approx(HOLE[0], abs=0.1)
    fresh.get_by_text("Events and findings").click()
    fresh.get_by_label("What is listed").select_option("note")
    expect(fresh.locator(".wb-tl-list li")).to_contain_text(HOSTILE)
    fresh.locator(".wb-tl-list li button").click()
    with fresh.expect_download() as download:
        fresh.get_by_role("link", name="Notes as labels").click()
    assert download.value.path().read_text("utf-8").endswith(f"\t{HOSTILE}\n")
    fresh.get_by_role("button", name="Remove").click()
    expect(fresh.locator(".wb-tl-list li")).to_have_count(0)
    assert Notes(folder / "bad.mcap").read() == ()
    fresh.close()

    page.get_by_role("link", name="← Calls").click()
    expect(names).to_have_text(["bad.mcap"])
    assert page.url == listed
    assert not page.evaluate("window.hacked") and page.locator("main img").count() == 0


def test_back_and_forward_go_from_finding_to_finding(visitor: Page) -> None:
    page = visitor
    open_call(page, "bad.mcap")
    steps = []
    for number in (1, 2):
        page.locator(".found a").nth(number - 1).click()
        expect(page).to_have_url(re.compile(f"finding={number}$"))
        page.wait_for_selector(".wb-tl-note-title")
        steps.append((page.url, note_title(page)))
    assert steps[0][1] != steps[1][1]
    page.go_back()
    expect(page.locator(".wb-tl-note-title")).to_have_text(steps[0][1])
    assert page.url == steps[0][0]
    page.go_forward()
    expect(page.locator(".wb-tl-note-title")).to_have_text(steps[1][1])
    for _ in range(3):
        page.go_back()
    expect(page.locator("h1")).to_have_text("Calls")


def test_the_list_is_sorted_and_filtered(visitor: Page) -> None:
    page = visitor
    names = page.locator("tbody .at-name a")
    page.get_by_role("button", name="length").click()
    expect(names).to_have_text(["bad.mcap", "good.mcap", "broken.mcap"])
    page.get_by_role("button", name="length").click()
    expect(page.locator("th.at-length")).to_have_attribute("aria-sort", "ascending")
    expect(names).to_have_text(["broken.mcap", "good.mcap", "bad.mcap"])
    page.get_by_label("release").select_option("1.3")
    expect(names).to_have_text(["good.mcap"])
    page.get_by_role("button", name="All calls").click()
    page.locator("select[name=severity]").select_option("broken")
    expect(names).to_have_text(["broken.mcap"])
    page.reload()
    expect(names).to_have_text(["broken.mcap"])
    page.get_by_role("button", name="All calls").click()
    page.get_by_label("Shorter than (s)").fill("7")
    expect(names).to_have_text(["good.mcap"])
    page.get_by_label("Shorter than (s)").fill("")
    page.get_by_label("From").fill("2199-01-01")
    expect(names).to_have_count(0)


@pytest.mark.parametrize("width", [390, 800])
def test_it_fits_a_narrow_page(visitor: Page, width: int) -> None:
    page = visitor
    page.set_viewport_size({"width": width, "height": 844})
    expect(page.locator("tbody tr")).to_have_count(3)
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) <= width
    open_call(page, "bad.mcap")
    expect(page.locator(".found li")).not_to_have_count(0)
    assert page.evaluate(wide) <= width


def test_a_call_that_is_recorded_is_followed(visitor: Page, folder: Path) -> None:
    page = visitor
    scene = Scene(9.0)
    scene.say_bot(0.5, speech("bot/b02"))
    records = sorted(scene._records(), key=lambda record: record[0])
    began = ANCHOR_NS - 60 * 10**9
    writer = CaptureWriter(folder / "live.mcap", call={"call_id": "c-9"}, labels={"release": "1.5"})

    def write(start: float, end: float) -> None:
        for at, topic, body in records:
            if start <= at < end:
                writer.record(topic, began + round(at * 1e9), body)
        writer.flush()

    try:
        write(-1.0, 3.0)
        row = page.locator("tr.recording")
        expect(row).to_contain_text("release 1.5", timeout=20_000)
        open_call(page, "live.mcap")
        total = page.locator(".wb-tl-time")
        expect(total).to_have_text(re.compile(r"/ 0:0[23]\.\d\d live$"))
        write(3.0, 6.0)
        expect(total).to_have_text(re.compile(r"/ 0:0[56]\.\d\d live$"), timeout=20_000)
        write(6.0, 20.0)
    finally:
        writer.close()
    expect(total).to_have_text(re.compile(r"/ 0:0[89]\.\d\d$"), timeout=20_000)
    expect(page.locator(".facts .live")).to_have_count(0, timeout=20_000)
    page.get_by_role("link", name="← Calls").click()
    expect(page.locator("tr.recording")).to_have_count(0, timeout=20_000)
    os.unlink(folder / "live.mcap")
    expect(page.locator("tbody tr")).to_have_count(3, timeout=20_000)


def test_two_calls_are_on_one_clock(visitor: Page) -> None:
    page = visitor
    open_call(page, "bad.mcap")
    others = page.get_by_label("Show another call beside this one")
    good = others.locator("option", has_text="good.mcap")
    others.select_option(good.get_attribute("value"))
    players = page.locator(LOADED)
    expect(players).to_have_count(2)
    expect(page.locator(".pair thead th")).to_have_text(["", "bad.mcap", "good.mcap"])
    for player in (0, 1):
        expect(players.nth(player).locator(".wb-tl-stage")).to_have_attribute(
            "aria-valuemax", re.compile("[86].0")
        )
    page.get_by_label("Where the first call is lined up").select_option(index=1)
    expect(page).to_have_url(re.compile(r"zero=2\.\d+%2C0\.00$"))
    times = players.locator(".wb-tl-time")
    expect(times.nth(0)).to_contain_text("0:02.0")
    expect(times.nth(1)).to_contain_text("0:00.0")
    page.get_by_role("button", name="Hear the other").click()
    expect(players.nth(0)).to_have_attribute("data-state", "playing")
    page.keyboard.press("x")
    expect(players.nth(1)).to_have_attribute("data-state", "playing")
    expect(players.nth(0)).to_have_attribute("data-state", "paused")
    page.keyboard.press("x")
    expect(players.nth(0)).to_have_attribute("data-state", "playing")
    players.nth(0).locator(".wb-tl-play").click()
    expect(players.nth(0)).to_have_attribute("data-state", "paused")
    first, second = (float(text.split(" / ")[0].split(":")[1]) for text in times.all_inner_texts())
    assert first - second == pytest.approx(HOLE[0], abs=0.15)
    link = page.url
    page.reload()
    expect(players).to_have_count(2)
    expect(page.get_by_label("Where the first call is lined up")).not_to_have_value("0")
    assert page.url == link


def test_who_stopped_the_server_is_told(browser: Browser, folder: Path) -> None:
    with served(folder / "good.mcap") as server, browser.new_context() as context:
        page = context.new_page()
        page.goto(server.address)
        expect(page.locator("tbody tr")).to_have_count(1)
        server.should_exit = True
        expect(page.locator(".sentence")).to_contain_text("does not answer", timeout=20_000)
