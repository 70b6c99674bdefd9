"""Spectra beside SciPy's, which are slower to import than to run."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft, signal

from workbench.audio import Audio
from workbench.metrics.frames import fast_length, hann
from workbench.metrics.levels import _K_WEIGHTING, _k_weighting
from workbench.metrics.spectra import long_term_spectrum


def test_fast_lengths_are_scipys() -> None:
    lengths = [*range(1, 2000), 65537, 1_000_003, 28_800_001]
    assert [fast_length(n) for n in lengths] == [fft.next_fast_len(n, real=True) for n in lengths]


@pytest.mark.parametrize("size", [2, 160, 255, 768])
def test_the_window_is_periodic(size: int) -> None:
    np.testing.assert_allclose(hann(size), signal.get_window("hann", size), atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000])
@pytest.mark.parametrize("count", [100, 24000, 24001])
def test_a_long_term_spectrum_is_welchs(rate: int, count: int) -> None:
    audio = Audio(np.random.default_rng(5).normal(0, 0.1, count), rate)
    size = round(rate / 31.25)
    padded = np.pad(audio.samples, (0, max(0, size - count))).astype(np.float64)
    frequency, power = signal.welch(padded, rate, nperseg=size, scaling="spectrum", detrend=False)
    spectrum = long_term_spectrum(audio)
    np.testing.assert_allclose(spectrum.frequency, frequency, rtol=1e-12)
    np.testing.assert_allclose(spectrum.level, 10 * np.log10(power), atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
def test_the_k_weighting_responds_as_printed(rate: int) -> None:
    taps = _k_weighting(rate)
    frequency = np.linspace(100, 0.45 * rate, 50)
    _, got = signal.freqz(taps, worN=frequency, fs=rate)
    _, wanted = signal.sosfreqz(_K_WEIGHTING, frequency, fs=48000)
    np.testing.assert_allclose(np.abs(got), np.abs(wanted), rtol=1e-3)
