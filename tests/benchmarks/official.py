"""The official ``pipecat-bandwidth``, beside ours in one process.

Both have the import name ``pipecat_bandwidth``. So the official one is installed into a folder of
its own, never into the environment, and its one module is loaded under another name.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from pipecat.serializers.base_serializer import FrameSerializer

VERSION = "0.1.0"
FOLDER = Path(__file__).parents[2] / ".bench" / f"official-{VERSION}"


def serializer_class() -> type[FrameSerializer]:
    """Return the official ``BandwidthFrameSerializer``, installing it if need be."""
    source = FOLDER / "pipecat_bandwidth" / "serializer.py"
    if not source.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wanted = ["--no-deps", "--target", str(FOLDER), f"pipecat-bandwidth=={VERSION}"]
        subprocess.run([*pip, *wanted], check=True)
    spec = spec_from_file_location("official_bandwidth_serializer", source)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BandwidthFrameSerializer
