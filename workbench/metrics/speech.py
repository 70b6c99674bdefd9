"""Where there is speech in a signal.

Conventions:
    An *interval* is one row ``[start, end)`` of an array of shape ``(n, 2)``, in seconds, in order,
    not overlapping. Levels in dBov.

References:
    Silero VAD 6, the ONNX model that Pipecat carries; its thresholds for onset and offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio

__all__ = [
    "HOP",
    "ONSET",
    "Intervals",
    "as_intervals",
    "noise_floor_of",
    "hop_edges",
    "joined",
    "let_go",
    "levels",
    "runs_of",
    "to_sound",
    "voice_activity",
    "voice_probability",
]

Intervals: TypeAlias = NDArray[np.float64]

#: Many ask for the level of the same few signals.
_levels: WeakKeyDictionary[Audio, NDArray[np.float64]] = WeakKeyDictionary()

#: Silero's own probabilities for the start and the end of speech.
ONSET, OFFSET = 0.5, 0.35
#: A interval shorter than this is a click or a cough; a pause shorter than this is inside a word.
MIN_SPEECH, MIN_PAUSE = 0.1, 0.1
#: What the energy detector calls speech: this far above the noise floor, and above this level.
ABOVE_FLOOR_DB, FAINTEST_DBOV = 12.0, -50.0
#: How far below its loudest moment a interval has sound that its ends are set to; and how far below
#: that it has faint sound, of a soft beginning too, without which it has not begun.
SOUND_DB, FAINT_DB = 30.0, 40.0
#: Analysis step of :func:`levels`, in seconds.
HOP: Final = 0.010

#: Hops looked at together: an hour as float64 would take a gigabyte.
_AT_ONCE: Final = 2000

_RATE: Final = 8000
_WINDOW: Final = 256  # samples; with 32 of context before it, as the model was trained
_CONTEXT: Final = 32
# The model forgets how to hear after long silence, so Pipecat resets it every two seconds. Cutting
# the call into lanes that start afresh does that too, and all lanes go through the model as one
# batch: three times as fast, and 97 % the same decisions. What cannot be heard is left out.
_LANE, _WARM_UP = 125, 32  # windows of 32 ms: 4 s after 1 s
_LANES = 256  # at once: an hour takes no more memory than seventeen minutes
#: Nobody hears what is fainter; a pause in it that is no longer than a warm-up is listened to, and so
#: many windows before and after it.
_INAUDIBLE_DBOV: Final = -60.0
_AROUND: Final = 8


def voice_probability(audio: Audio) -> NDArray[np.float32] | None:
    """How likely there is a voice, by Silero.

    Args:
        audio: Any rate; it is looked at as 8 kHz.

    Returns:
        0 to 1 for each 32 ms; ``None`` without Pipecat's model or onnxruntime.
    """
    session = _session()
    return None if session is None else _probability(session, audio.resampled(_RATE).samples)


def voice_activity(
    audio: Audio,
    *,
    detector: Literal["silero", "energy"] | None = None,
    probability: NDArray[np.float32] | None = None,
) -> Intervals:
    """Find speech.

    Args:
        audio: Any rate; it is looked at as 8 kHz.
        detector: ``"silero"``, or ``"energy"`` for a plain level threshold; by default the first
            if Pipecat's model and onnxruntime are there.
        probability: What :func:`voice_probability` says of it, if that is known already.

    Returns:
        Intervals of speech; their ends are set to within some 10 ms by the level.

    Raises:
        ValueError: If Silero is asked for and cannot be had.
    """
    narrow = audio.resampled(_RATE)
    level = levels(narrow)
    if probability is None and detector != "energy":
        probability = voice_probability(narrow)
    if probability is None and detector == "silero":
        raise ValueError("Silero needs onnxruntime and the model that pipecat-ai carries")
    if probability is None or detector == "energy":
        speech = level > max(noise_floor_of(level) + ABOVE_FLOOR_DB, FAINTEST_DBOV)
        return _closed(runs_of(speech, HOP))
    found = _closed(runs_of(probability > ONSET, _WINDOW / _RATE, probability > OFFSET))
    return _tightened(found, level, audio.duration)


def levels(audio: Audio) -> NDArray[np.float64]:
    """Level of each whole hop in dBov, at least -100; read-only, kept as long as the audio."""
    if audio not in _levels:
        _levels[audio] = _measured(audio)
    return _levels[audio]


def _measured(audio: Audio) -> NDArray[np.float64]:
    edges = hop_edges(len(audio), audio.sample_rate)
    level: NDArray[np.float64] = mapped.zeros(len(edges) - 1, np.float64)
    for first in range(0, len(level), _AT_ONCE):
        few = edges[first : first + _AT_ONCE + 1]
        part, size = audio.samples[few[0] : few[-1]], np.diff(few)
        if (size == size[0]).all():
            each = part.reshape(len(size), -1)
            power = np.einsum("ij,ij->i", each, each, dtype=np.float64) / size
        else:
            power = np.add.reduceat(np.square(part, dtype=np.float64), few[:-1] - few[0]) / size
        level[first : first + _AT_ONCE] = 10 * np.log10(np.maximum(power, 1e-10))
        mapped.let_go(part)
    level.setflags(write=False)
    return level


def let_go(audio: Audio) -> None:
    """Keep a signal on the disk only, and its level if that is known; both are read again when wanted."""
    mapped.let_go(audio.samples)
    if audio in _levels:
        mapped.let_go(_levels[audio])


def hop_edges(count: int, sample_rate: int) -> NDArray[np.intp]:
    """First sample of each whole hop, and the end of the last; at 22,050 Hz some are longer."""
    in_a_second = round(1 / HOP)
    whole = count * in_a_second // sample_rate
    return np.arange(whole + 1, dtype=np.intp) * sample_rate // in_a_second


def joined(
    intervals: Intervals, pause: float, unless: NDArray[np.float64] | None = None
) -> Intervals:
    """Bridge pauses shorter than ``pause``, but none in which a time of ``unless`` lies."""
    rows: list[list[float]] = []
    for start, end in intervals.tolist():
        if rows and start - rows[-1][1] < pause:
            taken = unless is not None and ((unless > rows[-1][1]) & (unless < start)).any()
            if not taken:
                rows[-1][1] = end
                continue
        rows.append([start, end])
    return as_intervals(rows)


def _closed(intervals: Intervals) -> Intervals:
    closed = joined(intervals, MIN_PAUSE)
    return closed[closed[:, 1] - closed[:, 0] >= MIN_SPEECH]


def runs_of(
    on: NDArray[np.bool_], step: float, still: NDArray[np.bool_] | None = None
) -> Intervals:
    """Intervals in which something holds.

    Args:
        on: Whether it holds, for each step.
        step: Length of a step in seconds.
        still: What is enough for it to go on once it has begun; by default the same.
    """
    edges = _edges(on if still is None else still)
    if still is None:
        return np.asarray(edges * step, np.float64)
    counts = np.concatenate(([0], np.cumsum(on)))
    rows = []
    for first, last in edges.tolist():
        if counts[last] > counts[first]:
            begins = first + int(np.argmax(on[first:last]))
            rows.append((begins * step, last * step))
    return as_intervals(rows)


def _edges(on: NDArray[np.bool_]) -> NDArray[np.intp]:
    """First index of each run, and the one after its last."""
    framed = np.zeros(len(on) + 2, np.bool_)
    framed[1:-1] = on
    return np.flatnonzero(framed[1:] != framed[:-1]).reshape(-1, 2)


def _tightened(intervals: Intervals, level: NDArray[np.float64], duration: float) -> Intervals:
    """Move each end to where the sound begins or stops: Silero's windows are 32 ms long.

    A start may be moved inwards by any length, to the first sound that there is at all.
    """
    if not len(intervals) or not len(level):
        return intervals
    floor = noise_floor_of(level)
    rows = []
    for start, end in intervals:
        first, last = int(start / HOP), min(int(np.ceil(end / HOP)), len(level))
        inside = level[first:last]
        if not len(inside) or np.percentile(inside, 90) < floor + 6:
            continue  # the model took the line's noise for a voice
        loudest = float(inside.max())
        # In a line that was just opened the model hears a voice seconds before there is any.
        faint = inside > max(floor + 6, loudest - FAINT_DB)
        start = max(start, (first + int(np.argmax(faint))) * HOP)
        begins, ends = to_sound(start, end, level, max(floor + 6, loudest - SOUND_DB))
        rows.append((begins, min(ends, duration)))
    return joined(as_intervals([row for row in rows if row[1] > row[0]]), HOP)  # they may meet


def to_sound(
    start: float, end: float, level: NDArray[np.float64], threshold: float, reach: int = 15
) -> tuple[float, float]:
    """Move the ends of a interval to where its sound begins and stops.

    Args:
        start: Of the interval, in seconds.
        end: Of the interval.
        level: Of each hop, as :func:`levels` makes it.
        threshold: What is above it is sound.
        reach: Hops by which an end may move.

    Returns:
        The ends, to within a hop; where there is no sound within reach, an end stays.
    """
    first, last = int(start / HOP), min(int(np.ceil(end / HOP)), len(level))
    low, high = max(0, first - reach), min(len(level), last + reach)
    begins = _edge(level[low : min(first + reach, last)] > threshold, first - low)
    ends = _edge(level[max(last - reach, first) : high][::-1] > threshold, high - last)
    return (low + begins) * HOP, (high - ends) * HOP


def _edge(loud: NDArray[np.bool_], at: int) -> int:
    """Where the sound that is on at, or next after, index ``at`` begins; dips of 30 ms allowed."""
    later = np.flatnonzero(loud[at:])
    if not len(later):
        return at
    index = at + int(later[0])
    while index > 0:
        before = np.flatnonzero(loud[max(0, index - 4) : index])
        if not len(before):
            break
        index = max(0, index - 4) + int(before[0])
    return index


def noise_floor_of(level: NDArray[np.float64]) -> float:
    """Level of the quietest tenth, digital silence left out."""
    audible = level[level > -95]
    return float(np.percentile(audible, 10)) if len(audible) else -100.0


def as_intervals(rows: Sequence[Sequence[float]]) -> Intervals:
    """Make intervals of pairs of times, of none too."""
    return np.array(rows, float).reshape(-1, 2)


@cache
def _session() -> Any:
    """The model, once per process; ``None`` if it cannot be had."""
    package = find_spec("pipecat")
    if package is None or not package.submodule_search_locations or not find_spec("onnxruntime"):
        return None
    model = Path(package.submodule_search_locations[0], "audio", "vad", "data", "silero_vad.onnx")
    if not model.is_file():
        return None
    import onnxruntime  # noqa: PLC0415  half a second, for those who ask for speech only

    onnxruntime.disable_telemetry_events()  # where it was imported before this package
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


class _Lane(NamedTuple):
    """Windows that are looked at one after the other, the first of which only warm up."""

    first: int
    warm: int
    last: int


def _probability(session: Any, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability of speech in each window of 256 samples at 8 kHz."""
    count = -(-len(samples) // _WINDOW)
    found = np.zeros(count, np.float32)
    lanes = sorted(_lanes(samples), key=lambda lane: lane.first - lane.last)
    for first in range(0, len(lanes), _LANES):
        _listen(session, samples, lanes[first : first + _LANES], found)
        mapped.let_go(samples)
    return found


def _lanes(samples: NDArray[np.float32]) -> Iterator[_Lane]:
    """Where anything can be heard, in pieces of :data:`_LANE` windows at most."""
    count = -(-len(samples) // _WINDOW)
    power = np.empty(count, np.float32)
    for first, block in mapped.blocks(samples, _WINDOW * _AT_ONCE):
        edges = np.arange(-(-len(block) // _WINDOW)) * _WINDOW
        power[first // _WINDOW :][: len(edges)] = np.add.reduceat(np.square(block), edges)
    is_heard = power > _WINDOW * 10 ** (_INAUDIBLE_DBOV / 10)
    for start, end in joined(runs_of(is_heard, 1.0), _WARM_UP).astype(int).tolist():
        start, end = max(0, start - _AROUND), min(count, end + _AROUND)
        for first in range(start, end, _LANE):
            warm = min(_WARM_UP, first - start)
            yield _Lane(first - warm, warm, min(end, first + _LANE))


def _listen(
    session: Any,
    samples: NDArray[np.float32],
    lanes: Sequence[_Lane],
    found: NDArray[np.float32],
) -> None:
    """Put the probabilities of some lanes, longest first and side by side, where they belong."""
    first = np.array([lane.first for lane in lanes])
    warm = np.array([lane.warm for lane in lanes])
    size = np.array([lane.last - lane.first for lane in lanes])
    begins = first[:, None] * _WINDOW + np.arange(-_CONTEXT, _WINDOW)
    state = np.zeros((2, len(lanes), 128), np.float32)
    rate = np.array(_RATE, np.int64)
    for step in range(size[0]):
        going = int(np.count_nonzero(size > step))
        at = begins[:going] + step * _WINDOW
        block = samples.take(at, mode="clip")
        if at[:, 0].min() < 0 or at[:, -1].max() >= len(samples):
            block[(at < 0) | (at >= len(samples))] = 0.0
        given = {"input": block, "state": state[:, :going], "sr": rate}
        probability, state = session.run(None, given)
        told = warm[:going] <= step
        found[first[:going][told] + step] = probability[told, 0]
