"""Settings of the serializer, and the JSON file that keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pipecat.serializers.base_serializer import FrameSerializer
from pydantic import ConfigDict, Field, ValidationError

from pipecat_bandwidth.encodings import Encoding, PCMRate

__all__ = ["InputParams"]


class InputParams(FrameSerializer.InputParams):
    """Configuration of a :class:`pipecat_bandwidth.serializer.BandwidthFrameSerializer`.

    Unknown names and values of a wrong type are refused.

    Parameters:
        bandwidth_sample_rate: Rate of the caller's audio on the wire, in hertz: always 8000.
        sample_rate: Rate of the caller's audio in the pipeline, in hertz; ``None`` for the
            pipeline's own ``audio_in_sample_rate``.
        outbound_encoding: ``"PCMU"`` (mu-law, 8 kHz) or ``"PCM"`` (16 bits, at
            ``outbound_pcm_sample_rate``).
        outbound_pcm_sample_rate: In hertz; used with ``"PCM"``.
        outbound_cushion_ms: So much silence, 0 to 1000 ms, begins each utterance of the bot; what
            is queued at the far end already counts. It delays the utterance, and later stalls up
            to that long in all are not heard.
        auto_hang_up: Whether an EndFrame or a CancelFrame ends the call.
        hang_up_after_secs: How long an EndFrame waits at most, in seconds, 0 to 60, until the last
            sound of the bot has been played: then the call is hung up. 0 hangs up at once, and a
            CancelFrame always does. Silence behind the last word is not waited for.
        ignore_rtvi_messages: Inherited from Pipecat, where it is True: RTVI messages are for
            apps and do not belong on a phone line.
        resampler_clear_after_secs: Reset the resamplers after so many seconds without audio. The
            default ``None``, never, is right: they hold only 4 ms.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    bandwidth_sample_rate: Literal[8000] = 8000
    sample_rate: Literal[8000, 16000, 22050, 24000, 32000, 44100, 48000] | None = None
    outbound_encoding: Encoding = "PCMU"
    outbound_pcm_sample_rate: PCMRate = 24000
    outbound_cushion_ms: int = Field(default=0, ge=0, le=1000)
    auto_hang_up: bool = True
    hang_up_after_secs: float = Field(default=3.0, ge=0, le=60, allow_inf_nan=False)
    resampler_clear_after_secs: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read parameters from a JSON file.

        Args:
            path: A file of :meth:`save`, or one that holds such an object under ``"params"``.

        Raises:
            ValueError: If the file cannot be read, is not JSON, or holds an unknown name or a
                value of a wrong type; the message names file and key.
        """
        try:
            fields = json.loads(Path(path).read_text("utf-8-sig"))
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not JSON: {error}") from None
        if isinstance(fields, dict) and "params" in fields:
            fields = fields["params"]
        if not isinstance(fields, dict):
            raise ValueError(f"{path}: not an object but {type(fields).__name__}")
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            problems = "; ".join(_problem(cls, item) for item in error.errors())
            raise ValueError(f"{path}: {problems}") from None

    def save(self, path: str | Path) -> None:
        """Write all parameters to a JSON file."""
        Path(path).write_text(self.model_dump_json(indent=2) + "\n", "utf-8")


def _problem(params: type[FrameSerializer.InputParams], error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown, there are: {', '.join(params.model_fields)}"
    return f"{key}: {error['msg']}, not {error['input']!r:.60}"
