"""How strong one signal is, how clean its edges are, and how far up it reaches.

Conventions:
    A signal is an :class:`workbench.audio.Audio`: one-dimensional float samples, 1.0 being int16
    full scale; it refuses int16, several channels and NaN by itself. Levels are in dBov (RFC 6464):
    0 dBov is the RMS of a full-scale square wave, so a full-scale sine has -3.01 dBov; digital
    silence has ``-inf``. What cannot be measured is NaN, and a
    :class:`workbench.exceptions.MetricWarning` says why. No samples at all, or samples of int16
    size, are a :class:`ValueError`.

Metrics:
    * :func:`workbench.metrics.speech_level.active_level`: level of the speech, pauses left out
      (ITU-T P.56).
    * :func:`loudness`: integrated loudness, LUFS (ITU-R BS.1770).
    * :func:`noise_floor`: level of the pauses.
    * :func:`peak`: the largest sample.
    * :func:`clipped_fraction`: share of samples that stand flat against the rail.
    * :func:`workbench.metrics.spectra.effective_bandwidth`: the frequency up to which there is
      anything to hear.

References:
    .. [1] ITU-T P.56 (2011), Objective measurement of active speech level, method B.
    .. [2] RFC 6464, section 3, and RFC 6465: audio level in dBov.
    .. [3] ITU-R BS.1770-4 (2015), annex 1: loudness of programmes. EBU Tech 3341 (2016) has the
       signals to test a meter with.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.metrics.frames import checked, framed, undefined
from workbench.metrics.speech_level import speech_activity

__all__ = ["clipped_fraction", "loudest_span", "loudness", "noise_floor", "peak"]


#: Samples within this of a signal's own extreme stand at it: one and a half steps of int16.
_RAIL: Final = 1.5 / 32768


#: Hops or frames processed together, so that an hour takes no more memory than a minute.
_AT_ONCE: Final = 128
_SAMPLES: Final = 1 << 18


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

    Where :func:`workbench.metrics.speech_level.active_level` is what telephony levels speech by,
    this is what broadcasting does:
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
    from scipy import signal  # a second that only this needs

    taps = _k_weighting(rate)
    around, sums = len(taps) // 2, []
    for first in range(0, x.size // step * step, _AT_ONCE * step):
        last = min(first + _AT_ONCE * step, x.size)
        begin = max(0, first - around)
        weighted = signal.oaconvolve(x[begin : last + around], taps, mode="same")[first - begin :]
        steps = weighted[: (last - first) // step * step].reshape(-1, step)
        sums.append(np.einsum("ij,ij->i", steps, steps, dtype=np.float64))
        mapped.let_go(x[begin:last])
    power = framed(np.concatenate(sums), size, 1).mean(axis=1)
    power /= step
    gate = 10 ** ((_ABSOLUTE_GATE - _OFFSET) / 10)
    if not (power > gate).any():
        return -np.inf
    gate = max(gate, float(power[power > gate].mean()) * 10 ** (-_RELATIVE_GATE / 10))
    return _OFFSET + _decibel(float(power[power > gate].mean()))


@cache
def _k_weighting(rate: int) -> NDArray[np.float32]:
    """Both filters as one, of linear phase: it does not matter where in a block a sound is.

    After the 0.1 s on either side the high-pass of 38 Hz has decayed to a millionth.
    """
    n = round(0.2 * rate)
    delay = np.exp(-2j * np.pi * np.minimum(np.fft.rfftfreq(n, 1 / rate), 24000) / 48000)
    response = np.prod(
        [np.polyval(s[2::-1], delay) / np.polyval(s[:2:-1], delay) for s in _K_WEIGHTING], axis=0
    )
    taps = np.roll(np.fft.irfft(np.abs(response), n), n // 2)
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
    parts = (part for _, part in mapped.blocks(checked(audio), _SAMPLES))
    return _decibel(max(float(np.max(np.abs(part))) for part in parts) ** 2)


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
    """Find the interval with the most energy: the excerpt to look at and to listen to.

    Args:
        audio: The signal.
        secs: Length wanted.

    Returns:
        Start and end in seconds, in steps of 0.1 s; the whole signal if it is shorter.
    """
    hop = max(1, audio.sample_rate // 10)
    hops = audio.samples[: len(audio.samples) // hop * hop].reshape(-1, hop)
    parts = [np.square(some).sum(axis=1) for _, some in mapped.blocks(hops, _AT_ONCE)]
    energy = np.concatenate([np.empty(0, np.float32), *parts])
    blocks = max(1, round(secs * 10))
    if len(energy) <= blocks:
        return 0.0, audio.duration
    start = float(np.convolve(energy, np.ones(blocks), "valid").argmax()) / 10
    return start, start + secs


def _decibel(power: float) -> float:
    """Decibels; what lies below 20 bits, such as a resampler's rounding, is silence."""
    return float(10 * np.log10(power)) if power > 1e-12 else float("-inf")
