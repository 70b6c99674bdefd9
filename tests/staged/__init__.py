"""Calls to a real Pipecat pipeline whose stages take as long as planted.

Services, caller and server are in ``__main__``, and run in a process of their own, on any Pipecat from
1.4 on. Here is what is planned::

    python -m tests.staged FOLDER PLAN...     records those calls, all at once
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PLANS", "PRIVATE", "WORD", "Plan", "Planted", "in_a_process"]


@dataclass(frozen=True)
class Planted:
    """What one answer takes, in seconds.

    Parameters:
        vad: From the caller's last sound to its end being noticed.
        stt: From there to the transcript.
        model: From the model's being asked to its first token.
        tokens: From the first token to the end of the first sentence.
        synthesis: From the sentence to the first byte.
        function: How long a function takes that the model calls first, after another ``model``; 0
            for none.
        after: How long the caller listens before they speak again; ``None`` for to the end.
    """

    vad: float = 0.2
    stt: float = 0.2
    model: float = 0.2
    tokens: float = 0.1
    synthesis: float = 0.2
    function: float = 0.0
    after: float | None = None


@dataclass
class Plan:
    """What a bot does, and at which of its answers it is.

    Parameters:
        answers: What they take, in order.
        kind: ``"cascade"`` or ``"speech_to_speech"``.
        metrics: Whether Pipecat's are enabled.
        events: Whether the pipeline tells of itself.
        speech_timeout: Of the turn's end, in seconds.
        transcript: Of whatever the caller says.
        tokens: What the model says.
        words: Whether the observer is asked for words. Then each of the bot's takes :data:`WORD`.
        is_timed: Whether the synthesis tells their times.
        turn: Of the caller, the last that was said.
        functions: Turns for which the model has called its function.
    """

    answers: Sequence[Planted]
    kind: str = "cascade"
    metrics: bool = True
    events: bool = True
    speech_timeout: float = 0.1
    transcript: str = "a secret word"
    tokens: Sequence[str] = ("The secret", " answer.")
    words: bool = False
    is_timed: bool = False
    turn: int = -1
    functions: set[int] = field(default_factory=set)

    @property
    def now(self) -> Planted:
        return self.answers[min(max(self.turn, 0), len(self.answers) - 1)]


#: By name, the calls that tests look at.
PLANS = {
    "cascade": Plan(
        [Planted(vad=0.3, stt=0.4), Planted(model=0.9, synthesis=0.5), Planted(function=0.4)]
    ),
    "late_turn": Plan([Planted(), Planted(synthesis=0.6)], speech_timeout=0.7, metrics=False),
    "speech_to_speech": Plan([Planted(model=0.5), Planted(model=0.9)], kind="speech_to_speech"),
    "cut": Plan([Planted(after=1.5), Planted(model=1.5, after=1.3), Planted()], metrics=False),
    "slow": Plan([Planted(model=3.0)]),
    "unseen": Plan([Planted(), Planted(model=0.6)], events=False),
}
#: Seconds that each word of a bot takes whose words are recorded.
WORD = 0.4
#: What no capture may hold, whoever says it.
PRIVATE = ("4929", "1234", "5678", "555", "0199", "ada", "lovelace", "example")
_PRIVATELY = dict(
    transcript="My card is 4929 1234 5678, call 555-0199 or write ada@example.com",
    tokens=("Dear Ada", " Lovelace,", " I heard 4 9 2 9", " 1234."),
    words=True,
)
_AT_LENGTH = {
    **_PRIVATELY,
    "tokens": (*_PRIVATELY["tokens"], " Then I say words that", " nobody hears."),
}
_CUT = [Planted(), Planted(after=2.2), Planted()]
PLANS |= {
    "timed_words": Plan(_CUT, is_timed=True, **_AT_LENGTH),
    "words": Plan(_CUT, **_AT_LENGTH),
    "words_of_one": Plan(_CUT, kind="speech_to_speech", **_AT_LENGTH),
    "few_timed_words": Plan([Planted()], is_timed=True, **_PRIVATELY),
    "unasked": Plan([Planted()], **{**_PRIVATELY, "words": False}),
    "few_words": Plan([Planted()], **_PRIVATELY),
    "few_words_of_one": Plan([Planted()], kind="speech_to_speech", **_PRIVATELY),
}
#: Ten answers that a benchmark looks at: each service 200 to 2,000 ms.
PLANS["ten"] = Plan(
    [
        Planted(*(secs / 10 for secs in row))
        for row in (
            (2, 3, 4, 1, 2), (4, 2, 8, 1, 6), (3, 10, 2, 2, 4), (8, 4, 15, 1, 3), (2, 6, 5, 3, 20),
            (10, 2, 3, 1, 5), (5, 20, 7, 1, 2), (2, 5, 20, 2, 8), (20, 3, 2, 1, 10), (6, 8, 12, 4, 15),
        )
    ]
)  # fmt: skip


def in_a_process(folder: Path, names: Sequence[str], python: str = sys.executable) -> None:
    """Record calls on the Pipecat of another Python; its warnings are none of ours."""
    subprocess.run([python, "-m", "tests.staged", str(folder), *names], check=True)
