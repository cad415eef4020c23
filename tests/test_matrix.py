"""Which projects a change touches: the job matrix of GitHub Actions."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

import pytest

from tests import bad_lanes
from tools import matrix
from tools.errors import UsageError
from tools.model import Project
from tools.process import check

GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main")


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project `line-counter`."""
    return bad_lanes.make(tmp_path_factory.mktemp("projects"), [])


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit, in which the matrix looks."""
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    for name in ("projects/line-counter/go/main.go", "tools/flow.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> str:
    """What git says, without the person's configuration."""
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": str(folder)}
    return check([*GIT, "-C", folder, *words], env=env).decode().strip()


def commit(folder: Path) -> str:
    """Commit everything; the revision."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")
    return git(folder, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("file", "touched"),
    [
        ("projects/line-counter/go/main.go", True),
        ("projects/line-counter/project.yaml", True),
        ("projects/line-counter/README.md", False),
        ("projects/line-counter-two/go/main.go", False),
        ("projects/other/main.go", False),
        ("tools/flow.py", True),
        ("tools/launcher/launcher.c", True),
        ("tools/toolchains.toml", True),
        ("schemas/project.schema.json", True),
        ("requirements.txt", False),
        ("pyproject.toml", True),
        ("activate", True),
        (".github/workflows/ci.yml", True),
        ("PLAN.md", False),
        ("docs/standings.svg", False),
        ("results/line-counter/x.json", False),
        ("tests/test_flow.py", False),
        ("toolsmith/x.py", False),
    ],
)
def test_touches(project: Project, file: str, touched: bool) -> None:
    """Sources of the project and of the harness matter; prose, results, tests and neighbours do not."""
    assert matrix.touches(project, [PurePosixPath(file)]) is touched


def test_without_a_revision_all_projects_run(project: Project) -> None:
    """The scheduled job takes every project, with what a job needs to know of it."""
    job = {"alias": "lines", "slug": "line-counter", "title": "Line counter", "packages": ""}
    assert matrix.include([project], None) == [job]


def test_changes_are_those_since_the_merge_base(repository: Path) -> None:
    """Commits of this branch and the work tree count; what happened on the other branch does not."""
    git(repository, "checkout", "--quiet", "-b", "topic")
    (repository / "projects/line-counter/go/main.go").write_text("second\n")
    (repository / "a name\nwith feed.go").write_text("x")
    commit(repository)
    (repository / "README.md").write_text("not committed\n")
    git(repository, "stash", "--quiet")
    git(repository, "checkout", "--quiet", "main")
    (repository / "tools/flow.py").write_text("elsewhere\n")
    commit(repository)
    git(repository, "checkout", "--quiet", "topic")
    git(repository, "stash", "pop", "--quiet")
    found = {str(path) for path in matrix.changed_files("main")}
    assert found == {"projects/line-counter/go/main.go", "a name\nwith feed.go", "README.md"}


def test_only_touched_projects_run(repository: Path, project: Project) -> None:
    """A change of prose alone needs no job; a change of a lane needs its project's."""
    first = git(repository, "rev-parse", "HEAD")
    (repository / "README.md").write_text("second\n")
    commit(repository)
    assert matrix.include([project], first) == []
    (repository / "projects/line-counter/go/main.go").write_text("second\n")
    commit(repository)
    assert [job["alias"] for job in matrix.include([project], first)] == ["lines"]


@pytest.mark.parametrize("revision", ["no-such-branch", "", "a b", "0" * 40])
def test_unknown_revision_is_one_line(repository: Path, revision: str) -> None:
    """The complaint of git becomes one usage error."""
    assert repository.is_dir()
    with pytest.raises(UsageError, match="git does not know") as caught:
        matrix.changed_files(revision)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("revision", ["-x", "--output=x", "-"])
def test_option_as_revision_is_refused(repository: Path, revision: str) -> None:
    """A revision never becomes an option of git."""
    with pytest.raises(UsageError, match="not a revision"):
        matrix.changed_files(revision)
    assert not (repository / "x").exists()


def test_no_repository_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree without git (an archive) is a usage error, not a traceback."""
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    assert shutil.which("git")
    with pytest.raises(UsageError, match="git does not know 'main'"):
        matrix.changed_files("main")
