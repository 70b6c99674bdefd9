"""The player in JupyterLab itself, with a kernel: a notebook is opened and run as a person would."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser.lab import Lab
from tests.captures import Scene, speech

pytestmark = pytest.mark.slow  # a JupyterLab, and a kernel for each

CELLS = (
    """\
from workbench.call import Call
from workbench.tuning.comparison import compare
from workbench.diagnosis import diagnose
from workbench.timeline import CallTimeline""",
    """\
call = Call.open("call.mcap")
timeline = CallTimeline(call, diagnose(call), compare(call, legs=["G.722"]))
timeline""",
    """\
import pathlib, time
while not pathlib.Path("heard").exists():
    time.sleep(0.1)""",
)


@pytest.fixture(scope="module")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("notebooks")
    scene = Scene(16.0, pipeline_rate=24000)
    scene.say_bot(0.5, speech("bot/b02"))
    scene.hole(2.0, 0.3)
    scene.say_caller(7.0, speech("caller/c02"))
    scene.lose(8.0, 10)
    scene.write(folder / "call.mcap")
    lab = Lab(folder, tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


def shown_time(page: Page) -> float:
    minutes, seconds = page.locator(".wb-tl-time").inner_text().split(" / ")[0].split(":")
    return int(minutes) * 60 + float(seconds)


def test_a_call_is_looked_at_listened_to_and_saved(lab: Lab, page: Page) -> None:
    lab.write("call.ipynb", *CELLS)
    lab.open(page, "call.ipynb")
    for command in ("move-cursor-down", "move-cursor-down", "run-all-above"):
        lab.command(page, f"notebook:{command}")
    player = page.locator(".wb-tl")
    page.wait_for_selector(".wb-tl[data-views]", timeout=60_000)
    lab.command(page, "notebook:run-cell", wait=False)
    player.scroll_into_view_if_needed()
    stage = page.locator(".wb-tl-stage")

    # It is seen ...
    picture = stage.screenshot()
    assert len(set(map(tuple, np.asarray(Image.open(io.BytesIO(picture))).reshape(-1, 3)))) > 100
    box = stage.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 140)
    page.mouse.wheel(0, -500)
    page.wait_for_function("+document.querySelector('.wb-tl').dataset.views > 1")
    assert stage.screenshot() != picture

    # ... heard, both while a cell keeps the kernel busy ...
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 140)
    page.wait_for_function("+document.querySelector('.wb-tl-meter').dataset.dbov > -50")
    assert page.locator(".jp-InputPrompt").nth(2).inner_text() == "[*]:"
    (lab.folder / "heard").touch()
    before, began = shown_time(page), page.evaluate("performance.now()")
    cells = page.locator(".jp-Cell").count()
    page.keyboard.press("b")  # would add a cell, were it the notebook's
    page.wait_for_timeout(700)
    passed = (page.evaluate("performance.now()") - began) / 1000
    assert shown_time(page) - before == pytest.approx(passed, abs=0.3)
    assert page.locator(".jp-Cell").count() == cells
    assert (
        player.locator("button[data-choice='PCMU / G.722']").get_attribute("aria-pressed") == "true"
    )
    page.keyboard.press(" ")
    assert player.get_attribute("data-state") == "paused"

    # ... taken from finding to finding ...
    page.keyboard.press("n")
    page.wait_for_function("document.querySelector('.wb-tl-note').textContent.includes('Change:')")

    # ... and leaves a picture, but nothing of the call, in the notebook.
    lab.command(page, "docmanager:save")
    notebook = json.loads((lab.folder / "call.ipynb").read_text(encoding="utf-8"))
    still, output = notebook["cells"][1]["outputs"]
    assert len(still["data"]["image/png"]) > 10_000
    assert "PCMU / G.722" not in json.dumps(notebook)
    view = "application/vnd.jupyter.widget-view+json"
    assert still["data"].keys() == {"text/plain", "image/png"}
    assert output["data"].keys() == {"text/plain", view}


def seen(page: Page) -> int:
    """How many colours there are in the still: none where it is not shown."""
    image = page.locator(".jp-OutputArea-output img")
    if not image.is_visible():
        return 0
    image.scroll_into_view_if_needed()
    picture = np.asarray(Image.open(io.BytesIO(image.screenshot())).convert("RGB"))
    return len(set(map(tuple, picture.reshape(-1, 3))))


def test_on_the_next_day_the_picture_is_seen(lab: Lab, page: Page, browser: Browser) -> None:
    """The person saved the notebook; no kernel knows the player any more."""
    lab.write("kept.ipynb", *CELLS[:1], CELLS[1].replace(', compare(call, legs=["G.722"])', ""))
    lab.run(page, "kept.ipynb")
    page.wait_for_selector(".wb-tl[data-views]", timeout=60_000)
    page.wait_for_function("!document.querySelector('.jp-OutputArea-output img').checkVisibility()")
    assert seen(page) == 0  # the player itself is there
    lab.command(page, "docmanager:save")
    lab.command(page, "kernelmenu:shutdown")
    next_day = browser.new_page(viewport={"width": 1280, "height": 900})
    lab.look_at(next_day, "kept.ipynb")
    next_day.wait_for_selector("text=model not found", timeout=60_000)
    assert seen(next_day) > 100
    next_day.close()
