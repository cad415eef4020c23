"""What a result is true of: facts of the machine, and an identity that changes exactly when they do."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeRunner
from tools import environment
from tools.runners.base import Isolation

ISOLATION = Isolation("isolated", "cgroup-v2", "cgroup-v2", "uid 0")
CPUINFO = "processor\t: 0\nmodel name\t: Example CPU @ 3.00GHz\nflags\t\t: fpu sse2 hypervisor\n\nprocessor\t: 1\n"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known machine, whose copies of memory are not measured."""
    monkeypatch.setattr(environment, "memory_bandwidth", lambda: 1e10)
    monkeypatch.setattr(environment, "_cpu_info", lambda: {"model name": "Example CPU", "flags": "fpu hypervisor"})
    monkeypatch.setattr(environment, "_first_line", lambda _: None)
    monkeypatch.setattr(platform, "release", lambda: "6.1.0")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"PRETTY_NAME": "Debian 12"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2 << 20}[name])
    monkeypatch.delenv("CI", raising=False)


def described(**runner: Any) -> dict[str, Any]:
    """The environment of a benchmark on the scripted runner, with other facts of the runner where given."""
    fake = FakeRunner()
    fake.describe = lambda: {**FakeRunner().describe(), **runner}  # type: ignore[method-assign]  # other facts
    return environment.describe(fake, ISOLATION)


def test_facts_are_those_of_the_machine() -> None:
    """Processor, memory, kernel and isolation as they are; a hypervisor shows in the flags of the processor."""
    found = described()
    facts = {
        "os": "Debian 12", "kernel": "6.1.0", "arch": "x86_64", "cpu_model": "Example CPU", "cpus": 2,
        "memory_bytes": 8 << 30, "cpu_level": "x86-64-v3", "governor": None, "virtualization": "vm", "ci": False,
        "pinned_cpus": [0], "memory_bandwidth_bytes_per_second": 1e10,
    }  # fmt: skip
    assert {name: found[name] for name in facts} == facts
    assert found["isolation"] == {
        "network": "isolated", "memory_limit": "cgroup-v2", "process_limit": "cgroup-v2", "user": "uid 0",
    }  # fmt: skip


def test_the_same_machine_has_the_same_id() -> None:
    """Two benchmarks of one environment may share a table; the id is short and plain."""
    first, second = described()["id"], described()["id"]
    assert first == second
    assert len(first) == 12
    assert set(first) <= set("0123456789abcdef")


def test_another_machine_has_another_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernel, cores, processor, memory, runner and engine each make another environment."""
    ids = [described()["id"], described(runner="docker")["id"], described(engine="28.0")["id"]]
    with monkeypatch.context() as other:
        other.setattr(platform, "release", lambda: "6.2.0")
        ids.append(described()["id"])
    with monkeypatch.context() as other:
        other.setattr(os, "sched_getaffinity", lambda _: {0})
        ids.append(described()["id"])
    with monkeypatch.context() as other:
        other.setattr(environment, "_cpu_info", lambda: {"model name": "Other CPU"})
        ids.append(described()["id"])
    with monkeypatch.context() as other:
        other.setenv("CI", "true")
        ids.append(described()["id"])
    assert len(set(ids)) == len(ids)


def test_what_moves_is_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bandwidth, and a few pages that the kernel kept for itself, do not make another environment."""
    before = described()["id"]
    monkeypatch.setattr(environment, "memory_bandwidth", lambda: 9e9)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": (2 << 20) - 5000}[name])
    assert described()["id"] == before
    assert described()["memory_bytes"] < 8 << 30


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("TRUE", True), ("", False), ("0", False)]
)
def test_ci_says_so(value: str, expected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared runners announce themselves; an empty or negative word does not count."""
    monkeypatch.setenv("CI", value)
    assert described()["ci"] is expected


def test_bandwidth_is_a_positive_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small copy gives a figure that can be divided by."""
    monkeypatch.undo()
    monkeypatch.setattr(environment, "COPY_BYTES", 1 << 16)
    assert environment.memory_bandwidth() > 0


def test_the_kernels_files_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fields of /proc/cpuinfo by name; a missing or empty file is unknown, not an error."""
    monkeypatch.undo()
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: CPUINFO)
    assert environment._cpu_model() == "Example CPU @ 3.00GHz"
    assert environment._cpu_flags() == {"fpu", "sse2", "hypervisor"}
    monkeypatch.undo()
    assert environment._first_line(tmp_path / "none") is None
    (tmp_path / "empty").write_text("\n")
    assert environment._first_line(tmp_path / "empty") is None
    (tmp_path / "governor").write_text("performance\n")
    assert environment._first_line(tmp_path / "governor") == "performance"


def test_a_machine_that_tells_nothing_is_still_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without os-release and cpuinfo there are plain words instead of a failure."""

    def missing() -> dict[str, str]:
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(environment, "_cpu_info", dict)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "freedesktop_os_release", missing)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    found = described()
    assert (found["os"], found["cpu_model"], found["virtualization"]) == ("Linux", "unknown", None)
