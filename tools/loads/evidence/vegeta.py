"""vegeta: an open loop that starts another worker when all are busy; the connections are limited, not the workers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tools.loads.base import Asked, LoadReport
from tools.loads.evidence.base import PROGRAM, last_object, ns, url

TARGETS, RESULTS = "vegeta.targets", "vegeta.bin"
AFTER = ((PROGRAM, "report", "-type=json", RESULTS), (PROGRAM, "report", "-type=hdrplot", RESULTS))
"""Counts and most quantiles are in the one, p99.9 only in the other."""
NAMES = {"p50": "50th", "p90": "90th", "p95": "95th", "p99": "99th", "max": "max"}
ROW = re.compile(rb"^([0-9.]+) +(0\.[0-9]+) +\d+ ", re.MULTILINE)
P999 = 0.999


def files(asked: Asked) -> Mapping[str, str]:
    """What to ask for."""
    return {TARGETS: f"GET {url(asked)}\n"}


def command(asked: Asked) -> tuple[str, ...]:
    """One attack; as fast as it can means as many workers as connections."""
    number = str(asked.connections)
    if asked.rate_per_second is None:
        rate: tuple[str, ...] = ("-rate", "0", "-max-workers", number)
    else:
        rate = ("-rate", f"{asked.rate_per_second:.0f}/1s")
    return (PROGRAM, "attack", "-targets", TARGETS, "-output", RESULTS, *rate, "-duration", f"{asked.seconds:g}s",
            "-workers", number, "-connections", number, "-max-connections", number, "-max-body", "0")  # fmt: skip


def parse(stdout: bytes) -> LoadReport:
    """Both of its reports.

    Raises:
        ValueError: one is not there.
    """
    raw = last_object("vegeta", stdout)
    try:
        requests, codes, latencies = int(raw["requests"]), raw["status_codes"], raw["latencies"]
        good, failed = int(codes.get("200", 0)), int(codes.get("0", 0))
        return LoadReport(
            offered=requests,
            completed=good,
            mismatched=requests - good - failed,
            errors=failed,
            wall_ns=int(raw["duration"]) + int(raw["wait"]),
            latency_ns={**{name: ns(latencies[key], 1) for name, key in NAMES.items()}, "p999": _p999(stdout)},
            first_error=next(iter(raw["errors"] or ()), None),
        )
    except (KeyError, AttributeError) as error:
        raise ValueError(f"vegeta printed something else: {error}") from error


def _p999(stdout: bytes) -> int:
    """The first row at or above p99.9; there is none of exactly that."""
    for value, quantile in ROW.findall(stdout):
        if float(quantile) >= P999:
            return round(float(value) * 1e6)
    raise ValueError("vegeta printed no distribution")
