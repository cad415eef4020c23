"""Lanes race against their older selves in one run; a regression is shown, and nothing of the old tree stays."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import bad_lanes
from tests.fakes import FakeRunner, Script
from tests.test_interrupt import PATIENCE_SECONDS, folders, processes
from tests.test_matrix import commit, git
from tools import baseline, caches, cli, flow, result, revisions, runners, temporary
from tools.errors import DeadheatError, ProjectError, UsageError
from tools.model import Project
from tools.project import load

MAIN = "projects/line-counter/{lane}/main.py"
SHORT_RUN = ["--rounds", "12", "--seed", "1", "--budget", "60s"]
BENCH = """\
import dataclasses, pathlib, sys
from tools import baseline, caches, cli, flow, runners
from tools.project import load

root = pathlib.Path(sys.argv[1])
shared = caches.WORK / "launcher"
caches.WORK = root / "work"
caches.WORK.mkdir()
shared.mkdir(parents=True, exist_ok=True)
(caches.WORK / "launcher").symlink_to(shared, target_is_directory=True)
project = load(root / "repository/projects/line-counter/project.yaml")
options = flow.Options(budget_seconds=300, min_run_seconds=0.1, seed=1)

def say(text):
    print(text.split()[0], flush=True)

def bench():
    say("start")
    with baseline.beside(project, "HEAD", options, root / "repository") as duel:
        say("tree")
        racing = dataclasses.replace(options, beside=duel.pairs)
        flow.bench(duel.project, runners.choose("host")[0], racing, say, lambda now: say("measure"))

sys.exit(cli.guarded(bench))
"""
MOMENTS = {"start": 1, "tree": 2, "build": 3, "verify": 5, "measure": 7}
"""After so many words of the script this step is under way."""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the lanes `good` and `other`, of which `other` has changed since the last commit."""
    root = tmp_path / "repository"
    bad_lanes.make(root / "projects", ["other"])
    git(root, "init", "--quiet")
    commit(root)
    change(root, "other")
    return root


def change(root: Path, lane: str) -> None:
    """Change the sources of a lane."""
    path = root / MAIN.format(lane=lane)
    path.write_text(path.read_text() + "# changed\n")


def project_of(root: Path) -> Project:
    """The project as it is now."""
    return load(root / "projects/line-counter/project.yaml")


def duel(root: Path, **options: Any) -> baseline.Duel:
    """A duel with the last commit, looked at after its tree is gone."""
    with baseline.beside(project_of(root), "HEAD", flow.Options(**options), root) as found:
        return found


# --- who races


def test_a_changed_lane_races_against_its_older_self(repository: Path) -> None:
    """Its sources are those of the commit, it is the baseline of the lane, and the name says so."""
    sha = git(repository, "rev-parse", "HEAD")
    with baseline.beside(project_of(repository), "HEAD", flow.Options(), repository) as found:
        assert list(found.project.lanes) == ["other", "other-base"]
        older = found.project.lanes["other-base"]
        assert "# changed" not in (older.folder / "main.py").read_text()
        assert (older.baseline_of, older.variant) == ("other", f"base-{sha[:12]}")
    assert found.pairs == {"other": "other-base"}
    assert not older.folder.exists()


def test_an_unchanged_lane_is_left_out_unless_asked_for(repository: Path) -> None:
    """There is nothing to see, but who asks for it gets the noise of this machine."""
    left_out = dict(duel(repository).left_out)
    assert list(left_out) == ["good"]
    assert left_out["good"].startswith("the sources are those of ")
    assert duel(repository, lanes=("good",)).pairs == {"good": "good-base"}
    assert duel(repository, lanes=("python",)).pairs == {"good": "good-base", "other": "other-base"}


def test_a_new_lane_has_no_older_self(repository: Path) -> None:
    """It is named and races against nobody."""
    source = repository / "projects/line-counter"
    yaml = source / "project.yaml"
    (source / "new").mkdir()
    (source / "new/main.py").write_text((source / "good/main.py").read_text())
    yaml.write_text(yaml.read_text().replace("workloads:", f"{bad_lanes.LANE % 'new'}\nworkloads:", 1))
    assert "has no such lane" in dict(duel(repository).left_out)["new"]


def test_what_a_lane_cannot_do_its_older_self_need_not_do(repository: Path) -> None:
    """An exclusion holds for both."""
    path = repository / "projects/line-counter/project.yaml"
    path.write_text(
        path.read_text().replace("workloads: [verify, bench]}", "workloads: [verify, bench], without: {other: slow}}")
    )
    assert duel(repository).project.cases[0].without == {"other": "slow", "other-base": "slow"}


def test_a_revision_that_cannot_be_read(repository: Path) -> None:
    """Unknown, without the project, or with a project.yaml of another time: one line each."""
    today = project_of(repository)
    with (
        pytest.raises(UsageError, match="git does not know 'nonsense'"),
        baseline.beside(today, "nonsense", flow.Options(), repository),
    ):
        pass
    path = repository / "projects/line-counter/project.yaml"
    now = path.read_text()
    path.write_text("schema: 0\n")
    commit(repository)
    path.write_text(now)
    with (
        pytest.raises(ProjectError, match="HEAD: "),
        baseline.beside(project_of(repository), "HEAD", flow.Options(), repository),
    ):
        pass


# --- the command


@pytest.fixture
def bench(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`nox -s bench-lines -- --against HEAD ...` on a scripted runner."""
    monkeypatch.setattr(caches, "WORK", tmp_path / "work")
    monkeypatch.setattr(cli, "find", lambda _: project_of(repository))
    monkeypatch.setattr(baseline, "beside", functools.partial(baseline.beside, root=repository))

    def run(*argv: str, now: float = 10e6, then: float = 10e6, broken: bool = False) -> None:
        scripts = {"other": Script(each_ns=now), "other-base": Script(each_ns=then)}
        if broken:
            scripts["other-base"].change = lambda reply, _: dataclasses.replace(reply, stdout=b"42\n")
        monkeypatch.setattr(runners, "choose", lambda _: (FakeRunner(scripts), "as asked"))
        cli.session("bench", ["lines"], ["--against", "HEAD", *SHORT_RUN, *argv])

    return run


def test_a_regression_is_shown(bench: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """Now over then with interval and verdict; without being asked to, that fails nobody."""
    bench(now=13e6)
    said = capsys.readouterr().err
    assert "against line-counter/good: left out: the sources are those of" in said
    assert "other-base -> other" in said
    assert "1.29x slower" in said or "1.30x slower" in said
    assert "slower  other in count: 1." in said


def test_a_regression_fails_when_asked(bench: Callable[..., None]) -> None:
    """--fail-on-regression makes a lane that is shown to be slower an error."""
    with pytest.raises(DeadheatError, match="bench failed for lines") as caught:
        bench("--fail-on-regression", now=13e6)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(("now", "then"), [(10e6, 10e6), (10.3e6, 10e6), (10e6, 20e6)])
def test_no_regression_no_failure(bench: Callable[..., None], now: float, then: float) -> None:
    """The same, a difference inside the band, and an improvement are fine."""
    bench("--fail-on-regression", now=now, then=then)


def test_a_guard_that_cannot_see_fails(bench: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """An older self that no longer passes the oracle proves nothing: an error when asked to guard, else a line."""
    bench(broken=True)
    assert "unknown other-base: verify-failed" in capsys.readouterr().err
    with pytest.raises(DeadheatError):
        bench("--fail-on-regression", broken=True)


def test_nothing_is_stored_unless_asked(bench: Callable[..., None], tmp_path: Path) -> None:
    """It is no standard result: it never comes under results/, and with --store stands apart, whole and valid."""
    before = set((caches.ROOT / "results").rglob("*"))
    bench()
    assert not (tmp_path / "work/against").exists()
    bench("--store")
    (path,) = (tmp_path / "work/against/line-counter").iterdir()
    stored = result.load(path)
    assert stored.arms["other-base"].baseline_of == "other"
    assert stored.plan.claims == 1
    assert set((caches.ROOT / "results").rglob("*")) == before


def test_nothing_changed_is_no_error(
    bench: Callable[..., None], repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When all lanes are as they were, nothing is measured."""
    commit(repository)
    bench("--fail-on-regression")
    assert "build" not in capsys.readouterr().err


def test_the_list_shows_both(bench: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """--list names the older lanes too, and does nothing."""
    bench("--list", "--runner", "host")
    assert capsys.readouterr().out == "line-counter/other@host\nline-counter/other-base@host\n"


@pytest.mark.parametrize("flag", ["--fail-on-regression", "--store"])
def test_flags_that_need_a_baseline(repository: Path, monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    """Without --against they mean nothing, and that is said."""
    monkeypatch.setattr(cli, "find", lambda _: project_of(repository))
    with pytest.raises(UsageError, match=f"{flag} goes with --against"):
        cli.session("bench", ["lines"], [flag])


def test_the_page_of_the_job(bench: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In GitHub Actions the table stands on the job's page."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    bench(now=13e6)
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("### line-counter against ")
    assert "| count |" in text


# --- Ctrl-C


def start(folder: Path, moment: str) -> subprocess.Popen[str]:
    """The benchmark in a session of its own, at this moment."""
    child = subprocess.Popen(
        [sys.executable, "-c", BENCH, str(folder)],
        cwd=caches.ROOT, env=os.environ | {"TMPDIR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None
    said = [child.stdout.readline().strip() for _ in range(MOMENTS[moment])]
    assert said[-1] == moment, said
    return child


def trees(root: Path) -> list[str]:
    """Work trees beside the repository itself."""
    return git(root, "worktree", "list", "--porcelain").split("\n\n")[1:]


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupt_leaves_no_work_tree(repository: Path, tmp_path: Path, moment: str) -> None:
    """Ctrl-C at any moment ends with 130, and git knows of no further work tree."""
    with start(tmp_path, moment) as child:
        child.send_signal(signal.SIGINT)
        _, err = child.communicate()
    assert (child.returncode, err) == (130, "interrupted\n")
    assert processes(tmp_path) == []
    assert folders(tmp_path) == []
    assert trees(repository) == []


def test_clean_removes_the_work_tree_of_a_killed_run(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 the sweep of `invoke clean` takes the folder, and git forgets its entry."""
    with start(tmp_path, "build") as child:
        child.kill()
        child.communicate()
    end = time.monotonic() + PATIENCE_SECONDS
    while processes(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert temporary.sweep()
    revisions.prune(repository)
    assert folders(tmp_path) == []
    assert trees(repository) == []
