"""What a person names on the command line: a result file, a project, one of its programs, or a revision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools import checks, project, result, revisions, selection, tables, validate
from tools.errors import CommandError, ResultError, UsageError
from tools.selection import MAIN_WORKLOAD

if TYPE_CHECKING:
    from tools.record import Result
    from tools.rows import Row

BASELINE = "baseline"
"""Stands for whatever the other program has as its baseline."""


@dataclass(frozen=True)
class Named:
    """A result, and the program of it that was named."""

    result: Result
    arm: str | None = None


class Archive:
    """The results of a repository, by the names that people use."""

    def __init__(self, roots: tables.Roots | None = None) -> None:
        """Validate all results once.

        Raises:
            ResultError: a file is wrong; the message lists every problem.
        """
        self.roots = roots or tables.Roots()
        report = validate.examine(self.roots.root / "results", self.roots.index)
        report.refuse_problems()
        self.summaries = sorted(report.results, key=lambda one: (one.created_at, one.path.name))
        self.evidences = selection.Evidences(project.load_all(self.roots.root / "projects"), self.summaries)

    def row(self, name: str) -> Row:
        """The project with this alias or slug.

        Raises:
            UsageError: there is none; the message lists those that have results or a folder.
        """
        try:
            return self.evidences.row(name)
        except LookupError:
            known = ", ".join(row.alias for row in self.evidences.rows if row.project is not None)
            raise UsageError(f"no project {name!r}", remedy=f"known: {known}") from None

    def all_of(self, row: Row, workload: str = MAIN_WORKLOAD) -> list[Result]:
        """Every result of a project, the oldest first."""
        chosen = [one for one in self.summaries if (one.slug, one.workload) == (row.slug, workload)]
        return [result.load(one.path) for one in chosen]

    def one(self, name: str) -> Named:
        """A file, a project (the result that speaks for it), or either with `:PROGRAM` behind it.

        Raises:
            UsageError: it is none of them.
            ResultError: the file is no valid result.
        """
        if Path(name).is_file():
            return Named(result.load(Path(name)))
        front, colon, arm = name.rpartition(":")
        if colon and Path(front).is_file():
            return Named(result.load(Path(front)), arm)
        if name.endswith(".json") or "/" in name:
            raise UsageError(f"no such file: {name}")
        return Named(self._speaking(front), arm) if colon else Named(self._speaking(name))

    def _speaking(self, name: str) -> Result:
        """The result that the tables show."""
        row = self.row(name)
        evidence = self.evidences.of(row)
        if evidence is None:
            raise UsageError(f"{row.alias} has no result yet", remedy=f"nox -s bench-{row.alias}")
        return evidence.result

    def of_revision(self, revision: str, row: Row, like: Result | None = None) -> Result:
        """The result of a commit: measured at it, else the newest that was in the repository then.

        Of several, one of the same environment as `like` is taken where there is one.

        Raises:
            UsageError: git does not know the revision, or it had no result.
        """
        sha = revisions.commit(revision, self.roots.root)
        measured = [one for one in self.all_of(row) if one.harness.commit == sha]
        found = measured or self._stored(sha, row)
        if not found:
            remedy = f"nox -s bench-{row.alias} -- --against {revision}"
            raise UsageError(f"{revision} has no result of {row.alias}", remedy=remedy)
        same = [one for one in found if like is not None and one.environment.id == like.environment.id]
        return (same or found)[-1]

    def _stored(self, sha: str, row: Row) -> list[Result]:
        """The results of the main workload that a commit has, the oldest first; read from git, not from the disk."""
        names = revisions.files(sha, f"results/{row.slug}", self.roots.root)
        loaded = [self._from_git(sha, name) for name in sorted(names) if name.endswith(".json")]
        return [one for one in loaded if one.plan.workload == MAIN_WORKLOAD]

    def _from_git(self, sha: str, name: str) -> Result:
        path = self.roots.root / name
        try:
            tree, problems = checks.check_bytes(revisions.content(sha, name, self.roots.root), path)
        except CommandError as error:
            raise ResultError(f"{sha[:12]}:{name}: {error.message}") from error
        if problems:
            raise ResultError("\n".join(f"{sha[:12]}: {problem}" for problem in problems))
        return result.from_tree(tree, path)


def pair(archive: Archive, a: str, b: str, alias: str = "") -> tuple[Named, Named]:
    """The two sides of a comparison.

    Raises:
        UsageError: a side is neither file, program nor revision, or the two are of different kinds.
        ResultError: as `Archive.one`.
    """
    if alias:
        row = archive.row(alias)
        after = archive.one(b) if Path(b).is_file() else Named(archive.of_revision(b, row))
        before = archive.one(a) if Path(a).is_file() else Named(archive.of_revision(a, row, after.result))
        return before, after
    for name in (a, b):
        looks = not Path(name).is_file() and ":" not in name and "/" not in name
        known = any(name in {row.alias, row.slug} for row in archive.evidences.rows)
        if looks and not known and revisions.knows(name, archive.roots.root):
            raise UsageError(f"{name!r} is a revision, of which project?", remedy="such as: --project sqlite")
    return archive.one(a), archive.one(b)


def programs(before: Named, after: Named) -> tuple[str, str] | None:
    """The two programs that were named, or None where whole results were.

    Raises:
        UsageError: only one side names a program, they are of two results, or `baseline` has no meaning.
    """
    if before.arm is None and after.arm is None:
        return None
    if before.arm is None or after.arm is None:
        raise UsageError("name a program on both sides, or on none", remedy="such as: sqlite:rust sqlite:zig")
    if before.result.path != after.result.path:
        raise UsageError("programs of two results share no rounds", remedy="compare the results, with --lane")
    arms = before.result.arms
    if before.arm == BASELINE and before.arm not in arms:
        found = [arm.name for arm in before.result.lanes if arm.baseline_of == after.arm]
        if not found:
            raise UsageError(f"{after.arm} has no baseline in {before.result.path.name}")
        return found[0], after.arm
    return before.arm, after.arm
