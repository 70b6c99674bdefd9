"""Faults of known size, planted at random places of random conversations.

A planter takes the generator and a size in the unit of the detector's threshold, and returns the
call with what was really planted: sizes that come in steps (a message lasts 20 ms) are rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pipecat_bandwidth import messages
from pipecat_bandwidth.encodings import FORMATS, PCMU
from tests.captures import MEDIA, Chunk, Scene
from tests.conversations import BOTS, PAD, Talk, Turn
from workbench.audio import Audio
from workbench.diagnosis import DETECTORS
from workbench.diagnosis.detector import Accuracy
from workbench.diagnosis.detectors.barge_in import AUDIBLE_DBOV
from workbench.metrics.speech import HOP, levels
from workbench.metrics.speech_level import active_level

Rng: TypeAlias = np.random.Generator
Span: TypeAlias = tuple[float, float]
NARROW = (8000, FORMATS[0])


@dataclass
class Planted:
    """A call with a fault in it. ``None`` is not checked; one more value is a list of any."""

    scene: Scene
    span: Span | None
    value: float | None
    side: str | None = None


@dataclass(frozen=True)
class Fault:
    """What plants a kind, which of its thresholds is meant, and how its size is counted.

    ``scale``: ``times`` the threshold, decibels above (``db``) or below (``-db``) it, or ``over`` 1.
    ``once``: without a size, only there or not.
    """

    kind: str
    plant: Callable[[Rng, float], Planted]
    scale: str = "times"
    edges: bool = True  # whether the span's ends are known
    which: int = 0

    @property
    def threshold(self) -> float:
        return DETECTORS[self.kind].thresholds[self.which].value

    @property
    def declared(self) -> Accuracy:
        """How good the catalogue says it is found."""
        rows = DETECTORS[self.kind].accuracy
        return next(row for row in rows if row.planted == self.plant.__name__)

    def size(self, times: float) -> float:
        return times if self.scale == "once" else scaled(self.threshold, self.scale, times)


def scaled(threshold: float, scale: str, times: float) -> float:
    """The size that is so many times beyond a threshold, counted as :class:`Fault` says."""
    decibels = 20 * float(np.log10(times))
    return {
        "times": threshold * times,
        "db": threshold + decibels,
        "-db": threshold - decibels,
        "over": 1 + (threshold - 1) * times,
    }[scale]


# -- in any conversation ------------------------------------------------------------------------


def lost(rng: Rng, ms: float, talk: Talk | None = None) -> Planted:
    talk = talk or Talk(rng)
    count = max(1, round(ms / 20))
    at = round(rng.uniform(3, talk.scene.duration - 4) / MEDIA) * MEDIA
    talk.scene.lose(at, count)
    return Planted(talk.scene, (at, at + count * MEDIA), count * 20.0, "caller")


def doubled(rng: Rng, count: float, talk: Talk | None = None) -> Planted:
    talk = talk or Talk(rng)
    at = round(rng.uniform(3, talk.scene.duration - 4) / MEDIA) * MEDIA
    talk.scene.repeat(at, round(count))
    return Planted(talk.scene, (at, at + round(count) * MEDIA), round(count), "caller")


def stalled(rng: Rng, ms: float, talk: Talk | None = None) -> Planted:
    talk = talk or Talk(rng)
    at = talk.turn("caller").start + rng.uniform(0.3, 1.0)
    talk.scene.stall_caller(at, ms / 1000)
    held = np.ceil(at / MEDIA) * MEDIA
    return Planted(talk.scene, (held, at + ms / 1000), 1000 * (at - held) + ms, "caller")


def blocked(rng: Rng, ms: float, talk: Talk | None = None) -> Planted:
    """Nothing is read and nothing is sent, in the middle of the bot's speech."""
    talk = talk or Talk(rng)
    turn = talk.turn("bot")
    at = turn.start + rng.uniform(0.5, max(0.6, turn.audio.duration - 1.0 - ms / 1000))
    until = at + ms / 1000
    talk.scene.stall_caller(at, ms / 1000)
    for chunk in talk.scene.chunks:
        if at <= chunk.time < until:
            chunk.time = until
    held = np.ceil(at / MEDIA) * MEDIA
    return Planted(talk.scene, (held, until), 1000 * (until - held), "bot")


def hole(rng: Rng, ms: float, talk: Talk | None = None) -> Planted:
    talk = talk or Talk(rng)
    at = talk.loud(talk.turn("bot"), ms / 1000 + 0.1)
    dry = talk.scene.hole(at, ms / 1000)
    return Planted(talk.scene, (dry, dry + ms / 1000), ms, "bot")


def clipped(rng: Rng, percent: float, talk: Talk | None = None) -> Planted:
    """Drive a turn of the bot until so much of its speech stands at the rail."""
    talk = talk or Talk(rng)
    scene, turn = talk.scene, talk.turn("bot")
    rate = scene.pipeline_rate
    samples = turn.audio.resampled(rate).samples
    inside = samples[round(PAD * rate) : -round(PAD * rate)]
    gain = 0.97 / float(np.quantile(np.abs(inside), 1 - percent / 100))
    driven = np.clip(samples * gain, -0.97, 0.97)
    talk.resay(turn, Audio(driven.astype(np.float32), rate))
    over = np.flatnonzero(np.abs(driven) >= 0.9699)
    ends = (over[0], over[-1] + 1)
    return Planted(
        scene, (turn.start + ends[0] / rate, turn.start + ends[1] / rate), percent, "bot"
    )


def clipped_caller(rng: Rng, percent: float, talk: Talk | None = None) -> Planted:
    talk = talk or Talk(rng)
    turn, top = talk.turn("caller"), 0.965  # from 31,612 on mu-law says 32,124
    first = round(turn.start * 8000)
    samples = turn.audio.resampled(8000).samples
    part = talk.scene.caller[first : first + len(samples)]
    inside = samples[480:-480]
    gain = top / float(np.quantile(np.abs(inside), 1 - percent / 100))
    part[:] = np.clip(samples[: len(part)] * gain, -0.999, 0.999)
    over = np.flatnonzero(np.abs(part) >= top)
    ends = (over[0], over[-1] + 1)
    return Planted(
        talk.scene, (turn.start + ends[0] / 8000, turn.start + ends[1] / 8000), percent, "caller"
    )


def noisy(rng: Rng, dbov: float, talk: Talk | None = None) -> Planted:
    """Street noise for three seconds in which the bot speaks."""
    talk = talk or Talk(rng)
    turn = max((t for t in talk.turns if t.side == "bot"), key=lambda t: t.audio.duration)
    first = round(turn.start * 8000)
    length = min(24000, round(turn.audio.duration * 8000))
    part = talk.scene.caller[first : first + length]
    part += rng.standard_normal(len(part)).astype(np.float32) * np.float32(10 ** (dbov / 20))
    return Planted(talk.scene, (turn.start, turn.start + length / 8000), dbov, "caller")


def noisy_words(rng: Rng, dbov: float) -> Planted:
    """Street noise for three seconds in which the caller speaks; pink, as it is."""
    talk = Talk(rng)
    turn = max((t for t in talk.turns if t.side == "caller"), key=lambda t: t.audio.duration)
    length = min(24000, round((turn.audio.duration - 0.2) * 8000))
    first = round((turn.start + rng.uniform(0.1, turn.audio.duration - length / 8000)) * 8000)
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[: length // 40] = 0  # below 200 Hz, as a telephone
    street = np.fft.irfft(spectrum, length)
    street *= 10 ** (dbov / 20) / np.sqrt(np.mean(np.square(street)))
    talk.scene.caller[first : first + length] += street.astype(np.float32)
    return Planted(talk.scene, (first / 8000, (first + length) / 8000), dbov, "caller")


def offset(rng: Rng, percent: float) -> Planted:
    talk = Talk(rng)
    for turn in [turn for turn in talk.turns if turn.side == "bot"]:
        talk.resay(turn, Audio(turn.audio.samples + np.float32(percent / 100), 24000))
    return Planted(talk.scene, None, percent, "bot")


def echoing(rng: Rng, loss_db: float, talk: Talk | None = None) -> Planted:
    talk = talk or Talk(rng, noise_dbov=-72)
    turn = max((t for t in talk.turns if t.side == "bot"), key=lambda t: t.audio.duration)
    delay = float(rng.uniform(0.06, 0.5))
    talk.scene.say_caller(turn.start + delay, turn.audio, 10 ** (-loss_db / 20))
    span = (turn.heard[0], turn.heard[1] + delay)
    return Planted(talk.scene, span, loss_db, "bot")


def punched(rng: Rng, ms: float, talk: Talk | None = None) -> Planted:
    """Zeros in the middle of a word of the bot, before the serializer."""
    talk = talk or Talk(rng)
    turn, rate = talk.turn("bot"), talk.scene.pipeline_rate
    samples = turn.audio.resampled(rate).samples.copy()
    at = talk.loud(turn, ms / 1000)
    first, size = round((at - turn.start) * rate), round(ms / 1000 * rate)
    samples[first : first + size] = 0
    talk.resay(turn, Audio(samples, rate))
    at = turn.start + first / rate
    return Planted(talk.scene, (at, at + size / rate), ms, "bot")


def punched_caller(rng: Rng, ms: float, talk: Talk | None = None) -> Planted:
    talk = talk or Talk(rng)
    at = round(talk.loud(talk.turn("caller"), ms / 1000) * 8000)
    size = round(ms * 8)
    talk.scene.caller[at : at + size] = 0
    return Planted(talk.scene, (at / 8000, (at + size) / 8000), ms, "caller")


def tailless(rng: Rng, ms: float, talk: Talk | None = None) -> Planted:
    talk = talk or Talk(rng)
    turn, wire = talk.turn("bot"), talk.scene.wire
    mine = sorted((c for c in talk.scene.chunks if c.said == turn.start), key=lambda c: c.time)
    left = round(ms / 1000 * wire.sample_rate) * wire.bytes_per_sample
    for chunk in reversed(mine):
        taken = min(left, len(chunk.payload))
        chunk.payload = chunk.payload[: len(chunk.payload) - taken]
        left -= taken
    return Planted(talk.scene, (turn.start, turn.end), ms, "bot")


def unsent(rng: Rng, ms: float, talk: Talk | None = None) -> Planted:
    talk = talk or Talk(rng)
    turn = talk.turn("bot")
    mine = sorted((c for c in talk.scene.chunks if c.said == turn.start), key=lambda c: c.time)
    for chunk in mine[10 : 10 + round(ms / 40)]:
        chunk.payload = b""
    return Planted(talk.scene, (turn.start, turn.end), ms, "bot")


def popping(rng: Rng, dbov: float, talk: Talk | None = None) -> Planted:
    talk = talk or Talk(rng)
    turn, rate = talk.turn("bot"), talk.scene.pipeline_rate
    samples = turn.audio.resampled(rate).samples.copy()
    size = rate // 100
    samples[:size] = 10 ** (dbov / 20) * np.exp(-np.arange(size) / (size / 4))
    talk.resay(turn, Audio(samples, rate))
    return Planted(talk.scene, (turn.start, turn.start + 0.002), dbov, "bot")


def drifting(rng: Rng, ms: float) -> Planted:
    talk = Talk(rng, 75)
    scene, factor = talk.scene, 1 + ms / 60_000
    scene.arrival = scene.arrival * factor
    scene.duration *= factor
    return Planted(scene, None, ms, "caller")


def jointed(rng: Rng, share: float) -> Planted:
    """Each frame converted by itself."""
    talk = Talk(rng, rates=(8000, FORMATS[int(rng.integers(2, 4))]))
    wire = talk.scene.wire
    for chunk in talk.scene.chunks:
        samples = np.frombuffer(chunk.frame, "<i2").astype(np.float32) / 32768
        alone = Audio(samples, 8000).resampled(wire.sample_rate).samples
        clean = np.frombuffer(wire.decode(chunk.payload), "<i2").astype(np.float32) / 32768
        size = min(len(alone), len(clean))
        mixed = clean[:size] + min(share // 1, 1.0) * (alone[:size] - clean[:size])
        chunk.payload = wire.encode(Audio(mixed, wire.sample_rate).pcm())
    return Planted(talk.scene, None, None, "bot")


def folded(rng: Rng, rejection_db: float) -> Planted:
    talk = Talk(rng, rates=(24000, FORMATS[int(rng.integers(0, 2))]))
    wire, share = talk.scene.wire, 10 ** (-rejection_db / 20)
    for chunk in talk.scene.chunks:
        clean = np.frombuffer(wire.decode(chunk.payload), "<i2").astype(float)
        plain = np.frombuffer(chunk.frame, "<i2")[::3][: len(clean)]
        mixed = np.rint(clean[: len(plain)] * (1 - share) + plain * share)
        chunk.payload = wire.encode(mixed.astype("<i2").tobytes())
    return Planted(talk.scene, None, rejection_db, "bot")


def tiny(rng: Rng, ratio: float) -> Planted:
    talk = Talk(rng, 20, rates=NARROW)
    around = len(messages.encode(messages.PlayAudio(PCMU.content_type, b"")))
    size = 3 * max(1, round(around / max(0.2, ratio - 4 / 3) / 3))
    pieces = []
    for chunk in talk.scene.chunks:
        for index in range(0, len(chunk.payload), size):
            part = slice(index, index + size)
            frame = chunk.frame[2 * index : 2 * (index + size)]
            pieces.append(Chunk(chunk.time + index * 1e-8, frame, chunk.payload[part], chunk.said))
    talk.scene.chunks = pieces
    real = 4 / 3 + around / size
    return Planted(talk.scene, None, real, "bot")


# -- calls of their own -------------------------------------------------------------------------


def paced(rng: Rng, ratio: float) -> Planted:
    talk = Talk(rng, 20)
    start = talk.scene.duration
    long = talk.say("bot", 12.0)
    scene = Scene(round((start + 14) / MEDIA) * MEDIA, talk.scene.wire, talk.scene.pipeline_rate)
    scene.say_bot(1.0, long)
    for chunk in scene.chunks:
        chunk.time = 1.0 + (chunk.time - 1.0) / ratio
    return Planted(scene, None, ratio, "bot")


def ahead(rng: Rng, ms: float) -> Planted:
    talk = Talk(rng, 10, rates=NARROW)
    long = talk.say("bot", 4 * ms / 1000)
    scene = Scene(round((2 + long.duration) / MEDIA) * MEDIA)
    scene.say_bot(1.0, long, lead=ms / 1000)
    return Planted(scene, None, ms, "bot")


def apart(rng: Rng, db: float) -> Planted:
    talk = Talk(rng, 30, rates=NARROW, noise_dbov=-75)
    level = {
        side: active_level(
            Audio(np.concatenate([t.audio.samples for t in talk.turns if t.side == side]), 24000)
        )
        for side in ("bot", "caller")
    }
    factor = np.float32(10 ** ((level["bot"] - level["caller"] - db) / 20))
    talk.scene.caller *= factor
    return Planted(talk.scene, None, db, "caller")


def silent(rng: Rng, secs: float) -> Planted:
    talk = Talk(rng, 14, gap=secs, noise_dbov=-70)
    first = next(t for t in talk.turns if t.side == "caller")
    after = next(t for t in talk.turns if t.side == "bot" and t.start > first.start)
    span = (first.heard[1], after.heard[0])
    return Planted(talk.scene, span, span[1] - span[0], "bot")


def waiting(rng: Rng, ms: float) -> Planted:
    talk = Talk(rng, 24 + 4 * ms / 1000, gap=ms / 1000, noise_dbov=-70)
    return Planted(talk.scene, None, ms, "bot")


def yielding(rng: Rng, ms: float) -> Planted:
    talk = Talk(rng, 12, noise_dbov=-70)
    scene, turn = talk.scene, talk.turns[-1]
    words = talk.say("caller", 4.0)
    at = turn.end + 0.5
    scene = Scene(round((at + 14) / MEDIA) * MEDIA, scene.wire, scene.pipeline_rate, -70)
    scene.say_bot(at - 1, talk.say("bot", 8.0))
    onset = at + 1.5
    heard = Turn("caller", onset - PAD, words).heard[0]
    scene.say_caller(onset - PAD, words)
    scene.interrupt(heard + ms / 1000)
    return Planted(scene, (heard, heard + ms / 1000), ms, "bot")


def hasty(rng: Rng, ms: float) -> Planted:
    """The bot begins in a pause of the caller, who goes on, for so long, 0.3 s later."""
    talk = Talk(rng, 12)
    scene = Scene(20.0, talk.scene.wire, talk.scene.pipeline_rate, -70)
    first = Turn("caller", 3.0, talk.say("caller", 1.5))
    scene.say_bot(0.8, talk.say("bot", 1.0))
    scene.say_caller(first.start, first.audio)
    begins = first.heard[1] + rng.uniform(0.4, 1.0)
    answer = Turn("bot", begins - PAD, talk.say("bot", 8.0))
    scene.say_bot(answer.start, answer.audio)
    rest = talk.say("caller", 10.0)
    level = levels(rest.resampled(8000)) > AUDIBLE_DBOV
    starts = HOP * float(np.argmax(level))
    onset = answer.heard[0] + 0.3
    going_on = Turn("caller", onset - starts, rest.span(0, starts + ms / 1000))
    scene.say_caller(going_on.start, going_on.audio)
    span = going_on.heard
    return Planted(scene, span, 1000 * (span[1] - span[0]), "bot")


def uncleared(rng: Rng, ms: float) -> Planted:
    talk = Talk(rng, 12)
    scene = Scene(16.0, talk.scene.wire, talk.scene.pipeline_rate)
    scene.say_bot(1.0, talk.say("bot", 12.0), lead=ms / 1000)
    times = sorted(chunk.time for chunk in scene.chunks)
    sent = next(time for time in times if time > 4)
    scene.interrupt(sent + 0.04, clear=False)
    return Planted(scene, (sent + 0.04, sent + 0.04 + ms / 1000), ms, "bot")


def unheard(rng: Rng, ms: float) -> Planted:
    talk = Talk(rng, 12)
    scene = Scene(16.0, talk.scene.wire, talk.scene.pipeline_rate)
    words = talk.say("bot", 12.0)
    scene.say_bot(1.0, words, lead=ms / 1000)
    at = float(rng.uniform(3, 6))
    scene.interrupt(at)
    thrown_away = levels(words.resampled(8000).span(at - 1.0, at - 1.0 + ms / 1000))
    heard = np.flatnonzero(thrown_away > AUDIBLE_DBOV)  # silence is no loss
    return Planted(scene, (at, at), 1000 * HOP * float(heard[-1] + 1 - heard[0]), "bot")


def stale(rng: Rng, ms: float) -> Planted:
    """The first message after an interruption begins with the end of what was interrupted."""
    talk = Talk(rng, 12)
    scene = Scene(18.0, talk.scene.wire, talk.scene.pipeline_rate)
    long = talk.say("bot", 6.0)
    scene.say_bot(1.0, long)
    at = talk.loud(Turn("bot", 1.0, long), 0.1) + 0.05
    at = min(max(at, 1.8), 1.0 + long.duration - 0.3)
    scene.interrupt(at)
    scene.say_bot(at + 4.0, talk.say("bot", 3.0))
    old = b"".join(chunk.payload for chunk in scene.chunks if chunk.time < at)
    first = next(chunk for chunk in scene.chunks if chunk.time >= at + 3)
    size = round(ms / 1000 * scene.wire.sample_rate) * scene.wire.bytes_per_sample
    first.payload = old[len(old) - size :] + first.payload
    return Planted(scene, (first.time, first.time + ms / 1000), ms, "bot")


def without_ambience(rng: Rng, ms: float) -> Planted:
    talk = Talk(rng, 12, rates=NARROW)
    scene = Scene(24.0)
    murmur = rng.standard_normal(24 * 8000).astype(np.float32) * np.float32(10 ** (-52 / 20))
    part = talk.say("bot", 3.0).resampled(8000).samples[: 5 * 8000]
    murmur[16000 : 16000 + len(part)] += part
    scene.say_bot(0.0, Audio(murmur[: 10 * 8000], 8000))
    at = float(rng.uniform(3, 7))
    scene.interrupt(at)
    scene.say_bot(at + ms / 1000, Audio(murmur[10 * 8000 : 22 * 8000], 8000))
    return Planted(scene, (at, at + ms / 1000), ms, "bot")


def late(rng: Rng, secs: float) -> Planted:
    talk = Talk(rng, 14 + secs, first=secs)
    first = talk.turns[0].heard[0]
    return Planted(talk.scene, (0.0, first), first, "bot")


def piled_up(rng: Rng, secs: float) -> Planted:
    scene = Talk(rng, 20, jitter_ms=0).scene
    scene.arrival = np.maximum(scene.arrival - secs, np.arange(len(scene.arrival)) * 1e-6)
    scene.duration -= secs
    scene.chunks = [c for c in scene.chunks if c.time < scene.duration - 3]
    return Planted(scene, None, secs, "caller")


def hung_up(rng: Rng, ms: float) -> Planted:
    talk = Talk(rng, 10)
    goodbye = talk.say("bot", 3.0)
    heard = np.flatnonzero(levels(goodbye.resampled(8000)) > -45)
    goodbye = goodbye.span(0.0, HOP * float(heard[-1] + 1))  # nobody misses what fades
    length = round((2.0 + goodbye.duration - ms / 1000) / MEDIA) * MEDIA
    scene = Scene(length, talk.scene.wire, talk.scene.pipeline_rate)
    scene.say_bot(length + ms / 1000 - goodbye.duration, goodbye, lead=ms / 1000 + 0.2)
    scene.frame_out(length - 0.1, "EndFrame")
    return Planted(scene, (length, length), ms, "bot")


def lingering(rng: Rng, secs: float) -> Planted:
    talk = Talk(rng, 10)
    word = talk.say("bot", 2.0)
    ended = 1.0 + word.duration + 0.2
    scene = Scene(round((ended + secs) / MEDIA) * MEDIA, talk.scene.wire, talk.scene.pipeline_rate)
    scene.say_bot(1.0, word)
    scene.frame_out(ended, "EndFrame")
    return Planted(scene, (ended, scene.duration), scene.duration - ended, "bot")


def misread(rng: Rng, size: float) -> Planted:
    talk = Talk(rng, 20)
    turn = talk.turn("bot")
    pcm = turn.audio.resampled(talk.scene.pipeline_rate).pcm()
    wrong = (
        np.frombuffer(pcm, "<i2").byteswap().tobytes() if rng.random() < 0.5 else pcm[1:] + b"\0"
    )
    if size >= 1:
        talk.resay(turn, Audio.from_pcm(wrong, talk.scene.pipeline_rate))
    return Planted(talk.scene, None, None, "bot")


def doubled_rate(rng: Rng, size: float) -> Planted:
    talk = Talk(rng, 20)
    width = talk.scene.wire.bytes_per_sample
    for chunk in talk.scene.chunks if size >= 1 else ():
        samples = np.frombuffer(chunk.payload, f"V{width}")
        chunk.payload = np.repeat(samples, 2).tobytes()
    return Planted(talk.scene, None, 2.0, "bot")


def narrow(rng: Rng, size: float) -> Planted:
    talk = Talk(rng, 20, rates=(8000 if size >= 1 else 24000, FORMATS[3]), bots=BOTS[:1])
    return Planted(talk.scene, None, None, "bot")


def cut_by_nobody(rng: Rng, size: float) -> Planted:
    talk = Talk(rng, 20, noise_dbov=-70)
    turn = max((t for t in talk.turns if t.side == "bot"), key=lambda t: t.audio.duration)
    at = turn.start + rng.uniform(1.7, max(1.8, turn.audio.duration - 0.7))
    if size >= 1:
        talk.scene.interrupt(at)
    return Planted(talk.scene, (at, at), None, "bot")


FAULTS = [
    Fault("underrun", hole),
    Fault("pacing", ahead, edges=False),
    Fault("pacing", paced, "over", edges=False, which=1),
    Fault("dead_air", silent),
    Fault("slow_barge_in", yielding),
    Fault("early_answer", hasty, edges=False),
    Fault("missing_clear", uncleared),
    Fault("false_barge_in", cut_by_nobody, "once"),
    Fault("slow_response", waiting, edges=False),
    Fault("echo", echoing, "-db"),
    Fault("clipping", clipped),
    Fault("clipping", clipped_caller),
    Fault("level_mismatch", apart, "db", edges=False),
    Fault("noise", noisy, "db"),
    Fault("noise", noisy_words, "db"),
    Fault("dc_offset", offset, edges=False),
    Fault("sequence_gap", lost),
    Fault("duplicate", doubled),
    Fault("jitter", stalled),
    Fault("loop_lag", blocked),
    Fault("clock_drift", drifting, edges=False),
    Fault("wrong_codec", misread, "once", edges=False),
    Fault("aliasing", folded, "-db", edges=False),
    Fault("tail_lost", tailless, edges=False),
    Fault("audio_lost", unsent, edges=False),
    Fault("dropout", punched),
    Fault("dropout", punched_caller),
    Fault("upsampled", narrow, "once", edges=False),
    Fault("wrong_rate", doubled_rate, "once", edges=False),
    Fault("late_start", late),
    Fault("late_start", piled_up, edges=False, which=1),
    Fault("cut_goodbye", hung_up),
    Fault("slow_shutdown", lingering),
    Fault("stale_audio", stale),
    Fault("unheard_speech", unheard),
    Fault("ambience_gap", without_ambience),
    Fault("onset_pop", popping, "db"),
    Fault("block_joint", jointed, "once", edges=False),
    Fault("wire_overhead", tiny, edges=False),
]

#: Those that can be planted together into one conversation.
TOGETHER = {
    "sequence_gap": lost, "duplicate": doubled, "jitter": stalled, "underrun": hole,
    "clipping": clipped_caller, "dropout": punched, "tail_lost": tailless, "onset_pop": popping,
    "noise": noisy,
}  # fmt: skip
