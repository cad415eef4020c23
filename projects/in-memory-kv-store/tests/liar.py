#!/usr/bin/env python3
"""redis under a lane's command line (redis_adapter.py) with one planted fault, named by $KV_LIE.

A fault of the wire is a change of the bytes that pass between clients and redis: of the same length on the way in
(frames stay whole), any on the way out. A fault of the program changes its command line or what it does with its file.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

ADAPTER = Path(__file__).resolve().parent.parent / "redis_adapter.py"
CHUNK = 1 << 16

ON_THE_WAY_IN: dict[str, tuple[bytes, bytes]] = {
    "lpush-as-rpush": (rb"(?i)\r\nLPUSH\r\n", b"\r\nRPUSH\r\n"),
    "gt-as-lt": (rb"\$2\r\n(?i:GT)\r\n", b"$2\r\nLT\r\n"),
    "zpopmin-as-zpopmax": (rb"(?i)\r\nZPOPMIN\r\n", b"\r\nZPOPMAX\r\n"),
    "sinter-as-sunion": (rb"(?i)\r\nSINTER\r\n", b"\r\nSUNION\r\n"),
    "xx-as-nx": (rb"\$2\r\n(?i:XX)\r\n", b"$2\r\nNX\r\n"),
    "ex-as-px": (rb"\$2\r\n(?i:EX)\r\n", b"$2\r\nPX\r\n"),
    "persist-does-nothing": (rb"(?i)\r\nPERSIST\r\n", b"\r\nPEXISTS\r\n"),
    "binary-keys-cut": (b"\x00", b"0"),
    "hsetnx-overwrites": (rb"(?i)\$6\r\nHSETNX\r\n", b"$6\r\nHSET\x20\x20\r\n"),
    "unwatched": (rb"(?i)\r\nWATCH\r\n", b"\r\nTOUCH\r\n"),
}
ON_THE_WAY_OUT: dict[str, tuple[bytes, bytes]] = {
    "wrongtype-text": (b"WRONGTYPE Operation", b"WRONGTYPE operation"),
    "unknown-command-text": (b"with args beginning with:", b"with args:"),
    "arity-text": (rb"wrong number of arguments for '(\w+)' command", rb"wrong number of arguments for '\1'"),
    "nil-array-for-nil": (rb"^\$-1\r\n", b"*-1\r\n"),
    "queued-as-ok": (rb"\+QUEUED\r\n", b"+OK\r\n"),
    "short-scores": (rb"\$19\r\n0\.10000000000000001\r\n", b"$3\r\n0.1\r\n"),
    "oom-text": (b"used memory > 'maxmemory'", b"memory exceeded"),
    "too-many-clients-text": (b"max number of clients reached", b"too many clients"),
    "protocol-error-text": (b"Protocol error: ", b"protocol error: "),
    "scan-ends-early": (rb"^\*2\r\n\$\d+\r\n[1-9]\d*\r\n\*", b"*2\r\n$1\r\n0\r\n*"),
    "rank-off-by-one": (rb"^:2\r\n", b":3\r\n"),
    "hits-not-counted": (rb"keyspace_hits:\d+", b"keyspace_hits:0"),
    "large-value-damaged": (b"\xff\xfe", b"\xff\x00"),
}
OPTIONS: dict[str, tuple[str, str]] = {
    "lru-is-random": ("allkeys-lru", "allkeys-random"),
    "noeviction-evicts": ("noeviction", "allkeys-random"),
    "ttl-is-random": ("volatile-ttl", "allkeys-random"),
    "random-refuses": ("allkeys-random", "noeviction"),
    "twice-the-memory": ("8mb", "16mb"),
    "more-clients": ("10", "15"),
    "refuses-with-1": ("", ""),
    "tells-two-lines": ("", ""),
    "ignores-sigterm": ("", ""),
    "loses-the-tail": ("", ""),
    "keeps-expired": ("", ""),
    "accepts-damage": ("", ""),
    "torn-tail-uncounted": ("", ""),
    "waits-a-little": ("", ""),
    "forgets-appends": ("", ""),
}
LIES = [*ON_THE_WAY_IN, *ON_THE_WAY_OUT, *OPTIONS]


def pump(source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
    """Pass bytes on, changed, until the end."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(change(data))
    for sock in (source, sink):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def substitution(table: dict[str, tuple[bytes, bytes]], lie: str) -> Callable[[bytes], bytes]:
    """Return the change that a lie makes to bytes."""
    if lie == "waits-a-little" and table is ON_THE_WAY_IN:
        return waited
    if lie not in table:
        return lambda data: data
    pattern, new = table[lie]
    compiled = re.compile(pattern)
    return lambda data: compiled.sub(new, data)


def waited(data: bytes) -> bytes:
    """Hold small requests back."""
    time.sleep(0.04)
    return data


def accept(listener: socket.socket, inner: str, lie: str) -> None:
    """Connect every client with redis."""
    while True:
        client, _ = listener.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(inner)
        except OSError:
            client.close()
            continue
        ways = ((client, server, substitution(ON_THE_WAY_IN, lie)), (server, client, substitution(ON_THE_WAY_OUT, lie)))
        for way in ways:
            threading.Thread(target=pump, args=way, daemon=True).start()


def plain(words: list[str], lie: str) -> int:
    """Run a command that does not serve (a check, bad usage) with the faults of the program."""
    run = subprocess.run([sys.executable, str(ADAPTER), *words], capture_output=True, text=True, check=False)
    code, stdout, stderr = run.returncode, run.stdout, run.stderr
    if lie == "refuses-with-1" and code == 2:
        code = 1
    if lie == "tells-two-lines" and code == 2:
        stderr += "see --help\n"
    if lie == "torn-tail-uncounted":
        stdout = re.sub(r", \d+ bytes of .*", "", stdout)
    if lie == "accepts-damage" and "--check-aof" in words and code == 2:
        code, stdout, stderr = 0, "ok, 3 commands\n", ""
    sys.stdout.write(stdout)
    sys.stderr.write(stderr)
    return code


def planted_in_file(words: list[str], lie: str) -> None:
    """Do to an existing log what a careless lane would have done."""
    if "--appendonly" not in words:
        return
    path = Path(words[words.index("--appendonly") + 1])
    if not path.is_file():
        return
    data = path.read_bytes()
    if lie == "loses-the-tail" and len(data) > 5000:
        path.write_bytes(data[:-300])
    if lie == "forgets-appends":
        path.write_bytes(re.sub(rb"\*3\r\n\$6\r\n(?i:APPEND)\r\n\$\d+\r\n[^\r]*\r\n\$\d+\r\n[^\r]*\r\n", b"", data))


def outer_words(words: list[str], inner: str) -> tuple[list[str], list[str]]:
    """Return the addresses that were asked for, and the words with one unix socket in their place."""
    addresses, rest, position = [], ["--listen", f"unix:{inner}"], 0
    while position < len(words):
        if words[position] == "--listen":
            addresses.append(words[position + 1])
            position += 2
        else:
            rest.append(words[position])
            position += 1
    return addresses, rest


def serve(words: list[str], lie: str) -> int:
    """Run the adapter behind changed bytes."""
    inner = str(Path(tempfile.mkdtemp(prefix="kv-liar-")) / "s")
    addresses, rest = outer_words(words, inner)
    old, new = OPTIONS.get(lie, ("", ""))
    rest = [new if old and word == old else word for word in rest]
    if lie == "noeviction-evicts" and "--maxmemory-policy" not in rest:
        rest += ["--maxmemory-policy", new]
    planted_in_file(rest, lie)
    started = [sys.executable, str(ADAPTER), *rest]
    with subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        if not child.stdout.readline():
            return plain(words, lie)
        if lie == "keeps-expired":
            slow_cleaner(inner)
        told = []
        for address in addresses:
            host, port = address.rsplit(":", 1)
            listener = socket.create_server((host, int(port)), backlog=2000)
            threading.Thread(target=accept, args=(listener, inner, lie), daemon=True).start()
            told.append(f"listening on {host}:{listener.getsockname()[1]}\n")
        for number in (signal.SIGTERM, signal.SIGINT):
            ending = signal.SIG_IGN if lie == "ignores-sigterm" else lambda *_: child.send_signal(signal.SIGTERM)
            signal.signal(number, ending)
        print("".join(told), end="", flush=True)
        return child.wait()


def slow_cleaner(inner: str) -> None:
    """Make redis's background cleaner as slow as it can be."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(inner)
        sock.sendall(b"CONFIG SET hz 1 dynamic-hz no active-expire-effort 1\r\n")
        sock.recv(100)
        sock.sendall(b"DEBUG SET-ACTIVE-EXPIRE 0\r\n")
        sock.recv(100)


def main() -> int:
    """Serve, or run a command that ends by itself."""
    words, lie = sys.argv[1:], os.environ.get("KV_LIE", "")
    if lie and lie not in LIES:
        raise SystemExit(f"unknown lie {lie}")
    addresses = [words[n + 1] for n, word in enumerate(words[:-1]) if word == "--listen"]
    if not addresses or any(not re.fullmatch(r"127\.0\.0\.1:\d+", address) for address in addresses):
        return plain(words, lie)
    if any(word in {"--help", "--version"} for word in words):
        return plain(words, lie)
    return serve(words, lie)


if __name__ == "__main__":
    sys.exit(main())
