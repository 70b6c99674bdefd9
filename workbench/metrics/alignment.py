"""Two signals aligned: one constant delay, found and taken out.

References:
    .. [1] C. H. Knapp, G. C. Carter, "The generalized correlation method for estimation of time
       delay", IEEE Trans. ASSP 24(4), 1976.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.metrics.frames import checked, fast_length, undefined
from workbench.metrics.speech_level import SILENCE_DBOV, active_level

__all__ = ["Alignment", "advanced", "align", "find_delay", "shifted", "validate"]

#: A true peak stands this many standard deviations out of the correlation; two signals that have
#: nothing in common reach 4 to 5.
_LEAST_PEAK: Final = 8.0
#: Samples that are moved at once, and that are looked at before and behind them.
_BLOCK, _AROUND = 1 << 19, 1 << 15


class Alignment(NamedTuple):
    """Two signals, aligned.

    Parameters:
        delay_ms: How much later the degraded signal was; negative when it was earlier.
        reference: The part of the reference that both have.
        degraded: The same part of the degraded signal, moved by whole samples and a fraction.
    """

    delay_ms: float
    reference: Audio
    degraded: Audio


def validate(reference: Audio, degraded: Audio) -> None:
    """Refuse a pair that no metric can take.

    Args:
        reference: Samples of shape ``(n,)``, float in [-1, 1); Audio itself refuses integers, NaN
            and several channels.
        degraded: Likewise, at the same rate.

    Raises:
        ValueError: For two rates, for no samples, or for samples of int16 size.
    """
    if reference.sample_rate != degraded.sample_rate:
        raise ValueError(
            f"reference at {reference.sample_rate} Hz and degraded at {degraded.sample_rate} Hz, "
            "wanted one rate: use Audio.resampled"
        )
    for name, audio in (("reference", reference), ("degraded", degraded)):
        try:
            checked(audio)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def align(reference: Audio, degraded: Audio, *, max_delay_ms: float = 2000.0) -> Alignment:
    """Find one constant delay, and take it out.

    Args:
        reference: The signal as it was.
        degraded: The signal as it arrived.
        max_delay_ms: Largest delay looked for, either way.

    Returns:
        The delay and both signals, of equal length. The delay is NaN, with a warning, and the
        signals are only cut to one length, when either is silent or one does not resemble the
        other.

    Raises:
        ValueError: As :func:`validate`.
    """
    delay_ms = find_delay(reference, degraded, max_delay_ms=max_delay_ms)
    return Alignment(delay_ms, *shifted(reference, degraded, delay_ms))


def find_delay(reference: Audio, degraded: Audio, *, max_delay_ms: float = 2000.0) -> float:
    """Find one constant delay by generalised cross-correlation.

    The whole samples come from the peak of the correlation weighted by the 0.8th power of the
    cross spectrum [1]_, the fraction from the slope of the phase that remains.

    Args:
        reference: The signal as it was.
        degraded: The signal as it arrived.
        max_delay_ms: Largest delay looked for, either way.

    Returns:
        How much later the degraded signal is, in milliseconds; NaN, with a warning, when either is
        silent or one does not resemble the other.

    Raises:
        ValueError: As :func:`validate`.

    Example::

        >>> speech = Audio.read("sample_audio/call/bot/b01.flac")
        >>> late = Audio(np.append(np.zeros(240), speech.samples), speech.sample_rate)
        >>> f"{find_delay(speech, late):.3f} ms"
        '10.000 ms'
    """
    validate(reference, degraded)
    if min(active_level(reference), active_level(degraded)) < SILENCE_DBOV:
        return undefined("delay", "one of the signals is silent")
    rate = reference.sample_rate
    largest = round(max_delay_ms / 1000 * rate)
    delay = _delay_samples(reference.samples, degraded.samples, largest)
    if delay is None:
        return undefined("delay", "neither signal resembles the other")
    return delay / rate * 1000


def shifted(reference: Audio, degraded: Audio, delay_ms: float) -> tuple[Audio, Audio]:
    """Take a known delay out of the degraded signal, and cut both to what they share.

    Args:
        reference: The signal as it was.
        degraded: The same, ``delay_ms`` later.
        delay_ms: May be negative or no whole number of samples; NaN stands for 0.

    Raises:
        ValueError: If they share nothing.
    """
    rate = reference.sample_rate
    whole, _ = _parted(delay_ms, rate)
    moved = advanced(degraded, delay_ms, len(reference))
    if not len(moved):
        raise ValueError(f"at a delay of {delay_ms:g} ms the signals share nothing")
    return Audio(reference.samples[max(0, -whole) :][: len(moved)], rate), moved


def advanced(degraded: Audio, delay_ms: float, count: int) -> Audio:
    """Take a known delay out of a signal.

    Args:
        degraded: The signal, ``delay_ms`` later than it should be.
        delay_ms: May be negative or no whole number of samples; NaN stands for 0.
        count: Samples of the reference that it belongs to.

    Returns:
        What it shares with that: from its first sample on or, after a negative delay, from the one
        where the degraded signal begins.
    """
    rate = degraded.sample_rate
    whole, fraction = _parted(delay_ms, rate)
    y = degraded.samples[max(0, whole) :][: max(0, count + min(0, whole))]
    if abs(fraction) > 0.02 and y.size:  # of a sample: an error of -40 dB at half of the band
        y = _advanced(y, fraction)
    return Audio(y, rate)


def _parted(delay_ms: float, rate: int) -> tuple[int, float]:
    """A delay in whole samples, and what is left of one."""
    delay = 0.0 if np.isnan(delay_ms) else delay_ms / 1000 * rate
    return round(delay), delay - round(delay)


def _delay_samples(x: NDArray[np.float32], y: NDArray[np.float32], largest: int) -> float | None:
    """Delay of y against x in samples, at most ``largest`` either way; None when there is none."""
    n = fast_length(x.size + min(y.size, x.size + largest))
    cross = np.conj(np.fft.rfft(x, n)) * np.fft.rfft(y[: x.size + largest], n)
    magnitude = np.abs(cross)
    sharp = np.fft.irfft(cross / np.maximum(magnitude, magnitude.max() * 1e-6) ** 0.8, n)
    largest = min(largest, n // 2 - 1)
    lags = np.concatenate([sharp[n - largest :], sharp[: largest + 1]])
    best = int(np.argmax(lags))
    if lags[best] < _LEAST_PEAK * float(np.std(lags)):
        return None
    whole = best - largest
    # The fraction is the slope of the phase that is left, over the bins that matter.
    strong = np.flatnonzero(magnitude > 1e-2 * magnitude.max())
    omega = 2 * np.pi * strong / n
    phase = np.angle(cross[strong] * np.exp(1j * omega * whole))
    weight = magnitude[strong] * omega
    # Not np.dot, which would wake a thread of BLAS for each core.
    total = float(np.sum(weight * omega))
    fraction = -float(np.sum(weight * phase)) / total if total > 0 else 0.0
    return whole + float(np.clip(fraction, -0.5, 0.5))


def _advanced(y: NDArray[np.float32], samples: float) -> NDArray[np.float32]:
    """Move a signal earlier by a fraction of a sample, by the phase of its spectrum.

    A long one is moved in blocks that see so much of their neighbours that what lies further away
    is below the rounding of 16 bits.
    """
    moved: NDArray[np.float32] = mapped.zeros(y.size, np.float32)
    for first in range(0, y.size, _BLOCK):
        last = min(first + _BLOCK, y.size)
        begin = max(0, first - _AROUND)
        seen = y[begin : last + _AROUND]
        n = fast_length(seen.size + 64)
        turn = np.exp(2j * np.pi * np.arange(n // 2 + 1) * samples / n)
        part = np.fft.irfft(np.fft.rfft(seen, n) * turn.astype(np.complex64), n)
        moved[first:last] = part[first - begin : last - begin]
        mapped.let_go(y[begin:first])
        mapped.let_go(moved[first:last])
    return moved
