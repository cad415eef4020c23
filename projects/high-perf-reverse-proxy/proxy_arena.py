"""Named checks, what each needs around it, and how they are run.

A check is an async function of an Arena: a running program with its backends. Checks that ask for the same Setup share
one arena, one after another, and a program that died is started anew for the next one. Arenas run beside each other,
because most of their time is waiting for time-outs; those that move much data run alone, at the end.
"""

from __future__ import annotations

import asyncio
import fnmatch
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy_backend import POLL_SECONDS, Backend, Handler, Hole, raw
from proxy_program import Nginx, Program, StartError
from proxy_wire import SECONDS, Client, Headers, Request, Response, Truncated, WireError, short

CHECK_SECONDS = 60.0
ARENAS_AT_ONCE = 6
ALL_SECONDS = 600.0
HUNG_CHECKS = 30
"""After so long, or so many checks that ran out of time, none is asked: whatever hangs still gets its report."""
DRAIN_SLACK_SECONDS = 12.0
LOG_LINES = 30
FAULT_WORDS = (b"panic", b"goroutine ", b"stack backtrace", b"thread '", b"Segmentation", b"error: Unexpected")


LATE_CHECKS = 40
"""So many checks that failed for their time get a second look when nothing else runs."""
SECOND_LOOKS = 3
"""All of them must be good: what fails now and then fails."""


class Failed(Exception):  # noqa: N818 - a check that failed, not an error of the oracle
    """What was expected, and what came."""


class Late(Failed):
    """Something happened at another time than expected, which a busy machine may be to blame for."""


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
        raise Failed(f"{what}: expected {short(expected)}, got {short(got)}")


async def until(what: str, truth: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait for what another program does; nothing is said about how soon."""
    try:
        async with asyncio.timeout(seconds):
            while not truth():  # noqa: ASYNC110 - another program sets no event of ours
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"{what}: not within {seconds:g} s") from None


@dataclass(frozen=True)
class Setup:
    """What must stand around a check."""

    name: str
    options: tuple[str, ...] = ()
    backends: int = 1
    down: tuple[int, ...] = ()
    """Backends that refuse connections at first."""
    hole: bool = False
    """The last backend is a port that never accepts."""
    admin: bool = False
    nginx: bool = False
    """The only backend is nginx with the files of the workload."""
    heavy: bool = False
    fresh: bool = False
    """Every check gets a program of its own."""

    @property
    def timed(self) -> bool:
        """Whether short time-outs are set, which a busy machine can make run out in the wrong place."""
        return any("-timeout" in word for word in self.options)


@dataclass(frozen=True)
class Check:
    """One question with a name."""

    name: str
    run: Callable[[Arena], Awaitable[None]]
    setup: Setup | None
    """None: the check starts what it needs itself."""
    seconds: float = CHECK_SECONDS


@dataclass
class Surroundings:
    """What all arenas share."""

    program: Path
    data: Path
    out: Path
    foreign: bool = False
    """The program is not a lane: its own error pages have a form of their own."""
    texts: dict[str, str] = field(default_factory=dict)
    """The bodies of the error responses: to see whether lanes say the same."""


class Registry:
    """The checks of all modules in the order in which they were written."""

    def __init__(self) -> None:
        """Start empty."""
        self.checks: list[Check] = []

    def add(
        self, name: str, run: Callable[[Arena], Awaitable[None]], setup: Setup | None, seconds: float = CHECK_SECONDS
    ) -> None:
        """Add a check; its name must be new."""
        if any(check.name == name for check in self.checks):
            raise ValueError(f"two checks are called {name}")
        self.checks.append(Check(name, run, setup, seconds))

    def check(
        self, name: str, setup: Setup | None, seconds: float = CHECK_SECONDS
    ) -> Callable[[Callable[[Arena], Awaitable[None]]], Callable[[Arena], Awaitable[None]]]:
        """Decorate a function as a check."""

        def register(run: Callable[[Arena], Awaitable[None]]) -> Callable[[Arena], Awaitable[None]]:
            self.add(name, run, setup, seconds)
            return run

        return register


REGISTRY = Registry()


class Arena:
    """A program, its backends, and the hands of a check."""

    def __init__(self, around: Surroundings, setup: Setup, number: int) -> None:
        """Plan an arena; nothing runs yet."""
        self.around = around
        self.setup = setup
        self.folder = around.out / "run" / f"{number}-{setup.name}"
        self.backends = [Backend(f"b{index}") for index in range(setup.backends)]
        self.hole: Hole | None = Hole() if setup.hole else None
        self.nginx: Nginx | None = None
        self.running: Program | None = None
        self.start_failure = ""
        self.clients: list[Client] = []
        self.check_name = ""
        self.asked = 0
        self.stopped_by_check = False

    # --- life ---

    async def open(self) -> None:
        """Start the backends."""
        for index, backend in enumerate(self.backends):
            if index not in self.setup.down and not self.setup.nginx:
                backend.up()
        if self.hole:
            await self.hole.fill()
        if self.setup.nginx:
            self.nginx = Nginx(self.around.data, self.folder, self.backends[0].port)
            await self.nginx.start()

    async def close(self) -> None:
        """End everything."""
        for client in self.clients:
            client.close()
        if self.running:
            await self.running.kill()
        if self.nginx:
            await self.nginx.stop()
        if self.hole:
            self.hole.close()
        for backend in self.backends:
            await backend.stop()

    @property
    def words(self) -> list[str]:
        """The command line of the program."""
        behind = [backend.address for backend in self.backends] + ([self.hole.address] if self.hole else [])
        words = ["--listen", "127.0.0.1:0", "--backends", ",".join(behind), *self.setup.options]
        return [*words, "--admin", "127.0.0.1:0"] if self.setup.admin else words

    async def ready(self, check_name: str) -> None:
        """Prepare for a check: the program runs."""
        self.check_name = check_name
        self.asked = 0
        if self.start_failure:
            raise StartError(self.start_failure)
        if self.running is None or not self.running.alive:
            try:
                self.running = await Program.start(self.around.program, self.words)
            except (StartError, OSError) as error:
                self.start_failure = f"{type(error).__name__}: {error}"
                raise
            self.stopped_by_check = False

    @property
    def program(self) -> Program:
        """The running program."""
        if self.running is None:
            raise StartError("the program was not started")
        return self.running

    @property
    def backend(self) -> Backend:
        """The first backend."""
        return self.backends[0]

    # --- hands ---

    def target(self, script: Handler | bytes | None = None, then: str = "keep") -> bytes:
        """Return a path that no other check uses, answered as given by every backend."""
        self.asked += 1
        path = f"/{self.check_name}/{self.asked}".encode()
        if isinstance(script, bytes):
            script = raw(script, then)
        if script:
            for backend in self.backends:
                backend.handlers[path] = script
        return path

    async def client(self, **how: Any) -> Client:
        """Return a new connection to the program, closed after the check."""
        client = await Client.open(self.program.address, **how)
        self.clients.append(client)
        return client

    async def ask(self, request: bytes, method: str = "", *, seconds: float = SECONDS, keep: bool = True) -> Response:
        """Send a request on a new connection and return the response."""
        with await self.client() as client:
            return await client.ask(request, method, seconds=seconds, keep=keep)

    async def get(self, path: bytes, *headers: bytes) -> Response:
        """GET a path on a new connection."""
        return await self.ask(get(path, *headers))

    async def arrives(self, request: Callable[[bytes], bytes]) -> Request:
        """Send a request to a path of its own, which must be answered by 200; return it as the backend got it."""
        path = self.target()
        response = await self.ask(request(path))
        equal("status", 200, response.status)
        return await self.backend.wait_for(path)

    def same_headers(self, what: str, expected: Headers, got: Headers) -> None:
        """Fail unless two lists of headers are the same: to the byte, but other programs may order and spell names."""
        if self.around.foreign:
            expected, got = (sorted((name.lower(), value) for name, value in one) for one in (expected, got))
        equal(what, expected, got)

    def got(self, target: bytes) -> list[Request]:
        """Return the requests for a target that any backend got."""
        return [request for backend in self.backends for request in backend.got(target)]

    def note(self, response: Response) -> None:
        """Keep the text of an error for the report."""
        text = bytes(response.body).decode("utf-8", "replace").rstrip("\n")
        self.around.texts[f"{self.check_name}"] = text

    def error(self, response: Response, status: int, *more: int) -> None:
        """Fail unless a response is an error of the proxy itself, of the form that the contract says."""
        allowed = (status, *more)
        expected = " or ".join(map(str, allowed))
        expect(response.status in allowed, f"status: expected {expected}, got {response.status} {short(response.body)}")
        if self.around.foreign:
            return
        equal("Content-Type", b"text/plain", response.get("content-type"))
        equal("framing", "length", response.framing)
        body = bytes(response.body)
        start = b"%d %s: " % (response.status, response.reason)
        one_line = body.startswith(start) and body.endswith(b"\n") and body.count(b"\n") == 1 and len(body) > len(start)
        expect(one_line, f"body: expected one line '{start.decode()}<cause>', got {short(body)}")
        self.note(response)

    @asynccontextmanager
    async def truncated(self, what: str) -> Any:
        """Fail unless the block ends in a message that was visibly cut."""
        try:
            yield
        except Truncated:
            return
        raise Failed(f"{what}: expected a visible cut, got a clean end")


def get(path: bytes, *headers: bytes) -> bytes:
    """Return a GET request."""
    return b"\r\n".join([b"GET %s HTTP/1.1" % path, b"Host: example.test", *headers]) + b"\r\n\r\n"


def post(path: bytes, body: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    """Return a request with a body of known length."""
    lines = [method + b" %s HTTP/1.1" % path, b"Host: example.test", *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def post_chunked(path: bytes, body: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    """Return a request with a chunked body, given as it stands on the wire."""
    lines = [method + b" %s HTTP/1.1" % path, b"Host: example.test", *headers, b"Transfer-Encoding: chunked"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


# --- running ---


def failure_text(error: BaseException) -> str:
    """Return an exception as one line."""
    if isinstance(error, Failed):
        text = str(error)
    elif isinstance(error, WireError | Truncated | StartError | TimeoutError):
        text = str(error) or "timed out"
    else:
        text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())


@dataclass
class Runner:
    """Runs checks and collects their failures."""

    around: Surroundings
    failures: dict[str, str | None] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    late: list[Check] = field(default_factory=list)
    first_look: dict[str, str | None] = field(default_factory=dict)
    hung: int = 0
    started: float = 0.0

    async def run(self, checks: list[Check]) -> None:
        """Run all checks: arenas beside each other, those with short time-outs after busy ones, heavy ones alone."""
        self.started = time.monotonic()
        groups = [*enumerate(_groups(checks))]
        gate = asyncio.Semaphore(ARENAS_AT_ONCE)

        async def light(number: int, group: list[Check]) -> None:
            async with gate:
                await self._group(number, group)

        for timed in (False, True):
            chosen_now = [one for one in groups if not _heavy(one[1]) and _timed(one[1]) == timed]
            await asyncio.gather(*(light(number, group) for number, group in chosen_now))
        for number, group in groups:
            if _heavy(group):
                await self._group(number, group)
        await self._look_again(len(groups))

    async def _look_again(self, number: int) -> None:
        """Ask again, alone, what failed only for its time: other work on the machine is not the program's fault."""
        late, self.late = self.late, []
        if len(late) > LATE_CHECKS:
            return
        for place, check in enumerate(late):
            self.first_look[check.name] = self.failures[check.name]
            for _ in range(SECOND_LOOKS):
                await self._group(number + place, [check], again=True)
                if self.failures[check.name] is not None:
                    break

    async def _group(self, number: int, group: list[Check], *, again: bool = False) -> None:
        setup = group[0].setup or Setup("alone", backends=0)
        arena = Arena(self.around, setup, number)
        try:
            await arena.open()
            for check in group:
                await self._one(arena, check)
            if group[0].setup and not setup.fresh and not again:
                await self._ending(arena)
        except StartError as error:  # nginx: the oracle's own part, which nothing can replace
            for check in group:
                self.failures.setdefault(check.name, failure_text(error))
        finally:
            await arena.close()

    async def _one(self, arena: Arena, check: Check) -> None:
        began = time.monotonic()
        try:
            expect(self.hung < HUNG_CHECKS, f"not asked: {HUNG_CHECKS} checks had run out of time")
            expect(began - self.started < ALL_SECONDS, f"not asked: {ALL_SECONDS:g} s were over")
            if check.setup is None:
                arena.check_name = check.name
            else:
                await arena.ready(check.name)
            async with asyncio.timeout(check.seconds):
                await check.run(arena)
            self.failures[check.name] = _aftermath(arena) if check.setup and check.setup.fresh else None
        except Exception as error:  # noqa: BLE001 - whatever a lane makes happen is the failure of this check
            self.failures[check.name] = failure_text(error)
            self.hung += isinstance(error, TimeoutError)
            if isinstance(error, TimeoutError | Late) or (check.setup and check.setup.timed):
                self.late.append(check)
        await self._after(arena, check)
        self.seconds[check.name] = time.monotonic() - began

    async def _after(self, arena: Arena, check: Check) -> None:
        for client in arena.clients:
            client.close()
        arena.clients.clear()
        program = arena.running
        if program is None:
            return
        if not program.alive and not arena.stopped_by_check:
            died = f"the program died (exit {program.process.returncode}, {program.said()})"
            self.failures[check.name] = f"{self.failures[check.name] or ''} {died}".strip()
        if check.setup and check.setup.fresh:
            await program.kill()
            arena.running = None

    async def _ending(self, arena: Arena) -> None:
        """Check, once for each arena, what only its end can show."""
        for name, ask in (("backends-got-only-sound-requests", _sound), ("ends-well", _ends_well)):
            arena.check_name = f"{arena.setup.name}/{name}"
            try:
                expect(not arena.start_failure, arena.start_failure)
                await ask(arena)
                self.failures[arena.check_name] = None
            except Exception as error:  # noqa: BLE001 - as in _one
                self.failures[arena.check_name] = failure_text(error)


async def _sound(arena: Arena) -> None:
    if found := _aftermath(arena):
        raise Failed(found)


async def _ends_well(arena: Arena) -> None:
    """Check that SIGTERM ends the program with exit code 0, and what it wrote all along."""
    program = arena.program
    if not program.alive:
        raise Failed(f"the program was not alive at the end, {program.said()}")
    program.signal(15)
    equal("exit code after SIGTERM", 0, await program.ended(DRAIN_SLACK_SECONDS))
    lines = bytes(program.stdout).splitlines()
    equal("lines on stdout", 2 if arena.setup.admin else 1, len(lines))
    expect(lines[-1].startswith(b"listening on "), f"last line on stdout: {short(lines[-1])}")
    written = program.stderr.count(b"\n")
    expect(arena.around.foreign or written <= LOG_LINES, f"{written} lines on stderr: nothing is logged per request")
    found = [word for word in FAULT_WORDS if word in program.stderr]
    expect(not found, f"stderr speaks of a crash: {program.said()}")


def _aftermath(arena: Arena) -> str | None:
    violations = [f"{backend.name} {violation}" for backend in arena.backends for violation in backend.violations]
    return f"what reached a backend: {violations[0]} ({len(violations)} of them)" if violations else None


def _groups(checks: list[Check]) -> Iterator[list[Check]]:
    """Yield checks that share an arena; alone where they need none."""
    shared: dict[Setup, list[Check]] = {}
    for check in checks:
        if check.setup is None or check.setup.fresh:
            yield [check]
        else:
            shared.setdefault(check.setup, []).append(check)
    yield from shared.values()


def _timed(group: list[Check]) -> bool:
    return group[0].setup is not None and group[0].setup.timed


def _heavy(group: list[Check]) -> bool:
    return group[0].setup is not None and group[0].setup.heavy


def chosen(pattern: str) -> list[Check]:
    """Return the checks whose name a glob matches, or matches one of several separated by commas."""
    return [check for check in REGISTRY.checks if matches(check.name, pattern)]


def matches(name: str, pattern: str) -> bool:
    """Whether one of several globs matches a name."""
    return any(fnmatch.fnmatchcase(name, one) for one in pattern.split(","))
