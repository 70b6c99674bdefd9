"""What holds for every test: a recording ends with the test that began it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def recordings_end_with_their_test() -> Iterator[None]:
    """Close what a test left open; its thread would warn, and count, in another test.

    A bot's environment has no `workbench`, and its tests record nothing.
    """
    yield
    if recording := sys.modules.get("workbench.capture.recording"):
        recording._close_all()
