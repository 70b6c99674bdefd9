"""The far end's playout queue: what ``playAudio`` becomes in the caller's ear, and when.

An utterance is told by its level, as an ear tells it: a bot may send silence, comfort noise or a
quiet background without a break. It begins with the first 20 ms above :data:`AUDIBLE_DBOV` and ends
with the audio, or with its last such 20 ms if what follows them stays quieter for a second.

Time is given, never read: :meth:`Playback.advance` plays every 20 ms that have come due. Nothing
limits the queue (Bandwidth names no limit); how long it grew is reported. ``clear`` empties it; the
20 ms on their way go on to the ear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import WireFormat
from pipecat_bandwidth.resampler import StreamResampler

__all__ = ["AUDIBLE_DBOV", "TICK", "Playback", "Utterance"]

#: Seconds in one packet of the far leg.
TICK: Final = 0.02

#: Silence up to this long inside an utterance is an underrun; after more the next one begins.
#: The shortest pause between two utterances of the sample script is 0.5 s.
_PAUSE: Final = 0.3

#: RMS of 20 ms that is heard as more than background. The bot's words in the sample scripts have
#: -22 dBov, their consonants are above -40.
AUDIBLE_DBOV: Final = -45.0
#: Quiet audio up to this long is a pause in an utterance: those in the sample scripts have 0.54 s.
_HANGOVER: Final = 1.0


@dataclass
class Utterance:
    """Sound that was heard without a pause.

    Parameters:
        start: Second of the call when it began.
        end: The same for its end, so far.
        cut: Whether a ``clear`` took the rest of it away.
    """

    start: float
    end: float
    cut: bool = False


class Playback:
    """Plays one call's ``playAudio`` on the call's clock.

    Args:
        leg: The far leg's encoding and rate; what is played has been through it.
    """

    def __init__(self, leg: WireFormat) -> None:
        """See the class."""
        self.leg = leg
        self.utterances: list[Utterance] = []
        self.underruns: list[tuple[float, float]] = []
        self.said_secs = 0.0
        self.discarded_secs = 0.0
        self.high_water_secs = 0.0
        self._tick_bytes = round(leg.sample_rate * TICK) * 2
        self._queue = bytearray()
        self._played = bytearray()
        self._resampler = StreamResampler(leg.sample_rate, leg.sample_rate)
        self._audio_end = self._sound_end = 0.0
        self._going_on = False

    @property
    def time(self) -> float:
        """Second of the call up to which everything has been played."""
        return len(self._played) / self._tick_bytes * TICK

    @property
    def queued_secs(self) -> float:
        """Length of the queue."""
        return len(self._queue) / 2 / self.leg.sample_rate

    @property
    def sounding(self) -> bool:
        """Whether the last utterance is not over: more is queued, and it was loud just now."""
        return bool(self._queue) and self._goes_on(self.time)

    @property
    def played(self) -> bytes:
        """All that was played, as PCM at the leg's rate; its first sample is second 0."""
        return bytes(self._played)

    def append(self, wire: WireFormat, payload: bytes) -> None:
        """Queue the audio of one ``playAudio``.

        Args:
            wire: What its content type says.
            payload: Its decoded payload.
        """
        self.said_secs += wire.duration(payload)
        if wire.sample_rate != self._resampler.in_rate:
            self._queue += self._resampler.flush()
            self._resampler = StreamResampler(wire.sample_rate, self.leg.sample_rate)
        self._queue += self._resampler.process(wire.decode(payload))
        self.high_water_secs = max(self.high_water_secs, self.queued_secs)

    def clear(self) -> None:
        """Empty the queue."""
        self.discarded_secs += self.queued_secs
        if self.sounding:
            self.utterances[-1].cut = True
            self._going_on = False
        self._queue.clear()
        self._resampler.reset()

    def advance(self, time: float) -> NDArray[np.int16]:
        """Play what has come due.

        Args:
            time: Second of the call.

        Returns:
            What was played now: PCM at the leg's rate, a whole number of ticks, perhaps none.
        """
        before = len(self._played)
        while self.time + TICK <= time + 1e-9:
            self._play_tick()
        return np.frombuffer(bytes(self._played[before:]), "<i2")

    def _play_tick(self) -> None:
        if len(self._queue) < self._tick_bytes:
            # The last of an utterance: take out what the converter still holds.
            self._queue += self._resampler.flush()
        audio = bytes(self._queue[: self._tick_bytes])
        del self._queue[: self._tick_bytes]
        played = self.leg.decode(self.leg.encode(audio))
        if audio:
            self._note(self.time, len(audio) / 2 / self.leg.sample_rate, _audible(played))
        self._played += played.ljust(self._tick_bytes, b"\0")

    def _note(self, start: float, duration: float, audible: bool) -> None:
        """Work out what the next piece of audio does to the last utterance."""
        end = start + duration
        dry = start - self._audio_end
        before, self._going_on = self._going_on, self._goes_on(start)
        if self._going_on and dry > 1e-9:
            self.underruns.append((self._audio_end, dry))
        if before and not self._going_on and dry <= _PAUSE:
            self.utterances[-1].end = self._sound_end  # What followed it is background.
        if audible and not self._going_on:
            self.utterances.append(Utterance(start, end))
            self._going_on = True
        if self._going_on:
            self.utterances[-1].end = end
        self._audio_end = end
        if audible:
            self._sound_end = end

    def _goes_on(self, time: float) -> bool:
        """Whether audio at that second belongs to the last utterance."""
        return (
            self._going_on
            and time <= self._audio_end + _PAUSE
            and time <= self._sound_end + _HANGOVER
        )


def _audible(pcm: bytes) -> bool:
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    return float(np.mean(samples**2)) > (32768 * 10 ** (AUDIBLE_DBOV / 20)) ** 2
