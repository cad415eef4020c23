"""The tables over all projects: PLAN.md, SUMMARY.md and the short one of README.md, all from the same evidence."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import TYPE_CHECKING

from tools import markdown as md
from tools import stats, wording
from tools.wording import STALE, STALE_NOTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tools.analysis import Analysis
    from tools.record import Arm
    from tools.rows import Row
    from tools.selection import Evidence, Evidences

COMPETING = ("go", "rust", "zig")
NOTHING = "*No results yet.*"
LEAST_SYSTEMS = 2
ALPHA, SEED = 0.05, 1


@dataclass(frozen=True)
class Score:
    """How often a language won alone or tied for the first place."""

    won: Counter[str]
    tied: Counter[str]
    seen: Counter[str]


def plan(evidences: Evidences) -> str:
    """List all rows with status, winner and the raw numbers of the headline case."""
    languages = _languages(evidences)
    head = ["#", "Project", "Kind", "Status", "Winner", *map(wording.language, languages), "Peers", "Headline case"]
    parts = []
    for group, rows in groupby(evidences.all(), key=lambda pair: pair[0].group):
        lines = [_plan_row(row, evidence, languages) for row, evidence in rows]
        parts.append(f"### {md.text(group)}\n\n{md.table(head, lines, numbers_from=len(head))}")
    if any(evidence and evidence.stale for _, evidence in evidences.all()):
        parts.append(STALE_NOTE)
    return "\n\n".join(parts)


def status(row: Row, evidence: Evidence | None) -> str:
    """Say how far a row is: planned, unmeasured, failed, stale, partial or done."""
    if evidence is None:
        return "unmeasured" if row.project else "planned"
    if evidence.failed:
        return "failed: " + ", ".join(evidence.failed)
    if evidence.stale_lanes:
        return "stale: " + ", ".join(evidence.stale_lanes)
    if evidence.missing or evidence.interrupted:
        return "partial: " + (f"without {', '.join(evidence.missing)}" if evidence.missing else "interrupted")
    return "done"


def _plan_row(row: Row, evidence: Evidence | None, languages: list[str]) -> list[str]:
    """Write one row of the plan."""
    title = _title(row)
    first = [md.text(row.number), title, ", ".join(row.kinds), status(row, evidence)]
    if evidence is None:
        return [*first, md.DASH, *[md.DASH] * len(languages), md.DASH, md.DASH]
    analysis = evidence.headline
    numbers = [_median(evidence, analysis, _lane_of(evidence, analysis, language)) for language in languages]
    peers = [f"{wording.program(arm)} {_median(evidence, analysis, arm)}" for arm in _peers(evidence, analysis)]
    case = f"`{analysis.case.name}`: {md.text(analysis.case.title)}"
    return [*first, wording.outcome(analysis, evidence), *numbers, "; ".join(peers) or md.DASH, case]


def _title(row: Row) -> str:
    """Name a project, with a link once it has a folder (a slug is letters, digits and hyphens)."""
    return f"[{md.text(row.title)}](projects/{row.slug}/README.md)" if row.project else md.text(row.title)


def _languages(evidences: Evidences) -> list[str]:
    """List the languages that compete: ours, then any other that a result has."""
    found = {lane.language for _, evidence in evidences.all() if evidence for lane in evidence.result.lanes}
    return [*COMPETING, *sorted(name for name in found if name and name not in COMPETING)]


def _lane_of(evidence: Evidence, analysis: Analysis, language: str) -> Arm | None:
    """Choose the lane that stands for a language: the best placed one of the main parity, else any measured one."""
    lanes = [lane for lane in evidence.result.lanes if lane.language == language and lane.name in analysis.figures]
    group = analysis.main_group
    main = [lane for lane in lanes if group and lane.name in group.to_leader]
    if group and main:
        return min(main, key=lambda lane: group.to_leader[lane.name].ratio.ratio)
    return lanes[0] if lanes else None


def _peers(evidence: Evidence, analysis: Analysis) -> list[Arm]:
    """List the measured peers."""
    return [arm for arm in evidence.result.arms.values() if arm.role == "peer" and arm.name in analysis.figures]


def _median(evidence: Evidence, analysis: Analysis, arm: Arm | None) -> str:
    """Write the median time of an arm, marked when stale."""
    if arm is None:
        return md.DASH
    shown = md.duration(analysis.figures[arm.name].wall_ns.median)
    return f"{shown} {STALE}" if arm.name in evidence.stale else shown


def standings(evidences: Evidences) -> str:
    """Write the short table: measured projects with the raw numbers of their headline case."""
    languages = _languages(evidences)
    head = ["Project", "Job", *map(wording.language, languages), "Peers", "Winner"]
    rows = []
    for row, evidence in _measured(evidences):
        analysis = evidence.headline
        numbers = [_median(evidence, analysis, _lane_of(evidence, analysis, language)) for language in languages]
        peers = [f"{wording.program(arm)} {_median(evidence, analysis, arm)}" for arm in _peers(evidence, analysis)]
        job, winner = md.text(analysis.case.title), wording.outcome(analysis, evidence)
        rows.append([_title(row), job, *numbers, "; ".join(peers) or md.DASH, winner])
    measured = f"{len(rows)} of {len(evidences.rows)} systems measured."
    return f"{md.table(head, rows, numbers_from=2)}\n\n{measured}" if rows else f"{NOTHING} {measured}"


def wins(evidences: Evidences) -> str:
    """Count wins per language: a shared first place is a tie, and stale or failed rows count for nobody."""
    systems = _score(_fresh(evidences, headline_only=True))
    cases = _score(_fresh(evidences, headline_only=False))
    if not cases.seen:
        return NOTHING
    head = ["Language", "Systems won", "Systems tied", "Systems measured", "Cases won", "Cases tied", "Cases measured"]
    rows = [
        [
            wording.language(name),
            *(str(counter[name]) for one in (systems, cases) for counter in (one.won, one.tied, one.seen)),
        ]
        for name in _languages(evidences)
    ]
    return md.table(head, rows)


def _score(outcomes: Iterable[tuple[Row, Evidence, Analysis]]) -> Score:
    """Count first places."""
    score = Score(Counter(), Counter(), Counter())
    for _, evidence, analysis in outcomes:
        group = analysis.main_group
        if group is None:
            continue
        arms = evidence.result.arms
        score.seen.update({arms[lane].language or "" for lane in group.to_leader})
        score.won.update([arms[group.winner].language or ""] if group.winner else [])
        score.tied.update({arms[lane].language or "" for lane in group.tied})
    return score


def _measured(evidences: Evidences) -> Iterator[tuple[Row, Evidence]]:
    """Yield the rows that have a result."""
    return ((row, evidence) for row, evidence in evidences.all() if evidence is not None)


def _fresh(evidences: Evidences, *, headline_only: bool) -> Iterator[tuple[Row, Evidence, Analysis]]:
    """Yield cases that count: whole and fresh results, confirmed where the machine was a shared runner."""
    for row, evidence in _measured(evidences):
        if evidence.counts:
            chosen = [evidence.headline] if headline_only else evidence.analyses.values()
            confirmed = (analysis for analysis in chosen if evidence.confirmed(analysis.case.name))
            yield from ((row, evidence, analysis) for analysis in confirmed)


def cases(evidences: Evidences) -> str:
    """List every case of every measured project."""
    languages = _languages(evidences)
    head = ["#", "Project", "Case", "Winner", *map(wording.language, languages), "Peers", "Environment"]
    rows = []
    for row, evidence in _measured(evidences):
        for analysis in evidence.analyses.values():
            numbers = [_median(evidence, analysis, _lane_of(evidence, analysis, language)) for language in languages]
            peers = [f"{wording.program(arm)} {_median(evidence, analysis, arm)}" for arm in _peers(evidence, analysis)]
            rows.append([
                md.text(row.number), _title(row), f"`{analysis.case.name}`", wording.outcome(analysis, evidence),
                *numbers, "; ".join(peers) or md.DASH, f"`{evidence.result.environment.id}`",
            ])  # fmt: skip
    return md.table(head, rows, numbers_from=len(head)) if rows else NOTHING


def sizes(evidences: Evidences) -> str:
    """List what the lanes weigh and what building them costs."""
    head = ["#", "Project", "Program", "Binary", "Peak memory", "Cold build", "Incremental build", "Start-up", "Lines"]
    rows = []
    for row, evidence in _measured(evidences):
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
    found = {evidence.result.environment.id: evidence.result.environment for _, evidence in _measured(evidences)}
    return "\n".join(f"- {wording.environment(found[name])}" for name in sorted(found)) or NOTHING


def choose(evidences: Evidences) -> str:
    """Say, language by language, where it leads: nothing but what the newest results show."""
    fresh = list(_fresh(evidences, headline_only=False))
    if not fresh:
        return NOTHING
    lines = []
    for language in _languages(evidences):
        won = _cases_where(fresh, language, alone=True)
        shared = _cases_where(fresh, language, alone=False)
        lines.append(
            f"- **{wording.language(language)}** is first alone in {'; '.join(won) or 'no case'},"
            f" and shares the first place in {'; '.join(shared) or 'no case'}."
        )
    return "\n".join(lines)


def overall(evidences: Evidences) -> str:
    """Write the geometric mean over systems of each pair's ratio: a compound figure, so its interval is bootstrapped."""
    fresh = list(_fresh(evidences, headline_only=True))
    rows = []
    for a, b in combinations(_languages(evidences), 2):
        logs = [found for _, evidence, analysis in fresh if (found := _logs(evidence, analysis, a, b))]
        if len(logs) >= LEAST_SYSTEMS:
            mean, bounds = stats.bootstrap_geomean(logs, ALPHA, seed=SEED)
            pair = f"{wording.language(a)} over {wording.language(b)}"
            rows.append([pair, md.count(len(logs)), md.factor(mean), md.interval(bounds.low, bounds.high)])
    if not rows:
        return f"*A mean needs at least {LEAST_SYSTEMS} systems whose results count.*"
    return md.table(["Time of a headline case", "Systems", "Geometric mean", "95 % interval"], rows)


def _logs(evidence: Evidence, analysis: Analysis, a: str, b: str) -> list[float]:
    """List ln of the ratio of two languages, round by round; empty where they are not ranked together."""
    first, second = (_lane_of(evidence, analysis, language) for language in (a, b))
    group = analysis.main_group
    if group is None or first is None or second is None or not {first.name, second.name} <= set(group.to_leader):
        return []
    pair = analysis.pairs.get((first.name, second.name))
    return [math.log(ratio) for ratio in pair.rounds] if pair else []


def _cases_where(fresh: list[tuple[Row, Evidence, Analysis]], language: str, *, alone: bool) -> list[str]:
    """List the cases that a language wins alone, or shares, by project."""
    found: dict[str, list[str]] = {}
    for row, evidence, analysis in fresh:
        group = analysis.main_group
        lanes = () if group is None else ((group.winner,) if alone else group.tied)
        if language in {evidence.result.arms[lane].language for lane in lanes if lane}:
            found.setdefault(md.text(row.title), []).append(f"`{analysis.case.name}`")
    return [f"{title} ({', '.join(names)})" for title, names in found.items()]
