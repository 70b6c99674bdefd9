"""The doors of both packages: what they offer, where each name is documented, and that it is all."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import pipecat_bandwidth
import workbench

ROOT = Path(__file__).parents[2]
MODULES = [
    name
    for package in (pipecat_bandwidth, workbench)
    for _, name, _ in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not name.endswith("__main__")
]

#: Public name to where it is documented for its users.
SERIALIZER = {
    "BandwidthError": "README.md",
    "BandwidthFrameSerializer": "README.md",
    "ProtocolError": "README.md",
    "Start": "README.md",
    "VoiceAPI": "README.md",
    "VoiceAPIError": "README.md",
    "__version__": "CHANGELOG.md",
    "parse": "README.md",
}
WORKBENCH = {
    "Audio": "README.md",
    "BlindListening": "notebooks/02_compare_encodings.ipynb",
    "Call": "README.md",
    "CallTimeline": "README.md",
    "Finding": "README.md",
    "Findings": "README.md",
    "Panel": "notebooks/03_tune_outbound.ipynb",
    "PipelineEvents": "README.md",
    "Survey": "README.md",
    "Tap": "README.md",
    "compare": "README.md",
    "diagnose": "README.md",
    "export": "README.md",
    "replay": "README.md",
    "simulate": "README.md",
    "survey": "README.md",
    "tune": "README.md",
    "write_report": "notebooks/04_your_own_call.ipynb",
}


@pytest.mark.parametrize(
    ("package", "names"), [(pipecat_bandwidth, SERIALIZER), (workbench, WORKBENCH)]
)
def test_a_door_offers_these_names_and_no_other(package, names) -> None:
    assert package.__all__ == sorted(names)
    assert set(names) <= set(dir(package))
    for name, file in names.items():
        value = getattr(package, name)
        if name != "__version__":
            assert inspect.getdoc(value), name
            assert name in (ROOT / file).read_text("utf-8"), f"{name} is not in {file}"


def test_a_door_refuses_what_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'workbench' has no attribute 'nothing'"):
        _ = workbench.nothing


def test_a_door_costs_nothing_until_it_is_used() -> None:
    code = "import sys, workbench; print(*sorted(m for m in sys.modules if m.startswith(('work', 'pipe', 'nump'))))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["pipecat_bandwidth", "pipecat_bandwidth._lazy", "workbench"]


def test_help_of_the_door_fits_a_screen() -> None:
    assert len(pydoc.splitdoc(workbench.__doc__)[1].splitlines()) < 24


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{public} has no docstring"
