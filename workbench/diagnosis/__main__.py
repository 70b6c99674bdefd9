"""``python -m workbench.diagnosis.detectors``: print the page on all detectors as Markdown."""

from __future__ import annotations

from workbench.diagnosis.catalogue import page
from workbench.diagnosis.detectors import DETECTORS, SYMPTOMS


def _symptoms() -> str:
    rows = [f"| {number} | {what} | {how} |" for number, (what, how) in enumerate(SYMPTOMS, 1)]
    head = ["| | what people complain of | how it is found |", "| --- | --- | --- |"]
    return "\n".join(["## Symptoms", "", *head, *rows])


if __name__ == "__main__":
    print(page(DETECTORS, _symptoms()), end="")
