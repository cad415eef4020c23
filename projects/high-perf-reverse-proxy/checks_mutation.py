"""Thousands of messages that are wrong in ways nobody thought of, made from sound ones by a seeded hand.

What is right is said by the strict reader of proxy_wire, which gets the same bytes. A request that it does not find in
them must not reach a backend; a response that it does not find in them must not reach a client as a whole one. A
program may refuse more than the reader does, and never take more.
"""

from __future__ import annotations

import asyncio
import functools
import random
import re
import socket
from collections import Counter

from checks_headers import others
from proxy_arena import REGISTRY, Arena, Setup, equal, expect, get
from proxy_backend import response
from proxy_wire import TOKEN, Client, Headers, Request, Response, Truncated, Wire, WireError, body_framing, short

MUTATED = Setup("mutations", backends=2)
MUTATED_RESPONSES = Setup("mutated-responses", ("--max-fails", "1000000"))
A_CHECK = 150
AT_ONCE = 15
QUIET_SECONDS = 0.25
START = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])", re.DOTALL)
ABSOLUTE = re.compile(rb"(?i:http)://[^/?]+")
LENGTH = re.compile(rb"[0-9]{1,19}")

# --- making ---

PIECES = (
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b"\0",
        b":",
        b",",
        b";",
        b"0",
        b"5",
        b"a",
        b"\x0b",
        b"\x0c",
        b"\x7f",
        b"\xff",
    ),
    *(b"\r\n\r\n", b"\r\n ", b"chunked", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n"),
    *(
        b"Transfer-Encoding: identity\r\n",
        b"Connection: content-length\r\n",
        b"Connection: close\r\n",
        b"+",
        b"-",
        b"0x",
    ),
)
REQUESTS = (
    (
        b"POST /m HTTP/1.1\r\nHost: h\r\nContent-Length: 35\r\nX-A: b\r\n\r\nGET /inside HTTP/1.1\r\nHost: h\r\n\r\nxx"
        b"GET /after HTTP/1.1\r\nHost: h\r\n\r\n"
    ),
    (
        b"POST /m HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n21\r\n"
        b"GET /inside HTTP/1.1\r\nHost: h\r\n\r\n\r\n0\r\nX-T: u\r\n\r\nGET /after HTTP/1.1\r\nHost: h\r\n\r\n"
    ),
    (
        b"GET http://h/m?q HTTP/1.1\r\nHost: h\r\nConnection: x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n"
        b"PUT /after HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    ),
    (
        b"HEAD /m HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
        b"GET /after HTTP/1.1\r\nHost: h\r\n\r\n"
    ),
)
RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\nX-A: b\r\n\r\nHTTP/1.1 200 OK\r\nX-Inside: yes\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nX-T: u\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nuntil the end",
)


def mutate(rng: random.Random, message: bytes) -> bytes:
    """Return a message with one to three changes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(message))
        end = min(len(message), at + rng.choice((1, 1, 1, 2, 8)))
        piece = rng.choice(PIECES)
        message = rng.choice(
            (
                message[:at] + piece + message[at:],
                message[:at] + piece + message[end:],
                message[:at] + message[end:],
                message[:at] + message[at:end] * 2 + message[end:],
                message[:at] + message[at:end].swapcase() + message[end:],
            )
        )
    return message


def mutations(seed: str, sound: tuple[bytes, ...]) -> list[bytes]:
    """Return mutated messages, the same ones every time."""
    rng = random.Random(f"high-perf-reverse-proxy {seed}")
    return [mutate(rng, rng.choice(sound)) for _ in range(A_CHECK)]


# --- requests ---

Key = tuple[bytes, bytes]


async def requests_in(stream: bytes) -> tuple[list[Key], list[Key]]:
    """Return the requests that a strict reader finds in bytes: whole ones by target and body, and all that began."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(stream)
    whole: list[Key] = []
    begun: list[Key] = []
    with Wire(ours) as wire:
        try:
            while (request := await _one_request(wire, begun)) is not None:
                whole.append((request.target, bytes(request.body)))
        except (WireError, Truncated):
            pass
    return whole, begun


async def _one_request(wire: Wire, begun: list[Key]) -> Request | None:
    while wire.buffer.startswith(b"\r\n") or (len(wire.buffer) < len(b"\r\n") and await wire.fill()):
        if wire.buffer.startswith(b"\r\n"):
            wire.take(2)  # RFC 9112 2.2: empty lines before a request may be skipped
    request = Request()
    if not await wire.head(request):
        return None
    match = START.fullmatch(request.start)
    hosts = request.all("host")
    if match is None or len(hosts) > 1 or (not hosts and match[3] == b"1"):
        raise WireError("bad request line or Host")
    request.headers = without_repeated_length(request.headers)
    request.framing, _ = body_framing(request)
    target = ABSOLUTE.sub(b"", match[2], count=1)
    request.target = target if target.startswith((b"/", b"*")) else b"/" + target
    begun.append((request.target, b""))
    await wire.read_body(request)
    return request


def without_repeated_length(headers: Headers) -> Headers:
    """Return headers with one Content-Length where several say the same, which RFC 9110 8.6 lets a recipient do."""
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    if len(lengths) < 2 or not all(map(LENGTH.fullmatch, lengths)) or len(set(map(int, lengths))) > 1:
        return headers
    return [*((k, v) for k, v in headers if k.lower() != b"content-length"), (b"Content-Length", lengths[0])]


async def speak(arena: Arena, stream: bytes) -> None:
    """Send bytes on a connection of their own and read until it ends or is quiet."""
    with await Client.open(arena.program.address) as client:
        await client.try_send(stream)
        try:
            while True:
                async with asyncio.timeout(QUIET_SECONDS):
                    if not await client.fill():
                        return
        except TimeoutError:
            return


async def mutated_requests(seed: int, arena: Arena) -> None:
    """Backends get what the strict reader finds in the bytes of the clients, and nothing else."""
    streams = mutations(f"requests {seed}", REQUESTS)
    before = [len(backend.requests) for backend in arena.backends]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(stream: bytes) -> None:
        async with gate:
            await speak(arena, stream)

    await asyncio.gather(*(one(stream) for stream in streams))
    await asyncio.sleep(0.05)
    allowed: Counter[Key] = Counter()
    begun: Counter[Key] = Counter()
    for stream in streams:
        whole, started = await requests_in(stream)
        allowed.update(whole)
        begun.update(started)
    got = [r for b, start in zip(arena.backends, before, strict=True) for r in b.requests[start:]]
    extra = Counter((r.target, bytes(r.body)) for r in got if r.complete) - allowed
    parts = Counter((r.target, b"") for r in got) - begun
    expect(not extra, f"whole requests that no strict reader finds in what was sent: {short(dict(extra), 300)}")
    expect(not parts, f"requests that no strict reader finds in what was sent: {short(dict(parts), 300)}")
    served = sum(r.complete for r in got)
    expect(served * 4 >= allowed.total(), f"only {served} of {allowed.total()} sound requests reached a backend")


# --- responses ---

Seen = tuple[int, bytes, Headers]


async def response_in(data: bytes) -> Seen | None:
    """Return the response that a strict reader finds in bytes that end with their connection."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(data)
    with Client(ours) as client:
        client.asks_h11 = False
        try:
            return seen(await client.response())
        except (WireError, Truncated):
            return None


def seen(got: Response) -> Seen:
    """Return what must be the same on both sides of the program."""
    named = {word.lower() for word in got.listed("connection")} | {b"proxy-connection", b"upgrade"}
    return got.status, bytes(got.body), others(got.headers, b"content-length", b"transfer-encoding", *named)


async def mutated_response(data: bytes, arena: Arena) -> str | None:
    """Return what is wrong with what the client gets for these bytes of a backend."""
    path = arena.target(data, "close")
    right = await response_in(data)
    try:
        with await arena.client() as client:
            client.asks_h11 = False
            got = await client.ask(get(path))
    except Truncated:
        return None
    except (WireError, TimeoutError) as error:
        return f"{error} for {short(data)}"
    if got.status in (502, 504) or (right is not None and seen(got) == right):
        return None
    return f"expected 502, a cut or {short(right)}, got {short(seen(got))} for {short(data)}"


async def mutated_responses(seed: int, arena: Arena) -> None:
    """Clients get the response that the strict reader finds in the bytes of the backend, or see that there is none."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(data: bytes) -> str | None:
        async with gate:
            return await mutated_response(data, arena)

    found = await asyncio.gather(*(one(data) for data in mutations(f"responses {seed}", RESPONSES)))
    wrong = [text for text in found if text]
    expect(not wrong, f"{len(wrong)} of {len(found)}: {wrong[:1]}")
    equal("the next body", b"plain", bytes((await arena.get(arena.target(response(b"plain")))).body))


for _seed in range(6):
    REGISTRY.add(f"mutations/requests-{_seed}", functools.partial(mutated_requests, _seed), MUTATED)
    REGISTRY.add(f"mutations/responses-{_seed}", functools.partial(mutated_responses, _seed), MUTATED_RESPONSES)
