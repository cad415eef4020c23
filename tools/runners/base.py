"""The contract of a runner: build a program from sources, and an arena in which finished programs run.

A runner executes what languages return as data; it never knows a language by name. The host runner, the Docker runner
and the scripted fake of the tests satisfy this protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from tools.languages.base import Paths, Step
from tools.launcher.protocol import LaunchReply
from tools.model import NO_PACKAGES, Limits, Packages


@dataclass(frozen=True)
class Source:
    """Sources to build: one lane or one peer of a project."""

    slug: str
    arm: str
    role: str
    """lane or peer."""
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
    binary: Path
    source_sha256: str
    lock_sha256: str
    binary_sha256: str
    toolchain: str
    flags: tuple[str, ...] = ()
    image_digest: str | None = None
    cold_build_ns: int | None = None
    incremental_build_ns: int | None = None

    @property
    def binary_bytes(self) -> int:
        """Size of the program."""
        return self.binary.stat().st_size


@dataclass(frozen=True)
class Program:
    """An arm in an arena: a name and the program behind it (the null arm shares one)."""

    arm: str
    built: Built


@dataclass(frozen=True)
class Run:
    """One run of one arm: `{data}` and `{output}` in `args` become the arena's paths."""

    arm: str
    args: tuple[str, ...]
    timeout_seconds: float
    stdin: str | None = None
    padding_bytes: int = 0
    stdout_limit_bytes: int = 1 << 20


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

    def outputs(self, arm: str) -> dict[str, bytes]:
        """Files that the arm left in its output folder, which is emptied."""

    def image_bytes(self, arm: str) -> int | None:
        """Size of the runtime image of an arm, if any."""

    def image_digest(self, arm: str) -> str | None:
        """Digest of the runtime image of an arm, if any."""


class Runner(Protocol):
    """A way to build and run: host, docker, or the fake of the tests."""

    name: str

    def workshop(self, source: Source) -> AbstractContextManager[Workshop]:
        """Open a place to build this source in."""

    def toolchain_key(self, source: Source) -> str:
        """What the compiler is, for the build cache."""

    def arena(self, programs: Sequence[Program], data: Path, limits: Limits) -> AbstractContextManager[Arena]:
        """Put programs and a workload in place."""

    def describe(self) -> dict[str, Any]:
        """Facts for the environment: engine, base_image, pinned_cpus."""


@dataclass
class Places:
    """The arena's own paths for the placeholders in arguments."""

    data: str
    output: str

    def apply(self, args: Sequence[str]) -> list[str]:
        """Arguments with this arena's paths."""
        return [arg.replace("{data}", self.data).replace("{output}", self.output) for arg in args]
