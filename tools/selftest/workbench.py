"""What the self-test works with beside the pipeline: a launcher, background load, and the rivals' programs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import caches, packages, temporary, toolchains
from tools.errors import LauncherError, ToolchainError
from tools.languages.base import toolchains as pins
from tools.launcher import LauncherClient, LaunchReply, LaunchRequest, build_launcher, local_launcher
from tools.runners import host
from tools.selftest import spinner

STRESS_SECONDS = 300
"""The background load ends by then whatever happens; it is stopped much earlier."""
RIVAL_SECONDS = 300
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Load:
    """What else runs meanwhile: nothing without a core, else one process that spins, on and off in turn."""

    name: str
    core: int | None = None
    on_ms: int = 1000
    off_ms: int = 0


def loads() -> list[Load]:
    """Nothing, then a spinning process on the other core, on the lanes' core, and there on and off.

    On a machine of one core there is no other.
    """
    pinned, beside = host.pinned_cpus(), host.cores_beside()
    found = [Load("none")]
    if pinned:
        found += [Load("other core", beside[0])]
    lane_core = (pinned or sorted(os.sched_getaffinity(0)))[0]
    return [*found, Load("same core", lane_core), Load("same core, on and off", lane_core, 3000, 3000)]


class Workbench:
    """One launcher beside that of the pipeline; whatever it runs is on the core of the lanes."""

    def __init__(self, client: LauncherClient, folder: Path) -> None:
        """Keep them; programs are compiled and installed when they are needed."""
        self._client = client
        self.folder = folder
        self.cores = ",".join(map(str, host.pinned_cpus())) or None

    @contextlib.contextmanager
    def background(self, load: Load) -> Iterator[None]:
        """The load runs while the block does."""
        if load.core is None:
            yield
            return
        words = (str(self.program("stress")), str(STRESS_SECONDS), str(load.on_ms), str(load.off_ms))
        started = self._client.start(LaunchRequest(words, cpus=str(load.core)))
        if isinstance(started, LaunchReply):
            raise LauncherError(f"the background load ended at once: {started.stderr.decode(errors='replace').strip()}")
        try:
            yield
        finally:
            with contextlib.suppress(LauncherError):  # it may have ended by itself, which `wait` tells
                self._client.signal(started, signal.SIGKILL)
            self._client.wait(started, 1000)

    def program(self, name: str) -> Path:
        """One of our small programs, compiled once."""
        path = self.folder / name
        return path if path.exists() else spinner.compiled(name, self.folder)

    def output(self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> bytes:
        """What a program prints that measures others, on the core of the lanes.

        Raises:
            LauncherError: it failed; the message ends with what it said.
        """
        words = tuple(map(str, argv))
        environment = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": str(self.folder), **(env or {})}
        reply = self._client.run(
            LaunchRequest(
                words, env=environment, cwd=str(self.folder), cpus=self.cores, timeout_ms=RIVAL_SECONDS * 1000
            )
        )
        if not reply.ok:
            said = (reply.stderr or reply.stdout).decode(errors="replace").strip().splitlines()[-1:]
            raise LauncherError(f"{Path(words[0]).name}: {reply.kind} {reply.code}: {''.join(said)[:200]}")
        return reply.stdout

    def hyperfine_ns(self, commands: Mapping[str, str], runs: int) -> dict[str, list[float]]:
        """Every run of each command, one command after the other, as hyperfine does.

        Raises:
            ToolchainError: it is not installed and we may not install it.
            LauncherError: it failed.
        """
        packages.ensure(pins()["hyperfine"]["apt"], "comparing with hyperfine")
        program = shutil.which("hyperfine", path=PATH)
        if program is None:
            raise ToolchainError("hyperfine is not on the path", remedy=packages.install_command(["hyperfine"]))
        report = self.folder / "hyperfine.json"
        words = [program, "--shell", "none", "--style", "none", "--warmup", "1", "--runs", str(runs)]
        self.output([*words, "--export-json", report, *commands.values()])
        return dict(zip(commands, hyperfine_times(json.loads(report.read_bytes())), strict=True))

    def pyperf_ns(self, argv: Sequence[str | Path], values: int) -> list[float]:
        """Every value of `pyperf command`, one launch each.

        Raises:
            ToolchainError: it cannot be installed.
            LauncherError: it failed.
        """
        site = toolchains.python_packages((pins()["pyperf"]["pypi"],))
        report = self.folder / "pyperf.json"
        report.unlink(missing_ok=True)  # it never replaces a file
        words = [sys.executable, "-m", "pyperf", "command", "--quiet", "--inherit-environ", "PYTHONPATH"]
        counts = ["--processes", "1", "--warmups", "1", "--loops", "1", "--values", str(values)]
        self.output([*words, *counts, "--output", report, *argv], {"PYTHONPATH": str(site)})
        return pyperf_times(json.loads(report.read_bytes()))


def hyperfine_times(report: Any) -> list[list[float]]:
    """Nanoseconds of every run, command by command, of what --export-json wrote."""
    return [[seconds * 1e9 for seconds in one["times"]] for one in report["results"]]


def pyperf_times(report: Any) -> list[float]:
    """Nanoseconds of every value (warm-ups are kept apart there)."""
    runs = [run for benchmark in report["benchmarks"] for run in benchmark["runs"]]
    return [seconds * 1e9 for run in runs for seconds in run.get("values", ())]


@contextlib.contextmanager
def opened() -> Iterator[Workbench]:
    """A workbench with its folder; whatever runs on it ends with the block.

    Raises:
        ToolchainError, BuildError: there is no launcher.
    """
    binary = build_launcher(host.zig(), caches.work("launcher"))
    with temporary.folder("selftest") as folder, local_launcher(binary) as client:
        yield Workbench(client, folder)
