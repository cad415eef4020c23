"""The tables of a soak: what every program did for minutes, and whether anything grew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools import drift, stats, wording
from tools import markdown as md
from tools.record import SOAK
from tools.wording import STALE, STALE_NOTE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tools.record import CaseResult, Result, Series
    from tools.selection import Evidence, Evidences

NOT_SOAKED = "*No soak yet.*"
HEAD = (
    "Program", "Deliveries", "Lost", "p99", "p99 of the worst second", "CPU", "Memory at the end",
    "Memory, second half", "Descriptors",
)  # fmt: skip


def results(evidence: Evidence | None) -> str:
    """Write every case of a soak."""
    if evidence is None:
        return NOT_SOAKED
    parts = [case_table(evidence, case) for case in evidence.result.cases]
    return "\n\n".join([*parts, _note(), *([STALE_NOTE] if evidence.stale else [])])


def case_table(evidence: Evidence, case: CaseResult) -> str:
    """Write one case: a program a line."""
    title = f"**{md.text(case.title)}** (`{case.name}`): {wording.work(case, evidence.result.item.plural)}"
    return f"{title}\n\n{md.table(list(HEAD), rows(evidence.result, case, evidence.stale), numbers_from=1)}"


def rows(result: Result, case: CaseResult, stale: Collection[str] = ()) -> list[list[str]]:
    """Write the lines of one case, below HEAD."""
    assert case.soak is not None  # noqa: S101 - all cases of a soak have one
    found = []
    for arm in result.arms.values():
        if arm.role != "null":
            name = wording.program(arm) + (f" {STALE}" if arm.name in stale else "")
            found.append([name, *_cells(case, arm.name, case.soak.series.get(arm.name))])
    return found


def overview(evidences: Evidences) -> str:
    """Write the soaks of all projects: a line a program and case."""
    rows = []
    for row in evidences.rows:
        evidence = evidences.of(row, SOAK)
        for case in evidence.result.cases if evidence else ():
            for name, series in case.soak.series.items() if case.soak else ():
                assert evidence is not None  # noqa: S101 - it has cases
                program = wording.program(evidence.result.arms[name]) + (f" {STALE}" if name in evidence.stale else "")
                rows.append([md.text(row.title), f"`{case.name}`", program, *_cells(case, name, series)])
    return f"{md.table(['Project', 'Case', *HEAD], rows, numbers_from=3)}\n\n{_note()}" if rows else NOT_SOAKED


def _cells(case: CaseResult, arm: str, series: Series | None) -> list[str]:
    """Write the numbers of one program, or why it has none."""
    if series is None or not series.t_s or case.states[arm].state != "measured":
        return _absent(case, arm)
    samples = case.samples
    index = samples.arm.index(arm)
    lost = (samples.dropped[index] or 0) + (samples.errors[index] or 0) + (samples.mismatched[index] or 0)
    p99 = [value for value in series.p99_ns if value is not None]
    return [
        md.rate(stats.median(series.delivered_per_second), ""),
        md.count(lost),
        md.duration(samples.latency_p99_ns[index]),
        md.duration(max(p99, default=None)),
        f"{stats.median(series.cpu_share):.0%}",
        md.size(series.rss_bytes[-1]),
        drift.words(drift.memory(series)),
        _span(series.fds),
    ]


def _absent(case: CaseResult, arm: str) -> list[str]:
    """Say why a program has no numbers."""
    state = case.states[arm]
    return [f"**{state.state}**: {md.text(state.reason or 'no reason given')}", *[""] * (len(HEAD) - 2)]


def _span(values: Sequence[int]) -> str:
    """Write the least and the most of a count."""
    return (
        md.count(min(values)) if min(values) == max(values) else f"{md.count(min(values))} to {md.count(max(values))}"
    )


def _note() -> str:
    """Say what the words mean."""
    return (
        "One run each, in random order; no winner comes from it. *No leak*: over the second half the interval of the"
        f" slope of memory (Theil-Sen, medians of {drift.BIN_SECONDS} s) includes zero, or projects to less than"
        f" {md.size(drift.LEAK_BYTES_A_DAY)} a day."
    )
