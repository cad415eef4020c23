"""hyperfine's JSON (`hyperfine --export-json`): one entry a program and case, times in seconds of one whole job.

A run repeats the job; its time is divided by the repeats, as hyperfine knows only single commands. Servers have no
command that ends, so cases with a load stay out.
"""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

from tools.errors import UsageError
from tools.export.arms import Runs, counting

if TYPE_CHECKING:
    from tools.record import Result

NS = 1e9


def export(result: Result) -> str:
    """The JSON text.

    Raises:
        UsageError: every case drives a server.
    """
    entries = [_entry(result, runs) for runs in counting(result) if runs.case.load is None]
    if not entries:
        raise UsageError("hyperfine's format knows only commands that end, and no case here is one", remedy="use csv")
    return json.dumps({"results": entries}, indent=2) + "\n"


def _entry(result: Result, runs: Runs) -> dict[str, Any]:
    samples, repeats = runs.case.samples, runs.case.repeats
    times = [samples.wall_ns[index] / NS / repeats for index in runs.places]
    return {
        "command": f"{result.slug}/{runs.case.name}/{runs.arm.name}",
        "mean": statistics.fmean(times),
        "stddev": statistics.stdev(times) if len(times) > 1 else None,
        "median": statistics.median(times),
        "user": statistics.fmean(samples.user_ns[index] / NS / repeats for index in runs.places),
        "system": statistics.fmean(samples.sys_ns[index] / NS / repeats for index in runs.places),
        "min": min(times),
        "max": max(times),
        "times": times,
        "memory_usage_byte": [samples.max_rss_bytes[index] for index in runs.places],
        "exit_codes": [samples.exit_code[index] for index in runs.places],
        "parameters": {"project": result.slug, "case": runs.case.name, "arm": runs.arm.name},
    }
