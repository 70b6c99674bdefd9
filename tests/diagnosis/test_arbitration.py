"""A cause silences what follows from it, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from graphlib import TopologicalSorter

import numpy as np
import pytest

from tests import planting
from tests.captures import Scene, speech
from workbench.call import Call
from workbench.diagnosis import DETECTORS, Finding, Findings, Part, diagnose, to_junit
from workbench.diagnosis.arbitration import EVERYTHING, arbitrated
from workbench.diagnosis.finding import POSSIBLE

SECS = 60.0
#: Kinds that are named before they are declared: their detectors are on their way.
NOT_YET = {"overflow"}


def of(kind: str, *spans: tuple[float, float], side="bot", **more) -> Finding:
    found = Finding(
        kind=kind, side=side, parts=tuple(Part(*span, 1.0) for span in spans), severity="warning",
        value=1.0, unit="s", threshold=0.5, measurement="so", cause="C.", remedy="R.",
    )  # fmt: skip
    return replace(found, **more)


def judged(*found: Finding) -> tuple[Finding, ...]:
    return arbitrated(found, SECS, DETECTORS)


# -- the declarations ------------------------------------------------------------------------------


def test_what_follows_is_a_kind_and_nothing_follows_from_itself():
    graph = {}
    for kind, told in DETECTORS.items():
        assert all(
            side in ("", "bot", "caller") for side in (n.rpartition(":")[0] for n in told.explains)
        )
        graph[kind] = {name.rpartition(":")[2] for name in told.explains} - {EVERYTHING}
    assert set().union(*graph.values()) <= DETECTORS.keys() | NOT_YET
    list(TopologicalSorter(graph).static_order())  # raises for a circle
    assert [kind for kind, told in DETECTORS.items() if EVERYTHING in told.explains] == [
        "capture_dropped"
    ]


# -- the rule --------------------------------------------------------------------------------------


def test_what_lies_in_its_cause_or_right_behind_it_follows():
    cause = of("one_way", (10.0, 20.0), side="caller")
    inside, behind = of("dead_air", (12.0, 17.0)), of("dead_air", (20.5, 29.0))
    (kept,) = judged(inside, cause, behind)
    assert kept.kind == "one_way"
    assert kept.followers == (inside, behind)


@pytest.mark.parametrize(
    "other",
    [
        of("dead_air", (3.0, 9.0)),  # before
        of("dead_air", (22.0, 30.0)),  # long after
        of("echo", (12.0, 13.0)),  # of a kind that is not named
        of("audio_lost", (12.0, 13.0)),  # of the other side
    ],
    ids=["before", "after", "kind", "side"],
)
def test_what_has_nothing_to_do_with_it_stays(other):
    cause = of("one_way", (10.0, 20.0), side="caller")
    assert judged(cause, other) == (cause, other)


def test_what_was_measured_of_the_whole_call_is_spoilt_wherever_the_cause_is():
    cause = of("wrong_codec", (10.0, 13.0))
    whole = of("level_mismatch", (0.0, SECS), side="caller")
    (kept,) = judged(cause, whole)
    assert kept.followers == (whole,)


def test_what_follows_in_part_keeps_the_rest():
    cause = of("wrong_codec", (10.0, 13.0))
    holes = of("dropout", (2.0, 2.1), (11.0, 11.1), (40.0, 40.1))
    kept, rest = judged(cause, holes)
    assert [part.start for part in rest.parts] == [2.0, 40.0]
    assert rest.measurement == "so; 1 of its 3 places left out: see wrong_codec"
    assert [part.start for part in kept.followers[0].parts] == [11.0]


def test_what_is_possible_silences_nothing_sure():
    cause = of("wrong_codec", (10.0, 13.0), confidence=POSSIBLE)
    sure, unsure = of("dropout", (11.0, 11.1)), of("clipping", (11.0, 11.1), confidence=POSSIBLE)
    kept, rest = judged(cause, sure, unsure)
    assert rest == sure
    assert kept.followers == (unsure,)


def test_what_follows_from_a_consequence_goes_to_the_first_cause():
    root = of("one_way", (0.0, SECS))
    (kept,) = judged(of("upsampled", (0.0, SECS)), of("wrong_rate", (0.0, SECS)), root)
    assert kept.kind == "one_way"
    assert [finding.kind for finding in kept.followers] == ["upsampled", "wrong_rate"]


def test_in_a_hole_of_the_recording_nobody_can_know():
    lost = of("capture_dropped", (10.0, 10.5), side=None)
    inside, beside = of("own_track", (10.1, 10.3)), of("dead_air", (10.4, 18.0))
    drift = of("clock_drift", (0.0, SECS), side="caller")
    kept, rest = judged(lost, inside, beside, drift)
    assert rest == beside
    assert kept.followers == (inside, drift)


# -- how it is told --------------------------------------------------------------------------------


def test_a_cause_says_what_follows_from_it():
    cause = of("one_way", (10.0, 40.0), side="caller")
    airs = [of("dead_air", (12.0 + at, 17.0 + at), value=3.0 + at) for at in (0.0, 9.0)]
    found = Findings(judged(cause, *airs))
    assert found[0].told == "so; 2 findings follow from this: dead_air (12 s)"
    assert found.silenced == tuple(airs)
    for shown in (str(found), found._repr_html_(), to_junit(found)):
        assert "2 findings follow from this" in shown
    told = json.loads(json.dumps(found.as_dict()))
    assert [f["kind"] for f in told["findings"][0]["followers"]] == ["dead_air"] * 2


# -- in calls --------------------------------------------------------------------------------------


def test_a_blocked_loop_is_told_once(tmp_path):
    """It reads nothing and sends nothing: the hole and the stall are its own."""
    scene = planting.blocked(np.random.default_rng(1), 900.0).scene
    found = diagnose(Call.open(scene.write(tmp_path / "a.mcap")))
    told = {finding.kind: finding for finding in found}
    assert "underrun" not in told and "jitter" not in told
    assert {finding.kind for finding in told["loop_lag"].followers} >= {"underrun"}
    assert "Gap in playback (" in told["loop_lag"].told


def test_a_gap_without_a_blocked_loop_stays(tmp_path):
    scene = planting.hole(np.random.default_rng(1), 200.0).scene
    found = diagnose(Call.open(scene.write(tmp_path / "a.mcap")))
    assert "underrun" in {finding.kind for finding in found}


def test_an_offset_of_the_caller_is_no_dead_air(tmp_path):
    scene = Scene(24.0)
    scene.say_bot(0.8, speech("bot/b07"))
    scene.say_caller(10.0, speech("caller/c05"))
    scene.caller += np.float32(0.1)
    found = diagnose(Call.open(scene.write(tmp_path / "a.mcap")))
    assert found[0].kind == "dc_offset"
    assert "dead_air" not in {finding.kind for finding in found}
