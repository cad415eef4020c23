"""What toy_chat.py reads and writes: command line, HTTP, frames, JSON. CHAT_LIE names the fault it has, if any."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import os
import struct
import unicodedata
from dataclasses import dataclass, field
from typing import Any, NoReturn

LIE = os.environ.get("CHAT_LIE", "")
SLUG = "websocket-public-chat"
FLAGS = ("--help", "--version", "--echo")
WHOLE = {"--threads": 1, "--queue": 1, "--burst": 1, "--max-message-bytes": 1, "--max-connections": 1, "--history": 0}
SECONDS = {"--drain-timeout": 0.0, "--ping-interval": 0.001, "--ping-timeout": 0.001, "--join-timeout": 0.001}
DEFAULTS = {
    "--threads": 1,
    "--drain-timeout": 5,
    "--queue": 1024,
    "--rate": 10,
    "--burst": 20,
    "--ping-interval": 20,
    "--ping-timeout": 10,
    "--join-timeout": 10,
    "--max-message-bytes": 4096,
    "--max-connections": 10000,
    "--history": 0,
}
MANUAL = f"usage: {SLUG} --listen HOST:PORT [options]\n" + "".join(
    f"  {name}  (default {DEFAULTS.get(name, 'none')})\n"
    for name in ("--listen", *DEFAULTS, "--origins", "--echo", "--help", "--version")
)
MANUAL += "Exit code: 0 done, 2 bad usage.\n"
PHRASES = {
    101: "Switching Protocols",
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MOST_BYTES = 16 << 20
LARGEST_ID = (1 << 53) - 1


class UsageError(Exception):
    """The command line is wrong."""


class ProtocolError(Exception):
    """The client broke the protocol; the arguments are the code and the reason of the close frame."""


# --- command line ----------------------------------------------------------------------------------------------------


@dataclass
class Options:
    """The command line."""

    listen: tuple[str, int] | None = None
    values: dict[str, float] = field(default_factory=lambda: dict(DEFAULTS))
    origins: list[str] = field(default_factory=list)
    echo: bool = False
    shown: str = ""
    """The manual or the version, where that was asked for."""

    def __getitem__(self, name: str) -> float:
        """Return the value of an option."""
        return self.values[f"--{name}"]


def bad(name: str, value: str, why: str) -> UsageError:
    """Return an error that names option and value."""
    return UsageError(f'{name} "{value}": {why}')


def parse_options(words: list[str]) -> Options:
    """Read the command line."""
    options = Options()
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in FLAGS:
            if equals:
                raise UsageError(f"{name} takes no value")
            options.echo = options.echo or name == "--echo"
            if name != "--echo":
                options.shown = MANUAL if name == "--help" else f"{SLUG} go\n"
                return options
            continue
        if name not in ("--listen", "--origins", *DEFAULTS):
            raise UsageError(f'unknown option: "{name}" (see --help)')
        if not equals:
            if not rest:
                raise UsageError(f"{name} needs a value")
            value = rest.pop(0)
        set_option(options, name, value)
    if options.listen is None:
        raise UsageError("--listen is missing (see --help)")
    return options


def set_option(options: Options, name: str, value: str) -> None:
    """Check and keep one value."""
    if name == "--listen":
        set_listen(options, value)
    elif name == "--origins":
        set_origins(options, value)
    elif name in WHOLE:
        if not value.isdigit() or not WHOLE[name] <= int(value) <= 10**8:
            raise bad(name, value, f"not a whole number from {WHOLE[name]} to {10**8}")
        options.values[name] = int(value)
    else:
        try:
            number = float(value) if value.replace(".", "").isdigit() else math.nan
        except ValueError:
            number = math.nan
        least = SECONDS.get(name, 0.0)
        if not least <= number <= 10**6:
            raise bad(name, value, f"not a number from {least} to {10**6}")
        options.values[name] = number


def set_listen(options: Options, value: str) -> None:
    """Check and keep the address."""
    host, colon, port = value.rpartition(":")
    if not colon or not host:
        raise bad("--listen", value, "not HOST:PORT")
    if not port.isdigit() or int(port) > 65535:
        raise bad("--listen", value, "the port is not a number from 0 to 65535")
    options.listen = host.strip("[]"), int(port)


def set_origins(options: Options, value: str) -> None:
    """Check and keep the origins."""
    options.origins = value.split(",")
    for origin in options.origins:
        scheme, _, host = origin.partition("://")
        if scheme not in ("http", "https") or not host or "/" in host:
            raise bad("--origins", value, "not a list of origins like https://a.example")


# --- HTTP ------------------------------------------------------------------------------------------------------------


@dataclass
class Request:
    """A request head."""

    method: str
    path: str
    headers: dict[str, str]


def parse_request(head: bytes) -> Request | None:
    """Read a head; None where it is no HTTP."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1":
        return None
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            return None
        headers[name.lower()] = value.strip()
    return Request(words[0], words[1].partition("?")[0], headers)


def response(status: int, body: str = "", headers: str = "") -> bytes:
    """Return an answer."""
    text = body or f"{PHRASES[status].lower()}\n"
    length = "" if LIE == "no-content-length" else f"Content-Length: {len(text.encode())}\r\n"
    return f"HTTP/1.1 {status} {PHRASES[status]}\r\nContent-Type: text/plain\r\n{length}{headers}\r\n{text}".encode()


def switching(request: Request) -> bytes:
    """Return the answer to a handshake."""
    key = request.headers["sec-websocket-key"] + ("" if LIE == "wrong-accept" else GUID)
    accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
    more = ""
    if LIE == "negotiates" and "sec-websocket-extensions" in request.headers:
        more = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    return (
        f"HTTP/1.1 101 {PHRASES[101]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    ).encode()


def refusal(request: Request, origins: list[str]) -> bytes | None:
    """Return why a handshake is refused, if it is."""
    headers = request.headers
    words = [word.strip().lower() for word in headers.get("connection", "").split(",")]
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in words:
        return response(426, headers="Upgrade: websocket\r\n")
    if headers.get("sec-websocket-version") != "13" and LIE != "any-version":
        return response(426, headers="Sec-WebSocket-Version: 13\r\n")
    try:
        size = len(base64.b64decode(headers.get("sec-websocket-key", ""), validate=True))
    except binascii.Error:
        size = 0
    if size != 16 and not (LIE == "any-key" and size):
        return response(400)
    origin = headers.get("origin", "")
    good = any(origin.startswith(one) for one in origins) if LIE == "origin-by-prefix" else origin in origins
    return response(403) if origins and not good else None


# --- frames ----------------------------------------------------------------------------------------------------------


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """Return a frame of the server."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 1 << 16:
        return bytes([0x80 | opcode, 126]) + struct.pack(">H", size) + payload
    return bytes([0x80 | opcode, 127]) + struct.pack(">Q", size) + payload


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Take the mask off."""
    size = len(payload)
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")


def check_head(first: int, second: int, *, in_message: bool) -> None:
    """Raise where a frame may not begin so."""
    opcode, final = first & 15, bool(first & 0x80)
    known = opcode in (0, 1, 2, 8, 9, 10) or (LIE == "any-opcode")
    if not second & 0x80 and LIE != "takes-unmasked":
        fail()
    if (first & 0x70 and LIE != "ignores-rsv") or not known:
        fail()
    if opcode >= 8:
        if (not final and LIE != "fragmented-control") or (second & 127 > 125 and LIE != "long-control"):
            fail()
    elif (opcode == 0) != in_message and LIE != "any-order":
        fail()


def fail() -> NoReturn:
    """Close for a broken protocol."""
    raise ProtocolError(1002, "protocol error")


def check_close(payload: bytes) -> int:
    """Return the code of a close frame, 0 without one."""
    if not payload:
        return 0
    code = int.from_bytes(payload[:2], "big")
    good = code in (*range(1000, 1004), *range(1007, 1014)) or 3000 <= code <= 4999
    if len(payload) == 1 or not (good or LIE == "any-close-code"):
        fail()
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(1007, "invalid UTF-8") from None
    return code


# --- JSON ------------------------------------------------------------------------------------------------------------


def refuse_constant(name: str) -> Any:
    """NaN is no JSON."""
    if LIE != "takes-nan":
        raise ValueError(name)
    return None


def first_counts(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Let the first of two members of one name count, which is the lie."""
    return dict(reversed(pairs))


def parse_message(text: str) -> tuple[dict[str, Any], str]:
    """Return a message, and what is wrong with it."""
    try:
        hook = first_counts if LIE == "first-duplicate-counts" else None
        value = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=hook)
        if LIE != "takes-lone-surrogates":
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return {}, "not json"
    if not isinstance(value, dict):
        return {}, "not an object"
    match value.get("type"):
        case "join":
            return value, wrong_join(value)
        case "chat":
            return value, wrong_chat(value)
        case "leave":
            return value, ""
    return {}, "unknown type"


def wrong_join(value: dict[str, Any]) -> str:
    """Say what is wrong with a join."""
    room, nick = value.get("room"), value.get("nick")
    allowed = "abcdefghijklmnopqrstuvwxyz0123456789_-" + ("." if LIE == "room-with-dot" else "")
    if not isinstance(room, str) or not 1 <= len(room) <= 64 or set(room) - set(allowed):
        return "bad room"
    if not isinstance(nick, str):
        return "bad nick"
    size = len(nick.encode("utf-8", "replace")) if LIE == "nick-by-bytes" else len(nick)
    controls = any(unicodedata.category(char) == "Cc" for char in nick) and LIE != "nick-with-controls"
    return "bad nick" if not 1 <= size <= 32 or controls else ""


def wrong_chat(value: dict[str, Any]) -> str:
    """Say what is wrong with a chat."""
    text, number = value.get("text"), value.get("id")
    if not isinstance(text, str):
        return "bad text"
    size = len(text) if LIE == "text-by-characters" else len(text.encode("utf-8", "replace"))
    if not 1 <= size <= 2000:
        return "bad text"
    most = LARGEST_ID + (1 if LIE == "id-too-large" else 0)
    return "" if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= most else "bad id"


def encode(**members: object) -> bytes:
    """Return a message as a frame."""
    text = json.dumps(members, separators=(",", ":"), ensure_ascii=LIE == "escapes-all")
    if LIE == "spaces":
        text = text.replace('","', '", "')
    return frame(1, text.encode("utf-8", "replace"))
