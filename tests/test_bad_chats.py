"""Scenarios through the real pipeline: what a chat server does wrong is found, what it does right is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import bad_chats
from tools import checks, flow, result, runners, screen, soak_tables, summary, validate, wording
from tools.files import atomic_write
from tools.measure import Progress
from tools.record import SOAK, Result

# fault -> state of the arm, words of its reason
FAULTS = {
    "loses": ("run-failed", "deliveries missing"),
    "doubles": ("run-failed", "were wrong"),
    "garbles": ("run-failed", "were wrong"),
    "cuts": ("run-failed", "closed by the server: 1011 so sorry"),
}
RUNNERS = ["host", pytest.param("docker", marks=pytest.mark.docker)]
SOAK_SECONDS = 3


def _quiet(_: Progress) -> None:
    """No progress line."""


@pytest.fixture(scope="module")
def brief() -> Iterator[None]:
    """Start-up is timed once: other tests are about that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "STARTUP_RUNS", 1)
        yield


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, brief: None) -> dict[str, Any]:
    """One benchmark: all chats in the first case, the good one in the others."""
    del brief
    project = bad_chats.make(tmp_path_factory.mktemp("projects"), list(FAULTS))
    options = flow.Options(rounds=1, budget_seconds=120, seed=1)
    return flow.bench(project, runners.choose("host")[0], options, lambda _: None, _quiet)


@pytest.fixture(scope="module", params=RUNNERS)
def soaked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, brief: None) -> dict[str, Any]:
    """One short soak of a good server, one that leaks and one that dies."""
    del brief
    runner, _ = runners.choose(request.param)
    project = bad_chats.make(tmp_path_factory.mktemp("projects"), ["leaks", "dies"])
    return flow.bench(project, runner, flow.Options(soak=True, seed=1), lambda _: None, _quiet)


def stored(content: dict[str, Any], folder: Path) -> Result:
    """The result as others read it."""
    path = folder / "chat-server" / checks.file_name(content)
    atomic_write(path, json.dumps(content))
    return result.load(path)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_a_recorded_state(outcome: dict[str, Any], fault: str) -> None:
    """The arm's state and reason say what it did to its users."""
    state, words = FAULTS[fault]
    found = outcome["cases"][0]["states"][fault]
    assert found["state"] == state, found
    assert words in found["reason"], found


@pytest.mark.parametrize("case", [0, 1], ids=["steady", "churn"])
@pytest.mark.parametrize("arm", ["good", "good-null"])
def test_good_lane_is_measured(outcome: dict[str, Any], case: int, arm: str) -> None:
    """Users who stay and users who come and go; on a busy machine the generator may say that it was late."""
    found = outcome["cases"][case]["states"][arm]
    assert found["state"] in {"measured", "load-invalid"}, found


def test_deliveries_are_counted_exactly(outcome: dict[str, Any]) -> None:
    """Five users with ten messages each: fifty messages, each to four others."""
    samples = outcome["cases"][0]["samples"]
    index = samples["arm"].index("good")
    assert [samples[name][index] for name in ("messages", "offered", "items", "connects")] == [50, 200, 200, 5]


def test_more_than_it_can_do_is_still_measured(outcome: dict[str, Any]) -> None:
    """A step that is too much is marked, and the deliveries a second count."""
    case = outcome["cases"][2]
    index = case["samples"]["arm"].index("good")
    assert case["states"]["good"]["state"] == "measured", case["states"]
    assert "saturated" in case["samples"]["flags"][index]
    assert 0 < case["samples"]["items"][index] <= case["samples"]["offered"][index]
    assert case["metric"] == "ns_per_item"


def test_the_result_is_valid_and_says_what_the_users_did(outcome: dict[str, Any], tmp_path: Path) -> None:
    """Schema and cross checks accept the file; the plan of each case is in it."""
    steady, churn, _ = stored(outcome, tmp_path).cases
    assert steady.load is not None
    assert steady.load.by_the_clock
    words = "rooms, 5 users with 20 messages/s each, texts of 80 bytes, 0.5 s a run"
    assert wording.work(steady, "deliveries") == words
    assert "5 users who stay 0.4 s with" in wording.work(churn, "deliveries")
    assert steady.soak is None


def test_a_soak_has_a_row_a_second(soaked: dict[str, Any], tmp_path: Path) -> None:
    """What the generator counted stands beside what the server used."""
    found = stored(soaked, tmp_path)
    assert [case.name for case in found.cases] == ["steady"]
    case = found.cases[0]
    assert case.soak is not None
    series = case.soak.series["good"]
    assert list(series.t_s) == list(range(1, SOAK_SECONDS + 1))
    assert set(series.users) == {5}
    assert abs(sum(series.delivered_per_second) - SOAK_SECONDS * 400) <= 40
    assert min(series.rss_bytes) > 1 << 20
    assert min(series.fds) >= 8
    assert 0 < max(series.cpu_share) <= 1.1


def test_a_leak_is_seen_and_its_absence_too(soaked: dict[str, Any], tmp_path: Path) -> None:
    """The server that keeps 100 kB for every message grows; the good one does not."""
    case = stored(soaked, tmp_path).cases[0]
    assert case.soak is not None
    grown = {arm: one.rss_bytes[-1] - one.rss_bytes[0] for arm, one in case.soak.series.items()}
    assert grown["leaks"] > (SOAK_SECONDS - 2) * 100 * 100_000
    assert grown["good"] < 10 << 20


def test_a_server_that_dies_in_a_soak_has_its_state(soaked: dict[str, Any], tmp_path: Path) -> None:
    """The others are soaked all the same."""
    case = stored(soaked, tmp_path).cases[0]
    assert case.states["dies"].state == "run-failed"
    assert "exit code 7" in (case.states["dies"].reason or "")
    assert case.states["good"].state == "measured"
    assert case.states["good-null"].reason == "a soak has no null arm"


def test_a_soak_is_chosen_apart_from_benchmarks(soaked: dict[str, Any], tmp_path: Path) -> None:
    """Its file says so, and no table of rounds takes it for one."""
    found = stored(soaked, tmp_path)
    report = validate.examine(tmp_path, tmp_path / "index.json")
    assert [one.workload for one in report.results] == [SOAK]
    assert soak_tables.HEAD[0] == "Program"
    assert found.cases[0].stop == "rounds"


def test_a_soak_is_shown_without_places(
    soaked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal has the table of the README, and nobody leads."""
    monkeypatch.setattr(screen, "LOG_COLUMNS", 400)
    console = screen.console()
    with console.capture() as shown:
        summary.show(stored(soaked, tmp_path), console)
    text = shown.get()
    assert "Memory at the end" in text
    assert "too short to say" in text
    assert "run-failed: " in text
    assert "leader" not in text
