"""Yesterday's lanes beside today's: `--against REV` builds the lanes of an older commit as arms of the same run.

Only what the lanes are comes from the commit: their sources, language and packages. Questions, inputs, oracle,
toolchains and harness are today's, for both. Each older lane is named `<lane>-base`; rounds are interleaved as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tools import flow, project, revisions
from tools.caches import ROOT
from tools.errors import ProjectError
from tools.files import source_sha256
from tools.model import Case, Lane, Project

SUFFIX = "-base"
SHORT = 12
NAME_LIMIT = 40
"""Of the name of an arm in a result file."""


@dataclass(frozen=True)
class Duel:
    """A project whose lanes race against their own past."""

    project: Project
    commit: str
    pairs: dict[str, str]
    """Lane -> its older self; empty where no lane has one that differs."""
    left_out: tuple[tuple[str, str], ...]
    """Lanes that do not race, and why."""


@contextmanager
def beside(today: Project, revision: str, options: flow.Options, root: Path = ROOT) -> Iterator[Duel]:
    """The project with the lanes of a commit beside its own, while the block lasts.

    Lanes whose sources are the same are left out unless they were asked for by `--lanes`.

    Raises:
        UsageError: git does not know the revision, or it has no such project.
        ProjectError: the project.yaml of the commit cannot be read.
    """
    lanes = [lane for lane in flow.chosen(today, replace(options, peers=False)) if isinstance(lane, Lane)]
    commit = revisions.commit(revision, root)
    folder = f"projects/{today.slug}"
    with revisions.worktree(commit, folder, root=root) as tree:
        try:
            then = project.load(tree / folder / "project.yaml")
        except ProjectError as error:
            raise ProjectError(f"{revision}: {error.message}", remedy="take a later revision") from error
        yield _duel(today, then, lanes, commit, asked=bool(options.lanes))


def _duel(today: Project, then: Project, lanes: list[Lane], commit: str, *, asked: bool) -> Duel:
    """Pair each lane with its older self."""
    left_out = []
    racing: dict[str, Lane] = {}
    pairs: dict[str, str] = {}
    for lane in lanes:
        older = then.lanes.get(lane.name)
        if older is None:
            left_out.append((lane.name, f"{commit[:SHORT]} has no such lane"))
        elif not asked and source_sha256(older.folder) == source_sha256(lane.folder):
            left_out.append((lane.name, f"the sources are those of {commit[:SHORT]}"))
        else:
            base = replace(older, name=_name(lane), variant=f"base-{commit[:SHORT]}", baseline_of=lane.name)
            racing |= {lane.name: lane, base.name: base}
            pairs[lane.name] = base.name
    cases = tuple(_case(case, pairs) for case in today.cases)
    return Duel(replace(today, lanes=racing, cases=cases), commit, pairs, tuple(left_out))


def _name(lane: Lane) -> str:
    """The name of a lane's older self."""
    return f"{lane.name[: NAME_LIMIT - len(SUFFIX)]}{SUFFIX}"


def _case(case: Case, pairs: dict[str, str]) -> Case:
    """A case that leaves out the older self of whom it leaves out."""
    older = {pairs[name]: reason for name, reason in case.without.items() if name in pairs}
    return replace(case, without={**case.without, **older})
