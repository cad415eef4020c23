"""Bencher Metric Format: `{benchmark: {measure: {value, lower_value, upper_value}}}`, medians with their quartiles.

Units are Bencher's own where it has the measure: latency in ns, throughput in operations a second, sizes in bytes,
build time in seconds. Latency is the time of the whole job once, or of a server the p99 of its replies.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tools.export.arms import Runs, counting

if TYPE_CHECKING:
    from tools.record import Arm, Result
    from tools.stats import Quartiles

Measure = dict[str, float]


def export(result: Result) -> str:
    """The JSON text."""
    found: dict[str, dict[str, Measure]] = {}
    for runs in counting(result):
        found[f"{result.slug}/{runs.case.name}/{runs.arm.name}"] = _case(runs)
    for arm in result.arms.values():
        if arm.role != "null" and (weights := _program(arm)):
            found[f"{result.slug}/{arm.name}"] = weights
    return json.dumps(found, indent=2) + "\n"


def _case(runs: Runs) -> dict[str, Measure]:
    figures = runs.figures
    measures = {"throughput": {"value": figures.items_per_second}, "memory": {"value": float(figures.max_rss_bytes)}}
    if figures.load is None:
        return {"latency": _spread(figures.wall_ns, runs.case.repeats), **measures}
    latency = figures.load.latency_p99_quartiles_ns
    return {**({"latency": _spread(latency, 1)} if latency else {}), **measures}


def _spread(found: Quartiles, divisor: int) -> Measure:
    return {
        "value": found.median / divisor,
        "lower_value": found.low / divisor,
        "upper_value": found.high / divisor,
    }


def _program(arm: Arm) -> dict[str, Measure]:
    """Size and build time; what is not known is left out."""
    measures: dict[str, Measure] = {}
    if arm.binary_bytes is not None:
        measures["file-size"] = {"value": float(arm.binary_bytes)}
    if arm.cold_build_ns is not None:
        measures["build-time"] = {"value": arm.cold_build_ns / 1e9}
    return measures
