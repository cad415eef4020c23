"""A raw RESP2 client: it keeps every reply as the bytes that came, so that two servers can be held byte to byte.

Nothing of a Redis client library is used here: a library hides what the oracle must see (the kind of a reply, a
closed connection, bytes behind the last reply).
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

READ_BYTES = 1 << 18
SHOWN_BYTES = 160
UNIX = "unix:"

Command = tuple[bytes, ...]


class WireError(Exception):
    """The server closed the connection, was silent for too long or sent something that is no RESP2."""


class SilentError(WireError):
    """The server did not answer in time."""


class Status(bytes):
    """A simple string."""

    __slots__ = ()


class Failure(bytes):
    """An error reply, without its dash."""

    __slots__ = ()


# --- bytes -----------------------------------------------------------------------------------------------------------


def to_bytes(value: object) -> bytes:
    """Return an argument of a command as bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


def command(*args: object) -> Command:
    """Return a command with every argument as bytes."""
    return tuple(to_bytes(arg) for arg in args)


def encode(args: Iterable[bytes]) -> bytes:
    """Write one command as a multibulk."""
    parts = [b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def encode_all(commands: Iterable[Command]) -> bytes:
    """Write commands as one pipeline."""
    return b"".join([encode(args) for args in commands])


def reply_end(buffer: bytes | bytearray, start: int) -> int:
    """Return where the reply at `start` ends, or -1 when it is not complete."""
    position, missing = start, 1
    while missing:
        line_end = buffer.find(b"\r\n", position)
        if line_end < 0:
            return -1
        kind = buffer[position : position + 1]
        missing -= 1
        following = line_end + 2
        if kind == b"$":
            length = number(buffer, position, line_end)
            if length >= 0:
                following += length + 2
                if len(buffer) < following:
                    return -1
                if buffer[following - 2 : following] != b"\r\n":
                    raise WireError(f"bulk without its line end in {shown(bytes(buffer[position:following]))}")
        elif kind == b"*":
            missing += max(number(buffer, position, line_end), 0)
        elif kind == b":":
            number(buffer, position, line_end)
        elif kind not in (b"+", b"-"):
            raise WireError(f"not a RESP2 reply: {shown(bytes(buffer[position : position + SHOWN_BYTES]))}")
        position = following
    return position


def number(buffer: bytes | bytearray, start: int, end: int) -> int:
    """Return the number behind a type byte."""
    try:
        return int(buffer[start + 1 : end])
    except ValueError:
        raise WireError(f"not a number: {shown(bytes(buffer[start:end]))}") from None


def decode(raw: bytes) -> Any:
    """Return the value of a whole reply."""
    value, end = decode_at(raw, 0)
    if end != len(raw):
        raise WireError(f"bytes behind a reply: {shown(raw)}")
    return value


def decode_at(raw: bytes, start: int) -> tuple[Any, int]:
    """Return the value at a position and where it ends."""
    line_end = raw.index(b"\r\n", start)
    kind, text = raw[start : start + 1], raw[start + 1 : line_end]
    position = line_end + 2
    if kind == b"+":
        return Status(text), position
    if kind == b"-":
        return Failure(text), position
    if kind == b":":
        return int(text), position
    length = int(text)
    if length < 0:
        return None, position
    if kind == b"$":
        return raw[position : position + length], position + length + 2
    values = []
    for _ in range(length):
        value, position = decode_at(raw, position)
        values.append(value)
    return values, position


def shown(raw: bytes) -> str:
    """Return bytes for a failure text: one line, cut in the middle when long."""
    if len(raw) <= SHOWN_BYTES:
        return repr(raw)[1:]
    half = SHOWN_BYTES // 2
    return f"{repr(raw[:half])[1:]}...{repr(raw[-half:])[1:]} ({len(raw)} bytes)"


def shown_command(args: Sequence[bytes]) -> str:
    """Return a command for a failure text."""
    return " ".join(word(arg) for arg in args)


def word(arg: bytes) -> str:
    """Return one argument, quoted only where it must be."""
    if len(arg) > SHOWN_BYTES // 2:
        return f"<{len(arg)} bytes>"
    text = repr(arg)[2:-1]
    return text if text and not set(text) & set(" '\"\\") else f"'{text}'"


# --- the connection --------------------------------------------------------------------------------------------------


def connect(address: str, timeout: float) -> socket.socket:
    """Open a socket to `host:port` or `unix:path`."""
    if address.startswith(UNIX):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(address.removeprefix(UNIX))
        return sock
    host, port = address.rsplit(":", 1)
    sock = socket.create_connection((host.strip("[]"), int(port)), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Client:
    """One connection."""

    timeout_seconds = 5.0
    """How long any client waits for a reply; the oracle lowers it once a lane has been silent too often."""

    def __init__(self, address: str) -> None:
        """Connect."""
        self.address = address
        self.sock = connect(address, self.timeout_seconds)
        self.buffer = bytearray()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def ask(self, *args: object) -> Any:
        """Send one command and return the value of its reply."""
        return decode(self.raw(*args))

    def raw(self, *args: object) -> bytes:
        """Send one command and return its reply as bytes."""
        return self.exchange(encode(command(*args)), 1)[0]

    def pipeline(self, commands: Sequence[Command]) -> list[bytes]:
        """Send commands at once and return their replies as bytes."""
        return self.exchange(encode_all(commands), len(commands))

    def values(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands at once and return the values of their replies."""
        return [decode(raw) for raw in self.pipeline(commands)]

    def send(self, data: bytes) -> None:
        """Send bytes."""
        try:
            self.sock.settimeout(self.timeout_seconds)
            self.sock.sendall(data)
        except TimeoutError:
            raise SilentError(f"{self.address} took no bytes for {self.timeout_seconds} s") from None
        except OSError as error:
            raise WireError(f"sending to {self.address}: {error}") from error

    def send_lenient(self, data: bytes) -> None:
        """Send bytes that the server may refuse half-way by closing."""
        try:
            self.sock.settimeout(self.timeout_seconds)
            self.sock.sendall(data)
        except OSError:
            return

    def exchange(self, data: bytes, replies: int) -> list[bytes]:
        """Send bytes while reading, so that neither side waits for the other; return that many replies."""
        found: list[bytes] = []
        position = sent = 0
        view = memoryview(data)
        deadline = time.monotonic() + self.timeout_seconds
        self.sock.setblocking(False)
        while len(found) < replies or sent < len(data):
            end = reply_end(self.buffer, position) if len(found) < replies else -1
            if end >= 0:
                found.append(bytes(self.buffer[position:end]))
                position = end
                continue
            del self.buffer[:position]
            position = 0
            wanting = [self.sock] if sent < len(data) else []
            readable, writable, _ = select.select([self.sock], wanting, [], max(0.0, deadline - time.monotonic()))
            if not readable and not writable:
                raise SilentError(f"no answer within {self.timeout_seconds} s, {len(found)} of {replies} replies came")
            deadline = time.monotonic() + self.timeout_seconds
            if writable:
                sent += self.write_some(view[sent : sent + READ_BYTES])
            if readable:
                self.read_some(len(found), replies)
        del self.buffer[:position]
        return found

    def write_some(self, data: memoryview) -> int:
        """Send what the socket takes now."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise WireError(f"the server closed the connection while being asked ({error.strerror})") from error

    def read_some(self, found: int, replies: int) -> None:
        """Read what has come."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise WireError(f"connection lost after {found} of {replies} replies ({error.strerror})") from error
        if not data:
            rest = f", then {shown(bytes(self.buffer))}" if self.buffer else ""
            raise WireError(f"connection closed after {found} of {replies} replies{rest}")
        self.buffer += data

    def reply(self) -> bytes:
        """Wait for one reply."""
        return self.exchange(b"", 1)[0]

    def until_closed(self, seconds: float) -> tuple[bytes, bool]:
        """Read until the server closes or the time is over; return what came and whether it closed."""
        data, self.buffer = bytearray(self.buffer), bytearray()
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                part = self.sock.recv(READ_BYTES)
            except TimeoutError:
                break
            except OSError:
                return bytes(data), True
            if not part:
                return bytes(data), True
            data += part
        return bytes(data), False

    def at_least(self, count: int) -> bytes:
        """Read until so many bytes came or the server closed or was silent; return all that came."""
        data, self.buffer = bytearray(self.buffer), bytearray()
        deadline = time.monotonic() + self.timeout_seconds
        while len(data) < count and (left := deadline - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                part = self.sock.recv(READ_BYTES)
            except OSError:
                break
            if not part:
                break
            data += part
        return bytes(data)
