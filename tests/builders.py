"""Small builders of result trees: valid by default, every number given by the test that needs it."""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING, Any

from tools import result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PARITY: dict[str, Any] = {
    "library": "own", "threads": 1, "level": None, "batching": None, "durability": None, "io": "mmap",
}  # fmt: skip
DIGEST = "0123456789abcdef"
SHA = "a" * 64
ENVIRONMENT = "0123456789ab"
TITLES = {"go": "Go", "rust": "Rust", "zig": "Zig"}


def arm(name: str, role: str = "lane", **changes: Any) -> dict[str, Any]:
    """Build one arm that was built and verified."""
    lane = role == "lane"
    return {
        "role": role, "of": None, "language": name if lane else "c", "variant": None,
        "title": TITLES.get(name, name), "parity": dict(PARITY) if lane else None, "baseline_of": None,
        "state": "measured", "reason": None, "source_sha256": SHA if lane else None, "lock_sha256": None,
        "binary_sha256": SHA, "toolchain": f"{name} 1.2.3", "flags": ["-O"], "image_digest": None,
        "binary_bytes": 1_500_000, "image_bytes": None, "cold_build_ns": 9_000_000_000,
        "incremental_build_ns": 800_000_000, "lines_of_code": 700, "startup_ns": [900_000, 1_000_000, 1_100_000],
        "counts_items": True, "verification": {"state": "passed", "checks": 12, "bad_inputs": 3, "failures": []},
        "notes": {}, **changes,
    }  # fmt: skip


def columns(times_ns: Mapping[str, int], *, rounds: int = 12, items: int = 100, seed: int = 1) -> dict[str, list[Any]]:
    """Build complete rounds: each arm's wall time is its given one with up to half a percent of noise."""
    noise = random.Random(seed)
    runs: list[dict[str, Any]] = []
    for turn in range(rounds):
        for position, name in enumerate(noise.sample(sorted(times_ns), len(times_ns))):
            wall_ns = round(times_ns[name] * (1 + noise.uniform(-0.005, 0.005)))
            runs.append({
                "arm": name, "round": turn, "position": position, "wall_ns": wall_ns, "user_ns": wall_ns * 9 // 10,
                "sys_ns": 0, "max_rss_bytes": 1 << 20, "minor_faults": 1, "major_faults": 0, "voluntary_switches": 0,
                "involuntary_switches": 0, "exit_kind": "exited", "exit_code": 0, "self_ns": wall_ns * 8 // 10,
                "items": items, "digest": DIGEST, "steal_ns": 0, "pressure_ns": 0, "flags": [],
            })  # fmt: skip
    names = runs[0] if runs else EMPTY
    return {key: [run[key] for run in runs] for key in names}


def case(times_ns: Mapping[str, int], name: str = "scan", **changes: Any) -> dict[str, Any]:
    """Build one case of ten items a repeat and ten repeats, measured in twelve rounds."""
    return {
        "name": name, "title": f"the {name}", "headline": name == "scan", "workload": "bench",
        "args": ["--x", "{data}"], "items": 10, "repeats": 10, "answer_sha256": SHA, "digest": DIGEST,
        "bytes_per_item": None, "floor_ns": None,
        "floor_basis": None, "states": {arm: {"state": "measured", "reason": None} for arm in times_ns},
        "calibration": [], "memory": {arm: {"max_rss_bytes": 3 << 20, "source": "rusage"} for arm in times_ns},
        "stop": "precision", "warmups": columns(times_ns, rounds=1), "samples": columns(times_ns), "load": None,
        **changes,
    }  # fmt: skip


TIMES = {"go": 900_000_000, "rust": 500_000_000, "zig": 510_000_000, "sqlite3": 1_000_000_000, "null": 500_000_000}
EMPTY = dict.fromkeys([
    "arm", "round", "position", "wall_ns", "user_ns", "sys_ns", "max_rss_bytes", "minor_faults", "major_faults",
    "voluntary_switches", "involuntary_switches", "exit_kind", "exit_code", "self_ns", "items", "digest", "steal_ns",
    "pressure_ns", "flags",
])  # fmt: skip


def tree(times_ns: Mapping[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    """Build a whole result: three lanes, a peer and a null arm in one case; `changes` replace top-level keys."""
    times = dict(times_ns or TIMES)
    kinds = {"sqlite3": "peer", "null": "null"}
    arms = {name: arm(name, kinds.get(name, "lane")) for name in times}
    if "null" in arms:
        arms["null"].update(of="rust", title="null (rust again)", language="rust")
    lanes = [name for name in times if name not in kinds]
    return copy.deepcopy({
        "schema_version": 1, "created_at": "2026-11-20T20:50:30Z",
        "project": {
            "slug": "sqlite-query-engine", "number": "9.1",
            "item": {"name": "row", "plural": "rows", "definition": "a row read"},
            "metric": {"name": "wall_ns", "unit": "ns", "direction": "lower"},
        },
        "harness": {"version": "0.1.0", "commit": None, "dirty": False, "source_sha256": SHA},
        "environment": environment(),
        "plan": {
            "seed": 1, "workload": "bench", "rounds_min": 12, "rounds_max": 40, "budget_seconds": 300.0,
            "half_width": 0.0488, "min_run_seconds": 0.5, "claims": 3, "alpha": 0.05,
            "reference": "rust" if "rust" in lanes else lanes[0], "lanes": lanes,
        },
        "workloads": {"bench": {"sha256": SHA, "bytes": 1000, "seed": 2, "size": {"rows": 10}}},
        "arms": arms, "cases": [case(times)], **changes,
    })  # fmt: skip


def environment(**changes: Any) -> dict[str, Any]:
    """Build the record of a small machine."""
    return {
        "id": ENVIRONMENT, "runner": "docker", "os": "Debian 12", "kernel": "6.1.0", "arch": "x86_64",
        "cpu_model": "Example CPU", "cpus": 2, "memory_bytes": 8 << 30, "cpu_level": "x86-64-v3", "governor": None,
        "virtualization": "kvm", "engine": "27.0", "base_image": None, "ci": False, "pinned_cpus": [1],
        "isolation": {"network": "none", "memory_limit": "cgroup", "process_limit": "cgroup", "user": "65534"},
        "memory_bandwidth_bytes_per_second": 1e10, "file_bandwidth_bytes_per_second": 1e9, **changes,
    }  # fmt: skip


def stored(folder: Path, raw: Mapping[str, Any] | None = None) -> Path:
    """Store a tree (valid or not checked by the caller) as `tools.result` would."""
    return result.write(raw or tree(), folder)
