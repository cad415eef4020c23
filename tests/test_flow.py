"""The whole first half on the scripted runner: what is verified, timed, in which order, and recorded."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import bad_lanes
from tests.fakes import FakeRunner, Script
from tools import caches, checks, flow
from tools.errors import UsageError, VerifyError
from tools.launcher.protocol import Kind, LaunchReply
from tools.measure import Progress
from tools.model import Load, Project, Rate


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds and inputs of these tests stay out of the checkout."""
    monkeypatch.setattr(caches, "WORK", tmp_path / "work")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two lanes that count lines."""
    return bad_lanes.make(tmp_path / "projects", ["other"])


def silent(_: object) -> None:
    """Neither lines nor progress."""


def bench(project: Project, runner: FakeRunner, **options: Any) -> dict[str, Any]:
    """One benchmark without a word."""
    chosen = flow.Options(**{"seed": 7, "budget_seconds": 60, **options})

    return flow.bench(project, runner, chosen, silent, silent)


def states(content: dict[str, Any]) -> dict[str, str]:
    """The state of each arm in the only case."""
    return {arm: found["state"] for arm, found in content["cases"][0]["states"].items()}


def test_every_arm_is_measured_and_the_result_is_valid(project: Project, tmp_path: Path) -> None:
    """Lanes and the null arm are measured; what is recorded passes the schema and all cross checks."""
    content = bench(project, FakeRunner())
    assert states(content) == {"good": "measured", "other": "measured", "good-null": "measured"}
    path = tmp_path / "results" / "line-counter" / checks.file_name(content)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    assert [str(problem) for problem in checks.check_file(path)[1]] == []


def test_rounds_are_complete_and_at_least_twelve(project: Project) -> None:
    """Each round runs each arm once, in whole blocks, until precise."""
    case = bench(project, FakeRunner())["cases"][0]
    turns = Counter(case["samples"]["round"])
    assert set(turns.values()) == {3}
    assert len(turns) >= 12
    assert case["stop"] == "precision"


def test_same_seed_same_order(project: Project) -> None:
    """The order of the arms is a function of the stored seed."""
    first, second = (bench(project, FakeRunner())["cases"][0]["samples"]["arm"] for _ in range(2))
    assert first == second
    assert first != bench(project, FakeRunner(), seed=8)["cases"][0]["samples"]["arm"]


def test_repeats_are_equal_for_all_and_long_enough_for_the_fastest(project: Project) -> None:
    """The fastest arm takes the asked time; the slow one has the same repeats."""
    case = bench(project, FakeRunner({"other": Script(each_ns=50_000_000)}))["cases"][0]
    walls = dict(zip(case["samples"]["arm"], case["samples"]["wall_ns"], strict=True))
    assert walls["good"] >= 0.5e9
    assert walls["other"] > 4 * walls["good"]
    assert all(items == case["items"] * case["repeats"] for items in case["samples"]["items"])


def test_hoisting_lane_does_not_set_the_repeats(project: Project) -> None:
    """A lane that does its work once is found out, and the others are calibrated without it."""
    content = bench(project, FakeRunner({"other": Script(hoisted=True)}))
    assert states(content) == {"good": "measured", "other": "impossible", "good-null": "measured"}
    assert content["cases"][0]["repeats"] <= 100


def test_lane_that_fails_in_a_late_round_stays_in_the_record(project: Project) -> None:
    """The failed run is kept with its flag, the arm's verdict ends, the others go on."""
    seen = Counter[str]()

    def fail_late(reply: LaunchReply, repeats: int) -> LaunchReply:
        seen["runs"] += repeats > 1
        return replace(reply, kind=Kind.SIGNALLED, code=11, stdout=b"") if seen["runs"] == 14 else reply

    content = bench(project, FakeRunner({"other": Script(change=fail_late)}))
    case = content["cases"][0]
    assert states(content)["other"] == "run-failed"
    assert "signal 11" in case["states"]["other"]["reason"]
    assert ["failed"] in case["samples"]["flags"]
    assert case["samples"]["arm"].count("good") > case["samples"]["arm"].count("other")


def test_excluded_arm_says_why(project: Project) -> None:
    """A case that an arm cannot run records the reason of project.yaml."""
    case = replace(project.cases[0], name="special", without={"other": "has no such feature"})
    content = bench(replace(project, cases=(project.cases[0], case)), FakeRunner())
    assert states(content)["other"] == "measured"
    assert content["cases"][1]["states"]["other"] == {"state": "excluded", "reason": "has no such feature"}


def test_broken_build_is_a_state(project: Project) -> None:
    """A lane that does not compile is recorded with the compiler's line; the other lane is measured."""
    (project.lanes["other"].folder / "main.py").write_text("does not compile")
    content = bench(project, FakeRunner())
    assert content["arms"]["other"]["state"] == "build-failed"
    assert "does not compile" in content["arms"]["other"]["reason"]
    assert states(content)["good"] == "measured"


def test_nothing_is_timed_when_no_lane_passes(project: Project) -> None:
    """Without an accepted lane there is no result at all."""

    def wrong(reply: LaunchReply, _: int) -> LaunchReply:
        return replace(reply, stdout=b"42\n")

    with pytest.raises(VerifyError, match="no lane passed"):
        bench(project, FakeRunner({"good": Script(change=wrong), "other": Script(change=wrong)}))


def test_second_build_comes_from_the_cache(project: Project) -> None:
    """Unchanged sources are not built again; a changed byte is."""
    runner = FakeRunner()
    options = flow.Options()
    flow.build_all(project, runner, options, silent)
    built = len(runner.steps)
    flow.build_all(project, runner, options, silent)
    assert len(runner.steps) == built
    main = project.lanes["other"].folder / "main.py"
    main.write_text(main.read_text() + "# changed\n")
    flow.build_all(project, runner, options, silent)
    assert len(runner.steps) == built + 1


def test_unknown_lane_or_case_is_a_usage_error(project: Project) -> None:
    """Names on the command line are checked against the project, and the known ones are listed."""
    with pytest.raises(UsageError, match="no lane cobol"):
        bench(project, FakeRunner(), lanes=("cobol",))
    with pytest.raises(UsageError, match="no such case"):
        bench(project, FakeRunner(), cases=("nothing",))


def test_unknown_case_is_said_before_anything_is_built(project: Project) -> None:
    """A slip of the pen costs no build, even beside a case that is known."""
    runner = FakeRunner()
    with pytest.raises(UsageError, match="no such case: nothing"):
        bench(project, runner, cases=(project.cases[0].name, "nothing"))
    assert runner.steps == []


def test_case_that_needs_the_rate_of_another_is_not_asked_for_alone(project: Project) -> None:
    """A share of a capacity that nobody measures is refused with what to ask for."""
    closed = Load("pace", "resp", "get.pace")
    capacity = replace(project.cases[0], name="get", load=closed)
    latency = replace(capacity, name="latency", load=replace(closed, rate=Rate(of="get", share=0.5)))
    project = replace(project, cases=(capacity, latency))
    with pytest.raises(UsageError, match=r"latency takes its rate from what get reaches.*--cases get,latency"):
        flow.chosen_cases(project, flow.Options(cases=("latency",)))
    assert flow.chosen_cases(project, flow.Options(cases=("get", "latency"))) == [capacity, latency]
    assert flow.chosen_cases(project, flow.Options()) == [capacity, latency]


def test_progress_is_shown_only_between_samples(project: Project) -> None:
    """Each progress call sees a finished number of runs: nothing is drawn while one is under way."""
    runner = FakeRunner()
    seen: list[int] = []

    def draw(now: Progress) -> None:
        assert now.done <= now.total
        seen.append(len(runner.arenas[-1].ran))

    flow.bench(project, runner, flow.Options(seed=1, rounds=2), silent, draw)
    assert seen == sorted(seen)
