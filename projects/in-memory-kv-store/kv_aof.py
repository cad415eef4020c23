"""The append-only file: what is written to it, and that redis and the lane read each other's."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from kv_checks import CheckError, Checks, Dump, Lab, compare_dumps, dump, eventually, expect, expect_equal
from kv_info import info
from kv_picks import STREAMS, Picker, stream
from kv_servers import Server
from kv_wire import Client, Command, command, encode, reply_end, shown, shown_command

STREAM_COMMANDS = 1200
MOMENT_TOLERANCE_MS = 3000
FIRST_MOMENT = 10**12
NOISE = {b"SELECT", b"MULTI", b"EXEC"}
TOOL_SECONDS = 20.0

checks = Checks()


# --- files -----------------------------------------------------------------------------------------------------------


def parse_aof(data: bytes) -> list[tuple[int, Command]]:
    """Return the commands of an append-only file with their positions; raise at the first byte that is wrong."""
    found, position = [], 0
    while position < len(data):
        start = position
        if data[start : start + 1] == b"#":  # an annotation of redis
            position = data.index(b"\n", start) + 1
            continue
        end = reply_end(data, start)
        expect(end > 0 and data[start : start + 1] == b"*", f"no whole command at byte {start}: {shown(data[start:])}")
        words, place = [], data.index(b"\r\n", start) + 2
        while place < end:
            expect(data[place : place + 1] == b"$", f"no argument at byte {place}")
            line_end = data.index(b"\r\n", place)
            length = int(data[place + 1 : line_end])
            words.append(data[line_end + 2 : line_end + 2 + length])
            place = line_end + 4 + length
        found.append((start, tuple(words)))
        position = end
    return found


def effects(data: bytes) -> list[Command]:
    """Return what an append-only file does: upper-case names, without SELECT and transactions, UNLINK as DEL."""
    found = []
    for _, args in parse_aof(data):
        name = args[0].upper()
        if name not in NOISE:
            found.append((b"DEL" if name == b"UNLINK" else name, *args[1:]))
    return found


def redis_files(folder: Path) -> bytes:
    """Return the whole append-only log of a redis-server that ran in a folder: its base and its increments."""
    log = folder / "appendonlydir"
    manifest = (log / "appendonly.aof.manifest").read_text()
    return b"".join((log / line.split()[1]).read_bytes() for line in manifest.splitlines() if " type h" not in line)


def load_in_redis(lab: Lab, data: bytes) -> Server:
    """Start redis-server with a file as its one increment."""
    folder = lab.folder()
    log = folder / "appendonlydir"
    log.mkdir()
    (log / "appendonly.aof.1.incr.aof").write_bytes(data)
    (log / "appendonly.aof.manifest").write_text("file appendonly.aof.1.incr.aof seq 1 type i\n")
    return lab.reference("--appendonly", "yes", "--dir", str(folder))


def redis_check_aof(path: Path) -> tuple[int, str]:
    """Return the verdict of redis-check-aof on a file."""
    words = ["redis-check-aof", str(path)]
    run = subprocess.run(words, capture_output=True, timeout=TOOL_SECONDS, check=False)
    return run.returncode, (run.stdout + run.stderr).decode(errors="replace")


def lane_check_aof(lab: Lab, path: Path) -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr of the lane's own check of a file."""
    run = subprocess.run(
        [str(lab.program), "--check-aof", str(path)], capture_output=True, timeout=TOOL_SECONDS, check=False
    )
    return run.returncode, run.stdout.decode(errors="replace"), run.stderr.decode(errors="replace")


@contextmanager
def logging_lane(lab: Lab, path: Path, fsync: str = "always", *options: str) -> Iterator[tuple[Server, Client]]:
    """Start the lane with an append-only file."""
    with lab.own_lane("--appendonly", str(path), "--appendfsync", fsync, *options) as lane, lane.client() as client:
        yield lane, client


def end_well(lane: Server) -> None:
    """End a lane by SIGTERM and insist on exit code 0."""
    expect_equal("exit code after SIGTERM", 0, lane.terminate())


def dump_after_start(lab: Lab, path: Path) -> Dump:
    """Start the lane on a file and return its data set."""
    with logging_lane(lab, path) as (_, client):
        return dump(client)


# --- round trips -----------------------------------------------------------------------------------------------------


def random_commands(kind: str, seed: int) -> list[Command]:
    """Return a random stream."""
    return stream(STREAMS[kind], Picker(f"aof {kind} {seed}", keys=10, nasty=0.02), STREAM_COMMANDS)


def reload(kind: str, lab: Lab) -> None:
    """After a random stream: end, start again, the same data to the millisecond; redis-check-aof and redis agree."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path, "everysec") as (lane, client):
        commands = random_commands(kind, 1)
        for start in range(0, len(commands), 200):
            client.pipeline(commands[start : start + 200])
        expected = dump(client)
        end_well(lane)
    expect(len(expected) > 3, f"only {len(expected)} keys are left of the stream")
    compare_dumps("data set after a restart", expected, dump_after_start(lab, path))
    code, text = redis_check_aof(path)
    expect(code == 0, f"redis-check-aof ends with {code}: {text!r}")
    data = path.read_bytes()
    with load_in_redis(lab, data) as reference, reference.client() as client:
        compare_dumps("data set in redis-server", expected, dump(client))
    code, stdout, stderr = lane_check_aof(lab, path)
    expect_equal("--check-aof", (0, f"ok, {len(parse_aof(data))} commands\n", ""), (code, stdout, stderr))


def load_from_redis(kind: str, lab: Lab) -> None:
    """A log that redis-server wrote loads in the lane with the same data."""
    folder = lab.folder()
    with lab.reference("--appendonly", "yes", "--dir", str(folder)) as reference, reference.client() as client:
        commands = random_commands(kind, 2)
        for start in range(0, len(commands), 200):
            client.pipeline(commands[start : start + 200])
        expected = dump(client)
        reference.terminate()
    path = lab.folder() / "kv.aof"
    path.write_bytes(redis_files(folder))
    compare_dumps("data set of redis's log in the lane", expected, dump_after_start(lab, path))


for stream_kind in STREAMS:
    checks.add(f"aof/reload/{stream_kind}", partial(reload, stream_kind))
    checks.add(f"aof/from-redis/{stream_kind}", partial(load_from_redis, stream_kind))


@checks.named("aof/from-redis/transactions")
def redis_transactions(lab: Lab) -> None:
    """Redis wraps transactions in MULTI and EXEC in its log; the lane reads them."""
    folder = lab.folder()
    with lab.reference("--appendonly", "yes", "--dir", str(folder)) as reference, reference.client() as client:
        for n in range(50):
            client.pipeline([command("MULTI"), command("SET", f"k{n}", n), command("INCR", "c"), command("EXEC")])
        expected = dump(client)
        reference.terminate()
    path = lab.folder() / "kv.aof"
    path.write_bytes(redis_files(folder))
    expect(b"MULTI" in path.read_bytes(), "redis wrote no MULTI")
    compare_dumps("data set of redis's log in the lane", expected, dump_after_start(lab, path))


@checks.named("aof/reload/binary-and-huge")
def reload_binary(lab: Lab) -> None:
    """Keys of any byte, empty ones, and values of 2 MB survive."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path) as (lane, client):
        client.pipeline([command("SET", bytes([n]), bytes([n]) * n) for n in range(256)])
        client.ask("SET", "", b"\r\n*3\r\n$3\r\n")
        client.ask("SET", "huge", bytes(n % 251 for n in range(2 << 20)))
        client.ask("HSET", "hash", "", "", "\r\n", b"\x00" * 100_000)
        expected = dump(client)
        end_well(lane)
    compare_dumps("data set after a restart", expected, dump_after_start(lab, path))


@checks.named("aof/reload/transactions")
def reload_transactions(lab: Lab) -> None:
    """What EXEC did survives, what DISCARD dropped does not come back."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path) as (lane, client):
        multi = [
            command("MULTI"),
            command("SET", "a", 1),
            command("RPUSH", "a", 1),
            command("INCR", "a"),
            command("EXEC"),
        ]
        client.pipeline(multi)
        client.pipeline([command("MULTI"), command("SET", "b", 1), command("DISCARD")])
        client.pipeline([command("MULTI"), command("SET", "c", 1), command("NOSUCH"), command("EXEC")])
        expected = dump(client)
        lane.kill()
    compare_dumps("data set after kill -9", expected, dump_after_start(lab, path))
    expect_equal("keys", [b"a"], sorted(expected))


@checks.named("aof/reload/shutdown-command")
def reload_shutdown(lab: Lab) -> None:
    """SHUTDOWN ends with exit code 0 and keeps everything, under every fsync policy."""
    for fsync in ("always", "everysec", "no"):
        path = lab.folder() / "kv.aof"
        with logging_lane(lab, path, fsync) as (lane, client):
            client.pipeline([command("SET", f"k{n}", n) for n in range(1000)])
            client.send(encode(command("SHUTDOWN", "NOSAVE")))
            data, closed = client.until_closed(client.timeout_seconds)
            expect_equal("reply to SHUTDOWN", b"", data)
            expect(closed, "SHUTDOWN does not close the connection")
            expect_equal("exit code after SHUTDOWN", 0, lane.wait())
        expect_equal(f"keys after SHUTDOWN under {fsync}", 1000, len(dump_after_start(lab, path)))


@checks.named("aof/reload/flush")
def reload_flush(lab: Lab) -> None:
    """FLUSHALL is in the log."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path) as (lane, client):
        client.pipeline([command("SET", f"k{n}", n) for n in range(100)])
        client.pipeline([command("FLUSHALL"), command("SET", "only", 1)])
        end_well(lane)
    expect_equal("keys", [b"only"], sorted(dump_after_start(lab, path)))


@checks.named("aof/reload/deadlines-that-passed")
def reload_deadlines(lab: Lab) -> None:
    """Keys whose time came while the store was down are gone, the others keep their moment."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path) as (lane, client):
        client.pipeline([command("SET", f"soon{n}", n, "PX", 400) for n in range(100)])
        client.pipeline([command("SET", f"later{n}", n, "EX", 1000 + n) for n in range(100)])
        client.pipeline([command("RPUSH", "soonlist", 1), command("PEXPIRE", "soonlist", 400)])
        expected = {key: entry for key, entry in dump(client).items() if key.startswith(b"later")}
        end_well(lane)
    time.sleep(0.5)
    compare_dumps("data set after a restart", expected, dump_after_start(lab, path))


@checks.named("aof/reload/changed-before-they-died")
def reload_changed(lab: Lab) -> None:
    """The log is replayed as it was written: a key is dead only at its end, not in the middle of the replay.

    Whoever drops dead keys while replaying makes INCR, RPUSH or SET KEEPTTL create an immortal key, and loses what
    PERSIST had saved.
    """
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path) as (lane, client):
        for line in CHANGED_LINES:
            client.ask(*line.split())
        lane.kill()
    expect(b"saved" in path.read_bytes(), "the log does not have what was written")
    time.sleep(CHANGED_LIFE_MS / 1000 + 0.1)
    left = dump_after_start(lab, path)
    expect_equal(
        "keys that PERSIST or a longer life saved", [b"longer", b"moved", b"saved", b"saved-list"], sorted(left)
    )
    expect_equal("content of the saved list", [b"a", b"b"], left[b"saved-list"][1])


CHANGED_LIFE_MS = 600
CHANGED_LINES = [
    line.replace("LIFE", str(CHANGED_LIFE_MS))
    for line in (
        *("SET n 5 PX LIFE", "INCR n", "SET f 1.5 PX LIFE", "INCRBYFLOAT f 0.25", "SET s a PX LIFE", "APPEND s b"),
        *("SET r a PX LIFE", "SETRANGE r 3 x", "RPUSH l a", "PEXPIRE l LIFE", "RPUSH l b", "HSET h f v"),
        *("PEXPIRE h LIFE", "HINCRBY h n 1", "SADD t a", "PEXPIRE t LIFE", "SADD t b", "ZADD z 1 a", "PEXPIRE z LIFE"),
        *("ZINCRBY z 1 b", "SET k a PX LIFE", "SET k b KEEPTTL", "SET old a PX LIFE", "RENAME old new"),
        *("SET c a PX LIFE", "COPY c c2", "SET saved a PX LIFE", "PERSIST saved", "RPUSH saved-list a"),
        *("PEXPIRE saved-list LIFE", "RPUSH saved-list b", "PERSIST saved-list", "SET longer a PX LIFE"),
        *("PEXPIRE longer 100000", "SET x a PX LIFE", "PERSIST x", "RENAME x moved"),
    )
]


@checks.named("aof/created-when-absent")
def created_when_absent(lab: Lab) -> None:
    """An absent file is created, an empty one is a store without keys."""
    path = lab.folder() / "new.aof"
    with logging_lane(lab, path) as (lane, client):
        expect(path.exists(), "the file is not created at the start")
        expect_equal("DBSIZE", 0, client.ask("DBSIZE"))
        expect_equal("CONFIG GET appendonly", [b"appendonly", b"yes"], client.ask("CONFIG", "GET", "appendonly"))
        expect_equal("CONFIG GET appendfsync", [b"appendfsync", b"always"], client.ask("CONFIG", "GET", "appendfsync"))
        expect_equal("INFO aof_enabled", "1", info(client, "persistence")["aof_enabled"])
        end_well(lane)
    expect_equal("keys", {}, dump_after_start(lab, path))


# --- what is written -------------------------------------------------------------------------------------------------

FORMS_TABLE = """
set: SET k v; SET k w XX; SET k x NX; SET absent x XX; SETNX k z; SETNX new z
set-life: SET k v EX 1000; SET k v PX 1000000; SET k v EXAT 4102444800; SET k v PXAT 4102444800000
set-life-and-option: SET k v; SET k w XX EX 1000; SET k x KEEPTTL; SET n v NX PX 1000000
set-get: SET k v; SET k w GET; SET k x GET EX 1000
setex: SETEX k 1000 v; PSETEX k 1000000 v
getset-getdel: SET k v; GETSET k w; GETDEL k; GETDEL k
getex: SET k v; GETEX k; GETEX k EX 1000; GETEX k PERSIST; GETEX k PERSIST; GETEX k PXAT 4102444800000
expire: SET k v; EXPIRE k 1000; PEXPIRE k 1000000; EXPIREAT k 4102444800; PEXPIREAT k 4102444800000
expire-option: SET k v; EXPIRE k 1000 XX; EXPIRE k 1000 NX; EXPIRE k 10 GT; EXPIRE absent 10
expire-past: SET k v; EXPIRE k 0; SET k v; EXPIREAT k 1; SET k v; PEXPIRE k -1
persist: SET k v EX 1000; PERSIST k; PERSIST k; PERSIST absent
counters: INCR n; INCRBY n 5; DECR n; DECRBY n 2; INCRBY n abc
incrbyfloat: INCRBYFLOAT n 1.5; INCRBYFLOAT n 0.25; SET m 1 EX 1000; INCRBYFLOAT m 0.5
append-setrange: APPEND k v; SETRANGE k 3 x; SETRANGE absent 0 ''
mset: MSET a 1 b 2; MSETNX a 3 c 4; MSETNX d 3 e 4
del: MSET a 1 b 2 c 3; DEL a absent; UNLINK b; DEL absent; UNLINK absent
rename-copy: SET a 1; RENAME a b; RENAMENX b c; COPY c d; COPY c d; COPY c d REPLACE; COPY x y
lists: RPUSH l a b c; LPUSH l d; LPUSHX l e; RPUSHX absent e; LPOP l; RPOP l 2; LPOP absent
lists-inside: RPUSH l a b a c; LSET l 0 x; LINSERT l BEFORE b y; LREM l 0 a; LREM l 0 absent; LTRIM l 0 1
lists-moved: RPUSH l a b c; LMOVE l m LEFT RIGHT; RPOPLPUSH l m; RPOPLPUSH absent m
hashes: HSET h a 1 b 2; HSETNX h a 9; HSETNX h c 3; HMSET h d 4; HDEL h a absent; HDEL h absent
hash-counters: HINCRBY h n 5; HINCRBYFLOAT h f 1.5; HINCRBYFLOAT h f 0.25
sets: SADD t a b; SADD t a; SREM t b absent; SREM t absent; SADD u x y; SMOVE u t x; SMOVE u t absent
spop: SADD t a; SPOP t; SPOP t; SADD u a b c; SPOP u 5; SPOP u 2; SPOP absent
zsets: ZADD z 1 a 2 b; ZADD z 1 a; ZADD z XX 5 absent; ZADD z GT 9 a; ZINCRBY z 1.5 a; ZREM z b absent
zset-pops: ZADD z 1 a 2 b 3 c; ZPOPMIN z; ZPOPMAX z 5; ZPOPMIN z
flush: SET k v; FLUSHDB; SET k v; FLUSHALL
reads: SET k v; GET k; TTL k; TYPE k; EXISTS k; TOUCH k; KEYS *; RANDOMKEY; PING; TIME
errors: SET k v; LPUSH k x; INCR k; SET k; NOSUCH; EXPIRE k abc; HINCRBY k f 1
transaction: MULTI; SET a 1; GET a; INCR a; EXEC; MULTI; SET b 1; DISCARD
"""


def parse_forms(table: str) -> dict[str, list[str]]:
    """Return the commands of every form; a line that begins with a space goes on."""
    lines = table.strip().replace("\n ", " ").split("\n")
    pairs = (line.split(":", 1) for line in lines)
    return {name: [text.strip() for text in commands.split(";")] for name, commands in pairs}


FORMS = parse_forms(FORMS_TABLE)


def all_forms(lab: Lab) -> dict[str, tuple[list[Command], list[Command]]]:
    """Run every form on the lane and on redis once; return what each wrote for it."""
    memo = lab.memo.get("forms")
    if memo is None:
        path, folder = lab.folder() / "kv.aof", lab.folder()
        fsync = ("--appendfsync", "always")
        with (
            lab.lane("--appendonly", str(path), *fsync) as lane,
            lab.reference("--appendonly", "yes", "--dir", str(folder), *fsync) as reference,
            lab.joined(lane, reference) as pair,
        ):
            for name, lines in FORMS.items():
                for line in ["FLUSHALL", f"SET marker {name}", "DEL marker", *lines]:
                    args = tuple(word.strip("'").encode() for word in line.split(" "))
                    pair.lane.raw(*args)
                    pair.reference.raw(*args)
            memo = (by_marker(path.read_bytes()), by_marker(redis_files(folder)))
        lab.memo["forms"] = memo
    ours, theirs = memo
    return {name: (ours.get(name.encode(), []), theirs.get(name.encode(), [])) for name in FORMS}


def by_marker(data: bytes) -> dict[bytes, list[Command]]:
    """Split the effects of a file where a marker was set."""
    found: dict[bytes, list[Command]] = {}
    current: list[Command] = []
    for args in effects(data):
        if args[:2] == (b"SET", b"marker"):
            current = found.setdefault(args[2], [])
        elif args[:2] != (b"DEL", b"marker"):
            current.append(args)
    for commands in found.values():
        while commands and commands[-1] == (b"FLUSHALL",):  # the one that begins the next form
            commands.pop()
    return found


def form(name: str, lab: Lab) -> None:
    """The lane logs the same effects as redis: absolute times, results instead of computations, nothing in vain."""
    ours, theirs = all_forms(lab)[name]
    if len(ours) != len(theirs) or not all(map(same_effect, theirs, ours)):
        raise CheckError(f"redis logs [{shown_effects(theirs)}], got [{shown_effects(ours)}]")


def same_effect(expected: Command, got: Command) -> bool:
    """True when two logged commands are the same, times within what may pass between the two servers."""
    return len(expected) == len(got) and all(map(same_word, expected, got))


def same_word(expected: bytes, got: bytes) -> bool:
    """True when two words of logged commands are the same."""
    if expected == got or expected.upper() == got.upper() == b"PXAT":
        return True
    try:
        one, other = int(expected), int(got)
    except ValueError:
        return False
    return min(one, other) > FIRST_MOMENT and abs(one - other) < MOMENT_TOLERANCE_MS


def shown_effects(commands: Sequence[Command]) -> str:
    """Return logged commands for a failure text."""
    return "; ".join(shown_command(args) for args in commands)


for form_name in FORMS:
    checks.add(f"aof/form/{form_name}", partial(form, form_name))


@checks.named("aof/form/no-relative-time")
def no_relative_time(lab: Lab) -> None:
    """A random stream leaves no command in the log whose effect depends on when or how often it is replayed."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path) as (lane, client):
        for kind in ("strings", "keys", "sets"):
            client.pipeline(random_commands(kind, 3))
        end_well(lane)
    for args in effects(path.read_bytes()):
        text = shown_command(args)
        expect(
            args[0] not in {b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"SETEX", b"PSETEX", b"GETEX", b"SPOP"},
            f"logged: {text}",
        )
        expect(args[0] not in {b"INCRBYFLOAT", b"HINCRBYFLOAT", b"GETDEL", b"GETSET"}, f"logged: {text}")
        if args[0] == b"SET":
            options = {word.upper() for word in args[3:]}
            expect(not options & {b"EX", b"PX", b"EXAT", b"GET"}, f"logged: {text}")


@checks.named("aof/expired-as-del")
def expired_as_del(lab: Lab) -> None:
    """A key that expired, met by a command or by the cleaner, is logged as DEL."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path) as (lane, client):
        client.pipeline([command("SET", f"lazy{n}", n, "PX", 20) for n in range(50)])
        client.pipeline([command("SET", f"active{n}", n, "PX", 20) for n in range(50)])
        time.sleep(0.03)
        client.pipeline([command("GET", f"lazy{n}") for n in range(50)])
        eventually(lambda: bool(client.ask("DBSIZE") == 0), 10, "dead keys are removed")
        end_well(lane)
    gone = [args[1] for args in effects(path.read_bytes()) if args[0] == b"DEL"]
    wanted = sorted(f"{kind}{n}".encode() for kind in ("lazy", "active") for n in range(50))
    expect_equal("keys logged as DEL", wanted, sorted(gone))


@checks.named("aof/evicted-as-del")
def evicted_as_del(lab: Lab) -> None:
    """Evicted keys are logged as DEL: redis, loading the log without a limit, has exactly the keys that are left."""
    path = lab.folder() / "kv.aof"
    options = ("--maxmemory", "2mb", "--maxmemory-policy", "allkeys-random")
    with logging_lane(lab, path, "everysec", *options) as (lane, client):
        for start in range(0, 14_000, 1000):
            client.pipeline([command("SET", f"k{n}", "x" * 200) for n in range(start, start + 1000)])
        client.ask("CONFIG", "SET", "maxmemory", 0)  # redis evicts before reads too; what is left shall stay
        expected = dump(client)
        end_well(lane)
    expect(len(expected) < 12_000, f"{len(expected)} of 14,000 keys fitted into 2 MB: no eviction")
    with load_in_redis(lab, path.read_bytes()) as reference, reference.client() as client:
        compare_dumps("data set in redis-server", expected, dump(client))
