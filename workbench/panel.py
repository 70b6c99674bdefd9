"""The panel: choose an outbound setting, hear it, see what it scores, and take it to the bot.

It holds no analysis. What the controls say goes to plain functions: what the caller would hear
comes from :func:`workbench.trial.run_trials`, the numbers from :func:`workbench.comparison.compare`,
the choice from :func:`workbench.tuning.tune`. That runs on threads of its own: controls and player
stay usable, a newer wish calls off an older one, and so does the button.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, Final

import ipywidgets as widgets

from pipecat_bandwidth import BandwidthFrameSerializer
from workbench.audio import Audio
from workbench.background import Lane, Work
from workbench.call import Call, FrameRecord
from workbench.capture import CaptureError
from workbench.comparison import Comparison, compare
from workbench.farleg import LEGS
from workbench.findings import diagnose
from workbench.objective import OBJECTIVES
from workbench.timeline import CallTimeline
from workbench.trial import SETTINGS, Setting, run_trials
from workbench.tuning import TuningResult, as_code, params_of, tune

__all__ = ["CANDIDATE", "Panel"]

#: Name, in the player, of what the controls are set to.
CANDIDATE: Final = "candidate"

_WIRES: Final = {setting.label: setting for setting in SETTINGS}
#: A value of None would mean to a dropdown that nothing is selected: 0 is that of the capture.
_PIPELINES: Final = (
    ("as captured", 0), ("8 kHz", 8000), ("16 kHz", 16000), ("24 kHz", 24000),
)  # fmt: skip


class Panel(widgets.VBox):  # type: ignore[misc]
    """Controls round a player.

    Parameters:
        captures: A capture or a folder of them, a call, or several of these.

    Attributes:
        timeline: The player of the chosen call; its choice ``"candidate"`` is what the controls
            are set to.
        comparison: Of the settings on the chosen leg and span; None until there is one.
        result: What was tuned from the same; None until there is one.

    Raises:
        ValueError: If there is no capture.
        CaptureError: If the first capture cannot be read.
    """

    timeline: CallTimeline
    _lanes: tuple[Lane, ...] = ()

    def __init__(self, captures: str | Path | Call | Iterable[str | Path | Call]) -> None:
        """Show the first capture, and begin to measure it."""
        calls = _named(captures)
        self.comparison: Comparison | None = None
        self.result: TuningResult | None = None
        self._hearing, self._measuring = Lane(), Lane()
        self._player = widgets.VBox()
        self._make_controls(list(calls.items()))
        super().__init__(
            [
                _row(self.capture, self.leg, self.pipeline),
                _row(self.wire),
                self._player,
                _row(self.span, self.whole),
                _row(self.objective, self.compared),
                _row(self.progress, self.stop, self.status),
                self.measured,
                _row(self.adopt, self.file, self.write),
                self.line,
            ]
        )
        self._open(calls[next(iter(calls))])
        self._connect()
        self._lanes = self._hearing, self._measuring

    def _make_controls(self, captures: list[tuple[str, Call | Path]]) -> None:
        self.capture = widgets.Dropdown(
            options=captures, description="Capture", layout={"width": "26rem"}
        )
        self.leg = widgets.Dropdown(options=list(LEGS), description="Far leg", layout=_NARROW)
        self.pipeline = widgets.Dropdown(
            options=_PIPELINES, description="Pipeline rate", style=_WIDE_LABEL, layout=_NARROW
        )
        self.wire = widgets.ToggleButtons(
            options=list(_WIRES), description="Hear", style={"button_width": "6.5rem"},
            layout={"width": "40rem"},
        )  # fmt: skip
        self.span = widgets.FloatRangeSlider(
            min=0.0, max=1.0, step=0.01, description="Span (s)", readout_format=".2f",
            continuous_update=False, layout={"width": "36rem"},
        )  # fmt: skip
        self.whole = widgets.Button(description="Whole call")
        self.objective = widgets.Dropdown(
            options=[("what suits the leg", ""), *((str(o), n) for n, o in OBJECTIVES.items())],
            description="Better is", layout={"width": "36rem"},
        )  # fmt: skip
        self.compared = widgets.SelectMultiple(
            options=list(_WIRES), value=tuple(_WIRES), description="Compare",
            layout={"height": "6rem"},
        )  # fmt: skip
        self.progress = widgets.IntProgress(description="", layout={"width": "12rem"})
        self.stop = widgets.Button(description="Stop")
        self.status, self.measured, self.line = (widgets.HTML() for _ in range(3))
        self.adopt = widgets.Button(description="Take the tuned setting", layout=_NARROW)
        self.file = widgets.Text("tuned.json", description="File", layout=_NARROW)
        self.write = widgets.Button(description="Write JSON", button_style="primary")

    def _connect(self) -> None:
        self.capture.observe(lambda change: self._choose(change["new"]), "value")
        for control in (self.wire, self.leg, self.pipeline):
            control.observe(lambda _: self._hear(), "value")
        for control in (self.leg, self.pipeline, self.span, self.objective, self.compared):
            control.observe(lambda _: self._measure(), "value")
        self.span.observe(lambda _: self._select(), "value")
        self.whole.on_click(lambda _: setattr(self.span, "value", (0.0, self.span.max)))
        self.stop.on_click(lambda _: self.cancel())
        self.adopt.on_click(lambda _: self._adopt())
        self.write.on_click(lambda _: self._write())

    # -- what is chosen ------------------------------------------------------------------------

    @property
    def call(self) -> Call:
        """The chosen call."""
        return self.timeline.call

    @property
    def setting(self) -> Setting:
        """What is heard as the candidate."""
        return Setting(self.params, self.pipeline.value or None)

    @property
    def params(self) -> BandwidthFrameSerializer.InputParams:
        """The call's own parameters, the outbound ones as the controls are set."""
        base, _ = params_of([self.call])
        return _with_outbound_of(base, _WIRES[self.wire.value].params)

    @property
    def code(self) -> str:
        """The line to paste into the call of ``BandwidthFrameSerializer``."""
        return as_code(self.params)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is under way any more; False if that takes longer."""
        return self._hearing.wait(timeout) and self._measuring.wait(timeout)

    def cancel(self) -> None:
        """Call off what is measured; what was measured before stays."""
        if self._measuring.cancel():
            self._say("Stopped.")

    def close(self) -> None:
        """Take the panel off the page."""
        for lane in self._lanes:
            lane.cancel()
        if self._lanes:  # a panel that could not be made is closed too
            self.timeline.close()
        super().close()

    def __repr__(self) -> str:
        return f"Panel({self.call.path.name!r}, {self.wire.value}, {self.leg.value} leg)"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The panel, and the player's picture for where there is no kernel to run it."""
        bundle = super()._repr_mimebundle_(**kwargs)
        shown = self.timeline._repr_mimebundle_(**kwargs)
        if bundle is None or shown is None:
            return bundle
        picture = {"text/plain": repr(self), "image/png": shown[0]["image/png"]}
        return ({**bundle, **picture}, {}) if isinstance(bundle, dict) else bundle

    # -- what follows from it ------------------------------------------------------------------

    def _choose(self, capture: Call | Path) -> None:
        try:
            self._open(capture)
        except CaptureError as error:
            self._say(str(error), failed=True)

    def _open(self, capture: Call | Path) -> None:
        call = capture if isinstance(capture, Call) else Call.open(capture)
        timeline = CallTimeline(call, diagnose(call))
        self._hearing.cancel()
        self._measuring.cancel()
        if self._player.children:
            self.timeline.close()
        self.timeline = timeline
        self.comparison = self.result = None
        self._unheard = True
        self.measured.value = ""
        with self.span.hold_trait_notifications():
            self.span.max = max(call.duration, 0.01)
            self.span.value = (0.0, self.span.max)
        label = Setting(params_of([call])[0]).label
        self.wire.value = label if label in _WIRES else next(iter(_WIRES))
        timeline.observe(lambda change: self._selected(change["new"]), "selection")
        self._player.children = (timeline,)
        self._hear()
        self._measure()

    def _select(self) -> None:
        chosen = list(self.span.value)
        self.timeline.selection = [] if self._is_whole else chosen

    def _selected(self, selection: list[float]) -> None:
        self.span.value = tuple(selection) or (0.0, self.span.max)

    @property
    def _is_whole(self) -> bool:
        return bool(self.span.value == (0.0, self.span.max))

    def _hear(self) -> None:
        """Exchange the candidate in the player, as soon as it is made; choose it at first."""
        self.line.value = f"<pre>{escape(self.code)}</pre>"
        self.adopt.disabled = self._is_tuned
        call, setting, leg = self.call, self.setting, self.leg.value
        timeline = self.timeline

        def work(_: Work) -> Audio:
            return _heard(call, setting, leg)

        def show(audio: Audio) -> None:
            timeline.replace(CANDIDATE, audio, in_step=True)
            if self._unheard:
                self._unheard, timeline.bot = False, CANDIDATE

        self._hearing.begin(work, show, self._failed)

    def _measure(self) -> None:
        """Compare the settings and choose one, as soon as the controls have settled."""
        call, leg, objective = self.call, self.leg.value, self.objective.value or None
        rate = self.pipeline.value or None
        settings = [Setting(_WIRES[name].params, rate) for name in self.compared.value]
        source = call if self._is_whole else _said_within(call, *self.span.value)

        def work(work: Work) -> tuple[Comparison, TuningResult]:
            work.settle()
            chosen = tune([source], objective, leg=leg, settings=settings, executor=work)
            compared = compare(source, settings, leg, executor=work)
            return compared, _with_base(chosen, call)

        def show(measured: tuple[Comparison, TuningResult]) -> None:
            self.comparison, self.result = measured
            self.measured.value = _as_html(*measured)
            self.adopt.disabled = self._is_tuned
            self._say("")

        if not settings:
            self._measuring.cancel()
            self._say("Choose at least one setting to compare.", failed=True)
            return
        self._say("Measuring&hellip;", busy=True)
        self.progress.value, self.progress.max = 0, 2 * len(settings)
        self._measuring.begin(work, show, self._failed, self._advanced)

    def _advanced(self, pieces: int) -> None:
        self.progress.value = pieces

    @property
    def _is_tuned(self) -> bool:
        return self.result is None or self.result.params == self.params

    def _adopt(self) -> None:
        if self.result is not None:
            self.wire.value = Setting(self.result.params).label

    def _write(self) -> None:
        """Write the parameters; with what they rest on, if they are those that were tuned."""
        try:
            if self.result is not None and self.result.params == self.params:
                self.result.export(self.file.value)
            else:
                self.params.save(self.file.value)
        except OSError as error:
            self._say(f"{self.file.value}: {error.strerror}", failed=True)
        else:
            self._say(f"Written: {self.file.value}, for InputParams.load")

    def _failed(self, error: Exception) -> None:
        self.measured.value = ""
        self.comparison = self.result = None
        self._say(str(error), failed=True)

    def _say(self, text: str, *, failed: bool = False, busy: bool = False) -> None:
        mark = "<b>Not done:</b> " if failed else ""
        self.status.value = f"<span role='status'>{mark}{text if busy else escape(text)}</span>"
        for control in (self.progress, self.stop):
            control.layout.display = "" if busy else "none"


_NARROW: Final = {"width": "14rem"}
_WIDE_LABEL: Final = {"description_width": "6rem"}


def _row(*controls: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(controls, layout={"flex_flow": "row wrap", "align_items": "center"})


# -- plain functions -------------------------------------------------------------------------------


def _named(captures: str | Path | Call | Iterable[str | Path | Call]) -> dict[str, Call | Path]:
    """Captures by the names of their files; a folder stands for those in it."""
    if isinstance(captures, (str, Path, Call)):
        captures = [captures]
    found: list[Call | Path] = []
    for capture in captures:
        if isinstance(capture, Call) or not Path(capture).is_dir():
            found.append(capture if isinstance(capture, Call) else Path(capture))
        else:
            found += sorted([*Path(capture).glob("*.mcap"), *Path(capture).glob("*.mcap.part")])
    if not found:
        raise ValueError("there is no capture, a file, a folder with some, or a call is wanted")
    return {(c.path if isinstance(c, Call) else c).name: c for c in found}


def _with_outbound_of(
    base: BandwidthFrameSerializer.InputParams, other: BandwidthFrameSerializer.InputParams
) -> BandwidthFrameSerializer.InputParams:
    names = ("outbound_encoding", "outbound_pcm_sample_rate")
    return base.model_copy(update={name: getattr(other, name) for name in names})


def _with_base(chosen: TuningResult, call: Call) -> TuningResult:
    """The same choice on top of the call's own parameters, which a part of a call does not know."""
    base, _ = params_of([call])
    return replace(chosen, params=_with_outbound_of(base, chosen.params))


def _said_within(call: Call, start: float, end: float) -> Sequence[FrameRecord]:
    return [frame for frame in call.frames_out if start <= frame.time < end]


def _heard(call: Call, setting: Setting, leg: str) -> Audio:
    (trial,) = run_trials(call, setting, [LEGS[leg]])
    return trial.heard


def _as_html(comparison: Comparison, result: TuningResult) -> str:
    numbers = comparison.brief.to_html(
        index=False, border=0, na_rep="-", float_format=lambda value: f"{value:.4g}"
    )
    first, *rest = map(escape, [*result.why, *result.advice])
    items = "".join(f"<li>{sentence}</li>" for sentence in rest)
    text = f"<p><b>{first}</b></p>{numbers}<ul>{items}</ul>"
    return f"<div class='jp-RenderedHTMLCommon'>{text}</div>"
