"""Findings as JUnit XML, which CI servers show."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from workbench.diagnosis.detectors import DETECTORS
from workbench.diagnosis.finding import Finding, Severity
from workbench.diagnosis.findings import Findings
from workbench.links import view_command

__all__ = ["to_junit"]

_ROOM_FOR: Final = 1000  # characters of a measurement in an attribute of XML


def to_junit(
    findings: Findings,
    fail_on: Severity = "warning",
    name: str = "call",
    capture: str | Path | None = None,
) -> str:
    """Write findings as JUnit XML, which CI servers show: one test case for each detector.

    Args:
        findings: Of one call.
        fail_on: From which severity on a finding fails its test case, see
            :meth:`Findings.failures`; a lesser one stands in its ``system-out``.
        name: Of the test suite, such as the file's.
        capture: Where it is, for the command that shows a finding; without it there is none.

    Returns:
        The document.
    """
    failed = findings.failures(fail_on)
    count = len({finding.kind for finding in failed})
    found = {finding.kind for finding in findings}
    skipped = {row.what: str(row) for row in findings.unjudged if row.what not in found}

    def told(finding: Finding) -> str:
        lines = [str(finding), finding.cause, finding.remedy]
        if capture is not None:
            number = findings.index(finding) + 1
            lines.append(f"To see and hear it: {view_command(capture, finding=number)}")
        return "\n  ".join(lines)

    suite = ElementTree.Element(
        "testsuite", name=_xml(name), tests=str(len(DETECTORS)), failures=str(count), errors="0",
        skipped=str(len(skipped.keys() & DETECTORS.keys())),
    )  # fmt: skip
    for kind in DETECTORS:
        case = ElementTree.SubElement(suite, "testcase", classname="workbench.diagnose", name=kind)
        if kind in skipped:
            ElementTree.SubElement(case, "skipped", message=_xml(skipped[kind])[:_ROOM_FOR])
        for count, finding in enumerate(f for f in failed if f.kind == kind):
            if not count:  # one is allowed
                failure = ElementTree.SubElement(case, "failure")
                failure.set("type", finding.severity)
                failure.set("message", _xml(str(finding))[:_ROOM_FOR])
                failure.text = ""
            failure.text = f"{failure.text}{_xml(told(finding))}\n"
        others = [finding for finding in findings if finding.kind == kind and finding not in failed]
        if others:
            out = ElementTree.SubElement(case, "system-out")
            out.text = "\n".join(_xml(told(finding)) for finding in others)
    if findings.unjudged:
        out = ElementTree.SubElement(suite, "system-out")
        out.text = _xml("\n".join(map(str, findings.unjudged)))
    return ElementTree.tostring(suite, "unicode", xml_declaration=True)


def _xml(text: str) -> str:
    """Leave out what XML cannot hold; escaping is the library's."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
