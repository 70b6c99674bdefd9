"""``make compat``: our tests and a real call, on each Pipecat release and Python of interest.

Every pair gets a virtual environment of its own, with our core dependencies and what the tests
need, nothing of the workbench. ``python -m tests.benchmarks.compat 1.4.0 3.13`` runs a part of it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
PIPECATS = ("1.4.0", "1.7.0", "1.8.0", "1.11.0", "1.14.0")
PYTHONS = ("3.11", "3.12", "3.13")
MODULES = ("serializer", "messages", "encodings", "resampler", "voice_api", "transport")
FILES = [f"tests/pipecat_bandwidth/test_{module}.py" for module in MODULES]
FILES.append("tests/test_attach.py")
TOOLS = "pytest>=9 pytest-asyncio>=1.2 hypothesis scipy trustme uvicorn websockets>=14".split()


def uv() -> str:
    """Path of uv: that of this environment, or the user's."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("uv", path=folders)
    if found is None:
        sys.exit("uv is needed: pip install uv")
    return found


def interpreter(version: str) -> str | None:
    """Find a Python that runs, on PATH, among uv's or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        shutil.which(f"python{version}"),
        *sorted(str(path) for path in pyenv.glob(f"{version}.*/bin/python")),
        subprocess.run(
            [uv(), "python", "find", "--no-project", "--system", version],
            capture_output=True,
            text=True,
        ).stdout.strip(),
    ]
    wanted = f"import sys; sys.exit(sys.version_info[:2] != {tuple(map(int, version.split('.')))})"
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", wanted], capture_output=True).returncode == 0:
            return candidate
    return None


def try_out(python: str, pipecat: str, console: Console) -> str:
    """Run the tests of one pair.

    Returns:
        ``"183 passed"`` or what went wrong, in a few words.
    """
    with tempfile.TemporaryDirectory(prefix="compat-") as folder:
        subprocess.run([uv(), "venv", "--quiet", "--python", python, folder], check=True)
        inside = str(Path(folder) / "bin" / "python")
        wanted = [str(ROOT), f"pipecat-ai[websocket]=={pipecat}", *TOOLS]
        install = [uv(), "pip", "install", "--quiet", "--python", inside, *wanted]
        installed = subprocess.run(install, capture_output=True, text=True)
        if installed.returncode:
            console.print(installed.stderr[-2000:], markup=False)
            return "does not install"
        # Newer releases deprecate what older ones need; that is not the question here.
        options = ["-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "-W", "default"]
        tested = subprocess.run(
            [inside, "-m", "pytest", *options, *FILES], cwd=ROOT, capture_output=True, text=True
        )
    counts = re.findall(
        r"\d+ (?:passed|failed|errors?|skipped)", tested.stdout.strip().rpartition("\n")[2]
    )
    if tested.returncode:
        console.print((tested.stdout + tested.stderr)[-4000:], markup=False)
    return ", ".join(counts) or "did not run"


def matrix(pipecats: Sequence[str], pythons: Sequence[str], console: Console) -> bool:
    """Try every pair, print the table; whether all that could run has passed."""
    found = {version: interpreter(version) for version in pythons}
    table = Table("Pipecat", *(f"Python {version}" for version in pythons))
    passed = True
    for pipecat in pipecats:
        cells = []
        for version, python in found.items():
            if python is None:
                cells.append("missing")
                continue
            with console.status(f"Pipecat {pipecat} on Python {version}"):
                cells.append(try_out(python, pipecat, console))
            console.print(f"Pipecat {pipecat}, Python {version}: {cells[-1]}")
            passed &= bool(re.fullmatch(r"\d+ passed(, \d+ skipped)?", cells[-1]))
        table.add_row(pipecat, *cells)
    console.print(table)
    return passed


def main() -> None:
    chosen = sys.argv[1:]
    if unknown := set(chosen) - {*PIPECATS, *PYTHONS}:
        sys.exit(f"not among {', '.join(PIPECATS + PYTHONS)}: {', '.join(unknown)}")
    pipecats = [version for version in PIPECATS if version in chosen]
    pythons = [version for version in PYTHONS if version in chosen]
    sys.exit(not matrix(pipecats or PIPECATS, pythons or PYTHONS, Console()))


if __name__ == "__main__":
    main()
