"""One browser for all tests of this package.

Debian's and Ubuntu's Chromium will do, or Chrome: ``apt install chromium``. Without one the tests
are skipped, but in continuous integration they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --mute-audio --disable-dev-shm-usage"
).split()


def find_browser() -> str | None:
    """Path of the first one that is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def what_is_missing() -> str:
    """Say what these tests want and do not find."""
    if find_browser() is None:
        return f"no browser found, one of {', '.join(NAMES)} is wanted: apt install chromium"
    driver = [sys.executable, "-m", "playwright", "--version"]
    if subprocess.run(driver, capture_output=True).returncode:
        return "Playwright's driver does not start: apt install libatomic1"
    return ""


# For the package, not the session: an asyncio loop runs in this thread as long as it lives, and
# the asynchronous tests of other packages bring their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if reason := what_is_missing():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page that fails the test if a script on it raises."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
    yield page
    page.close()
    assert not errors
