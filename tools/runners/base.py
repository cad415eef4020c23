"""The contract of a runner: build a program from sources, and an arena in which finished programs run.

A runner executes what languages return as data; it never knows a language by name. The host runner, the Docker runner
and the scripted fake of the tests satisfy this protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

from tools.languages.base import Paths, Step
from tools.launcher.protocol import LaunchReply, Started, Usage
from tools.model import NO_PACKAGES, Limits, Packages


@dataclass(frozen=True)
class Source:
    """Sources to build: one lane or one peer of a project."""

    slug: str
    arm: str
    role: str
    """lane, peer or tool."""
    language: str
    folder: Path
    libraries: tuple[str, ...] = ()
    build_packages: Packages = NO_PACKAGES
    run_packages: Packages = NO_PACKAGES

    @property
    def id(self) -> str:
        """How logs and folders call it."""
        return f"{self.slug}/{self.arm}"


@dataclass(frozen=True)
class Built:
    """A program that was built, or taken from the cache; `binary` is its copy on this machine."""

    source: Source
    runner: str
    binary: Path | None
    """None for a peer that is a packaged server."""
    source_sha256: str | None
    lock_sha256: str | None
    binary_sha256: str | None
    toolchain: str | None
    flags: tuple[str, ...] = ()
    image_digest: str | None = None
    cold_build_ns: int | None = None
    incremental_build_ns: int | None = None

    @property
    def binary_bytes(self) -> int | None:
        """Size of the program."""
        return self.binary.stat().st_size if self.binary else None


Cores = Literal["arms", "beside", "any"]


@dataclass(frozen=True)
class Program:
    """An arm in an arena: a name and the program behind it (the null arm shares one)."""

    arm: str
    built: Built
    packages: Packages = NO_PACKAGES
    """What stands beside the program, over what it needs itself."""
    python: bool = False
    """Whether Python stands beside it (for an oracle)."""
    cores: Cores = "arms"
    """Where it runs: on the core of the arms; beside it (services, load generators); on any, where nothing is timed."""


TOOLBOX = "toolbox"
"""The arm in an arena that services and load generators run in; it shares its loopback with the others."""


@dataclass(frozen=True)
class Run:
    """One run of one arm: placeholders in `args` and `command` become the arena's paths (see `Places`)."""

    arm: str
    args: tuple[str, ...]
    timeout_seconds: float
    command: tuple[str, ...] = ()
    """Run this instead of the arm's own program."""
    stdin: str | None = None
    padding_bytes: int = 0
    stdout_limit_bytes: int = 1 << 20


@dataclass(frozen=True)
class Start:
    """One start of a long-lived program of an arm."""

    arm: str
    args: tuple[str, ...]
    ready: str | None
    """Text of the line that says it is ready; None: it counts as started at once."""
    ready_timeout_seconds: float = 20.0
    command: tuple[str, ...] = ()
    """Start this instead of the arm's own program."""


@dataclass(frozen=True)
class Isolation:
    """What keeps runs apart, as it really is; goes into the record."""

    network: str
    memory_limit: str
    process_limit: str
    user: str


class Workshop(Protocol):
    """Where one source is built; paths are the runner's own."""

    @property
    def paths(self) -> Paths:
        """Sources, output, scratch and cache."""

    def run(self, step: Step) -> bytes:
        """Run a step to the end; its stdout.

        Raises:
            CommandError: the step failed.
        """

    def replace(self, name: str, content: bytes) -> None:
        """Give one source file other content (to time an incremental build)."""

    def fetch(self, path: PurePosixPath) -> bytes:
        """The bytes of a file that a step made."""

    @property
    def toolchain(self) -> str:
        """Compiler and version."""

    @property
    def image_digest(self) -> str | None:
        """Image that holds the toolchain, if any."""


class Arena(Protocol):
    """Programs that are ready to run; leaving the context removes everything."""

    isolation: Isolation

    def run(self, run: Run) -> LaunchReply:
        """Run once, alone on its core.

        Raises:
            RunnerError: the runner itself failed; what the program does is in the reply.
        """

    def start(self, start: Start) -> Started | LaunchReply:
        """Start a long-lived program; a reply means that it ended, or was killed, before it was ready."""

    def usage(self, arm: str, started: Started) -> Usage:
        """What a started program has used so far."""

    def stop(self, arm: str, started: Started, signal: int, timeout_seconds: float) -> LaunchReply:
        """Signal a started program and wait for its end; after the timeout its whole tree is killed."""

    def wait(self, arm: str, started: Started, timeout_seconds: float) -> LaunchReply:
        """Wait for the end of a started program; after the timeout its whole tree is killed."""

    def put(self, arm: str, files: Mapping[str, bytes]) -> None:
        """Write files into the arm's output folder; names may have folders."""

    def port(self, name: str) -> int:
        """The port of this name, the same at every call; free when first asked for."""

    def places(self, arm: str) -> Places:
        """The paths that placeholders become."""

    def outputs(self, arm: str) -> dict[str, bytes]:
        """Files that the arm left in its output folder, which is emptied."""

    def image_bytes(self, arm: str) -> int | None:
        """Size of the runtime image of an arm, if any."""

    def image_digest(self, arm: str) -> str | None:
        """Digest of the runtime image of an arm, if any."""


class Runner(Protocol):
    """A way to build and run: host, docker, or the fake of the tests."""

    name: str

    def provide(self, sources: Sequence[Source], apt: Iterable[str]) -> None:
        """See to everything that the machine must have for these sources and packages, all at once and first."""

    def workshop(self, source: Source) -> AbstractContextManager[Workshop]:
        """Open a place to build this source in."""

    def toolchain_key(self, source: Source) -> str:
        """What the compiler is, for the build cache."""

    def arena(self, programs: Sequence[Program], data: Path, limits: Limits) -> AbstractContextManager[Arena]:
        """Put programs and a workload in place; a program called TOOLBOX shares its loopback with all others."""

    def describe(self) -> dict[str, Any]:
        """Facts for the environment: engine, base_image, pinned_cpus."""


PORT_OF = re.compile(r"\{port:([a-z][a-z0-9-]{0,39})\}")


@dataclass(frozen=True)
class Places:
    """The arena's own paths for the placeholders in arguments."""

    data: str
    output: str
    program: str
    python: str
    port: Callable[[str], int]
    """The port of a service or arm, by its name."""

    def apply(self, args: Sequence[str]) -> list[str]:
        """Arguments with this arena's paths."""
        return [self.fill(arg) for arg in args]

    def fill(self, text: str) -> str:
        """A text with this arena's paths."""
        known = {"data": self.data, "output": self.output, "program": self.program, "python": self.python}
        for name, path in known.items():
            text = text.replace(f"{{{name}}}", path)
        return PORT_OF.sub(lambda found: str(self.port(found[1])), text)
