"""Commits, their files, and work trees of them that leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_matrix import commit, git
from tools import revisions
from tools.errors import CommandError, UsageError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits of two files; temporary folders are made beside it."""
    root = tmp_path / "repository"
    for name in ("projects/a/main", "results/a/\u00e9.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("first\n")
    git(root, "init", "--quiet")
    commit(root)
    (root / "projects/a/main").write_text("second\n")
    commit(root)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return root


def left_over(repository: Path) -> list[str]:
    """Temporary folders and work trees that are still there."""
    trees = git(repository, "worktree", "list", "--porcelain").split("\n\n")[1:]
    return [*(path.name for path in (repository.parent / "temporary").iterdir()), *trees]


def test_a_revision_is_a_full_hash(repository: Path) -> None:
    """Any way to name a commit gives its hash; anything else is a usage error."""
    head = git(repository, "rev-parse", "HEAD")
    assert revisions.commit("HEAD", repository) == revisions.commit(head[:8], repository) == head
    assert revisions.knows("HEAD~1", repository)
    assert not revisions.knows("HEAD~9", repository)
    for name in ("nonsense", "--all", "", "HEAD:projects", "-1"):
        with pytest.raises(UsageError):
            revisions.commit(name, repository)


def test_files_of_a_commit(repository: Path) -> None:
    """Names are those of the commit, whatever is on the disk, with any characters; a folder that is absent has none."""
    head = revisions.commit("HEAD", repository)
    (repository / "results/a/\u00e9.json").unlink()
    assert revisions.files(head, "results/a", repository) == ["results/a/\u00e9.json"]
    assert revisions.files(head, "nothing", repository) == []
    assert revisions.content(head, "results/a/\u00e9.json", repository) == b"first\n"
    with pytest.raises(CommandError):
        revisions.content(head, "nothing", repository)


def test_a_work_tree_has_what_was_asked_for_and_goes_away(repository: Path) -> None:
    """Only these paths are there, as they were; afterwards neither folder nor entry is left."""
    first = revisions.commit("HEAD~1", repository)
    with revisions.worktree(first, "projects/a", root=repository) as tree:
        assert (tree / "projects/a/main").read_text() == "first\n"
        assert not (tree / "results").exists()
        assert len(left_over(repository)) == 2
    assert left_over(repository) == []
    assert (repository / "projects/a/main").read_text() == "second\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_a_work_tree_goes_away_however_the_block_ends(repository: Path, error: type[BaseException]) -> None:
    """Ctrl-C and errors leave nothing either."""
    with pytest.raises(error), revisions.worktree(revisions.commit("HEAD", repository), "projects", root=repository):
        raise error
    assert left_over(repository) == []


def test_a_damaged_work_tree_goes_away(repository: Path) -> None:
    """Even when somebody removed what git needs to recognise it."""
    with revisions.worktree(revisions.commit("HEAD", repository), "projects", root=repository) as tree:
        (tree / ".git").unlink()
    assert left_over(repository) == []


def test_a_path_that_a_commit_does_not_have(repository: Path) -> None:
    """A usage error names commit and path, and leaves nothing."""
    head = revisions.commit("HEAD", repository)
    with (
        pytest.raises(UsageError, match=f"{head[:12]} has no projects/b"),
        revisions.worktree(head, "projects/b", root=repository),
    ):
        pass
    assert left_over(repository) == []


def test_hooks_of_the_person_do_not_run(repository: Path) -> None:
    """A checkout hook would see a tree that is none of its business."""
    hook = repository / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\ntouch ran\nexit 1\n")
    hook.chmod(0o755)
    with revisions.worktree(revisions.commit("HEAD", repository), "projects", root=repository) as tree:
        assert not (tree / "ran").exists()
    assert not (repository / "ran").exists()
