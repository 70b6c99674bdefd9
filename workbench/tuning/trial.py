"""One outbound setting on one far leg: what the caller would hear, beside what the bot said.

A trial sends the bot's audio through the serializer (:mod:`workbench.tuning.resend`), decodes it,
lets it travel over a leg (:mod:`workbench.tuning.legs`), and lines it up with what the bot said.
Only speech is compared: pauses of the reference longer than half a second are cut out of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.metrics.alignment import advanced
from workbench.metrics.distances import Prepared, evaluate_aligned
from workbench.metrics.segments import segments
from workbench.metrics.speech_level import speech_activity
from workbench.tuning.legs import Leg
from workbench.tuning.resend import Resent, resend
from workbench.tuning.settings import Setting
from workbench.tuning.voice import Source, Voice, voice_of

__all__ = ["Spoken", "Trial", "run_trials", "scored"]

#: Signals are compared at this rate: every leg here fits under it. A reference of a lower rate
#: keeps its own.
COMMON_RATE: Final = 16000

#: So much of a call is enough for a remark, in seconds.
BRIEF_SECS: Final = 5.0

#: Pauses up to this long stay, in seconds; and this much before speech, for its onset.
_LONGEST_PAUSE: Final = 0.5
_ONSET: Final = 0.05
#: Samples that are copied at once.
_BLOCK: Final = 1 << 18


class Spoken:
    """What the bot said, made ready for trials to be compared with.

    ``said`` is what goes into the serializer; the rest is for measuring: one rate, long pauses cut
    out, segments. Each is made when first asked for, and kept, so that all settings and legs share
    it. Another process is sent what was said, and no more.

    Parameters:
        call: As :func:`workbench.tuning.resend.resend` takes it.

    Raises:
        ValueError: If the bot said nothing.
    """

    def __init__(self, call: Source) -> None:
        """Collect what was said."""
        self.said: Final[Voice] = voice_of(call)

    @cached_property
    def whole(self) -> Audio:
        """All of ``said``, at :data:`COMMON_RATE` or its own lower rate."""
        return self.said.audio.resampled(min(COMMON_RATE, self.said.sample_rate))

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Which samples of ``whole`` are speech, its onsets and its short pauses."""
        return _without_pauses(self.whole)

    @cached_property
    def speech(self) -> Audio:
        """These samples."""
        return _kept_of(self.whole, self.kept)

    @cached_property
    def segments(self) -> tuple[slice, ...]:
        """Where in ``speech`` its segments are."""
        return tuple(segments(self.speech))

    @cached_property
    def begins(self) -> float:
        """When speech begins, in seconds."""
        return float(np.argmax(self.kept)) / self.whole.sample_rate

    @cached_property
    def brief(self) -> Spoken:
        """The first :data:`BRIEF_SECS` from where speech begins, for legs whose codec is slow."""
        return Spoken(self.said.audio.span(self.begins, self.begins + BRIEF_SECS))

    def __reduce__(self) -> tuple[Any, ...]:
        return Spoken, (Voice(self.said.runs, self.said.sample_rate),)


@dataclass(frozen=True, eq=False)
class Trial:
    """What became of the bot's voice.

    Parameters:
        setting: Of the serializer and the pipeline.
        leg: The far leg that is assumed.
        resent: The pass through the serializer.
        heard: What the caller hears, at the leg's rate, in step with ``resent.said``.
        spoken: What the bot said.
        degraded: Its speech as it is heard, in step with ``spoken.speech``; empty without speech.
    """

    setting: Setting
    leg: Leg
    resent: Resent
    heard: Audio
    spoken: Spoken
    degraded: Audio

    @property
    def reference(self) -> Audio:
        """Speech as the bot said it, at :data:`COMMON_RATE` or its own lower rate."""
        return self.spoken.speech

    def scores(self, metrics: Sequence[str]) -> Iterator[dict[str, float]]:
        """Measure segment by segment, the same segments in every trial.

        Args:
            metrics: Names of :func:`workbench.metrics.distances.evaluate_aligned`.

        Raises:
            ValueError: For an unknown name.
        """
        for span in self.spoken.segments:
            yield from scored([self], span, metrics)


def scored(trials: Sequence[Trial], span: slice, metrics: Sequence[str]) -> list[dict[str, float]]:
    """Measure one segment in several trials of what was said: what is known of it is known once.

    Args:
        trials: Of the same :class:`Spoken`.
        span: The segment.
        metrics: Names of :func:`workbench.metrics.distances.evaluate_aligned`.

    Returns:
        For each trial, by name.

    Raises:
        ValueError: For an unknown name.
    """
    reference = Prepared(_part(trials[0].reference, span))
    found = []
    for trial in trials:
        found.append(evaluate_aligned(reference, _part(trial.degraded, span), metrics))
        mapped.let_go(trial.degraded.samples[span])
    mapped.let_go(reference.audio.samples)
    return found


def _part(audio: Audio, span: slice) -> Audio:
    return Audio(audio.samples[span], audio.sample_rate)


def run_trials(
    call: Source | Spoken, setting: Setting, legs: Sequence[Leg], brief: Sequence[Leg] = ()
) -> list[Trial]:
    """Try one setting on several legs.

    Args:
        call: As :func:`workbench.tuning.resend.resend` takes it, or what was said in it.
        setting: What to try.
        legs: The far legs.
        brief: Further ones, which only the beginning of the speech travels over.

    Returns:
        One trial for each leg, in their order.

    Raises:
        ValueError: If the bot said nothing.
    """
    spoken = call if isinstance(call, Spoken) else Spoken(call)
    rate = setting.audio_out_sample_rate
    passed = resend(spoken.said, setting.params, audio_out_sample_rate=rate)
    trials = [_trial(spoken, setting, leg, passed) for leg in legs]
    if brief:
        start, beginning = spoken.begins, spoken.brief
        sent = passed.sent.span(start, start + BRIEF_SECS + 0.1)
        cut = replace(passed, said=beginning.said.audio, sent=sent)
        trials += [_trial(beginning, setting, leg, cut) for leg in brief]
    return trials


def _trial(spoken: Spoken, setting: Setting, leg: Leg, passed: Resent) -> Trial:
    heard = _in_step(passed, leg.apply(passed.sent))
    whole = _as_long(heard.resampled(spoken.whole.sample_rate), len(spoken.whole))
    return Trial(setting, leg, passed, heard, spoken, _kept_of(whole, spoken.kept))


def _in_step(passed: Resent, heard: Audio) -> Audio:
    """Take the serializer's delay out, and make it as long as what was said."""
    n = round(passed.said.duration * heard.sample_rate)
    return _as_long(advanced(heard, passed.offset_ms, max(n, 1)), n)


def _as_long(audio: Audio, n: int) -> Audio:
    """Pad or cut a signal to n samples."""
    samples = audio.samples[:n]
    if samples.size < n:
        longer: NDArray[np.float32] = mapped.zeros(n, np.float32)
        for first, block in mapped.blocks(samples, _BLOCK):
            longer[first : first + block.size] = block
            mapped.let_go(longer[first : first + block.size])
        samples = longer
    return Audio(samples, audio.sample_rate)


def _kept_of(audio: Audio, kept: NDArray[np.bool_]) -> Audio:
    """The samples that are kept, one behind the other."""
    filled = 0
    count = sum(int(np.count_nonzero(block)) for _, block in mapped.blocks(kept, _BLOCK))
    speech: NDArray[np.float32] = mapped.zeros(count, np.float32)
    for (_, block), (_, which) in zip(
        mapped.blocks(audio.samples, _BLOCK), mapped.blocks(kept, _BLOCK), strict=True
    ):
        some = block[which]
        part = speech[filled : filled + some.size]
        part[:] = some
        mapped.let_go(part)
        filled += some.size
    return Audio(speech, audio.sample_rate)


def _without_pauses(said: Audio) -> NDArray[np.bool_]:
    """Mark speech, its onsets and its short pauses."""
    active = speech_activity(said)
    changes, last = [np.empty(0, np.intp)], False
    for first, block in mapped.blocks(active, _BLOCK):
        changes.append(first + np.flatnonzero(np.diff(block, prepend=last)))
        last = bool(block[-1])
    edges = np.concatenate(changes)
    starts, ends = edges[::2], np.append(edges[1::2], active.size)[: edges[::2].size]
    spoken: NDArray[np.bool_] = mapped.zeros(active.size, np.bool_)
    previous = -np.inf
    for start, end in zip(starts, ends, strict=True):
        begin = start - round(_ONSET * said.sample_rate)
        joined = begin - previous <= _LONGEST_PAUSE * said.sample_rate
        stretch = spoken[max(0, int(previous) if joined else begin) : end]
        stretch[:] = True
        mapped.let_go(stretch)
        previous = end
    return spoken
