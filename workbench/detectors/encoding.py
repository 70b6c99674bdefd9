"""Faults of the bytes: something other than the audio that they are declared to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call import Call
from workbench.call.speech import HOP, hop_edges, levels, runs_of
from workbench.detectors.finding import Finding, graded

__all__ = ["CONTAINERS", "aliasing", "container_header", "wrong_codec"]

#: Speech correlates with itself one sample later by 0.75; with its bytes swapped, or read from an
#: odd byte on, by 0.0.
CORRELATION: Final = 0.3
#: Misread speech is louder than any: every byte counts as the high one.
LOUD_DBOV: Final = -25.0
#: An "s" is as white, but not for so long.
STATIC_SECS: Final = 0.5
#: Usual converters reject by 80 dB, soxr QQ and every third sample by 0; at 20 dB PESQ still notices.
REJECTION_DB: Final = 20.0
#: Images lie 75 dB below the speech with usual converters, 33 with soxr QQ, 18 if samples are doubled.
IMAGES_DB: Final = 40.0
#: What must be folded back, under the speech, to be told from the noise of mu-law.
FOLDED_DB: Final = -45.0
#: How much speech is looked at, in pieces of a second, in seconds.
LOOKED_AT: Final = 60

#: First bytes of audio files, and what they are.
CONTAINERS: Final = {b"RIFF": "WAV", b"OggS": "Ogg", b"fLaC": "FLAC", b"ID3": "MP3"}


def container_header(call: Call) -> Iterator[Finding]:
    """The header of an audio file, sent as sound: a click before each prompt.

    Measured: audio frames that begin with the magic bytes of WAV, Ogg, FLAC or MP3.
    Threshold: none, any
    Change: ask the synthesis for raw PCM; leave add_wav_header at False.
    """
    found = [
        (frame.time, name)
        for frame in call.audio_out
        for magic, name in CONTAINERS.items()
        if frame.mono.startswith(magic)
    ]
    if not found:
        return
    yield Finding(
        "container_header", "bot", (found[0][0], found[-1][0]), "warning", float(len(found)), "frames",
        1, f"{len(found)} audio frames begin with the header of a {found[0][1]} file",
        "The speech synthesis returns files, and they are played as if they were samples.",
        "Ask it for raw PCM, or read the file (soundfile, wave) before it goes into the pipeline; "
        "leave add_wav_header at False in the transport's parameters.",
        "bot_said",
    )  # fmt: skip


def wrong_codec(call: Call) -> Iterator[Finding]:
    """Static: samples that are not what they are read as.

    Measured: correlation of neighbouring samples in stretches of half a second that are louder
    than -25 dBov.
    Threshold: CORRELATION
    Change: deliver 16-bit signed little-endian samples, whole samples per frame; expect PCMU
    from Bandwidth.
    Limits: A-law read as mu-law keeps a correlation of 0.5 and is not told from speech;
    Bandwidth sends PCMU only.
    """
    for side, name in (("caller", "caller_sent"), ("bot", "bot_said")):
        for start, end, correlation in _static(call.signal(name)):
            yield Finding(
                "wrong_codec", "caller" if side == "caller" else "bot", (start, end), "error",
                correlation, "", CORRELATION,
                f"loud static for {end - start:.1f} s: neighbouring samples have nothing to do with "
                f"each other (correlation {correlation:.2f})",
                "Bytes are read as what they are not: swapped, from an odd offset on, another "
                "encoding, or the text of an error.",
                "Check what the speech synthesis delivers: 16-bit signed little-endian, whole "
                "samples per frame." if side == "bot"
                else "Check the encoding in the start message: PCMU is expected.",
                name,
            )  # fmt: skip


def _static(audio: Audio) -> Iterator[tuple[float, float, float]]:
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
    white = (products < CORRELATION * energies) & (levels(audio) > LOUD_DBOV)
    # A louder syllable may pass for speech now and then.
    share = np.convolve(white, np.ones(20) / 20, "same") > 0.7
    for start, end in runs_of(share, HOP).tolist():
        if end - start >= STATIC_SECS:
            hops = slice(round(start / HOP), round(end / HOP))
            yield start, end, float(products[hops].sum() / energies[hops].sum())


def aliasing(call: Call) -> Iterator[Finding]:
    """A harsh, metallic voice: what lies above the wire's band is folded into it, or mirrored.

    Measured: the bot's audio is reduced to the rate of the wire twice, with a filter and without;
    the difference is what would fold back, and its share in what was really sent is estimated by
    least squares. From a low rate to a high one: the level above the old band against that below.
    Limits: only what the serializer does can be seen, and only where one rate is a multiple of the
    other: what was folded before it looks like any voice.
    Threshold: REJECTION_DB dB, IMAGES_DB dB
    Change: convert with a filter (soxr LQ and better, or this project's serializer), never by
    taking every third sample, nor with soxr QQ.
    """
    said, sent = call.bot_said, call.bot_sent
    down = said.sample_rate > sent.sample_rate
    measure, threshold = (_folded, REJECTION_DB) if down else (_mirrored, IMAGES_DB)
    if said.sample_rate == sent.sample_rate or not len(call.outbound):
        return
    found = [
        value
        for start in _loudest_seconds(said)
        if (value := measure(said.span(start, start + 1), sent, start)) is not None
    ]
    if len(found) < 2:
        return
    rejection = float(np.median(found))
    if rejection > threshold:
        return
    value = max(rejection, 0.0)
    yield Finding(
        "aliasing", "bot", (0.0, call.duration), graded(-value, 6 - threshold, 15 - threshold), value, "dB", threshold,
        f"the conversion from {said.sample_rate} to {sent.sample_rate} Hz rejects what does not fit "
        f"by {value:.0f} dB only",
        "Samples are left out, or doubled, without a filter.",
        f"Set audio_out_sample_rate={sent.sample_rate} in PipelineParams, so that nothing is "
        "converted here; or convert with soxr LQ or better, never QQ.",
        "bot_sent",
    )  # fmt: skip


def _loudest_seconds(audio: Audio) -> list[float]:
    """Starts of the loudest whole seconds, at most 60 of them."""
    whole = int(audio.duration)
    blocks = audio.samples[: whole * audio.sample_rate].reshape(whole, -1)
    power = np.einsum("ij,ij->i", blocks, blocks) / audio.sample_rate
    order = np.argsort(-power, kind="stable")[:LOOKED_AT]
    return [float(i) for i in order if power[i] > 1e-5]


def _folded(said: Audio, sent: Audio, start: float) -> float | None:
    """Rejection of what folds back in one second of audio, in dB; ``None`` if none would."""
    low, high = sent.sample_rate, said.sample_rate
    if high % low:
        return None
    # What was sent may lag by some of its resampler's delay, to a fraction of its samples.
    around = sent.span(start - 0.01, start + 1.3)
    got = soxr.resample(around.samples, low, high)
    filtered = soxr.resample(soxr.resample(said.samples, high, low), low, high)
    size = 1 << (len(got) + len(filtered)).bit_length()
    lags = np.fft.irfft(np.conj(np.fft.rfft(filtered, size)) * np.fft.rfft(got, size), size)
    lag = int(np.argmax(lags[: round(0.2 * high)])) - round(min(start, 0.01) * high)
    step = high // low
    at = start * low + lag / step
    first = int(np.ceil(at))
    # The sample of ``said`` that the sample ``first`` of ``sent`` was taken at.
    offset = round((first - at) * step)
    plain = said.samples[offset::step]
    clean = _lowpassed(said.samples, step)[offset::step]
    taken = sent.samples[first : first + len(plain)]
    if len(taken) < len(plain):
        return None
    alias = plain - clean
    inside = slice(100, -100)
    alias, clean, taken = alias[inside], clean[inside], taken[inside]
    speech = float(clean @ clean)
    if speech <= 0 or float(alias @ alias) < speech * 10 ** (FOLDED_DB / 10):
        return None
    gain = float(clean @ taken) / speech
    if gain < 0.1:
        return None  # these two have nothing to do with each other
    share = float(alias @ (taken - gain * clean)) / float(alias @ alias) / gain
    return -20 * float(np.log10(max(abs(share), 1e-4)))


def _lowpassed(samples: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Only what a rate of one in ``step`` holds."""
    spectrum = np.fft.rfft(samples)
    spectrum[len(spectrum) // step :] = 0
    low: NDArray[np.float32] = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
    return low


def _mirrored(said: Audio, sent: Audio, start: float) -> float | None:
    """How far below the band of ``said`` that lies which is above it, in dB."""
    part = sent.span(start, start + 1).samples
    if len(part) < sent.sample_rate // 2:
        return None
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
    edge = len(power) * said.sample_rate // sent.sample_rate
    # An image mirrors the band at its edge; its counterpart is as far below as it is above.
    margin = edge // 20
    below = power[max(0, 2 * edge - len(power)) + margin : edge - margin]
    above = power[edge + margin : 2 * edge - margin]
    total = float(below.sum())
    return 10 * float(np.log10(total / max(float(above.sum()), 1e-9 * total))) if total else None
