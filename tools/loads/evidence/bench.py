"""Servers on one core, generators on another, and one run of a generator with what it and the server used.

Everything runs under one launcher: with a loopback of its own where the kernel lets us, and gone when the launcher is.
"""

from __future__ import annotations

import contextlib
import math
import signal
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools import caches, services, temporary
from tools.errors import LauncherError, RunnerError
from tools.launcher import LauncherClient, LaunchReply, LaunchRequest, Started, build_launcher, local_launcher
from tools.loads.base import Asked, LoadReport
from tools.loads.evidence.base import PROGRAM, QUANTILES, Generator
from tools.loads.evidence.programs import Program
from tools.loads.evidence.redis_benchmark import KEY, VALUE
from tools.runners import host

GRACE_SECONDS = 30.0
READY_SECONDS = 10.0
STOP_MS = 10_000
PERIOD_SECONDS, PAUSE_SECONDS = 2.0, 0.2
"""How often the server stands still, and for how long."""
HTTP, SET, GET = "http.pace", "set.pace", "get.pace"
"""What pace sends."""
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NGINX = """\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  server {
    listen ADDRESS backlog=4096;
    location / { default_type text/plain; return 200 "ok"; }
  }
}
"""
"""One process, which is also the one that is stopped."""


@dataclass(frozen=True)
class Server:
    """A server that accepts connections."""

    started: Started
    address: str


@dataclass
class Bench:
    """Where the runs take place; `deadline` is on the monotonic clock, in seconds."""

    client: LauncherClient
    folder: Path
    programs: dict[str, Program]
    server_core: int
    generator_core: int
    deadline: float

    def run(self, generator: Generator, asked: Asked, server: Server, *, stalled: bool = False) -> dict[str, Any]:
        """One run as the record keeps it; with `stalled` the server stands still again and again meanwhile."""
        row = blank(generator, asked)
        try:
            row["found"] = self._measured(generator, asked, server, row["stops_ms"] if stalled else None)
        except (RunnerError, ValueError) as error:
            row["failed"] = str(error)[:1000]
        return row

    def _measured(
        self, generator: Generator, asked: Asked, server: Server, stops_ms: list[float] | None
    ) -> dict[str, Any]:
        """Numbers of one run; the length of every stop goes to `stops_ms`.

        Raises:
            RunnerError: generator or server failed, or there is no time left.
            ValueError: the generator printed something else than its report.
        """
        for name, text in generator.files(asked).items():
            (self.folder / name).write_text(text, encoding="utf-8")
        request = self._request(generator.program, generator.command(asked), self.generator_core, asked.seconds)
        before = self.client.usage(server.started)
        reply = self.client.run(request) if stops_ms is None else self._stalling(request, server, stops_ms)
        after = self.client.usage(server.started)
        _refuse(generator.name, reply)
        report = generator.parse(self._answer(generator, reply))
        server_ns = after.user_ns + after.sys_ns - before.user_ns - before.sys_ns
        return numbers(report, reply, server_ns)

    def _answer(self, generator: Generator, reply: LaunchReply) -> bytes:
        """What the generator printed, or what its reports print afterwards.

        Raises:
            RunnerError: a report failed.
        """
        if not generator.after:
            return reply.stdout
        printed = []
        for words in generator.after:
            after = self.client.run(self._request(generator.program, words, self.generator_core, 0.0))
            _refuse(f"the report of {generator.name}", after)
            printed.append(after.stdout)
        return b"\n".join(printed)

    def _stalling(self, request: LaunchRequest, server: Server, stops_ms: list[float]) -> LaunchReply:
        """Run a generator, and stop the server once in a while until it has ended.

        Raises:
            LauncherError: the server or the launcher is gone.
        """
        started = self.client.start(request)
        if isinstance(started, LaunchReply):
            return started
        try:
            self._stop_and_go(started, server, request.timeout_ms / 1000, stops_ms)
        except LauncherError:
            with contextlib.suppress(LauncherError):
                self.client.signal(started, signal.SIGKILL)
            self.client.wait(started, STOP_MS)
            raise
        return self.client.wait(started, int(GRACE_SECONDS * 1000))

    def _stop_and_go(self, started: Started, server: Server, limit_seconds: float, stops_ms: list[float]) -> None:
        """Let the server stand still by the clock while a generator lives.

        Raises:
            LauncherError: the server or the launcher is gone.
        """
        due = time.monotonic() + PERIOD_SECONDS / 2
        for _ in range(math.ceil(limit_seconds / PERIOD_SECONDS)):
            time.sleep(max(0.0, due - time.monotonic()))
            if not self._lives(started):
                return
            stops_ms.append(self._stop_for_a_moment(server) * 1000)
            due += PERIOD_SECONDS

    def _stop_for_a_moment(self, server: Server) -> float:
        """Seconds that the server stood still; it never stays so."""
        begin = time.monotonic()
        try:
            self.client.signal(server.started, signal.SIGSTOP)
            time.sleep(PAUSE_SECONDS)
        finally:
            with contextlib.suppress(LauncherError):  # what ended is noticed by whoever asks next; Ctrl-C stays Ctrl-C
                self.client.signal(server.started, signal.SIGCONT)
        return time.monotonic() - begin

    def _lives(self, started: Started) -> bool:
        try:
            return self.client.usage(started).threads > 0
        except LauncherError:
            return False

    def _request(self, program: str, words: Sequence[str], core: int, seconds: float) -> LaunchRequest:
        """A program of the table with its words, in the folder of the runs.

        Raises:
            LauncherError: the program is not here, or there is no time left for it.
        """
        if program not in self.programs:
            raise LauncherError(f"{program} is not installed")
        left = self.deadline - time.monotonic()
        if left < seconds:
            raise LauncherError(f"no time left: {max(0.0, left):.0f} s of the whole run")
        path = str(self.programs[program].path)
        return LaunchRequest(
            argv=tuple(path if word == PROGRAM else word for word in words),
            env={"PATH": PATH, "LANG": "C.UTF-8", "HOME": str(self.folder), "TMPDIR": str(self.folder)},
            cwd=str(self.folder),
            cpus=str(core),
            timeout_ms=int(min(seconds + GRACE_SECONDS, left) * 1000),
        )

    @contextlib.contextmanager
    def nginx(self) -> Iterator[Server]:
        """One nginx of one process that answers `ok`; stopped whatever happens.

        Raises:
            RunnerError: it does not start.
        """
        address = f"127.0.0.1:{host.free_port()}"
        (self.folder / "nginx.conf").write_text(NGINX.replace("ADDRESS", address), encoding="utf-8")
        words = (PROGRAM, "-p", str(self.folder), "-c", "nginx.conf", "-e", "stderr")
        with self._serving("nginx", words, address) as server:
            yield server

    @contextlib.contextmanager
    def redis(self) -> Iterator[Server]:
        """One redis-server with one key; stopped whatever happens.

        Raises:
            RunnerError: it does not start.
        """
        port = host.free_port()
        address = f"127.0.0.1:{port}"
        words = (PROGRAM, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                 "--dir", str(self.folder))  # fmt: skip
        with self._serving("redis-server", words, address) as server:
            self._pace("--target", address, "--protocol", "resp", "--script", SET, "--once")
            yield server

    @contextlib.contextmanager
    def _serving(self, name: str, words: Sequence[str], address: str) -> Iterator[Server]:
        request = self._request(name, words, self.server_core, READY_SECONDS)
        started = self.client.start(request)
        if isinstance(started, LaunchReply):
            raise RunnerError(f"{name} did not start: {services.why(started)}")
        try:
            self._pace("--target", address, "--wait", f"{READY_SECONDS:g}")
            yield Server(started, address)
        finally:
            with contextlib.suppress(LauncherError):  # it may have ended by itself
                self.client.signal(started, signal.SIGCONT)
                self.client.signal(started, signal.SIGTERM)
            with contextlib.suppress(LauncherError):  # after Ctrl-C the launcher has ended, with all that it ran
                self.client.wait(started, STOP_MS)

    def _pace(self, *words: str) -> None:
        """Have pace do something that is not measured.

        Raises:
            RunnerError: it failed.
        """
        _refuse("pace", self.client.run(self._request("pace", (PROGRAM, *words), self.generator_core, READY_SECONDS)))


def _refuse(name: str, reply: LaunchReply) -> None:
    """Stop if a program did not end well.

    Raises:
        RunnerError: how it ended.
    """
    if not reply.ok:
        raise RunnerError(f"{name}: {services.why(reply)}")


def blank(generator: Generator, asked: Asked, failed: str | None = None) -> dict[str, Any]:
    """A run that found nothing yet, or nothing at all."""
    return {
        "generator": generator.name, "rate_per_second": asked.rate_per_second, "connections": asked.connections,
        "pipeline": asked.pipeline, "stops_ms": [], "failed": failed, "found": None,
    }  # fmt: skip


def numbers(report: LoadReport, reply: LaunchReply, server_ns: int) -> dict[str, Any]:
    """What the record keeps: what the generator says, what the launcher saw of it, and the server's CPU time."""
    said = asdict(report)
    kept = ("offered", "completed", "mismatched", "errors", "dropped", "wall_ns", "lag_p99_ns", "first_error")
    return {
        **{name: said[name] for name in kept},
        "latency_ns": {name: report.latency_ns.get(name) for name in QUANTILES},
        # Who never sleeps has worked only while it did not wait, which it alone knows.
        "cpu_ns": reply.cpu_ns if report.generator_cpu_ns is None else report.generator_cpu_ns,
        "rss_bytes": reply.max_rss_bytes,
        "server_cpu_ns": server_ns,
    }


def script(*entries: tuple[bytes, bytes]) -> bytes:
    """Requests with the replies that they must get, as pace reads them (tools/loads/pace/src/script.rs)."""
    return b"PACE1\n" + b"".join(struct.pack("<II", len(ask), len(reply)) + ask + reply for ask, reply in entries)


def _resp(*words: str) -> bytes:
    """A command as clients of redis send it."""
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)])


def write_scripts(folder: Path) -> None:
    """What pace sends to nginx and to redis."""
    ask = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    (folder / HTTP).write_bytes(script((ask, b"ok")))
    (folder / SET).write_bytes(script((_resp("SET", KEY, VALUE), b"+OK\r\n")))
    (folder / GET).write_bytes(script((_resp("GET", KEY), b"$%d\r\n%s\r\n" % (len(VALUE), VALUE.encode()))))


@contextlib.contextmanager
def opened(programs: dict[str, Program], budget_seconds: float) -> Iterator[Bench]:
    """A bench with its folder; whatever runs on it ends with the block.

    Raises:
        RunnerError: this machine has one core only, or there is no launcher.
    """
    lanes, beside = host.pinned_cpus(), host.cores_beside()
    if not lanes:
        raise RunnerError("server and generator need a core each, and this machine has one")
    binary = build_launcher(host.zig(), caches.work("launcher"))
    with temporary.folder("evidence") as folder, local_launcher(binary, no_network=True) as client:
        write_scripts(folder)
        yield Bench(client, folder, programs, lanes[0], beside[0], time.monotonic() + budget_seconds)
