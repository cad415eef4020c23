#!/usr/bin/env python3
"""A small chat that is right, and wrong in one way when CHAT_LIE says so: what the oracle must find."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
import time
from collections import deque
from typing import Any

import toy_wire as wire
from toy_room import Room, Server
from toy_wire import LIE, Options, ProtocolError, UsageError

HEAD_SECONDS = 10.0
HEAD_BYTES = 16 << 10
QUEUE_BYTES = 1 << 20
PEER_SECONDS = 2.0


class Gone(Exception):  # noqa: N818 - a client that goes is no error
    """The connection is over."""


class Client:
    """A connection, from its first byte to its last."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        """Begin to read."""
        self.server, self.sock = server, sock
        self.loop = asyncio.get_running_loop()
        self.data = bytearray()
        self.queue: deque[tuple[bytes, int]] = deque()
        self.waiting = 0
        self.wakes = asyncio.Event()
        self.closing = self.is_echo = False
        self.room: Room | None = None
        self.nick = ""
        self.held = b""
        self.errors = 0
        self.tokens: list[float] = [server.options["burst"], time.monotonic()]
        self.heard = self.pinged = self.began = time.monotonic()
        self.tasks: list[asyncio.Task[None]] = []

    # --- bytes ---

    async def need(self, size: int) -> None:
        """Read until so many bytes are there."""
        while len(self.data) < size:
            await self.read()

    async def read(self) -> None:
        """Read once."""
        try:
            got = await self.loop.sock_recv(self.sock, 1 << 16)
        except OSError:
            got = b""
        if not got:
            raise Gone
        self.data += got
        if LIE != "only-pong-renews":
            self.heard = time.monotonic()

    async def send(self, data: bytes) -> None:
        """Write all."""
        try:
            sent = 0
            with contextlib.suppress(BlockingIOError):
                sent = self.sock.send(data)
            if sent < len(data):
                await self.loop.sock_sendall(self.sock, data[sent:])
        except OSError:
            raise Gone from None

    def push(self, data: bytes, chats: int = 0) -> None:
        """Queue a frame; one that finds the queue full ends it."""
        limit = self.server.options["queue"]
        full = len(self.queue) >= limit or (self.queue and self.waiting + len(data) > QUEUE_BYTES)
        if self.closing:
            self.server.counts["deliveries_dropped_total"] += chats
        elif full and not self.is_echo and LIE != "unbounded":
            dropped = chats + sum(count for _, count in self.queue)
            self.server.counts["deliveries_dropped_total"] += 0 if LIE == "drops-in-silence" else dropped
            self.server.counts["slow_consumers_total"] += LIE != "slow-uncounted"
            self.queue.clear()
            self.leave_room()
            self.cut()
        else:
            self.queue.append((data, chats))
            self.waiting += len(data)
            self.wakes.set()

    async def write(self) -> None:
        """Write what is queued, for ever."""
        try:
            while True:
                while self.queue:
                    data, chats = self.queue[0]
                    await self.send(data)
                    if self.queue:
                        self.queue.popleft()
                    self.waiting -= len(data)
                    self.server.counts["deliveries_total"] += chats
                    if LIE == "miscounts" and chats and self.server.draw.random() < 0.001:
                        self.server.counts["deliveries_total"] += 1
                    if data[0] == 0x88:
                        return
                self.wakes.clear()
                await self.wakes.wait()
        except Gone:
            self.cut()

    def cut(self) -> None:
        """End the connection."""
        self.closing = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self, code: int, reason: str) -> None:
        """Queue a close frame."""
        self.leave_room()
        if not self.closing:
            self.push(wire.frame(8, struct.pack(">H", code) + reason.encode() if code else b""))
            self.closing = True
            if LIE != "waits-for-ever":
                self.loop.call_later(PEER_SECONDS, self.cut)

    # --- HTTP ---

    async def serve(self) -> None:
        """Serve the connection."""
        try:
            request = await self.requests()
            self.server.counts["connects_total"] += 1
            self.server.clients.add(self)
            self.is_echo = request.path == "/echo"
            self.began = self.heard = time.monotonic()
            await self.send(wire.switching(request))
            self.tasks = [asyncio.ensure_future(self.write()), asyncio.ensure_future(self.watch())]
            await self.websocket()
        except (Gone, TimeoutError):
            pass
        finally:
            self.over()

    def over(self) -> None:
        """Tidy up."""
        self.leave_room()
        if self in self.server.clients:
            self.server.clients.remove(self)
            self.server.taken -= LIE != "leaks-places"
        self.server.counts["deliveries_dropped_total"] += sum(count for _, count in self.queue)
        self.queue.clear()
        for task in self.tasks:
            task.cancel()
        self.sock.close()

    async def requests(self) -> wire.Request:
        """Answer requests up to a handshake that is good."""
        while True:
            async with asyncio.timeout(None if LIE == "waits-for-heads" else HEAD_SECONDS):
                while (end := self.data.find(b"\r\n\r\n")) < 0 and len(self.data) <= HEAD_BYTES:
                    await self.read()
            if end < 0 or end > HEAD_BYTES:
                await self.send(wire.response(431))
                self.sock.shutdown(socket.SHUT_WR)
                async with asyncio.timeout(2):
                    while True:
                        self.data.clear()
                        await self.read()
            request = wire.parse_request(bytes(self.data[:end]))
            del self.data[: end + 4]
            if request is None:
                await self.send(wire.response(400))
                raise Gone
            answer = self.answer(request)
            if answer is None:
                if LIE == "loses-early-frames":
                    self.data.clear()
                return request
            await self.send(answer[: answer.find(b"\r\n\r\n") + 4] if request.method == "HEAD" else answer)
            if request.headers.get("connection", "").lower() == "close":
                raise Gone

    def answer(self, request: wire.Request) -> bytes | None:
        """Return what a request gets; None for an upgrade."""
        options = self.server.options
        if request.path not in ("/chat", "/health", "/metrics", *(["/echo"] if options.echo else [])):
            return wire.response(404)
        if request.method != "GET":
            return wire.response(405, headers="" if LIE == "no-allow" else "Allow: GET\r\n")
        if request.path in ("/health", "/metrics"):
            return wire.response(200, "ok\n" if request.path == "/health" else self.server.metrics())
        if refused := wire.refusal(request, options.origins):
            return refused
        if self.server.taken >= options["max-connections"] and LIE != "no-limit":
            return wire.response(503)
        self.server.taken += 1
        return None

    # --- frames ---

    async def websocket(self) -> None:
        """Read frames until the end."""
        try:
            await self.frames()
        except ProtocolError as problem:
            self.server.counts["protocol_errors_total"] += 1
            self.close(*problem.args)
            await self.last_bytes()

    async def last_bytes(self) -> None:
        """Let the close frame go out, and see the peer's end."""
        while self.queue:  # noqa: ASYNC110 - a toy may poll
            await asyncio.sleep(0.01)
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        while True:
            self.data.clear()
            await self.read()

    async def frames(self) -> None:
        """Read frames; raise for what is wrong."""
        message, kind, late = bytearray(), 0, []
        while True:
            await self.need(2)
            first, second = self.data[0], self.data[1]
            opcode = first & 15
            wire.check_head(first, second, in_message=bool(kind))
            width = {126: 2, 127: 8}.get(second & 127, 0)
            await self.need(2 + width + 4)
            size = int.from_bytes(self.data[2 : 2 + width], "big") if width else second & 127
            self.check_size(opcode, size, 0 if LIE == "adds-no-fragments" else len(message))
            masked = bool(second & 0x80)
            at = 2 + width + 4 * masked
            await self.need(at + size)
            payload = bytes(self.data[at : at + size])
            payload = wire.unmask(payload, bytes(self.data[at - 4 : at])) if masked else payload
            del self.data[: at + size]
            if opcode >= 8:
                if kind and LIE == "pongs-late":
                    late.append((opcode, payload))
                else:
                    await self.control(opcode, payload)
                continue
            message += payload
            kind = kind or opcode
            final = bool(first & 0x80)
            self.check_text(kind, payload if LIE == "checks-fragments-alone" else bytes(message), final)
            if final:
                self.message(kind, bytes(message))
                while self.waiting > QUEUE_BYTES and self.is_echo and not self.closing:  # noqa: ASYNC110 - as below
                    await asyncio.sleep(0.005)
                message, kind = bytearray(), 0
                for one in late:
                    await self.control(*one)
                late.clear()

    def check_size(self, opcode: int, size: int, before: int) -> None:
        """Raise for a message that is too large, before its payload is taken."""
        if LIE == "allocates":
            self.waste = b"x" * min(size, 4 << 20)
        if opcode == 2 and not self.is_echo and LIE != "takes-binary":
            raise ProtocolError(1003, "text only")
        limit = wire.MOST_BYTES if self.is_echo else self.server.options["max-message-bytes"]
        if opcode < 8 and size + before > limit + (LIE == "one-byte-more"):
            raise ProtocolError(1009, "message too large")

    @staticmethod
    def check_text(kind: int, text: bytes, final: bool) -> None:
        """Raise for what is not UTF-8."""
        if kind != 1 or LIE == "takes-any-bytes":
            return
        try:
            text.decode()
        except UnicodeDecodeError as problem:
            whole_so_far = problem.reason == "unexpected end of data"
            if final or not whole_so_far or LIE == "checks-fragments-alone":
                raise ProtocolError(1007, "invalid UTF-8") from None

    async def control(self, opcode: int, payload: bytes) -> None:
        """Answer a control frame."""
        if opcode == 9:
            self.push(wire.frame(10, b"" if LIE == "empty-pongs" else payload))
        elif opcode == 10:
            self.heard = time.monotonic()
        elif opcode == 8:
            code = wire.check_close(payload)
            if self.closing:
                raise Gone
            self.close(1000 if LIE == "close-not-echoed" else code, "")
            while self.queue:  # noqa: ASYNC110 - a toy may poll
                await asyncio.sleep(0.002)
            raise Gone

    # --- chat ---

    def message(self, kind: int, data: bytes) -> None:
        """Do what a message asks for."""
        if self.closing:
            return
        if self.is_echo:
            self.push(wire.frame(kind, data))
            return
        value, reason = wire.parse_message(data.decode("utf-8", "replace"))
        if value.get("type") == "chat" and not (reason and LIE == "malformed-not-offered"):
            self.server.counts["messages_offered_total"] += 1
        reason = reason or self.act(value)
        if reason:
            self.push(wire.encode(type="error", reason=reason))
            self.errors += 1
            if self.errors == (11 if LIE == "eleven-errors" else 10):
                self.close(1008, "too many errors")

    def act(self, value: dict[str, Any]) -> str:
        """Do it; return what is wrong."""
        if value["type"] == "join":
            if self.room and LIE != "joins-twice":
                return "joined already"
            self.join(value["room"], value["nick"])
            return ""
        if not self.room:
            return "not joined"
        if value["type"] == "leave":
            name = self.room.name
            self.leave_room()
            self.push(wire.encode(type="left", room=name))
            self.close(1000, "left")
        else:
            self.chat(self.room, value["id"], value["text"])
        return ""

    def join(self, name: str, nick: str) -> None:
        """Become a member."""
        self.leave_room()
        room = self.server.rooms.setdefault(name, Room(name, int(self.server.options["history"])))
        if LIE == "seq-goes-on":
            room.seq = self.server.seq
        self.room, self.nick = room, nick
        room.members.append(self)
        self.push(wire.encode(type="joined", room=name, nick=nick, members=len(room.members)))
        for frame in room.past:
            self.push(frame)
        room.changed()

    def leave_room(self) -> None:
        """Be no member any more."""
        if not self.room:
            return
        room, self.room = self.room, None
        room.members.remove(self)
        if not room.members:
            self.server.seq = room.seq
            del self.server.rooms[room.name]
        else:
            room.changed()

    def chat(self, room: Room, number: int, text: str) -> None:
        """Say something, where the bucket allows."""
        if not self.token():
            self.server.counts["messages_refused_total"] += 1
            self.push(wire.encode(type="refused", id=number, reason="rate"))
            if LIE == "refused-takes-seq":
                room.seq += 1
            if LIE == "delivers-refused":
                self.server.deliver(room, self, text)
            return
        self.server.counts["messages_accepted_total"] += 1
        room.seq += 1
        if LIE == "seq-of-server":
            self.server.seq += 1
            room.seq = self.server.seq
        self.push(wire.encode(type="accepted", id=number, seq=room.seq))
        self.server.deliver(room, self, text)

    def token(self) -> bool:
        """Take a token."""
        rate, burst, now = self.server.options["rate"], self.server.options["burst"], time.monotonic()
        if not rate or LIE == "no-rate":
            return True
        tokens = self.server.tokens if LIE == "one-bucket" else self.tokens
        filled = tokens[0] + (now - tokens[1]) * rate
        tokens[0], tokens[1] = filled if LIE == "bucket-overflows" else min(burst, filled), now
        if tokens[0] < 1:
            return False
        tokens[0] -= 1
        return True

    # --- time ---

    async def watch(self) -> None:
        """Ping, and cut who is silent."""
        options = self.server.options
        while True:
            await asyncio.sleep(0.02)
            now = time.monotonic()
            late = now - self.began > options["join-timeout"] and not self.room and not self.is_echo
            if late and not self.closing and LIE != "no-join-timeout":
                self.close(1008, "join timeout")
            if self.pinged > self.heard:
                if now - self.pinged > options["ping-timeout"] and LIE != "never-cuts":
                    self.server.counts["ping_timeouts_total"] += 1
                    self.cut()
                    return
            elif now - self.heard > options["ping-interval"] and LIE != "never-pings":
                self.pinged = now
                self.push(wire.frame(9))


async def serve(options: Options) -> None:
    """Listen until a signal comes."""
    server = Server(options)
    loop = asyncio.get_running_loop()
    assert options.listen
    listener = socket.socket(socket.AF_INET6 if ":" in options.listen[0] else socket.AF_INET)
    try:
        listener.bind(options.listen)
    except OSError as problem:
        raise UsageError(f'--listen "{options.listen[0]}:{options.listen[1]}": {problem.strerror}') from None
    listener.listen(1024)
    listener.setblocking(False)
    stop = asyncio.Event()

    def signalled() -> None:
        if stop.is_set() and LIE != "deaf-to-signals":
            os._exit(0)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    host = f"[{options.listen[0]}]" if ":" in options.listen[0] else options.listen[0]
    print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
    tasks: set[asyncio.Task[None]] = set()

    async def accept() -> None:
        while True:
            sock, _ = await loop.sock_accept(listener)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.ensure_future(Client(server, sock).serve())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    accepting = asyncio.ensure_future(accept())
    await stop.wait()
    accepting.cancel()
    listener.close()
    for client in list(server.clients):
        if LIE == "drain-forgets" and isinstance(client, Client):
            client.queue.clear()
        client.close(1000 if LIE == "drain-as-1000" else 1001, "going away")
    deadline = time.monotonic() + (60 if LIE == "drains-for-ever" else options["drain-timeout"])
    while server.clients and time.monotonic() < deadline:  # noqa: ASYNC110 - a toy may poll
        await asyncio.sleep(0.01)


def main() -> None:
    """Run."""
    sys.setrecursionlimit(20000)
    try:
        options = wire.parse_options(sys.argv[1:])
        if options.shown:
            print(options.shown, end="")
            return
        asyncio.run(serve(options))
    except UsageError as problem:
        print(f"error: {problem}", file=sys.stderr)
        if LIE == "two-lines":
            print("see --help", file=sys.stderr)
        sys.exit(1 if LIE == "exit-1" else 2)
    os._exit(1 if LIE == "drain-exit-1" else 0)


if __name__ == "__main__":
    main()
