"""What the samples of a case are said to mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import builders, sites
from tools import analysis, figures, result
from tools.stats import Verdict


def analysed(raw: dict[str, Any]) -> analysis.Analysis:
    """Analyse the headline case of a tree."""
    loaded = result.from_tree(raw, Path("x.json"))
    return analysis.analyse(loaded, loaded.headline)


def test_two_lanes_that_tie_share_the_first_place() -> None:
    """Rust and Zig within 2 % tie, Go is third and different, and nobody wins."""
    found = analysed(builders.tree())
    group = found.main_group
    assert group is not None
    assert [place.lanes for place in group.places] == [("rust", "zig"), ("go",)]
    assert group.places[1].rank == 3
    assert (group.winner, group.tied) == (None, ("rust", "zig"))
    assert group.to_leader["go"].verdict is Verdict.DIFFERENT
    assert 1.7 < group.to_leader["go"].ratio.low < group.to_leader["go"].ratio.high < 1.9


def test_a_winner_stands_alone() -> None:
    """A lane that beats all others wins, by however much; twice the time is structural."""
    group = analysed(builders.tree({**builders.TIMES, "zig": 1_200_000_000})).main_group
    assert group is not None
    assert (group.winner, group.tied) == ("rust", ())
    assert group.to_leader["zig"].verdict is Verdict.STRUCTURAL


def test_peers_and_the_null_arm_never_win() -> None:
    """A peer that is faster than every lane changes no place; its distance is a comparison of its own."""
    found = analysed(builders.tree({**builders.TIMES, "sqlite3": 100_000_000}))
    assert [group.leader for group in found.groups] == ["rust"]
    assert all({"sqlite3", "null"}.isdisjoint(group.to_leader) for group in found.groups)
    assert found.pairs["rust", "sqlite3"].ratio.low > 4.5
    assert found.pairs["sqlite3", "rust"].ratio.high < 0.25


def test_only_equal_parity_is_ranked_together() -> None:
    """A lane with two threads is in a group of its own, where it wins nothing."""
    raw = builders.tree()
    raw["arms"]["zig"]["parity"]["threads"] = 2
    found = analysed(raw)
    assert [sorted(group.to_leader) for group in found.groups] == [["go", "rust"], ["zig"]]
    assert [group.winner for group in found.groups] == ["rust", None]


def test_a_noisy_null_arm_withholds() -> None:
    """When the same program differs from itself by 8 %, tie and different are withheld and nobody wins."""
    times = {**builders.TIMES, "null": 540_000_000, "zig": 800_000_000}
    group = analysed(builders.tree(times)).main_group
    assert group is not None
    assert group.to_leader["zig"].verdict is Verdict.WITHHELD
    assert (group.winner, group.tied) == (None, ())


def test_steal_withholds() -> None:
    """CPU time taken by the hypervisor, over 5 % of all cores, withholds every verdict."""
    raw = builders.tree()
    samples = raw["cases"][0]["samples"]
    samples["steal_ns"] = [wall // 5 for wall in samples["wall_ns"]]
    found = analysed(raw)
    assert found.steal_share == pytest.approx(0.1, abs=0.001)
    group = found.main_group
    assert group is not None
    assert group.to_leader["go"].verdict is Verdict.WITHHELD


def test_noisy_rounds_that_change_a_verdict() -> None:
    """Nothing is deleted: when the rounds with noise make the difference, both verdicts are kept and nobody wins."""
    raw = builders.tree({**builders.TIMES, "zig": 500_000_000})
    samples = raw["cases"][0]["samples"]
    for index, (arm, turn) in enumerate(zip(samples["arm"], samples["round"], strict=True)):
        if arm == "zig" and turn < 3:
            samples["wall_ns"][index] *= 3
            samples["flags"][index] = ["noisy"]
    raw["plan"].update(claims=1, alpha=0.05)
    found = analysed(raw).pairs["zig", "rust"]
    assert (found.verdict, found.quiet_verdict) == (Verdict.UNRESOLVED, Verdict.TIE)
    assert found.ratio.two_regimes
    assert not found.settled


def test_noise_of_others_costs_a_pair_nothing() -> None:
    """Rounds in which only the peer was disturbed stay in the comparison of two lanes; few quiet rounds say nothing."""
    raw = builders.tree({**builders.TIMES, "zig": 800_000_000})
    samples = raw["cases"][0]["samples"]
    for index, (arm, turn) in enumerate(zip(samples["arm"], samples["round"], strict=True)):
        if arm == "sqlite3" or (arm == "go" and turn < 9):
            samples["flags"][index] = ["noisy"]
    found = analysed(raw)
    group = found.main_group
    assert group is not None
    assert group.winner == "rust"
    assert {pair.quiet_verdict for pair in found.pairs.values()} == {None}


def test_quiet_rounds_that_say_something_else() -> None:
    """A difference that is a tie without the noisy rounds settles nothing, and neither does the reverse."""
    raw = builders.tree({**builders.TIMES, "zig": 500_000_000})
    samples = raw["cases"][0]["samples"]
    for index, (arm, turn) in enumerate(zip(samples["arm"], samples["round"], strict=True)):
        if arm == "zig" and turn >= 6:
            samples["wall_ns"][index] = samples["wall_ns"][index] * 3 // 2
            samples["flags"][index] = ["noisy"]
    raw["plan"].update(claims=1, alpha=0.4)
    found = analysed(raw).pairs["zig", "rust"]
    assert found.quiet_verdict is Verdict.TIE
    assert not found.settled


def test_a_failed_run_ends_the_verdict() -> None:
    """A lane with one wrong digest has no figures and no place, whatever its times."""
    raw = builders.tree()
    case = raw["cases"][0]
    index = case["samples"]["arm"].index("rust")
    case["samples"]["flags"][index] = ["wrong-digest"]
    case["states"]["rust"] = {"state": "run-failed", "reason": "digest differs"}
    found = analysed(raw)
    assert "rust" not in found.figures
    group = found.main_group
    assert group is not None
    assert group.leader == "zig"
    assert found.null is None


def test_throughput_of_a_server_is_one_over_the_time_of_an_item(tmp_path: Path) -> None:
    """With an even number of runs the median of rates is another number than the rate of the median."""
    case = result.from_tree(sites.of_a_server(sites.repository(tmp_path)), Path("x.json")).cases[0]
    found = figures.figures(case, "go", "ns_per_item")
    assert found.runs % 2 == 0
    assert found.items_per_second == pytest.approx(1e9 / found.cost.median)


def test_figures() -> None:
    """Throughput counts items of all repeats; memory comes from its own pass; the floor is a factor."""
    raw = builders.tree()
    raw["cases"][0]["floor_ns"] = 100_000_000
    found = analysed(raw).figures["rust"]
    assert found.wall_ns.median == pytest.approx(500_000_000, rel=0.005)
    assert found.items_per_second == pytest.approx(200, rel=0.005)
    assert found.max_rss_bytes == 3 << 20
    assert found.times_floor == pytest.approx(5, rel=0.005)


def test_few_rounds_resolve_nothing() -> None:
    """Three rounds cannot give an interval: unresolved, no winner, and no error."""
    raw = builders.tree()
    raw["cases"][0]["samples"] = builders.columns(builders.TIMES, rounds=3)
    group = analysed(raw).main_group
    assert group is not None
    assert {one.verdict for lane, one in group.to_leader.items() if lane != group.leader} == {Verdict.UNRESOLVED}
    assert (group.winner, group.tied) == (None, ())


@pytest.mark.parametrize("metric", ["cpu_ns", "max_rss_bytes", "latency_p99_ns"])
def test_other_metrics(metric: str) -> None:
    """CPU time and memory are read from the samples; a metric that runs do not have ranks nobody and breaks nothing."""
    raw = builders.tree()
    raw["project"]["metric"]["name"] = metric
    found = analysed(raw)
    assert bool(found.groups) == (metric != "latency_p99_ns")


def test_zero_times_are_no_numbers() -> None:
    """A stranger's file with times of zero gives no ratio and no division by zero."""
    raw = builders.tree()
    samples = raw["cases"][0]["samples"]
    for key in ("wall_ns", "user_ns", "self_ns"):
        samples[key] = [0] * len(samples[key])
    assert analysed(raw).groups == ()
