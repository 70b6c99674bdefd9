"""How far one signal is from another: numbers for what a setting, a codec or a fault does to speech.

Conventions:
    The reference comes first, the degraded signal second. Both are
    :class:`~workbench.audio.Audio` of one rate; bring them there with ``Audio.resampled``. Every
    metric but :func:`align` and :func:`evaluate` takes the pair as it is: sample n of one belongs
    to sample n of the other, and the longer one's end is left out. :func:`validate` says what is
    refused. What has no value (silence, too little speech) is NaN, and a
    :class:`~workbench.levels.MetricWarning` says why: a number that comes back is a measurement.

Metrics:
    * :func:`lsd`: distance of the short-time spectra, in a band, dB.
    * :func:`seg_snr`: signal to error, frame by frame, dB.
    * :func:`si_sdr`: signal to error with the level left out, dB.
    * :func:`estoi`: predicted intelligibility, -1 to 1.
    * The metrics of one signal, from :mod:`workbench.levels`: :func:`active_level`, :func:`peak`,
      :func:`noise_floor`, :func:`clipped_fraction`, :func:`effective_bandwidth`.

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
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pystoi import utils
from pystoi.stoi import DYN_RANGE, FS, N_FRAME, NFFT, OBM, N
from scipy import fft, signal

from workbench.alignment import Alignment, align, validate
from workbench.audio import Audio
from workbench.levels import (
    MARGIN_DB,
    SILENCE_DBOV,
    MetricWarning,
    active_level,
    clipped_fraction,
    effective_bandwidth,
    framed,
    hann,
    noise_floor,
    peak,
    speech_activity,
    undefined,
)

__all__ = [
    "TELEPHONE_BAND",
    "WIDE_BAND",
    "Alignment",
    "MetricWarning",
    "active_level",
    "align",
    "band_limited",
    "clipped_fraction",
    "effective_bandwidth",
    "estoi",
    "evaluate",
    "evaluate_aligned",
    "lsd",
    "noise_floor",
    "peak",
    "seg_snr",
    "si_sdr",
    "validate",
]

#: What every leg carries, in hertz; the upper edge is the telephone channel's 3400 Hz.
TELEPHONE_BAND: Final = (100.0, 3400.0)

#: What a wideband leg carries: 50 to 7000 Hz by ITU-T G.722, and speech has nothing below 100.
WIDE_BAND: Final = (100.0, 7000.0)

#: LSD does not look deeper than this below the reference's strongest long-term bin: there it would
#: compare one rounding noise with another.
DEPTH_DB: Final = 60.0

#: Seconds of active speech below which a metric says nothing: spectra and errors; intelligibility.
_LEAST: Final = 0.2
_LEAST_FOR_ESTOI: Final = 1.0

_TINY: Final = 1e-30  # keeps 0/0 out of bands that are empty


def band_limited(audio: Audio, band: tuple[float, float] = TELEPHONE_BAND) -> Audio:
    """Keep one band, by a linear-phase filter without delay.

    Resamplers differ between the telephone band's edge and half the rate; where that is not the
    question, limit both signals first.

    Args:
        audio: The signal.
        band: Lower and upper edge in hertz, where it is 6 dB down.
    """
    rate = audio.sample_rate
    taps = signal.firwin(2 * (rate // 100) + 1, _within(band, rate), pass_zero=False, fs=rate)
    kept = signal.oaconvolve(audio.samples, taps.astype(np.float32), mode="same")
    return Audio(kept[: len(audio.samples)], rate)


def _within(band: tuple[float, float], rate: int) -> tuple[float, float]:
    low, high = band
    if not 0 <= low < high:
        raise ValueError(f"band from {low} to {high} Hz, the edges are 0 <= low < high")
    if low >= rate / 2:
        raise ValueError(f"band from {low} Hz, at {rate} Hz there is nothing above {rate / 2} Hz")
    return max(low, 1.0), min(high, 0.49 * rate)


def lsd(reference: Audio, degraded: Audio, band: tuple[float, float] = TELEPHONE_BAND) -> float:
    r"""Log spectral distance [1]_: how differently coloured two signals are, frame by frame.

    .. math:: \frac{1}{T}\sum_t\sqrt{\frac{1}{K}\sum_k\left(10\log_{10}\frac{|R_{tk}|^2}{|D_{tk}|^2}\right)^2}

    over the frames of 32 ms (Hann, half overlapping) that hold speech, and the bins of the band.
    Powers more than 60 dB below the strongest long-term bin of the reference are raised to there.

    Args:
        reference: The signal as it was.
        degraded: The same, aligned, at the same level.
        band: Lower and upper edge in hertz; above half the rate nothing is compared.

    Returns:
        Decibels, 0 for equal signals; NaN without 0.2 s of speech in the reference.
    """
    x, y, active = _pair(reference, degraded, "LSD")
    if not active:
        return np.nan
    rate = reference.sample_rate
    low, high = _within(band, rate)
    size = round(0.032 * rate)
    hop = size // 2
    frequency = np.arange(size // 2 + 1) * rate / size
    bins = slice(*np.searchsorted(frequency, [low, high + 1e-9]))

    frames = framed(x, size, hop)
    chosen = _loud_frames(frames, active_level(reference))
    r = np.abs(fft.rfft(frames[chosen] * hann(size))) ** 2
    d = np.abs(fft.rfft(framed(y, size, hop)[chosen] * hann(size))) ** 2
    floor = r.mean(axis=0).max() * 10 ** (-DEPTH_DB / 10)
    ratio = np.log10(np.maximum(r[:, bins], floor) / np.maximum(d[:, bins], floor))
    return float(np.mean(10 * np.sqrt(np.mean(ratio**2, axis=1, dtype=np.float64))))


def seg_snr(reference: Audio, degraded: Audio) -> float:
    r"""Segmental SNR [2]_: mean over frames of speech of :math:`10\log_{10}\sum r^2/\sum(r-d)^2`.

    Args:
        reference: The signal as it was.
        degraded: The same, aligned, at the same level.

    Returns:
        Decibels; frames of 20 ms, each between -10 and 35; NaN without 0.2 s of speech.
    """
    x, y, active = _pair(reference, degraded, "segmental SNR")
    if not active:
        return np.nan
    size = round(0.02 * reference.sample_rate)
    frames = framed(x, size, size)
    chosen = _loud_frames(frames, active_level(reference))
    r = frames[chosen].astype(np.float64)
    error = r - framed(y, size, size)[chosen]
    snr = 10 * np.log10(np.sum(r**2, axis=1) / np.maximum(np.sum(error**2, axis=1), 1e-20))
    return float(np.mean(np.clip(snr, -10, 35)))


def si_sdr(reference: Audio, degraded: Audio) -> float:
    r"""Scale-invariant signal to distortion ratio [3]_.

    .. math:: 10\log_{10}\frac{\|\alpha r\|^2}{\|\alpha r-d\|^2},\quad\alpha=\frac{d\cdot r}{r\cdot r}

    Args:
        reference: The signal as it was.
        degraded: The same, aligned; its level and its polarity do not matter.

    Returns:
        Decibels; ``inf`` for equal signals, ``-inf`` for unrelated ones; NaN when either is
        silent.
    """
    x, y, active = _pair(reference, degraded, "SI-SDR")
    if not active:
        return np.nan
    r, d = x.astype(np.float64), y.astype(np.float64)
    target = np.dot(d, r) / np.dot(r, r) * r
    error = float(np.sum((target - d) ** 2))
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.sum(target**2) / error)) if error > 0 else float("inf")


def estoi(reference: Audio, degraded: Audio) -> float:
    """Extended short-time objective intelligibility [4]_.

    The same number as ``pystoi.stoi(..., extended=True)``, whose front end this is; its last
    stage, nine tenths of its time, is written anew: without matrices of zeros, without random
    numbers, and in a memory that does not grow with the length of the call.

    Args:
        reference: The signal as it was.
        degraded: The same, aligned; its level does not matter.

    Returns:
        About 0 (nothing understood) to 1; NaN without 1 s of speech.
    """
    x, y, active = _pair(reference, degraded, "ESTOI", least=_LEAST_FOR_ESTOI)
    if not active:
        return np.nan
    rate = reference.sample_rate
    bands = _third_octaves(x, y, rate)
    if bands[0].shape[1] < N:
        return undefined("ESTOI", "there is too little speech")
    segments = [
        np.lib.stride_tricks.sliding_window_view(band, N, axis=1).transpose(1, 0, 2)
        for band in bands
    ]
    total, count = 0.0, len(segments[0])
    for start in range(0, count, 32):
        r, d = (_row_and_column_normalised(s[start : start + 32]) for s in segments)
        total += float(np.vdot(r, d))
    return float(total / count / N)


def _third_octaves(
    x: NDArray[np.float32], y: NDArray[np.float32], rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Magnitudes in 15 bands of a third octave, silent frames of the reference left out."""
    at_10k = [utils.resample_oct(v.astype(np.float64), FS, rate) for v in (x, y)]
    hop, window = N_FRAME // 2, np.hanning(N_FRAME + 2)[1:-1]
    spoken = utils.remove_silent_frames(*at_10k, DYN_RANGE, N_FRAME, hop)
    r, d = (np.abs(fft.rfft(framed(v[:-1], N_FRAME, hop) * window, NFFT)) ** 2 for v in spoken)
    return np.sqrt(OBM @ r.T), np.sqrt(OBM @ d.T)


def _row_and_column_normalised(segments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take mean and norm out over time, then over bands; shape ``(segments, bands, frames)``."""
    z: NDArray[np.float64] = segments - segments.mean(axis=2, keepdims=True)
    z /= np.sqrt(np.einsum("sbt,sbt->sb", z, z) + _TINY)[:, :, None]
    z -= z.mean(axis=1, keepdims=True)
    z /= np.sqrt(np.einsum("sbt,sbt->st", z, z) + _TINY)[:, None, :]
    return z


def evaluate(reference: Audio, degraded: Audio) -> dict[str, float]:
    """Measure everything, in an order that keeps each number to its own subject.

    The pair is aligned; the change of level is measured and taken back. Level change and errors
    are those of the telephone band, which every setting and every leg carries: a missing upper
    band is seen by ``bandwidth_hz`` and ``lsd_wide_db``, and not a second time here.

    Args:
        reference: The signal as it was.
        degraded: The signal as it arrived, at the same rate.

    Returns:
        ``delay_ms``, ``active_level_dbov``, ``level_change_db``, ``peak_dbov``,
        ``noise_floor_dbov``, ``clipped_pct``, ``bandwidth_hz`` (all of the degraded signal),
        ``lsd_db`` (telephone band), ``lsd_wide_db`` (to 7000 Hz; NaN below 14 kHz),
        ``seg_snr_db``, ``si_sdr_db``, ``estoi``. NaN with a
        :class:`~workbench.levels.MetricWarning` where there is no value.

    Raises:
        ValueError: As :func:`validate`.
    """
    delay_ms, reference, degraded = align(reference, degraded)
    return {"delay_ms": delay_ms, **evaluate_aligned(reference, degraded)}


def evaluate_aligned(
    reference: Audio, degraded: Audio, names: Collection[str] | None = None
) -> dict[str, float]:
    """Measure what :func:`evaluate` does, but for the delay, on a pair that is aligned already.

    Args:
        reference: The signal as it was.
        degraded: The signal as it arrived.
        names: Which of the metrics; all by default.

    Raises:
        ValueError: As :func:`validate`, or for an unknown name.
    """
    validate(reference, degraded)
    narrow, narrow_degraded = band_limited(reference), band_limited(degraded)
    change = active_level(narrow_degraded) - active_level(narrow)
    gain = -change if np.isfinite(change) else 0.0
    matched, narrow_matched = _scaled(degraded, gain), _scaled(narrow_degraded, gain)
    is_wide = reference.sample_rate >= 2 * WIDE_BAND[1]
    metrics: dict[str, Callable[[], float]] = {
        "active_level_dbov": lambda: active_level(degraded),
        "level_change_db": lambda: change,
        "peak_dbov": lambda: peak(degraded),
        "noise_floor_dbov": lambda: noise_floor(degraded),
        "clipped_pct": lambda: 100 * clipped_fraction(degraded),
        "bandwidth_hz": lambda: effective_bandwidth(degraded),
        "lsd_db": lambda: lsd(reference, matched),
        "lsd_wide_db": lambda: lsd(reference, matched, WIDE_BAND) if is_wide else np.nan,
        "seg_snr_db": lambda: seg_snr(narrow, narrow_matched),
        "si_sdr_db": lambda: si_sdr(narrow, narrow_matched),
        "estoi": lambda: estoi(reference.resampled(FS), matched.resampled(FS)),
    }
    unknown = set(names or ()) - metrics.keys()
    if unknown:
        raise ValueError(f"no metric {sorted(unknown)}, there are: {', '.join(metrics)}")
    return {name: metrics[name]() for name in (metrics if names is None else names)}


def _scaled(audio: Audio, gain_db: float) -> Audio:
    return Audio(audio.samples * np.float32(10 ** (gain_db / 20)), audio.sample_rate)


def _pair(
    reference: Audio, degraded: Audio, metric: str, least: float = _LEAST
) -> tuple[NDArray[np.float32], NDArray[np.float32], bool]:
    """Both signals at one length, and whether each holds enough to be compared."""
    validate(reference, degraded)
    n = min(len(reference.samples), len(degraded.samples))
    x, y = reference.samples[:n], degraded.samples[:n]
    speech = np.count_nonzero(speech_activity(Audio(x, reference.sample_rate)))
    if speech < least * reference.sample_rate:
        found = speech / reference.sample_rate
        undefined(metric, f"the reference holds {found:.2f} s of speech, wanted {least:g} s")
        return x, y, False
    if active_level(degraded) < SILENCE_DBOV:
        undefined(metric, "the degraded signal is silent")
        return x, y, False
    return x, y, True


def _loud_frames(frames: NDArray[np.float32], level: float) -> NDArray[np.bool_]:
    """Frames no more than P.56's margin below the active level."""
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / frames.shape[1]
    return np.asarray(power >= 10 ** ((level - MARGIN_DB) / 10), dtype=np.bool_)
