"""What a carrier's recording shows: the leg, and what became of the call on its way, in words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.tuning.pieces import Piece, recorded
from workbench.tuning.received import Received

__all__ = ["WIDE_HZ", "Family", "MeasuredLeg"]

#: What has to be sent to tell a narrow leg from a wide one, in hertz.
WIDE_HZ: Final = 5000.0
#: How sure it is, as `make recordings` counts it: of none wrong of so many the error is below 3 / n, with a
#: confidence of 95 %.
_OF: Final = "Of 325 recordings by other programs"
_NAMED: Final = f"{_OF} 45 were given a name so, all rightly."
_CALLED_WIDE: Final = f"{_OF} 25 were called wide so, all rightly."
#: What stands for a wide leg whose codec is not told.
_ANY_WIDE: Final = "G.722"
#: So many cuts of a recording are told one by one.
_TOLD: Final = 3

Family: TypeAlias = Literal["narrowband", "wideband", "unknown"]


@dataclass(frozen=True, eq=False)
class MeasuredLeg:
    """A recording in step with the call, and the leg that it shows.

    Parameters:
        delay_ms: Where the call's zero lies on the recording; negative if it began later. Of
            several pieces, that of the first.
        drift_ppm: How much faster the recording's clock counts.
        gain_db: How much louder the bot is on it.
        jitter_ms: Median distance of the windows from one straight line: by how much the far end's
            queue shifted utterances.
        matched: Share of the windows of speech that were found again, whole, 0 to 1.
        covered: From when to when, in seconds on the call's clock, there is a recording.
        family: What the audio bandwidth says.
        leg: The model in :data:`workbench.tuning.legs.LEGS` that left this noise; ``None`` if the
            evidence does not carry one.
        untold: Why it does not; empty if it does.
        distance_db: How far the noise profile is from that of each model considered.
        sent_hz: Highest frequency in what was sent.
        heard_hz: The same in the recording.
        recorded_rate: Sample rate of the recording, in hertz.
        heard: The recording on the call's clock, as loud as it was sent.
        mistake: How the recording was wrongly written or read, which was undone; empty if it was not.
        pieces: Stretches of the call that are on it without a cut, in the order of time.
        received: What the recording adds to the capture: what was lost, and how far off the model of
            the queue is; ``None`` if it was not looked at.
        in_step: As ``heard``, with each utterance where the model of the queue has it.
    """

    delay_ms: float
    drift_ppm: float
    gain_db: float
    jitter_ms: float
    matched: float
    covered: tuple[float, float]
    family: Family
    leg: str | None
    untold: str
    distance_db: dict[str, float]
    sent_hz: float
    heard_hz: float
    recorded_rate: int
    heard: Audio
    mistake: str = ""
    pieces: tuple[Piece, ...] = ()
    received: Received | None = None
    in_step: Audio | None = None

    @property
    def sentence(self) -> str:
        """All of it in words."""
        told = [self._where(), self._cuts(), str(self.received or ""), self._which()]
        return " ".join(filter(None, told))

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return (
            f"MeasuredLeg({self.family}, {self.leg}, {self.delay_ms:.1f} ms, "
            f"{self.drift_ppm:.0f} ppm, {self.gain_db:.1f} dB)"
        )

    @property
    def stands_for(self) -> str | None:
        """The leg to go by: the one that is told; of a wide leg without a name G.722; else none."""
        return self.leg or (_ANY_WIDE if self.family == "wideband" else None)

    @property
    def recorded(self) -> NDArray[np.float64]:
        """What of the call there is a recording of: intervals in seconds, shape ``(n, 2)``."""
        return recorded(self.pieces)

    @property
    def cuts(self) -> tuple[tuple[float, float], ...]:
        """Where the recording does not go on as the call does: when, and how many seconds were put in.

        Negative are seconds of the call that are not on it.
        """
        return tuple(
            (one.end, other.late - one.late)
            for one, other in pairwise(self.pieces)
            if one.file == other.file
        )

    def _where(self) -> str:
        wrong = f"Undone in the carrier's recording: {self.mistake}. " if self.mistake else ""
        after = "after" if self.delay_ms >= 0 else "before"
        return (
            f"{wrong}The carrier's recording holds {100 * self.matched:.0f} % of what was sent, and the "
            f"call's zero {abs(self.delay_ms):.1f} ms {after} its own; its clock differs by "
            f"{self.drift_ppm:+.0f} ppm, its level by {self.gain_db:+.1f} dB."
        )

    def _cuts(self) -> str:
        cuts = self.cuts
        if not cuts:
            return ""
        said = [_cut(*cut) for cut in cuts]
        if len(cuts) <= _TOLD:
            return f"It is in {len(self.pieces)} pieces: {', '.join(said)}."
        out, put = (sum(max(0.0, sign * secs) for _, secs in cuts) for sign in (-1, 1))
        sums = [
            f"{secs:.2f} s {what}"
            for secs, what in ((out, "of the call are not on it"), (put, "were put in"))
            if secs > 0
        ]
        return f"It is in {len(self.pieces)} pieces: {' and '.join(sums)}, in {len(cuts)} places."

    def _which(self) -> str:
        reach = f"It reaches {self.heard_hz:.0f} Hz where {self.sent_hz:.0f} Hz were sent"
        if self.family == "wideband":
            reach += ": measured, a wideband leg"
        elif self.family == "narrowband":
            reach += ": measured, a narrowband leg, or a recorder that is narrow itself"
        elif self.recorded_rate < 2 * WIDE_HZ:
            reach += f": a file at {self.recorded_rate} Hz does not show whether the leg is wide"
        else:
            reach += ": too little to show whether the leg is wide"
        if self.leg is not None:
            distance = f"{self.distance_db[self.leg]:.1f} dB off its model"
            return f"{reach}; its noise is that of {self.leg} ({distance}). {_NAMED}"
        if self.family == "wideband":
            return f"{reach}; nothing in this file tells its codec ({self.untold}). {_CALLED_WIDE}"
        return f"{reach}. Nothing in this file tells the leg ({self.untold})."


def _cut(at: float, secs: float) -> str:
    if secs < 0:
        return f"from {at:.2f} s on {-secs:.2f} s of the call are not on it"
    return f"at {at:.2f} s {secs:.2f} s were put in"
