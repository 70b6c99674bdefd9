"""The outbound setting to use for calls like these: which, why, and how sure.

Every setting is tried on what the bot said in every call (:mod:`workbench.tuning.trial`), over the
far leg that is assumed. Speech is cut into segments of some ten seconds; an objective scores each;
settings are compared segment by segment (:mod:`workbench.tuning.choice`). Where they cannot be told
apart, the one with the fewest bits on the wire is taken.

The objective is by default the loss of quality against what the bot said: damage in the telephone
band and missing bandwidth, in smallest differences that matter, which were fitted to models of
listeners (:mod:`workbench.tuning.objective`). It does not reward loudness.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numpy as np
import pandas as pd

from pipecat_bandwidth import BandwidthFrameSerializer
from workbench.audio import Audio
from workbench.call import Call
from workbench.exceptions import NotAvailable
from workbench.tuning.carrier_recording import MeasuredLeg
from workbench.tuning.cushion import MOST_MS, CushionChoice, choose_cushion
from workbench.tuning.decision import COSTS, SURE, decide
from workbench.tuning.facts import (
    OUTBOUND,
    Facts,
    common_params,
    copies,
    facts_of,
    params_of,
)
from workbench.tuning.legs import LEGS, Leg, lacking, legs_named
from workbench.tuning.objective import OBJECTIVES, Objective, objective_for, on_leg
from workbench.tuning.scores import Scores, on_their_legs, score
from workbench.tuning.sentences import listed
from workbench.tuning.settings import SETTINGS, Setting, distinct
from workbench.tuning.trial import BRIEF_SECS, COMMON_RATE
from workbench.tuning.voice import Source

__all__ = ["Task", "TuningResult", "as_code", "conclude", "params_of", "tune"]

_ENCODINGS: Final = {"outbound_encoding", "outbound_pcm_sample_rate"}

#: This many captures that could not be used are named in a sentence; all are in ``skipped``.
_NAMED: Final = 5


@dataclass(frozen=True, eq=False)
class TuningResult:
    """What to use.

    Parameters:
        setting: The choice.
        params: The serializer's parameters: those of the captures, the outbound ones chosen.
        table: One row for each leg and setting, as in :class:`workbench.tuning.decision.Decision`.
        why: The reasons, in sentences; the first says what to take.
        advice: What else to change, outside of these parameters.
        ties: Settings that cannot be told apart from the best, the chosen one first.
        confidence: Share of resamplings that lead to the same choice, 0 to 1; NaN when there is
            too little speech to tell.
        elsewhere: What would be chosen on other legs.
        skipped: Captures that could not be used, and why: unreadable ones, and copies.
        provenance: What it rests on: captures with their SHA-256, leg, objective, versions.
        cushion: The choice of ``outbound_cushion_ms``; ``None`` if nothing tells when frames came,
            as of audio alone.
    """

    setting: Setting
    params: BandwidthFrameSerializer.InputParams
    table: pd.DataFrame
    why: list[str]
    advice: list[str]
    ties: tuple[str, ...]
    confidence: float
    elsewhere: dict[str, str]
    skipped: dict[str, str]
    provenance: dict[str, Any]
    cushion: CushionChoice | None = None

    @property
    def is_sure(self) -> bool:
        """Whether at least 95 % of the resamplings agree, on the encoding."""
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
        cushion = f", cushion {self.cushion.cushion_ms} ms" if self.cushion else ""
        return f"TuningResult({self.setting.label}{cushion}, confidence={self.confidence:.2f})"

    def _repr_html_(self) -> str:
        first, *rest = map(escape, [*self.why, *self.advice])
        items = "".join(f"<li>{sentence}</li>" for sentence in rest)
        tables = [self.table] + ([self.cushion.table] if self.cushion else [])
        table = "".join(
            one.to_html(index=False, float_format=lambda v: f"{v:.3g}", border=0) for one in tables
        )
        code = f"<pre>{escape(self.code)}</pre>"
        return f"<p><b>{first}</b></p><ul>{items}</ul>{code}{table}"


def as_code(params: BandwidthFrameSerializer.InputParams) -> str:
    """Write parameters as the line to paste into the call of ``BandwidthFrameSerializer``."""
    given = {"outbound_encoding": params.outbound_encoding}
    if params.outbound_encoding == "PCM":
        given["outbound_pcm_sample_rate"] = params.outbound_pcm_sample_rate  # type: ignore[assignment]
    given |= params.model_dump(exclude_defaults=True, exclude=set(given) | _ENCODINGS)
    fields = ", ".join(f"{name}={value!r}" for name, value in given.items())
    return f"params=BandwidthFrameSerializer.InputParams({fields})".replace("'", '"')


def tune(
    calls: Call | Audio | Iterable[Source],
    objective: str | Objective | None = None,
    constraints: Mapping[str, float] | None = None,
    *,
    leg: str | Leg = "G.711",
    settings: Iterable[Setting] | None = None,
    recordings: Sequence[Audio | MeasuredLeg | None] | None = None,
    executor: Executor | None = None,
    seed: int = 0,
) -> TuningResult:
    """Choose the outbound setting for calls like these.

    Args:
        calls: One or several of what :func:`workbench.tuning.resend.resend` takes: calls, or audio
            of the bot's speech. Copies of one call count once.
        objective: A name of :data:`workbench.tuning.objective.OBJECTIVES`, or your own; by default
            the loss of quality on the leg.
        constraints: Upper limits for ``kbit_s``, ``delay_ms`` and ``cushion_ms`` (200 by default; 0
            for none); lower limits for metrics of
            OBJECTIVES, or upper ones for distances. What cannot be measured on these calls limits
            nothing, and a sentence says so.
        leg: The far leg that is assumed: a name of :data:`workbench.tuning.legs.LEGS`, or your own.
        settings: What to choose from; by default PCMU and PCM at 8, 16 and 24 kHz.
        recordings: The carrier's, of the bot's channel, one for each call
            (:func:`workbench.tuning.carrier_recording.read`); ``None`` for calls without. A call
            whose recording tells its leg is tried on that one.
        executor: Where calls and settings are tried, side by side; threads by default. Those of
            other processes and of Dask need ``calls`` that can be pickled, such as Audio.
        seed: Of the resampling.

    Raises:
        TypeError: For paths, which :func:`workbench.tuning.batch.tune_captures` takes.
        ValueError: If no call holds audio of the bot, for an unknown name, a limit that is NaN,
            or if no setting fulfils the constraints; the message says what there is. For a call of
            another carrier's serializer.
    """
    one = isinstance(calls, str) or not isinstance(calls, Iterable)  # a path is refused as a whole
    sources = [cast("Source", calls)] if one else list(cast("Iterable[Source]", calls))
    for source in sources:
        if isinstance(source, Call):
            source.check_ours("tune")
    task = Task.of(objective, constraints, leg=leg, settings=settings, seed=seed)
    recorded = one_each(recordings, len(sources))
    about = [facts_of(*pair) for pair in zip(sources, recorded, strict=True)]
    again = copies(about)
    spoken = [
        (source, facts)
        for number, (source, facts) in enumerate(zip(sources, about, strict=True))
        if facts is not None and number not in again
    ]
    if not spoken:
        raise ValueError(f"the bot says nothing in any of the {len(sources)} calls")
    scores = score(
        [call for call, _ in spoken], task.settings, task.legs_of(facts for _, facts in spoken),
        task.metrics, executor, beside=task.beside,
    )  # fmt: skip
    return conclude(
        task,
        scores,
        [facts for _, facts in spoken],
        silent=about.count(None),
        skipped={f"call {n + 1}": f"the same as call {first + 1}" for n, first in again.items()},
    )


T = TypeVar("T")


def one_each(recordings: Sequence[T] | None, calls: int) -> Sequence[T | None]:
    """Recordings for so many calls; ``None`` of each if there are none.

    Raises:
        ValueError: If there are more or fewer.
    """
    if recordings is None:
        return [None] * calls
    if len(recordings) != calls:
        raise ValueError(
            f"{len(recordings)} recordings for {calls} calls, wanted one for each, in their order"
        )
    return recordings


@dataclass(frozen=True)
class Task:
    """What :func:`tune` was asked for, checked.

    Parameters:
        objective: What is better; ``None`` for the loss of quality on each leg.
        limits: The constraints of a setting.
        cushion_ms: The longest cushion that is allowed.
        legs: The one that is assumed, and others that are reported.
        beside: Such as are reported of the beginning of each call, as they take long.
        settings: What to choose from.
        seed: Of the resampling.
    """

    objective: Objective | None
    limits: dict[str, float]
    cushion_ms: float
    legs: tuple[Leg, ...]
    beside: tuple[Leg, ...]
    settings: tuple[Setting, ...]
    seed: int

    @classmethod
    def of(
        cls,
        objective: str | Objective | None,
        constraints: Mapping[str, float] | None,
        *,
        leg: str | Leg,
        settings: Iterable[Setting] | None,
        seed: int,
    ) -> Task:
        """Check the arguments of :func:`tune`.

        Raises:
            ValueError: For an unknown name, or a limit that is NaN.
            NotAvailable: If the leg's codec is not on this machine.
        """
        limits = dict(constraints or {})
        _known("constraint", limits, [*COSTS, "cushion_ms", *OBJECTIVES])
        for name, limit in limits.items():
            if np.isnan(limit):
                raise ValueError(f"constraint {name!r} is {limit}, wanted a number")
        cushion_ms = limits.pop("cushion_ms", MOST_MS)
        if isinstance(objective, str):
            _known("objective", [objective], list(OBJECTIVES))
            objective = OBJECTIVES[objective]
        (assumed,) = legs_named(leg)
        if isinstance(leg, str) and (reason := lacking(assumed)):
            raise NotAvailable(reason)
        others = (LEGS[name] for name in ("G.711", "G.722") if name != assumed.name)
        beside = tuple(LEGS[name] for name in ("AMR-WB",) if name != assumed.name)
        tried = distinct(settings or SETTINGS)
        return cls(objective, limits, cushion_ms, (assumed, *others), beside, tried, seed)

    def legs_of(self, facts: Iterable[Facts]) -> tuple[Leg, ...]:
        """Its legs, and those that calls' recordings show."""
        known = {leg.name for leg in self.legs}
        shown = dict.fromkeys(fact.leg for fact in facts if fact.leg and fact.leg not in known)
        return (*self.legs, *legs_named(shown))

    @property
    def metrics(self) -> list[str]:
        """What to measure on every segment."""
        measured = {name for leg in self.legs for name in self.goal(leg).metrics}
        return sorted(measured | (self.limits.keys() - COSTS.keys()))

    def goal(self, leg: Leg) -> Objective:
        """The objective on one leg."""
        return objective_for(leg) if self.objective is None else on_leg(self.objective, leg)


def conclude(
    task: Task,
    scores: Scores,
    facts: Sequence[Facts],
    *,
    silent: int = 0,
    skipped: Mapping[str, str] | None = None,
) -> TuningResult:
    """Choose, given the scores.

    Args:
        task: What was asked for.
        scores: Of all its settings on all its legs.
        facts: Of each call that was scored.
        silent: Calls in which the bot said nothing.
        skipped: Captures that could not be read, and why.

    Raises:
        ValueError: If no setting fulfils the constraints; the message says what there is.
    """
    speech = sum(fact.speech_secs for fact in facts)
    rate = min(COMMON_RATE, max(fact.sample_rate for fact in facts))
    scores, legs, ground = on_their_legs(task.legs, scores, facts)
    tried = [leg for leg in task.beside if (scores.quality["leg"] == leg.name).any()]
    goals = [task.goal(far) for far in (*legs, *tried)]
    costs = {name: limit for name, limit in task.limits.items() if name in COSTS}  # on every leg
    chosen, *others = (
        decide(
            scores, far.name, goal, task.settings,
            limits=costs if number else task.limits, speech_secs=speech, sample_rate=rate,
            seed=task.seed,
        )
        for number, (far, goal) in enumerate(zip((*legs, *tried), goals, strict=True))
    )  # fmt: skip
    elsewhere = {
        far.name: o.setting.label for far, o in zip((*legs[1:], *tried), others, strict=True)
    }
    base, remark = common_params([fact.params for fact in facts])
    outbound = {name: getattr(chosen.setting.params, name) for name in OUTBOUND}
    stalls = [fact.stalls for fact in facts if fact.stalls is not None]
    cushion = choose_cushion(stalls, task.cushion_ms, seed=task.seed)
    if cushion is not None:
        outbound["outbound_cushion_ms"] = cushion.cushion_ms
    left_out = dict(skipped or {})
    return TuningResult(
        setting=chosen.setting,
        params=base.model_copy(update=outbound),
        table=pd.concat([chosen.table, *(o.table for o in others)], ignore_index=True),
        why=[
            *chosen.why,
            *_left_out(len(facts), silent, left_out),
            *(
                f"Were the callers on {far.name}, it would be {elsewhere[far.name]}."
                for far in legs[1:]
            ),
            *(_on_mobiles(far, elsewhere.get(far.name)) for far in task.beside),
            ground,
            *(cushion.why if cushion else ()),
        ],
        advice=[*_advice(chosen.setting, facts), *remark],
        ties=chosen.ties,
        confidence=chosen.confidence,
        elsewhere=elsewhere,
        skipped=left_out,
        provenance={
            "captures": [fact.fingerprint for fact in facts],
            "leg": legs[0].name,
            "recorded": [fact.leg for fact in facts if fact.recording],
            "objective": str(goals[0]),
            "constraints": task.limits | {"cushion_ms": task.cushion_ms},
            "speech_secs": round(speech, 1),
            "confidence": _or_none(chosen.confidence),
            "cushion_confidence": _or_none(cushion.confidence) if cushion else None,
            **_circumstances(),
        },
        cushion=cushion,
    )


def _or_none(share: float) -> float | None:
    return None if np.isnan(share) else share


def _on_mobiles(leg: Leg, label: str | None) -> str:
    """What would be chosen on a leg that is only tried briefly, or why that is not known."""
    if label is None:
        return f"What it would be for mobiles with HD voice was not tried: {lacking(leg)}."
    return (
        f"Were the callers on mobiles with HD voice ({leg.name}, tried on the first "
        f"{BRIEF_SECS:g} s of each call), it would be {label}."
    )


def _left_out(used: int, silent: int, skipped: Mapping[str, str]) -> list[str]:
    total = used + silent + len(skipped)
    sentences = []
    if silent:
        sentences.append(f"The bot said nothing in {silent} of {total} calls.")
    if skipped:
        named = [f"{name} ({reason})" for name, reason in list(skipped.items())[:_NAMED]]
        rest = [f"{len(skipped) - _NAMED} more"] if len(skipped) > _NAMED else []
        sentences.append(
            f"{len(skipped)} of {total} captures could not be used: {listed([*named, *rest])}."
        )
    return sentences


_PACKAGES: Final = ("pipecat-bandwidth", "pipecat-ai", "numpy", "scipy")


def _circumstances() -> dict[str, Any]:
    return {
        "versions": {name: version(name) for name in _PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _known(what: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} {name!r}, there are: {', '.join(known)}")


def _advice(setting: Setting, facts: Sequence[Facts]) -> list[str]:
    """What to change outside of the serializer's parameters."""
    rates = sorted({fact.sample_rate for fact in facts})
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
    reach = max((f.reach_hz for f in facts if np.isfinite(f.reach_hz)), default=np.nan)
    if reach < 0.4 * wire:
        advice.append(
            f"The voice ends at {reach:.0f} Hz: a wire of {wire} Hz has room for a better one."
        )
    return advice
