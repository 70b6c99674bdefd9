"""What listeners would say, by other people's models: ViSQOL and PESQ. Both are optional.

Each is code that may crash, hang, or give a number for what it cannot judge (PESQ dies on calls of
a minute and more, ViSQOL gives silence 4.7 of 5). So each runs in a process of its own, with a time
limit, on segments of at most 15 seconds, and only where there is enough speech on both sides.
Whatever goes wrong, the answer is "not available" with the reason, never a wrong number; one failed
segment is enough.

Licences:
    ViSQOL is Apache-2.0. PESQ's package is MIT, but the ITU's code in it may not be used
    commercially without a licence of the patent holders: it is for evaluation only.

References:
    .. [1] M. Chinen et al., "ViSQOL v3: an open source production ready objective speech and audio
       metric", QoMEX 2020; package visqol-python, speech mode, lattice model.
    .. [2] ITU-T P.862 and P.862.2; package pesq.
"""

from __future__ import annotations

import json
import math
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.metrics.alignment import align, validate
from workbench.metrics.segments import segments
from workbench.metrics.speech_level import active_level, speech_secs

__all__ = ["Model", "Opinion", "PESQ", "VISQOL", "opinion", "opinions"]

#: The least that a model has to be given, in seconds: of sound, and of speech on either side.
_LEAST_SECS: Final = 3.0
_LEAST_SPEECH: Final = 1.0

#: Both signals are brought to the level that the models were made for.
_LEVEL_DBOV: Final = -26.0

#: Seconds allowed for each segment: ViSQOL takes one or two of ten seconds, and its imports as long
#: again.
_TIME_LIMIT: Final = 60.0

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Opinion:
    """A score, or why there is none.

    Parameters:
        score: Mean over the segments, on the model's scale; NaN if it is not available.
        segments: How many there were.
        reason: Why it is not available; empty if it is.
    """

    score: float
    segments: int = 0
    reason: str = ""

    def __float__(self) -> float:
        return self.score

    def __str__(self) -> str:
        return f"not available: {self.reason}" if self.reason else f"{self.score:.2f}"


@dataclass(frozen=True)
class Model:
    """A model of listeners.

    Parameters:
        name: Its name.
        rates: Rates that it takes, in hertz, the higher first.
        scale: Lowest and highest score.
        scorer: Where it is: ``module:function``, of both signals' samples and a rate; or a name
            that the worker knows.
    """

    name: str
    rates: tuple[int, ...]
    scale: tuple[float, float]
    scorer: str

    def __call__(self, reference: Audio, degraded: Audio) -> Opinion:
        """As :func:`opinion`: so a model can be one of the ``metrics`` of a comparison."""
        return opinion(self, reference, degraded)


VISQOL: Final = Model("ViSQOL", (16000,), (1.0, 5.0), "visqol")
PESQ: Final = Model("PESQ", (16000, 8000), (-0.5, 4.65), "pesq")


def opinion(
    model: Model, reference: Audio, degraded: Audio, *, time_limit: float = _TIME_LIMIT
) -> Opinion:
    """Ask a model.

    Args:
        model: :data:`VISQOL` or :data:`PESQ`.
        reference: The signal as it was.
        degraded: The signal as it arrived, at the same rate.
        time_limit: Seconds that each segment may take.

    Raises:
        ValueError: As :func:`workbench.metrics.distances.validate`.
    """
    return opinions(model, reference, [degraded], time_limit=time_limit)[0]


def opinions(
    model: Model, reference: Audio, degraded: Sequence[Audio], *, time_limit: float = _TIME_LIMIT
) -> list[Opinion]:
    """Ask a model about many signals at once, which is faster: it is started only once.

    Args:
        model: As :func:`opinion`.
        reference: As there.
        degraded: What became of it.
        time_limit: As there.

    Returns:
        One for each; where the model fails on one, it has none of those it was asked about.

    Raises:
        ValueError: As :func:`opinion`.
    """
    asked = [_pairs(model, reference, one) for one in degraded]
    pairs = [pair for one in asked if not isinstance(one, str) for pair in one]
    rate = next((r for r in model.rates if r <= reference.sample_rate), 0)
    answer = _asked(model, pairs, rate, time_limit * len(pairs)) if pairs else []
    found, first = [], 0
    for one in asked:
        if isinstance(one, str) or isinstance(answer, str):
            found.append(_none(one if isinstance(one, str) else str(answer)))
            continue
        scores = answer[first : first + len(one)]
        found.append(Opinion(float(np.mean(scores)), len(scores)))
        first += len(one)
    return found


def _pairs(model: Model, reference: Audio, degraded: Audio) -> list[Pair] | str:
    """Segments of both as the model wants them, or why it cannot be asked."""
    validate(reference, degraded)
    rate = next((r for r in model.rates if r <= reference.sample_rate), None)
    if rate is None:
        least = min(model.rates)
        return f"{model.name} needs {least} Hz, this is at {reference.sample_rate} Hz"
    for name, audio in (("reference", reference), ("degraded signal", degraded)):
        speech = speech_secs(audio)
        if audio.duration < _LEAST_SECS or speech < _LEAST_SPEECH:
            return (
                f"the {name} holds {speech:.1f} s of speech in {audio.duration:.1f} s, wanted "
                f"{_LEAST_SPEECH:g} in {_LEAST_SECS:g}"
            )
    _, *aligned = align(reference, degraded)
    one, other = (_levelled(audio.resampled(rate)) for audio in aligned)
    return [(one.samples[span], other.samples[span]) for span in segments(one)]


def _none(reason: str) -> Opinion:
    return Opinion(math.nan, reason=reason)


def _levelled(audio: Audio) -> Audio:
    gain = 10 ** ((_LEVEL_DBOV - active_level(audio)) / 20)
    return Audio(np.clip(audio.samples * np.float32(gain), -1, 1), audio.sample_rate)


# -- the worker --------------------------------------------------------------------------------


def _asked(model: Model, pairs: Sequence[Pair], rate: int, time_limit: float) -> list[float] | str:
    """Let another process score the segments: the scores, or why not all went well."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("worker.py"))]
    task = pickle.dumps((sys.path, model.scorer, pairs, rate))
    try:
        run = subprocess.run(command, input=task, capture_output=True, timeout=time_limit)
    except subprocess.TimeoutExpired:
        return f"{model.name} took more than {time_limit:.0f} s"
    except OSError as error:
        return f"no process could be started for {model.name}: {error.strerror}"
    if run.returncode:
        return f"{model.name} {_death(run.returncode)}"
    try:
        answer = json.loads(run.stdout.splitlines()[-1])
        scores, problem = [float(score) for score in answer["scores"]], str(answer["problem"])
    except (ValueError, LookupError, TypeError):
        return f"{model.name} gave no answer"
    if problem:
        return problem
    low, high = model.scale
    for score in scores:
        if not low <= score <= high:
            return f"{model.name} gave {score:g}, its scale is {low:g} to {high:g}"
    if len(scores) != len(pairs):
        return f"{model.name} scored {len(scores)} of {len(pairs)} segments"
    return scores


def _death(code: int) -> str:
    if code > 0:
        return f"ended with code {code}"
    try:
        return f"crashed: {signal.Signals(-code).name}"
    except ValueError:
        return f"crashed: signal {-code}"
