"""What bytes cost to write down, read in one way or another: their code length.

Sound can be foretold from what was just heard; bytes that are read as what they are not cannot. If each
sample is foretold from those before it, by linear prediction, and only what is left over is written, to
the step of its encoding, the reading with the shortest code is what the bytes are [1]_. Text is written
in its letters; compressed audio is known by the lengths that its headers give, and costs next to nothing.

Conventions:
    Bytes are uint8 of shape ``(frames, n)``, a code length float64 of shape ``(frames,)`` in bits for
    each byte; infinite where the bytes cannot be read so.

References:
    .. [1] J. Rissanen, "Modeling by shortest data description", Automatica 14 (1978).
    .. [2] ITU-T G.711, "Pulse code modulation (PCM) of voice frequencies".
    .. [3] ISO/IEC 11172-3 and 13818-3, layer III (MP3); ISO/IEC 13818-7 (AAC), ADTS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import PCMU

__all__ = [
    "ALAW",
    "MARGIN",
    "MULAW",
    "Bytes",
    "CodeLength",
    "Lengths",
    "aac",
    "alone",
    "few_codes",
    "few_words",
    "letters",
    "mp3",
    "packed_24_bit",
    "floating_point",
    "recoded",
    "shortest",
    "signed_bytes",
    "table",
    "two_channels",
    "words",
    "wrapped",
]

Bytes: TypeAlias = NDArray[np.uint8]
Lengths: TypeAlias = NDArray[np.float64]
CodeLength: TypeAlias = Callable[[Bytes], Lengths]

#: By so many bits a byte another code must be shorter than the declared one. Of 7 hours of sound that is
#: what it is declared to be, none is by 0.9.
MARGIN: Final = 1.0

#: Samples from which the next one is foretold.
_ORDER: Final = 6
#: Of the samples of a channel so many are as the one before them where all are held for a while.
_HELD: Final = 0.25


def _bits(values: NDArray[np.float64], log_step: NDArray[np.float64] | float) -> Lengths:
    """Bits per sample, by linear prediction of each row: half the logarithm of 2 pi e sigma^2.

    Args:
        values: Shape ``(frames, n)``.
        log_step: Logarithm to base 2 of the step between two values, of all or of each row.
    """
    if not len(values):
        return np.empty(0)
    values = values - values.mean(axis=1, keepdims=True)
    size = values.shape[1]
    lagged, weights = np.zeros((2, _ORDER + 1, len(values)))
    for lag in range(_ORDER + 1):
        lagged[lag] = np.einsum("ij,ij->i", values[:, lag:], values[:, : size - lag])
    lagged /= size
    error = lagged[0] * (1 + 1e-9) + 1e-12
    weights[0] = 1.0
    for order in range(1, _ORDER + 1):  # Levinson and Durbin
        past = np.einsum("ij,ij->j", weights[:order], lagged[order:0:-1])
        reflection = (-past / error).clip(-0.99999, 0.99999)
        weights[1 : order + 1] += reflection * weights[order - 1 :: -1]
        error *= 1 - reflection**2
    found: Lengths = 0.5 * np.log2(2 * np.pi * np.e * error + 1e-30) - log_step
    return np.maximum(found, 0.25)


def _linear(values: NDArray[np.integer]) -> Lengths:
    """Bits per sample of whole numbers; where all are multiples of a power of 2, that is the step."""
    common = np.bitwise_or.reduce(values, axis=1).astype(np.int64)
    step = np.where(common, common & -common, 1)
    return _bits(values.astype(np.float64), np.log2(step))


def table(values: NDArray[np.float32]) -> CodeLength:
    """Code length of codes whose 256 values stand in a table, such as G.711's: float32 of full scale 1."""
    value = values.astype(np.float64) * 32768
    known, where = np.unique(value, return_inverse=True)
    gap = np.diff(known)
    log_step = np.log2(np.minimum(np.append(gap, gap[-1]), np.insert(gap, 0, gap[0])))[where]
    return lambda data: _bits(value[data], log_step[data].mean(axis=1))


def _view(data: Bytes, kind: str, first: int = 0) -> NDArray[np.integer]:
    size = np.dtype(kind).itemsize
    count = (data.shape[1] - first) // size
    return np.ascontiguousarray(data[:, first : first + count * size]).view(kind)


def words(kind: str, first: int = 0) -> CodeLength:
    """Code length of samples of a kind, from a byte on."""
    size = np.dtype(kind).itemsize
    return lambda data: _linear(_view(data, kind, first)) / size


def shortest(*lengths: CodeLength) -> CodeLength:
    """The shortest of several, frame by frame."""

    def length(data: Bytes) -> Lengths:
        found: Lengths = np.minimum.reduce([one(data) for one in lengths])
        return found

    return length


def packed_24_bit(first: int) -> CodeLength:
    """Code length of samples of three bytes, little-endian, from a byte on."""

    def length(data: Bytes) -> Lengths:
        count = (data.shape[1] - first) // 3
        parts = data[:, first : first + 3 * count].reshape(len(data), count, 3).astype(np.int32)
        value = parts[:, :, 0] | parts[:, :, 1] << 8 | parts[:, :, 2] << 16
        return _linear(np.where(value >= 1 << 23, value - (1 << 24), value)) / 3

    return length


def floating_point(first: int) -> CodeLength:
    """Code length of 32-bit floating-point samples of full scale 1, from a byte on.

    Of those that were 16-bit integers the step is theirs, of finer ones that of their mantissa.
    """

    def length(data: Bytes) -> Lengths:
        values = _view(data, "<f4", first)
        with np.errstate(invalid="ignore", over="ignore"):
            there = np.isfinite(values) & (np.abs(values) < 16)
            there &= (values == 0) | (np.abs(values) > 1e-12)
        valid = np.flatnonzero(there.all(axis=1))
        sound = values[valid].astype(np.float64)
        scaled = sound * 32768
        coarse = np.abs(scaled - np.rint(scaled)).max(axis=1, initial=0.0) < 1e-3
        fine = np.log2(np.maximum(np.abs(sound), 1e-6)).mean(axis=1) - 24
        found: Lengths = np.full(len(data), np.inf)
        found[valid] = _bits(sound, np.where(coarse, -15.0, fine)) / 4
        return found

    return length


def few_codes(codes: NDArray[np.integer], possible: int) -> Lengths:
    """Bits per sample of sound of few values: those are listed first, then each is a number in the list.

    Music of 4 to 7 bits, a square wave or speech of the first toys has a few dozen of them, at steps that
    are no power of 2. The numbers are foretold as samples are, or, if that is shorter, written by how
    often each is.

    Args:
        codes: Whole numbers in the order of what they mean, shape ``(frames, n)``.
        possible: How many there could be.
    """
    size = codes.shape[1]
    order = np.argsort(codes, axis=1, kind="stable")
    ranked = np.take_along_axis(codes, order, axis=1)
    numbers = np.zeros(codes.shape, np.int64)
    numbers[:, 1:] = np.cumsum(np.diff(ranked, axis=1) != 0, axis=1)
    count = numbers[:, -1] + 1
    rows = np.arange(len(codes))[:, None]
    times = np.bincount((rows * size + numbers).ravel(), minlength=codes.size).reshape(codes.shape)
    share = np.maximum(times, 1) / size
    by_share = -np.sum(times / size * np.log2(share), axis=1) + count * np.log2(size) / (2 * size)
    np.put_along_axis(numbers, order, numbers.copy(), axis=1)
    listed = count * np.log2(np.e * possible / count) / size
    found: Lengths = np.minimum(by_share, _bits(numbers.astype(np.float64), 0.0)) + listed
    return found


def few_words(kind: str) -> CodeLength:
    """Code length of 16-bit samples as sound of few values."""
    return lambda data: few_codes(_view(data, kind), 65536) / 2


def _smooth(
    values: NDArray[np.float64], lag: int = 1, least: float = 0.0, most: float = 1.0
) -> Lengths:
    """Bits per sample, foretold from one before it only, by a correlation between two bounds."""
    power = np.einsum("ij,ij->i", values, values) + 1e-9
    alike = np.einsum("ij,ij->i", values[:, lag:], values[:, :-lag]) / power
    left_over = power / values.shape[1] * (1 - alike.clip(least, most) ** 2)
    found: Lengths = 0.5 * np.log2(2 * np.pi * np.e * left_over + 1 / 12)
    return found


def _by_twos(data: Bytes) -> NDArray[np.float64]:
    """16-bit samples, the first and the second of each two off the mean of theirs: ``(frames, n, 2)``."""
    both = _view(data, "<i2").astype(np.float64)
    both = both[:, : both.shape[1] // 2 * 2].reshape(len(data), -1, 2)
    both -= both.mean(axis=1, keepdims=True)
    return both


def alone(data: Bytes) -> Lengths:
    """Code length of 16-bit samples, foretold as :func:`two_channels` foretells those of a channel.

    Or as the opposite of the sample before, or of the one before that: a whistle or a hiss near the
    highest frequency there is has slow waves in every other sample, a tone at half of it may have
    nothing there, and is one channel for all that.
    """
    samples = _by_twos(data)
    samples = samples.reshape(len(samples), -1)
    return np.minimum(_smooth(samples, 1, -1.0), _smooth(samples, 2, -1.0, 0.0)) / 2


def two_channels(data: Bytes) -> Lengths:
    """Code length of 16-bit samples of two channels in turn, which may be twice the same.

    A long past would foretell two voices by every other sample, so only the last one is asked; and only
    as what is like it, or a quarter of the sampling rate would be two channels at half of it.
    """
    off = _by_twos(data)
    both = _view(data, "<i2").astype(np.int32)
    left, right = both[:, ::2], both[:, 1::2]
    twins = (np.abs(right - left) <= 1).mean(axis=1) > 0.99
    found: Lengths = (_smooth(off[..., 0]) + np.where(twins, 0.0, _smooth(off[..., 1]))) / 4
    sounding = left[:, 1:] != 0
    held = np.count_nonzero((left[:, 1:] == left[:, :-1]) & sounding, axis=1)
    # What stands still for longer than two samples is held, not twice there.
    found[held > _HELD * np.count_nonzero(sounding, axis=1)] = np.inf
    return found


def wrapped(data: Bytes) -> Lengths:
    """Code length of 16-bit samples that went over full scale and came back at the other end."""
    pcm = _view(data, "<i2").astype(np.int32)
    steps = np.diff(pcm, axis=1, prepend=pcm[:, :1])
    jumps = np.flatnonzero((np.abs(steps) > 32768).any(axis=1))
    found: Lengths = np.full(len(data), np.inf)
    found[jumps] = _linear(np.cumsum((steps[jumps] + 32768) % 65536 - 32768, axis=1)) / 2
    return found


def signed_bytes(data: Bytes) -> Lengths:
    """Code length of signed 8-bit samples, where bytes are like their neighbours.

    The low byte of a 16-bit sample is not like the high one.
    """
    low, high = (data[:, first::2].view(np.int8).astype(np.float32) for first in (0, 1))
    low -= low.mean(axis=1, keepdims=True)
    high -= high.mean(axis=1, keepdims=True)
    both = np.einsum("ij,ij->i", low, high)
    alike = both**2 > 0.2 * np.einsum("ij,ij->i", low, low) * np.einsum("ij,ij->i", high, high)
    rows = np.flatnonzero(alike)
    found: Lengths = np.full(len(data), np.inf)
    found[rows] = _linear(_view(data[rows], "i1"))
    return found


def recoded(values: NDArray[np.float32], meant: CodeLength) -> CodeLength:
    """Code length of 16-bit samples that all stand in one law's table, if their codes are another's."""
    value = np.rint(values * 32768).astype(np.int64) & 0xFFFF
    code, known = np.zeros(65536, np.uint8), np.zeros(65536, np.bool_)
    code[value], known[value] = np.arange(256), True

    def length(data: Bytes) -> Lengths:
        pcm = _view(data, "<u2")
        rows = np.flatnonzero(known[pcm].mean(axis=1) > 0.99)
        found: Lengths = np.full(len(data), np.inf)
        # Against the 16 bits that each takes up here, not the 8 it once was.
        found[rows] = meant(code[pcm[rows]]) / 2
        return found

    return length


def _alaw() -> NDArray[np.float32]:
    """Value of each byte of A-law, full scale being 1."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = code >> 4 & 7, 2 * (code & 15) + 1
    value = np.where(exponent, (mantissa + 32) << np.maximum(exponent - 1, 0), mantissa) * 8
    signed: NDArray[np.int_] = np.where(code & 0x80, value, -value)
    return signed.astype(np.float32) / np.float32(32768)


ALAW: Final = _alaw()
MULAW: Final = (np.frombuffer(PCMU.decode(bytes(range(256))), "<i2") / 32768).astype(np.float32)


# -- what is no samples at all -------------------------------------------------------------------


def letters(alphabet: bytes) -> CodeLength:
    """Code length of text: that of the smallest alphabet that it can be written in."""
    known = np.zeros(256, np.bool_)
    known[list(alphabet)] = True
    bits = float(np.log2(len(alphabet))) / 8
    return lambda data: np.where(known[data].mean(axis=1) > 0.995, bits, np.inf)


def _packets(data: Bytes, header: Callable[[bytes], tuple[bytes, int] | None]) -> Lengths:
    """Code length of compressed audio: a header says where the next one is, which is of the same kind.

    Args:
        data: The bytes.
        header: Takes bytes that begin with 0xFF and returns what all headers of such a stream have in
            common and the length of the packet; ``None`` if they are none.
    """

    def has_two(frame: bytes) -> bool:
        at = frame.find(b"\xff")
        while 0 <= at < len(frame) - 6:
            if (one := header(frame[at : at + 6])) is not None:
                behind = frame[at + one[1] : at + one[1] + 6]
                other = header(behind) if len(behind) == 6 and behind[0] == 0xFF else None
                if other is not None and other[0] == one[0]:
                    return True
            at = frame.find(b"\xff", at + 1)
        return False

    # Whatever is a header has a byte of 0xF0 and more behind its first: hardly any other frame does.
    begins = ((data[:, :-1] == 0xFF) & (data[:, 1:] >= 0xF0)).any(axis=1)
    found: Lengths = np.full(len(data), np.inf)
    for row in np.flatnonzero(begins).tolist():
        if has_two(data[row].tobytes()):
            found[row] = 0.1
    return found


#: Layer III: kbit/s by index, and hertz, of MPEG-1 and of MPEG-2.
_KBIT_S: Final = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_HZ: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000)}


def _mp3(header: bytes) -> tuple[bytes, int] | None:
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    rate, hertz, padded = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if header[1] < 0xE0 or version not in _KBIT_S or layer != 1 or rate in (0, 15) or hertz == 3:
        return None
    samples = 144_000 if version == 3 else 72_000
    length = samples * _KBIT_S[version][rate] // _MPEG_HZ[version][hertz] + padded
    return bytes([header[1], header[2] & 0xFD, header[3]]), length


def _adts(header: bytes) -> tuple[bytes, int] | None:
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if header[1] & 0xF6 != 0xF0 or length < 8:
        return None
    return bytes([header[1], header[2] & 0xFD]), length


def mp3(data: Bytes) -> Lengths:
    """Code length of MP3, of which two headers in a row are seen."""
    return _packets(data, _mp3)


def aac(data: Bytes) -> Lengths:
    """Code length of AAC in ADTS, of which two headers in a row are seen."""
    return _packets(data, _adts)
