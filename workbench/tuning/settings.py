"""An outbound setting: the serializer's parameters and the pipeline's rate, and those that are tried."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.encodings import FORMATS, PCMU

__all__ = ["SETTINGS", "Setting", "distinct"]


@dataclass(frozen=True)
class Setting:
    """An outbound setting: what the serializer is given, and at which rate the pipeline runs.

    Parameters:
        params: The serializer's.
        audio_out_sample_rate: Of the pipeline, in hertz; ``None`` for the rate of the capture.

    Example::

        >>> print(*SETTINGS, sep=", ")
        PCMU, PCM 8 kHz, PCM 16 kHz, PCM 24 kHz
        >>> print(Setting(BandwidthFrameSerializer.InputParams(), 8000))
        PCMU from 8 kHz
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
    """Check that settings can be told apart by their labels.

    Raises:
        ValueError: If two have one label, as they would send the same audio; or there is none.
    """
    given = tuple(settings)
    labels = [setting.label for setting in given]
    if len(set(labels)) < len(labels) or not labels:
        raise ValueError(f"settings must differ, got {', '.join(labels) or 'none'}")
    return given
