"""Clients: a raw one that can send what a decent client cannot, and the library `websockets` as a second opinion.

The raw client reads only when it is asked to, so a client that does not read is one that is not asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import chat_wire as wire
from chat_wire import CLOSE, PING, PONG, TEXT, Frame, Response, WireError

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

PATIENCE_SECONDS = 8.0
CHUNK_BYTES = 1 << 16


class Ended(Exception):  # noqa: N818 - it is no error where the end of a connection is what a check waits for
    """The connection has ended."""


class Raw:
    """A TCP connection to the server."""

    def __init__(self, sock: socket.socket) -> None:
        """Use a connected socket."""
        self.sock = sock
        self.data = bytearray()
        self.loop = asyncio.get_running_loop()
        self.answer_pings = True

    @classmethod
    async def connect(cls, port: int, receive_buffer: int | None = None) -> Raw:
        """Connect to a server on loopback."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    def close(self) -> None:
        """End the connection without a word.

        A task may still wait for the socket: the loop must forget that first, since the number of the descriptor will
        soon be another socket's.
        """
        number = self.sock.fileno()
        if number >= 0:
            self.loop.remove_reader(number)
            self.loop.remove_writer(number)
        self.sock.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.close()

    async def send(self, data: bytes, seconds: float = PATIENCE_SECONDS) -> None:
        """Send bytes.

        Raises:
            WireError: the server does not take them.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.loop.sock_sendall(self.sock, data)
        except TimeoutError:
            raise WireError(f"expected {len(data)} bytes to be taken within {seconds:g} s") from None
        except OSError as problem:
            raise Ended(f"the connection ended while sending: {problem.strerror}") from None

    async def try_send(self, data: bytes) -> None:
        """Send bytes to a server that may have gone."""
        with contextlib.suppress(Ended, WireError):
            await self.send(data)

    async def send_slowly(self, data: bytes, step: int = 1, pause: float = 0.001) -> None:
        """Send bytes in pieces."""
        for at in range(0, len(data), step):
            await self.send(data[at : at + step])
            await asyncio.sleep(pause)

    async def more(self, seconds: float, what: str = "data") -> None:
        """Read once.

        Raises:
            WireError: nothing came in time.
            Ended: the connection has ended.
        """
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                data = await self.loop.sock_recv(self.sock, CHUNK_BYTES)
        except TimeoutError:
            raise WireError(f"expected {what}, got nothing within {seconds:.1f} s") from None
        except OSError as problem:
            raise Ended(f"expected {what}, got {problem.strerror}") from None
        if not data:
            raise Ended(f"expected {what}, got the end of the connection")
        self.data += data

    # --- HTTP ---

    async def response(self, seconds: float = PATIENCE_SECONDS, *, bodiless: bool = False) -> Response:
        """Read an answer with its body."""
        deadline = time.monotonic() + seconds
        while (end := self.data.find(b"\r\n\r\n")) < 0:
            await self.more(deadline - time.monotonic(), "an answer over HTTP")
        answer = wire.parse_head(bytes(self.data[:end]))
        del self.data[: end + 4]
        if answer.status == 101 or bodiless:
            return answer
        length = answer.headers.get("content-length", "")
        if not length.isdigit():
            raise WireError(f"expected a Content-Length on status {answer.status}, got {length!r}")
        while len(self.data) < int(length):
            await self.more(deadline - time.monotonic(), f"a body of {length} bytes")
        body = bytes(self.data[: int(length)])
        del self.data[: int(length)]
        return Response(answer.status, answer.headers, body, answer.reason)

    # --- frames ---

    async def frame(self, seconds: float = PATIENCE_SECONDS, what: str = "a frame") -> Frame:
        """Read a frame, whatever it is."""
        deadline = time.monotonic() + seconds
        while not (found := wire.parse_frame(self.data)):
            await self.more(deadline - time.monotonic(), what)
        del self.data[: found[1]]
        return found[0]

    async def next(self, seconds: float = PATIENCE_SECONDS, what: str = "a frame") -> Frame:
        """Read a frame that is no ping; pings are answered."""
        deadline = time.monotonic() + seconds
        while True:
            got = await self.frame(deadline - time.monotonic(), what)
            if got.opcode != PING:
                return got
            if self.answer_pings:
                await self.try_send(wire.frame(PONG, got.payload))

    async def text(self, seconds: float = PATIENCE_SECONDS, what: str = "a message") -> str:
        """Read a message."""
        return (await self.next(seconds, what)).text

    async def until_pong(self, payload: bytes, seconds: float = PATIENCE_SECONDS) -> list[str]:
        """Read up to a pong; return the messages before it."""
        deadline = time.monotonic() + seconds
        before: list[str] = []
        while True:
            got = await self.next(deadline - time.monotonic(), f"a pong of {payload!r}")
            if got.opcode == PONG and got.payload == payload:
                return before
            before.append(got.text)

    async def say(self, text: str | bytes) -> None:
        """Send a message."""
        await self.send(wire.frame(TEXT, text))

    async def close_code(self, seconds: float = PATIENCE_SECONDS) -> tuple[int, str]:
        """Read up to the close frame; return its code and reason."""
        deadline = time.monotonic() + seconds
        while True:
            got = await self.next(deadline - time.monotonic(), "a close frame")
            if got.opcode == CLOSE:
                return got.closing

    async def end(self, seconds: float = PATIENCE_SECONDS) -> bytes:
        """Read up to the end of the connection; return what still came.

        Raises:
            WireError: the connection does not end.
        """
        deadline = time.monotonic() + seconds
        with contextlib.suppress(Ended):
            while True:
                await self.more(deadline - time.monotonic(), "the end of the connection")
        return bytes(self.data)


async def upgraded(port: int, path: str = "/chat", early: bytes = b"", receive_buffer: int | None = None) -> Raw:
    """Connect and shake hands; `early` goes out in the same segment.

    Raises:
        WireError: the handshake was refused.
    """
    raw = await Raw.connect(port, receive_buffer)
    try:
        await raw.send(wire.upgrade_head(path) + early)
        answer = await raw.response()
        if answer.status != 101:
            raise WireError(f"expected status 101 from {path}, got {answer.status}")  # noqa: TRY301 - the socket is closed below
    except BaseException:
        raw.close()
        raise
    return raw


class Member:
    """A client in a room: everything it got, by kind, in order."""

    def __init__(self, raw: Raw, room: str, nick: str) -> None:
        """Wrap a connection."""
        self.raw = raw
        self.room = room
        self.nick = nick
        self.members = 0
        self.texts: list[str] = []
        self.times: list[float] = []

    async def take(self, seconds: float = PATIENCE_SECONDS, what: str = "a message") -> str:
        """Read a message and keep it.

        Raises:
            Ended: a close frame came.
        """
        got = await self.raw.next(seconds, what)
        if got.opcode == CLOSE:
            raise Ended(f"expected {what}, got {got}")
        self.texts.append(got.text)
        self.times.append(time.monotonic())
        return got.text

    async def until(self, wanted: Callable[[str], bool], what: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Read up to the message that is wanted."""
        deadline = time.monotonic() + seconds
        while True:
            text = await self.take(deadline - time.monotonic(), what)
            if wanted(text):
                return text

    async def of_kind(self, *kinds: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Read up to a message of a kind; what is passed over is kept too."""
        what = f"a message of type {'/'.join(kinds)}"
        return await self.until(lambda text: wire.kind_of(text) in kinds, what, seconds)

    async def quiet(self, seconds: float = 0.25) -> list[str]:
        """Read for a while; return what came, presence left out."""
        deadline = time.monotonic() + seconds
        got = []
        while (rest := deadline - time.monotonic()) > 0:
            try:
                text = await self.take(rest)
            except (WireError, Ended):
                break
            if wire.kind_of(text) != "presence":
                got.append(text)
        return got

    async def say(self, number: int, text: str) -> None:
        """Send a chat message."""
        await self.raw.say(wire.chat(number, text))

    def of(self, kind: str) -> list[str]:
        """Return the messages of a kind so far."""
        return [text for text in self.texts if wire.kind_of(text) == kind]


@contextlib.asynccontextmanager
async def library(port: int, path: str = "/chat") -> AsyncIterator[ClientConnection]:
    """Connect with the package `websockets`, which checks the handshake and every frame itself."""
    from websockets.asyncio.client import connect  # noqa: PLC0415 - so that --list works where it is not installed

    address = f"ws://127.0.0.1:{port}{path}"
    async with connect(address, ping_interval=None, max_size=1 << 25, close_timeout=3, proxy=None) as connection:
        yield connection
