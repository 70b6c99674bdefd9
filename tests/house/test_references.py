"""A docstring refers to what is there."""

from __future__ import annotations

import pytest

from tests.house.references import broken, modules, resolves
from workbench import audio


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_every_reference_of_a_docstring_leads_somewhere(module) -> None:
    assert broken(module) == []


def test_a_reference_that_leads_nowhere_is_noticed() -> None:
    assert resolves("Audio.resampled", [audio])
    assert resolves("workbench.audio.Audio", [])
    assert not resolves("Audio.resmapled", [audio])
    assert not resolves("workbench.metrics.nothing", [])
