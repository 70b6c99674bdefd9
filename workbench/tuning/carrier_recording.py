"""A carrier's recording of a call: its clock, its level, and the leg that it was made on.

No capture shows what lies beyond Bandwidth. A recording made there does. It starts at a time, runs
on a clock and has a level of its own; once these are found and taken out, what is left between what
was sent and what was recorded is the far leg.

Conventions:
    Time on the recording is ``delay + (1 + drift) * t`` for the time ``t`` on the call's clock. The
    recording has to hold the bot. A caller mixed in does not keep the bot from being found, but is
    taken for noise of the leg: give the bot's channel alone where there is one.

Two measurements tell which leg it was, :mod:`workbench.tuning.evidence`:
    * **Sound above 4 kHz** that was sent and is on the recording, by coherence [1]_: a wide leg. It
      says nothing when no more than 4 kHz was sent, or the file itself is at 8 kHz.
    * **Noise**: what does not follow what was sent, in loud, middle and soft speech and in pauses. Each
      model of :mod:`workbench.tuning.legs` leaves its own. It is named if it fits everywhere and no
      other comes near, of a file that is lossless and whose level is steady. In all other recordings
      nothing tells the leg, and what is assumed of it stays.

References:
    .. [1] G. C. Carter, "Coherence and time delay estimation", Proc. IEEE 75(2), 1987.
"""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import fft, stats

from workbench import sound_files
from workbench.audio import Audio
from workbench.exceptions import MetricWarning, SoundFileWarning
from workbench.metrics.alignment import find_delay, shifted
from workbench.metrics.frames import framed
from workbench.metrics.spectra import effective_bandwidth
from workbench.metrics.speech_level import SILENCE_DBOV, speech_activity
from workbench.tuning.evidence import Noise, distance, noise_of, wide_snr
from workbench.tuning.legs import LEGS, lacking
from workbench.tuning.mistaken import undone

if TYPE_CHECKING:
    from workbench.call import Call

__all__ = ["MeasuredLeg", "Recording", "align", "measured", "read"]

#: Clocks of telephone equipment and sound cards are within this, in ppm.
MAX_DRIFT_PPM: Final = 1200.0

#: All is compared at this rate, or at the recording's own lower one.
_RATE: Final = 16000

_ENVELOPE_RATE: Final = 100
#: The grid of drifts is so fine that no end of the call is further off than this, in seconds.
_SLIP: Final = 0.05
_COARSEST_PPM: Final = 500.0
_FINEST_PPM: Final = 25.0

#: Length of the windows in which the delay is followed, their hop, and how many are enough.
_WINDOW: Final = 1.0
_HOP: Final = 0.5
_ENOUGH: Final = 120
#: A window is on the recording if no more of it than this is beyond either end, in seconds.
_EDGE: Final = 0.001
#: Below this share of windows that agree, the recording is of something else.
_LEAST_MATCHED: Final = 0.3
#: From this share on it is of this call, although a mistake had to be undone before it was found.
_SURELY_MATCHED: Final = 0.6
#: A window further off the common line than this has been found at a wrong place: what a playout
#: queue shifts between two utterances stays below it.
_OUTLIER: Final = 0.040

#: Legs are told apart on the excerpt of this length, in seconds, with the most speech that was
#: found: a whole hour would tell no more, and would take Opus two minutes.
_TOLD: Final = 30.0

#: A model is named if it is no further off than this, and no other is within so many dB more; and if
#: the level wanders by no more than that, in dB. In `python -m tests.benchmarks recordings`, on the
#: voices for it, the right one is off by 0.05 to 0.9, in lossless files a wrong one by 3.6 and more.
_NEAR_DB, _AHEAD_DB, _STEADY_DB = 1.5, 1.5, 0.6

#: Up to where a narrowband leg reaches, and what has to be sent to tell it from a wide one.
_NARROW_HZ: Final = 4200.0
_WIDE_HZ: Final = 5000.0
#: Up to the one signal to noise, in dB, nothing of what was sent above 4 kHz is on the recording, from
#: the other on it is. Of narrow legs -20 and less was measured; of wide ones -9 and more, behind a mix,
#: a line at -60 dBov and MP3 at 16 kbit/s.
_NOT_WIDE_SNR, _WIDE_SNR = -18.0, -12.0
#: How sure a name is: what `make recordings COUNT=70` counts.
_CONFIDENCE: Final = "Of 70 recordings by other programs 4 legs were named so, all rightly."
#: What stands for a wide leg whose codec is not told.
_ANY_WIDE: Final = "G.722"

Family: TypeAlias = Literal["narrowband", "wideband", "unknown"]


@dataclass(frozen=True, eq=False)
class MeasuredLeg:
    """A recording in step with the call, and the leg that it shows.

    Parameters:
        delay_ms: Where the call's zero lies on the recording; negative if it began later.
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

    @property
    def sentence(self) -> str:
        """All of it in words."""
        return f"{self._where()} {self._which()}"

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return (
            f"MeasuredLeg({self.family}, {self.leg}, {self.delay_ms:.1f} ms, "
            f"{self.drift_ppm:.0f} ppm, {self.gain_db:.1f} dB)"
        )

    def _where(self) -> str:
        wrong = f"Undone in the carrier's recording: {self.mistake}. " if self.mistake else ""
        after = "after" if self.delay_ms >= 0 else "before"
        return (
            f"{wrong}The carrier's recording holds {100 * self.matched:.0f} % of what was sent, and the "
            f"call's zero {abs(self.delay_ms):.1f} ms {after} its own; its clock differs by "
            f"{self.drift_ppm:+.0f} ppm, its level by {self.gain_db:+.1f} dB."
        )

    @property
    def stands_for(self) -> str | None:
        """The leg to go by: the one that is told; of a wide leg without a name G.722; else none."""
        return self.leg or (_ANY_WIDE if self.family == "wideband" else None)

    def _which(self) -> str:
        reach = f"It reaches {self.heard_hz:.0f} Hz where {self.sent_hz:.0f} Hz were sent"
        if self.family == "wideband":
            reach += ": measured, a wideband leg"
        elif self.family == "narrowband":
            reach += ": measured, a narrowband leg, or a recorder that is narrow itself"
        elif self.recorded_rate < 2 * _WIDE_HZ:
            reach += f": a file at {self.recorded_rate} Hz does not show whether the leg is wide"
        else:
            reach += ": too little to show whether the leg is wide"
        if self.leg is not None:
            distance = f"{self.distance_db[self.leg]:.1f} dB off its model"
            return f"{reach}; its noise is that of {self.leg} ({distance}). {_CONFIDENCE}"
        if self.family == "wideband":
            return f"{reach}; nothing in this file tells its codec ({self.untold})."
        return f"{reach}. Nothing in this file tells the leg ({self.untold})."


@dataclass(frozen=True, eq=False, repr=False)
class Recording(Audio):
    """A channel of a recording, and what its file did to it.

    Parameters:
        is_lossless: Whether the file keeps samples as they were given to it.
    """

    is_lossless: bool = True


def read(path: str | Path, channel: int | None = None, *, encoding: str | None = None) -> Recording:
    """Read the bot's channel of a recording.

    Args:
        path: A sound file, see :meth:`workbench.audio.Audio.read`.
        channel: Which one, from 0; by default the second of several, as carriers have the bot
            there.
        encoding: What it holds, where no header says so: ``"ulaw"``, ``"pcm@16000x2"``.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is no sound, or there is no such channel.
    """
    sound = sound_files.read(path, channel, default_channel=1, encoding=encoding)
    for remark in sound.remarks:
        warnings.warn(remark, SoundFileWarning, stacklevel=2)
    return Recording(sound.samples, sound.sample_rate, sound.is_lossless)


def align(call: Call | Audio, recording: Audio) -> MeasuredLeg:
    """Bring a recording onto the call's clock, and tell the leg.

    A recording that does not hold the call as it is may have silence put in, be inverted, at another
    rate than its header says, stereo that was read as mono, or two tracks that take turns: each is
    tried, undone and told.

    Args:
        call: The call: what the far end played of it is looked for; or what was sent, as audio.
        recording: The carrier's, with the bot on it; see :func:`read`.

    Raises:
        ValueError: If the bot cannot be found on it, or said too little to look for.
    """
    sent = call if isinstance(call, Audio) else call.played
    if recording.level < SILENCE_DBOV:
        raise ValueError(
            "the recording is silent, so it does not hold what the bot sent: is it the other channel?"
        )
    try:
        return _aligned(sent, recording)
    except NotThere as error:
        for mistake, right in undone(recording):
            with suppress(ValueError):
                found = _aligned(sent, right)
                if found.matched >= _SURELY_MATCHED:
                    return replace(found, mistake=mistake)
        raise ValueError(str(error)) from None


class NotThere(ValueError):
    """A recording does not hold what the bot sent."""


def _aligned(sent: Audio, recording: Audio) -> MeasuredLeg:
    """The same of a recording as it is.

    Raises:
        NotThere: If the bot cannot be found on it.
        ValueError: If it said too little to look for.
    """
    rate = min(_RATE, recording.sample_rate)
    reference = sent.resampled(rate)
    windows = _windows(reference)
    line = _coarse(reference, recording)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)  # windows in which nothing is found
        for radius in (0.15, 0.05):
            heard, covered = _on_the_clock(recording, line, reference)
            lags = _lags(reference, heard, covered, windows, radius)
            line, matched = _refined(line, reference, windows, lags)
        heard, covered = _on_the_clock(recording, line, reference)
        lags = _lags(reference, heard, covered, windows, 0.05)
        at_most = sent.resampled(min(_RATE, sent.sample_rate))
        sent_hz, heard_hz = effective_bandwidth(at_most), effective_bandwidth(heard)
    found = np.abs(lags) < _OUTLIER
    gain = _gain(reference, heard, windows[found])
    starts, late = _excerpt(reference, covered, windows[found], lags[found])
    family = _family(
        sent_hz, wide_snr(reference, heard, starts, late, _WINDOW), recording.sample_rate
    )
    noise = noise_of(reference, heard, starts, late, _WINDOW)
    distances = _distances(sent, reference, noise, starts)
    leg, why = _told(recording, family, noise, distances)
    return MeasuredLeg(
        delay_ms=1000 * line.delay,
        drift_ppm=1e6 * line.drift,
        gain_db=gain,
        jitter_ms=1000 * float(np.median(np.abs(lags[found]))),
        matched=matched,
        covered=covered,
        family=family,
        leg=leg,
        untold=why,
        distance_db=distances,
        sent_hz=sent_hz,
        heard_hz=heard_hz,
        recorded_rate=recording.sample_rate,
        heard=Audio(heard.samples * np.float32(10 ** (-gain / 20)), rate),
    )


def measured(call: object, recording: Audio | MeasuredLeg) -> MeasuredLeg:
    """The same of whatever can be tuned on, or what was measured already.

    Args:
        call: A call, or audio.
        recording: The carrier's; or what :func:`align` found.

    Raises:
        ValueError: As :func:`align`; and for frames, which have no clock.
    """
    if isinstance(recording, MeasuredLeg):
        return recording
    if not isinstance(call, Audio) and not hasattr(call, "played"):
        raise ValueError("frames alone have no clock: a recording is compared with a call")
    return align(cast("Call | Audio", call), recording)


class _Line(NamedTuple):
    """Time on the recording: ``delay + (1 + drift) * t``; in seconds."""

    delay: float
    drift: float


# -- where it is -------------------------------------------------------------------------------


def _windows(reference: Audio) -> NDArray[np.intp]:
    """First samples of windows that hold speech for the most part."""
    size, hop = (round(secs * reference.sample_rate) for secs in (_WINDOW, _HOP))
    spoken = framed(speech_activity(reference), size, hop).mean(axis=1)
    starts = np.flatnonzero(spoken > 0.6) * hop
    if len(starts) < 3:
        raise ValueError(
            f"what was sent holds {len(starts)} windows of {_WINDOW:g} s of speech to find again, "
            "wanted three"
        )
    kept = np.linspace(0, len(starts) - 1, min(len(starts), _ENOUGH)).round().astype(int)
    chosen: NDArray[np.intp] = starts[kept]
    return chosen


def _envelope(audio: Audio) -> NDArray[np.float64]:
    """How loud it is, each 10 ms, mean taken out; compressed, so that no peak rules."""
    hop = audio.sample_rate // _ENVELOPE_RATE
    blocks = audio.samples[: len(audio.samples) // hop * hop].reshape(-1, hop)
    loudness = np.mean(blocks.astype(np.float64) ** 2, axis=1) ** 0.25
    centred: NDArray[np.float64] = loudness - loudness.mean()
    return centred


def _coarse(reference: Audio, recording: Audio) -> _Line:
    """Delay within some 30 ms, and drift within half a step of the grid, by the envelopes."""
    x, y = _envelope(reference.resampled(8000)), _envelope(recording.resampled(8000))
    step = np.clip(_SLIP / reference.duration * 1e6, _FINEST_PPM, _COARSEST_PPM)
    count = int(np.ceil(MAX_DRIFT_PPM / step))
    n = fft.next_fast_len(2 * max(x.size, y.size) + 1024, real=True)
    heard = fft.rfft(y, n)
    best = (-np.inf, _Line(0.0, 0.0))
    for drift in np.arange(-count, count + 1) * step * 1e-6:
        n_stretched = round(x.size * (1 + drift))
        stretched = np.interp(np.arange(n_stretched) / (1 + drift), np.arange(x.size), x)
        correlation = fft.irfft(np.conj(fft.rfft(stretched, n)) * heard, n)
        lag = int(np.argmax(correlation))
        delay = (lag if lag < n - x.size else lag - n) / _ENVELOPE_RATE
        best = max(best, (float(correlation[lag]), _Line(delay, float(drift))))
    return best[1]


def _on_the_clock(
    recording: Audio, line: _Line, reference: Audio
) -> tuple[Audio, tuple[float, float]]:
    """The recording, stretched and moved onto the call's clock, as long as the reference.

    And where it begins and ends there, in seconds: beyond that, nothing was recorded.
    """
    rate, n = reference.sample_rate, len(reference.samples)
    true_rate = recording.sample_rate * (1 + line.drift)
    samples = soxr.resample(recording.samples, true_rate, rate)
    delay = line.delay / (1 + line.drift)
    covered = max(0.0, -delay), min(reference.duration, samples.size / rate - delay)
    if delay < 0:  # it began later: silence up to there
        missing = int(np.ceil(-delay * rate))
        samples = np.pad(samples, (missing, 0))
        delay += missing / rate
    samples = np.pad(samples, (0, max(0, n + round(delay * rate) + 1 - samples.size)))
    _, moved = shifted(Audio(np.zeros(n, np.float32), rate), Audio(samples, rate), 1000 * delay)
    return moved, covered


def _lags(
    reference: Audio,
    heard: Audio,
    covered: tuple[float, float],
    windows: NDArray[np.intp],
    radius: float,
) -> NDArray[np.float64]:
    """How much later each window is heard, in seconds; NaN where it is not found, or cut."""
    rate = reference.sample_rate
    size, margin = round(_WINDOW * rate), round(radius * rate)
    padded = np.pad(heard.samples, margin)
    lags = np.empty(len(windows))
    for index, start in enumerate(windows.tolist()):
        window = Audio(reference.samples[start : start + size], rate)
        around = Audio(padded[start : start + size + 2 * margin], rate)
        lags[index] = find_delay(window, around, max_delay_ms=2000 * radius) / 1000 - margin / rate
    first, last = covered
    at = windows / rate + lags
    lags[(at < first - _EDGE) | (at + _WINDOW > last + _EDGE)] = np.nan
    return lags


def _refined(
    line: _Line, reference: Audio, windows: NDArray[np.intp], lags: NDArray[np.float64]
) -> tuple[_Line, float]:
    """The line through most of the windows, and the share of those that lie near it."""
    found = np.isfinite(lags)
    if np.count_nonzero(found) >= max(3, _LEAST_MATCHED * len(lags)):
        time, late = windows[found] / reference.sample_rate + _WINDOW / 2, lags[found]
        slope, first, *_ = stats.theilslopes(late, time)
        off = late - (first + slope * time)
        near = np.abs(off - np.median(off)) <= max(3 * float(np.median(np.abs(off))), 1e-5)
        slope, first = np.polyfit(time[near], late[near], 1)
        matched = np.count_nonzero(np.abs(late - (first + slope * time)) < _OUTLIER) / len(lags)
        if matched >= _LEAST_MATCHED:
            pace = 1 + line.drift
            refined = _Line(line.delay + pace * float(first), line.drift + pace * float(slope))
            return refined, float(matched)
    raise NotThere(
        f"the recording does not hold what the bot sent: of {len(lags)} stretches of speech "
        f"{np.count_nonzero(found)} are found whole on it; is it another call, or the other channel?"
    )


# -- what it is --------------------------------------------------------------------------------


def _gain(reference: Audio, heard: Audio, windows: NDArray[np.intp]) -> float:
    """Median over the windows of the change of level."""
    size = round(_WINDOW * reference.sample_rate)
    powers = [
        [np.sum(np.square(a.samples[s : s + size], dtype=np.float64)) for a in (reference, heard)]
        for s in windows.tolist()
    ]
    before, after = np.array(powers).T
    return float(np.median(10 * np.log10(after / before)))


def _family(sent_hz: float, wide: float, recorded_rate: int) -> Family:
    if not sent_hz > _WIDE_HZ or recorded_rate < 2 * _WIDE_HZ or not np.isfinite(wide):
        return "unknown"
    if wide <= _NOT_WIDE_SNR:
        return "narrowband"
    return "wideband" if wide >= _WIDE_SNR else "unknown"


def _excerpt(
    reference: Audio,
    covered: tuple[float, float],
    windows: NDArray[np.intp],
    lags: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Windows side by side, with the pauses, of the excerpt with the most speech; and their lags."""
    rate = reference.sample_rate
    length, size = round(_TOLD * rate), round(_WINDOW * rate)
    last = np.searchsorted(windows, windows + length - size, side="right")
    first = int(np.argmax(last - np.arange(len(windows))))
    begin = max(int(windows[first]) - size, math.ceil(covered[0] * rate))
    end = min(int(windows[last[first] - 1]) + 2 * size, math.floor(covered[1] * rate))
    starts = np.arange(begin, end - size + 1, size)
    return starts, np.interp(starts, windows, lags)


def _distances(
    sent: Audio, reference: Audio, noise: Noise, starts: NDArray[np.intp]
) -> dict[str, float]:
    """How far the noise is from that of each model."""
    rate, size = reference.sample_rate, round(_WINDOW * reference.sample_rate)
    begin, end = int(starts[0]), int(starts[-1]) + size
    stretch = Audio(reference.samples[begin:end], rate)
    travels = sent.span(begin / rate, end / rate)  # what the file's rate cuts off, too
    inside, none = starts - begin, np.zeros(len(starts))
    distances = {}
    for leg in LEGS.values():
        if "+" in leg.name or lacking(leg):
            continue  # what two legs in a row leave is what the worse of them does
        came = leg.apply(travels).resampled(rate)
        distances[leg.name] = distance(noise, noise_of(stretch, came, inside, none, _WINDOW))
    return distances


def _told(
    recording: Audio, family: Family, noise: Noise, distances: dict[str, float]
) -> tuple[str | None, str]:
    """The leg that the evidence carries; else none, and why."""
    if not getattr(recording, "is_lossless", True):
        return None, "the file's own coding has put its noise over the leg's"
    if not noise.gain_db <= _STEADY_DB:
        return None, "its level is not steady"
    known = {
        name: off
        for name, off in distances.items()
        if np.isfinite(off)
        and (
            family == "unknown" or (LEGS[name].bandwidth_hz > _NARROW_HZ) == (family == "wideband")
        )
    }
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
