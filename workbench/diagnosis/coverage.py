"""What of a call could not be judged: only of a call that was judged whole is it said to be sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.call import Call
from workbench.call.carriers import Carrier
from workbench.diagnosis.detectors import DETECTORS
from workbench.diagnosis.finding import Finding

__all__ = ["Unjudged", "in_words", "unjudged", "untold"]

#: What the frames alone tell: levels, the bytes of the bot's voice, turns, answers.
FROM_FRAMES: Final = frozenset(
    """
    capture_dropped clipping container_header dc_offset early_answer level_mismatch noise slow_response
    """.split()
)
#: What only the numbers of the caller's messages tell.
BY_NUMBERS: Final = frozenset({"duplicate", "sequence_gap"})
#: What only tells from a good end that this has its stop.
BY_STOP: Final = "broke_off"
#: Where a cause takes up less of the call than this, what follows from it can be judged elsewhere.
_LITTLE: Final = 0.01


class Unjudged(NamedTuple):
    """Something that could not be judged.

    Parameters:
        what: A signal, a kind of finding, or ``the call``.
        share: How much of it, 0 to 1; ``None`` if nobody knows.
        why: ``was not recorded``.
    """

    what: str
    share: float | None
    why: str

    def __str__(self) -> str:
        if self.share is None or self.share == 1:
            return f"{self.what} {self.why}"
        percent = "less than 1" if self.share < 0.01 else f"{100 * self.share:.0f}"
        return f"{percent} % of {self.what} {self.why}"


def unjudged(
    call: Call, found: Iterable[Finding], kinds: Mapping[str, str]
) -> tuple[Unjudged, ...]:
    """Tell what of a call could not be judged, and why.

    Args:
        call: The call.
        found: What was found in it: where bytes are no audio, nothing can be measured of them.
        kinds: Kinds that did not look, and why.

    Returns:
        What concerns all of the call first.
    """
    rows = [*_recording(call), *_signals(call), *_unread(call)]
    rows += [Unjudged(kind, 1.0, why) for kind, why in sorted(kinds.items())]
    rows += _spoilt(call, found)
    return tuple({row.what: row for row in reversed(rows)}.values())[::-1]


def in_words(rows: Iterable[Unjudged]) -> str:
    """Say what could not be judged: signals one by one, kinds by their reason."""
    rows = tuple(rows)
    whole = [str(row) for row in rows if row.what not in DETECTORS]
    reasons = Counter(row.why for row in rows if row.what in DETECTORS and row.share == 1)
    few = [
        str(next(row for row in rows if row.why == why and row.what in DETECTORS))
        if count == 1
        else f"{count} kinds of findings {why.replace('was', 'were', 1)}"
        for why, count in reasons.items()
    ]
    return "; ".join(whole + few)


def _unread(call: Call) -> Iterator[Unjudged]:
    """Kinds that messages would tell, where these do not."""
    for kind, why in sorted(untold(call.carrier).items()):
        yield Unjudged(kind, 1.0, why)


def untold(carrier: Carrier) -> dict[str, str]:
    """Kinds that nobody can tell from a carrier's messages, or from frames alone, and why."""
    if not carrier.is_read:
        why = f"was not looked for, since the messages of {carrier} are not read"
        return dict.fromkeys(DETECTORS.keys() - FROM_FRAMES, why)
    told: dict[str, str] = {}
    if not carrier.is_numbered:
        why = f"was not looked for, since {carrier} numbers no messages"
        told |= dict.fromkeys(BY_NUMBERS, why)
    if not carrier.says_stop:
        told[BY_STOP] = f"was not looked for, since {carrier} says no stop"
    return told


def _recording(call: Call) -> Iterator[Unjudged]:
    if not call.finished:
        yield Unjudged("the end of the call", None, "was not recorded")
    missing = sum(end - start for start, end in call.unrecorded)
    if missing > 0 and call.duration > 0:
        yield Unjudged("the call", min(1.0, missing / call.duration), "was not recorded")
    elif call.dropped or call.damage:
        yield Unjudged("the call", None, "was not recorded whole")


def _signals(call: Call) -> Iterator[Unjudged]:
    """Signals that are not there though their twin is, or in a form that nobody knows."""
    times = {
        "caller_sent": call.inbound.time,
        "bot_heard": call.frames_in.time[call.frames_in.has_audio],
        "bot_said": call.audio_out.time,
        "bot_sent": call.outbound.time,
    }
    # Frames of which nothing was sent are a fault, not a hole of the recording.
    for name, twin in (
        ("caller_sent", "bot_heard"), ("bot_heard", "caller_sent"), ("bot_said", "bot_sent"),
    ):  # fmt: skip
        if (share := _absent(times[name], times[twin])) > 0:
            yield Unjudged(name, share, "was not recorded")
    for name, frames in (("bot_heard", call.frames_in), ("bot_said", call.frames_out)):
        known = frames.audio_rates > 0
        if not known.all():
            yield Unjudged(name, 1 - float(known.mean()), "has no known rate")


def _absent(times: NDArray[np.float64], twin: NDArray[np.float64]) -> float:
    """Share of the twin's seconds in which, and next to which, the other has nothing."""
    there = np.unique(np.floor(times))
    seconds = np.unique(np.floor(twin))
    if not len(seconds):
        return 0.0
    near = np.concatenate([there - 1, there, there + 1])
    return float(np.mean(~np.isin(seconds, near)))


def _spoilt(call: Call, found: Iterable[Finding]) -> Iterator[Unjudged]:
    """Kinds that look at what another fault has spoilt."""
    for finding in found:
        if finding.severity != "error" or finding.possible:
            continue
        share = sum(part.end - part.start for part in finding.parts) / max(call.duration, 1e-9)
        for name in DETECTORS[finding.kind].explains:
            kind = name.rpartition(":")[2]
            if share >= _LITTLE and kind in DETECTORS:
                yield Unjudged(kind, min(share, 1.0), f"cannot be told from {finding.kind}")
