"""The caller's leg: what becomes of the bot's audio between Bandwidth and the caller's ear.

The workbench sees the audio up to the WebSocket. What follows - which codec the call really runs
on, how well it is resampled to there - it cannot see: a leg is an *assumption*, named in every
table. Each one here resamples to its codec's rate with a good linear-phase filter, encodes,
decodes, and takes the codec's own delay out, so that sample n stays where it was. No leg models
packet loss, gain control or noise suppression.

The first two of :data:`LEGS` stand for the narrowband and the wideband world, and are what
:func:`workbench.tuning.comparison.compare` and :func:`workbench.tuning.tuning.tune` look at unless
told otherwise. All of them come with every installation of the workbench.

References:
    .. [1] ITU-T G.711, mu-law. Bit for bit the coder of :mod:`pipecat_bandwidth.encodings`.
    .. [2] ITU-T G.722, 64 kbit/s, mode 1; 22 samples of delay through the two filter banks.
    .. [3] ETSI EN 300 961 (GSM 06.10), full rate, 13 kbit/s.
    .. [4] RFC 6716, Opus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import PCMU
from workbench.audio import Audio

__all__ = ["LEGS", "Leg", "legs_named"]


@dataclass(frozen=True)
class Leg:
    """One kind of connection to the caller.

    Parameters:
        name: The codec's.
        description: One sentence: who is reached like this, and what it carries.
        sample_rate: Of the codec, in hertz.
        bandwidth_hz: Upper edge of what it carries.
        coded: int16 samples through the codec and back, same length, delay taken out.
    """

    name: str
    description: str
    sample_rate: int
    bandwidth_hz: float
    coded: Callable[[NDArray[np.int16]], NDArray[np.int16]]

    def apply(self, audio: Audio) -> Audio:
        """Let audio travel over this leg.

        Args:
            audio: At any rate; above the codec's it is low-passed, below it stays narrow.

        Returns:
            What is heard, at the codec's rate, aligned with the input and as long.

        Raises:
            ModuleNotFoundError: If the codec's package is not installed; the message names it.

        Example::

            >>> speech = Audio.read("sample_audio/call/bot/b01.flac")
            >>> heard = LEGS["G.711"].apply(speech)
            >>> speech.sample_rate, heard.sample_rate, speech.duration == heard.duration
            (24000, 8000, True)
        """
        pcm = np.frombuffer(audio.resampled(self.sample_rate).pcm(), "<i2")
        if not pcm.size:
            return Audio(np.empty(0, np.float32), self.sample_rate)
        return Audio.from_pcm(self.coded(pcm).astype("<i2").tobytes(), self.sample_rate)


@cache
def _ulaw_round_trip() -> NDArray[np.int16]:
    """What each int16 becomes through mu-law, indexed by its unsigned reading."""
    every = np.arange(65536, dtype=np.uint16).astype("<u2").tobytes()
    return np.frombuffer(PCMU.decode(PCMU.encode(every)), "<i2").astype(np.int16)


def _g711(pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    return _ulaw_round_trip()[pcm.view(np.uint16)]


#: Through G.722's two quadrature mirror filters of 24 taps, in samples at 16 kHz: 1.375 ms.
_G722_DELAY: Final = 22


def _g722(pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    try:
        from G722 import G722
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the G.722 leg needs the package G722: pip install 'pipecat-bandwidth[workbench]'"
        ) from error
    padded = np.concatenate([pcm, np.zeros(_G722_DELAY + pcm.size % 2, np.int16)])
    decoded = G722(16000, 64000).decode(G722(16000, 64000).encode(padded))
    return np.asarray(decoded, dtype=np.int16)[_G722_DELAY : _G722_DELAY + pcm.size]


@dataclass(frozen=True)
class _Libsndfile:
    """A round trip through one of libsndfile's codecs, which take their own delay out."""

    sample_rate: int
    format: str
    subtype: str

    def __call__(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        file = BytesIO()
        soundfile.write(file, pcm, self.sample_rate, format=self.format, subtype=self.subtype)
        file.seek(0)
        decoded: NDArray[np.int16] = soundfile.read(file, dtype="int16")[0][: pcm.size]
        return np.pad(decoded, (0, pcm.size - decoded.size))


#: The legs, the likeliest first.
LEGS: Final[dict[str, Leg]] = {
    leg.name: leg
    for leg in (
        Leg(
            "G.711",
            "The telephone network: 8 kHz mu-law, nothing above 4 kHz.",
            8000,
            4000.0,
            _g711,
        ),
        Leg(
            "G.722",
            "A wideband (HD voice) SIP leg: 16 kHz at 64 kbit/s, up to 7 kHz; "
            "nothing documented says that Bandwidth carries a media stream over one.",
            16000,
            7000.0,
            _g722,
        ),
        Leg(
            "GSM",
            "An old mobile behind the telephone network: 8 kHz GSM full rate at 13 kbit/s.",
            8000,
            4000.0,
            _Libsndfile(8000, "WAV", "GSM610"),
        ),
        Leg(
            "Opus",
            "A WebRTC leg: 16 kHz Opus at some 27 kbit/s, up to 8 kHz.",
            16000,
            8000.0,
            _Libsndfile(16000, "OGG", "OPUS"),
        ),
    )
}


def legs_named(legs: str | Leg | Iterable[str | Leg]) -> tuple[Leg, ...]:
    """Look up one or several legs by name; legs themselves pass.

    Raises:
        ValueError: For an unknown name; the message lists those there are.
    """
    named = (legs,) if isinstance(legs, (str, Leg)) else tuple(legs)
    unknown = [leg for leg in named if isinstance(leg, str) and leg not in LEGS]
    if unknown:
        raise ValueError(f"no far leg {unknown[0]!r}, there are: {', '.join(LEGS)}")
    return tuple(LEGS[leg] if isinstance(leg, str) else leg for leg in named)
