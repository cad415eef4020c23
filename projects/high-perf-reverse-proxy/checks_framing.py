"""Bodies and heads on their way through: every framing, every cut, pipelining, keep-alive, interim responses."""

from __future__ import annotations

import asyncio
import functools
import random

from proxy_arena import REGISTRY, Arena, Failed, Setup, equal, expect, get, post, post_chunked
from proxy_backend import Exchange, chunked, chunked_response, pieces, raw, response
from proxy_wire import SECONDS, Client, Request, Response, short

PLAIN = Setup("plain")
CUTS = Setup("cuts")
POOL = Setup("pool")
INTERIM = Setup("interim")
OLD = Setup("http10")
SIZES = {
    "0": 0,
    "1": 1,
    "2b": 2,
    "1k": 1024,
    "16k": 16384,
    "64k": 65536,
    "64k+1": 65537,
    "1m": 1 << 20,
    "10m": 10 << 20,
}
CUTS_AT_ONCE = 24


def payload(size: int, seed: int = 7) -> bytes:
    """Return bytes that look like nothing, the same ones every time."""
    block = random.Random(seed).randbytes(65521)
    return (block * (size // len(block) + 1))[:size]


def same_body(expected: bytes, message: Request | Response, what: str = "body") -> None:
    """Fail unless a message carries exactly these bytes."""
    got = bytes(message.body)
    if got == expected:
        return
    at = next((i for i, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), min(len(expected), len(got)))
    raise Failed(f"{what}: expected {len(expected)} bytes, got {len(got)}; they differ at {at}")


# --- bodies of responses ---


async def response_length(size: int, arena: Arena) -> None:
    """A body of known length."""
    body = payload(size)
    got = await arena.get(arena.target(response(body)))
    equal("status and framing", (200, "length"), (got.status, got.framing))
    same_body(body, got)


async def response_chunked(size: int, arena: Arena) -> None:
    """A chunked body, cut into chunks of all sizes."""
    body, cut, rng = payload(size), [], random.Random(size)
    while sum(cut) < size:
        cut.append(min(size - sum(cut), rng.choice([1, 2, 15, 16, 17, 255, 4096, 65535, 65536, 300000])))
    ends = [sum(cut[: index + 1]) for index in range(len(cut))]
    path = arena.target(chunked_response(body[end - length : end] for end, length in zip(ends, cut, strict=True)))
    got = await arena.get(path)
    equal("status and framing", (200, "chunked"), (got.status, got.framing))
    same_body(body, got)


async def response_until_close(size: int, arena: Arena) -> None:
    """A body that ends with its connection: chunked for a client of HTTP/1.1, which can then go on."""
    body = payload(size)
    path = arena.target(b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-A: b\r\n\r\n" + body, "close")
    with await arena.client() as client:
        for _ in range(2):
            got = await client.ask(get(path))
            equal("status and framing", (200, "chunked"), (got.status, got.framing))
            same_body(body, got)


for _name, _size in SIZES.items():
    REGISTRY.add(f"framing/response-length-{_name}", functools.partial(response_length, _size), PLAIN)
    REGISTRY.add(f"framing/response-chunked-{_name}", functools.partial(response_chunked, _size), PLAIN)
    REGISTRY.add(f"framing/response-until-close-{_name}", functools.partial(response_until_close, _size), PLAIN)


@REGISTRY.check("framing/response-many-tiny-chunks", PLAIN)
async def tiny_chunks(arena: Arena) -> None:
    """20,000 chunks of one byte."""
    body = payload(20000)
    got = await arena.get(arena.target(chunked_response(body[i : i + 1] for i in range(len(body)))))
    same_body(body, got)


CHUNK_FORMS = {
    "leading-zeros": b"0005\r\nhello\r\n000\r\n\r\n",
    "upper-case": b"A\r\nhellohello\r\n0\r\n\r\n",
    "lower-case": b"a\r\nhellohello\r\n0\r\n\r\n",
    "extension": b"5;a=b\r\nhello\r\n0;last\r\n\r\n",
    "extension-quoted": b'5;a="b c;d"\r\nhello\r\n0\r\n\r\n',
    "extension-spaced": b"5 ; a = b\r\nhello\r\n0\r\n\r\n",
    "data-looks-like-end": b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "data-looks-like-request": b"12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
}
CHUNK_BODIES = {
    "upper-case": b"hellohello",
    "lower-case": b"hellohello",
    "data-looks-like-end": b"\r\n0\r\n\r\n",
    "data-looks-like-request": b"GET / HTTP/1.1\r\n\r\n",
}


async def response_chunk_form(name: str, arena: Arena) -> None:
    """A form of chunk that the grammar allows, from a backend."""
    path = arena.target(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK_FORMS[name])
    with await arena.client() as client:
        for _ in range(2):
            same_body(CHUNK_BODIES.get(name, b"hello"), await client.ask(get(path)))


async def request_chunk_form(name: str, arena: Arena) -> None:
    """A form of chunk that the grammar allows, from a client."""
    got = await arena.arrives(lambda path: post_chunked(path, CHUNK_FORMS[name]))
    same_body(CHUNK_BODIES.get(name, b"hello"), got)


for _name in CHUNK_FORMS:
    if _name != "extension-spaced":  # the grammar allows it, and h11, which reads after us, does not
        REGISTRY.add(f"framing/response-chunk-{_name}", functools.partial(response_chunk_form, _name), PLAIN)
    REGISTRY.add(f"framing/request-chunk-{_name}", functools.partial(request_chunk_form, _name), PLAIN)


@REGISTRY.check("framing/response-trailers", PLAIN)
async def response_trailers(arena: Arena) -> None:
    """Trailers of a response reach the client that asked for them."""
    path = arena.target(chunked_response([b"abc"], b"X-Sum: 1\r\nX-Other: two words\r\n", b"Trailer: X-Sum, X-Other"))
    got = await arena.get(path, b"TE: trailers", b"Connection: TE")
    same_body(b"abc", got)
    arena.same_headers("trailers", [(b"X-Sum", b"1"), (b"X-Other", b"two words")], got.trailers)


@REGISTRY.check("framing/request-trailers", PLAIN)
async def request_trailers(arena: Arena) -> None:
    """Trailers of a request reach the backend."""
    body = chunked([b"abc"], b"X-Sum: 1\r\n")
    got = await arena.arrives(lambda path: post_chunked(path, body, b"Trailer: X-Sum"))
    same_body(b"abc", got)
    arena.same_headers("trailers", [(b"X-Sum", b"1")], got.trailers)


# --- responses without a body ---

BODILESS = {
    "204": (b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", "GET"),
    "304": (b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', "GET"),
    "304-with-length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4711\r\n\r\n", "GET"),
    "head": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"),
    "head-huge": (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", "HEAD"),
    "head-without-length": (b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n", "HEAD"),
    "head-chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD"),
    "length-0": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET"),
    "chunked-0": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET"),
    "404": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "GET"),
    "strange-status": (b"HTTP/1.1 599 Odd But Fine\r\nContent-Length: 0\r\n\r\n", "GET"),
    "no-reason": (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "GET"),
}


async def without_body(answer: bytes, method: str, arena: Arena) -> None:
    """A response without a body, twice on one connection, and an ordinary one after it."""
    path, plain = arena.target(answer), arena.target(response(b"next"))
    with await arena.client() as client:
        for _ in range(2):
            got = await client.ask(get(path).replace(b"GET", method.encode(), 1))
            equal("status line", answer.split(b"\r\n")[0], got.start)
            equal("body", b"", bytes(got.body))
        length = [line for line in answer.split(b"\r\n") if line.startswith(b"Content-Length: ")]
        equal("Content-Length", [line[16:] for line in length], got.all("content-length"))
        same_body(b"next", await client.ask(get(plain)))


for _name, (_answer, _method) in BODILESS.items():
    REGISTRY.add(f"framing/bodiless-{_name}", functools.partial(without_body, _answer, _method), PLAIN)


# --- bodies of requests ---


async def request_length(size: int, arena: Arena) -> None:
    """An upload of known length."""
    body = payload(size)
    path = arena.target(response(b"ok"))
    equal("status", 200, (await arena.ask(post(path, body))).status)
    got = await arena.backend.wait_for(path)
    equal("framing", "length", got.framing)
    same_body(body, got)


async def request_chunked(size: int, arena: Arena) -> None:
    """A chunked upload."""
    body = payload(size)
    step = max(1, size // 7)
    path = arena.target(response(b"ok"))
    cut = chunked(body[start : start + step] for start in range(0, size, step))
    equal("status", 200, (await arena.ask(post_chunked(path, cut))).status)
    got = await arena.backend.wait_for(path)
    equal("framing", "chunked", got.framing)
    same_body(body, got)


for _name, _size in SIZES.items():
    REGISTRY.add(f"framing/request-length-{_name}", functools.partial(request_length, _size), PLAIN)
    REGISTRY.add(f"framing/request-chunked-{_name}", functools.partial(request_chunked, _size), PLAIN)


async def method_passes(method: bytes, body: bytes, arena: Arena) -> None:
    """Any method, with a body where it has one."""
    got = await arena.arrives(
        lambda path: post(path, body, method=method) if body else get(path).replace(b"GET", method, 1)
    )
    equal("method", method, got.method)
    same_body(body, got)
    equal("framing", "length" if body else "none", got.framing)


METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"PROPFIND", b"get", b"X-!#~")
for _method_name in METHODS:
    _label = "odd-token" if _method_name.startswith(b"X-") else _method_name.decode()
    REGISTRY.add(f"framing/method-{_label}-with-body", functools.partial(method_passes, _method_name, b"body"), PLAIN)
    if _method_name != b"POST":
        REGISTRY.add(f"framing/method-{_label}", functools.partial(method_passes, _method_name, b""), PLAIN)


@REGISTRY.check("framing/post-length-0", PLAIN)
async def post_length_0(arena: Arena) -> None:
    """A POST without a body says so to the backend too."""
    got = await arena.arrives(lambda path: post(path, b""))
    equal("Content-Length", b"0", got.get("content-length"))


@REGISTRY.check("framing/both-ways-at-once", PLAIN)
async def both_ways(arena: Arena) -> None:
    """A body goes up while its echo comes down: neither waits for the other's end."""
    total = 4 << 20

    async def mirror(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        seen = 0
        while seen < total and (exchange.wire.buffer or await exchange.wire.fill()):
            data = exchange.wire.take(len(exchange.wire.buffer))
            seen += len(data)
            await exchange.send(data)
        exchange.request.complete = True

    body = payload(total)
    with await arena.client() as client:
        sending = asyncio.ensure_future(client.try_send(post(arena.target(mirror), body)))
        got = await client.response()
        await sending
    same_body(body, got)


# --- targets ---

TARGETS = {
    "query": b"?a=b&c=%20d&&=",
    "percent": b"/%2e%2E/%2F%00/a%zz",
    "dots": b"/../a/./b//c/",
    "odd-bytes": b"/a|b{c}^`d\"<e>[f]\\g'*!$&()+,;=:@~-_.",
    "long": b"/" + b"x" * 8000,
}


async def target_kept(tail: bytes, arena: Arena) -> None:
    """The target reaches the backend byte for byte."""
    path = arena.target() + tail
    equal("status", 200, (await arena.get(path)).status)
    await arena.backend.wait_for(path)


for _name, _tail in TARGETS.items():
    REGISTRY.add(f"target/{_name}", functools.partial(target_kept, _tail), PLAIN)

HOST_FORMS = {
    "port": b"h:80",
    "empty-port": b"h:",
    "address": b"1.2.3.4:65535",
    "ipv6": b"[::1]",
    "ipv6-port": b"[::ffff:1.2.3.4]:8080",
    "upper-case": b"Some.TEST",
    "marks": b"a_b-c.d~e",
    "escaped": b"%41.test",
}


async def host_form(host: bytes, arena: Arena) -> None:
    """Every form that a Host may have reaches the backend byte for byte."""
    path = arena.target()
    equal("status", 200, (await arena.ask(b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path, host))).status)
    got = await arena.backend.wait_for(path)
    equal("Host", [host], got.all("host"))
    equal("X-Forwarded-Host", [host], got.all("x-forwarded-host"))


for _name, _host in HOST_FORMS.items():
    REGISTRY.add(f"target/host-form-{_name}", functools.partial(host_form, _host), PLAIN)


ABSOLUTE = {
    "absolute-form": (b"http://other.test", b"", b"other.test"),
    "absolute-form-port": (b"http://other.test:8080", b"", b"other.test:8080"),
    "absolute-form-upper-scheme": (b"HTTP://other.test", b"", b"other.test"),
    "absolute-form-ipv6": (b"http://[::1]:81", b"", b"[::1]:81"),
    "absolute-form-query": (b"http://other.test", b"?a=b", b"other.test"),
}


async def absolute_form(authority: bytes, tail: bytes, host: bytes, arena: Arena) -> None:
    """The authority of an absolute target wins over Host, and the backend sees the origin form."""
    path = arena.target() + tail
    equal("status", 200, (await arena.ask(get(authority + path))).status)
    got = await arena.backend.wait_for(path)
    equal("Host", [host], got.all("host"))


for _name, (_authority, _tail, _host) in ABSOLUTE.items():
    REGISTRY.add(f"target/{_name}", functools.partial(absolute_form, _authority, _tail, _host), PLAIN)


@REGISTRY.check("target/absolute-form-without-path", PLAIN)
async def absolute_without_path(arena: Arena) -> None:
    """An absolute target without a path asks for the root."""
    before = len(arena.backend.got(b"/"))
    equal("status", 200, (await arena.ask(get(b"http://bare.test"))).status)
    got = arena.backend.got(b"/")[before:]
    equal("Host", [[b"bare.test"]], [request.all("host") for request in got])


@REGISTRY.check("target/absolute-form-only-query", PLAIN)
async def absolute_only_query(arena: Arena) -> None:
    """An absolute target of an authority and a query asks for the root with that query."""
    equal("status", 200, (await arena.ask(get(b"http://bare.test?only=query"))).status)
    await arena.backend.wait_for(b"/?only=query")


@REGISTRY.check("target/options-asterisk", PLAIN)
async def options_asterisk(arena: Arena) -> None:
    """OPTIONS * reaches the backend as it is."""
    equal("status", 200, (await arena.ask(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")).status)
    equal("method", b"OPTIONS", (await arena.backend.wait_for(b"*")).method)


# --- cuts ---


async def meaning(exchange: Exchange) -> None:
    """Answer with what the request says, however its body was cut into chunks."""
    body, request = await exchange.body(), exchange.request
    trailers = b"".join(b"%s: %s\r\n" % trailer for trailer in request.trailers)
    await exchange.send(response(request.raw_head + body + b"\r\n" + trailers))


def cut_requests(arena: Arena) -> dict[str, bytes]:
    """Return the requests that are cut everywhere, each for a path of its own."""
    return {
        "get": get(arena.target(meaning), b"X-Long: " + b"v" * 40, b"Accept: */*"),
        "post-length": post(arena.target(meaning), b"hello body", b"X-A: b"),
        "post-chunked": post_chunked(arena.target(meaning), b"5;e=1\r\nhello\r\n3\r\nabc\r\n0\r\nX-T: u\r\n\r\n"),
        "absolute": get(b"http://host.test" + arena.target(meaning)),
    }


async def cut_everywhere(kind: str, arena: Arena) -> None:
    """One request sent in two parts, for every place to cut it: the answer never differs."""
    request = cut_requests(arena)[kind]
    whole = await arena.ask(request)
    gate = asyncio.Semaphore(CUTS_AT_ONCE)
    different: list[str] = []

    async def one(cut: int) -> None:
        async with gate:
            with await arena.client() as client:
                await client.send_pieces(request, [cut], 0.012)
                got = await client.response()
        if (got.status, got.body) != (whole.status, whole.body):
            different.append(f"cut at {cut}: status {got.status}, body {short(bytes(got.body))}")

    equal("status of the whole request", 200, whole.status)
    await asyncio.gather(*(one(cut) for cut in range(1, len(request))))
    expect(not different, f"{len(different)} of {len(request) - 1} cuts differ: {different[:1]}")


for _name in ("get", "post-length", "post-chunked", "absolute"):
    REGISTRY.add(f"cuts/request-{_name}", functools.partial(cut_everywhere, _name), CUTS)


@REGISTRY.check("cuts/request-byte-by-byte", CUTS)
async def byte_by_byte(arena: Arena) -> None:
    """Three pipelined requests, one byte a packet."""
    first, second, third = (arena.target(meaning) for _ in range(3))
    stream = get(first) + post(second, b"body") + post_chunked(third, b"3\r\nabc\r\n0\r\n\r\n")
    with await arena.client() as client:
        await client.send_pieces(stream, list(range(1, len(stream))), 0.0005)
        for path, part in ((first, b"GET"), (second, b"body"), (third, b"abc")):
            got = await client.response()
            expect(part in got.body and path in got.body, f"{path.decode()}: got {short(bytes(got.body))}")


CUT_RESPONSES = {
    "length": response(b"hello body", b"X-A: b"),
    "chunked": chunked_response([b"hello", b"abc"], b"X-T: u\r\n", b"X-A: b"),
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response(b"late"),
}


async def cut_response(kind: str, arena: Arena) -> None:
    """A response that comes in two parts, for every place to cut it."""
    data = CUT_RESPONSES[kind]
    gate = asyncio.Semaphore(CUTS_AT_ONCE)
    whole = await arena.get(arena.target(data))
    different: list[str] = []

    async def one(cut: int) -> None:
        path = arena.target(pieces((data[:cut], 0), (data[cut:], 0.012)))
        async with gate:
            got = await arena.get(path)
        if (got.start, got.headers, got.body, got.trailers) != (whole.start, whole.headers, whole.body, whole.trailers):
            different.append(f"cut at {cut}: {short(got.start)} body {short(bytes(got.body))}")

    await asyncio.gather(*(one(cut) for cut in range(1, len(data))))
    expect(not different, f"{len(different)} of {len(data) - 1} cuts differ: {different[:1]}")


for _name in CUT_RESPONSES:
    REGISTRY.add(f"cuts/response-{_name}", functools.partial(cut_response, _name), CUTS)


# --- pipelining and keep-alive ---


@REGISTRY.check("pipelining/mixed", PLAIN)
async def pipelined_mix(arena: Arena) -> None:
    """Twenty requests of all kinds in one write are answered in order."""
    kinds = [get, lambda path: post(path, b"length"), lambda path: post_chunked(path, b"5\r\nchunk\r\n0\r\n\r\n")]
    paths = [arena.target(response(b"answer %d" % number)) for number in range(20)]
    with await arena.client() as client:
        await client.send(b"".join(kinds[number % 3](path) for number, path in enumerate(paths)))
        got = [bytes((await client.response()).body) for _ in paths]
    equal("answers", [b"answer %d" % number for number in range(20)], got)


@REGISTRY.check("pipelining/slow-first", PLAIN)
async def pipelined_slow_first(arena: Arena) -> None:
    """A slow first answer is not overtaken."""
    slow, fast = arena.target(pieces((response(b"slow"), 0.3))), arena.target(response(b"fast"))
    with await arena.client() as client:
        await client.send(get(slow) + get(fast))
        equal("answers", [b"slow", b"fast"], [bytes((await client.response()).body) for _ in range(2)])


@REGISTRY.check("pipelining/heads-and-empties", PLAIN)
async def pipelined_heads(arena: Arena) -> None:
    """HEAD, 204 and 304 among others do not shift the answers."""
    head = arena.target(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
    empty = arena.target(b"HTTP/1.1 204 No Content\r\n\r\n")
    fresh = arena.target(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n")
    last = arena.target(response(b"last"))
    with await arena.client() as client:
        await client.send(get(head).replace(b"GET", b"HEAD", 1) + get(empty) + get(fresh) + get(last))
        got = [await client.response(method) for method in ("HEAD", "GET", "GET", "GET")]
    equal("statuses", [200, 204, 304, 200], [one.status for one in got])
    same_body(b"last", got[-1])


@REGISTRY.check("pipelining/thousand", PLAIN)
async def pipelined_thousand(arena: Arena) -> None:
    """1,000 requests in one write."""
    path = arena.target(response(b"x"))
    with await arena.client() as client:
        sending = asyncio.ensure_future(client.send(get(path) * 1000))
        for number in range(1000):
            equal(f"status of {number}", 200, (await client.response()).status)
        await sending
    equal("requests at the backend", 1000, len(arena.got(path)))


@REGISTRY.check("pipelining/after-close", PLAIN)
async def pipelined_after_close(arena: Arena) -> None:
    """What stands behind a request with `Connection: close` is not served."""
    first, second = arena.target(), arena.target()
    with await arena.client() as client:
        await client.send(get(first, b"Connection: close") + get(second))
        got = await client.response()
        expect(got.closes, f"expected Connection: close, got {short(got.headers)}")
        await client.nothing_more()
    equal("requests behind it at the backend", 0, len(arena.got(second)))


@REGISTRY.check("keep-alive/client-many", PLAIN)
async def keep_alive_many(arena: Arena) -> None:
    """200 requests on one client connection, none of which says that it closes."""
    path = arena.target(response(b"x"))
    with await arena.client() as client:
        for _ in range(200):
            got = await client.ask(get(path))
            expect(got.status == 200 and not got.closes, f"got {got.status}, {short(got.headers)}")


@REGISTRY.check("keep-alive/backend-reused-by-one-client", POOL)
async def reuse_by_one(arena: Arena) -> None:
    """100 requests of one client need one backend connection."""
    before = arena.backend.connections
    path = arena.target(response(b"x"))
    with await arena.client() as client:
        for _ in range(100):
            equal("status", 200, (await client.ask(get(path))).status)
    opened = arena.backend.connections - before
    expect(opened <= 1, f"expected at most 1 new backend connection, got {opened}")


@REGISTRY.check("keep-alive/backend-reused-by-many-clients", POOL)
async def reuse_by_many(arena: Arena) -> None:
    """100 clients after one another share pooled backend connections."""
    before = arena.backend.connections
    path = arena.target(response(b"x"))
    for _ in range(100):
        equal("status", 200, (await arena.get(path)).status)
    opened = arena.backend.connections - before
    expect(opened <= 2, f"expected at most 2 new backend connections for 100 clients, got {opened}")


async def reuse_after(first: bytes, method: bytes, arena: Arena) -> None:
    """A connection is reused after such a response."""
    special, plain = arena.target(first), arena.target(response(b"x"))
    await arena.get(plain)
    before = arena.backend.connections
    for _ in range(10):
        await arena.ask(get(special).replace(b"GET", method, 1))
        same_body(b"x", await arena.get(plain))
    opened = arena.backend.connections - before
    expect(opened <= 1, f"expected at most 1 new backend connection, got {opened}")


for _name, (_answer, _method) in BODILESS.items():
    if _name in ("204", "304-with-length", "head", "chunked-0"):
        REGISTRY.add(
            f"keep-alive/reused-after-{_name}", functools.partial(reuse_after, _answer, _method.encode()), POOL
        )


async def backend_closes(answer: bytes, then: str, arena: Arena) -> None:
    """A connection that the backend ends, or will end, is not used again; the client's goes on."""
    path = arena.target(answer, then)
    with await arena.client() as client:
        for number in range(5):
            got = await client.ask(get(path))
            equal(f"status of {number}", 200, got.status)
            same_body(b"abc", got)
            expect(not got.closes, f"the client's connection need not close: {short(got.headers)}")
    used = [request.connection for request in arena.got(path)]
    equal("connections used", 5, len(set(used)))


BACKEND_CLOSES = {
    "connection-close": (response(b"abc", b"Connection: close"), "close"),
    "connection-close-kept-open": (response(b"abc", b"Connection: close"), "keep"),
    "connection-CLOSE-in-list": (response(b"abc", b"Connection: x-a, CLOSE"), "keep"),
    "http10": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", "close"),
    "http10-kept-open": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", "keep"),
    "without-a-word": (response(b"abc"), "close"),
    "half": (response(b"abc"), "half-close"),
    "half-until-close": (b"HTTP/1.1 200 OK\r\n\r\nabc", "half-close"),
}
for _name, (_answer, _then) in BACKEND_CLOSES.items():
    REGISTRY.add(f"keep-alive/backend-closes-{_name}", functools.partial(backend_closes, _answer, _then), PLAIN)


@REGISTRY.check("keep-alive/http10-backend-keeps-alive", POOL)
async def http10_backend(arena: Arena) -> None:
    """An HTTP/1.0 response with keep-alive passes; the client sees HTTP/1.1."""
    path = arena.target(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc")
    got = await arena.get(path)
    equal("version", b"1.1", got.version)
    same_body(b"abc", got)


@REGISTRY.check("keep-alive/pool-keeps-what-it-needs", Setup("pool-64"))
async def pool_concurrent(arena: Arena) -> None:
    """20 clients at once need at most 20 backend connections, however many requests they send."""
    path = arena.target(pieces((response(b"x"), 0.002)))

    async def client() -> None:
        with await arena.client() as one:
            for _ in range(10):
                equal("status", 200, (await one.ask(get(path))).status)

    await asyncio.gather(*(client() for _ in range(20)))
    await asyncio.gather(*(client() for _ in range(20)))
    expect(arena.backend.connections <= 20, f"expected at most 20 connections, got {arena.backend.connections}")


@REGISTRY.check("keep-alive/pool-size-limits-idle", Setup("pool-2", ("--pool-size", "2")))
async def pool_size(arena: Arena) -> None:
    """With --pool-size 2, ten busy connections become two idle ones."""
    path = arena.target(pieces((response(b"x"), 0.2)))
    await asyncio.gather(*(arena.get(path) for _ in range(10)))
    await arena.backend.closed_down_to(2)
    left = arena.backend.open_connections
    expect(1 <= left <= 2, f"expected 1 or 2 idle connections, got {left}")


# --- 100-continue and other interim responses ---


@REGISTRY.check("interim/100-continue", INTERIM)
async def expect_continue(arena: Arena) -> None:
    """The expectation reaches the backend before the body, and its 100 reaches the client."""

    async def handler(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await exchange.reply(b"done")

    path = arena.target(handler)
    head, body = post(path, b"the body", b"Expect: 100-continue").split(b"\r\n\r\n")
    with await arena.client() as client:
        await client.send(head + b"\r\n\r\n")
        equal("first response", 100, (await client.response_head()).status)
        equal("Expect at the backend", b"100-continue", arena.got(path)[0].get("expect"))
        await client.send(body)
        got = await client.response("POST")
    equal("status", 200, got.status)
    same_body(b"the body", await arena.backend.wait_for(path))


@REGISTRY.check("interim/100-continue-refused", INTERIM)
async def expect_refused(arena: Arena) -> None:
    """A final answer instead of 100 reaches the client that still holds its body back."""

    async def handler(exchange: Exchange) -> None:
        await exchange.send(response(b"no", b"Connection: close", status=b"403 Forbidden"))
        exchange.close()

    path = arena.target(handler)
    with await arena.client() as client:
        await client.send(post(path, b"12345678", b"Expect: 100-continue").split(b"\r\n\r\n")[0] + b"\r\n\r\n")
        got = await client.response("POST")
    equal("status", 403, got.status)
    same_body(b"no", got)


@REGISTRY.check("interim/100-continue-body-at-once", INTERIM)
async def expect_impatient(arena: Arena) -> None:
    """A client that does not wait for 100 is served all the same."""

    async def handler(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await exchange.reply(b"done")

    path = arena.target(handler)
    with await arena.client() as client:
        for _ in range(2):
            got = await client.ask(post(path, b"the body", b"Expect: 100-continue"))
            equal("status", 200, got.status)
    same_body(b"the body", arena.got(path)[1])


@REGISTRY.check("interim/100-continue-chunked", INTERIM)
async def expect_chunked(arena: Arena) -> None:
    """The same with a chunked body."""

    async def handler(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await exchange.reply(b"done")

    path = arena.target(handler)
    request = post_chunked(path, b"3\r\nabc\r\n0\r\n\r\n", b"Expect: 100-continue")
    at = request.index(b"\r\n\r\n") + 4
    with await arena.client() as client:
        await client.send(request[:at])
        equal("first response", 100, (await client.response_head()).status)
        await client.send(request[at:])
        equal("status", 200, (await client.response("POST")).status)
    same_body(b"abc", await arena.backend.wait_for(path))


@REGISTRY.check("interim/100-continue-without-100", INTERIM)
async def expect_ignored(arena: Arena) -> None:
    """A backend that never sends 100 gets the body when the client sends it anyway."""
    path = arena.target()
    request = post(path, b"the body", b"Expect: 100-continue")
    with await arena.client() as client:
        await client.send(request[:-8])
        await asyncio.sleep(0.1)
        await client.send(request[-8:])
        equal("status", 200, (await client.response("POST")).status)
    same_body(b"the body", await arena.backend.wait_for(path))


@REGISTRY.check("interim/103-early-hints", INTERIM)
async def early_hints(arena: Arena) -> None:
    """103 passes on with its headers, before the final response exists."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\n\r\n"
    seen = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.send(hints)
        await seen.wait()
        await exchange.reply(b"page")

    path = arena.target(handler)
    with await arena.client() as client:
        await client.send(get(path))
        early = await client.response_head()
        seen.set()
        equal("first response", 103, early.status)
        equal("Link", [b"</a.css>; rel=preload", b"</b.js>"], early.all("link"))
        same_body(b"page", await client.response())


@REGISTRY.check("interim/several", INTERIM)
async def several_interim(arena: Arena) -> None:
    """Several interim responses in one packet with the final one, twice."""
    data = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2
    path = arena.target(data + response(b"page"))
    with await arena.client() as client:
        for _ in range(2):
            got = await client.ask(get(path))
            equal("interim", [102, 103, 102, 103], [one.status for one in got.interim])
            same_body(b"page", got)


@REGISTRY.check("interim/not-to-http10", INTERIM)
async def interim_to_old_client(arena: Arena) -> None:
    """A client of HTTP/1.0 never sees an interim response (RFC 9110 15.2)."""
    path = arena.target(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response(b"page"))
    got = await arena.ask(b"GET %s HTTP/1.0\r\nHost: h\r\n\r\n" % path)
    equal("interim", [], [one.status for one in got.interim])
    same_body(b"page", got)


# --- HTTP/1.0 clients ---


async def old_client(answer: bytes, then: str, arena: Arena) -> None:
    """A client of HTTP/1.0 gets a body that ends by length or with the connection, and never chunks."""
    path = arena.target(answer, then)
    with await arena.client() as client:
        got = await client.ask(b"GET %s HTTP/1.0\r\nHost: h\r\n\r\n" % path)
        equal("status", 200, got.status)
        expect(got.framing in ("length", "close"), f"framing: expected length or close, got {got.framing}")
        same_body(b"hello", got)
        await client.nothing_more()


OLD_ANSWERS = {
    "length": (response(b"hello"), "keep"),
    "chunked": (chunked_response([b"hel", b"lo"]), "keep"),
    "chunked-trailers": (chunked_response([b"hel", b"lo"], b"X-T: u\r\n"), "keep"),
    "until-close": (b"HTTP/1.1 200 OK\r\n\r\nhello", "close"),
    "http10-until-close": (b"HTTP/1.0 200 OK\r\n\r\nhello", "close"),
}
for _name, (_answer, _then) in OLD_ANSWERS.items():
    REGISTRY.add(f"http10/client-{_name}", functools.partial(old_client, _answer, _then), OLD)


@REGISTRY.check("http10/client-without-host", OLD)
async def old_without_host(arena: Arena) -> None:
    """HTTP/1.0 needs no Host; the backend is asked in HTTP/1.1 all the same."""
    path = arena.target()
    equal("status", 200, (await arena.ask(b"GET %s HTTP/1.0\r\n\r\n" % path)).status)
    await arena.backend.wait_for(path)


@REGISTRY.check("http10/client-keep-alive", OLD)
async def old_keep_alive(arena: Arena) -> None:
    """HTTP/1.0 with keep-alive: where the answer says so too, the connection goes on."""
    path = arena.target(response(b"hello"))
    with await arena.client() as client:
        got = await client.ask(b"GET %s HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n" % path)
        same_body(b"hello", got)
        if b"keep-alive" in [word.lower() for word in got.listed("connection")]:
            same_body(b"hello", await client.ask(b"GET %s HTTP/1.0\r\nHost: h\r\n\r\n" % path))
        await client.nothing_more()


@REGISTRY.check("http10/client-post", OLD)
async def old_post(arena: Arena) -> None:
    """HTTP/1.0 with a body."""
    path = arena.target()
    request = b"POST %s HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" % path
    equal("status", 200, (await arena.ask(request)).status)
    same_body(b"hello", await arena.backend.wait_for(path))


# --- what clients may do ---


@REGISTRY.check("client/leading-empty-line", PLAIN)
async def leading_empty_line(arena: Arena) -> None:
    """An empty line before a request is skipped or refused, and nothing else (RFC 9112 2.2)."""
    got = await arena.ask(b"\r\n" + get(arena.target()), "GET")
    expect(got.status in (200, 400), f"status: expected 200 or 400, got {got.status}")


@REGISTRY.check("client/leaves-before-the-answer", PLAIN)
async def client_leaves(arena: Arena) -> None:
    """When the client is gone, the backend's work is cut off."""
    gone = asyncio.Event()

    async def endless(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await exchange.send(b"5\r\nhello\r\n")
                await asyncio.sleep(0.02)
        except OSError:
            gone.set()
            raise

    client = await arena.client()
    await client.send(get(arena.target(endless)))
    await client.response_head()
    client.reset()
    try:
        async with asyncio.timeout(SECONDS):
            await gone.wait()
    except TimeoutError:
        raise Failed(f"the backend could still send {SECONDS:g} s after the client had left") from None


@REGISTRY.check("client/leaves-inside-its-body", PLAIN)
async def client_leaves_upload(arena: Arena) -> None:
    """A body that its client cut off never looks whole to the backend, and its connection is not reused."""
    path, plain = arena.target(), arena.target(response(b"x"))
    client = await arena.client()
    await client.send(post(path, b"0123456789")[:-5])
    request = await arena.backend.wait_for(path, whole=False)
    client.reset()
    await asyncio.sleep(0.1)
    same_body(b"x", await arena.get(plain))
    expect(not request.complete, "the backend took the cut request for a whole one")
    expect(arena.got(plain)[0].connection != request.connection, "the connection of the cut request was used again")


@REGISTRY.check("client/leaves-inside-chunks", PLAIN)
async def client_leaves_chunks(arena: Arena) -> None:
    """The same with chunks: a clean end of the client's connection is no end of a chunked body."""
    path, plain = arena.target(), arena.target(response(b"x"))
    client = await arena.client()
    await client.send(post_chunked(path, b"5\r\nhello\r\n"))
    request = await arena.backend.wait_for(path, whole=False)
    client.close()
    await asyncio.sleep(0.1)
    same_body(b"x", await arena.get(plain))
    expect(not request.complete, "the backend took the cut request for a whole one")


@REGISTRY.check("client/early-answer", PLAIN)
async def early_answer(arena: Arena) -> None:
    """An answer that comes before the body was sent reaches the client; the backend still reads."""

    async def hasty(exchange: Exchange) -> None:
        await exchange.send(response(b"early", status=b"409 Conflict"))
        await exchange.body(keep=False)

    with await arena.client() as client:
        await client.send(post(arena.target(hasty), b"0123456789")[:-5])
        got = await client.response("POST")
    equal("status", 409, got.status)
    same_body(b"early", got)


@REGISTRY.check("client/early-answer-then-close", PLAIN)
async def early_answer_close(arena: Arena) -> None:
    """A backend that refuses a big upload and closes: the client sees the refusal, not a broken pipe."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.send(response(b"too big", b"Connection: close", status=b"413 Content Too Large"))
        exchange.wire.half_close()
        await asyncio.sleep(3)  # or its reset would overtake the refusal
        exchange.close()

    with await arena.client() as client:
        sending = asyncio.ensure_future(client.try_send(post(arena.target(refuse), payload(8 << 20))))
        got = await client.response("POST")
        sending.cancel()
    equal("status", 413, got.status)
    same_body(b"too big", got)


@REGISTRY.check("client/half-closes-after-its-request", PLAIN)
async def client_half_closes(arena: Arena) -> None:
    """A client that ends its direction after the request gets its answer or a close, never a hang."""
    path = arena.target(response(b"x"))
    with await arena.client() as client:
        await client.send(get(path))
        client.half_close()
        await client.until_end()


# --- responses never mix ---


async def extra_bytes(pause: float, arena: Arena) -> None:
    """Bytes that a backend sends behind its response, at once or a little later, are never another client's answer."""
    poison = response(b"poison")
    bad = arena.target(pieces((response(b"good"), 0), (poison, pause)) if pause else response(b"good") + poison)
    plain = arena.target(response(b"plain"))
    for _ in range(3):
        with await arena.client() as client:
            same_body(b"good", await client.ask(get(bad)))
            await asyncio.sleep(pause * 4)  # until they have come, to a connection that nobody has asked
            same_body(b"plain", await client.ask(get(plain)))
        same_body(b"plain", await arena.get(plain))


POISON = Setup("poison")
REGISTRY.add("poison/bytes-behind-response", functools.partial(extra_bytes, 0.0), POISON)
REGISTRY.add("poison/bytes-on-idle-connection", functools.partial(extra_bytes, 0.05), POISON)


@REGISTRY.check("poison/client-left-response-unread", POISON)
async def left_unread(arena: Arena) -> None:
    """The rest of a response whose client left is not the start of the next one."""
    late = arena.target(pieces((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", 0), (b"0123456789", 0.1)))
    plain = arena.target(response(b"plain"))
    for _ in range(3):
        client = await arena.client()
        await client.send(get(late))
        await client.response_head()
        client.reset()
        for _ in range(3):
            same_body(b"plain", await arena.get(plain))
            await asyncio.sleep(0.06)


@REGISTRY.check("poison/stale-connection", POISON)
async def stale_connection(arena: Arena) -> None:
    """Idle connections that the backend has ended are not a client's problem, whatever the method."""
    path = arena.target(response(b"x"))
    for reset in (False, True):
        for method in (b"GET", b"POST"):
            await asyncio.gather(*(arena.get(path) for _ in range(3)))
            arena.backend.drop(reset=reset)
            await asyncio.sleep(0.05)
            got = await arena.ask(post(path, b"body", method=method))
            equal(f"status of {method.decode()} after {'reset' if reset else 'close'}", 200, got.status)


@REGISTRY.check("poison/stale-connection-race", POISON)
async def stale_race(arena: Arena) -> None:
    """A reused connection that ends when the next request comes: a GET is asked again on a fresh one."""
    path = arena.target()

    async def once(exchange: Exchange) -> None:
        if exchange.request.place > 0:
            exchange.close()
            return
        await exchange.reply(b"x")

    arena.backend.handlers[path] = once
    with await arena.client() as client:
        for number in range(6):
            equal(f"status of {number}", 200, (await client.ask(get(path))).status)


@REGISTRY.check("poison/stale-connection-race-put", POISON)
async def stale_race_put(arena: Arena) -> None:
    """The same for a PUT whose body is still at hand: doing it twice does no harm."""
    path = arena.target()

    async def once(exchange: Exchange) -> None:
        if exchange.request.place > 0:
            exchange.close()
            return
        await exchange.reply(await exchange.body())

    arena.backend.handlers[path] = once
    with await arena.client() as client:
        for number in range(6):
            same_body(b"%d" % number, await client.ask(post(path, b"%d" % number, method=b"PUT")))


@REGISTRY.check("poison/stale-connection-race-post", POISON)
async def stale_race_post(arena: Arena) -> None:
    """A POST whose reused connection ends behind it may have been done: it is not sent twice (RFC 9110 9.2.2)."""
    path, plain = arena.target(), arena.target(response(b"x"))

    async def once(exchange: Exchange) -> None:
        await exchange.body()
        exchange.close()

    arena.backend.handlers[path] = once
    with await arena.client() as client:
        equal("status before", 200, (await client.ask(get(plain))).status)
        arena.error(await client.ask(post(path, b"pay 5")), 502)
    equal("times the POST arrived", 1, len(arena.got(path)))


@REGISTRY.check("client/many-at-once", Setup("many"))
async def many_at_once(arena: Arena) -> None:
    """100 clients, ten requests each, every one with its own body: nobody gets another's."""

    async def one(number: int) -> None:
        with await arena.client() as client:
            for turn in range(10):
                path = arena.target(raw(response(b"%d/%d" % (number, turn))))
                same_body(b"%d/%d" % (number, turn), await client.ask(get(path)))

    await asyncio.gather(*(one(number) for number in range(100)))


@REGISTRY.check("client/garbage-disturbs-nobody", Setup("garbage"))
async def garbage(arena: Arena) -> None:
    """100 connections of random bytes beside ordinary ones."""
    rng = random.Random(1)
    path = arena.target(response(b"x"))

    async def bad(data: bytes) -> None:
        client = await Client.open(arena.program.address)
        with client:
            await client.try_send(data)
            client.half_close()
            await client.until_end()

    for _ in range(10):
        await asyncio.gather(*(bad(rng.randbytes(rng.randrange(1, 5000))) for _ in range(10)))
        same_body(b"x", await arena.get(path))
