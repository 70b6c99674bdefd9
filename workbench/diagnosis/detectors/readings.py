"""What the bytes of a signal would be, read as something else: which reading sounds like speech.

A sample of speech is much like the one before it. Read as what they are not, bytes lose that, and
they are louder: the wrong bits weigh the most. One reading of several is taken only if it clearly
beats the declared one in both.

References:
    .. [1] ITU-T G.711, "Pulse code modulation (PCM) of voice frequencies".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import PCMU
from workbench.audio import Audio
from workbench.metrics.speech import HOP, levels, runs_of, to_sound

__all__ = ["READ_SECS", "Declared", "Misread", "misread"]

Declared = Literal["PCMU", "PCM"]
Bytes = NDArray[np.uint8]

#: What is judged at once, and how long it must go on, in seconds.
_PIECE: Final = 0.25
READ_SECS: Final = 0.5
#: Misread bytes are louder than this, whatever they are: of 16-bit samples every byte counts as the
#: high one, and A-law's faintest sound is a loud one of mu-law.
_LOUD_DBOV: Final[dict[Declared, float]] = {"PCMU": -35.0, "PCM": -20.0}
#: Speech in its own encoding may correlate by more than this; of 1900 pieces of misread speech two
#: in a hundred do.
_LIKE_SPEECH: Final = 0.88
#: The other reading must correlate like speech (of which 98 % have 0.75 at 8 kHz), leave so many
#: times less of a sample unexplained by the one before it, and be so much fainter.
_CORRELATION, _BETTER, _FAINTER_DB = 0.6, 1.5, 3.0
#: Where the other reading is fainter by this, it is a pause between the words that it found.
_SILENT_DB: Final = 10.0
_AT_ONCE: Final = 240  # pieces, a minute


def _alaw() -> NDArray[np.float32]:
    """Value of each byte of A-law, full scale being 1."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = code >> 4 & 7, 2 * (code & 15) + 1
    value = np.where(exponent, (mantissa + 32) << np.maximum(exponent - 1, 0), mantissa) * 8
    signed: NDArray[np.int_] = np.where(code & 0x80, value, -value)
    return signed.astype(np.float32) / np.float32(32768)


_ALAW: Final = _alaw()
_MULAW: Final = (np.frombuffer(PCMU.decode(bytes(range(256))), "<i2") / 32768).astype(np.float32)


def _pcm(pieces: Bytes, kind: str = "<i2") -> NDArray[np.float32]:
    return np.ascontiguousarray(pieces).view(kind).astype(np.float32) / np.float32(32768)


#: What bytes may be, in words; each takes bytes of shape ``(pieces, n)``.
_READINGS: Final[dict[str, Callable[[Bytes], NDArray[np.float32]]]] = {
    "mu-law": lambda pieces: _MULAW[pieces],
    "A-law": lambda pieces: _ALAW[pieces],
    "16-bit samples": _pcm,
    "16-bit samples with their bytes swapped": lambda pieces: _pcm(pieces, ">i2"),
    "16-bit samples from an odd byte on": lambda pieces: _pcm(pieces[:, 1:-1]),
}
_DECLARED: Final[dict[Declared, str]] = {"PCMU": "mu-law", "PCM": "16-bit samples"}


class Misread(NamedTuple):
    """A stretch whose bytes are something else.

    Parameters:
        start: In seconds.
        end: In seconds.
        correlation: Of neighbouring samples, as they were read.
        really: What the bytes are, in words; empty if no reading is speech.
    """

    start: float
    end: float
    correlation: float
    really: str


def misread(audio: Audio, declared: Declared) -> Iterator[Misread]:
    """Find where another reading of the bytes is speech, and the declared one is not.

    Args:
        audio: As it was decoded.
        declared: What its bytes were read as.

    Yields:
        Stretches of :data:`READ_SECS` and more, in order.
    """
    size = round(_PIECE * audio.sample_rate) // 2 * 2
    pieces = audio.samples[: len(audio) // size * size].reshape(-1, size)
    others = [name for name in _READINGS if name != _DECLARED[declared]]
    own, scores = np.ones(len(pieces)), np.zeros((len(others), len(pieces)))
    goes_on, loud = np.zeros(len(pieces), np.bool_), _LOUD_DBOV[declared]
    for first in range(0, len(pieces), _AT_ONCE):
        part = pieces[first : first + _AT_ONCE]
        correlation, level = _correlation(part)
        own[first : first + _AT_ONCE] = correlation
        doubtful = np.flatnonzero((level > loud) & (correlation < _LIKE_SPEECH))
        if not len(doubtful):
            continue
        data = _bytes_of(part[doubtful], declared)
        for row, name in zip(scores, others, strict=True):
            other, fainter = _correlation(_READINGS[name](data))
            wins = (other > _CORRELATION) & (fainter < level[doubtful] - _FAINTER_DB)
            wins &= 1 - correlation[doubtful] > _BETTER * (1 - other)
            row[first + doubtful] = np.where(wins, other, 0.0)
            goes_on[first + doubtful] |= wins | (fainter < level[doubtful] - _SILENT_DB)
    step = size / audio.sample_rate
    for start, end in runs_of(goes_on, step).tolist():
        inside = slice(round(start / step), round(end / step))
        wins = scores[:, inside] > 0
        if step * np.count_nonzero(wins.any(axis=0)) >= READ_SECS:
            name = others[int(np.argmax(scores[:, inside].sum(axis=1)))]
            begins, ends = to_sound(start, end, levels(audio), loud, round(_PIECE / HOP))
            yield Misread(begins, ends, float(np.median(own[inside])), name)


def _correlation(
    pieces: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each piece how much neighbouring samples correlate, and the level in dBov."""
    centred = pieces - pieces.mean(axis=1, keepdims=True)
    energy = np.einsum("ij,ij->i", centred, centred).astype(np.float64)
    product = np.einsum("ij,ij->i", centred[:, 1:], centred[:, :-1]).astype(np.float64)
    return product / np.maximum(energy, 1e-9), 10 * np.log10(energy / pieces.shape[1] + 1e-10)


def _bytes_of(pieces: NDArray[np.float32], declared: Declared) -> Bytes:
    pcm = np.rint(pieces * 32768).clip(-32768, 32767).astype("<i2")
    data = pcm.tobytes() if declared == "PCM" else PCMU.encode(pcm.tobytes())
    return np.frombuffer(data, np.uint8).reshape(len(pieces), -1)
