"""The host runner: toolchains from the shared cache, programs under the launcher on this machine.

It is the default where no Docker engine answers. Isolation is what the kernel lets us have (a network namespace,
cgroup limits), and the record says what that was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from tools import caches, packages, temporary, toolchains
from tools.errors import BuildError, LauncherError
from tools.files import BUILD_OUTPUT
from tools.languages import get
from tools.languages.base import Paths, Step
from tools.launcher import (
    LauncherClient,
    LaunchReply,
    LaunchRequest,
    Rlimits,
    Started,
    Usage,
    build_launcher,
    local_launcher,
)
from tools.model import Limits
from tools.process import check, run
from tools.runners import loopback
from tools.runners.base import Isolation, Places, Program, Run, Source, Start, Workshop

PADDING_NAME = "DEADHEAT_PAD"
FIRST_PORT = 20001
"""Ports in a network of our own are all free."""
BUILD_TIMEOUT_SECONDS = 1800


class HostRunner:
    """Build and run on this machine."""

    name = "host"

    def toolchain_key(self, source: Source) -> str:
        """The compiler's version line."""
        return f"host {toolchains.host(source.language).version}"

    def provide(self, sources: Sequence[Source], apt: Iterable[str]) -> None:
        """Install what is missing when we are root.

        Raises:
            ToolchainError: something is missing; the remedy is one command for all of it.
        """
        languages = sorted({source.language for source in sources})
        needed = {*apt, *(name for language in languages for name in toolchains.lacking(language))}
        for source in sources:
            needed |= {*source.build_packages.apt, *source.run_packages.apt}
        packages.ensure(needed, "this machine")

    @contextmanager
    def workshop(self, source: Source) -> Iterator[Workshop]:
        """A temporary folder with a copy of the sources; nothing is ever written into the checkout."""
        packages.ensure(source.build_packages.apt, f"building {source.id}")
        with temporary.folder("build") as base:
            yield _HostWorkshop(source, base)

    @contextmanager
    def arena(self, programs: Sequence[Program], data: Path, limits: Limits) -> Iterator[_HostArena]:
        """Copies of the programs under paths of equal length, and one launcher for all."""
        for program in programs:
            needed = (*program.built.source.run_packages.apt, *program.packages.apt)
            packages.ensure(needed, f"running {program.built.source.id}")
        binary = build_launcher(zig(), caches.work("launcher"))
        with (
            temporary.folder("run") as base,
            local_launcher(
                binary, no_network=True, cgroup_memory_bytes=limits.memory_bytes, cgroup_pids=limits.processes
            ) as client,
        ):
            yield _HostArena(client, base, programs, data, limits)

    def describe(self) -> dict[str, Any]:
        """No engine and no image here."""
        return {"engine": None, "base_image": None, "pinned_cpus": pinned_cpus()}


def zig() -> Path:
    """The Zig program, which also compiles the launcher."""
    return toolchains.host("zig").path[0] / "zig"


def pinned_cpus() -> list[int]:
    """The core of the lanes: the last that we may use, when there is another for everything else."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[-1:] if len(cores) > 1 else []


def cores_beside() -> list[int]:
    """The cores of services and load generators: all but that of the lanes."""
    return sorted(set(os.sched_getaffinity(0)) - set(pinned_cpus()))


@cache
def _offline() -> tuple[str, ...]:
    """The command in front of a build step that leaves it loopback only, where the kernel lets us."""
    for words in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        prefix = (*words, sys.executable, "-I", loopback.__file__)
        if shutil.which(words[0]) and run([*prefix, "true"]).returncode == 0:
            return prefix
    return ()


@cache
def _leash() -> tuple[str, ...]:
    """The command in front of a build step that lets it die with us, even when nobody could ask it to (kill -9)."""
    return ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()


@dataclass
class _HostWorkshop:
    """A folder with src/, out/ and scratch/."""

    source: Source
    base: Path

    def __post_init__(self) -> None:
        shutil.copytree(
            self.source.folder, self.base / "src", ignore=shutil.ignore_patterns(*BUILD_OUTPUT), symlinks=True
        )
        for name in ("out", "scratch"):
            (self.base / name).mkdir()

    @property
    def paths(self) -> Paths:
        base = PurePosixPath(self.base)
        shared = PurePosixPath(caches.shared() / "packages" / self.source.language)
        return Paths(base / "src", base / "out", base / "scratch", shared)

    @property
    def toolchain(self) -> str:
        return toolchains.host(self.source.language).version

    @property
    def image_digest(self) -> str | None:
        return None

    def run(self, step: Step) -> bytes:
        chain = toolchains.host(self.source.language)
        Path(self.paths.cache).mkdir(parents=True, exist_ok=True)
        env = chain.environment(network=step.network) | {**step.env, "HOME": str(self.base)}
        prefix = () if step.network else _offline()
        return check(
            [*_leash(), *prefix, *step.argv], cwd=self.base / "src", env=env, timeout_seconds=BUILD_TIMEOUT_SECONDS
        )

    def replace(self, name: str, content: bytes) -> None:
        (self.base / "src" / name).write_bytes(content)

    def fetch(self, path: PurePosixPath) -> bytes:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise BuildError(f"{self.source.id}: the build left no {path.name}") from error


class _HostArena:
    """One launcher; each arm has a folder with its program and one for its output."""

    def __init__(
        self, client: LauncherClient, base: Path, programs: Sequence[Program], data: Path, limits: Limits
    ) -> None:
        self._client = client
        self._limits = limits
        self._data = data
        self._folders = {program.arm: base / f"arm{index:02}" for index, program in enumerate(programs)}
        self._programs = {program.arm: program for program in programs}
        self._ports: dict[str, int] = {}
        for arm, folder in self._folders.items():
            (folder / "out").mkdir(parents=True)
            if (binary := self._programs[arm].built.binary) is not None:
                shutil.copy2(binary, self._program(arm))
        hello = client.hello
        user = f"uid {os.geteuid()}"
        self.isolation = Isolation(hello.network, hello.memory, hello.pids, user)

    def _program(self, arm: str) -> Path:
        return self._folders[arm] / self._programs[arm].built.source.slug

    def places(self, arm: str) -> Places:
        out = self._folders[arm] / "out"
        return Places(str(self._data), str(out), str(self._program(arm)), sys.executable, self.port)

    def run(self, run: Run) -> LaunchReply:
        request = self._request(run.arm, run.command, run.args)
        environment = {**request.env, PADDING_NAME: "x" * run.padding_bytes}
        return self._client.run(
            replace(
                request,
                env=environment,
                stdin=str(self._data / run.stdin) if run.stdin else "/dev/null",
                timeout_ms=int(run.timeout_seconds * 1000),
                stdout_cap_bytes=run.stdout_limit_bytes,
            )
        )

    def start(self, start: Start) -> Started | LaunchReply:
        request = self._request(start.arm, start.command, start.args)
        ready_ms = int(start.ready_timeout_seconds * 1000)
        return self._client.start(replace(request, ready=start.ready, ready_timeout_ms=ready_ms, drop_overflow=True))

    def _request(self, arm: str, command: Sequence[str], args: Sequence[str]) -> LaunchRequest:
        """What both short and long-lived programs get."""
        program = self._programs[arm]
        source, out = program.built.source, str(self._folders[arm] / "out")
        words = self.places(arm).apply([*(command or ("{program}",)), *args])
        packages = (*source.run_packages.pip, *program.packages.pip)
        if not command and source.language and get(source.language).INTERPRETER:
            words.insert(0, sys.executable)
        env = {"LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": out}
        if words[0] == sys.executable:
            env |= {
                "PYTHONPATH": str(toolchains.python_packages(packages)) if packages else "",
                "HOME": out,
                "PYTHONDONTWRITEBYTECODE": "1",
            }
        return LaunchRequest(
            argv=tuple(words),
            env=env,
            cwd=out,
            cpus=listed(cores_of(program)),
            rlimits=Rlimits(nofile=self._limits.nofile, processes=None),
        )

    def usage(self, arm: str, started: Started) -> Usage:
        del arm
        return self._client.usage(started)

    def stop(self, arm: str, started: Started, signal: int, timeout_seconds: float) -> LaunchReply:
        with contextlib.suppress(LauncherError):  # it may have ended by itself, which `wait` tells
            self._client.signal(started, signal)
        return self.wait(arm, started, timeout_seconds)

    def wait(self, arm: str, started: Started, timeout_seconds: float) -> LaunchReply:
        del arm
        return self._client.wait(started, int(timeout_seconds * 1000))

    def put(self, arm: str, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            path = self._folders[arm] / "out" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def port(self, name: str) -> int:
        if name not in self._ports:
            self._ports[name] = free_port() if self.isolation.network == "host" else FIRST_PORT + len(self._ports)
        return self._ports[name]

    def outputs(self, arm: str) -> dict[str, bytes]:
        folder = self._folders[arm] / "out"
        found = {}
        for path in sorted(folder.rglob("*")):
            real = not path.is_symlink()
            if real and path.is_dir() and any(path.iterdir()):
                continue  # its files are listed
            found[str(path.relative_to(folder))] = path.read_bytes() if real and path.is_file() else b""
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        return found

    def image_bytes(self, arm: str) -> int | None:
        del arm
        return None

    def image_digest(self, arm: str) -> str | None:
        del arm
        return None


def free_port() -> int:
    """A port of this machine that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cores_of(program: Program) -> list[int]:
    """The cores that a program is kept on; none: wherever there is room."""
    return {"arms": pinned_cpus, "beside": cores_beside, "any": list[int]}[program.cores]()


def listed(cores: Sequence[int]) -> str | None:
    """`0,1` as kernel and engine want it."""
    return ",".join(map(str, cores)) or None
