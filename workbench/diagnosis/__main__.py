"""``python -m workbench.diagnosis``: print the page on all detectors as Markdown."""

from __future__ import annotations

from workbench.diagnosis.catalogue import page

if __name__ == "__main__":
    print(page(), end="")
