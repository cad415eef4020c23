"""Starts and ends the lane's program and the reference server, and looks at them from outside through /proc."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kv_wire import Client, WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

START_SECONDS = 10.0
END_SECONDS = 10.0
READY = "listening on "
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
REFERENCE = "redis-server"


class StartError(Exception):
    """A server did not become ready; the text says what it did instead."""


class Server:
    """One running server: its process, its files and where it listens."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        """Start a process; its standard error goes to a file."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.stderr_path = folder / f"stderr-{time.monotonic_ns()}"
        with self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=folder,
                env={**os.environ, "TMPDIR": str(folder)},
                start_new_session=True,
            )
        self.addresses: list[str] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it does."""
        self.kill()

    @property
    def address(self) -> str:
        """Where it listens first."""
        return self.addresses[0]

    def client(self) -> Client:
        """Connect to it."""
        try:
            return Client(self.address)
        except OSError as error:
            raise WireError(f"cannot connect to {self.address}: {error}; {self.state()}") from error

    def alive(self) -> bool:
        """True while the process runs."""
        return self.process.poll() is None

    def state(self) -> str:
        """Say in a few words what became of the process."""
        code = self.process.poll()
        if code is None:
            return "the process is alive"
        return f"the process ended with {ending(code)}: {self.stderr()[:300]!r}"

    def stderr(self) -> str:
        """Return what it wrote to standard error."""
        return self.stderr_path.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal to the server itself."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it and everything that it started, by SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def wait(self, seconds: float = END_SECONDS) -> int | None:
        """Return the exit code, or None when it still runs after so many seconds."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self, seconds: float = END_SECONDS) -> int | None:
        """Send SIGTERM and return the exit code, or None when it does not end."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def read_ready_lines(self, count: int) -> None:
        """Wait until it has said where it listens."""
        stdout = self.process.stdout
        assert stdout is not None
        os.set_blocking(stdout.fileno(), False)
        text, deadline = b"", time.monotonic() + START_SECONDS
        while text.count(b"\n") < count:
            select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = stdout.read()
            if not part:
                late = time.monotonic() >= deadline
                what = f"no {READY!r} line within {START_SECONDS} s" if late else self.state_after_silence()
                raise StartError(f"{what}; stdout {text!r}, stderr {self.stderr()[:300]!r}")
            text += part
        lines = text.decode(errors="replace").splitlines()
        if len(lines) != count or any(not line.startswith(READY) for line in lines):
            raise StartError(f"expected {count} line(s) {READY!r}..., got {text!r}")
        self.addresses = [line.removeprefix(READY) for line in lines]

    def state_after_silence(self) -> str:
        """Say how a process ended that closed its standard output."""
        self.wait(1.0)
        return self.state()

    def pids(self) -> list[int]:
        """Return the processes that belong to it: itself and its children."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    queue += [int(child) for child in (task / "children").read_text().split()]
        return found

    def resident_bytes(self) -> int:
        """Return the resident memory of its biggest process (a wrapper around the server does not count)."""
        return max((status_kib(pid, "VmRSS") for pid in self.pids()), default=0) * 1024

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        return total / CLOCK_TICKS

    def wake_ups(self) -> int:
        """Return how often its threads have gone to sleep."""
        total = 0
        for pid in self.pids():
            for status in Path(f"/proc/{pid}/task").glob("*/status"):
                total += status_number(status, "voluntary_ctxt_switches")
        return total

    def open_files(self) -> int:
        """Return how many files its biggest holder has open."""
        return max(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.pids())


def status_kib(pid: int, field: str) -> int:
    """Return a number of /proc/PID/status."""
    return status_number(Path(f"/proc/{pid}/status"), field)


def status_number(path: Path, field: str) -> int:
    """Return a number of a status file, 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0


def ending(code: int) -> str:
    """Name an exit code."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


# --- the two kinds ---------------------------------------------------------------------------------------------------


def start_lane(program: Path, folder: Path, options: Sequence[str] = (), listen: Sequence[str] = ()) -> Server:
    """Start the lane's program and wait until it is ready."""
    where = listen or ["127.0.0.1:0"]
    words = [str(program), *(word for address in where for word in ("--listen", address)), *options]
    server = Server(words, folder)
    try:
        server.read_ready_lines(len(where))
    except StartError:
        server.kill()
        raise
    return server


def start_reference(folder: Path, options: Sequence[str] = ()) -> Server:
    """Start redis-server with one database and nothing saved, and wait until it answers."""
    port = free_port()
    words = [
        *(REFERENCE, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""),
        *("--appendonly", "no", "--databases", "1", "--loglevel", "warning", "--aof-use-rdb-preamble", "no"),
        *("--logfile", str(folder / "redis.log"), *options),
    ]
    server = Server(words, folder)
    server.addresses = [f"127.0.0.1:{port}"]
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.alive():
        with contextlib.suppress(OSError, WireError), Client(server.address) as client:
            if client.raw("PING") == b"+PONG\r\n":
                return server
        time.sleep(0.005)
    server.kill()
    log = folder / "redis.log"
    raise StartError(f"the reference did not start: {log.read_text(errors='replace')[-300:] if log.exists() else ''}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def missing_tools() -> list[str]:
    """Return the programs of the reference that are not installed."""
    tools = [REFERENCE, "redis-cli", "redis-benchmark", "redis-check-aof"]
    return [tool for tool in tools if shutil.which(tool) is None]
