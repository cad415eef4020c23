"""redis-benchmark: the closed loop that comes with the server; it counts requests, not seconds."""

from __future__ import annotations

import re

from tools.loads.base import Asked, LoadReport
from tools.loads.evidence.base import PROGRAM, ns

KEY, VALUE = "key:0", "0123456789abcdef"
LEAST = 20_000
"""Requests of a run whose rate is not known yet."""
TOTAL = re.compile(rb"^ +(\d+) requests completed in [0-9.]+ seconds", re.MULTILINE)
RATE = re.compile(rb"^ +throughput summary: ([0-9.]+) requests per second", re.MULTILINE)
ROW = re.compile(rb"^([0-9.]+)% <= ([0-9.]+) milliseconds \(cumulative count \d+\)", re.MULTILINE)
WANTED = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9, "max": 100.0}


def command(asked: Asked) -> tuple[str, ...]:
    """GET of one key; the asked rate says how many requests are about as long as was asked."""
    host, _, port = asked.address.rpartition(":")
    requests = max(LEAST, round((asked.rate_per_second or 0) * asked.seconds))
    return (PROGRAM, "-h", host, "-p", port, "-c", str(asked.connections), "-P", str(asked.pipeline),
            "-n", str(requests), "GET", KEY)  # fmt: skip


def parse(stdout: bytes) -> LoadReport:
    """Its summary; the progress lines that it overwrites on a terminal are skipped.

    Raises:
        ValueError: there is none.
    """
    total, rate = TOTAL.search(stdout), RATE.search(stdout)
    rows = [(float(percent), float(value)) for percent, value in ROW.findall(stdout.partition(b"Cumulative")[0])]
    if total is None or rate is None or not rows or not float(rate[1]):
        raise ValueError("redis-benchmark printed no summary")
    requests = int(total[1])
    found = {
        name: next((value for percent, value in rows if percent >= at), rows[-1][1]) for name, at in WANTED.items()
    }
    return LoadReport(
        offered=requests,
        completed=requests,
        wall_ns=round(requests / float(rate[1]) * 1e9),
        latency_ns={name: ns(value, 1e6) for name, value in found.items()},
    )
