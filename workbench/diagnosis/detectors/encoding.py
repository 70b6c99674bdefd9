"""Faults of the bytes: something other than the audio that they are declared to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from pipecat_bandwidth.encodings import WireFormat
from workbench.call import Call
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector, once
from workbench.diagnosis.detectors.readings import (
    MARGIN,
    RANDOM_BITS,
    TWO_CHANNELS,
    UNKNOWN,
    Declared,
    Misread,
    misread,
)
from workbench.diagnosis.finding import Finding, Part, Side, counted
from workbench.metrics.speech import HOP, levels

__all__ = [
    "CONTAINERS",
    "container_header",
    "declared",
    "misreadings",
    "wrong_codec",
]

CHEAPER: Final = Threshold(
    MARGIN,
    "bits per byte",
    "What the bytes are is cheaper by 1.5 and more; of sound that is what it is declared to be no "
    "reading is cheaper by 0.9.",
)
#: What can be heard at all.
AUDIBLE_DBOV: Final = -60.0
#: What is measured of bytes that are no such samples means nothing.
SPOILT: Final = (
    "clipping", "dropout", "onset_pop", "underrun", "caller:noise", "bot:noise", "dc_offset", "block_joint",
    "aliasing", "caller:level_mismatch", "bot:level_mismatch", "upsampled", "bot:dead_air",
    "bot:slow_response", "wrong_layout", "out_of_order",
)  # fmt: skip

#: Who read or wrote a signal's bytes.
_WHOSE: Final = {
    "caller_sent": "The stream carries another encoding than its start message says.",
    "bot_heard": "The payloads arrived right; the serializer's frames do not hold what they say.",
    "bot_said": "The speech synthesis delivers something other than the frames are declared to hold.",
    "bot_sent": "The frames are right; the serializer writes something other than it declares.",
}

#: First bytes of audio files, and what they are.
CONTAINERS: Final = {
    b"RIFF": "WAV",
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"ID3": "MP3",
    b"\x1a\x45\xdf\xa3": "WebM",
}


@detector(
    title="File header in the audio",
    measured="audio frames that begin with the magic bytes of WAV, Ogg, FLAC, MP3 or WebM.",
    change="ask the synthesis for raw PCM; leave add_wav_header at False.",
    limits="the plain header of a WAV file, which add_wav_header puts before each frame, this project's "
    "serializer leaves out, with a warning in its log: nobody hears it, and it is not told.",
    explains=("onset_pop", "wrong_codec"),
)
def container_header(call: Call) -> Iterator[Finding]:
    """The header of an audio file, sent as sound: a click, or, of a compressed one, static behind it."""
    frames, magics = call.audio_out, tuple(CONTAINERS)
    found = [
        (time, name)
        for time, pcm in zip(frames.time.tolist(), frames.mono, strict=True)
        if pcm.startswith(magics)
        for magic, name in CONTAINERS.items()
        if pcm.startswith(magic)
    ]
    if not found:
        return
    yield container_header.finding(
        side="bot",
        parts=counted([time for time, _ in found]),
        # Behind that of a WAV there are samples.
        severity="warning" if {name for _, name in found} == {"WAV"} else "error",
        value=len(found),
        threshold=Threshold(1, "frames"),
        measurement=f"{len(found)} audio frames begin with the header of a {found[0][1]} file",
        cause="The speech synthesis returns files, and they are played as if they were samples.",
        remedy="Ask it for raw PCM, or read the file (soundfile, wave) before it goes into the "
        "pipeline; leave add_wav_header at False in the transport's parameters.",
        listen="bot_said",
    )


@detector(
    title="Wrong encoding",
    harm=190,
    symptoms=(Symptom(8, "static", "`wrong_codec`"),),
    measured="in stretches of half a second: the bits that the bytes of each signal cost, read as they "
    "are declared and in other ways (mu-law, A-law, 8, 24 and 32 bits, floating point, swapped, "
    "from an odd byte on, wrapped around, text, MP3, AAC); the cheapest is what they are. What costs "
    "as much as random bytes in all of them is in no known encoding.",
    thresholds=(CHEAPER,),
    change="deliver 16-bit signed little-endian samples, whole samples per frame; expect PCMU "
    "from Bandwidth.",
    limits="what was misread and then converted to another rate cannot be read again; noise at full "
    "scale is like random bytes.",
    accuracy=(Accuracy("misread", 1.0),),
    explains=SPOILT,
)
def wrong_codec(call: Call) -> Iterator[Finding]:
    """Static: samples that are not what they are read as."""
    for side, name, found in misreadings(call):
        mine = [m for m in found if m.really.name != TWO_CHANNELS]
        for really in dict.fromkeys(m.really for m in mine):
            yield _misread(call, side, name, [m for m in mine if m.really is really])


@once
def misreadings(call: Call) -> tuple[tuple[Side, str, list[Misread]], ...]:
    """What of each signal is something else than it is declared to be, told where it came in.

    Returns:
        Side, signal, and stretches in order, of signals that differ from the one they are made of.
    """
    rows: list[tuple[Side, str, list[Misread]]] = []
    for side, names in call.ways.items():
        told: list[Misread] = []
        for name in names:
            found = misread(call.signal(name), declared(call, name))
            # What came wrong goes on wrong.
            mine = [m for m in found if not _overlaps(m, told)]
            told += mine
            rows.append((side, name, mine))
    return tuple(rows)


def _misread(call: Call, side: Side, name: str, found: list[Misread]) -> Finding:
    """One reading of one signal."""
    secs = sum(m.end - m.start for m in found)
    sound = HOP * np.count_nonzero(levels(call.signal(name)) > AUDIBLE_DBOV)
    really = found[0].really
    form, advice = declared(call, name), call.carrier.advice
    read_as = _read_as(call, name)
    unknown = Threshold(RANDOM_BITS[form], "bits per byte") if really is UNKNOWN else None
    remedies = {
        "caller_sent": advice.encoding,
        "bot_heard": advice.decode,
        "bot_said": f"{really.setting[0].upper()}{really.setting[1:]}.",
        "bot_sent": advice.declare,
    }
    return wrong_codec.finding(
        side=side,
        parts=[Part(m.start, m.end, m.bits) for m in found],
        severity="error",
        value=float(np.median([m.bits for m in found])),
        threshold=unknown,
        measurement=f"{secs:.1f} s of {name} ({min(1.0, secs / max(sound, secs)):.0%} of its sound) are "
        f"{really.name}, read as {read_as}",
        cause=_WHOSE[name],
        remedy=remedies[name],
        listen=name,
    )


def declared(call: Call, name: str) -> Declared:
    """What the bytes of a signal are looked at as, most of them: A-law as the samples it stands for."""
    formats = _formats(call, name)
    return "PCMU" if sum(wire.encoding == "PCMU" for wire in formats) * 2 > len(formats) else "PCM"


def _read_as(call: Call, name: str) -> str:
    """What most of the bytes of a signal were read as, in words."""
    laws = {"PCMU": "mu-law", "PCMA": "A-law"}
    names = [laws.get(str(wire), "16-bit samples") for wire in _formats(call, name)]
    return max(dict.fromkeys(names), key=names.count, default="16-bit samples")


def _formats(call: Call, name: str) -> Sequence[WireFormat]:
    formats = {"caller_sent": call.inbound.formats, "bot_sent": call.outbound.formats}
    return formats.get(name, ())


def _overlaps(one: Misread, others: Sequence[Misread]) -> bool:
    return any(one.start < other.end and other.start < one.end for other in others)
