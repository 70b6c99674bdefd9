"""What was said in the player: on its tracks, under them, in a list, searched; kept nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bare_page import STATE, BarePage
from tests.captures import Scene, speech
from workbench.call import Call
from workbench.capture import Words as Recorded
from workbench.timeline import CallTimeline

WORDS = Path(__file__).parents[1] / "data" / "staged" / "timed_words.mcap"
HOSTILE = "<img src=x onerror='window.hacked = 1'>"


@pytest.fixture
def player(page: Page) -> BarePage:
    player = BarePage(page, CallTimeline(Call.open(WORDS)))
    player.page.locator(".wb-tl-search").wait_for()
    return player


def search(player: BarePage, text: str) -> None:
    player.page.locator(".wb-tl-stage").focus()
    player.page.keyboard.press("/")
    player.page.keyboard.type(text)


def test_the_words_at_the_position_stand_under_the_picture(player: BarePage) -> None:
    call = player.timeline.call
    word = call.words.of("bot")[3]
    player.timeline.position = (word.start + word.end) / 2
    player.push()
    caption = player.page.locator(".wb-tl-caption").nth(1)
    expect(caption).to_contain_text("Dear [redacted], I heard [number].")
    expect(caption.locator("b")).to_have_text(word.text)


def test_what_is_searched_is_found_and_gone_to(player: BarePage) -> None:
    search(player, "I HEARD")
    expect(player.page.get_by_text("2 found")).to_be_visible()
    player.page.keyboard.press("Enter")
    expect(player.page.get_by_text("1 of 2")).to_be_visible()
    first, second = player.timeline.call.words.search("i heard")
    player.wait(f"Math.abs(model.get('position') - {first[0].start - 0.2}) < 0.01")
    player.page.keyboard.press("Enter")
    player.wait(f"Math.abs(model.get('position') - {second[0].start - 0.2}) < 0.01")
    player.page.keyboard.press("Shift+Enter")
    player.wait(f"Math.abs(model.get('position') - {first[0].start - 0.2}) < 0.01")
    search(player, "nonsense")
    expect(player.page.get_by_text("0 found")).to_be_visible()
    player.page.keyboard.press("Enter")
    player.page.keyboard.press("Escape")
    expect(player.page.locator(".wb-tl-search")).to_have_value("")


def test_keys_typed_into_the_search_move_nothing(player: BarePage) -> None:
    before = player.get("view"), player.get("bot")
    search(player, "all 0 + b m 2")
    assert (player.get("view"), player.get("bot")) == before


def test_words_are_drawn_and_those_found_are_marked(player: BarePage) -> None:
    canvas = player.page.locator(".wb-tl-canvas")
    player.page.locator(".wb-tl-stage").focus()
    before = canvas.screenshot()
    search(player, "redacted")
    expect(player.page.get_by_text("2 found")).to_be_visible()
    player.page.wait_for_timeout(100)
    assert canvas.screenshot() != before


def test_the_list_says_what_was_not_heard_and_goes_there(player: BarePage) -> None:
    player.page.get_by_text("What was said", exact=True).click()
    items = player.page.locator(".wb-tl-list li")
    unheard = player.timeline.call.words.unheard
    expect(items).to_have_count(len(player.timeline.call.words.phrases))
    expect(items.last).to_contain_text(f"{unheard.text} (not heard)")
    expect(items.last.locator("s")).to_have_text(unheard.text)
    items.last.get_by_role("button").click()
    player.wait(f"Math.abs(model.get('position') - {unheard[0].start - 0.2}) < 0.01")


def test_nothing_of_it_is_in_the_state(player: BarePage) -> None:
    search(player, "nobody")
    player.page.keyboard.press("Enter")
    player.page.wait_for_timeout(400)
    kept = [player.get(name) for name in STATE[CallTimeline] if name != "_overview"]
    kept.append(player.timeline.get_state(["_contents", "view", "position", "caller", "bot"]))
    assert "nobody" not in json.dumps(kept) and "redacted" not in json.dumps(kept)


def test_words_of_a_stranger_stay_text(page: Page, tmp_path: Path) -> None:
    scene = Scene(4.0)
    scene.say_caller(0.5, speech("caller/c02"))
    scene.extra.append((3.0, "/words", Recorded(side="caller", text=f"say {HOSTILE}")))
    timeline = CallTimeline(Call.open(scene.write(tmp_path / "a.mcap")))
    timeline.position = 1.0
    player = BarePage(page, timeline)
    expect(page.locator(".wb-tl-caption").first).to_contain_text(HOSTILE)
    page.get_by_text("What was said", exact=True).click()
    expect(page.locator(".wb-tl-list li")).to_contain_text(HOSTILE)
    assert page.locator(".wb-tl img").count() == 0
    assert not player.page.evaluate("Boolean(window.hacked)")


def test_without_words_there_is_nothing_to_search(page: Page) -> None:
    player = BarePage(page, CallTimeline(Call.open(WORDS, words=False)))
    expect(page.locator(".wb-tl-search")).to_be_hidden()
    expect(page.get_by_text("What was said", exact=True)).to_be_hidden()
    assert "words" not in {question["kind"] for question in player.questions}
