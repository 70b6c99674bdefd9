"""How long it takes until anything happens: CPU time of fresh interpreters."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

_ROOT: Final = Path(__file__).parents[2]
_CAPTURE: Final = "sample_audio/captures/choppy.mcap"
_DIAGNOSE: Final = ("-m", "workbench", "diagnose", _CAPTURE)
_STARTED: Final[dict[str, Sequence[str]]] = {
    "workbench --help": ("-m", "workbench", "--help"),
    "workbench summary, 26 s": ("-m", "workbench", "summary", _CAPTURE),
    "workbench diagnose, 26 s": _DIAGNOSE,
    "import pipecat_bandwidth.serializer": ("-c", "import pipecat_bandwidth.serializer"),
    "import workbench.tap": ("-c", "import workbench.tap"),
}
_TIMES: Final = 5
_HEAVIEST: Final = 10


def run(console: Console) -> None:
    for name, arguments in _STARTED.items():
        console.print(f"{name:36} {cpu_secs(arguments):.2f} s of CPU")
    console.print("\nHeaviest packages of a diagnosis, each without what it imports of others:")
    for package, secs in packages(_DIAGNOSE).most_common(_HEAVIEST):
        console.print(f"{package:36} {1000 * secs:.0f} ms")


def cpu_secs(arguments: Sequence[str]) -> float:
    """User and system time of an interpreter, the median of five."""
    spent = []
    for _ in range(_TIMES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _python(arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return statistics.median(spent)


def packages(arguments: Sequence[str]) -> Counter[str]:
    """Seconds spent on the import of each package's own modules, by ``-X importtime``."""
    spent: Counter[str] = Counter()
    for line in _python(["-X", "importtime", *arguments]).splitlines():
        own, _, module = line.removeprefix("import time:").split("|") if "|" in line else 3 * ("",)
        if own.strip().isdigit():
            spent[module.strip().partition(".")[0]] += int(own) / 1e6
    return spent


def _python(arguments: Sequence[str]) -> str:
    """Run an interpreter; what it wrote to stderr."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=_ROOT, capture_output=True, text=True, check=True
    ).stderr
