"""Pictures. Axes go in (or are made) and come out again; nothing is computed here.

Every axis carries its unit. Colours are Okabe and Ito's, told apart with any colour vision and in
grey print; what a colour says is also said by a line style, a hatch or a word.

References:
    M. Okabe, K. Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from workbench import mapped
from workbench.audio import Audio
from workbench.call import Answers, Call, Event, Stream, Turn
from workbench.call.playout import Playout
from workbench.call.stages import KINDS
from workbench.call.stats import jitter
from workbench.diagnosis import DETECTORS, Finding
from workbench.looks import SEVERITY_LOOKS, SIDE_COLOURS, STAGE_LOOKS
from workbench.metrics.spectra import Spectrogram, Spectrum, spectrogram
from workbench.tuning.comparison import Comparison
from workbench.tuning.cushion import CushionChoice
from workbench.tuning.measured_leg import MeasuredLeg

__all__ = [
    "answer_stages",
    "call_overview",
    "cushion_trade",
    "comparison_overview",
    "events",
    "findings",
    "jitter_and_delta",
    "latency_ladder",
    "metric_bars",
    "night",
    "playout_lead",
    "png",
    "quality_against_bitrate",
    "recording_overview",
    "spectrogram_image",
    "spectrum_lines",
    "turns",
    "waveform",
]

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
_SETTING_COLOURS: Final = (BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK, YELLOW)
_SETTING_LINES: Final = ("-", "--", "-.", ":")
#: matplotlib's settings on a dark page: paper, and what is written on it.
_NIGHT: Final = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), "#111418"),
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), "#e6e9ed"
    ),
    **dict.fromkeys(("grid.color", "legend.edgecolor"), "#8a939c"),
}
#: Time steps of an envelope that are looked at together.
_STEPS: Final = 16
#: Half of the room that values take of an axis that does not begin at 0, and the least of it.
_LEAST_SHARE: Final = 0.01


def night(on: bool = True) -> None:
    """Draw on dark paper from now on, as dark notebooks are; or on white again.

    Args:
        on: Whether it is dark.
    """
    known: Any = rcParamsDefault
    settings: Any = plt.rcParams
    settings.update(_NIGHT if on else {name: known[name] for name in _NIGHT})


def _is_night() -> bool:
    return sum(to_rgb(plt.rcParams["axes.facecolor"])) < 1.5


def _ink() -> str:
    return str(plt.rcParams["axes.edgecolor"])


def _paper() -> dict[str, Any]:
    """Behind a name that stands on hatching."""
    return {"facecolor": plt.rcParams["axes.facecolor"], "alpha": 0.8, "linewidth": 0, "pad": 0.3}


def _severity_colour(severity: str) -> str:
    look = SEVERITY_LOOKS[severity]
    return (look.night if _is_night() else look.day).paper


def _threshold(ax: Axes, kind: str, *, scale: float = 1.0, across: bool = True) -> None:
    """Draw from what value on a finding is one: dashed, with its title.

    Args:
        ax: Where.
        kind: Of the finding; its first threshold is drawn.
        scale: From the threshold's unit to that of the axis.
        across: Whether the values go up, and the line across.
    """
    detector = DETECTORS[kind]
    threshold = detector.thresholds[0]
    line = ax.axhline if across else ax.axvline
    drawn = line(
        threshold.value * scale, color=_severity_colour("error"), linestyle="--", linewidth=1.2,
        label=f"{detector.title}, from {threshold.value:g} {threshold.unit}",
    )  # fmt: skip
    drawn.set_gid(kind)


def _level_bar(image: Axes, axes: Sequence[Axes]) -> None:
    """Say beside some axes what the colours of their spectrograms stand for."""
    figure = image.get_figure(root=False)
    if figure is None or not image.collections:
        return
    bar = figure.colorbar(image.collections[0], ax=list(axes), aspect=40, pad=0.01, shrink=0.6)
    bar.set_label("level per bin (dBov)", fontsize="x-small")
    bar.ax.tick_params(labelsize="x-small")


def waveform(
    audio: Audio, ax: Axes | None = None, *, colour: str = BLUE, columns: int = 1600
) -> Axes:
    """Draw a signal as the envelope of its extremes, so that no peak is lost, however long it is.

    Args:
        audio: The signal.
        ax: Where to draw; a new figure by default.
        colour: Of the envelope.
        columns: Number of time steps drawn.

    Returns:
        The axes: time in seconds, amplitude 1 = full scale.
    """
    ax = ax or plt.subplots(figsize=(10, 2))[1]
    step = max(1, len(audio.samples) // columns)
    whole = len(audio.samples) // step * step
    blocks = audio.samples[:whole].reshape(-1, step)
    if len(blocks):
        time = np.arange(len(blocks)) * step / audio.sample_rate
        few = mapped.blocks(blocks, _STEPS)
        low, high = np.hstack([(some.min(axis=1), some.max(axis=1)) for _, some in few])
        ax.fill_between(time, low, high, color=colour, linewidth=0.4)
    ax.set(
        ylim=(-1, 1),
        xlim=(0, audio.duration or 1),
        xlabel="time (s)",
        ylabel="amplitude\n(1 = full scale)",
    )
    ax.set_yticks((-1, -0.5, 0, 0.5, 1))
    ax.grid(alpha=0.25)
    return ax


def spectrogram_image(
    spectrogram: Spectrogram, ax: Axes | None = None, *, top_hz: float | None = None
) -> Axes:
    """Draw a spectrogram.

    Args:
        spectrogram: From :func:`workbench.metrics.spectra.spectrogram`.
        ax: Where to draw; a new figure, with a scale of its colours, by default.
        top_hz: Highest frequency shown, so that several pictures share one axis: what lies above
            a signal's own highest frequency stays empty.

    Returns:
        The axes: time in seconds, frequency in kHz, colour from -110 to -30 dBov.
    """
    is_alone = ax is None
    ax = ax or plt.subplots(figsize=(10, 2.5), layout="constrained")[1]
    if len(spectrogram.time) > 1:
        ax.pcolormesh(
            spectrogram.time, spectrogram.frequency / 1000, spectrogram.level,
            vmin=-110, vmax=-30, cmap="magma", shading="auto", rasterized=True,
        )  # fmt: skip
    ax.set_facecolor("black")
    top = top_hz or float(spectrogram.frequency[-1])
    ax.set(ylim=(0, top / 1000), xlabel="time (s)", ylabel="frequency\n(kHz)")
    if is_alone:
        _level_bar(ax, [ax])
    return ax


def spectrum_lines(spectra: Mapping[str, Spectrum], ax: Axes | None = None) -> Axes:
    """Draw long-term spectra over each other, one line style each.

    Args:
        spectra: Label to spectrum.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes: frequency in kHz, level in dBov per bin.
    """
    ax = ax or plt.subplots(figsize=(7, 3))[1]
    for index, (label, spectrum) in enumerate(spectra.items()):
        ax.plot(spectrum.frequency / 1000, spectrum.level, label=label, **_setting_style(index))
    ax.set(xlabel="frequency (kHz)", ylabel="level per bin (dBov)", ylim=(-120, -20))
    ax.grid(alpha=0.25)
    ax.legend(fontsize="small")
    return ax


def turns(turns: Iterable[Turn], ax: Axes) -> Axes:
    """Shade who speaks when: the caller in the upper half, the bot in the lower."""
    for turn in turns:
        low, high = (0.5, 1.0) if turn.side == "caller" else (0.0, 0.5)
        colour = SIDE_COLOURS[turn.side][_is_night()]
        ax.axvspan(turn.start, turn.end, low, high, color=colour, alpha=0.35, lw=0)
    ax.set(yticks=(0.25, 0.75), yticklabels=("bot", "caller"), ylim=(0, 1), xlabel="time (s)")
    return ax


def events(events: Iterable[Event], ax: Axes) -> Axes:
    """Mark events by a dotted line and their names; those within 0.2 s share a line.

    A name for which there is no room is left out.
    """
    groups: list[tuple[float, list[str]]] = []
    for event in events:
        if groups and event.time - groups[-1][0] < 0.2:
            groups[-1][1].append(event.kind)
        else:
            groups.append((event.time, [event.kind]))
    for time, _ in groups:
        ax.axvline(time, color=_ink(), linestyle=":", linewidth=1)
    _name([(time, ", ".join(dict.fromkeys(kinds))) for time, kinds in groups], ax, rows=3)
    return ax


def findings(findings: Iterable[Finding], ax: Axes) -> Axes:
    """Hatch the parts of each finding, by severity, and name the first where there is room."""
    names = []
    for finding in findings:
        look = SEVERITY_LOOKS[finding.severity]
        for start, end, _ in finding.parts:
            ax.axvspan(
                start, max(end, start + 0.02), facecolor="none", edgecolor=_severity_colour(finding.severity),
                hatch=look.hatch, linewidth=1,
            )  # fmt: skip
        names.append((finding.parts[0].end, finding.title))
    _name(names, ax, rows=4)
    return ax


def _name(names: Iterable[tuple[float, str]], ax: Axes, rows: int) -> None:
    """Write names beside their times, each in the first row where it meets no other."""
    figure, (low, high) = ax.get_figure(root=True), ax.get_xlim()
    assert figure is not None
    points = figure.get_figwidth() * 72 * ax.get_position().width
    per_letter = 0.62 * FontProperties(size="x-small").get_size_in_points() * (high - low) / points
    taken: list[list[tuple[float, float]]] = [[] for _ in range(rows)]
    for time, name in sorted(names):
        width = per_letter * (len(name) + 2)
        is_left = time + width <= high
        begin, end = (time, time + width) if is_left else (time - width, time)
        for row, spans in enumerate(taken):
            if all(end <= first or last <= begin for first, last in spans):
                spans.append((begin, end))
                ax.text(
                    time, 0.97 - row / rows, f" {name} ", ha="left" if is_left else "right", va="top",
                    transform=ax.get_xaxis_transform(), fontsize="x-small", clip_on=True,
                    bbox=_paper(),
                )  # fmt: skip
                break


def playout_lead(playout: Playout, ax: Axes | None = None) -> Axes:
    """Draw how much audio the far end still had to play when each message came, and underruns.

    Args:
        playout: From :func:`workbench.call.playout.reconstruct` or ``call.playout``.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes: time in seconds, lead in ms.
    """
    ax = ax or plt.subplots(figsize=(10, 1.8))[1]
    ax.plot(playout.time, np.asarray(playout.lead) * 1000, ".", markersize=2, color=GREEN)
    ax.axhline(0, color=_ink(), linewidth=0.8)
    for underrun in playout.underruns:
        ax.axvspan(underrun.start, underrun.end, color=_severity_colour("error"), alpha=0.6)
    ax.set(xlabel="time (s)", ylabel="far end's\nqueue (ms)")
    ax.grid(alpha=0.25)
    return ax


def jitter_and_delta(stream: Stream, ax: Axes | None = None) -> Axes:
    """Draw how far apart messages came, and the interarrival jitter after each.

    Args:
        stream: ``call.inbound``: messages that a clock sent.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes: time in seconds; both in ms, on a scale that is logarithmic above 10 ms, so that
        the 20 ms that are meant and a stall of a second are both seen.
    """
    ax = ax or plt.subplots(figsize=(10, 2.2))[1]
    delta = 1000 * np.diff(stream.time)
    ax.plot(stream.time[1:], delta, ".", markersize=3, color=SKY, label="since the message before")
    ax.plot(
        stream.time[~stream.duplicate], jitter(stream), linewidth=1.2, color=RED,
        label="jitter (RFC 3550)",
    )  # fmt: skip
    ax.set_yscale("symlog", linthresh=10)
    ax.set(ylim=(0, None), xlabel="time (s)", ylabel="inbound\nmessages (ms)")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid(alpha=0.25)
    _threshold(ax, "jitter")
    # Above the axes: at the top of them are the stalls, of one dot each.
    ax.legend(fontsize="small", loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
    return ax


def latency_ladder(turns: Iterable[Turn], ax: Axes | None = None) -> Axes:
    """Draw how long the caller waited for each answer, one rung each, the first on top.

    Args:
        turns: ``call.turns``; those that answer nothing have no rung.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes: wait in ms to the right, the time of the answer in seconds at each rung.
    """
    answers = [(turn.start, turn.latency_ms) for turn in turns if turn.latency_ms is not None]
    ax = ax or plt.subplots(figsize=(7, 0.8 + 0.3 * len(answers)))[1]
    bars = ax.barh(
        range(len(answers)), [wait for _, wait in answers], 0.6, color=BLUE, edgecolor=BLACK
    )
    ax.bar_label(bars, fmt="%.0f ms", padding=3, fontsize="small")
    ax.set_yticks(range(len(answers)), [f"{start:.1f} s" for start, _ in answers])
    ax.set(xlabel="from the caller's last word to the bot's first (ms)", ylabel="answer at")
    ax.set_ylim(len(answers) - 0.3, -0.7)
    ax.margins(x=0.15)
    if answers:
        _threshold(ax, "slow_response", across=False)
        ax.legend(fontsize="x-small", loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    return ax


def answer_stages(answers: Answers, ax: Axes | None = None) -> Axes:
    """Draw the wait before each answer as its stages, one bar each, the first on top.

    Args:
        answers: ``call.answers``.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes: seconds of the wait to the right, the time of the answer at each bar. Bars of
        answers that nobody heard are pale; the largest stage of each has its length in it.
    """
    size = (9, max(2.2, 0.9 + 0.35 * len(answers)))
    ax = ax or plt.subplots(figsize=size, layout="constrained")[1]
    names = [name for name in KINDS if any(s.name == name for a in answers for s in a.stages)]
    for row, answer in enumerate(answers):
        for stage in answer.stages:
            colour, hatch = STAGE_LOOKS[stage.name]
            ax.barh(
                row, stage.end - stage.start, 0.65, stage.start - answer.start, color=colour,
                hatch=hatch, edgecolor=BLACK, linewidth=0.5,
                alpha=0.35 if answer.outcome == "abandoned" else 1.0,
            )  # fmt: skip
        most = answer.largest
        ax.text(
            (most.start + most.end) / 2 - answer.start, row, f"{most.took_ms:.0f}", ha="center",
            va="center", fontsize="x-small", bbox=_paper(),
        )  # fmt: skip
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=BLACK, label=KINDS[name].title)
        for name in names
        for colour, hatch in (STAGE_LOOKS[name],)
    ]
    ax.set_yticks(range(len(answers)), [f"{answer.end:.1f} s" for answer in answers])
    ax.set(xlabel="the wait before it (s); in the bars ms", ylabel="answer at")
    ax.set_ylim(len(answers) - 0.4, -0.6)
    ax.set_xlim(left=0)
    if names:
        _threshold(ax, "slow_response", scale=1e-3, across=False)
        ax.set_xlim(0, 1.05 * max(ax.get_xlim()[1] / 1.05, float(np.max(ax.lines[0].get_xdata()))))
        ax.legend(
            handles=[*handles, *ax.lines], fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1),
            frameon=False,
        )  # fmt: skip
    return ax


def call_overview(call: Call, found: Sequence[Finding] = ()) -> NDArray[Any]:
    """Draw a whole call on one clock.

    Args:
        call: The call.
        found: Its findings, hatched over the side they belong to; those that span most of the call
            are left out.

    Returns:
        Six axes, top to bottom: who speaks, caller's wave and spectrogram, bot's wave (as the
        caller heard it) and spectrogram, far end's queue.
    """
    ratios = (0.9, 1, 1.2, 1, 1.2, 0.9)
    _, axes = plt.subplots(
        len(ratios), 1, sharex=True, figsize=(12, 9), layout="constrained",
        gridspec_kw={"height_ratios": ratios},
    )  # fmt: skip
    axes[0].set_xlim(0, call.duration)
    marked = [
        event for event in call.events if event.kind not in ("start", "stop", "warning", "pipeline")
    ]
    events(marked[:60], turns(call.turns, axes[0]))
    longest = call.duration / 2
    local = [f for f in found if max(part.end - part.start for part in f.parts) < longest]
    sides = (("caller", call.caller_sent, axes[1:3]), ("bot", call.caller_heard, axes[3:5]))
    for side, audio, (wave, image) in sides:
        waveform(audio, wave, colour=SIDE_COLOURS[side][_is_night()])
        findings((f for f in local if f.side in (side, None)), wave)
        spectrogram_image(spectrogram(audio), image)
    axes[1].set_title("caller, as it arrived (caller_sent)", loc="left", fontsize="small")
    axes[3].set_title("bot, as the caller heard it (caller_heard)", loc="left", fontsize="small")
    playout_lead(call.playout, axes[5])
    for ax in axes[:-1]:
        ax.set_xlabel("")
    _level_bar(axes[2], list(axes))
    return axes  # type: ignore[no-any-return]


def cushion_trade(choice: CushionChoice, ax: Axes | None = None) -> Axes:
    """Draw what each cushion would have hidden against what it costs; the chosen one is marked.

    Args:
        choice: ``TuningResult.cushion``, of :func:`workbench.tuning.tuning.tune`.
        ax: Where to draw.
    """
    ax = ax or plt.subplots(figsize=(7, 3))[1]
    table = choice.table
    ax.plot(table["delay_ms"], table["holes_per_min"], "o-")
    taken = table[table["cushion_ms"] == choice.cushion_ms].iloc[0]
    ax.plot(taken["delay_ms"], taken["holes_per_min"], "o", markersize=12, fillstyle="none")
    label = f"chosen: {choice.cushion_ms} ms" if choice.cushion_ms else "chosen: none"
    ax.annotate(
        label, (taken["delay_ms"], taken["holes_per_min"]), xytext=(8, 8),
        textcoords="offset points",
    )  # fmt: skip
    ax.set(xlabel="later, each answer (ms)", ylabel="holes in a minute of the bot's speech")
    ax.set_ylim(bottom=0)
    return ax


def comparison_overview(comparison: Comparison, *, secs: float = 4.0) -> NDArray[Any]:
    """Draw the same excerpt through every setting (columns) and far leg (rows), and its scores.

    Args:
        comparison: From :func:`workbench.tuning.comparison.compare`.
        secs: Length of the excerpt, taken where the speech is loudest.

    Returns:
        The axes of the spectrograms, shape ``(legs, settings)``; below them are the bars, with 95 %
        intervals over the segments of speech, and what was assumed of the far end; then the carrier's
        recording, if there was one.
    """
    table = comparison.table
    legs, settings = (list(dict.fromkeys(table[name])) for name in ("leg", "setting"))
    width = max(3 * len(settings), 8)
    figure = plt.figure(layout="constrained")
    figure.set_figwidth(width)
    above, below = _rows(figure, (2.2 * len(legs), 3.5), comparison.measured)
    axes = above.subplots(len(legs), len(settings), sharex=True, sharey=True, squeeze=False)
    for (leg, setting), ax in zip(product(legs, settings), axes.flat, strict=True):
        heard = comparison.excerpt(setting, leg, secs)
        spectrogram_image(spectrogram(heard, columns=400), ax, top_hz=8000)
        cell = table[(table["leg"] == leg) & (table["setting"] == setting)].iloc[0]
        title = f"{setting}, {leg} leg\n{cell['kbit_s']:.0f} kbit/s"
        ax.set_title(title, fontsize="small")
        ax.label_outer()
    _level_bar(axes[0, 0], list(axes.flat))
    bars = below.subplots(1, 2)
    for ax, (metric, unit) in zip(bars, _COMPARED.items(), strict=True):
        margins = table.assign(**{metric: comparison.margin(metric)})
        metric_bars(_by_leg(table, metric), unit, ax, margins=_by_leg(margins, metric))
    below.legend(
        *bars[1].get_legend_handles_labels(), loc="outside upper center", ncols=len(settings),
        fontsize="small",
    )  # fmt: skip
    below.supxlabel(textwrap.fill(comparison.assumption, 15 * width), fontsize="x-small")
    return axes  # type: ignore[no-any-return]


def _rows(figure: Any, heights: tuple[float, float], measured: MeasuredLeg | None) -> list[Any]:
    """Two rows of a figure, and a third for a recording, if there is one."""
    third = () if measured is None else (3.0,)
    figure.set_figheight(sum(heights) + sum(third))
    rows = figure.subfigures(2 + len(third), 1, height_ratios=(*heights, *third))
    if measured is not None:
        recording_overview(measured, rows[2].subplots(2, 1, sharex=True, height_ratios=(2, 1)))
    return [rows[0], rows[1]]


def recording_overview(measured: MeasuredLeg, axes: Any = None) -> NDArray[Any]:
    """Draw what the carrier recorded, on the call's clock, and what it adds to the capture.

    Args:
        measured: From :func:`workbench.tuning.carrier_recording.align`.
        axes: Two, one above the other; a new figure by default.

    Returns:
        The axes: the recording, with what was not recorded hatched and what was lost on the way
        marked; and by how many ms each utterance was heard later than the model of the queue says.
    """
    if axes is None:
        axes = plt.subplots(
            2, 1, figsize=(10, 3), sharex=True, height_ratios=(2, 1), layout="constrained"
        )[1]
    above, below = axes
    waveform(measured.heard, above, colour=ORANGE)
    duration, recorded = measured.heard.duration, measured.recorded.tolist()
    edges = [0.0, *(edge for span in recorded for edge in span), duration]
    absent = [
        (start, end)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if end - start > 0.002 * duration
    ]
    lost = [] if measured.received is None else measured.received.lost.tolist()
    for spans, hatch, colour, label in (
        (absent, "///", _ink(), "not recorded"), (lost, "", _severity_colour("error"), "lost on the way"),
    ):  # fmt: skip
        for number, (start, end) in enumerate(spans):
            above.fill_between(
                (start, max(end, start + 0.002 * duration)), -1, 1, hatch=hatch, linewidth=0.5,
                facecolor=colour if not hatch else "none", edgecolor=colour, alpha=0.8,
                label="" if number else label,
            )  # fmt: skip
    if absent or lost:
        above.legend(fontsize="x-small", loc="upper right")
    above.set(title="recorded by the carrier, on the call's clock", xlabel="")
    above.title.set_fontsize("small")
    utterances = () if measured.received is None else measured.received.utterances
    for start, end, late_ms in utterances:
        below.plot((start, end), (late_ms, late_ms), color=BLUE, linewidth=3, solid_capstyle="butt")
    most = max((abs(one.late_ms) for one in utterances), default=0.0)
    below.set(
        xlabel="time (s)",
        ylabel="later than\nmodel (ms)",
        ylim=(-1.2 * most - 1, 1.2 * most + 1),
    )
    below.grid(alpha=0.25)
    return np.array([above, below])


#: What the bars of a comparison show.
_COMPARED: Final = {
    "estoi": "intelligibility, ESTOI\n(1 = as the reference)",
    "lsd_wide_db": "distance to the reference, up\nto 7 kHz (dB, less is better)",
}


def _by_leg(table: Any, name: str) -> dict[str, dict[str, float]]:
    return {
        leg: dict(zip(rows["setting"], rows[name], strict=True))
        for leg, rows in table.groupby("leg", sort=False)
    }


def metric_bars(
    values: Mapping[str, Mapping[str, float]],
    unit: str,
    ax: Axes | None = None,
    *,
    margins: Mapping[str, Mapping[str, float]] | None = None,
) -> Axes:
    """Draw one metric as bars: groups beside each other, one bar per setting in each.

    Args:
        values: Group (far leg) to setting to value; NaN leaves its place empty.
        unit: Label of the value axis, with its unit.
        ax: Where to draw; a new figure by default.
        margins: Half of each value's 95 % interval, drawn as a line through the end of its bar;
            NaN draws none.

    Returns:
        The axes.
    """
    ax = ax or plt.subplots(figsize=(7, 3))[1]
    settings = list(dict.fromkeys(setting for group in values.values() for setting in group))
    width = 0.8 / max(1, len(settings))
    margins = margins or {}
    known = any(np.isfinite(margin) for group in margins.values() for margin in group.values())
    for index, setting in enumerate(settings):
        place = np.arange(len(values)) + (index - (len(settings) - 1) / 2) * width
        height = [group.get(setting, np.nan) for group in values.values()]
        margin = [margins.get(group, {}).get(setting, np.nan) for group in values]
        bars = ax.bar(
            place, height, width * 0.92, label=setting, edgecolor=BLACK, linewidth=0.5,
            color=_SETTING_COLOURS[index % 8], hatch=("", "//", "..", "xx")[index % 4],
            yerr=margin if known else None, capsize=3, error_kw={"linewidth": 1.2},
        )  # fmt: skip
        ax.bar_label(bars, fmt="%.3g", fontsize="xx-small", padding=1)
    ax.set_xticks(np.arange(len(values)), [f"{group} leg" for group in values])
    ax.set_ylabel(unit)
    begin = _begin(values, margins)
    if known:
        ax.set_title("mean over segments of speech, lines: its 95 % interval", fontsize="x-small")
    ax.margins(y=0.15)
    if begin > 0:
        low, high = _ends(values, margins)
        ax.set_ylim(begin, high + 0.3 * max(high - begin, high - low))  # room for the figures
        ax.set_ylabel(f"{unit}\nthe axis begins at {begin:.3g}")
    return ax


def _begin(
    values: Mapping[str, Mapping[str, float]], margins: Mapping[str, Mapping[str, float]]
) -> float:
    """Where the axis of bars begins: at 0, unless they differ by too little to be told apart there."""
    low, high = _ends(values, margins)
    room = max(high - low, _LEAST_SHARE * abs(high))
    return max(0.0, low - room / 2) if low > 0 and room < low / 2 else 0.0


def _ends(
    values: Mapping[str, Mapping[str, float]], margins: Mapping[str, Mapping[str, float]]
) -> tuple[float, float]:
    """The least and the largest of all values, with their margins; 0 of none."""
    known = [
        (value, margin if np.isfinite(margin) else 0.0)
        for group, each in values.items()
        for setting, value in each.items()
        if np.isfinite(value)
        for margin in (margins.get(group, {}).get(setting, 0.0),)
    ] or [(0.0, 0.0)]
    return min(v - m for v, m in known), max(v + m for v, m in known)


def quality_against_bitrate(
    quality: Mapping[str, float], kbit_s: Mapping[str, float], unit: str, ax: Axes | None = None
) -> Axes:
    """Draw what each setting buys for its bytes.

    Args:
        quality: Setting to quality.
        kbit_s: Setting to kilobits per second on the wire.
        unit: Label of the quality axis.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes: kbit/s to the right, quality upward; the best place is top left.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    for index, (setting, value) in enumerate(quality.items()):
        marker = "osD^vP*X"[index % 8]
        ax.plot(
            kbit_s[setting], value, marker, markersize=9, linestyle="",
            color=_SETTING_COLOURS[index % 8], label=setting, markeredgecolor=_ink(),
        )  # fmt: skip
    ax.set(xlabel="on the wire (kbit/s)", ylabel=unit)
    ax.set_xlim(left=0)
    ax.margins(0.1, 0.2)
    ax.grid(alpha=0.25)
    ax.legend(fontsize="small")
    return ax


def png(ax: Axes, *, dpi: int = 100) -> bytes:
    """Render the figure that an axes belongs to, and close it.

    Returns:
        A PNG of 256 colours: a third of the size, no difference to the eye.
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belongs to no figure")
    # Not by savefig, which lays out in a drawing of its own, and packs what would be unpacked here.
    canvas, small = FigureCanvasAgg(figure), io.BytesIO()
    figure.set_dpi(dpi)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba()))  # type: ignore[no-untyped-call]
    plt.close(figure)
    drawn.convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


def _setting_style(index: int) -> dict[str, Any]:
    return {
        "color": _SETTING_COLOURS[index % len(_SETTING_COLOURS)],
        "linestyle": _SETTING_LINES[index % len(_SETTING_LINES)],
        "linewidth": 1.3,
    }
