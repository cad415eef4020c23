"""The guarantee of SCAN: what is there during the whole scan is returned, however the table grows or shrinks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

from kv_checks import CheckError, Checks, Lab, expect, expect_equal
from kv_wire import Client, Command, command

STAYING = 1000
PASSING = 6_000
STEPS = 12
WAVE = 1000
"""The table changes during so many calls of a scan."""

checks = Checks()
Change = Callable[[Client, int], None]


class Collection:
    """What is scanned: the key space, a set or a hash."""

    def __init__(self, kind: str) -> None:
        """Name the commands."""
        self.kind = kind
        self.start = {"keys": (b"SCAN",), "set": (b"SSCAN", b"c"), "hash": (b"HSCAN", b"c")}[kind]

    def put(self, name: str) -> Command:
        """Return the command that adds an element."""
        return {
            "keys": command("SET", name, "v"),
            "set": command("SADD", "c", name),
            "hash": command("HSET", "c", name, "v"),
        }[self.kind]

    def drop(self, name: str) -> Command:
        """Return the command that removes an element."""
        return {
            "keys": command("DEL", name),
            "set": command("SREM", "c", name),
            "hash": command("HDEL", "c", name),
        }[self.kind]

    def scan(self, client: Client, change: Change, *options: object) -> tuple[list[bytes], int]:
        """Scan to the end with changes between the calls; return what was found and the number of calls."""
        cursor, found = b"0", list[bytes]()
        for call in count(1):
            reply = client.ask(*self.start, cursor, *options)
            expect(isinstance(reply, list) and len(reply) == 2, f"{self.start[0].decode()} {cursor!r}: got {reply!r}")
            cursor, elements = reply
            found += elements[::2] if self.kind == "hash" else elements
            if cursor == b"0":
                return found, call
            if call > 1_000_000:
                raise CheckError(f"the scan did not end within {call} calls")
            change(client, call)
        raise AssertionError


def names(prefix: str, first: int, number: int) -> list[str]:
    """Return numbered names."""
    return [f"{prefix}{n}" for n in range(first, first + number)]


def nothing(client: Client, call: int) -> None:
    """Change nothing."""


def pipeline(client: Client, commands: list[Command]) -> None:
    """Send commands in pieces."""
    for start in range(0, len(commands), 5000):
        client.pipeline(commands[start : start + 5000])


def growing(collection: Collection) -> Change:
    """Grow many times over during the first calls."""
    step = PASSING // STEPS

    def change(client: Client, call: int) -> None:
        if call <= STEPS:
            pipeline(client, [collection.put(name) for name in names("new", call * step, step)])

    return change


def shrinking(collection: Collection) -> Change:
    """Shrink to what stays during the first calls."""
    step = PASSING // STEPS

    def change(client: Client, call: int) -> None:
        if call <= STEPS:
            pipeline(client, [collection.drop(name) for name in names("passing", (call - 1) * step, step)])

    return change


def waving(collection: Collection) -> Change:
    """Grow and shrink in turn."""

    def change(client: Client, call: int) -> None:
        if call > STEPS:
            return
        make = collection.put if call // 4 % 2 == 0 else collection.drop
        pipeline(client, [make(name) for name in names("wave", call % 4 * WAVE, WAVE)])

    return change


def guarantee(kind: str, movement: str, lab: Lab) -> None:
    """Every element that stays is returned at least once, and nothing that was never there."""
    collection = Collection(kind)
    with lab.own_lane() as lane, lane.client() as client:
        staying = names("stay", 0, STAYING)
        pipeline(client, [collection.put(name) for name in staying])
        if movement == "shrinking":
            pipeline(client, [collection.put(name) for name in names("passing", 0, PASSING)])
        change = {"still": nothing, "growing": growing(collection), "shrinking": shrinking(collection)}.get(
            movement, waving(collection)
        )
        for size in (10, 37) if movement != "still" else (1, 10, 1000):
            found, calls = collection.scan(client, change, "COUNT", size)
            missed = {name.encode() for name in staying} - set(found)
            expect(
                not missed, f"COUNT {size}: {len(missed)} of {STAYING} staying elements missed, first {first(missed)!r}"
            )
            known = (b"stay", b"new", b"passing", b"wave")
            expect(all(name.startswith(known) for name in found), "an element that was never there")
            if movement == "still":
                expect_equal(f"COUNT {size}: elements returned twice", STAYING, len(found))
                expect(calls <= STAYING * 6 // size + 10, f"COUNT {size}: {calls} calls for {STAYING} elements")


def first(missed: set[bytes]) -> bytes:
    """Return the least of some names."""
    return min(missed, default=b"")


for scanned in ("keys", "set", "hash"):
    for moving in ("still", "growing", "shrinking", "waving"):
        checks.add(f"scan/guarantee/{scanned}-{moving}", partial(guarantee, scanned, moving))


@checks.named("scan/match-and-type")
def match_and_type(lab: Lab) -> None:
    """MATCH and TYPE filter a large key space, and may answer nothing for many calls."""
    with lab.pair() as pair:
        pair.batch([command("SET", f"string:{n}", "v") for n in range(2000)])
        pair.batch([command("SADD", f"set:{n}", "m") for n in range(50)])
        pair.batch([command("RPUSH", f"list:{n}", "m") for n in range(50)])
        for options in (["TYPE", "set"], ["MATCH", "list:*"], ["MATCH", "*:7?"], ["MATCH", "*1", "TYPE", "list"]):
            for size in (20, 10_000):
                pair.scan("SCAN", 0, *options, "COUNT", size)


@checks.named("scan/while-keys-die")
def while_keys_die(lab: Lab) -> None:
    """A scan does not return dead keys, and keys that stay are returned while others die."""
    with lab.own_lane() as lane, lane.client() as client:
        pipeline(client, [command("SET", name, "v") for name in names("stay", 0, 2000)])
        pipeline(client, [command("SET", f"dying{n}", "v", "PX", 1 + n % 50) for n in range(5000)])
        pipeline(client, [command("SET", name, "v", "PX", 1) for name in names("dead", 0, 500)])
        found, _ = Collection("keys").scan(client, nothing, "COUNT", 20)
        missed = {name.encode() for name in names("stay", 0, 2000)} - set(found)
        expect(not missed, f"{len(missed)} staying keys missed, first {first(missed)!r}")
        again = Collection("keys").scan(client, nothing)[0]
        dead = [name for name in again if name.startswith(b"dead")]
        expect(not dead, f"{len(dead)} dead keys returned, first {dead[:1]}")


@checks.named("scan/two-cursors-at-once")
def two_cursors(lab: Lab) -> None:
    """Scans of two clients do not disturb one another, and an old cursor may be used again."""
    with lab.own_lane() as lane, lane.client() as one, lane.client() as two:
        pipeline(one, [command("SET", name, "v") for name in names("k", 0, 3000)])
        cursors, found = [b"0", b"0"], [set[bytes](), set[bytes]()]
        for call in count():
            who = call % 2
            if call >= 2 and cursors[who] == b"0":
                break
            reply = (one, two)[who].ask("SCAN", cursors[who], "COUNT", 10 + who)
            one.ask("SCAN", cursors[who], "COUNT", 3)
            cursors[who] = reply[0]
            found[who] |= set(reply[1])
            expect(call < 100_000, "the scans do not end")
        for who in (0, 1):
            while cursors[who] != b"0":
                reply = two.ask("SCAN", cursors[who], "COUNT", 50)
                cursors[who] = reply[0]
                found[who] |= set(reply[1])
            expect_equal(f"keys that scan {who} found", 3000, len(found[who]))


@checks.named("scan/foreign-cursor")
def foreign_cursor(lab: Lab) -> None:
    """A cursor that was never given out does no harm."""
    with lab.shared_lane().client() as client:
        client.ask("FLUSHALL")
        client.pipeline([command("SET", f"k{n}", "v") for n in range(100)])
        for cursor in (1, 7, 12345, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            for args in (["SCAN", cursor], ["SCAN", cursor, "COUNT", 1000]):
                reply = client.ask(*args)
                expect(isinstance(reply, list) and len(reply) == 2, f"{args}: got {reply!r}")
        expect_equal("PING", b"+PONG\r\n", client.raw("PING"))
