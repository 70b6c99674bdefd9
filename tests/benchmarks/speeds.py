"""A voice at a wrong rate: how often it is told, and how often one at its own.

::

    python -m tests.benchmarks speeds              # measured on the half that is only measured
    python -m tests.benchmarks.speeds --fit        # fits to the other: workbench/metrics/speed_fitted.py

Each voice says three stretches of about 14 s, which are declared to have other rates than they have.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from math import log2
from typing import Final

import numpy as np
import soxr
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.benchmarks._jobs import spread
from tests.ground.voices import Half, Phrase, catalogue, install
from workbench.audio import Audio
from workbench.diagnosis.detectors.rates import OFF
from workbench.metrics.speed import figures, speed

#: Rates that are taken for each other, as a factor: 8, 16, 22.05, 24, 44.1 and 48 kHz. Voices are a little
#: faster or slower than others anyway.
SPEEDS: Final = (1 / 3, 1 / 2, 2 / 3, 0.726, 0.92, 1.0, 1.09, 1.378, 1.5, 1.84, 2.0, 3.0)
STRETCHES, SECS, LEAST_SECS = 3, 14.0, 5.0
#: Ridge: so much a square of a weight costs. What is at its own speed counts twice.
RIDGE, OWN = 10.0, 2.0


def run(console: Console, half: Half = "measured") -> None:
    """Print how often each speed is told."""
    install()
    rows = [
        row
        for rows in spread([(_told, *job) for job in _voices(half)], console)
        for row in rows or ()
    ]
    shown = Table(
        "speed",
        "stretches",
        "told",
        "wrongly slow or fast",
        "estimate, middle 80 %",
        box=SIMPLE_HEAD,
    )
    for factor in SPEEDS:
        mine = np.array([log2(one) for at, one in rows if at == factor and np.isfinite(one)])
        if not len(mine):
            continue
        told = np.abs(mine) > log2(OFF.value)
        right = told & (np.sign(mine) == np.sign(log2(factor))) & (factor != 1)
        low, high = 2 ** np.percentile(mine, (10, 90))
        shown.add_row(
            f"{factor:.2f}", str(len(mine)), f"{right.mean():.2f}", f"{(told & ~right).mean():.2f}",
            f"{low:.2f} to {high:.2f}",
        )  # fmt: skip
    console.print(shown)
    console.print(f"half {half}: {len({name for name, _ in _voices(half)})} voices")


def fit(console: Console) -> None:
    """Fit to the half that may be looked at; print the module."""
    install()
    made = list(spread([(_figures, *job) for job in _voices("work")], console))
    rows = [row for rows in made for row in rows or ()]
    speakers = np.array([name for name, _, _ in rows])
    wanted = np.array([log2(factor) for _, factor, _ in rows])
    found = np.array([one for _, _, one in rows])
    mean, deviation = found.mean(axis=0), found.std(axis=0) + 1e-6
    off = ((found - mean) / deviation).clip(-3, 3)
    terms = np.hstack([off, off**2 - 1])
    _, which, count = np.unique(speakers, return_inverse=True, return_counts=True)
    weight = np.where(np.abs(wanted) < 0.15, OWN, 1.0) / np.sqrt(count[which])
    middle = float(np.average(wanted, weights=weight))
    weighted = terms * weight[:, None]
    square = weighted.T @ terms + RIDGE * np.eye(terms.shape[1])
    once, twice = np.linalg.solve(square, weighted.T @ (wanted - middle)).reshape(2, -1)
    print(f"MIDDLE: Final = {middle:.4f}\nFITTED: Final = (")
    for row in zip(mean, deviation, once, twice, strict=True):
        print(f"    ({', '.join(f'{value:.4f}' for value in row)}),")
    print(")")


def _voices(half: Half) -> Iterator[tuple[str, list[Phrase]]]:
    """Each voice with the phrases of one stretch."""
    several: dict[str, list[Phrase]] = {}
    for phrase in catalogue(half):
        if phrase.kind != "music":
            several.setdefault(f"{phrase.speaker}-{phrase.language}", []).append(phrase)
    rng = np.random.default_rng(0)
    for name, phrases in several.items():
        order = rng.permutation(len(phrases))
        for first in range(STRETCHES):
            yield name, [phrases[i] for i in order[first::STRETCHES].tolist()]


def _stretch(phrases: Sequence[Phrase]) -> Audio | None:
    """So many of the phrases, one behind the other, as they were recorded."""
    parts, secs, rate = list[np.ndarray](), 0.0, 0
    for phrase in phrases:
        audio = Audio.read(phrase.path, default_channel=0)
        rate = rate or audio.sample_rate
        if audio.sample_rate == rate and secs < SECS:
            parts.append(audio.samples)
            secs += audio.duration
    return Audio(np.concatenate(parts), rate) if secs > LEAST_SECS else None


def at_speed(audio: Audio, factor: float) -> Audio:
    """Declared to have so many times its rate."""
    samples = soxr.resample(audio.samples, audio.sample_rate * factor, 8000)
    return Audio(np.asarray(samples, np.float32), 8000)


def _told(_name: str, phrases: Sequence[Phrase]) -> list[tuple[float, float]]:
    audio = _stretch(phrases)
    return [(factor, speed(at_speed(audio, factor))) for factor in SPEEDS] if audio else []


def _figures(name: str, phrases: Sequence[Phrase]) -> list[tuple[str, float, np.ndarray]]:
    audio = _stretch(phrases)
    if audio is None:
        return []
    found = [(name, factor, figures(at_speed(audio, factor))) for factor in SPEEDS]
    return [(name, factor, one) for name, factor, one in found if one is not None]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.speeds")
    parser.add_argument("--fit", action="store_true")
    (fit if parser.parse_args().fit else run)(Console(stderr=True))
