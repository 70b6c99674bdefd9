"""Answers stage by stage, in real pipelines whose stages take as long as planted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ground.calls import runs, with_sound
from tests.ground.filling import speech
from tests.ground.voices import clips
from tests.staged import PLANS, Plan, Planted, in_a_process
from workbench import Call, diagnose
from workbench.call import PipelineRecord
from workbench.call.answers import HOW_TO_SEE, find_answers, grown
from workbench.call.milestones import Milestone, Sending, split
from workbench.call.playout import reconstruct
from workbench.call.stages import KINDS
from workbench.call.turns import Turn
from workbench.looks import STAGE_LOOKS
from workbench.report import write_report
from workbench.timeline.marks import marks

NAMES = ("cascade", "late_turn", "speech_to_speech", "cut", "slow", "unseen")


#: Calls of a real pipeline, recorded on a quiet machine: python -m tests.staged tests/data/staged PLAN...
KEPT = Path(__file__).parents[1] / "data" / "staged"
#: The goal of the error of a stage, in milliseconds.
GOAL_MS = 20


@pytest.fixture(scope="module")
def calls() -> dict[str, Call]:
    return {name: Call.open(KEPT / f"{name}.mcap") for name in NAMES}


def test_a_pipeline_that_runs_now_tells_its_stages(tmp_path):
    """How long they take is a matter of the machine; that they are there, and whose, is not."""
    in_a_process(tmp_path, ["cascade"])
    call = Call.open(tmp_path / "cascade.mcap")
    seen = [answer for answer in call.answers if answer.is_seen]
    assert seen
    for answer in seen:
        assert sum(s.took_ms for s in answer.stages) == pytest.approx(answer.wait_ms, abs=1e-6)
    services = {stage.name: stage.service for answer in seen for stage in answer.stages}
    assert services["first_token"] == "Model"
    assert services["first_byte"] == "Synthesis"


def took(answer) -> dict[str, float]:
    return {stage.name: stage.took_ms for stage in answer.stages if stage.took_ms >= 20}


def expected(plan: Plan, planted: Planted) -> dict[str, float]:
    """Milliseconds of each stage that is planted."""
    decided = max(0.0, plan.speech_timeout - planted.stt)
    stages = {
        "voice_end": planted.vad,
        "transcript": planted.stt,
        "turn_end": decided,
        "first_token": planted.model,
        "sentence": planted.tokens,
        "first_byte": planted.synthesis,
    }
    if planted.function:
        stages |= {"function_asked": planted.model, "function": planted.function}
    return {name: 1000 * secs for name, secs in stages.items() if secs}


@pytest.mark.parametrize("name", ["cascade", "late_turn"])
def test_each_stage_takes_what_was_planted(calls, name):
    plan, call = PLANS[name], calls[name]
    assert len(call.answers) == len(plan.answers)
    for answer, planted in zip(call.answers, plan.answers, strict=True):
        stages = {s.name: s.took_ms for s in answer.stages if s.name in expected(plan, planted)}
        assert stages == pytest.approx(expected(plan, planted), abs=GOAL_MS)
        assert sum(stages.values()) == pytest.approx(answer.wait_ms, abs=GOAL_MS)


@pytest.mark.parametrize("name", NAMES)
def test_stages_follow_each_other_and_sum_to_the_whole(calls, name):
    for answer in calls[name].answers:
        ends = [answer.start, *(stage.end for stage in answer.stages)]
        assert [stage.start for stage in answer.stages] == ends[:-1]
        assert ends[-1] == answer.end
        assert sum(s.took_ms for s in answer.stages) == pytest.approx(answer.wait_ms, abs=1e-6)


def test_a_wait_is_that_of_the_turn(calls):
    for call in calls.values():
        waits = [answer.wait_ms for answer in call.answers.waited_for]
        latencies = [turn.latency_ms for turn in call.turns if turn.latency_ms is not None]
        assert waits == pytest.approx(latencies)


def test_each_stage_has_its_owner(calls):
    answer = calls["cascade"].answers[2]
    owners = {stage.name: stage.owner for stage in answer.stages}
    assert owners["voice_end"] == owners["turn_end"] == owner_of("LLMUserAggregator", owners)
    assert owners["transcript"].startswith("Recogniser#")
    assert owners["first_token"] == owners["sentence"] == owners["function_asked"]
    assert owners["first_token"].startswith("Model#")
    assert owners["first_byte"].startswith("Synthesis#")
    assert owners["function"] == "look_up"


def owner_of(start: str, owners: dict[str, str]) -> str:
    return next(owner for owner in owners.values() if owner.startswith(f"{start}#"))


def test_a_service_that_hears_and_speaks_is_one_stage(calls):
    first, second = calls["speech_to_speech"].answers
    for answer, secs in ((first, 0.5), (second, 0.9)):
        stages = took(answer)
        assert stages.keys() == {"voice_end", "turn_end", "first_byte"}
        assert stages["first_byte"] == pytest.approx(1000 * secs, abs=GOAL_MS)
        assert answer.largest.service == "SpeechToSpeech"


def test_an_answer_may_be_interrupted_or_never_heard(calls):
    outcomes = [answer.outcome for answer in calls["cut"].answers]
    assert outcomes == ["interrupted", "abandoned", "heard"]
    abandoned = calls["cut"].answers[1]
    # It ended with what had not come yet.
    assert abandoned.stages[-1].name == "first_token"
    assert len(calls["cut"].answers.waited_for) == 2


def test_without_the_pipelines_events_the_tap_splits_what_it_sees(calls):
    call = calls["unseen"]
    assert [answer.stages[0].name for answer in call.answers] == ["pipeline", "pipeline"]
    assert not call.answers.is_seen
    assert HOW_TO_SEE in call.summary() and HOW_TO_SEE in call.answers._repr_html_()


def test_the_summary_names_the_slowest_and_its_largest_stage(calls):
    assert "answers:    3, half of them after" in calls["cascade"].summary()
    assert "Model's first token" in calls["cascade"].summary()


def test_a_table_has_a_row_an_answer_and_its_stages_add_up(calls):
    table = calls["cascade"].answers.table
    stages = [name for name in table if name in {f"{kind}_ms" for kind in KINDS}]
    assert len(table) == 3
    assert np.allclose(table[stages].sum(axis=1), table["wait_ms"])


def test_a_recording_holds_no_word(calls):
    for name in ("cascade", "cut"):
        assert not [event for event in calls[name].pipeline if "secret" in str(event)]
        assert b"secret" not in calls[name].path.read_bytes()


def test_between_two_calls_the_stage_that_grew_is_named(calls):
    before, after = calls["late_turn"].answers[:1], calls["cascade"].answers[1:2]
    assert grown(before, after).startswith("Model's first token takes 0.9")
    assert grown(after, after) == ""


RECORDED = [run for run in runs() if run.scenario.name in ("interrupted_8k", "speech_to_speech")]


@pytest.mark.parametrize("run", RECORDED, ids=lambda run: run.path.stem)
def test_a_recorded_run_of_any_pipecat_has_its_waits_split(run):
    rng = np.random.default_rng(1)
    caller, bot = clips()[::2], clips()[1::2]
    call = with_sound(run, speech(caller, rng), speech(bot, rng), {}, rng)
    assert len(call.answers.waited_for)
    for answer in call.answers:
        assert sum(s.took_ms for s in answer.stages) == pytest.approx(answer.wait_ms, abs=1e-6)
        assert {stage.name for stage in answer.stages} <= {"pipeline", "message", "audible"}


@pytest.mark.parametrize("kind", ["slow_response", "dead_air"])
def test_a_slow_answer_is_blamed_on_its_stage(calls, kind):
    (finding,) = diagnose(calls["slow"], [kind])
    assert re.match(
        r"The wait took 3\.\d s, of it 3\.0 s \(\d\d %\) Model's first token\. ", finding.cause
    )
    assert finding.remedy.lower().startswith(KINDS["first_token"].setting)


def test_a_regression_names_the_stage_that_grew(calls):
    found = diagnose(calls["slow"], ["slow_response"], baseline=calls["cascade"])
    assert found.changes is not None
    (change,) = found.changes
    assert change.verdict == "new"
    assert change.because.startswith("Model's first token takes 3.0")
    assert change.because in str(found)


def test_a_timeline_has_a_lane_of_them(calls):
    call = calls["cascade"]
    shown = [mark for mark in marks(call, (), call.answers) if mark["row"] == "answer"]
    assert [len(mark["parts"]) for mark in shown] == [len(a.stages) for a in call.answers]
    assert all(len(m["parts"]) == len(m["colours"]) == len(m["nouns"]) for m in shown)
    assert "Model's first token" in shown[1]["text"]
    # Their milestones do not stand among the events once more.
    assert not [mark for mark in marks(call) if mark["kind"] == "pipeline"]


def test_a_report_has_a_table_of_them(calls, tmp_path):
    page = write_report(tmp_path / "a.html", calls["cascade"], []).read_text("utf-8")
    assert "The answers, stage by stage" in page
    assert "Model&#39;s first token" in page
    unseen = write_report(tmp_path / "b.html", calls["unseen"], []).read_text("utf-8")
    assert "PipelineEvents(tap)" in unseen


def test_every_stage_has_a_look_of_its_own():
    assert STAGE_LOOKS.keys() == KINDS.keys()
    assert len(set(STAGE_LOOKS.values())) == len(KINDS)


# -- the rule, without a pipeline --------------------------------------------------------------

WHATS = (
    "voice of the caller ends", "transcription", "turn of the caller ends", "model asked",
    "model begins", "first token", "function call", "function result", "sentence",
    "text to speak", "synthesis begins", "first audio", "interruption", "bot begins to speak",
    "pipeline starts", "something of a later version",
)  # fmt: skip
times = st.floats(-1, 12, allow_nan=False)
records = st.lists(st.builds(PipelineRecord, times, st.sampled_from(WHATS), st.sampled_from("AB")))


@given(records, st.floats(0, 5), st.floats(0.001, 5), st.booleans(), st.booleans())
def test_whatever_a_pipeline_tells_the_stages_sum_to_the_whole(told, start, wait, sent, audible):
    end = start + wait
    told = sorted(told, key=lambda record: record.time)
    sending = [Milestone(start + wait / 2, "frame", ""), Milestone(start + wait, "message", "")]
    stages = split(start, end, told, sending if sent else [], audible)
    assert stages[0].start == start and stages[-1].end == end
    assert all(one.end == other.start for one, other in zip(stages, stages[1:], strict=False))
    assert all(stage.took_ms > 0 and stage.name in KINDS for stage in stages)


def test_what_nobody_waited_for_is_no_answer():
    nothing = Sending(np.empty(0), reconstruct([], []))
    turns = [Turn("caller", 0.0, 2.0), Turn("bot", 2.0, 3.0, latency_ms=0.0)]
    assert len(find_answers(turns, [], nothing, [], 3.0)) == 0
    turns[1] = Turn("bot", 2.5, 3.0, latency_ms=500.0)
    (answer,) = find_answers(turns, [], nothing, [], 3.0)
    assert answer.wait_ms == 500.0


def test_the_order_of_the_milestones_is_the_pipelines_own():
    told = [
        PipelineRecord(0.2, "voice of the caller ends", "VAD"),
        PipelineRecord(0.5, "turn of the caller ends", "Turns"),
        PipelineRecord(0.9, "transcription", "STT"),
        PipelineRecord(0.91, "model asked", "Aggregator"),
        PipelineRecord(1.5, "first token", "LLM"),
    ]
    stages = split(0.0, 2.0, told, [])
    assert [stage.name for stage in stages[:3]] == ["voice_end", "turn_end", "transcript"]


def test_an_answer_thrown_away_is_a_stage_of_its_own():
    told = [
        PipelineRecord(0.2, "turn of the caller ends", "Turns"),
        PipelineRecord(0.3, "model asked", "Aggregator"),
        PipelineRecord(0.8, "interruption", "Turns"),
        PipelineRecord(1.0, "turn of the caller ends", "Turns"),
        PipelineRecord(1.4, "first token", "LLM"),
    ]
    stages = split(0.0, 2.0, told, [])
    assert [(stage.name, stage.end) for stage in stages[:2]] == [
        ("abandoned", 0.8),
        ("turn_end", 1.0),
    ]
