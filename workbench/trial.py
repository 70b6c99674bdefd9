"""One outbound setting on one far leg: what the caller would hear, beside what the bot said.

A trial sends the bot's audio through the serializer (:mod:`workbench.replay`), decodes it, lets it
travel over a leg (:mod:`workbench.farleg`), and lines it up with what the bot said. Speech is what
is compared: pauses of the reference longer than half a second are cut out of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.encodings import FORMATS, PCMU
from workbench.alignment import shifted
from workbench.audio import Audio
from workbench.farleg import Leg
from workbench.levels import speech_activity
from workbench.metrics import Prepared, evaluate_aligned
from workbench.replay import Replay, replay
from workbench.said import Said, Source, said_by_bot
from workbench.segments import segments

__all__ = ["SETTINGS", "Setting", "Spoken", "Trial", "distinct", "run_trials"]

#: Signals are compared at this rate: every leg here fits under it. A reference of a lower rate
#: keeps its own.
COMMON_RATE: Final = 16000

#: Pauses up to this long stay, in seconds; and so much before speech, where it rises.
_LONGEST_PAUSE: Final = 0.5
_ONSET: Final = 0.05


@dataclass(frozen=True)
class Setting:
    """An outbound setting: what the serializer is given, and at which rate the pipeline runs.

    Parameters:
        params: The serializer's.
        audio_out_sample_rate: Of the pipeline, in hertz; ``None`` for the rate of the capture.
    """

    params: BandwidthFrameSerializer.InputParams
    audio_out_sample_rate: int | None = None

    @property
    def wire_rate(self) -> int:
        """Rate of the audio on the wire, in hertz."""
        if self.params.outbound_encoding == "PCMU":
            return PCMU.sample_rate
        return self.params.outbound_pcm_sample_rate

    @property
    def label(self) -> str:
        """Short name: ``PCMU``, ``PCM 16 kHz``, ``PCMU from 8 kHz``."""
        wire = "PCMU" if self.params.outbound_encoding == "PCMU" else f"PCM {_khz(self.wire_rate)}"
        rate = self.audio_out_sample_rate
        return wire if rate is None else f"{wire} from {_khz(rate)}"

    def __str__(self) -> str:
        return self.label

    def __hash__(self) -> int:
        return hash((self.params.model_dump_json(), self.audio_out_sample_rate))


def _khz(rate: int) -> str:
    return f"{rate / 1000:g} kHz"


def _outbound(encoding: str, rate: int) -> BandwidthFrameSerializer.InputParams:
    fields = {"outbound_encoding": encoding}
    if encoding == "PCM":
        fields |= {"outbound_pcm_sample_rate": rate}  # type: ignore[dict-item]
    return BandwidthFrameSerializer.InputParams.model_validate(fields)


#: Every format that Bandwidth takes, cheapest first.
SETTINGS: Final[tuple[Setting, ...]] = tuple(
    Setting(_outbound(form.encoding, form.sample_rate)) for form in FORMATS
)


def distinct(settings: Iterable[Setting]) -> tuple[Setting, ...]:
    """Take settings that can be told apart by their labels.

    Raises:
        ValueError: If two have one label, as they would send the same audio; or there is none.
    """
    given = tuple(settings)
    labels = [setting.label for setting in given]
    if len(set(labels)) < len(labels) or not labels:
        raise ValueError(f"settings must differ, got {', '.join(labels) or 'none'}")
    return given


class Spoken:
    """What the bot said (:class:`workbench.said.Said`), made ready for trials to be compared with.

    ``said`` is what goes into the serializer; the rest is what measuring takes: one rate, long
    pauses cut out, segments. Each thing is made when first asked for and kept, so that all settings
    and legs share it. What is sent to another process is what was said, and no more.

    Parameters:
        call: As :func:`workbench.replay.replay` takes it.

    Raises:
        ValueError: If the bot said nothing.
    """

    def __init__(self, call: Source) -> None:
        """Collect what was said."""
        self.said: Final[Said] = said_by_bot(call)

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
        return Audio(self.whole.samples[self.kept], self.whole.sample_rate)

    @cached_property
    def segments(self) -> tuple[tuple[slice, Prepared], ...]:
        """Where in ``speech`` its segments are, and each of them."""
        return tuple((span, Prepared(_part(self.speech, span))) for span in segments(self.speech))

    def __reduce__(self) -> tuple[Any, ...]:
        return Spoken, (Said(self.said.stretches, self.said.sample_rate),)


@dataclass(frozen=True, eq=False)
class Trial:
    """What became of the bot's voice.

    Parameters:
        setting: Of the serializer and the pipeline.
        leg: The far leg that is assumed.
        replay: The pass through the serializer.
        heard: What the caller hears, at the leg's rate, in step with ``replay.said``.
        spoken: What the bot said.
        degraded: Its speech as it is heard, in step with ``spoken.speech``; empty without speech.
    """

    setting: Setting
    leg: Leg
    replay: Replay
    heard: Audio
    spoken: Spoken
    degraded: Audio

    @property
    def reference(self) -> Audio:
        """Speech as the bot said it, at :data:`COMMON_RATE` or its own lower rate."""
        return self.spoken.speech

    def scores(self, metrics: Sequence[str]) -> Iterator[dict[str, float]]:
        """Measure segment by segment (:mod:`workbench.segments`), the same ones in every trial.

        Args:
            metrics: Names of :func:`workbench.metrics.evaluate_aligned`.

        Raises:
            ValueError: For an unknown name.
        """
        for span, reference in self.spoken.segments:
            yield evaluate_aligned(reference, _part(self.degraded, span), metrics)


def _part(audio: Audio, span: slice) -> Audio:
    return Audio(audio.samples[span], audio.sample_rate)


def run_trials(call: Source | Spoken, setting: Setting, legs: Sequence[Leg]) -> list[Trial]:
    """Try one setting on several legs.

    Args:
        call: As :func:`workbench.replay.replay` takes it, or what was said in it.
        setting: What to try.
        legs: The far legs.

    Returns:
        One trial for each leg, in their order.

    Raises:
        ValueError: If the bot said nothing.
    """
    spoken = call if isinstance(call, Spoken) else Spoken(call)
    rate = setting.audio_out_sample_rate
    passed = replay(spoken.said, setting.params, audio_out_sample_rate=rate)
    trials = []
    for leg in legs:
        heard = _in_step(passed, leg.apply(passed.sent))
        whole = _as_long(heard.resampled(spoken.whole.sample_rate), len(spoken.whole))
        degraded = Audio(whole.samples[spoken.kept], whole.sample_rate)
        trials.append(Trial(setting, leg, passed, heard, spoken, degraded))
    return trials


def _in_step(passed: Replay, heard: Audio) -> Audio:
    """Take the serializer's delay out, and make it as long as what was said."""
    n = round(passed.said.duration * heard.sample_rate)
    said = Audio(np.zeros(max(n, 1), np.float32), heard.sample_rate)
    _, moved = shifted(said, heard, passed.offset_ms)
    return _as_long(moved, n)


def _as_long(audio: Audio, n: int) -> Audio:
    """Pad or cut a signal to n samples."""
    samples = audio.samples[:n]
    if samples.size < n:
        samples = np.pad(samples, (0, n - samples.size))
    return Audio(samples, audio.sample_rate)


def _without_pauses(said: Audio) -> NDArray[np.bool_]:
    """Mark speech, its onsets and its short pauses."""
    active = speech_activity(said)
    edges = np.flatnonzero(np.diff(active.astype(np.int8), 1, 0, 0))
    starts, ends = edges[::2], np.append(edges[1::2], active.size)[: edges[::2].size]
    spoken = np.zeros(active.size, np.bool_)
    previous = -np.inf
    for start, end in zip(starts, ends, strict=True):
        begin = start - round(_ONSET * said.sample_rate)
        joined = begin - previous <= _LONGEST_PAUSE * said.sample_rate
        spoken[max(0, int(previous) if joined else begin) : end] = True
        previous = end
    return spoken
