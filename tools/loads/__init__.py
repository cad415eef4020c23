"""Load generators: what drives a server, and what it says afterwards.

One table of tools; each is a module with `command` (arguments for one run) and `parse` (its output as a LoadReport).
"""

from __future__ import annotations

from tools.loads import dnsperf, pace, wrk
from tools.loads.base import Asked, LoadReport, Tool

TOOLS: dict[str, Tool] = {"pace": pace, "wrk": wrk, "dnsperf": dnsperf}

__all__ = ["TOOLS", "Asked", "LoadReport", "Tool"]
