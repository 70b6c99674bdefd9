"""How strong one signal is, how clean its edges are, and how far up it reaches.

Conventions:
    A signal is an :class:`~workbench.audio.Audio`: one-dimensional float samples, 1.0 being int16
    full scale; it refuses int16, several channels and NaN by itself. Levels are in dBov (RFC 6464):
    0 dBov is the RMS of a full-scale square wave, so a full-scale sine has -3.01 dBov; digital
    silence has ``-inf``. What cannot be measured is NaN, and a :class:`MetricWarning` says why.
    No samples at all, or samples of int16 size, are a :class:`ValueError`.

Metrics:
    * :func:`active_level`: level of the speech, pauses left out (ITU-T P.56).
    * :func:`loudness`: integrated loudness, LUFS (ITU-R BS.1770).
    * :func:`noise_floor`: level of the pauses.
    * :func:`peak`: the largest sample.
    * :func:`clipped_fraction`: share of samples that stand flat against the rail.
    * :func:`effective_bandwidth`: the frequency up to which there is anything to hear.

References:
    .. [1] ITU-T P.56 (2011), Objective measurement of active speech level, method B.
    .. [2] RFC 6464, section 3, and RFC 6465: audio level in dBov.
    .. [3] ITU-R BS.1770-4 (2015), annex 1: loudness of programmes. EBU Tech 3341 (2016) has the
       signals to test a meter with.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, signal

from workbench.audio import Audio

__all__ = [
    "MetricWarning",
    "active_level",
    "active_speech",
    "checked",
    "clipped_fraction",
    "effective_bandwidth",
    "loudest_span",
    "loudness",
    "noise_floor",
    "peak",
    "speech_activity",
    "speech_secs",
    "undefined",
]

#: P.56, table 1: time constant of the envelope, hangover, and margin between the active level and
#: the threshold of activity.
TIME_CONSTANT: Final = 0.03
HANGOVER: Final = 0.2
MARGIN_DB: Final = 15.9

#: Active levels below this are not speech: int16 rounding and dither lie at -101 to -90 dBov, the
#: faintest usable telephone speech at -60.
SILENCE_DBOV: Final = -70.0

#: Samples within this of a signal's own extreme stand at it: one and a half steps of int16.
_RAIL: Final = 1.5 / 32768

T = TypeVar("T", bound=np.generic)

_ENVELOPE_RATE: Final = 1000  # Hz; the envelope holds nothing above some 10 Hz

#: Hops or frames looked at together: an hour takes no more memory for it than a minute.
_AT_ONCE: Final = 4096


class MetricWarning(UserWarning):
    """A metric is NaN; the message says why."""


def active_level(audio: Audio) -> float:
    """Measure the level of the speech, pauses left out.

    Method B of P.56, with the rectified signal averaged over 1 ms ahead of the envelope's filter.

    Args:
        audio: The signal.

    Returns:
        Active speech level in dBov; ``-inf`` for digital silence.
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
    active = held >= 10 ** ((level - MARGIN_DB) / 20)
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
    active = held >= 10 ** ((level - MARGIN_DB) / 20)
    per_sample: NDArray[np.bool_] = np.repeat(active, hop)[:n]
    return per_sample


def _active_speech(audio: Audio) -> tuple[float, NDArray[np.float64], int]:
    """Return the active level, the envelope held for the hangover, and the envelope's hop."""
    x = checked(audio)
    hop = max(1, round(audio.sample_rate / _ENVELOPE_RATE))
    g = np.exp(-hop / (audio.sample_rate * TIME_CONSTANT))
    b, a = np.array([(1 - g) ** 2]), np.array([1.0, -2 * g, g * g])  # p and q of P.56 at once
    envelope = np.asarray(signal.lfilter(b, a, _rectified(x, hop)), dtype=np.float64)
    held = _hold(envelope, round(HANGOVER * audio.sample_rate / hop))
    del envelope

    energy = float(np.einsum("i,i->", x, x, dtype=np.float64)) / hop
    if energy == 0.0:
        return -np.inf, held, hop
    threshold = 2.0 ** np.arange(-24, 1)
    active = held.size - np.searchsorted(np.sort(held), threshold)
    level = 10 * np.log10(energy / np.maximum(active, 1))
    excess = level - 20 * np.log10(threshold) - MARGIN_DB  # falls as the threshold rises
    j = int(np.argmax((excess <= 0) | (active == 0)))
    if j == 0 or active[j] == 0:
        # All of it lies below the lowest threshold, or there is but one burst shorter than the
        # envelope's rise: then no sample is a pause.
        return float(10 * np.log10(energy * hop / x.size)), held, hop
    part = excess[j - 1] / (excess[j - 1] - excess[j])
    return float(level[j - 1] + part * (level[j] - level[j - 1])), held, hop


def _rectified(x: NDArray[np.float32], hop: int) -> NDArray[np.float64]:
    """Mean magnitude of each hop, the last one filled up with silence."""
    means = np.empty(-(-x.size // hop))
    for first in range(0, means.size, _AT_ONCE):
        part = np.zeros((min(_AT_ONCE, means.size - first), hop), np.float32)
        samples = x[first * hop : first * hop + part.size]
        np.abs(samples, out=part.reshape(-1)[: samples.size])
        means[first : first + len(part)] = part.mean(axis=1, dtype=np.float64)
    return means


def _hold(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Largest value among each one and the ``length`` before it; all are 0 or more."""
    held: NDArray[np.float64] = ndimage.maximum_filter1d(
        values, length + 1, mode="constant", cval=0.0, origin=length // 2
    )
    return held


#: BS.1770-4, tables 1 and 2: the head's high shelf and the high-pass, as printed, at 48 kHz.
_K_WEIGHTING: Final = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285,
     1.0, -1.69065929318241, 0.73248077421585),
    (1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621),
)  # fmt: skip

#: BS.1770-4: blocks of 400 ms, three quarters overlapping; what is fainter than the absolute gate,
#: or than the loudness of what passes it less the relative one, does not count.
_BLOCK, _STEP = 0.4, 0.1
_ABSOLUTE_GATE: Final = -70.0
_RELATIVE_GATE: Final = 10.0
#: So that a full-scale sine of 997 Hz in one channel has -3.01 LUFS.
_OFFSET: Final = -0.691


def loudness(audio: Audio) -> float:
    """Measure the integrated loudness of one channel [3]_.

    Where :func:`active_level` is what telephony levels speech by, this is what broadcasting does:
    higher frequencies count for up to 4 dB more. The filters are the standard's own, by their
    response at the frequencies that the signal has, so its rate does not matter.

    Args:
        audio: The signal, one channel; the same from two loudspeakers is 3.01 LU louder.

    Returns:
        LUFS; ``-inf`` when no block of 400 ms reaches -70 LUFS; NaN for less than one block.
    """
    x, rate = checked(audio), audio.sample_rate
    step = round(_STEP * rate)
    size = round(_BLOCK / _STEP)
    if x.size < size * step:
        return undefined("loudness", f"it lasts {audio.duration:.2f} s, wanted {_BLOCK:g}")
    weighted = signal.oaconvolve(x, _k_weighting(rate), mode="same")
    steps = weighted[: x.size // step * step].reshape(-1, step)
    power = framed(np.einsum("ij,ij->i", steps, steps, dtype=np.float64), size, 1).mean(axis=1)
    power /= step
    gate = 10 ** ((_ABSOLUTE_GATE - _OFFSET) / 10)
    if not (power > gate).any():
        return -np.inf
    gate = max(gate, float(power[power > gate].mean()) * 10 ** (-_RELATIVE_GATE / 10))
    return _OFFSET + _decibel(float(power[power > gate].mean()))


@cache
def _k_weighting(rate: int) -> NDArray[np.float32]:
    """Both filters as one, of linear phase: where in a block something is does not matter.

    After the 0.1 s on either side the high-pass of 38 Hz has decayed to a millionth.
    """
    n = round(0.2 * rate)
    frequency = np.minimum(fft.rfftfreq(n, 1 / rate), 24000)
    _, response = signal.sosfreqz(_K_WEIGHTING, frequency, fs=48000)
    taps = np.roll(fft.irfft(np.abs(response), n), n // 2)
    return np.asarray(np.append(taps, taps[0]) if n % 2 == 0 else taps, np.float32)


def noise_floor(audio: Audio) -> float:
    """Measure the level of what lies between the speech.

    Args:
        audio: The signal.

    Returns:
        Median level of the frames of 20 ms that are pause, in dBov, ``-inf`` where they are
        digital silence. The median leaves out onsets, in which P.56's envelope still rises. NaN
        when there is no speech, or less than 0.1 s of pause.
    """
    active = speech_activity(audio)
    if not active.any():
        return undefined("noise floor", "there is no speech, so there are no pauses")
    size = round(0.02 * audio.sample_rate)
    frames = framed(audio.samples, size, size)
    pause = ~framed(active, size, size).any(axis=1)
    if np.count_nonzero(pause) < 5:
        return undefined("noise floor", "there is less than 0.1 s of pause")
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / size
    return _decibel(float(np.median(power[pause])))


def peak(audio: Audio) -> float:
    """Return the largest sample in dBov; ``-inf`` for digital silence."""
    return _decibel(float(np.max(np.abs(checked(audio)))) ** 2)


def clipped_fraction(audio: Audio) -> float:
    """Measure how much of a signal stands flat against its own extreme.

    Runs of three and more samples count, within 1.5 steps of int16 of the highest or the lowest
    sample, so that a signal clipped first and attenuated afterwards is found too. Resampling and
    band-limiting after the clipping round the edges and hide it.

    Args:
        audio: The signal.

    Returns:
        Share of all samples, 0 to 1; 0 when the peak lies below -40 dBov, where int16 itself is
        coarse enough to make runs.
    """
    x = checked(audio)
    clipped = 0
    for side in (x, -x):
        extreme = float(side.max())
        if extreme > 0.01:
            edges = np.flatnonzero(np.diff((side >= extreme - _RAIL).astype(np.int8), 1, 0, 0))
            lengths = edges[1::2] - edges[::2][: edges.size // 2]
            if edges.size % 2:  # the last run lasts to the end
                lengths = np.append(lengths, x.size - edges[-1])
            clipped += int(lengths[lengths >= 3].sum())
    return clipped / x.size


def loudest_span(audio: Audio, secs: float) -> tuple[float, float]:
    """Find the stretch with the most energy: the excerpt to look at and to listen to.

    Args:
        audio: The signal.
        secs: Length wanted.

    Returns:
        Start and end in seconds, in steps of 0.1 s; the whole signal if it is shorter.
    """
    hop = max(1, audio.sample_rate // 10)
    energy = (
        np.square(audio.samples[: len(audio.samples) // hop * hop]).reshape(-1, hop).sum(axis=1)
    )
    blocks = max(1, round(secs * 10))
    if len(energy) <= blocks:
        return 0.0, audio.duration
    start = float(np.convolve(energy, np.ones(blocks), "valid").argmax()) / 10
    return start, start + secs


def effective_bandwidth(audio: Audio) -> float:
    """Find the frequency up to which there is anything to hear.

    Args:
        audio: The signal.

    Returns:
        Highest frequency in hertz whose long-term power, in bins of 31.25 Hz, is within 50 dB of
        the strongest between 300 and 3000 Hz; NaN without 0.1 s of speech.
    """
    size = round(audio.sample_rate / 31.25)
    hop = size // 2
    frames = framed(audio.samples, size, hop)
    spoken = np.flatnonzero(framed(speech_activity(audio), size, hop).all(axis=1))
    if len(spoken) < 5:
        return undefined("effective bandwidth", "there is less than 0.1 s of speech")
    power = np.zeros(size // 2 + 1)
    for first in range(0, len(spoken), _AT_ONCE):
        spectra = np.abs(fft.rfft(frames[spoken[first : first + _AT_ONCE]] * hann(size)))
        power += np.einsum("ij,ij->j", spectra, spectra, dtype=np.float64) / len(spoken)
    frequency = np.arange(power.size) * audio.sample_rate / size
    strongest = float(power[(frequency >= 300) & (frequency <= 3000)].max(initial=0.0))
    if strongest == 0.0:
        return undefined("effective bandwidth", "there is nothing between 300 and 3000 Hz")
    return float(frequency[np.flatnonzero(power >= strongest * 1e-5)[-1]])


def checked(audio: Audio) -> NDArray[np.float32]:
    """Return the samples.

    Raises:
        ValueError: If there are none, or if they are so large that they must be int16 values in
            disguise, of which several metrics make plausible nonsense.
    """
    if not len(audio.samples):
        raise ValueError("no samples, at least one is wanted")
    largest = max(float(audio.samples.max()), -float(audio.samples.min()))
    if largest > 2.0:  # resampling a clipped signal overshoots to some 1.3
        raise ValueError(f"samples reach {largest:.6g}, wanted [-1, 1): divide int16 by 32768")
    return audio.samples


def framed(values: NDArray[T], size: int, hop: int) -> NDArray[T]:
    """View values as frames, shape ``(frames, size)``; what does not fill a frame is left out."""
    if values.size < size:
        return np.empty((0, size), values.dtype)
    return np.lib.stride_tricks.sliding_window_view(values, size)[::hop]


def hann(size: int) -> NDArray[np.float32]:
    """Periodic Hann window."""
    return np.asarray(signal.windows.hann(size, sym=False), dtype=np.float32)


def undefined(metric: str, reason: str) -> float:
    """Warn that a metric has no value here, and return NaN in its place."""
    warnings.warn(f"{metric} is undefined: {reason}", MetricWarning, stacklevel=3)
    return float("nan")


def _decibel(power: float) -> float:
    """Decibels; what lies below 20 bits, such as a resampler's rounding, is silence."""
    return float(10 * np.log10(power)) if power > 1e-12 else float("-inf")
