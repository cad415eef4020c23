"""The HTTP side: paths, methods, metrics, heads in pieces and too large, the limit of connections."""

from __future__ import annotations

import asyncio
import re
import time

import chat_wire as wire
from chat_client import Ended
from chat_lab import COUNTERS, REGISTRY, Lab, between, equal, expect

HEAD_SECONDS = 10.0
LARGEST_HEAD = 16 << 10
METHODS = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW")
PATHS = ("/", "/chat/", "/chats", "/healthy", "/Health", "/metrics/x", "/echo", "/../chat", "/%63hat%00")


def one_line(answer: wire.Response, status: int) -> None:
    """Fail unless an answer has a status and its line of text."""
    equal("status", status, answer.status)
    equal("body", wire.BODIES[status].encode(), answer.body)
    equal("Content-Length", str(len(answer.body)), answer.headers.get("content-length"))


@REGISTRY.named("http/health")
async def health(lab: Lab) -> None:
    """GET /health says ok."""
    async with lab.server() as server:
        one_line(await server.ask(wire.head("/health")), 200)
        one_line(await server.ask(wire.head("/health?x=1")), 200)


def _add_paths() -> None:
    for path in PATHS:

        async def unknown(lab: Lab, path: str = path) -> None:
            async with lab.server() as server:
                one_line(await server.ask(wire.head(path)), 404)

        REGISTRY.add(f"http/unknown/{path}", unknown)
    for method in METHODS:

        async def wrong(lab: Lab, method: str = method) -> None:
            async with lab.server("--echo") as server:
                for path in ("/chat", "/health", "/metrics", "/echo"):
                    bodiless = method == "HEAD"
                    request = wire.head(path, {"Host": "h", "Content-Length": "0"}, method)
                    answer = await server.ask(request, bodiless=bodiless)
                    equal(f"status of {method} {path}", 405, answer.status)
                    equal(f"Allow of {method} {path}", "GET", answer.headers.get("allow"))
                    expect(bodiless or answer.body == b"method not allowed\n", f"body: got {answer.body!r}")

        REGISTRY.add(f"http/method/{method}", wrong)


_add_paths()


@REGISTRY.named("http/method/unknown-path-first")
async def post_unknown(lab: Lab) -> None:
    """A path that is not there is 404 whatever the method."""
    async with lab.server() as server:
        one_line(await server.ask(wire.head("/none", {"Host": "h", "Content-Length": "0"}, "POST")), 404)


@REGISTRY.named("http/metrics/all-there")
async def metrics_fresh(lab: Lab) -> None:
    """A fresh server shows every counter, and all are 0."""
    async with lab.server() as server:
        found = await server.counters()
        equal("counters", dict.fromkeys(COUNTERS, 0), {name: found[name] for name in COUNTERS})


@REGISTRY.named("http/metrics/format")
async def metrics_format(lab: Lab) -> None:
    """The text is what Prometheus reads: each line a comment or a sample, types as names say."""
    async with lab.server() as server:
        answer = await server.ask(wire.head("/metrics"))
        expect(answer.headers.get("content-type", "").startswith("text/plain"), f"type: got {answer.headers}")
        text = answer.body.decode()
        expect(text.endswith("\n"), "expected a line feed at the end, got none")
        for line in text.splitlines():
            good = re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{.*\})? [-+.0-9eE]+", line)
            expect(good, f"expected a line of Prometheus' text format, got {line!r}")
        for name, kind in re.findall(r"^# TYPE chat_(\w+) (\w+)$", text, re.MULTILINE):
            equal(f"type of chat_{name}", "counter" if name.endswith("_total") else "gauge", kind)


@REGISTRY.named("http/metrics/people")
async def metrics_people(lab: Lab) -> None:
    """Connections, rooms and members follow what clients do."""
    async with lab.server() as server:
        members = [await server.member(room, "n") for room in ("a", "a", "b")]
        lone = await server.websocket()
        await server.counted(connections=4, rooms=2, members=3, connects_total=4)
        members[2].raw.close()
        await server.counted(connections=3, rooms=1, members=2)
        members[1].raw.reset()
        lone.close()
        await server.counted(connections=1, rooms=1, members=1, connects_total=4, protocol_errors_total=0)


@REGISTRY.named("http/keep-alive")
async def keep_alive(lab: Lab) -> None:
    """One connection serves many requests, and then a WebSocket."""
    async with lab.server() as server:
        raw = await server.connect()
        for path, status in [("/health", 200), ("/none", 404), ("/chat", 426), ("/health", 200)]:
            await raw.send(wire.head(path))
            equal(f"status of {path}", status, (await raw.response()).status)
        await raw.send(wire.upgrade_head())
        equal("status of the handshake", 101, (await raw.response()).status)
        await raw.say(wire.join())
        equal("joined", wire.joined("room", "nick", 1), await raw.text())


@REGISTRY.named("http/connection-close")
async def connection_close(lab: Lab) -> None:
    """Connection: close is obeyed."""
    async with lab.server() as server:
        raw = await server.connect()
        await raw.send(wire.head("/health", {"Host": "h", "Connection": "close"}))
        one_line(await raw.response(), 200)
        equal("after the answer", b"", await raw.end(4))


@REGISTRY.named("http/pipelined")
async def pipelined(lab: Lab) -> None:
    """Requests in one segment are answered in order."""
    async with lab.server() as server:
        raw = await server.connect()
        await raw.send(wire.head("/health") + wire.head("/none") + wire.head("/chat") + wire.head("/health"))
        equal("statuses", [200, 404, 426, 200], [(await raw.response()).status for _ in range(4)])


@REGISTRY.named("http/head-split-at-any-byte", seconds=2)
async def split_heads(lab: Lab) -> None:
    """A head may come in two pieces, cut anywhere."""
    request = wire.upgrade_head()
    async with lab.server() as server:

        async def one(at: int) -> None:
            raw = await server.connect()
            await raw.send(request[:at])
            await asyncio.sleep(0.03)
            await raw.send(request[at:])
            equal(f"status when cut at byte {at}", 101, (await raw.response()).status)
            raw.close()

        for start in range(1, len(request), 32):
            await asyncio.gather(*(one(at) for at in range(start, min(start + 32, len(request)))))


@REGISTRY.named("http/head-byte-by-byte")
async def bytewise(lab: Lab) -> None:
    """A head may come byte by byte."""
    async with lab.server() as server:
        raw = await server.connect()
        await raw.send_slowly(wire.upgrade_head())
        equal("status", 101, (await raw.response()).status)


@REGISTRY.named("http/head-of-16-kib")
async def large_head(lab: Lab) -> None:
    """A head just below the limit is served."""
    async with lab.server() as server:
        padding = LARGEST_HEAD - len(wire.head("/health", {"Host": "h", "X": ""})) - 256
        one_line(await server.ask(wire.head("/health", {"Host": "h", "X": "y" * padding})), 200)


@REGISTRY.named("http/head-too-large")
async def too_large_head(lab: Lab) -> None:
    """A head over 16 KiB is 431, in one header or in many, whole or not."""
    async with lab.server() as server:
        one_line(await server.ask(wire.head("/health", {"Host": "h", "X": "y" * 17000})), 431)
        many = {f"X-{number}": "y" * 400 for number in range(45)}
        one_line(await server.ask(wire.head("/health", {"Host": "h", **many})), 431)
        one_line(await server.ask(b"GET /health HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 17000), 431)
        await server.well()


@REGISTRY.named("http/head-never-ends")
async def endless_head(lab: Lab) -> None:
    """A head without end is cut, and the server's memory stays."""
    async with lab.server() as server:
        raw = await server.connect()
        before = server.program.memory_bytes()
        start = time.monotonic()
        try:
            for _ in range(512):
                await raw.send(b"y" * 65536, seconds=3)
        except (Ended, wire.WireError):
            pass
        grown = server.program.memory_bytes() - before
        expect(grown < 16 << 20, f"memory: expected at most 16 MiB more, got {grown >> 20} MiB")
        between("seconds", 0, time.monotonic() - start, 15)
        await server.well()


@REGISTRY.named("http/garbage")
async def garbage(lab: Lab) -> None:
    """What is no HTTP gets 400 or an end, and the server lives."""
    async with lab.server() as server:
        for waste in (b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"\0" * 300, b"GET /chat\r\n\r\n"):
            raw = await server.connect()
            await raw.send(waste + b"\r\n\r\n")
            try:
                answer = await raw.response()
            except Ended:
                continue
            equal(f"status for {waste[:20]!r}", 400, answer.status)
        await server.well()


@REGISTRY.named("http/half-a-head-is-cut", seconds=11)
async def half_head(lab: Lab) -> None:
    """A head that is not whole in 10 s is cut; one that trickles in too."""
    async with lab.server() as server:

        async def cut(data: bytes, *, trickle: bool = False) -> float:
            start = time.monotonic()
            raw = await server.connect()
            await raw.send(data)
            for _ in range(15 if trickle else 0):
                try:
                    await raw.send(b"X: y\r\n")
                    await raw.more(1)
                except Ended:
                    return time.monotonic() - start
                except wire.WireError:
                    continue
            await raw.end(HEAD_SECONDS + 6)
            return time.monotonic() - start

        whole = wire.upgrade_head()
        waits = await asyncio.gather(cut(whole[:40]), cut(whole[:-2]), cut(whole[:30], trickle=True))
        for name, wait in zip(("half", "without its last two bytes", "trickling"), waits, strict=True):
            between(f"seconds for a head that is {name}", HEAD_SECONDS - 0.5, wait, HEAD_SECONDS + 4)
        await server.well()


@REGISTRY.named("http/max-connections")
async def max_connections(lab: Lab) -> None:
    """Beyond --max-connections upgrades are 503; plain requests go on; a place that is free is taken again."""
    async with lab.server("--max-connections", "3") as server:
        taken = [await server.websocket() for _ in range(3)]
        for _ in range(3):
            one_line(await server.ask(wire.upgrade_head()), 503)
        one_line(await server.ask(wire.head("/health")), 200)
        equal("connections", 3, (await server.counters())["connections"])
        taken[0].close()
        await server.counted(connections=2)
        again = await server.websocket()
        await again.say(wire.join())
        equal("joined", wire.joined("room", "nick", 1), await again.text())
        await server.counted(connections=3, connects_total=4)


@REGISTRY.named("http/many-idle-connections")
async def idle(lab: Lab) -> None:
    """Connections that say nothing do not keep others from being served."""
    async with lab.server() as server:
        for _ in range(200):
            await server.connect()
        await server.well()
