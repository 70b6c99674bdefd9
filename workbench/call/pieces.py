"""The audio of many messages and frames, piece by piece, in one place that may be a file.

An hour has half a million pieces: as objects they would take half a gigabyte. Here they lie one
behind the other in a :class:`workbench.mapped.Spool`, and what is asked for is read.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import WireFormat
from workbench import mapped

__all__ = [
    "Decoded",
    "PieceWriter",
    "Pieces",
    "join",
    "laid",
    "let_go",
    "peaks",
    "powers",
    "sizes",
]

#: Pieces that are read together by who goes over all of them, and by who computes with them.
_AT_ONCE, _SAMPLED = 4096, 500


class Pieces(Sequence[bytes]):
    """Pieces of bytes by their number, as a tuple would have them.

    Parameters:
        data: All bytes, shape ``(n,)``.
        offset: Where each piece begins, shape ``(k,)``, int64.
        size: Bytes in each, shape ``(k,)``, int64.
    """

    def __init__(
        self, data: NDArray[np.uint8], offset: NDArray[np.int64], size: NDArray[np.int64]
    ) -> None:
        """Take them."""
        self.data = data
        self.offset = offset
        self.size = size

    def __len__(self) -> int:
        return len(self.offset)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> Pieces: ...

    def __getitem__(self, index: int | slice) -> bytes | Pieces:
        if isinstance(index, slice):
            return self.taken(index)
        at = int(self.offset[index])
        return self.data[at : at + int(self.size[index])].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        data = self.data.data
        for first in range(0, len(self), _AT_ONCE):
            offset = self.offset[first : first + _AT_ONCE].tolist()
            size = self.size[first : first + _AT_ONCE].tolist()
            for at, length in zip(offset, size, strict=True):
                yield bytes(data[at : at + length])
            if len(self) > _AT_ONCE:
                self.let_go()

    def taken(self, which: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Pieces:
        """Some of them."""
        return Pieces(self.data, self.offset[which], self.size[which])

    def let_go(self) -> None:
        """Keep what was read on the disk only."""
        mapped.let_go(self.data)


class Decoded(Sequence[bytes]):
    """Encoded pieces as PCM, each decoded when it is asked for.

    Parameters:
        formats: Encoding of each.
        payloads: All pieces.
        which: Indices of those that are meant, in order.
    """

    def __init__(
        self,
        formats: Sequence[WireFormat],
        payloads: Sequence[bytes],
        which: NDArray[np.intp],
    ) -> None:
        """Take them."""
        self._formats = formats
        self._payloads = payloads
        self._which = which

    def __len__(self) -> int:
        return len(self._which)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> Decoded: ...

    def __getitem__(self, index: int | slice) -> bytes | Decoded:
        if isinstance(index, slice):
            return Decoded(self._formats, self._payloads, self._which[index])
        return self._made(int(self._which[index]))

    def __iter__(self) -> Iterator[bytes]:
        for first in range(0, len(self), _AT_ONCE):
            yield from map(self._made, self._which[first : first + _AT_ONCE].tolist())
            if len(self) > _AT_ONCE:
                let_go(self._payloads)

    @property
    def size(self) -> NDArray[np.int64]:
        """Bytes of PCM in each, shape ``(k,)``, int64."""
        width = np.array([wire.bytes_per_sample for wire in self._formats], np.int64)
        return (2 * (sizes(self._payloads) // width))[self._which]

    def let_go(self) -> None:
        """Keep what was read on the disk only."""
        let_go(self._payloads)

    def joined(self, which: NDArray[np.intp]) -> bytes:
        """Some of them one behind the other; what is encoded alike is decoded at once."""
        numbers = self._which[which]
        several = [self._formats[number] for number in numbers.tolist()]
        if several and several.count(several[0]) == len(several):
            wire = several[0]
            if not (sizes(self._payloads)[numbers] % wire.bytes_per_sample).any():
                pcm: bytes = wire.decode(join(self._payloads, numbers))
                return pcm
        return b"".join(map(self._made, numbers.tolist()))

    def _made(self, number: int) -> bytes:
        pcm: bytes = self._formats[number].decode(self._payloads[number])
        return pcm


class PieceWriter:
    """Pieces on their way to a file."""

    def __init__(self) -> None:
        """Begin without any."""
        self._spool = mapped.Spool()
        self._size = array("q")

    def __len__(self) -> int:
        return len(self._size)

    def add(self, piece: bytes) -> None:
        """Add a piece."""
        self._spool.add(piece)
        self._size.append(len(piece))

    def pieces(self) -> Pieces:
        """All of them until now."""
        size = np.array(self._size, np.int64)
        return Pieces(self._spool.taken(), np.cumsum(size) - size, size)


def join(pieces: Sequence[bytes], which: NDArray[np.intp]) -> bytes:
    """Some pieces one behind the other."""
    if isinstance(pieces, Decoded):
        return pieces.joined(which)
    if isinstance(pieces, Pieces) and len(which):
        offset, size = pieces.offset[which], pieces.size[which]
        if (offset[1:] == (offset + size)[:-1]).all():  # as they lie, if nothing lies between
            data = pieces.data[int(offset[0]) : int(offset[-1] + size[-1])]
            joined = data.tobytes()
            mapped.let_go(data)
            return joined
    return b"".join([pieces[index] for index in which.tolist()])


def sizes(pieces: Sequence[bytes]) -> NDArray[np.int64]:
    """Bytes in each piece, shape ``(k,)``."""
    if isinstance(pieces, (Pieces, Decoded)):
        return pieces.size
    return np.fromiter(map(len, pieces), np.int64, len(pieces))


def powers(pieces: Sequence[bytes]) -> NDArray[np.float64]:
    """Mean square of each piece of PCM, full scale being 1: shape ``(k,)``; 0 of an empty one."""
    found = np.zeros(len(pieces))
    for where, samples, begins in _sampled(pieces):
        squares = np.square(samples, dtype=np.float64)
        lengths = np.diff(begins, append=len(samples))
        found[where] = np.add.reduceat(squares, begins) / lengths / 32768**2
    return found


def peaks(pieces: Sequence[bytes]) -> NDArray[np.int64]:
    """Largest magnitude of each piece of PCM: shape ``(k,)``, int64; 0 of an empty one."""
    found = np.zeros(len(pieces), np.int64)
    for where, samples, begins in _sampled(pieces):
        highest, lowest = (f.reduceat(samples, begins) for f in (np.maximum, np.minimum))
        found[where] = np.maximum(highest, -lowest.astype(np.int64))
    return found


def _sampled(
    pieces: Sequence[bytes],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int16], NDArray[np.int64]]]:
    """Go over pieces of PCM, many at once: which, their samples, and where each begins in those."""
    lengths = sizes(pieces) // 2
    for first in range(0, len(pieces), _SAMPLED):
        where = first + np.flatnonzero(lengths[first : first + _SAMPLED])
        if len(where):
            samples = np.frombuffer(join(pieces, where), "<i2")
            yield where, samples, np.cumsum(lengths[where]) - lengths[where]
            let_go(pieces)


def laid(pieces: Sequence[bytes]) -> NDArray[np.int16]:
    """PCM of many pieces one behind the other, as samples; in a file, if they are many."""
    if isinstance(pieces, Pieces) and len(pieces):
        offset, size = pieces.offset, pieces.size
        if (offset[1:] == (offset + size)[:-1]).all():
            whole = pieces.data[int(offset[0]) : int(offset[-1] + size[-1])]
            return whole[: len(whole) // 2 * 2].view("<i2")
    filled, pcm = 0, mapped.zeros(int(sizes(pieces).sum()) // 2, "<i2")
    for first in range(0, len(pieces), _AT_ONCE):
        samples = np.frombuffer(b"".join(pieces[first : first + _AT_ONCE]), "<i2")
        part = pcm[filled : filled + len(samples)]
        part[:] = samples
        mapped.let_go(part)
        filled += len(samples)
    return pcm


def let_go(pieces: Sequence[bytes]) -> None:
    """Keep what was read of pieces on the disk only, where they are in a file."""
    if isinstance(pieces, (Pieces, Decoded)):
        pieces.let_go()
