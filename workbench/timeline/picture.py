"""A still of the player, for where there is no kernel to run it: a page on a code-hosting site.

Drawn with Pillow from the arrays that the browser gets, in a fraction of the time that matplotlib
would take: one is made whenever the player is shown.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from workbench.looks import SEVERITY_LOOKS, SIDE_COLOURS
from workbench.timeline.scene import Scene
from workbench.timeline.sketch import Sketch
from workbench.timeline.views import Track

__all__ = ["picture"]

WIDTH: Final = 1000
_GUTTER, _LANE, _WAVE, _SPECTRUM, _GAP, _AXIS = 84, 18, 56, 84, 6, 20
#: Rows of names of events, and of findings; below the first a strip with a tick for each event.
_NAMES, _RUG = 2, 8
_FINDINGS: Final = _NAMES * _LANE + _RUG
_ANSWERS: Final = _FINDINGS + _NAMES * _LANE
_INK, _QUIET, _FIELD = "#1f2328", "#59636e", "#f3f5f7"
#: matplotlib's "magma" at every sixteenth.
_MAGMA: Final = (
    "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 "
    "fea772 fec488 fde2a3 fcfdbf"
)
_STEPS: Final = (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass
class _Name:
    """The name of an event, and how many like it there are under it."""

    x: float
    left: float
    kind: str
    row: int = -1
    count: int = 1

    @property
    def text(self) -> str:
        return self.text_of(self.count)

    def text_of(self, count: int) -> str:
        return self.kind if count == 1 else f"{self.kind} x{count}"


def picture(scene: Scene, sides: Mapping[str, str]) -> bytes:
    """Draw a whole call.

    Args:
        scene: The call and what is marked in it.
        sides: Which choice is shown on each side.

    Returns:
        A PNG, 1000 pixels wide, in 128 colours.
    """
    top = _ANSWERS + _LANE + _GAP
    track_height = _WAVE + _SPECTRUM + _GAP
    image = Image.new("RGB", (WIDTH, top + len(sides) * track_height + _AXIS), "#ffffff")
    draw = ImageDraw.Draw(image)
    draw.font = ImageFont.load_default(11)
    for row, (side, name) in enumerate(sides.items()):
        y = top + row * track_height
        _draw_track(image, draw, y, scene.drawn(side, name), scene, side)
        draw.text((_GUTTER - 6, y + _WAVE / 2), side, fill=SIDE_COLOURS[side][0], anchor="rm")
        draw.text((_GUTTER - 6, y + _WAVE / 2 + 13), _wrapped(name), fill=_QUIET, anchor="rm")
    _draw_events(draw, scene)
    _draw_findings(draw, scene)
    _draw_answers(draw, scene)
    _draw_axis(draw, scene.call.duration, image.height - _AXIS)
    small = io.BytesIO()
    image.quantize(128, Image.Quantize.MAXCOVERAGE).save(small, format="png", optimize=True)
    return small.getvalue()


def _draw_track(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    y: int,
    track: Track | Sketch,
    scene: Scene,
    side: str,
) -> None:
    columns, duration, top_hz = WIDTH - _GUTTER, scene.call.duration, scene.top_hz(side)
    draw.rectangle((_GUTTER, y, WIDTH, y + _WAVE - 1), fill=_FIELD)
    envelope = track.envelope(0.0, duration, columns, scene.full_scale(side)) / 127
    middle, half = y + _WAVE / 2, _WAVE / 2 - 1
    for column, (low, high) in enumerate(envelope.tolist()):
        x = _GUTTER + column
        draw.line((x, middle - high * half, x, middle - low * half), fill=SIDE_COLOURS[side][0])
    levels = track.spectrogram(0.0, duration, columns, _SPECTRUM, top_hz)
    image.paste(Image.fromarray(_colours()[levels]), (_GUTTER, y + _WAVE))
    draw.text((_GUTTER - 6, y + _WAVE + 7), f"{top_hz / 1000:g} kHz", fill=_QUIET, anchor="rm")
    draw.text((_GUTTER - 6, y + _WAVE + _SPECTRUM - 7), "0", fill=_QUIET, anchor="rm")


def _draw_events(draw: ImageDraw.ImageDraw, scene: Scene) -> None:
    """Every event as a tick; names where there is room for them, none across another one's."""
    events = [mark for mark in scene.marks if mark["row"] == "event"]
    draw.text((_GUTTER - 6, _LANE / 2), "events", fill=_QUIET, anchor="rm")
    names: list[_Name] = []
    ends = [float(_GUTTER)] * _NAMES
    last: dict[int, _Name] = {}
    unnamed = 0
    for mark in events:
        x = _place(mark["start"], scene.call.duration)
        draw.line((x, _NAMES * _LANE, x, _NAMES * _LANE + _RUG - 2), fill=_QUIET, width=2)
        name = _Name(x, x, mark["kind"])
        wide = draw.textlength(name.text) + 10
        if x + wide > WIDTH:  # at the right edge a name stands before its tick
            name.left = x - wide
        name.row = next((row for row, end in enumerate(ends) if name.left >= end), -1)
        if name.row >= 0:
            names.append(name)
        else:  # those of one kind share a name, if it may grow
            name = next((last[row] for row in last if last[row].kind == name.kind), name)
            wide = draw.textlength(name.text_of(name.count + 1)) + 10
            if name.row < 0 or name.left < name.x or name.left + wide > WIDTH:
                unnamed += 1
                continue
            name.count += 1
        last[name.row] = name
        ends[name.row] = name.left + wide + (2 if name.left < name.x else 0)
    for name in names:
        y = name.row * _LANE
        draw.line((name.x, y + 3, name.x, y + _LANE - 4), fill=_QUIET, width=2)
        left = name.x + 4 if name.left == name.x else name.x - 4 - draw.textlength(name.text)
        draw.text((left, y + _LANE / 2), name.text, fill=_QUIET, anchor="lm")
    if unnamed:
        text = f"{unnamed} unnamed"
        draw.text((_GUTTER - 6, 1.5 * _LANE), text, fill=_QUIET, anchor="rm")


def _draw_findings(draw: ImageDraw.ImageDraw, scene: Scene) -> None:
    """Findings in two lanes, each part a bar, named inside or beside; those beyond are counted."""
    findings = [mark for mark in scene.marks if mark["row"] == "finding"]
    draw.text((_GUTTER - 6, _FINDINGS + _LANE / 2), "findings", fill=_QUIET, anchor="rm")
    ends = [float(_GUTTER)] * _NAMES
    left_out = 0
    for mark in findings:
        bars = [[_place(time, scene.call.duration) for time in part] for part in mark["parts"]]
        left, right = bars[0][0], max(end for _, end in bars)
        left = min(left, WIDTH - 6)
        lane = next((lane for lane, end in enumerate(ends) if left >= end), None)
        if lane is None:
            left_out += 1
            continue
        paper, ink = SEVERITY_LOOKS[mark["severity"]].day
        right, y = max(right, left + 6), _FINDINGS + lane * _LANE
        draw.line((left, y + _LANE - 4, right, y + _LANE - 4), fill=paper, width=2)
        for start, end in bars:
            start = min(start, WIDTH - 6)
            bar = (start, y + 1, max(end, start + 6), y + _LANE - 3)
            draw.rounded_rectangle(bar, 3, fill=paper)
        text, middle = mark["title"], y + _LANE / 2 - 1
        wide = draw.textlength(text)
        if wide + 8 < bars[0][1] - left:
            draw.text((left + 4, middle), text, fill=ink, anchor="lm")
        elif right + wide + 4 < WIDTH:
            draw.text((right + 3, middle), text, fill=_INK, anchor="lm")
            right += wide + 6
        elif left - wide - 4 > ends[lane]:
            draw.text((left - 3, middle), text, fill=_INK, anchor="rm")
        ends[lane] = right + 3
    if left_out:
        text = f"{left_out} more"
        draw.text((_GUTTER - 6, _FINDINGS + 1.5 * _LANE), text, fill=_QUIET, anchor="rm")


def _draw_answers(draw: ImageDraw.ImageDraw, scene: Scene) -> None:
    """The wait before each answer, stage by stage; the longest one is named where there is room."""
    draw.text((_GUTTER - 6, _ANSWERS + _LANE / 2), "answers", fill=_QUIET, anchor="rm")
    for mark in (mark for mark in scene.marks if mark["row"] == "answer"):
        bars = [[_place(time, scene.call.duration) for time in part] for part in mark["parts"]]
        for (left, right), colour in zip(bars, mark["colours"], strict=True):
            draw.rectangle((left, _ANSWERS + 1, right, _ANSWERS + _LANE - 4), fill=colour)
        longest = max(range(len(bars)), key=lambda index: bars[index][1] - bars[index][0])
        (left, right), noun = bars[longest], mark["nouns"][longest]
        if draw.textlength(noun) + 6 < right - left:
            draw.text((left + 3, _ANSWERS + _LANE / 2 - 1), noun, fill=_INK, anchor="lm")


def _draw_axis(draw: ImageDraw.ImageDraw, duration: float, y: int) -> None:
    least = duration * 90 / (WIDTH - _GUTTER)
    step = next((step for step in _STEPS if step >= least), 7200)
    draw.text((_GUTTER - 6, y + 11), "time", fill=_QUIET, anchor="rm")
    for time in np.arange(0, duration, step).tolist():
        x = _place(time, duration)
        draw.line((x, y, x, y + 4), fill=_QUIET)
        seconds = f"{time % 60:04.1f}" if step < 1 else f"{time % 60:02.0f}"
        text = f"{int(time // 60)}:{seconds}"
        half = draw.textlength(text) / 2
        draw.text(
            (min(max(x, _GUTTER + half), WIDTH - half), y + 11), text, fill=_QUIET, anchor="mm"
        )


def _place(time: float, duration: float) -> float:
    return _GUTTER + min(max(time / max(duration, 1e-9), 0.0), 1.0) * (WIDTH - _GUTTER)


def _wrapped(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "\N{HORIZONTAL ELLIPSIS}"


def _colours() -> NDArray[np.uint8]:
    stops = np.array([list(bytes.fromhex(stop)) for stop in _MAGMA.split()], float)
    level, place = np.linspace(0, 16, 256), np.arange(17)
    return np.stack([np.interp(level, place, stop) for stop in stops.T], 1).astype(np.uint8)
