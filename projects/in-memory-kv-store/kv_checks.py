"""What every check is made of: its name, the servers it asks, and how two servers are compared.

A check is a function that takes a Lab and raises CheckError (or WireError, StartError) when the lane is wrong. Most
checks are differential: `Pair` asks the lane and redis-server the same and compares the replies byte for byte. Where
the order is not defined (SMEMBERS, HGETALL, KEYS ...) the values are compared without order; remaining lives within
a second; what is drawn at random (SPOP, SRANDMEMBER, RANDOMKEY) is checked against the reference's set, and the
reference then takes the same step.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kv_servers import Server, StartError, start_lane, start_reference
from kv_wire import Client, Command, Failure, WireError, command, decode, shown, shown_command

UNORDERED = {b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF", b"HKEYS", b"HVALS", b"KEYS"}
LIVES = {b"TTL": 1, b"PTTL": 1500, b"EXPIRETIME": 1, b"PEXPIRETIME": 1500}
DRAWN = {b"SPOP", b"SRANDMEMBER", b"RANDOMKEY"}
LIFE_TOLERANCE_MS = 1500
COUNT = re.compile(rb"0|-?[1-9][0-9]*")
HISTORY_KEPT = 1000
HISTORY = 4
"""So many earlier commands on the same key stand in a failure."""


class CheckError(Exception):
    """The lane is wrong; the text says what was expected and what came."""


@dataclass(frozen=True)
class Check:
    """One named check."""

    name: str
    run: Callable[[Lab], None]


class Checks:
    """The checks of one module, in order."""

    def __init__(self) -> None:
        """Start without any."""
        self.all: list[Check] = []

    def add(self, name: str, run: Callable[[Lab], None]) -> None:
        """Add one."""
        self.all.append(Check(name, run))

    def named(self, name: str) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
        """Add the function below."""

        def keep(run: Callable[[Lab], None]) -> Callable[[Lab], None]:
            self.add(name, run)
            return run

        return keep


def expect(condition: object, text: str) -> None:
    """Raise unless a condition holds."""
    if not condition:
        raise CheckError(text)


def expect_equal(what: str, expected: object, got: object) -> None:
    """Raise unless two values are the same."""
    if expected != got:
        raise CheckError(f"{what}: expected {shown_value(expected)}, got {shown_value(got)}")


def shown_value(value: object) -> str:
    """Return a value for a failure text."""
    text = shown(value) if isinstance(value, bytes) else repr(value)
    return text if len(text) < 400 else f"{text[:200]} ... {text[-200:]}"


# --- comparing replies -----------------------------------------------------------------------------------------------


def canonical(value: Any) -> Any:
    """Return the elements of an array in a defined order."""
    return sorted(value, key=lambda item: (item is not None, item)) if isinstance(value, list) else value


def pairs(value: Any) -> Any:
    """Return the pairs of a flat array in a defined order."""
    if not isinstance(value, list) or len(value) % 2:
        return value
    return sorted(zip(value[::2], value[1::2], strict=True))


def same_reply(args: Command, lane: bytes, reference: bytes) -> bool:
    """True when the lane's reply is as right as the reference's."""
    if lane == reference:
        return True
    name = args[0].upper() if args else b""
    ours, theirs = decode(lane), decode(reference)
    if isinstance(ours, Failure) or isinstance(theirs, Failure):
        return False
    if name in UNORDERED:
        return lane[:1] == reference[:1] and bool(canonical(ours) == canonical(theirs))
    if name == b"HGETALL":
        return lane[:1] == reference[:1] and bool(pairs(ours) == pairs(theirs))
    if name in LIVES and isinstance(ours, int) and isinstance(theirs, int):
        return ours >= 0 and theirs >= 0 and abs(ours - theirs) <= LIVES[name]
    return False


def check_reply(args: Command, lane: bytes, reference: bytes, where: str = "") -> None:
    """Raise when the lane's reply differs from the reference's."""
    if not same_reply(args, lane, reference):
        raise CheckError(f"{where}{shown_command(args)}: redis answers {shown(reference)}, got {shown(lane)}")


# --- data sets -------------------------------------------------------------------------------------------------------

Dump = dict[bytes, tuple[bytes, Any, int]]
CONTENT: dict[bytes, Callable[[bytes], Command]] = {
    b"string": lambda key: (b"GET", key),
    b"list": lambda key: (b"LRANGE", key, b"0", b"-1"),
    b"hash": lambda key: (b"HGETALL", key),
    b"set": lambda key: (b"SMEMBERS", key),
    b"zset": lambda key: (b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"),
}


def dump(client: Client) -> Dump:
    """Return every key with its type, its content and the time it expires (-1 never)."""
    keys = sorted(client.ask("KEYS", "*"))
    kinds = client.values([(b"TYPE", key) for key in keys])
    times = client.values([(b"PEXPIRETIME", key) for key in keys])
    asked = [CONTENT[bytes(kind)](key) for key, kind in zip(keys, kinds, strict=True) if bytes(kind) in CONTENT]
    contents = client.values(asked)
    if len(asked) != len(keys):
        raise CheckError(f"TYPE of a key that KEYS lists: {set(kinds) - set(CONTENT)}")
    found: Dump = {}
    for key, kind, content, life in zip(keys, kinds, contents, times, strict=True):
        ordered = {b"hash": pairs, b"set": canonical}.get(bytes(kind), lambda value: value)(content)
        found[key] = (bytes(kind), ordered, life)
    return found


def compare_dumps(what: str, expected: Dump, got: Dump, tolerance_ms: int = 0) -> None:
    """Raise when two data sets differ."""
    if absent := sorted(set(expected) - set(got)):
        raise CheckError(f"{what}: {len(absent)} of {len(expected)} keys are missing, first {shown(absent[0])}")
    if further := sorted(set(got) - set(expected)):
        raise CheckError(
            f"{what}: {len(further)} keys too many, first {shown(further[0])} {shown_entry(got[further[0]])}"
        )
    for key, (kind, content, life) in expected.items():
        our_kind, our_content, our_life = got[key]
        near = life == our_life or (min(life, our_life) >= 0 and abs(life - our_life) <= tolerance_ms)
        if (kind, content) != (our_kind, our_content) or not near:
            raise CheckError(
                f"{what}: key {shown(key)}: expected {shown_entry(expected[key])}, got {shown_entry(got[key])}"
            )


def shown_entry(entry: tuple[bytes, Any, int]) -> str:
    """Return a type, a content and a life for a failure text."""
    kind, content, life = entry
    expiry = "" if life < 0 else f" until {life}"
    return f"{kind.decode(errors='replace')} {shown_value(content)}{expiry}"


# --- two servers -----------------------------------------------------------------------------------------------------


class Pair:
    """A connection to the lane and one to the reference that are asked the same."""

    def __init__(self, lane: Server, reference: Server) -> None:
        """Connect to both."""
        self.servers = (lane, reference)
        self.lane = lane.client()
        self.reference = reference.client()
        self.history: list[Command] = []

    def close(self) -> None:
        """Close both connections."""
        self.lane.close()
        self.reference.close()

    def second(self) -> Pair:
        """Return a second connection to each."""
        return Pair(*self.servers)

    def same(self, *args: object) -> Any:
        """Ask both one command; raise when the replies differ; return the value."""
        return decode(self.batch([command(*args)])[0])

    def both(self, *args: object) -> None:
        """Ask both one command whose reply does not matter."""
        self.lane.raw(*args)
        self.reference.raw(*args)

    def batch(self, commands: Sequence[Command]) -> list[bytes]:
        """Ask both a pipeline; raise at the first reply that differs; return the lane's replies."""
        if any(args and args[0].upper() in DRAWN for args in commands):
            return [self.drawn(args) for args in commands]
        lane = self.lane.pipeline(commands)
        reference = self.reference.pipeline(commands)
        for index, (args, ours, theirs) in enumerate(zip(commands, lane, reference, strict=True)):
            if ours != theirs and not same_reply(args, ours, theirs):
                self.history += commands[:index]
                check_reply(args, ours, theirs, self.before(args))
        self.history = [*self.history[-HISTORY_KEPT:], *commands]
        return lane

    def before(self, args: Command) -> str:
        """Name the last commands that were about the same key."""
        keys = set(args[1:3])
        about = [old for old in self.history if keys & set(old[1:4])][-HISTORY:]
        return "after " + "; ".join(shown_command(old) for old in about) + ": " if about else ""

    def drawn(self, args: Command) -> bytes:
        """Ask one command; where it draws at random, check the draw and let the reference take the same."""
        lane = self.lane.raw(*args)
        value = decode(lane)
        name = args[0].upper()
        try:
            if name not in DRAWN or value in (None, []) or isinstance(value, Failure) or not sound_draw(args):
                check_reply(args, lane, self.reference.raw(*args))
            elif name == b"RANDOMKEY":
                expect(self.reference.ask("EXISTS", value) == 1, f"RANDOMKEY: {shown(value)} is no key in redis")
            else:
                self.check_draw(args, value)
        except CheckError as error:
            raise CheckError(f"{self.before(args)}{error}") from error
        self.history.append(args)
        return lane

    def check_draw(self, args: Command, value: Any) -> None:
        """Raise unless SPOP or SRANDMEMBER drew what it may."""
        name, key = args[0].upper(), args[1]
        text = f"{shown_command(args)}: got {shown_value(value)}"
        expect(isinstance(value, list) == (len(args) > 2), f"{text}, an array only with a count")
        drawn = value if isinstance(value, list) else [value]
        expect(all(isinstance(item, bytes) for item in drawn), text)
        size = self.reference.ask("SCARD", key)
        expect(not isinstance(size, Failure), f"{text}, redis answers {size!r}")
        count = int(args[2]) if len(args) > 2 else 1
        wanted = -count if count < 0 else min(count, size)
        expect(len(drawn) == wanted, f"{text}, expected {wanted} members")
        expect(count < 0 or len(set(drawn)) == len(drawn), f"{text}, a member twice")
        known = self.reference.ask("SMISMEMBER", key, *drawn)
        expect(all(known), f"{text}, a member that is not in the set of redis")
        if name == b"SPOP":
            self.reference.ask("SREM", key, *drawn)

    def scan(self, *args: object) -> list[bytes]:
        """Run a whole scan on both; raise when they find different things; return what the lane found."""
        lane, reference = scan_all(self.lane, command(*args)), scan_all(self.reference, command(*args))
        if isinstance(lane, bytes) or isinstance(reference, bytes):
            check_reply(command(*args), as_raw(lane), as_raw(reference))
            return []
        expect_equal(f"whole scan of {shown_command(command(*args))}", sorted(set(reference)), sorted(set(lane)))
        return lane

    def compare(self, what: str = "data set at the end") -> None:
        """Raise when the data sets of both differ."""
        ours = dump(self.lane)
        compare_dumps(what, dump(self.reference), ours, LIFE_TOLERANCE_MS)
        eventually(
            lambda: bool(self.lane.ask("DBSIZE") == len(ours)), 2.0, f"DBSIZE equals the {len(ours)} keys of KEYS *"
        )


def sound_draw(args: Command) -> bool:
    """True when redis draws: one key and at most a plain count."""
    return args[0].upper() == b"RANDOMKEY" or (len(args) <= 3 and all(COUNT.fullmatch(arg) for arg in args[2:]))


def as_raw(found: list[Any] | bytes) -> bytes:
    """Return the error of a scan, or an empty reply when there was none."""
    return found if isinstance(found, bytes) else b"*0\r\n"


def scan_all(client: Client, args: Command, most_calls: int = 100_000) -> list[Any] | bytes:
    """Follow the cursor of SCAN, SSCAN or HSCAN to its end; return the elements, or the raw error."""
    place = 1 if args[0].upper() == b"SCAN" else 2
    found: list[Any] = []
    words = list(args)
    for _ in range(most_calls):
        raw = client.raw(*words)
        value = decode(raw)
        if isinstance(value, Failure):
            return raw
        if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], list):
            raise CheckError(f"{shown_command(words)}: expected a cursor and an array, got {shown(raw)}")
        elements = value[1]
        if args[0].upper() == b"HSCAN":
            elements = list(zip(elements[::2], elements[1::2], strict=True))
        found += elements
        if value[0] == b"0":
            return found
        expect(value[0].isdigit() and int(value[0]) < 1 << 64, f"{shown_command(words)}: bad cursor {value[0]!r}")
        words[place] = value[0]
    raise CheckError(f"{shown_command(args)}: the scan did not end within {most_calls} calls")


# --- the laboratory --------------------------------------------------------------------------------------------------


@dataclass
class Lab:
    """Everything a check may use."""

    program: Path
    data: Path
    temporary: Path
    started: int = 0
    shared: dict[str, Server] = field(default_factory=dict)
    memo: dict[str, Any] = field(default_factory=dict)
    broken: bool = False

    def folder(self) -> Path:
        """Return a new folder."""
        self.started += 1
        path = self.temporary / str(self.started)
        path.mkdir()
        return path

    def lane(self, *options: str, listen: Sequence[str] = ()) -> Server:
        """Start the lane anew with options."""
        return start_lane(self.program, self.folder(), options, listen)

    def reference(self, *options: str) -> Server:
        """Start redis-server anew with options."""
        return start_reference(self.folder(), options)

    def shared_lane(self) -> Server:
        """Return the lane that most checks share; started anew when it died or a check failed."""
        lane = self.shared.get("lane")
        if lane is None or self.broken or not lane.alive():
            if lane is not None:
                lane.kill()
            self.shared.pop("lane", None)
            self.shared["lane"] = self.lane()
            self.broken = False
        return self.shared["lane"]

    def shared_reference(self) -> Server:
        """Return the reference that most checks share."""
        if "reference" not in self.shared or not self.shared["reference"].alive():
            self.shared["reference"] = self.reference()
        return self.shared["reference"]

    @contextmanager
    def pair(self) -> Iterator[Pair]:
        """Connect to both shared servers, emptied."""
        with self.joined(self.shared_lane(), self.shared_reference()) as pair:
            yield pair

    @contextmanager
    def joined(self, lane: Server, reference: Server) -> Iterator[Pair]:
        """Connect to two servers, emptied."""
        pair = Pair(lane, reference)
        try:
            pair.both("FLUSHALL")
            yield pair
        finally:
            pair.close()

    @contextmanager
    def own_pair(self, lane_options: Sequence[str] = (), reference_options: Sequence[str] = ()) -> Iterator[Pair]:
        """Start both servers anew for one check."""
        with (
            self.lane(*lane_options) as lane,
            self.reference(*reference_options) as reference,
            self.joined(lane, reference) as pair,
        ):
            yield pair

    def own_lane(self, *options: str) -> AbstractContextManager[Server]:
        """Start the lane anew for one check."""
        return self.lane(*options)

    def settle(self, *, failed: bool) -> None:
        """After a check: notice a lane that died, and begin with a new one after a failure."""
        lane = self.shared.get("lane")
        self.broken = failed or (lane is not None and not lane.alive())

    def close(self) -> None:
        """End everything."""
        for server in self.shared.values():
            server.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)


def outcome(check: Check, lab: Lab) -> str | None:
    """Run one check; return its failure as one line, or None."""
    failure = None
    try:
        check.run(lab)
        lane = lab.shared.get("lane")
        if lane is not None and not lane.alive():
            failure = lane.state()
    except (CheckError, WireError, StartError) as error:
        failure = str(error)
        lane = lab.shared.get("lane")
        if lane is not None and not lane.alive():
            failure = f"{failure}; {lane.state()}"
    except Exception as error:  # noqa: BLE001 - a lane may answer nonsense of a shape no check foresaw
        failure = f"{type(error).__name__}: {error}"
    with contextlib.suppress(Exception):
        lab.settle(failed=failure is not None)
    return None if failure is None else " ".join(failure.split())


def eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Raise when a condition does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise CheckError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
