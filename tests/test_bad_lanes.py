"""Every way in which a lane can misbehave ends as its own recorded state, while the good lane is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import bad_lanes
from tools import checks, flow, runners
from tools.files import atomic_write
from tools.measure import Progress

# fault -> state of the arm, words of its reason
FAULTS = {
    "wrong-answer": ("verify-failed", "wrong answer"),
    "wrong-count": ("verify-failed", "wrong item count"),
    "crash": ("verify-failed", "crashed with signal 11"),
    "hang": ("verify-failed", "no end after"),
    "flood": ("verify-failed", "printed more than the limit"),
    "memory-hog": ("verify-failed", "memory"),
    "fork-bomb": ("verify-failed", "left"),
    "silent": ("verify-failed", "not the statistics block"),
    "hoisted": ("impossible", "twice the repeats"),
    "time-liar": ("impossible", "the outside clock says"),
    "wrong-when-timed": ("run-failed", "verified was"),
    "crash-when-timed": ("run-failed", "signal 6"),
}


def _quiet(_: Progress) -> None:
    """No progress line."""


@pytest.fixture(scope="module", params=["host", pytest.param("docker", marks=pytest.mark.docker)])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One benchmark of all bad lanes through the real pipeline."""
    runner, _ = runners.choose(request.param)
    project = bad_lanes.make(tmp_path_factory.mktemp("projects"), list(FAULTS), timeout_seconds=5)
    options = flow.Options(rounds=2, budget_seconds=120, min_run_seconds=0.1, seed=1)
    said: list[str] = []
    content = flow.bench(project, runner, options, said.append, _quiet)
    return {"content": content, "said": "\n".join(said)}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_a_recorded_state(outcome: dict[str, Any], fault: str) -> None:
    """The arm's state and reason say what it did; it is neither missing nor a zero."""
    state, words = FAULTS[fault]
    arm = outcome["content"]["arms"][fault]
    found = outcome["content"]["cases"][0]["states"][fault]
    assert found["state"] == state, found
    assert words in (found["reason"] or "") + (arm["reason"] or ""), found


def test_good_lane_is_measured(outcome: dict[str, Any]) -> None:
    """The neighbours' faults do not touch the good lane and its null arm."""
    case = outcome["content"]["cases"][0]
    for arm in ("good", "good-null"):
        assert case["states"][arm] == {"state": "measured", "reason": None}, case["states"][arm]
    assert case["samples"]["arm"].count("good") >= 2


def test_said_lines_name_every_failed_lane(outcome: dict[str, Any]) -> None:
    """A person sees one line for each lane that failed verification."""
    for fault, (state, _) in FAULTS.items():
        if state == "verify-failed":
            assert f"line-counter/{fault}@" in outcome["said"]


def test_result_is_valid(outcome: dict[str, Any], tmp_path: Path) -> None:
    """What the harness writes about bad lanes passes its own validation."""
    content = outcome["content"]
    path = tmp_path / content["project"]["slug"] / checks.file_name(content)
    atomic_write(path, json.dumps(content))
    assert [str(problem) for problem in checks.check_file(path)[1]] == []
