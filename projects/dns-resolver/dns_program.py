"""Starts the program under test and the servers around it, watches them, and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import re
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dns_model import Model
from dns_wire import WireError, query

START_SECONDS = 15.0
PR_SET_PDEATHSIG = 1
READY = re.compile(rb"listening on (\S+):(\d+)\n")
COUNTERS = (
    "queries",
    "hits",
    "misses",
    "upstream",
    "timeouts",
    "servfail",
    "spoofed",
    "tcp",
    "cache_entries",
    "cache_bytes",
)
COUNTER_LINE = re.compile(" ".join(rf"{name}=(\d+)" for name in COUNTERS))
LIBC = ctypes.CDLL(None, use_errno=True)
PORT_OF_DNS = 53


class StartError(Exception):
    """The program did not say that it listens."""


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the oracle ends, however it ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def excerpt(data: bytes, most: int = 300) -> str:
    """Return the end of a program's output for a failure text."""
    return repr(data[-most:].decode("utf-8", "replace"))


@dataclass
class Ended:
    """How a run that ends by itself ended."""

    code: int
    stdout: bytes
    stderr: bytes


async def spawn(argv: Sequence[str], *, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
    """Start a program that dies with us."""
    return await asyncio.create_subprocess_exec(
        *argv,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
        limit=1 << 24,
    )


def kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process, unless it has ended."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()


async def run(program: Path, args: Sequence[str], seconds: float = 10.0, stdin: bytes | None = None) -> Ended:
    """Run a program to its end; a hang is a TimeoutError."""
    pipe = asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
    process = await spawn([str(program), *args], stdin=pipe)
    try:
        async with asyncio.timeout(seconds):
            stdout, stderr = await process.communicate(stdin)
    except TimeoutError:
        raise TimeoutError(f"still running after {seconds:g} s: {' '.join(args)}") from None
    finally:
        kill(process)
    return Ended(process.returncode or 0, stdout, stderr)


class Program:
    """A server that was started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Watch a process."""
        self.process = process
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.address = ("127.0.0.1", 0)
        self.readers = [
            asyncio.ensure_future(self._collect(process.stdout, self.stdout)),
            asyncio.ensure_future(self._collect(process.stderr, self.stderr)),
        ]

    @classmethod
    async def start(cls, path: Path, args: Sequence[str]) -> Program:
        """Start a lane and wait for its line."""
        program = cls(await spawn([str(path), *args]))
        try:
            async with asyncio.timeout(START_SECONDS):
                while not (found := READY.search(program.stdout)):
                    if not program.alive:
                        await asyncio.gather(*program.readers)
                        raise StartError(f"did not start: exit {program.process.returncode}, {program.said()}")
                    await asyncio.sleep(0.01)
        except TimeoutError:
            await program.kill()
            raise StartError(f"no `listening on` line within {START_SECONDS:g} s, {program.said()}") from None
        program.address = (found[1].decode(), int(found[2]))
        return program

    @staticmethod
    async def _collect(stream: asyncio.StreamReader | None, into: bytearray) -> None:
        while stream and (data := await stream.read(1 << 16)):
            into += data

    def said(self) -> str:
        """Return what it wrote to stderr, in a line."""
        return f"stderr {excerpt(bytes(self.stderr))}"

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.returncode is None

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def ended(self, seconds: float) -> int:
        """Return the exit code; raise TimeoutError where it does not end."""
        try:
            async with asyncio.timeout(seconds):
                code = await self.process.wait()
                await asyncio.gather(*self.readers)
        except TimeoutError:
            raise TimeoutError(f"still running after {seconds:g} s") from None
        return code

    async def kill(self) -> None:
        """End it at once."""
        kill(self.process)
        with contextlib.suppress(TimeoutError):
            await self.ended(2)
        for reader in self.readers:
            reader.cancel()

    async def counters(self) -> dict[str, int]:
        """Ask for the counters with SIGUSR1.

        Raises:
            StartError: no line of counters came.
        """
        before = len(self.stderr)
        self.signal(signal.SIGUSR1)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            written = bytes(self.stderr[before:])
            if written.endswith(b"\n"):
                return counters_of(written)
        raise StartError(f"no line of counters within 3 s of SIGUSR1, {self.said()}")

    def memory_bytes(self) -> int:
        """Return the resident memory of the program, 0 where it has ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return 0
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0

    def cpu_seconds(self) -> float:
        """Return the CPU time that the program has used."""
        try:
            text = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return 0.0
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def counters_of(written: bytes) -> dict[str, int]:
    """Return the last line of counters in what a lane wrote.

    Raises:
        StartError: there is none, or it has another form.
    """
    lines = written.decode("utf-8", "replace").splitlines()
    found = next((match for line in reversed(lines) if (match := COUNTER_LINE.fullmatch(line))), None)
    if found is None:
        raise StartError(f"expected a line '{' '.join(f'{name}=..' for name in COUNTERS)}', got {excerpt(written)}")
    return dict(zip(COUNTERS, map(int, found.groups()), strict=True))


# --- ports -----------------------------------------------------------------------------------------------------------


def can_bind(address: str, port: int) -> int:
    """Return 0 where UDP and TCP of an address and port are free for us, else the error's number."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                return int(error.errno or errno.EINVAL)
    return 0


def common_port(addresses: Sequence[str], *, first: int = PORT_OF_DNS) -> int:
    """Return a port that is free at all these addresses: the first choice where it is."""
    candidates: list[int] = [first, *range(20_530, 32_000, 7)]
    for candidate in candidates:
        if all(can_bind(address, candidate) == 0 for address in addresses):
            return candidate
    raise StartError("no free port")


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- the reference ---------------------------------------------------------------------------------------------------

NSD = """
server:
    server-count: 1
{addresses}
    do-ip6: no
    username: ""
    chroot: ""
    database: ""
    pidfile: ""
    zonesdir: "{data}/zones"
    xfrdir: "{run}"
    xfrdfile: "{run}/xfrd.state"
    zonelistfile: "{run}/zone.list"
    rrl-ratelimit: 0
    zonefiles-check: no
    zonefiles-write: 0
remote-control:
    control-enable: no
include: "{data}/nsd/{level}.conf"
"""

UNBOUND = """
server:
    verbosity: 0
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow
    num-threads: 1
    do-ip6: no
    do-daemonize: no
    use-syslog: no
    username: ""
    chroot: ""
    directory: "{run}"
    pidfile: ""
    module-config: "iterator"
    root-hints: "{hints}"
    do-not-query-localhost: no
    outgoing-interface: 127.0.0.1
    unblock-lan-zones: yes
    insecure-lan-zones: yes
    qname-minimisation: no
    cache-max-ttl: 86400
    cache-max-negative-ttl: 3600
    max-udp-size: 65535
    deny-any: yes
    target-fetch-policy: "0 0 0 0 0"
{options}
remote-control:
    control-enable: no
{stubs}
"""


class Reference:
    """The tree on four nsd, and unbound before it."""

    def __init__(self, data: Path, folder: Path, model: Model) -> None:
        """Plan it; nothing runs yet."""
        self.data = data
        self.folder = folder
        self.model = model
        self.processes: list[Program] = []
        addresses = [address for level in model.levels.values() for address in level]
        self.port = common_port(addresses)
        self.unbound = ("127.0.0.1", free_port())

    async def start(self) -> None:
        """Start everything and wait until it answers."""
        for level, addresses in self.model.levels.items():
            run_folder = self.folder / f"nsd-{level}"
            run_folder.mkdir(parents=True, exist_ok=True)
            listed = "\n".join(f"    ip-address: {address}@{self.port}" for address in addresses)
            text = NSD.format(addresses=listed, data=self.data, run=run_folder, level=level)
            (run_folder / "nsd.conf").write_text(text, encoding="ascii")
            argv = ["/usr/sbin/nsd", "-d", "-c", str(run_folder / "nsd.conf")]
            self.processes.append(Program(await spawn(argv)))
        for process, (level, addresses) in zip(self.processes, self.model.levels.items(), strict=True):
            await answers(process, (addresses[0], self.port), f"nsd of {level}")
        configuration = self.folder / "unbound.conf"
        options = {"port": self.unbound[1], "run": self.folder, "hints": self.data / "hints.zone"}
        text = UNBOUND.format(**options, stubs=self._stubs(), options="")
        configuration.write_text(text, encoding="ascii")
        process = Program(await spawn(["/usr/sbin/unbound", "-d", "-p", "-c", str(configuration)]))
        self.processes.append(process)
        await answers(process, self.unbound, "unbound")

    def _stubs(self) -> str:
        """Return where every zone is served, for a port other than that of DNS, which no referral can say."""
        if self.port == PORT_OF_DNS:
            return ""
        clauses = []
        for name, zone in self.model.zones.items():
            address = self.model.levels[zone.level][0]
            clauses.append(f'stub-zone:\n    name: "{name}"\n    stub-addr: {address}@{self.port}\n')
        return "".join(clauses)

    async def stop(self) -> None:
        """End everything."""
        for process in self.processes:
            process.signal(signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(TimeoutError):
                await process.ended(3)
            await process.kill()


async def answers(process: Program, address: tuple[str, int], what: str) -> None:
    """Wait until a server answers anything.

    Raises:
        StartError: it does not.
    """
    deadline = time.monotonic() + START_SECONDS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        probe.connect(address)
        while time.monotonic() < deadline:
            if not process.alive:
                await asyncio.gather(*process.readers)
                raise StartError(f"{what} ended with code {process.process.returncode}, {process.said()}")
            with contextlib.suppress(OSError, WireError):
                probe.send(query(".", "SOA", number=1))
            await asyncio.sleep(0.1)
            with contextlib.suppress(OSError):
                if probe.recv(4096):
                    return
    raise StartError(f"{what} did not answer within {START_SECONDS:g} s, {process.said()}")
