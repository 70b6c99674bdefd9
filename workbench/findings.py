"""What is wrong with a call, worst first.

The order is that of the person on the phone: first what spoils the conversation, then what is
heard, then what is worth knowing. Within a severity the kinds stand in the order of
:data:`HARM`, and among equals the one that exceeds its threshold most comes first.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from workbench.call import Call
from workbench.detectors import DETECTORS, Finding

__all__ = ["HARM", "Finding", "diagnose"]

_SEVERITIES: Final = ("error", "warning", "info")

#: Kinds in the order in which a caller minds them; those not named come after.
HARM: Final = (
    "one_way",
    "early_end",
    "cut_goodbye",
    "wrong_codec",
    "wrong_rate",
    "underrun",
    "loop_lag",
    "audio_lost",
    "tail_lost",
    "dead_air",
    "late_start",
    "slow_barge_in",
    "missing_clear",
    "false_barge_in",
    "dropout",
    "slow_response",
    "clipping",
    "echo",
    "sequence_gap",
)


def diagnose(call: Call, kinds: Collection[str] | None = None) -> list[Finding]:
    """Run the detectors over a call.

    Args:
        call: The call.
        kinds: Those wanted; by default all of :data:`workbench.detectors.DETECTORS`.

    Returns:
        The findings, worst first; none for a call that is sound.

    Raises:
        ValueError: For a kind that there is no detector for.
    """
    unknown = set(kinds or ()) - DETECTORS.keys()
    if unknown:
        raise ValueError(f"no detector {sorted(unknown)}, there are: {', '.join(DETECTORS)}")
    wanted = DETECTORS if kinds is None else {name: DETECTORS[name] for name in kinds}
    return sorted((found for detector in wanted.values() for found in detector(call)), key=_rank)


def _rank(finding: Finding) -> tuple[int, int, float, float]:
    harm = HARM.index(finding.kind) if finding.kind in HARM else len(HARM)
    excess = abs(finding.value / finding.threshold) if finding.threshold else 0.0
    return _SEVERITIES.index(finding.severity), harm, -excess, finding.span[0]
