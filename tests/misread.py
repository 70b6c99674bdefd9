"""Bytes that are no such samples as they are called, in every way that a speech service has sent them."""

from __future__ import annotations

import base64
import json

import numpy as np

from pipecat_bandwidth.encodings import PCMU
from tests.ground.planted_sound import alaw_encode
from tests.ground.voices import clips
from workbench.audio import Audio

__all__ = ["TEXT", "WRONG", "as_samples"]


def whole(audio: Audio, bits: int = 16) -> np.ndarray:
    return np.rint(audio.samples.astype(float) * (2 ** (bits - 1) - 1)).astype(np.int64)


def three_bytes(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values.astype("<i4")[:, None].view(np.uint8)[:, :3]).tobytes()


def second(audio: Audio) -> np.ndarray:
    """Another voice, as loud."""
    other = clips()[0].audio(audio.sample_rate).samples
    return np.rint(np.resize(other, len(audio)) * 32767).astype("<i2")


#: Name of the reading, and how a speech service would come to send it.
WRONG = {
    "two channels": lambda a: np.repeat(whole(a).astype("<i2"), 2).tobytes(),
    "two channels, two voices": lambda a: (
        np.column_stack([whole(a), second(a)]).astype("<i2").tobytes()
    ),
    "two channels, one silent": lambda a: (
        np.column_stack([whole(a), 0 * whole(a)]).astype("<i2").tobytes()
    ),
    "signed 8-bit": lambda a: whole(a, 8).astype("i1").tobytes(),
    "unsigned 8-bit": lambda a: (whole(a, 8) + 128).astype("u1").tobytes(),
    "mu-law": lambda a: PCMU.encode(a.pcm()),
    "A-law": lambda a: alaw_encode(a.samples),
    "A-law, decoded as mu-law": lambda a: PCMU.decode(alaw_encode(a.samples)),
    "bytes swapped": lambda a: whole(a).astype(">i2").tobytes(),
    "an odd byte on": lambda a: a.pcm()[1:] + b"\0",
    "24-bit": lambda a: three_bytes(whole(a, 24)),
    "24-bit samples": lambda a: three_bytes(whole(a) << 8),
    "32-bit samples": lambda a: (
        (whole(a, 32) ^ np.arange(len(a)) * 40_503 % 65_536).astype("<i4").tobytes()
    ),
    "32-bit floating-point": lambda a: a.samples.astype("<f4").tobytes(),
    "floating-point": lambda a: (whole(a) / 32768).astype("<f4").tobytes(),
    "wrapped around": lambda a: ((4 * whole(a) + 32768) % 65536 - 32768).astype("<i2").tobytes(),
    "text in hexadecimal digits": lambda a: a.pcm().hex().encode(),
    "text in base64": lambda a: base64.b64encode(a.pcm()),
    "text": lambda a: json.dumps({"audio": whole(a).tolist()}).encode(),
}
TEXT = {name for name in WRONG if name.startswith("text")}


def as_samples(data: bytes, rate: int) -> Audio:
    return Audio.from_pcm(data[: len(data) // 2 * 2], rate)
