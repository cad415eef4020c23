"""What a result is true of: machine, kernel, limits, CPU level. Two environments are the same when their ids are."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from tools.languages.base import cpu_level
from tools.runners.base import Isolation, Runner

IDENTITY = ("runner", "os", "kernel", "arch", "cpu_model", "cpus", "memory_gib", "cpu_level", "engine", "ci")
FACTS = (
    "id", "os", "kernel", "arch", "cpu_model", "cpus", "memory_bytes", "cpu_level", "governor", "virtualization", "ci",
)  # fmt: skip
"""What a record of our own measurements keeps of it."""
COPY_BYTES = 64 << 20
COPY_ATTEMPTS = 7


def describe(runner: Runner, isolation: Isolation) -> dict[str, Any]:
    """The environment part of a result file."""
    facts: dict[str, Any] = {
        "runner": runner.name,
        "os": _os_name(),
        "kernel": platform.release(),
        "arch": platform.machine(),
        "cpu_model": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cpu_level": cpu_level()["name"],
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "virtualization": _first_line(Path("/sys/hypervisor/type")) or ("vm" if "hypervisor" in _cpu_flags() else None),
        "ci": os.environ.get("CI", "").lower() in {"1", "true"},
        **runner.describe(),
    }
    identity = {name: facts.get(name) for name in IDENTITY} | {"memory_gib": round(facts["memory_bytes"] / 2**30)}
    return {
        "id": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12],
        **facts,
        "isolation": vars(isolation) | {},
        "memory_bandwidth_bytes_per_second": memory_bandwidth(),
        "file_bandwidth_bytes_per_second": None,
    }


def brief(runner: Runner) -> dict[str, Any]:
    """The facts that decide what Deadheat measures of itself."""
    known = describe(runner, Isolation("none", "none", "none", "any"))
    return {name: known[name] for name in FACTS}


def memory_bandwidth() -> float:
    """Bytes read and written a second by the best of several large copies: the physical floor of scans.

    A copy counts both directions, so the figure is an upper bound of what a reader of memory can reach.
    """
    source, target = bytearray(COPY_BYTES), memoryview(bytearray(COPY_BYTES))
    best_ns = 1 << 62
    for _ in range(COPY_ATTEMPTS):
        start_ns = time.perf_counter_ns()
        target[:] = source
        best_ns = min(best_ns, time.perf_counter_ns() - start_ns)
    return 2 * COPY_BYTES / best_ns * 1e9


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _cpu_info() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _cpu_model() -> str:
    return _cpu_info().get("model name") or platform.processor() or "unknown"


def _cpu_flags() -> set[str]:
    return set(_cpu_info().get("flags", "").split())


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
