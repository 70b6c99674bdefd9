"""Clean calls of many voices, drawn at random, and what belongs in every clean call.

Speech comes from all of the sample audio: synthetic voices, people who read, telephones. A
recording is cut at its pauses, so that no turn begins or ends inside a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from pipecat_bandwidth.encodings import FORMATS
from tests.captures import SAMPLES, Scene
from workbench.audio import Audio
from workbench.diagnosis.detectors.barge_in import AUDIBLE_DBOV
from workbench.metrics.speech import HOP, joined, levels, voice_activity
from workbench.metrics.speech_level import active_level

BOTS = ("bot_voices/*.flac", "human/*.flac", "call/bot/b*.flac")
CALLERS = ("caller_phone/phone_f*.wav", "human/*.flac", "call/caller/c0[1-7].flac", *BOTS[:1])
#: Behind this one's words there is noise of -42 dBov: it is a fault.
NOISY_LINE = "caller_phone/phone_m*.wav"
PAD = 0.06  # what surrounds a turn's speech

#: Pipeline and wire of a call: those of Pipecat's and of Bandwidth's documentation.
RATES = [(8000, FORMATS[0]), (8000, FORMATS[0]), (24000, FORMATS[0])]
RATES += [(wire.sample_rate, wire) for wire in FORMATS]


@dataclass
class Turn:
    side: str
    start: float  # of its audio; the speech begins PAD later
    audio: Audio

    @property
    def end(self) -> float:
        return self.start + self.audio.duration

    @property
    def heard(self) -> tuple[float, float]:
        """From the first to the last 10 ms of it that can be heard over a telephone."""
        loud = np.flatnonzero(levels(self.audio.resampled(8000)) > AUDIBLE_DBOV)
        return self.start + HOP * float(loud[0]), self.start + HOP * float(loud[-1] + 1)


@cache
def phrases(pattern: str) -> list[list[Audio]]:
    """Phrases of each recording, in order, all at -23 dBov and 24 kHz."""
    found = []
    for path in sorted(SAMPLES.glob(pattern)):
        audio = Audio.read(path).resampled(24000)
        audio = Audio(audio.samples * np.float32(10 ** ((-23 - active_level(audio)) / 20)), 24000)
        spoken = joined(voice_activity(audio), 0.15)
        spoken = spoken[spoken[:, 1] - spoken[:, 0] > 0.3]
        found.append([_cut(audio, start - PAD, end + PAD) for start, end in spoken.tolist()])
    return found


def _cut(audio: Audio, start: float, end: float) -> Audio:
    """A piece that fades in and out over 10 ms, as every synthesis and player does it."""
    samples = audio.span(start, end).samples.copy()
    ramp = np.linspace(0, 1, 240, dtype=np.float32)
    samples[:240] *= ramp
    samples[-240:] *= ramp[::-1]
    return Audio(samples, 24000)


class Talk:
    """A conversation of two voices: its scene and its turns."""

    def __init__(
        self,
        rng: np.random.Generator,
        secs: float = 30.0,
        *,
        rates: tuple | None = None,
        first: float = 0.8,
        noise_dbov: float | None = None,
        jitter_ms: float = 1.5,
        ending: float = 1.5,
        gap: float | None = None,
        bots: tuple[str, ...] = BOTS,
        callers: tuple[str, ...] = CALLERS,
    ) -> None:
        self.rng = rng
        self.voices = {"bot": self._voice(bots), "caller": self._voice(callers)}
        self.gain_db = {side: float(rng.uniform(-3, 3)) for side in self.voices}
        self.turns: list[Turn] = []
        at, side = first - PAD, "bot"
        while at < secs - 6 or len(self.turns) < 3:
            turn = Turn(side, at, self.say(side, rng.uniform(2.5, 6.0)))
            self.turns.append(turn)
            wait = rng.uniform(0.3, 1.3) if gap is None or side == "bot" else gap
            at, side = turn.end + wait - 2 * PAD, "caller" if side == "bot" else "bot"
        pipeline_rate, wire = rates or RATES[rng.integers(len(RATES))]
        noise = float(rng.uniform(-72, -58)) if noise_dbov is None else noise_dbov
        length = self.turns[-1].end + ending
        self.scene = Scene(round(length / 0.02) * 0.02, wire, pipeline_rate, noise, jitter_ms)
        self.scene.arrival = np.maximum.accumulate(self.scene.arrival)  # TCP keeps the order
        for turn in self.turns:
            self.put(turn)

    def _voice(self, kinds: tuple[str, ...]) -> list[Audio]:
        recordings = phrases(kinds[self.rng.integers(len(kinds))])
        return recordings[self.rng.integers(len(recordings))]

    def say(self, side: str, secs: float) -> Audio:
        """Some phrases in that side's voice, at least so long."""
        voice, gain = self.voices[side], np.float32(10 ** (self.gain_db[side] / 20))
        index, parts, length = int(self.rng.integers(len(voice))), [], 0.0
        while length < secs:
            phrase = voice[index % len(voice)]
            parts.append(phrase.samples)
            length += phrase.duration
            index += 1
        return Audio(np.concatenate(parts) * gain, 24000)

    def put(self, turn: Turn) -> None:
        say = self.scene.say_caller if turn.side == "caller" else self.scene.say_bot
        say(turn.start, turn.audio)

    def resay(self, turn: Turn, audio: Audio, **settings: float) -> None:
        """Let the bot say something else in a turn."""
        self.scene.chunks = [chunk for chunk in self.scene.chunks if chunk.said != turn.start]
        self.scene.say_bot(turn.start, audio, **settings)

    def turn(self, side: str) -> Turn:
        """One of that side's turns."""
        mine = [turn for turn in self.turns if turn.side == side]
        return mine[self.rng.integers(len(mine))]

    def loud(self, turn: Turn, secs: float = 0.0, rate: int = 8000) -> float:
        """A moment in the middle of a word: from it on, for so long, it is loud."""
        level = levels(turn.audio.resampled(rate))
        size = max(3, round(secs / HOP) + 6)
        quietest = np.array([level[i : i + size].min() for i in range(20, len(level) - size - 20)])
        best = np.flatnonzero(quietest >= np.sort(quietest)[-max(1, len(quietest) // 50)])
        return turn.start + (int(self.rng.choice(best)) + 23) * HOP


# -- what is no fault ----------------------------------------------------------------------------


def with_decoys(talk: Talk) -> Talk:
    """Put in what looks like a fault and is none."""
    rng, scene = talk.rng, talk.scene
    bot, other = (talk.turn("bot") for _ in range(2))
    # A quick barge-in shortly before the end of a turn, and a murmur into another one.
    if bot.audio.duration > 2.5:
        at = bot.end - rng.uniform(1.2, 1.8)
        words = talk.say("caller", 0.6)
        scene.say_caller(at - PAD, words.span(0, min(0.8, words.duration)))
        scene.interrupt(at + rng.uniform(0.25, 0.45))
    if other is not bot and other.audio.duration > 2.5:
        at = other.start + rng.uniform(0.8, other.audio.duration - 1.2)
        scene.say_caller(at, talk.say("caller", 0.3).span(0, 0.4))
    caller = talk.turn("caller")
    scene.lose(caller.start + 0.5, 1)
    scene.repeat(caller.start + 1.0, 1)
    scene.stall_caller(caller.start + 0.8, 0.045)
    # A door between words, and a rustle under them; a long "hm", and a key that is pressed.
    for at, secs, dbov in ((bot.start - 0.1, 0.4, -38.0), (caller.start + 0.5, 0.8, -36.0)):
        burst = rng.standard_normal(round(secs * 8000)).astype(np.float32)
        scene.say_caller(max(0.0, at), Audio(burst * np.float32(10 ** (dbov / 20)), 8000))
    time = np.arange(14400) / 8000
    hum = sum(np.sin(2 * np.pi * 130 * k * time) / k**1.5 for k in range(1, 25))
    key = np.sin(2 * np.pi * 770 * time) + np.sin(2 * np.pi * 1336 * time)
    for at, sound in ((caller.start + 0.1, hum), (talk.turn("bot").start + 0.2, key[:4800])):
        level = np.float32(10 ** (-25 / 20) / np.sqrt(np.mean(np.square(sound))))
        scene.say_caller(at, Audio(sound.astype(np.float32) * level, 8000))
    return talk
