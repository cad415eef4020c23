"""Clients that do not read: found, counted, closed or cut, and nobody else notices; memory stays bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import chat_wire as wire
from chat_client import Ended, Member, Raw
from chat_lab import REGISTRY, Lab, Server, between, equal, expect
from chat_wire import CLOSE, TEXT

TEXT_BYTES = 1900
SMALL_BUFFER = 4096
BATCH = 50
MOST_BATCHES = 300
FEW = 10
WORST_SECONDS = 2.0
PATIENT = ("--rate", "0", "--ping-interval", "600")
"""Nobody is cut for silence: who does not read does not answer pings either."""
TOO_SLOW = (1013, "too slow")
MEMORY_BYTES = 48 << 20
CLIENT_QUEUE_BYTES = 1 << 20


async def batch(sender: Member, readers: Sequence[Member], start: int) -> float:
    """Say a batch; return the seconds until every reader has it."""
    begun = time.monotonic()
    frames = [wire.frame(TEXT, wire.chat(start + number, "z" * TEXT_BYTES)) for number in range(BATCH)]
    await sender.raw.send(b"".join(frames))
    for number in range(BATCH):
        seq = start + number + 1
        equal("accepted", wire.accepted(start + number, seq), await sender.of_kind("accepted", "refused"))
    for reader in readers:
        for number in range(BATCH):
            wanted = wire.chatted("room", sender.nick, start + number + 1, "z" * TEXT_BYTES)
            equal("chat", wanted, await reader.of_kind("chat"))
        reader.texts.clear()
    sender.texts.clear()
    return time.monotonic() - begun


async def until_slow(server: Server, sender: Member, readers: Sequence[Member], slow: int = 1) -> tuple[int, float]:
    """Speak until the server found so many slow ones; return messages said and the longest time of a batch."""
    said, worst = 0, 0.0
    for _ in range(MOST_BATCHES):
        worst = max(worst, await batch(sender, readers, said))
        said += BATCH
        if (await server.counters())["slow_consumers_total"] >= slow:
            return said, worst
    expect(False, f"expected {slow} slow consumers after {said} messages, got {await server.counters()}")
    return said, worst


async def rest_of(raw: Raw) -> tuple[int, list[tuple[int, str]]]:
    """Read what a slow client still finds; return the number of whole chats, and close frames."""
    chats, ends = 0, []
    try:
        while True:
            got = await raw.next(4)
            chats += got.opcode == TEXT and wire.kind_of(got.text) == "chat"
            if got.opcode == CLOSE:
                ends.append(got.closing)
    except Ended:
        return chats, ends


async def accounted(server: Server, least: int) -> tuple[int, int]:
    """Wait a while until so many are delivered or dropped; return both together, and the delivered."""
    for _ in range(100):
        counts = await server.counters()
        if counts["deliveries_total"] + counts["deliveries_dropped_total"] >= least:
            break
        await asyncio.sleep(0.02)
    return counts["deliveries_total"] + counts["deliveries_dropped_total"], counts["deliveries_total"]


@REGISTRY.named("slow/found-counted-cut", seconds=5)
async def found(lab: Lab) -> None:
    """Who does not read is counted once, leaves its room, gets 1013 or an end; deliveries are counted."""
    async with lab.server(*PATIENT, "--queue", "120") as server:
        sender, reader = await server.member("room", "s"), await server.member("room", "r")
        slow = await server.member("room", "slow", receive_buffer=SMALL_BUFFER)
        said, _ = await until_slow(server, sender, [reader])
        after = await server.counters()
        equal("members", 2, after["members"])
        equal("slow consumers", 1, after["slow_consumers_total"])
        chats, ends = await rest_of(slow.raw)
        expect(ends in ([], [TOO_SLOW]), f"close: expected {TOO_SLOW} or none, got {ends}")
        await batch(sender, [reader], said)
        counts = await server.counted(connections=2, slow_consumers_total=1, ping_timeouts_total=0)
        both = counts["deliveries_total"] + counts["deliveries_dropped_total"] - said - BATCH
        expect(0 < both <= said, f"sent to the slow one: expected 1 to {said}, got {both}")
        delivered = counts["deliveries_total"] - said - BATCH
        expect(chats <= delivered, f"deliveries to the slow one: expected at least {chats}, got {delivered}")
        expect(counts["deliveries_dropped_total"] > 0, f"dropped: expected some, got none after {said}")


@REGISTRY.named("slow/dropped-is-exact", seconds=4)
async def exact(lab: Lab) -> None:
    """Accepted times (members - 1) = deliveries + dropped, when the message that found the queue full ends it all."""
    async with lab.server(*PATIENT, "--queue", "20") as server:
        slow = await server.member("room", "slow", receive_buffer=SMALL_BUFFER)
        sender = await server.member("room", "s")
        said = 0
        while said < MOST_BATCHES * BATCH:
            frames = [wire.frame(TEXT, wire.chat(said + number, "q" * TEXT_BYTES)) for number in range(FEW)]
            await sender.raw.send(b"".join(frames))
            for _ in range(FEW):
                await sender.of_kind("accepted")
            said += FEW
            if (await server.counters())["members"] == 1:
                break
        chats, _ = await rest_of(slow.raw)
        await server.counted(connections=1, slow_consumers_total=1)
        total, delivered = await accounted(server, said - FEW)
        between("deliveries + dropped", said - FEW, total, said)
        expect(chats <= delivered, f"deliveries: expected at least the {chats} that were read whole, got {delivered}")


@REGISTRY.named("slow/others-are-not-delayed", seconds=5)
async def undisturbed(lab: Lab) -> None:
    """While three do not read, everyone else gets everything, soon."""
    async with lab.server(*PATIENT, "--queue", "130") as server:
        sender = await server.member("room", "s")
        readers = [await server.member("room", f"r{number}") for number in range(3)]
        for number in range(3):
            await server.member("room", f"slow{number}", receive_buffer=SMALL_BUFFER)
        _, worst = await until_slow(server, sender, readers, 3)
        between(f"seconds of the slowest {BATCH} messages", 0, worst, WORST_SECONDS)
        await server.counted(members=4, slow_consumers_total=3)


@REGISTRY.named("slow/other-rooms-hear-nothing", seconds=3)
async def other_rooms(lab: Lab) -> None:
    """A slow one in another room changes nothing here."""
    async with lab.server(*PATIENT, "--queue", "110") as server:
        here = await server.member("other", "h")
        sender = await server.member("room", "s")
        await server.member("room", "slow", receive_buffer=SMALL_BUFFER)
        await until_slow(server, sender, [])
        equal("messages in the other room", [], await here.quiet())
        await here.say(1, "x")
        equal("accepted", wire.accepted(1, 1), await here.of_kind("accepted"))


@REGISTRY.named("slow/a-mebibyte-at-most", seconds=5)
async def bounded_bytes(lab: Lab) -> None:
    """However long --queue is, at most 1 MiB waits for one client."""
    async with lab.server(*PATIENT, "--queue", "100000") as server:
        sender = await server.member("room", "s")
        await server.member("room", "slow", receive_buffer=SMALL_BUFFER)
        await until_slow(server, sender, [])
        dropped = (await server.counters())["deliveries_dropped_total"]
        size = len(wire.chatted("room", "s", 1000, "z" * TEXT_BYTES)) + 4
        most = CLIENT_QUEUE_BYTES + 3 * BATCH * size
        between("bytes that were dropped", CLIENT_QUEUE_BYTES * 0.6, dropped * size, most)


@REGISTRY.named("slow/memory", seconds=6)
async def memory(lab: Lab) -> None:
    """Thirty who do not read cost no more than their queues."""
    async with lab.server(*PATIENT) as server:
        sender = await server.member("room", "s")
        for number in range(30):
            await server.member("room", f"slow{number}", receive_buffer=SMALL_BUFFER)
        before = server.program.memory_bytes()
        worst, said = 0, 0
        for _ in range(40):
            await batch(sender, [], said)
            said += BATCH
            worst = max(worst, server.program.memory_bytes() - before)
        expect(worst < MEMORY_BYTES, f"memory: expected at most {MEMORY_BYTES >> 20} MiB more, got {worst >> 20} MiB")


@REGISTRY.named("slow/reads-again-in-time", seconds=2)
async def reads_again(lab: Lab) -> None:
    """Who reads late, but before its queue is full, has lost nothing."""
    async with lab.server(*PATIENT, "--queue", "1000") as server:
        sender = await server.member("room", "s")
        late = await server.member("room", "late", receive_buffer=SMALL_BUFFER)
        for start in range(0, 400, BATCH):
            await batch(sender, [], start)
        for number in range(400):
            wanted = wire.chatted("room", "s", number + 1, "z" * TEXT_BYTES)
            equal("chat", wanted, await late.of_kind("chat"))
        await server.counted(deliveries_total=400, deliveries_dropped_total=0, slow_consumers_total=0)


@REGISTRY.named("slow/cut-while-queued", seconds=1)
async def cut_while_queued(lab: Lab) -> None:
    """Who is gone with messages in its queue: they count as dropped, not as delivered."""
    async with lab.server(*PATIENT, "--queue", "1000") as server:
        sender = await server.member("room", "s")
        gone = await server.member("room", "gone", receive_buffer=SMALL_BUFFER)
        said = 0
        for start in range(0, 500, BATCH):
            await batch(sender, [], start)
            said += BATCH
        gone.raw.reset()
        await server.counted(members=1, slow_consumers_total=0)
        total, _ = await accounted(server, said)
        equal("deliveries + dropped", said, total)


@REGISTRY.named("slow/never-reads-its-answers", seconds=3)
async def never_reads(lab: Lab) -> None:
    """Who sends and never reads the answers is no danger: memory stays, others are served."""
    async with lab.server(*PATIENT) as server:
        mute = await server.member("room", "mute", receive_buffer=SMALL_BUFFER)
        before = server.program.memory_bytes()
        flood = b"".join(wire.frame(TEXT, wire.chat(number, "x")) for number in range(500))
        flood += wire.frame(wire.PING, b"p" * 125) * 500
        try:
            for _ in range(200):
                await mute.raw.send(flood, 1.0)
        except (Ended, wire.WireError):
            pass
        grown = server.program.memory_bytes() - before
        expect(grown < MEMORY_BYTES, f"memory: expected at most {MEMORY_BYTES >> 20} MiB more, got {grown >> 20} MiB")
        await asyncio.wait_for(server.well(), 5)


@REGISTRY.named("slow/echo-is-not-read", seconds=3)
async def echo_unread(lab: Lab) -> None:
    """On /echo, who does not read is not read from: memory stays bounded."""
    async with lab.server(*PATIENT, "--echo") as server:
        raw = await server.websocket("/echo", receive_buffer=SMALL_BUFFER)
        before = server.program.memory_bytes()
        sent = wire.frame(wire.BINARY, b"e" * 65536) * 16
        taken = 0
        try:
            for _ in range(128):
                await raw.send(sent, 1.0)
                taken += len(sent)
        except (Ended, wire.WireError):
            pass
        grown = server.program.memory_bytes() - before
        what = f"MiB of memory more after {taken >> 20} MiB"
        between(what, -1024, grown >> 20, MEMORY_BYTES >> 20)
        await server.well()
