"""What a call consists of, as plain values on its clock: streams, frames, events.

Conventions:
    Times in seconds; 0 is the first WebSocket message of the call, or where the first of the audio
    belongs that had piled up before it. What the pipeline did before zero has a negative time.
    *Inbound* is caller to bot, *outbound* bot to caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import WireFormat
from workbench.call.life import Spell, State, step_of
from workbench.call.pieces import Decoded

__all__ = ["Event", "FrameRecord", "HangUpRecord", "PipelineRecord", "Stream", "WordsRecord"]


@dataclass(frozen=True)
class Event:
    """Something that happened at one moment.

    Parameters:
        time: In seconds on the call's clock.
        kind: ``start``, ``stop``, ``clear``, ``cleared`` (the far end says so), ``mark`` (the bot asks
            to be told when all before is played), ``played`` (it is), ``interruption``, ``end``, ``cancel``, ``hang_up``,
            ``hang_up_failed``, ``bad_message``, ``other_message``, ``warning``, ``error``,
            ``dropped``, ``note``, ``pipeline`` (see :mod:`workbench.observer`).
        text: What it was, in words.
    """

    time: float
    kind: str
    text: str = ""


@dataclass(frozen=True)
class HangUpRecord:
    """An attempt of the serializer to end the call.

    Parameters:
        time: When its outcome was known.
        outcome: ``ended`` by this attempt, ``already_over`` before it, ``failed`` or
            ``cancelled``; after the last two the call may still be up.
        status_code: HTTP status of the last answer, as far as known.
        attempts: Requests made for the call, as far as known.
        took_ms: How long it took, as far as known.
        reason: Why the call may still be up, in words.
    """

    time: float
    outcome: str
    status_code: int | None = None
    attempts: int | None = None
    took_ms: float | None = None
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the call is known to be over."""
        return self.outcome in ("ended", "already_over")

    def __str__(self) -> str:
        if not self.is_over:
            return f"the call may still be up: {self.reason}"
        took_secs = None if self.took_ms is None else self.took_ms / 1000
        known = {"HTTP {}": self.status_code, "attempts: {}": self.attempts, "{:.2f} s": took_secs}
        facts = ", ".join(form.format(fact) for form, fact in known.items() if fact is not None)
        return self.outcome.replace("_", " ") + (f" ({facts})" if facts else "")


@dataclass(frozen=True)
class PipelineRecord:
    """Something that happened in the pipeline: see :mod:`workbench.observer`.

    Parameters:
        time: When the observer was told of it.
        what: What it was: ``bot begins to speak``, ``first byte``.
        processor: Which part of the pipeline it is about; empty if it does not matter.
        seconds: For a metric: what was measured.
    """

    time: float
    what: str
    processor: str = ""
    seconds: float | None = None

    def __str__(self) -> str:
        after = "" if self.seconds is None else f" after {1000 * self.seconds:.0f} ms"
        return f"{self.what}{after}" + (f" ({self.processor})" if self.processor else "")


@dataclass(frozen=True)
class WordsRecord:
    """What one side said: see :class:`workbench.capture.Words`.

    Parameters:
        time: When its text was first known.
        side: Who said it.
        text: What, redacted.
        processor: Which part of the pipeline knew it.
        is_whole: False for a transcript that was never final, and for a speech that was cut off.
        is_timed: Whether the synthesis gave the times of its words.
        at: Of each part of the text that has a time, the index of its first character.
        starts: When each would begin, in seconds after ``time``, if speech were played as it comes.
        ends: When each would end.
    """

    time: float
    side: Literal["caller", "bot"]
    text: str
    processor: str = ""
    is_whole: bool = True
    is_timed: bool = False
    at: tuple[int, ...] = ()
    starts: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()


class FrameRecord(msgspec.Struct, frozen=True, gc=False):
    """One Pipecat frame that went into the serializer or came out of it.

    Parameters:
        time: When it was given to ``serialize``, or made by ``deserialize``.
        frame: Name of its class.
        pcm: Its audio, int16 little-endian, channels interleaved; ``None`` if it has none.
        sample_rate: In hertz; 0 without audio.
        num_channels: 0 without audio.
        cause: Number, from 1, of the record of the message that it was made from.
        result: For a frame without audio: ``sent``, ``none`` or ``error``.
        took_ms: How long the serializer took over it.
    """

    time: float
    frame: str
    pcm: bytes | None = None
    sample_rate: int = 0
    num_channels: int = 0
    cause: int | None = None
    result: str = ""
    took_ms: float | None = None

    def __repr__(self) -> str:
        sound = f", {1000 * self.duration:.0f} ms at {self.sample_rate} Hz" if self.pcm else ""
        return f"FrameRecord({self.time:.3f} s, {self.frame}{sound})"

    @property
    def duration(self) -> float:
        """Length of its audio in seconds."""
        if not self.pcm or not self.sample_rate:
            return 0.0
        return len(self.pcm) // 2 / max(1, self.num_channels) / self.sample_rate

    @property
    def has_sound(self) -> bool:
        """Whether it holds audio of a rate that there is."""
        return bool(self.pcm and self.sample_rate)

    @property
    def is_to_be_sent(self) -> bool:
        """Whether it holds audio for the caller: the caller's own goes back to nobody."""
        return self.has_sound and not self.frame.startswith(("Input", "User"))

    @property
    def mono(self) -> bytes:
        """Whole samples of one channel, the mean of all, as the serializer makes them."""
        pcm, channels = self.pcm or b"", max(1, self.num_channels)
        pcm = pcm[: len(pcm) // (2 * channels) * 2 * channels]
        if channels == 1:
            return pcm
        mixed = np.frombuffer(pcm, "<i2").reshape(-1, channels).mean(axis=1)
        return bytes(np.rint(mixed).astype("<i2"))


@dataclass(frozen=True, eq=False)
class Stream:
    """The audio messages of one direction, in the order in which they went by.

    Parameters:
        time: When each went by, shape ``(n,)``.
        sequence: ``sequenceNumber``, int64; -1 where there is none, as always outbound.
        duration: Audio in each.
        start: Inbound: where its audio belongs, by arrival and sequence. Outbound: ``time``.
        duplicate: Bool: sent a second time, and not played.
        missing: Messages that were sent before each and never arrived, int64.
        size: Characters of JSON.
        payloads: Encoded audio of each.
        formats: Encoding of each.
        number: Inbound: one step per message sent, from 0, int64; empty outbound, where nobody
            counts, as are ``late`` and ``restarted``.
        late: How much later it came than those behind it show it could have.
        restarted: Bool: a new count begins with it.
        spells: What was out of the ordinary: see :mod:`workbench.call.life`.
        drift: How much slower the sender's clock runs than ours, in seconds a second; ``None``
            where nothing is long enough to tell.
    """

    time: NDArray[np.float64]
    sequence: NDArray[np.int64]
    duration: NDArray[np.float64]
    start: NDArray[np.float64]
    duplicate: NDArray[np.bool_]
    missing: NDArray[np.int64]
    size: NDArray[np.int64]
    payloads: Sequence[bytes] = field(repr=False)
    formats: tuple[WireFormat, ...] = field(repr=False)
    number: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    late: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    restarted: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    spells: tuple[Spell, ...] = ()
    drift: float | None = None

    def __len__(self) -> int:
        return len(self.time)

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(map(str, self.formats)))
        return f"Stream({len(self)} messages, {self.duration.sum():.2f} s, {kinds or 'empty'})"

    @property
    def step(self) -> float:
        """Seconds from one message of the sender to the next."""
        return step_of(self.duration)

    def spells_of(self, *states: State) -> list[Spell]:
        """Its spells of some states, in the order of their start."""
        return [spell for spell in self.spells if spell.state in states]

    def pcm(self, which: NDArray[np.intp] | None = None) -> Sequence[bytes]:
        """Every message decoded, each when it is asked for; or those with some indices."""
        which = np.arange(len(self)) if which is None else which
        return Decoded(self.formats, self.payloads, which)
