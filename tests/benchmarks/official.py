"""The official ``pipecat-bandwidth``, beside ours in one process.

Both have the import name ``pipecat_bandwidth``. So the official one is installed into a folder of
its own, never into the environment, and its one module is loaded under another name.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from pipecat.serializers.base_serializer import FrameSerializer

VERSION = "0.1.0"
FOLDER = Path(__file__).parents[2] / ".bench" / f"official-{VERSION}"
SOURCE = FOLDER.with_name(f"official-{VERSION}-source")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def serializer_class() -> type[FrameSerializer]:
    """Return the official ``BandwidthFrameSerializer``, installing it if need be."""
    source = FOLDER / "pipecat_bandwidth" / "serializer.py"
    if not source.exists():
        wanted = ["--no-deps", "--target", str(FOLDER), f"pipecat-bandwidth=={VERSION}"]
        subprocess.run([*PIP, "install", *wanted], check=True)
    spec = spec_from_file_location("official_bandwidth_serializer", source)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BandwidthFrameSerializer


def example() -> Path:
    """Return the example bot of the official source distribution, fetching that if need be.

    Raises:
        OSError: If it cannot be had.
    """
    bot = SOURCE / f"pipecat_bandwidth-{VERSION}" / "examples" / "bandwidth-chatbot" / "bot.py"
    if not bot.exists():
        wanted = ["--no-deps", "--no-binary", ":all:", "--dest", str(SOURCE)]
        command = [*PIP, "download", *wanted, f"pipecat-bandwidth=={VERSION}"]
        fetched = subprocess.run(command, capture_output=True, text=True)
        if fetched.returncode:
            raise OSError(fetched.stderr.strip().rpartition("\n")[2])
        (archive,) = SOURCE.glob("*.tar.gz")
        with tarfile.open(archive) as files:
            files.extractall(SOURCE, filter="data")
    return bot
