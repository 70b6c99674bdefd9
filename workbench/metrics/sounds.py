"""What a sound is: voice, tone, music, modem, noise, or something else that can be heard.

One reading for both sides of a call. Voice is told by a voice activity detector, and by what a voice
does: it moves up and down, it pauses, and it holds no note. What can be heard and is no voice is told
by its spectrum: a tone is one sine or two (:mod:`workbench.metrics.tones`), music holds its notes, a modem
keeps its envelope.

Conventions:
    Times in seconds, levels in dBov, frequencies in hertz. All is looked at at 8 kHz, its offset (DC)
    taken out.

References:
    .. [1] ITU-T T.30, the calling tone (1100 Hz) and the answer tone (2100 Hz) of a fax.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.metrics.foreground import (
    SURELY_VOICE,
    background,
    in_front,
    less_if_far,
    less_if_hardly_louder,
    parted,
)
from workbench.metrics.smoothing import one_pole
from workbench.metrics.speech import (
    HOP,
    ONSET,
    Intervals,
    as_intervals,
    joined,
    levels,
    noise_floor_of,
    runs_of,
    voice_activity,
    voice_probability,
)
from workbench.metrics.tones import find_tones

__all__ = ["HARDLY_VOICE", "SURELY_VOICE", "Kind", "Sound", "centred", "sounds", "intervals_of"]

Kind: TypeAlias = Literal["voice", "tone", "music", "modem", "noise", "other"]

_RATE: Final = 8000
#: Spectra are taken of so many samples, 128 ms, so often, 64 ms.
_SIZE, _STEP = 1024, 512
_AT_ONCE: Final = 500  # spectra: an hour takes no more memory than half a minute
#: Samples that are filtered at once: what :func:`one_pole` asks for; and that are let go of at once.
_FILTERED: Final = 8192
_CENTRED: Final = 16 * _FILTERED
#: What is left of a sound after so little is nothing to a float32: silence behind it stays silence.
_DIED_AWAY: Final = 1e-50
_LOW, _HIGH = 200.0, 3400.0
#: A shorter pause does not part one sound from the next.
_PAUSE: Final = 0.25
#: What is fainter than this cannot be heard over a telephone; what is so far above the line's noise
#: can; and a line's own noise is not louder than the last.
_FAINTEST, _ABOVE, _LOUDEST_LINE = -60.0, 10.0, -50.0
#: Share of the strength of spectral peaks that are still there 0.2 s later: music has 0.7 in the
#: middle of its patches, voices 0.0, television (voices over music) 0.3.
_HELD: Final = 0.25
#: Spread of the level, dB, over half a second: a modem has 0.0, music 1, voices 2 to 6.
_STEADY_DB: Final = 0.5
#: Noise goes on, if not at one level: street noise has 3; a cough, which dies away, 6 and more.
_NOISE_SPREAD_DB: Final = 5.0
#: A modem is as loud as a voice; and its parts follow each other within so many seconds.
_FAINTEST_MODEM: Final = -40.0
_NEAR: Final = 2.0
#: Flatness (geometric over arithmetic mean) of noise in the telephone band: white noise has 0.4.
_FLAT: Final = 0.25
_PATCH: Final = 1.0
#: Less than this is no voice, whatever the detector says.
HARDLY_VOICE: Final = 0.3

_WINDOW: Final = np.hanning(_SIZE).astype(np.float32)
_BAND: Final = slice(*np.searchsorted(np.fft.rfftfreq(_SIZE, 1 / _RATE), [_LOW, _HIGH]))


@dataclass(frozen=True)
class Sound:
    """A stretch of one kind of sound.

    Parameters:
        kind: What it is; ``other`` can be heard and is none of the rest: a cough, a laugh, a click.
        start: In seconds.
        end: In seconds.
        level: Of its louder half, in dBov.
        confidence: How sure the kind is, 0 to 1.
        detail: Of a tone what it is: ``"key 5"``, ``"1100 Hz"``; else empty.
    """

    kind: Kind
    start: float
    end: float
    level: float
    confidence: float = 1.0
    detail: str = ""

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


def centred(audio: Audio, corner: float = 20.0) -> Audio:
    """Take out what no telephone carries and no ear hears: an offset (DC), its settling, rumble.

    Twice a high-pass of first order; at 8 kHz.

    Args:
        audio: At any rate.
        corner: Where each takes 3 dB away, in hertz.
    """
    narrow = audio.resampled(_RATE)
    settled: NDArray[np.float32] = mapped.zeros(len(narrow), np.float32)
    decay = float(np.exp(-2 * np.pi * corner / _RATE))
    last = [0.0, 0.0]
    for begin, block in mapped.blocks(narrow.samples, _CENTRED):
        for first in range(0, len(block), _FILTERED):
            part = block[first : first + _FILTERED]
            if max(map(abs, last)) < _DIED_AWAY and not part.any():
                last = [0.0, 0.0]
                continue
            samples = part.astype(np.float64)
            for time in range(2):
                low = one_pole(samples, decay, last[time], gain=1 - decay)
                last[time] = float(low[-1])
                samples -= low
            settled[begin + first : begin + first + len(part)] = samples
        mapped.let_go(settled[begin : begin + len(block)])
    return Audio.known(settled, _RATE)


def sounds(audio: Audio, line: Audio | None = None) -> tuple[Sound, ...]:
    """Find every sound of a signal and tell what it is.

    Args:
        audio: At any rate.
        line: The same :func:`centred`, if that is known already.

    Returns:
        In the order of their start, not overlapping; what lies between them is nothing, or the
        line's own noise.
    """
    audio = centred(audio) if line is None else line
    level = levels(audio)
    if not len(level):
        return ()
    looked_at = _Look(audio, level)
    spoken = voice_activity(audio, probability=looked_at.probability).tolist()
    likely = [looked_at.voice(*part) for one in spoken for part in parted(level, *one)]
    voices = less_if_far([voice for voice in likely if voice.confidence >= HARDLY_VOICE])
    quiet = min(noise_floor_of(level), _LOUDEST_LINE)
    audible = level > max(quiet + _ABOVE, _FAINTEST)
    for voice in voices:  # what a voice trails off into is its own
        audible[max(0, int((voice.start - 0.1) / HOP)) : int((voice.end + 0.2) / HOP)] = False
    others: list[Sound] = []
    for begin, stop in joined(runs_of(audible, HOP), _PAUSE).tolist():
        tones = [
            Sound("tone", tone.start, tone.end, tone.level, 1.0, tone.name)
            for tone in find_tones(audio.samples, begin, stop)
        ]
        others += tones
        others += [
            looked_at.other(start, end)
            for first, last in _between(begin, stop, tones)
            for start, end in _patches(first, last)
        ]
    found = _joined(_trained(sorted(others, key=lambda sound: sound.start)))
    behind = background(level, voices, found)
    if behind is not None:
        apart = [
            voice if part == (voice.start, voice.end) else looked_at.voice(*part)
            for voice in voices
            for part in in_front(level, voice.start, voice.end, behind)
        ]
        voices = less_if_hardly_louder(level, apart, behind)
    return tuple(sorted([*voices, *found], key=lambda sound: sound.start))


def intervals_of(found: tuple[Sound, ...], *kinds: Kind, least: float = 0.0) -> Intervals:
    """Where there is a sound of some kinds, of a confidence of at least ``least``."""
    return as_intervals(
        [(s.start, s.end) for s in found if s.kind in kinds and s.confidence >= least]
    )


class _Texture(NamedTuple):
    """How a stretch sounds, whatever its level.

    Parameters:
        held: Share of the strength of its spectral peaks that is still there 0.2 s later.
        flat: Flatness of its spectrum.
    """

    held: float
    flat: float


class _Look:
    """A signal, looked at for what its parts are."""

    def __init__(self, audio: Audio, level: NDArray[np.float64]) -> None:
        self.samples = audio.samples
        self.level = level
        self.probability = voice_probability(audio)

    def voice(self, start: float, end: float) -> Sound:
        """A stretch that a detector calls speech, and how much it is like a voice."""
        hops = self._loud_hops(start, end)
        confidence = 0.8  # by the level alone
        if self.probability is not None and len(hops):
            likely = self.probability[np.minimum(hops * 10 // 32, len(self.probability) - 1)]
            # A hiss that leads up to a word, or dies away behind it, is its own.
            is_told = np.flatnonzero(likely > ONSET)
            core = likely[is_told[0] : is_told[-1] + 1] if len(is_told) else likely
            confidence = float(np.clip((core.mean() - 0.5) / 0.4, 0, 1))
        if end - start >= 0.5:
            if self._texture(start, end).held > _HELD:
                confidence *= 0.5  # it sings, or there is music with it
            if self._spread(start, end) < 1.2:
                confidence *= 0.6  # it never pauses: many at once
        return Sound("voice", start, end, self._level(hops), confidence)

    def other(self, start: float, end: float) -> Sound:
        """A patch that can be heard and is no voice."""
        level = self._level(self._loud_hops(start, end))
        kind: Kind = "other"
        spread = self._spread(start, end)
        steady = spread < _STEADY_DB
        held, flat = self._texture(start, end)
        if end - start >= 0.4:
            if (steady and level > _FAINTEST_MODEM) and (
                flat < _FLAT or self._is_banded(start, end)
            ):
                kind = "modem"
            elif held > _HELD:
                kind = "music"
        if kind == "other" and flat > _FLAT and end - start >= 0.1:
            kind = "noise" if spread < _NOISE_SPREAD_DB else "other"
        return Sound(kind, start, end, level, 0.8)

    # -- small things ----------------------------------------------------------------------

    def _loud_hops(self, start: float, end: float) -> NDArray[np.intp]:
        first, last = round(start / HOP), max(round(start / HOP) + 1, round(end / HOP))
        part = self.level[first:last]
        return (
            first + np.flatnonzero(part >= np.median(part)) if len(part) else np.empty(0, np.intp)
        )

    def _level(self, hops: NDArray[np.intp]) -> float:
        return 10 * float(np.log10(np.mean(10 ** (self.level[hops] / 10)))) if len(hops) else -100.0

    def _texture(self, start: float, end: float) -> _Texture:
        """Medians over the spectra that lie inside."""
        first = int(np.ceil(start * _RATE / _STEP))
        last = max(first + 1, int((end * _RATE - _SIZE) / _STEP) + 1)
        inside = list(_spectra(self.samples, first, last))
        if not inside:
            return _Texture(0.0, 0.0)
        return _Texture(
            *(float(np.median(np.concatenate(each))) for each in zip(*inside, strict=True))
        )

    def _spread(self, start: float, end: float) -> float:
        """Spread of the level over half a second, dB, in the middle of all such."""
        size = min(50, max(10, int((end - start) / HOP) - 2))
        first, last = round(start / HOP) + 1, round(end / HOP) - 1
        part = self.level[first:last]
        if len(part) < size:
            return 10.0
        windows = np.lib.stride_tricks.sliding_window_view(part, size)[:: max(1, size // 4)]
        return float(np.median(windows.std(axis=1)))

    def _is_banded(self, start: float, end: float) -> bool:
        """Whether it fills a modem's band evenly and nothing beside it, as no noise does."""
        part = self.samples[round(start * _RATE) : round(end * _RATE)]
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
        frequency = np.fft.rfftfreq(len(part), 1 / _RATE)
        inside = power[(frequency > 600) & (frequency < 3000)].mean()
        outside = power[(frequency < 200) | (frequency > 3700)].mean()
        return bool(outside < 0.01 * inside)


def _spectra(
    samples: NDArray[np.float32], first: int, last: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Of each spectrum from one to another how much of its peaks holds for 0.2 s, and its flatness."""
    if len(samples) < _SIZE:
        return
    frames = np.lib.stride_tricks.sliding_window_view(samples, _SIZE)[::_STEP]
    last = min(last, len(frames))
    ahead = 3  # spectra: 0.2 s
    for at in range(first, last, _AT_ONCE):
        count = min(_AT_ONCE, last - at)
        part = frames[at : at + count + ahead]
        spectra = np.fft.rfft(part * _WINDOW, axis=1)[:, _BAND]
        power = spectra.real**2 + spectra.imag**2 + 1e-12
        logarithm = np.log(power)
        level = (10 / math.log(10)) * logarithm
        peak = np.zeros(level.shape, np.bool_)
        here = level[:, 2:-2]
        peak[:, 2:-2] = (here >= level[:, 1:-3]) & (here > level[:, 3:-1])
        peak[:, 2:-2] &= (here > level[:, :-4] + 3) & (here > level[:, 4:] + 3)
        peak &= level > level.max(axis=1, keepdims=True) - 25
        near = peak.copy()
        near[:, 1:] |= peak[:, :-1]
        near[:, :-1] |= peak[:, 1:]
        strength = np.sqrt(power) * peak
        held = np.zeros(len(part))
        if len(part) > ahead:
            both = near[ahead:] & near[1 : 1 - ahead or None][: len(part) - ahead]
            held[:-ahead] = (strength[:-ahead] * both).sum(axis=1)
            held[:-ahead] /= strength[:-ahead].sum(axis=1) + 1e-9
        flat = np.exp(logarithm.mean(axis=1)) / power.mean(axis=1)
        yield held[:count], flat[:count]
        mapped.let_go(samples[at * _STEP : (at + count) * _STEP])


def _between(start: float, end: float, tones: list[Sound]) -> Iterator[tuple[float, float]]:
    """What a stretch holds beside its tones, if it is long enough to be anything."""
    bounds = [start, *(edge for tone in tones for edge in (tone.start, tone.end)), end]
    for first, last in zip(bounds[::2], bounds[1::2], strict=True):
        if last - first >= (0.08 if tones else 0.03):
            yield first, last


def _patches(start: float, end: float) -> Iterator[tuple[float, float]]:
    """Cut a stretch into parts of about :data:`_PATCH`."""
    count = max(1, round((end - start) / _PATCH))
    bounds = np.linspace(start, end, count + 1).tolist()
    yield from zip(bounds[:-1], bounds[1:], strict=True)


def _trained(found: list[Sound]) -> list[Sound]:
    """Loud noise next to a modem's tones is the modem too: its training, its data [1]_."""
    told = [s for s in found if s.kind == "modem" or (s.kind == "tone" and s.duration > 0.4)]
    return [
        replace(sound, kind="modem")
        if sound.kind == "noise"
        and sound.level > _FAINTEST_MODEM
        and any(s.start - _NEAR < sound.end and s.end + _NEAR > sound.start for s in told)
        else sound
        for sound in found
    ]


def _joined(found: list[Sound]) -> list[Sound]:
    """Join sounds of one kind that follow each other, as music plays on; keys stay single."""
    rows: list[Sound] = []
    for sound in found:
        last = rows[-1] if rows else None
        is_same = last is not None and (sound.kind, sound.detail) == (last.kind, last.detail)
        if last is not None and is_same and sound.start - last.end < 0.01:
            level = max(last.level, sound.level)
            rows[-1] = Sound(
                sound.kind, last.start, sound.end, level, last.confidence, sound.detail
            )
        else:
            rows.append(sound)
    return rows
