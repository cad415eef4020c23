"""What the validator finds, and that strangers' files end in lines, never in tracebacks."""

from __future__ import annotations

import json
import os
import random
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import builders, sites
from tools import checks, result
from tools.errors import ResultError
from tools.validate import MANY, examine, validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Tree = dict[str, Any]


def problems_of(folder: Path, raw: Tree) -> list[str]:
    """Check a tree as if it were stored where it belongs."""
    content = json.dumps(raw).encode()
    return [str(problem) for problem in checks.check_bytes(content, result.result_path(builders.tree(), folder))[1]]


def test_a_good_result_has_no_problems(tmp_path: Path) -> None:
    """The builder's result is valid: every later finding comes from the change that a test makes."""
    assert problems_of(tmp_path, builders.tree()) == []


def _sample(key: str, value: Any) -> Callable[[Tree], None]:
    """Change one entry of a column of the samples."""

    def change(raw: Tree) -> None:
        raw["cases"][0]["samples"][key][7] = value

    return change


def _drop_run(raw: Tree) -> None:
    """Take one run out of all columns."""
    for column in raw["cases"][0]["samples"].values():
        del column[8]


def _flag_without_state(raw: Tree) -> None:
    """Flag a run as failed although its arm counts as measured."""
    raw["cases"][0]["samples"]["flags"][0] = ["failed"]


CONTRADICTIONS: dict[str, tuple[Callable[[Tree], Any], str]] = {
    "short column": (lambda raw: raw["cases"][0]["samples"]["wall_ns"].pop(), "columns of different lengths"),
    "unknown arm": (_sample("arm", "swift"), "'swift' is not an arm"),
    "hole in a round": (_drop_run, "is missing in round 1"),
    "digest": (_sample("digest", "f" * 16), "another digest"),
    "no digest": (_sample("digest", None), "another digest"),
    "items": (_sample("items", 99), "counted 99 items, not 100"),
    "self time": (_sample("self_ns", 10**12), "more time than passed"),
    "cpu time": (_sample("user_ns", 10**12), "more CPU time than 2 cores have"),
    "exit code": (_sample("exit_code", 1), "not flagged as failed"),
    "flag without state": (_flag_without_state, "cannot count as measured"),
    "floor": (lambda raw: raw["cases"][0].update(floor_ns=600_000_000), "faster than the floor"),
    "null arm of nothing": (lambda raw: raw["arms"]["null"].update(of="perl"), "a null arm is a copy of a lane"),
    "null arm of a peer": (lambda raw: raw["arms"]["null"].update(of="sqlite3"), "a null arm is a copy of a lane"),
    "case twice": (lambda raw: raw["cases"].append(raw["cases"][0]), "case 'scan' is there twice"),
    "reference": (lambda raw: raw["plan"].update(reference="sqlite3"), "$.plan.reference: 'sqlite3' is not a lane"),
    "lane twice": (lambda raw: raw["plan"]["lanes"].append("go"), "'go' is there twice"),
    "no reason": (
        lambda raw: raw["cases"][0]["states"].update(go={"state": "excluded", "reason": None}),
        "excluded without a reason",
    ),
    "state forgotten": (lambda raw: raw["cases"][0]["states"].pop("go"), "states and arms differ: go"),
    "workload": (lambda raw: raw["cases"][0].update(workload="huge"), "'huge' is not among the workloads"),
    "unverified": (lambda raw: raw["arms"]["go"]["verification"].update(state="failed"), "did not accept it"),
    "no such day": (lambda raw: raw.update(created_at="2026-02-30T00:00:00Z"), "is not a date"),
    "other name": (lambda raw: raw["environment"].update(id="f" * 12), "belongs into a file named"),
    "other folder": (lambda raw: raw["project"].update(slug="csv"), "'csv' is not the folder"),
    "unknown lane": (lambda raw: raw["plan"]["lanes"].append("perl"), "'perl' is not a lane"),
    "planned workload": (lambda raw: raw["plan"].update(workload="huge"), "$.plan.workload"),
    "rounds": (lambda raw: raw["plan"].update(rounds_min=41), "more rounds at least than at most"),
    "copy of itself": (lambda raw: raw["arms"]["go"].update(of="rust"), "only a null arm is a copy"),
    "no parity": (lambda raw: raw["arms"]["go"].update(parity=None), "a lane has a language and a parity"),
    "own baseline": (lambda raw: raw["arms"]["go"].update(baseline_of="go"), "'go' is not another lane"),
    "passed with failures": (
        lambda raw: raw["arms"]["go"]["verification"]["failures"].append({"check": "a", "reason": "b"}),
        "passed, yet with failures",
    ),
    "memory of nobody": (
        lambda raw: raw["cases"][0]["memory"].update(perl={"max_rss_bytes": 1, "source": "rusage"}),
        "$.cases[0].memory: 'perl' is not an arm",
    ),
    "round skipped": (
        lambda raw: raw["cases"][0]["samples"].update(round=[2 * turn for turn in raw["cases"][0]["samples"]["round"]]),
        "a round is missing",
    ),
    "position twice": (_sample("position", 0), "of round 1 is taken twice"),
    "ran twice": (lambda raw: raw["cases"][0]["samples"].update(arm=["go"] * 60), "'go' ran twice in round 0"),
    "no samples": (
        lambda raw: raw["cases"][0]["samples"].update({key: [] for key in raw["cases"][0]["samples"]}),
        "'go' is measured but has no samples",
    ),
    "two headlines": (
        lambda raw: raw["cases"].append({**raw["cases"][0], "name": "b"}),
        "more than one case is the headline",
    ),
    "html": (lambda raw: raw["arms"]["go"].update(title="<b>Go</b>"), "HTML has no place"),
    "marker": (lambda raw: raw["environment"].update(os="<!-- deadheat:end plan -->"), "HTML has no place"),
    "newline after a name": (lambda raw: raw["project"].update(slug="sqlite-query-engine\n"), "breaks pattern"),
    "float for integer": (_sample("wall_ns", 1.0), "breaks type"),
    "true for integer": (_sample("wall_ns", True), "breaks type"),
    "negative": (_sample("wall_ns", -1), "$.cases[0].samples.wall_ns[7]: -1 breaks minimum"),
    "unknown flag": (_sample("flags", ["lucky"]), "breaks enum"),
    "deep flag": (_sample("flags", [["failed"]]), "breaks enum"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_every_contradiction_is_found(tmp_path: Path, name: str) -> None:
    """Each way in which a result can contradict itself is named with its place."""
    change, expected = CONTRADICTIONS[name]
    raw = builders.tree()
    change(raw)
    found = problems_of(tmp_path, raw)
    assert any(expected in line for line in found), found
    assert all("\n" not in line for line in found)


def test_flagged_runs_may_be_wrong(tmp_path: Path) -> None:
    """A run that is flagged, of an arm that lost its state, keeps its odd numbers: nothing is deleted."""
    raw = builders.tree()
    case = raw["cases"][0]
    index = case["samples"]["arm"].index("go")
    case["samples"]["digest"][index] = "f" * 16
    case["samples"]["flags"][index] = ["wrong-digest", "noisy"]
    case["states"]["go"] = {"state": "run-failed", "reason": "digest differs"}
    assert problems_of(tmp_path, raw) == []


def test_a_server_works_before_and_after_its_load_too(tmp_path: Path) -> None:
    """Users come before the clock begins and go after it: CPU time may exceed what the wall time of a load allows."""
    raw = sites.of_a_server(sites.repository(tmp_path))
    samples = raw["cases"][0]["samples"]
    samples["user_ns"][0] = samples["wall_ns"][0] * raw["environment"]["cpus"] * 2
    assert problems_of(tmp_path, raw) == []


def test_an_interrupted_run_may_end_inside_a_round(tmp_path: Path) -> None:
    """Only the last round may be incomplete, and only when the record says that the run was interrupted."""
    raw = builders.tree()
    for column in raw["cases"][0]["samples"].values():
        del column[-2:]
    assert len(problems_of(tmp_path, raw)) == 2
    raw["cases"][0]["stop"] = "interrupted"
    assert problems_of(tmp_path, raw) == []


HOSTILE = {
    "empty": b"",
    "not UTF-8": b'{"a": "\xff"}',
    "not JSON": b"{",
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "overflow": b'{"a": 1e999}',
    "long number": b'{"a": ' + b"9" * 100_000 + b"}",
    "deep": b"[" * 200_000,
    "deep and closed": b"[" * 500 + b"]" * 500,
    "deep and closed, past the recursion limit": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "duplicate key": b'{"a": 1, "a": 2}',
    "half a surrogate": b'{"a": "\\ud800"}',
    "BOM": b"\xef\xbb\xbf{}",
    "null": b"null",
    "list": b"[]",
    "string": b'"x"',
    "cases of another kind": b'{"cases": {"samples": 1}}',
    "columns of another kind": b'{"cases": [{"samples": {"arm": [{}, [], null, 1]}}, 3, null]}',
    "too large": b" " * (checks.MAX_BYTES + 1),
    "key with control bytes": json.dumps({"\x1b[2J\n": 1}).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_end_in_lines(tmp_path: Path, name: str) -> None:
    """Whatever the bytes are, the answer is at least one printable line that starts with the file's path."""
    path = tmp_path / "x" / "20261120T205030Z_0123456789ab.json"
    _, found = checks.check_bytes(HOSTILE[name], path)
    assert found
    assert all(str(problem).startswith(str(path)) and str(problem).isprintable() for problem in found)


def _mutate(node: Any, value: Any, noise: random.Random) -> Any:
    """Replace one random node of a tree."""
    if isinstance(node, dict) and node and noise.random() < 0.9:
        key = noise.choice(sorted(node))
        return {**node, key: _mutate(node[key], value, noise)}
    if isinstance(node, list) and node and noise.random() < 0.9:
        place = noise.randrange(len(node))
        return [*node[:place], _mutate(node[place], value, noise), *node[place + 1 :]]
    return value


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["go", "<!-- deadheat:end x -->", "../../etc", "measured", 0, "\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, seed=st.integers(0, 2**32))
def test_no_change_of_one_node_ends_in_a_traceback(tmp_path: Path, value: Any, seed: int) -> None:
    """Any node replaced by any value is either found, or harmless enough that the result still loads."""
    raw = _mutate(builders.tree(), value, random.Random(seed))
    path = result.result_path(builders.tree(), tmp_path)
    content = json.dumps(raw).encode()
    tree, found = checks.check_bytes(content, path)
    assert all(str(problem).isprintable() for problem in found)
    if not found:
        result.from_tree(tree, path)


def _fill(folder: Path, count: int) -> None:
    """Copy one valid result under many names (the name is part of what is checked, so only one of them is right)."""
    first = builders.stored(folder)
    for number in range(count - 1):
        shutil.copy(first, first.with_name(f"{number:05d}.json"))


def test_all_problems_of_all_files_are_listed(tmp_path: Path) -> None:
    """One bad file does not hide another, and the good one is still known."""
    _fill(tmp_path, 3)
    report = examine(tmp_path, tmp_path / "index.json")
    assert [problem.path.rsplit("/", 1)[1] for problem in report.problems] == ["00000.json", "00001.json"]
    assert [summary.slug for summary in report.results] == ["sqlite-query-engine"]
    with pytest.raises(ResultError, match=r"00000\.json(.|\n)*00001\.json"):
        validate(tmp_path, tmp_path / "index.json")


def test_good_files_are_counted(tmp_path: Path) -> None:
    """Where all files are valid, their number is the answer."""
    _fill(tmp_path, 1)
    assert validate(tmp_path, tmp_path / "index.json") == 1


def test_the_second_look_reads_no_file(tmp_path: Path) -> None:
    """Work grows with what changed: 10,000 known files cost no reading at all, one changed file costs one."""
    index = tmp_path / "index.json"
    results = tmp_path / "results"
    _fill(results, 40)
    first = examine(results, index)
    assert (first.files_seen, first.files_read) == (40, 40)
    second = examine(results, index)
    assert (second.files_seen, second.files_read) == (40, 0)
    assert (second.problems, second.results) == (first.problems, first.results)
    changed = results / "sqlite-query-engine" / "00007.json"
    times = changed.stat()
    changed.write_bytes(changed.read_bytes().replace(b"Debian 12", b"Debian 13"))
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same time: still noticed
    assert examine(results, index).files_read == 1


@pytest.mark.slow
def test_ten_thousand_files(tmp_path: Path) -> None:
    """At 10,000 files the second look still reads none, and the index is one file."""
    results = tmp_path / "results"
    (results / "x").mkdir(parents=True)
    for number in range(10_000):
        (results / "x" / f"{number:05d}.json").write_bytes(b"{}")
    index = tmp_path / "index.json"
    assert examine(results, index).files_read == 10_000
    report = examine(results, index)
    assert (report.files_seen, report.files_read, len(report.problems) >= 10_000) == (10_000, 0, True)


@pytest.mark.parametrize("broken", [b"", b"[]", b"{}", b'{"rules": 1, "files": 2}', b"\xff", b"[" * 100_000])
def test_a_broken_index_only_costs_time(tmp_path: Path, broken: bytes) -> None:
    """A damaged or foreign index is ignored and made anew."""
    index = tmp_path / "index.json"
    index.write_bytes(broken)
    _fill(tmp_path / "results", 2)
    assert examine(tmp_path / "results", index).files_read == 2
    assert examine(tmp_path / "results", index).files_read == 0


def test_nothing_is_written_without_save(tmp_path: Path) -> None:
    """A look that must not write leaves no index."""
    _fill(tmp_path / "results", 1)
    examine(tmp_path / "results", tmp_path / "index.json", save=False)
    assert not (tmp_path / "index.json").exists()


def test_links_pipes_and_strays(tmp_path: Path) -> None:
    """A link, a pipe or a file at the wrong depth is a problem and is never opened; other files are not ours."""
    results = tmp_path / "results"
    real = builders.stored(tmp_path / "elsewhere")
    (results / "x").mkdir(parents=True)
    (results / "x" / "link.json").symlink_to(real)
    (results / "folder-link").symlink_to(real.parent)
    os.mkfifo(results / "x" / "pipe.json")
    (results / "stray.json").write_text("{}")
    (results / "README.md").write_text("not a result")
    (results / "x" / "folder.json").mkdir()
    report = examine(results, tmp_path / "index.json")
    found = {problem.path.rsplit("/", 1)[1]: problem.message for problem in report.problems}
    assert sorted(found) == ["folder-link", "link.json", "pipe.json", "stray.json"]
    assert found["pipe.json"] == "not a regular file"


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that cannot be seen are a problem, not an absence."""
    builders.stored(tmp_path / "results")
    real = os.scandir

    def refuses(path: str) -> Any:
        if str(path).endswith("engine"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuses)
    report = examine(tmp_path / "results", tmp_path / "index.json")
    assert [problem.message for problem in report.problems] == ["Permission denied"]


def test_many_files_are_read_on_all_cores(tmp_path: Path) -> None:
    """Past a number of new files the answer is the same, found by several processes."""
    _fill(tmp_path / "results", MANY + 1)
    report = examine(tmp_path / "results", tmp_path / "index.json")
    assert (len(report.problems), len(report.results)) == (MANY, 1)


def test_no_results_at_all(tmp_path: Path) -> None:
    """A tree without results is valid."""
    report = examine(tmp_path / "missing", tmp_path / "index.json")
    assert (report.problems, report.results) == ([], [])
