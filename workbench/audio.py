"""Audio: the value that every analysis takes and returns.

Conventions:
    ``samples`` is 1-D float32 in [-1.0, 1.0), where 1.0 is int16 full scale (32768); ``pcm`` is
    int16 little-endian bytes. Rates in hertz, times in seconds from the first sample, levels in
    dBov: 0 dBov is the power of a full-scale square wave, so a full-scale sine is at -3.01 dBov.

References:
    RFC 6464, section 3, and RFC 6465, appendix A: audio level in dBov.
"""

from __future__ import annotations

import warnings
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from workbench import mapped, sound_files
from workbench.beside import written_beside
from workbench.budget import Budget
from workbench.exceptions import SoundFileWarning

__all__ = ["Audio"]

#: Samples that are converted at once: an hour takes no more memory than a minute.
_BLOCK: Final = 1 << 18
#: Of int16.
_STEP: Final = np.float32(1 / 32768)

#: What a notebook player carries at most: 5 MB, that is 109 s at 24 kHz and 328 s at 8 kHz.
_PLAYER_BYTES: Final = 5 * 1024 * 1024


@dataclass(frozen=True, eq=False, repr=False)
class Audio:
    """One channel of sound.

    Parameters:
        samples: Shape ``(n,)``, float in [-1.0, 1.0). Kept as float32, read-only; float32
            is not copied.
        sample_rate: In hertz.

    Raises:
        ValueError: If ``samples`` are integers, not one-dimensional or not finite, or the rate is
            not a positive whole number.

    Example::

        >>> tone = Audio(0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000), 8000)
        >>> tone
        Audio(1.000 s, 8000 Hz, -9.0 dBov)
        >>> len(tone.span(0.2, 0.3).resampled(24000))
        2400
    """

    samples: NDArray[np.float32]
    sample_rate: int

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples)
        if samples.dtype.kind != "f":
            raise ValueError(
                f"samples of dtype {samples.dtype}, expected float in [-1, 1): "
                "divide int16 by 32768, or use Audio.from_pcm"
            )
        if samples.ndim != 1:
            raise ValueError(f"samples of shape {samples.shape}, expected one dimension")
        with np.errstate(over="ignore"):
            samples = samples.astype(np.float32, copy=False).view()
        if not all(np.isfinite(block).all() for _, block in mapped.blocks(samples, _BLOCK)):
            raise ValueError("samples hold values that are not finite (NaN or infinity)")
        rate = self.sample_rate
        try:
            whole = int(rate)
        except (TypeError, ValueError, OverflowError):
            whole = 0
        if isinstance(rate, bool) or whole != rate or whole <= 0:
            raise ValueError(f"sample rate of {rate!r} Hz, expected a positive whole number")
        samples.setflags(write=False)
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "sample_rate", whole)

    @classmethod
    def from_pcm(cls, pcm: bytes | NDArray[np.int16], sample_rate: int) -> Audio:
        """Take int16 little-endian mono bytes, or int16 samples; the inverse of :meth:`pcm`.

        Raises:
            ValueError: If there is half a sample at the end.
        """
        if isinstance(pcm, bytes):
            if len(pcm) % 2:
                raise ValueError(f"{len(pcm)} bytes of 16-bit PCM, expected an even number")
            pcm = np.frombuffer(pcm, "<i2")
        samples = mapped.zeros(len(pcm), np.float32)
        for first, block in mapped.blocks(pcm, _BLOCK):
            part = samples[first : first + len(block)]
            np.multiply(block, _STEP, out=part, dtype=np.float32)
            mapped.let_go(part)
        return cls(samples, sample_rate)

    @classmethod
    def known(cls, samples: NDArray[np.float32], sample_rate: int) -> Audio:
        """Take samples that need no look: float32, one-dimensional and finite, at a rate that there is."""
        audio = object.__new__(cls)
        samples = samples.view()
        samples.setflags(write=False)
        object.__setattr__(audio, "samples", samples)
        object.__setattr__(audio, "sample_rate", sample_rate)
        return audio

    @classmethod
    def read(
        cls,
        path: str | Path,
        channel: int | None = None,
        budget: Budget | None = None,
        *,
        default_channel: int | None = None,
        encoding: str | None = None,
    ) -> Audio:
        """Read a sound file: WAV, FLAC, MP3, Ogg, whatever else libsndfile reads, or without a header.

        Args:
            path: The file.
            channel: Which one of a file with several, from 0. A carrier's two-channel recording
                has the caller in 0 and the bot in 1.
            budget: What it may claim; by default :func:`workbench.budget.usual`. Raise it for a
                long file of your own: ``Budget(samples=2**29)``.
            default_channel: The same where the file has it and none was chosen.
            encoding: What a file without a header holds, or one whose header is wrong: ``"ulaw"``,
                ``"alaw"``, ``"pcm"``, ``"pcm@16000"``, ``"pcm@16000x2"`` in two channels; see
                :class:`workbench.sound_files.Encoding`.

        Warns:
            SoundFileWarning: For a file that was cut off, or holds what its header does not say.

        Raises:
            OSError: If the file cannot be opened.
            ValueError: If it is not a sound file, lacks a header, claims more than its budget, or
                has several channels and none was chosen. The message says what would help.
        """
        sound = sound_files.read(
            path, channel, default_channel=default_channel, encoding=encoding, budget=budget
        )
        for remark in sound.remarks:
            warnings.warn(remark, SoundFileWarning, stacklevel=2)
        try:
            return cls(sound.samples, sound.sample_rate)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def write(self, path: str | Path) -> None:
        """Write 16-bit WAV or FLAC, as the file's suffix says. Samples beyond +-1 are clipped.

        Raises:
            OSError: If the file cannot be written.
            ValueError: For any other suffix.
        """
        kind = Path(path).suffix.lower().removeprefix(".")
        if kind not in ("wav", "flac"):
            raise ValueError(f"cannot write {str(path)!r}, the suffixes are .wav and .flac")
        with written_beside(path) as part, sound_files.naming(path, "wb"):
            self._encode(str(part), kind.upper())

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def level(self) -> float:
        """RMS level of the whole, in dBov; ``-inf`` for digital silence and for nothing."""
        if not len(self.samples):
            return -np.inf
        parts = (block for _, block in mapped.blocks(self.samples, _BLOCK))
        energy = sum(float(np.einsum("i,i->", p, p, dtype=np.float64)) for p in parts)
        power = energy / len(self.samples)
        return 10 * float(np.log10(power)) if power > 0 else -np.inf

    def span(self, start: float, end: float) -> Audio:
        """Cut out [start, end), in seconds; what lies outside of the audio is left out.

        Raises:
            ValueError: If ``end`` is before ``start``.
        """
        if not start <= end:
            raise ValueError(f"span from {start} to {end} s, the end is before the start")
        first = round(max(start, 0.0) * self.sample_rate)
        last = round(min(max(end, 0.0), self.duration) * self.sample_rate)
        return Audio.known(self.samples[first:last], self.sample_rate)

    def resampled(self, sample_rate: int) -> Audio:
        """Convert to another rate: linear phase, delay compensated, no dither.

        Args:
            sample_rate: In hertz. At the same rate the audio itself is returned.
        """
        if sample_rate == self.sample_rate:
            return self
        if len(self.samples) <= _BLOCK:
            return Audio(soxr.resample(self.samples, self.sample_rate, sample_rate), sample_rate)
        stream = soxr.ResampleStream(self.sample_rate, sample_rate, 1, dtype="float32")
        room = -(-len(self.samples) * sample_rate // self.sample_rate) + 1
        converted, filled = mapped.zeros(room, np.float32), 0
        for first, block in mapped.blocks(self.samples, _BLOCK):
            made = stream.resample_chunk(block, last=first + len(block) == len(self.samples))
            part = converted[filled : filled + len(made)]
            part[:] = made[: len(part)]
            mapped.let_go(part)
            filled += len(part)
        return Audio(converted[:filled], sample_rate)

    def pcm(self) -> bytes:
        """Int16 little-endian bytes, rounded; what does not fit is clipped."""
        return self.int16().tobytes()

    def int16(self) -> NDArray[np.int16]:
        """The samples as :meth:`pcm` has them, as little-endian int16."""
        pcm = mapped.zeros(len(self), "<i2")
        for first, block in mapped.blocks(self.samples, _BLOCK):
            part = pcm[first : first + len(block)]
            part[:] = np.clip(np.rint(block * np.float32(32768)), -32768, 32767)
            mapped.let_go(part)
        return pcm

    def _encode(self, target: str | BinaryIO, kind: str) -> None:
        pcm = self.int16()
        with soundfile.SoundFile(
            target, "w", self.sample_rate, 1, format=kind, subtype="PCM_16"
        ) as file:
            for _, block in mapped.blocks(pcm, _BLOCK):
                file.write(block)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"Audio({self.duration:.3f} s, {self.sample_rate} Hz, {self.level:.1f} dBov)"

    def _repr_html_(self) -> str:
        """A player for notebooks; the sound is in it, so it works offline and in exports."""
        limit = _PLAYER_BYTES / 2 / self.sample_rate
        shown = self if self.duration <= limit else self.span(0, limit)
        note = "" if shown is self else f", the first {limit:.0f} s: use span() for the rest"
        wav = BytesIO()
        shown._encode(wav, "WAV")
        source = f"data:audio/wav;base64,{b64encode(wav.getvalue()).decode('ascii')}"
        caption = escape(f"{self!r}{note}")
        player = f'<audio controls src="{source}"></audio>'
        return f"<figure><figcaption>{caption}</figcaption>{player}</figure>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The samples, so that numpy and matplotlib take an Audio where they take an array."""
        return np.array(self.samples, dtype=dtype, copy=copy)
