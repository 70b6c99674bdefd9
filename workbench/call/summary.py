"""A call in words: one sentence and a few facts, as text and for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Final, Protocol

from workbench.call.acknowledged import Check
from workbench.call.answers import HOW_TO_SEE, Answers
from workbench.call.carriers import Carrier, known_by_name
from workbench.call.streams import Stream
from workbench.call.turns import Turn

__all__ = ["Told", "facts", "html", "sentence", "text"]


class Told(Protocol):
    """What is told of a call: of :class:`workbench.call.Call`, which these words belong to."""

    path: Path
    metadata: dict[str, dict[str, str]]
    finished: bool
    started_at: datetime
    duration: float
    inbound: Stream
    outbound: Stream
    unrecorded: tuple[tuple[float, float], ...]
    carrier: Carrier

    @property
    def playout_check(self) -> Check | None:
        """The queue model against what the carrier said."""

    @property
    def labels(self) -> Mapping[str, str]:
        """What the bot's owner calls it."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Who had the turn."""

    @property
    def answers(self) -> Answers:
        """The bot's answers."""

    @property
    def stats(self) -> dict[str, float]:
        """What was counted and measured."""


_RATES: Final = (("pipeline_in_hz", "in"), ("pipeline_out_hz", "out"))


def text(call: Told) -> str:
    """The sentence and the facts, a line each."""
    return "\n".join(
        [
            sentence(call),
            *(f"{name + ':' if name else '':<12}{value}" for name, value in facts(call)),
        ]
    )


def html(call: Told) -> str:
    """The same as a paragraph and a table."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in facts(call)
    )
    return f"<p><b>{escape(sentence(call))}</b></p><table>{rows}</table>"


def sentence(call: Told) -> str:
    """How long, when, how many turns, and whether all of it was recorded."""
    caller = sum(turn.side == "caller" for turn in call.turns)
    bot = len(call.turns) - caller
    state = "" if call.finished else " The recording was cut off."
    if call.unrecorded:
        lost = sum(end - start for start, end in call.unrecorded)
        state += f" Of {_length(lost)} not everything was recorded."
    return (
        f"A call of {_length(call.duration)} on {call.started_at:%Y-%m-%d at %H:%M:%S} UTC: "
        f"{_count(caller, 'turn')} of the caller, {_count(bot, 'turn')} of the bot.{state}"
    )


def facts(call: Told) -> list[tuple[str, str]]:
    """Who, formats, levels, rates, and how much of the bot was heard; name and value of each."""
    stats, who = call.stats, call.metadata.get("call", {})
    found = [("file", call.path.name)]
    found += [(name.replace("_", " "), value) for name, value in who.items() if value]
    if not call.carrier.is_ours:
        found.append(("carrier", _carrier(call.carrier)))
    if call.labels:
        found.append(
            ("labels", ", ".join(f"{name} {value}" for name, value in call.labels.items()))
        )
    for name, stream, side, loss in (
        ("inbound", call.inbound, "caller", "lost_messages"),
        ("outbound", call.outbound, "bot", ""),
    ):
        kinds = ", ".join(dict.fromkeys(map(str, stream.formats))) or "no audio"
        told = f"{kinds}, {_count(len(stream), 'message' if call.carrier.is_read else 'frame')}"
        if f"{name}_kbit_s" in stats:
            told += f", {stats[f'{name}_kbit_s']:.0f} kbit/s"
        if f"{side}_level_dbov" in stats:
            spoke = any(turn.side == side for turn in call.turns)
            level = f"{stats[f'{side}_level_dbov']:.1f}".replace("-", "\N{MINUS SIGN}")
            told += f", {'speech' if spoke else 'noise'} at {level} dBov"
        if loss and stats.get(loss):
            told += f", {stats[loss]:.0f} lost"
        if loss and call.carrier.is_read and not call.carrier.is_numbered:
            told += ", not numbered: what is lost cannot be told"
        found.append((name, told))
    rates = [f"{stats[name]:.0f} Hz {way}" for name, way in _RATES if name in stats]
    if rates:
        found.append(("pipeline", ", ".join(rates)))
    if call.carrier.is_read:
        found.append(("heard", _heard(call)))
    if len(call.answers.waited_for):
        found.append(("answers", call.answers.sentence))
        if not call.answers.is_seen:
            found.append(("", HOW_TO_SEE))
    return found


def _carrier(carrier: Carrier) -> str:
    if carrier.is_read:
        return str(carrier)
    return (
        f"recorded from {carrier}; this version reads the messages of {known_by_name()}, so here are "
        "the frames only"
    )


def _heard(call: Told) -> str:
    """How much of the bot was heard, and how well that is known."""
    heard, said = call.stats["caller_heard_ms"], call.stats["bot_sent_ms"]
    told = f"{heard / 1000:.1f} s of the {said / 1000:.1f} s that the bot sent"
    if call.playout_check is not None:
        return f"{told}; {call.playout_check.sentence(str(call.carrier))}"
    if call.carrier.acknowledges and said:
        return f"{told}, by the queue model: no mark of the bot's was answered"
    return told


def _length(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
