"""The choice: its statistics on planted scores, and its known answers on real speech."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipecat_bandwidth import BandwidthFrameSerializer
from tests.benchmarks.calibration import coverage, planted
from tests.captures import SAMPLES, Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.metrics import distances
from workbench.metrics.segments import segments
from workbench.metrics.spectra import effective_bandwidth
from workbench.tuning.choice import choose
from workbench.tuning.comparison import SETTINGS, Setting
from workbench.tuning.objective import OBJECTIVES, Objective
from workbench.tuning.tuning import TuningResult, tune

InputParams = BandwidthFrameSerializer.InputParams
LSD, ESTOI = OBJECTIVES["lsd_db"], OBJECTIVES["estoi"]
COST = np.array([1.0, 2.0, 4.0])
VOICES = [Audio.read(path) for path in sorted((SAMPLES / "bot_voices").glob("bot_*.flac"))]


def scores(means: list[float], spread: float, count: int = 20, seed: int = 1) -> np.ndarray:
    """Segments that are harder or easier for all, and a little different for each."""
    rng = np.random.default_rng(seed)
    hard = rng.standard_normal((count, 1))
    return np.array(means) + hard + spread * rng.standard_normal((count, len(means)))


# -- choice ------------------------------------------------------------------------------------


def test_the_best_is_chosen_when_it_is_better_by_what_matters() -> None:
    found = choose(scores([5.0, 4.0, 2.0], 0.1), COST, LSD)
    assert (found.chosen, found.ties, found.agreement) == (2, (2,), 1.0)
    assert found.behind == pytest.approx([3.0, 2.0, 0.0], abs=0.1)
    assert (found.low <= found.behind).all() and (found.behind <= found.high).all()


def test_the_cheapest_wins_a_tie() -> None:
    found = choose(scores([2.3, 2.2, 2.0], 0.1), COST, LSD)
    assert found.ties == (0, 1, 2)
    assert found.agreement == 1.0


def test_equal_costs_go_to_the_earlier() -> None:
    assert choose(scores([2.0, 2.0, 2.0], 0.0), np.ones(3), LSD).ties == (0, 1, 2)


def test_where_more_is_better_more_is_better() -> None:
    found = choose(scores([0.8, 0.97, 0.972], 0.001), COST, ESTOI)
    assert found.ties == (1, 2)


def test_segments_are_paired() -> None:
    """Segments differ by ten times more than settings do, and that must not hide the difference."""
    easy = np.linspace(0, 20, 12)[:, None]
    found = choose(easy + np.array([[1.0, 0.0]]), np.array([1.0, 2.0]), LSD)
    assert found.ties == (1,)
    assert found.low[0] == pytest.approx(1.0)


def test_what_cannot_be_told_apart_is_not_sure() -> None:
    """Behind by about what matters, in noise of 1 dB: either choice is one of many resamplings."""
    found = choose(scores([2.5, 9.0, 2.0], 1.0, count=8, seed=3), COST, LSD)
    assert found.low[0] < 0.5 < found.high[0]
    assert 0.2 < found.taken[0] < 0.8
    assert found.taken[1] == 0.0
    assert found.taken.sum() == pytest.approx(1.0)
    assert found.agreement == found.taken.max() < 0.95


@pytest.mark.parametrize("segments", [3, 8, 40])
@pytest.mark.parametrize("calls", [1, 3, 8])
def test_no_choice_that_no_resampling_takes(segments: int, calls: int) -> None:
    """The choice is the one taken most; what ties is as good in half of them, and costs more."""
    rng = np.random.default_rng(calls * segments)
    for _ in range(20):
        values = rng.normal(rng.uniform(0, 1.5, 4), 0.7, (segments, 4))
        groups = np.arange(segments) % calls
        found = choose(values, np.array([1.0, 2.0, 4.0, 5.0]), LSD, groups=groups)
        assert found.agreement == found.taken.max() >= 0.25
        assert found.taken.sum() == pytest.approx(1.0)
        assert list(found.ties) == sorted(found.ties)
        cheapest_tie = [k for k in found.ties if k != found.chosen]
        assert all(found.low[k] <= 0.5 + found.high[found.chosen] for k in cheapest_tie)


def test_calls_are_resampled_whole() -> None:
    """Six calls, of which half disagree, say less than their many segments seem to."""
    values = np.zeros((60, 2))
    values[30:, 0] = 2.0
    cost = np.array([1.0, 2.0])
    alone = choose(values, cost, LSD)
    whole = choose(values, cost, replace(LSD, from_calls=5), groups=np.repeat(np.arange(6), 10))
    assert whole.of_others and not alone.of_others
    assert alone.agreement > 0.95 > whole.agreement
    assert whole.high[0] - whole.behind[0] > 3 * (alone.high[0] - alone.behind[0])


def test_the_interval_and_the_resamplings_say_the_same() -> None:
    """What is behind by what matters at the end of its interval is so in 2.5 % of resamplings."""
    for groups in (np.zeros(24, int), np.repeat(np.arange(6), 4), np.repeat([0, 1, 2], 8)):
        values = scores([3.0, 9.0, 2.0], 0.6, count=24, seed=5)
        low = choose(values, COST, LSD, groups=groups).low[0]
        at_the_end = replace(LSD, matters=float(low))
        taken = choose(values, COST, at_the_end, groups=groups).taken[0]
        assert taken == pytest.approx(0.025, abs=0.02)


def test_the_same_seed_the_same_choice() -> None:
    values = scores([2.6, 2.4, 2.0], 1.0)
    first, second = (choose(values, COST, LSD, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first.low, second.low)
    assert first.agreement == second.agreement


def test_what_is_not_admitted_is_neither_chosen_nor_the_measure() -> None:
    admitted = np.array([True, True, False])
    found = choose(scores([5.0, 4.8, 2.0], 0.1), COST, LSD, admitted=admitted)
    assert found.ties == (0, 1)
    assert found.behind[1] == 0.0


def test_what_is_not_admitted_does_not_count_for_certainty_either() -> None:
    admitted = np.array([True, True, False])
    found = choose(scores([5.0, 3.0, 1.0], 0.1), COST, LSD, admitted=admitted)
    assert (found.chosen, found.agreement) == (1, 1.0)


@pytest.mark.parametrize("segments", [1, 2])
def test_one_or_two_segments_are_no_certainty(segments: int) -> None:
    """Their mean decides."""
    values = np.array([[3.0, 1.0], [5.0, 1.0]])[:segments]
    found = choose(values, np.array([1.0, 2.0]), LSD)
    assert found.ties == (1,)
    assert np.isnan([found.agreement, *found.low, *found.high, *found.taken]).all()
    alike = np.array([[1.4, 1.0], [1.2, 1.0]])[:segments]
    assert choose(alike, np.array([1.0, 2.0]), LSD).ties == (0, 1)


def test_few_calls_are_spoken_of_alone() -> None:
    """Three calls that differ, each without any spread: of them the mean is known for sure."""
    values = np.stack([np.repeat([3.0, 3.0, 0.3], 10), np.zeros(30)], axis=1)
    groups = np.repeat([0, 1, 2], 10)
    found = choose(values, np.array([1.0, 2.0]), LSD, groups=groups)
    assert found.low[0] == pytest.approx(2.1)
    assert (found.ties, found.agreement) == ((1,), 1.0)


@pytest.mark.parametrize(
    ("values", "cost", "admitted"),
    [
        (np.empty((0, 3)), COST, None),
        (np.full((4, 3), np.nan), COST, None),
        (np.zeros((4, 3)), COST[:2], None),
        (np.zeros((4, 3)), COST, np.zeros(3, bool)),
    ],
)
def test_choices_that_are_none(values: np.ndarray, cost: np.ndarray, admitted: object) -> None:
    with pytest.raises(ValueError, match="wanted"):
        choose(values, cost, LSD, admitted=admitted)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(("calls", "alike"), [(1, 0.0), (3, 0.5), (12, 0.0), (12, 0.5)])
def test_the_95_percent_interval_holds_the_truth_95_percent_of_the_time(
    calls: int, alike: float
) -> None:
    """The whole of it is in tests/benchmarks/calibration.py; percentiles hold 75 % of 3 calls."""
    share = coverage(lambda rng: planted(rng, calls, 8, alike, True), 300)
    assert 0.93 <= share <= 0.97


@pytest.mark.parametrize(("calls", "margin"), [(2, 0.0), (4, 0.0), (5, 0.136)])
def test_what_five_calls_differ_by_counts_and_of_fewer_their_segments(
    calls: int, margin: float
) -> None:
    """Behind by 3.0 to 3.2 dB, each call for itself without any spread: t of 4 is 2.776."""
    levels = np.array([3.0, 3.2, 3.0, 3.2, 3.1])[:calls]
    values = np.stack([np.repeat(levels, 10), np.zeros(10 * calls)], axis=1)
    groups = np.repeat(np.arange(calls), 10)
    found = choose(values, np.array([1.0, 2.0]), replace(LSD, from_calls=5), groups=groups)
    expected = 2.776 * levels.std(ddof=1) / np.sqrt(5) if calls == 5 else 0.0
    assert found.high[0] - found.behind[0] == pytest.approx(expected, rel=0.05, abs=1e-9)
    assert expected == pytest.approx(margin, abs=0.02)
    assert found.ties == (1,)


def test_a_call_of_one_segment_is_taken_to_vary_as_all_do() -> None:
    """By hand: one segment, and six with a variance of 4 / 5, which both are taken to have.

    The mean of the seven has 0.8 / 7. Its degrees of freedom are 7 ** 2 / (1 ** 2 / 1 + 6 ** 2 / 5),
    which are 5.976, of which Student's t is 2.4497.
    """
    behind = np.array([3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    values = np.stack([behind, np.zeros(7)], axis=1)
    groups = np.array([0, 1, 1, 1, 1, 1, 1])
    found = choose(values, np.array([1.0, 2.0]), LSD, groups=groups)
    margin = 2.4497 * np.sqrt(0.8 / 7)
    assert found.high[0] - found.behind[0] == pytest.approx(margin, rel=1e-3)


# -- segments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secs", "count"), [(0.5, 1), (7, 1), (14.98, 1), (15, 2), (16, 2), (60, 6)]
)
def test_segments_cover_everything_in_pieces_of_ten_seconds(secs: float, count: int) -> None:
    long = np.tile(speech("bot/b03", 16000).samples, 4)
    found = segments(Audio(long[: round(secs * 16000)], 16000))
    assert len(found) == count
    assert found[0].start == 0 and found[-1].stop == round(secs * 16000)
    assert all(a.stop == b.start for a, b in zip(found, found[1:], strict=False))


def test_no_segment_is_shorter_than_6_or_longer_than_15_seconds() -> None:
    """Noise is quietest anywhere, and moves the cuts as far as they go."""
    rng = np.random.default_rng(1)
    for secs in np.arange(7, 60, 0.23):
        noise = rng.standard_normal(round(secs * 1000)).astype(np.float32)
        lengths = [(s.stop - s.start) / 1000 for s in segments(Audio(0.1 * noise, 1000))]
        assert 6 <= min(lengths) and max(lengths) <= 15


def test_segments_are_cut_where_it_is_quiet() -> None:
    voice = speech("bot/b03", 16000)
    for span in segments(voice)[1:]:
        around = voice.samples[span.start - 80 : span.start + 80]
        assert np.sqrt(np.mean(around**2)) < 0.1 * np.sqrt(np.mean(voice.samples**2))


def test_nothing_has_no_segments() -> None:
    assert segments(Audio(np.empty(0, np.float32), 16000)) == []


# -- tune --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def over_g711() -> TuningResult:
    return tune(VOICES)


@pytest.fixture(scope="module")
def over_g722() -> TuningResult:
    return tune(VOICES, leg="G.722")


def test_over_g711_everything_ties_and_pcmu_is_taken(over_g711: TuningResult) -> None:
    assert over_g711.setting.label == "PCMU"
    assert over_g711.params == InputParams(outbound_encoding="PCMU")
    assert over_g711.ties == ("PCMU", "PCM 8 kHz", "PCM 16 kHz", "PCM 24 kHz")
    assert over_g711.is_sure and over_g711.confidence == 1.0
    assert over_g711.why[0].startswith("Take PCMU: over G.711 all 4 settings tie")
    assert "needs 101 kbit/s instead of 199 to 540 kbit/s" in over_g711.why[0]
    assert over_g711.elsewhere["G.722"] == "PCM 16 kHz"


def test_over_g722_16_khz_is_taken_and_24_khz_is_not_preferred(over_g722: TuningResult) -> None:
    assert over_g722.setting.label == "PCM 16 kHz"
    assert over_g722.ties == ("PCM 16 kHz", "PCM 24 kHz")
    assert over_g722.params == SETTINGS[2].params
    assert over_g722.confidence == 1.0
    assert over_g722.elsewhere["G.711"] == "PCMU"
    behind = over_g722.table.query("leg == 'G.722'").set_index("setting")["behind"]
    assert behind["PCMU"] > behind["PCM 8 kHz"] > 0.5
    assert abs(behind["PCM 24 kHz"]) < 0.05


def test_the_table_says_what_became_of_each(over_g722: TuningResult) -> None:
    rows = over_g722.table.query("leg == 'G.722'").set_index("setting")
    assert list(rows["verdict"]) == ["worse", "worse", "chosen", "ties, costs 1.5 times as much"]
    assert (rows["low"] <= rows["behind"]).all() and (rows["behind"] <= rows["high"]).all()
    assert set(rows["metric"]) == {"loss_mos"}
    assert list(rows["taken"]) == [0.0, 0.0, 1.0, 0.0]
    assert rows["damage_percent"]["PCMU"] > 4 * rows["damage_percent"]["PCM 8 kHz"]
    assert rows["missing_percent"]["PCM 8 kHz"] > rows["missing_percent"]["PCM 16 kHz"] + 5
    assert rows["kbit_s"].is_monotonic_increasing


def fainter(voice: Audio, db: float = 20.0) -> Audio:
    """At which mu-law's noise is as strong as the upper formants."""
    return Audio(voice.samples * np.float32(10 ** (-db / 20)), voice.sample_rate)


def test_a_voice_from_an_8_khz_pipeline_needs_no_more_on_the_wire() -> None:
    narrow = [voice.resampled(8000) for voice in VOICES[:2]]
    found = tune([fainter(voice) for voice in narrow], leg="G.722")
    assert found.setting.label == "PCM 8 kHz"
    assert "PCM 24 kHz" in found.ties
    assert not found.advice
    masked = tune(narrow, leg="G.722")
    assert masked.setting.label == "PCMU"
    assert len(masked.ties) == len(SETTINGS)


def test_a_voice_that_stops_at_10_khz_needs_16_khz_on_a_wide_leg_and_no_more() -> None:
    """As much speech synthesis does: it comes at 24 kHz, and its upper 2 kHz are empty."""
    stopped = [distances.band_limited(voice, (0.0, 10_000.0)) for voice in VOICES[:2]]
    assert effective_bandwidth(stopped[0]) < 10_300 < effective_bandwidth(VOICES[0])
    wide = tune(stopped, leg="G.722")
    assert wide.ties == ("PCM 16 kHz", "PCM 24 kHz")
    assert tune(stopped).setting.label == "PCMU"


def test_calls_of_a_lower_rate_cannot_speak_for_a_wide_band() -> None:
    """What they have no score for is left out, and that is said; of quality they have one."""
    calls = [VOICES[0], VOICES[1].resampled(8000)]
    found = tune(calls, "lsd_wide_db", leg="G.722")
    assert found.setting.label == "PCM 16 kHz"
    assert "1 more have no score and are left out." in str(found)
    assert "left out" not in str(tune(calls, leg="G.722"))


@pytest.mark.parametrize(("reach", "said"), [(7_000.0, True), (11_000.0, False)])
def test_advice_of_a_voice_that_the_wire_has_room_above(reach: float, said: bool) -> None:
    voice = distances.band_limited(VOICES[0], (0.0, reach))
    found = tune(voice, settings=SETTINGS[3:])
    assert (found.advice != []) is said
    assert all("has room for a better one" in advice for advice in found.advice)


def test_advice_does_not_depend_on_the_order_of_calls() -> None:
    """Silence reaches nowhere, and says nothing of the voice."""
    narrow = VOICES[0].resampled(8000).resampled(24000)
    calls = [narrow, Audio(np.zeros(24000, np.float32), 24000)]
    one, other = (tune(order, settings=SETTINGS[3:]).advice for order in (calls, calls[::-1]))
    assert one == other
    assert one[0].startswith("The voice ends at 3")


def test_copies_of_a_call_count_once() -> None:
    found = tune([VOICES[0], VOICES[1], *[VOICES[0]] * 3])
    assert list(found.skipped.items()) == [
        ("call 3", "the same as call 1"),
        ("call 4", "the same as call 1"),
        ("call 5", "the same as call 1"),
    ]
    assert "from 5 calls" not in str(found)
    assert "3 of 5 captures could not be used: call 3 (the same as call 1)" in str(found)
    assert len(found.provenance["captures"]) == 2
    once = tune(VOICES[:2])
    pd.testing.assert_frame_equal(found.table, once.table)
    assert found.confidence == pytest.approx(once.confidence, nan_ok=True)


def test_advice_is_to_match_the_pipeline_to_the_wire(over_g711: TuningResult) -> None:
    (advice,) = over_g711.advice
    assert advice.startswith("PipelineParams(audio_out_sample_rate=8000): the pipeline speaks at")


def test_silence_gives_the_cheapest_and_says_why() -> None:
    found = tune(Audio(np.zeros(48000, np.float32), 24000))
    assert found.setting.label == "PCMU"
    assert not found.is_sure and np.isnan(found.confidence)
    assert "0.0 s of speech is too little to compare by" in found.why[0]


@pytest.mark.parametrize("leg", ["G.711", "G.722"])
def test_one_short_utterance_gives_the_cheapest(leg: str) -> None:
    found = tune(speech("bot/b01").span(0, 1.5), leg=leg)
    assert found.setting.label == "PCMU"
    assert found.why[0].startswith("Take PCMU for now, the cheapest at 101 kbit/s: 1.4 s of speech")
    assert found.table.query(f"leg == '{leg}'")["verdict"].iloc[0] == "chosen: cheapest"


def test_a_single_segment_is_compared_without_certainty() -> None:
    found = tune(speech("bot/b04"), leg="G.722")
    assert found.setting.label == "PCM 16 kHz"
    assert not found.is_sure
    assert "It rests on a single segment of speech" in str(found)


def test_calls_in_which_the_bot_was_silent_are_left_out() -> None:
    found = tune([Audio(np.empty(0, np.float32), 24000), VOICES[0]])
    assert "The bot said nothing in 1 of 2 calls." in found.why
    with pytest.raises(ValueError, match="the bot says nothing in any of the 1 calls"):
        tune([Audio(np.empty(0, np.float32), 24000)])


# -- objectives and constraints ----------------------------------------------------------------


def test_a_limit_on_the_wire_excludes_what_is_above() -> None:
    found = tune(VOICES[:2], constraints={"kbit_s": 300})
    assert found.setting.label == "PCMU"
    assert "PCM 24 kHz needs 540 kbit/s, at most 300 is asked: left out." in found.why
    assert list(found.table["verdict"][:4]) == [
        "chosen", "ties, costs 2.0 times as much", "left out", "left out",
    ]  # fmt: skip


def test_noise_in_the_telephone_band_is_seen_beside_a_missing_one() -> None:
    """Over a wide leg with both limited to 8 kHz, mu-law's noise is what still differs."""
    found = tune([fainter(voice) for voice in VOICES], leg="G.722", constraints={"kbit_s": 250})
    assert found.setting.label == "PCM 8 kHz"
    assert found.why[1].startswith("Behind the best, with 95 % interval: PCMU by 0.")
    assert found.confidence < 1


def test_a_limit_on_delay_leaves_what_needs_no_resampling() -> None:
    found = tune(VOICES[0], constraints={"delay_ms": 1})
    assert found.setting.label == "PCM 24 kHz"
    assert "PCMU adds 4 ms, at most 1 is asked: left out." in found.why


def test_a_floor_on_quality() -> None:
    found = tune(VOICES[0], leg="G.722", objective="seg_snr_db", constraints={"lsd_wide_db": 5})
    assert found.setting.label == "PCM 16 kHz"
    assert any(w.startswith("PCMU has spectral distance") and "at most 5" in w for w in found.why)


def test_an_objective_that_the_voice_does_not_reach() -> None:
    found = tune(VOICES[0].resampled(8000), objective="lsd_wide_db", leg="G.722")
    assert found.why[0] == (
        "Take PCMU for now, the cheapest at 101 kbit/s: no segment could be scored by lsd_wide_db: "
        "the voice's own rate does not reach there."
    )


def test_utterances_of_which_each_is_too_short() -> None:
    """Five of 0.9 s make more than 3 s of speech, but intelligibility takes 1 s at once."""
    calls = [VOICES[0].span(at, at + 0.9) for at in (0.5, 3.0, 4.0, 6.0, 8.0)]
    found = tune(calls, objective="estoi", settings=SETTINGS[:1])
    assert "no segment could be scored by estoi: each holds too little speech." in found.why[0]


def test_a_limit_that_cannot_be_checked_is_said_to_be_none() -> None:
    found = tune(VOICES[0].resampled(8000), constraints={"lsd_wide_db": 0.1})
    assert "lsd_wide_db could not be measured, so its limit was not applied." in found.why
    assert not any("limit was not applied" in reason for reason in tune(VOICES[0]).why)


def test_constraints_that_nothing_fulfils() -> None:
    message = "no setting keeps within the constraints: PCMU has predicted intelligibility 0.9"
    with pytest.raises(ValueError, match=message):
        tune(VOICES[0], constraints={"estoi": 0.9999})


def test_another_objective_can_be_named_or_made() -> None:
    named = tune(VOICES[0], leg="G.722", objective="estoi")
    assert named.provenance["objective"].startswith("predicted intelligibility: more is better")
    pedantic = Objective("lsd_wide_db", False, 0.0, "dB", "spectral distance")
    assert len(tune(VOICES[0], leg="G.722", objective=pedantic).ties) == 1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"objective": "mos"},
            "no objective 'mos', there are: damage_percent, missing_percent, lsd_db",
        ),
        (
            {"constraints": {"kbits": 1}},
            "no constraint 'kbits', there are: kbit_s, delay_ms, cushion_ms, damage_percent",
        ),
        ({"constraints": {"delay_ms": np.nan}}, "constraint 'delay_ms' is nan, wanted a number"),
        ({"leg": "POTS"}, "no far leg 'POTS', there are: G.711"),
        ({"settings": [SETTINGS[0]] * 2}, "settings must differ, got PCMU, PCMU"),
    ],
)
def test_what_is_refused(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tune(VOICES[0], **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("paths", ["a.mcap", Path("a.mcap"), ["a.mcap"], [Path("a.mcap")]])
def test_paths_are_refused(paths: object) -> None:
    with pytest.raises(TypeError, match=r"a.mcap'\)? is no call: .*tune_captures takes paths"):
        tune(paths)  # type: ignore[arg-type]


def test_pipeline_rates_can_be_tried_too() -> None:
    matched = Setting(InputParams(), audio_out_sample_rate=8000)
    found = tune(VOICES[0], settings=[SETTINGS[0], matched], constraints={"delay_ms": 1})
    assert found.setting is matched
    assert found.advice == [
        "PipelineParams(audio_out_sample_rate=8000): it was chosen at that rate, "
        "and the pipeline speaks at 24000 Hz."
    ]


def test_threads_or_not_the_same_is_found(over_g711: TuningResult) -> None:
    with ThreadPoolExecutor(1) as one:
        alone = tune(iter(VOICES), executor=one)
    pd.testing.assert_frame_equal(alone.table, over_g711.table)


# -- what comes of it --------------------------------------------------------------------------


@pytest.fixture
def call(tmp_path: Path) -> Call:
    scene = Scene(24.0, pipeline_rate=24000)
    scene.say_bot(1.0, speech("bot/b05"))
    scene.say_bot(12.0, speech("bot/b09"))
    return Call.open(scene.write(tmp_path / "one.mcap"))


def test_the_export_is_what_load_reads(call: Call, tmp_path: Path) -> None:
    found = tune(call, leg="G.722")
    found.export(tmp_path / "tuned.json")
    assert InputParams.load(tmp_path / "tuned.json") == found.params
    provenance = json.loads((tmp_path / "tuned.json").read_text())["provenance"]
    digest = sha256(call.path.read_bytes()).hexdigest()
    assert provenance["captures"] == [{"file": "one.mcap", "sha256": digest}]
    assert provenance["leg"] == "G.722"
    assert provenance["confidence"] is None  # two segments are too few
    assert provenance["speech_secs"] == pytest.approx(20, abs=2)
    assert set(provenance["versions"]) >= {"pipecat-ai", "numpy"}
    assert datetime.fromisoformat(provenance["date"]).tzinfo is not None


def test_an_unfounded_choice_exports_as_plain_json(tmp_path: Path) -> None:
    tune(Audio(np.zeros(48000, np.float32), 24000)).export(tmp_path / "tuned.json")
    text = (tmp_path / "tuned.json").read_text()
    assert "NaN" not in text
    assert InputParams.load(tmp_path / "tuned.json").outbound_encoding == "PCMU"


@pytest.mark.parametrize("leg", ["G.711", "G.722"])
def test_the_code_makes_the_params(
    leg: str, over_g711: TuningResult, over_g722: TuningResult
) -> None:
    found = {"G.711": over_g711, "G.722": over_g722}[leg]
    names: dict[str, object] = {"BandwidthFrameSerializer": BandwidthFrameSerializer}
    exec(found.code, names)
    made = names["params"]
    assert isinstance(made, InputParams)
    assert made.outbound_encoding == found.params.outbound_encoding
    if made.outbound_encoding == "PCM":
        assert made == found.params


def test_parameters_that_are_not_tuned_are_kept(call: Call) -> None:
    kept = InputParams(auto_hang_up=False, sample_rate=16000, outbound_encoding="PCM")
    call.metadata["serializer"] = {"params": kept.model_dump_json()}
    found = tune(call)
    assert found.params.auto_hang_up is False
    assert found.params.sample_rate == 16000
    assert found.params.outbound_encoding == "PCMU"
    assert found.code.endswith('(outbound_encoding="PCMU", sample_rate=16000, auto_hang_up=False)')


def test_calls_that_ran_differently_leave_the_defaults(call: Call) -> None:
    call.metadata["serializer"] = {"params": InputParams(auto_hang_up=False).model_dump_json()}
    scene = Scene(12.0, pipeline_rate=24000)
    scene.say_bot(1.0, speech("bot/b09"))
    other = Call.open(scene.write(call.path.with_name("other.mcap")))
    other.metadata["serializer"] = {"params": InputParams(sample_rate=8000).model_dump_json()}
    found = tune([call, other])
    assert found.params == InputParams()
    assert "The calls ran with different parameters" in found.advice[-1]


def test_what_is_shown(over_g722: TuningResult) -> None:
    shown = str(over_g722)
    assert shown.splitlines()[0].startswith("Take PCM 16 kHz")
    assert "Sure: 100 % of 2000 resamplings of" in shown
    assert "from 4 calls lead to the same choice. That is about these calls only." in shown
    assert "Were the callers on G.711, it would be PCMU." in shown
    assert "Assumed of the far end" in shown
    assert repr(over_g722) == "TuningResult(PCM 16 kHz, confidence=1.00)"
    html = over_g722._repr_html_()
    assert html.startswith("<p><b>Take PCM 16 kHz") and "<table" in html
