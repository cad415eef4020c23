"""k6: scenarios in JavaScript; a request that finds no free virtual user is dropped and counted."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tools.loads.base import Asked, LoadReport
from tools.loads.evidence.base import PROGRAM, last_object, ns, url

SCRIPT = "k6.js"
TEXT = """\
import http from 'k6/http';
export const options = {
  discardResponseBodies: true,
  summaryTrendStats: ['med', 'p(90)', 'p(95)', 'p(99)', 'p(99.9)', 'max'],
  scenarios: { load: SCENARIO },
};
export default function () { http.get(URL); }
export function handleSummary(data) { return { stdout: JSON.stringify(data) + '\\n' }; }
"""
NAMES = {"p50": "med", "p90": "p(90)", "p95": "p(95)", "p99": "p(99)", "p999": "p(99.9)", "max": "max"}


def files(asked: Asked) -> Mapping[str, str]:
    """The script; one virtual user keeps one connection."""
    seconds = f"{asked.seconds:g}s"
    if asked.rate_per_second is None:
        scenario: dict[str, object] = {"executor": "constant-vus", "vus": asked.connections}
    else:
        scenario = {
            "executor": "constant-arrival-rate", "rate": round(asked.rate_per_second), "timeUnit": "1s",
            "preAllocatedVUs": asked.connections, "maxVUs": asked.connections,
        }  # fmt: skip
    scenario |= {"duration": seconds, "gracefulStop": "5s"}
    return {SCRIPT: TEXT.replace("SCENARIO", json.dumps(scenario)).replace("URL", json.dumps(url(asked)))}


def command(asked: Asked) -> tuple[str, ...]:
    """One run that speaks with nobody else."""
    del asked
    return (PROGRAM, "run", "--quiet", "--no-usage-report", "--address", "", "--log-output", "stderr", SCRIPT)


def parse(stdout: bytes) -> LoadReport:
    """The summary that the script prints; latency is from the first byte sent to the last received.

    Raises:
        ValueError: it is not there.
    """
    raw = last_object("k6", stdout)
    try:
        metrics = raw["metrics"]
        requests = int(metrics["http_reqs"]["values"]["count"])
        failed = int(metrics["http_req_failed"]["values"]["passes"])
        dropped = int(metrics["dropped_iterations"]["values"]["count"]) if "dropped_iterations" in metrics else 0
        latency = metrics["http_req_duration"]["values"]
        return LoadReport(
            offered=requests + dropped,
            completed=requests - failed,
            errors=failed,
            dropped=dropped,
            wall_ns=round(raw["state"]["testRunDurationMs"] * 1e6),
            latency_ns={name: ns(latency[key], 1e6) for name, key in NAMES.items()},
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"k6 printed something else: {error}") from error
