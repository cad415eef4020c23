"""Load generators: what drives a server, and what it says afterwards.

One table of tools; each is a module with `command` (arguments for one run) and `parse` (its output as a LoadReport).
"""

from __future__ import annotations

from tools.loads import dnsperf, pace, rooms, wrk
from tools.loads.base import Asked, LoadReport, OwnTool, Second, Tool

OWN: dict[str, OwnTool] = {"pace": pace, "rooms": rooms}
"""The generators that are built here."""
TOOLS: dict[str, Tool] = {**OWN, "wrk": wrk, "dnsperf": dnsperf}


def comparing(tool: str) -> OwnTool:
    """The generator that compares every reply to the script of this one."""
    return OWN.get(tool, pace)


__all__ = ["OWN", "TOOLS", "Asked", "LoadReport", "OwnTool", "Second", "Tool", "comparing"]
