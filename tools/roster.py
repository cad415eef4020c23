"""Who stands for whom in tables over all projects: languages, lanes, peers, and the results that count."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.analysis import Analysis
    from tools.record import Arm
    from tools.rows import Row
    from tools.selection import Evidence, Evidences

COMPETING = ("go", "rust", "zig")


def languages(evidences: Evidences) -> list[str]:
    """List the languages that compete: ours, then any other that a result has."""
    found = {lane.language for _, evidence in evidences.all() if evidence for lane in evidence.result.lanes}
    return [*COMPETING, *sorted(name for name in found if name and name not in COMPETING)]


def lane_of(evidence: Evidence, analysis: Analysis, language: str) -> Arm | None:
    """Choose the lane that stands for a language: the best placed one of the main parity, else any measured one."""
    lanes = [lane for lane in evidence.result.lanes if lane.language == language and lane.name in analysis.figures]
    group = analysis.main_group
    main = [lane for lane in lanes if group and lane.name in group.to_leader]
    if group and main:
        return min(main, key=lambda lane: group.to_leader[lane.name].ratio.ratio)
    return lanes[0] if lanes else None


def peers(evidence: Evidence, analysis: Analysis) -> list[Arm]:
    """List the measured peers."""
    return [arm for arm in evidence.result.arms.values() if arm.role == "peer" and arm.name in analysis.figures]


def measured(evidences: Evidences) -> Iterator[tuple[Row, Evidence]]:
    """Yield the rows that have a result."""
    return ((row, evidence) for row, evidence in evidences.all() if evidence is not None)


def fresh(evidences: Evidences, *, headline_only: bool) -> Iterator[tuple[Row, Evidence, Analysis]]:
    """Yield cases that count: whole and fresh results, confirmed where the machine was a shared runner."""
    for row, evidence in measured(evidences):
        if evidence.counts:
            chosen = [evidence.headline] if headline_only else evidence.analyses.values()
            confirmed = (analysis for analysis in chosen if evidence.confirmed(analysis.case.name))
            yield from ((row, evidence, analysis) for analysis in confirmed)
