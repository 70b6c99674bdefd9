"""What may be imported by name is what is documented, and no more."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import pipecat_bandwidth
import workbench

MODULES = [
    name
    for package in (pipecat_bandwidth, workbench)
    for _, name, _ in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not name.endswith("__main__")
]


def test_the_serializers_package_is_small() -> None:
    assert set(pipecat_bandwidth.__all__) == {
        "BandwidthError",
        "BandwidthFrameSerializer",
        "ProtocolError",
        "VoiceAPIError",
        "__version__",
    }


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{public} has no docstring"
