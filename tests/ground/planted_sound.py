"""Faults of the sound of a ground call: each planter takes the call and a size in the threshold's unit."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import soundfile
from scipy.signal import butter, resample_poly, sosfilt

from tests.ground.caller import RATE, ulaw_decode, ulaw_encode
from tests.ground.filling import Samples
from tests.ground.take import Take, Unfit
from tests.ground.voices import levelled
from workbench.audio import Audio

Side: TypeAlias = Literal["caller", "bot"]


class Planted(NamedTuple):
    """What was planted.

    Parameters:
        parts: Start and end of each place in seconds; none if it is the whole call.
        value: Its size, ``None`` if it has none that is known.
    """

    parts: tuple[tuple[float, float], ...] = ()
    value: float | None = None

    @property
    def span(self) -> tuple[float, float] | None:
        return (self.parts[0][0], self.parts[-1][1]) if self.parts else None


Plant: TypeAlias = Callable[[Take, float], Planted]
#: Samples that may be written to, their rate, where something is said, when a sample is heard.
Track: TypeAlias = tuple[Samples, int, list[tuple[int, int]], Callable[[int], float]]


def track(take: Take, side: Side) -> Track:
    """What one side says."""
    if side == "caller":
        last = len(take.media) * 160  # beyond it nothing is recorded
        words = [(a, b) for a, b in take.words if b <= last]
        return take.line, RATE, words, take.sent
    return take.said, take.rate, take.slots, take.heard


def one(take: Take, side: Side, secs: float) -> tuple[Samples, int, tuple[int, int], Callable]:
    """The same with one sentence drawn, of so many seconds at least."""
    samples, rate, spans, when = track(take, side)
    fits = [span for span in spans if span[1] - span[0] >= secs * rate]
    if not fits:
        raise Unfit
    return samples, rate, fits[take.rng.integers(len(fits))], when


# -- loudness ------------------------------------------------------------------------------------


def clipped(take: Take, percent: float, side: Side) -> Planted:
    """Drive one sentence until so much of it stands at the rail."""
    samples, _, (first, last), when = one(take, side, 1.0)
    part = samples[first:last]
    top = 0.97 if side == "bot" else 0.965  # from 31,612 on mu-law says 32,124
    sound = np.abs(part[np.abs(part) > 1e-3])
    part *= top / float(np.quantile(sound, 1 - percent / 100))
    over = np.flatnonzero(np.abs(part) >= top)
    np.clip(part, -top, top, out=part)
    return Planted(((when(first + over[0]), when(first + over[-1])),), None)


def clipped_before(take: Take, present: float, side: Side) -> Planted:
    """One sentence was driven until 15 % of it stood at the rail, made fainter, and converted to its rate."""
    if present < 1:
        return Planted()
    samples, _, (first, last), when = one(take, side, 1.5)
    part = resample_poly(samples[first:last], 3, 1)
    rail = float(np.quantile(np.abs(part[np.abs(part) > 1e-3]), 0.85))
    level = float(np.abs(samples[first:last]).max())
    driven = resample_poly(np.clip(part, -rail, rail), 1, 3)[: last - first]
    samples[first:last] = (driven * (min(0.5, level) / rail)).astype(np.float32)
    return Planted(((when(first), when(last - 1)),), None)


def uneven(take: Take, db: float) -> Planted:
    """Some of the bot's sentences, not the most of them, are so much fainter than the others."""
    long = [slot for slot in take.slots if slot[1] - slot[0] > 1.5 * take.rate]
    if len(long) < 2:
        raise Unfit
    size = int(take.rng.integers(1, len(long) // 2 + 1))
    chosen = sorted(take.rng.choice(len(long), size, replace=False))
    for first, last in (long[index] for index in chosen):
        take.said[first:last] *= np.float32(10 ** (-db / 20))
    parts = [(take.heard(long[i][0]), take.heard(long[i][1] - 1)) for i in chosen]
    return Planted(tuple(parts), db)


def offset(take: Take, percent: float, side: Side) -> Planted:
    samples, _, spans, _ = track(take, side)
    for first, last in spans if side == "bot" else [(0, len(samples))]:
        samples[first:last] += percent / 100
    return Planted((), percent)


def quiet(take: Take, db: float, side: Side) -> Planted:
    """One side is so much quieter than the other."""
    other: Side = "bot" if side == "caller" else "caller"
    (samples, _, spans, _), mine = track(take, side), loudness(take, side)
    gain = np.float32(10 ** ((loudness(take, other) - db - mine) / 20))
    for first, last in spans if side == "bot" else [(0, len(samples))]:
        samples[first:last] *= gain
    return Planted((), None)


def loudness(take: Take, side: Side) -> float:
    """Level of a side's loud parts, in dBov, as :func:`levelled` has it."""
    samples, rate, spans, _ = track(take, side)
    audio = Audio(np.concatenate([samples[a:b] for a, b in spans]), rate)
    gained = levelled(audio, -40.0)
    loudest = int(np.argmax(np.abs(audio.samples)))
    return -40.0 - 20 * float(np.log10(gained.samples[loudest] / audio.samples[loudest]))


def echoing(take: Take, loss_db: float, talks: bool) -> Planted:
    """What the bot says comes back; ``talks``: while the caller speaks too."""
    delay, gain = float(take.rng.uniform(0.06, 0.5)), 10 ** (-loss_db / 20)
    parts = []
    for first, last in take.slots:
        words = Audio(take.said[first:last], take.rate).resampled(RATE).samples * np.float32(gain)
        at = take.heard(first)
        put(take, at + delay, words)
        parts.append((at, at + delay + len(words) / RATE))
        if talks:
            put(take, at + 0.3 * len(words) / RATE, take.caller(0.4 * len(words) / RATE, False))
    return Planted(tuple(parts), None if talks else loss_db)


def put(take: Take, at: float, words: Samples) -> tuple[int, int]:
    """Mix something into the caller's line; return its first and last sample."""
    first = take.line_at(at)
    words = words[: max(0, len(take.line) - first)]
    take.line[first : first + len(words)] += words
    return first, first + len(words)


# -- holes, pops, cuts ---------------------------------------------------------------------------


def dropouts(take: Take, ms: float, side: Side, count: int = 1) -> Planted:
    """Zeros in the middle of words."""
    parts = []
    for _ in range(count):
        samples, rate, span, when = one(take, side, 1.0)
        size = round(ms / 1000 * rate)
        at = take.loud(samples, rate, span, size)
        samples[at : at + size] = 0
        parts.append((when(at), when(at) + size / rate))
    return Planted(tuple(sorted(parts)), ms if count == 1 else None)


def long_dropouts(take: Take, present: float, side: Side) -> Planted:
    """Some, of 10 to 80 ms."""
    if present < 1:
        return Planted()
    return dropouts(take, float(take.rng.uniform(10, 80)), side, 3)


def silence_put_in(take: Take, present: float) -> Planted:
    """A stall of 0.3 to 0.9 s in the middle of each longer sentence is filled with zeros."""
    size, parts = round(take.rng.uniform(0.3, 0.9) * take.rate), []
    if present < 1:
        return Planted()
    for first, last in take.slots:
        if last - first < size + 1.5 * take.rate:
            continue
        at = take.loud(take.said, take.rate, (first, last - size), 0)
        # The rest of the sentence comes later, and what has no place any more is not said.
        take.said[at + size : last] = take.said[at : last - size].copy()
        take.said[at : at + size] = 0
        take.said[last - take.rate // 200 : last] *= np.linspace(1, 0, take.rate // 200)
        parts.append((take.heard(at), take.heard(at + size)))
    if not parts:
        raise Unfit
    return Planted(tuple(parts))


def in_pieces(
    take: Take, present: float, way: Callable[[list[Samples]], list[Samples]], ms: int
) -> Planted:
    """Each sentence is cut into pieces of so many ms, and something is done to them."""
    if present < 1:
        return Planted()
    size = take.rate * ms // 1000
    if sum(last - first for first, last in take.slots) < 10 * take.rate:
        raise Unfit
    for first, last in take.slots:
        part = take.said[first:last]
        made = np.concatenate(way([part[at : at + size] for at in range(0, len(part), size)]))
        made = made[: len(part)]
        part[:] = 0
        part[: len(made)] = made
    return Planted()


def each_fourth_left_out(pieces: list[Samples]) -> list[Samples]:
    return [piece for number, piece in enumerate(pieces) if number % 4 != 3] or pieces


def each_fourth_twice(pieces: list[Samples]) -> list[Samples]:
    counts = [1 + (number % 4 == 3) for number in range(len(pieces))]
    return [piece for piece, count in zip(pieces, counts, strict=True) for _ in range(count)]


def pairs_changed(pieces: list[Samples]) -> list[Samples]:
    """Of each five the third and the fourth change places."""
    changed = list(pieces)
    for number in range(2, len(pieces) - 1, 5):
        changed[number], changed[number + 1] = changed[number + 1], changed[number]
    return changed


def each_faded(pieces: list[Samples]) -> list[Samples]:
    """Over a tenth at both ends."""
    return [piece * np.minimum(1, np.minimum(t := np.arange(len(piece)), t[::-1]) / (len(piece) / 10 + 1))
            for piece in pieces]  # fmt: skip


def popping(take: Take, dbov: float, count: int) -> Planted:
    """A pop where the bot begins to speak, once or each time."""
    size = take.rate // 100
    pop = 10 ** (dbov / 20) * np.exp(-np.arange(size) / (size / 4))
    parts = []
    begins = [take.begin(slot) for slot in take.slots]
    silent = [at for at in begins if not take.said[max(0, at - take.rate // 50) : at + size].any()]
    count = min(count, len(silent))
    for first in sorted(take.rng.choice(silent, count, replace=False)):
        take.said[first : first + size] = pop
        parts.append((take.heard(first), take.heard(first) + 0.002))
    return Planted(tuple(parts), dbov)


def silence(take: Take, secs: float) -> Planted:
    """The caller's line is digital silence for a while."""
    if take.duration < secs + 4:
        take.stretch(take.duration / 2, secs)
    start = float(take.rng.uniform(2, take.duration - secs - 1))
    take.line[take.line_at(start) : take.line_at(start + secs)] = 0
    return Planted(((start, start + secs),), secs)


# -- wrong bytes ---------------------------------------------------------------------------------


def alaw_encode(samples: Samples) -> bytes:
    """G.711 A-law by its definition: sign, segment, step, even bits turned over."""
    value = np.clip(np.rint(samples * 32768), -32768, 32767).astype(int)
    magnitude = np.minimum(np.where(value < 0, -value - 1, value) >> 3, 4095)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(int) - 4, 0)
    step = magnitude >> np.maximum(segment, 1) & 15
    return ((np.where(value < 0, 0, 128) | segment << 4 | step) ^ 0x55).astype(np.uint8).tobytes()


def swapped(samples: Samples) -> Samples:
    return _read(np.frombuffer(Audio(samples, RATE).pcm(), "<i2").byteswap().tobytes())


def shifted(samples: Samples) -> Samples:
    """Read from the second byte on."""
    return _read(Audio(samples, RATE).pcm()[1:] + b"\0")


def ulaw_as_pcm(samples: Samples) -> Samples:
    codes = ulaw_encode(samples)
    return np.resize(_read(codes[: len(codes) // 2 * 2]), len(samples))


def alaw_as_ulaw(samples: Samples) -> Samples:
    return ulaw_decode(alaw_encode(samples))


def _read(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


def misread(take: Take, present: float, side: Side, wrong: Callable[[Samples], Samples]) -> Planted:
    """A side's bytes are taken for what they are not."""
    if present >= 1:
        samples, _, spans, _ = track(take, side)
        for first, last in spans if side == "bot" else [(0, len(samples))]:
            samples[first:last] = wrong(np.clip(samples[first:last], -1, 1))
    return Planted()


def interleaved(take: Take, present: float) -> Planted:
    """Two answers are pushed at once: frame by frame they take turns, and so last twice as long."""
    if present < 1:
        return Planted()
    slot = take.slot(2.5)
    sizes = [frame.size for frame in take.frames]
    secs = (slot[1] - slot[0]) / take.rate
    other = Audio(take.bot(secs, False), RATE).resampled(take.rate).samples
    sources = take.said[slot[0] : slot[1]].copy(), other
    read = [0, 0]
    for number, index in enumerate(range(take.frame_at(slot[0]), take.frame_at(slot[1] - 1))):
        last = int(take.ends[index])
        first = max(last - sizes[index], slot[0])
        which = number % 2
        part = sources[which][read[which] :][: last - first]
        read[which] += last - first
        take.said[first : first + len(part)] = part
    return Planted(((take.heard(slot[0]), take.heard(slot[1] - 1)),))


def headed(take: Take, present: float) -> Planted:
    """Each sentence is a WAV file, with a header that no serializer knows."""
    if present < 1:
        return Planted()
    file = io.BytesIO()
    soundfile.write(file, np.zeros(take.rate), take.rate, format="WAVEX", subtype="PCM_16")
    header = _read(file.getvalue()[: -2 * take.rate])
    starts = [int(take.ends[index - 1]) if index else 0 for index in
              (take.frame_at(first) for first, _ in take.slots)]  # fmt: skip
    for first in starts:
        take.said[first : first + len(header)] = header
    return Planted(tuple((take.heard(first), take.heard(first)) for first in starts))


# -- rates ---------------------------------------------------------------------------------------


def narrow(take: Take, present: float) -> Planted:
    """Speech of 8 kHz is sent at 24."""
    if present >= 1:
        take.rewire(24000)
    return Planted()


def sibilant(take: Take) -> None:
    """Give a bot of 24 kHz what a voice has above 4 kHz, which prompts of 8 kHz do not."""
    if take.rate != 24000:
        raise Unfit
    envelope = np.sqrt(np.convolve(take.said**2, np.ones(480) / 480, "same"))
    hiss = sosfilt(butter(4, (4500, 9000), "bandpass", fs=24000, output="sos"),
                   take.rng.standard_normal(len(take.said)))  # fmt: skip
    take.said += (0.5 * hiss * envelope).astype(np.float32)


def by_itself(samples: Samples, rate: int, target: int) -> Samples:
    """One block converted without what was before it."""
    divisor = int(np.gcd(rate, target))
    return resample_poly(samples, target // divisor, rate // divisor).astype(np.float32)
