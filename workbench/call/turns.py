"""Turns: who has the turn.

Conventions:
    Intervals as in :mod:`workbench.metrics.speech`. A *turn* is the stretches of one side between which the
    other did not begin to speak. Levels in dBov.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.metrics.smoothing import running_maximum
from workbench.metrics.speech import HOP, Intervals, as_intervals, joined, levels, runs_of

__all__ = [
    "BEHIND_DB",
    "OVER_AMBIENCE_DB",
    "TURN_PAUSE",
    "Side",
    "Turn",
    "ambience",
    "find_turns",
    "led_up_to",
    "over_ambience",
]

Side: TypeAlias = Literal["caller", "bot"]

#: A pause of one side that still belongs to its turn.
TURN_PAUSE: Final = 1.0
#: Words are so much louder than a background under them.
OVER_AMBIENCE_DB: Final = 8.0
#: What is fainter is silence, in dBov.
_SILENT: Final = -70.0
#: A background is so much fainter than the bot's loud syllables.
BEHIND_DB: Final = 12.0
#: The beats of a background are no further above its level, in dB: words are 8 above it, and more.
_BEATS_DB: Final = 5.0
#: Of a background no rest is longer, in seconds; it is asked of pauses that are this much longer.
_REST, _LONG_PAUSE = 1.0, 2.0
_HALF_REST: Final = round(_REST / 2 / HOP)
#: What leads up to a voice is no fainter than this, in dBov and below the voice's loud syllables; and no
#: longer than so many seconds; before it there is silence for so many. Somewhere it is as loud as a hum is: a
#: background that begins, or a breath, is not.
_LEAD_DBOV, _LEAD_DB, _LEAD_SECS, _QUIET_SECS, _HUM_DB = -60.0, 30.0, 1.5, 0.1, 20.0
#: A first word has so many seconds and more, is so few dB below the voice's loud syllables and no more, and no
#: longer pause lies behind it.
_WORD_SECS, _WORD_DB, _WORD_PAUSE_SECS = 0.15, 10.0, 0.5


@dataclass(frozen=True)
class Turn:
    """One side having the turn.

    Parameters:
        side: ``"caller"`` or ``"bot"``.
        start: Of the first speech.
        end: Of the last speech.
        said_ms: Audio that was meant for this turn. For the bot what it sent, for the caller the
            same as ``heard_ms``.
        heard_ms: Of that, what the other side got to hear.
        latency_ms: For a bot turn that answers the caller: from the end of the caller's speech, or of
            the tone behind it, to its own first sound. ``None`` when it answers nothing.
        overlap_ms: For how long both spoke at once.
    """

    side: Side
    start: float
    end: float
    said_ms: float = 0.0
    heard_ms: float = 0.0
    latency_ms: float | None = None
    overlap_ms: float = 0.0

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


def ambience(bot: Audio, bot_speech: Intervals, caller_speech: Intervals) -> float | None:
    """Level of the sound that the bot sends in its pauses too, as a background mixer does.

    Where a background sings, a voice activity detector hears a voice in it all the time. But it goes on
    under the caller's words, far below the bot's own.

    Args:
        bot: What the caller heard.
        bot_speech: Where the bot speaks in it.
        caller_speech: Where the caller speaks.

    Returns:
        In dBov, that of its middle, or so much below its loudest that words stand out from its beats;
        ``None`` unless it goes on for three seconds and more, either of the bot's pauses or of the
        caller's speech, and its middle is that faint. It goes on where there is sound in four fifths of
        them; music with rests, where nine tenths of the long ones are within half a second of it.
    """
    level = levels(bot)
    sound = np.flatnonzero(level > _SILENT)
    if not len(sound):
        return None
    pauses = np.zeros(len(level), bool)
    pauses[sound[0] : sound[-1]] = True
    listening = np.zeros(len(level), bool)
    for start, end in caller_speech:
        listening[int((start + 0.5) / HOP) : int(end / HOP)] = True
    listening &= pauses
    for start, end in bot_speech:
        pauses[max(0, int((start - 0.3) / HOP)) : int((end + 0.3) / HOP)] = False
    words = float(np.percentile(level[sound], 90))
    for where, loudest in ((pauses, np.inf), (listening, words - BEHIND_DB)):
        inside = level[where]
        if _goes_on(level, where):
            middle, loud = np.percentile(inside[inside > _SILENT], (50, 95))
            if middle < loudest:
                return max(float(middle), float(loud) - _BEATS_DB)
    return None


def _goes_on(level: NDArray[np.float64], where: NDArray[np.bool_]) -> bool:
    """Whether there is sound almost everywhere in some hops, three seconds and more of them."""
    sound = (level > _SILENT) & where
    if np.count_nonzero(where) > 3 / HOP and sound[where].mean() > 0.8:
        return True
    long_ones = np.zeros(len(level), np.bool_)
    for start, end in runs_of(where, HOP).tolist():
        long_ones[round(start / HOP) : round(end / HOP)] = end - start > _LONG_PAUSE
    near = running_maximum((sound & long_ones).astype(np.float32), _HALF_REST, _HALF_REST) > 0
    return bool(np.count_nonzero(long_ones) > 3 / HOP and near[long_ones].mean() > 0.9)


def over_ambience(bot: Audio, voice: Intervals, ambience: float | None) -> Intervals:
    """Leave out what a background sings: what is no louder than it by :data:`OVER_AMBIENCE_DB`.

    Args:
        bot: What the caller heard.
        voice: Where a voice was found in it.
        ambience: The background's level as :func:`ambience` finds it, if there is one.
    """
    if ambience is None:
        return voice
    power = 10 ** (levels(bot) / 10)
    rows = []
    for start, end in voice.tolist():
        part = np.sort(power[round(start / HOP) : round(end / HOP)])
        loud = part[len(part) // 2 :]
        if len(loud) and 10 * np.log10(loud.mean()) > ambience + OVER_AMBIENCE_DB:
            rows.append([start, end])
    return as_intervals(rows)


def led_up_to(bot: Audio, voice: Intervals, others: Intervals | None = None) -> Intervals:
    """Begin each stretch of the bot's voice with its first sound.

    A detector of voices misses a hum, a laugh or a held note before the first word, and a word of one
    syllable; whoever waits for an answer hears it.

    Args:
        bot: What the caller heard.
        voice: Where a voice was found in it.
        others: Where something else was, that is no tone, no music and no noise.

    Returns:
        The same stretches; one begins earlier if sound that is not much fainter than it leads up to it
        without a gap, out of silence. And those of the others that are as loud and as long as a word, and
        so close before a voice that they are its first one.
    """
    level, quiet = levels(bot), round(_QUIET_SECS / HOP)
    others = as_intervals([]) if others is None else others
    rows, before = [], 0
    for start, end in voice.tolist():
        first, last = round(start / HOP), round(end / HOP)
        loud = float(np.percentile(level[first:last], 90)) if last > first else 0.0
        earliest = max(before, first - round(_LEAD_SECS / HOP) - quiet)
        heard = level[earliest:first] > max(_LEAD_DBOV, loud - _LEAD_DB)
        silences = [over for begun, over in runs_of(~heard, 1.0) if over - begun >= quiet]
        begins = round(earliest + silences[-1]) if silences else first
        is_hum = level[begins:first].max(initial=-np.inf) > loud - _HUM_DB
        rows.append([min(start, begins * HOP) if is_hum else start, end])
        words = others[(others[:, 0] >= before * HOP) & (others[:, 1] <= rows[-1][0])]
        for begun, over in words[rows[-1][0] - words[:, 1] < _WORD_PAUSE_SECS].tolist():
            loudest = level[round(begun / HOP) : round(over / HOP)].max(initial=-np.inf)
            if loudest > loud - _WORD_DB and _WORD_SECS <= over - begun <= _LEAD_SECS:
                rows.insert(-1, [begun, over])
        before = last
    return as_intervals(rows)


def find_turns(
    caller_speech: Intervals, bot_speech: Intervals, tones: Intervals | None = None
) -> tuple[Turn, ...]:
    """Join stretches to turns.

    Args:
        caller_speech: The caller's stretches, without echo.
        bot_speech: The bot's, as the caller heard them.
        tones: The caller's tones: one that follows his words is the last of them, as the beep of a
            voicemail is.

    Returns:
        The turns of both in order of their start, with latencies and overlaps; what was said and
        heard is not known here and stays 0.
    """
    sides: dict[Side, tuple[Intervals, Intervals]] = {
        "caller": (caller_speech, bot_speech),
        "bot": (bot_speech, caller_speech),
    }
    turns = []
    for side, (mine, other) in sides.items():
        for start, end in joined(mine, TURN_PAUSE, other[:, 0] if len(other) else other):
            overlap = _overlap(mine[(mine[:, 0] >= start) & (mine[:, 1] <= end)], other)
            turns.append(Turn(side, float(start), float(end), overlap_ms=1000 * overlap))
    turns.sort(key=lambda turn: (turn.start, turn.side))
    tones = as_intervals([]) if tones is None else tones
    return tuple(
        turn if turn.side == "caller" else _answering(turn, turns, tones) for turn in turns
    )


def _answering(turn: Turn, turns: Sequence[Turn], tones: Intervals) -> Turn:
    """The turn with its latency, if the caller had the last word before it: also by barging in."""
    before = [other for other in turns if other.start < turn.start]
    if not before:
        return turn
    last = max(before, key=lambda other: other.end)
    if last.side != "caller" or last.end > turn.start:
        return turn
    ended = last.end
    for start, end in tones.tolist():
        if ended - TURN_PAUSE < start < ended + TURN_PAUSE and ended < end < turn.start:
            ended = end
    latency_ms = 1000 * (turn.start - ended)
    return Turn("bot", turn.start, turn.end, latency_ms=latency_ms, overlap_ms=turn.overlap_ms)


def _overlap(mine: Intervals, other: Intervals) -> float:
    starts = np.maximum(mine[:, None, 0], other[None, :, 0])
    ends = np.minimum(mine[:, None, 1], other[None, :, 1])
    return float(np.maximum(ends - starts, 0).sum())
