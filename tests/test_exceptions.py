from __future__ import annotations

from pathlib import Path

import pytest

from workbench import exceptions
from workbench.exceptions import CaptureError, NothingSaid, SimulationError, WorkbenchError


@pytest.mark.parametrize("name", exceptions.__all__)
def test_every_error_has_one_root_and_its_place_in_the_tree(name):
    kind = getattr(exceptions, name)
    assert issubclass(kind, Warning if name.endswith("Warning") else WorkbenchError)
    assert name in exceptions.__doc__


def test_an_unreadable_capture_says_where():
    error = CaptureError("a.mcap", "cut off", 12)
    assert (error.file, error.reason, error.offset) == (Path("a.mcap"), "cut off", 12)
    assert str(error) == "a.mcap: cut off (at byte 12)"
    assert str(CaptureError("a.mcap", "missing")) == "a.mcap: missing"


def test_a_bots_words_cannot_reach_the_controls_of_a_terminal():
    error = SimulationError("webhook", "HTTP 500 \x1b[2J")
    assert error.step == "webhook"
    assert str(error) == "webhook: HTTP 500 \N{REPLACEMENT CHARACTER}[2J"


def test_a_call_in_which_nothing_was_said_is_a_wrong_value_too():
    with pytest.raises(ValueError, match="nothing"):
        raise NothingSaid("nothing")
