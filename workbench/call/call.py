"""A call: its signals, its events, and what follows from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import PCMU
from workbench.audio import Audio
from workbench.call import speech, turns
from workbench.call.placement import follow, lay, lay_encoded, place_made
from workbench.call.playout import Playout, Uncut, Underrun, reconstruct, uncut
from workbench.call.reading import Contents, read
from workbench.call.signals import SIGNALS
from workbench.call.stats import call_stats, clock_drift
from workbench.call.streams import FrameRecord
from workbench.call.turns import Echo, Turn
from workbench.capture import CaptureReader

__all__ = ["Call"]

#: A hole is inside an utterance if there is sound this close to it on both sides: a voice pauses
#: for longer at the end of a sentence, and speech synthesis adds its own silence.
EDGE: Final = 0.050
#: What counts as sound there, below the loudest tenth of the bot's audio.
EDGE_DB: Final = 30.0
#: A shorter hole is no change of turns, in seconds.
TURN: Final = 0.5
#: Samples that are coded at once: an hour takes no more memory than a minute.
_AT_ONCE: Final = 480_000


class Call:
    """A call that was captured.

    Attributes:
        path: The file.
        metadata: What the capture says about itself: ``capture``, ``call``, ``serializer``, and
            ``end`` if it was finished.
        finished: Whether the capture has its end; a process that was killed leaves none.
        damage: What could not be read of it, in sentences.
        started_at: Wall-clock time of the call's zero, UTC.
        duration: Length in seconds: up to ``stop``, else to the end of the last audio, of what
            the far end had still queued too.
        inbound: The caller's audio messages.
        outbound: The bot's audio messages.
        frames_in: What ``deserialize`` made, in order.
        frames_out: What was given to ``serialize``, in order.
        events: What happened, in order.
        contents: All of it, as it was read.
    """

    def __init__(
        self, path: Path, metadata: dict[str, dict[str, str]], finished: bool, contents: Contents
    ) -> None:
        """Take what was read; :meth:`open` is the way to get a call."""
        self.path = path
        self.metadata = metadata
        self.finished = finished
        self.damage: tuple[str, ...] = ()
        self.contents = contents
        self.started_at = datetime.fromtimestamp(contents.anchor_ns / 1e9, UTC)
        self.duration = contents.duration
        self.inbound = contents.inbound
        self.outbound = contents.outbound
        self.frames_in = contents.frames_in
        self.frames_out = contents.frames_out
        self.events = contents.events

    @classmethod
    def open(cls, path: str | Path) -> Call:
        """Read a capture: finished, still being written, or cut off.

        Raises:
            CaptureError: If it cannot be read at all.

        Example::

            >>> call = Call.open("sample_audio/captures/choppy.mcap")
            >>> len(call.turns), call.caller_heard.sample_rate
            (5, 8000)
        """
        with CaptureReader(path) as reader:
            contents = read(reader)
            call = cls(reader.path, reader.metadata, reader.finished, contents)
            call.damage = tuple(reader.damage)
        return call

    def signal(self, name: str) -> Audio:
        """Look up one of the five signals.

        Raises:
            ValueError: If there is no such signal; the message lists those there are.
        """
        if name not in SIGNALS:
            raise ValueError(f"no signal {name!r}, there are: {', '.join(SIGNALS)}")
        audio: Audio = getattr(self, name)
        return audio

    def times_of(self, kind: str) -> NDArray[np.float64]:
        """When the events of one kind happened."""
        return np.array([event.time for event in self.events if event.kind == kind], float)

    # -- the five signals ----------------------------------------------------------------------

    @cached_property
    def caller_sent(self) -> Audio:
        """The caller, as it arrived on the wire."""
        stream = self.inbound
        start = np.where(stream.duplicate, np.nan, stream.start)
        return lay_encoded(start, stream.duration, stream.payloads, stream.formats, self.duration)

    @cached_property
    def bot_heard(self) -> Audio:
        """The caller, as the pipeline got it."""
        frames = [frame for frame in self.frames_in if frame.pcm and frame.sample_rate]
        duration = np.array([frame.duration for frame in frames], float)
        index = [self.contents.rx_index.get(frame.cause or 0, -1) for frame in frames]
        if frames and min(index) >= 0:
            start = place_made(self.inbound.start[index], duration)
        else:
            start = follow(np.array([frame.time for frame in frames], float), duration)
        pcm, rates = [f.mono for f in frames], [f.sample_rate for f in frames]
        return lay(start, duration, pcm, rates, self.duration)

    @cached_property
    def bot_said(self) -> Audio:
        """The bot, as the pipeline produced it."""
        frames, queue = self.audio_out, self.speaking
        pcm, rates = [f.mono for f in frames], [f.sample_rate for f in frames]
        return lay(queue.start, queue.kept, pcm, rates, self.duration)

    @cached_property
    def bot_sent(self) -> Audio:
        """The bot, as it left on the wire."""
        sent, queue = self.outbound, self.sending
        return lay_encoded(queue.start, queue.kept, sent.payloads, sent.formats, self.duration)

    @cached_property
    def played(self) -> Audio:
        """What the far end took from its queue, before the codec of the caller's leg."""
        return self._lay_played()

    @cached_property
    def caller_heard(self) -> Audio:
        """What the caller heard: :attr:`played`, at 8 kHz and through G.711 mu-law."""
        if all(wire is PCMU for wire in self.outbound.formats):
            return self.played  # coding a second time changes nothing
        # Not kept for those who do not ask for it: of a long call it is large.
        narrow = self._lay_played().resampled(PCMU.sample_rate)
        heard = np.empty(len(narrow), np.float32)
        for first in range(0, len(heard), _AT_ONCE):
            part = Audio(narrow.samples[first : first + _AT_ONCE], PCMU.sample_rate)
            coded = PCMU.decode(PCMU.encode(part.pcm()))
            heard[first : first + _AT_ONCE] = np.frombuffer(coded, "<i2")
        heard /= 32768
        return Audio(heard, PCMU.sample_rate)

    # -- what follows from them ----------------------------------------------------------------

    @cached_property
    def audio_out(self) -> tuple[FrameRecord, ...]:
        """The bot's audio frames. Pipecat does not play input audio, so that is left out."""
        return tuple(frame for frame in self.frames_out if frame.is_to_be_sent)

    @cached_property
    def speaking(self) -> Uncut:
        """When each frame of :attr:`audio_out` would be heard if no interruption cut it."""
        frames = self.audio_out
        return uncut(
            np.array([frame.time for frame in frames], float),
            np.array([frame.duration for frame in frames], float),
            self.times_of("interruption"),
        )

    @cached_property
    def sending(self) -> Uncut:
        """When each message of ``outbound`` would be: where :attr:`bot_sent` has it."""
        sent = self.outbound
        return uncut(sent.time, sent.duration, self.times_of("clear"))

    @cached_property
    def playout(self) -> Playout:
        """The far end's queue, emptied by each ``clear`` and by the end of the call.

        A gap counts as a hole only if there is sound right before it and right after it, and the
        caller did not answer in it.
        """
        likely = self._queue
        if not likely.underruns:
            return likely
        continues, floor = likely.continues.copy(), self._edge_level
        for hole in likely.underruns:
            is_in_sound = min(self._edges(hole.message)) > floor
            continues[hole.message] = is_in_sound and not self._is_answered(hole)
        return self._rebuilt(continues)

    @cached_property
    def _queue(self) -> Playout:
        """The same before the sound was asked: of :attr:`playout` only the holes are others."""
        return self._rebuilt(None)

    def _rebuilt(self, continues: NDArray[np.bool_] | None) -> Playout:
        sent, stopped = self.outbound, self.contents.stopped
        clears = self.times_of("clear")
        return reconstruct(sent.time, sent.duration, clears, continues=continues, stopped=stopped)

    @cached_property
    def caller_speech(self) -> NDArray[np.float64]:
        """Where the caller speaks, the bot's echo left out: shape ``(n, 2)``."""
        found = speech.voice_activity(self.caller_sent)
        return turns.without_echo(found, self.echoes, self.caller_sent, self.caller_heard)

    @cached_property
    def bot_speech(self) -> NDArray[np.float64]:
        """Where the caller heard the bot speak: shape ``(n, 2)``."""
        return speech.voice_activity(self.caller_heard)

    @cached_property
    def echoes(self) -> tuple[Echo, ...]:
        """Where the bot's voice came back from the caller's side."""
        return turns.find_echoes(self.caller_sent, self.caller_heard, self.bot_speech)

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """Who held the floor, in order."""
        found = turns.find_turns(self.caller_speech, self.bot_speech)
        bot = [turn for turn in found if turn.side == "bot"]
        # Audio belongs to the last turn that had begun; 0.3 s for what VAD takes to notice. What an
        # interruption threw away was meant for a turn that had begun by then.
        placed = np.minimum(self.sending.start, self.sending.cut - 0.3)
        owner = np.searchsorted([turn.start - 0.3 for turn in bot], placed, side="right") - 1
        said = np.bincount(owner + 1, self.outbound.duration, len(bot) + 1)[1:] * 1000
        heard = np.bincount(owner + 1, self.playout.heard, len(bot) + 1)[1:] * 1000
        amounts = iter(zip(said.tolist(), heard.tolist(), strict=True))
        rows = []
        for turn in found:
            mine = 1000 * turn.duration
            said_ms, heard_ms = next(amounts) if turn.side == "bot" else (mine, mine)
            rows.append(replace(turn, said_ms=said_ms, heard_ms=heard_ms))
        return tuple(rows)

    @cached_property
    def clock_drift(self) -> float | None:
        """How fast the two sides' clocks run apart: see :func:`workbench.call.stats.clock_drift`."""
        return clock_drift(self.inbound)

    @cached_property
    def stats(self) -> dict[str, float]:
        """What was counted and measured, by name: see :mod:`workbench.call.stats`."""
        signals = {"caller": self.caller_sent, "bot": self.bot_sent}
        return call_stats(self.contents, self.playout, self.audio_out, signals, self.turns)

    # -- for people ----------------------------------------------------------------------------

    def summary(self) -> str:
        """Describe the call in a few lines."""
        return "\n".join([self._sentence(), *(f"{n + ':':<12}{v}" for n, v in self._facts())])

    def __repr__(self) -> str:
        return f"Call({self.path.name!r}, {self.duration:.1f} s, {len(self.events)} events)"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self._facts()
        )
        return f"<p><b>{escape(self._sentence())}</b></p><table>{rows}</table>"

    def _sentence(self) -> str:
        caller = sum(turn.side == "caller" for turn in self.turns)
        bot = len(self.turns) - caller
        state = "" if self.finished else " The recording was cut off."
        if self.contents.unrecorded:
            lost = sum(end - start for start, end in self.contents.unrecorded)
            state += f" Of {_length(lost)} not everything was recorded."
        return (
            f"A call of {_length(self.duration)} on {self.started_at:%Y-%m-%d at %H:%M:%S} UTC: "
            f"{_count(caller, 'turn')} of the caller, {_count(bot, 'turn')} of the bot.{state}"
        )

    def _facts(self) -> list[tuple[str, str]]:
        stats, who = self.stats, self.metadata.get("call", {})
        facts = [("file", self.path.name)]
        facts += [(name.replace("_", " "), value) for name, value in who.items() if value]
        for name, stream, side, loss in (
            ("inbound", self.inbound, "caller", "lost_messages"),
            ("outbound", self.outbound, "bot", ""),
        ):
            kinds = ", ".join(dict.fromkeys(map(str, stream.formats))) or "no audio"
            text = f"{kinds}, {_count(len(stream), 'message')}"
            text += f", {stats[f'{name}_kbit_s']:.0f} kbit/s"
            if f"{side}_level_dbov" in stats:
                text += f", speech at {stats[f'{side}_level_dbov']:.1f} dBov"
            if loss and stats[loss]:
                text += f", {stats[loss]:.0f} lost"
            facts.append((name, text))
        rates = [f"{stats[k]:.0f} Hz {w}" for k, w in _PIPELINE if k in stats]
        if rates:
            facts.append(("pipeline", ", ".join(rates)))
        heard, said = stats["caller_heard_ms"], stats["bot_sent_ms"]
        facts.append(
            ("heard", f"{heard / 1000:.1f} s of the {said / 1000:.1f} s that the bot sent")
        )
        return facts

    # -- small things --------------------------------------------------------------------------

    def _lay_played(self) -> Audio:
        sent, queue = self.outbound, self._queue
        return lay_encoded(queue.start, queue.heard, sent.payloads, sent.formats, self.duration)

    def _is_answered(self, hole: Underrun) -> bool:
        """Whether the caller spoke in the hole: then it was a change of turns, if a quick one."""
        if hole.end - hole.start < TURN:
            return False
        speech = self.caller_speech
        spoken = np.minimum(speech[:, 1], hole.end) - np.maximum(speech[:, 0], hole.start)
        return float(np.maximum(spoken, 0).sum()) > 0.15

    @cached_property
    def _edge_level(self) -> float:
        """Level, in dBov, above which the edge of a hole is sound."""
        sent = self.outbound
        loudest = [_level(f.decode(p)) for f, p in zip(sent.formats, sent.payloads, strict=True)]
        return max(float(np.percentile(loudest, 90)) - EDGE_DB, -60.0) if loudest else 0.0

    def _edges(self, index: int) -> tuple[float, float]:
        """Levels of the last 50 ms before message ``index`` and of its first 50 ms."""
        sent = self.outbound
        size = round(EDGE * sent.formats[index].sample_rate) * 2
        before, after, place = b"", b"", index
        while len(before) < size and place > 0:
            place -= 1
            before = sent.formats[place].decode(sent.payloads[place]) + before
        place = index
        while len(after) < size and place < len(sent):
            after += sent.formats[place].decode(sent.payloads[place])
            place += 1
        return _level(before[-size:]), _level(after[:size])


_PIPELINE: Final = (("pipeline_in_hz", "in"), ("pipeline_out_hz", "out"))


def _level(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(np.float64) / 32768
    power = float(samples @ samples) / max(1, len(samples))
    return 10 * float(np.log10(max(power, 1e-10)))


def _length(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
