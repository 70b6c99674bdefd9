"""A blind test in a browser: three sounds in step, answers by mouse and by keys, and the score."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.bare_page import BarePage
from tests.browser.test_timeline import pitch, tone
from workbench.timeline import BlindListening

HERTZ = {"A": 440, "B": 1000}


@pytest.fixture
def listening(page: Page) -> BarePage:
    return BarePage(page, BlindListening({"low": tone(440, 0.4), "high": tone(1000, 0.04)}, 5))


def hear(listening: BarePage, letter: str) -> float:
    listening.page.keyboard.press(letter.lower())
    expect(listening.page.get_by_role("button", name=letter, exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    listening.wait_for_sound()
    sound = listening.hear(0.3)
    assert 20 * np.log10(np.std(sound)) == pytest.approx(-26, abs=1)  # whatever it was before
    return pitch(sound)


def answer(listening: BarePage, letter: str, done: int) -> None:
    listening.page.keyboard.press({"A": "1", "B": "2"}[letter])
    listening.page.wait_for_function(
        f"window.asked.filter((a) => a.kind === 'answer').length === {done}"
    )
    listening.push()


def test_a_person_with_ears_is_right_every_time(listening: BarePage) -> None:
    page, test = listening.page, listening.timeline.test
    page.locator(".wb-tl").focus()
    for letter, hertz in HERTZ.items():
        assert hear(listening, letter) == pytest.approx(hertz, abs=8)
    for done in range(1, 6):
        expect(page.get_by_text(f"trial {done} of 5")).to_be_visible()
        markup = page.locator(".wb-tl").evaluate("node => node.outerHTML")
        assert "low" not in markup.replace("below", "") and "high" not in markup
        heard = "A" if abs(hear(listening, "X") - 440) < 100 else "B"
        assert heard == test.x
        answer(listening, heard, done)
    expect(page.get_by_role("status")).to_contain_text("5 of 5 right, p = 0.031")
    expect(page.get_by_role("status")).to_contain_text("A was low, B was high")
    expect(page.get_by_role("button", name="X is A")).to_be_disabled()
    listening.wait("root.dataset.state === 'paused'")
    page.get_by_role("button", name="Again").click()
    page.wait_for_function("window.asked.some((a) => a.kind === 'again')")
    listening.push()
    expect(page.get_by_text("trial 1 of 5")).to_be_visible()


def test_space_presses_the_button_that_has_the_focus_else_it_plays(listening: BarePage) -> None:
    page = listening.page
    page.evaluate("document.addEventListener('keydown', () => { window.leaked = true; })")
    page.locator(".wb-tl").focus()
    page.keyboard.press(" ")
    listening.wait_for_sound()
    page.get_by_role("button", name="B", exact=True).focus()
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="B", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    assert page.locator(".wb-tl").get_attribute("data-state") == "playing"
    assert page.evaluate("window.leaked") is None


def test_what_the_kernel_cannot_do_is_said(
    listening: BarePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening.page.locator(".wb-tl").focus()
    for done in range(1, 6):
        answer(listening, "A", done)
    monkeypatch.setattr(listening.timeline, "_trials", -1)
    listening.page.get_by_role("button", name="Again").click()
    expect(listening.page.get_by_role("status")).to_contain_text("ValueError")


def test_taken_away_it_leaves_nothing_behind(listening: BarePage) -> None:
    listening.page.get_by_role("button", name="▶ Play").click()
    listening.wait_for_sound()
    listening.page.evaluate("window.takeAway()")
    assert listening.page.evaluate("window.model.listeners()") == 0
    assert listening.page.locator(".wb-tl").count() == 0
