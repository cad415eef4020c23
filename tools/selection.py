"""Which results speak for a project, and whether they are still about the sources that are there now.

A row of a table is one result file: different runners or machines never share a row. The newest Docker result of the
preferred environment speaks; where there is none, the newest of another Docker environment, else of a host.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tools import result
from tools.analysis import Analysis, analyse
from tools.files import source_sha256
from tools.record import SOAK
from tools.rows import Row, all_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tools.model import Lane, Peer, Project
    from tools.record import Result
    from tools.validate import Summary

MAIN_WORKLOAD = "bench"
CI_JOBS = 3
MAX_OTHERS = 8  # results of other jobs that are looked at, the newest first


@dataclass
class Evidence:
    """One result with its statistics and the arms whose sources have changed since."""

    result: Result
    stale: frozenset[str]
    missing: tuple[str, ...] = ()
    """Lanes and cases of the project that this result does not have."""
    others: tuple[Result, ...] = ()
    """Results of other CI jobs about the same sources: shared runners must agree (MEASURING.md 15)."""

    @cached_property
    def analyses(self) -> dict[str, Analysis]:
        """Statistics of every case, by name."""
        return {case.name: analyse(self.result, case) for case in self.result.cases}

    @property
    def headline(self) -> Analysis:
        """Statistics of the case that short tables show."""
        return self.analyses[self.result.headline.name]

    def agreeing(self, name: str) -> int:
        """Count the results, this one among them, that say the same of the first place of a case."""
        mine = self.analyses[name].first_place
        found = [analyse(other, case) for other in self.others for case in other.cases if case.name == name]
        return 1 + sum(one.first_place == mine for one in found)

    def confirmed(self, name: str) -> bool:
        """Whether the first place of a case may be claimed: on a shared CI runner only when three jobs agree."""
        return not self.result.environment.ci or self.agreeing(name) >= CI_JOBS

    @property
    def failed(self) -> list[str]:
        """Lanes that have no verdict in some case although nobody excluded them from it."""
        bad = {"build-failed", "verify-failed", "run-failed", "impossible", "not-run"}
        return [
            lane.name
            for lane in self.result.lanes
            if lane.state in bad or any(case.states[lane.name].state in bad for case in self.result.cases)
        ]

    @property
    def overloaded(self) -> list[str]:
        """Cases whose load generator could not keep its own rate: they say nothing, and that is no lane's fault."""
        lanes = [lane.name for lane in self.result.lanes]
        return [
            case.name for case in self.result.cases if any(case.states[lane].state == "load-invalid" for lane in lanes)
        ]

    @property
    def interrupted(self) -> bool:
        """Whether somebody stopped the run before it was precise or out of budget."""
        return any(case.stop == "interrupted" for case in self.result.cases)

    @property
    def counts(self) -> bool:
        """Whether it may count in wins: whole, every lane right, and made from the sources that are there now."""
        return not (self.failed or self.missing or self.interrupted or self.stale_lanes)

    @property
    def stale_lanes(self) -> list[str]:
        """Lanes whose sources have changed."""
        return [lane.name for lane in self.result.lanes if lane.name in self.stale]


class Evidences:
    """All rows, and for each row and workload the result that speaks for it."""

    def __init__(self, projects: Iterable[Project], summaries: Iterable[Summary]) -> None:
        """Choose among summaries; files are read only when their numbers are asked for."""
        self.rows: list[Row] = all_rows(projects)
        self._chosen: dict[tuple[str, str], Evidence | None] = {}
        self._hashes: dict[Path, str] = {}
        self._summaries: dict[tuple[str, str], list[Summary]] = {}
        found = list(summaries)
        for one in found:
            self._summaries.setdefault((one.slug, one.workload), []).append(one)
        self.preferred = preferred_environment(found)

    def row(self, name: str) -> Row:
        """Find a row by slug or alias.

        Raises:
            LookupError: there is none.
        """
        for row in self.rows:
            if name in {row.slug, row.alias}:
                return row
        raise LookupError(f"unknown project {name!r}")

    def of(self, row: Row, workload: str = MAIN_WORKLOAD) -> Evidence | None:
        """Give the result that speaks for a row, if there is one."""
        key = (row.slug, workload)
        if key not in self._chosen:
            self._chosen[key] = self._choose(row, workload) if key in self._summaries else None
        return self._chosen[key]

    def _choose(self, row: Row, workload: str) -> Evidence:
        """Load the best result of a row, and nothing else (but other CI jobs where they must agree)."""
        wanted = _wanted(row.project, workload)
        candidates = self._summaries[row.slug, workload]
        best = max(candidates, key=lambda one: (*_standing(one, self.preferred, wanted), one.created_at))
        loaded = result.load(best.path)
        missing = tuple(sorted(wanted - {*best.lanes, *best.cases}))
        others = self._other_jobs(best, loaded, candidates) if best.ci else ()
        return Evidence(loaded, self._stale(loaded, row.project), missing, others)

    def all(self) -> list[tuple[Row, Evidence | None]]:
        """Pair every row with its evidence."""
        return [(row, self.of(row)) for row in self.rows]

    def _other_jobs(self, best: Summary, loaded: Result, candidates: list[Summary]) -> tuple[Result, ...]:
        """Load the newest results of other CI jobs with the same runner and the same sources."""
        jobs = [one for one in candidates if one.ci and one.runner == best.runner and one.path != best.path]
        newest = sorted(jobs, key=lambda one: one.created_at, reverse=True)[:MAX_OTHERS]
        sources = {lane.name: lane.source_sha256 for lane in loaded.lanes}
        others = [result.load(one.path) for one in newest]
        return tuple(one for one in others if {lane.name: lane.source_sha256 for lane in one.lanes} == sources)

    def _stale(self, loaded: Result, project: Project | None) -> frozenset[str]:
        """Find arms that were made from other sources than those that are there now."""
        sources: list[Lane | Peer] = [*project.lanes.values(), *project.peers.values()] if project else []
        programs = {one.name: one.folder for one in sources}
        stale = set()
        for arm in loaded.arms.values():
            folder = programs.get(arm.of or arm.name)
            if arm.source_sha256 is not None and (folder is None or self._hash(folder) != arm.source_sha256):
                stale.add(arm.name)
        return frozenset(stale)

    def _hash(self, folder: Path) -> str:
        """Hash a folder of sources once."""
        if folder not in self._hashes:
            self._hashes[folder] = source_sha256(folder)
        return self._hashes[folder]


def preferred_environment(summaries: Sequence[Summary]) -> str | None:
    """Choose the Docker environment that covers most projects, the newest among equals; None without Docker results."""
    docker = [one for one in summaries if one.runner == "docker"]
    covered = Counter(environment for environment, _ in {(one.environment, one.slug) for one in docker})
    newest = {one.environment: one.created_at for one in sorted(docker, key=lambda one: one.created_at)}
    return max(newest, key=lambda name: (covered[name], newest[name]), default=None)


def _wanted(project: Project | None, workload: str) -> set[str]:
    """Name the lanes and cases that a whole result of a project has."""
    if project is None:
        return set()
    cases = (case for case in project.cases if (case.soak if workload == SOAK else workload in case.workloads))
    return {*project.lanes, *(case.name for case in cases)}


def _standing(one: Summary, preferred: str | None, wanted: set[str]) -> tuple[bool, bool, bool]:
    """Order results before their dates: preferred environment, Docker, and all lanes and cases measured to the end."""
    docker = one.runner == "docker"
    return docker and one.environment == preferred, docker, one.complete and wanted <= {*one.lanes, *one.cases}
