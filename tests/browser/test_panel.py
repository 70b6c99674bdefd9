"""The panel in JupyterLab: a control changes sound, picture, table and what is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from pipecat_bandwidth import BandwidthFrameSerializer
from tests.browser.lab import Lab
from tests.captures import Scene, speech

pytestmark = pytest.mark.slow  # a JupyterLab, and a kernel for each

CELL = """\
from workbench.panel import Panel
panel = Panel("call.mcap")
panel"""


@pytest.fixture(scope="module")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("panel")
    scene = Scene(16.0, pipeline_rate=24000)
    scene.say_bot(0.5, speech("bot/b02"))
    scene.say_bot(8.0, speech("bot/b04").span(0, 6))
    scene.write(folder / "call.mcap")
    other = Scene(8.0, pipeline_rate=24000)
    other.say_bot(0.5, speech("bot/b02"))
    other.write(folder / "other.mcap")
    Scene(3.0).write(folder / "silent.mcap")
    lab = Lab(folder, tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


def shown_time(page: Page) -> float:
    minutes, seconds = page.locator(".wb-tl-time").inner_text().split(" / ")[0].split(":")
    return int(minutes) * 60 + float(seconds)


def test_a_setting_is_chosen_by_ear_and_by_number(lab: Lab, page: Page) -> None:
    lab.write("panel.ipynb", CELL)
    lab.run(page, "panel.ipynb")
    page.wait_for_selector(".wb-tl[data-views]", timeout=60_000)
    text = page.locator(".jp-OutputArea-output").last
    expect(text).to_contain_text("Take PCMU", timeout=60_000)
    candidate = page.locator(".wb-tl button[data-choice='candidate']")
    expect(candidate).to_have_attribute("aria-pressed", "true")

    chosen = page.locator("select:visible").evaluate_all("nodes => nodes.map((node) => node.value)")
    assert {"G.711", "as captured"} <= set(chosen)

    # What it comes to and the call are in one view, and what was written is told at the button.
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator(".widget-vbox").first.evaluate("node => node.scrollIntoView()")
    for seen in (text.get_by_text("Take PCMU").first, page.locator(".wb-tl-stage")):
        box = seen.bounding_box()
        assert box is not None and box["y"] >= 0 and box["y"] + box["height"] <= 900

    # It plays ...
    stage = page.locator(".wb-tl-stage")
    box = stage.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 100, box["y"] + 140)
    page.wait_for_function("+document.querySelector('.wb-tl-meter').dataset.dbov > -50")
    before = stage.screenshot()

    # ... and goes on playing where it is while sound, picture, numbers and words change.
    began, at = page.evaluate("performance.now()"), shown_time(page)
    page.get_by_label("Far leg").select_option("G.722")
    page.get_by_role("button", name="PCM 16 kHz").click()
    expect(text).to_contain_text("Take PCM 16 kHz", timeout=60_000)
    expect(text).to_contain_text("outbound_pcm_sample_rate=16000")
    expect(candidate).to_have_attribute("aria-pressed", "true")
    passed = (page.evaluate("performance.now()") - began) / 1000
    assert at < shown_time(page) <= at + passed + 0.3
    assert stage.screenshot() != before

    # The tuned setting is written for the bot.
    text.get_by_role("textbox", name="File").fill("chosen.json")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Write JSON").click()
    written = text.get_by_text("Written: chosen.json").bounding_box()
    pressed = page.get_by_role("button", name="Write JSON").bounding_box()
    assert written is not None and pressed is not None
    assert abs(written["y"] - pressed["y"]) < 40 and written["x"] - pressed["x"] < 400
    params = BandwidthFrameSerializer.InputParams.load(lab.folder / "chosen.json")
    assert (params.outbound_encoding, params.outbound_pcm_sample_rate) == ("PCM", 16000)


def test_calls_are_changed_tuned_together_and_heard_blind(lab: Lab, page: Page) -> None:
    page.set_viewport_size({"width": 900, "height": 900})
    lab.write("folder.ipynb", CELL.replace("call.mcap", "."))
    lab.run(page, "folder.ipynb")
    page.wait_for_selector(".wb-tl[data-views]", timeout=60_000)
    output = page.locator(".jp-OutputArea-output").last
    expect(output).to_contain_text("Take PCMU", timeout=60_000)

    # Nothing is cut off in a narrow column.
    wide, shown = output.evaluate(
        "node => [...node.querySelectorAll('.widget-vbox')].map((box) => [box.scrollWidth, box.clientWidth])[0]"
    )
    assert wide <= shown

    # Another call comes up by itself, and is what is tuned on.
    page.get_by_label("Capture").select_option("other.mcap")
    expect(page.locator(".wb-tl-time")).to_contain_text("/ 0:08", timeout=60_000)
    expect(output).to_contain_text("Take PCMU", timeout=60_000)
    page.get_by_text("What is compared and tuned on").click()
    page.get_by_role("button", name="All captures").click()
    expect(output).to_contain_text("in 1 of 3 calls", timeout=60_000)

    # A limit that no setting keeps is said to be so.
    limit = output.get_by_role("spinbutton", name="kbit/s at most (0: any)")
    limit.fill("1")
    page.keyboard.press("Tab")
    expect(output).to_contain_text("at most 1 is asked", timeout=60_000)
    limit.fill("0")
    page.keyboard.press("Tab")

    # Two settings are heard without knowing which is which.
    page.get_by_label("Compare").select_option(["PCMU", "PCM 24 kHz"])
    blind = page.get_by_role("button", name="Blind test of two")
    expect(blind).to_be_enabled(timeout=60_000)
    blind.click()
    test = page.get_by_role("region", name="Blind listening test")
    test.get_by_role("button", name="X", exact=True).click()
    heard = "+document.querySelector('[aria-label^=Blind] .wb-tl-meter').dataset.dbov > -50"
    page.wait_for_function(heard, timeout=60_000)
    test.get_by_role("button", name="X is B").click()
    expect(test).to_contain_text("trial 2 of 16")
