"""The tables over all projects: PLAN.md, SUMMARY.md and the short one of README.md, all from the same evidence."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from tools import markdown as md
from tools import stats, wording
from tools.roster import lane_of, languages, measured, peers
from tools.wording import STALE, STALE_NOTE

if TYPE_CHECKING:
    from tools.analysis import Analysis
    from tools.record import Arm
    from tools.rows import Row
    from tools.selection import Evidence, Evidences

NOTHING = "*No results yet.*"


def plan(evidences: Evidences) -> str:
    """List all rows with status, winner and the raw numbers of the headline case."""
    names = languages(evidences)
    head = ["#", "Project", "Kind", "Status", "Winner", *map(wording.language, names), "Peers", "Headline case"]
    parts = []
    for group, rows in groupby(evidences.all(), key=lambda pair: pair[0].group):
        lines = [_plan_row(row, evidence, names) for row, evidence in rows]
        parts.append(f"### {md.text(group)}\n\n{md.table(head, lines, numbers_from=len(head))}")
    if any(evidence and evidence.stale for _, evidence in evidences.all()):
        parts.append(STALE_NOTE)
    return "\n\n".join(parts)


def status(row: Row, evidence: Evidence | None) -> str:
    """Say how far a row is: planned, unmeasured, failed, stale, load invalid, partial or done."""
    if evidence is None:
        return "unmeasured" if row.project else "planned"
    if evidence.failed:
        return "failed: " + ", ".join(evidence.failed)
    if evidence.stale_lanes:
        return "stale: " + ", ".join(evidence.stale_lanes)
    if evidence.overloaded:
        return "load invalid: " + ", ".join(evidence.overloaded)
    if evidence.missing or evidence.interrupted:
        return "partial: " + (f"without {', '.join(evidence.missing)}" if evidence.missing else "interrupted")
    return "done"


def _plan_row(row: Row, evidence: Evidence | None, names: list[str]) -> list[str]:
    """Write one row of the plan."""
    title = _title(row)
    first = [md.text(row.number), title, ", ".join(row.kinds), status(row, evidence)]
    if evidence is None:
        return [*first, md.DASH, *[md.DASH] * len(names), md.DASH, md.DASH]
    analysis = evidence.headline
    numbers = [_median(evidence, analysis, lane_of(evidence, analysis, language)) for language in names]
    beside = [f"{wording.program(arm)} {_median(evidence, analysis, arm)}" for arm in peers(evidence, analysis)]
    case = f"`{analysis.case.name}`: {md.text(analysis.case.title)}"
    return [*first, wording.outcome(analysis, evidence), *numbers, "; ".join(beside) or md.DASH, case]


def _title(row: Row) -> str:
    """Name a project, with a link once it has a folder (a slug is letters, digits and hyphens)."""
    return f"[{md.text(row.title)}](projects/{row.slug}/README.md)" if row.project else md.text(row.title)


def _median(evidence: Evidence, analysis: Analysis, arm: Arm | None) -> str:
    """Write the median time of an arm, marked when stale."""
    if arm is None:
        return md.DASH
    shown = wording.cost(analysis.figures[arm.name], evidence.result.item.plural)
    return f"{shown} {STALE}" if arm.name in evidence.stale else shown


def standings(evidences: Evidences) -> str:
    """Write the short table: measured projects with the raw numbers of their headline case."""
    names = languages(evidences)
    head = ["Project", "Job", *map(wording.language, names), "Peers", "Winner"]
    rows = []
    for row, evidence in measured(evidences):
        analysis = evidence.headline
        numbers = [_median(evidence, analysis, lane_of(evidence, analysis, language)) for language in names]
        beside = [f"{wording.program(arm)} {_median(evidence, analysis, arm)}" for arm in peers(evidence, analysis)]
        job, winner = md.text(analysis.case.title), wording.outcome(analysis, evidence)
        rows.append([_title(row), job, *numbers, "; ".join(beside) or md.DASH, winner])
    progress = f"{len(rows)} of {len(evidences.rows)} systems measured."
    return f"{md.table(head, rows, numbers_from=2)}\n\n{progress}" if rows else f"{NOTHING} {progress}"


def cases(evidences: Evidences) -> str:
    """List every case of every measured project."""
    names = languages(evidences)
    head = ["#", "Project", "Case", "Winner", *map(wording.language, names), "Peers", "Environment"]
    rows = []
    for row, evidence in measured(evidences):
        for analysis in evidence.analyses.values():
            numbers = [_median(evidence, analysis, lane_of(evidence, analysis, language)) for language in names]
            beside = [f"{wording.program(arm)} {_median(evidence, analysis, arm)}" for arm in peers(evidence, analysis)]
            rows.append([
                md.text(row.number), _title(row), f"`{analysis.case.name}`", wording.outcome(analysis, evidence),
                *numbers, "; ".join(beside) or md.DASH, f"`{evidence.result.environment.id}`",
            ])  # fmt: skip
    return md.table(head, rows, numbers_from=len(head)) if rows else NOTHING


def sizes(evidences: Evidences) -> str:
    """List what the lanes weigh and what building them costs."""
    head = ["#", "Project", "Program", "Binary", "Peak memory", "Cold build", "Incremental build", "Start-up", "Lines"]
    rows = []
    for row, evidence in measured(evidences):
        for lane in evidence.result.lanes:
            figures = evidence.headline.figures.get(lane.name)
            mark = f" {STALE}" if lane.name in evidence.stale else ""
            rows.append([
                md.text(row.number), _title(row), wording.program(lane) + mark, md.size(lane.binary_bytes),
                md.size(figures.max_rss_bytes if figures else None), md.duration(lane.cold_build_ns),
                md.duration(lane.incremental_build_ns),
                md.duration(stats.median(lane.startup_ns) if lane.startup_ns else None), md.count(lane.lines_of_code),
            ])  # fmt: skip
    return md.table(head, rows, numbers_from=3) if rows else NOTHING


def environments(evidences: Evidences) -> str:
    """List the environments that the shown results are true of."""
    found = {evidence.result.environment.id: evidence.result.environment for _, evidence in measured(evidences)}
    return "\n".join(f"- {wording.environment(found[name])}" for name in sorted(found)) or NOTHING
