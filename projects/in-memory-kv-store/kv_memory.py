"""maxmemory: the limit holds, each policy evicts what it says, and the account is honest."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import workload
from kv_checks import CheckError, Checks, Lab, expect, expect_equal
from kv_info import numbers
from kv_picks import Picker
from kv_servers import Server
from kv_wire import Client, Command, command, encode_all, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_BYTES = 8 << 20
OOM = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
VALUE = b"x" * 200
BATCH = 500
MOST_KEYS = 80_000
CACHED_KEYS = 10_000
CACHE_REQUESTS = 20_000
CACHE_HOLDS = 3000
"""So many keys fit into the cache: the limit of each server is what so many take there."""
CACHE_BATCH = 50
SMALL_KEYS = 200_000
SMALL_BATCH = 5000

checks = Checks()


@contextmanager
def limited(lab: Lab, policy: str, limit: str = "8mb") -> Iterator[tuple[Server, Client]]:
    """Start the lane with a limit."""
    with lab.own_lane("--maxmemory", limit, "--maxmemory-policy", policy) as lane, lane.client() as client:
        yield lane, client


def used(client: Client) -> int:
    """Return used_memory."""
    return numbers(client, "memory")["used_memory"]


def write(client: Client, commands: list[Command]) -> int:
    """Send commands in pipelines; return how many were not refused for memory, which is the only error allowed."""
    done = 0
    for start in range(0, len(commands), BATCH):
        for args, raw in zip(
            commands[start : start + BATCH], client.pipeline(commands[start : start + BATCH]), strict=True
        ):
            expect(raw == OOM or not raw.startswith(b"-"), f"{args[0]!r}: {shown(raw)}")
            done += raw != OOM
    return done


def sets(prefix: str, first: int, count: int, *options: object) -> list[Command]:
    """Return SETs of numbered keys."""
    return [command("SET", f"{prefix}{n}", VALUE, *options) for n in range(first, first + count)]


def evicted(client: Client) -> int:
    """Return how many keys were evicted."""
    return numbers(client, "stats")["evicted_keys"]


def write_until_evicted(client: Client, wanted: int, prefix: str, *options: object) -> int:
    """Write numbered keys until so many were evicted (a thrifty store needs more of them); return how many."""
    for first in range(0, MOST_KEYS, BATCH):
        expect_equal("SETs refused while evicting", BATCH, write(client, sets(prefix, first, BATCH, *options)))
        if evicted(client) >= wanted:
            return first + BATCH
    raise CheckError(f"{MOST_KEYS} further keys of {len(VALUE)} bytes evicted {evicted(client)} keys, not {wanted}")


def share_left(client: Client, prefix: str, count: int) -> float:
    """Return which share of numbered keys still exists."""
    return sum(client.values([command("EXISTS", f"{prefix}{n}") for n in range(count)])) / count


def expect_close(client: Client, what: str, lowest: float = 0.7) -> None:
    """Raise unless the used memory is near the limit and not beyond it."""
    now = used(client)
    expect(now <= LIMIT_BYTES * 1.05, f"{what}: used_memory {now} is over the limit of {LIMIT_BYTES}")
    expect(now >= LIMIT_BYTES * lowest, f"{what}: used_memory {now} is far below the limit of {LIMIT_BYTES}")


def expect_serving(client: Client) -> None:
    """Raise unless a server under pressure still reads and writes."""
    expect_equal("SET under pressure", b"+OK\r\n", client.raw("SET", "fresh", "value"))
    expect_equal("GET of what was just set", b"value", client.ask("GET", "fresh"))


def expect_refused(client: Client) -> None:
    """Write one by one until a write is refused: pipelines may have left room, as their buffers count too."""
    for n in range(5000):
        raw = client.raw("SET", f"last-bit{n}", VALUE)
        if raw != b"+OK\r\n":
            expect_equal("a write when full", OOM, raw)
            return
    raise CheckError("5000 further writes of 200 bytes fitted into a full store")


@checks.named("memory/noeviction/refuses-and-recovers")
def noeviction(lab: Lab) -> None:
    """Without eviction writes end in OOM; reads and deletes go on; after deletes there is room again."""
    with limited(lab, "noeviction") as (_, client):
        done = write(client, sets("k", 0, 45_000))
        expect(5_000 < done < 45_000, f"{done} of 45,000 values of {len(VALUE)} bytes fitted into 8 MB")
        expect_close(client, "full")
        expect_refused(client)
        expect_equal("GET when full", VALUE, client.ask("GET", "k0"))
        expect_equal("every acknowledged key is there", 1.0, share_left(client, "k", min(done, 2000)))
        expect_equal("evicted_keys", 0, numbers(client, "stats")["evicted_keys"])
        expect_equal("DEL when full", 2000, sum(client.values([command("DEL", f"k{n}") for n in range(2000)])))
        expect_equal("SET after deletes", b"+OK\r\n", client.raw("SET", "one-more", "v"))
        client.ask("FLUSHALL")
        expect(used(client) < LIMIT_BYTES * 0.3, f"used_memory after FLUSHALL is {used(client)}")


@checks.named("memory/noeviction/large-values")
def large_values(lab: Lab) -> None:
    """A few large values fill the limit as exactly as many small ones."""
    with limited(lab, "noeviction") as (_, client):
        done = write(client, [command("SET", f"k{n}", b"x" * 100_000) for n in range(200)])
        expect(55 <= done <= 84, f"{done} values of 100,000 bytes fitted into 8 MB")


@checks.named("memory/noeviction/collections")
def collections(lab: Lab) -> None:
    """Growing collections are counted: a list, a hash, a set and a sorted set each end in OOM near the limit."""
    kinds = {"list": "RPUSH c {}", "hash": "HSET c {} v", "set": "SADD c {}", "zset": "ZADD c 1 {}"}
    for kind, line in kinds.items():
        with limited(lab, "noeviction") as (_, client):
            done = write(client, [command(*line.format(f"{n:01000}").split()) for n in range(10_000)])
            expect(1_500 < done < 10_000, f"{done} elements of 1000 bytes fitted into a {kind} in 8 MB")
            expect_close(client, f"a full {kind}", 0.6)
            expect_equal("DEL", 1, client.ask("DEL", "c"))
            deadline = time.monotonic() + 3
            while used(client) > LIMIT_BYTES * 0.3 and time.monotonic() < deadline:
                time.sleep(0.05)
            expect(used(client) < LIMIT_BYTES * 0.3, f"used_memory after DEL of the {kind} is {used(client)}")


@checks.named("memory/account/after-a-million-changes")
def account_after_changes(lab: Lab) -> None:
    """The account does not drift: after many changes and removal of everything it is where it began."""
    with lab.own_lane() as lane, lane.client() as client:
        client.ask("SET", "warm", "up")
        client.ask("FLUSHALL")
        before = used(client)
        for turn in range(5):
            for prefix, line in {"s": "SET", "a": "APPEND", "l": "RPUSH", "t": "SADD"}.items():
                client.pipeline([command(line, f"{prefix}{n}", "x" * (turn * 50 + 1)) for n in range(2000)])
            client.pipeline([command("HSET", f"h{n}", turn, "x" * turn * 30, "same", turn) for n in range(2000)])
            client.pipeline([command("ZADD", f"z{n}", turn, "x" * turn) for n in range(2000)])
            client.pipeline([command("EXPIRE", f"h{n}", 1000 + turn) for n in range(2000)])
            client.pipeline([command("LPOP", f"l{n}") for n in range(1000)])
            client.pipeline([command("GETSET", f"s{n}", "y") for n in range(1000)])
            client.pipeline([command("RENAME", f"s{n}", f"s{n + 1}") for n in range(500)])
        keys = client.ask("KEYS", "*")
        full = used(client)
        client.pipeline([command("DEL", key) for key in keys])
        expect_equal("DBSIZE", 0, client.ask("DBSIZE"))
        after = used(client)
        expect(full - before > 1_000_000, f"used_memory grew by {full - before} only for {len(keys)} keys")
        expect(abs(after - before) < 1_000_000, f"used_memory: {before} before, {full} full, {after} when empty again")


def set_small_keys(lab: Lab, client: Client) -> None:
    """Set 200,000 keys of 16 bytes with values of 16 bytes."""
    if "small keys" not in lab.memo:
        batches = (range(first, first + SMALL_BATCH) for first in range(0, SMALL_KEYS, SMALL_BATCH))
        lab.memo["small keys"] = [
            encode_all([command("SET", f"key:{n:012}", f"{n:016}") for n in batch]) for batch in batches
        ]
    replies = b"+OK\r\n" * SMALL_BATCH
    for piece in lab.memo["small keys"]:
        client.send(piece)
        got = client.at_least(len(replies))
        expect(got == replies, f"{SMALL_BATCH} SETs: got {len(got)} bytes, the last {shown(got[-50:])}")


@checks.named("memory/account/against-resident-memory")
def against_resident_memory(lab: Lab) -> None:
    """used_memory of 200,000 small keys is in the region of what the process really took."""
    with lab.own_lane() as lane, lane.client() as client:
        client.ask("SET", "warm", "up")
        used_before, resident_before = used(client), lane.resident_bytes()
        set_small_keys(lab, client)
        grown, resident = used(client) - used_before, lane.resident_bytes() - resident_before
        expect(grown >= SMALL_KEYS * 32, f"used_memory grew by {grown} for 6.4 MB of keys and values")
        expect(grown <= resident * 1.4 + (4 << 20), f"used_memory grew by {grown}, the process by {resident} only")
        expect(resident <= grown * 3 + (16 << 20), f"the process grew by {resident}, used_memory by {grown} only")


@checks.named("memory/bytes-per-key-no-worse-than-redis")
def bytes_per_key(lab: Lab) -> None:
    """200,000 keys of 16 bytes with values of 16 bytes make the process grow no more than redis."""
    grown = []
    for start in (lab.reference, lab.lane):
        with start() as server, server.client() as client:
            client.pipeline([command("SET", "warm", "up"), command("DEL", "warm")])
            before = server.resident_bytes()
            set_small_keys(lab, client)
            grown.append((server.resident_bytes() - before) / SMALL_KEYS)
    expect(grown[1] <= grown[0] * 1.05, f"{grown[1]:.0f} bytes a key, redis takes {grown[0]:.0f}")


@checks.named("memory/allkeys-lru/keeps-the-hot")
def allkeys_lru(lab: Lab) -> None:
    """Keys that were read lately survive far more often than the others."""
    with limited(lab, "allkeys-lru") as (_, client):
        write(client, sets("hot", 0, 1000))
        expect_equal("SETs refused", 20_000, write(client, sets("cold", 0, 20_000)))
        time.sleep(1.2)
        client.values([command("GET", f"hot{n}") for n in range(1000)])
        new = write_until_evicted(client, 8000, "new")
        hot, cold = share_left(client, "hot", 1000), share_left(client, "cold", 20_000)
        expect(hot > 0.8 and hot > cold + 0.2, f"{hot:.0%} of the hot keys and {cold:.0%} of the cold keys survived")
        expect_close(client, "while evicting")
        expect_serving(client)
        told = evicted(client)
        expect_equal("evicted_keys and DBSIZE", 21_001 + new - client.ask("DBSIZE"), told)


@checks.named("memory/volatile-lru/only-keys-with-a-life")
def volatile_lru(lab: Lab) -> None:
    """Only keys with a life are evicted, the least used first; without any left, writes are refused."""
    with limited(lab, "volatile-lru") as (_, client):
        write(client, sets("stay", 0, 5000))
        write(client, sets("hot", 0, 1000, "EX", 10_000))
        write(client, sets("cold", 0, 14_000, "EX", 10_000))
        time.sleep(1.2)
        client.values([command("GET", f"hot{n}") for n in range(1000)])
        write_until_evicted(client, 6000, "new", "EX", 10_000)
        hot, cold = share_left(client, "hot", 1000), share_left(client, "cold", 14_000)
        expect(hot > 0.8 and hot > cold + 0.2, f"{hot:.0%} of the hot keys and {cold:.0%} of the cold keys survived")
        expect_equal("keys without a life left", 1.0, share_left(client, "stay", 5000))
        done = write(client, sets("more", 0, 45_000))
        expect(done < 45_000, "45,000 keys of 200 bytes without a life fitted into 8 MB")
        expect_equal("keys without a life left at the end", 1.0, share_left(client, "stay", 5000))
        expect_equal("acknowledged keys without a life", 1.0, share_left(client, "more", min(done, 3000)))
        expect_refused(client)


@checks.named("memory/volatile-ttl/nearest-death-first")
def volatile_ttl(lab: Lab) -> None:
    """Keys that would die sooner are evicted first; keys without a life stay."""
    with limited(lab, "volatile-ttl") as (_, client):
        write(client, sets("stay", 0, 3000))
        lives = Picker("ttl").rng.sample(range(1000, 1_000_000), 18_000)
        write(client, [command("SET", f"k{n}", VALUE, "EX", life) for n, life in enumerate(lives)])
        write_until_evicted(client, 5000, "late", "EX", 2_000_000)
        there = client.values([command("EXISTS", f"k{n}") for n in range(18_000)])
        left = [life for life, alive in zip(lives, there, strict=True) if alive]
        gone = [life for life, alive in zip(lives, there, strict=True) if not alive]
        expect(left and len(gone) > 2000, f"{len(gone)} of the 18,000 keys that die sooner are among 5000 evicted")
        ratio = (sum(left) / len(left)) / (sum(gone) / len(gone))
        expect(ratio > 1.5, f"the evicted would have lived as long as the others (mean life ratio {ratio:.2f})")
        expect_equal("keys without a life left", 1.0, share_left(client, "stay", 3000))
        expect_serving(client)


@checks.named("memory/allkeys-random/any-key")
def allkeys_random(lab: Lab) -> None:
    """Any key may go, old or new: neither group survives whole, and writing goes on."""
    with limited(lab, "allkeys-random") as (_, client):
        write(client, sets("old", 0, 20_000))
        expect_equal("SETs refused", 20_000, write(client, sets("new", 0, 20_000)))
        old, new = share_left(client, "old", 20_000), share_left(client, "new", 20_000)
        expect(0.05 < old < 0.95 and 0.05 < new < 0.95, f"{old:.0%} of the old and {new:.0%} of the new keys are left")
        expect_close(client, "while evicting")
        expect_serving(client)


@checks.named("memory/lowered-while-running")
def lowered_while_running(lab: Lab) -> None:
    """CONFIG SET maxmemory below what is used: the next writes bring the account under the new limit."""
    with lab.own_lane() as lane, lane.client() as client:
        write(client, sets("k", 0, 40_000))
        before = used(client)
        client.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        expect_equal("CONFIG SET", b"OK", bytes(client.ask("CONFIG", "SET", "maxmemory", LIMIT_BYTES)))
        deadline = time.monotonic() + 5
        while used(client) > LIMIT_BYTES and time.monotonic() < deadline:
            client.ask("SET", "tick", "v")
        expect(before > LIMIT_BYTES, f"40,000 values of {len(VALUE)} bytes used {before} bytes only")
        expect_close(client, "after lowering the limit", 0.5)
        expect_serving(client)


@checks.named("memory/large-value-evicts-many")
def large_value_evicts_many(lab: Lab) -> None:
    """One large value makes room for itself by evicting many small ones."""
    with limited(lab, "allkeys-lru") as (_, client):
        write(client, sets("k", 0, 30_000))
        for n in range(5):
            expect_equal("SET of 1 MB", b"+OK\r\n", client.raw("SET", f"large{n}", b"x" * 1_000_000))
            write(client, sets("after", n * 100, 100))
        write(client, sets("tail", 0, 1000))
        expect_close(client, "after 5 large values", 0.5)
        expect(share_left(client, "large", 5) > 0, "no large value is left")


@checks.named("memory/lru-hit-ratio-of-a-zipfian-load")
def zipfian_hit_ratio(lab: Lab) -> None:
    """A cache in front of a zipfian load, with room for the same number of keys, hits about as often as redis's."""
    asked = [workload.key(number) for number in workload.zipfian(Picker("cache").rng, CACHED_KEYS, CACHE_REQUESTS)]
    with lab.lane() as lane, lab.reference() as reference:
        ours, theirs = (hit_ratio(server, asked) for server in (lane, reference))
    expect(0.05 < theirs < 0.98, f"the load is no test: redis hits {theirs:.1%}")
    expect(ours > theirs - 0.05, f"hit ratio {ours:.1%}, redis {theirs:.1%}")


def hit_ratio(server: Server, keys: list[bytes]) -> float:
    """Use a server as a cache; return the share of hits in the second half of the load."""
    hits = asked = 0
    with server.client() as client:
        for start in range(0, CACHE_HOLDS, CACHE_BATCH):
            client.pipeline([command("SET", workload.key(n), VALUE) for n in range(start, start + CACHE_BATCH)])
        limit = used(client)
        client.ask("FLUSHALL")
        client.ask("CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", "allkeys-lru")
        for start in range(0, len(keys), CACHE_BATCH):
            part = keys[start : start + CACHE_BATCH]
            found = client.values([command("GET", key) for key in part])
            missed = [key for key, value in zip(part, found, strict=True) if value is None]
            client.pipeline([command("SET", key, VALUE) for key in dict.fromkeys(missed)])
            if start >= len(keys) // 2:
                hits, asked = hits + len(part) - len(missed), asked + len(part)
        expect(evicted(client) > 0, "nothing was evicted")
    return hits / asked
