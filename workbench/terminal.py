"""What commands print on a terminal: findings, comparisons and choices as tables and sentences."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from workbench.looks import SEVERITY_LOOKS

if TYPE_CHECKING:
    import pandas as pd

    from workbench.diagnosis import Findings
    from workbench.surveys import Survey
    from workbench.surveys.groups import Changes
    from workbench.surveys.result import Step
    from workbench.tuning.comparison import Comparison
    from workbench.tuning.tuning import TuningResult

__all__ = ["print_comparison", "print_findings", "print_summary", "print_survey", "print_tuning"]


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
        if finding.words:
            console.print(Padding(escape(finding.words), _INDENT, expand=False))
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


def print_survey(
    console: Console,
    found: Survey,
    *,
    worst: int = 10,
    trend: Step | None = None,
    changed: Changes | None = None,
) -> None:
    """Print many calls: what changed, the worst of them, the kinds by share of calls, the trend.

    Args:
        console: Where to. What is no terminal gets a line a row, with tabs between its cells.
        found: The calls.
        worst: How many of the worst calls are named.
        trend: By what, if it is wanted.
        changed: What differs between groups of them, if that is wanted.
    """
    print_line(console, found.sentence)
    for sentence in changed.sentences if changed else ():
        print_line(console, sentence)
    if bad := _rows(found.worst(worst)):
        first = {
            row["capture"]: row for row in _rows(found.findings[found.findings["number"] == 1])
        }
        _print_table(
            console,
            ("began (UTC)", ">length", ">harm", "worst of it", "capture"),
            [
                (
                    f"{call['started_at']:%Y-%m-%d %H:%M:%S}",
                    f"{call['duration']:.0f} s",
                    f"{call['harm']:.0f}",
                    _what(first[call["capture"]]),
                    _short(console, call["capture"]),
                )
                for call in bad
            ],
        )
    if kinds := _rows(found.kinds):
        _print_table(
            console,
            ("kind", "at worst", ">calls", ">share", ">as error", "worst in"),
            [
                (
                    kind["title"],
                    kind["severity"],
                    f"{kind['calls']}",
                    f"{kind['percent']:.1f} %",
                    f"{kind['errors']}",
                    _short(console, kind["worst"]),
                )
                for kind in kinds
            ],
        )
    if trend is not None:
        table = found.trend(trend)
        form = "%Y-%m-%d %H:%M" if trend == "hour" else "%Y-%m-%d"
        _print_table(
            console,
            (trend, ">calls", ">bad (%)", ">errors (%)", ">holes/min", ">answer (ms)", ">loss (%)"),
            (
                (f"{row[0]:{form}}", f"{row[1]}", *(_figure(value) for value in row[2:]))
                for row in table.itertuples()
            ),
        )
    for name, why in found.skipped.items():
        print_line(console, f"skipped: {name}: {why}")


def print_line(console: Console, text: str) -> None:
    """Print a sentence, wrapped on a terminal only."""
    if console.is_terminal:
        console.print(text, markup=False)
    else:
        print(_printable(text), file=console.file)


def _print_table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere a line a row, neither wrapped nor padded.

    Args:
        console: Where to.
        headings: Those that begin with ``>`` are of columns with numbers.
        rows: Their cells.
    """
    if not console.is_terminal:
        for row in ([heading.lstrip(">") for heading in headings], *rows):
            print(
                *map(_printable, row), sep="\t", file=console.file
            )  # rich would make blanks of tabs
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(
            escape(heading.lstrip(">")),
            justify="right" if heading.startswith(">") else "left",
            no_wrap=heading.startswith(">"),
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(escape(_printable(cell)) for cell in row))
    console.print()
    console.print(table)


def _rows(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return frame.to_dict("records")


def _what(finding: Mapping[Hashable, Any]) -> str:
    return f"{finding['title']}, {finding['value']:.4g} {finding['unit']}".rstrip()


def _short(console: Console, capture: str) -> str:
    """A capture's name where there is little room; elsewhere where it is."""
    return capture.rpartition("/")[2] if console.is_terminal else capture


def _figure(value: float) -> str:
    return "" if value != value else f"{value:.1f}"


def _printable(text: str) -> str:
    """Without what a terminal would take for a command: some of it comes from captures."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
