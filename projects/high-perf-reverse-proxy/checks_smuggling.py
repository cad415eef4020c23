r"""Requests made to be read in two ways. Each must be refused, and nothing of it may reach a backend.

In the head corpus every entry is a whole head with one fault; behind it stands a sound request, which a proxy that goes
on reading would serve. Expected: one response with one of the named statuses, the end of the connection, and
not a single byte at any backend.

In the body corpus the head is sound and its body is not. A proxy that streams may already have passed on the head and
the sound bytes before the fault; expected is that the client's connection ends without a good answer, and that no
backend ever sees a whole request, the bytes behind the fault, or the request there.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass

from proxy_arena import REGISTRY, Arena, Setup, equal, expect, get, post_chunked
from proxy_backend import response
from proxy_wire import Client, Response, Truncated, short

SMUGGLING = Setup("smuggling", backends=2)
BODY = b"0\r\n\r\n"
SETTLE_SECONDS = 0.03
BAD = (400,)
CODING = (400, 501)
VERSION = (505,)
OLD_VERSION = (400, 505)


@dataclass(frozen=True)
class Fault:
    """A request that must be refused, and by what."""

    name: str
    data: bytes
    statuses: tuple[int, ...] = BAD


def head(*lines: bytes, start: bytes = b"POST /%s HTTP/1.1", body: bytes = BODY) -> bytes:
    """Return a request of header lines that follow Host, with a body that looks like the end of chunks."""
    return b"\r\n".join([start.replace(b"%s", b"bad"), b"Host: h", *lines]) + b"\r\n\r\n" + body


def line(start: bytes) -> bytes:
    """Return a request of a start line."""
    return start + b"\r\nHost: h\r\n\r\n"


CL, TE = b"Content-Length: 5", b"Transfer-Encoding: chunked"

LENGTH_AND_CODING = [
    Fault("cl-then-te", head(CL, TE)),
    Fault("te-then-cl", head(TE, CL)),
    Fault("cl-0-and-te", head(b"Content-Length: 0", TE)),
    Fault("cl-te-apart", head(CL, b"X-A: b", b"Accept: */*", TE)),
    Fault("cl-te-other-case", head(b"content-length: 5", b"TRANSFER-ENCODING: chunked")),
    Fault("cl-te-on-get", head(CL, TE, start=b"GET /%s HTTP/1.1")),
    Fault("cl-te-nominated-by-connection", head(b"Connection: transfer-encoding", CL, TE)),
    Fault("cl-nominated-te", head(b"Connection: content-length", CL, TE)),
    Fault("cl-and-te-identity", head(CL, b"Transfer-Encoding: identity"), CODING),
    Fault("cl-and-te-unknown", head(CL, b"Transfer-Encoding: xchunked"), CODING),
    Fault("cl-te-in-http10", head(CL, TE, start=b"POST /%s HTTP/1.0")),
    Fault("two-cl-and-te", head(CL, CL, TE)),
]

LENGTHS = [
    Fault("cl-twice-different", head(CL, b"Content-Length: 6")),
    Fault("cl-twice-different-case", head(CL, b"content-LENGTH: 0")),
    Fault("cl-twice-different-apart", head(CL, b"X-A: b", b"Content-Length: 50")),
    Fault("cl-list-same", head(b"Content-Length: 5, 5")),
    Fault("cl-list-different", head(b"Content-Length: 5, 6")),
    Fault("cl-list-no-space", head(b"Content-Length: 5,5")),
    Fault("cl-list-empty-element", head(b"Content-Length: 5,")),
    Fault("cl-leading-comma", head(b"Content-Length: ,5")),
    Fault("cl-plus", head(b"Content-Length: +5")),
    Fault("cl-minus", head(b"Content-Length: -5")),
    Fault("cl-minus-0", head(b"Content-Length: -0")),
    Fault("cl-hex", head(b"Content-Length: 0x5")),
    Fault("cl-hex-digit", head(b"Content-Length: 5a")),
    Fault("cl-inner-space", head(b"Content-Length: 5 5")),
    Fault("cl-inner-tab", head(b"Content-Length: 1\t0")),
    Fault("cl-decimal-point", head(b"Content-Length: 5.0")),
    Fault("cl-exponent", head(b"Content-Length: 1e1")),
    Fault("cl-underscore", head(b"Content-Length: 1_0")),
    Fault("cl-empty", head(b"Content-Length:")),
    Fault("cl-blank", head(b"Content-Length:   ")),
    Fault("cl-word", head(b"Content-Length: five")),
    Fault("cl-quoted", head(b'Content-Length: "5"')),
    Fault("cl-parameter", head(b"Content-Length: 5;a=b")),
    Fault("cl-over-64-bits", head(b"Content-Length: 18446744073709551621")),
    Fault("cl-far-over-64-bits", head(b"Content-Length: " + b"9" * 40)),
    Fault("cl-wide-digit", head("Content-Length: \uff15".encode())),
    Fault("cl-vertical-tab", head(b"Content-Length: \x0b5")),
    Fault("cl-form-feed-behind", head(b"Content-Length: 5\x0c")),
    Fault("cl-nul-behind", head(b"Content-Length: 5\x00")),
    Fault("cl-cr-inside", head(b"Content-Length: 5\r5")),
    Fault("cl-second-bad", head(CL, b"Content-Length: x")),
    Fault("cl-on-get-list", head(b"Content-Length: 5, 5", start=b"GET /%s HTTP/1.1")),
]

CODINGS = [
    Fault("te-unknown", head(b"Transfer-Encoding: xchunked"), (501,)),
    Fault("te-gzip", head(b"Transfer-Encoding: gzip"), (501,)),
    Fault("te-identity", head(b"Transfer-Encoding: identity"), CODING),
    Fault("te-gzip-chunked", head(b"Transfer-Encoding: gzip, chunked"), CODING),
    Fault("te-chunked-gzip", head(b"Transfer-Encoding: chunked, gzip"), CODING),
    Fault("te-chunked-identity", head(b"Transfer-Encoding: chunked, identity"), CODING),
    Fault("te-chunked-twice", head(b"Transfer-Encoding: chunked, chunked"), CODING),
    Fault("te-two-lines", head(TE, TE), CODING),
    Fault("te-two-lines-different", head(TE, b"Transfer-Encoding: identity"), CODING),
    Fault("te-two-lines-different-first", head(b"Transfer-Encoding: x", TE), CODING),
    Fault("te-two-lines-other-case", head(TE, b"transfer-encoding: cow"), CODING),
    Fault("te-parameter", head(b"Transfer-Encoding: chunked;a=b"), CODING),
    Fault("te-quoted", head(b'Transfer-Encoding: "chunked"'), CODING),
    Fault("te-prefix", head(b"Transfer-Encoding: chunke"), CODING),
    Fault("te-suffix", head(b"Transfer-Encoding: chunkedd"), CODING),
    Fault("te-empty", head(b"Transfer-Encoding:"), CODING),
    Fault("te-comma-first", head(b"Transfer-Encoding: ,chunked"), CODING),
    Fault("te-comma-last", head(b"Transfer-Encoding: chunked,"), CODING),
    Fault("te-inner-space", head(b"Transfer-Encoding: chun ked"), CODING),
    Fault("te-vertical-tab", head(b"Transfer-Encoding: \x0bchunked"), CODING),
    Fault("te-form-feed-behind", head(b"Transfer-Encoding: chunked\x0c"), CODING),
    Fault("te-nul-behind", head(b"Transfer-Encoding: chunked\x00"), CODING),
    Fault("te-no-break-space", head(b"Transfer-Encoding: chunked\xa0"), CODING),
    Fault("te-high-byte", head(b"Transfer-Encoding: \xffchunked"), CODING),
    Fault("te-on-get-unknown", head(b"Transfer-Encoding: x", start=b"GET /%s HTTP/1.1"), (501,)),
]

LINE_ENDS = [
    Fault("lf-all", b"GET /bad HTTP/1.1\nHost: h\n\n"),
    Fault("lf-request-line", b"GET /bad HTTP/1.1\nHost: h\r\n\r\n"),
    Fault("lf-header", b"GET /bad HTTP/1.1\r\nHost: h\nX-A: b\r\n\r\n"),
    Fault("lf-last-header", b"GET /bad HTTP/1.1\r\nHost: h\n\r\n"),
    Fault("lf-empty-line", b"GET /bad HTTP/1.1\r\nHost: h\r\n\n"),
    Fault("lf-first", b"\nGET /bad HTTP/1.1\r\nHost: h\r\n\r\n"),
    Fault("lf-hides-te", head(b"X-A: b\nTransfer-Encoding: chunked", CL)),
    Fault("lf-hides-cl", head(b"X-A: b\nContent-Length: 5")),
    Fault("lf-in-target", b"GET /bad\nX HTTP/1.1\r\nHost: h\r\n\r\n"),
    Fault("cr-in-value", head(b"X-A: b\rc")),
    Fault("cr-hides-te", head(b"X-A: b\rTransfer-Encoding: chunked", CL)),
    Fault("cr-in-name", head(b"X\rA: b")),
    Fault("cr-request-line", b"GET /bad HTTP/1.1\rHost: h\r\n\r\n"),
    Fault("cr-in-target", b"GET /b\rad HTTP/1.1\r\nHost: h\r\n\r\n"),
    Fault("cr-cr-lf", b"GET /bad HTTP/1.1\r\nHost: h\r\r\nX-A: b\r\n\r\n"),
    Fault("cr-cr-lf-empty-line", b"GET /bad HTTP/1.1\r\nHost: h\r\n\r\r\n\r\n"),
    Fault("cr-first", b"\rGET /bad HTTP/1.1\r\nHost: h\r\n\r\n"),
    Fault("cr-first-in-header", head(b"\rX-A: b")),
]

FOLDS_AND_COLONS = [
    Fault("fold-space", head(b"X-A: b", b" c")),
    Fault("fold-tab", head(b"X-A: b", b"\tc")),
    Fault("fold-te", head(b"Transfer-Encoding:", b" chunked", CL)),
    Fault("fold-cl", head(b"Content-Length:", b" 5")),
    Fault("fold-hides-te", head(b"X-A: b", b" Transfer-Encoding: chunked", CL)),
    Fault("fold-first-header", b"GET /bad HTTP/1.1\r\n X-A: b\r\nHost: h\r\n\r\n"),
    Fault("fold-only-space", head(b"X-A: b", b" ")),
    Fault("space-before-colon", head(b"X-A : b")),
    Fault("tab-before-colon", head(b"X-A\t: b")),
    Fault("space-before-colon-cl", head(b"Content-Length : 5")),
    Fault("space-before-colon-te", head(b"Transfer-Encoding : chunked")),
    Fault("space-before-colon-te-with-cl", head(b"Transfer-Encoding : chunked", CL)),
    Fault("space-before-colon-host", b"GET /bad HTTP/1.1\r\nHost : h\r\n\r\n"),
    Fault("space-in-name", head(b"X A: b")),
    Fault("space-in-cl-name", head(b"Content Length: 5")),
    Fault("tab-in-name", head(b"X\tA: b")),
    Fault("no-colon", head(b"X-A b")),
    Fault("no-colon-te", head(b"Transfer-Encoding chunked", CL)),
    Fault("empty-name", head(b": b")),
    Fault("control-in-name", head(b"X\x01A: b")),
    Fault("delete-in-name", head(b"X\x7fA: b")),
    Fault("nul-in-name", head(b"X\x00A: b")),
    Fault("nul-before-te", head(b"\x00Transfer-Encoding: chunked", CL)),
    Fault("vertical-tab-in-name", head(b"Transfer-Encoding\x0b: chunked", CL)),
    Fault("nul-in-value", head(b"X-A: b\x00c")),
    Fault("nul-in-target", b"GET /b\x00ad HTTP/1.1\r\nHost: h\r\n\r\n"),
    Fault("nul-first", b"\x00GET /bad HTTP/1.1\r\nHost: h\r\n\r\n"),
    Fault("separator-in-name", head(b"X(A): b")),
    Fault("quote-in-name", head(b'"X-A": b')),
    Fault("slash-in-name", head(b"X/A: b")),
    Fault("bracket-in-name", head(b"X[A]: b")),
    Fault("high-byte-in-name", head(b"X\xe9: b")),
]

HOSTS = [
    Fault("host-missing", b"GET /bad HTTP/1.1\r\nX-A: b\r\n\r\n"),
    Fault("host-missing-no-headers", b"GET /bad HTTP/1.1\r\n\r\n"),
    Fault("host-twice", b"GET /bad HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    Fault("host-twice-different", b"GET /bad HTTP/1.1\r\nHost: a\r\nX-A: b\r\nhost: b\r\n\r\n"),
    Fault("host-missing-absolute", b"GET http://h/bad HTTP/1.1\r\nX-A: b\r\n\r\n"),
    Fault("host-twice-absolute", b"GET http://h/bad HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    Fault("host-twice-http10", b"GET /bad HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
]

HOST_FORMS = {
    "space": b"a b",
    "comma": b"a,b",
    "slash": b"a/b",
    "query": b"a?b",
    "fragment": b"a#b",
    "user": b"u@h",
    "word-as-port": b"h:http",
    "two-ports": b"h:80:90",
    "long-port": b"h:123456",
    "open-bracket": b"[::1",
    "closing-bracket": b"::1]",
    "behind-bracket": b"[::1]x",
    "bracketed-name": b"[host]",
    "backslash": b"a\\b",
    "quote": b'a"b',
    "high-byte": b"h\xe9",
}
HOSTS += [
    Fault(f"host-form-{name}", b"GET /bad HTTP/1.1\r\nHost: " + value + b"\r\n\r\n")
    for name, value in HOST_FORMS.items()
]

REQUEST_LINES = [
    Fault("two-spaces-after-method", line(b"GET  /bad HTTP/1.1")),
    Fault("two-spaces-before-version", line(b"GET /bad  HTTP/1.1")),
    Fault("tab-after-method", line(b"GET\t/bad HTTP/1.1")),
    Fault("tab-before-version", line(b"GET /bad\tHTTP/1.1")),
    Fault("leading-space", line(b" GET /bad HTTP/1.1")),
    Fault("trailing-space", line(b"GET /bad HTTP/1.1 ")),
    Fault("trailing-word", line(b"GET /bad HTTP/1.1 x")),
    Fault("space-in-target", line(b"GET /b ad HTTP/1.1")),
    Fault("no-version", line(b"GET /bad")),
    Fault("no-target", line(b"GET HTTP/1.1")),
    Fault("empty-target", line(b"GET  HTTP/1.1")),
    Fault("only-method", line(b"GET")),
    Fault("no-method", line(b"/bad HTTP/1.1")),
    Fault("version-lower-case", line(b"GET /bad http/1.1")),
    Fault("version-mixed-case", line(b"GET /bad Http/1.1")),
    Fault("version-no-slash", line(b"GET /bad HTTP1.1"), OLD_VERSION),
    Fault("version-no-minor", line(b"GET /bad HTTP/1"), OLD_VERSION),
    Fault("version-dot", line(b"GET /bad HTTP/1."), OLD_VERSION),
    Fault("version-two-digits", line(b"GET /bad HTTP/1.10"), OLD_VERSION),
    Fault("version-leading-zero", line(b"GET /bad HTTP/01.1"), OLD_VERSION),
    Fault("version-letter", line(b"GET /bad HTTP/1.x"), OLD_VERSION),
    Fault("version-plus", line(b"GET /bad HTTP/+1.1"), OLD_VERSION),
    Fault("version-other-name", line(b"GET /bad ICY/1.1"), OLD_VERSION),
    Fault("version-prefix", line(b"GET /bad XHTTP/1.1"), OLD_VERSION),
    Fault("method-separator", line(b"GE(T) /bad HTTP/1.1")),
    Fault("method-control", line(b"G\x01ET /bad HTTP/1.1")),
    Fault("method-colon", line(b"GET: /bad HTTP/1.1")),
    Fault("method-high-byte", line(b"G\xc9T /bad HTTP/1.1")),
    Fault("target-no-slash", line(b"GET bad HTTP/1.1")),
    Fault("target-authority", line(b"GET h:80 HTTP/1.1")),
    Fault("target-asterisk-get", line(b"GET * HTTP/1.1")),
    Fault("target-control", line(b"GET /b\x01ad HTTP/1.1")),
    Fault("target-delete", line(b"GET /b\x7fad HTTP/1.1")),
    Fault("target-absolute-no-host", line(b"GET http:///bad HTTP/1.1")),
    Fault("target-authority-user", line(b"GET http://u@h/bad HTTP/1.1")),
    Fault("target-authority-only-port", line(b"GET http://:80/bad HTTP/1.1")),
    Fault("target-authority-bad-port", line(b"GET http://h:x/bad HTTP/1.1")),
    Fault("target-fragment", line(b"GET /bad#x HTTP/1.1")),
    Fault("target-high-byte", line(b"GET /b\xe9ad HTTP/1.1")),
    Fault("http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION),
    Fault("version-2.0", line(b"GET /bad HTTP/2.0"), VERSION),
    Fault("version-3.0", line(b"GET /bad HTTP/3.0"), VERSION),
    Fault("version-0.9", line(b"GET /bad HTTP/0.9"), OLD_VERSION),
    Fault("tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n"),
]

HEADS = [*LENGTH_AND_CODING, *LENGTHS, *CODINGS, *LINE_ENDS, *FOLDS_AND_COLONS, *HOSTS, *REQUEST_LINES]


def smuggled(arena: Arena) -> bytes:
    """Return the sound request that stands behind a bad one, with a path of this check."""
    return b"GET /smuggled/%s HTTP/1.1\r\nHost: h\r\n\r\n" % arena.check_name.encode()


async def sentinel(arena: Arena) -> None:
    """Send a sound request to each backend, which arrives behind whatever was let through."""
    await asyncio.sleep(SETTLE_SECONDS)
    path = arena.target(response(b"sentinel"))
    for _ in arena.backends:
        got = await arena.get(path)
        equal("a sound request afterwards", (200, b"sentinel"), (got.status, bytes(got.body)))


def reached(arena: Arena, before: list[int]) -> list[str]:
    """Say what the backends got since, beside sentinels."""
    new = [r for b, start in zip(arena.backends, before, strict=True) for r in b.requests[start:]]
    own = f"/{arena.check_name}/".encode()  # sentinels; what an earlier check let through may come late
    others = [r for r in new if own not in r.target and not r.target.startswith(b"/smuggled/")]
    through = [r for r in new if r.target == b"/smuggled/" + arena.check_name.encode()]
    return [short(request.start) for request in others + through]


async def refused_response(client: Client, data: bytes, statuses: tuple[int, ...]) -> Response:
    """Send, and read the one response that refuses."""
    await client.try_send(data)
    got = await client.response("GET")
    expected = " or ".join(map(str, statuses))
    expect(got.status in statuses, f"status: expected {expected}, got {got.status} {short(bytes(got.body))}")
    return got


async def head_refused(fault: Fault, arena: Arena) -> None:
    """A bad head: refused, closed, unseen by backends, and the next client is served."""
    before = [len(backend.requests) for backend in arena.backends]
    bytes_before = [len(backend.violations) for backend in arena.backends]
    with await arena.client() as client:
        got = await refused_response(client, fault.data + smuggled(arena), fault.statuses)
        await client.nothing_more()
    await sentinel(arena)
    expect(not (found := reached(arena, before)), f"these reached a backend: {found}")
    equal("violations", bytes_before, [len(backend.violations) for backend in arena.backends])
    arena.error(got, *fault.statuses)
    expect(got.closes, f"the refusal does not say that the connection closes: {short(got.headers)}")


for _fault in HEADS:
    REGISTRY.add(f"smuggling/{_fault.name}", functools.partial(head_refused, _fault), SMUGGLING)


async def head_refused_in_pieces(fault: Fault, arena: Arena) -> None:
    """The same head one byte a packet: no read may be clever about what it has not seen."""
    before = [len(backend.requests) for backend in arena.backends]
    with await arena.client() as client:
        sending = asyncio.ensure_future(_slowly(client, fault.data + smuggled(arena)))
        got = await client.response("GET")
        expect(got.status in fault.statuses, f"status: expected {fault.statuses}, got {got.status}")
        await sending
        await client.until_end()
    await sentinel(arena)
    expect(not (found := reached(arena, before)), f"these reached a backend: {found}")


async def _slowly(client: Client, data: bytes) -> None:
    for at in range(len(data)):
        if not await client.try_send(data[at : at + 1]):
            return
        await asyncio.sleep(0.0002)


IN_PIECES = ("cl-then-te", "cl-plus", "te-unknown", "lf-hides-te", "fold-te", "space-before-colon-te", "cr-in-value")
for _fault in HEADS:
    if _fault.name in IN_PIECES:
        REGISTRY.add(f"smuggling/pieces-{_fault.name}", functools.partial(head_refused_in_pieces, _fault), SMUGGLING)


async def head_refused_behind(fault: Fault, arena: Arena) -> None:
    """A bad request behind a sound one in the same packet: the sound one is answered, the bad one refused."""
    before = [len(backend.requests) for backend in arena.backends]
    path = arena.target(response(b"first"))
    with await arena.client() as client:
        await client.try_send(get(path) + fault.data + smuggled(arena))
        equal("first answer", b"first", bytes((await client.response()).body))
        got = await client.response()
        expect(got.status in fault.statuses, f"status: expected {fault.statuses}, got {got.status}")
        await client.nothing_more()
    await sentinel(arena)
    expect(not (found := reached(arena, before)), f"these reached a backend: {found}")


for _fault in HEADS:
    if _fault.name in {*IN_PIECES, "host-twice", "version-2.0", "nul-in-value", "two-spaces-after-method"}:
        REGISTRY.add(f"smuggling/behind-{_fault.name}", functools.partial(head_refused_behind, _fault), SMUGGLING)


# --- bodies ---

CHUNKS = {
    "size-plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "size-minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "size-0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size-0X": b"0X5\r\nhello\r\n0\r\n\r\n",
    "size-not-hex": b"g\r\nhello\r\n0\r\n\r\n",
    "size-empty": b"\r\nhello\r\n0\r\n\r\n",
    "size-only-extension": b";a=b\r\nhello\r\n0\r\n\r\n",
    "size-leading-space": b" 5\r\nhello\r\n0\r\n\r\n",
    "size-leading-tab": b"\t5\r\nhello\r\n0\r\n\r\n",
    "size-inner-space": b"5 5\r\nhello\r\n0\r\n\r\n",
    "size-underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "size-comma": b"5,\r\nhello\r\n0\r\n\r\n",
    "size-nul": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "size-over-64-bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "size-all-ones": b"ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "size-64-bits": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "size-17-digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "size-bare-lf": b"5\nhello\r\n0\r\n\r\n",
    "size-bare-cr": b"5\rhello\r\n0\r\n\r\n",
    "size-cr-cr-lf": b"5\r\r\nhello\r\n0\r\n\r\n",
    "extension-bare-lf": b"5;a\nhello\r\n0\r\n\r\n",
    "extension-bare-cr": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "extension-nul": b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    "extension-control": b"5;a=\x01\r\nhello\r\n0\r\n\r\n",
    "extension-5000-bytes": b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "data-no-crlf": b"5\r\nhello0\r\n\r\n",
    "data-bare-lf": b"5\r\nhello\n0\r\n\r\n",
    "data-bare-cr": b"5\r\nhello\r0\r\n\r\n",
    "data-longer": b"5\r\nhelloX\r\n0\r\n\r\n",
    "data-shorter": b"5\r\nhell\r\n0\r\n\r\n\r\n",
    "data-lf-cr": b"5\r\nhello\n\r0\r\n\r\n",
    "second-size-plus": b"5\r\nhello\r\n+3\r\nabc\r\n0\r\n\r\n",
    "last-bare-lf": b"5\r\nhello\r\n0\n\r\n",
    "last-minus": b"5\r\nhello\r\n-0\r\n\r\n",
    "last-0x": b"5\r\nhello\r\n0x0\r\n\r\n",
    "end-bare-lf": b"5\r\nhello\r\n0\r\n\n",
    "trailer-bare-lf": b"5\r\nhello\r\n0\r\nX-A: b\n\r\n",
    "trailer-bare-cr": b"5\r\nhello\r\n0\r\nX-A: b\rc\r\n\r\n",
    "trailer-no-colon": b"5\r\nhello\r\n0\r\nX-A b\r\n\r\n",
    "trailer-space-before-colon": b"5\r\nhello\r\n0\r\nX-A : b\r\n\r\n",
    "trailer-fold": b"5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n",
    "trailer-nul": b"5\r\nhello\r\n0\r\nX-A: \x00\r\n\r\n",
    "trailer-space-in-name": b"5\r\nhello\r\n0\r\nX A: b\r\n\r\n",
    "trailer-empty-name": b"5\r\nhello\r\n0\r\n: b\r\n\r\n",
    "trailer-20000-bytes": b"5\r\nhello\r\n0\r\nX-A: " + b"a" * 20000 + b"\r\n\r\n",
}


async def refusal_or_cut(client: Client) -> Response | None:
    """Read what a client gets whose body is bad: a response, or None where the connection just ended."""
    try:
        return await client.response("POST")
    except Truncated as cut:
        expect(not cut.message.raw_head, f"a cut response: {cut}")
        return None


async def chunks_refused(body: bytes, pause: float, arena: Arena) -> None:
    """Bad chunks: 400 and closed; no backend gets a whole request or what stands behind the fault."""
    path = arena.target()
    request = post_chunked(path, body)
    at = request.index(b"\r\n\r\n") + 4
    with await arena.client() as client:
        await client.try_send(request[:at] if pause else request + smuggled(arena))
        if pause:
            await asyncio.sleep(pause)
            await client.try_send(request[at:] + smuggled(arena))
        got = await refusal_or_cut(client)
        equal("status", 400, got.status if got else "a closed connection")
        await client.nothing_more()
    await sentinel(arena)
    whole = [short(request.start) for request in arena.got(path) if request.complete]
    expect(not whole, f"a backend took this for a whole request: {whole}")
    expect(not arena.got(b"/smuggled/" + arena.check_name.encode()), "the request behind the fault reached a backend")


for _name, _chunks in CHUNKS.items():
    REGISTRY.add(
        f"smuggling/chunk-{_name}", functools.partial(chunks_refused, _chunks, 0.0), Setup("chunks", backends=2)
    )
    if _name in ("size-plus", "size-bare-lf", "data-longer", "trailer-bare-lf", "size-over-64-bits", "data-bare-lf"):
        REGISTRY.add(
            f"smuggling/chunk-apart-{_name}",
            functools.partial(chunks_refused, _chunks, 0.05),
            Setup("chunks", backends=2),
        )


# --- either way is sound, but only one way at a time ---

EITHER = {
    "cl-twice-same": (head(CL, CL), b"0\r\n\r\n"),
    "cl-twice-same-value": (head(CL, b"Content-Length: 05"), b"0\r\n\r\n"),
    "cl-leading-zeros": (head(b"Content-Length: 005"), b"0\r\n\r\n"),
    "te-other-case": (head(b"Transfer-Encoding: Chunked"), b""),
    "te-tab": (head(b"Transfer-Encoding:\tchunked"), b""),
    "te-space-behind": (head(b"Transfer-Encoding: chunked \t"), b""),
    "te-on-get": (head(TE, start=b"GET /%s HTTP/1.1"), b""),
    "cl-on-get": (head(CL, start=b"GET /%s HTTP/1.1"), b"0\r\n\r\n"),
    "cl-on-head": (head(CL, start=b"HEAD /%s HTTP/1.1"), b"0\r\n\r\n"),
    "cl-on-options": (head(CL, start=b"OPTIONS /%s HTTP/1.1"), b"0\r\n\r\n"),
    "te-in-http10": (head(TE, start=b"POST /%s HTTP/1.0"), b""),
    "empty-host": (b"POST /bad HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n", b""),
    "odd-host": (b"POST /bad HTTP/1.1\r\nHost: a/b?c@d\r\nContent-Length: 0\r\n\r\n", b""),
    "version-1.2": (b"POST /bad HTTP/1.2\r\nHost: h\r\nContent-Length: 0\r\n\r\n", b""),
    "control-in-value": (head(b"X-A: b\x01c", b"Content-Length: 0", body=b""), b""),
    "upgrade-h2c": (head(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 0", body=b""), b""),
    "expect-unknown": (head(b"Expect: a-miracle", b"Content-Length: 0", body=b""), b""),
}
FINE = (200, 400, 405, 417, 501, 505)
"""Served or refused: RFC 9112 allows both here."""


async def one_reading(data: bytes, body: bytes, arena: Arena) -> None:
    """What may be served or refused is read in one way only: backend and proxy agree where it ends."""
    own, after = arena.target(), arena.target(response(b"after"))
    data = data.replace(b"/bad", own, 1)
    method = data.split(b" ", 1)[0].decode()
    with await arena.client() as client:
        await client.try_send(data + get(after))
        got = await client.response(method)
        expect(got.status in FINE, f"status: expected one of {FINE}, got {got.status}")
        if got.status >= 400 or got.closes:
            await client.nothing_more()
        else:
            equal("the request behind it", b"after", bytes((await client.response()).body))
    seen = arena.got(own)
    equal("requests at the backend", 1 if got.status == 200 else 0, len(seen))
    for request in seen:
        equal("body at the backend", body, bytes(request.body))
    equal("the request behind it at a backend", 0 if got.status >= 400 or got.closes else 1, len(arena.got(after)))


for _name, (_data, _body) in EITHER.items():
    REGISTRY.add(f"smuggling/one-reading-{_name}", functools.partial(one_reading, _data, _body), Setup("either"))
