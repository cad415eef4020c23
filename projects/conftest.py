"""What the tests of every project share: the lanes, built on this machine by the harness itself.

DEADHEAT_LANES="go=/path/program,rust=...,zig=..." names built lanes by hand and overrides that, which is what people
want while they write one.
"""

from __future__ import annotations

import os
import shlex
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tools import build, flow
from tools.project import PROJECTS, load
from tools.runners.host import HostRunner

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def lane_commands(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """Lane name -> the words that start it."""
    if named := os.environ.get("DEADHEAT_LANES"):
        return {name: shlex.split(command) for name, command in (pair.split("=", 1) for pair in named.split(","))}
    return _built(PROJECTS / request.path.relative_to(PROJECTS).parts[0])


@cache
def _built(folder: Path) -> dict[str, list[str]]:
    """Build every lane of a project, or take it from the build cache."""
    project = load(folder / "project.yaml")
    commands = {}
    for lane in flow.chosen(project, flow.Options(peers=False)):
        attempt = build.build(HostRunner(), build.source_of(project, lane))
        assert attempt.built is not None, f"{attempt.reason}\n{attempt.log}"
        commands[lane.name] = [str(attempt.built.binary)]
    return commands
