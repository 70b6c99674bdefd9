"""How good the detectors are: what ``make faults`` measured, and the only place that says so.

Faults of known size were planted at random into random conversations. A kind that misses a target
says "possibly" in its findings, see :attr:`workbench.diagnosis.finding.Finding.possible`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ALARMS", "MEASURED", "Accuracy"]

#: Share that must be found at twice the threshold.
RECALL: Final = 0.95
#: Errors that nine of ten findings must stay below: of the span, and of the value.
SPAN_MS: Final = 40.0
VALUE_PERCENT: Final = 10.0
VALUE_DB: Final = 1.0


@dataclass(frozen=True)
class Accuracy:
    """How good the findings of one kind are, for one way to plant the fault.

    Parameters:
        kind: Of the findings.
        planted: What was planted: the function in ``tests/planting.py``.
        recall: Share found at twice the threshold.
        value_error: Nine of ten values are nearer to what was planted, at twice the threshold and
            more; ``None`` where there is no size, 0 where it is below what is printed.
        span_ms: The same of the worse end of the span; ``None`` where it is the whole call.
        decibels: Whether the value's error is in dB; else it is in per cent.
    """

    kind: str
    planted: str
    recall: float
    value_error: float | None = None
    span_ms: float | None = None
    decibels: bool = False

    @property
    def missed(self) -> tuple[str, ...]:
        """Targets that are missed: of ``recall``, ``value`` and ``span``."""
        most = VALUE_DB if self.decibels else VALUE_PERCENT
        told = (
            ("recall", self.recall < RECALL),
            ("value", self.value_error is not None and self.value_error >= most),
            ("span", self.span_ms is not None and self.span_ms >= SPAN_MS),
        )
        return tuple(name for name, misses in told if misses)

    def __str__(self) -> str:
        unit = "dB" if self.decibels else "%"
        parts = [f"{self.recall:.0%} found at twice the threshold"]
        if self.value_error is not None:
            parts.append(
                f"value within {self.value_error:g} {unit}" if self.value_error else "value exact"
            )
        if self.span_ms is not None:
            parts.append(f"ends within {self.span_ms:.0f} ms" if self.span_ms else "ends exact")
        missed = f"; short of the target in {' and '.join(self.missed)}" if self.missed else ""
        return ", ".join(parts) + missed


#: What was found in calls with nothing wrong, and in calls with what only looks like a fault: how
#: many hours of each, and how many findings.
ALARMS: Final[dict[str, tuple[float, int]]] = {
    "with nothing wrong": (5.1, 0),
    "with what only looks like a fault": (2.5, 0),
}

#: One row for each planted fault, in the order of ``tests/planting.py``.
MEASURED: Final = (
    Accuracy("underrun", "hole", 1.0, 0.0, 0.0),
    Accuracy("pacing", "ahead", 1.0, 0.0),
    Accuracy("pacing", "paced", 1.0, 0.0),
    Accuracy("dead_air", "silent", 1.0, 0.2, 8.0),
    Accuracy("slow_barge_in", "yielding", 1.0, 1.6, 33.0),
    Accuracy("missing_clear", "uncleared", 1.0, 0.0, 0.0),
    Accuracy("false_barge_in", "cut_by_nobody", 0.95, None, 0.0),
    Accuracy("slow_response", "waiting", 1.0, 0.9),
    Accuracy("echo", "echoing", 1.0, 0.3, 7.0, True),
    Accuracy("clipping", "clipped", 1.0, 2.3, 0.0),
    Accuracy("clipping", "clipped_caller", 1.0, 1.8, 0.0),
    Accuracy("level_mismatch", "apart", 1.0, 0.3, None, True),
    Accuracy("noise", "noisy", 1.0, 0.1, 8.0, True),
    Accuracy("noise", "noisy_words", 1.0, 0.7, 190.0, True),
    Accuracy("dc_offset", "offset", 1.0, 6.5),
    Accuracy("sequence_gap", "lost", 1.0, 0.0, 0.0),
    Accuracy("duplicate", "doubled", 1.0, 0.0, 0.0),
    Accuracy("jitter", "stalled", 1.0, 0.0, 0.0),
    Accuracy("loop_lag", "blocked", 1.0, 0.0, 0.0),
    Accuracy("clock_drift", "drifting", 1.0, 0.1),
    Accuracy("wrong_codec", "misread", 1.0),
    Accuracy("aliasing", "folded", 1.0, 0.2, None, True),
    Accuracy("tail_lost", "tailless", 1.0, 0.0),
    Accuracy("audio_lost", "unsent", 1.0, 0.0),
    Accuracy("dropout", "punched", 1.0, 0.0, 0.0),
    Accuracy("dropout", "punched_caller", 1.0, 0.0, 0.0),
    Accuracy("upsampled", "narrow", 1.0),
    Accuracy("wrong_rate", "doubled_rate", 1.0, 0.0),
    Accuracy("late_start", "late", 1.0, 0.0, 0.0),
    Accuracy("late_start", "piled_up", 1.0, 0.0),
    Accuracy("cut_goodbye", "hung_up", 1.0, 0.0, 0.0),
    Accuracy("slow_shutdown", "lingering", 1.0, 0.0, 0.0),
    Accuracy("stale_audio", "stale", 1.0, 0.0, 0.0),
    Accuracy("unheard_speech", "unheard", 1.0, 6.6, 1.0),
    Accuracy("ambience_gap", "without_ambience", 1.0, 1.2, 1.0),
    Accuracy("onset_pop", "popping", 1.0, 0.0, 0.0, True),
    Accuracy("block_joint", "jointed", 1.0),
    Accuracy("wire_overhead", "tiny", 1.0, 3.7),
)
