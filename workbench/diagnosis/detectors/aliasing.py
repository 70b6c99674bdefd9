"""Faults of the conversion from one rate to another: what does not fit is folded, or mirrored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import gcd
from typing import Final, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call import Call
from workbench.call.pieces import join, powers
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.finding import Finding, Part, Side, graded

__all__ = ["aliasing"]

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
#: Filters differ in loudness and delay over the band: it is fitted in so many parts.
BANDS: Final = 16
#: So many standard errors all pieces together must lie off nothing.
SURE: Final = 4.0
#: One conversion rejects alike in every piece: of planted ones the quartiles are 0.3 dB apart.
SAME_DB: Final = 1.5
#: What stands at the rail, of mu-law too, is cut off behind the filter as well: what that makes looks like what
#: was folded.
RAIL: Final = 0.98
#: How much speech is looked at, in pieces of about a second, at least half of one.
LOOKED_AT: Final = 60
#: After a longer pause a resampler may begin anew, in seconds.
IDLE: Final = 0.2
#: More than any resampler holds back, in seconds.
HELD: Final = 0.2


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
    "sent is estimated by least squares. From a low rate to a high one, the caller's too: the level "
    "above the old band against that below.",
    thresholds=(REJECTION_DB, IMAGES_DB),
    change="convert with a filter (soxr LQ and better, or this project's serializer), never by "
    "taking every third sample, nor with soxr QQ.",
    limits="only what the serializer does can be seen: what was folded before it looks like any voice. "
    "Steady tones tell nothing, nor does a second in which something stands at full scale.",
    accuracy=(Accuracy("folded", 1.0, value_error=0.2, decibels=True),),
)
def aliasing(call: Call) -> Iterator[Finding]:
    """A harsh, metallic voice: what lies above the wire's band is folded into it, or mirrored."""
    said, sent = (int(call.stats.get(f"{name}_out_hz", 0)) for name in ("pipeline", "wire"))
    if said and sent and said != sent:
        yield from _told(call, "bot", _pieces(call, said, sent), said, sent)
    came, heard = (int(call.stats.get(f"{name}_in_hz", 0)) for name in ("wire", "pipeline"))
    if 0 < came < heard:
        yield from _told(call, "caller", _pieces_heard(call, came, heard), came, heard)


def _told(
    call: Call, side: Side, pieces: Sequence[_Piece], before: int, after: int
) -> Iterator[Finding]:
    """What became of one side in the conversion from one rate to another."""
    measure, threshold = (_folded, REJECTION_DB) if before > after else (_mirrored, IMAGES_DB)
    whole = (p for p in pieces if max(np.abs(a.samples).max(initial=0.0) for a in p) < RAIL)
    found = np.array([one for piece in whole if (one := measure(*piece)) is not None])
    if len(found) < 2:
        return
    low, rejection, high = np.percentile(found[:, 0], (25, 50, 75)).tolist()
    if before > after and high - low > SAME_DB:
        return
    if rejection > threshold.value or found[:, 1].sum() < SURE * np.sqrt(len(found)):
        return
    value = max(rejection, 0.0)
    setting = "audio_out_sample_rate" if side == "bot" else "audio_in_sample_rate"
    wire = after if side == "bot" else before
    yield aliasing.finding(
        side=side,
        parts=(Part(0.0, call.duration, value),),
        severity=graded(-value, 6 - threshold.value, 15 - threshold.value),
        value=value,
        threshold=threshold,
        measurement=f"the conversion from {before} to {after} Hz rejects what does not fit by "
        f"{value:.0f} dB only",
        cause="Samples are left out, or doubled, without a filter.",
        remedy=f"Set {setting}={wire} in PipelineParams, so that nothing is converted here; or convert "
        "with soxr LQ or better, never QQ.",
        listen="bot_sent" if side == "bot" else "bot_heard",
    )


class _Piece(NamedTuple):
    """About a second of what one side said, without the time between frames.

    Late frames leave holes in the tracks of the call, in ``bot_sent`` behind the filter: their
    edges, which no filter has seen, would be taken for what it let through.

    Parameters:
        said: What went into the serializer.
        sent: What came out from then on, what it had held back first; of the bot :data:`HELD` longer.
    """

    said: Audio
    sent: Audio


def _pieces(call: Call, said_rate: int, sent_rate: int) -> list[_Piece]:
    """The loudest pieces that went from one rate to the other, at most :data:`LOOKED_AT`."""
    frames, queue, sent = call.audio_out, call.speaking, call.outbound
    begins = np.ones(len(frames) + 1, bool)
    idle = queue.time[1:] - queue.end[:-1] > IDLE
    begins[1:-1] = idle | (queue.cut[:-1] < queue.cut[1:])
    power = powers(frames.mono)
    rates = frames.sample_rate
    found = list[tuple[float, range, float]]()
    for first, last in pairwise(np.flatnonzero(begins).tolist()):
        secs = float(queue.duration[first:last].sum())
        until = float(queue.time[last]) if last < len(frames) else np.inf
        cuts = np.linspace(first, last, max(1, int(secs)) + 1).astype(int).tolist()
        for a, b in pairwise(cuts):
            lasts = queue.duration[a:b]
            if secs >= 0.5 and b > a and (rates[a:b] == said_rate).all():
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
            said = b"".join(frames.mono[span.start : span.stop])
            pieces.append(_Piece(Audio.from_pcm(said, said_rate), Audio.from_pcm(pcm, sent_rate)))
    return pieces


def _pieces_heard(call: Call, came_rate: int, heard_rate: int) -> list[_Piece]:
    """The same of the caller: what came in the messages, and the frames that were made of them."""
    inbound, frames = call.inbound, call.frames_in
    index = call.rx_index.indices(np.maximum(frames.cause, 0))
    rates = np.array([wire.sample_rate for wire in inbound.formats], np.int64)
    known = (index >= 0) & frames.has_sound & (frames.sample_rate == heard_rate)
    known[known] = rates[index[known]] == came_rate
    frames, index = frames.taken(known), index[known]
    came, heard, secs = inbound.pcm(index), frames.mono, np.cumsum(frames.duration)
    cuts = np.searchsorted(secs, np.arange(1, secs.max(initial=0))).tolist()
    found = list[tuple[float, NDArray[np.intp]]]()
    for first, last in pairwise([0, *cuts, len(frames)]):
        part = np.arange(first, last)
        if (power := _power(join(came, part))) > 1e-5:
            found.append((power, part))
    return [
        _Piece(
            Audio.from_pcm(join(came, part), came_rate),
            Audio.from_pcm(join(heard, part), heard_rate),
        )
        for _, part in sorted(found, key=lambda row: -row[0])[:LOOKED_AT]
    ]


def _power(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    return float(samples @ samples) / (max(1, len(samples)) * 32768.0**2)


def _folded(said: Audio, sent: Audio) -> tuple[float, float] | None:
    """Measure what folds back in a piece of audio.

    Returns:
        Its rejection, in dB, and how many standard errors its share is; ``None`` if it cannot be told.
    """
    low, high = sent.sample_rate, said.sample_rate
    if (lag := _lag(said, sent)) is None:
        return None
    first = -(-lag * low // high)
    unit = low // gcd(low, high)  # so many samples last as long as whole ones of the other rate
    usable = min(len(sent) - first, len(said) * low // high)
    count = usable // unit * unit
    if count < 0.4 * low:
        return None
    # Windowed, and only where the filter is flat: edges and its slope are no aliases.
    spectrum = np.fft.rfft(_windowed(said.samples[: count * high // low])) * low / high
    # The first sample of the lower rate was taken so much later than the first of the higher.
    turned = first * high - lag * low
    spectrum *= np.exp(2j * np.pi * np.arange(len(spectrum)) * turned / (count * high))
    band = slice(round(FLAT * count / 2))
    fits = spectrum[band]
    alias = _refolded(spectrum, count)[band] - fits
    got = np.fft.rfft(_windowed(sent.samples[first : first + count]))[band]
    speech, folded = _product(fits, fits), _product(alias, alias)
    if speech <= 0 or folded < speech * 10 ** (FOLDED_DB / 10):
        return None
    gain = _product(fits, got) / speech
    if gain < 0.1:
        return None  # these two have nothing to do with each other
    left = _without(fits, got)
    share = _product(alias, left) / folded / gain
    # Of a few tones that stand near each other the share is chance: its standard error.
    error = np.sqrt(float(np.sum(np.abs(alias) ** 2 * np.abs(left) ** 2)) / 2) / folded / gain
    return -20 * float(np.log10(max(share, 1e-4))), share / max(float(error), 1e-9)


def _without(fits: NDArray[np.complex128], got: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """What is left of ``got`` if ``fits`` is taken out, in each band as loud and late as it is there."""
    left = [
        b - a * (np.vdot(a, b) / max(_product(a, a), 1e-30))
        for a, b in zip(np.array_split(fits, BANDS), np.array_split(got, BANDS), strict=True)
    ]
    return np.concatenate(left)


def _windowed(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    return samples * np.hanning(len(samples))


def _refolded(spectrum: NDArray[np.complex128], count: int) -> NDArray[np.complex128]:
    """Spectrum of ``count`` samples that were taken without a filter: all above half the rate comes back.

    Args:
        spectrum: One-sided, of the signal at a higher rate, of which a sample is its sum.
        count: How many samples were taken of it.
    """
    at = np.arange(len(spectrum)) % count
    mirrored = at > count // 2
    at = np.where(mirrored, count - at, at)
    value = np.where(mirrored, np.conj(spectrum), spectrum)
    size = count // 2 + 1
    found: NDArray[np.complex128] = np.bincount(at, value.real, size) + 1j * np.bincount(
        at, value.imag, size
    )
    return found


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


def _mirrored(said: Audio, sent: Audio) -> tuple[float, float] | None:
    """How far below the band of ``said`` that lies which is above it.

    Returns:
        In dB, and that it is sure, as of :func:`_folded`; ``None`` where nothing could be mirrored that
        would be heard.
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
    return (10 * float(np.log10(below / above)) if above > drowned else DROWNED_DB), np.inf
