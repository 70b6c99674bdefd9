"""A player's own module in a page of its own: no JupyterLab, no kernel, the real answers.

``BarePage`` stands in for the widget manager: it gives the module a model with the widget's real
state, and answers its messages by the widget's real function.
"""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
from anywidget import AnyWidget
from numpy.typing import NDArray
from playwright.sync_api import Page

from workbench.timeline import BlindListening, CallTimeline
from workbench.timeline.views import PLAY_RATE

_ADDRESS = "http://localhost/player"  # nobody listens there; worklets need a secure origin
STATE: dict[type[AnyWidget], tuple[str, ...]] = {
    CallTimeline: (
        "position", "selection", "view", "axis", "caller", "bot", "playing", "finding", "_contents", "_overview",
        "_still",
    ),
    BlindListening: ("_progress", "_still"),
}  # fmt: skip

# Everything that sounds passes the player's one analyser: recorded there, on the audio thread, where
# a busy page loses nothing.
_EAR = """
() => {
  const worklet = `registerProcessor("ear", class extends AudioWorkletProcessor {
    process([[channel]]) {
      this.port.postMessage(channel ? channel.slice() : new Float32Array(128));
      return true;
    }
  })`;
  const address = URL.createObjectURL(new Blob([worklet], { type: "text/javascript" }));
  const analyser = AudioContext.prototype.createAnalyser;
  window.sound = [];
  AudioContext.prototype.createAnalyser = function () {
    const node = analyser.call(this);
    window.clock = this;
    this.audioWorklet.addModule(address).then(() => {
      const ear = new AudioWorkletNode(this, "ear", { numberOfOutputs: 0 });
      ear.port.onmessage = ({ data }) => window.sound.push(...data);
      node.connect(ear);
    });
    return node;
  };
}
"""

# The player writes in an animation frame, and so the frame after has what was just written.
_CLOCKS = """
() => new Promise((give) => requestAnimationFrame(() => requestAnimationFrame(() =>
  give([document.querySelector(".wb-tl-time").textContent, window.clock.currentTime])
)))
"""

_MODEL = """
async () => {
  const source = await window.pySource();
  const module = URL.createObjectURL(new Blob([source.js], { type: "text/javascript" }));
  const { render } = (await import(module)).default;
  const style = document.createElement("style");
  style.textContent = source.css;
  document.head.append(style);
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const unpack = (state) => ("_overview" in state ? { ...state, _overview: bytes(state._overview) } : state);
  const state = unpack(source.state), heard = {};
  const emit = (name, ...values) => (heard[name] ?? []).slice().forEach((act) => act(...values));
  const changed = new Set();
  const set = (key, value) => {
    if (key !== "_overview" && JSON.stringify(state[key]) === JSON.stringify(value)) return;
    state[key] = value;
    emit(`change:${key}`);
  };
  window.asked = [];
  window.model = {
    get: (key) => state[key],
    set: (key, value) => { changed.add(key); set(key, value); },
    save_changes: () => {
      const saved = Object.fromEntries([...changed].map((key) => [key, state[key]]));
      window.saving = (window.saving ?? 0) + 1;
      window.pySave(saved).finally(() => { window.saving -= 1; });
      changed.clear();
    },
    on: (name, act) => (heard[name] ??= []).push(act),
    off: (name, act) => { heard[name] = heard[name].filter((other) => other !== act); },
    send: async (question) => {
      const began = performance.now();
      const answer = await window.pyAnswer(question);
      if (!answer) return; // no kernel
      const { reply, buffers } = answer;
      emit("msg:custom", { ask: question.ask, ...reply }, buffers.map(bytes));
      window.asked.push({ kind: question.kind, ms: performance.now() - began });
    },
    take: (news) => Object.entries(unpack(news)).forEach(([key, value]) => set(key, value)),
    listeners: () => Object.values(heard).flat().length,
  };
  window.takeAway = render({ model: window.model, el: document.getElementById("here") });
}
"""


class BarePage:
    """A page that shows a timeline, or a blind test.

    Attributes:
        page: Playwright's page.
        timeline: The widget; what the page sets in its state arrives there.
        questions: What the page asked.
        delay_secs: How long the kernel takes for a piece of sound.
    """

    def __init__(
        self, page: Page, timeline: AnyWidget, *, dark: bool = False, kernel: bool = True
    ) -> None:
        self.page, self.timeline, self.kernel = page, timeline, kernel
        self.delay_secs = 0.0
        self.questions: list[dict[str, Any]] = []
        page.expose_function("pySource", self._source)
        page.expose_function("pyAnswer", self._answer)
        page.expose_function("pySave", self._save)
        colours = "--jp-layout-color0:#111;--jp-layout-color1:#212121;--jp-ui-font-color1:#e0e0e0;"
        colours += "--jp-ui-font-color2:#a8a8a8;--jp-border-color1:#616161;background:#111;"
        body = f'<body data-jp-theme-light="{"false" if dark else "true"}"'
        body += f' style="{colours if dark else ""}"><div id="here"></div></body>'
        page.route(_ADDRESS, lambda route: route.fulfill(body=html, content_type="text/html"))
        html = f"<!doctype html><html lang='en'><meta charset='utf-8'>{body}</html>"
        page.goto(_ADDRESS)
        page.evaluate(_EAR)
        page.evaluate(_MODEL)
        if kernel:
            drawn = "[data-views]" if isinstance(timeline, CallTimeline) else ""
            page.wait_for_selector(f".wb-tl{drawn}")

    def push(self) -> None:
        """Bring what Python changed in the state to the page."""
        self.page.evaluate("news => window.model.take(news)", self._state())

    def get(self, key: str) -> Any:
        """A value of the page's model."""
        return self.page.evaluate("key => window.model.get(key)", key)

    def saved(self, key: str) -> Any:
        """A value of Python's state, when all that the page saved has arrived there."""
        self.page.wait_for_function("!window.saving")
        return getattr(self.timeline, key)

    def wait(self, condition: str) -> None:
        """Wait until an expression of ``root`` (the player) and ``model`` is true."""
        self.page.wait_for_function(
            f"(() => {{ const root = document.querySelector('.wb-tl'); return {condition}; }})()"
        )

    def place(self, at: float, y: float = 140.0) -> tuple[float, float]:
        """Where on the page a time is; ``y`` in pixels from the top of the canvas."""
        box = self.page.locator("#here .wb-tl-canvas").bounding_box()
        assert box is not None
        start, end = self.get("view")
        share = (at - start) / (end - start)
        return box["x"] + 62 + share * (box["width"] - 62), box["y"] + y

    def click(self, at: float, y: float = 140.0) -> None:
        self.page.mouse.click(*self.place(at, y))

    def shown_time(self) -> float:
        """The position that is written on the page."""
        minutes, seconds = (
            self.page.locator("#here .wb-tl-time").inner_text().split(" / ")[0].split(":")
        )
        return int(minutes) * 60 + float(seconds)

    def clocks(self, after: float = 0.0) -> tuple[float, float]:
        """The position that is written, and the clock of the sound at that, in seconds.

        Not the clock on the wall: on a busy machine sound and page fall behind that, each by its own.

        Args:
            after: What the clock of the sound shows, at least.
        """
        self.page.wait_for_function(f"window.clock.currentTime >= {after}")
        text, clock = self.page.evaluate(_CLOCKS)
        minutes, seconds = text.split(" / ")[0].split(":")
        return int(minutes) * 60 + float(seconds), clock

    def hear(self, secs: float) -> NDArray[np.float64]:
        """Record what sounds from now on, at the play rate."""
        self.page.wait_for_timeout(250)  # what is under way to the ear was before
        self.page.evaluate("window.sound = []")
        wanted = round(secs * PLAY_RATE)
        self.page.wait_for_function(f"window.sound.length >= {wanted}")
        return np.array(self.page.evaluate(f"window.sound.slice(0, {wanted})"))

    def wait_for_sound(self) -> None:
        self.page.wait_for_function("+document.querySelector('.wb-tl-meter').dataset.dbov > -50")

    def _source(self) -> dict[str, Any]:
        js, css = str(self.timeline._esm), str(self.timeline._css)
        return {"js": js, "css": css, "state": self._state()}

    def _state(self) -> dict[str, Any]:
        keys = next(keys for kind, keys in STATE.items() if isinstance(self.timeline, kind))
        state = {key: getattr(self.timeline, key) for key in keys}
        if "_overview" in state:
            state["_overview"] = base64.b64encode(state["_overview"]).decode("ascii")
        return state

    def _answer(self, question: dict[str, Any]) -> dict[str, Any] | None:
        self.questions.append(question)
        if not self.kernel:
            return None
        if question["kind"] == "sound":
            time.sleep(self.delay_secs)
        sent: list[tuple[dict[str, Any], list[bytes]]] = []
        self.timeline.send = lambda content, buffers: sent.append((content, buffers))
        self.timeline._on_message(self.timeline, question, [])
        reply, buffers = sent[0]
        return {"reply": reply, "buffers": [base64.b64encode(b).decode("ascii") for b in buffers]}

    def _save(self, changed: dict[str, Any]) -> None:
        for key, value in changed.items():
            setattr(self.timeline, key, value)
