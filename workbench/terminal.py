"""What commands print on a terminal: findings, comparisons and choices as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.findings import Finding
    from workbench.tuning import TuningResult

__all__ = ["print_comparison", "print_findings", "print_tuning"]


def print_findings(console: Console, found: Sequence[Finding]) -> None:
    """Print findings as a table, worst first."""
    if not found:
        console.print("Nothing found: no fault of this call is above its threshold.")
        return
    table = Table(
        title=f"{len(found)} finding{'s' if len(found) != 1 else ''}, worst first",
        title_justify="left",
    )
    for heading in ("how bad", "when (s)", "what and how much", "why", "what to change"):
        table.add_column(heading, overflow="fold")
    style = {"error": "bold red", "warning": "yellow", "info": "cyan"}
    told: set[str] = set()
    for finding in found:
        side = f" ({finding.side})" if finding.side else ""
        advice = ["as above" if t in told else t for t in (finding.cause, finding.remedy)]
        told |= {finding.cause, finding.remedy}
        table.add_row(
            f"[{style[finding.severity]}]{finding.severity}[/]",
            f"{finding.span[0]:.2f}\N{EN DASH}{finding.span[1]:.2f}",
            f"[bold]{finding.kind}[/]{side}: {escape(finding.measurement)}",
            *map(escape, advice),
        )
    console.print(table)


#: What a terminal has room for, and how it is headed; the whole table goes to CSV and the report.
_COLUMNS: Final = {
    "leg": "far leg",
    "setting": "setting",
    "bandwidth_hz": "reaches (Hz)",
    "lsd_db": "distance (dB)",
    "lsd_wide_db": "to 7 kHz (dB)",
    "seg_snr_db": "segSNR (dB)",
    "estoi": "ESTOI",
    "delay_ms": "delay (ms)",
    "kbit_s": "kbit/s",
}


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print a comparison: table, conclusion, assumption."""
    table = Table()
    for name, heading in _COLUMNS.items():
        table.add_column(heading, justify="left" if name in ("leg", "setting") else "right")
    for row in comparison.table[list(_COLUMNS)].itertuples(index=False):
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)
    console.print(comparison.sentence, markup=False)
    console.print(comparison.assumption, markup=False, style="dim")


def print_tuning(console: Console, result: TuningResult) -> None:
    """Print a choice, its reasons, and the line to paste."""
    for line in result.why:
        console.print(line, markup=False)
    for line in result.advice:
        console.print(f"Advice: {line}", markup=False)
    console.print(result.code, markup=False, style="bold", soft_wrap=True)
