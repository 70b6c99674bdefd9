"""Programs of the system that tests call: where one is missing they skip, but not in CI."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

#: The package of each, on Debian.
PACKAGES = {"sox": "sox libsox-fmt-all", "ffmpeg": "ffmpeg"}


def program(name: str) -> str:
    """Say where a program is; skip the test, or in CI fail it, where it is missing."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed, and CI is to have it")
        pytest.skip(f"{name} is not installed (apt-get install {PACKAGES[name]})")
    return path


def run(*command: object, given: bytes | None = None) -> bytes:
    """Run a program, and return what it writes to its output; it may not fail."""
    name, *arguments = map(str, command)
    done = subprocess.run(
        [program(name), *arguments], input=given, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout
