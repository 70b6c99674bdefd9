"""One self-contained HTML file about one call: opens offline, can be mailed.

Everything that comes from the capture is escaped, and a content security policy lets no script run
but the page's own: a hostile call name stays text. Ids are shortened unless asked for.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from workbench import plots
from workbench.audio import Audio
from workbench.beside import written_beside
from workbench.call import SIGNALS, Call
from workbench.call.answers import HOW_TO_SEE, Answers
from workbench.capture.redaction import hide
from workbench.diagnosis import Finding, Findings, excerpt
from workbench.diagnosis.diagnosing import AROUND
from workbench.links import view_command
from workbench.looks import css_variables
from workbench.metrics.levels import loudest_span
from workbench.metrics.speech_level import active_level
from workbench.report.sound import APART_SECS, LONG_COMPRESSION, flac, mp3, players, uri
from workbench.tuning.comparison import LEGEND, RECORDED, Comparison
from workbench.tuning.stalls import LEAST_HOLE_MS
from workbench.tuning.tuning import TuningResult

__all__ = ["holes_heard", "write_report"]

#: Kinds whose bytes may be heard as what they are.
_MISREAD: Final = ("wrong_codec", "wrong_layout")
#: Length of the excerpt that all settings are compared by ear on, in seconds.
EXCERPT_SECS: Final = 5.0
#: Level that players of a comparison share, so that louder is not taken for better.
EXCERPT_LEVEL_DBOV: Final = -26.0

#: So much of the page the sounds of findings may take, the worst first, in bytes: some 60 of 10 s.
EXCERPTS_BYTES: Final = 1_300_000

#: Of more answers the slowest are shown: a picture and a table that are read at a glance.
MOST_ANSWERS: Final = 20

#: How the names of a call's stats end, and the unit that this stands for.
_UNITS: Final = {
    "ms_per_min": "ms/min",
    "kbit_s": "kbit/s",
    "ms": "ms",
    "percent": "%",
    "hz": "Hz",
    "dbov": "dBov",
}

#: A telephone number as E.164 has it.
_NUMBER: Final = re.compile(r"\+\d{7,15}\b")


def write_report(
    path: str | Path,
    call: Call,
    findings: Sequence[Finding],
    comparison: Comparison | None = None,
    tuning: TuningResult | None = None,
    *,
    after: Call | None = None,
    show_ids: bool = False,
    sides: Collection[str] = ("caller", "bot"),
    words: Collection[str] = ("caller", "bot"),
) -> Path:
    """Write the report.

    Args:
        path: The HTML file; its folder is made.
        call: The call.
        findings: From :func:`workbench.diagnosis.diagnose`, worst first.
        comparison: From :func:`workbench.tuning.comparison.compare`.
        tuning: From :func:`workbench.tuning.tuning.tune`.
        after: The same conversation with other settings, to be seen and heard beside this one.
        show_ids: Show ids and telephone numbers whole.
        sides: Whose voice may be heard, ``"caller"`` and ``"bot"``; none for a page without sound.
        words: Whose words are shown, where the capture holds any.

    Returns:
        The path written.
    """
    path = Path(path)
    found = findings if isinstance(findings, Findings) else Findings(tuple(findings))
    hidden = str if show_ids else partial(_hidden, secrets=_ids(call))
    page = _TEMPLATES.get_template("report.html.j2").render(
        nonce=token_urlsafe(12),
        started=f"{call.started_at:%Y-%m-%d %H:%M:%S} UTC",
        day=css_variables(),
        night=css_variables(night=True),
        sentence=hidden(found.sentence),
        not_judged=hidden(found.not_judged),
        view=_view(call.path.name, hidden),
        subtitle=hidden(call.summary().partition("\n")[0]),
        findings=[
            {
                name: value if name in ("audio", "begins") else hidden(value)
                for name, value in row.items()
            }
            for row in _findings(found, call, sides, words)
        ],
        overview=_overview(call, found),
        duration=call.duration,
        answers=_answers(call, hidden, "bot" in words),
        said=_said(call, hidden, words),
        players=players(call, sides),
        comparison=_comparison(comparison, "bot" in sides) if comparison else None,
        recording=_recording(call, comparison, "bot" in sides) if comparison else None,
        tuning=_tuning(tuning) if tuning else None,
        after=_after(call, after, "bot" in sides) if after else None,
        facts=[(name, hidden(value)) for name, value in _facts(call)],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _ids(call: Call) -> dict[str, str]:
    """What to write instead of each id of the call."""
    fields = [field for group in call.metadata.values() for field in group.items()]
    return {
        value: f"{value[:6]}\N{HORIZONTAL ELLIPSIS}"
        for name, value in fields
        if name.endswith(("_id", "from", "to")) and len(value) > 6
    }


def _hidden(text: str, secrets: Mapping[str, str]) -> str:
    return _NUMBER.sub("+\N{HORIZONTAL ELLIPSIS}", hide(text, secrets))


def _view(name: str, hidden: Callable[[str], str]) -> str:
    """The command that shows the first finding; a file's name that tells an id is not said."""
    return view_command(name if hidden(name) == name else "CAPTURE", finding=1)


def _findings(
    findings: Findings, call: Call, sides: Collection[str], words: Collection[str]
) -> list[dict[str, str]]:
    """Rows of the table; a cause or a remedy is said once, and the worst are heard."""
    rows, taken = [], 0
    for finding, (cause, remedy) in zip(findings, findings.advice(), strict=True):
        row = _finding(finding, call, sides if taken < EXCERPTS_BYTES else ())
        taken += len(row["audio"]) + len(row["meant"])
        may_be_told = {finding.side or "caller", finding.side or "bot"} <= {*words}
        said = finding.words if may_be_told else ""
        rows.append({**row, "cause": cause, "remedy": remedy, "words": said})
    return rows


def _finding(finding: Finding, call: Call, sides: Collection[str]) -> dict[str, str]:
    names = ("kind", "title", "severity", "when", "told")
    row: dict[str, str] = {name: getattr(finding, name) for name in names}
    audible = finding.listen and SIGNALS[finding.listen].side in sides
    audio = _excerpt(call, finding) if audible else ""
    meant = ""
    if audible:
        with suppress(ValueError):  # most sound is what it is
            meant = mp3(excerpt(call, finding, as_meant=True)) if finding.kind in _MISREAD else ""
    begins = f"{max(0.0, min(finding.parts[0].start, call.duration) - AROUND):.3f}"
    return {**row, "side": finding.side or "", "audio": audio, "meant": meant, "begins": begins}


def _overview(call: Call, findings: Sequence[Finding]) -> dict[str, Any]:
    """The picture of the call, and where in it its time axis begins and ends, in percent."""
    axes = plots.call_overview(call, findings)
    picture = plots.png(axes[0])  # lays out as it draws
    box = axes[-1].get_position()
    return {"src": uri("image/png", picture), "left": 100 * box.x0, "right": 100 * (1 - box.x1)}


def _said(call: Call, hidden: Callable[[str], str], sides: Collection[str]) -> list[dict[str, Any]]:
    """What both sides said, phrase by phrase."""
    return [
        {
            "at": f"{phrase[0].start:.1f}",
            "side": phrase[0].side,
            "text": hidden(phrase.text),
            "heard": phrase[0].heard,
            "about": "about " if phrase.about else "",
        }
        for phrase in call.words.phrases
        if phrase[0].side in sides
    ]


def _answers(call: Call, hidden: Callable[[str], str], with_words: bool) -> dict[str, Any] | None:
    """The wait before each answer, as a picture and a table; ``None`` if there is no answer."""
    if not len(call.answers):
        return None
    ranked = sorted(call.answers, key=lambda answer: (answer.after != "caller", -answer.wait_ms))
    slowest = ranked[:MOST_ANSWERS]
    shown = Answers(answer for answer in call.answers if answer in slowest)
    rows = [
        {
            "at": f"{answer.end:.2f}",
            "outcome": answer.outcome,
            "after": answer.after,
            "wait": f"{answer.wait_ms:.0f}",
            "stages": [
                (f"{s.took_ms:.0f}", hidden(s.told), hidden(s.owner)) for s in answer.stages
            ],
            "setting": answer.largest.setting,
            "unheard": hidden(answer.words.unheard.text) if with_words else "",
        }
        for answer in shown
    ]
    picture = plots.png(plots.answer_stages(shown))
    how = "" if call.answers.is_seen else HOW_TO_SEE
    return {
        "sentence": hidden(call.answers.sentence),
        "how": how,
        "left_out": len(call.answers) - len(shown),
        "src": uri("image/png", picture),
        "rows": rows,
    }


def holes_heard(call: Call) -> list[str]:
    """The holes that the caller heard, from a packet's length on: how long, and when."""
    return [
        f"{1000 * (hole.end - hole.start):.0f} ms at {hole.start:.1f} s"
        for hole in call.playout.underruns
        if 1000 * (hole.end - hole.start) >= LEAST_HOLE_MS
    ]


def _after(before: Call, after: Call, with_audio: bool) -> dict[str, Any]:
    calls = {"before": before, "after": after}
    left, there = (len(holes_heard(call)) for call in (after, before))
    return {
        "sentence": f"Of the {there} holes that the caller heard before, there are {left} after.",
        "rows": [
            (
                name,
                call.params.get("outbound_cushion_ms", 0),
                ", ".join(holes_heard(call)) or "none",
            )
            for name, call in calls.items()
        ],
        "players": [{"name": name, "src": mp3(call.caller_heard)} for name, call in calls.items()]
        if with_audio and max(call.duration for call in calls.values()) <= APART_SECS
        else [],
    }


def _comparison(comparison: Comparison, with_audio: bool) -> dict[str, Any]:
    players = _excerpts(comparison) if with_audio else []
    return {
        "sentence": comparison.sentence,
        "assumption": comparison.assumption,
        "picture": _comparison_picture(comparison),
        "players": players,
        "others": [player["src"] for player in players[1:]],
        "table": Markup(comparison.shown.to_html(border=0, index=False)),  # pandas escapes
        "legend": LEGEND,
    }


def _recording(call: Call, comparison: Comparison, with_audio: bool) -> dict[str, Any] | None:
    """What the carrier recorded, beside what the caller heard by the model of the queue."""
    measured = comparison.measured
    if measured is None:
        return None
    sources = {}
    if with_audio and call.duration > APART_SECS:  # the page plays the rest already
        sources = {RECORDED: mp3(measured.heard.resampled(8000), LONG_COMPRESSION, "AVERAGE")}
    elif with_audio:
        sources = {"caller_heard": mp3(call.caller_heard), RECORDED: mp3(measured.heard)}
    return {
        "sentence": measured.sentence,
        "picture": uri("image/png", plots.png(plots.recording_overview(measured)[0])),
        "players": [{"name": name, "src": source} for name, source in sources.items()],
    }


def _comparison_picture(comparison: Comparison) -> str:
    """Spectrograms and bars; no score where too little was said."""
    pictures = plots.comparison_overview(comparison)
    charts = [ax for ax in pictures.flat[0].get_figure(root=True).axes if len(ax.patches)]
    drawn = [ax for ax in charts if np.isfinite([bar.get_height() for bar in ax.patches]).any()]
    for ax in charts:
        if ax not in drawn:
            ax.remove()
        elif len(drawn) == 1:  # in the room of all
            ax.set_subplotspec(ax.get_subplotspec().get_gridspec()[:])
    picture = plots.png(pictures.flat[0])
    return uri("image/png", picture) if drawn else ""


def _excerpts(comparison: Comparison) -> list[dict[str, str]]:
    """The loudest stretch of speech through every setting and leg, at one level."""
    span = loudest_span(comparison.reference, EXCERPT_SECS)
    excerpts = {"the bot itself": comparison.reference.span(*span)} | {
        f"{setting}, {leg} leg": comparison.excerpt(setting, leg, EXCERPT_SECS)
        for setting, leg in comparison.signals
    }
    found = []
    for name, heard in excerpts.items():
        gain = 10 ** ((EXCERPT_LEVEL_DBOV - active_level(heard)) / 20)
        if not np.isfinite(gain):
            continue
        samples = np.clip(heard.samples * gain, -1, 1).astype(np.float32)
        found.append({"name": name, "src": flac(Audio(samples, heard.sample_rate))})
    return found


def _tuning(tuning: TuningResult) -> dict[str, Any]:
    why = list(tuning.why)
    return {
        "headline": why[0] if why else tuning.code,
        "why": why[1:],
        "advice": tuning.advice,
        "code": tuning.code,
    }


def _facts(call: Call) -> list[tuple[str, str]]:
    facts = [("capture", call.path.name), ("length", f"{call.duration:.2f} s")]
    facts += [("complete", "yes" if call.finished else "no: the recording was cut off")]
    for group, fields in call.metadata.items():
        told = (field for field in fields.items() if not field[0].endswith("_anchor_ns"))
        facts += [(f"{group}: {name}", value) for name, value in told]
    facts += [_fact(name, value) for name, value in call.stats.items() if name != "duration"]
    packages = ("pipecat-bandwidth", "pipecat-ai", "numpy", "scipy")
    return [*facts, *((f"{name} (report)", version(name)) for name in packages)]


def _fact(name: str, value: float) -> tuple[str, str]:
    """One of the call's stats in words: counts whole, all else to three digits, with the unit."""
    unit = next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")
    known = value if float(value).is_integer() else float(f"{value:.3g}")
    said = f"{known:,.10g} {_UNITS.get(unit, '')}".rstrip()
    return name.removesuffix(f"_{unit}").replace("_", " "), said


def _excerpt(call: Call, finding: Finding) -> str:
    """The sound of a finding; none where it cannot be cut out, which is no reason for no report."""
    try:
        return mp3(excerpt(call, finding))
    except (ValueError, RuntimeError) as error:  # of libsndfile
        warnings.warn(f"no sound of {finding.kind}: {error}", RuntimeWarning, stacklevel=2)
        return ""


_TEMPLATES: Final = Environment(
    loader=PackageLoader("workbench.report", "."), autoescape=True, undefined=StrictUndefined
)
