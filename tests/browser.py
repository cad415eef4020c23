"""A real browser for tests of the report site: Debian's chromium, driven by Playwright, with axe-core as the judge.

None of them is needed to use Deadheat. Playwright's wheel comes from PyPI into the shared cache; axe-core is packed by
npm once, checked against its hash and kept there too. What is missing skips the tests with a reason.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tools import caches, toolchains
from tools.errors import DeadheatError
from tools.process import check, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAYWRIGHT = ("playwright==@PLAYWRIGHT@",)
AXE_VERSION = "@AXE@"
AXE_INTEGRITY = "@INTEGRITY@"
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
    try:
        folder = str(toolchains.python_packages(PLAYWRIGHT))
    except DeadheatError as error:
        pytest.skip(f"no Playwright: {error}")
    sys.path.insert(0, folder)
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it is not one of our requirements

        with sync_playwright() as driver:
            yield driver
    finally:
        sys.path.remove(folder)


def axe() -> str:
    """Give the source of axe-core, of exactly the pinned bytes."""
    kept = caches.shared() / "axe" / f"axe-core-{AXE_VERSION}.tgz"
    with toolchains.locked("axe-core"):
        if not kept.is_file():
            _pack(kept)
    content = kept.read_bytes()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    assert f"sha512-{found}" == AXE_INTEGRITY, f"{kept} is not axe-core {AXE_VERSION}"
    with tarfile.open(kept) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def _pack(kept: Path) -> None:
    """Let npm pack it, once."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm here, and axe-core is not in the cache: apt-get install npm")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        env = clean_environment(network=True)
        try:
            check([npm, "pack", "--silent", f"axe-core@{AXE_VERSION}", "--pack-destination", folder], env=env)
        except DeadheatError as error:
            pytest.skip(f"npm cannot pack axe-core: {error}")
        next(Path(folder).glob("*.tgz")).replace(kept)
