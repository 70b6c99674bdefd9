"""A signal prepared for measuring: what several metrics need of it is computed once and kept."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.metrics.alignment import validate
from workbench.metrics.frames import (
    checked,
    framed,
    hann,
    undefined,
)
from workbench.metrics.speech_level import MARGIN_DB, SILENCE_DBOV, active_speech

__all__ = [
    "LEAST",
    "TELEPHONE_BAND",
    "Prepared",
    "band_limited",
    "lsd_frame",
    "pair",
    "prepared",
    "within",
]

#: What every leg carries, in hertz; the upper edge is the telephone channel's 3400 Hz.
TELEPHONE_BAND: Final = (100.0, 3400.0)

#: Seconds of active speech below which a metric says nothing.
LEAST: Final = 0.2


def band_limited(audio: Audio, band: tuple[float, float] = TELEPHONE_BAND) -> Audio:
    """Keep one band, by a linear-phase filter without delay.

    Resamplers differ between the telephone band's edge and half the rate; where that is not the
    question, limit both signals first.

    Args:
        audio: The signal.
        band: Lower and upper edge in hertz, where it is 6 dB down.
    """
    from scipy import signal  # a second that most who import this module need not wait for

    rate = audio.sample_rate
    taps = signal.firwin(2 * (rate // 100) + 1, within(band, rate), pass_zero=False, fs=rate)
    kept = signal.oaconvolve(audio.samples, taps.astype(np.float32), mode="same")
    return Audio(kept[: len(audio.samples)], rate)


def within(band: tuple[float, float], rate: int) -> tuple[float, float]:
    """Cut a band to what a rate can hold, or refuse it with a ``ValueError``."""
    low, high = band
    if not 0 <= low < high:
        raise ValueError(f"band from {low} to {high} Hz, the edges are 0 <= low < high")
    if low >= rate / 2:
        raise ValueError(f"band from {low} Hz, at {rate} Hz there is nothing above {rate / 2} Hz")
    return max(low, 1.0), min(high, 0.49 * rate)


class Prepared:
    """A signal, and what metrics need of it: computed when first asked for, and kept.

    A reference that many signals are compared with is worth preparing once.

    Parameters:
        audio: The signal.

    Raises:
        ValueError: If it has no samples, or samples of int16 size.
    """

    def __init__(self, audio: Audio) -> None:
        """Check the signal."""
        checked(audio)
        self.audio = audio
        self._origin: tuple[Prepared, np.float32] | None = None

    @cached_property
    def _speech(self) -> tuple[float, float]:
        return active_speech(self.audio)

    @property
    def level(self) -> float:
        """Active level, in dBov."""
        return self._speech[0]

    @property
    def speech_secs(self) -> float:
        """How much of it is speech, in seconds."""
        return self._speech[1]

    @cached_property
    def narrow(self) -> Prepared:
        """Its telephone band."""
        return Prepared(band_limited(self.audio))

    @cached_property
    def power(self) -> NDArray[np.float32]:
        """Power spectra of frames of 32 ms, half overlapping; shape ``(frames, bins)``."""
        if self._origin is not None:
            origin, gain = self._origin
            return origin.power * gain**2
        size = lsd_frame(self.audio.sample_rate)
        spectra = np.fft.rfft(framed(self.audio.samples, size, size // 2) * hann(size))
        return np.asarray(spectra.real**2 + spectra.imag**2, dtype=np.float32)

    @cached_property
    def loudness(self) -> NDArray[np.float32]:
        """Specific loudness of its loud frames, as it is listened to; shape ``(frames, bands)``."""
        from workbench.metrics.hearing import loudness

        return loudness(self.power[self.loud], self.level, self.audio.sample_rate)

    @cached_property
    def stoi_frames(self) -> NDArray[np.float64]:
        """ESTOI's windowed frames of 25.6 ms, half overlapping; shape ``(frames, 256)``."""
        from workbench.metrics.intelligibility import stoi_frames

        return stoi_frames(self.audio)

    @cached_property
    def voiced_bands(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Which of these frames are within 40 dB of the loudest, and the bands of just these."""
        from workbench.metrics.intelligibility import third_octaves, voiced

        loud = voiced(self.stoi_frames)
        return loud, third_octaves(self.stoi_frames[loud])

    @cached_property
    def loud(self) -> NDArray[np.bool_]:
        """Which of these frames are no more than P.56's margin below the active level."""
        size = lsd_frame(self.audio.sample_rate)
        frames = framed(self.audio.samples, size, size // 2)
        power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / size
        return np.asarray(power >= 10 ** ((self.level - MARGIN_DB) / 10), dtype=np.bool_)

    def times(self, gain: np.float32) -> Prepared:
        """The same, louder or fainter; what is known of it is not computed a second time."""
        scaled = Prepared(Audio(self.audio.samples * gain, self.audio.sample_rate))
        if gain > 0:
            change = 20 * float(np.log10(gain))
            scaled.__dict__["_speech"] = self.level + change, self.speech_secs
        scaled._origin = self, gain
        return scaled


def lsd_frame(rate: int) -> int:
    """Samples in the 32 ms that spectra are taken of."""
    return round(0.032 * rate)


def prepared(reference: Audio | Prepared, degraded: Audio | Prepared) -> tuple[Prepared, Prepared]:
    """Each as it is if it is prepared, and refused as :func:`validate` does."""
    one, other = (x.audio if isinstance(x, Prepared) else x for x in (reference, degraded))
    both = isinstance(reference, Prepared) and isinstance(degraded, Prepared)
    if not both or one.sample_rate != other.sample_rate:
        validate(one, other)
    return (
        reference if isinstance(reference, Prepared) else Prepared(one),
        degraded if isinstance(degraded, Prepared) else Prepared(other),
    )


def pair(
    reference: Audio | Prepared, degraded: Audio | Prepared, metric: str, least: float = LEAST
) -> tuple[Prepared, Prepared, bool]:
    """Both signals at one length, and whether each holds enough to be compared."""
    r, d = prepared(reference, degraded)
    n = min(len(r.audio), len(d.audio))
    r, d = (p if len(p.audio) == n else _cut(p.audio, n) for p in (r, d))
    if r.speech_secs < least:
        undefined(
            metric, f"the reference holds {r.speech_secs:.2f} s of speech, wanted {least:g} s"
        )
        return r, d, False
    if d.level < SILENCE_DBOV:
        undefined(metric, "the degraded signal is silent")
        return r, d, False
    return r, d, True


def _cut(audio: Audio, n: int) -> Prepared:
    return Prepared(Audio(audio.samples[:n], audio.sample_rate))
