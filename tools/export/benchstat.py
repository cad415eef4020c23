"""The text of Go benchmarks, which benchstat reads: one line a run, programs and cases as keys of the name.

    benchstat -col /arm -row /case result.txt          # programs side by side
    benchstat before.txt after.txt                     # two results, every program against itself

An operation is the whole job once; of a server, one request. The configuration lines hold what two files must share
to be compared: benchstat sets files of two environments apart by itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tools.export.arms import Runs, counting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.record import Result

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def export(result: Result) -> str:
    """The text."""
    machine = result.environment
    head = {
        "goos": "linux",
        "goarch": ARCHITECTURES.get(machine.arch, machine.arch),
        "pkg": result.slug,
        "cpu": machine.cpu_model,
        "environment": machine.id,
        "runner": machine.runner,
        "workload": result.plan.workload,
    }
    lines = [f"{key}: {_one_line(value)}" for key, value in head.items()]
    lines += ["Unit items/s better=higher", ""]
    name = "Benchmark" + "".join(word.capitalize() for word in result.slug.split("-"))
    for runs in counting(result):
        lines += _lines(name, runs)
    return "\n".join(lines) + "\n"


def _one_line(value: str) -> str:
    """A value of a configuration line."""
    return re.sub(r"\s+", " ", value).strip()


def _lines(name: str, runs: Runs) -> Iterator[str]:
    """A line a run; the number of threads at the end keeps a name such as `top-20` from being read as one."""
    threads = runs.arm.parity.threads if runs.arm.parity else 1
    full = f"{name}/case={runs.case.name}/arm={runs.arm.name}-{threads}"
    samples = runs.case.samples
    for index in runs.places:
        wall_ns, items = samples.wall_ns[index], samples.items[index]
        count = runs.case.repeats if runs.case.load is None else max(1, items or 0)
        cpu_ns = samples.user_ns[index] + samples.sys_ns[index]
        values = [f"{wall_ns / count:.3f} ns/op", f"{cpu_ns / count:.3f} cpu-ns/op"]
        if items and wall_ns:
            values.append(f"{items / wall_ns * 1e9:.3f} items/s")
        if runs.case.load is not None and (p99 := samples.latency_p99_ns[index]) is not None:
            values.append(f"{p99} p99-ns")
        values.append(f"{samples.max_rss_bytes[index]} max-rss-bytes")
        yield f"{full} {count} {' '.join(values)}"
