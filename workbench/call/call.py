"""A call: its signals, its events, and what follows from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import PCMU
from workbench import mapped
from workbench.audio import Audio
from workbench.budget import Budget
from workbench.call import acknowledged, echoes, holes, milestones, summary, turns
from workbench.call.acknowledged import Check
from workbench.call.answers import Answers, find_answers
from workbench.call.cushioned import intact, with_cushion
from workbench.call.echoes import Echo
from workbench.call.frames import Frames
from workbench.call.milestones import Sending
from workbench.call.pieces import let_go
from workbench.call.placement import follow, lay, lay_encoded, place_made
from workbench.call.playout import Bounds, Playout, Uncut, reconstruct, uncut
from workbench.call.reading import Contents, params_of, read
from workbench.call.signals import SIGNALS, WAYS
from workbench.call.stages import Stage
from workbench.call.stats import call_stats, clock_drift, only_of_frames
from workbench.call.turns import Side, Turn
from workbench.call.words import Sounding, Words, find_words
from workbench.capture import CaptureReader
from workbench.exceptions import CaptureError, NotForCarrier
from workbench.metrics import speech
from workbench.metrics.sounds import HARDLY_VOICE, Sound, centred, intervals_of, sounds

__all__ = ["Call"]

#: Samples that are coded at once: an hour takes no more memory than a minute.
_AT_ONCE: Final = 480_000


class Call:
    """A call that was captured.

    Attributes:
        path: The file.
        metadata: What the capture says about itself: ``capture``, ``call``, ``serializer``,
            ``labels`` if there are any, and ``end`` if it was finished.
        finished: Whether the capture has its end; a process that was killed leaves none.
        damage: What could not be read of it, in sentences.
        started_at: Wall-clock time of the call's zero, UTC.
        begun: When the bot read its first message, in seconds: 0, unless the caller's audio had
            piled up before. Zero is then where the first of that belongs.
        duration: Length in seconds: up to its ending, see :mod:`workbench.call.ending`; without
            one to the end of the last audio, of what the far end had still queued too.
        ending: How it ended, when, and who brought it about.
        inbound: The caller's audio messages.
        outbound: The bot's audio messages.
        frames_in: What ``deserialize`` made, in order.
        frames_out: What was given to ``serialize``, in order.
        events: What happened, in order.
        hang_ups: The serializer's attempts to end the call, in order.
        pipeline: What the pipeline said of itself, in order.
        syntheses: When it told that a synthesis began (``True``) or was over, in order: by
            :mod:`workbench.observer` or by what it sends to web clients.
        carrier: Whose messages they are: see :mod:`workbench.call.carriers`. Where they are not read,
            ``inbound`` and ``outbound`` are made of the frames.
        marks: Where the bot asked to be told when all before was played, in order.
        has_words: Whether the bot asked for words, and they were read.
        reads_words: Whether they were to be read; who reads the file again keeps to the same.
        start: The first ``start`` message, if there was one.
        stopped: When its last stream stopped; ``None`` if it never did.
        other_track: How many media messages came of another track than the caller's.
        dropped: How many records the recording itself lost.
        unrecorded: From when to when records are missing, in seconds, in order.
        rx_index: Number of a ``/ws/rx`` record to its index in ``inbound``.
        anchor_ns: UNIX time of the call's zero, in nanoseconds.
        budget: What its file may claim; who reads it again keeps to the same.
    """

    def __init__(
        self,
        path: Path,
        metadata: dict[str, dict[str, str]],
        finished: bool,
        damage: tuple[str, ...],
        contents: Contents,
        budget: Budget,
        words: bool = True,
    ) -> None:
        """Take what was read; :meth:`open` is the way to get a call."""
        self.path = path
        self.budget = budget
        self.metadata = metadata
        self.finished = finished
        self.damage = damage
        self._contents = contents
        self.anchor_ns = contents.anchor_ns
        self.started_at = datetime.fromtimestamp(contents.anchor_ns / 1e9, UTC)
        self.begun = contents.begun
        self.duration = contents.duration
        self.ending = contents.ending
        self.inbound = contents.inbound
        self.outbound = contents.outbound
        self.frames_in = contents.frames_in
        self.frames_out = contents.frames_out
        self.events = contents.events
        self.hang_ups = contents.hang_ups
        self.pipeline = contents.pipeline
        self.syntheses = contents.syntheses
        self.carrier = contents.carrier
        self.marks = contents.marks
        self.reads_words = words
        self.has_words = words and bool(contents.words)
        self.start = contents.start
        self.stopped = contents.stopped
        self.other_track = contents.other_track
        self.dropped = contents.dropped
        self.unrecorded = contents.unrecorded
        self.rx_index = contents.rx_index

    @classmethod
    def open(cls, path: str | Path, budget: Budget | None = None, *, words: bool = True) -> Call:
        """Read a capture: finished, still being written, or cut off.

        Args:
            path: The file.
            budget: What it may claim; by default :func:`workbench.budget.usual`. Raise it for a
                large file of your own: ``Budget(hours=12)``.
            words: Whether to read what was said, where that was recorded. Without, nothing that is
                made of the call tells any of it.

        Raises:
            CaptureError: If it cannot be read at all, or claims more than its budget.

        Example::

            >>> call = Call.open("sample_audio/captures/choppy.mcap")
            >>> len(call.turns), call.caller_heard.sample_rate
            (5, 8000)
        """
        try:
            with CaptureReader(path, budget) as reader:
                contents = read(reader)
                damage = tuple(reader.damage)
                about = reader.metadata, reader.finished
                call = cls(reader.path, *about, damage, contents, reader.budget, words)
                call.let_go()
                return call
        except MemoryError:
            raise CaptureError(path, "there is not enough memory to read it") from None

    @cached_property
    def params(self) -> dict[str, Any]:
        """The serializer's parameters; empty if the capture does not tell them."""
        return params_of(self.metadata.get("serializer", {}))

    @property
    def labels(self) -> dict[str, str]:
        """What the bot's own :class:`workbench.tap.Tap` was told to tell this call by."""
        return self.metadata.get("labels", {})

    def check_ours(self, what: str) -> None:
        """Refuse what is for Bandwidth's serializer, where another one was recorded.

        Args:
            what: Name of what is asked for, as the sentence's subject.

        Raises:
            NotForCarrier: If another one was.
        """
        if not self.carrier.is_ours:
            raise NotForCarrier(
                f"{what} is for Bandwidth's serializer; {self.path.name} was recorded from "
                f"{self.carrier.serializer or self.carrier}"
            )

    def signal(self, name: str) -> Audio:
        """Look up one of the five signals.

        Raises:
            ValueError: If there is no such signal; the message lists those there are.
        """
        if name not in SIGNALS:
            raise ValueError(f"no signal {name!r}, there are: {', '.join(SIGNALS)}")
        audio: Audio = getattr(self, name)
        return audio

    @cached_property
    def ways(self) -> dict[Side, tuple[str, ...]]:
        """Each side's signals before and behind the serializer; only the first where both are the same."""
        return {
            side: (before,)
            if mapped.same(self.signal(before).samples, self.signal(behind).samples)
            else (before, behind)
            for side, (before, behind) in WAYS.items()
        }

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
        frames = self.frames_in.taken(self.frames_in.has_sound)
        index = self.rx_index.indices(np.maximum(frames.cause, 0))
        if len(frames) and index.min() >= 0:
            start = place_made(self.inbound.start[index], frames.duration)
        else:
            start = follow(frames.time, frames.duration)
        rates = frames.sample_rate.tolist()
        return lay(start, frames.duration, frames.mono, rates, self.duration)

    @cached_property
    def bot_said(self) -> Audio:
        """The bot, as the pipeline produced it."""
        frames, queue = self.audio_out, self.speaking
        rates = frames.sample_rate.tolist()
        return lay(queue.start, queue.kept, frames.mono, rates, self.duration)

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
        if all(wire.bytes_per_sample == 1 for wire in self.outbound.formats):
            return self.played  # coding a second time changes nothing
        # Not kept for those who do not ask for it: of a long call it is large.
        return _over_g711(self._lay_played())

    @cached_property
    def bot_intact(self) -> Audio:
        """The bot, as the pipeline produced it, with no hole in what it says: beside the signals."""
        return intact(self)

    def with_cushion(self, cushion_ms: float) -> Audio:
        """What the caller would have heard with another ``outbound_cushion_ms``: beside the signals.

        Args:
            cushion_ms: 0 to 1000; 0 for none.

        Returns:
            As :attr:`caller_heard`. It is longer than that by what the goodbye would have been later.

        Raises:
            ValueError: If the call is of another carrier's serializer, which has no such setting.
        """
        self.check_ours("with_cushion")
        return _over_g711(with_cushion(self, cushion_ms))

    # -- what follows from them ----------------------------------------------------------------

    @cached_property
    def audio_out(self) -> Frames:
        """The bot's audio frames. Pipecat does not play input audio, so that is left out."""
        return self.frames_out.taken(self.frames_out.is_to_be_sent)

    @cached_property
    def speaking(self) -> Uncut:
        """When each frame of :attr:`audio_out` would be heard if no interruption cut it."""
        frames = self.audio_out
        return uncut(frames.time, frames.duration, self.times_of("interruption"))

    @cached_property
    def sending(self) -> Uncut:
        """When each message of ``outbound`` would be: where :attr:`bot_sent` has it."""
        sent = self.outbound
        return uncut(sent.time, sent.duration, self.times_of("clear"))

    @cached_property
    def playout(self) -> Playout:
        """The far end's queue, emptied by each ``clear`` and by the end of the call.

        A gap counts as a hole only if there is sound right before it and right after it, the caller
        did not answer in it, and the pipeline did not tell that an utterance was over. Where the
        carrier says what it has played, that counts.
        """
        queue = self._queue
        if not queue.underruns:
            return queue
        found = [
            hole
            for hole in holes.in_sound(queue.underruns, self.outbound)
            if not holes.is_pause(hole, self.caller_speech, self.syntheses)
        ]
        return self._rebuilt(holes.continues(queue, found), queue.bounds)

    @cached_property
    def _queue(self) -> Playout:
        """The same before the sound was asked: of :attr:`playout` only the holes are others."""
        model = self._model
        check = self.playout_check
        return model if check is None else self._rebuilt(None, check.bounds)

    @cached_property
    def _model(self) -> Playout:
        """The same before the carrier was asked."""
        return self._rebuilt(None, None)

    @cached_property
    def playout_check(self) -> Check | None:
        """The queue model against the marks that the carrier answered; ``None`` without any."""
        return acknowledged.check(self._model, self.marks, self.inbound) if self.marks else None

    def _rebuilt(self, continues: NDArray[np.bool_] | None, bounds: Bounds | None) -> Playout:
        sent, clears = self.outbound, self.times_of("clear")
        stopped = None if self.ending.how == "open" else self.ending.time
        return reconstruct(
            sent.time, sent.duration, clears, continues=continues, stopped=stopped, bounds=bounds
        )

    @cached_property
    def caller_sounds(self) -> tuple[Sound, ...]:
        """What can be heard of the caller's side: voice, tones, music, noise."""
        return sounds(self.caller_sent)

    @cached_property
    def bot_sounds(self) -> tuple[Sound, ...]:
        """What the caller could hear of the bot's side."""
        return sounds(self.caller_heard, self.bot_line)

    @cached_property
    def bot_line(self) -> Audio:
        """:attr:`caller_heard` at 8 kHz, without what no telephone carries: beside the signals."""
        return centred(self.caller_heard)

    @cached_property
    def caller_speech(self) -> NDArray[np.float64]:
        """Where the caller speaks, the bot's echo left out: shape ``(n, 2)``."""
        found = intervals_of(self.caller_sounds, "voice", least=HARDLY_VOICE)
        return echoes.without_echo(
            found, self._bot_voice, self.echoes, self.caller_sent, self.caller_heard
        )

    @cached_property
    def bot_speech(self) -> NDArray[np.float64]:
        """Where the caller heard the bot speak, not a background sing: shape ``(n, 2)``."""
        return turns.over_ambience(self.caller_heard, self._bot_voice, self.ambience)

    @cached_property
    def _bot_voice(self) -> NDArray[np.float64]:
        voice, others = (intervals_of(self.bot_sounds, kind) for kind in ("voice", "other"))
        return turns.led_up_to(self.caller_heard, voice, others)

    @cached_property
    def ambience(self) -> float | None:
        """Level in dBov of a background that a mixer puts under the bot's words and into its pauses."""
        return turns.ambience(self.caller_heard, self._bot_voice, self.caller_speech)

    @cached_property
    def echoes(self) -> tuple[Echo, ...]:
        """Where the bot's voice came back from the caller's side."""
        return echoes.find_echoes(self.caller_sent, self.caller_heard, self._bot_voice)

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """Who had the turn, in order."""
        tones = intervals_of(self.caller_sounds, "tone")
        found = turns.find_turns(self.caller_speech, self.bot_speech, tones)
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
    def answers(self) -> Answers:
        """The bot's answers, and the wait before each in stages: :mod:`workbench.call.answers`.

        Example::

            >>> call = Call.open("sample_audio/captures/choppy.mcap")
            >>> answer = call.answers[0]
            >>> abs(sum(stage.took_ms for stage in answer.stages) - answer.wait_ms) < 1e-6
            True
        """
        interruptions = self.times_of("interruption").tolist()
        found = find_answers(
            self.turns,
            self.pipeline,
            self._sending_on,
            interruptions,
            self.duration,
            self.words.of("bot"),
        )
        if self.carrier.is_ours:
            return found
        return Answers(replace(answer, stages=self._here(answer.stages)) for answer in found)

    @cached_property
    def words(self) -> Words:
        """What both sides said, word by word; empty unless the bot asked for words.

        See :mod:`workbench.call.words`. ``call.answers[1].words.unheard.text`` is what the caller did
        not hear of an answer.
        """
        if not self.has_words:
            return Words()
        cuts = self.times_of("interruption").tolist()
        way = Sounding(self.audio_out, self.sending, self.playout, self.pipeline, cuts)
        return find_words(self._contents.words, way, self.caller_speech)

    def stages(self, start: float, end: float, message: int | None = None) -> tuple[Stage, ...]:
        """Split any wait for the bot into its stages: see :mod:`workbench.call.milestones`.

        Args:
            start: When it began.
            end: When the bot was heard.
            message: Index in ``outbound`` of what was heard first; by default that of the sound.
        """
        sent = self._sending_on.milestones(start, end, message)
        return self._here(milestones.split(start, end, self.pipeline, sent, audible=bool(sent)))

    def _here(self, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """The stages as this call's serializer has them."""
        if self.carrier.is_ours:
            return stages
        return tuple(replace(stage, can_cushion=False) for stage in stages)

    @cached_property
    def _sending_on(self) -> Sending:
        """How audio gets from the pipeline to the wire."""
        transport = milestones.told_by(self.pipeline, "bot begins to speak")
        serializer = self.metadata.get("serializer", {}).get("class", "").rpartition(".")[2]
        return Sending(self.audio_out.time, self._queue, transport, serializer)

    @cached_property
    def clock_drift(self) -> float | None:
        """How fast the two sides' clocks run apart: see :func:`workbench.call.stats.clock_drift`."""
        return clock_drift(self.inbound)

    @cached_property
    def stats(self) -> dict[str, float]:
        """What was counted and measured, by name: see :mod:`workbench.call.stats`."""
        signals = {"caller": self.caller_sent, "bot": self.bot_sent}
        found = call_stats(self._contents, self.playout, self.audio_out, signals, self.turns)
        if self.playout_check is not None:
            found |= self.playout_check.stats
        return found if self.carrier.is_read else only_of_frames(found)

    def let_go(self) -> None:
        """Keep on the disk only what was looked at of a long call; it is read again when wanted."""
        for audio in vars(self).values():
            if isinstance(audio, Audio):
                speech.let_go(audio)
        for pieces in (self.frames_in.pieces, self.frames_out.pieces):
            pieces.let_go()
        for stream in (self.inbound, self.outbound):
            let_go(stream.payloads)

    # -- for people ----------------------------------------------------------------------------

    def summary(self) -> str:
        """Describe the call in a few lines."""
        return summary.text(self)

    def __repr__(self) -> str:
        return f"Call({self.path.name!r}, {self.duration:.1f} s, {len(self.events)} events)"

    def _repr_html_(self) -> str:
        return summary.html(self)

    # -- small things --------------------------------------------------------------------------

    def _lay_played(self) -> Audio:
        sent, queue = self.outbound, self._queue
        return lay_encoded(queue.start, queue.heard, sent.payloads, sent.formats, self.duration)


def _over_g711(played: Audio) -> Audio:
    narrow = played.resampled(PCMU.sample_rate)
    heard = mapped.zeros(len(narrow), "<i2")
    for first, block in mapped.blocks(narrow.samples, _AT_ONCE):
        coded = PCMU.decode(PCMU.encode(Audio(block, PCMU.sample_rate).pcm()))
        part = heard[first : first + len(block)]
        part[:] = np.frombuffer(coded, "<i2")
        mapped.let_go(part)
    return Audio.from_pcm(heard, PCMU.sample_rate)
