"""What has gone through one serializer: plain counters, and the story of the sequence numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

__all__ = ["Sequence", "Stats"]

#: How many missing numbers are remembered, to tell a late message from a repeated one.
_REMEMBERED: Final = 1000


@dataclass(slots=True)
class Stats:
    """Counters of one call, from its first message on.

    Nothing is lost in the serializer when ``audio_in_ms == wire_in_ms`` and ``wire_out_ms ==
    audio_out_ms + tail_out_ms``, up to the rounding to whole samples.

    Parameters:
        messages_in: WebSocket messages received, good and bad.
        messages_out: Messages given to the transport.
        bytes_in: Their sizes, summed. JSON text here is ASCII: characters are bytes.
        bytes_out: The same outbound.
        bad: Messages that were not understood.
        starts: ``start`` messages; more than one is an error of the other side.
        other_track: ``media`` messages of another track than the caller's, dropped.
        after_stop: ``media`` messages, and audio frames of the bot, after ``stop``; dropped.
        gaps: Times at which sequence numbers were skipped.
        missing: Numbers skipped and not seen since.
        duplicates: Messages with a number seen before.
        out_of_order: Messages with a number skipped before: late ones.
        wire_in_ms: Caller's audio that arrived.
        audio_in_ms: Caller's audio given to the pipeline.
        audio_out_ms: Bot's audio taken from the pipeline.
        wire_out_ms: Bot's audio given to the transport.
        tail_out_ms: The part of ``wire_out_ms`` that a resampler gave out when it was flushed.
        inbound_delay_ms: Delay of the inbound resampler; 0.0 when there is nothing to convert.
        outbound_delay_ms: The same outbound.
    """

    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    bad: int = 0
    starts: int = 0
    other_track: int = 0
    after_stop: int = 0
    gaps: int = 0
    missing: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    wire_in_ms: float = 0.0
    audio_in_ms: float = 0.0
    audio_out_ms: float = 0.0
    wire_out_ms: float = 0.0
    tail_out_ms: float = 0.0
    inbound_delay_ms: float = 0.0
    outbound_delay_ms: float = 0.0


class Sequence:
    """Follows the numbers of the caller's media. They are counted and never relied on.

    Attributes:
        expected: The next number as Bandwidth writes it; empty before the first.
        upcoming: The numbers after it, without end.
    """

    def __init__(self, stats: Stats) -> None:
        """Count into ``stats``."""
        self.expected = ""
        self.upcoming: Iterator[str] = iter(())
        self._stats = stats
        self._skipped: set[int] = set()

    def follow(self, number: int | None) -> None:
        """Take a number other than the expected one; ``None`` for a message without any."""
        if number is None:
            return
        stats, expected = self._stats, int(self.expected or -1)
        if number >= expected:
            if number > expected >= 0:
                stats.gaps += 1
                stats.missing += number - expected
                self._skipped.update(range(max(expected, number - _REMEMBERED), number))
                if len(self._skipped) > _REMEMBERED:
                    self._skipped = set(sorted(self._skipped)[-_REMEMBERED:])
            self.upcoming = map(str, count(number + 1))
            self.expected = next(self.upcoming)
        elif number in self._skipped:
            self._skipped.remove(number)
            stats.out_of_order += 1
            stats.missing -= 1
        else:
            stats.duplicates += 1
