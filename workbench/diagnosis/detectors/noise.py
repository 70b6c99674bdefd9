"""Faults behind the voice: noise between the caller's words, and under them.

A voice lets every band of frequencies go quiet again and again; noise does not. What none of the
bands falls below for 1.5 s is therefore noise, whoever speaks meanwhile (minimum statistics).

References:
    R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum
    statistics", IEEE Trans. Speech and Audio Processing, 2001.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.call import Call
from workbench.call.echoes import RING, expected_echoes
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.finding import POSSIBLE, Finding, Part, graded, grouped, hull, lasting
from workbench.metrics.smoothing import running_maximum, running_mean, running_minimum
from workbench.metrics.sounds import centred
from workbench.metrics.speech import HOP, levels, runs_of

__all__ = ["noise"]

F = TypeVar("F", np.float32, np.float64)

NOISE_DBOV: Final = Threshold(
    -45.0,
    "dBov",
    "Speech over less than 20 dB of distance to the noise is tiring (usual speech is at -25 dBov).",
)
#: A lorry that passes is not the line.
NOISE_SECS: Final = 1.0
#: What is heard less than so many seconds apart is one part.
WORD: Final = 0.2
#: Voices of all of the sample audio stay 27 dB above what passes for noise in them.
UNDER_DB: Final = 24.0


#: For so many hops no band of a voice stays loud.
_STEADY: Final = 150
#: Edges of the bands in hertz. The two loudest are left out of the sum: a sustained vowel fills no
#: more than two, a hum one.
_BANDS: Final = (250, 600, 1000, 1500, 2000, 2600, 3400)
_LOUDEST: Final = 2
#: What the minimum and the bands that are left out take away, in dB: measured, of white and of pink
#: noise, with and without speech over it.
_MISSING_DB: Final = 5.6
_LEAST: Final = 10 ** ((NOISE_DBOV.value - _MISSING_DB) / 10)
_BLOCK: Final = 160  # samples of a spectrum at 8 kHz, two hops
_AT_ONCE: Final = 6000  # hops: an hour takes no more memory than a minute


@detector(
    title="Background noise",
    symptoms=(
        Symptom(
            14,
            "hiss in the pauses",
            "`noise` of the caller's side; mu-law's own hiss, some -75 dBov, is no fault",
        ),
    ),
    measured="between words, the level over 100 ms, above the threshold for a second in all; "
    "under words, the level that no band falls below for 1.5 s, if it is less than 24 dB "
    "below the words. Without its two loudest bands it must hold a sixth of its power: "
    "tones and vowels do not.",
    thresholds=(NOISE_DBOV,),
    change="put a noise filter into the transport (audio_in_filter); raise VADParams.confidence.",
    limits="noise that is heard under words only is called possible: its level is that of its "
    "quietest moments, so swelling noise is told 3 to 5 dB too low, and words hide its "
    "ends. Noise under the bot's echo, and a television that a voice activity detector "
    "takes for speech, are not seen.",
    accuracy=(
        Accuracy("noisy", 1.0, value_error=0.1, span_ms=8.0, decibels=True),
        Accuracy("noisy_words", 1.0, value_error=0.7, span_ms=190.0, decibels=True),
    ),
)
def noise(call: Call) -> Iterator[Finding]:
    """A loud background behind the caller."""
    line = centred(call.caller_sent)
    power, between, loud = _background(call, line)
    for runs in grouped(lasting(runs_of(loud, HOP).tolist()), 2.0):
        if sum(run.end - run.start for run in runs) < NOISE_SECS:
            continue
        start, end = hull(runs)
        part = _hops(start, end)
        open_ = loud[part] & between[part]
        sure = open_.sum() * HOP >= NOISE_SECS
        if sure:
            bands = _bands(line.samples, part.start, part.stop)
            if not _broad(bands[open_].mean(axis=0, keepdims=True)).all():
                continue
        heard = loud & between if sure else loud
        measured = _level(power, heard, start, end)
        where = "the caller" if sure else "the caller's words"
        yield noise.finding(
            side="caller",
            parts=[
                Part(*hull(near), _level(power, heard, *hull(near)))
                for near in grouped(runs, WORD)
                if heard[_hops(*hull(near))].any()
            ],
            severity=graded(measured, -35, -25),
            value=measured,
            measurement=f"noise of {measured:.0f} dBov behind {where}",
            cause="A loud place, or a bad line.",
            remedy="Put a noise filter into the transport (audio_in_filter), and raise "
            "VADParams.confidence or min_volume so that noise does not interrupt the bot.",
            listen="caller_sent",
            confidence=1.0 if sure else POSSIBLE,
        )


def _hops(start: float, end: float) -> slice:
    return slice(round(start / HOP), round(end / HOP))


def _level(power: NDArray[np.float64], heard: NDArray[np.bool_], start: float, end: float) -> float:
    """Level of the hops that are heard between two times, in dBov."""
    hops = _hops(start, end)
    return 10 * math.log10(float(power[hops][heard[hops]].mean()))


def _background(
    call: Call,
    line: Audio,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """What is behind the caller's voice, for each hop.

    Args:
        call: The call.
        line: The caller's side, centred, at 8 kHz.

    Returns:
        Its power; whether nobody speaks, so that it is that of the line as it is; and whether it is
        noise.
    """
    level = levels(line)
    words, other = np.zeros(len(level), bool), np.zeros(len(level), bool)
    for start, end in call.caller_speech:
        words[max(0, int((start - 0.1) / HOP)) : int((end + 0.2) / HOP)] = True
    for echo in expected_echoes(call.echoes, call.bot_speech):
        last = echo.end + echo.delay_ms / 1000 + RING
        other[int(echo.start / HOP) : int(last / HOP)] = True
    for sound in call.caller_sounds:
        # What happens is no background: a cough, a door, music.
        if sound.kind not in ("noise", "voice") or sound.duration < NOISE_SECS / 2:
            other[max(0, int((sound.start - 0.1) / HOP)) : int((sound.end + 0.2) / HOP)] = True
    between = ~words & ~other
    power, threshold = 10 ** (level / 10), 10 ** (NOISE_DBOV.value / 10)
    # The mean over 100 ms reaches over the edges of noise, a hop alone does not.
    mean = running_mean(np.where(between, power, 0.0), 5, 4)
    share = running_mean(between.astype(float), 5, 4)
    loud = between & (mean > threshold * share) & (power > threshold / 4)
    caller = line.samples
    steady = _steady(caller, power)
    under = np.zeros(len(power), bool)
    for start, end in runs_of(words & ~other & (steady > threshold), HOP).tolist():
        run = slice(round(start / HOP), round(end / HOP))
        spoken = np.sort(power[run])[(run.stop - run.start) // 2 :]
        if spoken.mean() < steady[run].mean() * 10 ** (UNDER_DB / 10):
            # Next to noise words hide its ends: it is where all bands are as strong as usual.
            opened = _opened(caller, run.start, run.stop)
            under[run] = (opened > np.median(opened, axis=0) / 2).all(axis=1)
    return np.where(words, np.minimum(steady, power), power), between, loud | under


def _steady(samples: NDArray[np.float32], power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power that no band falls below for 1.5 s, for each hop; 0 where it is far from noise."""
    found = np.zeros(len(power))
    # All bands together are no less than any of them: where they fall silent there is no noise.
    likely = _kept_up(running_mean(power, 1, 1)) > _LEAST
    for start, end in runs_of(likely, HOP).tolist():
        ends = round(end / HOP)
        for first in range(round(start / HOP), ends, 4 * _AT_ONCE):
            last = min(first + 4 * _AT_ONCE, ends)
            opened = _opened(samples, first, last)
            quieter = np.sort(opened, axis=1)[:, :-_LOUDEST].sum(axis=1)
            found[first:last] = np.where(_broad(opened), quieter * 10 ** (_MISSING_DB / 10), 0.0)
    return found


def _broad(bands: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether it is noise by its spectrum: not a tone, not a hum and not a vowel."""
    total = bands.sum(axis=1)
    return np.asarray(np.sort(bands, axis=1)[:, :-_LOUDEST].sum(axis=1) > total / 6)


def _opened(samples: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
    """Power that each band does not fall below for 1.5 s, as :func:`_bands`."""
    before = min(first, _STEADY)
    bands = _bands(samples, first - before, last + _STEADY)
    return _kept_up(bands)[before : before + last - first]


def _kept_up(power: NDArray[F]) -> NDArray[F]:
    """What a power does not fall below for 1.5 s, whichever 1.5 s shows the most of it."""
    half = _STEADY // 2
    return running_maximum(running_minimum(power, half, half - 1), half - 1, half)


def _bands(samples: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
    """Power of each band, over 30 ms.

    Args:
        samples: At 8 kHz.
        first: Of the hops that are wanted.
        last: The one after them.

    Returns:
        Shape ``(hops, bands)``, silent behind the end of the samples.
    """
    step = _BLOCK // 2
    window = np.hanning(_BLOCK + 1)[:_BLOCK].astype(np.float32)
    scale = np.float32(2 / (_BLOCK * float(window @ window)))
    edges = np.searchsorted(np.fft.rfftfreq(_BLOCK, 1 / 8000), _BANDS)
    bands = np.zeros((last - first, len(_BANDS) - 1), np.float32)
    for at in range(first, last, _AT_ONCE):
        count = min(_AT_ONCE, last - at)
        # A hop stands in the middle of its block.
        low, high = at * step - step // 2, (at + count) * step + step // 2
        part = samples[max(0, low) : max(0, high)]
        part = np.pad(part, (max(0, -low), high - max(0, low) - len(part)))
        blocks = np.lib.stride_tricks.sliding_window_view(part, _BLOCK)[::step]
        bins = np.square(np.abs(np.fft.rfft(blocks * window, axis=1))) * scale
        bands[at - first :][:count] = np.add.reduceat(bins, edges, axis=1)[:, :-1]
        mapped.let_go(samples[max(0, low) : max(0, high)])
    return running_mean(bands, 1, 1)
