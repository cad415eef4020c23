"""What starting one program costs: the least that C can do, our launcher as it times lanes, and two known runners.

All of them start the same program that does nothing, on the same core, in alternating rounds; each says by its own
clock what one launch took. The loop in C is timed twice: back to back, where the core and its caches never rest, and
with a rest between two launches such as every harness makes that keeps a record. The second is the one to compare with.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tools import caches, stats
from tools.errors import DeadheatError
from tools.launcher import LauncherClient, LaunchRequest, Rlimits, build_launcher, local_launcher
from tools.model import Limits
from tools.runners import host
from tools.selftest.workbench import PATH, Workbench

PADDING = "x" * 2048
"""The mean padding of a timed run's environment."""
REST_US = 500
"""About what the harness takes from the end of a run to the start of the next."""
OURS = {"tight", "loop", "launcher"}


def measure(rounds: int, launches: int, bench: Workbench, missing: dict[str, str]) -> dict[str, Any]:
    """Median nanoseconds of one launch, tool by tool and round by round; tools that are not here go to `missing`."""
    limits = Limits()
    binary, nothing = build_launcher(host.zig(), caches.work("launcher")), bench.program("nothing")
    with local_launcher(
        binary, no_network=True, cgroup_memory_bytes=limits.memory_bytes, cgroup_pids=limits.processes
    ) as launcher:
        tools: dict[str, Callable[[], list[float]]] = {
            "tight": lambda: _loop(binary, nothing, launches, 0, bench),
            "loop": lambda: _loop(binary, nothing, launches, REST_US, bench),
            "launcher": lambda: _launched(launcher, nothing, launches, bench),
            "hyperfine": lambda: bench.hyperfine_ns({"nothing": shlex.quote(str(nothing))}, launches)["nothing"],
            "pyperf": lambda: bench.pyperf_ns([nothing], launches),
        }
        taken = [_round(tools, missing) for _ in range(rounds)]
    return {"launches": launches, "rounds": taken}


def _round(tools: Mapping[str, Callable[[], list[float]]], missing: dict[str, str]) -> dict[str, float]:
    """The median of each tool that is here."""
    return {name: stats.median(found) for name, tool in tools.items() if (found := _tried(name, tool, missing))}


def _tried(name: str, tool: Callable[[], list[float]], missing: dict[str, str]) -> list[float]:
    """What a tool measured; a rival that is missing is missing once for all, ours must work."""
    if name in missing:
        return []
    if name in OURS:
        return tool()
    try:
        return tool()
    except DeadheatError as error:
        missing[name] = str(error)
        return []


def _loop(binary: Path, nothing: Path, launches: int, rest_us: int, bench: Workbench) -> list[float]:
    """The C loop of posix_spawn and wait4."""
    words = (str(binary), "--spawn-loop", str(launches), str(rest_us), str(nothing))
    return [float(line) for line in bench.output(words).split()]


def _launched(launcher: LauncherClient, nothing: Path, launches: int, bench: Workbench) -> list[float]:
    """Samples as the host runner takes them: limits, environment, folder and core included."""
    request = LaunchRequest(
        argv=(str(nothing),),
        env={"LANG": "C.UTF-8", "PATH": PATH, "TMPDIR": str(bench.folder), host.PADDING_NAME: PADDING},
        cwd=str(bench.folder),
        cpus=bench.cores,
        rlimits=Rlimits(nofile=Limits().nofile, processes=None),
        timeout_ms=int(Limits().timeout_seconds * 1000),
    )
    return [float(launcher.run(request).wall_ns) for _ in range(launches)]


def load_average() -> float:
    """How busy the machine was over the last minute."""
    return os.getloadavg()[0]
