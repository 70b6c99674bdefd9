"""Whole mono samples from whatever a frame says is its audio."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

__all__ = ["to_mono", "without_header"]

#: What Pipecat's transports put before each frame's audio when ``add_wav_header`` is set.
_WAV_HEADER: Final = re.compile(rb"RIFF.{4}WAVEfmt \x10\0\0\0\x01\0.{14}data.{4}", re.DOTALL)


def to_mono(audio: object, num_channels: object) -> tuple[bytes, list[tuple[str, str]]]:
    """Leave out what is no sample, and mix channels down to one.

    Args:
        audio: Interleaved samples: 16 bits, little-endian.
        num_channels: How many are interleaved.

    Returns:
        The samples of one channel, empty if there are none; and remarks for the log on what had to
        be done: a name to say it once by, and the text.
    """
    remarks: list[tuple[str, str]] = []
    if not isinstance(audio, (bytes, bytearray)):
        kind = type(audio).__name__
        return b"", [("audio type", f"audio is not sent: it must be bytes, not {kind}")]
    if type(num_channels) is not int or num_channels < 1:
        return b"", [("channels", f"audio is not sent: num_channels is {num_channels!r:.40}")]
    samples = without_header(audio)
    if len(samples) < len(audio):
        audio = samples
        text = "audio begins with a WAV header, which is left out; add_wav_header=False avoids it"
        remarks.append(("header", text))
    if not audio:
        return b"", [*remarks, ("empty", "a frame without audio; nothing is sent")]
    odd = len(audio) % (2 * num_channels)
    if odd:
        text = f"{len(audio)} bytes are not whole samples; the rest is left out"
        remarks.append(("odd", text))
    pcm = bytes(audio[: len(audio) - odd])
    if num_channels == 1 or not pcm:
        return pcm, remarks
    text = f"{num_channels} channels are mixed down to one; audio_out_channels=1 avoids it"
    mixed = np.frombuffer(pcm, "<i2").reshape(-1, num_channels).mean(axis=1)
    return bytes(np.rint(mixed).astype("<i2")), [*remarks, ("stereo", text)]


def without_header(audio: bytes | bytearray) -> bytes | bytearray:
    """The samples behind the WAV header that ``add_wav_header`` puts before each frame, if it is there."""
    header = _WAV_HEADER.match(audio)
    return audio[header.end() :] if header else audio
