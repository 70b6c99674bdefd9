"""What the bytes of a signal are: the reading of them that takes the fewest bits to write down.

What the bytes really are has a code shorter than all else, by 1.5 bits of each byte and more, whatever
it is that sounds: a voice, music, a modem, noise. Of silence all readings are as short. See
:mod:`workbench.sound_files.code_length`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import PCMU
from workbench import mapped
from workbench.audio import Audio
from workbench.metrics.speech import joined, runs_of
from workbench.sound_files import code_length
from workbench.sound_files.code_length import (
    ALAW,
    MARGIN,
    MULAW,
    Bytes,
    CodeLength,
    Lengths,
    shortest,
    words,
)

__all__ = [
    "MARGIN",
    "RANDOM_BITS",
    "TWO_CHANNELS",
    "UNKNOWN",
    "Declared",
    "Misread",
    "Reading",
    "as_meant",
    "misread",
]

Declared: TypeAlias = Literal["PCMU", "PCM"]
Samples: TypeAlias = NDArray[np.float32]

#: What is judged at once, and how long it must go on, in seconds.
_PIECE, _READ_SECS = 0.25, 0.5
#: So much of a piece is looked at, so many times: samples as they were read.
_FRAME, _FRAMES = 512, 2
#: What takes less than this, in bits a byte, is too faint to tell; what takes more may be anything; and
#: what takes so much in its best reading too is no sound.
_FAINT, _DOUBTFUL, _NO_SOUND = 2.5, 6.0, 7.5
#: What is read as this has no sound in it.
_SILENT_DBOV: Final = -60.0
#: A shorter stretch that tells nothing is a pause in the one around it, in seconds.
_PAUSE: Final = 1.0
#: Samples wrap around in so many frames, no further apart than that, or it was something else.
_OFTEN: Final = 3
#: So steep a wave is beside where it wraps, as a share of how steep it is there: 0.65 and more in the
#: median; a square wave at full scale, which is flat beside its edges, 0.42. What is added to both.
_SLOPE, _ROUNDED = 0.6, 0.003
#: Of eight parts of a frame half have this share of the power of the loudest; and of its samples fewer
#: than this share are its highest or lowest.
_EVEN, _AT_RAIL = 0.01, 0.15
#: Entropy of random bytes, in bits; of noise at full scale that is cut off 7.
_EVEN_BITS: Final = 7.8
#: Where more than this share of what can be heard is different, there are not few values.
_MANY: Final = 0.4
_AT_ONCE: Final = 120  # pieces, half a minute
_FRAMED: Final = 2000  # frames


class Reading(NamedTuple):
    """One way to read bytes.

    Parameters:
        name: In words.
        length: Its code length, see :mod:`workbench.sound_files.code_length`.
        setting: What to do about it, in the imperative.
        decode: Makes samples of bytes; ``None`` where they are none.
        against: Code length of the declared reading, foretold in the same way; by default as it is.
        margin: By so many bits a byte it must be shorter.
        rate: What it most likely was, in hertz; ``None``: the declared one.
    """

    name: str
    length: CodeLength
    setting: str
    decode: Callable[[bytes], Samples] | None = None
    against: CodeLength | None = None
    margin: float = MARGIN
    rate: int | None = None


class Misread(NamedTuple):
    """A stretch whose bytes are something else.

    Parameters:
        start: In seconds.
        end: In seconds.
        bits: By how many bits a byte the other code is shorter; of what is :data:`UNKNOWN`, how many
            it takes as it was read.
        really: What the bytes are.
    """

    start: float
    end: float
    bits: float
    really: Reading


# -- how they are decoded ------------------------------------------------------------------------


def _looked_up(values: Samples) -> Callable[[bytes], Samples]:
    return lambda data: values[np.frombuffer(data, np.uint8)]


def _whole(kind: str, scale: float, first: int = 0, zero: int = 0) -> Callable[[bytes], Samples]:
    """Integers of a kind, from a byte on."""
    size = np.dtype(kind).itemsize

    def decode(data: bytes) -> Samples:
        count = (len(data) - first) // size
        values = np.frombuffer(data, kind, count, first).astype(np.float64)
        samples: Samples = ((values - zero) / scale).astype(np.float32)
        return samples

    return decode


def _at_best(
    lengths: list[CodeLength], decode: Callable[[bytes], Samples]
) -> Callable[[bytes], Samples]:
    """From the byte on from which the code is the shortest."""

    def decoded(data: bytes) -> Samples:
        size = 1020  # whole samples of 2, 3 and 4 bytes
        whole = np.frombuffer(data, np.uint8, len(data) // size * size).reshape(-1, size)
        means = [float(np.median(length(whole))) if len(whole) else 0.0 for length in lengths]
        return decode(data[int(np.argmin(means)) :])

    return decoded


def _three_bytes(data: bytes) -> Samples:
    parts = np.frombuffer(data, np.uint8, len(data) // 3 * 3).reshape(-1, 3)
    wide = np.pad(parts, ((0, 0), (1, 0))).tobytes()
    return _whole("<i4", 2.0**31)(wide)


def _floating(data: bytes) -> Samples:
    samples: Samples = np.frombuffer(data, "<f4", len(data) // 4).clip(-1, 1)
    return np.nan_to_num(samples).astype(np.float32)


def _mixed(data: bytes) -> Samples:
    """Two channels as one."""
    both: Samples = _whole("<i2", 32768.0)(data[: len(data) // 4 * 4]).reshape(-1, 2).mean(axis=1)
    return both


def _unwrapped(data: bytes) -> Samples:
    """Half as loud, so that there is room for it."""
    pcm = np.frombuffer(data, "<i2", len(data) // 2).astype(np.int64)
    steps = (np.diff(pcm, prepend=pcm[:1]) + 32768) % 65536 - 32768
    samples: Samples = ((np.cumsum(steps) + pcm[:1].sum()) / 65536).astype(np.float32)
    return samples


def _other_law(known: Samples, meant: Samples) -> Callable[[bytes], Samples]:
    """Samples of one law, as codes of the other."""
    order = np.argsort(known, kind="stable")

    def decode(data: bytes) -> Samples:
        samples = _whole("<i2", 32768.0)(data)
        found: Samples = meant[order[np.searchsorted(known[order], samples).clip(0, 255)]]
        return found

    return decode


# -- the readings --------------------------------------------------------------------------------

_HEX = b"0123456789abcdefABCDEF\r\n"
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_\r\n"
_TEXT = bytes(range(32, 127)) + b"\t\r\n"
_MU, _A = code_length.table(MULAW), code_length.table(ALAW)
_PACKED = [code_length.packed_24_bit(first) for first in range(3)]
_LONG = [words("<i4", first) for first in (0, 1, 3)]  # from 2 on it is two channels, one silent
_FLOATS = [code_length.floating_point(first) for first in range(4)]
_AS_PCM: Final = "ask the speech service for 16-bit PCM (pcm_24000, linear16, s16le)"
_ENCODE: Final = "encode them as mu-law before they are called so"
TWO_CHANNELS: Final = "two channels"

_NO_SAMPLES: Final = (
    Reading("text in hexadecimal digits", code_length.letters(_HEX), "decode it (bytes.fromhex)"),
    Reading("text in base64", code_length.letters(_BASE64), "decode it (base64.b64decode)"),
    Reading("text", code_length.letters(_TEXT),
            "look at it: JSON, or an error message; check the status of the answer before it is played"),
    Reading("MP3", code_length.mp3, f"{_AS_PCM}, not mp3, or decode it"),
    Reading("AAC", code_length.aac, f"{_AS_PCM}, not aac, or decode it"),
)  # fmt: skip

WRAPPED: Final = Reading(
    "16-bit samples that wrapped around at full scale",
    code_length.wrapped,
    "limit (clip) sums and gains before they become integers",
    _unwrapped,
    margin=0.4,
)

#: What bytes that are declared to be something may be instead.
_READINGS: Final[dict[Declared, tuple[Reading, ...]]] = {
    "PCM": (
        Reading(TWO_CHANNELS, code_length.two_channels,
                "set num_channels=2 in the frames, or ask for one channel",
                _mixed, code_length.alone, 0.6),
        Reading("signed 8-bit samples", code_length.signed_bytes, _AS_PCM, _whole("i1", 128.0)),
        Reading("A-law, decoded as mu-law", code_length.recoded(MULAW, _A), "decode it as A-law",
                _other_law(MULAW, ALAW)),
        Reading("mu-law, decoded as A-law", code_length.recoded(ALAW, _MU), "decode it as mu-law",
                _other_law(ALAW, MULAW)),
        Reading("mu-law", _MU, f"{_AS_PCM}, not ulaw_8000, or decode it", _looked_up(MULAW), rate=8000),
        Reading("A-law", _A, f"{_AS_PCM}, not alaw_8000, or decode it", _looked_up(ALAW), rate=8000),
        Reading("unsigned 8-bit samples", words("u1"), _AS_PCM, _whole("u1", 128.0, zero=128)),
        Reading("16-bit samples with their bytes swapped", words(">i2"),
                "swap them (byteswap), or ask for little-endian", _whole(">i2", 32768.0)),
        Reading("16-bit samples from an odd byte on", words("<i2", 1),
                "keep the odd byte at the end of a chunk for the next one", _whole("<i2", 32768.0, 1)),
        Reading("24-bit samples", shortest(*_PACKED), _AS_PCM, _at_best(_PACKED, _three_bytes)),
        Reading("32-bit samples", shortest(*_LONG), _AS_PCM, _whole("<i4", 2.0**31)),
        Reading("32-bit floating-point samples", shortest(*_FLOATS), f"{_AS_PCM}, not pcm_f32le",
                _at_best(_FLOATS, _floating)),
        *_NO_SAMPLES,
    ),
    "PCMU": (
        Reading("A-law", _A, "decode it as A-law, or ask for PCMU", _looked_up(ALAW)),
        Reading("16-bit samples", shortest(words("<i2"), words("<i2", 1)), _ENCODE,
                _at_best([words("<i2"), words("<i2", 1)], _whole("<i2", 32768.0))),
        Reading("16-bit samples with their bytes swapped", words(">i2"), _ENCODE,
                _whole(">i2", 32768.0)),
        *_NO_SAMPLES,
    ),
}  # fmt: skip
#: What takes as much in any reading as random bytes: compressed or encrypted, or noise at full scale.
UNKNOWN: Final = Reading(
    "random bytes, no sound in any known encoding",
    words("u1"),
    "look at what delivers them: compressed or encrypted audio is not decoded",
)
#: Bits that such take as they were read: random ones 8.1 as 16-bit samples and 8.7 as mu-law, white
#: noise of -10 dBov 7.7 and 7.5.
RANDOM_BITS: Final[dict[Declared, float]] = {"PCM": 8.0, "PCMU": 8.3}
#: So many of them are looked at everywhere: read as samples they sound much like sound.
_FIRST: Final[dict[Declared, int]] = {"PCM": 4, "PCMU": 0}

#: Codes of mu-law in the order of what they mean.
_BY_VALUE: Final = np.argsort(np.argsort(MULAW, kind="stable"))

_OWN: Final[dict[Declared, CodeLength]] = {
    "PCM": shortest(words("<i2"), code_length.recoded(MULAW, _MU), code_length.recoded(ALAW, _A)),
    "PCMU": _MU,
}


def misread(audio: Audio, declared: Declared) -> Iterator[Misread]:
    """Find where another reading of the bytes is sound, and the declared one is not.

    Args:
        audio: As it was decoded.
        declared: What its bytes were read as.

    Yields:
        Stretches of :data:`_READ_SECS` and more, in order.
    """
    readings = _READINGS[declared]
    size = max(_FRAME, round(_PIECE * audio.sample_rate) // 2 * 2)
    pieces = audio.samples[: len(audio) // size * size].reshape(-1, size)
    own, (length, margins) = (
        np.empty((min(_FRAMES, size // _FRAME), len(pieces))),
        np.empty((2, len(readings), len(pieces))),
    )
    power = np.empty(len(pieces), audio.samples.dtype)
    for first in range(0, len(pieces), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        own[:, part], length[:, part], margins[:, part] = _compared(pieces[part], declared)
        power[part] = [np.vdot(piece, piece) for piece in pieces[part]]
        mapped.let_go(pieces[part])
    power /= size
    best = margins.max(axis=0, initial=-np.inf)
    step, wins = size / audio.sample_rate, best > 1
    untold = best == -np.inf
    # Nothing can be told of silence; but of what is misread it is loud, and goes on with the rest. A
    # pause belongs to what is before it and behind it.
    goes_on = runs_of(wins | (untold & (power > 10 ** (_SILENT_DBOV / 10))), step)
    fine = ~untold & ~wins & ~(own >= _DOUBTFUL).any(axis=0)
    # The end of a word may look fine by itself; as long as a stretch must be, it is.
    elsewhere = np.array([(a + b) / 2 for a, b in runs_of(fine, step) if b - a >= _READ_SECS])
    told = list[tuple[float, float]]()
    for start, end in joined(goes_on, _PAUSE, elsewhere).tolist():
        inside = np.flatnonzero(wins[round(start / step) : round(end / step)])
        inside += round(start / step)
        if step * len(inside) >= _READ_SECS:
            margin = np.median(margins[:, inside], axis=1).tolist()
            bits = max(m * one.margin for m, one in zip(margin, readings, strict=True))
            shortest_of_all = int(np.argmin(length[:, inside].mean(axis=1)))
            yield Misread(start, end, bits, readings[shortest_of_all])
            told.append((start, end))
    rest = list(_wrapped_around(audio)) if declared == "PCM" else []
    for start, end in runs_of(~wins & (own > RANDOM_BITS[declared]).all(axis=0), step).tolist():
        stretch = pieces[round(start / step) : round(end / step)]
        if end - start >= _READ_SECS and _is_random(stretch, declared):
            taken = own[:, round(start / step) : round(end / step)]
            rest.append(Misread(start, end, float(np.median(taken)), UNKNOWN))
    yield from (m for m in rest if not any(m.start < end and start < m.end for start, end in told))


def _wrapped_around(audio: Audio) -> Iterator[Misread]:
    """Find where loud samples come back at the other end: in a moment, where the steps are that large."""
    framed = audio.samples[: len(audio) // _FRAME * _FRAME].reshape(-1, _FRAME)
    jumping, frames = [np.empty(0, np.intp)], [np.empty((0, _FRAME), np.float32)]
    for first, block in mapped.blocks(framed, _FRAMED):
        loud = np.flatnonzero((block.max(axis=1) > 0.5) & (block.min(axis=1) < -0.5))
        found = loud[(np.abs(np.diff(block[loud], axis=1)) > 1).any(axis=1)]
        jumping.append(first + found)
        frames.append(block[found])
    yield from _wrapped_in(
        np.concatenate(jumping) * _FRAME, np.concatenate(frames), audio.sample_rate
    )


def _wrapped_in(
    first: NDArray[np.intp], frames: NDArray[np.float32], rate: int
) -> Iterator[Misread]:
    """Of frames with jumps, from which sample on: where all of them are wrapped around."""
    if len(frames) < _OFTEN:
        return
    data = _bytes_of(frames, "PCM")
    length = code_length.wrapped(data)
    shorter = np.minimum(_OWN["PCM"](data), _in_few_codes(data, "PCM")) - length
    wins = (shorter > WRAPPED.margin) & (length < _NO_SOUND) & _is_steady(frames)
    times, bits = first[wins] / rate, shorter[wins]
    for run in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > _PAUSE) + 1):
        if len(run) >= _OFTEN and _slopes_on(frames[wins][run]) > _SLOPE:
            end = float(times[run[-1]]) + _FRAME / rate
            yield Misread(float(times[run[0]]), end, float(np.median(bits[run])), WRAPPED)


def _slopes_on(frames: NDArray[np.float32]) -> float:
    """How steep a wave is beside the jumps of each frame, over how steep it is at them once unwrapped."""
    steps = np.diff(frames.astype(np.float64), axis=1)
    row, at = np.nonzero(np.abs(steps[:, 1:-1]) > 1)
    unwrapped = np.abs((steps + 1) % 2 - 1)
    beside = (unwrapped[row, at] + unwrapped[row, at + 2]) / 2
    return (
        float(np.median((beside + _ROUNDED) / (unwrapped[row, at + 1] + _ROUNDED)))
        if len(row)
        else 0.0
    )


def _compared(pieces: NDArray[np.float32], declared: Declared) -> tuple[Lengths, Lengths, Lengths]:
    """How long the codes of each reading are, and by how much shorter than that of the declared one.

    Args:
        pieces: Shape ``(n, samples)``.
        declared: What they were read as.

    Returns:
        Code length of the declared reading, shape ``(frames, n)``, and of the others, ``(readings, n)``, in
        bits a byte; and how much shorter those are, in margins, minus infinity where nothing can be
        told.
    """
    size = pieces.shape[1]
    begins = np.linspace(0, size - _FRAME, min(_FRAMES, size // _FRAME)).astype(int) // 2 * 2
    frames = np.stack([pieces[:, first : first + _FRAME] for first in begins.tolist()])
    frames = frames.reshape(-1, _FRAME)
    own = np.full(len(frames), np.nan)
    length, margins = np.full((2, len(_READINGS[declared]), len(frames)), -np.inf)
    steady = np.flatnonzero(_is_steady(frames))
    if len(steady):
        data = _bytes_of(frames[steady], declared)
        own[steady], length[:, steady], margins[:, steady] = _costs(data, declared)
    shape = len(length), len(begins), -1
    return (
        own.reshape(shape[1:]),
        length.reshape(shape).min(axis=1, initial=_NO_SOUND, where=length.reshape(shape) > -np.inf),
        margins.reshape(shape).max(axis=1),
    )


def _costs(data: Bytes, declared: Declared) -> tuple[Lengths, Lengths, Lengths]:
    """The same of each of some frames, which one code length fits."""
    own = _OWN[declared](data)
    told = np.flatnonzero(own > _FAINT)
    length, margins = np.full((2, len(_READINGS[declared]), len(data)), -np.inf)
    length[:, told], margins[:, told] = _NO_SOUND, 0.0
    for number, reading in enumerate(_READINGS[declared]):
        if number == _FIRST[declared]:
            told = told[(own[told] > _DOUBTFUL) | (margins[:, told] > 1).any(axis=0)]
        if not len(told):
            break
        length[number, told] = np.minimum(reading.length(data[told]), _NO_SOUND)
        before = own[told] if reading.against is None else reading.against(data[told])
        shorter = np.where(length[number, told] < _NO_SOUND, before - length[number, told], 0.0)
        margins[number, told] = shorter / reading.margin
    _less_of_few(data, declared, length, margins)
    return own, length, margins


def _is_random(pieces: NDArray[np.float32], declared: Declared) -> bool:
    """Whether all bytes are as frequent, of samples of 16 bits their high ones: sound has some seldom."""
    data = _bytes_of(pieces, declared).ravel()
    data = data if declared == "PCMU" else data[1::2]
    share = np.bincount(data, minlength=256) / len(data)
    bits = -float(np.sum(share * np.log2(np.maximum(share, 1e-12))))
    # So few bytes are by chance less even than they are (Miller and Madow).
    return bits + 255 / (2 * len(data) * float(np.log(2))) > _EVEN_BITS


def _less_of_few(data: Bytes, declared: Declared, length: Lengths, margins: Lengths) -> None:
    """Take back what other readings of sound win where the declared one has few values, in place."""
    rows = np.flatnonzero((margins > 1).any(axis=0))
    few = _in_few_codes(data[rows], declared)
    for number, reading in enumerate(_READINGS[declared]):
        if reading.decode is not None:
            left = (few - length[number, rows]) / reading.margin
            margins[number, rows] = np.minimum(margins[number, rows], left)


def _in_few_codes(data: Bytes, declared: Declared) -> Lengths:
    """Code length of the declared reading as sound of few values, in bits a byte; infinite of others.

    How many there are is asked of what can be heard: silence has one, and says nothing of the rest.
    """
    if declared == "PCMU":
        values, length, silent = data, code_length.few_codes(_BY_VALUE[data], 256), (127, 255)
    else:
        values, length = np.ascontiguousarray(data).view("<i2"), code_length.few_words("<i2")(data)
        silent = (0, 0)
    heard = np.count_nonzero((values != silent[0]) & (values != silent[1]), axis=1)
    different = np.count_nonzero(np.diff(np.sort(values, axis=1), axis=1), axis=1)
    return np.where(different > _MANY * heard, np.inf, length)


def _is_steady(frames: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether one length fits all of a frame: no click in silence, and not cut off at the rail."""
    power = np.square(frames, dtype=np.float64).reshape(len(frames), 8, -1).mean(axis=2)
    even = np.median(power, axis=1) > _EVEN * power.max(axis=1)
    ends = frames.max(axis=1, keepdims=True), frames.min(axis=1, keepdims=True)
    at_rail = sum((frames == end).mean(axis=1) for end in ends)
    steady: NDArray[np.bool_] = even & (at_rail < _AT_RAIL)
    return steady


def _bytes_of(frames: NDArray[np.float32], declared: Declared) -> Bytes:
    pcm = np.rint(frames * 32768).clip(-32768, 32767).astype("<i2")
    data = pcm.tobytes() if declared == "PCM" else PCMU.encode(pcm.tobytes())
    return np.frombuffer(data, np.uint8).reshape(len(frames), -1)


def as_meant(audio: Audio, declared: Declared) -> Audio | None:
    """Read the bytes of a stretch as what they are.

    Args:
        audio: As it was decoded, of the stretch only.
        declared: What its bytes were read as.

    Returns:
        The sound, as long as it was meant to be; ``None`` where the declared reading is right, or
        where what they are is no samples.
    """
    found = max(misread(audio, declared), key=lambda m: m.end - m.start, default=None)
    if found is None or found.really.decode is None:
        return None
    data = _bytes_of(audio.samples[None], declared).tobytes()
    return Audio(found.really.decode(data), found.really.rate or audio.sample_rate)
