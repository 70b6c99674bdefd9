"""The five signals of a call, named once and used everywhere, the browser included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["SIGNALS", "WAYS", "Signal"]


@dataclass(frozen=True)
class Signal:
    """What one signal is.

    Parameters:
        name: As :meth:`workbench.call.Call.signal` takes it.
        side: Whose voice it is.
        sentence: What it is, for people.
    """

    name: str
    side: Literal["caller", "bot"]
    sentence: str


#: The five signals of a call, caller's first.
SIGNALS: Final[dict[str, Signal]] = {
    signal.name: signal
    for signal in (
        Signal("caller_sent", "caller", "the caller, as it arrived on the wire"),
        Signal("bot_heard", "caller", "the caller, as the pipeline got it"),
        Signal("bot_said", "bot", "the bot, as the pipeline produced it"),
        Signal("bot_sent", "bot", "the bot, as it left on the wire"),
        Signal("caller_heard", "bot", "the bot, as the caller heard it"),
    )
}

#: What each side's audio is before the serializer, and what becomes of it there.
WAYS: Final[dict[Literal["caller", "bot"], tuple[str, str]]] = {
    "caller": ("caller_sent", "bot_heard"),
    "bot": ("bot_said", "bot_sent"),
}
