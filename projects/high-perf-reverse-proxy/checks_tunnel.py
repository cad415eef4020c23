"""Upgrades: after 101 both connections are one tunnel of bytes. WebSocket by the `websockets` package on both ends."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import asynccontextmanager
from typing import Any

from checks_framing import payload, same_body
from proxy_arena import REGISTRY, Arena, Failed, Setup, equal, expect, get, timely
from proxy_backend import Backend, Exchange, Handler, response
from proxy_program import Program
from proxy_wire import SECONDS, Client, Wire
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

TUNNEL = Setup("tunnel", ("--idle-timeout", "2", "--read-timeout", "0.5"))
PATIENT = Setup("tunnel-patient")
"""What ends here ends because a side ended, not for a time-out."""
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: bytes\r\nConnection: Upgrade\r\nX-A: b\r\n\r\n"
UPGRADE = (b"Connection: Upgrade", b"Upgrade: bytes")
logging.getLogger("websockets").setLevel(logging.CRITICAL)


# --- WebSocket ---


@asynccontextmanager
async def websocket_arena(arena: Arena, *options: str) -> Any:
    """Start an echo server and the program before it; yield the address to connect to."""

    async def echo(connection: ServerConnection) -> None:
        try:
            async for message in connection:
                await connection.send(message)
                if message == "close, please":
                    await connection.close(4001, "as asked")
        except ConnectionClosed:
            pass

    place = Backend("ws")
    program = None
    try:
        async with serve(
            echo, place.host, place.port, max_size=None, compression=None, reuse_address=True, ping_interval=None
        ):
            words = ["--listen", "127.0.0.1:0", "--backends", place.address, *options]
            program = await Program.start(arena.around.program, words)
            yield f"ws://127.0.0.1:{program.address[1]}/chat?room=1"
    finally:
        if program:
            await program.kill()
        await place.stop()


@REGISTRY.check("websocket/echo", None)
async def websocket_echo(arena: Arena) -> None:
    """Texts and bytes of all sizes come back."""
    async with websocket_arena(arena) as address, connect(address, max_size=None, compression=None) as socket:
        rng = random.Random(5)
        for size in (0, 1, 125, 126, 65535, 65536, 300000, 3 << 20):
            data = rng.randbytes(size)
            await socket.send(data)
            expect(await socket.recv() == data, f"a message of {size} bytes came back otherwise")
        for text in ("", "hello", "\u65e5\u672c" * 1000):
            await socket.send(text)
            equal("text", text, await socket.recv())


@REGISTRY.check("websocket/both-ways-at-once", None)
async def websocket_duplex(arena: Arena) -> None:
    """500 messages are sent before the first is read."""
    async with websocket_arena(arena) as address, connect(address, max_size=None, max_queue=None) as socket:
        messages = [f"{number} " + "x" * (number * 7 % 3000) for number in range(500)]

        async def send() -> None:
            for message in messages:
                await socket.send(message)

        sending = asyncio.ensure_future(send())
        equal("messages", messages, [await socket.recv() for _ in messages])
        await sending


@REGISTRY.check("websocket/ping-and-close", None)
async def websocket_control(arena: Arena) -> None:
    """A ping gets its pong; a close by the server reaches the client with code and reason."""
    async with websocket_arena(arena) as address, connect(address) as socket:
        async with asyncio.timeout(SECONDS):
            await (await socket.ping(b"deadheat"))
        await socket.send("close, please")
        equal("echo", "close, please", await socket.recv())
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            equal("close", (4001, "as asked"), (closed.rcvd and closed.rcvd.code, closed.rcvd and closed.rcvd.reason))
        else:
            raise Failed("expected the server's close")


@REGISTRY.check("websocket/fifty-at-once", None)
async def websocket_many(arena: Arena) -> None:
    """50 tunnels beside each other, longer than --read-timeout, do not mix."""
    async with websocket_arena(arena, "--read-timeout", "1") as address:

        async def one(number: int) -> None:
            async with connect(address) as socket:
                for turn in range(5):
                    await socket.send(f"{number}/{turn}")
                    equal("echo", f"{number}/{turn}", await socket.recv())
                    await asyncio.sleep(0.3)

        await asyncio.gather(*(one(number) for number in range(50)))


@REGISTRY.check("websocket/headers", None)
async def websocket_headers(arena: Arena) -> None:
    """The handshake keeps its headers both ways: subprotocol, origin, Via of the response."""
    async with (
        websocket_arena(arena) as address,
        connect(address, origin="http://origin.test", user_agent_header="me") as socket,  # type: ignore[arg-type] - a NewType of str
    ):
        equal("Via", "1.1 deadheat", socket.response and socket.response.headers.get("Via"))
        equal("User-Agent", "me", socket.request and socket.request.headers["User-Agent"])


# --- raw tunnels ---


def tunnel(work: Handler) -> Handler:
    """Return a handler that switches protocols and then does something with the bare connection."""

    async def handler(exchange: Exchange) -> None:
        exchange.request.complete = True
        await exchange.send(SWITCH)
        await work(exchange)
        exchange.over = True

    return handler


async def opened(arena: Arena, work: Handler, *also: bytes) -> Client:
    """Return a client whose connection has become a tunnel to a handler."""
    client = await arena.client()
    await client.send(get(arena.target(tunnel(work)), *UPGRADE, *also))
    got = await client.response()
    equal("status", 101, got.status)
    return client


async def everything(wire: Wire) -> bytes:
    """Return all bytes up to a clean end."""
    data = await wire.until_end()
    equal("end of the connection", "eof", wire.end)
    return data


async def mirror(exchange: Exchange) -> None:
    """Send back whatever comes, until it ends."""
    while exchange.wire.buffer or await exchange.wire.fill():
        await exchange.send(exchange.wire.take(len(exchange.wire.buffer)))
    exchange.wire.half_close()


@REGISTRY.check("tunnel/handshake-headers", TUNNEL)
async def handshake(arena: Arena) -> None:
    """Both sides of the handshake say Upgrade; everything else about it is as in any exchange."""
    client = await arena.client()
    path = arena.target(tunnel(mirror))
    await client.send(get(path, b"X-B: c", b"Connection: keep-alive, Upgrade", b"Upgrade: bytes", b"X-D: e"))
    got = await client.response()
    equal("status line", b"HTTP/1.1 101 Switching Protocols", got.start)
    equal("Upgrade", b"bytes", got.get("upgrade"))
    expect(b"upgrade" in [word.lower() for word in got.listed("connection")], f"Connection: {got.all('connection')}")
    equal("X-A", b"b", got.get("x-a"))
    seen = arena.got(path)[0]
    equal("Upgrade at the backend", b"bytes", seen.get("upgrade"))
    words = [word.lower() for word in seen.listed("connection")]
    expect(b"upgrade" in words, f"Connection at the backend: {words}")
    equal("other headers", (b"c", b"e"), (seen.get("x-b"), seen.get("x-d")))
    equal("Via at the backend", [b"1.1 deadheat"], seen.all("via"))


@REGISTRY.check("tunnel/any-bytes", TUNNEL)
async def any_bytes(arena: Arena) -> None:
    """2 MB of noise, and things that look like HTTP, come back as they went."""
    data = payload(2 << 20) + b"0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n" + bytes(range(256))
    client = await opened(arena, mirror)
    sending = asyncio.ensure_future(client.send(data))
    while len(client.buffer) < len(data) and await client.fill():
        pass
    await sending
    expect(client.buffer == data, f"{len(data)} bytes sent, {len(client.buffer)} others came back")


@REGISTRY.check("tunnel/client-half-closes", PATIENT)
async def client_half_close(arena: Arena) -> None:
    """When the client ends its direction the backend sees that end, and what it then says still arrives."""
    heard = asyncio.Event()

    async def work(exchange: Exchange) -> None:
        heard_bytes = await everything(exchange.wire)
        heard.set()
        for word in (b"heard ", heard_bytes, b", bye"):
            await asyncio.sleep(0.05)
            await exchange.send(word)
        exchange.close()

    client = await opened(arena, work)
    await client.send(b"question")
    client.half_close()
    equal("answer", b"heard question, bye", await everything(client))
    expect(heard.is_set(), "the backend did not see the end")


@REGISTRY.check("tunnel/backend-half-closes", PATIENT)
async def backend_half_close(arena: Arena) -> None:
    """And the other way round."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def work(exchange: Exchange) -> None:
        await exchange.send(b"over to you")
        exchange.wire.half_close()
        heard.put_nowait(await exchange.wire.until_end())
        exchange.close()

    client = await opened(arena, work)
    equal("first", b"over to you", await everything(client))
    await client.send(b"thank ")
    await asyncio.sleep(0.1)
    await client.send(b"you")
    client.half_close()
    async with asyncio.timeout(SECONDS):
        equal("at the backend", b"thank you", await heard.get())


@REGISTRY.check("tunnel/bytes-in-the-packet-of-101", TUNNEL)
async def bytes_with_101(arena: Arena) -> None:
    """What the backend sends right behind its 101 is the client's first data."""

    async def handler(exchange: Exchange) -> None:
        exchange.request.complete = True
        await exchange.send(SWITCH + b"at once")
        exchange.close()

    client = await arena.client()
    await client.send(get(arena.target(handler), *UPGRADE))
    equal("status", 101, (await client.response()).status)
    equal("data", b"at once", await everything(client))


@REGISTRY.check("tunnel/bytes-in-the-packet-of-the-request", TUNNEL)
async def bytes_with_request(arena: Arena) -> None:
    """What a client sends before it has seen the 101 is not lost."""
    client = await arena.client()
    await client.send(get(arena.target(tunnel(mirror)), *UPGRADE) + b"early")
    equal("status", 101, (await client.response()).status)
    await client.send(b" and late")
    client.half_close()
    equal("data", b"early and late", await everything(client))


@REGISTRY.check("tunnel/client-resets", PATIENT)
async def client_resets(arena: Arena) -> None:
    """When the client is gone the backend's side ends."""
    gone = asyncio.Event()

    async def work(exchange: Exchange) -> None:
        await exchange.wire.until_end()
        gone.set()

    (await opened(arena, work)).reset()
    async with asyncio.timeout(SECONDS):
        await gone.wait()


@REGISTRY.check("tunnel/backend-resets", PATIENT)
async def backend_resets(arena: Arena) -> None:
    """When the backend is gone the client's side ends."""

    async def work(exchange: Exchange) -> None:
        await exchange.wire.fill()
        exchange.reset()

    client = await opened(arena, work)
    await client.send(b"x")
    await client.until_end()


@REGISTRY.check("tunnel/idle-timeout", TUNNEL)
async def idle_tunnel(arena: Arena) -> None:
    """A tunnel without traffic ends after --idle-timeout, on both sides."""
    gone = asyncio.Event()

    async def work(exchange: Exchange) -> None:
        await exchange.wire.until_end(6)
        gone.set()

    client = await opened(arena, work)
    began = time.monotonic()
    await client.until_end()
    took = time.monotonic() - began
    timely(1.7 <= took <= 10, f"expected about 2 s, took {took:.2f} s")
    async with asyncio.timeout(SECONDS):
        await gone.wait()


@REGISTRY.check("tunnel/traffic-renews-idle-timeout", TUNNEL)
async def busy_tunnel(arena: Arena) -> None:
    """Traffic in one direction keeps a tunnel beyond --idle-timeout and --read-timeout."""

    async def work(exchange: Exchange) -> None:
        for number in range(7):
            await exchange.send(b"%d" % number)
            await asyncio.sleep(0.35)
        exchange.close()

    client = await opened(arena, work)
    equal("data", b"0123456", await everything(client))


@REGISTRY.check("tunnel/silence-beyond-read-timeout", TUNNEL)
async def quiet_tunnel(arena: Arena) -> None:
    """A pause longer than --read-timeout, shorter than --idle-timeout, is nothing."""
    client = await opened(arena, mirror)
    for word in (b"one", b"two"):
        await client.send(word)
        async with asyncio.timeout(SECONDS):
            while word not in client.buffer:
                expect(await client.fill(), "the tunnel ended")
        await asyncio.sleep(0.8)


@REGISTRY.check("tunnel/refused-by-backend", TUNNEL)
async def refused(arena: Arena) -> None:
    """A backend that does not switch answers as ever, and the connection goes on as HTTP."""
    path, plain = arena.target(response(b"no", status=b"426 Upgrade Required")), arena.target(response(b"x"))
    with await arena.client() as client:
        got = await client.ask(get(path, *UPGRADE))
        equal("status", 426, got.status)
        same_body(b"no", got)
        if not got.closes:
            same_body(b"x", await client.ask(get(plain)))


@REGISTRY.check("tunnel/ignored-by-backend", TUNNEL)
async def ignored(arena: Arena) -> None:
    """A backend that ignores the wish and answers 200 is no tunnel: a request behind it is read as one."""
    first, second = arena.target(response(b"one")), arena.target(response(b"two"))
    with await arena.client() as client:
        await client.send(get(first, *UPGRADE) + get(second))
        got = await client.response()
        same_body(b"one", got)
        if got.closes:
            await client.nothing_more()
        else:
            same_body(b"two", await client.response())


@REGISTRY.check("tunnel/connection-not-pooled-afterwards", TUNNEL)
async def not_pooled(arena: Arena) -> None:
    """A connection that was a tunnel never carries a request again."""

    async def work(exchange: Exchange) -> None:
        await exchange.wire.until_end()

    client = await opened(arena, work)
    client.close()
    plain = arena.target(response(b"x"))
    for _ in range(5):
        same_body(b"x", await arena.get(plain))
