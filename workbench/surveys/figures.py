"""What of calls is compared between groups: means over calls, each declared once."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = ["FIGURES", "Figure", "Form"]

#: How a change is told: as a factor (``"many"``, ``"much"``), or as a difference (``"more"``).
Form: TypeAlias = Literal["many", "much", "more"]


class Figure(NamedTuple):
    """What is compared: a mean over calls.

    Parameters:
        name: For programs.
        title: For people.
        unit: Of its value.
        form: How a change is told.
        total: Column of what is summed.
        per: Column to divide the sum by, per ``scale`` of it; empty for one per call.
        scale: As said.
    """

    name: str
    title: str
    unit: str
    form: Form
    total: str
    per: str = ""
    scale: float = 1.0


FIGURES: Final = (
    Figure("errors_percent", "calls with an error", "%", "many", "_error", "", 0.01),
    Figure("bad_percent", "calls in which something is heard", "%", "many", "_heard", "", 0.01),
    Figure("holes_per_min", "holes in the bot's speech", "a minute", "many", "holes",
           "bot_speech_secs", 1 / 60),
    Figure("loss_percent", "loss of the caller's audio", "%", "much", "lost_messages", "_messages",
           0.01),
    Figure("unheard_percent", "audio that the bot sent and nobody heard", "%", "much", "_unheard_ms",
           "bot_sent_ms", 0.01),
    Figure("answer_p50_ms", "median wait before an answer", "ms", "more", "answer_p50_ms"),
    Figure("answer_p95_ms", "95th percentile of the wait", "ms", "more", "answer_p95_ms"),
    Figure("time_to_yield_ms", "time to yield", "ms", "more", "time_to_yield_ms"),
    Figure("jitter_ms", "jitter", "ms", "more", "jitter_ms"),
    Figure("caller_level_dbov", "level of the caller", "dB", "more", "caller_level_dbov"),
    Figure("bot_level_dbov", "level of the bot", "dB", "more", "bot_level_dbov"),
    Figure("duration", "length of a call", "s", "more", "duration"),
)  # fmt: skip
