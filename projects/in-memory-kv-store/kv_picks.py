"""Draws random commands: one generator a command, weights a data type.

`Picker` draws the arguments. With `nasty` above zero it also draws what a hostile or careless client sends: empty
keys, numbers at the borders, words where numbers belong, missing and further arguments. Lives are either over at
once or longer than any run, so that a random stream never depends on the clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from kv_wire import Command, command

FAR_SECONDS = 4_102_444_800
"""The year 2100."""
KINDS = "snlhtz"
"""Prefixes of keys: strings, numbers, lists, hashes, sets (t), sorted sets."""
LONG_BYTES = 5000
# Tables of values, not one a line.
# fmt: off
NASTY_INTEGERS = [
    "0", "-0", "+1", "01", "-1", " 1", "1 ", "1.0", "1e3", "0x10", "", "-", "abc", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "99999999999999999999", "4294967296",
    "2147483648", "-2147483649", "1\x00", "--1", "NaN",
]
NASTY_FLOATS = [
    "inf", "-inf", "+inf", "Infinity", "nan", "-nan", "", " 1", "1 ", "1e", ".", "1.5x", "abc", "1e400", "-1e400",
    "1e-400", "0x10", "-0", "-0.0", "1_0", "1,5", "+5", ".5", "5.", "1e5", "1E-5", "1\x00",
]
FLOATS = [
    "0", "1", "-1", "2", "10", "0.1", "0.2", "-0.3", "1.5", "3.14159", "100.001", "1e3", "2.5e-3", "123456.789",
    "-7.25", "0.000001", "5.0e0", "17", "1000000",
]
SCORES = [*FLOATS, "inf", "-inf", "1e20", "1e-20", "9007199254740993", "0.30000000000000004", "-0.0", "1e300", "4.5"]
WORDS = [
    "NX", "XX", "GT", "LT", "CH", "INCR", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "GET", "WITHSCORES", "REV", "COUNT",
    "MATCH", "TYPE", "REPLACE", "DB", "PERSIST", "BEFORE", "AFTER", "LEFT", "RIGHT", "", "foo",
]
BINARY = [b"", b"\x00", b"\r\n", b"a b", b"\xff\xfe", b"caf\xc3\xa9", b"$-1\r\n", b"*1\r\n", b"'", b'"', b"%s%n"]
TIMED = {b"SET", b"SETEX", b"PSETEX", b"GETEX", b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT"}
# fmt: on


class Picker:
    """Draws arguments."""

    series = 1
    """Another number gives other random checks (--series)."""

    def __init__(self, seed: object, *, keys: int = 6, members: int = 40, nasty: float = 0.0) -> None:
        """Start a sequence that a seed defines."""
        self.rng = random.Random(f"in-memory-kv-store {Picker.series} {seed}")
        self.keys = keys
        self.members = members
        self.nasty = nasty

    def chance(self, probability: float) -> bool:
        """Return True so often."""
        return self.rng.random() < probability

    def key(self, kind: str) -> bytes:
        """Return a key, mostly of a kind."""
        if self.chance(self.nasty * 0.1):
            return self.rng.choice(BINARY)
        if self.chance(0.02 + self.nasty * 0.1):
            kind = self.rng.choice(KINDS)
        return b"%s:%d" % (kind.encode(), self.rng.randrange(self.keys))

    def some_keys(self, kind: str, most: int = 4) -> list[bytes]:
        """Return one or more keys."""
        return [self.key(kind) for _ in range(self.rng.randint(1, most))]

    def value(self) -> bytes:
        """Return a value: numbers, words, bytes, sometimes long."""
        draw = self.rng.random()
        if draw < 0.3:
            return b"%d" % self.rng.choice([self.rng.randint(-9, 130), self.rng.randint(-(1 << 40), 1 << 40)])
        if draw < 0.4:
            return self.rng.choice(BINARY)
        if draw < 0.5:
            return self.rng.randbytes(self.rng.randint(1, 80))
        if draw < 0.53:
            return self.rng.randbytes(self.rng.randint(81, LONG_BYTES))
        return b"value-%d" % self.rng.randrange(1000)

    def member(self) -> bytes:
        """Return a member of a set or a field of a hash."""
        draw = self.rng.random()
        if draw < 0.03:
            return self.rng.choice(BINARY)
        if draw < 0.04:
            return self.rng.randbytes(self.rng.randint(60, 70))
        number = self.rng.randrange(self.members)
        return b"%d" % number if number % 2 else b"m%d" % number

    def some_members(self, most: int = 5) -> list[bytes]:
        """Return one or more members."""
        return [self.member() for _ in range(self.rng.randint(1, most))]

    def integer(self, low: int = -20, high: int = 20) -> str:
        """Return a whole number."""
        if self.chance(self.nasty * 0.5):
            return self.rng.choice(NASTY_INTEGERS)
        return str(self.rng.randint(low, high))

    def float(self) -> str:
        """Return a decimal number."""
        return self.rng.choice(NASTY_FLOATS if self.chance(self.nasty * 0.5) else FLOATS)

    def score(self) -> str:
        """Return a score."""
        return self.rng.choice(NASTY_FLOATS if self.chance(self.nasty * 0.5) else SCORES)

    def bound(self) -> str:
        """Return one end of a range of scores."""
        return self.rng.choice(["", "", "("]) + self.rng.choice(["-inf", "+inf", self.score(), self.score()])

    def life(self) -> str:
        """Return a relative life, long in seconds and in milliseconds, or over at once."""
        if self.chance(0.1 + self.nasty * 0.4):
            return self.rng.choice(["0", "-1", *(text for text in NASTY_INTEGERS if not short(text))])
        return str(self.rng.randrange(10_000, 100_000) * 100)

    def moment(self, unit: int) -> str:
        """Return an absolute time in seconds (unit 1) or milliseconds (unit 1000)."""
        if self.chance(0.1 + self.nasty * 0.4):
            return self.life()
        return str((FAR_SECONDS + self.rng.randrange(100_000)) * unit)

    def option(self, *words: str, probability: float = 0.3) -> list[str]:
        """Return one of some words, or nothing; upper or lower case."""
        return [self.cased(self.rng.choice(words))] if self.chance(probability) else []

    def cased(self, text: str) -> str:
        """Return a word in upper or lower case."""
        return text if self.chance(0.7) else text.lower()

    def lives(self) -> list[str]:
        """Return one option that sets a life."""
        word = self.rng.choice(["EX", "PX", "EXAT", "PXAT"])
        value = self.moment(1000 if word == "PXAT" else 1) if word.endswith("AT") else self.life()
        return [self.cased(word), value]


def short(text: str) -> bool:
    """True for a number that is a short life."""
    try:
        return 0 < int(text) < 100_000
    except ValueError:
        return False


# --- one generator a command -----------------------------------------------------------------------------------------

Words = list[object]
Generator = Callable[[Picker], Words]


def set_words(p: Picker) -> Words:
    """Return a SET with options."""
    words: Words = ["SET", p.key("s"), p.value()]
    if p.chance(0.5):
        words += p.option("NX", "XX", "GET", probability=0.6)
        words += p.lives() if p.chance(0.4) else p.option("KEEPTTL", probability=0.4)
        words += p.option("GET", "NX", probability=0.2)
    return words


def getex_words(p: Picker) -> Words:
    """Return a GETEX."""
    return ["GETEX", p.key("s"), *(p.lives() if p.chance(0.5) else p.option("PERSIST"))]


def expire_words(name: str, unit: int | None) -> Generator:
    """Return a generator of EXPIRE or one of its family; `unit` for absolute times."""

    def words(p: Picker) -> Words:
        life = p.life() if unit is None else p.moment(unit)
        options = p.option("NX", "XX", "GT", "LT") + p.option("XX", "GT", "LT", probability=0.1)
        return [name, p.key(p.rng.choice(KINDS)), life, *options]

    return words


def push_words(name: str) -> Generator:
    """Return a generator of a push."""
    return lambda p: [name, p.key("l"), *(p.value() for _ in range(p.rng.randint(1, 5)))]


def pop_words(name: str, kind: str) -> Generator:
    """Return a generator of a pop, sometimes with a count."""
    return lambda p: [name, p.key(kind), *([p.integer(0, 6)] if p.chance(0.4) else [])]


def zadd_words(p: Picker) -> Words:
    """Return a ZADD with options."""
    options = p.option("NX", "XX") + p.option("GT", "LT") + p.option("CH") + p.option("INCR", probability=0.1)
    count = 1 if any(word.upper() == "INCR" for word in options) else p.rng.randint(1, 4)
    return ["ZADD", p.key("z"), *options, *(item for _ in range(count) for item in (p.score(), p.member()))]


def zrange_words(p: Picker) -> Words:
    """Return a ZRANGE by rank."""
    return ["ZRANGE", p.key("z"), p.integer(), p.integer(), *p.option("REV"), *p.option("WITHSCORES")]


def zrangebyscore_words(p: Picker) -> Words:
    """Return a ZRANGEBYSCORE."""
    limit = ["LIMIT", p.integer(-1, 5), p.integer(-1, 9)] if p.chance(0.3) else []
    return ["ZRANGEBYSCORE", p.key("z"), p.bound(), p.bound(), *p.option("WITHSCORES"), *limit]


def copy_words(p: Picker) -> Words:
    """Return a COPY."""
    kind = p.rng.choice(KINDS)
    return ["COPY", p.key(kind), p.key(kind), *(["DB", p.integer(0, 1)] if p.chance(0.1) else []), *p.option("REPLACE")]


def any_key(p: Picker) -> bytes:
    """Return a key of any kind."""
    return p.key(p.rng.choice(KINDS))


def any_keys(p: Picker) -> list[bytes]:
    """Return keys of any kind."""
    return [any_key(p) for _ in range(p.rng.randint(1, 4))]


PATTERNS = ["*", "s:*", "?:1", "[lh]:*", "[^s]:*", "*:[0-3]", "t:\\*", "*a*", "", "z:[5-1]", "[", "\\", "**:**1", "n:?"]
GENERATORS: dict[str, Generator] = {
    "GET": lambda p: ["GET", p.key("s")],
    "SET": set_words,
    "SETNX": lambda p: ["SETNX", p.key("s"), p.value()],
    "SETEX": lambda p: ["SETEX", p.key("s"), p.life(), p.value()],
    "PSETEX": lambda p: ["PSETEX", p.key("s"), p.life(), p.value()],
    "GETSET": lambda p: ["GETSET", p.key("s"), p.value()],
    "GETDEL": lambda p: ["GETDEL", p.key("s")],
    "GETEX": getex_words,
    "MGET": lambda p: ["MGET", *p.some_keys("s")],
    "MSET": lambda p: ["MSET", *(item for key in p.some_keys("s") for item in (key, p.value()))],
    "MSETNX": lambda p: ["MSETNX", *(item for key in p.some_keys("s", 2) for item in (key, p.value()))],
    "INCR": lambda p: ["INCR", p.key("n")],
    "DECR": lambda p: ["DECR", p.key("n")],
    "INCRBY": lambda p: ["INCRBY", p.key("n"), p.integer(-1000, 1000)],
    "DECRBY": lambda p: ["DECRBY", p.key("n"), p.integer(-1000, 1000)],
    "INCRBYFLOAT": lambda p: ["INCRBYFLOAT", p.key("n"), p.float()],
    "APPEND": lambda p: ["APPEND", p.key(p.rng.choice("ssn")), p.value()[:100]],
    "STRLEN": lambda p: ["STRLEN", p.key(p.rng.choice("ssn"))],
    "GETRANGE": lambda p: ["GETRANGE", p.key(p.rng.choice("ssn")), p.integer(-30, 30), p.integer(-30, 30)],
    "SETRANGE": lambda p: ["SETRANGE", p.key("s"), p.integer(0, 60), p.value()[:100]],
    "LPUSH": push_words("LPUSH"),
    "RPUSH": push_words("RPUSH"),
    "LPUSHX": push_words("LPUSHX"),
    "RPUSHX": push_words("RPUSHX"),
    "LPOP": pop_words("LPOP", "l"),
    "RPOP": pop_words("RPOP", "l"),
    "LLEN": lambda p: ["LLEN", p.key("l")],
    "LRANGE": lambda p: ["LRANGE", p.key("l"), p.integer(), p.integer()],
    "LINDEX": lambda p: ["LINDEX", p.key("l"), p.integer()],
    "LSET": lambda p: ["LSET", p.key("l"), p.integer(-8, 8), p.value()],
    "LINSERT": lambda p: ["LINSERT", p.key("l"), p.cased(p.rng.choice(["BEFORE", "AFTER"])), p.value(), p.value()],
    "LREM": lambda p: ["LREM", p.key("l"), p.integer(-2, 2), p.value()],
    "LTRIM": lambda p: ["LTRIM", p.key("l"), p.integer(-40, 3), p.integer(-3, 40)],
    "LMOVE": lambda p: ["LMOVE", p.key("l"), p.key("l"), *(p.cased(p.rng.choice(["LEFT", "RIGHT"])) for _ in "12")],
    "RPOPLPUSH": lambda p: ["RPOPLPUSH", p.key("l"), p.key("l")],
    "HSET": lambda p: ["HSET", p.key("h"), *(item for field in p.some_members() for item in (field, p.value()))],
    "HSETNX": lambda p: ["HSETNX", p.key("h"), p.member(), p.value()],
    "HMSET": lambda p: ["HMSET", p.key("h"), *(item for field in p.some_members() for item in (field, p.value()))],
    "HGET": lambda p: ["HGET", p.key("h"), p.member()],
    "HMGET": lambda p: ["HMGET", p.key("h"), *p.some_members()],
    "HDEL": lambda p: ["HDEL", p.key("h"), *p.some_members()],
    "HEXISTS": lambda p: ["HEXISTS", p.key("h"), p.member()],
    "HLEN": lambda p: ["HLEN", p.key("h")],
    "HSTRLEN": lambda p: ["HSTRLEN", p.key("h"), p.member()],
    "HKEYS": lambda p: ["HKEYS", p.key("h")],
    "HVALS": lambda p: ["HVALS", p.key("h")],
    "HGETALL": lambda p: ["HGETALL", p.key("h")],
    "HINCRBY": lambda p: ["HINCRBY", p.key("h"), b"n" + p.member(), p.integer(-1000, 1000)],
    "HINCRBYFLOAT": lambda p: ["HINCRBYFLOAT", p.key("h"), b"n" + p.member(), p.float()],
    "SADD": lambda p: ["SADD", p.key("t"), *p.some_members()],
    "SREM": lambda p: ["SREM", p.key("t"), *p.some_members()],
    "SISMEMBER": lambda p: ["SISMEMBER", p.key("t"), p.member()],
    "SMISMEMBER": lambda p: ["SMISMEMBER", p.key("t"), *p.some_members()],
    "SMEMBERS": lambda p: ["SMEMBERS", p.key("t")],
    "SCARD": lambda p: ["SCARD", p.key("t")],
    "SPOP": pop_words("SPOP", "t"),
    "SRANDMEMBER": lambda p: ["SRANDMEMBER", p.key("t"), *([p.integer(-9, 9)] if p.chance(0.6) else [])],
    "SINTER": lambda p: ["SINTER", *p.some_keys("t")],
    "SUNION": lambda p: ["SUNION", *p.some_keys("t")],
    "SDIFF": lambda p: ["SDIFF", *p.some_keys("t")],
    "SMOVE": lambda p: ["SMOVE", p.key("t"), p.key("t"), p.member()],
    "ZADD": zadd_words,
    "ZPOPMIN": pop_words("ZPOPMIN", "z"),
    "ZPOPMAX": pop_words("ZPOPMAX", "z"),
    "ZSCORE": lambda p: ["ZSCORE", p.key("z"), p.member()],
    "ZCARD": lambda p: ["ZCARD", p.key("z")],
    "ZRANGE": zrange_words,
    "ZRANGEBYSCORE": zrangebyscore_words,
    "ZREM": lambda p: ["ZREM", p.key("z"), *p.some_members()],
    "ZINCRBY": lambda p: ["ZINCRBY", p.key("z"), p.score(), p.member()],
    "ZRANK": lambda p: ["ZRANK", p.key("z"), p.member()],
    "DEL": lambda p: ["DEL", *any_keys(p)],
    "UNLINK": lambda p: ["UNLINK", *any_keys(p)],
    "EXISTS": lambda p: ["EXISTS", *any_keys(p)],
    "TOUCH": lambda p: ["TOUCH", *any_keys(p)],
    "TYPE": lambda p: ["TYPE", any_key(p)],
    "EXPIRE": expire_words("EXPIRE", None),
    "PEXPIRE": expire_words("PEXPIRE", None),
    "EXPIREAT": expire_words("EXPIREAT", 1),
    "PEXPIREAT": expire_words("PEXPIREAT", 1000),
    "TTL": lambda p: ["TTL", any_key(p)],
    "PTTL": lambda p: ["PTTL", any_key(p)],
    "EXPIRETIME": lambda p: ["EXPIRETIME", any_key(p)],
    "PEXPIRETIME": lambda p: ["PEXPIRETIME", any_key(p)],
    "PERSIST": lambda p: ["PERSIST", any_key(p)],
    "KEYS": lambda p: ["KEYS", p.rng.choice(PATTERNS)],
    "RANDOMKEY": lambda _: ["RANDOMKEY"],
    "RENAME": lambda p: ["RENAME", any_key(p), any_key(p)],
    "RENAMENX": lambda p: ["RENAMENX", any_key(p), any_key(p)],
    "COPY": copy_words,
    "ECHO": lambda p: ["ECHO", p.value()],
    "PING": lambda p: ["PING", *([p.value()] if p.chance(0.5) else [])],
}
UNDEFINED_ORDER = {"SMEMBERS", "SINTER", "SUNION", "SDIFF", "HKEYS", "HVALS", "HGETALL", "KEYS"}
DRAWN = {"SPOP", "SRANDMEMBER", "RANDOMKEY"}


# --- streams ---------------------------------------------------------------------------------------------------------

LIFE_WEIGHTS = {
    "EXPIRE": 2, "PEXPIRE": 1, "EXPIREAT": 1, "PEXPIREAT": 1, "TTL": 2, "PTTL": 1, "EXPIRETIME": 1, "PEXPIRETIME": 2,
    "PERSIST": 1,
}  # fmt: skip
KEY_WEIGHTS = {
    "DEL": 4, "UNLINK": 2, "EXISTS": 3, "TOUCH": 2, "TYPE": 3, "RENAME": 2, "RENAMENX": 2, "COPY": 3, "KEYS": 1,
    "RANDOMKEY": 1,
}  # fmt: skip
STRING_WEIGHTS = {
    "SET": 10, "GET": 10, "SETNX": 2, "SETEX": 1, "PSETEX": 1, "GETSET": 2, "GETDEL": 2, "GETEX": 3, "MGET": 3,
    "MSET": 2, "MSETNX": 2, "INCR": 4, "DECR": 3, "INCRBY": 4, "DECRBY": 3, "INCRBYFLOAT": 4, "APPEND": 4,
    "STRLEN": 3, "GETRANGE": 4, "SETRANGE": 3, "DEL": 2, "PEXPIRETIME": 1,
}  # fmt: skip
LIST_WEIGHTS = {
    "LPUSH": 5, "RPUSH": 5, "LPUSHX": 2, "RPUSHX": 2, "LPOP": 4, "RPOP": 4, "LLEN": 3, "LRANGE": 5, "LINDEX": 4,
    "LSET": 3, "LINSERT": 3, "LREM": 3, "LTRIM": 1, "LMOVE": 3, "RPOPLPUSH": 2, "DEL": 1,
}  # fmt: skip
HASH_WEIGHTS = {
    "HSET": 8, "HSETNX": 3, "HMSET": 3, "HGET": 5, "HMGET": 4, "HDEL": 5, "HEXISTS": 2, "HLEN": 3, "HSTRLEN": 3,
    "HKEYS": 2, "HVALS": 2, "HGETALL": 3, "HINCRBY": 4, "HINCRBYFLOAT": 4, "DEL": 1,
}  # fmt: skip
SET_WEIGHTS = {
    "SADD": 9, "SREM": 6, "SISMEMBER": 4, "SMISMEMBER": 3, "SMEMBERS": 3, "SCARD": 3, "SPOP": 1, "SRANDMEMBER": 1,
    "SINTER": 2, "SUNION": 2, "SDIFF": 2, "SMOVE": 3, "DEL": 1,
}  # fmt: skip
ZSET_WEIGHTS = {
    "ZADD": 10, "ZPOPMIN": 2, "ZPOPMAX": 2, "ZSCORE": 5, "ZCARD": 3, "ZRANGE": 6, "ZRANGEBYSCORE": 5, "ZREM": 3,
    "ZINCRBY": 5, "ZRANK": 4, "DEL": 1,
}  # fmt: skip
STREAMS: dict[str, dict[str, int]] = {
    "strings": STRING_WEIGHTS,
    "lists": LIST_WEIGHTS,
    "hashes": HASH_WEIGHTS,
    "sets": SET_WEIGHTS,
    "zsets": ZSET_WEIGHTS,
    "keys": KEY_WEIGHTS | LIFE_WEIGHTS | {"SET": 8, "LPUSH": 3, "HSET": 3, "SADD": 3, "ZADD": 3},
    "mixed": {
        name: weight
        for weights in (
            *(LIFE_WEIGHTS, STRING_WEIGHTS, LIST_WEIGHTS, HASH_WEIGHTS, SET_WEIGHTS, ZSET_WEIGHTS),
            {"ECHO": 1, "PING": 1},
            KEY_WEIGHTS,
        )
        for name, weight in weights.items()
    },
}


def stream(weights: dict[str, int], picker: Picker, count: int) -> list[Command]:
    """Return a random stream of commands."""
    names = picker.rng.choices(list(weights), list(weights.values()), k=count)
    commands = []
    for name in names:
        words = GENERATORS[name](picker)
        words[0] = picker.cased(name)
        commands.append(command(*words))
    return commands


# --- nasty commands --------------------------------------------------------------------------------------------------


def nasty_command(name: str, picker: Picker) -> Command:
    """Return a command as a careless or hostile client may send it."""
    while True:
        args = mutated(list(command(*GENERATORS[name](picker))), picker)
        if harmless(args):
            return args


def mutated(args: list[bytes], picker: Picker) -> Command:
    """Drop, double, replace or append an argument, or leave all as they are."""
    draw = picker.rng.randrange(10)
    place = picker.rng.randrange(1, len(args)) if len(args) > 1 else None
    if draw == 0 and place is not None:
        del args[place]
    elif draw == 1 and place is not None:
        args.insert(place, args[place])
    elif draw == 2 and place is not None:
        args[place] = picker.rng.choice([*NASTY_INTEGERS, *WORDS]).encode()
    elif draw == 3:
        args.append(picker.rng.choice(WORDS).encode())
    elif draw == 4:
        args += [picker.rng.choice(WORDS).encode(), picker.integer().encode()]
    return tuple(args)


def harmless(args: Sequence[bytes]) -> bool:
    """True unless the outcome would depend on the clock, fill the memory or leave the job."""
    name = args[0].upper()
    if name in TIMED:
        return not any(short(arg.decode("latin-1")) for arg in args[2:])
    if name == b"SRANDMEMBER":
        return all(abs(whole(arg)) < 1000 or whole(arg) > 0 for arg in args[2:])
    if name == b"SETRANGE":
        return all(not 1_000_000 < whole(arg) < 1 << 29 for arg in args[2:])
    return name != b"ZRANGE" or not {b"BYSCORE", b"BYLEX", b"LIMIT"} & {arg.upper() for arg in args[4:]}


def whole(arg: bytes) -> int:
    """Return a whole number, 0 for what is none."""
    try:
        return int(arg)
    except ValueError:
        return 0
