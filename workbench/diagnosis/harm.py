"""How bad a finding is beside others, of whatever kind: one number, and the order that follows.

First what spoils the conversation (``error``), then what is heard (``warning``), then what is worth
knowing (``info``). Within a severity the kind that does more harm comes first, as its detector
declares it, and within a kind the finding that exceeds its threshold most.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from workbench.diagnosis.detectors import DETECTORS
from workbench.diagnosis.finding import SEVERITIES, Finding

__all__ = ["HEARD", "harm_of", "rank", "worst_harm"]

#: From this on a person on the phone minds it: a step from one severity to the next. The harm that
#: a kind declares is less.
HEARD: Final = 1000.0


def harm_of(finding: Finding) -> float:
    """How bad a finding is.

    Returns:
        2000 for an error, 1000 for a warning, 0 for an info, more by the harm that its kind
        declares (0 to 230) and by up to 1 for how far it exceeds its threshold.
    """
    step = len(SEVERITIES) - 1 - SEVERITIES.index(finding.severity)
    return HEARD * step + DETECTORS[finding.kind].harm + 1 - 1 / finding.excess


def rank(finding: Finding) -> tuple[float, float]:
    """What findings are sorted by: the worst first, among equals the earliest."""
    return -harm_of(finding), finding.span[0]


def worst_harm(found: Iterable[Finding]) -> float:
    """The harm of a call: that of its worst finding; 0 if nothing was found."""
    return max(map(harm_of, found), default=0.0)
