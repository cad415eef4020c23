"""Starts the program under test and what stands behind it, watches them, and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from proxy_backend import POLL_SECONDS
from proxy_wire import short

START_SECONDS = 20.0
PR_SET_PDEATHSIG = 1
READY_LINE = re.compile(rb"(admin|listening) on (\S+):(\d+)\n")
LIBC = ctypes.CDLL(None, use_errno=True)


class StartError(Exception):
    """The program did not say that it listens."""


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the oracle ends, however it ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@dataclass
class Ended:
    """How a run that ends by itself ended."""

    code: int
    stdout: bytes
    stderr: bytes


async def run(program: Path, args: list[str], seconds: float = 20.0) -> Ended:
    """Run a program to its end; a hang is a TimeoutError."""
    process = await _spawn([str(program), *args])
    try:
        async with asyncio.timeout(seconds):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        raise TimeoutError(f"still running after {seconds:g} s: {' '.join(args)}") from None
    finally:
        _kill(process)
    return Ended(process.returncode or 0, stdout, stderr)


async def _spawn(argv: list[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


class Program:
    """A server that was started and said that it listens."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Watch a process."""
        self.process = process
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.address = ("127.0.0.1", 0)
        self.admin = ("127.0.0.1", 0)
        self.readers = [
            asyncio.ensure_future(self._collect(process.stdout, self.stdout)),
            asyncio.ensure_future(self._collect(process.stderr, self.stderr)),
        ]

    @classmethod
    async def start(cls, path: Path, args: list[str]) -> Program:
        """Start a program and wait for its line."""
        program = cls(await _spawn([str(path), *args]))
        try:
            async with asyncio.timeout(START_SECONDS):
                while b"listening on" not in program.stdout or not program.stdout.endswith(b"\n"):
                    if program.process.returncode is not None:
                        await asyncio.gather(*program.readers)
                        said = short(bytes(program.stderr))
                        raise StartError(f"did not start: exit {program.process.returncode}, {said}")
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            await program.kill()
            raise StartError(f"no `listening on` line within {START_SECONDS:g} s, {program.said()}") from None
        for kind, host, port in READY_LINE.findall(program.stdout):
            place = (host.decode().strip("[]"), int(port))
            if kind == b"admin":
                program.admin = place
            else:
                program.address = place
        return program

    @staticmethod
    async def _collect(stream: asyncio.StreamReader | None, into: bytearray) -> None:
        while stream and (data := await stream.read(1 << 16)):
            into += data

    def said(self) -> str:
        """Return what it wrote to stderr, in a line."""
        return f"stderr {short(bytes(self.stderr[-300:]))}"

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
        _kill(self.process)
        with contextlib.suppress(TimeoutError):
            await self.ended(2)
        for reader in self.readers:
            reader.cancel()

    def memory_bytes(self) -> int:
        """Return the peak resident memory of the program and its children, 0 where it has ended."""
        return sum(_status_kib(pid, "VmHWM") for pid in self._family()) * 1024

    def cpu_seconds(self) -> float:
        """Return the CPU time that the program and its children have used."""
        total = 0
        for pid in self._family():
            with contextlib.suppress(OSError):
                fields = (
                    Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
                )
                total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def open_files(self) -> int:
        """Return how many descriptors the program and its children hold."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self._family())

    def _family(self) -> list[int]:
        family = [self.process.pid]
        for pid in family:
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
                family += [int(word) for word in text.split()]
        return family


def _status_kib(pid: int, name: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    match = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return int(match[1]) if match else 0


# --- nginx as a backend ---

SITE = """
daemon off;
master_process off;
pid {run}/nginx.pid;
error_log {run}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {run}/body;
    proxy_temp_path {run}/proxy;
    fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi;
    scgi_temp_path {run}/scgi;
    types {{ text/plain txt; text/html html; application/octet-stream bin; }}
    default_type application/octet-stream;
    keepalive_requests 1000000;
    gzip_proxied any;
    gzip_http_version 1.0;
    server {{
        listen {host}:{port};
        server_name _;
        root {data}/site;
        client_max_body_size 64m;
        location / {{ add_header Accept-Note "kept  as; it=is"; add_header X-Twice one; add_header X-Twice two; }}
        location = /ok {{ return 200 "OK"; }}
        location = /none {{ return 204; }}
        location = /moved {{ return 301 /elsewhere?a=b; }}
        location = /found {{ return 302 http://$host/there; }}
        location = /refused {{ return 403; }}
        location = /teapot {{ return 418 "short and stout"; }}
        location = /broken {{ return 500 "broken\\n"; }}
        location = /busy {{ return 503; }}
        location /zip/ {{ alias {data}/site/; gzip on; gzip_types *; gzip_min_length 0; gzip_comp_level 1; }}
        location /store/ {{ root {run}; dav_methods PUT DELETE MKCOL; create_full_put_path on; }}
        location /old/ {{ alias {data}/site/; chunked_transfer_encoding off; gzip on; gzip_types *; }}
    }}
}}
"""
"""Ranges, validators, chunked by gzip, every kind of status: an ordinary site on an ordinary server."""


class Nginx:
    """Debian's nginx as one process of our own user, serving the files of the workload."""

    def __init__(self, data: Path, folder: Path, port: int) -> None:
        """Say where its files are and where it may write."""
        self.data = data.resolve()
        self.folder = folder.resolve()
        self.port = port
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it accepts."""
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise StartError("nginx is not installed (package nginx-light)")
        (self.folder / "store").mkdir(parents=True, exist_ok=True)
        config = self.folder / "nginx.conf"
        text = SITE.format(run=self.folder, data=self.data, host="127.0.0.1", port=self.port)
        config.write_text(text, encoding="utf-8")
        argv = [program, "-p", str(self.folder), "-e", str(self.folder / "error.log"), "-c", str(config)]
        if os.geteuid() == 0:  # one process: as root it would otherwise hand its files to another user
            argv += ["-g", "user root;"]
        self.process = await _spawn(argv)
        deadline = time.monotonic() + START_SECONDS
        while not await _accepts(self.port):
            if self.process.returncode is not None or time.monotonic() > deadline:
                log = self.folder / "error.log"
                raise StartError(f"nginx did not start: {short(log.read_bytes() if log.exists() else b'')}")
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self) -> None:
        """End it."""
        if self.process:
            _kill(self.process)
            await self.process.communicate()


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
