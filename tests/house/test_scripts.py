"""The JavaScript of the widgets and of the report: it parses, holds nothing unused, and is tidy."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import playwright
import pytest

from tests.house.test_layers import ROOT
from workbench.timeline.listening import BlindListening
from workbench.timeline.timeline import CallTimeline

NODE = Path(playwright.__file__).parent / "driver" / "node"
FILES = sorted((ROOT / "workbench").rglob("*.js"))
REPORT = (ROOT / "workbench" / "report" / "report.html.j2").read_text("utf-8")
VIEW = ROOT / "workbench" / "view" / "page"
SCRIPTS = re.findall(r"<script nonce=[^>]*>(.*?)</script>", REPORT, re.DOTALL)

#: What is run as one: the modules of the widgets, the scripts of the report.
PROGRAMS = {
    "CallTimeline": CallTimeline._esm,
    "BlindListening": BlindListening._esm,
    **{f"report-{number}": text for number, text in enumerate(SCRIPTS)},
}
#: The modules of the browser's pages, which a browser puts together.
PAGES = {path.name: path.read_text("utf-8") for path in sorted(VIEW.glob("*.js"))}

NAME = r"[A-Za-z_$][\w$]*"
DECLARED = re.compile(rf"\b(?:const|let|function|class)\s+({NAME})")
UNPACKED = re.compile(r"\b(?:const|let)\s+[\[{]([^=]*?)[\]}]\s+(?:=|of\b)")
METHOD = re.compile(rf"^  (?:static |async |get )*({NAME})\([^)]*\) \{{", re.MULTILINE)
#: Called by the page that runs the program.
CALLED = {"constructor", "render"}


def code(text: str) -> str:
    """A program without its comments."""
    return re.sub(r"(?m)(^|\s)//.*$", "", text)


def declared(text: str) -> set[str]:
    """The names of a script: variables, functions, classes and their methods."""
    parts = [part for parts in UNPACKED.findall(code(text)) for part in parts.split(",")]
    unpacked = {part.rpartition(":")[2].strip(" {}[].") for part in parts}
    return {*DECLARED.findall(code(text)), *METHOD.findall(code(text)), *unpacked} - CALLED - {""}


def unused(text: str, programs: Iterable[str]) -> set[str]:
    """The names that a script declares and none of the programs it is part of says again."""
    said = [Counter(re.findall(NAME, code(program))) for program in programs if text in program]
    return {name for name in declared(text) if all(names[name] < 2 for names in said)}


@pytest.mark.parametrize("program", {**PROGRAMS, **PAGES})
def test_a_script_parses(program, tmp_path) -> None:
    # A module would be strict; the report's scripts are none.
    file = tmp_path / ("a.js" if program.startswith("report") else "a.mjs")
    file.write_text((PROGRAMS | PAGES)[program], "utf-8")
    run = subprocess.run([NODE, "--check", file], capture_output=True, text=True, check=False)
    if "libatomic" in run.stderr:
        pytest.skip("Playwright's node wants libatomic")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("script", [*FILES, *SCRIPTS], ids=lambda s: getattr(s, "name", "report"))
def test_a_script_declares_nothing_that_is_not_used(script) -> None:
    text = script.read_text("utf-8") if isinstance(script, Path) else script
    pages = "\n".join([*PAGES.values(), CallTimeline._esm])  # which they run in
    assert unused(text, [*PROGRAMS.values(), pages]) == set()


def test_what_is_unused_is_noticed() -> None:
    text = "const a = 1; // a\nlet { b, c: d } = a;\nclass E {\n  f() { return d; }\n}\n"
    assert unused(text, [text]) == {"b", "E", "f"}
    assert unused(text, [text, text + "new E(b).f()"]) == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_script_is_tidy(file) -> None:
    text = file.read_text("utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{file.name}:{number}"
        assert line == line.rstrip(), f"{where} ends with spaces"
        assert "\t" not in line, f"{where} has a tab"
        assert len(line) <= 120, f"{where} has {len(line)} characters"
        assert (len(line) - len(line.lstrip(" "))) % 2 == 0, f"{where} is indented by an odd number"
    assert text.endswith("\n") and not text.endswith("\n\n"), f"{file.name} ends with one line feed"
    assert not re.search(r"\bvar\b|[^=!]==[^=]|!=[^=]|console\.", code(text)), file.name
