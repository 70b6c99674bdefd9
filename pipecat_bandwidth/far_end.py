"""The far end's queue as the serializer knows it: from what it has sent, by its own clock.

Bandwidth plays what it is sent in real time and tells nothing of it. So audio sent at ``now`` is over
at ``max(end, now) + duration``, and at the caller's ear :data:`WAY_SECS` later.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["PAUSE_SECS", "WAY_SECS", "FarEnd"]

#: From here through the internet, Bandwidth and the telephone network to the ear, in seconds. Half of
#: what ITU-T G.114 calls good for a whole call (150 ms), rounded up; a hang-up overtakes it, since it
#: goes by another way.
WAY_SECS: Final = 0.1


#: After so many seconds without sound something else is said: a voice pauses for less inside of a
#: sentence, and a hole of less is one in an utterance.
PAUSE_SECS: Final = 1.0


class FarEnd:
    """Follows the queue of one call.

    Silence is what Pipecat sends as such, zeros; what a voice leaves behind a word is sound.

    Attributes:
        end: When all that was sent will have been played, in seconds on the serializer's clock.
        sound_end: When the last sound in it will have been.
    """

    __slots__ = ("_bytes_per_sec", "end", "sound_end")

    def __init__(self, sample_rate: int) -> None:
        """Begin with an empty queue.

        Args:
            sample_rate: Of the audio that is sent, in hertz.
        """
        self._bytes_per_sec = 2 * sample_rate
        self.end = self.sound_end = -math.inf

    def sounding_secs(self, now: float) -> float:
        """How long the last sound is still on its way or to be played; 0.0 when all is heard."""
        return max(0.0, self.sound_end + WAY_SECS - now)

    def begins(self, pcm: bytes, now: float) -> bool:
        """Whether audio that is sent now begins an utterance.

        The first sound of a call does, the first after a ``clear``, and the first after a pause of
        :data:`PAUSE_SECS`. Silence begins nothing, and ends no pause.
        """
        return now >= self.sound_end + PAUSE_SECS and bool(pcm.strip(b"\0"))

    def lead_secs(self, now: float) -> float:
        """How much audio is queued."""
        return max(0.0, self.end - now)

    def append(self, pcm: bytes, now: float) -> None:
        """Take note of audio that is sent now: 16-bit samples."""
        start = now if now > self.end else self.end
        self.end = start + len(pcm) / self._bytes_per_sec
        sound = len(pcm)
        if sound and not pcm[-1]:  # this runs for each message, and few end in silence
            sound = len(pcm.rstrip(b"\0"))
        if sound:
            self.sound_end = start + sound / self._bytes_per_sec

    def clear(self) -> None:
        """Forget everything, as ``clear`` makes the far end do."""
        self.end = self.sound_end = -math.inf
