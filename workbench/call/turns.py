"""Turns: who has the turn, and the bot's echo told apart from the caller.

Conventions:
    Intervals as in :mod:`workbench.metrics.speech`. A *turn* is the stretches of one side between which the
    other did not begin to speak. Levels in dBov.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.metrics.speech import (
    HOP,
    MIN_SPEECH,
    Intervals,
    as_intervals,
    joined,
    levels,
    noise_floor_of,
    runs_of,
)

__all__ = ["Echo", "Side", "Turn", "expected_echoes", "find_echoes", "find_turns", "without_echo"]

Side: TypeAlias = Literal["caller", "bot"]

#: A pause of one side that still belongs to its turn.
TURN_PAUSE: Final = 1.0
#: Delays of an echo, in hops of 10 ms: a mobile call abroad and back takes up to a second.
LAGS: Final = range(2, 101)
#: Correlation of the envelopes that is an echo: 0.83 at 30 dB of loss, where another talker has
#: 0.2 and double talk 0.3.
AGREEMENT: Final = 0.7
#: So many windows of two seconds in a row that agree are no chance.
_WINDOWS: Final = 3
#: What is fainter is silence, in dBov; a background is so much fainter than the bot's loud syllables.
_SILENT, _BEHIND_DB = -70.0, 12.0
#: For how long after the bot its echo is looked for.
RING: Final = 0.5


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


@dataclass(frozen=True)
class Echo:
    """The bot's own voice coming back from the caller's side.

    Parameters:
        start: When the bot's stretch that came back began.
        end: When it was over.
        delay_ms: How much later it came back.
        loss_db: How much fainter: the echo return loss.
        correlation: Of the two envelopes at that delay, 0 to 1.
    """

    start: float
    end: float
    delay_ms: float
    loss_db: float
    correlation: float


def find_echoes(caller: Audio, bot: Audio, bot_speech: Intervals) -> tuple[Echo, ...]:
    """Find the stretches of bot speech that come back on the caller's side.

    Envelopes are compared, not waves: a speakerphone, a GSM leg and two codecs lie between. The
    caller's envelope is searched for the bot's, 20 ms to a second later, in windows of two seconds: a
    caller who talks at the same time spoils some of them, not all. Windows that agree on the delay
    make an echo.

    Args:
        caller: The caller's side.
        bot: The bot's side as the caller heard it, on the same clock.
        bot_speech: Where the bot speaks, see :func:`workbench.metrics.speech.voice_activity`.

    Returns:
        One echo for each run of bot speech (pauses below a second bridged) that came back.
    """
    ours, theirs = levels(bot), levels(caller)
    length = min(len(ours), len(theirs)) - LAGS.stop
    theirs = np.maximum(theirs, noise_floor_of(theirs))
    found, isolated = list[Echo](), list[bool]()
    runs = joined(bot_speech, TURN_PAUSE)
    for start, end in runs:
        first, last = int(start / HOP), min(int(end / HOP), length)
        matches = [
            _match(ours, theirs, at, min(at + 200, last))
            for at in range(first, max(first + 1, last - 100), 100)
            if last - at >= 100  # a second: less agrees with anything at some lag
        ]
        good = np.array([match for match in matches if match[0] >= AGREEMENT])
        if not len(good):
            continue
        delay = float(np.median(good[:, 1]))
        agreeing = good[np.abs(good[:, 1] - delay) <= 1]
        if len(agreeing) < min(2, len(matches)):
            continue
        correlation, delay, loss = np.median(agreeing, axis=0).tolist()
        found.append(Echo(float(start), float(end), 1000 * HOP * delay, loss, correlation))
        isolated.append(len(agreeing) < _WINDOWS)
    # A way back brings all of the bot's voice; words of somebody else fit one window of it by chance.
    if 2 * len(found) < np.count_nonzero(runs[:, 1] - runs[:, 0] >= 1.0):
        found = [echo for echo, alone in zip(found, isolated, strict=True) if not alone]
    return tuple(found)


def _match(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], first: int, last: int
) -> tuple[float, int, float]:
    """Best correlation of the envelopes in one window, its lag in hops, and the loss in dB."""
    part = ours[first:last]
    # What lies far below the bot's loudest sound lies below the line's noise.
    clear = np.maximum(part, part.max() - 35)
    around = theirs[first + LAGS.start : last + LAGS.stop - 1]
    scores = _correlations(clear, np.lib.stride_tricks.sliding_window_view(around, last - first))
    best = int(np.argmax(scores))
    lag = LAGS[best]
    loud = part > part.max() - 15
    loss = float(np.median((part - theirs[first + lag : last + lag])[loud]))
    return float(scores[best]), lag, loss


def without_echo(
    caller_speech: Intervals,
    bot_speech: Intervals,
    echoes: Sequence[Echo],
    caller: Audio,
    bot: Audio,
) -> Intervals:
    """Leave out of the caller's speech what is no louder than the bot's echo there would be.

    What brings the bot's voice back, a loudspeaker or a line, does so all the time: where it came
    back from most of what the bot said, it is expected of the rest too, under a caller's words.
    """
    if not echoes:
        return caller_speech
    ours, theirs = levels(bot), levels(caller)
    expected = np.full(len(theirs), -np.inf)
    for echo in expected_echoes(echoes, bot_speech):
        lag = round(echo.delay_ms / 1000 / HOP)
        first = int(echo.start / HOP)
        last = min(int((echo.end + RING) / HOP), len(ours), len(theirs) - lag)
        if last <= first:
            continue
        # The room rings on, 60 dB in a second: 0.6 dB fainter each hop.
        ringing = np.arange(last - first) * 0.6
        held = np.maximum.accumulate(ours[first:last] + ringing) - ringing
        expected[first + lag : last + lag] = held - echo.loss_db
    # A real talker stands out from the echo: by 9 dB at least, if not in every syllable.
    outstanding = theirs - expected > 9
    found = joined(runs_of(outstanding, HOP), 0.3)
    starts = np.maximum(caller_speech[:, None, 0], found[None, :, 0])
    ends = np.minimum(caller_speech[:, None, 1], found[None, :, 1])
    # Under the echo a syllable may be its ripple; a word of 200 ms is not.
    disturbed = np.isfinite(expected)[np.clip((starts / HOP).astype(int), 0, len(expected) - 1)]
    kept = ends - starts >= np.where(disturbed, 2 * MIN_SPEECH, MIN_SPEECH)
    return as_intervals(np.column_stack((starts[kept], ends[kept])).tolist())


def expected_echoes(echoes: Sequence[Echo], bot_speech: Intervals) -> Iterator[Echo]:
    """The echoes that were found, and those that the same way back makes of the bot's other speech.

    Args:
        echoes: As :func:`find_echoes` found them.
        bot_speech: Where the bot speaks.

    Yields:
        Those found; where they are most of what there could be, one for each of the bot's other
        runs too, whose correlation is 0.
    """
    yield from echoes
    runs = joined(bot_speech, TURN_PAUSE)
    known = {echo.start for echo in echoes}
    told = [row for row in runs.tolist() if row[1] - row[0] >= 1.0]
    if not echoes or 2 * len(echoes) < len(told):
        return
    delay, loss = (
        float(np.median([getattr(echo, name) for echo in echoes]))
        for name in ("delay_ms", "loss_db")
    )
    for start, end in runs.tolist():
        if start not in known:
            yield Echo(start, end, delay, loss, 0.0)


def ambience(bot: Audio, bot_speech: Intervals, caller_speech: Intervals) -> float | None:
    """Level of the sound that the bot sends in its pauses too, as a background mixer does.

    Where a background sings, a voice activity detector hears a voice in it all the time. But it goes on
    under the caller's words, far below the bot's own.

    Args:
        bot: What the caller heard.
        bot_speech: Where the bot speaks in it.
        caller_speech: Where the caller speaks.

    Returns:
        In dBov; ``None`` unless there is sound in four fifths of three seconds and more, either of the
        bot's pauses or of the caller's speech, and it is that faint.
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
    for where, loudest in ((pauses, np.inf), (listening, words - _BEHIND_DB)):
        inside = level[where]
        if len(inside) > 3 / HOP and (inside > _SILENT).mean() > 0.8:
            behind = float(np.median(inside[inside > _SILENT]))
            if behind < loudest:
                return behind
    return None


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


def _correlations(x: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of a signal with each of some others; 0 where one of them stands still."""
    x = x - x.mean()
    spread = np.sqrt(np.maximum(np.square(rows).mean(axis=1) - rows.mean(axis=1) ** 2, 0.0))
    scale = float(np.sqrt(x @ x)) * spread * np.sqrt(rows.shape[1])
    product = rows @ x
    found: NDArray[np.float64] = np.where(scale > 1e-6, product / np.maximum(scale, 1e-12), 0.0)
    return found
