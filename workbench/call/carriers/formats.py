"""The encodings of audio on the wires of all carriers, by the names that they have there.

======================================================= ===========================================
name, in any case                                       read as
======================================================= ===========================================
``PCMU``, ``audio/x-mulaw``, ``audio/pcmu``             mu-law at 8 kHz
``PCMA``, ``audio/x-alaw``, ``audio/pcma``              A-law at 8 kHz
``PCM``, ``L16``, ``audio/l16``, ``audio/x-l16``,       16-bit signed little-endian samples
``audio/x-raw``, ``raw/slin``, ``base64``
======================================================= ===========================================

``base64`` is what Exotel's documentation calls it in some places. RFC 2586 has ``audio/L16`` in
network byte order; Vonage and Plivo use the name for little-endian samples.

References:
    ITU-T G.711, A-law. The coder is CPython's ``audioop`` (CCITT reference), bit for bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

with warnings.catch_warnings():
    # On 3.11 and 3.12 the module is CPython's own; from 3.13 it is the package audioop-lts.
    warnings.simplefilter("ignore", DeprecationWarning)
    from audioop import alaw2lin, lin2alaw

from pipecat_bandwidth.encodings import PCMU, WireFormat

__all__ = ["PCMA", "format_of", "linear"]

#: Rates that telephony and Pipecat know, in hertz.
RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


@dataclass(frozen=True)
class _ALaw(WireFormat):
    def encode(self, pcm: bytes) -> bytes:
        encoded: bytes = lin2alaw(pcm, 2)
        return encoded

    def encoder(self) -> Callable[[bytes], bytes]:
        return self.encode

    def decode(self, payload: bytes) -> bytes:
        pcm: bytes = alaw2lin(payload, 2)
        return pcm

    def __str__(self) -> str:
        return "PCMA"


#: No message of Bandwidth's has it.
PCMA: Final[WireFormat] = _ALaw("PCMA", 8000, "audio/pcma", 1)  # type: ignore[arg-type]


@cache
def linear(rate: int) -> WireFormat:
    """16-bit little-endian PCM of any rate."""
    return WireFormat("PCM", rate, "", 2)


@cache
def format_of(encoding: str, rate: int) -> WireFormat:
    """Look up a format by a carrier's name of it.

    Args:
        encoding: See the table above.
        rate: In hertz.

    Raises:
        ValueError: If the encoding, or the rate in it, is none that is read.

    Example::

        >>> print(format_of("audio/x-mulaw", 8000), format_of("PCMA", 8000), format_of("L16", 16000))
        PCMU PCMA PCM 16 kHz
    """
    name = encoding.lower().removeprefix("audio/").removeprefix("x-")
    if name in _G711 and rate == 8000:
        return _G711[name]
    if name in _LINEAR and rate in RATES:
        return linear(rate)
    raise ValueError(f"audio in {encoding[:40]!r} at {rate} Hz, which is not read here")


_G711: Final = {"pcmu": PCMU, "mulaw": PCMU, "pcma": PCMA, "alaw": PCMA}
_LINEAR: Final = ("pcm", "l16", "raw", "raw/slin", "slin", "base64")
