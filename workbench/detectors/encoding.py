"""Faults of the bytes: something else than the audio that they are declared to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from workbench.audio import Audio
from workbench.call import Call
from workbench.call.speech import HOP, levels, runs_of
from workbench.detectors.finding import Finding

__all__ = ["container_header", "wrong_codec"]

#: Speech correlates with itself one sample later by 0.75; with its bytes swapped, or read from an
#: odd byte on, by 0.0.
CORRELATION: Final = 0.3
#: Misread speech is louder than any: every byte counts as the high one.
LOUD_DBOV: Final = -25.0
#: An "s" is as white, but not for so long.
STATIC_SECS: Final = 0.5

_CONTAINERS: Final = {b"RIFF": "WAV", b"OggS": "Ogg", b"fLaC": "FLAC", b"ID3": "MP3"}


def container_header(call: Call) -> Iterator[Finding]:
    """The header of an audio file, sent as sound: a click before each prompt."""
    found = [
        (frame.time, name)
        for frame in call.audio_out
        for magic, name in _CONTAINERS.items()
        if frame.mono.startswith(magic)
    ]
    if not found:
        return
    yield Finding(
        "container_header", "bot", (found[0][0], found[-1][0]), "warning", float(len(found)), "frames",
        1, f"{len(found)} audio frames begin with the header of a {found[0][1]} file",
        "The speech synthesis returns files, and they are played as if they were samples.",
        "Ask it for raw PCM, or read the file (soundfile, wave) before it goes into the pipeline; "
        "leave add_wav_header at False in the transport's parameters.",
        "bot_said",
    )  # fmt: skip


def wrong_codec(call: Call) -> Iterator[Finding]:
    """Static: samples that are not what they are read as."""
    for side, name in (("caller", "caller_sent"), ("bot", "bot_said")):
        for start, end, correlation in _static(call.signal(name)):
            yield Finding(
                "wrong_codec", "caller" if side == "caller" else "bot", (start, end), "error",
                correlation, "", CORRELATION,
                f"loud static for {end - start:.1f} s: neighbouring samples have nothing to do with "
                f"each other (correlation {correlation:.2f})",
                "Bytes are read as what they are not: swapped, from an odd offset on, another "
                "encoding, or the text of an error.",
                "Check what the speech synthesis delivers: 16-bit signed little-endian, whole "
                "samples per frame." if side == "bot"
                else "Check the encoding in the start message: PCMU is expected.",
                name,
            )  # fmt: skip


def _static(audio: Audio) -> Iterator[tuple[float, float, float]]:
    step = round(HOP * audio.sample_rate)
    count = len(audio) // step
    if count < STATIC_SECS / HOP:
        return
    blocks = audio.samples[: count * step].reshape(count, step).astype(np.float64)
    products = np.einsum("ij,ij->i", blocks[:, 1:], blocks[:, :-1])
    energies = np.einsum("ij,ij->i", blocks, blocks)
    white = (products < CORRELATION * energies) & (levels(audio) > LOUD_DBOV)
    # A louder syllable may pass for speech now and then.
    share = np.convolve(white, np.ones(20) / 20, "same") > 0.7
    for start, end in runs_of(share, HOP).tolist():
        if end - start >= STATIC_SECS:
            part = slice(round(start / HOP), round(end / HOP))
            yield start, end, float(products[part].sum() / energies[part].sum())
