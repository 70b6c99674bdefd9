"""Echoes: the bot's own voice that comes back, told apart from the caller.

Two kinds of evidence. The *envelopes* of both sides agree, whatever lies between: a speakerphone, a
codec, a room; but not where the caller speaks too. The *waves*, whitened, agree at one delay under
a caller's words as well; but not behind a codec that only keeps how speech sounds (GSM, AMR).

Conventions:
    Intervals as in :mod:`workbench.metrics.speech`. Levels in dBov.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.call.turns import TURN_PAUSE
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
from workbench.metrics.whitened import find_copy, gain_of

__all__ = ["RING", "Echo", "expected_echoes", "find_echoes", "without_echo"]

#: Delays of an echo, in hops of 10 ms: a mobile call abroad and back takes up to a second.
LAGS: Final = range(2, 101)
#: Correlation of the envelopes that is an echo: 0.83 at 30 dB of loss, where another talker has
#: 0.2 and double talk 0.3.
AGREEMENT: Final = 0.7
#: So many windows of two seconds in a row that agree are no chance.
_WINDOWS: Final = 3
#: Seconds of the bot whose waves are looked for at once.
PIECE: Final = 3.0
#: A peak of the whitened waves, in standard deviations of what lies at other delays: of 8,000 delays
#: the largest is 4 by chance. Alone it is an echo, and with another at the same delay.
ALONE, AGREEING = 12.0, 6.5
#: How surely such waves are an echo: of 4 hours of calls without one none was found.
CERTAIN: Final = 0.99
#: How loud such waves are: at least 50 dB fainter, which is a step of 16 bits; at most 6 dB louder, which a
#: line may add. What is louder yet is somebody else's, and like the bot's by chance.
FAINTEST, LOUDEST = 10**-2.5, 2.0
#: Two peaks at the same delay are so close, in milliseconds.
SAME_MS: Final = 1.5
#: For how long after the bot its echo is looked for.
RING: Final = 0.5


@dataclass(frozen=True)
class Echo:
    """The bot's own voice coming back from the caller's side.

    Parameters:
        start: When the bot's stretch that came back began.
        end: When it was over.
        delay_ms: How much later it came back.
        loss_db: How much fainter: the echo return loss.
        correlation: Of the two envelopes at that delay, 0 to 1; of waves that agree
            :data:`CERTAIN`.
    """

    start: float
    end: float
    delay_ms: float
    loss_db: float
    correlation: float


def find_echoes(caller: Audio, bot: Audio, bot_speech: Intervals) -> tuple[Echo, ...]:
    """Find the stretches of bot speech that come back on the caller's side, 20 ms to a second later.

    Args:
        caller: The caller's side.
        bot: The bot's side as the caller heard it, on the same clock.
        bot_speech: Where the bot speaks, see :func:`workbench.metrics.speech.voice_activity`.

    Returns:
        One echo for each run of bot speech (pauses below a second bridged) that came back: by its
        envelope, or else by its wave.
    """
    runs = joined(bot_speech, TURN_PAUSE)
    by_envelope = _by_envelope(caller, bot, runs)
    known = {echo.start for echo in by_envelope}
    rest = [run for run in runs.tolist() if run[0] not in known]
    return tuple(sorted([*by_envelope, *_by_wave(caller, bot, rest)], key=lambda e: e.start))


def _by_envelope(caller: Audio, bot: Audio, runs: Intervals) -> list[Echo]:
    """In windows of two seconds: a caller who talks at the same time spoils some of them.

    Windows that agree on the delay make an echo.
    """
    ours, theirs = levels(bot), levels(caller)
    length = min(len(ours), len(theirs)) - LAGS.stop
    floor = noise_floor_of(theirs)
    theirs = np.maximum(theirs, floor)
    found, isolated = list[Echo](), list[bool]()
    for start, end in runs:
        first, last = int(start / HOP), min(int(end / HOP), length)
        matches = [
            _match(ours, theirs, floor, at, min(at + 200, last))
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
    is_some = 2 * len(found) < np.count_nonzero(runs[:, 1] - runs[:, 0] >= 1.0)
    return [
        echo
        for echo, alone in zip(found, isolated, strict=True)
        # Nothing comes back louder than it went, but for a beat that goes with the words by chance.
        if not (alone and (is_some or echo.loss_db < 0))
    ]


def _by_wave(caller: Audio, bot: Audio, runs: Sequence[Sequence[float]]) -> list[Echo]:
    """In pieces of three seconds, under a caller's words too: pieces that agree make an echo."""
    pieces = [
        (number, *copy)
        for number, (start, end) in enumerate(runs)
        for first in np.arange(start, end, PIECE)
        if (copy := _copy(caller, bot, first, min(first + PIECE, end)))
    ]
    delays = np.array([delay for _, delay, _, _ in pieces])
    found: dict[int, list[tuple[float, float]]] = {}
    for number, delay, height, gain in pieces:
        same = np.count_nonzero(np.abs(delays - delay) <= SAME_MS / 1000) > 1
        if same or height >= ALONE:
            found.setdefault(number, []).append((1000 * delay, -20 * np.log10(gain)))
    return [
        Echo(start, end, float(np.median(delays_ms)), float(np.median(losses_db)), CERTAIN)
        for number, (start, end) in enumerate(runs)
        if number in found
        for delays_ms, losses_db in [zip(*found[number], strict=True)]
    ]


def _copy(caller: Audio, bot: Audio, start: float, end: float) -> tuple[float, float, float] | None:
    """Delay, height of the peak and gain of a stretch that comes back, if it does."""
    delays = HOP * LAGS.start, HOP * (LAGS.stop - 1)
    sound = bot.span(start, end).resampled(caller.sample_rate)
    around = caller.span(start, end + delays[1])
    delay, height = find_copy(sound, around, delays)
    gain = gain_of(sound, around, delay) if height >= AGREEING else 0.0
    for audio in (caller, bot):
        mapped.let_go(audio.span(start, end + delays[1]).samples)
    return (delay, height, gain) if height >= AGREEING and FAINTEST <= gain <= LOUDEST else None


def _match(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], floor: float, first: int, last: int
) -> tuple[float, int, float]:
    """Best correlation of the envelopes in one window, its lag in hops, and the loss in dB."""
    part = ours[first:last]
    # What lies far below the bot's loudest sound lies below the line's noise.
    clear = np.maximum(part, part.max() - 35)
    around = theirs[first + LAGS.start : last + LAGS.stop - 1]
    scores = _correlations(clear, around)
    best = int(np.argmax(scores))
    lag = LAGS[best]
    loud = part > part.max() - 15
    # The line's noise adds to what came back; a tenth of it is left, where there was nothing else.
    came = 10 ** (theirs[first + lag : last + lag][loud] / 10)
    came = 10 * np.log10(np.maximum(came - 10 ** (floor / 10), 0.1 * came))
    loss = float(np.median(part[loud] - came))
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


def _correlations(x: NDArray[np.float64], around: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of a signal with another at each lag; 0 where one of them stands still."""
    size = len(x)
    x, around = x - x.mean(), around - around.mean()
    sums = np.zeros((2, len(around) + 1))
    np.cumsum((around, np.square(around)), axis=1, out=sums[:, 1:])
    mean, power = (sums[:, size:] - sums[:, :-size]) / size
    scale = np.sqrt(x @ x * size * np.maximum(power - mean**2, 0.0))
    product = np.correlate(around, x, "valid")
    found: NDArray[np.float64] = np.where(scale > 1e-6, product / np.maximum(scale, 1e-12), 0.0)
    return found
