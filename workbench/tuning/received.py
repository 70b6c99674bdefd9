"""What a recording adds to the capture: what was lost on the way, and when it really was heard.

The capture has what was sent, and a model of the far end's queue says when it was played. A recording
that is in step with it shows where the two part: sound that was sent and is not there, and utterances
that came later, or earlier, than the model says. What all of them share is the way's constant delay,
or when the recorder began: no recording tells these apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.metrics.frames import framed
from workbench.metrics.prepared import band_limited
from workbench.metrics.speech import runs_of
from workbench.metrics.speech_level import active_level
from workbench.tuning.pieces import Placed
from workbench.tuning.tape import WINDOW

__all__ = ["Moved", "Received", "followed", "received"]

#: Sound is looked for in steps of half a packet, over a whole one, in seconds.
_STEP, _PACKET = 0.010, 0.020
#: Where it was cut is known within so many seconds.
_EDGE: Final = 0.1
#: Only sound within so many dB of the speech's level is missed.
_LOUD_DB: Final = 12.0
#: Less of what was sent than this, as a share of its amplitude, is none of it. What else is there makes
#: it unsure, by that much over the independent values of a packet of speech; and if it is more than the
#: last times as strong, nothing can be said.
_NONE, _VALUES, _COVERED = 0.35, 10.0, 1.5
#: A coarse codec, whose noise is usually more than the one share of the sound's power, has packets that
#: are not like what was sent: only what is quieter than the other share of it is lost.
_COARSE, _SILENT = 0.03, 0.1
#: If of more than this share nothing can be said, nothing is said of losses at all.
_UNSURE: Final = 0.2
#: Windows of one utterance begin no further apart than this, in seconds.
_APART: Final = 0.75
#: An utterance that is off by less is where the model has it: half a packet.
_OFF_MS: Final = 10.0
#: So many places are named.
_TOLD: Final = 3


class Moved(NamedTuple):
    """When an utterance was heard, against what the model of the queue says.

    Parameters:
        start: Of what is compared of it, in seconds on the call's clock.
        end: Likewise.
        late_ms: How much later it was heard than the others, by that model.
    """

    start: float
    end: float
    late_ms: float


@dataclass(frozen=True, eq=False)
class Received:
    """What a recording adds.

    Parameters:
        lost: What was sent and is not on it: intervals on the call's clock, shape ``(n, 2)``.
        looked_at: How many seconds of sound were looked at.
        is_sure: Whether enough of it could be told from what else is on the recording.
        utterances: When each was heard. Empty for audio, which no queue has played.
    """

    lost: NDArray[np.float64]
    looked_at: float
    is_sure: bool
    utterances: tuple[Moved, ...]

    @property
    def error_ms(self) -> float:
        """By how much the model of the queue is off: the median over the utterances; NaN for none."""
        off = [abs(one.late_ms) for one in self.utterances]
        return float(np.median(off)) if off else float("nan")

    def __str__(self) -> str:
        return " ".join(filter(None, (self._losses(), self._queue())))

    def _losses(self) -> str:
        if not self.is_sure:
            return "Too much else is on it to say whether something was lost on the way."
        if not len(self.lost):
            return (
                f"Of {self.looked_at:.1f} s of sound that were looked at nothing is missing on it."
            )
        secs = self.lost[:, 1] - self.lost[:, 0]
        longest = np.sort(np.argsort(-secs, kind="stable")[:_TOLD])
        places = ", ".join(f"{1000 * secs[n]:.0f} ms at {self.lost[n, 0]:.2f} s" for n in longest)
        more = len(secs) - len(longest)
        return (
            f"Lost on the way: {1000 * secs.sum():.0f} ms of {self.looked_at:.1f} s of sound that were "
            f"looked at: {places}{f' and {more} more' if more else ''}."
        )

    def _queue(self) -> str:
        if not self.utterances:
            return ""
        worst = max(self.utterances, key=lambda one: abs(one.late_ms))
        count = len(self.utterances)
        if abs(worst.late_ms) < _OFF_MS:
            return (
                f"The bot was heard when the model of the far end's queue says, within "
                f"{abs(worst.late_ms):.1f} ms in {count} utterances, but for what they share."
            )
        off = [one for one in self.utterances if abs(one.late_ms) >= _OFF_MS]
        how = "later" if worst.late_ms > 0 else "earlier"
        return (
            f"The model of the far end's queue is off in {len(off)} of {count} utterances: at "
            f"{worst.start:.2f} s the bot was heard {abs(worst.late_ms):.0f} ms {how} than it says."
        )


def received(reference: Audio, placed: Placed, in_step: Audio, *, is_call: bool) -> Received:
    """Look for what a recording adds.

    Args:
        reference: What was sent.
        placed: The recording, on the same clock.
        in_step: The same, :func:`followed`.
        is_call: Whether a queue has played it, by its model.
    """
    lost, looked_at, is_sure = _lost(reference, in_step, placed)
    return Received(lost, looked_at, is_sure, _utterances(placed) if is_call else ())


def followed(placed: Placed) -> Audio:
    """What was heard, moved to where it was sent: each window's surroundings by its own lag.

    Args:
        placed: The recording; it is handed back as it is if there is nothing to move.
    """
    heard, rate = placed.heard.samples, placed.heard.sample_rate
    found = np.isfinite(placed.lags)
    later = np.rint(placed.lags[found] * rate).astype(int)
    if not later.any():
        return placed.heard
    middles = placed.windows[found] + round(WINDOW * rate / 2)
    edges = np.concatenate([[0], (middles[1:] + middles[:-1]) // 2, [len(heard)]])
    moved = np.empty_like(heard)
    for (begin, end), by in zip(pairwise(edges.tolist()), later.tolist(), strict=True):
        moved[begin:end] = heard[np.clip(np.arange(begin, end) + by, 0, len(heard) - 1)]
    return Audio(moved, rate)


def _lost(
    reference: Audio, in_step: Audio, placed: Placed
) -> tuple[NDArray[np.float64], float, bool]:
    """What is missing, of how many seconds, and whether that could be told."""
    rate = reference.sample_rate
    step, size = round(_STEP * rate), round(_PACKET * rate)
    x, y = (
        framed(band_limited(audio).samples.astype(np.float64), size, step)
        for audio in (reference, in_step)
    )
    sent, both, heard = (np.sum(a * b, axis=1) for a, b in ((x, x), (x, y), (y, y)))
    least = 10 ** ((active_level(band_limited(reference)) - _LOUD_DB) / 10) * size
    at = np.arange(len(sent)) * _STEP
    inside = np.zeros(len(sent), bool)
    for start, end in placed.recorded:
        inside |= (at >= start + _EDGE) & (at + _PACKET <= end - _EDGE)
    loud = (sent > least) & inside
    if not loud.any():
        return np.empty((0, 2)), 0.0, False
    gain = _gain(both, sent, loud)
    share = both / np.maximum(sent, 1e-20)
    rest = np.maximum(heard - share * both, 0.0) / np.maximum(sent, 1e-20) / gain**2
    share = share / gain
    gone = loud & (share + np.sqrt(rest / _VALUES) < _NONE) & (rest < _COVERED)
    if float(np.median(rest[loud])) > _COARSE:
        gone &= heard < _SILENT * gain**2 * sent
    unsure = np.count_nonzero(loud & (rest >= _COVERED)) / np.count_nonzero(loud)
    runs = runs_of(gone, _STEP)
    runs[:, 1] += _PACKET - _STEP
    runs = runs[runs[:, 1] - runs[:, 0] > _PACKET + _STEP / 2]  # one step alone is chance
    secs = _STEP * np.count_nonzero(loud)
    return runs, secs, bool(unsure <= _UNSURE)


def _gain(
    both: NDArray[np.float64], sent: NDArray[np.float64], loud: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What became of the amplitude, step by step: the median of the loud steps around."""
    around = round(0.5 / _STEP)
    number = np.flatnonzero(loud)
    ratio = both[number] / sent[number]
    padded = np.pad(ratio, around, mode="edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * around + 1), axis=1)
    least = 0.1 * float(np.median(ratio[ratio > 0])) if (ratio > 0).any() else 1e-6
    gain: NDArray[np.float64] = np.interp(np.arange(len(sent)), number, np.maximum(usual, least))
    return gain


def _utterances(placed: Placed) -> tuple[Moved, ...]:
    """Windows that follow each other closely, and how late they are against the others."""
    rate = placed.heard.sample_rate
    found = np.isfinite(placed.lags)
    time, late = placed.windows[found] / rate, 1000 * placed.lags[found]
    if not len(time):
        return ()
    parts = np.split(np.arange(len(time)), np.flatnonzero(np.diff(time) > _APART) + 1)
    middle = float(np.median(np.concatenate([late[part] for part in parts])))
    return tuple(
        Moved(
            float(time[part[0]]),
            float(time[part[-1]]) + WINDOW,
            float(np.median(late[part])) - middle,
        )
        for part in parts
    )
