"""Run and clean the committed notebooks: ``python -m tests.notebooks``.

Committed notebooks keep text and pictures, for readers on a code-hosting page, and nothing else: no
audio, no widget state, no times, no machine's paths.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import nbformat

FOLDER = Path(__file__).parent.parent / "notebooks"
KEPT = {"text/plain", "image/png", "text/html"}
MAX_BYTES = 400_000


def code_hash(notebook: nbformat.NotebookNode) -> str:
    source = "\n\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(source.encode()).hexdigest()


def read(path: Path) -> nbformat.NotebookNode:
    """Read one; what can takes two seconds to import, of each process that has the tests."""
    import nbformat

    return nbformat.read(path, as_version=4)


def execute(path: Path) -> nbformat.NotebookNode:
    """Run all cells in a kernel of this interpreter, in the notebooks' folder."""
    from nbclient import NotebookClient

    notebook = read(path)
    client = NotebookClient(
        notebook, timeout=180, kernel_name="python3", store_widget_state=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )  # fmt: skip
    client.execute()
    return notebook


def smaller(png: str) -> str:
    """A picture in 40 colours: a third of the size, and no difference to the eye."""
    drawn, small = io.BytesIO(base64.b64decode(png)), io.BytesIO()
    Image.open(drawn).convert("RGB").quantize(40).save(small, format="png", optimize=True)
    return base64.b64encode(small.getvalue()).decode("ascii")


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Keep what reads well without a kernel."""
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        if "outputs" in cell:  # a log line has a time in it
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            if "data" in output:
                html = output.data.get("text/html", "")
                kept = {
                    kind: content
                    for kind, content in output.data.items()
                    if kind in KEPT and not (kind == "text/html" and "<audio" in html)
                }
                if "image/png" in kept:
                    kept["image/png"] = smaller(kept["image/png"])
                output.data = kept
                output.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "code_sha256": code_hash(notebook),
    }
    return notebook


def problems(path: Path) -> list[str]:
    """What is wrong with a committed notebook; nothing when it is clean and fresh."""
    notebook = read(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = []
    if notebook.metadata.get("code_sha256") != code_hash(notebook):
        found.append("its outputs are stale: run python -m tests.notebooks")
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("its cells were not run once, in order")
    if any(output.output_type == "error" for cell in cells for output in cell.outputs):
        found.append("a cell ends in an error")
    if any(len(cell.source.splitlines()) > 5 for cell in cells):
        found.append("a cell has more than five lines")
    if any(re.search(r"^\s*(def|class|for|while)\b", c.source, re.MULTILINE) for c in cells):
        found.append("a cell defines or loops: that belongs into the package")
    text = path.read_text(encoding="utf-8")
    private = r"<audio|application/vnd.jupyter.widget|data:audio|" + re.escape(str(Path.home()))
    if re.search(private, text):
        found.append("it holds audio, widget state or a machine's path")
    if len(text) > MAX_BYTES:
        found.append(f"{len(text)} bytes, at most {MAX_BYTES}")
    return found


def main() -> None:
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = clean(execute(path))
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", *problems(path), sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
