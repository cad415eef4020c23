"""The heat map and the standings: who needs how many times as much as whom, over cases and over projects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools import markdown as md
from tools import overview_tables, wording
from tools.report.cases import program
from tools.report.gather import elsewhere
from tools.roster import fresh, lane_of, languages, peers
from tools.score_tables import score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.analysis import Analysis, Comparison
    from tools.record import Arm
    from tools.report.gather import Gathered
    from tools.rows import Row
    from tools.selection import Evidence, Evidences

LEADER_STEPS = (1.10, 1.5, 2.0, 4.0)
PEER_STEPS = (1.10, 2.0, 4.0)
"""Ratios at which a cell takes the next colour; the first is the edge of a tie."""


@dataclass(frozen=True)
class Compared:
    """A ratio in a cell: its words, and the step of its colour (below 0: less than the other needs)."""

    ratio: str
    words: str
    step: int


@dataclass(frozen=True)
class Cell:
    """One language in one case."""

    language: str
    title: str
    cost: str
    first: bool
    leader: Compared | None
    peer: Compared | None


@dataclass(frozen=True)
class HeatRow:
    """One case of one project in one environment."""

    slug: str
    number: str
    title: str
    group: str
    kinds: tuple[str, ...]
    environment: str
    speaks: bool
    headline: bool
    case: str
    case_title: str
    case_id: str
    outcome: str
    status: str
    noise: str
    cells: tuple[Cell | None, ...]
    peers: tuple[tuple[str, str], ...]
    """Name and cost of every measured peer."""


@dataclass(frozen=True)
class Share:
    """First places of a language among what was measured."""

    won: int
    tied: int
    seen: int

    @property
    def won_percent(self) -> float:
        """Won alone."""
        return round(100 * self.won / self.seen, 1) if self.seen else 0.0

    @property
    def tied_percent(self) -> float:
        """Shared with others."""
        return round(100 * self.tied / self.seen, 1) if self.seen else 0.0


@dataclass(frozen=True)
class Standing:
    """How one language stands."""

    language: str
    title: str
    systems: Share
    cases: Share


def standings(evidences: Evidences) -> list[Standing]:
    """Count first places as the table of wins does; a shared one is a tie."""
    systems, cases = (score(fresh(evidences, headline_only=only)) for only in (True, False))
    return [
        Standing(
            name,
            wording.language(name),
            *(Share(one.won[name], one.tied[name], one.seen[name]) for one in (systems, cases)),
        )
        for name in languages(evidences)
    ]


def heat_rows(found: Gathered) -> list[HeatRow]:
    """List every case of every row, of the environment that speaks for it first, then of others."""
    names = languages(found.evidences)
    spoken = [(row, evidence) for row, evidence in found.evidences.all() if evidence is not None]
    rows = [made for row, evidence in spoken for made in case_rows(row, evidence, names, speaks=True)]
    others = [made for row, evidence in elsewhere(found) for made in case_rows(row, evidence, names, speaks=False)]
    return [*rows, *others]


def case_rows(row: Row, evidence: Evidence, names: Sequence[str], *, speaks: bool) -> list[HeatRow]:
    """Make a row for each case of one result."""
    return [_row(row, evidence, analysis, names, speaks=speaks) for analysis in evidence.analyses.values()]


def _row(row: Row, evidence: Evidence, analysis: Analysis, names: Sequence[str], *, speaks: bool) -> HeatRow:
    """Make one row."""
    case = analysis.case
    beside = peers(evidence, analysis)
    nearest = min(beside, key=lambda arm: analysis.figures[arm.name].cost.median, default=None)
    return HeatRow(
        slug=row.slug,
        number=row.number,
        title=row.title,
        group=row.group,
        kinds=row.kinds,
        environment=evidence.result.environment.id,
        speaks=speaks,
        headline=case is evidence.result.headline,
        case=case.name,
        case_title=case.title,
        case_id=f"{case.workload}-{case.name}",
        outcome=wording.outcome(analysis, evidence),
        status=overview_tables.status(row, evidence),
        noise=str(analysis.null.noise) if analysis.null else "no null arm",
        cells=tuple(_cell(evidence, analysis, name, nearest) for name in names),
        peers=tuple(
            (program(arm), wording.cost(analysis.figures[arm.name], evidence.result.item.plural)) for arm in beside
        ),
    )


def _cell(evidence: Evidence, analysis: Analysis, name: str, peer: Arm | None) -> Cell | None:
    """Make the cell of a language; None where it has no measured lane."""
    lane = lane_of(evidence, analysis, name)
    if lane is None:
        return None
    group = analysis.group_of(lane.name)
    to_leader = group.to_leader.get(lane.name) if group else None
    leads = group is not None and lane.name == group.leader
    tied = group is not None and lane.name in group.tied
    to_peer = analysis.pairs.get((lane.name, peer.name)) if peer else None
    mark = f" {wording.STALE}" if lane.name in evidence.stale else ""
    return Cell(
        language=name,
        title=wording.language(name),
        cost=wording.cost(analysis.figures[lane.name], evidence.result.item.plural) + mark,
        first=group is not None and (group.winner == lane.name or tied),
        leader=Compared("leader", "", 0) if leads else _compared(to_leader, LEADER_STEPS),
        peer=_compared(to_peer, PEER_STEPS),
    )


def _compared(one: Comparison | None, steps: Sequence[float]) -> Compared | None:
    """Put a comparison into a cell."""
    if one is None:
        return None
    oriented = one.ratio.slower_over_faster().ratio
    step = sum(oriented > edge for edge in steps)
    words = f"{md.interval(one.ratio.low, one.ratio.high)} {wording.verdict(one)}"
    return Compared(md.factor(one.ratio.ratio), words, step if one.ratio.ratio >= 1 else -step)
