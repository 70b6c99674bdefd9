"""``python -m tests.ground install | gather | record | keep | judge``."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from rich.console import Console

from tests.ground.calls import RUNS
from tests.ground.judge import judge
from tests.ground.keep import keep_all
from tests.ground.people import gather
from tests.ground.record import PIPECATS, record
from tests.ground.voices import ROOT, install

RECORDED = ROOT / ".bench" / "ground"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.ground")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="the voices, as root on Debian")
    gathering = commands.add_parser("gather", help="people of a folder")
    gathering.add_argument("folder", type=Path, help="with a folder for each speaker, and music")
    gathering.add_argument("--half", default="measured", choices=("work", "measured"))
    recording = commands.add_parser("record", help="runs of real pipelines")
    recording.add_argument("--pipecat", nargs="*", default=PIPECATS, choices=PIPECATS)
    recording.add_argument("--out", type=Path, default=RECORDED)
    recording.add_argument("--only", nargs="*", default=(), metavar="NAME")
    recording.add_argument("--at-once", type=int, default=2)
    recording.add_argument("--late", type=float, default=30.0, help="ms that a run may be late")
    recording.add_argument("--take", type=int, default=1, help="11: people to be measured")
    judging = commands.add_parser("judge", help="what the diagnosis says of clean calls")
    judging.add_argument("--runs", type=Path, default=RUNS)
    judging.add_argument("--half", default="work", choices=("work", "measured"))
    judging.add_argument("--hours", type=float, default=2.0)
    judging.add_argument("--late", type=float, default=60.0, help="ms that a run may be late")
    keeping = commands.add_parser("keep", help="runs in the tree, without sound")
    keeping.add_argument("--runs", type=Path, default=RECORDED)
    keeping.add_argument("--late", type=float, default=60.0, help="ms that a run may be late")
    keeping.add_argument("--most-bytes", type=int, default=6_000_000)
    options = parser.parse_args()
    console = Console()
    if options.command == "install":
        install()
        return
    if options.command == "gather":
        for line in gather(options.folder, options.half):
            console.print(line, highlight=False)
        return
    if options.command == "judge":
        judge(options.runs, options.half, options.hours, console, most_late_ms=options.late)
        return
    if options.command == "keep":
        for path in keep_all(options.runs, options.late, options.most_bytes):
            console.print(f"{path.name}: {path.stat().st_size:,} bytes", highlight=False)
        return
    for pipecat in options.pipecat:
        took = asyncio.run(
            record(
                pipecat,
                options.out.absolute(),
                options.only,
                console,
                at_once=options.at_once,
                most_late_ms=options.late,
                take=options.take,
            )
        )
        console.print(f"Pipecat {pipecat}: recorded in {took:.0f} s")


if __name__ == "__main__":
    main()
