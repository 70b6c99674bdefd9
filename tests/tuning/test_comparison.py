"""Comparison: known outcomes on both legs, and what it says of them."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from io import StringIO
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from pipecat_bandwidth import BandwidthFrameSerializer
from tests.captures import SAMPLES, Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.metrics import distances
from workbench.metrics.segments import margin, segments
from workbench.terminal import print_comparison
from workbench.timeline.blind_test import BlindTest, coin_tosses
from workbench.tuning.comparison import SETTINGS, Comparison, Setting, compare
from workbench.tuning.legs import LEGS, Leg
from workbench.tuning.objective import objective_for
from workbench.tuning.trial import Spoken, run_trials
from workbench.tuning.tuning import tune

InputParams = BandwidthFrameSerializer.InputParams
NAMES = ["PCMU", "PCM 8 kHz", "PCM 16 kHz", "PCM 24 kHz"]
QUALITY = ["lsd_db", "seg_snr_db", "si_sdr_db", "estoi", "bandwidth_hz", "active_level_dbov"]
VOICES = sorted((SAMPLES / "bot_voices").glob("*.flac"))


@cache
def compared(path: Path) -> Comparison:
    """On both legs: what is heard over one does not depend on the other."""
    return compare(Audio.read(path))


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compared(VOICES[0])


def on(leg: str, comparison: Comparison) -> pd.DataFrame:
    rows = comparison.table[comparison.table["leg"] == leg]
    return rows.set_index("setting")


def test_the_table_has_a_row_for_each_leg_and_setting(found: Comparison) -> None:
    assert list(found.table["setting"]) == NAMES * 2
    assert list(found.table["leg"]) == ["G.711"] * 4 + ["G.722"] * 4
    assert list(found.table.columns) == [
        "setting", "leg", "active_level_dbov", "loudness_lufs", "peak_dbov", "bandwidth_hz",
        "damage_percent", "missing_percent", "lsd_db", "lsd_wide_db", "seg_snr_db", "si_sdr_db",
        "estoi", "first_audio_ms", "delay_ms",
        "conserved_percent", "kbit_s", "cpu_us_per_s",
    ]  # fmt: skip
    assert all(found.table[name].dtype == np.float64 for name in found.table.columns[2:])
    assert not found.table.isna().any(axis=None)


@pytest.mark.parametrize("path", VOICES, ids=lambda path: path.stem)
def test_over_g711_all_settings_are_the_same(path: Path) -> None:
    """What protocol and codec say: mu-law at the far end leaves no room for a better wire."""
    rows = on("G.711", compared(path))
    spread = rows.max(numeric_only=True) - rows.min(numeric_only=True)
    assert spread["lsd_db"] < 0.1
    assert spread["seg_snr_db"] < 0.2
    assert spread["si_sdr_db"] < 0.5
    assert spread["estoi"] < 0.01
    assert spread["bandwidth_hz"] < 100
    assert spread["active_level_dbov"] < 0.05


def test_pcmu_and_pcm_8_are_identical_over_g711(found: Comparison) -> None:
    pcmu, pcm = (found.signals[name, "G.711"] for name in NAMES[:2])
    np.testing.assert_array_equal(pcmu.samples, pcm.samples)


@pytest.mark.parametrize("path", VOICES, ids=lambda path: path.stem)
def test_over_g722_the_wideband_wires_win_and_tie(path: Path) -> None:
    rows = on("G.722", compared(path))
    assert rows.loc["PCM 8 kHz", "lsd_wide_db"] > rows.loc["PCM 16 kHz", "lsd_wide_db"] + 3
    assert rows.loc["PCMU", "lsd_wide_db"] > rows.loc["PCM 16 kHz", "lsd_wide_db"] + 3
    difference = rows.loc["PCM 24 kHz", "lsd_wide_db"] - rows.loc["PCM 16 kHz", "lsd_wide_db"]
    assert abs(difference) < 0.3
    assert rows.loc[NAMES[:2], "bandwidth_hz"].max() < 5000
    assert rows.loc[NAMES[2:], "bandwidth_hz"].min() > 6500


def test_it_says_so(found: Comparison) -> None:
    g711, g722 = found.sentences
    assert g711.startswith("Over G.711 all 4 settings sound the same (loss of quality")
    assert "take PCMU, 101 kbit/s; PCM 24 kHz costs 5.4 times as much for nothing" in g711
    assert g722.startswith("Over G.722 PCM 16 kHz and PCM 24 kHz sound the same")
    assert "take PCM 16 kHz" in g722
    assert "Behind: PCMU by" in g722
    assert found.sentence == f"{g711} {g722}"
    assert "8 kHz mu-law" in found.assumption
    assert "no capture shows" in found.assumption


def test_what_is_printed_holds_everything(found: Comparison) -> None:
    for shown in (str(found), found._repr_html_()):
        assert found.assumption.split(":")[0] in shown
        assert "take PCMU" in shown
        assert "PCM 24 kHz" in shown
        assert "ESTOI: predicted intelligibility" in shown
    assert repr(found) == "Comparison(4 settings, 2 legs, 11.4 s)"


def test_80_columns_of_a_terminal_are_enough(found: Comparison) -> None:
    console = Console(file=StringIO(), width=80)
    with console.capture() as printed:
        print_comparison(console, found)
    assert "…" not in printed.get() and found.sentence.split()[-1] in printed.get()
    table, *_ = str(found).partition("\n\n")
    assert len(table.splitlines()) == 2 + len(found.table)
    assert max(map(len, table.splitlines())) <= 80


def test_numbers_stand_in_line(found: Comparison) -> None:
    for heading in ("damage (%)", "missing (%)", "segSNR (dB)", "ESTOI", "delay (ms)"):
        decimals = {len(cell.partition(".")[2]) for cell in found.shown[heading]}
        assert len(decimals) == 1 and decimals != {0}, heading
    assert {cell.isdecimal() for cell in found.shown["kbit/s"]} == {True}


def test_what_could_not_be_measured_is_a_dash(found: Comparison) -> None:
    table = found.table.assign(missing_percent=np.nan, mine=1 / 3, ESTOI=0.5)
    console = Console(file=StringIO(), width=100)
    other = replace(found, table=table)
    assert set(other.shown["missing (%)"]) == {"-"} and set(other.shown["mine"]) == {"0.333"}
    with console.capture() as printed:
        print_comparison(console, other)
    for shown in (str(other), other._repr_html_(), printed.get()):
        assert "nan" not in shown.lower() and "0.333" in shown


def test_signals_are_in_step_with_the_reference(found: Comparison) -> None:
    assert set(found.signals) == {(name, leg) for name in NAMES for leg in ("G.711", "G.722")}
    for heard in found.signals.values():
        assert heard.duration == pytest.approx(found.reference.duration, abs=1e-3)
        reference = found.reference.resampled(heard.sample_rate)
        assert distances.align(reference, heard).delay_ms == pytest.approx(0.0, abs=0.05)


# -- segments, and how sure -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def long() -> Comparison:
    """Five segments."""
    voice = np.concatenate([Audio.read(path).samples for path in VOICES])
    return compare(Audio(voice, 24000))


def test_distances_are_means_over_the_segments(long: Comparison) -> None:
    assert list(long.scores.columns) == [
        "leg", "setting", "segment", "damage_percent", "missing_percent", "lsd_db", "lsd_wide_db",
        "seg_snr_db", "si_sdr_db", "estoi",
    ]  # fmt: skip
    assert len(long.scores) == 8 * 5
    (trial,) = run_trials(long.reference, SETTINGS[0], [LEGS["G.722"]])
    cells = long.scores[(long.scores["leg"] == "G.722") & (long.scores["setting"] == "PCMU")]
    for (_, cell), span in zip(cells.iterrows(), segments(trial.reference), strict=True):
        parts = (Audio(a.samples[span], 16000) for a in (trial.reference, trial.degraded))
        assert distances.evaluate_aligned(*parts, ["lsd_db"])["lsd_db"] == pytest.approx(
            cell["lsd_db"], rel=1e-6
        )
    assert on("G.722", long).loc["PCMU", "lsd_db"] == pytest.approx(cells["lsd_db"].mean())


@pytest.mark.parametrize("leg", ["G.711", "G.722"])
def test_a_comparison_and_tuning_give_the_same_numbers(leg: str, long: Comparison) -> None:
    tuned = tune(long.reference, leg=leg).table
    tuned = tuned[tuned["leg"] == leg].set_index("setting")
    compared = on(leg, long)
    for name in ("damage_percent", "missing_percent"):
        np.testing.assert_allclose(compared[name], tuned[name], rtol=1e-12)
    loss = objective_for(LEGS[leg]).of(compared)
    np.testing.assert_allclose(loss, tuned["score"], rtol=1e-12)


def test_the_margin_is_half_of_a_95_percent_interval(long: Comparison) -> None:
    scores = long.scores.groupby(["leg", "setting"])["estoi"]
    found = long.margin("estoi")
    assert len(found) == len(long.table) and (found > 0).all()
    for row, value in zip(long.table.itertuples(), found, strict=True):
        known = scores.get_group((row.leg, row.setting)).to_numpy()
        assert value == pytest.approx(2.776445 * known.std() / 2, rel=1e-6)  # t of 4 degrees


def test_a_single_segment_has_no_margin(found: Comparison) -> None:
    assert found.margin("lsd_db").isna().all()


def test_only_distances_have_a_margin(found: Comparison) -> None:
    with pytest.raises(
        ValueError, match="no distance 'kbit_s', there are: damage_percent, missing_percent"
    ):
        found.margin("kbit_s")


@pytest.mark.parametrize("size", [3, 5, 12])
def test_95_of_100_margins_hold_the_truth(size: int) -> None:
    rng = np.random.default_rng(size)
    draws = 5.0 + rng.standard_normal((2000, size))
    held = [abs(draw.mean() - 5.0) <= margin(draw) for draw in draws]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_scores_that_are_none_do_not_count() -> None:
    scores = np.array([1.0, 2.0, np.nan, 3.0, np.inf])
    assert margin(scores) == margin(np.array([1.0, 2.0, 3.0]))
    assert np.isnan(margin(scores[:3]))


def test_other_processes_are_sent_what_was_said_and_no_more() -> None:
    spoken = Spoken(Audio.read(VOICES[0]))
    before = len(pickle.dumps(spoken))
    assert spoken.segments
    assert len(pickle.dumps(spoken)) == before < 2 * 2 * len(spoken.said.audio)
    again = pickle.loads(pickle.dumps(spoken))
    np.testing.assert_array_equal(again.speech.samples, spoken.speech.samples)


# -- by ear ---------------------------------------------------------------------------------------


def test_sounds_to_be_compared_by_ear(found: Comparison) -> None:
    sounds = found.sounds("PCM 16 kHz", "PCMU", leg="G.722")
    assert list(sounds) == ["PCM 16 kHz", "PCMU"]
    assert sounds["PCMU"] is found.signals["PCMU", "G.722"]
    assert list(found.sounds(leg="G.711")) == NAMES


def test_a_blind_test_of_two_settings(found: Comparison) -> None:
    """Whoever hears the band takes 16 kHz for what it is, every time."""
    sounds = dict(zip("AB", found.sounds("PCMU", "PCM 16 kHz", leg="G.722").values(), strict=True))
    test = BlindTest(coin_tosses(10, seed=1))
    while not test.is_over:
        wide = distances.effective_bandwidth(sounds[test.x]) > 6000
        test.answer("B" if wide else "A")
    assert str(test.score) == "10 of 10 right, p = 0.001: the difference was heard."


@pytest.mark.parametrize(
    ("settings", "leg", "message"),
    [
        (["PCMU"], "GSM", "no far leg 'GSM' in this comparison, there are: G.711, G.722"),
        (["PCM"], "G.711", "no setting 'PCM' in this comparison, there are: PCMU, PCM 8 kHz"),
    ],
)
def test_sounds_that_are_not_there(
    settings: list[str], leg: str, message: str, found: Comparison
) -> None:
    with pytest.raises(ValueError, match=message):
        found.sounds(*settings, leg=leg)


def test_costs_are_those_of_the_wire(found: Comparison) -> None:
    rows = on("G.711", found)
    assert list(rows["delay_ms"].round(1)) == [4.0, 4.0, 2.0, 0.0]
    assert rows["conserved_percent"].to_numpy() == pytest.approx(100, abs=0.01)
    assert rows["kbit_s"].is_monotonic_increasing


def test_a_voice_from_an_8_khz_pipeline_makes_24_khz_a_waste() -> None:
    """A faint one, over which mu-law's noise is heard."""
    voice = Audio.read(VOICES[0]).resampled(8000)
    found = compare(Audio(voice.samples * np.float32(0.1), 8000))
    rows = on("G.722", found)
    assert rows["bandwidth_hz"].max() <= 4000
    assert rows.loc["PCM 24 kHz", "lsd_db"] == pytest.approx(
        rows.loc["PCM 8 kHz", "lsd_db"], abs=0.1
    )
    assert rows["lsd_wide_db"].isna().all()
    assert "take PCM 8 kHz" in found.sentences[1]
    assert found.sentences[2].startswith("The voice was made at 8000 Hz and ends at 3")
    assert found.sentences[2].endswith("PCM 24 kHz has nothing more to carry.")


def test_narrowband_in_a_24_khz_pipeline_is_seen_too() -> None:
    found = compare(Audio.read(VOICES[0]).resampled(8000).resampled(24000), legs=["G.711"])
    assert "comes at 24000 Hz but was narrowband before" in found.sentence


@pytest.mark.parametrize(("pause", "kept"), [(0.2, True), (1.5, False)])
def test_long_pauses_are_cut_out_of_both(pause: float, kept: bool) -> None:
    """200 ms of each pause are P.56's hangover, 50 ms the onset."""
    word = np.pad(speech("bot/b01").span(0.1, 2.0).samples, (0, 4800))
    voice = Audio(np.concatenate([word, np.zeros(round(24000 * pause), np.float32)] * 4), 24000)
    (trial,) = run_trials(voice, SETTINGS[3], [LEGS["G.722"]])
    assert len(trial.reference) == len(trial.degraded)
    expected = 4 * (len(word) / 24000 + (pause if kept else 0.05))
    assert trial.reference.duration == pytest.approx(expected, abs=0.3)
    assert distances.align(trial.reference, trial.degraded).delay_ms == pytest.approx(0, abs=0.02)


def test_the_rise_of_a_vowel_is_kept() -> None:
    """It takes 40 ms to be loud, and is taken for speech only after them."""
    time = np.arange(48000) / 16000
    vowel = 0.3 * np.minimum(time / 0.04, 1) * np.sin(2 * np.pi * 300 * time)
    spoken = Spoken(Audio(np.pad(vowel, 16000).astype(np.float32), 16000))
    first = np.flatnonzero(spoken.kept)[0] / 16000
    assert 0.95 < first <= 1.0


def test_silence_is_said_to_be_silence() -> None:
    found = compare(Audio(np.zeros(48000, np.float32), 24000))
    assert found.table[QUALITY].isna().all(axis=None)
    assert found.sentence.startswith("The bot does not speak in this call")
    assert "PCMU is the cheapest at 101 kbit/s" in found.sentence


def test_a_short_utterance_is_compared_with_a_warning() -> None:
    found = compare(Audio.read(VOICES[0]).span(0.5, 2.0))
    assert found.sentence.endswith("s of speech: too little to rely on.")
    assert np.isfinite(found.table["lsd_db"]).all()


def test_next_to_nothing_is_not_compared() -> None:
    found = compare(speech("bot/b01").span(0, 0.3), legs=["G.711"])
    assert "Over G.711 nothing could be measured" in found.sentence


def test_own_settings_legs_and_metrics() -> None:
    hum = Leg("hum", "A leg of our own.", 8000, 4000.0, lambda pcm: pcm)
    slow = Setting(InputParams(), audio_out_sample_rate=8000)
    found = compare(
        Audio.read(VOICES[0]),
        settings=[SETTINGS[0], slow],
        legs=[hum, "GSM"],
        metrics={"difference": lambda r, d: float(np.mean(np.abs(r.samples - d.samples)))},
    )
    assert list(found.table["setting"].unique()) == ["PCMU", "PCMU from 8 kHz"]
    assert list(found.table["leg"].unique()) == ["hum", "GSM"]
    rows = on("hum", found)
    assert rows.loc["PCMU from 8 kHz", "delay_ms"] == 0.0
    assert (found.table["difference"] > 0).all()
    assert "A leg of our own." in found.assumption


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"legs": ["G.729"]}, "no far leg 'G.729', there are: G.711, G.722, GSM, Opus"),
        ({"settings": [SETTINGS[0], SETTINGS[0]]}, "settings must differ, got PCMU, PCMU"),
    ],
)
def test_what_is_refused(kwargs: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(speech("bot/b02"), **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["call.mcap", Path("call.mcap")])
def test_a_path_is_refused(path: object) -> None:
    with pytest.raises(
        TypeError, match=r"call.mcap'\)? is no call: wanted a Call \(Call.open reads"
    ):
        compare(path)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is no call"):
        compare(path, recording=speech("bot/b02"))  # type: ignore[arg-type]


def test_nothing_said_is_refused() -> None:
    with pytest.raises(ValueError, match="the bot said nothing"):
        compare(Audio(np.empty(0, np.float32), 24000))


@pytest.mark.slow
def test_other_processes_find_the_same(found: Comparison) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        elsewhere = compare(Audio.read(VOICES[0]), executor=pool)
    columns = [name for name in found.table.columns if name != "cpu_us_per_s"]
    pd.testing.assert_frame_equal(found.table[columns], elsewhere.table[columns])


def test_a_captured_call(tmp_path: Path) -> None:
    """An interruption in mid-word and a pause of seconds: still in step, still all the same."""
    scene = Scene(30.0, pipeline_rate=24000)
    scene.say_bot(1.0, speech("bot/b05"))
    scene.interrupt(6.37)
    scene.say_bot(9.0, speech("bot/b04"))
    call = Call.open(scene.write(tmp_path / "call.mcap"))
    found = compare(call, legs="G.711")
    rows = on("G.711", found)
    assert 10 < found.reference.duration < 14
    assert rows["seg_snr_db"].min() > 33
    assert rows["conserved_percent"].to_numpy() == pytest.approx(100, abs=0.01)
    assert "all 4 settings sound the same" in found.sentence
