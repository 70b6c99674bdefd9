"""Noise that is planted into a ground call: behind the caller, under the bot's words."""

from __future__ import annotations

import numpy as np

from tests.ground.caller import RATE
from tests.ground.filling import Samples
from tests.ground.planted_sound import Planted, Side
from tests.ground.take import Take
from workbench.audio import Audio
from workbench.metrics.sounds import centred


def noisy(take: Take, dbov: float, colour: str) -> Planted:
    """Three seconds of noise behind the caller, anywhere."""
    size = 3 * RATE
    first = int(take.rng.integers(RATE, len(take.media) * 160 - size - RATE))
    take.line[first : first + size] += coloured(take.rng, size, colour) * 10 ** (dbov / 20)
    return Planted(((take.sent(first), take.sent(first + size)),), dbov)


def hissing(take: Take, dbov: float) -> Planted:
    """White noise under all that the bot says, and only there."""
    hiss = coloured(take.rng, round(len(take.said) / take.rate * RATE) + RATE, "white")
    return _under_words(take, hiss * np.float32(10 ** (dbov / 20)), dbov)


def humming(take: Take, dbov: float, side: Side) -> Planted:
    """The mains' hum: all along behind the caller, of the bot under its words."""
    secs = len(take.line) / RATE if side == "caller" else len(take.said) / take.rate + 1
    hum = _as_measured(_mains(take.rng, secs), dbov)
    if side == "bot":
        return _under_words(take, hum, dbov)
    take.line += hum[: len(take.line)]
    return Planted((), dbov)


def driving(take: Take, dbov: float) -> Planted:
    """A car all along: noise from 60 Hz on that falls by 9 dB an octave."""
    spectrum = np.fft.rfft(take.rng.standard_normal(len(take.line)))
    frequency = np.fft.rfftfreq(len(take.line), 1 / RATE)
    spectrum *= np.where(frequency > 60, np.maximum(frequency, 60) ** -1.5, 0)
    take.line += _as_measured(np.fft.irfft(spectrum, len(take.line)), dbov)
    return Planted((), dbov)


def _mains(rng: np.random.Generator, secs: float) -> Samples:
    """Multiples of 50 or 60 Hz, the odd ones stronger, with any phase."""
    mains = float(rng.choice([50, 60])) * rng.uniform(0.999, 1.001)
    phase = 2 * np.pi * mains * np.arange(round(secs * RATE)) / RATE
    strength = [rng.uniform(0.5, 1) / k * (1 if k % 2 else 0.7) for k in range(1, 9)]
    return np.sum(
        [a * np.sin(k * phase + rng.uniform(0, 6)) for k, a in enumerate(strength, 1)], axis=0
    )


def _as_measured(noise: Samples, dbov: float) -> Samples:
    """Low noise at a level that it has from 100 Hz on."""
    heard = centred(Audio(noise.astype(np.float32), RATE), 100.0).samples
    return (noise * 10 ** (dbov / 20) / np.sqrt(np.mean(heard**2))).astype(np.float32)


def _under_words(take: Take, noise: Samples, dbov: float) -> Planted:
    """Mix something of 8 kHz into what the bot says, where it speaks."""
    wide = Audio(noise, RATE).resampled(take.rate).samples
    for first, last in take.slots:
        take.said[first:last] += wide[first:last]
    return Planted((), dbov)


def coloured(rng: np.random.Generator, size: int, colour: str) -> Samples:
    """Noise of 0 dBov: ``white``, ``pink`` above 200 Hz, or ``street``: pink that swells."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    if colour != "white":
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
        spectrum[: size * 200 // RATE] = 0
    noise = np.fft.irfft(spectrum, size)
    if colour == "street":
        knots = 10 ** (rng.uniform(-6, 6, size // (RATE // 2) + 2) / 20)
        noise *= np.interp(np.arange(size), np.arange(len(knots)) * RATE / 2, knots)
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)
