"""One self-contained HTML file about one call: opens offline, can be mailed.

Everything that comes from the capture is escaped, and a content security policy lets no script run
but the page's own: a hostile call name stays text. Ids are shortened unless asked for.
"""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from workbench import plots
from workbench.audio import Audio
from workbench.call import Call
from workbench.comparison import Comparison
from workbench.findings import Finding, Findings, excerpt
from workbench.levels import active_level, loudest_span
from workbench.tuning import TuningResult

__all__ = ["write_report"]

#: Length of the excerpt that all settings are compared by ear on, in seconds.
EXCERPT_SECS: Final = 6.0
#: Level that players of a comparison share, so that louder is not taken for better.
EXCERPT_LEVEL_DBOV: Final = -26.0

_SIGNALS: Final = {
    "caller_sent": "the caller, as it arrived on the wire",
    "bot_said": "the bot, as the pipeline produced it",
    "caller_heard": "the bot, as the caller heard it",
}


def write_report(
    path: str | Path,
    call: Call,
    findings: Sequence[Finding],
    comparison: Comparison | None = None,
    tuning: TuningResult | None = None,
    *,
    show_ids: bool = False,
    with_audio: bool = True,
) -> Path:
    """Write the report.

    Args:
        path: The HTML file; its folder is made.
        call: The call.
        findings: From :func:`workbench.findings.diagnose`, worst first.
        comparison: From :func:`workbench.comparison.compare`.
        tuning: From :func:`workbench.tuning.tune`.
        show_ids: Show the call, stream and account ids whole.
        with_audio: Put players into the page.

    Returns:
        The path written.
    """
    path = Path(path)
    page = _TEMPLATES.get_template("report.html.j2").render(
        nonce=secrets.token_urlsafe(12),
        started=f"{call.started_at:%Y-%m-%d %H:%M:%S} UTC",
        sentence=Findings(findings).sentence,
        subtitle=call.summary().partition("\n")[0],
        findings=_findings(findings, call, with_audio),
        overview=_overview(call, findings),
        players=_players(call) if with_audio else (),
        comparison=_comparison(comparison, with_audio) if comparison else None,
        tuning=_tuning(tuning) if tuning else None,
        facts=_facts(call, show_ids),
        with_audio=with_audio,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _findings(findings: Sequence[Finding], call: Call, with_audio: bool) -> list[dict[str, Any]]:
    """Rows of the table; a cause or a remedy that stands above already is not said again."""
    rows, told = [], set[str]()
    for finding in findings:
        row = _finding(finding, call, with_audio)
        for name in ("cause", "remedy"):
            text = row[name]
            row[name] = "as above" if text in told else text
            told.add(text)
        rows.append(row)
    return rows


def _finding(finding: Finding, call: Call, with_audio: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        name: getattr(finding, name)
        for name in ("kind", "side", "severity", "when", "measurement", "cause", "remedy")
    }
    audible = with_audio and finding.listen
    return {**row, "audio": _flac(excerpt(call, finding)) if audible else None}


def _overview(call: Call, findings: Sequence[Finding]) -> str:
    return _uri("image/png", plots.png(plots.call_overview(call, findings)[0]))


def _players(call: Call) -> list[dict[str, str]]:
    """Players of the whole signals, as MP3: small, and every browser plays it."""
    found = []
    for name, what in _SIGNALS.items():
        audio = call.signal(name)
        buffer = io.BytesIO()
        soundfile.write(buffer, audio.samples, audio.sample_rate, format="MP3")
        found.append({"name": name, "what": what, "src": _uri("audio/mpeg", buffer.getvalue())})
    return found


def _comparison(comparison: Comparison, with_audio: bool) -> dict[str, Any]:
    picture = plots.png(plots.comparison_overview(comparison).flat[0])
    players = _excerpts(comparison) if with_audio else []
    return {
        "sentence": comparison.sentence,
        "assumption": comparison.assumption,
        "picture": _uri("image/png", picture),
        "players": players,
        "sources": [player["src"] for player in players],
        "table": Markup(
            comparison.table.to_html(
                border=0, float_format=lambda value: f"{value:.4g}", index=False
            )
        ),  # pandas escapes
    }


def _excerpts(comparison: Comparison) -> list[dict[str, str]]:
    """The loudest stretch of speech through every setting and leg, at one level."""
    signals = {
        f"{setting}, {leg} leg": audio for (setting, leg), audio in comparison.signals.items()
    }
    if not signals:
        return []
    start, end = loudest_span(comparison.reference, EXCERPT_SECS)
    found = []
    for name, audio in signals.items():
        excerpt = audio.span(start, end)
        gain = 10 ** ((EXCERPT_LEVEL_DBOV - active_level(excerpt)) / 20)
        if not np.isfinite(gain):
            continue
        samples = np.clip(excerpt.samples * gain, -1, 1).astype(np.float32)
        found.append({"name": name, "src": _flac(Audio(samples, audio.sample_rate))})
    return found


def _tuning(tuning: TuningResult) -> dict[str, Any]:
    why = list(tuning.why)
    return {
        "headline": why[0] if why else tuning.code,
        "why": why[1:],
        "advice": tuning.advice,
        "code": tuning.code,
    }


def _facts(call: Call, show_ids: bool) -> list[tuple[str, str]]:
    facts = [("capture", call.path.name), ("length", f"{call.duration:.2f} s")]
    facts += [("complete", "yes" if call.finished else "no: the recording was cut off")]
    for group, fields in call.metadata.items():
        for name, value in fields.items():
            secret = name.endswith(("_id", "from", "to")) and not show_ids
            facts.append(
                (f"{group}: {name}", f"{value[:6]}\N{HORIZONTAL ELLIPSIS}" if secret else value)
            )
    facts += [(name.replace("_", " "), f"{value:,.6g}") for name, value in call.stats.items()]
    packages = ("pipecat-bandwidth-workbench", "pipecat-ai", "numpy", "scipy")
    return [*facts, *((f"{name} (report)", version(name)) for name in packages)]


def _flac(audio: Audio) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.samples, audio.sample_rate, format="FLAC", subtype="PCM_16")
    return _uri("audio/flac", buffer.getvalue())


def _uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


_TEMPLATES: Final = Environment(
    loader=PackageLoader("workbench", "."), autoescape=True, undefined=StrictUndefined
)
