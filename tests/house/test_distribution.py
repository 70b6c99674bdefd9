"""What is installed: one distribution, whose core is enough for a bot."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import pipecat_bandwidth
from hatch_build import described

ROOT = Path(__file__).parents[2]
EXTRAS = {"workbench", "server", "runner", "dask", "survey", "quality", "pesq"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path, names: set[str]) -> Message:
    (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(name).decode())


def test_it_bears_the_official_name(metadata: Message) -> None:
    assert metadata["Name"] == "pipecat-bandwidth"
    assert metadata["Version"] == pipecat_bandwidth.__version__
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS
    assert metadata.get_all("Project-URL") is None
    assert metadata.get_all("License-File") == ["LICENSE", "sample_audio/LICENSES.md"]


def test_its_description_is_the_readme_and_leads_nowhere(metadata: Message) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = metadata.get_payload()
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert len(told) > 0.95 * len(readme)
    assert "[CONTRIBUTING](CONTRIBUTING.md)" in readme and "CONTRIBUTING has the set-up" in told
    assert "![A choppy call" in readme and "A choppy call" not in told
    links = re.findall(r"\]\(([^)]*)\)", told)
    assert links and all(link.startswith("https://") for link in links)


def test_where_the_files_can_be_had_links_lead_there() -> None:
    text = "![a](b/c.png)\n[d](E.md), [f](https://g.example/h)"
    assert described(text, "https://files.example/v1/") == (
        "![a](https://files.example/v1/b/c.png)\n[d](https://files.example/v1/E.md), "
        "[f](https://g.example/h)"
    )


def test_a_bot_installs_no_analysis(metadata: Message) -> None:
    wanted = metadata.get_all("Requires-Dist", [])
    core = {re.split("[<>=;]", line)[0] for line in wanted if "extra ==" not in line}
    assert core == {
        "audioop-lts", "httpx", "mcap", "msgspec", "numpy", "pipecat-ai[websocket]", "pybase64",
    }  # fmt: skip


def test_everything_that_runs_is_in_it(names: set[str]) -> None:
    """Every module, template, script and style, and what the demo plays; no tests."""
    tracked = [path for path in (ROOT / "workbench").rglob("*.*") if "__pycache__" not in str(path)]
    assert {path.suffix for path in tracked} >= {".py", ".j2", ".js", ".css"}
    sounds = [*(ROOT / "sample_audio" / "call").rglob("*.*")]
    assert {path.suffix for path in sounds} == {".flac", ".json"}
    wanted = {path.relative_to(ROOT).as_posix() for path in tracked}
    wanted |= {f"workbench/{path.relative_to(ROOT).as_posix()}" for path in sounds}
    wanted |= {"workbench/py.typed", "pipecat_bandwidth/py.typed"}
    assert wanted <= names
    folders = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert folders == {"pipecat_bandwidth", "workbench"}


@pytest.mark.parametrize("package", ["typer", "rich", "soxr"])
def test_without_the_extra_the_command_says_what_to_install(package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None;"
        "sys.argv = ['workbench', 'summary', 'sample_audio/captures/demo.mcap'];"
        "from workbench.__main__ import main; main()"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("workbench: ") and len(run.stderr.splitlines()) == 1
    assert "needs the extra: pip install 'pipecat-bandwidth[workbench]'" in run.stderr
