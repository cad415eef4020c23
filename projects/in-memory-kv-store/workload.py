"""Makes the inputs of in-memory-kv-store: scripts of requests with the reply that each must get.

    python workload.py --workload bench --seed 2 --size '{"keys": 1000000, "requests": 200000}' --out DIR

fill.pace              every key once, SET
get.pace, set.pace     so many requests for keys drawn at random, each key as likely as any other
get-zipfian.pace       the same for the key of rank r in proportion to 1/r (YCSB with s = 1); the ranks are scattered
                       over the keys, so that a hot key has no hot neighbour
fill-structures.pace   lists, hashes, sets and sorted sets
structures.pace        reads of them, and writes that may be sent in any order and any number of times
*-memcached.pace       fill, get and set in memcached's protocol
text.aof               a file that is no append-only file

A key is `key:%012d`, a value 16 hexadecimal digits. Every reply is the same in whatever order the requests of several
connections arrive. Format: tools/loads/pace. Same seed and size, same bytes on any machine: only whole numbers are
computed.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import random
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

PACE = b"PACE1\n"
WEIGHT_OF_RANK_1 = 1 << 40
MIXER = 0x9E3779B97F4A7C15
COLLECTIONS = 100
ELEMENTS = 100
STRUCTURE_REQUESTS = 20_000
LIST_ELEMENT = b"element-of-a-list"
OK = b"+OK\r\n"
STORED = b"STORED\r\n"

Entry = tuple[bytes, bytes]


# --- keys ------------------------------------------------------------------------------------------------------------


def key(number: int) -> bytes:
    """Return the key of a number."""
    return b"key:%012d" % number


def value(seed: int, number: int) -> bytes:
    """Return the value of a key: 16 digits that do not compress."""
    return b"%016x" % ((number * 2 + 1 + (seed << 32)) * MIXER % (1 << 64))


def uniform(rng: random.Random, keys: int, requests: int) -> Iterator[int]:
    """Yield numbers of keys, each as likely as any other."""
    return (rng.randrange(keys) for _ in range(requests))


def zipfian(rng: random.Random, keys: int, requests: int) -> Iterator[int]:
    """Yield numbers of keys, few of them often."""
    scattered = list(range(keys))
    rng.shuffle(scattered)
    ends = list(itertools.accumulate(WEIGHT_OF_RANK_1 // rank for rank in range(1, keys + 1)))
    return (scattered[bisect.bisect_right(ends, rng.randrange(ends[-1]))] for _ in range(requests))


# --- requests --------------------------------------------------------------------------------------------------------


def command(*words: bytes) -> bytes:
    """Return a command of RESP."""
    return b"*%d\r\n" % len(words) + b"".join(bulk(word) for word in words)


def bulk(word: bytes) -> bytes:
    """Return a bulk string of RESP."""
    return b"$%d\r\n%b\r\n" % (len(word), word)


def array(items: Iterable[bytes]) -> bytes:
    """Return an array of bulk strings of RESP."""
    parts = [bulk(item) for item in items]
    return b"*%d\r\n" % len(parts) + b"".join(parts)


def get(name: bytes, content: bytes) -> Entry:
    """Return a GET."""
    return command(b"GET", name), bulk(content)


def put(name: bytes, content: bytes) -> Entry:
    """Return a SET."""
    return command(b"SET", name, content), OK


def get_of_memcached(name: bytes, content: bytes) -> Entry:
    """Return a get."""
    return b"get %b\r\n" % name, b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (name, len(content), content)


def put_of_memcached(name: bytes, content: bytes) -> Entry:
    """Return a set."""
    return b"set %b 0 0 %d\r\n%b\r\n" % (name, len(content), content), STORED


# --- structures ------------------------------------------------------------------------------------------------------


def fill_structures() -> Iterator[Entry]:
    """Yield what makes the lists, hashes, sets and sorted sets."""
    for number in range(COLLECTIONS):
        names = [b"member:%04d" % place for place in range(ELEMENTS)]
        count = b":%d\r\n" % ELEMENTS
        yield command(b"RPUSH", b"list:%d" % number, *names), count
        yield command(b"RPUSH", b"ring:%d" % number, *[LIST_ELEMENT] * ELEMENTS), count
        yield command(b"SADD", b"set:%d" % number, *names), count
        pairs = (word for place, name in enumerate(names) for word in (name, value(number, place)))
        yield command(b"HSET", b"hash:%d" % number, *pairs), count
        scored = (word for place, name in enumerate(names) for word in (b"%d" % place, name))
        yield command(b"ZADD", b"zset:%d" % number, *scored), count


def structure_request(rng: random.Random) -> Entry:
    """Return one request whose reply does not depend on what came before; one in three writes."""
    number, place = rng.randrange(COLLECTIONS), rng.randrange(ELEMENTS)
    name = b"member:%04d" % place
    few = [b"member:%04d" % after for after in range(place, min(place + 10, ELEMENTS))]
    last = b"%d" % (place + len(few) - 1)
    lists, ring, sets = b"list:%d" % number, b"ring:%d" % number, b"set:%d" % number
    hashes, zsets = b"hash:%d" % number, b"zset:%d" % number
    held = value(number, place)
    choices: list[Callable[[], Entry]] = [
        lambda: (command(b"LRANGE", lists, b"%d" % place, last), array(few)),
        lambda: (command(b"LINDEX", lists, b"%d" % place), bulk(name)),
        lambda: (command(b"RPOPLPUSH", ring, ring), bulk(LIST_ELEMENT)),
        lambda: (command(b"LSET", lists, b"%d" % place, name), OK),
        lambda: (command(b"HGET", hashes, name), bulk(held)),
        lambda: (command(b"HMGET", hashes, name, b"absent"), b"*2\r\n%b$-1\r\n" % bulk(held)),
        lambda: (command(b"HSET", hashes, name, held), b":0\r\n"),
        lambda: (command(b"SISMEMBER", sets, name), b":1\r\n"),
        lambda: (command(b"SADD", sets, name), b":0\r\n"),
        lambda: (command(b"ZSCORE", zsets, name), bulk(b"%d" % place)),
        lambda: (command(b"ZRANGE", zsets, b"%d" % place, last), array(few)),
        lambda: (command(b"ZADD", zsets, b"%d" % place, name), b":0\r\n"),
    ]
    return rng.choice(choices)()


# --- files -----------------------------------------------------------------------------------------------------------


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Write requests and their right replies as pace reads them."""
    with path.open("wb") as file:
        file.write(PACE)
        for request, reply in entries:
            file.write(struct.pack("<II", len(request), len(reply)) + request + reply)


def write_all(out: Path, seed: int, keys: int, requests: int) -> None:
    """Write every file."""
    rng = random.Random(f"in-memory-kv-store {seed}")
    drawn = list(uniform(rng, keys, requests))
    for name, ask, store in (("", get, put), ("-memcached", get_of_memcached, put_of_memcached)):
        write(out / f"fill{name}.pace", (store(key(number), value(seed, number)) for number in range(keys)))
        write(out / f"get{name}.pace", (ask(key(number), value(seed, number)) for number in drawn))
        write(out / f"set{name}.pace", (store(key(number), value(seed, number)) for number in drawn))
    hot = zipfian(rng, keys, requests)
    write(out / "get-zipfian.pace", (get(key(number), value(seed, number)) for number in hot))
    write(out / "fill-structures.pace", fill_structures())
    count = min(requests, STRUCTURE_REQUESTS)
    write(out / "structures.pace", (structure_request(rng) for _ in range(count)))
    (out / "text.aof").write_bytes(b"this is no append-only file\n" * 10)


def main() -> None:
    """Make a workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    write_all(options.out, options.seed, options.size["keys"], options.size["requests"])


if __name__ == "__main__":
    main()
