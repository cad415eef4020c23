"""What a person names: files, projects, programs and revisions; whatever it is not is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import builders, sites
from tests.test_matrix import commit, git
from tools import named, result
from tools.errors import ResultError, UsageError
from tools.tables import Roots


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """A repository with one project and two results, the second of which is committed by itself."""
    made = sites.repository(tmp_path)
    (tmp_path / ".gitignore").write_text(".deadheat/\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    store(made, 18)
    git(tmp_path, "tag", "first")
    commit(tmp_path)
    git(tmp_path, "tag", "second")
    store(made, 19)
    commit(tmp_path)
    return made


def store(roots: Roots, day: int, **changes: Any) -> Path:
    """Store a result of that day."""
    return sites.store(roots, sites.fresh(roots, created_at=f"2026-11-{day}T10:00:00Z", **changes))


def day(one: named.Named) -> str:
    """When a result was made."""
    return one.result.created_at[8:10]


def test_a_project_is_the_result_that_speaks_for_it(roots: Roots) -> None:
    """Alias and slug are the same; a program may stand behind a colon."""
    archive = named.Archive(roots)
    assert day(archive.one("sqlite")) == day(archive.one("sqlite-query-engine")) == "19"
    assert archive.one("sqlite:zig").arm == "zig"


def test_a_file_is_itself(roots: Roots) -> None:
    """A path is read, also with a program behind it."""
    path = store(roots, 17)
    archive = named.Archive(roots)
    assert day(archive.one(str(path))) == "17"
    assert archive.one(f"{path}:go").arm == "go"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cobol", r"no project 'cobol' .known: sqlite."),
        ("cobol:go", "no project 'cobol'"),
        ("dns", "dns has no result yet .nox -s bench-dns."),
        ("x.json", "no such file: x.json"),
        ("results/x", "no such file: results/x"),
    ],
)
def test_what_is_neither_is_refused(roots: Roots, name: str, words: str) -> None:
    """The message says what would have been right."""
    with pytest.raises(UsageError, match=words):
        named.Archive(roots).one(name)


def test_a_broken_file_is_no_result(roots: Roots, tmp_path: Path) -> None:
    """A file that is no result is named with its problem."""
    (tmp_path / "broken").write_text("{")
    with pytest.raises(ResultError):
        named.Archive(roots).one(str(tmp_path / "broken"))


def test_a_revision_has_the_newest_result_that_was_there(roots: Roots) -> None:
    """A commit without a result of its own speaks through the newest one in it; a file that is gone is in git."""
    archive = named.Archive(roots)
    before, after = named.pair(archive, "second", "HEAD", "sqlite")
    assert (day(before), day(after)) == ("18", "19")
    for path in (roots.root / "results").rglob("*T100000Z_*.json"):
        path.unlink()
    assert day(named.pair(named.Archive(roots), "second", "HEAD", "sqlite")[0]) == "18"


def test_a_result_that_was_measured_at_the_commit_comes_first(roots: Roots) -> None:
    """Measured at a commit and committed later: that is the result of the commit."""
    sha = git(roots.root, "rev-parse", "second")
    harness = {"version": "0.1.0", "commit": sha, "dirty": False, "source_sha256": builders.SHA}
    store(roots, 20, harness=harness)
    assert day(named.pair(named.Archive(roots), "second", "HEAD", "sqlite")[0]) == "20"


def test_the_same_environment_is_preferred(roots: Roots) -> None:
    """Of several results of a commit, one that may be compared is taken."""
    store(roots, 20, environment=builders.environment(id="b" * 12))
    commit(roots.root)
    before, _ = named.pair(named.Archive(roots), "HEAD", "HEAD~1", "sqlite")
    assert day(before) == "19"


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        ("nonsense", "git does not know 'nonsense'"),
        ("--help", "not a revision: '--help'"),
        ("first", "first has no result of sqlite .nox -s bench-sqlite -- --against first."),
    ],
)
def test_a_revision_without_a_result(roots: Roots, revision: str, words: str) -> None:
    """A name that git does not know, and a commit that has no result, are usage errors with a way out."""
    with pytest.raises(UsageError, match=words):
        named.pair(named.Archive(roots), revision, "HEAD", "sqlite")


def test_a_revision_needs_its_project(roots: Roots) -> None:
    """Two revisions alone do not say what is compared."""
    with pytest.raises(UsageError, match="'HEAD' is a revision, of which project"):
        named.pair(named.Archive(roots), "HEAD", "HEAD~1")


def test_programs_of_one_result(roots: Roots) -> None:
    """Both sides name a program, or none does; `baseline` is whatever the other has as its baseline."""
    archive = named.Archive(roots)
    assert named.programs(*named.pair(archive, "sqlite:go", "sqlite:zig")) == ("go", "zig")
    assert named.programs(*named.pair(archive, "sqlite", "sqlite")) is None
    with pytest.raises(UsageError, match="on both sides"):
        named.programs(*named.pair(archive, "sqlite:go", "sqlite"))
    with pytest.raises(UsageError, match="zig has no baseline"):
        named.programs(*named.pair(archive, "sqlite:baseline", "sqlite:zig"))
    raw = builders.tree()
    raw["arms"]["go"]["baseline_of"] = "zig"
    one = result.from_tree(raw, Path("x.json"))
    assert named.programs(named.Named(one, "baseline"), named.Named(one, "zig")) == ("go", "zig")


def test_programs_of_two_results_share_no_rounds(roots: Roots) -> None:
    """They are refused: whole results are compared another way."""
    path = store(roots, 17)
    with pytest.raises(UsageError, match="share no rounds"):
        named.programs(*named.pair(named.Archive(roots), f"{path}:go", "sqlite:zig"))
