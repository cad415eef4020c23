"""What passes with time: pings, silence, the time to join; and the end of the server: drain and signals."""

from __future__ import annotations

import asyncio
import signal
import time

import chat_wire as wire
from chat_client import Ended, Raw
from chat_lab import REGISTRY, Lab, between, equal, expect
from chat_wire import PING, PONG, WireError

SHORT = ("--ping-interval", "0.6", "--ping-timeout", "1.5")
INTERVAL, TIMEOUT = 0.6, 1.5
EARLY, LATE = 0.1, 2.5
"""How much sooner a clock may be, and how much later a busy machine."""
AWAY = (1001, "going away")
QUEUED = 100
"""So many messages must wait in a queue of the lane, beside those that the kernel keeps."""
MOST_SAID = 20000
PEER_SECONDS = 2.0
"""After its close frame the server waits so long for the peer's."""


@REGISTRY.named("liveness/ping-after-the-interval", seconds=2)
async def ping_comes(lab: Lab) -> None:
    """A silent connection gets a ping after the interval, joined or not."""
    async with lab.server(*SHORT) as server:
        start = time.monotonic()
        raw = await server.websocket()
        equal("frame", PING, (await raw.frame(what="a ping")).opcode)
        between("seconds to the ping", INTERVAL - EARLY, time.monotonic() - start, INTERVAL + LATE)


@REGISTRY.named("liveness/silence-is-cut", seconds=3)
async def silence(lab: Lab) -> None:
    """Without an answer the connection is cut after the timeout, counted, and is no member any more."""
    async with lab.server(*SHORT) as server:
        watcher = await server.member("room", "w")
        start = time.monotonic()
        silent = await server.member("room", "s")
        watching = asyncio.ensure_future(watcher.quiet(8))
        await silent.raw.end(8)
        least = INTERVAL + TIMEOUT - EARLY
        between("seconds to the cut", least, time.monotonic() - start, least + LATE)
        await server.counted(ping_timeouts_total=1, members=1, slow_consumers_total=0, protocol_errors_total=0)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@REGISTRY.named("liveness/pong-renews", seconds=4)
async def pongs(lab: Lab) -> None:
    """Who answers pings stays, and is pinged again and again."""
    async with lab.server(*SHORT) as server:
        start = time.monotonic()
        raw = await server.websocket()
        for _ in range(4):
            equal("frame", PING, (got := await raw.frame(what="a ping")).opcode)
            await raw.send(wire.frame(PONG, got.payload))
        between("seconds for four pings", 4 * (INTERVAL - EARLY), time.monotonic() - start, 4 * INTERVAL + 3 * LATE)
        await server.counted(ping_timeouts_total=0, connections=1)


def _add_renewals() -> None:
    frames = {
        "an-unasked-pong": wire.frame(PONG, b"alive"),
        "a-ping": wire.frame(PING, b"alive"),
        "a-message": wire.frame(wire.TEXT, wire.chat(1, "alive")),
        "an-open-fragment": wire.frame(PONG) + wire.frame(wire.TEXT, b"", final=False),
    }
    for name, sent in frames.items():

        async def check(lab: Lab, sent: bytes = sent, once: bool = name == "an-open-fragment") -> None:
            """Whoever sends often enough is never pinged."""
            async with lab.server("--ping-interval", "1.8", "--ping-timeout", "0.5", "--rate", "0") as server:
                member = await server.member()
                for _ in range(12):
                    await member.raw.send(wire.frame(PONG) if once else sent)
                    await asyncio.sleep(0.25)
                await member.raw.try_send(sent)
                got = bytearray(await _read_some(member.raw))
                pings = 0
                while found := wire.parse_frame(got):
                    pings += found[0].opcode == PING
                    del got[: found[1]]
                equal("pings", 0, pings)
                await server.counted(ping_timeouts_total=0, connections=1)

        REGISTRY.add(f"liveness/renewed-by/{name}", check, 2.5)


async def _read_some(raw: Raw) -> bytes:
    try:
        while True:
            await raw.more(0.2)
    except (WireError, Ended):
        return bytes(raw.data)


_add_renewals()


@REGISTRY.named("liveness/late-pong-is-enough", seconds=3)
async def other_answer(lab: Lab) -> None:
    """Any frame after the ping is an answer, not only a pong of its payload."""
    async with lab.server(*SHORT) as server:
        member = await server.member()
        member.raw.answer_pings = False
        for number in range(3):
            while (await member.raw.frame(what="a ping")).opcode != PING:
                pass
            await member.say(number, "still here")
        await server.counted(ping_timeouts_total=0, members=1)


@REGISTRY.named("liveness/join-timeout", seconds=3.5)
async def join_timeout(lab: Lab) -> None:
    """Who has not joined in time is closed 1008, pongs or not; who has stays."""
    async with lab.server("--join-timeout", "0.8", *SHORT) as server:
        joined = await server.member()
        start = time.monotonic()
        raw = await server.websocket()
        keep = asyncio.ensure_future(joined.quiet(2))
        equal("close", wire.JOIN_TIMEOUT, await raw.close_code())
        between("seconds to the close", 0.8 - EARLY, time.monotonic() - start, 0.8 + LATE)
        await raw.send(wire.close_frame(1008))
        await raw.end(3)
        await keep
        await server.counted(connections=1, members=1, ping_timeouts_total=0)


@REGISTRY.named("liveness/errors-are-no-join", seconds=3)
async def join_errors(lab: Lab) -> None:
    """Messages that are no join do not put it off."""
    async with lab.server("--join-timeout", "2") as server:
        raw = await server.websocket()
        for _ in range(3):
            await raw.say(wire.LEAVE)
            await raw.text()
            await asyncio.sleep(0.1)
        equal("close", wire.JOIN_TIMEOUT, await raw.close_code(4))


@REGISTRY.named("liveness/echo-needs-no-join", seconds=1.5)
async def echo_stays(lab: Lab) -> None:
    """On /echo there is nothing to join."""
    async with lab.server("--echo", "--join-timeout", "0.4") as server:
        raw = await server.websocket("/echo")
        await asyncio.sleep(1.2)
        await raw.say("still here")
        equal("echo", "still here", await raw.text())


# --- drain -----------------------------------------------------------------------------------------------------------


@REGISTRY.named("drain/queued-then-1001")
async def drain_delivers(lab: Lab) -> None:
    """SIGTERM: what was accepted is delivered, then 1001, then exit code 0."""
    async with lab.server("--rate", "0") as server:
        sender, receiver = await server.member("room", "n"), await server.member("room", "m")
        lone = await server.websocket()
        for number in range(200):
            await sender.say(number, "x" * 500)
        for number in range(200):
            equal("accepted", wire.accepted(number, number + 1), await sender.of_kind("accepted"))
        start = time.monotonic()
        server.program.signal(signal.SIGTERM)
        for number in range(200):
            equal("chat", wire.chatted("room", "n", number + 1, "x" * 500), await receiver.of_kind("chat"))
        for raw in (sender.raw, receiver.raw, lone):
            equal("close", AWAY, await raw.close_code())
            await raw.try_send(wire.close_frame(1001))
            await raw.end(3)
        equal("exit code", 0, await server.program.ended(6))
        between("seconds to the end", 0, time.monotonic() - start, 4)
        equal("stderr", b"", bytes(server.program.stderr))


@REGISTRY.named("drain/slow-reader-gets-all")
async def drain_slow(lab: Lab) -> None:
    """A client that reads late still gets what was queued for it."""
    async with lab.server("--rate", "0", "--ping-interval", "600", "--drain-timeout", "10") as server:
        sender = await server.member("room", "n")
        receiver = await server.member("room", "m", receive_buffer=4096)
        said = 0
        while said < MOST_SAID and said - (await server.counters())["deliveries_total"] < QUEUED:
            for number in range(said, said + 20):
                await sender.say(number, "y" * 1900)
            for number in range(said, said + 20):
                equal("accepted", wire.accepted(number, number + 1), await sender.of_kind("accepted"))
            said += 20
        counts = await server.counters()
        expect(said - counts["deliveries_total"] >= QUEUED, f"expected {QUEUED} messages in a queue, got {counts}")
        server.program.signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        for number in range(said):
            equal("chat", wire.chatted("room", "n", number + 1, "y" * 1900), await receiver.of_kind("chat"))
        equal("close", AWAY, await receiver.raw.close_code())
        for member in (sender, receiver):
            await member.raw.try_send(wire.close_frame(1001))
        equal("exit code", 0, await server.program.ended(6))


@REGISTRY.named("drain/accepts-nobody")
async def drain_refuses(lab: Lab) -> None:
    """While it drains nobody new gets in."""
    async with lab.server() as server:
        raw = await server.websocket()
        server.program.signal(signal.SIGTERM)
        equal("close", AWAY, await raw.close_code())
        try:
            late = await server.websocket()
        except (OSError, WireError, Ended):
            late = None
        expect(late is None, "expected no new WebSocket, got one")
        await raw.try_send(wire.close_frame(1001))
        equal("exit code", 0, await server.program.ended(6))


@REGISTRY.named("drain/sigint")
async def drain_sigint(lab: Lab) -> None:
    """SIGINT drains too."""
    async with lab.server() as server:
        raw = await server.websocket()
        server.program.signal(signal.SIGINT)
        equal("close", AWAY, await raw.close_code())
        await raw.try_send(wire.close_frame(1001))
        equal("exit code", 0, await server.program.ended(6))


@REGISTRY.named("drain/idle")
async def drain_idle(lab: Lab) -> None:
    """Without clients, or with one that says nothing over HTTP, the end comes at once."""
    async with lab.server() as server:
        await server.ask(wire.head("/health"))
        await server.connect()
        start = time.monotonic()
        server.program.signal(signal.SIGTERM)
        equal("exit code", 0, await server.program.ended(8))
        between("seconds to the end", 0, time.monotonic() - start, 6)


@REGISTRY.named("drain/timeout", seconds=2)
async def drain_timeout(lab: Lab) -> None:
    """Peers that do not answer are waited for no longer than --drain-timeout."""
    async with lab.server("--drain-timeout", "0.5") as server:
        await server.websocket()
        await server.member()
        start = time.monotonic()
        server.program.signal(signal.SIGTERM)
        equal("exit code", 0, await server.program.ended(6))
        between("seconds to the end", 0.5 - EARLY, time.monotonic() - start, PEER_SECONDS - EARLY)


@REGISTRY.named("drain/second-signal", seconds=1)
async def second_signal(lab: Lab) -> None:
    """A second signal ends at once."""
    async with lab.server("--drain-timeout", "30") as server:
        member = await server.member("room", "n", receive_buffer=4096)
        server.program.signal(signal.SIGTERM)
        equal("close", AWAY, await member.raw.close_code())
        start = time.monotonic()
        server.program.signal(signal.SIGTERM)
        await server.program.ended(4)
        between("seconds to the end", 0, time.monotonic() - start, PEER_SECONDS - 0.8)
