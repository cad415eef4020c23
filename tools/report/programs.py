"""What the programs weigh and cost to build, as small multiples, and how a project's results went over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools import history as past_levels
from tools import markdown as md
from tools import stats, wording
from tools.report import charts
from tools.report.cases import kind, program
from tools.report.gather import main_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tools.record import Arm, Environment
    from tools.report.gather import Cost, Past
    from tools.selection import Evidence


@dataclass(frozen=True)
class Bar:
    """One program in a small chart."""

    program: str
    kind: str
    width: float
    shown: str


@dataclass(frozen=True)
class Multiple:
    """One quantity of all programs; the longest bar is the largest value."""

    title: str
    note: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Line:
    """One program over all results of an environment."""

    program: str
    kind: str
    path: str
    dots: tuple[tuple[float, float], ...]
    last: str
    rings: tuple[tuple[float, float], ...] = ()
    """Where a new level begins."""
    since: tuple[str, ...] = ()


@dataclass(frozen=True)
class History:
    """The headline case in one environment, the oldest result on the left."""

    environment: Environment
    case: str
    first: str
    last: str
    lines: tuple[Line, ...]
    ticks: tuple[charts.Tick, ...]


def multiples(evidence: Evidence) -> list[Multiple]:
    """Draw each quantity that at least one program has."""
    figures = evidence.headline.figures

    def memory(arm: Arm) -> float | None:
        return figures[arm.name].max_rss_bytes if arm.name in figures else None

    def startup(arm: Arm) -> float | None:
        return stats.median(arm.startup_ns) if arm.startup_ns else None

    quantities: list[tuple[str, str, Callable[[Arm], float | None], Callable[[float | None], str]]] = [
        ("Peak memory", f"of {evidence.headline.case.title}", memory, md.size),
        ("Program file", "as it is shipped", lambda arm: arm.binary_bytes, md.size),
        ("Container image", "program and its libraries", lambda arm: arm.image_bytes, md.size),
        ("Cold build", "dependencies fetched, caches empty", lambda arm: arm.cold_build_ns, md.duration),
        ("Incremental build", "after touching the main file", lambda arm: arm.incremental_build_ns, md.duration),
        ("Start-up", "time of --version", startup, md.duration),
        ("Lines of code", "neither blank nor comment, no tests", lambda arm: arm.lines_of_code, _count),
    ]
    made = [_multiple(evidence, title, note, read, write) for title, note, read, write in quantities]
    return [one for one in made if one.bars]


def _count(value: float | None) -> str:
    """Write a number of things."""
    return md.count(None if value is None else int(value))


def _multiple(
    evidence: Evidence,
    title: str,
    note: str,
    read: Callable[[Arm], float | None],
    write: Callable[[float | None], str],
) -> Multiple:
    """Draw one quantity."""
    arms = [arm for arm in evidence.result.arms.values() if arm.role != "null"]
    values = [(arm, value) for arm in arms if (value := read(arm)) is not None]
    largest = max((value for _, value in values), default=0) or 1
    bars = (
        Bar(
            program(arm),
            kind(arm),
            round(100 * value / largest, 2),
            write(value) + (f" {wording.STALE}" if arm.name in evidence.stale else ""),
        )
        for arm, value in values
    )
    return Multiple(title, note, tuple(bars))


def history(pasts: Sequence[Past]) -> list[History]:
    """Draw the headline of every environment that has at least two results of the main workload about one case."""
    found = []
    for group in main_history(pasts).values():
        case = group[-1].case
        same = [past for past in group if past.case == case]
        if len(same) > 1:
            found.append(_history(same))
    return found


def _history(same: Sequence[Past]) -> History:
    """Draw one environment."""
    axis = charts.log_axis(cost.value for past in same for cost in past.costs)
    programs = dict.fromkeys(cost.program for past in same for cost in past.costs)
    lines = tuple(_line(name, same, axis) for name in programs)
    first, last = (past.created_at[:10] for past in (same[0], same[-1]))
    ticks = charts.upward(axis.ticks(_written(same)))
    return History(same[-1].environment, same[-1].case, first, last, lines, ticks)


def _written(same: Sequence[Past]) -> Callable[[float], str]:
    """Write values of the axis as the metric of these results is written."""
    metric = next((cost.metric for past in same for cost in past.costs), "wall_ns")
    return lambda value: wording.amount(metric, value, "")


def _line(program: str, same: Sequence[Past], axis: charts.Axis) -> Line:
    """Draw one program; a result that does not have it leaves a gap in time, not in the line."""
    seen = [(index, cost) for index, cost in enumerate(_of(program, same)) if cost is not None]
    places = [(2 + 96 * index / (len(same) - 1), 100 - axis.at(cost.value)) for index, cost in seen]
    newest = seen[-1][1]
    dots = tuple(charts.points(places))
    changes = _changes(seen)
    changed = [place for place, (index, _) in enumerate(seen) if index in changes]
    since = tuple(same[seen[place][0]].created_at[:10] for place in changed)
    rings = tuple(dots[place] for place in changed)
    return Line(program, newest.kind, charts.polyline(places), dots, newest.shown, rings, since)


def _of(program: str, same: Sequence[Past]) -> Iterator[Cost | None]:
    """Give what a program needed in each result."""
    return (next((cost for cost in past.costs if cost.program == program), None) for past in same)


def _changes(seen: Sequence[tuple[int, Cost]]) -> frozenset[int]:
    """Find the results at which a lane began a new level against its peer."""
    moments = {index: cost.moment for index, cost in seen if cost.moment is not None}
    followed = past_levels.followed(list(moments.values()), shared=True)
    return frozenset(index for index, one in zip(moments, followed, strict=True) if one.changed)
