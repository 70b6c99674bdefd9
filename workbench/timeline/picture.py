"""A still of the player, for where there is no kernel to run it: a page on a code-hosting site.

Drawn with Pillow out of the same arrays that the browser gets, in a fraction of the time that a
figure takes: it is made whenever the player is shown.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from workbench.timeline.scene import Scene
from workbench.timeline.views import Track

__all__ = ["picture"]

WIDTH: Final = 1000
_GUTTER, _LANE, _WAVE, _SPECTRUM, _GAP, _AXIS = 84, 18, 56, 84, 6, 20
_INK, _QUIET, _FIELD = "#1f2328", "#59636e", "#f3f5f7"
_SIDES: Final = {"caller": "#0072b2", "bot": "#b5520a"}
_SEVERITIES: Final = {
    "error": ("#b3131f", "#ffffff"),
    "warning": ("#f0b429", "#1f1500"),
    "info": ("#a5d5f5", "#06253a"),
}
#: matplotlib's "magma" at every sixteenth.
_MAGMA: Final = (
    "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 "
    "fea772 fec488 fde2a3 fcfdbf"
)
_STEPS: Final = (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


def picture(scene: Scene, sides: Mapping[str, str]) -> bytes:
    """Draw a whole call.

    Args:
        scene: The call and what is marked in it.
        sides: Which choice is shown on each side.

    Returns:
        A PNG, 1000 pixels wide, in 128 colours.
    """
    top = 3 * _LANE + _GAP
    track_height = _WAVE + _SPECTRUM + _GAP
    image = Image.new("RGB", (WIDTH, top + len(sides) * track_height + _AXIS), "#ffffff")
    draw = ImageDraw.Draw(image)
    draw.font = ImageFont.load_default(11)
    for row, (side, name) in enumerate(sides.items()):
        y = top + row * track_height
        _draw_track(image, draw, y, scene.track(side, name), scene, side)
        draw.text((_GUTTER - 6, y + _WAVE / 2), side, fill=_SIDES[side], anchor="rm")
        draw.text((_GUTTER - 6, y + _WAVE / 2 + 13), _wrapped(name), fill=_QUIET, anchor="rm")
    _draw_marks(draw, scene)
    _draw_axis(draw, scene.call.duration, image.height - _AXIS)
    small = io.BytesIO()
    image.quantize(128, Image.Quantize.MAXCOVERAGE).save(small, format="png", optimize=True)
    return small.getvalue()


def _draw_track(
    image: Image.Image, draw: ImageDraw.ImageDraw, y: int, track: Track, scene: Scene, side: str
) -> None:
    columns, duration, top_hz = WIDTH - _GUTTER, scene.call.duration, scene.top_hz(side)
    draw.rectangle((_GUTTER, y, WIDTH, y + _WAVE - 1), fill=_FIELD)
    envelope = track.envelope(0.0, duration, columns, scene.full_scale(side)) / 127
    middle, half = y + _WAVE / 2, _WAVE / 2 - 1
    for column, (low, high) in enumerate(envelope.tolist()):
        x = _GUTTER + column
        draw.line((x, middle - high * half, x, middle - low * half), fill=_SIDES[side])
    levels = track.spectrogram(0.0, duration, columns, _SPECTRUM, top_hz)
    image.paste(Image.fromarray(_colours()[levels]), (_GUTTER, y + _WAVE))
    draw.text((_GUTTER - 6, y + _WAVE + 7), f"{top_hz / 1000:g} kHz", fill=_QUIET, anchor="rm")
    draw.text((_GUTTER - 6, y + _WAVE + _SPECTRUM - 7), "0", fill=_QUIET, anchor="rm")


def _draw_marks(draw: ImageDraw.ImageDraw, scene: Scene) -> None:
    free: dict[int, float] = {}
    draw.text((_GUTTER - 6, _LANE / 2), "events", fill=_QUIET, anchor="rm")
    draw.text((_GUTTER - 6, 1.5 * _LANE), "findings", fill=_QUIET, anchor="rm")
    for mark in scene.marks:
        left, right = (_place(mark[edge], scene.call.duration) for edge in ("start", "end"))
        if mark["row"] == "event":
            draw.line((left, 1, left, _LANE - 3), fill=_QUIET, width=2)
            if left >= free.get(0, 0) and left + draw.textlength(mark["kind"]) + 4 < WIDTH:
                draw.text((left + 4, _LANE / 2), mark["kind"], fill=_QUIET, anchor="lm")
                free[0] = left + draw.textlength(mark["kind"]) + 8
        elif mark["row"] == "finding":
            _draw_finding(draw, mark, left, max(right, left + 6), free)


def _draw_finding(
    draw: ImageDraw.ImageDraw,
    mark: dict[str, Any],
    left: float,
    right: float,
    free: dict[int, float],
) -> None:
    paper, ink = _SEVERITIES[mark["severity"]]
    lane = next((lane for lane in (1, 2) if left >= free.get(lane, 0)), None)
    if lane is None:
        return
    y = lane * _LANE
    draw.rounded_rectangle((left, y + 1, right, y + _LANE - 3), 3, fill=paper)
    text = mark["kind"]
    if draw.textlength(text) + 8 < right - left:
        draw.text((left + 4, y + _LANE / 2 - 1), text, fill=ink, anchor="lm")
    elif right + draw.textlength(text) + 4 < WIDTH:
        draw.text((right + 3, y + _LANE / 2 - 1), text, fill=_INK, anchor="lm")
        right += draw.textlength(text) + 6
    free[lane] = right + 3


def _draw_axis(draw: ImageDraw.ImageDraw, duration: float, y: int) -> None:
    least = duration * 90 / (WIDTH - _GUTTER)
    step = next((step for step in _STEPS if step >= least), 7200)
    draw.text((_GUTTER - 6, y + 11), "time", fill=_QUIET, anchor="rm")
    for time in np.arange(0, duration, step).tolist():
        x = _place(time, duration)
        draw.line((x, y, x, y + 4), fill=_QUIET)
        seconds = f"{time % 60:04.1f}" if step < 1 else f"{time % 60:02.0f}"
        draw.text(
            (x, y + 11),
            f"{int(time // 60)}:{seconds}",
            fill=_QUIET,
            anchor="mm" if time else "lm",
        )


def _place(time: float, duration: float) -> float:
    return _GUTTER + min(max(time / max(duration, 1e-9), 0.0), 1.0) * (WIDTH - _GUTTER)


def _wrapped(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "\N{HORIZONTAL ELLIPSIS}"


def _colours() -> NDArray[np.uint8]:
    stops = np.array([list(bytes.fromhex(stop)) for stop in _MAGMA.split()], float)
    level, place = np.linspace(0, 16, 256), np.arange(17)
    return np.stack([np.interp(level, place, stop) for stop in stops.T], 1).astype(np.uint8)
