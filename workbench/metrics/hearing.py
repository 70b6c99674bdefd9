r"""What was done to speech as an ear has it: how much of its loudness is damaged, and how much missing.

Two numbers, as they are two things. *Damage* is in the telephone band: noise of a codec, and what a
codec took away. *Missing bandwidth* is above that band: what the reference has there and the
degraded signal has not, or has otherwise. Either is a share of the reference's loudness, so that a
hoarse voice and a clear one can be compared, and neither depends on the level.

.. math::
    \text{damage} = \frac{\sum_t\sum_{b \le 3400\,\text{Hz}} D_{tb}}{\sum_t\sum_b N_{tb}},
    \qquad
    \text{missing} = \frac{\sum_t\sum_{b > 3400\,\text{Hz}} D_{tb}}{\sum_t\sum_b N_{tb}},
    \qquad
    D_{tb} = \max\bigl(|N'_{tb} - N_{tb}| - \tfrac14\min(N_{tb}, N'_{tb}),\; 0\bigr)

over the frames :math:`t` of 32 ms that hold speech, and bands :math:`b` of half a Bark from 100 to
7000 Hz. Specific loudness :math:`N` is Zwicker's [2]_ of the power in a band, with speech at the 79
dB SPL at which listening tests are held [1]_; what is below the threshold in quiet [4]_ has none. A
change of level, that of the telephone band's power in these frames, is taken back first.

A change of up to a quarter of the loudness that both have is masked, as in PESQ [5]_. So noise that
follows the voice, as that of mu-law does, is damage only where it is as strong as the voice in a band;
the same noise in a gap of the spectrum, or in a fainter frame, counts. Masking does not spread from band
to band: with spreading as in ITU-R BS.1387 what models of listeners say was not met better.

References:
    .. [1] ITU-T P.862, sections 10.1.2 and 10.2.4: level of listening, and loudness.
    .. [2] E. Zwicker, H. Fastl, "Psychoacoustics", 1990: specific loudness.
    .. [3] H. Traunmueller, "Analytical expressions for the tonotopic sensory scale", J. Acoust. Soc.
       Am. 88(1), 1990; the Bark scale here is :math:`6\,\mathrm{asinh}(f/600)` of M. R. Schroeder et
       al., J. Acoust. Soc. Am. 66(6), 1979.
    .. [4] E. Terhardt, "Calculating virtual pitch", Hearing Research 1(2), 1979: threshold in quiet.
    .. [5] ITU-T P.862, section 10.2, calculation of the disturbance density: the mask array.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.metrics.frames import hann, undefined
from workbench.metrics.prepared import TELEPHONE_BAND, Prepared, lsd_frame, pair

__all__ = ["Heard", "heard", "loudness"]

#: From where to where hearing is asked, in hertz: what a wideband leg carries.
_BAND: Final = (100.0, 7000.0)
_WIDTH: Final = 0.5  # Bark

#: At which level speech is listened to, in dB SPL.
_LISTENED: Final = 79.0

#: Of loudness in Zwicker's law.
_EXPONENT: Final = 0.23

#: Share of the loudness that a change has to exceed before it is heard.
_MASKED: Final = np.float32(0.25)


class Heard(NamedTuple):
    """What was done to speech.

    Parameters:
        damage_percent: Of its loudness, in the telephone band, 0 or more; NaN without speech.
        missing_percent: Of its loudness, missing above that band or other than it was, 0 or more;
            NaN without speech.
    """

    damage_percent: float
    missing_percent: float


def heard(reference: Audio | Prepared, degraded: Audio | Prepared) -> Heard:
    """Measure both.

    Args:
        reference: The signal as it was.
        degraded: The same, aligned; its level does not matter.

    Returns:
        Both are 0 for equal signals. Below a rate of 14 kHz, only what the rate holds can miss.
    """
    r, d, active = pair(reference, degraded, "damage")
    if not active:
        return Heard(np.nan, np.nan)
    rate = r.audio.sample_rate
    power = d.power[r.loud]
    change = _in_band(power, rate) / max(_in_band(r.power[r.loud], rate), 1e-30)
    if not change > 0:
        undefined("damage", "the degraded signal has nothing in the telephone band")
        return Heard(np.nan, np.nan)
    was, now = r.loudness, loudness(power, r.level + 10 * float(np.log10(change)), rate)
    masked = np.minimum(was, now)
    masked *= _MASKED
    # In place: of an hour each of these takes 60 MB.
    now -= was
    np.abs(now, out=now)
    now -= masked
    changed = np.maximum(now, 0, out=now).sum(axis=0, dtype=np.float64)
    narrow = int(np.searchsorted(_bands(rate).centre, TELEPHONE_BAND[1], side="right"))
    total = float(was.sum(dtype=np.float64))
    damage, missing = float(changed[:narrow].sum()), float(changed[narrow:].sum())
    return Heard(100 * damage / total, 100 * missing / total)


def _in_band(power: NDArray[np.float32], rate: int) -> float:
    """All power in the telephone band."""
    step = rate / lsd_frame(rate)
    low, high = (round(edge / step) for edge in TELEPHONE_BAND)
    return float(power[:, low : high + 1].sum(dtype=np.float64))


class _Bands(NamedTuple):
    """Bands of half a Bark.

    Parameters:
        edges: First bin of each, and the first beyond the last; shape ``(bands + 1,)``.
        centre: In hertz, shape ``(bands,)``.
        quiet: Power at the threshold in quiet, shape ``(bands,)``.
        scale: From a bin's power to mean square.
    """

    edges: NDArray[np.intp]
    centre: NDArray[np.float64]
    quiet: NDArray[np.float32]
    scale: np.float32


@cache
def _bands(rate: int) -> _Bands:
    size = lsd_frame(rate)
    frequency = np.arange(size // 2 + 1) * rate / size
    low, high = _BAND[0], min(_BAND[1], rate / 2)
    bark = np.arange(_bark(low), _bark(high), _WIDTH)
    edges = np.unique(np.searchsorted(frequency, 600 * np.sinh(bark / 6)))
    centre = np.array([frequency[a:b].mean() for a, b in zip(edges[:-1], edges[1:], strict=True)])
    khz = centre / 1000
    threshold = 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
    scale = np.float32(2 / (size * float((hann(size) ** 2).sum())))
    return _Bands(edges, centre, (10 ** (threshold / 10)).astype(np.float32), scale)


def _bark(frequency: float) -> float:
    return float(6 * np.arcsinh(frequency / 600))


def loudness(power: NDArray[np.float32], level: float, sample_rate: int) -> NDArray[np.float32]:
    """Specific loudness of frames of 32 ms, in no unit.

    Args:
        power: Their power spectra, shape ``(frames, bins)``.
        level: Active level of the speech that they are of, in dBov: it is listened to at 79 dB SPL.
        sample_rate: In hertz.

    Returns:
        Of bands of half a Bark, shape ``(frames, bands)``.
    """
    bands = _bands(sample_rate)
    gain = np.float32(10 ** ((_LISTENED - level) / 10))
    excitation = np.add.reduceat(power[:, : bands.edges[-1]], bands.edges[:-1], axis=1)
    excitation *= gain * bands.scale / (2 * bands.quiet)
    excitation += np.float32(0.5)
    np.maximum(excitation, 1, out=excitation)
    np.power(excitation, np.float32(_EXPONENT), out=excitation)
    excitation -= 1
    excitation *= (2 * bands.quiet) ** np.float32(_EXPONENT)
    return np.asarray(excitation, dtype=np.float32)
