"""One case as a page shows it: a forest of ratios, every run as a point, the curve of latencies, and the table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tools import markdown as md
from tools import project_tables, stats, wording
from tools.figures import metric_by_round
from tools.record import NOISE_FLAGS
from tools.report import charts, prose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markupsafe import Markup

    from tools.analysis import Analysis, Comparison, Group
    from tools.record import Arm
    from tools.selection import Evidence

STRIP_HEIGHT = 30
STRIP_LIMITS = (1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 5.0)
"""How far from its own median a run may stand before its point is set at the edge."""
STRIP_SHARE = 0.9
LAST_NINE = 6.0
"""A quantile of 1 has no place on an axis of nines; six nines stand for it."""
QUANTILES = ((0.0, "0"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %"))


@dataclass(frozen=True)
class Mark:
    """An estimate with its interval, in percent of the width."""

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class ForestRow:
    """One program of a forest plot."""

    program: str
    kind: str
    place: str
    cost: str
    words: str
    mark: Mark
    leads: bool


@dataclass(frozen=True)
class Branch:
    """Programs that are compared with one leader."""

    title: str
    rows: tuple[ForestRow, ...]


@dataclass(frozen=True)
class Forest:
    """Ratios to the leader on one axis."""

    branches: tuple[Branch, ...]
    band: tuple[float, float]
    one: float
    ticks: tuple[charts.Tick, ...]


@dataclass(frozen=True)
class Point:
    """One run."""

    x: float
    y: float
    kind: str
    words: str


@dataclass(frozen=True)
class Strip:
    """All runs of one program."""

    program: str
    kind: str
    points: tuple[Point, ...]
    spread: str


@dataclass(frozen=True)
class Strips:
    """All runs of a case, as distance from the median of their own program."""

    rows: tuple[Strip, ...]
    height: int
    limit: str
    rounds: int
    head: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Curve:
    """Latency over quantiles of one server."""

    program: str
    kind: str
    path: str
    cells: tuple[str, ...]
    dots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Curves:
    """Latencies of a case."""

    rows: tuple[Curve, ...]
    x_ticks: tuple[charts.Tick, ...]
    y_ticks: tuple[charts.Tick, ...]
    head: tuple[str, ...]


@dataclass(frozen=True)
class CaseView:
    """One case, ready for its template."""

    id: str
    name: str
    title: str
    headline: bool
    outcome: str
    lead: str
    work: str
    noise: str
    forest: Forest | None
    strips: Strips | None
    curves: Curves | None
    table: Markup


def view(evidence: Evidence, analysis: Analysis) -> CaseView:
    """Make everything that a page shows of a case."""
    case = analysis.case
    headline = case is evidence.result.headline
    return CaseView(
        id=f"{case.workload}-{case.name}",
        name=case.name,
        title=case.title,
        headline=headline,
        outcome=wording.outcome(analysis, evidence),
        lead=lead(evidence, analysis),
        work=wording.work(case, evidence.result.item.plural),
        noise=wording.noise(analysis),
        forest=_forest(evidence, analysis),
        strips=_strips(evidence, analysis),
        curves=_curves(evidence, analysis),
        table=prose.block(project_tables.case_table(evidence, analysis), label=f"Results of {case.title}"),
    )


def program(arm: Arm) -> str:
    """Name a program in plain text, as bounded as in the tables; a null arm by what it is a copy of."""
    if arm.role == "null":
        return f"Null arm ({prose.words(wording.language(arm.language))} again)"
    return prose.words(wording.program(arm))


def kind(arm: Arm) -> str:
    """Name the class that colours a program: its language, or that it is a peer or the null arm."""
    if arm.role != "lane":
        return arm.role
    language = arm.language or ""
    return language if language in {"go", "rust", "zig"} else "other"


def lead(evidence: Evidence, analysis: Analysis) -> str:
    """Say how far the others of the main group stand behind its leader."""
    group = analysis.main_group
    if group is None:
        return "nothing could be measured"
    arms = evidence.result.arms
    others = [one for lane, one in group.to_leader.items() if lane != group.leader]
    return "; ".join(f"{wording.program(arms[one.a])} {ratio(one)}" for one in others) or "no rival"


def ratio(one: Comparison) -> str:
    """Write a ratio with its interval and what may be said of it."""
    return f"{md.factor(one.ratio.ratio)} {md.interval(one.ratio.low, one.ratio.high)} {wording.verdict(one)}"


# --- forest


def _forest(evidence: Evidence, analysis: Analysis) -> Forest | None:
    """Set every program beside the leader of its group; peers beside the leader of the main group."""
    if not analysis.groups:
        return None
    beside = _peers(evidence, analysis)
    found = [one for group in analysis.groups for one in group.to_leader.values()] + beside
    axis = charts.ratio_axis(value for one in found for value in (one.ratio.ratio, one.ratio.low, one.ratio.high))
    branches = [
        Branch(_branch_title(analysis, group), tuple(_lane_rows(evidence, analysis, group, axis)))
        for group in analysis.groups
    ]
    if beside:
        rows = tuple(_row(evidence, analysis, one, axis, "peer") for one in beside)
        branches.append(Branch("Peers, a yardstick that is not ranked", rows))
    low, high = axis.at(1 / stats.TIE_BAND), axis.at(stats.TIE_BAND)
    return Forest(tuple(branches), (low, round(high - low, 2)), axis.at(1.0), tuple(axis.ticks(md.factor)))


def _branch_title(analysis: Analysis, group: Group) -> str:
    """Name a group only where there are several."""
    if len(analysis.groups) == 1:
        return ""
    return f"{chr(65 + analysis.groups.index(group))}: {wording.parity(group.parity)}"


def _peers(evidence: Evidence, analysis: Analysis) -> list[Comparison]:
    """Compare every measured peer with the leader of the main group."""
    leader = analysis.main_group.leader if analysis.main_group else ""
    peers = [arm.name for arm in evidence.result.arms.values() if arm.role == "peer"]
    return [analysis.pairs[peer, leader] for peer in peers if (peer, leader) in analysis.pairs]


def _lane_rows(evidence: Evidence, analysis: Analysis, group: Group, axis: charts.Axis) -> Iterator[ForestRow]:
    """Order the lanes of a group by their places."""
    for place in group.places:
        shared = "=" if len(place.lanes) > 1 else ""
        for lane in place.lanes:
            if lane in group.to_leader:
                yield _row(evidence, analysis, group.to_leader[lane], axis, f"{place.rank}{shared}")


def _row(evidence: Evidence, analysis: Analysis, one: Comparison, axis: charts.Axis, place: str) -> ForestRow:
    """Make the row of a program."""
    arm, leads = evidence.result.arms[one.a], one.a == one.b
    mark = f" {wording.STALE}" if arm.name in evidence.stale else ""
    return ForestRow(
        program=program(arm) + mark,
        kind=kind(arm),
        place=place,
        cost=wording.cost(analysis.figures[arm.name], evidence.result.item.plural),
        words="leader" if leads else ratio(one),
        mark=Mark(axis.at(one.ratio.ratio), axis.at(one.ratio.low), axis.at(one.ratio.high)),
        leads=leads,
    )


# --- strips


def _strips(evidence: Evidence, analysis: Analysis) -> Strips | None:
    """Show every run of every measured program, the null arm too."""
    case, arms = analysis.case, evidence.result.arms
    metric = case.metric or evidence.result.metric.name
    runs = {name: metric_by_round(case, name, metric) for name in arms if name in analysis.figures}
    runs = {name: values for name, values in runs.items() if values}
    if not runs:
        return None
    away = {name: _away(values) for name, values in runs.items()}
    widest = max(stats.quantile([abs(each) for each in far.values()], STRIP_SHARE) for far in away.values())
    limit = charts.nice_above(math.exp(widest), STRIP_LIMITS)
    number = {turn: place for place, turn in enumerate(sorted({turn for far in away.values() for turn in far}), 1)}
    noisy = _noisy_rounds(analysis)
    write = partial(wording.amount, metric, plural="")
    rows = []
    for name, far in away.items():
        points = tuple(
            _point(
                number[turn], len(number), far[turn] / math.log(limit), write(runs[name][turn]), (name, turn) in noisy
            )
            for turn in sorted(far)
        )
        spread = f"{md.factor(math.exp(min(far.values())))} to {md.factor(math.exp(max(far.values())))}"
        rows.append(Strip(program(arms[name]), kind(arms[name]), points, spread))
    cells = tuple(
        (md.count(place), *(write(values[turn]) if turn in values else md.DASH for values in runs.values()))
        for turn, place in number.items()
    )
    head = ("Round", *(program(arms[name]) for name in runs))
    return Strips(tuple(rows), STRIP_HEIGHT, md.factor(limit), len(number), head, cells)


def _away(values: Mapping[int, float]) -> dict[int, float]:
    """Give the distance of each run from the median of all, as ln."""
    middle = stats.median(list(values.values()))
    return {turn: math.log(value / middle) for turn, value in values.items()}


def _noisy_rounds(analysis: Analysis) -> set[tuple[str, int]]:
    """List the runs that were flagged as disturbed."""
    samples = analysis.case.samples
    found = zip(samples.arm, samples.round, samples.flags, strict=True)
    return {(arm, turn) for arm, turn, flags in found if flags & NOISE_FLAGS}


def _point(number: int, rounds: int, share: float, shown: str, noisy: bool) -> Point:
    """Place one run: its round from left to right, slower above, at the edge when it is farther than the limit."""
    x = 2 + 96 * ((number - 1) / (rounds - 1) if rounds > 1 else 0.5)
    half = STRIP_HEIGHT / 2
    y = half - max(-1.0, min(1.0, share)) * (half - 5)
    state = "noisy" if noisy else "out" if abs(share) > 1 else ""
    words = f"round {number}: {shown}{', noisy' if noisy else ''}" if state else ""
    return Point(round(x, 1), round(y, 1), state, words)


# --- curves


def _curves(evidence: Evidence, analysis: Analysis) -> Curves | None:
    """Draw latency over quantiles, where a load measured it."""
    load, arms = analysis.case.load, evidence.result.arms
    found = {name: curve for name, curve in (load.curves if load else {}).items() if curve and name in arms}
    if not found:
        return None
    known = {q for curve in found.values() for q, _ in curve}
    nines = charts.Axis(0.0, max(1.0, *map(_nines, known)))
    latency = charts.log_axis(ns for curve in found.values() for _, ns in curve)
    columns = [(q, name) for q, name in QUANTILES if q in known]
    rows = tuple(_curve(arms[name], curve, nines, latency, columns) for name, curve in found.items())
    x_ticks = [charts.Tick(nines.at(_nines(q)), name, "middle") for q, name in QUANTILES if nines.holds(_nines(q))]
    head = ("Program", *(name for _, name in columns))
    return Curves(rows, tuple(x_ticks), charts.upward(latency.ticks(md.duration)), head)


def _curve(
    arm: Arm,
    curve: Sequence[Sequence[float]],
    nines: charts.Axis,
    latency: charts.Axis,
    columns: Sequence[tuple[float, str]],
) -> Curve:
    """Make the line of one server, and its latencies at round quantiles."""
    places = [(nines.at(_nines(q)), 100 - latency.at(ns)) for q, ns in curve]
    at = {point[0]: point[1] for point in curve}
    cells = tuple(md.duration(at.get(q)) for q, _ in columns)
    return Curve(program(arm), kind(arm), charts.polyline(places), cells)


def _nines(quantile: float) -> float:
    """Measure a quantile by its nines: 0.9 is 1, 0.99 is 2."""
    return LAST_NINE if quantile >= 1 else min(LAST_NINE, -math.log10(1 - max(quantile, 0.0)))
