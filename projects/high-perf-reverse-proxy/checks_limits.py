"""Limits: heads, bodies, connections; and what a client that passes them gets."""

from __future__ import annotations

import asyncio
import functools
import time

from checks_framing import same_body
from proxy_arena import REGISTRY, Arena, Setup, equal, expect, get, post, post_chunked, timely
from proxy_backend import Exchange, response
from proxy_wire import Client, Truncated, short

HEADS = Setup("limits")
SMALL_HEADS = Setup("limits-small", ("--max-header-bytes", "1024"))
LARGE_HEADS = Setup("limits-large", ("--max-header-bytes", "65536"))
BODIES = Setup("limits-body", ("--max-body-bytes", "1000"))
FOUR = Setup("limits-connections", ("--max-connections", "4"))
SLACK_BYTES = 8
"""Whether the empty line counts is open; the limit is not asked closer than this."""
ROOM_SECONDS = 5.0


def head_of(path: bytes, size: int) -> bytes:
    """Return a GET request of exactly this size."""
    start = get(path, b"X-Fill: ")[:-4]
    return start + b"f" * (size - len(start) - 4) + b"\r\n\r\n"


async def head_size(size: int, fits: bool, arena: Arena) -> None:
    """A head around the limit: served below it, 431 and closed above."""
    path = arena.target(response(b"x"))
    request = head_of(path, size)
    equal("size of the request", size, len(request))
    with await arena.client() as client:
        got = await client.ask(request)
        if fits:
            same_body(b"x", got)
            return
        arena.error(got, 431)
        expect(got.closes, "the 431 does not say that the connection closes")
        await client.nothing_more()
    equal("requests at the backend", 0, len(arena.got(path)))


for _setup, _limit in ((HEADS, 16384), (SMALL_HEADS, 1024), (LARGE_HEADS, 65536)):
    REGISTRY.add(f"limits/head-{_limit}-fits", functools.partial(head_size, _limit - SLACK_BYTES, True), _setup)
    REGISTRY.add(f"limits/head-{_limit}-over", functools.partial(head_size, _limit + SLACK_BYTES, False), _setup)
    REGISTRY.add(f"limits/head-{_limit}-twice", functools.partial(head_size, _limit * 2, False), _setup)


@REGISTRY.check("limits/head-of-many-headers-431", HEADS)
async def many_headers(arena: Arena) -> None:
    """10,000 short headers."""
    got = await arena.get(arena.target(), *(b"a:b" for _ in range(10000)))
    arena.error(got, 431)


@REGISTRY.check("limits/head-of-1500-headers-fits", HEADS)
async def fitting_headers(arena: Arena) -> None:
    """1,500 short headers are within the bytes, and bytes are the limit."""
    got = await arena.arrives(lambda path: get(path, *(b"a:b" for _ in range(1500))))
    equal("headers", 1500, len(got.all("a")))


@REGISTRY.check("limits/target-414", HEADS)
async def long_target(arena: Arena) -> None:
    """A request line that alone is over the limit."""
    got = await arena.get(b"/" + b"t" * 20000)
    arena.error(got, 414)


@REGISTRY.check("limits/target-414-endless", HEADS)
async def endless_target(arena: Arena) -> None:
    """A request line without an end is not read for ever."""
    with await arena.client() as client:
        await client.try_send(b"GET /" + b"t" * 400000)
        arena.error(await client.response(), 414)


@REGISTRY.check("limits/head-431-endless", HEADS)
async def endless_head(arena: Arena) -> None:
    """A head of 20 MB is not read to its end."""
    with await arena.client() as client:
        sending = asyncio.ensure_future(client.try_send(get(b"/x")[:-2] + b"X-A: aaaaaaaaaaaaaaaa\r\n" * 900000))
        try:
            got = await client.response()
            arena.error(got, 431)
            await client.until_end()
        except Truncated as cut:  # a reset may overtake the answer while we send
            expect(not cut.message.raw_head, f"a cut answer: {cut}")
        finally:
            sending.cancel()
    expect(client.sent < 16 << 20, f"the program read {client.sent} bytes of a head")


@REGISTRY.check("limits/head-431-in-small-pieces", SMALL_HEADS)
async def head_in_pieces(arena: Arena) -> None:
    """The limit holds however the head is cut."""
    request = head_of(arena.target(), 3000)
    with await arena.client() as client:
        sending = asyncio.ensure_future(_pieces(client, request, 100))
        got = await client.response()
        sending.cancel()
    arena.error(got, 431)


async def _pieces(client: Client, data: bytes, size: int) -> None:
    for at in range(0, len(data), size):
        if not await client.try_send(data[at : at + size]):
            return
        await asyncio.sleep(0.005)


@REGISTRY.check("limits/head-431-pipelined", SMALL_HEADS)
async def head_pipelined(arena: Arena) -> None:
    """The limit is one head's: many small ones in a packet are fine, a big one among them is not."""
    path = arena.target(response(b"x"))
    with await arena.client() as client:
        await client.send(get(path) * 50 + head_of(path, 3000) + get(path))
        for _ in range(50):
            same_body(b"x", await client.response())
        got = await client.response()
        arena.error(got, 431)
        await client.nothing_more()


@REGISTRY.check("limits/large-body-is-no-large-head", SMALL_HEADS)
async def body_behind_small_head(arena: Arena) -> None:
    """A body of 100 KB in the packet of its head does not count."""
    got = await arena.arrives(lambda path: post(path, b"b" * 100000))
    equal("body", 100000, got.size)


@REGISTRY.check("limits/connect-405", HEADS)
async def connect_405(arena: Arena) -> None:
    """CONNECT is refused and nothing of it reaches a backend."""
    before = len(arena.backend.requests)
    with await arena.client() as client:
        await client.send(b"CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n")
        arena.error(await client.response("POST"), 405)
    equal("requests at the backend", before, len(arena.backend.requests))


# --- bodies ---


async def body_size(size: int, arena: Arena) -> None:
    """A body of known length around the limit."""
    path = arena.target()
    with await arena.client() as client:
        await client.try_send(post(path, b"b" * size))
        got = await client.response("POST")
        if size <= 1000:
            equal("status", 200, got.status)
            equal("body at the backend", size, (await arena.backend.wait_for(path)).size)
            return
        arena.error(got, 413)
        equal("requests at the backend", 0, len(arena.got(path)))


for _size in (0, 999, 1000, 1001, 100000):
    REGISTRY.add(f"limits/body-{_size}", functools.partial(body_size, _size), BODIES)


@REGISTRY.check("limits/body-413-only-head-sent", BODIES)
async def body_head_only(arena: Arena) -> None:
    """The length says it all: 413 before any byte of the body."""
    path = arena.target()
    with await arena.client() as client:
        await client.send(b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n" % path)
        got = await client.response("POST")
        arena.error(got, 413)
    equal("requests at the backend", 0, len(arena.got(path)))


@REGISTRY.check("limits/body-413-instead-of-100", BODIES)
async def body_expect(arena: Arena) -> None:
    """A client that waits for 100 gets 413 at once."""
    path = arena.target()
    head = b"POST %s HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n" % path
    with await arena.client() as client:
        await client.send(head)
        got = await client.response("POST")
    equal("interim", [], [one.status for one in got.interim])
    arena.error(got, 413)


async def body_chunked(chunk: int, number: int, arena: Arena) -> None:
    """Chunks that add up: served below the limit, refused above, and then never whole at the backend."""
    path = arena.target()
    body = (b"%x\r\n" % chunk + b"b" * chunk + b"\r\n") * number
    with await arena.client() as client:
        await client.try_send(post_chunked(path, body + b"0\r\n\r\n"))
        if chunk * number <= 1000:
            equal("status", 200, (await client.response("POST")).status)
            equal("body at the backend", chunk * number, (await arena.backend.wait_for(path)).size)
            return
        got = await client.response("POST")
        arena.error(got, 413)
        await client.until_end()
    await asyncio.sleep(0.05)
    whole = [request.size for request in arena.got(path) if request.complete]
    expect(not whole, f"a body of {whole} bytes reached the backend as whole")


for _chunk, _number in ((1000, 1), (10, 100), (1001, 1), (10, 101), (500, 1000)):
    REGISTRY.add(f"limits/body-chunked-{_chunk}x{_number}", functools.partial(body_chunked, _chunk, _number), BODIES)


@REGISTRY.check("limits/body-chunk-too-big-announced", BODIES)
async def chunk_announced(arena: Arena) -> None:
    """A chunk size over the limit is enough, no byte of it need come."""
    path = arena.target()
    with await arena.client() as client:
        await client.send(post_chunked(path, b"ffffffffff\r\nabc"))
        arena.error(await client.response("POST"), 413)


@REGISTRY.check("limits/body-response-is-not-limited", BODIES)
async def response_not_limited(arena: Arena) -> None:
    """The limit is about requests."""
    same_body(b"r" * 5000, await arena.get(arena.target(response(b"r" * 5000))))


# --- connections ---


@REGISTRY.check("limits/connections-503", FOUR)
async def fifth_connection(arena: Arena) -> None:
    """With --max-connections 4 the fifth gets 503 and is closed; when one leaves, there is room again."""
    path = arena.target(response(b"x"))
    clients = [await arena.client() for _ in range(4)]
    for client in clients:
        same_body(b"x", await client.ask(get(path)))
    with await arena.client() as fifth:
        got = await fifth.ask(get(path))
        arena.error(got, 503)
        expect(got.closes, "the 503 does not say that the connection closes")
        await fifth.until_end()
    for client in clients:
        same_body(b"x", await client.ask(get(path)))
    clients[0].close()
    await _room(arena, path)


@REGISTRY.check("limits/connections-503-without-asking", FOUR)
async def fifth_silent(arena: Arena) -> None:
    """The fifth is told and closed although it says nothing."""
    path = arena.target(response(b"x"))
    await _room(arena, path)
    clients = [await arena.client() for _ in range(4)]
    for client in clients:
        await client.ask(get(path))
    with await arena.client() as fifth:
        arena.error(await fifth.response(), 503)
        await fifth.nothing_more()
    for client in clients:
        client.close()
    await _room(arena, path)


@REGISTRY.check("limits/connections-crowd", FOUR)
async def crowd(arena: Arena) -> None:
    """100 at once: at most four are served at a time, the others get 503, and afterwards all is well."""
    busy = most = 0

    async def slow(exchange: Exchange) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.05)
        busy -= 1
        await exchange.reply(b"x")

    slow_path, path = arena.target(slow), arena.target(response(b"x"))

    async def one() -> int:
        try:
            return (await arena.get(slow_path)).status
        except Truncated:
            return 0  # closed with our request unread: the reset overtook the 503

    statuses = await asyncio.gather(*(one() for _ in range(100)))
    expect(set(statuses) <= {200, 503, 0}, f"statuses: {sorted(set(statuses))}")
    expect(most <= 4, f"{most} requests at once reached the backend")
    expect(200 in statuses and 503 in statuses, f"statuses: {sorted(set(statuses))}")
    await _room(arena, path)


async def _room(arena: Arena, path: bytes) -> None:
    """Wait until a new client is served."""
    began = time.monotonic()
    while True:
        try:
            got = await arena.get(path)
            if got.status == 200:
                return
            last = f"{got.status} {short(bytes(got.body))}"
        except Truncated as cut:
            last = str(cut)
        timely(time.monotonic() - began < ROOM_SECONDS, f"no room though a client had left: {last}")
        await asyncio.sleep(0.02)
