"""What changed between groups of calls: what was planted is told, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.surveyed import drawn
from workbench.surveys import Survey
from workbench.surveys.groups import changes


def row(found: Any, figure: str) -> Any:
    return found.table.set_index("figure").loc[figure]


def test_what_was_planted_is_told_with_its_size() -> None:
    found = changes(drawn({"1.3": (80, 1.5), "1.4": (80, 4.5)}), "release")
    holes = row(found, "holes_per_min")
    assert holes["differs"] and holes["low"] < 3.0 < holes["high"]
    assert holes["high"] / holes["low"] < 4
    told = next(text for text in found.sentences if "holes in the bot's speech" in text)
    assert told.startswith("Since 1.4, against 1.3: ") and "times as many (" in told
    assert "Holm's correction for all" in found.sentences[-1]
    assert not row(found, "jitter_ms")["differs"]
    assert json.loads(json.dumps(found.as_dict()))["groups"] == {"1.3": 80, "1.4": 80}
    assert "times as many" in repr(found)


def test_where_nothing_changed_nothing_is_said_to_have() -> None:
    """Of 40 surveys, each of ten figures and more, two are wrong on average at most."""
    alarms = 0
    for seed in range(40):
        found = changes(drawn({"1.3": (30, 2.0), "1.4": (30, 2.0)}, seed), "release")
        alarms += bool(found.table["differs"].any())
        assert len(found.table) >= 10
    assert alarms <= 5
    assert "figures differs by more than chance" in found.sentences[-1]


def test_of_what_there_was_none_before_that_is_said() -> None:
    rates = {"1.2": (40, 0.0), "1.3": (40, 0.0), "1.4": (40, 3.0)}
    found = changes(drawn(rates), "release")
    (told,) = [text for text in found.sentences if "holes in the bot's speech" in text]
    assert told.startswith("Since 1.4, against 1.3: ")
    assert told.endswith("; in 1.3 and before none of it.")
    holes = found.table[found.table["figure"] == "holes_per_min"]
    assert holes["group"].tolist() == ["1.4"]  # before it there is nothing to compare
    gone = changes(drawn({"1.3": (40, 3.0), "1.4": (40, 0.0)}), "release")
    assert any("holes in the bot's speech none any more" in text for text in gone.sentences)


def test_three_calls_carry_nothing() -> None:
    found = changes(drawn({"1.3": (60, 0.5), "1.4": (3, 20.0)}), "release")
    assert found.sentences[1:] == (
        "Too few to compare, less than 8 calls: 1.4.", "So there is nothing to compare.",
    )  # fmt: skip
    assert not len(found.table)


def test_a_group_that_happens_to_have_none_is_no_news() -> None:
    """A bootstrap of eight calls without holes knows no error at all; permutations do."""
    rng = np.random.default_rng(1)
    many = drawn({"1.3": (100, 0.0), "1.4": (8, 0.0)})
    holes = np.zeros(108, int)
    holes[rng.choice(100, 20, replace=False)] = 1
    found = changes(Survey(many.calls.assign(holes=holes), many.findings), "release")
    assert not row(found, "holes_per_min")["differs"]


def test_groups_side_by_side_are_compared_with_the_others() -> None:
    two = changes(drawn({"ewr": (80, 1.5), "lax": (40, 6.0)}, mixed=True), "release")
    told = next(text for text in two.sentences if "holes in the bot's speech" in text)
    assert told.startswith("In lax, against ewr: ") and ", there " in told
    three = changes(drawn({"a": (30, 2.0), "b": (30, 2.0), "c": (30, 2.0)}, mixed=True), "release")
    compared = three.table[["group", "against"]].drop_duplicates()
    pairs = {
        (one, frozenset(other.split(" and "))) for one, other in compared.itertuples(index=False)
    }
    assert pairs == {(one, frozenset("abc") - {one}) for one in "abc"}


def test_labels_that_change_together_are_named() -> None:
    voices = ["coral"] * 80 + ["sonic"] * 80
    found = changes(drawn({"1.3": (80, 1.5), "1.4": (80, 4.5)}, voice=voices), "release")
    assert found.sentences[-1] == (
        "voice changes with release at 1.4: which of the two it is, these calls cannot tell."
    )


def test_calls_without_the_label_are_counted_and_one_that_is_not_there_refused() -> None:
    found = drawn({"1.3": (20, 1.0), "1.4": (20, 1.0)})
    found.calls.loc[:4, "label_release"] = None
    assert "Without this label: 5, left out." in changes(found, "release").sentences
    with pytest.raises(ValueError, match="no call has a label 'voice', there are: release"):
        found.by("voice")


def test_a_label_that_every_call_has_of_its_own_groups_nothing() -> None:
    calls = drawn({"1.3": (30, 1.0)}).calls.assign(label_run=[str(n) for n in range(30)])
    found = changes(Survey(calls, drawn({"1.3": (1, 0.0)}).findings), "run")
    assert found.sentences[0] == "Calls by run, in order of time: 30 values."
    assert found.sentences[-1] == "So there is nothing to compare."
