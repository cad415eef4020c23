"""The opening handshake of RFC 6455, section 4, as a server must do it."""

from __future__ import annotations

import base64
import random

import chat_wire as wire
from chat_client import library
from chat_lab import REGISTRY, Lab, equal, expect

KEYS = 20
ORIGINS = ("--origins", "https://a.example,http://b.example:8080")


async def answer_of(lab: Lab, request: bytes, *options: str) -> wire.Response:
    """Send one request to a server of its own, which must live on."""
    async with lab.server(*options) as server:
        answer = await server.ask(request)
        await server.ask(wire.head("/health"))
        return answer


@REGISTRY.named("handshake/example-of-the-standard")
async def example(lab: Lab) -> None:
    """The key of RFC 6455 gets the accept of RFC 6455, and nothing is negotiated."""
    answer = await answer_of(lab, wire.upgrade_head())
    equal("status", 101, answer.status)
    equal("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", answer.headers.get("sec-websocket-accept"))
    equal("Upgrade", "websocket", answer.headers.get("upgrade", "").lower())
    equal("Connection", "upgrade", answer.headers.get("connection", "").lower())
    for name in ("sec-websocket-extensions", "sec-websocket-protocol", "content-length", "transfer-encoding"):
        expect(name not in answer.headers, f"expected no {name}, got {answer.headers.get(name)!r}")


@REGISTRY.named("handshake/random-keys")
async def random_keys(lab: Lab) -> None:
    """Any key of 16 bytes gets its own accept."""
    draw = random.Random(5)
    async with lab.server() as server:
        for _ in range(KEYS):
            key = base64.b64encode(draw.randbytes(16)).decode()
            answer = await server.ask(wire.upgrade_head(Sec_WebSocket_Key=key))
            equal(f"accept of {key}", wire.accept_of(key), answer.headers.get("sec-websocket-accept"))


@REGISTRY.named("handshake/library")
async def by_library(lab: Lab) -> None:
    """The package websockets, which offers compression, is satisfied and gets none."""
    async with lab.server() as server, library(server.port) as client:
        await client.send(wire.join("lib", "ann"))
        equal("joined", wire.joined("lib", "ann", 1), await client.recv())


GOOD: dict[str, bytes] = {
    "lower-case-names": wire.head("/chat", {name.lower(): value for name, value in wire.UPGRADE.items()}),
    "upper-case-names": wire.head("/chat", {name.upper(): value for name, value in wire.UPGRADE.items()}),
    "case-of-values": wire.upgrade_head(Upgrade="WebSocket", Connection="UPGRADE"),
    "connection-list": wire.upgrade_head(Connection="keep-alive, Upgrade"),
    "no-space-after-colon": wire.upgrade_head().replace(b": ", b":"),
    "spaces-around-values": wire.upgrade_head().replace(b": ", b": \t ").replace(b"\r\nSec", b" \r\nSec"),
    "query": wire.upgrade_head("/chat?room=a&nick=b"),
    "extensions-ignored": wire.upgrade_head(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"),
    "protocol-ignored": wire.upgrade_head(Sec_WebSocket_Protocol="chat, superchat"),
    "origin-without-list": wire.upgrade_head(Origin="https://anywhere.example"),
    "many-headers": wire.head("/chat", {**{f"X-{number}": "v" * 50 for number in range(60)}, **wire.UPGRADE}),
}
UPGRADE_HEADERS = {"upgrade": "websocket"}
VERSION_HEADERS = {"sec-websocket-version": "13"}
BAD: dict[str, tuple[bytes, int, dict[str, str]]] = {
    "plain-get": (wire.head("/chat"), 426, UPGRADE_HEADERS),
    "no-upgrade": (wire.upgrade_head(without="Upgrade"), 426, UPGRADE_HEADERS),
    "upgrade-to-another": (wire.upgrade_head(Upgrade="h2c"), 426, UPGRADE_HEADERS),
    "no-connection": (wire.upgrade_head(without="Connection"), 426, UPGRADE_HEADERS),
    "connection-without-upgrade": (wire.upgrade_head(Connection="keep-alive"), 426, UPGRADE_HEADERS),
    "no-version": (wire.upgrade_head(without="Sec-WebSocket-Version"), 426, VERSION_HEADERS),
    "version-8": (wire.upgrade_head(Sec_WebSocket_Version="8"), 426, VERSION_HEADERS),
    "version-14": (wire.upgrade_head(Sec_WebSocket_Version="14"), 426, VERSION_HEADERS),
    "version-word": (wire.upgrade_head(Sec_WebSocket_Version="13a"), 426, VERSION_HEADERS),
    "no-key": (wire.upgrade_head(without="Sec-WebSocket-Key"), 400, {}),
    "empty-key": (wire.upgrade_head(Sec_WebSocket_Key=""), 400, {}),
    "key-of-15-bytes": (wire.upgrade_head(Sec_WebSocket_Key=base64.b64encode(b"x" * 15).decode()), 400, {}),
    "key-of-17-bytes": (wire.upgrade_head(Sec_WebSocket_Key=base64.b64encode(b"x" * 17).decode()), 400, {}),
    "key-without-padding": (wire.upgrade_head(Sec_WebSocket_Key=wire.KEY[:-2]), 400, {}),
    "key-not-base64": (wire.upgrade_head(Sec_WebSocket_Key="*" * 22 + "=="), 400, {}),
}
HOSTS: dict[str, tuple[str | None, int]] = {
    "first": ("https://a.example", 101),
    "second": ("http://b.example:8080", 101),
    "none": (None, 403),
    "another": ("https://c.example", 403),
    "another-scheme": ("http://a.example", 403),
    "another-port": ("https://a.example:444", 403),
    "longer": ("https://a.example.evil", 403),
    "shorter": ("https://a.exampl", 403),
    "both": ("https://a.example,http://b.example:8080", 403),
    "null": ("null", 403),
}


def _add_all() -> None:
    for name, request in GOOD.items():

        async def good(lab: Lab, request: bytes = request) -> None:
            answer = await answer_of(lab, request)
            equal("status", 101, answer.status)
            equal("accept", wire.accept_of(wire.KEY), answer.headers.get("sec-websocket-accept"))
            for header in ("sec-websocket-extensions", "sec-websocket-protocol"):
                equal(header, None, answer.headers.get(header))

        REGISTRY.add(f"handshake/taken/{name}", good)
    for name, (request, status, headers) in BAD.items():

        async def bad(lab: Lab, case: tuple[bytes, int, dict[str, str]] = (request, status, headers)) -> None:
            request, status, headers = case
            answer = await answer_of(lab, request)
            equal("status and body", (status, wire.BODIES[status].encode()), (answer.status, answer.body))
            equal("headers", headers, {key: answer.headers.get(key) for key in headers})

        REGISTRY.add(f"handshake/refused/{name}", bad)
    for name, (origin, status) in HOSTS.items():

        async def host(lab: Lab, origin: str | None = origin, status: int = status) -> None:
            request = wire.upgrade_head() if origin is None else wire.upgrade_head(Origin=origin)
            answer = await answer_of(lab, request, *ORIGINS)
            equal(f"status for the origin {origin}", status, answer.status)
            if status == 403:
                equal("body", wire.BODIES[403].encode(), answer.body)

        REGISTRY.add(f"handshake/origin/{name}", host)


_add_all()


@REGISTRY.named("handshake/frame-in-the-same-segment")
async def early_frame(lab: Lab) -> None:
    """What a client sends right behind its handshake is not lost."""
    async with lab.server() as server:
        raw = await server.websocket(early=wire.frame(wire.TEXT, wire.join()) + wire.frame(wire.PING, b"early"))
        got = [(await raw.frame()).payload for _ in range(3)]
        wanted = {wire.joined("room", "nick", 1).encode(), wire.presence("room", 1).encode(), b"early"}
        equal("frames", sorted(wanted), sorted(got))


@REGISTRY.named("handshake/echo-is-off")
async def echo_off(lab: Lab) -> None:
    """Without --echo there is no /echo."""
    answer = await answer_of(lab, wire.upgrade_head("/echo"))
    equal("status and body", (404, b"not found\n"), (answer.status, answer.body))


@REGISTRY.named("handshake/echo-is-on")
async def echo_on(lab: Lab) -> None:
    """With --echo, /echo upgrades like /chat."""
    answer = await answer_of(lab, wire.upgrade_head("/echo"), "--echo")
    equal("status", 101, answer.status)
    answer = await answer_of(lab, wire.head("/echo"), "--echo")
    equal("status of a plain GET", 426, answer.status)
