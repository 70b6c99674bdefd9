"""What holds for every test: a recording ends with the test that began it, no example is too slow."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure, and a rare example found in continuous integration stops nobody.
settings.register_profile(
    "busy",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: of several processes none is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: it is no garbage to be looked for."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def recordings_end_with_their_test() -> Iterator[None]:
    """Close what a test left open; its thread would warn, and count, in another test.

    A bot's environment has no `workbench`, and its tests record nothing.
    """
    yield
    if recording := sys.modules.get("workbench.capture.recording"):
        recording._close_all()
