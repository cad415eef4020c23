"""What the oracle needs: a server that is started and watched, and clients that see every byte."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import xxhash

SECONDS = 5.0
"""How long anything is waited for."""


class WrongError(Exception):
    """Something else came than what should."""

    def __init__(self, expected: object, got: object) -> None:
        """Say both, on one line."""
        super().__init__(f"expected {expected}, got {got}")


def expect(got: bytes, expected: bytes) -> None:
    """Compare; the message shows the place where they part."""
    if got != expected:
        at = next((at for at, pair in enumerate(zip(got, expected, strict=False)) if pair[0] != pair[1]), 0)
        start = max(0, at - 20)
        raise WrongError(f"{expected[start : start + 80]!r}", f"{got[start : start + 80]!r} (byte {at} of {len(got)})")


def request(target: bytes, method: bytes = b"GET", fields: bytes = b"") -> bytes:
    """Return a request."""
    return b"%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (method, target, fields)


def reply_of(status: str, *, closes: bool = False, text: bytes | None = None) -> bytes:
    """Return the reply that must come, byte for byte; with a text, that of its hash."""
    body = b"" if text is None else xxhash.xxh64_hexdigest(text).encode()
    allow = "Allow: GET\r\n" if status.startswith("405") else ""
    kind = "" if text is None else "Content-Type: text/plain\r\n"
    end = "Connection: close\r\n" if closes else ""
    return f"HTTP/1.1 {status}\r\n{allow}{kind}Content-Length: {len(body)}\r\n{end}\r\n".encode() + body


def retried(what: str, is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(WrongError, OSError):
            if is_so():
                return
        time.sleep(0.02)
    raise WrongError(what, f"nothing of it in {SECONDS:g} s")


def connect(address: tuple[str, int]) -> socket.socket:
    """Connect, with a limit for everything that follows."""
    made = socket.create_connection(address, SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def refused(address: tuple[str, int]) -> bool:
    """Return whether nobody listens there any more."""
    try:
        connect(address).close()
    except ConnectionError:
        return True
    return False


def run(program: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end.

    Raises:
        WrongError: it does not end.
    """
    words = [str(program), *args]
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False, errors="replace")
    except subprocess.TimeoutExpired:
        raise WrongError("an end", f"none after {SECONDS:g} s: {' '.join(args)}") from None


class Server:
    """The program, started and ready."""

    def __init__(self, program: Path, *args: str, host: str = "127.0.0.1") -> None:
        """Start it and wait for its line."""
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        self.process = subprocess.Popen(
            [str(program), "--listen", f"{host}:0", *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
        )  # fmt: skip
        assert self.process.stdout is not None
        watch = threading.Timer(SECONDS, self.process.kill)
        watch.start()
        line = self.process.stdout.readline().decode("utf-8", "replace")
        watch.cancel()
        self.name = line.removeprefix("listening on ").rstrip("\n")
        port = self.name.rpartition(":")[2]
        if line != f"listening on {self.name}\n" or not port.isdecimal() or port == "0":
            self.kill()
            raise WrongError("`listening on HOST:PORT`", f"{line!r}, {self.said()}")
        self.address = ("127.0.0.1", int(port))

    def __enter__(self) -> Self:
        """It is ready."""
        return self

    def __exit__(self, *_: object) -> None:
        """It never outlives its check."""
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def said(self) -> str:
        """Return what it wrote to standard error."""
        self.log.seek(0)
        return self.log.read(500).decode("utf-8", "replace").strip()

    def end(self, number: int, seconds: float = SECONDS) -> float:
        """Send a signal and wait for the end; how long that took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.ended(seconds)
        return time.monotonic() - began

    def ended(self, seconds: float) -> None:
        """Wait for an end with exit code 0, and nothing more on standard output."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise WrongError("an end", f"none {seconds:g} s after the signal") from None
        rest = self.process.stdout.read() if self.process.stdout else b""
        if code or rest:
            raise WrongError("exit code 0 and one line", f"{code}, {rest[:100]!r}, {self.said()}")

    def memory_bytes(self) -> int:
        """Return the most memory that it has used."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def metrics(self) -> dict[str, int]:
        """Return its counters by name."""
        with Client(self) as client:
            client.send(b"GET /metrics HTTP/1.0\r\n\r\n")
            head, _, body = client.rest().partition(b"\r\n\r\n")
        if b"200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n" % len(body) not in head:
            raise WrongError("metrics as text", f"{head!r}")
        lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in lines}


class Client:
    """One connection."""

    def __init__(self, server: Server) -> None:
        """Connect."""
        self.socket = connect(server.address)

    def __enter__(self) -> Self:
        """It is connected."""
        return self

    def __exit__(self, *_: object) -> None:
        """It never outlives its check."""
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self.socket.close()

    def reset(self) -> None:
        """Disconnect with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        """Send pieces, each in a packet of its own; who was refused meanwhile need not take the rest."""
        for number, piece in enumerate(pieces):
            try:
                self.socket.sendall(piece)
            except ConnectionError:
                return
            if number + 1 < len(pieces):
                time.sleep(0.0003)

    def send_beside(self, content: bytes) -> None:
        """Send while somebody else reads."""
        threading.Thread(target=self.send, args=(content,), daemon=True).start()

    def take(self, length: int) -> bytes:
        """Receive so many bytes, or what comes."""
        got = bytearray()
        while len(got) < length:
            try:
                more = self.socket.recv(min(1 << 20, length - len(got)))
            except TimeoutError:
                more = b""
            if not more:
                break
            got += more
        return bytes(got)

    def rest(self) -> bytes:
        """Receive up to the end of the connection.

        Raises:
            WrongError: it does not end.
        """
        got = bytearray()
        while True:
            try:
                more = self.socket.recv(1 << 20)
            except TimeoutError:
                raise WrongError("the end of the connection", f"none after {bytes(got[-80:])!r}") from None
            if not more:
                return bytes(got)
            got += more

    def ask(self, text: bytes) -> None:
        """Ask for a hash and compare the reply."""
        self.send(request(b"/hash/" + text))
        expected = reply_of("200 OK", text=text)
        expect(self.take(len(expected)), expected)
