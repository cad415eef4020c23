"""HTTP/1.1 on raw sockets, for a client and a backend that both see every byte.

Nothing here repairs anything: a message that RFC 9112 does not allow is a WireError with the offending bytes, an end in
the middle of a message is a Truncated, and how a connection ended (a clean end or a reset) is always known. What the
client reads is also given to h11, whose opinion must be the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from dataclasses import dataclass, field
from typing import Self

import h11

READ_BYTES = 1 << 18
MAX_HEAD_BYTES = 1 << 20
KEPT_BYTES = 1 << 20
"""A longer message is checked as it comes and its raw bytes are not kept."""
LINE_LIMIT_BYTES = 1 << 16
SECONDS = 20.0
"""How long to wait for what must come: it says nothing about speed, only that a program does not hang."""
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
HEADER = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)[ \t]*", re.DOTALL)
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([^\x00-\x08\x0a-\x1f\x7f]*)", re.DOTALL)
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.1", re.DOTALL)
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?)", re.DOTALL)

Headers = list[tuple[bytes, bytes]]


class WireError(Exception):
    """The other side sent bytes that no strict reader accepts."""


class Truncated(Exception):  # noqa: N818 - it states what happened to a message, which many checks expect
    """The connection ended inside a message."""

    def __init__(self, how: str, message: Message) -> None:
        """Keep how the connection ended (`eof` or `reset`) and what had come."""
        super().__init__(f"the connection ended ({how}) inside a message, {message.size} body bytes after its head")
        self.how = how
        self.message = message


def short(data: object, limit: int = 160) -> str:
    """Return a value as one line of a readable length."""
    text = repr(data)
    return text if len(text) <= limit else f"{text[: limit - 12]}...({len(text)})"


@dataclass
class Message:
    """A request or a response, as far as it came."""

    start: bytes = b""
    headers: Headers = field(default_factory=list)
    raw_head: bytes = b""
    framing: str = "none"
    """How the end is known: none, length, chunked or close."""
    body: bytearray = field(default_factory=bytearray)
    size: int = 0
    trailers: Headers = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    complete: bool = False
    raw: bytearray = field(default_factory=bytearray)

    def all(self, name: str) -> list[bytes]:
        """Return the values of every header line of a name."""
        wanted = name.lower().encode()
        return [value for key, value in self.headers if key.lower() == wanted]

    def get(self, name: str) -> bytes | None:
        """Return the only value of a header, None where it is absent."""
        values = self.all(name)
        if len(values) > 1:
            raise WireError(f"{name} stands {len(values)} times: {values}")
        return values[0] if values else None

    def listed(self, name: str) -> list[bytes]:
        """Return the elements of a header that is a list, over all its lines."""
        return [word.strip() for word in b",".join(self.all(name)).split(b",") if word.strip()]


@dataclass
class Request(Message):
    """What a backend received."""

    method: bytes = b""
    target: bytes = b""
    backend: str = ""
    connection: int = 0
    place: int = 0
    """How many requests came on this connection before."""


@dataclass
class Response(Message):
    """What a client received."""

    version: bytes = b"1.1"
    status: int = 0
    reason: bytes = b""
    interim: list[Response] = field(default_factory=list)

    @property
    def closes(self) -> bool:
        """Whether the message says that its connection ends."""
        words = [word.lower() for word in self.listed("connection")]
        return b"close" in words or (self.version == b"1.0" and b"keep-alive" not in words)


def parse_headers(lines: list[bytes]) -> Headers:
    """Return the header lines of a head, or raise on the first that is not one."""
    headers = []
    for line in lines:
        match = HEADER.fullmatch(line)
        if match is None:
            raise WireError(f"bad header line {short(line)}")
        headers.append((match[1], match[2]))
    return headers


def split_head(raw: bytes) -> tuple[bytes, Headers]:
    """Return the start line and the headers of a head that ends in an empty line."""
    lines = raw[:-4].split(b"\r\n")
    return lines[0], parse_headers(lines[1:])


def body_framing(message: Message) -> tuple[str, int]:
    """Return what the headers say about the body: `none`, `length` (and how long) or `chunked`."""
    lengths, codings = message.all("content-length"), message.all("transfer-encoding")
    if lengths and codings:
        raise WireError("both Content-Length and Transfer-Encoding")
    if codings:
        if [coding.lower() for coding in codings] != [b"chunked"]:
            raise WireError(f"Transfer-Encoding is {codings}")
        return "chunked", 0
    if not lengths:
        return "none", 0
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,19}", lengths[0]):
        raise WireError(f"Content-Length is {lengths}")
    return "length", int(lengths[0])


class Wire:
    """A connected socket with a read buffer that knows how its other side ended."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected socket."""
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.buffer = bytearray()
        self.end: str | None = None
        self.sent = 0
        self.received = 0
        self.closed = False

    # --- sending ---

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all bytes, or raise the OSError that stopped it; `sent` grows piece by piece."""
        view = memoryview(data)
        loop = asyncio.get_running_loop()
        for start in range(0, len(view), READ_BYTES):
            piece = view[start : start + READ_BYTES]
            await loop.sock_sendall(self.sock, piece)
            self.sent += len(piece)

    async def try_send(self, data: bytes | bytearray | memoryview) -> bool:
        """Send; False where the other side had already gone."""
        try:
            await self.send(data)
        except OSError:
            return False
        return True

    async def send_pieces(self, data: bytes, cuts: list[int], pause: float = 0.001) -> None:
        """Send bytes cut at these places, with a pause after each so that they arrive apart."""
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            await self.send(data[start:end])
            await asyncio.sleep(pause)

    def half_close(self) -> None:
        """End our direction only."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close both directions."""
        if not self.closed:
            self.closed = True
            loop = asyncio.get_running_loop()
            loop.remove_reader(self.sock)
            loop.remove_writer(self.sock)
            self.sock.close()

    def reset(self) -> None:
        """Close by a reset."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # --- receiving ---

    async def fill(self) -> bool:
        """Read some more bytes; False where there will be no more."""
        if self.end:
            return False
        try:
            data = await asyncio.get_running_loop().sock_recv(self.sock, READ_BYTES)
        except OSError:
            self.end = "reset"
            return False
        if not data:
            self.end = "eof"
            return False
        self.received += len(data)
        self.buffer += data
        return True

    def take(self, size: int, message: Message | None = None) -> bytes:
        """Take bytes out of the buffer."""
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        if message is not None and len(message.raw) <= KEPT_BYTES:
            message.raw += data
        return data

    async def head(self, message: Message) -> bool:
        """Read a head into a message; False where the connection ended before its first byte."""
        searched = 0
        while (at := self.buffer.find(b"\r\n\r\n", searched)) < 0:
            searched = max(0, len(self.buffer) - 3)
            if len(self.buffer) > MAX_HEAD_BYTES:
                raise WireError(f"a head of more than {MAX_HEAD_BYTES} bytes")
            if not await self.fill():
                if self.buffer:
                    message.raw_head = bytes(self.buffer)
                    raise Truncated(str(self.end), message)
                return False
        message.raw_head = self.take(at + 4, message)
        message.start, message.headers = split_head(message.raw_head)
        return True

    async def line(self, message: Message) -> bytes:
        """Read a line that ends in CRLF."""
        while (at := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > LINE_LIMIT_BYTES:
                raise WireError(f"a line of more than {LINE_LIMIT_BYTES} bytes")
            if not await self.fill():
                raise Truncated(str(self.end), message)
        line = self.take(at + 1, message)
        if not line.endswith(b"\r\n"):
            raise WireError(f"a line ends in a bare LF: {short(line)}")
        return line[:-2]

    def _keep(self, message: Message, size: int, *, keep: bool) -> None:
        data = self.take(size, message)
        message.size += len(data)
        if keep:
            message.body += data

    async def exactly(self, message: Message, size: int, *, keep: bool = True) -> None:
        """Read body bytes."""
        while size:
            if not self.buffer and not await self.fill():
                raise Truncated(str(self.end), message)
            piece = min(size, len(self.buffer))
            self._keep(message, piece, keep=keep)
            size -= piece

    async def chunked(self, message: Message, *, keep: bool = True) -> None:
        """Read a chunked body and its trailers."""
        while True:
            match = CHUNK_LINE.fullmatch(line := await self.line(message))
            if match is None:
                raise WireError(f"bad chunk size line {short(line)}")
            size = int(match[1], 16)
            if size == 0:
                break
            message.chunks.append(size)
            await self.exactly(message, size, keep=keep)
            if line := await self.line(message):
                raise WireError(f"bytes behind the data of a chunk: {short(line)}")
        lines = []
        while line := await self.line(message):
            lines.append(line)
        message.trailers = parse_headers(lines)

    async def until_close(self, message: Message, *, keep: bool = True) -> None:
        """Read a body that ends with its connection; a reset is no end."""
        while True:
            if self.buffer:
                self._keep(message, len(self.buffer), keep=keep)
            elif not await self.fill():
                break
        if self.end == "reset":
            raise Truncated("reset", message)

    async def read_body(self, message: Message, *, keep: bool = True) -> None:
        """Read the body that a head announced."""
        if message.framing == "length":
            await self.exactly(message, body_framing(message)[1], keep=keep)
        elif message.framing == "chunked":
            await self.chunked(message, keep=keep)
        elif message.framing == "close":
            await self.until_close(message, keep=keep)
        message.complete = True

    async def until_end(self, seconds: float = SECONDS) -> bytes:
        """Return everything up to the end of the connection; raise TimeoutError where it stays open."""
        async with asyncio.timeout(seconds):
            while await self.fill():
                pass
        return self.take(len(self.buffer))

    async def stays_open(self, seconds: float) -> bool:
        """Whether the connection is open and silent for a while."""
        before = self.received
        try:
            async with asyncio.timeout(seconds):
                await self.fill()
        except TimeoutError:
            return True
        return self.end is None and self.received == before


class Client(Wire):
    """The client side of a connection."""

    asks_h11 = True
    """Whether what was read is read again by h11, which is stricter about spaces than the grammar."""

    @classmethod
    async def open(
        cls, address: tuple[str, int], *, source: str | None = None, receive_bytes: int = 0, send_bytes: int = 0
    ) -> Self:
        """Connect, from a source address and with small socket buffers where asked."""
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            if receive_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            if send_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
            if source:
                sock.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def response(self, method: str = "GET", *, seconds: float = SECONDS, keep: bool = True) -> Response:
        """Read the final response to a request; interim ones are kept in it."""
        before = self.received - len(self.buffer)
        try:
            async with asyncio.timeout(seconds):
                return await self._response(method, keep=keep)
        except TimeoutError:
            came = self.received - before
            raise TimeoutError(f"no whole response within {seconds:g} s, {came or 'no'} bytes of it") from None

    async def response_head(self, method: str = "GET", *, seconds: float = SECONDS) -> Response:
        """Read the head of one response, interim or final, and leave its body on the wire."""
        async with asyncio.timeout(seconds):
            response = Response()
            if not await self.head(response):
                raise Truncated(str(self.end), response)
        self._judge(response, method)
        return response

    async def _response(self, method: str, *, keep: bool) -> Response:
        interim: list[Response] = []
        while True:
            response = await self.response_head(method, seconds=SECONDS * 20)
            if response.status >= 200 or response.status == 101:
                break
            interim.append(response)
        response.interim = interim
        await self.read_body(response, keep=keep)
        if self.asks_h11 and keep and len(response.raw) < KEPT_BYTES and response.status != 101:
            second_opinion(method, interim, response)
        return response

    def _judge(self, response: Response, method: str) -> None:
        match = STATUS_LINE.fullmatch(response.start)
        if match is None:
            raise WireError(f"bad status line {short(response.start)}")
        response.version, response.status, response.reason = b"1." + match[1], int(match[2]), match[3]
        framing, _ = body_framing(response)
        if response.status == 204 or response.status < 200:
            if framing == "chunked" or (response.status < 200 and framing != "none"):
                raise WireError(f"a {response.status} with a body: {response.headers}")
            framing = "none"
        elif method == "HEAD" or response.status == 304:
            framing = "none"
        elif framing == "none":
            framing = "close"
        response.framing = framing

    async def ask(self, request: bytes, method: str = "", *, seconds: float = SECONDS, keep: bool = True) -> Response:
        """Send a request and read its response; the method is the request's own unless told."""
        await self.try_send(request)
        verb = method or request.split(b" ", 1)[0].decode("latin-1")
        return await self.response(verb, seconds=seconds, keep=keep)

    async def nothing_more(self, seconds: float = SECONDS) -> str:
        """Wait for the end, which must come without a further byte; return how it came."""
        try:
            rest = await self.until_end(seconds)
        except TimeoutError:
            raise TimeoutError(f"the connection is still open after {seconds:g} s") from None
        if rest:
            raise WireError(f"more bytes came: {short(rest)}")
        return str(self.end)


def second_opinion(method: str, interim: list[Response], response: Response) -> None:
    """Give the same bytes to h11, which must read the same message in them."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    connection.send(h11.Request(method=method or "GET", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(b"".join(bytes(one.raw) for one in [*interim, response]))
        if response.framing == "close":
            connection.receive_data(b"")
        status, body = _read_by_h11(connection)
    except h11.RemoteProtocolError as error:
        raise WireError(f"h11 refuses the response: {error}") from error
    if (status, body) != (response.status, bytes(response.body)):
        raise WireError(f"h11 reads {status} and {len(body)} bytes, we {response.status} and {len(response.body)}")


def _read_by_h11(connection: h11.Connection) -> tuple[int, bytes]:
    status, body = 0, bytearray()
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(body)
        elif not isinstance(event, h11.InformationalResponse):
            raise WireError(f"h11 sees no end of the response: {event}")
