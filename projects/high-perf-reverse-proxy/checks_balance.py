"""Which backend gets a request: distribution, retries, ejection and return."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter

from checks_framing import same_body
from proxy_arena import REGISTRY, Arena, Late, Setup, equal, expect, get, post, post_chunked, timely, until
from proxy_backend import Exchange, Handler, pieces, raw, response
from proxy_program import Program
from proxy_wire import Client

ROUND_ROBIN = {count: Setup(f"round-robin-{count}", backends=count) for count in (2, 3, 5)}
LEAST = Setup("least", ("--balance", "least-connections", "--max-fails", "1000000"), backends=3)
HASH = Setup("hash", ("--balance", "hash"), backends=3)
HASH_HEADER_OPTIONS = ("--balance", "hash", "--hash-header", "X-User", "--max-fails", "1", "--fail-timeout", "0.8")
HASH_HEADER = Setup("hash-header", HASH_HEADER_OPTIONS, backends=4)
KEYS = [b"user-%d" % number for number in range(240)]


def who(arena: Arena, path: bytes) -> list[int]:
    """Return the number of the backend of each request for a path, in no order."""
    return [index for index, backend in enumerate(arena.backends) for _ in backend.got(path)]


def naming(arena: Arena) -> bytes:
    """Return a path to which every backend answers with its own name."""
    path = arena.target()
    for backend in arena.backends:
        backend.handlers[path] = raw(response(backend.name.encode()))
    return path


# --- round robin ---


async def exact_turns(count: int, how: str, arena: Arena) -> None:
    """Every backend gets exactly its turn."""
    path = naming(arena)
    asked = 12 * count
    if how == "one-client":
        with await arena.client() as client:
            turns = [bytes((await client.ask(get(path))).body) for _ in range(asked)]
    elif how == "pipelined":
        with await arena.client() as client:
            await client.send(get(path) * asked)
            turns = [bytes((await client.response()).body) for _ in range(asked)]
    else:
        turns = [bytes((await arena.get(path)).body) for _ in range(asked)]
    equal("requests a backend", dict.fromkeys(range(count), 12), dict(Counter(who(arena, path))))
    cycle = turns[:count]
    equal("order", cycle * 12, turns)


for _count, _setup in ROUND_ROBIN.items():
    for _how in ("one-client", "pipelined", "many-clients"):
        REGISTRY.add(f"round-robin/{_count}-{_how}", functools.partial(exact_turns, _count, _how), _setup)


@REGISTRY.check("round-robin/3-concurrent", ROUND_ROBIN[3])
async def concurrent_turns(arena: Arena) -> None:
    """30 clients at once, ten requests each: still exactly a third a backend."""
    path = naming(arena)

    async def one() -> None:
        with await arena.client() as client:
            for _ in range(10):
                equal("status", 200, (await client.ask(get(path))).status)

    await asyncio.gather(*(one() for _ in range(30)))
    equal("requests a backend", {0: 100, 1: 100, 2: 100}, dict(Counter(who(arena, path))))


# --- least connections ---


class Gate:
    """Holds requests at the backends until it is opened for one of them."""

    def __init__(self, arena: Arena) -> None:
        """Hold every request for a path of its own."""
        self.arena = arena
        self.path = arena.target()
        self.open = [asyncio.Event() for _ in arena.backends]
        for backend, event in zip(arena.backends, self.open, strict=True):
            backend.handlers[self.path] = self.handler(event)

    def handler(self, event: asyncio.Event) -> Handler:
        """Answer when the event is set."""

        async def hold(exchange: Exchange) -> None:
            await event.wait()
            await exchange.reply(b"x")

        return hold

    def held(self) -> list[int]:
        """Return how many requests each backend has seen."""
        return [len(backend.got(self.path)) for backend in self.arena.backends]

    async def send(self, number: int) -> list[Client]:
        """Send requests one after another, each when the one before has arrived."""
        clients: list[Client] = []
        before = sum(self.held())
        for _ in range(number):
            client = await self.arena.client()
            await client.send(get(self.path))
            clients.append(client)
            await until("the request at a backend", lambda: sum(self.held()) == before + len(clients))
        return clients


@REGISTRY.check("least-connections/even", LEAST)
async def least_even(arena: Arena) -> None:
    """Nine requests in flight are three a backend."""
    gate = Gate(arena)
    clients = await gate.send(9)
    held = gate.held()
    for event in gate.open:
        event.set()
    await asyncio.gather(*(client.response() for client in clients))
    equal("held by each", [3, 3, 3], held)


@REGISTRY.check("least-connections/fills-what-is-free", LEAST)
async def least_fills(arena: Arena) -> None:
    """When one backend has finished its three, it gets the next three."""
    gate = Gate(arena)
    clients = await gate.send(9)
    equal("held by each", [3, 3, 3], gate.held())
    gate.open[1].set()
    answered = [asyncio.ensure_future(client.response()) for client in clients]
    await until("three answers", lambda: sum(one.done() for one in answered) == 3)
    gate.open[1].clear()
    await gate.send(3)
    equal("held by each", [3, 6, 3], gate.held())
    for event in gate.open:
        event.set()
    await asyncio.gather(*answered)


@REGISTRY.check("least-connections/one-slow", LEAST)
async def least_slow(arena: Arena) -> None:
    """A backend that answers only when the others have answered all the rest gets few of eight clients' requests."""
    path = arena.target(response(b"x"))
    over = asyncio.Event()
    left = 200

    async def slow(exchange: Exchange) -> None:
        await over.wait()
        await exchange.reply(b"x")

    async def one() -> None:
        nonlocal left
        with await arena.client() as client:
            while left:
                left -= 1
                await client.ask(get(path))
        over.set()

    arena.backends[0].handlers[path] = slow
    await asyncio.gather(*(one() for _ in range(8)))
    waited, *answered = (len(backend.got(path)) for backend in arena.backends)
    # Of eight requests under way it holds a third, while each of the others has as many.
    expect(waited <= 4, f"the slow backend got {waited} of 200 requests, the others {answered}")


@REGISTRY.check("least-connections/broken-requests-are-not-counted", LEAST)
async def least_after_errors(arena: Arena) -> None:
    """Requests that failed, or whose clients left, leave no weight behind."""
    bad = arena.target(b"garbage\r\n\r\n", "close")
    backend_errors = arena.target(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "reset")
    for number in range(4):
        with await arena.client() as client:
            await client.send(get(bad if number % 2 else backend_errors))
            await client.until_end() if number % 2 == 0 else await client.response()
    left = 0

    async def abandoned(exchange: Exchange) -> None:
        nonlocal left
        await exchange.wire.until_end()
        exchange.over = True
        left += 1

    path = arena.target(abandoned)
    clients = [await arena.client() for _ in range(4)]
    for client in clients:
        await client.send(get(path))
    await until("four requests", lambda: len(arena.got(path)) == len(clients))
    for client in clients:
        client.reset()
    await until("the end of their backend connections", lambda: left == len(clients))
    gate = Gate(arena)
    await gate.send(9)
    held = gate.held()
    for event in gate.open:
        event.set()
    equal("held by each", [3, 3, 3], held)


# --- hash ---


@REGISTRY.check("hash/by-address", HASH)
async def hash_address(arena: Arena) -> None:
    """A client address always has the same backend, whatever its port, and all backends have some."""
    path = naming(arena)
    places: dict[str, set[bytes]] = {}
    for turn in range(3):
        for number in range(60):
            source = f"127.0.{number % 7}.{number + 2}"
            with await arena.client(source=source) as client:
                got = await client.ask(get(path, b"X-Turn: %d" % turn))
            places.setdefault(source, set()).add(bytes(got.body))
    wandering = [source for source, names in places.items() if len(names) > 1]
    expect(not wandering, f"{len(wandering)} of 60 addresses changed their backend: {wandering[:3]}")
    share = Counter(next(iter(names)) for names in places.values())
    expect(len(share) == 3 and min(share.values()) >= 8, f"60 addresses on 3 backends: {dict(share)}")


@REGISTRY.check("hash/by-address-same-after-restart", HASH)
async def hash_restart(arena: Arena) -> None:
    """A second program with the same backends sends each address to the same place."""
    path = naming(arena)
    second = await Program.start(arena.around.program, arena.words)
    try:
        places = [await _places(program.address, path) for program in (arena.program, second)]
    finally:
        await second.kill()
    equal("places", *places)


async def _places(address: tuple[str, int], path: bytes) -> list[bytes]:
    places = []
    for number in range(40):
        with await Client.open(address, source=f"127.0.0.{number + 2}") as client:
            places.append(bytes((await client.ask(get(path))).body))
    return places


async def hashed(arena: Arena, path: bytes) -> dict[bytes, bytes]:
    """Return the backend of every key."""
    with await arena.client() as client:
        return {key: bytes((await client.ask(get(path, b"X-User: " + key))).body) for key in KEYS}


@REGISTRY.check("hash/by-header", HASH_HEADER)
async def hash_header(arena: Arena) -> None:
    """A header value always has the same backend, and the values are spread."""
    path = naming(arena)
    first = await hashed(arena, path)
    equal("places the second time", first, await hashed(arena, path))
    share = Counter(first.values())
    expect(len(share) == 4 and min(share.values()) >= 35, f"{len(KEYS)} keys on 4 backends: {dict(share)}")


@REGISTRY.check("hash/by-header-name-in-any-case", HASH_HEADER)
async def hash_header_case(arena: Arena) -> None:
    """The name of the header has no case, its value has."""
    path = naming(arena)
    with await arena.client() as client:
        for key in KEYS[:20]:
            names = [bytes((await client.ask(get(path, name + b": " + key))).body) for name in (b"X-User", b"x-uSER")]
            equal(f"places of {key.decode()}", names[0], names[1])


@REGISTRY.check("hash/by-header-absent", HASH_HEADER)
async def hash_header_absent(arena: Arena) -> None:
    """A request without the header is served."""
    equal("status", 200, (await arena.get(naming(arena))).status)


@REGISTRY.check("hash/minimal-movement", HASH_HEADER)
async def hash_movement(arena: Arena) -> None:
    """When a backend goes down only its keys move, to all the others; when it is back, they are back."""
    path = naming(arena)
    first = await hashed(arena, path)
    arena.backends[2].down()
    await asyncio.sleep(0.05)
    during = await hashed(arena, path)
    moved = {key for key in KEYS if first[key] != during[key]}
    wrong = sorted(key for key in moved if first[key] != b"b2")
    expect(not wrong, f"{len(wrong)} keys of other backends moved: {wrong[:3]}")
    expect(b"b2" not in during.values(), "keys are still sent to the backend that is down")
    spread = Counter(during[key] for key in moved)
    expect(len(spread) == 3, f"the {len(moved)} keys of one backend went to {dict(spread)}")
    arena.backends[2].up()
    await asyncio.sleep(1.0)
    equal("places after its return", first, await hashed(arena, path))


@REGISTRY.check("hash/keys-spread-over-the-rest", HASH_HEADER)
async def hash_independent(arena: Arena) -> None:
    """Keys that look alike are spread too: numbers, one letter, long ones."""
    path = naming(arena)
    families = {
        "numbers": [b"%d" % number for number in range(80)],
        "letters": [bytes([letter]) for letter in range(0x21, 0x7F)],
        "long": [b"x" * 300 + b"%d" % number for number in range(80)],
    }
    with await arena.client() as client:
        for name, keys in families.items():
            share = Counter([bytes((await client.ask(get(path, b"X-User: " + key))).body) for key in keys])
            expect(len(share) == 4 and min(share.values()) >= 6, f"{name} on 4 backends: {dict(share)}")


# --- retries ---

ONE_DOWN = Setup("one-down", ("--max-fails", "1000000"), backends=2, down=(0,))
ONE_DOWN_NO_RETRY = Setup("one-down-no-retry", ("--max-fails", "1000000", "--retries", "0"), backends=2, down=(0,))
PATIENT = Setup("patient", ("--max-fails", "1000000"), backends=3)
NO_RETRY = Setup("no-retry", ("--max-fails", "1000000", "--retries", "0"), backends=3)
METHODS = (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE")


async def connect_failure(request: bytes, arena: Arena) -> None:
    """A backend that refuses connections costs no request, whatever its method: nothing was sent to it."""
    path = arena.target(response(b""))
    statuses = [(await arena.ask(request.replace(b"%s", path))).status for _ in range(6)]
    equal("statuses", [200] * 6, statuses)


for _name, _request in {
    "get": get(b"%s"),
    "post": post(b"%s", b"body"),
    "post-chunked": post_chunked(b"%s", b"4\r\nbody\r\n0\r\n\r\n"),
    "post-big": post(b"%s", b"b" * 300000),
    "patch": post(b"%s", b"body", method=b"PATCH"),
}.items():
    REGISTRY.add(f"retries/refused-connection-{_name}", functools.partial(connect_failure, _request), ONE_DOWN)


@REGISTRY.check("retries/refused-connection-off", ONE_DOWN_NO_RETRY)
async def connect_failure_off(arena: Arena) -> None:
    """With --retries 0 the client hears of it."""
    statuses = [(await arena.get(arena.target(response(b"")))).status for _ in range(6)]
    equal("statuses", [200, 200, 200, 502, 502, 502], sorted(statuses))


def dies(arena: Arena, how: str, alive: int | None = None) -> bytes:
    """Return a path on which every backend but one dies before its response."""

    async def die(exchange: Exchange) -> None:
        await exchange.body()
        if how == "partial":
            await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Le")
            await asyncio.sleep(0.03)
        exchange.reset() if how == "reset" else exchange.close()

    path = arena.target(die)
    if alive is not None:
        arena.backends[alive].handlers[path] = raw(response(b"alive"))
    return path


async def empty_pools(arena: Arena) -> None:
    """End all idle connections, so that the next attempt is made on a fresh one."""
    for backend in arena.backends:
        backend.drop()
    await asyncio.sleep(0.05)


async def death_retried(method: bytes, how: str, arena: Arena) -> None:
    """An idempotent request without a body is tried on another backend."""
    path = arena.target(response(b"" if method == b"HEAD" else b"alive"))
    dead = 0

    def mortal(index: int) -> Handler:
        async def handler(exchange: Exchange) -> None:
            nonlocal dead
            await exchange.body()
            if dead % 2 == 0:  # every other attempt dies, wherever it is made
                dead += 1
                exchange.reset() if how == "reset" else exchange.close()
                return
            dead += 1
            await exchange.reply(b"" if method == b"HEAD" else b"alive %d" % index)

        return handler

    for index, backend in enumerate(arena.backends):
        backend.handlers[path] = mortal(index)
    for _ in range(4):
        got = await arena.ask(get(path).replace(b"GET", method, 1))
        equal("status", 200, got.status)
    seen = [(index, request) for index, backend in enumerate(arena.backends) for request in backend.got(path)]
    equal("attempts for 4 requests", 8, len(seen))


for _method in METHODS:
    REGISTRY.add(f"retries/reset-{_method.decode()}", functools.partial(death_retried, _method, "reset"), PATIENT)
REGISTRY.add("retries/close-GET", functools.partial(death_retried, b"GET", "close"), PATIENT)


async def death_not_retried(request: bytes, how: str, arena: Arena) -> None:
    """What may have been done already, or has half an answer, is not done again."""
    path = dies(arena, how)
    await empty_pools(arena)
    got = await arena.ask(request.replace(b"%s", path))
    arena.error(got, 502)
    equal("attempts", 1, len(arena.got(path)))


for _name, (_request, _how) in {
    "reset-POST": (post(b"%s", b"body"), "reset"),
    "reset-POST-empty": (post(b"%s", b""), "reset"),
    "reset-PATCH": (post(b"%s", b"body", method=b"PATCH"), "reset"),
    "reset-PUT-with-body": (post(b"%s", b"body", method=b"PUT"), "reset"),
    "reset-PUT-chunked": (post_chunked(b"%s", b"4\r\nbody\r\n0\r\n\r\n", method=b"PUT"), "reset"),
    "partial-response-GET": (get(b"%s"), "partial"),
}.items():
    REGISTRY.add(f"retries/not-{_name}", functools.partial(death_not_retried, _request, _how), PATIENT)


@REGISTRY.check("retries/limit", PATIENT)
async def retry_limit(arena: Arena) -> None:
    """With --retries 1 there are two attempts, on two backends, and then 502."""
    path = dies(arena, "reset")
    await empty_pools(arena)
    arena.error(await arena.get(path), 502)
    equal("backends tried", 2, len(set(who(arena, path))))
    equal("attempts", 2, len(arena.got(path)))


@REGISTRY.check("retries/limit-2", Setup("retries-2", ("--max-fails", "1000000", "--retries", "2"), backends=3))
async def retry_limit_2(arena: Arena) -> None:
    """With --retries 2 the third backend saves the request."""
    for alive in range(3):
        path = dies(arena, "reset", alive)
        for _ in range(3):
            same_body(b"alive", await arena.get(path))


@REGISTRY.check("retries/off", NO_RETRY)
async def retries_off(arena: Arena) -> None:
    """With --retries 0 a request that fails on a fresh connection is tried once."""
    path = dies(arena, "reset")
    await empty_pools(arena)
    arena.error(await arena.get(path), 502)
    equal("attempts", 1, len(arena.got(path)))


@REGISTRY.check("retries/head-of-request-is-the-same", PATIENT)
async def retry_same_head(arena: Arena) -> None:
    """The second attempt is the first one again: additions are not added twice."""
    path = dies(arena, "reset")
    await empty_pools(arena)
    arena.error(await arena.get(path, b"X-A: b", b"X-Forwarded-For: 10.0.0.1"), 502)
    first, second = arena.got(path)
    equal("second head", first.raw_head, second.raw_head)


# --- passive ejection ---

PASSIVE = ("--max-fails", "3", "--fail-timeout", "60")
RETURNS = ("--max-fails", "3", "--fail-timeout", "2")


async def statuses(arena: Arena, path: bytes, number: int) -> list[int]:
    """Return the statuses of requests one after another."""
    return [(await arena.get(path)).status for _ in range(number)]


@REGISTRY.check("ejection/one-closed-port", Setup("e1", (*PASSIVE, "--retries", "0"), down=(0,), fresh=True))
async def eject_only(arena: Arena) -> None:
    """The only backend refuses: three times 502, then 503 with Retry-After, and one line on stderr."""
    path = arena.target(response(b""))
    equal("statuses", [502, 502, 502, 503, 503], await statuses(arena, path, 5))
    got = await arena.get(path)
    arena.error(got, 503)
    equal("Retry-After", b"1", got.get("retry-after"))
    said = bytes(arena.program.stderr).decode("utf-8", "replace").splitlines()
    expect(
        any(arena.backend.address in line for line in said), f"no line on stderr names {arena.backend.address}: {said}"
    )


@REGISTRY.check("ejection/returns-after-fail-timeout", Setup("e2", (*RETURNS, "--retries", "0"), down=(0,), fresh=True))
async def eject_returns(arena: Arena) -> None:
    """After --fail-timeout the backend is tried again."""
    path = arena.target(response(b""))
    began = time.monotonic()
    equal("statuses", [502, 502, 502, 503], await statuses(arena, path, 4))
    arena.backend.up()
    before = await statuses(arena, path, 1)
    timely(time.monotonic() - began < 2, "the oracle itself was held up")
    equal("status before the time-out", [503], before)
    await asyncio.sleep(2.3)
    equal("statuses after it", [200, 200], await statuses(arena, path, 2))


@REGISTRY.check("ejection/others-take-over", Setup("e3", (*PASSIVE, "--retries", "1"), backends=3, fresh=True))
async def eject_takes_over(arena: Arena) -> None:
    """A backend that resets is asked three times and then left alone; its clients notice nothing."""
    path = arena.target(response(b"x"))

    async def die(exchange: Exchange) -> None:
        exchange.reset()

    arena.backends[1].handlers[path] = die
    equal("statuses", [200] * 30, await statuses(arena, path, 30))
    tries = len(arena.backends[1].got(path))
    expect(tries == 3, f"expected 3 attempts on the bad backend, got {tries}")
    share = [len(arena.backends[index].got(path)) for index in (0, 2)]
    expect(sum(share) == 30, f"the others got {share}, together not 30")
    # Round robin goes on between the two that are left: the nine turns with a retry may stand either way.
    expect(abs(share[0] - share[1]) <= 4, f"the others got {share}")


@REGISTRY.check("ejection/success-forgives", Setup("e4", (*PASSIVE, "--retries", "0"), fresh=True))
async def eject_consecutive(arena: Arena) -> None:
    """Only failures in a row count."""
    good = arena.target(response(b"x"))
    bad = dies(arena, "reset")
    for _ in range(4):
        equal("bad twice", [502, 502], await statuses(arena, bad, 2))
        equal("good once", [200], await statuses(arena, good, 1))


@REGISTRY.check("ejection/answers-of-any-status-are-no-failure", Setup("e5", PASSIVE, fresh=True))
async def eject_not_for_500(arena: Arena) -> None:
    """A backend that answers 500 or 503 by itself is up."""
    for status in (b"500 Internal Server Error", b"503 Service Unavailable", b"502 Bad Gateway"):
        path = arena.target(response(b"own", status=status))
        for _ in range(5):
            got = await arena.get(path)
            equal("status", int(status[:3]), got.status)
            same_body(b"own", got)


@REGISTRY.check("ejection/bad-responses-count", Setup("e6", (*PASSIVE, "--retries", "0"), fresh=True))
async def eject_bad_responses(arena: Arena) -> None:
    """Garbage three times in a row ejects."""
    path = arena.target(b"garbage\r\n\r\n", "close")
    equal("statuses", [502, 502, 502, 503], await statuses(arena, path, 4))


@REGISTRY.check("ejection/reused-connections-count", Setup("e8", (*PASSIVE, "--retries", "0"), fresh=True))
async def eject_reused(arena: Arena) -> None:
    """A request that fails on a connection that was good before, and may not be repeated, counts like any other."""
    path = arena.target(pieces((response(b"x"), 0.3)))
    await asyncio.gather(*(arena.get(path) for _ in range(3)))
    bad = dies(arena, "reset")
    equal("statuses", [502, 502, 502, 503], [(await arena.ask(post(bad, b"body"))).status for _ in range(4)])


@REGISTRY.check("ejection/all-down", Setup("e7", (*RETURNS, "--retries", "5"), backends=3, down=(0, 1, 2), fresh=True))
async def eject_all(arena: Arena) -> None:
    """All refuse: nobody is asked any more, and every answer is 502 or, soon, 503; then all return."""
    path = arena.target(response(b"x"))
    seen = await statuses(arena, path, 12)
    expect(set(seen) <= {502, 503} and seen[-1] == 503, f"statuses: {seen}")
    for backend in arena.backends:
        backend.up()
    await asyncio.sleep(2.3)
    equal("statuses after their return", [200] * 6, await statuses(arena, path, 6))
    equal("requests a backend", {0: 2, 1: 2, 2: 2}, dict(Counter(who(arena, path))))


# --- active checks ---

HEALTH = ("--health-path", "/up", "--health-interval", "0.15", "--rise", "2", "--fall", "3")
ACTIVE = (*HEALTH, "--health-timeout", "0.6", "--max-fails", "1000000")
PATIENT_ACTIVE = (*HEALTH, "--health-timeout", "10", "--max-fails", "1000000")
"""No probe fails because the oracle is late."""
GOOD = response(b"ok")
BAD = response(b"", status=b"500 Internal Server Error")
TOLD_SECONDS = 20.0
"""How long to wait for what must happen; nothing is said about how soon it does."""


class Health:
    """The health path of the backends, answered as told, and every answer counted."""

    def __init__(self, arena: Arena) -> None:
        """Let all be healthy."""
        self.answers = [GOOD] * len(arena.backends)
        self.asked: list[list[float]] = [[] for _ in arena.backends]
        self.given: list[list[bytes]] = [[] for _ in arena.backends]
        """What each probe was told; nothing where it was left waiting."""
        self.scripts: dict[int, list[bytes]] = {}
        """Answers for the next probes of a backend, whenever they come."""
        self.slow: set[int] = set()
        for index, backend in enumerate(arena.backends):
            backend.handlers[b"/up"] = functools.partial(self.handler, index)

    async def handler(self, index: int, exchange: Exchange) -> None:
        """Answer a probe."""
        self.asked[index].append(time.monotonic())
        await exchange.body()
        if index in self.slow:
            self.given[index].append(b"")
            await exchange.wire.until_end(30)
            exchange.over = True
            return
        script = self.scripts.get(index)
        answer = script.pop(0) if script else self.answers[index]
        self.given[index].append(answer)
        await exchange.send(answer)

    async def probes(self, index: int, number: int) -> None:
        """Wait until so many probes have come."""
        await until(f"{number} probes", lambda: len(self.asked[index]) >= number)


async def traffic_at(arena: Arena, path: bytes, wanted: set[int]) -> None:
    """Ask until exactly these backends get requests, and none fails at another one."""
    seen: set[int] = set()
    began = time.monotonic()
    while time.monotonic() - began < TOLD_SECONDS:
        before = [len(backend.got(path)) for backend in arena.backends]
        found = set(await statuses(arena, path, len(arena.backends) * 2))
        expect(found <= {200, 502, 503}, f"statuses {sorted(found)} while a backend changes")
        now = [len(backend.got(path)) for backend in arena.backends]
        seen = {index for index, (a, b) in enumerate(zip(before, now, strict=True)) if b > a}
        if seen == wanted and 502 not in found:
            return
        await asyncio.sleep(0.02)
    raise Late(f"expected traffic at backends {sorted(wanted)} in the end, got it at {sorted(seen)}")


async def health_ejects(how: str, arena: Arena) -> None:
    """Three bad probes take a backend out, two good ones bring it back."""
    health, path = Health(arena), arena.target(response(b"x"))
    await traffic_at(arena, path, {0, 1, 2})
    before = len(health.given[1])
    if how == "slow":
        health.slow.add(1)
    elif how == "refuses":
        arena.backends[1].down()
    else:
        health.answers[1] = {
            "500": BAD,
            "404": response(b"", status=b"404 Not Found"),
            "garbage": b"garbage\r\n\r\n",
        }[how]
    await traffic_at(arena, path, {0, 2})
    failed = len(health.given[1]) - before
    expect(failed >= 3 or how == "refuses", f"out after {failed} bad probes, expected 3")
    before = len(health.given[1])
    health.slow.clear()
    health.answers[1] = GOOD
    arena.backends[1].up()
    await traffic_at(arena, path, {0, 1, 2})
    good = health.given[1][before:].count(GOOD)
    expect(good >= 2, f"back after {good} good probes, expected 2")


for _how in ("500", "404", "slow", "refuses", "garbage"):
    REGISTRY.add(
        f"health/ejects-{_how}",
        functools.partial(health_ejects, _how),
        Setup(f"h-{_how}", (*(ACTIVE if _how == "slow" else PATIENT_ACTIVE), "--retries", "0"), backends=3, fresh=True),
    )


@REGISTRY.check("health/probe-is-a-sound-request", Setup("h-probe", PATIENT_ACTIVE, fresh=True))
async def probe(arena: Arena) -> None:
    """A probe is a GET of the path with a Host, and they do not come faster than they should."""
    health = Health(arena)
    await health.probes(0, 9)
    request = await arena.backend.wait_for(b"/up")
    equal("method", b"GET", request.method)
    equal("number of Host headers", 1, len(request.all("host")))
    took = health.asked[0][8] - health.asked[0][0]
    timely(took >= 0.6, f"9 probes in {took:.2f} s, expected one every 0.15 s")


@REGISTRY.check("health/off-without-path", Setup("h-off", fresh=True))
async def health_off(arena: Arena) -> None:
    """Without --health-path nobody connects before a client does."""
    await asyncio.sleep(0.5)
    equal("connections at the backend", 0, arena.backend.connections)


@REGISTRY.check("health/all-down-is-503", Setup("h-all", PATIENT_ACTIVE, backends=2, fresh=True))
async def health_all(arena: Arena) -> None:
    """When every backend fails its probes, clients get 503 and no backend is asked."""
    health, path = Health(arena), arena.target(response(b"x"))
    health.answers = [BAD] * 2
    await traffic_at(arena, path, set())
    asked = len(arena.got(path))
    got = await arena.get(path)
    arena.error(got, 503)
    equal("Retry-After", b"1", got.get("retry-after"))
    equal("requests at the backends", asked, len(arena.got(path)))


@REGISTRY.check("health/one-bad-probe-is-forgiven", Setup("h-one", PATIENT_ACTIVE, fresh=True))
async def health_forgives(arena: Arena) -> None:
    """Two bad probes in a row, and then a good one, eject nobody with --fall 3."""
    health, path = Health(arena), arena.target(response(b"x"))
    health.scripts[0] = [BAD, BAD, GOOD] * 4
    async with asyncio.timeout(TOLD_SECONDS):
        while health.scripts[0]:
            equal("status", 200, (await arena.get(path)).status)
            await asyncio.sleep(0.02)
    equal("status", 200, (await arena.get(path)).status)


# --- time-outs of connecting ---

HOLE = Setup("hole", ("--connect-timeout", "1.6", "--max-fails", "1000000", "--retries", "0"), backends=0, hole=True)
HOLE_AND_ONE = Setup("hole-and-one", ("--connect-timeout", "0.3", "--max-fails", "1000000"), hole=True)


@REGISTRY.check("timeouts/connect-504", HOLE)
async def connect_timeout(arena: Arena) -> None:
    """A backend that does not even accept: 504 after --connect-timeout."""
    began = time.monotonic()
    got = await arena.get(arena.target())
    took = time.monotonic() - began
    arena.error(got, 504)
    timely(1.5 <= took <= 10, f"expected about 1.6 s, took {took:.2f} s")


@REGISTRY.check("timeouts/connect-then-another", HOLE_AND_ONE)
async def connect_timeout_retry(arena: Arena) -> None:
    """With another backend there is only a delay, for a POST too."""
    path = arena.target(response(b"x"))
    for request in (get(path), post(path, b"body")) * 2:
        same_body(b"x", await arena.ask(request))
