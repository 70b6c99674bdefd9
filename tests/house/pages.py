"""``make docs``: pages of both packages from their docstrings, into ``docs-html/``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pdoc

from tests.house.references import broken, modules


def main() -> int:
    """Write the pages, unless a reference leads nowhere."""
    pages = modules()
    if wrong := [line for module in pages for line in broken(module)]:
        print(*wrong, sep="\n", file=sys.stderr)
        return 1
    for module in pages:  # a lazy door has its names once they have been asked for
        for name in getattr(module, "__all__", ()):
            getattr(module, name)
    folder = Path(__file__).parents[2] / "docs-html"
    pdoc.render.configure(docformat="google", math=True, show_source=False)
    with warnings.catch_warnings():
        # pdoc tells of what only type checkers import, and of modules that it found by itself.
        warnings.simplefilter("ignore", UserWarning)
        pdoc.pdoc(*(module.__name__ for module in pages), output_directory=folder)
    print(folder / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
