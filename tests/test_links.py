"""Ways to a place in a call."""

from __future__ import annotations

import pytest

from workbench.links import fragment, view_command


def test_a_command_is_typed_as_it_is_shown() -> None:
    assert (
        view_command("captures/a.mcap", finding=2) == "workbench view captures/a.mcap --finding 2"
    )
    assert view_command("a; rm -rf b.mcap") == "workbench view 'a; rm -rf b.mcap'"


@pytest.mark.parametrize(
    ("at", "finding", "wanted"),
    [
        (9.721, 2, "t=9.72&finding=2"),
        (0.0, None, "t=0.00"),
        (None, 1, "finding=1"),
        (None, None, ""),
    ],
)
def test_a_place_stands_behind_the_address(at, finding, wanted: str) -> None:
    assert fragment(at, finding) == wanted
