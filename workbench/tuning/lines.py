"""Lines that windows of speech lie on, by where each was found on a recording.

Conventions:
    Windows are numbered in the order of time, and ``late``, shape ``(n,)``, says where on the recording each
    was found, in seconds; NaN where it was not. All lines have one slope: the drift that is left.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["OFF_LINE", "Line", "held_back", "lines_of", "owners", "refined"]

#: What lies further off the line than this is elsewhere on the recording, in seconds.
OFF_LINE: Final = 0.040
#: A queue that holds an utterance back does it for less than this.
_HELD: Final = 1.0


class Line(NamedTuple):
    """Windows that lie on one line.

    Parameters:
        numbers: Theirs, shape ``(k,)``.
        late: Where the line is: their median, in seconds.
    """

    numbers: NDArray[np.intp]
    late: float


def lines_of(late: NDArray[np.float64]) -> list[Line]:
    """Part what was found into lines. What is alone on one was found by chance, and left out."""
    found = np.flatnonzero(np.isfinite(late))
    if not len(found):
        return []
    late = late[found]
    groups: list[list[int]] = [[0]]
    for number in range(1, len(found)):
        if abs(late[number] - np.median(late[groups[-1][-5:]])) < OFF_LINE:
            groups[-1].append(number)
        else:
            groups.append([number])
    sizes = [len(group) for group in groups]
    several = [group for group, size in zip(groups, sizes, strict=True) if size >= 2]
    return _joined([Line(found[of], float(np.median(late[of]))) for of in several])


def _joined(groups: list[Line]) -> list[Line]:
    """One line where the next goes on as the one before."""
    joined: list[Line] = []
    for group in groups:
        if joined and abs(joined[-1].late - group.late) < OFF_LINE:
            last = joined.pop()
            group = Line(np.concatenate([last.numbers, group.numbers]), last.late)
        joined.append(group)
    return joined


def held_back(groups: list[Line]) -> list[Line]:
    """One line, too, where something between was held back by a queue and the rest was not."""
    kept = list(groups)
    at = 1
    while at < len(kept) - 1:
        before, held, after = kept[at - 1 : at + 2]
        same = abs(before.late - after.late) < OFF_LINE
        if same and abs(held.late - before.late) < _HELD:
            numbers = np.concatenate([before.numbers, held.numbers, after.numbers])
            kept[at - 1 : at + 2] = [Line(numbers, before.late)]
        else:
            at += 1
    return kept


def refined(
    time: NDArray[np.float64], late: NDArray[np.float64], lines: list[Line]
) -> tuple[float, NDArray[np.float64]]:
    """Fit the slope that all lines share.

    Args:
        time: When each window is, in seconds.
        late: Where it was found.
        lines: Which lie on which.

    Returns:
        The slope, and where every window may be once it is taken out.
    """
    count = len(time)
    numbers = np.concatenate([line.numbers for line in lines])
    time, late = time[numbers], late[numbers]
    which = np.repeat(np.arange(len(lines)), [len(line.numbers) for line in lines])
    slope = _slope(time, late, which)
    rest = late - slope * time
    off = np.array([np.median(rest[which == number]) for number in range(len(lines))])
    near = np.abs(rest - off[which])
    near = near <= max(3 * float(np.median(near)), 1e-5)
    if np.count_nonzero(near) > 2:
        slope = _common_slope(time[near], late[near], which[near], slope)
        rest = late - slope * time
        off = np.array(
            [
                np.mean(rest[mine & near]) if (mine & near).any() else np.median(rest[mine])
                for mine in (which == number for number in range(len(lines)))
            ]
        )
    return slope, off[owners(lines, count)] / (1 + slope)


def owners(lines: list[Line], count: int) -> NDArray[np.intp]:
    """The line that each of so many windows would be on: that of the nearest which is on one."""
    middles = np.concatenate([line.numbers for line in lines])
    which = np.repeat(np.arange(len(lines)), [len(line.numbers) for line in lines])
    order = np.argsort(middles)
    middles, which = middles[order], which[order]
    at = np.clip(np.searchsorted(middles, np.arange(count)), 0, len(middles) - 1)
    before = np.maximum(at - 1, 0)
    numbers = np.arange(count)
    nearer = np.abs(middles[before] - numbers) < np.abs(middles[at] - numbers)
    owners: NDArray[np.intp] = which[np.where(nearer, before, at)]
    return owners


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
