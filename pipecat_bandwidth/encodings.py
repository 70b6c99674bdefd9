"""The audio encodings of the media stream: content types, rates, and bytes to and from PCM.

``pcm`` is 16-bit signed little-endian mono; ``payload`` is what stands, base64-coded, in a message.

======== ================ ============================================================ =============
encoding sample_rate      content type                                                 bytes/sample
======== ================ ============================================================ =============
PCMU     8000             ``audio/pcmu``                                               1
PCM      8000 16000 24000 ``audio/pcm;rate=R;channels=1;bit-depth=16;endian=little;``  2
                          ``encoding=signed``
======== ================ ============================================================ =============

References:
    ITU-T G.711, mu-law. The coder is CPython's ``audioop`` (CCITT reference), bit for bit.
    RFC 3551, section 4.5.14: the name PCMU.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

with warnings.catch_warnings():
    # On 3.11 and 3.12 the module is CPython's own; from 3.13 it is the package audioop-lts.
    warnings.simplefilter("ignore", DeprecationWarning)
    from audioop import lin2ulaw, ulaw2lin

import numpy as np

__all__ = [
    "FORMATS",
    "PCMU",
    "Encoding",
    "PCMRate",
    "WireFormat",
    "from_content_type",
    "ulaw2lin",
    "wire_format",
]

#: The mu-law code of each 16-bit sample, indexed by its value read as unsigned. Looking up 40 ms of speech takes
#: less than half of audioop's time, which searches the segment of each sample.
_ULAW: Final = np.frombuffer(lin2ulaw(np.arange(65536, dtype=np.uint16).tobytes(), 2), np.uint8)

Encoding: TypeAlias = Literal["PCMU", "PCM"]
PCMRate: TypeAlias = Literal[8000, 16000, 24000]


@dataclass(frozen=True)
class WireFormat:
    r"""One encoding at one rate.

    Parameters:
        encoding: ``"PCMU"`` or ``"PCM"``.
        sample_rate: In hertz.
        content_type: The exact string that Bandwidth expects: this order, no space, lower case.
        bytes_per_sample: 1 or 2.

    Example::

        >>> PCMU.encode(bytes(4)), PCMU.decode(b"\xff\xff")
        (b'\xff\xff', b'\x00\x00\x00\x00')
        >>> print(from_content_type("Audio/PCMU"), wire_format("PCM", 16000), sep=", ")
        PCMU, PCM 16 kHz
    """

    encoding: Encoding
    sample_rate: int
    content_type: str
    bytes_per_sample: int

    def encode(self, pcm: bytes) -> bytes:
        """Encode PCM.

        Args:
            pcm: 16-bit little-endian samples at :attr:`sample_rate`, an even number of bytes.

        Returns:
            The payload, whole samples.
        """
        if self.bytes_per_sample == 2:
            return pcm
        return _ULAW.take(np.frombuffer(pcm, np.uint16)).tobytes()

    def encoder(self) -> Callable[[bytes], bytes]:
        """Make an :meth:`encode` for the messages of one stream, most of which are of one length.

        Returns:
            A function of bytes that does the same faster. It reuses its arrays, so it is not
            thread-safe.
        """
        return self.encode if self.bytes_per_sample == 2 else _ulaw_encoder()

    def decode(self, payload: bytes) -> bytes:
        """Decode a payload; the inverse of :meth:`encode` up to quantisation.

        Args:
            payload: Encoded samples. A trailing half sample is left out.

        Returns:
            16-bit little-endian PCM at :attr:`sample_rate`.
        """
        if self.bytes_per_sample == 1:
            return ulaw2lin(payload, 2)
        return payload if len(payload) % 2 == 0 else payload[:-1]

    def duration(self, payload: bytes) -> float:
        """Length of a payload in seconds."""
        return len(payload) / self.bytes_per_sample / self.sample_rate

    def __str__(self) -> str:
        return self.encoding if self.encoding == "PCMU" else f"PCM {self.sample_rate // 1000} kHz"


class _Room(NamedTuple):
    """Where samples of one length are encoded."""

    received: memoryview
    samples: np.ndarray[tuple[int], np.dtype[np.uint16]]
    places: np.ndarray[tuple[int], np.dtype[np.intp]]
    codes: np.ndarray[tuple[int], np.dtype[np.uint8]]


def _room(size: int) -> _Room:
    received = memoryview(bytearray(size))
    samples = np.frombuffer(received, np.uint16)  # which refuses half a sample
    count = len(samples)
    return _Room(received, samples, np.empty(count, np.intp), np.empty(count, np.uint8))


def _ulaw_encoder() -> Callable[[bytes], bytes]:
    rooms = lru_cache(4)(_room)  # messages come in one length, or after resampling in turn in two
    received, samples, places, codes = rooms(0)

    def encode(pcm: bytes) -> bytes:
        nonlocal received, samples, places, codes
        if len(pcm) != len(received):
            received, samples, places, codes = rooms(len(pcm))
        received[:] = pcm
        places[...] = samples
        _ULAW.take(places, None, codes, "clip")  # clips nothing, and so needs no array of its own
        return codes.tobytes()

    return encode


def _pcm(rate: int) -> WireFormat:
    parameters = "channels=1;bit-depth=16;endian=little;encoding=signed"
    return WireFormat("PCM", rate, f"audio/pcm;rate={rate};{parameters}", 2)


PCMU: Final = WireFormat("PCMU", 8000, "audio/pcmu", 1)

#: Every format that ``playAudio`` takes, cheapest first.
FORMATS: Final[tuple[WireFormat, ...]] = (PCMU, _pcm(8000), _pcm(16000), _pcm(24000))


def wire_format(encoding: str, sample_rate: int = 8000) -> WireFormat:
    """Look up a format.

    Args:
        encoding: ``"PCMU"`` or ``"PCM"``.
        sample_rate: In hertz; for PCM one of 8000, 16000, 24000, for PCMU 8000.

    Raises:
        ValueError: If there is no such format; the message lists those there are.
    """
    for known in FORMATS:
        if (known.encoding, known.sample_rate) == (encoding, sample_rate):
            return known
    allowed = ", ".join(f"{f.encoding} {f.sample_rate}" for f in FORMATS)
    raise ValueError(f"no format {encoding!r} at {sample_rate!r} Hz, there are: {allowed}")


def from_content_type(content_type: str) -> WireFormat:
    """Read a media type, in any case and with its parameters in any order.

    Raises:
        ValueError: If it names no format of :data:`FORMATS`.
    """
    found = _BY_PARAMETERS.get(_parameters(content_type))
    if found is None:
        allowed = ", ".join(f.content_type for f in FORMATS)
        raise ValueError(f"unknown content type {content_type[:120]!r}, there are: {allowed}")
    return found


def _parameters(content_type: str) -> frozenset[str]:
    return frozenset(re.sub(r"\s", "", content_type).lower().split(";"))


_BY_PARAMETERS: Final = {_parameters(known.content_type): known for known in FORMATS}
