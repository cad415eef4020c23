"""The program as a service: its command line, its counters, and how it ends."""

from __future__ import annotations

import asyncio
import functools
import re
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from checks_framing import same_body
from checks_tunnel import UPGRADE, mirror, tunnel
from proxy_arena import REGISTRY, Arena, Failed, Setup, equal, expect, get, post, timely
from proxy_backend import Exchange, Handler, pieces, response
from proxy_program import READY_LINE, Program, run
from proxy_wire import SECONDS, Client, Response, Truncated, short

SLUG = "high-perf-reverse-proxy"
LANGUAGES = ("go", "rust", "zig")

# --- command line ---


@REGISTRY.check("options/version", None)
async def version(arena: Arena) -> None:
    """`--version` prints the slug and the language."""
    ended = await run(arena.around.program, ["--version"])
    equal("exit code and stderr", (0, b""), (ended.code, ended.stderr))
    wanted = [f"{SLUG} {language}\n".encode() for language in LANGUAGES]
    expect(ended.stdout in wanted, f"expected one of {wanted}, got {short(ended.stdout)}")


@REGISTRY.check("options/help", None)
async def help_text(arena: Arena) -> None:
    """`--help` names every option, and the exit codes."""
    ended = await run(arena.around.program, ["--help"])
    equal("exit code and stderr", (0, b""), (ended.code, ended.stderr))
    words = (
        "listen backends balance hash-header pool-size max-connections connect-timeout read-timeout idle-timeout "
        "header-timeout drain-timeout max-header-bytes max-body-bytes health-path health-interval health-timeout rise "
        "fall max-fails fail-timeout retries admin threads version help"
    )
    missing = [word for word in words.split() if f"--{word}".encode() not in ended.stdout]
    expect(not missing, f"the manual does not name {missing}")
    expect(re.search(rb"(?i)exit", ended.stdout), "the manual does not tell exit codes")


HERE = ("--listen", "127.0.0.1:0")
THERE = ("--backends", "127.0.0.1:9")
BAD_OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "none": ((), ""),
    "no-backends": (HERE, "backends"),
    "no-listen": (THERE, "listen"),
    "unknown": ((*HERE, *THERE, "--frobnicate"), "frobnicate"),
    "unknown-with-value": ((*HERE, *THERE, "--frobnicate=7"), "frobnicate"),
    "unknown-short": ((*HERE, *THERE, "-z"), "-z"),
    "positional": ((*HERE, *THERE, "stray"), "stray"),
    "value-missing": ((*HERE, "--backends"), "backends"),
    "value-missing-last": ((*HERE, *THERE, "--threads"), "threads"),
    "listen-empty": (("--listen=", *THERE), "listen"),
    "listen-no-port": (("--listen", "127.0.0.1", *THERE), "127.0.0.1"),
    "listen-port-word": (("--listen", "127.0.0.1:http-alt", *THERE), "http-alt"),
    "listen-port-70000": (("--listen", "127.0.0.1:70000", *THERE), "70000"),
    "listen-port-minus": (("--listen", "127.0.0.1:-1", *THERE), "-1"),
    "listen-not-ours": (("--listen", "192.0.2.1:0", *THERE), "192.0.2.1"),
    "backends-empty": ((*HERE, "--backends="), "backends"),
    "backends-no-port": ((*HERE, "--backends", "127.0.0.1"), "127.0.0.1"),
    "backends-port-word": ((*HERE, "--backends", "127.0.0.1:abc"), "abc"),
    "backends-port-0": ((*HERE, "--backends", "127.0.0.1:0"), "127.0.0.1:0"),
    "backends-port-65536": ((*HERE, "--backends", "127.0.0.1:65536"), "65536"),
    "backends-empty-element": ((*HERE, "--backends", "127.0.0.1:9,,127.0.0.1:10"), "backends"),
    "backends-url": ((*HERE, "--backends", "http://127.0.0.1:9"), "http://127.0.0.1:9"),
    "backends-bad-ipv6": ((*HERE, "--backends", "[::1:80"), "[::1:80"),
    "backends-unknown-name": ((*HERE, "--backends", "no-such-host.invalid:80"), "no-such-host.invalid"),
    "backends-257": ((*HERE, "--backends", ",".join(f"127.0.0.1:{port}" for port in range(1000, 1257))), "256"),
    "balance-unknown": ((*HERE, *THERE, "--balance", "random"), "random"),
    "balance-case": ((*HERE, *THERE, "--balance", "Hash"), "Hash"),
    "admin-bad": ((*HERE, *THERE, "--admin", "nowhere"), "nowhere"),
    "pool-size-word": ((*HERE, *THERE, "--pool-size", "many"), "many"),
    "pool-size-minus": ((*HERE, *THERE, "--pool-size", "-1"), "-1"),
    "pool-size-fraction": ((*HERE, *THERE, "--pool-size", "1.5"), "1.5"),
    "pool-size-huge": ((*HERE, *THERE, "--pool-size", "99999999999999999999"), "99999999999999999999"),
    "threads-0": ((*HERE, *THERE, "--threads", "0"), "0"),
    "threads-word": ((*HERE, *THERE, "--threads", "two"), "two"),
    "max-connections-0": ((*HERE, *THERE, "--max-connections", "0"), "0"),
    "retries-minus": ((*HERE, *THERE, "--retries", "-1"), "-1"),
    "retries-word": ((*HERE, *THERE, "--retries", "x"), "x"),
    "read-timeout-word": ((*HERE, *THERE, "--read-timeout", "soon"), "soon"),
    "read-timeout-minus": ((*HERE, *THERE, "--read-timeout", "-1"), "-1"),
    "read-timeout-nan": ((*HERE, *THERE, "--read-timeout", "nan"), "nan"),
    "read-timeout-inf": ((*HERE, *THERE, "--read-timeout", "inf"), "inf"),
    "read-timeout-unit": ((*HERE, *THERE, "--read-timeout", "5s"), "5s"),
    "read-timeout-empty": ((*HERE, *THERE, "--read-timeout", ""), "read-timeout"),
    "connect-timeout-minus": ((*HERE, *THERE, "--connect-timeout=-0.5"), "-0.5"),
    "max-header-bytes-word": ((*HERE, *THERE, "--max-header-bytes", "16k"), "16k"),
    "max-body-bytes-minus": ((*HERE, *THERE, "--max-body-bytes", "-5"), "-5"),
    "health-path-no-slash": ((*HERE, *THERE, "--health-path", "up"), "up"),
    "health-interval-word": ((*HERE, *THERE, "--health-path", "/up", "--health-interval", "x"), "x"),
    "rise-0": ((*HERE, *THERE, "--rise", "0"), "0"),
    "fall-word": ((*HERE, *THERE, "--fall", "three"), "three"),
    "max-fails-word": ((*HERE, *THERE, "--max-fails", "few"), "few"),
    "fail-timeout-minus": ((*HERE, *THERE, "--fail-timeout", "-3"), "-3"),
}


async def bad_usage(args: tuple[str, ...], named: str, arena: Arena) -> None:
    """Exit code 2, nothing on stdout, one line on stderr that names what is wrong."""
    ended = await run(arena.around.program, list(args))
    equal("exit code", 2, ended.code)
    equal("stdout", b"", ended.stdout)
    lines = ended.stderr.decode("utf-8", "replace").splitlines()
    expect(len(lines) == 1 and lines[0].startswith("error: "), f"expected one line `error: ...`, got {lines}")
    expect(named in lines[0], f"expected {named!r} in {lines[0]!r}")
    arena.around.texts[arena.check_name] = lines[0]


for _name, (_args, _named) in BAD_OPTIONS.items():
    REGISTRY.add(f"options/bad-{_name}", functools.partial(bad_usage, _args, _named), None)


@REGISTRY.check("options/bad-port-in-use", None)
async def port_in_use(arena: Arena) -> None:
    """A taken port is said so at once, for --listen and for --admin."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        await bad_usage(("--listen", place, *THERE), place, arena)
        await bad_usage((*HERE, *THERE, "--admin", place), place, arena)


GOOD_OPTIONS: dict[str, tuple[str, ...]] = {
    "equals-sign": ("--balance=least-connections", "--pool-size=8", "--read-timeout=2.5"),
    "fractions": (
        "--connect-timeout",
        "0.25",
        "--idle-timeout",
        "1.5",
        "--header-timeout",
        ".5",
        "--drain-timeout",
        "2",
    ),
    "threads-2": ("--threads", "2"),
    "all": (
        *("--balance", "hash", "--hash-header", "X-K", "--pool-size", "4", "--max-connections", "50"),
        *("--connect-timeout", "1", "--read-timeout", "30", "--idle-timeout", "60", "--header-timeout", "10"),
        *("--drain-timeout", "1", "--max-header-bytes", "8192", "--max-body-bytes", "0", "--health-path", "/up"),
        *("--health-interval", "1", "--health-timeout", "1", "--rise", "1", "--fall", "2", "--max-fails", "2"),
        *("--fail-timeout", "1", "--retries", "1", "--threads", "1"),
    ),
}


async def good_usage(arena: Arena) -> None:
    """The program starts, says where, and serves 50 clients at once."""
    path = arena.target(response(b"x"))
    answers = await asyncio.gather(*(arena.get(path) for _ in range(50)))
    equal("statuses", {200}, {got.status for got in answers})


for _name, _args in GOOD_OPTIONS.items():
    REGISTRY.add(f"options/good-{_name}", good_usage, Setup(f"options-{_name}", _args, backends=2, fresh=True))


@REGISTRY.check("options/good-backend-by-name", None)
async def backend_by_name(arena: Arena) -> None:
    """A backend may have a name; `localhost` is one."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        words = [*HERE, "--backends", f"localhost:{listener.getsockname()[1]}"]
        program = await Program.start(arena.around.program, words)
        try:
            listener.setblocking(False)
            with await Client.open(program.address) as client:
                await client.send(get(b"/x"))
                async with asyncio.timeout(SECONDS):
                    sock, _ = await asyncio.get_running_loop().sock_accept(listener)
                    sock.close()
        finally:
            await program.kill()


@REGISTRY.check("options/ready-lines", Setup("ready", admin=True, fresh=True))
async def ready_lines(arena: Arena) -> None:
    """Stdout is two lines, the admin's first, with real ports that accept."""
    lines = bytes(arena.program.stdout)
    found = READY_LINE.findall(lines)
    equal("lines", [b"admin", b"listening"], [kind for kind, _, _ in found])
    rebuilt = b"".join(b"%s on %s:%s\n" % one for one in found)
    equal("stdout", rebuilt, lines)
    for address in (arena.program.admin, arena.program.address):
        (await Client.open(address)).close()


# --- counters ---

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.eE+]+|NaN|[+-]Inf)(?: [0-9]+)?")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')


@dataclass
class Metrics:
    """What /metrics says."""

    samples: list[tuple[str, dict[str, str], float]]

    def total(self, name: str, value: str = "") -> float:
        """Return the sum of the samples of a name (a prefix of our own may stand before it), or with a label value."""
        wanted = re.compile(rf"(?:[a-z]+_)?{name}")
        found = [
            number
            for sample, labels, number in self.samples
            if wanted.fullmatch(sample)
            and (name == "backend_requests_total" or not sample.endswith("backend_requests_total"))
            and (not value or value in labels.values())
        ]
        expect(found or value, f"no sample is called {name}")
        return sum(found)


async def scrape(arena: Arena) -> Metrics:
    """Read /metrics."""
    with await Client.open(arena.program.admin) as client:
        got = await client.ask(get(b"/metrics"))
    equal("status of /metrics", 200, got.status)
    expect((got.get("content-type") or b"").startswith(b"text/plain"), f"Content-Type: {got.get('content-type')}")
    samples = []
    for line in bytes(got.body).decode().splitlines():
        if not line or line.startswith("#"):
            continue
        match = SAMPLE.fullmatch(line)
        if match is None:
            raise Failed(f"/metrics has a line that is no sample: {line!r}")
        samples.append((match[1], dict(LABEL.findall(match[2] or "")), float(match[3])))
    return Metrics(samples)


async def becomes(arena: Arena, what: str, expected: object, read: Callable[[Metrics], object]) -> Metrics:
    """Read /metrics until something in it is as expected: a client may see its answer before it is counted."""
    began = time.monotonic()
    while True:
        found = await scrape(arena)
        if read(found) == expected or time.monotonic() - began > COUNTED_SECONDS:
            equal(what, expected, read(found))
            return found
        await asyncio.sleep(0.05)


COUNTED_SECONDS = 10.0
COUNTED = Setup("metrics", ("--max-fails", "1000000", "--retries", "1"), backends=2, admin=True)


@dataclass
class Grown:
    """How much each counter has grown since the first reading."""

    before: Metrics
    after: Metrics

    def by(self, name: str, value: str = "") -> float:
        """Return the growth of a counter."""
        return self.after.total(name, value) - self.before.total(name, value)


@REGISTRY.check("metrics/requests-by-class", COUNTED)
async def counted_classes(arena: Arena) -> None:
    """requests_total by class of status, the proxy's own answers included."""
    before = await scrape(arena)
    answers = ((10, b"200 OK"), (3, b"301 Moved"), (4, b"404 Not Found"), (2, b"500 Broken"))
    for number, status in answers:
        path = arena.target(response(b"x", status=status))
        for _ in range(number):
            await arena.get(path)
    for _ in range(5):
        await arena.ask(b"GET /bad HTTP/1.1\r\n\r\n")

    def growth(now: Metrics) -> dict[str, float]:
        return {name: Grown(before, now).by("requests_total", name) for name in ("2xx", "3xx", "4xx", "5xx")}

    await becomes(arena, "growth of requests_total", {"2xx": 10, "3xx": 3, "4xx": 9, "5xx": 2}, growth)


@REGISTRY.check("metrics/requests-by-backend", COUNTED)
async def counted_backends(arena: Arena) -> None:
    """backend_requests_total{backend} is what the backends count themselves."""
    before, had = await scrape(arena), [len(backend.requests) for backend in arena.backends]
    path = arena.target(response(b"x"))
    for _ in range(21):
        await arena.get(path)
    wanted = [len(backend.requests) - start for backend, start in zip(arena.backends, had, strict=True)]

    def growth(now: Metrics) -> list[float]:
        return [Grown(before, now).by("backend_requests_total", backend.address) for backend in arena.backends]

    await becomes(arena, "growth for each backend", wanted, growth)


@REGISTRY.check("metrics/bytes", COUNTED)
async def counted_bytes(arena: Arena) -> None:
    """bytes_in and bytes_out are the bytes of the clients: bodies and heads, nothing twice."""
    before = await scrape(arena)
    sizes = {"bytes_in": 300000, "bytes_out": 700000}
    path = arena.target(response(b"d" * sizes["bytes_out"]))
    await arena.ask(post(path, b"u" * sizes["bytes_in"]))

    def unfit(now: Metrics) -> dict[str, float]:
        grown = {name: Grown(before, now).by(rf"{name}(?:_total)?") for name in sizes}
        return {name: got for name, got in grown.items() if not sizes[name] <= got <= sizes[name] + 2000}

    await becomes(arena, f"not grown by {sizes} and a head each", {}, unfit)


@REGISTRY.check("metrics/retries", COUNTED)
async def counted_retries(arena: Arena) -> None:
    """retries_total counts second attempts."""
    before = await scrape(arena)
    attempts = 0

    async def first_dies(exchange: Exchange) -> None:
        nonlocal attempts
        attempts += 1
        if attempts % 2:
            exchange.reset()
        else:
            await exchange.reply(b"x")

    path = arena.target(first_dies)
    for _ in range(3):
        for backend in arena.backends:
            backend.drop()
        await asyncio.sleep(0.05)
        equal("status", 200, (await arena.get(path)).status)
    await becomes(arena, "growth of retries_total", 3, lambda now: Grown(before, now).by("retries_total"))


@REGISTRY.check("metrics/cut-responses", COUNTED)
async def counted_cuts(arena: Arena) -> None:
    """responses_cut_total counts answers whose backend failed inside the body."""
    before = await scrape(arena)
    path = arena.target(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "close")
    for _ in range(3):
        try:
            await arena.get(path)
        except Truncated:
            continue
        raise Failed("expected a visible cut, got a clean end")
    await becomes(arena, "growth", 3, lambda now: Grown(before, now).by("responses_cut_total"))


@REGISTRY.check("metrics/active-connections", COUNTED)
async def counted_connections(arena: Arena) -> None:
    """active_connections follows the clients that are there."""

    def active(now: Metrics) -> float:
        return now.total("active_connections")

    await becomes(arena, "without clients", 0, active)
    clients = [await arena.client() for _ in range(7)]
    for client in clients:
        await client.ask(get(arena.target(response(b"x"))))
    await becomes(arena, "with 7 clients", 7, active)
    for client in clients:
        client.close()
    await becomes(arena, "after they left", 0, active)


@REGISTRY.check(
    "metrics/backend-up", Setup("metrics-up", ("--max-fails", "1", "--retries", "1"), backends=2, admin=True)
)
async def counted_up(arena: Arena) -> None:
    """backend_up is 1 or 0 for each backend."""
    first = await scrape(arena)
    equal("at first", [1, 1], [first.total("backend_up", backend.address) for backend in arena.backends])
    arena.backends[1].down()
    path = arena.target(response(b"x"))
    for _ in range(4):
        await arena.get(path)
    then = await scrape(arena)
    equal("with one down", [1, 0], [then.total("backend_up", backend.address) for backend in arena.backends])


@REGISTRY.check("metrics/apart-from-clients", COUNTED)
async def not_for_clients(arena: Arena) -> None:
    """On the clients' port /metrics and /health are paths of the backends; asking the admin port counts nothing."""
    for path in (b"/metrics", b"/health"):
        got = await arena.get(path)
        expect(b"GET " + path in got.body, f"{path.decode()} was not the backend's: {short(bytes(got.body))}")
    first = await scrape(arena)
    for _ in range(5):
        await scrape(arena)
    equal("growth of requests_total", 0, Grown(first, await scrape(arena)).by("requests_total"))


@REGISTRY.check("metrics/admin-health", COUNTED)
async def admin_health(arena: Arena) -> None:
    """GET /health is 200, other paths are 404, garbage is survived, keep-alive or not."""
    for path, status in ((b"/health", 200), (b"/nothing", 404)):
        with await Client.open(arena.program.admin) as client:
            equal(f"status of {path.decode()}", status, (await client.ask(get(path))).status)
    for garbage in (b"\x00\x01\x02\r\n\r\n", b"GET /" + b"x" * 100000, b"GET / HTTP/1.1\r\n\r\n"):
        with await Client.open(arena.program.admin) as client:
            await client.try_send(garbage)
            client.half_close()
            await client.until_end()
    with await Client.open(arena.program.admin) as client:
        equal("status afterwards", 200, (await client.ask(get(b"/health"))).status)


@REGISTRY.check("metrics/under-load", COUNTED)
async def counted_under_load(arena: Arena) -> None:
    """500 requests of 20 clients at once are 500."""
    before = await scrape(arena)
    path = arena.target(response(b"x"))

    async def one() -> None:
        with await arena.client() as client:
            for _ in range(25):
                await client.ask(get(path))

    await asyncio.gather(*(one() for _ in range(20)))
    await becomes(arena, "growth", 500, lambda now: Grown(before, now).by("requests_total", "2xx"))


# --- the end ---


PATIENT = ("--drain-timeout", "30")
"""What ends before ends because there is nothing left to do."""
EXIT_SECONDS = 4.5
"""Below the default of 5: also where a short time-out is asked for, it is seen to be that."""


def drain(*options: str) -> Setup:
    """Return a setup whose program a check will end."""
    return Setup("drain" + "".join(options), options, fresh=True)


async def end_now(arena: Arena, number: int = signal.SIGTERM) -> float:
    """Send the signal; return when."""
    arena.stopped_by_check = True
    arena.program.signal(number)
    return time.monotonic()


async def exits(arena: Arena, began: float, least: float = 0.0) -> None:
    """Fail unless the program ends with 0 in time."""
    code = await arena.program.ended(EXIT_SECONDS + 1)
    took = time.monotonic() - began
    equal("exit code", 0, code)
    timely(least <= took <= EXIT_SECONDS, f"expected the end after {least:g} to {EXIT_SECONDS:g} s, took {took:.2f} s")


async def drains_slow_response(number: int, arena: Arena) -> None:
    """In the middle of a slow response: it is finished, nobody new gets in, exit code 0."""
    parts = [(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", 0.0), (b"world", 0.8)]
    path = arena.target(pieces(*parts))
    client = await arena.client()
    await client.send(get(path))
    head = await client.response_head()
    began = await end_now(arena, number)
    await asyncio.sleep(0.3)
    await refused_or_closed(arena)
    await client.read_body(head)
    same_body(b"helloworld", head)
    await client.nothing_more()
    client.close()
    await exits(arena, began)


async def refused_or_closed(arena: Arena) -> None:
    """Fail where a new client is still served."""
    try:
        late = await Client.open(arena.program.address)
    except OSError:
        return
    with late:
        await late.try_send(get(b"/late"))
        try:
            got = await late.response(seconds=0.5)
        except (Truncated, TimeoutError):
            return
        raise Failed(f"a new client was answered by {got.status} while draining")


REGISTRY.add("drain/slow-response-SIGTERM", functools.partial(drains_slow_response, signal.SIGTERM), drain(*PATIENT))
REGISTRY.add("drain/slow-response-SIGINT", functools.partial(drains_slow_response, signal.SIGINT), drain(*PATIENT))


@REGISTRY.check("drain/head-not-yet-sent", drain(*PATIENT))
async def drain_before_head(arena: Arena) -> None:
    """An answer whose head goes out while draining says that the connection closes."""
    path = arena.target(pieces((response(b"late"), 0.6)))
    client = await arena.client()
    await client.send(get(path))
    await arena.backend.wait_for(path)
    began = await end_now(arena)
    got = await client.response()
    same_body(b"late", got)
    expect(got.closes, f"no Connection: close while draining: {short(got.headers)}")
    await client.nothing_more()
    client.close()
    await exits(arena, began)


@REGISTRY.check("drain/upload-in-flight", drain(*PATIENT))
async def drain_upload(arena: Arena) -> None:
    """An upload that has begun is finished."""
    path = arena.target()
    client = await arena.client()
    request = post(path, b"0123456789")
    await client.send(request[:-5])
    await arena.backend.wait_for(path, whole=False)
    began = await end_now(arena)
    await asyncio.sleep(0.3)
    await client.send(request[-5:])
    equal("status", 200, (await client.response("POST")).status)
    same_body(b"0123456789", arena.got(path)[0])
    await exits(arena, began)


@REGISTRY.check("drain/idle-clients", drain(*PATIENT))
async def drain_idle(arena: Arena) -> None:
    """Idle clients are closed at once and hold nothing up."""
    clients = [await arena.client() for _ in range(20)]
    for client in clients[:15]:
        await client.ask(get(arena.target(response(b"x"))))
    began = await end_now(arena)
    for client in clients:
        rest = await client.until_end()
        equal("bytes on an idle connection", b"", rest)
    await exits(arena, began)


@REGISTRY.check("drain/nothing-to-do", drain(*PATIENT))
async def drain_nothing(arena: Arena) -> None:
    """Without clients the end is immediate."""
    await exits(arena, await end_now(arena))


@REGISTRY.check("drain/timeout", drain("--drain-timeout", "0.8"))
async def drain_timeout(arena: Arena) -> None:
    """A response that never ends is cut, visibly, after --drain-timeout; exit code 0."""

    async def endless(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await exchange.wire.until_end()
        exchange.over = True

    client = await arena.client()
    await client.send(get(arena.target(endless)))
    head = await client.response_head()
    began = await end_now(arena)
    async with arena.truncated("a response cut by the drain time-out"):
        await client.read_body(head)
    await exits(arena, began, 0.7)


@REGISTRY.check("drain/second-signal", drain(*PATIENT))
async def drain_second_signal(arena: Arena) -> None:
    """A second signal ends at once what would have waited 30 s."""
    path = arena.target(pieces((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", 0.0), (b"world", 25.0)))
    client = await arena.client()
    await client.send(get(path))
    await client.response_head()
    await end_now(arena)
    await asyncio.sleep(0.4)
    expect(arena.program.alive, "the program ended while a response was in flight")
    arena.program.signal(signal.SIGTERM)
    await arena.program.ended(EXIT_SECONDS)


@REGISTRY.check("drain/tunnel", drain("--drain-timeout", "0.8"))
async def drain_tunnel(arena: Arena) -> None:
    """A tunnel works on while draining and holds the end up no longer than --drain-timeout."""
    client = await arena.client()
    await client.send(get(arena.target(tunnel(mirror)), *UPGRADE))
    equal("status", 101, (await client.response()).status)
    began = await end_now(arena)
    await client.try_send(b"still there?")
    await client.until_end()
    await exits(arena, began)


@REGISTRY.check("drain/pipelined", drain(*PATIENT))
async def drain_pipelined(arena: Arena) -> None:
    """Of a pipeline the running request is finished; what is behind it is answered or closed, never cut."""
    slow, fast = arena.target(pieces((response(b"slow"), 0.5))), arena.target(response(b"fast"))
    client = await arena.client()
    await client.send(get(slow) + get(fast))
    await arena.backend.wait_for(slow)
    began = await end_now(arena)
    got: Response = await client.response()
    same_body(b"slow", got)
    if got.closes:
        await client.nothing_more()
    else:
        same_body(b"fast", await client.response())
    client.close()
    await exits(arena, began)


@REGISTRY.check("drain/backends-are-closed", drain(*PATIENT))
async def drain_backends(arena: Arena) -> None:
    """The pooled connections end with the program."""
    path = arena.target(response(b"x"))
    await asyncio.gather(*(arena.get(path) for _ in range(10)))
    await exits(arena, await end_now(arena))
    await arena.backend.closed_down_to(0)
    equal("open connections at the backend", 0, arena.backend.open_connections)


@REGISTRY.check("drain/during-load", drain(*PATIENT))
async def drain_load(arena: Arena) -> None:
    """Under load no request that was begun gets half an answer."""
    work: Handler = pieces((response(b"payload" * 1000), 0.01))
    path = arena.target(work)
    bad: list[str] = []
    served = 0

    async def one() -> None:
        nonlocal served
        try:
            with await arena.client() as client:
                while True:
                    if not await client.try_send(get(path)):
                        return
                    got = await client.response()
                    if got.status != 200 or got.size != 7000:
                        bad.append(f"{got.status} with {got.size} bytes")
                    served += 1
                    if got.closes:
                        return
        except Truncated as cut:
            if cut.message.raw_head:
                bad.append(str(cut))
        except OSError:
            return

    tasks = [asyncio.ensure_future(one()) for _ in range(30)]
    async with asyncio.timeout(SECONDS):
        while served <= 60:  # noqa: ASYNC110 - counted by the tasks
            await asyncio.sleep(0.01)
    began = await end_now(arena)
    await asyncio.gather(*tasks)
    await exits(arena, began)
    expect(not bad, f"{len(bad)} bad answers: {bad[:1]}")
