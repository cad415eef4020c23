"""The history follows the ratio to the peer: a slow machine is no change, a slow lane is, and machines never mix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import builders
from tools import history, history_tables, result, screen
from tools.errors import UsageError
from tools.record import Result
from tools.stats import Verdict


def past(day: int, times: dict[str, int] | None = None, *, seed: int = 1, **changes: Any) -> Result:
    """The result of a day."""
    all_times = {**builders.TIMES, **(times or {})}
    cases = changes.pop("cases", [builders.case(all_times, samples=builders.columns(all_times, seed=seed))])
    raw = builders.tree(all_times, created_at=f"2026-11-{day:02}T10:00:00Z", cases=cases, **changes)
    return result.from_tree(raw, Path(f"results/sqlite-query-engine/{day:02}.json"))


def of(results: list[Result], lane: str = "zig") -> history.Series:
    """The only series of a lane."""
    (found,) = history.of(results, lanes=[lane])
    return found


def test_a_quiet_project() -> None:
    """Nothing happens: flat bars, every result ties with the one before."""
    found = of([past(day, seed=day) for day in range(1, 13)])
    assert len(set(found.sparkline)) == 1
    assert found.peer == "sqlite3"
    assert [moment.step for moment in found.moments] == [None, *[Verdict.TIE] * 11]
    assert not any(moment.changed for moment in found.moments)


def test_a_lane_that_became_slower() -> None:
    """The first result of the new level is marked, in the series and in the sparkline."""
    found = of([past(day, {"zig": 510_000_000 if day < 7 else 700_000_000}, seed=day) for day in range(1, 13)])
    assert [index for index, moment in enumerate(found.moments) if moment.changed] == [6]
    assert found.moments[6].step is Verdict.DIFFERENT
    assert found.sparkline == "▁▁▁▁▁▁|▇▇▇▇▇▇"
    assert "new level since 2026-11-07" in history_tables.sentence(found)


def test_a_machine_that_became_slower_is_no_change() -> None:
    """Lane and peer both need twice the time: the ratio stands still."""
    slow = {name: 2 * ns for name, ns in builders.TIMES.items()}
    found = of([past(day, slow if day > 6 else None, seed=day) for day in range(1, 13)])
    assert not any(moment.changed for moment in found.moments)
    assert {moment.step for moment in found.moments[1:]} == {Verdict.TIE}
    assert found.moments[-1].cost == pytest.approx(2 * found.moments[0].cost, rel=0.01)


def test_machines_are_never_mixed() -> None:
    """Results of two environments are two series, however they alternate."""
    results = []
    for day in range(1, 9):
        machine = builders.environment(id="ab"[day % 2] * 12)
        results.append(past(day, {"zig": 400_000_000 if day % 2 else 800_000_000}, environment=machine))
    found = history.of(results, lanes=["zig"])
    assert sorted(one.environment.id for one in found) == ["a" * 12, "b" * 12]
    assert [len(one.moments) for one in found] == [4, 4]
    assert all({moment.step for moment in one.moments[1:]} == {Verdict.TIE} for one in found)


def test_a_new_yardstick_ends_the_stretch() -> None:
    """A new version of the peer needs half the time: nothing is compared across it."""
    results = [past(day) for day in range(1, 6)]
    for day in range(6, 12):
        one = past(day, {"sqlite3": 500_000_000})
        peer = one.arms["sqlite3"]
        object.__setattr__(peer, "binary_sha256", "b" * 64)
        results.append(one)
    found = of(results)
    assert [moment.step for moment in found.moments].count(None) == 2
    assert found.moments[5].step is None
    assert not any(moment.changed for moment in found.moments)


def test_without_a_peer_costs_are_shown_and_nothing_is_flagged() -> None:
    """A machine's own drift cannot be told apart, so no change is claimed."""
    times = {"go": 900_000_000, "rust": 500_000_000, "zig": 510_000_000, "null": 500_000_000}
    results = []
    for day in range(1, 13):
        those = {**times, "zig": 510_000_000 if day < 7 else 900_000_000}
        raw = builders.tree(those, created_at=f"2026-11-{day:02}T10:00:00Z")
        results.append(result.from_tree(raw, Path(f"{day:02}.json")))
    found = of(results)
    assert found.peer is None
    assert found.sparkline == "▁▁▁▁▁▁▇▇▇▇▇▇"
    assert not any(moment.changed or moment.since for moment in found.moments)
    assert "no peer" in history_tables.sentence(found)


def test_jobs_of_shared_runners_are_not_compared_one_by_one() -> None:
    """A level that holds over many jobs counts; two single jobs are never divided."""
    shared = builders.environment(ci=True)
    found = of([
        past(day, {"zig": 510_000_000 if day < 7 else 700_000_000}, seed=day, environment=shared)
        for day in range(1, 13)
    ])  # fmt: skip
    assert all(moment.since is None and moment.step is None for moment in found.moments)
    assert [index for index, moment in enumerate(found.moments) if moment.changed] == [6]


def test_a_noisy_run_says_nothing() -> None:
    """When the null arm of either run was far from 1, a step is withheld."""
    found = of([past(1), past(2, {"zig": 700_000_000, "null": 600_000_000})])
    assert found.moments[1].step is Verdict.WITHHELD


def test_a_lane_that_was_not_there_leaves_no_moment() -> None:
    """A lane that failed in a result is absent from that day."""
    case = builders.case({name: ns for name, ns in builders.TIMES.items() if name != "zig"})
    case["states"]["zig"] = {"state": "verify-failed", "reason": "off by one"}
    found = of([past(1), past(2, cases=[case]), past(3)])
    assert [moment.created_at[:10] for moment in found.moments] == ["2026-11-01", "2026-11-03"]


def test_unknown_names_list_the_known() -> None:
    """A case or lane that no result has is a usage error; no result at all is no error."""
    with pytest.raises(UsageError, match=r"no case 'x' .known: scan."):
        history.of([past(1)], "x")
    with pytest.raises(UsageError, match=r"no lane cobol .known: go, rust, zig."):
        history.of([past(1)], lanes=["cobol"])
    assert history.of([]) == []


def test_json_is_plain() -> None:
    """What programs get has no infinities and all moments."""
    text = json.dumps([one.as_json() for one in history.of([past(1), past(2)])], allow_nan=False)
    found = json.loads(text)
    assert [one["lane"] for one in found] == ["go", "rust", "zig"]
    assert found[2]["moments"][1]["step"] == "tie"
    assert found[2]["moments"][0]["since_last"] is None


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A sparkline a lane, a line a result, the method, and how much is missing for a change to be shown."""
    history_tables.show(history.of([past(1), past(2), past(3)]), screen.console(), limit=2)
    out = capsys.readouterr().out
    assert f"scan in environment {builders.ENVIRONMENT} (docker, Example CPU)" in out
    assert out.count("2026-11-03 10:00") == 3
    assert "2026-11-01 10:00" not in out
    assert "Pettitt" in out
    assert "fewer than 8 results" in out
    assert "\x1b" not in out
