"""The outbound setting to use for calls like these: which, why, and how sure.

Every setting is tried on what the bot said in every call (:mod:`workbench.trial`), over the far leg
that is assumed. Speech is cut into segments of some ten seconds; an objective scores each; settings
are compared segment by segment (:mod:`workbench.tuning.choice`). Where they cannot be told apart, the one
with the fewest bits on the wire is taken.

The objective is by default the spectral distance to what the bot said, over the band that the leg
carries: it sees quantisation, filtering and missing bands, and it does not reward loudness. Less
than 0.5 dB of it is taken for no difference (:mod:`workbench.objective`).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from pipecat_bandwidth import BandwidthFrameSerializer
from workbench.audio import Audio
from workbench.comparison import legs_named
from workbench.farleg import LEGS, Leg
from workbench.levels import MetricWarning, effective_bandwidth, speech_activity
from workbench.objective import OBJECTIVES, Objective, objective_for
from workbench.said import Source, said_by_bot
from workbench.trial import COMMON_RATE, SETTINGS, Setting, distinct
from workbench.tuning.scores import score
from workbench.tuning.verdict import COSTS, SURE, judge

if TYPE_CHECKING:
    from workbench.call import Call

__all__ = ["TuningResult", "as_code", "params_of", "tune"]

#: The parameters that are tuned.
_OUTBOUND: Final = ("outbound_encoding", "outbound_pcm_sample_rate")


@dataclass(frozen=True, eq=False)
class TuningResult:
    """What to use.

    Parameters:
        setting: The choice.
        params: The serializer's parameters: those of the captures, the outbound ones chosen.
        table: One row for each leg and setting, as in :class:`workbench.tuning.verdict.Verdict`.
        why: The reasons, in sentences; the first says what to take.
        advice: What else to change, outside of these parameters.
        ties: Settings that cannot be told apart from the best, the chosen one first.
        confidence: Share of resamplings that lead to the same choice, 0 to 1; NaN when there is
            too little speech to tell.
        elsewhere: What would be chosen on other legs.
        provenance: What it was found from: captures with their SHA-256, leg, objective, versions.
    """

    setting: Setting
    params: BandwidthFrameSerializer.InputParams
    table: pd.DataFrame
    why: list[str]
    advice: list[str]
    ties: tuple[str, ...]
    confidence: float
    elsewhere: dict[str, str]
    provenance: dict[str, Any]

    @property
    def is_sure(self) -> bool:
        """Whether at least 95 % of the resamplings agree."""
        return self.confidence >= SURE

    @property
    def code(self) -> str:
        """The line to paste into the call of ``BandwidthFrameSerializer``."""
        return as_code(self.params)

    def export(self, path: str | Path) -> None:
        """Write JSON that ``BandwidthFrameSerializer.InputParams.load`` reads.

        Args:
            path: The file. It holds the parameters, and where they come from.
        """
        content = {"params": self.params.model_dump(mode="json"), "provenance": self.provenance}
        Path(path).write_text(json.dumps(content, indent=2) + "\n", "utf-8")

    def __str__(self) -> str:
        return "\n".join([*self.why, *self.advice, self.code])

    def __repr__(self) -> str:
        return f"TuningResult({self.setting.label}, confidence={self.confidence:.2f})"

    def _repr_html_(self) -> str:
        first, *rest = map(escape, [*self.why, *self.advice])
        items = "".join(f"<li>{sentence}</li>" for sentence in rest)
        table = self.table.to_html(index=False, float_format=lambda v: f"{v:.3g}", border=0)
        code = f"<pre>{escape(self.code)}</pre>"
        return f"<p><b>{first}</b></p><ul>{items}</ul>{code}{table}"


def as_code(params: BandwidthFrameSerializer.InputParams) -> str:
    """Write parameters as the line to paste into the call of ``BandwidthFrameSerializer``."""
    given = {"outbound_encoding": params.outbound_encoding}
    if params.outbound_encoding == "PCM":
        given["outbound_pcm_sample_rate"] = params.outbound_pcm_sample_rate  # type: ignore[assignment]
    given |= params.model_dump(exclude_defaults=True, exclude=set(_OUTBOUND))
    fields = ", ".join(f"{name}={value!r}" for name, value in given.items())
    return f"params=BandwidthFrameSerializer.InputParams({fields})".replace("'", '"')


def tune(
    calls: Call | Audio | Iterable[Source],
    objective: str | Objective | None = None,
    constraints: Mapping[str, float] | None = None,
    *,
    leg: str | Leg = "G.711",
    settings: Iterable[Setting] | None = None,
    executor: Executor | None = None,
    seed: int = 0,
) -> TuningResult:
    """Choose the outbound setting for calls like these.

    Args:
        calls: One or several of what :func:`workbench.replay.replay` takes: calls, or audio of
            the bot's speech.
        objective: A name of :data:`~workbench.objective.OBJECTIVES`, or your own; by default the
            spectral distance over the leg's band.
        constraints: At most so much ``kbit_s`` and ``delay_ms``; metrics of OBJECTIVES at least,
            or for distances at most, so much.
        leg: The far leg that is assumed: a name of :data:`~workbench.farleg.LEGS`, or your own.
        settings: What to choose from; by default PCMU and PCM at 8, 16 and 24 kHz.
        executor: Where calls and settings are tried, side by side; threads by default. Those of
            other processes and of Dask need ``calls`` that can be pickled, such as Audio.
        seed: Of the resampling.

    Raises:
        ValueError: If no call holds audio of the bot, for an unknown name, or if no setting
            fulfils the constraints; the message says what there is.
    """
    sources = list(calls) if isinstance(calls, Iterable) else [calls]
    tried = distinct(settings or SETTINGS)
    limits = dict(constraints or {})
    _known("constraint", limits, [*COSTS, *OBJECTIVES])
    (assumed,) = legs_named(leg)
    legs = [assumed, *(LEGS[name] for name in ("G.711", "G.722") if name != assumed.name)]
    spoken = [(source, said) for source in sources if (said := _said(source)) is not None]
    if not spoken:
        raise ValueError(f"in none of {len(sources)} calls the bot said anything")
    rate = min(COMMON_RATE, max(said.sample_rate for _, said in spoken))
    goals = [_goal(objective, far, rate) for far in legs]
    metrics = sorted({goal.metric for goal in goals} | (limits.keys() - COSTS.keys()))
    speech = sum(np.count_nonzero(speech_activity(a)) / a.sample_rate for _, a in spoken)

    scores = score([source for source, _ in spoken], tried, legs, metrics, executor)
    chosen, *others = (
        judge(
            scores, far.name, goal, tried,
            limits=limits if far is assumed else {}, speech_secs=speech, seed=seed,
        )
        for far, goal in zip(legs, goals, strict=True)
    )  # fmt: skip
    elsewhere = {far.name: o.setting.label for far, o in zip(legs[1:], others, strict=True)}
    why = list(chosen.why)
    if len(spoken) < len(sources):
        why.append(f"The bot said nothing in {len(sources) - len(spoken)} of {len(sources)} calls.")
    why += [f"Were the callers on {far}, it would be {label}." for far, label in elsewhere.items()]
    why.append(
        f"Assumed of the far end, which no capture shows: {assumed.name}. {assumed.description}"
    )
    base, remark = params_of([source for source, _ in spoken])
    outbound = {name: getattr(chosen.setting.params, name) for name in _OUTBOUND}
    return TuningResult(
        setting=chosen.setting,
        params=base.model_copy(update=outbound),
        table=pd.concat([chosen.table, *(o.table for o in others)], ignore_index=True),
        why=why,
        advice=[*_advice(chosen.setting, [said for _, said in spoken]), *remark],
        ties=chosen.ties,
        confidence=chosen.confidence,
        elsewhere=elsewhere,
        provenance={
            "captures": [_fingerprint(source, said) for source, said in spoken],
            "leg": assumed.name,
            "objective": str(goals[0]),
            "constraints": limits,
            "speech_secs": round(speech, 1),
            "confidence": None if np.isnan(chosen.confidence) else chosen.confidence,
            **_circumstances(),
        },
    )


_PACKAGES: Final = ("pipecat-bandwidth-workbench", "pipecat-ai", "numpy", "scipy")


def _circumstances() -> dict[str, Any]:
    return {
        "versions": {name: version(name) for name in _PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _said(source: Source) -> Audio | None:
    try:
        return said_by_bot(source).audio
    except ValueError:
        return None


def _known(what: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} {name!r}, there are: {', '.join(known)}")


def _goal(objective: str | Objective | None, leg: Leg, rate: int) -> Objective:
    if objective is None:
        return objective_for(leg, rate)
    if isinstance(objective, str):
        _known("objective", [objective], list(OBJECTIVES))
        return OBJECTIVES[objective]
    return objective


def params_of(
    sources: Sequence[Source],
) -> tuple[BandwidthFrameSerializer.InputParams, list[str]]:
    """Read which parameters captured calls ran with.

    Returns:
        The parameters, and remarks: defaults and one remark if the calls ran with different ones.
    """
    kind = BandwidthFrameSerializer.InputParams
    found = []
    for source in sources:
        recorded = getattr(source, "metadata", {}).get("serializer", {}).get("params", "")
        try:
            found.append(kind.model_validate_json(recorded).model_dump(exclude=set(_OUTBOUND)))
        except ValueError:
            continue  # no capture, or one of another serializer
    if found and all(fields == found[0] for fields in found):
        return kind.model_validate(found[0]), []
    if not found:
        return kind(), []
    return kind(), ["The calls ran with different parameters; those not tuned here have defaults."]


def _advice(setting: Setting, said: Sequence[Audio]) -> list[str]:
    """What to change outside of the serializer's parameters."""
    rates = sorted({audio.sample_rate for audio in said})
    now = " and ".join(f"{rate} Hz" for rate in rates)
    wire, asked = setting.wire_rate, setting.audio_out_sample_rate
    advice = []
    if asked is not None and rates != [asked]:
        advice.append(
            f"PipelineParams(audio_out_sample_rate={asked}): it was chosen at that rate, and the "
            f"pipeline speaks at {now}."
        )
    elif asked is None and rates != [wire]:
        advice.append(
            f"PipelineParams(audio_out_sample_rate={wire}): the pipeline speaks at {now}, and the "
            f"serializer converts every frame to {wire} Hz; at the wire's rate it has nothing to "
            "convert and adds no delay."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        reach = max(effective_bandwidth(audio) for audio in said)
    if reach < 0.4 * wire:
        advice.append(
            f"The voice ends at {reach:.0f} Hz: a wire of {wire} Hz has room for a better one."
        )
    return advice


def _fingerprint(source: Source, said: Audio) -> dict[str, str]:
    """What a capture is recognised by: its name and the SHA-256 of its bytes, or of its audio."""
    path = getattr(source, "path", None)
    if path is None:
        return {"audio": f"{said.duration:.3f} s", "sha256": sha256(said.pcm()).hexdigest()}
    digest = sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"file": Path(path).name, "sha256": digest.hexdigest()}
