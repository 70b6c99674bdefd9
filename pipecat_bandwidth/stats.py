"""What has gone through one serializer: plain counters, and the story of the sequence numbers.

References:
    RFC 3550, appendix A.1: which jumps of a sequence number are believed at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, repeat
from typing import Final

__all__ = ["Sequence", "Stats"]

#: A jump this far ahead or behind is accepted only once the next number continues from it:
#: MAX_DROPOUT and MAX_MISORDER of RFC 3550, one minute and two seconds of messages.
_AHEAD: Final = 3000
_BEHIND: Final = 100


@dataclass(slots=True)
class Stats:
    """Counters of one call, from its first message on.

    Nothing is lost in the serializer when ``audio_in_ms == wire_in_ms`` and ``wire_out_ms ==
    audio_out_ms + tail_out_ms + cushion_out_ms``, up to the rounding to whole samples.

    Parameters:
        messages_in: WebSocket messages received, good and bad.
        messages_out: Messages given to the transport.
        bytes_in: Their sizes, summed. JSON text here is ASCII: characters are bytes.
        bytes_out: The same outbound.
        bad: Messages that were not understood.
        other: Messages understood and passed over: of a type not known here or that only the bot
            sends, and ``stop`` of another stream.
        starts: ``start`` messages; more than one is an error of the other side.
        other_track: ``media`` messages of another track than the caller's, dropped.
        after_stop: ``media`` messages, and audio frames of the bot, after ``stop``; dropped.
        gaps: Times at which sequence numbers were skipped.
        missing: Numbers skipped and not seen since.
        duplicates: Repeats of a recent number, or numbers from just before the first message.
        out_of_order: Messages with a number skipped before, or with one far from the others.
        wire_in_ms: Caller's audio that arrived.
        audio_in_ms: Caller's audio given to the pipeline.
        audio_out_ms: Bot's audio taken from the pipeline.
        wire_out_ms: Bot's audio given to the transport.
        tail_out_ms: The part of ``wire_out_ms`` that a resampler gave out when it was flushed.
        cushions: Utterances of the bot that began with a cushion.
        cushion_out_ms: The part of ``wire_out_ms`` that was cushions.
        inbound_delay_ms: Delay of the inbound resampler; 0.0 when there is nothing to convert.
        outbound_delay_ms: The same outbound.
    """

    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    bad: int = 0
    other: int = 0
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
    cushions: int = 0
    cushion_out_ms: float = 0.0
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
        self.upcoming: Iterator[str] = repeat("")  # an empty number is none, however many come
        self._stats = stats
        self._skipped: set[int] = set()
        self._resume = -1

    def follow(self, number: int | None) -> None:
        """Take a number other than the expected one; ``None`` for a message without any."""
        if number is None:
            return
        stats, expected = self._stats, int(self.expected or -1)
        if expected < 0:
            self._go_on_from(number)
        elif number == self._resume:
            stats.gaps += 1
            self._go_on_from(number)
        elif expected <= number < expected + _AHEAD:
            if number > expected:
                stats.gaps += 1
                stats.missing += number - expected
                recent = range(max(expected, number - _BEHIND), number)
                self._skipped = {n for n in self._skipped if n >= number - _BEHIND} | set(recent)
            self._go_on_from(number)
        elif number in self._skipped:
            self._skipped.remove(number)
            stats.out_of_order += 1
            stats.missing -= 1
        elif expected - _BEHIND <= number < expected:
            stats.duplicates += 1
        else:
            stats.out_of_order += 1
            self._resume = number + 1

    def _go_on_from(self, number: int) -> None:
        self.upcoming = map(str, count(number + 1))
        self.expected = next(self.upcoming)
        self._resume = -1
