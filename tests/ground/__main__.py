"""``python -m tests.ground install | record | judge``."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from rich.console import Console

from tests.ground.record import PIPECATS, record
from tests.ground.voices import ROOT, install

RUNS = ROOT / ".bench" / "ground"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.ground")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="the voices, as root on Debian")
    recording = commands.add_parser("record", help="runs of real pipelines")
    recording.add_argument("--pipecat", nargs="*", default=PIPECATS, choices=PIPECATS)
    recording.add_argument("--out", type=Path, default=RUNS)
    recording.add_argument("--only", nargs="*", default=(), metavar="NAME")
    recording.add_argument("--at-once", type=int, default=3)
    options = parser.parse_args()
    console = Console()
    if options.command == "install":
        install()
        return
    for pipecat in options.pipecat:
        took = asyncio.run(
            record(pipecat, options.out.absolute(), options.only, options.at_once, console)
        )
        console.print(f"Pipecat {pipecat}: recorded in {took:.0f} s")


if __name__ == "__main__":
    main()
