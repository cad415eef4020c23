"""A scripted runner: the whole flow in milliseconds, with neither Docker nor a toolchain.

A script says how one arm behaves; time is made up, so tests never depend on the machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tools.errors import CommandError
from tools.languages.base import Paths, Step
from tools.launcher.protocol import Kind, LaunchReply, Started, Usage
from tools.model import Limits
from tools.runners.base import Isolation, Places, Program, Run, Source, Start, Workshop
from tools.workloads import repeated_digest

STARTUP_NS = 1_000_000
REPLY = LaunchReply(
    kind=Kind.EXITED, code=0, wall_ns=0, user_ns=0, sys_ns=0, max_rss_bytes=1 << 20, minor_faults=1, major_faults=0,
    voluntary_switches=1, involuntary_switches=0, leftover=0, unkilled=0, oom_kills=0, steal_ticks=0, total_ticks=100,
    dropped_bytes=0, stdout=b"", stderr=b"", psi_some_us=0,
)  # fmt: skip
NULL_SUFFIX = "-null"
PATHS = Paths(*(PurePosixPath(f"/{name}") for name in ("src", "out", "scratch", "cache")))


@dataclass
class Script:
    """How an arm behaves: nanoseconds a repeat, noise of a run, and what becomes of its reply."""

    each_ns: float = 10_000_000
    noise: float = 0.001
    change: Callable[[LaunchReply, int], LaunchReply] = field(default=lambda reply, _: reply)
    hoisted: bool = False


def block(items: int, seconds: float, digest: str) -> bytes:
    """The statistics block of the contract."""
    return (
        f"--- Statistics ---\nTotal processed: {items}\nProcessing time: {seconds:.9f}s\nAverage latency: 0.001ms\n"
        f"Throughput: 1.00 items/sec\nDigest: {digest}\n"
    ).encode()


class FakeArena:
    """Answers runs from scripts; the job counts the lines of {data}/lines.txt."""

    isolation = Isolation("none", "fake", "fake", "uid 0")

    def __init__(self, programs: Sequence[Program], data: Path, scripts: dict[str, Script]) -> None:
        """Keep who takes part."""
        self.arms = [program.arm for program in programs]
        self.sources = {program.arm: program.built.source for program in programs}
        self.lines = (data / "lines.txt").read_bytes().count(b"\n")
        self.scripts = scripts
        self.rng = random.Random(1)
        self.ran: list[Run] = []
        self.left: dict[str, bytes] = {}

    def run(self, run: Run) -> LaunchReply:
        """One made-up run."""
        self.ran.append(run)
        script = self.scripts.get(run.arm.removesuffix(NULL_SUFFIX), Script())
        args = list(run.args)
        if args == ["--version"]:
            source = self.sources[run.arm]
            return replace(REPLY, wall_ns=STARTUP_NS, stdout=f"{source.slug} {source.language}\n".encode())
        if error := self._refusal(args):
            return replace(REPLY, code=2, wall_ns=STARTUP_NS, stderr=f"error: {error}\n".encode())
        repeats = int(args[args.index("--repeats") + 1]) if "--repeats" in args else 1
        answer = b"%d\n" % self.lines
        if "--output" in args and args[args.index("--output") + 1] != "-":
            self.left["answer"] = answer
        work_ns = script.each_ns * (1 if script.hoisted else repeats) * self.rng.lognormvariate(0, script.noise)
        wall_ns = STARTUP_NS + int(work_ns)
        stdout = (
            answer if args[-1] == "-" else block(self.lines * repeats, work_ns / 1e9, repeated_digest(answer, repeats))
        )
        return script.change(replace(REPLY, wall_ns=wall_ns, user_ns=wall_ns, stdout=stdout), repeats)

    @staticmethod
    def _refusal(args: list[str]) -> str | None:
        """What the contract refuses."""
        if "--input" not in args:
            return next((f"unknown option {arg}" for arg in args if arg == "--no-such-option"), "--input is missing")
        if "--repeats" in args and not args[args.index("--repeats") + 1].strip("0").isdecimal():
            return f"--repeats: {args[args.index('--repeats') + 1]}"
        return "none.txt: no such file" if args[args.index("--input") + 1].endswith("none.txt") else None

    def start(self, start: Start) -> Started | LaunchReply:
        """No servers here: tests of servers use real ones (tests/bad_servers)."""
        raise NotImplementedError(start)

    def usage(self, arm: str, started: Started) -> Usage:
        """See `start`."""
        raise NotImplementedError(arm, started)

    def stop(self, arm: str, started: Started, signal: int, timeout_seconds: float) -> LaunchReply:
        """See `start`."""
        raise NotImplementedError(arm, started, signal, timeout_seconds)

    def wait(self, arm: str, started: Started, timeout_seconds: float) -> LaunchReply:
        """See `start`."""
        raise NotImplementedError(arm, started, timeout_seconds)

    def put(self, arm: str, files: Mapping[str, bytes]) -> None:
        """See `start`."""
        raise NotImplementedError(arm, files)

    def port(self, name: str) -> int:
        """See `start`."""
        raise NotImplementedError(name)

    def places(self, arm: str) -> Places:
        """See `start`."""
        raise NotImplementedError(arm)

    def outputs(self, arm: str) -> dict[str, bytes]:
        """What the last run left."""
        del arm
        found, self.left = self.left, {}
        return found

    def image_bytes(self, arm: str) -> int | None:
        """No images."""
        del arm
        return None

    def image_digest(self, arm: str) -> str | None:
        """No images."""
        del arm
        return None


@dataclass
class FakeWorkshop:
    """Every step succeeds and the program is its main file, unless the source says `does not compile`."""

    source: Source
    steps: list[str]
    paths: Paths = PATHS
    toolchain: str = "fake 1.0"
    image_digest: str | None = None

    def run(self, step: Step) -> bytes:
        """Note the step."""
        self.steps.append(f"{self.source.arm}:{step.name}")
        if b"does not compile" in (self.source.folder / "main.py").read_bytes():
            raise CommandError(
                f"{step.argv[0]}: exit code 1: main.py:1: does not compile", tail="main.py:1: does not compile"
            )
        return b""

    def replace(self, name: str, content: bytes) -> None:
        """Note the change."""
        del content
        self.steps.append(f"{self.source.arm}:touch {name}")

    def fetch(self, path: PurePosixPath) -> bytes:
        """The main file stands for the program."""
        del path
        return (self.source.folder / "main.py").read_bytes()


class FakeRunner:
    """Satisfies the Runner protocol."""

    name = "fake"

    def __init__(self, scripts: dict[str, Script] | None = None) -> None:
        """Arms without a script behave well."""
        self.scripts = scripts or {}
        self.steps: list[str] = []
        self.arenas: list[FakeArena] = []

    def provide(self, sources: Sequence[Source], apt: Iterable[str]) -> None:
        """Nothing is needed here."""

    def toolchain_key(self, source: Source) -> str:
        """One toolchain."""
        return f"fake {source.language}"

    @contextmanager
    def workshop(self, source: Source) -> Iterator[Workshop]:
        """A place where steps are only noted."""
        yield FakeWorkshop(source, self.steps)

    @contextmanager
    def arena(self, programs: Sequence[Program], data: Path, limits: Limits) -> Iterator[FakeArena]:
        """A place where runs are made up."""
        del limits
        self.arenas.append(FakeArena(programs, data, self.scripts))
        yield self.arenas[-1]

    def describe(self) -> dict[str, Any]:
        """An environment that the schema accepts."""
        return {"runner": "host", "engine": None, "base_image": None, "pinned_cpus": [0]}
