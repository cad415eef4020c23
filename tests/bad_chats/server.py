"""A small chat server that does what docs/specs/websocket-public-chat.md says of one room, or misbehaves in one way."""

import base64
import hashlib
import json
import os
import selectors
import signal
import socket
import sys

FAULT = "none"
RIGHT_MESSAGES = 60
"""So many messages are right before a fault that shows later."""
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 1, 8


def main() -> int:
    """Serve until SIGTERM, with the fault."""
    argv = sys.argv[1:]
    if argv == ["--version"]:
        print("chat-server python")
        return 0
    if len(argv) != 2 or argv[0] != "--listen":
        return fail(f"unknown option {argv[0]}" if argv else "--listen is missing")
    host, _, port = argv[1].rpartition(":")
    if not host or not port.isdecimal():
        return fail(f"--listen: not HOST:PORT: {argv[1]}")
    listener = socket.create_server((host, int(port)), backlog=128)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
    Chat(listener).serve()
    return 0


def fail(message: str) -> int:
    """One line and exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    return 2


def frame(opcode: int, payload: bytes) -> bytes:
    """A frame of a server."""
    short = len(payload) < 126
    length = bytes([len(payload)]) if short else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + payload


def told(**members: object) -> bytes:
    """A message as the protocol writes it."""
    return frame(TEXT, json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode())


class Client:
    """A connection."""

    def __init__(self, connection: socket.socket) -> None:
        """Nothing was said yet."""
        self.connection = connection
        self.input = b""
        self.upgraded = False
        self.room = ""
        self.nick = ""
        self.gone = False

    def send(self, content: bytes) -> None:
        """Send all of it; the tests are small enough to wait."""
        self.connection.setblocking(True)
        try:
            self.connection.sendall(content)
        except OSError:
            self.gone = True

    def frames(self) -> list[tuple[int, bytes]]:
        """The whole frames that have come."""
        found = []
        while len(self.input) >= 6:
            length, start = self.input[1] & 0x7F, 2
            if length == 126:
                length, start = int.from_bytes(self.input[2:4], "big"), 4
            end = start + 4 + length
            if len(self.input) < end:
                break
            mask, masked = self.input[start : start + 4], self.input[start + 4 : end]
            key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
            payload = (int.from_bytes(masked, "big") ^ key).to_bytes(length, "big")
            found.append((self.input[0] & 15, payload))
            self.input = self.input[end:]
        return found


class Chat:
    """All rooms."""

    def __init__(self, listener: socket.socket) -> None:
        """Nobody is there yet."""
        self.listener = listener
        self.events = selectors.DefaultSelector()
        self.rooms: dict[str, list[Client]] = {}
        self.seqs: dict[str, int] = {}
        self.messages = 0
        self.held: tuple[Client, bytes] | None = None
        self.leaked: list[bytes] = []

    def serve(self) -> None:
        """One client after the other, as they have something to say."""
        self.events.register(self.listener, selectors.EVENT_READ)
        while True:
            for key, _ in self.events.select():
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    self.events.register(connection, selectors.EVENT_READ, Client(connection))
                else:
                    self.receive(key.data)

    def receive(self, client: Client) -> None:
        """What one client says."""
        try:
            content = client.connection.recv(65536)
        except OSError:
            content = b""
        if not content:
            self.end(client)
            return
        client.input += content
        if not client.upgraded and b"\r\n\r\n" in client.input:
            self.upgrade(client)
        for opcode, payload in client.frames() if client.upgraded else ():
            if opcode == TEXT:
                self.said(client, json.loads(payload))
            elif opcode == CLOSE:
                self.end(client)
                return

    def end(self, client: Client) -> None:
        """No longer there: the server closes first."""
        self.leave(client)
        self.events.unregister(client.connection)
        client.connection.close()

    def upgrade(self, client: Client) -> None:
        """The answer to the upgrade."""
        head, _, client.input = client.input.partition(b"\r\n\r\n")
        key = next(
            line.split(b":")[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())  # noqa: S324 - what RFC 6455 asks for
        client.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        client.upgraded = True

    def said(self, client: Client, message: dict[str, str]) -> None:
        """One message of a client; what is left of one that is gone does not matter."""
        if client.gone:
            return
        if message["type"] == "join":
            client.room, client.nick = message["room"], message["nick"]
            members = self.rooms.setdefault(client.room, [])
            members.append(client)
            client.send(told(type="joined", room=client.room, nick=client.nick, members=len(members)))
        elif message["type"] == "leave":
            room = client.room
            self.leave(client)
            client.send(told(type="left", room=room) + frame(CLOSE, (1000).to_bytes(2, "big")))
        else:
            self.chat(client, message["id"], message["text"])

    def leave(self, client: Client) -> None:
        """No longer a member."""
        if client in self.rooms.get(client.room, ()):
            self.rooms[client.room].remove(client)
            if not self.rooms[client.room]:
                del self.rooms[client.room]
                self.seqs.pop(client.room, None)
        client.room = ""

    def chat(self, sender: Client, number: object, text: str) -> None:
        """To everybody else, or with the fault."""
        room = sender.room
        self.messages += 1
        late = self.messages > RIGHT_MESSAGES and self.messages % 10 == 0
        seq = self.seqs[room] = self.seqs.get(room, 0) + 1
        if FAULT == "leaks":
            self.leaked.append(b"x" * 100_000)
        sender.send(told(type="accepted", id=number, seq=seq))
        if FAULT == "garbles" and late:
            text = text[:-1] + "!"
        content = told(type="chat", room=room, nick=sender.nick, seq=seq, text=text)
        held, self.held = self.held, None
        if FAULT == "swaps" and late:
            self.held = (sender, content)
            return
        for member in list(self.rooms[room]):
            if member is not sender and not (FAULT == "loses" and late):
                member.send(content * (2 if FAULT == "doubles" and late else 1))
            if held and member is not held[0]:
                member.send(held[1])
        if FAULT == "cuts" and late:
            sender.send(frame(CLOSE, (1011).to_bytes(2, "big") + b"so sorry"))
        if FAULT == "dies" and late:
            os._exit(7)


if __name__ == "__main__":
    sys.exit(main())
