"""The far end's playout queue: what ``playAudio`` becomes in the caller's ear, and when.

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

__all__ = ["TICK", "Playback", "Utterance"]

#: Seconds in one packet of the far leg.
TICK: Final = 0.02

#: Silence up to this long inside an utterance is an underrun; after more the next one begins.
#: The shortest pause between two utterances of the sample script is 0.5 s.
_PAUSE: Final = 0.3


@dataclass
class Utterance:
    """Audio played without a pause.

    Parameters:
        start: Second of the call when its first sample was played.
        end: The same for its last one, so far.
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

    @property
    def time(self) -> float:
        """Second of the call up to which everything has been played."""
        return len(self._played) / self._tick_bytes * TICK

    @property
    def queued_secs(self) -> float:
        """Length of the queue."""
        return len(self._queue) / 2 / self.leg.sample_rate

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
        if self._queue and self.utterances:
            self.utterances[-1].cut = True
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
        if audio:
            self._note(self.time, len(audio) / 2 / self.leg.sample_rate)
        audio = self.leg.decode(self.leg.encode(audio))
        self._played += audio.ljust(self._tick_bytes, b"\0")

    def _note(self, start: float, duration: float) -> None:
        last = self.utterances[-1] if self.utterances else None
        pause = start - last.end if last else 0.0
        if last is None or last.cut or pause > _PAUSE:
            self.utterances.append(Utterance(start, start + duration))
            return
        if pause > 1e-9:
            self.underruns.append((last.end, pause))
        last.end = start + duration
