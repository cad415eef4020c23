"""What a page shows of a soak: memory over time as lines, and the table of the README."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools import markdown as md
from tools import soak_tables, wording
from tools.report import charts, prose
from tools.report.cases import kind, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup

    from tools.record import Arm, CaseResult, Series, Soak
    from tools.selection import Evidence

MOST_POINTS = 300


@dataclass(frozen=True)
class Line:
    """Memory of one program."""

    program: str
    kind: str
    path: str
    last: str
    dots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class SoakView:
    """One case, ready for its template."""

    name: str
    title: str
    work: str
    lines: tuple[Line, ...]
    x_ticks: tuple[charts.Tick, ...]
    y_ticks: tuple[charts.Tick, ...]
    table: Markup


def views(evidence: Evidence | None) -> Iterator[SoakView]:
    """Make everything that a page shows of a soak."""
    for case in evidence.result.cases if evidence else ():
        if evidence is not None and case.soak is not None and case.soak.series:
            yield _view(evidence, case, case.soak)


def _view(evidence: Evidence, case: CaseResult, soak: Soak) -> SoakView:
    """Make one case."""
    found = [(evidence.result.arms[name], series) for name, series in soak.series.items() if series.t_s]
    seconds = charts.Axis(0.0, float(max((series.t_s[-1] for _, series in found), default=1)))
    memory = charts.Axis(0.0, float(max((max(series.rss_bytes) for _, series in found), default=1)))
    return SoakView(
        name=case.name,
        title=case.title,
        work=wording.work(case, evidence.result.item.plural),
        lines=tuple(_line(arm, series, seconds, memory) for arm, series in found),
        x_ticks=tuple(seconds.ticks(lambda value: f"{value:g} s")),
        y_ticks=charts.upward(memory.ticks(md.size)),
        table=prose.block(soak_tables.case_table(evidence, case), label=f"Soak of {case.title}"),
    )


def _line(arm: Arm, series: Series, seconds: charts.Axis, memory: charts.Axis) -> Line:
    """Draw one program; a long soak is thinned, its last second stays."""
    step = max(1, len(series.t_s) // MOST_POINTS)
    points = list(zip(series.t_s, series.rss_bytes, strict=True))
    kept = [*points[:-1:step], points[-1]]
    path = charts.polyline([(seconds.at(at), 100 - memory.at(size)) for at, size in kept])
    return Line(program(arm), kind(arm), path, md.size(series.rss_bytes[-1]))
