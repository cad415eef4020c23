#!/usr/bin/env python3
"""A small proxy with faults to choose from: what the oracle must catch.

Threads, blocking sockets, one request at a time. Without a fault it does the plain things right (framing, headers,
round robin, refusal of smuggling, tunnels); it has no health checks, time-outs, limits or metrics, and fails those
checks honestly. TOY_FAULT=name breaks one thing; FAULTS tells which check has to notice.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable

FAULT = os.environ.get("TOY_FAULT", "")
FAULTS = {
    "flip-a-byte": "framing/response-length-64k",
    "drop-last-byte": "framing/response-length-1k",
    "drop-trailers": "framing/response-trailers",
    "lower-case-names": "headers/request-kept-case",
    "sorted-headers": "headers/request-kept-order",
    "joined-duplicates": "headers/request-kept-duplicates",
    "keeps-hop-by-hop": "headers/request-removed-nominated",
    "no-via": "headers/added-to-request",
    "wrong-client-address": "headers/forwarded-for-source-address",
    "takes-cl-and-te": "smuggling/cl-then-te",
    "takes-list-length": "smuggling/cl-list-same",
    "takes-bare-lf": "smuggling/lf-header",
    "takes-space-before-colon": "smuggling/space-before-colon-te",
    "takes-fold": "smuggling/fold-te",
    "takes-two-hosts": "smuggling/host-twice",
    "takes-chunk-plus": "smuggling/chunk-size-plus",
    "stays-open-after-400": "smuggling/version-lower-case",
    "clean-end-when-cut": "truncation/chunked-between-close",
    "no-pool": "keep-alive/backend-reused-by-one-client",
    "every-second-backend": "round-robin/2-one-client",
    "buffers-responses": "streaming/response-chunked-is-live",
    "swallows-100": "interim/100-continue",
    "no-half-close": "tunnel/client-half-closes",
    "200-for-garbage": "bad-response/garbage",
    "retries-post": "poison/stale-connection-race-post",
    "pools-dirty": "poison/bytes-behind-response",
    "exit-1": "drain/nothing-to-do",
    "cuts-on-sigterm": "drain/slow-response-SIGTERM",
    "error-in-two-lines": "options/bad-unknown",
    "body-with-head": "framing/bodiless-head",
}
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
REASONS = {
    400: "Bad Request",
    405: "Method Not Allowed",
    501: "Not Implemented",
    502: "Bad Gateway",
    505: "HTTP Version Not Supported",
}
Headers = list[tuple[bytes, bytes]]


class BadError(Exception):
    """A message that is refused, with the status that says so."""

    def __init__(self, status: int, cause: str) -> None:
        """Keep the status."""
        super().__init__(cause)
        self.status = status


class Peer:
    """A socket with a buffer."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a socket."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.buffer, self.used = sock, b"", 0

    def fill(self) -> bool:
        """Read once."""
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def until(self, end: bytes) -> bytes:
        """Read up to a mark; empty where the connection ended before."""
        while end not in self.buffer:
            if end == b"\r\n\r\n" and b"\n\n" in self.buffer.replace(b"\r", b""):
                raise BadError(400, "line end")
            if not self.fill():
                if self.buffer:
                    raise BadError(400, "cut short")
                return b""
        at = self.buffer.index(end) + len(end)
        taken, self.buffer = self.buffer[:at], self.buffer[at:]
        return taken

    def exactly(self, size: int, send: Callable[[bytes], None]) -> None:
        """Pass on so many bytes."""
        while size:
            if not self.buffer and not self.fill():
                raise ConnectionError("cut")
            piece, self.buffer = self.buffer[:size], self.buffer[size:]
            size -= len(piece)
            send(piece)


def parse(raw: bytes) -> tuple[bytes, Headers]:
    """Return start line and headers, or refuse."""
    if FAULT == "takes-bare-lf":
        raw = re.sub(rb"(?<!\r)\n", b"\r\n", raw)
    if FAULT == "takes-fold":
        raw = re.sub(rb"\r\n[ \t]+", b" ", raw)
    if FAULT == "takes-space-before-colon":
        raw = re.sub(rb"[ \t]+:", b":", raw)
    if re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", raw):
        raise BadError(400, "line end")
    start, *lines = raw[:-4].split(b"\r\n")
    headers = []
    for line in lines:
        match = re.fullmatch(rb"(" + TOKEN + rb"):[ \t]*(.*?)[ \t]*", line, re.DOTALL)
        if not match:
            raise BadError(400, "header line")
        headers.append((match[1], match[2]))
    return start, headers


def values(headers: Headers, name: bytes) -> list[bytes]:
    """Return all values of a header."""
    return [value for key, value in headers if key.lower() == name]


def framing(headers: Headers) -> tuple[str, int]:
    """Return how long a body is."""
    lengths, codings = values(headers, b"content-length"), values(headers, b"transfer-encoding")
    if codings and lengths and FAULT != "takes-cl-and-te":
        raise BadError(400, "two framings")
    if codings:
        if codings[0].lower() != b"chunked" or len(codings) > 1:
            raise BadError(501, "coding")
        return "chunked", 0
    if lengths and FAULT == "takes-list-length":
        lengths = lengths[0].split(b",")[:1]
    if lengths and (len(set(lengths)) > 1 or not re.fullmatch(rb"\d{1,18}", lengths[0], re.ASCII)):
        raise BadError(400, "length")
    return ("length", int(lengths[0])) if lengths else ("none", 0)


def body(source: Peer, kind: str, size: int, send: Callable[[bytes], None]) -> None:
    """Pass a body on."""
    if kind == "length":
        source.exactly(size, send)
    while kind == "chunked":
        line = source.until(b"\n")
        size_form = rb"\+?[0-9a-fA-F]{1,15}" if FAULT == "takes-chunk-plus" else rb"[0-9a-fA-F]{1,15}"
        if not re.fullmatch(size_form + rb"(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n", line):
            raise BadError(400, "chunk")
        size = int(line.split(b";")[0].strip(), 16)
        if size == 0:
            trailers = b""
            while (line := source.until(b"\n")) != b"\r\n":
                if not re.fullmatch(TOKEN + rb":[^\r\n\x00]*\r\n", line):
                    raise BadError(400, "trailer")
                trailers += line
            send(b"0\r\n" + (b"" if FAULT == "drop-trailers" else trailers) + b"\r\n")
            return
        parts: list[bytes] = []
        source.exactly(size, parts.append)
        if source.until(b"\n") != b"\r\n":
            raise BadError(400, "chunk end")
        send(b"%x\r\n%s\r\n" % (size, b"".join(parts)))


def passed(headers: Headers, upgrading: bool) -> Headers:
    """Return the headers without those of the hop."""
    named = {word.strip().lower() for value in values(headers, b"connection") for word in value.split(b",")}
    gone = (HOP | named) - {b"host", b"content-length", b"x-forwarded-for", b"via"}
    if FAULT == "keeps-hop-by-hop":
        gone = {b"connection", b"transfer-encoding"}
    kept = [(k, v) for k, v in headers if k.lower() not in gone or (k.lower() == b"te" and v == b"trailers")]
    if FAULT == "lower-case-names":
        kept = [(k.lower(), v) for k, v in kept]
    if FAULT == "sorted-headers":
        kept.sort()
    if FAULT == "joined-duplicates":
        kept = list({k.lower(): (k, b", ".join(values(kept, k.lower()))) for k, _ in kept}.values())
    return kept + [(b"Connection", b"Upgrade"), (b"Upgrade", values(headers, b"upgrade")[0])] if upgrading else kept


def write_head(start: bytes, headers: Headers) -> bytes:
    """Return a head."""
    return b"\r\n".join([start, *(k + b": " + v for k, v in headers)]) + b"\r\n\r\n"


class Proxy:
    """Listener, backends, pools."""

    def __init__(self, backends: list[tuple[str, int]]) -> None:
        """Start with empty pools."""
        self.backends, self.turn, self.lock = backends, itertools.count(), threading.Lock()
        self.pools: dict[int, list[Peer]] = {index: [] for index in range(len(backends))}
        self.active = 0
        self.draining = False

    def take(self, index: int) -> Peer:
        """Return a connection to a backend: pooled and still open, or new."""
        while True:
            with self.lock:
                peer = self.pools[index].pop() if self.pools[index] and FAULT != "no-pool" else None
            if peer is None:
                return Peer(socket.create_connection(self.backends[index]))
            peer.sock.setblocking(False)
            try:
                fresh = FAULT == "pools-dirty" and bool(peer.sock.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                fresh = True
            except OSError:
                fresh = False
            peer.sock.setblocking(True)
            if fresh and (not peer.buffer or FAULT == "pools-dirty"):
                return peer

    def serve(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Serve a client to its end."""
        client = Peer(sock)
        try:
            while (raw := client.until(b"\r\n\r\n")) and self.one(client, raw, address[0]):
                pass
        except BadError as bad:
            text = f"{bad.status} {REASONS[bad.status]}: {bad}\n".encode()
            close = b"" if FAULT == "stays-open-after-400" else b"Connection: close\r\n"
            head = f"HTTP/1.1 {bad.status} {REASONS[bad.status]}\r\nContent-Type: text/plain\r\n".encode()
            sock.sendall(head + close + b"Content-Length: %d\r\n\r\n" % len(text) + text)
            if FAULT == "stays-open-after-400":
                return self.serve(sock, address)
        except OSError:
            pass
        finally:
            sock.close()

    def one(self, client: Peer, raw: bytes, address: str) -> bool:
        """Serve one request; return whether the connection goes on."""
        start, headers = parse(raw)
        match = re.fullmatch(rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/(\d\.\d)", start)
        if not match or not match[2].startswith((b"/", b"http://", b"HTTP://", b"*")):
            if match and match[1] == b"CONNECT":
                raise BadError(405, "method")
            raise BadError(400, "request line")
        method, target, version = match.groups()
        if version not in (b"1.1", b"1.0"):
            raise BadError(505, "version")
        hosts = values(headers, b"host")
        if (len(hosts) != 1 and version == b"1.1" or len(hosts) > 1) and FAULT != "takes-two-hosts":
            raise BadError(400, "host")
        kind, size = framing(headers)
        if target.lower().startswith(b"http://"):
            authority, slash, rest = target[7:].partition(b"/")
            authority, question, query = authority.partition(b"?")
            if not authority:
                raise BadError(400, "authority")
            target = (slash + rest) or b"/" + question + query
            hosts = [authority]
            headers = [(k, authority if k.lower() == b"host" else v) for k, v in headers]
        elif target.startswith(b"*") and method != b"OPTIONS":
            raise BadError(400, "target")
        words = [word.strip().lower() for value in values(headers, b"connection") for word in value.split(b",")]
        upgrading = b"upgrade" in words and bool(values(headers, b"upgrade"))
        out = [
            (k, v)
            for k, v in passed(headers, upgrading)
            if k.lower() not in (b"x-forwarded-for", b"via", b"x-forwarded-proto")
        ]
        shown = "127.0.0.1" if FAULT == "wrong-client-address" else address
        out.append(
            (b"X-Forwarded-For", b", ".join([*filter(None, values(headers, b"x-forwarded-for")), shown.encode()]))
        )
        out.append((b"X-Forwarded-Proto", b"http"))
        if not values(headers, b"x-forwarded-host") and hosts:
            out.append((b"X-Forwarded-Host", hosts[0]))
        if FAULT != "no-via":
            out.append((b"Via", b", ".join([*values(headers, b"via"), b"1.1 deadheat"])))
        if kind == "chunked":
            out.append((b"Transfer-Encoding", b"chunked"))
        close = b"close" in words or version == b"1.0" or self.draining
        head = write_head(method + b" " + target + b" HTTP/1.1", out)
        return self.exchange(client, head, (kind, size), method, version, close, upgrading)

    def exchange(
        self,
        client: Peer,
        head: bytes,
        framed: tuple[str, int],
        method: bytes,
        version: bytes,
        close: bool,
        upgrading: bool,
    ) -> bool:  # noqa: PLR0913 - a toy
        """Ask a backend, and pass its answer on."""
        turn = next(self.turn) * (2 if FAULT == "every-second-backend" else 1)
        for attempt in range(2):
            index = (turn + attempt) % len(self.backends)
            began: list[bytes] = []
            try:
                backend = self.take(index)
                try:
                    backend.used += 1
                    backend.sock.sendall(head)
                    if framed[0] != "none":
                        began.append(b"")
                        self.upload(client, backend, framed)
                    return self.answer(client, backend, index, method, version, close, upgrading)
                except BadError:
                    backend.sock.close()
                    raise
            except ConnectionAbortedError:
                raise
            except (OSError, BadError) as error:
                safe = method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE") and not began
                refused = isinstance(error, ConnectionRefusedError)
                if (
                    attempt
                    or not (refused or safe or FAULT == "retries-post")
                    or (isinstance(error, BadError) and error.status != 599)
                ):
                    if isinstance(error, BadError) and error.status != 599:
                        raise
                    raise BadError(502, "backend failed") from error
                framed = ("none", 0) if began else framed
        raise BadError(502, "backend failed")

    def upload(self, client: Peer, backend: Peer, framed: tuple[str, int]) -> None:
        """Pass the body of a request on; interim answers may come before it."""
        while not client.buffer:
            import select  # noqa: PLC0415 - a toy

            ready, _, _ = select.select([client.sock, backend.sock], [], [])
            if backend.sock in ready:
                if not backend.fill():
                    return
                if not backend.buffer.startswith(b"HTTP/1.1 1"):
                    return
                interim = backend.until(b"\r\n\r\n")
                if FAULT != "swallows-100":
                    client.sock.sendall(interim)
            else:
                break
        body(client, *framed, backend.sock.sendall)

    def answer(
        self, client: Peer, backend: Peer, index: int, method: bytes, version: bytes, close: bool, upgrading: bool
    ) -> bool:  # noqa: PLR0913 - as above
        """Pass a response on."""
        while True:
            try:
                raw = backend.until(b"\r\n\r\n")
                if not raw:
                    raise BadError(599, "closed")  # before any byte: may be tried again
                start, headers = parse(raw)
                match = re.fullmatch(rb"HTTP/1\.([01]) ([1-9]\d\d) (.*)", start, re.DOTALL)
                if not match or (match[2] == b"101" and not upgrading):
                    raise BadError(502, "status line")
                kind, size = framing(headers)
            except BadError as bad:
                if FAULT == "200-for-garbage":
                    client.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    return False
                raise BadError(bad.status if bad.status == 599 else 502, "bad response") from bad
            status = int(match[2])
            if status >= 200 or status == 101:
                break
            if version == b"1.1" and not (FAULT == "swallows-100" and status == 100):
                client.sock.sendall(write_head(start, passed(headers, False)))
        out = [(k, v) for k, v in passed(headers, status == 101) if k.lower() != b"via"]
        if FAULT != "no-via":
            out.append((b"Via", b", ".join([*values(headers, b"via"), b"1.1 deadheat"])))
        start = b"HTTP/1.1 " + start.split(b" ", 1)[1]
        if status == 101:
            client.sock.sendall(write_head(start, out))
            return tunnel(client, backend)
        bodiless = method == b"HEAD" or status in (204, 304)
        until_close = not bodiless and kind == "none"
        if bodiless:
            kind = "body" if FAULT == "body-with-head" and method == b"HEAD" else "none"
        if (kind == "chunked" or until_close or values(headers, b"transfer-encoding")) and version == b"1.1":
            out.append((b"Transfer-Encoding", b"chunked"))
        close = close or self.draining
        if close:
            out.append((b"Connection", b"close"))
        self.relay(client, backend, write_head(start, out), kind, size, until_close, version)
        theirs = b"close" in b",".join(values(headers, b"connection")).lower() or match[1] == b"0" or until_close
        if theirs:
            backend.sock.close()
        else:
            with self.lock:
                self.pools[index].append(backend)
        return not close

    def relay(
        self, client: Peer, backend: Peer, head: bytes, kind: str, size: int, until_close: bool, version: bytes
    ) -> None:  # noqa: PLR0913 - as above
        """Pass head and body on; where the backend dies, the client's connection is cut."""
        held: list[bytes] = [head]
        count = 0

        def send(data: bytes) -> None:
            nonlocal count
            count += len(data)
            if FAULT == "flip-a-byte" and count > 40000 and data:
                data = data[:-1] + bytes([data[-1] ^ 1])
            if FAULT == "buffers-responses":
                held.append(data)
            else:
                client.sock.sendall(data)

        if FAULT != "buffers-responses":
            client.sock.sendall(head)
        old = version == b"1.0"
        plain = (
            (lambda data: send(data.split(b"\r\n", 1)[1][:-2]) if not data.startswith(b"0\r\n") else None)
            if old
            else send
        )
        try:
            if kind == "body":
                client.sock.sendall(b"x" * size)
            elif until_close:
                while backend.buffer or backend.fill():
                    data, backend.buffer = backend.buffer, b""
                    send(data if old else b"%x\r\n%s\r\n" % (len(data), data))
                send(b"" if old else b"0\r\n\r\n")
            elif FAULT == "drop-last-byte" and kind == "length" and size > 100:
                body(backend, kind, size - 1, send)
            else:
                body(backend, kind, size, plain if kind == "chunked" else send)
        except (OSError, BadError) as error:
            if FAULT == "clean-end-when-cut" and kind == "chunked":
                client.sock.sendall(b"0\r\n\r\n")
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            backend.sock.close()
            raise ConnectionAbortedError("cut") from error
        if FAULT == "buffers-responses":
            client.sock.sendall(b"".join(held))


def tunnel(client: Peer, backend: Peer) -> bool:
    """Pass bytes both ways until both ends are silent."""

    def pump(source: Peer, sink: Peer) -> None:
        try:
            while source.buffer or source.fill():
                data, source.buffer = source.buffer, b""
                sink.sock.sendall(data)
            sink.sock.shutdown(socket.SHUT_RDWR if FAULT == "no-half-close" else socket.SHUT_WR)
        except OSError:
            for peer in (source, sink):
                try:
                    peer.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    other = threading.Thread(target=pump, args=(client, backend), daemon=True)
    other.start()
    pump(backend, client)
    other.join()
    backend.sock.close()
    return False


def main() -> int:
    """Listen and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--backends", required=True)
    parser.add_argument("--version", action="version", version="high-perf-reverse-proxy go")
    parser.error = lambda text: sys.exit(  # type: ignore[method-assign,assignment,misc] - a toy
        (print(f"error: {text}{chr(10) + 'usage' if FAULT == 'error-in-two-lines' else ''}", file=sys.stderr), 2)[1]
    )
    options, unknown = parser.parse_known_args()
    known = (
        "--balance",
        "--hash-header",
        "--pool-size",
        "--max-",
        "--read-",
        "--idle-",
        "--header-",
        "--drain-",
        "--fail-",
    )
    known = (*known, "--connect-", "--health-", "--rise", "--fall", "--retries", "--threads")
    if stray := [word for word in unknown if word.startswith("--") and not word.startswith(known)]:
        parser.error(f"unknown option {stray[0]}")
    backends = [
        (host.strip("[]"), int(port)) for host, _, port in (b.rpartition(":") for b in options.backends.split(","))
    ]
    host, _, port = options.listen.rpartition(":")
    listener = socket.create_server(
        (host.strip("[]"), int(port)), backlog=1024, family=socket.AF_INET6 if "[" in host else socket.AF_INET
    )
    proxy = Proxy(backends)
    threads: list[threading.Thread] = []

    def end(*_: object) -> None:
        proxy.draining = True
        listener.close()
        if FAULT != "cuts-on-sigterm":
            for thread in threads:
                thread.join(0.05 if not proxy.active else 5)
        os._exit(1 if FAULT == "exit-1" else 0)

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end).start())
    signal.signal(signal.SIGINT, lambda *_: threading.Thread(target=end).start())
    print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
    while True:
        try:
            sock, address = listener.accept()
        except OSError:
            signal.pause()
            continue
        thread = threading.Thread(target=proxy.serve, args=(sock, address), daemon=True)
        threads.append(thread)
        thread.start()


if __name__ == "__main__":
    sys.exit(main())
