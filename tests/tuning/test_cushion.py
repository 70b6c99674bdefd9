"""The cushion: what each would have made of stalls of known size, and which is taken."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipecat_bandwidth import BandwidthFrameSerializer
from tests.benchmarks.cushion import best_by_search, heard, random_call
from tests.captures import SAMPLES
from workbench.call import Call
from workbench.panel.panel import CUSHIONED, Panel
from workbench.report import write_report
from workbench.timeline import CallTimeline
from workbench.tuning.batch import tune_captures
from workbench.tuning.comparison import SETTINGS, compare
from workbench.tuning.cushion import HOLE_MS, choose_cushion, trouble
from workbench.tuning.stalls import CUSHIONS_MS, Handed, handed_over, stalls_of
from workbench.tuning.tuning import tune

CHOPPY = SAMPLES / "captures" / "choppy.mcap"
AT = {cushion: column for column, cushion in enumerate(CUSHIONS_MS)}
WORD = np.tile(np.array([4000, -4000], "<i2"), 160).tobytes()  # 40 ms


def stalled(stalls_ms: list[list[float]], lead: float = 0.0) -> Handed:
    """Utterances of 2 s, 4 s apart, each with such stalls, evenly spread."""
    times = []
    for number, stalls in enumerate(stalls_ms):
        start, late = 4.0 * number, 0.0
        places = {round(50 * (k + 1) / (len(stalls) + 1)): s for k, s in enumerate(stalls)}
        for frame in range(50):
            late += places.get(frame, 0.0) / 1000
            times.append(start + max(0.0, 0.04 * frame - lead) + late)
    return Handed(np.array(times), (WORD,) * len(times))


def test_a_cushion_hides_stalls_up_to_its_length_in_all() -> None:
    found = stalls_of(stalled([[150.0], [], [60.0, 60.0]]))
    assert found.holes[:, AT[0]].tolist() == [1, 0, 2]
    assert found.hole_ms[:, AT[0]] == pytest.approx([150, 0, 120], abs=1)
    assert found.holes[:, AT[60]].tolist() == [1, 0, 1]
    assert found.holes[:, AT[120]].tolist() == [1, 0, 0]
    assert found.holes[:, AT[140]].tolist() == [0, 0, 0]  # 10 ms are less than a packet
    assert found.hole_ms[0, AT[100]] == pytest.approx(50, abs=1)
    for cushion, column in list(AT.items())[:-5]:  # longer ones fill the pauses
        assert found.delay_ms[:, column] == pytest.approx([cushion] * 3)
    assert found.said_secs == pytest.approx(6.0)


def test_without_holes_there_is_no_cushion() -> None:
    found = choose_cushion([stalls_of(stalled([[]] * 20))])
    assert found.cushion_ms == 0 and found.confidence == 1.0
    assert found.why[0].startswith("Take no cushion: in the bot's speech there is no hole")
    assert "none in 20 utterances of one call: with 95 % certainty fewer than 15 %" in found.why[-1]


def test_a_likely_hole_is_hidden_and_the_reasons_say_what_that_is_worth() -> None:
    found = choose_cushion([stalls_of(stalled([[150.0], [90.0]] * 10))])
    assert found.cushion_ms == 140
    assert found.why[0] == (
        "Take a cushion of 140 ms: it would have hidden 20 of 20 holes, 2400 of 2400 ms; "
        "140 ms more before each answer."
    )
    assert found.why[-1].startswith("Sure of the cushion: 100 % of 2000 resamplings of 20 utter")
    row = found.table.set_index("cushion_ms").loc[0]
    assert row["holes"] == 20 and row["holes_per_min"] == pytest.approx(30, rel=0.01)


def test_a_rare_hole_is_not_worth_delaying_every_answer() -> None:
    found = choose_cushion([stalls_of(stalled([[150.0], *[[]] * 39]))])
    assert found.cushion_ms == 0
    assert "too few holes to delay each answer for (1 hole of 150 ms" in found.why[0]


def test_a_hole_that_no_cushion_hides_brings_none() -> None:
    found = choose_cushion([stalls_of(stalled([[400.0]] * 10))])
    assert found.cushion_ms == 0
    assert "none up to 200 ms hides a hole" in found.why[0]


@pytest.mark.parametrize(("most", "taken"), [(0, 0), (100, 0), (200, 140), (1000, 140)])
def test_no_longer_than_is_allowed(most: int, taken: int) -> None:
    assert choose_cushion([stalls_of(stalled([[150.0]] * 10))], most).cushion_ms == taken


def test_a_process_that_stood_still_is_left_out_and_named() -> None:
    handed = stalled([[150.0]] * 10)
    late = np.flatnonzero(np.diff(handed.time) > 0.15) + 1
    within = frozenset(late[np.diff(handed.time)[late - 1] < 1].tolist())
    found = stalls_of(replace(handed, stood_still=within))
    assert found.stood_still == 10 and not found.holes.any()
    assert "10 holes more are left out: the bot's whole process" in choose_cushion([found]).why[1]


def test_where_the_caller_answers_is_no_hole() -> None:
    handed = stalled([[700.0]] * 3)
    assert stalls_of(handed).holes[:, AT[0]].tolist() == [1, 1, 1]
    answer = np.array([[1.1, 1.5]])
    assert stalls_of(replace(handed, answered=answer)).holes[:, AT[0]].tolist() == [0, 1, 1]


def test_an_interruption_begins_another_utterance() -> None:
    handed = replace(stalled([[]]), clears=(1.0,))
    found = stalls_of(handed)
    assert found.delay_ms[:, AT[100]].tolist() == [100, 100]


def test_too_few_utterances_say_nothing_of_certainty() -> None:
    found = choose_cushion([stalls_of(stalled([[150.0]] * 2))])
    assert np.isnan(found.confidence)
    assert found.why[-1] == ("It rests on 2 utterances, so how sure the cushion is cannot be said.")


def test_nothing_said_is_nothing_chosen() -> None:
    assert choose_cushion([]) is None


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_a_search_of_all_cushions_finds(seed: int) -> None:
    """To within what matters, and the steps of what is tried: `python -m tests.benchmarks cushion`."""
    handed = random_call(seed)
    stalls = stalls_of(handed)
    found = choose_cushion([stalls])
    _, least = best_by_search(handed, 200)
    column = AT[found.cushion_ms]
    assert trouble(stalls)[:, column].mean() <= least + 10 + 20
    for cushion in (0, 100, 200):
        holes, delay = heard(handed, cushion)
        mean = trouble(stalls)[:, AT[cushion]].mean()
        assert HOLE_MS * holes + delay == pytest.approx(mean, abs=1)


# -- of captures -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def choppy() -> Call:
    return Call.open(CHOPPY)


def test_the_holes_of_a_capture_are_those_that_its_call_has(choppy: Call) -> None:
    found = stalls_of(handed_over(choppy))
    assert found.holes[:, AT[0]].sum() + found.stood_still == len(choppy.playout.underruns) == 5
    assert found.stood_still == 1  # the script blocks the loop once
    assert found.hole_ms[:, AT[0]].sum() == pytest.approx(641, abs=3)
    assert len(found.holes) == 3  # what the bot says, between the caller's turns


def test_tuning_takes_the_cushion_with_the_encoding(choppy: Call, tmp_path: Path) -> None:
    result = tune([choppy])
    assert result.params.outbound_cushion_ms == result.cushion.cushion_ms == 180
    assert any("hidden 3 of 4 holes, 239 of 640 ms" in reason for reason in result.why)
    assert "outbound_cushion_ms=180" in result.code
    result.export(tmp_path / "tuned.json")
    loaded = BandwidthFrameSerializer.InputParams.load(tmp_path / "tuned.json")
    assert loaded == result.params
    none = tune([choppy], constraints={"cushion_ms": 0})
    assert none.params.outbound_cushion_ms == 0 and "cushion" not in none.code
    audio = tune([choppy.bot_said])
    assert audio.cushion is None and audio.params.outbound_cushion_ms == 0


def test_a_comparison_lets_fault_and_cure_be_heard(choppy: Call) -> None:
    setting = SETTINGS[:1]
    compared = compare(choppy, setting, ["G.711"])
    assert list(compared.holes) == ["bot_intact", "cushion of 200 ms"]
    assert compare(choppy.bot_said, setting, ["G.711"]).holes == {}
    player = CallTimeline(choppy, comparison=compared)
    player.bot = "bot_intact"
    player.bot = "cushion of 200 ms"
    player.close()


def test_the_panel_hears_and_takes_a_cushion() -> None:
    panel = Panel(CHOPPY)
    try:
        assert panel.wait(60)
        assert panel.params.outbound_cushion_ms == 0
        panel.adopt.click()
        assert panel.params.outbound_cushion_ms == panel.result.params.outbound_cushion_ms == 180
        assert panel.timeline.bot == CUSHIONED
        panel.cushion_ms.value = 0
        assert panel.wait(60)
        assert panel.result.params.outbound_cushion_ms == 0
    finally:
        panel.close()


def test_a_report_shows_before_and_after(choppy: Call, tmp_path: Path) -> None:
    page = write_report(tmp_path / "r.html", choppy, [], after=choppy, sides=())
    text = page.read_text("utf-8")
    assert "Of the 5 holes that the caller heard before, there are 5 after." in text
    assert text.count("401 ms at 13.0 s") == 2 and "<audio" not in text


def test_many_captures_come_to_the_same(choppy: Call) -> None:
    one, other = tune_captures([CHOPPY]), tune([choppy])
    assert one.cushion.why == other.cushion.why
    assert pickle.loads(pickle.dumps(stalls_of(handed_over(choppy)))).said_secs > 0
