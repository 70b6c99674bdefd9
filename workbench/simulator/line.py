"""The line from the caller to the bot: when each packet leaves, if it does.

Nothing here knows the time of day: a :class:`Schedule` is asked for packet after packet, and the
same seed gives the same answers. One WebSocket is one TCP stream, so a late packet holds up those
behind it: jitter never reorders. ``reordering`` is for a far end that numbers what it reorders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Line", "Schedule"]


@dataclass(frozen=True)
class Line:
    """How bad a line is; the default is a perfect one.

    Parameters:
        packet_ms: Audio in one message; 20 on every live call.
        jitter_ms: Each message is late by a random time between 0 and this.
        loss: Share of messages that never arrive, 0 to 1. Their numbers are missing.
        duplicates: Share of messages that arrive twice, 0 to 1.
        reordering: Share of messages that arrive after their successor, 0 to 1.
        stalls: Pairs (second of the call, ms): nothing arrives for so long, then all at once.
        gaps: Pairs (second of the call, count): so many messages in a row never arrive.
        seed: Of the random faults.

    Raises:
        ValueError: If a value is out of its range.
    """

    packet_ms: int = 20
    jitter_ms: float = 0.0
    loss: float = 0.0
    duplicates: float = 0.0
    reordering: float = 0.0
    stalls: tuple[tuple[float, float], ...] = ()
    gaps: tuple[tuple[float, int], ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.packet_ms <= 1000:
            raise ValueError(f"packets of {self.packet_ms} ms, 1 to 1000 are possible")
        if not 0 <= self.jitter_ms < math.inf:
            raise ValueError(f"jitter of {self.jitter_ms} ms, 0 or more is possible")
        for name in ("loss", "duplicates", "reordering"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} of {getattr(self, name)}, a share from 0 to 1 is wanted")


class Schedule:
    """Gives the packets of one call their departure times.

    Args:
        line: How bad the line is.
    """

    def __init__(self, line: Line) -> None:
        """See the class."""
        self._line = line
        self._rng = np.random.default_rng(line.seed)
        self._last = -math.inf
        self._stalls: list[tuple[float, float]] = []
        self._gaps: list[list[float]] = []
        for start, duration_ms in line.stalls:
            self.stall(start, duration_ms)
        for start, count in line.gaps:
            self.drop(start, count)

    def stall(self, start: float, duration_ms: float) -> None:
        """Hold what is due in the ``duration_ms`` from ``start``, then let all of it go at once."""
        self._stalls.append((start, start + duration_ms / 1000))

    def drop(self, start: float, count: int) -> None:
        """Lose the next ``count`` packets that are due from ``start`` on."""
        self._gaps.append([start, count])

    def departures(self, due: float) -> tuple[float, ...]:
        """Say when the next packet leaves.

        Args:
            due: Second of the call when its last sample was spoken; not before the packet before.

        Returns:
            One time for each copy: none when it is lost, two when it is sent twice. No packet
            leaves before its predecessor, but for one that changes places with its successor.
        """
        line = self._line
        # Always four draws, so that each fault falls where it does whatever the others are.
        late, lost, twice, swapped = self._rng.random(4)
        if self._dropped(due) or lost < line.loss:
            return ()
        time = due + late * line.jitter_ms / 1000
        for start, end in self._stalls:
            if start <= due < end:
                time = max(time, end)
        time = max(time, self._last)
        if swapped < line.reordering:
            # Past the next packet, yet before the one after it.
            time += 1.5 * line.packet_ms / 1000
        else:
            self._last = time
        return (time, time) if twice < line.duplicates else (time,)

    def _dropped(self, due: float) -> bool:
        for gap in self._gaps:
            if gap[1] > 0 and due >= gap[0]:
                gap[1] -= 1
                return True
        return False
