import numpy as np
import pytest

from workbench.audio import Audio
from workbench.metrics.pitch import median_pitch


@pytest.mark.parametrize("rate", [8000, 24000, 44100])
@pytest.mark.parametrize("hertz", [55.0, 100.0, 210.0, 440.0])
def test_the_pitch_of_a_buzz_is_its_rate(hertz: float, rate: int) -> None:
    time = np.arange(3 * rate) / rate
    buzz = sum(np.cos(2 * np.pi * hertz * k * time) / k for k in range(1, int(3400 / hertz)))
    pitch, voiced = median_pitch(Audio((0.05 * buzz).astype(np.float32), rate))
    assert pitch == pytest.approx(hertz, rel=0.03)
    assert voiced > 1


def test_noise_and_silence_have_none() -> None:
    noise = np.random.default_rng(1).standard_normal(24000).astype(np.float32) * 0.1
    for samples in (noise, np.zeros(24000, np.float32), np.zeros(10, np.float32)):
        pitch, voiced = median_pitch(Audio(samples, 8000))
        assert np.isnan(pitch)
        assert voiced == 0
