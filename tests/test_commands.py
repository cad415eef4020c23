"""The tasks as programs use them: JSON alone on stdout; for what is wrong, one line and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import sites
from tests.test_matrix import commit, git
from tools import caches, commands, doctor, listing, named, project, validate
from tools.tables import Roots


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Roots:
    """A repository with one project and two results, in which all tasks look."""
    made = sites.repository(tmp_path)
    for day in (18, 19):
        sites.store(made, sites.fresh(made, created_at=f"2026-11-{day}T10:00:00Z"))
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    archive, rows, examine, load_all = named.Archive, listing.rows, validate.examine, project.load_all
    monkeypatch.setattr(named, "Archive", lambda: archive(made))
    monkeypatch.setattr(listing, "rows", lambda: rows(made))
    monkeypatch.setattr(validate, "examine", lambda *_, **__: examine(made.root / "results", made.index))
    monkeypatch.setattr(project, "load_all", lambda *_: load_all(made.root / "projects"))
    return made


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a task printed, as JSON; nothing else was said."""
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def result_file(roots: Roots, day: int) -> str:
    """The path of a day's result."""
    return str(next((roots.root / "results").rglob(f"202611{day}*.json")))


def test_every_listing_task_speaks_json(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    """list, plan, matrix, validate, history and compare print one JSON value."""
    commands.list_projects(as_json=True)
    assert printed(capsys)[0]["slug"] == "sqlite-query-engine"
    commands.plan("", "host", as_json=True)
    assert printed(capsys) == [f"sqlite-query-engine/{lane}@host" for lane in ("go", "rust", "zig")]
    commands.matrix(None, as_json=True)
    assert printed(capsys)["include"][0]["alias"] == "sqlite"
    commands.validate(as_json=True)
    assert printed(capsys) == {"projects": 1, "results": 2, "problems": []}
    commands.history("sqlite", "", "zig", "bench", 20, as_json=True)
    assert len(printed(capsys)[0]["moments"]) == 2
    commands.compare("sqlite:rust", "sqlite:zig", "", "", "", as_json=True)
    assert printed(capsys)["lines"][0]["verdict"] == "tie"
    commands.compare(result_file(roots, 18), result_file(roots, 19), "", "scan", "go,zig", as_json=True)
    assert [line["b"] for line in printed(capsys)["lines"]] == ["go", "zig"]


def test_doctor_speaks_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Findings are plain values, and a problem is the exit code."""
    monkeypatch.setattr(doctor, "findings", lambda **_: [doctor.Finding("problem", "load", "9.00", "stop other work")])
    with pytest.raises(SystemExit, match="1"):
        commands.doctor(install=False, noise=False, as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["remedy"] == "stop other work"
    assert captured.err == "error: this machine has problems\n"


def test_validate_lists_every_problem_as_json(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken project and a broken result are both there; the exit code is 2."""
    (roots.root / "results" / sites.SLUG / "broken.json").write_text("{")
    (roots.root / "projects" / sites.SLUG / "project.yaml").write_text("schema: 9\n")
    with pytest.raises(SystemExit, match="2"):
        commands.validate(as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["projects"] == 0
    assert len({problem["path"] for problem in found["problems"]}) == 2


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (lambda: commands.compare("cobol", "sqlite", "", "", "", as_json=False), "no project 'cobol'"),
        (lambda: commands.compare("sqlite:go", "sqlite", "", "", "", as_json=True), "name a program on both sides"),
        (lambda: commands.history("cobol", "", "", "bench", 20, as_json=False), "no project 'cobol'"),
        (lambda: commands.history("sqlite", "x", "", "bench", 20, as_json=True), "no case 'x'"),
        (lambda: commands.history("sqlite", "", "", "bench", 0, as_json=True), "--limit must be at least 1"),
        (lambda: commands.export("sqlite", "", ""), "--format is missing"),
        (lambda: commands.export("sqlite", "xml", ""), "no format 'xml'"),
        (lambda: commands.export("nothing.json", "csv", ""), "no such file"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    roots: Roots, task: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line is on stderr, stdout stays empty, and the remedy is in brackets."""
    assert roots
    with pytest.raises(SystemExit, match="2"):
        task()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {words}") or words in captured.err
    assert captured.err.count("\n") == 1


def test_a_workload_without_results(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    """No result is no error: it is said, and JSON is an empty list."""
    assert roots
    commands.history("sqlite", "", "", "large", 20, as_json=False)
    assert capsys.readouterr().out == "sqlite has no result of the workload large yet\n"
    commands.history("sqlite", "", "", "large", 20, as_json=True)
    assert printed(capsys) == []


def test_export_writes_where_it_is_told(roots: Roots, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, or whole into a file."""
    commands.export("sqlite", "csv", "")
    text = capsys.readouterr().out
    commands.export(result_file(roots, 19), "csv", str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == text
    assert capsys.readouterr().out.startswith("wrote ")


def test_tables_of_people(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json there are tables, and in a pipe nothing but text."""
    commands.history("sqlite", "", "", "bench", 20, as_json=False)
    commands.compare(result_file(roots, 18), result_file(roots, 19), "", "", "", as_json=False)
    out = capsys.readouterr().out
    assert "To the peer" in out
    assert "nothing else changed" in out
    assert "\x1b" not in out


# --- shell completion, in a real bash


def bash(script: str) -> str:
    """What bash says, with the programs of this environment."""
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
    words = ["bash", "--norc", "-c", script]
    return subprocess.run(words, cwd=caches.ROOT, env=env, capture_output=True, text=True, check=True).stdout


def test_bash_completes_invoke() -> None:
    """Tasks and their options, by the script that docs/exit-codes.md tells people to source."""
    ask = "COMPREPLY=(); _complete_invoke invoke {word} invoke; echo ${{COMPREPLY[@]}}"
    source = "source <(invoke --print-completion-script bash); "
    tasks = bash(f"{source}COMP_WORDS=(invoke hi); {ask.format(word='hi')}")
    assert tasks.split() == ["history"]
    options = bash(f"{source}COMP_WORDS=(invoke history --l); {ask.format(word='--l')}")
    assert set(options.split()) == {"--lane", "--limit"}


def test_bash_completes_nox() -> None:
    """Names of sessions, by argcomplete as nox documents it."""
    script = """
        eval "$(register-python-argcomplete nox)"
        COMP_LINE="nox -s bench-sq" COMP_POINT=15 COMP_TYPE=9 COMP_WORDS=(nox -s bench-sq) COMP_CWORD=2
        _python_argcomplete nox bench-sq -s
        echo ${COMPREPLY[@]}
    """
    assert bash(script).split() == ["bench-sqlite"]
