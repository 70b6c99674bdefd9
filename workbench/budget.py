"""What a file may claim: the one place where the figures stand.

A file of some kilobytes can say that it holds gigabytes, hours or millions of anything. What it
claims is checked once, when it is opened, against a :class:`Budget`. The figures are those of real
calls, with room to spare: two hours in which both sides speak all the time at 8 kHz, the most there
may be, are summed up, diagnosed and exported in 2 GB.

Where a file of your own is larger, raise them: ``Call.open(path, Budget(hours=12))``, or everywhere
by a factor in the environment, ``WORKBENCH_BUDGET=4``, or ``workbench --budget 4``.

There are two kinds of figures. Those of a whole file are limits: a file that breaks one is refused,
with an error that names it. Those of a single record (a rate, a number of channels, a sequence
number, a time, the depth of its JSON) tell sense from nonsense: a record that makes none is passed
over and told as a ``bad_message``, for one odd frame is no reason not to hear a call.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Final

import numpy as np

from workbench.exceptions import CaptureError

__all__ = ["ENVIRONMENT", "Budget", "usual"]

#: Name of the factor in the environment by which the limits of whole files are raised.
ENVIRONMENT: Final = "WORKBENCH_BUDGET"

#: What the limits of whole files are limits of; ``{}`` is the quantity, as far as it was counted.
_LIMITS: Final = {
    "unpacked_bytes": "unpacks to {} bytes",
    "metadata_bytes": "has {} bytes of metadata",
    "records": "holds {} records",
    "records_per_second": "holds {} records a second",
    "events": "tells of {} events",
    "words": "holds {} words",
    "hours": "lasts {} hours",
    "audio_per_second": "holds {} seconds of audio for each second of the call",
    "samples": "has {} samples in one signal",
    "rates": "has sound at {} sample rates",
}

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_STEPS: Final = np.zeros(256, np.int8)
_STEPS[[*b"[{"]], _STEPS[[*b"]}"]] = 1, -1
_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True)
class Budget:
    """What a file may claim: limits of a whole file, then what makes sense in a single record.

    Parameters:
        unpacked_bytes: Of all records. An hour in which both sides talk all the time has 0.25 GB at
            8 kHz, 0.7 GB at 24 kHz.
        metadata_bytes: What a capture says of itself.
        records: 5 hours of a busy call, which has 200 a second.
        records_per_second: Beyond the first 100,000.
        events: What happened, messages that make no sense among it: of another carrier all, 50 a second.
        words: Of both sides, parts of redacted ones among them: five hours of both at 165 a minute.
        hours: Length of a call.
        audio_per_second: Seconds of audio of one kind for each second of a call, beyond 600: a bot
            may give out a whole answer at once, and be interrupted in it.
        samples: Of one signal, or of all channels of a sound file: 4.6 hours at 8 kHz, 1.5 hours at
            24 kHz, 0.5 GB as float32.
        rates: Different sample rates in one call.
        depth: Levels of brackets in a record's JSON.
        values: Values in it.
        text: Characters of a text that is kept, of what happened or of what a capture says of
            itself; the tap records no longer ones.
        lowest_hz: Least sample rate.
        highest_hz: Greatest sample rate.
        channels: Of a frame, or of a sound file.
        sequence: What a sender counts up to: the largest number that JavaScript could hold.
        day_secs: What is dated further from its call belongs to another one: the longest pause that
            BXML can ask for.
    """

    unpacked_bytes: int = 2**30
    metadata_bytes: int = 2**24
    records: int = 4_000_000
    records_per_second: float = 1000.0
    events: int = 500_000
    words: int = 100_000
    hours: float = 2.0
    audio_per_second: float = 20.0
    samples: int = 2**27
    rates: int = 8
    depth: int = 100
    values: int = 200_000
    text: int = 2000
    lowest_hz: int = 1000
    highest_hz: int = 192_000
    channels: int = 32
    sequence: int = 2**53
    day_secs: float = 86_400.0

    def times(self, factor: float) -> Budget:
        """The same with the limits of whole files raised.

        Raises:
            ValueError: If the factor is not a positive number.
        """
        if not (isfinite(factor) and factor > 0):
            raise ValueError(
                f"a budget {factor!r} times the usual one, a positive number is wanted"
            )
        raised = {
            name: type(limit)(limit * factor) for name in _LIMITS for limit in [getattr(self, name)]
        }
        return replace(self, **raised)

    def breach(self, name: str, found: float) -> str | None:
        """Say how a quantity breaks a limit; ``None`` if it keeps to it.

        Args:
            name: Of the limit.
            found: The quantity, as far as it was counted.
        """
        limit = getattr(self, name)
        if found <= limit:
            return None
        what = _LIMITS[name].format(_number(found))
        return (
            f"{what}, at most {_number(limit)} are read: the limit {name!r}; "
            f"for a file of your own, {ENVIRONMENT}={_factor(found / limit)} raises it"
        )

    def check(self, file: str | Path, name: str, found: float) -> None:
        """Refuse a capture that breaks a limit.

        Raises:
            CaptureError: If it does; the message says which, and how to raise it.
        """
        if (why := self.breach(name, found)) is not None:
            raise CaptureError(file, why)

    def is_sound(self, sample_rate: int, channels: int) -> bool:
        """Whether there is sound of such a rate and so many channels."""
        return self.lowest_hz <= sample_rate <= self.highest_hz and 1 <= channels <= self.channels

    def nonsense(self, text: bytes) -> str | None:
        """Say why a JSON text is none that a call has; ``None`` for all that are."""
        brackets = text.count(b"[") + text.count(b"{")
        if brackets + text.count(b",") > self.values:
            return f"JSON of more than {self.values} values"
        if brackets > self.depth and _depth(text) > self.depth:
            return f"JSON nested deeper than {self.depth} levels"
        return None


def usual() -> Budget:
    """The budget of files for which no other is given: that of the environment.

    Raises:
        ValueError: If the environment's factor is not a positive number.
    """
    given = os.environ.get(ENVIRONMENT, "1")
    try:
        return Budget().times(float(given))
    except ValueError:
        raise ValueError(f"{ENVIRONMENT}={given!r}, a positive number is wanted") from None


def _depth(text: bytes) -> int:
    """Levels of brackets outside of strings."""
    steps = _STEPS[np.frombuffer(_STRING.sub(b"", text), np.uint8)]
    deepest = level = 0
    for first in range(0, len(steps), _AT_ONCE):
        levels = level + np.cumsum(steps[first : first + _AT_ONCE], dtype=np.int64)
        deepest, level = max(deepest, int(levels.max())), int(levels[-1])
    return deepest


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.1f}"


def _factor(times: float) -> str:
    return f"{times * 1.05:.3g}" if times < 1e6 else "more"
