"""What a choice needs to know of a call besides its scores; small enough to send about."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from pipecat_bandwidth import BandwidthFrameSerializer
from workbench.audio import Audio
from workbench.call import Call
from workbench.exceptions import MetricWarning
from workbench.metrics.spectra import effective_bandwidth
from workbench.metrics.speech_level import speech_secs
from workbench.tuning.carrier_recording import MeasuredLeg, measured
from workbench.tuning.stalls import Stalls, handed_over, stalls_of
from workbench.tuning.voice import Source, voice_of

__all__ = ["OUTBOUND", "Facts", "common_params", "copies", "facts_of", "params_of"]

#: The parameters that are tuned.
OUTBOUND: Final = ("outbound_encoding", "outbound_pcm_sample_rate", "outbound_cushion_ms")


@dataclass(frozen=True)
class Facts:
    """About one call in which the bot spoke.

    Parameters:
        sample_rate: At which the pipeline spoke, in hertz.
        speech_secs: How much speech there is.
        reach_hz: Up to where the voice reaches; NaN without speech.
        params: The serializer's as captured, without those that are tuned; ``None`` if unknown.
        fingerprint: What it is recognised by: its name and SHA-256.
        leg: What to go by of the carrier's recording; ``None`` if there is none, or it does not tell.
        recording: What can be said of that recording; empty if there is none.
        stalls: What cushions would have made of it; ``None`` if it does not tell when its frames
            were, as audio alone does not.
    """

    sample_rate: int
    speech_secs: float
    reach_hz: float
    params: dict[str, Any] | None
    fingerprint: dict[str, str]
    leg: str | None = None
    recording: str = ""
    stalls: Stalls | None = None


def facts_of(source: Source, recording: Audio | MeasuredLeg | None = None) -> Facts | None:
    """Collect the facts of a call; ``None`` if the bot said nothing in it.

    Args:
        source: The call.
        recording: The carrier's. One that does not hold the call tells nothing, which is said.
    """
    try:
        said = voice_of(source).audio
    except ValueError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        reach = effective_bandwidth(said)
    leg, shown = _shown(source, recording)
    return Facts(
        sample_rate=said.sample_rate,
        speech_secs=speech_secs(said),
        reach_hz=reach,
        params=_params(source),
        fingerprint=_fingerprint(source, said),
        leg=leg,
        recording=shown,
        stalls=_stalls(source),
    )


def _stalls(source: Source) -> Stalls | None:
    if not isinstance(source, Call):
        return None
    handed = handed_over(source)
    return None if handed is None else stalls_of(handed)


def _shown(source: Source, recording: Audio | MeasuredLeg | None) -> tuple[str | None, str]:
    if recording is None:
        return None, ""
    try:
        found = measured(source, recording)
    except ValueError as error:
        return None, str(error)
    return found.stands_for, found.sentence


def copies(facts: Sequence[Facts | None]) -> dict[int, int]:
    """Find calls that were given twice: a call would seem to agree with itself.

    Args:
        facts: Of each call; ``None`` for those without.

    Returns:
        The number of the first, by the number of each copy.
    """
    first: dict[str, int] = {}
    again = {}
    for number, fact in enumerate(facts):
        if fact is not None:
            same = first.setdefault(fact.fingerprint["sha256"], number)
            if same != number:
                again[number] = same
    return again


def params_of(
    sources: Sequence[Source],
) -> tuple[BandwidthFrameSerializer.InputParams, list[str]]:
    """The parameters that captured calls ran with; defaults, and a remark, if they differ."""
    return common_params([_params(source) for source in sources])


def common_params(
    params: Sequence[dict[str, Any] | None],
) -> tuple[BandwidthFrameSerializer.InputParams, list[str]]:
    """The same from what the :class:`Facts` of the calls say."""
    kind = BandwidthFrameSerializer.InputParams
    found = [fields for fields in params if fields is not None]
    if not found:
        return kind(), []
    if all(fields == found[0] for fields in found):
        return kind.model_validate(found[0]), []
    return kind(), ["The calls ran with different parameters; those not tuned here have defaults."]


def _params(source: Source) -> dict[str, Any] | None:
    recorded = getattr(source, "params", {})
    if not recorded:
        return None  # no capture, or one that does not tell
    try:
        params = BandwidthFrameSerializer.InputParams.model_validate(recorded)
    except ValueError:
        return None  # one of another serializer
    return params.model_dump(exclude=set(OUTBOUND))


def _fingerprint(source: Source, said: Audio) -> dict[str, str]:
    path = getattr(source, "path", None)
    if path is None:
        return {"audio": f"{said.duration:.3f} s", "sha256": sha256(said.pcm()).hexdigest()}
    digest = sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"file": Path(path).name, "sha256": digest.hexdigest()}
