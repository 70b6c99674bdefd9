"""Record ``captures/stalls/``: six short calls of a bot whose voice stalls in mid-word.

python sample_audio/tools/record_stalls.py [OUT_DIR]

Each call is placed to the demo's bot, a real pipeline, in real time: two voices, PCM and PCMU, holes of
known size. It wants a machine that is quiet for two and a half minutes.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from pipecat_bandwidth import BandwidthFrameSerializer
from workbench.audio import Audio
from workbench.demo import record_call
from workbench.metrics.speech import HOP, levels
from workbench.simulator import Script
from workbench.simulator.script import Channel, Rule, SpeechStall, Turn

ROOT = Path(__file__).resolve().parents[1]
VOICES = {"heart": "bot_af_heart_24k", "george": "bot_bm_george_24k"}
#: Milliseconds by which the voice stalls in each of a call's utterances: the holes are as long.
STALLS: dict[str, list[list[float]]] = {
    "heart-1": [[150], [], [60, 80], [140]],
    "heart-2": [[140], [150], [], [145]],
    "heart-3": [[150], [100], [140], []],
    "george-1": [[], [150], [140], [80, 60]],
    "george-2": [[145], [150], [], [300]],
    "george-3": [[140], [], [150], [145]],
}
#: Seconds between two utterances of the bot, before it answers, and before the caller does.
PAUSE, ANSWER = 1.3, 1.0
ASKS_AFTER = 0.9


def sentences(voice: Path, count: int, first: int) -> list[tuple[float, float]]:
    """Spans of 2 to 4 s between pauses of the voice, beginning with the ``first``."""
    loud = levels(Audio.read(voice)) > -45
    edges = np.flatnonzero(np.diff(loud.astype(int), prepend=0, append=0)) * HOP
    words = edges.reshape(-1, 2)
    found: list[tuple[float, float]] = []
    start = words[0, 0]
    for (_, end), (following, _) in zip(words[:-1], words[1:], strict=True):
        if following - end >= 0.15 and end - start >= 2.0:
            if end - start <= 3.6:
                found.append((max(0.0, float(start) - 0.05), float(end) + 0.05))
            start = following
    return [found[(first + k) % len(found)] for k in range(count)]


def in_a_word(sound: Audio, about: float) -> float:
    """The fifth of a second near ``about`` that has sound on both sides.

    Speech comes in frames of 100 ms and is sent on in frames of 40: at a fifth a hole is as long as
    the stall.
    """
    loud = levels(sound)
    fifths = np.arange(0.4, sound.duration - 0.4, 0.2)
    near = [loud[round((t - 0.06) / HOP) : round((t + 0.06) / HOP)].min() for t in fifths]
    good = fifths[np.array(near) > min(np.percentile(loud, 90) - 18, max(near) - 3)]
    return float(good[np.argmin(np.abs(good - about))])


def _asks(now: float, after: str | None) -> Turn:
    """The caller's first turn of another script."""
    choppy = Script.load(ROOT / "call" / "choppy.json")
    turn = next(turn for turn in choppy.side("caller"))
    moved = now - turn.start
    return msgspec.structs.replace(
        turn, start=now, end=turn.end + moved, rule=Rule(after, ASKS_AFTER), cut_by=None,
        speech=tuple((start + moved, end + moved) for start, end in turn.speech),
    )  # fmt: skip


def script(name: str) -> Script:
    """One call: two utterances, a question of the caller's, two more."""
    voice, number = name.split("-")
    file = str(ROOT / "bot_voices" / f"{VOICES[voice]}.flac")
    spans = sentences(Path(file), 4, 4 * (int(number) - 1))
    turns: list[Turn] = []
    stalls: list[SpeechStall] = []
    now, before = 0.3, None
    for utterance, (span, sizes) in enumerate(zip(spans, STALLS[name], strict=True), 1):
        if utterance == 3:
            turns.append(_asks(now, before))
            now, before = turns[-1].end + ANSWER, turns[-1].id
        length = span[1] - span[0]
        gap = ANSWER if utterance == 3 else PAUSE if before else 0.3
        turn = f"b{utterance:02}"
        turns.append(
            Turn(
                turn, "bot", file, now, now + length, length, Rule(before, gap), "words", span=span
            )
        )
        sound = Audio.read(file).span(*span)
        for k, size in enumerate(sizes, 1):
            at = in_a_word(sound, length * k / (len(sizes) + 1))
            stalls.append(SpeechStall(at=now + at, stall_ms=size))
        now, before = now + length + (ASKS_AFTER if utterance == 2 else PAUSE), turn
    return Script(
        f"A voice that stalls, {name}", now - PAUSE + 0.3, tuple(turns),
        Channel(1.45, -54.0, (200.0, 3500.0)), tuple(stalls),
    )  # fmt: skip


def record(out: Path) -> None:
    """Record all six."""
    kind = BandwidthFrameSerializer.InputParams
    out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(STALLS):
        pcm = number % 2 == 0
        params = kind(outbound_encoding="PCM" if pcm else "PCMU", outbound_pcm_sample_rate=16000)
        rates = {"audio_in_sample_rate": 8000, "audio_out_sample_rate": 16000 if pcm else 8000}
        with tempfile.TemporaryDirectory() as folder:
            call = record_call(script(name), Path(folder), params, **rates)
            made, truth = asyncio.run(call)
            shutil.move(made, out / f"{name}.mcap")
        size = (out / f"{name}.mcap").stat().st_size
        print(f"{name}: {truth.duration:.1f} s, {len(truth.underruns)} holes, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    record(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "captures" / "stalls")
