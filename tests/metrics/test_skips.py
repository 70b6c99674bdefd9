"""Where a voice does not go on: in samples, by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import speech
from workbench.metrics.skips import dips, fresh, jumps, repeats, together

RATE = 8000


def said() -> np.ndarray:
    return speech("bot/b02", RATE).span(0.0, 8.0).samples


@pytest.mark.parametrize("size", [320, 800])
def test_a_piece_that_is_put_twice_is_found_to_the_sample(size):
    samples = said()
    at = int(np.argmax(np.convolve(np.square(samples), np.ones(size), "valid")))
    twice = np.concatenate((samples[: at + size], samples[at:]))
    (again,) = repeats(twice, RATE)
    assert again.lag == size
    assert again.first == pytest.approx(at + size, abs=2)
    assert again.times == 1
    assert list(repeats(samples, RATE)) == []


def test_places_at_multiples_of_one_length_are_no_chance():
    rng = np.random.default_rng(1)
    stray = np.sort(rng.uniform(0, 8 * RATE, 40))
    placed = np.sort(np.append(stray, np.arange(1, 15) * 0.4 * RATE))
    assert together(stray, RATE)[0] < 2
    sure, which, length = together(placed, RATE)
    assert sure > 8
    assert len(which) >= 14
    assert (0.4 / length) == pytest.approx(round(0.4 / length))


def test_the_wave_jumps_where_its_sign_changes():
    """In the loudest place of each 0.4 s; some are so faint that nothing is told of them."""
    whole = said()
    power = np.convolve(np.square(whole), np.ones(160), "same")
    places = [
        int(np.argmax(power[at : at + 3200])) + at for at in range(400, len(whole) - 3200, 3200)
    ]
    signs = np.ones(len(whole), np.float32)
    for at in places:
        signs[at:] *= -1
    after, before = (jumps(samples, RATE)[0] for samples in (whole * signs, whole))
    seen, by_chance = (
        np.abs(found[:, None] - places).min(axis=0) <= 3 for found in (after, before)
    )
    assert seen.mean() > 0.6
    assert by_chance.mean() < 0.1


def test_waves_that_came_before_are_told_in_any_block_of_rows():
    waves = np.random.default_rng(2).normal(size=(1200, 64)).astype(np.float32)
    waves[[700, 1199]] = waves[[3, 650]]
    found = fresh(waves)
    assert np.flatnonzero(~found).tolist() == [700, 1199]
    assert fresh(waves[:0]).tolist() == []


@pytest.mark.parametrize(
    ("rate", "secs"),
    [(8000, 0.13), (11025, 0.13), (22050, 0.13), (44100, 0.13), (24000, 3328 / 24000)],
)
def test_faint_places_are_found_where_no_millisecond_is_whole(rate, secs):
    noise = 0.1 * np.random.default_rng(4).normal(size=10 * rate).astype(np.float32)
    places = np.rint(np.arange(1, round(9.5 / secs)) * secs * rate).astype(int)
    for at in places.tolist():
        noise[at - rate // 400 : at + rate // 400] *= 0.01
    size, at, length = dips(noise, rate)
    assert size > 16
    assert length == pytest.approx(secs)
    np.testing.assert_allclose(at[: len(places)] / rate, places / rate, atol=0.003)


def closing(seed: int, rate: int = 8000) -> np.ndarray:
    """Sound that is closed for a tenth of a second at most, again and again, at no length in particular."""
    rng = np.random.default_rng(seed)
    voice = 0.1 * rng.standard_normal(3 * rate)
    at = 0
    while at < len(voice) - 200:
        size = int(rng.uniform(40, 130))
        voice[at : at + size] = 0
        at += size + int(rng.uniform(160, 320))
    return voice.astype(np.float32)


def test_closures_of_a_synthesiser_lie_at_one_length_by_chance_only():
    """Of so many lengths and phases one always has deep ones: of 60 voices four had 16 dB."""
    assert max(dips(closing(seed), 8000)[0] for seed in range(60)) < 14
