"""Hostile sound files: real ones with bytes that turned, heads that lie, ends that never came."""

from __future__ import annotations

import random
import struct
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import soundfile

from tests.captures import speech
from tests.fuzz.bombs import flac, wav
from tests.fuzz.isolated import Outcome, isolated
from tests.fuzz.whole import LINES, of_sound

_KINDS: Final = (
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "GSM610"), ("WAV", "IMA_ADPCM"),
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_24"),
    ("AU", "ULAW"), ("W64", "PCM_16"), ("CAF", "PCM_16"), ("RF64", "PCM_16"),
)  # fmt: skip
#: What stands in for a number of a head.
_NUMBERS: Final = (0, 1, 2, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@cache
def real(kind: str, subtype: str, channels: int) -> bytes:
    """A second of speech."""
    rate = 48000 if subtype == "OPUS" else 8000
    samples = speech("caller/c01", rate).samples[:rate]
    file = BytesIO()
    both = np.column_stack([samples] * channels)
    soundfile.write(file, both, rate, format=kind, subtype=subtype)
    return file.getvalue()


def broken(rng: random.Random, folder: Path) -> Path:
    """Write a sound file that is broken in one or several ways."""
    kind, subtype = rng.choice(_KINDS)
    path = folder / f"a.{kind.lower()}"
    if rng.random() < 0.05:
        number = rng.choice(_NUMBERS)
        make = rng.choice([partial(flac, samples=number), partial(flac, rate=number & 0xFFFFF)])
        return rng.choice([make, partial(wav, claimed=number)])(path)
    channels = 1 if subtype == "GSM610" else rng.choice([1, 1, 2])
    data = bytearray(real(kind, subtype, channels))
    for _ in range(rng.choice([1, 1, 2, 5])):
        _damage(rng, data)
    path.write_bytes(data)
    return path


def _damage(rng: random.Random, data: bytearray) -> None:
    how = rng.randrange(6)
    head = min(len(data), 200)
    if how == 0:
        del data[rng.randrange(len(data)) :]
        data += b"\0"
    elif how == 1:
        for _ in range(rng.choice([1, 5, 50])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif how == 2:
        for _ in range(rng.choice([1, 3])):
            data[rng.randrange(head)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    elif how == 3 and head > 8:
        order, size = rng.choice("<>"), rng.choice("HI")
        number = struct.pack(order + size, rng.choice(_NUMBERS) & (0xFFFF if size == "H" else ~0))
        at = rng.randrange(head - 4)
        data[at : at + len(number)] = number
    elif how == 4:
        at = rng.randrange(len(data))
        data[at:at] = bytes(rng.choice([1, 100, 100_000]))
    else:
        first = rng.randrange(len(data))
        data += data[first : first + 5000] * rng.choice([1, 20])


def case(seed: int, number: int) -> Outcome:
    """Make and try one of the sound files of a seed."""
    rng = random.Random(f"{seed} {number}")
    with TemporaryDirectory() as folder:
        path = broken(rng, Path(folder))
        return isolated(partial(of_sound, path), (*LINES, ValueError, OSError))
