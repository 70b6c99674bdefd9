"""The signals of a call as sound files, aligned on its clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from workbench.audio import sound_file
from workbench.call import Call

__all__ = ["write_audio"]


def write_audio(
    call: Call,
    path: str | Path,
    signals: Sequence[str] = ("caller_sent", "caller_heard"),
    *,
    sample_rate: int | None = None,
    subtype: Literal["PCM_16", "ULAW"] = "PCM_16",
) -> None:
    """Write one or several signals as the channels of one file; sample 0 is at t = 0 in each.

    Args:
        call: The call.
        path: Ends in ``.wav`` or ``.flac``.
        signals: Names of the five signals of a call, one channel each. The default is what a
            person tapping the caller's line would record: the caller left, the bot right.
        sample_rate: Of the file, in hertz; by default that of the signal if there is one, and
            24000 if there are several.
        subtype: ``"ULAW"`` writes mu-law, WAV only. ``caller_sent`` comes out of it as it was on
            the wire, but that the code of minus zero becomes that of zero.

    Raises:
        OSError: If the file cannot be written.
        ValueError: For another suffix, no signals, an unknown one, or mu-law in FLAC.
    """
    kind = Path(path).suffix.lower()
    if kind not in (".wav", ".flac"):
        raise ValueError(f"cannot write {str(path)!r}, the suffixes are .wav and .flac")
    if kind == ".flac" and subtype != "PCM_16":
        raise ValueError(f"FLAC has no {subtype}, write a .wav")
    if not signals or isinstance(signals, str):
        raise ValueError(f"signals of {signals!r}, a sequence of at least one name is wanted")
    audio = call.signal(signals[0])
    rate = sample_rate or (audio.sample_rate if len(signals) == 1 else 24000)
    channels = np.zeros((round(call.duration * rate), len(signals)), "<i2")
    for channel, name in enumerate(signals):
        pcm = np.frombuffer(call.signal(name).resampled(rate).pcm(), "<i2")[: len(channels)]
        channels[: len(pcm), channel] = pcm
    with sound_file(path, "ab"):
        soundfile.write(str(path), channels, rate, format=kind[1:].upper(), subtype=subtype)
