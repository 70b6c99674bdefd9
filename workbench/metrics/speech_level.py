"""The level of speech, its pauses left out (ITU-T P.56), and where there is speech."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.metrics.frames import checked
from workbench.metrics.smoothing import one_pole, running_maximum

__all__ = [
    "MARGIN_DB",
    "SILENCE_DBOV",
    "active_level",
    "active_speech",
    "speech_activity",
    "speech_secs",
]


#: P.56, table 1: time constant of the envelope, hangover, and margin between the active level and
#: the threshold of activity.
TIME_CONSTANT: Final = 0.03


HANGOVER: Final = 0.2


MARGIN_DB: Final = 15.9


#: Active levels below this are not speech: int16 rounding and dither lie at -101 to -90 dBov, the
#: faintest usable telephone speech at -60.
SILENCE_DBOV: Final = -70.0


#: Hops processed together, so that an hour takes no more memory than a minute.
_AT_ONCE: Final = 4096
_ENVELOPE_RATE: Final = 1000  # Hz; the envelope holds nothing above some 10 Hz


def active_level(audio: Audio) -> float:
    """Measure the level of the speech, pauses left out.

    Method B of P.56, with the rectified signal averaged over 1 ms ahead of the envelope's filter. It
    wants some speech: of two seconds the level is within 2 dB of its power, of one second or less it
    may be 5 to 10 dB too high, for the method takes the quieter part of so little for a pause.

    Args:
        audio: The signal.

    Returns:
        Active speech level in dBov; ``-inf`` for digital silence.

    Example::

        >>> speech = Audio.read("sample_audio/call/bot/b01.flac")
        >>> pauses = Audio(np.append(speech.samples, np.zeros(len(speech))), speech.sample_rate)
        >>> f"{speech.level:.0f} and {pauses.level:.0f} dBov"
        '-22 and -25 dBov'
        >>> f"{active_level(speech):.0f} and {active_level(pauses):.0f} dBov"
        '-21 and -21 dBov'
    """
    return _active_speech(audio)[0]


def speech_secs(audio: Audio) -> float:
    """Measure how long there is speech, as :func:`speech_activity` marks it, in seconds."""
    return active_speech(audio)[1]


def active_speech(audio: Audio) -> tuple[float, float]:
    """Measure :func:`active_level` and :func:`speech_secs` at once."""
    level, held, hop = _active_speech(audio)
    if level < SILENCE_DBOV:
        return level, 0.0
    active = _over(held, level)
    missing = active.size * hop - len(audio) if active[-1] else 0  # of the last hop
    return level, float(np.count_nonzero(active) * hop - missing) / audio.sample_rate


def speech_activity(audio: Audio) -> NDArray[np.bool_]:
    """Mark the speech as P.56 does: envelope within 15.9 dB of the active level, or 200 ms after.

    Args:
        audio: The signal.

    Returns:
        One bool per sample, shape ``(n,)``; all False when the level is below -70 dBov.
    """
    level, held, hop = _active_speech(audio)
    n = len(audio.samples)
    if level < SILENCE_DBOV:
        return np.zeros(n, dtype=np.bool_)
    active = _over(held, level)
    per_sample: NDArray[np.bool_] = mapped.zeros(n, np.bool_)
    for first, few in mapped.blocks(active, _AT_ONCE):
        part = per_sample[first * hop : (first + len(few)) * hop]
        part[:] = np.repeat(few, hop)[: len(part)]
        mapped.let_go(part)
    return per_sample


def _active_speech(audio: Audio) -> tuple[float, NDArray[np.float64], int]:
    """Return the active level, the envelope held for the hangover, and the envelope's hop."""
    x = checked(audio)
    hop = max(1, round(audio.sample_rate / _ENVELOPE_RATE))
    g = np.exp(-hop / (audio.sample_rate * TIME_CONSTANT))
    threshold = 2.0 ** np.arange(-24, 1)
    held: NDArray[np.float64] = mapped.zeros(-(-x.size // hop), np.float64)
    hangover = round(HANGOVER * audio.sample_rate / hop)
    before, p, q = np.empty(0), 0.0, 0.0
    energy, below = 0.0, np.zeros(threshold.size, np.int64)
    for first in range(0, held.size, _AT_ONCE):
        some = x[first * hop : (first + _AT_ONCE) * hop]
        energy += float(np.einsum("i,i->", some, some, dtype=np.float64))
        smooth = one_pole(_rectified(some, hop), g, p, gain=1 - g)
        envelope = one_pole(smooth, g, q, gain=1 - g)  # by the names of P.56: p and q
        p, q = float(smooth[-1]), float(envelope[-1])
        reaching = np.concatenate([before, envelope])
        part = held[first : first + _AT_ONCE]
        part[:] = running_maximum(reaching, hangover, 0)[before.size :]
        below += np.searchsorted(np.sort(part), threshold)
        before = reaching[-hangover:] if hangover else before
        mapped.let_go(some)
        mapped.let_go(part)
    energy /= hop
    if energy == 0.0:
        return -np.inf, held, hop
    active = held.size - below
    level = 10 * np.log10(energy / np.maximum(active, 1))
    excess = level - 20 * np.log10(threshold) - MARGIN_DB  # falls as the threshold rises
    j = int(np.argmax((excess <= 0) | (active == 0)))
    if j == 0 or active[j] == 0:
        # All of it lies below the lowest threshold, or there is only one burst shorter than the
        # envelope's rise: then no sample is a pause.
        return float(10 * np.log10(energy * hop / x.size)), held, hop
    part = excess[j - 1] / (excess[j - 1] - excess[j])
    return float(level[j - 1] + part * (level[j] - level[j - 1])), held, hop


def _over(held: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
    """Where the envelope is no more than the margin below a level, shape ``(n,)``."""
    least = 10 ** ((level - MARGIN_DB) / 20)
    active = np.empty(held.size, np.bool_)
    for first, block in mapped.blocks(held, _AT_ONCE):
        active[first : first + len(block)] = block >= least
    return active


def _rectified(x: NDArray[np.float32], hop: int) -> NDArray[np.float64]:
    """Mean magnitude of each hop, the last one filled up with silence."""
    part = np.zeros((-(-x.size // hop), hop))
    np.abs(x, out=part.reshape(-1)[: x.size])
    sums: NDArray[np.float64] = np.einsum("ij->i", part)  # of short rows a third sooner than sum
    return sums / hop
