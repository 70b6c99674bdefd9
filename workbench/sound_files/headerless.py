"""Sound without a header: what its bytes most likely are, and how it is told.

Which encoding it is, its bytes say (:mod:`workbench.sound_files.code_length`); at which rate and in
how many channels they were taken, they do not: telephone sound is at 8 kHz in one channel, which is
what is supposed.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.budget import Budget
from workbench.sound_files.code_length import (
    ALAW,
    MARGIN,
    MULAW,
    CodeLength,
    few_words,
    floating_point,
    packed_24_bit,
    shortest,
    table,
    words,
)

__all__ = ["ENCODINGS", "Encoding", "Form", "likely", "otherwise"]


class Form(NamedTuple):
    """How samples are written.

    Parameters:
        title: In words.
        subtype: libsndfile's name.
        endian: libsndfile's name of the order of bytes.
        size: Bytes of a sample; of GSM, a fraction.
        length: What it costs to write down; ``None`` for what that does not tell.
        suffixes: Of files that are named after it.
    """

    title: str
    subtype: str
    endian: str
    size: float
    length: CodeLength | None
    suffixes: tuple[str, ...] = ()


def _samples(kind: str) -> CodeLength:
    """Code length of 16-bit samples, also of sound of few values."""
    return shortest(words(kind), few_words(kind))


ENCODINGS: Final[dict[str, Form]] = {
    "ulaw": Form(
        "mu-law",
        "ULAW",
        "FILE",
        1,
        table(MULAW),
        (".ulaw", ".mulaw", ".ul", ".mu", ".pcmu", ".g711u"),
    ),
    "alaw": Form(
        "A-law", "ALAW", "FILE", 1, table(ALAW), (".alaw", ".al", ".la", ".pcma", ".g711a")
    ),
    "pcm": Form("16-bit PCM", "PCM_16", "LITTLE", 2, _samples("<i2"), (".sln", ".s16", ".s16le")),
    "pcm-be": Form("16-bit PCM, big-endian,", "PCM_16", "BIG", 2, _samples(">i2"), (".s16be",)),
    "u8": Form("unsigned 8-bit PCM", "PCM_U8", "FILE", 1, words("u1"), (".u8", ".ub")),
    "s8": Form("signed 8-bit PCM", "PCM_S8", "FILE", 1, words("i1"), (".s8", ".sb")),
    "pcm24": Form("24-bit PCM", "PCM_24", "LITTLE", 3, packed_24_bit(0), (".s24", ".s24le")),
    "float": Form("32-bit float", "FLOAT", "LITTLE", 4, floating_point(0), (".f32", ".f32le")),
    "gsm": Form("GSM full rate", "GSM610", "FILE", 33 / 160, None, (".gsm",)),
}

#: So much of a file is looked at, in so many pieces of so many bytes: divisible by 2, 3 and 4.
_PIECES, _PIECE = 240, 768
#: Bits a byte. What takes less in its best reading is silence, what takes more is no sound; and by so
#: much the best reading must be shorter than the next. Of the voices in tests/ground/clips mu-law is by
#: 1.3 and more, A-law by 1.4, 16-bit PCM by 2.1.
_FAINT, _NO_SOUND, _CLEARLY = 1.5, 7.5, 0.5
#: So many pieces must sound.
_FEWEST: Final = 4
#: Headers that may be doubted.
_DOUBTED: Final = ("ulaw", "alaw", "pcm", "pcm-be", "u8")
#: A GSM frame: its bytes, and what the first four bits are.
_GSM_BYTES, _GSM_MAGIC = 33, 0xD

#: Asterisk's files of signed linear samples, .sln16 and others, are named after their rate in kHz.
_ASTERISK: Final = re.compile(r"\.sln(\d+)")
_ASTERISK_HZ: Final = {44: 44100}

_NAME: Final = re.compile(r"([a-z0-9-]+?)(?:@(\d+))?(?:x(\d+))?", re.IGNORECASE)


@dataclass(frozen=True)
class Encoding:
    """What a file without a header holds.

    Parameters:
        name: One of :data:`ENCODINGS`.
        sample_rate: In hertz.
        channels: How many.
    """

    name: str
    sample_rate: int = 8000
    channels: int = 1

    @classmethod
    def named(cls, text: str) -> Encoding:
        """Take ``ulaw``, ``pcm@16000`` or ``pcm@16000x2``.

        Raises:
            ValueError: For anything else; the message lists the encodings.
        """
        match = _NAME.fullmatch(text.strip())
        if match is None or match[1].lower() not in ENCODINGS:
            raise ValueError(
                f"no encoding {text!r}, there are: {', '.join(ENCODINGS)}; with another rate than "
                "8000 Hz and with channels: pcm@16000x2"
            )
        name, rate, channels = match[1], int(match[2] or 8000), int(match[3] or 1)
        if not Budget().is_sound(rate, channels):
            raise ValueError(f"{text!r}: no sound has {rate} Hz and {channels} channels")
        return cls(name.lower(), rate, channels)

    @property
    def form(self) -> Form:
        """How its samples are written."""
        return ENCODINGS[self.name]

    @property
    def title(self) -> str:
        """In words: ``mu-law at 8 kHz``."""
        channels = f" in {self.channels} channels" if self.channels > 1 else ""
        return f"{self.form.title} at {self.sample_rate / 1000:g} kHz{channels}"

    def secs(self, size: int) -> float:
        """How long so many bytes are."""
        return float(size / self.form.size / self.channels / self.sample_rate)

    def __str__(self) -> str:
        rate = "" if self.sample_rate == 8000 else f"@{self.sample_rate}"
        return f"{self.name}{rate}" + (f"x{self.channels}" if self.channels > 1 else "")


def likely(file: BinaryIO, suffix: str) -> tuple[Encoding | None, bool]:
    """Say what a file without a header most likely holds.

    Args:
        file: Open.
        suffix: Of its name.

    Returns:
        The encoding, ``None`` if its bytes are like no sound; and whether the name says so too.
    """
    size = file.seek(0, io.SEEK_END)
    if _is_gsm(file, size):
        return Encoding("gsm"), suffix == ".gsm"
    bits = _bits(file, 0, size)
    rate = 8000
    named = next((n for n, form in ENCODINGS.items() if suffix in form.suffixes), None)
    if not bits:
        return None, False
    if asterisk := _ASTERISK.fullmatch(suffix):
        named, rate = "pcm", _ASTERISK_HZ.get(int(asterisk[1]), 1000 * int(asterisk[1]))
    best, *others = sorted(bits, key=lambda name: bits[name])
    if bits[best] > _NO_SOUND or bits[others[0]] - bits[best] < _CLEARLY:
        return None, False
    return Encoding(best, rate if best == named else 8000), best == named


def otherwise(file: BinaryIO, first: int, size: int, declared: str) -> Encoding | None:
    """Say what the sound in a file is, if it is not what its header declares.

    Args:
        file: Open.
        first: Where its sound begins.
        size: Bytes of it.
        declared: libsndfile's name of what the header says. Of 16 bits either order of bytes is what
            it says: containers have it each their own way.
    """
    names = [name for name in _DOUBTED if ENCODINGS[name].subtype == declared]
    bits = _bits(file, first, size) if names else {}
    if not bits:
        return None
    best = min(bits, key=lambda name: bits[name])
    shorter = min(bits[name] for name in names) - bits[best]
    return Encoding(best) if shorter > MARGIN and bits[best] < _NO_SOUND - 1 else None


def _bits(file: BinaryIO, first: int, size: int) -> dict[str, float]:
    """Bits a byte in each reading, of the pieces that sound; empty if too few do."""
    count = min(_PIECES, size // _PIECE)
    if count < _FEWEST:
        return {}
    pieces = np.empty((count, _PIECE), np.uint8)
    for row, place in enumerate(np.linspace(0, size - _PIECE, count)):
        file.seek(first + int(place) // 12 * 12)
        data = file.read(_PIECE)
        pieces[row] = np.frombuffer(data.ljust(_PIECE, b"\0")[:_PIECE], np.uint8)
    lengths = {
        name: form.length(pieces) for name, form in ENCODINGS.items() if form.length is not None
    }
    every: NDArray[np.float64] = np.array(list(lengths.values()))
    loud = every.min(axis=0) > _FAINT
    loud &= np.ptp(pieces, axis=1) > 0
    if np.count_nonzero(loud) < _FEWEST:
        return {}
    return {name: float(np.median(bits[loud])) for name, bits in lengths.items()}


def _is_gsm(file: BinaryIO, size: int) -> bool:
    """Whether every frame begins as one of GSM does."""
    if size < 10 * _GSM_BYTES:
        return False
    file.seek(0)
    data = np.frombuffer(file.read(1000 * _GSM_BYTES), np.uint8)
    return bool((data[::_GSM_BYTES] >> 4 == _GSM_MAGIC).all())
