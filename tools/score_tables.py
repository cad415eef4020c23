"""Who wins over all projects, by how much, and where: only results that count, and ties are ties."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from tools import markdown as md
from tools import stats, wording
from tools.roster import fresh, lane_of, languages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tools.analysis import Analysis
    from tools.rows import Row
    from tools.selection import Evidence, Evidences

NOTHING = "*No results that count yet.*"
LEAST_SYSTEMS = 2
ALPHA, SEED = 0.05, 1


@dataclass(frozen=True)
class Score:
    """How often a language won alone or tied for the first place."""

    won: Counter[str]
    tied: Counter[str]
    seen: Counter[str]


def wins(evidences: Evidences) -> str:
    """Count wins per language: a shared first place is a tie, and stale or failed rows count for nobody."""
    systems = score(fresh(evidences, headline_only=True))
    cases = score(fresh(evidences, headline_only=False))
    if not cases.seen:
        return NOTHING
    head = ["Language", "Systems won", "Systems tied", "Systems measured", "Cases won", "Cases tied", "Cases measured"]
    rows = [
        [
            wording.language(name),
            *(str(counter[name]) for one in (systems, cases) for counter in (one.won, one.tied, one.seen)),
        ]
        for name in languages(evidences)
    ]
    return md.table(head, rows)


def score(outcomes: Iterable[tuple[Row, Evidence, Analysis]]) -> Score:
    """Count first places."""
    found = Score(Counter(), Counter(), Counter())
    for _, evidence, analysis in outcomes:
        group = analysis.main_group
        if group is None:
            continue
        arms = evidence.result.arms
        found.seen.update({arms[lane].language or "" for lane in group.to_leader})
        found.won.update([arms[group.winner].language or ""] if group.winner else [])
        found.tied.update({arms[lane].language or "" for lane in group.tied})
    return found


def overall(evidences: Evidences) -> str:
    """Write each pair's geometric mean over systems: a compound figure, so its interval is bootstrapped."""
    counting = list(fresh(evidences, headline_only=True))
    rows = []
    for a, b in combinations(languages(evidences), 2):
        logs = [found for _, evidence, analysis in counting if (found := _logs(evidence, analysis, a, b))]
        if len(logs) >= LEAST_SYSTEMS:
            mean, bounds = stats.bootstrap_geomean(logs, ALPHA, seed=SEED)
            pair = f"{wording.language(a)} over {wording.language(b)}"
            rows.append([pair, md.count(len(logs)), md.factor(mean), md.interval(bounds.low, bounds.high)])
    if not rows:
        return f"*A mean needs at least {LEAST_SYSTEMS} systems whose results count.*"
    return md.table(["Time of a headline case", "Systems", "Geometric mean", "95 % interval"], rows)


def _logs(evidence: Evidence, analysis: Analysis, a: str, b: str) -> list[float]:
    """List ln of the ratio of two languages, round by round; empty where they are not ranked together."""
    first, second = (lane_of(evidence, analysis, language) for language in (a, b))
    group = analysis.main_group
    if group is None or first is None or second is None or not {first.name, second.name} <= set(group.to_leader):
        return []
    pair = analysis.pairs.get((first.name, second.name))
    return [math.log(ratio) for ratio in pair.rounds] if pair else []


def choose(evidences: Evidences) -> str:
    """Say, language by language, where it leads: nothing but what the newest results show."""
    counting = list(fresh(evidences, headline_only=False))
    if not counting:
        return NOTHING
    lines = []
    for language in languages(evidences):
        won = _cases_where(counting, language, alone=True)
        shared = _cases_where(counting, language, alone=False)
        lines.append(
            f"- **{wording.language(language)}** is first alone in {'; '.join(won) or 'no case'},"
            f" and shares the first place in {'; '.join(shared) or 'no case'}."
        )
    return "\n".join(lines)


def _cases_where(counting: list[tuple[Row, Evidence, Analysis]], language: str, *, alone: bool) -> list[str]:
    """List the cases that a language wins alone, or shares, by project."""
    found: dict[str, list[str]] = {}
    for row, evidence, analysis in counting:
        group = analysis.main_group
        lanes = () if group is None else ((group.winner,) if alone else group.tied)
        if language in {evidence.result.arms[lane].language for lane in lanes if lane}:
            found.setdefault(md.text(row.title), []).append(f"`{analysis.case.name}`")
    return [f"{title} ({', '.join(names)})" for title, names in found.items()]
