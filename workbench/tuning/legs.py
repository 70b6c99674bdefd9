"""The caller's leg: what becomes of the bot's audio between Bandwidth and the caller's ear.

The workbench sees the audio up to the WebSocket. What follows - which codec the call really runs
on, how well it is resampled to there - it cannot see: a leg is an *assumption*, named in every
table. Each one here resamples to its codec's rate with a good linear-phase filter, encodes,
decodes, and takes the codec's own delay out, so that sample n stays where it was. No leg models
gain control or noise suppression.

The first two of :data:`LEGS` stand for the narrowband and the wideband world, and are what
:func:`workbench.tuning.comparison.compare` and :func:`workbench.tuning.tuning.tune` look at unless
told otherwise. All but the mobile ones come with every installation of the workbench; those need
AMR, which most machines lack (:mod:`workbench.tuning.amr`).

A name may be put together: ``"G.711+AMR-WB"`` is one leg after the other, and ``"AMR-WB 2%"`` loses
so many of its packets of 20 ms at random, the same each time, and hears what the receiver puts in
their place.

References:
    .. [1] ITU-T G.711, mu-law. Bit for bit the coder of :mod:`pipecat_bandwidth.encodings`.
    .. [2] ITU-T G.722, 64 kbit/s, mode 1; 22 samples of delay through the two filter banks.
    .. [3] ETSI EN 300 961 (GSM 06.10), full rate, 13 kbit/s.
    .. [4] RFC 6716, Opus.
    .. [5] 3GPP TS 26.071 and TS 26.171, AMR and AMR-WB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial, reduce
from io import BytesIO
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import PCMU
from workbench import mapped
from workbench.audio import Audio
from workbench.exceptions import NotAvailable
from workbench.tuning.amr import AMR_NB, AMR_WB
from workbench.tuning.concealment import concealed

__all__ = ["LEGS", "Leg", "lacking", "legs_named", "tandem"]

#: Samples in, numbers of the lost packets of 20 ms, samples out.
Lossy = Callable[[NDArray[np.int16], list[int]], NDArray[np.int16]]

#: Packets a second.
_PACKETS: Final = 50
#: Samples that are coded at once; an even number.
_AT_ONCE: Final = 1 << 18


@dataclass(frozen=True)
class Leg:
    """One kind of connection to the caller.

    Parameters:
        name: The codec's.
        description: One sentence: who is reached like this, and what it carries.
        sample_rate: Of the codec, in hertz.
        bandwidth_hz: Upper edge of what it carries.
        coded: int16 samples through the codec and back, same length, delay taken out.
        lossy: The same, with numbers of packets that do not arrive; ``None`` if none can be lost.
    """

    name: str
    description: str
    sample_rate: int
    bandwidth_hz: float
    coded: Callable[[NDArray[np.int16]], NDArray[np.int16]]
    lossy: Lossy | None = None

    def apply(self, audio: Audio) -> Audio:
        """Let audio travel over this leg.

        Args:
            audio: At any rate; above the codec's it is low-passed, below it stays narrow.

        Returns:
            What is heard, at the codec's rate, aligned with the input and as long.

        Raises:
            ModuleNotFoundError: If the codec's package is not installed; the message names it.
            NotAvailable: If the machine has no AMR; the message says what is missing.

        Example::

            >>> speech = Audio.read("sample_audio/call/bot/b01.flac")
            >>> heard = LEGS["G.711"].apply(speech)
            >>> speech.sample_rate, heard.sample_rate, speech.duration == heard.duration
            (24000, 8000, True)
        """
        pcm = audio.resampled(self.sample_rate).int16()
        if not pcm.size:
            return Audio(np.empty(0, np.float32), self.sample_rate)
        return Audio.from_pcm(self.coded(pcm).astype("<i2", copy=False), self.sample_rate)

    def losing(self, percent: float, seed: int = 0) -> Leg:
        """The same leg with packets lost at random.

        Args:
            percent: How many of its packets of 20 ms, 0 to 100.
            seed: Which ones: the same whatever travels over it.

        Raises:
            ValueError: If it is no percentage, or nothing can be lost on this leg.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent:g} % of packets lost, wanted 0 to 100")
        if self.lossy is None:
            raise ValueError(f"no packets can be lost on {self.name}: its coder takes all at once")
        return replace(
            self,
            name=f"{self.name} {percent:g}%",
            description=f"{self.description[:-1]}; {percent:g} % of its packets do not arrive.",
            coded=partial(_with_losses, self.lossy, self.sample_rate, percent / 100, seed),
            lossy=None,
        )


def _with_losses(
    lossy: Lossy, sample_rate: int, share: float, seed: int, pcm: NDArray[np.int16]
) -> NDArray[np.int16]:
    packets = -(-pcm.size * _PACKETS // sample_rate)
    gone = np.random.default_rng(seed).random(packets) < share
    return lossy(pcm, np.flatnonzero(gone).tolist())


def tandem(first: Leg, last: Leg) -> Leg:
    """One leg after the other: as when a call crosses from one network into another."""
    lossy = None if last.lossy is None else partial(_after, first, last.lossy, last.sample_rate)
    return Leg(
        f"{first.name}+{last.name}",
        f"{first.name}, and then {last.name}: {last.description}",
        last.sample_rate,
        min(first.bandwidth_hz, last.bandwidth_hz),
        partial(_after, first, last.coded, last.sample_rate),
        lossy,
    )


def _after(
    first: Leg,
    coded: Callable[..., NDArray[np.int16]],
    sample_rate: int,
    pcm: NDArray[np.int16],
    *lost: list[int],
) -> NDArray[np.int16]:
    """Samples over one leg, and then through another's codec."""
    heard = first.apply(Audio.from_pcm(pcm.astype("<i2", copy=False), sample_rate))
    between = heard.resampled(sample_rate).int16()[: pcm.size]
    if between.size < pcm.size:
        between = np.pad(between, (0, pcm.size - between.size))
    return coded(between, *lost)


def _in_blocks(
    pcm: NDArray[np.int16],
    coded: Callable[[NDArray[np.int16]], NDArray[np.int16]],
    size: int = _AT_ONCE,
) -> NDArray[np.int16]:
    """Code block by block: an hour takes no more memory than a minute."""
    heard: NDArray[np.int16] = mapped.zeros(pcm.size, np.int16)
    for first, block in mapped.blocks(pcm, size):
        part = heard[first : first + block.size]
        part[:] = coded(block)
        mapped.let_go(part)
    return heard


@cache
def _ulaw_round_trip() -> NDArray[np.int16]:
    """What each int16 becomes through mu-law, indexed by its unsigned reading."""
    every = np.arange(65536, dtype=np.uint16).astype("<u2").tobytes()
    return np.frombuffer(PCMU.decode(PCMU.encode(every)), "<i2").astype(np.int16)


def _g711(pcm: NDArray[np.int16], lost: Iterable[int] = ()) -> NDArray[np.int16]:
    table = _ulaw_round_trip()
    heard = _in_blocks(pcm, lambda block: table[block.view(np.uint16)])
    gone = list(lost)
    return concealed(heard, gone, 8000 // _PACKETS, 8000) if gone else heard


#: Through G.722's two quadrature mirror filters of 24 taps, in samples at 16 kHz: 1.375 ms.
_G722_DELAY: Final = 22


def _g722(pcm: NDArray[np.int16], lost: Iterable[int] = ()) -> NDArray[np.int16]:
    try:
        from G722 import G722
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the G.722 leg needs the package G722: pip install 'pipecat-bandwidth[workbench]'"
        ) from error
    gone = list(lost)
    if not gone:
        coder, decoder = G722(16000, 64000), G722(16000, 64000)
        padded: NDArray[np.int16] = mapped.zeros(pcm.size + _G722_DELAY + pcm.size % 2, np.int16)
        for first, block in mapped.blocks(pcm, _AT_ONCE):
            padded[first : first + block.size] = block
            mapped.let_go(padded[first : first + block.size])
        heard = _in_blocks(
            padded, lambda block: np.asarray(decoder.decode(coder.encode(block)), np.int16), 16000
        )
    else:  # the decoder goes on with the next packet as if there had been none between
        padded = np.concatenate([pcm, np.zeros(_G722_DELAY + pcm.size % 2, np.int16)])
        sent = np.frombuffer(G722(16000, 64000).encode(padded), np.uint8)
        frame = 16000 // _PACKETS
        arrives = ~np.isin(np.arange(padded.size) // frame, gone)
        heard = np.zeros(padded.size, np.int16)
        heard[arrives] = G722(16000, 64000).decode(sent[arrives[::2]].tobytes())
        heard = concealed(heard, gone, frame, 16000)
    return heard[_G722_DELAY : _G722_DELAY + pcm.size]


@dataclass(frozen=True)
class _Libsndfile:
    """A round trip through one of libsndfile's codecs, which take their own delay out."""

    sample_rate: int
    format: str
    subtype: str

    def __call__(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        coded = BytesIO()
        kind = {"format": self.format, "subtype": self.subtype}
        with soundfile.SoundFile(coded, "w", self.sample_rate, 1, **kind) as file:
            for _, block in mapped.blocks(pcm, _AT_ONCE):
                file.write(block)
        coded.seek(0)
        heard: NDArray[np.int16] = mapped.zeros(pcm.size, np.int16)
        with soundfile.SoundFile(coded) as file:
            for first in range(0, pcm.size, _AT_ONCE):
                block = file.read(min(_AT_ONCE, pcm.size - first), dtype="int16")
                part = heard[first : first + block.size]
                part[:] = block
                mapped.let_go(part)
        return heard


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
            _g711,
        ),
        Leg(
            "G.722",
            "A wideband (HD voice) SIP leg: 16 kHz at 64 kbit/s, up to 7 kHz; "
            "nothing documented says that Bandwidth carries a media stream over one.",
            16000,
            7000.0,
            _g722,
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
        Leg(
            "AMR-NB",
            "A mobile whose call is narrow: 8 kHz AMR at 12.2 kbit/s.",
            8000,
            4000.0,
            AMR_NB,
            AMR_NB,
        ),
        Leg(
            "AMR-WB",
            "A mobile with HD voice: 16 kHz AMR-WB at 12.65 kbit/s, up to 7 kHz.",
            16000,
            7000.0,
            AMR_WB,
            AMR_WB,
        ),
    )
}


# What a call into a mobile network often is: it comes by the telephone network.
LEGS.update(
    (leg.name, leg) for leg in (tandem(LEGS["G.711"], LEGS[name]) for name in ("AMR-NB", "AMR-WB"))
)

_NAME: Final = re.compile(r"(.+?)(?: (\d+(?:\.\d+)?) ?%)?")


def legs_named(legs: str | Leg | Iterable[str | Leg]) -> tuple[Leg, ...]:
    """Look up one or several legs by name; legs themselves pass.

    Args:
        legs: Names of :data:`LEGS`; some of them joined by ``+``; with packets lost: ``AMR-WB 2%``.

    Raises:
        ValueError: For an unknown name; the message lists those there are.
    """
    named = (legs,) if isinstance(legs, (str, Leg)) else tuple(legs)
    return tuple(_named(leg) if isinstance(leg, str) else leg for leg in named)


def _named(name: str) -> Leg:
    match = _NAME.fullmatch(name)
    plain, percent = match.groups() if match else (name, None)
    parts = [plain] if plain in LEGS else plain.split("+")
    if not all(part in LEGS for part in parts):
        raise ValueError(
            f"no far leg {name!r}, there are: {', '.join(LEGS)}; several joined by +, "
            "and with packets lost: 'G.722 2%'"
        )
    leg = reduce(tandem, (LEGS[part] for part in parts))
    return leg if percent is None else leg.losing(float(percent))


@cache
def lacking(leg: Leg) -> str:
    """Say why a leg cannot be tried on this machine; empty if it can."""
    try:
        leg.apply(Audio(np.zeros(leg.sample_rate // 10, np.float32), leg.sample_rate))
    except (NotAvailable, ModuleNotFoundError) as error:
        return str(error)
    return ""
