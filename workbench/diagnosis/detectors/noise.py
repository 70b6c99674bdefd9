"""Faults behind a voice: noise and hum between the words, and under them.

What noise is told by under words is in :mod:`workbench.metrics.steady`, low noise and hum in
:mod:`workbench.metrics.low_noise`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call import Call
from workbench.call.echoes import RING, expected_echoes
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.finding import (
    POSSIBLE,
    Finding,
    Part,
    Side,
    graded,
    grouped,
    hull,
    lasting,
)
from workbench.metrics.low_noise import HUM_SECS, hum, is_rumble
from workbench.metrics.smoothing import running_mean
from workbench.metrics.sounds import Sound, centred
from workbench.metrics.speech import HOP, Intervals, levels, runs_of
from workbench.metrics.steady import bands, is_broad, opened, steady

__all__ = ["noise"]

NOISE_DBOV: Final = Threshold(
    -45.0,
    "dBov",
    "Speech over less than 20 dB of distance to the noise is tiring (usual speech is at -25 dBov).",
)
#: From here on noise is measured, in hertz: wideband telephones pass nothing below (ITU-T P.341).
LOWEST_HZ: Final = 100.0
#: What both high-passes of :func:`centred` at 100 Hz take away even of the highest frequencies, in dB: they are
#: no exact ones. It is given back, so that what lies far above 100 Hz is told at its own level.
_LOST_DB: Final = 0.69
#: A lorry that passes is not the line.
NOISE_SECS: Final = 1.0
#: What is heard less than so many seconds apart is one part.
WORD: Final = 0.2
#: Voices of all of the sample audio stay 27 dB above what passes for noise in them.
UNDER_DB: Final = 24.0
#: From here on it is a warning, and an error. Speech is at -25 dBov: the caller's noise is a warning at 10 dB
#: below it, and an error as loud as it. The bot's is held to 5 dB less: there is no street at its end.
_SPOILS: Final[dict[Side, tuple[float, float]]] = {"caller": (-35, -25), "bot": (-40, -30)}
#: Share of what the bot says that its noise is under.
_OF_WORDS: Final = 1 / 3
#: Spread of the level of what goes on evenly, in dB over hops.
_EVEN_DB: Final = 5.0
_STEP: Final = 80  # samples of a hop at 8 kHz


@detector(
    title="Background noise",
    symptoms=(
        Symptom(
            14,
            "hiss in the pauses, hum",
            "`noise` of the side it comes from; mu-law's own hiss, some -75 dBov, is no fault",
        ),
    ),
    measured="from 100 Hz on (what lies lower counts 12 dB less an octave: no telephone and few "
    "recognisers pass it), of both sides. Between words, the level over 100 ms, above the threshold for a "
    "second in all; under words, the level that no band falls below for 1.5 s, if it is less than 24 dB "
    "below the words. Without its two loudest bands it must hold a sixth of its power: tones and vowels "
    "do not. Between words it may also lie below 400 Hz, without lines, as of a car. Hum of the mains, "
    "between words and under them: three lines or more that stand still for 1.5 s at multiples of one "
    "frequency, 50 or 60 Hz to 0.3 Hz, if they are four fifths of all that does.",
    thresholds=(NOISE_DBOV,),
    change="put a noise filter into the transport (audio_in_filter); raise VADParams.confidence. Of the "
    "bot: make its voice of clean recordings.",
    limits="noise that is heard under words only is called possible: its level is that of its "
    "quietest moments, so swelling noise is told 3 to 5 dB too low, and words hide its "
    "ends, and what much reverberation leaves of a voice may look like it; hum under words is told up to 3 dB "
    "too low, and none of one or two lines is. Noise under the "
    "bot's echo, low noise without lines under words, and a television that a voice activity detector "
    "takes for speech, are not seen. Where a mixer plays a background to the caller, only even noise in "
    "the bot's pauses, and hum, are told of the bot, as possible: both may be wanted.",
    accuracy=(
        Accuracy("noisy", 1.0, value_error=0.3, span_ms=8.0, decibels=True),
        Accuracy("noisy_words", 1.0, value_error=0.7, span_ms=190.0, decibels=True),
    ),
)
def noise(call: Call) -> Iterator[Finding]:
    """A loud background behind a voice: hiss, hum, a street or a car."""
    ringing = _echoing(call)
    for side in (
        _Heard("caller", call.caller_sent, call.caller_speech, call.caller_sounds, ringing),
        _Heard("bot", call.caller_heard, call.bot_speech, call.bot_sounds, [], call.ambience),
    ):
        line = centred(side.signal, LOWEST_HZ)
        yield from _noise(side, line)
        yield from _hum(side, line)


class _Heard(NamedTuple):
    """One side: its signal, where it speaks, its sounds, what is not its own, a mixer's level."""

    side: Side
    signal: Audio
    speech: Intervals
    sounds: tuple[Sound, ...]
    foreign: list[tuple[float, float]]
    ambience: float | None = None

    @property
    def listen(self) -> str:
        return "caller_sent" if self.side == "caller" else "caller_heard"


def _echoing(call: Call) -> list[tuple[float, float]]:
    """From when to when the bot's echo rings on the caller's side."""
    return [
        (echo.start, echo.end + echo.delay_ms / 1000 + RING)
        for echo in expected_echoes(call.echoes, call.bot_speech)
    ]


def _noise(heard: _Heard, line: Audio) -> Iterator[Finding]:
    power, between, loud = _background(heard, line)
    for runs in _times(heard, loud):
        start, end = hull(runs)
        part, mine = _hops(start, end), np.zeros(len(loud), bool)
        for run in runs:  # between them may be some that is too short to count
            mine[_hops(run.start, run.end)] = True
        loud_here = loud & mine
        open_ = loud_here[part] & between[part]
        sure = open_.sum() * HOP >= NOISE_SECS
        if sure and not _is_noise(line.samples, part, open_):
            continue
        known = loud_here & between if sure else loud_here
        measured = _level(power, known, start, end)
        where = f"the {heard.side}" if sure else f"the {heard.side}'s words"
        cause, remedy = _NOISY[heard.side]
        yield noise.finding(
            side=heard.side,
            parts=[
                Part(*hull(near), _level(power, known, *hull(near)))
                for near in grouped(runs, WORD)
                if known[_hops(*hull(near))].any()
            ],
            severity=graded(measured, *_SPOILS[heard.side]),
            value=measured,
            measurement=f"noise of {measured:.0f} dBov behind {where}",
            cause=cause,
            remedy=remedy,
            listen=heard.listen,
            confidence=1.0 if sure and heard.ambience is None else POSSIBLE,
        )


def _times(heard: _Heard, loud: NDArray[np.bool_]) -> list[tuple[Part, ...]]:
    """When there is noise, gathered to findings.

    In a voice that is made it is one finding, and is there whenever it speaks: people who shout in a hall
    leave no pause for a second and a half now and then.
    """
    found = [
        runs
        for runs in grouped(lasting(runs_of(loud, HOP).tolist()), 2.0)
        if sum(run.end - run.start for run in runs) >= NOISE_SECS
    ]
    if heard.side == "caller":
        return found
    all_ = tuple(chain(*found))
    spoken = float((heard.speech[:, 1] - heard.speech[:, 0]).sum())
    return [all_] if sum(run.end - run.start for run in all_) > _OF_WORDS * spoken else []


def _hum(heard: _Heard, line: Audio) -> Iterator[Finding]:
    threshold, lost = 10 ** (NOISE_DBOV.value / 10), 10 ** (_LOST_DB / 10)
    power = lost * hum(line.samples, threshold / lost)
    loud = power > threshold
    # Kinds of sound do not help: hum by itself passes for music or tones; its lines tell it from those.
    runs = lasting(runs_of(loud, HOP).tolist())
    if sum(run.end - run.start for run in runs) < HUM_SECS:
        return
    # It is as loud all the time, and its ends are not sharp: the middle of it is its level.
    measured = 10 * math.log10(float(np.median(power[loud])))
    cause, remedy = _HUMMING[heard.side]
    yield noise.finding(
        side=heard.side,
        parts=[Part(*hull(near), _level(power, loud, *hull(near))) for near in grouped(runs, WORD)],
        severity=graded(measured, *_SPOILS[heard.side]),
        value=measured,
        measurement=f"hum of {measured:.0f} dBov, at the mains' frequency and its multiples, behind "
        f"the {heard.side}",
        cause=cause,
        remedy=remedy,
        listen=heard.listen,
        confidence=1.0 if heard.ambience is None else POSSIBLE,
    )


_NOISY: Final[dict[Side, tuple[str, str]]] = {
    "caller": (
        "A loud place, or a bad line.",
        "Put a noise filter into the transport (audio_in_filter), and raise VADParams.confidence so "
        "that noise does not interrupt the bot.",
    ),
    "bot": (
        "The synthesis, the recordings that its voice is made of, or a gain behind it that lifts their "
        "noise.",
        "Listen to what the service delivers. Take another voice, or make it anew of clean recordings; "
        "take a gain or a compressor behind the synthesis out.",
    ),
}
_HUMMING: Final[dict[Side, tuple[str, str]]] = {
    "caller": (
        "A ground loop, a bad shield or a cheap power supply at the caller's telephone or headset.",
        "Nothing in the bot causes it. Put a high-pass or a noise filter into the transport "
        "(audio_in_filter).",
    ),
    "bot": (
        "The recordings that the bot's voice or prompts are made of hum.",
        "Make them anew, or take the multiples of the mains' frequency out of them (narrow notches, or a "
        "high-pass of 200 Hz).",
    ),
}


def _hops(start: float, end: float) -> slice:
    return slice(round(start / HOP), round(end / HOP))


def _level(power: NDArray[np.float64], heard: NDArray[np.bool_], start: float, end: float) -> float:
    """Level of the hops that are heard between two times, in dBov."""
    hops = _hops(start, end)
    return 10 * math.log10(float(power[hops][heard[hops]].mean()))


def _is_noise(samples: NDArray[np.float32], part: slice, open_: NDArray[np.bool_]) -> bool:
    """Whether what is between words is noise by its spectrum."""
    mean = bands(samples, part.start, part.stop)[open_].mean(axis=0, keepdims=True)
    if is_broad(mean).all():
        return True
    start, end = max(runs_of(open_, HOP).tolist(), key=lambda run: run[1] - run[0])
    first = part.start + round(start / HOP)
    return is_rumble(samples[first * _STEP : (first + round((end - start) / HOP)) * _STEP])


def _background(
    heard: _Heard,
    line: Audio,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """What is behind a voice, for each hop.

    Args:
        heard: The side.
        line: Its signal from :data:`LOWEST_HZ` on, at 8 kHz.

    Returns:
        Its power; whether nobody speaks, so that it is that of the line as it is; and whether it is
        noise.
    """
    level = levels(line) + _LOST_DB
    power, threshold = 10 ** (level / 10), 10 ** (NOISE_DBOV.value / 10)
    words, other, never, music = _occupied(heard, len(level))
    for start, end in runs_of(~never & (running_mean(power, 5, 4) > threshold), HOP).tolist():
        beside = slice(max(0, round(start / HOP) - 1), round(end / HOP) + 1)
        if not music[beside].any() and _rumbles(line, level, start, end):
            other[_hops(start, end)] = False
    between = ~words & ~other
    # The mean over 100 ms reaches over the edges of noise. A hop alone does not, but its level is unsteady: of
    # white noise at the threshold not one in a thousand is fainter than a quarter of it (6 dB).
    mean = running_mean(np.where(between, power, 0.0), 5, 4)
    share = running_mean(between.astype(float), 5, 4)
    loud = between & (mean > threshold * share) & (power > threshold / 4)
    held = steady(line.samples, power, threshold) * 10 ** (_LOST_DB / 10)
    under = _under(line.samples, power, held, words & ~other & (held > threshold))
    return np.where(words, np.minimum(held, power), power), between, loud | under


def _occupied(heard: _Heard, size: int) -> tuple[NDArray[np.bool_], ...]:
    """Which of so many hops hold words, what else is no background, what of both is no car, and music.

    What goes over into music is no car either.
    """
    words, other, music = (np.zeros(size, bool) for _ in range(3))
    for start, end in heard.speech:
        words[max(0, int((start - 0.1) / HOP)) : int((end + 0.2) / HOP)] = True
    for start, end in heard.foreign:
        other[int(start / HOP) : int(end / HOP)] = True
    if heard.ambience is not None:
        other[:] = True
    never = words | other
    for sound in heard.sounds:
        if sound.kind in ("noise", "voice") and sound.duration >= NOISE_SECS / 2:
            if sound.kind == "noise":
                other[_hops(sound.start, sound.end)] &= heard.ambience is None
            continue
        # What happens is no background: a cough, a door, music.
        part = slice(max(0, int((sound.start - 0.1) / HOP)), int((sound.end + 0.2) / HOP))
        other[part] = True
        music[part] |= sound.kind in ("music", "modem")
    return words, other, never | music, music


def _under(
    samples: NDArray[np.float32],
    power: NDArray[np.float64],
    held: NDArray[np.float64],
    open_: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Where there is noise under words, of the hops where what is held is loud enough."""
    under = np.zeros(len(power), bool)
    for start, end in runs_of(open_, HOP).tolist():
        run = _hops(start, end)
        spoken = np.sort(power[run])[(run.stop - run.start) // 2 :]
        if spoken.mean() < held[run].mean() * 10 ** (UNDER_DB / 10):
            # Next to noise words hide its ends: it is where all bands are as strong as usual.
            usual = opened(samples, run.start, run.stop)
            under[run] = (usual > np.median(usual, axis=0) / 2).all(axis=1)
    return under


def _rumbles(line: Audio, level: NDArray[np.float64], start: float, end: float) -> bool:
    """Whether low noise goes on evenly; piece by piece it may look like tones."""
    if end - start < NOISE_SECS or np.std(level[_hops(start, end)]) > _EVEN_DB:
        return False
    return is_rumble(line.span(start, end).samples)
