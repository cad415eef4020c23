"""A real browser for tests of the report site: Debian's chromium, driven by Playwright, with axe-core as the judge.

None of them is needed to use Deadheat. Playwright, and axe-core inside the package that brings it to Playwright, are
wheels that pip installs once into the shared cache. What is missing skips the tests with a reason.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tools import files, toolchains
from tools.errors import DeadheatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = ("playwright==1.65.2", "axe-playwright-python==0.1.8")
AXE_SHA256 = "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Start a browser with an empty profile; it ends with the block."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with _playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def _playwright() -> Iterator[Any]:
    """Load Playwright from the shared cache."""
    folder = str(_packages())
    sys.path.insert(0, folder)
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it is not one of our requirements

        with sync_playwright() as driver:
            yield driver
    finally:
        sys.path.remove(folder)


def axe() -> str:
    """Give the source of axe-core, of exactly the pinned bytes."""
    path = _packages() / "axe_playwright_python" / "axe.min.js"
    assert files.sha256_file(path) == AXE_SHA256, f"{path} is not the axe-core that was pinned"
    return path.read_text(encoding="utf-8")


def _packages() -> Path:
    """Install the pinned packages once, or skip with the reason."""
    try:
        return toolchains.python_packages(PACKAGES)
    except DeadheatError as error:
        pytest.skip(f"no Playwright: {error}")
