"""A backend that keeps what it received and answers as it is told, byte for byte.

A handler is chosen by the path of the request and runs as soon as the head is there, so it can answer before the body
has come, never read it, or die. What is not chosen is echoed: the body of the answer is the request as it came. Every
byte a proxy sends is read by the strict reader of proxy_wire; what that refuses is in `violations`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterable

from proxy_wire import REQUEST_LINE, SECONDS, Request, Truncated, Wire, WireError, body_framing, short

BACKLOG = 4096
POLL_SECONDS = 0.005


class Exchange:
    """One request at the backend, and the connection to answer it on."""

    def __init__(self, wire: Wire, request: Request) -> None:
        """Keep both."""
        self.wire = wire
        self.request = request
        self.over = False
        """Set by a handler after which the connection must not be used again."""

    async def body(self, *, keep: bool = True) -> bytes:
        """Read the body to its end."""
        if not self.request.complete:
            await self.wire.read_body(self.request, keep=keep)
        return bytes(self.request.body)

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send raw bytes."""
        await self.wire.send(data)

    async def reply(self, body: bytes = b"", *headers: bytes, status: bytes = b"200 OK") -> None:
        """Read the body, then send an ordinary response."""
        await self.body()
        await self.send(response(body, *headers, status=status))

    def close(self) -> None:
        """End the connection in an orderly way."""
        self.over = True
        self.wire.close()

    def reset(self) -> None:
        """End the connection by a reset."""
        self.over = True
        self.wire.reset()


Handler = Callable[[Exchange], Awaitable[None]]


def response(body: bytes = b"", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a response with a length."""
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(pieces: Iterable[bytes], trailers: bytes = b"") -> bytes:
    """Return a body in these chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def chunked_response(pieces: Iterable[bytes], trailers: bytes = b"", *headers: bytes) -> bytes:
    """Return a chunked response."""
    lines = [b"HTTP/1.1 200 OK", *headers, b"Transfer-Encoding: chunked"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + chunked(pieces, trailers)


def raw(data: bytes, then: str = "keep") -> Handler:
    """Return a handler that reads the request, sends these bytes, and then keeps, closes or resets the connection."""

    async def handler(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.send(data)
        if then == "close":
            exchange.close()
        elif then == "reset":
            await asyncio.sleep(0.1)  # a reset overtakes what the other side has not read yet
            exchange.reset()
        elif then == "half-close":
            exchange.wire.half_close()
            await exchange.wire.until_end(60)
            exchange.over = True

    return handler


def pieces(*parts: tuple[bytes, float]) -> Handler:
    """Return a handler that reads the request and sends parts, each after a pause in seconds."""

    async def handler(exchange: Exchange) -> None:
        await exchange.body()
        for data, pause in parts:
            await asyncio.sleep(pause)
            await exchange.send(data)

    return handler


async def echo(exchange: Exchange) -> None:
    """Answer with the request as it came: its raw bytes."""
    await exchange.body()
    if exchange.request.method == b"HEAD":
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(exchange.request.raw))
        return
    await exchange.send(response(bytes(exchange.request.raw)))


class Backend:
    """A listening server on one loopback port that stays ours while it is down."""

    def __init__(self, name: str, host: str = "127.0.0.1") -> None:
        """Take a free port; listen later."""
        self.name = name
        self.holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.holder.bind((host, 0))
        self.host, self.port = self.holder.getsockname()[:2]
        self.listener: socket.socket | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.wires: dict[Wire, int] = {}
        self.handlers: dict[bytes, Handler] = {}
        self.default: Handler = echo
        self.requests: list[Request] = []
        self.connections = 0
        self.violations: list[str] = []
        self.by_target: dict[bytes, list[Request]] = {}
        self.on_open: Handler | None = None
        """Runs for a connection before anything is read from it."""

    @property
    def address(self) -> str:
        """HOST:PORT, as the proxy is told."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections a proxy holds open."""
        return len(self.wires)

    def up(self) -> None:
        """Listen."""
        if self.listener:
            return
        self.listener = socket.socket(self.holder.family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.host, self.port))
        self.listener.listen(BACKLOG)
        self.listener.setblocking(False)
        self._spawn(self._accept(self.listener))

    def down(self) -> None:
        """Refuse connections and end those that are open; the port stays taken."""
        if self.listener:
            asyncio.get_running_loop().remove_reader(self.listener)
            self.listener.close()
            self.listener = None
        self.drop()

    def drop(self, *, reset: bool = False) -> None:
        """End all open connections."""
        for wire in list(self.wires):
            wire.reset() if reset else wire.close()
        for task in list(self.tasks):
            if task.get_name() == "serve":
                task.cancel()
        self.wires.clear()

    async def stop(self) -> None:
        """End everything."""
        self.down()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.holder.close()

    def _spawn(self, work: Awaitable[None], name: str = "accept") -> None:
        task = asyncio.ensure_future(work)
        task.set_name(name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while self.listener is listener:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError:
                return
            wire = Wire(sock)
            self.wires[wire] = self.connections
            self.connections += 1
            self._spawn(self._serve(wire), "serve")

    async def _serve(self, wire: Wire) -> None:
        number = self.wires[wire]
        try:
            if self.on_open:
                await self.on_open(Exchange(wire, Request(backend=self.name, connection=number)))
            place = 0
            while not wire.closed and await self._one(wire, number, place):
                place += 1
        except WireError as error:
            self.violations.append(f"connection {number}: {error}")
        except (Truncated, OSError, TimeoutError):
            pass
        except asyncio.CancelledError:
            # Only drop() and stop() cancel; the connection is gone with it.
            pass
        finally:
            wire.close()
            self.wires.pop(wire, None)

    async def _one(self, wire: Wire, number: int, place: int) -> bool:
        request = Request(backend=self.name, connection=number, place=place)
        if not await wire.head(request):
            return False
        match = REQUEST_LINE.fullmatch(request.start)
        if match is None:
            raise WireError(f"bad request line {short(request.start)}")
        request.method, request.target = match[1], match[2]
        request.framing, _ = body_framing(request)
        self.requests.append(request)
        self.by_target.setdefault(request.target, []).append(request)
        exchange = Exchange(wire, request)
        handler = self.handlers.get(request.target.partition(b"?")[0], self.default)
        await handler(exchange)
        if not exchange.over and not request.complete:
            await exchange.body(keep=False)
        return not exchange.over

    # --- what checks ask ---

    def got(self, target: bytes) -> list[Request]:
        """Return the requests for a target."""
        return self.by_target.get(target, [])

    async def wait_for(self, target: bytes, *, whole: bool = True, seconds: float = SECONDS) -> Request:
        """Return the first request for a target, once it (or only its head) has come."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := self.got(target)) or (whole and not found[0].complete):  # noqa: ASYNC110 - polled by few checks
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            what = "only a part of the request" if self.got(target) else "no request"
            raise TimeoutError(f"the backend got {what} for {target.decode()} within {seconds:g} s") from None
        return found[0]

    async def closed_down_to(self, number: int, seconds: float = SECONDS) -> None:
        """Wait until no more connections than these are open; whoever asks looks how many there are."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.open_connections > number:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(POLL_SECONDS)


class Hole:
    """A port whose accept queue is full, so that a connection to it neither opens nor fails."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        """Listen with the shortest queue."""
        self.listener = socket.socket()
        self.listener.bind((host, 0))
        self.listener.listen(0)
        self.host, self.port = self.listener.getsockname()
        self.fillers: list[socket.socket] = []

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    async def fill(self) -> None:
        """Fill the queue with connections of our own."""
        loop = asyncio.get_running_loop()
        for _ in range(16):
            sock = socket.socket()
            sock.setblocking(False)
            self.fillers.append(sock)
            try:
                async with asyncio.timeout(0.05):
                    await loop.sock_connect(sock, (self.host, self.port))
            except TimeoutError:
                return

    def close(self) -> None:
        """Close everything."""
        for sock in [*self.fillers, self.listener]:
            with contextlib.suppress(OSError):
                sock.close()
