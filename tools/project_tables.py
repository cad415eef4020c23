"""The tables of one project's README: every case, every program, and what they are true of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools import markdown as md
from tools import stats, wording
from tools.analysis import FAR_FROM_FLOOR
from tools.wording import STALE, STALE_NOTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tools.analysis import Analysis
    from tools.figures import Figures
    from tools.record import Arm
    from tools.selection import Evidence

NOT_MEASURED = "*Not measured yet.*"


def results(evidence: Evidence | None) -> str:
    """Write everything that one result says: cases, programs, verification, environment."""
    if evidence is None:
        return NOT_MEASURED
    parts = [glance(evidence)] if len(evidence.analyses) > 1 else []
    parts += [case_table(evidence, analysis) for analysis in evidence.analyses.values()]
    parts += [programs(evidence), verification(evidence), provenance(evidence)]
    if evidence.stale:
        parts.append(STALE_NOTE)
    return "\n\n".join(parts)


def glance(evidence: Evidence) -> str:
    """Write one line a case: what a run cost each program, and who won."""
    arms = [arm for arm in evidence.result.arms.values() if arm.role != "null"]
    rows = []
    for analysis in evidence.analyses.values():
        plural = evidence.result.item.plural
        found = [analysis.figures.get(arm.name) for arm in arms]
        costs = [wording.cost(figures, plural) if figures else md.DASH for figures in found]
        cells = [f"{cost} {STALE}" if arm.name in evidence.stale and cost != md.DASH else cost
                 for arm, cost in zip(arms, costs, strict=True)]  # fmt: skip
        job, winner = md.text(analysis.case.title), wording.outcome(analysis, evidence)
        rows.append([job, f"`{analysis.case.name}`", winner, *cells])
    return md.table(["Job", "Case", "Winner", *(wording.program(arm) for arm in arms)], rows, numbers_from=3)


def case_table(evidence: Evidence, analysis: Analysis) -> str:
    """Write one case: lanes by place, then peers, then what could not be measured."""
    case, arms = analysis.case, evidence.result.arms
    shape = _shape(analysis)
    peers = [arm.name for arm in arms.values() if arm.role == "peer" and arm.name in analysis.figures]
    head = ["Place", "Program", *shape.head, "Ratio to leader", "Verdict", "Peak memory"]
    head += [f"Against {wording.program(arms[peer])}" for peer in peers] + ["Above floor"]
    lanes = [lane for group in analysis.groups for place in group.places for lane in place.lanes]
    rows = [_lane_row(evidence, analysis, lane, peers) for lane in lanes]
    rows += [_peer_row(evidence, analysis, peer, len(peers)) for peer in peers]
    missing = [arm for arm in arms.values() if arm.name not in analysis.figures and arm.role != "null"]
    rows += [_absent_row(arm, analysis, len(head)) for arm in missing]
    noisy = sum(figures.noisy_runs for figures in analysis.figures.values())
    runs = max((figures.runs for figures in analysis.figures.values()), default=0)
    title = (
        f"**{md.text(case.title)}** (`{case.name}`): {wording.work(case, evidence.result.item.plural)},"
        f" {runs} rounds, stopped by {case.stop};"
        f" {noisy} noisy runs; {wording.noise(analysis)}"
    )
    notes = [title, md.table(head, rows, numbers_from=2)]
    if len(analysis.groups) > 1:
        groups = (f"{chr(65 + index)}: {wording.parity(group.parity)}" for index, group in enumerate(analysis.groups))
        notes.append("Only equal parity is ranked together. " + "; ".join(groups) + ".")
    far = [one.arm for one in analysis.figures.values() if (one.times_floor or 0) > FAR_FROM_FLOOR and one.arm in lanes]
    if case.floor_basis and far:
        names = ", ".join(wording.program(arms[lane]) for lane in far)
        basis = f"more than {FAR_FROM_FLOOR:.0f} times the floor by {md.text(case.floor_basis)}"
        notes.append(f"Far from the limit ({basis}): {names}.")
    bound = [one.arm for one in analysis.figures.values() if one.load and one.load.generator_bound]
    if bound and case.metric != "cpu_ns_per_item":
        names = ", ".join(wording.program(arms[name]) for name in bound if arms[name].role != "null")
        notes.append(f"The load generator was the ceiling, so the throughput is at least this: {names}.")
    over = [one.arm for one in analysis.figures.values() if one.load and one.load.saturated]
    if over:
        names = ", ".join(wording.program(arms[name]) for name in over if arms[name].role != "null")
        notes.append(f"More than it can do: not 99 % of the deliveries within 100 ms (p99): {names}.")
    return "\n\n".join([*notes, *_folded(list(_two_regimes(evidence, analysis)))])


@dataclass(frozen=True)
class _Shape:
    """Which figures a case shows, and how."""

    head: tuple[str, ...]
    cells: Callable[[Figures, str], list[str]]


def _shape(analysis: Analysis) -> _Shape:
    """Choose the figures that the verdict of a case rests on."""
    if analysis.case.load is None:
        return _Shape(("Median", "Quartiles", "Throughput"), _batch_cells)
    if not analysis.case.load.by_the_clock:
        return _Shape(("Throughput", "CPU time each"), _capacity_cells)
    if analysis.case.load.plan is not None:
        return _Shape(("p99", "Quartiles", "p50", "CPU time each", "Join p99"), _chat_cells)
    return _Shape(("p99", "Quartiles", "p50", "CPU time each"), _latency_cells)


def _batch_cells(figures: Figures, plural: str) -> list[str]:
    low, high = figures.wall_ns.low, figures.wall_ns.high
    quartiles = f"{md.duration(low)} - {md.duration(high)}"
    return [md.duration(figures.wall_ns.median), quartiles, md.rate(figures.items_per_second, plural)]


def _capacity_cells(figures: Figures, plural: str) -> list[str]:
    assert figures.load is not None  # noqa: S101 - the shape says so
    return [md.rate(figures.items_per_second, plural), md.duration(figures.load.cpu_ns_per_item)]


def _latency_cells(figures: Figures, plural: str) -> list[str]:
    del plural
    load = figures.load
    assert load is not None  # noqa: S101 - the shape says so
    spread = load.latency_p99_quartiles_ns
    quartiles = f"{md.duration(spread.low)} - {md.duration(spread.high)}" if spread else md.DASH
    return [
        md.duration(load.latency_p99_ns), quartiles, md.duration(load.latency_p50_ns), md.duration(load.cpu_ns_per_item)
    ]  # fmt: skip


def _chat_cells(figures: Figures, plural: str) -> list[str]:
    assert figures.load is not None  # noqa: S101 - the shape says so
    return [*_latency_cells(figures, plural), md.duration(figures.load.connect_p99_ns)]


def _two_regimes(evidence: Evidence, analysis: Analysis) -> Iterator[str]:
    """Show the rounds of a ratio that one number does not describe."""
    for group in analysis.groups:
        for lane, comparison in group.to_leader.items():
            if comparison.ratio.two_regimes:
                pair = " over ".join(wording.program(evidence.result.arms[name]) for name in (lane, group.leader))
                medians = md.factor(comparison.ratio.ratio_of_medians)
                rounds = " ".join(md.significant(value) for value in comparison.rounds)
                yield f"Two regimes, {pair}: ratio of medians {medians}; round by round {rounds}."


def _folded(lines: Sequence[str]) -> list[str]:
    """Hide what few readers want behind a line to click on."""
    return ["<details><summary>Two regimes, round by round</summary>", *lines, "</details>"] if lines else []


def _figures(evidence: Evidence, analysis: Analysis, arm: str) -> tuple[list[str], list[str]]:
    """Write the cells that every measured program has: times and rate, then memory and floor."""
    figures = analysis.figures[arm]
    times = _shape(analysis).cells(figures, evidence.result.item.plural)
    floor = md.factor(figures.times_floor) if figures.times_floor is not None else md.DASH
    return times, [md.size(figures.max_rss_bytes), floor]


def _marked(cells: Sequence[str], *, stale: bool) -> list[str]:
    """Mark the cells of a program whose sources have changed."""
    return [f"{cell} {STALE}" if stale and cell != md.DASH else cell for cell in cells]


def _lane_row(evidence: Evidence, analysis: Analysis, lane: str, peers: Sequence[str]) -> list[str]:
    """Write the row of a lane."""
    group = analysis.group_of(lane)
    assert group is not None  # noqa: S101 - only ranked lanes come here
    place, to_leader = group.place_of(lane), group.to_leader.get(lane)
    letter = chr(65 + analysis.groups.index(group)) if len(analysis.groups) > 1 else ""
    shared = "=" if len(place.lanes) > 1 else ""
    times, (memory, floor) = _figures(evidence, analysis, lane)
    ratio, words = md.DASH, md.DASH
    if to_leader is not None:
        leads = lane == group.leader
        bounds = f" {md.interval(to_leader.ratio.low, to_leader.ratio.high)}"
        ratio = "leader" if leads else f"{md.factor(to_leader.ratio.ratio)}{bounds}"
        words = md.DASH if leads else wording.verdict(to_leader)
    beside = [wording.against(analysis.pairs.get((lane, peer))) for peer in peers]
    cells = [wording.program(evidence.result.arms[lane]), *times, ratio, words, memory, *beside, floor]
    return [f"{letter}{place.rank}{shared}", *_marked(cells, stale=lane in evidence.stale)]


def _peer_row(evidence: Evidence, analysis: Analysis, peer: str, peers: int) -> list[str]:
    """Write the row of a peer: numbers, but never a place."""
    times, (memory, floor) = _figures(evidence, analysis, peer)
    cells = [wording.program(evidence.result.arms[peer]), *times, md.DASH, md.DASH, memory, *[md.DASH] * peers, floor]
    return ["peer", *_marked(cells, stale=peer in evidence.stale)]


def _absent_row(arm: Arm, analysis: Analysis, width: int) -> list[str]:
    """Write the row of a program without numbers: its state, and why."""
    state = analysis.case.states[arm.name]
    reason = md.text(state.reason or arm.reason or "no reason given")
    return [md.DASH, wording.program(arm), f"**{state.state}**: {reason}", *[""] * (width - 3)]


def programs(evidence: Evidence) -> str:
    """Write what the programs are made of."""
    head = ["Program", "Toolchain", "Binary", "Image", "Cold build", "Incremental build", "Start-up", "Lines of code"]
    rows = []
    for arm in evidence.result.arms.values():
        if arm.role == "null":
            continue
        startup = stats.median(arm.startup_ns) if arm.startup_ns else None
        cells = [
            wording.program(arm),
            md.text(arm.toolchain or md.DASH),
            md.size(arm.binary_bytes),
            md.size(arm.image_bytes),
            md.duration(arm.cold_build_ns),
            md.duration(arm.incremental_build_ns),
            md.duration(startup),
            md.count(arm.lines_of_code),
        ]
        rows.append(_marked(cells, stale=arm.name in evidence.stale))
    return md.table(head, rows, numbers_from=2)


def verification(evidence: Evidence) -> str:
    """Say what the oracle said of each program."""
    lines = []
    for arm in evidence.result.arms.values():
        record = arm.verification
        if arm.role == "null" or record.state == "not-run":
            continue
        first = record.failures[0] if record.failures else None
        why = f", first of {len(record.failures)}: {md.text(first.check)}: {md.text(first.reason)}" if first else ""
        inputs = f"{record.checks} checks and {record.bad_inputs} bad inputs"
        lines.append(f"{wording.program(arm)} {record.state} ({inputs}{why})")
    return f"Verified against the oracle before timing: {'; '.join(lines) or 'nothing'}."


def provenance(evidence: Evidence) -> str:
    """Say where, when and from what the result was made."""
    result = evidence.result
    commit = (
        f" ({result.harness.commit[:12]}{', changed' if result.harness.dirty else ''})" if result.harness.commit else ""
    )
    return (
        f"Measured {result.created_at[:10]} by Deadheat {md.text(result.harness.version)}{commit}, workload"
        f" `{result.plan.workload}`, seed {result.plan.seed}. Environment {wording.environment(result.environment)}."
    )
