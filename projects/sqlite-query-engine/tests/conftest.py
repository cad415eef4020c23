"""Fixtures of the sqlite-query-engine tests: which lanes to run, and how one run is judged.

DEADHEAT_LANES names the lanes to test, for example while one of them is being written:

    DEADHEAT_LANES="go=/tmp/out/sqlite-query-engine,zig=/tmp/out-zig/bin/sqlite-query-engine" pytest .
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def lane_commands() -> dict[str, list[str]]:
    """Return language -> the start of its command line, from DEADHEAT_LANES."""
    setting = os.environ.get("DEADHEAT_LANES", "")
    if not setting:
        pytest.skip("no lanes: set DEADHEAT_LANES=go=PATH,rust=PATH,zig=PATH")
    pairs = (item.split("=", 1) for item in setting.split(",") if item)
    return {language.strip(): shlex.split(command) for language, command in pairs}
