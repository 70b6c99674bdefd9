"""A carrier's recording of a call: its clock, its level, and the leg that it was made on.

No capture shows what lies beyond Bandwidth. A recording made there does. It starts at a time, runs
on a clock and has a level of its own; once these are found and taken out, what is left between what
was sent and what was recorded is the far leg.

Conventions:
    Time on the recording is ``delay + (1 + drift) * t`` for the time ``t`` on the call's clock; of one
    that leaves something out, or is several files, piece by piece (:mod:`workbench.tuning.pieces`). The
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

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np
from numpy.typing import NDArray

from workbench import sound_files
from workbench.audio import Audio
from workbench.exceptions import SoundFileWarning
from workbench.metrics.speech_level import SILENCE_DBOV
from workbench.tuning.lines import OFF_LINE
from workbench.tuning.measured_leg import MeasuredLeg
from workbench.tuning.mistaken import undone
from workbench.tuning.pieces import NotThere, Placed, joined, place
from workbench.tuning.received import followed, received
from workbench.tuning.shown_leg import shown_leg
from workbench.tuning.tape import WINDOW

if TYPE_CHECKING:
    from workbench.call import Call

__all__ = ["MeasuredLeg", "Recording", "align", "measured", "read"]

#: All is compared at this rate, or at the recording's own lower one.
_RATE: Final = 16000
#: From this share of what it can hold on it is of this call, although a mistake had to be undone before
#: it was found.
_SURELY_MATCHED: Final = 0.6
#: From this share on there is nothing to look for elsewhere.
_WHOLE: Final = 0.97


@dataclass(frozen=True, eq=False, repr=False)
class Recording(Audio):
    """A channel of a recording, and what its file did to it.

    Parameters:
        is_lossless: Whether the file keeps samples as they were given to it.
        path: The file, whose other channels are tried if the bot is not on this one.
        channel: Which one it is, from 0.
        channels: How many there are.
        encoding: As :func:`read` was given it.
    """

    is_lossless: bool = True
    path: Path | None = None
    channel: int = 0
    channels: int = 1
    encoding: str | None = None


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
    return Recording(
        sound.samples,
        sound.sample_rate,
        sound.is_lossless,
        Path(path),
        sound.channel,
        sound.channels,
        encoding,
    )


def align(call: Call | Audio, recording: Audio | Sequence[Audio]) -> MeasuredLeg:
    """Bring a recording onto the call's clock, and tell the leg.

    A recording that does not hold the call as it is may have silence put in or left out, have paused, be
    inverted, at another rate than its header says, stereo that was read as mono, two tracks that take
    turns, or have the bot on another channel: each is tried, undone and told.

    Args:
        call: The call: what the far end played of it is looked for; or what was sent, as audio.
        recording: The carrier's, with the bot on it; see :func:`read`. Several files of one call may be
            given, in any order.

    Raises:
        ValueError: If the bot cannot be found on it, or said too little to look for.
    """
    is_call = not isinstance(call, Audio)
    sent = cast("Call", call).played if is_call else cast("Audio", call)
    files = [recording] if isinstance(recording, Audio) else list(recording)
    if not files:
        raise ValueError("no recording was given, wanted one or several files of one call")
    found = list(_each(sent, files))
    rate = min(one.placed.heard.sample_rate for one in found)
    return _told(sent, [_again(sent, one, rate, several=len(files) > 1) for one in found], is_call)


def _told(sent: Audio, found: Sequence[_Found], is_call: bool) -> MeasuredLeg:
    """What files at one rate show together; of the leg, what the one shows that holds the most."""
    whole = joined([one.placed for one in found])
    reference = sent.resampled(whole.heard.sample_rate)
    main = max(found, key=lambda one: one.placed.matched)
    shown = shown_leg(sent, reference, main.recording, main.placed)
    steady = np.abs(whole.lags) < OFF_LINE
    in_step = followed(whole)
    return MeasuredLeg(
        delay_ms=1000 * whole.pieces[0].late * (1 + whole.drift),
        drift_ppm=1e6 * main.placed.drift,
        gain_db=main.gain_db,
        jitter_ms=1000 * float(np.median(np.abs(whole.lags[steady]))),
        matched=whole.matched,
        covered=(whole.pieces[0].start, whole.pieces[-1].end),
        family=shown.family,
        leg=shown.leg,
        untold=shown.untold,
        distance_db=shown.distance_db,
        sent_hz=shown.sent_hz,
        heard_hz=shown.heard_hz,
        recorded_rate=main.recording.sample_rate,
        heard=whole.heard,
        mistake="; ".join(dict.fromkeys(one.mistake for one in found if one.mistake)),
        pieces=whole.pieces,
        received=received(reference, whole, in_step, is_call=is_call),
        in_step=in_step,
    )


def measured(call: object, recording: Audio | Sequence[Audio] | MeasuredLeg) -> MeasuredLeg:
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


@dataclass(frozen=True, eq=False)
class _Found:
    """One file, in step with the call."""

    recording: Audio
    placed: Placed
    mistake: str
    gain_db: float


def _each(sent: Audio, files: Sequence[Audio]) -> Iterator[_Found]:
    """Every file; of several the one that is not of this call is named."""
    for number, file in enumerate(files):
        try:
            yield _found(sent, file)
        except ValueError as error:
            path = getattr(file, "path", None)
            name = f"recording {number + 1}" if path is None else str(path)
            raise ValueError(str(error) if len(files) == 1 else f"{name}: {error}") from None


def _found(sent: Audio, recording: Audio) -> _Found:
    """One file, as it is or with a mistake undone; on one line if it can be, else in pieces.

    Raises:
        ValueError: If nothing of the call is on it.
    """
    try:
        return _best(sent, "", recording, _placed(sent, recording, in_pieces=False))
    except NotThere as error:
        refused = str(error)
    for mistake, right in _suspects(recording):
        line = _tried(sent, right, in_pieces=False)
        if line is not None and line.of_covered >= _SURELY_MATCHED:
            return _best(sent, mistake, right, line)
    # A mistake that is in pieces as well is not looked for, but the plainest two.
    inverted = replace(recording, samples=-recording.samples)
    plain = [("", recording), ("its polarity is inverted", inverted), *_other_channels(recording)]
    for mistake, right in plain:
        placed = _tried(sent, right, in_pieces=True)
        if placed is not None:
            return _of(sent, right, placed, mistake)
    raise ValueError(refused)


def _best(sent: Audio, mistake: str, recording: Audio, line: Placed) -> _Found:
    """What is on one line; or in pieces, if there is more of it so."""
    if line.of_covered < _WHOLE:
        pieces = _tried(sent, recording, in_pieces=True)
        if pieces is not None and pieces.matched > line.matched:
            line = pieces
    return _of(sent, recording, line, mistake)


def _again(sent: Audio, found: _Found, rate: int, *, several: bool) -> _Found:
    """The same at another rate, and all in pieces if there are several files: so they can be joined."""
    if found.placed.heard.sample_rate == rate and not several:
        return found
    placed = place(sent.resampled(rate), found.recording, in_pieces=several)
    return _of(sent, found.recording, placed, found.mistake)


def _of(sent: Audio, recording: Audio, placed: Placed, mistake: str = "") -> _Found:
    """As loud as it was sent."""
    rate = placed.heard.sample_rate
    gain = _gain(sent.resampled(rate), placed)
    heard = Audio(placed.heard.samples * np.float32(10 ** (-gain / 20)), rate)
    return _Found(recording, replace(placed, heard=heard), mistake, gain)


def _placed(sent: Audio, recording: Audio, *, in_pieces: bool) -> Placed:
    if recording.level < SILENCE_DBOV:
        raise NotThere(
            "the recording is silent, so it does not hold what the bot sent: is it the other channel?"
        )
    rate = min(_RATE, recording.sample_rate)
    return place(sent.resampled(rate), recording, in_pieces=in_pieces)


def _tried(sent: Audio, recording: Audio, *, in_pieces: bool) -> Placed | None:
    try:
        return _placed(sent, recording, in_pieces=in_pieces)
    except NotThere:
        return None


def _suspects(recording: Audio) -> Iterator[tuple[str, Audio]]:
    """What it may have been before a mistake was made, with the mistake."""
    yield from _other_channels(recording)
    if recording.level >= SILENCE_DBOV:
        yield from undone(recording)


def _other_channels(recording: Audio) -> Iterator[tuple[str, Audio]]:
    if not isinstance(recording, Recording) or recording.path is None:
        return
    for channel in range(recording.channels):
        if channel != recording.channel:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SoundFileWarning)  # it was said of the first
                other = read(recording.path, channel, encoding=recording.encoding)
            yield f"the bot is on channel {channel}, not on channel {recording.channel}", other


def _gain(reference: Audio, placed: Placed) -> float:
    """Median over the windows of the change of level."""
    size = round(WINDOW * reference.sample_rate)
    steady: NDArray[np.intp] = placed.windows[np.abs(placed.lags) < OFF_LINE]
    powers = [
        [
            np.sum(np.square(a.samples[s : s + size], dtype=np.float64))
            for a in (reference, placed.heard)
        ]
        for s in steady.tolist()
    ]
    before, after = np.array(powers).T + 1e-20
    return float(np.median(10 * np.log10(after / before)))
