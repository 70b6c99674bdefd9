"""A voice at a wrong rate: how often it is told, and how often one at its own, whole or in pieces.

::

    python -m tests.benchmarks speeds              # measured on the half that is only measured
    python -m tests.benchmarks.speeds --half work  # on the other
    python -m tests.benchmarks.speeds --fit        # fits to the other: workbench/metrics/speed_fitted.py

Each voice says two stretches of about 14 s, which are declared to have other rates than they have. It is
fitted to formant voices of any pitch and pace as well: who is high and quick is not played too fast.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.benchmarks._jobs import spread
from tests.ground.voices import SENTENCES, Half, Phrase, catalogue, install, synthesised
from workbench.audio import Audio
from workbench.diagnosis.detectors.rates import wrongly_played
from workbench.metrics.speed import ALL, PACES, TIMBRES, figures, speed, terms

Samples: TypeAlias = NDArray[np.float32]
Rng: TypeAlias = np.random.Generator
Broken: TypeAlias = Callable[[Samples, Rng], Samples]

#: Rates that are taken for each other, as a factor: 8, 16, 22.05, 24, 44.1 and 48 kHz. Voices are a little
#: faster or slower than others anyway.
SPEEDS: Final = (1 / 3, 1 / 2, 2 / 3, 0.726, 0.92, 1.0, 1.09, 1.378, 1.5, 2.0, 3.0)
#: A rate that is declared too low is that of a wide voice: what is left at 8 kHz reaches up nearly to 4.
LEAST_RATE: Final = 7000.0
STRETCHES, SECS, LEAST_SECS = 2, 14.0, 5.0
#: Formant voices of any pitch and pace, by espeak's names.
UNUSUAL: Final = 90
VARIANTS = ("m1", "m2", "m4", "m7", "f1", "f3", "f4", "f2", "croak", "klatt2", "klatt4")
LANGUAGES = ("en", "de", "it", "pl", "sw", "tr", "fi", "nl")
#: Ridge: so much a square of a weight costs, and so much is every figure taken to vary by itself. What is at
#: its own speed counts twice.
RIDGE, WITHIN, OWN = 3.0, 0.05, 2.0


def run(console: Console, half: Half = "measured") -> None:
    """Print how often each speed is told, and how often voices in pieces at their own."""
    install()
    rows = [
        row
        for rows in spread([(_told, *job) for job in _voices(half)], console)
        for row in rows or ()
    ]
    shown = Table("voice", "stretches", "told", "wrongly", "estimate, middle 80 %", box=SIMPLE_HEAD)
    for name in dict.fromkeys(name for name, *_ in rows):
        mine = [row for row in rows if row[0] == name]
        told = [(factor, found) for _, factor, found, _ in mine if found is not None]
        right = sum(factor != 1 and (found > 1) == (factor > 1) for factor, found in told)
        low, high = np.percentile([estimate for *_, estimate in mine], (10, 90))
        shown.add_row(
            name, str(len(mine)), f"{right / len(mine):.2f}",
            f"{(len(told) - right) / len(mine):.3f}", f"{low:.2f} to {high:.2f}",
        )  # fmt: skip
    console.print(shown)
    console.print(f"half {half}: {len({name for name, _ in _voices(half)})} voices")


def fit(console: Console) -> None:
    """Fit to the half that may be looked at; print the module."""
    install()
    jobs = [(_figures, *job) for job in (*_voices("work"), *_unusual())]
    print(fitted([row for rows in spread(jobs, console) for row in rows or ()]))


def fitted(rows: Sequence[tuple[str, float, np.ndarray]]) -> str:
    """The tables, of voice, speed and figures."""
    _, which, count = np.unique(
        [name for name, *_ in rows], return_inverse=True, return_counts=True
    )
    wanted = np.log2([factor for _, factor, _ in rows])
    found = np.array([one for *_, one in rows])
    mean, deviation = found.mean(axis=0), found.std(axis=0) + 1e-6
    off = (found - mean) / deviation
    weight = np.where(np.abs(wanted) < 0.15, OWN, 1.0) / np.sqrt(count[which])
    middle = float(np.average(wanted, weights=weight))
    lines = [
        f"MIDDLE: Final = {middle:.4f}",
        f"SCALE: Final = {_table(zip(mean, deviation, strict=True))}",
    ]
    for name, kind, size in (("WHOLE", ALL, 6), ("TIMBRE", TIMBRES, 6), ("PACE", PACES, 4)):
        sums = _discriminants(off[:, kind].clip(-3, 3), wanted, size)
        weights = _least_squares(terms(off[:, kind], sums), wanted - middle, weight)
        lines.append(f"{name}: Final = (\n{_table(sums)},\n{_row(weights)},\n)")
    return "\n".join(lines)


def _discriminants(off: np.ndarray, wanted: np.ndarray, size: int) -> np.ndarray:
    """The sums of figures that differ most between speeds, against how they do within one."""
    within, between = WITHIN * np.eye(off.shape[1]), np.zeros((off.shape[1],) * 2)
    for one in np.unique(wanted):
        mine = off[wanted == one]
        share = len(mine) / len(off)
        within += share * np.cov(mine.T)
        between += share * np.outer(mine.mean(axis=0), mine.mean(axis=0))
    white = np.linalg.cholesky(np.linalg.inv(within))
    _, axes = np.linalg.eigh(white.T @ between @ white)
    return white @ axes[:, ::-1][:, :size]


def _least_squares(found: np.ndarray, wanted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    weighted = found * weight[:, None]
    square = weighted.T @ found + RIDGE * np.eye(found.shape[1])
    return np.linalg.solve(square, weighted.T @ wanted)


def _row(values: Iterable[float]) -> str:
    return f"({', '.join(f'{value:.4f}' for value in values)})"


def _table(rows: Iterable[Iterable[float]]) -> str:
    return "(\n" + "".join(f"{_row(row)},\n" for row in rows) + ")"


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


def _unusual() -> Iterator[tuple[str, list[Phrase]]]:
    """Formant voices of any pitch, pace and size."""
    for number in range(UNUSUAL):
        rng = np.random.default_rng(100 + number)
        language, variant = str(rng.choice(LANGUAGES)), str(rng.choice(VARIANTS))
        sound = {"-p": int(rng.integers(5, 96)), "-s": int(rng.integers(110, 260))}
        command = ["espeak-ng", "-v", f"{language}+{variant}"]
        command += [part for option, value in sound.items() for part in (option, str(value))]
        name = f"espeak_any_{number}/0"
        text = " . ".join(SENTENCES[language])
        yield name, list(synthesised(name, language, "formant", [*command, "-w"], [text]))


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


# -- a voice in pieces, at its own speed -------------------------------------------------------------


def looped(samples: Samples, rng: Rng) -> Samples:
    """Stuck again and again: a piece of it repeats."""
    parts, at = list[Samples](), 0
    while at < len(samples):
        end, size = at + int(8000 * rng.uniform(0.5, 1.5)), int(8000 * rng.uniform(0.03, 0.25))
        parts += [
            samples[at:end],
            *[samples[end - size : end]] * int(rng.uniform(4000, 20000) / size),
        ]
        at = end
    return np.concatenate(parts)[: round(SECS * 8000)]


def holed(samples: Samples, rng: Rng) -> Samples:
    """Silence put in after every so many milliseconds."""
    on, hole = rng.uniform(0.03, 0.3), rng.uniform(0.02, 0.15)
    parts, at = list[Samples](), 0
    while at < len(samples):
        size = int(8000 * on * rng.uniform(0.5, 1.5))
        nothing = np.zeros(int(8000 * hole * rng.uniform(0.5, 1.5)), np.float32)
        parts += [samples[at : at + size], nothing]
        at += size
    return np.concatenate(parts)


def in_turns(samples: Samples, rng: Rng) -> Samples:
    """Blocks of its first half and of its second in turn, as of two sources."""
    size = int(8000 * rng.choice([0.02, 0.04, 0.06]))
    count = len(samples) // (2 * size)
    return samples[: 2 * count * size].reshape(2, count, size).swapaxes(0, 1).reshape(-1)


def coarse(samples: Samples, rng: Rng) -> Samples:
    """Of two to four bits."""
    steps, peak = 2 ** rng.integers(1, 4), np.abs(samples).max() + 1e-9
    return np.round(samples / peak * steps).astype(np.float32) / np.float32(steps)


def clicking(samples: Samples, rng: Rng) -> Samples:
    """The same 22 loud samples at the start of each block: a header."""
    heard, size = samples.copy(), int(8000 * rng.choice([0.02, 0.04, 0.1]))
    header = (rng.standard_normal(22).clip(-1, 1) * rng.uniform(0.2, 1)).astype(np.float32)
    for at in range(0, len(heard) - 22, size):
        heard[at : at + 22] = header
    return heard


def swapped(samples: Samples, rng: Rng) -> Samples:
    """Some neighbouring blocks the wrong way round."""
    size = int(8000 * rng.uniform(0.02, 0.1))
    order = np.arange(len(samples) // size)
    for at in range(0, len(order) - 1, int(rng.integers(2, 5))):
        order[at : at + 2] = order[at : at + 2][::-1]
    return samples[: len(order) * size].reshape(-1, size)[order].reshape(-1)


def doubled(samples: Samples, rng: Rng) -> Samples:
    """Heard twice, a fraction of a second apart."""
    delay, heard = int(8000 * rng.uniform(0.03, 0.25)), samples.copy()
    heard[delay:] += np.float32(rng.uniform(0.4, 1)) * samples[:-delay]
    return heard


BROKEN: dict[str, Broken] = {
    one.__name__: one for one in (looped, holed, in_turns, coarse, clicking, swapped, doubled)
}


# -- one voice -----------------------------------------------------------------------------------


def _told(_name: str, phrases: Sequence[Phrase]) -> list[tuple[str, float, float | None, float]]:
    """Of each speed and each way to break it: its name, the speed, what is told, what is estimated."""
    audio = _stretch(phrases)
    if audio is None:
        return []
    heard = [(f"{factor:.2f}", factor, at_speed(audio, factor)) for factor in _speeds(audio)]
    own, rng = at_speed(audio, 1.0).samples, np.random.default_rng(len(audio))
    heard += [(name, 1.0, Audio(broken(own, rng), 8000)) for name, broken in BROKEN.items()]
    return [
        (name, factor, wrongly_played(one), found.whole)
        for name, factor, one in heard
        if (found := speed(one))
    ]


def _figures(name: str, phrases: Sequence[Phrase]) -> list[tuple[str, float, np.ndarray]]:
    audio = _stretch(phrases)
    if audio is None:
        return []
    found = [(name, factor, figures(at_speed(audio, factor))) for factor in _speeds(audio)]
    return [(name, factor, one) for name, factor, one in found if one is not None]


def _speeds(audio: Audio) -> Iterator[float]:
    return (factor for factor in SPEEDS if audio.sample_rate * factor >= LEAST_RATE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.speeds")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--half", choices=("measured", "work"), default="measured")
    options = parser.parse_args()
    if options.fit:
        fit(Console(stderr=True))
    else:
        run(Console(stderr=True), options.half)
