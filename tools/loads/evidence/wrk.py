"""wrk with a script that pipelines and prints the quantiles which its summary leaves out.

The quantiles are corrected by wrk: for a request that took longer than twice the mean interval of its connection, it
adds those that the connection would have sent meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping

from tools.loads.base import Asked, LoadReport
from tools.loads.evidence.base import PROGRAM, QUANTILES, last_object, ns, url

SCRIPT = "wrk.lua"
PIPELINE = """\
init = function(args)
  local requests = {}
  for i = 1, DEPTH do requests[i] = wrk.format() end
  batch = table.concat(requests)
end
request = function() return batch end
"""
DONE = """\
done = function(summary, latency, requests)
  local failed = summary.errors
  local socket = failed.connect + failed.read + failed.write + failed.timeout
  io.write(string.format('{"requests":%d,"duration_us":%d,"socket":%d,"status":%d', summary.requests,
    summary.duration, socket, failed.status))
  for name, percent in pairs({p50 = 50, p90 = 90, p95 = 95, p99 = 99, p999 = 99.9}) do
    io.write(string.format(',"%s_us":%d', name, latency:percentile(percent)))
  end
  io.write(string.format(',"max_us":%d}\\n', latency.max))
end
"""


def files(asked: Asked) -> Mapping[str, str]:
    """The script."""
    pipeline = PIPELINE.replace("DEPTH", str(asked.pipeline)) if asked.pipeline > 1 else ""
    return {SCRIPT: pipeline + DONE}


def command(asked: Asked) -> tuple[str, ...]:
    """One run with one thread; wrk counts whole seconds."""
    seconds = max(1, round(asked.seconds))
    return (PROGRAM, "-t1", f"-c{asked.connections}", f"-d{seconds}s", "-s", SCRIPT, url(asked))


def parse(stdout: bytes) -> LoadReport:
    """The line of the script.

    Raises:
        ValueError: it is not there.
    """
    raw = last_object("wrk", stdout)
    try:
        requests, wrong, failed = int(raw["requests"]), int(raw["status"]), int(raw["socket"])
        return LoadReport(
            offered=requests + failed,
            completed=requests - wrong,
            mismatched=wrong,
            errors=failed,
            wall_ns=int(raw["duration_us"]) * 1000,
            latency_ns={name: ns(raw[f"{name}_us"], 1e3) for name in QUANTILES},
        )
    except KeyError as error:
        raise ValueError(f"wrk's script printed no {error}") from error
