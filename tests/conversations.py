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
from workbench.call.speech import HOP, joined, levels, voice_activity
from workbench.levels import active_level

BOTS = ("bot_voices/*.flac", "human/*.flac", "call/bot/b*.flac")
CALLERS = ("caller_phone/*.wav", "human/*.flac", "call/caller/c0[1-7].flac", "bot_voices/*.flac")
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
    ) -> None:
        self.rng = rng
        self.voices = {"bot": self._voice(bots), "caller": self._voice(CALLERS)}
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
    # A door: 0.4 s of noise between words.
    first = round((bot.start - 0.1) * 8000)
    burst = rng.standard_normal(3200).astype(np.float32) * np.float32(10 ** (-38 / 20))
    if first > 0 and first + 3200 < len(scene.caller):
        scene.caller[first : first + 3200] += burst
    return talk


@cache
def hold_music() -> Audio:
    return Audio.read(SAMPLES / "call" / "bot" / "hold_music.flac").resampled(24000)
