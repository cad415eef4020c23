"""Clients that attack, sleep, flood or vanish: memory stays bounded and the others are served."""

from __future__ import annotations

import resource
import select
import socket
import struct
import time
from contextlib import ExitStack

from kv_checks import CheckError, Checks, Lab, eventually, expect, expect_equal
from kv_info import numbers
from kv_servers import Server
from kv_wire import Client, WireError, command, encode, encode_all, reply_end

MEGABYTE = 1 << 20
BOUND_BYTES = 64 * MEGABYTE
"""What one hostile client, or a crowd of them, may make the process grow by."""
SLOW_SECONDS = 2.0
"""A server that waits for one client keeps the others waiting for longer than this; a busy machine does not."""
IDLE_CLIENTS = 1000
WAKES_PER_SECOND = 50
"""Ten for the store, the rest for the housekeeping of a runtime."""
IDLE_SHARE = 0.03

checks = Checks()


def raise_file_limit() -> None:
    """Allow this process, and the servers it starts, to open some thousand files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def worst_ping(client: Client, seconds: float) -> float:
    """Return the longest time a PING took within some seconds."""
    worst, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        expect_equal("PING", b"+PONG\r\n", client.raw("PING"))
        worst = max(worst, time.monotonic() - start)
        time.sleep(0.002)
    return worst


def expect_bounded(lane: Server, before: int, what: str, bound: int = BOUND_BYTES) -> None:
    """Raise when the process has grown by more than a bound."""
    grown = lane.resident_bytes() - before
    expect(grown < bound, f"{what}: the process grew by {grown / MEGABYTE:.0f} MB, allowed {bound / MEGABYTE:.0f} MB")


@checks.named("hostile/never-reads/memory-and-others")
def never_reads(lab: Lab) -> None:
    """A client asks for 100 MB of replies and reads none: the process stays small, others are served."""
    with lab.own_lane() as lane, lane.client() as client, lane.client() as hostile:
        client.ask("SET", "large", b"x" * MEGABYTE)
        before = lane.resident_bytes()
        hostile.send(encode(command("GET", "large")) * 100)
        worst = worst_ping(client, 0.5)
        expect(worst < SLOW_SECONDS, f"a PING of another client took {worst * 1000:.0f} ms")
        expect_bounded(lane, before, "100 MB of unread replies", 24 * MEGABYTE)


@checks.named("hostile/never-reads/then-reads")
def never_reads_then_reads(lab: Lab) -> None:
    """The same client then reads: all 100 replies are there, whole and in order."""
    with lab.own_lane() as lane, lane.client() as client, lane.client() as late:
        value = bytes(n % 251 for n in range(MEGABYTE))
        client.ask("SET", "large", value)
        late.send(encode_all([args for n in range(100) for args in (command("GET", "large"), command("ECHO", n))]))
        time.sleep(0.3)
        replies = late.exchange(b"", 200)
        large = b"$%d\r\n%b\r\n" % (len(value), value)
        for n in range(100):
            expect(replies[2 * n] == large, f"reply {2 * n} is damaged")
            expect_equal(f"ECHO {n}", encode_bulk(n), replies[2 * n + 1])


def encode_bulk(number: int) -> bytes:
    """Return a number as a bulk reply."""
    return b"$%d\r\n%d\r\n" % (len(str(number)), number)


@checks.named("hostile/never-reads/flood-is-pushed-back")
def flood_is_pushed_back(lab: Lab) -> None:
    """A client floods requests and reads nothing: after a bounded amount the server takes no more of them."""
    with lab.own_lane() as lane, lane.client() as client, lane.client() as hostile:
        client.ask("SET", "k", b"x" * 2000)  # 160 MB of replies in all
        before = lane.resident_bytes()
        block = encode(command("GET", "k")) * 2000
        hostile.sock.setblocking(False)
        sent, end = 0, time.monotonic() + 1.0
        while time.monotonic() < end and sent < 40 * len(block):
            if select.select([], [hostile.sock], [], 0.05)[1]:
                sent += hostile.sock.send(block[sent % len(block) :])
        worst = worst_ping(client, 0.7)
        expect(worst < SLOW_SECONDS, f"a PING of another client took {worst * 1000:.0f} ms")
        expect_bounded(lane, before, f"{sent} bytes of requests whose replies nobody reads", 24 * MEGABYTE)


@checks.named("hostile/huge-declarations/bulks")
def huge_bulks(lab: Lab) -> None:
    """Fifty clients declare 512 MB each and send a little: no memory is taken before the bytes come."""
    with lab.own_lane() as lane, ExitStack() as stack, lane.client() as client:
        before = lane.resident_bytes()
        for _ in range(50):
            hostile = stack.enter_context(lane.client())
            hostile.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n" + b"x" * 1000)
        expect(worst_ping(client, 0.2) < SLOW_SECONDS, "another client waited")
        expect_bounded(lane, before, "50 declared bulks of 512 MB")


@checks.named("hostile/huge-declarations/counts")
def huge_counts(lab: Lab) -> None:
    """A hundred clients declare a million arguments each: no memory is taken before they come."""
    with lab.own_lane() as lane, ExitStack() as stack, lane.client() as client:
        before = lane.resident_bytes()
        for _ in range(100):
            hostile = stack.enter_context(lane.client())
            hostile.send(b"*1048576\r\n$4\r\nMGET\r\n$1\r\nk\r\n")
        expect(worst_ping(client, 0.2) < SLOW_SECONDS, "another client waited")
        expect_bounded(lane, before, "100 declared commands of 1,048,576 arguments")


@checks.named("hostile/buffers-are-given-back")
def buffers_are_given_back(lab: Lab) -> None:
    """Clients that once sent and read a large value and stay connected do not hold its memory."""
    with lab.own_lane() as lane, ExitStack() as stack, lane.client() as client:
        before = lane.resident_bytes()
        for number in range(20):
            once = stack.enter_context(lane.client())
            once.ask("SET", "k", bytes([number]) * (8 * MEGABYTE))
            once.ask("GET", "k")
        client.ask("DEL", "k")
        for _ in range(50):
            client.ask("PING")
            if lane.resident_bytes() - before < BOUND_BYTES:
                return
            time.sleep(0.1)
        expect_bounded(lane, before, "20 idle clients that each sent and read 8 MB once")


@checks.named("hostile/endless-partial-command")
def endless_partial_command(lab: Lab) -> None:
    """Two hundred clients stop in the middle of a command; others are served, and closing them frees everything."""
    with lab.own_lane() as lane, ExitStack() as stack, lane.client() as client:
        files = lane.open_files()
        with ExitStack() as inner:
            for number in range(200):
                hostile = inner.enter_context(lane.client())
                hostile.send(encode(command("SET", f"k{number}", "v" * 50))[: number % 60 + 1])
            expect(worst_ping(client, 0.2) < SLOW_SECONDS, "another client waited")
        eventually(lambda: lane.open_files() <= files + 1, 5, "the sockets of 200 closed clients are closed")
        expect_equal("DBSIZE", 0, client.ask("DBSIZE"))
        stack.close()


@checks.named("hostile/thousand-idle-clients")
def thousand_idle_clients(lab: Lab) -> None:
    """A thousand idle connections cost no time of others, little memory and no processor time."""
    with lab.own_lane() as lane, ExitStack() as stack, lane.client() as client:
        before = lane.resident_bytes()
        idle = [stack.enter_context(lane.client()) for _ in range(IDLE_CLIENTS)]
        for other in idle:
            other.send(b"PING\r\n")
        for other in idle:
            expect_equal("PING of an idle client", b"+PONG\r\n", other.reply())
        expect_bounded(lane, before, f"{IDLE_CLIENTS} idle clients", 96 * MEGABYTE)
        expect(worst_ping(client, 0.3) < SLOW_SECONDS, "a busy client waited")
        start = lane.cpu_seconds()
        time.sleep(1.0)
        spent = lane.cpu_seconds() - start
        expect(spent < 0.15, f"{IDLE_CLIENTS} idle clients cost {spent:.2f} s of processor time a second")
        expect_equal("connected_clients", IDLE_CLIENTS + 1, numbers(client, "clients")["connected_clients"])
        expect_equal("the last idle client", b"+PONG\r\n", idle[-1].raw("PING"))


@checks.named("hostile/maxclients")
def maxclients(lab: Lab) -> None:
    """Beyond --maxclients a client gets redis's text and is closed; when one leaves the next may come."""
    with lab.own_lane("--maxclients", "10") as lane, ExitStack() as stack:
        clients = [stack.enter_context(lane.client()) for _ in range(10)]
        for client in clients:
            expect_equal("PING", b"+PONG\r\n", client.raw("PING"))
        for _ in range(3):
            with lane.client() as refused:
                data, closed = refused.until_closed(refused.timeout_seconds)
                expect_equal("what client 11 gets", b"-ERR max number of clients reached\r\n", data)
                expect(closed, "client 11 is not closed")
        expect_equal("rejected clients do not disturb", b"+PONG\r\n", clients[0].raw("PING"))
        clients[9].close()
        eventually(lambda: answers(lane), 5, "after one has left the next is served")


def answers(lane: Server) -> bool:
    """True when a new client is served."""
    try:
        with lane.client() as client:
            return client.raw("PING") == b"+PONG\r\n"
    except WireError:
        return False


@checks.named("hostile/reset-in-the-middle")
def reset_in_the_middle(lab: Lab) -> None:
    """A hundred clients vanish by a TCP reset while replies are on their way."""
    with lab.own_lane() as lane, lane.client() as client:
        client.ask("SET", "large", b"x" * 500_000)
        files = lane.open_files()
        for number in range(100):
            vanishing = lane.client()
            vanishing.send(encode(command("GET", "large")) * (number % 7 + 1))
            if number % 3 == 0:
                vanishing.sock.settimeout(1)
                vanishing.sock.recv(1000)
            vanishing.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            vanishing.close()
        expect_equal("PING of another client", b"+PONG\r\n", client.raw("PING"))
        eventually(lambda: lane.open_files() <= files + 1, 10, "the sockets of 100 vanished clients are closed")


@checks.named("hostile/ends-without-reading")
def ends_without_reading(lab: Lab) -> None:
    """Clients send commands and close at once without reading: the commands are done, nothing is left behind."""
    with lab.own_lane() as lane, lane.client() as client:
        files = lane.open_files()
        for number in range(100):
            with lane.client() as hasty:
                hasty.send(encode(command("SADD", "seen", number)))
                hasty.sock.shutdown(socket.SHUT_WR)
        eventually(lambda: client.ask("SCARD", "seen") == 100, 5, "the command of each of 100 hasty clients is done")
        eventually(lambda: lane.open_files() <= files + 1, 5, "their sockets are closed")


@checks.named("hostile/fair-to-small-requests")
def fair_to_small_requests(lab: Lab) -> None:
    """While one client pipelines without end, the requests of another are answered quickly."""
    with lab.own_lane() as lane, lane.client() as client, lane.client() as busy:
        busy.ask("SET", "k", "x" * 100)
        block = encode_all([command("GET", "k"), command("SET", "k", "x" * 100)] * 5000)
        busy.sock.setblocking(False)
        worst, owed, end = 0.0, b"", time.monotonic() + 1.0
        while time.monotonic() < end:
            readable, writable, _ = select.select([busy.sock], [busy.sock], [], 0)
            if readable:
                busy.sock.recv(1 << 20)
            if writable:
                owed = owed or block
                owed = owed[busy.sock.send(owed) :]
            start = time.monotonic()
            client.raw("PING")
            worst = max(worst, time.monotonic() - start)
        expect(worst < SLOW_SECONDS, f"a PING took {worst * 1000:.0f} ms beside a busy client")


@checks.named("hostile/many-connections-in-turn")
def many_connections_in_turn(lab: Lab) -> None:
    """A thousand short connections one after another leave no file and no memory behind."""
    with lab.own_lane() as lane, lane.client() as client:
        client.raw("PING")
        for number in range(1000):
            with lane.client() as short:
                expect_equal("PING", b"+PONG\r\n", short.raw("PING"))
            if number == 200:
                files, before = lane.open_files(), lane.resident_bytes()
        eventually(lambda: lane.open_files() <= files, 5, "no more open files than after 200 connections")
        expect_bounded(lane, before, "800 short connections", 16 * MEGABYTE)


@checks.named("hostile/no-processor-time-when-idle")
def idle_store(lab: Lab) -> None:
    """An idle store, also one with keys that will expire, wakes about ten times a second."""
    with lab.own_lane() as lane, lane.client() as client:
        client.pipeline([command("SET", f"k{n}", "v", "EX", 1000) for n in range(10_000)])
        least, spent = 1 << 30, 1.0
        for _ in range(5):  # the calmest second counts: others may disturb this machine
            time.sleep(0.3)
            wakes_before, spent_before = lane.wake_ups(), lane.cpu_seconds()
            time.sleep(1.0)
            least = min(least, lane.wake_ups() - wakes_before)
            spent = min(spent, lane.cpu_seconds() - spent_before)
            if least <= WAKES_PER_SECOND and spent <= IDLE_SHARE:
                return
        expect(least <= WAKES_PER_SECOND, f"{least} wake-ups a second when idle, allowed {WAKES_PER_SECOND}")
        expect(spent <= IDLE_SHARE, f"{spent:.0%} of a processor when idle")


@checks.named("hostile/spliced-replies")
def spliced_replies(lab: Lab) -> None:
    """A slow reader of mixed small and large replies gets every byte in order while others write."""
    with lab.own_lane() as lane, lane.client() as client, lane.client() as slow:
        client.ask("SET", "large", b"L" * 300_000)
        client.ask("RPUSH", "list", *range(1000))
        asked = [command("ECHO", n) if n % 3 else command("GET", "large") for n in range(120)]
        asked[60] = command("LRANGE", "list", 0, -1)
        slow.send(encode_all(asked))
        data = bytearray()
        slow.sock.settimeout(slow.timeout_seconds)
        place = count = 0
        while count < len(asked):
            part = slow.sock.recv(65_536)
            if not part:
                raise CheckError(f"closed after {count} of {len(asked)} replies")
            data += part
            client.ask("SET", "other", "v" * 100)
            while (end := reply_end(data, place)) >= 0:
                check_spliced(count, bytes(data[place:end]))
                place, count = end, count + 1
        expect_equal("bytes behind the last reply", b"", bytes(data[place:]))


def check_spliced(number: int, raw: bytes) -> None:
    """Raise unless a reply is the one that belongs to its place."""
    if number == 60:
        expect(raw.startswith(b"*1000\r\n$1\r\n0\r\n"), f"reply {number} is not the list")
    elif number % 3:
        expect_equal(f"reply {number}", encode_bulk(number), raw)
    else:
        expect(raw == b"$300000\r\n" + b"L" * 300_000 + b"\r\n", f"reply {number} is damaged")
