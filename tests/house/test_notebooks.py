"""The committed notebooks are clean and fresh, and every cell still runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebooks import FOLDER, execute, problems

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_clean_and_fresh(path: Path) -> None:
    assert problems(path) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path) -> None:
    execute(path)  # raises CellExecutionError with the cell and the traceback
