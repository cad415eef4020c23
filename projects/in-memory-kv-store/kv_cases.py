"""Differential checks: the scripts of cases_*.py, and what holds for every command (arity, types, memory, expiry).

A script has one check per `[name]`; a line is one command in redis-cli's quoting, asked of the lane and of
redis-server. At the end of a check both data sets are compared. Directives:

    @2 COMMAND       ask on a second connection
    @scan COMMAND    follow the cursor to its end and compare what was found, without order
    @kind COMMAND    only the kind of the reply (status, error, integer, bulk, array, nil) must agree
    @like TEXT = COMMAND   both replies must begin with TEXT
    @sleep MS        wait
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import cases_connection
import cases_hashes
import cases_keys
import cases_lists
import cases_sets
import cases_strings
import cases_transactions
import cases_zsets
from kv_checks import Checks, Lab, Pair, expect
from kv_picks import DRAWN, GENERATORS, STREAMS, Picker, nasty_command, stream
from kv_wire import Command, command, decode, shown, shown_command

SCRIPTS = [
    *(
        cases_strings,
        cases_keys,
        cases_lists,
        cases_hashes,
        cases_sets,
        cases_zsets,
        cases_connection,
        cases_transactions,
    ),
]
STREAM_COMMANDS = 2500
STREAM_SEEDS = 3
BATCHES = [1, 2, 7, 30, 100, 400]
FUZZ_ROUNDS = 4
FUZZ_COMMANDS = 50
ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "b": b"\b", "a": b"\a"}

checks = Checks()


# --- scripts ---------------------------------------------------------------------------------------------------------


def split_line(line: str) -> Command:
    r"""Split a line as redis-cli does: words, 'literal', "with \n and \xHH"."""
    words, position = [], 0
    while position < len(line):
        if line[position] == " ":
            position += 1
            continue
        word = bytearray()
        while position < len(line) and line[position] != " ":
            if line[position] == "'":
                end = line.index("'", position + 1)
                word += line[position + 1 : end].encode()
                position = end + 1
            elif line[position] == '"':
                position = quoted(line, position + 1, word)
            else:
                word += line[position].encode()
                position += 1
        words.append(bytes(word))
    return tuple(words)


def quoted(line: str, position: int, word: bytearray) -> int:
    """Add what stands in double quotes to a word; return the position behind."""
    while line[position] != '"':
        if line[position] != "\\":
            word += line[position].encode()
            position += 1
        elif line[position + 1] == "x":
            word += bytes.fromhex(line[position + 2 : position + 4])
            position += 4
        else:
            word += ESCAPES.get(line[position + 1], line[position + 1].encode())
            position += 2
    return position + 1


def scripts(module: ModuleType) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the lines of every check of a module."""
    name, lines = "", list[str]()
    for line in module.SCRIPTS.splitlines():
        if line.startswith("[") and line.endswith("]"):
            if name:
                yield name, lines
            name, lines = line[1:-1], []
        elif line and not line.startswith("#"):
            lines.append(line)
    yield name, lines


def run_script(lines: list[str], lab: Lab) -> None:
    """Ask both servers every line."""
    with lab.pair() as pair:
        other: Pair | None = None
        try:
            for line in lines:
                if line.startswith("@2 "):
                    other = other or pair.second()
                    run_line(line[3:], other)
                else:
                    run_line(line, pair)
        finally:
            if other:
                other.close()
        pair.compare()


def run_line(line: str, pair: Pair) -> None:
    """Ask both servers one line."""
    if not line.startswith("@"):
        pair.same(*split_line(line))
        return
    directive, _, rest = line.partition(" ")
    if directive == "@sleep":
        time.sleep(int(rest) / 1000)
    elif directive == "@scan":
        pair.scan(*split_line(rest))
    elif directive == "@kind":
        args = split_line(rest)
        same_kind(args, pair.lane.raw(*args), pair.reference.raw(*args))
    elif directive == "@like":
        start, _, text = rest.partition(" = ")
        same_start(start.encode(), split_line(text), pair)
    else:
        raise ValueError(line)


def kind_of(raw: bytes) -> bytes:
    """Name the kind of a reply."""
    return b"nil" if raw in {b"$-1\r\n", b"*-1\r\n"} else raw[:1]


def same_kind(args: Command, lane: bytes, reference: bytes) -> None:
    """Raise when two replies are of different kinds."""
    expect(
        kind_of(lane) == kind_of(reference),
        f"{shown_command(args)}: redis answers {shown(reference)}, got another kind of reply: {shown(lane)}",
    )


def same_start(start: bytes, args: Command, pair: Pair) -> None:
    """Raise unless both replies begin with a text."""
    for name, client in (("redis", pair.reference), ("the lane", pair.lane)):
        raw = client.raw(*args)
        expect(raw.startswith(start), f"{shown_command(args)}: expected {shown(start)}..., {name} answers {shown(raw)}")


for script in SCRIPTS:
    for case, case_lines in scripts(script):
        checks.add(f"{script.__name__.removeprefix('cases_')}/{case}", partial(run_script, case_lines))


# --- every command ---------------------------------------------------------------------------------------------------

SAMPLES = """
GET K
SET K v GET
SET K v
SETNX K v
SETEX K 1000 v
PSETEX K 1000000 v
GETSET K v
GETDEL K
GETEX K
GETEX K EX 1000
MGET K other
MSET K v k2 v
MSETNX K v k2 v
INCR K
DECR K
INCRBY K 5
DECRBY K 5
INCRBYFLOAT K 1.5
APPEND K v
STRLEN K
GETRANGE K 0 -1
SETRANGE K 2 v
SETRANGE K 0 ""
LPUSH K a b
RPUSH K a b
LPUSHX K a
RPUSHX K a
LPOP K
LPOP K 2
LPOP K 0
RPOP K
RPOP K 2
LLEN K
LRANGE K 0 -1
LINDEX K 0
LSET K 0 v
LINSERT K BEFORE a v
LREM K 0 a
LTRIM K 0 0
LMOVE K other LEFT RIGHT
LMOVE list K LEFT RIGHT
LMOVE K K LEFT RIGHT
RPOPLPUSH K other
RPOPLPUSH list K
HSET K f v
HSETNX K f v
HMSET K f v
HGET K f
HMGET K f g
HDEL K f
HEXISTS K f
HLEN K
HSTRLEN K f
HKEYS K
HVALS K
HGETALL K
HINCRBY K n 1
HINCRBYFLOAT K n 1.5
HSCAN K 0
SADD K m
SREM K m
SISMEMBER K m
SMISMEMBER K m x
SMEMBERS K
SCARD K
SPOP K
SPOP K 1
SRANDMEMBER K
SRANDMEMBER K 1
SINTER K set
SINTER set K
SUNION K set
SUNION set K
SDIFF K set
SDIFF set K
SSCAN K 0
SMOVE K other m
SMOVE set K m
SMOVE set K absent
ZADD K 1 m
ZADD K INCR 1 m
ZPOPMIN K
ZPOPMIN K 1
ZPOPMAX K
ZPOPMAX K 1
ZSCORE K m
ZCARD K
ZRANGE K 0 -1
ZRANGE K 0 -1 WITHSCORES
ZRANGEBYSCORE K -inf +inf
ZREM K m
ZINCRBY K 1 m
ZRANK K m
DEL K
UNLINK K
EXISTS K K
EXPIRE K 1000
PEXPIRE K 1000000
EXPIREAT K 4102444800
PEXPIREAT K 4102444800000
TTL K
PTTL K
EXPIRETIME K
PEXPIRETIME K
PERSIST K
TYPE K
RENAME K other
RENAME list K
RENAMENX K other
RENAMENX list K
COPY K other
COPY list K
COPY list K REPLACE
TOUCH K
KEYS *
"""
KEYLESS = [
    *("ECHO", "SELECT", "CLIENT", "CLIENT SETNAME", "CLIENT GETNAME", "CLIENT ID", "CLIENT LIST"),
    *("CLIENT NO-EVICT", "COMMAND COUNT", "CONFIG", "CONFIG GET", "CONFIG SET", "CONFIG RESETSTAT", "OBJECT"),
    *("OBJECT ENCODING", "MEMORY", "MEMORY USAGE", "TIME", "DBSIZE", "SCAN", "RANDOMKEY", "KEYS", "MULTI", "EXEC"),
    *("DISCARD", "WATCH", "UNWATCH", "RESET", "BGREWRITEAOF"),
]
TYPES = {
    "string": ["SET K text"],
    "list": ["RPUSH K a b c"],
    "hash": ["HSET K f v n 5"],
    "set": ["SADD K m x"],
    "zset": ["ZADD K 1 m 2 x"],
}
OTHERS = ["RPUSH list a b", "SADD set m n"]


def by_command() -> dict[str, list[Command]]:
    """Return the sample calls of every command."""
    found: dict[str, list[Command]] = {}
    for line in SAMPLES.split("\n"):
        if line:
            args = split_line(line)
            found.setdefault(args[0].decode(), []).append(args)
    return found


def on_key(args: Command, key: bytes) -> Command:
    """Put a key where K stands."""
    return tuple(key if arg == b"K" else arg for arg in args)


def arity(name: str, lab: Lab) -> None:
    """A wrong number of arguments is refused with redis's text, and nothing is done."""
    with lab.pair() as pair:
        words = command(*name.split())
        known = pair.reference.ask("COMMAND", "INFO", b"|".join(words))[0]
        count = known[1]
        pair.both("SET", "x", "1")
        wrong = list(range(len(words), abs(count))) + ([count + 1, count + 2] if count > 0 else [])
        for length in wrong:
            pair.same(*words, *["x"] * (length - len(words)))
            pair.same(*(word.lower() for word in words), *["x"] * (length - len(words)))
        pair.compare()


def wrong_type(samples: list[Command], lab: Lab) -> None:
    """Every command meets a key of each type, and an absent one."""
    with lab.pair() as pair:
        for kind, make in {**TYPES, "absent": []}.items():
            for sample in samples:
                pair.both("FLUSHALL")
                for line in [*make, *OTHERS]:
                    pair.both(*split_line(line))
                ask_sample(pair, sample)
                pair.compare(f"data set after {shown_command(sample)} on K of type {kind}")


def ask_sample(pair: Pair, sample: Command) -> None:
    """Ask one sample; the two scans by following them."""
    if sample[0] in {b"HSCAN", b"SSCAN"}:
        pair.scan(*sample)
    else:
        pair.same(*sample)


def out_of_memory(samples: list[Command], lab: Lab) -> None:
    """Over the limit a command is refused exactly when redis refuses it, alone and while queueing."""
    with lab.pair() as pair:
        for line in ["SET string text", "RPUSH list a b", "HSET hash f v n 5", "SADD set m x", "ZADD zset 1 m 2 x"]:
            pair.same(*split_line(line))
        pair.same("CONFIG", "SET", "maxmemory-policy", "noeviction")
        pair.same("CONFIG", "SET", "maxmemory", "1")
        try:
            for sample in samples:
                for key in (b"string", b"list", b"hash", b"set", b"zset", b"absent"):
                    ask_sample(pair, on_key(sample, key))
            pair.same("MULTI")
            pair.same(*on_key(samples[0], b"absent"))
            same_kind((b"EXEC",), pair.lane.raw("EXEC"), pair.reference.raw("EXEC"))
        finally:
            pair.same("CONFIG", "SET", "maxmemory", "0")
        pair.compare()


def expired(samples: list[Command], lab: Lab) -> None:
    """A key whose time is over does not exist for any command, whether the cleaner met it or not."""
    with lab.pair() as pair:
        keys = []
        for kind, make in TYPES.items():
            for index, sample in enumerate(samples):
                keys.append((f"{kind}:{index}".encode(), kind, sample))
                pair.both(*on_key(split_line(make[0]), keys[-1][0]))
        for line in OTHERS:
            pair.both(*split_line(line))
        for key, _, _ in keys:
            pair.both("PEXPIRE", key, "1")
        time.sleep(0.006)
        for key, _, sample in keys:
            if sample[0] != b"KEYS":
                ask_sample(pair, on_key(sample, key))
        pair.same("KEYS", "*")
        pair.compare()


def fuzz(name: str, lab: Lab) -> None:
    """What a careless client sends is answered as redis answers it, and leaves the same data."""
    with lab.pair() as pair:
        picker = Picker(f"fuzz {name}", keys=2, members=6, nasty=0.5)
        for _ in range(FUZZ_ROUNDS):
            pair.both("FLUSHALL")
            pair.batch(prepared())
            run_commands(pair, [nasty_command(name, picker) for _ in range(FUZZ_COMMANDS)], FUZZ_COMMANDS)
            pair.compare()


def prepared() -> list[Command]:
    """Return commands that make one key of each kind."""
    return [
        command(*line.split())
        for line in (
            "SET s:0 Hello-World",
            "SET n:0 10",
            "SET n:1 3.5 EX 100000000",
            "RPUSH l:0 a b c a 5",
            "HSET h:0 m0 v 1 10 nm2 5 n3 1.5",
            "SADD t:0 m0 1 m2 3",
            "SADD t:1 1 3 5",
            "ZADD z:0 1 m0 2 1 2 m2 3.5 3",
            "EXPIRE z:0 200000000",
        )
    ]


# --- streams ---------------------------------------------------------------------------------------------------------


def run_commands(pair: Pair, commands: list[Command], batch: int) -> None:
    """Ask both servers commands in pipelines; what is drawn at random goes alone."""
    waiting: list[Command] = []
    for args in commands:
        if args[0].upper().decode("latin-1") in DRAWN:
            pair.batch(waiting)
            pair.drawn(args)
            waiting = []
        else:
            waiting.append(args)
        if len(waiting) >= batch:
            pair.batch(waiting)
            waiting = []
    pair.batch(waiting)


def random_stream(kind: str, seed: int, lab: Lab, *, keys: int = 6, members: int = 40) -> None:
    """A random stream of commands is answered as redis answers it, in pipelines of any length."""
    with lab.pair() as pair:
        picker = Picker(f"{kind} {seed} {keys} {members}", keys=keys, members=members, nasty=0.02)
        commands = stream(STREAMS[kind], picker, STREAM_COMMANDS)
        while commands:
            batch = picker.rng.choice(BATCHES)
            part, commands = commands[: batch * 4], commands[batch * 4 :]
            run_commands(pair, part, batch)
        pair.compare()


def transactions(seed: int, lab: Lab) -> None:
    """Random commands between MULTI and EXEC or DISCARD, sometimes refused while queueing, sometimes watched."""
    with lab.pair() as pair:
        other = pair.second()
        picker = Picker(f"transactions {seed}", keys=4, nasty=0.1)
        names = [name for name in GENERATORS if name not in {*DRAWN, *UNQUEUED}]
        for _ in range(250):
            if picker.chance(0.3):
                pair.same("WATCH", *(command(name)[0] for name in picker.some_keys("s")))
            if picker.chance(0.3):
                other.same("SET", picker.key("s"), picker.value())
            pair.same("MULTI")
            queued = [nasty_command(picker.rng.choice(names), picker) for _ in range(picker.rng.randint(0, 6))]
            if picker.chance(0.1):
                queued.append(command(*picker.rng.choice([["NOSUCH", "x"], ["GET"], ["MULTI"], ["WATCH", "x"]])))
            pair.batch(queued)
            if picker.chance(0.2):
                other.same("SET", picker.key("s"), picker.value())
            pair.same("DISCARD" if picker.chance(0.1) else "EXEC")
        other.close()
        pair.compare()


UNQUEUED = {
    *("SMEMBERS", "SINTER", "SUNION", "SDIFF", "HKEYS", "HVALS", "HGETALL", "KEYS"),
    *("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"),
}
"""Replies that two right servers may give differently; inside an EXEC they would be compared byte by byte."""


def binary_keys(lab: Lab) -> None:
    """Keys, members, fields and values of any byte, also empty ones, are kept apart."""
    with lab.pair() as pair:
        names = [b"", b"\x00", b"\x00\x00", b"a\x00b", b"a\x00c", b"\r\n", b"a b", *(bytes([n]) for n in range(256))]
        kinds: list[Callable[[bytes], Command]] = [
            lambda name: (b"SET", b"s" + name, name),
            lambda name: (b"SADD", b"set", name),
            lambda name: (b"HSET", b"hash", name, name[::-1]),
            lambda name: (b"ZADD", b"zset", b"1", name),
            lambda name: (b"RPUSH", b"list" + name, name, name),
            lambda name: (b"SET", name, name),
        ]
        pair.batch([make(name) for make in kinds for name in names])
        pair.batch([args for name in names for args in ((b"GET", name), (b"HGET", b"hash", name), (b"TYPE", name))])
        pair.compare()


def huge_values(lab: Lab) -> None:
    """Values of 3 MB go in and come out; also a key of 1 MB."""
    with lab.pair() as pair:
        random = Picker("huge").rng
        value, key = random.randbytes(3 << 20), random.randbytes(1 << 20)
        pair.same("SET", "huge", value)
        pair.same("GET", "huge")
        pair.same("STRLEN", "huge")
        pair.same("GETRANGE", "huge", 2_000_000, 2_000_100)
        pair.same("APPEND", "huge", b"tail" * 1000)
        pair.same("SETRANGE", "huge", 3_000_000, b"x" * 1000)
        pair.same("SETRANGE", "far", 4_000_000, b"end")
        pair.same("STRLEN", "far")
        pair.same("SET", key, "value of a long key")
        pair.same("GET", key)
        pair.same("RENAME", key, key + b"2")
        pair.same("RPUSH", "list", value, "x", value)
        pair.same("LRANGE", "list", 0, -1)
        pair.same("HSET", "hash", "f", value, value[: 1 << 20], "v")
        pair.same("SADD", "set", value, key)
        pair.same("SISMEMBER", "set", value)
        pair.same("ZADD", "zset", 1, key)
        pair.same("COPY", "huge", "huge2")
        pair.batch([(b"MGET", b"huge", b"huge2", b"absent"), (b"GET", b"huge2"), (b"PING",)])
        pair.batch([(b"ECHO", value), (b"SET", b"huge", value), (b"GETSET", b"huge", b"small"), (b"GETDEL", b"huge2")])
        pair.compare()


def long_pipeline(lab: Lab) -> None:
    """Five thousand commands in one piece, their replies read as they come."""
    with lab.pair() as pair:
        pair.batch([command("SET", f"k{n}", "v" * (n % 200)) for n in range(5_000)])
        pair.batch([command("GET", f"k{n}") for n in range(5_000)])
        pair.batch([command("INCR", "counter") for _ in range(5_000)])
        pair.batch([command("RPUSH", "list", *range(n % 5 + 1)) for n in range(2_000)])
        pair.batch([command("LRANGE", "list", 0, 600) for _ in range(40)])
        pair.compare()


def large_collections(lab: Lab) -> None:
    """Collections of twelve thousand elements grow, are read at their ends and in the middle, and shrink."""
    with lab.pair() as pair:
        count, step = 12_000, 1000
        for start in range(0, count, step):
            items = range(start, start + step)
            pair.batch(
                [
                    command("RPUSH", "list", *items),
                    command("SADD", "set", *(f"m{n}" for n in items)),
                    command("HSET", "hash", *(word for n in items for word in (f"f{n}", n))),
                    command("ZADD", "zset", *(word for n in items for word in (n * 7919 % count, f"m{n}"))),
                ]
            )
        picker = Picker("large")
        reads = [("LINDEX", "list"), ("ZRANK", "zset", "m"), ("HGET", "hash", "f"), ("SISMEMBER", "set", "m")]
        for _ in range(500):
            read, place = picker.rng.choice(reads), picker.rng.randrange(count)
            pair.history.clear()
            pair.same(read[0], read[1], place if len(read) == 2 else f"{read[2]}{place}")
        for first in (0, 5_950, 11_990):
            pair.same("LRANGE", "list", first, first + 60)
            pair.same("ZRANGE", "zset", first, first + 60, "WITHSCORES")
            pair.same("ZRANGEBYSCORE", "zset", first, first + 60)
        pair.same("LTRIM", "list", 1000, -1001)
        pair.batch([command(name, "list", 4_900) for name in ("LPOP", "RPOP")])
        pair.batch([command("SREM", "set", *(f"m{n}" for n in range(start, count, 11))) for start in range(10)])
        pair.batch([command("HDEL", "hash", *(f"f{n}" for n in range(start, count, 11))) for start in range(10)])
        pair.batch([command("ZREM", "zset", *(f"m{n}" for n in range(start, count, 11))) for start in range(10)])
        pair.compare()


def many_arguments(lab: Lab) -> None:
    """Commands of up to forty thousand arguments."""
    with lab.pair() as pair:
        numbers = range(20_000)
        pair.same("MSET", *(word for n in numbers for word in (f"k{n}", n)))
        pair.same("MGET", *(f"k{n}" for n in numbers))
        pair.same("EXISTS", *(f"k{n}" for n in numbers))
        pair.same("SADD", "set", *numbers)
        pair.same("SMISMEMBER", "set", *range(0, 40_000, 3))
        pair.same("HSET", "hash", *(word for n in numbers for word in (f"f{n}", n)))
        pair.same("HMGET", "hash", *(f"f{n}" for n in numbers))
        pair.same("RPUSH", "list", *numbers)
        pair.same("ZADD", "zset", *(word for n in numbers for word in (n / 8, f"m{n}")))
        pair.same("LRANGE", "list", 0, -1)
        pair.same("ZRANGE", "zset", 0, -1, "WITHSCORES")
        pair.same("SREM", "set", *range(0, 20_000, 2))
        pair.same("HDEL", "hash", *(f"f{n}" for n in range(0, 20_000, 2)))
        pair.same("ZREM", "zset", *(f"m{n}" for n in range(0, 20_000, 2)))
        pair.same("SCARD", "set")
        pair.same("HLEN", "hash")
        pair.same("ZCARD", "zset")
        pair.same("DEL", *(f"k{n}" for n in numbers))
        pair.same("DBSIZE")


def self_consistent_scan_error(lab: Lab) -> None:
    """A bad cursor or option is refused as redis refuses it, for all three scans."""
    with lab.pair() as pair:
        pair.both("SADD", "set", *range(3))
        pair.both("HSET", "hash", "f", "v")
        for start in (["SCAN"], ["SSCAN", "set"], ["HSCAN", "hash"], ["SSCAN", "absent"], ["HSCAN", "absent"]):
            for rest in ("abc", "-1", "", "1x", "18446744073709551616", "0 COUNT 0", "0 COUNT -5", "0 COUNT x"):
                scan_error(pair, [*start, *(rest.split(" "))])
            for rest in ("0 COUNT", "0 MATCH", "0 NOSUCH", "0 NOSUCH x", "0 MATCH * COUNT", "0 TYPE string x"):
                scan_error(pair, [*start, *rest.split(" ")])


def scan_error(pair: Pair, words: list[str]) -> None:
    """Ask a scan that both refuse, or that both answer."""
    args = command(*words)
    lane, reference = pair.lane.raw(*args), pair.reference.raw(*args)
    if lane.startswith(b"-") or reference.startswith(b"-"):
        expect(lane == reference, f"{shown_command(args)}: redis answers {shown(reference)}, got {shown(lane)}")
    else:
        decode(lane)
        expect(lane.startswith(b"*2"), f"{shown_command(args)}: got {shown(lane)}")


def add_tables() -> None:
    """Add the checks that are made for every command or every kind of stream."""
    samples = by_command()
    for name in sorted({*samples, *KEYLESS}):
        checks.add(f"arity/{name.lower().replace(' ', '-')}", partial(arity, name))
    for name, calls in samples.items():
        checks.add(f"types/{name.lower()}", partial(wrong_type, calls))
    for name, calls in samples.items():
        checks.add(f"out-of-memory/{name.lower()}", partial(out_of_memory, calls))
    for name, calls in samples.items():
        checks.add(f"expired/{name.lower()}", partial(expired, calls))
    for name in GENERATORS:
        checks.add(f"fuzz/{name.lower()}", partial(fuzz, name))
    # DBSIZE has no place in streams: redis counts dead keys until somebody meets them.
    for kind in STREAMS:
        for seed in range(1, STREAM_SEEDS + 1):
            checks.add(f"stream/{kind}-{seed}", partial(random_stream, kind, seed))
        checks.add(f"stream/{kind}-large", partial(random_stream, kind, 9, keys=1, members=3000))
        checks.add(f"stream/{kind}-many-keys", partial(random_stream, kind, 10, keys=500, members=5))
    for seed in range(1, STREAM_SEEDS + 1):
        checks.add(f"stream/transactions-{seed}", partial(transactions, seed))
    checks.add("data/binary-keys", binary_keys)
    checks.add("data/huge-values", huge_values)
    checks.add("data/long-pipeline", long_pipeline)
    checks.add("data/many-arguments", many_arguments)
    checks.add("data/large-collections", large_collections)
    checks.add("scan/refused", self_consistent_scan_error)


add_tables()
