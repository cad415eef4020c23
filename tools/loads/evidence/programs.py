"""The programs of the evidence, each installed where it is missing: ours, Debian's, Go's and Rust's, all pinned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools import build, packages, toolchains
from tools.errors import BuildError, DeadheatError, ToolchainError
from tools.languages.base import toolchains as pins
from tools.loads import pace
from tools.process import check
from tools.runners.host import HostRunner

DEBIAN = {
    "nginx": ("nginx", "/usr/sbin/nginx"),
    "redis-server": ("redis-server", "/usr/bin/redis-server"),
    "redis-benchmark": ("redis-tools", "/usr/bin/redis-benchmark"),
    "wrk": ("wrk", "/usr/bin/wrk"),
}
"""Package and path of what Debian has."""
GO = ("vegeta", "k6")
RUST = ("oha",)
NAMES = ("pace", "wrk", *GO, *RUST, "redis-benchmark", "nginx", "redis-server")
REQUIRED = ("pace", "nginx")
"""Without these there is nothing to compare."""
VERSION_CHARS = 12


@dataclass(frozen=True)
class Program:
    """An installed program."""

    path: Path
    version: str


def provide(names: Iterable[str]) -> tuple[dict[str, Program], dict[str, str]]:
    """The programs that are here, and why the others are not.

    Raises:
        DeadheatError: one of those without which nothing can be measured is missing.
    """
    found: dict[str, Program] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            found[name] = _provided(name)
        except DeadheatError as error:
            if name in REQUIRED:
                raise
            missing[name] = str(error)
    return found, missing


def _provided(name: str) -> Program:
    """One program, installed first when it is missing.

    Raises:
        DeadheatError: it cannot be had.
    """
    if name in GO:
        return Program(toolchains.go_program(name), pins()[name]["version"])
    if name in RUST:
        return Program(toolchains.cargo_program(name), pins()[name]["version"])
    return _ours() if name == "pace" else _debian(name)


def _ours() -> Program:
    """Our own generator; its version is the hash of its sources.

    Raises:
        BuildError: it does not build.
    """
    attempt = build.build(HostRunner(), build.tool("pace", pace.FOLDER, "rust"))
    if attempt.built is None or attempt.built.binary is None:
        raise BuildError(f"pace does not build: {attempt.reason}", remedy=attempt.log.strip() or None)
    return Program(attempt.built.binary, f"sources {(attempt.built.source_sha256 or '')[:VERSION_CHARS]}")


def _debian(name: str) -> Program:
    """A program of a Debian package.

    Raises:
        ToolchainError: it is not installed and we may not install it.
    """
    package, path = DEBIAN[name]
    packages.ensure((package,), f"driving servers with {name}")
    if not Path(path).exists():
        raise ToolchainError(f"{name} is not at {path}", remedy=packages.install_command([package]))
    return Program(Path(path), check(["dpkg-query", "-W", "-f", "${Version}", package]).decode().strip())
