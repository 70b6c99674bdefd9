"""What truly happened in a simulated call: the ground truth that a capture of it can be held to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.simulator.caller import Occurrence, Spoken
from workbench.simulator.playback import AUDIBLE_DBOV

__all__ = ["BargeIn", "EndedBy", "Played", "SimulatedCall", "Webhook"]

#: Who ended a call: the bot by closing the stream, the bot through the Voice API, the caller by
#: hanging up when all was said, the time limit, the BXML when it was over, or nobody that is
#: simulated: it handed the caller on.
EndedBy: TypeAlias = Literal["closed", "hang up", "caller", "timeout", "BXML", "handed on"]

#: Seconds that go by before a verb takes note that the stream is over, at most.
_MOMENT: Final = 0.1

_ENDINGS: Final = {
    "closed": "the bot closed the WebSocket",
    "hang up": "the bot hung up through the Voice API",
    "caller": "the caller hung up after a long silence",
    "timeout": "the time was up",
    "BXML": "the BXML was over",
    "handed on": "the BXML handed the caller on",
}


@dataclass(frozen=True)
class Webhook:
    """A webhook that was posted.

    Parameters:
        time: Second of the call; negative before the stream began.
        event_type: Its ``eventType``.
        status: What the bot's server answered; 0 for no answer.
    """

    time: float
    event_type: str
    status: int


@dataclass(frozen=True)
class Played:
    """A verb of the BXML that was played.

    Parameters:
        verb: Its name.
        start: Second of the call when it began; negative before the stream began.
        secs: How long it took.
    """

    verb: str
    start: float
    secs: float


@dataclass(frozen=True)
class BargeIn:
    """The caller began to speak while the bot was heard.

    Parameters:
        turn: Id of the caller's turn.
        onset: Second of the call when it began.
        clear: When the next ``clear`` arrived; ``None`` if none did before the bot fell silent.
    """

    turn: str
    onset: float
    clear: float | None


@dataclass(frozen=True, eq=False)
class SimulatedCall:
    """One call as the far end lived it. Times in seconds; 0 is when ``start`` was sent.

    Parameters:
        title: The script's.
        account_id: Simulated account.
        call_id: Simulated call.
        stream_id: Simulated stream, the first.
        started_at: Wall clock at 0.
        started_ns: ``time.monotonic_ns()`` at 0, to line up what this process recorded.
        duration: Until the last socket was closed.
        ended_by: Who ended it.
        stranded_secs: How long the BXML kept the caller on the line after the bot had closed that.
        close_code: The last socket's; 1006 for none.
        verbs: The BXML as it was played.
        bidirectional: Whether ``playAudio`` was obeyed.
        planned: Ids of the turns that the caller's script has.
        caller_sent: What the caller's line carried, before any loss; sample 0 at 0.
        caller_heard: What was played to the caller, through the far leg's codec; sample 0 at 0.
        turns: What both sides really said, by start; the bot's as they were heard.
        occurrences: Faults of the script that took place.
        sent_time: When each inbound message was sent, shape ``(n,)``.
        sent_sequence: Its sequence number, shape ``(n,)``.
        received_time: When each ``playAudio`` arrived, shape ``(m,)``.
        received_duration: Seconds of audio in it, shape ``(m,)``.
        clears: When each ``clear`` arrived.
        underruns: When the queue ran dry inside an utterance, and for how long.
        said_secs: Length of all ``playAudio``.
        discarded_secs: What ``clear`` took away of it.
        high_water_secs: The longest that the queue was.
        protocol_errors: What the bot sent that the protocol does not have: pairs (second, what).
        hung_up: When the Voice API was asked to end the call, successfully.
        webhooks: What was posted.
        late_ms: The most that the simulator's own 20 ms clock was late: its machine's share.
    """

    title: str
    account_id: str
    call_id: str
    stream_id: str
    started_at: datetime
    started_ns: int
    duration: float
    ended_by: EndedBy
    stranded_secs: float
    close_code: int
    verbs: tuple[Played, ...]
    bidirectional: bool
    planned: tuple[str, ...]
    caller_sent: Audio
    caller_heard: Audio
    turns: tuple[Spoken, ...]
    occurrences: tuple[Occurrence, ...]
    sent_time: NDArray[np.float64]
    sent_sequence: NDArray[np.int64]
    received_time: NDArray[np.float64]
    received_duration: NDArray[np.float64]
    clears: tuple[float, ...]
    underruns: tuple[tuple[float, float], ...]
    said_secs: float
    discarded_secs: float
    high_water_secs: float
    protocol_errors: tuple[tuple[float, str], ...]
    hung_up: float | None
    webhooks: tuple[Webhook, ...]
    late_ms: float

    @property
    def ending(self) -> str:
        """How the call ended, in words."""
        if not self.stranded_secs:
            return _ENDINGS[self.ended_by]
        ends = self.duration
        late = [v.verb for v in self.verbs if v.start + v.secs - max(v.start, ends) > _MOMENT]
        return (
            f"{_ENDINGS['closed']}; {' and '.join(f'<{verb}>' for verb in late)} kept the caller on "
            f"the line for {self.stranded_secs:.1f} s more, until {_ENDINGS[self.ended_by]}"
        )

    def problems(self) -> list[str]:
        """Say what was wrong with this call and where to look; empty if nothing was."""
        found = []
        if self.protocol_errors:
            found.append(f"messages that Bandwidth does not know: {len(self.protocol_errors)}")
        bot = [turn for turn in self.turns if turn.side == "bot"]
        spoken, planned = len(self.turns) - len(bot), len(self.planned)
        if spoken < planned:
            endless = bot and bot[-1].end > self.duration - 1.0
            found.append(
                f"the caller said {spoken} of {planned} turns: they wait for a second below "
                f"{AUDIBLE_DBOV:.0f} dBov, and the bot was heard to the end"
                if endless
                else f"the caller said {spoken} of {planned} turns: the call was over before "
                f"{self.planned[spoken]!r}"
            )
        if not bot:
            found.append(self._silence())
        if self.ended_by == "timeout":
            found.append(
                "the call did not end: the bot neither closed the WebSocket nor was silent for "
                "long enough that the caller hung up; --timeout gives a long call more time"
            )
        if self.ended_by == "BXML" and not self.stranded_secs:
            found.append(
                f"the BXML was over after <{self.verbs[-1].verb}>, and the call with it: "
                '<StopStream wait="true"> holds it as long as the bot keeps the WebSocket open'
            )
        return found

    def _silence(self) -> str:
        if not self.bidirectional:
            return 'the bot was never heard: <StartStream> needs mode="bidirectional"'
        if not len(self.received_time):
            return "the bot was never heard: no playAudio of it was understood"
        if self.said_secs <= self.discarded_secs:
            return "the bot was never heard: it sent clear before its audio was played"
        return (
            f"the bot was never heard: {self.said_secs:.1f} s of audio arrived, none of it louder "
            f"than {AUDIBLE_DBOV:.0f} dBov"
        )

    def response_gaps(self) -> dict[str, float]:
        """Seconds from the end of a caller's turn to the bot's next, by the id of the caller's."""
        return {
            turn.id: after.start - turn.end
            for turn, after in zip(self.turns, self.turns[1:], strict=False)
            if (turn.side, after.side) == ("caller", "bot")
        }

    def barge_ins(self) -> list[BargeIn]:
        """Where the caller spoke up while the bot was heard, and how it took that."""
        found = []
        for turn in self.turns:
            heard = [b for b in self.turns if b.side == "bot" and b.start < turn.start < b.end]
            if turn.side == "caller" and heard:
                until = heard[-1].end + 0.1
                clear = next((c for c in self.clears if turn.start <= c <= until), None)
                found.append(BargeIn(turn.id, turn.start, clear))
        return found

    def __repr__(self) -> str:
        return (
            f"SimulatedCall({self.title!r}, {self.duration:.1f} s, ended by {self.ended_by}, "
            f"{len(self.turns)} turns, {len(self.protocol_errors)} protocol errors)"
        )
