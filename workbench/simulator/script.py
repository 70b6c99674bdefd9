"""The script of a simulated call: who says what, when, and what goes wrong on the line.

A script is one JSON file beside its audio. Its times are those of an ideal run; in a live call both
sides *react*, so every turn has a rule instead of a fixed time:

=================================== ==============================================================
``{"after": "b01", "gap": 0.7}``    starts 0.7 s after that turn was heard to end
``{"after": null, "gap": 0.8}``     starts 0.8 s into the call
``{"into": "b03", "at": 12.3}``     starts 12.3 s into that turn: a barge-in
=================================== ==============================================================

Events are faults and features of the line, and of the bot, at script times. Live, each keeps its
distance from the turn that was last to start before it (:meth:`Script.anchor`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from workbench.audio import Audio

__all__ = ["Channel", "Event", "LoopBlock", "Rule", "Script", "SpeechStall", "Stall", "Turn"]

Side: TypeAlias = Literal["bot", "caller"]

#: How long a bot is thought to speak that no script tells of, and the silence before an answer.
_BOT_SECS: Final = 2.0
_GAP: Final = 0.7


class Rule(Struct, frozen=True):
    """When a turn starts.

    Attributes:
        after: Id of the turn it follows; ``None`` for the beginning of the call.
        gap: Seconds of silence before it.
        into: Id of the turn it interrupts, instead of ``after``.
        at: Seconds into that turn.
    """

    after: str | None = None
    gap: float = 0.0
    into: str | None = None
    at: float = 0.0


class Turn(Struct, frozen=True):
    """One utterance.

    Attributes:
        id: Unique in the script.
        side: ``"bot"`` or ``"caller"``.
        file: Its audio; absolute once the script is loaded.
        start: Script time of the first sample, in seconds.
        end: Script time of the last sample that is heard.
        full_duration: Length of the audio, longer than ``end - start`` for a turn that is cut.
        rule: When it starts in a live call.
        text: What is said; empty for music.
        speech: Script times of the stretches of speech in it.
        cut_by: Id of the turn that interrupts it.
        span: Seconds of the file that are used, from and to; all of it by default.
    """

    id: str
    side: Side
    file: str
    start: float
    end: float
    full_duration: float
    rule: Rule
    text: str = ""
    speech: tuple[tuple[float, float], ...] = ()
    cut_by: str | None = None
    span: tuple[float, float] | None = None

    def audio(self) -> Audio:
        """Read the file."""
        audio = Audio.read(self.file)
        return audio if self.span is None else audio.span(*self.span)


class Channel(Struct, frozen=True):
    """The caller's telephone.

    Attributes:
        mic_gain: Linear.
        noise_dbov: RMS of the room's pink noise before the band limit, 0 dB at 1.0.
        band_hz: Pass band.
    """

    mic_gain: float = 1.0
    noise_dbov: float = -70.0
    band_hz: tuple[float, float] = (200.0, 3500.0)


# -- events: those that change what the caller's line carries ----------------------------------


class Clipping(Struct, frozen=True, tag_field="type", tag="clipping"):
    """The caller is ``gain_db`` too loud and overloads the line."""

    start: float
    end: float
    gain_db: float


class NoiseBurst(Struct, frozen=True, tag_field="type", tag="noise_burst"):
    """Street noise swells to ``dbov`` and away again."""

    start: float
    end: float
    dbov: float


class Echo(Struct, frozen=True, tag_field="type", tag="echo"):
    """The caller is on the loudspeaker: what is played to them comes back."""

    start: float
    end: float
    delay_ms: float
    echo_return_loss_db: float


class PacketLoss(Struct, frozen=True, tag_field="type", tag="packet_loss"):
    """``frames`` messages in a row never arrive."""

    at: float
    frames: int

    @property
    def start(self) -> float:
        """When the first is lost."""
        return self.at


class JitterBurst(Struct, frozen=True, tag_field="type", tag="jitter_burst"):
    """Nothing arrives for ``stall_ms``, then all of it at once."""

    at: float
    stall_ms: float

    @property
    def start(self) -> float:
        """When the stall begins."""
        return self.at


# -- events: those that befall the bot ---------------------------------------------------------


class SpeechStall(Struct, frozen=True, tag_field="type", tag="speech_stall"):
    """The bot's speech service delivers the next word ``stall_ms`` after it was due."""

    at: float
    stall_ms: float


class LoopBlock(Struct, frozen=True, tag_field="type", tag="loop_block"):
    """A blocking call holds the bot's event loop for ``stall_ms``: it neither reads nor sends."""

    at: float
    stall_ms: float


# -- events: ground truth that follows from the turns ------------------------------------------


class BargeIn(Struct, frozen=True, tag_field="type", tag="barge_in"):
    """The caller interrupts the bot."""

    caller_turn: str
    bot_turn: str


class DeadAir(Struct, frozen=True, tag_field="type", tag="dead_air"):
    """Neither side speaks."""

    start: float
    end: float


class HoldMusic(Struct, frozen=True, tag_field="type", tag="hold_music"):
    """The bot plays music."""

    start: float
    end: float


Fault: TypeAlias = Clipping | NoiseBurst | Echo | PacketLoss | JitterBurst
Stall: TypeAlias = SpeechStall | LoopBlock
Event: TypeAlias = Fault | Stall | BargeIn | DeadAir | HoldMusic


class Script(Struct, frozen=True):
    """A whole call.

    Attributes:
        title: For people.
        duration: Seconds; what is left of it after the last turn is silence before the hang-up.
        turns: In the order in which they start.
        channel: The caller's telephone.
        events: In the order of the file.
    """

    title: str
    duration: float
    turns: tuple[Turn, ...]
    channel: Channel = Channel()
    events: tuple[Event, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Script:
        """Read a script; its audio files lie relative to the folder above the script's own.

        Raises:
            ValueError: If it is not a script; the message names the file and the field.
            OSError: If it cannot be read.
        """
        path = Path(path)
        root = path.resolve().parent.parent
        try:
            script = msgspec.json.decode(path.read_bytes(), type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"{path}: not a script: {error}") from None
        turns = tuple(msgspec.structs.replace(t, file=str(root / t.file)) for t in script.turns)
        script = msgspec.structs.replace(script, turns=turns)
        if problem := script._problem():
            raise ValueError(f"{path}: {problem}")
        return script

    @classmethod
    def spoken(cls, *files: str | Path) -> Script:
        """A caller who says these recordings, one after each time that the bot has spoken.

        Args:
            files: Mono sound files, of any rate.

        Raises:
            OSError: If one cannot be opened.
            ValueError: If one is no sound file, has several channels, or there is none.
        """
        if not files:
            raise ValueError("no recordings: there is nothing to say")
        turns: list[Turn] = []
        end = 0.0
        for number, file in enumerate(files, 1):
            length = Audio.read(file).duration
            bot, start = f"b{number:02}", end + _BOT_SECS + _GAP
            after = Rule(turns[-1].id, _GAP) if turns else Rule()
            name = Path(file).name
            turns += [
                Turn(bot, "bot", "", end, end + _BOT_SECS, _BOT_SECS, after),
                Turn(
                    f"c{number:02}", "caller", str(file), start, start + length, length,
                    Rule(bot, _GAP), name,
                ),
            ]  # fmt: skip
            end = start + length
        return cls("Recorded", end + _BOT_SECS, tuple(turns))

    def turn(self, turn_id: str) -> Turn:
        """Look a turn up.

        Raises:
            KeyError: If there is none of that id.
        """
        for turn in self.turns:
            if turn.id == turn_id:
                return turn
        raise KeyError(turn_id)

    def side(self, side: Side) -> tuple[Turn, ...]:
        """The turns of one side, in order."""
        return tuple(turn for turn in self.turns if turn.side == side)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The events that change what the caller's line carries."""
        return tuple(event for event in self.events if isinstance(event, Fault))

    def stalls(self, turn_id: str) -> tuple[tuple[float, Stall], ...]:
        """The events that chop a turn of the bot, in order, and how many seconds into it."""
        events = sorted((e for e in self.events if isinstance(e, Stall)), key=lambda e: e.at)
        placed = ((self.anchor(event.at), event) for event in events)
        return tuple((at, event) for (turn, at), event in placed if turn and turn.id == turn_id)

    def anchor(self, time: float) -> tuple[Turn | None, float]:
        """Say where a script time belongs.

        Args:
            time: Seconds of script time.

        Returns:
            The last turn that started at or before ``time``, and the seconds since; before the
            first turn ``None`` and ``time``.
        """
        started = [turn for turn in self.turns if turn.start <= time]
        return (started[-1], time - started[-1].start) if started else (None, time)

    def _problem(self) -> str | None:
        """What is wrong beyond the types, or ``None``."""
        earlier: dict[str, Turn] = {}
        start = 0.0
        for turn in self.turns:
            cause = turn.rule.into or turn.rule.after
            if turn.id in earlier:
                return f"turn {turn.id!r} is there twice"
            if cause is not None and cause not in earlier:
                return f"turn {turn.id!r} waits for {cause!r}, which is no earlier turn"
            if turn.side == "caller" and cause is not None and earlier[cause].side == "caller":
                return f"turn {turn.id!r} waits for {cause!r}: a caller waits for a bot's turn"
            if not start <= turn.start < turn.end:
                return f"turn {turn.id!r} from {turn.start} to {turn.end} is out of order"
            if not Path(turn.file).is_file():
                return f"turn {turn.id!r}: no file {turn.file}"
            earlier[turn.id], start = turn, turn.start
        for event in self.events:
            if isinstance(event, Stall):
                stalled = self.anchor(event.at)[0]
                if stalled is None or stalled.side != "bot" or event.at >= stalled.end:
                    return f"the bot says nothing at {event.at} that could stall"
        return None if earlier else "no turns"
