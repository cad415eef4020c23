"""The same request to nginx directly and through the program: the same status, headers and bytes come back."""

from __future__ import annotations

import functools
import re

from proxy_arena import REGISTRY, Arena, Failed, Setup, equal, get, post, post_chunked
from proxy_wire import Client, Headers, Response

SITE = Setup("site", nginx=True)
OWN = {b"date", b"connection", b"keep-alive", b"transfer-encoding", b"via"}
"""Headers of the hop or of the moment; everything else must be equal."""
BOUNDARY = re.compile(rb"(?m)^--\d+|boundary=\d+")
FILES = ("empty.txt", "2b.txt", "1k.bin", "100k.bin", "10m.bin", "page.html")
ETAG = b'"deadheat"'


def stable(headers: Headers) -> Headers:
    """Return the headers that must be equal, in order."""
    return [(name, BOUNDARY.sub(b"--", value)) for name, value in headers if name.lower() not in OWN]


async def pair(arena: Arena, request: bytes, method: str = "") -> tuple[Response, Response]:
    """Return nginx's own response and the one through the program."""
    with await Client.open(("127.0.0.1", arena.backend.port)) as client:
        direct = await client.ask(request, method)
    return direct, await arena.ask(request, method)


def compare(arena: Arena, direct: Response, through: Response) -> None:
    """Fail where the two differ in anything a client sees."""
    equal("status line", direct.start, through.start)
    arena.same_headers("headers", stable(direct.headers), stable(through.headers))
    equal("length of the body", direct.size, through.size)
    if direct.body == through.body:
        return
    if BOUNDARY.sub(b"--", bytes(direct.body)) != BOUNDARY.sub(b"--", bytes(through.body)):
        at = next(i for i, (a, b) in enumerate(zip(direct.body, through.body, strict=True)) if a != b)
        raise Failed(f"the bodies differ at byte {at} of {direct.size}")


async def same(request: bytes, status: int, arena: Arena) -> None:
    """One request, both ways."""
    direct, through = await pair(arena, request)
    equal("nginx's own status", status, direct.status)
    compare(arena, direct, through)


def old(request: bytes) -> bytes:
    """Return a request as HTTP/1.0 writes it."""
    return request.replace(b" HTTP/1.1", b" HTTP/1.0", 1)


def add(name: str, request: bytes, status: int = 200) -> None:
    """Register a comparison."""
    REGISTRY.add(f"same-as-nginx/{name}", functools.partial(same, request, status), SITE)


def verb(method: bytes, request: bytes) -> bytes:
    """Return a GET request with another method."""
    return request.replace(b"GET", method, 1)


for _file in FILES:
    _path = b"/" + _file.encode()
    add(f"get-{_file}", get(_path))
    add(f"head-{_file}", verb(b"HEAD", get(_path)))
    add(f"http10-get-{_file}", old(get(_path)))
    add(f"http10-head-{_file}", old(verb(b"HEAD", get(_path))))

for _name, _range, _status in (
    ("first", b"bytes=0-0", 206),
    ("middle", b"bytes=1000-51199", 206),
    ("last", b"bytes=-5", 206),
    ("open", b"bytes=102399-", 206),
    ("beyond-end", b"bytes=100000-999999999", 206),
    ("unsatisfiable", b"bytes=102400-", 416),
    ("several", b"bytes=0-9,100-109,-10", 206),
    ("not-bytes", b"lines=1-2", 200),
    ("malformed", b"bytes=9-1", 416),
):
    add(f"range-{_name}", get(b"/100k.bin", b"Range: " + _range), _status)
    add(f"range-{_name}-head", verb(b"HEAD", get(b"/100k.bin", b"Range: " + _range)), _status)

for _name, _header, _status in (
    ("modified-since-future", b"If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT", 200),
    ("unmodified-since-past", b"If-Unmodified-Since: Mon, 01 Jan 1990 00:00:00 GMT", 412),
    ("none-match-any", b"If-None-Match: *", 304),
    ("match-other", b'If-Match: "other"', 412),
    ("none-match-other", b'If-None-Match: "a", W/"b"', 200),
):
    add(f"condition-{_name}", get(b"/1k.bin", _header), _status)
    add(f"condition-{_name}-head", verb(b"HEAD", get(b"/1k.bin", _header)), _status)

add("return-200", get(b"/ok"))
add("return-204", get(b"/none"), 204)
add("return-204-head", verb(b"HEAD", get(b"/none")), 204)
add("return-301", get(b"/moved"), 301)
add("return-302-with-host", get(b"/found"), 302)
add("return-403", get(b"/refused"), 403)
add("return-418", get(b"/teapot"), 418)
add("return-500", get(b"/broken"), 500)
add("return-503", get(b"/busy"), 503)
add("not-found", get(b"/no/such/file"), 404)
add("not-found-head", verb(b"HEAD", get(b"/no/such/file")), 404)
add("directory", get(b"/sub"), 301)
add("method-not-allowed", post(b"/1k.bin", b"a=b"), 405)
add("options", verb(b"OPTIONS", get(b"/1k.bin")), 405)
add("delete", verb(b"DELETE", get(b"/1k.bin")), 405)
add("zipped-page", get(b"/zip/page.html", b"Accept-Encoding: gzip"))
add("zipped-100k", get(b"/zip/100k.bin", b"Accept-Encoding: gzip"))
add("zipped-10m", get(b"/zip/10m.bin", b"Accept-Encoding: gzip"))
add("zipped-head", verb(b"HEAD", get(b"/zip/page.html", b"Accept-Encoding: gzip")))
add("zipped-not-asked", get(b"/zip/page.html"))
add("zipped-http10", old(get(b"/zip/page.html", b"Accept-Encoding: gzip")))
add("until-close", get(b"/old/page.html", b"Accept-Encoding: gzip"))
add("until-close-http10", old(get(b"/old/page.html", b"Accept-Encoding: gzip")))
add("query", get(b"/page.html?a=b&c=%2f"))
add("escaped-path", get(b"/%70age%2ehtml"))
add("dotted-path", get(b"/sub/../page.html"))
add("many-headers", get(b"/page.html", *(b"X-%d: %d" % (n, n) for n in range(80))))
add("expect-continue-on-get", get(b"/page.html", b"Expect: 100-continue"))


@REGISTRY.check("same-as-nginx/validators", SITE)
async def validators(arena: Arena) -> None:
    """The validators that came through the program are good for a 304 through it, and so is its Range condition."""
    first = await arena.get(b"/100k.bin")
    etag, modified = first.get("etag") or b"", first.get("last-modified") or b""
    for header in (b"If-None-Match: " + etag, b"If-Modified-Since: " + modified):
        direct, through = await pair(arena, get(b"/100k.bin", header))
        equal("nginx's own status", 304, direct.status)
        compare(arena, direct, through)
    direct, through = await pair(arena, get(b"/100k.bin", b"If-Range: " + etag, b"Range: bytes=5-9"))
    equal("nginx's own status", 206, direct.status)
    compare(arena, direct, through)


async def stored(size: int, how: str, arena: Arena) -> None:
    """What is PUT through the program is what nginx then gives out, directly and through it."""
    body = bytes(range(256)) * (size // 256)
    path = b"/store/%s-%d.bin" % (how.encode(), size)
    if how == "chunked":
        step = 50000
        cut = b"".join(
            b"%x\r\n%s\r\n" % (len(part), part) for at in range(0, size, step) if (part := body[at : at + step])
        )
        request = post_chunked(path, cut + b"0\r\n\r\n", method=b"PUT")
    else:
        request = post(path, body, method=b"PUT")
    equal("status of PUT", 201, (await arena.ask(request)).status)
    direct, through = await pair(arena, get(path))
    compare(arena, direct, through)
    if bytes(direct.body) != body:
        raise Failed(f"nginx stored {direct.size} bytes that are not the {len(body)} sent")
    equal("status of DELETE", 204, (await arena.ask(verb(b"DELETE", get(path)))).status)
    equal("status afterwards", 404, (await arena.ask(get(path))).status)


for _size in (0, 1024, 102400, 10 << 20):
    for _how in ("length", "chunked"):
        REGISTRY.add(f"same-as-nginx/put-{_how}-{_size}", functools.partial(stored, _size, _how), SITE)


@REGISTRY.check("same-as-nginx/pipelined", SITE)
async def pipelined(arena: Arena) -> None:
    """A pipeline of many kinds gives the same responses in the same order."""
    asked = [
        ("GET", get(b"/1k.bin")),
        ("HEAD", verb(b"HEAD", get(b"/100k.bin"))),
        ("GET", get(b"/none")),
        ("GET", get(b"/zip/page.html", b"Accept-Encoding: gzip")),
        ("GET", get(b"/100k.bin", b"Range: bytes=5-9")),
        ("GET", get(b"/no")),
        ("GET", get(b"/1k.bin", b"If-None-Match: *")),
        ("GET", get(b"/100k.bin")),
    ]
    answers = []
    for address in (("127.0.0.1", arena.backend.port), arena.program.address):
        with await Client.open(address) as client:
            await client.send(b"".join(request for _, request in asked))
            answers.append([await client.response(method) for method, _ in asked])
    for direct, through in zip(*answers, strict=True):
        compare(arena, direct, through)
