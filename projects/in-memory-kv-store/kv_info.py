"""INFO, the counters, and what an operator's tools read."""

from __future__ import annotations

import re
from typing import Any

from kv_checks import Checks, Lab, expect, expect_equal
from kv_wire import Client, command

SECTIONS = {
    "server": ["redis_version", "process_id", "tcp_port", "uptime_in_seconds"],
    "clients": ["connected_clients"],
    "memory": ["used_memory", "maxmemory", "maxmemory_policy"],
    "persistence": ["aof_enabled"],
    "stats": [
        *("total_connections_received", "total_commands_processed", "expired_keys", "evicted_keys"),
        *("keyspace_hits", "keyspace_misses"),
    ],
}

checks = Checks()


def info(client: Client, section: str = "") -> dict[str, str]:
    """Return the fields of INFO."""
    text = client.ask("INFO", *([section] if section else []))
    expect(isinstance(text, bytes), f"INFO {section}: got {text!r}")
    found = {}
    for line in text.decode().split("\r\n"):
        if line and not line.startswith("#"):
            name, separator, value = line.partition(":")
            expect(separator, f"INFO {section}: a line without a colon: {line!r}")
            found[name] = value
    return found


def numbers(client: Client, section: str) -> dict[str, int]:
    """Return the whole numbers of an INFO section."""
    return {name: int(value) for name, value in info(client, section).items() if re.fullmatch(r"-?\d+", value)}


@checks.named("info/sections")
def sections(lab: Lab) -> None:
    """INFO has redis's sections, and each can be asked for alone."""
    with lab.pair() as pair:
        pair.both("SET", "k", "v")
        whole = pair.lane.ask("INFO")
        for section, fields in SECTIONS.items():
            title = f"# {section.capitalize()}\r\n".encode()
            expect(title in whole, f"INFO lacks {title!r}")
            alone = pair.lane.ask("INFO", section)
            expect(alone.startswith(title), f"INFO {section} begins with {alone[:40]!r}")
            expect_equal(f"headers in INFO {section}", 1, alone.count(b"# "))
            expect(alone.endswith(b"\r\n"), f"INFO {section} ends with {alone[-10:]!r}")
            have = info(pair.lane, section.upper())
            expect(not set(fields) - set(have), f"INFO {section} lacks {sorted(set(fields) - set(have))}")
        expect_equal("INFO keyspace", pair.reference.ask("INFO", "keyspace"), pair.lane.ask("INFO", "keyspace"))
        for args in (["server", "memory"], ["all"], ["everything"], ["default"]):
            expect(b"# Memory\r\n" in pair.lane.ask("INFO", *args), f"INFO {args} lacks the section Memory")


@checks.named("info/keyspace")
def keyspace(lab: Lab) -> None:
    """The keyspace line counts keys and those with a life."""
    with lab.pair() as pair:
        expect_equal(
            "INFO keyspace when empty", pair.reference.ask("INFO", "keyspace"), pair.lane.ask("INFO", "keyspace")
        )
        pair.batch([command("SET", f"k{n}", "v") for n in range(10)])
        pair.batch([command("EXPIRE", f"k{n}", 1000) for n in range(4)])
        pair.batch([command("PERSIST", "k1"), command("DEL", "k0", "k9"), command("SET", "k2", "new")])
        for client in (pair.reference, pair.lane):
            line = info(client, "keyspace").get("db0", "")
            expect(line.startswith("keys=8,expires=1,avg_ttl="), f"8 keys, 1 with a life: db0:{line}")


@checks.named("info/hits-and-misses")
def hits_and_misses(lab: Lab) -> None:
    """keyspace_hits and keyspace_misses count what redis counts; CONFIG RESETSTAT sets them back."""
    with lab.own_pair() as pair:
        pair.batch([command("SET", "s", "v"), command("RPUSH", "l", "a"), command("HSET", "h", "f", "v")])
        pair.batch([command("SADD", "t", "m"), command("ZADD", "z", 1, "m"), command("CONFIG", "RESETSTAT")])
        asked = [
            *("GET s", "GET absent", "MGET s absent x", "EXISTS s absent", "STRLEN s", "LLEN l", "LLEN absent"),
            *("LRANGE l 0 -1", "HGET h f", "HGET h absent", "HGET absent f", "SISMEMBER t m", "SCARD absent"),
            *(
                "ZSCORE z m",
                "ZRANGE absent 0 -1",
                "TYPE s",
                "TTL s",
                "SET s2 v",
                "INCR n",
                "LPUSH l b",
                "GETRANGE s 0 1",
            ),
        ]
        for line in asked:
            before = [numbers(client, "stats") for client in (pair.reference, pair.lane)]
            pair.same(*line.split())
            after = [numbers(client, "stats") for client in (pair.reference, pair.lane)]
            for field in ("keyspace_hits", "keyspace_misses"):
                theirs, ours = (new[field] - old[field] for new, old in zip(after, before, strict=True))
                expect_equal(f"{field} added by {line}", theirs, ours)
        pair.same("CONFIG", "RESETSTAT")
        for field in ("keyspace_hits", "keyspace_misses", "expired_keys", "evicted_keys"):
            expect_equal(f"{field} after CONFIG RESETSTAT", 0, numbers(pair.lane, "stats")[field])


@checks.named("info/commands-processed")
def commands_processed(lab: Lab) -> None:
    """total_commands_processed counts every executed command."""
    with lab.own_pair() as pair:
        counts = []
        for client in (pair.reference, pair.lane):
            first = numbers(client, "stats")["total_commands_processed"]
            client.values([command("SET", f"k{n}", "v") for n in range(500)])
            client.values([command("GET", "k1"), command("INCR", "k1"), command("PING")])
            counts.append(numbers(client, "stats")["total_commands_processed"] - first)
        expect_equal("total_commands_processed of 504 commands and an INFO", counts[0], counts[1])


@checks.named("info/connections")
def connections(lab: Lab) -> None:
    """connected_clients and total_connections_received follow the clients."""
    with lab.own_lane() as lane, lane.client() as client:
        before = numbers(client, "stats")["total_connections_received"]
        others = [lane.client() for _ in range(20)]
        for other in others:
            other.raw("PING")
        expect_equal("connected_clients", 21, numbers(client, "clients")["connected_clients"])
        after = numbers(client, "stats")["total_connections_received"]
        expect_equal("total_connections_received added by 20 clients", 20, after - before)
        for other in others:
            other.close()
        for _ in range(200):
            if numbers(client, "clients")["connected_clients"] == 1:
                return
        expect_equal("connected_clients after 20 have gone", 1, numbers(client, "clients")["connected_clients"])


@checks.named("info/client-list")
def client_list(lab: Lab) -> None:
    """CLIENT LIST has a line for each client with id, addr and name; CLIENT ID grows."""
    with lab.own_lane() as lane, lane.client() as one, lane.client() as two:
        one.ask("CLIENT", "SETNAME", "first")
        two.ask("CLIENT", "SETNAME", "second")
        first, second = one.ask("CLIENT", "ID"), two.ask("CLIENT", "ID")
        expect(0 < first < second, f"CLIENT ID: {first}, then {second}")
        lines = [line for line in one.ask("CLIENT", "LIST").decode().split("\n") if line]
        entries = [dict(word.partition("=")[::2] for word in line.split(" ")) for line in lines]
        names = {entry.get("name"): entry for entry in entries}
        expect("first" in names and "second" in names, f"CLIENT LIST: {lines}")
        expect_equal("id of the first", str(first), names["first"].get("id"))
        host, port = one.sock.getsockname()[:2]
        expect_equal("addr of the first", f"{host}:{port}", names["first"].get("addr"))


@checks.named("info/command-table")
def command_table(lab: Lab) -> None:
    """COMMAND INFO names a command with its arity and first key as redis does; COMMAND COUNT counts COMMAND."""
    with lab.pair() as pair:
        table: Any = pair.lane.ask("COMMAND")
        expect_equal("COMMAND COUNT and the length of COMMAND", len(table), pair.lane.ask("COMMAND", "COUNT"))
        expect(len(table) >= 100, f"COMMAND lists {len(table)} commands")
        for name in ("get", "set", "mget", "lpush", "hset", "sadd", "zadd", "del", "ping"):
            ours = pair.lane.ask("COMMAND", "INFO", name)
            theirs = pair.reference.ask("COMMAND", "INFO", name)
            expect(
                isinstance(ours, list) and len(ours) == 1 and isinstance(ours[0], list), f"COMMAND INFO {name}: {ours}"
            )
            expect_equal(f"COMMAND INFO {name}: name and arity", theirs[0][:2], ours[0][:2])
            expect_equal(f"COMMAND INFO {name}: key positions", theirs[0][3:6], ours[0][3:6])
        expect_equal("COMMAND INFO nosuch", [None], pair.lane.ask("COMMAND", "INFO", "nosuch"))


@checks.named("info/config-get-all")
def config_get_all(lab: Lab) -> None:
    """CONFIG GET takes patterns and knows at least the settings of the job."""
    with lab.pair() as pair:
        flat = pair.lane.ask("CONFIG", "GET", "*")
        have = dict(zip(flat[::2], flat[1::2], strict=True))
        wanted = [b"maxmemory", b"maxmemory-policy", b"save", b"appendonly", b"appendfsync", b"databases"]
        expect(not set(wanted) - set(have), f"CONFIG GET * lacks {sorted(set(wanted) - set(have))}")
        flat = pair.lane.ask("CONFIG", "GET", "maxmem*")
        expect({b"maxmemory", b"maxmemory-policy"} <= set(flat[::2]), f"CONFIG GET maxmem*: {flat}")
        expect(b"save" not in flat[::2], f"CONFIG GET maxmem*: {flat}")


@checks.named("info/memory-usage")
def memory_usage(lab: Lab) -> None:
    """MEMORY USAGE is an honest estimate for small and large values of every type."""
    with lab.shared_lane().client() as client:
        client.ask("FLUSHALL")
        client.ask("SET", "small", "v")
        client.ask("SET", "large", b"x" * 1_000_000)
        client.values([command("RPUSH", "list", "x" * 100)] * 1000)
        client.values([command("HSET", "hash", f"f{n}", "x" * 100) for n in range(1000)])
        client.values([command("SADD", "set", f"member-{n:0100}") for n in range(1000)])
        client.values([command("ZADD", "zset", n, f"member-{n:0100}") for n in range(1000)])
        expect(
            8 <= client.ask("MEMORY", "USAGE", "small") <= 300,
            f"a small string: {client.ask('MEMORY', 'USAGE', 'small')}",
        )
        for key, payload in {
            "large": 1_000_000,
            "list": 100_000,
            "hash": 104_000,
            "set": 107_000,
            "zset": 107_000,
        }.items():
            told = client.ask("MEMORY", "USAGE", key, "SAMPLES", 0)
            expect(payload * 0.95 <= told <= payload * 3, f"MEMORY USAGE {key}: {told} for {payload} bytes of data")
