"""The panel's controls: what there is to choose from, and the layout; no behaviour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import ipywidgets as widgets
import traitlets

from workbench.panel.captures import Capture
from workbench.tuning.cushion import MOST_MS
from workbench.tuning.legs import LEGS
from workbench.tuning.objective import OBJECTIVES
from workbench.tuning.settings import SETTINGS, Setting

__all__ = ["Controls"]

#: The longest cushion that there is, in ms, as in ``InputParams``.
LONGEST_CUSHION_MS: Final = 1000.0

#: Settings by their labels.
WIRES: Final[dict[str, Setting]] = {setting.label: setting for setting in SETTINGS}
#: A value of None would mean to a dropdown that nothing is selected: 0 is that of the capture.
_PIPELINES: Final = (
    ("as captured", 0), ("8 kHz", 8000), ("16 kHz", 16000), ("24 kHz", 24000),
)  # fmt: skip
_MINIMA: Final = [
    (f"{o.name} {o.band}".rstrip() + f" at {'least' if o.higher_is_better else 'most'}", name)
    for name, o in OBJECTIVES.items()
]


class Controls(widgets.VBox):  # type: ignore[misc]
    """Rows of controls; attributes of the panel, which is one of these."""

    def _make_controls(self, captures: Iterable[tuple[str, Capture]]) -> None:
        captures = list(captures)
        self.capture = widgets.Dropdown(options=captures, description="Capture", layout=_wide(22))
        self.leg = widgets.Dropdown(options=list(LEGS), description="Far leg", layout=_NARROW)
        self.pipeline = widgets.Dropdown(
            options=_PIPELINES, description="Pipeline rate", style=_WIDE_LABEL, layout=_NARROW
        )
        self.wire = widgets.ToggleButtons(
            options=list(WIRES), description="Setting", style={"button_width": "6.5rem"},
            layout=_wide(34),
        )  # fmt: skip
        self.cushion = widgets.IntSlider(
            0,
            0,
            int(LONGEST_CUSHION_MS),
            20,
            description="Cushion (ms)",
            continuous_update=False,
            style=_WIDE_LABEL,
            layout=_wide(22),
        )
        self.measures = widgets.HTML(layout=_TEXT)
        self.whole = widgets.Button(description="Whole call", disabled=True)
        self.tuned_on = widgets.SelectMultiple(
            options=captures, value=(captures[0][1],), description="Tune on", layout=_wide(26, 5.5)
        )
        self.all = widgets.Button(description="All captures", disabled=len(captures) < 2)
        self.compared = widgets.SelectMultiple(
            options=list(WIRES), value=tuple(WIRES), description="Compare", layout=_wide(16, 5.5)
        )
        self.objective = widgets.Dropdown(
            options=[("what suits the leg", ""), *((str(o), n) for n, o in OBJECTIVES.items())],
            description="Better is", layout=_wide(38),
        )  # fmt: skip
        self.kbit_s = Limit("kbit/s at most (0: any)", 1e6)
        self.delay_ms = Limit("delay (ms) at most (0: any)", 1e6)
        self.cushion_ms = Limit("cushion (ms) at most", LONGEST_CUSHION_MS, MOST_MS)
        self.minimum = widgets.Dropdown(
            options=[("no minimum", ""), *_MINIMA], description="Quality", layout=_wide(21)
        )
        self.minimum_value = widgets.FloatText(
            0.0, disabled=True, continuous_update=False, layout={"width": "5rem"}
        )
        self.progress = widgets.IntProgress(description="", layout={"width": "12rem"})
        self.stop = widgets.Button(description="Stop")
        self.status, self.verdict, self.measured, self.line, self.written = (
            widgets.HTML(layout=_TEXT) for _ in range(5)
        )
        self.blind = widgets.Button(
            description="Blind test of two", tooltip="Select two settings to compare", disabled=True
        )
        self.adopt = widgets.Button(description="Take the tuned setting", layout=_NARROW)
        self.file = widgets.Text("tuned.json", description="File", layout=_NARROW)
        self.write = widgets.Button(description="Write JSON", button_style="primary")

    def _lay_out(self, player: widgets.Widget, listening: widgets.Widget) -> list[widgets.Widget]:
        """All rows, from top to bottom: what it comes to stands above the call."""
        rarely = widgets.Accordion(
            [
                widgets.VBox(
                    [
                        _row(
                            widgets.VBox([self.tuned_on, self.all], layout=_RIGHT),
                            widgets.VBox([self.compared, self.blind], layout=_RIGHT),
                        ),
                        _row(self.objective),
                        _row(self.kbit_s, self.delay_ms, self.cushion_ms),
                        _row(self.minimum, self.minimum_value),
                    ]
                )
            ],
            titles=("What is compared and tuned on, what counts, and limits",),
        )
        return [
            _row(self.capture, self.leg, self.pipeline),
            _row(self.wire, self.cushion),
            self.verdict,
            _row(self.measures, self.whole, self.progress, self.stop, self.status),
            player,
            self.line,
            _row(self.adopt, self.file, self.write, self.written),
            rarely,
            listening,
            self.measured,
        ]

    @property
    def limits(self) -> dict[str, float]:
        """Constraints of :func:`workbench.tuning.tuning.tune`, as the controls are set."""
        costs = {"kbit_s": self.kbit_s.value, "delay_ms": self.delay_ms.value}
        limits = {name: float(value) for name, value in costs.items() if value > 0}
        limits["cushion_ms"] = self.cushion_ms.value
        return limits | (
            {self.minimum.value: self.minimum_value.value} if self.minimum.value else {}
        )


_NARROW: Final = {"width": "14rem"}
_TEXT: Final = {"min_width": "0", "max_width": "100%"}
_RIGHT: Final = {"align_items": "flex-end", "max_width": "100%"}
_WIDE_LABEL: Final = {"description_width": "6rem"}


class Limit(widgets.HBox):  # type: ignore[misc]
    """A number from 0 on; one that is out of range is refused beside its field.

    Parameters:
        description: Before the field.
        most: The largest that is taken.
        value: At first.

    Attributes:
        value: The last one that was taken.
    """

    value = traitlets.Float(0.0)

    def __init__(self, description: str, most: float, value: float = 0.0) -> None:
        """Show the field."""
        self._most = most
        self.field = widgets.FloatText(
            value, description=description, continuous_update=False,
            style={"description_width": "11.5rem"}, layout=_wide(16.5),
        )  # fmt: skip
        self.refused = widgets.HTML(layout=_TEXT)
        super().__init__([self.field, self.refused], layout={"align_items": "center"})
        self.value = value
        self.field.observe(self._typed, "value")
        self.observe(self._set, "value")

    def _typed(self, change: dict[str, Any]) -> None:
        is_good = 0 <= change["new"] <= self._most
        said = f"0 to {self._most:g}; {self.value:g} is kept"
        self.refused.value = "" if is_good else f"<span role='alert'>{said}</span>"
        if is_good:
            self.value = change["new"]

    def _set(self, change: dict[str, Any]) -> None:
        self.field.value = change["new"]


def _wide(width: float, height: float | None = None) -> dict[str, str]:
    """This wide, in rem, where there is room."""
    layout = {"width": f"{width}rem", "max_width": "100%"}
    return layout if height is None else {**layout, "height": f"{height}rem"}


def _row(*controls: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(controls, layout={"flex_flow": "row wrap", "align_items": "center"})
