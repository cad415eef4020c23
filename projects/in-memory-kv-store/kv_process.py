"""The program: its options, its exit codes, its one line, and how it ends."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from kv_checks import Checks, Lab, expect, expect_equal
from kv_servers import Server, StartError
from kv_wire import Client, WireError, command, encode, encode_all

RUN_SECONDS = 10.0
OPTIONS = [
    *("--listen", "--threads", "--maxmemory", "--maxmemory-policy", "--appendonly", "--appendfsync", "--maxclients"),
    *("--drain-timeout", "--check-aof", "--version", "--help"),
]
BIG_BYTES = 32 << 20
"""More than the sockets of both sides take, so that a reply of this size is in flight until it is read."""

checks = Checks()


def run(lab: Lab, *words: str) -> tuple[int, str, str]:
    """Run the program to its end."""
    try:
        done = subprocess.run(
            [str(lab.program), *words], capture_output=True, timeout=RUN_SECONDS, check=False, cwd=lab.folder()
        )
    except subprocess.TimeoutExpired:
        return -1, "", f"(still running after {RUN_SECONDS} s)"
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def expect_usage_error(lab: Lab, words: list[str], named: str) -> None:
    """Raise unless the program ends with exit code 2, silence on stdout and one line that names the value."""
    code, stdout, stderr = run(lab, *words)
    sound = code == 2 and not stdout and stderr.startswith("error: ") and stderr.count("\n") == 1 and named in stderr
    expect(
        sound and stderr.endswith("\n"),
        f"{' '.join(words)}: expected exit code 2 and one line 'error: ...{named}...', "
        f"got exit code {code}, stdout {stdout[:200]!r}, stderr {stderr[:300]!r}",
    )


LISTEN = ["--listen", "127.0.0.1:0"]
BAD_USAGE: dict[str, tuple[list[str], str]] = {
    "unknown-option": ([*LISTEN, "--nosuch"], "--nosuch"),
    "unknown-option-with-value": ([*LISTEN, "--nosuch=5"], "--nosuch"),
    "single-dash": ([*LISTEN, "-x"], "-x"),
    "stray-word": ([*LISTEN, "stray"], "stray"),
    "listen-missing": (["--threads", "1"], "--listen"),
    "listen-without-value": (["--listen"], "--listen"),
    "listen-empty": (["--listen", ""], "--listen"),
    "listen-no-port": (["--listen", "127.0.0.1"], "127.0.0.1"),
    "listen-port-word": (["--listen", "127.0.0.1:abc"], "127.0.0.1:abc"),
    "listen-port-too-big": (["--listen", "127.0.0.1:65536"], "127.0.0.1:65536"),
    "listen-port-negative": (["--listen", "127.0.0.1:-1"], "127.0.0.1:-1"),
    "listen-bad-host": (["--listen", "999.1.1.1:0"], "999.1.1.1"),
    "listen-foreign-host": (["--listen", "192.0.2.1:0"], "192.0.2.1:0"),
    "listen-unix-no-path": (["--listen", "unix:"], "unix:"),
    "listen-unix-no-folder": (["--listen", "unix:/nonexistent/folder/kv.sock"], "/nonexistent/folder/kv.sock"),
    "listen-unix-too-long": (["--listen", "unix:/tmp/" + "x" * 200], "x" * 20),
    "threads-word": ([*LISTEN, "--threads", "many"], "many"),
    "threads-zero": ([*LISTEN, "--threads", "0"], "0"),
    "threads-negative": ([*LISTEN, "--threads", "-1"], "-1"),
    "threads-without-value": ([*LISTEN, "--threads"], "--threads"),
    "maxmemory-word": ([*LISTEN, "--maxmemory", "lots"], "lots"),
    "maxmemory-unit": ([*LISTEN, "--maxmemory", "10xb"], "10xb"),
    "maxmemory-negative": ([*LISTEN, "--maxmemory", "-5"], "-5"),
    "maxmemory-empty": ([*LISTEN, "--maxmemory="], "--maxmemory"),
    "policy-unknown": ([*LISTEN, "--maxmemory-policy", "allkeys-fifo"], "allkeys-fifo"),
    "fsync-unknown": ([*LISTEN, "--appendfsync", "sometimes"], "sometimes"),
    "maxclients-word": ([*LISTEN, "--maxclients", "few"], "few"),
    "maxclients-zero": ([*LISTEN, "--maxclients", "0"], "0"),
    "maxclients-negative": ([*LISTEN, "--maxclients", "-3"], "-3"),
    "drain-timeout-word": ([*LISTEN, "--drain-timeout", "soon"], "soon"),
    "drain-timeout-negative": ([*LISTEN, "--drain-timeout", "-1"], "-1"),
    "appendonly-without-value": ([*LISTEN, "--appendonly"], "--appendonly"),
    "appendonly-no-folder": ([*LISTEN, "--appendonly", "/nonexistent/folder/kv.aof"], "/nonexistent/folder/kv.aof"),
    "appendonly-is-a-folder": ([*LISTEN, "--appendonly", "/proc/self"], "/proc/self"),
    "check-aof-absent": (["--check-aof", "/nonexistent/kv.aof"], "/nonexistent/kv.aof"),
    "check-aof-is-a-folder": (["--check-aof", "/proc/self"], "/proc/self"),
    "check-aof-without-value": (["--check-aof"], "--check-aof"),
}


def bad_usage(words: list[str], named: str, lab: Lab) -> None:
    """Bad usage ends with exit code 2 and one line that names the value."""
    expect_usage_error(lab, words, named)


for usage_name, (usage_words, usage_named) in BAD_USAGE.items():
    checks.add(f"process/refused/{usage_name}", partial(bad_usage, usage_words, usage_named))


@checks.named("process/refused/port-in-use")
def port_in_use(lab: Lab) -> None:
    """A port that somebody else listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(1)
        port = sock.getsockname()[1]
        expect_usage_error(lab, ["--listen", f"127.0.0.1:{port}"], f"127.0.0.1:{port}")
        expect_usage_error(lab, ["--listen", "127.0.0.1:0", "--listen", f"127.0.0.1:{port}"], f"127.0.0.1:{port}")


@checks.named("process/refused/own-port-in-use")
def own_port_in_use(lab: Lab) -> None:
    """A second instance on the port of the first is refused, the first goes on (no SO_REUSEPORT)."""
    with lab.own_lane() as lane, lane.client() as client:
        expect_usage_error(lab, ["--listen", lane.address], lane.address)
        expect_equal("PING of the first instance", b"+PONG\r\n", client.raw("PING"))


@checks.named("process/version")
def version(lab: Lab) -> None:
    """--version prints the slug and the language."""
    code, stdout, stderr = run(lab, "--version")
    sound = code == 0 and re.fullmatch(r"in-memory-kv-store [a-z]+\n", stdout) and not stderr
    expect(sound, f"--version: exit code {code}, stdout {stdout!r}, stderr {stderr!r}")


@checks.named("process/help")
def manual(lab: Lab) -> None:
    """--help prints a manual with every option and the exit codes."""
    code, stdout, stderr = run(lab, "--help")
    absent = [option for option in OPTIONS if option not in stdout]
    expect(code == 0 and not stderr, f"--help: exit code {code}, stderr {stderr!r}")
    expect(not absent, f"--help does not name {absent}")
    for word in (
        "noeviction",
        "allkeys-lru",
        "volatile-lru",
        "allkeys-random",
        "volatile-ttl",
        "everysec",
        "unix:",
        "10000",
    ):
        expect(word in stdout, f"--help does not name {word!r}")
    expect(re.search(r"(?i)exit", stdout), "--help does not name the exit codes")


@checks.named("process/options-both-ways")
def options_both_ways(lab: Lab) -> None:
    """--name value and --name=value mean the same; memory takes redis's units."""
    sizes = {"1048576": 1 << 20, "100mb": 100 << 20, "1gb": 1 << 30, "2g": 2_000_000_000, "5k": 5000, "5KB": 5120}
    for number, (text, size) in enumerate(sizes.items()):
        both = (
            ["--maxmemory", text, "--maxmemory-policy", "allkeys-lru"],
            [f"--maxmemory={text}", "--maxmemory-policy=allkeys-lru"],
        )
        words = both[number % 2]
        with (
            lab.own_lane(*words, "--threads=1", "--maxclients", "100", "--drain-timeout=1") as lane,
            lane.client() as client,
        ):
            expect_equal(f"maxmemory of {words}", str(size).encode(), client.ask("CONFIG", "GET", "maxmemory")[1])
            policy = client.ask("CONFIG", "GET", "maxmemory-policy")[1]
            expect_equal(f"maxmemory-policy of {words}", b"allkeys-lru", policy)


@checks.named("process/listening-line")
def listening_line(lab: Lab) -> None:
    """Port 0 means any free port; the line has the real one; nothing else is on stdout until the end."""
    with lab.own_lane() as lane, lane.client() as client:
        expect(re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", lane.address), f"listening on {lane.address!r}")
        client.ask("SET", "k", "v")
        client.ask("NOSUCH")
        client.send(b"*1\r\n$x\r\n")
        client.until_closed(1)
        expect_equal("exit code after SIGTERM", 0, lane.terminate())
        assert lane.process.stdout is not None
        expect_equal("further bytes on stdout", b"", lane.process.stdout.read() or b"")
        expect_equal("stderr of a quiet life", "", lane.stderr())


@checks.named("process/threads-two")
def two_threads(lab: Lab) -> None:
    """--threads 2 serves the same."""
    with lab.own_lane("--threads", "2") as lane, ExitStack() as stack:
        clients = [stack.enter_context(lane.client()) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(encode_all([command("INCR", "n"), command("SADD", "s", number)] * 200))
        for client in clients:
            client.exchange(b"", 400)
        expect_equal("counter of 20 clients", b"4000", clients[0].ask("GET", "n"))
        expect_equal("SCARD", 20, clients[0].ask("SCARD", "s"))
        expect_equal("exit code after SIGTERM", 0, lane.terminate())


@checks.named("process/working-threads")
def working_threads(lab: Lab) -> None:
    """With --threads 1 the work of many clients is done by one thread's worth of processor time."""
    with lab.own_lane() as lane, ExitStack() as stack:
        clients = [stack.enter_context(lane.client()) for _ in range(10)]
        start, spent = time.monotonic(), lane.cpu_seconds()
        block = encode_all([command("SET", "k", "v")] * 500)
        while time.monotonic() - start < 0.6:
            for client in clients:
                client.send(block)
            for client in clients:
                client.exchange(b"", 500)
        share = (lane.cpu_seconds() - spent) / (time.monotonic() - start)
        expect(share < 1.25, f"--threads 1 uses {share:.2f} processors")


def ends_by(number: int, lab: Lab) -> None:
    """A signal ends a store with idle clients at once, with exit code 0, and closes them."""
    with lab.own_lane() as lane, ExitStack() as stack:
        clients = [stack.enter_context(lane.client()) for _ in range(50)]
        for client in clients:
            client.raw("PING")
        start = time.monotonic()
        lane.signal(number)
        expect_equal("exit code", 0, lane.wait())
        took = time.monotonic() - start
        expect(took < 3.0, f"with 50 idle clients the end took {took:.1f} s")
        expect_equal("what an idle client sees", (b"", True), clients[0].until_closed(1))


checks.add("process/end/sigterm", partial(ends_by, signal.SIGTERM))
checks.add("process/end/sigint", partial(ends_by, signal.SIGINT))


@checks.named("process/end/port-is-free-again")
def port_is_free_again(lab: Lab) -> None:
    """After the end, also by SIGKILL, the same port and the same socket path can be used at once."""
    path = lab.folder() / "kv.sock"
    with lab.lane(listen=["127.0.0.1:0", f"unix:{path}"]) as lane, lane.client() as client:
        client.raw("PING")
        listen = [lane.address, f"unix:{path}"]
        expect_equal("exit code after SIGTERM", 0, lane.terminate())
    for end in ("kill", "kill", "last"):
        try:
            with lab.lane(listen=listen) as lane, Client(listen[1]) as client:
                expect_equal("PING", b"+PONG\r\n", client.raw("PING"))
                if end == "kill":
                    lane.kill()
        except StartError as error:
            raise StartError(f"the addresses of an ended store are not free again: {error}") from error


def in_flight(lab: Lab, drain: str, act: Callable[[Server, Client, bytes], None]) -> None:
    """Start a lane with a reply in flight that nobody reads yet, and act."""
    with lab.own_lane("--drain-timeout", drain) as lane, lane.client() as client, lane.client() as late:
        value = bytes(n % 251 for n in range(251)) * (BIG_BYTES // 251)
        client.ask("SET", "big", value)
        late.send(encode(command("GET", "big")))
        time.sleep(0.3)
        act(lane, late, b"$%d\r\n%b\r\n" % (len(value), value))


@checks.named("process/drain/reply-in-flight")
def drain_reply(lab: Lab) -> None:
    """SIGTERM with a reply half sent: the client gets the whole of it, then the end; exit code 0."""

    def act(lane: Server, late: Client, expected: bytes) -> None:
        lane.signal(signal.SIGTERM)
        time.sleep(0.3)
        got, closed = late.until_closed(4)
        expect(got == expected, f"{len(got)} of {len(expected)} bytes of the reply came, or others")
        expect(closed, "the connection is not closed after the reply")
        expect_equal("exit code", 0, lane.wait())

    in_flight(lab, "5", act)


@checks.named("process/drain/no-new-clients")
def drain_no_new_clients(lab: Lab) -> None:
    """While it drains it accepts nobody."""

    def act(lane: Server, late: Client, expected: bytes) -> None:
        lane.signal(signal.SIGTERM)
        time.sleep(0.3)
        served = False
        with contextlib.suppress(WireError, OSError), Client(late.address) as new:
            new.send(b"PING\r\n")
            served = new.until_closed(0.3)[0] != b""
        expect(not served, "a new client is served after SIGTERM")
        late.at_least(len(expected))

    in_flight(lab, "5", act)


@checks.named("process/drain/timeout")
def drain_timeout(lab: Lab) -> None:
    """A client that never reads holds the end up for --drain-timeout, not longer; exit code 0."""

    def act(lane: Server, late: Client, expected: bytes) -> None:
        del late, expected
        start = time.monotonic()
        expect_equal("exit code", 0, lane.terminate())
        took = time.monotonic() - start
        expect(0.5 < took < 4.0, f"--drain-timeout 1 took {took:.1f} s")

    in_flight(lab, "1", act)


@checks.named("process/drain/second-signal")
def second_signal(lab: Lab) -> None:
    """A second signal ends a draining store at once."""

    def act(lane: Server, late: Client, expected: bytes) -> None:
        del late, expected
        lane.signal(signal.SIGTERM)
        time.sleep(0.4)
        start = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            lane.signal(signal.SIGTERM)
        expect(lane.wait(5) is not None, "still running 5 s after the second signal")
        took = time.monotonic() - start
        expect(took < 2.0, f"the second signal took {took:.1f} s")

    in_flight(lab, "30", act)


@checks.named("process/drain/pipeline-in-flight")
def drain_pipeline(lab: Lab) -> None:
    """Clients under load at SIGTERM get whole replies to a prefix of their commands, then the end; exit code 0."""
    with lab.own_lane() as lane, ExitStack() as stack:
        clients = [stack.enter_context(lane.client()) for _ in range(10)]
        for client in clients:
            client.send(encode_all([command("ECHO", n) for n in range(2000)]))
        lane.signal(signal.SIGTERM)
        for client in clients:
            data, closed = client.until_closed(8)
            lines = data.split(b"\r\n")
            expect(closed and data.endswith(b"\r\n"), f"a torn reply at the end: {data[-40:]!r}")
            expect(lines[1::2] == [b"%d" % n for n in range(len(lines) // 2)], "the replies are no prefix")
        expect_equal("exit code", 0, lane.wait())


@checks.named("process/shutdown-command")
def shutdown_command(lab: Lab) -> None:
    """SHUTDOWN NOSAVE ends with exit code 0; other arguments are refused as redis refuses them."""
    with lab.pair() as pair:
        for line in ("FOO", "NOSAVE FOO", "ABORT", "ABORT FOO", "ABORT NOW", "SAVE NOSAVE"):
            pair.same("SHUTDOWN", *line.split())
    for words in (["SHUTDOWN"], ["SHUTDOWN", "NOSAVE"], ["shutdown", "nosave"]):
        with lab.own_lane() as lane, lane.client() as client:
            client.send(encode(command(*words)))
            expect_equal(f"reply to {words}", (b"", True), client.until_closed(5))
            expect_equal(f"exit code after {words}", 0, lane.wait())


@checks.named("process/unwritable-log")
def unwritable_log(lab: Lab) -> None:
    """A log that cannot be made is refused before anybody can connect."""
    folder = lab.folder()
    file = folder / "file"
    file.write_text("")
    expect_usage_error(lab, [*LISTEN, "--appendonly", str(file / "kv.aof")], str(file / "kv.aof"))


@checks.named("process/relative-log")
def relative_log(lab: Lab) -> None:
    """A relative path of the log is meant from the working directory."""
    with lab.own_lane("--appendonly", "kv.aof", "--appendfsync", "always") as lane, lane.client() as client:
        client.ask("SET", "k", "v")
        made = Path(lane.folder) / "kv.aof"
        expect(made.is_file() and b"SET" in made.read_bytes().upper(), f"{made} is not the log")
