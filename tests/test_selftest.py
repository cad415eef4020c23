"""The self-test finds what it looks for, in the method and in methods broken on purpose, and its page shows it."""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import bad_lanes
from tests.fakes import FakeRunner, Script
from tools import (
    caches,
    flow,
    packages,
    runners,
    selftest_record,
    selftest_tables,
    stats,
    tables,
    toolchains,
)
from tools.errors import DeadheatError, LauncherError, ResultError, RunnerError, TablesError, ToolchainError, UsageError
from tools.launcher.protocol import LaunchReply
from tools.model import Project
from tools.selftest import main, noise, overhead, scaling, simulated, spinner, verdicts, workbench
from tools.selftest_record import Finding
from tools.stats import Noise, Verdict

ROUNDS = 12
MS = 1_000_000
MACHINE = {
    "id": "0123456789ab", "os": "Debian 12", "kernel": "6.1.0", "arch": "x86_64", "cpu_model": "Example | CPU",
    "cpus": 2, "memory_bytes": 8 << 30,
    "cpu_level": "x86-64-v3", "governor": None, "virtualization": "kvm", "ci": False,
}  # fmt: skip


def benchmark(truth: dict[str, float], measured: dict[str, float] | None = None, **changes: Any) -> dict[str, Any]:
    """A benchmark whose arms took exactly so many times 100 ms, with a per mille of movement from round to round."""
    arms = {"base": 1.0, "null": 1.0, **truth, **(measured or {})}
    moved = [1 + turn % 3 / 1000 for turn in range(ROUNDS)]
    walls = {arm: [round(100 * MS * factor * by) for by in moved] for arm, factor in arms.items()}
    return {
        "failed": None, "reference": "base", "alpha": 0.05, "claims": 1, "stop": "precision", "steal_share": 0.0,
        "noisy_runs": 0, "repeats": 10, "truth": truth, "walls_ns": walls, "hyperfine_ns": None, **changes,
    }  # fmt: skip


TWINS = {"twin-1": 1.0, "twin-2": 1.0, "twin-3": 1.0}
SLOWED = {"plus-0": 1.0, "plus-3": 1.03, "plus-15": 1.15, "plus-150": 2.5}


def record(**changes: Any) -> dict[str, Any]:
    """A whole record in which everything is as it should be."""
    step = {"files": 1000, "validate_cold": 1.0, "validate_warm": 0.1, "tables_cold": 1.2, "tables_warm": 0.3}
    later = {name: value * 10 for name, value in step.items()} | {"files": 10_000}
    return copy.deepcopy({
        "schema_version": 1, "created_at": "2026-11-21T18:00:00Z", "size": "full", "seconds": 1000.0,
        "load_at_start": 0.1,
        "harness": {"version": "0.1.0", "commit": "a" * 40, "dirty": False, "source_sha256": "b" * 64},
        "environment": MACHINE, "missing": {},
        "simulated": [{"name": "coverage", "value": 0.96, "limit": 0.94, "at_least": True, "detail": "of 1000"}],
        "same": [benchmark(TWINS, reference="twin-1")] * 2,
        "slowed": [{"load": "none", "benchmarks": [benchmark(SLOWED)]}],
        "overhead": {
            "launches": 100,
            "rounds": [{"tight": 2.8e5, "loop": 3e5, "launcher": 3.3e5, "hyperfine": 5e5, "pyperf": 9e5}],
        },
        "scaling": {"file_bytes": 40_000, "projects": 31, "steps": [step, later]},
        "lists": {"projects": 31, "seconds": {"invoke --list": [0.3, 0.31], "nox --list": [0.4]}},
        **changes,
    })  # fmt: skip


def broken(tree: dict[str, Any]) -> list[str]:
    """The names of the limits that do not hold."""
    return [finding.name for finding in selftest_record.findings(tree) if not finding.ok]


# --- on made-up times


def test_the_method_keeps_its_limits() -> None:
    """A small simulation already passes: coverage, error rates and power."""
    assert [finding for finding in simulated.findings(60, seed=3) if not finding.ok] == []


def test_the_simulation_is_reproducible() -> None:
    """The same seed gives the same findings."""
    assert simulated.findings(5, seed=9) == simulated.findings(5, seed=9)


def test_an_interval_that_is_too_narrow_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With half of the error that was promised used up twice, coverage falls below its limit."""
    monkeypatch.setattr(stats, "sign_rank", lambda count, _: count // 2)
    found = simulated.findings(60, seed=3)
    assert any(not finding.ok and finding.name.startswith("coverage") for finding in found)
    assert any(not finding.ok and finding.name.endswith("wrong") for finding in found)


def test_the_room_for_an_estimate_shrinks() -> None:
    """More trials, tighter limits."""
    assert 0.05 < selftest_record.at_most(0.05, 10_000) < selftest_record.at_most(0.05, 100)


def test_findings_stay_on_their_side() -> None:
    """A limit from below and one from above."""
    assert Finding("power", 0.96, 0.95, at_least=True).ok
    assert not Finding("errors", 0.06, 0.05, at_least=False).ok
    assert not Finding("nothing", math.nan, 0.05, at_least=False).ok


# --- what the record says


def test_a_good_record_keeps_every_limit() -> None:
    """Ties are called ties, slow-downs found, all budgets kept; the schema knows every field."""
    tree = record()
    selftest_record.refuse_problems(tree, "x")
    assert broken(tree) == []
    assert len(selftest_record.findings(tree)) == 15


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"same": [benchmark(TWINS, {"twin-2": 1.3}, reference="twin-1")]}, ["identical lanes called different"]),
        ({"slowed": [{"load": "other core", "benchmarks": [benchmark(SLOWED, {"plus-3": 1.3})]}]},
         ["slowed lanes, load other core: wrong"]),
        ({"slowed": [{"load": "none", "benchmarks": [benchmark(SLOWED, {"plus-15": 1.0})]}]},
         ["slowed lanes, load none: wrong", "slowed lanes, true ratio 1.15: different"]),
        ({"overhead": {"launches": 9, "rounds": [{"loop": 3e5, "launcher": 3.6e5}]}},
         ["launcher above the C loop, us"]),
        ({"lists": {"projects": 31, "seconds": {"nox --list": [0.6]}}}, ["nox --list with 31 projects, s"]),
    ],
    ids=["false alarm", "wrong under load", "missed", "launcher", "list"],
)  # fmt: skip
def test_each_limit_can_break(changes: dict[str, Any], names: list[str]) -> None:
    """A number on the wrong side of its limit is named, and nothing else is."""
    assert broken(record(**changes)) == names


def test_more_than_linear_is_noticed() -> None:
    """Twice the time of a file among ten times the files, and too many seconds for 10,000."""
    tree = record()
    tree["scaling"]["steps"][1]["tables_warm"] = 6.0
    assert broken(tree) == ["tables, warm: time of a file", "tables over 10000 files, warm, s"]


def test_under_load_silence_is_right() -> None:
    """A noisy null arm withholds every verdict, which is no error; with nothing beside it, the truth is missed."""
    noisy = benchmark(SLOWED, {"null": 1.08})
    assert broken(record(slowed=[{"load": "same core", "benchmarks": [noisy]}])) == []
    missed = broken(record(slowed=[{"load": "none", "benchmarks": [noisy]}]))
    assert missed == [f"slowed lanes, true ratio {truth}" for truth in ("1.00: tie", "1.03: tie", "1.15: different")]


def test_nothing_measured_breaks_nothing() -> None:
    """Stages that did not run, and benchmarks that failed, have no findings."""
    empty = dict.fromkeys(("simulated", "same", "slowed", "overhead", "scaling", "lists"))
    assert selftest_record.findings(record(**empty)) == []
    failed = benchmark(TWINS, failed="twin-1: run-failed", walls_ns={})
    assert selftest_record.findings(record(**empty | {"same": [failed]})) == []


def test_mean_and_deviation_are_read_with_the_same_bands() -> None:
    """A steady 15 % is different for hyperfine; runs that move as much leave it open; a shifted mean misleads it."""
    times = {"base": [100, 101, 99], "plus-15": [115, 116, 114], "plus-0": [130, 130, 131]}
    steady = benchmark(SLOWED, hyperfine_ns=times)
    shaken = benchmark(SLOWED, hyperfine_ns={"base": [100, 140, 99], "plus-15": [115, 90, 140]})
    said = [selftest_record.said_by_hyperfine(one, "plus-15") for one in (steady, shaken, benchmark(SLOWED))]
    assert [one and one.verdict for one in said] == [Verdict.DIFFERENT, Verdict.UNRESOLVED, None]
    misled = selftest_record.said_by_hyperfine(steady, "plus-0")
    assert misled is not None
    assert misled.wrong
    assert misled.ratio.ratio == pytest.approx(391 / 300)


def test_a_record_from_a_stranger_is_refused(tmp_path: Path) -> None:
    """What is no JSON or does not fit the schema is named with its place; no record at all is not measured yet."""
    path = tmp_path / "selftest.json"
    assert selftest_record.read(path) is None
    for content, words in [
        ("{", "not JSON"),
        (json.dumps(record(size="huge")), r"\$\.size"),
        (json.dumps({**record(), "more": 1}), "more"),
        (json.dumps(record(lists={"projects": 31, "seconds": {"x": [-1]}})), "seconds"),
    ]:
        path.write_text(content)
        with pytest.raises(ResultError, match=words):
            selftest_record.read(path)


# --- the page


def test_every_block_renders() -> None:
    """Each table has its numbers; wrong verdicts and broken limits stand out; foreign text cannot break out."""
    hyperfine = {"base": [100.0, 101.0], "plus-0": [130.0, 131.0], "plus-3": [103.0, 104.0], "plus-15": [115.0, 116.0],
                 "plus-150": [250.0, 251.0]}  # fmt: skip
    tree = record(
        slowed=[{"load": "same core", "benchmarks": [benchmark(SLOWED, {"plus-3": 1.3}, hyperfine_ns=hyperfine)]}],
        missing={"pyperf": "no network | <b>"},
    )
    for one in tree["overhead"]["rounds"]:
        del one["pyperf"]
    page = {name: selftest_tables.block(name, tree) for name in selftest_tables.BLOCKS}
    wrong = "**not held**: slowed lanes, load same core: wrong: 0.25, at most 0.05 (4 verdicts)"
    assert wrong in page["selftest-summary"]
    assert "Example \\| CPU" in page["selftest-summary"]
    assert "| verdicts | tie 6 |" in page["selftest-same"]
    row = next(line for line in page["selftest-slowed"].splitlines() if "| 1.03 |" in line)
    assert "**different 1 (wrong)**" in row
    assert row.endswith("| tie 1 |")
    assert "| Deadheat's launcher | 330 | +30 | +30 to +30 |" in page["selftest-overhead"]
    assert "no network \\| &lt;b&gt;" in page["selftest-overhead"]
    assert "| tables, warm | 300 ms | 3.00 s | 1.00x |" in page["selftest-scaling"]
    assert "| `nox --list` | 400 ms |" in page["selftest-lists"]
    assert "| coverage | of 1000 | 96.0% | at least 94.0% | yes |" in page["selftest-simulated"]


def test_before_the_first_measurement_the_page_says_so() -> None:
    """Without a record, or without one of its parts, there is a sentence and no number."""
    empty = record(**dict.fromkeys(("simulated", "same", "slowed", "overhead", "scaling", "lists")))
    for name in selftest_tables.BLOCKS:
        assert selftest_tables.block(name, None) == "*Not measured.*"
        assert name == "selftest-summary" or selftest_tables.block(name, empty) == "*Not measured.*"


def test_the_page_follows_the_record(tmp_path: Path) -> None:
    """`invoke tables` fills the page in; other numbers make it outdated; a broken record stops everything."""
    (tmp_path / "docs").mkdir()
    for name in (*tables.REQUIRED, selftest_tables.PAGE):
        shutil.copy(caches.ROOT / name, tmp_path / name)
    kept = tmp_path / selftest_record.PATH
    kept.write_text(json.dumps(record()))
    roots = tables.Roots(tmp_path)
    tables.tables(roots=roots, force=True)
    assert "15 of 15 hold" in (tmp_path / selftest_tables.PAGE).read_text()
    tables.check(roots)
    kept.write_text(json.dumps(record(load_at_start=0.7)))
    with pytest.raises(TablesError, match=r"docs/selftest\.md:\d+: block selftest-summary is outdated"):
        tables.check(roots)
    kept.write_text("{}")
    with pytest.raises(ResultError, match=r"selftest\.json"):
        tables.update(roots)


# --- real lanes


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two lanes on the scripted runner."""
    monkeypatch.setattr(caches, "WORK", tmp_path / "work")
    return bad_lanes.make(tmp_path / "projects", ["other"])


def measured(counters: Project, runner: FakeRunner) -> dict[str, Any]:
    """One benchmark on the scripted runner."""
    return verdicts.benchmark(counters, runner, flow.Options(seed=1), {"good": 0, "other": 150})


def test_a_benchmark_is_kept_raw(counters: Project) -> None:
    """Wall times of every arm by rounds, the null arm under its own name; the record's schema takes it."""
    found = measured(counters, FakeRunner({"other": Script(each_ns=11_500_000)}))
    assert set(found["walls_ns"]) == {"good", "other", "null"}
    assert len({len(walls) for walls in found["walls_ns"].values()}) == 1
    assert found["truth"] == {"good": 1.0, "other": 1.15}
    selftest_record.refuse_problems(record(same=[found]), "x")
    ratio, verdict = selftest_record.compared(found, "other", "good")
    assert verdict is Verdict.DIFFERENT
    assert 1.14 < ratio.ratio < 1.16


def test_a_lane_that_fails_is_no_verdict(counters: Project) -> None:
    """The benchmark keeps the reason and no times; so does one in which nothing could be timed."""

    def wrong(reply: LaunchReply, repeats: int) -> LaunchReply:
        return replace(reply, code=1, stdout=b"") if repeats > 1 else reply

    found = measured(counters, FakeRunner({"other": Script(change=wrong)}))
    assert found["failed"].startswith("other: run-failed: exit code 1")
    assert found["walls_ns"] == {}
    nothing = measured(counters, FakeRunner({"good": Script(change=lambda reply, _: replace(reply, stdout=b"")),
                                             "other": Script(change=wrong)}))  # fmt: skip
    assert nothing["failed"] is not None
    selftest_record.refuse_problems(record(same=[found, nothing]), "x")


@pytest.mark.toolchain
def test_the_spinner_keeps_the_lane_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lanes of the self-test pass the verification of every lane: answers, digests, counts, refusals."""
    monkeypatch.setattr(caches, "WORK", tmp_path / "work")
    project = spinner.make(tmp_path, {"base": 0, "plus-150": 1500})
    runner, _ = runners.choose("host")
    said: list[str] = []
    assert flow.verify_only(project, runner, flow.Options(), said.append), said
    assert "#define EXTRA_PERMILLE 1500 " in (project.lanes["plus-150"].folder / "main.c").read_text()
    commands = verdicts.commands(project, 7, runner)
    assert list(commands) == ["base", "plus-150"]
    assert commands["base"].endswith("steps.txt --repeats 7")


@pytest.mark.toolchain
def test_background_load_runs_and_ends() -> None:
    """The load lives while its block does; a program that fails is one line."""
    look = ["/bin/sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null; true"]
    with workbench.opened() as bench:
        mark = str(bench.folder / "stress").encode()
        with bench.background(workbench.Load("x", 0)):
            assert mark in bench.output(look)
        assert mark not in bench.output(look)
        with pytest.raises(LauncherError, match="sh: exited 3: no luck"):
            bench.output(["/bin/sh", "-c", "echo no luck >&2; exit 3"])


@pytest.mark.toolchain
def test_rivals_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hyperfine and pyperf, the C loop and the launcher are still timed, and the reasons are kept."""

    def refuse(*_: object) -> None:
        raise ToolchainError("it needs more", remedy="run: this")

    monkeypatch.setattr(packages, "ensure", refuse)
    monkeypatch.setattr(toolchains, "python_packages", refuse)
    missing: dict[str, str] = {}
    with workbench.opened() as bench:
        found = overhead.measure(2, 3, bench, missing)
    assert [set(one) for one in found["rounds"]] == [{"tight", "loop", "launcher"}] * 2
    assert missing == {"hyperfine": "it needs more (run: this)", "pyperf": "it needs more (run: this)"}


def test_reports_of_the_rivals_are_read() -> None:
    """Every run of hyperfine; every value of pyperf, its warm-ups left out."""
    assert workbench.hyperfine_times({"results": [{"times": [0.5, 0.25]}, {"times": [1]}]}) == [[5e8, 2.5e8], [1e9]]
    runs = [{"warmups": [[1, 0.5]]}, {"values": [0.25, 0.5]}, {"values": [1.0]}]
    assert workbench.pyperf_times({"benchmarks": [{"runs": runs}]}) == [2.5e8, 5e8, 1e9]


def test_loads_follow_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one core there is no other core to load."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert [(load.name, load.core) for load in workbench.loads()] == [
        ("none", None), ("other core", 0), ("same core", 1), ("same core, on and off", 1),
    ]  # fmt: skip
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert [load.core for load in workbench.loads()] == [None, 3, 3]


# --- many files


@pytest.mark.slow
def test_generated_results_are_valid_and_counted(tmp_path: Path) -> None:
    """Each planned system is a project there, each file a valid result, and both commands can list them."""
    scaling.checkout(tmp_path)
    found = scaling.growing(tmp_path, (31, 36))
    assert [step["files"] for step in found["steps"]] == [31, 36]
    assert len(list((tmp_path / "results").rglob("*.json"))) == 36
    assert "31 of 31 systems measured" in (tmp_path / "README.md").read_text()
    listed = scaling.lists(tmp_path, 1)
    assert set(listed["seconds"]) == {"invoke --list", "nox --list"}


# --- the command


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stages that give the parts of a good record at once; a test may change it."""
    tree = record()
    given = {name: (lambda _, __, name=name: tree[name]) for name in main.STAGES}
    monkeypatch.setattr(main, "STAGES", given)
    monkeypatch.setattr(main, "_machine", lambda: MACHINE)
    return tree


def test_numbers_are_kept_and_shown(
    stages: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record is written where the page is rendered from, one part a line, and every limit is printed."""
    monkeypatch.setattr(main, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "update", lambda roots: [roots.root / "docs" / "selftest.md"])
    assert main.main(["--quick"]) == 0
    kept = selftest_record.read(tmp_path / selftest_record.PATH)
    assert kept is not None
    assert kept["size"] == "quick"
    assert kept["lists"] == stages["lists"]
    captured = capsys.readouterr()
    assert captured.out.count("ok ") == len(selftest_record.findings(kept))
    assert "updated" in captured.err


def test_a_limit_that_does_not_hold_fails(
    stages: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is kept and shown, and the exit code is 1; a smoke test keeps nothing and lets no limit decide."""
    stages["lists"] = {"projects": 31, "seconds": {"nox --list": [9.0]}}
    monkeypatch.setattr(main, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "update", lambda _: [])
    assert main.main(["--no-store"]) == 0
    assert "NO  nox --list with 31 projects, s: 9 <= 0.5" in capsys.readouterr().out
    assert not (tmp_path / selftest_record.PATH).exists()
    assert main.main([]) == 1
    assert "1 of 14 limits do not hold" in capsys.readouterr().err
    assert (tmp_path / selftest_record.PATH).exists()


def test_a_stage_that_cannot_run_is_named(
    stages: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its reason stands in the record, and the others go on."""
    del stages

    def refuse(*_: object) -> None:
        raise ToolchainError("no compiler", remedy="install one")

    monkeypatch.setitem(main.STAGES, "same", refuse)
    tree = main.record(main.SIZES["tiny"], tuple(main.STAGES))
    assert tree["same"] is None
    assert tree["missing"] == {"same": "no compiler (install one)"}
    assert "not measured: no compiler" in capsys.readouterr().err
    selftest_record.refuse_problems(tree, "x")


def test_unknown_stages_list_the_known() -> None:
    """A wrong name is a usage error before anything runs."""
    with pytest.raises(UsageError, match=r"no stage speed .known: simulated, same"):
        main.run(main.parsed(["--only", "speed"]))


# --- noise of this machine


@pytest.mark.parametrize(
    ("changes", "level", "remedy"),
    [
        ({}, Noise.QUIET, ""),
        ({"noisy_runs": 9}, Noise.USABLE, noise.BUSY),
        ({"measured": {"null": 1.03}}, Noise.USABLE, noise.SPEED),
        ({"measured": {"null": 1.08}}, Noise.NOISY, noise.SPEED),
        ({"measured": {"null": 1.08}, "noisy_runs": 9}, Noise.NOISY, noise.BUSY),
        ({"stop": "rounds"}, Noise.NOISY, noise.SPEED),
        ({"steal_share": 0.2}, Noise.NOISY, noise.TENANT),
    ],
    ids=["quiet", "disturbed", "usable", "noisy", "noisy and disturbed", "vague", "stolen"],
)
def test_fitness_follows_what_was_seen(changes: dict[str, Any], level: Noise, remedy: str) -> None:
    """The null arm decides; stolen time and vague intervals are noisy; the remedy follows the cause."""
    found = noise.judge(benchmark({"twin-1": 1.0, "twin-2": 1.0}, reference="twin-1", **changes))
    assert (found.level, found.remedy) == (level, remedy)
    assert found.text.startswith(f"{level}: null arm ")


def test_a_machine_that_cannot_measure_is_an_error() -> None:
    """Without a benchmark there is no judgement."""
    with pytest.raises(RunnerError, match="could not be measured: no compiler"):
        noise.judge(benchmark({"twin-1": 1.0, "twin-2": 1.0}, failed="no compiler", walls_ns={}))


def test_the_noise_is_measured_by_two_identical_lanes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scripted machine without noise is quiet."""
    monkeypatch.setattr(caches, "WORK", tmp_path / "work")
    monkeypatch.setattr(spinner, "make", lambda folder, _: bad_lanes.make(folder, ["other"]))
    monkeypatch.setattr(noise, "TWINS", {"good": 0, "other": 0})
    assert noise.judge(noise.observe(FakeRunner())).level is Noise.QUIET


def test_expected_failures_are_ours() -> None:
    """Everything that a stage may end in is an error with a remedy or a line, never a traceback."""
    assert issubclass(LauncherError, DeadheatError)
    assert issubclass(ToolchainError, DeadheatError)
