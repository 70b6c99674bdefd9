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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, stats

from workbench.audio import Audio
from workbench.exceptions import MetricWarning
from workbench.tuning.tape import ENVELOPE_RATE, WINDOW, Tape, coarse, envelope, windows_of

__all__ = ["NotThere", "Piece", "Placed", "joined", "place", "recorded"]

#: So many windows tell a line, so many are looked at where it is in pieces.
_ENOUGH, _MANY = 120, 600
#: Below this share of windows that agree, the recording is of something else; unless it is short, and of
#: what it can hold so much is found.
_LEAST_MATCHED, _OF_SHORT, _FEWEST_OF_SHORT = 0.3, 0.8, 4
#: Two pieces that are no further apart are side by side, in seconds.
_ADJACENT: Final = 0.01
#: What lies further off the line than this is elsewhere on the recording, in seconds.
OFF_LINE: Final = 0.040
#: A queue that holds an utterance back does it for less than this.
_HELD: Final = 1.0
#: A stretch that is looked for: peaks of its loudness that are tried, and how many windows of it.
_PEAKS, _TRIED = 3, 12
#: How much further than known pieces allow a piece may begin, in seconds.
_SLACK: Final = 0.5


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
        search = _Search(reference, Tape(recording, drift, reference.sample_rate), windows)
        search.near(np.full(len(windows), late), 0.15)
        if in_pieces:
            search.elsewhere()
        for _ in range(2):
            groups = search.groups()
            if not groups:
                break
            drift, expected = search.refined(groups)
            search.tape = Tape(recording, drift, reference.sample_rate)
            search.near(expected, 0.05)
        return search.placed()


class _Group(NamedTuple):
    """Windows, by number, that lie on one line, and where."""

    numbers: NDArray[np.intp]
    late: float


class _Search:
    """Windows of what was sent, and where on a tape they were found so far."""

    def __init__(self, reference: Audio, tape: Tape, windows: NDArray[np.intp]) -> None:
        self.reference, self.tape, self.windows = reference, tape, windows
        self.late = np.full(len(windows), np.nan)

    @property
    def time(self) -> NDArray[np.float64]:
        """When each window begins."""
        return self.windows / self.reference.sample_rate

    def near(self, expected: NDArray[np.float64], radius: float) -> None:
        """Look for each window near where it may be; NaN for those of which nothing is known."""
        self.late = np.array([self._at(*pair, radius) for pair in enumerate(expected.tolist())])

    def _at(self, number: int, expected: float, radius: float) -> float:
        start, size = int(self.windows[number]), round(WINDOW * self.tape.rate)
        if not np.isfinite(expected):
            return float("nan")
        window = Audio(self.reference.samples[start : start + size], self.tape.rate)
        return self.tape.lag(window, start, expected, radius)

    # -- what is not on the line -------------------------------------------------------------------

    def elsewhere(self) -> None:
        """Look for what was not found between what was."""
        self._keep_groups()
        known = envelope(Audio(self.reference.samples, self.tape.rate))
        heard = envelope(Audio(self.tape.samples, self.tape.rate))
        waiting = list(self._missing(0, len(self.windows)))
        while waiting:
            first, last = waiting.pop()
            before = np.count_nonzero(np.isfinite(self.late))
            self._look_for(first, last, known, heard)
            if np.count_nonzero(np.isfinite(self.late)) > before:
                waiting += self._missing(first, last)
            elif last - first > 3:
                middle = (first + last) // 2
                waiting += [(first, middle), (middle, last)]

    def _missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Runs of two and more windows that were not found."""
        lost = np.isnan(self.late[first:last]).astype(np.int8)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], lost, [0]]))) + first
        for start, end in edges.reshape(-1, 2).tolist():
            if end - start >= 2:
                yield start, end

    def _look_for(
        self, first: int, last: int, known: NDArray[np.float64], heard: NDArray[np.float64]
    ) -> None:
        """A run of windows, as a whole."""
        span = slice(
            *(round(t * ENVELOPE_RATE) for t in (self.time[first], self.time[last - 1] + WINDOW))
        )
        low, high = self._room(first, last)
        part = heard[round(low * ENVELOPE_RATE) : round(high * ENVELOPE_RATE)]
        numbers = np.arange(first, last)
        tried = numbers[np.linspace(0, len(numbers) - 1, min(len(numbers), _TRIED)).astype(int)]
        best: tuple[int, float] = (1, 0.0)
        for peak in _peaks(known[span], part, round(ENVELOPE_RATE * WINDOW)):
            late = low + peak / ENVELOPE_RATE - span.start / ENVELOPE_RATE
            lags = np.array([self._at(number, late, 0.15) for number in tried.tolist()])
            near = (
                np.abs(lags - np.nanmedian(lags)) < OFF_LINE
                if np.isfinite(lags).any()
                else lags > 0
            )
            if np.count_nonzero(near) > best[0]:
                best = (int(np.count_nonzero(near)), float(np.nanmedian(lags)))
        if best[0] < 2:
            return
        found = np.array([self._at(number, best[1], 0.15) for number in numbers.tolist()])
        self.late[first:last] = np.where(np.abs(found - best[1]) < OFF_LINE, found, np.nan)

    def _room(self, first: int, last: int) -> tuple[float, float]:
        """From when to when on the tape a run of windows may be: between what is known."""
        at = self.time + self.late
        before, after = (
            at[part][np.isfinite(at[part])] for part in (slice(first), slice(last, None))
        )
        low = before[-1] + WINDOW / 2 - _SLACK if len(before) else 0.0
        high = after[0] + WINDOW / 2 + _SLACK if len(after) else self.tape.duration
        return max(0.0, float(low)), float(high)

    def _keep_groups(self) -> None:
        kept = np.concatenate([np.empty(0, int), *(group.numbers for group in self.groups())])
        self.late[np.setdiff1d(np.arange(len(self.late)), kept)] = np.nan

    # -- lines -------------------------------------------------------------------------------------

    def groups(self) -> list[_Group]:
        """What was found, line by line; what is alone on one was found by chance."""
        found = np.flatnonzero(np.isfinite(self.late))
        if not len(found):
            return []
        late = self.late[found]
        groups: list[list[int]] = [[0]]
        for number in range(1, len(found)):
            if abs(late[number] - np.median(late[groups[-1][-5:]])) < OFF_LINE:
                groups[-1].append(number)
            else:
                groups.append([number])
        sizes = [len(group) for group in groups]
        several = [group for group, size in zip(groups, sizes, strict=True) if size >= 2]
        return _joined([_Group(found[of], float(np.median(late[of]))) for of in several])

    def refined(self, groups: list[_Group]) -> tuple[float, NDArray[np.float64]]:
        """The drift that all pieces share, and where every window may be by it.

        Raises:
            NotThere: If the windows agree on none.
        """
        time = np.concatenate([self.time[group.numbers] for group in groups]) + WINDOW / 2
        late = np.concatenate([self.late[group.numbers] for group in groups])
        which = np.repeat(np.arange(len(groups)), [len(group.numbers) for group in groups])
        slope = _slope(time, late, which)
        rest = late - slope * time
        off = np.array([np.median(rest[which == number]) for number in range(len(groups))])
        near = np.abs(rest - off[which])
        near = near <= max(3 * float(np.median(near)), 1e-5)
        if np.count_nonzero(near) > 2:
            slope = _common_slope(time[near], late[near], which[near], slope)
            rest = late - slope * time
            off = np.array(
                [
                    np.mean(rest[mine & near]) if (mine & near).any() else np.median(rest[mine])
                    for mine in (which == number for number in range(len(groups)))
                ]
            )
        drift = (1 + self.tape.drift) * (1 + slope) - 1
        return drift, off[self._owners(groups)] / (1 + slope)

    def _owners(self, groups: list[_Group]) -> NDArray[np.intp]:
        """The piece that each window would belong to: the nearest."""
        middles = np.concatenate([group.numbers for group in groups])
        which = np.repeat(np.arange(len(groups)), [len(group.numbers) for group in groups])
        order = np.argsort(middles)
        middles, which = middles[order], which[order]
        at = np.clip(np.searchsorted(middles, np.arange(len(self.windows))), 0, len(middles) - 1)
        before = np.maximum(at - 1, 0)
        numbers = np.arange(len(self.windows))
        nearer = np.abs(middles[before] - numbers) < np.abs(middles[at] - numbers)
        owners: NDArray[np.intp] = which[np.where(nearer, before, at)]
        return owners

    # -- the outcome -------------------------------------------------------------------------------

    def placed(self) -> Placed:
        """Lay it on the call's clock.

        Raises:
            NotThere: If too little of it was found.
        """
        groups = _held_back(self.groups())
        line = np.full(len(self.windows), np.nan)
        if groups:
            late = np.array([group.late for group in groups])
            line = late[self._owners(groups)]
        mine = np.zeros(len(self.windows), bool)
        for group in groups:
            mine[group.numbers] = True
        lags = np.where(mine, self.late - line, np.nan)
        matched = np.count_nonzero(mine)
        pieces = self._pieces(groups) if groups else ()
        within = np.zeros(len(self.windows), bool)
        for start, end, *_ in pieces:
            within |= (self.time >= start) & (self.time + WINDOW <= end)
        of_short = max(_FEWEST_OF_SHORT, _OF_SHORT * np.count_nonzero(within))
        if matched < min(max(3, _LEAST_MATCHED * len(self.windows)), of_short):
            raise NotThere(
                f"the recording does not hold what the bot sent: of {len(self.windows)} stretches of "
                f"speech {matched} are found whole on it; is it another call, or the other channel?"
            )
        heard = np.zeros(len(self.reference), np.float32)
        for start, end, late_by, _ in pieces:
            part = self.tape.span(start, end, late_by)
            begin = round(start * self.tape.rate)
            heard[begin : begin + len(part)] = part[: len(heard) - begin]
        shares = (matched / len(self.windows), min(1.0, matched / max(1, np.count_nonzero(within))))
        sound = Audio(heard, self.tape.rate)
        return Placed(self.tape.drift, pieces, self.windows, lags, *shares, sound)

    def _pieces(self, groups: list[_Group]) -> tuple[Piece, ...]:
        """From when to when each line holds."""
        bounds: list[tuple[float, float]] = []
        for one, other in pairwise(groups):
            bounds.append(self._switch(one, other))
        first, last = groups[0], groups[-1]
        start = max(0.0, -first.late)
        end = min(self.reference.duration, self.tape.duration - last.late)
        starts = [start, *(begin for _, begin in bounds)]
        ends = [*(stop for stop, _ in bounds), end]
        return tuple(
            Piece(begin, stop, group.late)
            for begin, stop, group in zip(starts, ends, groups, strict=True)
            if stop > begin
        )

    def _switch(self, one: _Group, other: _Group) -> tuple[float, float]:
        """When one piece ends and the next begins, where both together fit what was sent best."""
        rate, hop = self.tape.rate, self.tape.rate // ENVELOPE_RATE
        start = self.time[one.numbers[-1]] + WINDOW / 2
        end = self.time[other.numbers[0]] + WINDOW / 2
        missing = max(0.0, one.late - other.late)
        end = max(end, start + missing + 0.02)
        sent = self.reference.samples[round(start * rate) : round(end * rate)].astype(np.float64)
        gains = []
        for late in (one.late, other.late):
            heard = self.tape.section(round((start + late) * rate), len(sent)).astype(np.float64)
            scale = np.sqrt((np.sum(sent**2) + 1e-12) / (np.sum(heard**2) + 1e-12))
            # Silence where there was speech is no better than what is on neither: a little worse.
            better = 0.9 * sent**2 - (sent - scale * heard) ** 2
            blocks = better[: len(better) // hop * hop].reshape(-1, hop).sum(axis=1)
            gains.append(np.concatenate([[0.0], np.cumsum(blocks)]))
        skipped = min(round(missing * ENVELOPE_RATE), len(gains[0]) - 1)
        fit = gains[0][: len(gains[0]) - skipped] + gains[1][-1] - gains[1][skipped:]
        best = np.flatnonzero(fit >= fit.max() - 1e-9 - 1e-4 * abs(fit.max()))
        at = start + float(best[len(best) // 2]) / ENVELOPE_RATE
        return at, at + missing


def _joined(groups: list[_Group]) -> list[_Group]:
    """One line where the next goes on as the one before."""
    joined: list[_Group] = []
    for group in groups:
        if joined and abs(joined[-1].late - group.late) < OFF_LINE:
            last = joined.pop()
            group = _Group(np.concatenate([last.numbers, group.numbers]), last.late)
        joined.append(group)
    return joined


def _held_back(groups: list[_Group]) -> list[_Group]:
    """One line, too, where something between was held back by a queue and the rest was not."""
    kept = list(groups)
    at = 1
    while at < len(kept) - 1:
        before, held, after = kept[at - 1 : at + 2]
        same = abs(before.late - after.late) < OFF_LINE
        if same and abs(held.late - before.late) < _HELD:
            numbers = np.concatenate([before.numbers, held.numbers, after.numbers])
            kept[at - 1 : at + 2] = [_Group(numbers, before.late)]
        else:
            at += 1
    return kept


def _slope(time: NDArray[np.float64], late: NDArray[np.float64], which: NDArray[np.intp]) -> float:
    """Of the piece with the most windows, whatever outliers there are."""
    mine = which == int(np.argmax(np.bincount(which)))
    if np.count_nonzero(mine) < 3:
        return 0.0
    return float(stats.theilslopes(late[mine], time[mine])[0])


def _common_slope(
    time: NDArray[np.float64], late: NDArray[np.float64], which: NDArray[np.intp], known: float
) -> float:
    """Of all pieces together, each with a mean of its own."""
    count = np.maximum(np.bincount(which), 1)
    t = time - (np.bincount(which, time) / count)[which]
    y = late - (np.bincount(which, late) / count)[which]
    spread = float(np.sum(t * t))
    return float(np.sum(t * y)) / spread if spread > 1.0 else known


def _peaks(part: NDArray[np.float64], whole: NDArray[np.float64], apart: int) -> list[int]:
    """Where in the whole the part's loudness fits best: the best first."""
    if len(part) < 2 or not len(whole):
        return []
    beyond = len(part) // 2  # a part of it may be beyond an end
    whole = np.pad(whole, beyond)
    n = fft.next_fast_len(len(whole) + len(part), real=True)
    centred = part - part.mean()
    correlation = fft.irfft(np.conj(fft.rfft(centred, n)) * fft.rfft(whole, n), n)
    correlation = correlation[: len(whole) - len(part) + 1]
    sums, squares = (np.concatenate([[0.0], np.cumsum(whole**power)]) for power in (1, 2))
    mean, square = ((s[len(part) :] - s[: -len(part)]) / len(part) for s in (sums, squares))
    fit = correlation / np.sqrt(np.maximum(square - mean**2, 1e-12))
    found = []
    for _ in range(_PEAKS):
        best = int(np.argmax(fit))
        if not np.isfinite(fit[best]):
            break
        found.append(best - beyond)
        fit[max(0, best - apart) : best + apart] = -np.inf
    return found
