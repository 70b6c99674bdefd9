"""AMR, the speech codec of mobile networks: there and back, and with frames lost on the way.

What codes and decodes is the libraries that 3GPP's reference code became, OpenCORE and VisualOn:
found by themselves where the system has them, else inside an ``ffmpeg`` on the path that was built
with them. Most are not. Where neither is found, :exc:`NotAvailable` says what is missing.

A lost frame reaches the decoder of AMR-NB as one of type 15, to which the standard's concealment [4]_
answers. OpenCORE's of AMR-WB has none that works: a vowel falls by 40 dB within one lost frame and
needs three to come back, which is worse than silence. There the decoder is given the frame before
once more, as [5]_ goes on with its parameters, so that it comes back at once; and what is heard of the
gap is what all other legs have there (:mod:`workbench.tuning.concealment`).

Inside ffmpeg OpenCORE's decoder for AMR-WB was found 3 dB further from what was said than Debian's
build of it and than the decoder that ffmpeg has of its own, which agree; so there ffmpeg's decodes.

References:
    .. [1] 3GPP TS 26.071 and TS 26.090, AMR: frames of 20 ms, 5 ms of them looked ahead.
    .. [2] 3GPP TS 26.190, AMR-WB; the delay of its filters is measured, not given there.
    .. [3] RFC 4867, sections 4.3.2 (frame types) and 5.3 (a frame as it is stored).
    .. [4] 3GPP TS 26.091, AMR: substitution and muting of lost frames.
    .. [5] 3GPP TS 26.191, the same of AMR-WB.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Collection, Sequence
from ctypes import CDLL, c_char_p, c_int, c_void_p, create_string_buffer
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.exceptions import NotAvailable
from workbench.tuning.concealment import concealed

__all__ = ["AMR_NB", "AMR_WB", "Amr"]

#: Frames a second.
RATE: Final = 50

_LARGEST: Final = 64  # bytes in a stored frame, with its header


@dataclass(frozen=True)
class Amr:
    """One of the two codecs, at one of its bit rates.

    Parameters:
        name: Its name.
        sample_rate: In hertz.
        mode: Of the bit rate.
        kbit_s: The bit rate, in thousands.
        delay: Through coder and decoder, in samples.
        sizes: Bytes of a stored frame by its type, header included.
        lost: The type of a frame that did not arrive; ``None`` if the decoder does not conceal it.
        coder: Library, and the names in it that begin, code and end.
        decoder: The same of the decoder.
        in_ffmpeg: Names of coder and decoder there, and what a stored file begins with.
    """

    name: str
    sample_rate: int
    mode: int
    kbit_s: float
    delay: int
    sizes: tuple[int, ...]
    lost: int | None
    coder: tuple[str, ...]
    decoder: tuple[str, ...]
    in_ffmpeg: tuple[str, str, bytes]

    @property
    def frame(self) -> int:
        """Samples in a frame."""
        return self.sample_rate // RATE

    def __call__(self, pcm: NDArray[np.int16], lost: Collection[int] = ()) -> NDArray[np.int16]:
        """Let samples travel.

        Args:
            pcm: At the codec's rate.
            lost: Numbers of the frames that do not arrive.

        Returns:
            As many samples, delay taken out.

        Raises:
            NotAvailable: If there is neither a library nor an ffmpeg for it.
        """
        count = -(-(pcm.size + self.delay) // self.frame)
        padded: NDArray[np.int16] = mapped.zeros(count * self.frame, np.int16)
        padded[: pcm.size] = pcm
        encoded, decoded = _found(self)
        frames = encoded(padded)
        gone = sorted(number for number in set(lost) if number < len(frames))
        for number in gone:
            before = frames[max(number - 1, 0)]
            frames[number] = before if self.lost is None else bytes([self.lost << 3 | 4])
        heard = decoded(frames)
        if gone and self.lost is None:
            heard = concealed(heard, gone, self.frame, self.sample_rate)
        return heard[self.delay : self.delay + pcm.size]


AMR_NB: Final = Amr(
    "AMR-NB", 8000, 7, 12.2, 40,
    (13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1), 15,
    ("opencore-amrnb", "Encoder_Interface_init", "Encoder_Interface_Encode", "Encoder_Interface_exit"),
    ("opencore-amrnb", "Decoder_Interface_init", "Decoder_Interface_Decode", "Decoder_Interface_exit"),
    ("libopencore_amrnb", "libopencore_amrnb", b"#!AMR\n"),
)  # fmt: skip
AMR_WB: Final = Amr(
    "AMR-WB", 16000, 2, 12.65, 95,
    (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1), None,
    ("vo-amrwbenc", "E_IF_init", "E_IF_encode", "E_IF_exit"),
    ("opencore-amrwb", "D_IF_init", "D_IF_decode", "D_IF_exit"),
    ("libvo_amrwbenc", "amrwb", b"#!AMR-WB\n"),
)  # fmt: skip

Encode = Callable[[NDArray[np.int16]], list[bytes]]
Decode = Callable[[Sequence[bytes]], NDArray[np.int16]]


@cache
def _found(codec: Amr) -> tuple[Encode, Decode]:
    """What codes and decodes here."""
    libraries = [find_library(name) for name in (codec.coder[0], codec.decoder[0])]
    if all(libraries):
        coder, decoder = (CDLL(str(name)) for name in libraries)
        return (
            lambda pcm: _encoded(codec, coder, pcm),
            lambda frames: _decoded(codec, decoder, frames),
        )
    ffmpeg = shutil.which("ffmpeg")
    missing = f"no ffmpeg is on the path that could stand in for the libraries {_named(codec)}"
    if ffmpeg is not None:
        wanted = {"encoder": codec.in_ffmpeg[0], "decoder": codec.in_ffmpeg[1]}
        lacking = list(
            dict.fromkeys(n for kind, n in wanted.items() if n not in _listed(ffmpeg, kind))
        )
        if not lacking:
            return (
                lambda pcm: _encoded_by_ffmpeg(codec, ffmpeg, pcm),
                lambda frames: _decoded_by_ffmpeg(codec, ffmpeg, frames),
            )
        missing = f"{ffmpeg} was built without {' and '.join(lacking)}, and there are no libraries {_named(codec)}"
    raise NotAvailable(f"{codec.name} is not available: {missing}")


def _named(codec: Amr) -> str:
    return " and ".join(dict.fromkeys(f"lib{part[0]}" for part in (codec.coder, codec.decoder)))


# -- by the libraries --------------------------------------------------------------------------


def _function(library: CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


def _encoded(codec: Amr, library: CDLL, pcm: NDArray[np.int16]) -> list[bytes]:
    _, begin, code, end = codec.coder
    narrow = codec.sample_rate == 8000  # whose coder is asked whether to leave silence out
    state = _function(library, begin, c_void_p, *([c_int] if narrow else []))(
        *([0] if narrow else [])
    )
    encode = _function(library, code, c_int, c_void_p, c_int, c_void_p, c_char_p, c_int)
    out, frames = create_string_buffer(_LARGEST), []
    try:
        for block in pcm.reshape(-1, codec.frame):
            size = encode(state, codec.mode, block.ctypes.data, out, 0)
            frames.append(out.raw[:size])
    finally:
        _function(library, end, None, c_void_p)(state)
    return frames


def _decoded(codec: Amr, library: CDLL, frames: Sequence[bytes]) -> NDArray[np.int16]:
    _, begin, code, end = codec.decoder
    pcm = mapped.zeros(len(frames) * codec.frame, np.int16).reshape(-1, codec.frame)
    state = _function(library, begin, c_void_p)()
    decode = _function(library, code, None, c_void_p, c_char_p, c_void_p, c_int)
    try:
        for block, frame in zip(pcm, frames, strict=True):
            decode(state, frame.ljust(_LARGEST, b"\0"), block.ctypes.data, 0)
    finally:
        _function(library, end, None, c_void_p)(state)
    return pcm.ravel()


# -- by ffmpeg ---------------------------------------------------------------------------------


@cache
def _listed(ffmpeg: str, kind: str) -> str:
    asked = [ffmpeg, "-hide_banner", f"-{kind}s"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout


def _run(ffmpeg: str, data: bytes, *arguments: str) -> bytes:
    command = [ffmpeg, "-hide_banner", "-loglevel", "error", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        raise NotAvailable(f"{ffmpeg} failed: {done.stderr.decode(errors='replace').strip()[:200]}")
    return done.stdout


def _encoded_by_ffmpeg(codec: Amr, ffmpeg: str, pcm: NDArray[np.int16]) -> list[bytes]:
    coder, _, magic = codec.in_ffmpeg
    raw = ("-f", "s16le", "-ar", str(codec.sample_rate), "-ac", "1", "-i", "-")
    rate = ("-c:a", coder, "-b:a", f"{codec.kbit_s:g}k", "-f", "amr", "-")
    stored = _run(ffmpeg, pcm.astype("<i2").tobytes(), *raw, *rate).removeprefix(magic)
    frames, at = [], 0
    while at < len(stored):
        size = codec.sizes[stored[at] >> 3 & 15]
        frames.append(stored[at : at + size])
        at += size
    return frames[: pcm.size // codec.frame]


def _decoded_by_ffmpeg(codec: Amr, ffmpeg: str, frames: Sequence[bytes]) -> NDArray[np.int16]:
    _, decoder, magic = codec.in_ffmpeg
    stored = magic + b"".join(frames)
    raw = _run(ffmpeg, stored, "-c:a", decoder, "-f", "amr", "-i", "-", "-f", "s16le", "-")
    pcm = np.frombuffer(raw, "<i2").astype(np.int16)
    return np.pad(pcm, (0, max(0, len(frames) * codec.frame - pcm.size)))
