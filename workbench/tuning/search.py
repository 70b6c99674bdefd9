"""Windows of speech looked for on a recording: near where they may be, and everywhere between others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from workbench.audio import Audio
from workbench.tuning.lines import OFF_LINE, lines_of
from workbench.tuning.tape import ENVELOPE_RATE, WINDOW, Tape, alike, envelope

__all__ = ["Search"]

#: A stretch that is looked for: peaks of its loudness that are tried, and how many windows of it.
_PEAKS, _TRIED = 3, 12
#: What is found anywhere is as like the window as this, by correlation.
_ALIKE: Final = 0.4
#: How much further than known pieces allow a piece may begin, in seconds.
_SLACK: Final = 0.5


class Search:
    """Windows of what was sent, and where on a tape they were found so far.

    Parameters:
        reference: What was sent.
        tape: Where it is looked for.
        windows: First samples of the windows, shape ``(n,)``.

    Attributes:
        late: Where each was found, in seconds; NaN where it was not.
    """

    def __init__(self, reference: Audio, tape: Tape, windows: NDArray[np.intp]) -> None:
        """Nothing is found yet."""
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
            lags = np.array([self._surely(number, late) for number in tried.tolist()])
            near = (
                np.abs(lags - np.nanmedian(lags)) < OFF_LINE
                if np.isfinite(lags).any()
                else lags > 0
            )
            if np.count_nonzero(near) > best[0]:
                best = (int(np.count_nonzero(near)), float(np.nanmedian(lags)))
        if best[0] < 2:
            return
        found = np.array([self._surely(number, best[1]) for number in numbers.tolist()])
        self.late[first:last] = np.where(np.abs(found - best[1]) < OFF_LINE, found, np.nan)

    def _surely(self, number: int, expected: float) -> float:
        """As :meth:`_at`, of what is like the window: many places are tried, and one is soon found."""
        late = self._at(number, expected, 0.15)
        if not np.isfinite(late):
            return late
        start, size = int(self.windows[number]), round(WINDOW * self.tape.rate)
        heard = self.tape.section(start + round(late * self.tape.rate), size)
        is_it = alike(self.reference.samples[start : start + size], heard) >= _ALIKE
        return late if is_it else float("nan")

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
        kept = np.concatenate([np.empty(0, int), *(line.numbers for line in lines_of(self.late))])
        self.late[np.setdiff1d(np.arange(len(self.late)), kept)] = np.nan


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
