"""Tones: one sine or two that stand still, as telephones and machines make them.

Conventions:
    Samples at 8 kHz, without an offset (DC). Times in seconds, levels in dBov, frequencies in hertz.

References:
    .. [1] ITU-T Q.23, the frequencies of push buttons; ITU-T Q.24, how exact a receiver must be.
    .. [2] ITU-T E.180, the tones of the telephone service.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tone", "find_tones"]

_RATE: Final = 8000
#: Tones are looked for in pieces of 32 ms, padded so that keys can be told apart; pieces overlap by half.
_FRAME, _PADDED = 256, 1024
_STEP: Final = _FRAME // 2
#: Two that are closer than a frame can part beat, and seem to move by so much; keys are further apart.
_STILL_HZ: Final = 45.0
#: Share of the power that one sine or two hold, through mu-law; of voices not one patch in a hundred
#: has it.
_SHARE: Final = 0.97
#: A voice with a high pitch is taken for notes: three and more, half of them shorter than this in seconds, each
#: closer to the last than this ratio, and not all of one pitch. Tones of a telephone are longer, or further apart.
_LONGEST_NOTE, _STEP_RATIO, _GLIDING = 0.15, 1.25, 1.04
#: Notes of one voice are no further apart, in seconds.
_APART: Final = 0.25

_KEYS: Final = {
    (low, high): "123A456B789C*0#D"[4 * row + column]
    for row, low in enumerate((697, 770, 852, 941))
    for column, high in enumerate((1209, 1336, 1477, 1633))
}


class Tone(NamedTuple):
    """A stretch of one sine or two.

    Parameters:
        start: In seconds.
        end: In seconds.
        level: In dBov.
        low: The lower of two frequencies; 0 where there is one only.
        high: The other.
    """

    start: float
    end: float
    level: float
    low: float
    high: float

    @property
    def key(self) -> str:
        """The push button that sounds so; empty for none."""
        near = (
            key
            for (row, column), key in _KEYS.items()
            if abs(self.low / row - 1) < 0.025 and abs(self.high / column - 1) < 0.025
        )
        return next(near, "")

    @property
    def name(self) -> str:
        """What a telephone calls it: ``"key 5"``, ``"1100 Hz"``, ``"350 + 440 Hz"``."""
        if self.key:
            return f"key {self.key}"
        return f"{self.high:.0f} Hz" if self.low == 0 else f"{self.low:.0f} + {self.high:.0f} Hz"


def find_tones(samples: NDArray[np.float32], start: float, end: float) -> Iterator[Tone]:
    """Find where a stretch of a signal is one sine or two that stand still.

    Args:
        samples: All of the signal, shape ``(n,)``.
        start: Where the stretch begins.
        end: Where it ends.

    Yields:
        In the order of their start; none where short ones are a voice whose pitch moves on.
    """
    part = samples[round(start * _RATE) : round(end * _RATE)]
    if len(part) < 2 * _FRAME:
        return
    held, total, peaks = _two_strongest(part)
    still = np.abs(np.diff(peaks, axis=1)).max(axis=0) < _STILL_HZ
    is_tone = (held > _SHARE * total) & (total > total.max() * 1e-3)
    edges = np.flatnonzero(~(still & is_tone[1:] & is_tone[:-1])) + 1
    notes = []
    for run in np.split(np.arange(len(total)), edges):
        if len(run) >= 2 and is_tone[run].all() and not _moves(peaks[:, run]):
            first, count = int(run[0]), len(run)
            low, high = np.median(peaks[:, run], axis=1).tolist()
            power = float(np.mean(np.square(part[first * _STEP :][: count * _STEP])))
            begun, over = (start + n * _STEP / _RATE for n in (first, first + count + 1))
            level = 10 * float(np.log10(max(power, 1e-10)))
            notes.append(Tone(begun, min(over, end), level, low, high))
    for chain in _chains(notes):
        if not _glides(chain):
            yield from chain


def _two_strongest(
    part: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The two strongest sines of each piece.

    Returns:
        Their power and that of the whole piece, shape ``(n,)``, and their frequencies, ``(2, n)``, the lower
        ones first; 0 for what is not there.
    """
    frames = np.lib.stride_tricks.sliding_window_view(part, _FRAME)[::_STEP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME), _PADDED, axis=1)) ** 2
    total = power.sum(axis=1) + 1e-12
    rows, lobe = np.arange(len(power)), 3 * _PADDED // _FRAME
    held, peaks = np.zeros(len(power)), np.zeros((2, len(power)))
    for number in range(2):
        top = power.argmax(axis=1)
        share = np.zeros(len(power))
        for shift in range(-lobe, lobe + 1):
            at = np.clip(top + shift, 0, power.shape[1] - 1)
            share += power[rows, at]
            power[rows, at] = 0.0
        held += share
        peaks[number] = np.where(share > 0.02 * total, top * _RATE / _PADDED, 0.0)
    peaks.sort(axis=0)
    return held, total, peaks


# -- voices that pass for tones --------------------------------------------------------------------


def _pitch(low: float, high: float) -> float:
    """The fundamental of one sine, or of two harmonics; 0 for two that have nothing to do with each other."""
    if low == 0:
        return high
    return low if abs(high / low - 2) < 0.1 else 0.0


def _moves(peaks: NDArray[np.float64]) -> bool:
    """Whether one sine, or two harmonics, wander from piece to piece; shape ``(2, n)``."""
    pitches = [_pitch(low, high) for low, high in peaks.T.tolist()]
    return min(pitches) > 0 and max(pitches) - min(pitches) > 2 * _STILL_HZ


def _chains(notes: list[Tone]) -> Iterator[list[Tone]]:
    """Part notes where the next is far off, or far from it in pitch."""
    chain: list[Tone] = []
    for note in notes:
        if chain and not _follows(chain[-1], note):
            yield chain
            chain = []
        chain.append(note)
    yield chain


def _follows(before: Tone, note: Tone) -> bool:
    was, now = _pitch(before.low, before.high), _pitch(note.low, note.high)
    near = now < _STEP_RATIO * was < _STEP_RATIO**2 * now
    return near and note.start - before.end < _APART


def _glides(chain: list[Tone]) -> bool:
    """Whether short notes are one voice whose pitch moves on: a cry, a laugh, a whistle; no keys."""
    if len(chain) < 3 or any(note.key for note in chain):
        return False
    pitches = [_pitch(note.low, note.high) for note in chain]
    lasts = float(np.median([note.end - note.start for note in chain]))
    return max(pitches) > _GLIDING * min(pitches) and lasts < _LONGEST_NOTE
