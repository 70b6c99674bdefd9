"""The panel itself: controls, what is shown of them, and the work that they begin.

There is no analysis here. The controls' values go to plain functions: what the caller would hear
comes from :func:`workbench.tuning.trial.run_trials`, the numbers from
:func:`workbench.tuning.comparison.compare`, the choice from :func:`workbench.tuning.tuning.tune`
and, for several captures, from :func:`workbench.tuning.batch.tune_captures`. They run on threads of
their own: controls and player stay usable, and a newer request cancels an older one, as does the
button.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

import ipywidgets as widgets

from pipecat_bandwidth import BandwidthFrameSerializer
from workbench.audio import Audio
from workbench.call import Call, FrameRecord
from workbench.panel.captures import Capture, Opened, named, opened, path_of
from workbench.panel.controls import WIRES, Controls
from workbench.panel.work import Lane, Work
from workbench.timeline import BlindListening, CallTimeline
from workbench.timeline.still import show
from workbench.tuning.batch import tune_captures
from workbench.tuning.comparison import Comparison, compare
from workbench.tuning.facts import OUTBOUND
from workbench.tuning.legs import LEGS
from workbench.tuning.settings import Setting
from workbench.tuning.trial import run_trials
from workbench.tuning.tuning import TuningResult, as_code, params_of, tune

__all__ = ["CANDIDATE", "Panel"]

#: Name, in the player, of what the controls are set to; and of the call with the cushion chosen.
CANDIDATE: Final = "candidate"
CUSHIONED: Final = "with the cushion"


class Measured(NamedTuple):
    """The outcome of a measurement; a comparison may have no setting within the limits."""

    comparison: Comparison
    result: TuningResult | None
    refused: str = ""


class Panel(Controls):
    """Controls round a player.

    Parameters:
        captures: A capture or a folder of them, a call, or several of these.

    Attributes:
        timeline: The player of the chosen call; its choice ``"candidate"`` is what the controls
            are set to.
        comparison: Of the settings on the chosen leg and span; None until there is one.
        result: What was tuned from the same, or from the captures chosen for it; None until there
            is one.
        listening: The blind test that was started last.

    Raises:
        ValueError: If there is no capture.
        CaptureError: If the first capture cannot be read.
    """

    timeline: CallTimeline
    listening: BlindListening | None = None
    _lanes: tuple[Lane, ...] = ()

    def __init__(self, captures: str | Path | Call | Iterable[str | Path | Call]) -> None:
        """Show the first capture, and begin to measure it."""
        calls = named(captures)
        self.comparison: Comparison | None = None
        self.result: TuningResult | None = None
        self._opening, self._hearing, self._measuring = Lane(), Lane(), Lane()
        self._interrupted = False  # a measurement, by opening another capture
        self._player, self._blind = widgets.VBox(), widgets.VBox()
        self._make_controls(calls.items())
        super().__init__(self._lay_out(self._player, self._blind), layout={"width": "100%"})
        self._shown: Capture = next(iter(calls.values()))
        self._show(self._shown, opened(self._shown))
        self._connect()
        self._lanes = self._opening, self._hearing, self._measuring

    def _connect(self) -> None:
        self.capture.observe(lambda change: self._choose(change["new"]), "value")
        for control in (self.wire, self.leg, self.pipeline):
            control.observe(lambda _: self._hear(), "value")
        self.cushion.observe(lambda _: self._cushioned(), "value")
        for control in (
            self.leg,
            self.pipeline,
            self.objective,
            self.compared,
            self.tuned_on,
            self.kbit_s,
            self.delay_ms,
            self.cushion_ms,
            self.minimum,
            self.minimum_value,
        ):
            control.observe(lambda _: self._measure(), "value")
        self.minimum.observe(self._minimum_chosen, "value")
        self.whole.on_click(lambda _: setattr(self.timeline, "selection", []))
        self.all.on_click(lambda _: setattr(self.tuned_on, "value", self._captures))
        self.stop.on_click(lambda _: self.cancel())
        self.blind.on_click(lambda _: self._listen())
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
        outbound = WIRES[self.wire.value].params
        cushion = {"outbound_cushion_ms": self.cushion.value}
        return _with_outbound_of(base, outbound.model_copy(update=cushion))

    @property
    def code(self) -> str:
        """The line to paste into the call of ``BandwidthFrameSerializer``."""
        return as_code(self.params)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is under way; False if that takes longer."""
        lanes = self._opening, self._hearing, self._measuring
        return all(lane.wait(timeout) for lane in lanes)

    def cancel(self) -> None:
        """Cancel what is under way; what was shown and measured before stays.

        A measurement that was interrupted to open another capture starts again.
        """
        if self._measuring.cancel():
            self._say("Stopped.")
        self.capture.value = self._shown

    def close(self) -> None:
        """Take the panel off the page."""
        for lane in self._lanes:
            lane.cancel()
        if self._lanes:  # a panel that could not be made is closed too
            self.timeline.close()
        if self.listening is not None:
            self.listening.close()
        super().close()

    def __repr__(self) -> str:
        return f"Panel({self.call.path.name!r}, {self.wire.value}, {self.leg.value} leg)"

    def _ipython_display_(self, **_: Any) -> None:
        """The panel, and the player's picture for where there is no kernel to run it."""
        show(self, self.timeline.still())

    # -- what follows from it ------------------------------------------------------------------

    def _choose(self, capture: Capture) -> None:
        """Open another capture; until it is ready the current one can still be heard."""
        was_opening = self._opening.cancel()
        if capture is self._shown:
            if was_opening:
                self._say("Stopped.")
                self._resume()
            return
        name = escape(path_of(capture).name)

        def failed(error: Exception) -> None:
            self.capture.value = self._shown
            self._say(str(error), failed=True)
            self._resume(str(error))

        self._interrupted |= self._measuring.cancel()
        self._say(f"Opening {name}&hellip;", busy=True)
        self.progress.value, self.progress.max = 0, 2
        self._opening.begin(
            lambda work: opened(capture, work),
            lambda found: self._show(capture, found),
            failed,
            self._advanced,
        )

    def _show(self, capture: Capture, found: Opened) -> None:
        call = found.call
        timeline = CallTimeline(call, found.findings)
        self._hearing.cancel()
        self._measuring.cancel()
        if self._player.children:
            self.timeline.close()
        self.timeline = timeline
        self.comparison = self.result = None
        self._unheard = True
        self.measured.value = self.verdict.value = ""
        self._blind.children = ()
        alone = self.tuned_on.value == (self._shown,)
        self._shown = capture
        if alone:
            self.tuned_on.value = (capture,)
        label = Setting(params_of([call])[0]).label
        self.wire.value = label if label in WIRES else next(iter(WIRES))
        self.cushion.value = call.params.get("outbound_cushion_ms", 0)
        timeline.observe(lambda _: self._selected(), "selection")
        self._say_span()
        self._player.children = (timeline,)
        self._hear()
        self._measure()

    @property
    def _captures(self) -> tuple[Capture, ...]:
        return tuple(capture for _, capture in self.capture.options)

    def _minimum_chosen(self, change: dict[str, Any]) -> None:
        self.minimum_value.disabled = not change["new"]

    @property
    def span(self) -> tuple[float, float]:
        """What is measured, in seconds: the player's selection, or the whole call."""
        start, end = self.timeline.selection or (0.0, self.call.duration)
        return start, end

    def _selected(self) -> None:
        self._say_span()
        self._measure()

    def _say_span(self) -> None:
        chosen = self.timeline.selection
        self.whole.disabled = not chosen
        what = f"{chosen[0]:.2f} to {chosen[1]:.2f} s" if chosen else "the whole call"
        how = "" if chosen else " (select in the player for a part of it)"
        self.measures.value = f"Measured: {what}{how}"

    def _hear(self) -> None:
        """Swap the candidate in the player as soon as it is ready; select the first one."""
        self.line.value = f"<pre style='white-space: pre-wrap'>{escape(self.code)}</pre>"
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

    def _cushioned(self) -> None:
        """Show the line to paste, and let the call be heard with the cushion beside its signals."""
        self.line.value = f"<pre style='white-space: pre-wrap'>{escape(self.code)}</pre>"
        self.adopt.disabled = self._is_tuned
        if self.cushion.value:
            self.timeline.replace(CUSHIONED, self.call.with_cushion(self.cushion.value))
            self.timeline.bot = CUSHIONED

    def _resume(self, failed: str = "") -> None:
        """Restart the measurement if it was interrupted for nothing."""
        if self._interrupted:
            self._measure(failed)

    def _measure(self, failed: str = "") -> None:
        """Compare the settings and choose one, as soon as the controls have settled.

        Args:
            failed: What had failed before; it stays on screen afterwards.
        """
        self._interrupted = False
        call, leg, objective = self.call, self.leg.value, self.objective.value or None
        rate, limits = self.pipeline.value or None, self.limits
        settings = [Setting(WIRES[name].params, rate) for name in self.compared.value]
        source = _said_within(call, *self.span) if self.timeline.selection else call
        chosen = [] if self.tuned_on.value == (self._shown,) else self.tuned_on.value
        paths = [path_of(capture) for capture in chosen]

        def work(work: Work) -> Measured:
            work.settle()
            compared = compare(source, settings, leg, executor=work)
            how: dict[str, Any] = {"leg": leg, "settings": settings, "executor": work}
            try:
                if paths:
                    return Measured(compared, tune_captures(paths, objective, limits, **how))
                result = tune([source], objective, limits, **how)
            except ValueError as error:
                return Measured(compared, None, str(error))
            return Measured(compared, _with_base(result, call))

        missing = "setting to compare" if not settings else "capture to tune on"
        if not settings or not self.tuned_on.value:
            self._measuring.cancel()
            self._say(f"Choose at least one {missing}.", failed=True)
            return
        self.blind.disabled = True
        before = f"{escape(failed)}<br>" if failed else ""
        self._say(f"{before}Measuring&hellip;", failed=bool(failed), busy=True)
        self.progress.value = 0
        self.progress.max = len(settings) + (len(paths) or len(settings))
        show = partial(self._show_measured, failed)
        self._measuring.begin(work, show, self._failed, self._advanced)

    def _show_measured(self, failed: str, measured: Measured) -> None:
        self.comparison, self.result = measured.comparison, measured.result
        self.measured.value = _as_html(measured)
        why = measured.result.why if measured.result else ()
        self.verdict.value = f"<b>{escape(why[0])}</b>" if why else ""
        self.adopt.disabled = self._is_tuned
        self.blind.disabled = len(self.comparison.table) != 2
        said = measured.refused or failed
        self._say(said, failed=bool(said))

    def _listen(self) -> None:
        """Begin a blind test of the two settings that are compared."""
        if self.comparison is None or len(self.comparison.signals) != 2:
            return
        if self.listening is not None:
            self.listening.close()
        signals = self.comparison.signals.items()
        self.listening = BlindListening({setting: heard for (setting, _), heard in signals})
        self._blind.children = (self.listening,)

    def _advanced(self, pieces: int) -> None:
        self.progress.value = pieces

    @property
    def _is_tuned(self) -> bool:
        return self.result is None or self.result.params == self.params

    def _adopt(self) -> None:
        if self.result is not None:
            self.wire.value = Setting(self.result.params).label
            self.cushion.value = self.result.params.outbound_cushion_ms

    def _write(self) -> None:
        """Write the parameters; if they are the tuned ones, with what they rest on."""
        try:
            if self.result is not None and self.result.params == self.params:
                self.result.export(self.file.value)
            else:
                self.params.save(self.file.value)
        except OSError as error:
            said = f"<b>Not done:</b> {escape(f'{self.file.value}: {error.strerror}')}"
        else:
            said = f"Written: {escape(self.file.value)}, for InputParams.load"
        self.written.value = f"<span role='status'>{said}</span>"

    def _failed(self, error: Exception) -> None:
        self.blind.disabled = True
        self.measured.value = self.verdict.value = ""
        self.comparison = self.result = None
        self._say(str(error), failed=True)

    def _say(self, text: str, *, failed: bool = False, busy: bool = False) -> None:
        mark = "<b>Not done:</b> " if failed else ""
        self.status.value = f"<span role='status'>{mark}{text if busy else escape(text)}</span>"
        for control in (self.progress, self.stop):
            control.layout.display = "" if busy else "none"


# -- plain functions -------------------------------------------------------------------------------


def _with_outbound_of(
    base: BandwidthFrameSerializer.InputParams, other: BandwidthFrameSerializer.InputParams
) -> BandwidthFrameSerializer.InputParams:
    return base.model_copy(update={name: getattr(other, name) for name in OUTBOUND})


def _with_base(chosen: TuningResult, call: Call) -> TuningResult:
    """The same choice on top of the call's own parameters, which a part of a call does not know."""
    base, _ = params_of([call])
    return replace(chosen, params=_with_outbound_of(base, chosen.params))


def _said_within(call: Call, start: float, end: float) -> Sequence[FrameRecord]:
    return [frame for frame in call.frames_out if start <= frame.time < end]


def _heard(call: Call, setting: Setting, leg: str) -> Audio:
    (trial,) = run_trials(call, setting, [LEGS[leg]])
    return trial.heard


def _as_html(measured: Measured) -> str:
    numbers = measured.comparison.shown.to_html(index=False, border=0)
    result = measured.result
    _, *rest = map(escape, [*result.why, *result.advice] if result else [""])
    items = "".join(f"<li>{sentence}</li>" for sentence in rest)
    table = f"<div style='overflow-x: auto'>{numbers}</div>"
    text = f"{table}<ul>{items}</ul>" if result else table
    # As wide as there is room, not as the table wants it.
    fitting = "width: 0; min-width: 100%; box-sizing: border-box"
    return f"<div class='jp-RenderedHTMLCommon' style='{fitting}'>{text}</div>"
