"""What every load generator is asked and says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tools.model import Packages

QUANTILES = ("p50", "p90", "p99", "p999", "max")


@dataclass(frozen=True)
class Asked:
    """One run of a load generator."""

    address: str
    protocol: str
    script: str
    path: str
    connections: int
    pipeline: int
    seconds: float
    rate_per_second: float | None


@dataclass(frozen=True)
class Second:
    """One second of a run."""

    t_s: int
    """Its end, from the moment when the clock began."""
    users: int
    offered: int
    delivered: int
    errors: int
    p99_ns: int | None


@dataclass(frozen=True)
class LoadReport:
    """What one run of a load generator found; latencies in ns, None where the tool does not say."""

    offered: int
    completed: int
    wall_ns: int
    mismatched: int = 0
    errors: int = 0
    dropped: int = 0
    generator_cpu_ns: int | None = None
    """CPU time that it needed; of one that never sleeps, the time that it did not wait."""
    latency_ns: dict[str, int | None] = field(default_factory=dict)
    lag_p99_ns: int | None = None
    curve: tuple[tuple[float, float], ...] = ()
    """(quantile, latency in ns)"""
    first_error: str | None = None
    messages: int | None = None
    """Of a chat: messages that the server accepted; items are their deliveries."""
    connects: int | None = None
    connect_p99_ns: int | None = None
    """From the moment when a user should have connected until it was in the room."""
    setup_ns: int = 0
    """From the start of the generator to the first of its seconds."""
    series: tuple[Second, ...] = ()


class Tool(Protocol):
    """A module that knows one load generator."""

    @property
    def PACKAGES(self) -> Packages:  # noqa: N802 - a module constant
        """What has to be installed."""

    @property
    def OPEN_LOOP(self) -> bool:  # noqa: N802 - a module constant
        """Whether it can keep a rate by the clock."""

    @property
    def ARM(self) -> str:  # noqa: N802 - a module constant
        """The arm of an arena that it runs in."""

    def command(self, asked: Asked) -> tuple[str, ...]:
        """The command of one run; `{program}` stands for our own generator."""

    def parse(self, stdout: bytes) -> LoadReport:
        """Its output.

        Raises:
            ValueError: this is not what it prints.
        """


class OwnTool(Tool, Protocol):
    """A generator of our own: it is built like a lane, and can look once whether everything is right."""

    @property
    def FOLDER(self) -> Path:  # noqa: N802 - a module constant
        """Its sources."""

    def once(self, asked: Asked) -> tuple[str, ...]:
        """The command that only compares."""
