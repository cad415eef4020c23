"""TCP: pieces of any size, many queries on one connection, and clients that misbehave."""

from __future__ import annotations

import asyncio
import random
import struct
import time

from checks_messages import ADDRESS, KNOWN, still_well
from dns_client import Tcp, checked, tcp
from dns_lab import REGISTRY, Lab, equal, expect, timely
from dns_wire import NOTIMP, Answer, opt, query, rcode_text
from dns_world import Asked

IDLE_SECONDS = 10.0
MOST_CONNECTIONS = 1000
PIPELINED = 500


async def fine(connection: Tcp) -> None:
    """Fail unless a question over this connection is answered."""
    answer = await connection.ask(KNOWN, "A", number=17)
    equal("addresses", [ADDRESS], [str(rrset[0]) for rrset in answer.answer])


@REGISTRY.check("tcp/one-question")
async def _one(lab: Lab) -> None:
    async with lab.tcp() as connection:
        await fine(connection)
        await fine(connection)


@REGISTRY.check("tcp/byte-by-byte")
async def _bytes(lab: Lab) -> None:
    async with lab.tcp() as connection:
        data = query(KNOWN, number=3)
        for byte in struct.pack("!H", len(data)) + data:
            connection.send_raw(bytes([byte]))
            await asyncio.sleep(0.005)
        checked(data, await connection.receive())


@REGISTRY.check("tcp/pieces-that-end-anywhere")
async def _pieces(lab: Lab) -> None:
    rng = random.Random("dns-resolver pieces")
    asked = [query(f"host{number % 8}.amber0000.alpha.", "A", number=number) for number in range(1, 41)]
    stream = b"".join(struct.pack("!H", len(data)) + data for data in asked)
    async with lab.tcp() as connection:
        place = 0
        while place < len(stream):
            size = rng.randrange(1, 60)
            connection.send_raw(stream[place : place + size])
            place += size
            await asyncio.sleep(0.002)
        found = {data[:2]: data for data in [await connection.receive() for _ in asked]}
        for data in asked:
            checked(data, found[data[:2]])


@REGISTRY.check("tcp/500-queries-at-once")
async def _pipelined(lab: Lab) -> None:
    asked = [query(f"host{number % 8}.birch0001.beta.", "A", number=number) for number in range(PIPELINED)]
    async with lab.tcp() as connection:
        found = await connection.ask_all(asked, 20)
        equal("answers with different ids", PIPELINED, len(found))
        for data in asked:
            checked(data, found[data[:2]])


@REGISTRY.check("tcp/slow-questions-do-not-hold-up-others")
async def _out_of_order(lab: Lab) -> None:
    place = await lab.world.place("slow")
    slow, quick = place.add("slow", "A", "10.0.0.1"), place.add("quick", "A", "10.0.0.2")

    def script(asked: Asked) -> None:
        asked.send_later(0.0 if asked.text == quick else 0.2, place.sound(asked))

    place.script = script
    await (await lab.wild()).ask(quick, "A")
    async with lab.tcp("world") as connection:
        connection.send(query(slow, number=1))
        connection.send(query(quick, number=2))
        first, second = await connection.receive(), await connection.receive()
        equal("ids in the order of the answers", (2, 1), (first[1], second[1]))


@REGISTRY.check("tcp/half-closed-client-gets-its-answers")
async def _half_closed(lab: Lab) -> None:
    place = await lab.world.place("half")
    name = place.add("www", "A", "10.0.0.1")
    place.script = lambda asked: asked.send_later(0.15, place.sound(asked))
    async with lab.tcp("world") as connection:
        connection.send(query(name, number=1))
        connection.send(query(name, number=2))
        connection.writer.write_eof()
        for _ in range(2):
            equal("code", 0, Answer(await connection.receive()).rcode)
        timely(await connection.closed(4), "the connection stays open although the client has closed its side")


@REGISTRY.check("tcp/64-kilobytes")
async def _large(lab: Lab) -> None:
    async with lab.tcp() as connection:
        answer = await connection.ask("txt200.big.delta.", "TXT")
        equal("records", 200, len(answer.answer))
        answer = await connection.ask("a1000.big.delta.", "A")
        equal("records", 1000, len(answer.answer))


@REGISTRY.check("tcp/client-that-does-not-read")
async def _no_reader(lab: Lab) -> None:
    async with lab.tcp() as connection:
        connection.reader._limit = 1  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio would read for us
        for number in range(300):
            connection.send(query("txt200.big.delta.", "TXT", number=number))
        async with lab.udp() as client:
            for _ in range(20):
                await still_well(client)
        lane = await lab.shared("tree")
        expect(lane.memory_bytes() < 400 << 20, f"{lane.memory_bytes() >> 20} MB for a client that does not read")


@REGISTRY.check("tcp/refusals")
async def _refusals(lab: Lab) -> None:
    async with lab.tcp() as connection:
        for kind in ("AXFR", "IXFR", "ANY"):
            answer = await connection.ask(KNOWN, kind)
            equal(kind, rcode_text(NOTIMP), rcode_text(answer.rcode))
        await fine(connection)


@REGISTRY.check("tcp/answers-are-whole-whatever-edns-says")
async def _whole(lab: Lab) -> None:
    for edns in (None, opt(0), opt(512), opt(1232)):
        async with lab.tcp() as connection:
            answer = await connection.ask("txt20.big.delta.", "TXT", edns=edns)
            equal("records", 20, len(answer.answer))
            expect(not answer.truncated, "TC over TCP")


async def survives(lab: Lab, *pieces: bytes) -> None:
    """Send bytes on one connection; another one and UDP must not notice."""
    async with lab.tcp() as good, lab.tcp() as bad:
        for piece in pieces:
            bad.send_raw(piece)
            await asyncio.sleep(0.01)
        await fine(good)
        async with lab.udp() as client:
            await still_well(client)


@REGISTRY.check("tcp-hostile/length-0")
async def _zero(lab: Lab) -> None:
    await survives(lab, b"\0\0", b"\0\0" * 100)


@REGISTRY.check("tcp-hostile/shorter-than-a-header")
async def _short(lab: Lab) -> None:
    await survives(lab, b"\0\5hello", b"\0\x0bhello-world")


@REGISTRY.check("tcp-hostile/length-that-never-comes")
async def _never(lab: Lab) -> None:
    await survives(lab, b"\xff\xff" + b"x" * 100)


@REGISTRY.check("tcp-hostile/random-bytes")
async def _garbage(lab: Lab) -> None:
    rng = random.Random("dns-resolver tcp")
    await survives(lab, *(rng.randbytes(500) for _ in range(10)))


@REGISTRY.check("tcp-hostile/http")
async def _http(lab: Lab) -> None:
    await survives(lab, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 30)


@REGISTRY.check("tcp-hostile/malformed-message-on-a-connection")
async def _malformed(lab: Lab) -> None:
    bad = query(KNOWN)[:-3]
    await survives(lab, struct.pack("!H", len(bad)) + bad)


@REGISTRY.check("tcp-hostile/gone-before-the-answer")
async def _gone(lab: Lab) -> None:
    place = await lab.world.place("gone")
    name = place.add("www", "A", "10.0.0.1")
    place.script = lambda asked: asked.send_later(0.2, place.sound(asked))
    for _ in range(10):
        async with lab.tcp("world") as connection:
            connection.send(query(name, number=1))
            await connection.writer.drain()
            connection.writer.transport.abort()
    equal("afterwards", 0, (await (await lab.wild()).ask(name, "A")).rcode)


@REGISTRY.check("tcp/idle-connection-is-closed-after-10-s")
async def _idle(lab: Lab) -> None:
    async with lab.tcp() as silent, lab.tcp() as once:
        began = time.monotonic()
        await fine(once)
        closed = await asyncio.gather(silent.closed(IDLE_SECONDS + 6), once.closed(IDLE_SECONDS + 6))
        equal("closed", [True, True], closed)
        taken = time.monotonic() - began
        timely(taken > IDLE_SECONDS - 2, f"closed after {taken:.1f} s, expected about {IDLE_SECONDS:g}")


@REGISTRY.check("tcp/half-a-message-is-idle-too", seconds=40)
async def _half(lab: Lab) -> None:
    async with lab.tcp() as connection:
        connection.send_raw(b"\0\x20half")
        timely(await connection.closed(IDLE_SECONDS + 6), "half a message keeps a connection open")


@REGISTRY.check("tcp/at-most-1000-connections", alone=True, seconds=60)
async def _many(lab: Lab) -> None:
    async with lab.own(tree=True) as lane:
        writers: list[asyncio.StreamWriter] = []
        readers: list[asyncio.StreamReader] = []
        try:
            for _ in range(MOST_CONNECTIONS + 100):
                reader, writer = await asyncio.open_connection(*lane.address)
                readers.append(reader)
                writers.append(writer)
            await asyncio.sleep(0.5)
            open_now = sum(not reader.at_eof() and reader.exception() is None for reader in readers)
            expect(open_now <= MOST_CONNECTIONS, f"{open_now} connections are open, at most {MOST_CONNECTIONS} may be")
            expect(open_now >= MOST_CONNECTIONS - 10, f"{open_now} connections are open, expected {MOST_CONNECTIONS}")
            alive = next(place for place, reader in enumerate(readers) if not reader.at_eof())
            await fine(Tcp(readers[alive], writers[alive]))
        finally:
            for writer in writers:
                writer.transport.abort()
        await asyncio.sleep(0.3)
        async with tcp(lane.address) as connection:
            await fine(connection)
