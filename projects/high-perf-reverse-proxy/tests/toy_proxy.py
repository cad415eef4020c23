#!/usr/bin/env python3
"""A small proxy with faults to choose from: what the oracle must catch.

Threads, blocking sockets, one request at a time. Without a fault it does the plain things right (framing, headers,
round robin, pools, refusal of smuggling, tunnels, an orderly end); it has no balance but one, no health checks,
time-outs, limits or metrics, and fails those checks honestly. TOY_FAULT=name breaks one thing; FAULTS tells which check
has to notice.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FAULT = os.environ.get("TOY_FAULT", "")
FAULTS = {
    "200-for-garbage": "bad-response/garbage",
    "body-with-head": "framing/bodiless-head",
    "buffers-responses": "streaming/response-chunked-is-live",
    "clean-end-when-cut": "truncation/chunked-between-close",
    "cuts-on-sigterm": "drain/slow-response-SIGTERM",
    "drop-last-byte": "framing/response-length-1k",
    "drop-trailers": "framing/response-trailers",
    "error-in-two-lines": "options/bad-unknown",
    "every-second-backend": "round-robin/2-one-client",
    "exit-1": "drain/nothing-to-do",
    "flip-a-byte": "framing/response-length-64k",
    "flip-a-byte-of-nginx": "same-as-nginx/get-100k.bin",
    "joined-duplicates": "headers/request-kept-duplicates",
    "keeps-hop-by-hop": "headers/request-removed-nominated",
    "lower-case-names": "headers/request-kept-case",
    "no-half-close": "tunnel/client-half-closes",
    "no-pool": "keep-alive/backend-reused-by-one-client",
    "no-via": "headers/added-to-request",
    "pools-dirty": "poison/bytes-behind-response",
    "retries-post": "retries/not-reset-POST",
    "never-retries": "retries/reset-GET",
    "sorted-headers": "headers/request-kept-order",
    "stays-open-after-400": "smuggling/version-lower-case",
    "swallows-100": "interim/100-continue",
    "takes-bare-lf": "smuggling/lf-header",
    "takes-chunk-plus": "smuggling/chunk-size-plus",
    "takes-cl-and-te": "smuggling/cl-then-te",
    "takes-fold": "smuggling/fold-space",
    "takes-list-length": "smuggling/cl-list-different",
    "takes-space-before-colon": "smuggling/space-before-colon-te",
    "takes-two-hosts": "smuggling/host-twice",
    "tells-and-passes-on": "smuggling/cl-plus",
    "wrong-client-address": "headers/forwarded-for-source-address",
}
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
END_TO_END = {b"host", b"content-length", b"x-forwarded-for", b"via"}
SAFE = (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE")
REASONS = {400: "Bad Request", 405: "Method Not Allowed", 501: "Not Implemented", 502: "Bad Gateway"}
Headers = list[tuple[bytes, bytes]]
Send = Callable[[bytes], object]


class RefusedError(Exception):
    """A message that is refused, with the status that says so."""

    def __init__(self, status: int, cause: str) -> None:
        """Keep the status."""
        super().__init__(cause)
        self.status = status


class GoneError(Exception):
    """A backend ended before it answered."""


class Peer:
    """A socket with a buffer."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a socket."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.buffer = sock, b""

    def fill(self) -> bool:
        """Read once."""
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def until(self, end: bytes) -> bytes:
        """Read up to a mark; nothing where the connection ended before the first byte."""
        while end not in self.buffer:
            if end == b"\r\n\r\n" and b"\n\n" in self.buffer.replace(b"\r", b""):
                raise RefusedError(400, "line end")
            if not self.fill():
                if self.buffer:
                    raise RefusedError(400, "cut short")
                return b""
        taken, mark, self.buffer = self.buffer.partition(end)
        return taken + mark

    def exactly(self, size: int, send: Send) -> None:
        """Pass on so many bytes."""
        while size:
            if not self.buffer and not self.fill():
                raise ConnectionError("cut")
            piece, self.buffer = self.buffer[:size], self.buffer[size:]
            size -= len(piece)
            send(piece)

    def is_idle(self) -> bool:
        """Whether nothing has come that nobody asked for, also no end."""
        return not self.buffer and not select.select([self.sock], [], [], 0)[0]


def parse(raw: bytes) -> tuple[bytes, Headers]:
    """Return start line and headers, or refuse."""
    if FAULT == "takes-bare-lf":
        raw = re.sub(rb"(?<!\r)\n", b"\r\n", raw)
    if FAULT == "takes-fold":
        raw = re.sub(rb"\r\n[ \t]+", b" ", raw)
    if FAULT == "takes-space-before-colon":
        raw = re.sub(rb"[ \t]+:", b":", raw)
    if re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", raw):
        raise RefusedError(400, "line end")
    start, *lines = raw[:-4].split(b"\r\n")
    found = [re.fullmatch(rb"(" + TOKEN + rb"):[ \t]*(.*?)[ \t]*", line, re.DOTALL) for line in lines]
    if None in found:
        raise RefusedError(400, "header line")
    return start, [(match[1], match[2]) for match in found if match]


def values(headers: Headers, name: bytes) -> list[bytes]:
    """Return all values of a header."""
    return [value for key, value in headers if key.lower() == name]


def words(headers: Headers, name: bytes) -> list[bytes]:
    """Return the elements of a header that is a list, in lower case."""
    return [word.strip().lower() for value in values(headers, name) for word in value.split(b",")]


def framing(headers: Headers) -> tuple[str, int]:
    """Return how long a body is."""
    lengths, codings = values(headers, b"content-length"), values(headers, b"transfer-encoding")
    if codings and lengths and FAULT != "takes-cl-and-te":
        raise RefusedError(400, "two framings")
    if codings:
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise RefusedError(501, "coding")
        return "chunked", 0
    if lengths and FAULT == "takes-list-length":
        lengths = lengths[0].split(b",")[:1]
    if lengths and (len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0])):
        raise RefusedError(400, "length")
    return ("length", int(lengths[0])) if lengths else ("none", 0)


def body(source: Peer, kind: str, size: int, send: Send, last: Send) -> None:
    """Pass a body on; chunks as they came, the last one with its trailers apart."""
    if kind == "length":
        source.exactly(size, send)
    number = rb"\+?[0-9a-fA-F]{1,15}" if FAULT == "takes-chunk-plus" else rb"[0-9a-fA-F]{1,15}"
    while kind == "chunked":
        line = source.until(b"\n")
        if not re.fullmatch(number + rb"(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n", line):
            raise RefusedError(400, "chunk")
        if (size := int(line.split(b";")[0].strip(), 16)) == 0:
            trailers = b""
            while (line := source.until(b"\n")) != b"\r\n":
                if not re.fullmatch(TOKEN + rb":[^\r\n\x00]*\r\n", line):
                    raise RefusedError(400, "trailer")
                trailers += line
            last(b"0\r\n" + (b"" if FAULT == "drop-trailers" else trailers) + b"\r\n")
            return
        parts: list[bytes] = []
        source.exactly(size, parts.append)
        if source.until(b"\n") != b"\r\n":
            raise RefusedError(400, "end of chunk")
        send(b"%x\r\n%s\r\n" % (size, b"".join(parts)))


def passed(headers: Headers, *, upgrading: bool = False) -> Headers:
    """Return the headers without those of the hop, and without Via, which grows."""
    gone = (HOP | set(words(headers, b"connection"))) - END_TO_END
    if FAULT == "keeps-hop-by-hop":
        gone = {b"connection", b"transfer-encoding"}
    kept = [(k, v) for k, v in headers if k.lower() not in gone or (k.lower() == b"te" and v == b"trailers")]
    if FAULT == "lower-case-names":
        kept = [(k.lower(), v) for k, v in kept]
    if FAULT == "sorted-headers":
        kept.sort()
    if FAULT == "joined-duplicates":
        kept = list({k.lower(): (k, b", ".join(values(kept, k.lower()))) for k, _ in kept}.values())
    if upgrading:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", values(headers, b"upgrade")[0])]
    via = [*values(headers, b"via"), b"1.1 deadheat"]
    kept = [(k, v) for k, v in kept if k.lower() != b"via"]
    return kept if FAULT == "no-via" else [*kept, (b"Via", b", ".join(via))]


def write_head(start: bytes, headers: Headers) -> bytes:
    """Return a head."""
    return b"\r\n".join([start, *(k + b": " + v for k, v in headers)]) + b"\r\n\r\n"


@dataclass
class Asked:
    """A request that was understood."""

    method: bytes
    target: bytes
    old: bool
    headers: Headers
    framing: tuple[str, int]
    upgrading: bool
    closes: bool

    @classmethod
    def read(cls, raw: bytes) -> Asked:
        """Understand a head, or refuse it."""
        start, headers = parse(raw)
        match = re.fullmatch(rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])", start)
        if not match:
            raise RefusedError(400, "request line")
        method, target, minor = match.groups()
        hosts = values(headers, b"host")
        if (len(hosts) > 1 or (not hosts and minor == b"1")) and FAULT != "takes-two-hosts":
            raise RefusedError(400, "host")
        if absolute := re.fullmatch(rb"(?i:http)://([^/?]+)(.*)", target):
            headers = [(k, absolute[1] if k.lower() == b"host" else v) for k, v in headers]
            target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        elif not (target.startswith(b"/") or (target == b"*" and method == b"OPTIONS")):
            raise RefusedError(405 if method == b"CONNECT" else 400, "target")
        hop = words(headers, b"connection")
        upgrading = b"upgrade" in hop and bool(values(headers, b"upgrade"))
        return cls(
            method, target, minor == b"0", headers, framing(headers), upgrading, b"close" in hop or minor == b"0"
        )

    def head(self, address: str) -> bytes:
        """Return the head for the backend."""
        shown = b"127.0.0.1" if FAULT == "wrong-client-address" else address.encode()
        before = [value for value in values(self.headers, b"x-forwarded-for") if value]
        out = passed(self.headers, upgrading=self.upgrading)
        out = [(k, v) for k, v in out if k.lower() not in (b"x-forwarded-for", b"x-forwarded-proto")]
        out += [(b"X-Forwarded-For", b", ".join([*before, shown])), (b"X-Forwarded-Proto", b"http")]
        if not values(out, b"x-forwarded-host") and (hosts := values(out, b"host")):
            out.append((b"X-Forwarded-Host", hosts[0]))
        if self.framing[0] == "chunked":
            out.append((b"Transfer-Encoding", b"chunked"))
        return write_head(self.method + b" " + self.target + b" HTTP/1.1", out)


class Proxy:
    """Backends, pools, and the one exchange after the other."""

    def __init__(self, backends: list[tuple[str, int]]) -> None:
        """Start with empty pools."""
        self.backends, self.turn, self.lock = backends, itertools.count(), threading.Lock()
        self.pools: list[list[Peer]] = [[] for _ in backends]
        self.busy = 0
        self.draining = False

    def take(self, index: int) -> tuple[Peer, bool]:
        """Return a connection to a backend, and whether it was used before."""
        while True:
            with self.lock:
                peer = self.pools[index].pop() if self.pools[index] and FAULT != "no-pool" else None
            if peer is None:
                return Peer(socket.create_connection(self.backends[index])), False
            if FAULT == "pools-dirty" or peer.is_idle():
                return peer, True

    def serve(self, sock: socket.socket, address: str) -> None:
        """Serve a client to its end."""
        client = Peer(sock)
        with contextlib.suppress(OSError), sock:
            going_on = True
            while going_on:
                try:
                    going_on = self.one(client, address)
                except RefusedError as refusal:
                    going_on = FAULT == "stays-open-after-400"
                    text = f"{refusal.status} {REASONS[refusal.status]}: {refusal}\n"
                    head = f"HTTP/1.1 {refusal.status} {REASONS[refusal.status]}\r\nContent-Type: text/plain\r\n"
                    rest = f"Connection: close\r\nContent-Length: {len(text)}\r\n\r\n{text}"
                    sock.sendall((head + rest).encode())

    def one(self, client: Peer, address: str) -> bool:
        """Serve one request; return whether the connection goes on."""
        if not (raw := client.until(b"\r\n\r\n")):
            return False
        try:
            asked = Asked.read(raw)
        except RefusedError:
            if FAULT == "tells-and-passes-on":
                self.take(0)[0].sock.sendall(raw)
            raise
        with self.lock:
            self.busy += 1
        try:
            return self.exchange(client, asked, address)
        finally:
            with self.lock:
                self.busy -= 1

    def exchange(self, client: Peer, asked: Asked, address: str) -> bool:
        """Ask backends in turn until one answers."""
        turn = next(self.turn) * (2 if FAULT == "every-second-backend" else 1)
        attempts = 0
        while True:
            index = (turn + attempts) % len(self.backends)
            again = asked.method in SAFE and asked.framing[0] == "none"
            try:
                backend, used = self.take(index)
                backend.sock.sendall(asked.head(address))
                if asked.framing[0] != "none":
                    self.upload(client, backend, asked)
                return self.answer(client, backend, index, asked)
            except ConnectionRefusedError:
                again, used = FAULT != "never-retries", False
            except GoneError:
                again = (again and FAULT != "never-retries") or FAULT == "retries-post"
                asked.framing = asked.framing if FAULT != "retries-post" else ("none", 0)
            attempts += not used
            if not again or attempts > 1:
                raise RefusedError(502, "no answer")

    def upload(self, client: Peer, backend: Peer, asked: Asked) -> None:
        """Pass the body of a request on; interim answers may come before it."""
        while not client.buffer and backend.sock in select.select([client.sock, backend.sock], [], [])[0]:
            if not backend.fill() or not backend.buffer.startswith(b"HTTP/1.1 1"):
                return  # the final answer, or the end, before the body
            interim = backend.until(b"\r\n\r\n")
            if FAULT != "swallows-100":
                client.sock.sendall(interim)
        try:
            body(client, *asked.framing, backend.sock.sendall, backend.sock.sendall)
        except (RefusedError, OSError):
            backend.sock.close()
            raise

    def response_head(self, backend: Peer, asked: Asked) -> tuple[int, bytes, Headers, tuple[str, int]]:
        """Read the head of a response; raise RefusedError where it is none."""
        try:
            raw = backend.until(b"\r\n\r\n")
        except OSError:
            raw = b""
        if not raw:
            backend.sock.close()
            raise GoneError
        start, headers = parse(raw)
        match = re.fullmatch(rb"HTTP/1\.[01] ([1-9][0-9][0-9]) .*", start, re.DOTALL)
        if not match or (match[1] == b"101" and not asked.upgrading):
            raise RefusedError(502, "bad status line")
        return int(match[1]), start, headers, framing(headers)

    def answer(self, client: Peer, backend: Peer, index: int, asked: Asked) -> bool:
        """Pass a response on; return whether the client's connection goes on."""
        while True:
            try:
                status, start, headers, framed = self.response_head(backend, asked)
            except RefusedError as bad:
                backend.sock.close()
                if FAULT == "200-for-garbage":
                    client.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    return False
                raise RefusedError(502, "bad response") from bad
            if status >= 200 or status == 101:
                break
            if not asked.old and not (FAULT == "swallows-100" and status == 100):
                client.sock.sendall(write_head(start, passed(headers)))
        out, start = passed(headers, upgrading=status == 101), b"HTTP/1.1 " + start.split(b" ", 1)[1]
        if status == 101:
            client.sock.sendall(write_head(start, out))
            tunnel(client, backend)
            return False
        bodiless = asked.method == b"HEAD" or status in (204, 304)
        until_close = framed[0] == "none" and not bodiless
        if (framed[0] == "chunked" or until_close) and not asked.old:
            out.append((b"Transfer-Encoding", b"chunked"))
        closes = asked.closes or self.draining
        out += [(b"Connection", b"close")] if closes else []
        Relay(client, backend, asked).run(
            write_head(start, out), "none" if bodiless else framed[0], framed[1], until_close
        )
        if until_close or b"close" in words(headers, b"connection") or start == b"HTTP/1.0":
            backend.sock.close()
        else:
            with self.lock:
                self.pools[index].append(backend)
        return not closes


class Relay:
    """Passes one response on; where the backend dies, the client's connection is cut."""

    def __init__(self, client: Peer, backend: Peer, asked: Asked) -> None:
        """Prepare."""
        self.client, self.backend, self.asked = client, backend, asked
        self.held = b""
        self.count = 0

    def send(self, data: bytes) -> None:
        """Send, with the faults that there are."""
        self.count += len(data)
        if FAULT.startswith("flip-a-byte") and self.count > 40000:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if FAULT == "buffers-responses":
            self.held += data
        else:
            self.client.sock.sendall(data)

    def chunk(self, data: bytes) -> None:
        """Send a chunk, to an old client only what is in it."""
        self.send(data.partition(b"\r\n")[2][:-2] if self.asked.old else data)

    def last(self, data: bytes) -> None:
        """Send the last chunk."""
        if not self.asked.old:
            self.send(data)

    def run(self, head: bytes, kind: str, size: int, until_close: bool) -> None:
        """Pass head and body on."""
        self.send(head)
        try:
            if until_close:
                while self.backend.buffer or self.backend.fill():
                    data, self.backend.buffer = self.backend.buffer, b""
                    self.chunk(b"%x\r\n%s\r\n" % (len(data), data))
                self.last(b"0\r\n\r\n")
            else:
                short = FAULT == "drop-last-byte" and kind == "length" and size > 100
                body(self.backend, kind, size - short, self.chunk if kind == "chunked" else self.send, self.last)
                if FAULT == "body-with-head" and self.asked.method == b"HEAD" and 0 < size < 100:
                    self.send(b"x" * size)
        except (OSError, RefusedError) as error:
            self.cut(kind)
            raise ConnectionAbortedError("cut") from error
        if self.held:
            self.client.sock.sendall(self.held)

    def cut(self, kind: str) -> None:
        """End both connections."""
        if FAULT == "clean-end-when-cut" and kind == "chunked":
            self.client.sock.sendall(b"0\r\n\r\n")
        if FAULT != "clean-end-when-cut":
            self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.backend.sock.close()


def tunnel(client: Peer, backend: Peer) -> None:
    """Pass bytes both ways until both ends are silent."""

    def pump(source: Peer, sink: Peer) -> None:
        how = socket.SHUT_RDWR if FAULT == "no-half-close" else socket.SHUT_WR
        try:
            while source.buffer or source.fill():
                data, source.buffer = source.buffer, b""
                sink.sock.sendall(data)
        except OSError:
            how = socket.SHUT_RDWR
        for peer in (sink, source) if how == socket.SHUT_RDWR else (sink,):
            with contextlib.suppress(OSError):
                peer.sock.shutdown(how)

    other = threading.Thread(target=pump, args=(client, backend), daemon=True)
    other.start()
    pump(backend, client)
    other.join()
    backend.sock.close()


class Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str) -> object:  # type: ignore[override] - it does not return either
        """Say what is wrong and exit."""
        print(
            f"error: {message}{chr(10) + self.format_usage() if FAULT == 'error-in-two-lines' else ''}", file=sys.stderr
        )
        sys.exit(2)


def parse_words() -> tuple[str, int, list[tuple[str, int]]]:
    """Read the command line."""
    parser = Parser(allow_abbrev=False)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--backends", required=True)
    parser.add_argument("--version", action="version", version="high-perf-reverse-proxy go")
    for name in ("retries", "max-fails", "fail-timeout", "read-timeout", "idle-timeout", "drain-timeout"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    places = [place.rpartition(":") for place in (options.listen, *options.backends.split(","))]
    (host, port), *backends = [(host.strip("[]"), int(port)) for host, _, port in places]
    return host, port, backends


def main() -> int:
    """Listen and serve."""
    host, port, backends = parse_words()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), backlog=1024, family=family)
    proxy = Proxy(backends)

    def end() -> None:
        proxy.draining = True
        listener.close()
        last = time.monotonic() + (0 if FAULT == "cuts-on-sigterm" else 5)
        while proxy.busy and time.monotonic() < last:
            time.sleep(0.01)
        os._exit(1 if FAULT == "exit-1" else 0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=end).start())
    shown = f"[{host}]" if ":" in host else host
    print(f"listening on {shown}:{listener.getsockname()[1]}", flush=True)
    while True:
        try:
            sock, address = listener.accept()
        except OSError:
            signal.pause()  # the end has begun
            continue
        threading.Thread(target=proxy.serve, args=(sock, address[0]), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
