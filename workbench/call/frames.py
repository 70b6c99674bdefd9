"""The frames of a call in columns: an hour has a quarter of a million of them.

To who goes over them they are :class:`workbench.call.streams.FrameRecord` one after the other, each made
when it is asked for; what is counted or summed is better asked of the columns.

Conventions:
    Times and durations in seconds, float64, one per frame, in order.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from workbench.call.pieces import Pieces, PieceWriter
from workbench.call.streams import FrameRecord

__all__ = ["FrameWriter", "Frames", "frames_of"]

#: Frames that are made together by who goes over all of them.
_AT_ONCE: Final = 4096
#: For a frame without audio; without a cause; no number of either.
_NONE: Final = -1


@dataclass(frozen=True, eq=False)
class Frames(Sequence[FrameRecord]):
    """Frames of one direction, by their number.

    Parameters:
        time: Of each, see :class:`FrameRecord`.
        sample_rate: Int32; 0 without audio.
        num_channels: Int32; 0 without audio.
        cause: Int64; -1 for none.
        took_ms: ``nan`` where it is not known.
        size: Bytes of audio, int64; -1 for a frame without.
        names: Every name of a class and result that there is.
        name: Number of the class in ``names``, int32.
        result: Number of the result in ``names``, int32.
        pieces: The audio; empty of a frame without.
    """

    time: NDArray[np.float64]
    sample_rate: NDArray[np.int32]
    num_channels: NDArray[np.int32]
    cause: NDArray[np.int64]
    took_ms: NDArray[np.float64]
    size: NDArray[np.int64]
    names: tuple[str, ...]
    name: NDArray[np.int32]
    result: NDArray[np.int32]
    pieces: Pieces

    def __len__(self) -> int:
        return len(self.time)

    def __repr__(self) -> str:
        return f"Frames({len(self)}, {self.duration.sum():.2f} s)"

    @overload
    def __getitem__(self, index: int) -> FrameRecord: ...

    @overload
    def __getitem__(self, index: slice) -> Frames: ...

    def __getitem__(self, index: int | slice) -> FrameRecord | Frames:
        if isinstance(index, slice):
            return self.taken(index)
        index = range(len(self))[index]
        return next(self._made(index, index + 1))

    def __iter__(self) -> Iterator[FrameRecord]:
        for first in range(0, len(self), _AT_ONCE):
            yield from self._made(first, min(first + _AT_ONCE, len(self)))
            if len(self) > _AT_ONCE:
                self.pieces.let_go()

    @property
    def without_audio(self) -> Frames:
        """Those that are no audio frames."""
        return self.taken(self.size < 0)

    @property
    def duration(self) -> NDArray[np.float64]:
        """Length of the audio of each."""
        with np.errstate(divide="ignore", invalid="ignore"):
            secs = self.size // 2 / np.maximum(1, self.num_channels) / self.sample_rate
        return np.where(self.has_sound, secs, 0.0)

    @property
    def has_audio(self) -> NDArray[np.bool_]:
        """Whether each holds any audio at all."""
        return self.size > 0

    @property
    def audio_rates(self) -> NDArray[np.int32]:
        """Sample rate of each that holds any audio, shape ``(k,)``; 0 of one that there is not."""
        return self.sample_rate[self.has_audio]

    @property
    def has_sound(self) -> NDArray[np.bool_]:
        """Whether each holds audio of a rate that there is."""
        return (self.size > 0) & (self.sample_rate > 0)

    @property
    def is_to_be_sent(self) -> NDArray[np.bool_]:
        """Whether each holds audio for the caller: the caller's own goes back to nobody."""
        own = [name.startswith(("Input", "User")) for name in self.names]
        return self.has_sound & ~np.array(own, np.bool_)[self.name]

    @property
    def mono(self) -> Sequence[bytes]:
        """Whole samples of one channel of each, see :attr:`FrameRecord.mono`."""
        if (self.num_channels <= 1).all() and not (self.size % 2).any():
            return self.pieces
        return [frame.mono for frame in self]

    def taken(self, which: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Frames:
        """Some of them."""
        return Frames(
            self.time[which], self.sample_rate[which], self.num_channels[which],
            self.cause[which], self.took_ms[which], self.size[which], self.names,
            self.name[which], self.result[which], self.pieces.taken(which),
        )  # fmt: skip

    def _made(self, first: int, last: int) -> Iterator[FrameRecord]:
        part, names = slice(first, last), self.names
        columns = (
            self.time, self.name, self.size, self.sample_rate, self.num_channels, self.cause,
            self.result, self.took_ms, self.pieces.offset,
        )  # fmt: skip
        data = self.pieces.data.data
        for time, name, size, rate, channels, cause, result, took, at in zip(
            *(column[part].tolist() for column in columns), strict=True
        ):
            yield FrameRecord(
                time,
                names[name],
                None if size < 0 else bytes(data[at : at + size]),
                rate,
                channels,
                None if cause < 0 else cause,
                names[result],
                None if took != took else took,
            )


class FrameWriter:
    """Frames on their way into columns."""

    def __init__(self) -> None:
        """Begin without any."""
        self._floats = array("d")  # time and took_ms in turns
        self._numbers = array("q")  # rate, channels, cause, size, name and result in turns
        self._names: dict[str, int] = {}
        self._audio = PieceWriter()

    def add(self, frame: FrameRecord) -> None:
        """Add a frame. A cause that is no number of a record is none."""
        cause = frame.cause
        names = self._names
        took = frame.took_ms
        self._floats.append(frame.time)
        self._floats.append(float("nan") if took is None else took)
        self._numbers.extend(
            (
                frame.sample_rate,
                frame.num_channels,
                _NONE if cause is None or not 0 <= cause < 2**62 else cause,
                _NONE if frame.pcm is None else len(frame.pcm),
                names.setdefault(frame.frame, len(names)),
                names.setdefault(frame.result, len(names)),
            )
        )
        self._audio.add(frame.pcm or b"")

    def frames(self) -> Frames:
        """All of them until now."""
        time, took = np.array(self._floats, float).reshape(-1, 2).T
        rate, channels, cause, size, name, result = (
            np.array(self._numbers, np.int64).reshape(-1, 6).T
        )
        return Frames(
            time.copy(), rate.astype(np.int32), channels.astype(np.int32), cause.copy(),
            took.copy(), size.copy(), tuple(self._names), name.astype(np.int32),
            result.astype(np.int32), self._audio.pieces(),
        )  # fmt: skip


def frames_of(records: Sequence[FrameRecord]) -> Frames:
    """Records in columns."""
    if isinstance(records, Frames):
        return records
    writer = FrameWriter()
    for record in records:
        writer.add(record)
    return writer.frames()
