"""What is wrong with a call, how bad it is, why, and what to change.

``python -m workbench.diagnosis`` prints the catalogue: each kind of finding, how it is measured, where
its threshold comes from, how good it was found to be, and what to change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

if TYPE_CHECKING:
    from workbench.diagnosis.detectors import DETECTORS as DETECTORS
    from workbench.diagnosis.diagnosing import diagnose as diagnose
    from workbench.diagnosis.diagnosing import excerpt as excerpt
    from workbench.diagnosis.finding import SEVERITIES as SEVERITIES
    from workbench.diagnosis.finding import Finding as Finding
    from workbench.diagnosis.finding import Part as Part
    from workbench.diagnosis.findings import Findings as Findings
    from workbench.diagnosis.junit import to_junit as to_junit

__all__ = [
    "DETECTORS",
    "Finding",
    "Findings",
    "Part",
    "SEVERITIES",
    "diagnose",
    "excerpt",
    "to_junit",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "DETECTORS": ".detectors",
        "Finding": ".finding",
        "Findings": ".findings",
        "Part": ".finding",
        "SEVERITIES": ".finding",
        "diagnose": ".diagnosing",
        "excerpt": ".diagnosing",
        "to_junit": ".junit",
    },
)
