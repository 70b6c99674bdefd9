"""The tests live where the code lives: a room of the one is a room of the other."""

from __future__ import annotations

from tests.house.test_layers import ROOT

#: Tests of no single room: of the whole, in a browser, on the ground, with what is broken, and what
#: only measures or is called by tests.
OTHERS = {"house", "browser", "benchmarks", "ground", "fuzz", "staged"}


def rooms() -> set[str]:
    """The packages and modules of the workbench, and the serializer's package."""
    inside = (ROOT / "workbench").iterdir()
    names = {
        path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    return {name for name in names if not name.startswith("__")} | {"pipecat_bandwidth"}


def test_every_room_has_its_tests_and_every_test_its_room() -> None:
    inside = list((ROOT / "tests").iterdir())
    folders = {path.name for path in inside if (path / "__init__.py").exists()}
    files = {path.stem.removeprefix("test_") for path in inside if path.match("test_*.py")}
    assert not folders & files, "a room's tests are a folder or a file"
    assert folders | files == rooms() | OTHERS


def test_a_folder_of_tests_holds_some() -> None:
    folders = [path for path in (ROOT / "tests").iterdir() if (path / "__init__.py").exists()]
    empty = [path.name for path in folders if not list(path.rglob("test_*.py"))]
    assert set(empty) <= {"benchmarks", "staged"}
