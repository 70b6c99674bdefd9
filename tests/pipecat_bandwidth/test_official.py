"""The official package's own unit tests, on our serializer."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.official import VERSION, example

#: Those that patch aiohttp or a private method of the official serializer; what tests the same here, over
#: a real server, stands in the changelog.
INSIDE = {
    "test_end_frame_triggers_oauth_then_hangup",
    "test_token_fetch_failure_skips_hangup_request",
    "test_cancel_frame_triggers_hangup",
    "test_hangup_only_attempted_once",
}
ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # a process of its own, which imports Pipecat
def test_the_official_tests_pass_but_for_those_that_look_inside(tmp_path: Path) -> None:
    try:
        source = example().parents[2] / "tests" / "test_serializer.py"
    except OSError as error:
        pytest.skip(
            f"pipecat-bandwidth {VERSION} cannot be fetched from the package index: {error}"
        )
    shutil.copy(source, tmp_path / "test_theirs.py")
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert set(re.findall(r"^FAILED .*::(\w+)", run.stdout, re.MULTILINE)) == INSIDE, run.stdout
    assert "4 failed, 19 passed" in run.stdout
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in changes for name in INSIDE)
