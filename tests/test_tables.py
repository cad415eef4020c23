"""All documents agree with the results, or nothing is written and every difference is named."""

from __future__ import annotations

import copy
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests import builders
from tools import (
    documents,
    files,
    generators_tables,
    markdown,
    overview_tables,
    project_tables,
    result,
    rows,
    selftest_tables,
    tables,
    wording,
)
from tools.caches import ROOT
from tools.errors import DeadheatError, ProjectError, ResultError, TablesError, WriteError
from tools.selection import Evidence, Evidences, preferred_environment
from tools.tables import Roots
from tools.validate import Summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.record import Result

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = ("PLAN.md", "SUMMARY.md", "README.md")
PROJECT_README = "# SQLite\n\n<!-- deadheat:begin results -->\n<!-- deadheat:end results -->\n"
PROJECT_YAML = """
schema: 1
number: "9.1"
slug: sqlite-query-engine
alias: sqlite
title: SQLite query engine
group: "9 Data engines"
kinds: [batch]
summary: Reads SQLite files.
teaches: [b-trees]
item: {name: row, plural: rows, definition: a row read}
metric: {name: wall_ns, unit: ns, direction: lower}
lanes:
  go: {language: go, parity: &parity {library: own, threads: 1, io: mmap}}
  rust: {language: rust, parity: *parity}
  zig: {language: zig, parity: *parity}
workloads: {verify: {seed: 1, size: {rows: 1}}, bench: {seed: 2, size: {rows: 10}}}
oracle: {compare: exact}
cases:
  - {name: scan, title: the scan, headline: true, args: [], workloads: [verify, bench]}
"""


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Make a repository with the three documents and one project, without results."""
    for name in DOCUMENTS:
        shutil.copy(REPOSITORY / name, tmp_path / name)
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(
            re.sub(
                r"(<!-- deadheat:begin.*?-->).*?<!-- deadheat:end (\w+).*?-->",
                r"\1\n<!-- deadheat:end \2 -->",
                text,
                flags=re.DOTALL,
            )
        )
    project = tmp_path / "projects" / "sqlite-query-engine"
    for lane in ("go", "rust", "zig"):
        (project / lane).mkdir(parents=True)
        (project / lane / "main").write_text(lane)
    (project / "project.yaml").write_text(PROJECT_YAML)
    (project / "README.md").write_text(PROJECT_README)
    return Roots(tmp_path)


def fresh(roots: Roots, times: dict[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    """Build a result whose lanes were made from the sources that are there."""
    raw = builders.tree(times, **changes)
    for name, arm in raw["arms"].items():
        arm["source_sha256"] = None if arm["role"] == "peer" else _source(roots, arm["of"] or name)
    return raw


def _source(roots: Roots, lane: str) -> str:
    """Hash the sources of a lane."""
    return files.source_sha256(roots.root / "projects" / "sqlite-query-engine" / lane)


def store(roots: Roots, raw: dict[str, Any]) -> Path:
    """Store a result."""
    return result.write(raw, roots.root / "results")


def everything(roots: Roots) -> dict[str, bytes]:
    """Read all documents."""
    paths = [roots.root / name for name in DOCUMENTS] + [roots.root / "projects" / "sqlite-query-engine" / "README.md"]
    return {path.name if path.parent == roots.root else "project": path.read_bytes() for path in paths}


def check(roots: Roots) -> list[str]:
    """Give the lines of `tables --check`."""
    try:
        tables.check(roots)
    except TablesError as error:
        return error.message.splitlines()
    return []


def say(roots: Roots, text: str) -> None:
    """Put prose into the project's README."""
    (roots.root / "projects" / "sqlite-query-engine" / "README.md").write_text(PROJECT_README + "\n" + text + "\n")


def test_without_results(roots: Roots) -> None:
    """An empty repository renders: all 31 systems are planned or unmeasured, and a second run changes nothing."""
    outcome = tables.tables(roots=roots)
    assert len(outcome.written) == 5
    text = everything(roots)["PLAN.md"].decode()
    assert text.count("| planned |") == 30
    assert text.count("| unmeasured |") == 1
    assert tables.tables(roots=roots).written == []
    assert check(roots) == []


def test_with_a_result(roots: Roots) -> None:
    """All four documents show the same numbers, and the check agrees afterwards."""
    store(roots, fresh(roots, {**builders.TIMES, "zig": 800_000_000}))
    tables.tables(roots=roots)
    text = {name: content.decode() for name, content in everything(roots).items()}
    assert "| done | **Rust** | 899 ms | 501 ms |" in text["PLAN.md"]
    assert "| Rust | 1 | 0 | 1 | 1 | 0 | 1 |" in text["SUMMARY.md"]
    assert "**Rust**" in text["README.md"]
    assert re.search(r"\| 3 \| Go \| 899 ms \|.*1\.80x \[1\.\d+, 1\.\d+\] \| different", text["project"])
    assert check(roots) == []


def test_the_picture_follows_the_data(roots: Roots) -> None:
    """The picture is valid XML made from the newest results, and the check notices an old one."""
    raw = fresh(roots)
    raw["cases"][0]["title"] = "a & b < c \u202e" + "long " * 20
    store(roots, raw)
    tables.tables(roots=roots)
    drawn = roots.root / "docs" / "standings.svg"
    elements = list(ET.fromstring(drawn.read_bytes()).iter())  # noqa: S314 - our own file
    texts = [element.text or "" for element in elements if element.tag.endswith("text")]
    assert texts[0].startswith("SQLite query engine: a & b < c  long")
    assert texts[0].endswith("\u2026")
    assert texts[1:3] == ["Rust", "501 ms"]
    assert texts[-2:] == ["sqlite3", "1.00 s"]
    assert sum(element.tag.endswith("rect") for element in elements) == 4
    drawn.write_text("<svg/>")
    assert check(roots) == ["docs/standings.svg:1: the picture is outdated"]


def test_a_tie_is_nobodys_win(roots: Roots) -> None:
    """Lanes that share the first place are counted as tied, and neither as winner."""
    store(roots, fresh(roots))
    tables.tables(roots=roots)
    text = everything(roots)["SUMMARY.md"].decode()
    assert "| Rust | 0 | 1 | 1 |" in text
    assert "| Zig | 0 | 1 | 1 |" in text
    assert "| Go | 0 | 0 | 1 |" in text


def test_check_writes_nothing(roots: Roots) -> None:
    """The check reports what is outdated with file and line and touches no file, not even the index."""
    store(roots, fresh(roots))
    before = everything(roots)
    assert any(re.fullmatch(r"PLAN\.md:\d+: block plan is outdated", line) for line in check(roots))
    assert everything(roots) == before
    assert not roots.index.exists()


def test_one_bad_result_stops_everything(roots: Roots) -> None:
    """A single broken result file means that no document changes, and all problems of all files are listed."""
    store(roots, fresh(roots))
    folder = roots.root / "results" / "sqlite-query-engine"
    (folder / "a.json").write_text("{")
    (folder / "b.json").write_text("[]")
    before = everything(roots)
    with pytest.raises(ResultError) as caught:
        tables.tables(roots=roots)
    assert len(caught.value.message.splitlines()) >= 2
    assert everything(roots) == before


def test_one_bad_document_stops_everything(roots: Roots) -> None:
    """Broken markers in two documents are both named, and the good documents stay as they are."""
    store(roots, fresh(roots))
    (roots.root / "PLAN.md").write_text("# no block\n")
    say(roots, "<!-- deadheat:begin plan -->")
    before = everything(roots)
    with pytest.raises(TablesError) as caught:
        tables.tables(roots=roots)
    assert caught.value.message.splitlines() == [
        "PLAN.md:1: block plan is missing",
        "projects/sqlite-query-engine/README.md:6: block plan of line 6 is not closed",
    ]
    assert everything(roots) == before


def test_a_hand_edit_is_not_overwritten(roots: Roots) -> None:
    """An edit inside a block stops the run with file and line; --force replaces it."""
    tables.tables(roots=roots)
    plan = roots.root / "PLAN.md"
    plan.write_text(plan.read_text().replace("| planned |", "| done |", 1))
    before = everything(roots)
    with pytest.raises(TablesError, match=r"PLAN\.md:\d+: block plan was edited by hand"):
        tables.tables(roots=roots)
    assert everything(roots) == before
    assert any("edited by hand" in line for line in check(roots))
    tables.tables(roots=roots, force=True)
    assert check(roots) == []


def test_stale_lanes_are_marked(roots: Roots) -> None:
    """When the sources of a lane change, its cells are marked, the row is stale, and it wins nothing."""
    store(roots, fresh(roots, {**builders.TIMES, "zig": 300_000_000}))
    (roots.root / "projects" / "sqlite-query-engine" / "zig" / "main").write_text("better")
    tables.tables(roots=roots)
    text = everything(roots)
    assert "stale: zig" in text["PLAN.md"].decode()
    assert "301 ms \u2020" in text["PLAN.md"].decode()
    assert "501 ms |" in text["PLAN.md"].decode()
    assert "*No results that count yet.*" in text["SUMMARY.md"].decode()
    place = "results/sqlite-query-engine/20261120T205030Z_0123456789ab.json:1"
    assert check(roots) == [f"{place}: stale: the sources of zig have changed since this result"]


def test_a_partial_result_wins_nothing(roots: Roots) -> None:
    """A result without one of the lanes, or one that was interrupted, is called partial and counts for nobody."""
    partial = fresh(roots, {"go": 900_000_000, "rust": 500_000_000, "null": 500_000_000})
    interrupted = fresh(roots, {**builders.TIMES, "zig": 800_000_000})
    interrupted["cases"][0]["stop"] = "interrupted"
    for raw, status in ((partial, "partial: without zig"), (interrupted, "partial: interrupted")):
        shutil.rmtree(roots.root / "results", ignore_errors=True)
        store(roots, raw)
        tables.tables(roots=roots)
        assert f"| {status} | **Rust** |" in everything(roots)["PLAN.md"].decode()
        assert "*No results that count yet.*" in everything(roots)["SUMMARY.md"].decode()


def test_shared_runners_must_agree(roots: Roots) -> None:
    """A verdict from CI runners counts only when three jobs about the same sources say the same."""
    say(roots, "<!-- deadheat:claim sqlite scan winner rust -->Rust wins.<!-- /deadheat -->")
    seen = []
    for day, zig_ns in ((1, 800_000_000), (2, 800_000_000), (3, 505_000_000), (4, 800_000_000)):
        raw = fresh(roots, {**builders.TIMES, "zig": zig_ns}, created_at=f"2026-11-0{day}T00:00:00Z")
        raw["environment"]["ci"] = True
        store(roots, raw)
        tables.tables(roots=roots)
        plan = everything(roots)["PLAN.md"].decode()
        seen.append(re.findall(r"\| done \| (.*?) \|", plan)[0])
        assert bool(check(roots)) == (day < 4)
    assert seen == ["Rust (1 of 3 CI jobs)", "Rust (2 of 3 CI jobs)", "tie: Rust, Zig (1 of 3 CI jobs)", "**Rust**"]
    assert "| Rust | 1 | 0 | 1 |" in everything(roots)["SUMMARY.md"].decode()


def test_an_invalid_load_is_nobodys_fault(roots: Roots) -> None:
    """A case whose generator was too slow has no numbers, and the status blames the load and no lane."""
    raw = fresh(roots)
    other = {**copy.deepcopy(raw["cases"][0]), "name": "group-by", "headline": False}
    other["states"] = {arm: {"state": "load-invalid", "reason": "the generator was late"} for arm in other["states"]}
    raw["cases"].append(other)
    store(roots, raw)
    tables.tables(roots=roots)
    text = everything(roots)
    assert "| load invalid: group-by | tie: Rust, Zig |" in text["PLAN.md"].decode()
    assert "| - | Go | **load-invalid**: the generator was late |" in text["project"].decode()


def test_a_failed_lane_is_shown(roots: Roots) -> None:
    """A lane without a verdict has a row with its state and reason, and the project's status says so."""
    raw = fresh(roots)
    raw["cases"][0]["states"]["go"] = {"state": "run-failed", "reason": "digest differs | <b>"}
    store(roots, raw)
    tables.tables(roots=roots)
    text = everything(roots)
    assert "| - | Go | **run-failed**: digest differs \\| &lt;b&gt; |" in text["project"].decode()
    assert "failed: go" in text["PLAN.md"].decode()


def test_several_cases_begin_with_one_line_each(roots: Roots) -> None:
    """Who won each case is seen at a glance; a project of one case needs no such table."""
    raw = fresh(roots)
    store(roots, raw)
    tables.tables(roots=roots)
    assert "| Job | Case | Winner |" not in everything(roots)["project"].decode()
    raw["cases"].append(
        {**copy.deepcopy(raw["cases"][0]), "name": "second", "title": "the second | job", "headline": False}
    )
    raw["created_at"] = "2027-01-01T00:00:00Z"
    store(roots, raw)
    tables.tables(roots=roots)
    text = everything(roots)["project"].decode()
    assert "| Job | Case | Winner |" in text
    assert re.search(r"\| the second \\\| job \| `second` \| [^|]+ \| [\d.]+ \w+ \|", text)


def test_two_regimes_show_their_rounds(roots: Roots) -> None:
    """Where the rounds of a ratio fall into two groups, the table says so and shows every round."""
    raw = fresh(roots, {**builders.TIMES, "zig": 500_000_000})
    samples = raw["cases"][0]["samples"]
    for index, (arm, turn) in enumerate(zip(samples["arm"], samples["round"], strict=True)):
        if arm == "zig" and turn % 2:
            samples["wall_ns"][index] = samples["wall_ns"][index] * 3 // 2
            samples["flags"][index] = ["noisy"]
    store(roots, raw)
    tables.tables(roots=roots)
    text = everything(roots)["project"].decode()
    assert "; 6 noisy runs; " in text
    assert "unresolved; tie without noisy rounds; two regimes |" in text or "two regimes |" in text
    assert re.search(r"Two regimes, Zig over Rust: ratio of medians [\d.]+x; round by round( [\d.]+){12}\.", text)


def test_values_follow_the_data(roots: Roots) -> None:
    """Numbers in prose are rewritten from the newest result, and a wrong one fails the check by name."""
    say(roots, "Zig takes <!-- deadheat:value sqlite scan ratio zig/rust -->9x<!-- /deadheat --> as long as Rust,"
               " <!-- deadheat:value sqlite headline median zig -->?<!-- /deadheat -->,"
               " and weighs <!-- deadheat:value sqlite binary zig -->?<!-- /deadheat -->.")  # fmt: skip
    tables.tables(roots=roots)
    assert b">not measured<" in everything(roots)["project"]
    store(roots, fresh(roots))
    line = "projects/sqlite-query-engine/README.md"
    assert any(text.startswith(line) and "value sqlite scan ratio zig/rust is '1.02x'" in text for text in check(roots))
    tables.tables(roots=roots)
    assert re.search(rb">1\.02x<.* as long as Rust, .*>512 ms<.*>1\.43 MiB<", everything(roots)["project"])
    assert check(roots) == []


CLAIMS = {
    "winner rust": (False, False, True),
    "tie rust zig": (True, False, False),
    "tie zig rust": (True, False, False),
    "faster rust go": (True, True, True),
    "faster go rust": (False, False, False),
    "faster rust zig": (False, False, True),
    "ratio-above go/rust 1.5": (True, True, True),
    "ratio-below go/rust 1.5": (False, False, False),
    "beats-peer rust sqlite3": (True, False, True),
    "memory-below rust 4": (True, True, True),
    "memory-below rust 2": (False, False, False),
}


@pytest.mark.parametrize("condition", CLAIMS)
def test_claims(roots: Roots, condition: str) -> None:
    """Every condition of the closed set holds exactly when the data say so: a tie, a noisy run, a clear winner."""
    say(roots, f"<!-- deadheat:claim sqlite scan {condition} -->So it is.<!-- /deadheat -->")
    quiet, winner = builders.TIMES, {**builders.TIMES, "zig": 800_000_000}
    noisy = {**builders.TIMES, "null": 600_000_000, "zig": 540_000_000, "go": 1_900_000_000, "sqlite3": 700_000_000}
    for times, expected in zip((quiet, noisy, winner), CLAIMS[condition], strict=True):
        shutil.rmtree(roots.root / "results", ignore_errors=True)
        store(roots, fresh(roots, times))
        failing = [line for line in check(roots) if "So it is." in line]
        assert bool(failing) != expected or (times is noisy and condition == "faster rust go"), failing


def test_a_claim_without_data_fails(roots: Roots) -> None:
    """A sentence may not stand on a result that does not exist, and its own text is never rewritten."""
    say(roots, "<!-- deadheat:claim sqlite scan winner zig -->Zig wins.<!-- /deadheat -->")
    tables.tables(roots=roots)
    (line,) = check(roots)
    assert line.startswith("projects/sqlite-query-engine/README.md:9: the data no longer say 'Zig wins.'")
    assert line.endswith("(sqlite scan winner zig): there is no result")


@pytest.mark.parametrize(
    "marker",
    ["value oracle scan ratio a/b", "value sqlite none ratio go/rust", "value sqlite scan beauty go", "value sqlite",
     "value sqlite scan ratio go", "value sqlite scan median perl", "value sqlite scan ratio",
     "value sqlite scan median", "value sqlite scan winner rust", "claim sqlite scan fun rust",
     "claim sqlite scan ratio-above go/rust", "claim sqlite scan ratio-above go/rust x", "claim sqlite scan faster go",
     "claim sqlite scan beats-peer go perl"],
)  # fmt: skip
def test_unknown_words_are_errors(roots: Roots, marker: str) -> None:
    """A value or claim that names nothing known is an error with file and line, and nothing is written."""
    store(roots, fresh(roots))
    say(roots, f"<!-- deadheat:{marker} -->x<!-- /deadheat -->")
    with pytest.raises(TablesError, match=r"README\.md:\d+: "):
        tables.tables(roots=roots)


def test_newest_docker_result_speaks(roots: Roots) -> None:
    """A newer host result does not replace a Docker one, a newer Docker one does, and a partial one does not."""
    host = fresh(roots, created_at="2026-11-23T00:00:00Z")
    host["environment"].update(runner="host", id="b" * 12)
    partial = fresh(roots, {"rust": 1_000_000_000, "null": 1_000_000_000}, created_at="2026-11-24T00:00:00Z")
    old = fresh(roots, created_at="2026-11-21T00:00:00Z")
    new = fresh(roots, {**builders.TIMES, "zig": 700_000_000}, created_at="2026-11-22T00:00:00Z")
    chosen = []
    for raw in (host, old, new, partial):
        store(roots, raw)
        evidences = tables.collect(roots)
        evidence = evidences.of(evidences.row("sqlite"))
        assert evidence is not None
        chosen.append(evidence.result.created_at[8:10])
    assert chosen == ["23", "21", "22", "22"]


def test_only_the_chosen_result_is_read(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many results there are, and however often tables ask, one file a project is read again."""
    for day in range(1, 21):
        store(roots, fresh(roots, created_at=f"2026-10-{day:02}T00:00:00Z"))
    tables.tables(roots=roots)
    read = []
    real = result.load

    def counted(path: Path) -> Result:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(result, "load", counted)
    assert check(roots) == []
    assert read == ["20261020T000000Z_0123456789ab.json"]


def test_preferred_environment() -> None:
    """The Docker environment that covers most projects is preferred; host results never are."""

    def made(environment: str, slug: str, runner: str, day: int) -> Summary:
        return Summary(
            Path("x"), slug, f"2026-11-{day:02}", environment, runner, "bench", (), (), ci=False, complete=True
        )

    many = [
        made("a", "x", "docker", 1),
        made("a", "y", "docker", 1),
        made("b", "x", "docker", 9),
        made("c", "x", "host", 9),
    ]
    assert preferred_environment(many) == "a"
    assert preferred_environment(many[2:]) == "b"
    assert preferred_environment(many[3:]) is None


def test_means_over_systems(roots: Roots) -> None:
    """A geometric mean needs two systems; each ratio comes from inside one result."""
    store(roots, fresh(roots))
    tables.tables(roots=roots)
    assert "*A mean needs at least 2 systems" in everything(roots)["SUMMARY.md"].decode()
    first = roots.root / "projects" / "sqlite-query-engine"
    second = roots.root / "projects" / "csv-stream-aggregator"
    shutil.copytree(first, second)
    text = (first / "project.yaml").read_text().replace("sqlite-query-engine", "csv-stream-aggregator")
    (second / "project.yaml").write_text(text.replace("alias: sqlite", "alias: csv").replace('"9.1"', '"9.2"'))
    (second / "README.md").write_text(PROJECT_README)
    raw = fresh(roots, {**builders.TIMES, "go": 3_600_000_000})
    raw["project"].update(slug="csv-stream-aggregator", number="9.2")
    store(roots, raw)
    tables.tables(roots=roots)
    shown = everything(roots)["SUMMARY.md"].decode()
    assert re.search(r"\| Go over Rust \| 2 \| 3\.\d\dx \| \[3\.\d\d, 3\.\d\d\] \|", shown)  # sqrt(1.8 x 7.2)
    assert "| Rust over Zig | 2 | 0.98x |" in shown


def test_groups_of_unequal_parity_are_named(roots: Roots) -> None:
    """Lanes of another parity have a group of their own in the same table, and the table says what differs."""
    raw = fresh(roots)
    raw["arms"]["zig"]["parity"]["threads"] = 2
    raw["environment"].update(virtualization=None, engine=None, ci=True)
    del raw["arms"]["null"]
    case = raw["cases"][0]
    del case["states"]["null"], case["memory"]["null"]
    times = {name: ns for name, ns in builders.TIMES.items() if name != "null"}
    case.update(samples=builders.columns(times), warmups=builders.columns(times, rounds=1))
    store(roots, raw)
    tables.tables(roots=roots)
    text = everything(roots)["project"].decode()
    assert "A: own, 1 thread, mmap; B: own, 2 threads, mmap." in text
    assert "| B1 | Zig |" in text
    assert "no null arm" in text
    assert "withheld" in text
    assert "shared CI runner" in text


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("rust", {}, "Rust"),
        ("rust-baseline", {"language": "rust"}, "Rust (baseline)"),
        ("rust-x", {"language": "rust", "variant": "simd"}, "Rust (simd)"),
        ("zig-stdlib", {"language": "zig", "variant": "stdlib"}, "Zig (stdlib)"),
        ("swift", {}, "swift"),
        ("go", {"title": "Go with *assembly*"}, "Go with \\*assembly\\*"),
    ],
)
def test_names_of_programs(name: str, changes: dict[str, Any], expected: str) -> None:
    """Two lanes of one language never look alike, and a title is text."""
    raw = builders.tree()
    raw["arms"] = {name: builders.arm(name, **{"title": name, **changes})}
    raw["cases"] = []
    assert wording.program(result.from_tree(raw, Path("x.json")).arms[name]) == expected


VALUES = {
    "sqlite scan interval go/rust": r"\[1\.\d\d, 1\.\d\d\]",
    "sqlite scan winner": "Rust and Zig",
    "sqlite scan memory go": "3.00 MiB",
    "sqlite scan throughput go": "111 rows/s",
    "sqlite scan floor go": "not measured",
    "sqlite startup go": "1.00 ms",
    "sqlite build go": "9.00 s",
    "sqlite lines go": "700",
}


@pytest.mark.parametrize("words", VALUES)
def test_every_value(roots: Roots, words: str) -> None:
    """Each value of the list says what its name says."""
    store(roots, fresh(roots))
    say(roots, f"It is <!-- deadheat:value {words} -->?<!-- /deadheat -->.")
    tables.tables(roots=roots)
    assert re.search(f"-->{VALUES[words]}<!--", everything(roots)["project"].decode())


def test_a_damaged_list_of_rows(tmp_path: Path) -> None:
    """A row with a missing or unknown field is an error of ours that names the file."""
    path = tmp_path / "rows.yaml"
    for damage in ("rows: [{number: '1'}]", "rows: [1]", "lines: []", "rows: [{number: '1', kinds: [], more: 1}]"):
        path.write_text(damage)
        with pytest.raises(ProjectError, match="a row is damaged"):
            rows.planned(path)


def test_the_31_rows() -> None:
    """The list of planned systems has 31 rows with different slugs, aliases and numbers."""
    listed = rows.planned()
    assert len(listed) == 31
    for key in ("slug", "alias", "number"):
        assert len({getattr(row, key) for row in listed}) == 31


HOSTILE = st.text(max_size=40) | st.sampled_from([
    "<script>alert(1)</script>", "<!-- deadheat:end plan -->", "a | b | c", "[x](https://evil.invalid)", "![x](y)",
    "`code`", "**bold** _it_ ~~s~~", "https://evil.invalid", "www.evil.invalid", "a\n\n# heading", "\u202eabc\u202c",
    "&lt;b&gt;", "&#60;b&#62;", "\\| x", "\\", "x\\", "a" * 10_000, "| a |\n|---|\n", "-->", "<!--", "@someone", "$x$",
    "\x00\x1b[31m",
    "`" * 7, "[a]: b", "<a@b.c>", "mailto:a@b.c", "_www.a.b_", "漢字 😀 e\u0301",
])  # fmt: skip
ALLOWED = {"table_open", "thead_open", "tr_open", "th_open", "inline", "th_close", "tr_close", "thead_close",
           "tbody_open", "td_open", "td_close", "tbody_close", "table_close"}  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(value=HOSTILE)
def test_no_text_breaks_out_of_its_cell(value: str) -> None:
    """Whatever a text holds, Markdown sees a table of the same shape whose cell is plain text."""
    shown = markdown.table(["a", "b"], [[markdown.text(value), "1"], ["x", "2"]])
    tokens = MarkdownIt("commonmark", {"linkify": False}).enable(["table", "strikethrough"]).parse(shown)
    assert {token.type for token in tokens} == ALLOWED
    assert sum(token.type == "td_open" for token in tokens) == 4
    kinds = {child.type for token in tokens for child in token.children or []}
    assert kinds <= {"text", "text_special"}
    cell = [token for token in tokens if token.type == "inline"][2]
    plain = "".join(child.content for child in cell.children or [])
    assert plain.isprintable()
    assert not re.search(r"@\S", plain)  # GitHub makes links of addresses and bare hosts (checked with cmark-gfm)
    assert not re.search(r"(?i)www\.|://", shown)
    assert len(plain) <= markdown.MAX_CELL


def _poison(raw: Any, value: str) -> Any:
    """Replace every free text of a tree."""
    for arm in raw["arms"].values():
        arm.update(title=value, toolchain=value, reason=value, variant=None, state="excluded")
        arm["verification"].update(state="failed", failures=[{"check": value, "reason": value}])
    for key in ("os", "kernel", "cpu_model", "cpu_level", "engine", "virtualization"):
        raw["environment"][key] = value
    raw["environment"]["isolation"] = dict.fromkeys(raw["environment"]["isolation"], value)
    raw["project"]["item"].update(name=value, plural=value, definition=value)
    raw["harness"]["version"] = value
    raw["cases"][0].update(title=value, floor_basis=value, floor_ns=1.0)
    raw["cases"][0]["states"]["go"] = {"state": "run-failed", "reason": value}
    return raw


@settings(max_examples=60, deadline=None)
@given(value=HOSTILE)
def test_no_result_injects_anything_anywhere(value: str) -> None:
    """With a hostile text in every field, even past validation, no table has HTML, a link or a marker."""
    loaded: Result = result.from_tree(_poison(builders.tree(), value), Path("x.json"))
    evidence = Evidence(loaded, frozenset({"go"}))
    evidences = Evidences([], [])
    evidences.of = lambda row, _="bench": evidence if row.alias == "sqlite" else None  # type: ignore[method-assign, assignment]  # a stand-in
    every: list[Callable[[Evidences], str]] = list(tables.OVERVIEW.values())
    for text in [project_tables.results(evidence), *(block(evidences) for block in every)]:
        assert "<" not in text.replace("<br>", "")
        for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
            assert token.type not in {"html_block", "code_block", "fence", "blockquote_open", "hr"}
            kinds = {child.type for child in token.children or []}
            assert not kinds & {"html_inline", "link_open", "image", "s_open", "hardbreak"}
    assert overview_tables.plan(evidences).count("\n| ") == 31 + 2 * 11


def _run_limited(roots: Roots, limit: int | None) -> subprocess.CompletedProcess[str]:
    """Run `tables` in a process whose files may not grow past a limit."""

    def limit_files() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    code = (
        "import sys; from pathlib import Path; from tools import tables; from tools.errors import DeadheatError\n"
        "try: tables.tables(roots=tables.Roots(Path(sys.argv[1])))\n"
        "except DeadheatError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", code, str(roots.root)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, preexec_fn=limit_files)


def test_a_full_disk_changes_no_document(roots: Roots) -> None:
    """When one document does not fit, none is replaced, one line says which, and no temporary file stays."""
    store(roots, fresh(roots))
    before = everything(roots)
    done = _run_limited(roots, 3000)
    assert done.returncode == 1
    assert re.fullmatch(r"cannot write \S+\.md: File too large \(.*\)\n", done.stderr), done.stderr
    assert everything(roots) == before
    assert files.leftovers(roots.root) == []
    assert _run_limited(roots, None).returncode == 0
    assert check(roots) == []


def test_a_failing_rename_changes_no_document(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a document cannot be replaced, those replaced before it get their old bytes back."""
    store(roots, fresh(roots))
    before = everything(roots)
    real = Path.replace

    def fails_once(self: Path, target: Path) -> Path:
        if target.name == "SUMMARY.md" and b"0123456789ab" in self.read_bytes():
            raise OSError(30, "Read-only file system")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fails_once)
    with pytest.raises(WriteError, match=r"SUMMARY\.md: Read-only file system"):
        tables.tables(roots=roots)
    assert everything(roots) == before
    assert files.leftovers(roots.root) == []


KILL_ME = """
import sys
from pathlib import Path
from tools import tables
roots = tables.Roots(Path(sys.argv[1]))
result = next((roots.root / "results").rglob("*.json"))
other = roots.root / "aside.json"
print("ready", flush=True)
while True:
    result.rename(other)
    tables.tables(roots=roots)
    other.rename(result)
    tables.tables(roots=roots)
"""


@pytest.mark.slow
def test_kill_9_corrupts_no_document(roots: Roots) -> None:
    """Killed at any moment, each document is whole (old or new), and the next run makes them agree again."""
    stored = store(roots, fresh(roots))
    whole: dict[str, set[bytes]] = {}
    for name, content in everything(roots).items():
        whole[name] = {content}
    tables.tables(roots=roots)
    for name, content in everything(roots).items():
        whole[name].add(content)
    content = stored.read_bytes()
    stored.unlink()
    tables.tables(roots=roots)
    for name, text in everything(roots).items():
        whole[name].add(text)
    stored.write_bytes(content)
    for turn in range(20):
        command = [sys.executable, "-c", KILL_ME, str(roots.root)]
        writer = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.05 + turn * 0.009)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        for name, text in everything(roots).items():
            assert text in whole[name]
        if (roots.root / "aside.json").exists():
            (roots.root / "aside.json").rename(stored)
    tables.tables(roots=roots)
    assert check(roots) == []
    assert json.loads(stored.read_bytes())["schema_version"] == 1


def _as_nobody(work: Callable[[], object]) -> str:
    """Do something in a child without any rights (if we are root) and give the error that it ends in."""
    read_end, write_end = os.pipe()
    if (child := os.fork()) == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            work()
        except DeadheatError as error:
            os.write(write_end, str(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end) as pipe:
        return pipe.read()


def test_a_read_only_tree_is_one_line(roots: Roots) -> None:
    """A user who may not write gets one line, and every document stays."""
    if os.geteuid() == 0 and any(not parent.stat().st_mode & 0o001 for parent in Path(tables.__file__).parents):
        pytest.skip("root's checkout lies where the user nobody cannot read it")
    store(roots, fresh(roots))
    before = everything(roots)
    for path in [roots.root.parent.parent, roots.root.parent]:
        path.chmod(0o755)
    roots.root.chmod(0o555)
    said = _as_nobody(lambda: tables.tables(roots=roots))
    assert re.fullmatch(r"cannot write \S+\.md: Permission denied \(.*\)", said), said
    assert everything(roots) == before
    roots.root.chmod(0o755)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0.00 ns"), (999.4, "999 ns"), (999.6, "1.00 \u00b5s"), (1e6, "1.00 ms"), (99_960_000, "100 ms"),
     (1.5e9, "1.50 s"), (9.996e9, "10.0 s"), (3.6e12, "3,600 s")],
)  # fmt: skip
def test_durations(value: float, expected: str) -> None:
    """Times have three digits and the unit that a person would choose."""
    assert markdown.duration(value) == expected


@pytest.mark.parametrize("page", [selftest_tables, generators_tables], ids=lambda page: str(page.PAGE))
def test_a_page_about_ourselves_has_every_block(page: Any) -> None:
    """The committed page has each block once, and no other."""
    document = documents.parse((ROOT / page.PAGE).read_text(), page.PAGE)
    assert document.problems == []
    assert sorted(block.name for block in document.blocks) == sorted(page.BLOCKS)
