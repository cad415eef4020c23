"""The numbers of one program in one case, straight from its runs; what they mean is `tools.analysis`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools import stats
from tools.record import FATAL_FLAGS, NOISE_FLAGS

if TYPE_CHECKING:
    from tools.record import CaseResult, Samples
    from tools.stats import Quartiles


@dataclass(frozen=True)
class LoadFigures:
    """What only a server has: medians over the rounds."""

    cpu_ns_per_item: float
    latency_p50_ns: float | None
    latency_p99_ns: float | None
    latency_p99_quartiles_ns: Quartiles | None
    generator_bound: bool
    """True when the generator, not the server, was the ceiling in most rounds."""
    connect_p99_ns: float | None = None
    saturated: bool = False
    """True when a step of saturation was too much in most rounds."""


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
    metric: str
    cost: Quartiles
    """The metric that the verdict rests on; less is better."""
    load: LoadFigures | None = None


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
    cpu_ns = samples.user_ns[index] + samples.sys_ns[index]
    items = samples.items[index] or 0
    match metric:
        case "wall_ns" | "max_rss_bytes":
            return float(getattr(samples, metric)[index])
        case "cpu_ns":
            return cpu_ns
        case "ns_per_item" | "cpu_ns_per_item":
            total_ns = cpu_ns if metric == "cpu_ns_per_item" else samples.wall_ns[index]
            return total_ns / items if items else 0
        case "latency_p99_ns" if samples.latency_p99_ns:
            return float(samples.latency_p99_ns[index] or 0)
        case _:
            return 0


def figures(case: CaseResult, arm: str, metric: str = "wall_ns") -> Figures:
    """Summarise the runs of one arm; `metric` is what the verdict rests on."""
    samples = case.samples
    runs = list(samples.by_round(arm).values())
    wall = stats.quartiles([samples.wall_ns[index] for index in runs])
    memory = case.memory.get(arm)
    if case.load is None:
        per_second = case.items * case.repeats / (wall.median / 1e9) if wall.median else 0.0
    else:
        each_ns = stats.median([_value(samples, index, "ns_per_item") for index in runs])
        per_second = 1e9 / each_ns if each_ns else 0.0
    return Figures(
        arm=arm,
        runs=len(runs),
        noisy_runs=sum(bool(samples.flags[index] & NOISE_FLAGS) for index in runs),
        wall_ns=wall,
        cpu_ns=stats.median([samples.user_ns[index] + samples.sys_ns[index] for index in runs]),
        items_per_second=per_second,
        max_rss_bytes=memory.max_rss_bytes if memory else max(samples.max_rss_bytes[index] for index in runs),
        times_floor=wall.median / case.floor_ns if case.floor_ns else None,
        metric=metric,
        cost=stats.quartiles([_value(samples, index, metric) for index in runs]),
        load=_load_figures(samples, runs) if case.load else None,
    )


def _load_figures(samples: Samples, runs: list[int]) -> LoadFigures:
    cpu = [_value(samples, index, "cpu_ns_per_item") for index in runs]
    p50 = [float(value) for index in runs if (value := samples.latency_p50_ns[index]) is not None]
    p99 = [float(value) for index in runs if (value := samples.latency_p99_ns[index]) is not None]
    connect = [float(value) for index in runs if samples.connect_p99_ns and (value := samples.connect_p99_ns[index])]
    bound, over = (sum(flag in samples.flags[index] for index in runs) for flag in ("generator-busy", "saturated"))
    return LoadFigures(
        cpu_ns_per_item=stats.median(cpu),
        latency_p50_ns=stats.median(p50) if p50 else None,
        latency_p99_ns=stats.median(p99) if p99 else None,
        latency_p99_quartiles_ns=stats.quartiles(p99) if p99 else None,
        generator_bound=bound * 2 > len(runs),
        connect_p99_ns=stats.median(connect) if connect else None,
        saturated=over * 2 > len(runs),
    )
