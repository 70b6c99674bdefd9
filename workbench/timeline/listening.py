"""BlindListening: whether two sounds can be told apart by ear, with buttons and a score.

It plays what :mod:`workbench.timeline.blind_test` says: A, B, and X, which is one of the two. Sound
travels by the messages that the player of a call sends (:mod:`workbench.timeline.timeline`); what X
is stays in the kernel until the last answer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import partial
from html import escape
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import anywidget
import traitlets

from workbench.audio import Audio
from workbench.metrics.levels import loudest_span
from workbench.timeline.blind_test import BlindScore, BlindTest, coin_tosses, fewest_right
from workbench.timeline.scene import Choice
from workbench.timeline.still import MARK, show
from workbench.timeline.style import STYLE
from workbench.timeline.views import CHUNK_SECS, PLAY_RATE

__all__ = ["BlindListening"]

_log = logging.getLogger(__name__)

_HERE: Final = Path(__file__).parent
_SCRIPTS: Final = ("listening.js", "page.js", "sound.js")

#: Length of the excerpts: a sentence, and no more than the ear remembers.
EXCERPT_SECS: Final = 6.0


class BlindListening(anywidget.AnyWidget):
    """A blind test of two sounds.

    The loudest seconds of both play in step, in a loop, at one level of speech: louder would sound
    better. A score means nothing before the last trial.

    Parameters:
        sounds: Two sounds by name, in step with each other, as ``comparison.signals`` are.
        trials: How many times X has to be told.
        seed: The same seed gives the same order; a new one by default.

    Attributes:
        names: Of A and of B.
        test: The test in progress.
        score: What came of it so far.

    Raises:
        ValueError: If there are not two sounds, or one of them is empty.
    """

    _esm = "\n".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS)
    _css = STYLE

    _progress = traitlets.Dict().tag(sync=True)
    _still = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self, sounds: Mapping[str, Audio], trials: int = 16, *, seed: int | None = None
    ) -> None:
        """Cut out the excerpts, and toss the first coin."""
        if len(sounds) != 2 or not all(len(audio) for audio in sounds.values()):
            raise ValueError(f"sounds of {list(sounds)}, two are wanted, and none empty")
        self.names = tuple(sounds)
        first, second = sounds.values()
        start, end = loudest_span(first, EXCERPT_SECS)
        self._heard = {
            letter: Choice(letter, partial(audio.span, start, end))
            for letter, audio in zip("AB", (first, second), strict=True)
        }
        self._trials, self._seed, self._tests = trials, seed, 0
        self._answering = threading.Lock()
        self.test = BlindTest(coin_tosses(trials, seed))
        super().__init__(_still=f"{MARK}-{token_hex(8)}")
        self._tell()
        self.on_msg(self._on_message)

    @property
    def score(self) -> BlindScore:
        """What came of it so far."""
        return self.test.score

    def _tell(self) -> None:
        self._progress = {
            "test": self._tests,
            "trial": len(self.test.answers),
            "trials": self._trials,
            "over": self.test.is_over,
            "said": self._said(),
            "duration": self._heard["A"].track.audio.duration,
            "play_rate": PLAY_RATE,
            "chunk_secs": CHUNK_SECS,
        }

    def _said(self) -> str:
        if not self.test.is_over:
            return ""
        a, b = self.names
        return f"{self.score} A was {a}, B was {b}."

    def _on_message(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        try:
            reply, buffers = self._answer(content)
        except Exception as error:  # the browser waits for an answer, whatever went wrong
            _log.warning("cannot answer the listening test", exc_info=True)
            reply, buffers = {"error": f"{type(error).__name__}: {error}"}, []
        self.send({"ask": content.get("ask"), **reply}, buffers)

    def _answer(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Answer one message of the browser with JSON's types and buffers."""
        with self._answering:
            match asked["kind"]:
                case "sound":
                    letter = self.test.x if asked["choice"] == "X" else asked["choice"]
                    heard = self._heard[letter]
                    sound = heard.track.sound(int(asked["chunk"]), float(asked["speed"]))
                    return {"gain_db": heard.gain_db}, [sound.tobytes()]
                case "answer":
                    if asked["trial"] == len(self.test.answers):  # a second click is none
                        self.test.answer(asked["letter"])
                        self._tell()
                    return {}, []
                case "again":
                    self._tests += 1
                    self.test = BlindTest(coin_tosses(self._trials, self._seed))
                    self._tell()
                    return {}, []
        raise ValueError(f"{asked['kind']!r} is asked for; answer, again and sound are known")

    def __repr__(self) -> str:
        done = f"{len(self.test.answers)} of {self._trials} trials"
        return f"BlindListening({' against '.join(self.names)}, {done})"

    def _ipython_display_(self, **_: Any) -> None:
        """The widget, and words for where there is no kernel to run it."""
        show(self, f'<div class="{MARK} {self._still}">{self._repr_html_()}</div>')

    def _repr_html_(self) -> str:
        a, b = map(escape, self.names)
        enough = fewest_right(self._trials)
        needed = f" {enough} right answers of {self._trials} are more than luck." if enough else ""
        secs = self._heard["A"].track.audio.duration
        return (
            f"<p><b>Blind test: {a} against {b}</b></p>"
            f"<p>{secs:.1f} s of speech at one level, {self._trials} times: A, B, and X, which is "
            f"one of both. Is X A, or B?{needed}</p>"
            f"<p>{escape(self._said()) or 'Run the cell to take it.'}</p>"
        )
