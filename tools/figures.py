"""The numbers of one program in one case, straight from its runs; what they mean is `tools.analysis`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools import stats
from tools.record import FATAL_FLAGS

if TYPE_CHECKING:
    from tools.record import CaseResult, Samples
    from tools.stats import Quartiles


@dataclass(frozen=True)
class Figures:
    """The numbers of one arm in one case."""

    arm: str
    runs: int
    noisy_runs: int
    wall_ns: Quartiles
    cpu_ns: float
    items_per_second: float
    max_rss_bytes: int
    times_floor: float | None


def metric_by_round(case: CaseResult, arm: str, metric: str) -> dict[int, float]:
    """Map round to metric for an arm whose verdict counts; empty for any other arm or an unknown metric."""
    samples = case.samples
    places = samples.by_round(arm)
    if case.states[arm].state != "measured" or any(samples.flags[index] & FATAL_FLAGS for index in places.values()):
        return {}
    found = {turn: _value(samples, index, metric) for turn, index in places.items()}
    return {turn: value for turn, value in found.items() if value > 0}


def _value(samples: Samples, index: int, metric: str) -> float:
    """Read the metric of one run; 0 for a metric that single runs do not have."""
    if metric == "cpu_ns":
        return samples.user_ns[index] + samples.sys_ns[index]
    columns = {"wall_ns": samples.wall_ns, "max_rss_bytes": samples.max_rss_bytes}
    return columns[metric][index] if metric in columns else 0


def figures(case: CaseResult, arm: str) -> Figures:
    """Summarise the runs of one arm."""
    samples = case.samples
    runs = list(samples.by_round(arm).values())
    wall = stats.quartiles([samples.wall_ns[index] for index in runs])
    memory = case.memory.get(arm)
    return Figures(
        arm=arm,
        runs=len(runs),
        noisy_runs=sum("noisy" in samples.flags[index] for index in runs),
        wall_ns=wall,
        cpu_ns=stats.median([samples.user_ns[index] + samples.sys_ns[index] for index in runs]),
        items_per_second=case.items * case.repeats / (wall.median / 1e9) if wall.median else 0.0,
        max_rss_bytes=memory.max_rss_bytes if memory else max(samples.max_rss_bytes[index] for index in runs),
        times_floor=wall.median / case.floor_ns if case.floor_ns else None,
    )
