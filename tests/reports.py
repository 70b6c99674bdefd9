"""A report of a call whose every name and text is an attack on the page that shows it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from tests.captures import ANCHOR_NS, Scene, speech
from workbench.call import Call
from workbench.capture import CaptureWriter
from workbench.diagnosis import Finding, Part
from workbench.report import write_report
from workbench.tuning.comparison import Comparison, compare
from workbench.tuning.tuning import TuningResult, tune

ATTACKS = (
    "<script>window.hacked = 1; alert(1)</script>",
    "<img src=x onerror='window.hacked = 1; alert(1)'>",
    "\"'><svg onload='window.hacked = 1'>",
    "</script><script>window.hacked = 1</script>",
    "</td></table><iframe srcdoc='<script>parent.hacked = 1</script>'></iframe>",
    "{{ 7 * 191 }}{% include '/etc/passwd' %}",
    "javascript:window.hacked=1",
)
HOSTILE = " ".join(ATTACKS)
CALL_ID = "c-0123abcd-4567-89ab-cdef-0123456789ab"
NUMBER = "+15551234567"


def hostile_call(folder: Path) -> Call:
    """12 s; hostile are call name, stream id, stream parameters, serializer and a log line."""
    scene = Scene(12.0, pipeline_rate=16000)
    scene.say_bot(0.5, speech("bot/b02"))
    scene.hole(2.0, 0.3)
    scene.say_caller(7.0, speech("caller/c02"))
    scene.log(5.0, HOSTILE, level=3)
    writer = CaptureWriter(
        folder / "hostile.mcap",
        call={"stream_id": HOSTILE, "call_id": CALL_ID, "name": HOSTILE, "from": NUMBER},
        serializer={"class": HOSTILE, "params": {HOSTILE: HOSTILE}},
        max_records=10**6,
    )
    for time, topic, body in sorted(scene._records(), key=lambda record: record[0]):
        writer.record(topic, ANCHOR_NS + round(time * 1e9), body)
    writer.close()
    return Call.open(writer.path)


def hostile_finding(text: str = HOSTILE) -> Finding:
    return Finding(
        kind=text, side="bot", parts=(Part(1.5, 3.0, 1.0),), severity="error", value=1.0, unit=text,
        threshold=0.5, measurement=text, cause=text, remedy=text, listen="caller_heard",
    )  # fmt: skip


@cache
def measured() -> tuple[Comparison, TuningResult]:
    """Of some other voice."""
    voice = speech("bot/b02").span(0, 6)
    return compare(voice), tune(voice)


def hostile_report(folder: Path, **options: Any) -> str:
    call = hostile_call(folder)
    found = [hostile_finding(), hostile_finding(f"of {CALL_ID}, called from {NUMBER}")]
    page = write_report(folder / "report.html", call, found, *measured(), **options)
    return page.read_text(encoding="utf-8")
