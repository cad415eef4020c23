"""What git knows: commits, files of a commit, and a work tree of an older commit that is gone again afterwards."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tools import temporary
from tools.caches import ROOT
from tools.errors import CommandError, UsageError
from tools.process import check, run

HOOKLESS = ("-c", "core.hooksPath=/dev/null")
"""A person's hooks have no business in a tree of ours."""


def commit(revision: str, root: Path = ROOT) -> str:
    """The full hash of a revision.

    Raises:
        UsageError: git does not know it.
    """
    if not revision or revision.startswith("-"):
        raise UsageError(f"not a revision: {revision!r}")
    try:
        words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
        return check(["git", "-C", root, *words]).decode().strip()
    except CommandError as error:
        remedy = "see: git log --oneline; in a shallow clone, fetch it first"
        raise UsageError(f"git does not know {revision!r}", remedy=remedy) from error


def knows(revision: str, root: Path = ROOT) -> bool:
    """Whether this is a revision."""
    with contextlib.suppress(UsageError, CommandError):
        return bool(commit(revision, root))
    return False


def files(sha: str, folder: str, root: Path = ROOT) -> list[str]:
    """Paths below a folder in a commit, as seen from the root of the repository; none where it has no such folder."""
    listing = check(["git", "-C", root, "ls-tree", "-r", "-z", "--full-tree", "--name-only", sha, "--", folder])
    return [name for name in listing.decode("utf-8", "surrogateescape").split("\0") if name]


def content(sha: str, path: str, root: Path = ROOT) -> bytes:
    """The bytes of a file in a commit.

    Raises:
        CommandError: the commit has no such file.
    """
    return check(["git", "-C", root, "cat-file", "blob", f"{sha}:{path}"])


@contextlib.contextmanager
def worktree(sha: str, *paths: str, root: Path = ROOT) -> Iterator[Path]:
    """A folder with these paths as they were in a commit; it goes away with the block, however that ends.

    Raises:
        UsageError: the commit does not have them.
    """
    with temporary.folder("worktree") as folder:
        tree = folder / "tree"
        try:
            check(["git", "-C", root, *HOOKLESS, "worktree", "add", "--detach", "--no-checkout", "--quiet", tree, sha])
            try:
                check(["git", "-C", tree, *HOOKLESS, "checkout", "--quiet", sha, "--", *paths])
            except CommandError as error:
                raise UsageError(f"{sha[:12]} has no {', '.join(paths)}") from error
            yield tree
        finally:
            _remove(tree, root)


def _remove(tree: Path, root: Path) -> None:
    """Take a work tree away, also one that git had not finished."""
    with contextlib.suppress(CommandError):
        if run(["git", "-C", root, "worktree", "remove", "--force", "--force", tree]).returncode == 0:
            return
    shutil.rmtree(tree, ignore_errors=True)
    prune(root)


def prune(root: Path = ROOT) -> None:
    """Make git forget work trees whose folders are gone."""
    with contextlib.suppress(CommandError):
        run(["git", "-C", root, "worktree", "prune"])
