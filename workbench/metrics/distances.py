"""How far one signal is from another: what a setting, a codec or a fault does to speech.

Conventions:
    The reference comes first, the degraded signal second. Both are :class:`workbench.audio.Audio`
    of one rate; ``Audio.resampled`` brings them to it. Every metric but :func:`align` and
    :func:`evaluate` takes the pair as it is: sample n of one belongs to sample n of the other, and
    the longer one's end is left out. :func:`validate` says what is refused. What has no value
    (silence, too little speech) is NaN, and a :class:`workbench.exceptions.MetricWarning` says why:
    any number that comes back was measured.

Metrics:
    * :func:`lsd`: distance of the short-time spectra, in a band, dB.
    * :func:`seg_snr`: signal to error, frame by frame, dB.
    * :func:`si_sdr`: signal to error with the level left out, dB.
    * :func:`estoi`: predicted intelligibility, -1 to 1.
    * :func:`heard`: damage in the telephone band and missing bandwidth, per cent of the loudness,
      beyond what the voice masks.
    * The metrics of one signal, from :mod:`workbench.metrics.levels`: :func:`active_level`,
      :func:`loudness`, :func:`peak`, :func:`noise_floor`, :func:`clipped_fraction`,
      :func:`effective_bandwidth`.

    ESTOI and SI-SDR do not see a change of level, so :func:`evaluate` reports it by itself and
    takes it back before LSD and segmental SNR, which would see nothing else.

References:
    .. [1] A. H. Gray, J. D. Markel, "Distance measures for speech processing", IEEE Trans. ASSP
       24(5), 1976: log spectral distance.
    .. [2] J. H. L. Hansen, B. L. Pellom, "An effective quality evaluation protocol for speech
       enhancement algorithms", ICSLP 1998: segmental SNR between -10 and 35 dB.
    .. [3] J. Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019, equation 4.
    .. [4] J. Jensen, C. H. Taal, "An algorithm for predicting the intelligibility of speech
       masked by modulated noise maskers", IEEE/ACM Trans. ASLP 24(11), 2016; code: pystoi.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.exceptions import MetricWarning
from workbench.metrics.alignment import Alignment, align, validate
from workbench.metrics.frames import framed, undefined
from workbench.metrics.hearing import Heard, heard
from workbench.metrics.levels import (
    clipped_fraction,
    loudness,
    noise_floor,
    peak,
)
from workbench.metrics.prepared import (
    TELEPHONE_BAND,
    Prepared,
    band_limited,
    lsd_frame,
    pair,
    prepared,
    within,
)
from workbench.metrics.spectra import effective_bandwidth
from workbench.metrics.speech_level import MARGIN_DB, active_level

__all__ = [
    "TELEPHONE_BAND",
    "WIDE_BAND",
    "Alignment",
    "Heard",
    "MetricWarning",
    "Prepared",
    "active_level",
    "align",
    "band_limited",
    "clipped_fraction",
    "effective_bandwidth",
    "estoi",
    "evaluate",
    "evaluate_aligned",
    "heard",
    "loudness",
    "lsd",
    "noise_floor",
    "peak",
    "seg_snr",
    "si_sdr",
    "validate",
]

#: What a wideband leg carries: 50 to 7000 Hz by ITU-T G.722, and speech has nothing below 100.
WIDE_BAND: Final = (100.0, 7000.0)

#: LSD does not look deeper than this below the reference's strongest long-term bin: deeper, it
#: would compare one rounding noise with another.
DEPTH_DB: Final = 60.0

#: Seconds of active speech below which intelligibility is not predicted.
_LEAST_FOR_ESTOI: Final = 1.0

_TINY: Final = 1e-30  # keeps 0/0 out of bands that are empty


def lsd(
    reference: Audio | Prepared,
    degraded: Audio | Prepared,
    band: tuple[float, float] = TELEPHONE_BAND,
) -> float:
    r"""Log spectral distance [1]_: how differently coloured two signals are, frame by frame.

    .. math:: \frac{1}{T}\sum_t\sqrt{\frac{1}{K}\sum_k\left(10\log_{10}\frac{|R_{tk}|^2}{|D_{tk}|^2}\right)^2}

    over the frames of 32 ms (Hann, half overlapping) that hold speech, and the bins of the band.
    Powers more than 60 dB below the strongest long-term bin of the reference are raised to that
    level.

    Args:
        reference: The signal as it was.
        degraded: The same, aligned, at the same level.
        band: Lower and upper edge in hertz; above half the rate nothing is compared.

    Returns:
        Decibels, 0 for equal signals; NaN without 0.2 s of speech in the reference.
    """
    r, d, active = pair(reference, degraded, "LSD")
    if not active:
        return np.nan
    low, high = within(band, r.audio.sample_rate)
    size = lsd_frame(r.audio.sample_rate)
    frequency = np.arange(size // 2 + 1) * r.audio.sample_rate / size
    bins = slice(*np.searchsorted(frequency, [low, high + 1e-9]))

    loud = r.power[r.loud]
    floor = loud.mean(axis=0).max() * 10 ** (-DEPTH_DB / 10)
    ratio = np.maximum(loud[:, bins], floor)
    ratio /= np.maximum(d.power[r.loud, bins], floor)
    np.log10(ratio, out=ratio)
    return float(np.mean(10 * np.sqrt(np.mean(ratio**2, axis=1, dtype=np.float64))))


def seg_snr(reference: Audio | Prepared, degraded: Audio | Prepared) -> float:
    r"""Segmental SNR [2]_: mean over frames of speech of :math:`10\log_{10}\sum r^2/\sum(r-d)^2`.

    Args:
        reference: The signal as it was.
        degraded: The same, aligned, at the same level.

    Returns:
        Decibels; frames of 20 ms, each between -10 and 35; NaN without 0.2 s of speech.
    """
    r, d, active = pair(reference, degraded, "segmental SNR")
    if not active:
        return np.nan
    size = round(0.02 * r.audio.sample_rate)
    signal_frames = framed(r.audio.samples, size, size)
    error_frames = framed(r.audio.samples - d.audio.samples, size, size)
    signal_power, error_power = (
        np.einsum("ij,ij->i", frames, frames, dtype=np.float64)
        for frames in (signal_frames, error_frames)
    )
    loud = signal_power >= size * 10 ** ((r.level - MARGIN_DB) / 10)
    snr = 10 * np.log10(signal_power[loud] / np.maximum(error_power[loud], 1e-20))
    return float(np.mean(np.clip(snr, -10, 35)))


def si_sdr(reference: Audio | Prepared, degraded: Audio | Prepared) -> float:
    r"""Scale-invariant signal to distortion ratio [3]_.

    .. math:: 10\log_{10}\frac{\|\alpha r\|^2}{\|\alpha r-d\|^2},\quad\alpha=\frac{d\cdot r}{r\cdot r}

    Args:
        reference: The signal as it was.
        degraded: The same, aligned; its level and its polarity do not matter.

    Returns:
        Decibels; ``inf`` for equal signals, ``-inf`` for unrelated ones; NaN when either is
        silent, or without 0.2 s of speech in the reference.
    """
    one, other, active = pair(reference, degraded, "SI-SDR")
    if not active:
        return np.nan
    r, d = (prepared.audio.samples.astype(np.float64) for prepared in (one, other))
    target = _product(d, r) / _product(r, r) * r
    error = float(np.sum((target - d) ** 2))
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.sum(target**2) / error)) if error > 0 else float("inf")


def estoi(reference: Audio | Prepared, degraded: Audio | Prepared) -> float:
    """Extended short-time objective intelligibility [4]_.

    The same number as ``pystoi.stoi(..., extended=True)``, whose resampler and bands these are. The
    rest is written afresh: what depends on the reference alone is computed once, and the last stage
    does without matrices of zeros and random numbers, in memory that does not grow with the length
    of the call.

    Args:
        reference: The signal as it was.
        degraded: The same, aligned; its level does not matter.

    Returns:
        About 0 (nothing understood) to 1; NaN without 1 s of speech.
    """
    r, d, active = pair(reference, degraded, "ESTOI", least=_LEAST_FOR_ESTOI)
    if not active:
        return np.nan
    from workbench.metrics.intelligibility import SEGMENT_FRAMES, third_octaves

    voiced, reference_bands = r.voiced_bands
    if reference_bands.shape[1] < SEGMENT_FRAMES:
        return undefined("ESTOI", "there is too little speech")
    segments = [
        np.lib.stride_tricks.sliding_window_view(bands, SEGMENT_FRAMES, axis=1).transpose(1, 0, 2)
        for bands in (reference_bands, third_octaves(d.stoi_frames[voiced]))
    ]
    total, count = 0.0, len(segments[0])
    for start in range(0, count, 32):
        one, other = (_row_and_column_normalised(s[start : start + 32]) for s in segments)
        total += _product(one.ravel(), other.ravel())
    return float(total / count / SEGMENT_FRAMES)


def _product(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Inner product, on this thread: BLAS would wake one for each core, only to wait for memory."""
    return float(np.einsum("i,i->", x, y))


def _row_and_column_normalised(segments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take mean and norm out over time, then over bands; shape ``(segments, bands, frames)``."""
    z: NDArray[np.float64] = segments - segments.mean(axis=2, keepdims=True)
    z /= np.sqrt(np.einsum("sbt,sbt->sb", z, z) + _TINY)[:, :, None]
    z -= z.mean(axis=1, keepdims=True)
    z /= np.sqrt(np.einsum("sbt,sbt->st", z, z) + _TINY)[:, None, :]
    return z


def evaluate(reference: Audio, degraded: Audio) -> dict[str, float]:
    """Measure everything, in an order that keeps each number to its own subject.

    The pair is aligned; the change of level is measured and taken back. Level change and errors are
    those of the telephone band, which every setting and every leg carries: a missing upper band
    shows in ``bandwidth_hz`` and ``lsd_wide_db``, and not a second time here.

    Args:
        reference: The signal as it was.
        degraded: The signal as it arrived, at the same rate.

    Returns:
        ``delay_ms``, ``active_level_dbov``, ``loudness_lufs``, ``level_change_db``, ``peak_dbov``,
        ``noise_floor_dbov``, ``clipped_percent``, ``bandwidth_hz`` (all of the degraded signal),
        ``damage_percent``, ``missing_percent``, ``lsd_db`` (telephone band), ``lsd_wide_db`` (to 7000 Hz; NaN below 14 kHz), ``seg_snr_db``,
        ``si_sdr_db``, ``estoi``. NaN with a :class:`workbench.exceptions.MetricWarning` where there
        is no value.

    Raises:
        ValueError: As :func:`validate`.
    """
    delay_ms, reference, degraded = align(reference, degraded)
    return {"delay_ms": delay_ms, **evaluate_aligned(reference, degraded)}


def evaluate_aligned(
    reference: Audio | Prepared, degraded: Audio, names: Collection[str] | None = None
) -> dict[str, float]:
    """Measure what :func:`evaluate` does, except the delay, on a pair that is already aligned.

    Args:
        reference: The signal as it was; prepared, if many are compared with it.
        degraded: The signal as it arrived.
        names: Which of the metrics; all by default.

    Raises:
        ValueError: As :func:`validate`, or for an unknown name.
    """
    r, d = prepared(reference, degraded)
    change = cache(lambda: d.narrow.level - r.narrow.level)
    gain = cache(lambda: np.float32(10 ** (-change() / 20) if np.isfinite(change()) else 1.0))
    matched, narrow = cache(lambda: d.times(gain())), cache(lambda: d.narrow.times(gain()))
    is_wide = r.audio.sample_rate >= 2 * WIDE_BAND[1]
    ear = cache(lambda: heard(r, d))
    metrics: dict[str, Callable[[], float]] = {
        "active_level_dbov": lambda: d.level,
        "loudness_lufs": lambda: loudness(degraded),
        "level_change_db": change,
        "peak_dbov": lambda: peak(degraded),
        "noise_floor_dbov": lambda: noise_floor(degraded),
        "clipped_percent": lambda: 100 * clipped_fraction(degraded),
        "bandwidth_hz": lambda: effective_bandwidth(degraded),
        "damage_percent": lambda: ear().damage_percent,
        "missing_percent": lambda: ear().missing_percent,
        "lsd_db": lambda: lsd(r, matched()),
        "lsd_wide_db": lambda: lsd(r, matched(), WIDE_BAND) if is_wide else np.nan,
        "seg_snr_db": lambda: seg_snr(r.narrow, narrow()),
        "si_sdr_db": lambda: si_sdr(r.narrow, narrow()),
        "estoi": lambda: estoi(r, d),
    }
    unknown = set(names or ()) - metrics.keys()
    if unknown:
        raise ValueError(f"no metric {sorted(unknown)}, there are: {', '.join(metrics)}")
    return {name: metrics[name]() for name in (metrics if names is None else names)}
