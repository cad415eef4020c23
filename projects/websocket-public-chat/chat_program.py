"""Starts the program under test, watches it, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 15.0
PR_SET_PDEATHSIG = 1
READY = re.compile(rb"listening on (\S+):(\d+)\n")
LIBC = ctypes.CDLL(None, use_errno=True)
FAULTS = (b"panic", b"goroutine ", b"stack backtrace", b"thread '", b"Segmentation", b"Traceback")


class StartError(Exception):
    """The program did not say that it listens."""


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the oracle ends, however it ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def excerpt(data: bytes, most: int = 300) -> str:
    """Return the end of a program's output for a failure text."""
    return repr(data[-most:].decode("utf-8", "replace"))


@dataclass(frozen=True)
class Ended:
    """How a run that ends by itself ended."""

    code: int
    stdout: bytes
    stderr: bytes


async def spawn(argv: Sequence[str]) -> asyncio.subprocess.Process:
    """Start a program that dies with us."""
    return await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
        limit=1 << 20,
    )


def kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process, unless it has ended."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()


async def run(program: Path, args: Sequence[str], seconds: float = 10.0) -> Ended:
    """Run a program to its end; a hang is a TimeoutError."""
    process = await spawn([str(program), *args])
    try:
        async with asyncio.timeout(seconds):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        raise TimeoutError(f"expected an end within {seconds:g} s: {' '.join(args)}") from None
    finally:
        kill(process)
        await process.wait()
    return Ended(process.returncode or 0, stdout, stderr)


class Program:
    """A server that was started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Watch a process."""
        self.process = process
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.host, self.port = "127.0.0.1", 0
        self.readers = [
            asyncio.ensure_future(self._collect(process.stdout, self.stdout)),
            asyncio.ensure_future(self._collect(process.stderr, self.stderr)),
        ]

    @classmethod
    async def start(cls, path: Path, args: Sequence[str]) -> Program:
        """Start a lane and wait for its line.

        Raises:
            StartError: the line did not come.
        """
        program = cls(await spawn([str(path), "--listen", "127.0.0.1:0", *args]))
        try:
            async with asyncio.timeout(START_SECONDS):
                while not (found := READY.search(program.stdout)):
                    if not program.alive:
                        await asyncio.gather(*program.readers)
                        code = program.process.returncode
                        raise StartError(f"did not start: exit {code}, {program.said()}")  # noqa: TRY301 - killed below
                    await asyncio.sleep(0.004)
        except TimeoutError:
            await program.kill()
            raise StartError(f"no `listening on` line within {START_SECONDS:g} s, {program.said()}") from None
        except BaseException:
            await program.kill()
            raise
        program.host, program.port = found[1].decode(), int(found[2])
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

    @property
    def fault(self) -> str | None:
        """What shows that it broke, if anything."""
        for word in FAULTS:
            if word in self.stderr:
                return f"expected no stack trace, got {self.said()}"
        if not self.alive and self.process.returncode:
            return f"expected a server that lives, got exit {self.process.returncode}, {self.said()}"
        return None

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def ended(self, seconds: float) -> int:
        """Return the exit code.

        Raises:
            TimeoutError: it does not end.
        """
        try:
            async with asyncio.timeout(seconds):
                code = await self.process.wait()
                await asyncio.gather(*self.readers)
        except TimeoutError:
            raise TimeoutError(f"expected an end within {seconds:g} s, still running") from None
        return code

    async def kill(self) -> None:
        """End it at once."""
        kill(self.process)
        with contextlib.suppress(TimeoutError):
            await self.ended(2)
        for reader in self.readers:
            reader.cancel()

    def memory_bytes(self) -> int:
        """Return the resident memory of the program, 0 where it has ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return 0
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
