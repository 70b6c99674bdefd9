"""What commands print on a terminal: findings, comparisons and choices as tables and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from workbench.looks import SEVERITY_LOOKS

if TYPE_CHECKING:
    from workbench.diagnosis import Findings
    from workbench.tuning.comparison import Comparison
    from workbench.tuning.tuning import TuningResult

__all__ = ["print_comparison", "print_findings", "print_summary", "print_tuning"]


#: What is said of a finding stands below its heading, four columns in.
_INDENT: Final = (0, 0, 0, 4)


def print_summary(console: Console, summary: str) -> None:
    """Print a call's summary: its sentence wrapped, its facts one a line, as they can be copied."""
    sentence, _, facts = summary.partition("\n")
    console.print(sentence, markup=False)
    console.print(facts, markup=False, soft_wrap=True)


def print_findings(console: Console, found: Findings) -> None:
    """Print findings, worst first; a cause or a remedy is said once."""
    console.print(found.sentence, markup=False)
    for finding, advice in zip(found, found.advice(), strict=True):
        side = f" ({finding.side})" if finding.side else ""
        console.print()
        console.print(
            f"[{SEVERITY_LOOKS[finding.severity].style}]{finding.severity}[/]  {finding.when}  "
            f"[bold]{escape(finding.title)}[/]{side}  [dim]{escape(finding.kind)}[/]"
        )
        console.print(Padding(escape(finding.told), _INDENT, expand=False))
        for heading, text in zip(("why", "change"), advice, strict=True):
            console.print(Padding(f"[dim]{heading}:[/] {escape(text)}", _INDENT, expand=False))
    if found.not_judged:
        console.print(f"\n{found.not_judged}", markup=False)
    if found.changes is not None:
        console.print("\nAgainst the baseline:")
        for change in found.changes or ("nothing changed",):
            console.print(Padding(escape(str(change)), _INDENT, expand=False))


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print a comparison: table, what its headings mean, conclusion, assumption."""
    from workbench.tuning.comparison import (
        LEGEND,  # pandas takes a second, which --help need not wait for
    )

    # So that 80 columns are enough: no edge, and two characters between columns.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    shown = comparison.shown
    for heading in map(str, shown):
        justify: Literal["left", "right"] = "left" if heading in ("far leg", "setting") else "right"
        table.add_column(escape(heading.replace(" (", "\n(")), justify=justify, no_wrap=True)
    for row in shown.itertuples(index=False):
        table.add_row(*map(escape, row))
    console.print(table)
    console.print(LEGEND, markup=False, style="dim")
    console.print()
    console.print(comparison.sentence, markup=False)
    console.print(comparison.assumption, markup=False, style="dim")


def print_tuning(console: Console, result: TuningResult) -> None:
    """Print a choice, its reasons, and the line to paste."""
    for line in result.why:
        console.print(line, markup=False)
    for line in result.advice:
        console.print(f"Advice: {line}", markup=False)
    console.print(result.code, markup=False, style="bold", soft_wrap=True)
