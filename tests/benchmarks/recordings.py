"""Recordings as carriers and programs make them: which leg is told of each, and is it right?

Voices of tests/ground/voices.py, legs and what recorders do to them by sox and ffmpeg, drawn at random.
``python -m tests.benchmarks recordings`` measures on voices that nothing was fitted on; thresholds were
set on the others (``HALF=work``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from tests.ground.voices import Half, speakers
from workbench.audio import Audio
from workbench.tuning import carrier_recording, legs

RATE = 16000
SECS = 10.0


class Case(NamedTuple):
    """One recording: how it is made."""

    number: int
    half: Half
    wide: bool
    leg: str
    noise: str
    done: str
    file: str


#: ffmpeg's or sox's way through each codec, from {a}.wav to {b}.wav at the codec's rate.
_FF = "ffmpeg -v error -y"
LEGS: dict[str, tuple[str, ...]] = {
    "G.711": (f"{_FF} -i {{a}}.wav -ar 8000 -c:a pcm_mulaw {{b}}.1.wav", f"{_FF} -i {{b}}.1.wav -c:a pcm_s16le {{b}}.wav"),
    "G.711 A-law": ("sox {a}.wav -r 8000 -e a-law {b}.1.wav", "sox {b}.1.wav -b 16 -e signed {b}.wav"),
    "G.722": (f"{_FF} -i {{a}}.wav -ar 16000 -c:a g722 -f g722 {{b}}.g722", f"{_FF} -f g722 -i {{b}}.g722 {{b}}.wav"),
    "GSM": ("sox {a}.wav -r 8000 {b}.gsm", "sox {b}.gsm -b 16 -e signed {b}.wav"),
    "AMR-NB": (),
    "AMR-WB": (),
    "Opus": (f"{_FF} -i {{a}}.wav -c:a libopus -application voip -b:a 24k {{b}}.opus", f"{_FF} -i {{b}}.opus -ar 16000 {{b}}.wav"),
}  # fmt: skip
#: What goes on beside the voice: a line, both sides in one, other voices.
NOISES = ("", "", "line -70", "line -60", "line -50", "mix", "echo")
#: What the recorder does.
DONE = ("", "", "offset", "drift", "agc", "lost", "quiet", "limiter")
#: What it keeps.
FILES = ("8k", "8k", "8k", "same", "same", "same", "16k", "16k", "8bit", "ulaw", "gsm", "mp3 16", "mp3 32", "mp3 64", "opus", "mp3 to wav", "opus to wav")  # fmt: skip
WIDE_LEGS = ("G.722", "AMR-WB", "Opus")


def cases(half: Half, count: int) -> Iterator[Case]:
    """Draw recordings; half of those that are ordinary have a G.711 leg."""
    rng = np.random.default_rng({"work": 1, "measured": 2}[half])
    for number in range(count):
        leg = "G.711" if rng.random() < 0.4 else str(rng.choice(list(LEGS)))
        noise, done, file = (str(rng.choice(kinds)) for kinds in (NOISES, DONE, FILES))
        yield Case(number, half, bool(rng.random() < 0.5), leg, noise, done, file)


def voice(half: Half, rng: np.random.Generator, secs: float, wide: bool) -> Audio:
    """Phrases of one speaker with pauses between them."""
    people = speakers(half, "voice", 3)
    if wide and half == "work":  # what is packaged for telephones ends at 4 kHz
        people = {name: phrases for name, phrases in people.items() if name.startswith("Fish")}
    among = people if rng.random() < 0.7 else speakers(half, "formant", 4)
    phrases = among[sorted(among)[rng.integers(len(among))]]
    parts, length = [np.zeros(RATE // 2, np.float32)], 0.5
    while length < secs:
        samples = phrases[rng.integers(len(phrases))].audio(RATE).samples
        pause = np.zeros(round(RATE * rng.uniform(0.4, 1.2)), np.float32)
        parts += [samples, pause]
        length += (len(samples) + len(pause)) / RATE
    return Audio(np.concatenate(parts), RATE)


def shell(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True, capture_output=True, timeout=60)


def write(audio: Audio, path: Path) -> None:
    audio.write(path)


def recorded(case: Case, folder: Path) -> tuple[Audio, Path]:
    """What was sent, and the file."""
    rng = np.random.default_rng([case.number, case.half == "work"])
    sent = voice(case.half, rng, SECS, case.wide)
    other = voice(case.half, rng, SECS, case.wide)
    if not case.wide:
        sent = sent.resampled(8000)
    write(sent, folder / "sent.wav")
    here = {"a": folder / "sent", "b": folder / "leg"}
    if case.leg.startswith("AMR"):  # by its libraries: sox and ffmpeg seldom have both coders
        legs.LEGS[case.leg].apply(sent).write(folder / "leg.wav")
    shell(*(command.format(**here) for command in LEGS[case.leg]))
    heard = beside(case, Audio.read(folder / "leg.wav"), other, rng)
    write(Audio(treated(case, heard, rng), heard.sample_rate), folder / "before.wav")
    now = folder / "before.wav"
    effects = {
        "offset": f"pad {rng.uniform(0, 3):.3f}",
        "drift": f"speed {1 + rng.choice([-1, 1]) * rng.uniform(2e-5, 2e-4):.7f}",
        "agc": "compand 0.1,0.3 -60,-60,-35,-18,-20,-16,0,-12",
        "limiter": "compand 0.005,0.1 -40,-40,-25,-25,0,-15 6",
        "quiet": "vol -40dB",
    }
    if case.done in effects:
        shell(f"sox -D {now} {folder}/done.wav {effects[case.done]} rate -v {heard.sample_rate}")
        now = folder / "done.wav"
    return sent, stored(case, now, folder)


def beside(case: Case, heard: Audio, other: Audio, rng: np.random.Generator) -> Audio:
    """What is on the line beside the voice."""
    samples = heard.samples.copy()
    if case.noise.startswith("line"):
        level = 10 ** (float(case.noise.split()[1]) / 20)
        samples += (level * rng.standard_normal(len(samples))).astype(np.float32)
    elif case.noise == "mix":
        caller = other.resampled(heard.sample_rate).samples
        n = min(len(caller), len(samples))
        late = round(0.4 * n)
        samples[late:n] += caller[: n - late]
    elif case.noise == "echo":
        late = round(0.12 * heard.sample_rate)
        samples[late:] += 0.1 * heard.samples[:-late]
    return Audio(samples, heard.sample_rate)


def treated(case: Case, heard: Audio, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """One packet of a hundred lost, and what came before it put in its place, fading."""
    samples = heard.samples.copy()
    if case.done == "lost":
        size = heard.sample_rate // 50
        for start in range(size, len(samples) - size, size):
            if rng.random() < 0.01:
                samples[start : start + size] = 0.8 * samples[start - size : start]
    return samples


def stored(case: Case, now: Path, folder: Path) -> Path:
    """The file that the recorder keeps."""
    kind, *rest = case.file.split()
    wav = folder / "file.wav"
    match kind:
        case "8k":
            shell(f"sox {now} -r 8000 -b 16 {wav}")
        case "same":
            shell(f"sox {now} -b 16 {wav}")
        case "16k":
            shell(f"sox {now} -r 16000 -b 16 {wav}")
        case "8bit":
            shell(f"sox {now} -r 8000 -b 8 {wav}")
        case "ulaw":
            shell(f"sox {now} -r 8000 -e mu-law {wav}")
        case "gsm":
            shell(f"sox {now} -r 8000 -e gsm {wav}")
        case "mp3" | "opus":
            rate = "-b:a 32k" if rest[:1] == ["to"] else f"-b:a {(rest or ['24'])[0]}k"
            codec = "libmp3lame -ar 16000" if kind == "mp3" else "libopus"
            coded = folder / f"file.{kind}"
            shell(f"{_FF} -i {now} {rate} -c:a {codec} {coded}")
            if rest[:1] != ["to"]:
                return coded
            shell(f"{_FF} -i {coded} -ar 16000 {wav}")
    return wav


def judged(case: Case) -> dict[str, Any]:
    """What is said of one recording."""
    with TemporaryDirectory() as folder:
        sent, path = recorded(case, Path(folder))
        row: dict[str, Any] = {"case": case, "leg": None, "family": "", "why": "", "advice": ""}
        try:
            found = carrier_recording.align(sent, carrier_recording.read(path, 0))
        except ValueError as error:
            return row | {"why": str(error)}
        row |= {"leg": found.leg, "family": found.family, "stands_for": found.stands_for}
        row |= {"distance": found.distance_db, "untold": found.untold}
        return row


def carries(case: Case) -> bool:
    """Whether it is a lossless file of steady level with the bot alone, behind no more than a faint line."""
    quiet = case.noise in ("", "line -70", "line -60")
    return quiet and case.file in ("8k", "same", "16k") and case.done in ("", "offset", "drift")


def is_right(row: dict[str, Any]) -> bool:
    """Whether the leg that is named is the one that was."""
    return bool(row["leg"] == row["case"].leg.split()[0])


def is_wrong(row: dict[str, Any]) -> bool:
    """Whether something is named that is not so."""
    named = bool(row["leg"]) and not is_right(row)
    return named or (row["family"] == "wideband" and row["case"].leg not in WIDE_LEGS)


def is_wrong_advice(row: dict[str, Any]) -> bool:
    """Whether a wide setting is advised for a narrow leg: the other way round is what is assumed."""
    wide = row.get("stands_for") in WIDE_LEGS
    return wide and row["case"].leg not in WIDE_LEGS


def run(console: Console) -> Sequence[Sequence[str]]:
    """Say what is named, right and wrong, by what was done to a recording."""
    half: Half = "work" if os.environ.get("HALF") == "work" else "measured"
    for name in ("sox", "ffmpeg"):
        if shutil.which(name) is None:
            sys.exit(f"{name} is missing: apt-get install sox libsox-fmt-all ffmpeg")
    drawn = list(cases(half, int(os.environ.get("COUNT", "250"))))
    rows = list(_kept(track(drawn, "Listening", console=console)))
    table = [
        [
            "recordings",
            "n",
            "codec named",
            "right",
            "wide told",
            "right",
            "nothing",
            "wrong setting",
        ]
    ]
    by: dict[str, Callable[[Case], str]] = {
        "leg": lambda case: case.leg,
        "on the line": lambda case: case.noise,
        "recorder": lambda case: case.done,
        "file": lambda case: case.file,
        "evidence": lambda case: "can carry a name" if carries(case) else "cannot",
    }
    for title, key in by.items():
        for value in sorted({key(case) for case in drawn}):
            table.append(
                _line(
                    f"{title}: {value or 'nothing'}", [r for r in rows if key(r["case"]) == value]
                )
            )
    table.append(_line("all", rows))
    for line in table:
        console.print(
            "  ".join(f"{cell:<26}" if n == 0 else f"{cell:>13}" for n, cell in enumerate(line))
        )
    for row in rows:
        if is_wrong(row) or is_wrong_advice(row):
            console.print(str(row))
    told = Counter(reason(row) for row in rows)
    for text, count in told.most_common():
        console.print(f"{count:>5}  {text or 'named'}")
    return table


def _kept(drawn: Iterable[Case]) -> Iterator[dict[str, Any]]:
    """What is said of each; kept in a file if ``KEEP`` names one, from which a run goes on."""
    path = Path(os.environ.get("KEEP") or os.devnull)
    known = [] if not path.is_file() else list(map(json.loads, path.read_text().splitlines()))
    rows = {row["case"][0]: row | {"case": Case(*row["case"])} for row in known}
    with path.open("a") as file:
        for case in drawn:
            if case.number not in rows:
                rows[case.number] = judged(case)
                print(json.dumps(rows[case.number]), file=file, flush=True)
            yield rows[case.number]


def reason(row: dict[str, Any]) -> str:
    """Why no leg is named, without the names."""
    words = str(row.get("untold") or row["why"][:60]).split()
    return " ".join("<leg>" if word in legs.LEGS else word for word in words)


def _line(name: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    named = [row for row in rows if row["leg"]]
    wide = [row for row in rows if row["family"] == "wideband"]
    counts = (
        *(len(rows), len(named), sum(map(is_right, named))),
        *(len(wide), sum(row["case"].leg in WIDE_LEGS for row in wide)),
        sum(not row.get("stands_for") for row in rows),
        sum(map(is_wrong_advice, rows)),
    )
    return [name, *map(str, counts)]
