"""Two results are compared when they may be; what moved by itself decides what may be said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests import builders
from tools import changed, compare, compare_tables, result, screen
from tools.analysis import analyse
from tools.errors import UsageError
from tools.record import Result
from tools.stats import Verdict

FILE = Path("results/sqlite-query-engine/x.json")
NEW = "b" * 64
LANES = ("go", "rust", "zig")


def made(times: dict[str, int] | None = None, *, rebuilt: tuple[str, ...] = (), **changes: Any) -> Result:
    """A result; `rebuilt` programs have other bytes."""
    raw = builders.tree({**builders.TIMES, **(times or {})}, **changes)
    for name in rebuilt:
        raw["arms"][name] |= {"binary_sha256": NEW, "source_sha256": NEW}
    return result.from_tree(raw, FILE)


def line(found: compare.Comparison, lane: str) -> compare.Line:
    """The line of a lane."""
    return next(one for one in found.lines if one.b == lane)


def test_the_same_twice_is_a_tie() -> None:
    """Nothing changed: every lane ties with itself, and nothing is listed as changed."""
    found = compare.across(made(), made())
    assert {one.b: one.verdict for one in found.lines} == dict.fromkeys(LANES, Verdict.TIE)
    assert found.changes == ()
    assert found.regressions == []


def test_a_slower_lane_is_found() -> None:
    """30 % more time on a machine on which the others stood still; the interval holds the truth."""
    found = compare.across(made(), made({"zig": 663_000_000}, rebuilt=("zig",)))
    zig = line(found, "zig")
    assert zig.verdict is Verdict.DIFFERENT
    assert zig.ratio.low < 1.3 < zig.ratio.high
    assert zig.noise is not None
    assert found.regressions == [zig]
    assert [change.what for change in found.changes] == ["zig: sources", "zig: program"]


def test_a_faster_lane_is_no_regression() -> None:
    """Less time is shown as well, and nobody is warned."""
    found = compare.across(made(), made({"zig": 300_000_000}, rebuilt=("zig",)))
    assert line(found, "zig").verdict is Verdict.DIFFERENT
    assert found.regressions == []


def test_a_machine_that_moved_says_nothing() -> None:
    """The peer is the same program and needs 20 % more: a lane that needs 30 % more may be as good as before."""
    found = compare.across(made(), made({"zig": 663_000_000, "sqlite3": 1_200_000_000}, rebuilt=LANES))
    zig = line(found, "zig")
    assert zig.verdict is Verdict.WITHHELD
    assert zig.noise_of == "sqlite3, unchanged"
    assert found.regressions == []


def test_without_an_unchanged_program_nothing_is_said() -> None:
    """When everything was rebuilt, nobody knows what the machine did."""
    found = compare.across(made(), made({"zig": 663_000_000}, rebuilt=(*LANES, "sqlite3")))
    assert line(found, "zig").verdict is Verdict.WITHHELD
    assert line(found, "zig").noise is None


def test_other_repeats_are_compared_an_item() -> None:
    """A run of twice the repeats takes twice the time, and the lanes tie."""
    twice = builders.case({name: 2 * ns for name, ns in builders.TIMES.items()}, repeats=20)
    for columns in (twice["samples"], twice["warmups"]):
        columns["items"] = [200] * len(columns["items"])
    found = compare.across(made(), made(cases=[twice]))
    assert {one.verdict for one in found.lines} == {Verdict.TIE}
    assert {one.metric for one in found.lines} == {"ns_per_item"}
    assert [(change.what, change.a, change.b) for change in found.changes] == [("scan: repeats", "10", "20")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "b" * 12, "kernel": "6.2.0", "cpus": 4}, "differ in: kernel '6.1.0' and '6.2.0'; cpus 2 and 4"),
        ({"id": "b" * 12}, f"differ in: id {builders.ENVIRONMENT} and {'b' * 12}"),
    ],
)
def test_two_machines_are_never_divided(changes: dict[str, Any], words: str) -> None:
    """The refusal names what differs, and says how to compare instead."""
    with pytest.raises(UsageError, match="never divided") as caught:
        compare.across(made(), made(environment=builders.environment(**changes)))
    assert words in str(caught.value)
    assert "--against" in str(caught.value)
    assert caught.value.exit_code == 2


def test_jobs_of_shared_runners_are_never_divided(tmp_path: Path) -> None:
    """Two CI jobs have one environment id and two machines."""
    both = [
        result.from_tree(builders.tree(environment=builders.environment(ci=True)), tmp_path / name) for name in "ab"
    ]
    with pytest.raises(UsageError, match="two jobs on shared CI runners"):
        compare.across(both[0], both[1])


def test_two_projects_are_never_divided() -> None:
    """There is nothing to divide."""
    other = builders.tree()
    other["project"]["slug"] = "other"
    with pytest.raises(UsageError, match="two jobs"):
        compare.across(made(), result.from_tree(other, FILE))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"args": ["--y"]}, "other arguments: --x {data} and --y"),
        ({"answer_sha256": NEW}, "another answer"),
        ({"metric": "cpu_ns"}, "another metric: wall_ns and cpu_ns"),
    ],
)
def test_other_work_is_left_out(change: dict[str, Any], words: str) -> None:
    """A case that asks something else is not compared, and the reason stands there."""
    found = compare.across(made(), made(cases=[builders.case(builders.TIMES, **change)]))
    assert (found.lines, found.left_out) == ((), (("scan", words),))
    with pytest.raises(UsageError, match="nothing to compare: scan: "):
        compare.something(found)


def test_other_inputs_are_left_out() -> None:
    """Another workload of the same name is other work."""
    workloads = {"bench": {"sha256": NEW, "bytes": 1000, "seed": 2, "size": {"rows": 10}}}
    found = compare.across(made(), made(workloads=workloads))
    assert found.left_out == (("scan", f"other inputs: {'a' * 12} and {'b' * 12}"),)


def test_a_lane_that_failed_is_left_out_with_its_reason() -> None:
    """A lane without a verdict on one side is named."""
    case = builders.case({name: ns for name, ns in builders.TIMES.items() if name != "zig"})
    case["states"]["zig"] = {"state": "verify-failed", "reason": "off by one"}
    found = compare.across(made(), made(cases=[case]))
    assert found.left_out == (("scan: zig", "zig is verify-failed: off by one"),)
    assert [one.b for one in found.lines] == ["go", "rust"]


def test_cases_and_lanes_can_be_chosen() -> None:
    """Unknown names list the known ones."""
    cases = [builders.case(builders.TIMES), builders.case(builders.TIMES, "sort")]
    found = compare.across(made(cases=cases), made(cases=cases), ["sort"], ["zig"])
    assert [(one.case, one.b) for one in found.lines] == [("sort", "zig")]
    with pytest.raises(UsageError, match=r"no case 'x' .known: scan, sort."):
        compare.across(made(cases=cases), made(cases=cases), ["x"])
    with pytest.raises(UsageError, match=r"no lane 'cobol' .known: go, rust, zig."):
        compare.across(made(), made(), (), ["cobol"])


def test_inside_one_result_rounds_are_paired() -> None:
    """Two programs of one run are compared as the tables do it."""
    one = made()
    (found,) = compare.within(one, [("rust", "go")]).lines
    expected = analyse(one, one.cases[0]).pairs["go", "rust"]
    assert (found.ratio, found.verdict) == (expected.ratio, expected.verdict)
    assert found.slower


def test_before_and_after_variants_are_found() -> None:
    """A lane that is the baseline of another stands before it."""
    raw = builders.tree()
    raw["arms"]["go"]["baseline_of"] = "zig"
    one = result.from_tree(raw, FILE)
    assert compare.baselines(one) == [("go", "zig")]
    assert not compare.within(one, compare.baselines(one)).regressions


def test_unknown_programs_list_the_known() -> None:
    """A name that the result does not have is a usage error; two yardsticks are not compared."""
    with pytest.raises(UsageError, match=r"no program 'cobol' .known: go, rust, zig, sqlite3, null."):
        compare.within(made(), [("rust", "cobol")])
    found = compare.within(made(), [("sqlite3", "null")])
    assert "yardsticks" in found.left_out[0][1]


def test_json_has_only_what_json_has() -> None:
    """Open intervals become null; the rest is plain."""
    few = builders.case(builders.TIMES, samples=builders.columns(builders.TIMES, rounds=3))
    text = json.dumps(compare.across(made(cases=[few]), made(cases=[few])).as_json(), allow_nan=False)
    ratio = json.loads(text)["lines"][0]["ratio"]
    assert (ratio["low"], ratio["high"], ratio["rounds"]) == (None, None, 3)
    assert compare.finite({"a": math.inf, "b": 0.0, "c": 0, "d": 1.5}) == {"a": None, "b": None, "c": 0, "d": 1.5}


def test_what_changed_is_listed() -> None:
    """Harness, surroundings, toolchains, programs that came and went."""
    before, after = builders.tree(), builders.tree()
    after["harness"]["commit"] = "c" * 40
    after["environment"]["governor"] = "performance"
    after["arms"]["go"]["toolchain"] = "go 1.2.4"
    del after["arms"]["sqlite3"]
    found = list(changed.changes(result.from_tree(before, FILE), result.from_tree(after, FILE)))
    assert [(one.what, one.a, one.b) for one in found] == [
        ("commit", None, "c" * 12),
        ("governor", None, "performance"),
        ("go: toolchain", "go 1.2.3", "go 1.2.4"),
        ("sqlite3", "sqlite3", None),
    ]


def test_the_table_says_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Cost of both, factor, interval, verdict and noise stand in one line; a log has no control characters."""
    compare_tables.show(compare.across(made(), made({"zig": 663_000_000}, rebuilt=("zig",))), screen.console())
    out = capsys.readouterr().out
    zig = next(each for each in out.splitlines() if " zig " in each)
    assert "1.30x slower" in zig
    assert "different" in zig
    assert "Mann-Whitney" in out
    assert "zig: sources" in out
    assert "\x1b" not in out


def test_markdown_is_escaped() -> None:
    """Names from a file are text, also on GitHub."""
    found = compare.Comparison("a", "b", "m", (), (), (("<b>x</b>", "y|z"),))
    text = compare_tables.markdown(found, "<i>")
    assert "<b>" not in text
    assert "<i>" not in text
    assert "y\\|z" in text
