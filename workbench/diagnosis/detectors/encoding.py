"""Faults of the bytes: something other than the audio that they are declared to be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.readings import Declared, Misread, misread
from workbench.diagnosis.detectors.tones import in_tones
from workbench.diagnosis.finding import Finding, Part, Side, counted, graded
from workbench.metrics.sounds import intervals_of
from workbench.metrics.speech import HOP, hop_edges, levels, runs_of

__all__ = ["CONTAINERS", "CORRELATION", "aliasing", "container_header", "wrong_codec"]

CORRELATION: Final = Threshold(
    0.3,
    "",
    "Speech correlates with itself one sample later by 0.75; with its bytes swapped, or read from "
    "an odd byte on, by 0.0.",
)
#: Misread speech is louder than any: every byte counts as the high one.
LOUD_DBOV: Final = -25.0
#: An "s" is as white, but not for so long.
STATIC_SECS: Final = 0.5
REJECTION_DB: Final = Threshold(
    20.0,
    "dB",
    "Usual converters reject by 80 dB, soxr QQ and every third sample by 0; at 20 dB PESQ still "
    "notices.",
)
IMAGES_DB: Final = Threshold(
    40.0,
    "dB",
    "Images lie 75 dB below the speech with usual converters, 33 with soxr QQ, 18 if samples are "
    "doubled.",
)
#: What must be folded back, under the speech, to be told from the noise of mu-law.
FOLDED_DB: Final = -45.0
#: Images that lie so far below all of the sound are drowned by it, or are the noise of 16 bits.
DROWNED_DB: Final = 50.0
#: Where the conversion of a filter as good as any is flat, as a share of half the lower rate.
FLAT: Final = 0.85
#: A tone is like itself one period later: by how much it was delayed nobody can tell. Speech reaches
#: 0.75 with its own pitch.
AMBIGUOUS: Final = 0.95
#: How much speech is looked at, in pieces of about a second, at least half of one.
LOOKED_AT: Final = 60
#: After a longer pause a resampler may begin anew, in seconds.
IDLE: Final = 0.2
#: More than any resampler holds back, in seconds.
HELD: Final = 0.2

#: What is measured of bytes that are no such samples means nothing.
SPOILT: Final = (
    "clipping", "dropout", "onset_pop", "underrun", "caller:noise", "dc_offset", "block_joint",
    "aliasing", "caller:level_mismatch", "bot:level_mismatch", "upsampled", "bot:dead_air",
)  # fmt: skip

#: The signals of each side, the one that came first first.
_WAYS: Final[dict[Side, tuple[str, str]]] = {
    "caller": ("caller_sent", "bot_heard"),
    "bot": ("bot_said", "bot_sent"),
}
#: Who read or wrote a signal's bytes, and what to change there.
_WHOSE: Final = {
    "caller_sent": (
        "The stream carries another encoding than its start message says.",
        "Check the encoding in the start message: PCMU is expected. If it says so, give Bandwidth "
        "the call id.",
    ),
    "bot_heard": (
        "The payloads arrived right; the serializer's frames do not hold what they say.",
        "Let deserialize decode mu-law to 16-bit signed little-endian samples.",
    ),
    "bot_said": (
        "The speech synthesis delivers something other than the frames are declared to hold.",
        "Check what the speech synthesis delivers: 16-bit signed little-endian, whole samples per "
        "frame.",
    ),
    "bot_sent": (
        "The frames are right; the serializer writes something other than it declares.",
        "Send what the content type says: PCMU is mu-law, PCM 16-bit signed little-endian samples.",
    ),
}

#: First bytes of audio files, and what they are.
CONTAINERS: Final = {b"RIFF": "WAV", b"OggS": "Ogg", b"fLaC": "FLAC", b"ID3": "MP3"}


@detector(
    title="File header in the audio",
    measured="audio frames that begin with the magic bytes of WAV, Ogg, FLAC or MP3.",
    change="ask the synthesis for raw PCM; leave add_wav_header at False.",
    explains=("onset_pop",),
)
def container_header(call: Call) -> Iterator[Finding]:
    """The header of an audio file, sent as sound: a click before each prompt."""
    found = [
        (frame.time, name)
        for frame in call.audio_out
        for magic, name in CONTAINERS.items()
        if frame.mono.startswith(magic)
    ]
    if not found:
        return
    yield container_header.finding(
        side="bot",
        parts=counted([time for time, _ in found]),
        severity="warning",
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
    measured="in stretches of half a second: another reading of the bytes (mu-law, A-law, swapped, "
    "from an odd byte on) correlates like speech, leaves 1.5 times less to chance than the declared "
    "one and is 3 dB fainter; or, louder than -25 dBov, neighbouring samples do not correlate at all, "
    "unless it is a tone, or on the caller's side a modem, music or noise.",
    thresholds=(CORRELATION,),
    change="deliver 16-bit signed little-endian samples, whole samples per frame; expect PCMU "
    "from Bandwidth.",
    limits="a fault of bytes that are neither speech nor any of these is called static only.",
    accuracy=(Accuracy("misread", 1.0),),
    explains=SPOILT,
)
def wrong_codec(call: Call) -> Iterator[Finding]:
    """Static: samples that are not what they are read as."""
    for side, (source, twin) in _WAYS.items():
        told: list[Misread] = []
        is_same = np.array_equal(call.signal(source).samples, call.signal(twin).samples)
        for name in (source,) if is_same else (source, twin):
            audio, declared = call.signal(name), _declared(call, name)
            named = list(misread(audio, declared))
            static = [s for s in _static(audio) if not _overlaps(s, named)]
            if side == "caller" and static:
                static = [s for s in static if not _is_machine(call, s)]
            # What came wrong goes on wrong: it is told where it came from.
            found = [m for m in (*named, *static) if not _overlaps(m, told)]
            told += found
            for really in dict.fromkeys(m.really for m in found):
                same = [m for m in found if m.really == really]
                yield _wrong_codec(side, name, declared, same)


def _wrong_codec(side: Side, name: str, declared: Declared, found: list[Misread]) -> Finding:
    secs = sum(m.end - m.start for m in found)
    correlation = float(np.median([m.correlation for m in found]))
    really = found[0].really
    read_as = "mu-law" if declared == "PCMU" else "16-bit samples"
    cause, remedy = _WHOSE[name]
    return wrong_codec.finding(
        side=side,
        parts=[Part(m.start, m.end, m.correlation) for m in found],
        severity="error",
        value=correlation,
        measurement=f"{secs:.1f} s of {name} are {really}, read as {read_as}"
        if really
        else f"loud static for {secs:.1f} s: neighbouring samples have nothing to do with each "
        f"other (correlation {correlation:.2f})",
        cause=cause
        if really
        else "Bytes are read as what they are not: swapped, from an odd offset on, another "
        "encoding, or the text of an error.",
        remedy=remedy,
        listen=name,
    )


def _declared(call: Call, name: str) -> Declared:
    """What the bytes of a signal were read as, most of them."""
    formats = {"caller_sent": call.inbound.formats, "bot_sent": call.outbound.formats}
    bytes_per_sample = [wire.bytes_per_sample for wire in formats.get(name, ())]
    return (
        "PCMU" if sum(size == 1 for size in bytes_per_sample) * 2 > len(bytes_per_sample) else "PCM"
    )


def _overlaps(one: Misread, others: list[Misread]) -> bool:
    return any(one.start < other.end and other.start < one.end for other in others)


def _is_machine(call: Call, static: Misread) -> bool:
    """Whether the caller's side is for the most what sounds like static and is none: a fax, a hiss."""
    found = intervals_of(call.caller_sounds, "modem", "music", "tone", "noise")
    inside = np.minimum(found[:, 1], static.end) - np.maximum(found[:, 0], static.start)
    return float(inside.clip(0).sum()) > 0.5 * (static.end - static.start)


def _static(audio: Audio) -> Iterator[Misread]:
    edges = hop_edges(len(audio), audio.sample_rate)
    count = len(edges) - 1
    if count < STATIC_SECS / HOP:
        return
    products, energies = np.empty(count), np.empty(count)
    for first in range(0, count, 6000):  # a minute: an hour as float64 would take a gigabyte
        few = edges[first : first + 6001]
        part = audio.samples[few[0] : few[-1]].astype(np.float64)
        begins = few[:-1] - few[0]
        products[first : first + 6000] = np.add.reduceat(part[1:] * part[:-1], begins)
        energies[first : first + 6000] = np.add.reduceat(part * part, begins)
    white = (products < CORRELATION.value * energies) & (levels(audio) > LOUD_DBOV)
    # A louder syllable may pass for speech now and then.
    share = np.convolve(white, np.ones(20) / 20, "same") > 0.7
    for start, end in runs_of(share, HOP).tolist():
        if end - start >= STATIC_SECS:
            hops = slice(round(start / HOP), round(end / HOP))
            if in_tones(audio, edges[hops].tolist()):
                continue
            yield Misread(start, end, float(products[hops].sum() / energies[hops].sum()), "")


@detector(
    title="Aliasing",
    harm=40,
    symptoms=(
        Symptom(
            11,
            "harsh, metallic",
            "`aliasing` of the serializer; what was folded before it looks like any voice",
        ),
    ),
    measured="the bot's audio is reduced to the rate of the wire twice, with a filter and "
    "without; the difference is what would fold back, and its share in what was really "
    "sent is estimated by least squares. From a low rate to a high one: the level above "
    "the old band against that below.",
    thresholds=(REJECTION_DB, IMAGES_DB),
    change="convert with a filter (soxr LQ and better, or this project's serializer), never by "
    "taking every third sample, nor with soxr QQ.",
    limits="only what the serializer does can be seen, and only where one rate is a multiple of "
    "the other: what was folded before it looks like any voice. Steady tones tell nothing.",
    accuracy=(Accuracy("folded", 1.0, value_error=0.2, decibels=True),),
)
def aliasing(call: Call) -> Iterator[Finding]:
    """A harsh, metallic voice: what lies above the wire's band is folded into it, or mirrored."""
    said, sent = (int(call.stats.get(f"{name}_out_hz", 0)) for name in ("pipeline", "wire"))
    if said == sent or not said or not sent:
        return
    measure, threshold = (_folded, REJECTION_DB) if said > sent else (_mirrored, IMAGES_DB)
    found = [value for piece in _pieces(call, said, sent) if (value := measure(*piece)) is not None]
    if len(found) < 2:
        return
    rejection = float(np.median(found))
    if rejection > threshold.value:
        return
    value = max(rejection, 0.0)
    yield aliasing.finding(
        side="bot",
        parts=(Part(0.0, call.duration, value),),
        severity=graded(-value, 6 - threshold.value, 15 - threshold.value),
        value=value,
        threshold=threshold,
        measurement=f"the conversion from {said} to {sent} Hz rejects what does not fit by "
        f"{value:.0f} dB only",
        cause="Samples are left out, or doubled, without a filter.",
        remedy=f"Set audio_out_sample_rate={sent} in PipelineParams, so that nothing is "
        "converted here; or convert with soxr LQ or better, never QQ.",
        listen="bot_sent",
    )


class _Piece(NamedTuple):
    """About a second of what the bot said, without the time between frames.

    Late frames leave holes in the tracks of the call, in ``bot_sent`` behind the filter: their
    edges, which no filter has seen, would be taken for what it let through.

    Parameters:
        said: What went into the serializer.
        sent: What came out from then on, what it had held back first, :data:`HELD` longer.
    """

    said: Audio
    sent: Audio


def _pieces(call: Call, said_rate: int, sent_rate: int) -> list[_Piece]:
    """The loudest pieces that went from one rate to the other, at most :data:`LOOKED_AT`."""
    frames, queue, sent = call.audio_out, call.speaking, call.outbound
    begins = np.ones(len(frames) + 1, bool)
    idle = queue.time[1:] - queue.end[:-1] > IDLE
    begins[1:-1] = idle | (queue.cut[:-1] < queue.cut[1:])
    power = np.array([_power(frame.mono) for frame in frames])
    found = list[tuple[float, range, float]]()
    for first, last in pairwise(np.flatnonzero(begins).tolist()):
        secs = float(queue.duration[first:last].sum())
        until = float(queue.time[last]) if last < len(frames) else np.inf
        cuts = np.linspace(first, last, max(1, int(secs)) + 1).astype(int).tolist()
        for a, b in pairwise(cuts):
            lasts = queue.duration[a:b]
            if secs >= 0.5 and {frame.sample_rate for frame in frames[a:b]} == {said_rate}:
                found.append((float(np.average(power[a:b], weights=lasts)), range(a, b), until))
    found = sorted((row for row in found if row[0] > 1e-5), key=lambda row: -row[0])
    sent_by = np.append(0.0, np.cumsum(sent.duration))
    pieces = []
    for _, span, until in found[:LOOKED_AT]:
        first = int(np.searchsorted(sent.time, queue.time[span.start]))
        enough = sent_by[first] + float(queue.duration[span.start : span.stop].sum()) + HELD
        last = min(np.searchsorted(sent.time, until), np.searchsorted(sent_by, enough)).item()
        if {wire.sample_rate for wire in sent.formats[first:last]} == {sent_rate}:
            coded = zip(sent.formats[first:last], sent.payloads[first:last], strict=True)
            pcm = b"".join(wire.decode(payload) for wire, payload in coded)
            said = b"".join(frames[i].mono for i in span)
            pieces.append(_Piece(Audio.from_pcm(said, said_rate), Audio.from_pcm(pcm, sent_rate)))
    return pieces


def _power(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    return float(samples @ samples) / (max(1, len(samples)) * 32768.0**2)


def _folded(said: Audio, sent: Audio) -> float | None:
    """Rejection of what folds back in a piece of audio, in dB; ``None`` if it cannot be told."""
    low, high = sent.sample_rate, said.sample_rate
    if high % low or (lag := _lag(said, sent)) is None:
        return None
    step = high // low
    first = -(-lag // step)
    # The sample of ``said`` that the sample ``first`` of ``sent`` was taken at.
    offset = first * step - lag
    plain = said.samples[offset::step]
    clean = _lowpassed(said.samples, step)[offset::step]
    taken = sent.samples[first : first + len(plain)]
    if len(taken) < 0.4 * low:
        return None
    # Windowed, and only where the filter is flat: edges and its slope are no aliases.
    window = np.hanning(len(taken))
    band = slice(round(FLAT * len(taken) / 2))
    whole, fits, got = (np.fft.rfft(x[: len(taken)] * window)[band] for x in (plain, clean, taken))
    alias = whole - fits
    speech, folded = _product(fits, fits), _product(alias, alias)
    if speech <= 0 or folded < speech * 10 ** (FOLDED_DB / 10):
        return None
    gain = _product(fits, got) / speech
    if gain < 0.1:
        return None  # these two have nothing to do with each other
    share = _product(alias, got - gain * fits) / folded / gain
    return -20 * float(np.log10(max(share, 1e-4)))


def _product(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> float:
    return float(np.vdot(a, b).real)


def _lag(said: Audio, sent: Audio) -> int | None:
    """Samples by which ``sent`` is behind, at the rate of ``said``; ``None`` if it cannot be told."""
    low, high = sent.sample_rate, said.sample_rate
    got = soxr.resample(sent.samples, low, high)
    filtered = soxr.resample(soxr.resample(said.samples, high, low), low, high)
    size = 1 << (len(got) + len(filtered)).bit_length()
    lags = np.fft.irfft(np.conj(np.fft.rfft(filtered, size)) * np.fft.rfft(got, size), size)
    lags = lags[: round(HELD * high)]
    lag = int(np.argmax(lags))
    # Outside its own lobe the next best must be far below.
    outside = np.flatnonzero(lags <= 0)
    at = int(np.searchsorted(outside, lag))
    before = int(outside[at - 1]) if at else 0
    after = int(outside[at]) if at < len(outside) else len(lags)
    others = max(lags[:before].max(initial=0.0), lags[after:].max(initial=0.0))
    return lag if others < AMBIGUOUS * lags[lag] else None


def _lowpassed(samples: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Only what a rate of one in ``step`` holds."""
    spectrum = np.fft.rfft(samples)
    spectrum[len(spectrum) // step :] = 0
    low: NDArray[np.float32] = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
    return low


def _mirrored(said: Audio, sent: Audio) -> float | None:
    """How far below the band of ``said`` that lies which is above it, in dB.

    Returns:
        ``None`` where nothing could be mirrored that would be heard.
    """
    part = sent.samples[: round(said.duration * sent.sample_rate)]
    if len(part) < 0.4 * sent.sample_rate:
        return None
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
    edge = len(power) * said.sample_rate // sent.sample_rate
    # An image mirrors the band at its edge; its counterpart is as far below as it is above.
    margin = edge // 20
    below = float(power[max(0, 2 * edge - len(power)) + margin : edge - margin].sum())
    above = float(power[edge + margin : 2 * edge - margin].sum())
    drowned = float(power.sum()) * 10 ** (-DROWNED_DB / 10)
    if below <= drowned:
        return None
    # What is drowned may be anything: a tone's own rounding stands there too.
    return 10 * float(np.log10(below / above)) if above > drowned else DROWNED_DB
