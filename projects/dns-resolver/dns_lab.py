"""Named checks, what each needs around it, and how they are run.

A check is an async function of the Lab. Most of them wait most of the time, so many run beside each other; those that
load the machine, or count what the whole program does, run alone afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dns_client import Late, Tcp, Udp, tcp, udp
from dns_model import Model
from dns_program import Program, Reference, StartError
from dns_wire import WireError
from dns_world import World

CHECK_SECONDS = 30.0
AT_ONCE = 24
ALL_SECONDS = 300.0
"""After so long no further check is asked: a program that hangs everywhere still gets its report."""
MOST_LATE = 12
SECOND_LOOKS = 2
SOCKETS = 8
"""To each server: a burst of answers fills the buffer of one."""


class Failed(Exception):  # noqa: N818 - a check that failed, not an error of the oracle
    """What was expected, and what came."""


def expect(truth: object, text: str) -> None:
    """Fail with a text unless something is true."""
    if not truth:
        raise Failed(text)


def timely(truth: object, text: str) -> None:
    """Fail with a text about time unless something is true."""
    if not truth:
        raise Late(text)


def equal(what: str, expected: Any, got: Any) -> None:
    """Fail unless two values are the same."""
    if expected != got:
        raise Failed(f"{what}: expected {expected}, got {got}")


@dataclass(frozen=True)
class Check:
    """One question with a name."""

    name: str
    run: Callable[[Lab], Awaitable[None]]
    alone: bool = False
    seconds: float = CHECK_SECONDS
    first: bool = False
    """Asks the tree, which keeps the machine busy: done before anything that is about time."""


F = TypeVar("F", bound=Callable[..., Awaitable[None]])


class Registry:
    """The checks of all modules in the order in which they were written."""

    def __init__(self) -> None:
        """Start empty."""
        self.checks: list[Check] = []
        self.names: set[str] = set()

    def add(self, check: Check) -> None:
        """Add a check; its name must be new."""
        if check.name in self.names:
            raise ValueError(f"two checks are called {check.name}")
        self.names.add(check.name)
        self.checks.append(check)

    def check(self, name: str, *, alone: bool = False, seconds: float = CHECK_SECONDS) -> Callable[[F], F]:
        """Decorate a function as a check."""

        def register(run: F) -> F:
            self.add(Check(name, run, alone, seconds))
            return run

        return register


REGISTRY = Registry()


@dataclass
class Lab:
    """Everything a check may use."""

    program: Path
    data: Path
    folder: Path
    foreign: bool = False
    """The program is no lane but a server that the world relies on: not all that the contract asks is asked of it."""
    lanes: dict[str, Program] = field(default_factory=dict)
    starting: dict[str, asyncio.Lock] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    extra: list[Program] = field(default_factory=list)
    clients: dict[str, list[Udp]] = field(default_factory=dict)
    made: int = 0
    turns: int = 0

    async def open(self) -> None:
        """Read the tree, start the reference and our own name servers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model = Model(self.data)
        self.reference = Reference(self.data, self.folder, self.model)
        await self.reference.start()
        self.world = World(53 if self.foreign else None)
        await self.world.open()
        (self.folder / "world.zone").write_text(self.world.hints(), encoding="ascii")
        self.clients["unbound"] = await sockets(self.reference.unbound)

    async def close(self) -> None:
        """End everything."""
        for client in itertools.chain(*self.clients.values()):
            client.close()
        for program in (*self.lanes.values(), *self.extra):
            await program.kill()
        with contextlib.suppress(AttributeError):
            await self.world.close()
        with contextlib.suppress(AttributeError):
            await self.reference.stop()

    # --- lanes ---

    @property
    def tree_words(self) -> list[str]:
        """The options of a lane before the tree."""
        return ["--hints", str(self.data / "hints.zone"), "--port-of-servers", str(self.reference.port)]

    @property
    def world_words(self) -> list[str]:
        """The options of a lane before our own name servers."""
        return ["--hints", str(self.folder / "world.zone"), "--port-of-servers", str(self.world.port)]

    async def shared(self, kind: str) -> Program:
        """Return a lane that checks share, started anew when it died."""
        async with self.starting.setdefault(kind, asyncio.Lock()):
            lane = self.lanes.get(kind)
            if lane is not None and lane.alive:
                return lane
            if kind in self.refused:
                raise StartError(self.refused[kind])
            words = self.tree_words if kind == "tree" else self.world_words
            try:
                self.lanes[kind] = await Program.start(self.program, ["--listen", "127.0.0.1:0", *words])
            except (StartError, OSError) as error:
                self.refused[kind] = f"{error}"
                raise
            for old in self.clients.pop(kind, ()):
                old.close()
            return self.lanes[kind]

    async def client(self, kind: str) -> Udp:
        """Return a socket to a shared lane."""
        lane = await self.shared(kind)
        if kind not in self.clients:
            self.clients[kind] = await sockets(lane.address)
        return self.turn(kind)

    def turn(self, kind: str) -> Udp:
        """Return the next of some sockets: they take turns, so that no answer is lost in a full buffer."""
        self.turns += 1
        return self.clients[kind][self.turns % len(self.clients[kind])]

    async def tree(self) -> Udp:
        """Return a socket to the lane before the tree."""
        return await self.client("tree")

    async def wild(self) -> Udp:
        """Return a socket to the lane before our own name servers."""
        return await self.client("world")

    @asynccontextmanager
    async def udp(self, kind: str = "tree") -> AsyncIterator[Udp]:
        """Open a socket of its own to a shared lane."""
        async with udp((await self.shared(kind)).address) as client:
            yield client

    @asynccontextmanager
    async def tcp(self, kind: str = "tree") -> AsyncIterator[Tcp]:
        """Open a connection to a shared lane."""
        async with tcp((await self.shared(kind)).address) as client:
            yield client

    @asynccontextmanager
    async def own(
        self, *options: str, tree: bool = False, words: Sequence[str] | None = None, port: int = 0
    ) -> AsyncIterator[Program]:
        """Start a lane for one check."""
        around = words or (self.tree_words if tree else self.world_words)
        program = await Program.start(self.program, ["--listen", f"127.0.0.1:{port}", *around, *options])
        try:
            yield program
        finally:
            await program.kill()

    def path(self, name: str) -> Path:
        """Return a path that nobody else uses."""
        self.made += 1
        return self.folder / f"{self.made}-{name}"


async def sockets(address: tuple[str, int]) -> list[Udp]:
    """Open sockets that are connected to a resolver."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_datagram_endpoint(Udp, remote_addr=address))[1] for _ in range(SOCKETS)]


class Runner:
    """Runs checks and collects what they find."""

    def __init__(self, lab: Lab) -> None:
        """Begin with nothing found."""
        self.lab = lab
        self.failures: dict[str, str | None] = {}
        self.first_look: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.late: list[Check] = []
        self.started = time.monotonic()

    async def run(self, checks: Sequence[Check]) -> None:
        """Run all: beside each other where they may, then one after another."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def beside(check: Check) -> None:
            async with gate:
                await self.one(check)

        for first in (True, False):
            await asyncio.gather(*(beside(check) for check in checks if check.first == first and not check.alone))
        for check in checks:
            if check.alone:
                await self.one(check)
        await self.look_again()

    async def look_again(self) -> None:
        """Ask again, alone, what failed: that the machine was busy is not the program's fault."""
        late, self.late = self.late, []
        if len(late) > MOST_LATE:
            return
        for check in late:
            self.first_look[check.name] = str(self.failures[check.name])
            for _ in range(SECOND_LOOKS):
                await self.one(check)
                if self.failures[check.name] is not None:
                    break

    async def one(self, check: Check) -> None:
        """Run one check."""
        began = time.monotonic()
        failure: str | None = None
        try:
            expect(began - self.started < ALL_SECONDS, f"not asked: {ALL_SECONDS:g} s were over")
            async with asyncio.timeout(check.seconds):
                await check.run(self.lab)
        except (Failed, WireError, StartError) as error:
            failure = str(error)
        except (Late, TimeoutError) as error:
            failure = str(error) or f"not done within {check.seconds:g} s"
            self.late.append(check)
        except Exception as error:  # noqa: BLE001 - whatever a lane makes happen is the failure of this check
            failure = f"{type(error).__name__}: {error}"
        if failure is not None and not check.first and check not in self.late:
            self.late.append(check)
        dead = [f"the lane died (exit {one.process.returncode}, {one.said()})" for one in self.dead()]
        found = " ".join([failure or "", *dead]).strip()
        self.failures[check.name] = " ".join(found.split())[:1500] or None
        self.seconds[check.name] = time.monotonic() - began

    def dead(self) -> list[Program]:
        """Return shared lanes that ended, and forget them."""
        gone = {kind: lane for kind, lane in self.lab.lanes.items() if not lane.alive}
        for kind in gone:
            del self.lab.lanes[kind]
            for client in self.lab.clients.pop(kind, ()):
                client.close()
        return list(gone.values())


def matches(name: str, pattern: str) -> bool:
    """Whether one of several globs matches a name."""
    return any(fnmatch.fnmatchcase(name, one) for one in pattern.split(","))
