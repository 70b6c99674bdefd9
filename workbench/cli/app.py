"""The program, and what goes before any command."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pipecat_bandwidth import __version__

__all__ = ["app"]

app = typer.Typer(
    name="workbench",
    help="Hear, see and tune what a Pipecat bot sends over Bandwidth.",
    epilog="Exit codes: 0 done; 1 done, and the answer is bad; 2 it could not be done.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say the version and exit."
        ),
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            help="Read files of your own that are larger than files may be, so many times.",
        ),
    ] = None,
) -> None:
    """Take what goes before any command."""
    if budget is not None:
        from workbench.budget import ENVIRONMENT, Budget

        Budget().times(budget)  # refuses what is no factor
        os.environ[ENVIRONMENT] = str(budget)  # for the processes too that this starts
