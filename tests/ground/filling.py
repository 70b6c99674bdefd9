"""Where phrases begin and end, and speech of a wanted length: phrases of one voice that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from pipecat.audio.vad.vad_analyzer import VADParams

from tests.ground.caller import RATE
from tests.ground.voices import Phrase
from workbench.audio import Audio
from workbench.capture import AudioFrame, Record
from workbench.metrics.speech import runs_of, voice_probability

Samples: TypeAlias = NDArray[np.float32]
#: Makes so many seconds of sound at 8 kHz; with ``cut`` it ends in the middle of a word.
Fill: TypeAlias = Callable[[float, bool], Samples]

SAID = "/frames/out/audio"
AUDIBLE_DBOV = -48.0  # of 20 ms, where a phrase begins and ends
WORDS_DBOV = -33.0  # the same over a background of -43 dBov
ABOVE_DB = 10.0  # by so much a phrase is louder than the noise that was recorded with it
HOP = 0.020
PAUSE = 0.4  # seconds; a longer one divides two phrases
BETWEEN = 0.3  # seconds between two phrases, at least
NEAR = 0.05  # seconds that a phrase may be too short
CLICK = 0.1  # seconds; what is shorter and stands alone is no word


def audible(samples: Samples, rate: int, dbov: float = AUDIBLE_DBOV) -> NDArray[np.int_]:
    """First and last sample of each stretch louder than that, shape ``(n, 2)``; short pauses are in it."""
    size = round(HOP * rate)
    count = -(-len(samples) // size)
    padded = np.pad(samples, (0, count * size - len(samples))).reshape(count, size)
    power = np.mean(np.square(padded, dtype=np.float64), axis=1)
    loud = np.flatnonzero(power > 10 ** (dbov / 10))
    if not len(loud):
        return np.empty((0, 2), int)
    breaks = np.flatnonzero(np.diff(loud) * HOP > PAUSE)
    first, last = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, len(loud) - 1]] + 1
    return np.stack([first * size, np.minimum(last * size, len(samples))], axis=1)


def _floor(samples: Samples) -> float:
    """Level of the noise of a recording, in dBov: of its quietest tenth."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160).astype(np.float64)
    return 10 * np.log10(np.percentile(np.mean(frames**2, axis=1), 10) + 1e-10)


@cache
def trimmed(phrase: Phrase) -> Samples:
    """A phrase at 8 kHz from its first sound to its last, faded in and out over 5 ms; clicks are no words."""
    samples = phrase.audio(RATE).samples
    stretches = audible(samples, RATE, max(AUDIBLE_DBOV, _floor(samples) + ABOVE_DB))
    stretches = stretches[np.diff(stretches, axis=1)[:, 0] > CLICK * RATE]
    if not len(stretches):
        return np.zeros(0, np.float32)
    samples = samples[stretches[0, 0] : stretches[-1, 1]].copy()
    ramp = np.linspace(0, 1, 40, dtype=np.float32)
    samples[:40] *= ramp
    samples[-40:] *= ramp[::-1]
    return samples


@cache
def is_heard(phrase: Phrase) -> bool:
    """Whether Pipecat's voice detector starts at it, by its defaults: not all words are voiced, nor all cries."""
    samples = trimmed(phrase)
    probability = voice_probability(Audio(np.pad(samples, RATE // 2), RATE))
    if probability is None:
        return True
    heard = runs_of(probability > VADParams().confidence, 0.032)
    return bool((np.diff(heard, axis=1) > VADParams().start_secs).any())


def speech(phrases: Sequence[Phrase], rng: np.random.Generator) -> Fill:
    """What fills lengths with one voice, at one level of -29 to -21 dBov.

    What made a pipeline stop when the run was recorded was heard by it; so are the words in its place.
    """
    known = [samples for samples in map(trimmed, filter(is_heard, phrases)) if _is_long(samples)]
    # Of some voices no phrase is heard as one.
    known = known or [samples for samples in map(trimmed, phrases) if _is_long(samples)]
    lengths = np.array([len(samples) for samples in known])
    gain = np.float32(10 ** (rng.uniform(-6, 2) / 20))

    def one(fits: NDArray[np.bool_]) -> Samples:
        return known[rng.choice(np.flatnonzero(fits))]

    def beginning(size: int) -> Samples:
        """The first of a longer phrase; anywhere else it might begin in a pause."""
        out = one(lengths > size)[:size].copy()
        out[-160:] *= np.linspace(1, 0, min(160, size), dtype=np.float32)
        return out

    def ending(size: int) -> Samples:
        """The last of a phrase."""
        out = one(lengths >= size)[-size:].copy()
        out[:160] *= np.linspace(0, 1, min(160, size), dtype=np.float32)
        return out

    def placed(size: int) -> Samples:
        """Phrases of which the first begins, and the last ends, where it was said when recorded."""
        out = np.zeros(size, np.float32)
        near = (lengths <= size) & (lengths > size - NEAR * RATE)
        room = size - lengths.min() - round(BETWEEN * RATE)
        if near.any():
            last = one(near)
        elif room >= lengths.min():
            first = one(lengths <= room)
            out[: len(first)] = first
            last = placed(size - len(first) - round(BETWEEN * RATE))
        elif (lengths > size).any():  # too long for one, too short for two
            return beginning(size)
        else:
            first = one(lengths == lengths.max())
            out[: len(first)] = first
            last = ending(min(size - len(first), int(lengths.max())))
        out[size - len(last) :] = last
        return out

    def fill(secs: float, cut: bool) -> Samples:
        size = round(secs * RATE)
        if not cut and size >= lengths.min():
            return placed(size) * gain
        longer = lengths >= size
        out = (one(longer) if longer.any() else placed(size + RATE // 2))[:size] * gain
        fade = 1 if cut else min(80, size)
        out[size - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        return out

    return fill


def _is_long(samples: Samples) -> bool:
    return len(samples) > 0.4 * RATE


def slots(records: list[Record], mixed: bool = False) -> list[list[int]]:
    """Where the bot says something: first and last sample, and whether it is cut.

    Words stand out from a background that is ``mixed`` with them, which has no pauses.

    Samples count through the audio of its frames. It is cut where an interruption, or the end of the recording, follows at once.
    """
    frames = [msgspec.json.decode(r.body, type=AudioFrame) for r in records if r.topic == SAID]
    if not frames:
        return []
    rate = frames[0].sample_rate
    times = np.array([r.time_ns for r in records if r.topic == SAID]) / 1e9
    ends = np.cumsum([len(frame.data) // 2 for frame in frames])
    stream = Audio.from_pcm(b"".join(frame.data for frame in frames), rate).samples
    cuts = [r.time_ns / 1e9 for r in records if b'"InterruptionFrame"' in r.body[:200]]
    breaks = np.array([*cuts, max(r.time_ns for r in records) / 1e9])
    parted = ends[:-1][np.diff(times) > 0.2]  # frames that did not come one after the other
    found = []
    for begin, end in zip([0, *parted], [*parted, len(stream)], strict=True):
        for first, last in (
            audible(stream[begin:end], rate, WORDS_DBOV if mixed else AUDIBLE_DBOV) + begin
        ):
            at = times[min(int(np.searchsorted(ends, last)), len(times) - 1)]
            broken = bool(((breaks >= at) & (breaks < at + 0.25)).any())
            found.append([int(first), int(last), int(broken and last > end - 0.06 * rate)])
    return found
