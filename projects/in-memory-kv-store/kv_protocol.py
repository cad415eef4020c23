"""Raw bytes on the wire: inline commands, broken frames, limits, frames cut at any byte.

What redis answers to the same bytes, and whether it closes the connection then, is the measure.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from functools import partial

from kv_checks import CheckError, Checks, Lab, check_reply, expect, expect_equal
from kv_picks import Picker, stream
from kv_servers import Server
from kv_wire import Client, command, encode, encode_all, shown

QUIET_SECONDS = 0.01
QUIET_ROUNDS = 2
"""The reference has said everything when it is silent so often for so long, and serves another client in between: a
server that only waits for its processor is not silent."""
MBULK_LIMIT = 1024 * 1024
BULK_LIMIT = 512 << 20
LINE_LIMIT = 64 << 10

checks = Checks()


def answer(server: Server, payload: bytes) -> tuple[bytes, bool]:
    """Return what a server answers to bytes and whether it then closes; it must be silent for a while to be done."""
    with server.client() as client, server.client() as other:
        client.send_lenient(payload)
        data, quiet = b"", 0
        while quiet < QUIET_ROUNDS:
            part, closed = client.until_closed(QUIET_SECONDS)
            data += part
            if closed:
                return data, True
            quiet = 0 if part else quiet + 1
            other.raw("PING")
        return data, False


def same_answer(payload: bytes, lab: Lab) -> None:
    """The lane answers bytes as redis does, closes when redis closes, and goes on serving others."""
    lane, reference = lab.shared_lane(), lab.shared_reference()
    for server in (lane, reference):
        with server.client() as client:
            client.raw("FLUSHALL")
    expected, closes = answer(reference, payload)
    with lane.client() as client:
        client.send_lenient(payload)
        got = client.at_least(len(expected))
        if closes:
            rest, closed = client.until_closed(client.timeout_seconds)
            expect_equal(f"answer to {shown(payload)}", expected, got + rest)
            expect(closed, f"after {shown(payload)} redis closes the connection, the lane keeps it open")
        else:
            rest, closed = client.until_closed(0.01)
            expect_equal(f"answer to {shown(payload)}", expected, got + rest)
            expect(not closed, f"after {shown(payload)} redis keeps the connection, the lane closes it")
    with lane.client() as client:
        expect_equal("PING of another client afterwards", b"+PONG\r\n", client.raw("PING"))


PAYLOADS: dict[str, bytes] = {
    # inline
    "inline/ping": b"PING\r\n",
    "inline/lf-only": b"PING\nPING\n",
    "inline/set-get": b"SET k v\r\nGET k\r\n",
    "inline/blank-lines": b"\r\n\r\n\n\nPING\r\n",
    "inline/spaces": b"  SET   k    v  \r\nGET\tk\r\n",
    "inline/double-quotes": b'SET k "a b\\n\\x41\\t\\"\\\\"\r\nGET k\r\n',
    "inline/single-quotes": b"SET k 'a \\' b\\n'\r\nGET k\r\n",
    "inline/empty-quotes": b"SET k \"\"\r\nGET k\r\nSET '' x\r\nGET ''\r\n",
    "inline/quotes-in-word": b'SET k a"b\r\nPING\r\n',
    "inline/text-after-quote": b'SET k "a"b\r\nPING\r\n',
    "inline/unbalanced": b'SET k "abc\r\nPING\r\n',
    "inline/unbalanced-single": b"SET k 'abc\r\nPING\r\n",
    "inline/after-good-commands": b'PING\r\nSET k v\r\nGET k\r\nGET "\r\nPING\r\n',
    "inline/unknown": b"NOSUCH a b\r\nPING\r\n",
    "inline/wrong-arity": b"GET\r\n",
    "inline/high-bytes": b"SET k \xff\xfe\r\nGET k\r\n",
    "inline/bad-hex": b'SET k "\\xZZ\\x4"\r\nGET k\r\n',
    "inline/nul": b"ECHO a\x00b\r\nPING\r\n",
    "inline/vertical-tab": b'ECHO a\x0bb\x0c\r\n\x0bECHO "q"\x0b\r\nPING\r\n',
    "inline/mixed-with-frames": b"PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n",
    "inline/longest": b"ECHO " + b"x" * (LINE_LIMIT - 1000) + b"\r\nPING\r\n",
    "inline/too-big": b"x" * (LINE_LIMIT + 1000),
    "inline/http-get": b"GET / HTTP/1.1\r\n\r\n",
    "inline/http-post": b"POST / HTTP/1.1\r\nHost: example\r\n\r\n",
    "inline/http-host": b"Host: example\r\nPING\r\n",
    "inline/quit": b"QUIT\r\nPING\r\n",
    "inline/many-arguments": b"MSET " + b" ".join(b"k%d v" % n for n in range(500)) + b"\r\nDBSIZE\r\n",
    # frames
    "frame/ping": b"*1\r\n$4\r\nPING\r\n",
    "frame/zero-arguments": b"*0\r\n*1\r\n$4\r\nPING\r\n",
    "frame/minus-one-arguments": b"*-1\r\n*1\r\n$4\r\nPING\r\n",
    "frame/minus-many-arguments": b"*-10\r\nPING\r\n",
    "frame/count-not-a-number": b"*abc\r\nPING\r\n",
    "frame/count-empty": b"*\r\nPING\r\n",
    "frame/count-with-space": b"* 1\r\n$4\r\nPING\r\n",
    "frame/count-plus": b"*+1\r\n$4\r\nPING\r\n",
    "frame/count-zeros": b"*01\r\n$4\r\nPING\r\n",
    "frame/count-fraction": b"*1.0\r\n$4\r\nPING\r\n",
    "frame/count-at-limit": b"*%d\r\n" % MBULK_LIMIT,
    "frame/count-over-limit": b"*%d\r\n" % (MBULK_LIMIT + 1),
    "frame/count-int32": b"*2147483647\r\nPING\r\n",
    "frame/count-int64": b"*9223372036854775807\r\n",
    "frame/count-over-int64": b"*9223372036854775808\r\n",
    "frame/count-minus-int64": b"*-9223372036854775808\r\nPING\r\n",
    "frame/count-endless": b"*" + b"1" * (LINE_LIMIT + 1000),
    "frame/colon-for-bulk": b"*1\r\n:4\r\nPING\r\n",
    "frame/word-for-bulk": b"*2\r\n$3\r\nGET\r\nkey\r\n",
    "frame/plus-for-bulk": b"*1\r\n+PING\r\n",
    "frame/nul-for-bulk": b"*1\r\n\x00\r\n",
    "frame/nul-for-dollar": b"*1\r\n\x004\r\nPING\r\n",
    "frame/newline-for-bulk": b"*1\r\n\r\n",
    "frame/high-byte-for-bulk": b"*1\r\n\xff\r\n",
    "frame/nested": b"*1\r\n*1\r\n$4\r\nPING\r\n",
    "frame/bulk-negative": b"*1\r\n$-1\r\n",
    "frame/bulk-very-negative": b"*2\r\n$3\r\nGET\r\n$-5\r\n",
    "frame/bulk-not-a-number": b"*1\r\n$abc\r\nPING\r\n",
    "frame/bulk-empty-length": b"*1\r\n$\r\nPING\r\n",
    "frame/bulk-plus": b"*1\r\n$+4\r\nPING\r\n",
    "frame/bulk-space": b"*1\r\n$ 4\r\nPING\r\n",
    "frame/bulk-zeros": b"*1\r\n$04\r\nPING\r\n",
    "frame/bulk-over-limit": b"*2\r\n$3\r\nGET\r\n$%d\r\n" % (BULK_LIMIT + 1),
    "frame/bulk-1-gb": b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1073741824\r\n",
    "frame/bulk-over-int64": b"*1\r\n$9223372036854775808\r\n",
    "frame/bulk-at-limit": b"*2\r\n$3\r\nGET\r\n$%d\r\n" % BULK_LIMIT,
    "frame/bulk-endless": b"*1\r\n$" + b"1" * (LINE_LIMIT + 1000),
    "frame/bulk-too-short": b"*1\r\n$3\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
    "frame/bulk-any-two-bytes-behind": b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    "frame/empty-command": b"*1\r\n$0\r\n\r\nPING\r\n",
    "frame/empty-arguments": b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
    "frame/lf-only": b"*1\n$4\nPING\n",
    "frame/good-before-bad": encode_all([command("SET", "k", "v"), command("GET", "k")]) + b"*1\r\n$x\r\nPING\r\n",
    "frame/bad-inline-after-good": b'*1\r\n$4\r\nPING\r\nGET "\r\n*1\r\n$4\r\nPING\r\n',
    "frame/nothing-after-bad": b"*1\r\n$x\r\n" + encode(command("SET", "k", "v")) * 100,
    "frame/reply-as-command": b"+OK\r\n-ERR\r\n:1\r\n",
    "frame/quit": encode(command("PING")) + encode(command("QUIT")) + encode(command("PING")),
    "frame/nul-bytes": b"\x00" * 100 + b"\r\nPING\r\n",
    "frame/random-bytes": bytes((n * 73 + 41) % 256 for n in range(3000)) + b"\r\n",
    "frame/tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)) + b"\r\n",
    "frame/many-arguments": encode(command("DEL", *range(20_000))) + encode(command("PING")),
    "frame/many-empty-frames": b"*0\r\n" * 5000 + b"*1\r\n$4\r\nPING\r\n",
    "frame/unknown-long-name": encode(command("N" * 100_000, "a" * 100_000)) + encode(command("PING")),
}
for label, raw_bytes in PAYLOADS.items():
    checks.add(f"protocol/{label}", partial(same_answer, raw_bytes))


SPLIT_STREAM = (
    encode_all(
        [
            command("SET", "k", b"a\r\nb$1\r\n*2"),
            command("GET", "k"),
            command("RPUSH", "list", "", "x" * 30),
            command("LRANGE", "list", 0, -1),
        ]
    )
    + b'PING\r\nSET q "a b"\r\nGET q\r\n*0\r\n*1\r\n$6\r\nDBSIZE\r\n'
)
SPLIT_REPLIES = 8


@checks.named("protocol/split/at-any-byte")
def split_at_any_byte(lab: Lab) -> None:
    """A stream cut in two at any byte is answered like the whole one."""
    with lab.pair() as pair:
        for cut in range(1, len(SPLIT_STREAM)):
            pair.both("FLUSHALL")
            expected = b"".join(pair.reference.exchange(SPLIT_STREAM, SPLIT_REPLIES))
            with pair.servers[0].client() as client:
                client.send(SPLIT_STREAM[:cut])
                pair.lane.raw("PING")  # the server has turned once, so it has met the first part alone
                got = b"".join(client.exchange(SPLIT_STREAM[cut:], SPLIT_REPLIES))
            expect_equal(f"the stream cut at byte {cut}", expected, got)


@checks.named("protocol/split/byte-by-byte")
def byte_by_byte(lab: Lab) -> None:
    """A client that sends one byte at a time gets its replies, and others are served between its bytes."""
    with lab.pair() as pair, pair.servers[0].client() as slow:
        expected = b"".join(pair.reference.exchange(SPLIT_STREAM, SPLIT_REPLIES))
        for byte in SPLIT_STREAM:
            slow.send(bytes([byte]))
            expect_equal("PING of another client", b"+PONG\r\n", pair.lane.raw("PING"))
        got = b"".join(slow.exchange(b"", SPLIT_REPLIES))
        expect_equal("replies to the slow client", expected, got)


@checks.named("protocol/split/big-values-in-pieces")
def big_values_in_pieces(lab: Lab) -> None:
    """Values around the sizes of buffers arrive in pieces of odd sizes, behind and before small commands."""
    with lab.pair() as pair:
        for size in (4095, 4096, 16383, 16384, 16385, 32767, 32768, 32769, 65535, 65536, 65537, 262_144, 1_048_577):
            value = bytes(n * 31 % 251 for n in range(1000)) * (size // 1000 + 1)
            commands = [command("PING"), command("SET", "k", value[:size]), command("GET", "k"), command("PING")]
            expected = b"".join(pair.reference.pipeline(commands))
            data = encode_all(commands)
            with pair.servers[0].client() as client:
                place, step = 0, 1009
                while place < len(data):
                    client.send(data[place : place + step])
                    place, step = place + step, step * 3 % 40_009
                expect_equal(f"a value of {size} bytes in pieces", expected, b"".join(client.exchange(b"", 4)))


@checks.named("protocol/unix-socket")
def unix_socket(lab: Lab) -> None:
    """A unix socket beside a TCP one: both are announced in order and see the same data."""
    path = lab.folder() / "kv.sock"
    with lab.lane(listen=["127.0.0.1:0", f"unix:{path}"]) as lane:
        expect_equal("second line", f"unix:{path}", lane.addresses[1])
        with Client(lane.addresses[0]) as tcp, Client(lane.addresses[1]) as unix:
            expect_equal("SET over TCP", b"+OK\r\n", tcp.raw("SET", "k", "v"))
            expect_equal("GET over the unix socket", b"$1\r\nv\r\n", unix.raw("GET", "k"))
            replies = unix.pipeline([command("SET", f"k{n}", "x" * 1000) for n in range(2000)])
            expect(all(raw == b"+OK\r\n" for raw in replies), "a pipeline over the unix socket")
            got = unix.pipeline([command("GET", f"k{n}") for n in range(2000)])
            expect(all(raw == b"$1000\r\n" + b"x" * 1000 + b"\r\n" for raw in got), "GETs over the unix socket")
            expect_equal("DBSIZE over TCP", 2001, tcp.ask("DBSIZE"))


@checks.named("protocol/two-tcp-listeners")
def two_tcp_listeners(lab: Lab) -> None:
    """Two TCP listeners: two lines, two ports, one store."""
    with lab.lane(listen=["127.0.0.1:0", "127.0.0.1:0"]) as lane:
        expect(lane.addresses[0] != lane.addresses[1], f"the same address twice: {lane.addresses}")
        with Client(lane.addresses[0]) as one, Client(lane.addresses[1]) as two:
            expect_equal("SET on the first", b"+OK\r\n", one.raw("SET", "k", "v"))
            expect_equal("GET on the second", b"$1\r\nv\r\n", two.raw("GET", "k"))


@checks.named("protocol/half-open/commands-then-end")
def commands_then_end(lab: Lab) -> None:
    """A client that ends its side right behind its commands still gets all replies, then the end (nc does so)."""
    lane = lab.shared_lane()
    with lane.client() as client:
        client.send(encode_all([command("PING")] * 500))
        client.sock.shutdown(socket.SHUT_WR)
        data, closed = client.until_closed(client.timeout_seconds)
        expect_equal("replies", b"+PONG\r\n" * 500, data)
        expect(closed, "the lane keeps a connection open whose client has ended")


@checks.named("protocol/half-open/half-a-command-then-end")
def half_a_command_then_end(lab: Lab) -> None:
    """Half a command and then the end: no reply, the connection is closed, the command is not done."""
    lane = lab.shared_lane()
    with lane.client() as client:
        client.send(encode(command("SET", "half", "value"))[:-3])
        client.sock.shutdown(socket.SHUT_WR)
        data, closed = client.until_closed(client.timeout_seconds)
        expect_equal("replies", b"", data)
        expect(closed, "the lane keeps a connection open whose client has ended")
    with lane.client() as client:
        expect_equal("EXISTS half", 0, client.ask("EXISTS", "half"))


@checks.named("protocol/quit")
def quit_closes(lab: Lab) -> None:
    """QUIT answers OK and closes."""
    same_answer(encode(command("QUIT")), lab)


@checks.named("protocol/hello-3-is-refused")
def hello_three(lab: Lab) -> None:
    """HELLO 3: RESP3 is not spoken; the text is redis's for an unknown version."""
    lane = lab.shared_lane()
    with lane.client() as client:
        check_reply(command("HELLO", 3), client.raw("HELLO", 3), b"-NOPROTO unsupported protocol version\r\n")
        expect_equal("PING afterwards", b"+PONG\r\n", client.raw("PING"))


@checks.named("protocol/hello-2")
def hello_two(lab: Lab) -> None:
    """HELLO and HELLO 2 answer a flat array of redis's names; SETNAME in it is done."""
    with lab.pair() as pair:
        for args in (["HELLO", "2"], ["HELLO"], ["HELLO", "2", "SETNAME", "me"]):
            ours, theirs = pair.lane.ask(*args), pair.reference.ask(*args)
            expect(isinstance(ours, list), f"{args}: got {ours!r}")
            expect_equal(f"names in {args}", theirs[::2], ours[::2])
            for name in (b"server", b"proto", b"mode", b"role", b"modules"):
                place = theirs.index(name) + 1
                expect_equal(f"{args}: {name.decode()}", theirs[place], ours[place])
        pair.same("CLIENT", "GETNAME")


@checks.named("protocol/slow-pipelines-together")
def slow_pipelines_together(lab: Lab) -> None:
    """Fifty clients whose commands come in alternating pieces each get their own replies."""
    lane = lab.shared_lane()
    clients = [lane.client() for _ in range(50)]
    streams = [
        encode_all([command("SET", f"own{number}", "x" * number), command("GET", f"own{number}"), command("PING")])
        for number in range(len(clients))
    ]
    try:
        for place in range(0, max(map(len, streams)), 7):
            for client, data in zip(clients, streams, strict=True):
                if place < len(data):
                    client.send(data[place : place + 7])
        for number, client in enumerate(clients):
            expected = b"+OK\r\n$%d\r\n%b\r\n+PONG\r\n" % (number, b"x" * number)
            expect_equal(f"replies to client {number}", expected, b"".join(client.exchange(b"", 3)))
    finally:
        for client in clients:
            client.close()


@checks.named("protocol/latency-after-idle")
def latency_after_idle(lab: Lab) -> None:
    """A reply comes within a few milliseconds also after the server has been idle (no Nagle, no polling)."""
    lane = lab.shared_lane()
    waits = []
    with lane.client() as client:
        for _ in range(15):
            time.sleep(0.02)
            start = time.monotonic()
            client.send(encode(command("SET", "k", "v")))
            client.send(encode(command("GET", "k")))
            client.exchange(b"", 2)
            waits.append(time.monotonic() - start)
    middle = sorted(waits)[len(waits) // 2]
    if middle > 0.02:
        raise CheckError(f"two small commands take {middle * 1000:.1f} ms after a pause: Nagle or a polling loop")


MUTABLE = {
    "GET": 2, "APPEND": 2, "MSET": 1, "INCRBY": 1, "LPUSH": 2, "RPUSH": 2, "LRANGE": 3, "LPOP": 1, "HSET": 2, "HGET": 2,
    "SADD": 2, "SREM": 1, "SCARD": 2, "ZADD": 2, "ZRANGE": 2, "ZSCORE": 2, "ECHO": 1, "PING": 1, "DEL": 1, "STRLEN": 1,
}  # fmt: skip
"""Commands that stay harmless, and free of the clock, whatever happens to their bytes."""
MUTATIONS = 150
STREAMS_MUTATED = 3


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change, insert, drop or double a few bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(changed))
        draw = rng.randrange(5)
        if draw == 0:
            changed[place] = rng.randrange(256)
        elif draw == 1:
            changed[place : place + 1] = rng.choice(
                [b"*", b"$", b"\r", b"\n", b"\r\n", b"-", b"0", b"9", b"\x00", b" ", b'"']
            )
        elif draw == 2:
            del changed[place : place + rng.randint(1, 4)]
        elif draw == 3:
            changed[place:place] = changed[place : place + rng.randint(1, 20)]
        else:
            del changed[place:]
        if not changed:
            return data
    return bytes(changed)


def mutated_streams(number: int, lab: Lab) -> None:
    """Pipelines with damaged bytes are answered as redis answers them, to the byte, and leave the same data."""
    with lab.pair() as pair:
        picker = Picker(f"mutated {number}", keys=2, members=8)
        for _ in range(MUTATIONS):
            data = mutate(encode_all(stream(MUTABLE, picker, picker.rng.randint(1, 8))), picker.rng)
            answers = []
            for server in pair.servers:
                with server.client() as client:
                    client.send_lenient(data)
                    with contextlib.suppress(OSError):
                        client.sock.shutdown(socket.SHUT_WR)
                    answers.append(client.until_closed(client.timeout_seconds))
            expect_equal(f"answer to {shown(data)} and the end", answers[1], answers[0])
        pair.compare()


for stream_number in range(1, STREAMS_MUTATED + 1):
    checks.add(f"protocol/mutated-streams-{stream_number}", partial(mutated_streams, stream_number))
