"""A measured table, as rows: what is returned to who compares, and printed for who reads."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def print_table(console: Console, title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows of which the first are the headings."""
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
