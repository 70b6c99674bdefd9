"""``python -m tests.benchmarks [--markdown] [NAME ...]``."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import TypeAlias

from loguru import logger
from rich.console import Console

import tests.benchmarks

Run: TypeAlias = Callable[[Console], Sequence[Sequence[str]] | None]


def benchmarks() -> dict[str, Run]:
    names = (module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__))
    modules = {
        name: importlib.import_module(f"tests.benchmarks.{name}")
        for name in names
        if not name.startswith("_")
    }
    return {name: module.run for name, module in modules.items() if hasattr(module, "run")}


def markdown(rows: Sequence[Sequence[str]]) -> str:
    header, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([header, "|" + " --- |" * len(rows[0]), *body])


def main() -> None:
    known = benchmarks()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--markdown", action="store_true", help="print the tables of the README")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}")
    logger.remove()
    console = Console(stderr=options.markdown)
    for name in options.names or known:
        console.rule(name)
        rows = known[name](console)
        if rows and options.markdown:
            print(markdown(rows))


if __name__ == "__main__":
    main()
