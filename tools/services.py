"""Long-lived programs in an arena: services, lanes and peers are started, waited for, and always stopped.

Placeholders in commands, arguments and configuration templates: {listen} is the program's own HOST:PORT and {port} its
port; {port:NAME} is the port of another service or arm; {run} is a writable folder of its own; {data} the workload.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tools.errors import ServiceError
from tools.launcher.protocol import Kind, LaunchReply, Started, Usage
from tools.model import Project, Service
from tools.runners.base import TOOLBOX, Arena, Run, Start

HOST = "127.0.0.1"
READY_SECONDS = 20.0
STOP_SECONDS = 15.0
LOG_LINES = 12


@dataclass
class Running:
    """A started program that is ready."""

    arena: Arena
    arm: str
    name: str
    started: Started
    ended: LaunchReply | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{HOST}:{self.arena.port(self.name)}"

    def usage(self) -> Usage:
        """CPU time and memory so far.

        Raises:
            LauncherError: it has ended.
        """
        return self.arena.usage(self.arm, self.started)

    def stop(self) -> LaunchReply:
        """End it, once; how it ended."""
        if self.ended is None:
            self.ended = self.arena.stop(self.arm, self.started, signal.SIGTERM, STOP_SECONDS)
        return self.ended


def filled(arena: Arena, arm: str, name: str, text: str) -> str:
    """A text with its placeholders filled in."""
    port = arena.port(name)
    text = text.replace("{listen}", f"{HOST}:{port}").replace("{port}", str(port))
    return arena.places(arm).fill(text.replace("{run}", f"{{output}}/{name}"))


@contextmanager
def running(arena: Arena, arm: str, service: Service, project: Project, extra: Sequence[str] = ()) -> Iterator[Running]:
    """A service (or a peer that is one), ready; stopped whatever happens.

    Raises:
        ServiceError: it ends or does not get ready; the message has the end of its log.
    """
    files = {".keep": b""}
    for name, template in service.files:
        text = (project.folder / template).read_text(encoding="utf-8")
        files[name] = filled(arena, arm, service.name, text).encode()
    arena.put(arm, {f"{service.name}/{name}": content for name, content in files.items()})
    words = tuple(filled(arena, arm, service.name, word) for word in (*service.command, *extra))
    start = Start(arm, words[1:], service.ready, READY_SECONDS, command=words[:1])
    with _started(arena, service.name, start) as found:
        if service.ready is None:
            _wait_for_port(found)
        yield found


@contextmanager
def lane(arena: Arena, arm: str, project: Project, args: Sequence[str]) -> Iterator[Running]:
    """The server of a lane, ready; stopped whatever happens.

    Raises:
        ServiceError: it ends or does not say that it listens.
    """
    assert project.server is not None  # noqa: S101 - only server projects come here
    arena.put(arm, {f"{arm}/.keep": b""})
    words = tuple(filled(arena, arm, arm, word) for word in (*project.server.args, *args))
    with _started(arena, arm, Start(arm, words, project.server.ready, READY_SECONDS)) as found:
        yield found


@contextmanager
def all_services(arena: Arena, project: Project) -> Iterator[None]:
    """Every service of a project, in the order of project.yaml."""
    with ExitStack() as stack:
        for service in project.services:
            stack.enter_context(running(arena, TOOLBOX, service, project))
        yield


@contextmanager
def _started(arena: Arena, name: str, start: Start) -> Iterator[Running]:
    reply = arena.start(start)
    if isinstance(reply, LaunchReply):
        raise ServiceError(f"{name} did not start: {why(reply)}")
    found = Running(arena, start.arm, name, reply)
    try:
        yield found
    finally:
        found.stop()


def _wait_for_port(found: Running) -> None:
    """Until it accepts connections; asked from inside, because its network may be one of its own."""
    words = ("--wait", f"{READY_SECONDS:g}", "--target", found.address)
    reply = found.arena.run(Run(TOOLBOX, words, READY_SECONDS * 2))
    if not reply.ok:
        ended = found.stop()
        raise ServiceError(f"{found.name} does not listen at {found.address}: {why(ended)}")


def why(reply: LaunchReply) -> str:
    """How a program ended and the end of its log, on one line."""
    how = {
        Kind.EXITED: f"exit code {reply.code}",
        Kind.SIGNALLED: f"signal {reply.code}",
        Kind.TIMEOUT: "ran out of time",
        Kind.OOM: "ran out of the memory limit",
        Kind.SPAWN_FAILED: f"could not be started ({reply.step})",
    }.get(reply.kind, str(reply.kind))
    log = (reply.stderr + reply.stdout).decode("utf-8", "replace").strip().splitlines()[-LOG_LINES:]
    shown = " | ".join(line.encode("unicode_escape").decode()[:200] for line in log)
    return f"{how}: {shown}" if shown else how
