"""pace, asked as the harness asks it."""

from __future__ import annotations

from dataclasses import replace

from tools.loads import pace
from tools.loads.base import LoadReport


def parse(stdout: bytes) -> LoadReport:
    """Its line, with the quantile that only its curve has.

    Raises:
        ValueError: it printed something else.
    """
    found = pace.parse(stdout)
    curve = dict(found.curve)
    if 0.95 not in curve:  # noqa: PLR2004 - a point of its curve
        raise ValueError("pace printed a curve without its 0.95")
    return replace(found, latency_ns={**found.latency_ns, "p95": round(curve[0.95])})
