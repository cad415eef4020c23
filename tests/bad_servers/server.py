"""A small server that answers PING with PONG, and can misbehave in one way, which the tests write into FAULT."""

import os
import selectors
import signal
import socket
import sys
import time

FAULT = "none"
RIGHT_REPLIES = 100
"""So many replies are right before a fault that shows later."""


def main() -> int:
    """Serve until SIGTERM, with the fault."""
    argv = sys.argv[1:]
    if argv == ["--version"]:
        print("ping-server python")
        return 0
    if len(argv) != 2 or argv[0] != "--listen":
        return fail(f"unknown option {argv[0]}" if argv else "--listen is missing")
    host, _, port = argv[1].rpartition(":")
    if not host or not port.isdecimal():
        return fail(f"--listen: not HOST:PORT: {argv[1]}")
    listener = socket.create_server((host, int(port)), backlog=128)
    if FAULT == "taken-port":
        try:
            socket.create_server(listener.getsockname())
        except OSError as error:
            return fail(f"--listen {argv[1]}: {error.strerror}")
    if FAULT == "never-ready":
        time.sleep(600)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if FAULT == "ignores-sigterm" else lambda *_: os._exit(0))
    print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
    if FAULT == "leaves-a-child" and os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    serve(listener)
    return 0


def fail(message: str) -> int:
    """One line and exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    return 2


def serve(listener: socket.socket) -> None:
    """One connection after the other, as they have something to say."""
    events = selectors.DefaultSelector()
    listener.setblocking(False)
    events.register(listener, selectors.EVENT_READ)
    replies, leaked = 0, []
    while True:
        for key, _ in events.select():
            if key.fileobj is listener:
                try:
                    client, _ = listener.accept()
                except OSError:
                    time.sleep(0.01)  # no descriptors left
                    continue
                events.register(client, selectors.EVENT_READ, client)
                continue
            client = key.data
            try:
                asked = client.recv(65536).count(b"PING\r\n")
            except OSError:
                asked = 0
            if not asked:
                events.unregister(client)
                if FAULT == "leaks-connections":
                    leaked.append(client)
                else:
                    client.close()
                continue
            replies += asked
            client.sendall(reply(replies) * asked)


def reply(count: int) -> bytes:
    """What the client gets; most faults begin after a while."""
    late = count > RIGHT_REPLIES
    if FAULT == "wrong" or (FAULT == "fast-but-wrong" and late):
        return b"+PANG\r\n"
    if FAULT == "garbage":
        return b"\0\1\2\r\n"
    if FAULT == "dies" and late:
        os._exit(7)
    if FAULT == "stops-answering" and late:
        return b""
    return b"+PONG\r\n"


if __name__ == "__main__":
    sys.exit(main())
