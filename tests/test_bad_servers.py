"""Every way in which a server can misbehave ends as its own recorded state, while the good lane is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import bad_servers
from tools import checks, flow, runners, services
from tools.errors import DeadheatError
from tools.files import atomic_write
from tools.measure import Progress

# fault -> state of the arm, words of its reason
FAULTS = {
    "wrong": ("verify-failed", "PANG"),
    "garbage": ("verify-failed", "PING got"),
    "never-ready": ("verify-failed", "ran out of time"),
    "taken-port": ("verify-failed", "Address already in use"),
    "ignores-sigterm": ("verify-failed", "after SIGTERM"),
    "leaves-a-child": ("verify-failed", "after SIGTERM"),
    "fast-but-wrong": ("run-failed", "wrong"),
    "dies": ("run-failed", "exit code 7"),
    "stops-answering": ("run-failed", "requests failed"),
    "leaks-connections": ("run-failed", "requests failed"),
}


def _quiet(_: Progress) -> None:
    """No progress line."""


@pytest.fixture(scope="module")
def impatient() -> Any:
    """What never comes is not waited for as long as people would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "READY_SECONDS", 2.0)
        patch.setattr(services, "STOP_SECONDS", 2.0)
        yield


@pytest.fixture(scope="module", params=["host", pytest.param("docker", marks=pytest.mark.docker)])
def outcome(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, impatient: None
) -> dict[str, Any]:
    """One benchmark of all bad servers through the real pipeline."""
    del impatient
    runner, _ = runners.choose(request.param)
    project = bad_servers.make(tmp_path_factory.mktemp("projects"), list(FAULTS))
    options = flow.Options(rounds=2, budget_seconds=120, seed=1)
    return flow.bench(project, runner, options, lambda _: None, _quiet)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_a_recorded_state(outcome: dict[str, Any], fault: str) -> None:
    """The arm's state and reason say what it did; it is neither missing nor a zero."""
    state, words = FAULTS[fault]
    found = outcome["cases"][0]["states"][fault]
    assert found["state"] == state, found
    assert words in (found["reason"] or "") + (outcome["arms"][fault]["reason"] or ""), found


@pytest.mark.parametrize("arm", ["good", "good-null"])
def test_good_lane_is_measured(outcome: dict[str, Any], arm: str) -> None:
    """The neighbours' faults do not touch the good lane and its null arm."""
    assert outcome["cases"][0]["states"][arm] == {"state": "measured", "reason": None}


@pytest.mark.parametrize("arm", ["good", "good-null"])
def test_latency_is_measured_or_the_generator_was_late(outcome: dict[str, Any], arm: str) -> None:
    """On a busy machine the open loop says that its numbers are none of the server's; it never blames the server."""
    found = outcome["cases"][1]["states"][arm]
    assert found["state"] in {"measured", "load-invalid"}, found


def test_the_result_is_valid(outcome: dict[str, Any], tmp_path: Path) -> None:
    """Schema and cross checks accept the file."""
    path = tmp_path / "ping-server" / checks.file_name(outcome)
    atomic_write(path, json.dumps(outcome))
    assert [str(problem) for problem in checks.check_file(path)[1]] == []


SERVICES = {
    "ends": ("{command: [/bin/false]}", "exit code 1"),
    "never-ready": ('{command: [/bin/sleep, "60"], ready: "never said"}', "ran out of time"),
    "never-listens": ('{command: [/bin/sleep, "60"]}', "does not listen"),
    "missing": ("{command: [/usr/bin/no-such-server]}", "could not be started"),
}


@pytest.mark.parametrize("fault", SERVICES)
def test_a_service_that_does_not_start_is_named(tmp_path: Path, impatient: None, fault: str) -> None:
    """Nothing is measured without the services; the message names the service and says how it ended."""
    del impatient
    service, words = SERVICES[fault]
    project = bad_servers.make(tmp_path, [], services=f"services:\n  helper: {service}\n")
    runner, _ = runners.choose("host")
    with pytest.raises(DeadheatError) as caught:
        flow.bench(project, runner, flow.Options(rounds=1), lambda _: None, _quiet)
    assert "helper" in str(caught.value)
    assert words in str(caught.value)
