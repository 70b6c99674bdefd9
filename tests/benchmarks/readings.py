"""What bytes are told to be, of what they are; and how often sound is told to be something else.

With the voices of both halves of the catalogue, all callers that are no voice among them; the half
``measured`` is only measured::

    python -m tests.benchmarks readings    # 30 hours of each; half an hour on two cores
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Literal

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipecat_bandwidth.encodings import PCMU
from tests.benchmarks._jobs import spread
from tests.benchmarks.faults import upper_bound
from tests.ground.noises import callers
from tests.ground.voices import Half, Phrase, catalogue, install
from tests.misread import WRONG, as_samples
from workbench.audio import Audio
from workbench.diagnosis.detectors.readings import misread

RATES = (8000, 16000, 24000)
KINDS = ("voice", "formant", "synthetic", "music")
PHRASES, HOURS, PIECE = 60, 30.0, 0.5


def run(console: Console, hours: float = HOURS) -> None:
    """Print both tables, of each half."""
    install()
    alarms = Table("half", "sound", "hours", "alarms", "an hour", "95 %", box=SIMPLE_HEAD)
    halves: tuple[Half, ...] = ("work", "measured")
    for half in halves:
        told: dict[str, Counter[str]] = defaultdict(Counter)
        counted = spread([(named, name, half) for name in WRONG], console)
        for name, counts in zip(WRONG, counted, strict=True):
            told[name].update(counts or {})
        shown = Table(f"bytes, half {half}", "told", box=SIMPLE_HEAD)
        for name, counts in told.items():
            shown.add_row(name, ", ".join(f"{what} {n}" for what, n in counts.most_common()))
        console.print(shown)
        for few in (False, True):
            jobs = [(accused, half, seed, PIECE, few) for seed in range(round(hours / PIECE))]
            results = [one for one in spread(jobs, console) if one]
            heard = sum(secs for secs, _ in results) / 3600
            lines = [line for _, found in results for line in found]
            bound = f"< {upper_bound(len(lines), heard):.2f}"
            rate = f"{len(lines) / heard:.2f}"
            kind = "of few values" if few else "as it is"
            alarms.add_row(half, kind, f"{heard:.1f}", str(len(lines)), rate, bound)
            for line in lines[:20]:
                console.print(line, markup=False, highlight=False)
    console.print(alarms)


def named(name: str, half: Half) -> Counter[str]:
    """What the bytes of some voices are told to be, of all rates; nothing of fewer than 0.75 s."""
    rng, found = np.random.default_rng(11), Counter[str]()
    phrases = [p for kind in KINDS[:3] for p in catalogue(half, kind) if p.secs > 1.5]
    for index in rng.permutation(len(phrases))[:PHRASES].tolist():
        for rate in RATES:
            audio = as_samples(WRONG[name](phrases[index].audio(rate)), rate)
            if audio.duration < 0.75:
                continue
            longest = max(misread(audio, "PCM"), key=lambda m: m.end - m.start, default=None)
            found[longest.really.name if longest else "nothing"] += 1
    return found


def accused(half: Half, seed: int, hours: float, few: bool) -> tuple[float, list[str]]:
    """Listen to so much sound that is what it is, at all levels and rates, through mu-law and not.

    With ``few`` of few values: of 3 to 7 bits, as loud as can be before.
    """
    rng, secs, lines = np.random.default_rng([half == "work", seed, few]), 0.0, list[str]()
    for name, audio in sounds(half, rng):
        gain = float(rng.uniform(-25, 15))
        samples = audio.samples
        if few:
            gain, step = float(rng.uniform(-25, 0)), 2.0 ** -float(rng.integers(2, 7))
            samples = np.rint(samples / max(np.abs(samples).max(initial=0), 1e-3) / step) * step
        loud = np.clip(samples * np.float32(10 ** (gain / 20)), -1, 32767 / 32768)
        plain = Audio(loud.astype(np.float32), audio.sample_rate)
        coded = Audio.from_pcm(PCMU.decode(PCMU.encode(plain.pcm())), audio.sample_rate)
        ways: tuple[tuple[Audio, Literal["PCM", "PCMU"]], ...] = (
            (plain, "PCM"), (coded, "PCM"), (coded, "PCMU"),
        )  # fmt: skip
        for sound, declared in ways:
            secs += sound.duration
            lines += [
                f"{name} at {audio.sample_rate} Hz, {gain:+.0f} dB, {declared}: {m.end - m.start:.1f} s "
                f"{m.really.name} ({m.bits:.1f} bits)"
                for m in misread(sound, declared)
            ]
        if secs > hours * 3600:
            break
    return secs, lines


def sounds(half: Half, rng: np.random.Generator) -> Iterator[tuple[str, Audio]]:
    """Voices, music, machines and noises without end."""
    machines, several = callers(half), [list[Phrase](catalogue(half, kind)) for kind in KINDS]
    several = [phrases for phrases in several if phrases]
    while True:
        rate = RATES[rng.integers(len(RATES))]
        if rng.random() < 0.4:
            name = sorted(machines)[rng.integers(len(machines))]
            yield name, machines[name](rng, 8.0).resampled(rate)
        else:
            phrases = several[rng.integers(len(several))]
            phrase = phrases[rng.integers(len(phrases))]
            audio = phrase.audio(rate)
            start = float(rng.uniform(0, max(0.0, audio.duration - 20)))
            yield phrase.name, audio.span(start, start + 20)
