"""The shape of the project: who may import whom, and what a bot has to load."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# httpx itself imports rich where it is installed, for its own command line.
HEAVY = ("scipy", "matplotlib", "pandas", "ipywidgets", "soundfile", "typer", "pystoi", "numba")
#: What takes from a fifth of a second to two seconds to import.
SLOW = {"scipy", "pandas", "pystoi", "pipecat", "matplotlib", "httpx"}


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name]


def test_layers_hold() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("module", ["pipecat_bandwidth", "workbench.capture", "workbench.tap"])
def test_a_bot_loads_nothing_heavy(module: str) -> None:
    """Count what our import adds to what Pipecat's serializer base loads by itself."""
    code = (
        "import sys, pipecat.serializers.base_serializer; before = set(sys.modules);"
        f"import {module};"
        "print('\\n'.join(m for m in sys.modules if m not in before))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    added = {name.partition(".")[0] for name in run.stdout.split()}
    assert not added & set(HEAVY)
    assert module.partition(".")[0] in added


def loaded_by(*statements: str) -> set[str]:
    """Packages and modules that a fresh interpreter has loaded after these statements."""
    code = "; ".join(["import sys", *statements, "print('\\n'.join(['', *sys.modules]))"])
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "workbench.audio",
        "workbench.call.call",
        "workbench.diagnosis.findings",
        "workbench.exports",
        "workbench.metrics.alignment",
        "workbench.metrics.distances",
        "workbench.metrics.levels",
        "workbench.metrics.spectra",
    ],
)
def test_analysis_starts_light(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert not loaded & SLOW


@pytest.mark.parametrize("command", ["summary", "diagnose"])
def test_a_command_loads_what_it_needs(command: str) -> None:
    """While it works too, not only when it starts."""
    capture = "sample_audio/captures/choppy.mcap"
    loaded = loaded_by(
        "from workbench.cli import app",
        f"app([{command!r}, {capture!r}], standalone_mode=False)",
    )
    assert "workbench.call.call" in loaded
    assert not loaded & SLOW


def test_help_loads_no_numbers() -> None:
    loaded = loaded_by("from workbench.cli import app", "app(['--help'], standalone_mode=False)")
    assert not loaded & (SLOW | {"numpy", "loguru", "pydantic"})


def test_only_plots_imports_matplotlib() -> None:
    users = {
        path.name
        for path in (ROOT / "workbench").rglob("*.py")
        if re.search(r"^\s*(import|from) matplotlib", path.read_text(), re.MULTILINE)
    }
    assert users == {"plots.py"}


def test_requirements_name_no_host_and_cover_the_project() -> None:
    import tomllib

    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    pinned = {line.partition("==")[0].lower() for line in lock.splitlines() if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [
        *project["project"]["dependencies"],
        *extras["workbench"],
        *extras["dask"],
        *extras["survey"],
        *project["dependency-groups"]["dev"],
    ]
    names = {re.split(r"[\[<>=!;~ ]", r, maxsplit=1)[0].lower().replace("_", "-") for r in wanted}
    assert names <= pinned


def test_no_file_names_a_machine_or_a_registry() -> None:
    words = (
        "/home/",
        "/root/",
        "/work/",
        "files.pythonhosted",
        "pypi.org/simple",
        "registry.npmjs",
    )
    for path in tracked_files():
        if path.suffix in {".flac", ".wav", ".mcap", ".png"} or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not [word for word in words if word in text], path
