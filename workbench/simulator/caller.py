"""The caller: speaks when the script says so, judged by what has been heard of the bot.

All that a caller knows of the bot is its sound. They wait for as many utterances as the script puts
before their turn, then for the turn's gap of silence. If the bot follows another script, they wait
out :data:`PATIENCE` seconds of silence and then speak anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.simulator.playback import Utterance
from workbench.simulator.script import Echo, Fault, JitterBurst, PacketLoss, Script, Turn
from workbench.simulator.telephone import SAMPLE_RATE, Telephone, line_ready

__all__ = ["PATIENCE", "Caller", "Occurrence", "Spoken"]

#: Seconds of silence that a caller puts up with beyond what the script says.
PATIENCE: Final = 10.0

#: Shorter sounds are no utterance: a resampler's tail, flushed when a call ends, is 4 ms.
_AUDIBLE: Final = 0.05

#: How long after its end a caller answers what they had meant to interrupt.
_TOO_LATE: Final = 0.5


@dataclass(frozen=True)
class Spoken:
    """A turn that was really spoken or heard.

    Parameters:
        id: The script's; ``""`` for an utterance that the script does not have.
        side: ``"bot"`` or ``"caller"``.
        start: Second of the call when it began.
        end: The same for its end.
        cut: Whether it was broken off.
    """

    id: str
    side: str
    start: float
    end: float
    cut: bool = False


@dataclass(frozen=True)
class Occurrence:
    """A fault of the script that really took place.

    Parameters:
        fault: The script's event.
        start: Second of the call when it began.
        end: The same for its end.
    """

    fault: Fault
    start: float
    end: float


class Caller:
    """Plays the caller's part of a script, block after block of the call's clock.

    Args:
        script: What to say, and what the line does meanwhile.
        seed: Of the line's noise.
    """

    def __init__(self, script: Script, seed: int = 0) -> None:
        """See the class."""
        echo = next((event for event in script.faults if isinstance(event, Echo)), None)
        self.script = script
        self.spoken: list[Spoken] = []
        self.occurrences: list[Occurrence] = []
        self._turns = script.side("caller")
        self._speech = [
            line_ready(
                turn.audio(),
                script.channel,
                speakerphone=echo is not None and turn.start >= echo.start,
            )
            for turn in self._turns
        ]
        self._telephone = Telephone(script.channel, echo, seed)
        self._pending = list(script.faults)
        self._time = 0.0

    @property
    def finished(self) -> bool:
        """Whether the last turn has been spoken."""
        done = len(self.spoken) == len(self._turns)
        return done and (not self.spoken or self.spoken[-1].end <= self._time)

    def speak(
        self, far: NDArray[np.float32], heard: Sequence[Utterance], sounding: bool
    ) -> NDArray[np.int16]:
        """Make the next block of the caller's line.

        Args:
            far: What was played to the caller in this block, at 8 kHz, shape ``(n,)``.
            heard: The bot's utterances so far.
            sounding: Whether the last one is not over.

        Returns:
            Shape ``(n,)``, what goes to mu-law.
        """
        end = self._time + len(far) / SAMPLE_RATE
        self._begin_turn(end, heard, sounding)
        self._begin_faults(end, self.heard_turns(heard))
        speech = np.zeros(len(far), np.float32)
        for turn, sound in zip(self.spoken, self._speech, strict=False):
            _add(speech, sound, round((turn.start - self._time) * SAMPLE_RATE))
        middle = (self._time + end) / 2
        active = {
            o.fault: (middle - o.start) / (o.end - o.start)
            for o in self.occurrences
            if o.start <= middle < o.end
        }
        block = self._telephone.mix(speech, far, active)
        self._time = end
        return block

    def heard_turns(self, heard: Sequence[Utterance]) -> list[Spoken]:
        """Name the bot's utterances after the script's turns, as far as they correspond."""
        named: list[Spoken] = []
        for index in range(len(self.spoken) + 1):
            ids = [turn.id for turn in self._bot_turns_before(index)]
            for utterance in self._heard_before(index, heard):
                name = ids.pop(0) if ids else ""
                named.append(Spoken(name, "bot", utterance.start, utterance.end, utterance.cut))
        return named

    # -- when to speak -------------------------------------------------------------------------

    def _begin_turn(self, now: float, heard: Sequence[Utterance], sounding: bool) -> None:
        if len(self.spoken) == len(self._turns) or (self.spoken and self.spoken[-1].end > now):
            return
        index = len(self.spoken)
        turn = self._turns[index]
        start = self._cue(turn, self._heard_before(index, heard), now, sounding)
        if start is not None and start <= now:
            start = max(start, self._time)
            self.spoken.append(Spoken(turn.id, "caller", start, start + turn.full_duration))

    def _cue(
        self, turn: Turn, heard: Sequence[Utterance], now: float, sounding: bool
    ) -> float | None:
        """When to say ``turn``, as far as that is known; ``None`` for not yet."""
        wanted = len(self._bot_turns_before(len(self.spoken)))
        if turn.rule.into is not None and len(heard) >= wanted:
            target = heard[wanted - 1]
            at = target.start + turn.rule.at
            playing = sounding and target is heard[-1]
            return at if playing else min(at, target.end + _TOO_LATE)
        if sounding:
            return None
        before = self.spoken[-1].end if self.spoken else 0.0
        silent_since = max([before, *(utterance.end for utterance in heard)])
        patience = 0.0 if len(heard) >= wanted else PATIENCE
        return silent_since + turn.rule.gap + patience

    def _bot_turns_before(self, index: int) -> list[Turn]:
        """The bot's turns between the caller's turn of that index and the one before it."""
        turns = self.script.turns
        last = self._turns[index].id if index < len(self._turns) else None
        stop = next((i for i, turn in enumerate(turns) if turn.id == last), len(turns))
        start = max((i for i in range(stop) if turns[i].side == "caller"), default=-1) + 1
        return list(turns[start:stop])

    def _heard_before(self, index: int, heard: Sequence[Utterance]) -> list[Utterance]:
        """The utterances that began between the caller's turn of that index and the one before."""
        first = self.spoken[index - 1].start if index > 0 else -1.0
        last = self.spoken[index].start if index < len(self.spoken) else float("inf")
        audible = (utterance for utterance in heard if utterance.end - utterance.start > _AUDIBLE)
        return [utterance for utterance in audible if first <= utterance.start < last]

    # -- what goes wrong meanwhile -------------------------------------------------------------

    def _begin_faults(self, now: float, bot: list[Spoken]) -> None:
        starts = {turn.id: turn.start for turn in (*bot, *self.spoken)}
        for fault in list(self._pending):
            anchor, offset = self.script.anchor(fault.start)
            origin = 0.0 if anchor is None else starts.get(anchor.id)
            if origin is None or origin + offset > now:
                continue
            start = origin + offset
            self._pending.remove(fault)
            self.occurrences.append(Occurrence(fault, start, start + self._length(fault)))

    def _length(self, fault: Fault) -> float:
        if isinstance(fault, PacketLoss):
            return fault.frames * 0.02
        if isinstance(fault, JitterBurst):
            return fault.stall_ms / 1000
        # What lasts to the end of the script lasts to the end of the call.
        lasting = fault.end >= self.script.duration
        return float("inf") if lasting else fault.end - fault.start


def _add(block: NDArray[np.float32], sound: NDArray[np.float32], offset: int) -> None:
    """Add to ``block`` what of ``sound`` falls into it; ``offset`` is where the sound begins."""
    first, last = max(offset, 0), min(offset + len(sound), len(block))
    if first < last:
        block[first:last] += sound[first - offset : last - offset]
