"""Decide whether @@slug@@ does its job: starts it, asks it everything, and reports every check by name.

    python oracle.py --program PATH --data DIR --out DIR [--only GLOB] [--list]

The report is OUT/report.json: {"checks": [{"name": "area/what", "failure": null | "expected ..., got ..."}]}. Exit code
0 whenever it was written, whatever the program did: a hang ends as the failure of its check, and each check that needs
a server of its own starts one. hash_server.py starts and asks; no line of a lane is used here.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from hash_server import Client, Server, WrongError, expect, refused, reply_of, request, retried, run

LINE_BYTES, HEAD_BYTES = 4096, 8192
SLOW_BYTES = 200
"""Requests up to this length are also sent byte by byte."""
OK, BAD, NOT_FOUND, NOT_ALLOWED = "200 OK", "400 Bad Request", "404 Not Found", "405 Method Not Allowed"
LONG_LINE, LONG_HEAD = "414 URI Too Long", "431 Request Header Fields Too Large"
Check = Callable[[Path], None]
Asked = Callable[[Server], None]


def answered(asked: bytes, status: str, *, closes: bool, text: bytes | None = None) -> Asked:
    """Return a check that sends bytes, whole and then one by one, and compares every byte of the reply."""

    def check(server: Server) -> None:
        expected = reply_of(status, closes=closes, text=text)
        byte_by_byte = [asked[at : at + 1] for at in range(len(asked))]
        for pieces in ([asked], byte_by_byte) if len(asked) <= SLOW_BYTES else ([asked],):
            with Client(server) as client:
                client.send(*pieces)
                expect(client.take(len(expected)), expected)
                if closes:
                    expect(client.rest(), b"")
                else:
                    client.ask(b"after")

    return check


def hashes() -> dict[str, Asked]:
    """Texts of every length around the blocks of the hash, and everything that a segment may be."""
    dice = random.Random(7)
    letters = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"/?")
    texts = {
        f"{length:04}": bytes(dice.choices(letters, k=length)) for length in (*range(70), 127, 128, 129, 1000, 4000)
    }
    texts |= {"percent": b"%2F%zz%", "dots": b"..", "letters": letters}
    found = {
        f"hash/{name}": answered(request(b"/hash/" + text), OK, closes=False, text=text) for name, text in texts.items()
    }
    found["hash/query"] = answered(request(b"/hash/a?b/c?d"), OK, closes=False, text=b"a")
    found["hash/query-only"] = answered(request(b"/hash/?a"), OK, closes=False, text=b"")
    return found


def requests() -> dict[str, Asked]:
    """Requests with the status that they get, and whether the connection goes on."""
    host = b"Host: x\r\n"
    head = b"GET / HTTP/1.1\r\n" + host
    going = {
        "status/not-found": (request(b"/"), NOT_FOUND),
        "status/two-segments": (request(b"/hash/a/b"), NOT_FOUND),
        "status/no-segment": (request(b"/hash"), NOT_FOUND),
        "status/case-of-path": (request(b"/HASH/a"), NOT_FOUND),
        "status/head": (request(b"/hash/a", b"HEAD"), NOT_ALLOWED),
        "status/other-method": (request(b"/hash/a", b"get"), NOT_ALLOWED),
        "status/post-without-body": (request(b"/hash/a", b"POST", b"Content-Length: 0\r\n"), NOT_ALLOWED),
        "head/empty-host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", NOT_FOUND),
        "head/blanks": (head + b"A:  b \t \r\nC:\r\n\r\n", NOT_FOUND),
        "head/high-bytes": (head + b"A: \xff\x80\r\n\r\n", NOT_FOUND),
        "head/keep-alive": (head + b"Connection: keep-alive\r\n\r\n", NOT_FOUND),
        "limit/longest-line": (request(b"/".ljust(LINE_BYTES - len("GET  HTTP/1.1"), b"a")), NOT_FOUND),
        "limit/longest-head": (head + b"A: ".ljust(HEAD_BYTES - len(head) - 4, b"b") + b"\r\n\r\n", NOT_FOUND),
    }
    ending = {
        "close/asked": (head + b"connection: Close\r\n\r\n", NOT_FOUND),
        "close/asked-in-list": (head + b"Connection: a, close ,b\r\n\r\n", NOT_FOUND),
        "close/http-1.0": (b"GET / HTTP/1.0\r\n\r\n", NOT_FOUND),
        "close/http-1.0-host": (b"GET / HTTP/1.0\r\n" + host + b"\r\n", NOT_FOUND),
        "body/post": (request(b"/hash/a", b"POST", b"Content-Length: 3\r\n") + b"abc", NOT_ALLOWED),
        "body/get": (request(b"/hash/a", b"GET", b"Content-Length: 3\r\n") + b"abc", BAD),
        "body/chunked": (request(b"/hash/a", b"GET", b"Transfer-Encoding: chunked\r\n"), BAD),
        "body/two-lengths": (request(b"/", b"GET", b"Content-Length: 0\r\nContent-Length: 1\r\n"), BAD),
        "limit/line": (b"GET /".ljust(LINE_BYTES + 2, b"a"), LONG_LINE),
        "limit/line-that-ends": (request(b"/".ljust(LINE_BYTES - len("GET  HTTP/1.1") + 1, b"a")), LONG_LINE),
        "limit/head": (head + b"A: ".ljust(HEAD_BYTES - len(head), b"b"), LONG_HEAD),
        "limit/head-that-ends": (head + b"A: ".ljust(HEAD_BYTES - len(head) - 3, b"b") + b"\r\n\r\n", LONG_HEAD),
        "limit/many-headers": (head + b"a:\r\n" * 3000, LONG_HEAD),
    }
    for name, line in {
        "empty": b"", "one-word": b"GET", "no-version": b"GET /", "two-blanks": b"GET  / HTTP/1.1",
        "tab": b"GET\t/ HTTP/1.1",
        "blank-behind": b"GET / HTTP/1.1 ", "blank-before": b" GET / HTTP/1.1", "no-slash": b"GET a HTTP/1.1",
        "absolute": b"GET http://x/ HTTP/1.1", "star": b"OPTIONS * HTTP/1.1", "control": b"GET /\x01 HTTP/1.1",
        "high-byte": b"GET /\xc3\xa9 HTTP/1.1", "nul": b"GET /\0 HTTP/1.1", "return": b"GET /\r HTTP/1.1",
        "bad-method": b"G@T / HTTP/1.1", "http-2": b"GET / HTTP/2.0", "http-1.2": b"GET / HTTP/1.2",
        "lower-case": b"GET / http/1.1", "tls": b"\x16\x03\x01\x02",
    }.items():  # fmt: skip
        ending[f"bad-line/{name}"] = (line + b"\r\n", BAD)
    ending["bad-line/bare-line-feed"] = (b"GET / HTTP/1.1\n", BAD)
    for name, field in {
        "no-colon": b"A", "no-name": b": a", "blank-in-name": b"A : b", "folded": b" a", "control": b"A: \x01",
        "nul": b"A: \0", "return": b"A: b\rc", "bad-name": b"A(: b", "bad-length": b"Content-Length: +1",
        "no-length": b"Content-Length:", "list-of-lengths": b"Content-Length: 0, 0", "two-hosts": b"Host: y\r\n",
    }.items():  # fmt: skip
        ending[f"bad-field/{name}"] = (head + field + b"\r\n", BAD)
    ending["bad-field/bare-line-feed"] = (head + b"A: b\n", BAD)
    ending["bad-field/no-host"] = (b"GET / HTTP/1.1\r\n\r\n", BAD)
    found = {name: answered(asked, status, closes=False) for name, (asked, status) in going.items()}
    return found | {name: answered(asked, status, closes=True) for name, (asked, status) in ending.items()}


# --- many requests, many clients -------------------------------------------------------------------------------------


def split_anywhere(server: Server) -> None:
    """Two requests cut in two at every byte."""
    asked = request(b"/hash/one", b"GET", b"Accept: */*\r\n") + request(b"/hash/two")
    expected = reply_of(OK, text=b"one") + reply_of(OK, text=b"two")
    for at in range(1, len(asked)):
        with Client(server) as client:
            client.send(asked[:at], asked[at:])
            expect(client.take(len(expected)), expected)


def pipelined(count: int) -> Asked:
    """Return a check of so many requests in one piece: the replies come in their order."""

    def check(server: Server) -> None:
        texts = [b"%d" % number for number in range(count)]
        expected = b"".join(reply_of(OK, text=text) for text in texts)
        with Client(server) as client:
            client.send_beside(b"".join(request(b"/hash/" + text) for text in texts))
            expect(client.take(len(expected)), expected)

    return check


def pipelined_with_an_error(server: Server) -> None:
    """What follows a sound request that finds nothing is answered, what follows a bad one is not."""
    with Client(server) as client:
        client.send(request(b"/hash/a") + request(b"/no") + request(b"/hash/b") + b"bad\r\n" + request(b"/hash/c"))
        expected = reply_of(OK, text=b"a") + reply_of(NOT_FOUND) + reply_of(OK, text=b"b") + reply_of(BAD, closes=True)
        expect(client.rest(), expected)


def half_closed(server: Server) -> None:
    """A client that has said all gets all its replies."""
    with Client(server) as client:
        client.send(request(b"/hash/a") * 3)
        client.socket.shutdown(socket.SHUT_WR)
        expect(client.rest(), reply_of(OK, text=b"a") * 3)


def refusal_can_be_read(server: Server) -> None:
    """A client that goes on sending still gets to read why it was refused."""
    with Client(server) as client:
        client.send_beside(b"GET /" + b"a" * 300_000)
        expect(client.rest(), reply_of(LONG_LINE, closes=True))


def greedy_client(server: Server) -> None:
    """A client that asks for ever and reads nothing costs no memory, and nobody else waits."""
    with Client(server) as greedy, Client(server) as other:
        greedy.socket.setblocking(False)
        for kind in (request(b"/metrics"), request(b"/hash/a")):
            sent = 0
            with_end = time.monotonic() + 1.0
            while sent < 32 << 20 and time.monotonic() < with_end:
                try:
                    sent += greedy.socket.send(kind * 1000)
                except BlockingIOError:
                    time.sleep(0.005)
                other.ask(b"x")
        limit = 96 << 20
        if (used := server.memory_bytes()) > limit:
            raise WrongError(f"at most {limit} bytes of memory", f"{used}")
    with Client(server) as client:
        client.ask(b"y")


def many_connections(server: Server) -> None:
    """Hundreds of connections, most of them silent or in the middle of a request."""
    clients = [Client(server) for _ in range(300)]
    for client in clients[::3]:
        client.send(b"GET /hash/la")
    for client in clients[1::3]:
        client.ask(b"busy")
    for client in clients[::3]:
        client.send(b"te HTTP/1.1\r\nHost: x\r\n\r\n")
    for client in clients[::3]:
        expect(client.take(len(reply_of(OK, text=b"late"))), reply_of(OK, text=b"late"))
    for client in clients:
        client.close()


def rude_clients(server: Server) -> None:
    """Clients that break off, with a reset, at any place."""
    for number in range(60):
        client = Client(server)
        client.send(request(b"/hash/a") * (number % 7) + b"GET /ha"[: number % 8])
        client.reset()
    with Client(server) as client:
        client.ask(b"alive")


def counted(server: Server) -> None:
    """The counters tell what was asked before, themselves included."""
    before = server.metrics()
    with Client(server) as client:
        client.ask(b"a")
        client.send(request(b"/no") + request(b"/", b"PUT") + b"bad\r\n")
        client.rest()
    after = server.metrics()
    del after["connections_open"]  # those before may still be on their way out
    grown = {name: value - before[name] for name, value in after.items() if value != before[name]}
    wanted = {'requests_total{status="200"}': 2, "connections_accepted_total": 2}
    wanted |= {f'requests_total{{status="{code}"}}': 1 for code in (400, 404, 405)}
    if grown != wanted:
        raise WrongError(f"{wanted}", f"{grown}")
    names = {name.partition("{")[0] for name in before}
    if names != {"connections_accepted_total", "connections_refused_total", "connections_open", "requests_total"}:
        raise WrongError("four counters", f"{sorted(names)}")


# --- the process -----------------------------------------------------------------------------------------------------


def signalled(number: int) -> Check:
    """Return a check of an orderly end when idle clients are connected."""

    def check(program: Path) -> None:
        with Server(program) as server, Client(server) as client:
            client.ask(b"a")
            server.end(number)
            expect(client.rest(), b"")

    return check


def drains(program: Path) -> None:
    """A request under way is finished and answered, while nobody new gets in."""
    with Server(program) as server, Client(server) as half, Client(server) as idle:
        idle.ask(b"a")
        half.send(b"GET /hash/late HT")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        expect(idle.rest(), b"")
        retried("no new connections", lambda: refused(server.address))
        half.send(b"TP/1.1\r\nHost: x\r\n\r\n")
        expect(half.rest(), reply_of(OK, closes=True, text=b"late"))
        half.close()
        server.ended(5.0)


def drains_what_was_sent(program: Path) -> None:
    """Requests that were sent before the signal are answered, whoever looks first."""
    with Server(program) as server:
        clients = [Client(server) for _ in range(20)]
        for client in clients:
            client.send(request(b"/hash/a"))
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            if client.rest() not in {reply_of(OK, text=b"a"), reply_of(OK, closes=True, text=b"a")}:
                raise WrongError("the reply to what was sent before", "another one")
            client.close()
        server.ended(5.0)


def drain_has_an_end(program: Path) -> None:
    """A request that is never finished is waited for as long as was said."""
    with Server(program, "--drain-timeout=1") as server, Client(server) as client:
        client.send(b"GET /")
        time.sleep(0.2)
        took = server.end(signal.SIGTERM, 10.0)
        if not 0.5 < took < 4.0:
            raise WrongError("an end after 1 s", f"after {took:.1f} s")


def second_signal(program: Path) -> None:
    """Who asks twice does not wait."""
    with Server(program, "--drain-timeout", "60") as server, Client(server) as client:
        client.send(b"GET /")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        server.end(signal.SIGINT, 3.0)


def idle_clients_go(program: Path) -> None:
    """A client that is silent, or dawdles over a request, loses its connection; one that asks keeps it."""
    with Server(program, "--idle-timeout=1") as server, Client(server) as silent, Client(server) as slow:
        with Client(server) as busy:
            for turn in range(8):
                if turn < 2:
                    slow.send(b"G")
                busy.ask(b"a")
                time.sleep(0.25)
        expect(silent.rest(), b"")
        expect(slow.rest(), b"")


def connections_have_a_limit(program: Path) -> None:
    """One connection too many is closed at once and counted; when one goes there is room again."""
    with Server(program, "--max-connections=3") as server:
        clients = [Client(server) for _ in range(3)]
        for client in clients:
            client.ask(b"a")
        with Client(server) as surplus:
            expect(surplus.rest(), b"")
        clients.pop().close()
        retried("room for one more", lambda: server.metrics()["connections_refused_total"] >= 1)
        for client in clients:
            client.close()


def port_in_use(program: Path) -> None:
    """Two servers on one port: the second says so."""
    with Server(program) as server:
        ended = run(program, "--listen", server.name)
        if ended.returncode != 2 or ended.stdout or "in use" not in ended.stderr or server.name not in ended.stderr:
            raise WrongError("exit code 2 and `address already in use`", f"{ended.returncode}, {ended.stderr!r}")


def manual(program: Path) -> None:
    """--help names every option and ends well."""
    ended = run(program, "--help")
    words = ("--listen", "--threads", "--max-connections", "--idle-timeout", "--drain-timeout", "Exit code")
    missing = [word for word in words if word not in ended.stdout]
    if ended.returncode or ended.stderr or missing:
        raise WrongError("a manual", f"exit code {ended.returncode}, without {missing}, {ended.stderr!r}")


def many_threads(program: Path) -> None:
    """With threads the replies are the same, and the end is as orderly."""
    with Server(program, "--threads", "3") as server:
        for check in (pipelined(500), many_connections, counted):
            check(server)
        with Client(server) as client:
            client.ask(b"a")
            server.end(signal.SIGTERM)


def listens_on(host: str) -> Check:
    """Return a check of another way to write the address."""

    def check(program: Path) -> None:
        with Server(program, host=host) as server, Client(server) as client:
            client.ask(b"a")

    return check


ASKED: dict[str, Asked] = hashes() | requests() | {
    "split/anywhere": split_anywhere,
    "pipeline/2": pipelined(2),
    "pipeline/100": pipelined(100),
    "pipeline/20000": pipelined(20_000),
    "pipeline/error": pipelined_with_an_error,
    "client/half-closed": half_closed,
    "client/refusal-can-be-read": refusal_can_be_read,
    "client/greedy": greedy_client,
    "client/many": many_connections,
    "client/rude": rude_clients,
    "metrics/counted": counted,
}  # fmt: skip
CHECKS: dict[str, Check] = {
    "end/sigterm": signalled(signal.SIGTERM),
    "end/sigint": signalled(signal.SIGINT),
    "end/drains": drains,
    "end/drains-what-was-sent": drains_what_was_sent,
    "end/drain-has-an-end": drain_has_an_end,
    "end/second-signal": second_signal,
    "limit/idle": idle_clients_go,
    "limit/connections": connections_have_a_limit,
    "start/port-in-use": port_in_use,
    "start/help": manual,
    "start/localhost": listens_on("localhost"),
    "start/threads": many_threads,
}


def failure_of(check: Callable[[], None]) -> str | None:
    """Run a check; what was wrong, on one line."""
    try:
        check()
    except (WrongError, OSError) as error:
        return f"{error or type(error).__name__}".encode("unicode_escape").decode()[:500]
    return None


def judge(program: Path, names: list[str]) -> list[dict[str, str | None]]:
    """Ask everything; checks that leave a server as it was share one, which is started anew when it dies."""
    found: dict[str, str | None] = {}
    shared: Server | None = None
    for name in names:
        if name in CHECKS:
            found[name] = failure_of(partial(CHECKS[name], program))
            continue
        if shared is None or shared.process.poll() is not None:
            try:
                shared = Server(program)
            except (WrongError, OSError) as error:
                found[name] = f"{error}"
                continue
        found[name] = failure_of(partial(ASKED[name], shared))
        if shared.process.poll() is not None:
            found[name] = f"the server ended: {shared.said()}"
    if shared is not None:
        shared.kill()
        if said := shared.said():
            found["log/silent"] = f"expected nothing on standard error, got {said!r}"
        else:
            found["log/silent"] = None
    return [{"name": name, "failure": failure} for name, failure in found.items()]


def main() -> int:
    """Judge one program for the harness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="*", help="glob of check names")
    parser.add_argument("--list", action="store_true", help="print the names and ask nothing")
    options = parser.parse_args()
    names = [name for name in (*ASKED, *CHECKS) if fnmatchcase(name, options.only)]
    if options.list:
        print("\n".join(names))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"checks": judge(options.program.resolve(), names)}
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
