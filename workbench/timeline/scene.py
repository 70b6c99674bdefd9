"""What there is to look at and to listen to: a call, its marks, and the choices of each side.

A scene never changes: a new sound or a newer state of the call makes a new scene. So any thread can
read it, and one assignment replaces it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, partial
from threading import Event, Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.call import SIGNALS, Call
from workbench.call.pieces import Pieces
from workbench.call.placement import lay
from workbench.diagnosis import Finding
from workbench.metrics.speech_level import SILENCE_DBOV, active_level
from workbench.timeline.marks import marks
from workbench.timeline.sketch import Sketch, sketch_of
from workbench.timeline.views import Track
from workbench.tuning.voice import GRID

__all__ = ["SIDES", "Choice", "Scene"]

#: The signals to choose from on each side, from the caller's end of the line on; the first one is
#: shown first.
SIDES: Final[dict[str, tuple[str, ...]]] = {
    side: tuple(name for name in names if SIGNALS[name].side == side)
    for side, names in (("caller", list(SIGNALS)), ("bot", list(reversed(SIGNALS))))
}
#: Level that everything is brought to where loudness is matched: 26 dB below overload, the
#: nominal level of speech in listening tests (ITU-T P.830, 7.2.2).
MATCHED_DBOV: Final = -26.0
#: So much speech is enough to measure a level on: five minutes give that of an hour.
_LEVEL_SECS: Final = 300.0
#: The overview, which a saved notebook keeps, has at most this many columns, and at most this many
#: a second: too few to make speech from.
_OVERVIEW_COLUMNS: Final = 1200
_OVERVIEW_PER_SEC: Final = 20
#: A shorter call needs no sketch: its signals are ready in 50 ms.
LONG_SECS: Final = 300.0
#: A capture that is still growing was written to as recently as this; one left behind by a bot that
#: died was not.
_GROWS_SECS: Final = 30.0
#: How long speech is faded in after an interruption: the ring of a telephone's filter is over.
_FADE_SECS: Final = 0.003
#: Samples that are copied at once.
_BLOCK: Final = 1 << 18
#: Heights of a waveform to choose from, 1 = full scale.
_SCALES: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True, eq=False)
class Choice:
    """One thing to hear on one side.

    Parameters:
        name: One of the call's signals, ``"setting / leg"``, or a name of the user's.
        source: Gives the sound, on the call's clock. Asked once, when it is first wanted.
        setting: Of a comparison; None for a signal of the call.
        leg: Far leg that the setting was heard over, if any.
        revision: How many times the sound under this name was replaced.
        sketched: Gives what can be drawn before the sound is made.
        lock: Held while the track is made: if two threads want it, only one makes it.
        shown: Set once it was on screen; a sound that was only fetched ahead was not.
    """

    name: str
    source: Callable[[], Audio]
    setting: str | None = None
    leg: str | None = None
    revision: int = 0
    sketched: Callable[[], Sketch | None] = lambda: None
    lock: Lock = field(default_factory=Lock, repr=False)
    shown: Event = field(default_factory=Event, repr=False)

    @property
    def sentence(self) -> str:
        """What it is, for people."""
        return SIGNALS[self.name].sentence if self.name in SIGNALS else f"the bot as {self.name}"

    @property
    def drawn(self) -> Track | Sketch | None:
        """What can be drawn of it so far; ``None`` before it was first wanted."""
        return self.__dict__.get("track") or self.__dict__.get("sketch")

    @cached_property
    def sketch(self) -> Sketch | None:
        """What can be drawn before the sound is made, if anything."""
        return self.sketched()

    @cached_property
    def track(self) -> Track:
        """Its sound, ready to be drawn and played."""
        return Track(self.source())

    @cached_property
    def gain_db(self) -> float:
        """What brings its speech to :data:`MATCHED_DBOV`, short of clipping; 0 for silence."""
        audio = self.track.audio
        start = max(0.0, (audio.duration - _LEVEL_SECS) / 2)
        part = audio.span(start, start + _LEVEL_SECS)
        level = active_level(part) if len(part) else -np.inf
        if level < SILENCE_DBOV:
            return 0.0
        return min(MATCHED_DBOV - level, -20 * float(np.log10(self.track.peak)))


class Scene:
    """A call to be drawn and played.

    Parameters:
        call: The call.
        findings: What was found in it.
        compared: (setting, leg) to what it sounds like, in step with what the bot said.
        added: Further choices of the bot's side.
        sketch_from: A call of so many seconds or more is sketched until its signals are ready.
    """

    def __init__(
        self,
        call: Call,
        findings: Iterable[Finding] = (),
        compared: Mapping[tuple[str, str], Audio] | None = None,
        added: Iterable[Choice] = (),
        sketch_from: float = LONG_SECS,
    ) -> None:
        """Name the choices; a sound is made when it is first wanted."""
        self.call = call
        self._sketch_from = sketch_from
        self.marks = self._marks(findings)
        self._choices = {
            side: {name: _signal(call, name, sketch_from) for name in names}
            for side, names in SIDES.items()
        }
        sounds = compared or {}
        for setting, leg in sounds:
            source = partial(_of_comparison, call, sounds, (setting, leg))
            self._add(Choice(f"{setting} / {leg}", source, setting, leg))
        self.added = tuple(added)
        for choice in self.added:
            self._add(choice)

    def _add(self, choice: Choice) -> None:
        self._choices["bot"][choice.name] = choice

    def _marks(self, findings: Iterable[Finding]) -> list[dict[str, Any]]:
        # Those of a long call are known once it was diagnosed.
        is_known = self.call.duration < self._sketch_from or "turns" in vars(self.call)
        return marks(self.call, findings, self.call.answers if is_known else ())

    def with_findings(self, findings: Iterable[Finding]) -> Scene:
        """The same scene, with other findings marked."""
        scene = copy(self)
        scene.marks = scene._marks(findings)
        return scene

    def names(self, side: str) -> tuple[str, ...]:
        """The choices of a side."""
        return tuple(self._choices[side])

    def with_sound(self, name: str, audio: Audio, in_step: bool = False) -> Scene:
        """The same scene, with a choice of the bot's side added or replaced.

        Args:
            name: Of the choice.
            audio: On the call's clock, or ``in_step`` with what the bot said.
            in_step: Which of the two.
        """
        before = self._choices["bot"].get(name)
        revision = before.revision + 1 if before else 0
        source = partial(on_clock, self.call, audio) if in_step else partial(_given, audio)
        choice = Choice(name, source, name, None, revision)
        scene = copy(self)
        scene.added = (*(other for other in self.added if other.name != name), choice)
        scene._choices = {**self._choices, "bot": {**self._choices["bot"], name: choice}}
        return scene

    def track(self, side: str, name: str) -> Track:
        """The sound of one choice.

        Raises:
            KeyError: If there is no such side or choice.
        """
        choice = self._choices[side][name]
        with choice.lock:
            return choice.track

    def drawn(self, side: str, name: str) -> Track | Sketch:
        """What can be drawn of a choice at once: its sound, or a sketch while there is none yet.

        Raises:
            KeyError: If there is no such side or choice.
        """
        choice = self._choices[side][name]
        choice.shown.set()
        return choice.drawn or choice.sketch or self.track(side, name)

    def gain_db(self, side: str, name: str) -> float:
        """What brings a choice to the matched level, in dB."""
        self.track(side, name)
        return self._choices[side][name].gain_db

    def top_hz(self, side: str) -> float:
        """Highest frequency of the side's axis: that of all its sounds that were shown so far."""
        return max((drawn.sample_rate / 2 for drawn in self._drawn(side)), default=4000.0)

    def full_scale(self, side: str) -> float:
        """What the height of the side's waveforms stands for, so that the loudest sample fits."""
        peak = max((drawn.peak for drawn in self._drawn(side)), default=1.0)
        return next((scale for scale in _SCALES if scale >= peak), 1.0)

    def _drawn(self, side: str) -> list[Track | Sketch]:
        shown = (choice for choice in self._choices[side].values() if choice.shown.is_set())
        return [choice.drawn for choice in shown if choice.drawn]

    def overview(self, sides: Mapping[str, str]) -> bytes:
        """Envelopes of the whole call, coarse enough to be kept: one after the other, int8."""
        duration = self.call.duration
        columns = int(min(_OVERVIEW_COLUMNS, max(1.0, duration * _OVERVIEW_PER_SEC)))
        parts = []
        for side, name in sides.items():
            drawn = self.drawn(side, name)
            parts.append(drawn.envelope(0.0, duration, columns, self.full_scale(side)).tobytes())
        return b"".join(parts)

    def contents(self) -> dict[str, Any]:
        """What the player has to know to lay itself out, of JSON's types; no text of the call."""
        return {
            "duration": self.call.duration,
            "live": _grows(self.call),
            "words": self.call.has_words,
            "notes": self.call.path.exists(),  # else there is nothing that they could be beside
            "sides": [
                {
                    "name": side,
                    "choices": [
                        {
                            "name": choice.name,
                            "sentence": choice.sentence,
                            "setting": choice.setting,
                            "leg": choice.leg,
                            "revision": choice.revision,
                        }
                        for choice in choices.values()
                    ],
                }
                for side, choices in self._choices.items()
            ],
        }


def on_clock(call: Call, audio: Audio) -> Audio:
    """Lay sound that is in step with what the bot said, frame behind frame, on the call's clock.

    Args:
        call: The call.
        audio: For instance of ``comparison.signals``.

    Returns:
        The same with the pauses that were between the frames, as long as the call. What follows an
        interruption is faded in: the filter of a telephone rings on from the word that was cut,
        and out of the silence between them that would be a click, which no caller heard.
    """
    ends, resumed = _in_step(call)
    cuts = np.rint(ends * audio.sample_rate).astype(np.int64)
    begins = [int(cuts[index - 1]) for index in resumed]
    pcm, queue = _faded(audio, begins).int16(), call.speaking
    edges = np.minimum(np.append(0, cuts), len(pcm))
    pieces = Pieces(pcm.view(np.uint8), 2 * edges[:-1], 2 * np.diff(edges))
    rates = [audio.sample_rate] * len(pieces)
    return lay(queue.start, queue.kept, pieces, rates, call.duration)


def _of_comparison(
    call: Call, compared: Mapping[tuple[str, str], Audio], cell: tuple[str, str]
) -> Audio:
    return on_clock(call, compared[cell])


def _in_step(call: Call) -> tuple[NDArray[np.float64], list[int]]:
    """When each frame of what the bot said ends, and which are the first after an interruption.

    In :mod:`workbench.tuning.voice` a stretch that was interrupted ends at a multiple of 20 ms.
    """
    spoken = call.audio_out.time
    ends = np.cumsum(call.audio_out.duration)
    after = np.unique(np.searchsorted(spoken, call.times_of("interruption"))).tolist()
    resumed = [index for index in after if 0 < index < len(ends)]
    for index in resumed:
        cut = np.floor(ends[index - 1] * GRID + 1e-6) / GRID
        ends[index:] -= ends[index - 1] - cut
        ends[:index] = np.minimum(ends[:index], cut)
    return ends, resumed


def _faded(audio: Audio, begins: Iterable[int]) -> Audio:
    """The same, faded in from each of some samples on."""
    samples: NDArray[np.float32] = mapped.zeros(len(audio), np.float32)
    for first, block in mapped.blocks(audio.samples, _BLOCK):
        samples[first : first + len(block)] = block
        mapped.let_go(samples[first : first + len(block)])
    ramp = np.linspace(0, 1, round(_FADE_SECS * audio.sample_rate), False, dtype=np.float32)
    for begin in begins:
        part = samples[begin : begin + len(ramp)]
        part *= ramp[: len(part)]
    return Audio(samples, audio.sample_rate)


def _grows(call: Call) -> bool:
    """Whether the capture is still being written."""
    if call.finished or call.path.suffix != ".part":
        return False
    try:
        return time.time() - call.path.stat().st_mtime < _GROWS_SECS
    except OSError:  # it was finished since, and has another name
        return False


def _signal(call: Call, name: str, sketch_from: float) -> Choice:
    """A signal of the call. What is short, or there already, needs no sketch."""
    if call.duration < sketch_from or name in vars(call):
        return Choice(name, partial(call.signal, name))
    return Choice(name, partial(call.signal, name), sketched=partial(sketch_of, call, name))


def _given(audio: Audio) -> Audio:
    return audio
