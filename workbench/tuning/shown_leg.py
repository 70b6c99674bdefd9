"""Which leg a recording shows, if it shows one: the evidence against what is asked of it."""

from __future__ import annotations

import math
import warnings
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.exceptions import MetricWarning
from workbench.metrics.spectra import effective_bandwidth
from workbench.tuning.evidence import Noise, distance, noise_of, wide_snr
from workbench.tuning.legs import LEGS, lacking
from workbench.tuning.lines import OFF_LINE
from workbench.tuning.measured_leg import WIDE_HZ, Family
from workbench.tuning.pieces import Placed
from workbench.tuning.tape import WINDOW

__all__ = ["ShownLeg", "shown_leg"]

#: Legs are told apart on the excerpt of this length, in seconds, with the most speech that was
#: found: a whole hour would tell no more, and would take Opus two minutes.
_EXCERPT: Final = 30.0

#: A model is named if it is no further off than this, and no other is within so many dB more; and if
#: the level wanders by no more than that, in dB. Of 62 that `python -m tests.benchmarks recordings` named,
#: the right one was off by 0.02 to 1.3, a wrong one by 2.4 and more.
_NEAR_DB, _AHEAD_DB, _STEADY_DB = 1.5, 1.5, 0.6

#: Up to where a narrowband leg reaches, in hertz.
_NARROW_HZ: Final = 4200.0
#: Up to the one signal to noise, in dB, nothing of what was sent above 4 kHz is on the recording, from
#: the other on it is. Of narrow legs -20 and less was measured; of wide ones -9 and more, behind a mix,
#: a line at -60 dBov and MP3 at 16 kbit/s.
_NOT_WIDE_SNR, _WIDE_SNR = -18.0, -12.0


class ShownLeg(NamedTuple):
    """What a recording shows of the leg: see :class:`workbench.tuning.measured_leg.MeasuredLeg`."""

    family: Family
    leg: str | None
    untold: str
    distance_db: dict[str, float]
    sent_hz: float
    heard_hz: float


def shown_leg(sent: Audio, reference: Audio, recording: Audio, placed: Placed) -> ShownLeg:
    """Weigh the evidence.

    Args:
        sent: What was sent.
        reference: The same at the rate to compare at.
        recording: The recording as it is.
        placed: In step with ``reference``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        at_most = sent.resampled(min(reference.sample_rate, sent.sample_rate))
        sent_hz, heard_hz = effective_bandwidth(at_most), effective_bandwidth(placed.heard)
    starts, late = _excerpt(reference, placed)
    if not len(starts):
        return ShownLeg("unknown", None, "too little of it is in one piece", {}, sent_hz, heard_hz)
    wide = wide_snr(reference, placed.heard, starts, late, WINDOW)
    family = _family(sent_hz, wide, recording.sample_rate)
    noise = noise_of(reference, placed.heard, starts, late, WINDOW)
    distances: dict[str, float] = {}
    leg, why = None, _silent(recording, noise)
    if not why:
        distances = _distances(sent, reference, noise, starts, family)
        leg, why = _told(family, distances)
    return ShownLeg(family, leg, why, distances, sent_hz, heard_hz)


def _family(sent_hz: float, wide: float, recorded_rate: int) -> Family:
    if not sent_hz > WIDE_HZ or recorded_rate < 2 * WIDE_HZ or not np.isfinite(wide):
        return "unknown"
    if wide <= _NOT_WIDE_SNR:
        return "narrowband"
    return "wideband" if wide >= _WIDE_SNR else "unknown"


def _excerpt(reference: Audio, placed: Placed) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Windows side by side, with the pauses, of the excerpt with the most speech; and their lags.

    All within one piece; what a queue held back is not in it.
    """
    rate = reference.sample_rate
    size = round(WINDOW * rate)
    steady = np.abs(placed.lags) < OFF_LINE
    windows, lags = placed.windows[steady], placed.lags[steady]
    best: tuple[int, int, int] = (0, 0, 0)
    for start, end, *_ in placed.pieces:
        first, last = math.ceil(start * rate), math.floor(end * rate)
        mine = windows[(windows >= first) & (windows + size <= last)]
        if not len(mine):
            continue
        upto = np.searchsorted(mine, mine + round(_EXCERPT * rate) - size, side="right")
        most = int(np.argmax(upto - np.arange(len(mine))))
        begin = max(int(mine[most]) - size, first)
        stop = min(int(mine[upto[most] - 1]) + 2 * size, last)
        best = max(best, (int(upto[most]) - most, begin, stop))
    count, begin, stop = best
    if count < 2:
        return np.empty(0, np.intp), np.empty(0)
    starts = np.arange(begin, stop - size + 1, size)
    return starts, np.interp(starts, windows, lags)


def _silent(recording: Audio, noise: Noise) -> str:
    """Why its noise tells nothing of a codec, whatever it is; empty if it may."""
    if not getattr(recording, "is_lossless", True):
        return "the file's own coding has put its noise over the leg's"
    return "" if noise.gain_db <= _STEADY_DB else "its level is not steady"


def _distances(
    sent: Audio, reference: Audio, noise: Noise, starts: NDArray[np.intp], family: Family
) -> dict[str, float]:
    """How far the noise is from that of each model that the family leaves."""
    rate, size = reference.sample_rate, round(WINDOW * reference.sample_rate)
    begin, end = int(starts[0]), int(starts[-1]) + size
    stretch = Audio(reference.samples[begin:end], rate)
    travels = sent.span(begin / rate, end / rate)  # what the file's rate cuts off, too
    inside, none = starts - begin, np.zeros(len(starts))
    distances = {}
    for leg in LEGS.values():
        is_wide = leg.bandwidth_hz > _NARROW_HZ
        if family != "unknown" and is_wide != (family == "wideband"):
            continue
        if "+" in leg.name or lacking(leg):
            continue  # what two legs in a row leave is what the worse of them does
        came = leg.apply(travels).resampled(rate)
        distances[leg.name] = distance(noise, noise_of(stretch, came, inside, none, WINDOW))
    return distances


def _told(family: Family, distances: dict[str, float]) -> tuple[str | None, str]:
    """The leg that the evidence carries; else none, and why."""
    known = {name: off for name, off in distances.items() if np.isfinite(off)}
    if not known:
        return None, "there is no model to compare it with"
    name, *others = sorted(known, key=lambda name: known[name])
    if known[name] > _NEAR_DB:
        return None, "its noise is like that of no model"
    if others and known[others[0]] < known[name] + _AHEAD_DB:
        return None, f"its noise is as like that of {others[0]} as that of {name}"
    if family == "unknown" and LEGS[name].bandwidth_hz > _NARROW_HZ:
        return None, "without sound above 4 kHz no wide leg is told"
    return name, ""
