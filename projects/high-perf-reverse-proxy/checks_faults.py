"""Backends that misbehave: bad responses, cut bodies, silence. And the time-outs on both sides."""

from __future__ import annotations

import asyncio
import functools
import time

from checks_framing import payload, same_body
from proxy_arena import REGISTRY, Arena, Failed, Setup, equal, expect, get, post, timely
from proxy_backend import Exchange, chunked, pieces, response
from proxy_wire import SECONDS, Client, Truncated, short

BAD = Setup("bad-responses", ("--max-fails", "1000000"))
CUT = Setup("truncation", ("--max-fails", "1000000"))
OK = b"HTTP/1.1 200 OK\r\n"

# --- bad responses: 502 ---

BAD_RESPONSES = {
    "empty-then-close": b"",
    "garbage": b"garbage\r\n\r\n",
    "binary": bytes(range(256)),
    "half-a-head": OK + b"Content-Le",
    "half-a-status-line": b"HTTP/1.",
    "head-without-end": OK + b"Content-Length: 0\r\n",
    "cl-and-te": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "te-and-cl": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "cl-different": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "cl-list-different": OK + b"Content-Length: 3, 4\r\n\r\nabc",
    "cl-plus": OK + b"Content-Length: +3\r\n\r\nabc",
    "cl-minus": OK + b"Content-Length: -3\r\n\r\nabc",
    "cl-hex": OK + b"Content-Length: 0x3\r\n\r\nabc",
    "cl-word": OK + b"Content-Length: three\r\n\r\nabc",
    "cl-empty": OK + b"Content-Length:\r\n\r\nabc",
    "cl-inner-space": OK + b"Content-Length: 3 3\r\n\r\nabc",
    "cl-overflow": OK + b"Content-Length: 18446744073709551619\r\n\r\nabc",
    "te-unknown": OK + b"Transfer-Encoding: xchunked\r\n\r\nabc",
    "te-twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "te-chunked-first": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "fold": OK + b"X-A: b\r\n c\r\nContent-Length: 3\r\n\r\nabc",
    "space-before-colon": OK + b"Content-Length : 3\r\n\r\nabc",
    "space-in-name": OK + b"X A: b\r\nContent-Length: 3\r\n\r\nabc",
    "no-colon": OK + b"X-A b\r\nContent-Length: 3\r\n\r\nabc",
    "empty-name": OK + b": b\r\nContent-Length: 3\r\n\r\nabc",
    "nul-in-value": OK + b"X-A: b\x00c\r\nContent-Length: 3\r\n\r\nabc",
    "cr-in-value": OK + b"X-A: b\rc\r\nContent-Length: 3\r\n\r\nabc",
    "http2": b"HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "version-lower-case": b"http/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "other-protocol": b"ICY 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "status-two-digits": b"HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc",
    "status-four-digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc",
    "status-letters": b"HTTP/1.1 2OO OK\r\nContent-Length: 3\r\n\r\nabc",
    "status-sign": b"HTTP/1.1 +20 OK\r\nContent-Length: 3\r\n\r\nabc",
    "status-missing": b"HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    "status-000": b"HTTP/1.1 000 No\r\nContent-Length: 3\r\n\r\nabc",
    "request-instead": b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "101-unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "100-then-close": b"HTTP/1.1 100 Continue\r\n\r\n",
    "head-over-64k": OK + b"X-A: " + b"a" * 70000 + b"\r\nContent-Length: 3\r\n\r\nabc",
    "head-over-64k-many": OK + b"".join(b"X-%d: a\r\n" % n for n in range(9000)) + b"Content-Length: 3\r\n\r\nabc",
    "head-endless": OK + b"X-A: " + b"a" * 900000,
}


async def bad_response(data: bytes, arena: Arena) -> None:
    """A response that is none: 502, and the next request is served as ever."""
    path, plain = arena.target(data, "close"), arena.target(response(b"plain"))
    with await arena.client() as client:
        got = await client.ask(get(path))
        arena.error(got, 502)
    same_body(b"plain", await arena.get(plain))


for _name, _data in BAD_RESPONSES.items():
    REGISTRY.add(f"bad-response/{_name}", functools.partial(bad_response, _data), BAD)


@REGISTRY.check("bad-response/head", BAD)
async def bad_response_to_head(arena: Arena) -> None:
    """The 502 to a HEAD has no body."""
    path = arena.target(b"garbage\r\n\r\n", "close")
    with await arena.client() as client:
        got = await client.ask(get(path).replace(b"GET", b"HEAD", 1))
        equal("status and body", (502, b""), (got.status, bytes(got.body)))
        if got.closes:
            await client.nothing_more()
        else:
            equal("next status", 200, (await client.ask(get(arena.target(response(b"x"))))).status)


@REGISTRY.check("bad-response/in-a-pipeline", BAD)
async def bad_response_pipelined(arena: Arena) -> None:
    """A 502 between two good answers stands in its place; what follows is served or the connection closes."""
    good, bad = arena.target(response(b"good")), arena.target(b"garbage\r\n\r\n", "close")
    with await arena.client() as client:
        await client.send(get(good) + get(bad) + get(good))
        same_body(b"good", await client.response())
        got = await client.response()
        equal("status", 502, got.status)
        if got.closes:
            await client.nothing_more()
        else:
            same_body(b"good", await client.response())


@REGISTRY.check("bad-response/to-a-post", BAD)
async def bad_response_to_post(arena: Arena) -> None:
    """A bad answer to an upload, too."""
    path = arena.target(b"garbage\r\n\r\n", "close")
    arena.error(await arena.ask(post(path, b"hello")), 502)


@REGISTRY.check("bad-response/head-of-60k-passes", BAD)
async def big_head(arena: Arena) -> None:
    """A head below 64 KiB passes whole."""
    value = b"a" * 60000
    got = await arena.get(arena.target(response(b"x", b"X-A: " + value)))
    equal("length of the header", len(value), len(got.get("x-a") or b""))


@REGISTRY.check("bad-response/many-headers-pass", BAD)
async def many_headers(arena: Arena) -> None:
    """1,000 response headers pass in order."""
    lines = [b"X-%d: %d" % (number, number) for number in range(1000)]
    got = await arena.get(arena.target(response(b"x", *lines)))
    ours = [b"%s: %s" % header for header in got.headers if header[0].startswith(b"X-")]
    expect(ours == lines, f"expected 1000 headers in order, got {len(ours)}")


# --- cut bodies: the client sees it ---

LONG = payload(300000)
CUT_BODIES = {
    "length-none": OK + b"Content-Length: 10\r\n\r\n",
    "length-some": OK + b"Content-Length: 10\r\n\r\nabc",
    "length-all-but-one": OK + b"Content-Length: 300000\r\n\r\n" + LONG[:-1],
    "chunked-none": OK + b"Transfer-Encoding: chunked\r\n\r\n",
    "chunked-inside-size": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1",
    "chunked-inside-data": OK + b"Transfer-Encoding: chunked\r\n\r\na\r\nabc",
    "chunked-behind-data": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc",
    "chunked-between": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "chunked-long": OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked([LONG])[:-5],
    "chunked-before-last-line": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    "chunked-inside-trailers": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-A: b",
}


async def cut_body(data: bytes, then: str, arena: Arena) -> None:
    """A body that its backend does not finish: no client may take it for a whole one."""
    path, plain = arena.target(data, then), arena.target(response(b"plain"))
    with await arena.client() as client:
        await client.send(get(path))
        try:
            got = await client.response()
        except Truncated as cut:
            got = None
            if cut.message.raw_head:
                expect(cut.message.start == b"HTTP/1.1 200 OK", f"status line: {short(cut.message.start)}")
        # A backend that dies before a body byte has come may also be answered by 502.
        expect(got is None or got.status == 502, f"expected a visible cut, got {got and got.status} with a clean end")
    same_body(b"plain", await arena.get(plain))


for _name, _data in CUT_BODIES.items():
    for _then in ("close", "reset"):
        REGISTRY.add(f"truncation/{_name}-{_then}", functools.partial(cut_body, _data, _then), CUT)
REGISTRY.add(
    "truncation/until-close-reset",
    functools.partial(cut_body, OK + b"X-A: b\r\n\r\n" + LONG, "reset"),
    CUT,
)

BAD_CHUNKS = {
    "not-hex": b"3\r\nabc\r\nxyz\r\nabc\r\n0\r\n\r\n",
    "minus": b"3\r\nabc\r\n-3\r\nabc\r\n0\r\n\r\n",
    "0x": b"3\r\nabc\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "overflow": b"3\r\nabc\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
    "no-crlf": b"3\r\nabc3\r\nabc\r\n0\r\n\r\n",
    "longer": b"3\r\nabcd\r\n0\r\n\r\n",
    "empty-size": b"3\r\nabc\r\n\r\nabc\r\n0\r\n\r\n",
    "trailer-no-colon": b"3\r\nabc\r\n0\r\nX-A b\r\n\r\n",
}
for _name, _data in BAD_CHUNKS.items():
    REGISTRY.add(
        f"truncation/bad-chunk-{_name}",
        functools.partial(cut_body, OK + b"Transfer-Encoding: chunked\r\n\r\n" + _data, "keep"),
        CUT,
    )


@REGISTRY.check("truncation/http10-client", CUT)
async def cut_for_old_client(arena: Arena) -> None:
    """To a client of HTTP/1.0 without a length, the only visible cut is a reset."""
    path = arena.target(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "reset")
    with await arena.client() as client:
        await client.send(b"GET %s HTTP/1.0\r\nHost: h\r\n\r\n" % path)
        async with arena.truncated("a body without a length"):
            await client.response()


@REGISTRY.check("truncation/what-came-is-passed-on", CUT)
async def cut_after_bytes(arena: Arena) -> None:
    """The bytes that came before the cut reach the client."""
    path = arena.target(pieces((OK + b"Content-Length: 10\r\n\r\nabc", 0)), "keep")

    async def handler(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.send(OK + b"Content-Length: 10\r\n\r\nabc")
        await asyncio.sleep(0.2)
        exchange.close()

    arena.backend.handlers[path] = handler
    with await arena.client() as client:
        await client.send(get(path))
        try:
            await client.response()
        except Truncated as cut:
            equal("bytes before the cut", b"abc", bytes(cut.message.body))
        else:
            raise Failed("expected a visible cut")


@REGISTRY.check("truncation/pipelined-request-not-answered-wrongly", CUT)
async def cut_pipelined(arena: Arena) -> None:
    """Behind a cut body there is no answer: its bytes would be taken for the missing ones."""
    bad, plain = arena.target(OK + b"Content-Length: 500\r\n\r\nabc", "close"), arena.target(response(b"plain"))
    with await arena.client() as client:
        await client.send(get(bad) + get(plain))
        async with arena.truncated("the first body"):
            await client.response()


# --- silence of backends ---

SLOW = Setup("slow", ("--read-timeout", "1", "--max-fails", "1000000", "--retries", "0"))
MOST_SECONDS = 8.0
"""Well below each default: what comes by then comes because of the option."""


def within(began: float, least: float) -> None:
    """Fail unless so much time has passed."""
    took = time.monotonic() - began
    timely(least <= took <= MOST_SECONDS, f"expected {least:g} to {MOST_SECONDS:g} s, took {took:.2f} s")


async def silent(exchange: Exchange) -> None:
    """Never answer."""
    await exchange.body()
    await exchange.wire.until_end(30)
    exchange.over = True


@REGISTRY.check("timeouts/read-504", SLOW)
async def read_timeout(arena: Arena) -> None:
    """A backend that never answers: 504 after --read-timeout."""
    began = time.monotonic()
    got = await arena.get(arena.target(silent))
    arena.error(got, 504)
    within(began, 0.9)


@REGISTRY.check("timeouts/read-504-post", SLOW)
async def read_timeout_post(arena: Arena) -> None:
    """The same for a POST, which arrives once."""
    path = arena.target(silent)
    arena.error(await arena.ask(post(path, b"body")), 504)
    equal("attempts", 1, len(arena.got(path)))


@REGISTRY.check("timeouts/read-inside-head-504", SLOW)
async def read_timeout_head(arena: Arena) -> None:
    """Half a head and then silence: 504 (or 502), in time."""

    async def half(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.send(b"HTTP/1.1 200 OK\r\nX-A")
        await exchange.wire.until_end(30)
        exchange.over = True

    began = time.monotonic()
    arena.error(await arena.get(arena.target(half)), 504, 502)
    within(began, 0.9)


@REGISTRY.check("timeouts/read-inside-body", SLOW)
async def read_timeout_body(arena: Arena) -> None:
    """Half a body and then silence: the client's connection is cut, in time."""

    async def half(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.send(OK + b"Content-Length: 10\r\n\r\nabc")
        await exchange.wire.until_end(30)
        exchange.over = True

    began = time.monotonic()
    async with arena.truncated("a body that stops"):
        await arena.get(arena.target(half))
    within(began, 0.9)


@REGISTRY.check("timeouts/connection-not-reused-after-504", SLOW)
async def late_answer(arena: Arena) -> None:
    """An answer that comes too late is nobody's."""
    late = arena.target(pieces((response(b"late"), 1.4)))
    plain = arena.target(response(b"plain"))
    equal("status", 504, (await arena.get(late)).status)
    for _ in range(4):
        same_body(b"plain", await arena.get(plain))
        await asyncio.sleep(0.15)


@REGISTRY.check("timeouts/slow-but-alive", SLOW)
async def slow_but_alive(arena: Arena) -> None:
    """A response of 1.6 s whose pauses are shorter than --read-timeout is fine."""
    path = arena.target(pieces((OK + b"Content-Length: 4\r\n\r\n", 0.4), *((b"x", 0.4) for _ in range(3)), (b"y", 0.1)))
    same_body(b"xxxy", await arena.get(path))


@REGISTRY.check("timeouts/slow-upload-is-not-a-slow-backend", SLOW)
async def slow_upload(arena: Arena) -> None:
    """A client that takes 1.5 s for its body does not make the backend late."""
    path = arena.target()
    request = post(path, b"12345")
    with await arena.client() as client:
        await client.send(request[:-5])
        for byte in b"12345":
            await asyncio.sleep(0.3)
            await client.send(bytes([byte]))
        equal("status", 200, (await client.response("POST")).status)
    same_body(b"12345", await arena.backend.wait_for(path))


# --- silence of clients ---

IMPATIENT = Setup("impatient", ("--header-timeout", "0.6", "--idle-timeout", "1.2", "--read-timeout", "5"))
HEADER = Setup("header-timeout", ("--header-timeout", "0.6"))


async def ends_by_408(client: Client, arena: Arena, began: float) -> None:
    """The connection gets 408 and ends, in time."""
    got = await client.response()
    arena.error(got, 408)
    expect(got.closes, "the 408 does not say that the connection closes")
    await client.nothing_more()
    within(began, 0.5)


@REGISTRY.check("timeouts/header-408", HEADER)
async def header_timeout(arena: Arena) -> None:
    """Half a head: 408 after --header-timeout."""
    began = time.monotonic()
    with await arena.client() as client:
        await client.send(b"GET /never HTTP/1.1\r\nHost: h\r\nX-A:")
        await ends_by_408(client, arena, began)
    equal("requests at the backend", 0, len(arena.got(b"/never")))


@REGISTRY.check("timeouts/header-408-request-line", HEADER)
async def header_timeout_line(arena: Arena) -> None:
    """A few letters of a request line."""
    began = time.monotonic()
    with await arena.client() as client:
        await client.send(b"GE")
        await ends_by_408(client, arena, began)


@REGISTRY.check("timeouts/header-408-drip", HEADER)
async def header_drip(arena: Arena) -> None:
    """A byte every 50 ms does not buy time: the whole head must have come."""
    began = time.monotonic()
    client = await arena.client()

    async def drip() -> None:
        for byte in b"GET /never HTTP/1.1\r\nHost: h\r\n" + b"X-A: b\r\n" * 20:
            if not await client.try_send(bytes([byte])):
                return
            await asyncio.sleep(0.05)

    dripping = asyncio.ensure_future(drip())
    try:
        got = await client.response()
        arena.error(got, 408)
        within(began, 0.5)
    finally:
        dripping.cancel()


@REGISTRY.check("timeouts/header-408-second-request", HEADER)
async def header_timeout_second(arena: Arena) -> None:
    """Half a head as the second request of a connection."""
    with await arena.client() as client:
        await client.ask(get(arena.target(response(b"x"))))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        await client.send(b"GET /never HTTP/1.1\r\nHos")
        await ends_by_408(client, arena, began)


@REGISTRY.check("timeouts/header-timeout-not-while-answering", HEADER)
async def header_timeout_answering(arena: Arena) -> None:
    """A request that takes longer than --header-timeout to answer is fine, and so is one that follows."""
    path = arena.target(pieces((response(b"slow"), 1.2)))
    with await arena.client() as client:
        for _ in range(2):
            same_body(b"slow", await client.ask(get(path)))


@REGISTRY.check("timeouts/header-timeout-not-for-bodies", HEADER)
async def header_timeout_body(arena: Arena) -> None:
    """A body may take longer than --header-timeout."""
    path = arena.target()
    request = post(path, b"12")
    with await arena.client() as client:
        await client.send(request[:-1])
        await asyncio.sleep(1.1)
        await client.send(request[-1:])
        equal("status", 200, (await client.response("POST")).status)


@REGISTRY.check("timeouts/idle-closes", IMPATIENT)
async def idle_timeout(arena: Arena) -> None:
    """An idle connection is closed after --idle-timeout, without a byte."""
    with await arena.client() as client:
        await client.ask(get(arena.target(response(b"x"))))
        began = time.monotonic()
        equal("end", "eof", await client.nothing_more())
        within(began, 1.0)


@REGISTRY.check("timeouts/idle-never-spoke", IMPATIENT)
async def idle_from_start(arena: Arena) -> None:
    """A client that never says anything is closed too (408 or nothing)."""
    began = time.monotonic()
    with await arena.client() as client:
        rest = await client.until_end()
        expect(not rest or rest.startswith(b"HTTP/1.1 408 "), f"got {short(rest)}")
    within(began, 0.45)


@REGISTRY.check("timeouts/idle-is-renewed", IMPATIENT)
async def idle_renewed(arena: Arena) -> None:
    """A request every 0.3 s keeps a connection far beyond --idle-timeout."""
    path = arena.target(response(b"x"))
    with await arena.client() as client:
        for _ in range(6):
            equal("status", 200, (await client.ask(get(path))).status)
            began = time.monotonic()
            await asyncio.sleep(0.3)
            timely(time.monotonic() - began < 1, "the oracle itself was held up")


@REGISTRY.check("timeouts/idle-not-while-answering", IMPATIENT)
async def idle_answering(arena: Arena) -> None:
    """Waiting for an answer is not idle."""
    same_body(b"slow", await arena.get(arena.target(pieces((response(b"slow"), 1.7)))))


@REGISTRY.check("timeouts/slow-loris", Setup("loris", ("--header-timeout", "1.5")))
async def slow_loris(arena: Arena) -> None:
    """200 clients that drip their heads hold nobody up, and all of them are turned away."""
    path = arena.target(response(b"x"))
    dripping = [await arena.client() for _ in range(200)]
    over = asyncio.Event()

    async def drip(client: Client) -> bytes:
        await client.try_send(b"GET /never HTTP/1.1\r\nHost: h\r\n")
        for number in range(100):
            if over.is_set() or not await client.try_send(b"X-%d: a\r\n" % number):
                break
            await asyncio.sleep(0.2)
        return await client.until_end()

    tasks = [asyncio.ensure_future(drip(client)) for client in dripping]
    try:
        for _ in range(20):
            began = time.monotonic()
            equal("status of a good client", 200, (await arena.get(path)).status)
            timely(time.monotonic() - began < 1, f"a good client waited {time.monotonic() - began:.2f} s")
            await asyncio.sleep(0.02)
        async with asyncio.timeout(SECONDS):
            await asyncio.sleep(1.7)
            over.set()
            ends = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    turned_away = sum(end.startswith(b"HTTP/1.1 408 ") for end in ends)
    # A reset may overtake the 408 where the client was still sending.
    expect(turned_away + ends.count(b"") == 200 and turned_away >= 100, f"{turned_away} of 200 got 408")
    equal("requests at the backend", 0, len(arena.got(b"/never")))
