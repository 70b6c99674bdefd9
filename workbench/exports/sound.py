"""The signals of a call as sound files, aligned on its clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import soundfile

from workbench.audio import Audio
from workbench.beside import written_beside
from workbench.call import Call
from workbench.sound_files import naming

__all__ = ["write_audio"]

#: Seconds that are converted at once: an hour takes no more memory than a minute.
_SECS: Final = 60


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
        sample_rate: Of the file, in hertz; by default that of the signal, of several the highest.
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
    sides = [call.signal(name) for name in signals]
    rate = sample_rate or max(audio.sample_rate for audio in sides)
    form = {"format": kind[1:].upper(), "subtype": subtype}
    length = round(call.duration * rate)
    with (
        written_beside(path) as part,
        naming(path, "wb"),
        soundfile.SoundFile(str(part), "w", rate, len(sides), **form) as file,
    ):
        for first in range(0, math.ceil(call.duration), _SECS):
            block = np.zeros((min(_SECS * rate, length - first * rate), len(sides)), "<i2")
            for channel, audio in enumerate(sides):
                pcm = np.frombuffer(_converted(audio, rate, first).pcm(), "<i2")[: len(block)]
                block[: len(pcm), channel] = pcm
            file.write(block)


def _converted(audio: Audio, rate: int, first: int) -> Audio:
    """A minute of a signal at another rate: converted with a second on either side, then cut.

    At whole seconds every rate has a sample, so the minutes join as if all were converted at once.
    """
    before = min(1, first)
    part = audio.span(first - before, first + _SECS + 1).resampled(rate)
    return part.span(before, before + _SECS)
