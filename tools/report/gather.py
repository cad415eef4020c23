"""Everything that the pages show, read once: who speaks for each row, what every older result said, all null arms.

Each result file is opened once. Of older ones only the headline is analysed; the noise of a run is wanted of all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tools import analysis, figures, history, project, result, validate, wording
from tools.report.cases import kind, program
from tools.selection import MAIN_WORKLOAD, Evidence, Evidences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tools.record import Arm, CaseResult, Environment, Result
    from tools.rows import Row
    from tools.stats import NullArm
    from tools.tables import Roots
    from tools.validate import Summary


@dataclass(frozen=True)
class Cost:
    """What a program needed in the headline case of one result."""

    program: str
    kind: str
    metric: str
    value: float
    shown: str
    moment: history.Moment | None = None
    """Of a lane: its ratio to the first peer of the same run, from which changes of level are told."""


@dataclass(frozen=True)
class NullRun:
    """How far the reference lane stood from itself in one case of one result."""

    slug: str
    case: str
    created_at: str
    environment: str
    null: NullArm


@dataclass(frozen=True)
class Past:
    """One result file, as the history shows it."""

    name: str
    created_at: str
    workload: str
    environment: Environment
    commit: str | None
    dirty: bool
    case: str
    outcome: str
    """Markdown, as in every table."""
    costs: tuple[Cost, ...]
    nulls: tuple[NullRun, ...]


@dataclass
class Gathered:
    """What the pages are made from."""

    evidences: Evidences
    by_environment: dict[str, Evidences] = field(default_factory=dict)
    environments: dict[str, Environment] = field(default_factory=dict)
    history: dict[str, list[Past]] = field(default_factory=dict)

    @property
    def nulls(self) -> list[NullRun]:
        """All null arms, the oldest result first."""
        found = [past for each in self.history.values() for past in each]
        return [run for past in sorted(found, key=lambda one: (one.created_at, one.name)) for run in past.nulls]

    @property
    def files(self) -> int:
        """How many result files there are."""
        return sum(len(each) for each in self.history.values())

    @property
    def newest(self) -> str | None:
        """The date of the newest result."""
        return max((past.created_at[:10] for each in self.history.values() for past in each), default=None)


def gather(roots: Roots, *, save: bool = True) -> Gathered:
    """Validate all results and read them.

    Raises:
        ResultError: a file is wrong; the message lists every problem of every file.
    """
    report = validate.examine(roots.root / "results", roots.index, save=save)
    report.refuse_problems()
    projects = project.load_all(roots.root / "projects")
    found = Gathered(Evidences(projects, report.results))
    slugs = {row.slug for row in found.evidences.rows}
    for summary in sorted(report.results, key=lambda one: (one.created_at, one.path.name)):
        if summary.slug in slugs:
            loaded = result.load(summary.path)
            found.environments[summary.environment] = loaded.environment
            found.history.setdefault(summary.slug, []).append(_past(loaded, summary))
    for name in found.environments:
        found.by_environment[name] = Evidences(projects, [one for one in report.results if one.environment == name])
    return found


def speaking(found: Gathered) -> dict[str, str]:
    """Map each measured row to the environment of the result that speaks for it."""
    return {row.slug: one.result.environment.id for row, one in found.evidences.all() if one is not None}


def elsewhere(found: Gathered) -> list[tuple[Row, Evidence]]:
    """List what other environments say of a row than the one that speaks for it."""
    spoken = speaking(found)
    return [
        (row, evidence)
        for name, evidences in found.by_environment.items()
        for row, evidence in evidences.all()
        if evidence is not None and spoken.get(row.slug) != name
    ]


def shown(evidences: Evidences, row: Row) -> list[Evidence]:
    """List the results that the page of a row shows: of the main workload, then of its others."""
    names = [name for name in row.project.workloads if name != MAIN_WORKLOAD] if row.project else []
    found = (evidences.of(row, name) for name in (MAIN_WORKLOAD, *names))
    return [one for one in found if one is not None]


def main_history(pasts: Sequence[Past]) -> Mapping[str, list[Past]]:
    """Group the results of the main workload by environment: only within one may times be compared."""
    groups: dict[str, list[Past]] = {}
    for past in pasts:
        if past.workload == MAIN_WORKLOAD:
            groups.setdefault(past.environment.id, []).append(past)
    return groups


def _past(loaded: Result, summary: Summary) -> Past:
    """Keep what the history shows of a result."""
    headline = loaded.headline
    whole = analysis.analyse(loaded, headline)
    return Past(
        name=summary.path.name,
        created_at=loaded.created_at,
        workload=summary.workload,
        environment=loaded.environment,
        commit=loaded.harness.commit,
        dirty=loaded.harness.dirty,
        case=headline.name,
        outcome=wording.outcome(whole, Evidence(loaded, frozenset())),
        costs=tuple(_costs(loaded, whole)),
        nulls=tuple(run for case in loaded.cases if (run := _null_run(loaded, case)) is not None),
    )


def _costs(loaded: Result, whole: analysis.Analysis) -> list[Cost]:
    """List what every lane and peer needed."""
    costs: list[Cost] = []
    for arm in loaded.arms.values():
        numbers: figures.Figures | None = whole.figures.get(arm.name)
        if arm.role != "null" and numbers is not None:
            words = wording.cost(numbers, loaded.item.plural)
            name = program(arm)
            costs.append(Cost(name, kind(arm), numbers.metric, numbers.cost.median, words, _moment(loaded, whole, arm)))
    return costs


def _moment(loaded: Result, whole: analysis.Analysis, arm: Arm) -> history.Moment | None:
    """Give what the history keeps of a lane."""
    if arm.role != "lane":
        return None
    peer = next((other for lane, other in whole.pairs if lane == arm.name and loaded.arms[other].role == "peer"), None)
    return history.moment(loaded, whole.case, whole, arm.name, peer)


def _null_run(loaded: Result, case: CaseResult) -> NullRun | None:
    """Measure the null arm of a case, where it has one."""
    null = analysis.null_arm(loaded, case)
    if null is None:
        return None
    return NullRun(loaded.slug, case.name, loaded.created_at, loaded.environment.id, null)
