"""Streaming: bytes pass when they come, in bounded memory, and a slow side slows the other one down."""

from __future__ import annotations

import asyncio
import functools
import time
import zlib

from checks_framing import payload, same_body
from proxy_arena import REGISTRY, Arena, Setup, equal, expect, get, post, post_chunked
from proxy_backend import Exchange, response
from proxy_wire import Client, Message, Wire

LIVE = Setup("live")
BULK = Setup("bulk", heavy=True)
STALL = Setup("stall", ("--read-timeout", "20"), heavy=True)
IDLE = Setup("idle", ("--header-timeout", "60"), heavy=True)
MEMORY_BYTES = 64 << 20
STREAM_BYTES = 96 << 20
"""More than the bound on memory, so that a program that keeps a body is seen."""
OFFERED_BYTES = 400 << 20
STALLED_BYTES = 64 << 20
"""What may be under way beside the proxy's own buffers: four socket buffers, which the kernel grows to some MB each."""
LEFT_FILES = 64
"""Pooled connections to a backend may stay."""
REST_SHARE = 0.2
"""Of a core: more is a loop that never waits, not a timer."""
BLOCK = payload(1 << 20, 3)
LIVE_SECONDS = 10.0
"""How long to wait for what must come although its message has only begun."""


def memory_bounded(arena: Arena, what: str) -> None:
    """Fail where the program's peak memory is over the bound."""
    peak = arena.program.memory_bytes()
    expect(peak <= MEMORY_BYTES, f"{what}: peak memory {peak >> 20} MiB, expected at most {MEMORY_BYTES >> 20} MiB")


# --- while it is under way ---

LIVE_HEADS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "until-close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
}


async def response_live(kind: str, arena: Arena) -> None:
    """Of a response of 1 GB that has only begun, what has come is at the client."""
    go_on = asyncio.Event()

    def piece(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data) if kind == "chunked" else data

    async def slow(exchange: Exchange) -> None:
        await exchange.send(LIVE_HEADS[kind] + piece(b"first"))
        await go_on.wait()
        await exchange.send(piece(b"second"))
        await exchange.wire.until_end(10)
        exchange.over = True

    with await arena.client() as client:
        await client.send(get(arena.target(slow)))
        await client.response_head(seconds=LIVE_SECONDS)
        await _until(client, b"first")
        go_on.set()
        await _until(client, b"second")


async def _until(wire: Wire, word: bytes) -> None:
    async with asyncio.timeout(LIVE_SECONDS):
        while word not in wire.buffer:
            expect(await wire.fill(), f"the connection ended before {word.decode()} came")


for _kind in LIVE_HEADS:
    REGISTRY.add(f"streaming/response-{_kind}-is-live", functools.partial(response_live, _kind), LIVE)


@REGISTRY.check("streaming/response-head-is-live", LIVE)
async def head_live(arena: Arena) -> None:
    """A head without a byte of its body is passed on."""
    go_on = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await go_on.wait()
        await exchange.send(b"hello")

    with await arena.client() as client:
        await client.send(get(arena.target(slow)))
        head = await client.response_head(seconds=LIVE_SECONDS)
        equal("status", 200, head.status)
        go_on.set()
        await _until(client, b"hello")


async def request_live(kind: str, arena: Arena) -> None:
    """Of an upload that has only begun, what has come is at the backend."""
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def reader(exchange: Exchange) -> None:
        for word in (b"first", b"second"):
            await _until(exchange.wire, word)
            seen.put_nowait(word)
        await exchange.send(response(b"done", b"Connection: close"))
        exchange.close()

    path = arena.target(reader)
    request = post(path, b"") if kind == "length" else post_chunked(path, b"")
    with await arena.client() as client:
        await client.send(request.replace(b"Content-Length: 0", b"Content-Length: 1000000"))
        for word in (b"first", b"second"):
            await client.send(b"%x\r\n%s\r\n" % (len(word), word) if kind == "chunked" else word)
            async with asyncio.timeout(LIVE_SECONDS):
                equal("at the backend", word, await seen.get())


for _kind in ("length", "chunked"):
    REGISTRY.add(f"streaming/request-{_kind}-is-live", functools.partial(request_live, _kind), LIVE)


@REGISTRY.check("streaming/server-sent-events", LIVE)
async def events(arena: Arena) -> None:
    """50 small chunks: each comes although the next one is sent only when it has come."""
    came: asyncio.Queue[None] = asyncio.Queue()

    async def tick(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(50):
            data = b"data: %02d\n\n" % number
            await exchange.send(b"%x\r\n%s\r\n" % (len(data), data))
            await came.get()
        await exchange.send(b"0\r\n\r\n")

    with await arena.client() as client:
        await client.send(get(arena.target(tick)))
        head = await client.response_head()
        for number in range(50):
            await _until(client, b"data: %02d\n\n" % number)
            came.put_nowait(None)
        head.framing = "chunked"
        await client.read_body(head)
    equal("length", 50 * 10, head.size)


# --- volume ---


async def send_blocks(wire: Wire, size: int, kind: str) -> None:
    """Send a body of so many bytes, a block at a time."""
    head, tail = (b"%x\r\n" % len(BLOCK), b"\r\n") if kind == "chunked" else (b"", b"")
    for _ in range(size // len(BLOCK)):
        if head:
            await wire.send(head)
        await wire.send(BLOCK)
        if tail:
            await wire.send(tail)
    if kind == "chunked":
        await wire.send(b"0\r\n\r\n")


async def read_sum(wire: Wire, message: Message, size: int) -> int:
    """Read a body without keeping it; return its checksum."""
    total = 0
    left = size if message.framing == "length" else -1
    if left < 0:
        await wire.read_body(message, keep=False)
        return 0
    while left and (wire.buffer or await wire.fill()):
        piece = wire.take(min(left, len(wire.buffer)))
        total = zlib.crc32(piece, total)
        left -= len(piece)
        message.size += len(piece)
    return total


def block_sum(size: int) -> int:
    """Return the checksum of a body of blocks."""
    total = 0
    for _ in range(size // len(BLOCK)):
        total = zlib.crc32(BLOCK, total)
    return total


async def big_response(kind: str, arena: Arena) -> None:
    """96 MB down, whole, in bounded memory."""

    async def flood(exchange: Exchange) -> None:
        await exchange.send(LIVE_HEADS[kind].replace(b"1073741824", b"%d" % STREAM_BYTES))
        await send_blocks(exchange.wire, STREAM_BYTES, kind)
        if kind == "until-close":
            exchange.close()

    with await arena.client() as client:
        await client.send(get(arena.target(flood)))
        head = await client.response_head()
        got = await read_sum(client, head, STREAM_BYTES)
    equal("bytes", STREAM_BYTES, head.size)
    if kind == "length":
        equal("checksum", block_sum(STREAM_BYTES), got)
    memory_bounded(arena, f"a {kind} response of {STREAM_BYTES >> 20} MiB")


async def big_request(kind: str, arena: Arena) -> None:
    """96 MB up, whole, in bounded memory."""
    sums: list[tuple[int, int]] = []

    async def sink(exchange: Exchange) -> None:
        got = await read_sum(exchange.wire, exchange.request, STREAM_BYTES)
        exchange.request.complete = True
        sums.append((exchange.request.size, got))
        await exchange.send(response(b"done"))

    path = arena.target(sink)
    start = post(path, b"") if kind == "length" else post_chunked(path, b"")
    with await arena.client() as client:
        await client.send(start.replace(b"Content-Length: 0", b"Content-Length: %d" % STREAM_BYTES))
        await send_blocks(client, STREAM_BYTES, kind)
        equal("status", 200, (await client.response("POST")).status)
    equal("bytes", STREAM_BYTES, sums[0][0])
    if kind == "length":
        equal("checksum", block_sum(STREAM_BYTES), sums[0][1])
    memory_bounded(arena, f"a {kind} request of {STREAM_BYTES >> 20} MiB")


for _kind in ("length", "chunked", "until-close"):
    REGISTRY.add(f"streaming/response-{_kind}-96m", functools.partial(big_response, _kind), BULK, 120)
for _kind in ("length", "chunked"):
    REGISTRY.add(f"streaming/request-{_kind}-96m", functools.partial(big_request, _kind), BULK, 120)


# --- back-pressure ---


async def stalled(wire: Wire, seconds: float = 6.0) -> int:
    """Wait until a sender makes no more progress; return how much it has sent."""
    began, last, since = time.monotonic(), -1, time.monotonic()
    while time.monotonic() - began < seconds:
        await asyncio.sleep(0.05)
        if wire.sent != last:
            last, since = wire.sent, time.monotonic()
        elif time.monotonic() - since > 0.6:
            break
    return wire.sent


@REGISTRY.check("back-pressure/client-does-not-read", STALL, 120)
async def client_stalls(arena: Arena) -> None:
    """A client that reads nothing stops the backend, and gets everything when it goes on."""
    started: asyncio.Queue[Wire] = asyncio.Queue()

    async def flood(exchange: Exchange) -> None:
        started.put_nowait(exchange.wire)
        await exchange.send(LIVE_HEADS["length"].replace(b"1073741824", b"%d" % OFFERED_BYTES))
        await send_blocks(exchange.wire, OFFERED_BYTES, "length")

    with await arena.client(receive_bytes=65536) as client:
        await client.send(get(arena.target(flood)))
        sent = await stalled(await started.get())
        expect(sent < STALLED_BYTES, f"the backend could send {sent >> 20} MiB to a client that reads nothing")
        memory_bounded(arena, "with a client that reads nothing")
        head = await client.response_head()
        await client.exactly(head, 48 << 20, keep=False)
    memory_bounded(arena, "after it went on")


@REGISTRY.check("back-pressure/backend-does-not-read", STALL, 120)
async def backend_stalls(arena: Arena) -> None:
    """A backend that reads nothing stops the client, and gets everything when it goes on."""
    go_on = asyncio.Event()
    size = 96 << 20

    async def lazy(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.body(keep=False)
        await exchange.send(response(b"%d" % exchange.request.size))

    with await arena.client(send_bytes=65536) as client:
        start = post(arena.target(lazy), b"").replace(b"Content-Length: 0", b"Content-Length: %d" % size)
        await client.send(start)
        sending = asyncio.ensure_future(send_blocks(client, size, "length"))
        sent = await stalled(client)
        expect(sent < STALLED_BYTES, f"the client could send {sent >> 20} MiB to a backend that reads nothing")
        memory_bounded(arena, "with a backend that reads nothing")
        go_on.set()
        got = await client.response("POST")
        await sending
    same_body(b"%d" % size, got)
    memory_bounded(arena, "after it went on")


@REGISTRY.check("back-pressure/100-clients-do-not-read", STALL, 120)
async def many_stall(arena: Arena) -> None:
    """100 such clients at once, each before a big response: memory stays bounded and others are served."""

    async def flood(exchange: Exchange) -> None:
        await exchange.send(LIVE_HEADS["length"])
        await send_blocks(exchange.wire, 64 << 20, "length")

    path, plain = arena.target(flood), arena.target(response(b"x"))
    clients = [await arena.client(receive_bytes=4096) for _ in range(100)]
    for client in clients:
        await client.send(get(path))
    for _ in range(20):
        same_body(b"x", await arena.get(plain))
        await asyncio.sleep(0.05)
    memory_bounded(arena, "with 100 clients that read nothing")
    for client in clients:
        client.reset()
    await asyncio.sleep(0.2)
    same_body(b"x", await arena.get(plain))


@REGISTRY.check("back-pressure/pipeline-of-a-client-that-does-not-read", STALL, 120)
async def pipeline_stalls(arena: Arena) -> None:
    """A client that only asks, and never reads, is not answered into memory without end."""
    path = arena.target(response(BLOCK[:100000]))
    with await arena.client(receive_bytes=4096) as client:
        sending = asyncio.ensure_future(client.try_send(get(path) * 20000))
        await asyncio.sleep(1.5)
        served = len(arena.got(path))
        sending.cancel()
    expect(served < 1000, f"{served} requests of a client that reads nothing were asked of the backend")
    memory_bounded(arena, "with a pipeline that is not read")


# --- many connections ---


@REGISTRY.check("connections/1000-idle", IDLE, 120)
async def thousand_idle(arena: Arena) -> None:
    """1,000 idle clients: others are served, memory is bounded, and the idle ones are served later."""
    path = arena.target(response(b"x"))
    clients = [await arena.client() for _ in range(1000)]
    for client in clients[::2]:
        same_body(b"x", await client.ask(get(path)))
    for _ in range(50):
        same_body(b"x", await arena.get(path))
    memory_bounded(arena, "with 1,000 idle clients")
    for client in clients:
        same_body(b"x", await client.ask(get(path)))
    memory_bounded(arena, "after 1,000 clients had been served")


@REGISTRY.check("connections/2000-short", IDLE, 120)
async def many_short(arena: Arena) -> None:
    """2,000 connections one after another, half of them ended by a reset: none is left behind."""
    before = arena.program.open_files()
    path = arena.target(response(b"x"))
    for number in range(2000):
        client = await Client.open(arena.program.address)
        await client.send(get(path))
        if number % 2:
            client.reset()
        else:
            same_body(b"x", await client.response())
            client.close()
    memory_bounded(arena, "after 2,000 connections")
    for _ in range(100):
        left = arena.program.open_files() - before
        if left <= LEFT_FILES:
            break
        await asyncio.sleep(0.05)
    expect(left <= LEFT_FILES, f"{left} more descriptors are open than before 2,000 connections")


@REGISTRY.check("connections/waiting-is-rest", Setup("waiting", ("--pool-size", "8"), heavy=True), 120)
async def waiting(arena: Arena) -> None:  # noqa: C901 - one scene with many actors
    """Clients and backends that wait for each other in every way there is: in the end the program does not spin."""
    over = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        await over.wait()
        exchange.close()

    async def half_closed_tunnel(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        exchange.wire.half_close()
        await silent(exchange)

    async def tunnel(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        await silent(exchange)

    async def flood(exchange: Exchange) -> None:
        await exchange.send(LIVE_HEADS["length"])
        await send_blocks(exchange.wire, 64 << 20, "length")

    upgrade = (b"Connection: Upgrade", b"Upgrade: x")
    path = arena.target(silent)
    stalled_upload = post(path, b"").replace(b"Content-Length: 0", b"Content-Length: 100000000")
    firsts = (
        b"",
        b"GET /half-a-head HTTP/1.1\r\nHost: h\r\nX-",
        get(path),
        post(path, b"0123456789")[:-5],
        get(arena.target(flood)),
        get(arena.target(tunnel), *upgrade),
        get(arena.target(half_closed_tunnel), *upgrade),
        get(arena.target(response(b"x"))),
    )
    uploads = []
    for first in firsts:
        for half in (False, True):
            for _ in range(4):
                client = await arena.client(receive_bytes=4096)
                await client.try_send(first)
                if half and first and first != firsts[3]:
                    await asyncio.sleep(0.02)
                    client.half_close()
    for _ in range(4):
        client = await arena.client(send_bytes=4096)
        uploads.append(asyncio.ensure_future(client.try_send(stalled_upload + BLOCK * 24)))
    for _ in range(20):
        before = arena.program.cpu_seconds()
        await asyncio.sleep(0.5)
        share = (arena.program.cpu_seconds() - before) / 0.5
        if share <= REST_SHARE:
            break
    over.set()
    for upload in uploads:
        upload.cancel()
    expect(share <= REST_SHARE, f"no rest in 10 s of nothing: {share:.0%} of a core at the end")
