"""What happens to headers: which go, which come, and that all others stay as they were."""

from __future__ import annotations

import functools

from checks_framing import same_body
from proxy_arena import REGISTRY, Arena, Setup, equal, expect, get, post
from proxy_backend import Backend, response
from proxy_program import Program
from proxy_wire import Client, Headers, Message, short

HEADERS = Setup("headers")
ADDED = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"via"}
CONNECTION = {b"connection", b"keep-alive"}
"""Each side of a proxy has its own connection and may say what it does with it."""
US = b"127.0.0.1"


def others(headers: Headers, *also: bytes) -> Headers:
    """Return the headers that a proxy must leave alone."""
    left_out = ADDED | CONNECTION | {name.lower() for name in also}
    return [(name, value) for name, value in headers if name.lower() not in left_out]


def names(message: Message) -> set[bytes]:
    """Return the names of all headers in lower case."""
    return {name.lower() for name, _ in message.headers}


def parsed(lines: tuple[bytes, ...]) -> Headers:
    """Return header lines as they are written in a check."""
    pairs = [line.split(b":", 1) for line in lines]
    return [(name, value.strip(b" \t")) for name, value in pairs]


# --- kept ---

KEPT = {
    "order": (b"Zeta: 1", b"Alpha: 2", b"Mid: 3", b"Beta: 4", b"Accept: */*", b"User-Agent: x", b"Cookie: a=b"),
    "case": (b"x-LOWER-Upper: 1", b"UPPER: 2", b"lower: 3", b"uSER-aGENT: x", b"cONTENT-tYPE: a/b"),
    "duplicates": (b"X-A: 1", b"X-B: 2", b"x-a: 3", b"X-A: 1", b"Cookie: a", b"Cookie: b", b"Accept: a", b"Accept: b"),
    "empty-values": (b"X-Empty:", b"X-Blank:  ", b"X-Tab:\t", b"X-Full: x"),
    "no-space": (b"X-A:1", b"X-B:2"),
    "inner-space": (b"X-A: a  b\tc", b"X-B:   lead", b"X-C: trail  "),
    "bytes": (b"X-Latin: caf\xe9", b"X-Utf8: \xe2\x82\xac", b"X-All: \x80\x9f\xa0\xff"),
    "odd-names": (b"!#$%&'*+-.^_`|~09Az: v", b"_x: 1", b"1: 2", b"a.b: c"),
    "odd-values": (b'X-A: "q\\"uoted, (comment) ;=\\', b"X-B: :::", b"X-C: ,,,", b"X-D: <script>"),
    "end-to-end": (b"Authorization: Basic eDp5", b"Range: bytes=0-1", b'If-None-Match: "x"', b"Accept-Encoding: gzip"),
    "proxy-authorization": (b"Proxy-Authorization: Basic eDp5",),
    "many": tuple(b"X-H%d: %d" % (number, number * number) for number in range(90)),
    "long-value": (b"X-Long: " + b"v" * 12000,),
    "content": (b"Content-Type: text/plain", b"Content-Encoding: gzip", b"Content-Language: en", b"Date: today"),
    "underscores": (b"Content_Length: 7", b"Transfer_Encoding: chunked"),
    "looks-like-hop-by-hop": (b"X-Connection: close", b"Connection-X: 1", b"TEX: 1", b"Upgraded: 1", b"Keep: 1"),
}


async def request_kept(lines: tuple[bytes, ...], arena: Arena) -> None:
    """These headers of a request reach the backend in their order, case and number."""
    got = await arena.arrives(lambda path: get(path, *lines))
    arena.same_headers("headers", [(b"Host", b"example.test"), *parsed(lines)], others(got.headers))


async def response_kept(lines: tuple[bytes, ...], arena: Arena) -> None:
    """These headers of a response reach the client in their order, case and number."""
    path = arena.target(response(b"x", *lines))
    got = await arena.get(path)
    arena.same_headers("headers", [*parsed(lines), (b"Content-Length", b"1")], others(got.headers))
    same_body(b"x", got)


for _name, _lines in KEPT.items():
    REGISTRY.add(f"headers/request-kept-{_name}", functools.partial(request_kept, _lines), HEADERS)
    REGISTRY.add(f"headers/response-kept-{_name}", functools.partial(response_kept, _lines), HEADERS)


@REGISTRY.check("headers/response-kept-cookies", HEADERS)
async def cookies_kept(arena: Arena) -> None:
    """Set-Cookie is never joined."""
    lines = (b"Set-Cookie: a=1; Path=/", b"Set-Cookie: b=2, c=3", b"Set-Cookie: a=1; Path=/")
    got = await arena.get(arena.target(response(b"x", *lines)))
    equal("Set-Cookie", [value for _, value in parsed(lines)], got.all("set-cookie"))


@REGISTRY.check("headers/response-kept-server-and-date", HEADERS)
async def server_kept(arena: Arena) -> None:
    """Server and Date are the backend's own, once."""
    got = await arena.get(arena.target(response(b"x", b"Server: mine/1", b"Date: Mon, 01 Jan 2001 00:00:00 GMT")))
    equal("Server", [b"mine/1"], got.all("server"))
    equal("Date", [b"Mon, 01 Jan 2001 00:00:00 GMT"], got.all("date"))


@REGISTRY.check("headers/response-not-invented", HEADERS)
async def nothing_invented(arena: Arena) -> None:
    """A response gets Via and nothing else that it had not."""
    got = await arena.get(arena.target(response(b"x")))
    invented = names(got) - {b"via", b"content-length"} - CONNECTION
    expect(not invented, f"invented headers: {sorted(invented)}")


@REGISTRY.check("headers/host-kept", HEADERS)
async def host_kept(arena: Arena) -> None:
    """Host passes unchanged, with its port and case."""
    path = arena.target()
    request = b"GET %s HTTP/1.1\r\nAccept: a\r\nhOsT: Some.Host:1234\r\nX: y\r\n\r\n" % path
    equal("status", 200, (await arena.ask(request)).status)
    got = await arena.backend.wait_for(path)
    arena.same_headers("headers", [(b"Accept", b"a"), (b"hOsT", b"Some.Host:1234"), (b"X", b"y")], others(got.headers))


# --- removed ---

HOP_BY_HOP = {
    "keep-alive": (b"Keep-Alive: timeout=5",),
    "proxy-connection": (b"Proxy-Connection: keep-alive",),
    "te-other": (b"TE: gzip;q=0.5",),
    "upgrade-alone": (b"Upgrade: websocket",),
    "nominated": (b"Connection: X-Hop", b"X-Hop: 1"),
    "nominated-list": (b"Connection: keep-alive, X-Hop ,x-other", b"X-Hop: 1", b"X-OTHER: 2"),
    "nominated-other-case": (b"connection: x-HOP", b"X-hop: 1"),
    "nominated-behind": (b"X-Hop: 1", b"Connection: x-hop"),
    "nominated-two-lines": (b"Connection: x-a", b"X-A: 1", b"Connection: x-b", b"X-B: 2"),
    "nominated-duplicates": (b"X-Hop: 1", b"Connection: x-hop", b"X-Hop: 2", b"x-hop: 3"),
    "nominated-empty-elements": (b"Connection: , ,x-hop,,", b"X-Hop: 1"),
}
NOT_REMOVED = (b"X-Hop-Not: kept", b"X-Ho: kept")


def hop_names(lines: tuple[bytes, ...]) -> set[bytes]:
    """Return the names that must not arrive."""
    return {name.lower() for name, _ in parsed(lines)} - {b"connection"}


async def request_removed(lines: tuple[bytes, ...], arena: Arena) -> None:
    """These headers of a request stay on their hop; others do not go with them."""
    got = await arena.arrives(lambda path: get(path, NOT_REMOVED[0], *lines, NOT_REMOVED[1]))
    left = names(got) & hop_names(lines)
    expect(not left, f"these reached the backend: {sorted(left)}")
    arena.same_headers("other headers", [(b"Host", b"example.test"), *parsed(NOT_REMOVED)], others(got.headers))
    words = {word.lower() for word in got.listed("connection")}
    expect(words <= {b"keep-alive", b"te"}, f"Connection at the backend: {sorted(words)}")


async def response_removed(lines: tuple[bytes, ...], arena: Arena) -> None:
    """These headers of a response stay on their hop."""
    got = await arena.get(arena.target(response(b"x", NOT_REMOVED[0], *lines, NOT_REMOVED[1])))
    left = names(got) & hop_names(lines)
    expect(not left, f"these reached the client: {sorted(left)}")
    arena.same_headers("other headers", [*parsed(NOT_REMOVED), (b"Content-Length", b"1")], others(got.headers))
    words = {word.lower() for word in got.listed("connection")}
    expect(words <= {b"keep-alive"}, f"Connection at the client: {sorted(words)}")


for _name, _lines in HOP_BY_HOP.items():
    REGISTRY.add(f"headers/request-removed-{_name}", functools.partial(request_removed, _lines), HEADERS)
    if _name not in ("te-other", "keep-alive"):
        REGISTRY.add(f"headers/response-removed-{_name}", functools.partial(response_removed, _lines), HEADERS)


@REGISTRY.check("headers/request-keep-alive-value-not-passed", HEADERS)
async def keep_alive_value(arena: Arena) -> None:
    """The client's Keep-Alive parameters are about its own connection."""
    got = await arena.arrives(lambda path: get(path, b"Keep-Alive: timeout=4711"))
    equal("Keep-Alive", [], got.all("keep-alive"))


@REGISTRY.check("headers/response-keep-alive-value-not-passed", HEADERS)
async def response_keep_alive_value(arena: Arena) -> None:
    """The backend's Keep-Alive parameters are about its own connection."""
    got = await arena.get(arena.target(response(b"x", b"Connection: keep-alive", b"Keep-Alive: timeout=4711")))
    expect(b"timeout=4711" not in got.all("keep-alive"), f"Keep-Alive: {got.all('keep-alive')}")


@REGISTRY.check("headers/request-close-not-passed", HEADERS)
async def close_not_passed(arena: Arena) -> None:
    """A client that closes does not close the backend's connection."""
    path = arena.target(response(b"x"))
    for _ in range(3):
        equal("status", 200, (await arena.get(path, b"Connection: close")).status)
    seen = arena.got(path)
    words = {word.lower() for request in seen for word in request.listed("connection")}
    expect(b"close" not in words, "Connection: close reached the backend")
    expect(len({request.connection for request in seen}) == 1, "every request had a backend connection of its own")


@REGISTRY.check("headers/request-te-trailers-kept", HEADERS)
async def te_trailers(arena: Arena) -> None:
    """`TE: trailers` is the one TE that is passed on."""
    got = await arena.arrives(lambda path: get(path, b"TE: trailers"))
    equal("TE", [b"trailers"], got.all("te"))


@REGISTRY.check("headers/request-te-mixed", HEADERS)
async def te_mixed(arena: Arena) -> None:
    """Of a longer TE at most `trailers` is left."""
    got = await arena.arrives(lambda path: get(path, b"TE: trailers, deflate;q=0.5"))
    expect(got.all("te") in ([], [b"trailers"]), f"TE: expected trailers or nothing, got {got.all('te')}")


@REGISTRY.check("headers/request-nominates-content-length", HEADERS)
async def nominated_length(arena: Arena) -> None:
    """`Connection: content-length` does not take the frame off a body (or is refused)."""
    path = arena.target()
    got = await arena.ask(post(path, b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", b"Connection: content-length"))
    expect(got.status in (200, 400), f"status: expected 200 or 400, got {got.status}")
    if got.status == 200:
        same_body(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", await arena.backend.wait_for(path))
    equal("requests out of the body", 0, len(arena.got(b"/x")))


@REGISTRY.check("headers/request-nominates-host", HEADERS)
async def nominated_host(arena: Arena) -> None:
    """`Connection: host` does not take Host away (or is refused)."""
    path = arena.target()
    got = await arena.get(path, b"Connection: host")
    expect(got.status in (200, 400), f"status: expected 200 or 400, got {got.status}")
    if got.status == 200:
        equal("Host", [b"example.test"], (await arena.backend.wait_for(path)).all("host"))


@REGISTRY.check("headers/request-nominates-forwarded", HEADERS)
async def nominated_forwarded(arena: Arena) -> None:
    """`Connection: x-forwarded-for` does not hide the client's address."""
    got = await arena.arrives(lambda path: get(path, b"Connection: close, X-Forwarded-For, Via"))
    equal("last of X-Forwarded-For", [US], got.listed("x-forwarded-for")[-1:])
    equal("last of Via", [b"1.1 deadheat"], got.listed("via")[-1:])


# --- added ---


@REGISTRY.check("headers/added-to-request", HEADERS)
async def added_to_request(arena: Arena) -> None:
    """The four headers that say who asked what, once each."""
    got = await arena.arrives(get)
    equal("X-Forwarded-For", [US], got.all("x-forwarded-for"))
    equal("X-Forwarded-Proto", [b"http"], got.all("x-forwarded-proto"))
    equal("X-Forwarded-Host", [b"example.test"], got.all("x-forwarded-host"))
    equal("Via", [b"1.1 deadheat"], got.all("via"))


@REGISTRY.check("headers/added-spelling", HEADERS)
async def added_spelling(arena: Arena) -> None:
    """The added headers are spelled as the contract spells them, in requests and responses."""
    got = await arena.arrives(get)
    spelled = {name for name, _ in got.headers if name.lower() in ADDED}
    equal("names", {b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Via"}, spelled)
    answer = await arena.get(arena.target(response(b"x")))
    equal("names", {b"Via"}, {name for name, _ in answer.headers if name.lower() in ADDED})


@REGISTRY.check("headers/forwarded-for-source-address", HEADERS)
async def forwarded_for_source(arena: Arena) -> None:
    """The address is the one the client came from, not a constant."""
    path = arena.target()
    with await arena.client(source="127.9.8.7") as client:
        equal("status", 200, (await client.ask(get(path))).status)
    equal("X-Forwarded-For", [b"127.9.8.7"], (await arena.backend.wait_for(path)).all("x-forwarded-for"))


APPENDED = {
    "forwarded-for": ((b"X-Forwarded-For: 10.0.0.1",), "x-forwarded-for", [b"10.0.0.1", US]),
    "forwarded-for-list": (
        (b"X-Forwarded-For: 10.0.0.1, 10.0.0.2",),
        "x-forwarded-for",
        [b"10.0.0.1", b"10.0.0.2", US],
    ),
    "forwarded-for-lines": (
        (b"X-Forwarded-For: 10.0.0.1", b"X-A: b", b"x-forwarded-for: 10.0.0.2"),
        "x-forwarded-for",
        [b"10.0.0.1", b"10.0.0.2", US],
    ),
    "forwarded-for-empty": ((b"X-Forwarded-For:",), "x-forwarded-for", [US]),
    "via": ((b"Via: 1.0 fred, 1.1 p.example",), "via", [b"1.0 fred", b"1.1 p.example", b"1.1 deadheat"]),
    "via-lines": ((b"Via: 1.0 fred", b"via: 1.1 p"), "via", [b"1.0 fred", b"1.1 p", b"1.1 deadheat"]),
}


async def request_appended(lines: tuple[bytes, ...], name: str, expected: list[bytes], arena: Arena) -> None:
    """What earlier proxies wrote stays in front."""
    got = await arena.arrives(lambda path: get(path, *lines))
    equal(name, expected, got.listed(name))


async def response_appended(lines: tuple[bytes, ...], name: str, expected: list[bytes], arena: Arena) -> None:
    """What a proxy behind us wrote stays in front."""
    got = await arena.get(arena.target(response(b"x", *lines)))
    equal(name, expected, got.listed(name))


for _name, (_lines, _header, _expected) in APPENDED.items():
    REGISTRY.add(f"headers/appended-{_name}", functools.partial(request_appended, _lines, _header, _expected), HEADERS)
    if _header == "via":
        REGISTRY.add(
            f"headers/response-appended-{_name}",
            functools.partial(response_appended, _lines, _header, _expected),
            HEADERS,
        )


@REGISTRY.check("headers/forwarded-proto-not-believed", HEADERS)
async def forwarded_proto(arena: Arena) -> None:
    """The protocol is ours to say: the last word is http whatever the client claims."""
    got = await arena.arrives(lambda path: get(path, b"X-Forwarded-Proto: https"))
    equal("last of X-Forwarded-Proto", [b"http"], got.listed("x-forwarded-proto")[-1:])


@REGISTRY.check("headers/forwarded-host-kept", HEADERS)
async def forwarded_host(arena: Arena) -> None:
    """X-Forwarded-Host is only added where it is absent."""
    got = await arena.arrives(lambda path: get(path, b"x-forwarded-HOST: first.test"))
    equal("X-Forwarded-Host", [b"first.test"], got.all("x-forwarded-host"))


@REGISTRY.check("headers/forwarded-host-absolute-form", HEADERS)
async def forwarded_host_absolute(arena: Arena) -> None:
    """Of an absolute target X-Forwarded-Host is the authority, as Host is."""
    path = arena.target()
    equal("status", 200, (await arena.ask(get(b"http://other.test" + path))).status)
    got = await arena.backend.wait_for(path)
    equal("X-Forwarded-Host", [b"other.test"], got.all("x-forwarded-host"))


@REGISTRY.check("headers/via-on-every-response", HEADERS)
async def via_everywhere(arena: Arena) -> None:
    """Responses of any status and framing say through whom they came."""
    answers = [
        response(b"x"),
        response(b"x", status=b"404 Not Found"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ]
    for answer in answers:
        got = await arena.get(arena.target(answer))
        equal(f"Via of {short(answer[:30])}", [b"1.1 deadheat"], got.all("via"))


@REGISTRY.check("headers/via-of-http10-request", HEADERS)
async def via_old(arena: Arena) -> None:
    """A request of HTTP/1.0 says so, or 1.1."""
    path = arena.target()
    equal("status", 200, (await arena.ask(b"GET %s HTTP/1.0\r\nHost: h\r\n\r\n" % path)).status)
    got = (await arena.backend.wait_for(path)).all("via")
    expect(got in ([b"1.1 deadheat"], [b"1.0 deadheat"]), f"Via: {got}")


@REGISTRY.check("headers/additions-per-request", HEADERS)
async def additions_behind(arena: Arena) -> None:
    """Many requests on one connection: what was added to one is not in the next."""
    with await arena.client() as client:
        for number in range(5):
            path = arena.target()
            equal("status", 200, (await client.ask(get(path, b"X-N: %d" % number))).status)
            got = await arena.backend.wait_for(path)
            equal("X-N", [b"%d" % number], got.all("x-n"))
            equal("X-Forwarded-For", [US], got.all("x-forwarded-for"))
            equal("Via", [b"1.1 deadheat"], got.all("via"))


@REGISTRY.check("headers/ipv6-client", None)
async def ipv6_client(arena: Arena) -> None:
    """IPv6 on both sides; the client's address stands bare in X-Forwarded-For."""
    try:
        backend = Backend("b6", "::1")
    except OSError:
        return  # no IPv6 on this machine: nothing to show
    backend.up()
    program = None
    try:
        program = await Program.start(arena.around.program, ["--listen", "[::1]:0", "--backends", backend.address])
        with await Client.open(program.address) as client:
            equal("status", 200, (await client.ask(get(b"/six"))).status)
        equal("X-Forwarded-For", [b"::1"], backend.got(b"/six")[0].all("x-forwarded-for"))
    finally:
        if program:
            await program.kill()
        await backend.stop()
