"""The contract of a language: which commands turn a folder of sources into one program.

A language returns commands as data; a runner executes them, on the host or in a container. Paths in commands are
those that the runner will see, so the same language serves both.
"""

from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

TOOLCHAINS_FILE = Path(__file__).resolve().parent.parent / "toolchains.toml"


@dataclass(frozen=True)
class Step:
    """One command: `argv` run in the source folder with `env` added; `network` only where something is fetched."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    quiet: bool = False
    """True: any output on stdout means failure (gofmt -l)."""


@dataclass(frozen=True)
class Paths:
    """Where things are, as the runner sees them: sources (read-only), output, scratch of this build, shared cache."""

    source: PurePosixPath
    output: PurePosixPath
    scratch: PurePosixPath
    cache: PurePosixPath


class Language(Protocol):
    """A module of this package, or an object, with these names."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module constant
        """Key in the table of languages and in project.yaml."""

    @property
    def SUFFIXES(self) -> frozenset[str]:  # noqa: N802 - a module constant
        """Endings of source files."""

    @property
    def COMMENT(self) -> str:  # noqa: N802 - a module constant
        """What starts a line comment."""

    @property
    def MAIN_FILE(self) -> str:  # noqa: N802 - a module constant
        """The file that an incremental build touches."""

    @property
    def LOCK_FILES(self) -> tuple[str, ...]:  # noqa: N802 - a module constant
        """Files that fix the dependencies."""

    @property
    def INTERPRETER(self) -> tuple[str, ...]:  # noqa: N802 - a module constant
        """Words in front of the program, for languages that are not compiled."""

    @property
    def VERSION(self) -> Step:  # noqa: N802 - a module constant
        """The step that prints the compiler version."""

    def fetch(self, paths: Paths) -> list[Step]:
        """Download what the lock file names; the only steps with a network."""

    def build(self, paths: Paths, slug: str, libraries: tuple[str, ...]) -> list[Step]:
        """Compile offline and leave the program at `artifact(paths, slug)`."""

    def test(self, paths: Paths) -> list[Step]:
        """Run the lane's own unit tests, offline."""

    def lint(self, paths: Paths) -> list[Step]:
        """Check format and lints, offline."""

    def artifact(self, paths: Paths, slug: str) -> PurePosixPath:
        """The program that `build` makes."""


@cache
def toolchains() -> dict[str, Any]:
    """The pinned versions of tools/toolchains.toml."""
    return tomllib.loads(TOOLCHAINS_FILE.read_text(encoding="utf-8"))


def cpu_level() -> dict[str, str]:
    """The CPU level of this machine's architecture: name, and the flag of each language."""
    levels: dict[str, dict[str, str]] = toolchains()["cpu_level"]
    return levels[platform.machine()]


def jobs() -> str:
    """How many compilers at once: the cores that we may use."""
    return str(len(os.sched_getaffinity(0)))
