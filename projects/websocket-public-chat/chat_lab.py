"""What every check is made of: its name, the servers that it starts, the clients that it connects, and how it fails.

A check is a coroutine that takes a Lab and raises CheckError (or WireError, Ended, StartError) when the lane is wrong.
Each starts its own server with the options it wants, so the counters of /metrics are its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import chat_wire as wire
from chat_client import Member, Raw, upgraded
from chat_program import Program

COUNTERS = (
    *("connections", "rooms", "members", "connects_total"),
    *("messages_offered_total", "messages_accepted_total", "messages_refused_total"),
    *("deliveries_total", "deliveries_dropped_total"),
    *("slow_consumers_total", "protocol_errors_total", "ping_timeouts_total"),
)
SETTLE_SECONDS = 5.0


class CheckError(Exception):
    """The lane is wrong; the text says what was expected and what came."""


def expect(condition: object, text: str) -> None:
    """Raise unless a condition holds."""
    if not condition:
        raise CheckError(text)


def equal(what: str, expected: object, got: object) -> None:
    """Raise unless two values are the same."""
    if expected != got:
        raise CheckError(f"{what}: expected {shown(expected)}, got {shown(got)}")


def between(what: str, least: float, got: float, most: float) -> None:
    """Raise unless a value is in a range."""
    if not least <= got <= most:
        raise CheckError(f"{what}: expected {least:g} to {most:g}, got {got:.3f}")


def shown(value: object, most: int = 240) -> str:
    """Return a value for a failure text."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 :]}"


class Server:
    """A lane that runs, and the clients that a check has connected to it."""

    def __init__(self, program: Program) -> None:
        """Wrap a program."""
        self.program = program
        self.port = program.port
        self.clients: list[Raw] = []

    async def connect(self, receive_buffer: int | None = None) -> Raw:
        """Open a TCP connection."""
        raw = await Raw.connect(self.port, receive_buffer)
        self.clients.append(raw)
        return raw

    async def websocket(self, path: str = "/chat", early: bytes = b"", receive_buffer: int | None = None) -> Raw:
        """Open a WebSocket."""
        raw = await upgraded(self.port, path, early, receive_buffer)
        self.clients.append(raw)
        return raw

    async def member(self, room: str = "room", nick: str = "nick", receive_buffer: int | None = None) -> Member:
        """Open a WebSocket and join a room."""
        member = Member(await self.websocket(receive_buffer=receive_buffer), room, nick)
        await member.raw.say(wire.join(room, nick))
        text = await member.of_kind("joined")
        member.members = int(wire.content(text)["members"])
        equal("joined", wire.joined(room, nick, member.members), text)
        return member

    async def ask(self, request: bytes, *, bodiless: bool = False) -> wire.Response:
        """Send a request on a connection of its own."""
        raw = await self.connect()
        try:
            await raw.send(request)
            return await raw.response(bodiless=bodiless)
        finally:
            raw.close()

    async def counters(self) -> dict[str, int]:
        """Ask for the metrics.

        Raises:
            CheckError: one is missing, or is not a number.
        """
        answer = await self.ask(wire.head("/metrics"))
        equal("status of /metrics", 200, answer.status)
        samples = re.findall(r"^chat_(\w+) (\d+)$", answer.body.decode(), re.MULTILINE)
        found = {name: int(value) for name, value in samples}
        missing = [name for name in COUNTERS if name not in found]
        expect(not missing, f"/metrics: expected chat_{missing[0] if missing else ''}, got none")
        return found

    async def counted(self, **wanted: int) -> dict[str, int]:
        """Wait until counters have their values, at most some seconds."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            found = await self.counters()
            wrong = {name: found[name] for name, value in wanted.items() if found[name] != value}
            if not wrong:
                return found
            if time.monotonic() > deadline:
                name, got = next(iter(wrong.items()))
                raise CheckError(f"chat_{name}: expected {wanted[name]}, got {got} (of all: {found})")
            await asyncio.sleep(0.02)

    async def well(self) -> None:
        """Fail unless the server still serves."""
        raw = await self.websocket()
        await raw.say(wire.join("still-well", "x"))
        equal("a new client", wire.joined("still-well", "x", 1), await raw.text())
        raw.close()


@dataclass(frozen=True)
class Lab:
    """What a check may use."""

    program: Path
    data: Path
    folder: Path

    @contextlib.asynccontextmanager
    async def server(self, *options: str) -> AsyncIterator[Server]:
        """Start the lane; fail when it broke meanwhile."""
        server = Server(await Program.start(self.program, options))
        try:
            yield server
            if fault := server.program.fault:
                raise CheckError(fault)  # noqa: TRY301 - as what the check itself raises
        except Exception as problem:
            if (fault := server.program.fault) and not isinstance(problem, CheckError):
                raise CheckError(f"{fault}; {problem}") from problem
            raise
        finally:
            for client in server.clients:
                client.close()
            await server.program.kill()


@dataclass(frozen=True)
class Check:
    """One named check."""

    name: str
    run: Callable[[Lab], Awaitable[None]]
    seconds: float = 0.0
    """How long it takes when all is well, if that is long: those start first."""


@dataclass
class Registry:
    """The checks of all modules."""

    all: list[Check] = field(default_factory=list)

    def add(self, name: str, run: Callable[[Lab], Awaitable[None]], seconds: float = 0.0) -> None:
        """Add one."""
        self.all.append(Check(name, run, seconds))

    def named(
        self, name: str, seconds: float = 0.0
    ) -> Callable[[Callable[[Lab], Awaitable[None]]], Callable[[Lab], Awaitable[None]]]:
        """Add the function below."""

        def keep(run: Callable[[Lab], Awaitable[None]]) -> Callable[[Lab], Awaitable[None]]:
            self.add(name, run, seconds)
            return run

        return keep


REGISTRY = Registry()
