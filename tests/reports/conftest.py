"""A headless browser, for tests of HTML pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Returns a headless Chromium: the system's, or the one that `make browser` installed."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        sandboxed = [] if os.geteuid() else ["--no-sandbox"]  # root cannot use Chromium's sandbox
        running = playwright.chromium.launch(executable_path=found, args=sandboxed)
        yield running
        running.close()
