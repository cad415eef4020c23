"""A result as frozen dataclasses: raw samples of one benchmark in one environment, never edited.

Only what `tools.checks` accepts becomes a Result (`tools.result` does it), so later code has no checks of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tools.model import Item, Metric, Parity

FATAL_FLAGS = frozenset({
    "wrong-digest", "wrong-items", "failed", "impossible", "self-time", "wrong-replies", "load-errors", "rate-missed",
})  # fmt: skip
"""Flags that take a program's verdict away; the others only mark a round."""
NOISE_FLAGS = frozenset({"noisy", "generator-lag"})
"""Flags of rounds that were disturbed: a verdict is also computed without them."""


@dataclass(frozen=True)
class Harness:
    """Which Deadheat made the file."""

    version: str
    commit: str | None
    dirty: bool
    source_sha256: str


@dataclass(frozen=True)
class Environment:
    """What the result is true of; two files with one id may be compared, others never share a row."""

    id: str
    runner: str
    os: str
    kernel: str
    arch: str
    cpu_model: str
    cpus: int
    memory_bytes: int
    cpu_level: str
    governor: str | None
    virtualization: str | None
    engine: str | None
    base_image: str | None
    ci: bool
    pinned_cpus: tuple[int, ...]
    isolation: Mapping[str, str]
    memory_bandwidth_bytes_per_second: float | None
    file_bandwidth_bytes_per_second: float | None


@dataclass(frozen=True)
class PlanRecord:
    """What was asked for before the first run."""

    seed: int
    workload: str
    rounds_min: int
    rounds_max: int
    budget_seconds: float
    half_width: float
    min_run_seconds: float
    claims: int
    alpha: float
    reference: str
    lanes: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """One check that a program did not pass."""

    check: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What the oracle said about a program before it was timed."""

    state: str
    checks: int
    bad_inputs: int
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Arm:
    """A program of the run: lane, peer or null arm, with what it was made from."""

    name: str
    role: str
    of: str | None
    language: str | None
    variant: str | None
    title: str
    parity: Parity | None
    baseline_of: str | None
    state: str
    reason: str | None
    source_sha256: str | None
    lock_sha256: str | None
    binary_sha256: str | None
    toolchain: str | None
    flags: tuple[str, ...]
    image_digest: str | None
    binary_bytes: int | None
    image_bytes: int | None
    cold_build_ns: int | None
    incremental_build_ns: int | None
    lines_of_code: int | None
    startup_ns: tuple[int, ...]
    counts_items: bool
    verification: Verification
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Samples:
    """Columns of equal length, one entry a run."""

    arm: tuple[str, ...]
    round: tuple[int, ...]
    position: tuple[int, ...]
    wall_ns: tuple[int, ...]
    user_ns: tuple[int, ...]
    sys_ns: tuple[int, ...]
    max_rss_bytes: tuple[int, ...]
    minor_faults: tuple[int | None, ...]
    major_faults: tuple[int | None, ...]
    voluntary_switches: tuple[int | None, ...]
    involuntary_switches: tuple[int | None, ...]
    exit_kind: tuple[str, ...]
    exit_code: tuple[int, ...]
    self_ns: tuple[int | None, ...]
    items: tuple[int | None, ...]
    digest: tuple[str | None, ...]
    steal_ns: tuple[int, ...]
    pressure_ns: tuple[int, ...]
    flags: tuple[frozenset[str], ...]
    offered: tuple[int | None, ...] = ()
    dropped: tuple[int | None, ...] = ()
    errors: tuple[int | None, ...] = ()
    mismatched: tuple[int | None, ...] = ()
    latency_p50_ns: tuple[int | None, ...] = ()
    latency_p90_ns: tuple[int | None, ...] = ()
    latency_p99_ns: tuple[int | None, ...] = ()
    latency_p999_ns: tuple[int | None, ...] = ()
    latency_max_ns: tuple[int | None, ...] = ()
    lag_p99_ns: tuple[int | None, ...] = ()
    generator_cpu_ns: tuple[int | None, ...] = ()
    messages: tuple[int | None, ...] = ()
    connects: tuple[int | None, ...] = ()
    connect_p99_ns: tuple[int | None, ...] = ()

    def by_round(self, arm: str) -> dict[int, int]:
        """Map each round of an arm to the place of its run in the columns."""
        return {self.round[index]: index for index, name in enumerate(self.arm) if name == arm}


@dataclass(frozen=True)
class State:
    """Whether an arm was measured in a case, and if not, why."""

    state: str
    reason: str | None


@dataclass(frozen=True)
class Memory:
    """Peak memory of an arm in a case, from a pass of its own."""

    max_rss_bytes: int
    source: str


@dataclass(frozen=True)
class PhaseRecord:
    """A stretch of a plan."""

    name: str
    seconds: float
    users: tuple[int, int]
    rate: float
    session_seconds: float | None


@dataclass(frozen=True)
class PlannedLoad:
    """What the users of a chat did."""

    saturates: bool
    payload_bytes: int
    phases: tuple[PhaseRecord, ...]


@dataclass(frozen=True)
class LoadRecord:
    """What drove the servers of a case."""

    tool: str
    protocol: str
    connections: int
    pipeline: int
    rate_per_second: float | None
    settle_seconds: float
    measure_seconds: float
    error_budget: float
    curves: Mapping[str, list[list[float]]]
    plan: PlannedLoad | None = None

    @property
    def by_the_clock(self) -> bool:
        """Whether latency counts; else capacity."""
        return self.rate_per_second is not None or (self.plan is not None and not self.plan.saturates)


SOAK = "soak"
"""What a soak is chosen by, where other results are by their workload."""


@dataclass(frozen=True)
class Series:
    """One program through a soak: columns of equal length, an entry a second."""

    t_s: tuple[int, ...]
    users: tuple[int, ...]
    rss_bytes: tuple[int, ...]
    fds: tuple[int, ...]
    cpu_share: tuple[float, ...]
    offered_per_second: tuple[int, ...]
    delivered_per_second: tuple[int, ...]
    errors: tuple[int, ...]
    p99_ns: tuple[int | None, ...]


@dataclass(frozen=True)
class Soak:
    """A long run of every program, one after the other."""

    seconds: float
    series: Mapping[str, Series]


@dataclass(frozen=True)
class WorkloadRecord:
    """An input that the cases were measured on."""

    sha256: str
    bytes: int
    seed: int


@dataclass(frozen=True)
class CaseResult:
    """All runs of all arms in one case."""

    name: str
    title: str
    headline: bool
    workload: str
    items: int
    repeats: int
    digest: str
    bytes_per_item: float | None
    floor_ns: float | None
    floor_basis: str | None
    states: Mapping[str, State]
    memory: Mapping[str, Memory]
    stop: str
    samples: Samples
    metric: str | None = None
    """What the verdict rests on, where it is not the project's metric."""
    load: LoadRecord | None = None
    soak: Soak | None = None
    args: tuple[str, ...] = ()
    answer_sha256: str = ""


@dataclass(frozen=True)
class Result:
    """One result file."""

    path: Path
    created_at: str
    slug: str
    number: str
    item: Item
    metric: Metric
    harness: Harness
    environment: Environment
    plan: PlanRecord
    arms: Mapping[str, Arm]
    cases: tuple[CaseResult, ...]
    workloads: Mapping[str, WorkloadRecord]

    @property
    def headline(self) -> CaseResult:
        """The case that PLAN.md shows: the one marked so, else the first."""
        return next((case for case in self.cases if case.headline), self.cases[0])

    @property
    def lanes(self) -> list[Arm]:
        """The programs that compete."""
        return [arm for arm in self.arms.values() if arm.role == "lane"]
