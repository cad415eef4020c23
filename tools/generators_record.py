"""How load generators compare: `docs/load-generators.json`, raw numbers only, and what they say.

What a generator kept, and whether it saw a server that stood still, is computed on reading. The file is bound to what
made it (harness, machine, time) and checked against `schemas/load-generators.schema.json`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tools import recorded
from tools.project import ROOT
from tools.recorded import Tree

PATH = "docs/load-generators.json"
SCHEMA = ROOT / "schemas" / "load-generators.schema.json"
KIND = recorded.Kind(SCHEMA, "measure again: python -m tools.loads.evidence")
read, refuse_problems = KIND.read, KIND.refuse_problems

# History of the schema.
#   1  first version: fixed rates, a server that stands still, ceilings over HTTP and RESP
SCHEMA_VERSION = 1

KEPT = 0.99
"""Of an asked rate; MEASURING 12."""
SEEN = 0.15
"""A quantile is right when it lies within this share of the truth."""
SHARES = {"p95": 0.95, "p99": 0.99, "p999": 0.999}
"""The quantiles in which the pauses show: the server stands still for a tenth of the time."""
STEPS = 60


def per_second(found: Tree) -> float:
    """Right replies a second."""
    return float(found["completed"] / max(1, found["wall_ns"]) * 1e9)


def cpu_share(found: Tree) -> float:
    """CPU seconds that the generator needed a second; of others than pace, their start and report included."""
    return float(found["cpu_ns"] / max(1, found["wall_ns"]))


def server_share(found: Tree) -> float:
    """CPU seconds that the server needed a second."""
    return float(found["server_cpu_ns"] / max(1, found["wall_ns"]))


def request_ns(found: Tree) -> float:
    """CPU time of the generator for one right reply."""
    return float(found["cpu_ns"] / max(1, found["completed"]))


def kept(row: Tree) -> bool:
    """Whether a run reached the rate that was asked for."""
    found, asked = row["found"], row["rate_per_second"]
    return found is not None and asked is not None and per_second(found) >= KEPT * asked


def highest_kept(rows: Sequence[Tree], generator: str) -> Tree | None:
    """The run at the highest rate that a generator kept; None if it kept none."""
    mine = [row for row in rows if row["generator"] == generator and kept(row)]
    return max(mine, key=lambda row: float(row["rate_per_second"]), default=None)


def fastest(rows: Sequence[Tree], generator: str) -> Tree | None:
    """The closed loop of a generator; None if it has none."""
    return next((row for row in rows if row["generator"] == generator and row["rate_per_second"] is None), None)


# --- a server that stands still


def unanswered(row: Tree) -> int | None:
    """Requests that were due while a run at a fixed rate lasted, and have no right reply; None for a closed loop."""
    found, rate = row["found"], row["rate_per_second"]
    return None if rate is None else max(0, round(rate * found["wall_ns"] / 1e9) - int(found["completed"]))


def true_ns(stops_ms: Sequence[float], period_ms: float, share: float) -> float:
    """The quantile of latency from the intended start, if the server answers at once whenever it runs.

    Requests are due evenly, so in a pause of d those of the last x are delayed by less than x: a share of
    sum(max(0, d - x)) / (pauses * period) is delayed by more than x. Solved for x by bisection.
    """
    if not stops_ms:
        return 0.0
    wanted = (1 - share) * len(stops_ms) * period_ms
    low, high = 0.0, max(stops_ms)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if sum(max(0.0, stop - middle) for stop in stops_ms) > wanted:
            low = middle
        else:
            high = middle
    return high * 1e6


def truths(row: Tree, period_ms: float) -> dict[str, float]:
    """The true quantiles of a run, in ns."""
    return {name: true_ns(row["stops_ms"], period_ms, share) for name, share in SHARES.items()}


def seen(row: Tree, period_ms: float) -> dict[str, bool]:
    """Whether each quantile that a generator reports is about the true one."""
    said = row["found"]["latency_ns"]
    return {
        name: said[name] is not None and abs(said[name] - truth) <= SEEN * truth
        for name, truth in truths(row, period_ms).items()
    }
