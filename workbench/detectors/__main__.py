"""``python -m workbench.detectors``: print the page on all detectors as Markdown."""

from __future__ import annotations

from workbench.detectors import DETECTORS, SYMPTOMS
from workbench.detectors.catalogue import page


def _symptoms() -> str:
    rows = [f"| {number} | {what} | {how} |" for number, (what, how) in enumerate(SYMPTOMS, 1)]
    head = ["| | what people complain of | how it is found |", "| --- | --- | --- |"]
    return "\n".join(["## Symptoms", "", *head, *rows])


if __name__ == "__main__":
    print(page(DETECTORS, _symptoms()), end="")
