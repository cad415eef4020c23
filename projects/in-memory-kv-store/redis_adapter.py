#!/usr/bin/env python3
"""redis-server under the command line of a lane, so that the oracle can hold redis against redis.

    redis_adapter.py --listen 127.0.0.1:6379 [--listen unix:/path.sock] [--threads 1]
        [--maxmemory BYTES] [--maxmemory-policy noeviction|allkeys-lru|volatile-lru|allkeys-random|volatile-ttl]
        [--appendonly PATH] [--appendfsync always|everysec|no] [--maxclients 10000] [--drain-timeout 5]
    redis_adapter.py --check-aof PATH
    redis_adapter.py --version | --help

BYTES takes redis's units (100mb, 1gb). Exit codes: 0 ended by a signal or SHUTDOWN, 2 bad usage, a taken port or a
damaged file, 1 anything else.

The append-only file is redis's one increment: PATH.d holds a manifest and a symbolic link to PATH. After a rewrite
redis has a base and a new increment; they are joined into PATH at the end and before the next start. What redis does
not do by itself (the exit code and the byte of damage, --check-aof's line) is done here by a reader of 30 lines.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}
POLICIES = ["noeviction", "allkeys-lru", "volatile-lru", "allkeys-random", "volatile-ttl"]
VALUED = [
    *("listen", "threads", "maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "maxclients"),
    *("drain-timeout", "check-aof"),
]
LONGEST_SOCKET_PATH = 107
MOST_ARGUMENTS = 1 << 20
READY_SECONDS = 20.0


class UsageError(Exception):
    """Bad usage or bad input: exit code 2."""


# --- the command line ------------------------------------------------------------------------------------------------


def parse(words: list[str]) -> dict[str, list[str]]:
    """Return the values of every option."""
    found: dict[str, list[str]] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in VALUED:
            raise UsageError(f"unknown option {word}")
        if not equals:
            if not rest:
                raise UsageError(f"--{name} needs a value")
            value = rest.pop(0)
        found.setdefault(name, []).append(value)
    return found


def whole(options: dict[str, list[str]], name: str, default: int, lowest: int) -> int:
    """Return a whole number of an option."""
    text = options.get(name, [str(default)])[-1]
    if not text.isdigit() or int(text) < lowest:
        raise UsageError(f"--{name} {text}: expected a whole number from {lowest}")
    return int(text)


def one_of(options: dict[str, list[str]], name: str, values: list[str]) -> str:
    """Return one of some words."""
    text = options.get(name, [values[0]])[-1]
    if text not in values:
        raise UsageError(f"--{name} {text}: expected one of {', '.join(values)}")
    return text


def memory(options: dict[str, list[str]]) -> int:
    """Return a size in bytes."""
    text = options.get("maxmemory", ["0"])[-1]
    match = re.fullmatch(r"(\d+)([a-z]*)", text.lower())
    if not match or match[2] not in UNITS:
        raise UsageError(f"--maxmemory {text}: expected bytes, or a number with k, kb, m, mb, g or gb")
    return int(match[1]) * UNITS[match[2]]


def listeners(options: dict[str, list[str]]) -> list[str]:
    """Return the addresses with real ports; raise when one cannot be had."""
    found = []
    if "listen" not in options:
        raise UsageError("--listen is missing")
    for text in options["listen"]:
        if text.startswith("unix:"):
            path = Path(text.removeprefix("unix:"))
            if not path.name or not path.parent.is_dir() or len(str(path)) > LONGEST_SOCKET_PATH:
                raise UsageError(f"--listen {text}: no such place for a socket")
            found.append(text)
            continue
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65535:
            raise UsageError(f"--listen {text}: expected HOST:PORT or unix:PATH")
        found.append(f"{host}:{tried_port(text, host, int(port))}")
    return found


def tried_port(text: str, host: str, port: int) -> int:
    """Bind once, to see that it works and to learn the port."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(1)
        except (OSError, UnicodeError) as error:
            raise UsageError(f"--listen {text}: {error}") from error
        return int(sock.getsockname()[1])


# --- the append-only file --------------------------------------------------------------------------------------------


class DamagedError(UsageError):
    """An append-only file is wrong in its middle."""

    def __init__(self, path: Path, byte: int, what: str) -> None:
        """Name the place."""
        super().__init__(f"{path}: byte {byte}: {what}")


def examine(path: Path) -> tuple[list[tuple[int, bytes]], int]:
    """Return place and name of every whole command, and where an unfinished one begins (or the size)."""
    data = path.read_bytes()
    names, position = [], 0
    try:
        while position < len(data):
            end, first = one_command(path, data, position)
            names.append((position, first))
            position = end
    except EOFError:
        return names, position
    return names, position


def one_command(path: Path, data: bytes, start: int) -> tuple[int, bytes]:
    """Return the end of a command and its first word; EOFError when it is not finished."""
    count, place = header(path, data, start, b"*")
    if not 0 < count <= MOST_ARGUMENTS:
        raise DamagedError(path, start, f"a command of {count} words")
    first = b""
    for index in range(count):
        length, place_of_word = header(path, data, place, b"$")
        end = place_of_word + length
        if length < 0:
            raise DamagedError(path, place, "a negative length")
        if not b"\r\n".startswith(data[end : end + 2]):
            raise DamagedError(path, end, "no line end behind a word")
        if len(data) < end + 2:
            raise EOFError
        first = first if index else data[place_of_word:end]
        place = end + 2
    return place, first


def header(path: Path, data: bytes, place: int, kind: bytes) -> tuple[int, int]:
    """Return the number behind a type byte and where the next line begins."""
    line = data[place : place + 32]
    match = re.match(re.escape(kind) + rb"(-?\d{1,19})\r\n", line)
    if match:
        return int(match[1]), place + match.end()
    if len(data) - place < 32 and re.fullmatch(rb"(" + re.escape(kind) + rb"(-?\d{0,19}\r?)?)?", line):
        raise EOFError
    raise DamagedError(path, place, f"expected {kind.decode()} and a number, found {line[:8]!r}")


def side_folder(path: Path) -> Path:
    """Return the folder that redis is given for a file."""
    return path.with_name(path.name + ".d")


def join(path: Path) -> None:
    """Bring what redis has rewritten back into the one file."""
    log = side_folder(path) / "appendonlydir"
    manifest = log / "appendonly.aof.manifest"
    if manifest.is_file():
        names = [line.split()[1] for line in manifest.read_text().splitlines() if " type h" not in line]
        if names != ["appendonly.aof.1.incr.aof"]:
            data = b"".join((log / name).read_bytes() for name in names)
            path.write_bytes(data)
    shutil.rmtree(side_folder(path), ignore_errors=True)


def prepare(path: Path) -> list[tuple[int, bytes]]:
    """Make the file and redis's folder around it; cut an unfinished end; return the commands."""
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise UsageError(f"--appendonly {path}: {error.strerror}") from error
    join(path)
    names, end = examine(path)
    if end < path.stat().st_size:
        print(f"{path}: cut {path.stat().st_size - end} bytes of an unfinished command at byte {end}", file=sys.stderr)
        os.truncate(path, end)
    log = side_folder(path) / "appendonlydir"
    log.mkdir(parents=True)
    (log / "appendonly.aof.1.incr.aof").symlink_to(path)
    (log / "appendonly.aof.manifest").write_text("file appendonly.aof.1.incr.aof seq 1 type i\n")
    return names


def check_aof(path: Path) -> None:
    """Print the verdict on a file."""
    if not path.is_file():
        raise UsageError(f"--check-aof {path}: no such file")
    join(path)
    names, end = examine(path)
    torn = path.stat().st_size - end
    rest = f", {torn} bytes of an unfinished command at byte {end}" if torn else ""
    print(f"ok, {len(names)} commands{rest}")


# --- redis -----------------------------------------------------------------------------------------------------------


def redis_words(options: dict[str, list[str]], addresses: list[str], folder: Path) -> list[str]:
    """Return the command line of redis-server."""
    appendonly = options.get("appendonly", [""])[-1]
    tcp = [address for address in addresses if not address.startswith("unix:")]
    host, port = tcp[0].rsplit(":", 1) if tcp else ("127.0.0.1", "0")
    words = [
        *("redis-server", "--port", port, "--bind", host, "--save", "", "--databases", "1", "--loglevel", "warning"),
        *("--maxmemory", str(memory(options)), "--maxmemory-policy", one_of(options, "maxmemory-policy", POLICIES)),
        *("--maxclients", str(whole(options, "maxclients", 10_000, 1)), "--aof-use-rdb-preamble", "no"),
        *("--appendfsync", one_of(options, "appendfsync", ["everysec", "always", "no"])),
        *("--appendonly", "yes" if appendonly else "no", "--auto-aof-rewrite-percentage", "0"),
        *("--logfile", str(folder / "redis.log")),
        *("--dir", str(side_folder(Path(appendonly).absolute())) if appendonly else str(folder)),
    ]
    for address in addresses:
        if address.startswith("unix:"):
            words += ["--unixsocket", address.removeprefix("unix:")]
    return words


def forward(listener: socket.socket, target: str) -> None:
    """Serve a further TCP listener by passing everything on to the first (redis has one port)."""
    host, port = target.rsplit(":", 1)
    while True:
        inner, _ = listener.accept()
        outer = socket.create_connection((host, int(port)))
        for source, sink in ((inner, outer), (outer, inner)):
            threading.Thread(target=pump, args=(source, sink), daemon=True).start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until the end."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def wait_ready(child: subprocess.Popen[bytes], address: str) -> bool:
    """Wait until redis has loaded its file and answers; False when it ended instead."""
    deadline = time.monotonic() + READY_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), reach(address) as sock:
            sock.sendall(b"PING\r\n")
            if sock.recv(100).startswith(b"+PONG"):
                return True
        time.sleep(0.002)
    return False


def reach(address: str) -> socket.socket:
    """Connect to an address."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address.removeprefix("unix:"))
        return sock
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), 1)


def refused(log: str, path: Path, names: list[tuple[int, bytes]]) -> UsageError:
    """Say why redis did not start."""
    if match := re.search(r"Unknown command '(.*?)'", log):
        byte = next((place for place, name in names if name == match[1].encode()), 0)
        return DamagedError(path, byte, f"unknown command {match[1]}")
    return UsageError(f"redis-server did not start: {log.splitlines()[-1] if log else 'no log'}")


def serve(options: dict[str, list[str]]) -> int:
    """Run redis-server until it ends."""
    whole(options, "threads", 1, 1)
    whole(options, "drain-timeout", 5, 0)
    addresses = listeners(options)
    with tempfile.TemporaryDirectory(prefix="kv-redis-") as temporary:
        folder = Path(temporary)
        words = redis_words(options, addresses, folder)
        path = Path(options.get("appendonly", [""])[-1]).absolute()
        names = prepare(path) if "appendonly" in options else []
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: child.send_signal(signal.SIGTERM))
            if not wait_ready(child, addresses[0]):
                child.kill()
                raise refused((folder / "redis.log").read_text(errors="replace"), path, names)
            announce(addresses)
            child.wait()
            if "appendonly" in options:
                join(path)
            return abs(child.returncode)


def announce(addresses: list[str]) -> None:
    """Start the further listeners and print one line for each address."""
    tcp = [address for address in addresses if not address.startswith("unix:")]
    for address in tcp[1:]:
        host, port = address.rsplit(":", 1)
        listener = socket.create_server((host, int(port)))
        threading.Thread(target=forward, args=(listener, tcp[0]), daemon=True).start()
    print("".join(f"listening on {address}\n" for address in addresses), end="", flush=True)


def main() -> int:
    """Parse the command line and do what it says."""
    words = sys.argv[1:]
    if "--version" in words:
        print("in-memory-kv-store redis")
        return 0
    if "--help" in words:
        print(__doc__)
        return 0
    try:
        options = parse(words)
        if "check-aof" in options:
            check_aof(Path(options["check-aof"][-1]))
            return 0
        return serve(options)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
