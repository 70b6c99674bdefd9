"""How severities and sides look: every picture, page and table takes it from here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["SEVERITY_LOOKS", "SIDE_COLOURS", "STAGE_LOOKS", "Colours", "Look", "css_variables"]


class Colours(NamedTuple):
    """Of something that stands on a page, in CSS's hexadecimal form.

    Parameters:
        paper: Of its surface.
        ink: Of what is written on it.
    """

    paper: str
    ink: str


class Look(NamedTuple):
    """How a severity looks, which is never told by colour alone.

    Parameters:
        mark: A shape to stand before its name.
        day: Colours on a light page.
        night: On a dark one.
        style: In a terminal, as ``rich`` names it.
        hatch: In a plot, as ``matplotlib`` names it.
    """

    mark: str
    day: Colours
    night: Colours
    style: str
    hatch: str


#: By severity, worst first.
SEVERITY_LOOKS: Final[dict[str, Look]] = {
    "error": Look(
        "\N{MULTIPLICATION X}",
        Colours("#b3131f", "#ffffff"),
        Colours("#ff7b78", "#2a0203"),
        "bold red",
        "xx",
    ),
    "warning": Look(
        "\N{BLACK UP-POINTING TRIANGLE}",
        Colours("#f0b429", "#1f1500"),
        Colours("#f0b429", "#1f1500"),
        "yellow",
        "//",
    ),
    "info": Look(
        "\N{BLACK CIRCLE}",
        Colours("#56b4e9", "#06253a"),
        Colours("#2f6c96", "#eaf6ff"),
        "cyan",
        "..",
    ),
}

#: By side: on a light page, and on a dark one.
SIDE_COLOURS: Final[dict[str, tuple[str, str]]] = {
    "caller": ("#0072b2", "#6cb6ff"),
    "bot": ("#b5520a", "#f0883e"),
}

#: By stage of an answer (:data:`workbench.call.stages.KINDS`): its colour, and its hatch in a plot.
#: Those that hear the caller are blue, those that think are green, those that speak are orange.
STAGE_LOOKS: Final[dict[str, tuple[str, str]]] = {
    "pipeline": ("#c9ced4", ""),
    "start": ("#c9ced4", "//"),
    "abandoned": ("#c9ced4", "xx"),
    "voice_end": ("#a6cfe8", ""),
    "transcript": ("#6fa8d6", "//"),
    "turn_end": ("#3f7fb8", ""),
    "model_asked": ("#d8ecc9", "//"),
    "function_asked": ("#a3d39c", "xx"),
    "function": ("#6cbf84", "//"),
    "first_token": ("#2f9e77", ""),
    "sentence": ("#1b7a68", "//"),
    "first_byte": ("#e08a3c", ""),
    "frame": ("#f3c48f", "//"),
    "message": ("#f3c48f", ""),
    "audible": ("#f8e3c8", ".."),
}


def css_variables(prefix: str = "", *, night: bool = False) -> str:
    """Write all colours as declarations of CSS: ``--prefix-error``, ``--prefix-on-error``, ...

    Args:
        prefix: Of their names.
        night: Those for a dark page.
    """
    return " ".join(f"--{prefix}{name}: {colour};" for name, colour in _named(night))


def _named(night: bool) -> Iterator[tuple[str, str]]:
    for severity, look in SEVERITY_LOOKS.items():
        colours = look.night if night else look.day
        yield severity, colours.paper
        yield f"on-{severity}", colours.ink
    for side, colours_of_side in SIDE_COLOURS.items():
        yield side, colours_of_side[night]
