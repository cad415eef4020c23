"""Options of the sessions, exit codes, and the plan: what a person types and gets."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import bad_lanes
from tests.fakes import FakeRunner
from tools import caches, cli, flow, plan, runners
from tools.errors import BuildError, DeadheatError, ProjectError, UsageError
from tools.model import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The only project, on a scripted runner."""
    made = bad_lanes.make(tmp_path / "projects", ["other"])
    monkeypatch.setattr(caches, "WORK", tmp_path / "work")
    monkeypatch.setattr(cli, "find", lambda _: made)
    monkeypatch.setattr(cli, "load_all", lambda: [made])
    monkeypatch.setattr(runners, "choose", lambda _: (FakeRunner(), "as asked"))
    return made


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("0.5s", 0.5), ("5m", 300), ("1h", 3600), ("1.5h", 5400)]
)
def test_duration(text: str, seconds: float) -> None:
    """Seconds, minutes and hours, with a fraction."""
    assert cli.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0.0m", "-1s", "5 m", "5d", "m", "1e3", "nan", "inf", "\u0663"])
def test_bad_duration_is_refused(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration such as"):
        cli.duration(text)


@pytest.mark.parametrize(
    ("step", "argv"),
    [
        ("bench-x", ["--nonsense"]), ("bench-x", ["--rounds", "many"]), ("bench-x", ["--budget", "soon"]),
        ("bench-x", ["--runner", "moon"]), ("bench-x", ["stray"]), ("bench-x", ["--lane", "go"]),
        ("soak-x", ["--rounds", "3"]), ("soak-x", ["--seconds", "long"]), ("bench-x", ["--seconds", "3"]),
        ("build-x", ["--rounds", "3"]), ("verify-x", ["--budget", "3m"]),
    ],
)  # fmt: skip
def test_bad_options_are_one_line(step: str, argv: list[str]) -> None:
    """A wrong option is a usage error that names the session; no abbreviation is guessed."""
    with pytest.raises(UsageError, match=f"nox -s {step}") as caught:
        cli.parser(step).parse_args(argv)
    assert "\n" not in str(caught.value)


def fail(error: BaseException) -> Callable[[], None]:
    """An action that ends in this error."""

    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DeadheatError("it failed", remedy="try again"), 1, "error: it failed (try again)\n"),
        (BuildError("no"), 1, "error: no\n"),
        (UsageError("no"), 2, "error: no\n"),
        (ProjectError("f:1:2: no"), 2, "error: f:1:2: no\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_exit_codes(error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Expected failures are one line on stderr and their own exit code."""
    assert cli.guarded(fail(error)) == code
    assert capsys.readouterr() == ("", words)


def test_success_is_silent_and_defects_are_not_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    """Done is 0 without a word; a defect of ours keeps its traceback."""
    assert cli.guarded(lambda: None) == 0
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ZeroDivisionError):
        cli.guarded(fail(ZeroDivisionError()))


def test_list_prints_the_cells(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """--list shows what would be worked on, in order, and does nothing."""
    cli.session("bench", [project.alias], ["--list", "--runner", "host"])
    assert capsys.readouterr() == ("line-counter/good@host\nline-counter/other@host\n", "")
    assert not caches.WORK.exists()


def test_plan_follows_the_choice(project: Project) -> None:
    """Chosen lanes keep the project's order; a language chooses all of its lanes."""
    choices: dict[tuple[str, ...], list[str]] = {
        ("other",): ["other"], ("other", "good"): ["good", "other"], ("python",): ["good", "other"],
        (): ["good", "other"],
    }  # fmt: skip
    for lanes, expected in choices.items():
        assert [cell.arm for cell in plan.cells([project], flow.Options(lanes=lanes), "host")] == expected


def test_build_and_verify_say_each_arm(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Each program has a line for its build and one for its verification."""
    cli.session("verify", [project.alias], [])
    said = capsys.readouterr().err
    assert said.startswith("runner  fake (as asked)\nbuild   line-counter/good@fake: ok")
    assert "verify  line-counter/other@fake: ok, 1 checks, 5 bad inputs\n" in said


def test_failed_build_fails_the_session(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are built all the same; the session names the project."""
    (project.lanes["good"].folder / "main.py").write_text("does not compile")
    with pytest.raises(DeadheatError, match="build failed for lines"):
        cli.session("build", [project.alias], [])
    said = capsys.readouterr().err
    assert "line-counter/good@fake: FAILED: line-counter/good: cp: exit code 1: main.py:1: does not compile" in said
    assert "line-counter/other@fake: ok" in said


@pytest.mark.parametrize(
    ("step", "argv", "words"),
    [
        ("verify", ["--lanes", "go,cobol"], "lines has no lane cobol, go .known: good, other."),
        ("bench", ["--rounds", "0"], "--rounds must be at least 1"),
        ("bench", ["--workload", "huge"], "lines has no workload 'huge' .known: verify, bench."),
    ],
)
def test_unknown_names_list_the_known(project: Project, step: str, argv: list[str], words: str) -> None:
    """A lane, workload or number that cannot be is a usage error before anything is built."""
    with pytest.raises(UsageError, match=words):
        cli.session(step, [project.alias], argv)
    assert not caches.WORK.exists()


def test_bench_shows_and_keeps_nothing_when_asked(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A trial run prints its numbers and stores no result."""
    before = set((caches.ROOT / "results").rglob("*")) if (caches.ROOT / "results").exists() else set()
    cli.session("bench", [project.alias], ["--no-store", "--rounds", "2", "--seed", "1", "--budget", "60s"])
    captured = capsys.readouterr()
    assert "good" in captured.out + captured.err
    after = set((caches.ROOT / "results").rglob("*")) if (caches.ROOT / "results").exists() else set()
    assert before == after


def test_unknown_runner_lists_the_known() -> None:
    """The choice of a runner refuses other names."""
    with pytest.raises(UsageError, match=r"no runner 'moon' \(known: docker, host\)"):
        runners.choose("moon")
