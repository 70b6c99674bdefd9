"""Faults inside the sound, and what only looks like them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis import Finding, diagnose

PHRASES = ("caller/c05", "caller/c01")


def found(scene: Scene, tmp_path, *kinds: str) -> list[Finding]:
    return list(diagnose(Call.open(scene.write(tmp_path / "a.mcap")), kinds or None))


def talk(**settings) -> Scene:
    """Both sides speak twice in thirty seconds."""
    scene = Scene(30.0, **settings)
    for at, name in ((0.8, "bot/b03"), (16.3, "bot/b02")):
        scene.say_bot(at, speech(name))
    for at, name in zip((10.1, 22.5), PHRASES, strict=True):
        scene.say_caller(at, speech(name))
    return scene


# -- holes in words ----------------------------------------------------------------------------


def formant(secs: float = 6.0, rate: int = 8000) -> Audio:
    """Vowels of a synthesiser, parted by closures of digital silence into which they fade."""
    rng, parts = np.random.default_rng(3), []
    while sum(map(len, parts)) < secs * rate:
        count = int(rng.uniform(0.09, 0.16) * rate)
        time = np.arange(count) / rate
        vowel = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20))
        fade = np.minimum(1, (count - np.arange(count)) / (0.02 * rate)) ** 3
        attack = np.minimum(1, np.arange(count) / (0.004 * rate))
        parts += [0.1 * vowel * fade * attack, np.zeros(int(rng.uniform(0.02, 0.08) * rate))]
    return Audio(np.concatenate(parts).astype(np.float32), rate)


def test_closures_of_a_synthesiser_are_no_dropouts(tmp_path):
    scene = Scene(24.0)
    scene.say_bot(1.0, formant())
    scene.say_caller(10.0, formant())
    assert found(scene, tmp_path, "dropout") == []


@pytest.mark.parametrize("gain_db", [0, -26])
@pytest.mark.parametrize("side", ["caller", "bot"])
def test_holes_in_words_are_found_at_any_level(tmp_path, side, gain_db):
    """In the loudest places of one phrase: 40 ms of zeros, of a caller at -49 dBov too."""
    audio = speech("caller/c05", 8000)
    samples = audio.samples * np.float32(10 ** (gain_db / 20))
    power = np.convolve(np.square(samples), np.ones(800), "same")
    places = [int(np.argmax(power[first : first + 8000])) + first for first in (2000, 12000, 22000)]
    for at in places:
        samples[at : at + 320] = 0
    scene = Scene(12.0, noise_dbov=-200)
    (scene.say_caller if side == "caller" else scene.say_bot)(1.0, Audio(samples, 8000))
    findings = found(scene, tmp_path, "dropout")
    assert {finding.side for finding in findings} == {side}
    starts = [part.start for finding in findings for part in finding.parts]
    assert starts == pytest.approx([1.0 + at / 8000 for at in places], abs=0.03)
    assert sum(finding.value for finding in findings) == pytest.approx(120, abs=10)
