from __future__ import annotations

import numpy as np
import pytest

from tests.captures import speech
from workbench.audio import Audio
from workbench.metrics.whitened import find_copy, gain_of

DELAYS = (0.02, 1.0)


def talk(seconds: float = 3.0) -> tuple[Audio, Audio]:
    """The bot, and a caller who talks all the time."""
    bot, caller = speech("bot/b01").resampled(8000), speech("caller/c01").resampled(8000)
    size = round(8000 * seconds)
    return Audio(bot.samples[:size], 8000), Audio(np.resize(caller.samples, size + 8000), 8000)


@pytest.mark.parametrize("loss_db", [10.0, 25.0, 35.0])
@pytest.mark.parametrize("delay", [0.02, 0.123375, 0.9])
def test_a_copy_is_found_under_another_voice(loss_db, delay):
    """By its delay to the sample, by its level within one decibel."""
    bot, caller = talk()
    gain, first = 10 ** (-loss_db / 20), round(8000 * delay)
    line = caller.samples.copy()
    line[first : first + len(bot.samples)] += np.float32(gain) * bot.samples
    around = Audio(line, 8000)
    found = find_copy(bot, around, DELAYS)
    assert found.delay == pytest.approx(delay, abs=1e-6)
    assert found.height > 8
    assert 20 * np.log10(gain_of(bot, around, found.delay)) == pytest.approx(-loss_db, abs=1.0)


def test_another_voice_is_no_copy():
    bot, caller = talk()
    assert find_copy(bot, caller, DELAYS).height < 6


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_no_copy(seed):
    bot, _ = talk()
    rng = np.random.default_rng(seed)
    noise = Audio((0.05 * rng.standard_normal(32000)).astype(np.float32), 8000)
    assert find_copy(bot, noise, DELAYS).height < 6


def test_nothing_comes_back_of_silence_or_in_too_little():
    bot, caller = talk()
    silence = Audio(np.zeros(24000, np.float32), 8000)
    assert find_copy(silence, caller, DELAYS).height == 0
    assert find_copy(bot, silence, DELAYS).height == 0
    assert find_copy(bot, Audio(caller.samples[:800], 8000), DELAYS).height == 0
    assert gain_of(silence, caller, 0.1) == 0


def test_rates_must_agree():
    bot, caller = talk()
    with pytest.raises(ValueError, match="sample rates differ: 8000 and 16000"):
        find_copy(bot, caller.resampled(16000), DELAYS)
