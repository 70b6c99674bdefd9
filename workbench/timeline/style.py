"""The style sheet of the widgets, with the colours that everything here shares."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from workbench.looks import css_variables

__all__ = ["STYLE"]

#: ``timeline.css``, in which two comments stand for the colours of a light and of a dark page.
STYLE: Final = (
    Path(__file__)
    .with_name("timeline.css")
    .read_text("utf-8")
    .replace("/* day */", css_variables("wb-tl-"))
    .replace("/* night */", css_variables("wb-tl-", night=True))
)
