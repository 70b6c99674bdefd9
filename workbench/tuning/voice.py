"""What the bot said in a call: its audio frames, one behind the other, at one rate.

The time between frames is left out. So is whatever would make a comparison sample by sample
impossible: if a pipeline changed its rate in mid-call, all frames are brought to the highest; and
before an interruption, after which a resampler starts afresh, audio ends at a multiple of 20 ms,
which is a whole number of samples at every rate in use.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.exceptions import NothingSaid

if TYPE_CHECKING:
    from workbench.call import Call, FrameRecord

__all__ = ["GRID", "Cut", "Voice", "Source", "Run", "voice_of"]

#: A call; or the frames it gave to ``serialize``; or audio of a bot's voice; or what
#: :func:`voice_of` made of one of them.
Source: TypeAlias = "Call | Audio | Sequence[FrameRecord] | Voice"

#: Pipecat's output transport sends 40 ms at a time by default.
FRAME_SECS: Final = 0.04

#: Frames that are gone over, and samples that are copied, together.
_AT_ONCE: Final = 1000
_BLOCK: Final = 1 << 18

#: Points a second at which a stretch may end: a whole number of samples apart at 8, 16, 22.05, 24,
#: 32, 44.1 and 48 kHz.
GRID: Final = 50


class Cut(Sequence[NDArray[np.int16]]):
    """Samples cut into frames; an hour of them lies in a file (:mod:`workbench.mapped`).

    Parameters:
        samples: Int16, shape ``(n,)``.
        edges: Where frames begin, and the end of the last one; shape ``(frames + 1,)``.
    """

    def __init__(self, samples: NDArray[np.int16], edges: NDArray[np.int64]) -> None:
        """Take them."""
        self.samples = samples
        self.edges = edges

    def __len__(self) -> int:
        return len(self.edges) - 1

    @overload
    def __getitem__(self, index: int) -> NDArray[np.int16]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[NDArray[np.int16]]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return self.samples[self.edges[at] : self.edges[at + 1]]

    def __iter__(self) -> Iterator[NDArray[np.int16]]:
        for first in range(0, len(self), _AT_ONCE):
            edges = self.edges[first : first + _AT_ONCE + 1].tolist()
            for begin, end in pairwise(edges):
                yield self.samples[begin:end]
            mapped.let_go(self.samples[edges[0] : edges[-1]])


class Run(NamedTuple):
    """Frames between two interruptions.

    Parameters:
        frames: int16 mono samples of each.
        interrupted: Whether an interruption follows.
    """

    frames: Cut
    interrupted: bool


@dataclass(frozen=True, eq=False)
class Voice:
    """The frames of all that was said, as a serializer is given them.

    What trials measure against is made from it: :class:`workbench.tuning.trial.Spoken`.

    Parameters:
        runs: In order.
        sample_rate: Of all of them, in hertz.
    """

    runs: tuple[Run, ...]
    sample_rate: int

    @cached_property
    def audio(self) -> Audio:
        """One frame behind the other."""
        if len(self.runs) == 1:
            return _audio(self.runs[0].frames, self.sample_rate)
        filled, joined = 0, mapped.zeros(sum(len(r.frames.samples) for r in self.runs), "<i2")
        for run in self.runs:
            for _, block in mapped.blocks(run.frames.samples, _BLOCK):
                part = joined[filled : filled + len(block)]
                part[:] = block
                mapped.let_go(part)
                filled += len(block)
        return Audio.from_pcm(joined, self.sample_rate)

    def resampled(self, sample_rate: int) -> Voice:
        """Convert each stretch as a whole, and cut it into frames of 40 ms."""
        if sample_rate == self.sample_rate:
            return self
        converted = (
            Run(_recut(_audio(s.frames, self.sample_rate), sample_rate), s.interrupted)
            for s in self.runs
        )
        return Voice(tuple(converted), sample_rate)


def voice_of(call: Source) -> Voice:
    """Collect what the bot said.

    Args:
        call: A call; or the frames it gave to ``serialize``, in order; or any audio, which is cut
            into frames of 40 ms. What was collected already is returned as it is.

    Raises:
        NothingSaid: If it said nothing.
        TypeError: For anything else, such as a path.
    """
    if isinstance(call, Voice):
        return call
    if isinstance(call, Audio):
        runs = [Run(_recut(call, call.sample_rate), interrupted=False)]
        return _checked(runs, call.sample_rate)
    records = call if isinstance(call, Sequence) else getattr(call, "frames_out", None)
    if records is None or isinstance(records, str):
        raise TypeError(
            f"{call!r} is no call: wanted a Call (Call.open reads a capture), Audio, or the frames "
            "of a call; workbench.tuning.batch.tune_captures takes paths"
        )
    return _checked(*_collected(records))


def _checked(runs: Iterable[Run], rate: int) -> Voice:
    said = Voice(tuple(runs), rate)
    if not any(len(run.frames.samples) for run in said.runs):
        raise NothingSaid("the bot said nothing: there is no audio to send")
    return said


def _is_interruption(record: FrameRecord) -> bool:
    return "Interruption" in record.frame


def _collected(records: Sequence[FrameRecord]) -> tuple[list[Run], int]:
    """The runs of a call, and the rate that they all have: its highest."""
    top = max((record.sample_rate for record in records if record.is_to_be_sent), default=0)
    collecting = _Collecting(top)
    for record in records:
        if record.is_to_be_sent:
            collecting.add(record)
        elif _is_interruption(record):
            collecting.end(interrupted=True)
    collecting.end(interrupted=False)
    return collecting.runs(), top


class _Collecting:
    """Frames on their way into runs: what is collected goes on to the disk at once."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._spool = mapped.Spool()
        self._sizes = array("q")
        self._ends = list[tuple[int, bool]]()  # of each run: frames so far, and whether interrupted
        #: The latest frames: of them a run's end is cut off, if there is an interruption.
        self._latest = deque[bytes]()
        self._held = self._samples = 0
        self._others = mapped.Spool()
        self._other_rate = 0

    def add(self, record: FrameRecord) -> None:
        """Add a frame."""
        if record.sample_rate != self._other_rate:
            self._convert()
        if record.sample_rate == self._rate:
            self._put(record.mono)
        else:
            self._other_rate = record.sample_rate
            self._others.add(record.mono)

    def end(self, interrupted: bool) -> None:
        """End a run, if there is any."""
        self._convert()
        if not self._samples and not self._latest and len(self._sizes) == self._begun:
            return
        if interrupted:
            self._trim()
        self._let_out(0)
        self._ends.append((len(self._sizes), interrupted))
        self._samples = 0

    def runs(self) -> list[Run]:
        """All of them."""
        samples = self._spool.taken().view("<i2")
        edges = np.append(0, np.cumsum(np.array(self._sizes, np.int64)))
        found, first = [], 0
        for last, interrupted in self._ends:
            part = edges[first : last + 1]
            found.append(Run(Cut(samples[part[0] : part[-1]], part - part[0]), interrupted))
            first = last
        return found

    @property
    def _begun(self) -> int:
        return self._ends[-1][0] if self._ends else 0

    def _put(self, pcm: bytes) -> None:
        self._latest.append(pcm)
        self._held += len(pcm)
        self._samples += len(pcm) // 2
        self._let_out(2 * self._rate // GRID)

    def _let_out(self, least: int) -> None:
        """Let the earliest go, and keep so many bytes."""
        while self._latest and self._held - len(self._latest[0]) >= least:
            pcm = self._latest.popleft()
            self._held -= len(pcm)
            self._spool.add(pcm)
            self._sizes.append(len(pcm) // 2)

    def _trim(self) -> None:
        """Let a stretch end at a multiple of 20 ms."""
        excess = 2 * (self._samples % (self._rate // GRID))
        while excess:
            last = self._latest.pop()
            self._held -= len(last)
            if len(last) > excess:
                self._latest.append(last[: len(last) - excess])
                self._held += len(last) - excess
            excess = max(0, excess - len(last))

    def _convert(self) -> None:
        """Bring what came at another rate to that of all, as a whole."""
        if not self._other_rate:
            return
        pcm, rate = self._others.taken().view("<i2"), self._other_rate
        self._others, self._other_rate = mapped.Spool(), 0
        for frame in _recut(Audio.from_pcm(pcm, rate), self._rate):
            self._put(frame.tobytes())


def _audio(frames: Cut, rate: int) -> Audio:
    return Audio.from_pcm(frames.samples, rate)


def _recut(audio: Audio, rate: int) -> Cut:
    """Convert and cut into frames of 40 ms."""
    samples = audio.resampled(rate).int16()
    size = max(1, round(FRAME_SECS * rate))
    return Cut(samples, np.append(np.arange(0, samples.size, size), samples.size))
