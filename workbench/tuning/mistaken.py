"""Recordings that are the right ones, wrongly written or read: each mistake by its name, undone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.tuning.tape import alike

__all__ = ["undone"]

A = TypeVar("A", bound=Audio)

#: By what a header's rate may be wrong: twice, three times, 24 for 16 kHz, 48 for 44.1 kHz.
_FACTORS: Final = (2.0, 0.5, 3.0, 1 / 3, 1.5, 2 / 3, 48 / 44.1, 44.1 / 48)
#: Runs of zeros that may have been put in: so many samples at least, and so many times.
_SHORTEST_RUN, _FEWEST_RUNS = 40, 6
#: Samples of one voice that follow each other are more alike than this, those of two channels less: by
#: correlation, 0.8 and more of voices at 8 kHz.
_NEIGHBOURS: Final = 0.5
#: How long each of two tracks speaks where they take turns, in seconds.
_PACKET: Final = 0.020


def undone(recording: A) -> Iterator[tuple[str, A]]:
    """Undo one mistake after another.

    Args:
        recording: In which nothing was found as it is.

    Yields:
        What it would have been, in words, and the recording without it.
    """
    samples, rate = recording.samples, recording.sample_rate
    if (found := _put_in(samples)) is not None:
        first, length, period = found
        kept = (np.arange(len(samples)) - first) % period >= length
        yield (
            f"{1000 * length / rate:.3g} ms of silence were put in each {period / rate:.3g} s, "
            f"{60 * length / (period - length):.1f} s per minute",
            _with(recording, samples[kept]),
        )
    yield "its polarity is inverted", _with(recording, -samples)
    pairs = samples[: len(samples) // 2 * 2].reshape(-1, 2)
    if alike(pairs[:, 0], pairs[:, 1]) < _NEIGHBOURS:
        for first in (1, 0):
            right = np.ascontiguousarray(pairs[:, first])
            yield "it is in stereo and was read as mono", _with(recording, right)
    for factor in _FACTORS:
        true_rate = round(rate * factor)
        yield (
            f"its header says {rate} Hz, it was recorded at {true_rate} Hz, so that it runs "
            f"{1 / factor:.3g} times as fast",
            replace(recording, sample_rate=true_rate),
        )
    size = round(_PACKET * rate)
    turns = samples[: len(samples) // (2 * size) * 2 * size].reshape(-1, 2, size)
    for track in (1, 0):
        yield (
            f"two tracks take turns each {1000 * _PACKET:.0f} ms",
            _with(recording, np.ascontiguousarray(turns[:, track]).reshape(-1)),
        )


def _put_in(samples: NDArray[np.float32]) -> tuple[int, int, int] | None:
    """Silence at regular places: where the first is, how long each, and their period, in samples.

    Pauses that are digital silence too differ in length and do not come regularly.
    """
    edges = np.diff(np.concatenate([[0], (samples == 0).astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    lengths = ends - starts
    long = lengths >= _SHORTEST_RUN
    if np.count_nonzero(long) < _FEWEST_RUNS:
        return None
    length = int(np.bincount(lengths[long]).argmax())
    # A run may have taken in a zero of the sound on either side.
    mine = starts[(lengths >= length) & (lengths <= length + 2)]
    if len(mine) < _FEWEST_RUNS:
        return None
    period = int(np.bincount(np.diff(mine)).argmax())
    phase = int(np.bincount(mine % period).argmax())
    near = np.abs((mine - phase + period // 2) % period - period // 2) <= 2
    if period < 4 * length or np.count_nonzero(near) < max(_FEWEST_RUNS, 0.5 * len(mine)):
        return None
    return phase, length, period


def _with(recording: A, samples: NDArray[np.float32]) -> A:
    return replace(recording, samples=samples)
