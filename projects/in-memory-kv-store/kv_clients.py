"""The clients that people use: redis-py, redis-cli and redis-benchmark, unchanged."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import redis
from kv_checks import CheckError, Checks, Lab, Pair, dump, expect, expect_equal
from kv_servers import Server
from kv_wire import command, encode_all

TOOL_SECONDS = 60.0
BENCHMARK_TESTS = {
    "strings": "ping,set,get,incr,mset",
    "lists": "lpush,rpush,lpop,rpop",
    "collections": "sadd,hset,spop,zadd,zpopmin",
    "ranges": "lrange_100,lrange_300,lrange_500,lrange_600",
}

checks = Checks()


def place(server: Server) -> tuple[str, int]:
    """Return host and port of a server."""
    host, port = server.address.rsplit(":", 1)
    return host, int(port)


# --- redis-py --------------------------------------------------------------------------------------------------------


@contextmanager
def library(server: Server, **options: Any) -> Iterator[Any]:
    """Return a redis-py client with its defaults."""
    host, port = place(server)
    with redis.Redis(host=host, port=port, socket_timeout=5, **options) as client:
        yield client


def by_library(use: Callable[[Any], Any], lab: Lab) -> None:
    """What a program gets from the lane through redis-py is what it gets from redis."""
    with lab.pair() as pair:
        answers = []
        for server in reversed(pair.servers):
            with library(server) as client:
                answers.append(use(client))
        expect_equal("what redis-py returns", answers[0], answers[1])
        pair.compare()


def strings(r: Any) -> list[Any]:
    """Use strings."""
    return [
        r.set("a", "1"),
        r.set("a", "2", nx=True),
        r.set("a", "3", xx=True, get=True),
        r.set("b", b"\x00\xff", ex=100),
        r.get("a"),
        r.mget("a", "b", "c"),
        r.mset({"x": 1, "y": 2.5}),
        r.msetnx({"x": 3, "z": 4}),
        r.incr("n"),
        r.incrby("n", 5),
        r.decr("n", 2),
        r.incrbyfloat("f", 1.1),
        r.append("a", "xyz"),
        r.strlen("a"),
        r.getrange("a", 0, 2),
        r.setrange("a", 2, "Q"),
        r.getset("a", "new"),
        r.getdel("a"),
        r.getex("b", persist=True),
        r.setex("e", 100, "v"),
        0 < r.ttl("e") <= 100,
        0 < r.pttl("e") <= 100_000,
    ]


def collections(r: Any) -> list[Any]:
    """Use lists, hashes, sets and sorted sets."""
    return [
        r.rpush("l", 1, 2, 3),
        r.lpush("l", 0),
        r.lrange("l", 0, -1),
        r.lpop("l", 2),
        r.rpop("l"),
        r.lmove("l", "m", "LEFT", "RIGHT"),
        r.linsert("m", "BEFORE", 2, "x"),
        r.hset("h", "f", "v"),
        r.hset("h", mapping={"a": 1, "b": 2}),
        r.hgetall("h"),
        r.hmget("h", "a", "none"),
        r.hincrby("h", "a", 5),
        r.hincrbyfloat("h", "b", 0.5),
        sorted(r.hscan_iter("h")),
        r.sadd("s", "a", "b", "c"),
        r.smembers("s"),
        r.smismember("s", ["a", "x"]),
        r.sinter("s", "s"),
        sorted(r.sscan_iter("s")),
        r.srandmember("s") in {b"a", b"b", b"c"},
        r.zadd("z", {"a": 1, "b": 2.5}),
        r.zadd("z", {"a": 5}, gt=True, ch=True),
        r.zadd("z", {"a": 1.5}, incr=True),
        r.zrange("z", 0, -1, withscores=True),
        r.zrange("z", 0, -1, desc=True),
        r.zrangebyscore("z", "-inf", "+inf", withscores=True, start=0, num=1),
        r.zscore("z", "a"),
        r.zrank("z", "b"),
        r.zpopmin("z"),
        r.zcard("z"),
    ]


def keys(r: Any) -> list[Any]:
    """Use commands on keys."""
    r.mset({f"k{n}": n for n in range(100)})
    return [
        sorted(r.keys("k1*")),
        sorted(r.scan_iter(match="k*", count=7)),
        sorted(r.scan_iter(match="k*", _type="string")),
        r.exists("k1", "k2", "none"),
        r.delete("k1", "none"),
        r.unlink("k2"),
        r.type("k3"),
        r.rename("k3", "q"),
        r.copy("q", "q2"),
        r.expire("q", 1000, nx=True),
        r.expireat("q2", 4_102_444_800),
        r.expiretime("q2"),
        r.persist("q"),
        r.touch("q", "q2"),
        r.dbsize(),
        r.randomkey() is not None,
        r.memory_usage("q") > 0,
        r.object("encoding", "k5"),
    ]


def transactions(r: Any) -> list[Any]:
    """Use pipelines, which are MULTI and EXEC by default, and WATCH."""
    with r.pipeline() as pipe:
        first = pipe.set("a", 1).incr("a").lpush("l", 1).execute()
    with r.pipeline(transaction=False) as pipe:
        for n in range(1000):
            pipe.set(f"k{n}", n)
        many = pipe.execute()
    with r.pipeline() as pipe:
        errors = pipe.set("s", "x").incr("s").get("s").execute(raise_on_error=False)
    counted = r.transaction(lambda pipe: (int(pipe.get("a")), pipe.multi(), pipe.incr("a"))[1], "a")
    with r.pipeline() as pipe:
        pipe.watch("a")
        r.set("a", 100)
        pipe.multi()
        pipe.incr("a")
        try:
            pipe.execute()
            broken = False
        except redis.WatchError:
            broken = True
    return [first, many, [str(item) for item in errors], counted, broken, r.get("a")]


def errors_of(r: Any) -> list[Any]:
    """Meet errors."""
    r.set("s", "x")
    found = []
    calls: list[Callable[[], Any]] = [
        lambda: r.lpush("s", 1),
        lambda: r.incr("s"),
        lambda: r.execute_command("NOSUCH", "a"),
        lambda: r.execute_command("GET"),
        lambda: r.rename("none", "x"),
        lambda: r.config_set("nosuch", 1),
    ]
    for call in calls:
        try:
            found.append(call())
        except redis.ResponseError as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


def server_commands(r: Any) -> list[Any]:
    """Use what operators' scripts use."""
    told = r.info()
    return [
        r.ping(),
        r.echo("hello"),
        isinstance(told["used_memory"], int),
        isinstance(told["connected_clients"], int),
        isinstance(r.info("stats")["total_commands_processed"], int),
        r.config_get("maxmemory-policy"),
        r.config_set("maxmemory-policy", "allkeys-lru"),
        r.config_get("maxmemory-policy"),
        r.config_set("maxmemory-policy", "noeviction"),
        r.config_resetstat(),
        r.client_setname("me"),
        r.client_getname(),
        r.client_id() > 0,
        "me" in [client["name"] for client in r.client_list()],
        len(r.time()),
        r.command_count() > 50,
        "get" in r.command(),
        r.flushdb(),
        r.flushall(),
    ]


for label, session in {
    "strings": strings,
    "collections": collections,
    "keys": keys,
    "transactions": transactions,
    "errors": errors_of,
    "server": server_commands,
}.items():
    checks.add(f"redis-py/{label}", partial(by_library, session))


@checks.named("redis-py/text-and-pool")
def text_and_pool(lab: Lab) -> None:
    """Decoded text, a pool used by eight threads, a URL and a unix socket."""
    path = lab.folder() / "kv.sock"
    with lab.lane(listen=["127.0.0.1:0", f"unix:{path}"]) as lane:
        host, port = place(lane)
        pool = redis.ConnectionPool.from_url(f"redis://{host}:{port}/0", decode_responses=True, max_connections=8)
        shared = redis.Redis(connection_pool=pool)
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(100):
                    shared.set(f"t{number}", f"ä{turn}")
                    expect_equal("what this thread has set", f"ä{turn}", shared.get(f"t{number}"))
                    shared.incr("sum")
            except BaseException as error:  # noqa: BLE001 - handed to the thread that checks
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise CheckError(f"{type(failures[0]).__name__}: {failures[0]}")
        with redis.Redis(unix_socket_path=str(path), decode_responses=True) as by_socket:
            expect_equal("the sum over the unix socket", "800", by_socket.get("sum"))
        pool.disconnect()


@checks.named("redis-py/asked-for-resp2-by-hello")
def asked_for_resp2(lab: Lab) -> None:
    """A client with a name and protocol=2 set by hand."""
    with library(lab.shared_lane(), protocol=2, client_name="named") as client:
        expect_equal("client_getname", "named", client.client_getname())


# --- redis-cli -------------------------------------------------------------------------------------------------------


def tool(words: list[str], stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run a program to its end."""
    try:
        run = subprocess.run(words, input=stdin, capture_output=True, timeout=TOOL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CheckError(f"{' '.join(words)[:200]} does not end within {TOOL_SECONDS} s") from None
    return run.returncode, run.stdout, run.stderr


def cli(server: Server, *words: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run redis-cli against a server."""
    host, port = place(server)
    return tool(["redis-cli", "-h", host, "-p", str(port), *words], stdin)


def cli_same(pair: Pair, *words: str, stdin: bytes = b"") -> None:
    """Run redis-cli against both; the outputs must be the same."""
    lane, reference = (cli(server, *words, stdin=stdin) for server in pair.servers)
    expect_equal(f"redis-cli {' '.join(words)}", reference, lane)


@checks.named("redis-cli/commands")
def cli_commands(lab: Lab) -> None:
    """Single commands, raw and formatted output, errors and exit codes."""
    with lab.pair() as pair:
        for line in (
            *("SET k v", "GET k", "GET none", "INCR n", "RPUSH l a b c", "LRANGE l 0 -1", "HSET h f v", "HGETALL h"),
            *("ZADD z 1.5 a", "ZRANGE z 0 -1 WITHSCORES", "LPUSH k x", "NOSUCH a", "GET", "TTL k", "DBSIZE"),
            *("--no-raw GET k", "--raw LRANGE l 0 -1", "--csv LRANGE l 0 -1", "-n 0 GET k", "-n 1 GET k", "-2 GET k"),
            *("--json LRANGE l 0 -1", "-e GET", "-r 3 INCR n", "-i 0.001 -r 2 PING", "--no-auth-warning PING"),
        ):
            if line.startswith("--json"):  # RESP3 by itself; without it redis-cli prints an error
                continue
            cli_same(pair, *line.split())
        pair.compare()


@checks.named("redis-cli/stdin")
def cli_stdin(lab: Lab) -> None:
    """Commands on standard input, one a line, and the last argument by -x."""
    with lab.pair() as pair:
        script = b"SET a 1\nINCR a\nGET a\nLPUSH l x y z\nLRANGE l 0 -1\nMULTI\nSET b 2\nEXEC\nNOSUCH\n"
        cli_same(pair, stdin=script)
        cli_same(pair, "-x", "SET", "binary", stdin=bytes(range(256)) * 100)
        cli_same(pair, "--raw", "GET", "binary")
        cli_same(pair, "STRLEN", "binary")
        pair.compare()


@checks.named("redis-cli/pipe")
def cli_pipe(lab: Lab) -> None:
    """Mass insertion by --pipe: every reply counted, no error; as frames and as inline lines."""
    with lab.pair() as pair:
        count = 20_000
        frames = encode_all([command("SET", f"key{n}", b"value\r\n" + b"x" * (n % 100)) for n in range(count)])
        code, stdout, stderr = cli(pair.servers[0], "--pipe", stdin=frames)
        expect(code == 0 and f"errors: 0, replies: {count}".encode() in stdout, f"{code}, {stdout!r}, {stderr!r}")
        lines = b"".join(b"SADD set m%d\r\n" % n for n in range(count))
        code, stdout, stderr = cli(pair.servers[0], "--pipe", stdin=lines)
        expect(code == 0 and f"errors: 0, replies: {count}".encode() in stdout, f"{code}, {stdout!r}, {stderr!r}")
        expect_equal("DBSIZE", count + 1, pair.lane.ask("DBSIZE"))
        expect_equal("SCARD", count, pair.lane.ask("SCARD", "set"))
        broken = encode_all([command("SET", "k", "v"), command("LPUSH", "k", "x"), command("NOSUCH")])
        cli_same(pair, "--pipe", stdin=broken)


@checks.named("redis-cli/scan")
def cli_scan(lab: Lab) -> None:
    """--scan with and without a pattern."""
    with lab.pair() as pair:
        pair.batch([command("SET", f"k{n}", n) for n in range(500)])
        pair.batch([command("SADD", f"other{n}", n) for n in range(50)])
        for words in (["--scan"], ["--scan", "--pattern", "k1*"], ["--scan", "--pattern", "none*"]):
            lane, reference = (cli(server, *words) for server in pair.servers)
            expect_equal(f"exit code of redis-cli {' '.join(words)}", 0, lane[0])
            expect_equal(f"redis-cli {' '.join(words)}", sorted(reference[1].split()), sorted(lane[1].split()))


@checks.named("redis-cli/big-and-mem-keys")
def cli_big_keys(lab: Lab) -> None:
    """--bigkeys and --memkeys sample every key."""
    with lab.pair() as pair:
        pair.batch([command("SET", "s", "x" * 1000), command("RPUSH", "l", *range(100)), command("SET", "t", "y")])
        pair.batch([command("HSET", "h", *range(100)), command("SADD", "u", *range(77)), command("ZADD", "z", 1, "m")])
        code, stdout, stderr = cli(pair.servers[0], "--bigkeys")
        expect(code == 0, f"redis-cli --bigkeys: {code}, {stdout[-300:]!r}, {stderr!r}")
        theirs = cli(pair.servers[1], "--bigkeys")[1]
        expect_equal("the summary of --bigkeys", summary(theirs), summary(stdout))
        code, stdout, stderr = cli(pair.servers[0], "--memkeys")
        expect(code == 0, f"redis-cli --memkeys: {code}, {stdout[-300:]!r}, {stderr!r}")
        expect(b"Sampled 6 keys" in stdout, f"redis-cli --memkeys: {stdout[-300:]!r}")


def summary(text: bytes) -> list[bytes]:
    """Return the lines of a summary that do not depend on the order of the scan."""
    return sorted(line for line in text.partition(b"summary")[2].splitlines() if line)


@checks.named("redis-cli/telnet-style")
def telnet_style(lab: Lab) -> None:
    """What people type into a bare connection."""
    with lab.pair() as pair:
        typed = b'set greeting "hello world"\r\nget greeting\r\nincr n\r\nnosuch\r\n\r\nping\r\n'
        expected = pair.reference.exchange(typed, 5)
        expect_equal("replies", expected, pair.lane.exchange(typed, 5))


# --- redis-benchmark -------------------------------------------------------------------------------------------------


def benchmark(words: list[str], lab: Lab) -> None:
    """A run of redis-benchmark ends well, without an error, with a figure for every test."""
    lane = lab.shared_lane()
    with lane.client() as client:
        client.ask("FLUSHALL")
    host, port = place(lane)
    code, stdout, stderr = tool(["redis-benchmark", "-h", host, "-p", str(port), *words])
    text = stdout.replace(b"\r", b"\n").decode(errors="replace")
    shown = f"exit code {code}, stdout ...{text[-300:]!r}, stderr {stderr[-300:]!r}"
    expect(code == 0, shown)
    told = [line for line in stderr.decode(errors="replace").splitlines() if "Keepalive disabled" not in line]
    expect(not told and not re.search(r"(?i)error|warn", text), shown)
    if "-q" in words:
        figures = re.findall(r"^(\S.*): ([0-9.]+) requests per second", text, re.MULTILINE)
        expect(figures and all(float(rate) > 0 for _, rate in figures), shown)


@checks.named("redis-benchmark/default-tests")
def benchmark_default(lab: Lab) -> None:
    """All default tests, twenty clients."""
    benchmark(["-q", "-n", "500", "-c", "20"], lab)


@checks.named("redis-benchmark/data-is-right")
def benchmark_data(lab: Lab) -> None:
    """The data set that a benchmark with fixed keys leaves is the same as redis's."""
    with lab.pair() as pair:
        words = ["-q", "-n", "200", "-c", "1", "-t", "set,incr,lpush,rpush,lpop,rpop,sadd,hset,zadd,mset"]
        for server in pair.servers:
            host, port = place(server)
            code, stdout, stderr = tool(["redis-benchmark", "-h", host, "-p", str(port), *words])
            expect(code == 0, f"exit code {code}, {stdout[-200:]!r}, {stderr[-200:]!r}")
        expect_equal("keys", sorted(dump(pair.reference)), sorted(dump(pair.lane)))
        pair.compare()


for benchmark_name, benchmark_tests in BENCHMARK_TESTS.items():
    benchmark_words = ["-q", "-n", "1000", "-c", "10", "-P", "16", "-t", benchmark_tests]
    checks.add(f"redis-benchmark/pipelined-{benchmark_name}", partial(benchmark, benchmark_words))
checks.add(
    "redis-benchmark/random-keys", partial(benchmark, ["-q", "-n", "2000", "-r", "1000", "-t", "set,get,sadd,hset"])
)
checks.add(
    "redis-benchmark/large-values", partial(benchmark, ["-q", "-n", "300", "-d", "100000", "-t", "set,get,lpush"])
)
checks.add("redis-benchmark/two-threads", partial(benchmark, ["-q", "-n", "4000", "--threads", "2", "-t", "set,get"]))
checks.add("redis-benchmark/new-connections", partial(benchmark, ["-q", "-n", "400", "-k", "0", "-t", "ping,set"]))
checks.add("redis-benchmark/own-command", partial(benchmark, ["-q", "-n", "500", "lrange", "none", "0", "-1"]))
checks.add("redis-benchmark/long-report", partial(benchmark, ["-n", "1000", "-t", "get"]))


@checks.named("redis-benchmark/while-others-are-right")
def benchmark_beside(lab: Lab) -> None:
    """While a benchmark runs, another client's replies are its own."""
    with lab.pair() as pair:
        host, port = place(pair.servers[0])
        words = [
            "redis-benchmark",
            "-h",
            host,
            "-p",
            str(port),
            "-q",
            "-n",
            "30000",
            "-c",
            "30",
            "-P",
            "8",
            "-t",
            "set,get",
        ]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            number, end = 0, time.monotonic() + TOOL_SECONDS
            while run.poll() is None and time.monotonic() < end:
                number += 1
                expect_equal("ECHO beside a benchmark", str(number).encode(), pair.lane.ask("ECHO", number))
                expect_equal("SADD beside a benchmark", 1, pair.lane.ask("SADD", "mine", number))
            run.kill()
        expect_equal("exit code of redis-benchmark", 0, run.returncode)
        expect_equal("SCARD mine", number, pair.lane.ask("SCARD", "mine"))
