"""Pictures, by what is drawn in them: labels, limits and data, not pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer
from matplotlib.text import Text
from PIL import Image

from tests.benchmarks.cushion import random_call
from tests.captures import Scene, speech
from workbench import plots
from workbench.audio import Audio
from workbench.call import Answer, Answers, Call, Event, Stage, Turn
from workbench.call.playout import Playout, reconstruct
from workbench.call.stats import jitter
from workbench.diagnosis import DETECTORS, diagnose
from workbench.looks import SEVERITY_LOOKS
from workbench.metrics.spectra import Spectrum, long_term_spectrum, spectrogram
from workbench.tuning.comparison import SETTINGS, Comparison, compare
from workbench.tuning.cushion import choose_cushion
from workbench.tuning.measured_leg import MeasuredLeg
from workbench.tuning.pieces import Piece
from workbench.tuning.received import Moved, Received
from workbench.tuning.stalls import stalls_of


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    with plt.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """12 s: the bot speaks, with a hole of 0.3 s, the caller answers, 0.2 s of that is lost."""
    scene = Scene(12.0, pipeline_rate=16000)
    scene.say_bot(0.5, speech("bot/b02"))
    scene.hole(2.0, 0.3)
    scene.say_caller(7.0, speech("caller/c02"))
    scene.lose(8.0, 10)
    return Call.open(scene.write(tmp_path_factory.mktemp("plots") / "call.mcap"))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(speech("bot/b02").span(0, 5))


def tone(hz: float, secs: float = 1.0, rate: int = 8000, peak: float = 0.5) -> Audio:
    time = np.arange(round(secs * rate)) / rate
    return Audio((peak * np.sin(2 * np.pi * hz * time)).astype(np.float32), rate)


def labels(ax: Axes) -> tuple[str, str]:
    return ax.get_xlabel(), ax.get_ylabel()


def playout() -> Playout:
    """Ten messages of 40 ms, the sixth 100 ms late."""
    time = np.arange(10) * 0.04
    time[5:] += 0.1
    return reconstruct(time, np.full(10, 0.04), [])


# -- one signal ------------------------------------------------------------------------------------


def test_a_waveform_loses_no_peak_however_long_it_is() -> None:
    samples = np.zeros(3_600_000, np.float32)
    samples[1_234_567] = 0.9
    ax = plots.waveform(Audio(samples, 8000))
    (envelope,) = ax.collections
    assert envelope.get_paths()[0].vertices[:, 1].max() == pytest.approx(0.9)
    assert len(envelope.get_paths()[0].vertices) < 5000
    assert ax.get_xlim() == (0, 450)
    assert ax.get_ylim() == (-1, 1)
    assert labels(ax) == ("time (s)", "amplitude\n(1 = full scale)")


@pytest.mark.parametrize("length", [0, 1, 10])
def test_a_waveform_of_next_to_nothing_is_drawn(length: int) -> None:
    ax = plt.subplots()[1]
    assert plots.waveform(Audio(np.zeros(length, np.float32), 8000), ax) is ax


def test_a_spectrogram_has_its_tone_where_it_belongs() -> None:
    ax = plots.spectrogram_image(spectrogram(tone(1000)))
    (mesh,) = ax.collections
    levels = mesh.get_array()
    assert levels.shape[0] == 101
    loudest = np.argmax(np.asarray(levels).mean(axis=1)) * 40
    assert loudest == 1000
    assert mesh.get_clim() == (-110, -30)
    assert ax.get_ylim() == (0, 4)
    assert labels(ax) == ("time (s)", "frequency\n(kHz)")


def test_spectrograms_can_share_an_axis() -> None:
    ax = plots.spectrogram_image(spectrogram(tone(1000)), top_hz=8000)
    assert ax.get_ylim() == (0, 8)
    assert to_rgb(ax.get_facecolor()) == (0, 0, 0)  # empty is black, as silence is


def test_spectra_are_told_apart_without_colour() -> None:
    spectra: dict[str, Spectrum] = {
        name: long_term_spectrum(tone(hz)) for name, hz in (("low", 500), ("high", 2000))
    }
    ax = plots.spectrum_lines(spectra)
    low, high = ax.get_lines()
    for line, hz in ((low, 0.5), (high, 2.0)):
        assert line.get_xdata()[np.argmax(line.get_ydata())] == pytest.approx(hz, abs=0.03)
    assert low.get_linestyle() != high.get_linestyle()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["low", "high"]
    assert labels(ax) == ("frequency (kHz)", "level per bin (dBov)")


# -- a call ----------------------------------------------------------------------------------------


def test_turns_have_a_half_for_each_side() -> None:
    ax = plots.turns([Turn("caller", 1.0, 2.0), Turn("bot", 3.0, 5.0)], plt.subplots()[1])
    caller, bot = ax.patches
    assert (caller.get_x(), caller.get_width(), caller.get_y()) == (1.0, 1.0, 0.5)
    assert (bot.get_x(), bot.get_width(), bot.get_y()) == (3.0, 2.0, 0.0)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["bot", "caller"]


def test_events_at_one_moment_share_a_line() -> None:
    happened = [Event(1.0, "interruption"), Event(1.05, "clear"), Event(4.0, "stop")]
    ax = plots.events(happened, plt.subplots()[1])
    assert [line.get_xdata()[0] for line in ax.get_lines()] == [1.0, 4.0]
    assert [text.get_text().strip() for text in ax.texts] == ["interruption, clear", "stop"]


def test_findings_are_hatched_by_severity(call: Call) -> None:
    found = diagnose(call)
    ax = plots.findings(found, plt.subplots()[1])
    parts = [(part, finding.severity) for finding in found for part in finding.parts]
    assert len(ax.patches) == len(parts) > 1
    for patch, (part, severity) in zip(ax.patches, parts, strict=True):
        assert patch.get_x() == pytest.approx(part.start)
        assert patch.get_hatch() == SEVERITY_LOOKS[severity].hatch
        assert patch.get_width() >= 0.0199  # one of no length is seen too


def test_findings_are_named_by_their_titles(call: Call) -> None:
    found = diagnose(call, ["underrun"])
    ax = plots.findings(found, plt.subplots()[1])
    assert [text.get_text().strip() for text in ax.texts] == ["Gap in playback"] * len(found)
    assert found


def test_no_name_stands_on_another_or_out_of_the_picture() -> None:
    rng = np.random.default_rng(5)
    times = np.sort(rng.uniform(0, 60, 80)).tolist()
    figure, ax = plt.subplots(figsize=(12, 2))
    ax.set_xlim(0, 60)
    plots.events([Event(time, "interruption") for time in [*times, 59.9]], ax)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) >= 15 and len(ax.get_lines()) > len(boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    frame = ax.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_the_queue_is_drawn_in_ms_with_its_underrun() -> None:
    played = playout()
    ax = plots.playout_lead(played)
    dots = ax.get_lines()[0]
    np.testing.assert_allclose(dots.get_ydata(), played.lead * 1000)
    (hole,) = ax.patches
    assert (hole.get_x(), hole.get_width()) == pytest.approx((0.2, 0.1))
    assert labels(ax) == ("time (s)", "far end's\nqueue (ms)")


def test_jitter_and_delta_are_those_of_the_stream(call: Call) -> None:
    ax = plots.jitter_and_delta(call.inbound)
    delta, line, threshold = ax.get_lines()
    assert threshold.get_ydata()[0] == DETECTORS["jitter"].thresholds[0].value
    np.testing.assert_allclose(delta.get_ydata(), 1000 * np.diff(call.inbound.time))
    assert max(delta.get_ydata()) == pytest.approx(220, abs=10)  # ten messages were lost
    np.testing.assert_allclose(line.get_ydata(), jitter(call.inbound))
    assert ax.get_ylim()[0] == 0
    assert labels(ax) == ("time (s)", "inbound\nmessages (ms)")


def test_the_ladder_has_a_rung_for_each_answer_the_first_on_top() -> None:
    held = [
        Turn("bot", 0.5, 2.0),
        Turn("caller", 3.0, 4.0),
        Turn("bot", 4.8, 6.0, latency_ms=800.0),
        Turn("bot", 9.0, 9.5, latency_ms=1700.0),
    ]
    ax = plots.latency_ladder(held)
    assert [bar.get_width() for bar in ax.patches] == [800, 1700]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["4.8 s", "9.0 s"]
    assert [text.get_text() for text in ax.texts] == ["800 ms", "1700 ms"]
    bottom, top = ax.get_ylim()
    assert bottom > top
    assert "(ms)" in ax.get_xlabel()
    (threshold,) = ax.lines
    assert threshold.get_xdata()[0] == DETECTORS["slow_response"].thresholds[0].value
    assert "Slow" in threshold.get_label() and "2000 ms" in threshold.get_label()


def test_a_ladder_of_no_answer_is_empty() -> None:
    assert not plots.latency_ladder([Turn("bot", 0.5, 2.0)]).patches


def test_the_stages_of_an_answer_are_a_bar_that_is_as_long_as_the_wait() -> None:
    answers = Answers(
        [
            Answer(1.0, 2.5, (Stage("voice_end", 1.0, 1.2, "A#0"), Stage("first_token", 1.2, 2.5))),
            Answer(4.0, 5.0, (Stage("pipeline", 4.0, 5.0),), "abandoned"),
        ]
    )
    ax = plots.answer_stages(answers)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.2, 1.3, 1.0])
    assert [bar.get_x() for bar in ax.patches] == pytest.approx([0.0, 0.2, 0.0])
    assert [text.get_text() for text in ax.texts] == ["1300", "1000"]
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in ax.patches}) == 3
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["2.5 s", "5.0 s"]
    assert not plots.answer_stages(Answers()).patches


def test_an_overview_is_on_one_clock(call: Call) -> None:
    axes = plots.call_overview(call, diagnose(call))
    assert len(axes) == 6
    assert {ax.get_xlim() for ax in axes} == {(0, call.duration)}
    assert axes[-1].get_xlabel() == "time (s)"
    marked = [len(ax.patches) for ax in axes[1:5:2]]
    assert min(marked) >= 1  # the caller's gap on his side, the bot's hole on hers


# -- a comparison ----------------------------------------------------------------------------------


def test_the_trade_of_a_cushion_has_a_point_for_each_and_the_chosen_one_marked() -> None:
    chosen = choose_cushion([stalls_of(random_call(3))])
    assert chosen is not None and chosen.cushion_ms > 0
    ax = plots.cushion_trade(chosen)
    line, mark = ax.lines
    assert np.array_equal(line.get_xdata(), chosen.table["delay_ms"])
    assert np.array_equal(line.get_ydata(), chosen.table["holes_per_min"])
    assert mark.get_xdata() == [pytest.approx(chosen.cushion_ms)]
    assert [text.get_text() for text in ax.texts] == [f"chosen: {chosen.cushion_ms} ms"]


def test_a_comparison_has_a_picture_for_each_setting_and_leg(comparison: Comparison) -> None:
    axes = plots.comparison_overview(comparison)
    assert axes.shape == (2, 4)
    assert {ax.get_ylim() for ax in axes.flat} == {(0, 8)}
    titles = [ax.get_title() for ax in axes.flat]
    assert titles[0].startswith("PCMU, G.711 leg\n") and titles[-1].startswith("PCM 24 kHz, G.722")
    assert all("kbit/s" in title for title in titles)
    figure = axes.flat[0].get_figure(root=True)
    bars = [ax for ax in figure.axes if ax not in set(axes.flat) and ax.patches]
    scales = [ax for ax in figure.axes if "dBov" in ax.get_ylabel()]
    assert len(scales) == 1  # of the spectrograms' colours
    assert [len(ax.patches) for ax in bars] == [8, 8]
    assert "dB" in bars[1].get_ylabel() and "ESTOI" in bars[0].get_ylabel()
    assert not any(bar.errorbar for ax in bars for bar in ax.containers)  # a single segment


def test_a_recording_shows_what_is_missing_and_when_it_was_heard() -> None:
    lost = np.array([[3.0, 3.2], [5.0, 5.1]])
    utterances = (Moved(1.0, 4.0, 0.0), Moved(6.0, 9.0, 120.0))
    measured = MeasuredLeg(
        delay_ms=0.0, drift_ppm=0.0, gain_db=0.0, jitter_ms=0.0, matched=1.0, covered=(0.5, 10.0),
        family="unknown", leg=None, untold="", distance_db={}, sent_hz=4000.0, heard_hz=3400.0,
        recorded_rate=8000, heard=tone(500, 10.0, 8000),
        pieces=(Piece(0.5, 4.0, 0.0), Piece(6.0, 10.0, -2.0)),
        received=Received(lost, 8.0, True, utterances),
    )  # fmt: skip
    above, below = plots.recording_overview(measured)
    _, *marks = above.collections
    drawn = [mark.get_paths()[0].get_extents() for mark in marks]
    assert [(box.x0, round(box.x1, 3)) for box in drawn] == [(0, 0.5), (4, 6), (3, 3.2), (5, 5.1)]
    labels = [text.get_text() for text in above.get_legend().get_texts()]
    assert labels == ["not recorded", "lost on the way"]
    assert [list(line.get_ydata()) for line in below.lines] == [[0, 0], [120, 120]]
    assert below.get_ylim()[1] > 120 and "ms" in below.get_ylabel()


def test_a_comparison_shows_what_was_assumed(comparison: Comparison) -> None:
    figure = plots.comparison_overview(comparison)[0, 0].get_figure(root=True)
    shown = [text.get_text().replace("\n", " ") for text in figure.findobj(Text)]
    assert comparison.assumption in shown


def test_bars_of_a_comparison_have_its_intervals() -> None:
    voice = speech("bot/b05")
    found = compare(Audio(np.tile(voice.samples, 3), 24000), SETTINGS[::2], legs=["G.711", "G.722"])
    figure = plots.comparison_overview(found)[0, 0].get_figure(root=True)
    bars = [ax for ax in figure.axes if ax.patches]
    for ax, metric in zip(bars, ("estoi", "lsd_wide_db"), strict=True):
        assert "95 % interval" in ax.get_title()
        drawn = [
            (bar.get_height(), *(y for _, y in line))
            for group in ax.containers
            if isinstance(group, BarContainer)
            for bar, line in zip(
                group.patches, group.errorbar.lines[2][0].get_segments(), strict=True
            )
        ]
        by_setting = found.table.assign(margin=found.margin(metric)).sort_values(
            "setting", ascending=False, kind="stable"
        )  # as bars are drawn: both legs of a setting, then the next
        height, margin = by_setting[metric].to_numpy(), by_setting["margin"].to_numpy()
        assert (margin > 0).all()
        np.testing.assert_allclose(drawn, np.array([height, height - margin, height + margin]).T)


def test_bars_begin_where_their_values_differ() -> None:
    alike = {"G.711": {"a": 0.991, "b": 0.996}, "G.722": {"a": 0.989, "b": 0.999}}
    ax = plots.metric_bars(alike, "ESTOI")
    bottom, top = ax.get_ylim()
    assert 0.97 < bottom < 0.989
    assert (0.999 - 0.989) / (top - bottom) > 0.2  # the difference is seen
    assert f"begins at {bottom:.3g}" in ax.get_ylabel()
    assert plots.metric_bars({"x": {"a": 1.0, "b": 2.0}}, "dB").get_ylim()[0] == 0
    for nothing in ({"x": {"a": float("nan")}}, {}):
        assert "begins" not in plots.metric_bars(nothing, "dB").get_ylabel()


def test_at_night_pictures_are_dark_and_by_day_as_before() -> None:
    def corner() -> list[int]:
        ax = plots.latency_ladder([Turn("bot", 4.8, 6.0, latency_ms=800.0)])
        pixels = np.asarray(Image.open(io.BytesIO(plots.png(ax))).convert("RGB"), int)
        assert np.abs(pixels - pixels[0, 0]).sum(axis=2).max() > 500  # it can be read
        return pixels[0, 0].tolist()

    plots.night()
    try:
        assert max(corner()) < 40
    finally:
        plots.night(False)
    assert min(corner()) == 255


def test_bars_have_heights_values_and_hatches() -> None:
    values = {"G.711": {"a": 1.0, "b": 2.0}, "G.722": {"a": 3.0, "b": float("nan")}}
    ax = plots.metric_bars(values, "distance (dB)")
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_array_equal(heights, [1.0, 3.0, 2.0, np.nan])
    assert len({bar.get_hatch() for bar in ax.patches}) == 2
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["G.711 leg", "G.722 leg"]
    assert ax.get_ylabel() == "distance (dB)"


def test_quality_is_drawn_against_kbit_s_with_a_marker_for_each() -> None:
    ax = plots.quality_against_bitrate({"a": 0.9, "b": 0.99}, {"a": 100, "b": 370}, "ESTOI")
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.get_lines()]
    assert places == [(100, 0.9), (370, 0.99)]
    assert len({line.get_marker() for line in ax.get_lines()}) == 2
    assert ax.get_xlim()[0] == 0
    assert labels(ax) == ("on the wire (kbit/s)", "ESTOI")


# -- as a file -------------------------------------------------------------------------------------


def test_a_png_is_small_and_its_figure_closed(tmp_path: Path) -> None:
    ax = plots.waveform(tone(440))
    picture = plots.png(ax, dpi=80)
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.format, image.size) == ("PNG", (800, 160))
        assert len(image.getcolors() or ()) > 2
    assert not plt.get_fignums()
    ax.remove()
    with pytest.raises(ValueError, match="no figure"):
        plots.png(ax)
