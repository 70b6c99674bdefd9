"""One outbound setting on one far leg: what the caller would hear, beside what the bot said.

A trial sends the bot's audio through the serializer (:mod:`workbench.replay`), decodes it, lets it
travel over a leg (:mod:`workbench.farleg`), and lines it up with what the bot said. Speech is what
is compared: pauses of the reference longer than half a second are cut out of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.encodings import FORMATS, PCMU
from workbench.alignment import shifted
from workbench.audio import Audio
from workbench.farleg import Leg
from workbench.levels import speech_activity
from workbench.replay import Replay, replay
from workbench.said import Source

__all__ = ["SETTINGS", "Setting", "Trial", "distinct", "run_trials"]

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
        ValueError: If two have one label: they would send the same audio.
    """
    given = tuple(settings)
    labels = [setting.label for setting in given]
    if len(set(labels)) < len(labels) or not labels:
        raise ValueError(f"settings are {', '.join(labels) or 'none'}, wanted different ones")
    return given


@dataclass(frozen=True, eq=False)
class Trial:
    """What became of the bot's voice.

    Parameters:
        setting: Of the serializer and the pipeline.
        leg: The far leg that is assumed.
        replay: The pass through the serializer.
        heard: What the caller hears, at the leg's rate, in step with ``replay.said``.
        reference: Speech as the bot said it, at :data:`COMMON_RATE` or its own lower rate.
        degraded: The same speech as it is heard, at that rate; both are empty without speech.
    """

    setting: Setting
    leg: Leg
    replay: Replay
    heard: Audio
    reference: Audio
    degraded: Audio


def run_trials(call: Source, setting: Setting, legs: Sequence[Leg]) -> list[Trial]:
    """Try one setting on several legs.

    Args:
        call: As :func:`workbench.replay.replay` takes it.
        setting: What to try.
        legs: The far legs.

    Returns:
        One trial for each leg, in their order.

    Raises:
        ValueError: If the bot said nothing.
    """
    passed = replay(call, setting.params, audio_out_sample_rate=setting.audio_out_sample_rate)
    rate = min(COMMON_RATE, passed.said.sample_rate)
    said = passed.said.resampled(rate)
    spoken = _spoken(said)
    trials = []
    for leg in legs:
        heard = _in_step(passed, leg.apply(passed.sent))
        _, degraded = _equal_length(said, heard.resampled(rate))
        pair = (Audio(audio.samples[spoken], rate) for audio in (said, degraded))
        trials.append(Trial(setting, leg, passed, heard, *pair))
    return trials


def _in_step(passed: Replay, heard: Audio) -> Audio:
    """Take the serializer's delay out, and make it as long as what was said."""
    n = round(passed.said.duration * heard.sample_rate)
    said = Audio(np.zeros(max(n, 1), np.float32), heard.sample_rate)
    _, moved = shifted(said, heard, passed.offset_ms)
    return _equal_length(said, moved)[1]


def _equal_length(reference: Audio, audio: Audio) -> tuple[Audio, Audio]:
    """Pad or cut the second signal to the length of the first."""
    n = len(reference.samples)
    samples = audio.samples[:n]
    if samples.size < n:
        samples = np.pad(samples, (0, n - samples.size))
    return reference, Audio(samples, audio.sample_rate)


def _spoken(said: Audio) -> NDArray[np.bool_]:
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
