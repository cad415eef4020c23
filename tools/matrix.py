"""The matrix of GitHub Actions: one job a project, from discovery, and only what a change touches."""

from __future__ import annotations

from pathlib import PurePosixPath

from tools.caches import ROOT
from tools.errors import CommandError, UsageError
from tools.model import Project
from tools.process import check

PROSE = frozenset({".md", ".txt", ".svg"})
SHARED = ("tools", "schemas", "noxfile.py", "tasks.py", "requirements.txt", "pyproject.toml", "activate", ".github")


def include(projects: list[Project], changed_since: str | None) -> list[dict[str, str]]:
    """The `include` list of a job matrix; `packages` are the system packages that the oracle's own tests need.

    Raises:
        UsageError: git does not know the revision.
    """
    if changed_since is not None:
        files = changed_files(changed_since)
        projects = [project for project in projects if touches(project, files)]
    return [
        {
            "alias": project.alias,
            "slug": project.slug,
            "title": project.title,
            "packages": " ".join(project.oracle_packages.apt),
        }
        for project in projects
    ]


def changed_files(revision: str) -> list[PurePosixPath]:
    """Paths that differ between the merge base with `revision` and the work tree.

    Raises:
        UsageError: git does not know the revision.
    """
    if revision.startswith("-"):
        raise UsageError(f"not a revision: {revision!r}")
    try:
        base = check(["git", "-C", ROOT, "merge-base", revision, "HEAD"]).decode().strip()
        listing = check(["git", "-C", ROOT, "diff", "--name-only", "-z", base, "--"]).decode()
    except CommandError as error:
        raise UsageError(f"git does not know {revision!r}: {error.message}") from error
    return [PurePosixPath(name) for name in listing.split("\0") if name]


def touches(project: Project, files: list[PurePosixPath]) -> bool:
    """True when a change of these files can change the project's programs or numbers."""
    for file in files:
        if file.suffix in PROSE:
            continue
        if file.parts[0] in SHARED or file.parts[:2] == ("projects", project.slug):
            return True
    return False
