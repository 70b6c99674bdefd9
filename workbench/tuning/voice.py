"""What the bot said in a call: its audio frames, one behind the other, at one rate.

The time between frames is left out. So is whatever would make a comparison sample by sample
impossible: if a pipeline changed its rate in mid-call, all frames are brought to the highest; and
before an interruption, after which a resampler starts afresh, audio ends at a multiple of 20 ms,
which is a whole number of samples at every rate in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.exceptions import NothingSaid

if TYPE_CHECKING:
    from workbench.call import Call, FrameRecord

__all__ = ["GRID", "Voice", "Source", "Run", "voice_of"]

#: A call; or the frames it gave to ``serialize``; or audio of a bot's voice; or what
#: :func:`voice_of` made of one of them.
Source: TypeAlias = "Call | Audio | Sequence[FrameRecord] | Voice"

#: Pipecat's output transport sends 40 ms at a time by default.
FRAME_SECS: Final = 0.04

#: Points a second at which a stretch may end: a whole number of samples apart at 8, 16, 22.05, 24,
#: 32, 44.1 and 48 kHz.
GRID: Final = 50


class Run(NamedTuple):
    """Frames between two interruptions.

    Parameters:
        frames: int16 mono samples of each.
        interrupted: Whether an interruption follows.
    """

    frames: list[NDArray[np.int16]]
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
        frames = [frame for stretch in self.runs for frame in stretch.frames]
        return _audio(frames, self.sample_rate)

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
    kept = [record for record in records if record.is_to_be_sent or _is_interruption(record)]
    top = max((record.sample_rate for record in kept), default=0)
    return _checked(_runs(kept, top), top)


def _checked(runs: Iterable[Run], rate: int) -> Voice:
    said = Voice(tuple(runs), rate)
    if not any(frame.size for stretch in said.runs for frame in stretch.frames):
        raise NothingSaid("the bot said nothing: there is no audio to send")
    return said


def _is_interruption(record: FrameRecord) -> bool:
    return "Interruption" in record.frame


def _runs(records: Sequence[FrameRecord], top: int) -> Iterator[Run]:
    for is_interruption, group in groupby(records, key=_is_interruption):
        if is_interruption:
            continue
        run = list(group)
        frames: list[NDArray[np.int16]] = []
        for rate, part in groupby(run, key=lambda record: record.sample_rate):
            pcm = [np.frombuffer(record.mono, "<i2") for record in part]
            frames += pcm if rate == top else _recut(_audio(pcm, rate), top)
        interrupted = run[-1] is not records[-1]
        yield Run(_trimmed(frames, top) if interrupted else frames, interrupted)


def _trimmed(frames: list[NDArray[np.int16]], rate: int) -> list[NDArray[np.int16]]:
    """Let a stretch end at a multiple of 20 ms."""
    excess = sum(frame.size for frame in frames) % (rate // GRID)
    kept = list(frames)
    while excess:
        last = kept.pop()
        if last.size > excess:
            kept.append(last[: last.size - excess])
        excess = max(0, excess - last.size)
    return kept


def _audio(frames: Sequence[NDArray[np.int16]], rate: int) -> Audio:
    joined = np.concatenate([np.empty(0, np.int16), *frames]).astype("<i2")
    return Audio.from_pcm(joined.tobytes(), rate)


def _recut(audio: Audio, rate: int) -> list[NDArray[np.int16]]:
    """Convert and cut into frames of 40 ms."""
    samples = np.frombuffer(audio.resampled(rate).pcm(), "<i2")
    size = max(1, round(FRAME_SECS * rate))
    return [samples[start : start + size] for start in range(0, samples.size, size)]
