"""The end of a benchmark on the terminal: a table a case, then what the programs are made of."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools import markdown as md
from tools import screen, soak_tables, wording
from tools.analysis import Analysis, Group, analyse
from tools.record import Arm, CaseResult, Result

BEST, PLAIN, DIM = "bold green", "", "dim"


def show(result: Result, console: Console | None = None) -> None:
    """Print every case and the programs; colour, width and NO_COLOR are rich's business."""
    console = console or screen.console(stderr=True)
    for case in result.cases:
        console.print(soak_table(result, case) if case.soak else case_table(result, analyse(result, case)))
    console.print(program_table(result))


def soak_table(result: Result, case: CaseResult) -> Table:
    """Every program of a long run, without places: no winner comes from it."""
    rows = [[cell.replace("**", "") for cell in row] for row in soak_tables.rows(result, case)]
    title = f"{case.title}: {wording.work(case, result.item.plural)}"
    return screen.table(soak_tables.HEAD, rows, title=title)


def case_table(result: Result, analysis: Analysis) -> Table:
    """Place, time, rate, ratio to the leader and to each peer, verdict, memory, distance to the floor."""
    case = analysis.case
    noise = f"null arm {analysis.null.ratio:.3f} ({analysis.null.noise})" if analysis.null else "no null arm"
    title = f"{case.title}: {wording.work(case, result.item.plural)}; {noise}; stopped by {case.stop}"
    peers = [name for name in analysis.figures if result.arms[name].role == "peer"]
    made = Table(title=Text(title), title_justify="left", title_style="bold")
    for name in ("", "program", "median", "rate", "to leader", "verdict", "memory", *peers, "floor"):
        made.add_column(
            Text(name), justify="left" if name in {"", "program", "verdict"} else "right", no_wrap=name != "verdict"
        )
    for group in analysis.groups:
        for place in group.places:
            for lane in place.lanes:
                shared = "=" if len(place.lanes) > 1 else ""
                cells = _cells(analysis, group, lane, peers)
                made.add_row(f"{place.rank}{shared}", *cells, style=BEST if group.winner == lane else PLAIN)
    for peer in peers:
        made.add_row("peer", *_cells(analysis, None, peer, peers), style=DIM)
    for arm in result.arms.values():
        if arm.name not in analysis.figures and arm.role != "null":
            state = case.states[arm.name]
            made.add_row(
                "-", Text(arm.name), Text(state.state), "", "", Text(state.reason or arm.reason or ""), style="red"
            )
    return made


def _cells(analysis: Analysis, group: Group | None, name: str, peers: list[str]) -> list[str]:
    figures = analysis.figures[name]
    ratio = verdict = ""
    if group is not None:
        comparison = group.to_leader.get(name)
        if name == group.leader or comparison is None:
            ratio = "leader"
        else:
            found = comparison.ratio
            ratio = f"{found.ratio:.2f}x {md.interval(found.low, found.high)}"
            verdict = str(comparison.verdict) + (
                "" if comparison.quiet_verdict is None else f" ({comparison.quiet_verdict} when quiet)"
            )
    beside = []
    for peer in peers:
        pair = analysis.pairs.get((peer, name))
        beside.append(f"{pair.ratio.ratio:.2f}x" if pair else "")
    floor = md.factor(figures.times_floor) if figures.times_floor else ""
    rate = md.rate(figures.items_per_second, "")[:-2].strip()
    return [
        name,
        wording.cost(figures, ""),
        rate,
        ratio,
        verdict,
        md.size(figures.max_rss_bytes),
        *beside,
        floor,
    ]


def program_table(result: Result) -> Table:
    """Sizes, build times, start-up, and what the oracle said."""
    made = Table(title="programs", title_justify="left", title_style="bold")
    for name in ("program", "binary", "cold build", "incremental", "lines", "verified"):
        made.add_column(name, justify="left" if name == "program" else "right")
    for arm in result.arms.values():
        if arm.role != "null":
            made.add_row(*_program_cells(arm))
    return made


def _program_cells(arm: Arm) -> list[Text]:
    checked = arm.verification
    verified = f"{checked.state}, {checked.checks} checks, {checked.bad_inputs} bad inputs"
    cells = [
        arm.name, md.size(arm.binary_bytes), md.duration(arm.cold_build_ns), md.duration(arm.incremental_build_ns),
        md.count(arm.lines_of_code), verified,
    ]  # fmt: skip
    return [Text(cell) for cell in cells]
