"""Colours are told once, and what is written on them can be read."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from workbench.diagnosis import SEVERITIES
from workbench.looks import SEVERITY_LOOKS, SIDE_COLOURS, css_variables

ROOT = Path(__file__).parent.parent


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, by WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("severity", "page"), list(product(SEVERITIES, ("day", "night"))))
def test_a_severity_can_be_read(severity, page):
    colours = getattr(SEVERITY_LOOKS[severity], page)
    assert contrast(colours.paper, colours.ink) >= 4.5


def test_a_severity_is_never_told_by_colour_alone():
    looks = [SEVERITY_LOOKS[severity] for severity in SEVERITIES]
    assert len({look.mark for look in looks}) == len({look.hatch for look in looks}) == 3


@pytest.mark.parametrize("night", [False, True])
def test_style_sheets_get_every_colour(night):
    css = css_variables("x-", night=night)
    for name in (*SEVERITIES, *SIDE_COLOURS):
        assert re.search(rf"--x-{name}: #[0-9a-f]{{6}};", css)


def test_each_colour_stands_once():
    told = {look.day.paper for look in SEVERITY_LOOKS.values()}
    for path in (ROOT / "workbench").rglob("*"):
        # The colours of settings in plots are a palette of their own, which shares one.
        if path.suffix in {".py", ".js", ".css", ".j2"} and path.name not in (
            "looks.py",
            "plots.py",
        ):
            text = path.read_text("utf-8").lower()
            assert not [colour for colour in told if colour in text], path
