"""Noise of low frequencies: the hum of the mains, the rumble of a car.

Hum is told by its harmonics: three lines or more, at multiples of one frequency that is the mains', stand
still for a second and a half, whoever speaks meanwhile, and nothing between them does. Rumble has no lines.

Conventions:
    Samples at 8 kHz, shape ``(n,)``; power as mean square, 1 being 0 dBov.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.metrics.smoothing import running_maximum, running_minimum
from workbench.metrics.speech import runs_of

__all__ = ["HUM_SECS", "hum", "is_rumble"]

#: Hum stands still for so long, in seconds.
HUM_SECS: Final = 1.5

_RATE: Final = 8000
#: Samples of a spectrum, 256 ms: lines of 50 Hz are 13 bins apart; and hops of 10 ms between two.
_SIZE, _HOP, _EVERY = 2048, 80, 4
#: The power of a hum varies by less than that within 40 ms; spectra reach so many of these beyond it.
_BEATS, _BESIDE = 4.0, 4
_AT_ONCE: Final = 500  # spectra: an hour takes no more memory than half a minute
_MAINS: Final = (50, 60)
#: Lines are looked for up to here, in hertz. Most of a hum lies in the first ones, up to 320 Hz; the tones of
#: the telephone service begin at 350 Hz (ITU-T E.180).
_HIGHEST, _LOW = 1000.0, 320.0
#: Share of what stands still that lies in the lines: of noise it is a quarter.
_IN_LINES: Final = 0.8
#: A hum has so many lines with such a share of what stands still, the fundamental among them or not; a tone
#: has one, two tones that are played together have two.
_LINES_OF_HUM, _OF_STILL = 3, 0.02
#: They are so near to multiples of one frequency, and that to the mains', in hertz. A quarter of a bin is
#: what a parabola reads of a line beside words; the mains stay within 0.2 Hz (ENTSO-E, NERC), and the next note, G1, is 1 Hz below 50 Hz.
_OFF_LINE, _OFF_MAINS = 1.0, 0.3
#: Where rumble is, in hertz; share of its power in there; and what the loudest third of its bins leaves.
_RUMBLE: Final = (100.0, 400.0)
_MOST: Final = 0.5
_LEFT: Final = 1 / 6


def hum(samples: NDArray[np.float32], least: float = 0.0) -> NDArray[np.float64]:
    """Measure the hum of the mains, under words too.

    Args:
        samples: Of which a part may be silent.
        least: What is less than this power need not be found.

    Returns:
        Its power for each hop of 10 ms; 0 where there is none, or less.
    """
    hops = len(samples) // _HOP
    found = np.zeros(hops)
    if len(samples) < _SIZE:
        return found
    # All that is heard is no less than its lines: where that falls silent there is no hum.
    likely = _still(_power(samples)) > least / _BEATS
    spread = running_maximum(likely.astype(np.float32), _BESIDE, _BESIDE) > 0
    for start, end in runs_of(spread, 1).astype(int).tolist():
        for first in range(start, end, _AT_ONCE):
            last = min(first + _AT_ONCE, end)
            power = _still(_spectra(samples, first - 2 * _HALF, last + 2 * _HALF))
            part = np.max([_in_lines(power, mains) for mains in _MAINS], axis=0)[2 * _HALF :]
            hop = first * _EVERY
            some = np.repeat(part[: last - first], _EVERY)[: hops - hop]
            found[hop : hop + len(some)] = some
    return found


def _power(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean square around each fourth hop, the rest at the end left to the last."""
    step, powers = _HOP * _EVERY, list[NDArray[np.float32]]()
    for _, block in mapped.blocks(samples, step * _AT_ONCE):
        whole = block[: max(1, len(block) // step) * step]
        powers.append(np.square(whole).reshape(-1, min(step, len(whole))).mean(axis=1))
    return np.concatenate(powers)


def _in_lines(power: NDArray[np.float32], mains: int) -> NDArray[np.float32]:
    """Power in the lines of one mains, of spectra in which all stands still; 0 where that is no hum."""
    bins = _LINES[mains]
    lines = power[:, bins - 1] + power[:, bins] + power[:, bins + 1]
    strength, total = lines.sum(axis=1), power[:, _LOWEST_BIN:_HIGHEST_BIN].sum(axis=1)
    low = lines[:, _FREQUENCY[bins] < _LOW].sum(axis=1)
    found = (strength > _IN_LINES * total) & (low > strength / 2)
    edges = np.flatnonzero(np.diff(found, prepend=False, append=False))
    for first, last in edges.reshape(-1, 2):
        # Words hide a line now and then: what stands still is judged over all of its time.
        found[first:last] = _hums(power[first:last].mean(axis=0), mains)
    return np.where(found, strength, 0)


def _hums(power: NDArray[np.float32], mains: int) -> bool:
    """Whether enough lines are multiples of one frequency (least squares), and that the mains'."""
    lines = np.arange(1, len(_LINES[mains]) + 1)
    around = power[_LINES[mains][:, None] + np.arange(-2, 3)]
    still = float(power[_LOWEST_BIN:_HIGHEST_BIN].sum())
    strong = around[:, 1:-1].sum(axis=1) > _OF_STILL * still
    if strong.sum() < _LINES_OF_HUM:
        return False
    lines, peaks = lines[strong], _peaks(around[strong]) + _FREQUENCY[_LINES[mains][strong]]
    base = float(lines @ peaks / (lines @ lines))
    off = np.abs(peaks - lines * base).max()
    return bool(off < _OFF_LINE) and abs(base - mains) < _OFF_MAINS


def _peaks(around: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far each line is from the middle of five bins, in hertz: the top of a parabola in decibels."""
    around = np.log(around + _TINY)
    top = 1 + np.argmax(around[:, 1:-1], axis=1)
    left, middle, right = (around[np.arange(len(top)), top + by] for by in (-1, 0, 1))
    bend = np.maximum(2 * middle - left - right, _TINY)
    aside: NDArray[np.float64] = top - 2 + np.clip((right - left) / (2 * bend), -1, 1)
    return aside * (_RATE / _SIZE)


def is_rumble(samples: NDArray[np.float32]) -> bool:
    """Whether a stretch without speech is noise that lies low: a car, a motor, a fan, wind.

    Args:
        samples: At least 256 ms of it; less is none.
    """
    count = (len(samples) - _SIZE) // (_HOP * _EVERY) + 1
    if len(samples) < _SIZE:
        return False
    frames = np.lib.stride_tricks.sliding_window_view(samples, _SIZE)[:: _HOP * _EVERY][:count]
    frames = frames[:: 1 + len(frames) // _AT_ONCE]
    power = np.square(np.abs(np.fft.rfft(frames * _WINDOW, axis=1))).mean(axis=0)
    mapped.let_go(samples)
    low = np.sort(power[slice(*np.searchsorted(_FREQUENCY, _RUMBLE))])
    inside = float(low.sum())
    return inside > _MOST * float(power.sum()) and bool(
        low[: len(low) * 2 // 3].sum() > _LEFT * inside
    )


def _spectra(samples: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
    """Power spectra around every fourth hop, silent beyond both ends: shape ``(last - first, bins)``."""
    step = _HOP * _EVERY
    low = first * step - (_SIZE - step) // 2
    high = (last - 1) * step - (_SIZE - step) // 2 + _SIZE
    part = samples[max(0, low) : max(0, high)]
    padded = np.pad(part, (max(0, -low), high - max(0, low) - len(part)))
    mapped.let_go(part)
    blocks = np.lib.stride_tricks.sliding_window_view(padded, _SIZE)[::step]
    return np.square(np.abs(np.fft.rfft(blocks * _WINDOW, axis=1)[:, : _HIGHEST_BIN + 2])) * _SCALE


def _still(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """What each bin does not fall below, whichever stretch shows the most of it."""
    return running_maximum(running_minimum(power, _HALF, _HALF), _HALF, _HALF)


_WINDOW: Final = np.hanning(_SIZE + 1)[:_SIZE].astype(np.float32)
_SCALE: Final = np.float32(2 / (_SIZE * float(_WINDOW @ _WINDOW)))
_FREQUENCY: Final = np.fft.rfftfreq(_SIZE, 1 / _RATE)
_LOWEST_BIN, _HIGHEST_BIN = (int(np.searchsorted(_FREQUENCY, f)) for f in (40.0, _HIGHEST + 10))
#: The bin of each line of a mains.
_LINES: Final = {
    mains: np.rint(np.arange(mains, _HIGHEST + 1, mains) * _SIZE / _RATE).astype(np.intp)
    for mains in _MAINS
}
#: Keeps a logarithm finite.
_TINY: Final = np.float32(1e-20)
#: Spectra to each side that, with their own length, make up the time that a hum stands still.
_HALF: Final = round((HUM_SECS - _SIZE / _RATE) / 2 * _RATE / (_HOP * _EVERY))
