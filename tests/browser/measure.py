"""How the player does with an hour-long call of a thousand events, in JupyterLab, as a person waits.

``python -m tests.browser.measure [MINUTES] [EVENTS]``. Times are the page's own clock, memory is the
renderer process's, told as what the player adds to the same page with an empty notebook.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from rich.console import Console
from rich.table import Table

from tests.browser.conftest import FLAGS, find_browser
from tests.browser.lab import Lab
from tests.captures import SCRIPT, scripted

CELLS = (
    """\
from workbench.call import Call
from workbench.timeline import CallTimeline
call = Call.open("long.mcap")""",
    "CallTimeline(call)",
)
#: Notes when the page shows the first view, on its own clock.
WATCH = """
() => {
  window.drawn = null;
  const note = () => {
    const root = document.querySelector(".wb-tl");
    if (root?.dataset.views && !window.drawn) window.drawn = performance.now();
  };
  const watch = { subtree: true, childList: true, attributes: true, attributeFilter: ["data-views"] };
  new MutationObserver(note).observe(document.body, watch);
}
"""
ZOOM = """
async ([share, turn]) => {
  const root = document.querySelector(".wb-tl"), stage = root.querySelector(".wb-tl-stage");
  const box = stage.getBoundingClientRect(), views = +root.dataset.views;
  const at = { clientX: box.left + 62 + share * (box.width - 62), clientY: box.top + 140 };
  const began = performance.now();
  stage.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: turn, bubbles: true, cancelable: true }));
  while (+root.dataset.views === views) await new Promise((act) => setTimeout(act, 1));
  return performance.now() - began;
}
"""
#: From the press of the mouse to the moment from which sound is under way: then the time that is
#: shown begins to move. There may be silence at that place.
LISTEN = """
async () => {
  const root = document.querySelector(".wb-tl"), time = root.querySelector(".wb-tl-time");
  let pressed = null, place = null;
  root.querySelector(".wb-tl-stage").addEventListener("pointerdown", () => { pressed = performance.now(); }, { once: true, capture: true });
  window.sounded = new Promise((act) => {
    const look = () => {
      if (pressed && root.dataset.state === "playing") place ??= time.textContent;
      if (place && time.textContent !== place) act(performance.now() - pressed);
      else setTimeout(look, 2);
    };
    look();
  });
}
"""


def write_call(path: Path, minutes: float, events: int) -> None:
    scene = scripted(pipeline_rate=24000, times=max(1, round(minutes * 60 / SCRIPT["duration"])))
    there = len([topic for _, topic, _ in scene.extra]) + 2
    for number, at in enumerate(np.linspace(3, scene.duration - 3, max(0, events - there))):
        scene.log(float(at), f"warning {number}: something took longer than it should", level=3)
    scene.write(path)


class Renderer:
    """The page's process."""

    def __init__(self, browser: Browser, page: Page) -> None:
        self.page = page
        self.collector: CDPSession = page.context.new_cdp_session(page)
        processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
        self.pids = [p["id"] for p in processes["processInfo"] if p["type"] == "renderer"]

    def megabytes(self) -> dict[str, float]:
        """Resident, private and JavaScript's own memory, garbage left out."""
        for _ in range(3):
            self.collector.send("HeapProfiler.collectGarbage")
            self.page.wait_for_timeout(500)
        found = {"resident": 0.0, "private": 0.0}
        for pid in self.pids:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
            sizes = {name: int(kb) for name, kb in re.findall(r"(\w+):\s+(\d+) kB", text)}
            found["resident"] += sizes["Rss"] / 1024
            found["private"] += (sizes["Private_Clean"] + sizes["Private_Dirty"]) / 1024
        heap = self.collector.send("Runtime.getHeapUsage")
        return {**found, "heap": heap["usedSize"] / 2**20}


def measure(lab: Lab, browser: Browser) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    lab.write("empty.ipynb", "1 + 1")
    lab.write("long.ipynb", *CELLS)
    lab.open(page, "empty.ipynb")
    renderer = Renderer(browser, page)
    empty = renderer.megabytes()
    lab.open(page, "long.ipynb")
    page.evaluate(WATCH)
    lab.command(page, "notebook:run-cell-and-select-next")
    began = page.evaluate("performance.now()")
    lab.command(page, "notebook:run-cell", wait=False)
    page.wait_for_selector(".wb-tl[data-views]", timeout=120_000)
    found = {"first picture": page.evaluate("window.drawn") - began}
    page.wait_for_selector(".wb-tl[data-views][data-sketch='']", timeout=120_000)
    found["laid out"] = page.evaluate("performance.now()") - began
    page.locator(".wb-tl").scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    zooms = [page.evaluate(ZOOM, [0.9, -400]) for _ in range(12)]
    zooms += [page.evaluate(ZOOM, [0.9, 400]) for _ in range(6)]
    found |= {"zoom": statistics.median(zooms), "slowest zoom": max(zooms)}
    found |= {"memory: drawn": renderer.megabytes()["private"] - empty["private"]}
    places = np.random.default_rng(1).uniform(0.02, 0.98, 40).tolist()
    sounds = [listen(page, share) for share in places]
    found |= {"click to sound": statistics.median(sounds), "slowest click": max(sounds)}
    played = renderer.megabytes()
    found |= {f"memory: {name}": played[name] - empty[name] for name in played}
    found |= {f"memory: empty page, {name}": empty[name] for name in ("resident", "private")}
    page.close()
    return found


def listen(page: Page, share: float) -> float:
    """Click at a share of what is on screen; milliseconds until it sounds."""
    page.keyboard.press("0")
    box = page.locator(".wb-tl-stage").bounding_box()
    assert box is not None
    page.evaluate(LISTEN)
    page.mouse.click(box["x"] + 62 + share * (box["width"] - 62), box["y"] + 140)
    sounded: float = page.evaluate("window.sounded")
    page.keyboard.press(" ")
    page.wait_for_selector(".wb-tl[data-state=paused]")
    return sounded


WANTED = {
    "first picture": 2000, "zoom": 150, "click to sound": 700, "memory: private": 150,
}  # fmt: skip


def main(minutes: float = 60, events: int = 1000) -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as scratch:
        write_call(Path(folder) / "long.mcap", minutes, events)
        lab = Lab(Path(folder), Path(scratch))
        try:
            with sync_playwright() as playwright:
                path = find_browser()
                browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
                found = measure(lab, browser)
                browser.close()
        finally:
            lab.close()
    table = Table("what", "measured", "wanted", title=f"{minutes:g} min, {events} events")
    for name, value in found.items():
        unit = "MB" if name.startswith("memory") else "ms"
        wanted = f"{WANTED[name]} {unit}" if name in WANTED else ""
        table.add_row(name, f"{value:.0f} {unit}", wanted)
    Console().print(table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
