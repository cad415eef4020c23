"""Bytes on the wire: frames of RFC 6455, request heads, and the texts that a lane must send, byte for byte."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from dataclasses import dataclass
from typing import Any

TEXT, BINARY, CONTINUATION = 1, 2, 0
CLOSE, PING, PONG = 8, 9, 10
NAMES = {TEXT: "text", BINARY: "binary", CONTINUATION: "continuation", CLOSE: "close", PING: "ping", PONG: "pong"}
FIN = 0x80
MASKED = 0x80
MASK = b"\x37\xfa\x21\x3d"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of the example in RFC 6455."""

REASONS = {
    1000: "left",
    1001: "going away",
    1002: "protocol error",
    1003: "text only",
    1007: "invalid UTF-8",
    1009: "message too large",
    1013: "too slow",
}
"""What a server says beside the code of its close frame; 1008 has two meanings."""
TOO_MANY_ERRORS = (1008, "too many errors")
JOIN_TIMEOUT = (1008, "join timeout")

BODIES = {
    200: "ok\n",
    400: "bad request\n",
    403: "forbidden\n",
    404: "not found\n",
    405: "method not allowed\n",
    426: "upgrade required\n",
    431: "request header fields too large\n",
    503: "service unavailable\n",
}

ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class WireError(Exception):
    """What came is not what the protocol allows, or nothing came."""


# --- frames ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """A frame from the server."""

    opcode: int
    payload: bytes
    final: bool = True

    @property
    def text(self) -> str:
        """The payload of a text frame, or words for what came instead."""
        if self.opcode == TEXT and self.final:
            return self.payload.decode("utf-8", "backslashreplace")
        return str(self)

    @property
    def closing(self) -> tuple[int, str]:
        """Code and reason of a close frame; 0 where it has none."""
        if self.opcode != CLOSE:
            raise WireError(f"expected a close frame, got {self}")
        if not self.payload:
            return 0, ""
        if len(self.payload) == 1:
            raise WireError("expected a close frame with two bytes of code, got one byte")
        return struct.unpack(">H", self.payload[:2])[0], self.payload[2:].decode("utf-8")

    def __str__(self) -> str:
        """Say what it is."""
        if self.opcode == CLOSE and len(self.payload) >= 2:
            return f"close {struct.unpack('>H', self.payload[:2])[0]} {self.payload[2:]!r:.80}"
        return f"{NAMES.get(self.opcode, self.opcode)} {self.payload!r:.160}"


def masked(payload: bytes, mask: bytes) -> bytes:
    """XOR a payload with a mask of four bytes, in either direction."""
    size = len(payload)
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")


def length_field(size: int, width: int | None, mask_bit: int) -> bytes:
    """Return the length of a frame in 7, 16 or 64 bits; the shortest unless told."""
    width = width or (7 if size < 126 else 16 if size < 1 << 16 else 64)
    if width == 7:
        return bytes([mask_bit | size])
    if width == 16:
        return bytes([mask_bit | 126]) + struct.pack(">H", size)
    return bytes([mask_bit | 127]) + struct.pack(">Q", size)


def frame(
    opcode: int,
    payload: bytes | str = b"",
    *,
    final: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    width: int | None = None,
) -> bytes:
    """Return a frame of a client; without a mask one that a client must not send."""
    content = payload.encode() if isinstance(payload, str) else payload
    head = bytes([(FIN if final else 0) | rsv << 4 | opcode])
    head += length_field(len(content), width, 0 if mask is None else MASKED)
    return head + content if mask is None else head + mask + masked(content, mask)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame of a client."""
    return frame(CLOSE, struct.pack(">H", code) + reason)


def fragments(payload: bytes, cuts: list[int], between: bytes = b"", opcode: int = TEXT) -> bytes:
    """Return a message in fragments that end at the cuts, with other frames between them."""
    ends = [*cuts, len(payload)]
    starts = [0, *cuts]
    parts = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        last = index == len(ends) - 1
        parts.append(frame(CONTINUATION if index else opcode, payload[start:end], final=last))
    return between.join(parts)


def parse_frame(data: bytes | bytearray) -> tuple[Frame, int] | None:
    """Return the first frame of a server's bytes and its size; None while it is not whole.

    Raises:
        WireError: a server must not send this.
    """
    if len(data) < 2:
        return None
    first, second = data[0], data[1]
    if first & 0x70:
        raise WireError(f"expected reserved bits 0, got a frame that begins with 0x{first:02x}")
    if second & MASKED:
        raise WireError("expected frames of the server without a mask, got a masked one")
    size, at = second & 127, 2
    if size >= 126:
        width = 2 if size == 126 else 8
        at = 2 + width
        if len(data) < at:
            return None
        size = int.from_bytes(data[2:at], "big")
        if size < (126 if width == 2 else 1 << 16):
            raise WireError(f"expected the shortest length, got {size} in {width} bytes")
    opcode = first & 15
    if opcode not in (TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG):
        raise WireError(f"expected a known opcode, got {opcode}")
    if opcode >= CLOSE and (size > 125 or not first & FIN):
        raise WireError(f"expected control frames of at most 125 bytes in one piece, got {opcode} of {size} bytes")
    if len(data) < at + size:
        return None
    return Frame(opcode, bytes(data[at : at + size]), bool(first & FIN)), at + size


# --- HTTP ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    """An answer over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes
    reason: str = ""


def accept_of(key: str) -> str:
    """Return what RFC 6455 wants as Sec-WebSocket-Accept."""
    digest = hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


UPGRADE = {
    "Host": "chat.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def head(target: str, headers: dict[str, str] | None = None, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    """Return a request head."""
    lines = [f"{method} {target} {version}"]
    lines += [f"{name}: {value}" for name, value in (headers or {"Host": "chat.example"}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def upgrade_head(target: str = "/chat", without: str = "", **changed: str) -> bytes:
    """Return the head of a handshake; `changed` by header names with _ for -."""
    headers = {name: value for name, value in UPGRADE.items() if name != without}
    headers.update({name.replace("_", "-"): value for name, value in changed.items()})
    return head(target, headers)


def parse_head(data: bytes) -> Response:
    """Return status and headers of an answer, without its body.

    Raises:
        WireError: it is not HTTP.
    """
    lines = data.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"HTTP/1\.[01] (\d{3})(?: (.*))?", lines[0])
    if not found:
        raise WireError(f"expected a status line, got {lines[0]!r:.100}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise WireError(f"expected headers, got {line!r:.100}")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return Response(int(found[1]), headers, b"", found[2] or "")


# --- texts -----------------------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """Return a JSON string with the fewest escapes, as a lane must write it."""
    parts = [ESCAPES.get(char) or (f"\\u{ord(char):04x}" if char < " " else char) for char in text]
    return f'"{"".join(parts)}"'


def joined(room: str, nick: str, members: int) -> str:
    """What who joins is told."""
    return f'{{"type":"joined","room":{quoted(room)},"nick":{quoted(nick)},"members":{members}}}'


def accepted(number: int, seq: int) -> str:
    """What the sender is told."""
    return f'{{"type":"accepted","id":{number},"seq":{seq}}}'


def chatted(room: str, nick: str, seq: int, text: str) -> str:
    """What every other member gets."""
    return f'{{"type":"chat","room":{quoted(room)},"nick":{quoted(nick)},"seq":{seq},"text":{quoted(text)}}}'


def refused(number: int) -> str:
    """What a sender is told whose bucket is empty."""
    return f'{{"type":"refused","id":{number},"reason":"rate"}}'


def presence(room: str, members: int) -> str:
    """What all members are told when their number changed."""
    return f'{{"type":"presence","room":{quoted(room)},"members":{members}}}'


def error(reason: str) -> str:
    """What is said of a message that is wrong."""
    return f'{{"type":"error","reason":{quoted(reason)}}}'


def left(room: str) -> str:
    """What who leaves is told."""
    return f'{{"type":"left","room":{quoted(room)}}}'


def join(room: str = "room", nick: str = "nick") -> str:
    """Ask to be a member."""
    return json.dumps({"type": "join", "room": room, "nick": nick}, ensure_ascii=False)


def chat(number: int, text: str) -> str:
    """Say something."""
    return json.dumps({"type": "chat", "id": number, "text": text}, ensure_ascii=False)


LEAVE = '{"type":"leave"}'


def kind_of(text: str) -> str:
    """Return the type of a server's message, "" where it has none."""
    found = re.match(r'\{"type":"([a-z]+)"', text)
    return found[1] if found else ""


def content(text: str) -> dict[str, Any]:
    """Return a server's message as an object.

    Raises:
        WireError: it is none.
    """
    try:
        value = json.loads(text)
    except ValueError:
        raise WireError(f"expected JSON, got {text!r:.160}") from None
    if not isinstance(value, dict):
        raise WireError(f"expected an object, got {text!r:.160}")
    return value
