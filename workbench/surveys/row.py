"""What is kept of one call: a row of its own, and one for each finding; some kilobytes.

The columns are a public format, :data:`CALL` and :data:`FINDING`; later versions only add some.
Names end as everywhere: ``*_ms``, ``*_secs``, ``*_dbov``, ``*_hz``, ``*_percent``. What could not be
measured, or does not apply, is missing.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pipecat_bandwidth import __version__
from workbench.call import Call
from workbench.call.answers import Answers
from workbench.call.stages import largest
from workbench.call.streams import Stream
from workbench.diagnosis import Finding, Findings, diagnose
from workbench.diagnosis.detectors.barge_in import BargeIn, barge_ins
from workbench.diagnosis.finding import SURE
from workbench.diagnosis.harm import harm_of, worst_harm
from workbench.workers import local_file, problem_of

__all__ = ["CALL", "FINDING", "HOLES", "Surveyed", "call_row", "finding_rows", "survey_capture"]

#: Column to its type (``text``, ``time``, ``count``, ``number``, ``flag``, ``labels``) and meaning.
CALL: Final[dict[str, tuple[str, str]]] = {
    "capture": ("text", "where the file is: an absolute path or a URL"),
    "started_at": ("time", "when the call began, UTC"),
    "duration": ("number", "its length in seconds"),
    "labels": ("labels", "what Tap(labels=...) was given"),
    "call_id": ("text", "the carrier's"),
    "stream_id": ("text", "the carrier's"),
    "account": ("text", "a pseudonym"),
    "finished": ("flag", "whether the recording has its end"),
    "ended": ("text", "how the call ended: stop, hang_up, socket, open"),
    "ended_by": ("text", "who brought that about: bot, far end"),
    "wire_in": ("text", "encoding and rate of the caller's audio on the wire"),
    "wire_out": ("text", "of the bot's"),
    "pipeline_in_hz": ("count", "rate of the caller's audio in the pipeline"),
    "pipeline_out_hz": ("count", "of the bot's"),
    "outbound_kbit_s": ("number", "the bot's audio on the wire, as JSON text"),
    "caller_level_dbov": ("number", "active level of the caller's speech"),
    "bot_level_dbov": ("number", "of the bot's"),
    "caller_turns": ("count", "turns of the caller"),
    "bot_turns": ("count", "turns of the bot"),
    "bot_speech_secs": ("number", "how long the caller heard the bot speak"),
    "answers": ("count", "answers that were waited for and heard"),
    "answer_p50_ms": ("number", "the wait before an answer, median"),
    "answer_p95_ms": ("number", "the same, 95th percentile"),
    "largest_stage": ("text", "the stage that takes longest in the middle of these waits"),
    "largest_stage_ms": ("number", "how long that is"),
    "largest_stage_owner": ("text", "whose it is"),
    "barge_ins": ("count", "times the caller spoke over the bot, and it was noticed or went on"),
    "time_to_yield_ms": ("number", "from there to the bot's silence, median"),
    "holes": ("count", "holes in the bot's speech"),
    "hole_ms": ("number", "how long they are together"),
    "holes_per_min": ("number", "of the bot's speech"),
    "inbound_messages": ("count", "of the caller's audio"),
    "lost_messages": ("count", "of the caller's audio, that never came"),
    "loss_percent": ("number", "the same as a share"),
    "jitter_ms": ("number", "RFC 3550, mean"),
    "max_jitter_ms": ("number", "the same, largest"),
    "bot_sent_ms": ("number", "audio that the bot sent"),
    "caller_heard_ms": ("number", "how much of it was played"),
    "heard_percent": ("number", "the same as a share"),
    "errors": ("count", "findings of this severity"),
    "warnings": ("count", "likewise"),
    "infos": ("count", "likewise"),
    "worst_kind": ("text", "kind of the worst finding"),
    "worst_severity": ("text", "its severity"),
    "worst": ("text", "it in words"),
    "harm": ("number", "of the worst finding, see workbench.diagnosis.harm; 0 without one"),
    "unjudged": ("text", "what could not be judged"),
    "damage": ("text", "what of the file could not be read"),
    "dropped_records": ("count", "records that the recording lost"),
    "file_bytes": ("count", "size of the file"),
    "sha256": ("text", "of the file"),
    "surveyed_at": ("time", "when this row was made, UTC"),
    "version": ("text", "of this package, that made it"),
}

#: The same of a finding.
FINDING: Final[dict[str, tuple[str, str]]] = {
    "kind": ("text", "its kind, for programs"),
    "title": ("text", "the same for people"),
    "side": ("text", "whose audio or behaviour it concerns"),
    "severity": ("text", "error, warning or info"),
    "start": ("number", "of its first part, in seconds on the call's clock"),
    "end": ("number", "of its last part"),
    "parts": ("count", "places where it is"),
    "value": ("number", "what was measured"),
    "unit": ("text", "of the value and the threshold"),
    "threshold": ("number", "from where on it is a finding"),
    "excess": ("number", "how far beyond, as a factor"),
    "confidence": ("number", "how sure it is; less than 0.7 is possible only"),
    "harm": ("number", "see workbench.diagnosis.harm"),
    "measurement": ("text", "it in words"),
    "cause": ("text", "what most likely brought it about"),
    "remedy": ("text", "what to change"),
}

#: Kinds whose parts are holes in what the caller hears of the bot.
HOLES: Final = ("underrun", "dropout")


class Surveyed(NamedTuple):
    """What a worker hands back.

    Parameters:
        call: The call's row; empty if the capture could not be used.
        findings: A row for each finding, worst first.
        problem: Why it could not be used; empty if it could.
    """

    call: dict[str, Any] = {}
    findings: tuple[dict[str, Any], ...] = ()
    problem: str = ""


def survey_capture(capture: str) -> Surveyed:
    """Open a capture and tell what is kept of it: what a worker does. Raises nothing that a file can cause.

    Args:
        capture: A path or a URL.
    """
    try:
        with local_file(capture) as path:
            call = Call.open(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # it is in what was not judged
                found = diagnose(call)
            row = call_row(call, found, capture)
    except Exception as error:  # also a capture that only we read wrongly must not end the others
        return Surveyed(problem=problem_of(error))
    return Surveyed(row, finding_rows(found))


def call_row(call: Call, found: Findings, capture: str) -> dict[str, Any]:
    """Tell what is kept of a call.

    Args:
        call: The call.
        found: All of its findings.
        capture: Where its file is.

    Returns:
        A value for each of :data:`CALL`; ``None`` where there is none.
    """
    stats, who = call.stats, call.metadata.get("call", {})
    worst = found[0] if len(found) else None
    own: dict[str, Any] = {
        "capture": capture,
        "started_at": call.started_at,
        "duration": call.duration,
        "labels": dict(call.labels),
        "finished": call.finished,
        "ended": call.ending.how,
        "ended_by": call.ending.by,
        "wire_in": _formats(call.inbound),
        "wire_out": _formats(call.outbound),
        "heard_percent": _share(stats.get("caller_heard_ms", 0), stats.get("bot_sent_ms", 0)),
        **{name: who.get(name) for name in ("call_id", "stream_id", "account")},
        **_bot(call, found),
        **_answers(call.answers),
        **_yielding(barge_ins(call)),
        **{f"{s}s": sum(f.severity == s for f in found) for s in ("error", "warning", "info")},
        "worst_kind": worst and worst.kind,
        "worst_severity": worst and worst.severity,
        "worst": worst and worst.told,
        "harm": worst_harm(found),
        "unjudged": "; ".join(map(str, found.unjudged)) or None,
        "damage": "; ".join(call.damage) or None,
        **_file(call.path),
    }
    return {name: _plain(own.get(name, stats.get(name))) for name in CALL}


def finding_rows(found: Iterable[Finding]) -> tuple[dict[str, Any], ...]:
    """A value for each of :data:`FINDING`, of each finding."""
    rows = []
    for finding in found:
        start, end = finding.span
        own = {
            "start": start,
            "end": end,
            "parts": len(finding.parts),
            "excess": finding.excess,
            "harm": harm_of(finding),
            "measurement": finding.told,
        }
        named = {name: own.get(name, getattr(finding, name, None)) for name in FINDING}
        rows.append({name: _plain(value) for name, value in named.items()})
    return tuple(rows)


def _bot(call: Call, found: Findings) -> dict[str, Any]:
    """How much the bot spoke, and how many holes were in it."""
    minutes = float(np.diff(call.bot_speech, axis=1).sum()) / 60
    kinds = (f for f in (*found, *found.silenced) if f.kind in HOLES and f.side == "bot")
    holes = [part for finding in kinds for part in finding.parts]
    return {
        "bot_speech_secs": 60 * minutes,
        "holes": len(holes),
        "hole_ms": 1000 * sum(part.end - part.start for part in holes),
        "holes_per_min": len(holes) / minutes if minutes else None,
    }


def _answers(answers: Answers) -> dict[str, Any]:
    waits = [answer.wait_ms for answer in answers.waited_for]
    if not waits:
        return {"answers": 0}
    p50, p95 = np.percentile(waits, [50, 95])
    told = {"answers": len(waits), "answer_p50_ms": float(p50), "answer_p95_ms": float(p95)}
    median = answers.median_ms
    name = max(median, key=lambda name: median[name])
    most = largest(s for answer in answers.waited_for for s in answer.stages if s.name == name)
    owner = most.service if most else ""
    return told | {
        "largest_stage": name, "largest_stage_ms": median[name], "largest_stage_owner": owner or None,
    }  # fmt: skip


def _yielding(found: Sequence[BargeIn]) -> dict[str, Any]:
    """How long the bot takes to yield to callers who mean it: noticed, or going on until then."""
    took = [
        barge_in.time_to_yield_ms
        for barge_in in found
        if barge_in.confidence >= SURE
        and (barge_in.interruption is not None or barge_in.caller_end >= barge_in.silent)
    ]
    return {"barge_ins": len(took), "time_to_yield_ms": float(np.median(took)) if took else None}


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    now = datetime.now(UTC)
    return {"file_bytes": size, "sha256": digest, "surveyed_at": now, "version": __version__}


def _formats(stream: Stream) -> str | None:
    return ", ".join(dict.fromkeys(map(str, stream.formats))) or None


def _share(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole else None


def _plain(value: Any) -> Any:
    """A number that says nothing is missing."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
