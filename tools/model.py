"""What a project is: frozen dataclasses made from a validated project.yaml.

Nothing here reads files or starts processes; `tools.project` loads, `tools.plan` unrolls into Cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATA = "{data}"
"""Placeholder in arguments: the folder of the workload."""


@dataclass(frozen=True)
class Parity:
    """What must be equal before two arms are ranked together."""

    library: str
    threads: int
    level: str | None = None
    batching: str | None = None
    durability: str | None = None
    io: str | None = None


@dataclass(frozen=True)
class Packages:
    """System packages: Debian names and pinned PyPI requirements."""

    apt: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()


NO_PACKAGES = Packages()


@dataclass(frozen=True)
class Lane:
    """A program that competes."""

    name: str
    language: str
    variant: str | None
    folder: Path
    parity: Parity
    baseline_of: str | None = None
    build_packages: Packages = NO_PACKAGES
    run_packages: Packages = NO_PACKAGES


@dataclass(frozen=True)
class Service:
    """A real server: what lanes or loads need beside them, or a peer. Placeholders: see `tools.services`."""

    name: str
    command: tuple[str, ...]
    """The absolute path of the program and its arguments."""
    files: tuple[tuple[str, str], ...] = ()
    """Configuration: (name in {run}, template in the project's folder)."""
    ready: str | None = None
    """Text that a line of its output contains once it is ready; None: when something accepts at its port."""
    packages: Packages = NO_PACKAGES


@dataclass(frozen=True)
class Server:
    """How the lanes of a server project are started."""

    args: tuple[str, ...]
    ready: str = "listening on "


@dataclass(frozen=True)
class Rate:
    """Requests a second of an open loop: a number, or a share of the lowest capacity that a case measured."""

    per_second: float | None = None
    share: float | None = None
    of: str | None = None


@dataclass(frozen=True)
class Load:
    """What drives the server of a case, and for how long."""

    tool: str
    protocol: str
    script: str
    """A script of `pace` under {data}; every reply is compared with it. Of `rooms`, the plan of its users."""
    prepare: str | None = None
    """A script that is sent once to each fresh server before anything is timed."""
    scripts: dict[str, tuple[str, str | None, str]] = field(default_factory=dict)
    """For peers that speak another protocol: (protocol, prepare, script)."""
    path: str = "/"
    """What wrk asks for."""
    connections: int = 1
    pipeline: int = 1
    rate: Rate | None = None
    settle_seconds: float = 10.0
    measure_seconds: float = 3.0
    error_budget: float = 0.0
    """Share of requests that may fail or be dropped."""
    saturates: bool = False
    """Of a plan: it may ask more than any server can do, and the deliveries a second are what counts."""

    @property
    def by_the_clock(self) -> bool:
        """Whether everything that is asked must be answered in time: latency counts, not capacity."""
        return self.rate is not None or (self.tool == "rooms" and not self.saturates)


@dataclass(frozen=True)
class Soak:
    """A case that is also run for long, to see what grows."""

    seconds: float


@dataclass(frozen=True)
class Peer:
    """An industry program under the lane contract; the yardstick, never a winner.

    A batch peer is an adapter that is compiled (`folder`, `language`); a peer of servers is a `service`.
    """

    name: str
    title: str
    folder: Path
    language: str | None
    libraries: tuple[str, ...]
    build_packages: Packages
    run_packages: Packages
    parity: Parity | None
    counts_items: bool
    equal: str
    unequal: str
    service: Service | None = None


@dataclass(frozen=True)
class Item:
    """The unit of work that throughput counts."""

    name: str
    plural: str
    definition: str


@dataclass(frozen=True)
class Metric:
    """What the verdict rests on."""

    name: str
    unit: str
    direction: str


@dataclass(frozen=True)
class Workload:
    """A named input at a size, made from a seed by the project's workload.py."""

    name: str
    seed: int
    size: dict[str, Any]
    purpose: str = ""


@dataclass(frozen=True)
class Case:
    """One question asked of every arm; each is measured by itself."""

    name: str
    title: str
    args: tuple[str, ...]
    workloads: tuple[str, ...]
    headline: bool = False
    bytes_per_item: float | None = None
    without: dict[str, str] = field(default_factory=dict)
    stdin: str | None = None
    load: Load | None = None
    peer_args: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What a peer's command gets in this case where the lanes get `args`."""
    metric: str | None = None
    soak: Soak | None = None

    def measures(self, of_project: str) -> str:
        """What the verdict rests on: the case's own metric, latency where the clock asks, else the project's."""
        return self.metric or ("latency_p99_ns" if self.load and self.load.by_the_clock else of_project)


@dataclass(frozen=True)
class BadInput:
    """An input that must end in exit code 2 and one line on stderr that contains `stderr`."""

    name: str
    args: tuple[str, ...]
    stderr: str
    exit_code: int = 2
    stdin: str | None = None


@dataclass(frozen=True)
class Limits:
    """What one run may use."""

    memory_bytes: int = 2 << 30
    timeout_seconds: float = 120.0
    processes: int = 64
    nofile: int = 1024


@dataclass(frozen=True)
class Project:
    """One real job: everything its project.yaml says."""

    folder: Path
    number: str
    slug: str
    alias: str
    title: str
    group: str
    kinds: tuple[str, ...]
    summary: str
    teaches: tuple[str, ...]
    item: Item
    metric: Metric
    lanes: dict[str, Lane]
    workloads: dict[str, Workload]
    workload_requirements: tuple[str, ...]
    compare: str
    oracle_source: str
    cases: tuple[Case, ...]
    peers: dict[str, Peer]
    bad_inputs: tuple[BadInput, ...]
    limits: Limits
    network: str = "none"
    server: Server | None = None
    services: tuple[Service, ...] = ()
    oracle_packages: Packages = NO_PACKAGES
    """What the oracle of a server project runs beside the lane."""
    oracle_timeout_seconds: float = 600.0

    @property
    def headline(self) -> Case:
        """The case that PLAN.md shows: the one marked so, else the first."""
        return next((case for case in self.cases if case.headline), self.cases[0])
