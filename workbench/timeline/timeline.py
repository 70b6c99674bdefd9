"""CallTimeline: both sides of a call on one clock, to look at and to listen to.

The kernel draws what is on screen and sends sound in pieces of four seconds, on request; so an hour
costs no more than a minute. The messages, each answered under its number, ``ask``:

=========  =====================================================  ==================================
``kind``   asks for                                               answered by
=========  =====================================================  ==================================
``view``   ``start``, ``end``, ``columns``, ``rows``, ``tracks``  ``tracks`` and, for each, three
           (side to choice), ``voice``: no more than that         buffers: envelope, spectrogram, RMS;
                                                                  ``sketch``: whether to ask again
``sound``  ``side``, ``choice``, ``chunk``, ``speed``             ``gain_db`` and a buffer: int16 at
                                                                  the play rate
``marks``                                                         ``marks``
``words``                                                         ``phrases``: what was said
``note``   ``write``: ``start``, ``end``, ``text`` and, if there   ``marks``, with the notes as they
           is one already, ``id``; or ``remove``: an ``id``       are now
=========  =====================================================  ==================================

Sound and whatever the capture says travel by these messages only, never by synchronised state: what
a notebook saves is a coarse envelope and the names of settings.

Of a long call the signals take a second to be laid out. Until they are, on a thread of its own, a
view is answered by sketches; then ``drawings`` in the state goes up, and the browser asks again.

Messages are answered on another thread than cells run on where the front end asks for it, as
JupyterLab does: the player goes on while a cell is busy. What they read is one immutable
:class:`workbench.timeline.scene.Scene`, replaced by one assignment.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import anywidget
import numpy as np
import traitlets

from workbench.audio import Audio
from workbench.call import Call
from workbench.call.following import Following
from workbench.diagnosis import Finding, diagnose
from workbench.exceptions import CaptureError, NotesError
from workbench.notes import Notes
from workbench.timeline.captions import captions
from workbench.timeline.marks import noted
from workbench.timeline.picture import picture
from workbench.timeline.scene import LONG_SECS, SIDES, Choice, Scene
from workbench.timeline.sketch import Sketch
from workbench.timeline.still import show, tail
from workbench.timeline.style import STYLE
from workbench.timeline.views import CHUNK_SECS, FLOOR_DBOV, PLAY_RATE, TOP_DBOV, VOICE_HZ
from workbench.tuning.comparison import Comparison

__all__ = ["CallTimeline"]

_log = logging.getLogger(__name__)

_HERE: Final = Path(__file__).parent
#: One module for the browser, in six files for the reader.
_SCRIPTS: Final = (
    "timeline.js",
    "page.js",
    "picture.js",
    "captions.js",
    "noting.js",
    "sound.js",
)
#: Largest picture that is drawn for a browser, in pixels.
_MAX_COLUMNS: Final = 4096
_MAX_ROWS: Final = 512
#: A call that goes on is diagnosed anew after so long, and after so many times what it took.
_DIAGNOSED_SECS: Final = 10.0
_SHARE: Final = 10


class CallTimeline(anywidget.AnyWidget):
    """The player.

    Parameters:
        call: The call.
        findings: From :func:`workbench.diagnosis.diagnose`, to be marked; ``N`` jumps to the next.
        comparison: From :func:`workbench.tuning.comparison.compare`: its settings, the carrier's recording
            if there was one, and of a call with holes what the bot said without any and what a cushion
            would have hidden, can be heard and seen in place of the bot's side while the position stays.
        sketch_from: A call of so many seconds or more is drawn from its messages first.

    Attributes:
        position: Where it plays, in seconds. Set it to go there.
        selection: ``[start, end]`` in seconds, or empty.
        view: ``[start, end]`` of what is on screen, in seconds.
        axis: ``[start, end]`` of what can be, if that is more than the call: beside another one,
            that begins earlier or lasts longer.
        caller: The signal that is heard and shown on the caller's side.
        bot: The same on the bot's side, or ``"setting / leg"`` of the comparison.
        playing: Whether it plays. Only the person at the browser can start it.
        finding: Number of the finding that is shown, from 1 for the worst; 0 for none. Set it to go
            there.
    """

    _esm = "\n".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS)
    _css = STYLE

    position = traitlets.Float(0.0).tag(sync=True)
    selection = traitlets.List(traitlets.Float()).tag(sync=True)
    view = traitlets.List(traitlets.Float()).tag(sync=True)
    caller = traitlets.Unicode(SIDES["caller"][0]).tag(sync=True)
    bot = traitlets.Unicode(SIDES["bot"][0]).tag(sync=True)
    axis = traitlets.List(traitlets.Float()).tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)
    finding = traitlets.Int(0).tag(sync=True)
    _contents = traitlets.Dict().tag(sync=True)
    _overview = traitlets.Bytes(b"").tag(sync=True)
    _still = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        call: Call,
        findings: Iterable[Finding] | None = None,
        comparison: Comparison | None = None,
        *,
        sketch_from: float = LONG_SECS,
    ) -> None:
        """Draw the overview; everything else waits until a browser asks."""
        self._findings = tuple(findings or ())
        self._compared = comparison.signals if comparison is not None else {}
        self._sketch_from = sketch_from
        self._exchange = threading.RLock()
        self._stop = threading.Event()
        self._laying: threading.Thread | None = None
        self._unmade: Call | None = None  # whose sketch stays
        self._following: Following | None = None
        self._readings, self._drawings = 1, 0
        super().__init__(view=[0.0, call.duration])
        scene = self._scene_of(call)
        for name, audio in (comparison.beside if comparison is not None else {}).items():
            scene = scene.with_sound(name, audio)
        self._show(scene)
        self.on_msg(self._on_message)

    def _scene_of(self, call: Call, added: Iterable[Choice] = ()) -> Scene:
        return Scene(call, self._findings, self._compared, added, self._sketch_from)

    @property
    def call(self) -> Call:
        """The call, as it was when it was last read."""
        return self._scene.call

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is marked; set it when the call was diagnosed later than it was shown."""
        return self._findings

    @findings.setter
    def findings(self, found: Iterable[Finding]) -> None:
        with self._exchange:
            self._findings = tuple(found)
            self._readings += 1
            self._show(self._scene.with_findings(self._findings))

    @property
    def notes(self) -> Notes:
        """What a person wrote at this call, beside the capture."""
        return Notes(self.call.path)

    def replace(self, name: str, audio: Audio, *, in_step: bool = False) -> None:
        """Replace a choice of the bot's side by another sound, or add one.

        Playing continues from where it is, with the new sound. Set ``timeline.bot = name`` to hear
        it.

        Args:
            name: Of the choice, for instance ``"candidate"``.
            audio: The sound, on the call's clock.
            in_step: It is not on the clock, but in step with what the bot said, one frame behind
                the other, as ``comparison.signals`` are.

        Raises:
            ValueError: If the name is that of a signal of the call.
        """
        if name in SIDES["bot"]:
            raise ValueError(f"{name!r} is a signal of the call, choose another name")
        with self._exchange:
            self._show(self._scene.with_sound(name, audio, in_step))

    def refresh(self) -> None:
        """Read the capture again, and show the call as it is now.

        Raises:
            CaptureError: If it can no longer be read.
        """
        with self._exchange:
            if self._following is None:
                self._following = Following(self.call.path, self.call.budget, self.call.reads_words)
            call = self._following.call()
            if call is self.call:
                return
            whole = self.view[1] >= self.call.duration
            self._readings += 1
            self._show(self._scene_of(call, self._scene.added))
            if whole:
                self.view = [self.view[0], call.duration]

    def follow(self, every_secs: float = 2.0, *, diagnosing: bool = False) -> None:
        """Keep refreshing, on a thread of its own, until the capture is finished.

        Args:
            every_secs: How long to wait in between; three times what a refresh takes, if that is
                longer.
            diagnosing: Whether to diagnose the call now and then, and when it is over.
        """
        self.unfollow()
        self._stop = threading.Event()
        arguments = (weakref.ref(self), self._stop, every_secs, diagnosing)
        threading.Thread(target=_follow, args=arguments, name="timeline", daemon=True).start()

    def unfollow(self) -> None:
        """Stop what :meth:`follow` began."""
        self._stop.set()

    def close(self) -> None:
        """Take the player off the page."""
        self.unfollow()
        super().close()

    def _show(self, scene: Scene) -> None:
        chosen = {"caller": self.caller, "bot": self.bot}
        for side, name in chosen.items():
            if name not in scene.names(side):
                chosen[side] = SIDES[side][0]
        self._scene = scene
        overview = scene.overview(chosen)
        self._drawings += 1
        contents = {
            **scene.contents(),
            "play_rate": PLAY_RATE,
            "chunk_secs": CHUNK_SECS,
            "readings": self._readings,
            "drawings": self._drawings,
        }
        with self.hold_sync():
            self._overview = overview
            self._contents = contents

    def _on_message(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        try:
            reply, buffers = self._answer(content)
        except Exception as error:  # the browser waits for an answer, whatever went wrong
            _log.warning("cannot answer the player", exc_info=True)
            reply, buffers = {"error": f"{type(error).__name__}: {error}"}, []
        self.send({"ask": content.get("ask"), **reply}, buffers)

    def _answer(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Answer one message of the browser with JSON's types and buffers."""
        scene = self._scene
        match asked["kind"]:
            case "marks":
                return self._marks(), []
            case "note":
                self._note(asked)
                return self._marks(), []
            case "words":
                return {"phrases": captions(scene.call)}, []
            case "sound":
                side, name = asked["side"], asked["choice"]
                sound = scene.track(side, name).sound(int(asked["chunk"]), float(asked["speed"]))
                return {"gain_db": scene.gain_db(side, name)}, [sound.tobytes()]
            case "view":
                columns = min(max(1, int(asked["columns"])), _MAX_COLUMNS)
                rows = min(max(1, int(asked["rows"])), _MAX_ROWS)
                tracks = asked["tracks"]
                top_hz = VOICE_HZ if asked.get("voice") else np.inf
                span = asked["start"], asked["end"]
                answer, buffers = _draw(scene, tracks, span, columns, rows, top_hz)
                if answer["sketch"]:
                    self._lay_out(scene, tracks)
                return answer, buffers
        raise ValueError(
            f"{asked['kind']!r} is asked for, marks, note, sound, view and words are known"
        )

    def _marks(self) -> dict[str, Any]:
        """What is marked, and what somebody noted; of notes that cannot be read, why."""
        try:
            return {"marks": [*self._scene.marks, *noted(self.notes.read())]}
        except NotesError as error:
            return {"marks": self._scene.marks, "problem": str(error)}

    def _note(self, asked: dict[str, Any]) -> None:
        """Write or remove a note, as it was asked for."""
        if "remove" in asked:
            self.notes.remove(asked["remove"])
        else:
            written = asked["write"]
            self.notes.write(written["start"], written["end"], written["text"], written.get("id"))

    def _lay_out(self, scene: Scene, tracks: dict[str, str]) -> None:
        """Make the sounds that are shown, on a thread of its own, and have them shown again."""

        def work() -> None:
            unmade = None
            try:
                for side, name in tracks.items():
                    scene.track(side, name)
            except Exception:  # not tried again: it would fail the same way
                _log.warning("cannot make a signal of the call, a sketch stays", exc_info=True)
                unmade = scene.call
            with self._exchange:
                try:
                    self._unmade = unmade
                    if unmade is None:
                        self._show(self._scene)
                finally:
                    self._laying = None

        with self._exchange:
            if self._laying is None and self._unmade is not scene.call:
                self._laying = threading.Thread(target=work, name="timeline sounds", daemon=True)
                self._laying.start()

    def __repr__(self) -> str:
        findings = len(self._findings)
        return f"CallTimeline({self.call.duration:.1f} s, {findings} findings)"

    def still(self) -> bytes:
        """Draw what a saved notebook shows in place of the player, as a PNG."""
        drawn = picture(self._scene, {"caller": self.caller, "bot": self.bot})
        self._still = tail(drawn)
        return drawn

    def _ipython_display_(self, **_: Any) -> None:
        """The player, and a picture for where there is no kernel to run it."""
        show(self, self.still())


def _draw(
    scene: Scene,
    tracks: dict[str, str],
    span: tuple[float, float],
    columns: int,
    rows: int,
    highest_hz: float,
) -> tuple[dict[str, Any], list[bytes]]:
    for side, name in tracks.items():
        scene.drawn(side, name)  # all of them first: they share an axis
    axes, buffers = [], []
    sketch = False
    for side, name in tracks.items():
        drawn = scene.drawn(side, name)
        top_hz, full_scale = min(scene.top_hz(side), highest_hz), scene.full_scale(side)
        sketch |= isinstance(drawn, Sketch)
        envelope = drawn.envelope(*span, columns, full_scale)
        spectrogram = drawn.spectrogram(*span, columns, rows, top_hz)
        rms = b"" if isinstance(drawn, Sketch) else drawn.rms(*span, columns, full_scale).tobytes()
        dbov = [FLOOR_DBOV, TOP_DBOV]
        axes.append({"side": side, "top_hz": top_hz, "full_scale": full_scale, "dbov": dbov})
        buffers += [envelope.tobytes(), spectrogram.tobytes(), rms]
    return {"tracks": axes, "sketch": sketch}, buffers


def _follow(
    timeline: weakref.ref[CallTimeline],
    stop: threading.Event,
    every_secs: float,
    diagnosing: bool,
) -> None:
    """Refresh until told to stop, the capture is finished, or the player is gone."""
    wait, diagnosed = every_secs, 0.0
    told: Call | None = None
    while not stop.wait(wait):
        shown = timeline()
        if shown is None or shown.call.finished:
            return
        began = time.monotonic()
        try:
            shown.refresh()
        except CaptureError:
            _log.warning("cannot read the capture again", exc_info=True)
            return
        wait = max(every_secs, 3 * (time.monotonic() - began))
        call = shown.call
        is_due = call.finished or time.monotonic() >= diagnosed
        if diagnosing and call is not told and is_due:
            began, told = time.monotonic(), call
            shown.findings = diagnose(call)
            took = time.monotonic() - began
            diagnosed = time.monotonic() + max(_DIAGNOSED_SECS, _SHARE * took)
        del shown, call
