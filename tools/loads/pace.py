"""pace, our own generator (tools/loads/pace): compares every reply, and keeps a rate by the clock.

Chosen for open loops by the evidence in docs/load-generators.md: it measures from the intended start, says how late it
was itself, and speaks RESP and memcached, for which no packaged generator keeps a rate.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.loads.base import QUANTILES, Asked, LoadReport
from tools.model import NO_PACKAGES
from tools.runners.base import TOOLBOX

PACKAGES = NO_PACKAGES
OPEN_LOOP = True
ARM = TOOLBOX
FOLDER = Path(__file__).with_name("pace")


def command(asked: Asked) -> tuple[str, ...]:
    """One run of so many seconds."""
    rate = () if asked.rate_per_second is None else ("--rate", f"{asked.rate_per_second:.6g}")
    return (*_common(asked), "--connections", str(asked.connections), "--pipeline", str(asked.pipeline),
            "--seconds", f"{asked.seconds:g}", *rate)  # fmt: skip


def once(asked: Asked) -> tuple[str, ...]:
    """The whole script, once."""
    return (*_common(asked), "--connections", str(min(asked.connections, 8)), "--pipeline", "64", "--once",
            "--grace", "60")  # fmt: skip


def _common(asked: Asked) -> tuple[str, ...]:
    return ("{program}", "--target", asked.address, "--protocol", asked.protocol, "--script", asked.script)


def parse(stdout: bytes) -> LoadReport:
    """One line of JSON."""
    raw: Any = json.loads(stdout)
    try:
        return LoadReport(
            offered=int(raw["offered"]),
            completed=int(raw["completed"]),
            mismatched=int(raw["mismatched"]),
            errors=int(raw["errors"]),
            dropped=int(raw["dropped"]),
            wall_ns=int(raw["wall_ns"]),
            generator_cpu_ns=int(raw["generator_cpu_ns"]),
            latency_ns={name: int(raw["latency_ns"][name]) for name in QUANTILES},
            lag_p99_ns=int(raw["lag_ns"]["p99"]) if raw["rate_per_second"] is not None else None,
            curve=tuple((float(q), float(ns)) for q, ns in raw["curve"]),
            first_error=raw["first_error"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"pace printed something else: {error}") from error
