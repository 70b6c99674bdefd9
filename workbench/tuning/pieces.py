"""A recording brought onto the call's clock, in one piece or in several.

Most recordings lie on one line: a time of beginning, and a clock that counts a little faster or slower.
Others leave out silence, paused, had something put in, or are several files. Each of their pieces lies
on a line of its own, of the same slope. What the far end's queue did to one utterance is no piece: the
recording goes on where it was.

Windows of speech are looked for near the line that fits the loudness of the whole best. What is not
found there is looked for between the pieces that are known, stretch by stretch: the longest first, by
loudness, and then sample by sample, which is not found by chance.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.exceptions import MetricWarning
from workbench.tuning.lines import Line, held_back, lines_of, refined
from workbench.tuning.search import Search
from workbench.tuning.tape import ENVELOPE_RATE, WINDOW, Tape, coarse, windows_of

__all__ = ["NotThere", "Piece", "Placed", "joined", "place", "recorded"]

#: So many windows tell a line, so many are looked at where it is in pieces.
_ENOUGH, _MANY = 120, 600
#: Below this share of windows that agree, the recording is of something else; unless it is short, and of
#: what it can hold so much is found.
_LEAST_MATCHED, _OF_SHORT, _FEWEST_OF_SHORT = 0.3, 0.8, 4
#: Two pieces that are no further apart are side by side, in seconds.
_ADJACENT: Final = 0.01


class NotThere(ValueError):
    """A recording does not hold what the bot sent."""


class Piece(NamedTuple):
    """A stretch of the call that is on the recording without a cut.

    Parameters:
        start: In seconds on the call's clock.
        end: Likewise.
        late: Where the call's zero would lie on the recording, in seconds of the call's clock.
        file: Number of the file it is in, where there are several.
    """

    start: float
    end: float
    late: float
    file: int = 0


@dataclass(frozen=True, eq=False)
class Placed:
    """A recording on the call's clock.

    Parameters:
        drift: How much faster its clock counts, as a share.
        pieces: In the order of time.
        windows: First samples of windows of speech, shape ``(n,)``.
        lags: How much later than its piece each is heard, in seconds; NaN where it was not found.
        matched: Share of the windows that were found.
        of_covered: The same of those that lie within the recording.
        heard: The recording on the call's clock, at the reference's rate and as long.
    """

    drift: float
    pieces: tuple[Piece, ...]
    windows: NDArray[np.intp]
    lags: NDArray[np.float64]
    matched: float
    of_covered: float
    heard: Audio

    @property
    def recorded(self) -> NDArray[np.float64]:
        """What of the call there is a recording of: intervals, shape ``(n, 2)``."""
        return recorded(self.pieces)


def recorded(pieces: Iterable[Piece]) -> NDArray[np.float64]:
    """What pieces hold of the call: intervals, shape ``(n, 2)``."""
    spans: list[list[float]] = []
    for start, end, *_ in pieces:
        if spans and start - spans[-1][1] < _ADJACENT:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    return np.array(spans, float).reshape(-1, 2)


def joined(files: Sequence[Placed]) -> Placed:
    """Several files of one call as one recording. Where two hold the same, the one that began first.

    Args:
        files: Placed on one reference, in pieces.
    """
    if len(files) == 1:
        return files[0]
    pieces: list[Piece] = []
    heard = np.zeros_like(files[0].heard.samples)
    rate = files[0].heard.sample_rate
    for piece in sorted(
        piece._replace(file=number) for number, file in enumerate(files) for piece in file.pieces
    ):
        start = max(piece.start, pieces[-1].end if pieces else 0.0)
        if piece.end > start:
            pieces.append(piece._replace(start=start))
            span = slice(round(start * rate), round(piece.end * rate))
            heard[span] = files[piece.file].heard.samples[span]
    lags = np.full(len(files[0].windows), np.nan)
    for file in files:
        lags = np.where(np.isnan(lags), file.lags, lags)
    matched = float(np.mean(np.isfinite(lags)))
    sound = Audio(heard, rate)
    first = files[pieces[0].file]
    return Placed(first.drift, tuple(pieces), first.windows, lags, matched, matched, sound)


def place(reference: Audio, recording: Audio, *, in_pieces: bool) -> Placed:
    """Bring a recording onto the clock of what was sent.

    Args:
        reference: What was sent, at the rate to compare at.
        recording: Of it.
        in_pieces: Whether to look for what is not on one line.

    Raises:
        NotThere: If what was sent is not on it.
        ValueError: If too little was sent to look for.
    """
    windows = windows_of(reference, _MANY if in_pieces else _ENOUGH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)  # windows in which nothing is found
        late, drift = coarse(reference, recording)
        search = Search(reference, Tape(recording, drift, reference.sample_rate), windows)
        search.near(np.full(len(windows), late), 0.15)
        if in_pieces:
            if not lines_of(search.late):  # then the drift is as wrong as the place
                drift = 0.0
                search.tape = Tape(recording, drift, reference.sample_rate)
            search.elsewhere()
        for _ in range(2):
            lines = lines_of(search.late)
            if not lines:
                break
            slope, expected = refined(search.time, search.late, lines)
            drift = (1 + drift) * (1 + slope) - 1
            search.tape = Tape(recording, drift, reference.sample_rate)
            search.near(expected, 0.05)
    return _placed(search)


def _placed(search: Search) -> Placed:
    """Lay what was found on the call's clock.

    Raises:
        NotThere: If that is too little.
    """
    reference, tape, time = search.reference, search.tape, search.time
    lines = held_back(lines_of(search.late))
    is_on = np.zeros(len(time), bool)
    lags = np.full(len(time), np.nan)
    for numbers, late in lines:
        is_on[numbers] = True
        lags[numbers] = search.late[numbers] - late
    pieces = _pieces(search, lines) if lines else ()
    within = np.zeros(len(time), bool)
    for start, end, *_ in pieces:
        within |= (time >= start) & (time + WINDOW <= end)
    matched, covered = int(np.count_nonzero(is_on)), int(np.count_nonzero(within))
    of_short = max(_FEWEST_OF_SHORT, _OF_SHORT * covered)
    if matched < min(max(3, _LEAST_MATCHED * len(time)), of_short):
        raise NotThere(
            f"the recording does not hold what the bot sent: of {len(time)} stretches of "
            f"speech {matched} are found whole on it; is it another call, or the other channel?"
        )
    heard = np.zeros(len(reference), np.float32)
    for start, end, late, _ in pieces:
        part = tape.span(start, end, late)
        begin = round(start * tape.rate)
        heard[begin : begin + len(part)] = part[: len(heard) - begin]
    shares = matched / len(time), min(1.0, matched / max(1, covered))
    return Placed(tape.drift, pieces, search.windows, lags, *shares, Audio(heard, tape.rate))


def _pieces(search: Search, lines: list[Line]) -> tuple[Piece, ...]:
    """From when to when each line holds."""
    scale = _scale(search, lines) if len(lines) > 1 else 1.0
    bounds = [_switch(search, *neighbours, scale) for neighbours in pairwise(lines)]
    first, last = lines[0], lines[-1]
    start = max(0.0, -first.late)
    end = min(search.reference.duration, search.tape.duration - last.late)
    starts = [start, *(begin for _, begin in bounds)]
    ends = [*(stop for stop, _ in bounds), end]
    return tuple(
        Piece(begin, stop, line.late)
        for begin, stop, line in zip(starts, ends, lines, strict=True)
        if stop > begin
    )


def _scale(search: Search, lines: list[Line]) -> float:
    """What brings the recording to the level of what was sent: the median over the middles of lines."""
    rate, scales = search.tape.rate, []
    for numbers, late in lines:
        start = int(search.windows[numbers[len(numbers) // 2]])
        x = search.reference.samples[start : start + round(WINDOW * rate)].astype(np.float64)
        y = search.tape.section(start + round(late * rate), len(x)).astype(np.float64)
        scales.append(float(np.sum(x * y) / max(np.sum(y * y), 1e-12)))
    return float(np.median(scales))


def _switch(search: Search, one: Line, other: Line, scale: float) -> tuple[float, float]:
    """When one piece ends and the next begins, where both together fit what was sent best."""
    rate, hop = search.tape.rate, search.tape.rate // ENVELOPE_RATE
    start = search.time[one.numbers[-1]]
    end = search.time[other.numbers[0]] + WINDOW
    missing = max(0.0, one.late - other.late)
    end = max(end, start + missing + 0.02)
    sent = search.reference.samples[round(start * rate) : round(end * rate)].astype(np.float64)
    gains = []
    for late in (one.late, other.late):
        heard = search.tape.section(round((start + late) * rate), len(sent)).astype(np.float64)
        # Silence where there was speech is no better than what is on neither: a little worse.
        better = 0.9 * sent**2 - (sent - scale * heard) ** 2
        blocks = better[: len(better) // hop * hop].reshape(-1, hop).sum(axis=1)
        gains.append(np.concatenate([[0.0], np.cumsum(blocks)]))
    skipped = min(round(missing * ENVELOPE_RATE), len(gains[0]) - 1)
    fit = gains[0][: len(gains[0]) - skipped] + gains[1][-1] - gains[1][skipped:]
    best = np.flatnonzero(fit >= fit.max() - 1e-9 - 1e-6 * abs(fit.max()))
    at = start + float(best[len(best) // 2]) / ENVELOPE_RATE
    return at, at + missing
